//! From the hash of masked words to the place of the entry that has them.
//!
//! A row is half a hash, the place of the values and the slot of what has them (the *head*); both live elsewhere, and
//! the caller compares the values. Growing the table therefore reads no entry, and a probe reads one only when all 32
//! bits of the hash agree; and since the row tells both, a processor fetches the head while it compares the values.

use crate::hash::WordHash;
use hashbrown::HashTable;

#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    table: HashTable<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    hash: u32,
    place: u32,
    head: u32,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.table.allocation_size()
    }

    /// The place and the head of the row with this hash that `is_it`, by its place.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<(u32, u32)> {
        let hash = WordHash::short(hash);
        let row = self.table.find(WordHash::spread(hash), |row| row.hash == hash && is_it(row.place))?;
        Some((row.place, row.head))
    }

    /// A row with this hash, which may be that of other words.
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> Option<(u32, u32)> {
        self.find(hash, |_| true)
    }

    /// The place and the head of all rows, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.table.iter().map(|row| (row.place, row.head))
    }

    /// Adds a row, whose place must not be there yet.
    pub(crate) fn insert(&mut self, hash: u64, place: u32, head: u32) {
        let hash = WordHash::short(hash);
        self.table.insert_unique(WordHash::spread(hash), Row { hash, place, head }, |row| WordHash::spread(row.hash));
    }

    pub(crate) fn set_head(&mut self, hash: u64, place: u32, head: u32) {
        let hash = WordHash::spread(WordHash::short(hash));
        if let Some(row) = self.table.find_mut(hash, |row| row.place == place) {
            row.head = head;
        }
    }

    pub(crate) fn remove(&mut self, hash: u64, place: u32) {
        if let Ok(row) = self.table.find_entry(WordHash::spread(WordHash::short(hash)), |row| row.place == place) {
            row.remove();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.table.clear();
    }
}
