//! Instructions of OpenFlow 1.1 and later, and what stands for them in OpenFlow 1.0.
//!
//! They are executed in a fixed order whatever their order on the wire, and there is at most one of each kind. Written
//! in that order; an empty list of actions, to apply or to write into the set, is not written, for it says nothing.

use super::action;
use super::cursor::{Reader, Shape, Writer, next_tlv};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;
use crate::action::{Action, Instructions};

const GOTO_TABLE: u16 = 1;
const WRITE_METADATA: u16 = 2;
const WRITE_ACTIONS: u16 = 3;
const APPLY_ACTIONS: u16 = 4;
const CLEAR_ACTIONS: u16 = 5;
const METER: u16 = 6;
const EXPERIMENTER: u16 = 0xffff;

const INSTRUCTION: Shape = Shape::tlv("an instruction");

/// Writes what a flow does, up to the end of what it is in.
pub(super) fn encode(i: &Instructions, w: &mut Writer, version: Version) -> Result<(), EncodeError> {
    let Instructions { meter, apply, clear, write, metadata, goto } = i;
    if version == Version::V1_0 {
        if meter.is_some() || *clear || write.is_some() {
            return Err(EncodeError::NotInVersion { version: version.0, what: "instructions" });
        }
        action::encode(apply, w, version, 0)?;
        if let Some((value, mask)) = metadata {
            action::encode(&[Action::WriteMetadata(*value, *mask)], w, version, 0)?;
        }
        return match goto {
            Some(table) => action::encode(&[Action::resubmit(*table)], w, version, 0),
            None => Ok(()),
        };
    }
    let fixed = |w: &mut Writer, kind: u16, body: &[u8]| {
        w.prefixed(INSTRUCTION, |w| {
            w.u32(u32::from(kind) << 16);
            w.bytes(body);
            Ok(())
        })
    };
    // What was an instruction is an action from OpenFlow 1.5 on.
    let first = match meter {
        Some(meter) if version >= Version::V1_5 => Some(Action::Meter(*meter)),
        Some(meter) if version >= Version::V1_3 => {
            fixed(w, METER, &meter.to_be_bytes())?;
            None
        }
        Some(_) => return Err(EncodeError::NotInVersion { version: version.0, what: "meters" }),
        None => None,
    };
    if !apply.is_empty() || first.is_some() {
        encode_actions(w, version, APPLY_ACTIONS, (first.as_slice(), apply))?;
    }
    if *clear {
        fixed(w, CLEAR_ACTIONS, &[0; 4])?;
    }
    if let Some(write) = write.as_ref().filter(|write| !write.is_empty()) {
        encode_actions(w, version, WRITE_ACTIONS, (&[], write))?;
    }
    if let Some((value, mask)) = metadata {
        let (value, mask) = (value.to_be_bytes(), mask.to_be_bytes());
        fixed(w, WRITE_METADATA, &[&[0; 4][..], &value, &mask].concat())?;
    }
    match goto {
        Some(table) => fixed(w, GOTO_TABLE, &[*table, 0, 0, 0]),
        None => Ok(()),
    }
}

/// Writes an instruction of two lists of actions, one behind the other.
fn encode_actions(
    w: &mut Writer,
    version: Version,
    kind: u16,
    (first, then): (&[Action], &[Action]),
) -> Result<(), EncodeError> {
    let start = w.len();
    w.u64(u64::from(kind) << 48);
    if !first.is_empty() {
        action::encode(first, w, version, 0)?;
    }
    action::encode(then, w, version, 0)?;
    w.finish(start, INSTRUCTION)
}

/// Reads what a flow does, up to the end of `r`.
pub(super) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Instructions, DecodeError> {
    let mut found = Instructions::default();
    decode_into(r, version, &mut found)?;
    Ok(found)
}

/// The same, into instructions that say nothing yet.
pub(super) fn decode_into(r: &mut Reader<'_>, version: Version, found: &mut Instructions) -> Result<(), DecodeError> {
    let mut body = r.sub(r.len())?.or(&OfError::BadInstructionBadLength);
    // Nearly every flow applies actions and does nothing else.
    if version != Version::V1_0 {
        match body.peek().first_chunk::<4>() {
            Some([0, kind, a, b]) if u16::from(*kind) == APPLY_ACTIONS && is_all([*a, *b], body.len()) => {
                body.skip(8)?
            }
            _ => return decode_each(body, version, found),
        }
    }
    decode_applied(body, version, found)
}

/// Whether the length of an instruction is that of all there are.
#[inline(always)]
fn is_all(len: [u8; 2], all: usize) -> bool {
    usize::from(u16::from_be_bytes(len)) == all && all >= 8 && all.is_multiple_of(8)
}

/// Reads the actions that are applied, up to the end of `body`.
#[inline]
fn decode_applied(mut body: Reader<'_>, version: Version, found: &mut Instructions) -> Result<(), DecodeError> {
    let left = action::take_usual(body.peek(), version, &mut found.apply).len();
    if left == 0 {
        return Ok(());
    }
    let usual = body.len().saturating_sub(left);
    body.skip(usual)?;
    decode_unusual(body, usual, version, found)
}

