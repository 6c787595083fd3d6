//! Keeping megaflows true: counters are credited, what is over ends, and what has changed is decided anew.
//!
//! A change re-examines only the megaflows that can have seen it: those that met a rule which went, those whose lookups
//! in a table a rule overlaps which came, those that asked for a group or a station. All that takes is in the
//! megaflow's [`Dependencies`](super::translate::Dependencies).

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use ovs_dpif::{DpFlowStats, Dpif, Ufid};
use ovs_packet::key::SparseMatch;
use ovs_packet::{FlowKey, Instant};

use super::flow_table::{Changes, Known, Log, RuleId, Step};
use super::mac::MacChanges;
use super::megaflow::Megaflow;
use super::ofproto::Ofproto;
use super::translate::{Effect, recirculations};
use super::upcall::{World, slow_action};
use super::{MAX_REVALIDATE_ONE_BY_ONE, STATS_INTERVAL};

/// FIN and RST.
const TCP_ENDS: u16 = 0x05;

/// What has changed in one switch.
struct Changed {
    bridge: usize,
    everything: bool,
    removed: HashSet<RuleId>,
    /// Table and match of each rule that came.
    added: Vec<(u8, SparseMatch)>,
    groups: HashSet<u32>,
    /// Something that is not told one by one.
    other: bool,
}

impl Changed {
    fn of(bridge: usize, b: &mut Ofproto) -> Changed {
        let Changes { everything, added, removed, groups } = b.tables.take_changes();
        let added: Vec<_> = added
            .into_iter()
            .filter_map(|id| Some((b.tables.get(id)?.table, SparseMatch::from(&b.tables.matching(id)?))))
            .collect();
        let other = b.snooping.as_mut().is_some_and(|s| s.take_changed());
        let misses = b.connections.want_misses();
        let misses = std::mem::replace(&mut b.tells_misses, misses) != misses;
        let everything =
            everything | misses | std::mem::take(&mut b.changed) | (added.len() > MAX_REVALIDATE_ONE_BY_ONE);
        Changed {
            bridge,
            everything,
            removed: removed.into_iter().collect(),
            added,
            groups: groups.into_iter().collect(),
            other,
        }
    }

    fn is_empty(&self) -> bool {
        !self.everything && !self.other && self.removed.is_empty() && self.added.is_empty() && self.groups.is_empty()
    }

    /// Whether a megaflow can have seen it.
    fn concerns(&self, m: &Megaflow) -> bool {
        let d = &m.dependencies;
        self.everything
            || d.volatile
            || self.added.iter().any(|(table, of)| d.has_table(self.bridge, *table) && d.seen.overlaps(of))
            || !self.removed.is_empty() && met(m, self.bridge, &self.removed)
            || d.groups.iter().any(|(b, g)| *b == self.bridge && self.groups.contains(g))
    }
}

/// Whether packets of a megaflow meet one of these rules.
fn met(m: &Megaflow, bridge: usize, rules: &HashSet<RuleId>) -> bool {
    m.effects.iter().any(|(b, e)| matches!(e, Effect::Rule(id) if *b == bridge && rules.contains(id)))
}

impl Ofproto {
    /// Does what time or changes ask for: reads counters, ends what is over, makes megaflows true again.
    pub fn run(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.in_world(|mut world| world.run(dp, now));
    }

    /// Makes megaflows true after changes that are not yet told to the datapath.
    pub(super) fn revalidate(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.in_world(|mut world| world.settle(dp, now));
    }

    /// Whether there is something that megaflows may not be true to.
    pub(super) fn has_changed(&self) -> bool {
        let snooped = self.snooping.as_ref().is_some_and(|s| s.has_changed());
        let misses = self.tells_misses != self.connections.want_misses();
        misses || self.changed || snooped || self.macs.has_changes() || self.tables.has_changes()
    }

    /// Reads the datapath's counters and credits what is new.
    pub(super) fn collect(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.in_world(|mut world| world.collect(dp, now));
    }

    /// Credits what went through so far to rules that are about to go, so that it is theirs when they do.
    pub(super) fn credit_before(&mut self, dp: &mut dyn Dpif, log: &Log, now: Instant) {
        self.in_world(|mut world| world.credit_before(dp, log, now));
    }

    /// Removes every megaflow, after what went through it is credited.
    pub fn purge(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.in_world(|mut world| world.purge(dp, now));
    }

    /// Reads the datapath's counters, credits what is new, and makes all megaflows true, now.
    pub fn synchronise(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.run(dp, now);
        self.collect(dp, now);
        self.revalidate(dp, now);
    }

    /// Ends flows whose time is over, and forgets states that nothing goes on with.
    fn end_what_is_over(&mut self, now: Instant) {
        let mut log = Log::default();
        self.tables.expire(now, &mut log);
        self.commit(log, None, now);
        self.next_stats = now + STATS_INTERVAL;
        let mut used = HashSet::new();
        for (_, m) in self.megaflows.iter() {
            used.insert(FlowKey::from(&m.key).recirc_id.get());
            recirculations(&m.actions, &mut used);
        }
        self.recirc.collect(&used);
    }

