//! Which port has most of the learnt addresses, and which of a port's was silent longest.
//!
//! Ports stand in a binary heap by how many addresses are behind them, so that whoever fills the table with new addresses
//! costs a few comparisons each, however many ports there are. Of ports that have equally many, the heap decides: always
//! the same for the same history.

use std::collections::{BTreeSet, HashMap};

use ovs_packet::{Instant, OfPort};

use super::Station;

/// The addresses behind a port, by when they were heard of last, and the port's place in the heap.
#[derive(Clone, Default, Debug)]
struct Crowd {
    place: usize,
    stations: BTreeSet<(Instant, Station)>,
}

/// Learnt addresses by port. No port without addresses is in it.
#[derive(Clone, Default, Debug)]
pub(super) struct Crowds {
    by_port: HashMap<OfPort, Crowd>,
    /// Behind the one at `n` are not fewer than behind those at `2 * n + 1` and `2 * n + 2`.
    heap: Vec<OfPort>,
}

impl Crowds {
    pub(super) fn insert(&mut self, port: OfPort, used: Instant, station: Station) {
        let heap = &mut self.heap;
        let crowd = self.by_port.entry(port).or_insert_with(|| {
            heap.push(port);
            Crowd { place: heap.len() - 1, stations: BTreeSet::new() }
        });
        if crowd.stations.insert((used, station)) {
            let place = crowd.place;
            self.rise(place);
        }
    }

    pub(super) fn remove(&mut self, port: OfPort, used: Instant, station: Station) {
        let Some(crowd) = self.by_port.get_mut(&port) else { return };
        if !crowd.stations.remove(&(used, station)) {
            return;
        }
        let place = crowd.place;
        if !crowd.stations.is_empty() {
            return self.sink(place);
        }
        self.by_port.remove(&port);
        self.heap.swap_remove(place);
        if let Some(moved) = self.heap.get(place).copied() {
            self.put(place, moved);
            self.rise(place);
            self.sink(place);
        }
    }

    pub(super) fn clear(&mut self) {
        self.by_port.clear();
        self.heap.clear();
    }

    /// Of the port that has most, the address that was silent longest.
    pub(super) fn longest_silent_of_most(&self) -> Option<Station> {
        let crowd = self.by_port.get(self.heap.first()?)?;
        crowd.stations.first().map(|(_, station)| *station)
    }

    // The heap.

    fn count(&self, place: usize) -> usize {
        self.heap.get(place).and_then(|port| self.by_port.get(port)).map_or(0, |crowd| crowd.stations.len())
    }

    fn put(&mut self, place: usize, port: OfPort) {
        if let (Some(at), Some(crowd)) = (self.heap.get_mut(place), self.by_port.get_mut(&port)) {
            (*at, crowd.place) = (port, place);
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        if let (Some(in_a), Some(in_b)) = (self.heap.get(a).copied(), self.heap.get(b).copied()) {
            self.put(a, in_b);
            self.put(b, in_a);
        }
    }

    /// Who has more than before goes up.
    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.count(place) <= self.count(parent) {
                break;
            }
            self.swap(place, parent);
            place = parent;
        }
    }

    /// Who has fewer than before goes down.
    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let larger = if self.count(right) > self.count(left) { right } else { left };
            if self.count(larger) <= self.count(place) {
                break;
            }
            self.swap(place, larger);
            place = larger;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ovs_packet::EthAddr;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map that is searched from end to end.
        #[test]
        fn model(ops in prop::collection::vec((any::<bool>(), 0u32..6, 0u64..8, 0u64..4), 0..80)) {
            let mut crowds = Crowds::default();
            let mut model = BTreeMap::<u32, BTreeSet<(Instant, Station)>>::new();
            for (adds, port, mac, at) in ops {
                let station = Station { vlan: 0, address: EthAddr::local(mac) };
                let at = Instant::from_secs(at);
                if adds {
                    crowds.insert(OfPort(port), at, station);
                    model.entry(port).or_default().insert((at, station));
                } else {
                    crowds.remove(OfPort(port), at, station);
                    model.entry(port).or_default().remove(&(at, station));
                    model.retain(|_, stations| !stations.is_empty());
                }
                let most = model.values().map(BTreeSet::len).max();
                let of_most = model.values().filter(|s| Some(s.len()) == most).filter_map(|s| s.first());
                let allowed: Vec<_> = of_most.map(|(_, station)| *station).collect();
                match crowds.longest_silent_of_most() {
                    Some(station) => prop_assert!(allowed.contains(&station)),
                    None => prop_assert!(allowed.is_empty()),
                }
                prop_assert_eq!(crowds.heap.len(), model.len());
                prop_assert!(crowds.heap.iter().enumerate().all(|(i, p)| crowds.by_port[p].place == i));
            }
        }
    }
}
