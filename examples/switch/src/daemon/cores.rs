//! The cores of the machine, and threads that are bound to them.

use std::fs;

use ovs_dpif::threads::{Core, Topology};

/// Where the system tells of its nodes, and of its cores where it knows no nodes.
const NODES: &str = "/sys/devices/system/node";
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// What the system tells of its cores, with their NUMA nodes; where it tells nothing, as many as this process may use, all
/// of one node.
pub fn discover() -> Topology {
    let nodes = fs::read_dir(NODES).into_iter().flatten().flatten();
    let nodes = nodes.filter_map(|entry| {
        let node: u32 = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
        Some((node, fs::read_to_string(entry.path().join("cpulist")).ok()?))
    });
    let cores = nodes.flat_map(|(numa, list)| numbers(&list).into_iter().map(move |core| Core { core, numa }));
    let mut cores: Vec<Core> = cores.collect();
    if cores.is_empty() {
        let online = fs::read_to_string(ONLINE).unwrap_or_default();
        cores = numbers(&online).into_iter().map(|core| Core { core, numa: 0 }).collect();
    }
    if cores.is_empty() {
        let usable = std::thread::available_parallelism().map_or(1, usize::from);
        return Topology::uniform(u32::try_from(usable).unwrap_or(1));
    }
    Topology::new(cores)
}

/// Reads a list of numbers and ranges, as in `0-3,8`. What is none is left out.
fn numbers(list: &str) -> Vec<u32> {
    /// A range is no longer than that.
    const MOST: u32 = 4096;
    let range = |entry: &str| {
        let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        Some(first..=last.min(first.saturating_add(MOST)))
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

/// Binds the thread that calls it to a core. Where the system does not let it, the thread runs where it may.
pub fn bind(core: u32) {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut cores = CpuSet::new();
    let number = usize::try_from(core).unwrap_or(usize::MAX);
    if number >= CpuSet::MAX_CPU {
        return tracing::warn!(target: "ovs_numa", "core {core} is beyond those that threads can be bound to");
    }
    cores.set(number);
    if let Err(e) = sched_setaffinity(None, &cores) {
        tracing::warn!(target: "ovs_numa", "a thread was not bound to core {core} ({e})");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores() {
        assert_eq!(numbers("0-2,8\n"), [0, 1, 2, 8]);
        assert_eq!(numbers("5"), [5]);
        assert!(numbers("\n").is_empty() && numbers("x-y").is_empty());
        assert_eq!(numbers("0-4294967295").len(), 4097);
        assert!(discover().cores().count() > 0);
    }

    #[test]
    fn a_thread_is_bound_to_its_core() {
        let core = discover().cores().next().unwrap().core;
        let bound = std::thread::spawn(move || {
            bind(core);
            let set = rustix::thread::sched_getaffinity(None).unwrap();
            (set.count(), set.is_set(core as usize))
        });
        // A core that this process may not use is refused, and said.
        let allowed = rustix::thread::sched_getaffinity(None).unwrap().is_set(core as usize);
        assert!(!allowed || bound.join().unwrap() == (1, true));
    }
}
