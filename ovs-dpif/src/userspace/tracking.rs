//! The connections of a datapath: its own, or those of several that work together.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ovs_conntrack::fragment::{FragmentLimits, FragmentStats, Fragments, Gathered};
use ovs_conntrack::{
    Config, ConnectionInfo, CtRequest, Cursor, ExpectationInfo, Filter, PolicyError, SharedTracker, Sighting, Stats,
    Timeouts, Tracker,
};
use ovs_packet::extract::ETH_TYPE_IPV4;
use ovs_packet::packet::IpChecksum;
use ovs_packet::{FlowKey, Instant, Packet};

/// How many shards the connections of several threads are spread over: many more than there are threads.
const SHARDS: usize = 64;

/// How many connections are dumped at once, while others wait for their shard.
const PAGE: usize = 256;

/// A tracker that one thread owns, or one that several share.
pub(super) enum Tracking {
    Own(Box<Tracker>),
    Shared(Arc<SharedTracker>),
}

/// Does the same with either kind.
macro_rules! either {
    ($self:ident, $tracker:ident => $do:expr) => {
        match $self {
            Tracking::Own($tracker) => $do,
            Tracking::Shared($tracker) => $do,
        }
    };
}

/// Whether to track a packet is to sum its IPv4 header, since no device has.
fn is_summed_here(packet: &Packet, key: &FlowKey) -> bool {
    key.eth_type == ETH_TYPE_IPV4 && packet.offload.ip == IpChecksum::Unknown
}

impl Tracking {
    pub(super) fn own(config: Config) -> Tracking {
        Tracking::Own(Box::new(Tracker::new(config)))
    }

    pub(super) fn shared(config: Config) -> Tracking {
        Tracking::Shared(Arc::new(SharedTracker::new(config, SHARDS)))
    }

    /// The same connections, for another thread; `None` if they belong to one.
    pub(super) fn another(&self) -> Option<Tracking> {
        match self {
            Tracking::Own(_) => None,
            Tracking::Shared(tracker) => Some(Tracking::Shared(tracker.clone())),
        }
    }

    /// Returns of how many packets the IPv4 header was summed, which no device had done.
    pub(super) fn track(&mut self, packet: &mut Packet, key: &FlowKey, request: &CtRequest, now: Instant) -> u64 {
        let summed = is_summed_here(packet, key);
        either!(self, tracker => drop(tracker.track(packet, key, request, now)));
        u64::from(summed)
    }

    /// The same for packets of which more is known: see [`Tracker::track_again`].
    pub(super) fn track_again<'a, 's>(
        &mut self,
        batch: impl IntoIterator<Item = (&'a mut Packet, &'a FlowKey, &'s mut Sighting)>,
        request: &CtRequest,
        now: Instant,
    ) -> u64 {
        let mut summed = 0;
        let batch = batch.into_iter().inspect(|(packet, key, _)| {
            summed += u64::from(is_summed_here(packet, key));
        });
        either!(self, tracker => drop(tracker.track_again(batch, request, now)));
        summed
    }

    pub(super) fn counters(&self) -> Stats {
        either!(self, tracker => tracker.stats())
    }

    /// Gives room back of some that have ended, and says whether there are more.
    pub(super) fn expire(&mut self, now: Instant, budget: usize) -> bool {
        either!(self, tracker => {
            tracker.expire(now, budget);
            tracker.next_deadline().is_some_and(|next| next <= now)
        })
    }

    /// How many connections each shard has.
    pub(super) fn held(&self) -> Vec<usize> {
        match self {
            Tracking::Own(tracker) => vec![tracker.len()],
            Tracking::Shared(tracker) => tracker.shard_lens(),
        }
    }

    pub(super) fn dump(&self, zone: Option<u16>, now: Instant, f: &mut dyn FnMut(ConnectionInfo)) {
        match self {
            Tracking::Own(tracker) => tracker.dump(zone, now).for_each(f),
            Tracking::Shared(tracker) => {
                let filter = Filter { zone, ..Filter::default() };
                let mut from = Some(Cursor::default());
                while let Some(cursor) = from {
                    let (page, next) = tracker.dump_page(&filter, cursor, PAGE, now);
                    page.into_iter().for_each(&mut *f);
                    from = next;
                }
            }
        }
    }

    pub(super) fn flush_matching(&mut self, filter: &Filter, now: Instant) -> usize {
        either!(self, tracker => tracker.flush_matching(filter, now))
    }

    pub(super) fn expectations(&self, now: Instant) -> Vec<ExpectationInfo> {
        match self {
            Tracking::Own(tracker) => tracker.expectations(now).collect(),
            Tracking::Shared(tracker) => tracker.expectations(now),
        }
    }

    pub(super) fn len(&self) -> usize {
        either!(self, tracker => tracker.len())
    }

    pub(super) fn max_connections(&self) -> usize {
        either!(self, tracker => tracker.max_connections())
    }

    pub(super) fn set_max_connections(&mut self, limit: usize) {
        either!(self, tracker => tracker.set_max_connections(limit));
    }

    pub(super) fn zone_len(&self, zone: u16) -> usize {
        either!(self, tracker => tracker.zone_len(zone))
    }

    pub(super) fn zone_limit(&self, zone: u16) -> Option<usize> {
        either!(self, tracker => tracker.zone_limit(zone))
    }

    pub(super) fn zone_limits(&self) -> Vec<(u16, usize)> {
        either!(self, tracker => tracker.zone_limits())
    }

    pub(super) fn default_zone_limit(&self) -> Option<usize> {
        either!(self, tracker => tracker.default_zone_limit())
    }

    pub(super) fn set_zone_limit(&mut self, zone: u16, limit: Option<usize>) {
        either!(self, tracker => tracker.set_zone_limit(zone, limit));
    }

    pub(super) fn set_default_zone_limit(&mut self, limit: Option<usize>) {
        either!(self, tracker => tracker.set_default_zone_limit(limit));
    }

    pub(super) fn set_timeout_policy(&mut self, policy: u32, timeouts: &Timeouts) -> Result<(), PolicyError> {
        either!(self, tracker => tracker.set_timeout_policy(policy, timeouts))
    }

    pub(super) fn remove_timeout_policy(&mut self, policy: u32) {
        either!(self, tracker => tracker.remove_timeout_policy(policy));
    }

    pub(super) fn tcp_liberal(&self) -> bool {
        either!(self, tracker => tracker.tcp_liberal())
    }

    pub(super) fn set_tcp_liberal(&mut self, liberal: bool) {
        either!(self, tracker => tracker.set_tcp_liberal(liberal));
    }
}

/// When connections that have ended give their room back, of all that share them. Clones are the same.
#[derive(Clone)]
pub(super) struct Sweeps(Arc<Pace>);

struct Pace {
    /// In nanoseconds, as the instant is at which the next sweep begins.
    interval: AtomicU64,
    next: AtomicU64,
}

impl Sweeps {
    /// Every so often.
    pub(super) fn new(interval: Duration) -> Sweeps {
        Sweeps(Arc::new(Pace { interval: AtomicU64::new(nanos(interval)), next: AtomicU64::new(0) }))
    }

