//! The ports of a userspace datapath, the receive queues that are polled, and what waits to be sent.
//!
//! A datapath by itself polls every port whole. One of [several](super::workers) polls the queues that it was given, and
//! sends on all ports.

use std::fmt;
use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;
use ovs_packet::packet::BATCH;
use ovs_packet::{Packet, PacketBatch, segment};

use crate::action::PortNo;
use crate::dpif::{DpifError, PortInfo};
use crate::drops::DropReason;
use crate::netdev::{Netdev, NetdevError, Offloads};

/// The highest number that is given to a port that asks for none.
const LAST: u32 = 65_279;

struct Port {
    number: PortNo,
    device: Box<dyn Netdev>,
    /// The receive queues that are polled here; `None` is the device as a whole.
    queues: Option<Vec<usize>>,
    /// Packets to be sent, and the slot of the round that each belongs to.
    waiting: PacketBatch,
    slots: ArrayVec<u16, BATCH>,
    /// Whether packets may come with the marks of megaflows.
    has_card: bool,
    /// The last error was reported; the device is tried again all the same.
    failing: bool,
}

/// The ports, by number.
#[derive(Default)]
pub(super) struct Ports {
    all: Vec<Port>,
    /// What is polled, one after another: places of ports among all, and the queue.
    places: Vec<(usize, Option<usize>)>,
    sent: Sent,
    marked: u64,
}

/// What left by all ports together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Sent {
    pub(super) packets: u64,
    pub(super) batches: u64,
    /// Packets that were cut in software.
    pub(super) cut: u64,
}

impl Sent {
    fn note(&mut self, packets: usize) {
        self.packets += packets as u64;
        self.batches += u64::from(packets > 0);
    }
}

impl Ports {
    pub(super) fn add(&mut self, device: Box<dyn Netdev>, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        if self.all.iter().any(|p| p.device.name() == device.name()) {
            return Err(DpifError::PortExists(device.name().to_string()));
        }
        let number = match wanted {
            Some(port) => port,
            None => {
                let free = |number: &PortNo| self.find(*number).is_err();
                (1..=LAST).map(PortNo).find(free).ok_or(DpifError::PortNumberTaken(PortNo(LAST)))?
            }
        };
        let Err(at) = self.find(number) else { return Err(DpifError::PortNumberTaken(number)) };
        let (waiting, slots) = (PacketBatch::new(), ArrayVec::new());
        let has_card = device.flow_offload().is_some();
        self.all.insert(at, Port { number, device, queues: None, waiting, slots, has_card, failing: false });
        self.find_places();
        Ok(number)
    }

    pub(super) fn remove(&mut self, port: PortNo) -> Result<(), DpifError> {
        let at = self.find(port).map_err(|_| DpifError::NoSuchPort(port))?;
        self.all.remove(at);
        self.find_places();
        Ok(())
    }

    /// Has these queues of a port polled and no others, or, without a list, its device as a whole.
    pub(super) fn set_queues(&mut self, port: PortNo, queues: Option<Vec<usize>>) {
        if let Some(p) = self.get_mut(port) {
            p.queues = queues;
            self.find_places();
        }
    }

    fn find_places(&mut self) {
        self.places.clear();
        for (at, port) in self.all.iter().enumerate() {
            match &port.queues {
                None => self.places.push((at, None)),
                Some(queues) => self.places.extend(queues.iter().map(|queue| (at, Some(*queue)))),
            }
        }
    }

    /// Where a port is, or where it would be.
    fn find(&self, port: PortNo) -> Result<usize, usize> {
        self.all.binary_search_by_key(&port, |p| p.number)
    }

    fn get_mut(&mut self, port: PortNo) -> Option<&mut Port> {
        let at = self.find(port).ok()?;
        self.all.get_mut(at)
    }

    pub(super) fn info(&self) -> Vec<PortInfo> {
        let info = |p: &Port| PortInfo {
            port: p.number,
            name: p.device.name().to_string(),
            kind: p.device.kind(),
            stats: p.device.stats(),
            custom_stats: p.device.custom_stats(),
        };
        self.all.iter().map(info).collect()
    }

    /// How many places are polled.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The port and the queue at a place that is polled.
    pub(super) fn queue_at(&self, place: usize) -> Option<(PortNo, usize)> {
        let (at, queue) = self.places.get(place)?;
        Some((self.all.get(*at)?.number, queue.unwrap_or(0)))
    }

    /// The device of a port.
    pub(super) fn device(&self, port: PortNo) -> Option<&dyn Netdev> {
        Some(&*self.all.get(self.find(port).ok()?)?.device)
    }

    /// How many packets came in with the mark of a megaflow.
    pub(super) fn marked(&self) -> u64 {
        self.marked
    }

    /// What was sent so far.
    pub(super) fn sent(&self) -> Sent {
        self.sent
    }

    /// Puts another device in the place of a port's, and returns that.
    pub(super) fn replace(
        &mut self,
        port: PortNo,
        with: impl FnOnce(&dyn Netdev) -> Box<dyn Netdev>,
    ) -> Option<Box<dyn Netdev>> {
        let p = self.get_mut(port)?;
        let device = with(&*p.device);
        Some(std::mem::replace(&mut p.device, device))
    }

    /// Sends packets that another worker has accounted for; returns how many were not sent.
    pub(super) fn send_out(&mut self, port: PortNo, packets: Vec<Packet>) -> usize {
        let Some(p) = self.get_mut(port) else { return packets.len() };
        let mut batch = PacketBatch::new();
        batch.extend(packets.into_iter().take(BATCH));
        let result = p.device.send(&mut batch);
        p.note(result.as_ref().err());
        batch.len()
    }

