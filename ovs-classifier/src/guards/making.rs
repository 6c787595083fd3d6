//! Guards that are being made, a few rules with each update.

use super::Run;
use super::set::Set;
use crate::subtables::Subtables;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// By how many rules the use of a guard is estimated.
const SAMPLES: usize = 64;

/// How many lines of rows are laid with an update, where not all are at once.
const LAID: usize = 64;

/// For how many masks an update notes in which guards they take part, where it does not for all.
const JOINED: usize = 32;

/// Guards to be, and how far they are: first lines are laid for all rows, then masks are noted that take part, then bits are
/// set, one guard after the other, so that its rows stay in the cache; of each, one mask after the other.
#[derive(Clone, Debug)]
pub(super) struct Making {
    pub(super) set: Set,
    /// How many columns are noted.
    joined: usize,
    /// The guard, the column and the bucket of its rows to go on with, and how many buckets there were.
    guard: usize,
    column: u32,
    bucket: usize,
    buckets: usize,
    copied: usize,
    /// The guards and the rows of some patterns.
    pub(super) samples: Vec<(usize, usize)>,
}

impl Making {
    /// Without rows.
    pub(super) fn new(set: Set) -> Self {
        Self { set, joined: 0, guard: 0, column: 0, bucket: 0, buckets: 0, copied: 0, samples: Vec::new() }
    }

    /// Sets the bits of up to `step` patterns, and a few more, of the columns that take part in these runs; whether all are set.
    pub(super) fn go_on<S, const W: usize>(
        &mut self,
        salt: u64,
        subtables: &Subtables<S, W>,
        runs: &[Box<[Run]>],
        patterns: usize,
        step: usize,
    ) -> bool {
        if !self.set.lay(if step == usize::MAX { step } else { LAID }) {
            return false;
        }
        let joined = if step == usize::MAX { step } else { JOINED };
        for (column, runs) in (0..).zip(runs).skip(self.joined).take(joined) {
            self.set.take_part(column, runs);
            self.joined += 1;
        }
        if self.joined < runs.len() {
            return false;
        }
        let every = (patterns / SAMPLES).max(1);
        let end = self.copied.saturating_add(step);
        // What is visited without a pattern costs less than a pattern.
        let mut visits = step.saturating_mul(4);
        while let Some(guard) = self.set.guards.get(self.guard) {
            if self.copied >= end || visits == 0 {
                return false;
            }
            visits -= 1;
            let subtable = subtables.get(self.column);
            let Some(subtable) = subtable.filter(|_| !guard.leaves_out(self.column)) else {
                self.next_column(runs.len());
                continue;
            };
            if self.buckets != subtable.rows.buckets() {
                // The subtable grew, and its rows are in other buckets.
                (self.bucket, self.buckets) = (0, subtable.rows.buckets());
            }
            if self.bucket >= self.buckets {
                self.next_column(runs.len());
                continue;
            }
            let (word, stride) = (guard.word, self.set.stride);
            for (place, _) in subtable.rows.bucket(self.bucket) {
                let Some(values) = subtable.entries.get(place) else { continue };
                let Some(guard) = self.set.guards.get(self.guard) else { continue };
                let row = guard.row_of_word(salt, stride, subtable.mask.word_of(values, word));
                self.set.set(self.guard, row, self.column);
                if self.copied.is_multiple_of(every) {
                    self.samples.push((self.guard, row));
                }
                self.copied += 1;
            }
            self.bucket += 1;
        }
        true
    }

    fn next_column(&mut self, columns: usize) {
        (self.column, self.bucket, self.buckets) = (self.column + 1, 0, 0);
        if self.column as usize >= columns {
            (self.guard, self.column) = (self.guard + 1, 0);
        }
    }
}