/// Reads what is left behind so many bytes of `usual` actions.
#[inline(never)]
fn decode_unusual(
    body: Reader<'_>,
    usual: usize,
    version: Version,
    found: &mut Instructions,
) -> Result<(), DecodeError> {
    let (start, left) = (body.place(), body.len());
    let written = action::decode_applied(body, version, &mut found.apply)
        .map_err(|e| e.in_list(start.at().saturating_sub(usual), left.saturating_add(usual)))?;
    // Which in OpenFlow 1.0 is an action, and stands among the others.
    if written.is_some() && found.metadata.is_some() {
        return Err(start.error(OfError::BadInstructionDuplicate, "one write of metadata"));
    }
    found.metadata = found.metadata.or(written);
    if let (None, Some(Action::Meter(meter))) = (found.meter, found.apply.first()) {
        found.meter = Some(*meter);
        found.apply.remove(0);
    }
    Ok(())
}

/// Reads instructions one after the other.
fn decode_each(mut r_all: Reader<'_>, version: Version, found: &mut Instructions) -> Result<(), DecodeError> {
    let len = r_all.len();
    if !len.is_multiple_of(8) {
        tracing::warn!(target: "ofp_actions", "OpenFlow message instructions length {len} is not a multiple of 8");
        return Err(r_all.error(OfError::BadInstructionBadLength, "instructions of a multiple of 8 bytes"));
    }
    let mut seen = 0u16;
    loop {
        let start = r_all.place();
        let Some((kind, mut body)) = next_tlv(&mut r_all, 8)? else { return Ok(()) };
        let bit = 1u16.checked_shl(kind.into()).unwrap_or(0);
        if seen & bit != 0 {
            return Err(start.error(OfError::BadInstructionDuplicate, "an instruction that was not there yet"));
        }
        seen |= bit;
        match kind {
            GOTO_TABLE => {
                found.goto = Some(body.u8()?);
                body.skip(3)?;
                if found.goto == Some(0xff) {
                    return Err(start.error(OfError::BadInstructionBadTable, "a table below 255"));
                }
            }
            WRITE_METADATA => {
                body.skip(4)?;
                if found.metadata.is_some() {
                    return Err(start.error(OfError::BadInstructionDuplicate, "one write of metadata"));
                }
                found.metadata = Some((body.u64()?, body.u64()?));
            }
            WRITE_ACTIONS => {
                body.skip(4)?;
                let actions = action::decode(body.sub(body.len())?, version, 0)?;
                if !actions.iter().all(Action::is_for_action_sets) {
                    return Err(start.error(OfError::BadActionBadType, "actions that an action set may have"));
                }
                found.write = Some(actions);
            }
            APPLY_ACTIONS => {
                body.skip(4)?;
                let actions = body.sub(body.len())?;
                decode_applied(actions, version, found)?;
            }
            CLEAR_ACTIONS => {
                found.clear = true;
                body.skip(4)?;
            }
            METER => {
                let at = body.clone();
                match body.u32()? {
                    0 => return Err(at.error(OfError::BadActionBadMeter, "a meter above 0")),
                    meter => found.meter = Some(meter),
                }
            }
            EXPERIMENTER => {
                return Err(start.error(OfError::BadInstructionBadExperimenter, "no experimenter's instruction"));
            }
            _ => return Err(start.error(OfError::BadInstructionUnknown, "an instruction that is known")),
        }
        if !body.is_empty() {
            return Err(body.error(OfError::BadInstructionBadLength, "the end of the instruction"));
        }
    }
}

#[cfg(test)]
mod tests {
    use ovs_packet::OfPort;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Instructions, OfError> {
        decode(&mut Reader::new(bytes), Version::V1_3).map_err(|e| e.error)
    }

    #[test]
    fn all_of_them_in_order() {
        let all = Instructions {
            meter: Some(9),
            apply: vec![Action::output(OfPort(1))],
            clear: true,
            write: Some(vec![Action::output(OfPort(3))]),
            metadata: Some((5, 15)),
            goto: Some(7),
        };
        for version in [Version::V1_3, Version::V1_4, Version::V1_5] {
            let mut w = Writer::new();
            encode(&all, &mut w, version).unwrap();
            assert_eq!(decode(&mut Reader::new(&w.into_bytes()), version).as_ref(), Ok(&all));
        }
        assert!(encode(&all, &mut Writer::new(), Version::V1_2).is_err());
        assert!(encode(&all, &mut Writer::new(), Version::V1_0).is_err());
    }

    #[test]
    fn a_write_of_metadata_may_stand_behind_what_is_applied() {
        let write = [
            0xff, 0xff, 0, 32, 0, 0, 0x23, 0x20, 0, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,
            15,
        ];
        let apply = [&[0u8, 4, 0, 40, 0, 0, 0, 0][..], &write].concat();
        assert_eq!(read(&apply).unwrap().metadata, Some((5, 15)));
        let twice = [&[0u8, 4, 0, 72, 0, 0, 0, 0][..], &write, &write].concat();
        assert_eq!(read(&twice), Err(OfError::BadActionUnsupportedOrder));
    }

    #[test]
    fn every_error_of_an_instruction() {
        use OfError::*;
        assert_eq!(read(&[0, 1, 0, 8, 7, 0, 0, 0, 0, 1, 0, 8, 8, 0, 0, 0]), Err(BadInstructionDuplicate));
        assert_eq!(read(&[0, 1, 0, 16, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(BadInstructionBadLength));
        assert_eq!(read(&[0, 1, 0, 0]), Err(BadInstructionBadLength));
        assert_eq!(read(&[0, 7, 0, 8, 0, 0, 0, 1]), Err(BadInstructionUnknown));
        assert_eq!(read(&[0xff, 0xff, 0, 8, 0, 0, 0x23, 0x20]), Err(BadInstructionBadExperimenter));
    }
}
