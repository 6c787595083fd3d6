//! Keys in words.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use ovs_packet::extract::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_RARP, IP_PROTO_ICMP,
    IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP,
};
use ovs_packet::field::{FieldId, Format, Value};
use ovs_packet::key::{FRAG_ANY, FRAG_LATER, VLAN_PRESENT};
use ovs_packet::{FlowKey, FlowMask};

pub(super) struct KeyText {
    pub(super) key: FlowKey,
    pub(super) mask: FlowMask,
}

/// How a member of an attribute is written.
#[derive(Clone, Copy)]
enum As {
    /// By the field's own format, IPv4 masks dotted.
    Value,
    Decimal,
    Hex,
}

/// The attribute's members without names, or `name=` members.
type Members = &'static [(&'static str, FieldId, As)];

const IPV4: Members = &[("src", FieldId::NwSrc, As::Value), ("dst", FieldId::NwDst, As::Value)];
const IPV6: Members = &[
    ("src", FieldId::Ipv6Src, As::Value),
    ("dst", FieldId::Ipv6Dst, As::Value),
    ("label", FieldId::Ipv6Label, As::Hex),
];
const ETHERNET: Members = &[("src", FieldId::EthSrc, As::Value), ("dst", FieldId::EthDst, As::Value)];
const ARP: Members = &[
    ("sip", FieldId::ArpSpa, As::Value),
    ("tip", FieldId::ArpTpa, As::Value),
    ("op", FieldId::ArpOp, As::Decimal),
    ("sha", FieldId::ArpSha, As::Value),
    ("tha", FieldId::ArpTha, As::Value),
];
const PORTS: Members = &[("src", FieldId::TcpSrc, As::Decimal), ("dst", FieldId::TcpDst, As::Decimal)];
const ICMP: Members = &[("type", FieldId::IcmpType, As::Decimal), ("code", FieldId::IcmpCode, As::Decimal)];
const ND: Members =
    &[("target", FieldId::NdTarget, As::Value), ("sll", FieldId::NdSll, As::Value), ("tll", FieldId::NdTll, As::Value)];
const MPLS: Members = &[
    ("label", FieldId::MplsLabel, As::Decimal),
    ("tc", FieldId::MplsTc, As::Decimal),
    ("ttl", FieldId::MplsTtl, As::Decimal),
    ("bos", FieldId::MplsBos, As::Decimal),
];
const CT_TUPLE4: Members = &[
    ("src", FieldId::CtNwSrc, As::Value),
    ("dst", FieldId::CtNwDst, As::Value),
    ("proto", FieldId::CtNwProto, As::Decimal),
    ("tp_src", FieldId::CtTpSrc, As::Decimal),
    ("tp_dst", FieldId::CtTpDst, As::Decimal),
];
const CT_TUPLE6: Members = &[
    ("src", FieldId::CtIpv6Src, As::Value),
    ("dst", FieldId::CtIpv6Dst, As::Value),
    ("proto", FieldId::CtNwProto, As::Decimal),
    ("tp_src", FieldId::CtTpSrc, As::Decimal),
    ("tp_dst", FieldId::CtTpDst, As::Decimal),
];

impl KeyText {
    fn bits(&self, field: FieldId) -> (u128, u128) {
        (field.info().get(&self.key), field.info().get(&self.mask.bits))
    }

    /// A value, with its mask unless that is whole.
    fn value(&self, field: FieldId, how: As) -> String {
        let (value, mask) = self.bits(field);
        let value = value & mask;
        let whole = mask == field.info().max_value();
        let mut text = match (how, field.info().format) {
            (As::Decimal, _) => value.to_string(),
            (As::Hex, _) => hex(value),
            (As::Value, Format::Ipv4) => Ipv4Addr::from_bits(value as u32).to_string(),
            (As::Value, _) => return Value { field, value, mask }.to_string(),
        };
        if !whole {
            let _ = match field.info().format {
                Format::Ipv4 => write!(text, "/{}", Ipv4Addr::from_bits(mask as u32)),
                Format::Ipv6 => write!(text, "/{}", Ipv6Addr::from_bits(mask)),
                _ => write!(text, "/{mask:#x}"),
            };
        }
        text
    }

    fn members(&self, members: Members) -> Vec<String> {
        let matched = members.iter().filter(|(_, field, _)| self.mask.touches(*field));
        matched.map(|(name, field, how)| format!("{name}={}", self.value(*field, *how))).collect()
    }

