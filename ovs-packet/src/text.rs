//! Matches in words, as OpenFlow tools write them: `tcp,in_port=1,nw_dst=10.0.0.0/8,tp_dst=80`.
//!
//! Terms are separated by commas or white space, each a name with a value or a shorthand for a protocol. Their order
//! does not matter: terms that others depend on are read first.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::str::FromStr;

use nom::IResult;
use nom::Parser;
use nom::bytes::complete::{take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::opt;
use nom::sequence::preceded;

use crate::extract::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_RARP, IP_PROTO_ICMP,
    IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP,
};
use crate::field::{FieldId, ParseValueError, Prereq, Value};
use crate::key::{Match, VLAN_PCP_MASK, VLAN_PRESENT, VLAN_VID_MASK};

/// Reads a decimal number, or a hexadecimal one with `0x`; `None` for anything else.
pub fn number(s: &str) -> Option<u128> {
    let (digits, radix) = match s.strip_prefix("0x").or_else(|| s.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (s, 10),
    };
    let well_formed = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric());
    well_formed.then(|| u128::from_str_radix(digits, radix).ok()).flatten()
}

/// Protocol names that stand for an Ethertype and perhaps an IP protocol.
const SHORTHANDS: &[(&str, u16, Option<u8>)] = &[
    ("ip", ETH_TYPE_IPV4, None),
    ("icmp", ETH_TYPE_IPV4, Some(IP_PROTO_ICMP)),
    ("tcp", ETH_TYPE_IPV4, Some(IP_PROTO_TCP)),
    ("udp", ETH_TYPE_IPV4, Some(IP_PROTO_UDP)),
    ("sctp", ETH_TYPE_IPV4, Some(IP_PROTO_SCTP)),
    ("ipv6", ETH_TYPE_IPV6, None),
    ("ip6", ETH_TYPE_IPV6, None),
    ("icmp6", ETH_TYPE_IPV6, Some(IP_PROTO_ICMPV6)),
    ("tcp6", ETH_TYPE_IPV6, Some(IP_PROTO_TCP)),
    ("udp6", ETH_TYPE_IPV6, Some(IP_PROTO_UDP)),
    ("sctp6", ETH_TYPE_IPV6, Some(IP_PROTO_SCTP)),
    ("arp", ETH_TYPE_ARP, None),
    ("rarp", ETH_TYPE_RARP, None),
    ("mpls", ETH_TYPE_MPLS, None),
    ("mplsm", ETH_TYPE_MPLS_MCAST, None),
];

/// Names of OpenFlow 1.0 that mean one field or another by what else is matched.
const BY_CONTEXT: &[(&str, &[FieldId])] = {
    use FieldId::*;
    &[
        // A match sees the whole number of the port, whichever way the packet or the message said it.
        ("in_port", &[InPortOxm]),
        ("nw_src", &[NwSrc, ArpSpa]),
        ("nw_dst", &[NwDst, ArpTpa]),
        ("nw_proto", &[NwProto, ArpOp]),
        ("tp_src", &[TcpSrc, UdpSrc, SctpSrc, IcmpType, Icmpv6Type]),
        ("tp_dst", &[TcpDst, UdpDst, SctpDst, IcmpCode, Icmpv6Code]),
        ("icmp_type", &[IcmpType, Icmpv6Type]),
        ("icmp_code", &[IcmpCode, Icmpv6Code]),
    ]
};

/// Why a text is no match.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ParseMatchError {
    /// No field and no protocol is called so.
    UnknownField {
        /// The name that was read.
        name: String,
    },
    /// A field stands without a value.
    MissingValue {
        /// The field's name.
        name: String,
    },
    /// A protocol name stands with a value.
    UnexpectedValue {
        /// The protocol's name.
        name: String,
    },
    /// The value is none of the field's.
    Value(ParseValueError),
    /// The field exists only in packets that the match does not confine itself to.
    Prerequisite {
        /// The field's name.
        name: String,
        /// What must be matched too.
        needs: &'static str,
    },
    /// There is something that is no term at all.
    Syntax {
        /// Byte offset in the text.
        at: usize,
    },
}

