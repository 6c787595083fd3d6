//! Guards: which masks need not be probed for a key, by a look at a few of its fields.
//!
//! A table with many masks would probe them all. But most hold no rule for the values that a key has in its fields:
//! a mask with forty rules on the leading 16 bits of a source address has forty rows of all there are. So each mask
//! is a *column*, a bit's place in bitmaps, and a *guard* is a run of leading bits of a field with a table of such
//! bitmaps: the row of a value has the bits of the masks that have a rule with this value there. A lookup reads one
//! row per guard, and the AND of the rows is what is left to probe. The cost is a few rows, not the masks.
//!
//! # What a bit says
//!
//! A mask *takes part* in a guard when it has all of the guard's bits. Of the guards of one field it takes part in
//! the longest that it has. If it takes part and its bit in the key's row is clear, no rule of it matches the key, and
//! the guard's bits of the key prove it: that is why a guard can be the *witness* for every mask that it rules out.
//! If its bit is set, nothing is said: rows are shared by values with the same hash, and removal leaves bits behind.
//! So bits are superfluous at times, and never missing.
//!
//! # Bounds
//!
//! There are at most 24 guards, and none in a table of at most [`FEW`] masks, where probing costs less. Where masks are
//! many and the guards would leave more than a quarter of them, someone has masks made that differ bit by bit (a
//! tuple space explosion): then a guard looks at each length of prefix that there is, and there are up to 64 of them.
//! A guard's rows are 4 to 8 for each rule that a mask has on average, at most 2^16. When as many rules have come and
//! gone as there were, the bitmaps are made anew: twice the work in the mean, and a pause for the writer.

use crate::field::{BitOrder, Field};
use crate::hash::WordHash;
use crate::layout::Layout;
use crate::subtables::Subtables;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use arrayvec::ArrayVec;

/// The most guards that a table has; what a lookup reads at most.
pub(crate) const MAX_GUARDS: usize = 64;

/// The most guards of a table whose masks do not look hostile.
const USUAL_GUARDS: usize = 24;

/// The most masks that a table probes without guards.
pub(crate) const FEW: usize = 6;

/// So few masks are probed rather than guarded further, where that costs no more.
pub(crate) const ENOUGH: u32 = 3;

/// The lengths of the runs that guards look at. Longer runs tell more apart where rules share their leading bits.
const LENGTHS: [u8; 9] = [8, 12, 16, 20, 24, 28, 32, 48, 64];

const MIN_ROWS_LOG2: u32 = 6;
const MAX_ROWS_LOG2: u32 = 16;

/// The words that the rows of a guard may take without thrift: 64 KiB.
const CACHED_WORDS_LOG2: u32 = 13;

/// The most words that the rows of a guard take: 32 MiB.
const MAX_WORDS_LOG2: u32 = 22;

/// How many words of columns are picked together: up to 128 masks, up to 512, and more by the thousand.
pub(crate) const NARROW: usize = 2;
pub(crate) const MIDDLE: usize = 8;
pub(crate) const WIDE: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct Guards {
    order: BitOrder,
    /// Where runs may be.
    pieces: Box<[Piece]>,
    guards: Vec<Guard>,
    /// The columns that a mask has.
    live: Vec<u64>,
    columns: usize,
    /// Words of a row; 0 before the guards were first made.
    stride: usize,
    /// Rules that came or went since the guards were made, and what they were made for.
    churn: usize,
    made_for: usize,
    salt: u64,
    /// Whether guards are kept that rule out little, since their bits are proofs.
    proofs: bool,
    /// Whether runs of all lengths may become guards.
    fine: bool,
}

/// A field, or what one word has of it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    word: u8,
    /// How many bits of the word, as a number, are before the piece.
    first: u8,
    len: u8,
}

/// Leading bits of a piece.
#[derive(Clone, Copy, Debug)]
struct Run {
    word: u8,
    /// The bits, as they lie in a key.
    mask: u64,
    /// How many bits there are.
    len: u8,
}

#[derive(Clone, Debug)]
struct Guard {
    run: Run,
    rows_log2: u32,
    /// The columns of the masks that do not take part.
    any: Vec<u64>,
    rows: Vec<u64>,
}

/// What the guards say of `64 * N` columns for one key, asked of one guard after the other.
pub(crate) struct Picked<'a, const W: usize, const N: usize> {
    guards: &'a Guards,
    key: &'a [u64; W],
    /// The first word of columns.
    first: usize,
    /// For each guard asked so far, the columns that it does not rule out.
    passes: ArrayVec<[u64; N], MAX_GUARDS>,
}

