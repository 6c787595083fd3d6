//! A shard: the connections whose keys hash to it, and all that is decided about them under one lock, or by one owner.
//!
//! # Dead connections
//!
//! A connection is dead when its deadline has passed, or when its zone was flushed since: a zone has a generation, which
//! a flush increments, so that it takes the same time however many connections go. Dead ones are found by nobody. Their
//! room is given back when somebody comes across them: a packet, the timer, or the sweep that follows a flush. That
//! looks at [`SWEEP`] slots for every connection that is stored, and so keeps the dead below a seventh of the living
//! however often zones are flushed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ovs_packet::Instant;
use ovs_packet::packet::{CtMetadata, CtState};

use crate::config::{Config, TimeoutClass, Timeouts};
use crate::connection::{Connection, Flags, Meaning};
use crate::helper::{Expectation, Expected, Helped};
use crate::key::Key;
use crate::limits::ZoneLimits;
use crate::outcome::{InvalidReason, Outcome};
use crate::read::{Content, Seen};
use crate::request::CtRequest;
use crate::siphash::SipHash13;
use crate::stats::Stats;
use crate::table::{Alias, Entry, MOST, Table};
use crate::tcp::Segment;
use crate::tuple::Tuple;
use crate::zone::{Pool, Quota, Zone, Zones};

/// How many connections a full tracker looks at, in search of one that is dead, before it refuses another.
const RECLAIM: usize = 8;

/// How many slots are looked at for every connection that is stored, while a flush has left any.
const SWEEP: usize = 8;

/// What all shards of a tracker share. Nothing here is written to for a packet of an established connection.
pub(crate) struct Common {
    pub(crate) config: Config,
    pub(crate) hash: SipHash13,
    pub(crate) shards: usize,
    pub(crate) liberal: AtomicBool,
    pub(crate) max_connections: AtomicUsize,
    pub(crate) pool: alloc::sync::Arc<Pool>,
    pub(crate) limits: Mutex<ZoneLimits>,
    /// How many connections are expected, in all shards.
    pub(crate) expectations: AtomicUsize,
    /// How many reply tuples came free.
    pub(crate) releases: AtomicU64,
}

impl Common {
    pub(crate) fn new(config: Config, shards: usize) -> Common {
        // Both halves of the key come from the one secret; the second is the first hashed under it.
        let k1 = SipHash13::new(config.seed, 0).hash(&[config.seed]);
        let max_connections = config.max_connections.min(MOST);
        Common {
            config,
            hash: SipHash13::new(config.seed, k1),
            shards,
            liberal: AtomicBool::new(config.tcp_liberal),
            max_connections: AtomicUsize::new(max_connections),
            pool: Pool::new(max_connections, shards),
            limits: Mutex::new(ZoneLimits::default()),
            expectations: AtomicUsize::new(0),
            releases: AtomicU64::new(0),
        }
    }

    /// The shard that keys with this hash belong to: by bits that the table does not choose buckets or tags by first.
    pub(crate) fn shard_of(&self, hash: u64) -> usize {
        ((hash >> 32 & 0xffff) as usize * self.shards) >> 16
    }

    fn zone_quota(&self, zone: u16) -> Option<Quota> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).pool(zone, self.shards).map(Quota::new)
    }
}

/// A named set of timeouts.
struct Policy {
    id: Option<u32>,
    nanos: [u64; TimeoutClass::COUNT],
}

/// An alias whose connection is gone: its key, and what it pointed to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orphan {
    pub(crate) key: Key,
    pub(crate) shard: u16,
    pub(crate) id: u32,
}

/// What a key was found to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found {
    /// Of no connection.
    Absent,
    /// Of a connection of this shard, in reply direction or not, by its original tuple.
    Here { id: u32, reply: bool },
    /// Of a connection of that shard, by its reply tuple.
    There(Alias),
}

