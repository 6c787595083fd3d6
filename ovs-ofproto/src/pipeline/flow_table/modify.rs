//! What modifications mean: what a flow-mod changes, and what ends by itself.
//!
//! A modification of many flows is [begun](FlowTables::begin), which chooses them, and [goes on](FlowTables::go_on) by as many
//! as there is time for.

use std::sync::Arc;
use std::vec::IntoIter;

use ovs_packet::key::Match;
use ovs_packet::{Instant, OfPort};

use super::check::Known;
use super::log::{Log, Step};
use super::rule::{RemovedReason, Rule};
use super::slab::RuleId;
use super::update::clauses;
use super::{Criteria, FlowModError, FlowTables, TABLES, VISIBLE_TABLES, pattern};
use crate::action::Instructions;
use crate::flow_mod::{ALL_TABLES, FlowMod, FlowModCommand, FlowModFlags};
use crate::pipeline::group::ANY_GROUP;

/// So many flows are looked at in the time in which one is changed.
const LOOKS: usize = 32;

/// A modification that is being carried out: flows that are left of it, and what becomes of each.
#[derive(Debug)]
pub(in crate::pipeline) struct Pending {
    left: IntoIter<RuleId>,
    deed: Deed,
}

#[derive(Debug)]
enum Deed {
    Remove(RemovedReason),
    Change { instructions: Arc<Instructions>, cookie: Option<u64>, resets: bool },
}

impl Pending {
    /// Nothing is left.
    pub(super) fn done() -> Pending {
        Pending::removal(Vec::new(), RemovedReason::Delete)
    }

    pub(super) fn removal(ids: Vec<RuleId>, reason: RemovedReason) -> Pending {
        Pending { left: ids.into_iter(), deed: Deed::Remove(reason) }
    }

