//! The switch itself.

mod fail_mode;
mod in_band;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ovs_dpif::netdev::NetdevStats;
use ovs_dpif::{Cookie, Dpif, Features};
use ovs_packet::field::TlvTable;
use ovs_packet::{Instant, OfPort};

pub use fail_mode::{FailMode, HIDDEN_PRIORITY};
pub(super) use in_band::{DHCP_CLIENT, DHCP_SERVER};
pub use in_band::{InBandConfig, InBandRemote};

use super::MAX_EVENTS;
use super::bridges::Family;
use super::connection::{ConnectionId, Connections};
use super::flow_table::{Flow, FlowModError, FlowTables, Known, Log, RemovedReason, TABLES, TableConfig};
use super::group::GroupTable;
use super::hooks::Hooks;
use super::l2::L2Config;
use super::live::LiveTrace;
use super::mac::MacTable;
use super::megaflow::{FlowLimit, Megaflows, RevalidatorConfig};
use super::meter::MeterTable;
use super::native::{Underlay, Version as UnderlayVersion};
use super::port::{Port, Ports};
use super::recirc::RecircIds;
use super::snooping::{Snooping, SnoopingConfig};
use super::translate::{Learned, Room};
use super::work::{DEFAULT_SLICE, Work};
use crate::codec::{CtFlush, Description, PacketIn, Version};
use crate::flow_mod::FlowMod;
use fail_mode::StandIn;
use in_band::InBand;

/// What the switch's owner should know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A packet.
    PacketIn(Box<PacketIn>),
    /// A packet that was sampled for a collector.
    Sample {
        /// For whom, and what of it is known.
        cookie: Cookie,
        /// Port that it came in by.
        in_port: OfPort,
        /// The packet.
        packet: Vec<u8>,
    },
    /// A flow ended that was to be reported.
    FlowRemoved(Box<Flow>, RemovedReason),
    /// A controller changed how a port shall be: its device is to be taken up or down as [`Port::config`] says.
    PortConfig(OfPort),
    /// A controller wants connections to be forgotten that the datapath tracks.
    FlushConnections(Box<CtFlush>),
}

/// What went through a table.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct TableStats {
    /// Packets that were looked up.
    pub lookups: u64,
    /// Those of them that matched a flow.
    pub matches: u64,
}

