//! Values and masks of members in words.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use ovs_packet::EthAddr;
use ovs_packet::field::{FieldId, Value};
use ovs_packet::key::{FRAG_ANY, FRAG_LATER};
use ovs_packet::packet::CtState;
use ovs_packet::text::number;

use super::attr::{Form, Member, Place};
use super::{PortNames, TextError};

/// The fragment kinds, by value.
const FRAGMENTS: [(&str, u8); 3] = [("no", 0), ("first", FRAG_ANY), ("later", FRAG_ANY | FRAG_LATER)];

/// A member's value, with its mask unless that is whole.
pub(super) fn write(member: &Member, value: u128, mask: u128, ports: &dyn PortNames) -> String {
    let whole = mask == member.place.max();
    let mut text = match member.form {
        Form::Names => return names(member, value, mask),
        Form::Fragment => {
            let found = FRAGMENTS.iter().rev().find(|(_, bits)| value as u8 & bits == *bits);
            return found.map_or("no", |f| f.0).into();
        }
        Form::NshByte if !whole => return format!("{value:#04x}/{mask:#04x}"),
        Form::NshWord if !whole => return format!("{value:#x}/{mask:#010x}"),
        Form::Port if whole => return ports.name(value as u32).unwrap_or_else(|| value.to_string()),
        form => word(form, value),
    };
    if !whole {
        let form = match member.form {
            Form::Decimal | Form::Port => Form::Hex,
            form => form,
        };
        let _ = write!(text, "/{}", word(form, mask));
    }
    text
}

fn word(form: Form, value: u128) -> String {
    match form {
        Form::Hex => hex(value),
        Form::Hex0 => format!("{value:#x}"),
        Form::Hex4 => format!("{value:#06x}"),
        Form::Ethernet => eth(value).to_string(),
        Form::Ipv4 => Ipv4Addr::from_bits(value as u32).to_string(),
        Form::Ipv6 => Ipv6Addr::from_bits(value).to_string(),
        Form::NshWord => format!("{value:#x}"),
        Form::Decimal | Form::Port | Form::Fragment | Form::Names | Form::NshByte => value.to_string(),
    }
}

/// Hexadecimal with `0x`, but zero as `0`.
pub(super) fn hex(n: u128) -> String {
    if n == 0 { "0".into() } else { format!("{n:#x}") }
}

fn eth(value: u128) -> EthAddr {
    let [.., a, b, c, d, e, f] = value.to_be_bytes();
    EthAddr([a, b, c, d, e, f])
}

fn number_of(address: EthAddr) -> u128 {
    address.0.iter().fold(0, |n, b| n << 8 | u128::from(*b))
}

fn names(member: &Member, value: u128, mask: u128) -> String {
    let Place::Field(field) = member.place else { return hex(value) };
    if field == FieldId::CtState && mask == member.place.max() {
        let set = CtState::NAMES.iter().enumerate().filter(|(i, _)| value >> i & 1 != 0);
        let names: Vec<_> = set.map(|(_, name)| *name).collect();
        return if names.is_empty() { "0".into() } else { names.join("|") };
    }
    Value { field, value: value & mask, mask }.to_string()
}

/// What is matched of a connection's state, with a sign for each.
pub(super) fn ct_state(value: u128, mask: u128) -> String {
    let matched = CtState::NAMES.iter().enumerate().filter(|(i, _)| mask >> i & 1 != 0);
    matched.map(|(i, name)| format!("{}{name}", if value >> i & 1 != 0 { '+' } else { '-' })).collect()
}

/// Reads a member's value and mask. The mask is whole where none is given.
///
/// # Errors
/// If the text is not in the member's form or does not fit; `at` is where it stands.
pub(super) fn read(member: &Member, text: &str, at: usize, ports: &dyn PortNames) -> Result<(u128, u128), TextError> {
    let wrong = |what: &str| TextError::new(at, what.to_string());
    let max = member.place.max();
    match (member.form, member.place) {
        (Form::Fragment, _) => {
            let found = FRAGMENTS.iter().find(|(name, _)| *name == text);
            return found.map(|(_, bits)| (u128::from(*bits), max)).ok_or_else(|| wrong("'no', 'first' or 'later'"));
        }
        (Form::Names, Place::Field(field)) => {
            return match Value::parse(field, text) {
                Ok(v) => Ok((v.value, v.mask)),
                Err(e) => Err(wrong(e.expected)),
            };
        }
        (Form::Port, _) if number(text.split('/').next().unwrap_or(text)).is_none() => {
            let port = ports.number(text).ok_or_else(|| wrong("a port number or the name of a port"))?;
            return Ok((port.into(), max));
        }
        _ => {}
    }
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (value, Some(mask)),
        None => (text, None),
    };
    let one = |word: &str| -> Result<u128, TextError> {
        match member.form {
            Form::Ethernet => word.parse().map(number_of).map_err(|_| wrong("an Ethernet address")),
            Form::Ipv4 => word.parse().map(|a: Ipv4Addr| a.to_bits().into()).map_err(|_| wrong("an IPv4 address")),
            Form::Ipv6 => word.parse().map(|a: Ipv6Addr| a.to_bits()).map_err(|_| wrong("an IPv6 address")),
            _ => match number(word) {
                Some(n) if n <= max => Ok(n),
                Some(_) => Err(wrong(&format!("a number of at most {max:#x}"))),
                None => Err(wrong("a number")),
            },
        }
    };
    Ok((one(value)?, mask.map_or(Ok(max), one)?))
}
