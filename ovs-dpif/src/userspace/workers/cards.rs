//! The megaflows that cards have: those for packets that come in by a port whose card matches megaflows.
//!
//! A card gets a megaflow after the threads have it, and loses it before them. What a card counts by itself is added to what
//! the threads count.

use std::collections::HashMap;
use std::sync::Arc;

use ovs_packet::key::Match;

use super::Workers;
use super::dpif::merge;
use crate::action::{DpAction, PortNo};
use crate::dpif::{DpFlow, DpFlowStats, Ufid};
use crate::netdev::{CardCounts, FlowOffload, OffloadPut, Offloaded};

/// Which megaflows cards have.
#[derive(Default, Debug)]
pub(super) struct Cards {
    enabled: bool,
    flows: HashMap<Ufid, Arc<dyn FlowOffload>>,
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

    /// Forgets what a card had that goes.
    pub(super) fn leave(&mut self, gone: &Arc<dyn FlowOffload>) {
        self.flows.retain(|_, card| !Arc::ptr_eq(card, gone));
    }

    pub(super) fn forget_all(&mut self) {
        for (ufid, card) in self.flows.drain() {
            let _ = card.delete(ufid);
        }
    }
}

impl Workers {
    /// Has cards that match megaflows be used for that, or no more (`hw-offload`). Megaflows that are there already stay
    /// with the threads.
    pub fn set_flow_offload(&mut self, enabled: bool) {
        if self.cards.enabled == enabled {
            return;
        }
        self.cards.enabled = enabled;
        self.cards.forget_all();
        let ports: Vec<PortNo> = self.ports.keys().copied().collect();
        ports.into_iter().filter_map(|port| self.card_of(port)).for_each(|card| card.set_enabled(enabled));
    }

    /// Whether cards that match megaflows are used for that.
    pub fn flow_offload(&self) -> bool {
        self.cards.enabled
    }

    /// The cards that match megaflows, with their ports and what they did.
    pub fn cards(&self) -> impl Iterator<Item = (PortNo, &str, &'static str, CardCounts)> {
        self.ports.iter().filter_map(|(port, place)| {
            let card = self.card_of(*port)?;
            Some((*port, place.name.as_str(), card.kind(), card.counts()))
        })
    }

    /// What a card does of a megaflow, if one has it.
    pub fn offloaded(&self, ufid: Ufid) -> Option<Offloaded> {
        self.cards.flows.get(&ufid)?.get(ufid)
    }

    pub(super) fn card_of(&self, port: PortNo) -> Option<Arc<dyn FlowOffload>> {
        self.main.ports.device(port)?.flow_offload()
    }

    /// A port came.
    pub(super) fn meet_card(&self, port: PortNo) {
        if let Some(card) = self.card_of(port).filter(|_| self.cards.enabled) {
            card.set_enabled(true);
        }
    }

    /// Offers a megaflow to the card of the port that its packets come in by. Packets that were looked up before do not come
    /// in by one.
    pub(super) fn offer(&mut self, ufid: Ufid, matching: &Match, actions: &[DpAction]) {
        if !self.cards.enabled {
            return;
        }
        let key = matching.key();
        let Some(card) = self.card_of(PortNo(key.in_port.get())).filter(|_| key.recirc_id == 0) else { return };
        let put = OffloadPut { ufid, matching, actions, others: &|port| self.card_of(port) };
        match card.put(&put) {
            Ok(_) => drop(self.cards.flows.insert(ufid, card)),
            Err(e) => tracing::debug!(target: "dpif_offload", "{ufid}: not taken: {e}"),
        }
    }
}
