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
//! # Tries
//!
//! Where a classifier keeps [prefix tries](crate::trie) and masks are few, the tries tell which masks have a rule with
//! the key's prefixes, exactly; a tracked lookup walks them anyway. Such a lookup asks the other guards only, and those
//! to choose what to probe only if more than two masks are left. Where masks are many, tries tell groups of them, and
//! guards are asked if many are left, or if the first few of those have nothing; where they are picked in parts, if more
//! than a few of a part are left.
//!
//! # Bounds
//!
//! There are at most 24 guards, and none in a table of at most [`FEW`] masks, where probing costs less. Where masks are
//! many and the guards would leave more than a quarter of them, someone has masks made that differ bit by bit (a
//! tuple space explosion): then a guard looks at each length of prefix that there is, and there are up to 64 of them.
//! A guard's rows are 4 to 8 for each rule that a mask has on average, more where that is little memory, at most 2^16
//! and at most 8 MiB.
//!
//! # Making them anew
//!
//! When as many bits have been set as there were, or half of the rules are gone, the guards are made anew: in the
//! background, a few rules with each update, while the old ones answer. An update sets its bits in both. So no update
//! waits, and the work is a constant for each. What the old ones took is given back likewise, a guard with each update.

mod making;
mod picked;
mod set;

pub(crate) use picked::{Asked, KeyRows, Picked, count, is_empty};
pub(crate) use set::Marks;

use crate::field::{BitOrder, Field};
use crate::hash::WordHash;
use crate::layout::Layout;
use crate::subtables::Subtables;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use making::Making;
use set::{Guard, Set};

/// The most guards that a table has; what a lookup reads at most.
pub(crate) const MAX_GUARDS: usize = 64;

/// The most guards of a table whose masks do not look hostile.
const USUAL_GUARDS: usize = 24;

/// The most masks that a table probes without guards.
pub(crate) const FEW: usize = 8;

/// So few masks are probed rather than guarded further, where that costs no more.
pub(crate) const ENOUGH: u32 = 3;

/// Where masks are many and tries leave so few of them, guards are not asked at first: they have a line each, and most
/// often one of the first few masks has the answer.
pub(crate) const FEW_OF_MANY: u32 = 64;

/// Where masks are so many that they are picked part by part, the same of a part: all parts are put in one order, and
/// guards are not asked once that is done.
const FEW_OF_PART: u32 = 8;

/// Where masks are few, the same of so few: the first is mostly the answer's, and the other below it.
const FEW_OF_FEW: u32 = 2;

/// A guard that leaves more than this part of all masks is not asked which masks to probe.
const USEFUL: f64 = 0.97;

/// The lengths of the runs that guards look at. Longer runs tell more apart where rules share their leading bits.
const LENGTHS: [u8; 9] = [8, 12, 16, 20, 24, 28, 32, 48, 64];

/// The words that all rows together may take without thrift: as many for each rule, and as many at least.
const SPARE_WORDS_PER_RULE: usize = 8;
const SPARE_WORDS: usize = 1 << 13;

/// How many words of columns are picked together: up to 64 masks (where guards are proofs), up to 128, up to 512, and
/// more by the thousand.
pub(crate) const SINGLE: usize = 1;
pub(crate) const NARROW: usize = 2;
pub(crate) const MIDDLE: usize = 8;
pub(crate) const WIDE: usize = 16;

/// So many rules are copied at once rather than in the background.
const AT_ONCE: usize = 256;

