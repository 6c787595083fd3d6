//! `encap` and `decap`.

use crate::action::{Action, EncapProperty};
use crate::text::error::{ParseFlowError, Parsed, invalid};
use crate::text::lexer::{Item, items};
use crate::text::number::{hex_bytes, u8_of, u16_of};
use crate::text::print::ENCAPS;

/// How many name spaces packet types have.
const NAME_SPACES: u16 = 7;

/// `HEADER` or `HEADER(PROPERTY,...)`.
pub(super) fn encap(item: &Item<'_>) -> Parsed<Action> {
    let (arg, at) = (item.arg, item.arg_at);
    let Some(header) = items(arg).next() else {
        return invalid(at, format!("Missing encap hdr: {arg}"));
    };
    let Some((name, packet_type)) = ENCAPS.iter().find(|(name, _)| *name == header.name) else {
        return invalid(at, format!("Encap hdr not supported: {}", header.arg));
    };
    let start = at.saturating_add(header.arg_at);
    let properties = items(header.arg).map(|part| property(name, &part, start)).collect::<Parsed<_>>()?;
    Ok(Action::Encap { packet_type: *packet_type, header_len: 0, properties })
}

fn property(header: &str, part: &Item<'_>, start: usize) -> Parsed<EncapProperty> {
    let (at, text) = (start.saturating_add(part.arg_at), part.arg);
    if header != "nsh" || !matches!(part.name, "md_type" | "tlv") {
        return invalid(start.saturating_add(part.at), format!("Invalid property: {}", part.name));
    }
    match part.name {
        _ if text.is_empty() => invalid(at, "Value missing for encap property"),
        "md_type" => match u8_of(text, at, "md_type")? {
            md_type @ (1 | 2) => Ok(EncapProperty::NshMdType(md_type)),
            _ => invalid(at, "invalid md_type"),
        },
        _ => tlv(text).ok_or_else(|| ParseFlowError::invalid(at, format!("Invalid NSH TLV header: {text}"))),
    }
}

/// `CLASS,TYPE,VALUE`, class and value in hexadecimal.
fn tlv(text: &str) -> Option<EncapProperty> {
    let mut parts = text.split(',').map(str::trim);
    let (class, kind, value) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |s: &str| s.strip_prefix("0x").map(str::to_string);
    let value = hex(value).filter(|v| !v.is_empty())?;
    // An odd digit more in front is a zero.
    let value = if value.len() % 2 == 0 { value } else { format!("0{value}") };
    Some(EncapProperty::NshTlv {
        class: u16::from_str_radix(&hex(class)?, 16).ok()?,
        kind: kind.parse().ok()?,
        value: hex_bytes(&value)?,
    })
}

/// Nothing, or `packet_type(ns=N,type=N)`.
pub(super) fn decap(item: &Item<'_>) -> Parsed<Action> {
    let at = item.arg_at;
    let Some(part) = items(item.arg).next() else { return Ok(Action::Decap(Action::NEXT_PROTOCOL)) };
    if part.name != "packet_type" {
        return invalid(at, format!("Invalid decap argument: {}", part.name));
    }
    let mut attributes = items(part.arg);
    let mut attribute = |name: &str| {
        let found = attributes.next().filter(|a| a.name == name);
        let found =
            found.ok_or_else(|| ParseFlowError::invalid(at, format!("Missing packet_type attribute {name}")))?;
        u16_of(found.arg, at, name)
    };
    let ns = attribute("ns")?;
    if ns >= NAME_SPACES {
        return invalid(at, format!("Unsupported ns value: {ns}"));
    }
    Ok(Action::Decap(u32::from(ns) << 16 | u32::from(attribute("type")?)))
}
