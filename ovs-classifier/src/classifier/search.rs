//! The search for the best rule: guards, then probes by rank. Where no more than the rule is asked for, see
//! [`find`](super::find).

use super::prefixes::{Missing, Walks};
use super::proof::Evidence;
use super::{Classifier, PLAIN, State, rank_of_priority};
use crate::guards::{ENOUGH, FEW_OF_MANY, KeyRows, MIDDLE, NARROW, Picked, SINGLE, WIDE, count};
use crate::rule::{Rule, Stored, Version};
use crate::simd::{Job, Kernels};
use crate::subtables::Subtable;
use alloc::vec::Vec;
use arrayvec::ArrayVec;

/// What lookups cost. Each lookup adds to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probes {
    /// Searches: one per lookup, and one more for each conjunction that was complete.
    pub searches: u64,
    /// Masks that the guards left.
    pub open: u64,
    /// Masks probed; at most those left, and at most those that outrank the answer.
    pub probes: u64,
    /// Proofs that masks hold no better rule, where the lookup was tracked.
    pub proofs: u64,
}

/// What a search looks for.
#[derive(Clone, Copy)]
pub(super) struct Query<'k, const W: usize> {
    pub(super) key: &'k [u64; W],
    pub(super) version: Version,
    /// Whether rules with clauses count.
    pub(super) soft: bool,
}

/// How many masks are chosen from without a list of all.
pub(super) const FEW: u32 = FEW_OF_MANY;

/// After so many probes guards are asked about the masks that are left, if they were not asked before.
const UNASKED: u32 = 4;

/// In tables of more rules than this, which a cache has no room for, the line of the next probe is fetched during each.
const CACHED_RULES: usize = 1 << 15;

/// The masks that were probed and have to be proven to have nothing better; where they are more, the others are
/// reported whole.
type Vain = ArrayVec<u32, 32>;

/// How far a search is. Small, so that it is in registers: what is copied in larger pieces than it was just written in,
/// the processor waits for.
#[derive(Clone, Copy)]
struct Progress {
    /// The slot of the hard match, and its priority.
    hard: Option<u32>,
    best: Option<i32>,
    /// Masks up to this rank cannot better it.
    ceiling: u64,
}

/// The masks to probe.
struct Visits<const N: usize> {
    /// Of the first `64 * N` columns, where no more than a few of all are to be visited: those that were not.
    open: [u64; N],
    /// Where they are many: all, with their ranks, the highest last.
    many: Vec<(u64, u32)>,
}

/// A mask to probe next.
#[derive(Clone, Copy)]
struct Visit<'a, const W: usize> {
    rank: u64,
    column: u32,
    subtable: &'a Subtable<State, W>,
    /// The hash of the key under the mask.
    hash: u64,
}

impl<const N: usize> Visits<N> {
    /// Drops of the first columns those to be visited that guards rule out, unless they were asked before: see
    /// [`Picked::open_noting`].
    #[cold]
    fn ask<const W: usize>(&mut self, picked: &Picked<'_, W, N>, open: &mut [u64; N], rows: &mut KeyRows) {
        let left = picked.open_asked(self.open, rows);
        *open = core::array::from_fn(|i| open[i] & !(self.open[i] & !left[i]));
        self.open = left;
    }

    /// Adds `64 * N` columns of which the first word is `first` to those of a table that has more.
    fn add(&mut self, ranks: &[u64], first: usize, columns: [u64; N]) {
        for (word, mut left) in (first..).zip(columns) {
            while left != 0 {
                let column = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                self.many.push((ranks.get(column).copied().unwrap_or(0), column as u32));
            }
        }
    }

    /// All are there: puts them in order, if they are many. Returns how many there are.
    #[inline(always)]
    fn complete(&mut self, ranks: &[u64]) -> usize {
        let open = count(&self.open);
        if open <= FEW && self.many.is_empty() {
            return open as usize;
        }
        self.add(ranks, 0, self.open);
        self.open = [0; N];
        self.many.sort_unstable();
        self.many.len()
    }

