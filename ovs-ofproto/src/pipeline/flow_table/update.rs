//! Modifications of tables: what a flow-mod means, what ends by itself, and how that becomes true or is taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ovs_classifier::{Clause, NewRule, Pattern, Version};
use ovs_packet::key::{Match, WORDS};
use ovs_packet::{Instant, OfPort};

use super::check::Known;
use super::log::{Log, Step};
use super::rule::{Flow, RemovedReason, Rule, groups_of, meters_of};
use super::slab::RuleId;
use super::{Criteria, FlowModError, FlowTables, TABLES, VISIBLE_TABLES, pattern};
use crate::action::{Action, Instructions, LearnFlags};
use crate::flow_mod::{ALL_TABLES, FlowMod, FlowModCommand, FlowModFlags};
use crate::pipeline::group::ANY_GROUP;

/// The parts of conjunctive matches that actions say the flow is.
fn clauses(instructions: &Instructions) -> Vec<Clause> {
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
    /// Carries a modification out at the next version, and logs what it did.
    pub(in crate::pipeline) fn modify(
        &mut self,
        fm: &FlowMod,
        known: Known<'_>,
        now: Instant,
        log: &mut Log,
    ) -> Result<(), FlowModError> {
        let start = log.len();
        let done = match fm.command {
            FlowModCommand::Add => self.add(fm, known, now, log),
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => self.change(fm, known, now, log),
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => self.delete(fm, log),
        };
        if done.is_err() {
            self.undo(log, start);
        }
        done
    }

    /// Adds a rule of the switch's own, at a priority that controllers cannot name; replaces one of the same match and
    /// priority.
    pub(in crate::pipeline) fn add_hidden(
        &mut self,
        table: u8,
        matching: Match,
        priority: i32,
        instructions: Instructions,
        now: Instant,
        log: &mut Log,
    ) -> Result<RuleId, FlowModError> {
        let fm = FlowMod { table, instructions, ..FlowMod::default() };
        let rule = Rule { priority, ..self.new_rule(&fm, table, now) };
        let pattern = pattern(&matching);
        let old = self.exact(table, &pattern, priority);
        let id = self.put(&pattern, rule, old)?;
        log.steps.push(Step::Added { new: id, replaced: old });
        Ok(id)
    }

    /// Removes a rule.
    pub(in crate::pipeline) fn remove(&mut self, id: RuleId, reason: RemovedReason, log: &mut Log) {
        if self.hide(id) {
            log.steps.push(Step::Removed { id, reason });
        }
    }

    /// Removes the flows that name a group, or use a meter, which is gone.
    pub(in crate::pipeline) fn remove_users(&mut self, group: Option<u32>, meter: Option<u32>, log: &mut Log) {
        let of = |ids: Option<&BTreeSet<RuleId>>| ids.into_iter().flatten().copied().collect::<Vec<_>>();
        let by_group = of(group.and_then(|g| self.groups.get(&g)));
        let by_meter = of(meter.and_then(|m| self.meters.get(&m)));
        by_group.into_iter().for_each(|id| self.remove(id, RemovedReason::GroupDelete, log));
        by_meter.into_iter().for_each(|id| self.remove(id, RemovedReason::MeterDelete, log));
    }

    /// Removes the flows whose time is up.
    pub(in crate::pipeline) fn expire(&mut self, now: Instant, log: &mut Log) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            match self.rules.get(id).filter(|r| !r.removed).and_then(Rule::deadline) {
                Some((later, _)) if later > now => drop(self.timers.insert((later, id))),
                Some((_, reason)) => self.remove(id, reason, log),
                None => {}
            }
        }
    }

    /// Lets a flow end earlier: seconds, of which 0 leaves what is.
    pub(in crate::pipeline) fn reduce_timeouts(&mut self, id: RuleId, idle: u16, hard: u16) {
        let Some(rule) = self.rules.get_mut(id) else { return };
        let reduced = |old: u16, new: u16| if new != 0 && (old == 0 || new < old) { new } else { old };
        (rule.idle_timeout, rule.hard_timeout) = (reduced(rule.idle_timeout, idle), reduced(rule.hard_timeout, hard));
        if let Some((at, _)) = rule.deadline() {
            self.timers.insert((at, id));
        }
    }

    /// Makes the next version the present one. Tells the flows that ended, with the reason: `all`, or those that are to be
    /// reported.
    pub(in crate::pipeline) fn commit(&mut self, log: Log, all: bool, mut ended: impl FnMut(Flow, RemovedReason)) {
        self.version = Version(self.version.0 + 1);
        let mut all_gone = Vec::new();
        for step in &log.steps {
            self.changes.note(*step);
            // Who matches a part of a conjunction does not meet it: whoever matches it may come out otherwise.
            if let Step::Modified { old, new } = *step
                && [old, new].iter().any(|id| self.rules.get(*id).is_some_and(|r| !clauses(&r.instructions).is_empty()))
            {
                self.changes.came(new);
            }
            let (gone, reason) = match *step {
                Step::Added { replaced, .. } => (replaced, None),
                Step::Modified { old, .. } => (Some(old), None),
                Step::Removed { id, reason } => (Some(id), Some(reason)),
            };
            let Some(id) = gone else { continue };
            let told = all || self.rules.get(id).is_some_and(|r| r.flags.contains(FlowModFlags::SEND_FLOW_REM));
            if let Some((flow, reason)) = reason.filter(|_| told).and_then(|r| Some((self.flow(id)?, r))) {
                ended(flow, reason);
            }
            all_gone.push(id);
        }
        self.forget(&all_gone);
    }

    /// Takes rules that are hidden out of everything.
    fn forget(&mut self, gone: &[RuleId]) {
        // What is left is sought out where that is less work than to seek what goes.
        let most = gone.len() > self.rules.len() / 4;
        let mut touched = [false; TABLES];
        for id in gone {
            let Some(rule) = self.rules.remove(*id) else { continue };
            if let Some(touched) = touched.get_mut(usize::from(rule.table)) {
                *touched = true;
            }
            if !most {
                self.unindex(*id, &rule);
            }
        }
        if most {
            self.unindex_the_gone();
        }
        for (table, _) in self.tables.iter_mut().zip(touched).filter(|(_, touched)| *touched) {
            // A table that has no flows has none that is seen at this version or will be.
            match table.flows {
                0 => table.classifier.clear(),
                _ => drop(table.classifier.reclaim(self.version)),
            }
        }
    }

    /// Takes back what was done since the log had `start` steps.
    pub(in crate::pipeline) fn undo(&mut self, log: &mut Log, start: usize) {
        while log.len() > start {
            match log.steps.pop() {
                Some(Step::Added { new, replaced }) => {
                    self.discard(new);
                    if let Some(old) = replaced {
                        self.heirs.remove(&old);
                        self.unhide(old);
                    }
                }
                Some(Step::Modified { old, new }) => {
                    self.discard(new);
                    self.heirs.remove(&old);
                    self.unhide(old);
                }
                Some(Step::Removed { id, .. }) => self.unhide(id),
                None => return,
            }
        }
    }

    /// Whether there can be a flow in the table that a flow-mod adds one to.
    pub(in crate::pipeline) fn check_table(fm: &FlowMod) -> Result<(), FlowModError> {
        match fm.command {
            FlowModCommand::Add if fm.table != ALL_TABLES => writable(fm.table),
            _ => Ok(()),
        }
    }

    fn add(&mut self, fm: &FlowMod, known: Known<'_>, now: Instant, log: &mut Log) -> Result<(), FlowModError> {
        // The switch may choose where to put a flow that says "any table": the first.
        let table = if fm.table == ALL_TABLES { 0 } else { fm.table };
        writable(table)?;
        known.check(&fm.matching, table, &fm.instructions)?;
        if fm.buffer_id != u32::MAX {
            return Err(FlowModError::NoBuffer(fm.buffer_id));
        }
        let mut rule = self.new_rule(fm, table, now);
        let pattern = pattern(&fm.matching);
        let old = self.exact(table, &pattern, rule.priority);
        match old.and_then(|id| self.rules.get(id)) {
            // A flow that takes another's place keeps its counters unless it is told to reset them, and when it was used.
            Some(old) => {
                rule.used = old.used;
                if !fm.flags.contains(FlowModFlags::RESET_COUNTS) {
                    (rule.packets, rule.bytes) = (old.packets, old.bytes);
                }
                if fm.cookie == u64::MAX {
                    rule.cookie = old.cookie;
                }
            }
            None => {
                let t = self.table(table).ok_or(FlowModError::BadTable(table))?;
                if fm.flags.contains(FlowModFlags::CHECK_OVERLAP) && t.view().overlaps(&pattern, rule.priority) {
                    return Err(FlowModError::Overlap(table));
                }
                if t.flows >= t.limit() && !self.evict(table, log) {
                    return Err(FlowModError::TableFull(table));
                }
            }
        }
        let new = self.put(&pattern, rule, old)?;
        if let Some(old) = old.filter(|_| !fm.flags.contains(FlowModFlags::RESET_COUNTS)) {
            self.heirs.insert(old, new);
        }
        log.steps.push(Step::Added { new, replaced: old });
        Ok(())
    }

    fn change(&mut self, fm: &FlowMod, known: Known<'_>, now: Instant, log: &mut Log) -> Result<(), FlowModError> {
        let chosen = self.named(fm)?;
        if fm.buffer_id != u32::MAX {
            return Err(FlowModError::NoBuffer(fm.buffer_id));
        }
        // OpenFlow 1.0 and 1.1 add what they find nothing to modify of.
        if chosen.is_empty() && fm.new_cookie.is_some() && fm.cookie_mask == 0 {
            let cookie = fm.new_cookie.unwrap_or_default();
            return self.add(&FlowMod { command: FlowModCommand::Add, cookie, ..fm.clone() }, known, now, log);
        }
        let instructions = self.shared(&fm.instructions);
        for id in chosen {
            let (Some(matching), Some(old)) = (self.matching(id), self.rules.get(id)) else { continue };
            known.check(&matching, old.table, &fm.instructions)?;
            // A rule's identity goes with what it does: what was credited to it before stays with the flow.
            let mut rule = Rule { instructions: instructions.clone(), modified: now, ..old.clone() };
            rule.cookie = fm.new_cookie.filter(|_| !fm.keep_cookie).unwrap_or(rule.cookie);
            if fm.flags.contains(FlowModFlags::RESET_COUNTS) {
                (rule.packets, rule.bytes) = (0, 0);
            }
            let new = self.put(&pattern(&matching), rule, Some(id))?;
            if !fm.flags.contains(FlowModFlags::RESET_COUNTS) {
                self.heirs.insert(id, new);
            }
            log.steps.push(Step::Modified { old: id, new });
        }
        Ok(())
    }

    fn delete(&mut self, fm: &FlowMod, log: &mut Log) -> Result<(), FlowModError> {
        let chosen = self.named(fm)?;
        chosen.into_iter().for_each(|id| self.remove(id, RemovedReason::Delete, log));
        Ok(())
    }

    /// The flows that a change or a deletion names.
    fn named(&self, fm: &FlowMod) -> Result<Vec<RuleId>, FlowModError> {
        if fm.table != ALL_TABLES && usize::from(fm.table) >= TABLES {
            return Err(FlowModError::BadTable(fm.table));
        }
        let strict = matches!(fm.command, FlowModCommand::ModifyStrict | FlowModCommand::DeleteStrict);
        let deletion = matches!(fm.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
        let chosen = self.chosen(&Criteria {
            table: fm.table,
            matching: fm.matching.clone(),
            strict: strict.then_some(fm.priority.into()),
            cookie: fm.cookie,
            cookie_mask: fm.cookie_mask,
            out_port: if deletion { fm.out_port } else { OfPort::ANY },
            out_group: if deletion { fm.out_group } else { ANY_GROUP },
        });
        // Most switches have nothing of their own there.
        if self.tables.iter().skip(VISIBLE_TABLES).all(|t| t.flows == 0) {
            return Ok(chosen);
        }
        let (open, own): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|id| self.rules.get(*id).is_some_and(|r| writable(r.table).is_ok()));
        match own.first().and_then(|id| self.rules.get(*id)) {
            Some(rule) if open.is_empty() => Err(FlowModError::ReadOnly(rule.table)),
            _ => Ok(open),
        }
    }

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
    fn put(&mut self, pattern: &Pattern<WORDS>, rule: Rule, old: Option<RuleId>) -> Result<RuleId, FlowModError> {
        let table = rule.table;
        let full = FlowModError::TableFull(table);
        let id = self.rules.next_id().ok_or(full)?;
        if let Some(old) = old {
            self.hide(old);
        }
        let next = Version(self.version.0 + 1);
        let instructions = rule.instructions.clone();
        let placed = self.tables.get_mut(usize::from(table)).and_then(|t| {
            let new = NewRule::new(pattern.clone(), rule.priority, id).from_version(next);
            t.classifier.add(new.with_clauses(clauses(&instructions))).ok()
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
        for group in groups_of(&instructions) {
            self.groups.entry(group).or_default().insert(id);
        }
        for meter in meters_of(&instructions) {
            self.meters.entry(meter).or_default().insert(id);
        }
        count_learners(&mut self.learners, &instructions, true);
        if let Some(t) = self.tables.get_mut(usize::from(table)) {
            t.came(&rule);
            if let Some(eviction) = &mut t.eviction {
                eviction.add(id, &rule, &Match::from_words(*pattern.key(), *pattern.mask()));
            }
        }
        self.rules.insert(rule);
        Ok(id)
    }

    /// Takes a rule from view at the next version. False if it was.
    fn hide(&mut self, id: RuleId) -> bool {
        let next = Version(self.version.0 + 1);
        let Some(rule) = self.rules.get_mut(id).filter(|r| !r.removed) else { return false };
        rule.removed = true;
        if let (Some(t), Some(handle)) = (self.tables.get_mut(usize::from(rule.table)), rule.handle) {
            t.classifier.hide(handle, next);
            t.went(rule);
            if let Some(eviction) = &mut t.eviction {
                eviction.remove(id);
            }
        }
        count_learners(&mut self.learners, &rule.instructions, false);
        true
    }

    fn unhide(&mut self, id: RuleId) {
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
        count_learners(&mut self.learners, &rule.instructions, true);
    }

    /// Takes a rule out that was never seen.
    fn discard(&mut self, id: RuleId) {
        self.hide(id);
        if let Some(rule) = self.unlink(id)
            && let (Some(t), Some(handle)) = (self.tables.get_mut(usize::from(rule.table)), rule.handle)
        {
            t.classifier.remove_handle(handle);
        }
    }

    /// Takes a rule out of everything but its classifier.
    fn unlink(&mut self, id: RuleId) -> Option<Rule> {
        let rule = self.rules.remove(id)?;
        self.unindex(id, &rule);
        Some(rule)
    }

    /// Takes a rule out of what finds rules by what they say.
    fn unindex(&mut self, id: RuleId, rule: &Rule) {
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

    /// Takes all rules that have gone out of what finds rules by what they say.
    fn unindex_the_gone(&mut self) {
        let rules = &self.rules;
        let (timers, cookies) = (&mut self.timers, &mut self.cookies);
        let indexes = [&mut self.groups, &mut self.meters];
        if rules.len() == 0 {
            timers.clear();
            cookies.clear();
            return indexes.into_iter().for_each(|index| index.clear());
        }
        let is_there = |id: &RuleId| rules.get(*id).is_some();
        timers.retain(|(_, id)| is_there(id));
        cookies.retain(|(_, id)| is_there(id));
        for index in indexes {
            index.retain(|_, ids| {
                ids.retain(is_there);
                !ids.is_empty()
            });
        }
    }

    /// Ends the flows whose learners all go with what is in the log, and those that these learnt. Nothing may be done
    /// between this and the commit.
    pub(in crate::pipeline) fn complete(&mut self, log: &mut Log) {
        let mut at = 0;
        while let Some(step) = log.steps.get(at).copied() {
            at += 1;
            let gone = match step {
                Step::Added { replaced, .. } => replaced,
                Step::Modified { old, .. } => Some(old),
                Step::Removed { id, .. } => Some(id),
            };
            let Some(rule) = gone.and_then(|id| self.rules.get(id)) else { continue };
            let orphans: Vec<_> = learnt(&rule.instructions).filter(|k| !self.learners.contains_key(k)).collect();
            for (table, cookie) in orphans {
                let command = FlowModCommand::Delete;
                let fm = FlowMod { table, cookie, cookie_mask: u64::MAX, command, ..FlowMod::default() };
                // What is named so can be in the switch's own table only if the switch put it there.
                let _ = self.delete(&fm, log);
            }
        }
    }

    fn new_rule(&mut self, fm: &FlowMod, table: u8, now: Instant) -> Rule {
        Rule {
            instructions: self.shared(&fm.instructions),
            cookie: fm.cookie,
            created: now,
            modified: now,
            used: now,
            packets: 0,
            bytes: 0,
            handle: None,
            priority: fm.priority.into(),
            idle_timeout: fm.idle_timeout,
            hard_timeout: fm.hard_timeout,
            importance: fm.importance,
            flags: fm.flags,
            table,
            removed: false,
        }
    }

    fn shared(&mut self, instructions: &Instructions) -> Arc<Instructions> {
        if *self.last != *instructions {
            self.last = Arc::new(instructions.clone());
        }
        self.last.clone()
    }
}

/// Counts a rule among those that learn flows which end with them, or no longer.
fn count_learners(learners: &mut BTreeMap<(u8, u64), usize>, instructions: &Instructions, comes: bool) {
    for key in learnt(instructions) {
        let n = learners.entry(key).or_default();
        *n = if comes { *n + 1 } else { n.saturating_sub(1) };
        if *n == 0 {
            learners.remove(&key);
        }
    }
}

/// Controllers do not change the switch's own table.
fn writable(table: u8) -> Result<(), FlowModError> {
    match usize::from(table) {
        t if t < VISIBLE_TABLES => Ok(()),
        t if t < TABLES => Err(FlowModError::ReadOnly(table)),
        _ => Err(FlowModError::BadTable(table)),
    }
}
