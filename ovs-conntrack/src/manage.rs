//! What an owner asks of a tracker beside tracking, over one shard or many.

use core::fmt;
use core::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use ovs_packet::Instant;

use crate::config::Timeouts;
use crate::connection::{Flags, Progress};
use crate::engine::Shards;
use crate::filter::Filter;
use crate::helper::Expectation;
use crate::info::{ConnectionInfo, ExpectationInfo, ProtocolState};
use crate::key::Key;
use crate::limits::ZoneLimits;
use crate::shard::{Common, Shard};
use crate::table::{Entry, MOST};
use crate::tuple::Tuple;

/// Where a dump in pages goes on. The default is the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cursor {
    pub(crate) shard: usize,
    pub(crate) slot: u32,
}

/// A timeout policy was not defined, since there are too many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyError;

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there are 65,535 timeout policies already")
    }
}

impl core::error::Error for PolicyError {}

/// What is known of the connection with this number, if it is alive.
pub(crate) fn info(shard: &Shard, id: u32, now: Instant) -> Option<ConnectionInfo> {
    let connection = shard.get(id, now)?;
    let original = connection.key.tuple(connection.began_low());
    Some(ConnectionInfo {
        zone: connection.key.zone(),
        original,
        reply: shard.table.reply(id).map_or_else(|| original.reversed(), |(key, from_low)| key.tuple(from_low)),
        state: match connection.progress {
            Progress::Tcp(ends) => ProtocolState::Tcp { original: ends.original, reply: ends.reply },
            Progress::Icmp | Progress::Other => ProtocolState::Stateless,
        },
        answered: connection.answered(),
        mark: connection.mark,
        label: shard.table.label(id),
        timeout: connection.deadline - now,
        helper: shard.helped(id).filter(|_| connection.flags.has(Flags::HELPER)).map(|h| h.helper),
        parent: shard.parent(id).filter(|_| connection.flags.has(Flags::PARENT)).copied(),
    })
}

pub(crate) fn expectation_info(e: &Expectation, now: Instant) -> ExpectationInfo {
    ExpectationInfo {
        zone: e.expected.zone,
        tuple: e.expected.tuple(),
        real: (e.real.1, e.real.2),
        parent: e.parent,
        timeout: e.until - now,
    }
}

/// Looks at `most` slots of a shard; where to go on, in this shard or the next, which may not be.
pub(crate) fn page(
    shard: &Shard,
    filter: &Filter,
    from: Cursor,
    most: usize,
    now: Instant,
    page: &mut Vec<ConnectionInfo>,
) -> Option<Cursor> {
    let most = u32::try_from(most.max(1)).unwrap_or(u32::MAX);
    let end = from.slot.saturating_add(most).min(shard.table.slots());
    page.extend((from.slot..end).filter_map(|id| info(shard, id, now)).filter(|info| filter.matches(info)));
    (end < shard.table.slots()).then_some(Cursor { slot: end, ..from })
}

/// The connection that has a tuple in either direction, alive or not: its shard and number.
pub(crate) fn locate(shards: &mut impl Shards, zone: u16, tuple: &Tuple) -> Option<(usize, u32)> {
    let (key, from_low) = Key::new(zone, tuple)?;
    let hash = key.hash(shards.common().hash);
    let home = shards.common().shard_of(hash);
    match shards.with(home, |shard, _| shard.table.find(&key, hash, from_low, false))? {
        Entry::Connection(id) => Some((home, id)),
        Entry::Alias(alias) => {
            let owner = usize::from(alias.shard);
            let holds = shards.with(owner, |shard, _| shard.table.reply(alias.id) == Some((key, alias.from_low)));
            holds.then_some((owner, alias.id))
        }
    }
}

/// Likewise, of a tracker with one shard.
pub(crate) fn locate_here(common: &Common, shard: &Shard, zone: u16, tuple: &Tuple) -> Option<u32> {
    let (key, from_low) = Key::new(zone, tuple)?;
    match shard.table.find(&key, key.hash(common.hash), from_low, false)? {
        Entry::Connection(id) => Some(id),
        Entry::Alias(alias) => (shard.table.reply(alias.id) == Some((key, alias.from_low))).then_some(alias.id),
    }
}

