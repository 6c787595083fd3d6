//! The edge to the kernel: sockets. Everything else in the crate works on bytes alone.
//!
//! - [`Socket`]: requests, answers, dumps, batches and notifications; [`Connect`] says where its other end is.
//! - [`Families`]: the numbers of the families of the openvswitch module; [`probe_datapath`]: whether there is one.
//! - [`UpcallSocket`]: packets from the datapath.
//! - [`Conntrack`]: connections, limits' companions and timeout policies of netfilter.

mod conntrack;
mod exchange;
mod families;
mod socket;
mod sys;
mod upcall;

pub use conntrack::Conntrack;
pub use families::{Families, Unavailable, probe_datapath};
#[cfg(feature = "fake-kernel")]
pub(crate) use socket::Peer;
pub use socket::{Connect, Drained, Linux, Protocol, Socket, SocketError};
pub use sys::monotonic;
pub use upcall::{Upcall, UpcallSocket};
