//! From the hash of a key to the number of what has it.
//!
//! Numbers are kept in buckets of a cache line, each with 32 bits of its key's hash beside it: to find one reads that
//! line, and hardly ever the key of another. A bucket that is full passes numbers on to the next, and counts them, so
//! that a search goes on only where something was passed.
//!
//! The buckets are in parts by bits of the hash. A part grows on its own, and is small enough to do so within the
//! processor's caches: growing costs a new connection little, and none ever waits for a table of millions to be moved.
//! Since the hash is there, growing looks at no key.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Parts of the index of a tracker with one shard; those of several divide them.
const PARTS: usize = 256;

/// Numbers in a bucket.
const ROOM: usize = 7;

/// A cache line of numbers.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    /// The hash of each number, in its place. What is in the last place is [`Self::passed`].
    hashes: [u32; ROOM + 1],
    ids: [u32; ROOM],
    /// Which places are taken, from bit 0.
    taken: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    const EMPTY: Bucket = Bucket { hashes: [0; ROOM + 1], ids: [0; ROOM], taken: 0 };

    /// The places that have this hash.
    #[inline(always)]
    fn places(&self, hash: u32) -> u32 {
        let of = |(i, h): (usize, &u32)| if *h == hash { 1 << i } else { 0 };
        self.hashes.iter().enumerate().map(of).fold(0u32, |all, place| all | place) & self.taken
    }

    /// How many numbers found no room here, or further on.
    #[inline(always)]
    fn passed(&mut self) -> &mut u32 {
        let [.., passed] = &mut self.hashes;
        passed
    }

    #[inline(always)]
    const fn passes(&self) -> bool {
        let [.., passed] = &self.hashes;
        *passed != 0
    }
}

/// Buckets that grow together: none, or a power of two.
#[derive(Default)]
struct Part {
    buckets: Vec<Bucket>,
    count: usize,
}