/// A guard's bits of the key: the word and the bits in it.
pub(crate) type Bits = (usize, u64);

impl Guards {
    pub(crate) fn new<const W: usize>(layout: &Layout<W>, hash: WordHash, proofs: bool) -> Self {
        Self {
            order: layout.order(),
            pieces: pieces(layout),
            guards: Vec::new(),
            live: Vec::new(),
            columns: 0,
            stride: 0,
            churn: 0,
            made_for: 0,
            salt: hash.salt(usize::MAX - 1),
            proofs,
            fine: false,
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let words: usize = self.guards.iter().map(|guard| guard.any.capacity() + guard.rows.capacity()).sum();
        (words + self.live.capacity()) * size_of::<u64>()
            + self.pieces.len() * size_of::<Piece>()
            + self.guards.capacity() * size_of::<Guard>()
    }

    /// How many words of columns there are.
    #[inline]
    pub(crate) fn words(&self) -> usize {
        self.live.len()
    }

    /// How many words of columns to pick together.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        match self.stride {
            0..=NARROW => NARROW,
            MIDDLE => MIDDLE,
            _ => WIDE,
        }
    }

    /// How many guards there are.
    pub(crate) fn len(&self) -> usize {
        self.guards.len()
    }

    /// The bits that a guard looks at.
    #[inline(always)]
    pub(crate) fn bits(&self, guard: usize) -> Bits {
        self.guards.get(guard).map_or((0, 0), |guard| (usize::from(guard.run.word), guard.run.mask))
    }

    /// Gives a mask its column.
    pub(crate) fn add_column<const W: usize>(&mut self, column: u32, mask: &[u64; W]) {
        let word = column as usize / 64;
        if self.live.len() <= word {
            self.live.resize(word + 1, 0);
        }
        set(&mut self.live, column, true);
        self.columns += 1;
        if self.stride == 0 {
            return;
        }
        // Beyond the stride there is no place in a row; the next rebuild makes one.
        let runs = self.taking_part(mask);
        for guard in &mut self.guards {
            let takes_part = runs.iter().any(|run| guard.run.is(run));
            set(&mut guard.any, column, !takes_part);
        }
        for run in runs {
            if self.guards.len() < self.most() && !self.guards.iter().any(|guard| guard.run.is(&run)) {
                let mut guard = Guard::new(run, self.stride, self.made_for / self.columns.max(1));
                set(&mut guard.any, column, false);
                self.guards.push(guard);
            }
        }
    }

    /// Takes a mask's column away; the bits that its rules left do no harm.
    pub(crate) fn remove_column(&mut self, column: u32) {
        set(&mut self.live, column, false);
        self.columns = self.columns.saturating_sub(1);
    }

    /// Notes a rule of a mask, by a key that it matches. Whether the guards ought to be made anew.
    pub(crate) fn add<const W: usize>(&mut self, column: u32, key: &[u64; W]) -> bool {
        self.churn += 1;
        for guard in &mut self.guards {
            guard.set(self.salt, self.stride, column, key);
        }
        self.are_due()
    }

    /// Notes that a rule is gone. Whether the guards ought to be made anew.
    pub(crate) fn remove(&mut self) -> bool {
        self.churn += 1;
        self.are_due()
    }

    fn are_due(&self) -> bool {
        if self.stride == 0 {
            return self.columns > FEW;
        }
        self.churn > self.made_for.max(64) || self.live.len() > self.stride
    }

    pub(crate) fn clear(&mut self) {
        self.guards.clear();
        self.live.clear();
        self.fine = false;
        (self.columns, self.stride, self.churn, self.made_for) = (0, 0, 0, 0);
    }

    /// Makes the guards anew from the patterns that there are.
    pub(crate) fn rebuild<S, const W: usize>(&mut self, subtables: &Subtables<S, W>) {
        let left = self.make(subtables);
        if !self.fine && left > (self.columns as f64 / 4.0).max(64.0) {
            self.fine = true;
            self.make(subtables);
        }
    }

    /// Makes the guards; returns how many masks they may be expected to leave.
    fn make<S, const W: usize>(&mut self, subtables: &Subtables<S, W>) -> f64 {
        let masks: Vec<[u64; W]> = subtables.iter().map(|subtable| subtable.mask.expand()).collect();
        // For each run: how many masks take part, and with how many patterns.
        let mut counts: BTreeMap<(u8, u64), (Run, usize, usize)> = BTreeMap::new();
        for (subtable, mask) in subtables.iter().zip(&masks) {
            for run in self.taking_part(mask) {
                let (_, masks, patterns) = counts.entry((run.word, run.mask)).or_insert((run, 0, 0));
                (*masks, *patterns) = (*masks + 1, *patterns + subtable.rows.len());
            }
        }
        // The runs in which most masks take part rule most of them out.
        let mut chosen: Vec<(Run, usize, usize)> = counts.into_values().collect();
        chosen.sort_by_key(|(_, masks, _)| core::cmp::Reverse(*masks));
        chosen.truncate(self.most());

        while self.live.last() == Some(&0) {
            self.live.pop();
        }
        // Rows of the widths in which they are picked.
        self.stride = match self.live.len() {
            0..=NARROW => NARROW,
            words if words <= MIDDLE => MIDDLE,
            words => (words + words / 4).next_multiple_of(WIDE),
        };
        self.guards = chosen
            .into_iter()
            .map(|(run, masks, patterns)| Guard::new(run, self.stride, 2 * patterns / masks.max(1)))
            .collect();
        for ((column, subtable), mask) in subtables.columns().zip(&masks) {
            let runs = self.taking_part(mask);
            for guard in &mut self.guards {
                set(&mut guard.any, column, !runs.iter().any(|run| guard.run.is(run)));
            }
            for values in subtable.patterns() {
                let key = subtable.mask.scatter(values);
                for guard in &mut self.guards {
                    guard.set(self.salt, self.stride, column, &key);
                }
            }
        }
        self.made_for = subtables.iter().map(|subtable| subtable.rows.len()).sum();
        self.churn = 0;
        self.order_by_use()
    }

    /// The most guards that there may be.
    fn most(&self) -> usize {
        if self.fine { MAX_GUARDS } else { USUAL_GUARDS }
    }

    /// The runs in which a mask takes part: the longest that it has of each piece, of the lengths that guards have.
    fn taking_part<const W: usize>(&self, mask: &[u64; W]) -> Vec<Run> {
        let run = |piece: &Piece| {
            let word = self.order.number(mask.get(usize::from(piece.word)).copied().unwrap_or(0));
            let has = ((word << piece.first).leading_ones() as u8).min(piece.len);
            let shorter = || LENGTHS.iter().copied().filter(|len| *len <= has).max();
            let len = if self.fine || has == piece.len { has } else { shorter()? };
            let mask = (u64::MAX.checked_shl(64 - u32::from(len))?) >> piece.first;
            Some(Run { word: piece.word, mask: self.order.number(mask), len })
        };
        self.pieces.iter().filter_map(run).collect()
    }

    /// Puts first the guards that leave fewest masks; without need for proofs, drops those that leave hardly fewer.
    /// Returns how many masks are left, if the guards know nothing of one another.
    fn order_by_use(&mut self) -> f64 {
        let mut rated: Vec<(f64, Guard)> =
            self.guards.drain(..).map(|guard| (guard.leaves(&self.live), guard)).collect();
        rated.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = self.columns.max(1) as f64;
        let mut left = all;
        rated.retain(|(leaves, _)| {
            let is_of_use = left > 1.25 && (*leaves < 0.75 * all || self.fine);
            left *= leaves / all;
            is_of_use || self.proofs
        });
        self.guards = rated.into_iter().map(|(_, guard)| guard).collect();
        left
    }
}

