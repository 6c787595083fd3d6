//! Patterns: the keys that agree with given values on given bits.

use crate::error::PatternError;
use crate::hash::WordHash;
use crate::layout::MAX_WORDS;
use crate::simd::prefetch;
use core::fmt;

/// A set of keys: those that have the values of `key` in the bits of `mask`.
///
/// Bits outside the mask are zero in the key, always; so two patterns that match the same keys are equal.
///
/// A pattern is a value to build and to compare, two full keys wide. Inside the tables it is stored sparsely.
///
/// ```
/// use ovs_classifier::Pattern;
///
/// let subnet = Pattern::new([0, 0x0a00_0001], [0, 0xffff_0000]);
/// assert_eq!(subnet.key(), &[0, 0x0a00_0000], "the key is masked");
/// assert!(subnet.matches(&[7, 0x0a00_1234]));
/// assert!(!subnet.matches(&[7, 0x0b00_1234]));
/// assert!(Pattern::any().covers(&subnet));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern<const W: usize> {
    key: [u64; W],
    mask: [u64; W],
    /// The words of the mask that are not zero, by bit, so that the others need not be read again.
    used: [u64; MAX_WORDS / 64],
}

impl<const W: usize> Pattern<W> {
    /// The keys that agree with `key` on the bits of `mask`.
    ///
    /// Bits of `key` outside `mask` are dropped.
    #[must_use]
    pub fn new(mut key: [u64; W], mask: [u64; W]) -> Self {
        let mut used = [0; MAX_WORDS / 64];
        for ((words, masks), used) in key.chunks_mut(64).zip(mask.chunks(64)).zip(&mut used) {
            for (i, (word, mask)) in words.iter_mut().zip(masks).enumerate() {
                *word &= mask;
                *used |= u64::from(*mask != 0) << i;
            }
        }
        Self { key, mask, used }
    }

    /// The pattern of slices that may be shorter than a key: words that they do not have are not matched.
    ///
    /// # Errors
    ///
    /// If one of them is longer than a key.
    ///
    /// ```
    /// use ovs_classifier::{Pattern, PatternError};
    ///
    /// assert_eq!(Pattern::<2>::from_slices(&[7], &[0xff]), Ok(Pattern::new([7, 0], [0xff, 0])));
    /// assert_eq!(Pattern::<2>::from_slices(&[7], &[0; 3]), Err(PatternError::TooLong { words: 3, width: 2 }));
    /// ```
    pub fn from_slices(values: &[u64], mask: &[u64]) -> Result<Self, PatternError> {
        let words = values.len().max(mask.len());
        if words > W {
            return Err(PatternError::TooLong { words, width: W });
        }
        let full = |words: &[u64]| core::array::from_fn(|i| words.get(i).copied().unwrap_or(0));
        Ok(Self::new(full(values), full(mask)))
    }

    /// The pattern that matches every key.
    #[must_use]
    pub const fn any() -> Self {
        Self { key: [0; W], mask: [0; W], used: [0; MAX_WORDS / 64] }
    }

    /// The pattern that matches one key only.
    #[must_use]
    pub fn exact(key: [u64; W]) -> Self {
        Self::new(key, [u64::MAX; W])
    }

    /// The values, zero wherever the mask is zero.
    #[must_use]
    pub const fn key(&self) -> &[u64; W] {
        &self.key
    }

    /// The bits that matter.
    #[must_use]
    pub const fn mask(&self) -> &[u64; W] {
        &self.mask
    }

    /// Whether the pattern matches a key.
    #[must_use]
    pub fn matches(&self, key: &[u64; W]) -> bool {
        self.words().zip(key).all(|((value, mask), key)| key & mask == value)
    }

