//! A list that grows without moving what it has, and without room for twice as much.

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

    #[inline]
    pub(crate) fn get(&self, i: u32) -> Option<&T> {
        self.0.get(i as usize / CHUNK)?.get(i as usize % CHUNK)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, i: u32) -> Option<&mut T> {
        self.0.get_mut(i as usize / CHUNK)?.get_mut(i as usize % CHUNK)
    }

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
}
