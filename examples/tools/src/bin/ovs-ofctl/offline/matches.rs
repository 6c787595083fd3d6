//! Matches alone, in each of the forms that messages have them in.

use ovs_ofproto::codec::{MatchForm, OfError, Version, decode_match, encode_match, encode_nearest_match};
use ovs_ofproto::text::{fields_of, fields_text};
use ovs_packet::Match;
use ovs_packet::field::FieldId;
use ovs_packet::key::{VLAN_PCP_MASK, VLAN_PRESENT};
use ovs_tools::hex;
use serde_json::json;

use super::print::{digits, hex_dump};
use super::wire::{LOGGED, differences, with_again};
use crate::context::{Context, Done, Failure, lines, read_text};

/// Type and length of the structure that has OXM fields.
const OXM_HEADER: usize = 4;

pub(crate) fn nxm(context: &mut Context) -> Done {
    fields(context, MatchForm::Nxm)
}

pub(crate) fn oxm(context: &mut Context) -> Done {
    let name = context.argument(0);
    let version = Version::by_name(name).filter(|v| *v >= Version::V1_2);
    let version = version.ok_or_else(|| format!("{name}: not a valid version for OXM"))?;
    fields(context, MatchForm::Oxm(version))
}

/// Reads fields a line, and prints what they become when they are written again. Comments and empty lines are repeated.
fn fields(context: &mut Context, form: MatchForm) -> Done {
    let text = read_text("-")?;
    for line in text.lines() {
        if context.options.is_json() && line.split('#').next().is_none_or(|words| words.trim().is_empty()) {
            continue;
        }
        if line.starts_with('#') {
            context.print(format_args!("{line}\n"))?;
            continue;
        }
        let words = line.split('#').next().unwrap_or_default();
        if words.trim().is_empty() {
            context.print("\n")?;
            continue;
        }
        let given = fields_of(words).map_err(|e| e.problem.to_string())?;
        let given = if form == MatchForm::Nxm { given } else { framed(&given)? };
        match decode_match(form, &given, !context.options.strict) {
            Ok((m, cookie)) => {
                let mut bytes = encode_match(form, &m, cookie).map_err(|e| e.to_string())?;
                let fields = match form {
                    MatchForm::Nxm => bytes.as_slice(),
                    _ => bytes.get(OXM_HEADER..length_of(&bytes)).unwrap_or_default(),
                };
                if context.options.is_json() {
                    let cookie = cookie.map(|(value, mask)| json!({"value": value, "mask": mask}));
                    context.print_json(&json!({"match": m, "cookie": cookie, "fields": digits(fields)}))?;
                    continue;
                }
                context.print(format_args!("{}\n", fields_text(fields)))?;
                if context.options.more > 0 {
                    if form == MatchForm::Nxm {
                        bytes.resize(bytes.len().next_multiple_of(8), 0);
                    }
                    context.print(hex_dump(&bytes))?;
                }
            }
            Err(e) => {
                if e.error == OfError::BadMatchBadWildcards {
                    warn_of_wildcards(&given, e.at);
                }
                let says = format!("nx_pull_match() returned error {}\n", e.error);
                context.print_either(says, || json!({"error": e.error, "fields": digits(&given)}))?;
            }
        }
    }
    Ok(())
}

/// What stands at a place where the value has bits that its mask has not.
fn warn_of_wildcards(bytes: &[u8], at: usize) {
    // The place is that of the value, behind the header.
    let Some([a, b, field, len]) = at.checked_sub(4).and_then(|at| bytes.get(at..at + 4)) else { return };
    let (class, masked) = (u16::from_be_bytes([*a, *b]), field & 1);
    tracing::warn!(
        target: "nx_match",
        "Rejecting NXM/OXM entry 0:{class}:{}:{masked}:{len} with 1-bits in value for bits wildcarded by the mask.",
        field >> 1
    );
}