    /// IP's members beside the addresses, in the names of IPv4 or IPv6.
    fn ip_rest(&self, tos: &str, ttl: &str) -> Vec<String> {
        let mut out = Vec::new();
        let (value, mask) = (self.key.nw_tos, self.mask.bits.nw_tos);
        if self.mask.touches(FieldId::NwProto) {
            out.push(format!("proto={}", self.value(FieldId::NwProto, As::Decimal)));
        }
        match mask {
            0 => {}
            0xff => out.push(format!("{tos}={}", hex(value.into()))),
            mask => out.push(format!("{tos}={}/{mask:#x}", hex((value & mask).into()))),
        }
        if self.mask.touches(FieldId::NwTtl) {
            out.push(format!("{ttl}={}", self.value(FieldId::NwTtl, As::Decimal)));
        }
        if self.mask.touches(FieldId::IpFrag) {
            out.push(format!(
                "frag={}",
                match self.key.nw_frag & (FRAG_ANY | FRAG_LATER) {
                    0 => "no",
                    FRAG_ANY => "first",
                    _ => "later",
                }
            ));
        }
        out
    }

    fn vlan(&self) -> Vec<String> {
        let (tci, mask) = (self.key.vlan_tci.get(), self.mask.bits.vlan_tci.get());
        let mut out = Vec::new();
        for (name, shift, all) in [("vid", 0, 0xfff), ("pcp", 13, 7)] {
            let (value, mask) = (tci >> shift & all, mask >> shift & all);
            match mask {
                0 => {}
                mask if mask == all => out.push(format!("{name}={value}")),
                mask => out.push(format!("{name}={value}/{mask:#x}")),
            }
        }
        out
    }

    /// The attributes, in the order in which the kernel's are printed. VLAN tags nest what comes behind them.
    fn attributes(&self) -> Vec<String> {
        use FieldId::*;
        let mut out = Vec::new();
        let eth_type = self.key.eth_type.get();
        let v6 = eth_type == ETH_TYPE_IPV6;
        for (name, field, how) in [
            ("skb_priority", SkbPriority, As::Hex),
            ("skb_mark", PktMark, As::Hex),
            ("ct_state", CtState, As::Value),
            ("ct_zone", CtZone, As::Hex),
            ("ct_mark", CtMark, As::Hex),
            ("ct_label", CtLabel, As::Hex),
        ] {
            if self.mask.touches(field) {
                out.push(format!("{name}({})", self.value(field, how)));
            }
        }
        group(
            &mut out,
            if v6 { "ct_tuple6" } else { "ct_tuple4" },
            self.members(if v6 { CT_TUPLE6 } else { CT_TUPLE4 }),
        );
        for (name, field, how) in
            [("recirc_id", RecircId, As::Hex), ("dp_hash", DpHash, As::Hex), ("in_port", InPortOxm, As::Decimal)]
        {
            if self.mask.touches(field) {
                out.push(format!("{name}({})", self.value(field, how)));
            }
        }
        if self.mask.touches(PacketType) {
            let t = self.key.packet_type.get();
            out.push(format!("packet_type(ns={},id={})", t >> 16, hex((t & 0xffff).into())));
        }
        group(&mut out, "eth", self.members(ETHERNET));

        let mut inner = Vec::new();
        if self.mask.touches(EthType) {
            inner.push(format!("eth_type({eth_type:#06x})"));
        }
        self.network(eth_type, &mut inner);
        if self.key.vlan_tci.get() & self.mask.bits.vlan_tci.get() & VLAN_PRESENT != 0 {
            let tpid = if self.key.vlan_tpid == 0 { 0x8100 } else { self.key.vlan_tpid.get() };
            out.push(format!("eth_type({tpid:#06x})"));
            out.push(format!("vlan({})", self.vlan().join(",")));
            out.push(format!("encap({})", inner.join(",")));
        } else {
            out.append(&mut inner);
        }
        out
    }