    /// Whether every key that `other` matches is matched by this pattern.
    ///
    /// This is OpenFlow's loose (non-strict) comparison: `other` fixes at least the bits that this pattern fixes,
    /// to the same values.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.words()
            .zip(other.words())
            .all(|((value, mask), (other_value, other_mask))| other_mask & mask == mask && other_value & mask == value)
    }

    /// Whether some key is matched by both patterns.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.words()
            .zip(other.words())
            .all(|((value, mask), (other_value, other_mask))| (value ^ other_value) & mask & other_mask == 0)
    }

    /// Tells the words that the pattern fixes bits of: index, value and mask.
    #[inline(always)]
    pub(crate) fn each_used(&self, mut tell: impl FnMut(usize, &u64, u64)) {
        for (used, first) in self.used.iter().zip((0..).step_by(64)) {
            let mut left = *used;
            while left != 0 {
                let word = first + left.trailing_zeros() as usize;
                left &= left - 1;
                if let (Some(value), Some(mask)) = (self.key.get(word), self.mask.get(word)) {
                    tell(word, value, *mask);
                }
            }
        }
    }

    /// A hash of the mask: of its words that are not zero, each salted by its index. Asks for their values, which are far from
    /// the mask and wanted soon.
    pub(crate) fn mask_hash(&self, hash: WordHash) -> u64 {
        let mut sum = 0u64;
        self.each_used(|index, value, mask| {
            prefetch(value);
            sum = sum.wrapping_add(WordHash::fold(mask ^ hash.salt(index)));
        });
        sum
    }

    /// Which words of the mask are not zero, by bit.
    pub(crate) const fn used(&self) -> &[u64; MAX_WORDS / 64] {
        &self.used
    }

    /// How many words of the mask are not zero.
    pub(crate) fn used_words(&self) -> usize {
        self.used.iter().map(|used| used.count_ones() as usize).sum()
    }

    fn words(&self) -> impl Iterator<Item = (u64, u64)> {
        self.key.iter().copied().zip(self.mask.iter().copied())
    }
}

/// The pattern of words: index, value and mask. Bits of a value outside its mask are dropped, and of two words for one index
/// the later counts; an index that a key does not have is ignored.
///
/// ```
/// use ovs_classifier::Pattern;
///
/// let few = [(2, 0x17, 0xf0), (9, 1, 1)];
/// assert_eq!(Pattern::<4>::from_iter(few), Pattern::new([0, 0, 0x10, 0], [0, 0, 0xf0, 0]));
/// ```
impl<const W: usize> FromIterator<(usize, u64, u64)> for Pattern<W> {
    fn from_iter<I: IntoIterator<Item = (usize, u64, u64)>>(words: I) -> Self {
        let mut pattern = Self::any();
        for (index, value, mask) in words {
            let (key, bits) = (pattern.key.get_mut(index), pattern.mask.get_mut(index));
            let (Some(key), Some(bits), Some(used)) = (key, bits, pattern.used.get_mut(index / 64)) else { continue };
            (*key, *bits) = (value & mask, mask);
            *used = *used & !(1 << (index % 64)) | u64::from(mask != 0) << (index % 64);
        }
        pattern
    }
}

/// Shows the words that matter, each as `index: value/mask`.
impl<const W: usize> fmt::Debug for Pattern<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words().enumerate().filter(|(_, (_, mask))| *mask != 0);
        f.debug_map().entries(words.map(|(index, (value, mask))| (index, Word { value, mask }))).finish()
    }
}

struct Word {
    value: u64,
    mask: u64,
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;
    use alloc::format;

    #[test]
    fn equal_sets_of_keys_are_equal_patterns() {
        assert_eq!(Pattern::new([0xff, 7], [0xf0, 0]), Pattern::new([0xf5, 9], [0xf0, 0]));
        assert_ne!(Pattern::new([0, 0], [0xf0, 0]), Pattern::any());
    }

    #[test]
    fn covers_and_overlaps_on_every_pattern_of_two_bits() {
        let all = (0..4u64).flat_map(|mask| (0..4u64).map(move |key| Pattern::new([key], [mask])));
        for a in all.clone() {
            for b in all.clone() {
                let keys = || (0..4u64).map(|key| [key]);
                assert_eq!(a.covers(&b), keys().all(|k| !b.matches(&k) || a.matches(&k)), "{a:?} covers {b:?}");
                assert_eq!(a.overlaps(&b), keys().any(|k| a.matches(&k) && b.matches(&k)), "{a:?} overlaps {b:?}");
            }
        }
    }

    #[test]
    fn debug_shows_only_the_words_that_matter() {
        assert_eq!(format!("{:?}", Pattern::new([1, 2, 3], [0, 0, 0xff])), "{2: 0x3/0xff}");
        assert_eq!(format!("{:?}", Pattern::<3>::any()), "{}");
    }
}