/// How a packet goes with a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) id: u32,
    pub(crate) reply: bool,
    /// Whether the packet has the translated tuple already.
    pub(crate) rewritten: bool,
}

/// Where what is to be said of a packet, and done to it, is written.
pub(crate) struct Said<'a> {
    /// The packet's metadata; all but the zone.
    pub(crate) ct: &'a mut CtMetadata,
    /// What most packets have none of.
    pub(crate) work: &'a mut Option<Work>,
}

/// What is to be done to a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// What the packet's tuple is to become.
    pub(crate) to: Option<Tuple>,
    /// Work for a helper.
    pub(crate) help: Option<Help>,
}

/// What a helper is to know of the control connection whose packet it reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Help {
    pub(crate) helped: Helped,
    pub(crate) way: Way,
    pub(crate) key: Key,
    pub(crate) original: Tuple,
    pub(crate) reply: Tuple,
}

/// What came of a packet that is of a connection.
pub(crate) enum Meeting {
    Judged(Outcome),
    Invalid(InvalidReason),
    /// The connection is gone: the packet opens another.
    Gone,
}

/// Whether a key could be taken.
pub(crate) enum Claim {
    Done,
    Taken,
    /// Taken by an alias, whose connection may be dead.
    Alias(Alias),
}

/// A search for a reply tuple: for what, and how many had come free when it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Search {
    pub(crate) of: u64,
    pub(crate) releases: u64,
}

/// What a new connection is made from.
pub(crate) struct Opening<'a> {
    pub(crate) seen: &'a Seen,
    pub(crate) request: &'a CtRequest,
    pub(crate) now: Instant,
    /// The reply tuple, if it is not the original one reversed.
    pub(crate) reply: Option<(Key, bool)>,
    pub(crate) expectation: Option<&'a Expectation>,
}

/// See the [module](self).
pub(crate) struct Shard {
    index: u16,
    pub(crate) table: Table,
    zones: Zones,
    quota: Quota,
    policies: Vec<Policy>,
    helped: BTreeMap<u32, Helped>,
    parents: BTreeMap<u32, Tuple>,
    expectations: BTreeMap<Expected, Expectation>,
    orphans: Vec<Orphan>,
    /// Flushed connections that still take room, and where the search for them goes on.
    stale: usize,
    sweep: u32,
    /// Random numbers drawn.
    draws: u64,
    /// The last search for a reply tuple that found all taken.
    futile: Option<Search>,
    pub(crate) stats: Stats,
}

impl Shard {
    pub(crate) fn new(index: usize, common: &Common) -> Shard {
        Shard {
            index: index as u16,
            table: Table::new(common.hash),
            zones: Zones::default(),
            quota: Quota::new(common.pool.clone()),
            policies: alloc::vec![Policy { id: None, nanos: common.config.timeouts.nanos() }],
            helped: BTreeMap::new(),
            parents: BTreeMap::new(),
            expectations: BTreeMap::new(),
            orphans: Vec::new(),
            stale: 0,
            sweep: 0,
            draws: 0,
            futile: None,
            stats: Stats::default(),
        }
    }

    /// How many connections are held, those that were flushed not counted.
    pub(crate) fn len(&self) -> usize {
        self.table.len() - self.stale
    }

    /// The counters, and how many connections there are now.
    pub(crate) fn stats(&self) -> Stats {
        Stats { connections: self.len(), expectations: self.expectations.len(), ..self.stats }
    }

    /// A random number, the same in every run.
    pub(crate) fn random(&mut self, common: &Common) -> u64 {
        self.draws += 1;
        common.hash.hash(&[self.draws, u64::from(self.index), 0x6e61_7420_706f_7274])
    }

    /// Aliases elsewhere that are to be removed since their connections are gone.
    pub(crate) fn take_orphans(&mut self) -> Vec<Orphan> {
        core::mem::take(&mut self.orphans)
    }

    pub(crate) fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    fn generation(&self, zone: u16) -> Option<u32> {
        self.zones.get(zone).map(|z| z.generation)
    }

