//! The tracker of several threads: shards, each behind a lock of its own.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrayvec::ArrayVec;
use ovs_packet::packet::BATCH;
use ovs_packet::{FlowKey, Instant, Packet};

use crate::config::{Config, Timeouts};
use crate::engine::{self, Shards};
use crate::filter::Filter;
use crate::info::{ConnectionInfo, ExpectationInfo};
use crate::manage::{self, Cursor, PolicyError};
use crate::outcome::Outcome;
use crate::request::CtRequest;
use crate::shard::{Common, Shard};
use crate::sighting::Sighting;
use crate::stats::Stats;
use crate::tuple::Tuple;

/// A [`Tracker`](crate::Tracker) that threads share.
///
/// Connections are spread over shards by the hash of their tuple, both directions to one. A packet locks the shard of
/// its connection, and no other; only what is translated or expected visits a second, after it has left the first. With
/// many more shards than threads two of them seldom meet. Nothing that all write to is touched for a packet, not for a
/// new connection either, since shards draw from the common limit many at a time: it may refuse when up to a
/// sixteenth of it is free, but never exceeds it.
///
/// Methods mean what [`Tracker`](crate::Tracker)'s do. What concerns all shards goes through them one after another,
/// while others track.
///
/// ```
/// use ovs_conntrack::{Config, CtRequest, Outcome, SharedTracker};
/// use ovs_packet::{FlowKey, Instant, Match, compose, extract};
///
/// let tracker = SharedTracker::new(Config::new(1), 64);
/// std::thread::scope(|threads| {
///     for client in 1..=4 {
///         let tracker = &tracker;
///         threads.spawn(move || {
///             let text = format!("udp,nw_src=10.0.0.{client},nw_dst=10.0.0.9,tp_src=4321,tp_dst=53");
///             let mut packet = compose::compose(text.parse::<Match>().unwrap().key(), b"?");
///             let mut key = FlowKey::ZERO;
///             extract::extract(&mut packet, &mut key);
///             let outcome = tracker.track(&mut packet, &key, &CtRequest::commit(0), Instant::ZERO);
///             assert_eq!(outcome, Outcome::Created);
///         });
///     }
/// });
/// assert_eq!(tracker.len(), 4);
/// ```
pub struct SharedTracker {
    common: Common,
    /// A tracker has a shard at least, with the number 0.
    first: Padded,
    others: Box<[Padded]>,
    /// Where the next call of `expire` begins.
    turn: AtomicUsize,
}

/// No two shards on one pair of cache lines, which processors fetch together.
#[repr(align(128))]
struct Padded(Mutex<Shard>);

impl Shards for &SharedTracker {
    fn common(&self) -> &Common {
        &self.common
    }

    fn with<R>(&mut self, shard: usize, f: impl FnOnce(&mut Shard, &Common) -> R) -> R {
        f(&mut self.lock(shard), &self.common)
    }

    /// To look for connections means to lock, packet by packet: nothing is waited for together.
    fn fetch<'s>(&mut self, _: impl Iterator<Item = &'s mut Sighting>) {}
}

impl SharedTracker {
    /// A tracker without connections, of as many shards: at least one, at most 4,096.
    pub fn new(config: Config, shards: usize) -> Self {
        let shards = shards.clamp(1, 4096);
        let common = Common::new(config, shards);
        let shard = |i| Padded(Mutex::new(Shard::new(i, &common)));
        let (first, others) = (shard(0), (1..shards).map(shard).collect());
        SharedTracker { common, first, others, turn: AtomicUsize::new(0) }
    }

    fn shard(&self, shard: usize) -> &Padded {
        shard.checked_sub(1).and_then(|n| self.others.get(n)).unwrap_or(&self.first)
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shard(shard).0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> usize {
        1 + self.others.len()
    }

    fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        (0..self.count()).map(|i| self.lock(i))
    }

    /// The settings that the tracker was made with.
    pub fn config(&self) -> &Config {
        &self.common.config
    }

