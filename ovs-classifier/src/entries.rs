//! The distinct patterns of one mask, back to back: for each, what the table keeps of it and its values.
//!
//! An entry is one word for the table (`head`, the slot of a rule) and one per word of the mask, so a probe that
//! finds its row reads one or two cache lines for the comparison and for where to go on. Nothing is allocated per
//! entry.

use alloc::vec::Vec;

#[derive(Clone, Debug)]
pub(crate) struct Entries {
    /// Words of an entry.
    stride: usize,
    words: Vec<u64>,
    /// Places that nobody has.
    free: Vec<u32>,
}

impl Entries {
    pub(crate) fn new(values: usize) -> Self {
        Self { stride: values + 1, words: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>() + self.free.capacity() * size_of::<u32>()
    }

    /// The head and the values of an entry.
    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<(u32, &[u64])> {
        let at = place as usize * self.stride;
        let (head, values) = self.words.get(at..at + self.stride)?.split_first()?;
        Some((*head as u32, values))
    }

    pub(crate) fn set_head(&mut self, place: u32, head: u32) {
        if let Some(word) = self.words.get_mut(place as usize * self.stride) {
            *word = head.into();
        }
    }

    /// Adds an entry. There are no more entries than rules, and rules are counted by `u32`.
    pub(crate) fn insert(&mut self, head: u32, values: impl Iterator<Item = u64>) -> u32 {
        let words = core::iter::once(u64::from(head)).chain(values);
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