    #[inline]
    fn is_flushed(&self, connection: &Connection) -> bool {
        self.generation(connection.zone) != Some(connection.generation)
    }

    /// The connection of this number, if it is alive.
    #[inline]
    pub(crate) fn get(&self, id: u32, now: Instant) -> Option<&Connection> {
        self.table.get(id).filter(|c| !c.is_expired(now) && !self.is_flushed(c))
    }

    /// What has this key, as a packet from its low end or its high one sees it. What is dead is removed.
    pub(crate) fn find(&mut self, key: &Key, hash: u64, from_low: bool, now: Instant) -> Found {
        match self.table.find(key, hash) {
            None => Found::Absent,
            Some(Entry::Connection(id)) => match self.get(id, now) {
                Some(connection) => Found::Here { id, reply: from_low != connection.began_low() },
                None => {
                    self.bury(id);
                    Found::Absent
                }
            },
            Some(Entry::Alias(alias)) if self.generation(alias.zone) == Some(alias.generation) => Found::There(alias),
            Some(Entry::Alias(alias)) => {
                self.table.remove_alias(&alias.key, alias.shard, alias.id);
                Found::Absent
            }
        }
    }

    /// How a packet goes that an alias led here; `None` if the connection is gone.
    pub(crate) fn follow_alias(&self, alias: &Alias, from_low: bool, now: Instant) -> Option<Way> {
        self.get(alias.id, now)?;
        (self.table.reply(alias.id)? == (alias.key, alias.from_low)).then_some(Way {
            id: alias.id,
            reply: from_low == alias.from_low,
            rewritten: from_low != alias.from_low,
        })
    }

    /// Follows a packet of the connection with this number, if that has the packet's key and is alive, and nothing about
    /// either is special: all that most packets need, with one look at the table. Otherwise nothing happens.
    #[inline]
    pub(crate) fn meet_plainly(
        &mut self,
        id: u32,
        seen: &Seen,
        request: &CtRequest,
        now: Instant,
        common: &Common,
        said: &mut Said<'_>,
    ) -> Option<Outcome> {
        let (connection, windows) = self.table.get_with_windows(id).filter(|(c, _)| c.key == seen.key)?;
        let reply = seen.from_low != connection.began_low();
        let special = connection.flags.has(Flags::ELSEWHERE)
            || matches!(seen.content, Content::Error)
            || request.force && reply
            || request.label.is_some();
        let flushed = self.zones.get(connection.zone).is_none_or(|z| z.generation != connection.generation);
        if special || flushed || connection.is_expired(now) {
            return None;
        }
        let liberal = common.liberal.load(Ordering::Relaxed);
        let Meaning::Of(class) = connection.follow(windows, &seen.content, reply, liberal) else { return None };
        if let Some((value, mask)) = request.mark.filter(|_| request.commits()) {
            connection.mark = connection.mark & !mask | value & mask;
        }
        let outcome = match connection.answered() {
            false => Outcome::Unanswered,
            true if reply => Outcome::Reply,
            true => Outcome::Established,
        };
        said.ct.state = outcome.state();
        said.ct.mark = connection.mark;
        said.ct.label = 0;
        said.ct.original = Some(connection.key.original(connection.began_low()));
        let deadline = deadline(&self.policies, connection.policy, class, now);
        let before = core::mem::replace(&mut connection.deadline, deadline);
        if deadline < before {
            self.table.hasten(id, deadline);
        }
        Some(outcome)
    }