/// The length that the structure around OXM fields says.
fn length_of(bytes: &[u8]) -> usize {
    bytes.get(2..4).map_or(0, |b| usize::from(b[0]) << 8 | usize::from(b[1]))
}

/// OXM fields in their structure.
fn framed(fields: &[u8]) -> Result<Vec<u8>, Failure> {
    let len = u16::try_from(fields.len() + OXM_HEADER).map_err(|_| "a match of more than 64 KiB")?;
    let mut bytes = [&[0, 1][..], &len.to_be_bytes(), fields].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    Ok(bytes)
}

fn structure(line: &str, len: usize) -> Result<Vec<u8>, Failure> {
    let bytes = hex(line).map_err(|_| "Trailing garbage in hex data")?;
    if bytes.len() != len {
        return Err(format!("Input is {} bytes, expected {len}", bytes.len()).into());
    }
    Ok(bytes)
}

/// `x` stands for a digit that must not matter: it is read as another than the one that is expected back.
pub(crate) fn openflow10(context: &mut Context) -> Done {
    let mut logged = 0;
    for (n, line) in lines(&read_text("-")?) {
        let digit = char::from_digit((n % 15) as u32 + 1, 16).unwrap_or('f');
        let given = structure(&line.replace('x', &digit.to_string()), 40)?;
        let expected = structure(&line.replace('x', "0"), 40)?;
        let whole = MatchForm::OpenFlow10Whole;
        let (came, _) = decode_match(whole, &given, false).map_err(|e| e.to_string())?;
        let again = encode_match(whole, &came, None).map_err(|e| e.to_string())?;
        let (taken, _) = decode_match(MatchForm::OpenFlow10, &given, false).map_err(|e| e.to_string())?;
        if came != taken && logged < LOGGED {
            logged += 1;
            tracing::info!(target: "ofp_match", "normalization changed ofp_match, details:");
            tracing::info!(target: "ofp_match", " pre: {came}");
            tracing::info!(target: "ofp_match", "post: {taken}");
        }
        let normal = encode_match(MatchForm::OpenFlow10, &taken, None).map_err(|e| e.to_string())?;
        let (differs, changed) = (differences("", &expected, &again), differences("normal: ", &again, &normal));
        context.print_either(format_args!("{came}\n{differs}{changed}\n"), || {
            let said = json!({"match": came, "normal": taken, "normal_bytes": digits(&normal)});
            with_again(said, &expected, &again)
        })?;
    }
    Ok(())
}

pub(crate) fn openflow11(context: &mut Context) -> Done {
    for (_, line) in lines(&read_text("-")?) {
        let given = structure(line, 88)?;
        match decode_match(MatchForm::OpenFlow11, &given, false) {
            Ok((m, _)) => {
                let again = encode_match(MatchForm::OpenFlow11, &m, None).map_err(|e| e.to_string())?;
                let text = format!("{m}\n{}\n", differences("", &given, &again));
                context.print_either(text, || with_again(json!({"match": m}), &given, &again))?;
            }
            Err(e) => {
                let port = given.get(4..8).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
                let in_port = given.get(8..12).is_some_and(|b| b[3] & 1 == 0);
                if in_port && (0xff00..0xffff_ff00).contains(&port) {
                    tracing::warn!(
                        target: "ofp_port",
                        "port {port} is outside the supported range 0 through 65279 or 0xffffff00 through 0xffffffff"
                    );
                }
                let text = format!("bad ofp11_match: {}\n\n", e.error);
                context.print_either(text, || json!({"error": e.error, "bytes": digits(&given)}))?;
            }
        }
    }
    Ok(())
}

