//! Where the devices of a [`Vswitch`](super::Vswitch) come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::BorrowedFd;

use ovs_dpif::netdev::Netdev;
use ovs_packet::EthAddr;

use super::kernel::Kernel;
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
    /// What else its kind counts.
    pub statistics: BTreeMap<String, u64>,
}

/// Opens devices for a [`Vswitch`](super::Vswitch), and knows them as long as they are open.
pub trait Devices: Send + fmt::Debug {
    /// The kinds that it knows. Ends of patches are no devices.
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

    /// What of a device's configuration is not done though it is open, in a line.
    fn problem(&self, _name: &str) -> Option<String> {
        None
    }

    /// Gives a device the MTU of its bridge, if that is anything to it.
    ///
    /// # Errors
    /// Why not, in a line.
    fn fit_mtu(&mut self, _name: &str, _mtu: usize) -> Result<(), String> {
        Ok(())
    }

    /// Whether a device that was opened is there no more.
    fn is_gone(&self, _name: &str) -> bool {
        false
    }

    /// Takes note of what became of devices outside the process: the names of those that came, went or changed, whether they
    /// are open or not.
    fn run(&mut self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// A descriptor that becomes readable when there is something for [`run`](Self::run).
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The program ends and is to come back: what is closed from now on stays in the system where it can.
    fn leave(&mut self) {}

    /// A device was closed.
    fn closed(&mut self, name: &str);

    /// The kernel whose datapath bridges of the type `system` share; by default there is none.
    fn kernel(&mut self) -> Option<Kernel> {
        None
    }

    /// An interface of the machine became a port of the kernel's datapath, without being [opened](Self::open). It is known
    /// until it is [closed](Self::closed).
    fn adopted(&mut self, _kind: &str, _interface: &InterfaceConfig) {}

    /// The machine that datapaths run on.
    fn machine(&self) -> Machine {
        Machine::default()
    }
}
