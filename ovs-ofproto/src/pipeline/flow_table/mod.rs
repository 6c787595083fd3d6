//! Flow tables: rules, and the modifications of them (OpenFlow 1.5, sections 5.1 to 5.5 and 6.4).
//!
//! # What is where
//!
//! - `rule`: [`Rule`] as tables keep it and [`Flow`] as others see it; `slab`: where rules are, by [`RuleId`];
//! - `table`: one table, how it is set up, how full it is; `set`: some of them; `eviction`: who gives way in a full one;
//! - `check`: what the switch can do; `modify`: what modifications mean; `update`: how rules come and go; `log`: what was
//!   done; `commit`: how that becomes true, or is taken back.
//!
//! # How a change happens
//!
//! [`modify`](FlowTables::modify) does as a controller says, and writes into a [`Log`] what it did: rules come and go at
//! the *next* version, which later modifications see and lookups do not. Then either
//! [`flip`](FlowTables::flip) makes the next version the present one, or [`undo`](FlowTables::undo) takes all back.
//! That is one flow-mod, or a bundle of a million, for which each of these goes on in slices.
//!
//! # Invariants
//!
//! - At the present version, no table has two rules of the same match and priority.
//! - Outside a change, every rule in the slab is in the classifier of its table, in the index of its cookie, and in those
//!   of the groups and meters that it names; and no other is. [`FlowTables::check`] asserts it.
//! - No table has more flows than its limit, except where the limit was lowered below what cannot be evicted.

mod check;
mod commit;
mod eviction;
mod learn;
mod log;
mod modify;
mod rule;
mod set;
mod slab;
mod table;
#[cfg(test)]
mod tests;
mod update;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use ovs_classifier::{Pattern, Version, View};
use ovs_packet::field::TlvTable;
use ovs_packet::key::{Match, WORDS};
use ovs_packet::{Instant, OfPort};

use crate::action::{Instructions, Subfield};
use crate::codec::{FlowStats, OfError, options_named};
use crate::flow_mod::{ALL_TABLES, FlowModFlags};
use eviction::Eviction;
use set::TableSet;
use slab::Slab;
use table::Table;

pub(super) use check::Known;
pub(super) use commit::Sweep;
use commit::Unswept;
pub(super) use log::{Changes, Log, Step};
pub(super) use modify::Pending;
pub(super) use rule::Rule;
pub use rule::{Flow, RemovedReason};
pub use slab::RuleId;
pub(super) use table::VacancyEvent;
pub use table::{DEFAULT_FLOW_LIMIT, TableConfig, TableMiss};

/// How many tables a switch has. Controllers see [`VISIBLE_TABLES`]; the last is the switch's own.
pub const TABLES: usize = 255;

/// How many tables controllers may change.
pub const VISIBLE_TABLES: usize = 254;

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
    /// OFPBRC_EPERM: the switch's own table.
    #[error("table {0} cannot be changed")]
    ReadOnly(u8),
    /// OFPBRC_BUFFER_UNKNOWN: the switch keeps no packets.
    #[error("there is no packet {0:#x} to handle")]
    NoBuffer(u32),
    /// The instructions contradict the match or the table.
    #[error("the instructions do not fit the match or the table: {0}")]
    Inconsistent(OfError),
    /// OFPBIC_BAD_TABLE_ID: the switch has no such table to go to.
    #[error("goto_table:{0} leads to a table that is not there")]
    BadGoto(u8),
    /// OFPBAC_BAD_OUT_GROUP.
    #[error("there is no group {0}")]
    NoGroup(u32),
    /// OFPMMFC_INVALID_METER.
    #[error("there is no meter {0}")]
    NoMeter(u32),
    /// OFPBAC_BAD_OUT_PORT.
    #[error("{0} is no port to output to")]
    BadPort(OfPort),
    /// OFPBAC_BAD_ARGUMENT: an action that the switch does not execute.
    #[error("an action cannot be executed: {0}")]
    BadAction(&'static str),
}

impl From<FlowModError> for OfError {
    fn from(e: FlowModError) -> OfError {
        match e {
            FlowModError::TableFull(_) => OfError::FlowModTableFull,
            FlowModError::Overlap(_) => OfError::FlowModOverlap,
            FlowModError::BadTable(_) => OfError::BadRequestBadTable,
            FlowModError::ReadOnly(_) => OfError::BadRequestPermission,
            FlowModError::NoBuffer(_) => OfError::BadRequestBufferUnknown,
            FlowModError::Inconsistent(e) => e,
            FlowModError::BadGoto(_) => OfError::BadInstructionBadTable,
            FlowModError::NoGroup(_) => OfError::BadActionBadGroup,
            FlowModError::NoMeter(_) => OfError::MeterModInvalidMeter,
            FlowModError::BadPort(_) => OfError::BadActionBadPort,
            FlowModError::BadAction(_) => OfError::BadActionBadArgument,
        }
    }
}

