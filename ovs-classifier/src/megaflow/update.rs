//! Changes to a megaflow table. A mask is in the probe order exactly while a megaflow has it.

use super::{Hits, Megaflow, MegaflowTable};
use crate::arena::Handle;
use crate::layout::Layout;
use crate::pattern::Pattern;
use crate::sparse::SparsePattern;

impl<R, const W: usize> MegaflowTable<R, W> {
    /// Adds a megaflow; replaces the payload of the one with the same pattern, and returns the old.
    ///
    /// A replaced megaflow keeps its handle: caches that refer to it stay right, since it matches the same keys.
    /// A new mask is probed after the others until the next [`rank`](Self::rank).
    ///
    /// See [the table](Self) on overlaps and on bounds.
    pub fn insert(&mut self, pattern: &Pattern<W>, payload: R) -> (Handle, Option<R>) {
        if let Some(handle) = self.find_exact(pattern)
            && let Some(old) = self.get_mut(handle)
        {
            return (handle, Some(core::mem::replace(old, payload)));
        }
        let (slot, mask) = self.subtables.find_or_insert(&Layout::flat(), pattern.mask(), |_| Hits::default());
        let sparse = SparsePattern::new(&mask, pattern.key());
        let hash = self.hash.words(sparse.values());
        let handle = self.megaflows.insert(Megaflow { sparse, subtable: slot, payload });
        if let Some(subtable) = self.subtables.get_mut(slot) {
            if subtable.rows.is_empty() {
                self.order.push(slot);
            }
            subtable.rows.insert(hash, handle.index());
        }
        (handle, None)
    }

    /// The payload of a handle's megaflow, to change, unless it has been removed.
    #[inline]
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut R> {
        let slot = self.megaflows.resolve(handle)?;
        self.megaflows.get_mut(slot).map(|megaflow| &mut megaflow.payload)
    }

    /// Removes the megaflow with exactly this pattern, and returns its payload.
    pub fn remove(&mut self, pattern: &Pattern<W>) -> Option<R> {
        self.remove_handle(self.find_exact(pattern)?)
    }

    /// Removes the megaflow of a handle, and returns its payload; `None` when it has been removed before.
    pub fn remove_handle(&mut self, handle: Handle) -> Option<R> {
        let index = self.megaflows.resolve(handle)?;
        let megaflow = self.megaflows.remove(index)?;
        let hash = self.hash.words(megaflow.sparse.values());
        if let Some(subtable) = self.subtables.get_mut(megaflow.subtable) {
            subtable.rows.remove(hash, index);
            if subtable.rows.is_empty() {
                self.subtables.remove(megaflow.subtable);
                self.order.retain(|slot| *slot != megaflow.subtable);
            }
        }
        Some(megaflow.payload)
    }

    /// Removes the megaflows for which `keep` returns false; asks in the order of insertion.
    pub fn retain(&mut self, mut keep: impl FnMut(Handle, &mut R) -> bool) {
        let mut next = self.megaflows.first();
        while let Some(slot) = next {
            next = self.megaflows.after(slot);
            if let Some(handle) = self.megaflows.handle(slot)
                && self.get_mut(handle).is_some_and(|payload| !keep(handle, payload))
            {
                self.remove_handle(handle);
            }
        }
    }

    /// Removes all megaflows; keeps the counters and some of the memory.
    pub fn clear(&mut self) {
        self.megaflows.clear();
        self.subtables.clear();
        self.order.clear();
    }
}
