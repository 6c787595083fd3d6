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
    /// Bits that stand behind the value in the 8 bytes behind the header.
    behind: u8,
    word: u8,
    shift: u8,
    hinge: bool,
    writable: bool,
    bits: u8,
    max: u64,
    /// The bits of the field in its word, as that stands in memory.
    ones: u64,
    field: FieldId,
    prereq: Prereq,
}

const ROWS: usize = 512;
const NUMBERS: usize = 128;

/// Where the row of a header is: the classes that fields have numbers in differ in their first and last bit.
#[inline(always)]
const fn place_of(head: u32) -> usize {
    ((head | head >> 14) >> 9 & 0x1ff) as usize
}

/// A place without a row has a header that belongs elsewhere.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static PLAIN: [PlainTlv; ROWS] = {
    let none = PlainTlv {
        head: 1 << 9,
        len: 0,
        behind: 0,
        word: 0,
        shift: 0,
        hinge: false,
        writable: false,
        bits: 0,
        max: 0,
        ones: 0,
        field: IDS[0],
        prereq: Prereq::None,
    };
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
                        behind: 64 - 8 * info.wire_bytes,
                        word,
                        shift,
                        hinge: Prereq::may_hang_on(field),
                        writable: info.writable,
                        bits: info.bits as u8,
                        max: info.max_value() as u64,
                        ones: ((info.max_value() as u64) << shift).to_be(),
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

    /// The same by class and number alone, whatever the header says of a mask and of the length.
    ///
    /// ```
    /// use ovs_packet::field::PlainTlv;
    ///
    /// assert_eq!(PlainTlv::numbered(0x8000_1d04), PlainTlv::of(0x8000_1c02));
    /// ```
    #[inline(always)]
    pub fn numbered(head: u32) -> Option<&'static PlainTlv> {
        PLAIN.get(place_of(head)).filter(|row| (row.head ^ head) >> 9 == 0)
    }

    /// Whether actions may set the field.
    #[inline(always)]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// All bits of the field, right-aligned.
    #[inline(always)]
    pub fn max_value(&self) -> u64 {
        self.max
    }

    /// How many bits of the field actions can name.
    #[inline(always)]
    pub fn bits(&self) -> u16 {
        self.bits.into()
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

    /// The TLV that the first `len` of some bytes begin with, its value, if that is one that the field can have, and how
    /// long it is, which is known before the TLV is.
    ///
    /// What stands behind those `len` bytes is no part of it. Where there is enough of that, reading needs no copy.
    ///
    /// ```
    /// use ovs_packet::field::{FieldId, PlainTlv};
    ///
    /// let bytes = [0x80, 0, 0x1c, 2, 0, 80];
    /// assert_eq!(PlainTlv::read(&bytes, 6).map(|(t, value, size)| (t.field(), value, size)), Some((FieldId::TcpDst, 80, 6)));
    /// assert_eq!(PlainTlv::read(&bytes, 5), None);
    /// ```
    #[inline(always)]
    pub fn read(bytes: &[u8], len: usize) -> Option<(&'static PlainTlv, u64, usize)> {
        let [a, b, c, d, value @ ..] = match bytes.first_chunk::<12>() {
            // No such TLV is longer.
            Some(all) => *all,
            None => padded(bytes.get(..len)?),
        };
        let size = 4 + usize::from(d);
        let tlv = PlainTlv::of(u32::from_be_bytes([a, b, c, d])).filter(|_| size <= len)?;
        let value = u64::from_be_bytes(value) >> (tlv.behind & 63);
        if value & !tlv.max == 0 { Some((tlv, value, size)) } else { None }
    }

    /// How long the TLV is.
    #[inline(always)]
    pub fn size(&self) -> usize {
        4 + self.len()
    }

    /// How long the value is.
    #[inline(always)]
    #[expect(clippy::len_without_is_empty, reason = "no value is empty")]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// The field's bits of the word of a key that it is in, right-aligned.
    #[inline(always)]
    pub fn part(&self, word: u64) -> u64 {
        u64::from_be(word) >> (self.shift & 63) & self.max
    }

    /// The word of the key that the field is in, and value and mask of a match of all of the field, as they stand there.
    #[inline(always)]
    pub(crate) fn placed(&self, value: u64) -> (usize, u64, u64) {
        (self.word.into(), (value << (self.shift & 63)).to_be(), self.ones)
    }

    /// The header, and a value as it stands in the first bytes of a big-endian number behind that.
    #[inline(always)]
    pub fn to_words(&self, value: u64) -> (u32, u64) {
        (self.head, value << (self.behind & 63))
    }

    /// By how much the bits of the word of a key, as a big-endian number, are turned to the left for those of the field to
    /// stand as [`to_words`](PlainTlv::to_words) has a value.
    ///
    /// ```
    /// use ovs_packet::field::PlainTlv;
    ///
    /// let tlv = PlainTlv::of(0x8000_1c02).unwrap();
    /// let word = u64::from_be_bytes([0, 0, 0, 80, 0, 0, 0, 0]);
    /// assert_eq!(word.rotate_left(tlv.turn()), tlv.to_words(80).1);
    /// ```
    #[inline(always)]
    pub fn turn(&self) -> u32 {
        u32::from(self.behind.wrapping_sub(self.shift) & 63)
    }

    /// The TLV of a value, in the first [`size`](PlainTlv::size) of 16 bytes.
    #[inline(always)]
    pub fn to_bytes(&self, value: u64) -> [u8; 16] {
        let (head, value) = self.to_words(value);
        (u128::from(head) << 96 | u128::from(value) << 32).to_be_bytes()
    }
}

