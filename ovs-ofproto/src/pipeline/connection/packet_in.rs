//! Packets for a controller, where it gets only so many: a token bucket, and queues by ingress port that take turns, so
//! that a port with many packets does not keep out those of the others.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ovs_packet::Instant;

/// How many packets a controller gets (`controller_rate_limit`, `controller_burst_limit`, `controller_queue_size`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct RateLimit {
    /// Packets a second; at least 1.
    pub rate: u32,
    /// Packets that may come at once.
    pub burst: u32,
    /// Packets that wait; of the port that has most of them, one is dropped for another.
    pub queue: usize,
}

impl RateLimit {
    /// How many packets wait by default, and at most.
    pub const MAX_QUEUE: usize = 512;

    /// So many packets a second, in bursts of so many; 0 is a quarter of the rate.
    pub fn new(rate: u32, burst: u32) -> RateLimit {
        let burst = if burst == 0 { rate / 4 } else { burst };
        RateLimit { rate: rate.max(1), burst: burst.max(1), queue: RateLimit::MAX_QUEUE / 5 }
    }

    /// The same with a queue of this size.
    #[must_use]
    pub fn with_queue(self, queue: usize) -> RateLimit {
        RateLimit { queue: queue.clamp(1, RateLimit::MAX_QUEUE), ..self }
    }
}

/// What became of packets for a controller.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct PacketInStats {
    /// Sent at once.
    pub passed: u64,
    /// Sent after a wait.
    pub queued: u64,
    /// Dropped for others.
    pub dropped: u64,
    /// Waiting.
    pub waiting: u64,
}

/// Millionths of a packet.
const UNIT: u64 = 1_000_000;

#[derive(Debug)]
pub(in crate::pipeline) struct Scheduler {
    limit: RateLimit,
    /// In [`UNIT`]s.
    tokens: u64,
    filled: Option<Instant>,
    queues: BTreeMap<u32, VecDeque<Vec<u8>>>,
    waiting: usize,
    /// The port whose turn was last.
    last: u32,
    stats: PacketInStats,
}

impl Scheduler {
    pub(in crate::pipeline) fn new(limit: RateLimit) -> Scheduler {
        Scheduler {
            limit,
            tokens: 0,
            filled: None,
            queues: BTreeMap::new(),
            waiting: 0,
            last: 0,
            stats: PacketInStats::default(),
        }
    }

    pub(in crate::pipeline) fn set_limit(&mut self, limit: RateLimit) {
        self.limit = limit;
        while self.waiting > limit.queue {
            self.drop_one();
        }
    }

    pub(in crate::pipeline) fn stats(&self) -> PacketInStats {
        PacketInStats { waiting: self.waiting as u64, ..self.stats }
    }

    fn fill(&mut self, now: Instant) {
        let full = u64::from(self.limit.burst) * UNIT;
        match self.filled.replace(now) {
            None => self.tokens = full,
            Some(before) => {
                let micros = u64::try_from((now - before).as_micros()).unwrap_or(u64::MAX);
                // What is less than a microsecond counts the next time.
                self.filled = Some(before + Duration::from_micros(micros));
                self.tokens = self.tokens.saturating_add(micros.saturating_mul(self.limit.rate.into())).min(full);
            }
        }
    }

    /// Takes a message for a packet that came in by `port`. Gives it back if it goes out at once.
    pub(in crate::pipeline) fn offer(&mut self, port: u32, message: Vec<u8>, now: Instant) -> Option<Vec<u8>> {
        self.fill(now);
        if self.waiting == 0 && self.tokens >= UNIT {
            self.tokens -= UNIT;
            self.stats.passed += 1;
            return Some(message);
        }
        if self.waiting >= self.limit.queue {
            self.drop_one();
        }
        self.queues.entry(port).or_default().push_back(message);
        self.waiting += 1;
        None
    }

    /// A message whose time has come: of the next port that has one.
    pub(in crate::pipeline) fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.waiting == 0 {
            return None;
        }
        self.fill(now);
        if self.tokens < UNIT {
            return None;
        }
        let next = self.queues.range(self.last.saturating_add(1)..).next().or_else(|| self.queues.iter().next());
        let port = *next?.0;
        let message = self.take(port)?;
        self.last = port;
        self.tokens -= UNIT;
        self.stats.queued += 1;
        Some(message)
    }

    fn take(&mut self, port: u32) -> Option<Vec<u8>> {
        let queue = self.queues.get_mut(&port)?;
        let message = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&port);
        }
        self.waiting -= usize::from(message.is_some());
        message
    }

    /// Drops a message of the port that has most.
    fn drop_one(&mut self) {
        let longest = self.queues.iter().max_by_key(|(_, q)| q.len()).map(|(port, _)| *port);
        if longest.and_then(|port| self.take(port)).is_some() {
            self.stats.dropped += 1;
        }
    }

    /// When a message that waits may go.
    pub(in crate::pipeline) fn next_deadline(&self) -> Option<Instant> {
        let filled = self.filled.filter(|_| self.waiting > 0)?;
        let missing = UNIT.saturating_sub(self.tokens).div_ceil(self.limit.rate.into());
        Some(filled + Duration::from_micros(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut s = Scheduler::new(RateLimit::new(10, 2).with_queue(3));
        let at = Instant::from_millis;
        assert!(s.offer(1, vec![1], at(0)).is_some() && s.offer(1, vec![2], at(0)).is_some());
        assert!(s.offer(1, vec![3], at(0)).is_none());
        assert_eq!(s.next_deadline(), Some(at(100)));
        assert_eq!((s.poll(at(99)), s.poll(at(100)), s.poll(at(100))), (None, Some(vec![3]), None));
        assert_eq!(s.next_deadline(), None);
        let stats = PacketInStats { passed: 2, queued: 1, dropped: 0, waiting: 0 };
        assert_eq!(s.stats(), stats);
    }

    #[test]
    fn ports_take_turns_and_the_busy_one_loses() {
        let mut s = Scheduler::new(RateLimit::new(1, 1).with_queue(4));
        let at = Instant::from_secs;
        assert!(s.offer(1, vec![0], at(0)).is_some());
        for n in 1..=9 {
            s.offer(1, vec![n], at(0));
        }
        s.offer(2, vec![20], at(0));
        s.offer(3, vec![30], at(0));
        assert_eq!((s.stats().dropped, s.stats().waiting), (7, 4));
        let order: Vec<_> = (1..6).filter_map(|t| s.poll(at(t))).collect();
        assert_eq!(order, [vec![8], vec![20], vec![30], vec![9]]);
        s.offer(1, vec![0], at(5));
        for n in 0..4 {
            s.offer(n, vec![1], at(5));
        }
        s.set_limit(RateLimit::new(1, 1).with_queue(1));
        assert_eq!(s.stats().waiting, 1);
    }
}
