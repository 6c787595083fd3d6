//! Slots with generations, linked in the order of insertion.
//!
//! Tables refer to their entries by slot index: a hash table of indexes neither moves entries when it grows nor
//! borrows them. What leaves the crate is a [`Handle`], an index with the generation of its slot, so that a handle
//! that has outlived its entry finds nothing. What has left the arena cannot come back under the same handle:
//! a slot whose generations are used up is not used again.
//!
//! Slots do not move, and adding one costs the same whatever their number.
//!
//! Live slots form a doubly linked list, oldest first; free slots a singly linked one through `next`.

use crate::segments::Segments;
use core::fmt;
use core::num::{NonZeroU32, NonZeroU64};

/// Refers to an entry of the table that issued it, for as long as the entry lives.
///
/// A handle is eight bytes, `Copy`, and borrows nothing. When its entry is removed the handle goes stale for ever:
/// it never comes to mean another entry of the same table. Shown to a table that did not issue it, it finds
/// nothing or some entry of that table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(
    /// The index in the upper half, the generation in the lower. One number, so that it is written at once: who reads
    /// eight bytes that were just written in halves waits for them.
    NonZeroU64,
);

/// The end of a list. No slot has this index, nor the one before: an arena holds at most [`CAPACITY`].
const NIL: u32 = u32::MAX;

/// The most entries an arena can hold.
pub(crate) const CAPACITY: usize = NIL as usize - 2;

#[derive(Clone)]
pub(crate) struct Arena<T> {
    values: Segments<Option<T>>,
    /// As many as values: who looks up values need not read them.
    links: Segments<Link>,
    free: u32,
    first: u32,
    last: u32,
    len: usize,
}

#[derive(Clone, Copy)]
struct Link {
    /// [`FREE`] where there is no value.
    prev: u32,
    next: u32,
    generation: NonZeroU32,
}

/// In a free slot, in place of what is before it.
const FREE: u32 = NIL - 1;

impl Handle {
    #[inline(always)]
    pub(crate) fn new(index: u32, generation: NonZeroU32) -> Self {
        Self(NonZeroU64::from(generation) | u64::from(index) << 32)
    }

    pub(crate) const fn index(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    /// Never 0, nor is what it is made of.
    pub(crate) fn generation(self) -> NonZeroU32 {
        NonZeroU32::new(self.0.get() as u32).unwrap_or(NonZeroU32::MIN)
    }
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self { values: Segments::new(), links: Segments::new(), free: NIL, first: NIL, last: NIL, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.values.heap_bytes() + self.links.heap_bytes()
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.values.get(index as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.values.get_mut(index as usize)?.as_mut()
    }

    /// Asks for the line that the value of a slot begins in, and for its links, ahead of their use.
    #[inline(always)]
    pub(crate) fn prefetch(&self, index: u32) {
        if let Some((value, link)) = self.values.get(index as usize).zip(self.links.get(index as usize)) {
            crate::simd::prefetch(value);
            crate::simd::prefetch(link);
        }
    }

    /// Asks for what the removal of a slot's entry changes in others.
    #[inline(always)]
    pub(crate) fn prefetch_beside(&self, index: u32) {
        if let Some(link) = self.links.get(index as usize) {
            let beside = [link.prev, link.next].into_iter().filter_map(|index| self.links.get(index as usize));
            beside.for_each(crate::simd::prefetch);
        }
    }

    /// The handle of the entry in a slot.
    #[inline]
    pub(crate) fn handle(&self, index: u32) -> Option<Handle> {
        let link = self.links.get(index as usize)?;
        (link.prev != FREE).then_some(Handle::new(index, link.generation))
    }

    /// The handle of the entry in a slot that has one.
    #[inline]
    pub(crate) fn handle_of_live(&self, index: u32) -> Handle {
        let generation = self.links.get(index as usize).map_or(NonZeroU32::MIN, |link| link.generation);
        Handle::new(index, generation)
    }

    /// The slot of a handle, unless it is stale.
    #[inline]
    pub(crate) fn resolve(&self, handle: Handle) -> Option<u32> {
        (self.handle(handle.index())? == handle).then_some(handle.index())
    }

    /// The slot of the oldest entry.
    pub(crate) fn first(&self) -> Option<u32> {
        (self.first != NIL).then_some(self.first)
    }

    /// The slot of the entry inserted next after the one in `index`.
    pub(crate) fn after(&self, index: u32) -> Option<u32> {
        let next = self.links.get(index as usize)?.next;
        (next != NIL).then_some(next)
    }

    /// The entries, oldest first.
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter { arena: self, next: self.first, left: self.len }
    }

    /// Adds an entry as the youngest; `None` when the arena is full.
    pub(crate) fn insert(&mut self, value: T) -> Option<Handle> {
        let (prev, next) = (self.last, NIL);
        let free = self.free as usize;
        let handle = match (self.links.get_mut(free), self.values.get_mut(free)) {
            (Some(link), Some(place)) => {
                let index = core::mem::replace(&mut self.free, link.next);
                (*place, link.prev, link.next) = (Some(value), prev, next);
                Handle::new(index, link.generation)
            }
            _ => {
                let index = u32::try_from(self.links.len()).ok().filter(|index| *index < CAPACITY as u32)?;
                let generation = NonZeroU32::MIN;
                self.values.push([Some(value)], 1);
                self.links.push([Link { prev, next, generation }], 1);
                Handle::new(index, generation)
            }
        };
        *self.next_of(prev) = handle.index();
        self.last = handle.index();
        self.len += 1;
        Some(handle)
    }

    #[inline]
    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.values.get_mut(index as usize)?.take()?;
        let link = self.links.get_mut(index as usize)?;
        let (prev, next) = (link.prev, link.next);
        link.prev = FREE;
        if let Some(generation) = link.generation.checked_add(1) {
            link.generation = generation;
            link.next = core::mem::replace(&mut self.free, index);
        }
        *self.next_of(prev) = next;
        *self.prev_of(next) = prev;
        self.len -= 1;
        Some(value)
    }

