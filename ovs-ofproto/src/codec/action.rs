//! Actions of OpenFlow 1.3 (section 7.2.5 of that specification), and sets of fields in particular.
//!
//! A set-field action of that version has no mask: masked ones go out as Nicira's `reg_load2`, whose layout is the
//! same with a mask allowed. `nw_ttl` and `mpls_ttl`, which OXM has no numbers for, go out as the actions of their own.
//! Several encodings are read as the same [`Action`]: `set_field`, `reg_load` and `reg_load2`; the TTL actions and the
//! set of the TTL as a field; both forms of resubmit.

use ovs_packet::OfPort;
use ovs_packet::field::FieldId;
use ovs_packet::key::VLAN_PRESENT;

use super::cursor::{Reader, Shape, Writer, next_tlv};
use super::error::{DecodeError, EncodeError, OfError};
use super::{nicira, oxm};
use crate::action::Action;

/// How deep actions may be nested: clones within clones, and the settings of a connection.
pub const MAX_NESTING: usize = 32;

const OUTPUT: u16 = 0;
const SET_MPLS_TTL: u16 = 15;
const PUSH_VLAN: u16 = 17;
const POP_VLAN: u16 = 18;
const SET_NW_TTL: u16 = 23;
const DEC_NW_TTL: u16 = 24;
const SET_FIELD: u16 = 25;
/// The type of all experimenters' actions.
pub(super) const EXPERIMENTER: u16 = 0xffff;

pub(super) const ACTION: Shape = Shape::tlv("an action");

/// Writes a list of actions, `depth` lists deep.
pub(super) fn encode(actions: &[Action], w: &mut Writer, depth: usize) -> Result<(), EncodeError> {
    if depth > MAX_NESTING {
        return Err(EncodeError::TooDeep);
    }
    actions.iter().try_for_each(|a| w.prefixed(ACTION, |w| encode_one(a, w, depth)))
}

/// Type, and room for the length.
fn begin(w: &mut Writer, kind: u16) {
    w.u16(kind);
    w.u16(0);
}

fn encode_one(action: &Action, w: &mut Writer, depth: usize) -> Result<(), EncodeError> {
    match action {
        Action::Output { port, max_len } => {
            begin(w, OUTPUT);
            w.u32(port.0);
            // The length is the controller's; for other ports it is zero, as upstream sends it.
            w.u16(if *port == OfPort::CONTROLLER { *max_len } else { 0 });
            w.zeros(6);
        }
        Action::SetField { field, value, mask } => return encode_set(*field, *value, *mask, w),
        Action::PushVlan(tpid) => {
            begin(w, PUSH_VLAN);
            w.u16(*tpid);
            w.zeros(2);
        }
        Action::PopVlan => {
            begin(w, POP_VLAN);
            w.zeros(4);
        }
        Action::DecTtl => {
            begin(w, DEC_NW_TTL);
            w.zeros(4);
        }
        Action::Resubmit { .. } | Action::Ct(_) | Action::CtClear | Action::Clone(_) => {
            return nicira::encode(action, w, depth);
        }
    }
    Ok(())
}

fn encode_set(field: FieldId, value: u128, mask: u128, w: &mut Writer) -> Result<(), EncodeError> {
    let info = field.info();
    if !info.writable || !oxm::has_number(field) {
        return Err(EncodeError::NotInVersion { version: 4, what: info.name });
    }
    if field == FieldId::VlanVid && lacks_tag(value, mask) {
        return Err(EncodeError::Inconsistent { what: "a set of the VLAN id without the bit of a tag that is there" });
    }
    match mask & info.max_value() {
        0 => return Err(EncodeError::Inconsistent { what: "a set of no bit of a field" }),
        all if all == info.max_value() => {}
        _ if !info.maskable => {
            return Err(EncodeError::Inconsistent { what: "a set of part of a field without masks" });
        }
        _ => return nicira::encode_masked_set(field, value, mask, w),
    }
    match field {
        FieldId::NwTtl | FieldId::MplsTtl => {
            begin(w, if field == FieldId::NwTtl { SET_NW_TTL } else { SET_MPLS_TTL });
            w.uint(value, 1);
            w.zeros(3);
            Ok(())
        }
        _ => {
            begin(w, SET_FIELD);
            oxm::write_entry(w, field, value, mask)
        }
    }
}

/// Reads the actions up to the end of `r`, `depth` lists deep.
pub(super) fn decode(r: Reader<'_>, depth: usize) -> Result<Vec<Action>, DecodeError> {
    let mut r = r.or(OfError::BadActionBadLength);
    if depth > MAX_NESTING {
        return Err(r.error(OfError::BadActionTooMany, "actions nested less deeply"));
    }
    let mut actions = Vec::new();
    loop {
        let start = r.clone();
        let Some((kind, mut body)) = next_tlv(&mut r, 8)? else { return Ok(actions) };
        let action = match kind {
            OUTPUT => {
                let (port, max_len) = (OfPort(body.u32()?), body.u16()?);
                body.skip(6)?;
                Action::Output { port, max_len: if port == OfPort::CONTROLLER { max_len } else { Action::WHOLE } }
            }
            SET_NW_TTL | SET_MPLS_TTL => {
                let field = if kind == SET_NW_TTL { FieldId::NwTtl } else { FieldId::MplsTtl };
                let value = body.u8()?.into();
                body.skip(3)?;
                Action::SetField { field, value, mask: 0xff }
            }
            PUSH_VLAN => {
                let tpid = body.u16()?;
                if !matches!(tpid, 0x8100 | 0x88a8) {
                    return Err(start.error(OfError::BadActionBadArgument, "tag protocol 0x8100 or 0x88a8"));
                }
                body.skip(2)?;
                Action::PushVlan(tpid)
            }
            POP_VLAN | DEC_NW_TTL => {
                body.skip(4)?;
                if kind == POP_VLAN { Action::PopVlan } else { Action::DecTtl }
            }
            SET_FIELD => decode_set(&mut body, false)?,
            EXPERIMENTER => nicira::decode(&start, &mut body, depth)?,
            _ => return Err(start.error(OfError::BadActionBadType, "an action that is known here")),
        };
        if !body.is_empty() {
            return Err(body.error(OfError::BadActionBadLength, "the end of the action"));
        }
        actions.push(action);
    }
}

