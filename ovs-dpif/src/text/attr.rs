//! The attributes of a datapath key, each declared once, for those who write them and those who read them.

use ovs_packet::FlowKey;
use ovs_packet::field::{FieldId, KeyAttr};
use ovs_packet::key::{FRAG_ANY, FRAG_LATER, MPLS_DEPTH, VLAN_PRESENT};

/// The fragment bits.
const FRAG: u8 = FRAG_ANY | FRAG_LATER;

/// How a member's value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Decimal, the mask hexadecimal.
    Decimal,
    /// Hexadecimal; zero is `0`.
    Hex,
    /// Hexadecimal, zero too.
    Hex0,
    /// Hexadecimal of four digits.
    Hex4,
    /// Decimal; with a mask, both hexadecimal of two digits.
    NshByte,
    /// Hexadecimal; the mask of eight digits.
    NshWord,
    /// `xx:xx:xx:xx:xx:xx`, the mask too.
    Ethernet,
    /// Dotted quad, the mask too.
    Ipv4,
    /// RFC 5952, the mask too.
    Ipv6,
    /// `no`, `first` or `later`; all bits or none.
    Fragment,
    /// The field's own names, `a|b` or `+a-b`.
    Names,
    /// A port's number, or its name.
    Port,
}

/// Where in a key a member's value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// A match field.
    Field(FieldId),
    /// The whole TOS byte.
    Tos,
    /// Namespace of the packet type.
    PacketNamespace,
    /// Type within the namespace.
    PacketId,
    /// Both fragment bits as one of three values.
    Fragment,
    /// UDP source or destination port of a tunnel's outer header.
    TunnelPort { dst: bool },
    /// Bits of one of the MPLS label stack entries.
    Mpls { entry: usize, shift: u8, bits: u8 },
    /// VLAN id, priority, or the bit that upstream calls CFI, of the outer or the inner tag.
    Vlan { inner: bool, shift: u8, bits: u8 },
}

impl Place {
    /// The value in `key`.
    pub(super) fn get(self, key: &FlowKey) -> u128 {
        match self {
            Place::Field(field) => field.info().get(key),
            Place::Tos => key.nw_tos.into(),
            Place::PacketNamespace => (key.packet_type.get() >> 16).into(),
            Place::PacketId => (key.packet_type.get() & 0xffff).into(),
            Place::Fragment => (key.nw_frag & FRAG).into(),
            Place::TunnelPort { dst: false } => key.tun_tp_src.get().into(),
            Place::TunnelPort { dst: true } => key.tun_tp_dst.get().into(),
            Place::Mpls { entry, shift, .. } => {
                key.mpls_lse.get(entry).map_or(0, |lse| u128::from(lse.get()) >> shift & self.max())
            }
            Place::Vlan { inner, shift, .. } => {
                let tci = if inner { key.inner_vlan_tci } else { key.vlan_tci };
                u128::from(tci.get()) >> shift & self.max()
            }
        }
    }

    /// Writes the value into `key`; bits that do not fit are dropped.
    pub(super) fn put(self, key: &mut FlowKey, value: u128) {
        match self {
            Place::Field(field) => field.info().put(key, value),
            Place::Tos => key.nw_tos = value as u8,
            Place::PacketNamespace => key.packet_type.set(key.packet_type.get() & 0xffff | (value as u32) << 16),
            Place::PacketId => key.packet_type.set(key.packet_type.get() & 0xffff_0000 | value as u32 & 0xffff),
            Place::Fragment => key.nw_frag = key.nw_frag & !FRAG | value as u8 & FRAG,
            Place::TunnelPort { dst: false } => key.tun_tp_src.set(value as u16),
            Place::TunnelPort { dst: true } => key.tun_tp_dst.set(value as u16),
            Place::Mpls { entry, shift, .. } => {
                if let Some(lse) = key.mpls_lse.get_mut(entry) {
                    let (all, value) = ((self.max() as u32) << shift, (value as u32) << shift);
                    lse.set(lse.get() & !all | value & all);
                }
            }
            Place::Vlan { inner, shift, .. } => {
                let tci = if inner { &mut key.inner_vlan_tci } else { &mut key.vlan_tci };
                let (all, value) = ((self.max() as u16) << shift, (value as u16) << shift);
                tci.set(tci.get() & !all | value & all);
            }
        }
    }