impl fmt::Display for ParseMatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseMatchError::UnknownField { name } => write!(f, "unknown field {name:?}"),
            ParseMatchError::MissingValue { name } => write!(f, "field {name} needs a value: {name}=VALUE"),
            ParseMatchError::UnexpectedValue { name } => write!(f, "{name} is a protocol and takes no value"),
            ParseMatchError::Value(e) => e.fmt(f),
            ParseMatchError::Prerequisite { name, needs } => write!(f, "{name} needs {needs} in the match"),
            ParseMatchError::Syntax { at } => write!(f, "expected NAME or NAME=VALUE at offset {at}"),
        }
    }
}

impl core::error::Error for ParseMatchError {}

/// A term of a match as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Term<'a> {
    /// The name, or the protocol.
    pub name: &'a str,
    /// The value behind `=`.
    pub value: Option<&'a str>,
    /// Byte offset of the name in the text.
    pub at: usize,
}

/// Splits `text` into terms. Commas inside parentheses do not separate.
///
/// # Errors
/// [`ParseMatchError::Syntax`] with the place of what is no term.
pub fn terms(text: &str) -> Result<Vec<Term<'_>>, ParseMatchError> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            return Ok(found);
        }
        let at = text.len() - rest.len();
        let (next, (name, value)) = term(rest).map_err(|_| ParseMatchError::Syntax { at })?;
        found.push(Term { name, value, at });
        rest = next;
    }
}

fn term(input: &str) -> IResult<&str, (&str, Option<&str>)> {
    let name = take_while1(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '[' | ']' | '.'));
    (name, opt(preceded(char('='), value))).parse(input)
}

fn value(input: &str) -> IResult<&str, &str> {
    let depth = Cell::new(0usize);
    take_while(|c: char| {
        match c {
            '(' => depth.set(depth.get() + 1),
            ')' => depth.set(depth.get().saturating_sub(1)),
            _ => {}
        }
        depth.get() > 0 || !matches!(c, ',' | ' ' | '\t' | '\r' | '\n')
    })
    .parse(input)
}

/// Whether `name` begins a term of a match, so that a larger language knows which terms are its own.
pub fn is_match_term(name: &str) -> bool {
    name == "eth"
        || SHORTHANDS.iter().any(|(s, ..)| *s == name)
        || BY_CONTEXT.iter().any(|(s, _)| *s == name)
        || FieldId::by_name(name).is_some()
}

/// Builds a match from terms, in whatever order they stand.
///
/// # Errors
/// As [`ParseMatchError`] says.
pub fn match_of_terms(terms: &[Term<'_>]) -> Result<Match, ParseMatchError> {
    let mut m = Match::ANY;
    let mut pending = Vec::new();
    for t in terms {
        let shorthand = SHORTHANDS.iter().find(|(s, ..)| *s == t.name);
        if t.name == "eth" || shorthand.is_some() {
            if t.value.is_some() {
                return Err(ParseMatchError::UnexpectedValue { name: t.name.to_string() });
            }
            match shorthand {
                None => m.set(FieldId::PacketType, 0),
                Some((_, eth_type, proto)) => {
                    m.set(FieldId::EthType, u128::from(*eth_type));
                    if let Some(proto) = proto {
                        m.set(FieldId::NwProto, u128::from(*proto));
                    }
                }
            }
        } else {
            let candidates = match BY_CONTEXT.iter().find(|(s, _)| *s == t.name) {
                Some((_, fields)) => fields.to_vec(),
                None => FieldId::by_name(t.name).into_iter().collect(),
            };
            let first =
                *candidates.first().ok_or_else(|| ParseMatchError::UnknownField { name: t.name.to_string() })?;
            pending.push((first.info().prereq.depth(), t, candidates));
        }
    }
    pending.sort_by_key(|(depth, ..)| *depth);
    for (_, t, candidates) in pending {
        let text = t.value.ok_or_else(|| ParseMatchError::MissingValue { name: t.name.to_string() })?;
        let implied = |f: &FieldId| f.info().prereq.implied_by(&m);
        let field = candidates.iter().copied().find(implied);
        let field = field.ok_or_else(|| ParseMatchError::Prerequisite {
            name: t.name.to_string(),
            needs: candidates.first().map_or("", |f| f.info().prereq.hint()),
        })?;
        set_field(&mut m, field, text)?;
    }
    // An Ethertype put in the place of a shorthand's leaves its protocol without meaning.
    let has_protocol = [FieldId::NwProto, FieldId::ArpOp].iter().any(|f| f.info().prereq.implied_by(&m));
    if m.mask().touches(FieldId::NwProto) && !has_protocol {
        let named = |t: &&Term<'_>| SHORTHANDS.iter().any(|(s, _, proto)| *s == t.name && proto.is_some());
        let name = terms.iter().find(named).map_or("nw_proto", |t| t.name).to_string();
        return Err(ParseMatchError::Prerequisite { name, needs: FieldId::NwProto.info().prereq.hint() });
    }
    Ok(m)
}

fn set_field(m: &mut Match, field: FieldId, text: &str) -> Result<(), ParseMatchError> {
    // VLAN fields of OpenFlow 1.0 imply that there is a tag, save where the text says that there is none.
    if field == FieldId::DlVlan && (text == "none" || text == "0xffff" || text == "65535") {
        m.set(FieldId::VlanTci, 0);
        return Ok(());
    }
    let v = Value::parse(field, text).map_err(ParseMatchError::Value)?;
    m.set_masked(field, v.value, v.mask);
    if matches!(field, FieldId::DlVlan | FieldId::DlVlanPcp | FieldId::VlanPcp) {
        let tci = m.key().vlan_tci.get() | VLAN_PRESENT;
        let mask = m.mask().bits.vlan_tci.get() | VLAN_PRESENT;
        m.set_masked(FieldId::VlanTci, tci.into(), mask.into());
    }
    Ok(())
}

impl Prereq {
    /// How many layers of other fields must be read before this one can be checked.
    fn depth(self) -> u8 {
        match self {
            Prereq::None | Prereq::Ethernet => 0,
            Prereq::Vlan | Prereq::Ipv4 | Prereq::Ipv6 | Prereq::Ip | Prereq::Arp => 1,
            Prereq::Mpls | Prereq::Nsh | Prereq::Ct => 1,
            Prereq::Tcp | Prereq::Udp | Prereq::Sctp | Prereq::Icmpv4 | Prereq::Icmpv6 => 2,
            Prereq::Nd | Prereq::NdSolicit | Prereq::NdAdvert => 3,
        }
    }
}

impl FromStr for Match {
    type Err = ParseMatchError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match_of_terms(&terms(s)?)
    }
}

