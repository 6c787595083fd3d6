//! What else a match must say for a field to exist.

use crate::extract::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_NSH, ETH_TYPE_RARP,
    IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP, ND_ADVERT, ND_SOLICIT,
};
use crate::field::FieldId;
use crate::key::{FRAG_LATER, FlowKey, Match, VLAN_PRESENT};
use crate::packet::CtState as Ct;

/// States of a packet that belongs to a connection.
const OF_CONNECTION: u8 = Ct::NEW.union(Ct::ESTABLISHED).union(Ct::REPLY).bits();
/// States that a match may ask for to be sure of a connection.
const ABOUT_CONNECTION: u8 = OF_CONNECTION | Ct::RELATED.union(Ct::SRC_NAT).union(Ct::DST_NAT).bits();

/// A field's prerequisite (OpenFlow 1.5, section 7.2.3.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Prereq {
    /// Every packet has the field.
    None,
    /// The packet begins with an Ethernet header.
    Ethernet,
    /// There is a VLAN tag.
    Vlan,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// IPv4 or IPv6.
    Ip,
    /// ARP or RARP.
    Arp,
    /// TCP, over IPv4 or IPv6, not a later fragment.
    Tcp,
    /// UDP, likewise.
    Udp,
    /// SCTP, likewise.
    Sctp,
    /// ICMP over IPv4.
    Icmpv4,
    /// ICMP over IPv6.
    Icmpv6,
    /// Neighbour solicitation or advertisement.
    Nd,
    /// Neighbour solicitation.
    NdSolicit,
    /// Neighbour advertisement.
    NdAdvert,
    /// MPLS unicast or multicast.
    Mpls,
    /// NSH.
    Nsh,
    /// The connection's original tuple is there: the packet is of a connection, or about one.
    Ct,
}

/// The Ethertype that says what the network layer is: that of a packet without Ethernet stands in its type.
pub(crate) fn dl_type(key: &FlowKey) -> u16 {
    match key.packet_type.get() {
        kind @ 0x1_0000..=0x1_ffff => kind as u16,
        _ => key.eth_type.get(),
    }
}

impl Prereq {
    /// Whether a packet with this key has the field.
    pub fn holds(self, key: &FlowKey) -> bool {
        let eth_type = dl_type(key);
        let ip = || matches!(eth_type, ETH_TYPE_IPV4 | ETH_TYPE_IPV6);
        let l4 = |proto| ip() && key.nw_proto == proto && key.nw_frag & FRAG_LATER == 0;
        let icmpv6 = || eth_type == ETH_TYPE_IPV6 && l4(IP_PROTO_ICMPV6);
        let nd = |kind: u8| icmpv6() && key.tp_src == u16::from(kind) && key.tp_dst == 0;
        match self {
            Prereq::None => true,
            Prereq::Ethernet => key.packet_type == 0,
            Prereq::Vlan => key.vlan_tci.get() & VLAN_PRESENT != 0,
            Prereq::Ipv4 => eth_type == ETH_TYPE_IPV4,
            Prereq::Ipv6 => eth_type == ETH_TYPE_IPV6,
            Prereq::Ip => ip(),
            Prereq::Arp => matches!(eth_type, ETH_TYPE_ARP | ETH_TYPE_RARP),
            Prereq::Tcp => l4(IP_PROTO_TCP),
            Prereq::Udp => l4(IP_PROTO_UDP),
            Prereq::Sctp => l4(IP_PROTO_SCTP),
            Prereq::Icmpv4 => eth_type == ETH_TYPE_IPV4 && l4(IP_PROTO_ICMP),
            Prereq::Icmpv6 => icmpv6(),
            Prereq::Nd => nd(ND_SOLICIT) || nd(ND_ADVERT),
            Prereq::NdSolicit => nd(ND_SOLICIT),
            Prereq::NdAdvert => nd(ND_ADVERT),
            Prereq::Mpls => matches!(eth_type, ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST),
            Prereq::Nsh => eth_type == ETH_TYPE_NSH,
            Prereq::Ct => key.ct_state & OF_CONNECTION != 0,
        }
    }

