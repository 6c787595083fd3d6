//! The edge to the kernel: sockets. Everything else in the crate works on bytes alone.
//!
//! - [`GenericSocket`]: requests, answers and dumps over a socket of the generic netlink.
//! - [`probe_datapath`]: whether this machine has the kernel datapath, and if not why.

mod probe;
mod socket;
mod sys;

pub use probe::{Unavailable, probe_datapath};
pub use socket::{GenericSocket, SocketError};
