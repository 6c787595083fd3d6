//! Nicira's extension actions: experimenter 0x00002320, and a subtype of 16 bits.
//!
//! | subtype | action | layout behind the subtype |
//! |---|---|---|
//! | 1 | resubmit (read only) | port 16, table 8 (unused), padding 3 |
//! | 7 | reg_load (read only) | offset and length 16, OXM header 32, value 64 |
//! | 14 | resubmit_table | port 16, table 8, padding 3 |
//! | 18 | dec_ttl (read only) | padding 6 |
//! | 33 | reg_load2 | an OXM TLV, padding |
//! | 35 | ct | flags 16, zone source 32, zone 16, table 8, padding 3, ALG 16, actions |
//! | 42 | clone | padding 6, actions |
//! | 43 | ct_clear | padding 6 |

use ovs_packet::OfPort;
use ovs_packet::field::{CLASS_EXPERIMENTER, EXPERIMENTER_NX, FieldId};

use super::action::{self, EXPERIMENTER};
use super::cursor::{Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::oxm::{self, OfPort10};
use crate::action::{Action, CtAction};

const RESUBMIT: u16 = 1;
const REG_LOAD: u16 = 7;
const RESUBMIT_TABLE: u16 = 14;
const DEC_TTL: u16 = 18;
const REG_LOAD2: u16 = 33;
const CT: u16 = 35;
const CLONE: u16 = 42;
const CT_CLEAR: u16 = 43;

const CT_COMMIT: u16 = 1;
const CT_FORCE: u16 = 2;
/// Of a table: the current one, or none.
const NO_TABLE: u8 = 0xff;

fn begin(w: &mut Writer, subtype: u16) {
    w.u16(EXPERIMENTER);
    w.u16(0);
    w.u32(EXPERIMENTER_NX);
    w.u16(subtype);
}

/// A set of some bits of a field.
pub(super) fn encode_masked_set(field: FieldId, value: u128, mask: u128, w: &mut Writer) -> Result<(), EncodeError> {
    begin(w, REG_LOAD2);
    oxm::write_entry(w, field, value, mask)
}

/// One of the actions that OpenFlow 1.3 does not have.
pub(super) fn encode(a: &Action, w: &mut Writer, depth: usize) -> Result<(), EncodeError> {
    match a {
        Action::Resubmit { port, table } => {
            begin(w, RESUBMIT_TABLE);
            w.u16(OfPort10::of(port.unwrap_or(OfPort::IN_PORT))?.0);
            w.u8(table.unwrap_or(NO_TABLE));
            w.zeros(3);
        }
        Action::Ct(ct) => {
            ct_is_consistent(ct).map_err(|what| EncodeError::Inconsistent { what })?;
            begin(w, CT);
            w.u16(if ct.commit { CT_COMMIT } else { 0 } | if ct.force { CT_FORCE } else { 0 });
            w.u32(0);
            w.u16(ct.zone);
            w.u8(ct.table.unwrap_or(NO_TABLE));
            w.zeros(5);
            action::encode(&ct.exec, w, depth.saturating_add(1))?;
        }
        Action::Clone(actions) => {
            begin(w, CLONE);
            w.zeros(6);
            action::encode(actions, w, depth.saturating_add(1))?;
        }
        Action::CtClear => {
            begin(w, CT_CLEAR);
            w.zeros(6);
        }
        _ => return Err(EncodeError::NotInVersion { version: 4, what: "this action" }),
    }
    Ok(())
}

/// What a ct action cannot be: the rule of both directions.
pub(crate) fn ct_is_consistent(ct: &CtAction) -> Result<(), &'static str> {
    let settable = |a: &Action| matches!(a, Action::SetField { field: FieldId::CtMark | FieldId::CtLabel, .. });
    if ct.force && !ct.commit {
        Err("ct with force and without commit")
    } else if !ct.exec.is_empty() && !ct.commit {
        Err("ct with exec and without commit")
    } else if !ct.exec.iter().all(settable) {
        Err("ct with exec of something else than settings of ct_mark and ct_label")
    } else if ct.table == Some(NO_TABLE) {
        Err("ct with table 255")
    } else {
        Ok(())
    }
}

