//! A card of a dummy device, which matches megaflows as one of silicon would, and says in the log what it does.
//!
//! It executes a megaflow whose actions are outputs to other ports whose cards take that, and marks the packets of all others.
//! The ports are known weakly: once one is gone, a packet that was to go there is left to the datapath, unharmed.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, Weak};

use ovs_packet::extract;
use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::{FlowKey, FlowMask, Instant, Match, Packet};

use super::{PMD, Shared, lock};
use crate::action::{DpAction, PortNo};
use crate::dpif::{DpFlowStats, Ufid};
use crate::netdev::NetdevError;
use crate::netdev::flow_offload::{CardCounts, FlowOffload, Level, OFFLOAD_DRIVERS, OffloadPut, Offloaded};

/// What the log calls it.
const TARGET: &str = "dpif_offload_dummy";

/// The megaflows of a card.
#[derive(Debug, Default)]
pub(super) struct Flows {
    /// The driver that uses the card.
    driver: Option<&'static str>,
    flows: HashMap<Ufid, Flow>,
    counts: CardCounts,
    now: Instant,
}

#[derive(Debug)]
struct Flow {
    /// Without the port that packets come in by.
    matching: Match,
    mark: NonZeroU32,
    /// Where packets go, if the card does it all.
    outputs: Option<Vec<Weak<dyn FlowOffload>>>,
    stats: DpFlowStats,
}

/// What is to become of a packet that came in.
pub(super) enum Verdict {
    /// The datapath gets it, with a mark or without.
    Up(Packet),
    /// It goes out there, if that can be.
    Out(Packet, Ufid, Vec<Weak<dyn FlowOffload>>),
}

impl Flows {
    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Looks a packet up.
    pub(super) fn receive(&mut self, name: &str, mut packet: Packet) -> Verdict {
        if self.driver.is_none() {
            return Verdict::Up(packet);
        }
        let mut key = FlowKey::ZERO;
        extract::extract(&mut packet, &mut key);
        let Some((ufid, flow)) = self.flows.iter().find(|(_, flow)| flow.matching.matches(&key)) else {
            self.counts.missed += 1;
            return Verdict::Up(packet);
        };
        if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
            let (packet, matching, mark) = (described(&key), shown(&flow.matching), flow.mark);
            tracing::debug!(target: TARGET, "{name}: packet: {packet} matches with flow: {matching} with mark: {mark}");
        }
        match &flow.outputs {
            Some(outputs) => Verdict::Out(packet, *ufid, outputs.clone()),
            None => {
                packet.offload.mark = Some(flow.mark);
                self.counts.partial += 1;
                Verdict::Up(packet)
            }
        }
    }

    /// Takes note of a packet that went out.
    pub(super) fn forwarded(&mut self, ufid: Ufid, len: usize) {
        self.counts.full += 1;
        if let Some(flow) = self.flows.get_mut(&ufid) {
            flow.stats.packets += 1;
            flow.stats.bytes += len as u64;
            flow.stats.used = Some(self.now);
        }
    }

    /// Takes note of a packet that was to go out and could not.
    pub(super) fn aborted(&mut self) {
        self.counts.full += 1;
        self.counts.aborted += 1;
    }

    fn told(&self, flow: &Flow) -> Offloaded {
        let level = if flow.outputs.is_some() { Level::Full } else { Level::Partial };
        Offloaded { level, stats: flow.stats, by: self.driver.unwrap_or_default() }
    }

    fn free_mark(&self) -> Option<NonZeroU32> {
        (1..).filter_map(NonZeroU32::new).find(|mark| !self.flows.values().any(|flow| flow.mark == *mark))
    }
}

/// A packet in the words of a match: its headers whole.
fn described(key: &FlowKey) -> Match {
    let mut mask = crate::text::exact_mask(key);
    let mut metadata = FlowMask::EMPTY;
    use FieldId::{CtLabel, CtMark, CtState, CtZone, DpHash, InPortOxm, PacketType, PktMark, RecircId, SkbPriority};
    [CtLabel, CtMark, CtState, CtZone, DpHash, InPortOxm, PacketType, PktMark, RecircId, SkbPriority]
        .into_iter()
        .for_each(|field| metadata.add(field));
    mask.bits.words_mut().iter_mut().zip(metadata.bits.words()).for_each(|(mask, other)| *mask &= !other);
    mask.bits.vlan_tci.set(u16::MAX);
    mask.bits.inner_vlan_tci.set(if key.vlan_tci == 0 { 0 } else { u16::MAX });
    Match::new(*key, mask)
}

