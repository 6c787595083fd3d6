//! What a worker's thread does: rounds over its ports, and between them what it is asked.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ovs_packet::Instant;
use ovs_packet::packet::BATCH;

use super::perf::Perf;
use super::remote::Parcel;
use super::{Clock, PARCELS};
use crate::action::PortNo;
use crate::dpif::{Dpif, Resolution, Upcall};
use crate::drops::{DropReason, Ledger};
use crate::userspace::Datapath;

/// Something to do between two rounds.
pub(super) type Job = Box<dyn FnOnce(&mut Datapath) + Send>;

/// By how much an idle worker sleeps longer each time.
const STEP: Duration = Duration::from_micros(1);

/// What others may read of a worker.
#[derive(Debug, Default)]
pub(super) struct Shared {
    report: Mutex<Report>,
    /// The longest sleep, in nanoseconds; 0 is none.
    max_sleep: AtomicU64,
}

/// What a worker tells of itself, at the end of a round.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) ledger: Ledger,
    pub(super) perf: Perf,
    /// How long each port kept the worker busy, in nanoseconds.
    pub(super) loads: BTreeMap<PortNo, u64>,
}

impl Shared {
    /// A panic while the lock was held leaves a report that is a round old.
    pub(super) fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_max_sleep(&self, max: Duration) {
        self.max_sleep.store(u64::try_from(max.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// A worker, in its thread.
pub(super) struct Thread {
    pub(super) dp: Datapath,
    pub(super) number: u8,
    pub(super) jobs: Receiver<Job>,
    pub(super) inbox: Receiver<Parcel>,
    pub(super) upcalls: SyncSender<Upcall>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
}

impl Thread {
    /// Works until nobody is left who could ask for anything.
    pub(super) fn run(mut self) {
        let mut sleep = Duration::ZERO;
        loop {
            // One errand a round, so that whoever waits for two knows that a round was between them.
            match self.jobs.try_recv() {
                Ok(job) => self.oblige(job),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            let packets = self.round();
            sleep = match packets {
                // Half a batch: there is work enough not to sleep.
                n if n >= BATCH / 2 => Duration::ZERO,
                _ => self.rest(sleep),
            };
        }
    }

    fn oblige(&mut self, job: Job) {
        if catch_unwind(AssertUnwindSafe(|| job(&mut self.dp))).is_err() {
            self.dp.recover();
            self.shared.report().perf.panics += 1;
        }
        self.shared.report().ledger = self.dp.ledger().clone();
    }

    /// A round over all ports. Returns how many packets came.
    fn round(&mut self) -> usize {
        let began = (self.clock)();
        let mut pending = Vec::new();
        let (mut packets, mut lost) = (0, 0);
        let mut polled: Vec<(PortNo, u64, usize)> = Vec::new();
        let done = catch_unwind(AssertUnwindSafe(|| {
            // No more than fit, since what is for a port that is just being moved comes back.
            for (port, parcel) in self.inbox.try_iter().take(PARCELS) {
                lost += self.dp.ports.send_out(port, parcel) as u64;
            }
            let mut at = (self.clock)();
            for place in 0..self.dp.port_count() {
                let n = self.dp.poll_port(place, began, &mut pending);
                packets += n;
                if n > 0 {
                    let now = (self.clock)();
                    polled.extend(self.dp.ports.number(place).map(|port| (port, nanos(now - at), n)));
                    at = now;
                }
            }
            self.dp.tend(began);
        }));
        if done.is_err() {
            self.dp.recover();
        }
        let upcalls = pending.len() as u64;
        self.pass_on(pending, began);
        let took = (self.clock)() - began;
        let mut report = self.shared.report();
        report.perf.note(packets as u64, upcalls, took);
        report.perf.tx_lost += lost;
        report.perf.panics += u64::from(done.is_err());
        for (port, nanos, n) in polled {
            *report.loads.entry(port).or_default() += nanos;
            report.perf.batch_packets.note(n as u64);
        }
        if packets > 0 || done.is_err() {
            report.ledger = self.dp.ledger().clone();
        }
        packets
    }

    /// Hands packets to the control thread; what its queue has no room for is dropped.
    fn pass_on(&mut self, pending: Vec<Upcall>, now: Instant) {
        for mut upcall in pending {
            upcall.turns.set_worker(self.number);
            if let Err(TrySendError::Full(upcall) | TrySendError::Disconnected(upcall)) = self.upcalls.try_send(upcall)
            {
                let drop = Resolution::Drop(DropReason::UpcallQueueFull);
                self.dp.resolve(upcall, drop, now, &mut Vec::new());
            }
        }
    }

    /// Sleeps a little longer than the last time, up to the limit; returns for how long. Whoever asks for something wakes
    /// the thread.
    fn rest(&mut self, last: Duration) -> Duration {
        let max = Duration::from_nanos(self.shared.max_sleep.load(Ordering::Relaxed));
        let sleep = (last + STEP).min(max);
        if sleep.is_zero() {
            std::thread::yield_now();
            return sleep;
        }
        let mut report = self.shared.report();
        report.perf.sleeps += 1;
        report.perf.sleep_nanos += nanos(sleep);
        drop(report);
        std::thread::park_timeout(sleep);
        sleep
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
