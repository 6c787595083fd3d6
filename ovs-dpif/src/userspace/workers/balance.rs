//! How busy queues and workers were, interval by interval, and whether queues are better dealt out anew.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ovs_packet::Instant;

use super::assign::Plan;
use super::{Queue, Workers};
use crate::action::PortNo;
use crate::threads::{Assignment, Core, INTERVALS, Threads};

/// How long an interval is.
const INTERVAL: Duration = Duration::from_secs(5);

/// What is remembered, in nanoseconds of each interval, the last one first.
type History = VecDeque<u64>;

#[derive(Default)]
pub(super) struct Balancer {
    /// When the interval ends, and when it began on the stopwatch.
    ends: Option<Instant>,
    began: Instant,
    queues: BTreeMap<(PortNo, usize), History>,
    workers: BTreeMap<u32, Busy>,
    /// When it was looked last whether to deal out anew, and what came of it.
    looked: Option<Instant>,
    is_worth_it: bool,
    /// Whether queues or workers changed since.
    pub(super) is_changed: bool,
}

#[derive(Default)]
struct Busy {
    /// What the worker told by the end of the last interval.
    busy_so_far: u64,
    loads_so_far: BTreeMap<(PortNo, usize), u64>,
    busy: History,
    /// How long the last interval was.
    length: u64,
    /// How many intervals in a row it was as busy as the threshold says.
    overloaded: usize,
}

fn remember(history: &mut History, nanos: u64) {
    history.truncate(INTERVALS - 1);
    history.push_front(nanos);
}

impl Balancer {
    pub(super) fn load_of(&self, queue: (PortNo, usize), intervals: usize) -> u64 {
        self.queues.get(&queue).map_or(0, |history| history.iter().take(intervals).sum())
    }

    /// For how long a worker was busy in the last intervals, and how long they are together.
    pub(super) fn busy_of(&self, core: u32, intervals: usize) -> (u64, u64) {
        let Some(worker) = self.workers.get(&core) else { return (0, 0) };
        let total = worker.length.saturating_mul(intervals as u64);
        (worker.busy.iter().take(intervals).sum::<u64>().min(total), total)
    }

    /// Begins anew, since queues have moved: what they did elsewhere is remembered, what workers did is not.
    pub(super) fn begin(&mut self, workers: &BTreeMap<u32, super::Worker>, began: Instant) {
        self.ends = None;
        self.began = began;
        self.is_changed = true;
        let fresh = |(core, worker): (&u32, &super::Worker)| {
            let report = worker.shared.report();
            let (busy_so_far, loads_so_far) = (report.busy, report.loads.clone());
            (*core, Busy { busy_so_far, loads_so_far, ..Busy::default() })
        };
        self.workers = workers.iter().map(fresh).collect();
    }

    pub(super) fn forget(&mut self, port: PortNo) {
        self.queues.retain(|(of, _), _| *of != port);
    }
}

impl Workers {
    /// When the next interval ends.
    pub(super) fn interval_ends(&self) -> Option<Instant> {
        if self.crew.is_empty() { None } else { self.balancer.ends }
    }

    /// Measures, and deals out anew, if it is time.
    pub(super) fn balance_queues(&mut self, now: Instant) {
        if self.crew.is_empty() {
            return;
        }
        if now >= *self.balancer.ends.get_or_insert(now + INTERVAL) {
            self.measure();
            self.balancer.ends = Some(now + INTERVAL);
        }
        let balance = self.settings.balance;
        if !balance.on {
            self.balancer.looked = None;
            return;
        }
        if now <= *self.balancer.looked.get_or_insert(now) + balance.interval {
            return;
        }
        self.balancer.looked = Some(now);
        let is_overloaded = self.balancer.workers.values().any(|worker| worker.overloaded >= INTERVALS);
        if is_overloaded && self.is_dry_run_worth_it() && self.would_improve() {
            tracing::info!(
                target: "dpif_netdev", "PMD auto load balance dry run. Requesting datapath reconfigure."
            );
            self.rebalance();
        }
    }

    fn measure(&mut self) {
        let now = (self.hooks.stopwatch)();
        let length = u64::try_from((now - self.balancer.began).as_nanos()).unwrap_or(u64::MAX);
        self.balancer.began = now;
        let mut loads: BTreeMap<(PortNo, usize), u64> = BTreeMap::new();
        for (core, worker) in &self.crew {
            let report = worker.shared.report();
            let known = self.balancer.workers.entry(*core).or_default();
            for (queue, nanos) in &report.loads {
                let before = known.loads_so_far.insert(*queue, *nanos).unwrap_or(0);
                *loads.entry(*queue).or_default() += nanos.saturating_sub(before);
            }
            let busy = report.busy.saturating_sub(known.busy_so_far);
            known.busy_so_far = report.busy;
            known.length = length;
            remember(&mut known.busy, busy);
            let percent = busy.saturating_mul(100).checked_div(length).unwrap_or(0);
            let is_over = percent >= self.settings.balance.load.into();
            known.overloaded = if is_over { known.overloaded + 1 } else { 0 };
        }
        for (port, place) in &self.ports {
            for queue in 0..place.seats.len() {
                let history = self.balancer.queues.entry((*port, queue)).or_default();
                remember(history, loads.get(&(*port, queue)).copied().unwrap_or(0));
            }
        }
    }

