//! What guards say of one key.

use super::set::{Guard, Line, word};
use super::{Bits, Guards, MAX_GUARDS, MIDDLE};
use arrayvec::ArrayVec;

/// After so many guards it is seen whether all columns but one are ruled out: what that tells comes late.
const TOGETHER: usize = 4;

/// Where the rows of one key are, as far as they were looked for: of the first guards, one after the other.
#[derive(Debug, Default)]
pub(crate) struct KeyRows(ArrayVec<u32, MAX_GUARDS>);

impl KeyRows {
    /// Where the row of a guard begins.
    #[inline(always)]
    fn row<const W: usize>(&mut self, guards: &Guards, i: usize, guard: &Guard, key: &[u64; W]) -> u32 {
        match self.0.get(i) {
            Some(row) => *row,
            None => {
                let row = guard.row(guards.salt, guards.set.stride, key) as u32;
                if self.0.len() == i {
                    let _ = self.0.try_push(row);
                }
                row
            }
        }
    }
}

/// What the guards say of `64 * N` columns for one key.
#[derive(Clone, Copy)]
pub(crate) struct Picked<'a, const W: usize, const N: usize> {
    guards: &'a Guards,
    key: &'a [u64; W],
    /// The first word of columns.
    first: usize,
}

impl<'a, const W: usize, const N: usize> Picked<'a, W, N> {
    #[inline(always)]
    pub(crate) fn new(guards: &'a Guards, key: &'a [u64; W], first: usize) -> Self {
        Self { guards, key, first }
    }

    /// The first word of columns.
    #[inline(always)]
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    /// The columns that a mask has.
    #[inline(always)]
    pub(crate) fn live(&self) -> [u64; N] {
        let live = self.guards.live.get(self.first..).unwrap_or_default();
        match live.first_chunk::<N>() {
            Some(live) => *live,
            None => {
                let mut words = [0; N];
                words.iter_mut().zip(live).for_each(|(word, live)| *word = *live);
                words
            }
        }
    }

    /// The columns that the guards leave, where few (`enough`) will do: the guards come with the best first.
    #[inline(always)]
    pub(crate) fn open(&self, enough: u32) -> [u64; N] {
        let mut open = self.live();
        for guard in self.useful() {
            if count(&open) <= enough {
                break;
            }
            // Rows of up to a line are picked whole.
            let stride = if N <= MIDDLE { N } else { self.guards.set.stride };
            let row = guard.row(self.guards.salt, stride, self.key) as u32;
            and(&mut open, &self.pass_of(guard, row));
        }
        open
    }

    /// The columns that the guards leave, one or as few as can be; notes the rows of the guards that were asked.
    #[inline(always)]
    pub(crate) fn open_noting(&self, rows: &mut KeyRows) -> [u64; N] {
        let mut open = self.live();
        for (guards, from) in self.useful().chunks(TOGETHER).zip((0..).step_by(TOGETHER)) {
            if count(&open) <= 1 {
                break;
            }
            for (guard, i) in guards.iter().zip(from..) {
                let row = rows.row(self.guards, i, guard, self.key);
                and(&mut open, &self.pass_of(guard, row));
            }
        }
        open
    }

    /// The guards to ask which columns are open; none for columns beyond the rows.
    #[inline(always)]
    fn useful(&self) -> &'a [Guard] {
        let useful = if self.is_guarded() { self.guards.set.useful } else { 0 };
        self.guards.set.guards.get(..useful).unwrap_or_default()
    }

    #[inline(always)]
    fn is_guarded(&self) -> bool {
        self.first + N <= self.guards.set.stride
    }

    /// The bits that each guard looks at.
    #[inline(always)]
    pub(crate) fn bits(&self) -> impl Iterator<Item = (usize, Bits)> {
        self.guards.set.guards.iter().map(Guard::bits).enumerate()
    }

    /// Whether a guard rules a column out.
    #[inline(always)]
    pub(crate) fn rules_out(&self, rows: &mut KeyRows, guard: usize, column: u32) -> bool {
        let (set, place, i) = (&self.guards.set, column as usize / 64, guard);
        let Some(guard) = set.guards.get(guard).filter(|_| place < set.stride) else { return false };
        let row = rows.row(self.guards, i, guard, self.key) as usize;
        let pass = word(&set.lines, guard.at as usize + place) | word(&set.lines, row + place);
        pass >> (column % 64) & 1 == 0
    }

    #[inline(always)]
    fn pass_of(&self, guard: &Guard, row: u32) -> [u64; N] {
        let set = &self.guards.set;
        let any: [u64; N] = load(&set.lines, guard.at as usize + self.first);
        let row: [u64; N] = load(&set.lines, row as usize + self.first);
        core::array::from_fn(|i| row[i] | any[i])
    }

    /// Keeps of some columns those that no guard rules out whose bits are all in `wildcards`.
    #[inline(always)]
    pub(crate) fn drop_known(&self, rows: &mut KeyRows, columns: &mut [u64; N], wildcards: &[u64; W]) {
        let guards = if self.is_guarded() { self.guards.set.guards.as_slice() } else { Default::default() };
        for (i, guard) in guards.iter().enumerate() {
            let known = wildcards.get(usize::from(guard.word)).copied().unwrap_or(0);
            if guard.mask & !known == 0 {
                and(columns, &self.pass_of(guard, rows.row(self.guards, i, guard, self.key)));
                if columns.iter().all(|columns| *columns == 0) {
                    return;
                }
            }
        }
    }
}

/// A word, a pair of words, or whole lines; all ones where there are none.
#[inline(always)]
fn load<const N: usize>(lines: &[Line], at: usize) -> [u64; N] {
    if N == 1 {
        return [lines.get(at / 8).map_or(u64::MAX, |line| line.word(at)); N];
    }
    if N <= 2 {
        let pair = lines.get(at / 8).map_or([u64::MAX; 2], |line| line.0[at / 2 % 4]);
        return core::array::from_fn(|i| pair[i % 2]);
    }
    let lines = lines.get(at / 8..at / 8 + N / 8).unwrap_or_default();
    core::array::from_fn(|i| lines.get(i / 8).map_or(u64::MAX, |line| line.word(i % 8)))
}

/// Keeps of some columns those that are in `other`.
#[inline(always)]
fn and<const N: usize>(columns: &mut [u64; N], other: &[u64; N]) {
    columns.iter_mut().zip(other).for_each(|(columns, other)| *columns &= other);
}

#[inline(always)]
fn count<const N: usize>(columns: &[u64; N]) -> u32 {
    columns.iter().map(|columns| columns.count_ones()).sum()
}
