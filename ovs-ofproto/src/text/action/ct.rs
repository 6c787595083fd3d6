//! `ct` and `nat`.

use std::net::{IpAddr, Ipv6Addr};

use ovs_packet::text::{integer, ipv4_in_front};

use super::{Outer, Reader};
use crate::action::{Action, CtAction, Nat, NatFlags, NatRange};
use crate::codec::OfError;
use crate::codec::action::ct_is_consistent;
use crate::text::error::{ParseFlowError, Parsed, invalid};
use crate::text::lexer::{Item, items};
use crate::text::number::table_of;
use crate::text::subfield;

impl Reader<'_> {
    /// Reads the argument of `ct`.
    pub(super) fn ct(&mut self, item: &Item<'_>) -> Parsed<Action> {
        let mut ct = CtAction::default();
        // Translation comes first, wherever it is said: the list of actions begins with so much of it, and gets more.
        let (mut nats, mut late) = (0, Vec::new());
        for part in items(item.arg) {
            let (at, text) = (item.arg_at.saturating_add(part.arg_at), part.arg);
            match part.name {
                "commit" => ct.commit = true,
                "force" => ct.force = true,
                "table" => {
                    let table = table_of(text, at, self.ports, |t| format!("unknown table {t}"))?;
                    if table == 255 {
                        return invalid(at, "invalid table 0xff");
                    }
                    ct.table = Some(table);
                }
                "zone" => match integer(text).and_then(|n| u16::try_from(n).ok()) {
                    Some(zone) => ct.zone = zone,
                    None => {
                        let zone = subfield::parse(text, at)?;
                        if zone.bits != 16 {
                            return Err(ParseFlowError::expected(at, "16 bits of a field", text));
                        }
                        ct.zone_src = Some(zone);
                    }
                },
                "alg" => {
                    ct.alg = match text {
                        "ftp" => 21,
                        "tftp" => 69,
                        other => return invalid(at, format!("invalid conntrack helper \"{other}\"")),
                    };
                }
                "nat" => {
                    let nat = Action::Nat(Box::new(nat(text, at)?));
                    if ct.exec.len() == nats {
                        ct.exec.push(nat);
                        nats = ct.exec.len();
                    } else {
                        late.push(nat);
                    }
                }
                "exec" => self.nested_behind(&mut ct.exec, text, at, Outer::Ct)?,
                name => {
                    let at = item.arg_at.saturating_add(part.at);
                    return invalid(at, format!("invalid argument to \"ct\" action: `{name}'"));
                }
            }
        }
        ct.exec.splice(nats..nats, late);
        if ct.force && !ct.commit {
            return invalid(item.at, "\"force\" flag requires \"commit\" flag.");
        }
        if let (Err(why), None) = (ct_is_consistent(&ct), &self.misfit) {
            self.misfit = Some(ParseFlowError::refused(item.at, OfError::BadActionBadArgument, why));
        }
        Ok(Action::Ct(Box::new(ct)))
    }
}

/// Reads `src=A-B:P-Q,persistent`, which stands at `start`.
pub(super) fn nat(arg: &str, start: usize) -> Parsed<Nat> {
    let mut nat = Nat::default();
    for part in items(arg) {
        let at = start.saturating_add(part.arg_at);
        match part.name {
            "src" | "dst" => {
                nat.flags |= if part.name == "src" { NatFlags::SRC } else { NatFlags::DST };
                nat.range = range(part.arg, at)?;
            }
            "persistent" => nat.flags |= NatFlags::PERSISTENT,
            "hash" => nat.flags |= NatFlags::HASH,
            "random" => nat.flags |= NatFlags::RANDOM,
            name => {
                return invalid(start.saturating_add(part.at), format!("invalid key \"{name}\" in \"nat\" argument"));
            }
        }
    }
    let directions = nat.flags & (NatFlags::SRC | NatFlags::DST);
    match () {
        () if directions == NatFlags::SRC | NatFlags::DST => {
            invalid(start, "May only specify one of \"src\" or \"dst\".")
        }
        () if directions.is_empty() && !nat.flags.is_empty() => {
            invalid(start, "Flags allowed only with \"src\" or \"dst\".")
        }
        () if nat.flags.contains(NatFlags::HASH | NatFlags::RANDOM) => {
            invalid(start, "Both \"hash\" and \"random\" are not allowed.")
        }
        () => Ok(nat),
    }
}

