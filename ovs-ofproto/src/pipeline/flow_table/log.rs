//! What modifications did: to take them back, to tell others, and to find what has to be decided anew.

use super::rule::RemovedReason;
use super::slab::RuleId;

/// How many changes are told one by one; where there are more, everything has changed.
const TOLD_MAX: usize = 1024;

/// One thing that a modification did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pipeline) enum Step {
    /// A flow is there, maybe instead of another of the same match and priority.
    Added { new: RuleId, replaced: Option<RuleId> },
    /// A flow does something else now, or has another cookie.
    Modified { old: RuleId, new: RuleId },
    /// A flow is gone.
    Removed { id: RuleId, reason: RemovedReason },
}

/// What was done since something was committed, in order.
#[derive(Default, Debug)]
pub(in crate::pipeline) struct Log {
    pub(super) steps: Vec<Step>,
    /// What of it decisions on packets may depend on; maybe more, if something was taken back.
    pub(super) changes: Changes,
}

impl Log {
    pub(super) fn push(&mut self, step: Step) {
        self.changes.note(step);
        self.steps.push(step);
    }

    /// Takes note that a group came, went or changed.
    pub(in crate::pipeline) fn group(&mut self, group: u32) {
        self.changes.groups.push(group);
        self.changes.bound();
    }

    /// How much was done. What is done later can be taken back up to here.
    pub(in crate::pipeline) fn len(&self) -> usize {
        self.steps.len()
    }

    /// The steps from `start` on.
    pub(in crate::pipeline) fn since(&self, start: usize) -> &[Step] {
        self.steps.get(start..).unwrap_or_default()
    }
}

/// What has changed that decisions on packets may depend on.
///
/// A decision depends on a rule that went if it [met](crate::pipeline) the rule; on one that came if it looked a packet
/// up in its table that the rule matches; on a group if it asked for it.
#[derive(Clone, Default, Debug)]
pub(in crate::pipeline) struct Changes {
    /// Any decision may come out otherwise: the rest is not all.
    pub(in crate::pipeline) everything: bool,
    /// Rules that came. They may have gone since.
    pub(in crate::pipeline) added: Vec<RuleId>,
    /// Rules that went.
    pub(in crate::pipeline) removed: Vec<RuleId>,
    /// Groups that came, went, or changed.
    pub(in crate::pipeline) groups: Vec<u32>,
}

impl Changes {
    /// Whether nothing has.
    pub(in crate::pipeline) fn is_empty(&self) -> bool {
        !self.everything && self.added.is_empty() && self.removed.is_empty() && self.groups.is_empty()
    }

    pub(in crate::pipeline) fn all() -> Changes {
        Changes { everything: true, ..Changes::default() }
    }

    fn bound(&mut self) {
        if self.everything || self.added.len() + self.removed.len() + self.groups.len() > TOLD_MAX {
            *self = Changes::all();
        }
    }

    fn note(&mut self, step: Step) {
        if self.everything {
            return;
        }
        match step {
            Step::Added { new, replaced } => {
                self.added.push(new);
                self.removed.extend(replaced);
            }
            // It matches what the old one matched, so that whoever met that is all who meet it.
            Step::Modified { old, .. } => self.removed.push(old),
            Step::Removed { id, .. } => self.removed.push(id),
        }
        self.bound();
    }

    /// Takes note that a rule is to be looked at as one that came.
    pub(super) fn came(&mut self, id: RuleId) {
        if !self.everything {
            self.added.push(id);
            self.bound();
        }
    }

    /// Takes note of what others are.
    pub(super) fn absorb(&mut self, others: Changes) {
        self.everything |= others.everything;
        if !self.everything {
            self.added.extend(others.added);
            self.removed.extend(others.removed);
            self.groups.extend(others.groups);
        }
        self.bound();
    }
}