    /// The fields that the prerequisite reads.
    pub fn reads(self) -> &'static [FieldId] {
        use FieldId::{CtState, EthType, Icmpv6Code, Icmpv6Type, IpFrag, NwProto, PacketType, VlanVid};
        match self {
            Prereq::None => &[],
            Prereq::Ethernet => &[PacketType],
            Prereq::Vlan => &[VlanVid],
            Prereq::Ipv4 | Prereq::Ipv6 | Prereq::Ip | Prereq::Arp | Prereq::Mpls | Prereq::Nsh => &[EthType],
            Prereq::Tcp | Prereq::Udp | Prereq::Sctp | Prereq::Icmpv4 | Prereq::Icmpv6 => &[EthType, NwProto, IpFrag],
            Prereq::Nd | Prereq::NdSolicit | Prereq::NdAdvert => &[EthType, NwProto, IpFrag, Icmpv6Type, Icmpv6Code],
            Prereq::Ct => &[CtState],
        }
    }

    /// Whether every packet that meets `m` has the field.
    ///
    /// A match that says nothing of fragments is taken to mean packets that have an L4 header, as in OpenFlow.
    pub fn implied_by(self, m: &Match) -> bool {
        let bits = &m.mask().bits;
        let dl_type = || match m.key().packet_type.get() >> 16 {
            1 => bits.packet_type.get() == u32::MAX,
            _ => bits.eth_type.get() == u16::MAX,
        };
        let l4 = || dl_type() && bits.nw_proto == u8::MAX;
        // No neighbour discovery has another code than 0, which OpenFlow does not ask for.
        let kind = || m.mask().is_exact(FieldId::Icmpv6Type);
        let pinned = match self {
            Prereq::None | Prereq::Ethernet | Prereq::Ct => true,
            Prereq::Vlan => bits.vlan_tci.get() & VLAN_PRESENT != 0,
            Prereq::Ipv4 | Prereq::Ipv6 | Prereq::Ip | Prereq::Arp | Prereq::Mpls | Prereq::Nsh => dl_type(),
            Prereq::Tcp | Prereq::Udp | Prereq::Sctp | Prereq::Icmpv4 | Prereq::Icmpv6 => l4(),
            Prereq::Nd | Prereq::NdSolicit | Prereq::NdAdvert => l4() && kind(),
        };
        if self == Prereq::Ct {
            let (state, known) = (m.key().ct_state, m.mask().bits.ct_state);
            let valid = state & Ct::TRACKED.bits() != 0 && known & !state & Ct::INVALID.bits() != 0;
            return state & ABOUT_CONNECTION != 0 || valid;
        }
        pinned && self.holds(m.key())
    }

    /// What the match lacks, in the words of the match language.
    pub fn hint(self) -> &'static str {
        match self {
            Prereq::None => "nothing",
            Prereq::Ethernet => "packet_type=(0,0)",
            Prereq::Vlan => "a VLAN (vlan_tci=0x1000/0x1000)",
            Prereq::Ipv4 => "ip",
            Prereq::Ipv6 => "ipv6",
            Prereq::Ip => "ip or ipv6",
            Prereq::Arp => "arp or rarp",
            Prereq::Tcp => "tcp or tcp6",
            Prereq::Udp => "udp or udp6",
            Prereq::Sctp => "sctp or sctp6",
            Prereq::Icmpv4 => "icmp",
            Prereq::Icmpv6 => "icmp6",
            Prereq::Nd => "icmp6,icmp_type=135 or 136",
            Prereq::NdSolicit => "icmp6,icmp_type=135",
            Prereq::NdAdvert => "icmp6,icmp_type=136",
            Prereq::Mpls => "mpls or mplsm",
            Prereq::Nsh => "dl_type=0x894f",
            Prereq::Ct => "ct_state with +new, +est, +rel, +rpl, or +trk-inv",
        }
    }
}
