//! Which workers there are and which queues each has: as settings and devices say, and anew when these change.
//!
//! Nothing is lost when queues move. The thread that a queue leaves stops to poll it first; then the megaflows of its port,
//! with their counters, go to the threads that have its queues now; then these begin to poll. Packets wait in their
//! device meanwhile. A worker that ends leaves its accounts to the control thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc;

use super::assign::{Plan, Queue, assign};
use super::bell::Bell;
use super::remote::{Mailbox, Remote, Route};
use super::thread::{Shared, Thread};
use super::{Cleared, MAX_WORKERS, PARCELS, Place, Seat, Worker, Workers};
use crate::action::PortNo;
use crate::dpif::{Dpif, DpifError, Ufid};
use crate::netdev::{Netdev, Polling};
use crate::threads::{Assignment, Balance, Core, INTERVALS, MAX_SLEEP, Settings, ThreadId, Threads};

/// What threads and queues are arranged by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Arrangement {
    is_configured: bool,
    cores: Option<Vec<u32>>,
    assignment: Assignment,
    isolate: bool,
    ports: Vec<Arranged>,
}

/// What a port for workers is arranged by.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Arranged {
    port: PortNo,
    queues: usize,
    numa: u32,
    pins: BTreeMap<usize, u32>,
}

impl Workers {
    /// Logs what settings changed, in upstream's words.
    pub(super) fn tell_of_settings(&self, before: Option<&Settings>) {
        let (now, usual) = (&self.settings, Settings::default());
        let known = before.unwrap_or(&usual);
        if known.metrics != now.metrics {
            let word = if now.metrics { "enabled" } else { "disabled" };
            tracing::info!(target: "dpif_netdev", "PMD performance metrics collection {word}");
        }
        if known.assignment != now.assignment {
            let to = now.assignment;
            tracing::info!(target: "dpif_netdev", "Rxq to PMD assignment mode changed to: '{to}'.");
        }
        if known.isolate != now.isolate {
            let word = if now.isolate { "isolates" } else { "does not isolate" };
            tracing::info!(target: "dpif_netdev", "pmd-rxq-affinity {word} PMD core");
        }
        let (balance, was) = (now.balance, before.map(|before| before.balance));
        let minutes = balance.interval.as_secs() / 60;
        let differs = |same: fn(&Balance, &Balance) -> bool| was.is_none_or(|was| !same(&was, &balance));
        if differs(|a, b| a.interval == b.interval) {
            tracing::info!(target: "dpif_netdev", "PMD auto load balance interval set to {minutes} mins");
        }
        let (improvement, load) = (balance.improvement, balance.load);
        if differs(|a, b| a.improvement == b.improvement) {
            tracing::info!(
                target: "dpif_netdev", "PMD auto load balance improvement threshold set to {improvement}%"
            );
        }
        if differs(|a, b| a.load == b.load) {
            tracing::info!(target: "dpif_netdev", "PMD auto load balance load threshold set to {load}%");
        }
        if differs(|a, b| a == b) {
            if balance.on {
                tracing::info!(
                    target: "dpif_netdev",
                    "PMD auto load balance is enabled, interval {minutes} mins, pmd load threshold {load}%, \
                     improvement threshold {improvement}%."
                );
            } else {
                tracing::info!(target: "dpif_netdev", "PMD auto load balance is disabled.");
            }
        }
        if before.is_none_or(|b| b.max_sleep != now.max_sleep || b.core_sleeps != now.core_sleeps) {
            let sleep = now.max_sleep.min(MAX_SLEEP).as_micros();
            tracing::info!(target: "dpif_netdev", "Default PMD thread max sleep: {sleep:4} us.");
            self.crew.iter().for_each(|(core, worker)| self.tell_of_sleep(Core { core: *core, numa: worker.numa }));
        }
    }

    fn tell_of_sleep(&self, Core { core, numa }: Core) {
        let sleep = self.settings.sleep_of(core).as_micros();
        tracing::info!(
            target: "dpif_netdev", "PMD thread on numa_id: {numa}, core id: {core:2}, max sleep: {sleep:4} us."
        );
    }

    /// Whether a port is for workers.
    fn is_for_workers(&self, place: &Place) -> bool {
        match place.polling {
            Polling::Control => false,
            Polling::Worker => true,
            Polling::Either => self.settings.cores.is_some(),
        }
    }

