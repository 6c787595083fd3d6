//! The ports of a bridge: devices of its datapath, and ends of patches, which are none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ovs_dpif::PortNo;
use ovs_ofproto::pipeline::{Port, PortConfig as PortState, PriorityTags, Queue, TunnelKind, VlanMode};
use ovs_packet::{EthAddr, Instant, OfPort};

use super::bridge::Bridge;
use super::devices::{Attributes, Devices};
use super::keys;
use super::settings::left_out;
use super::shared::Shared;
use super::tunnels::Tunnel;
use crate::config::{InterfaceConfig, PortConfig};

/// The kind of ends of patches.
pub(super) const PATCH: &str = "patch";

/// Numbers that ports get without asking are below this.
const MAX_AUTOMATIC: u32 = 32_768;

/// How long a number rests before it is given to another port.
const REST: Duration = Duration::from_secs(3600);

/// A port of a bridge.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BridgePort {
    /// Its name.
    pub name: String,
    /// Its number in OpenFlow.
    pub number: OfPort,
    /// Its number in the datapath, which tunnels share with others; none of the end of a patch.
    pub datapath: Option<PortNo>,
    /// The kind of its device.
    pub kind: &'static str,
    /// The kind that was asked for.
    pub configured_kind: String,
    pub(super) interface: InterfaceConfig,
    settings: Settings,
    created: Instant,
    /// What tunnel it is, if it is one.
    pub(super) tunnel: Option<Tunnel>,
    /// Its number in the datapath, of a tunnel that was withdrawn.
    pub(super) leaving: Option<PortNo>,
}

impl BridgePort {
    /// The configuration of its interface.
    pub fn interface(&self) -> &InterfaceConfig {
        &self.interface
    }

    /// The name of the port at the other end, of the end of a patch.
    pub fn peer(&self) -> Option<&str> {
        if self.kind == PATCH { self.interface.options.get("peer").map(String::as_str) } else { None }
    }

    /// What tunnel it is, if it is one.
    pub fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.as_ref()
    }

    /// The name of the datapath's port for it, if that is told: of a tunnel, the one that it shares with others.
    pub fn datapath_name(&self) -> String {
        let config = self.tunnel().and_then(Tunnel::config);
        config.map_or_else(|| self.name.clone(), |config| config.vport())
    }

    /// Whether it has no device: the end of a patch, a tunnel.
    pub(super) fn is_virtual(&self) -> bool {
        self.kind == PATCH || self.tunnel.is_some()
    }

    /// What is known of it: of its device, or of what has none, which is always up.
    pub(super) fn attributes(&self, devices: &dyn Devices) -> Option<Attributes> {
        match self.is_virtual() {
            true => Some(Attributes {
                address: Some(EthAddr::local(hash(&self.name))),
                up: true,
                carrier: true,
                ..Attributes::default()
            }),
            false => devices.attributes(&self.name),
        }
    }
}

/// What a port is to be in its bridge, whatever its device is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    vlan: VlanMode,
    priority_tags: PriorityTags,
    protected: bool,
    flood_groups: bool,
    flood_reports: bool,
    /// DSCP by queue.
    dscp: BTreeMap<u32, u8>,
}

impl Settings {
    fn of(port: &PortConfig) -> Result<Settings, String> {
        let is_on = |key: &str| keys::flag(&port.other_config, key, false);
        // What else it may say is told with the port's other problems.
        let priority_tags = match port.other_config.get("priority-tags").map_or("no", String::as_str) {
            "if-nonzero" | "true" => PriorityTags::IfNonzero,
            "always" => PriorityTags::Always,
            _ => PriorityTags::Never,
        };
        Ok(Settings {
            vlan: port.vlan()?,
            priority_tags,
            protected: port.protected,
            flood_groups: is_on("mcast-snooping-flood"),
            flood_reports: is_on("mcast-snooping-flood-reports"),
            dscp: port.queues.iter().filter_map(|q| Some((q.number, q.dscp?))).collect(),
        })
    }
}

/// A number that is the same for a name from one run to the next, as an address that is made should be: 46 bits of FNV-1a.
pub(super) fn hash(name: &str) -> u64 {
    let whole = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    whole & 0x3fff_ffff_ffff
}

/// Whether the options of the end of a patch can be.
fn check_patch(interface: &InterfaceConfig) -> Result<(), String> {
    let name = &interface.name;
    let peer = interface.options.get("peer").filter(|p| !p.is_empty());
    let peer = peer.ok_or_else(|| format!("{name}: patch type requires valid 'peer' argument"))?;
    if let Some(other) = interface.options.keys().find(|k| *k != "peer") {
        return Err(format!("{name}: patch has no option {other}"));
    }
    if peer == name { Err(format!("{name}: patch peer must not be self")) } else { Ok(()) }
}