    /// Removes every entry; all handles go stale.
    pub(crate) fn clear(&mut self) {
        while let Some(index) = self.first() {
            self.remove(index);
        }
    }

    /// The link that leads from `index` to the next younger entry.
    fn next_of(&mut self, index: u32) -> &mut u32 {
        match self.links.get_mut(index as usize) {
            Some(link) => &mut link.next,
            None => &mut self.first,
        }
    }

    /// The link that leads from `index` to the next older entry.
    fn prev_of(&mut self, index: u32) -> &mut u32 {
        match self.links.get_mut(index as usize) {
            Some(link) => &mut link.prev,
            None => &mut self.last,
        }
    }
}

/// The entries of an arena with their handles, oldest first.
pub(crate) struct Iter<'a, T> {
    arena: &'a Arena<T>,
    next: u32,
    left: usize,
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (Handle, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        let (link, value) = (self.arena.links.get(index as usize)?, self.arena.get(index)?);
        self.next = link.next;
        self.left = self.left.saturating_sub(1);
        Some((Handle::new(index, link.generation), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({}.{})", self.index(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, Handle};
    use alloc::vec::Vec;
    use core::num::NonZeroU32;

    fn values(arena: &Arena<char>) -> Vec<char> {
        arena.iter().map(|(_, value)| *value).collect()
    }

    #[test]
    fn entries_keep_the_order_of_insertion_through_reuse_of_slots() {
        let mut arena = Arena::new();
        let [a, b, c] = ['a', 'b', 'c'].map(|value| arena.insert(value).unwrap());
        assert_eq!(arena.remove(b.index()), Some('b'));
        assert_eq!(values(&arena), ['a', 'c']);
        let d = arena.insert('d').unwrap();
        assert_eq!(d.index(), b.index());
        assert_eq!(values(&arena), ['a', 'c', 'd']);
        arena.remove(a.index());
        arena.remove(d.index());
        assert_eq!(values(&arena), ['c']);
        arena.remove(c.index());
        assert_eq!((values(&arena).len(), arena.len(), arena.first()), (0, 0, None));
    }

    #[test]
    fn a_stale_handle_finds_nothing_though_its_slot_lives() {
        let mut arena = Arena::new();
        let old = arena.insert('a').unwrap();
        arena.clear();
        assert_eq!(arena.resolve(old), None);
        let new = arena.insert('b').unwrap();
        assert_eq!(arena.resolve(old), None);
        assert_eq!(arena.resolve(new), Some(old.index()));
    }

    #[test]
    fn a_slot_out_of_generations_retires() {
        let mut arena = Arena::new();
        let first = arena.insert('a').unwrap().index();
        arena.links.get_mut(first as usize).unwrap().generation = NonZeroU32::MAX;
        let last = arena.handle(first).unwrap();
        arena.remove(first);
        assert_eq!(arena.resolve(last), None);
        assert_ne!(arena.insert('b').unwrap().index(), first);
        assert_eq!(arena.resolve(last), None);
        assert_eq!(values(&arena), ['b']);
    }

    #[test]
    fn an_optional_handle_is_eight_bytes() {
        assert_eq!(size_of::<Option<Handle>>(), 8);
        for (index, generation) in [(0, 1), (1, u32::MAX), (super::CAPACITY as u32 - 1, 2)] {
            let handle = Handle::new(index, NonZeroU32::new(generation).unwrap());
            assert_eq!((handle.index(), handle.generation().get()), (index, generation));
        }
    }
}