/// Which flows a request is about.
#[derive(Clone, Debug)]
pub(super) struct Criteria {
    pub(super) table: u8,
    pub(super) matching: Match,
    /// The flow with this very match and this priority; else all within the match.
    pub(super) strict: Option<i32>,
    pub(super) cookie: u64,
    pub(super) cookie_mask: u64,
    pub(super) out_port: OfPort,
    pub(super) out_group: u32,
}

/// All tables of a switch.
#[derive(Debug)]
pub(super) struct FlowTables {
    tables: Vec<Table>,
    rules: Slab,
    /// Rules that took the place of others, with their counters: what goes through megaflows of the old rule until those
    /// are decided anew is theirs.
    heirs: HashMap<RuleId, RuleId, RandomState>,
    /// When to look whether a flow's time is up. A packet puts that off, which shows only then.
    timers: BTreeSet<(Instant, RuleId)>,
    /// Rules with a cookie that is not zero.
    cookies: BTreeSet<(u64, RuleId)>,
    groups: HashMap<u32, BTreeSet<RuleId>>,
    meters: HashMap<u32, BTreeSet<RuleId>>,
    /// How many rules learn flows that end with them, by the table and cookie of those.
    learners: BTreeMap<(u8, u64), usize>,
    /// The tables and cookies whose last such rule went by what is under way.
    orphaned: Vec<(u8, u64)>,
    /// What the last rule does: the next may do the same, and share it.
    last: Arc<Instructions>,
    /// What lookups see.
    version: Version,
    /// Lookups see what was done for the next version.
    ahead: bool,
    /// The next version, where what is done takes long.
    far: Option<Version>,
    /// What is done now becomes true before that.
    near: bool,
    /// How many flows there are at the present version.
    present: usize,
    unswept: Unswept,
    /// The tables of which somebody wants to know how full they are.
    watched: TableSet,
    changes: Changes,
}

/// A match as a classifier takes it. What says something of headers and nothing of the packet's type is of packets that begin
/// with Ethernet (OpenFlow 1.5, section 7.2.3.11).
fn pattern(m: &Match) -> Pattern<WORDS> {
    if m.implies_ethernet() { m.clone().with_default_packet_type().words().collect() } else { m.words().collect() }
}

/// What a rule of a classifier matches.
fn matching_of(rule: &ovs_classifier::Rule<'_, RuleId, WORDS>) -> Match {
    rule.words().collect()
}

impl FlowTables {
    pub(super) fn new() -> FlowTables {
        FlowTables {
            tables: vec![Table::new(); TABLES],
            rules: Slab::default(),
            heirs: HashMap::default(),
            timers: BTreeSet::new(),
            cookies: BTreeSet::new(),
            groups: HashMap::new(),
            meters: HashMap::new(),
            learners: BTreeMap::new(),
            orphaned: Vec::new(),
            last: Arc::default(),
            version: Version(1),
            ahead: false,
            far: None,
            near: false,
            present: 0,
            unswept: Unswept::default(),
            watched: TableSet::default(),
            changes: Changes::default(),
        }
    }

    // Queries.

    /// Whether lookups see what was done for the next version so far.
    pub(in crate::pipeline) fn look_ahead(&mut self, ahead: bool) {
        self.ahead = ahead;
    }