/// For how many rules an update sets the bits of all guards to be: they are done when an eighth as many updates as
/// there are rules have come. And how many bits it sets at least.
const STEP: usize = 8;
const LEAST_STEP: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Guards {
    order: BitOrder,
    /// The stages of the key's words.
    stages: Box<[u8]>,
    /// Where runs may be.
    pieces: Box<[Piece]>,
    /// Of which bits of the key's words prefix tries know.
    tried: Vec<Bits>,
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
    /// Of other sets. Each update gives one back.
    old: Vec<Guard>,
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

/// A guard's bits of the key: the word and the bits in it.
pub(crate) type Bits = (usize, u64);

impl Guards {
    pub(crate) fn new<const W: usize>(layout: &Layout<W>, hash: WordHash, proofs: bool) -> Self {
        Self {
            order: layout.order(),
            stages: layout.stages().as_slice().into(),
            pieces: pieces(layout),
            tried: Vec::new(),
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
            old: Vec::new(),
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let runs: usize = self.runs.iter().map(|runs| size_of_val(&**runs)).sum();
        let old: usize = self.old.iter().map(Guard::heap_bytes).sum();
        self.set.heap_bytes()
            + self.making.as_ref().map_or(0, |making| making.set.heap_bytes() + size_of::<Making>())
            + self.live.capacity() * size_of::<u64>()
            + self.pieces.len() * size_of::<Piece>()
            + self.stages.len()
            + self.runs.capacity() * size_of::<Box<[Run]>>()
            + self.old.capacity() * size_of::<Guard>()
            + old
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

    /// Notes of which fields there are prefix tries.
    pub(crate) fn set_tried(&mut self, fields: &[Field]) {
        self.tried = fields.iter().flat_map(|field| field.prefix(field.bits(), self.order)).collect();
        self.set_apart();
    }

    /// Notes the guards of which no trie knows, and those of each stage.
    fn set_apart(&mut self) {
        let is_tried = |guard: &Guard| {
            let (word, mask) = guard.bits();
            self.tried.iter().any(|(other, bits)| *other == word && mask & !bits == 0)
        };
        let apart = (0..).zip(&self.set.guards).filter(|(_, guard)| !is_tried(guard));
        self.set.apart = apart.fold(0, |apart, (i, _): (u32, _)| apart | 1 << i);
        self.set.note_stages(&self.stages);
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
        self.set_apart();
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
        let mut marks = Marks::new();
        self.seek(column, key, &mut marks);
        self.add_at(column, key, &marks)
    }

    /// Where [`add`](Self::add) will set bits, which is asked for.
    #[inline(always)]
    pub(crate) fn seek<const W: usize>(&self, column: u32, key: &[u64; W], marks: &mut Marks) {
        self.set.seek(self.salt, column, key, marks);
    }

    /// As [`add`](Self::add), where bits are to be set that was sought.
    #[inline(always)]
    pub(crate) fn add_at<const W: usize>(&mut self, column: u32, key: &[u64; W], marks: &Marks) -> bool {
        self.patterns += 1;
        self.old.pop();
        self.set.mark(column, marks);
        if let Some(making) = &mut self.making {
            let mut marks = Marks::new();
            making.set.seek(self.salt, column, key, &mut marks);
            making.set.mark(column, &marks);
        }
        self.are_due()
    }

    /// Notes that a pattern is gone. Whether the guards are to be [made](Self::rebuild) anew.
    pub(crate) fn remove(&mut self) -> bool {
        self.patterns = self.patterns.saturating_sub(1);
        self.old.pop();
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
        (self.set, self.making, self.old) = (Set::default(), None, Vec::new());
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
        if !making.go_on(self.salt, subtables, &self.runs, self.patterns, step) {
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

        let mut set = Set::new(stride, self.patterns);
        // They will have twice the patterns before they are made anew.
        let patterns = 2 * self.patterns / self.columns.max(1);
        let spare = (2 * self.patterns * SPARE_WORDS_PER_RULE).max(SPARE_WORDS);
        let words = |more: u32| {
            let rows = |run: &Run| (stride << set::rows_log2(run, stride, patterns)) << more;
            chosen.iter().map(|(_, run)| rows(run)).sum::<usize>()
        };
        let more = [2, 1].into_iter().find(|more| words(*more) <= spare).unwrap_or(0);
        chosen.iter().for_each(|(_, run)| set.push(run, patterns << more));
        Making::new(set)
    }

    /// Uses guards that are made, those first that leave fewest masks; without need for proofs, drops those that leave
    /// hardly fewer. Returns how many masks are left, if the guards know nothing of one another.
    fn adopt(&mut self, making: Making) -> f64 {
        let Making { mut set, samples, .. } = making;
        let leaves = |i: usize| {
            let rows = samples.iter().filter(|(guard, _)| *guard == i);
            let (rows, bits) = rows.fold((0, 0), |(rows, bits), (_, at)| (rows + 1, bits + set.count(i, *at)));
            let outside = set.guards.get(i).into_iter().flat_map(|guard| &guard.outside).flat_map(|line| line.0);
            let others: u32 = outside.zip(&self.live).map(|(any, live)| (any & live).count_ones()).sum();
            f64::from(others) + f64::from(bits) / f64::from(rows.max(1))
        };
        let mut rated: Vec<(f64, usize)> = (0..set.guards.len()).map(|i| (leaves(i), i)).collect();
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
        let places: Vec<usize> = rated.into_iter().map(|(_, place)| place).collect();
        self.old.extend(set.keep(&places));
        (set.made, set.since) = (set.since, 0);
        let replaced = core::mem::replace(&mut self.set, set);
        self.old.extend(replaced.guards);
        self.set_apart();
        self.old.retain(|guard| guard.heap_bytes() > 0);
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