    /// Follows a packet of a connection.
    pub(crate) fn meet(
        &mut self,
        way: Way,
        seen: &Seen,
        request: &CtRequest,
        now: Instant,
        common: &Common,
        said: &mut Said<'_>,
    ) -> Meeting {
        let Way { id, reply, .. } = way;
        let Some((connection, windows)) = self.table.get_with_windows(id) else { return Meeting::Gone };
        let mut helped = None;
        let adjusted;
        let mut content = &seen.content;
        if matches!(content, Content::Error) {
            return Meeting::Judged(self.judge(way, Outcome::Related { reply }, request, None, said));
        }
        if request.force && reply && Connection::can_open(content) {
            self.replace(id);
            return Meeting::Gone;
        }
        if connection.flags.has(Flags::HELPER) {
            helped = self.helped.get(&id).copied();
            if let (Some(helped), Content::Tcp(segment)) = (&helped, content) {
                adjusted = Content::Tcp(own_numbers(segment, helped, way));
                content = &adjusted;
            }
        }
        let liberal = common.liberal.load(Ordering::Relaxed);
        let class = match connection.follow(windows, content, reply, liberal) {
            Meaning::Of(class) => class,
            Meaning::Another => {
                self.replace(id);
                return Meeting::Gone;
            }
            Meaning::Outside => return Meeting::Invalid(InvalidReason::TcpWindow),
        };
        let outcome = match connection.answered() {
            false => Outcome::Unanswered,
            true if reply => Outcome::Reply,
            true => Outcome::Established,
        };
        let deadline = deadline(&self.policies, connection.policy, class, now);
        let before = core::mem::replace(&mut connection.deadline, deadline);
        if deadline < before {
            self.table.hasten(id, deadline);
        }
        Meeting::Judged(self.judge(way, outcome, request, helped, said))
    }

    /// Writes what is to be said of a packet of a connection, whose mark and label are set if the request says so.
    fn judge(
        &mut self,
        way: Way,
        outcome: Outcome,
        request: &CtRequest,
        helped: Option<Helped>,
        said: &mut Said<'_>,
    ) -> Outcome {
        if request.commits() {
            self.set_mark_and_label(way.id, request);
        }
        let Some(connection) = self.table.get(way.id) else { return outcome };
        said.ct.state = outcome.state();
        said.ct.mark = connection.mark;
        said.ct.label = 0;
        said.ct.original = Some(connection.key.original(connection.began_low()));
        if connection.flags.has(Flags::ELSEWHERE) {
            self.judge_more(way, request, helped, said);
        }
        outcome
    }

    /// Likewise, what is not in the connection's cache line.
    fn judge_more(&mut self, way: Way, request: &CtRequest, helped: Option<Helped>, said: &mut Said<'_>) {
        let Way { id, reply, rewritten } = way;
        let Some(connection) = self.table.get(id) else { return };
        let own = connection.key.tuple(connection.began_low());
        said.ct.label = self.table.label(id);
        if connection.flags.has(Flags::PARENT) {
            said.ct.state |= CtState::RELATED;
            said.ct.original = self.parents.get(&id).and_then(Tuple::original);
        }
        let answer = self.table.reply(id).map(|(key, from_low)| key.tuple(from_low));
        let mut work = Work { to: None, help: None };
        if let Some(answer) = answer {
            let [now, then] = if reply { [answer, own.reversed()] } else { [own, answer.reversed()] };
            if rewritten || request.nat.is_some() {
                said.ct.state |= translation(&now, &then);
            }
            work.to = (!rewritten && request.nat.is_some()).then_some(then);
        }
        // A text that names translated addresses is changed only with them.
        if let Some(helped) = helped.filter(|_| !rewritten && (answer.is_none() || request.nat.is_some())) {
            let reply = answer.unwrap_or_else(|| own.reversed());
            work.help = Some(Help { helped, way, key: connection.key, original: own, reply });
        }
        if work.to.is_some() || work.help.is_some() {
            *said.work = Some(work);
        }
    }

    #[inline]
    fn set_mark_and_label(&mut self, id: u32, request: &CtRequest) {
        if let (Some((value, mask)), Some(connection)) = (request.mark, self.table.get_mut(id)) {
            connection.mark = connection.mark & !mask | value & mask;
        }
        if let Some((value, mask)) = request.label {
            let label = self.table.label(id) & !mask | value & mask;
            self.table.set_label(id, label);
        }
    }

