//! Matches read: terms in whatever order, those that others depend on first.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::slice;
use core::str::FromStr;

use nom::IResult;
use nom::Parser;
use nom::branch::alt;
use nom::character::complete::{anychar, char, none_of};
use nom::combinator::recognize;
use nom::error::ErrorKind;
use nom::multi::many0_count;
use nom::sequence::delimited;

use super::scan::{BETWEEN, NAME, class_of, end_of_parenthesis, end_of_value};
use super::words::{Words, hash};
use super::{NoNames, PortNames, resolve_port};
use crate::extract::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_RARP, IP_PROTO_ICMP,
    IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP,
};
use crate::field::{
    FieldId, Format, ParseSubfieldError, ParseValueError, Prereq, PrereqSet, Subfield, TunOption, Value, dl_type_in,
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

/// What the name of a term stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    /// One of these fields, by what else is matched; there is one at least.
    Fields(&'static [FieldId]),
    /// An Ethertype, and perhaps an IP protocol.
    Protocol(u16, Option<u8>),
    /// That there is an Ethernet header.
    Ethernet,
    /// Perhaps some bits of a field.
    Nothing,
}

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

/// The names that are not, or not only, fields' own.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const OWN: [(&str, Meaning); BY_CONTEXT.len() + SHORTHANDS.len() + 1] = {
    let (mut names, mut i) = ([("eth", Meaning::Ethernet); _], 0);
    while i < BY_CONTEXT.len() {
        names[i] = (BY_CONTEXT[i].0, Meaning::Fields(BY_CONTEXT[i].1));
        i += 1;
    }
    while i < BY_CONTEXT.len() + SHORTHANDS.len() {
        let (name, eth_type, proto) = SHORTHANDS[i - BY_CONTEXT.len()];
        names[i] = (name, Meaning::Protocol(eth_type, proto));
        i += 1;
    }
    names
};

static NAMES: Words<Meaning, 128> = Words::new(&OWN);

impl Meaning {
    #[inline]
    fn of(name: &str) -> Meaning {
        let hash = hash(name);
        if let Some(meaning) = NAMES.find(name, hash) {
            return *meaning;
        }
        match FieldId::by_hashed_name(name, hash) {
            Some(field) => Meaning::Fields(slice::from_ref(field)),
            None => Meaning::Nothing,
        }
    }
}

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
#[non_exhaustive]
pub struct Term<'a> {
    /// The name, or the protocol.
    pub name: &'a str,
    /// The value behind `=` or `:`, or in parentheses.
    pub value: Option<&'a str>,
    /// Byte offset of the name in the text.
    pub at: usize,
    means: Meaning,
}

impl<'a> Term<'a> {
    /// A term of some name, which stands `at` some byte of the text.
    #[inline]
    pub fn new(name: &'a str, value: Option<&'a str>, at: usize) -> Term<'a> {
        Term { name, value, at, means: Meaning::of(name) }
    }

    /// Whether the name is a field's or a protocol's, so that a larger language need not look for it among its own.
    #[inline]
    pub fn is_known(&self) -> bool {
        self.means != Meaning::Nothing
    }

    /// Whether the name is [known](Term::is_known), or could be of some bits of a field.
    ///
    /// ```
    /// use ovs_packet::text::Term;
    ///
    /// let is = |name| Term::new(name, None, 0).is_of_match();
    /// assert!(is("tcp") && is("nw_src") && is("reg0[5]") && !is("priority"));
    /// ```
    pub fn is_of_match(&self) -> bool {
        self.is_known() || self.has_bits()
    }

    fn has_bits(&self) -> bool {
        self.name.contains('[')
    }

    /// The field that the term is about; of a name that means one field or another by what else is matched, the first of
    /// them. None of a protocol.
    pub fn field(&self) -> Option<FieldId> {
        match self.means {
            Meaning::Fields(fields) => fields.first().copied(),
            Meaning::Nothing if self.has_bits() => self.name.parse::<Subfield>().ok().map(|bits| bits.field),
            Meaning::Protocol(..) | Meaning::Ethernet | Meaning::Nothing => None,
        }
    }

    fn value_at(&self) -> usize {
        self.value.map_or(self.at, |_| self.at + self.name.len() + 1)
    }

    fn needed(&self) -> Result<&'a str, ParseMatchError> {
        self.value.ok_or_else(|| self.error(|name| MatchProblem::MissingValue { name }))
    }

    /// What is wrong with the value.
    #[cold]
    fn problem(&self, problem: MatchProblem) -> ParseMatchError {
        ParseMatchError { at: self.value_at(), problem }
    }

    /// What is wrong with the name.
    #[cold]
    fn error(&self, problem: impl FnOnce(String) -> MatchProblem) -> ParseMatchError {
        ParseMatchError { at: self.at, problem: problem(self.name.to_string()) }
    }
}