impl Part {
    /// The number under this hash that is the right one: its bucket, its place, and itself.
    #[inline(always)]
    fn find(&self, hash: u32, mut right: impl FnMut(u32) -> bool) -> Option<(usize, u32, u32)> {
        let mask = self.buckets.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        for _ in 0..self.buckets.len() {
            let bucket = self.buckets.get(at)?;
            let mut places = bucket.places(hash);
            while places != 0 {
                let place = places.trailing_zeros();
                places &= places - 1;
                if let Some(id) = bucket.ids.get(place as usize).filter(|id| right(**id)) {
                    return Some((at, place, *id));
                }
            }
            if !bucket.passes() {
                return None;
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn insert(&mut self, hash: u32, id: u32) {
        // Three quarters full at most, so that there is room, and nearly always in the first bucket.
        if self.count * 4 >= self.buckets.len() * ROOM * 3 {
            self.grow();
        }
        self.count += 1;
        self.put(hash, id);
    }

    fn put(&mut self, hash: u32, id: u32) {
        let mask = self.buckets.len().wrapping_sub(1);
        for i in 0..self.buckets.len() {
            let Some(bucket) = self.buckets.get_mut((hash as usize).wrapping_add(i) & mask) else { return };
            let place = bucket.taken.trailing_ones() as usize;
            if let (Some(to), Some(its)) = (bucket.ids.get_mut(place), bucket.hashes.get_mut(place)) {
                (*to, *its) = (id, hash);
                bucket.taken |= 1 << place;
                return;
            }
            *bucket.passed() += 1;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let buckets = (self.buckets.len() * 2).max(1);
        for old in core::mem::replace(&mut self.buckets, alloc::vec![Bucket::EMPTY; buckets]) {
            for (place, (hash, id)) in old.hashes.into_iter().zip(old.ids).enumerate() {
                if old.taken >> place & 1 != 0 {
                    self.put(hash, id);
                }
            }
        }
    }

    fn remove(&mut self, hash: u32, right: impl FnMut(u32) -> bool) -> Option<u32> {
        let (at, place, id) = self.find(hash, right)?;
        let mask = self.buckets.len().wrapping_sub(1);
        let mut before = hash as usize & mask;
        while before != at {
            *self.buckets.get_mut(before)?.passed() -= 1;
            before = (before + 1) & mask;
        }
        self.buckets.get_mut(at)?.taken &= !(1 << place);
        self.count -= 1;
        Some(id)
    }
}

/// See the [module](self). A power of two of parts.
pub(crate) struct Index(Box<[Part]>);

impl Index {
    /// An empty index, of one shard of as many.
    pub(crate) fn new(shards: usize) -> Self {
        let parts = 1 << (PARTS / shards.max(1)).max(1).ilog2();
        Index((0..parts).map(|_| Part::default()).collect())
    }

    /// Bytes of memory that are held.
    pub(crate) fn memory(&self) -> usize {
        self.0.iter().map(|part| part.buckets.capacity() * size_of::<Bucket>()).sum()
    }

    /// Which part: by bits that choose no shard, and are not among those beside the number.
    #[inline(always)]
    const fn place(&self, hash: u64) -> usize {
        (hash >> 48) as usize & (self.0.len() - 1)
    }

    /// Reads where a search begins, and gives something of it: of many searches, these reads do not wait for one another.
    #[inline(always)]
    pub(crate) fn first(&self, hash: u64) -> u32 {
        let part = self.0.get(self.place(hash));
        let bucket = part.and_then(|part| part.buckets.get(hash as usize & part.buckets.len().wrapping_sub(1)));
        bucket.map_or(0, |bucket| bucket.taken)
    }

    /// The number under this hash that is the right one.
    #[inline]
    pub(crate) fn find(&self, hash: u64, right: impl FnMut(u32) -> bool) -> Option<u32> {
        self.0.get(self.place(hash))?.find(hash as u32, right).map(|(.., id)| id)
    }

    /// Adds a number. It may have the hash of others.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, id: u32) {
        let place = self.place(hash);
        if let Some(part) = self.0.get_mut(place) {
            part.insert(hash as u32, id);
        }
    }

    /// Removes the number under this hash that is the right one.
    pub(crate) fn remove(&mut self, hash: u64, right: impl FnMut(u32) -> bool) -> Option<u32> {
        let place = self.place(hash);
        self.0.get_mut(place)?.remove(hash as u32, right)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_found_by_their_hash_in_any_number_of_parts() {
        for shards in [0, 1, 7, 256, 4096] {
            let mut index = Index::new(shards);
            let hash = |id: u32| (u64::from(id) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (0..5000).for_each(|id| index.insert(hash(id), id));
            for id in 0..5000 {
                assert_eq!(index.find(hash(id), |n| n == id), Some(id));
            }
            assert_eq!(index.find(hash(6000), |_| true), None);
            assert!(index.memory() >= 5000 * 8);
        }
    }

    proptest! {
        /// Few hashes, so that buckets run over and numbers are passed on: as a set of pairs does it.
        #[test]
        fn behaves_like_a_set_of_pairs(steps in proptest::collection::vec((any::<bool>(), 0u32..6, 0u32..40), 1..400)) {
            let (mut part, mut pairs) = (Part::default(), BTreeSet::new());
            for (insert, hash, id) in steps {
                // Neighbours, and others that share their bucket while there are few.
                let hash = [0, 1, 2, 8, 9, u32::MAX][hash as usize];
                if insert && pairs.insert((hash, id)) {
                    part.insert(hash, id);
                } else if !insert {
                    let removed = part.remove(hash, |n| n == id);
                    prop_assert_eq!(removed.is_some(), pairs.remove(&(hash, id)));
                }
                prop_assert_eq!(part.count, pairs.len());
                prop_assert_eq!(part.find(hash, |n| n == id).is_some(), pairs.contains(&(hash, id)));
            }
            for hash in [0, 1, 2, 8, 9, 10, u32::MAX] {
                for id in 0..40 {
                    prop_assert_eq!(part.find(hash, |n| n == id).is_some(), pairs.contains(&(hash, id)));
                }
            }
            // Nothing is left of what was passed.
            for (hash, id) in pairs {
                prop_assert_eq!(part.remove(hash, |n| n == id), Some(id));
            }
            prop_assert!(part.buckets.iter().all(|bucket| !bucket.passes() && bucket.taken == 0));
        }
    }
}
