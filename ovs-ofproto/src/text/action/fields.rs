//! Words that set fields: `set_field`, `load`, `move`, the stack, and the `mod_*` of OpenFlow 1.0.
//!
//! The words of OpenFlow 1.0 speak of packets that may be of any kind: `mod_tp_dst` sets the port of whatever protocol
//! there is, and `mod_vlan_vid` pushes a tag where there is none. They become actions of their own, which note what the
//! match says.

use std::net::Ipv4Addr;

use ovs_packet::EthAddr;
use ovs_packet::field::{FieldId, Format, Prereq, TunOption, Value};
use ovs_packet::key::VLAN_PRESENT;
use ovs_packet::text::integer;

use super::{Reader, Word};
use crate::action::{Action, SetTunnelOption, Subfield};
use crate::codec::action::lacks_tag;
use crate::text::error::{ParseFlowError, Parsed, Problem, field_value, invalid};
use crate::text::lexer::Item;
use crate::text::number::{port, u8_of, u16_of, u32_of, u64_of};
use crate::text::protocol::Protocols;
use crate::text::subfield;

pub(super) const WORDS: [(&str, Word); 31] = [
    ("set_field", Word::Action(set_field)),
    ("load", Word::Action(|_, i| load(i))),
    ("move", Word::Action(|_, i| moves(i))),
    ("push", Word::Action(|_, i| stack(i))),
    ("pop", Word::Action(|_, i| stack(i))),
    ("mod_dl_src", Word::Action(|_, i| whole(FieldId::EthSrc, i).map(|v| Action::SetEthSrc(mac(v))))),
    ("mod_dl_dst", Word::Action(|_, i| whole(FieldId::EthDst, i).map(|v| Action::SetEthDst(mac(v))))),
    ("mod_nw_src", Word::Action(|_, i| whole(FieldId::NwSrc, i).map(|v| Action::SetIpv4Src(ipv4(v))))),
    ("mod_nw_dst", Word::Action(|_, i| whole(FieldId::NwDst, i).map(|v| Action::SetIpv4Dst(ipv4(v))))),
    ("mod_nw_ttl", Word::Action(|_, i| u8_of(i.arg, i.arg_at, "TTL").map(Action::SetIpTtl))),
    ("set_nw_ttl", Word::Action(|_, i| u8_of(i.arg, i.arg_at, "TTL").map(Action::SetIpTtl))),
    ("mod_nw_tos", Word::Action(|_, i| at_most(i, "TOS", "TOS", 0xff, 3).map(|v| Action::SetIpTos(byte(v))))),
    ("mod_nw_ecn", Word::Action(|_, i| at_most(i, "ECN", "ECN", 0xff, !3).map(|v| Action::SetIpEcn(byte(v))))),
    ("mod_tp_src", Word::Action(l4_port)),
    ("mod_tp_dst", Word::Action(l4_port)),
    ("mod_vlan_vid", Word::Action(vlan)),
    ("set_vlan_vid", Word::Action(vlan)),
    ("mod_vlan_pcp", Word::Action(vlan)),
    ("set_vlan_pcp", Word::Action(vlan)),
    ("push_vlan", Word::Action(push_vlan)),
    ("pop_vlan", Word::Action(|_, _| Ok(Action::PopVlan))),
    ("strip_vlan", Word::Action(|_, _| Ok(Action::StripVlan))),
    ("set_mpls_label", Word::Action(|_, i| mpls(i))),
    ("set_mpls_tc", Word::Action(|_, i| mpls(i))),
    ("set_mpls_ttl", Word::Action(|_, i| mpls(i))),
    ("dec_mpls_ttl", Word::Action(|_, _| Ok(Action::DecMplsTtl))),
    ("push_mpls", Word::Action(|_, i| push_mpls(i))),
    ("pop_mpls", Word::Action(|_, i| u16_of(i.arg, i.arg_at, "pop_mpls").map(Action::PopMpls))),
    ("set_tunnel", Word::Action(|_, i| set_tunnel(i, false))),
    ("set_tunnel64", Word::Action(|_, i| set_tunnel(i, true))),
    ("delete_field", Word::Action(|_, i| delete_field(i))),
];

fn whole(field: FieldId, item: &Item<'_>) -> Parsed<u128> {
    field_value(field, item.arg, item.arg_at).map(|v| v.value)
}

fn byte(v: u128) -> u8 {
    (v & 0xff) as u8
}

fn ipv4(v: u128) -> Ipv4Addr {
    Ipv4Addr::from_bits((v & 0xffff_ffff) as u32)
}

fn mac(v: u128) -> EthAddr {
    let mut a = EthAddr::default();
    a.0.iter_mut().zip(v.to_be_bytes().iter().skip(10)).for_each(|(to, from)| *to = *from);
    a
}

