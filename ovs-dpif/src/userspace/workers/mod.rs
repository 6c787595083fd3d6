//! A datapath that works in several threads.
//!
//! The *control thread* is the one that has the [`Workers`]; it polls the ports that need no thread of their own, in
//! [`Dpif::poll`]. *Workers* are threads on cores, as [`Settings`] say, that poll receive queues without end. There are as
//! many as are asked for and needed, which may be none: then all is done in the control thread, and a `Workers` costs
//! nothing over a [`Datapath`]; so it is until it is [configured](Workers::configure).
//!
//! Each thread owns a [`Datapath`] with caches and megaflows, and shares nothing with others while it handles packets, but for
//! what packets of several may mean together: connections, fragments that are put together, and meters. What a worker is
//! asked, it does between two rounds over its queues. [`Workers`] stands for all threads as one [`Dpif`]: it gives every
//! receive queue to a thread, every megaflow to the threads that receive what it is for, and adds up their counters when
//! they are read.
//!
//! A device with [handles](crate::netdev::Netdev::another) for several threads is sent to by each of them. Of another, one thread has the
//! device, and what others send goes there through a bounded queue; it counts as forwarded when it is put in, and as
//! [`Perf::tx_lost`] if the device does not take it then.
//!
//! # Rules
//!
//! - Time is asked of the [`Hooks`] that the owner gives; nobody here reads a clock of the system.
//! - Packets that come up wait in a bounded queue for [`Dpif::poll`]; one of [`Dpif::fds`] becomes readable then.
//! - A call that changes or reads megaflows or ports waits for the rounds under way, of one batch from each queue.
//! - A panic is caught where a round ends: the packets of its batch are dropped as [`DropReason::WorkerPanic`], and the
//!   thread goes on.
//! - Megaflows match their port wholly. They are where that port's queues are, and go with them; those that are put
//!   [everywhere](crate::FlowPut::everywhere) are in all threads.
//!
//! ```
//! use ovs_dpif::netdev::{DummyPort, Netdev};
//! use ovs_dpif::userspace::Limits;
//! use ovs_dpif::userspace::workers::{Hooks, Settings, Topology, Workers};
//! use ovs_dpif::{Dpif, PortSpec};
//! use ovs_packet::{EthAddr, Instant};
//!
//! let mut dp = Workers::new(Limits::default(), 1, Topology::uniform(2), Hooks::new(|| Instant::ZERO))?;
//! let (port, control) = DummyPort::new("p1", "dummy-pmd", EthAddr::local(1));
//! control.set_queues(3);
//! dp.port_add(PortSpec::Device(Box::new(port)), None)?;
//! let mut settings = Settings::default();
//! settings.cores = Some(vec![0, 1]);
//! dp.configure(settings);
//! let queues: Vec<usize> = dp.crew().map(|worker| worker.queues.len()).collect();
//! assert_eq!(queues, [1, 2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`DropReason::WorkerPanic`]: crate::DropReason::WorkerPanic

mod assign;
mod balance;
pub(crate) mod bell;
mod cards;
mod crew;
mod dpif;
mod perf;
mod remote;
mod settings;
mod thread;
mod topology;
mod watch;

pub use assign::{Assignment, Plan, Queue, Remark, assign};
pub use perf::{HISTORY, Histogram, Metrics, Perf, Performance, Sample, iterations_table};
pub use settings::{Balance, MAX_SLEEP, Settings};
pub use topology::{Core, Topology, TopologyError};
pub use watch::Watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use ovs_packet::Instant;

use super::several::Work;
use super::{Datapath, Limits};
use crate::action::PortNo;
use crate::dpif::{DpFlow, Dpif, DpifError, Ufid, Upcall};
use crate::drops::Ledger;
use crate::netdev::Polling;
use balance::Balancer;
use bell::Door;
use remote::{Mailbox, Parcel, Route};
use thread::{Job, Shared};

/// Tells the time. It must not go back.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// How many parcels of packets wait for a thread that has the port that they leave by.
const PARCELS: usize = 256;

/// The most workers.
const MAX_WORKERS: usize = 255;

/// What threads ask of whoever owns the datapath.
#[derive(Clone)]
#[non_exhaustive]
pub struct Hooks {
    /// The time, with the epoch of the `now` that the owner passes.
    pub clock: Clock,
    /// A clock that goes on while the other is stopped or warped: what work is measured by.
    pub stopwatch: Clock,
    /// Called in a worker's thread before all else, with its core: for the owner to bind the thread to it.
    pub starts: Arc<dyn Fn(u32) + Send + Sync>,
}

