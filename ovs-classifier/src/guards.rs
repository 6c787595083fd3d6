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
//! A guard's rows are 4 to 8 for each rule that a mask has on average, more where that is little memory, at most 2^16.
//!
//! # Making them anew
//!
//! When as many bits have been set as there were, or half of the rules are gone, the guards are made anew: in the
//! background, a few rules with each update, while the old ones answer. An update sets its bits in both. So no update
//! waits, and the work is a constant for each.

use crate::field::{BitOrder, Field};
use crate::hash::WordHash;
use crate::layout::Layout;
use crate::subtables::Subtables;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The most guards that a table has; what a lookup reads at most.
pub(crate) const MAX_GUARDS: usize = 64;

/// The most guards of a table whose masks do not look hostile.
const USUAL_GUARDS: usize = 24;

/// The most masks that a table probes without guards.
pub(crate) const FEW: usize = 6;

/// So few masks are probed rather than guarded further, where that costs no more.
pub(crate) const ENOUGH: u32 = 3;

/// A guard that leaves more than this part of all masks is not asked which masks to probe.
const USEFUL: f64 = 0.97;

/// The lengths of the runs that guards look at. Longer runs tell more apart where rules share their leading bits.
const LENGTHS: [u8; 9] = [8, 12, 16, 20, 24, 28, 32, 48, 64];

const MIN_ROWS_LOG2: u32 = 6;
const MAX_ROWS_LOG2: u32 = 16;

/// The words that all rows together may take without thrift: as many for each rule, and as many at least.
const SPARE_WORDS_PER_RULE: usize = 8;
const SPARE_WORDS: usize = 1 << 13;

/// The most words that the rows of a guard take: 32 MiB.
const MAX_WORDS_LOG2: u32 = 22;

/// How many words of columns are picked together: up to 64 masks (where guards are proofs), up to 128, up to 512, and
/// more by the thousand.
pub(crate) const SINGLE: usize = 1;
pub(crate) const NARROW: usize = 2;
pub(crate) const MIDDLE: usize = 8;
pub(crate) const WIDE: usize = 16;

/// So many rules are copied at once rather than in the background.
const AT_ONCE: usize = 256;

/// For how many rules an update sets the bits of all guards to be: they are done when an eighth as many updates as there
/// are rules have come. And how many bits it sets at least.
const STEP: usize = 8;
const LEAST_STEP: usize = 256;

/// By how many rules the use of a guard is estimated.
const SAMPLES: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Guards {
    order: BitOrder,
    /// Where runs may be.
    pieces: Box<[Piece]>,
    salt: u64,
    /// Whether guards are kept that rule out little, since their bits are proofs.
    proofs: bool,
    /// Whether runs of all lengths may become guards.
    fine: bool,
    /// The columns that a mask has.
    live: Vec<u64>,
    columns: usize,
    /// How many patterns there are.
    patterns: usize,
    /// By column, the runs in which the mask takes part.
    runs: Vec<Box<[Run]>>,
    /// How many masks take part in each run.
    counts: BTreeMap<Run, u32>,
    set: Set,
    making: Option<Box<Making>>,
}

/// A field, or what one word has of it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    word: u8,
    /// How many bits of the word, as a number, are before the piece.
    first: u8,
    len: u8,
}

/// Leading bits of a piece: four bytes, since each mask has a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    word: u8,
    /// How many bits of the word, as a number, are before the run, and how many it has: one at least.
    first: u8,
    len: u8,
    /// Whether words are bytes rather than numbers.
    bytes: bool,
}

impl Run {
    /// The bits, as they lie in a key.
    fn mask(self) -> u64 {
        let order = if self.bytes { BitOrder::Bytes } else { BitOrder::Number };
        order.number(u64::MAX.checked_shl(64 - u32::from(self.len)).unwrap_or(0) >> (self.first & 63))
    }
}

