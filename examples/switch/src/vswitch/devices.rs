//! Where the devices of a [`Vswitch`](super::Vswitch) come from.

use std::collections::BTreeMap;
use std::fmt;

use ovs_dpif::netdev::{Netdev, PatchPort, PatchSocket};
use ovs_packet::EthAddr;

use super::threads::Machine;
use crate::config::{InterfaceConfig, Settings};

/// What is to be known of a device beside its traffic (the Interface table's status columns).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Attributes {
    /// Its address.
    pub address: Option<EthAddr>,
    /// Its MTU.
    pub mtu: Option<usize>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether its link is up.
    pub carrier: bool,
    /// How often its link came or went.
    pub carrier_resets: u64,
    /// Its number in the system.
    pub index: Option<u32>,
    /// Its speed, in bits a second.
    pub speed: Option<u64>,
    /// Whether it sends and receives at the same time.
    pub full_duplex: Option<bool>,
    /// What else its kind tells.
    pub status: Settings,
}

/// Opens devices for a [`Vswitch`](super::Vswitch), and knows them as long as they are open.
pub trait Devices: Send + fmt::Debug {
    /// The kinds that it knows.
    fn kinds(&self) -> Vec<&'static str>;

    /// Opens a device of a kind, which need not be the one in `interface`.
    ///
    /// # Errors
    /// Why not, in a line.
    fn open(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<Box<dyn Netdev>, String>;

    /// Gives a device that is open what changed in its configuration.
    ///
    /// # Errors
    /// What cannot be, in a line.
    fn configure(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<(), String>;

    /// Gives a device an address.
    ///
    /// # Errors
    /// Why not, in a line.
    fn set_address(&mut self, name: &str, address: EthAddr) -> Result<(), String>;

    /// Sets a device's administrative state.
    ///
    /// # Errors
    /// Why not, in a line.
    fn set_up(&mut self, name: &str, up: bool) -> Result<(), String>;

    /// What is to be known of a device that is open.
    fn attributes(&self, name: &str) -> Option<Attributes>;

    /// A device was closed.
    fn closed(&mut self, name: &str);

    /// The machine that datapaths run on.
    fn machine(&self) -> Machine {
        Machine::default()
    }
}

/// Cables between bridges.
#[derive(Debug, Default)]
pub struct Patches {
    /// By the name of the end that is missing, and of the one that is there.
    sockets: BTreeMap<(String, String), PatchSocket>,
}

impl Patches {
    /// An end of a cable, new or of the one whose other end names this one as its peer.
    ///
    /// # Errors
    /// If no peer is named, or it is the port itself.
    pub fn open(&mut self, interface: &InterfaceConfig) -> Result<PatchPort, String> {
        let name = &interface.name;
        let peer = interface.options.get("peer").filter(|p| !p.is_empty());
        let peer = peer.ok_or_else(|| format!("{name}: patch type requires valid 'peer' argument"))?;
        if let Some(other) = interface.options.keys().find(|k| *k != "peer") {
            return Err(format!("{name}: patch has no option {other}"));
        }
        if peer == name {
            return Err(format!("{name}: patch peer must not be self"));
        }
        let port = self.sockets.get(&(name.clone(), peer.clone())).and_then(|socket| socket.plug(name));
        let port = port.unwrap_or_else(|| PatchPort::new(name));
        self.sockets.insert((peer.clone(), name.clone()), port.socket());
        Ok(port)
    }

    /// An end was taken away. The other stays, and may be joined again; a cable without ends is forgotten.
    pub fn closed(&mut self) {
        self.sockets.retain(|_, socket| socket.is_in_use());
    }
}
