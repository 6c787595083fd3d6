//! A port of another thread, as a device.
//!
//! A device of which there is one handle is polled and sent to by one thread. The others have this in its place: it
//! receives nothing, and what is sent to it goes through a bounded queue to the thread that has the device, which sends it
//! between two rounds.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, PoisonError, RwLock};

use ovs_packet::{EthAddr, Packet, PacketBatch};

use super::bell::Bell;
use crate::action::PortNo;
use crate::netdev::{Netdev, NetdevError, Offloads, Polling};

/// Packets for a port, on their way to the thread that has it.
pub(super) type Parcel = (PortNo, Vec<Packet>);

/// Where parcels for a thread are left.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    pub(super) parcels: SyncSender<Parcel>,
    /// Wakes the thread, if it is one that waits.
    pub(super) bell: Option<Bell>,
}

/// The way to the device of a port, which may move.
#[derive(Clone, Debug)]
pub(super) struct Route(Arc<RwLock<Mailbox>>);

impl Route {
    pub(super) fn to(mailbox: Mailbox) -> Route {
        Route(Arc::new(RwLock::new(mailbox)))
    }

    pub(super) fn redirect(&self, mailbox: Mailbox) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = mailbox;
    }
}

/// What stands in for a device that another thread has.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    name: String,
    kind: &'static str,
    offloads: Offloads,
    address: Option<EthAddr>,
    mtu: usize,
    port: PortNo,
    route: Route,
}

impl Remote {
    pub(super) fn of(device: &dyn Netdev, port: PortNo, route: Route) -> Remote {
        Remote {
            name: device.name().to_string(),
            kind: device.kind(),
            offloads: device.offloads(),
            address: device.address(),
            mtu: device.mtu(),
            port,
            route,
        }
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
        let mailbox = self.route.0.read().unwrap_or_else(PoisonError::into_inner);
        let parcel = (self.port, batch.drain(..).collect());
        match mailbox.parcels.try_send(parcel) {
            Ok(()) => mailbox.bell.iter().for_each(Bell::ring),
            Err(TrySendError::Full((_, packets)) | TrySendError::Disconnected((_, packets))) => batch.extend(packets),
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

    fn polling(&self) -> Polling {
        Polling::Either
    }
}
