//! How workers are to work.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The longest that a worker may sleep.
pub const MAX_SLEEP: Duration = Duration::from_micros(10_000);

/// How workers are to work: `pmd-*` of `other_config` in the Open_vSwitch table.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The cores of workers (`pmd-cpu-mask`); `None` is one of each NUMA node, if there is a device that
    /// [wants](crate::netdev::Polling::Worker) a worker. Without such a device, and unless cores are named and there is one
    /// that [may have](crate::netdev::Polling::Either) one, there are no workers.
    pub cores: Option<Vec<u32>>,
    /// How queues are dealt out (`pmd-rxq-assign`).
    pub assignment: Assignment,
    /// Whether workers that queues are pinned to get no others (`pmd-rxq-isolate`).
    pub isolate: bool,
    /// How long workers sleep at most when they have little to do (`pmd-sleep-max`); zero is not at all. Longer than
    /// [`MAX_SLEEP`] they do not.
    pub max_sleep: Duration,
    /// The same of workers on some cores.
    pub core_sleeps: BTreeMap<u32, Duration>,
    /// When queues are dealt out anew by themselves (`pmd-auto-lb`).
    pub balance: Balance,
    /// Whether histograms and histories are kept (`pmd-perf-metrics`).
    pub metrics: bool,
}

/// How queues are dealt out to workers (`other_config:pmd-rxq-assign`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub enum Assignment {
    /// By load, most first, to the workers in turn, there and back again.
    #[default]
    Cycles,
    /// In turn, whatever the load.
    RoundRobin,
    /// By load, most first, each to the worker that has least so far.
    Group,
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Assignment::Cycles => "cycles",
            Assignment::RoundRobin => "roundrobin",
            Assignment::Group => "group",
        })
    }
}

/// When queues are dealt out anew by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Balance {
    /// Whether they are at all.
    pub on: bool,
    /// How often it is looked whether to.
    pub interval: Duration,
    /// How busy a worker must have been for a minute, in parts of a hundred.
    pub load: u8,
    /// By how much the loads would have to differ less, in parts of a hundred of their variance.
    pub improvement: u8,
}

impl Default for Balance {
    fn default() -> Balance {
        Balance { on: false, interval: Duration::from_secs(60), load: 95, improvement: 25 }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            cores: None,
            assignment: Assignment::Cycles,
            isolate: true,
            max_sleep: Duration::ZERO,
            core_sleeps: BTreeMap::new(),
            balance: Balance::default(),
            metrics: false,
        }
    }
}

impl Settings {
    /// How long the worker on a core sleeps at most.
    pub fn sleep_of(&self, core: u32) -> Duration {
        self.core_sleeps.get(&core).copied().unwrap_or(self.max_sleep).min(MAX_SLEEP)
    }
}