/// Expires what is due in one shard: how many were removed, and how many looked at.
pub(crate) fn expire(shards: &mut impl Shards, shard: usize, now: Instant, budget: usize) -> (usize, usize) {
    let (done, orphans) = shards.with(shard, |shard, common| {
        let done = shard.expire(now, budget);
        shard.forget_expectations(now, common);
        (done, shard.take_orphans())
    });
    shards.bury_orphans(orphans);
    done
}

pub(crate) fn flush(shards: &mut impl Shards, zone: Option<u16>) -> usize {
    let all = 0..shards.common().shards;
    all.map(|i| {
        shards.with(i, |shard, common| match zone {
            Some(zone) => shard.flush_zone(zone, common),
            None => shard.flush_all(common),
        })
    })
    .sum()
}

pub(crate) fn flush_tuple(shards: &mut impl Shards, zone: u16, tuple: &Tuple) -> bool {
    let Some((shard, id)) = locate(shards, zone, tuple) else { return false };
    let (flushed, orphans) = shards.with(shard, |shard, _| (shard.flush_one(id, Instant::ZERO), shard.take_orphans()));
    shards.bury_orphans(orphans);
    flushed
}

pub(crate) fn flush_matching(shards: &mut impl Shards, filter: &Filter, now: Instant) -> usize {
    if let Some(zone) = filter.only_zone() {
        return flush(shards, zone);
    }
    let mut flushed = 0;
    for i in 0..shards.common().shards {
        let orphans = shards.with(i, |shard, _| {
            for id in 0..shard.table.slots() {
                if info(shard, id, now).is_some_and(|info| filter.matches(&info)) {
                    flushed += usize::from(shard.flush_one(id, now));
                }
            }
            shard.take_orphans()
        });
        shards.bury_orphans(orphans);
    }
    flushed
}

pub(crate) fn max_connections(common: &Common) -> usize {
    common.max_connections.load(Ordering::Relaxed)
}

pub(crate) fn set_max_connections(shards: &mut impl Shards, limit: usize) {
    let limit = limit.min(MOST);
    let before = shards.common().max_connections.swap(limit, Ordering::Relaxed);
    for i in 0..shards.common().shards {
        shards.with(i, |shard, _| shard.drain_quota());
    }
    shards.common().pool.adjust(limit as i64 - before as i64);
}

pub(crate) fn limits(common: &Common) -> MutexGuard<'_, ZoneLimits> {
    common.limits.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn set_zone_limit(shards: &mut impl Shards, zone: u16, limit: Option<usize>) {
    limits(shards.common()).set(zone, limit);
    renew(shards, Some(zone));
}

pub(crate) fn set_default_zone_limit(shards: &mut impl Shards, limit: Option<usize>) {
    limits(shards.common()).set_default(limit);
    renew(shards, None);
}

fn renew(shards: &mut impl Shards, zone: Option<u16>) {
    for i in 0..shards.common().shards {
        shards.with(i, |shard, common| shard.renew_zones(zone, common));
    }
}

pub(crate) fn set_timeout_policy(
    shards: &mut impl Shards,
    policy: u32,
    timeouts: &Timeouts,
) -> Result<(), PolicyError> {
    let mut done = true;
    for i in 0..shards.common().shards {
        done &= shards.with(i, |shard, _| shard.set_policy(policy, timeouts));
    }
    renew(shards, None);
    if done { Ok(()) } else { Err(PolicyError) }
}

pub(crate) fn remove_timeout_policy(shards: &mut impl Shards, policy: u32) {
    let timeouts = shards.common().config.timeouts;
    for i in 0..shards.common().shards {
        shards.with(i, |shard, _| shard.reset_policy(policy, &timeouts));
    }
}

pub(crate) fn set_zone_timeout_policy(shards: &mut impl Shards, zone: u16, policy: Option<u32>) {
    limits(shards.common()).set_policy(zone, policy);
    renew(shards, Some(zone));
}

pub(crate) fn tcp_liberal(common: &Common) -> bool {
    common.liberal.load(Ordering::Relaxed)
}

pub(crate) fn set_tcp_liberal(common: &Common, liberal: bool) {
    common.liberal.store(liberal, Ordering::Relaxed);
}