/// The terms of a text, one after the other, or where there is something that is none. Commas inside parentheses and
/// quotes do not separate.
///
/// ```
/// use ovs_packet::text::{Terms, terms};
///
/// let mut found = Terms::new("tcp, tp_dst=80, =");
/// assert_eq!(found.next().unwrap().map(|t| (t.name, t.value, t.at)), Ok(("tcp", None, 0)));
/// assert_eq!(found.next().unwrap().map(|t| (t.name, t.value, t.at)), Ok(("tp_dst", Some("80"), 5)));
/// assert_eq!(found.next().unwrap().map_err(|e| e.at), Err(16));
/// assert_eq!(found.next(), None);
/// ```
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    rest: &'a str,
    /// Length of the text.
    len: usize,
}

impl<'a> Terms<'a> {
    /// The terms of `text`.
    #[inline]
    pub fn new(text: &'a str) -> Terms<'a> {
        Terms { rest: text, len: text.len() }
    }
}

impl<'a> Iterator for Terms<'a> {
    type Item = Result<Term<'a>, ParseMatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.rest = until(self.rest, |class| class & BETWEEN == 0).0;
        if self.rest.is_empty() {
            return None;
        }
        let at = self.len - self.rest.len();
        match term(self.rest) {
            Ok((rest, (name, value))) => {
                self.rest = rest;
                Some(Ok(Term::new(name, value, at)))
            }
            Err(_) => {
                self.rest = "";
                Some(Err(ParseMatchError { at, problem: MatchProblem::Syntax }))
            }
        }
    }
}

/// All [`Terms`] of a text.
///
/// # Errors
/// [`MatchProblem::Syntax`] with the place of what is no term.
pub fn terms(text: &str) -> Result<Vec<Term<'_>>, ParseMatchError> {
    Terms::new(text).collect()
}

/// A name, and what stands behind `=` or `:` or in parentheses, if anything does.
#[inline]
fn term(input: &str) -> IResult<&str, (&str, Option<&str>)> {
    let (rest, name) = until(input, |class| class & NAME == 0);
    if name.is_empty() {
        return Err(nom::Err::Error(nom::error::Error::new(input, ErrorKind::TakeWhile1)));
    }
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
            let text = rest.get(1..).unwrap_or_default();
            let (rest, value) = cut(text, end_of_parenthesis(text));
            (rest.strip_prefix(')').unwrap_or(rest), (name, Some(value).filter(|value| !value.is_empty())))
        }
        _ => (rest, (name, None)),
    })
}

/// Cuts in front of the first byte of a class that ends it: what stands behind, and what before.
#[inline(always)]
fn until(input: &str, ends: impl Fn(u8) -> bool) -> (&str, &str) {
    cut(input, input.bytes().position(|b| ends(class_of(b))).unwrap_or(input.len()))
}

/// What stands behind the first `end` bytes, and those.
#[inline(always)]
fn cut(input: &str, end: usize) -> (&str, &str) {
    let (before, behind) = input.split_at_checked(end).unwrap_or((input, ""));
    (behind, before)
}

fn quoted(input: &str) -> IResult<&str, &str> {
    let escaped = recognize((char('\\'), anychar));
    let plain = recognize(none_of("\"\\"));
    recognize(delimited(char('"'), many0_count(alt((escaped, plain))), char('"'))).parse(input)
}

/// A value behind an equals sign.
#[inline]
fn value(input: &str) -> IResult<&str, &str> {
    Ok(cut(input, end_of_value(input)))
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
    match_of_terms_into(terms, ports, &mut m)?;
    Ok(m)
}

