//! Matches read: terms in whatever order, those that others depend on first.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use arrayvec::ArrayVec;
use nom::IResult;
use nom::Parser;
use nom::branch::alt;
use nom::character::complete::{anychar, char, none_of};
use nom::combinator::recognize;
use nom::error::ErrorKind;
use nom::multi::many0_count;
use nom::sequence::delimited;

use super::{NoNames, PortNames, resolve_port};
use crate::extract::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_RARP, IP_PROTO_ICMP,
    IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP,
};
use crate::field::{
    FieldId, Format, ParseSubfieldError, ParseValueError, Prereq, Subfield, TunOption, Value, dl_type_in,
};
use crate::key::{Match, VLAN_PRESENT};

/// Protocol names that stand for an Ethertype and perhaps an IP protocol. The first of several is the one written.
const SHORTHANDS: &[(&str, u16, Option<u8>)] = &[
    ("ip", ETH_TYPE_IPV4, None),
    ("ipv4", ETH_TYPE_IPV4, None),
    ("ip4", ETH_TYPE_IPV4, None),
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

/// Names that mean one field or another by what else is matched, or that only a match has.
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
        ("gtpu_flags", &[TunGtpuFlags]),
        ("gtpu_msgtype", &[TunGtpuMsgtype]),
    ]
};

/// The shorthand for what `m` matches of Ethertype and protocol, and whether it says the protocol too.
pub(super) fn shorthand_of(m: &Match) -> Option<(&'static str, bool)> {
    let proto = m.is_exact(FieldId::NwProto).then(|| m.get(FieldId::NwProto).0 as u8);
    let eth_type = dl_type_in(|i| m.word(i).0);
    let called = |p: Option<u8>| SHORTHANDS.iter().find(|(_, e, q)| *e == eth_type && *q == p);
    proto.and_then(|p| called(Some(p))).or_else(|| called(None)).map(|(name, _, p)| (*name, p.is_some()))
}

/// Why a text is no match, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ParseMatchError {
    /// Byte offset in the text of what is wrong.
    pub at: usize,
    /// What is wrong there.
    pub problem: MatchProblem,
}

/// What is wrong at a place of a match.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MatchProblem {
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
    /// The field has no such bits, or may be matched only whole.
    Bits {
        /// What was read.
        name: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// The field exists only in packets that the match does not confine itself to.
    Prerequisite {
        /// The field's name.
        name: String,
        /// What must be matched too.
        needs: &'static str,
    },
    /// A tunnel option stands more than once.
    Duplicate {
        /// The field's name.
        name: String,
    },
    /// The tunnel options together are longer than a match can hold.
    OptionsTooLong {
        /// The option that does not fit any more.
        name: String,
        /// The bytes that all would take, each a multiple of four.
        used: usize,
    },
    /// There is something that is no term at all.
    Syntax,
}

impl fmt::Display for ParseMatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.problem, self.at)
    }
}

impl fmt::Display for MatchProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MatchProblem::UnknownField { name } => write!(f, "unknown field {name:?}"),
            MatchProblem::MissingValue { name } => write!(f, "field {name} needs a value: {name}=VALUE"),
            MatchProblem::UnexpectedValue { name } => write!(f, "{name} is a protocol and takes no value"),
            MatchProblem::Value(e) => e.fmt(f),
            MatchProblem::Bits { name, expected } => write!(f, "{name}: expected {expected}"),
            MatchProblem::Prerequisite { name, needs } => write!(f, "{name} needs {needs} in the match"),
            MatchProblem::Duplicate { name } => write!(f, "field {name} set multiple times"),
            MatchProblem::OptionsTooLong { name, used } => {
                let most = crate::key::TUN_METADATA_BYTES;
                write!(f, "field {name} exceeds maximum size for tunnel metadata (used {used}, max {most})")
            }
            MatchProblem::Syntax => write!(f, "expected NAME or NAME=VALUE"),
        }
    }
}

impl core::error::Error for ParseMatchError {}
impl core::error::Error for MatchProblem {}

/// A term of a match as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Term<'a> {
    /// The name, or the protocol.
    pub name: &'a str,
    /// The value behind `=` or `:`, or in parentheses.
    pub value: Option<&'a str>,
    /// Byte offset of the name in the text.
    pub at: usize,
}

impl Term<'_> {
    fn value_at(&self) -> usize {
        self.value.map_or(self.at, |_| self.at + self.name.len() + 1)
    }

    fn error(&self, problem: impl FnOnce(String) -> MatchProblem) -> ParseMatchError {
        ParseMatchError { at: self.at, problem: problem(self.name.to_string()) }
    }
}

