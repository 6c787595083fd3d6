//! Instructions of OpenFlow 1.3 (section 7.2.4 of that specification).
//!
//! They are executed in a fixed order whatever their order on the wire, and there is at most one of each kind. Written
//! in that order; lists of no actions are not written, for they say nothing.

use super::action;
use super::cursor::{Codec, Reader, Shape, Writer, next_tlv};
use super::error::{DecodeError, EncodeError, OfError};
use crate::action::{Action, Instructions};

const GOTO_TABLE: u16 = 1;
const WRITE_METADATA: u16 = 2;
const WRITE_ACTIONS: u16 = 3;
const APPLY_ACTIONS: u16 = 4;
const CLEAR_ACTIONS: u16 = 5;
const METER: u16 = 6;
const EXPERIMENTER: u16 = 0xffff;

const INSTRUCTION: Shape = Shape::tlv("an instruction");

/// Instructions up to the end of the reader.
impl Codec for Instructions {
    fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let Instructions { apply, clear, write, metadata, goto } = self;
        let actions = |w: &mut Writer, kind: u16, actions: &[Action]| {
            if actions.is_empty() {
                return Ok(());
            }
            w.prefixed(INSTRUCTION, |w| {
                w.u16(kind);
                w.zeros(6);
                action::encode(actions, w, 0)
            })
        };
        let fixed = |w: &mut Writer, kind: u16, body: &[u8]| {
            w.prefixed(INSTRUCTION, |w| {
                w.u16(kind);
                w.zeros(2);
                w.bytes(body);
                Ok(())
            })
        };
        actions(w, APPLY_ACTIONS, apply)?;
        if *clear {
            fixed(w, CLEAR_ACTIONS, &[0; 4])?;
        }
        actions(w, WRITE_ACTIONS, write)?;
        if let Some((value, mask)) = metadata {
            let (value, mask) = (value.to_be_bytes(), mask.to_be_bytes());
            fixed(w, WRITE_METADATA, &[&[0; 4][..], &value, &mask].concat())?;
        }
        match goto {
            Some(table) => fixed(w, GOTO_TABLE, &[*table, 0, 0, 0]),
            None => Ok(()),
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut r_all = r.clone().or(OfError::BadInstructionBadLength);
        r.remaining();
        let mut found = Instructions::default();
        let mut seen = 0u16;
        loop {
            let start = r_all.clone();
            let Some((kind, mut body)) = next_tlv(&mut r_all, 8)? else { return Ok(found) };
            let bit = 1u16.checked_shl(kind.into()).unwrap_or(0);
            if seen & bit != 0 {
                return Err(start.error(OfError::BadInstructionDuplicate, "an instruction that was not there yet"));
            }
            seen |= bit;
            match kind {
                GOTO_TABLE => {
                    found.goto = Some(body.u8()?);
                    body.skip(3)?;
                }
                WRITE_METADATA => {
                    body.skip(4)?;
                    found.metadata = Some((body.u64()?, body.u64()?));
                }
                WRITE_ACTIONS | APPLY_ACTIONS => {
                    body.skip(4)?;
                    let actions = action::decode(body.sub(body.len())?, 0)?;
                    if kind == WRITE_ACTIONS { found.write = actions } else { found.apply = actions }
                }
                CLEAR_ACTIONS => {
                    found.clear = true;
                    body.skip(4)?;
                }
                METER => {
                    return Err(start.error(OfError::BadInstructionUnsupported, "no meter: they are not built yet"));
                }
                EXPERIMENTER => {
                    return Err(start.error(OfError::BadInstructionBadExperimenter, "no experimenter's instruction"));
                }
                _ => return Err(start.error(OfError::BadInstructionUnknown, "an instruction of OpenFlow 1.3")),
            }
            if !body.is_empty() {
                return Err(body.error(OfError::BadInstructionBadLength, "the end of the instruction"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ovs_packet::OfPort;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Instructions, OfError> {
        Instructions::decode(&mut Reader::new(bytes)).map_err(|e| e.error)
    }

    #[test]
    fn all_of_them_in_order() {
        let all = Instructions {
            apply: vec![Action::output(OfPort(1))],
            clear: true,
            write: vec![Action::output(OfPort(3))],
            metadata: Some((5, 15)),
            goto: Some(7),
        };
        let mut w = Writer::new();
        all.encode(&mut w).unwrap();
        let bytes = w.into_bytes();
        let kinds: Vec<u8> = [0, 24, 32, 56, 80].iter().map(|at| bytes[at + 1]).collect();
        assert_eq!(kinds, [4, 5, 3, 2, 1]);
        assert_eq!(read(&bytes), Ok(all));
    }

    #[test]
    fn every_error_of_an_instruction() {
        use OfError::*;
        assert_eq!(read(&[0, 1, 0, 8, 7, 0, 0, 0, 0, 1, 0, 8, 8, 0, 0, 0]), Err(BadInstructionDuplicate));
        assert_eq!(read(&[0, 1, 0, 16, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(BadInstructionBadLength));
        assert_eq!(read(&[0, 1, 0, 0]), Err(BadInstructionBadLength));
        assert_eq!(read(&[0, 6, 0, 8, 0, 0, 0, 1]), Err(BadInstructionUnsupported));
        assert_eq!(read(&[0, 7, 0, 8, 0, 0, 0, 1]), Err(BadInstructionUnknown));
        assert_eq!(read(&[0xff, 0xff, 0, 8, 0, 0, 0x23, 0x20]), Err(BadInstructionBadExperimenter));
    }
}
