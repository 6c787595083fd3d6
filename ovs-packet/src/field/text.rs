//! Field values in words: `10.0.0.0/8`, `0x800`, `+est-new`.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::{FieldId, Format};
use crate::addr::EthAddr;
use crate::key::{FRAG_ANY, FRAG_LATER};
use crate::packet::CtState;
use crate::port::OfPort;
use crate::text::{Words, hex_digit, integer, number};

/// A field's value and mask, right-aligned.
///
/// ```
/// use ovs_packet::field::{FieldId, Value};
///
/// let v = Value::parse(FieldId::NwSrc, "10.1.2.3/255.255.0.0").unwrap();
/// assert_eq!((v.value, v.mask), (0x0a010000, 0xffff0000));
/// assert_eq!(v.to_string(), "10.1.0.0/16");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value {
    /// The field.
    pub field: FieldId,
    /// Zero outside the mask.
    pub value: u128,
    /// The bits that count.
    pub mask: u128,
}

/// Why a text is no value of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ParseValueError {
    /// The field.
    pub field: FieldId,
    /// What was read.
    pub text: String,
    /// What would have been right.
    pub expected: &'static str,
}

impl fmt::Display for ParseValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: invalid value {:?}: expected {}", self.field.info().name, self.text, self.expected)
    }
}

impl core::error::Error for ParseValueError {}

pub(super) const TCP_FLAGS: [&str; 12] =
    ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"];

pub(super) const TUNNEL_FLAGS: [&str; 1] = ["oam"];

/// The flags of a field by their names, a bit each.
type Flags = Words<u128, 32>;

static BY_TCP_FLAG: Flags = Words::new(&bits_of(&TCP_FLAGS));
static BY_CT_STATE: Flags = Words::new(&bits_of(&CtState::NAMES));
static BY_TUNNEL_FLAG: Flags = Words::new(&bits_of(&TUNNEL_FLAGS));

/// Names, the lowest bit's first, with their bits.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const fn bits_of<const N: usize>(names: &[&'static str; N]) -> [(&'static str, u128); N] {
    let (mut bits, mut i) = ([("", 0); N], 0);
    while i < N {
        bits[i] = (names[i], 1 << i);
        i += 1;
    }
    bits
}

impl Value {
    /// Reads `text` as a value, or `value/mask` where the field may be masked; `*` for one that may be anything.
    ///
    /// The options of a tunnel are wider than this type: [`TunOption`](super::TunOption) reads them.
    ///
    /// # Errors
    /// If the text is not in the field's format, does not fit its width, or has a mask that the field cannot have.
    pub fn parse(field: FieldId, text: &str) -> Result<Value, ParseValueError> {
        let info = field.info();
        let all = info.max_value();
        let error = |expected| ParseValueError { field, text: text.to_string(), expected };
        if field.tun_metadata_index().is_some() {
            return Err(error("a value of at most 128 bits: see TunOption"));
        }
        if text == "*" {
            return Ok(Value { field, value: 0, mask: 0 });
        }
        let (value, mask) = match info.format {
            Format::Fragment => parse_fragment(text).ok_or_else(|| error("no, yes, first, later or not_later"))?,
            Format::TcpFlags => {
                parse_flags(text, &BY_TCP_FLAG, all).ok_or_else(|| error("TCP flags such as syn|ack or +syn-ack"))?
            }
            Format::CtState => {
                parse_flags(text, &BY_CT_STATE, all).ok_or_else(|| error("connection states such as +trk-new"))?
            }
            Format::TunnelFlags => {
                parse_flags(text, &BY_TUNNEL_FLAG, all).ok_or_else(|| error("tunnel flags such as +oam"))?
            }
            Format::PacketType => {
                (parse_packet_type(text).ok_or_else(|| error("a packet type such as (1,0x800)"))?, u128::MAX)
            }
            Format::Decimal | Format::Hexadecimal => parse_masked(text, integer).ok_or_else(|| error("a number"))?,
            Format::Port | Format::Port16 => {
                let port = text.parse::<OfPort>().map_err(|_| error("a port number or reserved port name"))?;
                return Value::of_port(field, port).ok_or_else(|| error("a port number of at most 16 bits"));
            }
            Format::Ethernet => {
                let address = |s: &str| s.parse::<EthAddr>().ok().map(|a| be(&a.0));
                parse_masked(text, address).ok_or_else(|| error("an Ethernet address"))?
            }
            Format::Ipv4 => {
                let address = |s| ipv4(s).map(|(address, behind)| (address.into(), behind));
                parse_address(text, address, 32).ok_or_else(|| error("an IPv4 address"))?
            }
            Format::Ipv6 => parse_address(text, ipv6, 128).ok_or_else(|| error("an IPv6 address"))?,
        };
        // A mask that is written must have all bits of the value's bytes to be none.
        let exact = mask & all == all && (mask == u128::MAX || info.bits.is_multiple_of(8));
        // The low bits of nw_tos are not the field's: a value that has them is refused rather than trimmed.
        if value & !all != 0 || (mask != u128::MAX && mask & !all != 0) {
            return Err(error("a value that fits the field"));
        }
        if !exact && !info.maskable {
            return Err(error("a value without a mask"));
        }
        if !field.accepts(value & all) {
            return Err(error("a value that is defined"));
        }
        Ok(Value { field, value: value & mask, mask: mask & all })
    }