    fn network(&self, eth_type: u16, out: &mut Vec<String>) {
        match eth_type {
            ETH_TYPE_IPV4 => {
                let mut members = self.members(IPV4);
                members.append(&mut self.ip_rest("tos", "ttl"));
                group(out, "ipv4", members);
            }
            ETH_TYPE_IPV6 => {
                let mut members = self.members(IPV6);
                members.append(&mut self.ip_rest("tclass", "hlimit"));
                group(out, "ipv6", members);
            }
            ETH_TYPE_ARP | ETH_TYPE_RARP => return group(out, "arp", self.members(ARP)),
            ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST => return group(out, "mpls", self.members(MPLS)),
            _ => return,
        }
        match self.key.nw_proto {
            IP_PROTO_TCP => {
                group(out, "tcp", self.members(PORTS));
                if self.mask.touches(FieldId::TcpFlags) {
                    out.push(format!("tcp_flags({})", self.value(FieldId::TcpFlags, As::Value)));
                }
            }
            IP_PROTO_UDP => group(out, "udp", self.members(PORTS)),
            IP_PROTO_SCTP => group(out, "sctp", self.members(PORTS)),
            IP_PROTO_ICMP if eth_type == ETH_TYPE_IPV4 => group(out, "icmp", self.members(ICMP)),
            IP_PROTO_ICMPV6 if eth_type == ETH_TYPE_IPV6 => {
                group(out, "icmpv6", self.members(ICMP));
                group(out, "nd", self.members(ND));
            }
            _ => {}
        }
    }

    /// The members of one attribute alone, as `set` actions write them.
    pub(super) fn of_attr(&self, attr: ovs_packet::field::KeyAttr) -> String {
        use ovs_packet::field::KeyAttr as A;
        let (name, members) = match attr {
            A::Ethernet => ("eth", self.members(ETHERNET)),
            A::Ipv4 => ("ipv4", [self.members(IPV4), self.ip_rest("tos", "ttl")].concat()),
            A::Ipv6 => ("ipv6", [self.members(IPV6), self.ip_rest("tclass", "hlimit")].concat()),
            A::Tcp => ("tcp", self.members(PORTS)),
            A::Udp => ("udp", self.members(PORTS)),
            A::Sctp => ("sctp", self.members(PORTS)),
            A::Icmp => ("icmp", self.members(ICMP)),
            A::Icmpv6 => ("icmpv6", self.members(ICMP)),
            A::Arp => ("arp", self.members(ARP)),
            A::Nd => ("nd", self.members(ND)),
            A::Mpls => ("mpls", self.members(MPLS)),
            A::Vlan => ("vlan", self.vlan()),
            A::SkbMark => ("skb_mark", vec![self.value(FieldId::PktMark, As::Hex)]),
            A::Priority => ("skb_priority", vec![self.value(FieldId::SkbPriority, As::Hex)]),
            A::DpHash => ("dp_hash", vec![self.value(FieldId::DpHash, As::Hex)]),
            other => return format!("{other:?}"),
        };
        format!("{name}({})", members.join(","))
    }
}

fn group(out: &mut Vec<String>, name: &str, members: Vec<String>) {
    if !members.is_empty() {
        out.push(format!("{name}({})", members.join(",")));
    }
}

/// Hexadecimal with `0x`, but zero as `0`.
pub(super) fn hex(n: u128) -> String {
    if n == 0 { "0".into() } else { format!("{n:#x}") }
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attributes().join(","))
    }
}

#[cfg(test)]
mod tests {
    use ovs_packet::Match;

    use crate::text;

    #[track_caller]
    fn check(m: &str, expected: &str) {
        let m: Match = m.parse().unwrap();
        assert_eq!(text::key(&m).to_string(), expected);
    }

    #[test]
    fn keys_as_upstream_writes_them() {
        check(
            "recirc_id=0,in_port=1,eth,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,ip,nw_frag=no",
            "recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),\
             eth_type(0x0800),ipv4(frag=no)",
        );
        check(
            "in_port=3,tcp,dl_vlan=5,nw_src=10.0.0.0/8,nw_tos=32,nw_ttl=64,tp_dst=80,tcp_flags=+syn-ack",
            "in_port(3),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800),\
             ipv4(src=10.0.0.0/255.0.0.0,proto=6,tos=0x20/0xfc,ttl=64),tcp(dst=80),tcp_flags(+syn-ack))",
        );
        check(
            "icmp6,ipv6_dst=fe80::/64,icmp_type=135,icmp_code=0,nd_target=fe80::2",
            "eth_type(0x86dd),ipv6(dst=fe80::/64,proto=58),icmpv6(type=135,code=0),nd(target=fe80::2)",
        );
        check(
            "arp,arp_spa=1.1.1.1,arp_op=1,ct_state=+trk,ct_mark=0x1/0xff",
            "ct_state(+trk),ct_mark(0x1/0xff),eth_type(0x0806),arp(sip=1.1.1.1,op=1)",
        );
    }
}
