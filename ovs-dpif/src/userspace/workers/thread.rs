//! What a worker's thread does: rounds over its queues, and between them what it is asked.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ovs_packet::Instant;
use ovs_packet::packet::BATCH;

use super::bell::Bell;
use super::remote::Parcel;
use super::{Hooks, PARCELS};
use crate::action::PortNo;
use crate::dpif::{Dpif, Resolution, Upcall};
use crate::drops::{DropReason, Ledger};
use crate::threads::{Perf, Sample, Watch, Watcher};
use crate::userspace::Datapath;

/// Something to do between two rounds.
pub(super) type Job = Box<dyn FnOnce(&mut Datapath, &Shared) + Send>;

/// By how much an idle worker sleeps longer each time.
const STEP: Duration = Duration::from_micros(1);

/// How long a worker without queues sleeps, unless it is asked for something.
const NOTHING_TO_POLL: Duration = Duration::from_millis(100);

/// What others may read of a worker.
#[derive(Debug, Default)]
pub(super) struct Shared {
    report: Mutex<Report>,
    /// The longest sleep, in nanoseconds; 0 is none.
    max_sleep: AtomicU64,
    metrics: AtomicBool,
}

/// What a worker tells of itself, at the end of a round.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) ledger: Ledger,
    pub(super) perf: Perf,
    watcher: Watcher,
    /// For how long each queue kept the worker busy, in nanoseconds, and all rounds in which packets came did.
    pub(super) loads: BTreeMap<(PortNo, usize), u64>,
    pub(super) busy: u64,
}

impl Shared {
    /// A panic while the lock was held leaves a report that is a round old.
    pub(super) fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_max_sleep(&self, max: Duration) {
        self.max_sleep.store(u64::try_from(max.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether histograms and histories are kept.
    pub(super) fn set_metrics(&self, on: bool) {
        self.metrics.store(on, Ordering::Relaxed);
        let metrics = &mut self.report().perf.metrics;
        *metrics = if on { Some(metrics.take().unwrap_or_default()) } else { None };
    }

    /// Which rounds are told.
    pub(super) fn set_watch(&self, watch: Watch) {
        self.report().watcher.set(watch);
    }

    /// Counts anew.
    pub(super) fn clear_perf(&self) {
        let metrics = self.metrics.load(Ordering::Relaxed).then(Default::default);
        self.report().perf = Perf { metrics, ..Perf::default() };
    }
}

/// A worker, in its thread.
pub(super) struct Thread {
    pub(super) dp: Datapath,
    pub(super) number: u8,
    pub(super) jobs: Receiver<Job>,
    pub(super) inbox: Receiver<Parcel>,
    pub(super) upcalls: SyncSender<Upcall>,
    pub(super) bell: Bell,
    pub(super) shared: Arc<Shared>,
    pub(super) hooks: Hooks,
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
        let shared = self.shared.clone();
        if catch_unwind(AssertUnwindSafe(|| job(&mut self.dp, &shared))).is_err() {
            self.dp.recover();
            let mut report = self.shared.report();
            report.perf.panics += 1;
            report.ledger = self.dp.ledger().clone();
        }
    }

    /// A round over all queues. Returns how many packets came.
    fn round(&mut self) -> usize {
        let now = (self.hooks.clock)();
        let began = (self.hooks.stopwatch)();
        let mut pending = Vec::new();
        let (mut packets, mut lost) = (0, 0);
        let mut polled: Vec<((PortNo, usize), u64)> = Vec::new();
        let done = catch_unwind(AssertUnwindSafe(|| {
            // No more than fit, since what is for a port that is just being moved comes back.
            for (port, parcel) in self.inbox.try_iter().take(PARCELS) {
                lost += self.dp.ports.send_out(port, parcel) as u64;
            }
            let mut at = (self.hooks.stopwatch)();
            for place in 0..self.dp.port_count() {
                let n = self.dp.poll_port(place, now, &mut pending);
                packets += n;
                if n > 0 {
                    let then = (self.hooks.stopwatch)();
                    polled.extend(self.dp.ports.queue_at(place).map(|queue| (queue, nanos(then - at))));
                    at = then;
                }
            }
            self.dp.tend(now);
        }));
        if done.is_err() {
            self.dp.recover();
        }
        let (upcalls, passing) = (pending.len() as u64, (self.hooks.stopwatch)());
        self.pass_on(pending, now);
        let ended = (self.hooks.stopwatch)();
        let sample = Sample {
            at: began.as_nanos(),
            iterations: 1,
            nanos: nanos(ended - began),
            packets: packets as u64,
            batches: polled.len() as u64,
            upcalls,
            upcall_nanos: if upcalls > 0 { nanos(ended - passing) } else { 0 },
            ..Sample::default()
        };
        let mut report = self.shared.report();
        report.perf.note(sample, now);
        report.perf.tx_lost += lost;
        report.perf.panics += u64::from(done.is_err());
        for (queue, nanos) in polled {
            *report.loads.entry(queue).or_default() += nanos;
        }
        if packets > 0 || done.is_err() {
            report.busy += sample.nanos;
            report.ledger = self.dp.ledger().clone();
        }
        let Report { perf, watcher, .. } = &mut *report;
        let suspicious = perf.metrics.as_ref().and_then(|metrics| watcher.note(&metrics.iterations));
        drop(report);
        if let Some(text) = suspicious {
            tracing::warn!(target: "pmd_perf", "{text}");
        }
        packets
    }

    /// Hands packets to the control thread; what its queue has no room for is dropped.
    fn pass_on(&mut self, pending: Vec<Upcall>, now: Instant) {
        let any = !pending.is_empty();
        for mut upcall in pending {
            upcall.turns.set_worker(self.number);
            if let Err(TrySendError::Full(upcall) | TrySendError::Disconnected(upcall)) = self.upcalls.try_send(upcall)
            {
                let drop = Resolution::Drop(DropReason::UpcallQueueFull);
                self.dp.resolve(upcall, drop, now, &mut Vec::new());
            }
        }
        if any {
            self.bell.ring();
        }
    }

    /// Sleeps a little longer than the last time, up to the limit; returns for how long. Whoever asks for something wakes
    /// the thread.
    fn rest(&mut self, last: Duration) -> Duration {
        let max = Duration::from_nanos(self.shared.max_sleep.load(Ordering::Relaxed));
        let sleep = if self.dp.port_count() == 0 { NOTHING_TO_POLL } else { (last + STEP).min(max) };
        if sleep.is_zero() {
            std::thread::yield_now();
            return sleep;
        }
        let began = (self.hooks.stopwatch)();
        std::thread::park_timeout(sleep);
        let slept = (self.hooks.stopwatch)() - began;
        self.shared.report().perf.slept(slept);
        sleep
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
