//! The devices of a daemon: interfaces of the kernel, cables, and dummy devices where they are enabled.

use std::collections::BTreeMap;

use ovs_dpif::netdev::{Netdev, PacketSocket, XdpConfig, XdpMode, XdpSocket};
use ovs_packet::EthAddr;

use super::devices::{Attributes, Devices};
use super::dummies::Dummies;
use super::threads::Machine;
use crate::config::{InterfaceConfig, Settings};

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
    /// The options of interfaces of the kernel that are open.
    system: BTreeMap<String, Settings>,
    machine: Machine,
}

impl StandardDevices {
    /// Devices with dummies among them as `level` says.
    pub fn new(level: DummyLevel) -> StandardDevices {
        StandardDevices { dummies: Dummies::default(), level, system: BTreeMap::new(), machine: Machine::default() }
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

/// The options of an interface of type `afxdp`.
fn xdp_config(interface: &InterfaceConfig) -> Result<XdpConfig, String> {
    let name = &interface.name;
    interface.options.iter().try_fold(XdpConfig::default(), |config, (key, value)| {
        match (key.as_str(), value.as_str()) {
            ("xdp-mode", mode) => {
                let mode = XdpMode::by_name(mode)
                    .ok_or_else(|| format!("{name}: option xdp-mode: there is no mode {mode}"))?;
                Ok(config.with_mode(mode))
            }
            ("use-need-wakeup", "true" | "false") => Ok(config.with_need_wakeup(value == "true")),
            ("use-need-wakeup", _) => Err(format!("{name}: option use-need-wakeup: {value} is not true or false")),
            _ => Err(format!("{name}: option {key} of an afxdp device is not available")),
        }
    })
}

impl Devices for StandardDevices {
    fn kinds(&self) -> Vec<&'static str> {
        let mut kinds = vec!["afxdp", "patch", "system"];
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
            ("afxdp", DummyLevel::All) => self.dummies.open_as("afxdp", interface),
            ("afxdp", _) => {
                let device = XdpSocket::open(&interface.name, xdp_config(interface)?).map_err(|e| e.to_string())?;
                for why in device.fallbacks() {
                    tracing::warn!(target: "netdev_afxdp", "{}: {why}", interface.name);
                }
                tracing::info!(
                    target: "netdev_afxdp",
                    "{}: XDP mode {}, {} queues", interface.name, device.mode().name(), device.queues()
                );
                self.system.insert(interface.name.clone(), interface.options.clone());
                Ok(Box::new(device))
            }
            ("system", _) => {
                if let Some(option) = interface.options.keys().next() {
                    return Err(format!("{}: option {option} of a system device is not available", interface.name));
                }
                let device = PacketSocket::open(&interface.name).map_err(|e| e.to_string())?;
                self.system.insert(interface.name.clone(), Settings::new());
                Ok(Box::new(device))
            }
            ("internal" | "tap", _) => Err(format!("{}: devices of type {kind} are not available", interface.name)),
            _ => Err(format!("{}: unknown type {kind}", interface.name)),
        }
    }

    fn configure(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<(), String> {
        if let Some(options) = self.system.get(&interface.name) {
            let keys = options.keys().chain(interface.options.keys());
            let changed = keys.into_iter().find(|key| options.get(*key) != interface.options.get(*key));
            return match (changed, kind) {
                (None, _) => Ok(()),
                (Some(key), "afxdp") => {
                    Err(format!("{}: option {key} changes only when the port is made anew", interface.name))
                }
                (Some(key), _) => Err(format!("{}: option {key} of a {kind} device is not available", interface.name)),
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

    fn machine(&self) -> Machine {
        self.machine.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_xdp_are_known_or_refused() {
        let of = |options: &[(&str, &str)]| {
            let mut interface = InterfaceConfig::new("p1");
            interface.options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            xdp_config(&interface)
        };
        let config = of(&[("xdp-mode", "generic"), ("use-need-wakeup", "false")]).unwrap();
        assert_eq!((config.mode, config.need_wakeup), (XdpMode::Generic, false));
        for (options, says) in [
            (("xdp-mode", "fast"), "p1: option xdp-mode: there is no mode fast"),
            (("use-need-wakeup", "1"), "p1: option use-need-wakeup: 1 is not true or false"),
            (("n_rxq", "2"), "p1: option n_rxq of an afxdp device is not available"),
        ] {
            assert_eq!(of(&[options]).unwrap_err(), says);
        }
    }
}
