//! Masks as the tables store them: only the words that matter.
//!
//! A rule of a switch fixes a handful of the hundred words of a flow key. A [`SparseMask`] lists the words it
//! fixes, and what the rules of a subtable store are their values in these, one per listed word.
//!
//! The words are listed stage by stage, so that every stage prefix of the key is a prefix of the list, and of the
//! values: staged lookup hashes and compares slices.

use crate::hash::WordHash;
use crate::layout::{Layout, MAX_WORDS, STAGES};
use crate::pattern::Pattern;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// One word of a mask; its bits are never all zero.
#[derive(Clone, Copy, Debug)]
struct MaskWord {
    bits: u64,
    /// What the hash salts this position with.
    salt: u64,
    /// Which word of the key: below `W`, which is at most 256.
    index: u8,
}

impl MaskWord {
    /// The word that this one selects from a key (or mask).
    #[inline(always)]
    fn of<const W: usize>(self, key: &[u64; W]) -> u64 {
        // The index is below W; `get` spares the proof obligation, not a branch that is ever taken.
        key.get(usize::from(self.index)).copied().unwrap_or(0)
    }
}

/// What tells a key from a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Nothing: the pattern matches.
    None,
    /// Bits that are known already.
    Known,
    /// Bits of a word of the key, which are not.
    New(usize, u64),
}

/// The words of a mask that are not zero, in the order of their stages.
#[derive(Clone, Debug)]
pub(crate) struct SparseMask<const W: usize> {
    words: Box<[MaskWord]>,
    /// For each stage, how many words lie in it and the stages before.
    stage_ends: [usize; STAGES],
    /// Which words of the key they are, by bit.
    used: [u64; MAX_WORDS / 64],
}

impl<const W: usize> SparseMask<W> {
    pub(crate) fn new(layout: &Layout<W>, hash: WordHash, mask: &[u64; W]) -> Self {
        let mut words = Vec::with_capacity(mask.iter().filter(|&&bits| bits != 0).count());
        let mut stage_ends = [0; STAGES];
        for (stage, end) in (0u8..).zip(&mut stage_ends) {
            for (index, (&bits, &word_stage)) in (0..=u8::MAX).zip(mask.iter().zip(layout.stages())) {
                if bits != 0 && word_stage == stage {
                    words.push(MaskWord { bits, salt: hash.salt(words.len()), index });
                }
            }
            *end = words.len();
        }
        let mut used = [0; MAX_WORDS / 64];
        for word in &words {
            if let Some(used) = used.get_mut(usize::from(word.index / 64)) {
                *used |= 1 << (word.index % 64);
            }
        }
        Self { words: words.into_boxed_slice(), stage_ends, used }
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// The words with their indexes, in the order of this mask.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, u64)> {
        self.words.iter().map(|word| (usize::from(word.index), word.bits))
    }

    /// For each stage, how many words lie in it and the stages before.
    pub(crate) fn stage_ends(&self) -> &[usize; STAGES] {
        &self.stage_ends
    }

    /// The stage in which the first `words` words of this mask end.
    pub(crate) fn stage_of(&self, words: usize) -> u8 {
        self.stage_ends.iter().take_while(|end| **end < words).count() as u8
    }

