//! A port within the process: two bounded queues.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ovs_packet::{EthAddr, Packet, PacketBatch};

use super::{Netdev, NetdevError, NetdevStats, Offloads, Polling};

#[derive(Default, Debug)]
struct Queues {
    to_port: VecDeque<Packet>,
    from_port: VecDeque<Packet>,
    rx_dropped: u64,
}

/// A port whose other end is in the same process: a lab's link, an embedder's own stack, a test.
///
/// Both directions are queues of at most as many packets as given; what does not fit is counted as dropped.
///
/// ```
/// use ovs_dpif::netdev::{MemPort, Netdev};
/// use ovs_packet::{Packet, PacketBatch};
///
/// let (mut port, peer) = MemPort::new("p1", 100);
/// peer.push(Packet::from_slice(b"hello"));
/// let mut batch = PacketBatch::new();
/// assert_eq!(port.receive(&mut batch).unwrap(), 1);
/// port.send(&mut batch).unwrap();
/// assert_eq!(peer.pop().unwrap().data(), b"hello");
/// ```
#[derive(Debug)]
pub struct MemPort {
    name: String,
    queues: Arc<Mutex<Queues>>,
    limit: usize,
    mtu: usize,
    offloads: Offloads,
    address: Option<EthAddr>,
    stats: NetdevStats,
}

/// The other end of a [`MemPort`]. Clones share the queues.
#[derive(Clone, Debug)]
pub struct MemPortPeer {
    queues: Arc<Mutex<Queues>>,
    limit: usize,
}

impl MemPort {
    /// A port and its other end, with queues of `limit` packets.
    pub fn new(name: impl Into<String>, limit: usize) -> (MemPort, MemPortPeer) {
        let queues = Arc::new(Mutex::new(Queues::default()));
        let peer = MemPortPeer { queues: queues.clone(), limit };
        let port = MemPort {
            name: name.into(),
            queues,
            limit,
            mtu: 1500,
            offloads: Offloads::NONE,
            address: None,
            stats: NetdevStats::default(),
        };
        (port, peer)
    }

    /// The port with an address of its own.
    pub fn with_address(mut self, address: EthAddr) -> MemPort {
        self.address = Some(address);
        self
    }

    /// The port with another MTU than 1500.
    pub fn with_mtu(mut self, mtu: usize) -> MemPort {
        self.mtu = mtu;
        self
    }

    /// The port with an other end that takes packets whose checksums and segmentation are undone.
    pub fn with_offloads(mut self, offloads: Offloads) -> MemPort {
        self.offloads = offloads;
        self
    }
}

/// A panic while the lock was held leaves the queues as they are: every change to them is whole.
fn lock(queues: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemPortPeer {
    /// Gives a packet to the port. False if its queue is full: the port counts the packet as dropped then.
    pub fn push(&self, packet: Packet) -> bool {
        let mut queues = lock(&self.queues);
        let fits = queues.to_port.len() < self.limit;
        if fits {
            queues.to_port.push_back(packet);
        } else {
            queues.rx_dropped += 1;
        }
        fits
    }

    /// Takes the next packet that the port sent.
    pub fn pop(&self) -> Option<Packet> {
        lock(&self.queues).from_port.pop_front()
    }

    /// How many packets the port has not received yet.
    pub fn backlog(&self) -> usize {
        lock(&self.queues).to_port.len()
    }
}

impl Netdev for MemPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "dummy"
    }

    fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        let mut queues = lock(&self.queues);
        self.stats.rx_dropped = queues.rx_dropped;
        let n = batch.remaining_capacity().min(queues.to_port.len());
        for packet in queues.to_port.drain(..n) {
            self.stats.rx_packets += 1;
            self.stats.rx_bytes += packet.len() as u64;
            batch.push(packet);
        }
        Ok(n)
    }

    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        let mut queues = lock(&self.queues);
        let room = self.limit.saturating_sub(queues.from_port.len()).min(batch.len());
        for packet in batch.drain(..room) {
            self.stats.tx_packets += 1;
            self.stats.tx_bytes += packet.len() as u64;
            queues.from_port.push_back(packet);
        }
        self.stats.tx_dropped += batch.len() as u64;
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn address(&self) -> Option<EthAddr> {
        self.address
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn stats(&self) -> NetdevStats {
        self.stats
    }

    fn polling(&self) -> Polling {
        Polling::Either
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queues_refuse_and_count() {
        let (mut port, peer) = MemPort::new("p", 2);
        assert_eq!([1u8, 2, 3].map(|b| peer.push(Packet::from_slice(&[b]))), [true, true, false]);
        let mut batch = PacketBatch::new();
        port.receive(&mut batch).unwrap();
        batch.push(Packet::from_slice(&[9]));
        port.send(&mut batch).unwrap();
        assert_eq!(batch.len(), 1);
        let s = port.stats();
        assert_eq!((s.rx_packets, s.rx_dropped, s.tx_packets, s.tx_dropped), (2, 1, 2, 1));
        assert_eq!(peer.backlog(), 0);
        assert_eq!(std::iter::from_fn(|| peer.pop()).map(|p| p.data()[0]).collect::<Vec<_>>(), [1, 2]);
    }
}