/// An address at the front of `text`, perhaps in brackets if it is of IPv6, and what is behind it.
fn address(text: &str) -> Option<(IpAddr, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        return Some((address.parse::<Ipv6Addr>().ok()?.into(), rest));
    }
    if let Some((address, rest)) = ipv4_in_front(text) {
        return Some((address.into(), rest));
    }
    let (v6, rest) = front(text, |b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))?;
    Some((v6.parse::<Ipv6Addr>().ok()?.into(), rest))
}

fn port(text: &str) -> Option<(u16, &str)> {
    let (number, rest) = front(text, |b| b.is_ascii_digit())?;
    Some((number.parse().ok()?, rest))
}

/// The bytes at the front of `text` that are of some characters, and what is behind them.
fn front(text: &str, is: impl Fn(u8) -> bool) -> Option<(&str, &str)> {
    text.split_at_checked(text.bytes().position(|b| !is(b)).unwrap_or(text.len()))
}

/// `A[-B][:P[-Q]]`; nothing for an empty text.
fn range(text: &str, at: usize) -> Parsed<Option<NatRange>> {
    if text.is_empty() {
        return Ok(None);
    }
    let bad = || ParseFlowError::invalid(at, format!("invalid nat range \"{text}\""));
    let garbage = |rest: &str| {
        let pos = text.len().saturating_sub(rest.len());
        ParseFlowError::invalid(at, format!("garbage ({rest}) after nat range \"{text}\" (pos: {pos})"))
    };
    let (min, mut rest) = address(text).ok_or_else(|| garbage(text))?;
    let mut range = NatRange { min, max: None, port_min: 0, port_max: 0 };
    if let Some(behind) = rest.strip_prefix('-') {
        let (max, behind) = address(behind).ok_or_else(bad)?;
        if max < min || max.is_ipv4() != min.is_ipv4() {
            return Err(bad());
        }
        (range.max, rest) = (Some(max), behind);
    }
    if let Some(behind) = rest.strip_prefix(':') {
        (range.port_min, rest) = port(behind).ok_or_else(bad)?;
        if let Some(behind) = rest.strip_prefix('-') {
            (range.port_max, rest) = port(behind).ok_or_else(bad)?;
            if range.port_max < range.port_min {
                return Err(bad());
            }
        }
    }
    // Messages cannot say an address of zeros: it stands for whichever the datapath takes.
    let says_nothing = range == NatRange { min, max: None, port_min: 0, port_max: 0 } && min.is_unspecified();
    match rest {
        "" => Ok(Some(range).filter(|_| !says_nothing)),
        rest => Err(garbage(rest)),
    }
}

#[cfg(test)]
mod tests {
    use crate::text::Parser;

    #[test]
    fn translation_comes_first_wherever_it_is_said() {
        let read = |text: &str| Parser::default().actions(text);
        let (nat, exec) = ("nat(src=10.0.0.1-10.0.0.9:1000-2000)", "exec(set_field:7->ct_mark,set_field:9->ct_label)");
        let first = read(&format!("ct(commit,{nat},{exec})"));
        assert!(first.is_ok());
        assert_eq!(read(&format!("ct(commit,{exec},{nat})")), first);
        let halves = "exec(set_field:7->ct_mark),nat(src=10.0.0.1-10.0.0.9:1000-2000),exec(set_field:9->ct_label)";
        assert_eq!(read(&format!("ct(commit,{halves})")), first);
    }

    #[test]
    fn what_is_behind_an_address_is_told() {
        let says = |range: &str| Parser::default().actions(&format!("ct(commit,nat(src={range}))")).unwrap_err();
        assert_eq!(says("10.0.0.1.5").problem.to_string(), "garbage (.5) after nat range \"10.0.0.1.5\" (pos: 8)");
        assert_eq!(says("10.0.0.9-10.0.0.1").to_string(), "at offset 18: invalid nat range \"10.0.0.9-10.0.0.1\"");
    }
}
