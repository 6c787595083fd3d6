//! The tracker: packets in, states out.

use core::fmt;

use ovs_packet::packet::CtMetadata;
use ovs_packet::{FlowKey, Instant, Packet};

use crate::config::{Config, TimeoutClass};
use crate::connection::{Connection, Meaning, Progress};
use crate::info::{ConnectionInfo, ProtocolState};
use crate::key::Key;
use crate::outcome::{InvalidReason, Outcome};
use crate::read::{self, Content, Seen};
use crate::request::CtRequest;
use crate::siphash::SipHash13;
use crate::stats::Stats;
use crate::table::{MOST, Table};
use crate::tuple::Tuple;

/// How many connections a full tracker looks at, in search of one that has expired, before it refuses another.
const RECLAIM: usize = 8;

/// What came of a packet that is not invalid, and the connection that it is of or about, if that is stored.
type Judgement = (Outcome, Option<u32>);

/// All connections, of all zones. See the [crate](crate) for what it does and an example.
pub struct Tracker {
    config: Config,
    table: Table,
    /// All but `connections`, which the table knows.
    stats: Stats,
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Tracker>();
};

impl Tracker {
    /// A tracker without connections.
    pub fn new(config: Config) -> Self {
        // Both halves of the key come from the one secret; the second is the first hashed under it.
        let k1 = SipHash13::new(config.seed, 0).hash(&[config.seed]);
        Tracker { config, table: Table::new(SipHash13::new(config.seed, k1)), stats: Stats::default() }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Finds, follows or opens the connection of `packet`, and writes what came of it to the packet's metadata.
    ///
    /// `key` is what extraction read of the packet as it is now. Of it and the packet's earlier metadata nothing
    /// remains in [`packet.meta.ct`](CtMetadata): that says only what `request.zone` knows. A program that goes on to
    /// match on it extracts the key again.
    ///
    /// The metadata hold, beside state and zone: the connection's mark and label, zero where there is no stored
    /// connection; the connection's original tuple, or that of the connection which the packet would open. An ICMP
    /// error has those of the connection it is about, and sets them like any packet, but does not prolong it. An
    /// invalid packet has nothing but state and zone, and changes nothing but a counter.
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
        let judged = match read::read(packet, key, request.zone, self.config.verify_checksums) {
            Ok(seen) => self.decide(&seen, request, now).map(|(outcome, id)| (outcome, seen, id)),
            Err(reason) => Err(reason),
        };
        let mut ct = CtMetadata { zone: request.zone, ..CtMetadata::default() };
        let outcome = match judged {
            Ok((outcome, seen, id)) => {
                if let Some(id) = id.filter(|_| request.commits()) {
                    self.set_mark_and_label(id, request);
                }
                let connection = id.and_then(|id| Some((self.table.get(id)?, self.table.label(id))));
                let mut began_low = seen.from_low;
                if let Some((connection, label)) = connection {
                    (ct.mark, ct.label, began_low) = (connection.mark, label, connection.began_low);
                }
                ct.original = seen.key.tuple(began_low).original();
                outcome
            }
            Err(reason) => {
                self.stats.count_invalid(reason);
                Outcome::Invalid(reason)
            }
        };
        ct.state = outcome.state();
        packet.meta.ct = ct;
        outcome
    }

    fn decide(&mut self, seen: &Seen, request: &CtRequest, now: Instant) -> Result<Judgement, InvalidReason> {
        let Some((id, reply)) = self.find(seen, now) else {
            return match seen.content {
                Content::Error => Err(InvalidReason::Unrelated),
                _ => self.open(seen, request, now),
            };
        };
        if seen.content == Content::Error {
            return Ok((Outcome::Related { reply }, Some(id)));
        }
        if request.force && reply && Connection::open(seen.key, seen.from_low, seen.content).is_some() {
            self.replace(id);
            return self.open(seen, request, now);
        }
        let Some(connection) = self.table.get_mut(id) else { return self.open(seen, request, now) };
        match connection.follow(seen.content, reply) {
            Meaning::Another => {
                self.replace(id);
                self.open(seen, request, now)
            }
            Meaning::Of(class) => {
                let outcome = match (connection.answered, reply) {
                    (false, _) => Outcome::Unanswered,
                    (true, false) => Outcome::Established,
                    (true, true) => Outcome::Reply,
                };
                self.table.set_deadline(id, now + self.config.timeouts.of(class));
                Ok((outcome, Some(id)))
            }
        }
    }

    /// The live connection of a packet, and whether the packet goes the way of its replies.
    fn find(&mut self, seen: &Seen, now: Instant) -> Option<(u32, bool)> {
        let id = self.table.find(&seen.key)?;
        let connection = self.table.get(id)?;
        if connection.is_expired(now) {
            self.table.remove(id);
            self.stats.expired += 1;
            return None;
        }
        Some((id, seen.from_low != connection.began_low))
    }

