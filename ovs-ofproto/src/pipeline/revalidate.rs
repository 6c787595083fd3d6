//! Keeping megaflows true: counters are credited, what is over ends, and what has changed is decided anew.
//!
//! # How a change becomes true
//!
//! A change concerns the megaflows that can have seen it: those that met a rule which went, those whose lookups in a table a
//! rule overlaps which came, those that asked for a group or a station. [`Megaflows`](super::megaflow::Megaflows) finds
//! them without looking at others.
//!
//! - If they are few, they are decided anew at once, and the change is true when the message that made it is answered.
//! - If they are many, and the datapath [can](ovs_dpif::Features::versions), the change is [published](Dpif::publish): from
//!   then on the first packet of every megaflow comes up. Those that the change does not concern are kept at the cost of a
//!   lookup; the others are in doubt, and decided anew when their packets come or [`run`](Ofproto::run) gets there. So an
//!   answer to a barrier does not wait for them, and still no packet takes an old action after it.
//! - If the datapath cannot, all are decided anew before the answer.
//!
//! # Credit
//!
//! What went through a megaflow belongs to what it met before the change. Rules that others took the place of have *heirs*,
//! to whom it is credited when it is read. Where somebody is told a rule's last counters, or the rule learns, it is read
//! before the rule goes.

use std::time::Duration;

use ovs_dpif::{DpFlowStats, Dpif, Operation, Outcome, Ufid};
use ovs_packet::{FlowKey, Instant};

use super::flow_table::{Changes, Log, Step};
use super::mac::MacChanges;
use super::megaflow::{Came, Key, Sum};
use super::ofproto::Ofproto;
use super::translate::{Effect, Room, Translation};
use super::tunnel::is_tunnelled;
use super::upcall::{World, install};
use super::{MAX_REVALIDATE_ONE_BY_ONE, MAX_SETTLING};

/// FIN and RST.
const TCP_ENDS: u16 = 0x05;

/// So many megaflows are decided anew at once, before a change is answered.
const AT_ONCE: usize = 256;

/// How much is done in a round of what can wait: a megaflow is decided anew for as much as so many are said to be true.
const ROUND: usize = 8192;
const DECISION: usize = 16;

/// How many rules may have heirs before all counters are read, so that the rules can be forgotten.
const MAX_HEIRS: usize = 4096;

/// How many operations the datapath is given together.
const TOGETHER: usize = 64;

/// What has changed in switches that share a datapath.
#[derive(Default)]
struct News {
    /// Any megaflow may be concerned.
    everything: bool,
    keys: Vec<Key>,
    came: Vec<Came>,
}

impl News {
    fn take(&mut self, bridge: usize, b: &mut Ofproto) {
        let Changes { everything, added, removed, groups } = b.tables.take_changes();
        let snooped = b.snooping.as_mut().is_some_and(|s| s.take_changed());
        let misses = b.connections.want_misses();
        let misses = std::mem::replace(&mut b.tells_misses, misses) != misses;
        let underlay = b.underlay.version();
        let before = std::mem::replace(&mut b.seen_underlay, underlay);
        self.everything |= before.ends != underlay.ends;
        let same_ways = before == underlay;
        let is_nothing = same_ways && added.is_empty() && removed.is_empty() && groups.is_empty() && !snooped;
        self.everything |=
            everything | misses | std::mem::take(&mut b.changed) | (added.len() > MAX_REVALIDATE_ONE_BY_ONE);
        match b.macs.take_changes() {
            MacChanges::All => self.everything = true,
            MacChanges::Some(noted) => {
                self.keys.extend(noted.into_iter().map(|(vlan, a)| Key::Station(bridge, vlan, a)));
            }
        }
        if self.everything || is_nothing {
            return;
        }
        self.keys.extend(removed.into_iter().map(|id| Key::Rule(bridge, id)));
        self.keys.extend(groups.into_iter().map(|g| Key::Group(bridge, g)));
        self.keys.push(Key::Anything);
        let came = added.into_iter().filter_map(|id| Some((bridge, b.tables.get(id)?.table, b.tables.matching(id)?)));
        self.came.extend(came);
    }