/// Guards that were made together.
#[derive(Clone, Debug, Default)]
struct Set {
    /// Words of a row; 0 before guards were first made.
    stride: usize,
    guards: Vec<Guard>,
    /// How many of them, the first, rule out enough to be asked which masks to probe; the others are only proofs.
    useful: usize,
    /// For each guard, the columns that do not take part, and then its rows.
    lines: Vec<Line>,
    /// How many bits were set when the guards were made, and how many since.
    made: usize,
    since: usize,
    /// How many patterns they were made for.
    made_for: usize,
}

/// A cache line of columns, in pairs of words: what a row has at least.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([[u64; 2]; 4]);

impl Line {
    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        self.0[at / 2 % 4][at % 2]
    }

    fn word_mut(&mut self, at: usize) -> &mut u64 {
        &mut self.0[at / 2 % 4][at % 2]
    }
}

#[derive(Clone, Copy, Debug)]
struct Guard {
    mask: u64,
    word: u8,
    /// What a hash is shifted by to be a row.
    shift: u8,
    /// Where the columns stand that do not take part, in words; the rows begin after that.
    at: u32,
}

/// Guards to be, and how far they are: one guard after the other, so that its rows stay in the cache; of each, one mask
/// after the other.
#[derive(Clone, Debug)]
struct Making {
    set: Set,
    /// The guard, the column and the bucket of its rows to go on with, and how many buckets there were.
    guard: usize,
    column: u32,
    bucket: usize,
    buckets: usize,
    copied: usize,
    /// The guards and the rows, as places of words, of some patterns.
    samples: Vec<(usize, usize)>,
}

/// What the guards say of `64 * N` columns for one key.
#[derive(Clone, Copy)]
pub(crate) struct Picked<'a, const W: usize, const N: usize> {
    guards: &'a Guards,
    key: &'a [u64; W],
    /// The first word of columns.
    first: usize,
}

/// A guard's bits of the key: the word and the bits in it.
pub(crate) type Bits = (usize, u64);

