//! The hash of masked words: one multiplication per word, none of which waits for another.
//!
//! A word is salted by its position, multiplied to 128 bits and folded (high half xor low half); the hash of a
//! sequence is the sum. So the hash of every stage prefix lies on the way to the hash of the whole, which is why this
//! is not a [`core::hash::Hasher`], and a processor works on all words at once: with one state that every word goes
//! through, a lookup waits for a chain of multiplications.
//!
//! The seed keeps someone who chooses the keys, but not the seed, from computing colliding keys in advance. It is
//! no cryptographic promise: nothing is proven. What was tried is the weakness of sums, that a difference in two words
//! cancels: of 2^15 salts, no two move a term by the same amount, for each flip of one or two bits.

/// A seeded hash over a sequence of words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WordHash {
    seed: u64,
}

/// An odd multiplier without visible structure (Steele and Vigna, "Computationally easy, spectrally good
/// multipliers").
const MULTIPLIER: u64 = 0xd134_2543_de82_ef95;

impl WordHash {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// What the word at a position is salted with: SplitMix64, so that nearby seeds and positions are not near.
    pub(crate) const fn salt(self, position: usize) -> u64 {
        let z = self.seed.wrapping_add((position as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// What a salted word adds to the hash.
    #[inline(always)]
    pub(crate) const fn fold(salted: u64) -> u64 {
        let product = salted as u128 * MULTIPLIER as u128;
        product as u64 ^ (product >> 64) as u64
    }

    /// The hash of a sequence of words: what those of masks and their values are.
    #[cfg(test)]
    pub(crate) fn words(self, words: impl IntoIterator<Item = u64>) -> u64 {
        let terms = words.into_iter().enumerate().map(|(i, word)| Self::fold(word ^ self.salt(i)));
        terms.fold(0, u64::wrapping_add)
    }

    /// The 32 bits of a hash that tables keep.
    #[inline(always)]
    pub(crate) const fn short(hash: u64) -> u32 {
        (hash ^ hash >> 32) as u32
    }

    /// A short hash for [rows](crate::rows), which pick the bucket from the low bits and the tag from the top sixteen.
    #[inline(always)]
    pub(crate) const fn spread(short: u32) -> u64 {
        (short as u64) << 32 | short as u64
    }
}

#[cfg(test)]
mod tests {
    use super::WordHash;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    /// Keys as flows have them: a counter in some place of the word, nothing else.
    #[test]
    fn a_counter_anywhere_in_the_word_spreads_over_tags_and_buckets() {
        for seed in 0..4 {
            let hash = WordHash::new(seed);
            for shift in [0, 8, 16, 24, 32, 40, 48, 52] {
                for leading in 0..4 {
                    let words = |n: u64| (0..leading).map(|_| 0).chain([n << shift]);
                    let hashes: Vec<u64> =
                        (0..4096u64).map(|n| WordHash::spread(WordHash::short(hash.words(words(n))))).collect();
                    let tags: BTreeSet<u64> = hashes.iter().map(|h| h >> 57).collect();
                    let buckets: BTreeSet<u64> = hashes.iter().map(|h| h & 4095).collect();
                    assert_eq!(tags.len(), 128, "tags for a counter at bit {shift} after {leading} words");
                    // Balls into bins: 63% of the bins are expected to be hit.
                    assert!(buckets.len() > 2000, "{} buckets for a counter at bit {shift}", buckets.len());
                }
            }
        }
    }

    /// By how much a flip moves a word's term depends on the secret in all its bits, so that two words do not cancel one
    /// another: of the terms of many salts, no two move by the same amount, nor one as far up as another down.
    #[test]
    fn no_bits_flipped_in_two_words_cancel() {
        let flips =
            [1 << 63 | 1 << 31, 1 << 63, 1 << 31, 1, 1 << 32, 1 << 32 | 1, 0xffff_ffff, u64::MAX << 32, u64::MAX];
        for flip in flips {
            let moved = |seed| {
                let (salt, word) = (WordHash::new(seed).salt(0), 0x0a00_0001_0a00_0002);
                WordHash::fold(word ^ flip ^ salt).wrapping_sub(WordHash::fold(word ^ salt))
            };
            let moves: BTreeSet<u64> = (0..4096).map(moved).collect();
            assert_eq!(moves.len(), 4096, "{flip:#x} moves terms by few amounts");
            assert!(moves.iter().all(|by| !moves.contains(&by.wrapping_neg())), "{flip:#x} cancels");
        }
    }

    #[test]
    fn the_seed_and_the_order_of_the_words_change_the_hash() {
        assert_ne!(WordHash::new(1).words([1, 2]), WordHash::new(2).words([1, 2]));
        assert_ne!(WordHash::new(1).words([1, 2]), WordHash::new(1).words([2, 1]));
        assert_ne!(WordHash::new(1).words([]), WordHash::new(1).words([0]));
    }
}
