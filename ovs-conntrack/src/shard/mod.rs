//! A shard: the connections whose keys hash to it, and all that is decided about them under one lock, or by one owner.
//!
//! # Dead connections
//!
//! A connection is dead when its deadline has passed, or when its zone was flushed since: a zone has a generation, which
//! a flush increments, so that it takes the same time however many connections go. Dead ones are found by nobody. Their
//! room is given back when somebody comes across them: a packet, the timer, or the sweep that follows a flush. That
//! looks at eight slots for every connection that is stored while a sixteenth of all are dead, and so keeps the dead
//! below a seventh of the living however often zones are flushed.

mod expect;
mod meet;
mod remove;
mod store;
mod zones;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Mutex, PoisonError};

use ovs_packet::Instant;
use ovs_packet::packet::CtMetadata;

use crate::config::{Config, TimeoutClass};
use crate::connection::Connection;
use crate::helper::{Expectation, Expected, Helped};
use crate::key::Key;
use crate::limits::ZoneLimits;
use crate::outcome::{InvalidReason, Outcome};
use crate::read::Seen;
use crate::request::CtRequest;
use crate::siphash::SipHash13;
use crate::stats::Stats;
use crate::table::{Alias, Entry, MOST, Table};
use crate::tuple::Tuple;
use crate::zone::{Pool, Quota, Zones};

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

/// Who has a key, for a tuple of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holder {
    Nobody,
    /// A translated connection, for a tuple of the other direction.
    Opposite,
    /// A connection of this shard.
    Here,
    /// A connection that may be dead.
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

/// What is said of a packet of a connection about which nothing is special.
pub(crate) struct Plain {
    pub(crate) outcome: Outcome,
    /// Whether to follow the packet once more at the same instant would change nothing, and say the same, until the
    /// shard's [`changes`](Shard::changes) go on.
    pub(crate) lasts: bool,
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
    /// How often something happened that packets of stored connections are told otherwise after, or prolong them
    /// otherwise: one was removed or answered, its mark or label written, a timeout policy set.
    pub(crate) changes: u64,
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
            table: Table::new(common.hash, common.shards),
            zones: Zones::default(),
            quota: Quota::new(common.pool.clone()),
            policies: alloc::vec![Policy { id: None, nanos: common.config.timeouts.nanos() }],
            helped: BTreeMap::new(),
            parents: BTreeMap::new(),
            expectations: BTreeMap::new(),
            orphans: Vec::new(),
            stale: 0,
            sweep: 0,
            changes: 0,
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

    /// What has this key, as a packet from its low end or its high one sees it, see [`Table::find`]. What is dead is
    /// removed.
    pub(crate) fn find(&mut self, key: &Key, hash: u64, from_low: bool, rewritten: bool, now: Instant) -> Found {
        loop {
            let entry = self.table.find(key, hash, from_low, rewritten);
            match self.sort(entry, from_low, now) {
                // There may be another behind what was removed.
                Found::Absent if entry.is_some() => {}
                found => return found,
            }
        }
    }

    /// How far a key is taken. What is dead is removed, but for connections elsewhere.
    pub(crate) fn holder(&mut self, key: &Key, hash: u64, from_low: bool, now: Instant) -> Holder {
        match self.find(key, hash, from_low, false, now) {
            Found::Absent => Holder::Nobody,
            Found::Here { id, reply } if reply && self.table.reply(id).is_some() => Holder::Opposite,
            Found::There(alias) if alias.from_low != from_low => Holder::Opposite,
            Found::Here { .. } => Holder::Here,
            Found::There(alias) => Holder::There(alias),
        }
    }

    /// What is to be said of what a key was found to have.
    fn sort(&mut self, entry: Option<Entry>, from_low: bool, now: Instant) -> Found {
        match entry {
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
}