/// What OXM's own fields can say of a VLAN tag: its priority only where there is one, and whole (OpenFlow 1.5, section
/// 7.2.3.8). For the rest, Nicira's field would have to stand among them.
fn in_oxm_fields(mut m: Match) -> Match {
    let (tag, mask) = (m.key().vlan_tci.get(), m.mask().bits.vlan_tci.get());
    let mask = match mask & VLAN_PCP_MASK != 0 && tag & mask & VLAN_PRESENT != 0 {
        true => mask | VLAN_PCP_MASK,
        false => mask & !VLAN_PCP_MASK,
    };
    m.set_masked(FieldId::VlanTci, tag.into(), mask.into());
    m
}

/// What becomes of a VLAN tag in words and in every form; what a form cannot say is said of it.
pub(crate) fn vlan(context: &mut Context) -> Done {
    let number = |text: &str| {
        u16::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|_| format!("{text}: not a number of 16 bits"))
    };
    let (tci, mask) = (number(context.argument(0))?, number(context.argument(1))?);
    let mut m = Match::ANY;
    m.set_masked(FieldId::VlanTci, (tci & mask).into(), mask.into());
    let shown = |m: &Match| {
        let (tci, mask) = (m.key().vlan_tci.get(), m.mask().bits.vlan_tci.get());
        format!("{tci:04x}/{mask:04x}")
    };
    let words = m.to_string();
    let read: Match = words.parse().map_err(|e| format!("{words}: {e}"))?;
    context.print_either(
        format_args!("{words} -> {}\n", shown(&read)),
        || json!({"form": "text", "text": words, "match": read}),
    )?;
    let forms = [
        ("NXM", MatchForm::Nxm),
        ("OXM", MatchForm::Oxm(Version::V1_2)),
        ("OF1.0", MatchForm::OpenFlow10),
        ("OF1.1", MatchForm::OpenFlow11),
    ];
    for (name, form) in forms {
        let said = if name == "OXM" { in_oxm_fields(m.clone()) } else { m.clone() };
        let bytes = match encode_nearest_match(form, &said) {
            Ok(bytes) => bytes,
            Err(e) => {
                context
                    .print_either(format_args!("{name}: {e}\n"), || json!({"form": name, "error": e.to_string()}))?;
                continue;
            }
        };
        let back = match decode_match(form, &bytes, false) {
            Ok((back, _)) => back,
            Err(e) => {
                context
                    .print_either(format_args!("{name}: {}\n", e.error), || json!({"form": name, "error": e.error}))?;
                continue;
            }
        };
        if context.options.is_json() {
            context.print_json(&json!({"form": name, "bytes": digits(&bytes), "match": back}))?;
            continue;
        }
        match form {
            MatchForm::Nxm => context.print(format_args!("NXM: {} -> {}\n", fields_text(&bytes), shown(&back)))?,
            MatchForm::Oxm(_) => {
                let fields = fields_text(bytes.get(OXM_HEADER..length_of(&bytes)).unwrap_or_default());
                let (tci, mask) = (back.key().vlan_tci.get(), back.mask().bits.vlan_tci.get());
                let vid = tci & 0x1fff;
                let pcp = match vid != 0 && mask >> 13 != 0 {
                    true => format!("{:02}", tci >> 13),
                    false => "--".to_string(),
                };
                context.print(format_args!("OXM: {fields} -> {vid:04x}/{:04x},{pcp}\n", mask & 0x1fff))?;
            }
            _ => {
                // Wildcards, id and priority stand at fixed places of the structures.
                let (wildcards_at, id_at, pcp_bit) =
                    if form == MatchForm::OpenFlow10 { (0, 18, 20) } else { (8, 36, 2) };
                let word =
                    |at: usize| bytes.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
                let wildcards = word(wildcards_at);
                let (vid, pcp) = (word(id_at) >> 16, word(id_at) >> 8 & 0xff);
                context.print(format_args!(
                    "{name}: {vid:04x}/{},{pcp:02x}/{} -> {}\n",
                    wildcards >> 1 & 1,
                    wildcards >> pcp_bit & 1,
                    shown(&back)
                ))?;
            }
        }
    }
    Ok(())
}
