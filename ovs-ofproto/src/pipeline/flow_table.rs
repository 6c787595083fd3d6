//! Flow tables: rules, and the modifications of them (OpenFlow 1.5, sections 5.1 to 5.5 and 6.4).

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use ovs_classifier::{Classifier, Pattern};
use ovs_dpif::{key_field, key_layout};
use ovs_packet::field::FieldId;
use ovs_packet::key::{Match, WORDS};
use ovs_packet::{Instant, OfPort};

use crate::action::{Action, Instructions};
use crate::codec::OfError;
use crate::codec::check::check_loosely;
use crate::flow_mod::{ALL_TABLES, FlowMod, FlowModCommand, FlowModFlags};

/// How many tables a switch has.
pub const TABLES: usize = 255;

/// How many flows a table takes by default.
pub const DEFAULT_FLOW_LIMIT: usize = 1_000_000;

/// The fields whose prefixes tables track: upstream's default.
const PREFIX_FIELDS: [FieldId; 4] = [FieldId::NwDst, FieldId::NwSrc, FieldId::Ipv6Dst, FieldId::Ipv6Src];

/// Identity of a rule, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleId(u64);

/// A flow in a table.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Flow {
    /// Table that it is in.
    pub table: u8,
    /// Which packets.
    pub matching: Match,
    /// The higher, the earlier.
    pub priority: u16,
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
    pub instructions: Instructions,
    /// When it was added.
    pub created: Instant,
    /// When it was last changed.
    pub modified: Instant,
    /// When the last packet matched, or else when it was added.
    pub used: Instant,
    /// Packets that matched.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
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
}

/// Why a modification is refused. The tables are unchanged then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlowModError {
    /// OFPFMFC_TABLE_FULL.
    #[error("table {0} is full")]
    TableFull(u8),
    /// OFPFMFC_OVERLAP.
    #[error("the flow overlaps another of the same priority in table {0}")]
    Overlap(u8),
    /// OFPBRC_BAD_TABLE_ID.
    #[error("there is no table {0}")]
    BadTable(u8),
    /// The instructions contradict the match or the table.
    #[error("the instructions do not fit the match or the table: {0}")]
    Inconsistent(OfError),
    /// OFPBIC_BAD_TABLE_ID: the switch has no such table to go to.
    #[error("goto_table:{0} leads to a table that is not there")]
    BadGoto(u8),
    /// OFPBAC_BAD_ARGUMENT: an action that the switch does not execute.
    #[error("an action cannot be executed: {0}")]
    BadAction(&'static str),
}

impl From<FlowModError> for OfError {
    fn from(e: FlowModError) -> OfError {
        match e {
            FlowModError::TableFull(_) => OfError::FlowModTableFull,
            FlowModError::Overlap(_) => OfError::FlowModOverlap,
            FlowModError::BadTable(_) => OfError::FlowModBadTable,
            FlowModError::Inconsistent(e) => e,
            FlowModError::BadGoto(_) => OfError::BadInstructionBadTable,
            FlowModError::BadAction(_) => OfError::BadActionBadArgument,
        }
    }
}

/// All tables of a switch.
#[derive(Debug)]
pub(super) struct FlowTables {
    tables: Vec<Classifier<RuleId, WORDS>>,
    flows: HashMap<RuleId, Flow>,
    /// When to look whether a flow's time is up. A packet puts that off, which shows only then.
    timers: BTreeSet<(Instant, RuleId)>,
    limit: usize,
    last: u64,
}

fn pattern(m: &Match) -> Pattern<WORDS> {
    Pattern::new(*m.key().words(), *m.mask().bits.words())
}

impl FlowTables {
    pub(super) fn new() -> FlowTables {
        let prefixes: Vec<_> = PREFIX_FIELDS.into_iter().filter_map(key_field).collect();
        let mut table = Classifier::new(key_layout());
        // They are four, and in the key.
        let _ = table.set_prefix_fields(&prefixes);
        let tables = vec![table; TABLES];
        FlowTables { tables, flows: HashMap::new(), timers: BTreeSet::new(), limit: DEFAULT_FLOW_LIMIT, last: 0 }
    }

    pub(super) fn classifier(&self, table: u8) -> Option<&Classifier<RuleId, WORDS>> {
        self.tables.get(usize::from(table))
    }

    pub(super) fn get(&self, id: RuleId) -> Option<&Flow> {
        self.flows.get(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// The flows, by table and priority, in the order in which they were added.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RuleId, &Flow)> {
        let mut flows: Vec<_> = self.flows.iter().map(|(id, f)| (*id, f)).collect();
        flows.sort_by_key(|(id, f)| (f.table, std::cmp::Reverse(f.priority), *id));
        flows.into_iter()
    }

    /// Credits packets to a rule, if it is there still.
    pub(super) fn credit(&mut self, id: RuleId, packets: u64, bytes: u64, used: Instant) {
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.packets += packets;
            flow.bytes += bytes;
            flow.used = flow.used.max(used);
        }
    }