    fn is_empty(&self) -> bool {
        !self.everything && self.keys.is_empty() && self.came.is_empty()
    }
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
        let underlay = self.underlay.version() != self.seen_underlay;
        misses || underlay || self.changed || snooped || self.macs.has_changes() || self.tables.has_changes()
    }

    /// Reads the datapath's counters and credits what is new.
    pub(super) fn collect(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.in_world(|mut world| world.collect(dp, now));
    }

    /// Credits what went through so far to rules that are about to go, where it must be theirs when they do.
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
        self.in_world(|mut world| world.catch_up(dp, usize::MAX, now));
    }

    /// Ends flows whose time is over, and forgets states that nothing goes on with.
    fn end_what_is_over(&mut self, now: Instant) {
        self.ending = Some(now);
        self.end_flows(now);
        self.next_stats = now + self.revalidator.period();
        let (mean, most, rounds) = self.seen;
        let megaflows = self.megaflows.len();
        self.seen = (usize::midpoint(mean, megaflows), most.max(megaflows), rounds + 1);
        self.forget_states();
    }

    /// Ends flows whose time was over when counters were read, some at a time.
    fn end_flows(&mut self, now: Instant) {
        let Some(by) = self.ending.filter(|_| !self.under_way) else { return };
        let mut log = Log::default();
        self.tables.expire(by, self.slice, &mut log);
        self.ending = self.ending.filter(|by| self.tables.next_expiry().is_some_and(|at| at <= *by));
        self.commit(log, None, now);
    }

    /// Forgets the states that no megaflow leads to.
    fn forget_states(&mut self) {
        // Packets of what is under way may wait for theirs.
        if self.under_way {
            return;
        }
        let (recirc, megaflows) = (&mut self.recirc, &self.megaflows);
        recirc.collect(|id| megaflows.is_recirculated(id));
    }

    /// Takes note of how long it took, on whatever clock, to go through all megaflows: there may be as many as can be
    /// kept true in time.
    pub fn revalidation_took(&mut self, time: Duration) {
        let megaflows = self.megaflows.len();
        self.round = time;
        self.flow_limit.took(time, megaflows);
    }
}

