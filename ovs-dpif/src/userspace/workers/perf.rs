//! What a worker counts of itself.

use std::time::Duration;

/// How many buckets a histogram has: by powers of two, up to what 63 bits hold.
const BUCKETS: usize = 64;

/// How often a number was how large, by powers of two.
///
/// ```
/// use ovs_dpif::userspace::workers::Histogram;
///
/// let mut h = Histogram::default();
/// [0, 1, 5, 6].iter().for_each(|n| h.note(*n));
/// assert_eq!(h.buckets().collect::<Vec<_>>(), [(0, 1), (1, 1), (4, 2)]);
/// assert_eq!((h.count(), h.sum()), (4, 12));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: [0; BUCKETS], sum: 0 }
    }
}

impl Histogram {
    /// Counts a number.
    pub fn note(&mut self, n: u64) {
        let bucket = (u64::BITS - n.leading_zeros()) as usize;
        if let Some(bucket) = self.buckets.get_mut(bucket.min(BUCKETS - 1)) {
            *bucket += 1;
        }
        self.sum = self.sum.saturating_add(n);
    }

    /// The buckets that are not empty: the least number of each, and how many numbers were in it.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let least = |bucket: usize| if bucket == 0 { 0 } else { 1 << (bucket - 1) };
        self.buckets.iter().enumerate().filter(|(_, n)| **n > 0).map(move |(bucket, n)| (least(bucket), *n))
    }

    /// How many numbers there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    fn merge(&mut self, other: &Histogram) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(a, b)| *a += b);
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// What a worker did (`pmd-perf-show`, `pmd-stats-show`). Counts from its start, or since it was
/// [cleared](super::Workers::clear_perf).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Perf {
    /// Rounds over all ports in which packets came.
    pub busy_iterations: u64,
    /// Rounds in which none came.
    pub idle_iterations: u64,
    /// Nanoseconds that the busy rounds took.
    pub busy_nanos: u64,
    /// Nanoseconds that the others took, without sleep.
    pub idle_nanos: u64,
    /// How often the worker slept.
    pub sleeps: u64,
    /// For how many nanoseconds it meant to.
    pub sleep_nanos: u64,
    /// Packets of a batch.
    pub batch_packets: Histogram,
    /// Packets of a busy round.
    pub iteration_packets: Histogram,
    /// Nanoseconds of a busy round.
    pub iteration_nanos: Histogram,
    /// Packets passed up in a busy round.
    pub iteration_upcalls: Histogram,
    /// Packets of other workers that a port of this one did not take.
    pub tx_lost: u64,
    /// How often the worker panicked; each time its batch was dropped.
    pub panics: u64,
}

impl Perf {
    /// Adds what another worker did.
    pub fn merge(&mut self, other: &Perf) {
        self.busy_iterations += other.busy_iterations;
        self.idle_iterations += other.idle_iterations;
        self.busy_nanos += other.busy_nanos;
        self.idle_nanos += other.idle_nanos;
        self.sleeps += other.sleeps;
        self.sleep_nanos += other.sleep_nanos;
        self.batch_packets.merge(&other.batch_packets);
        self.iteration_packets.merge(&other.iteration_packets);
        self.iteration_nanos.merge(&other.iteration_nanos);
        self.iteration_upcalls.merge(&other.iteration_upcalls);
        self.tx_lost += other.tx_lost;
        self.panics += other.panics;
    }

    /// Enters a round over all ports.
    pub(super) fn note(&mut self, packets: u64, upcalls: u64, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if packets == 0 {
            self.idle_iterations += 1;
            self.idle_nanos += nanos;
            return;
        }
        self.busy_iterations += 1;
        self.busy_nanos += nanos;
        self.iteration_packets.note(packets);
        self.iteration_nanos.note(nanos);
        self.iteration_upcalls.note(upcalls);
    }
}
