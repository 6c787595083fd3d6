//! A whole switch as a value: bridges over datapaths, as a [`Config`] says.
//!
//! [`Vswitch::apply`] makes the switch what a configuration says, whatever it was before; applying the same again changes
//! nothing. What cannot be is left out and said, by interface ([`Vswitch::interface_error`]) or by bridge
//! ([`Vswitch::bridge_problems`]); the rest goes on.
//!
//! Bridges of the same datapath type share one datapath, and patches lead from one to another within the pipeline
//! ([`Bridges`]): one megaflow stands for the whole way. What comes up from the datapath belongs to the bridge that has the
//! port it came in by.
//!
//! # Thread rules
//!
//! One thread owns it. It reads no clock and opens no socket: time is an argument, devices come from [`Devices`].
//!
//! # What is where
//!
//! A [`Bridge`] is what a bridge is configured to be; the switch that it is stands among those of its datapath
//! ([`Vswitch::ofproto`]). `ports.rs` and `patches.rs` make ports what they are to be, `settings.rs` says what of a
//! configuration is not done, `requests.rs` does what controllers ask of devices. `system.rs` knows the machine's interfaces,
//! whether they are devices here or ports of the kernel's datapath; `mtu.rs` has those of the stack follow their bridges;
//! `by_hand.rs` does to datapaths what people ask for; `threads.rs` says how threads are to work, `limits.rs` how many
//! connections zones may have, and `timeouts.rs` how long those live; `tunnels.rs` and `vports.rs` make tunnel ports, and the
//! ports of the datapath that they share.
//!
//! [`Bridges`]: ovs_ofproto::pipeline::Bridges

mod bridge;
mod by_hand;
mod datapath;
mod devices;
mod dummies;
mod kernel;
mod keys;
mod limits;
mod mtu;
mod offload;
mod patches;
mod ports;
mod requests;
mod revalidator;
pub(crate) mod settings;
mod shared;
mod standard;
mod system;
mod threads;
mod timeouts;
mod tunnels;
mod vports;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use ovs_dpif::netdev::NetdevStats;
use ovs_dpif::threads::Settings as WorkerSettings;
use ovs_dpif::{Dpif, DropReason, PortNo, Resolution};
use ovs_ofproto::pipeline::native::Underlay;
use ovs_ofproto::pipeline::{MAX_BRIDGES, Ofproto, Trace, TraceRequest, TunnelKind};
use ovs_ofproto::session::edge::Ready;
use ovs_packet::tunnel::DEFAULT_SOURCE_PORTS;
use ovs_packet::{FlowKey, Instant, OfPort};

use crate::config::{BridgeConfig, Config, InterfaceConfig, Settings};

pub(crate) use keys::flag;

pub use bridge::{Bridge, BridgePort};
pub use datapath::{DatapathInfo, DatapathTypes};
pub use devices::{Attributes, Devices};
pub use dummies::Dummies;
pub use kernel::Kernel;
pub use standard::{DummyLevel, StandardDevices};
pub use threads::Machine;
pub use tunnels::Tunnel;

use datapath::SharedDatapath;
use shared::Shared;

/// How many VLAN tags of a packet are read, unless the configuration says otherwise (ovs-vswitchd.conf.db(5)).
const VLAN_LIMIT: u8 = 1;

/// Keys whose settings this switch has no choice of, and what it does.
const FIXED: &[(&str, &str)] = &[
    ("emc-insert-inv-prob", "the cache in front of the megaflows takes every flow"),
    (
        "n-handler-threads",
        "the kernel's datapath has one for each CPU where it tells CPUs apart; within the process, handlers are its loop",
    ),
    ("n-revalidator-threads", "revalidators are its loop"),
    ("smc-enable", "the cache in front of the megaflows keeps signatures, 16 bytes a flow"),
    ("tx-flush-interval", "what is to be sent leaves with the batch that it came with"),
];