    /// Where workers are to be.
    fn wanted_cores(&self) -> Vec<Core> {
        if !self.is_configured || !self.ports.values().any(|place| self.is_for_workers(place)) {
            return Vec::new();
        }
        let cores: Vec<Core> = match &self.settings.cores {
            Some(cores) => cores.iter().filter_map(|core| self.topology.core(*core)).collect(),
            None => self.topology.first_of_each_node().collect(),
        };
        cores.into_iter().take(MAX_WORKERS).collect()
    }

    /// What there would be to poll, and by whom.
    pub(super) fn plan(&self, cores: &[Core]) -> (Vec<Queue>, Plan) {
        let mut queues = Vec::new();
        for (port, place) in self.ports.iter().filter(|(_, place)| self.is_for_workers(place)) {
            queues.extend((0..place.seats.len()).map(|queue| Queue {
                port: *port,
                name: place.name.clone(),
                queue,
                nanos: match self.settings.assignment {
                    Assignment::RoundRobin => 0,
                    _ => self.balancer.load_of((*port, queue), INTERVALS),
                },
                numa: place.numa,
                pinned: place.pins.get(&queue).copied(),
            }));
        }
        let plan = assign(self.settings.assignment, self.settings.isolate, cores, &queues);
        (queues, plan)
    }

    /// Makes threads and queues what settings and devices say, unless they are that already.
    pub(super) fn arrange(&mut self) {
        self.meet_devices();
        let ports = self.ports.iter().filter(|(_, place)| self.is_for_workers(place));
        let ports = ports.map(|(port, place)| {
            let (queues, pins) = (place.seats.len(), place.pins.clone());
            Arranged { port: *port, queues, numa: place.numa, pins }
        });
        let Settings { cores, assignment, isolate, .. } = &self.settings;
        let arrangement = Arrangement {
            is_configured: self.is_configured,
            cores: cores.clone(),
            assignment: *assignment,
            isolate: *isolate,
            ports: ports.collect(),
        };
        if self.arranged.as_ref() == Some(&arrangement) {
            return;
        }
        let is_first = self.arranged.replace(arrangement).is_none();
        let wanted = self.wanted_cores();
        if is_first && wanted.is_empty() && self.crew.is_empty() {
            return;
        }
        let mut is_changed = false;
        for core in &wanted {
            if !self.crew.contains_key(&core.core) {
                match self.start(*core) {
                    Ok(()) => is_changed = true,
                    Err(e) => tracing::error!(target: "dpif_netdev", "no thread on core {}: {e}", core.core),
                }
            }
        }
        let there: Vec<Core> = wanted.iter().copied().filter(|core| self.crew.contains_key(&core.core)).collect();
        let (queues, plan) = self.plan(&there);
        for remark in plan.remarks.iter().filter(|_| !there.is_empty()) {
            match remark.is_warning {
                true => tracing::warn!(target: "dpif_netdev", "{}", remark.text),
                false => tracing::info!(target: "dpif_netdev", "{}", remark.text),
            }
        }
        for (core, worker) in &mut self.crew {
            worker.isolated = plan.isolated.contains(core);
        }
        // Where nobody else can, the control thread does.
        let queues = if there.is_empty() { Vec::new() } else { queues };
        let seat_of = |core: Option<u32>| core.map_or(Seat::Nobody, |core| Seat::Thread(ThreadId::Core(core)));
        let ports: Vec<PortNo> = self.ports.keys().copied().collect();
        for port in ports {
            let of_port = queues.iter().zip(&plan.cores).filter(|(queue, _)| queue.port == port);
            let mut seats: Vec<Seat> = of_port.map(|(_, core)| seat_of(*core)).collect();
            if let Some(place) = self.ports.get(&port)
                && seats.is_empty()
            {
                seats = vec![Seat::Thread(ThreadId::Main); place.seats.len()];
            }
            if let Err(e) = self.seat(port, seats) {
                tracing::error!(target: "dpif_netdev", "port {port}: {e}");
            }
        }
        let unwanted: Vec<u32> =
            self.crew.keys().copied().filter(|c| !there.iter().any(|core| core.core == *c)).collect();
        for core in unwanted {
            is_changed = true;
            self.end(core);
        }
        if self.crew.is_empty() {
            self.flows.clear();
        }
        if is_changed {
            let mut nodes: Vec<u32> = there.iter().map(|core| core.numa).collect();
            nodes.dedup();
            for node in nodes.into_iter().collect::<BTreeSet<_>>() {
                let n = there.iter().filter(|core| core.numa == node).count();
                tracing::info!(target: "dpif_netdev", "There are {n} pmd threads on numa node {node}");
            }
        }
        self.balancer.begin(&self.crew, (self.hooks.stopwatch)());
    }