/// Reads the action that begins at `start`; `body` stands behind its type and length.
pub(super) fn decode(start: &Reader<'_>, body: &mut Reader<'_>, depth: usize) -> Result<Action, DecodeError> {
    if body.u32()? != EXPERIMENTER_NX {
        return Err(start.error(OfError::BadActionBadExperimenter, "an experimenter that is known here"));
    }
    let nested = depth.saturating_add(1);
    Ok(match body.u16()? {
        subtype @ (RESUBMIT | RESUBMIT_TABLE) => {
            let (port, table) = (OfPort10(body.u16()?).port(), body.u8()?);
            body.skip(3)?;
            Action::Resubmit {
                port: Some(port).filter(|p| *p != OfPort::IN_PORT),
                table: Some(table).filter(|t| *t != NO_TABLE && subtype == RESUBMIT_TABLE),
            }
        }
        REG_LOAD => reg_load(start, body)?,
        REG_LOAD2 => action::decode_set(body, true)?,
        DEC_TTL => {
            body.skip(6)?;
            Action::DecTtl
        }
        CT => ct(start, body, nested)?,
        CLONE => {
            body.skip(6)?;
            Action::Clone(action::decode(body.sub(body.len())?, nested)?)
        }
        CT_CLEAR => {
            body.skip(6)?;
            Action::CtClear
        }
        _ => return Err(start.error(OfError::BadActionBadExperimenterType, "a Nicira action that is known here")),
    })
}

fn ct(start: &Reader<'_>, body: &mut Reader<'_>, nested: usize) -> Result<Action, DecodeError> {
    let refuse = |what| Err(start.error(OfError::BadActionBadArgument, what));
    let (flags, zone_source, zone, table) = (body.u16()?, body.u32()?, body.u16()?, body.u8()?);
    body.skip(3)?;
    let alg = body.u16()?;
    if flags & !(CT_COMMIT | CT_FORCE) != 0 {
        return refuse("no ct flags but commit and force");
    }
    if zone_source != 0 {
        return refuse("a zone by number: zones from fields are not built yet");
    }
    if alg != 0 {
        return refuse("no application-level gateway: they are not built yet");
    }
    let ct = CtAction {
        commit: flags & CT_COMMIT != 0,
        force: flags & CT_FORCE != 0,
        zone,
        table: Some(table).filter(|t| *t != NO_TABLE),
        exec: action::decode(body.sub(body.len())?, nested)?,
    };
    match ct_is_consistent(&ct) {
        Ok(()) => Ok(Action::Ct(ct)),
        Err(what) => refuse(what),
    }
}