/// As [`match_of_terms_with`], into a match that says nothing yet: it is large, and quicker to read where it stays. What it
/// says after an error is of no meaning.
///
/// ```
/// use ovs_packet::Match;
/// use ovs_packet::text::{NoNames, match_of_terms_into, terms};
///
/// let mut m = Match::ANY;
/// match_of_terms_into(&terms("tp_dst=80,tcp")?, &NoNames, &mut m)?;
/// assert_eq!(m.to_string(), "tcp,tp_dst=80");
/// # Ok::<(), ovs_packet::text::ParseMatchError>(())
/// ```
///
/// # Errors
/// As [`ParseMatchError`] says.
pub fn match_of_terms_into(terms: &[Term<'_>], ports: &dyn PortNames, m: &mut Match) -> Result<(), ParseMatchError> {
    let mut depths = 0u8;
    for t in terms {
        match t.means {
            Meaning::Fields(fields) => depths |= 1 << depth_of(fields),
            Meaning::Nothing if t.has_bits() => depths |= 1 << depth_of(&[subfield(t)?.field]),
            Meaning::Nothing => return Err(t.error(|name| MatchProblem::UnknownField { name })),
            Meaning::Protocol(..) | Meaning::Ethernet if t.value.is_some() => {
                return Err(t.error(|name| MatchProblem::UnexpectedValue { name }));
            }
            Meaning::Ethernet => m.set(FieldId::PacketType, 0),
            Meaning::Protocol(eth_type, proto) => {
                m.set(FieldId::EthType, eth_type.into());
                if let Some(proto) = proto {
                    m.set(FieldId::NwProto, proto.into());
                }
            }
        }
    }
    // What is met changes with the fields that others hang on, and with nothing else.
    let mut there = m.prereqs();
    let mut headers = false;
    while depths != 0 {
        let depth = depths.trailing_zeros();
        depths &= depths - 1;
        for t in terms {
            let (bits, field) = match t.means {
                Meaning::Fields(fields) if depth_of(fields) == depth => (None, that_fits(t, fields, there)?),
                Meaning::Nothing => match subfield(t)? {
                    bits if depth_of(&[bits.field]) == depth => (Some(bits), that_fits(t, &[bits.field], there)?),
                    _ => continue,
                },
                _ => continue,
            };
            headers |= field.info().prereq != Prereq::None;
            match (bits, field.tun_metadata_index()) {
                (Some(bits), _) => set_bits(m, bits, t.needed()?).map_err(|problem| t.problem(problem))?,
                (None, Some(index)) => set_option(m, t, index)?,
                (None, None) => {
                    set_field(m, field, t.needed()?, ports).map_err(|e| t.problem(MatchProblem::Value(e)))?
                }
            }
            if Prereq::may_hang_on(field) || matches!(field, FieldId::VlanPcp | FieldId::DlVlanPcp) {
                there = m.prereqs();
            }
        }
    }
    if m.touches(FieldId::EthType) && !Prereq::Ethernet.holds_for(m) {
        let (at, name) = protocol_of(terms, false).unwrap_or((0, "dl_type"));
        let needs = Prereq::Ethernet.hint();
        return Err(ParseMatchError { at, problem: MatchProblem::Prerequisite { name: name.to_string(), needs } });
    }
    // An Ethertype put in the place of a shorthand's leaves its protocol without meaning.
    let has_protocol = there.contains(FieldId::NwProto.info().prereq) || there.contains(FieldId::ArpOp.info().prereq);
    if !has_protocol && m.touches(FieldId::NwProto) {
        let (at, name) = protocol_of(terms, true).unwrap_or((0, "nw_proto"));
        let needs = FieldId::NwProto.info().prereq.hint();
        return Err(ParseMatchError { at, problem: MatchProblem::Prerequisite { name: name.to_string(), needs } });
    }
    // A field of a header speaks of packets of Ethernet even if all of it is left open.
    if headers && !m.implies_ethernet() {
        *m = core::mem::replace(m, Match::ANY).with_default_packet_type();
    }
    Ok(())
}

/// How many layers of other fields must be read before those that a name may mean.
#[inline]
fn depth_of(fields: &[FieldId]) -> u32 {
    fields.first().map_or(0, |f| f.info().prereq.depth())
}

/// The field that a name means where so much is there.
#[inline]
fn that_fits(t: &Term<'_>, fields: &[FieldId], there: PrereqSet) -> Result<FieldId, ParseMatchError> {
    // A priority of a VLAN tag says that there is one.
    let fits = |f: &&FieldId| **f == FieldId::VlanPcp || there.contains(f.info().prereq);
    fields.iter().find(fits).copied().ok_or_else(|| {
        let needs = fields.first().map_or("", |f| f.info().prereq.hint());
        t.error(|name| MatchProblem::Prerequisite { name, needs })
    })
}

/// Place and name of the first protocol; of the first that says one above IP, if such is asked for.
fn protocol_of<'a>(terms: &[Term<'a>], above_ip: bool) -> Option<(usize, &'a str)> {
    let is = |t: &&Term<'_>| matches!(t.means, Meaning::Protocol(_, proto) if proto.is_some() || !above_ip);
    terms.iter().find(is).map(|t| (t.at, t.name))
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
    let option = match t.value {
        None => TunOption::PRESENT,
        Some(text) => TunOption::parse(text).map_err(|e| {
            t.problem(MatchProblem::Value(ParseValueError {
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
        t.problem(MatchProblem::OptionsTooLong { name: t.name.to_string(), used })
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
    let v = match field.info().format {
        Format::Port | Format::Port16 => match resolve_port(text, ports) {
            Some(port) => Value::of_port(field, port).map_or_else(|| Value::parse(field, &port.to_string()), Ok)?,
            None => Value::parse(field, text)?,
        },
        _ if field == FieldId::DlVlan => match text {
            // The text says that there is no tag.
            "none" | "0xffff" | "65535" => {
                m.set(FieldId::VlanTci, 0);
                return Ok(());
            }
            // Bits above the VLAN id are not looked at.
            _ => match super::integer(text) {
                Some(vid @ 0x1000..0xffff) => Value { field, value: vid & 0xfff, mask: field.info().max_value() },
                _ => Value::parse(field, text)?,
            },
        },
        _ => Value::parse(field, text)?,
    };
    m.set_masked(field, v.value, v.mask);
    // VLAN fields of OpenFlow 1.0 imply that there is a tag.
    if matches!(field, FieldId::DlVlan | FieldId::DlVlanPcp | FieldId::VlanPcp) && v.mask != 0 {
        let ((tci, mask), present) = (m.get(FieldId::VlanTci), u128::from(VLAN_PRESENT));
        m.set_masked(FieldId::VlanTci, tci | present, mask | present);
    }
    Ok(())
}

impl Prereq {
    /// How many layers of other fields must be read before this one can be checked.
    fn depth(self) -> u32 {
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