/// Gives a device an address. What cannot be is told in the log too.
pub(super) fn set_address(devices: &mut dyn Devices, name: &str, address: EthAddr) -> Result<(), String> {
    let result = if address.is_multicast() {
        Err("it is a multicast address".to_string())
    } else if address == EthAddr::default() {
        Err("it is zero".to_string())
    } else {
        devices.set_address(name, address)
    };
    result.inspect_err(|e| tracing::error!(target: "bridge", "interface {name}: setting MAC failed ({e})"))
}

/// A tunnel port, with its number in the datapath.
fn add_tunnel(kind: TunnelKind, interface: &InterfaceConfig, shared: &mut Shared) -> Result<(Tunnel, PortNo), String> {
    let name = &interface.name;
    let tunnel = Tunnel::new(kind, interface).inspect_err(|_| could_not_set(name, "Invalid argument"))?;
    let Some(config) = tunnel.config().cloned() else { return Err(format!("{name}: no {kind} tunnel")) };
    shared.datapath.check_vport(name, &config).inspect_err(|_| could_not_set(name, "File exists"))?;
    let number = shared.datapath.add_vport(name, &config)?;
    if let Err(twin) = shared.check_twin(name, &config, number) {
        tracing::warn!(target: "tunnel", "{twin}");
        shared.datapath.remove_port(number);
        return Err(format!("could not add network device {name} to ofproto (File exists)"));
    }
    Ok((tunnel, number))
}

/// What is told of options that cannot be.
fn could_not_set(name: &str, why: &str) {
    tracing::warn!(target: "netdev", "{name}: could not set configuration ({why})");
}

impl Bridge {
    /// Makes a port what it is to be. Nothing if that is all done; a text if part of it is not. Takes effect when the
    /// datapath is settled.
    pub(super) fn apply_port(
        &mut self,
        port: &PortConfig,
        interface: &InterfaceConfig,
        kind: &str,
        shared: &mut Shared,
        devices: &mut dyn Devices,
        now: Instant,
    ) -> Result<Option<String>, String> {
        let settings = Settings::of(port)?;
        let opened = match (kind, shared.datapath.is_dummy()) {
            ("internal", true) => "dummy-internal",
            (kind, _) => kind,
        };
        if let Some(there) = self.ports.get_mut(&interface.name) {
            let leads_nowhere = there.tunnel().is_some_and(|tunnel| tunnel.config().is_none());
            if there.interface != *interface || leads_nowhere {
                match (opened, there.tunnel.as_ref().map(Tunnel::kind)) {
                    (PATCH, _) => check_patch(interface)?,
                    (_, Some(tunnel)) => self.reconfigure_tunnel(tunnel, interface, shared, devices)?,
                    (opened, None) => devices.configure(opened, interface)?,
                }
            }
            let Some(there) = self.ports.get_mut(&interface.name) else { return Ok(None) };
            there.interface = interface.clone();
            if there.settings != settings {
                there.settings = settings;
                let changed = there.clone();
                self.publish(&changed, shared, devices);
            }
        } else {
            self.add_port(interface, (kind, opened), settings, shared, devices, now)?;
        }
        let mac = interface.mac.and_then(|mac| self.set_mac(interface, kind, mac, devices));
        let there = self.ports.get(&interface.name);
        let tunnel = there.and_then(BridgePort::tunnel).and_then(Tunnel::problem);
        let mtu = interface.mtu_request.filter(|_| there.is_some_and(BridgePort::is_virtual));
        let mtu = mtu.map(|mtu| format!("mtu_request {mtu}: there is no device"));
        let told = [left_out(port, interface), mac, tunnel, mtu, devices.problem(&interface.name)];
        Ok(told.into_iter().flatten().reduce(|a, b| format!("{a}; {b}")))
    }

    /// Gives an interface the address that is asked for. Says why not.
    fn set_mac(
        &self,
        interface: &InterfaceConfig,
        kind: &str,
        mac: EthAddr,
        devices: &mut dyn Devices,
    ) -> Option<String> {
        let name = &interface.name;
        if *name == self.name {
            tracing::error!(
                target: "bridge",
                "interface {name}: ignoring mac in Interface record (use Bridge record to set local port's mac)"
            );
            return Some(format!("mac {mac}: that of a bridge is other_config:hwaddr of its row"));
        }
        if kind != "internal" {
            return Some(format!(
                "mac {mac}: not available for type {}",
                if kind.is_empty() { "system" } else { kind }
            ));
        }
        set_address(devices, name, mac).err().map(|why| format!("mac {mac}: {why}"))
    }

