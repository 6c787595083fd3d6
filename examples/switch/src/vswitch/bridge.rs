//! A bridge: an OpenFlow switch, its ports, and the datapath that is lent to it.

use std::collections::BTreeMap;
use std::time::Duration;

use ovs_dpif::connections::{Filter, TupleFilter};
use ovs_dpif::{Dpif, DpifError, PortNo, Upcall};
use ovs_ofproto::codec::{CtFlush, CtTuple, GroupMod, Message, MeterMod, Version, Versions};
use ovs_ofproto::pipeline::FailMode as TakeOver;
use ovs_ofproto::pipeline::{
    ALL_GROUPS, ALL_METERS, ConnectionConfig, ConnectionId, ConnectionKind, DEFAULT_AGING, DEFAULT_MAC_LIMIT, Event,
    Flow, L2Config, MacTable, Ofproto, Output, Overrun, Port, PortConfig as PortState, PriorityTags, Queue, Snooping,
    SnoopingConfig, TableConfig, Trace, TraceRequest, VISIBLE_TABLES, VlanMode,
};
use ovs_ofproto::session::Role;
use ovs_ofproto::{Action, FlowMod, Instructions, Subfield};
use ovs_packet::field::FieldId;
use ovs_packet::{EthAddr, FlowKey, Instant, Match, OfPort};

use super::datapath::SharedDatapath;
use super::devices::Devices;
use crate::config::{BridgeConfig, ControllerConfig, FlowTableConfig, InterfaceConfig, PortConfig};
use crate::switch::FailMode;

/// Numbers that ports get without asking are below this.
const MAX_AUTOMATIC: u32 = 32_768;

/// The versions of OpenFlow that the pipeline obeys.
const OBEYED: [Version; 6] = Version::KNOWN;

/// A port of a bridge.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BridgePort {
    /// Its name.
    pub name: String,
    /// Its number in OpenFlow.
    pub number: OfPort,
    /// Its number in the datapath.
    pub datapath: PortNo,
    /// The kind of its device.
    pub kind: &'static str,
    /// The kind that was asked for.
    pub configured_kind: String,
    interface: InterfaceConfig,
    settings: Settings,
    created: Instant,
}

/// What a port is to be in its bridge, whatever its device is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    vlan: VlanMode,
    priority_tags: PriorityTags,
    protected: bool,
    flood_groups: bool,
    flood_reports: bool,
}

impl Settings {
    fn of(port: &PortConfig) -> Result<Settings, String> {
        let is_on = |key: &str| port.other_config.get(key).is_some_and(|v| v == "true");
        let tags = port.other_config.get("priority-tags").map_or("no", String::as_str);
        let priority_tags = match tags {
            "no" | "never" | "false" => PriorityTags::Never,
            "if-nonzero" | "true" => PriorityTags::IfNonzero,
            "always" => PriorityTags::Always,
            other => return Err(format!("port {}: priority-tags {other}: not never, if-nonzero or always", port.name)),
        };
        Ok(Settings {
            vlan: port.vlan()?,
            priority_tags,
            protected: port.protected,
            flood_groups: is_on("mcast-snooping-flood"),
            flood_reports: is_on("mcast-snooping-flood-reports"),
        })
    }
}

impl BridgePort {
    /// The configuration of its interface.
    pub fn interface(&self) -> &InterfaceConfig {
        &self.interface
    }
}

/// A bridge.
#[derive(Debug)]
pub struct Bridge {
    name: String,
    kind: &'static str,
    of: Ofproto,
    ports: BTreeMap<String, BridgePort>,
    by_datapath: BTreeMap<PortNo, String>,
    /// The last number that was given to a port that asked for none.
    last_number: u32,
    /// When numbers were given up: one that was in use a while ago is not given again while there are others.
    given_up: BTreeMap<u32, Instant>,
    address: EthAddr,
    config: BridgeConfig,
    problems: Option<String>,
    has_default_flow: bool,
    has_controllers: bool,
    tables: BTreeMap<u8, FlowTableConfig>,
}

/// How long a number rests before it is given to another port.
const REST: Duration = Duration::from_secs(3600);

