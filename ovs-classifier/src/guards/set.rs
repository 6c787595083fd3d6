//! Guards with their rows: bits by guard, by the value of a guard's bits, by column.

use super::{Bits, FEW, Run, WIDE};
use crate::hash::WordHash;
use alloc::vec::Vec;

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
    /// For each guard, one after the other, the columns that do not take part.
    pub(super) outside: Vec<Line>,
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

/// A run of bits and its rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    pub(super) mask: u64,
    /// The rows one after the other, as far as they are laid.
    pub(super) lines: Vec<Line>,
    pub(super) word: u8,
    /// What a hash is shifted by to be a row.
    pub(super) shift: u8,
}

impl Set {
    pub(super) fn heap_bytes(&self) -> usize {
        let lines: usize = self.guards.iter().map(|guard| guard.lines.capacity()).sum();
        (lines + self.outside.capacity()) * size_of::<Line>() + self.guards.capacity() * size_of::<Guard>()
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
        let (mask, shift) = (run.mask(), (64 - rows_log2) as u8);
        self.guards.push(Guard { mask, lines: Vec::new(), word: run.word, shift });
        let end = self.guards.len() * self.stride;
        self.outside.resize(end.div_ceil(8), Line::default());
        for at in end - self.stride..end {
            if let Some(word) = word_mut(&mut self.outside, at) {
                *word = u64::MAX;
            }
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
        let stride = self.stride;
        for i in 0..self.guards.len() {
            if !self.leaves_out(i, column)
                && let Some(guard) = self.guards.get(i)
            {
                self.set(i, guard.row(salt, stride, key), column);
            }
        }
    }

    /// Sets the bit of a column in a row of a guard.
    pub(super) fn set(&mut self, guard: usize, row: usize, column: u32) {
        let bit = 1 << (column % 64);
        if let Some(guard) = self.guards.get_mut(guard)
            && let Some(word) = word_mut(&mut guard.lines, row + column as usize / 64)
        {
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

    /// Keeps some guards, by their places, in this order; returns the others.
    pub(super) fn keep(&mut self, places: &[usize]) -> Vec<Guard> {
        let mut outside = Vec::new();
        outside.resize((places.len() * self.stride).div_ceil(8), Line::default());
        for (at, columns) in places.iter().flat_map(|place| self.outside(*place)).enumerate() {
            if let Some(word) = word_mut(&mut outside, at) {
                *word = columns;
            }
        }
        self.outside = outside;
        let mut guards = core::mem::take(&mut self.guards);
        self.guards = places.iter().filter_map(|place| guards.get_mut(*place).map(core::mem::take)).collect();
        guards
    }

    /// How many columns a row of a guard has.
    pub(super) fn count(&self, guard: usize, row: usize) -> u32 {
        let lines = self.guards.get(guard).map_or(&[][..], |guard| &guard.lines);
        (row..row + self.stride).map(|at| word(lines, at).count_ones()).sum()
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

    /// How many lines the rows are, of so many words each.
    fn planned(&self, stride: usize) -> usize {
        (stride << (64 - self.shift)).div_ceil(8)
    }

    pub(super) fn is(&self, run: &Run) -> bool {
        self.word == run.word && self.mask == run.mask()
    }

    /// Where the row of a key begins, in words.
    #[inline(always)]
    pub(super) fn row<const W: usize>(&self, salt: u64, stride: usize, key: &[u64; W]) -> usize {
        self.row_of_word(salt, stride, key.get(usize::from(self.word)).copied().unwrap_or(0))
    }

    /// Where the row of the keys begins that have this word.
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
    lines.get(at / 8).map_or(0, |line| line.word(at))
}
