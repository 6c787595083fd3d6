//! A bridge as it is configured: its ports, its names and numbers, and its place among the switches of a datapath.
//!
//! What it does with packets and messages is the business of the switch in that place
//! ([`Ofproto`](ovs_ofproto::pipeline::Ofproto)); here is what tells that switch how it is to be.

use std::collections::BTreeMap;
use std::time::Duration;

use ovs_ofproto::codec::{Description, GroupMod, Message, MeterMod, Version, Versions};
use ovs_ofproto::pipeline::FailMode as TakeOver;
use ovs_ofproto::pipeline::{
    ALL_GROUPS, ALL_METERS, ConnectionConfig, ConnectionKind, DEFAULT_AGING, DEFAULT_MAC_LIMIT, L2Config, Ofproto,
    Snooping, SnoopingConfig, VISIBLE_TABLES,
};
use ovs_ofproto::{Action, FlowMod, FlowModCommand, Instructions};
use ovs_packet::{EthAddr, Instant, OfPort};

pub use super::ports::BridgePort;

use super::devices::Devices;
use super::keys;
use super::ports::{hash, set_address};
use super::settings::{of_table, problems};
use super::shared::Shared;
use crate::config::{BridgeConfig, ControllerConfig, FlowTableConfig};
use crate::switch::FailMode;

/// What is told of sets of collectors behind the datapath where it knows no such listeners.
const NO_LOCAL_SAMPLES: &str = "ignoring local sampling configuration: not supported by this datapath";

/// The versions of OpenFlow that the pipeline obeys.
const OBEYED: [Version; 6] = Version::KNOWN;

/// A bridge.
#[derive(Debug)]
pub struct Bridge {
    pub(super) name: String,
    kind: &'static str,
    /// Where its switch is among those that share the datapath.
    pub(super) place: usize,
    pub(super) ports: BTreeMap<String, BridgePort>,
    /// The last number that was given to a port that asked for none.
    pub(super) last_number: u32,
    /// When numbers were given up: one that was in use a while ago is not given again while there are others.
    pub(super) given_up: BTreeMap<u32, Instant>,
    address: EthAddr,
    datapath_id: u64,
    config: BridgeConfig,
    problems: Option<String>,
    has_default_flow: bool,
    has_controllers: bool,
    tables: BTreeMap<u8, FlowTableConfig>,
}

