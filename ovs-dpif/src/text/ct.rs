//! The `ct` action in words, both ways.

use std::fmt::{self, Formatter};

use ovs_conntrack::CtRequest;
use ovs_packet::text::number;

use super::TextError;
use super::tree::Term;

/// Writes `ct` or `ct(...)`.
pub(super) fn write(f: &mut Formatter<'_>, ct: &CtRequest) -> fmt::Result {
    let mut parts = Vec::new();
    if ct.commit || ct.force {
        parts.push(if ct.force { "force_commit" } else { "commit" }.to_string());
    }
    if ct.zone != 0 {
        parts.push(format!("zone={}", ct.zone));
    }
    if let Some((value, mask)) = ct.mark {
        parts.push(format!("mark={value:#x}/{mask:#x}"));
    }
    if let Some((value, mask)) = ct.label {
        parts.push(format!("label={value:#x}/{mask:#x}"));
    }
    if parts.is_empty() { f.write_str("ct") } else { write!(f, "ct({})", parts.join(",")) }
}

/// Reads `ct` or `ct(...)`.
pub(super) fn read(term: &Term<'_>) -> Result<CtRequest, TextError> {
    let mut ct = CtRequest::default();
    for arg in term.args.iter().flatten() {
        match arg.name {
            "commit" => {
                arg.bare()?;
                ct.commit = true;
            }
            "force_commit" => {
                arg.bare()?;
                (ct.commit, ct.force) = (true, true);
            }
            "zone" => {
                let (text, at) = arg.value()?;
                ct.zone = narrow(text, at)?;
            }
            "mark" => ct.mark = Some(masked(arg, u32::MAX)?),
            "label" => ct.label = Some(masked(arg, u128::MAX)?),
            other => {
                let expected = format!("commit, force_commit, zone, mark or label, not '{other}'");
                return Err(TextError::new(arg.at, expected));
            }
        }
    }
    Ok(ct)
}

fn masked<T: TryFrom<u128> + Copy>(arg: &Term<'_>, all: T) -> Result<(T, T), TextError> {
    let (text, at) = arg.value()?;
    match text.split_once('/') {
        Some((value, mask)) => Ok((narrow(value, at)?, narrow(mask, at + value.len() + 1)?)),
        None => Ok((narrow(text, at)?, all)),
    }
}

/// A number that fits its type.
pub(super) fn narrow<T: TryFrom<u128>>(text: &str, at: usize) -> Result<T, TextError> {
    let n = number(text).ok_or_else(|| TextError::new(at, "a number"))?;
    T::try_from(n).map_err(|_| TextError::new(at, format!("a number of {} bits", 8 * size_of::<T>())))
}
