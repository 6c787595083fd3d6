//! Masks and values as the tables store them: only the words that matter.
//!
//! A rule of a switch fixes a handful of the hundred words of a flow key. A [`SparseMask`] lists the words it
//! fixes; all patterns of a subtable share one. A [`SparsePattern`] adds the values, one per listed word.
//!
//! The words are listed stage by stage, so that every stage prefix of the key is a prefix of the list, and of the
//! values: staged lookup hashes and compares slices.

use crate::hash::WordHash;
use crate::layout::{Layout, STAGES};
use crate::pattern::Pattern;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// One word of a mask; its bits are never all zero.
#[derive(Clone, Copy, Debug)]
struct MaskWord {
    bits: u64,
    /// Which word of the key: below `W`, which is at most 256.
    index: u8,
}

impl MaskWord {
    /// The word that this one selects from a key (or mask).
    #[inline]
    fn of<const W: usize>(self, key: &[u64; W]) -> u64 {
        // The index is below W; `get` spares the proof obligation, not a branch that is ever taken.
        key.get(usize::from(self.index)).copied().unwrap_or(0)
    }
}

/// The words of a mask that are not zero, in the order of their stages.
#[derive(Debug)]
pub(crate) struct SparseMask<const W: usize> {
    words: Box<[MaskWord]>,
    /// For each stage, how many words lie in it and the stages before.
    stage_ends: [usize; STAGES],
}