/// A number up to `max` without the bits `not`, called `name` if it is no number and `kind` if it is none of them.
fn at_most(item: &Item<'_>, name: &str, kind: &str, max: u128, not: u128) -> Parsed<u128> {
    match integer(item.arg).filter(|v| *v <= max) {
        None => invalid(item.arg_at, format!("invalid {name} \"{}\"", item.arg)),
        Some(v) if v & not != 0 => invalid(item.arg_at, format!("{}: not a valid {kind}", item.arg)),
        Some(v) => Ok(v),
    }
}

fn l4_port(reader: &mut Reader<'_>, item: &Item<'_>) -> Parsed<Action> {
    let port = u16_of(item.arg, item.arg_at, "port")?;
    let known = [(Prereq::Tcp, 6), (Prereq::Udp, 17), (Prereq::Sctp, 132)];
    let protocol = known.into_iter().find_map(|(prereq, p)| reader.known.has(prereq).then_some(p)).unwrap_or(0);
    Ok(match item.name {
        "mod_tp_src" => Action::SetL4Src { port, protocol },
        _ => Action::SetL4Dst { port, protocol },
    })
}

/// Sets the VLAN id or priority of the tag that there is, or pushes one.
fn vlan(reader: &mut Reader<'_>, item: &Item<'_>) -> Parsed<Action> {
    let (push, tagged) = (item.name.starts_with("mod"), reader.known.has(Prereq::Vlan));
    Ok(match item.name.ends_with("vid") {
        true => {
            let vid = at_most(item, "VLAN VID", "VLAN VID", 0xffff, !0xfff)?;
            Action::SetVlanVid { vid: (vid & 0xfff) as u16, push, tagged }
        }
        false => {
            let pcp = at_most(item, "VLAN PCP", "VLAN PCP", 0xff, !7)?;
            Action::SetVlanPcp { pcp: byte(pcp), push, tagged }
        }
    })
}

fn push_vlan(reader: &mut Reader<'_>, item: &Item<'_>) -> Parsed<Action> {
    reader.protocols &= Protocols::OF11_UP;
    match u16_of(item.arg, item.arg_at, "ethertype")? {
        tpid @ (0x8100 | 0x88a8) => Ok(Action::PushVlan(tpid)),
        _ => invalid(item.arg_at, format!("{}: not a valid VLAN ethertype", item.arg)),
    }
}

fn push_mpls(item: &Item<'_>) -> Parsed<Action> {
    match u16_of(item.arg, item.arg_at, "push_mpls")? {
        eth_type @ (0x8847 | 0x8848) => Ok(Action::PushMpls(eth_type)),
        _ => Err(ParseFlowError::expected(item.arg_at, "0x8847 or 0x8848", item.arg)),
    }
}

fn set_tunnel(item: &Item<'_>, wide: bool) -> Parsed<Action> {
    let id = u64_of(item.arg, item.arg_at)?;
    Ok(Action::SetTunnel { id, wide: wide || id > u64::from(u32::MAX) })
}

fn delete_field(item: &Item<'_>) -> Parsed<Action> {
    match subfield::field(item.arg).filter(|f| f.tun_metadata_index().is_some()) {
        Some(field) => Ok(Action::DeleteField(field)),
        None => invalid(item.arg_at, format!("{0}: unknown field `{0}'", item.arg)),
    }
}

fn mpls(item: &Item<'_>) -> Parsed<Action> {
    let Item { name, arg, arg_at: at, .. } = *item;
    let what = name.strip_prefix("set_mpls_").unwrap_or_default();
    if arg.is_empty() {
        return invalid(at, format!("{name}: expected {what}."));
    }
    Ok(match what {
        "label" => match u32_of(arg, at)? {
            label @ 0..=0xf_ffff => Action::SetMplsLabel(label),
            _ => return invalid(at, format!("{arg}: not a valid MPLS label")),
        },
        "tc" => match u8_of(arg, at, "MPLS TC")? {
            tc @ 0..=7 => Action::SetMplsTc(tc),
            _ => return invalid(at, format!("{arg}: not a valid MPLS TC")),
        },
        _ => Action::SetMplsTtl(u8_of(arg, at, "MPLS TTL")?),
    })
}

/// Cuts `VALUE->FIELD`: the value, the field and its place.
pub(super) fn arrow<'a>(item: &Item<'a>) -> Parsed<(&'a str, &'a str, usize)> {
    let arg = item.arg;
    // Few things but an arrow have its head.
    let mut heads = arg.bytes().enumerate().filter(|(_, b)| *b == b'>');
    let split = heads.find_map(|(at, _)| {
        let (front, head) = arg.split_at_checked(at)?;
        Some((front.strip_suffix('-')?, head.get(1..)?))
    });
    match split {
        None => invalid(item.arg_at, format!("{arg}: missing `->'")),
        Some((_, "")) => invalid(item.arg_at, format!("{arg}: missing field name following `->'")),
        Some((value, field)) => Ok((value, field, item.arg_at.saturating_add(value.len()).saturating_add(2))),
    }
}

