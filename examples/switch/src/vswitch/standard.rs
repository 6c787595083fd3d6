//! The devices of a daemon: interfaces of the kernel, and dummy devices where they are enabled.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use ovs_dpif::netdev::Netdev;
use ovs_packet::EthAddr;

use super::devices::{Attributes, Devices};
use super::dummies::Dummies;
use super::kernel::Kernel;
use super::system::SystemDevices;
use super::threads::Machine;
use crate::config::InterfaceConfig;

/// For which kinds dummy devices stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DummyLevel {
    /// For none: there are no dummy devices.
    #[default]
    Off,
    /// For their own kinds.
    On,
    /// For interfaces of the kernel too.
    System,
    /// For every kind but patches.
    All,
}

/// The devices of a daemon: interfaces of the kernel, and dummy devices where they are enabled.
///
/// Interfaces of the stack's own (`internal`, `tap`) stay in the system when this is dropped; they go when they are
/// [`closed`](Devices::closed), unless it was told to [`leave`](Devices::leave).
#[derive(Debug)]
pub struct StandardDevices {
    dummies: Dummies,
    level: DummyLevel,
    system: SystemDevices,
    machine: Machine,
}

impl StandardDevices {
    /// Devices with dummies among them as `level` says.
    pub fn new(level: DummyLevel) -> StandardDevices {
        let (dummies, system) = (Dummies::default(), SystemDevices::default());
        StandardDevices { dummies, level, system, machine: Machine::default() }
    }

    /// The same on a machine with cores.
    #[must_use]
    pub fn with_machine(self, machine: Machine) -> StandardDevices {
        StandardDevices { machine, ..self }
    }

    /// The dummy devices.
    pub fn dummies(&self) -> &Dummies {
        &self.dummies
    }
}

impl Devices for StandardDevices {
    fn kinds(&self) -> Vec<&'static str> {
        let mut kinds = vec!["afxdp", "internal", "system", "tap"];
        if self.level != DummyLevel::Off {
            kinds.extend(["dummy", "dummy-internal", "dummy-pmd"]);
        }
        kinds.sort_unstable();
        kinds
    }

    fn open(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<Box<dyn Netdev>, String> {
        match (kind, self.level) {
            ("dummy" | "dummy-internal" | "dummy-pmd", DummyLevel::On | DummyLevel::System | DummyLevel::All) => {
                self.dummies.open(kind, interface)
            }
            ("system", DummyLevel::System | DummyLevel::All) => self.dummies.open_as("system", interface),
            ("internal", DummyLevel::All) => self.dummies.open_as("internal", interface),
            ("tap", DummyLevel::All) => self.dummies.open_as("tap", interface),
            ("afxdp", DummyLevel::All) => self.dummies.open_as("afxdp", interface),
            ("afxdp" | "internal" | "system" | "tap", _) => self.system.open(kind, interface),
            _ => Err(format!("{}: unknown type {kind}", interface.name)),
        }
    }

    fn configure(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<(), String> {
        if self.system.has(&interface.name) {
            return self.system.configure(kind, interface);
        }
        self.dummies.configure(kind, interface)
    }

    fn set_address(&mut self, name: &str, address: EthAddr) -> Result<(), String> {
        if self.system.has(name) {
            return self.system.set_address(name, address);
        }
        self.dummies.set_address(name, address)
    }

    fn fit_mtu(&mut self, name: &str, mtu: usize) -> Result<(), String> {
        if self.system.has(name) { self.system.fit_mtu(name, mtu) } else { self.dummies.fit_mtu(name, mtu) }
    }

    fn set_up(&mut self, name: &str, up: bool) -> Result<(), String> {
        if self.system.has(name) { self.system.set_up(name, up) } else { self.dummies.set_up(name, up) }
    }

    fn attributes(&self, name: &str) -> Option<Attributes> {
        if self.system.has(name) { self.system.attributes(name) } else { self.dummies.attributes(name) }
    }

    fn problem(&self, name: &str) -> Option<String> {
        self.system.problem(name)
    }

    fn is_gone(&self, name: &str) -> bool {
        self.system.is_gone(name)
    }

    fn run(&mut self) -> BTreeSet<String> {
        self.system.run()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.system.fd()
    }

    fn leave(&mut self) {
        self.system.leave();
    }

    fn closed(&mut self, name: &str) {
        if !self.system.closed(name) {
            self.dummies.closed(name);
        }
    }

    fn machine(&self) -> Machine {
        self.machine.clone()
    }

    fn kernel(&mut self) -> Option<Kernel> {
        self.system.listen();
        Some(Kernel)
    }

    fn adopted(&mut self, kind: &str, interface: &InterfaceConfig) {
        self.system.adopt(kind, interface);
    }
}
