//! Guards with their rows: bits by guard, by the value of a guard's bits, by column.

use super::{Bits, FEW, MAX_GUARDS, NARROW, Run, WIDE};
use crate::hash::WordHash;
use crate::layout::STAGES;
use crate::simd::prefetch;
use alloc::vec::Vec;
use arrayvec::ArrayVec;

const MIN_ROWS_LOG2: u32 = 6;
const MAX_ROWS_LOG2: u32 = 16;

/// The most words that the rows of a guard take: 8 MiB, since an update gives that much memory back at most.
const MAX_WORDS_LOG2: u32 = 20;

/// Guards that were made together.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    /// Words of a row; 0 before guards were first made.
    pub(super) stride: usize,
    pub(super) guards: Vec<Guard>,
    /// How many of them, the first, rule out enough to be asked which masks to probe; the others are only proofs.
    pub(super) useful: usize,
    /// By column, as bits, the guards in which the mask takes part, in the order in which they were made.
    takers: Vec<u64>,
    /// In that order, the places of the guards; none of those that were dropped.
    places: ArrayVec<Option<u8>, MAX_GUARDS>,
    /// By place, as bits, those that look at bits of which no trie knows.
    pub(super) apart: u64,
    /// By stage, in the order in which they were made, as bits, those that look at a word of this stage or one before.
    pub(super) staged: [u64; STAGES],
    /// How many bits were set when the guards were made, and how many since.
    pub(super) made: usize,
    pub(super) since: usize,
    /// How many patterns they were made for.
    pub(super) made_for: usize,
}

/// Where the bits of a pattern are: the place of a guard, and the word among those of its rows.
pub(crate) type Marks = ArrayVec<(u8, u32), MAX_GUARDS>;

/// A cache line of columns: what a row has at least.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [u64; 8]);

/// A run of bits and its rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    pub(super) mask: u64,
    /// The rows one after the other, as far as they are laid.
    pub(super) lines: Vec<Line>,
    /// The columns that do not take part.
    pub(super) outside: Vec<Line>,
    /// The first words of them once more, for those who read no other.
    pub(super) near: [u64; NARROW],
    pub(super) word: u8,
    /// What a hash is shifted by to be a row.
    pub(super) shift: u8,
}

impl Set {
    /// Without guards, for rows of so many words and so many patterns.
    pub(super) fn new(stride: usize, patterns: usize) -> Self {
        Self { stride, made_for: patterns, ..Self::default() }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let guards: usize = self.guards.iter().map(Guard::heap_bytes).sum();
        guards + self.guards.capacity() * size_of::<Guard>() + self.takers.capacity() * size_of::<u64>()
    }

    /// Whether it is time to make other guards.
    #[inline]
    pub(super) fn is_worn(&self, columns: usize, patterns: usize, words: usize) -> bool {
        if self.stride == 0 {
            return columns > FEW;
        }
        let (least, most) = (self.made_for / 2, self.made_for * 2);
        // Of many words some are spare, for the masks that come while guards are made.
        let room = if self.stride < WIDE { self.stride } else { self.stride - self.stride / 16 };
        words > room
            || self.since > self.made.max(64 * self.guards.len().max(1))
            || patterns > most.max(64)
            || (patterns < least && self.made_for > 64)
    }

    /// Adds a guard in which no mask takes part, for as many patterns of each as will. Its rows are to be
    /// [laid](Self::lay).
    pub(super) fn push(&mut self, run: &Run, patterns: usize) {
        let rows_log2 = rows_log2(run, self.stride, patterns);
        let mut outside = Vec::new();
        outside.resize(self.stride.div_ceil(8), Line([u64::MAX; 8]));
        let (mask, lines, shift) = (run.mask(), Vec::new(), (64 - rows_log2) as u8);
        if self.places.try_push(Some(self.guards.len() as u8)).is_ok() {
            self.guards.push(Guard { mask, lines, outside, near: [u64::MAX; NARROW], word: run.word, shift });
        }
    }

    /// Lays up to `lines` lines of rows, without any bit; whether all are laid.
    pub(super) fn lay(&mut self, mut lines: usize) -> bool {
        for guard in &mut self.guards {
            let missing = guard.planned(self.stride) - guard.lines.len();
            if missing == 0 {
                continue;
            }
            if lines == 0 {
                return false;
            }
            // Room for all, which nobody touches before its time.
            guard.lines.reserve_exact(missing);
            guard.lines.resize(guard.lines.len() + missing.min(lines), Line::default());
            if missing > lines {
                return false;
            }
            lines -= missing;
        }
        true
    }