    /// A port, as the value of a field that is one, if the field is wide enough for its number.
    #[inline]
    pub(crate) fn of_port(field: FieldId, port: OfPort) -> Option<Value> {
        let info = field.info();
        let number = if info.format == Format::Port { port.0 } else { port.to_16()?.into() };
        Some(Value { field, value: number.into(), mask: info.max_value() })
    }
}

fn be(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |v, b| v << 8 | u128::from(*b))
}

/// An address at the front of a text, as `Ipv4Addr` reads it in twice the time, and what is behind it: four decimal numbers
/// up to 255, without zeros in front, and dots between them.
pub(crate) fn ipv4(mut rest: &[u8]) -> Option<(u32, &[u8])> {
    let mut address = 0;
    let digit = |b: u8| Some(u32::from(b.wrapping_sub(b'0'))).filter(|digit| *digit < 10);
    for i in 0..4 {
        if i > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let (first, behind) = rest.split_first()?;
        let mut octet = digit(*first)?;
        rest = behind;
        while let Some((b, behind)) = rest.split_first()
            && let Some(digit) = digit(*b)
        {
            let longer = octet * 10 + digit;
            if octet == 0 || longer > 255 {
                return None;
            }
            (octet, rest) = (longer, behind);
        }
        address = address << 8 | octet;
    }
    Some((address, rest))
}

/// An address at the front of a text, as `Ipv6Addr` reads it in three times the time (RFC 4291, section 2.2), and what is
/// behind it.
fn ipv6(mut rest: &[u8]) -> Option<(u128, &[u8])> {
    let (mut address, mut groups, mut gap) = (0u128, 0, None);
    if let [b':', b':', behind @ ..] = rest {
        (gap, rest) = (Some(0), behind);
    }
    loop {
        let (mut group, mut behind, mut digits) = (0u16, rest, 0);
        while digits < 4
            && let [b, more @ ..] = behind
            && let Some(digit) = hex_digit(*b)
        {
            (group, behind, digits) = (group << 4 | u16::from(digit), more, digits + 1);
        }
        // Nothing need be behind a gap.
        if digits == 0 && gap == Some(groups) {
            break;
        }
        if digits == 0 || groups == 8 {
            return None;
        }
        if let [b'.', ..] = behind {
            let (last, behind) = ipv4(rest)?;
            (address, groups, rest) = (address << 32 | u128::from(last), groups + 2, behind);
            break;
        }
        (address, groups) = (address << 16 | u128::from(group), groups + 1);
        rest = match behind {
            [b':', b':', behind @ ..] if gap.is_none() => {
                gap = Some(groups);
                behind
            }
            [b':', behind @ ..] => behind,
            _ => {
                rest = behind;
                break;
            }
        };
    }
    let whole = match gap {
        None if groups == 8 => address,
        // A gap is one group of zeros at least.
        Some(before) if groups <= 7 => {
            let behind = 16 * (groups - before);
            let front = address.checked_shr(behind).unwrap_or(0).checked_shl(16 * (8 - before)).unwrap_or(0);
            front | address & ((1 << behind) - 1)
        }
        _ => return None,
    };
    Some((whole, rest))
}