    /// How many words lie in the stages before one.
    #[inline(always)]
    pub(crate) fn words_before(&self, stage: u8) -> usize {
        let before = usize::from(stage).checked_sub(1);
        before.and_then(|before| self.stage_ends.get(before)).copied().unwrap_or(0)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// The mask in full width.
    pub(crate) fn expand(&self) -> [u64; W] {
        let mut mask = [0; W];
        self.fold(&mut mask);
        mask
    }

    /// The bits of one word of the key.
    pub(crate) fn bits_of(&self, index: usize) -> u64 {
        self.words.iter().find(|word| usize::from(word.index) == index).map_or(0, |word| word.bits)
    }

    /// Of a pattern with these values, one word of the key.
    pub(crate) fn word_of(&self, values: &[u64], index: u8) -> u64 {
        self.words.iter().zip(values).find(|(word, _)| word.index == index).map_or(0, |(_, value)| *value)
    }

    /// Whether this is the sparse form of a pattern's mask.
    pub(crate) fn is_of(&self, pattern: &Pattern<W>) -> bool {
        self.used == *pattern.used() && self.words.iter().all(|word| word.bits == word.of(pattern.mask()))
    }

    /// Whether every bit of this mask is in `other`.
    #[inline(always)]
    pub(crate) fn within(&self, other: &[u64; W]) -> bool {
        self.words.iter().all(|word| word.bits & !word.of(other) == 0)
    }

    /// Whether every bit of `other` is in this mask.
    pub(crate) fn includes(&self, other: &[u64; W]) -> bool {
        let shared: u32 = self.words.iter().map(|word| (word.bits & word.of(other)).count_ones()).sum();
        shared == other.iter().map(|bits| bits.count_ones()).sum()
    }

    /// The masked words of a key, in the order of this mask.
    pub(crate) fn gather(&self, key: &[u64; W]) -> impl Iterator<Item = u64> {
        self.words.iter().map(|word| word.of(key) & word.bits)
    }

    /// The hash of the masked words of a key: the sum of the hashes of each with its salt.
    #[inline(always)]
    pub(crate) fn hash(&self, key: &[u64; W]) -> u64 {
        Self::sum(&self.words, key)
    }

    /// The hash of a key that has these values under this mask.
    pub(crate) fn hash_of_values(&self, values: &[u64]) -> u64 {
        let terms = self.words.iter().zip(values).map(|(word, value)| WordHash::fold(value ^ word.salt));
        terms.fold(0, u64::wrapping_add)
    }

    /// What the words at positions `from..to` of this mask add to the hash.
    #[inline(always)]
    pub(crate) fn hash_range(&self, from: usize, to: usize, key: &[u64; W]) -> u64 {
        Self::sum(self.words.get(from..to).unwrap_or_default(), key)
    }

    #[inline(always)]
    fn sum(words: &[MaskWord], key: &[u64; W]) -> u64 {
        let mut sum = 0u64;
        for word in words {
            // No key lacks a word of its mask. That the loop could end here keeps the compiler from making a gather and
            // wide products of it, which took five times as long.
            let Some(bits) = key.get(usize::from(word.index)) else { break };
            sum = sum.wrapping_add(WordHash::fold(bits & word.bits ^ word.salt));
        }
        sum
    }

    /// Whether a key has the given values (in the order of this mask) under this mask.
    #[inline(always)]
    pub(crate) fn matches(&self, values: &[u64], key: &[u64; W]) -> bool {
        self.words.iter().zip(values).all(|(word, value)| word.of(key) & word.bits == *value)
    }

    /// Whether a key differs from a pattern with these values in bits that are among `known`; if not, the first word in
    /// which it differs, with the bits.
    #[inline(always)]
    pub(crate) fn difference(&self, values: &[u64], key: &[u64; W], known: &[u64; W]) -> Difference {
        let mut first = Difference::None;
        for (word, value) in self.words.iter().zip(values) {
            let differ = word.of(key) & word.bits ^ value;
            if differ & word.of(known) != 0 {
                return Difference::Known;
            }
            if differ != 0 && matches!(first, Difference::None) {
                first = Difference::New(usize::from(word.index), differ);
            }
        }
        first
    }

    /// Adds the bits of this mask to `wildcards`.
    #[inline(always)]
    pub(crate) fn fold(&self, wildcards: &mut [u64; W]) {
        for word in &self.words {
            let Some(bits) = wildcards.get_mut(usize::from(word.index)) else { break };
            *bits |= word.bits;
        }
    }

    /// Adds the bits of the first `words` words of this mask to `wildcards`.
    pub(crate) fn fold_into(&self, words: usize, wildcards: &mut [u64; W]) {
        for word in self.words.iter().take(words) {
            if let Some(bits) = wildcards.get_mut(usize::from(word.index)) {
                *bits |= word.bits;
            }
        }
    }

    /// How many bits of the first `words` words of this mask are not in `wildcards`.
    pub(crate) fn missing_in(&self, words: usize, wildcards: &[u64; W]) -> u32 {
        let mut missing = 0;
        for word in self.words.iter().take(words) {
            // As in `sum`, against gathers.
            let Some(known) = wildcards.get(usize::from(word.index)) else { break };
            missing += (word.bits & !known).count_ones();
        }
        missing
    }

    /// The key that has these values under this mask, and is zero elsewhere.
    pub(crate) fn scatter(&self, values: &[u64]) -> [u64; W] {
        let mut key = [0; W];
        for (word, value) in self.words.iter().zip(values) {
            if let Some(key) = key.get_mut(usize::from(word.index)) {
                *key = *value;
            }
        }
        key
    }

    /// The pattern of full width that has these values under this mask.
    pub(crate) fn pattern(&self, values: &[u64]) -> Pattern<W> {
        Pattern::new(self.scatter(values), self.expand())
    }

    /// Whether the pattern with these values fixes at least the bits that `criteria` fixes, to the same values.
    pub(crate) fn is_covered_by(&self, values: &[u64], criteria: &Pattern<W>) -> bool {
        self.includes(criteria.mask()) && self.overlaps(values, criteria)
    }

    /// Whether the bits that both patterns fix are the same in both.
    pub(crate) fn overlaps(&self, values: &[u64], other: &Pattern<W>) -> bool {
        let differ =
            |(word, value): (&MaskWord, &u64)| (value ^ word.of(other.key())) & word.bits & word.of(other.mask()) != 0;
        !self.words.iter().zip(values).any(differ)
    }
}

#[cfg(test)]
mod tests {
    use super::SparseMask;
    use crate::hash::WordHash;
    use crate::layout::Layout;
    use crate::pattern::Pattern;
    use alloc::vec::Vec;