/// A port that was removed: the type of its datapath, its name, and its number there if it has one.
type Gone = (&'static str, String, Option<PortNo>);

/// How many rounds a datapath is polled before everything else has its turn.
const ROUNDS: usize = 64;

/// A whole switch. See the [module](self).
///
/// ```
/// use ovs_packet::{Instant, Match, compose};
/// use ovs_switch::config::{BridgeConfig, Config, PortConfig};
/// use ovs_switch::vswitch::{DatapathTypes, Dummies, Vswitch};
///
/// // Two bridges with a patch between them.
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
    shared: BTreeMap<&'static str, Shared>,
    /// Datapaths that no bridge uses, by type and name.
    spare: BTreeMap<String, SharedDatapath>,
    bridges: BTreeMap<String, Bridge>,
    /// What was said of bridges that are not there.
    refused: BTreeMap<String, String>,
    errors: BTreeMap<String, String>,
    /// Settings of the whole that are not obeyed, as they were told last.
    problems: String,
    /// Settings that it has and that leave no choice, and what holds instead.
    fixed: String,
    /// The MTUs of bridges.
    mtus: BTreeMap<String, usize>,
    /// How threads are to work.
    threads: WorkerSettings,
    /// What that was read from.
    told_threads: Option<Settings>,
    /// What is said of cards that match megaflows.
    offload: offload::Offload,
    /// The network that tunnels go through, and the UDP ports that they come from.
    underlay: Underlay,
    tunnel_sources: RangeInclusive<u16>,
}

/// What became of devices outside the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceNews {
    /// Nothing.
    None,
    /// States changed.
    States,
    /// A port's device is gone, or one that could not be had may be there now: apply the configuration again.
    Apply,
}

impl Vswitch {
    /// A switch without bridges, whose hashes depend on `seed`.
    pub fn new(types: DatapathTypes, devices: Box<dyn Devices>, seed: u64) -> Vswitch {
        Vswitch {
            types,
            devices,
            seed,
            shared: BTreeMap::new(),
            spare: BTreeMap::new(),
            bridges: BTreeMap::new(),
            refused: BTreeMap::new(),
            errors: BTreeMap::new(),
            problems: String::new(),
            fixed: String::new(),
            mtus: BTreeMap::new(),
            threads: WorkerSettings::default(),
            told_threads: None,
            offload: offload::Offload::default(),
            underlay: Underlay::default(),
            tunnel_sources: DEFAULT_SOURCE_PORTS,
        }
    }

    // Tunnels.

    /// What is known of the network that tunnels go through. Changes take effect with the next [`run`](Self::run).
    pub fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// The UDP source ports that flows in tunnels are spread over.
    pub fn tunnel_sources(&self) -> RangeInclusive<u16> {
        self.tunnel_sources.clone()
    }

    /// Spreads them over others.
    pub fn set_tunnel_sources(&mut self, ports: RangeInclusive<u16>) {
        for shared in self.shared.values_mut() {
            // What makes no outer headers has no use for their ports.
            let _ = shared.datapath.dpif_mut().set_tunnel_sources(ports.clone());
        }
        self.tunnel_sources = ports;
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

    /// The switch that a bridge is.
    pub fn ofproto(&self, bridge: &str) -> Option<&Ofproto> {
        let bridge = self.bridges.get(bridge)?;
        self.shared.get(bridge.datapath_type())?.switches.get(bridge.place())
    }

    /// The bridge and the port that a packet comes to, by its key in the port numbers of the datapath of a type.
    pub fn ingress(&self, datapath_type: &str, key: &FlowKey) -> Option<(&Bridge, OfPort)> {
        let peer = self.shared.get(datapath_type)?.switches.of_key(key)?;
        let own = |b: &&Bridge| b.datapath_type() == datapath_type && b.place() == peer.bridge;
        Some((self.bridges().find(own)?, peer.port))
    }

    /// What is to be known of a port of a bridge beside its traffic.
    pub fn port_attributes(&self, port: &BridgePort) -> Option<Attributes> {
        port.attributes(self.devices.as_ref())
    }

    /// What went through the ends of patches, by their names.
    pub fn patch_stats(&self) -> impl Iterator<Item = (&str, NetdevStats)> {
        self.bridges().flat_map(|b| {
            let of = self.ofproto(b.name());
            b.ports().filter_map(move |p| Some((p.name.as_str(), of?.patch_stats(p.number)?)))
        })
    }

    /// The kinds of interfaces that there can be.
    pub fn interface_kinds(&self) -> Vec<&'static str> {
        let mut kinds = self.devices.kinds();
        kinds.push(ports::PATCH);
        kinds.extend(TunnelKind::ALL.map(TunnelKind::name));
        kinds.sort_unstable();
        kinds
    }