/// `value` or `value/mask`.
fn parse_masked(text: &str, one: impl Fn(&str) -> Option<u128>) -> Option<(u128, u128)> {
    // Most have no mask.
    if let Some(value) = one(text) {
        return Some((value, u128::MAX));
    }
    let slash = text.bytes().position(|b| b == b'/')?;
    let mask = one(text.get(slash + 1..)?)?;
    Some((one(text.get(..slash)?)? & mask, mask))
}

/// An address, of which `one` reads the one at the front of a text, perhaps with a mask or the length of a prefix.
#[inline(always)]
fn parse_address<'a>(
    text: &'a str,
    one: impl Fn(&'a [u8]) -> Option<(u128, &'a [u8])>,
    width: u32,
) -> Option<(u128, u128)> {
    let (value, rest) = one(text.as_bytes())?;
    if rest.is_empty() {
        return Some((value, u128::MAX));
    }
    let (slash, mask) = text.get(text.len() - rest.len()..)?.split_at_checked(1)?;
    let mask = match mask.parse::<u32>() {
        _ if slash != "/" => return None,
        Ok(0) => 0,
        Ok(len) if len <= width => u128::MAX << (128 - len) >> (128 - width),
        Ok(_) => return None,
        Err(_) => one(mask.as_bytes()).filter(|(_, rest)| rest.is_empty())?.0,
    };
    Some((value & mask, mask))
}

fn parse_fragment(text: &str) -> Option<(u128, u128)> {
    let (any, later) = (u128::from(FRAG_ANY), u128::from(FRAG_LATER));
    Some(match text.to_ascii_lowercase().as_str() {
        "no" => (0, any | later),
        "yes" => (any, any),
        "first" => (any, any | later),
        "later" => (any | later, any | later),
        "not_later" => (0, later),
        _ => return None,
    })
}

fn parse_packet_type(text: &str) -> Option<u128> {
    let (ns, kind) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let (ns, kind) = (number(ns)?, number(kind)?);
    (ns <= 0xffff && kind <= 0xffff).then_some(ns << 16 | kind)
}

/// `+a-b` gives single bits, `a|b` the whole field, a number likewise with an optional mask.
fn parse_flags(text: &str, flags: &'static Flags, all: u128) -> Option<(u128, u128)> {
    let bit = |name: &str| flags.get(name).copied();
    if let Some(b'+' | b'-') = text.bytes().next() {
        let (mut value, mut mask) = (0, 0);
        let mut rest = text;
        while let Some(sign) = rest.bytes().next() {
            let body = rest.get(1..)?;
            let end = body.bytes().position(|b| matches!(b, b'+' | b'-')).unwrap_or(body.len());
            let flag = bit(body.get(..end)?)?;
            if mask & flag != 0 {
                return None;
            }
            mask |= flag;
            if sign == b'+' {
                value |= flag;
            }
            rest = body.get(end..)?;
        }
        return Some((value, mask));
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return parse_masked(text, number);
    }
    text.split('|').try_fold(0, |v, name| Some(v | bit(name)?)).map(|v| (v, all))
}

fn write_flags(f: &mut fmt::Formatter<'_>, names: &[&str], v: &Value) -> fmt::Result {
    let all = v.field.info().max_value();
    let set = names.iter().enumerate().filter(|(i, _)| v.mask >> i & 1 != 0);
    if v.mask == all && v.field != FieldId::TunFlags {
        if v.value == 0 {
            return f.write_str("0");
        }
        let on = set.filter(|(i, _)| v.value >> i & 1 != 0);
        return on.enumerate().try_for_each(|(n, (_, name))| write!(f, "{}{name}", if n > 0 { "|" } else { "" }));
    }
    set.into_iter().try_for_each(|(i, name)| write!(f, "{}{name}", if v.value >> i & 1 != 0 { '+' } else { '-' }))
}