impl Guards {
    pub(crate) fn new<const W: usize>(layout: &Layout<W>, hash: WordHash, proofs: bool) -> Self {
        Self {
            order: layout.order(),
            pieces: pieces(layout),
            salt: hash.salt(usize::MAX - 1),
            proofs,
            fine: false,
            live: Vec::new(),
            columns: 0,
            patterns: 0,
            runs: Vec::new(),
            counts: BTreeMap::new(),
            set: Set::default(),
            making: None,
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let runs: usize = self.runs.iter().map(|runs| size_of_val(&**runs)).sum();
        self.set.heap_bytes()
            + self.making.as_ref().map_or(0, |making| making.set.heap_bytes() + size_of::<Making>())
            + self.live.capacity() * size_of::<u64>()
            + self.pieces.len() * size_of::<Piece>()
            + self.runs.capacity() * size_of::<Box<[Run]>>()
            + runs
    }

    /// How many words of columns there are.
    #[inline]
    pub(crate) fn words(&self) -> usize {
        self.live.len()
    }

    /// How many words of columns to pick together.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        match self.set.stride {
            SINGLE => SINGLE,
            0..=NARROW => NARROW,
            MIDDLE => MIDDLE,
            _ => WIDE,
        }
    }

    /// How many guards there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.set.guards.len()
    }

    /// The bits that a guard looks at.
    #[inline(always)]
    pub(crate) fn bits(&self, guard: usize) -> Bits {
        self.set.guards.get(guard).map_or((0, 0), Guard::bits)
    }

    /// Gives a mask its column.
    pub(crate) fn add_column<const W: usize>(&mut self, column: u32, mask: &[u64; W]) {
        let word = column as usize / 64;
        if self.live.len() <= word {
            self.live.resize(word + 1, 0);
        }
        set(&mut self.live, column, true);
        self.columns += 1;
        let runs = self.taking_part(mask);
        self.participate(column, runs);
        let most = self.most();
        let runs = self.runs.get(column as usize).map_or(&[][..], |runs| runs);
        // Beyond the stride there is no place in a row; the guards to be have one.
        self.set.add_column(column, runs, self.patterns / self.columns.max(1), most);
        if let Some(making) = &mut self.making {
            making.set.add_column(column, runs, self.patterns / self.columns.max(1), 0);
        }
    }

    /// Notes the runs in which a column takes part, instead of those that it took part in.
    fn participate(&mut self, column: u32, runs: Box<[Run]>) {
        if self.runs.len() <= column as usize {
            self.runs.resize(column as usize + 1, Box::default());
        }
        let old = self.runs.get_mut(column as usize).map(|place| core::mem::replace(place, runs.clone()));
        for run in old.iter().flatten() {
            if let Some(count) = self.counts.get_mut(run) {
                *count -= 1;
            }
        }
        runs.iter().for_each(|run| *self.counts.entry(*run).or_insert(0) += 1);
        if old.is_some_and(|old| !old.is_empty()) {
            self.counts.retain(|_, count| *count > 0);
        }
    }

    /// Takes a mask's column away; the bits that its rules left do no harm.
    pub(crate) fn remove_column(&mut self, column: u32) {
        set(&mut self.live, column, false);
        self.columns = self.columns.saturating_sub(1);
        self.participate(column, Box::default());
    }

    /// Notes a pattern of a mask, by a key that it matches. Whether the guards are to be [made](Self::rebuild) anew.
    pub(crate) fn add<const W: usize>(&mut self, column: u32, key: &[u64; W]) -> bool {
        self.patterns += 1;
        self.set.add(self.salt, column, key);
        if let Some(making) = &mut self.making {
            making.set.add(self.salt, column, key);
        }
        self.are_due()
    }

    /// Notes that a pattern is gone. Whether the guards are to be [made](Self::rebuild) anew.
    pub(crate) fn remove(&mut self) -> bool {
        self.patterns = self.patterns.saturating_sub(1);
        self.are_due()
    }

    #[inline]
    fn are_due(&self) -> bool {
        self.making.is_some() || self.set.is_worn(self.columns, self.patterns, self.live.len())
    }

    pub(crate) fn clear(&mut self) {
        self.live.clear();
        self.runs.clear();
        self.counts.clear();
        (self.columns, self.patterns, self.fine) = (0, 0, false);
        (self.set, self.making) = (Set::default(), None);
    }

    /// Goes on making the guards anew from the patterns that there are; begins, if they are not being made.
    pub(crate) fn rebuild<S, const W: usize>(&mut self, subtables: &Subtables<S, W>) {
        if self.making.is_none() {
            self.making = Some(Box::new(self.begin()));
        }
        let Some(making) = &mut self.making else { return };
        let step = match self.patterns {
            0..=AT_ONCE => usize::MAX,
            _ => (STEP * making.set.guards.len()).max(LEAST_STEP),
        };
        if !making.go_on(self.salt, subtables, self.runs.len(), self.patterns, step) {
            return;
        }
        let Some(made) = self.making.take() else { return };
        let left = self.adopt(*made);
        if !self.fine && left > (self.columns as f64 / 4.0).max(64.0) {
            self.fine = true;
            for (column, subtable) in subtables.columns() {
                let runs = self.taking_part(&subtable.mask.expand());
                self.participate(column, runs);
            }
            self.making = Some(Box::new(self.begin()));
        }
    }

    /// Chooses guards, and makes them without rows.
    fn begin(&mut self) -> Making {
        while self.live.last() == Some(&0) {
            self.live.pop();
        }
        // Rows of the widths in which they are picked.
        let stride = match self.live.len() {
            0..=SINGLE if self.proofs => SINGLE,
            0..=NARROW => NARROW,
            words if words <= MIDDLE => MIDDLE,
            words => (words + words / 4).next_multiple_of(WIDE),
        };
        // The runs in which most masks take part rule most of them out.
        let mut chosen: Vec<(u32, Run)> = self.counts.iter().map(|(run, masks)| (*masks, *run)).collect();
        chosen.sort_by_key(|(masks, _)| core::cmp::Reverse(*masks));
        chosen.truncate(self.most());

        let mut set = Set { stride, made_for: self.patterns, ..Set::default() };
        // They will have twice the patterns before they are made anew.
        let patterns = 2 * self.patterns / self.columns.max(1);
        let spare = (2 * self.patterns * SPARE_WORDS_PER_RULE).max(SPARE_WORDS);
        let words = |more: u32| {
            let rows = |run: &Run| (stride << rows_log2(run, stride, patterns)) << more;
            chosen.iter().map(|(_, run)| rows(run)).sum::<usize>()
        };
        let more = [2, 1].into_iter().find(|more| words(*more) <= spare).unwrap_or(0);
        chosen.iter().for_each(|(_, run)| set.push(run, patterns << more));
        for (column, runs) in (0..).zip(&self.runs) {
            set.take_part(column, runs);
        }
        Making { set, guard: 0, column: 0, bucket: 0, buckets: 0, copied: 0, samples: Vec::new() }
    }

    /// Uses guards that are made, those first that leave fewest masks; without need for proofs, drops those that leave
    /// hardly fewer. Returns how many masks are left, if the guards know nothing of one another.
    fn adopt(&mut self, making: Making) -> f64 {
        let Making { mut set, samples, .. } = making;
        let leaves = |i: usize, guard: &Guard| {
            let rows = samples.iter().filter(|(guard, _)| *guard == i);
            let (rows, bits) = rows.fold((0, 0), |(rows, bits), (_, at)| (rows + 1, bits + set.count(*at)));
            let others: u32 =
                set.words(guard.at as usize).zip(&self.live).map(|(any, live)| (any & live).count_ones()).sum();
            f64::from(others) + f64::from(bits) / f64::from(rows.max(1))
        };
        let mut rated: Vec<(f64, Guard)> =
            set.guards.iter().enumerate().map(|(i, guard)| (leaves(i, guard), *guard)).collect();
        rated.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = self.columns.max(1) as f64;
        let mut left = all;
        rated.retain(|(leaves, _)| {
            let is_of_use = left > 1.25 && (*leaves < 0.75 * all || self.fine);
            left *= leaves / all;
            is_of_use || self.proofs
        });
        // Where each looks at a length of its own, each rules out few masks, and only all of them most.
        let useful = |leaves: f64| self.fine || leaves < USEFUL * all;
        set.useful = rated.iter().take_while(|(leaves, _)| useful(*leaves)).count();
        set.guards = rated.into_iter().map(|(_, guard)| guard).collect();
        (set.made, set.since) = (set.since, 0);
        self.set = set;
        left
    }

    /// The most guards that there may be.
    fn most(&self) -> usize {
        if self.fine { MAX_GUARDS } else { USUAL_GUARDS }
    }

    /// The runs in which a mask takes part: the longest that it has of each piece, of the lengths that guards have.
    fn taking_part<const W: usize>(&self, mask: &[u64; W]) -> Box<[Run]> {
        let run = |piece: &Piece| {
            let word = mask.get(usize::from(piece.word)).copied().filter(|word| *word != 0)?;
            let has = ((self.order.number(word) << piece.first).leading_ones() as u8).min(piece.len);
            let shorter = || LENGTHS.iter().copied().filter(|len| *len <= has).max();
            let len = if self.fine || has == piece.len { has } else { shorter()? };
            let bytes = self.order == BitOrder::Bytes;
            (len > 0).then_some(Run { word: piece.word, first: piece.first, len, bytes })
        };
        self.pieces.iter().filter_map(run).collect()
    }
}

