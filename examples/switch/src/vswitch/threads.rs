//! The threads of datapaths: the machine that they run on, and what a configuration says of them.

use std::collections::BTreeMap;
use std::time::Duration;

use ovs_dpif::threads::{Assignment, Balance, MAX_SLEEP, Settings, Topology};
use ovs_dpif::userspace::Limits;
use ovs_dpif::userspace::workers::{Hooks, Workers};
use ovs_packet::Instant;

use super::keys;
use crate::config::Settings as Config;

/// The longest interval of automatic load balancing, in minutes.
const MAX_BALANCE_INTERVAL: u64 = 20_000;

/// The cores that there are, and how threads tell the time. The default has no cores: there all is done in the control
/// thread, on no clock but the owner's.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The cores.
    pub topology: Topology,
    /// What threads ask.
    pub hooks: Hooks,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine { topology: Topology::default(), hooks: Hooks::new(|| Instant::ZERO) }
    }
}

impl Machine {
    /// A datapath within the process.
    ///
    /// # Errors
    /// If the system has no descriptors left.
    pub fn datapath(&self, seed: u64) -> std::io::Result<Workers> {
        Workers::new(Limits::default(), seed, self.topology.clone(), self.hooks.clone())
    }
}

/// What a configuration says of threads. What it says wrong is told, and is as if it said nothing.
pub(super) fn settings(config: &Config, topology: &Topology) -> Settings {
    let mut settings = Settings::default();
    let flag = |key: &str, usual: bool| keys::flag(config, key, usual);
    let number = |key: &str| config.get(key).and_then(|value| value.parse::<u64>().ok());
    if let Some(mask) = config.get("pmd-cpu-mask").filter(|mask| !mask.is_empty()) {
        match topology.masked(mask) {
            Ok(cores) => settings.cores = Some(cores.map(|core| core.core).collect()),
            Err(e) => tracing::warn!(target: "ovs_numa", "pmd-cpu-mask: {e}"),
        }
    }
    settings.assignment = match config.get("pmd-rxq-assign").map(String::as_str) {
        None | Some("cycles") => Assignment::Cycles,
        Some("roundrobin") => Assignment::RoundRobin,
        Some("group") => Assignment::Group,
        Some(_) => {
            tracing::warn!(
                target: "dpif_netdev",
                "Unsupported rx queue to PMD assignment mode in pmd-rxq-assign. Defaulting to 'cycles'."
            );
            Assignment::Cycles
        }
    };
    settings.isolate = flag("pmd-rxq-isolate", true);
    if !settings.isolate && settings.assignment != Assignment::Group {
        tracing::warn!(
            target: "dpif_netdev", "pmd-rxq-isolate can only be set false when using pmd-rxq-assign=group"
        );
        settings.isolate = true;
    }
    settings.metrics = flag("pmd-perf-metrics", false);
    let usual = Balance::default();
    let percent =
        |key, usual: u8| number(key).and_then(|n| u8::try_from(n).ok()).filter(|n| *n <= 100).unwrap_or(usual);
    settings.balance.on = flag("pmd-auto-lb", false);
    settings.balance.load = percent("pmd-auto-lb-load-threshold", usual.load);
    settings.balance.improvement = percent("pmd-auto-lb-improvement-threshold", usual.improvement);
    let minutes = number("pmd-auto-lb-rebal-interval").filter(|n| *n <= MAX_BALANCE_INTERVAL);
    settings.balance.interval = Duration::from_secs(60 * minutes.unwrap_or(1).max(1));
    match config.get("pmd-sleep-max") {
        Some(list) => (settings.max_sleep, settings.core_sleeps) = sleeps(list),
        None => {
            if let Some(micros) = number("pmd-maxsleep") {
                tracing::warn!(
                    target: "dpif_netdev", "pmd-maxsleep is deprecated. Please use pmd-sleep-max instead."
                );
                settings.max_sleep = Duration::from_micros(micros).min(MAX_SLEEP);
            }
        }
    }
    settings
}

/// How many threads are to take what comes up from a datapath outside the process, where it can have any number of them.
pub(super) fn handlers(config: &Config) -> Option<usize> {
    config.get("n-handler-threads")?.parse().ok().filter(|n| *n > 0)
}