    /// Notes in which guards a column takes part.
    pub(super) fn take_part(&mut self, column: u32, runs: &[Run]) {
        if column as usize >= self.stride * 64 {
            return;
        }
        if self.takers.len() <= column as usize {
            self.takers.resize(column as usize + 1, 0);
        }
        let Some(takers) = self.takers.get_mut(column as usize) else { return };
        *takers = 0;
        for (i, place) in self.places.iter().enumerate() {
            let Some(guard) = place.and_then(|place| self.guards.get_mut(usize::from(place))) else { continue };
            let takes_part = runs.iter().any(|run| guard.is(run));
            *takers |= u64::from(takes_part) << i;
            if let Some(word) = word_mut(&mut guard.outside, column as usize / 64) {
                let bit = 1 << (column % 64);
                *word = if takes_part { *word & !bit } else { *word | bit };
                if let Some(near) = guard.near.get_mut(column as usize / 64) {
                    *near = *word;
                }
            }
        }
    }

    /// Gives a mask its column, and the guards that it would take part in, up to `most` of all.
    pub(super) fn add_column(&mut self, column: u32, runs: &[Run], patterns: usize, most: usize) {
        if self.stride == 0 {
            return;
        }
        for run in runs {
            if self.guards.len() < most && !self.places.is_full() && !self.guards.iter().any(|guard| guard.is(run)) {
                self.push(run, patterns);
                self.lay(usize::MAX);
                self.useful = self.guards.len();
            }
        }
        self.take_part(column, runs);
    }

    /// Of some guards, as bits in the order in which they were made, those in which the mask of a column takes part,
    /// with their places.
    #[inline(always)]
    pub(super) fn taken(&self, column: u32, some: u64) -> impl Iterator<Item = (usize, &Guard)> {
        let mut left = self.takers.get(column as usize).copied().unwrap_or(0) & some;
        core::iter::from_fn(move || {
            let made = (left != 0).then_some(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(self.places.get(made).copied().flatten())
        })
        .filter_map(|place| Some((place?.into(), self.guards.get(usize::from(place?))?)))
    }

    /// Notes by stage which guards look at words of it, or of one before.
    pub(super) fn note_stages(&mut self, stages: &[u8]) {
        self.staged = core::array::from_fn(|stage| {
            let is_one = |place: u8| {
                let guard = self.guards.get(usize::from(place))?;
                stages.get(usize::from(guard.word)).map(|of| usize::from(*of) <= stage)
            };
            let made = (0..).zip(&self.places);
            made.fold(0, |all, (i, place): (u32, _)| all | u64::from(place.and_then(is_one).unwrap_or(false)) << i)
        });
    }

    /// Where the bits of a pattern are, which is asked for.
    #[inline(always)]
    pub(super) fn seek<const W: usize>(&self, salt: u64, column: u32, key: &[u64; W], marks: &mut Marks) {
        for (place, guard) in self.taken(column, u64::MAX) {
            let word = key.get(usize::from(guard.word)).copied().unwrap_or(0);
            let at = guard.row_of_word(salt, self.stride, word) + column as usize / 64;
            guard.lines.get(at / 8).into_iter().for_each(prefetch);
            let _ = marks.try_push((place as u8, at as u32));
        }
    }

    /// Sets the bits of a pattern of a column.
    pub(super) fn mark(&mut self, column: u32, marks: &Marks) {
        for (place, at) in marks {
            if let Some(guard) = self.guards.get_mut(usize::from(*place)) {
                self.since += usize::from(guard.set_at(*at as usize, column));
            }
        }
    }

    /// Sets the bit of a column in a row of a guard.
    pub(super) fn set(&mut self, guard: usize, row: usize, column: u32) {
        let is_new = self.guards.get_mut(guard).is_some_and(|guard| guard.set(row, column));
        self.since += usize::from(is_new);
    }

    /// Keeps some guards, by their places, in this order; returns the others.
    pub(super) fn keep(&mut self, places: &[usize]) -> Vec<Guard> {
        let mut guards = core::mem::take(&mut self.guards);
        self.guards = places.iter().filter_map(|place| guards.get_mut(*place).map(core::mem::take)).collect();
        for made in &mut self.places {
            let kept = |old: u8| places.iter().position(|place| *place == usize::from(old));
            *made = made.and_then(kept).map(|place| place as u8);
        }
        guards
    }

    /// How many columns a row of a guard has.
    pub(super) fn count(&self, guard: usize, row: usize) -> u32 {
        let lines = self.guards.get(guard).map_or(&[][..], |guard| &guard.lines);
        (row..row + self.stride).map(|at| word(lines, at).count_ones()).sum()
    }
}

fn word_mut(lines: &mut [Line], at: usize) -> Option<&mut u64> {
    lines.get_mut(at / 8).map(|line| &mut line.0[at % 8])
}

impl Guard {
    #[inline(always)]
    pub(super) fn bits(&self) -> Bits {
        (usize::from(self.word), self.mask)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        (self.lines.capacity() + self.outside.capacity()) * size_of::<Line>()
    }