    /// Makes room for a connection: a reserved slot. The limits are charged.
    pub(crate) fn reserve(&mut self, zone: u16, now: Instant, common: &Common) -> Option<u32> {
        let number = self.zone_number(zone, common);
        if !self.quota.take() {
            self.expire(now, RECLAIM);
            if !self.quota.take() {
                self.stats.refused += 1;
                return None;
            }
        }
        if let Some(quota) = self.zones.get_mut(number).and_then(|z| z.quota.as_mut())
            && !quota.take()
        {
            self.expire(now, RECLAIM);
            let again = self.zones.get_mut(number).and_then(|z| z.quota.as_mut());
            if again.is_some_and(|quota| !quota.take()) {
                self.quota.give(1);
                self.stats.refused_by_zone += 1;
                return None;
            }
        }
        if self.stale > 0 {
            self.sweep(SWEEP);
        }
        Some(self.table.reserve())
    }

    /// Gives back what [`reserve`](Self::reserve) gave.
    pub(crate) fn release(&mut self, id: u32, zone: u16, common: &Common) {
        self.table.release(id);
        self.uncharge(zone, common);
    }

    /// Gives room for a connection back to the limits.
    pub(crate) fn uncharge(&mut self, zone: u16, common: &Common) {
        self.quota.give(1);
        let number = self.zone_number(zone, common);
        if let Some(quota) = self.zones.get_mut(number).and_then(|z| z.quota.as_mut()) {
            quota.give(1);
        }
    }

    /// Stores the connection that a packet opens, in a reserved slot, and says what is to be said of the packet.
    ///
    /// `None` if the packet opens none, or the slot was lost to a flush of everything.
    pub(crate) fn store(
        &mut self,
        id: u32,
        opening: &Opening<'_>,
        common: &Common,
        said: &mut Said<'_>,
    ) -> Option<Outcome> {
        let Opening { seen, request, now, reply, expectation } = *opening;
        let number = self.zone_number(request.zone, common);
        let (mut connection, windows, class) = Connection::open(seen.key, seen.from_low, &seen.content)?;
        let (generation, policy) = self.zones.get(number).map_or((0, 0), |z| (z.generation, z.policy));
        connection.zone = number;
        connection.generation = generation;
        connection.policy = match request.timeout_policy {
            Some(wanted) => self.policies.iter().position(|p| p.id == Some(wanted)).unwrap_or(0) as u16,
            None => policy,
        };
        connection.deadline = deadline(&self.policies, connection.policy, class, now);
        connection.mark = expectation.map_or(0, |e| e.mark);
        connection.flags.set(Flags::PARENT, expectation.is_some());
        let helper = request.helper.filter(|helper| helper.proto() == seen.key.proto());
        connection.flags.set(Flags::HELPER, helper.is_some());
        if !self.table.fill(id, seen.hash, connection, windows) {
            return None;
        }
        if let Some(zone) = self.zones.get_mut(number) {
            zone.connections += 1;
        }
        self.stats.created += 1;
        if let Some((key, from_low)) = reply {
            self.table.set_reply(id, key, from_low);
        }
        let helped = helper.map(|helper| Helped { helper, adjust: Default::default() });
        if let Some(helped) = helped {
            self.helped.insert(id, helped);
        }
        let mut outcome = Outcome::Created;
        if let Some(expectation) = expectation {
            self.parents.insert(id, expectation.parent);
            self.table.set_label(id, expectation.label);
            outcome = Outcome::Expected { created: true };
        }
        Some(self.judge(Way { id, reply: false, rewritten: false }, outcome, request, helped, said))
    }

