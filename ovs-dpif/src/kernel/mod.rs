//! The datapath of the Linux kernel, over netlink.
//!
//! The kernel forwards; what no megaflow matches it sends up through sockets, and what is decided goes back as an order
//! to execute. [`Datapath`] is that behind [`Dpif`](crate::Dpif). [`list`], [`create`](Datapath::create),
//! [`open`](Datapath::open) and [`remove`](Datapath::remove) are its life.
//!
//! - **Upcalls**: one socket for each CPU, of which the kernel takes that of the CPU on which the packet missed; where it
//!   does not know that, each port has sockets, as many as the kernel lets it have. [`Dpif::poll`](crate::Dpif::poll)
//!   takes from all of them. [`Dpif::set_handlers`](crate::Dpif::set_handlers) has a thread for each, which reads what
//!   comes up and has executed what is ordered for it; between the threads and the owner, who decides, is a bounded queue that is fair among ports.
//!   Threads of one's own take the sockets by [`Datapath::take_handlers`], and each works alone.
//! - **Order**: a packet that is executed carries the socket that it came through, so that its next miss comes up there
//!   too, behind what came before it. Kernels before 6.17 ignore that.
//! - **Overruns**: what the kernel could not deliver it drops until the socket is empty; so a socket that overran is
//!   emptied before anything else, and what was lost is in [`DpStats::lost`](crate::DpStats::lost).
//! - **Time**: the kernel tells by its monotonic clock when a megaflow was used. Callers whose time is another say in
//!   [`Options::with_clock`] how far apart the two are.
//! - **Ledger**: it has the packets that came up or were made here. The others the kernel's counters tell of
//!   ([`Features::whole_ledger`](crate::Features::whole_ledger) is off).
//!
//! [`put_key`], [`put_mask`], [`read_key`], [`read_mask`], [`put_actions`] and [`read_actions`] translate between flow keys
//! and the kernel's attributes, for those who talk to it themselves.
//!
//! ```
//! use ovs_dpif::kernel::{Fitness, put_key, read_key};
//! use ovs_netlink::Writer;
//! use ovs_netlink::attr::Nest;
//! use ovs_packet::{FlowKey, Match, compose, extract};
//!
//! let m: Match = "in_port=1,udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=53".parse().unwrap();
//! let (mut packet, mut key) = (compose::compose(m.key(), b"query"), FlowKey::ZERO);
//! packet.meta.in_port = 1;
//! extract::extract(&mut packet, &mut key);
//!
//! let mut attributes = Vec::new();
//! put_key(&mut Writer::new(&mut attributes), &key)?;
//! assert_eq!(read_key(Nest::new(&attributes)), Ok((key, Fitness::Perfect)));
//! # Ok::<(), ovs_netlink::EncodeError>(())
//! ```

mod connections;
mod cookie;
mod datapath;
mod flows;
mod help;
mod key;
mod ports;
mod probe;
mod put_action;
mod read_action;
#[cfg(test)]
mod tests;
mod threads;
mod tunnel;
mod upcalls;
mod waiting;

pub use cookie::COOKIE_BYTES;
pub use datapath::{Datapath, Dispatch, Options, list};
pub use key::{ConvertError, Fitness, beyond, put_key, put_mask, read_key, read_mask};
pub use put_action::{ActionContext, MAX_NESTING, Unsupported, put_actions, unsupported};
pub use read_action::read_actions;
pub use upcalls::Handler;
