//! All threads as one datapath.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ovs_packet::key::{FlowKey, FlowMask, Match};
use ovs_packet::{Instant, Packet};

use super::remote::{Remote, Route};
use super::{PARCELS, Place, Seat, Workers};
use crate::action::{DpAction, PortNo};
use crate::connections::Connections;
use crate::dpif::{
    BOND_BUCKETS, BondStats, DpFlow, DpFlowStats, DpStats, Dpif, DpifError, Features, FlowPut, HwOffload, OffloadStats,
    PortInfo, PortSpec, Resolution, TunnelPort, Ufid, Upcall, UpcallKind,
};
use crate::drops::{DropReason, Ledger};
use crate::meter;
use crate::netdev::Netdev;
use crate::threads::{ThreadId, Threads};
use crate::userspace::{Datapath, MAX_EVICTED};

impl Workers {
    /// Adds up the accounts as threads told them last.
    pub(super) fn settle_accounts(&mut self) {
        let mut ledger = self.main.ledger().clone();
        for worker in self.crew.values() {
            ledger.merge(&worker.shared.report().ledger);
        }
        self.ledger = ledger;
    }

    /// The threads that have the megaflows for a port's packets, or, without one, those for all.
    fn holders(&self, port: Option<PortNo>) -> Vec<ThreadId> {
        match port.map(|port| self.ports.get(&port)) {
            None => self.threads(),
            Some(Some(place)) => place.threads().into_iter().collect(),
            // What has no port comes from the control thread.
            Some(None) => vec![ThreadId::Main],
        }
    }

    /// The threads that have a megaflow.
    fn holders_of(&self, ufid: Ufid) -> Result<Vec<ThreadId>, DpifError> {
        if self.crew.is_empty() {
            return Ok(vec![ThreadId::Main]);
        }
        Ok(self.holders(*self.flows.get(&ufid).ok_or(DpifError::NoSuchFlow(ufid))?))
    }

    /// Whether a thread is the one of those that have a megaflow by which it is counted once.
    pub(super) fn is_first_holder(&self, thread: ThreadId, ufid: Ufid) -> bool {
        self.holders_of(ufid).is_ok_and(|holders| holders.first() == Some(&thread))
    }

    /// Removes from all threads the megaflows that any of them evicted: each knows only how it used them itself.
    fn evict(&mut self) -> Result<(), DpifError> {
        for mut flow in self.ask_all(|dp| dp.take_evicted())?.into_iter().flatten() {
            let ufid = flow.ufid;
            self.flows.remove(&ufid);
            self.cards.forget(ufid).into_iter().for_each(|stats| merge(&mut flow.stats, stats));
            for other in self.ask_all(move |dp| dp.flow_del(ufid))?.into_iter().flatten() {
                merge(&mut flow.stats, other.stats);
            }
            self.evicted.push(flow);
        }
        let beyond = self.evicted.len().saturating_sub(MAX_EVICTED);
        self.evicted.drain(..beyond);
        Ok(())
    }

    /// Installs a megaflow where there are workers.
    fn install(&mut self, put: &FlowPut<'_>) -> Result<Ufid, DpifError> {
        let matching = Match::new(*put.key, *put.mask);
        let ufid = put.ufid.unwrap_or_else(|| Ufid::of(&matching));
        let port = PortNo(put.key.in_port.get());
        // What comes out of a tunnel is any thread's that takes it out.
        let port = (!put.everywhere && !self.tunnels.contains(&port)).then_some(port);
        // Whose it is already, it stays.
        let known = self.flows.get(&ufid).copied();
        let holders = self.holders(known.unwrap_or(port));
        let told: Arc<(FlowKey, FlowMask, Vec<DpAction>)> = Arc::new((*put.key, *put.mask, put.actions.to_vec()));
        let FlowPut { ufid: own, mode, zero_stats, .. } = *put;
        let mut taken = Err(DpifError::NoSuchFlow(ufid));
        for (i, thread) in holders.iter().enumerate() {
            let told = told.clone();
            taken = self.ask(*thread, move |dp| {
                let (key, mask, actions) = &*told;
                let put = FlowPut { key, mask, actions, ufid: own, mode, zero_stats, everywhere: false };
                dp.flow_install(&put)
            })?;
            if taken.is_err() {
                // All have it or none has.
                if known.is_none() {
                    for thread in holders.iter().take(i) {
                        let _ = self.ask(*thread, move |dp| dp.flow_del(ufid))?;
                    }
                }
                return taken;
            }
        }
        if known.is_none()
            && let Ok(ufid) = taken
        {
            self.flows.insert(ufid, port);
        }
        if self.limits.port_flows.min(self.limits.port_masks) < usize::MAX {
            self.evict()?;
        }
        taken
    }

