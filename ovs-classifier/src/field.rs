//! Fields: runs of bits in a key, which may span words.
//!
//! A key is a string of bits, and a field an interval of it. Which bit of a word comes first depends on how the words
//! came about ([`BitOrder`]): a key of numbers begins with the most significant bit, a key that is a packet's bytes in
//! memory begins with the first byte. Only here, and in the guards, does that matter; masking and comparing know
//! no order.

use crate::layout::MAX_WORDS;

/// Which bit of a word comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BitOrder {
    /// A word is a number: its most significant bit is first.
    #[default]
    Number,
    /// A word is eight bytes as they lie in memory: the most significant bit of the first byte is first. So are the
    /// words of a structure whose members are in network byte order.
    Bytes,
}

impl BitOrder {
    /// The word as a number whose most significant bit is the first.
    #[inline]
    pub(crate) const fn number(self, word: u64) -> u64 {
        match self {
            Self::Number => word,
            Self::Bytes => u64::from_be(word),
        }
    }
}

/// A run of 1 to 128 bits of a key.
///
/// Bit 0 is the first bit of word 0 in the layout's [`BitOrder`], bit 64 the first of word 1.
///
/// ```
/// use ovs_classifier::{BitOrder, Field};
///
/// // The lower half of word 1.
/// const DESTINATION: Field = Field::new(96, 32).expect("1 to 128 bits of a key");
/// assert_eq!(DESTINATION.get(&[0, 0x0a00_0001_c000_0201], BitOrder::Number), 0xc000_0201);
/// assert_eq!(Field::from_mask(&[0, 0xffff_ffff], BitOrder::Number), Some(DESTINATION));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    offset: u16,
    bits: u8,
}

impl Field {
    /// The run of `bits` bits that begins at bit `offset`; `None` unless it has 1 to 128 bits within the
    /// [largest key](MAX_WORDS).
    #[must_use]
    pub const fn new(offset: u16, bits: u8) -> Option<Self> {
        if bits == 0 || bits > 128 || offset as usize + bits as usize > MAX_WORDS * 64 {
            return None;
        }
        Some(Self { offset, bits })
    }

    /// The field whose bits are those of a mask; `None` when they are none, more than 128, or no single run.
    #[must_use]
    pub fn from_mask<const W: usize>(mask: &[u64; W], order: BitOrder) -> Option<Self> {
        let (mut offset, mut bits) = (None, 0u32);
        for (index, word) in (0u32..).zip(mask).filter(|(_, word)| **word != 0) {
            let word = order.number(*word);
            let first = index * 64 + word.leading_zeros();
            let start = *offset.get_or_insert(first);
            let run = (word << word.leading_zeros()).leading_ones();
            if word.count_ones() != run || first != start + bits {
                return None;
            }
            bits += run;
        }
        Self::new(u16::try_from(offset?).ok()?, u8::try_from(bits).ok()?)
    }

    /// The bit that the field begins at.
    #[must_use]
    pub const fn offset(self) -> u16 {
        self.offset
    }

    /// The width in bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.bits
    }

    /// The field's value in a key, as a number. Words that the key does not have count as zero.
    #[must_use]
    pub fn get<const W: usize>(self, key: &[u64; W], order: BitOrder) -> u128 {
        self.aligned(key, order) >> (128 - u32::from(self.bits))
    }

    /// Writes a value into a key; bits above the field's width are dropped.
    pub fn put<const W: usize>(self, key: &mut [u64; W], order: BitOrder, value: u128) {
        let aligned = value << (128 - u32::from(self.bits));
        for piece in self.pieces(self.bits) {
            if let Some(word) = key.get_mut(piece.word) {
                let bits = (aligned << piece.done >> 64) as u64 >> piece.skip & piece.number;
                *word = *word & !order.number(piece.number) | order.number(bits);
            }
        }
    }

    /// The value with its first bit in the most significant place.
    #[inline(always)]
    pub(crate) fn aligned<const W: usize>(self, key: &[u64; W], order: BitOrder) -> u128 {
        if let Some((word, skip)) = self.place_in_word() {
            let word = order.number(key.get(word).copied().unwrap_or(0));
            return u128::from(word << skip & u64::MAX << (64 - u32::from(self.bits))) << 64;
        }
        self.aligned_over_words(key, order)
    }

    /// The word that has all of the field, if one has, and the bits of it before the field.
    #[inline(always)]
    fn place_in_word(self) -> Option<(usize, u32)> {
        let skip = u32::from(self.offset) % 64;
        (skip + u32::from(self.bits) <= 64).then_some((usize::from(self.offset) / 64, skip))
    }

    /// How many leading bits of the field are all in `wildcards`.
    #[inline(always)]
    pub(crate) fn leading_in<const W: usize>(self, wildcards: &[u64; W], order: BitOrder) -> u8 {
        if let Some((word, skip)) = self.place_in_word() {
            let word = order.number(wildcards.get(word).copied().unwrap_or(0));
            return ((word << skip).leading_ones() as u8).min(self.bits);
        }
        self.aligned_over_words(wildcards, order).leading_ones() as u8
    }

    /// How many of the field's first `len` bits are not in `wildcards`.
    #[inline(always)]
    pub(crate) fn missing_in<const W: usize>(self, len: u8, order: BitOrder, wildcards: &[u64; W]) -> u32 {
        if let Some((word, skip)) = self.place_in_word() {
            let word = order.number(wildcards.get(word).copied().unwrap_or(0));
            return (!(word << skip) & u64::MAX.checked_shl(64 - u32::from(len.min(self.bits))).unwrap_or(0))
                .count_ones();
        }
        let missing = |(word, bits): (usize, u64)| (bits & !wildcards.get(word).copied().unwrap_or(0)).count_ones();
        self.prefix(len, order).map(missing).sum()
    }

    /// How many leading bits of the field there are up to a bit of the key and with it, if it is one of them.
    pub(crate) fn bits_to(self, at: u16) -> Option<u8> {
        let before = at.checked_sub(self.offset).filter(|before| *before < self.bits.into())?;
        Some(before as u8 + 1)
    }

    fn aligned_over_words<const W: usize>(self, key: &[u64; W], order: BitOrder) -> u128 {
        self.pieces(self.bits).fold(0, |value, piece| {
            let word = order.number(key.get(piece.word).copied().unwrap_or(0)) & piece.number;
            value | u128::from(word << piece.skip) << 64 >> piece.done
        })
    }

    /// How many leading bits of the field a mask has, when it has no other bit of the field.
    pub(crate) fn prefix_len<const W: usize>(self, mask: &[u64; W], order: BitOrder) -> Option<u8> {
        let bits = self.aligned(mask, order);
        (bits.leading_ones() == bits.count_ones()).then(|| bits.leading_ones() as u8)
    }

    /// The last bit of the field that a mask has, counted from one; 0 when it has none.
    pub(crate) fn extent<const W: usize>(self, mask: &[u64; W], order: BitOrder) -> u8 {
        (128 - self.aligned(mask, order).trailing_zeros()) as u8
    }

    /// The words and, in the key's order, the bits in them of the first `len` bits of the field.
    pub(crate) fn prefix(self, len: u8, order: BitOrder) -> impl Iterator<Item = (usize, u64)> {
        self.pieces(len.min(self.bits)).map(move |piece| (piece.word, order.number(piece.number)))
    }

    fn pieces(self, len: u8) -> impl Iterator<Item = Piece> {
        let (mut at, end) = (u32::from(self.offset), u32::from(self.offset) + u32::from(len));
        core::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let skip = at % 64;
            let take = (64 - skip).min(end - at);
            let number = (u64::MAX << (64 - take)) >> skip;
            let piece = Piece { word: at as usize / 64, skip, number, done: at - u32::from(self.offset) };
            at += take;
            Some(piece)
        })
    }
}