    /// Whether a sweep is due, or under way.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.0.next.load(Ordering::Relaxed) <= now.as_nanos()
    }

    /// A sweep found no more.
    pub(super) fn done(&self, now: Instant) {
        let next = now.as_nanos().saturating_add(self.0.interval.load(Ordering::Relaxed));
        self.0.next.store(next, Ordering::Relaxed);
    }

    pub(super) fn interval(&self) -> Duration {
        Duration::from_nanos(self.0.interval.load(Ordering::Relaxed))
    }

    /// Sets how often. The next sweep begins at once.
    pub(super) fn set_interval(&self, interval: Duration) {
        self.0.interval.store(nanos(interval), Ordering::Relaxed);
        self.0.next.store(0, Ordering::Relaxed);
    }
}

fn nanos(interval: Duration) -> u64 {
    u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX)
}

/// The fragments that `ct` actions wait for others of, which may come to another thread. Clones are the same. They are
/// few, so one lock will do.
#[derive(Clone)]
pub(super) struct Reassembly(Arc<Held>);

struct Held {
    /// How many datagrams wait, so that nobody takes the lock to find none.
    datagrams: AtomicUsize,
    fragments: Mutex<Fragments>,
}

impl Reassembly {
    pub(super) fn new(limits: FragmentLimits) -> Reassembly {
        Reassembly(Arc::new(Held { datagrams: AtomicUsize::new(0), fragments: Mutex::new(Fragments::new(limits)) }))
    }

    /// A panic while the lock was held leaves fragments that wait until they expire.
    fn lock(&self) -> MutexGuard<'_, Fragments> {
        self.0.fragments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, fragments: &Fragments) {
        self.0.datagrams.store(fragments.stats().datagrams, Ordering::Relaxed);
    }

    pub(super) fn gather(&self, packet: Packet, zone: u64, now: Instant) -> Gathered {
        let mut fragments = self.lock();
        let gathered = fragments.gather(packet, zone, now);
        self.count(&fragments);
        gathered
    }

    pub(super) fn expire(&self, now: Instant) {
        if self.0.datagrams.load(Ordering::Relaxed) > 0 {
            let mut fragments = self.lock();
            fragments.expire(now);
            self.count(&fragments);
        }
    }

    pub(super) fn limits(&self) -> FragmentLimits {
        *self.lock().limits()
    }

    pub(super) fn set_limits(&self, limits: FragmentLimits) {
        self.lock().set_limits(limits);
    }

    pub(super) fn stats(&self) -> FragmentStats {
        self.lock().stats()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_due_every_so_often_for_all_together() {
        let (sweeps, at) = (Sweeps::new(Duration::from_secs(20)), Instant::from_secs);
        let another = sweeps.clone();
        assert!(sweeps.is_due(at(100)));
        sweeps.done(at(100));
        assert!(!another.is_due(at(119)) && another.is_due(at(120)));
        another.set_interval(Duration::from_secs(5));
        assert!(sweeps.is_due(at(101)));
        sweeps.done(at(101));
        assert!(!sweeps.is_due(at(105)) && sweeps.is_due(at(106)));
        assert_eq!(sweeps.interval(), Duration::from_secs(5));
    }
}