/// Writes terms with commas between them.
struct Terms<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    first: bool,
}

impl Terms<'_, '_> {
    fn push(&mut self, term: fmt::Arguments<'_>) -> fmt::Result {
        if !core::mem::take(&mut self.first) {
            self.f.write_str(",")?;
        }
        self.f.write_fmt(term)
    }

    /// The field, if the match has it, under `name`.
    fn field(&mut self, m: &Match, field: FieldId, name: &str) -> fmt::Result {
        let info = field.info();
        let mask = info.get(&m.mask().bits);
        if mask == 0 {
            return Ok(());
        }
        if field == FieldId::Ipv6Label && mask == info.max_value() {
            // In a match, though not in an action, a label has all its digits.
            return self.push(format_args!("{name}={:#07x}", info.get(m.key())));
        }
        match field {
            // A match writes these in the other base than an action does.
            FieldId::RecircId => return self.push(format_args!("{name}={:#x}", info.get(m.key()))),
            FieldId::CtZone => return self.push(format_args!("{name}={}", info.get(m.key()))),
            _ => {}
        }
        self.push(format_args!("{name}={}", Value { field, value: info.get(m.key()), mask }))
    }

    fn vlan(&mut self, m: &Match) -> fmt::Result {
        let (tci, mask) = (m.key().vlan_tci.get(), m.mask().bits.vlan_tci.get());
        let (vid, pcp) = (mask & VLAN_VID_MASK, mask & VLAN_PCP_MASK);
        let whole = |part, all| part == 0 || part == all;
        if mask == 0 {
            Ok(())
        } else if mask & tci & VLAN_PRESENT != 0
            && whole(vid, VLAN_VID_MASK)
            && whole(pcp, VLAN_PCP_MASK)
            && vid | pcp != 0
        {
            if vid != 0 {
                self.push(format_args!("dl_vlan={}", tci & VLAN_VID_MASK))?;
            }
            if pcp != 0 {
                self.push(format_args!("dl_vlan_pcp={}", tci >> 13))?;
            }
            Ok(())
        } else if mask == u16::MAX {
            self.push(format_args!("vlan_tci={tci:#06x}"))
        } else {
            self.push(format_args!("vlan_tci={tci:#06x}/{mask:#06x}"))
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FieldId::*;
        let m = self;
        let (key, mask) = (m.key(), m.mask());
        let mut t = Terms { f, first: true };
        if mask.touches(PacketType) {
            match key.packet_type.get() {
                0 => t.push(format_args!("eth"))?,
                _ => t.field(m, PacketType, "packet_type")?,
            }
        }
        for (field, name) in [
            (PktMark, "pkt_mark"),
            (RecircId, "recirc_id"),
            (DpHash, "dp_hash"),
            (SkbPriority, "skb_priority"),
            (CtState, "ct_state"),
            (CtZone, "ct_zone"),
            (CtMark, "ct_mark"),
            (CtLabel, "ct_label"),
            (CtNwSrc, "ct_nw_src"),
            (CtNwDst, "ct_nw_dst"),
            (CtIpv6Src, "ct_ipv6_src"),
            (CtIpv6Dst, "ct_ipv6_dst"),
            (CtNwProto, "ct_nw_proto"),
            (CtTpSrc, "ct_tp_src"),
            (CtTpDst, "ct_tp_dst"),
        ] {
            t.field(m, field, name)?;
        }

        let proto = mask.is_exact(NwProto).then_some(key.nw_proto);
        let shorthand = mask.is_exact(EthType).then(|| {
            let of_type = |p: Option<u8>| SHORTHANDS.iter().find(|(_, e, q)| *e == key.eth_type.get() && *q == p);
            proto.and_then(|p| of_type(Some(p))).or_else(|| of_type(None))
        });
        let (name, names_proto) = match shorthand.flatten() {
            Some((name, _, p)) => (Some(*name), p.is_some()),
            None => (None, false),
        };
        if let Some(name) = name {
            t.push(format_args!("{name}"))?;
        }
        for reg in FieldId::all().filter(|f| (Reg0..=Reg31).contains(f)) {
            t.field(m, reg, reg.info().name)?;
        }
        t.field(m, Metadata, "metadata")?;
        t.field(m, InPortOxm, "in_port")?;
        t.vlan(m)?;
        t.field(m, EthSrc, "dl_src")?;
        t.field(m, EthDst, "dl_dst")?;
        if name.is_none() && mask.is_exact(EthType) {
            t.push(format_args!("dl_type={:#06x}", key.eth_type.get()))?;
        }
        let arp = Prereq::Arp.implied_by(m);
        if key.eth_type == ETH_TYPE_IPV6 && mask.is_exact(EthType) {
            t.field(m, Ipv6Src, "ipv6_src")?;
            t.field(m, Ipv6Dst, "ipv6_dst")?;
            t.field(m, Ipv6Label, "ipv6_label")?;
        } else {
            t.field(m, if arp { ArpSpa } else { NwSrc }, if arp { "arp_spa" } else { "nw_src" })?;
            t.field(m, if arp { ArpTpa } else { NwDst }, if arp { "arp_tpa" } else { "nw_dst" })?;
        }
        if !names_proto {
            t.field(m, if arp { ArpOp } else { NwProto }, if arp { "arp_op" } else { "nw_proto" })?;
        }
        if arp {
            t.field(m, ArpSha, "arp_sha")?;
            t.field(m, ArpTha, "arp_tha")?;
        }
        for (field, name) in [
            (NwTos, "nw_tos"),
            (NwEcn, "nw_ecn"),
            (NwTtl, "nw_ttl"),
            (MplsLabel, "mpls_label"),
            (MplsTc, "mpls_tc"),
            (MplsTtl, "mpls_ttl"),
            (MplsBos, "mpls_bos"),
            (IpFrag, "nw_frag"),
        ] {
            t.field(m, field, name)?;
        }
        match (key.eth_type.get(), proto) {
            (ETH_TYPE_IPV4, Some(IP_PROTO_ICMP)) => {
                t.field(m, IcmpType, "icmp_type")?;
                t.field(m, IcmpCode, "icmp_code")
            }
            (ETH_TYPE_IPV6, Some(IP_PROTO_ICMPV6)) => {
                t.field(m, Icmpv6Type, "icmp_type")?;
                t.field(m, Icmpv6Code, "icmp_code")?;
                t.field(m, NdTarget, "nd_target")?;
                t.field(m, NdSll, "nd_sll")?;
                t.field(m, NdTll, "nd_tll")
            }
            _ => {
                t.field(m, TcpSrc, "tp_src")?;
                t.field(m, TcpDst, "tp_dst")?;
                t.field(m, TcpFlags, "tcp_flags")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn matches_read_and_write_the_same() {
        for text in [
            "",
            "eth",
            "ip",
            // Found by fuzzing: the first term was left out, and the match was another one when it was read again.
            "eth,udp",
            "icmp,nw_src=10.0.0.0/8",
            "tcp,in_port=1,dl_vlan=5,dl_vlan_pcp=3,dl_src=00:00:00:00:00:01,nw_dst=1.2.3.4,nw_tos=32,tp_dst=80",
            "tcp6,ipv6_src=2001:db8::/32,ipv6_label=0x00001,tp_src=0x10/0xfff0,tcp_flags=+syn-ack",
            "icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::1,nd_sll=00:00:00:00:00:01",
            "arp,arp_spa=10.0.0.1,arp_tpa=10.0.0.2,arp_op=1,arp_sha=00:00:00:00:00:01",
            "mpls,mpls_label=3,mpls_tc=1,mpls_ttl=64,mpls_bos=1",
            "recirc_id=0x1,ct_state=+est+trk,ct_zone=5,ct_mark=0x1/0xf,udp,reg0=0x7,metadata=0x1,in_port=LOCAL",
            "ip,nw_frag=later",
            "dl_vlan_pcp=3",
            "pkt_mark=0x1,recirc_id=0x2,dp_hash=0x3",
            "vlan_tci=0x0000",
            "vlan_tci=0x1000/0x1000",
            "dl_type=0x88cc",
            "ip,nw_proto=47",
            "ip,nw_proto=2",
        ] {
            assert_eq!(text.parse::<Match>().map(|m| m.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_protocol_needs_its_ethertype() {
        // Found by fuzzing: the Ethertype replaced that of the shorthand, and what was printed could not be read.
        let error = "dl_type=0x88cc,sctp".parse::<Match>().unwrap_err();
        assert_eq!(error, ParseMatchError::Prerequisite { name: "sctp".to_string(), needs: "ip or ipv6" });
        assert_eq!("dl_type=0x86dd,sctp".parse::<Match>().map(|m| m.to_string()).as_deref(), Ok("sctp6"));
    }

    #[test]
    fn order_does_not_matter() {
        let a: Match = "tp_dst=80,tcp".parse().unwrap();
        assert_eq!(a, "tcp tcp_dst=80".parse().unwrap());
        assert_eq!(a, "tcp_dst=80,nw_proto=6,dl_type=0x800".parse().unwrap());
        let nd: Match = "nd_target=::1,icmp_code=0,icmp_type=135,icmp6".parse().unwrap();
        assert_eq!(nd.to_string(), "icmp6,icmp_type=135,icmp_code=0,nd_target=::1");
    }

    #[test]
    fn names_of_openflow_1_0_depend_on_the_protocol() {
        assert_eq!(
            "arp,nw_src=1.1.1.1,nw_proto=2".parse::<Match>().unwrap().to_string(),
            "arp,arp_spa=1.1.1.1,arp_op=2"
        );
        assert_eq!("udp,tp_src=53".parse::<Match>().unwrap(), "udp,udp_src=53".parse().unwrap());
        assert_eq!("dl_vlan=none".parse::<Match>().unwrap(), "vlan_tci=0".parse().unwrap());
        assert_eq!("dl_vlan_pcp=3".parse::<Match>().unwrap(), "vlan_tci=0x7000/0xf000".parse().unwrap());
        assert!("vlan_pcp=3".parse::<Match>().is_err());
    }

    #[test]
    fn errors_name_the_term() {
        let error = |s: &str| s.parse::<Match>().unwrap_err().to_string();
        assert_eq!(error("bogus=1"), "unknown field \"bogus\"");
        assert_eq!(error("in_port"), "field in_port needs a value: in_port=VALUE");
        assert_eq!(error("ip=1"), "ip is a protocol and takes no value");
        assert_eq!(error("nw_src=1.1.1.1"), "nw_src needs ip in the match");
        assert_eq!(error("tcp_dst=80"), "tcp_dst needs tcp or tcp6 in the match");
        assert_eq!(error("udp,tcp_dst=80"), "tcp_dst needs tcp or tcp6 in the match");
        assert_eq!(error("in_port=1,=5"), "expected NAME or NAME=VALUE at offset 10");
    }

    proptest! {
        #[test]
        fn any_text_gives_an_answer(text in "[a-z0-9_=,/.:+ -]{0,60}") {
            let _ = text.parse::<Match>();
        }
    }
}
