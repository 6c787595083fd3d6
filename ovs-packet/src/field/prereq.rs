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

/// The fields that prerequisites are read from, as bits, with other fields of the same bits.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const HINGES: [u64; 4] = {
    use FieldId::*;
    let fields = [
        PacketType, EthType, VlanTci, VlanVid, DlVlan, NwProto, ArpOp, IpFrag, Icmpv6Type, Icmpv6Code, IcmpType,
        IcmpCode, CtState,
    ];
    let (mut bits, mut i) = ([0; 4], 0);
    while i < fields.len() {
        bits[fields[i] as usize / 64] |= 1 << (fields[i] as usize % 64);
        i += 1;
    }
    bits
};

/// A field's prerequisite (OpenFlow 1.5, section 7.2.3.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
#[repr(u8)]
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
#[inline(always)]
pub(crate) fn dl_type_in(word: impl Fn(usize) -> u64) -> u16 {
    match small(FieldId::PacketType, &word) {
        kind @ 0x1_0000..=0x1_ffff => kind as u16,
        _ => small(FieldId::EthType, &word) as u16,
    }
}

/// A field that is in one word.
#[inline(always)]
fn small(field: FieldId, word: impl Fn(usize) -> u64) -> u64 {
    let info = field.info();
    info.single_word().map_or(0, |i| info.part(word(i)))
}

/// Prerequisites.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct PrereqSet(u32);

impl PrereqSet {
    /// Whether a prerequisite is among them.
    #[inline]
    pub const fn contains(self, prereq: Prereq) -> bool {
        self.0 >> prereq as u8 & 1 != 0
    }

    /// The numbers of those that are among them.
    #[inline(always)]
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let prereq = rest.trailing_zeros() as usize;
            rest &= rest.wrapping_sub(1);
            (prereq < 32).then_some(prereq)
        })
    }

    fn insert(&mut self, prereq: Prereq, is: bool) {
        self.0 |= u32::from(is) << prereq as u8;
    }

    /// What every packet has.
    pub(crate) const EVERY: PrereqSet = PrereqSet(1 << Prereq::None as u8);

    /// What every packet has of whose type nothing is said.
    pub(crate) const ETHERNET: PrereqSet = PrereqSet::EVERY.and(Prereq::Ethernet);

    /// All that there are.
    pub(crate) const ALL: PrereqSet = PrereqSet(u32::MAX >> (31 - Prereq::Ct as u8));

    /// These and others.
    pub(crate) const fn with(self, others: PrereqSet) -> PrereqSet {
        PrereqSet(self.0 | others.0)
    }

    const fn and(self, prereq: Prereq) -> PrereqSet {
        PrereqSet(self.0 | 1 << prereq as u8)
    }

    /// These, and what packets of an Ethertype have.
    pub(crate) const fn with_network(self, eth_type: u16) -> PrereqSet {
        match eth_type {
            ETH_TYPE_IPV4 => self.and(Prereq::Ip).and(Prereq::Ipv4),
            ETH_TYPE_IPV6 => self.and(Prereq::Ip).and(Prereq::Ipv6),
            ETH_TYPE_ARP | ETH_TYPE_RARP => self.and(Prereq::Arp),
            ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST => self.and(Prereq::Mpls),
            ETH_TYPE_NSH => self.and(Prereq::Nsh),
            _ => self,
        }
    }

    /// These, of packets of IP, and what they have whose protocol this is, but neighbour discovery.
    pub(crate) const fn with_transport(self, proto: u8) -> PrereqSet {
        match proto {
            IP_PROTO_TCP => self.and(Prereq::Tcp),
            IP_PROTO_UDP => self.and(Prereq::Udp),
            IP_PROTO_SCTP => self.and(Prereq::Sctp),
            IP_PROTO_ICMP if self.contains(Prereq::Ipv4) => self.and(Prereq::Icmpv4),
            IP_PROTO_ICMPV6 if self.contains(Prereq::Ipv6) => self.and(Prereq::Icmpv6),
            _ => self,
        }
    }

    /// All but [`Prereq::Ct`], by values and masks of the words of a key.
    #[inline(always)]
    pub(crate) fn of(word: impl Fn(usize) -> (u64, u64)) -> PrereqSet {
        let word_of = |field: FieldId| field.info().single_word().map_or((0, 0), &word);
        let part = |field: FieldId, word: u64| field.info().part(word);
        let is_exact = |field: FieldId, mask: u64| u128::from(part(field, mask)) == field.info().max_value();
        let mut set = PrereqSet::EVERY;
        let (first, (l2, l2_mask)) = (word_of(FieldId::PacketType), word_of(FieldId::EthType));
        let kind = part(FieldId::PacketType, first.0);
        set.insert(Prereq::Ethernet, kind == 0);
        set.insert(Prereq::Vlan, part(FieldId::VlanTci, l2 & l2_mask) & u64::from(VLAN_PRESENT) != 0);
        let (eth_type, known) = match kind >> 16 {
            1 => (kind as u16, is_exact(FieldId::PacketType, first.1)),
            _ => (part(FieldId::EthType, l2) as u16, is_exact(FieldId::EthType, l2_mask)),
        };
        if !known {
            return set;
        }
        set = set.with_network(eth_type);
        if !set.contains(Prereq::Ip) {
            return set;
        }
        // A match that says nothing of fragments means packets that have an L4 header, as in OpenFlow.
        let (l3, l3_mask) = word_of(FieldId::NwProto);
        if !is_exact(FieldId::NwProto, l3_mask) || part(FieldId::IpFrag, l3) & u64::from(FRAG_LATER) != 0 {
            return set;
        }
        set = set.with_transport(part(FieldId::NwProto, l3) as u8);
        if set.contains(Prereq::Icmpv6) {
            // No neighbour discovery has another code than 0, which OpenFlow does not ask for.
            let (l4, l4_mask) = word_of(FieldId::TcpSrc);
            let nd = is_exact(FieldId::Icmpv6Type, l4_mask) && part(FieldId::TcpDst, l4) == 0;
            let kind = part(FieldId::TcpSrc, l4);
            let (solicit, advert) = (kind == u64::from(ND_SOLICIT), kind == u64::from(ND_ADVERT));
            set.insert(Prereq::NdSolicit, nd && solicit);
            set.insert(Prereq::NdAdvert, nd && advert);
            set.insert(Prereq::Nd, nd && (solicit || advert));
        }
        set
    }
}