    /// The mask of the highest rank that was not visited, with that.
    #[inline(always)]
    fn next<R, const W: usize>(&mut self, table: &Classifier<R, W>) -> Option<(u64, u32)> {
        let (rank, column, _) = table.highest(&self.open);
        if rank == 0 {
            return self.many.pop();
        }
        self.open = without(self.open, column);
        Some((rank, column))
    }
}

/// Some columns but one.
#[inline(always)]
pub(super) fn without<const N: usize>(columns: [u64; N], column: u32) -> [u64; N] {
    core::array::from_fn(|i| columns[i] & !(u64::from(i == column as usize / 64) << (column % 64)))
}

/// A search, to be done at the processor's level.
struct Search<'a, R, const W: usize, const N: usize> {
    table: &'a Classifier<R, W>,
    query: &'a Query<'a, W>,
    soft: &'a mut Vec<u32>,
    wildcards: Option<&'a mut [u64; W]>,
    cost: &'a mut Probes,
}

impl<R, const W: usize, const N: usize> Job for Search<'_, R, W, N> {
    type Output = Option<u32>;

    #[inline(always)]
    fn run<K: Kernels>(self, kernels: K) -> Option<u32> {
        self.table.search_at_level::<K, N>(kernels, self.query, self.soft, self.wildcards, self.cost)
    }
}

/// The proofs that a few masks, which were probed, hold nothing.
struct Missed<'a, R, const W: usize> {
    table: &'a Classifier<R, W>,
    key: &'a [u64; W],
    missed: &'a [u32],
    wildcards: &'a mut [u64; W],
    cost: &'a mut Probes,
}

impl<R, const W: usize> Job for Missed<'_, R, W> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self, kernels: K) {
        let Missed { table, key, missed, wildcards, cost } = self;
        let mut rows = KeyRows::new();
        let mut walks = Walks::new();
        table.prefixes.walk(key, table.layout.order(), &mut walks, kernels);
        Evidence::<_, K, W, SINGLE>::new(kernels, table, key, &mut rows, &walks, wildcards).prove_missed(missed, cost);
    }
}

impl<R, const W: usize> Classifier<R, W> {
    /// Whether masks are few and no rule has clauses: then [`search_few`](Self::search_few), or where nothing is
    /// tracked [`find_few`](Self::find_few), finds the answer. Where there are guards, they prove more than they find.
    #[inline(always)]
    pub(super) fn is_plain(&self, is_tracked: bool) -> bool {
        let is_guarded = is_tracked && self.guards.len() > 0;
        self.with_clauses == 0 && !is_guarded && self.ranked.len() == self.subtables.len()
    }