    /// Drops what waits, after a panic.
    pub(super) fn forget(&mut self) {
        for port in &mut self.all {
            port.waiting.clear();
            port.slots.clear();
        }
    }

    /// What becomes readable when there is something to receive here. Of what others poll, nobody here is woken.
    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let is_polled = |p: &&Port| p.queues.as_ref().is_none_or(|queues| !queues.is_empty());
        self.all.iter().filter(is_polled).filter_map(|p| p.device.fd()).collect()
    }

    /// Takes a batch from what is polled at a place; the packets know their port then.
    pub(super) fn receive(&mut self, place: usize, batch: &mut PacketBatch) -> usize {
        let Some((at, queue)) = self.places.get(place) else { return 0 };
        let Some(p) = self.all.get_mut(*at) else { return 0 };
        let result = match queue {
            None => p.device.receive(batch),
            Some(queue) => p.device.receive_queue(*queue, batch),
        };
        p.note(result.as_ref().err());
        let number = p.number.0;
        if p.has_card {
            self.marked += batch.iter().filter(|packet| packet.offload.mark.is_some()).count() as u64;
        }
        batch.iter_mut().for_each(|packet| packet.set_in_port(number));
        batch.len()
    }

    /// Sends a batch as a whole. Returns how many packets were sent, and why the others, which stay, were not; `None`, and
    /// nothing is done, where they must go one by one: if packets wait already, or one of these is to be cut.
    pub(super) fn send_all(&mut self, port: PortNo, packets: &mut PacketBatch) -> Option<(usize, DropReason)> {
        let p = self.get_mut(port)?;
        if p.device.tunnel().is_some() {
            return Some((0, DropReason::UnknownPort));
        }
        if !p.waiting.is_empty() {
            return None;
        }
        if packets.iter().any(Packet::is_pending) {
            let can = p.device.offloads();
            if packets.iter().any(|packet| is_to_be_cut(packet, can)) {
                return None;
            }
            packets.iter_mut().for_each(|packet| segment::settle(packet, can.takes(packet)));
        }
        let before = packets.len();
        let result = p.device.send(packets);
        p.note(result.as_ref().err());
        self.sent.note(before - packets.len());
        Some((before - packets.len(), if result.is_err() { DropReason::TxError } else { DropReason::TxFull }))
    }

    /// Puts a packet in line. `settle` is told the fate of every packet that leaves the line meanwhile.
    pub(super) fn transmit(
        &mut self,
        port: PortNo,
        mut packet: Packet,
        slot: usize,
        settle: &mut impl FnMut(usize, Result<(), DropReason>),
    ) {
        let Ok(at) = self.find(port) else { return settle(slot, Err(DropReason::UnknownPort)) };
        let Some(p) = self.all.get_mut(at) else { return };
        // A port that stands for tunnels takes nothing without an outer header.
        if p.device.tunnel().is_some() {
            return settle(slot, Err(DropReason::UnknownPort));
        }
        let sent = &mut self.sent;
        if packet.is_pending() {
            let can = p.device.offloads();
            if is_to_be_cut(&packet, can) {
                sent.cut += 1;
                return segment::finish(packet).into_iter().for_each(|part| p.wait(part, slot, sent, settle));
            }
            let takes = can.takes(&packet);
            segment::settle(&mut packet, takes);
        }
        p.wait(packet, slot, sent, settle);
    }

    /// Sends all that waits.
    pub(super) fn flush(&mut self, settle: &mut impl FnMut(usize, Result<(), DropReason>)) {
        let sent = &mut self.sent;
        self.all.iter_mut().filter(|p| !p.waiting.is_empty()).for_each(|port| port.flush(sent, settle));
    }
}

/// Whether a packet is to be cut before a port that can do so much gets it.
fn is_to_be_cut(packet: &Packet, can: Offloads) -> bool {
    packet.offload.gso.is_some() && !(can.checksum && can.segmentation)
}

impl Port {
    fn wait(
        &mut self,
        packet: Packet,
        slot: usize,
        total: &mut Sent,
        settle: &mut impl FnMut(usize, Result<(), DropReason>),
    ) {
        self.waiting.push(packet);
        self.slots.push(slot as u16);
        if self.waiting.is_full() {
            self.flush(total, settle);
        }
    }

    fn flush(&mut self, total: &mut Sent, settle: &mut impl FnMut(usize, Result<(), DropReason>)) {
        let result = self.device.send(&mut self.waiting);
        self.note(result.as_ref().err());
        let sent = self.slots.len() - self.waiting.len();
        total.note(sent);
        let refused = if result.is_err() { DropReason::TxError } else { DropReason::TxFull };
        for (i, slot) in self.slots.drain(..).enumerate() {
            settle(slot.into(), if i < sent { Ok(()) } else { Err(refused) });
        }
        self.waiting.clear();
    }

    /// Reports a device's failure once, until it works again.
    fn note(&mut self, error: Option<&NetdevError>) {
        let number = self.number;
        match error {
            Some(e) if !self.failing => tracing::warn!(port = %number, error = %e, "device failed"),
            None if self.failing => tracing::info!(port = %number, device = self.device.name(), "device works again"),
            _ => {}
        }
        self.failing = error.is_some();
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.all.iter().map(|p| (p.number, &p.device))).finish()
    }
}
