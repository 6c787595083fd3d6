//! How a rule comes into tables and goes from them: into its classifier, and into what finds rules by what they say.

use ovs_classifier::{Clause, NewRule, Pattern};
use ovs_packet::key::{Match, WORDS};

use super::log::Log;
use super::rule::{RemovedReason, Rule, groups_of, meters_of};
use super::slab::RuleId;
use super::{FlowModError, FlowTables};
use crate::action::{Action, Instructions, LearnFlags};

/// The parts of conjunctive matches that actions say the flow is.
pub(super) fn clauses(instructions: &Instructions) -> Vec<Clause> {
    let clause = |a: &Action| match a {
        Action::Conjunction { id, clause, clauses } => Clause::new(*id, clause + 1, *clauses),
        _ => None,
    };
    instructions.apply.iter().filter_map(clause).collect()
}

/// The flows that end with those which learnt them, by table and cookie.
pub(super) fn learnt(instructions: &Instructions) -> impl Iterator<Item = (u8, u64)> {
    instructions.apply.iter().filter_map(|a| match a {
        Action::Learn(l) if l.flags.contains(LearnFlags::DELETE_LEARNED) => Some((l.table, l.cookie)),
        _ => None,
    })
}

impl FlowTables {
    pub(super) fn exact(&self, table: u8, pattern: &Pattern<WORDS>, priority: i32) -> Option<RuleId> {
        self.table(table)?.view().find_exact(pattern, priority).map(|r| *r.payload())
    }

    /// Makes room for a flow. False if no flow can give way.
    pub(super) fn evict(&mut self, table: u8, log: &mut Log) -> bool {
        let Some(eviction) = self.tables.get_mut(usize::from(table)).and_then(|t| t.eviction.as_mut()) else {
            return false;
        };
        let Some(id) = eviction.choose(&self.rules) else { return false };
        self.remove(id, RemovedReason::Eviction, log);
        true
    }

    /// Puts a rule in from the next version on, in the place of `old`.
    pub(super) fn put(
        &mut self,
        pattern: Pattern<WORDS>,
        rule: Rule,
        old: Option<RuleId>,
    ) -> Result<RuleId, FlowModError> {
        let table = rule.table;
        let full = FlowModError::TableFull(table);
        let id = self.rules.next_id().ok_or(full)?;
        if let Some(old) = old {
            self.hide(old);
        }
        let next = self.next();
        // Borrowed, not held: an atomic count waits for all memory that was asked for before it.
        let (clauses, groups, meters) =
            (clauses(&rule.instructions), groups_of(&rule.instructions), meters_of(&rule.instructions));
        let evicts = self.tables.get(usize::from(table)).is_some_and(|t| t.eviction.is_some());
        let matching = evicts.then(|| Match::from_words(*pattern.key(), *pattern.mask()));
        let placed = self.tables.get_mut(usize::from(table)).and_then(|t| {
            let new = NewRule::new(pattern, rule.priority, id).from_version(next);
            t.classifier.add(new.with_clauses(clauses)).ok()
        });
        let Some(handle) = placed else {
            old.into_iter().for_each(|old| self.unhide(old));
            return Err(full);
        };
        let rule = Rule { handle: Some(handle), removed: false, ..rule };
        if let Some((at, _)) = rule.deadline() {
            self.timers.insert((at, id));
        }
        if rule.cookie != 0 {
            self.cookies.insert((rule.cookie, id));
        }
        for group in groups {
            self.groups.entry(group).or_default().insert(id);
        }
        for meter in meters {
            self.meters.entry(meter).or_default().insert(id);
        }
        self.count_learners(&rule.instructions, true);
        if let Some(t) = self.tables.get_mut(usize::from(table)) {
            t.came(&rule);
            if let (Some(eviction), Some(m)) = (&mut t.eviction, &matching) {
                eviction.add(id, &rule, m);
            }
        }
        self.rules.insert(rule);
        Ok(id)
    }

    /// Takes a rule from view at the next version. False if it was.
    pub(super) fn hide(&mut self, id: RuleId) -> bool {
        let next = self.next();
        let Some(rule) = self.rules.get_mut(id).filter(|r| !r.removed) else { return false };
        rule.removed = true;
        if let (Some(t), Some(handle)) = (self.tables.get_mut(usize::from(rule.table)), rule.handle) {
            t.classifier.hide(handle, next);
            t.went(rule);
            if let Some(eviction) = &mut t.eviction {
                eviction.remove(id);
            }
        }
        self.count_learner(id, false);
        true
    }

    pub(super) fn unhide(&mut self, id: RuleId) {
        let matching = self.matching(id);
        let Some(rule) = self.rules.get_mut(id).filter(|r| r.removed) else { return };
        rule.removed = false;
        if let (Some(t), Some(handle)) = (self.tables.get_mut(usize::from(rule.table)), rule.handle) {
            // What took its place was taken out before.
            let _ = t.classifier.show(handle);
            t.came(rule);
            if let (Some(eviction), Some(m)) = (&mut t.eviction, &matching) {
                eviction.add(id, rule, m);
            }
        }
        self.count_learner(id, true);
    }

    /// Takes a rule out that was never seen.
    pub(super) fn discard(&mut self, id: RuleId) {
        self.hide(id);
        if let Some(rule) = self.rules.remove(id)
            && let (Some(t), Some(handle)) = (self.tables.get_mut(usize::from(rule.table)), rule.handle)
        {
            t.classifier.remove_handle(handle);
            self.unindex(id, &rule);
        }
    }

    /// Takes a rule out of what finds rules by what they say.
    pub(super) fn unindex(&mut self, id: RuleId, rule: &Rule) {
        if let Some((at, _)) = rule.deadline() {
            self.timers.remove(&(at, id));
        }
        if rule.cookie != 0 {
            self.cookies.remove(&(rule.cookie, id));
        }
        for (index, keys) in
            [(&mut self.groups, groups_of(&rule.instructions)), (&mut self.meters, meters_of(&rule.instructions))]
        {
            for key in keys {
                if let Some(ids) = index.get_mut(&key) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        index.remove(&key);
                    }
                }
            }
        }
    }

    fn count_learner(&mut self, id: RuleId, comes: bool) {
        let Some(rule) = self.rules.get(id).filter(|r| learnt(&r.instructions).next().is_some()) else { return };
        let instructions = rule.instructions.clone();
        self.count_learners(&instructions, comes);
    }

    /// Counts a rule among those that learn flows which end with them, or no longer.
    fn count_learners(&mut self, instructions: &Instructions, comes: bool) {
        for key in learnt(instructions) {
            let n = self.learners.entry(key).or_default();
            *n = if comes { *n + 1 } else { n.saturating_sub(1) };
            if *n == 0 {
                self.learners.remove(&key);
                self.orphaned.push(key);
            }
        }
    }
}
