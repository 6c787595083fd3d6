//! What guards say of one key.

use super::set::{Guard, Line, word};
use super::{Bits, ENOUGH, FEW_OF_FEW, FEW_OF_MANY, FEW_OF_PART, Guards, MAX_GUARDS, MIDDLE, NARROW};

/// After so many guards it is seen whether enough columns are ruled out: where picks are narrow, where they are wide,
/// and where rows are noted. It takes about as long as to ask some guards more, and what it tells comes late and is
/// different for each key: a processor that has guessed wrong begins anew when the last row is there.
const NARROW_STEP: usize = 12;
const WIDE_STEP: usize = 1;
const NOTED_STEP: usize = 4;

/// Where the rows of one key are, of guards by place, as far as they were looked for.
#[derive(Debug)]
pub(crate) struct KeyRows {
    rows: [u32; MAX_GUARDS],
    known: u64,
}

impl KeyRows {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self { rows: [0; MAX_GUARDS], known: 0 }
    }
}

/// Guards, by place, that have been asked about some columns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked(u64);

const _: () = assert!(MAX_GUARDS <= u64::BITS as usize);

impl Asked {
    #[inline(always)]
    pub(crate) fn has(self, guard: usize) -> bool {
        self.0 >> (guard & 63) & 1 != 0
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
        for guards in self.useful().chunks(if N <= NARROW { NARROW_STEP } else { WIDE_STEP }) {
            if count(&open) <= enough {
                break;
            }
            for guard in guards {
                let Some(row) = self.row_of(guard) else { break };
                open = and(open, self.pass_of(guard, row));
            }
        }
        open
    }

    /// Of some columns, of which prefix tries have told what they know, those that the guards leave; notes the rows of
    /// the guards that were asked. None is asked if tries leave two of few columns, or few of
    /// many.
    #[inline(always)]
    pub(crate) fn open_noting(&self, columns: [u64; N], rows: &mut KeyRows) -> [u64; N] {
        let few = match N {
            ..=NARROW => FEW_OF_FEW,
            _ if self.guards.words() > N => FEW_OF_PART,
            _ => FEW_OF_MANY,
        };
        if count(&columns) <= few {
            return columns;
        }
        self.open_asked(columns, rows)
    }

    /// The same, and guards are asked in any case. Those of which no trie knows come first, and have few rows in use.
    /// Where columns are few, tries tell more of their fields than guards; where they are many, guards of these fields
    /// are asked until few (`ENOUGH`) are left.
    #[inline(always)]
    pub(crate) fn open_asked(&self, columns: [u64; N], rows: &mut KeyRows) -> [u64; N] {
        let mut open = self.open_apart(columns, rows);
        if N <= NARROW {
            return open;
        }
        let apart = self.apart();
        for (guards, from) in self.useful().chunks(NOTED_STEP).zip((0..).step_by(NOTED_STEP)) {
            if count(&open) <= ENOUGH {
                break;
            }
            for (i, guard) in (from..).zip(guards).filter(|(i, _)| apart >> i & 1 == 0) {
                let Some(row) = self.note(i, guard, rows) else { break };
                open = and(open, self.pass_of(guard, row));
            }
        }
        open
    }