    const LAYOUT: Layout<4> = Layout::new([3, 0, 2, 0]).expect("stages are 0 to 3");
    const HASH: WordHash = WordHash::new(3);

    #[test]
    fn words_are_ordered_by_stage_and_hash_as_their_values() {
        let mask = SparseMask::new(&LAYOUT, HASH, &[0xff, 0xff, 0, 0xf0]);
        let key = [0x1ff, 2, 3, 0x4f];
        assert!(mask.gather(&key).eq([2, 0x40, 0xff]));
        assert_eq!(mask.stage_ends(), &[2, 2, 2, 3]);
        assert_eq!(mask.hash(&key), HASH.words([2, 0x40, 0xff]));
        assert_eq!(mask.hash_of_values(&[2, 0x40, 0xff]), mask.hash(&key));
        let half = mask.hash_range(0, 2, &key);
        assert_eq!(half, HASH.words([2, 0x40]));
        assert_eq!(half.wrapping_add(mask.hash_range(2, 3, &key)), mask.hash(&key));
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
            let mask = SparseMask::new(&LAYOUT, HASH, a.mask());
            let values: Vec<u64> = mask.gather(a.key()).collect();
            assert_eq!(&mask.pattern(&values), a);
            for b in &patterns {
                assert_eq!(mask.is_of(b), a.mask() == b.mask());
                assert_eq!(mask.is_covered_by(&values, b), b.covers(a), "{b:?} covers {a:?}");
                assert_eq!(mask.overlaps(&values, b), b.overlaps(a));
                assert_eq!(mask.matches(&values, b.key()), a.matches(b.key()));
            }
        }
    }

    #[test]
    fn folding_a_prefix_adds_only_its_bits() {
        let mask = SparseMask::new(&LAYOUT, HASH, &[0xff, 0x0f, 0, 0xf0]);
        let mut wildcards = [0, 0x100, 0, 0];
        mask.fold_into(1, &mut wildcards);
        assert_eq!(wildcards, [0, 0x10f, 0, 0]);
        assert_eq!(mask.missing_in(mask.len(), &wildcards), 12);
        mask.fold_into(mask.len(), &mut wildcards);
        assert_eq!(wildcards, [0xff, 0x10f, 0, 0xf0]);
        assert_eq!(mask.missing_in(mask.len(), &wildcards), 0);
    }
}
