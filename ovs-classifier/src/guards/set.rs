//! Guards with their rows: bits by guard, by the value of a guard's bits, by column.

use super::{Bits, FEW, Run, WIDE};
use crate::hash::WordHash;
use alloc::vec::Vec;

const MIN_ROWS_LOG2: u32 = 6;
const MAX_ROWS_LOG2: u32 = 16;

/// The most words that the rows of a guard take: 32 MiB.
const MAX_WORDS_LOG2: u32 = 22;

/// Guards that were made together.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    /// Words of a row; 0 before guards were first made.
    pub(super) stride: usize,
    pub(super) guards: Vec<Guard>,
    /// How many of them, the first, rule out enough to be asked which masks to probe; the others are only proofs.
    pub(super) useful: usize,
    /// For each guard, one after the other, the columns that do not take part.
    pub(super) outside: Vec<Line>,
    /// For each guard its rows, as far as they are laid; and how many lines there are to be.
    pub(super) lines: Vec<Line>,
    pub(super) planned: usize,
    /// How many bits were set when the guards were made, and how many since.
    pub(super) made: usize,
    pub(super) since: usize,
    /// How many patterns they were made for.
    pub(super) made_for: usize,
}

/// A cache line of columns, in pairs of words: what a row has at least.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [[u64; 2]; 4]);

impl Line {
    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> u64 {
        self.0[at / 2 % 4][at % 2]
    }

    fn word_mut(&mut self, at: usize) -> &mut u64 {
        &mut self.0[at / 2 % 4][at % 2]
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    pub(super) mask: u64,
    pub(super) word: u8,
    /// What a hash is shifted by to be a row.
    pub(super) shift: u8,
    /// Where the rows begin, in words.
    pub(super) at: u32,
}

impl Set {
    pub(super) fn heap_bytes(&self) -> usize {
        (self.lines.capacity() + self.outside.capacity()) * size_of::<Line>()
            + self.guards.capacity() * size_of::<Guard>()
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
        let at = self.planned * 8;
        self.planned += (self.stride << rows_log2).div_ceil(8);
        self.guards.push(Guard { mask: run.mask(), word: run.word, shift: (64 - rows_log2) as u8, at: at as u32 });
        let end = self.guards.len() * self.stride;
        self.outside.resize(end.div_ceil(8), Line::default());
        for at in end - self.stride..end {
            if let Some(word) = word_mut(&mut self.outside, at) {
                *word = u64::MAX;
            }
        }
    }

    /// Lays up to `lines` lines of rows, without any bit; whether all are laid.
    pub(super) fn lay(&mut self, lines: usize) -> bool {
        let missing = self.planned - self.lines.len();
        if missing > 0 {
            // Room for all, which nobody touches before its time.
            self.lines.reserve_exact(missing);
            self.lines.resize(self.lines.len() + missing.min(lines), Line::default());
        }
        missing <= lines
    }

    /// Notes in which guards a column takes part.
    pub(super) fn take_part(&mut self, column: u32, runs: &[Run]) {
        for i in 0..self.guards.len() {
            let Some(guard) = self.guards.get(i).filter(|_| (column as usize) < self.stride * 64) else { continue };
            let (at, takes_part) = (i * self.stride + column as usize / 64, runs.iter().any(|run| guard.is(run)));
            if let Some(word) = word_mut(&mut self.outside, at) {
                let bit = 1 << (column % 64);
                *word = if takes_part { *word & !bit } else { *word | bit };
            }
        }
    }

    /// Gives a mask its column, and the guards that it would take part in, up to `most` of all.
    pub(super) fn add_column(&mut self, column: u32, runs: &[Run], patterns: usize, most: usize) {
        if self.stride == 0 {
            return;
        }
        for run in runs {
            if self.guards.len() < most && !self.guards.iter().any(|guard| guard.is(run)) {
                self.push(run, patterns);
                self.lay(usize::MAX);
                self.useful = self.guards.len();
            }
        }
        self.take_part(column, runs);
    }

    /// Sets the bits of a pattern.
    pub(super) fn add<const W: usize>(&mut self, salt: u64, column: u32, key: &[u64; W]) {
        for i in 0..self.guards.len() {
            if let Some(guard) = self.guards.get(i).filter(|_| !self.leaves_out(i, column)) {
                self.set(guard.row(salt, self.stride, key), column);
            }
        }
    }

    /// Sets the bit of a column in a row.
    pub(super) fn set(&mut self, row: usize, column: u32) {
        let bit = 1 << (column % 64);
        if let Some(word) = word_mut(&mut self.lines, row + column as usize / 64) {
            let is_new = *word & bit == 0;
            *word |= bit;
            self.since += usize::from(is_new);
        }
    }

    /// Whether the mask of a column takes no part in a guard.
    pub(super) fn leaves_out(&self, guard: usize, column: u32) -> bool {
        let place = column as usize / 64;
        place >= self.stride || word(&self.outside, guard * self.stride + place) >> (column % 64) & 1 != 0
    }

    /// The columns that take no part in a guard.
    pub(super) fn outside(&self, guard: usize) -> impl Iterator<Item = u64> {
        (guard * self.stride..(guard + 1) * self.stride).map(|at| word(&self.outside, at))
    }

    /// Keeps some guards, by their places, in this order.
    pub(super) fn keep(&mut self, places: &[usize]) {
        let mut outside = Vec::new();
        outside.resize((places.len() * self.stride).div_ceil(8), Line::default());
        for (at, columns) in places.iter().flat_map(|place| self.outside(*place)).enumerate() {
            if let Some(word) = word_mut(&mut outside, at) {
                *word = columns;
            }
        }
        self.guards = places.iter().filter_map(|place| self.guards.get(*place).copied()).collect();
        self.outside = outside;
    }

    /// How many columns a row has.
    pub(super) fn count(&self, at: usize) -> u32 {
        (at..at + self.stride).map(|at| word(&self.lines, at).count_ones()).sum()
    }
}

fn word_mut(lines: &mut [Line], at: usize) -> Option<&mut u64> {
    lines.get_mut(at / 8).map(|line| line.word_mut(at))
}

impl Guard {
    #[inline(always)]
    pub(super) fn bits(&self) -> Bits {
        (usize::from(self.word), self.mask)
    }

    pub(super) fn is(&self, run: &Run) -> bool {
        self.word == run.word && self.mask == run.mask()
    }

    /// Where the row of a key begins.
    #[inline(always)]
    pub(super) fn row<const W: usize>(&self, salt: u64, stride: usize, key: &[u64; W]) -> usize {
        self.row_of_word(salt, stride, key.get(usize::from(self.word)).copied().unwrap_or(0))
    }

    /// Where the row of the keys begins that have this word.
    #[inline(always)]
    pub(super) fn row_of_word(&self, salt: u64, stride: usize, word: u64) -> usize {
        let row = WordHash::fold((word & self.mask) ^ salt) >> (self.shift & 63);
        self.at as usize + row as usize * stride
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
    lines.get(at / 8).map_or(0, |line| line.word(at))
}