    /// Takes note of how long it took, on whatever clock, to go through all megaflows: there may be as many as can be
    /// kept true in time.
    pub fn revalidation_took(&mut self, time: Duration) {
        let megaflows = self.megaflows.len();
        self.flow_limit.took(time, megaflows);
    }
}

impl World<'_> {
    pub(super) fn run(&mut self, dp: &mut dyn Dpif, now: Instant) {
        for b in self.bridges.iter_mut() {
            b.run_connections(now);
            b.run_stand_in(now);
        }
        let is_due = |b: &Ofproto| now >= b.next_stats || b.tables.next_expiry().is_some_and(|at| at <= now);
        if self.bridges.iter().any(|b| !b.is_vacant && is_due(b)) {
            self.collect(dp, now);
            let home = self.at;
            for at in 0..self.bridges.len() {
                self.at = at;
                self.drop_idle(dp, now);
                self.own().into_iter().for_each(|own| own.end_what_is_over(now));
            }
            self.at = home;
        }
        for b in self.bridges.iter_mut() {
            b.macs.expire(now);
            b.snooping.iter_mut().for_each(|s| s.expire(now));
        }
        self.settle(dp, now);
    }

    /// Decides anew on all megaflows that can have seen what changed, in whatever switch.
    pub(super) fn settle(&mut self, dp: &mut dyn Dpif, now: Instant) {
        // What is decided may change something again, as crediting what went through before does.
        for _ in 0..super::MAX_SETTLING {
            if !self.bridges.iter().any(Ofproto::has_changed) {
                self.bridges.iter_mut().for_each(|b| b.tables.forget_the_gone());
                return;
            }
            let mut changed = Vec::new();
            let mut stations = Vec::new();
            let mut all = false;
            for (i, b) in self.bridges.iter_mut().enumerate() {
                match b.macs.take_changes() {
                    MacChanges::All => all = true,
                    MacChanges::Some(noted) => stations.extend(noted.into_iter().map(|(vlan, a)| (i, vlan, a))),
                }
                changed.push(Changed::of(i, b));
            }
            changed.retain(|c| !c.is_empty());
            all |= changed.iter().any(|c| c.everything);
            if !all && changed.is_empty() && stations.is_empty() {
                return;
            }
            let home = self.at;
            for at in 0..self.bridges.len() {
                self.at = at;
                let Some(own) = self.own() else { continue };
                let mut concerned: BTreeSet<Ufid> =
                    stations.iter().flat_map(|s| own.megaflows.that_asked(*s)).collect();
                if all {
                    concerned.extend(own.megaflows.iter().map(|(ufid, _)| ufid));
                } else if !changed.is_empty() {
                    let hit = own.megaflows.iter().filter(|(_, m)| changed.iter().any(|c| c.concerns(m)));
                    concerned.extend(hit.map(|(ufid, _)| ufid));
                }
                concerned.into_iter().for_each(|ufid| self.revalidate_one(dp, ufid, now));
            }
            self.at = home;
        }
    }

    fn revalidate_one(&mut self, dp: &mut dyn Dpif, ufid: Ufid, now: Instant) {
        let Some(key) = self.own().and_then(|own| own.megaflows.get(ufid)).map(|m| FlowKey::from(&m.key)) else {
            return;
        };
        let Some(outcome) = self.translate(dp, &key, None) else { return };
        let t = outcome.translation;
        let Some(own) = self.own() else { return };
        let Some(m) = own.megaflows.get(ufid) else { return };
        own.revalidated += 1;
        if m.is(&t) {
            return;
        }
        let same_packets = m.matching == SparseMatch::from(&*t.matching);
        // What went through before the change is credited as it was.
        if let Ok(flow) = dp.flow_get(ufid) {
            self.credit_megaflow(ufid, flow.stats, now);
        }
        let actions = if t.slow.is_empty() { t.actions.clone() } else { vec![slow_action(t.slow)] };
        let kept = same_packets && dp.flow_put(&key, &t.matching.mask(), &actions).is_ok();
        match self.own() {
            Some(own) if kept => own.megaflows.retranslate(ufid, t),
            _ => self.uninstall(dp, ufid, now),
        }
    }

    pub(super) fn purge(&mut self, dp: &mut dyn Dpif, now: Instant) {
        let all: Vec<_> = self.own().into_iter().flat_map(|own| own.megaflows.iter()).map(|(ufid, _)| ufid).collect();
        all.into_iter().for_each(|ufid| self.uninstall(dp, ufid, now));
    }

    fn uninstall(&mut self, dp: &mut dyn Dpif, ufid: Ufid, now: Instant) {
        if let Ok(flow) = dp.flow_del(ufid) {
            self.credit_megaflow(ufid, flow.stats, now);
        }
        self.own().into_iter().for_each(|own| drop(own.megaflows.remove(ufid)));
    }

    fn drop_idle(&mut self, dp: &mut dyn Dpif, now: Instant) {
        let Some(own) = self.own() else { return };
        let max_idle = own.flow_limit.max_idle(own.megaflows.len(), own.max_idle);
        let idle = |m: &Megaflow| now - m.used() >= max_idle;
        let idle: Vec<_> = own.megaflows.iter().filter(|(_, m)| idle(m)).map(|(ufid, _)| ufid).collect();
        idle.into_iter().for_each(|ufid| self.uninstall(dp, ufid, now));
    }

    // Counters.

    pub(super) fn collect(&mut self, dp: &mut dyn Dpif, now: Instant) {
        let mut news = Vec::new();
        let bridges = &*self.bridges;
        let dumped = dp.flow_stats(&mut |ufid, stats| {
            let known = bridges.iter().enumerate().find_map(|(at, b)| Some((at, b.megaflows.get(ufid)?)));
            if let Some((at, m)) = known
                && (m.credited.packets != stats.packets || m.credited.used != stats.used)
            {
                news.push((at, ufid, stats));
            }
        });
        if let Err(e) = dumped {
            // What is missing is credited the next time.
            tracing::warn!(error = %e, "counters of the datapath not read to the end");
        }
        news.sort_unstable_by_key(|(at, ufid, _)| (*at, *ufid));
        let home = self.at;
        for (at, ufid, stats) in news {
            self.at = at;
            self.credit_megaflow(ufid, stats, now);
        }
        self.at = home;
    }

    pub(super) fn credit_before(&mut self, dp: &mut dyn Dpif, log: &Log, now: Instant) {
        let gone: HashSet<RuleId> = log
            .since(0)
            .iter()
            .filter_map(|step| match *step {
                Step::Added { replaced, .. } => replaced,
                Step::Modified { old, .. } => Some(old),
                Step::Removed { id, .. } => Some(id),
            })
            .collect();
        let at = self.at;
        if gone.is_empty() {
            return;
        }
        let home = self.at;
        for other in 0..self.bridges.len() {
            self.at = other;
            let Some(own) = self.own() else { continue };
            let users: Vec<_> = own.megaflows.iter().filter(|(_, m)| met(m, at, &gone)).map(|(u, _)| u).collect();
            for ufid in users {
                if let Ok(flow) = dp.flow_get(ufid) {
                    self.credit_megaflow(ufid, flow.stats, now);
                }
            }
        }
        self.at = home;
    }

    fn credit_megaflow(&mut self, ufid: Ufid, stats: DpFlowStats, now: Instant) {
        let Some(megaflow) = self.own().and_then(|own| own.megaflows.get_mut(ufid)) else { return };
        let (packets, bytes) = megaflow.news(stats);
        if packets > 0 {
            let effects = megaflow.effects.clone();
            self.credit(&effects, packets, bytes, stats.tcp_flags, stats.used.unwrap_or(now));
        }
    }

    /// Credits packets with what they change.
    pub(super) fn credit(&mut self, effects: &[(usize, Effect)], packets: u64, bytes: u64, flags: u16, used: Instant) {
        for (bridge, effect) in effects {
            let Some(b) = self.bridges.get_mut(*bridge).filter(|b| !b.is_vacant) else { continue };
            match effect {
                Effect::Rule(id) => b.tables.credit(*id, packets, bytes, used),
                Effect::Table { table, matched } => {
                    if let Some(t) = b.table_stats.get_mut(usize::from(*table)) {
                        t.lookups += packets;
                        t.matches += if *matched { packets } else { 0 };
                    }
                }
                Effect::Station { vlan, address, port, gratuitous } => {
                    match gratuitous {
                        true => b.macs.learn_gratuitous(*vlan, *address, *port, used),
                        false => b.macs.learn(*vlan, *address, *port, used),
                    };
                }
                Effect::Learn(learned) => {
                    let known = Known { groups: &b.groups, meters: &b.meters };
                    let mut log = Log::default();
                    match b.tables.learn(learned, known, used, &mut log) {
                        Ok(()) => b.commit(log, None, used),
                        Err(e) => tracing::debug!(error = %e, "a flow is not learnt"),
                    }
                }
                Effect::FinTimeout { rule, idle, hard } => {
                    if flags & TCP_ENDS != 0 {
                        b.tables.reduce_timeouts(*rule, *idle, *hard);
                    }
                }
                Effect::Bucket { group, bucket } => b.groups.credit_bucket(*group, *bucket, packets, bytes),
                Effect::Sent { port } => {
                    let seen = b.patched.entry(*port).or_default();
                    (seen.tx_packets, seen.tx_bytes) = (seen.tx_packets + packets, seen.tx_bytes + bytes);
                }
                Effect::Received { port } => {
                    let seen = b.patched.entry(*port).or_default();
                    (seen.rx_packets, seen.rx_bytes) = (seen.rx_packets + packets, seen.rx_bytes + bytes);
                }
                Effect::Group { group, bucket } => {
                    b.groups.credit(*group, packets, bytes);
                    if let Some(bucket) = bucket {
                        b.groups.credit_bucket(*group, *bucket, packets, bytes);
                    }
                }
            }
        }
    }
}
