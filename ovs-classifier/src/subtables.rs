//! The distinct masks of a table, each with the rows of the entries that have it.
//!
//! Both tables of this crate are a set of subtables; they differ in the order in which they probe them and in what
//! they keep per subtable (`S`). Subtables are found by mask through a hash, so that the ten-thousandth mask is
//! inserted as fast as the tenth.

use crate::arena::Arena;
use crate::hash::WordHash;
use crate::layout::Layout;
use crate::rows::Rows;
use crate::sparse::SparseMask;
use alloc::sync::Arc;

#[derive(Clone)]
pub(crate) struct Subtables<S, const W: usize> {
    hash: WordHash,
    subtables: Arena<Subtable<S, W>>,
    by_mask: Rows,
}

/// One mask, and the entries that have it.
#[derive(Clone)]
pub(crate) struct Subtable<S, const W: usize> {
    pub(crate) mask: Arc<SparseMask<W>>,
    /// The hash of the mask in its dense form.
    mask_hash: u64,
    /// One row per distinct pattern.
    pub(crate) rows: Rows,
    /// What the table keeps for its own order of probing.
    pub(crate) state: S,
}

impl<S, const W: usize> Subtables<S, W> {
    pub(crate) fn new(hash: WordHash) -> Self {
        Self { hash, subtables: Arena::new(), by_mask: Rows::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.subtables.len()
    }

    #[inline]
    pub(crate) fn get(&self, slot: usize) -> Option<&Subtable<S, W>> {
        self.subtables.get(slot)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Subtable<S, W>> {
        self.subtables.get_mut(slot)
    }

    /// The slot of the subtable with exactly this mask.
    pub(crate) fn find(&self, mask: &[u64; W]) -> Option<usize> {
        self.find_hashed(self.hash_mask(mask), mask)
    }

    fn find_hashed(&self, hash: u64, mask: &[u64; W]) -> Option<usize> {
        self.by_mask.find(hash, |slot| self.subtables.get(slot).is_some_and(|subtable| subtable.mask.is(mask)))
    }

    /// The subtables, oldest mask first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subtable<S, W>> {
        self.subtables.iter().map(|(_, subtable)| subtable)
    }

    /// What the subtables occupy, except for what `S` points to.
    pub(crate) fn heap_bytes(&self) -> usize {
        let each = |subtable: &Subtable<S, W>| {
            size_of::<SparseMask<W>>() + subtable.mask.heap_bytes() + subtable.rows.heap_bytes()
        };
        self.subtables.heap_bytes() + self.by_mask.heap_bytes() + self.iter().map(each).sum::<usize>()
    }

    /// The slot of the subtable with this mask, and the mask; the subtable is created when it is not there.
    pub(crate) fn find_or_insert(
        &mut self,
        layout: &Layout<W>,
        mask: &[u64; W],
        state: impl FnOnce(&SparseMask<W>) -> S,
    ) -> (usize, Arc<SparseMask<W>>) {
        let mask_hash = self.hash_mask(mask);
        if let Some(slot) = self.find_hashed(mask_hash, mask)
            && let Some(subtable) = self.subtables.get(slot)
        {
            return (slot, Arc::clone(&subtable.mask));
        }
        let mask = Arc::new(SparseMask::new(layout, mask));
        let state = state(&mask);
        let subtable = Subtable { mask: Arc::clone(&mask), mask_hash, rows: Rows::default(), state };
        let slot = self.subtables.insert(subtable).index();
        self.by_mask.insert(mask_hash, slot);
        (slot, mask)
    }

    pub(crate) fn remove(&mut self, slot: usize) {
        if let Some(subtable) = self.subtables.remove(slot) {
            self.by_mask.remove(subtable.mask_hash, slot);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.subtables.clear();
        self.by_mask.clear();
    }

    fn hash_mask(&self, mask: &[u64; W]) -> u64 {
        let words = (0u64..).zip(mask).filter(|(_, bits)| **bits != 0);
        words.fold(self.hash.start(), |state, (index, bits)| WordHash::mix(WordHash::mix(state, index), *bits))
    }
}
