//! The megaflows that were installed, and what they stand for.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use ovs_dpif::{DpFlowStats, Ufid};
use ovs_packet::{EthAddr, FlowKey, Instant};

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

/// All megaflows, in an order that is the same in every run, and by the addresses that they depend on.
#[derive(Default, Debug)]
pub(super) struct Megaflows {
    by_ufid: BTreeMap<Ufid, Megaflow>,
    by_station: HashMap<(u16, EthAddr), BTreeSet<Ufid>>,
}

impl Megaflows {
    pub(super) fn insert(&mut self, ufid: Ufid, megaflow: Megaflow) {
        self.remove(ufid);
        self.index(ufid, &megaflow.translation);
        self.by_ufid.insert(ufid, megaflow);
    }

    pub(super) fn remove(&mut self, ufid: Ufid) -> Option<Megaflow> {
        let megaflow = self.by_ufid.remove(&ufid)?;
        self.unindex(ufid, &megaflow.translation);
        Some(megaflow)
    }

    /// Gives a megaflow another translation.
    pub(super) fn retranslate(&mut self, ufid: Ufid, translation: Translation) {
        if let Some(mut megaflow) = self.remove(ufid) {
            megaflow.translation = translation;
            self.insert(ufid, megaflow);
        }
    }

    fn index(&mut self, ufid: Ufid, t: &Translation) {
        for station in &t.stations {
            self.by_station.entry(*station).or_default().insert(ufid);
        }
    }

    fn unindex(&mut self, ufid: Ufid, t: &Translation) {
        for station in &t.stations {
            if let Entry::Occupied(mut users) = self.by_station.entry(*station) {
                users.get_mut().remove(&ufid);
                if users.get().is_empty() {
                    users.remove();
                }
            }
        }
    }

    pub(super) fn get_mut(&mut self, ufid: Ufid) -> Option<&mut Megaflow> {
        self.by_ufid.get_mut(&ufid)
    }

    pub(super) fn get(&self, ufid: Ufid) -> Option<&Megaflow> {
        self.by_ufid.get(&ufid)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_ufid.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Ufid, &Megaflow)> {
        self.by_ufid.iter().map(|(ufid, m)| (*ufid, m))
    }

    /// The megaflows whose translation asked where one of these addresses is.
    pub(super) fn that_asked(&self, stations: &BTreeSet<(u16, EthAddr)>) -> BTreeSet<Ufid> {
        stations.iter().filter_map(|s| self.by_station.get(s)).flatten().copied().collect()
    }
}
