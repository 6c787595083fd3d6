//! What a worker counts of itself.
//!
//! Upstream counts cycles of the processor; here they are nanoseconds of the owner's stopwatch.

use std::collections::VecDeque;
use std::time::Duration;

use ovs_packet::Instant;

/// How many buckets a histogram has.
const BUCKETS: usize = 32;

/// How many rounds, and how many milliseconds, are remembered.
pub const HISTORY: usize = 1000;

/// How often a number was how large.
///
/// ```
/// use ovs_dpif::threads::Histogram;
///
/// let mut h = Histogram::linear(0, 30);
/// [0, 1, 5, 99].iter().for_each(|n| h.note(*n));
/// let filled: Vec<_> = h.buckets().filter(|(_, n)| *n > 0).collect();
/// assert_eq!(filled, [(Some(0), 1), (Some(1), 1), (Some(5), 1), (None, 1)]);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    /// The greatest number of each bucket but the last, which has no bound.
    walls: [u32; BUCKETS - 1],
    buckets: [u64; BUCKETS],
}

impl Histogram {
    /// Buckets of the same width for numbers from `min` to `max`.
    pub fn linear(min: u32, max: u32) -> Histogram {
        let (mut walls, span) = ([0; BUCKETS - 1], u64::from(max.saturating_sub(min)));
        for (wall, i) in walls.iter_mut().zip(0u64..) {
            *wall = min.saturating_add(u32::try_from(i * span / (BUCKETS as u64 - 2)).unwrap_or(u32::MAX));
        }
        Histogram { walls, buckets: [0; BUCKETS] }
    }

    /// Buckets whose widths grow by the same factor, for numbers from `min` to `max`.
    pub fn logarithmic(min: u32, max: u32) -> Histogram {
        let mut walls = [0; BUCKETS - 1];
        let start = usize::from(min == 0);
        let (low, high) = (f64::from(min.max(1)).ln(), f64::from(max.max(1)).ln());
        let steps = (BUCKETS - 2 - start) as f64;
        let mut least = start as u32;
        for (wall, i) in walls.iter_mut().skip(start).zip(0u32..) {
            // Every wall is beyond the one before.
            *wall = least.max((low + f64::from(i) * (high - low) / steps).exp() as u32);
            least = wall.saturating_add(1);
        }
        if let Some(last) = walls.last_mut() {
            *last = max.max(*last);
        }
        Histogram { walls, buckets: [0; BUCKETS] }
    }

    /// Counts a number.
    pub fn note(&mut self, n: u64) {
        let bucket = self.walls.partition_point(|wall| u64::from(*wall) < n);
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            *bucket += 1;
        }
    }

    /// The buckets: the greatest number of each, none for the last, and how many numbers were in it.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u32>, u64)> {
        self.walls.iter().copied().map(Some).chain([None]).zip(self.buckets)
    }
}

/// A round over all queues, or all rounds of a millisecond.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// When it began: nanoseconds of the stopwatch for a round, milliseconds of the clock for others.
    pub at: u64,
    /// Rounds.
    pub iterations: u64,
    /// Nanoseconds.
    pub nanos: u64,
    /// Nanoseconds of rounds in which packets came.
    pub busy_nanos: u64,
    /// Packets received.
    pub packets: u64,
    /// Batches of them.
    pub batches: u64,
    /// Packets passed up.
    pub upcalls: u64,
    /// Nanoseconds that it took to pass them up.
    pub upcall_nanos: u64,
}

impl Sample {
    fn add(&mut self, other: &Sample) {
        self.iterations += other.iterations;
        self.nanos += other.nanos;
        self.busy_nanos += other.busy_nanos;
        self.packets += other.packets;
        self.batches += other.batches;
        self.upcalls += other.upcalls;
        self.upcall_nanos += other.upcall_nanos;
    }
}

/// What is kept if metrics are asked for (`other_config:pmd-perf-metrics`).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// All rounds together, since metrics were asked for.
    pub total: Sample,
    /// Nanoseconds of a round.
    pub iteration_nanos: Histogram,
    /// Packets of a round.
    pub iteration_packets: Histogram,
    /// Nanoseconds of a packet.
    pub packet_nanos: Histogram,
    /// Packets of a batch.
    pub batch_packets: Histogram,
    /// Packets of a round that were passed up.
    pub iteration_upcalls: Histogram,
    /// Nanoseconds that passing one up took.
    pub upcall_nanos: Histogram,
    /// The last rounds, at most [`HISTORY`], the latest first.
    pub iterations: VecDeque<Sample>,
    /// The last milliseconds, at most [`HISTORY`], the latest first.
    pub milliseconds: VecDeque<Sample>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            total: Sample::default(),
            iteration_nanos: Histogram::logarithmic(500, 24_000_000),
            iteration_packets: Histogram::logarithmic(0, 1000),
            packet_nanos: Histogram::linear(100, 30_000),
            batch_packets: Histogram::linear(0, 32),
            iteration_upcalls: Histogram::linear(0, 30),
            upcall_nanos: Histogram::logarithmic(1000, 1_000_000),
            iterations: VecDeque::new(),
            milliseconds: VecDeque::new(),
        }
    }
}

impl Metrics {
    fn note(&mut self, sample: Sample, now: Instant) {
        self.total.add(&sample);
        self.iteration_nanos.note(sample.nanos);
        self.iteration_packets.note(sample.packets);
        if let Some(each) = sample.nanos.checked_div(sample.packets) {
            self.packet_nanos.note(each);
        }
        if let Some(each) = sample.packets.checked_div(sample.batches) {
            self.batch_packets.note(each);
        }
        self.iteration_upcalls.note(sample.upcalls);
        if let Some(each) = sample.upcall_nanos.checked_div(sample.upcalls) {
            self.upcall_nanos.note(each);
        }
        keep(&mut self.iterations, sample);
        let at = now.as_nanos() / 1_000_000;
        match self.milliseconds.front_mut() {
            Some(last) if last.at == at => last.add(&sample),
            _ => keep(&mut self.milliseconds, Sample { at, ..sample }),
        }
    }
}

