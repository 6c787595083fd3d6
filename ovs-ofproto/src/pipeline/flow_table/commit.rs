//! How what was done becomes true, or is taken back.
//!
//! What is done waits at the next version. [`flip`](FlowTables::flip) makes that the present one, at once for all of it; what
//! went is [swept](FlowTables::sweep) out after that, by as much as there is time for. What takes long waits [far
//! ahead](FlowTables::go_far): what the switch does for itself meanwhile becomes true before it.

use std::vec::IntoIter;

use ovs_classifier::Version;

use super::FlowTables;
use super::log::{Changes, Log, Step};
use super::modify::Pending;
use super::rule::{Flow, RemovedReason};
use super::set::TableSet;
use super::slab::RuleId;
use crate::flow_mod::FlowModFlags;

/// How many versions ahead changes are that take long: more than there are others before they are done.
const FAR: u64 = 1 << 40;

/// What sweeps that are under way leave for the last of them.
#[derive(Default, Debug)]
pub(super) struct Unswept {
    sweeps: usize,
    tables: TableSet,
    indexes: bool,
}

/// What went by a log, to be taken out of everything.
#[derive(Debug)]
pub(in crate::pipeline) struct Sweep {
    left: IntoIter<Step>,
}

impl FlowTables {
    /// The version at which what is done now becomes true.
    pub(super) fn next(&self) -> Version {
        self.far.filter(|_| !self.near).unwrap_or(Version(self.version.0 + 1))
    }

    /// Has what is done from now on wait far ahead.
    pub(in crate::pipeline) fn go_far(&mut self) {
        self.far = Some(Version(self.version.0 + FAR));
    }

    /// Has what is done from now on become true before what waits far ahead, or no longer.
    pub(in crate::pipeline) fn set_near(&mut self, near: bool) {
        self.near = near;
    }

    /// Makes the next version the present one. What went is to be swept out.
    pub(in crate::pipeline) fn flip(&mut self, log: Log) -> Sweep {
        self.version = self.next();
        if !self.near {
            self.far = None;
        }
        self.changes.absorb(log.changes);
        let (mut came, mut went) = (0, 0);
        for step in &log.steps {
            match step {
                Step::Added { replaced: None, .. } => came += 1,
                Step::Removed { .. } => went += 1,
                Step::Added { .. } | Step::Modified { .. } => {}
            }
        }
        self.present = self.present + came - went;
        self.unswept.sweeps += 1;
        Sweep { left: log.steps.into_iter() }
    }

    /// Takes what went out of everything, by as much as there is effort for. Tells the flows that ended, with the reason:
    /// `all`, or those that are to be reported. Whether that was the last of it.
    pub(in crate::pipeline) fn sweep(
        &mut self,
        sweep: &mut Sweep,
        effort: &mut usize,
        all: bool,
        mut ended: impl FnMut(Flow, RemovedReason),
    ) -> bool {
        while *effort > 0
            && let Some(step) = sweep.left.next()
        {
            let (gone, reason) = match step {
                Step::Added { replaced, .. } => (replaced, None),
                Step::Modified { old, .. } => (Some(old), None),
                Step::Removed { id, reason } => (Some(id), Some(reason)),
            };
            let Some(id) = gone else { continue };
            *effort -= 1;
            let told = all || self.rules.get(id).is_some_and(|r| r.flags.contains(FlowModFlags::SEND_FLOW_REM));
            if let Some((flow, reason)) = reason.filter(|_| told).and_then(|r| Some((self.flow(id)?, r))) {
                ended(flow, reason);
            }
            self.forget(id);
        }
        if sweep.left.len() > 0 {
            return false;
        }
        self.unswept.sweeps -= 1;
        if self.unswept.sweeps == 0 {
            self.tidy();
        }
        true
    }

    /// Takes a rule that is hidden out of everything; where nothing is left, at the end and at once.
    fn forget(&mut self, id: RuleId) {
        let Some(rule) = self.rules.remove(id) else { return };
        let table = usize::from(rule.table);
        self.unswept.tables.set(rule.table, true);
        if let (Some(t), Some(handle)) = (self.tables.get_mut(table).filter(|t| t.flows > 0), rule.handle) {
            t.classifier.remove_handle(handle);
        }
        match self.present {
            0 => self.unswept.indexes = true,
            _ => self.unindex(id, &rule),
        }
    }

    /// Takes out what sweeps have left.
    fn tidy(&mut self) {
        let (version, is_far) = (self.version, self.far.is_some());
        for table in std::mem::take(&mut self.unswept.tables).iter() {
            let Some(table) = self.tables.get_mut(usize::from(table)) else { continue };
            // A table that has no flows has none that is seen at this version or will be.
            match table.flows {
                0 if !is_far => table.classifier.clear(),
                _ => drop(table.classifier.reclaim(version)),
            }
        }
        if std::mem::take(&mut self.unswept.indexes) {
            self.unindex_the_gone();
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

    /// Takes back what was done since the log had `start` steps.
    pub(in crate::pipeline) fn undo(&mut self, log: &mut Log, start: usize) {
        let mut effort = usize::MAX;
        self.undo_some(log, start, &mut effort);
    }

    /// The same, by as much as there is effort for.
    pub(in crate::pipeline) fn undo_some(&mut self, log: &mut Log, start: usize, effort: &mut usize) {
        let orphaned = self.orphaned.len();
        while log.len() > start && *effort > 0 {
            *effort -= 1;
            match log.steps.pop() {
                Some(Step::Added { new, replaced }) => self.undo_one(new, replaced),
                Some(Step::Modified { old, new }) => self.undo_one(new, Some(old)),
                Some(Step::Removed { id, .. }) => self.unhide(id),
                None => {}
            }
        }
        // What learnt by what was taken back never did.
        self.orphaned.truncate(orphaned);
        if log.len() == 0 && !self.near {
            self.orphaned.clear();
            self.far = None;
            log.changes = Changes::default();
        }
    }

    fn undo_one(&mut self, new: RuleId, replaced: Option<RuleId>) {
        let counts = self.rules.get(new).map(|r| (r.packets, r.bytes, r.used));
        self.discard(new);
        let Some(old) = replaced else { return };
        // What was credited meanwhile went to the heir.
        if let (Some(_), Some(counts)) = (self.heirs.remove(&old), counts)
            && let Some(rule) = self.rules.get_mut(old)
        {
            (rule.packets, rule.bytes, rule.used) = counts;
        }
        self.unhide(old);
    }

    /// Begins the removal of flows whose learners have all gone, while there are any.
    pub(in crate::pipeline) fn next_orphans(&mut self) -> Option<Pending> {
        loop {
            let key = self.orphaned.pop()?;
            if !self.learners.contains_key(&key) {
                return Some(self.orphans_of(key));
            }
        }
    }
}
