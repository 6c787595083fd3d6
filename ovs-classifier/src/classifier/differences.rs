//! Where a mask has few rules: in which bits the key differs from each.
//!
//! What proves that a whole mask has nothing for a key is as long as its rules are alike: of an access list, where most
//! masks have a rule or two and addresses share their beginnings, it is most of the mask, and answers are cached for
//! few packets. One rule is told from a key by one bit. So here each is taken by itself: where no bit differs that is
//! reported anyway, the field is reported in which the key first differs, or of an address and of ports the bits up to
//! that. So the shapes of masks are still those of prefixes and of whole fields, which many keys share.

use super::proof::Evidence;
use super::{Classifier, State};
use crate::layout::Layout;
use crate::rows::Few;
use crate::simd::Kernels;
use crate::sparse::{Difference, SparseMask};
use crate::subtables::Subtable;
use alloc::boxed::Box;
use alloc::vec;

/// A mask of at most so many rules is proven rule by rule. Of more, most lists report as many bits as other proofs do.
const FEW_RULES: usize = 32;

/// So many rules are told from the key by a lookup at most.
pub(super) const PATIENCE: usize = 1024;

/// Where in each word, as a number, fields begin and end.
#[derive(Clone)]
pub(super) struct Bounds(Box<[u64]>);

impl Bounds {
    pub(super) fn new<const W: usize>(layout: &Layout<W>) -> Self {
        let mut bounds = vec![1 << 63; W].into_boxed_slice();
        for field in layout.fields() {
            for at in [field.offset(), field.offset() + u16::from(field.bits())] {
                if let Some(word) = bounds.get_mut(usize::from(at) / 64) {
                    *word |= 1 << 63 >> (at % 64);
                }
            }
        }
        Self(bounds)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// The bits of a word, as a number, between the bounds that are around one of them.
    #[inline(always)]
    fn around(&self, word: usize, bit: u32) -> u64 {
        let bounds = self.0.get(word).copied().unwrap_or(1 << 63);
        let from = (bounds & !(u64::MAX >> 1 >> bit)).trailing_zeros();
        let after = (bounds & u64::MAX >> 1 >> bit).leading_zeros();
        u64::MAX >> (63 - from) & !u64::MAX.unbounded_shr(after)
    }
}

impl<R, K: Kernels, const W: usize, const N: usize> Evidence<'_, R, K, W, N> {
    /// Proves that the rules of a mask do not match the key, one by one, but for those that do and are no better than
    /// the answer. Whether that took new bits; none where other proofs are for.
    #[inline(always)]
    pub(super) fn prove_each(&mut self, column: u32) -> Option<bool> {
        let subtable = self.table.subtables.get(column)?;
        let few = self.table.few(subtable)?;
        self.patience = self.patience.checked_sub(few.len())?;
        Some(self.tell_each(column, subtable, &few))
    }

    #[inline(never)]
    fn tell_each(&mut self, column: u32, subtable: &Subtable<State, W>, few: &Few<'_>) -> bool {
        let mut any = false;
        few.for_each(|place| {
            let Some(values) = subtable.entries.get(place) else { return };
            if let Difference::New(word, bits) = subtable.mask.difference(values, self.key, self.wildcards) {
                self.report_difference(column, &subtable.mask, word, bits);
                any = true;
            }
        });
        any
    }

    /// Reports what a key is told by that differs from a rule of a mask in these bits of a word.
    fn report_difference(&mut self, column: u32, mask: &SparseMask<W>, word: usize, bits: u64) {
        let (table, order) = (self.table, self.table.layout.order());
        let bit = order.number(bits).leading_zeros();
        let at = word as u16 * 64 + bit as u16;
        let mut report = |word: usize, bits: u64| {
            if let Some(wildcards) = self.wildcards.get_mut(word) {
                *wildcards |= bits & mask.bits_of(word);
            }
        };
        let ports = || table.layout.ports().and_then(|ports| Some((ports, ports.bits_to(at)?)));
        match table.prefixes.up_to(column, at).or_else(ports) {
            Some((field, len)) => field.prefix(len, order).for_each(|(word, bits)| report(word, bits)),
            None => report(word, order.number(table.bounds.around(word, bit))),
        }
    }
}

impl<R, const W: usize> Classifier<R, W> {
    /// The rules of a mask that has so few that each is told from a key by itself. Tables of a few masks report what
    /// the peer does; where all masks fix prefixes of one field, as in a table of routes, the bits that show one of
    /// them show the others.
    #[inline(always)]
    pub(super) fn few<'a>(&self, subtable: &'a Subtable<State, W>) -> Option<Few<'a>> {
        subtable.rows.few(FEW_RULES).filter(|_| self.guards.len() > 0 && !self.prefixes.are_of_one_field())
    }
}

#[cfg(test)]
mod tests {
    use super::Bounds;
    use crate::field::Field;
    use crate::layout::Layout;

    #[test]
    fn a_bit_is_in_its_field_or_between_others() {
        let fields = [(0, 8), (16, 16), (32, 32), (100, 40)].map(|(offset, bits)| Field::new(offset, bits).unwrap());
        let bounds = Bounds::new(&Layout::<4>::flat().with_fields(&fields).unwrap());
        for (at, first, len) in [
            (0, 0, 8),
            (7, 0, 8),
            (8, 8, 8),
            (15, 8, 8),
            (16, 16, 16),
            (31, 16, 16),
            (63, 32, 32),
            (64, 64, 36),
            (100, 100, 28),
            (127, 100, 28),
            (128, 128, 12),
            (139, 128, 12),
            (140, 140, 52),
            (191, 140, 52),
            (200, 192, 64),
        ] {
            let bits = (u64::MAX << (64 - len)) >> (first % 64);
            assert_eq!(bounds.around(at / 64, at as u32 % 64), bits, "bit {at}");
        }
    }
}