    /// The greatest value: all bits of a mask.
    pub(super) fn max(self) -> u128 {
        match self {
            Place::Field(field) => field.info().max_value(),
            Place::Tos => 0xff,
            Place::PacketNamespace | Place::PacketId | Place::TunnelPort { .. } => 0xffff,
            Place::Fragment => FRAG.into(),
            Place::Vlan { bits, .. } | Place::Mpls { bits, .. } => (1 << bits) - 1,
        }
    }
}

/// A member of an attribute, written `name=value`; the one of an attribute that has a bare value has no name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) form: Form,
}

/// An attribute: `name(members)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attr {
    pub(super) name: &'static str,
    pub(super) attr: KeyAttr,
    pub(super) members: &'static [Member],
}

macro_rules! attrs {
    ($($name:literal $attr:ident { $($member:literal = $place:expr, $form:ident;)+ })+) => {
        /// The attributes that have plain members: all but tunnels, VLAN tags and label stacks.
        pub(super) const ATTRS: &[Attr] = &[$(Attr {
            name: $name,
            attr: KeyAttr::$attr,
            members: &[$(Member { name: $member, place: $place, form: Form::$form }),+],
        }),+];
    };
}

use Place::Field as F;

attrs! {
    "recirc_id" RecircId { "" = F(FieldId::RecircId), Hex; }
    "dp_hash" DpHash { "" = F(FieldId::DpHash), Hex; }
    "skb_priority" Priority { "" = F(FieldId::SkbPriority), Hex; }
    "in_port" InPort { "" = F(FieldId::InPortOxm), Port; }
    "skb_mark" SkbMark { "" = F(FieldId::PktMark), Hex; }
    "ct_state" CtState { "" = F(FieldId::CtState), Names; }
    "ct_zone" CtZone { "" = F(FieldId::CtZone), Hex; }
    "ct_mark" CtMark { "" = F(FieldId::CtMark), Hex; }
    "ct_label" CtLabels { "" = F(FieldId::CtLabel), Hex; }
    "ct_tuple4" CtOrigTupleIpv4 {
        "src" = F(FieldId::CtNwSrc), Ipv4;
        "dst" = F(FieldId::CtNwDst), Ipv4;
        "proto" = F(FieldId::CtNwProto), Decimal;
        "tp_src" = F(FieldId::CtTpSrc), Decimal;
        "tp_dst" = F(FieldId::CtTpDst), Decimal;
    }
    "ct_tuple6" CtOrigTupleIpv6 {
        "src" = F(FieldId::CtIpv6Src), Ipv6;
        "dst" = F(FieldId::CtIpv6Dst), Ipv6;
        "proto" = F(FieldId::CtNwProto), Decimal;
        "tp_src" = F(FieldId::CtTpSrc), Decimal;
        "tp_dst" = F(FieldId::CtTpDst), Decimal;
    }
    "packet_type" PacketType { "ns" = Place::PacketNamespace, Decimal; "id" = Place::PacketId, Hex; }
    "eth" Ethernet { "src" = F(FieldId::EthSrc), Ethernet; "dst" = F(FieldId::EthDst), Ethernet; }
    "eth_type" EtherType { "" = F(FieldId::EthType), Hex4; }
    "ipv4" Ipv4 {
        "src" = F(FieldId::NwSrc), Ipv4;
        "dst" = F(FieldId::NwDst), Ipv4;
        "proto" = F(FieldId::NwProto), Decimal;
        "tos" = Place::Tos, Hex;
        "ttl" = F(FieldId::NwTtl), Decimal;
        "frag" = Place::Fragment, Fragment;
    }
    "ipv6" Ipv6 {
        "src" = F(FieldId::Ipv6Src), Ipv6;
        "dst" = F(FieldId::Ipv6Dst), Ipv6;
        "label" = F(FieldId::Ipv6Label), Hex;
        "proto" = F(FieldId::NwProto), Decimal;
        "tclass" = Place::Tos, Hex;
        "hlimit" = F(FieldId::NwTtl), Decimal;
        "frag" = Place::Fragment, Fragment;
    }
    "arp" Arp {
        "sip" = F(FieldId::ArpSpa), Ipv4;
        "tip" = F(FieldId::ArpTpa), Ipv4;
        "op" = F(FieldId::ArpOp), Decimal;
        "sha" = F(FieldId::ArpSha), Ethernet;
        "tha" = F(FieldId::ArpTha), Ethernet;
    }
    "nsh" Nsh {
        "flags" = F(FieldId::NshFlags), NshByte;
        "ttl" = F(FieldId::NshTtl), NshByte;
        "mdtype" = F(FieldId::NshMdtype), NshByte;
        "np" = F(FieldId::NshNp), NshByte;
        "spi" = F(FieldId::NshSpi), NshWord;
        "si" = F(FieldId::NshSi), NshByte;
        "c1" = F(FieldId::NshC1), NshWord;
        "c2" = F(FieldId::NshC2), NshWord;
        "c3" = F(FieldId::NshC3), NshWord;
        "c4" = F(FieldId::NshC4), NshWord;
    }
    "tcp" Tcp { "src" = F(FieldId::TcpSrc), Decimal; "dst" = F(FieldId::TcpDst), Decimal; }
    "tcp_flags" TcpFlags { "" = F(FieldId::TcpFlags), Names; }
    "udp" Udp { "src" = F(FieldId::UdpSrc), Decimal; "dst" = F(FieldId::UdpDst), Decimal; }
    "sctp" Sctp { "src" = F(FieldId::SctpSrc), Decimal; "dst" = F(FieldId::SctpDst), Decimal; }
    "icmp" Icmp { "type" = F(FieldId::IcmpType), Decimal; "code" = F(FieldId::IcmpCode), Decimal; }
    "icmpv6" Icmpv6 { "type" = F(FieldId::Icmpv6Type), Decimal; "code" = F(FieldId::Icmpv6Code), Decimal; }
    "nd" Nd {
        "target" = F(FieldId::NdTarget), Ipv6;
        "sll" = F(FieldId::NdSll), Ethernet;
        "tll" = F(FieldId::NdTll), Ethernet;
    }
    "nd_ext" NdExtensions {
        "nd_reserved" = F(FieldId::NdReserved), Hex0;
        "nd_options_type" = F(FieldId::NdOptionsType), Decimal;
    }
}

