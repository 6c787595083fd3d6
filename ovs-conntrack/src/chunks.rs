//! Lists that grow without moving what they have, and without room for twice as much.
//!
//! Such a list is filled in order, or here and there by number: then what says which numbers have an item is elsewhere, and
//! chunks in which none has one take no room.

use alloc::vec::Vec;

/// Items of one chunk, a power of two.
const CHUNK: usize = 1024;

/// Items by number, in chunks.
pub(crate) struct Chunks<T>(Vec<Vec<T>>);

impl<T> Chunks<T> {
    pub(crate) const fn new() -> Self {
        Chunks(Vec::new())
    }

    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * CHUNK + last.len())
    }

    /// Bytes of memory that are held.
    pub(crate) fn memory(&self) -> usize {
        self.0.iter().map(|chunk| chunk.capacity() * size_of::<T>()).sum()
    }

    /// The item of a number. In a list that is filled here and there, a number that was given none may have another's.
    #[inline]
    pub(crate) fn get(&self, i: u32) -> Option<&T> {
        self.0.get(i as usize / CHUNK)?.get(i as usize % CHUNK)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, i: u32) -> Option<&mut T> {
        self.0.get_mut(i as usize / CHUNK)?.get_mut(i as usize % CHUNK)
    }

    /// Adds an item behind the last one.
    pub(crate) fn push(&mut self, item: T) {
        if self.0.last().is_none_or(|last| last.len() == CHUNK) {
            // The first chunk grows as it is filled: a small table stays small.
            let room = if self.0.is_empty() { 16 } else { CHUNK };
            self.0.push(Vec::with_capacity(room));
        }
        if let Some(last) = self.0.last_mut() {
            last.push(item);
        }
    }
}

impl<T: Copy> Chunks<T> {
    /// Gives a number this item.
    pub(crate) fn set(&mut self, i: u32, item: T) {
        let (chunk, at) = (i as usize / CHUNK, i as usize % CHUNK);
        if self.0.len() <= chunk {
            self.0.resize_with(chunk + 1, Vec::new);
        }
        let Some(items) = self.0.get_mut(chunk) else { return };
        if let Some(place) = items.get_mut(at) {
            *place = item;
            return;
        }
        if chunk > 0 && items.is_empty() {
            items.reserve_exact(CHUNK);
        }
        items.resize(at + 1, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_by_their_number() {
        let mut chunks = Chunks::new();
        assert_eq!((chunks.len(), chunks.get(0)), (0, None));
        for i in 0..3 * CHUNK + 5 {
            chunks.push(i);
            assert_eq!(chunks.get_mut(i as u32 + 1), None);
            assert_eq!((chunks.len(), chunks.get(i as u32)), (i + 1, Some(&i)));
        }
        assert!((0..3 * CHUNK + 5).all(|i| chunks.get(i as u32) == Some(&i)));
    }

    #[test]
    fn chunks_of_which_no_number_has_an_item_take_no_room() {
        let (mut sparse, far) = (Chunks::new(), 5 * CHUNK as u32);
        assert_eq!((sparse.get(0), sparse.memory()), (None, 0));
        sparse.set(far + 3, 7u64);
        assert_eq!((sparse.get(far + 3), sparse.get(far + 4), sparse.get(0)), (Some(&7), None, None));
        assert_eq!(sparse.memory(), 8 * CHUNK);
        sparse.set(far + 9, 8);
        sparse.set(far + 3, 6);
        sparse.set(2, 5);
        assert_eq!([far + 3, far + 9, 2].map(|i| sparse.get(i)), [Some(&6), Some(&8), Some(&5)]);
        *sparse.get_mut(2).unwrap() += 1;
        assert_eq!(sparse.get(2), Some(&6));
        assert_eq!(sparse.get_mut(CHUNK as u32), None);
        assert!(sparse.memory() < 9 * CHUNK);
    }
}
