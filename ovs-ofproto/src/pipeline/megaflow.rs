//! The megaflows that were installed, and what they stand for.

use std::collections::BTreeMap;

use ovs_dpif::{DpFlowStats, Ufid};
use ovs_packet::{FlowKey, Instant};

use super::translate::Translation;

/// A megaflow that is in the datapath.
#[derive(Debug)]
pub(super) struct Megaflow {
    /// Key of the packet that it was made for: translated again, it tells whether the megaflow is still right.
    pub(super) key: Box<FlowKey>,
    pub(super) translation: Translation,
    /// The counters up to which its effects are credited.
    pub(super) credited: DpFlowStats,
    pub(super) installed: Instant,
}

impl Megaflow {
    pub(super) fn new(key: Box<FlowKey>, translation: Translation, now: Instant) -> Megaflow {
        Megaflow { key, translation, credited: DpFlowStats::default(), installed: now }
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

/// By identity, in an order that is the same in every run.
pub(super) type Megaflows = BTreeMap<Ufid, Megaflow>;
