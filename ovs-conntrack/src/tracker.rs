//! The tracker with one owner.

use core::fmt;

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

/// All connections, of all zones. See the [crate](crate) for what it does and an example.
pub struct Tracker {
    common: Common,
    shard: Shard,
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Tracker>();
};

impl Shards for Tracker {
    fn common(&self) -> &Common {
        &self.common
    }

    fn with<R>(&mut self, _: usize, f: impl FnOnce(&mut Shard, &Common) -> R) -> R {
        f(&mut self.shard, &self.common)
    }

    fn fetch<'s>(&mut self, packets: impl Iterator<Item = &'s mut Sighting>) {
        self.shard.table.fetch(packets);
    }
}

impl Tracker {
    /// A tracker without connections.
    pub fn new(config: Config) -> Self {
        let common = Common::new(config, 1);
        Tracker { shard: Shard::new(0, &common), common }
    }

    /// The settings that the tracker was made with.
    pub fn config(&self) -> &Config {
        &self.common.config
    }

    /// Finds, follows or opens the connection of `packet`, and writes what came of it to the packet's metadata.
    ///
    /// `key` is what extraction read of the packet as it is now. Of it and the packet's earlier metadata nothing
    /// remains in [`packet.meta.ct`](ovs_packet::packet::CtMetadata): that says only what `request.zone` knows. A
    /// program that goes on to match on it extracts the key again, since the packet may have been translated.
    ///
    /// The metadata hold, beside state and zone: the connection's mark and label, zero where there is no stored
    /// connection; the connection's original tuple, or that of the connection which the packet would open. An ICMP
    /// error has those of the connection it is about, and sets them like any packet, but does not prolong it. A
    /// connection that was announced by another has that one's original tuple. An invalid packet has nothing but state
    /// and zone, and changes nothing but a counter.
    ///
    /// ```
    /// use ovs_conntrack::{Config, CtRequest, Outcome, Tracker};
    /// use ovs_packet::packet::CtState;
    /// use ovs_packet::{FlowKey, Instant, Match, compose, extract};
    ///
    /// let dns: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=4321,tp_dst=53".parse().unwrap();
    /// let mut query = compose::compose(dns.key(), b"?");
    /// let mut key = FlowKey::ZERO;
    /// extract::extract(&mut query, &mut key);
    ///
    /// let mut tracker = Tracker::new(Config::new(1));
    /// let outcome = tracker.track(&mut query, &key, &CtRequest::commit(7).with_mark(5, !0), Instant::ZERO);
    /// assert_eq!(outcome, Outcome::Created);
    /// assert_eq!(query.meta.ct.state, CtState::NEW | CtState::TRACKED);
    /// assert_eq!((query.meta.ct.zone, query.meta.ct.mark), (7, 5));
    /// ```
    pub fn track(&mut self, packet: &mut Packet, key: &FlowKey, request: &CtRequest, now: Instant) -> Outcome {
        engine::track_one(self, packet, key, request, now)
    }

