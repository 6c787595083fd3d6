//! Ports for benches: what is sent is received next, so that no packet is made or freed meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use ovs_dpif::netdev::{Netdev, NetdevError, Polling};
use ovs_packet::{Packet, PacketBatch};

/// The batches of a ring.
pub(crate) type Batches = Arc<Mutex<VecDeque<PacketBatch>>>;

/// A port at a ring of batches: takes from its front, if it is a source, and puts to its end.
#[derive(Debug)]
pub(crate) struct Ring {
    name: String,
    batches: Batches,
    source: bool,
}

impl Ring {
    pub(crate) fn new(name: impl Into<String>, batches: &Batches, source: bool) -> Ring {
        Ring { name: name.into(), batches: batches.clone(), source }
    }
}

impl Netdev for Ring {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "bench"
    }

    fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        if self.source
            && let Some(packets) = self.batches.lock().expect("no panic").pop_front()
        {
            *batch = packets;
            // What arrives is known by its bytes alone.
            batch.iter_mut().for_each(Packet::forget);
        }
        Ok(batch.len())
    }

    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        self.batches.lock().expect("no panic").push_back(std::mem::take(batch));
        Ok(())
    }

    fn polling(&self) -> Polling {
        Polling::Either
    }
}