    /// Which of `workers` threads had best track a packet: the same for both directions of a connection.
    ///
    /// Each worker then has shards of its own, locks that nobody else takes and memory that nobody else writes to. A
    /// network card that spreads packets by a symmetric hash does about as well. Replies of translated connections may
    /// belong to another worker's shard; they are found there all the same.
    pub fn worker_of(&self, key: &FlowKey, zone: u16, workers: usize) -> usize {
        let hash = engine::hash_of(&self.common, key, zone);
        self.common.shard_of(hash) * workers.max(1) / self.count()
    }

    /// See [`Tracker::track`](crate::Tracker::track).
    pub fn track(&self, packet: &mut Packet, key: &FlowKey, request: &CtRequest, now: Instant) -> Outcome {
        engine::track_one(&mut &*self, packet, key, request, now)
    }

    /// See [`Tracker::track_batch`](crate::Tracker::track_batch).
    pub fn track_batch<'a>(
        &self,
        batch: impl IntoIterator<Item = (&'a mut Packet, &'a FlowKey)>,
        request: &CtRequest,
        now: Instant,
    ) -> ArrayVec<Outcome, BATCH> {
        engine::track_batch(&mut &*self, batch, request, now)
    }

    /// See [`Tracker::track_again`](crate::Tracker::track_again).
    pub fn track_again<'a, 's>(
        &self,
        batch: impl IntoIterator<Item = (&'a mut Packet, &'a FlowKey, &'s mut Sighting)>,
        request: &CtRequest,
        now: Instant,
    ) -> ArrayVec<Outcome, BATCH> {
        engine::track_again(&mut &*self, batch, request, now)
    }

    /// See [`Tracker::expire`](crate::Tracker::expire). Each call begins with the shard after the last one's.
    pub fn expire(&self, now: Instant, budget: usize) -> usize {
        let (mut removed, mut left) = (0, budget);
        for _ in 0..self.count() {
            if left == 0 {
                break;
            }
            let shard = self.turn.fetch_add(1, Ordering::Relaxed) % self.count();
            let (gone, looked) = manage::expire(&mut &*self, shard, now, left);
            removed += gone;
            left -= looked.min(left);
        }
        removed
    }

    /// See [`Tracker::next_deadline`](crate::Tracker::next_deadline).
    pub fn next_deadline(&self) -> Option<Instant> {
        self.all().filter_map(|shard| shard.table.next_deadline()).min()
    }

    /// See [`Tracker::len`](crate::Tracker::len).
    pub fn len(&self) -> usize {
        self.all().map(|shard| shard.len()).sum()
    }

    /// Whether no connection is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// See [`Tracker::zone_len`](crate::Tracker::zone_len).
    pub fn zone_len(&self, zone: u16) -> usize {
        self.all().map(|shard| shard.zone_len(zone)).sum()
    }

    /// How many connections each shard holds.
    pub fn shard_lens(&self) -> Vec<usize> {
        self.all().map(|shard| shard.len()).collect()
    }

    /// See [`Tracker::memory`](crate::Tracker::memory).
    pub fn memory(&self) -> usize {
        self.all().map(|shard| shard.table.memory()).sum()
    }

    /// The counters, of all shards.
    pub fn stats(&self) -> Stats {
        self.all().fold(Stats::default(), |mut all, shard| {
            all.add(&shard.stats());
            all
        })
    }

    /// See [`Tracker::dump_page`](crate::Tracker::dump_page). A page is of one shard.
    pub fn dump_page(
        &self,
        filter: &Filter,
        from: Cursor,
        most: usize,
        now: Instant,
    ) -> (Vec<ConnectionInfo>, Option<Cursor>) {
        let mut page = Vec::new();
        if from.shard >= self.count() {
            return (page, None);
        }
        let next = manage::page(&self.lock(from.shard), filter, from, most, now, &mut page);
        let after = from.shard + 1;
        (page, next.or((after < self.count()).then_some(Cursor { shard: after, slot: 0 })))
    }

    /// See [`Tracker::get`](crate::Tracker::get).
    pub fn get(&self, zone: u16, tuple: &Tuple, now: Instant) -> Option<ConnectionInfo> {
        let (shard, id) = manage::locate(&mut &*self, zone, tuple)?;
        manage::info(&self.lock(shard), id, now)
    }

    /// What helpers expect at `now`.
    pub fn expectations(&self, now: Instant) -> Vec<ExpectationInfo> {
        let infos = |shard: MutexGuard<'_, Shard>| {
            shard.expectations(now).map(|e| manage::expectation_info(e, now)).collect::<Vec<_>>()
        };
        self.all().flat_map(infos).collect()
    }

    /// See [`Tracker::flush`](crate::Tracker::flush).
    pub fn flush(&self, zone: Option<u16>) -> usize {
        manage::flush(&mut &*self, zone)
    }

    /// See [`Tracker::flush_tuple`](crate::Tracker::flush_tuple).
    pub fn flush_tuple(&self, zone: u16, tuple: &Tuple) -> bool {
        manage::flush_tuple(&mut &*self, zone, tuple)
    }

    /// See [`Tracker::flush_matching`](crate::Tracker::flush_matching).
    pub fn flush_matching(&self, filter: &Filter, now: Instant) -> usize {
        manage::flush_matching(&mut &*self, filter, now)
    }

    /// The limit of all connections.
    pub fn max_connections(&self) -> usize {
        manage::max_connections(&self.common)
    }

    /// See [`Tracker::set_max_connections`](crate::Tracker::set_max_connections).
    pub fn set_max_connections(&self, limit: usize) {
        manage::set_max_connections(&mut &*self, limit);
    }

    /// See [`Tracker::zone_limit`](crate::Tracker::zone_limit).
    pub fn zone_limit(&self, zone: u16) -> Option<usize> {
        manage::limits(&self.common).limit(zone)
    }

    /// See [`Tracker::zone_limits`](crate::Tracker::zone_limits).
    pub fn zone_limits(&self) -> Vec<(u16, usize)> {
        manage::limits(&self.common).own().collect()
    }

    /// The limit of zones that have none of their own.
    pub fn default_zone_limit(&self) -> Option<usize> {
        manage::limits(&self.common).default_limit()
    }

    /// See [`Tracker::set_zone_limit`](crate::Tracker::set_zone_limit).
    pub fn set_zone_limit(&self, zone: u16, limit: Option<usize>) {
        manage::set_zone_limit(&mut &*self, zone, limit);
    }

    /// See [`Tracker::set_default_zone_limit`](crate::Tracker::set_default_zone_limit).
    pub fn set_default_zone_limit(&self, limit: Option<usize>) {
        manage::set_default_zone_limit(&mut &*self, limit);
    }

    /// See [`Tracker::set_timeout_policy`](crate::Tracker::set_timeout_policy).
    ///
    /// # Errors
    /// If there are 65,535 policies already.
    pub fn set_timeout_policy(&self, policy: u32, timeouts: &Timeouts) -> Result<(), PolicyError> {
        manage::set_timeout_policy(&mut &*self, policy, timeouts)
    }

    /// See [`Tracker::remove_timeout_policy`](crate::Tracker::remove_timeout_policy).
    pub fn remove_timeout_policy(&self, policy: u32) {
        manage::remove_timeout_policy(&mut &*self, policy);
    }

    /// See [`Tracker::set_zone_timeout_policy`](crate::Tracker::set_zone_timeout_policy).
    pub fn set_zone_timeout_policy(&self, zone: u16, policy: Option<u32>) {
        manage::set_zone_timeout_policy(&mut &*self, zone, policy);
    }

    /// Whether TCP packets are believed whatever their sequence numbers.
    pub fn tcp_liberal(&self) -> bool {
        manage::tcp_liberal(&self.common)
    }

    /// Has TCP packets believed whatever their sequence numbers, or not.
    pub fn set_tcp_liberal(&self, liberal: bool) {
        manage::set_tcp_liberal(&self.common, liberal);
    }
}

/// Says how many connections there are, not which, and keeps the secret.
impl fmt::Debug for SharedTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTracker").field("shards", &self.count()).field("stats", &self.stats()).finish()
    }
}
