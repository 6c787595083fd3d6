//! From a hash to the megaflows that may have it: one cache line a probe.
//!
//! A bucket is a line of seven pairs of a whole 32-bit hash and a slot, found by the leading bits of the hash; what finds
//! its bucket full goes to the next one, and each bucket counts those that passed it by, so that a search knows where to
//! stop, also after removals. Since the pairs have the hash, the table grows without a look at what it refers to.

use crate::simd::{Kernels, Portable};
use alloc::vec;
use alloc::vec::Vec;

/// No slot. An arena has none with this number.
pub(super) const NIL: u32 = u32::MAX;

/// Pairs of a bucket.
const PAIRS: usize = 7;

/// How many of a bucket's pairs are taken, in the mean, when the table grows.
const FULL: usize = 5;

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    hashes: [u32; PAIRS + 1],
    /// The slots; last, how many pairs that belong here or before are further on.
    slots: [u32; PAIRS + 1],
}

const EMPTY: Bucket = {
    let mut slots = [NIL; PAIRS + 1];
    slots[PAIRS] = 0;
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

    #[inline(always)]
    fn passed_by(&self) -> u32 {
        self.slots[PAIRS]
    }

    fn free(&self) -> Option<usize> {
        self.slots.iter().take(PAIRS).position(|slot| *slot == NIL)
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
        Self { buckets: vec![EMPTY; (pairs / FULL + 1).next_power_of_two()], len: 0 }
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

    /// Asks for the bucket of a hash, ahead of its use.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u32) {
        if let Some(bucket) = self.buckets.get(self.home(hash)) {
            crate::simd::prefetch(bucket);
        }
    }

    /// The first slot with a hash; [`NIL`] if there is none.
    #[inline(always)]
    pub(super) fn first(&self, kernels: impl Kernels, hash: u32) -> u32 {
        let Some(bucket) = self.buckets.get(self.home(hash)) else { return NIL };
        let pairs = bucket.with(kernels, hash);
        if pairs == 0 && bucket.passed_by() == 0 {
            return NIL;
        }
        match bucket.slots[(pairs.trailing_zeros() & 7) as usize] {
            slot if pairs != 0 && slot != NIL => slot,
            // In another bucket, or behind a free pair that looks alike.
            _ => self.first_further(hash),
        }
    }

    #[cold]
    fn first_further(&self, hash: u32) -> u32 {
        self.all(hash).next().unwrap_or(NIL)
    }

    /// The [first](Self::first) slots of hashes.
    #[inline(always)]
    pub(super) fn first_all(&self, kernels: impl Kernels, hashes: &[u32], slots: &mut [u32]) {
        for (hash, slot) in hashes.iter().zip(slots) {
            *slot = self.first(kernels, *hash);
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
                    if slot != NIL {
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
        pairs.filter(|(_, slot)| *slot != NIL)
    }

    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        if self.len >= self.buckets.len() * FULL {
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
                None => bucket.slots[PAIRS] += 1,
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
                bucket.set(pair, 0, NIL);
                break;
            }
            bucket.slots[PAIRS] -= 1;
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
                prop_assert_eq!(index.first(Portable, hash) == NIL, expected.is_empty());
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
