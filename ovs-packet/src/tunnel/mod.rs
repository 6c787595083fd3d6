//! Whole tunnels in software: an outer header put in front of a packet ([`push`]), checked and taken off ([`pop`]).
//!
//! The headers by themselves are in [`wire`](crate::wire); here they stand behind Ethernet and IP, and what depends on
//! the packet inside is seen to: lengths, checksums, the source port that spreads flows over paths, sequence numbers.
//!
//! ```
//! use ovs_packet::tunnel::{Finish, Header, Kind, Varying, pop, push};
//! use ovs_packet::wire::{Wire, vxlan};
//! use ovs_packet::{Match, Packet, compose};
//!
//! // Ethernet, IPv4 and UDP of the outer header; what the packet decides is zero.
//! let m: Match = "udp,nw_src=192.0.2.1,nw_dst=192.0.2.2,nw_ttl=64,tp_dst=4789".parse().unwrap();
//! let mut bytes = compose::compose(m.key(), &[]).data()[..42].to_vec();
//! bytes.extend(vxlan::Header { vni: 7, ..Default::default() }.to_vec().unwrap());
//! let header = Header::new(bytes, Finish::Udp { checksum: false, source: None }).unwrap();
//!
//! let frame = [0x5a; 60];
//! let mut packet = Packet::from_slice(&frame);
//! push(&mut packet, &header, Varying { source: 50_000, ..Varying::default() }).unwrap();
//! assert_eq!(packet.len(), 50 + 60);
//!
//! pop(&mut packet, Kind::Vxlan { gbp: false, gpe: false }).unwrap();
//! assert_eq!(packet.data(), frame);
//! let tunnel = packet.tunnel.as_deref().unwrap();
//! assert_eq!((tunnel.id, tunnel.tp_src, tunnel.ttl), (7, 50_000, 64));
//! ```

mod pop;
mod push;
#[cfg(test)]
mod tests;

pub use pop::{Checksums, Kind, cuts_inside, pop, pop_counted};
pub use push::{DEFAULT_SOURCE_PORTS, Finish, FlowLabel, Header, Varying, push, source_port};

/// The Ethertype of Ethernet inside a tunnel (transparent Ethernet bridging).
const ETHERNET_INSIDE: u16 = 0x6558;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Bytes of an IPv4 header without options (RFC 791, section 3.1).
const IPV4: usize = 20;
/// Bytes of an IPv6 header (RFC 8200, section 3).
const IPV6: usize = 40;
/// Bytes of a UDP header (RFC 768).
const UDP: usize = 8;
