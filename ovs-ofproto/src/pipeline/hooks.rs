//! Where others plug into translation: what is behind a port beside a device.
//!
//! A port may lead to another switch of the same datapath ([`Peer`]), or to something that decides for each kind of
//! packet where it goes: such as a bond ([`Egress`]). Whoever decides reads the packet through [`PacketKey`], so that
//! the megaflow depends on what was read, and may change it on its way out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ovs_dpif::{DropReason, HashAlgorithm, PortNo};
use ovs_packet::OfPort;
use ovs_packet::field::FieldId;

use super::tracked::Tracked;

/// The other end of a patch: a port of a switch, of which this is the place among those of the datapath.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Peer {
    /// The switch, as [`Bridges`](super::Bridges) counts them.
    pub bridge: usize,
    /// Its port.
    pub port: OfPort,
}

/// Where a packet goes that is sent out of a port with an [`Egress`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Way {
    /// Out of a port of the datapath.
    Port(PortNo),
    /// The datapath hashes it and looks it up again under an id of the owner's.
    Hash {
        /// Of what the hash is.
        algorithm: HashAlgorithm,
        /// What it begins with.
        basis: u32,
        /// The recirculation id.
        recirc_id: u32,
    },
    /// Nowhere.
    Drop(DropReason),
}

/// Decides where packets go that are sent out of a port. The answer must follow from what was read of the packet, until
/// [`Ofproto::hooks_changed`](super::Ofproto::hooks_changed) is called.
pub trait Egress: fmt::Debug + Send + Sync {
    /// Where this packet goes. What is written to it is undone once it is sent.
    fn send(&self, packet: &mut PacketKey<'_>) -> Way;
}

/// A packet's key, for who decides on it: what is read becomes a part of the megaflow.
#[derive(Debug)]
pub struct PacketKey<'a>(pub(super) &'a mut Tracked);

impl PacketKey<'_> {
    /// A field's value, right-aligned.
    pub fn read(&mut self, field: FieldId) -> u128 {
        self.0.read(field)
    }

    /// Whether the packet has a field.
    pub fn has(&mut self, field: FieldId) -> bool {
        self.0.holds(field.info().prereq)
    }

    /// Overwrites bits of a field.
    pub fn write(&mut self, field: FieldId, value: u128, mask: u128) {
        self.0.write(field, value, mask);
    }
}

/// Who gets the samples that flows take for a set of collectors (the table Flow_Sample_Collector_Set).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Collector {
    /// Whether an exporter of the owner's does: copies come up
    /// ([`Cookie::FlowSample`](ovs_dpif::Cookie::FlowSample)).
    pub exports: bool,
    /// The group of the datapath's own listeners that does, where it [has](ovs_dpif::Features::psample) such.
    pub local_group: Option<u32>,
}

/// What is behind the ports of a switch, and who collects samples.
#[derive(Clone, Default, Debug)]
pub struct Hooks {
    peers: BTreeMap<OfPort, Peer>,
    egress: BTreeMap<OfPort, Arc<dyn Egress>>,
    collectors: BTreeMap<u32, Collector>,
    timeouts: BTreeMap<u16, u32>,
    /// Whether packets that are sampled and go nowhere else are dropped by an action of its own, so that they are counted.
    pub drops_sampled: bool,
}

impl Hooks {
    /// Has samples taken for these sets of collectors, and for no others.
    pub fn set_collectors(&mut self, collectors: BTreeMap<u32, Collector>) {
        self.collectors = collectors;
    }

    /// The sets of collectors that samples are taken for.
    pub fn collectors(&self) -> &BTreeMap<u32, Collector> {
        &self.collectors
    }

    /// Has connections that begin in these zones of connection tracking live by these timeout policies of the datapath
    /// ([`CtRequest::timeout_policy`](ovs_dpif::CtRequest::timeout_policy)), and others by the datapath's own.
    pub fn set_timeouts(&mut self, timeouts: BTreeMap<u16, u32>) {
        self.timeouts = timeouts;
    }

    /// The timeout policies of zones.
    pub fn timeouts(&self) -> &BTreeMap<u16, u32> {
        &self.timeouts
    }

    /// Makes a port one end of a patch, or none.
    pub fn set_peer(&mut self, port: OfPort, peer: Option<Peer>) {
        match peer {
            Some(peer) => drop(self.peers.insert(port, peer)),
            None => drop(self.peers.remove(&port)),
        }
    }

    /// Has `egress` decide on what is sent out of a port, or nobody.
    pub fn set_egress(&mut self, port: OfPort, egress: Option<Arc<dyn Egress>>) {
        match egress {
            Some(egress) => drop(self.egress.insert(port, egress)),
            None => drop(self.egress.remove(&port)),
        }
    }

    /// No port leads to a switch any more. Whether one did.
    pub(super) fn forget_bridge(&mut self, bridge: usize) -> bool {
        let before = self.peers.len();
        self.peers.retain(|_, peer| peer.bridge != bridge);
        self.peers.len() != before
    }

    /// Forgets what is behind a port.
    pub(super) fn forget_port(&mut self, port: OfPort) {
        self.set_peer(port, None);
        self.set_egress(port, None);
    }

    /// The other end of a port that is one of a patch.
    pub fn peer(&self, port: OfPort) -> Option<Peer> {
        self.peers.get(&port).copied()
    }

    /// Who decides on what is sent out of a port.
    pub fn egress(&self, port: OfPort) -> Option<&Arc<dyn Egress>> {
        self.egress.get(&port)
    }
}