impl Bridge {
    pub(super) fn new(name: &str, kind: &'static str) -> Bridge {
        let mut of = Ofproto::new();
        of.set_name(name);
        Bridge {
            name: name.to_string(),
            kind,
            of,
            ports: BTreeMap::new(),
            by_datapath: BTreeMap::new(),
            last_number: 0,
            given_up: BTreeMap::new(),
            address: EthAddr::default(),
            config: BridgeConfig::new(name),
            problems: None,
            has_default_flow: false,
            has_controllers: false,
            tables: BTreeMap::new(),
        }
    }

    // Queries.

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its datapath.
    pub fn datapath_type(&self) -> &'static str {
        self.kind
    }

    /// How it is configured.
    pub fn config(&self) -> &BridgeConfig {
        &self.config
    }

    /// The versions of OpenFlow that it speaks: those that are configured and obeyed.
    pub fn versions(&self) -> Versions {
        let configured = self.config.versions();
        OBEYED.into_iter().filter(|v| configured.contains(*v)).collect()
    }

    /// The number that controllers know it by.
    pub fn datapath_id(&self) -> u64 {
        self.of.datapath_id()
    }

    /// The address of its local port.
    pub fn address(&self) -> EthAddr {
        self.address
    }

    /// Its ports, by name.
    pub fn ports(&self) -> impl Iterator<Item = &BridgePort> {
        self.ports.values()
    }

    /// A port.
    pub fn port(&self, name: &str) -> Option<&BridgePort> {
        self.ports.get(name)
    }

    /// What of its configuration is not done.
    pub fn problems(&self) -> Option<&str> {
        self.problems.as_deref()
    }

    /// Its flows.
    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        self.of.flows()
    }

    /// The addresses that it has learnt.
    pub fn macs(&self) -> &MacTable {
        self.of.macs()
    }

    pub(super) fn has_datapath_port(&self, port: PortNo) -> bool {
        self.by_datapath.contains_key(&port)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.of.next_deadline()
    }

    // Ports.

    /// Makes a port what it is to be. Nothing if that is all done; a text if part of it is not.
    pub(super) fn apply_port(
        &mut self,
        port: &PortConfig,
        interface: &InterfaceConfig,
        kind: &str,
        datapath: &mut SharedDatapath,
        devices: &mut dyn Devices,
        now: Instant,
    ) -> Result<Option<String>, String> {
        let settings = Settings::of(port)?;
        let opened = match (kind, datapath.is_dummy()) {
            ("internal", true) => "dummy-internal",
            (kind, _) => kind,
        };
        if let Some(there) = self.ports.get_mut(&interface.name) {
            if there.interface != *interface {
                devices.configure(opened, interface)?;
                there.interface = interface.clone();
            }
            if there.settings != settings {
                there.settings = settings;
                let changed = there.clone();
                self.publish(&changed, devices);
            }
        } else {
            self.add_port(interface, kind, opened, settings, datapath, devices, now)?;
        }
        if kind == "internal"
            && interface.name != self.name
            && let Some(mac) = interface.mac
        {
            set_address(devices, &interface.name, mac);
        } else if interface.name == self.name && interface.mac.is_some() {
            let name = &interface.name;
            tracing::error!(
                target: "bridge",
                "interface {name}: ignoring mac in Interface record (use Bridge record to set local port's mac)"
            );
        }
        Ok(left_out(port, interface))
    }

    #[expect(clippy::too_many_arguments, reason = "what a port is made of, taken apart by the only caller")]
    fn add_port(
        &mut self,
        interface: &InterfaceConfig,
        kind: &str,
        opened: &str,
        settings: Settings,
        datapath: &mut SharedDatapath,
        devices: &mut dyn Devices,
        now: Instant,
    ) -> Result<(), String> {
        let name = &interface.name;
        let fail = |e: String| format!("could not open network device {name} ({e})");
        if ["ovs-netdev", "ovs-dummy", "ovs-system"].contains(&name.as_str()) {
            return Err(format!("could not create interface {name}, name is reserved"));
        }
        let device = devices.open(opened, interface).map_err(fail)?;
        let device_kind = device.kind();
        let number = match datapath.add(device, None) {
            Ok(number) => number,
            Err(e) => {
                devices.closed(name);
                return Err(format!("could not add network device {name} to ofproto ({e})"));
            }
        };
        let port = BridgePort {
            name: name.clone(),
            number: self.pick_number(interface, now),
            datapath: number,
            kind: device_kind,
            configured_kind: kind.to_string(),
            interface: interface.clone(),
            settings,
            created: now,
        };
        self.publish(&port, devices);
        let shown = port.number.to_16().unwrap_or(u16::MAX);
        tracing::info!(target: "bridge", "bridge {}: added interface {name} on port {shown}", self.name);
        self.by_datapath.insert(number, name.clone());
        self.ports.insert(name.clone(), port);
        Ok(())
    }

    /// Tells the pipeline of a port.
    fn publish(&mut self, port: &BridgePort, devices: &dyn Devices) {
        let mut described = Port::new(port.number, port.datapath, port.name.clone());
        let settings = port.settings.clone();
        (described.vlan, described.priority_tags) = (settings.vlan, settings.priority_tags);
        (described.protected, described.flood_groups) = (settings.protected, settings.flood_groups);
        described.flood_reports = settings.flood_reports;
        described.created = port.created;
        if port.kind.starts_with("dummy") {
            // Such a device has one queue, always.
            described.queues.insert(0, Queue::default());
        }
        if let Some(known) = devices.attributes(&port.name) {
            described.hw_addr = known.address.unwrap_or_default();
            described.link_up = known.carrier;
            if !known.up {
                described.config |= PortState::DOWN;
            }
        }
        self.of.port_add(described);
    }

    fn pick_number(&mut self, interface: &InterfaceConfig, now: Instant) -> OfPort {
        if interface.name == self.name {
            return OfPort::LOCAL;
        }
        let used: std::collections::BTreeSet<u32> = self.ports.values().map(|p| p.number.0).collect();
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

    pub(super) fn remove_port(&mut self, name: &str, datapath: &mut SharedDatapath, now: Instant) {
        let Some(port) = self.ports.remove(name) else { return };
        self.by_datapath.remove(&port.datapath);
        self.given_up.insert(port.number.0, now);
        self.of.port_remove(port.number);
        self.of.run(datapath.dpif_mut(), now);
        // It may have vanished from the datapath before.
        let _ = datapath.dpif_mut().port_del(port.datapath);
    }

    // Configuration of the whole.

    pub(super) fn configure(
        &mut self,
        config: &BridgeConfig,
        datapath: &mut SharedDatapath,
        devices: &mut dyn Devices,
        is_new: bool,
        now: Instant,
    ) {
        self.config = config.clone();
        let before = std::mem::replace(&mut self.problems, problems(config));
        if let Some(problems) = &self.problems
            && self.problems != before
        {
            tracing::warn!(target: "bridge", "bridge {}: {problems}", self.name);
        }
        self.address = self.pick_address(config, devices);
        if self.ports.contains_key(&self.name) {
            set_address(devices, &self.name, self.address);
        }
        let id = config.datapath_id().unwrap_or_else(|| number_of(self.address));
        if is_new {
            tracing::info!(target: "bridge", "bridge {}: using datapath ID {id:016x}", self.name);
        }
        self.of.set_datapath_id(id);
        self.configure_normal(config);
        self.configure_tables(config, now);
        let has_controllers = config.controllers.iter().any(ControllerConfig::is_primary);
        if has_controllers != std::mem::replace(&mut self.has_controllers, has_controllers) {
            // What one who is responsible no more has set up is nobody's.
            self.clear(datapath, now);
        }
        self.set_fail_mode(config, datapath, now);
        // Upstream waits for three times the probe interval before it takes over.
        let after = Duration::from_secs(15);
        self.of.set_fail_mode(match config.fail_mode {
            FailMode::Standalone if has_controllers => TakeOver::Standalone { after },
            _ => TakeOver::Secure,
        });
    }

    /// Lets controllers' bundles be idle for so long, or for the default.
    pub(super) fn set_bundle_idle_timeout(&mut self, idle: Option<Duration>) {
        self.of.set_bundle_idle_timeout(idle);
    }

    /// What the NORMAL action does.
    fn configure_normal(&mut self, config: &BridgeConfig) {
        let number = |key: &str| config.other_config.get(key).and_then(|v| v.parse::<u64>().ok());
        let is_on = |key: &str| config.other_config.get(key).is_some_and(|v| v == "true");
        let mut l2 = L2Config::default();
        l2.forward_bpdu = is_on("forward-bpdu");
        l2.flood_vlans = config.flood_vlans.iter().copied().collect();
        if *self.of.l2() != l2 {
            self.of.set_l2(l2);
        }
        let aging = number("mac-aging-time").map_or(DEFAULT_AGING, |s| Duration::from_secs(s.clamp(15, 3600)));
        let limit = self.mac_limit();
        self.of.macs_mut().configure(limit, aging);
        let snooping = config.mcast_snooping_enable.then(|| {
            let mut snooping = SnoopingConfig::default();
            if let Some(groups) = number("mcast-snooping-table-size") {
                snooping.groups = groups.clamp(10, 1_000_000) as usize;
            }
            if let Some(aging) = number("mcast-snooping-aging-time") {
                snooping.aging = Duration::from_secs(aging.clamp(15, 3600));
            }
            snooping.flood_unregistered = !is_on("mcast-snooping-disable-flood-unregistered");
            snooping
        });
        if self.of.snooping().map(Snooping::config) != snooping.as_ref() {
            self.of.set_snooping(snooping);
        }
    }

    fn configure_tables(&mut self, config: &BridgeConfig, now: Instant) {
        for table in 0..VISIBLE_TABLES {
            let Ok(table) = u8::try_from(table) else { break };
            let wanted = config.tables.get(&table);
            if wanted != self.tables.get(&table) {
                self.of.configure_table(table, wanted.map(of_table).unwrap_or_default(), now);
            }
        }
        self.tables = config.tables.clone();
    }

    /// Removes all flows, groups and meters, as a controller would.
    fn clear(&mut self, datapath: &mut SharedDatapath, now: Instant) {
        let mut config = ConnectionConfig::new(Version::V1_3);
        config.kind = ConnectionKind::Service;
        let own = self.of.connect(&config);
        let mut flows = FlowMod::default();
        flows.command = ovs_ofproto::FlowModCommand::Delete;
        flows.table = ovs_ofproto::ALL_TABLES;
        let mut groups = GroupMod::default();
        // The numbers of the commands are the same in all versions (OFPGC_DELETE, OFPMC_DELETE).
        groups.command = 2;
        groups.desc.group = ALL_GROUPS;
        let mut meters = MeterMod::default();
        meters.command = 2;
        meters.config.meter = ALL_METERS;
        for message in [Message::from(flows), Message::GroupMod(Box::new(groups)), Message::MeterMod(meters)] {
            if let Ok(bytes) = message.encode(Version::V1_3, 0) {
                // One message after the other never is too many.
                let _ = self.of.handle_message(datapath.dpif_mut(), own, &bytes, now);
            }
        }
        self.of.disconnect(own);
        self.has_default_flow = false;
    }

    /// A bridge without controllers that is to stand alone has one flow, which forwards as a learning switch.
    fn set_fail_mode(&mut self, config: &BridgeConfig, datapath: &mut SharedDatapath, now: Instant) {
        let wanted = config.fail_mode == FailMode::Standalone && !self.has_controllers;
        if wanted == self.has_default_flow {
            return;
        }
        self.has_default_flow = wanted;
        let mut flow = FlowMod::default();
        flow.priority = 0;
        if wanted {
            flow.instructions = Instructions::apply(vec![Action::output(OfPort::NORMAL)]);
        } else {
            flow.command = ovs_ofproto::FlowModCommand::DeleteStrict;
            flow.table = 0;
        }
        if let Err(e) = self.of.flow_mod(datapath.dpif_mut(), &flow, now) {
            tracing::error!(target: "bridge", "bridge {}: the flow of its fail mode is refused: {e}", self.name);
        }
    }

    /// `other_config:hwaddr`, or the least global address of its ports, or one that is made from its name.
    fn pick_address(&self, config: &BridgeConfig, devices: &dyn Devices) -> EthAddr {
        let is_zero = |a: &EthAddr| *a == EthAddr::default();
        if let Some(address) = config.other_config.get("hwaddr").and_then(|a| a.parse::<EthAddr>().ok()) {
            if address.is_multicast() {
                tracing::error!(
                    target: "bridge", "bridge {}: cannot set MAC address to multicast address {address}", self.name
                );
            } else if is_zero(&address) {
                tracing::error!(target: "bridge", "bridge {}: cannot set MAC address to zero", self.name);
            } else {
                return address;
            }
        }
        let others = self.ports.values().filter(|p| p.number != OfPort::LOCAL);
        let addresses = others.filter_map(|p| devices.attributes(&p.name)?.address);
        let is_global = |a: &EthAddr| !a.is_multicast() && a.0[0] & 2 == 0 && !is_zero(a);
        addresses.filter(is_global).min().unwrap_or_else(|| {
            // Stable from one run to the next, as a datapath's number should be.
            let hash = self
                .name
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
            EthAddr::local(hash & 0x3fff_ffff_ffff)
        })
    }

    // Work: the seam to the pipeline.

    pub(super) fn handle_upcall(&mut self, datapath: &mut SharedDatapath, upcall: Upcall, now: Instant) {
        self.of.handle_upcall(datapath.dpif_mut(), upcall, now);
    }

    pub(super) fn run(&mut self, datapath: &mut SharedDatapath, now: Instant) {
        self.of.run(datapath.dpif_mut(), now);
    }

    /// Takes note of somebody who has said hello.
    pub fn connect(&mut self, config: &ConnectionConfig) -> ConnectionId {
        self.of.connect(config)
    }

    /// Forgets a connection.
    pub fn disconnect(&mut self, connection: ConnectionId) {
        self.of.disconnect(connection);
    }

    /// Whether messages of a connection are looked at now.
    pub fn wants_input(&self, connection: ConnectionId) -> bool {
        self.of.wants_input(connection)
    }

    /// The role of a controller.
    pub fn role(&self, connection: ConnectionId) -> Role {
        self.of.role(connection)
    }

    /// Obeys a message.
    ///
    /// # Errors
    /// If too many wait: the connection must be closed.
    pub fn handle_message(
        &mut self,
        dp: &mut dyn Dpif,
        connection: ConnectionId,
        message: &[u8],
        now: Instant,
    ) -> Result<(), Overrun> {
        self.of.handle_message(dp, connection, message, now)
    }

    /// The next message for a connection.
    pub fn poll_output(&mut self, dp: &mut dyn Dpif, connection: ConnectionId, now: Instant) -> Option<Output> {
        self.of.poll_output(dp, connection, now)
    }

    /// Does what controllers asked of devices.
    pub(super) fn obey_controllers(&mut self, dp: &mut dyn Dpif, devices: &mut dyn Devices, now: Instant) {
        while let Some(event) = self.of.poll_event() {
            match event {
                Event::PortConfig(number) => {
                    let Some(port) = self.of.port(number) else { continue };
                    let (name, up) = (port.name.clone(), !port.config.contains(PortState::DOWN));
                    if let Err(e) = devices.set_up(&name, up) {
                        tracing::warn!(target: "bridge", "{name}: {e}");
                    }
                    if let Some(port) = self.ports.get(&name).cloned() {
                        self.publish(&port, devices);
                    }
                }
                Event::FlushConnections(which) => {
                    let flushed = match dp.conntrack() {
                        Some(connections) => connections.flush(&filter(&which), now).map(drop),
                        None => Err(DpifError::Unsupported("connection tracking")),
                    };
                    if let Err(e) = flushed {
                        tracing::warn!(target: "ofproto", "{}: connections are not flushed: {e}", self.name);
                    }
                }
                // Those who are connected were told.
                _ => {}
            }
        }
    }

    /// Has controllers know what became of devices.
    pub(super) fn meet_devices(&mut self, devices: &mut dyn Devices) {
        let ports: Vec<BridgePort> = self.ports.values().cloned().collect();
        for port in ports {
            let Some(known) = devices.attributes(&port.name) else { continue };
            let is_news = self
                .of
                .port(port.number)
                .is_some_and(|p| p.link_up != known.carrier || known.address.is_some_and(|a| a != p.hw_addr));
            if is_news {
                self.publish(&port, devices);
            }
        }
    }

    /// A packet in words, as a trace is asked of it.
    ///
    /// # Errors
    /// What is wrong with its tunnel's options, in a line.
    pub fn key_of(&self, m: &Match) -> Result<FlowKey, String> {
        self.of.key_of(m).map_err(|e| e.to_string())
    }

    /// What would become of a packet.
    pub fn trace(&mut self, dp: &dyn Dpif, request: &TraceRequest) -> Trace {
        self.of.trace(dp, request)
    }

    /// The same, and what the packet teaches is learnt.
    pub fn trace_and_learn(&mut self, dp: &mut dyn Dpif, request: &TraceRequest, now: Instant) -> Trace {
        self.of.trace_and_learn(dp, request, now)
    }

    /// The learnt addresses, to be changed.
    pub fn macs_mut(&mut self) -> &mut MacTable {
        self.of.macs_mut()
    }

    /// How many addresses it learns at most.
    pub fn mac_limit(&self) -> usize {
        let wanted = self.config.other_config.get("mac-table-size").and_then(|v| v.parse::<usize>().ok());
        wanted.map_or(DEFAULT_MAC_LIMIT, |n| n.clamp(10, 1_000_000))
    }

    /// Who listens to which group addresses, if that is snooped.
    pub fn snooping_mut(&mut self) -> Option<&mut Snooping> {
        self.of.snooping_mut()
    }

    /// Forgets all learnt addresses.
    pub fn flush_macs(&mut self) {
        self.of.flush_macs();
    }

    /// Reads the datapath's counters and makes all megaflows true, now.
    pub fn revalidate(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.of.synchronise(dp, now);
    }

    /// Removes every megaflow of the bridge.
    pub fn purge(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.of.purge(dp, now);
    }
}

