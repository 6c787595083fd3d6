//! Words that set fields: `set_field`, `load`, and the `mod_*` of OpenFlow 1.0.
//!
//! The words of OpenFlow 1.0 speak of packets that may be of any kind: `mod_tp_dst` sets the port of whatever protocol
//! there is, and `mod_vlan_vid` pushes a tag where there is none. They become actions of their own, which note what the
//! match says.

use std::net::Ipv4Addr;

use ovs_packet::field::{FieldId, Prereq, Value};
use ovs_packet::key::VLAN_PRESENT;
use ovs_packet::{EthAddr, Match};

use super::error::{ParseFlowError, Problem};
use super::lexer::Item;
use super::subfield;
use crate::action::Action;
use ovs_packet::text::number;

use crate::codec::action::lacks_tag;

/// The action or actions that `item` stands for, if it is a word that sets a field.
pub(super) fn parse(item: &Item<'_>, m: &Match) -> Option<Result<Vec<Action>, ParseFlowError>> {
    use FieldId::{
        EthDst, EthSrc, MplsLabel, MplsTc, MplsTtl, NwDst, NwEcn, NwSrc, NwTos, NwTtl, SctpDst, SctpSrc, TcpDst,
        TcpSrc, UdpDst, UdpSrc,
    };
    let one = |field, make: &dyn Fn(u128) -> Action| Some(whole(item, field).map(|v| vec![make(v)]));
    let (low, byte) = (|v: u128| (v & 0xffff_ffff) as u32, |v: u128| (v & 0xff) as u8);
    match item.name {
        "set_field" => Some(set_field(item).map(|a| vec![a])),
        "load" => Some(load(item).map(|a| vec![a])),
        "mod_dl_src" => one(EthSrc, &|v| Action::SetEthSrc(mac(v))),
        "mod_dl_dst" => one(EthDst, &|v| Action::SetEthDst(mac(v))),
        "mod_nw_src" => one(NwSrc, &|v| Action::SetIpv4Src(Ipv4Addr::from_bits(low(v)))),
        "mod_nw_dst" => one(NwDst, &|v| Action::SetIpv4Dst(Ipv4Addr::from_bits(low(v)))),
        "mod_nw_ttl" => one(NwTtl, &|v| Action::SetIpTtl(byte(v))),
        "mod_nw_ecn" => one(NwEcn, &|v| Action::SetIpEcn(byte(v))),
        "set_mpls_label" => one(MplsLabel, &|v| Action::SetMplsLabel(low(v))),
        "set_mpls_tc" => one(MplsTc, &|v| Action::SetMplsTc(byte(v))),
        "set_mpls_ttl" => one(MplsTtl, &|v| Action::SetMplsTtl(byte(v))),
        "mod_nw_tos" => one(NwTos, &|v| Action::SetIpTos(byte(v))),
        "mod_tp_src" => Some(by_protocol(item, m, [TcpSrc, UdpSrc, SctpSrc])),
        "mod_tp_dst" => Some(by_protocol(item, m, [TcpDst, UdpDst, SctpDst])),
        "mod_vlan_vid" | "set_vlan_vid" | "mod_vlan_pcp" | "set_vlan_pcp" => Some(vlan(item, m)),
        _ => None,
    }
}

fn argument<'a>(item: &Item<'a>, expected: &'static str) -> Result<&'a str, ParseFlowError> {
    item.arg.filter(|a| !a.is_empty()).ok_or_else(|| ParseFlowError::expected(item.arg_at, expected, ""))
}

fn value(item: &Item<'_>, field: FieldId, text: &str) -> Result<Value, ParseFlowError> {
    Value::parse(field, text).map_err(|e| ParseFlowError { at: item.arg_at, problem: Problem::Value(e) })
}

fn mac(v: u128) -> EthAddr {
    let mut a = EthAddr::default();
    a.0.iter_mut().zip(v.to_be_bytes().iter().skip(10)).for_each(|(to, from)| *to = *from);
    a
}

/// A value for all of `field`.
fn whole(item: &Item<'_>, field: FieldId) -> Result<u128, ParseFlowError> {
    let text = argument(item, "a value behind a colon")?;
    let Value { value, mask, .. } = value(item, field, text)?;
    if mask != field.info().max_value() {
        return Err(ParseFlowError::expected(item.arg_at, "a value without a mask", text));
    }
    Ok(value)
}

