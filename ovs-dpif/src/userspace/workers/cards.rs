//! The megaflows that cards have: those for packets that come in by a port whose card matches megaflows.
//!
//! A card gets a megaflow after the threads have it, and loses it before them. What a card counts by itself is added to what
//! the threads count.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ovs_packet::key::Match;

use super::Workers;
use super::dpif::merge;
use crate::action::{DpAction, PortNo};
use crate::dpif::{Card, DpFlow, DpFlowStats, HwOffload, OffloadStats, Ufid};
use crate::netdev::{FlowOffload, OFFLOAD_DRIVERS, OffloadPut, Offloaded};

/// Which megaflows cards have, and who uses which card.
#[derive(Debug)]
pub(super) struct Cards {
    enabled: bool,
    flows: HashMap<Ufid, Arc<dyn FlowOffload>>,
    /// The drivers that are tried for a port, in this order.
    drivers: Vec<&'static str>,
    /// Those for single ports instead.
    preferred: BTreeMap<PortNo, Vec<&'static str>>,
    /// Who uses the cards of ports, while that is enabled.
    used: BTreeMap<PortNo, &'static str>,
}

impl Default for Cards {
    fn default() -> Cards {
        let (flows, preferred, used) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        Cards { enabled: false, flows, drivers: OFFLOAD_DRIVERS.to_vec(), preferred, used }
    }
}

impl Cards {
    /// What a card counted of a megaflow.
    pub(super) fn counted(&self, ufid: Ufid) -> Option<DpFlowStats> {
        self.flows.get(&ufid)?.get(ufid).map(|known| known.stats)
    }

    /// Adds what a card counted of a megaflow.
    pub(super) fn add(&self, flow: &mut DpFlow) {
        if let Some(stats) = self.counted(flow.ufid) {
            merge(&mut flow.stats, stats);
        }
    }

    /// A card forgets a megaflow. What it counted.
    pub(super) fn forget(&mut self, ufid: Ufid) -> Option<DpFlowStats> {
        self.flows.remove(&ufid)?.delete(ufid).map(|known| known.stats)
    }

    /// Forgets what a card had that goes with its port.
    pub(super) fn leave(&mut self, port: PortNo, gone: Option<Arc<dyn FlowOffload>>) {
        self.preferred.remove(&port);
        self.used.remove(&port);
        gone.iter().for_each(|gone| self.lose(gone));
    }

    fn lose(&mut self, gone: &Arc<dyn FlowOffload>) {
        self.flows.retain(|_, card| !Arc::ptr_eq(card, gone));
    }

    /// Which driver a card is for.
    fn driver_of(&self, port: PortNo, card: &dyn FlowOffload) -> Option<&'static str> {
        let mut tried = self.preferred.get(&port).unwrap_or(&self.drivers).iter();
        tried.find(|driver| self.drivers.contains(driver) && card.suits(driver)).copied()
    }

    pub(super) fn forget_all(&mut self) {
        for (ufid, card) in self.flows.drain() {
            let _ = card.delete(ufid);
        }
    }
}

impl Workers {
    /// Has each card be used by the driver that it is for.
    pub(super) fn hand_out_cards(&mut self) {
        let ports = self.ports.keys().filter_map(|port| Some((*port, self.card_of(*port)?)));
        for (port, card) in ports.collect::<Vec<_>>() {
            let driver = self.cards.driver_of(port, &*card).filter(|_| self.cards.enabled);
            if self.cards.used.get(&port).copied() == driver {
                continue;
            }
            self.cards.lose(&card);
            card.set_driver(driver);
            match driver {
                Some(driver) => drop(self.cards.used.insert(port, driver)),
                None => drop(self.cards.used.remove(&port)),
            }
        }
    }

    /// What each driver does, while cards are used.
    pub(super) fn offload_counts(&self) -> Vec<OffloadStats> {
        let drivers = self.cards.drivers.iter().filter(|_| self.cards.enabled);
        let ports = |driver: &&str| self.cards.used.values().filter(|used| *used == driver).count() as u64;
        drivers.map(|driver| OffloadStats { driver, counters: vec![("Offloaded port count", ports(driver))] }).collect()
    }

    pub(super) fn card_of(&self, port: PortNo) -> Option<Arc<dyn FlowOffload>> {
        self.main.ports.device(port)?.flow_offload()
    }

    /// Offers a megaflow to the card of the port that its packets come in by. Packets that were looked up before do not come
    /// in by one.
    pub(super) fn offer(&mut self, ufid: Ufid, matching: &Match, actions: &[DpAction]) {
        let key = matching.key();
        let port = PortNo(key.in_port.get());
        if key.recirc_id != 0 || !self.cards.used.contains_key(&port) {
            return;
        }
        let Some(card) = self.card_of(port) else { return };
        let put = OffloadPut { ufid, matching, actions, others: &|port| self.card_of(port) };
        match card.put(&put) {
            Ok(_) => drop(self.cards.flows.insert(ufid, card)),
            Err(e) => tracing::debug!(target: "dpif_offload", "{ufid}: not taken: {e}"),
        }
    }
}

impl HwOffload for Workers {
    fn set_flow_offload(&mut self, enabled: bool) {
        if self.cards.enabled != enabled {
            self.cards.enabled = enabled;
            self.hand_out_cards();
        }
    }

    fn flow_offload(&self) -> bool {
        self.cards.enabled
    }

    fn set_offload_drivers(&mut self, drivers: &[&'static str]) {
        if self.cards.drivers != drivers {
            self.cards.drivers = drivers.to_vec();
            self.hand_out_cards();
        }
    }

    fn offload_drivers(&self) -> &[&'static str] {
        &self.cards.drivers
    }

    fn prefer_offload_drivers(&mut self, port: PortNo, drivers: Option<Vec<&'static str>>) {
        if self.cards.preferred.get(&port) == drivers.as_ref() {
            return;
        }
        match drivers {
            Some(drivers) => drop(self.cards.preferred.insert(port, drivers)),
            None => drop(self.cards.preferred.remove(&port)),
        }
        self.hand_out_cards();
    }

    fn cards(&self) -> Vec<Card> {
        let ports = self.ports.iter().filter_map(|(port, place)| {
            let card = self.card_of(*port)?;
            Some(Card::new(*port, place.name.clone(), self.cards.driver_of(*port, &*card)?, card.counts()))
        });
        ports.collect()
    }

    fn offloaded(&self, ufid: Ufid) -> Option<Offloaded> {
        self.cards.flows.get(&ufid)?.get(ufid)
    }
}