/// Whether a set of the VLAN id would take away the bit that says that there is a tag (OFPVID_PRESENT).
pub(crate) fn lacks_tag(value: u128, mask: u128) -> bool {
    mask & !value & u128::from(VLAN_PRESENT) != 0
}

/// Reads a field, its value and, if `maskable`, perhaps its mask, and the padding behind them.
pub(super) fn decode_set(body: &mut Reader<'_>, maskable: bool) -> Result<Action, DecodeError> {
    let start = body.clone();
    let entry = oxm::read_entry(body).map_err(|e| DecodeError { error: as_set_error(e.error), ..e })?;
    if entry.masked && !maskable {
        return Err(start.error(OfError::BadActionBadSetType, "a field without a mask"));
    }
    let no_tag = entry.field == FieldId::VlanVid && lacks_tag(entry.value, entry.mask);
    if !entry.field.info().writable || entry.mask == 0 || no_tag {
        return Err(start.error(OfError::BadActionBadSetArgument, "bits of a field that can be set"));
    }
    if body.len() >= 8 {
        return Err(body.error(OfError::BadActionBadSetLength, "padding of less than 8 bytes"));
    }
    body.remaining();
    Ok(Action::SetField { field: entry.field, value: entry.value, mask: entry.mask })
}

/// What is wrong with a field in a match, said of the same field in an action.
fn as_set_error(e: OfError) -> OfError {
    match e {
        OfError::BadMatchBadField => OfError::BadActionBadSetType,
        OfError::BadMatchBadLength => OfError::BadActionBadSetLength,
        OfError::BadMatchBadValue | OfError::BadMatchBadWildcards | OfError::BadMatchBadMask => {
            OfError::BadActionBadSetArgument
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(actions: &[Action]) -> Vec<u8> {
        let mut w = Writer::new();
        encode(actions, &mut w, 0).unwrap();
        let bytes = w.into_bytes();
        assert_eq!(decode(Reader::new(&bytes), 0).unwrap(), actions);
        bytes
    }

    fn error(bytes: &[u8]) -> OfError {
        decode(Reader::new(bytes), 0).unwrap_err().error
    }

    #[test]
    fn layouts() {
        assert_eq!(round(&[Action::output(OfPort(2))]), [0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        let some = Action::Output { port: OfPort::CONTROLLER, max_len: 100 };
        assert_eq!(round(&[some])[8..10], [0, 100]);
        assert_eq!(round(&[Action::PushVlan(0x8100)]), [0, 17, 0, 8, 0x81, 0, 0, 0]);
        assert_eq!(round(&[Action::PopVlan, Action::DecTtl]).len(), 16);
        let ttl = Action::SetField { field: FieldId::NwTtl, value: 5, mask: 0xff };
        assert_eq!(round(&[ttl]), [0, 23, 0, 8, 5, 0, 0, 0]);
        let vid = Action::SetField { field: FieldId::VlanVid, value: 0x1005, mask: 0x1fff };
        assert_eq!(round(&[vid]), [0, 25, 0, 16, 0x80, 0, 12, 2, 0x10, 5, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn every_error_of_an_action() {
        use OfError::*;
        assert_eq!(error(&[0, 99, 0, 8, 0, 0, 0, 0]), BadActionBadType);
        assert_eq!(error(&[0, 0, 0, 8, 0, 0, 0, 0]), BadActionBadLength);
        assert_eq!(error(&[0, 0, 0, 0, 0, 0, 0, 0]), BadActionBadLength);
        assert_eq!(error(&[0, 18, 0, 16, 0, 0, 0, 0]), BadActionBadLength);
        assert_eq!(error(&[0, 18, 0, 9, 0, 0, 0, 0, 0]), BadActionBadLength);
        assert_eq!(error(&[0, 17, 0, 8, 8, 0, 0, 0]), BadActionBadArgument);
        assert_eq!(error(&[0, 25, 0, 16, 0x80, 0, 0xfe, 2, 0, 0, 0, 0, 0, 0, 0, 0]), BadActionBadSetType);
        assert_eq!(error(&[0, 25, 0, 16, 0x80, 0, 12, 3, 0, 0, 0, 0, 0, 0, 0, 0]), BadActionBadSetLength);
        assert_eq!(error(&[0, 25, 0, 16, 0x80, 0, 12, 2, 0x20, 0, 0, 0, 0, 0, 0, 0]), BadActionBadSetArgument);
        assert_eq!(error(&[0, 25, 0, 16, 0x80, 0, 13, 4, 0, 0, 0, 0, 0, 0, 0, 0]), BadActionBadSetType);
        assert_eq!(error(&[0, 25, 0, 16, 0x80, 0, 12, 2, 0, 5, 0, 0, 0, 0, 0, 0]), BadActionBadSetArgument);
        assert_eq!(error(&[0, 25, 0, 16, 0x80, 0, 10, 2, 8, 0, 0, 0, 0, 0, 0, 0]), BadActionBadSetArgument);
    }
}