    fn add_port(
        &mut self,
        interface: &InterfaceConfig,
        (kind, opened): (&str, &str),
        settings: Settings,
        shared: &mut Shared,
        devices: &mut dyn Devices,
        now: Instant,
    ) -> Result<(), String> {
        let name = &interface.name;
        if ["ovs-netdev", "ovs-dummy", "ovs-system"].contains(&name.as_str()) {
            return Err(format!("could not create interface {name}, name is reserved"));
        }
        let mut tunnel = None;
        let (device_kind, datapath) = if opened == PATCH {
            check_patch(interface).map_err(|e| format!("could not open network device {name} ({e})"))?;
            (PATCH, None)
        } else if let Some(of_tunnel) = TunnelKind::of_name(opened) {
            let (made, number) = add_tunnel(of_tunnel, interface, shared)?;
            tunnel = Some(made);
            (of_tunnel.name(), Some(number))
        } else {
            let (number, device_kind) = shared.datapath.add_interface(opened, interface, devices)?;
            (device_kind, Some(number))
        };
        let port = BridgePort {
            name: name.clone(),
            number: self.pick_number(interface, now),
            datapath,
            kind: device_kind,
            configured_kind: kind.to_string(),
            interface: interface.clone(),
            settings,
            created: now,
            tunnel,
            leaving: None,
        };
        self.publish(&port, shared, devices);
        let shown = port.number.to_16().unwrap_or(u16::MAX);
        tracing::info!(target: "bridge", "bridge {}: added interface {name} on port {shown}", self.name);
        self.ports.insert(name.clone(), port);
        Ok(())
    }

    /// Tells the pipeline of a port.
    pub(super) fn publish(&mut self, port: &BridgePort, shared: &mut Shared, devices: &dyn Devices) {
        let leads_nowhere = port.tunnel().is_some_and(|tunnel| tunnel.config().is_none());
        let mut described = match port.datapath.filter(|_| !leads_nowhere) {
            Some(number) => Port::new(port.number, number, port.name.clone()),
            None => Port::patch(port.number, port.name.clone()),
        };
        described.tunnel = port.tunnel().and_then(Tunnel::config).cloned();
        let settings = port.settings.clone();
        (described.vlan, described.priority_tags) = (settings.vlan, settings.priority_tags);
        (described.protected, described.flood_groups) = (settings.protected, settings.flood_groups);
        described.flood_reports = settings.flood_reports;
        described.dscp = settings.dscp;
        described.created = port.created;
        if port.kind.starts_with("dummy") {
            // Such a device has one queue, always.
            described.queues.insert(0, Queue::default());
        }
        let known = port.attributes(devices);
        if let Some(known) = &known {
            described.hw_addr = known.address.unwrap_or_default();
            described.link_up = known.carrier;
        }
        let is_down = match known.filter(|_| !port.is_virtual()) {
            Some(known) => !known.up,
            // What has no device, and a device that has no state, are as controllers have set the port.
            None => {
                let told = shared.switches.get(self.place).and_then(|of| of.port(port.number));
                told.is_some_and(|p| p.config.contains(PortState::DOWN))
            }
        };
        if is_down {
            described.config |= PortState::DOWN;
        }
        shared.switches.configure(self.place, |of| of.port_add(described));
    }

    fn pick_number(&mut self, interface: &InterfaceConfig, now: Instant) -> OfPort {
        if interface.name == self.name {
            return OfPort::LOCAL;
        }
        let used: BTreeSet<u32> = self.ports.values().map(|p| p.number.0).collect();
        if let Some(wanted) = super::requested(interface)
            && !used.contains(&wanted.0)
        {
            return wanted;
        }
        self.given_up.retain(|_, at| now.since(*at) < REST);
        let next = |from: u32| (1..MAX_AUTOMATIC).map(move |i| (from + i - 1) % (MAX_AUTOMATIC - 1) + 1);
        let free = next(self.last_number).find(|n| !used.contains(n) && !self.given_up.contains_key(n));
        let free = free.or_else(|| next(self.last_number).find(|n| !used.contains(n))).unwrap_or(MAX_AUTOMATIC);
        self.last_number = free;
        OfPort(free)
    }

    /// Has the pipeline forget a port. What it has in the datapath is to be removed when that is settled.
    pub(super) fn remove_port(&mut self, name: &str, shared: &mut Shared, now: Instant) -> Option<PortNo> {
        let port = self.ports.remove(name)?;
        self.given_up.insert(port.number.0, now);
        let own = shared.switches.get(self.place);
        let behind = own.map(|of| of.macs().iter(now).filter(|e| e.port == port.number && !e.is_static));
        let behind: Vec<_> = behind.into_iter().flatten().map(|e| (e.vlan, e.address)).collect();
        // Who was behind it comes in by another port by and by, of another bridge perhaps: none is to send it here by what
        // it learnt before.
        let places: Vec<usize> = shared.switches.iter().map(|(place, _)| place).collect();
        for place in places.into_iter().filter(|_| !behind.is_empty()) {
            shared.switches.configure(place, |of| {
                for (vlan, address) in &behind {
                    of.macs_mut().remove(*vlan, *address);
                }
            });
        }
        shared.switches.configure(self.place, |of| of.port_remove(port.number));
        port.datapath.or(port.leaving)
    }
}
