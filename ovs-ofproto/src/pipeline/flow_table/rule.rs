//! Rules as tables keep them, and flows as others see them.

use std::sync::Arc;
use std::time::Duration;

use ovs_classifier::Handle;
use ovs_packet::key::Match;
use ovs_packet::{Instant, OfPort};

use crate::action::{Action, Instructions};
use crate::codec::FlowStats;
use crate::flow_mod::{FlowMod, FlowModFlags};
use crate::pipeline::group::{ANY_GROUP, groups_in};

/// A rule. What it matches is the classifier's: see [`FlowTables::matching`](super::FlowTables::matching).
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct Rule {
    /// What it does; shared, so that a translation can hold it while tables change.
    pub(in crate::pipeline) instructions: Arc<Instructions>,
    pub(in crate::pipeline) cookie: u64,
    pub(in crate::pipeline) created: Instant,
    pub(in crate::pipeline) modified: Instant,
    pub(in crate::pipeline) used: Instant,
    pub(in crate::pipeline) packets: u64,
    pub(in crate::pipeline) bytes: u64,
    /// Where it is in its table's classifier, once it is.
    pub(super) handle: Option<Handle>,
    /// Above 65535, it is the switch's own, and hidden from controllers.
    pub(in crate::pipeline) priority: i32,
    pub(in crate::pipeline) idle_timeout: u16,
    pub(in crate::pipeline) hard_timeout: u16,
    pub(in crate::pipeline) importance: u16,
    pub(in crate::pipeline) flags: FlowModFlags,
    pub(in crate::pipeline) table: u8,
    /// It goes when what is under way is committed.
    pub(super) removed: bool,
}