    /// Whether the mask of a column takes no part; or has no place in a row.
    #[inline(always)]
    pub(super) fn leaves_out(&self, column: u32) -> bool {
        let word = self.outside.get(column as usize / 512).map(|line| line.0[column as usize / 64 % 8]);
        word.is_none_or(|word| word >> (column % 64) & 1 != 0)
    }

    /// Sets the bit of a column in a row; whether it was not.
    #[inline(always)]
    fn set(&mut self, row: usize, column: u32) -> bool {
        self.set_at(row + column as usize / 64, column)
    }

    /// As [`set`](Self::set), in the word of the column in the row.
    #[inline(always)]
    fn set_at(&mut self, at: usize, column: u32) -> bool {
        let bit = 1 << (column % 64);
        word_mut(&mut self.lines, at).is_some_and(|word| {
            let is_new = *word & bit == 0;
            // What is written goes back to memory.
            if is_new {
                *word |= bit;
            }
            is_new
        })
    }

    /// How many lines the rows are, of so many words each.
    fn planned(&self, stride: usize) -> usize {
        (stride << (64 - self.shift)).div_ceil(8)
    }

    pub(super) fn is(&self, run: &Run) -> bool {
        self.word == run.word && self.mask == run.mask()
    }

    /// Where the row of the keys begins that have this word of the guard, in words.
    #[inline(always)]
    pub(super) fn row_of_word(&self, salt: u64, stride: usize, word: u64) -> usize {
        let row = WordHash::fold((word & self.mask) ^ salt) >> (self.shift & 63);
        row as usize * stride
    }
}

/// How many rows a guard has for as many patterns of each mask, as a logarithm.
pub(super) fn rows_log2(run: &Run, stride: usize, patterns: usize) -> u32 {
    let wanted = (4 * patterns.max(1)).next_power_of_two().ilog2().clamp(MIN_ROWS_LOG2, MAX_ROWS_LOG2);
    // What a row takes grows with the masks; at a million masks there are two rows.
    let room = MAX_WORDS_LOG2.saturating_sub(stride.max(1).ilog2()).max(1);
    wanted.min(u32::from(run.len) + 2).min(room)
}

/// A word; none of it where there is none.
#[inline(always)]
pub(super) fn word(lines: &[Line], at: usize) -> u64 {
    lines.get(at / 8).map_or(0, |line| line.0[at % 8])
}

#[cfg(test)]
mod tests {
    use super::{Marks, Run, Set};
    use alloc::vec::Vec;

    /// The words of the guards in which a column takes part, and where its bits are.
    fn taken(set: &Set, column: u32) -> Vec<(u8, u32)> {
        let mut marks = Marks::new();
        set.seek(7, column, &[1, 2, 3, 4], &mut marks);
        let words = marks.iter().map(|(place, at)| (set.guards[usize::from(*place)].word, *at));
        let mut words: Vec<_> = words.collect();
        words.sort_unstable();
        words
    }

    #[test]
    fn a_mask_takes_part_in_its_guards_wherever_they_are() {
        let run = |word| Run { word, first: 0, len: 64, bytes: false };
        let mut set = Set::new(1, 100);
        (0..3).for_each(|word| set.push(&run(word), 10));
        set.lay(usize::MAX);
        set.take_part(5, &[run(0), run(2)]);
        set.take_part(6, &[run(1)]);
        let before = taken(&set, 5);
        assert_eq!(before.iter().map(|(word, _)| *word).collect::<Vec<_>>(), [0, 2]);

        // The guard of word 1 goes, the others change places, and another comes.
        let gone = set.keep(&[2, 0]);
        assert_eq!((gone.iter().filter(|guard| guard.mask != 0).count(), set.guards.len()), (1, 2));
        assert_eq!((taken(&set, 5), taken(&set, 6)), (before.clone(), Vec::new()));
        set.add_column(7, &[run(0), run(3)], 10, 64);
        assert_eq!(taken(&set, 7).iter().map(|(word, _)| *word).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(taken(&set, 5), before);

        // What is marked is in the rows.
        let mut marks = Marks::new();
        set.seek(7, 5, &[1, 2, 3, 4], &mut marks);
        set.mark(5, &marks);
        set.mark(5, &marks);
        assert_eq!((set.since, marks.iter().map(|(place, at)| set.count((*place).into(), *at as usize)).sum()), (2, 2));
    }
}
