//! Vectors of which neither growth nor return waits for the number of items.
//!
//! A vector that doubles copies all it has, and the memory of the old one is given back, in one addition. Here additions
//! copy some items each into a vector of twice the room, from when a quarter of the room is left; until that has all of
//! them, a change is made in both. So items are read as those of any vector, in one place, and what is no longer needed is
//! given back a piece with each addition: to return a page costs as much as to copy it.
//!
//! Small vectors grow at once. Items are aligned to 16 bytes at most: where more is asked for, the standard library copies what
//! it shrinks.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// So many items grow at once.
const FEW: usize = if cfg!(test) { 8 } else { 1 << 14 };

/// How many items an addition copies: all of them, before a quarter as many again have come.
const COPIED: usize = 8;

/// How many bytes are given back at once.
const PIECE: usize = if cfg!(test) { 64 } else { 1 << 16 };

/// Items by number, which are there to stay.
#[derive(Debug)]
pub(crate) struct Gradual<T> {
    items: Vec<T>,
    growth: Option<Box<Growth<T>>>,
}

#[derive(Debug)]
struct Growth<T> {
    /// The first items once more, with twice the room; none where they have moved.
    larger: Vec<T>,
    /// Where they were.
    old: Vec<T>,
}

impl<T> Default for Gradual<T> {
    fn default() -> Self {
        Self { items: Vec::new(), growth: None }
    }
}

impl<T> Gradual<T> {
    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let growth = self.growth.as_ref().map_or(0, |growth| growth.larger.capacity() + growth.old.capacity());
        (self.items.capacity() + growth) * size_of::<T>()
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.items.get(index)
    }
}

impl<T: Copy> Gradual<T> {
    /// Changes the item with a number, if there is one.
    #[inline(always)]
    pub(crate) fn change(&mut self, index: usize, change: impl FnOnce(&mut T)) {
        let Some(item) = self.items.get_mut(index) else { return };
        change(item);
        if let Some(copy) = self.growth.as_mut().and_then(|growth| growth.larger.get_mut(index)) {
            *copy = *item;
        }
    }

    pub(crate) fn push(&mut self, item: T) {
        const { assert!(align_of::<T>() <= 16) };
        if self.growth.is_some() || self.items.len() >= (self.items.capacity() / 4 * 3).max(FEW) {
            self.grow();
        }
        self.items.push(item);
    }

    /// Copies some more items, and moves them if these were the last; or goes on to give back where they were.
    #[cold]
    fn grow(&mut self) {
        let (room, items) = (self.items.capacity() * 2, &mut self.items);
        let begin = || Box::new(Growth { larger: Vec::with_capacity(room), old: Vec::new() });
        let Growth { larger, old } = &mut **self.growth.get_or_insert_with(begin);
        if larger.capacity() > 0 {
            let (from, end) = (larger.len(), items.len().min(larger.len() + COPIED));
            larger.extend_from_slice(items.get(from..end).unwrap_or_default());
            if larger.len() == items.len() {
                *old = core::mem::replace(items, core::mem::take(larger));
            }
        } else {
            let left = old.capacity().saturating_sub(PIECE / size_of::<T>().max(1));
            old.truncate(left);
            old.shrink_to(left);
            if left == 0 {
                self.growth = None;
            }
        }
    }
}

impl<T: Clone> Clone for Gradual<T> {
    /// With the room that there is: an addition to the copy waits no longer than one to the original.
    fn clone(&self) -> Self {
        let copy = |items: &Vec<T>| {
            let mut copy = Vec::with_capacity(items.capacity());
            copy.extend_from_slice(items);
            copy
        };
        let growth = self.growth.as_ref().filter(|growth| growth.larger.capacity() > 0);
        let growth = growth.map(|growth| Box::new(Growth { larger: copy(&growth.larger), old: Vec::new() }));
        Self { items: copy(&self.items), growth }
    }
}

#[cfg(test)]
mod tests {
    use super::{COPIED, FEW, Gradual, PIECE};
    use alloc::vec::Vec;

    #[test]
    fn no_addition_copies_or_returns_more_than_a_few() {
        let mut list = Gradual::<u64>::default();
        let (mut moves, mut room) = (0, 0);
        for n in 0..10_000 {
            let growth = |list: &Gradual<u64>| match &list.growth {
                Some(growth) => (growth.larger.len(), growth.old.capacity()),
                None => (0, 0),
            };
            let ((copied, old), capacity) = (growth(&list), list.items.capacity());
            list.push(n);
            let (copies, rest) = growth(&list);
            if n >= FEW as u64 {
                if list.items.capacity() == capacity {
                    assert!(copies <= copied + COPIED);
                    assert!(rest + PIECE / 8 >= old);
                } else {
                    assert!(copied + COPIED + 1 >= list.len(), "the rest was few when they moved");
                    assert_eq!((list.items.capacity(), rest), (2 * capacity, capacity));
                    moves += 1;
                }
                assert!(list.items.len() <= list.items.capacity());
            }
            room = room.max(list.heap_bytes() / 8);
        }
        assert!(moves >= 10 && room <= 4 * 10_000, "{moves} {room}");
        assert!(list.growth.is_none());
    }

    #[test]
    fn changes_are_in_what_comes_after() {
        let (mut list, mut expected) = (Gradual::<u64>::default(), Vec::new());
        let mut both = 0;
        for n in 0..2_000 {
            list.push(n);
            expected.push(n);
            if n == 1_000 {
                list = list.clone();
            }
            for i in [n * 7 % (n + 1), n / 2, 0] {
                both += usize::from(list.growth.as_ref().is_some_and(|growth| growth.larger.get(i as usize).is_some()));
                list.change(i as usize, |item| *item += n);
                expected[i as usize] += n;
            }
            list.change(n as usize + 1, |_| unreachable!("there is no such item"));
        }
        assert!(both > 100, "some changes were made while items moved");
        assert!((0..2_000).all(|i| list.get(i) == expected.get(i)));
        assert_eq!((list.len(), list.get(2_000)), (2_000, None));
    }
}