    /// The kinds of datapaths and which there are.
    pub fn types(&self) -> &DatapathTypes {
        &self.types
    }

    /// Whether cards may match megaflows (`hw-offload`).
    pub fn flow_offload(&self) -> bool {
        self.offload.is_enabled()
    }

    /// The devices.
    pub fn devices(&self) -> &dyn Devices {
        self.devices.as_ref()
    }

    /// The datapaths that bridges use, by type.
    pub fn datapaths(&self) -> impl Iterator<Item = DatapathInfo<'_>> {
        self.shared.values().map(|s| s.datapath.info())
    }

    /// All datapaths: those that bridges use, and those that were [made](Self::create_datapath) besides.
    pub fn all_datapaths(&self) -> impl Iterator<Item = DatapathInfo<'_>> {
        self.shared.values().map(|s| &s.datapath).chain(self.spare.values()).map(SharedDatapath::info)
    }

    /// A datapath by its name, with or without its type in front: `dummy@ovs-dummy`, `ovs-dummy`.
    pub fn datapath(&self, name: &str) -> Option<DatapathInfo<'_>> {
        self.all_datapaths().find(|d| d.full_name() == name || d.name() == name)
    }

    /// Why an interface is not as it was configured.
    pub fn interface_error(&self, name: &str) -> Option<&str> {
        self.errors.get(name).map(String::as_str)
    }

    /// What of the settings of the whole cannot be (`error`), and what there is no choice of (`no_choice`).
    pub fn problems(&self) -> Vec<(&'static str, &str)> {
        let told = [("error", self.problems.as_str()), ("no_choice", &self.fixed)];
        told.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }

    /// What of a bridge's configuration is not done, in a line; of one that is not there, why.
    pub fn bridge_problems(&self, name: &str) -> Option<&str> {
        self.refused.get(name).map(String::as_str).or_else(|| self.bridges.get(name)?.problems())
    }

    /// Descriptors that become readable when ports have received something, or something became of devices.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let news = self.devices.fd().into_iter();
        let datapaths = self.shared.values().map(|s| &s.datapath).chain(self.spare.values());
        news.chain(datapaths.flat_map(SharedDatapath::fds)).collect()
    }

    /// When [`run`](Self::run) is due even if nothing is received.
    pub fn next_deadline(&self) -> Option<Instant> {
        let datapaths = self.shared.values().map(|s| &s.datapath).chain(self.spare.values());
        let datapaths = datapaths.filter_map(|dp| dp.info().dpif().next_deadline());
        self.shared.values().filter_map(|s| s.switches.next_deadline()).chain(datapaths).min()
    }

    // Configuration.

    /// Makes the switch what `config` says.
    pub fn apply(&mut self, config: &Config, now: Instant) {
        self.errors.clear();
        self.refused.clear();
        let mut problems: Vec<String> = settings::of_whole(&config.other_config).into_iter().collect();
        let fixed = FIXED.iter().filter(|(key, _)| config.other_config.contains_key(*key));
        let fixed: Vec<String> = fixed.map(|(key, does)| format!("other_config:{key}: {does}")).collect();
        let fixed = fixed.join(", ");
        if self.fixed != fixed && !fixed.is_empty() {
            tracing::info!(target: "bridge", "Open_vSwitch: no choice: {fixed}");
        }
        self.fixed = fixed;
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
        let gone: Vec<Gone> =
            wanted.iter().flat_map(|(name, (bridge, _))| self.remove_ports(name, bridge, now)).collect();
        self.shared.values_mut().for_each(|s| s.settle(now));
        gone.into_iter().for_each(|port| self.close(port));
        for bridge in self.bridges.values_mut() {
            if let Some(shared) = self.shared.get_mut(bridge.datapath_type()) {
                bridge.leave_vports(shared);
            }
        }
        for (name, (config, kind)) in &wanted {
            self.apply_bridge(name, config, kind, now);
        }
        self.fit_mtus();
        let idle = config.other_config.get("bundle-idle-timeout").and_then(|s| s.parse::<u32>().ok());
        let idle = idle.filter(|s| *s > 0).map(|s| Duration::from_secs(s.into()));
        let revalidator = revalidator::config_of(&config.other_config);
        let asked = config.other_config.get("vlan-limit");
        let drops_sampled = flag(&config.other_config, "explicit-sampled-drops", false);
        // More than there is room for is as many as there is room for.
        let limit = |text: &String| text.parse::<u32>().ok().map(|n| u8::try_from(n).unwrap_or(u8::MAX));
        let vlan_limit = asked.and_then(limit).unwrap_or(VLAN_LIMIT);
        for (kind, shared) in &mut self.shared {
            let bridges = self.bridges.values().filter(|b| b.datapath_type() == *kind);
            match shared.datapath.set_vlan_limit(vlan_limit) {
                Ok(true) => {
                    let Shared { datapath, switches } = &mut *shared;
                    bridges.clone().for_each(|b| switches.purge(b.place(), datapath.dpif_mut(), now));
                }
                Err(e) if asked.is_some() => {
                    problems.push(format!("{}: vlan-limit: {e}", shared.datapath.info().full_name()));
                }
                _ => {}
            }
            problems.extend(shared.datapath.set_limits(config.datapaths.get(*kind)));
            let (timeouts, not_done) = shared.datapath.set_timeouts(config.datapaths.get(*kind));
            problems.extend(not_done);
            patches::join(bridges.clone(), &mut shared.switches);
            for bridge in bridges {
                shared.switches.configure(bridge.place(), |of| {
                    of.set_bundle_idle_timeout(idle);
                    of.set_revalidator(revalidator);
                    if of.hooks().drops_sampled != drops_sampled {
                        of.hooks_changed(|hooks| hooks.drops_sampled = drops_sampled);
                    }
                    if *of.hooks().timeouts() != timeouts {
                        of.hooks_changed(|hooks| hooks.set_timeouts(timeouts.clone()));
                    }
                });
            }
            shared.settle(now);
            shared.datapath.forget_timeouts();
        }
        let used: BTreeSet<&str> = self.bridges.values().map(Bridge::datapath_type).collect();
        let unused: Vec<_> = self.shared.keys().copied().filter(|kind| !used.contains(kind)).collect();
        for shared in unused.into_iter().filter_map(|kind| self.shared.remove(kind)) {
            shared.datapath.remove(self.devices.as_mut());
        }
        self.shared.values_mut().for_each(|s| s.datapath.tidy());
        self.apply_threads(config);
        let kinds = config.datapaths.keys().filter_map(|kind| self.types.resolve(kind).err());
        problems.extend(kinds.map(|why| format!("datapaths: {why}")));
        if self.offload.is_enabled() {
            let outside = self.shared.values().map(|s| &s.datapath).filter(|d| d.is_outside());
            let names = outside.map(|d| d.info().full_name());
            problems.extend(names.map(|name| format!("{name}: hw-offload: not available for the kernel's megaflows")));
        }
        let problems = problems.join("; ");
        if self.problems != problems && !problems.is_empty() {
            // The row says it too, until it is mended.
            tracing::info!(target: "bridge", "Open_vSwitch: {problems}");
        }
        self.problems = problems;
    }

    /// Has the threads of datapaths be what `config` says.
    fn apply_threads(&mut self, config: &Config) {
        let topology = self.devices.machine().topology;
        if self.told_threads.as_ref() != Some(&config.other_config) {
            let handlers = threads::handlers(&config.other_config);
            self.shared.values_mut().for_each(|s| s.datapath.set_handlers(handlers));
            self.threads = threads::settings(&config.other_config, &topology);
            self.told_threads = Some(config.other_config.clone());
        }
        self.offload.read(&config.other_config);
        for datapath in self.shared.values_mut().map(|s| &mut s.datapath).chain(self.spare.values_mut()) {
            let kind = datapath.info().kind();
            if let Some(cards) = datapath.dpif_mut().offload_mut() {
                self.offload.apply(kind, cards);
            }
            if let Some(workers) = datapath.dpif_mut().workers_mut() {
                workers.configure(self.threads.clone());
            }
        }
        for bridge in self.bridges.values() {
            let Some(shared) = self.shared.get_mut(bridge.datapath_type()) else { continue };
            if let Some(cards) = shared.datapath.dpif_mut().offload_mut() {
                offload::prefer(bridge, cards);
            }
            let Some(workers) = shared.datapath.dpif_mut().workers_mut() else { continue };
            for (port, number) in bridge.ports().filter_map(|p| Some((p, p.datapath?))) {
                let list = port.interface().other_config.get("pmd-rxq-affinity");
                match list.map_or(Ok(Vec::new()), |list| threads::affinity(list)) {
                    Ok(pins) => drop(workers.pin(number, pins)),
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
                Err(why) => self.refuse(bridge, why),
            }
        }
        wanted
    }

    /// Says why a bridge is not there.
    fn refuse(&mut self, bridge: &BridgeConfig, why: String) {
        let name = &bridge.name;
        tracing::error!(target: "bridge", "failed to create bridge {name}: {why}");
        for interface in bridge.ports.iter().flat_map(|p| &p.interfaces) {
            self.errors.insert(interface.name.clone(), format!("bridge {name} is not there: {why}"));
        }
        self.refused.insert(name.clone(), why);
    }

    fn remove_bridge(&mut self, name: &str, now: Instant) {
        let Some(bridge) = self.bridges.remove(name) else { return };
        let Some(shared) = self.shared.get_mut(bridge.datapath_type()) else { return };
        shared.switches.remove(bridge.place(), shared.datapath.dpif_mut(), now);
        let ports: Vec<Gone> = bridge.ports().map(|p| (bridge.datapath_type(), p.name.clone(), p.datapath)).collect();
        ports.into_iter().for_each(|port| self.close(port));
    }

    /// Removes a port from its datapath, which does not send to it any more.
    fn close(&mut self, (kind, name, number): Gone) {
        let Some(number) = number else { return };
        if let Some(shared) = self.shared.get_mut(kind) {
            shared.datapath.remove_port(number);
        }
        self.devices.closed(&name);
    }

    fn remove_ports(&mut self, name: &str, config: &BridgeConfig, now: Instant) -> Vec<Gone> {
        let Some(bridge) = self.bridges.get_mut(name) else { return Vec::new() };
        let Some(shared) = self.shared.get_mut(bridge.datapath_type()) else { return Vec::new() };
        let local = local_interface(name);
        let wanted: BTreeMap<&str, (&str, Option<OfPort>)> = config
            .ports
            .iter()
            .flat_map(|p| &p.interfaces)
            .chain([&local])
            .map(|i| (i.name.as_str(), (effective_kind(name, i), requested(i))))
            .collect();
        let interfaces = config.ports.iter().flat_map(|p| &p.interfaces);
        let impossible = bridge.withdraw_tunnels(interfaces, shared, self.devices.as_ref());
        let there: BTreeSet<String> = shared.datapath.port_names();
        // A tunnel that is withdrawn needs no port of the datapath for now.
        let is_withdrawn = |p: &BridgePort| p.tunnel().is_some_and(|tunnel| tunnel.config().is_none());
        let request_of = |p: &BridgePort| wanted.get(p.name.as_str()).and_then(|(_, request)| *request);
        let is_wrong = |p: &BridgePort| {
            let kind = wanted.get(p.name.as_str()).map(|(kind, _)| *kind);
            // A port that the kernel's datapath made itself is one wherever it is moved to, out of sight.
            let may_hide = shared.datapath.is_outside() && p.kind == "internal";
            let is_gone = || !may_hide && self.devices.is_gone(&p.name);
            let has_vanished = || !there.contains(&p.datapath_name()) || is_gone();
            // A port that vanished from the datapath, or whose device did, is added again.
            kind != Some(p.configured_kind.as_str())
                || p.datapath.is_some() && !is_withdrawn(p) && has_vanished()
                || impossible.contains(&p.name)
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
        let kind = bridge.datapath_type();
        let removed = gone.into_iter().map(|port| {
            let number = bridge.remove_port(&port, shared, now);
            tracing::info!(target: "bridge", "bridge {name}: deleted interface {port}");
            (kind, port, number)
        });
        removed.collect()
    }

    fn apply_bridge(&mut self, name: &str, config: &BridgeConfig, kind: &'static str, now: Instant) {
        let devices = self.devices.as_mut();
        let shared = match self.shared.entry(kind) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(none) => {
                let (name, types, seed) = (format!("ovs-{kind}"), &self.types, self.seed);
                match SharedDatapath::new(kind, name, types, seed, devices, now) {
                    Ok(mut datapath) => {
                        // What makes no outer headers has no use for their ports.
                        let _ = datapath.dpif_mut().set_tunnel_sources(self.tunnel_sources.clone());
                        none.insert(Shared::new(datapath, &self.underlay))
                    }
                    Err(why) => return self.refuse(config, format!("datapath type {kind}: {why}")),
                }
            }
        };
        let is_new = !self.bridges.contains_key(name);
        if is_new {
            let Some(bridge) = Bridge::new(name, kind, shared) else {
                let why = format!("a datapath has room for {MAX_BRIDGES} bridges");
                tracing::error!(target: "bridge", "failed to create bridge {name}: {why}");
                self.refused.insert(name.to_string(), why);
                return;
            };
            self.bridges.insert(name.to_string(), bridge);
        }
        let Some(bridge) = self.bridges.get_mut(name) else { return };
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
                    bridge.apply_port(port, interface, effective_kind(name, interface), shared, devices, now)
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
        bridge.configure(config, shared, devices, is_new, now);
        bridge.meet_devices(shared, devices);
    }

    // Work.

    /// Takes what the ports received, forwards it, and does what is due. Returns how many packets it took: while that is
    /// not zero there may be more.
    pub fn run(&mut self, now: Instant) -> usize {
        let mut taken = 0;
        for shared in self.shared.values_mut() {
            taken += shared.poll(ROUNDS, now);
        }
        for datapath in self.spare.values_mut() {
            let mut upcalls = Vec::new();
            taken += datapath.poll(now, &mut upcalls);
            for upcall in upcalls {
                let drop = Resolution::Drop(DropReason::UnknownIngress);
                datapath.dpif_mut().resolve(upcall, drop, now, &mut Vec::new());
            }
        }
        self.shared.values_mut().for_each(|s| s.run(now));
        taken
    }

    /// As [`run`](Self::run), where it is known that nothing was received.
    pub fn tend(&mut self, now: Instant) -> usize {
        self.shared.values_mut().for_each(|s| s.run(now));
        0
    }

    /// Gives a port of a datapath within the process another number there. Its counters stay.
    ///
    /// # Errors
    /// If there is no such datapath or port, or the number is taken.
    pub fn renumber_port(&mut self, datapath: &str, name: &str, number: PortNo, now: Instant) -> Result<(), String> {
        let is_it =
            |s: &&mut Shared| [s.datapath.info().full_name().as_str(), s.datapath.info().name()].contains(&datapath);
        let shared = self.shared.values_mut().find(is_it).ok_or("unknown datapath")?;
        let kind = shared.datapath.info().kind();
        let mut bridges = self.bridges.values_mut().filter(|b| b.datapath_type() == kind);
        let bridge = bridges.find(|b| b.port(name).is_some_and(|p| p.datapath.is_some())).ok_or("unknown port")?;
        let Some(port) = bridge.ports.get_mut(name) else { return Err("unknown port".into()) };
        let Some(before) = port.datapath.filter(|_| !shared.datapath.is_outside()) else {
            return Err("the datapath is outside the process".into());
        };
        if shared.datapath.info().dpif().ports().map_err(|e| e.to_string())?.iter().any(|p| p.port == number) {
            return Err("port number in use".into());
        }
        let device = self.devices.open(port.kind, port.interface())?;
        shared.datapath.remove_port(before);
        self.devices.closed(name);
        port.datapath = Some(shared.datapath.add(device, Some(number)).map_err(|e| e.to_string())?);
        let changed = port.clone();
        bridge.publish(&changed, shared, self.devices.as_ref());
        shared.settle(now);
        Ok(())
    }

    /// Does what controllers asked of devices.
    pub fn obey_controllers(&mut self, now: Instant) {
        for bridge in self.bridges.values_mut() {
            if let Some(shared) = self.shared.get_mut(bridge.datapath_type()) {
                bridge.obey_controllers(shared, self.devices.as_mut(), now);
            }
        }
    }

    /// Takes note of what became of devices outside the process, if that may be ready, and of ports of datapaths there. What there is to do about
    /// it is for the caller, who has the configuration and the clock.
    pub fn hear_devices(&mut self, ready: &Ready) -> DeviceNews {
        let vanished = self.shared.values_mut().fold(false, |any, s| s.datapath.take_vanished() | any);
        let is_ready = self.devices.fd().is_none_or(|fd| ready.has(fd));
        let changed = if is_ready { self.devices.run() } else { BTreeSet::new() };
        if changed.is_empty() && !vanished {
            return DeviceNews::None;
        }
        self.fit_mtus();
        let is_wanted = |name: &String| self.errors.contains_key(name) || self.devices.is_gone(name);
        if vanished || changed.iter().any(is_wanted) { DeviceNews::Apply } else { DeviceNews::States }
    }

    /// Ends, to come back: what can be in the system without the program stays there, datapaths of the kernel with their
    /// ports and interfaces of the stack's own.
    pub fn leave(&mut self) {
        self.devices.leave();
        let bridges = std::mem::take(&mut self.bridges);
        self.shared.clear();
        self.spare.clear();
        let ports = bridges.values().flat_map(Bridge::ports).filter(|p| p.datapath.is_some());
        ports.for_each(|p| self.devices.closed(&p.name));
    }

    /// Tells controllers what became of devices. Call it when a device's state may have changed, and now and then.
    pub fn meet_devices(&mut self) {
        for bridge in self.bridges.values_mut() {
            if let Some(shared) = self.shared.get_mut(bridge.datapath_type()) {
                bridge.meet_devices(shared, self.devices.as_mut());
            }
        }
    }

    /// Has `f` do something with the switch that a bridge is, and its datapath. What follows from it is done when this
    /// returns.
    pub fn with_ofproto<T>(
        &mut self,
        bridge: &str,
        now: Instant,
        f: impl FnOnce(&mut Ofproto, &mut dyn Dpif) -> T,
    ) -> Option<T> {
        let bridge = self.bridges.get(bridge)?;
        let shared = self.shared.get_mut(bridge.datapath_type())?;
        shared.switches.change(bridge.place(), shared.datapath.dpif_mut(), now, f)
    }

    /// What would become of a packet that comes to a bridge; where `learns`, what it teaches is learnt.
    pub fn trace(&mut self, bridge: &str, request: &TraceRequest, learns: bool, now: Instant) -> Option<Trace> {
        let bridge = self.bridges.get(bridge)?;
        let shared = self.shared.get_mut(bridge.datapath_type())?;
        let dp = shared.datapath.dpif_mut();
        Some(match learns {
            true => shared.switches.trace_and_learn(bridge.place(), dp, request, now),
            false => shared.switches.trace(bridge.place(), dp, request),
        })
    }

    /// Reads the counters of all datapaths and makes all megaflows true, now.
    pub fn revalidate(&mut self, now: Instant) {
        self.shared.values_mut().for_each(|s| s.synchronise(now));
    }

    /// Removes every megaflow.
    pub fn purge(&mut self, now: Instant) {
        for bridge in self.bridges.values() {
            if let Some(shared) = self.shared.get_mut(bridge.datapath_type()) {
                shared.switches.purge(bridge.place(), shared.datapath.dpif_mut(), now);
            }
        }
    }

    /// How often all megaflows were gone through.
    pub fn rounds(&self) -> u64 {
        self.shared.values().flat_map(|s| s.switches.iter()).map(|(_, of)| of.rounds()).sum()
    }

    /// Takes note of how long it took to go through all megaflows: there may be as many as can be kept true in time.
    pub fn revalidation_took(&mut self, time: Duration) {
        for bridge in self.bridges.values() {
            if let Some(shared) = self.shared.get_mut(bridge.datapath_type()) {
                shared.switches.configure(bridge.place(), |of| of.revalidation_took(time));
            }
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

/// The number that an interface asks for.
fn requested(interface: &InterfaceConfig) -> Option<OfPort> {
    interface.ofport_request.filter(|n| settings::OFPORTS.contains(n)).map(|n| OfPort(n.into()))
}
