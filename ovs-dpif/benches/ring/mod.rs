//! Ports for benches: what one sends, the other receives next, so that no packet is made or freed meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use ovs_dpif::netdev::{Netdev, NetdevError, NetdevStats, Offloads};
use ovs_packet::packet::Metadata;
use ovs_packet::{EthAddr, PacketBatch};

/// One of two ports that share a ring of batches: the first takes from its front, the second puts to its end.
#[derive(Debug)]
pub(crate) struct Ring {
    name: &'static str,
    batches: Arc<Mutex<VecDeque<PacketBatch>>>,
    source: bool,
}

impl Ring {
    /// The ports `a`, which receives what there is, and `b`.
    pub(crate) fn pair(batches: impl Iterator<Item = PacketBatch>) -> [Ring; 2] {
        let batches = Arc::new(Mutex::new(batches.collect()));
        [("a", true), ("b", false)].map(|(name, source)| Ring { name, batches: Arc::clone(&batches), source })
    }
}

impl Netdev for Ring {
    fn name(&self) -> &str {
        self.name
    }

    fn kind(&self) -> &'static str {
        "bench"
    }

    fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        if self.source
            && let Some(packets) = self.batches.lock().expect("one thread").pop_front()
        {
            *batch = packets;
            // What arrives is known by its bytes alone.
            batch.iter_mut().for_each(|packet| packet.meta = Metadata::default());
        }
        Ok(batch.len())
    }

    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        self.batches.lock().expect("one thread").push_back(std::mem::take(batch));
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        Offloads::NONE
    }

    fn address(&self) -> Option<EthAddr> {
        None
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn stats(&self) -> NetdevStats {
        NetdevStats::default()
    }
}