    /// Adds a port that stands for tunnels, to all threads.
    fn add_tunnel(&mut self, name: String, kind: TunnelPort, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        let port = self.main.port_add(PortSpec::Tunnel { name: name.clone(), kind }, wanted)?;
        // There is nothing to be polled.
        self.main.ports.set_queues(port, Some(Vec::new()));
        let cores: Vec<u32> = self.crew.keys().copied().collect();
        for core in cores {
            let spec = PortSpec::Tunnel { name: name.clone(), kind };
            self.send(core, move |dp| {
                let added = dp.port_add(spec, Some(port));
                dp.ports.set_queues(port, Some(Vec::new()));
                added
            })??;
        }
        self.tunnels.insert(port);
        Ok(port)
    }

    /// Logs packets that matched nothing, as upstream's datapath does.
    fn tell_of_misses(upcalls: &[Upcall]) {
        if !tracing::enabled!(target: "dpif_netdev", tracing::Level::DEBUG) {
            return;
        }
        for upcall in upcalls.iter().filter(|upcall| matches!(upcall.kind, UpcallKind::Miss)) {
            tracing::debug!(target: "dpif_netdev", "miss upcall:\n{}", crate::text::exact_key(&upcall.key));
        }
    }

    /// Logs a megaflow that is put, as upstream's datapath does.
    fn tell_of_put(put: &FlowPut<'_>, ufid: Ufid, is_new: bool) {
        if tracing::enabled!(target: "dpif_netdev", tracing::Level::DEBUG) {
            let what = if is_new { "flow_add" } else { "flow_mod" };
            let key = crate::text::masked_key(put.key, put.mask, &());
            let actions = crate::text::named_actions(put.actions, &());
            tracing::debug!(target: "dpif_netdev", "{what}: {ufid} mega_{ufid} {key}, actions:{actions}");
        }
    }
}

/// Adds up what threads counted of one megaflow.
pub(super) fn merge(a: &mut DpFlowStats, b: DpFlowStats) {
    a.packets += b.packets;
    a.bytes += b.bytes;
    a.used = a.used.max(b.used);
    a.tcp_flags |= b.tcp_flags;
}

/// What threads told of a bond, together.
fn add_up(told: Vec<Result<BondStats, DpifError>>, bond: u32) -> Result<BondStats, DpifError> {
    let add = |mut all: BondStats, one: BondStats| {
        all.bytes.iter_mut().zip(one.bytes).for_each(|(all, one)| *all += one);
        all
    };
    told.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().reduce(add).ok_or(DpifError::NoSuchBond(bond))
}

/// A megaflow as all threads that have it: their counters together.
fn together(flows: impl IntoIterator<Item = DpFlow>) -> Option<DpFlow> {
    flows.into_iter().reduce(|mut all, one| {
        merge(&mut all.stats, one.stats);
        all
    })
}

