//! The hash of masked words: one `u64` of state, one multiplication per word.
//!
//! The state *is* the hash of the words mixed so far. That is why this is not a [`core::hash::Hasher`]: staged
//! lookup needs the hash of every stage prefix on the way to the hash of the whole, and a batch keeps one plain
//! `u64` for each of its keys.
//!
//! `hashbrown` picks the bucket from the low bits and the tag from the top seven bits of a hash. The 128-bit
//! product of state and multiplier is folded (high half xor low half), which carries every input bit both ways.
//!
//! The seed keeps someone who chooses the keys, but not the seed, from computing colliding keys in advance. It is
//! no cryptographic promise.

/// A seeded hash over a sequence of words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WordHash {
    start: u64,
}

/// An odd multiplier without visible structure (Steele and Vigna, "Computationally easy, spectrally good
/// multipliers").
const MULTIPLIER: u64 = 0xd134_2543_de82_ef95;

impl WordHash {
    pub(crate) const fn new(seed: u64) -> Self {
        // SplitMix64's finaliser: nearby seeds must not give nearby states.
        let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self { start: z ^ (z >> 31) }
    }

    /// The hash of no word.
    #[inline]
    pub(crate) const fn start(self) -> u64 {
        self.start
    }

    /// The hash of the words already in `state`, followed by `word`.
    #[inline]
    pub(crate) const fn mix(state: u64, word: u64) -> u64 {
        let product = (state ^ word) as u128 * MULTIPLIER as u128;
        product as u64 ^ (product >> 64) as u64
    }

    /// The hash of a sequence of words.
    pub(crate) fn words(self, words: &[u64]) -> u64 {
        words.iter().fold(self.start, |state, &word| Self::mix(state, word))
    }
}

#[cfg(test)]
mod tests {
    use super::WordHash;
    use alloc::collections::BTreeSet;

    /// Keys as flows have them: a counter in some place of the word, nothing else.
    #[test]
    fn a_counter_anywhere_in_the_word_spreads_over_tags_and_buckets() {
        let hash = WordHash::new(0);
        for shift in [0, 8, 16, 24, 32, 40, 48, 52] {
            for leading in 0..4 {
                let hashes: alloc::vec::Vec<u64> = (0..4096u64)
                    .map(|n| {
                        let state = (0..leading).fold(hash.start(), |state, _| WordHash::mix(state, 0));
                        WordHash::mix(state, n << shift)
                    })
                    .collect();
                let tags: BTreeSet<u64> = hashes.iter().map(|h| h >> 57).collect();
                let buckets: BTreeSet<u64> = hashes.iter().map(|h| h & 4095).collect();
                assert_eq!(tags.len(), 128, "tags for a counter at bit {shift} after {leading} words");
                // Balls into bins: 63% of the bins are expected to be hit.
                assert!(buckets.len() > 2000, "{} buckets for a counter at bit {shift}", buckets.len());
            }
        }
    }

    #[test]
    fn the_seed_and_the_order_of_the_words_change_the_hash() {
        assert_ne!(WordHash::new(1).words(&[1, 2]), WordHash::new(2).words(&[1, 2]));
        assert_ne!(WordHash::new(1).words(&[1, 2]), WordHash::new(1).words(&[2, 1]));
        assert_ne!(WordHash::new(1).words(&[]), WordHash::new(1).words(&[0]));
    }
}
