//! A port of another worker, as a device.
//!
//! A device is polled and sent to by one worker. The others have this in its place: it receives nothing, and what is
//! sent to it goes through a bounded queue to the worker that has the device, which sends it between two batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use ovs_packet::{EthAddr, Packet, PacketBatch};

use crate::action::PortNo;
use crate::netdev::{Netdev, NetdevError, NetdevStats, Offloads};

/// Packets for a port, on their way to the worker that has it.
pub(super) type Parcel = (PortNo, Vec<Packet>);

/// Where the device of a port is.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) port: PortNo,
    pub(super) owner: Arc<AtomicUsize>,
    pub(super) inboxes: Arc<[SyncSender<Parcel>]>,
}

/// What stands in for a device that another worker has.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    name: String,
    kind: &'static str,
    offloads: Offloads,
    address: Option<EthAddr>,
    mtu: usize,
    route: Route,
}

impl Remote {
    pub(super) fn of(device: &dyn Netdev, route: Route) -> Remote {
        Remote {
            name: device.name().to_string(),
            kind: device.kind(),
            offloads: device.offloads(),
            address: device.address(),
            mtu: device.mtu(),
            route,
        }
    }

    /// The same device on another route.
    pub(super) fn with_route(self, route: Route) -> Remote {
        Remote { route, ..self }
    }
}

impl Netdev for Remote {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        self.kind
    }

    fn receive(&mut self, _: &mut PacketBatch) -> Result<usize, NetdevError> {
        Ok(0)
    }

    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        let owner = self.route.owner.load(Ordering::Acquire);
        let Some(inbox) = self.route.inboxes.get(owner) else { return Ok(()) };
        let parcel = (self.route.port, batch.drain(..).collect());
        if let Err(TrySendError::Full((_, packets)) | TrySendError::Disconnected((_, packets))) = inbox.try_send(parcel)
        {
            batch.extend(packets);
        }
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
        NetdevStats::default()
    }
}