/// An OpenFlow switch as a value. See the [module](super).
///
/// The datapath is lent to every method that needs it: always the same one, whose megaflows are this switch's alone.
///
/// ```
/// use ovs_dpif::netdev::MemPort;
/// use ovs_dpif::userspace::Datapath;
/// use ovs_dpif::{Dpif, PortSpec};
/// use ovs_ofproto::pipeline::{Ofproto, Port};
/// use ovs_ofproto::{Action, FlowMod, Instructions};
/// use ovs_packet::{Instant, Match, OfPort, compose};
///
/// let (mut dp, mut switch, now) = (Datapath::new(), Ofproto::new(), Instant::ZERO);
/// let mut ends = Vec::new();
/// for n in 1..=2 {
///     let (port, end) = MemPort::new(format!("p{n}"), 10);
///     let number = dp.port_add(PortSpec::Device(Box::new(port)), None)?;
///     switch.port_add(Port::new(OfPort(n), number, format!("p{n}")));
///     ends.push(end);
/// }
/// let mut flow = FlowMod::default();
/// flow.instructions = Instructions::apply(vec![Action::output(OfPort::NORMAL)]);
/// switch.flow_mod(&mut dp, &flow, now)?;
///
/// let m: Match = "icmp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02".parse().unwrap();
/// ends[0].push(compose::compose(m.key(), b"ping"));
/// let mut upcalls = Vec::new();
/// dp.poll(now, &mut upcalls);
/// upcalls.into_iter().for_each(|u| switch.handle_upcall(&mut dp, u, now));
/// assert!(ends[1].pop().is_some());
/// assert_eq!(switch.macs().len(), 1);
/// assert_eq!(dp.stats()?.flows, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Ofproto {
    pub(super) tables: FlowTables,
    pub(super) groups: GroupTable,
    pub(super) meters: MeterTable,
    pub(super) ports: Ports,
    pub(super) connections: Connections,
    pub(super) fragments: Fragments,
    pub(super) description: Description,
    stand_in: StandIn,
    pub(super) in_band: InBand,
    pub(super) macs: MacTable,
    pub(super) snooping: Option<Snooping>,
    pub(super) underlay: Underlay,
    /// What of it megaflows are true to.
    pub(super) seen_underlay: UnderlayVersion,
    pub(super) l2: L2Config,
    pub(super) tlv: TlvTable,
    pub(super) hooks: Hooks,
    /// Tunnel ports came or went since megaflows were last made true.
    pub(super) tunnels_changed: bool,
    pub(super) flow_limit: FlowLimit,
    pub(super) revalidator: RevalidatorConfig,
    /// How long the last round through all megaflows took.
    pub(super) round: Duration,
    pub(super) with_megaflows: bool,
    /// How many packets were decided on without a megaflow, for want of room.
    pub(super) not_installed: u64,
    /// Whether of the datapath's megaflows only the counters are read, and not all there is.
    pub(super) terse: bool,
    pub(super) paused: bool,
    /// Packets come up whose ARP, ICMP or neighbour discovery message is changed.
    pub(super) slow_messages: bool,
    /// When the log was told of a translation that failed.
    pub(super) failure_told: Option<Instant>,
    pub(super) features: Option<Features>,
    /// How many megaflows there were when counters were read: a mean that forgets, the most, and how often.
    pub(super) seen: (usize, usize, u64),
    pub(super) live: Option<Box<LiveTrace>>,
    pub(super) room: Room,
    /// Whether lookups are held against a search from end to end.
    pub(super) verifies: bool,
    /// How many megaflows were decided anew.
    pub(super) revalidated: u64,
    pub(super) missed: u64,
    /// Whether megaflows are such that a controller hears of packets that match nothing.
    pub(super) tells_misses: bool,
    name: String,
    /// Those that it shares the datapath with, while it is one of several and is being changed.
    pub(super) family: Option<Family>,
    /// It stands for one that went.
    pub(super) is_vacant: bool,
    pub(super) recirc: RecircIds,
    pub(super) megaflows: Megaflows,
    /// Something changed that any megaflow may depend on. The tables of flows and of addresses tell their changes
    /// themselves.
    pub(super) changed: bool,
    /// What takes long and goes on in slices, while nobody works at it; and whether there is such.
    pub(super) work: Option<Box<Work>>,
    pub(super) under_way: bool,
    pub(super) slice: usize,
    /// Flows that packets made and that wait for what is under way, with when.
    pub(super) learning: Vec<(Learned, Instant)>,
    /// Flows are left whose time was up by then, the last time that counters were read.
    pub(super) ending: Option<Instant>,
    /// There may be flows beyond limits of tables.
    pub(super) trims: bool,

    pub(super) next_stats: Instant,
    pub(super) table_stats: Vec<TableStats>,
    /// What went through ends of patches.
    pub(super) patched: BTreeMap<OfPort, NetdevStats>,
    events: VecDeque<Event>,
    events_lost: u64,
    datapath_id: u64,
}

/// What megaflows take in memory, beside what the datapath keeps of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct MegaflowMemory {
    /// How many there are.
    pub megaflows: usize,
    /// Bytes for all of them, about.
    pub bytes: usize,
    /// Steps of the paths through the pipeline, each kept once: at most 16 for each megaflow that there may be.
    pub steps: usize,
    /// How many ways there are of what was looked at.
    pub shapes: usize,
    /// How many the datapath takes for stale, of which some are to be decided anew.
    pub unproved: usize,
}

/// How IP fragments are treated (`OFPC_FRAG_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[repr(u16)]
pub enum Fragments {
    /// As other packets; ports of all are zero.
    #[default]
    Normal = 0,
    /// They are dropped.
    Drop = 1,
    /// As other packets; the first has its ports.
    NxMatch = 3,
}

