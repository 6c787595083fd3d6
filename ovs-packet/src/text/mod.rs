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

pub use parse::{MatchProblem, ParseMatchError, Term, is_match_term, match_of_terms, match_of_terms_with, terms};
pub use ports::{NoNames, PortNames, PortText, TableText, resolve_port, resolve_table};
pub use print::MatchText;

/// Reads a decimal number, or a hexadecimal one with `0x`; `None` for anything else.
pub fn number(s: &str) -> Option<u128> {
    let (digits, radix) = match s.strip_prefix("0x").or_else(|| s.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (s, 10),
    };
    in_radix(digits, radix)
}

/// Reads a number as [`number`] does, or an octal one with a leading zero: how values of fields are read.
pub fn integer(s: &str) -> Option<u128> {
    match s.strip_prefix('0') {
        Some(octal) if octal.starts_with(|c: char| c.is_ascii_digit()) => in_radix(octal, 8),
        _ => number(s),
    }
}

fn in_radix(digits: &str, radix: u32) -> Option<u128> {
    // So many digits of a base up to 16 fit 64 bits, in which nearly every number is read.
    if (1..=15).contains(&digits.len()) {
        let digit = |b: u8| char::from(b).to_digit(radix).map(u64::from);
        let number = digits.bytes().try_fold(0u64, |n, b| Some(n * u64::from(radix) + digit(b)?));
        return number.map(u128::from);
    }
    let well_formed = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric());
    well_formed.then(|| u128::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests;
