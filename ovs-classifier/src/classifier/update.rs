//! Changes to a classifier, each of which restores what lookups rely on:
//!
//! 1. a chain holds the rules of one pattern in descending priority, and the row of the pattern holds its head;
//! 2. a subtable's stage index has each of its patterns once, whatever the number of rules with it;
//! 3. a subtable's priorities count its rules, and its rank in the probe order is the highest of them;
//! 4. a subtable without rules is not there.

use super::{Classifier, State};
use crate::pattern::Pattern;
use crate::rule::Rule;
use crate::sparse::SparsePattern;
use crate::stages::StageIndex;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;

impl<R, const W: usize> Classifier<R, W> {
    /// Adds a rule; replaces the payload of the rule that has the same pattern and priority, and returns the old.
    ///
    /// The table has no bound of its own: where it must have one, compare [`len`](Self::len) first.
    ///
    /// ```
    /// use ovs_classifier::{Classifier, Layout, Pattern};
    ///
    /// let mut table = Classifier::new(Layout::<1>::flat());
    /// assert_eq!(table.insert(&Pattern::any(), 1, "a"), None);
    /// assert_eq!(table.insert(&Pattern::any(), 2, "b"), None, "another priority is another rule");
    /// assert_eq!(table.insert(&Pattern::any(), 1, "c"), Some("a"));
    /// assert_eq!(table.len(), 2);
    /// ```
    pub fn insert(&mut self, pattern: &Pattern<W>, priority: i32, payload: R) -> Option<R> {
        let next_age = &mut self.next_age;
        let (subtable, mask) = self.subtables.find_or_insert(&self.layout, pattern.mask(), |mask| {
            let age = *next_age;
            *next_age += 1;
            State { age, priorities: BTreeMap::new(), stages: StageIndex::new(mask) }
        });
        let hash = mask.hash(self.hash, pattern.key());
        let rows = self.subtables.get(subtable).map(|subtable| &subtable.rows);
        let head = rows.and_then(|rows| rows.find(hash, |head| self.matches(head, pattern.key())));

        let above = head.and_then(|head| self.last_at_or_above(head, priority));
        if let Some(rule) = above.and_then(|above| self.rules.get_mut(above))
            && rule.priority == priority
        {
            return Some(core::mem::replace(&mut rule.payload, payload));
        }

        let below = above.map_or(head, |above| self.rules.get(above)?.below);
        let sparse = SparsePattern::new(&mask, pattern.key());
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let slot = self.rules.insert(Rule { sparse, priority, sequence, subtable, below, payload }).index();

        if let Some(subtable) = self.subtables.get_mut(subtable) {
            match (above.and_then(|above| self.rules.get_mut(above)), head) {
                (Some(above), _) => above.below = Some(slot),
                (None, Some(head)) => subtable.rows.replace(hash, head, slot),
                (None, None) => {
                    subtable.rows.insert(hash, slot);
                    subtable.state.stages.add(self.hash, &mask.gather(pattern.key()));
                }
            }
        }
        self.count(subtable, |priorities| *priorities.entry(priority).or_insert(0) += 1);
        None
    }

    /// The payload of the rule with exactly this pattern and priority, to change.
    pub fn get_mut(&mut self, pattern: &Pattern<W>, priority: i32) -> Option<&mut R> {
        let slot = self.locate(pattern, priority)?;
        self.rules.get_mut(slot).map(|rule| &mut rule.payload)
    }

    /// Removes the rule with exactly this pattern and priority, and returns its payload.
    pub fn remove(&mut self, pattern: &Pattern<W>, priority: i32) -> Option<R> {
        self.remove_slot(self.locate(pattern, priority)?)
    }

    /// Removes the rules for which `keep` returns false; asks in the order of insertion.
    pub fn retain(&mut self, mut keep: impl FnMut(&Rule<R, W>) -> bool) {
        let mut next = self.rules.first();
        while let Some(slot) = next {
            next = self.rules.after(slot);
            if self.rules.get(slot).is_some_and(|rule| !keep(rule)) {
                self.remove_slot(slot);
            }
        }
    }

    /// Removes all rules; keeps some of the memory for the next.
    pub fn clear(&mut self) {
        self.rules.clear();
        self.subtables.clear();
        self.order.clear();
    }

    /// The last rule of a chain with at least this priority.
    fn last_at_or_above(&self, head: usize, priority: i32) -> Option<usize> {
        self.chain(head).take_while(|(_, rule)| rule.priority >= priority).last().map(|(slot, _)| slot)
    }

    fn remove_slot(&mut self, slot: usize) -> Option<R> {
        let rule = self.rules.get(slot)?;
        let (subtable, below) = (rule.subtable, rule.below);
        let hash = self.hash.words(rule.sparse.values());
        let head = self.subtables.get(subtable)?.rows.find(hash, |head| {
            self.rules.get(head).is_some_and(|other| other.sparse.values() == rule.sparse.values())
        })?;
        let above = self.chain(head).take_while(|(other, _)| *other != slot).last().map(|(slot, _)| slot);

        let rule = self.rules.remove(slot)?;
        let left = self.subtables.get_mut(subtable)?;
        match (above.and_then(|above| self.rules.get_mut(above)), below) {
            (Some(above), _) => above.below = below,
            (None, Some(below)) => left.rows.replace(hash, slot, below),
            (None, None) => {
                left.rows.remove(hash, slot);
                left.state.stages.remove(self.hash, rule.sparse.values());
            }
        }
        self.count(subtable, |priorities| {
            if let Entry::Occupied(mut rules) = priorities.entry(rule.priority) {
                match *rules.get() {
                    0 | 1 => drop(rules.remove()),
                    many => *rules.get_mut() = many - 1,
                }
            }
        });
        Some(rule.payload)
    }

    /// Changes the count of a subtable's rules by priority, and with it the place of the subtable among the others.
    fn count(&mut self, slot: usize, change: impl FnOnce(&mut BTreeMap<i32, usize>)) {
        let Some(subtable) = self.subtables.get_mut(slot) else { return };
        let before = subtable.state.rank(slot);
        change(&mut subtable.state.priorities);
        let after = subtable.state.rank(slot);
        if before != after {
            before.into_iter().for_each(|rank| self.order.remove(rank));
            after.into_iter().for_each(|rank| self.order.insert(rank));
        }
        if after.is_none() {
            self.subtables.remove(slot);
        }
    }
}