    /// What comes of a packet that is of no stored connection.
    fn open(&mut self, seen: &Seen, request: &CtRequest, now: Instant) -> Result<Judgement, InvalidReason> {
        let Some((connection, class)) = Connection::open(seen.key, seen.from_low, seen.content) else {
            return Err(InvalidReason::NotOpening);
        };
        if !request.commits() {
            return Ok((Outcome::Unknown, None));
        }
        let limit = self.config.max_connections.min(MOST);
        if self.table.len() >= limit {
            self.expire(now, RECLAIM);
        }
        if self.table.len() >= limit {
            self.stats.refused += 1;
            return Ok((Outcome::Refused, None));
        }
        let id = self.table.insert(Connection { deadline: self.deadline(class, now), ..connection });
        self.stats.created += 1;
        Ok((Outcome::Created, Some(id)))
    }

    fn deadline(&self, class: TimeoutClass, now: Instant) -> Instant {
        now + self.config.timeouts.of(class)
    }

    fn replace(&mut self, id: u32) {
        self.table.remove(id);
        self.stats.replaced += 1;
    }

    fn set_mark_and_label(&mut self, id: u32, request: &CtRequest) {
        if let (Some((value, mask)), Some(connection)) = (request.mark, self.table.get_mut(id)) {
            connection.mark = connection.mark & !mask | value & mask;
        }
        if let Some((value, mask)) = request.label {
            let label = self.table.label(id) & !mask | value & mask;
            self.table.set_label(id, label);
        }
    }

    /// Removes connections whose timeout has passed, and says how many.
    ///
    /// Looks at no more than `budget` connections, so that it can be called between packets; whether there are more
    /// to look at, [`next_deadline`](Self::next_deadline) says by not being later than `now`. An expired connection
    /// is found by no packet and no query from its instant on, removed or not: this only gives its room back, at most
    /// 0.27 seconds after.
    pub fn expire(&mut self, now: Instant, budget: usize) -> usize {
        let removed = (0..budget).map_while(|_| self.table.expire_one(now)).filter(|removed| *removed).count();
        self.stats.expired += removed as u64;
        removed
    }

    /// When [`expire`](Self::expire) will next have something to look at; `None` while there are no connections.
    ///
    /// Since traffic moves deadlines without a word to the timer, that may turn out to be nothing to remove.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.table.next_deadline()
    }

    /// How many connections are held, including those that have expired and are not yet removed.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no connection is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        Stats { connections: self.len(), ..self.stats }
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
        let wanted = move |c: &Connection| zone.is_none_or(|z| z == c.key.zone()) && !c.is_expired(now);
        self.table.iter().filter(move |(_, c)| wanted(c)).map(move |(id, c)| self.info(id, c, now))
    }

    /// The connection whose packets have `tuple`, in either direction, if it is alive at `now`.
    pub fn get(&self, zone: u16, tuple: &Tuple, now: Instant) -> Option<ConnectionInfo> {
        let id = self.table.find(&Key::new(zone, tuple)?.0)?;
        let connection = self.table.get(id).filter(|c| !c.is_expired(now))?;
        Some(self.info(id, connection, now))
    }

    fn info(&self, id: u32, connection: &Connection, now: Instant) -> ConnectionInfo {
        let original = connection.key.tuple(connection.began_low);
        ConnectionInfo {
            zone: connection.key.zone(),
            original,
            reply: original.reversed(),
            state: match connection.progress {
                Progress::Tcp(ends) => ProtocolState::Tcp { original: ends.original, reply: ends.reply },
                Progress::Icmp | Progress::Other => ProtocolState::Stateless,
            },
            answered: connection.answered,
            mark: connection.mark,
            label: self.table.label(id),
            timeout: connection.deadline - now,
        }
    }

    /// Removes all connections, or those of one zone, and says how many.
    pub fn flush(&mut self, zone: Option<u16>) -> usize {
        let wanted = |c: &Connection| zone.is_none_or(|z| z == c.key.zone());
        let ids: alloc::vec::Vec<u32> = self.table.iter().filter(|(_, c)| wanted(c)).map(|(id, _)| id).collect();
        for id in &ids {
            self.table.remove(*id);
        }
        self.stats.flushed += ids.len() as u64;
        ids.len()
    }

    /// Removes the connection whose packets have `tuple`, in either direction, and says whether there was one.
    pub fn flush_tuple(&mut self, zone: u16, tuple: &Tuple) -> bool {
        let Some(id) = Key::new(zone, tuple).and_then(|(key, _)| self.table.find(&key)) else { return false };
        self.table.remove(id);
        self.stats.flushed += 1;
        true
    }
}

/// Says how many connections there are, not which, and keeps the secret.
impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker").field("connections", &self.len()).field("stats", &self.stats).finish_non_exhaustive()
    }
}
