//! Limits and timeout policies by zone, as they were set.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::zone::Pool;

/// What was set for zones; shards take it over when they first hear of a zone, and when it changes.
#[derive(Debug, Default)]
pub(crate) struct ZoneLimits {
    default: Option<usize>,
    limits: BTreeMap<u16, usize>,
    /// Pools of zones that have a limit and any connection.
    pools: BTreeMap<u16, Arc<Pool>>,
    policies: BTreeMap<u16, u32>,
}

impl ZoneLimits {
    /// The limit that holds for a zone.
    pub(crate) fn limit(&self, zone: u16) -> Option<usize> {
        self.limits.get(&zone).copied().or(self.default)
    }

    pub(crate) fn default_limit(&self) -> Option<usize> {
        self.default
    }

    /// Zones with a limit of their own.
    pub(crate) fn own(&self) -> impl Iterator<Item = (u16, usize)> {
        self.limits.iter().map(|(zone, limit)| (*zone, *limit))
    }

    pub(crate) fn set(&mut self, zone: u16, limit: Option<usize>) {
        match limit {
            Some(limit) => self.limits.insert(zone, limit),
            None => self.limits.remove(&zone),
        };
        self.pools.remove(&zone);
    }

    pub(crate) fn set_default(&mut self, limit: Option<usize>) {
        self.default = limit;
        let own = &self.limits;
        self.pools.retain(|zone, _| own.contains_key(zone));
    }

    /// The pool that connections of a zone draw from, if it has a limit.
    pub(crate) fn pool(&mut self, zone: u16, shards: usize) -> Option<Arc<Pool>> {
        let limit = self.limit(zone)?;
        Some(self.pools.entry(zone).or_insert_with(|| Pool::new(limit, shards)).clone())
    }

    /// The timeout policy of a zone.
    pub(crate) fn policy(&self, zone: u16) -> Option<u32> {
        self.policies.get(&zone).copied()
    }

    pub(crate) fn set_policy(&mut self, zone: u16, policy: Option<u32>) {
        match policy {
            Some(policy) => self.policies.insert(zone, policy),
            None => self.policies.remove(&zone),
        };
    }
}