fn reg_load(start: &Reader<'_>, body: &mut Reader<'_>) -> Result<Action, DecodeError> {
    let refuse = |what| Err(start.error(OfError::BadActionBadArgument, what));
    let (place, at) = (body.u16()?, body.clone());
    let (id, masked, _) = oxm::read_header(body)?;
    let (offset, bits) = (u32::from(place >> 6), u32::from(place & 0x3f).saturating_add(1));
    let value = u128::from(body.u64()?);
    if id.class == CLASS_EXPERIMENTER || masked {
        return Err(at.error(OfError::BadActionBadSetType, "a field header of 4 bytes without a mask"));
    }
    let field = FieldId::by_oxm(id)
        .filter(|f| f.info().writable)
        .ok_or_else(|| at.error(OfError::BadActionBadSetType, "a field that can be set"))?;
    let all = field.info().max_value();
    let ones = u128::MAX >> 128u32.saturating_sub(bits);
    let mask = ones.checked_shl(offset).unwrap_or(0);
    if mask >> offset.min(127) != ones || mask & !all != 0 {
        return refuse("bits within the field");
    }
    if value & !ones != 0 {
        return refuse("a value that fits the bits");
    }
    if mask != all && !field.info().maskable {
        return refuse("all bits of a field without masks");
    }
    Ok(Action::SetField { field, value: value << offset.min(127), mask })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(s: &str) -> Vec<u8> {
        (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    fn read(s: &str) -> Result<Vec<Action>, OfError> {
        action::decode(Reader::new(&hex(s)), 0).map_err(|e| e.error)
    }

    #[test]
    fn what_a_stock_switch_sends() {
        let set = |field, value, mask| Ok(vec![Action::SetField { field, value, mask }]);
        assert_eq!(read("ffff00180000232000070007000100040000000000000001"), set(FieldId::Reg0, 1, 0xff));
        assert_eq!(read("ffff001800002320000707c0000102040000000000000001"), set(FieldId::Reg1, 1 << 31, 1 << 31));
        assert_eq!(read("ffff00180000232000070a00000004060000000000000001"), set(FieldId::EthSrc, 1 << 40, 1 << 40));
        assert_eq!(read("ffff001000002320000efff802000000"), Ok(vec![Action::Resubmit { port: None, table: Some(2) }]));
        assert_eq!(
            read("ffff0010000023200001000100000000"),
            Ok(vec![Action::Resubmit { port: Some(OfPort(1)), table: None }])
        );
        let ct = "ffff0040000023200023000300000000000304000000000000190010\
                  0001d6040000000500000000ffff001800002320000700070001d8100000000000000001";
        let exec = vec![
            Action::SetField { field: FieldId::CtMark, value: 5, mask: 0xffff_ffff },
            Action::SetField { field: FieldId::CtLabel, value: 1, mask: 0xff },
        ];
        assert_eq!(
            read(ct),
            Ok(vec![Action::Ct(CtAction { commit: true, force: true, zone: 3, table: Some(4), exec })])
        );
    }

    #[test]
    fn what_is_not_here_is_refused() {
        use OfError::*;
        // Another experimenter, an unknown subtype, bits outside the field, a value that does not fit.
        assert_eq!(read("ffff001000001234000efff802000000"), Err(BadActionBadExperimenter));
        assert_eq!(read("ffff001000002320eeeefff802000000"), Err(BadActionBadExperimenterType));
        assert_eq!(read("ffff00180000232000070ffb000100040000000000000001"), Err(BadActionBadArgument));
        assert_eq!(read("ffff00180000232000070007000100040000000000000100"), Err(BadActionBadArgument));
        // ct: zone from a field, ALG, force without commit, exec without commit, exec of a register.
        assert_eq!(read("ffff0018000023200023000000010004000fff0000000000"), Err(BadActionBadArgument));
        assert_eq!(read("ffff00180000232000230001000000000000ff0000000015"), Err(BadActionBadArgument));
        assert_eq!(read("ffff00180000232000230002000000000000ff0000000000"), Err(BadActionBadArgument));
        let exec = "ffff00280000232000230000000000000000ff0000000000";
        assert_eq!(read(&format!("{exec}001900100001d6040000000500000000")), Err(BadActionBadArgument));
        let exec = exec.replace("230000", "230001");
        assert_eq!(read(&format!("{exec}00190010000100040000000500000000")), Err(BadActionBadArgument));
    }

    #[test]
    fn nesting_is_bounded_both_ways() {
        let nest = |n| (0..n).fold(vec![], |inner, _| vec![Action::Clone(inner)]);
        let encode = |actions: &[Action]| {
            let mut w = Writer::new();
            action::encode(actions, &mut w, 0).map(|()| w.into_bytes())
        };
        assert!(encode(&nest(action::MAX_NESTING)).is_ok());
        assert_eq!(encode(&nest(action::MAX_NESTING + 1)), Err(EncodeError::TooDeep));
        // 4,000 clones, each within the one before it.
        let deep: Vec<u8> = (0..4000u16)
            .flat_map(|i| {
                let len = (4000 - i) * 16;
                [&[0xff, 0xff][..], &len.to_be_bytes(), &[0, 0, 0x23, 0x20, 0, 42, 0, 0, 0, 0, 0, 0]].concat()
            })
            .collect();
        assert_eq!(action::decode(Reader::new(&deep), 0).unwrap_err().error, OfError::BadActionTooMany);
    }
}
