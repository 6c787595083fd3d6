//! The datapath trait, a datapath in userspace, network devices and datapath text.
//!
//! A datapath forwards packets by *megaflows*: masked matches with actions. What no megaflow matches comes up to
//! whoever owns the datapath, who decides, and installs a megaflow so that the next such packet need not come.
//!
//! ```
//! use ovs_dpif::netdev::MemPort;
//! use ovs_dpif::userspace::Datapath;
//! use ovs_dpif::{DpAction, Dpif, PortSpec, Resolution, UpcallKind, always_matched};
//! use ovs_packet::{Instant, Match, compose};
//!
//! let mut dp = Datapath::new();
//! let (a, host_a) = MemPort::new("a", 100);
//! let (b, host_b) = MemPort::new("b", 100);
//! let a = dp.port_add(PortSpec::Device(Box::new(a)), None)?;
//! let b = dp.port_add(PortSpec::Device(Box::new(b)), None)?;
//!
//! let key: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=53".parse().unwrap();
//! for _ in 0..2 {
//!     host_a.push(compose::compose(key.key(), b"hello"));
//! }
//! let (now, mut upcalls) = (Instant::ZERO, Vec::new());
//! dp.poll(now, &mut upcalls);
//! let actions = [DpAction::Output(b)];
//! for upcall in upcalls.drain(..) {
//!     assert_eq!(upcall.kind, UpcallKind::Miss);
//!     dp.flow_put(&upcall.key, &always_matched(), &actions)?;
//!     dp.resolve(upcall, Resolution::Execute(&actions), now, &mut Vec::new());
//! }
//! // The third packet does not come up.
//! host_a.push(compose::compose(key.key(), b"again"));
//! dp.poll(now, &mut upcalls);
//! assert!(upcalls.is_empty());
//! assert_eq!(std::iter::from_fn(|| host_b.pop()).count(), 3);
//! assert!(dp.ledger().balanced());
//! # Ok::<(), ovs_dpif::DpifError>(())
//! ```
//!
//! # What is where
//!
//! - [`Dpif`]: the trait, with its contract for implementers;
//! - [`DpAction`], [`Assignment`], [`PortNo`], [`DropReason`], [`Ledger`]: what a datapath does, and the accounts of it;
//! - `conformance` (feature of that name): the laws that every datapath keeps, as a test kit;
//! - [`connections`]: what is asked of a datapath's connection tracking;
//! - [`meter`]: token buckets that `meter` actions go through;
//! - [`threads`]: what is asked of a datapath's threads;
//! - [`userspace`]: a whole datapath within the process, in one thread or several;
//! - `dpctl` (feature of that name): the sub-commands of `ovs-dpctl`, over any datapath;
//! - `kernel` (feature of that name): the datapath of the Linux kernel, over netlink;
//! - [`netdev`]: devices for the one within the process;
//! - [`key_layout`], [`key_field`]: what a classifier over flow keys knows of them;
//! - [`text`]: keys and actions in the words of `ovs-dpctl`.
//!
//! # Rules
//!
//! Every packet that enters is counted out exactly once, and [`Ledger::balanced`] says so at any time. Nothing blocks.
//! Every table that traffic can fill has a bound. `unsafe` is confined to the modules
//! that talk to packet sockets, to AF_XDP and to TAP devices.

mod action;
mod assignment;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod connections;
#[cfg(feature = "dpctl")]
pub mod dpctl;
mod dpif;
mod drops;
#[cfg(all(feature = "kernel", target_os = "linux"))]
pub mod kernel;
mod key_layout;
pub mod meter;
pub mod netdev;
mod outer;
pub mod text;
pub mod threads;
pub mod userspace;

pub use action::{Cookie, DpAction, HashAlgorithm, PSAMPLE_COOKIE_MAX, PortNo, SampleDirection, SlowPath, Userspace};
pub use assignment::Assignment;
pub use dpif::{
    BOND_BUCKETS, BondStats, Card, DpFlow, DpFlowStats, DpStats, Dpif, DpifError, Features, FlowPut, HwOffload,
    OffloadStats, Operation, Outcome, PortChange, PortInfo, PortSpec, PutMode, Resolution, TunnelPort, Ufid, Upcall,
    UpcallKind, always_matched,
};
pub use drops::{DropReason, Ledger};
pub use key_layout::{key_field, key_layout};
pub use outer::{Erspan, MAX_HEADER, MAX_SEGMENTS, OuterIp, OuterTunnel, OuterUdp, TunnelPush};
pub use ovs_conntrack::{CtRequest, Helper, Nat, NatRange};