impl Hooks {
    /// A clock that is also what work is measured by, and threads that run where the system likes.
    pub fn new(clock: impl Fn() -> Instant + Send + Sync + 'static) -> Hooks {
        let clock: Clock = Arc::new(clock);
        Hooks { stopwatch: clock.clone(), clock, starts: Arc::new(|_| {}) }
    }

    /// The same with another clock to measure work by.
    #[must_use]
    pub fn with_stopwatch(self, stopwatch: impl Fn() -> Instant + Send + Sync + 'static) -> Hooks {
        Hooks { stopwatch: Arc::new(stopwatch), ..self }
    }

    /// The same with something to do in each worker's thread, which is told its core, before all else.
    #[must_use]
    pub fn with_start(self, starts: impl Fn(u32) + Send + Sync + 'static) -> Hooks {
        Hooks { starts: Arc::new(starts), ..self }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// A thread of a datapath.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ThreadId {
    /// The control thread.
    Main,
    /// The worker on this core.
    Core(u32),
}

/// A datapath that works in several threads. See the [module's rules](self).
pub struct Workers {
    main: Datapath,
    main_report: Arc<Shared>,
    main_cleared: Cleared,
    crew: BTreeMap<u32, Worker>,
    limits: Limits,
    seed: u64,
    hooks: Hooks,
    topology: Topology,
    settings: Settings,
    watch: Watch,
    /// Whether settings were given.
    is_configured: bool,
    ports: BTreeMap<PortNo, Place>,
    /// Ports that stand for tunnels. All threads know them, and none polls them.
    tunnels: BTreeSet<PortNo>,
    /// What threads and queues were last arranged by.
    arranged: Option<crew::Arrangement>,
    /// The megaflows, and whose packets each is for: none is everybody's. Kept while there are workers.
    flows: HashMap<Ufid, Option<PortNo>>,
    door: Door,
    mailbox: Mailbox,
    inbox: Receiver<Parcel>,
    to_control: SyncSender<Upcall>,
    upcalls: Receiver<Upcall>,
    ledger: Ledger,
    evicted: Vec<DpFlow>,
    last_number: u8,
    balancer: Balancer,
    cards: cards::Cards,
}

/// A worker, as the control thread has it.
struct Worker {
    numa: u32,
    /// What upcalls are marked with.
    number: u8,
    isolated: bool,
    jobs: Option<Sender<Job>>,
    shared: Arc<Shared>,
    mailbox: Mailbox,
    cleared: Cleared,
    thread: Option<JoinHandle<()>>,
}

/// When a thread's counters were cleared, and what it had done by then.
#[derive(Clone, Copy, Default)]
struct Cleared {
    at: Instant,
    work: Work,
}

/// Which thread polls a queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Seat {
    Thread(ThreadId),
    Nobody,
}

/// A port.
struct Place {
    name: String,
    polling: Polling,
    numa: u32,
    /// The way to the device, if there is one handle on it only.
    route: Option<Route>,
    /// The cores that queues are pinned to.
    pins: BTreeMap<usize, u32>,
    /// By queue.
    seats: Vec<Seat>,
}

impl Place {
    /// The threads that receive its packets: the control thread, if nobody does.
    fn threads(&self) -> BTreeSet<ThreadId> {
        let mut threads: BTreeSet<ThreadId> = self
            .seats
            .iter()
            .filter_map(|seat| match seat {
                Seat::Thread(thread) => Some(*thread),
                Seat::Nobody => None,
            })
            .collect();
        if threads.is_empty() {
            threads.insert(ThreadId::Main);
        }
        threads
    }

    /// The queues that a thread polls.
    fn queues_of(&self, thread: ThreadId) -> Vec<usize> {
        let of = |(_, seat): &(usize, &Seat)| **seat == Seat::Thread(thread);
        self.seats.iter().enumerate().filter(of).map(|(queue, _)| queue).collect()
    }
}

/// A receive queue of a worker, and how busy it kept it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WorkerQueue {
    /// The port.
    pub port: PortNo,
    /// The port's name.
    pub name: String,
    /// Which of the port's queues.
    pub queue: usize,
    /// For how many nanoseconds of the intervals that were asked for it kept the worker busy.
    pub nanos: u64,
}

/// A worker, its queues, and how busy it was.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Where it runs.
    pub core: Core,
    /// Whether it polls queues that are pinned to it and no others.
    pub isolated: bool,
    /// How long it sleeps at most.
    pub max_sleep: Duration,
    /// Its queues, by name and number.
    pub queues: Vec<WorkerQueue>,
    /// For how many nanoseconds of the intervals that were asked for it was busy.
    pub busy: u64,
    /// How many nanoseconds these intervals are; zero as long as none is over.
    pub total: u64,
}