/// Fewer than 12 bytes, and zeros behind them.
#[cold]
fn padded(bytes: &[u8]) -> [u8; 12] {
    let mut all = [0; 12];
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    all
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
                assert_eq!((tlv.bits(), tlv.is_writable()), (info.bits, info.writable));
                assert_eq!(PlainTlv::numbered(head ^ 0x1ff), Some(tlv));
                let mut key = FlowKey::ZERO;
                let value = 0x1234_5678_9abc_def0 & info.max_value();
                info.put(&mut key, value);
                let (word, placed, mask) = tlv.placed(value as u64);
                assert_eq!((key.word(word), mask), (placed, info.place().1[0]), "{}", info.name);
                assert_eq!(u64::from_be(placed).rotate_left(tlv.turn()), tlv.to_words(value as u64).1);
                let bytes = [&head.to_be_bytes()[..], &value.to_be_bytes()[16 - tlv.len()..], &[1; 9]].concat();
                let size = tlv.size();
                assert_eq!(tlv.to_bytes(value as u64)[..size], bytes[..size]);
                assert_eq!(size, 4 + usize::from(info.wire_bytes));
                for behind in 0..=9 {
                    assert_eq!(PlainTlv::read(&bytes[..size + behind], size), Some((tlv, value as u64, size)));
                    assert_eq!(PlainTlv::read(&bytes[..size + behind], size - 1), None);
                }
                assert_eq!(PlainTlv::read(&bytes[..size - 1], size), None);
                let over = [&head.to_be_bytes()[..], &[0xff; 8]].concat();
                // A bit that the field has not is refused wherever it is: those of DSCP are not the last of their byte.
                for bit in 0..8 * u32::from(info.wire_bytes) {
                    let wire = &(1u128 << bit).to_be_bytes()[16 - tlv.len()..];
                    let read = PlainTlv::read(&[&head.to_be_bytes()[..], wire].concat(), size);
                    let is_there = info.max_value() >> bit & 1 != 0;
                    assert_eq!(read, is_there.then_some((tlv, 1 << bit, size)), "{} {bit}", info.name);
                }
                let full = info.max_value().count_ones() == 8 * u32::from(info.wire_bytes);
                assert_eq!(PlainTlv::read(&over, 12).is_some(), full, "{}", info.name);
            }
        }
        assert!(plain > 100, "{plain}");
        // What is numbered so is of that class and number, or nothing.
        for head in (0..=0xff).map(|n| n << 9).flat_map(|n| [n, n | 1 << 16, n | 0x8000 << 16, n | 0x8001 << 16]) {
            let id = |tlv: &PlainTlv| {
                tlv.field().info().code_points().any(|p| {
                    u32::from(p.id.class) << 16 | u32::from(p.id.field) << 9 == head & !0x1ff && p.id.experimenter == 0
                })
            };
            assert!(PlainTlv::numbered(head).is_none_or(id), "{head:#x}");
        }
    }
}
