//! Which worker polls which port.
//!
//! A pure function of what is known of the ports: the same ports with the same loads are assigned alike in every run.

use crate::action::PortNo;

/// How ports are dealt out to workers (`other_config:pmd-rxq-assign`).
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

/// A port to be assigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Which port.
    pub port: PortNo,
    /// How long it kept its worker busy, in nanoseconds of some interval that is the same for all.
    pub nanos: u64,
    /// The worker it is pinned to.
    pub pinned: Option<usize>,
}

/// Assigns ports to `workers` workers; the answers are in the order of `loads`. With `isolate`, workers that ports are
/// pinned to get no others, as long as there is a worker left. Pins to workers that there are not do not count.
///
/// ```
/// use ovs_dpif::PortNo;
/// use ovs_dpif::userspace::workers::{Assignment, Load, assign};
///
/// let load = |port, nanos| Load { port: PortNo(port), nanos, pinned: None };
/// let loads = [load(1, 10), load(2, 70), load(3, 40), load(4, 20)];
/// assert_eq!(assign(Assignment::RoundRobin, &loads, 2, true), [0, 1, 0, 1]);
/// assert_eq!(assign(Assignment::Cycles, &loads, 2, true), [0, 0, 1, 1]);
/// assert_eq!(assign(Assignment::Group, &loads, 2, true), [1, 0, 1, 1]);
/// ```
pub fn assign(policy: Assignment, loads: &[Load], workers: usize, isolate: bool) -> Vec<usize> {
    let workers = workers.max(1);
    let pin = |load: &Load| load.pinned.filter(|worker| *worker < workers);
    let is_free = |worker: &usize| !isolate || !loads.iter().any(|load| pin(load) == Some(*worker));
    let mut free: Vec<usize> = (0..workers).filter(is_free).collect();
    if free.is_empty() {
        free = (0..workers).collect();
    }
    let mut busy = vec![0u64; workers];
    let mut answers: Vec<Option<usize>> = loads.iter().map(pin).collect();
    for (load, worker) in loads.iter().zip(&answers) {
        if let Some(busy) = worker.and_then(|worker| busy.get_mut(worker)) {
            *busy = busy.saturating_add(load.nanos);
        }
    }
    let mut order: Vec<usize> = (0..loads.len()).filter(|i| answers.get(*i).is_some_and(Option::is_none)).collect();
    let nanos = |i: &usize| loads.get(*i).map_or(0, |load| load.nanos);
    if policy != Assignment::RoundRobin {
        order.sort_by_key(|i| std::cmp::Reverse(nanos(i)));
    }
    for (turn, i) in order.into_iter().enumerate() {
        let (round, place) = (turn / free.len(), turn % free.len());
        let chosen = match policy {
            Assignment::Cycles if round % 2 == 1 => free.get(free.len() - 1 - place),
            Assignment::Cycles | Assignment::RoundRobin => free.get(place),
            Assignment::Group => free.iter().min_by_key(|worker| busy.get(**worker)),
        };
        let chosen = chosen.copied().unwrap_or(0);
        if let (Some(answer), Some(busy)) = (answers.get_mut(i), busy.get_mut(chosen)) {
            *busy = busy.saturating_add(nanos(&i));
            *answer = Some(chosen);
        }
    }
    answers.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(all: &[(u64, Option<usize>)]) -> Vec<Load> {
        all.iter()
            .zip(1..)
            .map(|((nanos, pinned), port)| Load { port: PortNo(port), nanos: *nanos, pinned: *pinned })
            .collect()
    }

    #[test]
    fn pinned_ports_stay_and_keep_others_away() {
        let loads = loads(&[(10, None), (5, Some(1)), (20, None), (1, Some(9))]);
        assert_eq!(assign(Assignment::RoundRobin, &loads, 3, true), [0, 1, 2, 0]);
        assert_eq!(assign(Assignment::RoundRobin, &loads, 3, false), [0, 1, 1, 2]);
        // No worker is left: pins do not isolate.
        assert_eq!(assign(Assignment::Group, &loads, 1, true), [0; 4]);
        let all_pinned = self::loads(&[(1, Some(0)), (1, Some(1)), (9, None)]);
        assert_eq!(assign(Assignment::Group, &all_pinned, 2, true), [0, 1, 0]);
    }

    #[test]
    fn a_group_is_as_even_as_it_gets() {
        let loads = loads(&[(8, None), (7, None), (6, None), (5, None), (4, None)]);
        let workers = assign(Assignment::Group, &loads, 2, true);
        let sum = |worker| loads.iter().zip(&workers).filter(|(_, w)| **w == worker).map(|(l, _)| l.nanos).sum::<u64>();
        assert_eq!((sum(0), sum(1)), (17, 13));
        assert!(assign(Assignment::Cycles, &[], 4, true).is_empty());
    }
}
