//! Keys by the block of eight words: how megaflows are masked, hashed and compared.
//!
//! A rule of an OpenFlow table fixes a few words of a key and is looked up once per decision; a megaflow fixes most of
//! one block and is looked up by every packet. So its mask and values are stored as whole blocks, zeros and all: what is
//! done to a block has no branch and no indexes, and is a handful of vector instructions on the
//! [levels](crate::simd) that have them.
//!
//! The hash is [NH](Kernels::sum); its upper half is folded into the lower, which loses nothing, and of the product with a
//! secret odd number the upper half is kept. If all secrets were drawn independently and uniformly, then for any two keys
//! that differ under the mask
//! - NH is the same with a probability of at most 2^-32 (Black and others, "UMAC: fast and secure message authentication",
//!   on NH with words of 32 bits);
//! - and where it is not, the leading `n` bits of what is kept are the same with at most 2^(1-n) (Dietzfelbinger and others,
//!   "A reliable randomized algorithm for the closest-pair problem").
//!
//! So keys chosen without knowledge of the secrets share all 32 bits with at most 3 * 2^-32 a pair. In truth the secrets are
//! drawn from a seed of 64 bits by a generator that is no cryptographic one, and nothing is promised against someone who
//! learns from answers, or from how long they take, which keys collide.

use crate::hash::WordHash;
use crate::pattern::Pattern;
use crate::simd::{Kernels, Portable};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Words of a block.
const LANES: usize = 8;

/// Eight words, a cache line.
#[derive(Clone, Copy, Debug, Default, Eq)]
#[repr(align(64))]
pub(super) struct Block([u64; LANES]);

/// All words at once, not byte by byte until two differ: most blocks that are compared are equal.
impl PartialEq for Block {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

/// The bits that a megaflow fixes, by block. There is a first block always, even if it has no bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockMask {
    at: usize,
    first: Block,
    rest: Box<[(usize, Block)]>,
}

/// The secret numbers of the hash.
#[derive(Clone, Debug)]
pub(super) struct Secrets {
    /// What is added to the words, by block.
    added: Box<[Block]>,
    /// What a sum is multiplied by; odd.
    factor: u64,
}

/// A mask of one block, which every key has whole, as nearly all are, with the secrets of the block: what is done with it
/// has no branch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lone {
    at: usize,
    bits: Block,
    added: Block,
    factor: u64,
}

impl Block {
    /// A block of a key; zeros where the key ends.
    #[inline(always)]
    pub(super) fn of<const W: usize>(key: &[u64; W], at: usize) -> Self {
        let (blocks, rest) = key.as_chunks::<LANES>();
        match blocks.get(at) {
            Some(block) => Self(*block),
            None if at == blocks.len() => Self::from_slice(rest),
            None => Self::default(),
        }
    }

    /// As many words as there are, then zeros.
    #[inline]
    pub(super) fn from_slice(words: &[u64]) -> Self {
        let mut block = Self::default();
        block.0.iter_mut().zip(words).for_each(|(to, word)| *to = *word);
        block
    }

