//! Changes to a megaflow table. A mask is known, and a tuple or a subtable there, exactly while a megaflow has it.

use super::block::{Block, BlockMask};
use super::index::NIL;
use super::tuples::{self, Tuple};
use super::{Hits, Label, Mask, MegaflowTable, Remnant, Seat};
use crate::arena::Handle;
use crate::entries::Entries;
use crate::error::TableFull;
use crate::pattern::Pattern;
use crate::simd::Portable;
use alloc::vec::Vec;

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
        if let Some(handle) = self.find_exact(pattern)
            && let Some(old) = self.get_mut(handle)
        {
            return Ok((handle, Some(core::mem::replace(old, payload))));
        }
        Ok((self.insert_absent(pattern, payload)?, None))
    }

    /// Adds a megaflow whose pattern no other has: as [`insert`](Self::insert), for who has just
    /// [looked](Self::find_exact) and need not have it done again.
    ///
    /// If another has the pattern nevertheless, both are in the table, and a lookup finds one of them.
    ///
    /// # Errors
    ///
    /// If the table is full.
    ///
    /// ```
    /// use ovs_classifier::{MegaflowTable, Pattern};
    ///
    /// let mut cache = MegaflowTable::new();
    /// let pattern = Pattern::new([1, 0], [0xff, 0]);
    /// assert_eq!(cache.find_exact(&pattern), None);
    /// let handle = cache.insert_absent(&pattern, "drop")?;
    /// assert_eq!(cache.find_exact(&pattern), Some(handle));
    /// # Ok::<(), ovs_classifier::TableFull>(())
    /// ```
    pub fn insert_absent(&mut self, pattern: &Pattern<W>, payload: R) -> Result<Handle, TableFull> {
        let full = TableFull { limit: self.limit };
        if self.len() >= self.limit {
            return Err(full);
        }
        // The limit is at most what an arena holds, unless slots are worn out.
        let handle = self.megaflows.insert(payload).ok_or(full)?;
        let Some(mask) = self.known_mask(pattern) else {
            self.megaflows.remove(handle.index());
            return Err(full);
        };
        let (key, slot) = (pattern.key(), handle.index() as usize);
        if self.firsts.len() <= slot {
            self.firsts.resize(slot + 1, Block::default());
            self.labels.resize(slot + 1, Label::NONE);
            self.remnants.resize(slot + 1, Remnant::default());
        }
        if let (Some(first), Some(label), Some(known), Some(remnant)) = (
            self.firsts.get_mut(slot),
            self.labels.get_mut(slot),
            self.masks.get_mut(mask),
            self.remnants.get_mut(slot),
        ) {
            *first = Block::of(key, known.bits.at()).and(known.bits.first());
            *label = Label { mask, generation: handle.generation() };
            remnant.rest = known.add(key);
        }
        let seat = self.seat(mask, pattern, handle.index());
        if let Some(remnant) = self.remnants.get_mut(slot) {
            remnant.seat = seat;
        }
        Ok(handle)
    }

    /// The number of a pattern's mask, which becomes known if it was not.
    fn known_mask(&mut self, pattern: &Pattern<W>) -> Option<u32> {
        if let Some(mask) = self.find_mask(pattern) {
            return Some(mask);
        }
        let (bits, hash) = (BlockMask::new(pattern.mask()), pattern.mask_hash(self.hash));
        self.cache.widen(&bits);
        let rest = Entries::new(bits.rest().len() * 8);
        let mask = self.masks.insert(Mask { bits, hash, rest, megaflows: 0 })?.index();
        let masks = &self.masks;
        self.by_mask.insert(hash, mask, 0, |other| masks.get(other).map_or(0, |mask| mask.hash));
        Some(mask)
    }

    /// Finds a place for a megaflow where lookups will find it: in a tuple that suits, in one that is made to, in a new
    /// one; where there are enough of those, in a subtable.
    fn seat(&mut self, mask: u32, pattern: &Pattern<W>, slot: u32) -> Option<Seat> {
        let (secrets, key, bits) = (&self.secrets, pattern.key(), &self.masks.get(mask)?.bits);
        if self.tuples.iter_mut().any(|tuple| tuple.join(secrets, bits, key, slot)) {
            return None;
        }
        let mut tuples = core::mem::take(&mut self.tuples);
        let mut narrowed = |tuple: &mut Tuple| {
            tuple.narrow(&self.secrets, bits, |slot| self.key_of(slot)) && tuple.join(&self.secrets, bits, key, slot)
        };
        let mut seated = tuples.iter_mut().any(&mut narrowed);
        if !seated && tuples.len() < tuples::MOST {
            let mut tuple = Tuple::new(bits.clone());
            seated = tuple.join(&self.secrets, bits, key, slot);
            tuples.push(tuple);
        }
        self.tuples = tuples;
        if seated { None } else { self.seat_alone(pattern, slot) }
    }

    /// Finds a place in the subtable of the pattern's mask.
    fn seat_alone(&mut self, pattern: &Pattern<W>, slot: u32) -> Option<Seat> {
        let column = match self.subtables.find(pattern) {
            Some(column) => column,
            None => {
                let column = self.subtables.insert(&self.layout, pattern, |_| Hits::default())?;
                self.order.push(column);
                self.guards.add_column(column, pattern.mask());
                column
            }
        };
        let place = self.subtables.get_mut(column)?.insert(pattern.key(), slot);
        if self.guards.add(column, pattern.key()) {
            self.guards.rebuild(&self.subtables);
        }
        Some(Seat { column, place })
    }

    /// A key that the megaflow in a slot matches.
    fn key_of(&self, slot: u32) -> Option<[u64; W]> {
        let megaflow = self.megaflow(slot)?;
        Some(megaflow.mask.scatter(megaflow.first, megaflow.rest))
    }

    /// The payload of a handle's megaflow, to change, unless it has been removed.
    #[inline]
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut R> {
        let slot = self.resolve(handle)?;
        self.megaflows.get_mut(slot)
    }

    /// Removes the megaflow with exactly this pattern, and returns its payload.
    pub fn remove(&mut self, pattern: &Pattern<W>) -> Option<R> {
        self.remove_handle(self.find_exact(pattern)?)
    }

    /// Removes the megaflow of a handle, and returns its payload; `None` when it has been removed before.
    pub fn remove_handle(&mut self, handle: Handle) -> Option<R> {
        let slot = self.resolve(handle)?;
        let key = self.key_of(slot)?;
        let payload = self.megaflows.remove(slot)?;
        let remnant = self.remnants.get(slot as usize).copied().unwrap_or_default();
        match remnant.seat {
            Some(seat) => self.leave_alone(seat, &key),
            None => self.leave_tuple(&key, slot),
        }
        let number = self.labels.get_mut(slot as usize).map_or(NIL, |label| core::mem::replace(&mut label.mask, NIL));
        if let Some(mask) = self.masks.get_mut(number) {
            mask.remove(remnant.rest);
            if mask.megaflows == 0 {
                self.by_mask.remove(mask.hash, number);
                self.masks.remove(number);
            }
        }
        if self.is_empty() {
            self.cache.clear();
        }
        Some(payload)
    }

    /// Takes a megaflow out of the tuple that has it; a tuple without members goes.
    fn leave_tuple(&mut self, key: &[u64; W], slot: u32) {
        let left = self.tuples.iter_mut().position(|tuple| {
            let hash = tuple.mask.hash(Portable, &self.secrets, key);
            tuple.index.remove(hash, slot)
        });
        if let Some(at) = left
            && self.tuples.get(at).is_some_and(|tuple| tuple.index.len() == 0)
        {
            self.tuples.remove(at);
        }
    }

    /// Takes a megaflow out of the subtable of its mask; a subtable without rows goes.
    fn leave_alone(&mut self, Seat { column, place }: Seat, key: &[u64; W]) {
        let is_due = self.guards.remove();
        if let Some(subtable) = self.subtables.get_mut(column) {
            subtable.remove(key, place);
            if subtable.rows.is_empty() {
                self.subtables.remove(column);
                self.guards.remove_column(column);
                self.order.retain(|other| *other != column);
            }
        }
        if is_due {
            self.guards.rebuild(&self.subtables);
        }
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
        self.firsts.clear();
        self.labels.clear();
        self.remnants.clear();
        self.masks.clear();
        self.by_mask.clear();
        self.tuples = Vec::new();
        self.subtables.clear();
        self.guards.clear();
        self.order.clear();
        self.cache.clear();
    }
}
