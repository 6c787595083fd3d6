//! A datapath that works in several threads.
//!
//! Each worker owns a [`Datapath`], ports, caches, megaflows and all, and shares nothing with the others while it handles
//! packets. What it is asked, it does between two rounds over its ports. [`Workers`] is the one that asks: it stands for
//! them all as one [`Dpif`], gives each port's device to one worker and each megaflow to all of them, and adds up their
//! counters when they are read. With one thread and no workers, a [`Datapath`] is polled by its owner.
//!
//! A packet that leaves by another worker's port goes there through a bounded queue; it counts as forwarded when it is
//! put in, and as [`Perf::tx_lost`] if the device does not take it then.
//!
//! # Rules
//!
//! - Time is asked of the [`Clock`] that the owner gives; nobody here reads one of the system.
//! - Packets that come up wait in a bounded queue for [`Dpif::poll`], which therefore forwards nothing itself.
//! - A call that changes or reads megaflows or ports waits for the round under way, of one batch from each port.
//! - A panic is caught where a round ends: the packets of its batch are dropped as [`DropReason::WorkerPanic`], and the
//!   worker goes on.
//! - Connections and meters are a [`Datapath`]'s own, and would be several here: megaflows with `ct` or `meter` actions are
//!   refused, unless there is one worker.
//!
//! [`DropReason::WorkerPanic`]: crate::DropReason::WorkerPanic

mod assign;
mod perf;
mod remote;
mod thread;

pub use assign::{Assignment, Load, assign};
pub use perf::{Histogram, Perf};

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use ovs_packet::key::{FlowKey, FlowMask};
use ovs_packet::{Instant, Packet};

use super::{Datapath, Limits};
use crate::action::{DpAction, PortNo};
use crate::dpif::{
    DpFlow, DpFlowStats, DpStats, Dpif, DpifError, Features, FlowPut, PortInfo, PortSpec, Resolution, Ufid, Upcall,
};
use crate::drops::{DropReason, Ledger};
use crate::meter::{self, MeterError};
use remote::{Parcel, Remote, Route};
use thread::{Job, Shared, Thread};

/// Tells workers the time. It must not go back, and shares its epoch with the `now` that the owner passes.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// How many parcels of packets wait for a worker that has the port that they leave by.
const PARCELS: usize = 256;

/// The most workers.
const MAX_WORKERS: usize = 256;

/// A datapath that works in several threads. See the [module's rules](self).
pub struct Workers {
    threads: Vec<Worker>,
    ports: BTreeMap<PortNo, Place>,
    inboxes: Arc<[SyncSender<Parcel>]>,
    upcalls: Receiver<Upcall>,
    policy: Assignment,
    isolate: bool,
    received: u64,
    ledger: Ledger,
    /// Whether a port may have no more than so many megaflows or masks.
    has_quotas: bool,
    evicted: Vec<DpFlow>,
}

struct Worker {
    jobs: Option<Sender<Job>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Where a port is.
struct Place {
    owner: Arc<AtomicUsize>,
    pinned: Option<usize>,
    /// What the workers that had it told of its load when it was looked at last.
    seen: u64,
}

/// A port, and the worker that polls it (`pmd-rxq-show`).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WorkerPort {
    /// The port, and for how long it kept its worker busy since ports were assigned last.
    pub load: Load,
    /// The worker.
    pub worker: usize,
}