    /// Takes a key for the replies of a connection elsewhere.
    pub(crate) fn claim(
        &mut self,
        key: Key,
        from_low: bool,
        owner: (u16, u32),
        now: Instant,
        common: &Common,
    ) -> Claim {
        match self.find(&key, key.hash(common.hash), from_low, now) {
            Found::Absent => {}
            Found::Here { .. } => return Claim::Taken,
            Found::There(alias) => return Claim::Alias(alias),
        }
        let zone = self.zone_number(key.zone(), common);
        let generation = self.generation(zone).unwrap_or(0);
        let (shard, id) = owner;
        self.table.insert_alias(Alias { key, from_low, zone, generation, shard, id });
        Claim::Done
    }

    /// Whether such a search was made, found all taken, and nothing has come free since.
    pub(crate) fn is_futile(&self, search: &Search) -> bool {
        self.futile == Some(*search)
    }

    pub(crate) fn remember_futile(&mut self, search: Search) {
        self.futile = Some(search);
    }

    /// Removes an alias whose connection is gone, or was not made.
    pub(crate) fn unclaim(&mut self, orphan: &Orphan, common: &Common) {
        common.releases.fetch_add(1, Ordering::Relaxed);
        self.table.remove_alias(&orphan.key, orphan.shard, orphan.id);
    }

    fn replace(&mut self, id: u32) {
        self.remove(id);
        self.stats.replaced += 1;
    }

    /// Removes a connection if it is dead, and says whether there is none now.
    pub(crate) fn bury_if_dead(&mut self, id: u32, now: Instant) -> bool {
        let dead = self.get(id, now).is_none();
        if dead {
            self.bury(id);
        }
        dead
    }

    /// Removes a dead connection. One that was flushed has been counted.
    fn bury(&mut self, id: u32) -> bool {
        let expired = self.table.get(id).is_some_and(|c| !self.is_flushed(c));
        self.remove(id);
        self.stats.expired += u64::from(expired);
        expired
    }

    /// Removes a connection, and all that there is of it.
    fn remove(&mut self, id: u32) {
        let Some((connection, reply)) = self.table.remove(id) else { return };
        if let Some(key) = reply {
            self.orphans.push(Orphan { key, shard: self.index, id });
        }
        if connection.flags.has(Flags::HELPER) {
            self.helped.remove(&id);
        }
        if connection.flags.has(Flags::PARENT) {
            self.parents.remove(&id);
        }
        if self.is_flushed(&connection) {
            self.stale -= 1;
            return;
        }
        self.quota.give(1);
        if let Some(zone) = self.zones.get_mut(connection.zone) {
            zone.connections -= 1;
            if let Some(quota) = &mut zone.quota {
                quota.give(1);
            }
        }
    }

    /// Looks at the next slots for connections that were flushed, and gives their room back.
    fn sweep(&mut self, budget: usize) {
        for _ in 0..budget {
            if self.stale == 0 {
                return;
            }
            self.sweep = if self.sweep + 1 < self.table.slots() { self.sweep + 1 } else { 0 };
            if self.table.get(self.sweep).is_some_and(|c| self.is_flushed(c)) {
                self.remove(self.sweep);
            }
        }
    }

    /// Removes dead connections, looking at no more than `budget`. How many expired, and how many were looked at.
    pub(crate) fn expire(&mut self, now: Instant, budget: usize) -> (usize, usize) {
        let (mut removed, mut looked) = (0, 0);
        while looked < budget
            && let Some(id) = self.table.due(now)
        {
            looked += 1;
            match self.table.get(id) {
                Some(c) if c.is_expired(now) || self.is_flushed(c) => removed += usize::from(self.bury(id)),
                _ => self.table.postpone(id),
            }
        }
        if self.stale > 0 {
            self.sweep(budget - looked);
        }
        (removed, looked)
    }

    /// Removes one connection on request; `false` if there is none alive.
    pub(crate) fn flush_one(&mut self, id: u32, now: Instant) -> bool {
        let alive = self.get(id, now).is_some();
        if alive {
            self.remove(id);
            self.stats.flushed += 1;
        }
        alive
    }

