//! A whole switch as a value: bridges over datapaths, as a [`Config`] says.
//!
//! [`Vswitch::apply`] makes the switch what a configuration says, whatever it was before; applying the same again changes
//! nothing. What cannot be is left out and said, by interface ([`Vswitch::interface_error`]) or by bridge
//! ([`Vswitch::bridge_problems`]); the rest goes on.
//!
//! Bridges of the same datapath type share one datapath. What comes up from it belongs to the bridge that has the port it
//! came in by.
//!
//! # Thread rules
//!
//! One thread owns it. It reads no clock and opens no socket: time is an argument, devices come from [`Devices`].
//!
//! # The seam
//!
//! All that this module asks of the pipeline is in `bridge.rs`: there [`Ofproto`] is lent its datapath.
//!
//! [`Ofproto`]: ovs_ofproto::pipeline::Ofproto

mod bridge;
mod datapath;
mod devices;
mod dummies;
mod standard;
mod threads;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use ovs_dpif::netdev::Netdev;
use ovs_dpif::userspace::workers::Settings as WorkerSettings;
use ovs_dpif::{Dpif, DpifError, DropReason, Resolution, Upcall};
use ovs_packet::{Instant, OfPort};

use crate::config::{BridgeConfig, Config, InterfaceConfig, Settings};

pub use bridge::{Bridge, BridgePort};
pub use datapath::{DatapathInfo, DatapathTypes};
pub use devices::{Attributes, Devices, Patches};
pub use dummies::Dummies;
pub use standard::{DummyLevel, StandardDevices};
pub use threads::Machine;

use datapath::SharedDatapath;

/// Keys of `other_config` of the whole that are obeyed: the second by who writes the database. Segmentation is left to
/// whoever can do it, always: enabling it is nothing to do.
const KEYS: &[&str] = &["bundle-idle-timeout", "stats-update-interval", "userspace-tso-enable"];

/// How many rounds a datapath is polled before everything else has its turn.
const ROUNDS: usize = 64;

/// A whole switch. See the [module](self).
///
/// ```
/// use ovs_packet::{Instant, Match, compose};
/// use ovs_switch::config::{BridgeConfig, Config, PortConfig};
/// use ovs_switch::vswitch::{DatapathTypes, Dummies, Vswitch};
///
/// // Two bridges with a cable between them.
/// let port = |name: &str| PortConfig::new(name).kind("dummy");
/// let patch = |name: &str, peer: &str| PortConfig::new(name).kind("patch").option("peer", peer);
/// let mut config = Config::default();
/// config.bridges.push(BridgeConfig::new("br0").port(port("p1")).port(patch("to1", "to0")));
/// config.bridges.push(BridgeConfig::new("br1").port(patch("to0", "to1")).port(port("p2")));
///
/// let dummies = Dummies::default();
/// let mut switch = Vswitch::new(DatapathTypes::dummy(), Box::new(dummies.clone()), 7);
/// switch.apply(&config, Instant::ZERO);
/// let frame: Match = "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02".parse().unwrap();
/// dummies.get("p1").unwrap().receive(compose::compose(frame.key(), b"hello"), 0);
/// while switch.run(Instant::ZERO) > 0 {}
/// assert_eq!(dummies.get("p2").unwrap().stats().tx_packets, 1);
/// ```
#[derive(Debug)]
pub struct Vswitch {
    types: DatapathTypes,
    devices: Box<dyn Devices>,
    seed: u64,
    datapaths: BTreeMap<&'static str, SharedDatapath>,
    /// Datapaths that no bridge uses, by type and name.
    spare: BTreeMap<String, SharedDatapath>,
    bridges: BTreeMap<String, Bridge>,
    /// What was said of bridges that are not there.
    refused: BTreeMap<String, String>,
    errors: BTreeMap<String, String>,
    /// Settings of the whole that are not obeyed, as they were told last.
    unknown: Vec<String>,
    /// How threads are to work.
    threads: WorkerSettings,
    /// What that was read from.
    told_threads: Option<Settings>,
}

impl Vswitch {
    /// A switch without bridges, whose hashes depend on `seed`.
    pub fn new(types: DatapathTypes, devices: Box<dyn Devices>, seed: u64) -> Vswitch {
        Vswitch {
            types,
            devices,
            seed,
            datapaths: BTreeMap::new(),
            spare: BTreeMap::new(),
            bridges: BTreeMap::new(),
            refused: BTreeMap::new(),
            errors: BTreeMap::new(),
            unknown: Vec::new(),
            threads: WorkerSettings::default(),
            told_threads: None,
        }
    }