impl World<'_> {
    pub(super) fn run(&mut self, dp: &mut dyn Dpif, now: Instant) {
        for b in self.bridges.iter_mut() {
            b.run_connections(now);
            b.run_stand_in(now);
        }
        self.tend_underlay(dp, now);
        self.in_turn(|world| {
            let slice = world.own().map_or(0, |own| own.slice);
            world.advance(dp, slice, now);
        });
        if self.is_paused() {
            return;
        }
        for b in self.bridges.iter_mut() {
            b.end_flows(now);
            b.trim(now);
        }
        let ends =
            |b: &Ofproto| !b.under_way && b.ending.is_none() && b.tables.next_expiry().is_some_and(|at| at <= now);
        let is_due = |b: &Ofproto| now >= b.next_stats || ends(b);
        if self.bridges.iter().any(|b| !b.is_vacant && is_due(b)) {
            self.collect(dp, now);
            self.in_turn(|world| {
                world.drop_idle(dp, now);
                world.own().into_iter().for_each(|own| own.end_what_is_over(now));
            });
        }
        for b in self.bridges.iter_mut() {
            if b.live.as_ref().is_some_and(|l| l.until <= now) {
                b.end_live_trace();
            }
            b.macs.expire(now);
            b.snooping.iter_mut().for_each(|s| s.expire(now));
        }
        self.settle(dp, now);
        self.catch_up(dp, ROUND, now);
    }

    /// Whether megaflows are left as they are.
    fn is_paused(&self) -> bool {
        self.bridges.iter().any(|b| b.paused)
    }

    /// Has `f` work with each switch in turn as the one at work.
    pub(super) fn in_turn(&mut self, mut f: impl FnMut(&mut Self)) {
        let home = self.at;
        for at in 0..self.bridges.len() {
            self.at = at;
            f(self);
        }
        self.at = home;
    }

    /// Has the datapath obey what changed, in whatever switch.
    pub(super) fn settle(&mut self, dp: &mut dyn Dpif, now: Instant) {
        // What is decided may change something again, as crediting what went through before does.
        if self.is_paused() {
            return;
        }
        self.end_what_flows_wait_for(dp, now);
        self.leave_to_others(dp, now);
        for _ in 0..MAX_SETTLING {
            if !self.bridges.iter().any(Ofproto::has_changed) {
                return self.forget_the_gone(dp, now);
            }
            let mut news = News::default();
            for (i, b) in self.bridges.iter_mut().enumerate() {
                news.take(i, b);
            }
            if news.is_empty() {
                return;
            }
            self.obey(dp, &news, now);
        }
    }

    /// Where tunnel ports came or went, what came through tunnels may be another switch's now: it comes up again.
    fn leave_to_others(&mut self, dp: &mut dyn Dpif, now: Instant) {
        let changed = self.bridges.iter_mut().fold(false, |any, b| std::mem::take(&mut b.tunnels_changed) | any);
        if !changed || self.bridges.len() == 1 {
            return;
        }
        self.in_turn(|world| {
            let Some(own) = world.own() else { return };
            let tunnelled = own.megaflows.iter().filter(|(_, m)| is_tunnelled(&FlowKey::from(&m.key)));
            let slots: Vec<u32> = tunnelled.map(|(slot, _)| slot).collect();
            world.uninstall_all(dp, &slots, now);
        });
    }

    fn obey(&mut self, dp: &mut dyn Dpif, news: &News, now: Instant) {
        let most = if dp.features().versions { AT_ONCE } else { usize::MAX };
        let concerned = |b: &mut Ofproto| match news.everything {
            true => (b.megaflows.len() <= most).then(|| b.megaflows.iter().map(|(slot, _)| slot).collect()),
            false => b.megaflows.concerned(&news.keys, &news.came, most),
        };
        let few: Option<Vec<Vec<u32>>> = self.bridges.iter_mut().map(concerned).collect();
        let Some(few) = few else {
            dp.publish();
            for b in self.bridges.iter_mut() {
                b.megaflows.unprove();
                match news.everything {
                    true => b.megaflows.doubt_all(),
                    false => b.megaflows.doubt(&news.keys, &news.came),
                }
            }
            return;
        };
        let mut few = few.iter();
        self.in_turn(|world| few.next().into_iter().flatten().for_each(|slot| world.decide_anew(dp, *slot, now)));
    }

    /// No megaflow knows rules any more that have gone, once none is in doubt or all counters are read.
    fn forget_the_gone(&mut self, dp: &mut dyn Dpif, now: Instant) {
        // What is under way, and may be taken back, has heirs, too.
        if self.bridges.iter().any(|b| b.under_way) {
            return;
        }
        if self.bridges.iter().all(|b| b.megaflows.unproved() == 0) {
            return self.bridges.iter_mut().for_each(|b| b.tables.forget_the_gone());
        }
        if self.bridges.iter().any(|b| b.tables.heirs() > MAX_HEIRS) {
            self.collect(dp, now);
            self.bridges.iter_mut().for_each(|b| b.tables.forget_the_gone());
        }
    }

    /// Decides anew on megaflows in doubt, and says of others that they are true, as far as the effort goes.
    pub(super) fn catch_up(&mut self, dp: &mut dyn Dpif, effort: usize, now: Instant) {
        if self.is_paused() {
            return;
        }
        self.in_turn(|world| world.catch_up_with_own(dp, effort, now));
        self.settle(dp, now);
    }

    fn catch_up_with_own(&mut self, dp: &mut dyn Dpif, mut effort: usize, now: Instant) {
        while effort > 0
            && let Some(slot) = self.own().and_then(|own| own.megaflows.next_unproved())
        {
            let Some(own) = self.own() else { return };
            let doubted = own.megaflows.is_doubted(slot);
            effort = effort.saturating_sub(if doubted { DECISION } else { 1 });
            match doubted {
                false => self.keep(dp, slot, now),
                true if own.is_worth_it(slot, now) => self.decide_anew(dp, slot, now),
                true => self.uninstall_all(dp, &[slot], now),
            }
        }
    }

    /// Says to the datapath that a megaflow is true. One that the datapath does not have goes.
    pub(super) fn keep(&mut self, dp: &mut dyn Dpif, slot: u32, now: Instant) {
        let Some(ufid) = self.own().and_then(|own| own.megaflows.get(slot)).map(|m| m.ufid) else { return };
        match dp.flow_keep(ufid) {
            Ok(_) => self.own().into_iter().for_each(|own| own.megaflows.settled(slot)),
            Err(_) => self.uninstall_all(dp, &[slot], now),
        }
    }

    /// Decides anew on a megaflow, and has the datapath obey.
    pub(super) fn decide_anew(&mut self, dp: &mut dyn Dpif, slot: u32, now: Instant) {
        let Some((ufid, key)) =
            self.own().and_then(|own| own.megaflows.get(slot)).map(|m| (m.ufid, FlowKey::from(&m.key)))
        else {
            return;
        };
        let Some(outcome) = self.translate(dp, &key, None) else { return };
        let mut t = outcome.translation;
        let Some(own) = self.own() else { return };
        own.revalidated += 1;
        own.megaflows.narrow(slot, &mut t);
        if own.megaflows.is(slot, &t) {
            own.give_back(t);
            if own.megaflows.is_unproved(slot) {
                self.keep(dp, slot, now);
            }
            return;
        }
        let same_packets = own.megaflows.has_mask(slot, &t);
        let is_kept = same_packets && own.megaflows.has_actions(slot, &t);
        // What went through before the change is credited as it was. What somebody else took out of the datapath is not put
        // there anew: a packet that needs it comes up.
        let stats = if is_kept { dp.flow_keep(ufid) } else { dp.flow_counters(ufid) };
        let Ok(stats) = stats else {
            tracing::warn!(target: "dpif", "failed to put[modify] (No such file or directory) {ufid}");
            return self.uninstall_all(dp, &[slot], now);
        };
        self.credit_megaflow(slot, stats, now);
        let is_there = is_kept || same_packets && install(dp, &key, &mut t).is_ok();
        match self.own() {
            Some(own) if is_there => {
                own.megaflows.retranslate(slot, &mut t);
                own.give_back(t);
            }
            _ => self.uninstall_all(dp, &[slot], now),
        }
    }

    /// Removes megaflows, after what went through them is credited.
    pub(super) fn uninstall_all(&mut self, dp: &mut dyn Dpif, slots: &[u32], now: Instant) {
        for slots in slots.chunks(TOGETHER) {
            let Some(own) = self.own() else { return };
            let ufids: Vec<Ufid> = slots.iter().filter_map(|slot| Some(own.megaflows.get(*slot)?.ufid)).collect();
            let deletions: Vec<_> = ufids.iter().map(|ufid| Operation::Delete(*ufid)).collect();
            for gone in dp.operate(&deletions) {
                if let Ok(Outcome::Deleted(flow)) = gone {
                    self.forget(flow.ufid, flow.stats, now);
                }
            }
            // Those that the datapath did not have.
            let Some(own) = self.own() else { return };
            for slot in ufids.iter().filter_map(|ufid| own.megaflows.find(*ufid)).collect::<Vec<_>>() {
                own.megaflows.remove(slot);
            }
        }
    }

    /// Removes every megaflow of the switch at work.
    pub(super) fn purge(&mut self, dp: &mut dyn Dpif, now: Instant) {
        let all: Vec<u32> =
            self.own().map(|own| own.megaflows.iter().map(|(slot, _)| slot).collect()).unwrap_or_default();
        self.uninstall_all(dp, &all, now);
        self.own().into_iter().for_each(Ofproto::forget_states);
    }

    /// The datapath has no such megaflow any more; what went through it is credited.
    fn forget(&mut self, ufid: Ufid, stats: DpFlowStats, now: Instant) {
        let Some(slot) = self.own().and_then(|own| own.megaflows.find(ufid)) else { return };
        self.credit_megaflow(slot, stats, now);
        self.own().into_iter().for_each(|own| drop(own.megaflows.remove(slot)));
    }

    /// Forgets the megaflows that the datapath removed by itself.
    pub(super) fn forget_evicted(&mut self, dp: &mut dyn Dpif, now: Instant) {
        for flow in dp.take_evicted() {
            self.in_turn(|world| world.forget(flow.ufid, flow.stats, now));
        }
    }

    fn drop_idle(&mut self, dp: &mut dyn Dpif, now: Instant) {
        let Some(own) = self.own() else { return };
        let max_idle = own.flow_limit.max_idle(own.megaflows.len(), own.revalidator.max_idle);
        let idle = own.megaflows.idle(max_idle, now);
        self.uninstall_all(dp, &idle, now);
    }

    // Counters.

    /// Reads the datapath's counters, and credits what is new in all switches.
    pub(super) fn collect(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.forget_evicted(dp, now);
        let terse = self.bridges.iter().all(|b| b.terse);
        let mut all: Vec<_> = self.bridges.iter_mut().map(|b| std::mem::take(&mut b.megaflows)).collect();
        let mut readings: Vec<_> = all.iter_mut().map(|m| m.read(now)).collect();
        let mut take = |ufid, stats| {
            readings.iter_mut().any(|r| r.take(ufid, stats));
        };
        let dumped = match terse {
            true => dp.flow_stats(&mut take),
            false => dp.flow_dump().map(|flows| flows.iter().for_each(|f| take(f.ufid, f.stats))),
        };
        if let Err(e) = &dumped {
            // What is missing is credited the next time.
            tracing::warn!(error = %e, "counters of the datapath not read to the end");
        }
        let (untold, news): (Vec<_>, Vec<_>) = readings.into_iter().map(|r| r.finish()).unzip();
        let mut learnt = Vec::new();
        for (megaflows, news) in all.iter().zip(news) {
            megaflows.credit(news, |effect, sum| match effect {
                (_, Effect::Learn(_)) => learnt.push((effect, sum)),
                effect => self.credit_one(effect, sum),
            });
        }
        // Flows are learnt in the order in which their packets came.
        learnt.sort_by_key(|(_, sum)| sum.used);
        learnt.into_iter().for_each(|(effect, sum)| self.credit_one(effect, sum));
        for (b, megaflows) in self.bridges.iter_mut().zip(all) {
            b.megaflows = megaflows;
        }
        if dumped.is_ok() {
            let mut untold = untold.iter();
            self.in_turn(|world| untold.next().into_iter().flatten().for_each(|slot| world.look_for(dp, *slot)));
        }
    }

    /// Forgets a megaflow that the datapath has not told of for a while, if it does not have it: somebody else took it out.
    fn look_for(&mut self, dp: &mut dyn Dpif, slot: u32) {
        let Some(own) = self.own() else { return };
        let Some(ufid) = own.megaflows.miss(slot) else { return };
        if dp.flow_counters(ufid).is_err() {
            own.missed += 1;
            own.megaflows.remove(slot);
        }
    }

    pub(super) fn credit_before(&mut self, dp: &mut dyn Dpif, log: &Log, now: Instant) {
        let at = self.at;
        let Some(own) = self.own() else { return };
        let gone = log.since(0).iter().filter_map(|step| match *step {
            Step::Added { replaced, .. } => replaced,
            Step::Modified { old, .. } => Some(old),
            Step::Removed { id, .. } => Some(id),
        });
        let gone: Vec<_> = gone.filter(|id| own.tables.is_told_or_learns(*id)).map(|id| Key::Rule(at, id)).collect();
        self.in_turn(|world| {
            let Some(own) = world.own() else { return };
            if !gone.iter().any(|key| own.megaflows.met(*key)) {
                return;
            }
            let Some(users) = own.megaflows.concerned(&gone, &[], AT_ONCE) else { return world.collect(dp, now) };
            for slot in users {
                let ufid = world.own().and_then(|own| own.megaflows.get(slot)).map(|m| m.ufid);
                if let Some(Ok(stats)) = ufid.map(|ufid| dp.flow_counters(ufid)) {
                    world.credit_megaflow(slot, stats, now);
                }
            }
        });
    }

    fn credit_megaflow(&mut self, slot: u32, stats: DpFlowStats, now: Instant) {
        let Some(own) = self.own() else { return };
        if let Some(sum) = own.megaflows.read_one(slot, stats, now) {
            let effects = own.megaflows.effects(slot);
            self.credit(&effects, sum);
        }
    }

    /// Credits packets with what they change.
    pub(super) fn credit(&mut self, effects: &[(usize, Effect)], sum: Sum) {
        let mut sum = sum;
        for effect in effects {
            match effect {
                (_, Effect::Grown { by }) => {
                    let by = i64::from(*by).saturating_mul(i64::try_from(sum.packets).unwrap_or(i64::MAX));
                    sum.bytes = sum.bytes.saturating_add_signed(by);
                }
                effect => self.credit_one(effect, sum),
            }
        }
    }

    fn credit_one(&mut self, (bridge, effect): &(usize, Effect), sum: Sum) {
        let Sum { packets, bytes, flags, used } = sum;
        let Some(b) = self.bridges.get_mut(*bridge).filter(|b| !b.is_vacant) else { return };
        match effect {
            Effect::Rule { rule, table } => {
                b.tables.credit(*rule, packets, bytes, used);
                b.looked_up(*table, packets, true);
            }
            Effect::Miss { table } => b.looked_up(*table, packets, false),
            Effect::Station { vlan, address, port, gratuitous } => {
                match gratuitous {
                    true if b.hooks().egress(*port).is_some() => {
                        b.macs.learn_gratuitous_by_bond(*vlan, *address, *port, used)
                    }
                    true => b.macs.learn_gratuitous(*vlan, *address, *port, used),
                    false => b.macs.learn(*vlan, *address, *port, used),
                };
            }
            Effect::Learn(learned) => b.learn(learned, used),
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
            Effect::Grown { .. } => {}
            Effect::Neighbour { address, mac } => b.underlay.set_neighbour(b.name(), *address, *mac, used),
            Effect::NeighbourUsed { address } => b.underlay.neighbour_used(b.name(), *address, used),
            Effect::Group { group, bucket } => {
                b.groups.credit(*group, packets, bytes);
                if let Some(bucket) = bucket {
                    b.groups.credit_bucket(*group, *bucket, packets, bytes);
                }
            }
        }
    }
}

impl Ofproto {
    fn looked_up(&mut self, table: u8, packets: u64, matched: bool) {
        if let Some(t) = self.table_stats.get_mut(usize::from(table)) {
            t.lookups += packets;
            t.matches += if matched { packets } else { 0 };
        }
    }

    /// Whether a megaflow in doubt is decided anew, or goes: where time is short, those go that hardly serve.
    fn is_worth_it(&self, slot: u32, now: Instant) -> bool {
        let config = &self.revalidator;
        self.round <= config.interval / 2
            || config.min_pps == 0
            || self.megaflows.serves(slot, config.min_pps, config.stats_delay, now)
    }

    /// Keeps the room of a translation that is done with.
    pub(super) fn give_back(&mut self, t: Translation) {
        let Translation { mut effects, mut actions, mut dependencies, read, .. } = t;
        effects.clear();
        actions.clear();
        dependencies.clear();
        self.room = Room { effects, actions, dependencies, read: Some(read) };
    }
}
