//! From the hash of a key to the number of what has it.
//!
//! An open-addressed table of numbers, in parts by bits of the hash. A part grows on its own, and is small enough to do
//! so within the processor's caches: to grow costs a new connection little, and none ever waits for a table of millions
//! to be moved. Each number has a part of its hash beside it, so that keys are not looked at for that.

use alloc::boxed::Box;

use hashbrown::HashTable;

/// Parts of the index of a tracker with one shard; those of several divide them.
const PARTS: usize = 256;

/// A number, and a part of the hash of its key.
#[derive(Clone, Copy)]
struct Number {
    hash: u32,
    id: u32,
}

/// The hash that a part sees. It takes tags from the top and buckets from the bottom, so that 32 bits are spread.
#[inline]
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// See the [module](self).
pub(crate) struct Index {
    first: HashTable<Number>,
    others: Box<[HashTable<Number>]>,
}

impl Index {
    /// An empty index, of a tracker with as many shards.
    pub(crate) fn new(shards: usize) -> Self {
        let others = (PARTS / shards.max(1)).saturating_sub(1);
        Index { first: HashTable::new(), others: (0..others).map(|_| HashTable::new()).collect() }
    }

    /// Bytes of memory that are held.
    pub(crate) fn memory(&self) -> usize {
        self.first.allocation_size() + self.others.iter().map(HashTable::allocation_size).sum::<usize>()
    }

    /// Which part: by bits that choose no shard, and no place within a part.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        ((hash >> 48) as usize * (self.others.len() + 1)) >> 16
    }

    #[inline]
    fn part(&self, hash: u64) -> &HashTable<Number> {
        self.place(hash).checked_sub(1).and_then(|n| self.others.get(n)).unwrap_or(&self.first)
    }

    fn part_mut(&mut self, hash: u64) -> &mut HashTable<Number> {
        let place = self.place(hash);
        place.checked_sub(1).and_then(|n| self.others.get_mut(n)).unwrap_or(&mut self.first)
    }

    /// The number under this hash that is the right one.
    #[inline]
    pub(crate) fn find(&self, hash: u64, right: impl Fn(u32) -> bool) -> Option<u32> {
        let low = hash as u32;
        self.part(hash).find(spread(low), |n| n.hash == low && right(n.id)).map(|n| n.id)
    }

    /// Adds a number. It may have the hash of others.
    pub(crate) fn insert(&mut self, hash: u64, id: u32) {
        let number = Number { hash: hash as u32, id };
        self.part_mut(hash).insert_unique(spread(number.hash), number, |n| spread(n.hash));
    }

    /// Removes the number under this hash that is the right one.
    pub(crate) fn remove(&mut self, hash: u64, right: impl Fn(u32) -> bool) -> Option<u32> {
        let found = self.part_mut(hash).find_entry(spread(hash as u32), |n| right(n.id)).ok()?;
        Some(found.remove().0.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_hash_in_any_number_of_parts() {
        for shards in [0, 1, 7, 256, 4096] {
            let mut index = Index::new(shards);
            let hash = |id: u32| (u64::from(id) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (0..5000).for_each(|id| index.insert(hash(id), id));
            // Two under one hash.
            index.insert(hash(7), 9999);
            assert_eq!(index.remove(hash(3), |id| id == 3), Some(3));
            for id in 0..5000 {
                assert_eq!(index.find(hash(id), |n| n == id), (id != 3).then_some(id));
            }
            assert_eq!(index.find(hash(7), |n| n == 9999), Some(9999));
            assert_eq!((index.remove(hash(7), |_| false), index.find(hash(6000), |_| true)), (None, None));
            assert!(index.memory() >= 5000 * 8);
        }
    }
}
