//! Changes to a megaflow table. A mask is in the probe order, and has a column, exactly while a megaflow has it.

use super::{Hits, MegaflowTable, Stored};
use crate::arena::Handle;
use crate::error::TableFull;
use crate::pattern::Pattern;

impl<R, const W: usize> MegaflowTable<R, W> {
    /// Adds a megaflow; replaces the payload of the one with the same pattern, and returns the old.
    ///
    /// A replaced megaflow keeps its handle: caches that refer to it stay right, since it matches the same keys.
    /// A new mask ranks behind the others until the next [`rank`](Self::rank).
    ///
    /// See [the table](Self) on overlaps and on bounds.
    ///
    /// # Errors
    ///
    /// If the pattern is new and the table full.
    pub fn insert(&mut self, pattern: &Pattern<W>, payload: R) -> Result<(Handle, Option<R>), TableFull> {
        let full = TableFull { limit: self.limit };
        let known = self.subtables.find(pattern);
        let head = known.and_then(|column| self.subtables.get(column)?.find(pattern.key())).map(|(_, head)| head);
        if let Some(handle) = head.and_then(|head| self.megaflows.handle(head))
            && let Some(old) = self.get_mut(handle)
        {
            return Ok((handle, Some(core::mem::replace(old, payload))));
        }
        if self.len() >= self.limit {
            return Err(full);
        }
        let column = match known {
            Some(column) => column,
            None => self.add_subtable(pattern).ok_or(full)?,
        };
        // The limit is at most what an arena holds.
        let handle = self.megaflows.insert(Stored { column, place: 0, payload }).ok_or(full)?;
        if let Some(subtable) = self.subtables.get_mut(column) {
            let place = subtable.insert(pattern.key(), handle.index());
            if let Some(stored) = self.megaflows.get_mut(handle.index()) {
                stored.place = place;
            }
        }
        if self.guards.add(column, pattern.key()) {
            self.guards.rebuild(&self.subtables);
        }
        Ok((handle, None))
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
        let stored = self.megaflows.remove(self.megaflows.resolve(handle)?)?;
        let is_due = self.guards.remove();
        if let Some(subtable) = self.subtables.get_mut(stored.column)
            && let Some(values) = subtable.entries.get(stored.place)
        {
            let key = subtable.mask.scatter(values);
            subtable.remove(&key, stored.place);
            if subtable.rows.is_empty() {
                self.subtables.remove(stored.column);
                self.guards.remove_column(stored.column);
                self.order.retain(|column| *column != stored.column);
            }
        }
        if is_due {
            self.guards.rebuild(&self.subtables);
        }
        Some(stored.payload)
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
        self.guards.clear();
        self.order.clear();
    }

    fn add_subtable(&mut self, pattern: &Pattern<W>) -> Option<u32> {
        let column = self.subtables.insert(&self.layout, pattern, |_| Hits::default())?;
        self.order.push(column);
        self.guards.add_column(column, pattern.mask());
        Some(column)
    }
}
