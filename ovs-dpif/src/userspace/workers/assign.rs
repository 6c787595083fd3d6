//! Which worker polls which receive queue.
//!
//! A pure function of what is known of the queues: the same queues with the same loads are assigned alike in every run.
//! What there is to say of an assignment is in it, as [`Remark`]s, for the caller to log or, in a dry run, to leave.

use std::collections::{BTreeMap, BTreeSet};

use crate::action::PortNo;
use crate::threads::{Assignment, Core};

/// A receive queue to be assigned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queue {
    /// The port.
    pub port: PortNo,
    /// The port's name.
    pub name: String,
    /// Which of the port's queues.
    pub queue: usize,
    /// For how long it kept its worker busy, in nanoseconds of some interval that is the same for all.
    pub nanos: u64,
    /// The NUMA node of the device.
    pub numa: u32,
    /// The core that it is pinned to.
    pub pinned: Option<u32>,
}

/// What is to be said of an assignment, in upstream's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// Whether something is not as it should be.
    pub is_warning: bool,
    /// What.
    pub text: String,
}

/// An assignment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// The core of each queue, in their order; a queue without one is polled by nobody.
    pub cores: Vec<Option<u32>>,
    /// The cores that queues are pinned to, and that get no others therefore.
    pub isolated: BTreeSet<u32>,
    /// What is to be said.
    pub remarks: Vec<Remark>,
}

/// A worker while queues are dealt out.
struct Seat {
    core: u32,
    isolated: bool,
    queues: usize,
    nanos: u64,
}

/// The workers of a NUMA node.
struct Node {
    numa: u32,
    seats: Vec<Seat>,
    /// Whose turn is next, and whether the turns go up.
    next: usize,
    up: bool,
}

impl Node {
    fn has_room(&self) -> bool {
        self.seats.iter().any(|seat| !seat.isolated)
    }

    fn step(&mut self, there_and_back: bool) -> usize {
        let (now, last) = (self.next, self.seats.len().saturating_sub(1));
        match (self.up, there_and_back) {
            (true, true) if now == last => self.up = false,
            (true, false) if now == last => self.next = 0,
            (true, _) => self.next += 1,
            (false, _) if now == 0 => self.up = true,
            (false, _) => self.next -= 1,
        }
        now
    }

    /// The worker that gets the next queue.
    fn choose(&mut self, policy: Assignment, has_load: bool) -> Option<&mut Seat> {
        let chosen = if policy == Assignment::Group {
            let free = self.seats.iter().enumerate().filter(|(_, seat)| !seat.isolated);
            // Where no load is known, the worker with fewer queues.
            free.min_by_key(|(_, seat)| (if has_load { seat.nanos } else { 0 }, seat.queues)).map(|(place, _)| place)
        } else {
            // There and back passes every worker twice.
            let mut turns = 2 * self.seats.len();
            loop {
                turns = turns.checked_sub(1)?;
                let place = self.step(policy == Assignment::Cycles);
                if self.seats.get(place).is_some_and(|seat| !seat.isolated) {
                    break Some(place);
                }
            }
        };
        self.seats.get_mut(chosen?)
    }
}

fn measured(policy: Assignment, nanos: u64) -> String {
    match policy {
        Assignment::RoundRobin => String::new(),
        _ => format!(" (measured processing cycles {nanos})"),
    }
}

