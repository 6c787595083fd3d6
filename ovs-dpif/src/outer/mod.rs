//! The header that a native tunnel puts in front of a packet, as a value.
//!
//! It is what a `tnl_push` action tells: everything of the outer header that is the same for all packets of a megaflow. What
//! differs (lengths, the outer UDP source port, sequence numbers) is filled in packet by packet.

mod header;

use std::net::{Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;
use ovs_packet::EthAddr;

use crate::action::PortNo;

/// The most that a header has of bytes.
pub const MAX_HEADER: usize = 512;

/// The most segments of a path (RFC 8754).
pub const MAX_SEGMENTS: usize = 6;

/// Bits of the flags of GTP-U that say that four more bytes follow (3GPP TS 29.281, clause 5.1).
const GTPU_OPTIONAL: u8 = 7;

/// Puts an outer header in front of the packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TunnelPush {
    /// The datapath port that stands for the tunnel.
    pub tunnel_port: PortNo,
    /// The port that the packet leaves by.
    pub out_port: PortNo,
    /// Outer Ethernet destination.
    pub eth_dst: EthAddr,
    /// Outer Ethernet source.
    pub eth_src: EthAddr,
    /// Outer network layer.
    pub ip: OuterIp,
    /// What is behind it.
    pub tunnel: OuterTunnel,
}

/// The outer network layer. The header has no options, and its length and checksum are of each packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OuterIp {
    /// RFC 791.
    V4 {
        /// Source.
        src: Ipv4Addr,
        /// Destination.
        dst: Ipv4Addr,
        /// Protocol.
        proto: u8,
        /// The whole TOS byte.
        tos: u8,
        /// Time to live.
        ttl: u8,
        /// Flags and fragment offset.
        frag: u16,
    },
    /// RFC 8200.
    V6 {
        /// Source.
        src: Ipv6Addr,
        /// Destination.
        dst: Ipv6Addr,
        /// Flow label, 20 bits.
        label: u32,
        /// Next header.
        proto: u8,
        /// Traffic class.
        tclass: u8,
        /// Hop limit.
        hlimit: u8,
    },
}

/// The outer UDP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OuterUdp {
    /// Source port; 0 lets each flow inside have one of its own.
    pub src: u16,
    /// Destination port.
    pub dst: u16,
    /// Zero for none; else one is computed for each packet.
    pub csum: u16,
}

/// What tells of the tunnel behind the outer network layer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OuterTunnel {
    /// RFC 7348, with extensions as the flags say.
    Vxlan {
        /// Outer UDP.
        udp: OuterUdp,
        /// The first word.
        flags: u32,
        /// Network identifier, 24 bits.
        vni: u32,
    },
    /// RFC 8926.
    Geneve {
        /// Outer UDP.
        udp: OuterUdp,
        /// For the far end itself.
        oam: bool,
        /// Some option must be understood.
        critical: bool,
        /// Network identifier, 24 bits.
        vni: u32,
        /// The options, as on the wire.
        options: Vec<u8>,
    },
    /// RFC 2784 and 2890.
    Gre {
        /// Flags and version, without those of what is behind.
        flags: u16,
        /// Ethertype of what is inside.
        proto: u16,
        /// Checksum, where there is one.
        csum: Option<u16>,
        /// Key, where there is one.
        key: Option<u32>,
        /// Sequence number, where there is one.
        seq: Option<u32>,
    },
    /// ERSPAN, whose header follows one of GRE.
    Erspan {
        /// Session, 10 bits.
        session: u16,
        /// What the version tells.
        version: Erspan,
    },
    /// GTP-U version 1 (3GPP TS 29.281).
    Gtpu {
        /// Outer UDP.
        udp: OuterUdp,
        /// Flags and version.
        flags: u8,
        /// Kind of message.
        kind: u8,
        /// Endpoint.
        teid: u32,
    },
    /// A routing header of segments (RFC 8754).
    Srv6 {
        /// How many segments are ahead.
        left: u8,
        /// The path, the first segment first.
        segments: ArrayVec<Ipv6Addr, MAX_SEGMENTS>,
    },
}

/// What a version of ERSPAN tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Erspan {
    /// Version 1.
    Index(u32),
    /// Version 2.
    Port {
        /// Direction.
        direction: u8,
        /// Hardware id.
        hardware: u8,
    },
}

impl TunnelPush {
    /// How many bytes the header has.
    pub fn len(&self) -> usize {
        let ip = match self.ip {
            OuterIp::V4 { .. } => 20,
            OuterIp::V6 { .. } => 40,
        };
        let tunnel = match &self.tunnel {
            OuterTunnel::Gtpu { flags, .. } if flags & GTPU_OPTIONAL != 0 => 8 + 12,
            OuterTunnel::Vxlan { .. } | OuterTunnel::Gtpu { .. } => 8 + 8,
            OuterTunnel::Geneve { options, .. } => 8 + 8 + options.len(),
            OuterTunnel::Gre { csum, key, seq, .. } => {
                4 + 4 * [csum.is_some(), key.is_some(), seq.is_some()].into_iter().filter(|there| *there).count()
            }
            OuterTunnel::Erspan { version: Erspan::Index(_), .. } => 8 + 4 + 4,
            OuterTunnel::Erspan { version: Erspan::Port { .. }, .. } => 8 + 4 + 8,
            OuterTunnel::Srv6 { segments, .. } => 8 + 16 * segments.len(),
        };
        14 + ip + tunnel
    }

    /// Never: there is an Ethernet header at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The kind of port that the header is for (`OVS_VPORT_TYPE_*`).
    pub fn kind(&self) -> u32 {
        let v6 = matches!(self.ip, OuterIp::V6 { .. });
        match self.tunnel {
            OuterTunnel::Gre { .. } if v6 => 109,
            OuterTunnel::Gre { .. } => 3,
            OuterTunnel::Vxlan { .. } => 4,
            OuterTunnel::Geneve { .. } => 5,
            OuterTunnel::Erspan { .. } if v6 => 108,
            OuterTunnel::Erspan { .. } => 107,
            OuterTunnel::Gtpu { .. } => 110,
            OuterTunnel::Srv6 { .. } => 112,
        }
    }
}
