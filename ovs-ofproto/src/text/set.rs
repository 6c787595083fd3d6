//! Words that set fields: `set_field`, `load`, and the `mod_*` of OpenFlow 1.0.
//!
//! The words of OpenFlow 1.0 speak of packets that may be of any kind: `mod_tp_dst` sets the port of whatever protocol
//! there is, and `mod_vlan_vid` pushes a tag where there is none. Here they become a set of one field, so that the match
//! must say which: a protocol with ports, a tag, or no tag.

use ovs_packet::Match;
use ovs_packet::field::{FieldId, Prereq, Value};
use ovs_packet::key::VLAN_PRESENT;

use super::error::{ParseFlowError, Problem};
use super::lexer::Item;
use super::subfield;
use crate::action::Action;
use ovs_packet::text::number;

use crate::codec::action::lacks_tag;

/// The action or actions that `item` stands for, if it is a word that sets a field.
pub(super) fn parse(item: &Item<'_>, m: &Match) -> Option<Result<Vec<Action>, ParseFlowError>> {
    use FieldId::*;
    let one = |field| Some(whole(item, field).map(|a| vec![a]));
    match item.name {
        "set_field" => Some(set_field(item).map(|a| vec![a])),
        "load" => Some(load(item).map(|a| vec![a])),
        "mod_dl_src" => one(EthSrc),
        "mod_dl_dst" => one(EthDst),
        "mod_nw_src" => one(NwSrc),
        "mod_nw_dst" => one(NwDst),
        "mod_nw_ttl" => one(NwTtl),
        "mod_nw_ecn" => one(NwEcn),
        "set_mpls_label" => one(MplsLabel),
        "set_mpls_tc" => one(MplsTc),
        "set_mpls_ttl" => one(MplsTtl),
        "mod_nw_tos" => Some(whole(item, NwTos).map(|a| match a {
            Action::SetField { value, .. } => vec![Action::SetField { field: IpDscp, value: value >> 2, mask: 0x3f }],
            other => vec![other],
        })),
        "mod_tp_src" => Some(by_protocol(item, m, [TcpSrc, UdpSrc, SctpSrc])),
        "mod_tp_dst" => Some(by_protocol(item, m, [TcpDst, UdpDst, SctpDst])),
        "mod_vlan_vid" | "set_vlan_vid" => Some(vlan(item, m, VlanVid)),
        "mod_vlan_pcp" | "set_vlan_pcp" => Some(vlan(item, m, VlanPcp)),
        _ => None,
    }
}

fn argument<'a>(item: &Item<'a>, expected: &'static str) -> Result<&'a str, ParseFlowError> {
    item.arg.filter(|a| !a.is_empty()).ok_or_else(|| ParseFlowError::expected(item.arg_at, expected, ""))
}

fn value(item: &Item<'_>, field: FieldId, text: &str) -> Result<Value, ParseFlowError> {
    Value::parse(field, text).map_err(|e| ParseFlowError { at: item.arg_at, problem: Problem::Value(e) })
}

/// A value for all of `field`.
fn whole(item: &Item<'_>, field: FieldId) -> Result<Action, ParseFlowError> {
    let text = argument(item, "a value behind a colon")?;
    let Value { value, mask, .. } = value(item, field, text)?;
    if mask != field.info().max_value() {
        return Err(ParseFlowError::expected(item.arg_at, "a value without a mask", text));
    }
    Ok(Action::SetField { field, value, mask })
}

fn by_protocol(item: &Item<'_>, m: &Match, fields: [FieldId; 3]) -> Result<Vec<Action>, ParseFlowError> {
    let field = fields.into_iter().find(|f| f.info().prereq.implied_by(m)).ok_or_else(|| ParseFlowError {
        at: item.at,
        problem: Problem::NeedsMatch { action: item.name.to_string(), needs: "tcp, udp or sctp" },
    })?;
    whole(item, field).map(|a| vec![a])
}

/// Sets the VLAN id or priority of the tag that there is, or pushes one.
fn vlan(item: &Item<'_>, m: &Match, field: FieldId) -> Result<Vec<Action>, ParseFlowError> {
    let text = argument(item, "a value behind a colon")?;
    let expected = if field == FieldId::VlanVid { "a VLAN id below 4096" } else { "a priority below 8" };
    let limit = if field == FieldId::VlanVid { 0xfff } else { 7 };
    let value = number(text).filter(|v| *v <= limit);
    let value = value.ok_or_else(|| ParseFlowError::expected(item.arg_at, expected, text))?;
    let set = if field == FieldId::VlanVid {
        Action::SetField { field, value: value | u128::from(VLAN_PRESENT), mask: field.info().max_value() }
    } else {
        Action::SetField { field, value, mask: field.info().max_value() }
    };
    if Prereq::Vlan.implied_by(m) {
        Ok(vec![set])
    } else if m.mask().bits.vlan_tci.get() & VLAN_PRESENT != 0 {
        Ok(vec![Action::PushVlan(0x8100), set])
    } else {
        let needs = "to know whether there is a tag: dl_vlan=VID, vlan_tci=0x1000/0x1000 or vlan_tci=0";
        Err(ParseFlowError { at: item.at, problem: Problem::NeedsMatch { action: item.name.to_string(), needs } })
    }
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
    let info = dst.field.info();
    if !info.writable || (dst.mask() != info.max_value() && !info.maskable) {
        return Err(ParseFlowError::expected(at, "bits of a field that can be set", name));
    }
    let fits = |v: &u128| v & !dst.ones() == 0;
    let number = number(value).filter(fits);
    let value = number.ok_or_else(|| ParseFlowError::expected(item.arg_at, "a number that fits the bits", value))?;
    Ok(Action::SetField { field: dst.field, value: value << dst.offset, mask: dst.mask() })
}
