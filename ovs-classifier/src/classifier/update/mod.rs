//! Changes to a classifier, each of which restores what lookups rely on:
//!
//! 1. a chain holds the rules of one pattern in descending priority, and the entry of the pattern holds its head;
//! 2. stages, ports, prefix tries and guards have each pattern of a mask, whatever the number of rules with it;
//! 3. a subtable's priorities count its rules, and its rank is that of the highest of them;
//! 4. a subtable without rules is not there.

mod hide;
mod insert;
mod remove;

#[cfg(feature = "std")]
pub(crate) use insert::Coming;

use super::prefixes::{Ports, Values};
use super::priorities::Priorities;
use super::{Classifier, PLAIN, State};
use crate::arena::Handle;
use crate::pattern::Pattern;
use crate::stages::{Hashes, StageIndex};
use crate::subtables::Subtable;
use alloc::vec::Vec;

/// A pattern of a mask that has a column.
pub(super) struct Sought<'a, const W: usize> {
    pub(super) column: u32,
    /// A key that it matches.
    pub(super) key: &'a [u64; W],
    pub(super) hashes: Hashes,
    pub(super) values: &'a Values,
}

impl<R, const W: usize> Classifier<R, W> {
    /// The payload of the rule with exactly this pattern and priority that is not hidden, to change.
    pub fn get_mut(&mut self, pattern: &Pattern<W>, priority: i32) -> Option<&mut R> {
        let slot = self.find_exact(pattern, priority)?.handle().index();
        self.rules.get_mut(slot).map(|rule| &mut rule.payload)
    }

    /// Replaces the payload of a rule, and returns the old; `None` when the rule is no longer there.
    pub fn set_payload(&mut self, handle: Handle, payload: R) -> Option<R> {
        let rule = self.rules.get_mut(self.rules.resolve(handle)?)?;
        Some(core::mem::replace(&mut rule.payload, payload))
    }

    /// Removes all rules; keeps some of the memory for the next.
    pub fn clear(&mut self) {
        self.rules.clear();
        self.subtables.clear();
        self.guards.clear();
        self.prefixes.clear();
        self.ranks.clear();
        self.ranked.clear();
        self.hidden.clear();
        self.with_clauses = 0;
    }

    /// A pattern of a mask, by a key that it matches.
    #[inline(always)]
    pub(super) fn sought<'a>(
        &self,
        column: u32,
        subtable: &Subtable<State, W>,
        key: &'a [u64; W],
        values: &'a mut Values,
    ) -> Sought<'a, W> {
        let hashes = subtable.state.stages.hashes(&subtable.mask, key);
        values.set_ports(subtable.state.ports.as_ref(), key, self.layout.order());
        Sought { column, key, hashes, values }
    }

    fn add_subtable(&mut self, pattern: &Pattern<W>) -> Option<u32> {
        if self.next_age == u32::MAX {
            self.renumber_ages();
        }
        let (layout, age) = (&self.layout, self.next_age);
        let column = self.subtables.insert(layout, pattern, |mask| State {
            age,
            priorities: Priorities::default(),
            stages: StageIndex::new(mask),
            ports: Ports::new(layout, mask),
        })?;
        self.next_age += 1;
        if self.ranks.len() <= column as usize {
            self.ranks.resize((column as usize + 1).next_multiple_of(64), 0);
        }
        self.prefixes.add_column(column, pattern.mask(), self.layout.order());
        self.guards.add_column(column, pattern.mask());
        Some(column)
    }

    /// Takes a subtable away that has no rule.
    fn drop_if_empty(&mut self, column: u32) {
        if self.subtables.get(column).is_some_and(|subtable| subtable.state.priorities.is_empty()) {
            self.subtables.remove(column);
            self.guards.remove_column(column);
            self.rank_few();
            self.prefixes.remove_column(column);
        }
    }

    /// Changes the count of a subtable's rules by priority, and with it the rank of the subtable.
    fn count(&mut self, column: u32, change: impl FnOnce(&mut Priorities)) {
        if let Some(subtable) = self.subtables.get_mut(column)
            && let Some(rank) = self.ranks.get_mut(column as usize)
        {
            change(&mut subtable.state.priorities);
            let new = subtable.state.rank();
            if core::mem::replace(rank, new) != new {
                self.rank_few();
            }
        }
    }

    /// Lists the masks by rank, if they are few.
    fn rank_few(&mut self) {
        self.ranked.clear();
        if self.subtables.len() <= PLAIN {
            let ranked = self.subtables.columns().map(|(column, subtable)| (subtable.state.rank(), column));
            self.ranked.extend(ranked);
            self.ranked.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    /// Numbers the ages from zero, in their order: after four thousand million masks.
    fn renumber_ages(&mut self) {
        // The arena lists subtables in the order in which they came.
        let columns: Vec<u32> = self.subtables.columns().map(|(column, _)| column).collect();
        self.next_age = 0;
        for column in columns {
            if let Some(subtable) = self.subtables.get_mut(column) {
                subtable.state.age = self.next_age;
                self.next_age += 1;
            }
            self.count(column, |_| {});
        }
    }
}