    /// A table's rules at the present version, to look packets up in.
    pub(super) fn view(&self, table: u8) -> Option<View<'_, RuleId, WORDS>> {
        let version = if self.ahead { self.next() } else { self.version };
        self.tables.get(usize::from(table)).map(|t| t.classifier.at(version))
    }

    /// A table.
    pub(super) fn table(&self, table: u8) -> Option<&Table> {
        self.tables.get(usize::from(table))
    }

    /// What happens to packets that match nothing in a table.
    pub(super) fn miss(&self, table: u8) -> TableMiss {
        self.table(table).map_or(TableMiss::Default, |t| t.miss)
    }

    pub(super) fn get(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(id)
    }

    /// What a rule matches.
    pub(super) fn matching(&self, id: RuleId) -> Option<Match> {
        let rule = self.rules.get(id)?;
        self.table(rule.table)?.classifier.get(rule.handle?).as_ref().map(matching_of)
    }

    /// A rule as others see it.
    pub(super) fn flow(&self, id: RuleId) -> Option<Flow> {
        Some(Flow::of(self.rules.get(id)?, self.matching(id)?))
    }

    /// Writes what a controller sees of a rule by `now` over what stands there. False if the rule is gone.
    pub(super) fn stats_into(&self, id: RuleId, now: Instant, stats: &mut FlowStats) -> bool {
        let Some(rule) = self.rules.get(id) else { return false };
        let placed = self.table(rule.table).and_then(|t| t.classifier.get(rule.handle?));
        let Some(placed) = placed else { return false };
        stats.matching.clear();
        stats.matching.extend(placed.words());
        rule.stats_into(now, stats);
        true
    }

    /// How many flows there are, hidden ones among them.
    pub(super) fn len(&self) -> usize {
        self.present
    }

    /// The flows, by table and priority, in the order in which they were added; hidden ones too.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RuleId, Flow)> {
        self.tables.iter().flat_map(|t| {
            let mut rules: Vec<_> =
                t.classifier.at(self.version).iter().map(|r| (std::cmp::Reverse(r.priority()), *r.payload())).collect();
            rules.sort_by_key(|(priority, _)| *priority);
            rules.into_iter().filter_map(|(_, id)| Some((id, self.flow(id)?)))
        })
    }

    /// The flows that a controller's request is about; none that it does not see.
    pub(super) fn chosen(&self, c: &Criteria) -> Vec<RuleId> {
        let pattern = pattern(&c.matching);
        let wanted = |id: &RuleId| {
            self.rules.get(*id).is_some_and(|r| {
                (r.cookie ^ c.cookie) & c.cookie_mask == 0
                    && !r.removed
                    && (!r.is_hidden() || c.strict.is_some_and(|p| p > i32::from(u16::MAX)))
                    && r.outputs_to(c.out_port)
                    && r.names_group(c.out_group)
            })
        };
        let is_asked = |table: u8| c.table == ALL_TABLES || c.table == table;
        if let Some(priority) = c.strict {
            let tables = (0..=u8::MAX).zip(&self.tables).filter(|(t, _)| is_asked(*t));
            let found = tables.filter_map(|(_, t)| t.view().find_exact(&pattern, priority).map(|r| *r.payload()));
            return found.filter(wanted).collect();
        }
        if c.cookie_mask == u64::MAX && c.cookie != 0 {
            let all = self.cookies.range((c.cookie, RuleId::FIRST)..).take_while(|(cookie, _)| *cookie == c.cookie);
            let within = |id: &RuleId| {
                self.rules.get(*id).is_some_and(|r| {
                    let found = self.table(r.table).and_then(|t| t.classifier.get(r.handle?));
                    is_asked(r.table) && found.is_some_and(|f| f.is_covered_by(&pattern))
                })
            };
            return all.map(|(_, id)| *id).filter(|id| within(id) && wanted(id)).collect();
        }
        let tables = (0..=u8::MAX).zip(&self.tables).filter(|(t, table)| is_asked(*t) && table.flows > 0);
        let everything = c.matching == Match::ANY;
        tables
            .flat_map(|(_, t)| match everything {
                true => t.view().iter().map(|r| *r.payload()).filter(wanted).collect::<Vec<_>>(),
                false => t.view().iter_matching(&pattern).map(|r| *r.payload()).filter(wanted).collect(),
            })
            .collect()
    }

    /// How many flows name a group.
    pub(super) fn naming_group(&self, group: u32) -> usize {
        self.groups.get(&group).map_or(0, BTreeSet::len)
    }

    /// How many flows use a meter.
    pub(super) fn using_meter(&self, meter: u32) -> usize {
        self.meters.get(&meter).map_or(0, BTreeSet::len)
    }

    /// Which fields for tunnel options flows match or their instructions name, a bit each.
    pub(super) fn options_in_use(&self, options: &TlvTable) -> u64 {
        let of_match = |m: Match| options.lift(&m).tun_options().fold(0u64, |bits, (i, _)| bits | 1 << (i & 63));
        let of_rule =
            |(id, rule): (_, &Rule)| self.matching(id).map_or(0, of_match) | options_named(&rule.instructions);
        self.rules.iter().map(of_rule).fold(0, |a, b| a | b)
    }

    /// What is to be told of how full tables are.
    pub(super) fn take_vacancy_events(&mut self) -> Vec<(u8, VacancyEvent)> {
        let tables = &mut self.tables;
        let event = |n: u8| Some((n, tables.get_mut(usize::from(n))?.take_vacancy_event()?));
        self.watched.iter().filter_map(event).collect()
    }

    /// When to look again whether a flow's time is up.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What has changed since this was last asked.
    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Whether something has changed since that was last taken.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    // Setup.

    /// To change how controllers set a table up.
    pub(super) fn table_mut(&mut self, table: u8) -> Option<&mut Table> {
        self.tables.get_mut(usize::from(table))
    }

    /// Has somebody be told when a table becomes fuller or emptier than this: fractions that are free, in percent.
    pub(super) fn watch(&mut self, table: u8, limits: Option<(u8, u8)>) {
        let Some(t) = self.tables.get_mut(usize::from(table)) else { return };
        t.watch(limits);
        self.watched.set(table, limits.is_some());
    }

    /// Sets a table up as the switch's owner wants it. Flows beyond its limit are for [`trim`](Self::trim).
    pub(super) fn configure(&mut self, table: u8, config: TableConfig) -> bool {
        let Some(t) = self.tables.get_mut(usize::from(table)) else { return false };
        if config.prefixes != t.config.prefixes
            && let Some(fields) = &config.prefixes
        {
            t.track_prefixes(fields);
        }
        if config.name.is_some() {
            t.said_name = None;
        }
        t.config = config;
        self.reset_eviction(table);
        true
    }

    /// Evicts flows beyond the limits of their tables as far as that can be, about so many. Whether there may be more.
    pub(super) fn trim(&mut self, most: usize, log: &mut Log) -> bool {
        for table in 0..=u8::MAX {
            while self.table(table).is_some_and(|t| t.flows > t.limit()) && self.evict(table, log) {
                if log.len() >= most {
                    return true;
                }
            }
        }
        false
    }

    /// Makes a table evict flows or not, as it is set up, and sorts them into groups.
    pub(super) fn reset_eviction(&mut self, table: u8) {
        let Some(t) = self.tables.get_mut(usize::from(table)) else { return };
        let fields: Option<Vec<Subfield>> = t.config.evict_by.clone().or(t.evicts.then(Vec::new));
        let mut eviction = fields.map(|f| Box::new(Eviction::new(f)));
        if let Some(eviction) = &mut eviction {
            for found in t.view().iter() {
                let id = *found.payload();
                if let Some(rule) = self.rules.get(id) {
                    eviction.add(id, rule, &matching_of(&found));
                }
            }
        }
        t.eviction = eviction;
    }

    /// Credits packets to a rule, if it is there still, or to the one that has its counters.
    pub(super) fn credit(&mut self, mut id: RuleId, packets: u64, bytes: u64, used: Instant) {
        while let Some(heir) = self.heirs.get(&id) {
            id = *heir;
        }
        if let Some(rule) = self.rules.get_mut(id) {
            rule.packets = rule.packets.saturating_add(packets);
            rule.bytes = rule.bytes.saturating_add(bytes);
            rule.used = rule.used.max(used);
        }
    }

    /// How many rules have gone that others took the place of, and are credited for.
    pub(super) fn heirs(&self) -> usize {
        self.heirs.len()
    }

    /// Whether somebody is told the last counters of a rule, or packets that meet it make flows: then what went through
    /// it counts before it goes.
    pub(super) fn is_told_or_learns(&self, id: RuleId) -> bool {
        self.rules.get(id).is_some_and(|r| r.flags.contains(FlowModFlags::SEND_FLOW_REM) || r.learns())
    }

    /// No megaflow knows a rule any more that has gone.
    pub(super) fn forget_the_gone(&mut self) {
        self.heirs.clear();
    }

    /// Asserts the invariants. For tests: it looks at everything.
    #[doc(hidden)]
    pub(super) fn check(&self) {
        let mut in_classifiers = 0;
        for (n, t) in (0..=u8::MAX).zip(&self.tables) {
            assert_eq!(t.flows, t.classifier.len(), "table {n}");
            let hidden = |id: &RuleId| self.rules.get(*id).is_some_and(Rule::is_hidden);
            assert_eq!(t.hidden, t.classifier.iter().filter(|r| hidden(r.payload())).count(), "table {n}");
            in_classifiers += t.flows;
            for found in t.classifier.iter() {
                let rule = self.rules.get(*found.payload());
                assert!(rule.is_some_and(|r| r.table == n && !r.removed && r.priority == found.priority()));
            }
        }
        assert_eq!((in_classifiers, self.present), (self.rules.len(), self.rules.len()));
        assert!(self.orphaned.is_empty());
        let mut cookies = BTreeSet::new();
        let (mut groups, mut meters): (HashMap<u32, BTreeSet<_>>, HashMap<u32, BTreeSet<_>>) = Default::default();
        for (id, r) in self.rules.iter() {
            if r.cookie != 0 {
                cookies.insert((r.cookie, id));
            }
            for g in rule::groups_of(&r.instructions) {
                groups.entry(g).or_default().insert(id);
            }
            for m in rule::meters_of(&r.instructions) {
                meters.entry(m).or_default().insert(id);
            }
        }
        let mut learners: BTreeMap<(u8, u64), usize> = BTreeMap::new();
        for (_, r) in self.rules.iter() {
            update::learnt(&r.instructions).for_each(|key| *learners.entry(key).or_default() += 1);
        }
        assert_eq!(learners, self.learners);
        assert_eq!(cookies, self.cookies);
        assert_eq!(groups, self.groups);
        assert_eq!(meters, self.meters);
    }
}