    /// Looks how many queues devices have now, and where they are.
    fn meet_devices(&mut self) {
        for (port, place) in self.ports.iter_mut().filter(|(_, place)| place.route.is_none()) {
            let Some(device) = self.main.ports.device(*port) else { continue };
            place.numa = device.numa_node().unwrap_or(0);
            place.seats.resize(device.queues().max(1), Seat::Nobody);
        }
    }

    /// Has a port's queues polled so.
    fn seat(&mut self, port: PortNo, seats: Vec<Seat>) -> Result<(), DpifError> {
        let Some(place) = self.ports.get_mut(&port) else { return Err(DpifError::NoSuchPort(port)) };
        if place.seats == seats {
            return Ok(());
        }
        let before = place.threads();
        let (queues_before, route) = (std::mem::replace(&mut place.seats, seats), place.route.clone());
        let after = place.threads();
        let threads = self.threads();
        let Some(place) = self.ports.get(&port) else { return Err(DpifError::NoSuchPort(port)) };
        let lists: Vec<(ThreadId, Vec<usize>)> = threads.iter().map(|t| (*t, place.queues_of(*t))).collect();
        // First those that poll less.
        for (thread, queues) in &lists {
            let seat = Seat::Thread(*thread);
            let polled = |queue: &usize| queues_before.get(*queue) == Some(&seat);
            let kept: Vec<usize> = queues.iter().copied().filter(polled).collect();
            self.ask(*thread, move |dp| dp.ports.set_queues(port, Some(kept)))?;
        }
        if let (Some(route), Some(from), Some(to)) = (route, before.first(), after.first())
            && from != to
        {
            self.move_device(port, &route, *from, *to)?;
        }
        self.move_flows(port, &before, &after)?;
        for (thread, queues) in lists {
            self.ask(thread, move |dp| dp.ports.set_queues(port, Some(queues)))?;
        }
        Ok(())
    }

    /// Hands a device from one thread to another. Packets on their way to the first are passed on by what it has then.
    fn move_device(&mut self, port: PortNo, route: &Route, from: ThreadId, to: ThreadId) -> Result<(), DpifError> {
        let stub = route.clone();
        let take = move |dp: &mut crate::userspace::Datapath| {
            dp.ports.replace(port, |device| Box::new(Remote::of(device, port, stub)))
        };
        let device = self.ask(from, take)?.ok_or(DpifError::NoSuchPort(port))?;
        let mailbox = match to {
            ThreadId::Main => Some(self.mailbox.clone()),
            ThreadId::Core(core) => self.crew.get(&core).map(|worker| worker.mailbox.clone()),
        };
        mailbox.into_iter().for_each(|mailbox| route.redirect(mailbox));
        self.ask(to, move |dp| drop(dp.ports.replace(port, |_| device)))
    }

    /// Takes the megaflows of a port where its queues went.
    fn move_flows(
        &mut self,
        port: PortNo,
        before: &BTreeSet<ThreadId>,
        after: &BTreeSet<ThreadId>,
    ) -> Result<(), DpifError> {
        let everywhere: Arc<BTreeSet<Ufid>> =
            Arc::new(self.flows.iter().filter(|(_, port)| port.is_none()).map(|(ufid, _)| *ufid).collect());
        let is_of_port = move |ufid: Ufid, of: Option<PortNo>| of == Some(port) && !everywhere.contains(&ufid);
        let joining: Vec<ThreadId> = after.difference(before).copied().collect();
        for (turn, thread) in before.difference(after).enumerate() {
            let wanted = is_of_port.clone();
            let flows = self.ask(*thread, move |dp| dp.take_flows(wanted))?;
            for (place, to) in after.iter().enumerate() {
                // The counters go to one; who has the megaflows already needs no others.
                let flows: Vec<_> = match (place, turn) {
                    (0, _) => flows.clone(),
                    (_, 0) if joining.contains(to) => flows.iter().map(|flow| flow.anew()).collect(),
                    _ => continue,
                };
                self.ask(*to, move |dp| dp.take_over(flows))?;
            }
        }
        if let Some(staying) = before.intersection(after).next()
            && before.is_subset(after)
        {
            let flows = self.look(*staying, move |dp| dp.copy_flows(is_of_port))?;
            for to in joining {
                let flows: Vec<_> = flows.iter().map(|flow| flow.anew()).collect();
                self.ask(to, move |dp| dp.take_over(flows))?;
            }
        }
        Ok(())
    }