fn by_protocol(item: &Item<'_>, m: &Match, fields: [FieldId; 3]) -> Result<Vec<Action>, ParseFlowError> {
    let at = fields.iter().position(|f| f.info().prereq.implied_by(m));
    let field = at.and_then(|at| fields.get(at)).copied().unwrap_or(fields[0]);
    let port = (whole(item, field)? & 0xffff) as u16;
    let protocol = at.and_then(|at| [6, 17, 132].get(at)).copied().unwrap_or(0);
    Ok(vec![match item.name {
        "mod_tp_src" => Action::SetL4Src { port, protocol },
        _ => Action::SetL4Dst { port, protocol },
    }])
}

/// Sets the VLAN id or priority of the tag that there is, or pushes one.
fn vlan(item: &Item<'_>, m: &Match) -> Result<Vec<Action>, ParseFlowError> {
    let text = argument(item, "a value behind a colon")?;
    let vid = item.name.ends_with("vid");
    let (expected, limit) = if vid { ("a VLAN id below 4096", 0xfff) } else { ("a priority below 8", 7) };
    let value = number(text).filter(|v| *v <= limit);
    let value = value.ok_or_else(|| ParseFlowError::expected(item.arg_at, expected, text))?;
    let (push, tagged) = (item.name.starts_with("mod"), Prereq::Vlan.implied_by(m));
    Ok(vec![match vid {
        true => Action::SetVlanVid { vid: (value & 0xfff) as u16, push, tagged },
        false => Action::SetVlanPcp { pcp: (value & 7) as u8, push, tagged },
    }])
}

/// `VALUE[/MASK]->FIELD`.
fn set_field(item: &Item<'_>) -> Result<Action, ParseFlowError> {
    let text = argument(item, "VALUE[/MASK]->FIELD")?;
    let split = || ParseFlowError::expected(item.arg_at, "VALUE[/MASK]->FIELD", text);
    let (text, name) = text.rsplit_once("->").ok_or_else(split)?;
    let field_at = item.arg_at + text.len() + 2;
    let field = subfield::field(name).ok_or_else(|| ParseFlowError::expected(field_at, "the name of a field", name))?;
    if !field.info().writable {
        return Err(ParseFlowError::expected(field_at, "a field that can be set", name));
    }
    let Value { value, mask, .. } = value(item, field, text)?;
    if mask == 0 {
        return Err(ParseFlowError::expected(item.arg_at, "a mask that is not zero", text));
    }
    if field == FieldId::VlanVid && lacks_tag(value, mask) {
        return Err(ParseFlowError::expected(item.arg_at, "a VLAN id plus 4096, the bit of a tag that is there", text));
    }
    // The VLAN id of OpenFlow 1.0 has no present bit, which sets of it take for granted.
    if field == FieldId::DlVlan {
        let (present, field) = (u128::from(VLAN_PRESENT), FieldId::VlanVid);
        return Ok(Action::SetField { field, value: value | present, mask: mask | present });
    }
    Ok(Action::SetField { field, value, mask })
}

/// `VALUE->FIELD[LOW..HIGH]`.
fn load(item: &Item<'_>) -> Result<Action, ParseFlowError> {
    let text = argument(item, "VALUE->FIELD[LOW..HIGH]")?;
    let split = || ParseFlowError::expected(item.arg_at, "VALUE->FIELD[LOW..HIGH]", text);
    let (value, name) = text.split_once("->").ok_or_else(split)?;
    let at = item.arg_at + value.len() + 2;
    let dst = subfield::parse(name).map_err(|e| e.moved(at))?;
    if dst.check_target().is_err() {
        return Err(ParseFlowError::expected(at, "bits of a field that can be set", name));
    }
    let fits = |v: &u128| v & !dst.ones() == 0;
    let number = number(value).filter(fits);
    let value = number.ok_or_else(|| ParseFlowError::expected(item.arg_at, "a number that fits the bits", value))?;
    match u64::try_from(value) {
        Ok(value) if dst.bits <= 64 => Ok(Action::Load { dst, value }),
        _ => Ok(Action::SetField { field: dst.field, value: value << dst.offset, mask: dst.mask() }),
    }
}
