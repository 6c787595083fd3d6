//! The search for the best rule: guards, then probes by rank.

use super::proof::Evidence;
use super::{Classifier, State, rank_of_priority};
use crate::guards::{ENOUGH, KeyRows, MIDDLE, NARROW, Picked, SINGLE, WIDE};
use crate::rule::{Stored, Version};
use crate::simd::{Job, Kernels, Portable};
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

/// What a search found.
#[derive(Default)]
pub(super) struct Found {
    /// The slot of the best rule without clauses.
    pub(super) hard: Option<u32>,
    /// The slots of the rules with clauses that were met, best mask first.
    pub(super) soft: Vec<u32>,
}

/// How many masks are chosen from without a list of all.
const FEW: usize = 64;

/// In tables of more rules than this, which a cache has no room for, the line of the next probe is fetched during each.
const CACHED_RULES: usize = 1 << 15;

/// How far a search is.
struct Progress {
    found: Found,
    /// The priority of the hard match.
    best: Option<i32>,
    /// Masks up to this rank cannot better it.
    ceiling: u64,
    /// Masks above this rank had to be visited or ruled out.
    floor: u64,
    /// Masks that were probed and have nothing for the key; where they are more, the others are reported whole.
    missed: ArrayVec<u32, 32>,
}

impl Progress {
    #[inline(always)]
    fn new() -> Self {
        Self { found: Found::default(), best: None, ceiling: 0, floor: 0, missed: ArrayVec::new() }
    }
}

/// The masks to probe, with their ranks.
struct Visits {
    /// In no order, where they are few: ranks and columns.
    few: ArrayVec<(u64, u32), FEW>,
    /// All of them, by rank, the highest last, where they are many.
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

impl Visits {
    #[inline(always)]
    fn new() -> Self {
        Self { few: ArrayVec::new(), many: Vec::new() }
    }

    /// Adds columns of which the first word is `first`.
    #[inline(always)]
    fn note<const N: usize>(&mut self, ranks: &[u64], first: usize, columns: &[u64; N]) {
        for (word, columns) in (first..).zip(columns) {
            let mut left = *columns;
            while left != 0 {
                let column = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                let visit = (ranks.get(column).copied().unwrap_or(0), column as u32);
                if self.few.try_push(visit).is_err() {
                    self.many.push(visit);
                }
            }
        }
    }

    /// All are noted: puts them in order, if they are many. Returns how many there are.
    #[inline(always)]
    fn complete(&mut self) -> usize {
        if !self.many.is_empty() {
            self.many.extend(self.few.drain(..));
            self.many.sort_unstable();
        }
        self.few.len() + self.many.len()
    }

    /// The mask of the highest rank that was not visited.
    #[inline(always)]
    fn next(&mut self) -> Option<(u64, u32)> {
        let (mut place, mut highest) = (0, 0);
        for (i, (rank, _)) in self.few.iter().enumerate() {
            // Ranks are distinct.
            if *rank >= highest {
                (place, highest) = (i, *rank);
            }
        }
        self.few.swap_pop(place).or_else(|| self.many.pop())
    }
}

/// A search, to be done at the processor's level.
struct Search<'a, R, const W: usize, const N: usize> {
    table: &'a Classifier<R, W>,
    query: Query<'a, W>,
    wildcards: Option<&'a mut [u64; W]>,
    cost: &'a mut Probes,
}

impl<R, const W: usize, const N: usize> Job for Search<'_, R, W, N> {
    type Output = Found;

    #[inline(always)]
    fn run<K: Kernels>(self, kernels: K) -> Found {
        self.table.search_at_level::<K, N>(kernels, self.query, self.wildcards, self.cost)
    }
}

