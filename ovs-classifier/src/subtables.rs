//! The distinct masks of a table, each with the patterns that have it.
//!
//! Both tables of this crate are a set of subtables; they differ in the order in which they probe them and in what
//! they keep per subtable (`S`). Subtables are found by mask through a hash, so that the ten-thousandth mask is
//! inserted as fast as the tenth. The slot of a subtable is its *column* wherever a table keeps something by mask.

use crate::arena::Arena;
use crate::entries::Entries;
use crate::hash::WordHash;
use crate::layout::Layout;
use crate::pattern::Pattern;
use crate::rows::Rows;
use crate::sparse::SparseMask;

#[derive(Clone)]
pub(crate) struct Subtables<S, const W: usize> {
    hash: WordHash,
    subtables: Arena<Subtable<S, W>>,
    by_mask: Rows,
    /// A column whose mask is likely to be asked for: many changes in a row have one mask.
    expected: u32,
}

/// One mask, and the patterns that have it.
#[derive(Clone)]
pub(crate) struct Subtable<S, const W: usize> {
    pub(crate) mask: SparseMask<W>,
    /// The hash of the mask in its dense form.
    mask_hash: u64,
    /// One row per distinct pattern.
    pub(crate) rows: Rows,
    pub(crate) entries: Entries,
    /// What the table keeps for itself.
    pub(crate) state: S,
}

impl<S, const W: usize> Subtable<S, W> {
    /// The place and the head of the pattern that matches a key.
    #[inline(always)]
    pub(crate) fn find(&self, key: &[u64; W]) -> Option<(u32, u32)> {
        self.find_hashed(self.mask.hash(key), key)
    }

    /// As [`find`](Self::find), with the hash of the key under the mask.
    #[inline(always)]
    pub(crate) fn find_hashed(&self, hash: u64, key: &[u64; W]) -> Option<(u32, u32)> {
        self.rows.find(hash, |place| self.holds(place, key))
    }

    /// Whether the pattern at a place matches a key.
    #[inline(always)]
    pub(crate) fn holds(&self, place: u32, key: &[u64; W]) -> bool {
        self.entries.get(place).is_some_and(|values| self.mask.matches(values, key))
    }

    /// Adds the pattern that matches a key and was not there; returns its place.
    pub(crate) fn insert(&mut self, key: &[u64; W], head: u32) -> u32 {
        self.insert_hashed(self.mask.hash(key), key, head)
    }

    /// As [`insert`](Self::insert), with the hash of the key under the mask.
    pub(crate) fn insert_hashed(&mut self, hash: u64, key: &[u64; W], head: u32) -> u32 {
        let place = self.entries.insert(self.mask.gather(key));
        let (mask, entries) = (&self.mask, &self.entries);
        let hash_of = |place| entries.get(place).map_or(0, |values| mask.hash_of_values(values));
        self.rows.insert(hash, place, head, hash_of);
        place
    }

    /// Removes the pattern at a place, which matches `key`.
    pub(crate) fn remove(&mut self, key: &[u64; W], place: u32) {
        self.remove_hashed(self.mask.hash(key), place);
    }

    /// Removes the pattern at a place, which has this hash.
    pub(crate) fn remove_hashed(&mut self, hash: u64, place: u32) {
        self.rows.remove(hash, place);
        self.entries.remove(place);
    }

    /// The values of all patterns, in no particular order.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &[u64]> {
        self.rows.iter().filter_map(|(place, _)| self.entries.get(place))
    }

    /// The heads of all patterns that `is_it`, by their values; in no particular order.
    pub(crate) fn heads(&self, is_it: impl Fn(&[u64]) -> bool) -> impl Iterator<Item = u32> {
        let entries = self.rows.iter().filter_map(|(place, head)| Some((self.entries.get(place)?, head)));
        entries.filter(move |(values, _)| is_it(values)).map(|(_, head)| head)
    }
}

impl<S, const W: usize> Subtables<S, W> {
    pub(crate) fn new(hash: WordHash) -> Self {
        Self { hash, subtables: Arena::new(), by_mask: Rows::default(), expected: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.subtables.len()
    }

    #[inline(always)]
    pub(crate) fn get(&self, column: u32) -> Option<&Subtable<S, W>> {
        self.subtables.get(column)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, column: u32) -> Option<&mut Subtable<S, W>> {
        self.subtables.get_mut(column)
    }

    /// The column of the subtable with exactly the mask of a pattern.
    pub(crate) fn find(&self, pattern: &Pattern<W>) -> Option<u32> {
        let is_it = |column| self.subtables.get(column).is_some_and(|subtable| subtable.mask.is_of(pattern));
        if is_it(self.expected) {
            return Some(self.expected);
        }
        self.by_mask.find(pattern.mask_hash(self.hash), is_it).map(|(column, _)| column)
    }

    /// Has the mask of a column looked for first.
    #[inline]
    pub(crate) fn expect(&mut self, column: u32) {
        self.expected = column;
    }

    /// The subtables, oldest mask first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subtable<S, W>> {
        self.columns().map(|(_, subtable)| subtable)
    }

    /// The subtables with their columns, oldest mask first.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (u32, &Subtable<S, W>)> {
        self.subtables.iter().map(|(handle, subtable)| (handle.index(), subtable))
    }

    /// What the subtables occupy, except for what `S` points to.
    pub(crate) fn heap_bytes(&self) -> usize {
        let each = |subtable: &Subtable<S, W>| {
            subtable.mask.heap_bytes() + subtable.rows.heap_bytes() + subtable.entries.heap_bytes()
        };
        self.subtables.heap_bytes() + self.by_mask.heap_bytes() + self.iter().map(each).sum::<usize>()
    }

    /// Adds a subtable for a pattern's mask, which has none; `None` when there are as many as can be numbered.
    pub(crate) fn insert(
        &mut self,
        layout: &Layout<W>,
        pattern: &Pattern<W>,
        state: impl FnOnce(&SparseMask<W>) -> S,
    ) -> Option<u32> {
        let mask_hash = pattern.mask_hash(self.hash);
        let mask = SparseMask::new(layout, self.hash, pattern.mask());
        let (state, entries) = (state(&mask), Entries::new(mask.len()));
        let subtable = Subtable { mask, mask_hash, rows: Rows::default(), entries, state };
        let column = self.subtables.insert(subtable)?.index();
        let hash_of = |column| self.subtables.get(column).map_or(0, |subtable| subtable.mask_hash);
        self.by_mask.insert(mask_hash, column, 0, hash_of);
        Some(column)
    }

    pub(crate) fn remove(&mut self, column: u32) {
        if let Some(subtable) = self.subtables.remove(column) {
            self.by_mask.remove(subtable.mask_hash, column);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.subtables.clear();
        self.by_mask.clear();
    }
}