impl Bridge {
    /// A bridge with a switch among those that share a datapath. `None` if there are too many.
    pub(super) fn new(name: &str, kind: &'static str, shared: &mut Shared) -> Option<Bridge> {
        let mut of = Ofproto::new();
        of.set_name(name);
        // Who tests with dummies wants to see what upstream's do.
        of.set_slow_messages(shared.datapath.is_dummy());
        Some(Bridge {
            name: name.to_string(),
            kind,
            place: shared.switches.add(of)?,
            ports: BTreeMap::new(),
            last_number: 0,
            given_up: BTreeMap::new(),
            address: EthAddr::default(),
            datapath_id: 0,
            config: BridgeConfig::new(name),
            problems: None,
            has_default_flow: false,
            has_controllers: false,
            tables: BTreeMap::new(),
        })
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

    /// Its place among the switches that share the datapath.
    pub fn place(&self) -> usize {
        self.place
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
        self.datapath_id
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

    /// How many addresses it learns at most.
    pub fn mac_limit(&self) -> usize {
        let wanted = self.config.other_config.get("mac-table-size").and_then(|v| v.parse::<usize>().ok());
        wanted.map_or(DEFAULT_MAC_LIMIT, |n| n.clamp(10, 1_000_000))
    }

    // Configuration of the whole.

    pub(super) fn configure(
        &mut self,
        config: &BridgeConfig,
        shared: &mut Shared,
        devices: &mut dyn Devices,
        is_new: bool,
        now: Instant,
    ) {
        self.config = config.clone();
        self.address = self.pick_address(config, devices);
        let set =
            if self.ports.contains_key(&self.name) { set_address(devices, &self.name, self.address) } else { Ok(()) };
        let failed = set.err().map(|why| format!("the address {} of its local port: {why}", self.address));
        let assumed = shared.switches.get(self.place).and_then(Ofproto::assumed_features);
        let has_psample = assumed.unwrap_or(shared.datapath.info().dpif().features()).psample;
        let is_local = config.collectors.values().any(|c| c.local_group.is_some());
        let lacks = (!has_psample && is_local).then(|| NO_LOCAL_SAMPLES.to_string());
        let problems = problems(config).into_iter().chain(lacks).chain(failed).reduce(|a, b| format!("{a}; {b}"));
        let before = std::mem::replace(&mut self.problems, problems);
        if let Some(problems) = &self.problems
            && self.problems != before
        {
            // The row says it too, until it is mended.
            tracing::info!(target: "bridge", "bridge {}: {problems}", self.name);
        }
        let id = config.datapath_id().unwrap_or_else(|| number_of(self.address));
        if is_new {
            tracing::info!(target: "bridge", "bridge {}: using datapath ID {id:016x}", self.name);
        }
        self.datapath_id = id;
        let limit = self.mac_limit();
        shared.switches.configure(self.place, |of| {
            of.set_datapath_id(id);
            of.set_description(description(config));
            configure_normal(of, config, limit);
            if *of.hooks().collectors() != config.collectors {
                of.hooks_changed(|hooks| hooks.set_collectors(config.collectors.clone()));
            }
            configure_tables(of, config, &self.tables, now);
        });
        self.tables = config.tables.clone();
        let has_controllers = config.controllers.iter().any(ControllerConfig::is_primary);
        if has_controllers != std::mem::replace(&mut self.has_controllers, has_controllers) {
            // What one who is responsible no more has set up is nobody's.
            self.clear(shared, now);
        }
        self.set_fail_mode(config, shared, now);
        // Upstream waits for three times the probe interval before it takes over.
        let after = Duration::from_secs(15);
        let mode = match config.fail_mode {
            FailMode::Standalone if has_controllers => TakeOver::Standalone { after },
            _ => TakeOver::Secure,
        };
        shared.switches.configure(self.place, |of| of.set_fail_mode(mode));
    }

    /// Removes all flows, groups and meters, as a controller would.
    fn clear(&mut self, shared: &mut Shared, now: Instant) {
        let mut config = ConnectionConfig::new(Version::V1_3);
        config.kind = ConnectionKind::Service;
        let mut flows = FlowMod::default();
        flows.command = FlowModCommand::Delete;
        flows.table = ovs_ofproto::ALL_TABLES;
        let mut groups = GroupMod::default();
        // The numbers of the commands are the same in all versions (OFPGC_DELETE, OFPMC_DELETE).
        groups.command = 2;
        groups.desc.group = ALL_GROUPS;
        let mut meters = MeterMod::default();
        meters.command = 2;
        meters.config.meter = ALL_METERS;
        let messages = [Message::from(flows), Message::GroupMod(Box::new(groups)), Message::MeterMod(meters)];
        shared.switches.change(self.place, shared.datapath.dpif_mut(), now, |of, dp| {
            let own = of.connect(&config);
            for bytes in messages.iter().filter_map(|m| m.encode(Version::V1_3, 0).ok()) {
                // One message after the other never is too many.
                let _ = of.handle_message(dp, own, &bytes, now);
                of.finish(dp, now);
            }
            of.disconnect(own);
        });
        self.has_default_flow = false;
    }

    /// A bridge without controllers that is to stand alone has one flow, which forwards as a learning switch.
    fn set_fail_mode(&mut self, config: &BridgeConfig, shared: &mut Shared, now: Instant) {
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
            flow.command = FlowModCommand::DeleteStrict;
            flow.table = 0;
        }
        let dp = shared.datapath.dpif_mut();
        if let Some(Err(e)) = shared.switches.change(self.place, dp, now, |of, dp| of.flow_mod(dp, &flow, now)) {
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
        let addresses = others.filter_map(|p| p.attributes(devices)?.address);
        let is_global = |a: &EthAddr| !a.is_multicast() && a.0[0] & 2 == 0 && !is_zero(a);
        addresses.filter(is_global).min().unwrap_or_else(|| EthAddr::local(hash(&self.name)))
    }
}

/// What the switch says of itself: `other_config:dp-desc` and `dp-sn` where they are.
fn description(config: &BridgeConfig) -> Description {
    let mut description = Ofproto::usual_description();
    let said = |key: &str| config.other_config.get(key).cloned();
    description.datapath = said("dp-desc").unwrap_or(description.datapath);
    description.serial = said("dp-sn").unwrap_or(description.serial);
    description
}

/// What the NORMAL action does.
fn configure_normal(of: &mut Ofproto, config: &BridgeConfig, mac_limit: usize) {
    let number = |key: &str| config.other_config.get(key).and_then(|v| v.parse::<u64>().ok());
    let is_on = |key: &str| keys::flag(&config.other_config, key, false);
    let mut l2 = L2Config::default();
    l2.forward_bpdu = is_on("forward-bpdu");
    l2.flood_vlans = config.flood_vlans.iter().copied().collect();
    if *of.l2() != l2 {
        of.set_l2(l2);
    }
    let aging = number("mac-aging-time").map_or(DEFAULT_AGING, |s| Duration::from_secs(s.clamp(15, 3600)));
    of.macs_mut().configure(mac_limit, aging);
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
    if of.snooping().map(Snooping::config) != snooping.as_ref() {
        of.set_snooping(snooping);
    }
}

/// The tables that are set up otherwise than before.
fn configure_tables(of: &mut Ofproto, config: &BridgeConfig, before: &BTreeMap<u8, FlowTableConfig>, now: Instant) {
    for table in (0..VISIBLE_TABLES).filter_map(|n| u8::try_from(n).ok()) {
        let wanted = config.tables.get(&table);
        if wanted != before.get(&table) {
            of.configure_table(table, wanted.map(of_table).unwrap_or_default(), now);
        }
    }
}

fn number_of(address: EthAddr) -> u64 {
    address.0.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}
