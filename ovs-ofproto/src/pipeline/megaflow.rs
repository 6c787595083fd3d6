//! The megaflows that were installed, and what they stand for.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ovs_dpif::{DpAction, DpFlowStats, SlowPath, Ufid};
use ovs_packet::key::{SparseKey, SparseMatch};
use ovs_packet::{EthAddr, FlowKey, Instant};

use super::translate::{Dependencies, Effect, Translation};

/// A megaflow that is in the datapath.
#[derive(Debug)]
pub(super) struct Megaflow {
    /// Key of the packet that it was made for: translated again, it tells whether the megaflow is still right.
    pub(super) key: SparseKey,
    pub(super) matching: SparseMatch,
    pub(super) actions: Vec<DpAction>,
    pub(super) effects: Arc<[(usize, Effect)]>,
    pub(super) dependencies: Dependencies,
    pub(super) slow: SlowPath,
    /// The counters up to which its effects are credited.
    pub(super) credited: DpFlowStats,
    pub(super) installed: Instant,
}

impl Megaflow {
    pub(super) fn new(key: &FlowKey, t: Translation, now: Instant) -> Megaflow {
        Megaflow {
            key: key.into(),
            matching: (&*t.matching).into(),
            actions: t.actions,
            effects: t.effects.into(),
            dependencies: t.dependencies,
            slow: t.slow,
            credited: DpFlowStats::default(),
            installed: now,
        }
    }

    /// Whether a translation is what this one stands for.
    pub(super) fn is(&self, t: &Translation) -> bool {
        self.actions == t.actions
            && self.slow == t.slow
            && *self.effects == *t.effects
            && self.dependencies == t.dependencies
            && self.matching == SparseMatch::from(&*t.matching)
    }

    /// What went through since the last time, which counts as credited from now on: packets and bytes.
    pub(super) fn news(&mut self, stats: DpFlowStats) -> (u64, u64) {
        let packets = stats.packets.saturating_sub(self.credited.packets);
        let bytes = stats.bytes.saturating_sub(self.credited.bytes);
        self.credited = stats;
        (packets, bytes)
    }

    /// When it was last of use.
    pub(super) fn used(&self) -> Instant {
        self.credited.used.unwrap_or(self.installed).max(self.installed)
    }
}

/// All megaflows, in an order that is the same in every run, and by the addresses that they depend on.
#[derive(Default, Debug)]
pub(super) struct Megaflows {
    by_ufid: BTreeMap<Ufid, Megaflow>,
    by_station: HashMap<(usize, u16, EthAddr), BTreeSet<Ufid>>,
}

impl Megaflows {
    pub(super) fn insert(&mut self, ufid: Ufid, megaflow: Megaflow) {
        self.remove(ufid);
        for station in &megaflow.dependencies.stations {
            self.by_station.entry(*station).or_default().insert(ufid);
        }
        self.by_ufid.insert(ufid, megaflow);
    }

    pub(super) fn remove(&mut self, ufid: Ufid) -> Option<Megaflow> {
        let megaflow = self.by_ufid.remove(&ufid)?;
        for station in &megaflow.dependencies.stations {
            if let Entry::Occupied(mut users) = self.by_station.entry(*station) {
                users.get_mut().remove(&ufid);
                if users.get().is_empty() {
                    users.remove();
                }
            }
        }
        Some(megaflow)
    }

    /// Gives a megaflow another translation.
    pub(super) fn retranslate(&mut self, ufid: Ufid, t: Translation) {
        if let Some(old) = self.remove(ufid) {
            let key = FlowKey::from(&old.key);
            let new = Megaflow { credited: old.credited, ..Megaflow::new(&key, t, old.installed) };
            self.insert(ufid, new);
        }
    }

    pub(super) fn get_mut(&mut self, ufid: Ufid) -> Option<&mut Megaflow> {
        self.by_ufid.get_mut(&ufid)
    }

    pub(super) fn get(&self, ufid: Ufid) -> Option<&Megaflow> {
        self.by_ufid.get(&ufid)
    }

    pub(super) fn len(&self) -> usize {
        self.by_ufid.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_ufid.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Ufid, &Megaflow)> {
        self.by_ufid.iter().map(|(ufid, m)| (*ufid, m))
    }

    /// The megaflows whose translation asked where an address is.
    pub(super) fn that_asked(&self, station: (usize, u16, EthAddr)) -> impl Iterator<Item = Ufid> {
        self.by_station.get(&station).into_iter().flatten().copied()
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
    pub(super) fn max_idle(self, megaflows: usize, usual: Duration) -> Duration {
        if megaflows > self.now { Duration::from_millis(100).min(usual) } else { usual }
    }
}