    // Queries.

    /// The bridges, by name.
    pub fn bridges(&self) -> impl Iterator<Item = &Bridge> {
        self.bridges.values()
    }

    /// A bridge.
    pub fn bridge(&self, name: &str) -> Option<&Bridge> {
        self.bridges.get(name)
    }

    /// The kinds of datapaths and which there are.
    pub fn types(&self) -> &DatapathTypes {
        &self.types
    }

    /// The devices.
    pub fn devices(&self) -> &dyn Devices {
        self.devices.as_ref()
    }

    /// The datapaths that bridges use, by type.
    pub fn datapaths(&self) -> impl Iterator<Item = DatapathInfo<'_>> {
        self.datapaths.values().map(SharedDatapath::info)
    }

    /// All datapaths: those that bridges use, and those that were [made](Self::create_datapath) besides.
    pub fn all_datapaths(&self) -> impl Iterator<Item = DatapathInfo<'_>> {
        self.datapaths.values().chain(self.spare.values()).map(SharedDatapath::info)
    }

    /// A datapath by its name, with or without its type in front: `dummy@ovs-dummy`, `ovs-dummy`.
    pub fn datapath(&self, name: &str) -> Option<DatapathInfo<'_>> {
        self.all_datapaths().find(|d| d.full_name() == name || d.name() == name)
    }

    /// Why an interface is not as it was configured.
    pub fn interface_error(&self, name: &str) -> Option<&str> {
        self.errors.get(name).map(String::as_str)
    }

    /// What of a bridge's configuration is not done, in a line; of one that is not there, why.
    pub fn bridge_problems(&self, name: &str) -> Option<&str> {
        self.refused.get(name).map(String::as_str).or_else(|| self.bridges.get(name)?.problems())
    }

    /// Descriptors that become readable when ports have received something.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.datapaths.values().chain(self.spare.values()).flat_map(SharedDatapath::fds).collect()
    }

    /// When [`run`](Self::run) is due even if nothing is received.
    pub fn next_deadline(&self) -> Option<Instant> {
        let datapaths = self.datapaths.values().chain(self.spare.values());
        let datapaths = datapaths.filter_map(|dp| dp.info().dpif().next_deadline());
        self.bridges.values().filter_map(Bridge::next_deadline).chain(datapaths).min()
    }

    // Configuration.

    /// Makes the switch what `config` says.
    pub fn apply(&mut self, config: &Config, now: Instant) {
        self.errors.clear();
        self.refused.clear();
        let known: Vec<&str> = KEYS.iter().chain(&threads::KEYS).copied().collect();
        let unknown: Vec<String> = bridge::unknown(&config.other_config, &known).collect();
        if !unknown.is_empty() && unknown != self.unknown {
            tracing::warn!(target: "bridge", "Open_vSwitch: not available: {}", unknown.join(", "));
        }
        self.unknown = unknown;
        let wanted = self.wanted(config);
        let gone: Vec<String> = self
            .bridges
            .values()
            .filter(|b| wanted.get(b.name()).is_none_or(|(_, kind)| *kind != b.datapath_type()))
            .map(|b| b.name().to_string())
            .collect();
        for name in gone {
            self.remove_bridge(&name, now);
        }
        // What goes makes room for what comes: names and numbers of ports.
        for (name, (bridge, _)) in &wanted {
            self.remove_ports(name, bridge, now);
        }
        for (name, (config, kind)) in &wanted {
            self.apply_bridge(name, config, kind, now);
        }
        let idle = config.other_config.get("bundle-idle-timeout").and_then(|s| s.parse::<u32>().ok());
        let idle = idle.filter(|s| *s > 0).map(|s| Duration::from_secs(s.into()));
        self.bridges.values_mut().for_each(|b| b.set_bundle_idle_timeout(idle));
        let used: BTreeSet<&str> = self.bridges.values().map(Bridge::datapath_type).collect();
        self.datapaths.retain(|kind, _| used.contains(kind));
        self.apply_threads(config);
    }

    /// Has the threads of datapaths be what `config` says.
    fn apply_threads(&mut self, config: &Config) {
        let topology = self.devices.machine().topology;
        if self.told_threads.as_ref() != Some(&config.other_config) {
            self.threads = threads::settings(&config.other_config, &topology);
            self.told_threads = Some(config.other_config.clone());
        }
        for datapath in self.datapaths.values_mut().chain(self.spare.values_mut()) {
            if let Some(workers) = datapath.dpif_mut().workers_mut() {
                workers.configure(self.threads.clone());
            }
        }
        for bridge in self.bridges.values() {
            let Some(datapath) = self.datapaths.get_mut(bridge.datapath_type()) else { continue };
            let Some(workers) = datapath.dpif_mut().workers_mut() else { continue };
            for port in bridge.ports() {
                let pins = port
                    .interface()
                    .other_config
                    .get("pmd-rxq-affinity")
                    .map_or(Ok(Vec::new()), |l| threads::affinity(l));
                match pins {
                    Ok(pins) => drop(workers.pin(port.datapath, pins)),
                    Err(why) => drop(self.errors.insert(port.name.clone(), format!("{}: {why}", port.name))),
                }
            }
        }
    }

    /// The bridges that can be, with their datapath types.
    fn wanted<'c>(&mut self, config: &'c Config) -> BTreeMap<String, (&'c BridgeConfig, &'static str)> {
        let mut wanted = BTreeMap::new();
        for bridge in &config.bridges {
            let name = bridge.name.clone();
            if name.contains(['/', '\\']) {
                // The name becomes that of sockets.
                tracing::warn!(target: "bridge", "ignoring bridge with invalid name \"{name}\"");
                self.refused.insert(name, "its name cannot be that of a socket".into());
                continue;
            }
            match self.types.resolve(&bridge.datapath_type) {
                Ok(kind) => {
                    if wanted.insert(name.clone(), (bridge, kind)).is_some() {
                        tracing::warn!(target: "bridge", "bridge {name} specified twice");
                    }
                }
                Err(why) => {
                    tracing::error!(target: "bridge", "failed to create bridge {name}: {why}");
                    for interface in bridge.ports.iter().flat_map(|p| &p.interfaces) {
                        self.errors.insert(interface.name.clone(), format!("bridge {name} is not there: {why}"));
                    }
                    self.refused.insert(name, why);
                }
            }
        }
        wanted
    }

    fn remove_bridge(&mut self, name: &str, now: Instant) {
        let Some(mut bridge) = self.bridges.remove(name) else { return };
        let Some(datapath) = self.datapaths.get_mut(bridge.datapath_type()) else { return };
        let ports: Vec<String> = bridge.ports().map(|p| p.name.clone()).collect();
        for port in ports {
            bridge.remove_port(&port, datapath, now);
            self.devices.closed(&port);
        }
    }

    fn remove_ports(&mut self, name: &str, config: &BridgeConfig, now: Instant) {
        let Some(bridge) = self.bridges.get_mut(name) else { return };
        let Some(datapath) = self.datapaths.get_mut(bridge.datapath_type()) else { return };
        let local = local_interface(name);
        let wanted: BTreeMap<&str, (&str, Option<OfPort>)> = config
            .ports
            .iter()
            .flat_map(|p| &p.interfaces)
            .chain([&local])
            .map(|i| (i.name.as_str(), (effective_kind(name, i), requested(i))))
            .collect();
        let there: BTreeSet<String> = datapath.port_names();
        let request_of = |p: &BridgePort| wanted.get(p.name.as_str()).and_then(|(_, request)| *request);
        let is_wrong = |p: &BridgePort| {
            let kind = wanted.get(p.name.as_str()).map(|(kind, _)| *kind);
            // A port that vanished from the datapath is added again.
            kind != Some(p.configured_kind.as_str()) || !there.contains(&p.name)
        };
        let mut gone: BTreeSet<String> = bridge.ports().filter(|p| is_wrong(p)).map(|p| p.name.clone()).collect();
        for port in bridge.ports() {
            let Some(number) = request_of(port).filter(|n| *n != port.number && port.number != OfPort::LOCAL) else {
                continue;
            };
            match bridge.ports().find(|p| p.number == number) {
                // Both ask for it: who has it keeps it.
                Some(other) if request_of(other) == Some(number) => {}
                other => gone.extend(other.into_iter().chain([port]).map(|p| p.name.clone())),
            }
        }
        for port in gone {
            bridge.remove_port(&port, datapath, now);
            self.devices.closed(&port);
            tracing::info!(target: "bridge", "bridge {name}: deleted interface {port}");
        }
    }

    fn apply_bridge(&mut self, name: &str, config: &BridgeConfig, kind: &'static str, now: Instant) {
        let seed = self.seed;
        let devices = self.devices.as_mut();
        let datapath = self.datapaths.entry(kind).or_insert_with(|| {
            SharedDatapath::new(kind, format!("ovs-{kind}"), self.types.is_dummy(kind), seed, devices)
        });
        let is_new = !self.bridges.contains_key(name);
        let bridge = self.bridges.entry(name.to_string()).or_insert_with(|| Bridge::new(name, kind));
        let local = local_interface(name);
        let has_local = config.ports.iter().flat_map(|p| &p.interfaces).any(|i| i.name == name);
        let implied = (!has_local).then(|| crate::config::PortConfig {
            name: name.into(),
            interfaces: vec![local],
            ..Default::default()
        });
        // The local port first: others may be numbered by it, and it names the bridge.
        let mut ports: Vec<_> = implied.iter().chain(&config.ports).collect();
        // Then those that ask for numbers, before others are given these.
        let asks = |p: &crate::config::PortConfig| p.interfaces.iter().any(|i| requested(i).is_some());
        ports.sort_by_key(|p| (p.name != name, !asks(p)));
        for port in ports {
            let bonded = port.interfaces.len() > 1;
            for interface in &port.interfaces {
                let result = if bonded {
                    Err(format!("port {}: bonds are not available", port.name))
                } else {
                    bridge.apply_port(port, interface, effective_kind(name, interface), datapath, devices, now)
                };
                match result {
                    Ok(None) => {}
                    Ok(Some(told)) => drop(self.errors.insert(interface.name.clone(), told)),
                    Err(why) => {
                        tracing::warn!(target: "bridge", "{why}");
                        self.errors.insert(interface.name.clone(), why);
                    }
                }
            }
        }
        bridge.configure(config, datapath, devices, is_new, now);
        bridge.meet_devices(devices);
    }

    /// Makes a datapath that no bridge uses, by its type and name (`dummy@dp1`), with a port of its own name.
    ///
    /// # Errors
    /// [`DpifError::DatapathExists`], also for the names of those that bridges use; a type that there is not.
    pub fn create_datapath(&mut self, name: &str) -> Result<(), DpifError> {
        let (kind, bare) = name.split_once('@').unwrap_or(("", name));
        let no_such = |why: String| DpifError::System { what: "datapath", source: std::io::Error::other(why) };
        let kind = self.types.resolve(kind).map_err(no_such)?;
        let full = format!("{kind}@{bare}");
        if self.spare.contains_key(&full) || bare == format!("ovs-{kind}") {
            return Err(DpifError::DatapathExists(full));
        }
        let (is_dummy, devices) = (self.types.is_dummy(kind), self.devices.as_mut());
        let mut datapath = SharedDatapath::new(kind, bare.to_string(), is_dummy, self.seed, devices);
        if let Some(workers) = datapath.dpif_mut().workers_mut() {
            workers.configure(self.threads.clone());
        }
        self.spare.insert(full, datapath);
        Ok(())
    }

    /// Removes a datapath that was [made](Self::create_datapath). The devices of its ports are for the caller to
    /// [close](Self::device_closed).
    ///
    /// # Errors
    /// [`DpifError::NoSuchDatapath`]; [`DpifError::Unsupported`] for one that bridges use.
    pub fn remove_datapath(&mut self, name: &str) -> Result<(), DpifError> {
        if self.spare.remove(name).is_some() {
            return Ok(());
        }
        match self.datapath(name) {
            Some(_) => Err(DpifError::Unsupported("removal of a datapath that bridges use")),
            None => Err(DpifError::NoSuchDatapath(name.to_string())),
        }
    }

    /// Opens a device for a port that is no bridge's.
    ///
    /// # Errors
    /// Why not, in a line.
    pub fn open_device(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<Box<dyn Netdev>, String> {
        self.devices.open(kind, interface)
    }

    /// A device of [`open_device`](Self::open_device), or of a datapath that was made, is nobody's port any more.
    pub fn device_closed(&mut self, name: &str) {
        self.devices.closed(name);
    }

    // Work.

    /// Takes what the ports received, forwards it, and does what is due. Returns how many packets it took: while that is
    /// not zero there may be more.
    pub fn run(&mut self, now: Instant) -> usize {
        let mut taken = 0;
        for datapath in self.datapaths.values_mut() {
            for _ in 0..ROUNDS {
                let mut upcalls = Vec::new();
                let received = datapath.poll(now, &mut upcalls);
                for upcall in upcalls {
                    dispatch(&mut self.bridges, datapath, upcall, now);
                }
                taken += received;
                if received == 0 {
                    break;
                }
            }
        }
        for datapath in self.spare.values_mut() {
            let mut upcalls = Vec::new();
            taken += datapath.poll(now, &mut upcalls);
            for upcall in upcalls {
                dispatch(&mut BTreeMap::new(), datapath, upcall, now);
            }
        }
        for bridge in self.bridges.values_mut() {
            if let Some(datapath) = self.datapaths.get_mut(bridge.datapath_type()) {
                bridge.run(datapath, now);
            }
        }
        taken
    }

    /// Does what controllers asked of devices.
    pub fn obey_controllers(&mut self, now: Instant) {
        for bridge in self.bridges.values_mut() {
            if let Some(datapath) = self.datapaths.get_mut(bridge.datapath_type()) {
                bridge.obey_controllers(datapath.dpif_mut(), self.devices.as_mut(), now);
            }
        }
    }

    /// Tells controllers what became of devices. Call it when a device's state may have changed, and now and then.
    pub fn meet_devices(&mut self) {
        self.bridges.values_mut().for_each(|b| b.meet_devices(self.devices.as_mut()));
    }

    /// Has `f` do something with a bridge and its datapath.
    pub fn with_bridge<T>(&mut self, name: &str, f: impl FnOnce(&mut Bridge, &mut dyn Dpif) -> T) -> Option<T> {
        let bridge = self.bridges.get_mut(name)?;
        let datapath = self.datapaths.get_mut(bridge.datapath_type())?;
        Some(f(bridge, datapath.dpif_mut()))
    }

    /// A datapath by its name, as [`datapath`](Self::datapath) takes it.
    pub fn datapath_mut(&mut self, name: &str) -> Option<&mut dyn Dpif> {
        let mut all = self.datapaths.values_mut().chain(self.spare.values_mut());
        let found = all.find(|d| d.info().full_name() == name || d.info().name() == name);
        found.map(SharedDatapath::dpif_mut)
    }

    /// Has `f` do something with a datapath, by its name.
    pub fn with_datapath<T>(&mut self, name: &str, f: impl FnOnce(&mut dyn Dpif) -> T) -> Option<T> {
        self.datapath_mut(name).map(f)
    }
}

