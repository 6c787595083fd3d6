//! The `tunnel` attribute in words, both ways: what it holds within it, and the raw options of Geneve.
//!
//! In a datapath's key the options stand as on the wire, and [`FlowKey::tun_present`] is their length in bytes.

use std::fmt::Write;

use ovs_packet::FlowKey;
use ovs_packet::field::FieldId;
use ovs_packet::key::TUN_METADATA_BYTES;
use ovs_packet::packet::TunnelFlags;
use ovs_packet::text::number;

use super::TextError;
use super::attr::{Form, Member, Place};
use super::ct::masked;
use super::key::KeyText;
use super::parse_key::KeyReader;
use super::tree::Term;
use super::value::hex;

const fn member(name: &'static str, field: FieldId, form: Form) -> Member {
    Member { name, place: Place::Field(field), form }
}

/// What stands directly within `tunnel(...)`.
const PLAIN: &[Member] = &[
    member("tun_id", FieldId::TunId, Form::Hex0),
    member("src", FieldId::TunSrc, Form::Ipv4),
    member("dst", FieldId::TunDst, Form::Ipv4),
    member("ipv6_src", FieldId::TunIpv6Src, Form::Ipv6),
    member("ipv6_dst", FieldId::TunIpv6Dst, Form::Ipv6),
    member("tos", FieldId::TunTos, Form::Hex),
    member("ttl", FieldId::TunTtl, Form::Decimal),
    Member { name: "tp_src", place: Place::TunnelPort { dst: false }, form: Form::Decimal },
    Member { name: "tp_dst", place: Place::TunnelPort { dst: true }, form: Form::Decimal },
];

const GBP: &[Member] =
    &[member("id", FieldId::TunGbpId, Form::Decimal), member("flags", FieldId::TunGbpFlags, Form::Hex)];

const VER: Member = member("ver", FieldId::TunErspanVer, Form::Decimal);
const IDX: Member = member("idx", FieldId::TunErspanIdx, Form::Hex);
const DIR: Member = member("dir", FieldId::TunErspanDir, Form::Decimal);
const HWID: Member = member("hwid", FieldId::TunErspanHwid, Form::Hex);

const GTPU: &[Member] =
    &[member("flags", FieldId::TunGtpuFlags, Form::Hex), member("msgtype", FieldId::TunGtpuMsgtype, Form::Decimal)];

/// The flags' names, from bit 0 on.
const FLAGS: [&str; 4] = ["oam", "df", "csum", "key"];
const ALL_FLAGS: u8 = TunnelFlags::all().bits();
const _: () = assert!(ALL_FLAGS == 0xf);

/// What is within the parentheses of `tunnel(...)`; nothing if no bit of it is matched.
pub(super) fn write(text: &KeyText<'_>) -> Vec<String> {
    let mut out = text.members(PLAIN);
    for (name, members) in [("vxlan(gbp", GBP), ("erspan", erspan_members(&text.key)), ("gtpu", GTPU)] {
        let inner = text.members(members);
        if !inner.is_empty() {
            let close = if name.contains('(') { "))" } else { ")" };
            out.push(format!("{name}({}{close}", inner.join(",")));
        }
    }
    let len = text.key.tun_present.get().min(TUN_METADATA_BYTES as u64) as usize;
    let wire = |key: &'_ FlowKey| key.tun_metadata.get(..len).unwrap_or(&[]).to_vec();
    let options = options(&wire(&text.key), &wire(&text.mask.bits));
    if !options.is_empty() {
        out.push(format!("geneve({options})"));
    }
    match text.mask.bits.tun_flags & ALL_FLAGS {
        0 => {}
        mask => out.push(format!("flags({})", flags(text.key.tun_flags, mask))),
    }
    out
}

/// Version 1 has an index, version 2 a direction and a hardware id.
fn erspan_members(key: &FlowKey) -> &'static [Member] {
    let version = FieldId::TunErspanVer.info().get(key);
    match version {
        1 => &[VER, IDX],
        2 => &[VER, DIR, HWID],
        _ => &[VER],
    }
}