    /// Removes all connections of a zone, by a new generation, and says how many.
    pub(crate) fn flush_zone(&mut self, zone: u16, common: &Common) -> usize {
        common.releases.fetch_add(1, Ordering::Relaxed);
        self.expectations.retain(|expected, _| {
            let keep = expected.zone != zone;
            common.expectations.fetch_sub(usize::from(!keep), Ordering::Relaxed);
            keep
        });
        let Some(zone) = self.zones.find(zone).and_then(|number| self.zones.get_mut(number)) else { return 0 };
        let n = core::mem::take(&mut zone.connections) as usize;
        zone.generation = zone.generation.wrapping_add(1);
        if let Some(quota) = &mut zone.quota {
            quota.give(n);
        }
        self.quota.give(n);
        self.stale += n;
        self.stats.flushed += n as u64;
        n
    }

    /// Removes all connections, and says how many.
    pub(crate) fn flush_all(&mut self, common: &Common) -> usize {
        common.releases.fetch_add(1, Ordering::Relaxed);
        common.expectations.fetch_sub(self.expectations.len(), Ordering::Relaxed);
        self.expectations.clear();
        let n = self.len();
        self.table = Table::new(common.hash);
        for zone in self.zones.iter_mut() {
            zone.generation = zone.generation.wrapping_add(1);
            let n = core::mem::take(&mut zone.connections) as usize;
            if let Some(quota) = &mut zone.quota {
                quota.give(n);
            }
        }
        self.quota.give(n);
        self.helped.clear();
        self.parents.clear();
        self.orphans.clear();
        (self.stale, self.sweep) = (0, 0);
        self.stats.flushed += n as u64;
        n
    }

    fn zone_number(&mut self, zone: u16, common: &Common) -> u16 {
        let policies = &self.policies;
        self.zones.number(zone, || {
            let limits = common.limits.lock().unwrap_or_else(PoisonError::into_inner);
            let policy = limits.policy(zone);
            drop(limits);
            let policy = policies.iter().position(|p| policy.is_some() && p.id == policy).unwrap_or(0) as u16;
            Zone { zone, generation: 0, connections: 0, quota: common.zone_quota(zone), policy }
        })
    }

    /// How many connections of the zone there are.
    pub(crate) fn zone_len(&self, zone: u16) -> usize {
        self.zones.find(zone).and_then(|number| self.zones.get(number)).map_or(0, |z| z.connections as usize)
    }

    /// Gives back what is idle of the limit of all connections.
    pub(crate) fn drain_quota(&mut self) {
        self.quota.drain();
    }

    /// Has zones that are known take their limits and policies anew. What connections they have is charged.
    pub(crate) fn renew_zones(&mut self, only: Option<u16>, common: &Common) {
        let limits = common.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let policies = &self.policies;
        for zone in self.zones.iter_mut().filter(|z| only.is_none_or(|only| only == z.zone)) {
            let policy = limits.policy(zone.zone);
            zone.policy = policies.iter().position(|p| policy.is_some() && p.id == policy).unwrap_or(0) as u16;
        }
        drop(limits);
        for zone in self.zones.iter_mut().filter(|z| only.is_none_or(|only| only == z.zone)) {
            if let Some(quota) = &mut zone.quota {
                quota.give(zone.connections as usize);
                quota.drain();
            }
            zone.quota = common.zone_quota(zone.zone);
            if let Some(quota) = &mut zone.quota {
                quota.charge(zone.connections as usize);
            }
        }
    }

    /// Defines a timeout policy; `false` if there are too many.
    pub(crate) fn set_policy(&mut self, id: u32, timeouts: &Timeouts) -> bool {
        let nanos = timeouts.nanos();
        if let Some(policy) = self.policies.iter_mut().find(|p| p.id == Some(id)) {
            policy.nanos = nanos;
            return true;
        }
        let room = self.policies.len() <= usize::from(u16::MAX);
        if room {
            self.policies.push(Policy { id: Some(id), nanos });
        }
        room
    }