impl<R, const W: usize> Classifier<R, W> {
    /// Whether masks are few and no rule has clauses: then [`search_few`](Self::search_few) finds the answer.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.with_clauses == 0 && self.guards.len() == 0 && self.ranked.len() == self.subtables.len()
    }

    /// The slot of the best rule among a few masks without clauses: in so few instructions that a processor is at the next
    /// lookup while this one waits for memory.
    #[inline(always)]
    pub(super) fn search_few(
        &self,
        query: &Query<'_, W>,
        mut wildcards: Option<&mut [u64; W]>,
        cost: &mut Probes,
    ) -> Option<u32> {
        let mut missed: ArrayVec<u32, { crate::guards::FEW }> = ArrayVec::new();
        let (mut best, mut ceiling) = (None, 0);
        for (rank, column) in &self.ranked {
            let Some(subtable) = self.subtables.get(*column).filter(|_| *rank > ceiling) else { break };
            cost.probes += 1;
            let entry = subtable.find(query.key);
            if let Some(wildcards) = wildcards.as_deref_mut()
                && (entry.is_some() || missed.try_push(*column).is_err())
            {
                subtable.mask.fold(wildcards);
            }
            if let Some((slot, rule)) = entry.and_then(|(_, head)| self.topmost(head, query))
                && rank_of_priority(rule.priority) > ceiling
            {
                (best, ceiling) = (Some(slot), rank_of_priority(rule.priority));
            }
        }
        cost.searches += 1;
        cost.open += self.ranked.len() as u64;
        if let Some(wildcards) = wildcards.filter(|_| !missed.is_empty()) {
            self.prove_few(query, &missed, wildcards, cost);
        }
        best
    }

    /// Proves that a few masks hold nothing.
    #[inline(never)]
    fn prove_few(&self, query: &Query<'_, W>, missed: &[u32], wildcards: &mut [u64; W], cost: &mut Probes) {
        let mut rows = KeyRows::new();
        let evidence = Evidence::<_, Portable, W, SINGLE>::new(Portable, self, query.key, &mut rows, wildcards);
        evidence.gather(missed, &[0; SINGLE], 0, cost);
    }

    /// Finds the best rules, and adds to the wildcards what proves that there are no better ones.
    #[inline(never)]
    pub(super) fn search(&self, query: Query<'_, W>, wildcards: Option<&mut [u64; W]>, cost: &mut Probes) -> Found {
        match self.guards.width() {
            SINGLE => self.level.run(Search::<_, W, SINGLE> { table: self, query, wildcards, cost }),
            NARROW => self.level.run(Search::<_, W, NARROW> { table: self, query, wildcards, cost }),
            MIDDLE => self.level.run(Search::<_, W, MIDDLE> { table: self, query, wildcards, cost }),
            _ => self.level.run(Search::<_, W, WIDE> { table: self, query, wildcards, cost }),
        }
    }

    #[inline(always)]
    fn search_at_level<K: Kernels, const N: usize>(
        &self,
        kernels: K,
        query: Query<'_, W>,
        mut wildcards: Option<&mut [u64; W]>,
        cost: &mut Probes,
    ) -> Found {
        let (mut progress, mut rows) = (Progress::new(), KeyRows::new());
        cost.searches += 1;
        // A mask that a guard rules out is proven with others by the bits that are reported anyway; one that was probed
        // in vain is proven alone.
        //
        // A walk through a trie waits for one node after the other, and so the first are on their way while guards and rows
        // are read.
        let is_tracked = wildcards.is_some();
        let mut walks = is_tracked.then(|| self.prefixes.ahead(query.key, self.layout.order()));
        let mut visits = Visits::new();
        let first = self.pick::<N>(query.key, 0, is_tracked, &mut rows);
        visits.note(&self.ranks, 0, &first);
        for at in (N..self.guards.words()).step_by(N) {
            visits.note(&self.ranks, at, &self.pick::<N>(query.key, at, is_tracked, &mut rows));
        }
        walks.iter_mut().for_each(|walks| self.prefixes.further(walks));
        cost.open += visits.complete() as u64;
        let is_large = self.rules.len() > CACHED_RULES;
        let mut next = self.prepare(&query, visits.next(), 0);
        while let Some(visit) = next.filter(|visit| visit.rank > progress.ceiling) {
            next = if is_large { self.prepare(&query, visits.next(), 0) } else { None };
            cost.probes += 1;
            self.probe(&query, visit, &mut progress, wildcards.as_deref_mut());
            if !is_large {
                next = self.prepare(&query, visits.next(), progress.ceiling);
            }
        }
        walks.iter_mut().for_each(|walks| self.prefixes.further(walks));
        if let Some(wildcards) = wildcards {
            let evidence = Evidence::<_, K, W, N>::new(kernels, self, query.key, &mut rows, wildcards);
            evidence.gather(&progress.missed, &first, progress.floor, cost);
        }
        progress.found
    }

    /// The columns from a word on that the guards leave.
    #[inline(always)]
    fn pick<const N: usize>(&self, key: &[u64; W], at: usize, is_tracked: bool, rows: &mut KeyRows) -> [u64; N] {
        let picked = Picked::<W, N>::new(&self.guards, key, at);
        if is_tracked { picked.open_noting(rows) } else { picked.open(ENOUGH) }
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
        Visit { rank, column, subtable, hash }: Visit<'_, W>,
        progress: &mut Progress,
        wildcards: Option<&mut [u64; W]>,
    ) {
        let entry = subtable.find_hashed(hash, query.key);
        if let Some(wildcards) = wildcards
            && (entry.is_some() || progress.missed.try_push(column).is_err())
        {
            subtable.mask.fold(wildcards);
        }
        let Some((slot, rule)) = entry.and_then(|(_, head)| self.topmost(head, query)) else { return };
        if progress.best.is_some_and(|best| rule.priority <= best) {
            return;
        }
        if rule.clauses.is_some() {
            progress.found.soft.push(slot);
        } else {
            (progress.found.hard, progress.best) = (Some(slot), Some(rule.priority));
            progress.ceiling = rank_of_priority(rule.priority);
            progress.floor = progress.ceiling.min(rank);
        }
    }

    /// The columns of a word of columns that have a rank above a floor.
    #[inline(always)]
    pub(super) fn above(&self, kernels: impl Kernels, word: usize, floor: u64) -> u64 {
        let ranks = self.ranks.get(word * 64..).and_then(<[u64]>::first_chunk);
        ranks.map_or(0, |ranks| kernels.above(ranks, floor))
    }

    /// The first rule of a chain that a query sees.
    #[inline(always)]
    fn topmost(&self, head: u32, query: &Query<'_, W>) -> Option<(u32, &Stored<R>)> {
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
