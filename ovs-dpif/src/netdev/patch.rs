//! A cable between two ports of datapaths in one process: what one end sends, the other receives.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ovs_packet::{Packet, PacketBatch};

use super::{Netdev, NetdevError, NetdevStats, Offloads};

/// Packets that wait in each direction, at most.
const QUEUE: usize = 1024;

#[derive(Debug, Default)]
struct Wire {
    /// What waits for each end.
    waiting: [VecDeque<Packet>; 2],
    /// Which ends are there.
    there: [bool; 2],
}

/// An end of a cable. Packets pass with their checksums and segmentation undone. What an end sends while the other is not
/// there, or does not take what waits for it, is dropped.
///
/// ```
/// use ovs_dpif::netdev::{Netdev, PatchPort};
/// use ovs_packet::{Packet, PacketBatch};
///
/// let mut one = PatchPort::new("patch0");
/// let mut other = one.peer("patch1").unwrap();
/// let mut batch = PacketBatch::new();
/// batch.push(Packet::from_slice(b"hello"));
/// one.send(&mut batch).unwrap();
/// assert_eq!(other.receive(&mut batch).unwrap(), 1);
/// ```
#[derive(Debug)]
pub struct PatchPort {
    name: String,
    end: usize,
    wire: Arc<Mutex<Wire>>,
    stats: NetdevStats,
}

/// A panic while the lock was held leaves the cable as it is: every change to it is whole.
fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PatchPort {
    /// An end of a new cable, whose other end is not there yet.
    pub fn new(name: impl Into<String>) -> PatchPort {
        let wire = Wire { there: [true, false], ..Wire::default() };
        PatchPort { name: name.into(), end: 0, wire: Arc::new(Mutex::new(wire)), stats: NetdevStats::default() }
    }

    /// The other end, unless it is there already.
    pub fn peer(&self, name: impl Into<String>) -> Option<PatchPort> {
        PatchSocket { end: 1 - self.end, wire: self.wire.clone() }.plug(name)
    }

    /// Where the other end may be plugged in, now or later, and again when it was taken away.
    pub fn socket(&self) -> PatchSocket {
        PatchSocket { end: 1 - self.end, wire: self.wire.clone() }
    }
}

/// Where the other end of a cable may be plugged in.
#[derive(Debug, Clone)]
pub struct PatchSocket {
    end: usize,
    wire: Arc<Mutex<Wire>>,
}

impl PatchSocket {
    /// Whether either end is there.
    pub fn is_in_use(&self) -> bool {
        lock(&self.wire).there.contains(&true)
    }

    /// Plugs the end in, unless it is there already.
    pub fn plug(&self, name: impl Into<String>) -> Option<PatchPort> {
        let mut wire = lock(&self.wire);
        if std::mem::replace(&mut wire.there[self.end], true) {
            return None;
        }
        drop(wire);
        Some(PatchPort { name: name.into(), end: self.end, wire: self.wire.clone(), stats: NetdevStats::default() })
    }
}

impl Drop for PatchPort {
    fn drop(&mut self) {
        let mut wire = lock(&self.wire);
        wire.there[self.end] = false;
        wire.waiting[self.end].clear();
    }
}

impl Netdev for PatchPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "patch"
    }

    fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        let mut wire = lock(&self.wire);
        let waiting = &mut wire.waiting[self.end];
        let n = batch.remaining_capacity().min(waiting.len());
        for packet in waiting.drain(..n) {
            self.stats.rx_packets += 1;
            self.stats.rx_bytes += packet.len() as u64;
            batch.push(packet);
        }
        Ok(n)
    }

    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        let mut wire = lock(&self.wire);
        let other = 1 - self.end;
        let room = if wire.there[other] { QUEUE.saturating_sub(wire.waiting[other].len()) } else { 0 };
        for mut packet in batch.drain(..room.min(batch.len())) {
            self.stats.tx_packets += 1;
            self.stats.tx_bytes += packet.len() as u64;
            // To the other side it is a packet as any that comes in.
            packet.meta.recirc_id = 0;
            packet.meta.ct = Default::default();
            packet.tunnel = None;
            wire.waiting[other].push_back(packet);
        }
        self.stats.tx_dropped += batch.len() as u64;
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }

    fn mtu(&self) -> usize {
        usize::from(u16::MAX)
    }

    fn stats(&self) -> NetdevStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_other_end_is_dropped_and_an_end_comes_back() {
        let mut one = PatchPort::new("a");
        let mut batch = PacketBatch::new();
        batch.push(Packet::from_slice(&[1]));
        one.send(&mut batch).unwrap();
        assert_eq!((batch.len(), one.stats().tx_dropped), (1, 1));
        let socket = one.socket();
        let other = socket.plug("b").unwrap();
        assert!(one.peer("c").is_none());
        one.send(&mut batch).unwrap();
        drop(other);
        let mut again = socket.plug("b").unwrap();
        assert_eq!(again.receive(&mut batch).unwrap(), 0);
        for _ in 0..QUEUE / 32 + 1 {
            (0..32).for_each(|_| batch.push(Packet::from_slice(&[1])));
            again.send(&mut batch).unwrap();
            batch.clear();
        }
        assert_eq!(again.stats().tx_dropped, 32);
    }
}