    /// Gives a policy the tracker's own timeouts.
    pub(crate) fn reset_policy(&mut self, id: u32, timeouts: &Timeouts) {
        let policy = self.policies.iter_mut().find(|p| p.id == Some(id));
        policy.into_iter().for_each(|policy| policy.nanos = timeouts.nanos());
    }

    /// What is expected as this, if anything.
    pub(crate) fn expectation(&self, expected: &Expected, now: Instant) -> Option<Expectation> {
        self.expectations.get(expected).filter(|e| e.until > now).copied()
    }

    /// Expects a connection. `false` if something else is expected as the same, or there are too many.
    pub(crate) fn expect(&mut self, expectation: &Expectation, now: Instant, common: &Common) -> bool {
        let key = expectation.expected;
        let known = self.expectations.get(&key).filter(|e| e.until > now);
        if known.is_some_and(|e| (e.parent_key, e.real) != (expectation.parent_key, expectation.real)) {
            return false;
        }
        if common.expectations.load(Ordering::Relaxed) >= common.config.max_expectations {
            self.forget_expectations(now, common);
        }
        let replaces = self.expectations.contains_key(&key);
        if !replaces && common.expectations.load(Ordering::Relaxed) >= common.config.max_expectations {
            return false;
        }
        if self.expectations.insert(key, *expectation).is_none() {
            common.expectations.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// The expected connection has come.
    pub(crate) fn fulfil(&mut self, expected: &Expected, common: &Common) {
        if self.expectations.remove(expected).is_some() {
            common.expectations.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets what was waited for too long.
    pub(crate) fn forget_expectations(&mut self, now: Instant, common: &Common) {
        self.expectations.retain(|_, e| {
            let keep = e.until > now;
            common.expectations.fetch_sub(usize::from(!keep), Ordering::Relaxed);
            keep
        });
    }

    /// All expectations that are alive.
    pub(crate) fn expectations(&self, now: Instant) -> impl Iterator<Item = &Expectation> {
        self.expectations.values().filter(move |e| e.until > now)
    }

    /// What a connection has of its helper, to be changed.
    pub(crate) fn helped_mut(&mut self, id: u32) -> Option<&mut Helped> {
        self.helped.get_mut(&id)
    }

    /// The helper of a connection.
    pub(crate) fn helped(&self, id: u32) -> Option<&Helped> {
        self.helped.get(&id)
    }

    /// The original tuple of the connection that announced this one.
    pub(crate) fn parent(&self, id: u32) -> Option<&Tuple> {
        self.parents.get(&id)
    }
}

/// When a connection ends whose packet left it in this class.
#[inline]
fn deadline(policies: &[Policy], policy: u16, class: TimeoutClass, now: Instant) -> Instant {
    let policy = policies.get(usize::from(policy)).or(policies.first());
    let nanos = policy.and_then(|p| p.nanos.get(class as usize)).copied().unwrap_or(0);
    Instant::from_nanos(now.as_nanos().saturating_add(nanos))
}

/// A segment in the numbers that each sender gave: those are what the tracker follows.
fn own_numbers(segment: &Segment, helped: &Helped, way: Way) -> Segment {
    let [there, back] = helped.adjust;
    let (own, other) = if way.reply { (back, there) } else { (there, back) };
    let mut segment = *segment;
    if way.rewritten {
        segment.seq = own.back(segment.seq);
    } else {
        segment.ack = other.back(segment.ack);
    }
    segment
}

/// What of a packet differs from one tuple to another.
fn translation(from: &Tuple, to: &Tuple) -> CtState {
    let (from_ports, to_ports) = (from.transport.ends(), to.transport.ends());
    let mut state = CtState::empty();
    state.set(CtState::SRC_NAT, (from.src, from_ports.0) != (to.src, to_ports.0));
    state.set(CtState::DST_NAT, (from.dst, from_ports.1) != (to.dst, to_ports.1));
    state
}