impl Set {
    fn heap_bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>() + self.guards.capacity() * size_of::<Guard>()
    }

    /// Whether it is time to make other guards.
    #[inline]
    fn is_worn(&self, columns: usize, patterns: usize, words: usize) -> bool {
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

    /// Adds a guard in which no mask takes part, for as many patterns of each as will.
    fn push(&mut self, run: &Run, patterns: usize) {
        let rows_log2 = rows_log2(run, self.stride, patterns);
        let at = self.lines.len() * 8;
        let words = self.stride + (self.stride << rows_log2);
        self.lines.resize(self.lines.len() + words.div_ceil(8), Line::default());
        for at in at..at + self.stride {
            if let Some(word) = self.word_mut(at) {
                *word = u64::MAX;
            }
        }
        self.guards.push(Guard { mask: run.mask(), word: run.word, shift: (64 - rows_log2) as u8, at: at as u32 });
    }

    /// Notes in which guards a column takes part.
    fn take_part(&mut self, column: u32, runs: &[Run]) {
        for i in 0..self.guards.len() {
            let Some(guard) = self.guards.get(i).filter(|_| (column as usize) < self.stride * 64) else { continue };
            let (at, takes_part) = (guard.at as usize + column as usize / 64, runs.iter().any(|run| guard.is(run)));
            if let Some(word) = self.word_mut(at) {
                let bit = 1 << (column % 64);
                *word = if takes_part { *word & !bit } else { *word | bit };
            }
        }
    }

    /// Gives a mask its column, and the guards that it would take part in, up to `most` of all.
    fn add_column(&mut self, column: u32, runs: &[Run], patterns: usize, most: usize) {
        if self.stride == 0 {
            return;
        }
        for run in runs {
            if self.guards.len() < most && !self.guards.iter().any(|guard| guard.is(run)) {
                self.push(run, patterns);
                self.useful = self.guards.len();
            }
        }
        self.take_part(column, runs);
    }

    /// Sets the bits of a pattern.
    fn add<const W: usize>(&mut self, salt: u64, column: u32, key: &[u64; W]) {
        for i in 0..self.guards.len() {
            if let Some(guard) = self.guards.get(i).filter(|guard| !self.leaves_out(guard, column)) {
                self.set(guard.row(salt, self.stride, key), column);
            }
        }
    }

    /// Sets the bit of a column in a row.
    fn set(&mut self, row: usize, column: u32) {
        let bit = 1 << (column % 64);
        if let Some(word) = self.word_mut(row + column as usize / 64) {
            let is_new = *word & bit == 0;
            *word |= bit;
            self.since += usize::from(is_new);
        }
    }

    /// Whether the mask of a column takes no part in a guard.
    fn leaves_out(&self, guard: &Guard, column: u32) -> bool {
        let place = column as usize / 64;
        place >= self.stride || word(&self.lines, guard.at as usize + place) >> (column % 64) & 1 != 0
    }

    fn word_mut(&mut self, at: usize) -> Option<&mut u64> {
        self.lines.get_mut(at / 8).map(|line| line.word_mut(at))
    }

    /// The words of a row, or of the columns that do not take part.
    fn words(&self, at: usize) -> impl Iterator<Item = u64> {
        (at..at + self.stride).map(|at| word(&self.lines, at))
    }

    /// How many columns a row has.
    fn count(&self, at: usize) -> u32 {
        self.words(at).map(u64::count_ones).sum()
    }
}