impl Workers {
    /// So many workers, 1 to 256, each with these limits; see [`Datapath::with_limits`] for `seed`.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub fn new(workers: usize, limits: Limits, seed: u64, clock: Clock) -> std::io::Result<Workers> {
        let workers = workers.clamp(1, MAX_WORKERS);
        let (inboxes, parcels): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::sync_channel(PARCELS)).unzip();
        let (to_control, upcalls) = mpsc::sync_channel(limits.upcalls);
        let mut threads = Vec::new();
        for (number, inbox) in (0u8..).zip(parcels) {
            let (jobs, mailbox) = mpsc::channel();
            let shared = Arc::new(Shared::default());
            let dp = Datapath::with_limits(limits, seed.wrapping_add(number.into()));
            let (upcalls, clock) = (to_control.clone(), clock.clone());
            let thread = Thread { dp, number, jobs: mailbox, inbox, upcalls, shared: shared.clone(), clock };
            let thread = std::thread::Builder::new().name(format!("worker{number}")).spawn(|| thread.run())?;
            threads.push(Worker { jobs: Some(jobs), shared, thread: Some(thread) });
        }
        Ok(Workers {
            threads,
            ports: BTreeMap::new(),
            inboxes: inboxes.into(),
            upcalls,
            policy: Assignment::default(),
            isolate: true,
            received: 0,
            ledger: Ledger::default(),
            has_quotas: limits.port_flows.min(limits.port_masks) < usize::MAX,
            evicted: Vec::new(),
        })
    }

    /// How many workers there are.
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Never: there is a worker at least.
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Which worker polls which port, and the ports' loads.
    pub fn worker_ports(&self) -> Vec<WorkerPort> {
        let loads = self.loads();
        let port = |(port, place): (&PortNo, &Place)| {
            let nanos = loads.get(port).copied().unwrap_or(0).saturating_sub(place.seen);
            let load = Load { port: *port, nanos, pinned: place.pinned };
            WorkerPort { load, worker: place.owner.load(Ordering::Acquire) }
        };
        self.ports.iter().map(port).collect()
    }

    /// Sets how ports are dealt out, from the next port or [rebalance](Self::rebalance) on, and whether workers that
    /// ports are pinned to get others too.
    pub fn set_assignment(&mut self, policy: Assignment, isolate: bool) {
        (self.policy, self.isolate) = (policy, isolate);
    }

    /// Pins a port to a worker, from the next [rebalance](Self::rebalance) on, or to none.
    ///
    /// # Errors
    /// If there is no such port.
    pub fn pin(&mut self, port: PortNo, worker: Option<usize>) -> Result<(), DpifError> {
        self.ports.get_mut(&port).ok_or(DpifError::NoSuchPort(port))?.pinned = worker;
        Ok(())
    }

    /// Assigns all ports anew, by what their loads were since the last time, and moves those that another worker is to
    /// poll. Returns how many moved.
    ///
    /// # Errors
    /// If a worker fails.
    pub fn rebalance(&mut self) -> Result<usize, DpifError> {
        let now = self.worker_ports();
        let loads: Vec<Load> = now.iter().map(|port| port.load).collect();
        let wanted = assign(self.policy, &loads, self.len(), self.isolate);
        let mut moved = 0;
        for (port, to) in now.iter().zip(wanted) {
            if port.worker != to {
                self.move_port(port.load.port, port.worker, to)?;
                moved += 1;
            }
        }
        let totals = self.loads();
        for (port, place) in &mut self.ports {
            place.seen = totals.get(port).copied().unwrap_or(0);
        }
        Ok(moved)
    }

    /// Hands a device from one worker to another. Packets on their way to the first are passed on by what it has then.
    fn move_port(&mut self, port: PortNo, from: usize, to: usize) -> Result<(), DpifError> {
        let Some(place) = self.ports.get(&port) else { return Err(DpifError::NoSuchPort(port)) };
        let owner = place.owner.clone();
        let route = Route { port, owner: owner.clone(), inboxes: self.inboxes.clone() };
        let device = self.ask(from, move |dp| dp.ports.replace(port, |device| Box::new(Remote::of(device, route))))?;
        let device = device.ok_or(DpifError::NoSuchPort(port))?;
        owner.store(to, Ordering::Release);
        self.ask(to, move |dp| drop(dp.ports.replace(port, |_| device)))
    }

    /// How long workers sleep at most when they have little to do; zero, as at first, is not at all.
    pub fn set_max_sleep(&mut self, max: Duration) {
        self.threads.iter().for_each(|worker| worker.shared.set_max_sleep(max));
    }

    /// What a worker did; `None` if there is no such worker.
    pub fn perf(&self, worker: usize) -> Option<Perf> {
        Some(self.threads.get(worker)?.shared.report().perf.clone())
    }

    /// Counts a worker's work anew.
    pub fn clear_perf(&mut self, worker: usize) {
        if let Some(worker) = self.threads.get(worker) {
            worker.shared.report().perf = Perf::default();
        }
    }

    /// How long each port kept workers busy, ever.
    fn loads(&self) -> BTreeMap<PortNo, u64> {
        let mut loads = BTreeMap::new();
        for worker in &self.threads {
            for (port, nanos) in &worker.shared.report().loads {
                *loads.entry(*port).or_default() += nanos;
            }
        }
        loads
    }

    /// Has a worker do something between two rounds, and waits for the answer.
    fn ask<T: Send + 'static>(
        &self,
        worker: usize,
        job: impl FnOnce(&mut Datapath) -> T + Send + 'static,
    ) -> Result<T, DpifError> {
        let failed = DpifError::WorkerFailed(worker);
        let (reply, answer) = mpsc::channel();
        let Some(Worker { jobs: Some(jobs), thread: Some(thread), .. }) = self.threads.get(worker) else {
            return Err(failed);
        };
        let job = move |dp: &mut Datapath| drop(reply.send(job(dp)));
        if jobs.send(Box::new(job)).is_err() {
            return Err(failed);
        }
        thread.thread().unpark();
        answer.recv().map_err(|_| failed)
    }

    /// Has all workers do the same; the answers are in their order.
    fn ask_all<T: Send + 'static>(
        &self,
        job: impl Fn(&mut Datapath) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, DpifError> {
        (0..self.len()).map(|worker| self.ask(worker, job.clone())).collect()
    }

    /// Adds up the accounts as they are now. Those of a worker that fails stay as they were told last.
    fn balance(&mut self) {
        let mut ledger = Ledger::default();
        for (number, worker) in self.threads.iter().enumerate() {
            let told = self.ask(number, |dp| dp.ledger().clone());
            ledger.merge(&told.unwrap_or_else(|_| worker.shared.report().ledger.clone()));
        }
        self.ledger = ledger;
    }

    /// Removes from all workers the megaflows that any of them evicted: each knows only how it used them itself.
    fn evict(&mut self) -> Result<(), DpifError> {
        for mut flow in self.ask_all(|dp| dp.take_evicted())?.into_iter().flatten() {
            let ufid = flow.ufid;
            for other in self.ask_all(move |dp| dp.flow_del(ufid))?.into_iter().flatten() {
                merge(&mut flow.stats, other.stats);
            }
            self.evicted.push(flow);
        }
        let beyond = self.evicted.len().saturating_sub(super::MAX_EVICTED);
        self.evicted.drain(..beyond);
        Ok(())
    }

    /// What one worker only can execute.
    fn check(&self, actions: &[DpAction]) -> Result<(), DpifError> {
        if self.len() == 1 {
            return Ok(());
        }
        actions.iter().try_for_each(|action| match action {
            DpAction::Ct(_) => Err(DpifError::Unsupported("ct with several workers")),
            DpAction::Meter(_) => Err(DpifError::Unsupported("meter with several workers")),
            action => action.nested().try_for_each(|list| self.check(list)),
        })
    }
}