    /// Whether it can be better at all: as it was found last, unless something changed since.
    fn is_dry_run_worth_it(&mut self) -> bool {
        let nothing = "PMD auto load balance nothing to do,";
        if !std::mem::take(&mut self.balancer.is_changed) {
            if !self.balancer.is_worth_it {
                tracing::debug!(target: "dpif_netdev", "{nothing} no configuration changes since last check.");
            }
            return self.balancer.is_worth_it;
        }
        self.balancer.is_worth_it = false;
        if self.settings.assignment == Assignment::RoundRobin {
            tracing::debug!(
                target: "dpif_netdev", "{nothing} pmd-rxq-assign=roundrobin assignment type configured."
            );
            return false;
        }
        let free: Vec<usize> = self.crew().iter().filter(|w| !w.isolated).map(|w| w.queues.len()).collect();
        self.balancer.is_worth_it = free.len() > 1 && free.iter().any(|queues| *queues > 1);
        if !self.balancer.is_worth_it {
            tracing::debug!(target: "dpif_netdev", "{nothing} not enough non-isolated PMDs or RxQs.");
        }
        self.balancer.is_worth_it
    }

    /// Whether loads would be more even by so much as is asked for.
    fn would_improve(&self) -> bool {
        tracing::debug!(target: "dpif_netdev", "PMD auto load balance performing dry run.");
        let cores: Vec<Core> = self.crew.iter().map(|(core, w)| Core { core: *core, numa: w.numa }).collect();
        let (queues, plan) = self.plan(&cores);
        for remark in &plan.remarks {
            tracing::debug!(target: "dpif_netdev", "{}", remark.text);
        }
        let mut nodes: Vec<u32> = cores.iter().map(|core| core.numa).collect();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.len() > 1 && crosses_nodes(&cores, &queues, &plan) {
            tracing::debug!(
                target: "dpif_netdev",
                "PMD auto load balance detected cross-numa polling with multiple numa nodes. Unable to accurately \
                 estimate."
            );
            return false;
        }
        let now: BTreeMap<(PortNo, usize), u32> = self
            .crew()
            .into_iter()
            .flat_map(|w| w.queues.into_iter().map(move |q| ((q.port, q.queue), w.core.core)))
            .collect();
        let now: Vec<Option<u32>> = queues.iter().map(|q| now.get(&(q.port, q.queue)).copied()).collect();
        let threshold = self.settings.balance.improvement;
        let mut is_met = false;
        for node in nodes {
            let of_node = || cores.iter().filter(|core| core.numa == node);
            let variance = |assigned: &[Option<u32>]| {
                variance(of_node().map(|core| {
                    let load = queues.iter().zip(assigned).filter(|(_, to)| **to == Some(core.core));
                    let load: u64 = load.map(|(queue, _)| queue.nanos).sum();
                    let (_, total) = self.balancer.busy_of(core.core, INTERVALS);
                    load.saturating_mul(100).checked_div(total).unwrap_or(0)
                }))
            };
            let (is, would_be) = (variance(&now), variance(&plan.cores));
            let improvement = is.saturating_sub(would_be).saturating_mul(100).checked_div(is).unwrap_or(0);
            tracing::debug!(
                target: "dpif_netdev",
                "Numa node {node}. Current variance {is} Estimated variance {would_be}. Variance improvement \
                 {improvement}%."
            );
            is_met |= improvement >= threshold.into();
        }
        tracing::debug!(
            target: "dpif_netdev", "PMD load variance improvement threshold {threshold}% is {}.",
            if is_met { "met" } else { "not met" }
        );
        is_met
    }
}

/// Whether a queue that is pinned nowhere would be polled by a worker of another NUMA node.
fn crosses_nodes(cores: &[Core], queues: &[Queue], plan: &Plan) -> bool {
    queues.iter().zip(&plan.cores).any(|(queue, to)| {
        let numa = to.and_then(|to| cores.iter().find(|core| core.core == to)).map(|core| core.numa);
        let is_free = to.is_some_and(|to| !plan.isolated.contains(&to));
        queue.pinned.is_none() && is_free && numa.is_some_and(|numa| numa != queue.numa)
    })
}

/// The mean of the squares of what numbers differ from their mean by.
fn variance(numbers: impl Iterator<Item = u64> + Clone) -> u64 {
    let count = numbers.clone().count() as u64;
    let Some(mean) = numbers.clone().sum::<u64>().checked_div(count) else { return 0 };
    numbers.map(|n| n.abs_diff(mean).saturating_mul(n.abs_diff(mean))).sum::<u64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variances_of_percentages() {
        assert_eq!(variance([].into_iter()), 0);
        assert_eq!(variance([40, 40].into_iter()), 0);
        assert_eq!(variance([100, 0].into_iter()), 2500);
    }
}