/// The members of a VLAN tag, outer and inner. The bit that says that there is a tag is written only where it is off.
pub(super) const VLANS: [&[Member]; 2] = {
    const fn member(name: &'static str, inner: bool, shift: u8, bits: u8) -> Member {
        Member { name, place: Place::Vlan { inner, shift, bits }, form: Form::Decimal }
    }
    [
        &[member("vid", false, 0, 12), member("pcp", false, 13, 3), member("cfi", false, 12, 1)],
        &[member("vid", true, 0, 12), member("pcp", true, 13, 3), member("cfi", true, 12, 1)],
    ]
};
const _: () = assert!(VLAN_PRESENT == 1 << 12);

/// The members of a label stack entry, one list for each that a key keeps.
pub(super) const MPLS: [[Member; 4]; MPLS_DEPTH] = {
    const fn entry(entry: usize) -> [Member; 4] {
        const fn member(name: &'static str, entry: usize, shift: u8, bits: u8) -> Member {
            Member { name, place: Place::Mpls { entry, shift, bits }, form: Form::Decimal }
        }
        [
            member("label", entry, 12, 20),
            member("tc", entry, 9, 3),
            member("ttl", entry, 0, 8),
            member("bos", entry, 8, 1),
        ]
    }
    [entry(0), entry(1), entry(2)]
};

/// The attribute called `name`.
pub(super) fn by_name(name: &str) -> Option<&'static Attr> {
    ATTRS.iter().find(|a| a.name == name)
}

/// The attribute's row.
pub(super) fn row(attr: KeyAttr) -> Option<&'static Attr> {
    ATTRS.iter().find(|a| a.attr == attr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_got_and_nothing_else_changes() {
        let members =
            ATTRS.iter().flat_map(|a| a.members).chain(VLANS.into_iter().flatten()).chain(MPLS.iter().flatten());
        for m in members {
            let mut key = FlowKey::from_words([u64::MAX; ovs_packet::key::WORDS]);
            m.place.put(&mut key, 0);
            assert_eq!(m.place.get(&key), 0, "{}", m.name);
            let cleared: u32 = key.words().iter().map(|w| w.count_zeros()).sum();
            assert_eq!(cleared, m.place.max().count_ones(), "{}", m.name);
            let mut key = FlowKey::ZERO;
            m.place.put(&mut key, u128::MAX);
            assert_eq!(m.place.get(&key), m.place.max(), "{}", m.name);
        }
    }
}
