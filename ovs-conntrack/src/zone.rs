//! Limits that shards share, and what a shard knows of its zones.
//!
//! A limit is a [`Pool`] of connections that there may still be. Each shard draws from it a few at a time, so that new
//! connections of different shards do not write to one cache line. What lies idle in the shards is at most a sixteenth
//! of the limit; of a limit too small for that each connection is drawn alone, and the limit is exact. With one shard
//! it always is.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI64, Ordering};

/// Connections that there may still be; negative if the limit was lowered below what there are.
#[derive(Debug)]
pub(crate) struct Pool {
    left: AtomicI64,
    /// How many a shard draws at once.
    chunk: i64,
}

impl Pool {
    /// A pool for a limit that `shards` draw from.
    pub(crate) fn new(limit: usize, shards: usize) -> Arc<Pool> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let shards = i64::try_from(shards).unwrap_or(i64::MAX).max(1);
        // The single shard takes all at once; of many, each has less than twice its chunk idle.
        let chunk = if shards == 1 { limit.max(1) } else { (limit / (shards * 32)).clamp(1, 64) };
        Arc::new(Pool { left: AtomicI64::new(limit), chunk })
    }

    /// Adds to the limit, or takes away from it.
    pub(crate) fn adjust(&self, by: i64) {
        self.left.fetch_add(by, Ordering::Relaxed);
    }

    fn owes(&self) -> bool {
        self.left.load(Ordering::Relaxed) < 0
    }

    fn draw(&self, most: i64) -> i64 {
        let mut drawn = 0;
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            drawn = left.min(most).max(0);
            (drawn > 0).then_some(left - drawn)
        });
        drawn
    }
}

/// A shard's part of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    pool: Arc<Pool>,
    spare: i64,
}

impl Quota {
    pub(crate) fn new(pool: Arc<Pool>) -> Quota {
        Quota { pool, spare: 0 }
    }

    /// Takes room for a connection, if there is any.
    pub(crate) fn take(&mut self) -> bool {
        if self.spare == 0 {
            self.spare = self.pool.draw(self.pool.chunk);
        }
        let any = self.spare > 0;
        self.spare -= i64::from(any);
        any
    }

    /// Gives room for `n` connections back.
    pub(crate) fn give(&mut self, n: usize) {
        self.spare += n as i64;
        let chunk = self.pool.chunk;
        // A limit that was lowered below what there is has everything that comes free.
        let keep = if chunk == 1 || self.pool.owes() { 0 } else { chunk };
        if keep == 0 || self.spare >= 2 * chunk {
            self.pool.adjust(self.spare - keep);
            self.spare = keep;
        }
    }

    /// Takes room for `n` connections that there are already, whether there is any or not.
    pub(crate) fn charge(&mut self, n: usize) {
        self.pool.adjust(-(n as i64));
    }

    /// Gives back what is idle.
    pub(crate) fn drain(&mut self) {
        self.pool.adjust(core::mem::take(&mut self.spare));
    }
}

/// What a shard knows of a zone.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) zone: u16,
    /// A connection of an earlier generation was flushed.
    pub(crate) generation: u32,
    /// Connections of this generation.
    pub(crate) connections: u32,
    pub(crate) quota: Option<Quota>,
    /// The timeout policy of new connections, by its number.
    pub(crate) policy: u16,
}

/// A shard's zones. Each has a number, its place here, which it keeps.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    zones: Vec<Zone>,
    /// By number of the zone; what was asked last is found without.
    numbers: BTreeMap<u16, u16>,
    last: u16,
}

impl Zones {
    /// The number of a zone that is known.
    pub(crate) fn find(&self, zone: u16) -> Option<u16> {
        if self.zones.get(usize::from(self.last)).is_some_and(|z| z.zone == zone) {
            return Some(self.last);
        }
        self.numbers.get(&zone).copied()
    }

    /// The number of a zone, which `new` makes known if it is not.
    pub(crate) fn number(&mut self, zone: u16, new: impl FnOnce() -> Zone) -> u16 {
        let number = self.find(zone).unwrap_or_else(|| {
            // There are 65536 zones at most, so that their numbers fit.
            let number = self.zones.len() as u16;
            self.zones.push(new());
            self.numbers.insert(zone, number);
            number
        });
        self.last = number;
        number
    }

    #[inline]
    pub(crate) fn get(&self, number: u16) -> Option<&Zone> {
        self.zones.get(usize::from(number))
    }

    pub(crate) fn get_mut(&mut self, number: u16) -> Option<&mut Zone> {
        self.zones.get_mut(usize::from(number))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Zone> {
        self.zones.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_more_are_taken_than_the_limit(
            limit in 0usize..300, shards in 1usize..5, steps in proptest::collection::vec((0usize..4, any::<bool>()), 0..400),
        ) {
            let pool = Pool::new(limit, shards);
            let mut quotas: Vec<Quota> = (0..shards).map(|_| Quota::new(pool.clone())).collect();
            let mut held = std::vec![0usize; shards];
            for (shard, take) in steps {
                let shard = shard % shards;
                if take {
                    let taken = quotas[shard].take();
                    let all: usize = held.iter().sum();
                    prop_assert!(!taken || all < limit);
                    // Refused only when what is left lies idle in the others.
                    prop_assert!(taken || all + limit / 16 >= limit);
                    held[shard] += usize::from(taken);
                } else if held[shard] > 0 {
                    held[shard] -= 1;
                    quotas[shard].give(1);
                }
            }
            quotas.iter_mut().for_each(Quota::drain);
            prop_assert_eq!(pool.left.load(Ordering::Relaxed), (limit - held.iter().sum::<usize>()) as i64);
        }
    }
}