impl Rule {
    /// The rule that an addition to a table makes.
    pub(super) fn new(fm: &FlowMod, instructions: Arc<Instructions>, table: u8, now: Instant) -> Rule {
        Rule {
            instructions,
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

    /// Writes what it has seen by `now`, as a controller sees it, over what stands there. All but what it matches.
    pub(super) fn stats_into(&self, now: Instant, stats: &mut FlowStats) {
        let age = |since: Instant| Some(u32::try_from((now - since).as_secs()).unwrap_or(u32::MAX));
        stats.table = self.table;
        stats.duration = now - self.created;
        stats.priority = u16::try_from(self.priority).unwrap_or(u16::MAX);
        (stats.idle_timeout, stats.hard_timeout) = (self.idle_timeout, self.hard_timeout);
        (stats.importance, stats.flags, stats.cookie) = (self.importance, self.flags, self.cookie);
        (stats.idle_age, stats.hard_age) = (age(self.used), age(self.modified));
        (stats.packets, stats.bytes) = (self.packets, self.bytes);
        let (from, to) = (&*self.instructions, &mut stats.instructions);
        (to.meter, to.clear, to.metadata, to.goto) = (from.meter, from.clear, from.metadata, from.goto);
        to.apply.clone_from(&from.apply);
        to.write.clone_from(&from.write);
    }

    /// Whether it is the switch's own, which controllers neither see nor change.
    pub(in crate::pipeline) fn is_hidden(&self) -> bool {
        self.priority > i32::from(u16::MAX)
    }

    /// Whether a packet ends it, or the lack of one: rules that may be evicted.
    pub(super) fn has_timeout(&self) -> bool {
        self.idle_timeout > 0 || self.hard_timeout > 0
    }

    /// Whether packets that meet it make flows.
    pub(super) fn learns(&self) -> bool {
        fn any(actions: &[Action]) -> bool {
            actions.iter().any(|a| match a {
                Action::Learn(_) => true,
                Action::Clone(inner) => any(inner),
                _ => false,
            })
        }
        any(&self.instructions.apply) || any(self.instructions.written())
    }

    /// When it ends if no packet comes, and why.
    pub(super) fn deadline(&self) -> Option<(Instant, RemovedReason)> {
        // A packet that comes when the time is just over still finds it, as in upstream.
        const LAST: Duration = Duration::from_millis(1);
        let after = |since: Instant, seconds: u16, reason| {
            (seconds > 0).then(|| (since + Duration::from_secs(seconds.into()) + LAST, reason))
        };
        let hard = after(self.modified, self.hard_timeout, RemovedReason::Hard);
        let idle = after(self.used, self.idle_timeout, RemovedReason::Idle);
        hard.into_iter().chain(idle).min_by_key(|(at, _)| *at)
    }

    /// Whether it outputs to `port`, which [`OfPort::ANY`] does not ask.
    pub(super) fn outputs_to(&self, port: OfPort) -> bool {
        outputs_to(&self.instructions, port)
    }

    /// Whether it names `group`, which [`ANY_GROUP`] does not ask.
    pub(super) fn names_group(&self, group: u32) -> bool {
        group == ANY_GROUP || groups_of(&self.instructions).contains(&group)
    }
}

fn outputs_to(instructions: &Instructions, port: OfPort) -> bool {
    fn any(actions: &[Action], wanted: OfPort) -> bool {
        actions.iter().any(|a| match a {
            Action::Output { port, .. } | Action::OutputTruncated { port, .. } | Action::Enqueue { port, .. } => {
                *port == wanted
            }
            Action::Controller(_) => wanted == OfPort::CONTROLLER,
            Action::Clone(inner) => any(inner, wanted),
            _ => false,
        })
    }
    port == OfPort::ANY || any(&instructions.apply, port) || any(instructions.written(), port)
}

/// The groups that instructions name.
pub(super) fn groups_of(instructions: &Instructions) -> Vec<u32> {
    let mut found = groups_in(&instructions.apply);
    found.extend(groups_in(instructions.written()));
    found
}

/// The meters that instructions use.
pub(super) fn meters_of(instructions: &Instructions) -> Vec<u32> {
    fn find(actions: &[Action], found: &mut Vec<u32>) {
        for a in actions {
            match a {
                Action::Meter(meter) => found.push(*meter),
                Action::Clone(inner) => find(inner, found),
                _ => {}
            }
        }
    }
    let mut found: Vec<u32> = instructions.meter.into_iter().collect();
    find(&instructions.apply, &mut found);
    find(instructions.written(), &mut found);
    found
}

/// A flow in a table, as it is at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Flow {
    /// Table that it is in.
    pub table: u8,
    /// Which packets.
    pub matching: Match,
    /// The higher, the earlier. What the switch adds for itself has priorities above 65535.
    pub priority: i32,
    /// The controller's own mark.
    pub cookie: u64,
    /// Seconds without a packet after which it ends; 0 is never.
    pub idle_timeout: u16,
    /// Seconds after which it ends; 0 is never.
    pub hard_timeout: u16,
    /// How unwilling the switch is to evict it.
    pub importance: u16,
    /// Flags.
    pub flags: FlowModFlags,
    /// What it does.
    pub instructions: Arc<Instructions>,
    /// When it was added.
    pub created: Instant,
    /// When it was last changed.
    pub modified: Instant,
    /// When the last packet matched, or else when it was added.
    pub used: Instant,
    /// Packets that matched.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Flow {
    /// Whether it outputs to `port`, which [`OfPort::ANY`] does not ask.
    pub(in crate::pipeline) fn outputs_to(&self, port: OfPort) -> bool {
        outputs_to(&self.instructions, port)
    }

    /// Whether it names `group`, which [`ANY_GROUP`] does not ask.
    pub(in crate::pipeline) fn names_group(&self, group: u32) -> bool {
        group == ANY_GROUP || groups_of(&self.instructions).contains(&group)
    }

    pub(super) fn of(rule: &Rule, matching: Match) -> Flow {
        Flow {
            table: rule.table,
            matching,
            priority: rule.priority,
            cookie: rule.cookie,
            idle_timeout: rule.idle_timeout,
            hard_timeout: rule.hard_timeout,
            importance: rule.importance,
            flags: rule.flags,
            instructions: rule.instructions.clone(),
            created: rule.created,
            modified: rule.modified,
            used: rule.used,
            packets: rule.packets,
            bytes: rule.bytes,
        }
    }
}

/// Why a flow ended (OpenFlow 1.5, section 7.4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum RemovedReason {
    /// No packet came for the idle time-out.
    Idle = 0,
    /// The hard time-out passed.
    Hard = 1,
    /// It was deleted.
    Delete = 2,
    /// A group that it named was deleted.
    GroupDelete = 3,
    /// A meter that it used was deleted.
    MeterDelete = 4,
    /// Another flow took its place in a full table.
    Eviction = 5,
}
