//! `learn`: what a flow is to have that a packet makes.

use ovs_packet::field::{Format, Value};
use ovs_packet::text::{PortNames, integer};

use super::fields::{move_parts, target};
use crate::action::{Action, Learn, LearnFlags, LearnSource, LearnSpec, LearnTarget, Subfield};
use crate::text::error::{ParseFlowError, Parsed, field_value, invalid};
use crate::text::lexer::{Item, items};
use crate::text::number::{first_digits, port, table_of, u64_of};
use crate::text::subfield;

/// Reads the argument of `learn`.
pub(super) fn parse(item: &Item<'_>, ports: &dyn PortNames) -> Parsed<Action> {
    let mut l = Learn::default();
    let short = |text| (first_digits(text) & 0xffff) as u16;
    for part in items(item.arg) {
        let (at, text) = (item.arg_at.saturating_add(part.arg_at), part.arg);
        match part.name {
            "table" => {
                l.table = table_of(text, at, ports, |t| format!("unknown table \"{t}\""))?;
                if l.table == 255 {
                    return invalid(at, format!("{}: table id 255 not valid for `learn' action", item.arg));
                }
            }
            "priority" => l.priority = short(text),
            "idle_timeout" => l.idle_timeout = short(text),
            "hard_timeout" => l.hard_timeout = short(text),
            "fin_idle_timeout" => l.fin_idle_timeout = short(text),
            "fin_hard_timeout" => l.fin_hard_timeout = short(text),
            "cookie" => l.cookie = u64_of(text, at)?,
            "send_flow_rem" => l.flags |= LearnFlags::SEND_FLOW_REM,
            "delete_learned" => l.flags |= LearnFlags::DELETE_LEARNED,
            "limit" => l.limit = first_digits(text),
            "result_dst" => {
                let result = target(text, at)?;
                if result.bits != 1 {
                    return invalid(at, "result_dst in 'learn' action must be a single bit");
                }
                l.flags |= LearnFlags::WRITE_RESULT;
                l.result = Some(result);
            }
            _ => l.specs.push(spec(item, &part, ports)?),
        }
    }
    Ok(Action::Learn(Box::new(l)))
}

/// The low bits of a value as bytes.
fn immediate(value: u128, bits: u16) -> LearnSource {
    let skip = 16usize.saturating_sub(bits.div_ceil(8).into());
    LearnSource::Immediate(value.to_be_bytes().get(skip..).unwrap_or_default().to_vec())
}

fn plain(s: Subfield, name: &str, whole: &str, at: usize) -> Parsed<Subfield> {
    match subfield::is_plain(s.field) {
        true => Ok(s),
        false => invalid(at, format!("{whole}: experimenter OXM field '{name}' not supported")),
    }
}

/// What the flow is to match, set or output to.
fn spec(learn: &Item<'_>, part: &Item<'_>, ports: &dyn PortNames) -> Parsed<LearnSpec> {
    let (name, text) = (part.name, part.arg);
    let (name_at, at) = (learn.arg_at.saturating_add(part.at), learn.arg_at.saturating_add(part.arg_at));
    match name {
        "load" => load(text, at),
        "output" => {
            let src = subfield::parse(text, at)?;
            Ok(LearnSpec { bits: src.bits, source: LearnSource::Field(src), target: LearnTarget::Output })
        }
        name => {
            let unknown = |_| ParseFlowError::invalid(name_at, format!("{}: unknown keyword {name}", learn.arg));
            let dst = plain(subfield::parse(name, name_at).map_err(unknown)?, name, learn.arg, name_at)?;
            let source = if text.is_empty() { LearnSource::Field(dst) } else { source(learn, part, dst, ports)? };
            Ok(LearnSpec { bits: dst.bits, source, target: LearnTarget::Match(dst) })
        }
    }
}

/// What `dst` is to match: bits of a field, or a value.
fn source(learn: &Item<'_>, part: &Item<'_>, dst: Subfield, ports: &dyn PortNames) -> Parsed<LearnSource> {
    let (name, text) = (part.name, part.arg);
    let at = learn.arg_at.saturating_add(part.arg_at);
    // No field's name begins with a digit, as nearly every value does.
    if !text.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(src) = subfield::parse(text, at)
    {
        if src.bits == dst.bits {
            return Ok(LearnSource::Field(src));
        }
        let says = format!("{}: bit widths of {name} ({}) and {text} ({}) differ", learn.arg, src.bits, dst.bits);
        return invalid(at, says);
    }
    let value = match dst.is_whole() {
        true => whole_value(dst, text, at, ports),
        false => match integer(text) {
            None => invalid(at, format!("{}: cannot parse integer value", learn.arg)),
            Some(value) if value & !dst.ones() != 0 => {
                let shown = Value { field: dst.field, value, mask: dst.field.info().max_value() };
                invalid(at, format!("{}: value {shown} does not fit into {} bits", learn.arg, dst.bits))
            }
            Some(value) => Ok(value),
        },
    };
    value.map(|value| immediate(value, dst.bits)).map_err(|no_value| {
        let no_field = subfield::parse(text, at).err().map_or(String::new(), |e| e.problem.to_string());
        let says = format!(
            "{}: {name} value {text} cannot be parsed as a subfield ({no_field}) or an immediate value ({})",
            learn.arg, no_value.problem
        );
        ParseFlowError::invalid(at, says)
    })
}

fn whole_value(dst: Subfield, text: &str, at: usize, ports: &dyn PortNames) -> Parsed<u128> {
    let info = dst.field.info();
    let is_port = matches!(info.format, Format::Port | Format::Port16);
    let value = match is_port.then(|| port(text, ports)) {
        Some(Some(port)) => field_value(dst.field, &port.to_string(), at)?,
        Some(None) if info.format == Format::Port => {
            return invalid(at, format!("{text}: port value out of range for {}", info.name));
        }
        Some(None) => return invalid(at, format!("{text}: invalid or unknown port for {}", info.name)),
        None => field_value(dst.field, text, at)?,
    };
    match value.mask == info.max_value() {
        true => Ok(value.value),
        false => invalid(at, format!("{text}: wildcards not allowed here")),
    }
}

/// `VALUE->TARGET` or `SOURCE->TARGET`.
fn load(text: &str, at: usize) -> Parsed<LearnSpec> {
    let Some((from, to)) = text.split_once("->") else {
        return invalid(at, format!("load: missing `->' in `{text}'"));
    };
    if from.is_empty() {
        return invalid(at, format!("load: missing source before `->' in `{text}'"));
    }
    if !from.starts_with(|c: char| c.is_ascii_digit()) {
        let (src, dst) = move_parts(text, at)?;
        return Ok(LearnSpec { bits: src.bits, source: LearnSource::Field(src), target: LearnTarget::Load(dst) });
    }
    let is_hexadecimal = |s: &str| s.strip_prefix("0x").is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
    let value = match integer(from) {
        Some(value) => Some(value),
        // More than any field holds.
        None if is_hexadecimal(from) => None,
        None => return invalid(at, format!("load: garbage before `->' in `{text}'")),
    };
    let to_at = at.saturating_add(from.len()).saturating_add(2);
    plain(subfield::parse(to, to_at)?, to, text, at)?;
    let dst = target(to, to_at)?;
    let Some(value) = value.filter(|value| value & !dst.ones() == 0) else {
        return invalid(at, format!("{text}: value does not fit into {} bits", dst.bits));
    };
    Ok(LearnSpec { bits: dst.bits, source: immediate(value, dst.bits), target: LearnTarget::Load(dst) })
}
