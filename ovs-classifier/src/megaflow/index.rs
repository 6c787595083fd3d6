//! From a hash to the megaflows that may have it: one cache line a probe.
//!
//! A bucket is a line of seven pairs of a whole 32-bit hash and a slot, found by the leading bits of the hash; what finds
//! its bucket full goes to the next one, and each bucket counts those that passed it by, so that a search knows where to
//! stop, also after removals. Since the pairs have the hash, the table grows without a look at what it refers to.
//!
//! A search has hardly a branch in the home of a hash: the eighth slot of a bucket says what it means that none of the seven
//! pairs has the hash.

use crate::simd::{Kernels, Portable};
use alloc::vec;
use alloc::vec::Vec;

/// No slot. An arena has none with this number.
pub(super) const NIL: u32 = u32::MAX;

/// In place of a slot: the home of a hash does not tell whether there is one. An arena has none with this number either.
const UNTOLD: u32 = NIL - 1;

/// Pairs of a bucket.
const PAIRS: usize = 7;

/// How many of a bucket's pairs are taken, in the mean, when the table grows. A small table is in the processor's caches
/// however sparse it is, and what finds its bucket full costs a branch that no processor guesses.
const fn full(buckets: usize) -> usize {
    if buckets <= 2048 { 3 } else { 5 }
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    /// The hashes; last, how many pairs that belong here or before are further on.
    hashes: [u32; PAIRS + 1],
    /// The slots, [`UNTOLD`] where a pair is free; last, [`UNTOLD`] or [`NIL`]: whether some have passed by or none.
    slots: [u32; PAIRS + 1],
}

const EMPTY: Bucket = {
    let mut slots = [UNTOLD; PAIRS + 1];
    slots[PAIRS] = NIL;
    Bucket { hashes: [0; PAIRS + 1], slots }
};

#[derive(Clone, Debug)]
pub(super) struct Index {
    /// A power of two of them.
    buckets: Vec<Bucket>,
    len: usize,
}

impl Bucket {
    /// The pairs with a hash, as bits; pairs that are free may be among them.
    #[inline(always)]
    fn with(&self, kernels: impl Kernels, hash: u32) -> u32 {
        kernels.equal(&self.hashes, hash) & ((1 << PAIRS) - 1)
    }

    /// The slot of the first pair with a hash; if there is none, what that means. A free pair may look alike.
    #[inline(always)]
    fn guess(&self, kernels: impl Kernels, hash: u32) -> u32 {
        self.slots[(kernels.equal(&self.hashes, hash) | 1 << PAIRS).trailing_zeros() as usize]
    }

    fn passed_by(&self) -> u32 {
        self.hashes[PAIRS]
    }

    fn set_passed_by(&mut self, many: u32) {
        self.hashes[PAIRS] = many;
        self.slots[PAIRS] = if many == 0 { NIL } else { UNTOLD };
    }

    fn free(&self) -> Option<usize> {
        self.slots.iter().take(PAIRS).position(|slot| *slot == UNTOLD)
    }

    fn set(&mut self, pair: usize, hash: u32, slot: u32) {
        if let (Some(h), Some(s)) = (self.hashes.get_mut(pair), self.slots.get_mut(pair)) {
            (*h, *s) = (hash, slot);
        }
    }
}

impl Index {
    pub(super) fn new() -> Self {
        Self::for_pairs(0)
    }