    /// The best rule among a few masks without clauses, of a tracked lookup.
    #[inline(never)]
    pub(super) fn search_few(
        &self,
        query: &Query<'_, W>,
        wildcards: &mut [u64; W],
        cost: &mut Probes,
    ) -> Option<Rule<'_, R, W>> {
        cost.searches += 1;
        cost.open += self.ranked.len() as u64;
        if let [(_, column)] = self.ranked.as_slice() {
            // As in `find_few`.
            cost.probes += 1;
            let subtable = self.subtables.get(*column)?;
            let Some((_, head)) = subtable.find(query.key) else {
                self.prove_missed(&[*column], query.key, wildcards, cost);
                return None;
            };
            subtable.mask.fold(wildcards);
            let (slot, stored) = self.topmost(head, query)?;
            return Some(self.rule_in(slot, stored, subtable));
        }
        let mut missed: ArrayVec<u32, PLAIN> = ArrayVec::new();
        let (mut best, mut ceiling) = (None, 0);
        for (rank, column) in &self.ranked {
            let Some(subtable) = self.subtables.get(*column).filter(|_| *rank > ceiling) else { break };
            cost.probes += 1;
            let entry = subtable.find(query.key);
            if entry.is_some() || missed.try_push(*column).is_err() {
                subtable.mask.fold(wildcards);
            }
            if let Some((slot, rule)) = entry.and_then(|(_, head)| self.topmost(head, query))
                && rank_of_priority(rule.priority) > ceiling
            {
                (best, ceiling) = (Some((slot, rule, subtable)), rank_of_priority(rule.priority));
            }
        }
        if !missed.is_empty() {
            self.prove_missed(&missed, query.key, wildcards, cost);
        }
        best.map(|(slot, rule, subtable)| self.rule_in(slot, rule, subtable))
    }

    /// Adds to the wildcards what proves that a few masks, which were probed, hold nothing.
    fn prove_missed(&self, missed: &[u32], key: &[u64; W], wildcards: &mut [u64; W], cost: &mut Probes) {
        self.level.run(Missed { table: self, key, missed, wildcards, cost });
    }

    /// The slot of the best rule without clauses. Adds the slots of the rules with clauses that were met to `soft`,
    /// best mask first, and to the wildcards what proves that there are no better ones.
    #[inline(never)]
    pub(super) fn search(
        &self,
        query: &Query<'_, W>,
        soft: &mut Vec<u32>,
        wildcards: Option<&mut [u64; W]>,
        cost: &mut Probes,
    ) -> Option<u32> {
        match self.guards.width() {
            SINGLE => self.level.run(Search::<_, W, SINGLE> { table: self, query, soft, wildcards, cost }),
            NARROW => self.level.run(Search::<_, W, NARROW> { table: self, query, soft, wildcards, cost }),
            MIDDLE => self.level.run(Search::<_, W, MIDDLE> { table: self, query, soft, wildcards, cost }),
            _ => self.level.run(Search::<_, W, WIDE> { table: self, query, soft, wildcards, cost }),
        }
    }

    #[inline(always)]
    fn search_at_level<K: Kernels, const N: usize>(
        &self,
        kernels: K,
        query: &Query<'_, W>,
        soft: &mut Vec<u32>,
        mut wildcards: Option<&mut [u64; W]>,
        cost: &mut Probes,
    ) -> Option<u32> {
        // One by one: of a pair, each is made in another place, and copied.
        let mut rows = KeyRows::new();
        let mut missed = Vain::new();
        let mut walks = Walks::new();
        let mut missing = Missing::<N>::new();
        let mut progress = Progress { hard: None, best: None, ceiling: 0 };
        cost.searches += 1;
        let is_tracked = wildcards.is_some();
        if is_tracked {
            self.prefixes.walk(query.key, self.layout.order(), &mut walks, kernels);
        }
        let walks = &walks;
        let mut first = self.pick(query.key, 0, is_tracked.then_some(walks), &mut rows, &mut missing);
        let mut visits = Visits { open: first, many: Vec::new() };
        for at in (N..self.guards.words()).step_by(N) {
            let (walks, mut missing) = (is_tracked.then_some(walks), Missing::new());
            visits.add(&self.ranks, at, self.pick::<N>(query.key, at, walks, &mut rows, &mut missing));
        }
        cost.open += visits.complete(&self.ranks) as u64;
        let is_large = self.rules.len() > CACHED_RULES;
        let mut unasked = UNASKED;
        let mut next = self.prepare(query, visits.next(self), 0);
        // Masks above this rank have to be visited or ruled out.
        let floor = loop {
            let Some(visit) = next.filter(|visit| visit.rank > progress.ceiling) else { break progress.ceiling };
            next = if is_large { self.prepare(query, visits.next(self), 0) } else { None };
            cost.probes += 1;
            progress = self.probe(query, visit, progress, (soft, &mut missed), wildcards.as_deref_mut());
            if visit.rank <= progress.ceiling {
                // Nor can those that were not visited. That is guessed, and what has to be ruled out is seen to while
                // the rule comes from memory.
                break visit.rank;
            }
            unasked = unasked.wrapping_sub(1);
            if N > NARROW && unasked == 0 {
                visits.ask(&Picked::<W, N>::new(&self.guards, query.key, 0), &mut first, &mut rows);
            }
            if !is_large {
                next = self.prepare(query, visits.next(self), progress.ceiling);
            }
        };
        if let Some(wildcards) = wildcards {
            if !missed.is_empty()
                && let Some(rule) = progress.hard.and_then(|slot| self.rule(slot))
            {
                rule.mask.fold(wildcards);
            }
            let mut evidence = Evidence::<_, K, W, N>::new(kernels, self, query.key, &mut rows, walks, wildcards);
            let mut at = 0;
            while at < self.guards.words() {
                let open = if at == 0 {
                    first
                } else {
                    missing.clear();
                    self.pick(query.key, at, Some(walks), evidence.rows, &mut missing)
                };
                let open = missed.iter().fold(open, |open, column| without(open, column.wrapping_sub(at as u32 * 64)));
                evidence.prove_closed(at, &open, &missing, floor, cost);
                at += N;
            }
        }
        progress.hard
    }

    /// The columns from a word on that the guards leave, and the tries where a tracked lookup has walked them: what
    /// they rule out is `missing`.
    #[inline(always)]
    fn pick<const N: usize>(
        &self,
        key: &[u64; W],
        at: usize,
        walks: Option<&Walks>,
        rows: &mut KeyRows,
        missing: &mut Missing<N>,
    ) -> [u64; N] {
        let picked = Picked::<W, N>::new(&self.guards, key, at);
        let Some(walks) = walks else { return picked.open(ENOUGH) };
        let held = self.prefixes.held(at, (key, self.layout.order()), walks, picked.live(), missing);
        picked.open_noting(held, rows)
    }

    /// Hashes a key under a mask that is above a rank, and asks for the line in which a probe begins.
    #[inline(always)]
    fn prepare(&self, query: &Query<'_, W>, next: Option<(u64, u32)>, ceiling: u64) -> Option<Visit<'_, W>> {
        let (rank, column) = next.filter(|(rank, _)| *rank > ceiling)?;
        let subtable = self.subtables.get(column)?;
        let hash = subtable.mask.hash(query.key);
        subtable.rows.prefetch(hash);
        Some(Visit { rank, column, subtable, hash })
    }

    /// Probes a mask.
    #[inline(always)]
    fn probe(
        &self,
        query: &Query<'_, W>,
        Visit { column, subtable, hash, .. }: Visit<'_, W>,
        progress: Progress,
        (soft, missed): (&mut Vec<u32>, &mut Vain),
        wildcards: Option<&mut [u64; W]>,
    ) -> Progress {
        let entry = subtable.find_hashed(hash, query.key);
        // Of a mask of few rules, others than the one that matches may outrank the answer: they are proven not to
        // match.
        let is_proven = entry.is_none() || self.with_clauses == 0 && self.few(subtable).is_some();
        if let Some(wildcards) = wildcards
            && !(is_proven && missed.try_push(column).is_ok())
        {
            subtable.mask.fold(wildcards);
        }
        let found = entry.and_then(|(_, head)| self.topmost(head, query));
        let Some((slot, rule)) = found.filter(|(_, rule)| progress.best.is_none_or(|best| rule.priority > best)) else {
            return progress;
        };
        if rule.clauses.is_some() {
            soft.push(slot);
            return progress;
        }
        Progress { hard: Some(slot), best: Some(rule.priority), ceiling: rank_of_priority(rule.priority) }
    }

    /// The columns of a word of columns that have a rank above a floor.
    #[inline(always)]
    pub(super) fn above(&self, kernels: impl Kernels, word: usize, floor: u64) -> u64 {
        let ranks: Option<&[u64; 64]> = self.ranks.get(word * 64..word * 64 + 64).and_then(<[u64]>::as_array);
        let (eights, _) = ranks.map_or(&[][..], |ranks| ranks).as_chunks();
        eights.iter().enumerate().fold(0, |above, (i, eight)| above | kernels.above(eight, floor) << (8 * i))
    }

    /// The first rule of a chain that a query sees.
    #[inline(always)]
    pub(super) fn topmost(&self, head: u32, query: &Query<'_, W>) -> Option<(u32, &Stored<R>)> {
        let mut slot = head;
        loop {
            let rule = self.rules.get(slot)?;
            if query.sees(rule) {
                return Some((slot, rule));
            }
            slot = rule.below()?;
        }
    }

    /// The next rule below one with the same pattern that a query sees.
    pub(super) fn next_below(&self, slot: u32, query: &Query<'_, W>) -> Option<(u32, &Stored<R>)> {
        self.topmost(self.rules.get(slot)?.below()?, query)
    }
}

impl<const W: usize> Query<'_, W> {
    #[inline(always)]
    fn sees<R>(&self, rule: &Stored<R>) -> bool {
        rule.is_visible_at(self.version) && (self.soft || rule.clauses.is_none())
    }
}
