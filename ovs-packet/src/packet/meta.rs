//! What is known about a packet beside its bytes.

use core::net::{Ipv4Addr, Ipv6Addr};

use bitflags::bitflags;

bitflags! {
    /// What connection tracking found out, as bits of [`FlowKey::ct_state`](crate::FlowKey::ct_state).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
    pub struct CtState: u8 {
        /// Not committed yet.
        const NEW = 0x01;
        /// Of a committed connection that has seen traffic both ways.
        const ESTABLISHED = 0x02;
        /// About a connection, such as an ICMP error, but not of it.
        const RELATED = 0x04;
        /// In the direction against the first packet's.
        const REPLY = 0x08;
        /// Not understood, or not acceptable in the connection's state.
        const INVALID = 0x10;
        /// Connection tracking has seen the packet.
        const TRACKED = 0x20;
        /// The source address or port was translated.
        const SRC_NAT = 0x40;
        /// The destination address or port was translated.
        const DST_NAT = 0x80;
    }
}

bitflags! {
    /// What a tunnel's outer header said beside addresses, as bits of [`FlowKey::tun_flags`](crate::FlowKey::tun_flags).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
    pub struct TunnelFlags: u8 {
        /// Geneve: a control packet (RFC 8926, section 3.4). The one flag that a flow can match.
        const OAM = 0x01;
        /// IPv4: do not fragment.
        const DONT_FRAGMENT = 0x02;
        /// There is a checksum: of GRE, or of UDP over the tunnel's payload.
        const CHECKSUM = 0x04;
        /// There is a key, so that a tunnel id of zero differs from none.
        const KEY = 0x08;
    }
}

impl CtState {
    /// The names in text, from bit 0 on.
    pub const NAMES: [&'static str; 8] = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
}

/// Addresses, protocol and ports of a connection's first packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OriginalTuple {
    /// Over IPv4.
    V4 {
        /// Source address.
        src: Ipv4Addr,
        /// Destination address.
        dst: Ipv4Addr,
        /// IP protocol.
        proto: u8,
        /// Source port, or ICMP type.
        tp_src: u16,
        /// Destination port, or ICMP code.
        tp_dst: u16,
    },
    /// Over IPv6.
    V6 {
        /// Source address.
        src: Ipv6Addr,
        /// Destination address.
        dst: Ipv6Addr,
        /// IP protocol.
        proto: u8,
        /// Source port, or ICMP type.
        tp_src: u16,
        /// Destination port, or ICMP code.
        tp_dst: u16,
    },
}

/// What connection tracking says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CtMetadata {
    /// State bits; none for a packet that was not tracked.
    pub state: CtState,
    /// Zone it was tracked in.
    pub zone: u16,
    /// The connection's mark.
    pub mark: u32,
    /// The connection's label.
    pub label: u128,
    /// Tuple of the connection's first packet.
    pub original: Option<OriginalTuple>,
}

/// What goes along with a packet from port to port. What every packet has comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Metadata {
    /// Port of the datapath that the packet came in by.
    pub in_port: u32,
    /// Recirculation id; 0 as it came.
    pub recirc_id: u32,
    /// Namespace and type of the first header; 0 is Ethernet.
    pub packet_type: u32,
    /// Hash that an action computed.
    pub dp_hash: u32,
    /// Priority for queueing.
    pub skb_priority: u32,
    /// Mark, as the kernel's.
    pub pkt_mark: u32,
    /// Connection tracking.
    pub ct: CtMetadata,
}

impl Default for Metadata {
    /// A constant, copied in a few wide moves. Members that are set on the stack one by one and then copied from there at once
    /// wait for one another: a quarter of what it costs to forward a packet.
    #[inline]
    fn default() -> Metadata {
        Metadata::NONE
    }
}

impl Metadata {
    /// Of a packet about which nothing is known.
    pub(super) const NONE: Metadata = Metadata {
        in_port: 0,
        recirc_id: 0,
        dp_hash: 0,
        skb_priority: 0,
        pkt_mark: 0,
        packet_type: 0,
        ct: CtMetadata { state: CtState::empty(), zone: 0, mark: 0, label: 0, original: None },
    };
}
