//! Conjunctive matches: soft matches against hard ones.
//!
//! A search has noted every rule with clauses above the best hard match. Here they are resolved from the highest
//! priority down, as [`Classifier`] tells. What is read of the key beyond the search is nothing: which clauses matched
//! follows from the patterns, whose masks the search has folded. The second search reads the key as any does, except
//! for the conjunction's id, which is no part of the key but of the first answer.

use super::Classifier;
use super::search::{Probes, Query};
use crate::rule::Stored;
use alloc::vec::Vec;

/// A conjunction of which clauses were seen.
struct Conjunction {
    id: u32,
    all: u64,
    seen: u64,
}

impl<R, const W: usize> Classifier<R, W> {
    /// The slot of the rule that applies to a key, and the id of the conjunction without which it would not.
    #[inline(always)]
    pub(super) fn resolve(
        &self,
        query: &Query<'_, W>,
        mut wildcards: Option<&mut [u64; W]>,
        cost: &mut Probes,
    ) -> Option<(u32, Option<u32>)> {
        let mut soft = Vec::new();
        let hard = self.search(query, &mut soft, wildcards.as_deref_mut(), cost);
        if soft.is_empty() {
            return Some((hard?, None));
        }
        self.resolve_soft((hard, soft), query, wildcards, cost)
    }

    /// As [`resolve`](Self::resolve), for a key for which rules with clauses were found.
    #[cold]
    #[inline(never)]
    fn resolve_soft(
        &self,
        (mut hard, mut soft): (Option<u32>, Vec<u32>),
        query: &Query<'_, W>,
        mut wildcards: Option<&mut [u64; W]>,
        cost: &mut Probes,
    ) -> Option<(u32, Option<u32>)> {
        let priority = |slot: u32| self.rules.get(slot).map(|rule| rule.priority);
        let standing = |rule: &Stored<R>| (rule.priority, self.ranks.get(rule.column.get() as usize));
        loop {
            soft.retain(|slot| priority(*slot) > hard.and_then(priority));
            let Some(highest) = soft.iter().filter_map(|slot| priority(*slot)).max() else {
                return Some((hard?, None));
            };
            for id in self.complete(soft.iter().copied().filter(|slot| priority(*slot) == Some(highest))) {
                let answer = self.search_again(query, id, wildcards.as_deref_mut(), cost);
                if let Some(rule) = answer.and_then(|slot| self.rule(slot)) {
                    return Some((rule.slot, (!rule.matches(query.key)).then_some(id)));
                }
            }
            for slot in core::mem::take(&mut soft) {
                if priority(slot) != Some(highest) {
                    soft.push(slot);
                } else if let Some((below, rule)) = self.next_below(slot, query) {
                    if rule.clauses.is_some() {
                        soft.push(below);
                    } else if Some(standing(rule)) > hard.and_then(|slot| self.rules.get(slot)).map(standing) {
                        hard = Some(below);
                    }
                }
            }
        }
    }

    /// The conjunctions of which these rules have all clauses, in the order in which they became complete.
    fn complete(&self, slots: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut conjunctions: Vec<Conjunction> = Vec::new();
        let mut complete = Vec::new();
        for clause in slots.filter_map(|slot| self.rules.get(slot)).flat_map(|rule| rule.clauses()) {
            let same = |other: &Conjunction| other.id == clause.id() && other.all == clause.all();
            let place = conjunctions.iter().position(same).unwrap_or_else(|| {
                conjunctions.push(Conjunction { id: clause.id(), all: clause.all(), seen: 0 });
                conjunctions.len() - 1
            });
            let Some(conjunction) = conjunctions.get_mut(place) else { continue };
            let before = conjunction.seen;
            conjunction.seen |= clause.bit();
            if before != conjunction.all && conjunction.seen == conjunction.all {
                complete.push(conjunction.id);
            }
        }
        complete
    }

    /// Searches with the id of a conjunction in its field.
    fn search_again(
        &self,
        query: &Query<'_, W>,
        id: u32,
        mut wildcards: Option<&mut [u64; W]>,
        cost: &mut Probes,
    ) -> Option<u32> {
        let (field, order) = (self.layout.conjunction()?, self.layout.order());
        let mut key = *query.key;
        field.put(&mut key, order, id.into());
        let before = wildcards.as_deref().map_or(0, |wildcards| field.get(wildcards, order));
        let query = Query { key: &key, soft: false, ..*query };
        let hard = self.search(&query, &mut Vec::new(), wildcards.as_deref_mut(), cost);
        if let Some(wildcards) = wildcards {
            field.put(wildcards, order, before);
        }
        hard
    }
}
