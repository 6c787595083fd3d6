//! The TLVs that nearly every match is made of.
//!
//! A TLV of a number of no experimenter, of at most 8 bytes, without a mask, of a field that is in one word of the key:
//! what it takes to put its value there is one row of one table, which is built when this is compiled.

use super::index::by_number;
use super::oxm::OxmId;
use super::table::{IDS, TABLE};
use super::{CLASS_NXM_0, CLASS_NXM_1, CLASS_OPENFLOW_BASIC, CLASS_PACKET_REGS, FieldId, Prereq};

/// A TLV whose value goes into one word of the key as it is. See [`PlainTlv::of`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlainTlv {
    head: u32,
    len: u8,
    word: u8,
    shift: u8,
    hinge: bool,
    max: u64,
    field: FieldId,
    prereq: Prereq,
}

const ROWS: usize = 512;
const NUMBERS: usize = 128;

/// Where the row of a header is: the classes that fields have numbers in differ in their first and last bit.
#[inline(always)]
const fn place_of(head: u32) -> usize {
    (head >> 9 & 0xff | head >> 23 & 0x100) as usize
}

/// A place without a row has a header that belongs elsewhere.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static PLAIN: [PlainTlv; ROWS] = {
    let none =
        PlainTlv { head: 1 << 9, len: 0, word: 0, shift: 0, hinge: false, max: 0, field: IDS[0], prereq: Prereq::None };
    let mut rows = [none; ROWS];
    rows[place_of(none.head)].head = 0;
    let classes = [CLASS_NXM_0, CLASS_NXM_1, CLASS_OPENFLOW_BASIC, CLASS_PACKET_REGS];
    let mut c = 0;
    while c < classes.len() {
        let Some(space) = (OxmId { class: classes[c], field: 0, experimenter: 0 }).space() else { panic!("no class") };
        let mut number = 0;
        while number < NUMBERS {
            if let Some(field) = by_number(space, number) {
                let info = &TABLE[field as usize];
                if let (Some((word, shift)), false) = (info.plain_place(), matches!(field, FieldId::NshMdtype)) {
                    let head = (classes[c] as u32) << 16 | (number as u32) << 9 | info.wire_bytes as u32;
                    assert!(rows[place_of(head)].len == 0);
                    rows[place_of(head)] = PlainTlv {
                        head,
                        len: info.wire_bytes,
                        word,
                        shift,
                        hinge: Prereq::may_hang_on(field),
                        max: info.max_value() as u64,
                        field,
                        prereq: info.prereq,
                    };
                }
            }
            number += 1;
        }
        c += 1;
    }
    rows
};

impl PlainTlv {
    /// The row of a TLV by its header of 32 bits; none of a TLV with a mask or an experimenter, of a field that is not
    /// known, or not in one word, or not of this length.
    ///
    /// ```
    /// use ovs_packet::field::{FieldId, PlainTlv};
    ///
    /// // OXM_OF_TCP_DST, two bytes; and with a mask.
    /// assert_eq!(PlainTlv::of(0x8000_1c02).map(|t| t.field()), Some(FieldId::TcpDst));
    /// assert_eq!(PlainTlv::of(0x8000_1d04), None);
    /// ```
    #[inline(always)]
    pub fn of(head: u32) -> Option<&'static PlainTlv> {
        PLAIN.get(place_of(head)).filter(|row| row.head == head)
    }

    /// The field.
    #[inline(always)]
    pub fn field(&self) -> FieldId {
        self.field
    }

    /// What else must be matched for the field to exist.
    #[inline(always)]
    pub fn prereq(&self) -> Prereq {
        self.prereq
    }

    /// Whether the prerequisites of others may [hang on](Prereq::may_hang_on) the field.
    #[inline(always)]
    pub fn is_hinge(&self) -> bool {
        self.hinge
    }

    /// The value at the beginning of `bytes` and what stands behind it, if they are as many and the value is one that the
    /// field can have.
    #[inline(always)]
    pub fn read<'b>(&self, bytes: &'b [u8]) -> Option<(u64, &'b [u8])> {
        let behind = bytes.get(self.len()..)?;
        let value = match bytes.first_chunk::<8>() {
            Some(all) => u64::from_be_bytes(*all) >> ((64 - 8 * u32::from(self.len)) & 63),
            None => self.read_short(bytes)?,
        };
        if value & !self.max == 0 { Some((value, behind)) } else { None }
    }

    /// The value of fewer than 8 bytes that are all there are.
    fn read_short(&self, bytes: &[u8]) -> Option<u64> {
        let bytes = bytes.get(..self.len())?;
        Some(bytes.iter().fold(0, |value, b| value << 8 | u64::from(*b)))
    }

    /// How long the value is.
    #[inline(always)]
    #[expect(clippy::len_without_is_empty, reason = "no value is empty")]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// The field's bits of its word, right-aligned.
    #[inline(always)]
    pub(crate) fn part(&self, word: u64) -> u64 {
        u64::from_be(word) >> (self.shift & 63) & self.max
    }

    /// The word of the key that the field is in, and value and mask of a match of all of the field, as they stand there.
    #[inline(always)]
    pub(crate) fn placed(&self, value: u64) -> (usize, u64, u64) {
        let place = |bits: u64| (bits << (self.shift & 63)).to_be();
        (self.word.into(), place(value), place(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::FlowKey;

    #[test]
    fn rows_say_what_the_table_of_fields_says() {
        let mut plain = 0;
        for field in FieldId::all() {
            let info = field.info();
            for point in info.code_points().filter(|p| p.id.experimenter == 0) {
                let head = u32::from(point.id.class) << 16 | u32::from(point.id.field) << 9;
                let head = head | u32::from(info.wire_bytes);
                assert_eq!((PlainTlv::of(head | 0x100), PlainTlv::of(head ^ 0x80)), (None, None));
                let Some(tlv) = PlainTlv::of(head) else { continue };
                plain += 1;
                assert_eq!((tlv.field(), tlv.prereq(), tlv.len()), (field, info.prereq, info.wire_bytes.into()));
                let mut key = FlowKey::ZERO;
                let value = 0x1234_5678_9abc_def0 & info.max_value();
                info.put(&mut key, value);
                let (word, placed, mask) = tlv.placed(value as u64);
                assert_eq!((key.word(word), mask), (placed, info.place().1[0]), "{}", info.name);
                let bytes = value.to_be_bytes();
                assert_eq!(tlv.read(&bytes[16 - tlv.len()..]), Some((value as u64, &[][..])));
                assert_eq!(tlv.read(&bytes[17 - tlv.len()..]), None);
                let more = [&bytes[16 - tlv.len()..], &[1; 9]].concat();
                assert_eq!(tlv.read(&more), Some((value as u64, &[1; 9][..])));
                let over = [0xff; 8];
                let full = info.max_value().count_ones() == 8 * u32::from(info.wire_bytes);
                assert_eq!(tlv.read(&over).is_some(), full, "{}", info.name);
            }
        }
        assert!(plain > 100, "{plain}");
    }
}
