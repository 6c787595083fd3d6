//! How many megaflows there may be, and how long they may be idle.

use std::time::Duration;

use crate::pipeline::{MAX_IDLE, STATS_INTERVAL};

/// How megaflows are kept true: what `other_config` of the whole sets.
///
/// ```
/// use ovs_ofproto::pipeline::{Ofproto, RevalidatorConfig};
///
/// let mut switch = Ofproto::new();
/// let mut config = RevalidatorConfig::default();
/// config.flow_limit = 5000;
/// switch.set_revalidator(config);
/// assert_eq!(switch.megaflow_count().1.now(), 5000);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct RevalidatorConfig {
    /// How many megaflows there may be at most (`flow-limit`).
    pub flow_limit: usize,
    /// How long one may be idle (`max-idle`).
    pub max_idle: Duration,
    /// How often counters are read at least (`max-revalidator`); no less often than [`max_idle`](Self::max_idle).
    pub interval: Duration,
    /// Where the last round took longer than half of [`interval`](Self::interval): how many packets a second a megaflow
    /// in doubt must have had to be decided anew. Others go (`min-revalidate-pps`). 0 keeps all.
    pub min_pps: u32,
    /// Megaflows that are younger are decided anew whatever they had: their counters may not be there yet
    /// (`offloaded-stats-delay`).
    pub stats_delay: Duration,
}

impl Default for RevalidatorConfig {
    fn default() -> Self {
        RevalidatorConfig {
            flow_limit: DEFAULT_MEGAFLOW_LIMIT,
            max_idle: MAX_IDLE,
            interval: STATS_INTERVAL,
            min_pps: 5,
            stats_delay: Duration::from_secs(2),
        }
    }
}

impl RevalidatorConfig {
    /// How long until counters are read again.
    pub(in crate::pipeline) fn period(&self) -> Duration {
        self.interval.min(self.max_idle)
    }
}

/// How many megaflows there may be: as many as can be kept true in time.
///
/// ```
/// use std::time::Duration;
/// use ovs_ofproto::pipeline::FlowLimit;
///
/// let mut limit = FlowLimit::new(200_000);
/// limit.took(Duration::from_secs(4), 200_000);
/// assert_eq!(limit.now(), 50_000);
/// limit.took(Duration::from_millis(100), 50_000);
/// assert_eq!(limit.now(), 51_000);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowLimit {
    most: usize,
    now: usize,
}

impl Default for FlowLimit {
    fn default() -> Self {
        FlowLimit::new(DEFAULT_MEGAFLOW_LIMIT)
    }
}

/// How many megaflows there may be at most, by default.
pub const DEFAULT_MEGAFLOW_LIMIT: usize = 200_000;

/// The limit does not fall below so many megaflows.
const LEAST: usize = 1000;

impl FlowLimit {
    /// At most so many.
    pub fn new(most: usize) -> FlowLimit {
        FlowLimit { most: most.max(LEAST), now: most.max(LEAST) }
    }

    /// This, with another present limit, until it adapts.
    #[must_use]
    pub const fn with_now(self, now: usize) -> FlowLimit {
        FlowLimit { now, ..self }
    }

    /// The present limit.
    pub fn now(self) -> usize {
        self.now
    }

    /// Takes note of how long it took to go through the megaflows, of which there were so many.
    pub fn took(&mut self, time: Duration, megaflows: usize) {
        let ms = usize::try_from(time.as_millis()).unwrap_or(usize::MAX).max(1);
        self.now = match ms {
            // Longer than two seconds is far too long, up to one is well.
            2001.. => self.now / (ms / 1000),
            1301.. => self.now * 3 / 4,
            0..1000 if megaflows > LEAST && self.now < megaflows.saturating_mul(1000 / ms) => self.now + 1000,
            _ => self.now,
        };
        self.now = self.now.clamp(LEAST, self.most);
    }

    /// How long a megaflow may be idle where there are so many: hardly at all if there are too many.
    pub(in crate::pipeline) fn max_idle(self, megaflows: usize, usual: Duration) -> Duration {
        if megaflows > self.now { Duration::from_millis(100) } else { usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_follows_the_time_that_a_round_takes() {
        let after = |now, ms, megaflows| {
            let mut limit = FlowLimit::new(200_000).with_now(now);
            limit.took(Duration::from_millis(ms), megaflows);
            limit.now()
        };
        // Far too long, too long, just right.
        assert_eq!(
            [4000, 2001, 2000, 1301, 1300, 1000].map(|ms| after(40_000, ms, 100_000)),
            [10_000, 20_000, 30_000, 30_000, 40_000, 40_000]
        );
        // More where as many could be seen to in a second, and if there are some at all.
        assert_eq!([999, 500].map(|ms| after(40_000, ms, 30_000)), [40_000, 41_000]);
        assert_eq!((after(40_000, 0, 1000), after(40_000, 0, 1001)), (40_000, 41_000));
        // Within its bounds, whatever the time.
        assert_eq!((after(2000, u64::MAX, 0), after(200_000, 1, usize::MAX)), (1000, 200_000));
        assert_eq!((FlowLimit::new(0).now(), FlowLimit::new(5000).with_now(4500).now()), (1000, 4500));
    }
}
