//! Management of the connections of a datapath within the process.

use std::time::Duration;

use ovs_conntrack::fragment::{FragmentLimits, FragmentStats};
use ovs_conntrack::{ExpectationInfo, Filter, Timeouts};
use ovs_packet::Instant;

use super::Datapath;
use crate::connections::{Connection, Connections, NO_SUCH_TIMEOUT, Seconds, ZoneLimit, ZoneLimits};
use crate::dpif::DpifError;

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Connections for Datapath {
    fn dump(&mut self, zone: Option<u16>, now: Instant, f: &mut dyn FnMut(Connection)) -> Result<(), DpifError> {
        self.conntrack.dump(zone, now, &mut |info| f(info.into()));
        Ok(())
    }

    fn flush(&mut self, filter: &Filter, now: Instant) -> Result<usize, DpifError> {
        Ok(self.conntrack.flush_matching(filter, now))
    }

    fn expectations(&mut self, now: Instant) -> Result<Vec<ExpectationInfo>, DpifError> {
        Ok(self.conntrack.expectations(now))
    }

    fn count(&mut self) -> Result<(u32, u32), DpifError> {
        Ok((narrow(self.conntrack.len()), narrow(self.conntrack.max_connections())))
    }

    fn set_max(&mut self, max: u32) -> Result<(), DpifError> {
        self.conntrack.set_max_connections(max as usize);
        Ok(())
    }

    fn limits(&mut self, zones: &[u16]) -> Result<ZoneLimits, DpifError> {
        let tracker = &self.conntrack;
        let of = |zone: u16| ZoneLimit {
            zone,
            limit: tracker.zone_limit(zone).map(narrow),
            count: narrow(tracker.zone_len(zone)),
        };
        let zones = match zones {
            [] => tracker.zone_limits().into_iter().map(|(zone, _)| of(zone)).collect(),
            zones => zones.iter().map(|zone| of(*zone)).collect(),
        };
        Ok(ZoneLimits { default: tracker.default_zone_limit().map(narrow), zones })
    }

    fn set_limit(&mut self, zone: Option<u16>, limit: Option<u32>) -> Result<(), DpifError> {
        let limit = limit.filter(|n| *n != 0).map(|n| n as usize);
        match zone {
            Some(zone) => self.conntrack.set_zone_limit(zone, limit),
            None => self.conntrack.set_default_zone_limit(limit),
        }
        Ok(())
    }

    fn timeouts(&self) -> &'static [&'static str] {
        Timeouts::NAMES
    }

    fn set_timeouts(&mut self, id: u32, policy: Option<&Seconds>) -> Result<(), DpifError> {
        match policy {
            Some(policy) => {
                let mut timeouts = Timeouts::default();
                for (name, seconds) in policy {
                    let place = timeouts.by_name_mut(name).ok_or(NO_SUCH_TIMEOUT)?;
                    *place = Duration::from_secs((*seconds).into());
                }
                let set = self.conntrack.set_timeout_policy(id, &timeouts);
                set.map_err(|_| DpifError::Unsupported("so many timeout policies"))
            }
            None => {
                self.conntrack.remove_timeout_policy(id);
                Ok(())
            }
        }
    }

    fn checks_tcp(&mut self) -> Result<bool, DpifError> {
        Ok(!self.conntrack.tcp_liberal())
    }

    fn set_checks_tcp(&mut self, on: bool) -> Result<(), DpifError> {
        self.conntrack.set_tcp_liberal(!on);
        Ok(())
    }

    fn buckets(&mut self) -> Result<(usize, Vec<usize>), DpifError> {
        let held = self.conntrack.held();
        let of_each = held.iter().enumerate().flat_map(|(shard, n)| std::iter::repeat_n(shard, *n)).collect();
        Ok((held.len(), of_each))
    }

    fn sweep_interval(&mut self) -> Result<Duration, DpifError> {
        Ok(self.sweeps.interval())
    }

    fn set_sweep_interval(&mut self, interval: Duration) -> Result<(), DpifError> {
        self.sweeps.set_interval(interval);
        Ok(())
    }

    fn fragments(&mut self) -> Result<(FragmentLimits, FragmentStats), DpifError> {
        Ok((self.fragments.limits(), self.fragments.stats()))
    }

    fn set_fragment_limits(&mut self, limits: FragmentLimits) -> Result<(), DpifError> {
        self.fragments.set_limits(limits);
        Ok(())
    }
}
