//! The values of the distinct patterns of one mask, back to back: nothing is allocated per pattern.

use alloc::vec::Vec;

#[derive(Clone, Debug)]
pub(crate) struct Entries {
    /// Words of an entry; one that nobody reads where the mask has none.
    stride: usize,
    words: Vec<u64>,
    /// Places that nobody has.
    free: Vec<u32>,
}

impl Entries {
    pub(crate) fn new(values: usize) -> Self {
        Self { stride: values.max(1), words: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>() + self.free.capacity() * size_of::<u32>()
    }

    /// The values of an entry.
    #[inline(always)]
    pub(crate) fn get(&self, place: u32) -> Option<&[u64]> {
        let at = place as usize * self.stride;
        self.words.get(at..at + self.stride)
    }

    /// Adds an entry. There are no more entries than rules, and rules are counted by `u32`.
    pub(crate) fn insert(&mut self, values: impl Iterator<Item = u64>) -> u32 {
        let words = values.chain(core::iter::repeat(0)).take(self.stride);
        match self.free.pop() {
            Some(place) => {
                let old = self.words.iter_mut().skip(place as usize * self.stride).take(self.stride);
                old.zip(words).for_each(|(old, new)| *old = new);
                place
            }
            None => {
                let place = self.words.len() / self.stride;
                self.words.extend(words);
                place as u32
            }
        }
    }

    pub(crate) fn remove(&mut self, place: u32) {
        self.free.push(place);
    }
}