    /// Starts a worker, which knows all ports and polls none yet.
    fn start(&mut self, Core { core, numa }: Core) -> std::io::Result<()> {
        let full = || std::io::Error::other("there are too many workers");
        let free = (1..=u8::MAX).map(|step| self.last_number.wrapping_add(step));
        let is_free = |number: &u8| *number != 0 && self.crew.values().all(|worker| worker.number != *number);
        let number = { free }.find(is_free).ok_or_else(full)?;
        self.last_number = number;
        let another = self.main.another(self.seed.wrapping_add(number.into()));
        let mut dp = another.ok_or_else(|| std::io::Error::other("connections belong to one thread"))?;
        for (port, place) in &self.ports {
            let device: Option<Box<dyn Netdev>> = match (self.main.ports.device(*port), &place.route) {
                (Some(device), Some(route)) => Some(Box::new(Remote::of(device, *port, route.clone()))),
                (Some(device), None) => device.another(),
                (None, _) => None,
            };
            if let Some(device) = device {
                // The ports that main has: no two of a number or a name.
                let _ = dp.ports.add(device, Some(*port));
                dp.ports.set_queues(*port, Some(Vec::new()));
            }
        }
        for port in &self.tunnels {
            if let Some(device) = self.main.ports.device(*port).and_then(Netdev::another) {
                let _ = dp.ports.add(device, Some(*port));
                dp.ports.set_queues(*port, Some(Vec::new()));
            }
        }
        if self.crew.is_empty() {
            let owner = |port: Option<PortNo>| port.filter(|port| !self.tunnels.contains(port));
            let known = self.main.copy_flows(|_, _| true).into_iter().map(|flow| (flow.ufid(), owner(flow.port())));
            self.flows = known.collect();
        }
        let everybodys = self.main.copy_flows(|ufid, _| self.flows.get(&ufid) == Some(&None));
        dp.take_over(everybodys.iter().map(|flow| flow.anew()));
        let (jobs, mailbox) = mpsc::channel();
        let (parcels, inbox) = mpsc::sync_channel(PARCELS);
        let shared = Arc::new(Shared::default());
        shared.set_max_sleep(self.settings.sleep_of(core));
        shared.set_metrics(self.settings.metrics);
        shared.set_watch(self.watch);
        let (upcalls, bell): (_, Bell) = (self.to_control.clone(), self.door.bell());
        let hooks = self.hooks.clone();
        let thread = Thread { dp, number, jobs: mailbox, inbox, upcalls, bell, shared: shared.clone(), hooks };
        let starts = self.hooks.starts.clone();
        let thread = std::thread::Builder::new().name(format!("pmd-c{core:02}/id:{number}")).spawn(move || {
            starts(core);
            thread.run();
        })?;
        let cleared = Cleared { at: (self.hooks.clock)(), ..Cleared::default() };
        let mailbox = Mailbox { parcels, bell: None };
        let worker =
            Worker { numa, number, isolated: false, jobs: Some(jobs), shared, mailbox, cleared, thread: Some(thread) };
        self.crew.insert(core, worker);
        tracing::info!(target: "dpif_netdev", "PMD thread on numa_id: {numa}, core id: {core:2} created.");
        self.tell_of_sleep(Core { core, numa });
        Ok(())
    }

    /// Ends a worker that polls nothing any more. What it has of megaflows that everybody has is counted on here.
    fn end(&mut self, core: u32) {
        // A round is between the two, in which it passed on what others sent it for ports that it had.
        let _ = self.send(core, |_| ());
        let left = self.send(core, |dp| (dp.take_flows(|_, _| true), dp.ledger().clone(), dp.stats()));
        let Some(mut worker) = self.crew.remove(&core) else { return };
        worker.join();
        match left {
            Ok((flows, ledger, stats)) => {
                self.main.take_over(flows);
                self.main.inherit(&ledger, stats.unwrap_or_default());
            }
            Err(e) => tracing::error!(target: "dpif_netdev", "{e}: what it had counted is lost"),
        }
        let numa = worker.numa;
        tracing::info!(target: "dpif_netdev", "PMD thread on numa_id: {numa}, core id: {core:2} destroyed.");
    }
}