/// Splits `text` into terms. Commas inside parentheses and quotes do not separate.
///
/// # Errors
/// [`MatchProblem::Syntax`] with the place of what is no term.
pub fn terms(text: &str) -> Result<Vec<Term<'_>>, ParseMatchError> {
    let mut found = Vec::with_capacity(8);
    let mut rest = text;
    loop {
        let begins = rest.bytes().position(|b| !is_space(b)).unwrap_or(rest.len());
        rest = cut(rest, begins).0;
        if rest.is_empty() {
            return Ok(found);
        }
        let at = text.len() - rest.len();
        let syntax = |_| ParseMatchError { at, problem: MatchProblem::Syntax };
        let (next, (name, value)) = term(rest).map_err(syntax)?;
        found.push(Term { name, value, at });
        rest = next;
    }
}

/// A name, and what stands behind `=` or `:` or in parentheses, if anything does.
fn term(input: &str) -> IResult<&str, (&str, Option<&str>)> {
    let (rest, name) = name(input)?;
    Ok(match rest.as_bytes().first() {
        Some(b'=' | b':') => {
            let text = rest.get(1..).unwrap_or_default();
            let (rest, value) = match text.as_bytes().first() {
                Some(b'"') => alt((quoted, value)).parse(text)?,
                _ => value(text)?,
            };
            (rest, (name, Some(value)))
        }
        Some(b'(') => {
            let (rest, value) = enclosed(rest.get(1..).unwrap_or_default())?;
            (rest.strip_prefix(')').unwrap_or(rest), (name, Some(value).filter(|value| !value.is_empty())))
        }
        _ => (rest, (name, None)),
    })
}

/// The bytes that names are made of.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static OF_NAMES: [bool; 256] = {
    let (mut is, mut b) = ([false; 256], 0);
    while b < 256 {
        is[b] = (b as u8).is_ascii_alphanumeric() || matches!(b as u8, b'_' | b'-' | b'[' | b']' | b'.');
        b += 1;
    }
    is
};

fn name(input: &str) -> IResult<&str, &str> {
    let is_of_name = |b: u8| OF_NAMES.get(usize::from(b)).is_some_and(|is| *is);
    match input.bytes().position(|b| !is_of_name(b)).unwrap_or(input.len()) {
        0 => Err(nom::Err::Error(nom::error::Error::new(input, ErrorKind::TakeWhile1))),
        end => Ok(cut(input, end)),
    }
}

/// What stands behind the first `end` bytes, and those.
fn cut(input: &str, end: usize) -> (&str, &str) {
    let (before, behind) = input.split_at_checked(end).unwrap_or((input, ""));
    (behind, before)
}

fn quoted(input: &str) -> IResult<&str, &str> {
    let escaped = recognize((char('\\'), anychar));
    let plain = recognize(none_of("\"\\"));
    recognize(delimited(char('"'), many0_count(alt((escaped, plain))), char('"'))).parse(input)
}

/// What stands between terms.
#[inline(always)]
fn is_space(b: u8) -> bool {
    matches!(b, b',' | b' ' | b'\t' | b'\r' | b'\n')
}

fn value(input: &str) -> IResult<&str, &str> {
    // Most have no parentheses, which stand above spaces and below a comma.
    match input.bytes().position(|b| b <= b',' && (is_space(b) || matches!(b, b'(' | b')'))) {
        None => Ok(cut(input, input.len())),
        Some(end) if input.as_bytes().get(end).is_some_and(|b| is_space(*b)) => Ok(cut(input, end)),
        Some(_) => nested(input, is_space),
    }
}

/// What stands before the parenthesis that closes.
fn enclosed(input: &str) -> IResult<&str, &str> {
    nested(input, |b| b == b')')
}

