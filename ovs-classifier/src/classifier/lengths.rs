//! Which masks fix a prefix of a field, by its length: bits by column.
//!
//! A trie tells of which lengths a key's prefixes are there. The masks that fix a prefix of another length have nothing
//! for the key; here they are, many at once.

use crate::guards::{MIDDLE, NARROW, WIDE};
use crate::trie::Folded;
use alloc::vec;
use alloc::vec::Vec;

/// The masks that fix a prefix of one field.
#[derive(Clone, Default)]
pub(super) struct Lengths {
    /// By length: `stride` words of the columns of masks that fix so many bits.
    exactly: Vec<u64>,
    /// By length: of those that fix one or more and at most so many.
    up_to: Vec<u64>,
    stride: usize,
    /// The longest length that there is a place for.
    longest: u8,
    /// Bit `n - 1` is set when a mask fixes `n` bits.
    there: u128,
}

impl Lengths {
    pub(super) fn heap_bytes(&self) -> usize {
        (self.exactly.capacity() + self.up_to.capacity()) * size_of::<u64>()
    }

    /// Whether no mask fixes a prefix.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.there == 0
    }

    /// Notes that a mask fixes `len` of a field's `bits`, or no longer does; nothing of none.
    pub(super) fn set(&mut self, column: u32, len: u8, bits: u8, on: bool) {
        let Some(place) = len.checked_sub(1) else { return };
        let (word, bit) = (column as usize / 64, 1u64 << (column % 64));
        if word >= self.stride {
            self.widen(padded(word + 1), bits);
        }
        let put = |place: &mut u64| *place = if on { *place | bit } else { *place & !bit };
        let rows = self.up_to.chunks_exact_mut(self.stride).skip(len.into());
        rows.filter_map(|row| row.get_mut(word)).for_each(put);
        let rows = self.exactly.chunks_exact_mut(self.stride).skip(len.into()).take(1);
        let is_there = rows.flat_map(|row| {
            row.get_mut(word).into_iter().for_each(put);
            row
        });
        let is_there = is_there.fold(0, |any, word| any | *word) != 0;
        self.there = self.there & !(1 << place) | u128::from(is_there) << place;
    }

    /// Makes place for more columns.
    fn widen(&mut self, stride: usize, longest: u8) {
        for columns in [&mut self.exactly, &mut self.up_to] {
            let mut wider = vec![0; stride * (usize::from(longest) + 1)];
            let rows = wider.chunks_exact_mut(stride).zip(columns.chunks_exact(self.stride.max(1)));
            rows.for_each(|(wider, row)| wider.iter_mut().zip(row).for_each(|(to, from)| *to = *from));
            *columns = wider;
        }
        (self.stride, self.longest) = (stride, longest);
    }

    /// The masks that fix a prefix; of a range of `64 * N` columns.
    #[inline(always)]
    pub(super) fn all<const N: usize>(&self, first: usize) -> [u64; N] {
        self.at_most(self.longest, first)
    }

    /// The masks that fix a prefix whose length is one of `lens`; of a range of `64 * N` columns.
    #[inline(always)]
    pub(super) fn of<const N: usize>(&self, lens: u128, first: usize) -> [u64; N] {
        self.of_holders(lens, first, |_| Folded::MAX)
    }

    /// The same, as far as they are among the holders of their length.
    #[inline(always)]
    pub(super) fn of_holders<const N: usize>(
        &self,
        lens: u128,
        first: usize,
        holders: impl Fn(u8) -> Folded,
    ) -> [u64; N] {
        let (mut all, mut left) = ([0; N], lens & self.there);
        while left != 0 {
            let len = left.trailing_zeros() as u8 + 1;
            left &= left - 1;
            let (exactly, holders): ([u64; N], _) = (self.load(&self.exactly, len.into(), first), holders(len));
            all = core::array::from_fn(|word| all[word] | exactly[word] & holders);
        }
        all
    }

    /// The masks that fix one bit or more and at most `len`; of a range of `64 * N` columns.
    #[inline(always)]
    pub(super) fn at_most<const N: usize>(&self, len: u8, first: usize) -> [u64; N] {
        self.load(&self.up_to, len.min(self.longest).into(), first)
    }

    #[inline(always)]
    fn load<const N: usize>(&self, columns: &[u64], len: usize, first: usize) -> [u64; N] {
        let row = len * self.stride;
        if first + N <= self.stride
            && let Some(words) = columns.get(row + first..row + first + N).and_then(<[u64]>::as_array)
        {
            return *words;
        }
        Self::load_part(columns.get(row..row + self.stride).unwrap_or_default(), first)
    }

    /// What there is of a range of columns, where a row ends in it.
    #[cold]
    fn load_part<const N: usize>(row: &[u64], first: usize) -> [u64; N] {
        let mut some = [0; N];
        some.iter_mut().zip(row.get(first..).unwrap_or_default()).for_each(|(some, word)| *some = *word);
        some
    }
}

/// So many words that they can be loaded whole, in the width in which as many columns are picked.
fn padded(words: usize) -> usize {
    match words {
        0..=NARROW => words,
        words if words <= MIDDLE => MIDDLE,
        words => words.next_multiple_of(WIDE),
    }
}

#[cfg(test)]
mod tests {
    use super::Lengths;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn masks_are_told_as_a_list_tells_them(
            bits in prop::sample::select(&[32u8, 128][..]),
            masks in prop::collection::vec((0..200u32, 0..=128u8), 0..40),
            (lens, len) in (any::<u128>(), 0..=128u8),
        ) {
            let (mut lengths, mut list) = (Lengths::default(), Vec::<(u32, u8)>::new());
            for (column, len) in masks {
                let len = len.min(bits);
                match list.iter().position(|(other, _)| *other == column) {
                    Some(at) => {
                        let (_, len) = list.swap_remove(at);
                        lengths.set(column, len, bits, false);
                    }
                    None => {
                        lengths.set(column, len, bits, true);
                        list.push((column, len));
                    }
                }
            }
            list.retain(|(_, len)| *len > 0);
            prop_assert_eq!(lengths.is_empty(), list.is_empty());
            let lens = if bits == 32 { lens & 0xffff_ffff } else { lens };
            let with: [u64; 8] = lengths.of(lens, 0);
            let at_most: [u64; 8] = lengths.at_most(len, 0);
            let one: [[u64; 1]; 2] = [lengths.of(lens, 0), lengths.at_most(len, 0)];
            prop_assert_eq!(one, [[with[0]], [at_most[0]]]);
            for column in 0..512 {
                let of = |words: &[u64; 8]| words[column as usize / 64] >> (column % 64) & 1 != 0;
                let fixed = list.iter().find(|(other, _)| *other == column).map(|(_, len)| *len);
                prop_assert_eq!(of(&with), fixed.is_some_and(|len| lens >> (len - 1) & 1 != 0));
                prop_assert_eq!(of(&at_most), fixed.is_some_and(|fixed| fixed <= len));
            }
        }
    }
}
