//! Tunnel ports: ports of a switch that share a port of the datapath, told apart by outer headers.
//!
//! A datapath has one port for each kind of tunnel and UDP port, its *vport* ([`TunnelConfig::vport`]), which takes outer
//! addresses and key from actions and tells them in keys. A switch has a tunnel port for each far end, or for many, as its
//! [`TunnelConfig`] says.
//!
//! - `config.rs` says what a tunnel port is, `parse.rs` reads that from options and `show.rs` writes it;
//! - `map.rs` finds the port that a received packet came by: the one that says most about it;
//! - `ecn.rs` brings congestion marks in and out (RFC 6040);
//! - `header.rs` makes the outer header of what is sent.
//!
//! Translation uses them in `translate/tunnel.rs`, where also stands who puts the header in front of the packet: the
//! datapath's vport, or the switch itself.

mod config;
mod ecn;
mod header;
mod map;
mod parse;
mod show;

pub use config::{
    Bareudp, Checksum, Erspan, FlowLabel, FromFlow, Inherited, Local, PacketMode, Remote, Srv6, TunnelConfig,
    TunnelKey, TunnelKind, Vxlan,
};
pub use parse::{TunnelConfigError, TunnelProblem};

pub(super) use config::is_tunnelled;
pub(super) use ecn::{Decapsulated, decapsulate};
pub(super) use map::{Rank, TunnelMap};
