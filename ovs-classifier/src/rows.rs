//! From the hash of masked words to the slot of the entry that has them.
//!
//! A row is a hash and a slot index; the entries live in their table's arena and the caller compares them. Growing
//! the table therefore reads no entry, and a probe reads one only when all 64 bits of the hash agree.

use hashbrown::HashTable;

#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    table: HashTable<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    hash: u64,
    slot: usize,
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

    /// The slot with this hash that `is_it`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(usize) -> bool) -> Option<usize> {
        self.table.find(hash, |row| row.hash == hash && is_it(row.slot)).map(|row| row.slot)
    }

    /// All slots, in no particular order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = usize> {
        self.table.iter().map(|row| row.slot)
    }

    /// Adds a slot, which must not be there yet.
    pub(crate) fn insert(&mut self, hash: u64, slot: usize) {
        self.table.insert_unique(hash, Row { hash, slot }, |row| row.hash);
    }

    /// Puts `new` into the row of `old`.
    pub(crate) fn replace(&mut self, hash: u64, old: usize, new: usize) {
        if let Some(row) = self.table.find_mut(hash, |row| row.slot == old) {
            row.slot = new;
        }
    }

    pub(crate) fn remove(&mut self, hash: u64, slot: usize) {
        if let Ok(row) = self.table.find_entry(hash, |row| row.slot == slot) {
            row.remove();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.table.clear();
    }
}
