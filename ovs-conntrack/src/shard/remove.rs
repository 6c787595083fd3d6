//! How connections go: found dead, replaced, expired, flushed; and with each all that there is of it.

use core::sync::atomic::Ordering;

use ovs_packet::Instant;

use crate::connection::Flags;
use crate::shard::{Common, Orphan, Shard};
use crate::table::Table;

impl Shard {
    /// Removes an alias whose connection is gone, or was not made.
    pub(crate) fn unclaim(&mut self, orphan: &Orphan, common: &Common) {
        common.releases.fetch_add(1, Ordering::Relaxed);
        self.table.remove_alias(&orphan.key, orphan.shard, orphan.id);
    }

    pub(super) fn replace(&mut self, id: u32) {
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
    pub(super) fn bury(&mut self, id: u32) -> bool {
        let expired = self.table.get(id).is_some_and(|c| !self.is_flushed(c));
        self.remove(id);
        self.stats.expired += u64::from(expired);
        expired
    }

    /// Removes a connection, and all that there is of it.
    pub(super) fn remove(&mut self, id: u32) {
        let Some((connection, reply)) = self.table.remove(id) else { return };
        self.changes += 1;
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
    pub(super) fn sweep(&mut self, budget: usize) {
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
        self.changes += 1;
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
        self.changes += 1;
        self.table = Table::new(common.hash, common.shards);
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
}
