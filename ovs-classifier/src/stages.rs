//! Staged lookup: the early word that a subtable holds nothing for this key.
//!
//! For each stage but the last that the mask has words in, a subtable keeps the set of the hashes of its patterns'
//! words up to the end of that stage. A tracked lookup hashes a stage, asks the set, and on a miss stops: no
//! pattern of the subtable begins this way, and only the words hashed so far were read.
//!
//! A set of hashes may say "go on" by collision. That costs bits, never truth: another key with the same tracked
//! bits has the same hashes and takes the same way.
//!
//! Whatever narrows a miss further (prefix tries, witness fields) belongs beside this file: a thing a subtable asks
//! before it reads the next words.

use crate::hash::WordHash;
use crate::sparse::SparseMask;
use alloc::vec::Vec;
use hashbrown::HashTable;

/// The prefixes of a subtable's patterns, by stage.
#[derive(Clone, Debug)]
pub(crate) struct StageIndex {
    levels: Vec<Level>,
}

#[derive(Clone, Debug)]
struct Level {
    /// The prefix ends before this position of the mask's words.
    end: usize,
    prefixes: HashTable<Prefix>,
}

#[derive(Clone, Debug)]
struct Prefix {
    hash: u64,
    /// How many patterns begin this way; never zero.
    patterns: usize,
}

impl StageIndex {
    pub(crate) fn new<const W: usize>(mask: &SparseMask<W>) -> Self {
        let mut levels: Vec<Level> = Vec::new();
        for &end in mask.stage_ends() {
            // A stage without words of its own ends where the one before did; the last is what the rows are for.
            let begun = levels.last().map_or(0, |level| level.end);
            if end > begun && end < mask.len() {
                levels.push(Level { end, prefixes: HashTable::new() });
            }
        }
        Self { levels }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let prefixes: usize = self.levels.iter().map(|level| level.prefixes.allocation_size()).sum();
        prefixes + self.levels.capacity() * size_of::<Level>()
    }

    /// The hash of the masked key, or how many words of the mask it took to see that no pattern begins like it.
    pub(crate) fn hash<const W: usize>(
        &self,
        mask: &SparseMask<W>,
        hash: WordHash,
        key: &[u64; W],
    ) -> Result<u64, usize> {
        let (mut state, mut position) = (hash.start(), 0);
        for level in &self.levels {
            state = mask.hash_range(state, position, level.end, key);
            position = level.end;
            if level.prefixes.find(state, |prefix| prefix.hash == state).is_none() {
                return Err(position);
            }
        }
        Ok(mask.hash_range(state, position, mask.len(), key))
    }

    /// Adds a pattern that was not there, by the values under the mask.
    pub(crate) fn add(&mut self, hash: WordHash, values: &[u64]) {
        for (level, hash) in self.prefixes_of(hash, values) {
            match level.prefixes.find_mut(hash, |prefix| prefix.hash == hash) {
                Some(prefix) => prefix.patterns += 1,
                None => {
                    level.prefixes.insert_unique(hash, Prefix { hash, patterns: 1 }, |prefix| prefix.hash);
                }
            }
        }
    }

    /// Removes a pattern that was added.
    pub(crate) fn remove(&mut self, hash: WordHash, values: &[u64]) {
        for (level, hash) in self.prefixes_of(hash, values) {
            if let Ok(mut entry) = level.prefixes.find_entry(hash, |prefix| prefix.hash == hash) {
                match entry.get().patterns {
                    0 | 1 => drop(entry.remove()),
                    patterns => entry.get_mut().patterns = patterns - 1,
                }
            }
        }
    }

    fn prefixes_of(&mut self, hash: WordHash, values: &[u64]) -> impl Iterator<Item = (&mut Level, u64)> {
        self.levels.iter_mut().map(move |level| {
            let prefix = hash.words(values.get(..level.end).unwrap_or(values));
            (level, prefix)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::StageIndex;
    use crate::hash::WordHash;
    use crate::layout::Layout;
    use crate::sparse::SparseMask;

    const LAYOUT: Layout<4> = Layout::new([0, 1, 2, 3]).expect("stages are 0 to 3");

    #[test]
    fn a_miss_costs_the_words_up_to_the_stage_that_misses() {
        let hash = WordHash::new(0);
        let mask = SparseMask::new(&LAYOUT, &[1, 0, 0xff, 0xff]);
        let mut index = StageIndex::new(&mask);
        index.add(hash, &mask.gather(&[1, 0, 2, 3]));
        assert_eq!(index.hash(&mask, hash, &[0, 0, 2, 3]), Err(1));
        assert_eq!(index.hash(&mask, hash, &[1, 9, 9, 3]), Err(2));
        assert_eq!(index.hash(&mask, hash, &[1, 9, 2, 9]), Ok(mask.hash(hash, &[1, 0, 2, 9])));
    }

    #[test]
    fn a_prefix_stays_until_its_last_pattern_goes() {
        let hash = WordHash::new(0);
        let mask = SparseMask::new(&LAYOUT, &[1, 0, 0, 0xff]);
        let mut index = StageIndex::new(&mask);
        index.add(hash, &[1, 3]);
        index.add(hash, &[1, 4]);
        index.remove(hash, &[1, 3]);
        assert!(index.hash(&mask, hash, &[1, 0, 0, 0]).is_ok());
        index.remove(hash, &[1, 4]);
        assert_eq!(index.hash(&mask, hash, &[1, 0, 0, 0]), Err(1));
    }

    #[test]
    fn a_mask_in_one_stage_has_no_levels() {
        for mask in [[0, 0, 0, 0], [0, 0, 0xff, 0]] {
            assert!(StageIndex::new(&SparseMask::new(&LAYOUT, &mask)).levels.is_empty());
        }
    }
}
