//! Connection tracking: parsed packet in, connection state out.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod connection;
mod icmp;
mod info;
mod key;
mod outcome;
mod read;
mod request;
mod siphash;
mod stats;
mod table;
mod tcp;
mod tracker;
mod tuple;
mod wheel;

pub use config::{Config, Timeouts};
pub use info::{ConnectionInfo, ProtocolState};
pub use outcome::{InvalidReason, Outcome};
pub use request::CtRequest;
pub use stats::Stats;
pub use tcp::TcpState;
pub use tracker::Tracker;
pub use tuple::{Transport, Tuple};