/// An entry of the list of how long workers may sleep: microseconds for all, or for a core by number.
fn sleep(entry: &str) -> Option<(Option<u32>, Duration)> {
    let micros = |text: &str| text.parse().ok().map(|micros| Duration::from_micros(micros).min(MAX_SLEEP));
    match entry.split_once(':') {
        None => Some((None, micros(entry)?)),
        Some((core, time)) => Some((Some(core.parse().ok()?), micros(time)?)),
    }
}

fn sleep_entries(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ']).filter(|entry| !entry.is_empty())
}

/// Reads how long workers may sleep. What is no number is left out.
fn sleeps(list: &str) -> (Duration, BTreeMap<u32, Duration>) {
    let (mut all, mut of_cores) = (Duration::ZERO, BTreeMap::new());
    for (core, time) in sleep_entries(list).filter_map(sleep) {
        match core {
            None => all = time,
            Some(core) => drop(of_cores.insert(core, time)),
        }
    }
    (all, of_cores)
}

/// What is wrong with a list of how long workers may sleep.
pub(super) fn wrong_sleeps(list: &str) -> Option<String> {
    let odd = sleep_entries(list).find(|entry| sleep(entry).is_none())?;
    Some(format!("no list of microseconds: {odd}"))
}

/// Reads which cores queues are pinned to (`pmd-rxq-affinity`).
///
/// # Errors
/// What is wrong, in a line.
pub(super) fn affinity(list: &str) -> Result<Vec<(usize, u32)>, String> {
    let wrong = || format!("pmd-rxq-affinity: {list} is no list of queues and cores");
    let entries = list.split([',', ' ']).filter(|entry| !entry.is_empty());
    let pair = |entry: &str| {
        let (queue, core) = entry.split_once(':').ok_or_else(wrong)?;
        Ok((queue.parse().map_err(|_| wrong())?, core.parse().map_err(|_| wrong())?))
    };
    entries.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Settings {
        let config = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        settings(&config, &Topology::uniform(8))
    }

    #[test]
    fn what_is_wrong_is_as_if_it_were_not_there() {
        assert_eq!(read(&[]), Settings::default());
        let wrong = [
            ("pmd-cpu-mask", "0xg"),
            ("pmd-rxq-assign", "lots"),
            ("pmd-auto-lb", "perhaps"),
            ("pmd-auto-lb-load-threshold", "101"),
            ("pmd-auto-lb-improvement-threshold", "-1"),
            ("pmd-auto-lb-rebal-interval", "20001"),
            ("pmd-sleep-max", "qwe,1:x"),
            ("pmd-rxq-isolate", "false"),
        ];
        assert_eq!(read(&wrong), Settings::default());
    }

    #[test]
    fn cores_thresholds_and_sleeps() {
        let settings = read(&[
            ("pmd-cpu-mask", "0x83"),
            ("pmd-rxq-assign", "group"),
            ("pmd-rxq-isolate", "false"),
            ("pmd-auto-lb", "true"),
            ("pmd-auto-lb-load-threshold", "70"),
            ("pmd-auto-lb-rebal-interval", "0"),
            ("pmd-sleep-max", "2:600,50,3:20000"),
            ("pmd-maxsleep", "7"),
        ]);
        assert_eq!((settings.cores.as_deref(), settings.isolate), (Some(&[0, 1, 7][..]), false));
        assert_eq!((settings.balance.load, settings.balance.interval), (70, Duration::from_secs(60)));
        let micros = [0, 2, 3].map(|core| settings.sleep_of(core).as_micros());
        assert_eq!(micros, [50, 600, 10_000]);
        assert_eq!(read(&[("pmd-maxsleep", "7")]).max_sleep, Duration::from_micros(7));
    }

    #[test]
    fn handlers_are_one_at_least() {
        let asked = |n: &str| handlers(&[("n-handler-threads".to_string(), n.to_string())].into_iter().collect());
        assert_eq!([asked("3"), asked("0"), asked("many"), handlers(&Config::new())], [Some(3), None, None, None]);
    }

    #[test]
    fn pins_are_read_or_refused() {
        assert_eq!(affinity("0:3, 1:7"), Ok(vec![(0, 3), (1, 7)]));
        for wrong in ["0", "0:x", "-1:2", "0:1:2"] {
            assert!(affinity(wrong).is_err(), "{wrong}");
        }
    }
}