impl Fragments {
    /// The way with this number, of those that there are.
    pub(super) fn by_number(number: u16) -> Option<Fragments> {
        [Fragments::Normal, Fragments::Drop, Fragments::NxMatch].into_iter().find(|f| *f as u16 == number)
    }
}

impl Default for Ofproto {
    fn default() -> Self {
        Ofproto::new()
    }
}

impl Ofproto {
    /// A switch without ports or flows: it drops everything.
    pub fn new() -> Ofproto {
        Ofproto {
            tables: FlowTables::new(),
            groups: GroupTable::default(),
            meters: MeterTable::default(),
            ports: Ports::default(),
            connections: Connections::default(),
            fragments: Fragments::default(),
            description: Ofproto::usual_description(),
            stand_in: StandIn::default(),
            in_band: InBand::default(),
            macs: MacTable::default(),
            snooping: None,
            underlay: Underlay::default(),
            seen_underlay: UnderlayVersion::default(),
            l2: L2Config::default(),
            tlv: TlvTable::default(),
            hooks: Hooks::default(),
            tunnels_changed: false,
            flow_limit: FlowLimit::default(),
            revalidator: RevalidatorConfig::default(),
            round: Duration::ZERO,
            with_megaflows: true,
            not_installed: 0,
            terse: true,
            paused: false,
            slow_messages: false,
            failure_told: None,
            features: None,
            seen: (0, 0, 0),
            live: None,
            room: Room::default(),
            verifies: false,
            revalidated: 0,
            missed: 0,
            tells_misses: false,
            name: "br0".to_string(),
            family: None,
            is_vacant: false,
            recirc: RecircIds::default(),
            megaflows: Megaflows::default(),
            changed: false,
            work: None,
            under_way: false,
            slice: DEFAULT_SLICE,
            learning: Vec::new(),
            ending: None,
            trims: false,
            next_stats: Instant::ZERO,
            table_stats: vec![TableStats::default(); TABLES],
            patched: BTreeMap::new(),
            events: VecDeque::new(),
            events_lost: 0,
            datapath_id: 0,
        }
    }

    /// Gives the switch its number: what controllers tell it from others by.
    pub fn set_datapath_id(&mut self, id: u64) {
        self.datapath_id = id;
    }

    /// What a switch says it is, unless it is told something else.
    pub fn usual_description() -> Description {
        let mut d = Description::default();
        (d.manufacturer, d.hardware) = ("ovs-rs".into(), "Open vSwitch".into());
        d.software = env!("CARGO_PKG_VERSION").into();
        (d.serial, d.datapath) = ("None".into(), "None".into());
        d
    }

    /// Says what the switch is, to be repeated to controllers.
    pub fn set_description(&mut self, description: Description) {
        self.description = description;
    }

    /// Sets a table up. Flows beyond its limit give way, as far as they can: very many of them with the next
    /// [runs](Self::run). False if there is no such table.
    pub fn configure_table(&mut self, table: u8, config: TableConfig, now: Instant) -> bool {
        let known = self.tables.configure(table, config);
        self.trims = true;
        self.trim(now);
        known
    }

    /// Has flows beyond the limits of their tables give way, some at a time.
    pub(super) fn trim(&mut self, now: Instant) {
        if self.trims && !self.under_way {
            let mut log = Log::default();
            self.trims = self.tables.trim(self.slice, &mut log);
            self.commit(log, None, now);
        }
    }

    // Queries.

    /// The groups.
    pub fn groups(&self) -> &GroupTable {
        &self.groups
    }

    /// The meters.
    pub fn meters(&self) -> &MeterTable {
        &self.meters
    }

    /// How fragments are treated.
    pub fn fragments(&self) -> Fragments {
        self.fragments
    }

    /// The switch's number; 0 until it is given one.
    pub fn datapath_id(&self) -> u64 {
        self.datapath_id
    }

