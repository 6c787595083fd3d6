//! Staged lookup: the early word that a subtable holds nothing for this key.
//!
//! For each stage but the last that the mask has words in, a subtable keeps the set of the hashes of its patterns'
//! words up to the end of that stage. A tracked miss asks them stage by stage: at the first that does not know the
//! key's hash, no pattern of the subtable begins this way, and the words up to there prove the miss.
//!
//! A set is [rows](crate::rows) like those of the patterns, with the hash itself for a place, so that it grows by and
//! by and a question is one line. A set of hashes may say "go on" by collision. That costs bits, never truth.

use crate::hash::WordHash;
use crate::layout::STAGES;
use crate::rows::Rows;
use crate::sparse::SparseMask;
use arrayvec::ArrayVec;

/// The prefixes of a subtable's patterns, by stage.
#[derive(Clone, Debug)]
pub(crate) struct StageIndex {
    /// With the subtable: who changes it reads no other line to find them.
    levels: ArrayVec<Level, { STAGES - 1 }>,
}

/// The hashes of a pattern, which a change asks for more than once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashes {
    /// Of all its words.
    pub(crate) whole: u64,
    /// Of its beginnings, by level.
    beginnings: [u32; STAGES - 1],
}

#[derive(Clone, Debug)]
struct Level {
    /// The prefix ends before this position of the mask's words.
    end: usize,
    /// For the hash of each beginning, how many patterns have it; never zero.
    prefixes: Rows,
}

impl StageIndex {
    pub(crate) fn new<const W: usize>(mask: &SparseMask<W>) -> Self {
        let mut levels = ArrayVec::<Level, { STAGES - 1 }>::new();
        for &end in mask.stage_ends() {
            // A stage without words of its own ends where the one before did; the last is what the rows are for.
            let begun = levels.last().map_or(0, |level| level.end);
            if end > begun && end < mask.len() && !levels.is_full() {
                levels.push(Level { end, prefixes: Rows::default() });
            }
        }
        Self { levels }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.levels.iter().map(|level| level.prefixes.heap_bytes()).sum()
    }

    /// How many words of the mask, at most `most`, it takes to see that no pattern is the key's; `None`, if these do
    /// not show it, or only all words of the mask do.
    #[inline(always)]
    pub(crate) fn words_of_a_miss<const W: usize>(
        &self,
        mask: &SparseMask<W>,
        key: &[u64; W],
        most: usize,
    ) -> Option<usize> {
        let (mut state, mut position) = (0u64, 0);
        for level in self.levels.iter().take_while(|level| level.end <= most) {
            state = state.wrapping_add(mask.hash_range(position, level.end, key));
            position = level.end;
            let hash = WordHash::short(state);
            if level.prefixes.find(WordHash::spread(hash), |other| other == hash).is_none() {
                return Some(position);
            }
        }
        None
    }

    /// The hashes of a pattern, by a key that it matches.
    #[inline(always)]
    pub(crate) fn hashes<const W: usize>(&self, mask: &SparseMask<W>, key: &[u64; W]) -> Hashes {
        let (mut hashes, mut position) = (Hashes::default(), 0);
        for (level, beginning) in self.levels.iter().zip(&mut hashes.beginnings) {
            hashes.whole = hashes.whole.wrapping_add(mask.hash_range(position, level.end, key));
            position = level.end;
            *beginning = WordHash::short(hashes.whole);
        }
        hashes.whole = hashes.whole.wrapping_add(mask.hash_range(position, mask.len(), key));
        hashes
    }

    /// Asks for what a change of a pattern will read.
    #[inline(always)]
    pub(crate) fn expect(&self, hashes: &Hashes) {
        let levels = self.levels.iter().zip(&hashes.beginnings);
        levels.for_each(|(level, hash)| level.prefixes.prefetch(WordHash::spread(*hash)));
    }

    /// Adds a pattern that was not there.
    pub(crate) fn add(&mut self, hashes: &Hashes) {
        // In their place, as in all changes: a copy is read as a whole when it has just been written in parts.
        for (level, hash) in self.levels.iter_mut().zip(&hashes.beginnings) {
            match level.prefixes.head_mut(WordHash::spread(*hash), *hash) {
                Some(patterns) => *patterns += 1,
                None => level.prefixes.insert(WordHash::spread(*hash), *hash, 1, WordHash::spread),
            }
        }
    }

    /// Removes a pattern that was added.
    pub(crate) fn remove(&mut self, hashes: &Hashes) {
        for (level, hash) in self.levels.iter_mut().zip(&hashes.beginnings) {
            match level.prefixes.head_mut(WordHash::spread(*hash), *hash) {
                Some(patterns) if *patterns > 1 => *patterns -= 1,
                Some(_) => level.prefixes.remove(WordHash::spread(*hash), *hash),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::StageIndex;
    use crate::hash::WordHash;
    use crate::layout::Layout;
    use crate::sparse::SparseMask;

    const LAYOUT: Layout<4> = Layout::new([0, 1, 2, 3]).expect("stages are 0 to 3");
    const HASH: WordHash = WordHash::new(0);

    #[test]
    fn a_miss_costs_the_words_up_to_the_stage_that_misses() {
        let mask = SparseMask::new(&LAYOUT, HASH, &[1, 0, 0xff, 0xff]);
        let mut index = StageIndex::new(&mask);
        index.add(&index.hashes(&mask, &[1, 0, 2, 3]));
        assert_eq!(index.words_of_a_miss(&mask, &[0, 0, 2, 3], 4), Some(1));
        assert_eq!(index.words_of_a_miss(&mask, &[1, 9, 9, 3], 4), Some(2));
        assert_eq!(index.words_of_a_miss(&mask, &[1, 9, 2, 9], 4), None);
        assert_eq!(index.words_of_a_miss(&mask, &[1, 9, 9, 3], 1), None, "no more than one word is asked");
    }

    #[test]
    fn a_prefix_stays_until_its_last_pattern_goes() {
        let mask = SparseMask::new(&LAYOUT, HASH, &[1, 0, 0, 0xff]);
        let mut index = StageIndex::new(&mask);
        let [a, b] = [3, 4].map(|last| index.hashes(&mask, &[1, 0, 0, last]));
        index.add(&a);
        index.add(&b);
        index.remove(&a);
        assert_eq!(index.words_of_a_miss(&mask, &[1, 0, 0, 0], 4), None);
        index.remove(&b);
        assert_eq!(index.words_of_a_miss(&mask, &[1, 0, 0, 0], 4), Some(1));
    }

    #[test]
    fn the_hash_of_the_whole_is_that_of_the_mask() {
        for mask in [[0; 4], [1, 0, 0xff, 0xff], [1, 2, 3, 4], [0, 0, 0, 9]] {
            let (mask, key) = (SparseMask::new(&LAYOUT, HASH, &mask), [7, 6, 5, 4]);
            assert_eq!(StageIndex::new(&mask).hashes(&mask, &key).whole, mask.hash(&key));
        }
    }

    #[test]
    fn a_mask_in_one_stage_has_no_levels() {
        for mask in [[0, 0, 0, 0], [0, 0, 0xff, 0]] {
            assert!(StageIndex::new(&SparseMask::new(&LAYOUT, HASH, &mask)).levels.is_empty());
        }
    }
}
