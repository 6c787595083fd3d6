//! The ports of a userspace datapath, and what waits to be sent on them.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;
use ovs_packet::packet::BATCH;
use ovs_packet::{Packet, PacketBatch, segment};

use crate::action::PortNo;
use crate::dpif::{DpifError, PortInfo};
use crate::drops::DropReason;
use crate::netdev::{Netdev, NetdevError};

/// The highest number that is given to a port that asks for none.
const LAST: u32 = 65_279;

struct Port {
    device: Box<dyn Netdev>,
    /// Packets to be sent, and the slot of the round that each belongs to.
    waiting: PacketBatch,
    slots: ArrayVec<usize, BATCH>,
    /// The last error was reported; the device is tried again all the same.
    failing: bool,
}

#[derive(Default)]
pub(super) struct Ports(BTreeMap<PortNo, Port>);

impl Ports {
    pub(super) fn add(&mut self, device: Box<dyn Netdev>, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        if self.0.values().any(|p| p.device.name() == device.name()) {
            return Err(DpifError::PortExists(device.name().to_string()));
        }
        let number = match wanted {
            Some(port) if self.0.contains_key(&port) => return Err(DpifError::PortNumberTaken(port)),
            Some(port) => port,
            None => (1..=LAST)
                .map(PortNo)
                .find(|p| !self.0.contains_key(p))
                .ok_or(DpifError::PortNumberTaken(PortNo(LAST)))?,
        };
        let port = Port { device, waiting: PacketBatch::new(), slots: ArrayVec::new(), failing: false };
        self.0.insert(number, port);
        Ok(number)
    }

    pub(super) fn remove(&mut self, port: PortNo) -> Result<(), DpifError> {
        self.0.remove(&port).map(drop).ok_or(DpifError::NoSuchPort(port))
    }

    pub(super) fn info(&self) -> Vec<PortInfo> {
        let info = |(port, p): (&PortNo, &Port)| PortInfo {
            port: *port,
            name: p.device.name().to_string(),
            kind: p.device.kind(),
            stats: p.device.stats(),
        };
        self.0.iter().map(info).collect()
    }

    pub(super) fn numbers(&self) -> Vec<PortNo> {
        self.0.keys().copied().collect()
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.0.values().filter_map(|p| p.device.fd()).collect()
    }

    /// Takes a batch from a port's device; the packets know their port then.
    pub(super) fn receive(&mut self, port: PortNo, batch: &mut PacketBatch) -> usize {
        let Some(p) = self.0.get_mut(&port) else { return 0 };
        let result = p.device.receive(batch);
        p.note(port, result.as_ref().err());
        batch.iter_mut().for_each(|packet| packet.meta.in_port = port.0);
        batch.len()
    }

    /// Puts a packet in line. `settle` is told the fate of every packet that leaves the line meanwhile.
    pub(super) fn transmit(
        &mut self,
        port: PortNo,
        packet: Packet,
        slot: usize,
        settle: &mut impl FnMut(usize, Result<(), DropReason>),
    ) {
        let Some(p) = self.0.get_mut(&port) else { return settle(slot, Err(DropReason::UnknownPort)) };
        let can = p.device.offloads();
        let finished = can.checksum && (can.segmentation || packet.offload.gso.is_none());
        let parts = if finished { Vec::from([packet]) } else { segment::finish(packet) };
        for part in parts {
            p.waiting.push(part);
            p.slots.push(slot);
            if p.waiting.is_full() {
                p.flush(port, settle);
            }
        }
    }

    /// Sends all that waits.
    pub(super) fn flush(&mut self, settle: &mut impl FnMut(usize, Result<(), DropReason>)) {
        for (number, port) in self.0.iter_mut().filter(|(_, p)| !p.waiting.is_empty()) {
            port.flush(*number, settle);
        }
    }
}

impl Port {
    fn flush(&mut self, number: PortNo, settle: &mut impl FnMut(usize, Result<(), DropReason>)) {
        let result = self.device.send(&mut self.waiting);
        self.note(number, result.as_ref().err());
        let sent = self.slots.len() - self.waiting.len();
        let refused = if result.is_err() { DropReason::TxError } else { DropReason::TxFull };
        for (i, slot) in self.slots.drain(..).enumerate() {
            settle(slot, if i < sent { Ok(()) } else { Err(refused) });
        }
        self.waiting.clear();
    }

    /// Reports a device's failure once, until it works again.
    fn note(&mut self, number: PortNo, error: Option<&NetdevError>) {
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
        f.debug_map().entries(self.0.iter().map(|(n, p)| (n, &p.device))).finish()
    }
}