/// Assigns queues to workers. With `isolate`, workers that queues are pinned to get no others. A queue that is pinned to a
/// core without a worker is treated as if it were not, and so are the workers of other NUMA nodes where a queue's own
/// has none to spare: these in turn.
///
/// ```
/// use ovs_dpif::PortNo;
/// use ovs_dpif::threads::{Assignment, Topology};
/// use ovs_dpif::userspace::workers::{Queue, assign};
///
/// let queue = |port, nanos| Queue { port: PortNo(port), name: "p".into(), queue: 0, nanos, numa: 0, pinned: None };
/// let queues = [queue(1, 10), queue(2, 70), queue(3, 40), queue(4, 20)];
/// let workers: Vec<_> = Topology::uniform(2).cores().collect();
/// let cores = |policy| assign(policy, true, &workers, &queues).cores.into_iter().flatten().collect::<Vec<_>>();
/// assert_eq!(cores(Assignment::RoundRobin), [0, 1, 0, 1]);
/// assert_eq!(cores(Assignment::Cycles), [0, 0, 1, 1]);
/// assert_eq!(cores(Assignment::Group), [1, 0, 1, 1]);
/// ```
pub fn assign(policy: Assignment, isolate: bool, workers: &[Core], queues: &[Queue]) -> Plan {
    let mut nodes: BTreeMap<u32, Node> = BTreeMap::new();
    for Core { core, numa } in workers {
        let node = nodes.entry(*numa).or_insert(Node { numa: *numa, seats: Vec::new(), next: 0, up: true });
        node.seats.push(Seat { core: *core, isolated: false, queues: 0, nanos: 0 });
    }
    let mut nodes: Vec<Node> = nodes.into_values().collect();
    let mut plan = Plan { cores: vec![None; queues.len()], ..Plan::default() };
    let mut say = |is_warning, text| plan.remarks.push(Remark { is_warning, text });
    let mut free: Vec<(usize, &Queue)> = Vec::new();
    for (i, queue) in queues.iter().enumerate() {
        let Queue { name, queue: number, pinned, nanos, .. } = queue;
        let Some(core) = *pinned else {
            free.push((i, queue));
            continue;
        };
        let seats = nodes.iter_mut().flat_map(|node| node.seats.iter_mut().map(|seat| (node.numa, seat)));
        let Some((numa, seat)) = { seats }.find(|(_, seat)| seat.core == core) else {
            let text = format!(
                "Core {core:2} cannot be pinned with port '{name}' rx queue {number}. Use pmd-cpu-mask to enable a pmd on \
                 core {core}. An alternative core will be assigned."
            );
            say(true, text);
            free.push((i, queue));
            continue;
        };
        seat.isolated |= isolate;
        seat.queues += 1;
        seat.nanos = seat.nanos.saturating_add(*nanos);
        plan.isolated.extend(isolate.then_some(core));
        if let Some(to) = plan.cores.get_mut(i) {
            *to = Some(core);
        }
        let measured = measured(policy, *nanos);
        let text =
            format!("Core {core:2} on numa node {numa} is pinned with port '{name}' rx queue {number}{measured}");
        say(false, text);
    }
    if !free.is_empty() {
        say(false, format!("Performing pmd to rx queue assignment using {policy} algorithm."));
    }
    if policy != Assignment::RoundRobin {
        free.sort_by_key(|(_, queue)| std::cmp::Reverse(queue.nanos));
    }
    let mut last_other = 0;
    for (i, Queue { name, queue: number, numa: own, nanos, .. }) in free {
        let measured = measured(policy, *nanos);
        let is_own = |node: &Node| node.numa == *own && node.has_room();
        let place = nodes.iter().position(is_own).or_else(|| {
            let turns = (0..nodes.len()).map(|turn| (last_other + turn) % nodes.len());
            let other = { turns }.find(|place| nodes.get(*place).is_some_and(Node::has_room))?;
            last_other = other + 1;
            Some(other)
        });
        let node = place.and_then(|place| nodes.get_mut(place));
        let numa = node.as_ref().map_or(0, |node| node.numa);
        let Some(seat) = node.and_then(|node| node.choose(policy, *nanos > 0)) else {
            let text = format!(
                "No non-isolated pmd on any numa available for port '{name}' rx queue {number}{measured}. This rx queue \
                 will not be polled."
            );
            say(true, text);
            continue;
        };
        seat.queues += 1;
        seat.nanos = seat.nanos.saturating_add(*nanos);
        if let Some(to) = plan.cores.get_mut(i) {
            *to = Some(seat.core);
        }
        if numa != *own {
            let text = format!(
                "There's no available (non-isolated) pmd thread on numa node {own}. Port '{name}' rx queue {number} will be \
                 assigned to a pmd on numa node {numa}. This may lead to reduced performance."
            );
            say(false, text);
        }
        let core = seat.core;
        let text = format!("Core {core:2} on numa node {numa} assigned port '{name}' rx queue {number}{measured}.");
        say(false, text);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::Topology;

    fn queues(all: &[(u64, u32, Option<u32>)]) -> Vec<Queue> {
        let queue = |((nanos, numa, pinned), port): (&(u64, u32, Option<u32>), u32)| Queue {
            port: PortNo(port),
            name: format!("p{port}"),
            queue: 0,
            nanos: *nanos,
            numa: *numa,
            pinned: *pinned,
        };
        all.iter().zip(1..).map(queue).collect()
    }

    fn plan(policy: Assignment, isolate: bool, nodes: &str, queues: &[Queue]) -> Plan {
        let workers: Vec<Core> = nodes.parse::<Topology>().unwrap().cores().collect();
        assign(policy, isolate, &workers, queues)
    }

    fn cores(plan: &Plan) -> Vec<i64> {
        plan.cores.iter().map(|core| core.map_or(-1, i64::from)).collect()
    }

    #[test]
    fn pinned_queues_stay_and_keep_others_away() {
        let queues = queues(&[(10, 0, None), (5, 0, Some(1)), (20, 0, None), (1, 0, Some(9))]);
        let isolated = plan(Assignment::RoundRobin, true, "0,0,0", &queues);
        assert_eq!((cores(&isolated), isolated.isolated.len()), (vec![0, 1, 2, 0], 1));
        assert_eq!(isolated.remarks.iter().filter(|r| r.is_warning).count(), 1);
        let shared = plan(Assignment::Group, false, "0,0,0", &queues);
        assert_eq!((cores(&shared), shared.isolated.len()), (vec![2, 1, 0, 1], 0));
    }

    #[test]
    fn queues_that_no_worker_has_room_for_are_not_polled() {
        let queues = queues(&[(1, 0, Some(0)), (9, 0, None)]);
        let plan = plan(Assignment::Group, true, "0", &queues);
        assert_eq!(cores(&plan), [0, -1]);
        assert!(plan.remarks.last().unwrap().text.ends_with("This rx queue will not be polled."));
    }

    #[test]
    fn queues_stay_on_their_node_or_visit_the_others_in_turn() {
        let own = queues(&[(0, 8, None), (0, 1, None), (0, 8, None)]);
        assert_eq!(cores(&plan(Assignment::Cycles, true, "1,8,1,8", &own)), [1, 0, 3]);
        let foreign = queues(&[(0, 0, None); 4]);
        for policy in [Assignment::Cycles, Assignment::RoundRobin, Assignment::Group] {
            let mut cores = cores(&plan(policy, true, "1,2,1,2", &foreign));
            cores.sort_unstable();
            assert_eq!(cores, [0, 1, 2, 3], "{policy}");
        }
    }

    #[test]
    fn a_group_is_as_even_as_it_gets() {
        let queues = queues(&[8, 7, 6, 5, 4].map(|nanos| (nanos, 0, None)));
        let plan = plan(Assignment::Group, true, "0,0", &queues);
        let sum =
            |core| queues.iter().zip(&plan.cores).filter(|(_, c)| **c == Some(core)).map(|(q, _)| q.nanos).sum::<u64>();
        assert_eq!((sum(0), sum(1)), (17, 13));
        assert!(assign(Assignment::Cycles, true, &[], &[]).cores.is_empty());
    }

    #[test]
    fn turns_go_there_and_back() {
        let queues = queues(&[(0, 0, None); 8]);
        assert_eq!(cores(&plan(Assignment::Cycles, true, "0,0", &queues)), [0, 1, 1, 0, 0, 1, 1, 0]);
        assert_eq!(cores(&plan(Assignment::RoundRobin, true, "0,0", &queues)), [0, 1, 0, 1, 0, 1, 0, 1]);
    }
}