impl PrereqSet {
    /// The prerequisites that every packet has which meets a match, by values and masks of the words of it.
    #[inline]
    pub(crate) fn of_match(word: impl Fn(usize) -> (u64, u64)) -> PrereqSet {
        let mut set = PrereqSet::of(&word);
        let state = small(FieldId::CtState, |i| word(i).0);
        let known = small(FieldId::CtState, |i| word(i).1);
        let has = |bits: u8| state & u64::from(bits) != 0;
        let not_invalid = known & !state & u64::from(Ct::INVALID.bits()) != 0;
        set.insert(Prereq::Ct, has(ABOUT_CONNECTION) || has(Ct::TRACKED.bits()) && not_invalid);
        set
    }
}

impl Match {
    /// The prerequisites that every packet has which meets the match.
    ///
    /// ```
    /// use ovs_packet::Match;
    /// use ovs_packet::field::Prereq;
    ///
    /// let all = "tcp,tp_dst=80".parse::<Match>().unwrap().prereqs();
    /// assert!(all.contains(Prereq::Ip) && all.contains(Prereq::Tcp) && !all.contains(Prereq::Udp));
    /// ```
    pub fn prereqs(&self) -> PrereqSet {
        PrereqSet::of_match(|i| self.word(i))
    }
}

impl Prereq {
    /// Whether a packet with this key has the field.
    pub fn holds(self, key: &FlowKey) -> bool {
        match self {
            Prereq::None => true,
            Prereq::Ct => key.ct_state & OF_CONNECTION != 0,
            _ => PrereqSet::of(|i| (key.word(i), u64::MAX)).contains(self),
        }
    }

    /// Whether a packet has the field if what a match leaves open is zero in it.
    #[inline]
    pub fn holds_for(self, m: &Match) -> bool {
        match self {
            Prereq::None => true,
            Prereq::Ip => matches!(dl_type_in(|i| m.word(i).0), ETH_TYPE_IPV4 | ETH_TYPE_IPV6),
            // States that are not asked for may be there all the same: a related packet has a connection.
            Prereq::Ct => m.prereqs().contains(self),
            _ => PrereqSet::of(|i| (m.word(i).0, u64::MAX)).contains(self),
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
    /// A match that says nothing of fragments is taken to mean packets that have an L4 header, as in OpenFlow. Who asks
    /// for several asks the match once, for its [`prereqs`](Match::prereqs).
    pub fn implied_by(self, m: &Match) -> bool {
        self == Prereq::None || m.prereqs().contains(self)
    }

    /// Whether what a match says of `field` can change which prerequisites it implies.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "no field's number is above those that there are bits for")]
    pub const fn may_hang_on(field: FieldId) -> bool {
        HINGES[field as usize / 64] >> (field as usize % 64) & 1 != 0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_together_is_in_one_word() {
        let word = |field: FieldId| field.info().single_word().unwrap();
        assert_eq!(word(FieldId::EthType), word(FieldId::VlanTci));
        assert_eq!(word(FieldId::NwProto), word(FieldId::IpFrag));
        assert_eq!(word(FieldId::TcpSrc), word(FieldId::TcpDst));
    }

    #[test]
    fn fields_on_which_prerequisites_hang_are_known() {
        for hinge in FieldId::all().flat_map(|f| f.info().prereq.reads()) {
            assert!(Prereq::may_hang_on(*hinge), "{}", hinge.info().name);
        }
        assert!(!Prereq::may_hang_on(FieldId::NwSrc) && !Prereq::may_hang_on(FieldId::Metadata));
    }
}