impl Workers {
    /// A datapath without ports and workers on a machine with these cores; see [`Datapath::with_limits`] for `seed`.
    ///
    /// # Errors
    /// If the system has no descriptors left.
    pub fn new(limits: Limits, seed: u64, topology: Topology, hooks: Hooks) -> std::io::Result<Workers> {
        let door = Door::new()?;
        let (parcels, inbox) = mpsc::sync_channel(PARCELS);
        let (to_control, upcalls) = mpsc::sync_channel(limits.upcalls);
        Ok(Workers {
            main: Datapath::first_of_several(limits, seed),
            main_report: Arc::default(),
            main_cleared: Cleared { at: (hooks.clock)(), ..Cleared::default() },
            crew: BTreeMap::new(),
            limits,
            seed,
            hooks,
            topology,
            settings: Settings::default(),
            watch: Watch::default(),
            is_configured: false,
            ports: BTreeMap::new(),
            tunnels: BTreeSet::new(),
            arranged: None,
            flows: HashMap::new(),
            cards: cards::Cards::default(),
            mailbox: Mailbox { parcels, bell: Some(door.bell()) },
            door,
            inbox,
            to_control,
            upcalls,
            ledger: Ledger::default(),
            evicted: Vec::new(),
            last_number: 0,
            balancer: Balancer::default(),
        })
    }

    /// This, under a name of its own in the log, such as `netdev@ovs-netdev`.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Workers {
        self.main.name = name.into();
        self
    }

    // Queries.

    /// The threads: the control thread first.
    pub fn threads(&self) -> impl Iterator<Item = ThreadId> {
        std::iter::once(ThreadId::Main).chain(self.crew.keys().map(|core| ThreadId::Core(*core)))
    }

    /// The workers by core, and how busy they were in all [intervals](Self::INTERVALS) that are remembered.
    pub fn crew(&self) -> impl Iterator<Item = WorkerInfo> {
        self.crew_over(Workers::INTERVALS)
    }

    /// The workers by core, and how busy they were in the last intervals, so many of them.
    pub fn crew_over(&self, intervals: usize) -> impl Iterator<Item = WorkerInfo> {
        self.crew.iter().map(move |(core, worker)| {
            let thread = ThreadId::Core(*core);
            let queues = self.ports.iter().flat_map(|(port, place)| {
                let nanos = |queue| self.balancer.load_of((*port, queue), intervals);
                let of = move |queue| (port, place.name.clone(), queue, nanos(queue));
                place.queues_of(thread).into_iter().map(of)
            });
            let mut queues: Vec<WorkerQueue> =
                queues.map(|(port, name, queue, nanos)| WorkerQueue { port: *port, name, queue, nanos }).collect();
            queues.sort_by(|a, b| (&a.name, a.queue).cmp(&(&b.name, b.queue)));
            let (busy, total) = self.balancer.busy_of(*core, intervals);
            WorkerInfo {
                core: Core { core: *core, numa: worker.numa },
                isolated: worker.isolated,
                max_sleep: self.settings.sleep_of(*core),
                queues,
                busy,
                total,
            }
        })
    }

    /// How workers are to work.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The cores of the machine.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The options that a port's device tells back.
    pub fn shown_options(&self, port: PortNo) -> Vec<(&'static str, String)> {
        self.main.ports.device(port).map(|device| device.shown_options()).unwrap_or_default()
    }

    /// The megaflows of one thread; nothing if there is no such thread.
    pub fn flows_of(&self, thread: ThreadId) -> Vec<DpFlow> {
        let mut flows = self.look(thread, |dp| dp.flow_dump()).and_then(|flows| flows).unwrap_or_default();
        for flow in flows.iter_mut().filter(|flow| self.is_first_holder(thread, flow.ufid)) {
            self.cards.add(flow);
        }
        flows
    }

    /// What a thread did since it was [cleared](Self::clear_perf); `None` if there is no such thread.
    pub fn performance(&self, thread: ThreadId) -> Option<Performance> {
        let (shared, cleared) = match thread {
            ThreadId::Main => (&self.main_report, self.main_cleared),
            ThreadId::Core(core) => self.crew.get(&core).map(|worker| (&worker.shared, worker.cleared))?,
        };
        let (now, before) = (self.look(thread, |dp| dp.work()).ok()?, cleared.work);
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let hits = since(now.stats.hits, before.stats.hits);
        let missed = since(now.stats.missed, before.stats.missed);
        // A packet that came with its megaflow's mark is not counted as found otherwise.
        let marked = since(now.marked, before.marked).min(hits);
        let cached = since(now.cached, before.cached).min(hits - marked);
        Some(Performance {
            since: cleared.at,
            perf: shared.report().perf.clone(),
            received: since(now.received, before.received),
            passes: hits + missed,
            cached,
            marked,
            found: hits - cached - marked,
            probes: since(now.stats.probes.unwrap_or(0), before.stats.probes.unwrap_or(0)),
            missed,
            lost: since(now.stats.lost, before.stats.lost),
            sent_packets: since(now.sent_packets, before.sent_packets),
            sent_batches: since(now.sent_batches, before.sent_batches),
        })
    }

    /// Counts a thread's work anew.
    pub fn clear_perf(&mut self, thread: ThreadId) {
        let Ok(work) = self.look(thread, |dp| dp.work()) else { return };
        let cleared = Cleared { at: (self.hooks.clock)(), work };
        match thread {
            ThreadId::Main => {
                self.main_report.clear_perf();
                self.main_cleared = cleared;
            }
            ThreadId::Core(core) => {
                if let Some(worker) = self.crew.get_mut(&core) {
                    worker.shared.clear_perf();
                    worker.cleared = cleared;
                }
            }
        }
    }

    /// What of their rounds workers tell in the log.
    pub fn watch(&self) -> Watch {
        self.watch
    }

    /// Has workers tell, while [metrics](Settings::metrics) are kept, what of their rounds is suspicious.
    pub fn set_watch(&mut self, watch: Watch) {
        self.watch = watch.bounded();
        self.crew.values().for_each(|worker| worker.shared.set_watch(watch));
    }

    // Errands.

    /// Has a thread do something, a worker between two rounds, and waits for the answer.
    fn ask<T: Send + 'static>(
        &mut self,
        thread: ThreadId,
        job: impl FnOnce(&mut Datapath) -> T + Send + 'static,
    ) -> Result<T, DpifError> {
        match thread {
            ThreadId::Main => Ok(job(&mut self.main)),
            ThreadId::Core(core) => self.send(core, job),
        }
    }

    /// Has a thread look something up.
    fn look<T: Send + 'static>(
        &self,
        thread: ThreadId,
        job: impl FnOnce(&Datapath) -> T + Send + 'static,
    ) -> Result<T, DpifError> {
        match thread {
            ThreadId::Main => Ok(job(&self.main)),
            ThreadId::Core(core) => self.send(core, |dp| job(dp)),
        }
    }

    fn send<T: Send + 'static>(
        &self,
        core: u32,
        job: impl FnOnce(&mut Datapath) -> T + Send + 'static,
    ) -> Result<T, DpifError> {
        let worker = self.crew.get(&core).ok_or(DpifError::WorkerFailed(core as usize))?;
        worker.send(core, job)
    }

    /// Has all threads do the same; the answers are in their order.
    fn ask_all<T: Send + 'static>(
        &mut self,
        job: impl Fn(&mut Datapath) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, DpifError> {
        let main = job(&mut self.main);
        let others = self.crew.iter().map(|(core, worker)| worker.send(*core, job.clone()));
        std::iter::once(Ok(main)).chain(others).collect()
    }

    /// Has all threads look the same up.
    fn look_all<T: Send + 'static>(
        &self,
        job: impl Fn(&Datapath) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, DpifError> {
        let main = job(&self.main);
        let others = self.crew.iter().map(|(core, worker)| {
            let job = job.clone();
            worker.send(*core, move |dp| job(dp))
        });
        std::iter::once(Ok(main)).chain(others).collect()
    }
}

