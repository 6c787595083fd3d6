//! Numbers of the language: decimal, hexadecimal with `0x`, octal with a leading zero.

use ovs_packet::OfPort;
use ovs_packet::text::{PortNames, integer, resolve_port, resolve_table};

use super::error::{ParseFlowError, Parsed, invalid};

fn small<T: TryFrom<u128>>(text: &str, at: usize, name: &str) -> Parsed<T> {
    let number = integer(text).and_then(|n| T::try_from(n).ok());
    number.ok_or_else(|| ParseFlowError::invalid(at, format!("invalid {name} \"{text}\"")))
}

/// A number of 8 bits, which is called `name`.
pub(super) fn u8_of(text: &str, at: usize, name: &str) -> Parsed<u8> {
    small(text, at, name)
}

/// A number of 16 bits, which is called `name`.
pub(super) fn u16_of(text: &str, at: usize, name: &str) -> Parsed<u16> {
    small(text, at, name)
}

fn wide(text: &str) -> Option<u64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let number = u64::try_from(integer(digits)?).ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// A number of 32 bits.
pub(super) fn u32_of(text: &str, at: usize) -> Parsed<u32> {
    let number = u64_of(text, at)?;
    u32::try_from(number).or_else(|_| invalid(at, format!("invalid numeric format {text}")))
}

/// A number of 64 bits; a negative one counts down from above them.
pub(super) fn u64_of(text: &str, at: usize) -> Parsed<u64> {
    match wide(text) {
        Some(number) => Ok(number),
        None if text.is_empty() => invalid(at, "missing required numeric argument"),
        None => invalid(at, format!("invalid numeric format {text}")),
    }
}

/// A number as C's `atoi` reads it: its first digits, or 0.
pub(super) fn first_digits(text: &str) -> u32 {
    let digits = text.trim_start();
    let end = digits.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end).and_then(|d| d.parse().ok()).unwrap_or(0)
}

/// A port, or what `says` of the text.
pub(super) fn port_of(
    text: &str,
    at: usize,
    ports: &dyn PortNames,
    says: impl FnOnce(&str) -> String,
) -> Parsed<OfPort> {
    port(text, ports).ok_or_else(|| ParseFlowError::invalid(at, says(text)))
}

/// A port that there can be: OpenFlow 1.0 has no numbers for others, and no switch has them.
pub(super) fn port(text: &str, ports: &dyn PortNames) -> Option<OfPort> {
    let port = resolve_port(text, ports)?;
    if port.to_16().is_none() {
        let (low, high) = (0xffff_ff00u32, u32::MAX);
        tracing::warn!(
            target: "ofp_port",
            "port {text} is outside the supported range 0 through ffff or {low:#x} through {high:#x}"
        );
        return None;
    }
    Some(port)
}

/// A table by its number or name.
pub(super) fn table_of(text: &str, at: usize, names: &dyn PortNames, says: impl FnOnce(&str) -> String) -> Parsed<u8> {
    resolve_table(text, names).ok_or_else(|| ParseFlowError::invalid(at, says(text)))
}

/// Bytes in hexadecimal with dots or white space between them.
pub(super) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !matches!(c, '.' | ' ' | '\t' | '\r' | '\n'))
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// A number in hexadecimal; zero without its mark.
pub(super) fn hex(n: u128) -> String {
    if n == 0 { "0".into() } else { format!("{n:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(
            (u8_of("0x10", 0, ""), u16_of("010", 0, ""), u32_of("4294967295", 0)),
            (Ok(16), Ok(8), Ok(u32::MAX))
        );
        assert_eq!(u64_of("-1", 0), Ok(u64::MAX));
        assert_eq!(u8_of("256", 3, "MPLS TTL").unwrap_err().to_string(), "at offset 3: invalid MPLS TTL \"256\"");
        assert_eq!(u32_of("", 0).unwrap_err().problem.to_string(), "missing required numeric argument");
        assert_eq!(u32_of("x", 0).unwrap_err().problem.to_string(), "invalid numeric format x");
        assert_eq!((first_digits("12ab"), first_digits("x"), first_digits("99999999999")), (12, 0, 0));
        assert_eq!((hex_bytes("01.02 ff"), hex_bytes("1"), hex_bytes("0g")), (Some(vec![1, 2, 255]), None, None));
    }
}
