//! Counters of a datapath as a whole.

/// How many hashes a bond tells apart.
pub const BOND_BUCKETS: usize = 256;

/// What went through a bond.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BondStats {
    /// Bytes, by hash.
    pub bytes: [u64; BOND_BUCKETS],
}

/// What a driver of cards that match megaflows does in a datapath (`dpctl/offload-stats-show`).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OffloadStats {
    /// The driver.
    pub driver: &'static str,
    /// What it counts, by name.
    pub counters: Vec<(&'static str, u64)>,
}

/// Counters of a datapath (`ovs-dpctl show`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct DpStats {
    /// Lookups that found a megaflow.
    pub hits: u64,
    /// Lookups that found none.
    pub missed: u64,
    /// Packets that could not be passed up.
    pub lost: u64,
    /// Megaflows.
    pub flows: u64,
    /// Distinct masks among them.
    pub masks: u64,
    /// Megaflows that were removed because their port had more than its quota, or the most where there was no room.
    pub evicted: u64,
    /// Hash tables of megaflows probed in all lookups, where masks may share one and that is counted.
    pub probes: Option<u64>,
    /// Masks tried in all lookups together, where each is tried alone and that is counted.
    pub mask_hits: Option<u64>,
    /// Lookups that a cache of masks answered, where there is one.
    pub cache_hits: Option<u64>,
}