impl<'a, const W: usize, const N: usize> Picked<'a, W, N> {
    #[inline(always)]
    pub(crate) fn new(guards: &'a Guards, key: &'a [u64; W], first: usize) -> Self {
        Self { guards, key, first, passes: ArrayVec::new() }
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
        let mut words = [0; N];
        words.iter_mut().zip(live).for_each(|(word, live)| *word = *live);
        words
    }

    /// The columns that the guards leave; what is asked again is answered the same.
    ///
    /// The guards come with the best first, and where few columns are left (`enough`) it is cheaper to probe them.
    #[inline(always)]
    pub(crate) fn open(&mut self, enough: u32) -> [u64; N] {
        let mut open = self.live();
        for guard in 0..self.guards.len() {
            if count(&open) <= enough {
                break;
            }
            let pass = self.pass(guard);
            and(&mut open, &pass);
        }
        open
    }

    /// Asks all guards.
    #[inline(always)]
    pub(crate) fn complete(&mut self) {
        self.pass(MAX_GUARDS);
    }

    /// What each guard said, after all were asked: the columns that it does not rule out.
    #[inline(always)]
    pub(crate) fn passes(&self) -> &[[u64; N]] {
        &self.passes
    }

    /// The columns that a guard does not rule out.
    #[inline(always)]
    pub(crate) fn pass(&mut self, guard: usize) -> [u64; N] {
        while self.passes.len() <= guard
            && let Some(next) = self.guards.guards.get(self.passes.len())
        {
            let row = next.row(self.guards.salt, self.key) * self.guards.stride + self.first;
            let row = next.rows.get(row..).and_then(<[u64]>::first_chunk::<N>);
            let any = next.any.get(self.first..).and_then(<[u64]>::first_chunk::<N>);
            let pass = match (row, any) {
                (Some(row), Some(any)) => core::array::from_fn(|i| row[i] | any[i]),
                // Columns beyond the rows are not guarded.
                _ => [u64::MAX; N],
            };
            self.passes.push(pass);
        }
        self.passes.get(guard).copied().unwrap_or([u64::MAX; N])
    }
}

