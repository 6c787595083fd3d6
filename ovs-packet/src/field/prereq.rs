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
    dl_type_in(|i| key.word(i))
}

/// The same of a key of which `word` gives the words.
#[inline]
pub(crate) fn dl_type_in(word: impl Fn(usize) -> u64) -> u16 {
    match FieldId::PacketType.info().read(&word) {
        kind @ 0x1_0000..=0x1_ffff => kind as u16,
        _ => FieldId::EthType.info().read(&word) as u16,
    }
}

impl Prereq {
    /// Whether a packet with this key has the field.
    pub fn holds(self, key: &FlowKey) -> bool {
        self.holds_in(|i| key.word(i))
    }

    /// The same of a key of which `word` gives the words.
    #[inline]
    fn holds_in(self, word: impl Fn(usize) -> u64) -> bool {
        let small = |field: FieldId| field.info().read(&word) as u32;
        let ip = || matches!(dl_type_in(&word), ETH_TYPE_IPV4 | ETH_TYPE_IPV6);
        let l4 = |proto: u8| {
            ip() && small(FieldId::NwProto) == proto.into() && small(FieldId::IpFrag) & u32::from(FRAG_LATER) == 0
        };
        let icmpv6 = || dl_type_in(&word) == ETH_TYPE_IPV6 && l4(IP_PROTO_ICMPV6);
        let nd = |kind: u8| icmpv6() && small(FieldId::TcpSrc) == kind.into() && small(FieldId::TcpDst) == 0;
        match self {
            Prereq::None => true,
            Prereq::Ethernet => small(FieldId::PacketType) == 0,
            Prereq::Vlan => small(FieldId::VlanTci) & u32::from(VLAN_PRESENT) != 0,
            Prereq::Ipv4 => dl_type_in(&word) == ETH_TYPE_IPV4,
            Prereq::Ipv6 => dl_type_in(&word) == ETH_TYPE_IPV6,
            Prereq::Ip => ip(),
            Prereq::Arp => matches!(dl_type_in(&word), ETH_TYPE_ARP | ETH_TYPE_RARP),
            Prereq::Tcp => l4(IP_PROTO_TCP),
            Prereq::Udp => l4(IP_PROTO_UDP),
            Prereq::Sctp => l4(IP_PROTO_SCTP),
            Prereq::Icmpv4 => dl_type_in(&word) == ETH_TYPE_IPV4 && l4(IP_PROTO_ICMP),
            Prereq::Icmpv6 => icmpv6(),
            Prereq::Nd => nd(ND_SOLICIT) || nd(ND_ADVERT),
            Prereq::NdSolicit => nd(ND_SOLICIT),
            Prereq::NdAdvert => nd(ND_ADVERT),
            Prereq::Mpls => matches!(dl_type_in(&word), ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST),
            Prereq::Nsh => dl_type_in(&word) == ETH_TYPE_NSH,
            Prereq::Ct => small(FieldId::CtState) & u32::from(OF_CONNECTION) != 0,
        }
    }

    /// Whether a packet has the field if what a match leaves open is zero in it.
    pub fn holds_for(self, m: &Match) -> bool {
        self.holds_in(|i| m.word(i).0)
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
        let dl_type = || match m.get(FieldId::PacketType).0 >> 16 {
            1 => m.is_exact(FieldId::PacketType),
            _ => m.is_exact(FieldId::EthType),
        };
        let l4 = || dl_type() && m.is_exact(FieldId::NwProto);
        // No neighbour discovery has another code than 0, which OpenFlow does not ask for.
        let kind = || m.is_exact(FieldId::Icmpv6Type);
        let pinned = match self {
            Prereq::None | Prereq::Ethernet | Prereq::Ct => true,
            Prereq::Vlan => m.get(FieldId::VlanTci).1 & u128::from(VLAN_PRESENT) != 0,
            Prereq::Ipv4 | Prereq::Ipv6 | Prereq::Ip | Prereq::Arp | Prereq::Mpls | Prereq::Nsh => dl_type(),
            Prereq::Tcp | Prereq::Udp | Prereq::Sctp | Prereq::Icmpv4 | Prereq::Icmpv6 => l4(),
            Prereq::Nd | Prereq::NdSolicit | Prereq::NdAdvert => l4() && kind(),
        };
        if self == Prereq::Ct {
            let (state, known) = m.get(FieldId::CtState);
            let has = |bits: u8| state & u128::from(bits) != 0;
            let not_invalid = known & !state & u128::from(Ct::INVALID.bits()) != 0;
            return has(ABOUT_CONNECTION) || has(Ct::TRACKED.bits()) && not_invalid;
        }
        pinned && self.holds_for(m)
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