    /// As [`open_noting`](Self::open_noting), of the guards of which no trie knows.
    #[inline(always)]
    fn open_apart(&self, columns: [u64; N], rows: &mut KeyRows) -> [u64; N] {
        let (mut open, mut left) = (columns, self.apart());
        rows.known |= left;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            let Some((guard, place)) = self.guards.set.guards.get(i).zip(rows.rows.get_mut(i)) else { break };
            let Some(row) = self.row_of(guard) else { break };
            *place = row;
            open = and(open, self.pass_of(guard, row));
        }
        open
    }

    /// The guards of which no trie knows, by place; none for columns beyond the rows.
    #[inline(always)]
    fn apart(&self) -> u64 {
        if self.is_guarded() { self.guards.set.apart } else { 0 }
    }

    /// The row of a guard, which is noted.
    #[inline(always)]
    fn note(&self, i: usize, guard: &Guard, rows: &mut KeyRows) -> Option<u32> {
        let place = rows.rows.get_mut(i)?;
        if rows.known >> i & 1 == 0 {
            *place = self.row_of(guard)?;
            rows.known |= 1 << i;
        }
        Some(*place)
    }

    /// Where the row of a guard begins. No key lacks the word of a guard; that a loop could end there keeps the
    /// compiler from making gathers.
    #[inline(always)]
    fn row_of(&self, guard: &Guard) -> Option<u32> {
        let word = self.key.get(usize::from(guard.word))?;
        Some(guard.row_of_word(self.guards.salt, self.stride(), *word) as u32)
    }

    /// Words of a row: rows of up to a line are picked whole.
    #[inline(always)]
    fn stride(&self) -> usize {
        if N <= MIDDLE { N } else { self.guards.set.stride }
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

    /// The guards in which the mask of a column takes part and that look at words of a stage or one before, by place,
    /// with the bits that each looks at.
    #[inline(always)]
    pub(crate) fn guards_of(&self, column: u32, stage: u8) -> impl Iterator<Item = (usize, Bits)> {
        let set = &self.guards.set;
        let staged = set.staged.get(usize::from(stage)).copied().unwrap_or(u64::MAX);
        set.taken(column, staged).map(|(place, guard)| (place, guard.bits()))
    }

    /// Whether a guard rules out a column whose mask takes part in it.
    #[inline(always)]
    pub(crate) fn rules_out(&self, i: usize, column: u32, rows: &mut KeyRows) -> bool {
        let guard = self.guards.set.guards.get(i);
        let row = guard.and_then(|guard| Some((guard, self.note(i, guard, rows)?)));
        row.is_some_and(|(guard, row)| {
            word(&guard.lines, row as usize + column as usize / 64) >> (column % 64) & 1 == 0
        })
    }

    #[inline(always)]
    fn pass_of(&self, guard: &Guard, row: u32) -> [u64; N] {
        let outside: [u64; N] = match guard.near.first_chunk() {
            Some(near) => *near,
            None => load(&guard.outside, self.first),
        };
        let row: [u64; N] = load(&guard.lines, row as usize + self.first);
        core::array::from_fn(|i| row[i] | outside[i])
    }

    /// Keeps of some columns those that no guard rules out whose bits are all in `wildcards`; asks none that was
    /// `asked` about these columns before.
    #[inline(always)]
    pub(crate) fn drop_known(
        &self,
        columns: &mut [u64; N],
        wildcards: &[u64; W],
        rows: &mut KeyRows,
        asked: &mut Asked,
    ) {
        let guards = if self.is_guarded() { self.guards.set.guards.as_slice() } else { Default::default() };
        let (mut kept, mut left) = (*columns, 0u64);
        if N <= NARROW {
            // Of its fields a trie tells more.
            let mut apart = self.apart();
            while apart != 0 {
                let i = apart.trailing_zeros() as usize;
                apart &= apart - 1;
                let Some(guard) = guards.get(i) else { break };
                let Some(known) = wildcards.get(usize::from(guard.word)) else { break };
                left |= u64::from(guard.mask & !known == 0) << i;
            }
        } else {
            for guard in self.useful().iter().rev() {
                let Some(known) = wildcards.get(usize::from(guard.word)) else { return };
                left = left << 1 | u64::from(guard.mask & !known == 0);
            }
        }
        left &= !asked.0;
        asked.0 |= left;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            let Some(guard) = guards.get(i) else { break };
            let Some(row) = self.note(i, guard, rows) else { break };
            kept = and(kept, self.pass_of(guard, row));
        }
        *columns = kept;
    }
}

/// A word, a pair of words, or whole lines; all ones where there are none.
#[inline(always)]
fn load<const N: usize>(lines: &[Line], at: usize) -> [u64; N] {
    if N <= 2 {
        let Some(Line(words)) = lines.get(at / 8) else { return [u64::MAX; N] };
        return core::array::from_fn(|i| words[(at % 8) | i]);
    }
    let lines = lines.get(at / 8..at / 8 + N / 8).unwrap_or_default();
    core::array::from_fn(|i| lines.get(i / 8).map_or(u64::MAX, |line| line.0[i % 8]))
}

/// The columns that are in both. By value, so that they stay in registers: through memory, each of a chain of these
/// would wait for the one before to be stored.
#[inline(always)]
fn and<const N: usize>(columns: [u64; N], other: [u64; N]) -> [u64; N] {
    core::array::from_fn(|i| columns[i] & other[i])
}

/// Whether there is no column.
#[inline(always)]
pub(crate) fn is_empty<const N: usize>(columns: &[u64; N]) -> bool {
    columns.iter().fold(0, |any, columns| any | columns) == 0
}

#[inline(always)]
pub(crate) fn count<const N: usize>(columns: &[u64; N]) -> u32 {
    columns.iter().map(|columns| columns.count_ones()).sum()
}