    /// The bits that both have.
    #[inline(always)]
    pub(super) fn and(self, other: &Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    #[inline(always)]
    fn or(self, other: &Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// How many words are not zero.
    fn used_words(&self) -> usize {
        self.0.iter().filter(|word| **word != 0).count()
    }

    fn count_ones(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

impl Secrets {
    pub(super) fn new<const W: usize>(hash: WordHash) -> Self {
        let blocks = W.div_ceil(LANES);
        let block = |at: usize| Block(core::array::from_fn(|i| hash.salt(at * LANES + i)));
        Self { added: (0..blocks).map(block).collect(), factor: hash.salt(blocks * LANES) | 1 }
    }

    #[inline(always)]
    fn of(&self, at: usize) -> Block {
        match self.added.get(at) {
            Some(block) => *block,
            None => Block::default(),
        }
    }

    /// What tables keep of a sum. Folded, since sums of keys that count up lie at even distances, and a product alone would
    /// keep them so: they may miss most buckets.
    #[inline(always)]
    const fn short(factor: u64, sum: u64) -> u32 {
        ((sum ^ sum >> 32).wrapping_mul(factor) >> 32) as u32
    }
}

impl Lone {
    /// The hash of a key under the mask.
    #[inline(always)]
    pub(super) fn hash<const W: usize>(&self, kernels: impl Kernels, key: &[u64; W]) -> u32 {
        Secrets::short(self.factor, kernels.sum(&Block::of(key, self.at).0, &self.bits.0, &self.added.0))
    }

    /// The hashes of keys under the mask.
    #[inline(always)]
    pub(super) fn hash_all<const W: usize>(&self, kernels: impl Kernels, keys: &[&[u64; W]], hashes: &mut [u32]) {
        let ((eights, keys), (places, hashes)) = (keys.as_chunks::<8>(), hashes.as_chunks_mut::<8>());
        for (keys, hashes) in eights.iter().zip(places.iter_mut()) {
            let words = keys.map(|key| key.as_chunks().0.get(self.at).unwrap_or(&[0; LANES]));
            *hashes = kernels.sums(words, &self.bits.0, &self.added.0).map(|sum| Secrets::short(self.factor, sum));
        }
        let places = places.iter_mut().skip(eights.len()).flatten();
        for (key, hash) in keys.iter().zip(places.chain(hashes)) {
            *hash = self.hash(kernels, key);
        }
    }

    /// Whether a key has these values under the mask.
    #[inline(always)]
    pub(super) fn matches<const W: usize>(&self, kernels: impl Kernels, key: &[u64; W], values: &Block) -> bool {
        kernels.has(&Block::of(key, self.at).0, &self.bits.0, &values.0)
    }
}

impl BlockMask {
    pub(super) fn new<const W: usize>(mask: &[u64; W]) -> Self {
        Self::from_blocks((0..W.div_ceil(LANES)).map(|at| (at, Block::of(mask, at))))
    }

    fn from_blocks(blocks: impl Iterator<Item = (usize, Block)>) -> Self {
        let mut blocks = blocks.filter(|(_, bits)| !bits.is_zero());
        let (at, first) = blocks.next().unwrap_or_default();
        Self { at, first, rest: blocks.collect() }
    }

    /// Which block of a key is the first of the mask.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The bits in the first block.
    #[inline(always)]
    pub(super) fn first(&self) -> &Block {
        &self.first
    }

    /// The other blocks that have bits, with their places in a key.
    #[inline(always)]
    pub(super) fn rest(&self) -> &[(usize, Block)] {
        &self.rest
    }

    /// All blocks, with their places.
    fn blocks(&self) -> impl Iterator<Item = (usize, Block)> {
        core::iter::once((self.at, self.first)).chain(self.rest.iter().copied())
    }

    fn block(&self, at: usize) -> Block {
        self.blocks().find(|(place, _)| *place == at).map_or(Block::default(), |(_, bits)| bits)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.rest)
    }

    /// Whether this is a pattern's mask.
    pub(super) fn is_of<const W: usize>(&self, pattern: &Pattern<W>) -> bool {
        let is_same = self.blocks().all(|(at, bits)| bits == Block::of(pattern.mask(), at));
        is_same && self.blocks().map(|(_, bits)| bits.used_words()).sum::<usize>() == pattern.used_words()
    }

    /// How many bits the mask has.
    pub(super) fn len(&self) -> u32 {
        self.blocks().map(|(_, bits)| bits.count_ones()).sum()
    }

    /// Whether every bit of this mask is in `other`.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.blocks().all(|(at, bits)| bits.and(&other.block(at)) == bits)
    }

    /// The bits that both masks have.
    pub(super) fn common(&self, other: &Self) -> Self {
        Self::from_blocks(self.blocks().map(|(at, bits)| (at, bits.and(&other.block(at)))))
    }

    /// The bits that either mask has.
    pub(super) fn union(&self, other: &Self) -> Self {
        let end = self.blocks().chain(other.blocks()).map(|(at, _)| at + 1).max().unwrap_or(0);
        Self::from_blocks((0..end).map(|at| (at, self.block(at).or(&other.block(at)))))
    }

    /// The mask in full width.
    pub(super) fn expand<const W: usize>(&self) -> [u64; W] {
        scatter(self.blocks())
    }

    /// The key that has these values in the blocks of the mask, one after the other, and is zero elsewhere.
    pub(super) fn scatter<const W: usize>(&self, first: &Block, rest: &[u64]) -> [u64; W] {
        let rest = self.rest.iter().zip(rest.chunks(LANES)).map(|((at, _), words)| (*at, Block::from_slice(words)));
        scatter(core::iter::once((self.at, *first)).chain(rest))
    }

    /// The masked words of a key in all blocks but the first: what [`matches`](Self::matches) wants as `rest`.
    pub(super) fn gather_rest<const W: usize>(&self, key: &[u64; W]) -> Vec<u64> {
        self.rest.iter().flat_map(|(at, bits)| Block::of(key, *at).and(bits).0).collect()
    }

    /// Whether a key has these values under the mask.
    #[inline(always)]
    pub(super) fn matches<const W: usize>(&self, key: &[u64; W], first: &Block, rest: &[u64]) -> bool {
        self.matches_first(Portable, key, first) && self.matches_rest(key, rest)
    }

    /// Whether a key has these values under the first block of the mask.
    #[inline(always)]
    pub(super) fn matches_first<const W: usize>(&self, kernels: impl Kernels, key: &[u64; W], first: &Block) -> bool {
        kernels.has(&Block::of(key, self.at).0, &self.first.0, &first.0)
    }

    /// Whether a key has these values under the other blocks of the mask.
    #[inline(always)]
    pub(super) fn matches_rest<const W: usize>(&self, key: &[u64; W], rest: &[u64]) -> bool {
        for ((at, bits), values) in self.rest.iter().zip(rest.as_chunks::<LANES>().0) {
            if !Portable.has(&Block::of(key, *at).0, &bits.0, values) {
                return false;
            }
        }
        true
    }

    /// This mask, if it is one block.
    #[inline(always)]
    pub(super) fn lone<const W: usize>(&self, secrets: &Secrets) -> Option<Lone> {
        let is_lone = self.rest.is_empty() && self.at < W / LANES;
        is_lone.then(|| Lone { at: self.at, bits: self.first, added: secrets.of(self.at), factor: secrets.factor })
    }

    /// The hash of a key under the mask.
    #[inline(always)]
    pub(super) fn hash<const W: usize>(&self, kernels: impl Kernels, secrets: &Secrets, key: &[u64; W]) -> u32 {
        let mut sum = kernels.sum(&Block::of(key, self.at).0, &self.first.0, &secrets.of(self.at).0);
        for (at, bits) in &self.rest {
            sum = sum.wrapping_add(kernels.sum(&Block::of(key, *at).0, &bits.0, &secrets.of(*at).0));
        }
        Secrets::short(secrets.factor, sum)
    }

    /// The hashes of keys under the mask.
    #[inline(always)]
    pub(super) fn hash_all<const W: usize>(
        &self,
        kernels: impl Kernels,
        secrets: &Secrets,
        keys: &[&[u64; W]],
        hashes: &mut [u32],
    ) {
        if let Some(lone) = self.lone::<W>(secrets) {
            lone.hash_all(kernels, keys, hashes);
        } else {
            for (key, hash) in keys.iter().zip(hashes) {
                *hash = self.hash(kernels, secrets, key);
            }
        }
    }
}

fn scatter<const W: usize>(blocks: impl Iterator<Item = (usize, Block)>) -> [u64; W] {
    let mut key = [0; W];
    for (at, block) in blocks {
        key.iter_mut().skip(at * LANES).zip(block.0).for_each(|(to, word)| *to = word);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Job, Level};
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    const W: usize = 20;

    struct Both<'a>(&'a BlockMask, &'a Secrets, &'a [u64; W], &'a [u64; W]);

    impl Job for Both<'_> {
        type Output = (u32, bool);

        #[inline(always)]
        fn run<K: Kernels>(self, kernels: K) -> Self::Output {
            let Self(mask, secrets, key, other) = self;
            let first = Block::of(other, mask.at).and(&mask.first);
            let mut hashes = [0; 21];
            let keys: [_; 19] = core::array::from_fn(|i| if i % 3 == 0 { other } else { key });
            mask.hash_all(kernels, secrets, &keys, &mut hashes);
            let expected = |i: usize| keys.get(i).map_or(0, |key| mask.hash(kernels, secrets, key));
            assert_eq!(hashes, core::array::from_fn(expected));
            if let Some(lone) = mask.lone::<W>(secrets) {
                assert_eq!(hashes[1], lone.hash(kernels, key));
                assert_eq!(lone.matches(kernels, key, &first), mask.matches(key, &first, &[]));
            }
            let same = mask.matches_first(kernels, key, &first) && mask.matches_rest(key, &mask.gather_rest(other));
            assert_eq!(same, mask.matches(key, &first, &mask.gather_rest(other)));
            (hashes[1], same)
        }
    }

    fn word() -> impl Strategy<Value = u64> {
        prop_oneof![4 => Just(0), 1 => any::<u64>(), 1 => Just(u64::MAX), 1 => 0..4u64]
    }

    fn words() -> impl Strategy<Value = [u64; W]> {
        prop::collection::vec(word(), W).prop_map(|words| core::array::from_fn(|i| words[i]))
    }

    fn and(a: &[u64; W], b: &[u64; W]) -> [u64; W] {
        core::array::from_fn(|i| a[i] & b[i])
    }

    proptest! {
        #[test]
        fn blocks_answer_as_words_do(a in words(), b in words(), key in words(), flip in 0..W * 64, seed: u64) {
            let (mask, other) = (BlockMask::new(&a), BlockMask::new(&b));
            let secrets = Secrets::new::<W>(WordHash::new(seed));
            prop_assert_eq!(mask.expand::<W>(), a);
            prop_assert_eq!(mask.len(), a.iter().map(|word| word.count_ones()).sum::<u32>());
            prop_assert_eq!(mask.common(&other).expand::<W>(), and(&a, &b));
            prop_assert_eq!(mask.union(&other).expand::<W>(), core::array::from_fn(|i| a[i] | b[i]));
            prop_assert_eq!(mask.is_within(&other), and(&a, &b) == a);
            let mut flipped = a;
            flipped[flip / 64] ^= 1 << (flip % 64);
            let is_of = |mask: &BlockMask, bits| mask.is_of(&Pattern::new(key, bits));
            prop_assert_eq!((is_of(&mask, a), is_of(&mask, b), is_of(&mask, flipped)), (true, a == b, false));
            let first = Block::of(&key, mask.at()).and(mask.first());
            prop_assert_eq!(mask.scatter::<W>(&first, &mask.gather_rest(&key)), and(&key, &a));

            let mut near = key;
            near[flip / 64] ^= 1 << (flip % 64);
            let same = and(&key, &a) == and(&near, &a);
            for level in Level::all() {
                let (hash, matches) = level.run(Both(&mask, &secrets, &near, &key));
                prop_assert_eq!(matches, same);
                prop_assert_eq!(hash, mask.hash(Portable, &secrets, &near));
                prop_assert_eq!(hash == mask.hash(Portable, &secrets, &key), same, "bits that matter move the hash");
            }
        }
    }

    /// Of two words, the same bits are flipped: what a hash that folds a word before it multiplies, or only multiplies,
    /// moves by the same amount and cancels.
    #[test]
    fn no_bits_flipped_in_two_words_cancel_under_all_seeds() {
        let mask = BlockMask::new(&[u64::MAX; 8]);
        let flips =
            [1 << 63 | 1 << 31, 1 << 63, 1 << 31, 1, 1 << 32, 1 << 32 | 1, 0xffff_ffff, u64::MAX << 32, u64::MAX];
        for seed in if cfg!(miri) { 0..2 } else { 0..512 } {
            let secrets = Secrets::new::<8>(WordHash::new(seed));
            for key in [[0; 8], [u64::MAX; 8], [0x0a00_0001_0a00_0002; 8]] {
                for flip in flips {
                    let mut other = key;
                    (other[2], other[5]) = (key[2] ^ flip, key[5] ^ flip);
                    let hashes = [key, other].map(|key| mask.hash(Portable, &secrets, &key));
                    assert_ne!(hashes[0], hashes[1], "{flip:#x} in two words of {key:x?} under seed {seed}");
                }
            }
        }
    }

    #[test]
    fn counters_anywhere_in_a_word_spread_over_the_leading_bits() {
        let mask = BlockMask::new(&[u64::MAX; 8]);
        // Under Miri one case takes seconds, and there is nothing unsafe.
        for seed in if cfg!(miri) { 0..0 } else { 0..4 } {
            let secrets = Secrets::new::<8>(WordHash::new(seed));
            for shift in [0, 8, 16, 24, 32, 40, 48, 52] {
                for (a, b) in [(0, 1), (2, 7), (5, 6)] {
                    // A counter in one word, and in two words at once, which must not cancel one another.
                    let keys = (0..4096u64).map(|n| {
                        let mut key = [0; 8];
                        (key[a], key[b]) = ((n & 63) << shift, (n >> 6) << shift);
                        key
                    });
                    let buckets: BTreeSet<u32> = keys.map(|key| mask.hash(Portable, &secrets, &key) >> 20).collect();
                    assert!(buckets.len() > 1600, "{} buckets of 4096 for counters at bit {shift}", buckets.len());
                }
            }
        }
    }
}