    /// How many flows are left.
    pub(in crate::pipeline) fn len(&self) -> usize {
        self.left.len()
    }
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
        let mut effort = usize::MAX;
        let instructions = self.shared(&fm.instructions);
        let begun = self.begin(fm, instructions, known, now, log);
        let done = begun.and_then(|mut p| self.go_on(&mut p, known, now, log, &mut effort));
        if done.is_err() {
            self.undo(log, start);
        }
        done
    }

    /// Begins a modification, for which flows do as `instructions` say, whatever the modification itself says: adds a flow,
    /// or chooses those that it is about. What a log says of one that fails is for the caller to take back.
    pub(in crate::pipeline) fn begin(
        &mut self,
        fm: &FlowMod,
        instructions: Arc<Instructions>,
        known: Known<'_>,
        now: Instant,
        log: &mut Log,
    ) -> Result<Pending, FlowModError> {
        match fm.command {
            FlowModCommand::Add => self.add(fm, instructions, known, now, log).map(|()| Pending::done()),
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => self.change(fm, instructions, known, now, log),
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => self.delete(fm),
        }
    }

    /// How many changes of flows to choose those that a modification is about takes as long as.
    pub(in crate::pipeline) fn cost_to_choose(&self, fm: &FlowMod) -> usize {
        let looks_at_all = matches!(fm.command, FlowModCommand::Modify | FlowModCommand::Delete)
            && (fm.cookie == 0 || fm.cookie_mask != u64::MAX);
        if looks_at_all { self.rules.len() / LOOKS } else { 0 }
    }

    /// Goes on with a modification by as many flows as there is effort for.
    pub(in crate::pipeline) fn go_on(
        &mut self,
        p: &mut Pending,
        known: Known<'_>,
        now: Instant,
        log: &mut Log,
        effort: &mut usize,
    ) -> Result<(), FlowModError> {
        while *effort > 0
            && let Some(id) = p.left.next()
        {
            *effort -= 1;
            match &p.deed {
                Deed::Remove(reason) => self.remove(id, *reason, log),
                Deed::Change { instructions, cookie, resets } => {
                    self.change_one(id, (instructions, *cookie, *resets), known, now, log)?;
                }
            }
        }
        Ok(())
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
        let fm = FlowMod { table, ..FlowMod::default() };
        let rule = Rule { priority, ..Rule::new(&fm, self.shared(&instructions), table, now) };
        let pattern = pattern(&matching);
        let old = self.exact(table, &pattern, priority);
        let id = self.put(pattern, rule, old)?;
        log.push(Step::Added { new: id, replaced: old });
        Ok(id)
    }

    /// Removes a rule.
    pub(in crate::pipeline) fn remove(&mut self, id: RuleId, reason: RemovedReason, log: &mut Log) {
        if self.hide(id) {
            log.push(Step::Removed { id, reason });
        }
    }

    /// Begins the removal of the flows that name a group, or use a meter, which is gone.
    pub(in crate::pipeline) fn users_of_group(&self, group: u32) -> Pending {
        Pending::removal(self.groups.get(&group).into_iter().flatten().copied().collect(), RemovedReason::GroupDelete)
    }

    /// The same of the flows that use a meter.
    pub(in crate::pipeline) fn users_of_meter(&self, meter: u32) -> Pending {
        Pending::removal(self.meters.get(&meter).into_iter().flatten().copied().collect(), RemovedReason::MeterDelete)
    }

    /// Removes flows whose time is up, after a look at so many at most.
    pub(in crate::pipeline) fn expire(&mut self, now: Instant, most: usize, log: &mut Log) {
        for _ in 0..most {
            let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) else { return };
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

    /// Whether there can be a flow in the table that a flow-mod adds one to.
    pub(in crate::pipeline) fn check_table(fm: &FlowMod) -> Result<(), FlowModError> {
        match fm.command {
            FlowModCommand::Add if fm.table != ALL_TABLES => writable(fm.table),
            _ => Ok(()),
        }
    }

    fn add(
        &mut self,
        fm: &FlowMod,
        instructions: Arc<Instructions>,
        known: Known<'_>,
        now: Instant,
        log: &mut Log,
    ) -> Result<(), FlowModError> {
        // The switch may choose where to put a flow that says "any table": the first.
        let table = if fm.table == ALL_TABLES { 0 } else { fm.table };
        writable(table)?;
        known.check(&fm.matching, table, &instructions)?;
        if fm.buffer_id != u32::MAX {
            return Err(FlowModError::NoBuffer(fm.buffer_id));
        }
        let mut rule = Rule::new(fm, instructions, table, now);
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
        let new = self.put(pattern, rule, old)?;
        if let Some(old) = old.filter(|_| !fm.flags.contains(FlowModFlags::RESET_COUNTS)) {
            self.heirs.insert(old, new);
        }
        log.push(Step::Added { new, replaced: old });
        Ok(())
    }

    fn change(
        &mut self,
        fm: &FlowMod,
        instructions: Arc<Instructions>,
        known: Known<'_>,
        now: Instant,
        log: &mut Log,
    ) -> Result<Pending, FlowModError> {
        let chosen = self.named(fm)?;
        if fm.buffer_id != u32::MAX {
            return Err(FlowModError::NoBuffer(fm.buffer_id));
        }
        // OpenFlow 1.0 and 1.1 add what they find nothing to modify of.
        if chosen.is_empty() && fm.new_cookie.is_some() && fm.cookie_mask == 0 {
            let cookie = fm.new_cookie.unwrap_or_default();
            let fm = FlowMod { command: FlowModCommand::Add, cookie, ..fm.clone() };
            return self.add(&fm, instructions, known, now, log).map(|()| Pending::done());
        }
        let cookie = fm.new_cookie.filter(|_| !fm.keep_cookie);
        let resets = fm.flags.contains(FlowModFlags::RESET_COUNTS);
        Ok(Pending { left: chosen.into_iter(), deed: Deed::Change { instructions, cookie, resets } })
    }

    /// Ends the flows whose learners have all gone, and those that these learnt.
    pub(in crate::pipeline) fn complete(&mut self, log: &mut Log) {
        while let Some(orphans) = self.next_orphans() {
            orphans.left.for_each(|id| self.remove(id, RemovedReason::Delete, log));
        }
    }

    fn change_one(
        &mut self,
        id: RuleId,
        (instructions, cookie, resets): (&Arc<Instructions>, Option<u64>, bool),
        known: Known<'_>,
        now: Instant,
        log: &mut Log,
    ) -> Result<(), FlowModError> {
        let (Some(matching), Some(old)) = (self.matching(id), self.rules.get(id).filter(|r| !r.removed)) else {
            return Ok(());
        };
        known.check(&matching, old.table, instructions)?;
        // Who matches a part of a conjunction does not meet it: whoever matches it may come out otherwise.
        let is_part = !clauses(&old.instructions).is_empty() || !clauses(instructions).is_empty();
        // A rule's identity goes with what it does: what was credited to it before stays with the flow.
        let mut rule = Rule { instructions: instructions.clone(), modified: now, ..old.clone() };
        rule.cookie = cookie.unwrap_or(rule.cookie);
        if resets {
            (rule.packets, rule.bytes) = (0, 0);
        }
        let new = self.put(pattern(&matching), rule, Some(id))?;
        if !resets {
            self.heirs.insert(id, new);
        }
        log.push(Step::Modified { old: id, new });
        if is_part {
            log.changes.came(new);
        }
        Ok(())
    }

    fn delete(&mut self, fm: &FlowMod) -> Result<Pending, FlowModError> {
        Ok(Pending::removal(self.named(fm)?, RemovedReason::Delete))
    }

    /// Begins the removal of flows which end with those that learnt them, where all of these have gone.
    pub(super) fn orphans_of(&mut self, (table, cookie): (u8, u64)) -> Pending {
        let command = FlowModCommand::Delete;
        let fm = FlowMod { table, cookie, cookie_mask: u64::MAX, command, ..FlowMod::default() };
        // What is named so can be in the switch's own table only if the switch put it there.
        self.delete(&fm).unwrap_or_else(|_| Pending::done())
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

    /// Instructions as rules have them: those that say the same, one after the other, are one.
    pub(in crate::pipeline) fn shared(&mut self, instructions: &Instructions) -> Arc<Instructions> {
        if *self.last != *instructions {
            self.last = Arc::new(instructions.clone());
        }
        self.last.clone()
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