    /// Carries a modification out. Returns the flows that were deleted.
    pub(super) fn modify(&mut self, fm: &FlowMod, now: Instant) -> Result<Vec<Flow>, FlowModError> {
        match fm.command {
            FlowModCommand::Add => self.add(fm, now).map(|()| Vec::new()),
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => self.change(fm, now).map(|()| Vec::new()),
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => {
                Ok(self.chosen(fm).into_iter().filter_map(|id| self.remove(id)).collect())
            }
        }
    }

    fn add(&mut self, fm: &FlowMod, now: Instant) -> Result<(), FlowModError> {
        // The switch may choose where to put a flow that says "any table": the first.
        let table = if fm.table == ALL_TABLES { 0 } else { fm.table };
        check(&fm.matching, table, &fm.instructions)?;
        let limit = self.limit;
        let classifier = self.tables.get_mut(usize::from(table)).ok_or(FlowModError::BadTable(table))?;
        let (pattern, priority) = (pattern(&fm.matching), i32::from(fm.priority));
        if fm.flags.contains(FlowModFlags::CHECK_OVERLAP) && classifier.overlaps(&pattern, priority) {
            return Err(FlowModError::Overlap(table));
        }
        let known = classifier.find_exact(&pattern, priority).map(|r| *r.payload());
        if known.is_none() && classifier.len() >= limit {
            return Err(FlowModError::TableFull(table));
        }
        self.last += 1;
        let id = RuleId(self.last);
        classifier.insert(&pattern, priority, id).map_err(|_| FlowModError::TableFull(table))?;
        let old = known.and_then(|id| self.flows.remove(&id));
        // A flow that takes another's place keeps its counters unless it is told to reset them.
        let kept = old.filter(|_| !fm.flags.contains(FlowModFlags::RESET_COUNTS));
        let (packets, bytes) = kept.map_or((0, 0), |f| (f.packets, f.bytes));
        let flow = Flow {
            table,
            matching: fm.matching,
            priority: fm.priority,
            cookie: fm.cookie,
            idle_timeout: fm.idle_timeout,
            hard_timeout: fm.hard_timeout,
            importance: fm.importance,
            flags: fm.flags & !(FlowModFlags::CHECK_OVERLAP | FlowModFlags::RESET_COUNTS),
            instructions: fm.instructions.clone(),
            created: now,
            modified: now,
            used: now,
            packets,
            bytes,
        };
        self.put(id, flow);
        Ok(())
    }

    fn change(&mut self, fm: &FlowMod, now: Instant) -> Result<(), FlowModError> {
        let chosen = self.chosen(fm);
        chosen
            .iter()
            .filter_map(|id| self.flows.get(id))
            .try_for_each(|f| check(&f.matching, f.table, &fm.instructions))?;
        for id in chosen {
            // A rule's identity goes with what it does: what was credited to it before stays with the flow.
            let Some(mut flow) = self.flows.remove(&id) else { continue };
            self.last += 1;
            let new = RuleId(self.last);
            let known = self.tables.get_mut(usize::from(flow.table));
            if let Some(id) = known.and_then(|c| c.get_mut(&pattern(&flow.matching), flow.priority.into())) {
                *id = new;
            }
            flow.instructions = fm.instructions.clone();
            flow.modified = now;
            if fm.flags.contains(FlowModFlags::RESET_COUNTS) {
                (flow.packets, flow.bytes) = (0, 0);
            }
            self.put(new, flow);
        }
        Ok(())
    }

    fn put(&mut self, id: RuleId, flow: Flow) {
        if let Some((at, _)) = flow.deadline() {
            self.timers.insert((at, id));
        }
        self.flows.insert(id, flow);
    }

    /// The flows that a change or a deletion names.
    fn chosen(&self, fm: &FlowMod) -> Vec<RuleId> {
        let strict = matches!(fm.command, FlowModCommand::ModifyStrict | FlowModCommand::DeleteStrict);
        let deletion = matches!(fm.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
        let pattern = pattern(&fm.matching);
        let tables =
            self.tables.iter().enumerate().filter(|(i, _)| fm.table == ALL_TABLES || *i == usize::from(fm.table));
        let ids = tables.flat_map(|(_, c)| match strict {
            true => c.find_exact(&pattern, fm.priority.into()).into_iter().map(|r| *r.payload()).collect::<Vec<_>>(),
            false => c.iter_matching(&pattern).map(|r| *r.payload()).collect(),
        });
        let named = |id: &RuleId| {
            self.flows.get(id).is_some_and(|f| {
                (f.cookie ^ fm.cookie) & fm.cookie_mask == 0 && (!deletion || f.outputs_to(fm.out_port))
            })
        };
        ids.filter(named).collect()
    }

    /// Takes a flow out.
    pub(super) fn remove(&mut self, id: RuleId) -> Option<Flow> {
        let flow = self.flows.remove(&id)?;
        self.tables.get_mut(usize::from(flow.table))?.remove(&pattern(&flow.matching), flow.priority.into());
        Some(flow)
    }

    /// Takes the flows out whose time is up.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Flow, RemovedReason)> {
        let mut expired = Vec::new();
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            match self.flows.get(&id).and_then(Flow::deadline) {
                Some((later, _)) if later > now => drop(self.timers.insert((later, id))),
                Some((_, reason)) => expired.extend(self.remove(id).map(|flow| (flow, reason))),
                None => {}
            }
        }
        expired
    }

    /// When to look again whether a flow's time is up.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }
}