/// `VALUE[/MASK]->FIELD`.
fn set_field(reader: &mut Reader<'_>, item: &Item<'_>) -> Parsed<Action> {
    let (text, name, field_at) = arrow(item)?;
    let at = item.arg_at;
    let field = FieldId::by_name(name)
        .or_else(|| FieldId::by_wire_name(name))
        .ok_or_else(|| ParseFlowError::invalid(field_at, format!("{name} is not a valid OXM field name")))?;
    let info = field.info();
    if !info.writable {
        return invalid(field_at, format!("{name} is read-only"));
    }
    reader.protocols &= Protocols::of_field(field, info.max_value());
    if let Some(index) = field.tun_metadata_index() {
        return set_option(index, text, at);
    }
    // A port may have a name.
    let port = matches!(info.format, Format::Port | Format::Port16).then(|| port(text, reader.ports)).flatten();
    let Value { value, mask, .. } = match port {
        Some(port) => field_value(field, &port.to_string(), at)?,
        None => field_value(field, text, at)?,
    };
    if field == FieldId::VlanVid && lacks_tag(value, mask) {
        return Err(ParseFlowError::expected(at, "a VLAN id plus 4096, the bit of a tag that is there", text));
    }
    // The VLAN id of OpenFlow 1.0 has no present bit, which sets of it take for granted.
    if field == FieldId::DlVlan {
        let (present, field) = (u128::from(VLAN_PRESENT), FieldId::VlanVid);
        return Ok(Action::SetField { field, value: value | present, mask: mask | present });
    }
    Ok(Action::SetField { field, value, mask })
}

/// Sets a tunnel option to what a text says.
fn set_option(index: usize, text: &str, at: usize) -> Parsed<Action> {
    let option = TunOption::parse(text).map_err(|e| ParseFlowError { at, problem: Problem::Value(e) })?;
    let (value, mask) = (option.value().to_vec(), option.mask().to_vec());
    let index = u8::try_from(index).unwrap_or(u8::MAX);
    Ok(Action::SetTunnelOption(Box::new(SetTunnelOption { index, value, mask, nicira: false })))
}

/// The bits of a field that can be set.
pub(super) fn target(text: &str, at: usize) -> Parsed<Subfield> {
    let s = subfield::parse(text, at)?;
    if s.check_target().is_ok() { Ok(s) } else { invalid(at, format!("{text} is read-only")) }
}

/// `VALUE->FIELD[LOW..HIGH]`.
fn load(item: &Item<'_>) -> Parsed<Action> {
    let (text, name, field_at) = arrow(item)?;
    let dst = subfield::parse(name, field_at)?;
    let at = item.arg_at;
    let Some(value) = integer(text) else {
        return invalid(at, format!("{}: cannot parse integer value", item.arg));
    };
    if value & !dst.ones() != 0 {
        let shown = Value { field: dst.field, value, mask: dst.field.info().max_value() };
        return invalid(at, format!("{}: value {shown} does not fit into {} bits", item.arg, dst.bits));
    }
    if dst.check_target().is_err() {
        return invalid(field_at, format!("{name} is read-only"));
    }
    // A tunnel option is as long as what it is set to.
    if let (Some(index), true) = (dst.field.tun_metadata_index(), dst.is_whole()) {
        return set_option(index, &format!("{value:#x}"), at);
    }
    match u64::try_from(value) {
        Ok(value) if dst.bits <= 64 => Ok(Action::Load { dst, value }),
        _ => Ok(Action::SetField { field: dst.field, value: value << dst.offset, mask: dst.mask() }),
    }
}

/// `FIELD[LOW..HIGH]->FIELD[LOW..HIGH]`.
fn moves(item: &Item<'_>) -> Parsed<Action> {
    let (src, dst) = move_parts(item.arg, item.arg_at)?;
    Ok(Action::Move { src, dst, onf: false })
}

/// From where to where bits are moved.
pub(super) fn move_parts(text: &str, at: usize) -> Parsed<(Subfield, Subfield)> {
    let (src, rest) = subfield::split(text, at)?;
    let Some(target_text) = rest.strip_prefix("->") else {
        return invalid(at, format!("{text}: missing `->' following source"));
    };
    let dst = target(target_text, at.saturating_add(text.len()).saturating_sub(target_text.len()))?;
    match src.bits == dst.bits {
        true => Ok((src, dst)),
        false => invalid(
            at,
            format!("{text}: source field is {} bits wide but destination is {} bits wide", src.bits, dst.bits),
        ),
    }
}

fn stack(item: &Item<'_>) -> Parsed<Action> {
    let (bits, rest) = subfield::split(item.arg, item.arg_at)?;
    if !rest.is_empty() {
        return invalid(item.arg_at, format!("{rest}: trailing garbage following push or pop"));
    }
    match item.name {
        "push" => Ok(Action::Push(bits)),
        _ if bits.check_target().is_err() => invalid(item.arg_at, format!("{} is read-only", item.arg)),
        _ => Ok(Action::Pop(bits)),
    }
}