/// A match as upstream's card has it: where there is no tag, that is told of all that a tag identifies.
fn shown(matching: &Match) -> Match {
    use ovs_packet::key::{VLAN_PRESENT, VLAN_VID_MASK};
    let (key, mut mask) = (matching.key(), matching.mask());
    if key.vlan_tci == 0 && mask.bits.vlan_tci != 0 {
        mask.bits.vlan_tci.set(VLAN_PRESENT | VLAN_VID_MASK);
    }
    if !Prereq::Ip.holds(&key) {
        mask.bits.nw_frag = 0;
    }
    Match::new(key, mask)
}

/// The card of a device.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) shared: Arc<Mutex<Shared>>,
}

impl Card {
    /// Where packets of a megaflow go whose actions are nothing but that, to others that take it.
    fn outputs(&self, flow: &OffloadPut<'_>) -> Option<Vec<Weak<dyn FlowOffload>>> {
        let own = PortNo(flow.matching.key().in_port.get());
        let of = |action: &DpAction| match action {
            DpAction::Output(port) if *port != own => {
                (flow.others)(*port).filter(|card| card.takes_from_others()).map(|card| Arc::downgrade(&card))
            }
            _ => None,
        };
        flow.actions.iter().map(of).collect()
    }
}

impl FlowOffload for Card {
    fn suits(&self, driver: &str) -> bool {
        OFFLOAD_DRIVERS.contains(&driver)
    }

    fn set_driver(&self, driver: Option<&'static str>) {
        let card = &mut lock(&self.shared).card;
        if card.driver != driver {
            card.driver = driver;
            card.flows.clear();
        }
    }

    fn put(&self, flow: &OffloadPut<'_>) -> Result<Level, NetdevError> {
        let outputs = self.outputs(flow);
        let level = if outputs.is_some() { Level::Full } else { Level::Partial };
        let (key, mut mask) = (flow.matching.key(), flow.matching.mask());
        mask.bits.in_port.set(0);
        let matching = Match::new(key, mask);
        let card = &mut lock(&self.shared).card;
        let known = card.flows.get_mut(&flow.ufid);
        let (word, did) = if known.is_some() { ("modify", "modify") } else { ("create", "add") };
        let mark = match known {
            Some(known) => {
                (known.outputs, known.matching) = (outputs, matching);
                known.mark
            }
            None => {
                let Some(mark) = card.free_mark() else {
                    return Err(NetdevError::System {
                        name: self.name.clone(),
                        what: "marks of megaflows",
                        source: std::io::ErrorKind::OutOfMemory.into(),
                    });
                };
                card.flows.insert(flow.ufid, Flow { matching, mark, outputs, stats: DpFlowStats::default() });
                mark
            }
        };
        let (name, ufid) = (&self.name, flow.ufid);
        tracing::debug!(
            target: TARGET, "{name}: flow put[{word}]: {ufid} flow match: {}, mark: {mark}", shown(flow.matching)
        );
        tracing::debug!(target: TARGET, "succeed to {did} netdev flow {ufid}");
        Ok(level)
    }

    fn delete(&self, ufid: Ufid) -> Option<Offloaded> {
        let card = &mut lock(&self.shared).card;
        let flow = card.flows.remove(&ufid)?;
        tracing::debug!(target: TARGET, "{}: flow del: {ufid} mark: {}", self.name, flow.mark);
        tracing::debug!(target: TARGET, "succeed to delete netdev flow {ufid}");
        Some(card.told(&flow))
    }

    fn get(&self, ufid: Ufid) -> Option<Offloaded> {
        let card = &lock(&self.shared).card;
        card.flows.get(&ufid).map(|flow| card.told(flow))
    }

    fn forward(&self, packet: Packet) -> Result<(), Packet> {
        lock(&self.shared).sent(packet, 0);
        Ok(())
    }

    fn takes_from_others(&self) -> bool {
        self.kind == PMD
    }

    fn counts(&self) -> CardCounts {
        lock(&self.shared).card.counts
    }
}