/// A megaflow as all workers have it: their counters together.
fn together(flows: Vec<DpFlow>) -> Option<DpFlow> {
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
        let PortSpec::Device(device) = spec else { return Err(DpifError::Unsupported("ports of the kernel's")) };
        let new = Load { port: PortNo(u32::MAX), nanos: 0, pinned: None };
        let loads: Vec<Load> = self.worker_ports().into_iter().map(|port| port.load).chain([new]).collect();
        let to = assign(self.policy, &loads, self.len(), self.isolate).last().copied().unwrap_or(0);
        let owner = Arc::new(AtomicUsize::new(to));
        let mut route = Route { port: PortNo::LOCAL, owner: owner.clone(), inboxes: self.inboxes.clone() };
        let stub = Remote::of(&*device, route.clone());
        let port = self.ask(to, move |dp| dp.port_add(PortSpec::Device(device), wanted))??;
        route.port = port;
        let stub = stub.with_route(route);
        for worker in (0..self.len()).filter(|worker| *worker != to) {
            let stub = stub.clone();
            self.ask(worker, move |dp| dp.port_add(PortSpec::Device(Box::new(stub)), Some(port)))??;
        }
        let seen = self.loads().get(&port).copied().unwrap_or(0);
        self.ports.insert(port, Place { owner, pinned: None, seen });
        Ok(port)
    }

    fn port_del(&mut self, port: PortNo) -> Result<(), DpifError> {
        self.ports.remove(&port).ok_or(DpifError::NoSuchPort(port))?;
        self.ask_all(move |dp| dp.port_del(port))?.into_iter().collect()
    }

    fn ports(&self) -> Result<Vec<PortInfo>, DpifError> {
        let told = self.ask_all(|dp| dp.ports())?.into_iter().collect::<Result<Vec<_>, _>>()?;
        let is_owner = |worker: usize, port: &PortInfo| {
            self.ports.get(&port.port).is_some_and(|place| place.owner.load(Ordering::Acquire) == worker)
        };
        let told = told.into_iter().enumerate();
        let mut ports: Vec<_> =
            told.flat_map(|(worker, ports)| ports.into_iter().filter(move |port| is_owner(worker, port))).collect();
        ports.sort_by_key(|port| port.port);
        Ok(ports)
    }

    fn flow_put(&mut self, key: &FlowKey, mask: &FlowMask, actions: &[DpAction]) -> Result<Ufid, DpifError> {
        self.flow_install(&FlowPut::new(key, mask, actions))
    }

    fn flow_install(&mut self, put: &FlowPut<'_>) -> Result<Ufid, DpifError> {
        self.check(put.actions)?;
        let told: Arc<(FlowKey, FlowMask, Vec<DpAction>)> = Arc::new((*put.key, *put.mask, put.actions.to_vec()));
        let FlowPut { ufid: own, mode, zero_stats, .. } = *put;
        // All have the same megaflows: what the first takes, the others do.
        let mut ufid = Err(DpifError::WorkerFailed(0));
        for worker in 0..self.len() {
            let told = told.clone();
            ufid = self.ask(worker, move |dp| {
                let (key, mask, actions) = &*told;
                dp.flow_install(&FlowPut { key, mask, actions, ufid: own, mode, zero_stats })
            })?;
            if ufid.is_err() {
                break;
            }
        }
        if self.has_quotas {
            self.evict()?;
        }
        ufid
    }

    fn flow_make_room(&mut self, port: PortNo, rivals: Option<&[PortNo]>) -> bool {
        // All have the same megaflows: one says which goes.
        let rivals = rivals.map(<[PortNo]>::to_vec);
        let made = self.ask(0, move |dp| dp.flow_make_room(port, rivals.as_deref())).unwrap_or(false);
        made && self.evict().is_ok()
    }

    fn take_evicted(&mut self) -> Vec<DpFlow> {
        std::mem::take(&mut self.evicted)
    }

    fn publish(&mut self) -> u64 {
        self.ask_all(|dp| dp.publish()).ok().and_then(|versions| versions.into_iter().max()).unwrap_or(0)
    }

    fn flow_keep(&mut self, ufid: Ufid) -> Result<(), DpifError> {
        self.ask_all(move |dp| dp.flow_keep(ufid))?.into_iter().collect()
    }

    fn flow_del(&mut self, ufid: Ufid) -> Result<DpFlow, DpifError> {
        let flows = self.ask_all(move |dp| dp.flow_del(ufid))?;
        together(flows.into_iter().collect::<Result<_, _>>()?).ok_or(DpifError::NoSuchFlow(ufid))
    }

    fn flow_get(&self, ufid: Ufid) -> Result<DpFlow, DpifError> {
        let flows = self.ask_all(move |dp| dp.flow_get(ufid))?;
        together(flows.into_iter().collect::<Result<_, _>>()?).ok_or(DpifError::NoSuchFlow(ufid))
    }

    fn flow_stats(&self, f: &mut dyn FnMut(Ufid, DpFlowStats)) -> Result<(), DpifError> {
        let terse = |dp: &mut Datapath| {
            let mut all = Vec::new();
            dp.flow_stats(&mut |ufid, stats| all.push((ufid, stats))).map(|()| all)
        };
        let mut all: HashMap<Ufid, DpFlowStats> = HashMap::new();
        for told in self.ask_all(terse)? {
            told?.into_iter().for_each(|(ufid, stats)| merge(all.entry(ufid).or_default(), stats));
        }
        all.into_iter().for_each(|(ufid, stats)| f(ufid, stats));
        Ok(())
    }

    fn flow_dump(&self) -> Result<Vec<DpFlow>, DpifError> {
        let mut all: BTreeMap<Ufid, DpFlow> = BTreeMap::new();
        for told in self.ask_all(|dp| dp.flow_dump())? {
            for flow in told? {
                match all.get_mut(&flow.ufid) {
                    Some(known) => merge(&mut known.stats, flow.stats),
                    None => drop(all.insert(flow.ufid, flow)),
                }
            }
        }
        Ok(all.into_values().collect())
    }

    fn flow_flush(&mut self) -> Result<(), DpifError> {
        self.ask_all(|dp| dp.flow_flush())?.into_iter().collect()
    }

    fn meter_set(&mut self, id: u32, config: &meter::Config) -> Result<(), DpifError> {
        if self.len() > 1 {
            return Err(DpifError::Unsupported("meter with several workers"));
        }
        let config = config.clone();
        self.ask(0, move |dp| dp.meter_set(id, &config))?
    }

    fn meter_stats(&self, id: u32) -> Result<meter::Stats, DpifError> {
        match self.len() {
            1 => self.ask(0, move |dp| dp.meter_stats(id))?,
            _ => Err(MeterError::NoSuchMeter(id).into()),
        }
    }

    fn meter_del(&mut self, id: u32) -> Result<meter::Stats, DpifError> {
        match self.len() {
            1 => self.ask(0, move |dp| dp.meter_del(id))?,
            _ => Err(MeterError::NoSuchMeter(id).into()),
        }
    }

    fn features(&self) -> Features {
        let one = self.ask(0, |dp| dp.features()).unwrap_or(Features::NONE);
        if self.len() == 1 { one } else { Features { meters: 0, meter_bands: 0, ct_clear: false, ..one } }
    }

    /// Takes what workers passed up. Returns how many packets they received since the last call.
    fn poll(&mut self, _: Instant, upcalls: &mut Vec<Upcall>) -> usize {
        self.balance();
        upcalls.extend(self.upcalls.try_iter());
        let news = self.ledger.received - self.received;
        self.received = self.ledger.received;
        usize::try_from(news).unwrap_or(usize::MAX)
    }

    fn resolve(&mut self, upcall: Upcall, resolution: Resolution<'_>, now: Instant, upcalls: &mut Vec<Upcall>) {
        let worker = upcall.turns.worker();
        let execute = match resolution {
            Resolution::Execute(actions) if self.check(actions).is_ok() => Some(actions.to_vec()),
            _ => None,
        };
        let otherwise: Resolution<'static> = match resolution {
            Resolution::Drop(reason) => Resolution::Drop(reason),
            Resolution::Consumed => Resolution::Consumed,
            Resolution::Execute(_) => Resolution::Drop(DropReason::EditFailed),
        };
        let more = self.ask(worker.into(), move |dp| {
            let mut more = Vec::new();
            dp.resolve(upcall, execute.as_deref().map_or(otherwise, Resolution::Execute), now, &mut more);
            more.iter_mut().for_each(|upcall| upcall.turns.set_worker(worker));
            more
        });
        upcalls.extend(more.unwrap_or_default());
        self.balance();
    }

    fn inject(&mut self, packet: Packet, actions: &[DpAction], now: Instant, upcalls: &mut Vec<Upcall>) {
        let actions = if self.check(actions).is_ok() { actions.to_vec() } else { Vec::new() };
        let more = self.ask(0, move |dp| {
            let mut more = Vec::new();
            dp.inject(packet, &actions, now, &mut more);
            more
        });
        upcalls.extend(more.unwrap_or_default());
        self.balance();
    }

    fn stats(&self) -> Result<DpStats, DpifError> {
        let told = self.ask_all(|dp| dp.stats())?.into_iter().collect::<Result<Vec<_>, _>>()?;
        // Each has all megaflows, and its own lookups.
        let sum = |f: fn(&DpStats) -> u64| told.iter().map(f).sum();
        let most = |f: fn(&DpStats) -> u64| told.iter().map(f).max().unwrap_or(0);
        Ok(DpStats {
            hits: sum(|s| s.hits),
            missed: sum(|s| s.missed),
            lost: sum(|s| s.lost),
            probes: Some(sum(|s| s.probes.unwrap_or(0))),
            evicted: sum(|s| s.evicted),
            flows: most(|s| s.flows),
            masks: most(|s| s.masks),
            ..DpStats::default()
        })
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl Drop for Workers {
    /// Ends the threads, each behind the round that it is in.
    fn drop(&mut self) {
        for worker in &mut self.threads {
            worker.jobs = None;
        }
        for thread in self.threads.iter_mut().filter_map(|worker| worker.thread.take()) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owners = self.ports.iter().map(|(port, place)| (port, place.owner.load(Ordering::Relaxed)));
        f.debug_struct("Workers")
            .field("workers", &self.len())
            .field("ports", &owners.collect::<Vec<_>>())
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

/// Adds up what workers counted of one megaflow.
fn merge(a: &mut DpFlowStats, b: DpFlowStats) {
    a.packets += b.packets;
    a.bytes += b.bytes;
    a.used = a.used.max(b.used);
    a.tcp_flags |= b.tcp_flags;
}

#[cfg(test)]
mod tests;
