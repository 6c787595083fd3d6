//! Zones and timeout policies, as this shard knows them.

use std::sync::PoisonError;

use ovs_packet::Instant;

use crate::config::{TimeoutClass, Timeouts};
use crate::shard::{Common, Policy, Shard};
use crate::zone::Zone;

impl Shard {
    pub(super) fn zone_number(&mut self, zone: u16, common: &Common) -> u16 {
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
        self.changes += 1;
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
        self.changes += 1;
        let policy = self.policies.iter_mut().find(|p| p.id == Some(id));
        policy.into_iter().for_each(|policy| policy.nanos = timeouts.nanos());
    }
}

/// When a connection ends whose packet left it in this class.
#[inline]
pub(super) fn deadline(policies: &[Policy], policy: u16, class: TimeoutClass, now: Instant) -> Instant {
    let policy = policies.get(usize::from(policy)).or(policies.first());
    let nanos = policy.and_then(|p| p.nanos.get(class as usize)).copied().unwrap_or(0);
    Instant::from_nanos(now.as_nanos().saturating_add(nanos))
}