/// A field's bits in one word.
struct Piece {
    word: usize,
    /// Bits of the word before the field's.
    skip: u32,
    /// The field's bits in the word as a number.
    number: u64,
    /// Bits of the field in the words before.
    done: u32,
}

#[cfg(test)]
mod tests {
    use super::{BitOrder, Field};

    const ORDERS: [BitOrder; 2] = [BitOrder::Number, BitOrder::Bytes];

    #[test]
    fn a_field_is_read_where_it_was_written() {
        for order in ORDERS {
            for offset in [0, 3, 32, 60, 64, 65, 127] {
                for bits in [1, 8, 31, 32, 48, 64, 65, 128] {
                    let field = Field::new(offset, bits).unwrap();
                    let value = 0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978u128 & (u128::MAX >> (128 - bits));
                    let mut key = [0; 4];
                    field.put(&mut key, order, value);
                    assert_eq!(field.get(&key, order), value, "{field:?} {order:?}");
                    let mut ones = [u64::MAX; 4];
                    field.put(&mut ones, order, 0);
                    assert_eq!(Field::from_mask(&ones.map(|w| !w), order), Some(field));
                    let counted: u32 = ones.iter().map(|w| w.count_zeros()).sum();
                    assert_eq!(counted, u32::from(bits));
                }
            }
        }
    }

    #[test]
    fn bytes_in_memory_are_read_in_their_order() {
        let key = [u64::from_ne_bytes([0, 0, 0, 0, 192, 0, 2, 1])];
        assert_eq!(Field::new(32, 32).unwrap().get(&key, BitOrder::Bytes), 0xc000_0201);
    }

    #[test]
    fn prefixes_of_a_field_are_told_from_other_masks() {
        for order in ORDERS {
            let field = Field::new(60, 32).unwrap();
            for (mask, expected) in
                [(0, Some(0)), (0xff00_0000, Some(8)), (0xffff_ffff, Some(32)), (0xff, None), (0xf0f0_0000, None)]
            {
                let mut words = [0; 2];
                field.put(&mut words, order, mask);
                assert_eq!(field.prefix_len(&words, order), expected, "{mask:#x}");
                assert_eq!(u32::from(field.extent(&words, order)), 32 - (mask as u32).trailing_zeros().min(32));
            }
            let mut prefix = [0; 2];
            field.prefix(12, order).for_each(|(word, bits)| prefix[word] |= bits);
            assert_eq!(field.get(&prefix, order), 0xfff0_0000);
        }
    }

    #[test]
    fn leading_bits_end_at_the_first_that_is_missing() {
        for order in ORDERS {
            for offset in [0, 5, 32, 60, 96] {
                let field = Field::new(offset, 32).unwrap();
                for missing in 0..=32 {
                    let mut wildcards = [u64::MAX; 2];
                    field.put(&mut wildcards, order, !(1u128 << 32 >> 1 >> missing));
                    assert_eq!(field.leading_in(&wildcards, order), missing, "{offset} {order:?}");
                }
            }
        }
    }

    #[test]
    fn no_field_is_empty_or_outside_of_every_key() {
        assert!(Field::new(0, 0).is_none() && Field::new(0, 129).is_none() && Field::new(u16::MAX, 8).is_none());
        assert_eq!(Field::from_mask(&[0; 3], BitOrder::Number), None);
        assert_eq!(Field::from_mask(&[1, 1], BitOrder::Number), None);
        assert_eq!(Field::from_mask(&[u64::MAX; 3], BitOrder::Number), None);
    }
}