/// Gives an upcall to the bridge that has the port it came in by.
fn dispatch(bridges: &mut BTreeMap<String, Bridge>, datapath: &mut SharedDatapath, upcall: Upcall, now: Instant) {
    let port = ovs_dpif::PortNo(upcall.key.in_port.get());
    let owner = bridges.values_mut().find(|b| b.datapath_type() == datapath.kind() && b.has_datapath_port(port));
    match owner {
        Some(bridge) => bridge.handle_upcall(datapath, upcall, now),
        None => {
            let drop = Resolution::Drop(DropReason::UnknownIngress);
            datapath.dpif_mut().resolve(upcall, drop, now, &mut Vec::new());
        }
    }
}

fn local_interface(bridge: &str) -> InterfaceConfig {
    let mut interface = InterfaceConfig::new(bridge);
    interface.kind = "internal".into();
    interface
}

/// The kind of an interface: the local port is internal whatever is said of it.
fn effective_kind<'i>(bridge: &str, interface: &'i InterfaceConfig) -> &'i str {
    match interface.kind.as_str() {
        _ if interface.name == bridge => "internal",
        "" => "system",
        kind => kind,
    }
}

/// The number that an interface asks for. 65279 is the last one that may be asked for (ovs-vswitchd.conf.db(5)).
fn requested(interface: &InterfaceConfig) -> Option<OfPort> {
    interface.ofport_request.filter(|n| (1..=65_279).contains(n)).map(|n| OfPort(n.into()))
}