/// What stands before the first character outside parentheses that ends it; all such are of one byte.
fn nested(input: &str, ends: impl Fn(u8) -> bool) -> IResult<&str, &str> {
    let mut depth = 0usize;
    let end = input.bytes().position(|b| {
        if depth == 0 && ends(b) {
            return true;
        }
        match b {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        false
    });
    Ok(cut(input, end.unwrap_or(input.len())))
}

/// Whether `name` begins a term of a match, so that a larger language knows which terms are its own.
pub fn is_match_term(name: &str) -> bool {
    name == "eth" || SHORTHANDS.iter().any(|(s, ..)| *s == name) || !candidates(name).is_empty() || name.contains('[')
}

/// The fields that a name may mean, of which there are at most five.
fn candidates(name: &str) -> ArrayVec<FieldId, 5> {
    match BY_CONTEXT.iter().find(|(s, _)| *s == name) {
        Some((_, fields)) => fields.iter().copied().collect(),
        None => FieldId::by_name(name).into_iter().collect(),
    }
}

/// Builds a match from terms, in whatever order they stand.
///
/// # Errors
/// As [`ParseMatchError`] says.
pub fn match_of_terms(terms: &[Term<'_>]) -> Result<Match, ParseMatchError> {
    match_of_terms_with(terms, &NoNames)
}

/// As [`match_of_terms`], with names of ports in the place of their numbers.
///
/// # Errors
/// As [`ParseMatchError`] says.
pub fn match_of_terms_with(terms: &[Term<'_>], ports: &dyn PortNames) -> Result<Match, ParseMatchError> {
    let mut m = Match::ANY;
    let mut pending = Vec::with_capacity(terms.len());
    for t in terms {
        let fields = candidates(t.name);
        let shorthand = SHORTHANDS.iter().find(|(s, ..)| fields.is_empty() && *s == t.name);
        if t.name == "eth" || shorthand.is_some() {
            if t.value.is_some() {
                return Err(t.error(|name| MatchProblem::UnexpectedValue { name }));
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
            continue;
        }
        let (bits, fields) = match t.name.contains('[') {
            true => {
                let bits = subfield(t)?;
                (Some(bits), [bits.field].into_iter().collect())
            }
            false => (None, fields),
        };
        let first = *fields.first().ok_or_else(|| t.error(|name| MatchProblem::UnknownField { name }))?;
        pending.push((first.info().prereq.depth(), t, bits, fields));
    }
    pending.sort_by_key(|(depth, ..)| *depth);
    // What is met changes with the fields that others hang on, and with nothing else.
    let mut there = m.prereqs();
    let mut headers = false;
    for (_, t, bits, fields) in pending {
        // A priority of a VLAN tag says that there is one.
        let fits = |f: &FieldId| *f == FieldId::VlanPcp || there.contains(f.info().prereq);
        let field = fields.iter().copied().find(fits).ok_or_else(|| {
            let needs = fields.first().map_or("", |f| f.info().prereq.hint());
            t.error(|name| MatchProblem::Prerequisite { name, needs })
        })?;
        headers |= field.info().prereq != Prereq::None;
        match field.tun_metadata_index() {
            Some(index) => set_option(&mut m, t, index)?,
            None => {
                let text = t.value.ok_or_else(|| t.error(|name| MatchProblem::MissingValue { name }))?;
                let problem = match bits {
                    Some(bits) => set_bits(&mut m, bits, text),
                    None => set_field(&mut m, field, text, ports).map_err(MatchProblem::Value),
                };
                problem.map_err(|problem| ParseMatchError { at: t.value_at(), problem })?;
                if Prereq::may_hang_on(field) || matches!(field, FieldId::VlanPcp | FieldId::DlVlanPcp) {
                    there = m.prereqs();
                }
            }
        }
    }
    if m.touches(FieldId::EthType) && !Prereq::Ethernet.holds_for(&m) {
        let named = |t: &&Term<'_>| SHORTHANDS.iter().any(|(s, ..)| *s == t.name);
        let (at, name) = terms.iter().find(named).map_or((0, "dl_type"), |t| (t.at, t.name));
        let needs = Prereq::Ethernet.hint();
        return Err(ParseMatchError { at, problem: MatchProblem::Prerequisite { name: name.to_string(), needs } });
    }
    // An Ethertype put in the place of a shorthand's leaves its protocol without meaning.
    let has_protocol = [FieldId::NwProto, FieldId::ArpOp].iter().any(|f| f.info().prereq.implied_by(&m));
    if m.touches(FieldId::NwProto) && !has_protocol {
        let named = |t: &&Term<'_>| SHORTHANDS.iter().any(|(s, _, proto)| *s == t.name && proto.is_some());
        let (at, name) = terms.iter().find(named).map_or((0, "nw_proto"), |t| (t.at, t.name));
        let needs = FieldId::NwProto.info().prereq.hint();
        return Err(ParseMatchError { at, problem: MatchProblem::Prerequisite { name: name.to_string(), needs } });
    }
    // A field of a header speaks of packets of Ethernet even if all of it is left open.
    Ok(if headers && !m.implies_ethernet() { m.with_default_packet_type() } else { m })
}

fn subfield(t: &Term<'_>) -> Result<Subfield, ParseMatchError> {
    let bits = t.name.parse::<Subfield>().map_err(|ParseSubfieldError { at, expected }| ParseMatchError {
        at: t.at + at,
        problem: MatchProblem::Bits { name: t.name.to_string(), expected },
    })?;
    let info = bits.field.info();
    if bits.field.tun_metadata_index().is_some() || (!bits.is_whole() && !info.maskable) {
        return Err(t.error(|name| MatchProblem::Bits { name, expected: "a field that can be matched in part" }));
    }
    Ok(bits)
}

fn set_option(m: &mut Match, t: &Term<'_>, index: usize) -> Result<(), ParseMatchError> {
    let problem = |problem| ParseMatchError { at: t.value_at(), problem };
    let option = match t.value {
        None => TunOption::PRESENT,
        Some(text) => TunOption::parse(text).map_err(|e| {
            problem(MatchProblem::Value(ParseValueError {
                field: FieldId::tun_metadata(index).unwrap_or(e.field),
                ..e
            }))
        })?,
    };
    if m.tun_option(index).is_some() {
        return Err(t.error(|name| MatchProblem::Duplicate { name }));
    }
    m.set_tun_option(index, &option).map_err(|_| {
        let taken = |len: usize| len.next_multiple_of(4);
        let before: usize = m.tun_options().map(|(_, o)| taken(o.value().len())).sum();
        let used = before + taken(option.value().len());
        problem(MatchProblem::OptionsTooLong { name: t.name.to_string(), used })
    })
}

fn set_bits(m: &mut Match, bits: Subfield, text: &str) -> Result<(), MatchProblem> {
    let wrong = || {
        let expected = "a number that fits the bits, perhaps with a mask";
        MatchProblem::Value(ParseValueError { field: bits.field, text: text.to_string(), expected })
    };
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (value, Some(mask)),
        None => (text, None),
    };
    let info = bits.field.info();
    let fits = |n: &u128| n & !bits.ones() == 0 && n << bits.offset & !info.max_value() == 0;
    let number = |s| super::integer(s).filter(fits).ok_or_else(wrong);
    let (value, mask) = (number(value)?, mask.map_or(Ok(bits.ones()), number)?);
    // Other bits of the field may be matched by a term of their own.
    let (before, had) = m.get(bits.field);
    let (value, mask) = (value << bits.offset, mask << bits.offset);
    m.set_masked(bits.field, before & !bits.mask() | value, had & !bits.mask() | mask);
    Ok(())
}

fn set_field(m: &mut Match, field: FieldId, text: &str, ports: &dyn PortNames) -> Result<(), ParseValueError> {
    // VLAN fields of OpenFlow 1.0 imply that there is a tag, save where the text says that there is none.
    if field == FieldId::DlVlan && matches!(text, "none" | "0xffff" | "65535") {
        m.set(FieldId::VlanTci, 0);
        return Ok(());
    }
    // Bits above the VLAN id are not looked at.
    if field == FieldId::DlVlan
        && let Some(vid) = super::integer(text).filter(|vid| (0x1000..0xffff).contains(vid))
    {
        return set_field(m, field, &(vid & 0xfff).to_string(), ports);
    }
    let port =
        matches!(field.info().format, Format::Port | Format::Port16).then(|| resolve_port(text, ports)).flatten();
    let v = match port {
        Some(port) => Value::parse(field, &port.to_string())?,
        None => Value::parse(field, text)?,
    };
    m.set_masked(field, v.value, v.mask);
    if matches!(field, FieldId::DlVlan | FieldId::DlVlanPcp | FieldId::VlanPcp) && v.mask != 0 {
        let ((tci, mask), present) = (m.get(FieldId::VlanTci), u128::from(VLAN_PRESENT));
        m.set_masked(FieldId::VlanTci, tci | present, mask | present);
    }
    Ok(())
}

impl Prereq {
    /// How many layers of other fields must be read before this one can be checked.
    fn depth(self) -> u8 {
        match self {
            Prereq::None => 0,
            Prereq::Ethernet => 1,
            Prereq::Vlan | Prereq::Ipv4 | Prereq::Ipv6 | Prereq::Ip | Prereq::Arp => 2,
            Prereq::Mpls | Prereq::Nsh | Prereq::Ct => 2,
            Prereq::Tcp | Prereq::Udp | Prereq::Sctp | Prereq::Icmpv4 | Prereq::Icmpv6 => 3,
            Prereq::Nd | Prereq::NdSolicit | Prereq::NdAdvert => 4,
        }
    }
}

impl FromStr for Match {
    type Err = ParseMatchError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match_of_terms(&terms(s)?)
    }
}