impl<const W: usize> SparseMask<W> {
    pub(crate) fn new(layout: &Layout<W>, mask: &[u64; W]) -> Self {
        let mut words = Vec::with_capacity(mask.iter().filter(|&&bits| bits != 0).count());
        let mut stage_ends = [0; STAGES];
        for (stage, end) in (0u8..).zip(&mut stage_ends) {
            for (index, (&bits, &word_stage)) in (0..=u8::MAX).zip(mask.iter().zip(layout.stages())) {
                if bits != 0 && word_stage == stage {
                    words.push(MaskWord { bits, index });
                }
            }
            *end = words.len();
        }
        Self { words: words.into_boxed_slice(), stage_ends }
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// For each stage, how many words lie in it and the stages before.
    pub(crate) fn stage_ends(&self) -> &[usize; STAGES] {
        &self.stage_ends
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// Whether this is the sparse form of a mask.
    pub(crate) fn is(&self, mask: &[u64; W]) -> bool {
        self.within(mask) && self.includes(mask)
    }

    /// Whether every bit of this mask is in `other`.
    pub(crate) fn within(&self, other: &[u64; W]) -> bool {
        self.words.iter().all(|word| word.bits & !word.of(other) == 0)
    }

    /// Whether every bit of `other` is in this mask.
    pub(crate) fn includes(&self, other: &[u64; W]) -> bool {
        let shared: u32 = self.words.iter().map(|word| (word.bits & word.of(other)).count_ones()).sum();
        shared == other.iter().map(|bits| bits.count_ones()).sum()
    }

    /// The masked words of a key, in the order of this mask.
    pub(crate) fn gather(&self, key: &[u64; W]) -> Box<[u64]> {
        self.words.iter().map(|word| word.of(key) & word.bits).collect()
    }

    /// The hash of the masked words of a key: what [`WordHash::words`] gives for the gathered values.
    #[inline]
    pub(crate) fn hash(&self, hash: WordHash, key: &[u64; W]) -> u64 {
        Self::mix(hash.start(), &self.words, key)
    }

    /// Goes on hashing from `state`, over the words at positions `from..to` of this mask.
    #[inline]
    pub(crate) fn hash_range(&self, state: u64, from: usize, to: usize, key: &[u64; W]) -> u64 {
        Self::mix(state, self.words.get(from..to).unwrap_or_default(), key)
    }

    fn mix(state: u64, words: &[MaskWord], key: &[u64; W]) -> u64 {
        words.iter().fold(state, |state, word| WordHash::mix(state, word.of(key) & word.bits))
    }

    /// Whether a key has the given values (in the order of this mask) under this mask.
    #[inline]
    pub(crate) fn matches(&self, values: &[u64], key: &[u64; W]) -> bool {
        self.words.iter().zip(values).all(|(word, value)| word.of(key) & word.bits == *value)
    }

    /// Adds the bits of the first `words` words of this mask to `wildcards`.
    pub(crate) fn fold_into(&self, words: usize, wildcards: &mut [u64; W]) {
        for word in self.words.iter().take(words) {
            if let Some(bits) = wildcards.get_mut(usize::from(word.index)) {
                *bits |= word.bits;
            }
        }
    }

    /// The full-width pattern that has these values under this mask.
    fn expand(&self, values: &[u64]) -> Pattern<W> {
        let mut mask = [0; W];
        let mut key = [0; W];
        for (word, value) in self.words.iter().zip(values) {
            let index = usize::from(word.index);
            if let (Some(key), Some(mask)) = (key.get_mut(index), mask.get_mut(index)) {
                (*key, *mask) = (*value, word.bits);
            }
        }
        Pattern::new(key, mask)
    }
}

/// A pattern as the tables store it: a mask shared with its subtable, and the values under it.
#[derive(Clone, Debug)]
pub(crate) struct SparsePattern<const W: usize> {
    mask: Arc<SparseMask<W>>,
    /// One value per word of the mask.
    values: Box<[u64]>,
}

impl<const W: usize> SparsePattern<W> {
    /// The pattern with the bits of `key` under `mask`.
    pub(crate) fn new(mask: &Arc<SparseMask<W>>, key: &[u64; W]) -> Self {
        Self { mask: Arc::clone(mask), values: mask.gather(key) }
    }

    pub(crate) fn values(&self) -> &[u64] {
        &self.values
    }

    pub(crate) fn expand(&self) -> Pattern<W> {
        self.mask.expand(&self.values)
    }

    #[inline]
    pub(crate) fn matches(&self, key: &[u64; W]) -> bool {
        self.mask.matches(&self.values, key)
    }

    /// Whether this pattern fixes at least the bits that `criteria` fixes, to the same values.
    pub(crate) fn is_covered_by(&self, criteria: &Pattern<W>) -> bool {
        self.mask.includes(criteria.mask()) && self.overlaps(criteria)
    }

    /// Whether the bits that both patterns fix are the same in both.
    pub(crate) fn overlaps(&self, other: &Pattern<W>) -> bool {
        self.mask
            .words
            .iter()
            .zip(&self.values)
            .all(|(word, value)| (value ^ word.of(other.key())) & word.bits & word.of(other.mask()) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{SparseMask, SparsePattern};
    use crate::hash::WordHash;
    use crate::layout::Layout;
    use crate::pattern::Pattern;
    use alloc::sync::Arc;

    const LAYOUT: Layout<4> = Layout::new([3, 0, 2, 0]).expect("stages are 0 to 3");

    #[test]
    fn words_are_ordered_by_stage_and_hash_as_their_values() {
        let mask = SparseMask::new(&LAYOUT, &[0xff, 0xff, 0, 0xf0]);
        assert_eq!(&*mask.gather(&[0x1ff, 2, 3, 0x4f]), &[2, 0x40, 0xff]);
        assert_eq!(mask.stage_ends(), &[2, 2, 2, 3]);
        let hash = WordHash::new(3);
        let key = [0xabc, 0xdef, 1, 2];
        assert_eq!(mask.hash(hash, &key), hash.words(&mask.gather(&key)));
        let half = mask.hash_range(hash.start(), 0, 2, &key);
        assert_eq!(mask.hash_range(half, 2, 3, &key), mask.hash(hash, &key));
    }

    #[test]
    fn sparse_answers_are_the_dense_ones() {
        let patterns = [
            Pattern::any(),
            Pattern::new([1, 0, 0, 0], [1, 0, 0, 0]),
            Pattern::new([1, 0, 0, 2], [3, 0, 0, 2]),
            Pattern::new([1, 9, 0, 0], [1, 15, 0, 0]),
            Pattern::exact([1, 9, 0, 2]),
        ];
        for a in &patterns {
            let mask = Arc::new(SparseMask::new(&LAYOUT, a.mask()));
            let sparse = SparsePattern::new(&mask, a.key());
            assert_eq!(&sparse.expand(), a);
            for b in &patterns {
                assert_eq!(mask.is(b.mask()), a.mask() == b.mask());
                assert_eq!(sparse.is_covered_by(b), b.covers(a), "{b:?} covers {a:?}");
                assert_eq!(sparse.overlaps(b), b.overlaps(a));
                assert_eq!(sparse.matches(b.key()), a.matches(b.key()));
            }
        }
    }

    #[test]
    fn folding_a_prefix_adds_only_its_bits() {
        let mask = SparseMask::new(&LAYOUT, &[0xff, 0x0f, 0, 0xf0]);
        let mut wildcards = [0, 0x100, 0, 0];
        mask.fold_into(1, &mut wildcards);
        assert_eq!(wildcards, [0, 0x10f, 0, 0]);
        mask.fold_into(mask.len(), &mut wildcards);
        assert_eq!(wildcards, [0xff, 0x10f, 0, 0xf0]);
    }
}