    /// [Tracks](Self::track) packets in their order, as many as there are both packets and keys, at most [`BATCH`].
    ///
    /// What the packets need of the table is fetched for all of them before the first is tracked, so that they wait for
    /// memory together: with many connections this is several times as fast.
    ///
    /// ```
    /// # use ovs_conntrack::{Config, CtRequest, Outcome, Tracker};
    /// # use ovs_packet::{FlowKey, Instant, Match, compose, extract};
    /// # let dns: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=4321,tp_dst=53".parse().unwrap();
    /// # let mut packets = vec![compose::compose(dns.key(), b"?"); 2];
    /// # let mut keys = vec![FlowKey::ZERO; 2];
    /// # packets.iter_mut().zip(&mut keys).for_each(|(p, k)| { extract::extract(p, k); });
    /// let mut tracker = Tracker::new(Config::new(1));
    /// let batch = packets.iter_mut().zip(&keys);
    /// let outcomes = tracker.track_batch(batch, &CtRequest::commit(7), Instant::ZERO);
    /// assert_eq!(outcomes[..], [Outcome::Created, Outcome::Unanswered]);
    /// ```
    pub fn track_batch<'a>(
        &mut self,
        batch: impl IntoIterator<Item = (&'a mut Packet, &'a FlowKey)>,
        request: &CtRequest,
        now: Instant,
    ) -> ArrayVec<Outcome, BATCH> {
        engine::track_batch(self, batch, request, now)
    }

    /// [Tracks](Self::track_batch) packets that may have been tracked before, and keeps what was read of each in its
    /// [`Sighting`]: a packet whose bytes have not changed since is neither read nor looked up again in that zone.
    ///
    /// ```
    /// # use ovs_conntrack::{Config, CtRequest, Outcome, Sighting, Tracker};
    /// # use ovs_packet::{FlowKey, Instant, Match, compose, extract};
    /// # let dns: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=4321,tp_dst=53".parse().unwrap();
    /// # let mut query = compose::compose(dns.key(), b"?");
    /// # let mut key = FlowKey::ZERO;
    /// # extract::extract(&mut query, &mut key);
    /// let (mut tracker, mut sighting) = (Tracker::new(Config::new(1)), Sighting::NONE);
    /// let look = tracker.track_again([(&mut query, &key, &mut sighting)], &CtRequest::lookup(7), Instant::ZERO);
    /// let keep = tracker.track_again([(&mut query, &key, &mut sighting)], &CtRequest::commit(7), Instant::ZERO);
    /// assert_eq!((look[0], keep[0]), (Outcome::Unknown, Outcome::Created));
    /// ```
    pub fn track_again<'a, 's>(
        &mut self,
        batch: impl IntoIterator<Item = (&'a mut Packet, &'a FlowKey, &'s mut Sighting)>,
        request: &CtRequest,
        now: Instant,
    ) -> ArrayVec<Outcome, BATCH> {
        engine::track_again(self, batch, request, now)
    }

    /// Removes connections whose timeout has passed, and says how many.
    ///
    /// Looks at no more than `budget` connections, so that it can be called between packets; whether there are more
    /// to look at, [`next_deadline`](Self::next_deadline) says by not being later than `now`. An expired connection
    /// is found by no packet and no query from its instant on, removed or not: this only gives its room back, at most
    /// 0.27 seconds after. Room that a flush left is given back too.
    pub fn expire(&mut self, now: Instant, budget: usize) -> usize {
        manage::expire(self, 0, now, budget).0
    }

    /// When [`expire`](Self::expire) will next have something to look at; `None` while there are no connections.
    ///
    /// Since traffic moves deadlines without a word to the timer, that may turn out to be nothing to remove.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.shard.table.next_deadline()
    }

    /// How many connections are held, including those that have expired and are not yet removed.
    pub fn len(&self) -> usize {
        self.shard.len()
    }

    /// Whether no connection is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many connections a zone has, including those that have expired and are not yet removed.
    pub fn zone_len(&self, zone: u16) -> usize {
        self.shard.zone_len(zone)
    }

    /// Bytes of memory that are held for connections.
    pub fn memory(&self) -> usize {
        self.shard.table.memory()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.shard.stats()
    }

    /// All connections that are alive at `now`, or those of one zone.
    ///
    /// In no order that means anything, but the same in every run.
    ///
    /// ```
    /// # use ovs_conntrack::{Config, CtRequest, Tracker};
    /// # use ovs_packet::{FlowKey, Instant, Match, compose, extract};
    /// # let ping: Match = "icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2,icmp_type=8,icmp_code=0".parse().unwrap();
    /// # let mut packet = compose::compose(ping.key(), b"");
    /// # let mut key = FlowKey::ZERO;
    /// # extract::extract(&mut packet, &mut key);
    /// # let now = Instant::ZERO;
    /// # let mut tracker = Tracker::new(Config::new(1));
    /// # tracker.track(&mut packet, &key, &CtRequest::commit(3), now);
    /// for connection in tracker.dump(Some(3), now) {
    ///     println!("{connection}");
    /// }
    /// # assert_eq!((tracker.dump(Some(3), now).count(), tracker.dump(Some(4), now).count()), (1, 0));
    /// ```
    pub fn dump(&self, zone: Option<u16>, now: Instant) -> impl Iterator<Item = ConnectionInfo> {
        let wanted = move |info: &ConnectionInfo| zone.is_none_or(|zone| zone == info.zone);
        (0..self.shard.table.slots()).filter_map(move |id| manage::info(&self.shard, id, now)).filter(wanted)
    }

    /// Connections that are alive at `now` and match, found by looking at `most` places of the table from `from` on,
    /// and where to go on.
    ///
    /// Between two pages packets may be tracked: a connection that is there all the time is shown once.
    ///
    /// ```
    /// # use ovs_conntrack::{Config, Cursor, Filter, Tracker};
    /// # use ovs_packet::Instant;
    /// # let (tracker, now) = (Tracker::new(Config::new(1)), Instant::ZERO);
    /// let mut from = Some(Cursor::default());
    /// while let Some(at) = from {
    ///     let (page, next) = tracker.dump_page(&Filter::zone(3), at, 1000, now);
    ///     page.iter().for_each(|connection| println!("{connection}"));
    ///     from = next;
    /// }
    /// ```
    pub fn dump_page(
        &self,
        filter: &Filter,
        from: Cursor,
        most: usize,
        now: Instant,
    ) -> (Vec<ConnectionInfo>, Option<Cursor>) {
        let mut page = Vec::new();
        let next = if from.shard == 0 { manage::page(&self.shard, filter, from, most, now, &mut page) } else { None };
        (page, next)
    }

    /// The connection whose packets have `tuple`, in either direction, if it is alive at `now`.
    pub fn get(&self, zone: u16, tuple: &Tuple, now: Instant) -> Option<ConnectionInfo> {
        let id = manage::locate_here(&self.common, &self.shard, zone, tuple)?;
        manage::info(&self.shard, id, now)
    }

    /// What helpers expect at `now`.
    pub fn expectations(&self, now: Instant) -> impl Iterator<Item = ExpectationInfo> {
        self.shard.expectations(now).map(move |e| manage::expectation_info(e, now))
    }

    /// Removes all connections, or those of one zone, and says how many.
    ///
    /// A zone takes the same time however many it has; the room is given back by and by.
    pub fn flush(&mut self, zone: Option<u16>) -> usize {
        manage::flush(self, zone)
    }

    /// Removes the connection whose packets have `tuple`, in either direction, and says whether there was one.
    pub fn flush_tuple(&mut self, zone: u16, tuple: &Tuple) -> bool {
        manage::flush_tuple(self, zone, tuple)
    }

    /// Removes the connections that match and are alive at `now`, and says how many. Looks at all there are.
    pub fn flush_matching(&mut self, filter: &Filter, now: Instant) -> usize {
        manage::flush_matching(self, filter, now)
    }

    /// The limit of all connections.
    pub fn max_connections(&self) -> usize {
        manage::max_connections(&self.common)
    }

    /// Sets the limit of all connections. None is removed that there is already.
    pub fn set_max_connections(&mut self, limit: usize) {
        manage::set_max_connections(self, limit);
    }

    /// The limit that holds for a zone's connections, its own or the default.
    pub fn zone_limit(&self, zone: u16) -> Option<usize> {
        manage::limits(&self.common).limit(zone)
    }

    /// Zones that have a limit of their own, and which.
    pub fn zone_limits(&self) -> Vec<(u16, usize)> {
        manage::limits(&self.common).own().collect()
    }

    /// The limit of zones that have none of their own.
    pub fn default_zone_limit(&self) -> Option<usize> {
        manage::limits(&self.common).default_limit()
    }

    /// Sets the limit of a zone's connections, or leaves it to the default. None is removed that there is already.
    ///
    /// ```
    /// # use ovs_conntrack::{Config, Tracker};
    /// let mut tracker = Tracker::new(Config::new(1));
    /// tracker.set_default_zone_limit(Some(100));
    /// tracker.set_zone_limit(5, Some(3));
    /// assert_eq!((tracker.zone_limit(5), tracker.zone_limit(6)), (Some(3), Some(100)));
    /// ```
    pub fn set_zone_limit(&mut self, zone: u16, limit: Option<usize>) {
        manage::set_zone_limit(self, zone, limit);
    }

    /// Sets the limit of the connections of each zone that has none of its own, or takes it away.
    pub fn set_default_zone_limit(&mut self, limit: Option<usize>) {
        manage::set_default_zone_limit(self, limit);
    }

    /// Defines a timeout policy, or defines it anew: connections that have it follow with their next packet.
    ///
    /// # Errors
    /// If there are 65,535 policies already.
    pub fn set_timeout_policy(&mut self, policy: u32, timeouts: &Timeouts) -> Result<(), PolicyError> {
        manage::set_timeout_policy(self, policy, timeouts)
    }

    /// Takes a policy's definition away: connections that have it follow the tracker's timeouts.
    pub fn remove_timeout_policy(&mut self, policy: u32) {
        manage::remove_timeout_policy(self, policy);
    }

    /// Says which timeout policy new connections of a zone have; none is the tracker's timeouts, and so is one that is
    /// not defined.
    pub fn set_zone_timeout_policy(&mut self, zone: u16, policy: Option<u32>) {
        manage::set_zone_timeout_policy(self, zone, policy);
    }

    /// Whether TCP packets are believed whatever their sequence numbers.
    pub fn tcp_liberal(&self) -> bool {
        manage::tcp_liberal(&self.common)
    }

    /// Has TCP packets believed whatever their sequence numbers, or not.
    pub fn set_tcp_liberal(&mut self, liberal: bool) {
        manage::set_tcp_liberal(&self.common, liberal);
    }
}

/// Says how many connections there are, not which, and keeps the secret.
impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker")
            .field("connections", &self.len())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
