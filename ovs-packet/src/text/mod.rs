//! Matches in words, as OpenFlow tools write them: `tcp,in_port=1,nw_dst=10.0.0.0/8,tp_dst=80`.
//!
//! Terms are separated by commas or white space, each a name with a value or a shorthand for a protocol. Their order
//! does not matter: terms that others depend on are read first. A name may be followed by some of its field's bits in
//! brackets, `reg0[0..3]=5`; a port may have a name ([`PortNames`]); a tunnel option may stand without a value, for a
//! packet that has it with any.
//!
//! What is written is what upstream's tools write, and is read as the same match, with the exceptions that
//! [`MatchText`] tells.

mod parse;
mod ports;
mod print;
mod scan;
mod words;

use core::net::Ipv4Addr;

pub use parse::{
    MatchProblem, ParseMatchError, Term, Terms, match_of_terms, match_of_terms_into, match_of_terms_with, terms,
};
pub use ports::{NoNames, PortNames, PortText, TableText, resolve_port, resolve_table};
pub use print::MatchText;
pub(crate) use scan::hex_digit;
pub use scan::{end_of_parenthesis, end_of_value};
pub use words::Words;

use crate::field::ipv4;

/// Reads an IPv4 address at the front of a text, and gives what is behind it.
///
/// ```
/// use ovs_packet::text::ipv4_in_front;
///
/// assert_eq!(ipv4_in_front("10.0.0.1-10.0.0.9"), Some(([10, 0, 0, 1].into(), "-10.0.0.9")));
/// assert_eq!(ipv4_in_front("10.0.0"), None);
/// ```
pub fn ipv4_in_front(text: &str) -> Option<(Ipv4Addr, &str)> {
    let (address, behind) = ipv4(text.as_bytes())?;
    Some((Ipv4Addr::from_bits(address), text.get(text.len() - behind.len()..)?))
}

/// Reads a decimal number, or a hexadecimal one with `0x`; `None` for anything else.
#[inline]
pub fn number(s: &str) -> Option<u128> {
    match s.as_bytes() {
        [b'0', b'x' | b'X', hex @ ..] => in_radix::<16>(hex),
        digits => in_radix::<10>(digits),
    }
}

/// Reads a number as [`number`] does, or an octal one with a leading zero: how values of fields are read.
#[inline]
pub fn integer(s: &str) -> Option<u128> {
    match s.as_bytes() {
        [b'0', octal @ ..] if octal.first().is_some_and(u8::is_ascii_digit) => in_radix::<8>(octal),
        _ => number(s),
    }
}

fn in_radix<const RADIX: u32>(digits: &[u8]) -> Option<u128> {
    let value = |digit: u8| char::from(digit).to_digit(RADIX);
    // So many digits of a base up to 16 fit 64 bits, in which nearly every number is read.
    if let 1..=15 = digits.len() {
        let mut number = 0;
        for digit in digits {
            number = number * u64::from(RADIX) + u64::from(value(*digit)?);
        }
        return Some(number.into());
    }
    let next = |n: u128, digit: &u8| n.checked_mul(RADIX.into())?.checked_add(value(*digit)?.into());
    if digits.is_empty() { None } else { digits.iter().try_fold(0, next) }
}

#[cfg(test)]
mod tests;