impl Dpif for Workers {
    fn kind(&self) -> &'static str {
        "netdev"
    }

    fn port_add(&mut self, spec: PortSpec, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        if let PortSpec::Tunnel { name, kind } = spec {
            return self.add_tunnel(name, kind, wanted);
        }
        let device = spec.into_device()?;
        let (name, polling, numa) = (device.name().to_string(), device.polling(), device.numa_node().unwrap_or(0));
        let mut others: Vec<Option<Box<dyn Netdev>>> = self.crew.values().map(|_| device.another()).collect();
        let is_shared = device.another().is_some();
        let queues = if is_shared { device.queues().max(1) } else { 1 };
        let port = self.main.port_add(PortSpec::Device(device), wanted)?;
        let route = (!is_shared).then(|| Route::to(self.mailbox.clone()));
        if is_shared {
            // As a whole it is polled where it is alone.
            self.main.ports.set_queues(port, Some((0..queues).collect()));
        }
        let cores: Vec<u32> = self.crew.keys().copied().collect();
        for core in cores {
            let stub = match (&route, self.main.ports.device(port)) {
                (Some(route), Some(device)) => {
                    Some(Box::new(Remote::of(device, port, route.clone())) as Box<dyn Netdev>)
                }
                _ => others.pop().flatten(),
            };
            let Some(stub) = stub else { continue };
            self.send(core, move |dp| {
                let added = dp.ports.add(stub, Some(port));
                dp.ports.set_queues(port, Some(Vec::new()));
                added
            })??;
        }
        let seats = vec![Seat::Thread(ThreadId::Main); queues];
        self.ports.insert(port, Place { name, polling, numa, route, pins: BTreeMap::new(), seats });
        self.hand_out_cards();
        self.arrange();
        Ok(port)
    }

    fn port_del(&mut self, port: PortNo) -> Result<(), DpifError> {
        if self.tunnels.remove(&port) {
            return self.ask_all(move |dp| dp.port_del(port))?.into_iter().collect();
        }
        self.ports.remove(&port).ok_or(DpifError::NoSuchPort(port))?;
        self.cards.leave(port, self.card_of(port));
        self.balancer.forget(port);
        self.ask_all(move |dp| dp.port_del(port))?.into_iter().collect::<Result<(), _>>()?;
        self.arrange();
        Ok(())
    }

    fn ports(&self) -> Result<Vec<PortInfo>, DpifError> {
        let mut ports = self.main.ports()?;
        for info in &mut ports {
            let place = self.ports.get(&info.port);
            if let Some(place) = place.filter(|place| place.route.is_some())
                && let Some(thread @ ThreadId::Core(_)) = place.threads().first()
            {
                let port = info.port;
                let counts = self.look(*thread, move |dp| {
                    let device = dp.ports.device(port)?;
                    Some((device.stats(), device.custom_stats()))
                })?;
                if let Some(counts) = counts {
                    (info.stats, info.custom_stats) = counts;
                }
            }
        }
        Ok(ports)
    }

    fn flow_put(&mut self, key: &FlowKey, mask: &FlowMask, actions: &[DpAction]) -> Result<Ufid, DpifError> {
        self.flow_install(&FlowPut::new(key, mask, actions))
    }

    fn flow_install(&mut self, put: &FlowPut<'_>) -> Result<Ufid, DpifError> {
        // Whose packets it is for says which threads are to have it.
        if put.mask.bits.in_port.get() != u32::MAX {
            tracing::error!(target: "dpif_netdev", "{}", DpifError::PortNotMatched);
            return Err(DpifError::PortNotMatched);
        }
        let before = self.stats_of_flows();
        let ufid = if self.crew.is_empty() { self.main.flow_install(put)? } else { self.install(put)? };
        Workers::tell_of_put(put, ufid, self.stats_of_flows() > before);
        self.offer(ufid, &Match::new(*put.key, *put.mask), put.actions);
        Ok(ufid)
    }

    fn set_vlan_limit(&mut self, limit: u8) -> Result<(), DpifError> {
        self.ask_all(move |dp| dp.set_vlan_limit(limit))?.into_iter().collect()
    }

    fn set_tunnel_sources(&mut self, ports: RangeInclusive<u16>) -> Result<(), DpifError> {
        self.ask_all(move |dp| dp.set_tunnel_sources(ports.clone()))?.into_iter().collect()
    }

    fn flow_make_room(&mut self, port: PortNo, rivals: Option<&[PortNo]>) -> bool {
        // There has to be room where the port's packets are; if nobody there has too many, others may.
        let mut threads = self.holders(Some(port));
        let others: Vec<_> = self.threads().into_iter().filter(|thread| !threads.contains(thread)).collect();
        threads.extend(others);
        let rivals = rivals.map(<[PortNo]>::to_vec);
        let made = threads.into_iter().any(|thread| {
            let rivals = rivals.clone();
            self.ask(thread, move |dp| dp.flow_make_room(port, rivals.as_deref())).unwrap_or(false)
        });
        made && (self.crew.is_empty() || self.evict().is_ok())
    }

    fn take_evicted(&mut self) -> Vec<DpFlow> {
        let mut evicted = std::mem::take(&mut self.evicted);
        evicted.extend(self.main.take_evicted());
        evicted
    }

    fn publish(&mut self) -> u64 {
        self.ask_all(|dp| dp.publish()).ok().and_then(|versions| versions.into_iter().max()).unwrap_or(0)
    }

    fn flow_keep(&mut self, ufid: Ufid) -> Result<DpFlowStats, DpifError> {
        let mut stats = self.cards.counted(ufid).unwrap_or_default();
        for thread in self.holders_of(ufid)? {
            merge(&mut stats, self.ask(thread, move |dp| dp.flow_keep(ufid))??);
        }
        Ok(stats)
    }

    fn flow_del(&mut self, ufid: Ufid) -> Result<DpFlow, DpifError> {
        let holders = self.holders_of(ufid)?;
        self.flows.remove(&ufid);
        let mut flows = Vec::new();
        for thread in holders {
            flows.push(self.ask(thread, move |dp| dp.flow_del(ufid))?);
        }
        // One may have had no room for it when it was moved there.
        let mut flow = together(flows.into_iter().flatten()).ok_or(DpifError::NoSuchFlow(ufid))?;
        self.cards.forget(ufid).into_iter().for_each(|stats| merge(&mut flow.stats, stats));
        Ok(flow)
    }

    fn flow_get(&self, ufid: Ufid) -> Result<DpFlow, DpifError> {
        let mut flows = Vec::new();
        for thread in self.holders_of(ufid)? {
            flows.push(self.look(thread, move |dp| dp.flow_get(ufid))?);
        }
        let mut flow = together(flows.into_iter().flatten()).ok_or(DpifError::NoSuchFlow(ufid))?;
        self.cards.add(&mut flow);
        Ok(flow)
    }

    fn flow_stats(&self, f: &mut dyn FnMut(Ufid, DpFlowStats)) -> Result<(), DpifError> {
        let f = &mut |ufid, mut stats| {
            self.cards.counted(ufid).into_iter().for_each(|more| merge(&mut stats, more));
            f(ufid, stats);
        };
        if self.crew.is_empty() {
            return self.main.flow_stats(f);
        }
        let terse = |dp: &Datapath| {
            let mut all = Vec::new();
            dp.flow_stats(&mut |ufid, stats| all.push((ufid, stats))).map(|()| all)
        };
        let mut all: HashMap<Ufid, DpFlowStats> = HashMap::new();
        for told in self.look_all(terse)? {
            told?.into_iter().for_each(|(ufid, stats)| merge(all.entry(ufid).or_default(), stats));
        }
        all.into_iter().for_each(|(ufid, stats)| f(ufid, stats));
        Ok(())
    }

    fn flow_dump(&self) -> Result<Vec<DpFlow>, DpifError> {
        let (mut all, mut places) = (Vec::<DpFlow>::new(), HashMap::new());
        for told in self.look_all(|dp| dp.flow_dump())? {
            for flow in told? {
                let place = *places.entry(flow.ufid).or_insert(all.len());
                match all.get_mut(place) {
                    Some(known) => merge(&mut known.stats, flow.stats),
                    None => all.push(flow),
                }
            }
        }
        all.iter_mut().for_each(|flow| self.cards.add(flow));
        Ok(all)
    }

    fn flow_flush(&mut self) -> Result<(), DpifError> {
        self.cards.forget_all();
        self.flows.clear();
        self.ask_all(|dp| dp.flow_flush())?.into_iter().collect()
    }

    fn meter_set(&mut self, id: u32, config: &meter::Config) -> Result<(), DpifError> {
        self.main.meter_set(id, config)?;
        self.share_meter(id)
    }

    fn meter_stats(&self, id: u32) -> Result<meter::Stats, DpifError> {
        self.main.meter_stats(id)
    }

    fn meter_del(&mut self, id: u32) -> Result<meter::Stats, DpifError> {
        let stats = self.main.meter_del(id)?;
        self.share_meter(id)?;
        Ok(stats)
    }

    fn bond_set(&mut self, bond: u32, members: &[PortNo; BOND_BUCKETS]) -> Result<(), DpifError> {
        let members = *members;
        self.ask_all(move |dp| dp.bond_set(bond, &members))?.into_iter().collect()
    }

    fn bond_del(&mut self, bond: u32) -> Result<BondStats, DpifError> {
        add_up(self.ask_all(move |dp| dp.bond_del(bond))?, bond)
    }

    fn bond_stats(&self, bond: u32) -> Result<BondStats, DpifError> {
        add_up(self.look_all(move |dp| dp.bond_stats(bond))?, bond)
    }

    fn features(&self) -> Features {
        self.main.features()
    }

    fn conntrack(&mut self) -> Option<&mut dyn Connections> {
        self.main.conntrack()
    }

    /// Forwards what is the control thread's to forward, and takes what workers passed up. Returns how many packets came in
    /// either way.
    fn poll(&mut self, now: Instant, upcalls: &mut Vec<Upcall>) -> usize {
        let known = upcalls.len();
        self.door.answer();
        let mut came = 0;
        for (port, parcel) in self.inbox.try_iter().take(PARCELS) {
            came += parcel.len();
            let lost = self.main.ports.send_out(port, parcel) as u64;
            if lost > 0 {
                self.main_report.report().perf.tx_lost += lost;
            }
        }
        if came > 0 {
            // More may have come than were taken.
            self.door.bell().ring();
        }
        match catch_unwind(AssertUnwindSafe(|| self.main.poll(now, upcalls))) {
            Ok(received) => came += received,
            Err(_) => {
                self.main.recover();
                self.main_report.report().perf.panics += 1;
                came += 1;
            }
        }
        let own = upcalls.len();
        upcalls.extend(self.upcalls.try_iter());
        came += upcalls.len() - own;
        Workers::tell_of_misses(upcalls.get(known..).unwrap_or_default());
        self.balance_queues(now);
        self.settle_accounts();
        came
    }

    fn resolve(&mut self, upcall: Upcall, resolution: Resolution<'_>, now: Instant, upcalls: &mut Vec<Upcall>) {
        let number = upcall.turns.worker();
        let Some(core) = self.crew.iter().find(|(_, worker)| worker.number == number).map(|(core, _)| *core) else {
            // The control thread's, or a worker's that has ended and left it its accounts.
            let mut more = Vec::new();
            self.main.resolve(upcall, resolution, now, &mut more);
            more.iter_mut().for_each(|upcall| upcall.turns.set_worker(0));
            Workers::tell_of_misses(&more);
            upcalls.extend(more);
            return self.settle_accounts();
        };
        let execute = match resolution {
            Resolution::Execute(actions) => Some(actions.to_vec()),
            _ => None,
        };
        let otherwise: Resolution<'static> = match resolution {
            Resolution::Drop(reason) => Resolution::Drop(reason),
            Resolution::Consumed => Resolution::Consumed,
            Resolution::Execute(_) => Resolution::Drop(DropReason::EditFailed),
        };
        let more = self.send(core, move |dp| {
            let mut more = Vec::new();
            dp.resolve(upcall, execute.as_deref().map_or(otherwise, Resolution::Execute), now, &mut more);
            more.iter_mut().for_each(|upcall| upcall.turns.set_worker(number));
            more
        });
        let more = more.unwrap_or_default();
        Workers::tell_of_misses(&more);
        upcalls.extend(more);
        self.settle_accounts();
    }

    fn inject(&mut self, packet: Packet, actions: &[DpAction], now: Instant, upcalls: &mut Vec<Upcall>) {
        let known = upcalls.len();
        self.main.inject(packet, actions, now, upcalls);
        Workers::tell_of_misses(upcalls.get(known..).unwrap_or_default());
        self.settle_accounts();
    }

    fn stats(&self) -> Result<DpStats, DpifError> {
        let told = self.look_all(|dp| dp.stats())?.into_iter().collect::<Result<Vec<_>, _>>()?;
        let sum = |f: fn(&DpStats) -> u64| told.iter().map(f).sum();
        Ok(DpStats {
            hits: sum(|s| s.hits),
            missed: sum(|s| s.missed),
            lost: sum(|s| s.lost),
            probes: Some(sum(|s| s.probes.unwrap_or(0))),
            evicted: sum(|s| s.evicted),
            flows: self.stats_of_flows(),
            masks: told.iter().map(|s| s.masks).max().unwrap_or(0),
            ..DpStats::default()
        })
    }

    fn offload_stats(&self) -> Vec<OffloadStats> {
        self.offload_counts()
    }

    fn events(&self) -> Vec<(&'static str, u64)> {
        let all = self.look_all(|dp| dp.events()).unwrap_or_default();
        let mut threads = all.into_iter();
        let mut sum = threads.next().unwrap_or_default();
        // What connection tracking counts, it counts for all threads together.
        let is_shared = |name: &str| name.starts_with("conntrack_") && name.ends_with("_err");
        for (total, (name, count)) in threads.flat_map(|one| (0..).zip(one)) {
            let known = sum.get_mut(total).filter(|_| !is_shared(name));
            known.into_iter().for_each(|(_, total)| *total += count);
        }
        sum
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn bonds(&self) -> Vec<(u32, [PortNo; BOND_BUCKETS])> {
        self.main.bonds.list()
    }

    fn port_options(&self, port: PortNo) -> Vec<(&'static str, String)> {
        self.main.ports.device(port).map(|device| device.shown_options()).unwrap_or_default()
    }

    fn workers(&self) -> Option<&dyn Threads> {
        Some(self)
    }

    fn workers_mut(&mut self) -> Option<&mut dyn Threads> {
        Some(self)
    }

    fn offload(&self) -> Option<&dyn HwOffload> {
        Some(self)
    }

    fn offload_mut(&mut self) -> Option<&mut dyn HwOffload> {
        Some(self)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.interval_ends()
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let mut fds = self.main.fds();
        fds.push(self.door.as_fd());
        fds
    }
}

impl Workers {
    /// How many megaflows there are, each counted once.
    fn stats_of_flows(&self) -> u64 {
        if self.crew.is_empty() { self.main.flow_count() } else { self.flows.len() as u64 }
    }

    fn share_meter(&mut self, id: u32) -> Result<(), DpifError> {
        let meters = self.main.meters.clone();
        let cores: Vec<u32> = self.crew.keys().copied().collect();
        cores.into_iter().try_for_each(|core| {
            let meters = meters.clone();
            self.send(core, move |dp| dp.meters.share(id, &meters))
        })
    }
}