fn flags(value: u8, mask: u8) -> String {
    let named = |bits: u8| FLAGS.iter().enumerate().filter(move |(i, _)| bits >> i & 1 != 0);
    if mask == ALL_FLAGS {
        return named(value).map(|(_, name)| *name).collect::<Vec<_>>().join("|");
    }
    named(mask).map(|(i, name)| format!("{}{name}", if value >> i & 1 != 0 { '+' } else { '-' })).collect()
}

/// The options, one after another in braces.
pub(super) fn options(mut values: &[u8], mut masks: &[u8]) -> String {
    let mut out = String::new();
    if masks.iter().all(|b| *b == 0) {
        return out;
    }
    while let ([c0, c1, kind, words, rest @ ..], [m0, m1, kind_mask, words_mask, mask_rest @ ..]) = (values, masks) {
        let len = (usize::from(words & 0x1f) * 4).min(rest.len());
        let (data, after) = rest.split_at(len);
        let (data_mask, mask_after) = mask_rest.split_at(len);
        let (class, class_mask) = (u16::from_be_bytes([*c0, *c1]), u16::from_be_bytes([*m0, *m1]));
        let mut parts = Vec::new();
        let mut part = |name: &str, value: String, mask: u128, all: u128| match mask {
            0 => {}
            mask if mask == all => parts.push(format!("{name}={value}")),
            mask => parts.push(format!("{name}={value}/{mask:#x}")),
        };
        part("class", hex(class.into()), class_mask.into(), 0xffff);
        part("type", hex((*kind).into()), (*kind_mask).into(), 0xff);
        part("len", len.to_string(), (words_mask & 0x1f).into(), 0x1f);
        if data_mask.iter().any(|b| *b != 0) {
            let mut text = hex_bytes(data);
            if data_mask.iter().any(|b| *b != 0xff) {
                let _ = write!(text, "/{}", hex_bytes(data_mask));
            }
            parts.push(text);
        }
        let _ = write!(out, "{{{}}}", parts.join(","));
        (values, masks) = (after, mask_after);
    }
    out
}

/// Bytes as one hexadecimal number, without zeros in front.
pub(super) fn hex_bytes(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    match digits.trim_start_matches('0') {
        "" => "0".into(),
        digits => format!("0x{digits}"),
    }
}

/// Reads what is within `tunnel(...)`.
pub(super) fn read(reader: &mut KeyReader<'_>, term: &Term<'_>) -> Result<(), TextError> {
    for arg in term.args()? {
        match arg.name {
            "vxlan" => match arg.args()? {
                [gbp] if gbp.name == "gbp" => reader.attr(gbp, GBP)?,
                _ => return Err(TextError::new(arg.at, "'vxlan(gbp(...))'")),
            },
            "erspan" => reader.attr(arg, &[VER, IDX, DIR, HWID])?,
            "gtpu" => reader.attr(arg, GTPU)?,
            "geneve" => read_options(reader, arg)?,
            "flags" => read_flags(reader, arg)?,
            _ => reader.argument(arg, PLAIN)?,
        }
    }
    Ok(())
}

fn read_flags(reader: &mut KeyReader<'_>, term: &Term<'_>) -> Result<(), TextError> {
    let (text, at) = if term.args()?.is_empty() { ("", term.at) } else { term.word()? };
    let bit = |name: &str| {
        let i = FLAGS.iter().position(|f| *f == name);
        i.map(|i| 1 << i).ok_or_else(|| TextError::new(at, format!("flags among {}", FLAGS.join(", "))))
    };
    let (mut value, mut mask) = (0u8, ALL_FLAGS);
    if text.starts_with(['+', '-']) {
        mask = 0;
        let mut rest = text;
        while let Some(sign) = rest.chars().next() {
            let behind = rest.get(1..).unwrap_or("");
            let end = behind.find(['+', '-']).unwrap_or(behind.len());
            let (name, after) = behind.split_at(end);
            let bit = bit(name)?;
            mask |= bit;
            value |= if sign == '+' { bit } else { 0 };
            rest = after;
        }
    } else if !text.is_empty() && text != "0" {
        for name in text.split('|') {
            value |= bit(name)?;
        }
    }
    (reader.key.tun_flags, reader.mask.bits.tun_flags) = (value, mask);
    Ok(())
}