/// The length of the prefix that `mask` is in a field of `width` bits, if it is one.
fn prefix_len(mask: u128, width: u32) -> Option<u32> {
    let aligned = mask << (128 - width);
    let ones = aligned.leading_ones();
    (ones == 128 || aligned << ones == 0).then_some(ones)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.field.info();
        let exact = self.mask == info.max_value();
        if self.mask == 0 {
            return f.write_str("ANY");
        }
        match info.format {
            Format::Decimal if exact => write!(f, "{}", self.value),
            Format::Decimal => write!(f, "{}/{:#x}", self.value, self.mask),
            Format::Hexadecimal => {
                // Zero has no prefix.
                match self.value {
                    0 => f.write_str("0")?,
                    value => write!(f, "{value:#x}")?,
                }
                if exact { Ok(()) } else { write!(f, "/{:#x}", self.mask) }
            }
            Format::Port => write!(f, "{}", OfPort(self.value as u32)),
            Format::Port16 => write!(f, "{}", OfPort::from_16(self.value as u16)),
            Format::Fragment => {
                let (any, later) = (u128::from(FRAG_ANY), u128::from(FRAG_LATER));
                let choose = |bit: u128, clear, set| if self.value & bit != 0 { set } else { clear };
                f.write_str(match (self.mask & any != 0, self.mask & later != 0) {
                    (true, true) => choose(any, choose(later, "no", "<error>"), choose(later, "first", "later")),
                    (true, false) => choose(any, "no", "yes"),
                    _ => choose(later, "not_later", "later"),
                })
            }
            Format::TcpFlags => write_flags(f, &TCP_FLAGS, self),
            Format::CtState => write_flags(f, &CtState::NAMES, self),
            Format::TunnelFlags => write_flags(f, &TUNNEL_FLAGS, self),
            Format::PacketType => match self.value & 0xffff {
                0 => write!(f, "({},0)", self.value >> 16),
                within => write!(f, "({},{within:#x})", self.value >> 16),
            },
            Format::Ethernet => {
                let address = |v: u128| {
                    let [.., a, b, c, d, e, g] = v.to_be_bytes();
                    EthAddr([a, b, c, d, e, g])
                };
                write!(f, "{}", address(self.value))?;
                if exact { Ok(()) } else { write!(f, "/{}", address(self.mask)) }
            }
            Format::Ipv4 => {
                write!(f, "{}", Ipv4Addr::from_bits(self.value as u32))?;
                match prefix_len(self.mask, 32) {
                    Some(32) => Ok(()),
                    Some(len) => write!(f, "/{len}"),
                    None => write!(f, "/{}", Ipv4Addr::from_bits(self.mask as u32)),
                }
            }
            Format::Ipv6 => {
                write!(f, "{}", Ipv6Addr::from_bits(self.value))?;
                match prefix_len(self.mask, 128) {
                    Some(128) => Ok(()),
                    Some(len) => write!(f, "/{len}"),
                    None => write!(f, "/{}", Ipv6Addr::from_bits(self.mask)),
                }
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
    fn values_read_and_write_the_same() {
        use FieldId::*;
        for (field, text) in [
            (NwSrc, "10.0.0.1"),
            (NwSrc, "10.0.0.0/8"),
            (NwDst, "10.0.0.1/255.0.0.255"),
            (Ipv6Dst, "2001:db8::/32"),
            (EthDst, "01:00:00:00:00:00/01:00:00:00:00:00"),
            (EthType, "0x88cc"),
            (TcpDst, "80"),
            (TcpDst, "80/0xfff0"),
            (TcpFlags, "syn|ack"),
            (TcpFlags, "+syn-ack"),
            (CtState, "-new+est+trk"),
            (IpFrag, "not_later"),
            (InPort, "LOCAL"),
            (Reg3, "0x5/0xff"),
            (PacketType, "(1,0x800)"),
        ] {
            assert_eq!(Value::parse(field, text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        use FieldId::*;
        for (field, text) in [
            (NwSrc, "10.0.0.1/33"),
            (NwSrc, "10.0.0"),
            (NwProto, "256"),
            (NwProto, "6/0xf"),
            (NwTos, "1"),
            (VlanPcp, "8"),
            (TcpFlags, "+syn+syn"),
            (TcpFlags, "+bogus"),
            (CtState, "0x100"),
            (IpFrag, "maybe"),
            (InPort, "eth0"),
            (EthSrc, ""),
            (PacketType, "(1,0x10000)"),
        ] {
            let e = Value::parse(field, text).unwrap_err();
            assert!(e.to_string().contains(field.info().name), "{e}");
        }
    }

    proptest! {
        #[test]
        fn any_value_survives_its_text(n in 0..FieldId::all().len(), value: u128, mask: u128) {
            let fields = FieldId::all().filter(|f| f.tun_metadata_index().is_none());
            let field = fields.clone().nth(n % fields.count()).unwrap();
            let all = field.info().max_value();
            let mask = if field.info().maskable { mask & all } else { all };
            let value = if field == FieldId::NshMdtype { value % 2 + 1 } else { value & mask };
            let v = Value { field, value, mask };
            prop_assume!(v.to_string() != "<error>");
            if mask == 0 {
                prop_assert_eq!(v.to_string(), "ANY");
                prop_assert_eq!(Value::parse(field, "*"), Ok(v));
                return Ok(());
            }
            let read = Value::parse(field, &v.to_string()).unwrap();
            // "no" says of a fragment that it is none, with either mask.
            if field != FieldId::IpFrag {
                prop_assert_eq!(read, v);
            }
            prop_assert_eq!(read.to_string(), v.to_string());
        }

        #[test]
        fn addresses_are_read_as_the_library_reads_them(
            bits: u128,
            text in "[0-9a-f:.]{0,20}",
            groups in prop::collection::vec("(:|::|[0-9a-fA-F]{1,4}:|[0-9a-f]{0,5}|255.1.0.20|[0-9]{1,3}\\.)", 0..10),
            at in 0usize..40,
            typed in "[0-9a-f:.g]",
        ) {
            let (v4, v6) = (Ipv4Addr::from_bits(bits as u32).to_string(), Ipv6Addr::from_bits(bits).to_string());
            let zeros = Ipv6Addr::from_bits(bits & (0xffff << (16 * (bits % 8)))).to_string();
            let mapped = Ipv4Addr::from_bits(bits as u32).to_ipv6_mapped().to_string();
            let mut wrong = [v4.clone(), v6.clone(), zeros.clone(), mapped.clone()];
            wrong.iter_mut().for_each(|text| text.insert_str(at % (text.len() + 1), &typed));
            for text in [text, groups.concat(), v4, v6, zeros, mapped].iter().chain(&wrong) {
                let (v4, v6) = (text.parse().ok().map(Ipv4Addr::to_bits), text.parse().ok().map(Ipv6Addr::to_bits));
                let whole = |behind: &[u8]| behind.is_empty();
                prop_assert_eq!(ipv4(text.as_bytes()).filter(|r| whole(r.1)).map(|r| r.0), v4, "{}", text);
                prop_assert_eq!(ipv6(text.as_bytes()).filter(|r| whole(r.1)).map(|r| r.0), v6, "{}", text);
                // What is no part of an address is left behind it.
                let longer = alloc::format!("{text}/1");
                prop_assert_eq!(ipv4(longer.as_bytes()).filter(|r| r.1 == b"/1").map(|r| r.0), v4, "{}", text);
                prop_assert_eq!(ipv6(longer.as_bytes()).filter(|r| r.1 == b"/1").map(|r| r.0), v6, "{}", text);
            }
        }

        #[test]
        fn any_text_gives_an_answer(n in 0..FieldId::all().len(), text in ".{0,40}") {
            let _ = Value::parse(FieldId::all().nth(n).unwrap(), &text);
        }
    }
}