/// Rounds as a table (`pmd-perf-show -it`): one in a line, with a head.
pub fn iterations_table(samples: impl Iterator<Item = Sample>) -> String {
    let names = ["cycles", "packets", "cycles/pkt", "pkts/batch", "vhost qlen", "upcalls", "cycles/upcall"];
    let head = format!("   {:<17}   {}\n", "iter", names.map(|name| format!("{name:<10}")).join("   "));
    samples.fold(head, |table, sample| {
        let Sample { at, nanos, packets, batches, upcalls, upcall_nanos, .. } = sample;
        let each = |a: u64, b: u64| a.checked_div(b).unwrap_or(0);
        let cells =
            [nanos, packets, each(nanos, packets), each(packets, batches), 0, upcalls, each(upcall_nanos, upcalls)];
        format!("{table}   {at:<17}   {}\n", cells.map(|n| format!("{n:<11}")).join("  "))
    })
}

fn keep(history: &mut VecDeque<Sample>, sample: Sample) {
    history.truncate(HISTORY - 1);
    history.push_front(sample);
}

/// What a worker did (`pmd-perf-show`, `pmd-stats-show`). Counts from its start, or since it was
/// [cleared](super::Threads::clear_perf).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Perf {
    /// Rounds over all queues in which packets came.
    pub busy_iterations: u64,
    /// Rounds in which none came.
    pub idle_iterations: u64,
    /// Nanoseconds that the busy rounds took.
    pub busy_nanos: u64,
    /// Nanoseconds that the others took, without sleep.
    pub idle_nanos: u64,
    /// Packets received.
    pub packets: u64,
    /// Nanoseconds that it took to pass packets up.
    pub upcall_nanos: u64,
    /// How often the worker slept.
    pub sleeps: u64,
    /// For how many nanoseconds.
    pub sleep_nanos: u64,
    /// Packets of other threads that a port of this one did not take.
    pub tx_lost: u64,
    /// How often the worker panicked; each time its batch was dropped.
    pub panics: u64,
    /// What else is kept if it is asked for.
    pub metrics: Option<Box<Metrics>>,
}

impl Perf {
    /// Enters a round over all queues.
    pub(crate) fn note(&mut self, sample: Sample, now: Instant) {
        if sample.packets == 0 {
            self.idle_iterations += 1;
            self.idle_nanos += sample.nanos;
        } else {
            self.busy_iterations += 1;
            self.busy_nanos += sample.nanos;
        }
        self.packets += sample.packets;
        self.upcall_nanos += sample.upcall_nanos;
        if let Some(metrics) = &mut self.metrics {
            metrics.note(Sample { busy_nanos: if sample.packets > 0 { sample.nanos } else { 0 }, ..sample }, now);
        }
    }

    pub(crate) fn slept(&mut self, time: Duration) {
        self.sleeps += 1;
        self.sleep_nanos += u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    }
}

/// What a thread of a datapath did, of its own and with others' packets: what `pmd-perf-show` tells.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Performance {
    /// Since when; for a worker that was cleared, since then.
    pub since: Instant,
    /// Its rounds. The control thread counts panics only.
    pub perf: Perf,
    /// Packets received.
    pub received: u64,
    /// Lookups: of a packet as many as it was recirculated, and one.
    pub passes: u64,
    /// Packets whose megaflow a card had told.
    pub marked: u64,
    /// Lookups that the cache in front of the megaflows answered.
    pub cached: u64,
    /// Lookups that found a megaflow otherwise.
    pub found: u64,
    /// Hash tables that were probed for them.
    pub probes: u64,
    /// Lookups that found none.
    pub missed: u64,
    /// Packets that could not be passed up.
    pub lost: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Batches of them.
    pub sent_batches: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walls_rise_from_the_least_to_the_most() {
        for h in [
            Histogram::linear(100, 30_000),
            Histogram::linear(0, 32),
            Histogram::logarithmic(0, 1000),
            Histogram::logarithmic(500, 24_000_000),
        ] {
            assert!(h.walls.is_sorted() && h.walls.windows(2).all(|w| w[0] < w[1]), "{:?}", h.walls);
        }
        let h = Histogram::logarithmic(500, 24_000_000);
        // What is rounded down upstream is here.
        assert_eq!((h.walls[0], h.walls[BUCKETS - 2]), (499, 24_000_000));
        assert_eq!(Histogram::logarithmic(0, 512).walls[..3], [0, 1, 2]);
    }

    #[test]
    fn histories_forget_what_is_oldest_and_milliseconds_add_up() {
        let mut perf = Perf { metrics: Some(Box::default()), ..Perf::default() };
        for i in 0..=HISTORY as u64 {
            let sample = Sample { at: i, iterations: 1, nanos: 7, packets: i % 2, batches: i % 2, ..Sample::default() };
            perf.note(sample, Instant::from_nanos(i * 500_000));
        }
        let metrics = perf.metrics.unwrap();
        assert_eq!((metrics.iterations.len(), metrics.milliseconds.len()), (HISTORY, HISTORY / 2 + 1));
        assert_eq!((metrics.iterations[0].at, metrics.iterations[HISTORY - 1].at), (HISTORY as u64, 1));
        assert_eq!((metrics.milliseconds[1].iterations, metrics.milliseconds[1].packets), (2, 1));
        assert_eq!((perf.busy_iterations, perf.idle_iterations), (HISTORY as u64 / 2, HISTORY as u64 / 2 + 1));
    }
}
