//! A datapath that works in several threads.
//!
//! The *control thread* is the one that has the [`Workers`]; it polls the ports that need no thread of their own, in
//! [`Dpif::poll`]. *Workers* are threads on cores, as [`Settings`] say, that poll receive queues without end. There are as
//! many as are asked for and needed, which may be none: then all is done in the control thread, and a `Workers` costs
//! nothing over a [`Datapath`]; so it is until it is [configured](crate::threads::Threads::configure): see there for how.
//!
//! Each thread owns a [`Datapath`] with caches and megaflows, and shares nothing with others while it handles packets, but for
//! what packets of several may mean together: connections, fragments that are put together, and meters. What a worker is
//! asked, it does between two rounds over its queues. [`Workers`] stands for all threads as one [`Dpif`]: it gives every
//! receive queue to a thread, every megaflow to the threads that receive what it is for, and adds up their counters when
//! they are read.
//!
//! A device with [handles](crate::netdev::Netdev::another) for several threads is sent to by each of them. Of another, one
//! thread has the device, and what others send goes there through a bounded queue; it counts as forwarded when it is put
//! in, and as [`Perf::tx_lost`](crate::threads::Perf::tx_lost) if the device does not take it then.
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
//! [`DropReason::WorkerPanic`]: crate::DropReason::WorkerPanic

mod assign;
mod balance;
pub(crate) mod bell;
mod cards;
mod crew;
mod dpif;
mod remote;
mod thread;
mod threads;

pub use assign::{Plan, Queue, Remark, assign};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;

use ovs_packet::Instant;

use super::several::Work;
use super::{Datapath, Limits};
use crate::action::PortNo;
use crate::dpif::{DpFlow, Dpif, DpifError, Ufid, Upcall};
use crate::drops::Ledger;
use crate::netdev::Polling;
use crate::threads::{Settings, ThreadId, Topology, Watch};
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