/// Options as on the wire, and their masks.
pub(super) fn option_bytes(term: &Term<'_>) -> Result<(Vec<u8>, Vec<u8>), TextError> {
    let (mut values, mut masks) = (Vec::new(), Vec::new());
    for option in term.args()? {
        let (mut class, mut kind, mut len) = ((0u16, 0u16), (0u8, 0u8), (0u8, 0u8));
        let mut data = None;
        for part in option.args()? {
            match part.name {
                "class" => class = masked(part, u16::MAX)?,
                "type" => kind = masked(part, u8::MAX)?,
                "len" => len = masked(part, u8::MAX)?,
                _ => data = Some(part),
            }
        }
        let bytes = usize::from(len.0);
        if !bytes.is_multiple_of(4) || bytes > 124 {
            return Err(TextError::new(option.at, "a length of at most 124 bytes, in words of four"));
        }
        values.extend([&class.0.to_be_bytes()[..], &[kind.0, len.0 / 4]].concat());
        let len_mask = if len.1 == u8::MAX { 0x1f } else { len.1 & 0x1f };
        masks.extend([&class.1.to_be_bytes()[..], &[kind.1, len_mask]].concat());
        let (value, mask) = match data {
            Some(part) => {
                let (value, mask) = part.name.split_once('/').unwrap_or((part.name, ""));
                let whole = || vec![0xff; bytes];
                let mask = if mask.is_empty() { whole() } else { wide(mask, bytes, part.at)? };
                (wide(value, bytes, part.at)?, mask)
            }
            None => (vec![0; bytes], vec![0; bytes]),
        };
        values.extend(value);
        masks.extend(mask);
    }
    Ok((values, masks))
}

fn read_options(reader: &mut KeyReader<'_>, term: &Term<'_>) -> Result<(), TextError> {
    let (values, masks) = option_bytes(term)?;
    let too_long = || TextError::new(term.at, format!("options of at most {TUN_METADATA_BYTES} bytes"));
    let room = |at: &mut [u8; TUN_METADATA_BYTES], bytes: &[u8]| {
        at.get_mut(..bytes.len()).map(|to| to.copy_from_slice(bytes)).ok_or_else(too_long)
    };
    room(&mut reader.key.tun_metadata, &values)?;
    room(&mut reader.mask.bits.tun_metadata, &masks)?;
    reader.key.tun_present.set(values.len() as u64);
    reader.mask.bits.tun_present.set(u64::MAX);
    Ok(())
}

/// A number of any width as bytes, right-aligned.
fn wide(text: &str, bytes: usize, at: usize) -> Result<Vec<u8>, TextError> {
    let too_wide = || TextError::new(at, format!("a number of {bytes} bytes"));
    let Some(digits) = text.strip_prefix("0x") else {
        let n = number(text).ok_or_else(|| TextError::new(at, "a number"))?.to_be_bytes();
        let (over, kept) = n.split_at(n.len().saturating_sub(bytes));
        let fits = over.iter().all(|b| *b == 0);
        return if fits { Ok([vec![0; bytes - kept.len()], kept.to_vec()].concat()) } else { Err(too_wide()) };
    };
    let mut out = vec![0u8; bytes];
    let digits = digits.trim_start_matches('0');
    if digits.len() > 2 * bytes {
        return Err(too_wide());
    }
    for (i, digit) in digits.bytes().rev().enumerate() {
        let value = char::from(digit).to_digit(16).ok_or_else(|| TextError::new(at, "hexadecimal digits"))? as u8;
        if let Some(byte) = out.iter_mut().rev().nth(i / 2) {
            *byte |= value << (4 * (i % 2));
        }
    }
    Ok(out)
}