impl Making {
    /// Sets the bits of up to `step` patterns, and a few more; whether all are set.
    fn go_on<S, const W: usize>(
        &mut self,
        salt: u64,
        subtables: &Subtables<S, W>,
        columns: usize,
        patterns: usize,
        step: usize,
    ) -> bool {
        let every = (patterns / SAMPLES).max(1);
        let end = self.copied.saturating_add(step);
        // What is visited without a pattern costs less than a pattern.
        let mut visits = step.saturating_mul(4);
        while let Some(guard) = self.set.guards.get(self.guard).copied() {
            if self.copied >= end || visits == 0 {
                return false;
            }
            visits -= 1;
            let subtable = subtables.get(self.column);
            let Some(subtable) = subtable.filter(|_| !self.set.leaves_out(&guard, self.column)) else {
                self.next_column(columns);
                continue;
            };
            if self.buckets != subtable.rows.buckets() {
                // The subtable grew, and its rows are in other buckets.
                (self.bucket, self.buckets) = (0, subtable.rows.buckets());
            }
            if self.bucket >= self.buckets {
                self.next_column(columns);
                continue;
            }
            for (place, _) in subtable.rows.bucket(self.bucket) {
                let Some(values) = subtable.entries.get(place) else { continue };
                let row = guard.row_of_word(salt, self.set.stride, subtable.mask.word_of(values, guard.word));
                self.set.set(row, self.column);
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

    /// The columns that the guards leave.
    ///
    /// The guards come with the best first, and where few columns are left (`enough`) it is cheaper to probe them.
    #[inline(always)]
    pub(crate) fn open(&self, enough: u32) -> [u64; N] {
        let mut open = self.live();
        // Columns beyond the rows are not guarded.
        let useful = if self.is_guarded() { self.guards.set.useful } else { 0 };
        for guard in self.guards.set.guards.iter().take(useful) {
            if count(&open) <= enough {
                break;
            }
            and(&mut open, &self.pass_of(guard));
        }
        open
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
    pub(crate) fn rules_out(&self, guard: usize, column: u32) -> bool {
        let (set, place) = (&self.guards.set, column as usize / 64);
        let Some(guard) = set.guards.get(guard).filter(|_| place < set.stride) else { return false };
        let row = guard.row(self.guards.salt, set.stride, self.key);
        let pass = word(&set.lines, guard.at as usize + place) | word(&set.lines, row + place);
        pass >> (column % 64) & 1 == 0
    }

    #[inline(always)]
    fn pass_of(&self, guard: &Guard) -> [u64; N] {
        let set = &self.guards.set;
        // Rows of up to a line are picked whole.
        let stride = if N <= MIDDLE { N } else { set.stride };
        let row = guard.row(self.guards.salt, stride, self.key);
        let any: [u64; N] = load(&set.lines, guard.at as usize + self.first);
        let row: [u64; N] = load(&set.lines, row + self.first);
        core::array::from_fn(|i| row[i] | any[i])
    }

    /// Keeps of some columns those that no guard rules out whose bits are all in `wildcards`.
    #[inline(always)]
    pub(crate) fn drop_known(&self, columns: &mut [u64; N], wildcards: &[u64; W]) {
        let guards = if self.is_guarded() { self.guards.set.guards.as_slice() } else { Default::default() };
        for guard in guards {
            if columns.iter().all(|columns| *columns == 0) {
                return;
            }
            let known = wildcards.get(usize::from(guard.word)).copied().unwrap_or(0);
            if guard.mask & !known == 0 {
                and(columns, &self.pass_of(guard));
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

/// A word; none of it where there is none.
#[inline(always)]
fn word(lines: &[Line], at: usize) -> u64 {
    lines.get(at / 8).map_or(0, |line| line.word(at))
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

/// How many rows a guard has for as many patterns of each mask, as a logarithm.
fn rows_log2(run: &Run, stride: usize, patterns: usize) -> u32 {
    let wanted = (4 * patterns.max(1)).next_power_of_two().ilog2().clamp(MIN_ROWS_LOG2, MAX_ROWS_LOG2);
    // What a row takes grows with the masks; at a million masks there are two rows.
    let room = MAX_WORDS_LOG2.saturating_sub(stride.max(1).ilog2()).max(1);
    wanted.min(u32::from(run.len) + 2).min(room)
}

impl Guard {
    #[inline(always)]
    fn bits(&self) -> Bits {
        (usize::from(self.word), self.mask)
    }

    fn is(&self, run: &Run) -> bool {
        self.word == run.word && self.mask == run.mask()
    }

    /// Where the row of a key begins.
    #[inline(always)]
    fn row<const W: usize>(&self, salt: u64, stride: usize, key: &[u64; W]) -> usize {
        self.row_of_word(salt, stride, key.get(usize::from(self.word)).copied().unwrap_or(0))
    }

    /// Where the row of the keys begins that have this word.
    #[inline(always)]
    fn row_of_word(&self, salt: u64, stride: usize, word: u64) -> usize {
        let row = WordHash::fold((word & self.mask) ^ salt) >> (self.shift & 63);
        self.at as usize + (row as usize + 1) * stride
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