impl Flow {
    /// Whether the flow outputs to `port`, which [`OfPort::ANY`] does not ask.
    pub(super) fn outputs_to(&self, port: OfPort) -> bool {
        fn any(actions: &[Action], wanted: OfPort) -> bool {
            actions.iter().any(|a| match a {
                Action::Output { port, .. } => *port == wanted,
                Action::Clone(inner) => any(inner, wanted),
                _ => false,
            })
        }
        port == OfPort::ANY || any(&self.instructions.apply, port) || any(self.instructions.written(), port)
    }

    /// When the flow ends if no packet comes, and why.
    fn deadline(&self) -> Option<(Instant, RemovedReason)> {
        let after = |since: Instant, seconds: u16, reason| {
            (seconds > 0).then(|| (since + Duration::from_secs(seconds.into()), reason))
        };
        let hard = after(self.modified, self.hard_timeout, RemovedReason::Hard);
        let idle = after(self.used, self.idle_timeout, RemovedReason::Idle);
        hard.into_iter().chain(idle).min_by_key(|(at, _)| *at)
    }
}

/// Whether instructions can be executed for packets of a match in `table`.
fn check(m: &Match, table: u8, instructions: &Instructions) -> Result<(), FlowModError> {
    // Whether all actions fit is for the version to say that the flow came in.
    check_loosely(m, table, instructions).map_err(FlowModError::Inconsistent)?;
    if let Some(goto) = instructions.goto.filter(|t| usize::from(*t) >= TABLES) {
        return Err(FlowModError::BadGoto(goto));
    }
    check_actions(&instructions.apply, 0)?;
    if instructions.meter.is_some() {
        return Err(FlowModError::BadAction("a meter: they are not built yet"));
    }
    check_actions(instructions.written(), 0)
}

fn check_actions(actions: &[Action], depth: usize) -> Result<(), FlowModError> {
    if depth > super::MAX_NESTING {
        return Err(FlowModError::BadAction("actions nest too deep"));
    }
    let tracks = |field| matches!(field, FieldId::CtMark | FieldId::CtLabel);
    actions.iter().try_for_each(|a| match a {
        a if a.as_set_field().is_some_and(|(field, ..)| !field.info().writable) => {
            Err(FlowModError::BadAction("a field that cannot be set"))
        }
        a if a.as_set_field().is_some_and(|(field, ..)| tracks(field)) => {
            Err(FlowModError::BadAction("ct_mark and ct_label are set inside ct(exec(...)) only"))
        }
        Action::PushVlan(tpid) if !matches!(tpid, 0x8100 | 0x88a8) => {
            Err(FlowModError::BadAction("push_vlan of a tag that is none"))
        }
        Action::Resubmit { original: true, .. } => Err(FlowModError::BadAction("resubmit with the original tuple")),
        Action::Ct(ct) if ct.zone_src.is_some() || ct.alg != 0 => {
            Err(FlowModError::BadAction("ct with a zone from a field, or alg"))
        }
        Action::Ct(ct) if ct.table.is_some_and(|t| usize::from(t) >= TABLES) => {
            Err(FlowModError::BadAction("ct into a table that is not there"))
        }
        Action::Ct(ct) => ct.exec.iter().try_for_each(|e| match e.as_set_field() {
            Some((field, ..)) if tracks(field) => Ok(()),
            _ => Err(FlowModError::BadAction("ct(exec(...)) sets ct_mark and ct_label only")),
        }),
        Action::Clone(inner) => check_actions(inner, depth + 1),
        Action::Output { .. }
        | Action::Resubmit { .. }
        | Action::ResubmitPort(_)
        | Action::PushVlan(_)
        | Action::SetVlanVid { .. }
        | Action::SetVlanPcp { .. }
        | Action::SetL4Src { .. }
        | Action::SetL4Dst { .. }
        | Action::DecTtl
        | Action::CtClear
        | Action::Note(_) => Ok(()),
        a if a.is_pop_vlan() || a.as_set_field().is_some() => Ok(()),
        _ => Err(FlowModError::BadAction("an action that is not built yet")),
    })
}