impl Worker {
    fn send<T: Send + 'static>(
        &self,
        core: u32,
        job: impl FnOnce(&mut Datapath) -> T + Send + 'static,
    ) -> Result<T, DpifError> {
        let failed = DpifError::WorkerFailed(core as usize);
        let (reply, answer) = mpsc::channel();
        let (Some(jobs), Some(thread)) = (&self.jobs, &self.thread) else { return Err(failed) };
        let job = move |dp: &mut Datapath, shared: &Shared| {
            let told = job(dp);
            shared.report().ledger = dp.ledger().clone();
            drop(reply.send(told));
        };
        if jobs.send(Box::new(job)).is_err() {
            return Err(failed);
        }
        thread.thread().unpark();
        answer.recv().map_err(|_| failed)
    }
}

impl Drop for Workers {
    /// Ends the threads, each behind the round that it is in.
    fn drop(&mut self) {
        self.crew.values_mut().for_each(|worker| worker.jobs = None);
        self.crew.values_mut().for_each(Worker::join);
    }
}

impl Worker {
    /// Waits for the end of a thread that nobody can ask for anything any more.
    fn join(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seats = self.ports.iter().map(|(port, place)| (port, &place.seats));
        f.debug_struct("Workers")
            .field("main", &self.main)
            .field("workers", &self.crew.keys().collect::<Vec<_>>())
            .field("ports", &seats.collect::<Vec<_>>())
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
