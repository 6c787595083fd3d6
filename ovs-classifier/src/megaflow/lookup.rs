//! Lookups that count: one key, a batch of keys, and the ranking that follows from the counts.

use super::MegaflowTable;
use crate::arena::Handle;

/// How many keys of a batch walk the masks together; longer batches are cut.
const BATCH: usize = 32;

impl<R, const W: usize> MegaflowTable<R, W> {
    /// The payload of the megaflow that matches a key; counts the lookup.
    pub fn lookup(&mut self, key: &[u64; W]) -> Option<&mut R> {
        let mut found = [None];
        self.lookup_batch(&[key], &mut found);
        let [handle] = found;
        self.get_mut(handle?)
    }

    /// Finds the megaflows that match a batch of keys, and returns how many keys found one.
    ///
    /// `found[i]` becomes the handle of the megaflow that matches `keys[i]`, or `None`. Handles rather than
    /// references, so that the caller can borrow the payloads mutably one after the other with
    /// [`get_mut`](Self::get_mut), also when two keys found the same megaflow.
    ///
    /// Batches of up to 32 keys walk the masks once. Where one slice is longer than the other, keys without a place
    /// in `found` are not looked up, and places without a key become `None`.
    pub fn lookup_batch(&mut self, keys: &[&[u64; W]], found: &mut [Option<Handle>]) -> usize {
        found.fill(None);
        let mut hits = 0;
        for (keys, found) in keys.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
            let keys = keys.get(..found.len()).unwrap_or(keys);
            hits += self.lookup_up_to_32(keys, found);
            self.lookups += keys.len() as u64;
        }
        self.hits += hits as u64;
        hits
    }

    /// `found` is all `None`, and at least as long as `keys`, of which there are at most [`BATCH`].
    fn lookup_up_to_32(&mut self, keys: &[&[u64; W]], found: &mut [Option<Handle>]) -> usize {
        let mut hashes = [0; BATCH];
        let mut open = keys.len();
        for &slot in &self.order {
            if open == 0 {
                break;
            }
            let Some(subtable) = self.subtables.get(slot) else { continue };
            self.probes += open as u64;
            // Two passes, so that no probe stands between two hashes and none waits for its own hash.
            for ((hash, key), found) in hashes.iter_mut().zip(keys).zip(&*found) {
                if found.is_none() {
                    *hash = subtable.mask.hash(self.hash, key);
                }
            }
            let before = open;
            for ((hash, key), found) in hashes.iter().zip(keys).zip(&mut *found) {
                if found.is_none()
                    && let Some(megaflow) = self.probe(subtable, *hash, key)
                {
                    *found = self.megaflows.handle(megaflow);
                    open -= 1;
                }
            }
            if let Some(subtable) = self.subtables.get_mut(slot) {
                subtable.state.0 += (before - open) as u64;
            }
        }
        keys.len() - open
    }

    /// Orders the masks by their recent hits, so that later lookups probe the busiest first.
    ///
    /// Call it now and then, say once a second: it sorts, and it halves the counts so that old traffic fades. Masks
    /// with as many hits keep their order.
    ///
    /// ```
    /// use ovs_classifier::{MegaflowTable, Pattern};
    ///
    /// let mut cache = MegaflowTable::new();
    /// cache.insert(&Pattern::new([1, 0], [0xff, 0]), "idle");
    /// cache.insert(&Pattern::new([0, 1], [0, 0xff]), "busy");
    /// cache.lookup(&[0, 1]);
    /// assert_eq!(cache.stats().probes, 2);
    /// cache.rank();
    /// cache.lookup(&[0, 1]);
    /// assert_eq!(cache.stats().probes, 3);
    /// ```
    pub fn rank(&mut self) {
        let subtables = &self.subtables;
        let hits = |slot: &usize| subtables.get(*slot).map_or(0, |subtable| subtable.state.0);
        self.order.sort_by_key(|slot| core::cmp::Reverse(hits(slot)));
        for &slot in &self.order {
            if let Some(subtable) = self.subtables.get_mut(slot) {
                subtable.state.0 /= 2;
            }
        }
    }
}