fn set_address(devices: &mut dyn Devices, name: &str, address: EthAddr) {
    let result = if address.is_multicast() {
        Err("it is a multicast address".to_string())
    } else if address == EthAddr::default() {
        Err("it is zero".to_string())
    } else {
        devices.set_address(name, address)
    };
    if let Err(e) = result {
        tracing::error!(target: "bridge", "interface {name}: setting MAC failed ({e})");
    }
}

fn number_of(address: EthAddr) -> u64 {
    address.0.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// Which connections a controller wants forgotten.
fn filter(which: &CtFlush) -> Filter {
    let way = |tuple: &CtTuple| {
        let (is_icmp, (id, kind, code)) = (which.is_icmp(), tuple.icmp);
        let port = |port: u16| Some(port).filter(|port| *port != 0 && !is_icmp);
        TupleFilter {
            src: tuple.src,
            dst: tuple.dst,
            proto: Some(which.protocol).filter(|p| *p != 0),
            src_port: port(tuple.src_port),
            dst_port: port(tuple.dst_port),
            icmp_id: Some(id).filter(|id| *id != 0 && is_icmp),
            icmp_type: Some(kind).filter(|kind| *kind != 0 && is_icmp),
            icmp_code: Some(code).filter(|code| *code != 0 && is_icmp),
        }
    };
    Filter {
        zone: which.zone,
        mark: which.mark,
        label: which.labels,
        original: way(&which.original),
        reply: way(&which.reply),
    }
}

/// Keys of `other_config` that are obeyed, by table. Those of protocols and of bonds are told where these are asked for.
const PORT_KEYS: &[&str] =
    &["mcast-snooping-flood", "mcast-snooping-flood-reports", "priority-tags", "qinq-ethtype", "transient"];
const BRIDGE_KEYS: &[&str] = &[
    "datapath-id",
    // No flows of its own are what a bridge has.
    "disable-in-band",
    "forward-bpdu",
    "hwaddr",
    "mac-aging-time",
    "mac-table-size",
    "mcast-snooping-aging-time",
    "mcast-snooping-disable-flood-unregistered",
    "mcast-snooping-table-size",
];

/// Keys that are not obeyed.
pub(super) fn unknown(settings: &crate::config::Settings, known: &[&str]) -> impl Iterator<Item = String> {
    settings.keys().filter(|key| !known.contains(&key.as_str())).map(|key| format!("other_config:{key}"))
}

fn not_available(what: &[String]) -> Option<String> {
    (!what.is_empty()).then(|| format!("not available: {}", what.join(", ")))
}

/// What of a port's configuration is not done though the port is there.
fn left_out(port: &PortConfig, interface: &InterfaceConfig) -> Option<String> {
    let columns = port.others.iter().chain(&interface.others).map(|c| c.to_string());
    let keys = unknown(&port.other_config, PORT_KEYS).chain(unknown(&interface.other_config, &["pmd-rxq-affinity"]));
    not_available(&columns.chain(keys).collect::<Vec<_>>())
}

/// What of a bridge's configuration is not done though the bridge is there.
fn problems(config: &BridgeConfig) -> Option<String> {
    let mut what: Vec<String> = config.others.iter().map(|c| c.to_string()).collect();
    for (is_wanted, name) in [(config.stp_enable, "stp_enable"), (config.rstp_enable, "rstp_enable")] {
        if is_wanted {
            what.push(name.into());
        }
    }
    // How a protocol is to run that is not to run is nothing to be done.
    let keys = unknown(&config.other_config, BRIDGE_KEYS);
    what.extend(keys.filter(|key| !key.contains(":stp-") && !key.contains(":rstp-")));
    for controller in &config.controllers {
        what.extend(controller.others.iter().map(|column| format!("{column} of controller {}", controller.target)));
    }
    let mut all: Vec<String> = not_available(&what).into_iter().collect();
    for (number, table) in &config.tables {
        let groups = table.groups.iter().filter(|text| subfield(text).is_none()).map(|text| ("groups", text));
        let prefixes = table.prefixes.iter().flatten().filter(|text| FieldId::by_name(text).is_none());
        let prefixes = prefixes.map(|text| ("prefixes", text));
        all.extend(
            groups.chain(prefixes).map(|(column, text)| format!("flow table {number}: {column}: {text} is no field")),
        );
    }
    (!all.is_empty()).then(|| all.join("; "))
}

/// What of a table's configuration the pipeline is told.
fn of_table(config: &FlowTableConfig) -> TableConfig {
    let mut table = TableConfig::default();
    table.name = config.name.clone();
    table.limit = config.flow_limit;
    // Fields that are none are said by `problems`.
    table.evict_by = config.evict.then(|| config.groups.iter().filter_map(|g| subfield(g)).collect());
    table.prefixes = config.prefixes.as_ref().map(|names| names.iter().filter_map(|n| FieldId::by_name(n)).collect());
    table
}

/// A field or a part of one, as the column `groups` has it: `NXM_OF_IN_PORT[]`.
fn subfield(text: &str) -> Option<Subfield> {
    let ovs_packet::field::Subfield { field, offset, bits } = text.parse().ok()?;
    Some(Subfield { field, offset, bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_done_is_told() {
        let mut bridge = BridgeConfig::new("br0");
        assert_eq!(problems(&bridge), None);
        for key in ["hwaddr", "stp-priority", "dp-desc"] {
            bridge.other_config.insert(key.into(), "x".into());
        }
        let mut controller = ControllerConfig { target: "tcp:192.0.2.1".into(), ..ControllerConfig::default() };
        controller.others = vec!["connection_mode:in-band"];
        bridge.controllers.push(controller);
        let table = FlowTableConfig {
            groups: vec!["NXM_OF_IN_PORT[]".into(), "colour[]".into()],
            prefixes: Some(vec!["ip_dst".into(), "taste".into()]),
            ..FlowTableConfig::default()
        };
        bridge.tables.insert(3, table);
        assert_eq!(
            problems(&bridge).unwrap(),
            "not available: other_config:dp-desc, connection_mode:in-band of controller tcp:192.0.2.1; \
             flow table 3: groups: colour[] is no field; flow table 3: prefixes: taste is no field"
        );
        let mut port = PortConfig::new("p1");
        port.other_config.insert("priority-tags".into(), "always".into());
        let mut interface = InterfaceConfig::new("p1");
        assert_eq!(left_out(&port, &interface), None);
        port.others.push("qos");
        port.other_config.insert("lacp-time".into(), "fast".into());
        interface.others.push("ingress_policing_rate");
        interface.other_config.insert("emc-enable".into(), "false".into());
        assert_eq!(
            left_out(&port, &interface).unwrap(),
            "not available: qos, ingress_policing_rate, other_config:lacp-time, other_config:emc-enable"
        );
    }

    #[test]
    fn what_controllers_want_forgotten() {
        let mut which = CtFlush::default();
        assert_eq!(filter(&which), Filter::default());
        (which.zone, which.protocol) = (Some(5), 1);
        which.original.icmp = (7, 8, 0);
        which.original.src_port = 9;
        let asked = filter(&which);
        assert_eq!((asked.zone, asked.original.proto, asked.original.src_port), (Some(5), Some(1), None));
        assert_eq!(
            (asked.original.icmp_id, asked.original.icmp_type, asked.original.icmp_code),
            (Some(7), Some(8), None)
        );
        (which.protocol, which.original.icmp) = (17, (0, 0, 0));
        assert_eq!(filter(&which).original.src_port, Some(9));
    }
}