    fn for_pairs(pairs: usize) -> Self {
        let mut buckets = 1;
        while buckets * full(buckets) < pairs {
            buckets *= 2;
        }
        Self { buckets: vec![EMPTY; buckets], len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }

    /// Finds the [home](Self::home) of each hash: the number of a bucket.
    #[inline(always)]
    pub(super) fn homes(&self, hashes: &[u32], homes: &mut [u32]) {
        for (hash, home) in hashes.iter().zip(homes) {
            *home = self.home(*hash) as u32;
        }
    }

    /// Asks for a bucket, ahead of its use.
    #[inline(always)]
    pub(super) fn prefetch(&self, home: u32) {
        if let Some(bucket) = self.buckets.get(home as usize) {
            crate::simd::prefetch(bucket);
        }
    }

    /// Replaces the home of each hash by what it tells: the first slot there with the hash, [`NIL`] if there is no slot
    /// with it anywhere, or another number that is no slot: then [all](Self::all) have to be looked for.
    #[inline(always)]
    pub(super) fn guess_all(&self, kernels: impl Kernels, hashes: &[u32], slots: &mut [u32]) {
        let buckets = self.buckets.as_slice();
        for (hash, slot) in hashes.iter().zip(slots) {
            *slot = buckets.get(*slot as usize).map_or(UNTOLD, |bucket| bucket.guess(kernels, *hash));
        }
    }

    /// All slots with a hash.
    #[inline]
    pub(super) fn all(&self, hash: u32) -> impl Iterator<Item = u32> + '_ {
        let (mut at, mut left) = (self.home(hash), self.buckets.len());
        let mut pairs = self.buckets.get(at).map_or(0, |bucket| bucket.with(Portable, hash));
        core::iter::from_fn(move || {
            loop {
                let bucket = self.buckets.get(at)?;
                if pairs != 0 {
                    let slot = bucket.slots[(pairs.trailing_zeros() & 7) as usize];
                    pairs &= pairs - 1;
                    if slot != UNTOLD {
                        return Some(slot);
                    }
                } else {
                    left -= 1;
                    if bucket.passed_by() == 0 || left == 0 {
                        left = 1;
                        return None;
                    }
                    at = self.next(at);
                    pairs = self.buckets.get(at)?.with(Portable, hash);
                }
            }
        })
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.buckets.len() - 1)
    }

    /// All pairs of a hash and a slot, in no particular order.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let pairs = self.buckets.iter().flat_map(|bucket| bucket.hashes.into_iter().zip(bucket.slots).take(PAIRS));
        pairs.filter(|(_, slot)| *slot != UNTOLD)
    }

    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        if self.len >= self.buckets.len() * full(self.buckets.len()) {
            let mut larger = Self::for_pairs(2 * self.len);
            self.pairs().for_each(|(hash, slot)| larger.place(hash, slot));
            *self = larger;
        }
        self.place(hash, slot);
    }

    /// Adds a pair, for which there is room somewhere.
    fn place(&mut self, hash: u32, slot: u32) {
        let mut at = self.home(hash);
        while let Some(bucket) = self.buckets.get_mut(at) {
            match bucket.free() {
                Some(pair) => {
                    bucket.set(pair, hash, slot);
                    break;
                }
                None => bucket.set_passed_by(bucket.passed_by() + 1),
            }
            at = self.next(at);
        }
        self.len += 1;
    }

    /// Removes a pair; false if it is not there.
    pub(super) fn remove(&mut self, hash: u32, slot: u32) -> bool {
        if !self.all(hash).any(|found| found == slot) {
            return false;
        }
        let mut at = self.home(hash);
        while let Some(bucket) = self.buckets.get_mut(at) {
            let pairs = bucket.hashes.iter().zip(&bucket.slots).take(PAIRS);
            if let Some(pair) = pairs.into_iter().position(|(h, s)| (*h, *s) == (hash, slot)) {
                bucket.set(pair, 0, UNTOLD);
                break;
            }
            bucket.set_passed_by(bucket.passed_by() - 1);
            at = self.next(at);
        }
        self.len -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        /// Few hashes, so that buckets run over; the ends of the range, so that they run over the end.
        #[test]
        fn an_index_is_a_set_of_pairs(ops in prop::collection::vec((any::<bool>(), 0..12u32, 0..40u32), 0..300)) {
            let (mut index, mut model) = (Index::new(), BTreeSet::new());
            for (insert, hash, slot) in ops {
                let hash = hash.wrapping_sub(6).wrapping_mul(0x0800_0001);
                if !insert {
                    prop_assert_eq!(index.remove(hash, slot), model.remove(&(hash, slot)));
                } else if model.insert((hash, slot)) {
                    index.insert(hash, slot);
                }
                prop_assert_eq!(index.len(), model.len());
                let found: BTreeSet<_> = index.all(hash).map(|slot| (hash, slot)).collect();
                let expected: BTreeSet<_> = model.iter().copied().filter(|pair| pair.0 == hash).collect();
                let mut guess = [0];
                index.homes(&[hash], &mut guess);
                index.guess_all(Portable, &[hash], &mut guess);
                let is_right = match guess {
                    [NIL] => expected.is_empty(),
                    [UNTOLD] => true,
                    [slot] => expected.contains(&(hash, slot)),
                };
                prop_assert!(is_right, "{:?}", guess);
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(index.pairs().collect::<BTreeSet<_>>(), model.clone());
            for (hash, slot) in model {
                prop_assert!(index.remove(hash, slot));
            }
            prop_assert!(index.buckets.iter().all(|bucket| bucket.passed_by() == 0));
        }
    }

    #[test]
    fn a_bucket_is_a_line() {
        assert_eq!(size_of::<Bucket>(), 64);
    }
}