/// Keeps of some columns those that are in `other`.
#[inline(always)]
pub(crate) fn and<const N: usize>(columns: &mut [u64; N], other: &[u64; N]) {
    columns.iter_mut().zip(other).for_each(|(columns, other)| *columns &= other);
}

#[inline(always)]
fn count<const N: usize>(columns: &[u64; N]) -> u32 {
    columns.iter().map(|columns| columns.count_ones()).sum()
}

impl Run {
    fn is(&self, other: &Self) -> bool {
        (self.word, self.mask) == (other.word, other.mask)
    }
}

impl Guard {
    /// A guard in which no mask takes part yet, for as many patterns of each as will.
    fn new(run: Run, stride: usize, patterns: usize) -> Self {
        let least = (4 * patterns.max(1)).next_power_of_two().ilog2();
        // Up to four times as many where they stay in the cache.
        let cached = CACHED_WORDS_LOG2.saturating_sub(stride.max(1).ilog2());
        let wanted = (least + 2).min(cached).max(least).clamp(MIN_ROWS_LOG2, MAX_ROWS_LOG2);
        // What a row takes grows with the masks; at a million masks there are two rows.
        let room = MAX_WORDS_LOG2.saturating_sub(stride.max(1).ilog2()).max(1);
        let rows_log2 = wanted.min(u32::from(run.len) + 2).min(room);
        Self { run, rows_log2, any: vec![u64::MAX; stride], rows: vec![0; stride << rows_log2] }
    }

    /// How many of the masks a key that one of the patterns matches is left with, in the mean.
    fn leaves(&self, live: &[u64]) -> f64 {
        let (mut once, mut twice) = (0u64, 0u64);
        for row in self.rows.chunks_exact(self.any.len()) {
            let set: u64 = row.iter().map(|bits| u64::from(bits.count_ones())).sum();
            (once, twice) = (once + set, twice + set * set);
        }
        let others: u32 = self.any.iter().zip(live).map(|(any, live)| (any & live).count_ones()).sum();
        f64::from(others) + twice as f64 / once.max(1) as f64
    }

    /// The row of a key.
    #[inline(always)]
    fn row<const W: usize>(&self, salt: u64, key: &[u64; W]) -> usize {
        let word = key.get(usize::from(self.run.word)).copied().unwrap_or(0);
        (WordHash::fold((word & self.run.mask) ^ salt) >> (64 - self.rows_log2)) as usize
    }

    /// Sets the bit of a column in the row of a key, if its mask takes part.
    #[inline]
    fn set<const W: usize>(&mut self, salt: u64, stride: usize, column: u32, key: &[u64; W]) {
        let word = column as usize / 64;
        if self.any.get(word).is_some_and(|any| any >> (column % 64) & 1 == 0) {
            let row = self.row(salt, key) * stride;
            if let Some(bits) = self.rows.get_mut(row + word) {
                *bits |= 1 << (column % 64);
            }
        }
    }
}

fn set(words: &mut [u64], column: u32, on: bool) {
    if let Some(word) = words.get_mut(column as usize / 64) {
        let bit = 1 << (column % 64);
        *word = if on { *word | bit } else { *word & !bit };
    }
}

/// The fields of a layout, by word; where it names none, the halves of all words.
fn pieces<const W: usize>(layout: &Layout<W>) -> Box<[Piece]> {
    let mut fields: Vec<Field> = layout.fields().collect();
    if fields.is_empty() {
        fields = (0..2 * W as u16).filter_map(|half| Field::new(half * 32, 32)).collect();
    }
    let piece = |(word, bits): (usize, u64)| {
        let bits = layout.order().number(bits);
        Piece { word: word as u8, first: bits.leading_zeros() as u8, len: bits.count_ones() as u8 }
    };
    fields.iter().flat_map(|field| field.prefix(field.bits(), layout.order())).map(piece).collect()
}
