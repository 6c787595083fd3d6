//! The devices of a daemon: interfaces of the kernel, cables, and dummy devices where they are enabled.

use std::collections::BTreeMap;

use ovs_dpif::netdev::{Netdev, PacketSocket};
use ovs_packet::EthAddr;

use super::devices::{Attributes, Devices};
use super::dummies::Dummies;
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

/// The devices of a daemon: interfaces of the kernel, cables, and dummy devices where they are enabled.
#[derive(Debug, Clone)]
pub struct StandardDevices {
    dummies: Dummies,
    level: DummyLevel,
    /// What is known of interfaces of the kernel.
    system: BTreeMap<String, Attributes>,
}

impl StandardDevices {
    /// Devices with dummies among them as `level` says.
    pub fn new(level: DummyLevel) -> StandardDevices {
        StandardDevices { dummies: Dummies::default(), level, system: BTreeMap::new() }
    }

    /// The dummy devices.
    pub fn dummies(&self) -> &Dummies {
        &self.dummies
    }
}

/// What the kernel tells of an interface.
fn of_kernel(name: &str) -> Attributes {
    let read = |file: &str| {
        let path = format!("/sys/class/net/{name}/{file}");
        std::fs::read_to_string(path).ok().map(|t| t.trim().to_string())
    };
    // IFF_UP, from linux/if.h.
    let flags = read("flags").and_then(|f| u32::from_str_radix(f.trim_start_matches("0x"), 16).ok()).unwrap_or(0);
    Attributes {
        address: read("address").and_then(|a| a.parse().ok()),
        mtu: read("mtu").and_then(|m| m.parse().ok()),
        up: flags & 1 != 0,
        carrier: read("carrier").as_deref() == Some("1"),
        carrier_resets: read("carrier_changes").and_then(|n| n.parse().ok()).unwrap_or(0),
        index: read("ifindex").and_then(|n| n.parse().ok()),
        speed: read("speed").and_then(|s| s.parse::<u64>().ok()).map(|megabits| megabits * 1_000_000),
        full_duplex: read("duplex").filter(|d| d == "full" || d == "half").map(|d| d == "full"),
        ..Attributes::default()
    }
}

impl Devices for StandardDevices {
    fn kinds(&self) -> Vec<&'static str> {
        let mut kinds = vec!["patch", "system"];
        if self.level != DummyLevel::Off {
            kinds.extend(["dummy", "dummy-internal", "dummy-pmd"]);
        }
        if self.level == DummyLevel::All {
            kinds.push("internal");
        }
        kinds.sort_unstable();
        kinds
    }

    fn open(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<Box<dyn Netdev>, String> {
        match (kind, self.level) {
            ("patch", _) => self.dummies.open(kind, interface),
            ("dummy" | "dummy-internal" | "dummy-pmd", DummyLevel::On | DummyLevel::System | DummyLevel::All) => {
                self.dummies.open(kind, interface)
            }
            ("system", DummyLevel::System | DummyLevel::All) => self.dummies.open_as("system", interface),
            ("internal", DummyLevel::All) => self.dummies.open_as("internal", interface),
            ("tap", DummyLevel::All) => self.dummies.open_as("tap", interface),
            ("system", _) => {
                if let Some(option) = interface.options.keys().next() {
                    return Err(format!("{}: option {option} of a system device is not available", interface.name));
                }
                let device = PacketSocket::open(&interface.name).map_err(|e| e.to_string())?;
                self.system.insert(interface.name.clone(), of_kernel(&interface.name));
                Ok(Box::new(device))
            }
            ("internal" | "tap", _) => Err(format!("{}: devices of type {kind} are not available", interface.name)),
            _ => Err(format!("{}: unknown type {kind}", interface.name)),
        }
    }

    fn configure(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<(), String> {
        if self.system.contains_key(&interface.name) {
            return match interface.options.keys().next() {
                Some(key) => Err(format!("{}: option {key} of a system device is not available", interface.name)),
                None => Ok(()),
            };
        }
        self.dummies.configure(kind, interface)
    }

    fn set_address(&mut self, name: &str, address: EthAddr) -> Result<(), String> {
        self.dummies.set_address(name, address)
    }

    fn set_up(&mut self, name: &str, up: bool) -> Result<(), String> {
        self.dummies.set_up(name, up)
    }

    fn attributes(&self, name: &str) -> Option<Attributes> {
        if self.system.contains_key(name) { Some(of_kernel(name)) } else { self.dummies.attributes(name) }
    }

    fn closed(&mut self, name: &str) {
        if self.system.remove(name).is_none() {
            self.dummies.closed(name);
        }
    }
}