    /// The ports, by number.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter()
    }

    /// A port.
    pub fn port(&self, number: OfPort) -> Option<&Port> {
        self.ports.get(number)
    }

    /// The flows, by table and falling priority.
    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        self.tables.iter().map(|(_, f)| f)
    }

    /// How many flows there are.
    pub fn flow_count(&self) -> usize {
        self.tables.len()
    }

    /// What went through a table.
    pub fn table_stats(&self, table: u8) -> TableStats {
        self.table_stats.get(usize::from(table)).copied().unwrap_or_default()
    }

    /// What went through a port that is no device's, an end of a patch or a tunnel, as far as it is credited; `None` for
    /// others.
    pub fn patch_stats(&self, port: OfPort) -> Option<NetdevStats> {
        self.ports
            .get(port)
            .filter(|p| p.is_virtual())
            .map(|p| self.patched.get(&p.number).copied().unwrap_or_default())
    }

    /// The learnt addresses.
    pub fn macs(&self) -> &MacTable {
        &self.macs
    }

    /// What is known of who listens to group addresses; `None` if that is not snooped.
    pub fn snooping(&self) -> Option<&Snooping> {
        self.snooping.as_ref()
    }

    /// How the switch treats packets as a learning switch.
    pub fn l2(&self) -> &L2Config {
        &self.l2
    }

    /// What is behind its ports.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Its name, as traces tell it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many megaflows there are, and may be.
    pub fn megaflow_count(&self) -> (usize, FlowLimit) {
        (self.megaflows.len(), self.flow_limit)
    }

    /// What megaflows take.
    pub fn megaflow_memory(&self) -> MegaflowMemory {
        let (bytes, steps, shapes) = self.megaflows.memory();
        let (megaflows, unproved) = (self.megaflows.len(), self.megaflows.unproved());
        MegaflowMemory { megaflows, bytes, steps, shapes, unproved }
    }

    /// How megaflows are kept true.
    pub fn revalidator(&self) -> &RevalidatorConfig {
        &self.revalidator
    }

    /// How long the last round through all megaflows took, as [told](Self::revalidation_took).
    pub fn last_round(&self) -> Duration {
        self.round
    }

    /// How many packets were decided on without a megaflow, for want of room.
    pub fn not_installed(&self) -> u64 {
        self.not_installed
    }

    /// How many megaflows there were whenever counters were read: a mean of the last times, and the most.
    pub fn megaflows_seen(&self) -> (usize, usize) {
        (self.seen.0, self.seen.1)
    }

    /// How often all megaflows were gone through.
    pub fn rounds(&self) -> u64 {
        self.seen.2
    }

    /// Whether of the datapath's megaflows only the counters are read.
    pub fn is_terse(&self) -> bool {
        self.terse
    }

    /// How many megaflows were decided anew because of changes.
    pub fn revalidated(&self) -> u64 {
        self.revalidated
    }

    /// How many megaflows were gone from the datapath that nobody here had removed.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How many events were lost because nobody took them.
    pub fn events_lost(&self) -> u64 {
        self.events_lost
    }

    /// The next thing that controllers should hear.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`run`](Self::run) has something to do, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let expiry = self.tables.next_expiry().filter(|_| !self.under_way);
        let goes_on = self.under_way || self.ending.is_some() || self.trims;
        let stats = (!self.megaflows.is_empty() || expiry.is_some()).then_some(self.next_stats);
        let snooped = self.snooping.as_ref();
        let changed = (goes_on || self.has_changed() || self.megaflows.unproved() > 0).then_some(Instant::ZERO);
        let expiries = [expiry, self.macs.next_expiry(), snooped.and_then(Snooping::next_expiry)];
        [stats, changed, self.connections.next_deadline(), self.take_over_at()]
            .into_iter()
            .chain(expiries)
            .flatten()
            .min()
    }

    // Changes.

    /// Adds a port, or gives one that is there another configuration; what controllers have set of that stays, except for
    /// whether it is down. What was learnt behind one that is in other VLANs now is forgotten. Takes effect with the next
    /// [`run`](Self::run).
    ///
    /// Of tunnel ports that [say the same](super::Bridges::tunnel_twin) of their packets only the first receives any.
    pub fn port_add(&mut self, mut port: Port) {
        let old = self.ports.take(port.number);
        let tunnel_of = |p: &Port| p.tunnel.clone().map(|config| (config, p.datapath));
        self.tunnels_changed |= old.as_ref().and_then(tunnel_of) != tunnel_of(&port);
        if let Some(old) = &old {
            // Whether it is up is its device's to say.
            let down = super::port::PortConfig::DOWN;
            port.config = old.config.difference(down) | port.config.intersection(down);
        }
        if old.as_ref().is_some_and(|old| old.vlan != port.vlan) {
            self.macs.forget_port(port.number);
            self.snooping.iter_mut().for_each(|s| s.forget_port(port.number));
        }
        match &old {
            None => self.tell_of_new_port(&port),
            Some(old) if [Version::V1_0, Version::V1_5].iter().any(|v| old.desc(*v) != port.desc(*v)) => {
                self.tell_of_port(2, &port, None);
            }
            Some(_) => {}
        }
        if old.as_ref().and_then(tunnel_of) != tunnel_of(&port) {
            old.iter().for_each(|old| self.underlay.unlisten_for(old));
            self.underlay.listen_for(&port);
        }
        self.underlay.set_device_address(&port.name, port.hw_addr);
        self.ports.insert(port);
        self.changed = true;
    }

    /// Removes a port and what was learnt behind it.
    pub fn port_remove(&mut self, number: OfPort) -> Option<Port> {
        let port = self.ports.remove(number)?;
        self.tunnels_changed |= port.tunnel.is_some();
        self.underlay.unlisten_for(&port);
        self.underlay.flush_neighbours(Some(&port.name));
        self.macs.forget_port(number);
        self.snooping.iter_mut().for_each(|s| s.forget_port(number));
        self.hooks.forget_port(number);
        self.patched.remove(&number);
        self.changed = true;
        self.tell_of_port(1, &port, None);
        Some(port)
    }

    /// What the switch knows of the network that tunnels go through.
    pub fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// Has it share that with others: what it knew before counts no more.
    pub fn set_underlay(&mut self, underlay: Underlay) {
        for port in self.ports.iter() {
            self.underlay.unlisten_for(port);
            underlay.listen_for(port);
        }
        self.underlay = underlay;
        self.changed = true;
    }

    /// Its ports are no longer any that tunnels end at or go through.
    pub(super) fn leave_underlay(&self) {
        for port in self.ports.iter() {
            self.underlay.unlisten_for(port);
            self.underlay.flush_neighbours(Some(&port.name));
        }
    }

    /// Treats packets otherwise as a learning switch.
    pub fn set_l2(&mut self, l2: L2Config) {
        self.l2 = l2;
        self.changed = true;
    }

    /// Names the switch.
    pub fn set_name(&mut self, name: impl Into<String>) {
        self.name = name.into();
    }

    /// Snoops group addresses, or stops.
    pub fn set_snooping(&mut self, config: Option<SnoopingConfig>) {
        match (config, &mut self.snooping) {
            (Some(config), Some(snooping)) => snooping.configure(config),
            (config, snooping) => *snooping = config.map(Snooping::new),
        }
        self.changed = true;
    }

    /// Changes what is behind ports. To be called, too, when an [`Egress`](super::Egress) would answer otherwise than
    /// before.
    pub fn hooks_changed(&mut self, change: impl FnOnce(&mut Hooks)) {
        change(&mut self.hooks);
        self.changed = true;
    }

    /// Lets there be at most so many megaflows.
    pub fn set_flow_limit(&mut self, most: usize) {
        self.revalidator.flow_limit = most;
        self.flow_limit = FlowLimit::new(most);
    }

    /// Lets there be so many megaflows for now (`upcall/set-flow-limit`): it adapts from there.
    pub fn set_flow_limit_now(&mut self, now: usize) {
        self.flow_limit = self.flow_limit.with_now(now);
    }

    /// Keeps megaflows true otherwise.
    pub fn set_revalidator(&mut self, config: RevalidatorConfig) {
        if config == self.revalidator {
            return;
        }
        if config.flow_limit != self.revalidator.flow_limit {
            self.flow_limit = FlowLimit::new(config.flow_limit);
        }
        self.revalidator = config;
        self.next_stats = Instant::ZERO;
    }

    /// Reads of the datapath's megaflows only the counters, or all there is (`upcall/disable-ufid`).
    pub fn set_terse(&mut self, terse: bool) {
        self.terse = terse;
    }

    /// Leaves megaflows and their counters as they are, whatever changes, until it is told otherwise
    /// (`revalidator/pause`).
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Whether megaflows are left as they are.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether packets wait somewhere to go on under this recirculation id.
    pub fn is_recirculated(&self, id: u32) -> bool {
        self.recirc.thaw(id).is_some()
    }

    /// What the datapath is taken to be able to do: less than it can (`dpif/set-dp-features`). All megaflows are decided
    /// anew.
    pub fn assume_features(&mut self, features: Features) {
        self.features = Some(features);
        self.changed = true;
    }

    /// Has packets come up whose ARP, ICMP or neighbour discovery message is changed, though the datapath could do it: so it
    /// is in datapaths of the kernel, and in all of upstream's.
    pub fn set_slow_messages(&mut self, slow: bool) {
        self.slow_messages = slow;
        self.changed = true;
    }

    /// What the datapath is taken to be able to do, if somebody said so.
    pub fn assumed_features(&self) -> Option<Features> {
        self.features
    }

    /// Makes megaflows match all that there is of a packet, or what was looked at (`upcall/disable-megaflows`). Those that
    /// are there go.
    pub fn set_megaflows(&mut self, dp: &mut dyn Dpif, wide: bool, now: Instant) {
        self.with_megaflows = wide;
        self.purge(dp, now);
    }

    /// Lets controllers' bundles be idle for so long before they are discarded; ten seconds if nothing is said.
    pub fn set_bundle_idle_timeout(&mut self, idle: Option<Duration>) {
        self.connections.set_bundle_idle(idle);
    }

    /// To change what is learnt of addresses, or how.
    pub fn macs_mut(&mut self) -> &mut MacTable {
        &mut self.macs
    }

    /// To change what is known of listeners to group addresses.
    pub fn snooping_mut(&mut self) -> Option<&mut Snooping> {
        self.snooping.as_mut()
    }

    /// Forgets all learnt addresses.
    pub fn flush_macs(&mut self) {
        self.macs.flush();
    }

    /// Has who asks see what is under way, or not.
    pub(super) fn look_ahead(&mut self, ahead: bool) {
        self.tables.look_ahead(ahead);
        self.groups.look_ahead(ahead);
    }

    /// Carries a modification of the flow tables out, after what is [under way](Self::is_under_way). When it returns, the
    /// datapath obeys it.
    ///
    /// # Errors
    /// As [`FlowModError`] says; the tables are unchanged then.
    pub fn flow_mod(&mut self, dp: &mut dyn Dpif, fm: &FlowMod, now: Instant) -> Result<(), FlowModError> {
        self.finish(dp, now);
        let known = Known { groups: &self.groups, meters: &self.meters };
        let mut log = Log::default();
        self.tables.modify(fm, known, now, &mut log)?;
        self.credit_before(dp, &log, now);
        self.commit(log, None, now);
        self.revalidate(dp, now);
        Ok(())
    }

    /// Makes what a log says true, and tells of it: whose request it was, by connection and xid, if it was one.
    pub(super) fn commit(&mut self, mut log: Log, source: Option<(ConnectionId, u32)>, now: Instant) {
        if !self.under_way {
            self.tables.complete(&mut log);
        }
        self.tell_monitors(&log, 0, source);
        if !self.under_way {
            self.end_updates();
        }
        let (mut sweep, mut all) = (self.tables.flip(log), usize::MAX);
        self.sweep_some(&mut sweep, &mut all, now);
        self.tell_of_vacancies();
    }

    /// Tells the owner that a controller changed a port.
    pub(super) fn port_config_changed(&mut self, port: &Port) {
        self.event(Event::PortConfig(port.number));
    }

    /// Asserts what must hold between any two calls. For tests: it looks at everything.
    #[doc(hidden)]
    pub fn check(&self) {
        if !self.under_way {
            self.tables.check();
            self.groups.check();
        }
        self.megaflows.check();
    }

    pub(super) fn event(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        } else {
            self.events_lost += 1;
        }
    }
}
