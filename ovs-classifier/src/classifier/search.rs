//! The search for the best rule: guards, then probes by rank.

use super::proof::Evidence;
use super::{Classifier, rank_of_priority};
use crate::guards::{ENOUGH, MIDDLE, NARROW, Picked, WIDE};
use crate::rule::{Stored, Version};
use crate::simd::Job;
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

/// The masks to probe, with their ranks.
struct Visits {
    few: ArrayVec<(u64, u32), 32>,
    /// All of them, by rank, the highest last: where they are many.
    many: Vec<(u64, u32)>,
}

impl Visits {
    /// Adds the columns that the guards leave.
    #[inline(always)]
    fn note<const W: usize, const N: usize>(&mut self, ranks: &[u64], picked: &mut Picked<'_, W, N>) {
        for (word, open) in (picked.first()..).zip(picked.open(ENOUGH)) {
            let mut open = open;
            while open != 0 {
                let column = word * 64 + open.trailing_zeros() as usize;
                open &= open - 1;
                self.add((ranks.get(column).copied().unwrap_or(0), column as u32));
            }
        }
    }

    #[inline(always)]
    fn add(&mut self, visit: (u64, u32)) {
        if self.many.is_empty() {
            match self.few.try_push(visit) {
                Ok(()) => return,
                Err(_) => self.many.extend(self.few.drain(..)),
            }
        }
        self.many.push(visit);
    }

    fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }

    /// The mask of the highest rank that was not visited.
    #[inline(always)]
    fn next(&mut self) -> Option<(u64, u32)> {
        if let Some(visit) = self.many.pop() {
            return Some(visit);
        }
        let best = self.few.iter().enumerate().max_by_key(|(_, visit)| visit.0)?.0;
        self.few.swap_pop(best)
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
    fn run(self) -> Found {
        self.table.search_at_level::<N>(self.query, self.wildcards, self.cost)
    }
}

impl<R, const W: usize> Classifier<R, W> {
    /// Finds the best rules, and adds to the wildcards what proves that there are no better ones.
    pub(super) fn search(&self, query: Query<'_, W>, wildcards: Option<&mut [u64; W]>, cost: &mut Probes) -> Found {
        match self.guards.width() {
            NARROW => self.level.run(Search::<_, W, NARROW> { table: self, query, wildcards, cost }),
            MIDDLE => self.level.run(Search::<_, W, MIDDLE> { table: self, query, wildcards, cost }),
            _ => self.level.run(Search::<_, W, WIDE> { table: self, query, wildcards, cost }),
        }
    }

    #[inline(always)]
    fn search_at_level<const N: usize>(
        &self,
        query: Query<'_, W>,
        mut wildcards: Option<&mut [u64; W]>,
        cost: &mut Probes,
    ) -> Found {
        let mut picked = Picked::<W, N>::new(&self.guards, query.key, 0);
        let mut visits = Visits { few: ArrayVec::new(), many: Vec::new() };
        visits.note(&self.ranks, &mut picked);
        for first in (N..self.guards.words()).step_by(N) {
            picked = Picked::new(&self.guards, query.key, first);
            visits.note(&self.ranks, &mut picked);
        }
        visits.many.sort_unstable();
        cost.searches += 1;
        cost.open += visits.len() as u64;

        let mut found = Found::default();
        let mut hard: Option<&Stored<R>> = None;
        // Masks up to this rank cannot better the hard match.
        let mut ceiling = 0;
        // Masks above this rank had to be visited or ruled out.
        let mut floor = 0;
        let mut missed: ArrayVec<u32, 32> = ArrayVec::new();
        while let Some((rank, column)) = visits.next()
            && rank > ceiling
        {
            let Some(subtable) = self.subtables.get(column) else { continue };
            cost.probes += 1;
            let entry = subtable.find(query.key);
            if let Some(wildcards) = wildcards.as_deref_mut()
                && (entry.is_some() || missed.try_push(column).is_err())
            {
                subtable.mask.fold_into(subtable.mask.len(), wildcards);
            }
            let Some((_, head)) = entry else { continue };
            let Some((slot, rule)) = self.topmost(head, &query) else { continue };
            if hard.is_some_and(|hard| rule.priority <= hard.priority) {
                continue;
            }
            if rule.clauses.is_some() {
                found.soft.push(slot);
            } else {
                (found.hard, hard) = (Some(slot), Some(rule));
                ceiling = rank_of_priority(rule.priority);
                floor = ceiling.min(rank);
            }
        }
        if let Some(wildcards) = wildcards {
            Evidence::new(self, query.key, picked, wildcards).gather(&missed, floor, cost);
        }
        found
    }

    /// The first rule of a chain that a query sees.
    #[inline(always)]
    fn topmost(&self, head: u32, query: &Query<'_, W>) -> Option<(u32, &Stored<R>)> {
        self.chain(head).find(|(_, rule)| query.sees(rule))
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
