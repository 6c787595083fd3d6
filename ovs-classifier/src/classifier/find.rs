//! The search for no more than the best rule: nothing is noted for proofs, no list is made of masks.
//!
//! In so few instructions that a processor is at the next lookup, and the one after, while this one waits for memory. Tables
//! with clauses, and keys for which guards leave many masks, take the way of tracked lookups.

use super::search::{FEW, Probes, Query, without};
use super::{Classifier, rank_of_priority};
use crate::guards::{ENOUGH, MIDDLE, NARROW, Picked, SINGLE, WIDE, count};
use crate::rule::{Rule, Stored};
use crate::simd::{Job, Kernels};

/// A search for no more than a rule of a table without clauses.
struct Find<'a, 'q, R, const W: usize, const N: usize> {
    table: &'a Classifier<R, W>,
    query: &'q Query<'q, W>,
    cost: &'q mut Probes,
}

impl<'a, R, const W: usize, const N: usize> Job for Find<'a, '_, R, W, N> {
    type Output = Option<Option<Rule<'a, R, W>>>;

    #[inline(always)]
    fn run<K: Kernels>(self, _: K) -> Self::Output {
        let Find { table, query, cost } = self;
        let mut open = Picked::<W, N>::new(&table.guards, query.key, 0).open(ENOUGH);
        let left = count(&open);
        if left > FEW {
            return None;
        }
        cost.searches += 1;
        cost.open += u64::from(left);
        // No rank that is left is above this.
        let mut bound = u64::MAX;
        Some(table.find_in(query, cost, |ceiling| {
            if bound <= ceiling {
                return None;
            }
            let (rank, column, second) = table.highest(&open);
            bound = second;
            open = without(open, column);
            (rank > ceiling).then_some(column)
        }))
    }
}

impl<R, const W: usize> Classifier<R, W> {
    /// The best rule among a few masks without clauses.
    #[inline(always)]
    pub(super) fn find_few(&self, query: &Query<'_, W>, cost: &mut Probes) -> Option<Rule<'_, R, W>> {
        cost.searches += 1;
        cost.open += self.ranked.len() as u64;
        if let [(_, column)] = self.ranked.as_slice() {
            // No loop over masks, nothing to keep for one: the fewer the instructions, the more lookups wait for memory at
            // the same time.
            cost.probes += 1;
            let subtable = self.subtables.get(*column)?;
            let (_, head) = subtable.find(query.key)?;
            let (slot, stored) = self.topmost(head, query)?;
            return Some(self.rule_in(slot, stored, subtable));
        }
        let mut ranked = self.ranked.iter();
        self.find_in(query, cost, |ceiling| {
            ranked.next().filter(|(rank, _)| *rank > ceiling).map(|(_, column)| *column)
        })
    }

    /// The best rule among masks without clauses that guards leave. `None` where so many are left that they want to be put
    /// in order.
    #[inline(never)]
    pub(super) fn find_open(&self, query: &Query<'_, W>, cost: &mut Probes) -> Option<Option<Rule<'_, R, W>>> {
        match self.guards.width() {
            _ if self.with_clauses > 0 || self.guards.words() > self.guards.width() => None,
            SINGLE => self.level.run(Find::<_, W, SINGLE> { table: self, query, cost }),
            NARROW => self.level.run(Find::<_, W, NARROW> { table: self, query, cost }),
            MIDDLE => self.level.run(Find::<_, W, MIDDLE> { table: self, query, cost }),
            _ => self.level.run(Find::<_, W, WIDE> { table: self, query, cost }),
        }
    }

    /// The best rule without clauses of masks that `next` names, by rank, while they are above a ceiling.
    #[inline(always)]
    fn find_in(
        &self,
        query: &Query<'_, W>,
        cost: &mut Probes,
        mut next: impl FnMut(u64) -> Option<u32>,
    ) -> Option<Rule<'_, R, W>> {
        let (mut best, mut ceiling, mut probes) = (None, 0, 0);
        while let Some(column) = next(ceiling) {
            let Some(subtable) = self.subtables.get(column) else { break };
            probes += 1;
            let Some((_, head)) = subtable.find(query.key) else { continue };
            if let Some((slot, stored)) = self.topmost_apart(head, query)
                && rank_of_priority(stored.priority) > ceiling
            {
                (best, ceiling) = (Some((slot, stored, subtable)), rank_of_priority(stored.priority));
            }
        }
        cost.probes += probes;
        best.map(|(slot, stored, subtable)| self.rule_in(slot, stored, subtable))
    }

    /// The highest rank of some columns, 0 if there is none; the column that has it, and the next lower rank. Without branches
    /// that depend on ranks, which no processor guesses.
    #[inline(always)]
    pub(super) fn highest<const N: usize>(&self, columns: &[u64; N]) -> (u64, u32, u64) {
        let (mut highest, mut at, mut second) = (0, 0, 0);
        for (word, columns) in (0..).zip(columns) {
            let mut left = *columns;
            while left != 0 {
                let column = word * 64 + left.trailing_zeros();
                left &= left - 1;
                let rank = self.ranks.get(column as usize).copied().unwrap_or(0);
                second = second.max(rank.min(highest));
                at = if rank > highest { column } else { at };
                highest = highest.max(rank);
            }
        }
        (highest, at, second)
    }

    /// As [`topmost`](Self::topmost), and what it needs is not kept by a loop around it.
    #[inline(never)]
    fn topmost_apart(&self, head: u32, query: &Query<'_, W>) -> Option<(u32, &Stored<R>)> {
        self.topmost(head, query)
    }
}
