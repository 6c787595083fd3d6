//! The switch itself.

use std::collections::VecDeque;

use ovs_dpif::{Cookie, Dpif};
use ovs_packet::field::TlvTable;
use ovs_packet::{Instant, OfPort};

use super::MAX_EVENTS;
use super::flow_table::{Criteria, Flow, FlowModError, FlowTables, Known, Log, RemovedReason, TABLES};
use super::group::GroupTable;
use super::hooks::Hooks;
use super::l2::L2Config;
use super::mac::MacTable;
use super::megaflow::{FlowLimit, Megaflows};
use super::meter::MeterTable;
use super::port::{Port, Ports};
use super::recirc::RecircIds;
use super::snooping::{Snooping, SnoopingConfig};
use crate::codec::{FlowStatsRequest, PacketIn};
use crate::flow_mod::{FlowMod, FlowModFlags};

/// What controllers should hear.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A packet, for the controllers with this id.
    PacketIn(Box<PacketIn>, u16),
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
    pub(super) macs: MacTable,
    pub(super) snooping: Option<Snooping>,
    pub(super) l2: L2Config,
    pub(super) tlv: TlvTable,
    pub(super) hooks: Hooks,
    pub(super) flow_limit: FlowLimit,
    /// How many megaflows were decided anew.
    pub(super) revalidated: u64,
    name: String,
    pub(super) recirc: RecircIds,
    pub(super) megaflows: Megaflows,
    /// Something changed that any megaflow may depend on. The table of addresses tells its changes itself.
    pub(super) changed: bool,

    pub(super) next_stats: Instant,
    pub(super) table_stats: Vec<TableStats>,
    events: VecDeque<Event>,
    events_lost: u64,
    datapath_id: u64,
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
            macs: MacTable::default(),
            snooping: None,
            l2: L2Config::default(),
            tlv: TlvTable::default(),
            hooks: Hooks::default(),
            flow_limit: FlowLimit::default(),
            revalidated: 0,
            name: "br0".to_string(),
            recirc: RecircIds::default(),
            megaflows: Megaflows::default(),
            changed: false,
            next_stats: Instant::ZERO,
            table_stats: vec![TableStats::default(); TABLES],
            events: VecDeque::new(),
            events_lost: 0,
            datapath_id: 0,
        }
    }

    /// Gives the switch its number: what controllers tell it from others by.
    pub fn set_datapath_id(&mut self, id: u64) {
        self.datapath_id = id;
    }

    // Queries.

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

    /// The flows that a controller's request is about.
    pub(super) fn chosen(&self, request: &FlowStatsRequest) -> impl Iterator<Item = Flow> {
        let chosen = self.tables.chosen(&Criteria {
            table: request.table,
            matching: request.matching,
            strict: None,
            cookie: request.cookie,
            cookie_mask: request.cookie_mask,
            out_port: request.out_port,
            out_group: request.out_group,
        });
        chosen.into_iter().filter_map(|id| self.tables.flow(id))
    }

    /// How many flows there are.
    pub fn flow_count(&self) -> usize {
        self.tables.len()
    }

    /// What went through a table.
    pub fn table_stats(&self, table: u8) -> TableStats {
        self.table_stats.get(usize::from(table)).copied().unwrap_or_default()
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

    /// How many megaflows were decided anew because of changes.
    pub fn revalidated(&self) -> u64 {
        self.revalidated
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
        let stats = (!self.megaflows.is_empty() || self.tables.next_expiry().is_some()).then_some(self.next_stats);
        let snooped = self.snooping.as_ref();
        let changed = self.changed || self.macs.has_changes() || self.tables.has_changes();
        let changed = (changed || snooped.is_some_and(Snooping::has_changed)).then_some(Instant::ZERO);
        let expiries = [self.tables.next_expiry(), self.macs.next_expiry(), snooped.and_then(Snooping::next_expiry)];
        [stats, changed].into_iter().chain(expiries).flatten().min()
    }

    // Changes.

    /// Adds a port, or gives one that is there another configuration. Takes effect with the next [`run`](Self::run).
    pub fn port_add(&mut self, port: Port) {
        self.ports.insert(port);
        self.changed = true;
    }

    /// Removes a port and what was learnt behind it.
    pub fn port_remove(&mut self, number: OfPort) -> Option<Port> {
        let port = self.ports.remove(number)?;
        self.macs.forget_port(number);
        self.snooping.iter_mut().for_each(|s| s.forget_port(number));
        self.changed = true;
        Some(port)
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
        self.flow_limit = FlowLimit::new(most);
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

    /// Carries a modification of the flow tables out. When it returns, the datapath obeys it.
    ///
    /// # Errors
    /// As [`FlowModError`] says; the tables are unchanged then.
    pub fn flow_mod(&mut self, dp: &mut dyn Dpif, fm: &FlowMod, now: Instant) -> Result<(), FlowModError> {
        let known = Known { groups: &self.groups, meters: &self.meters };
        let mut log = Log::default();
        self.tables.modify(fm, known, now, &mut log)?;
        self.credit_before(dp, &log, now);
        self.commit(log);
        self.revalidate(dp, now);
        Ok(())
    }

    /// Makes what a log says true, and tells of the flows that ended.
    pub(super) fn commit(&mut self, log: Log) {
        let mut ended = Vec::new();
        self.tables.commit(log, |flow, reason| ended.push((flow, reason)));
        ended.into_iter().for_each(|(flow, reason)| self.report_removed(flow, reason));
    }

    pub(super) fn event(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        } else {
            self.events_lost += 1;
        }
    }

    fn report_removed(&mut self, flow: Flow, reason: RemovedReason) {
        if flow.flags.contains(FlowModFlags::SEND_FLOW_REM) {
            self.event(Event::FlowRemoved(Box::new(flow), reason));
        }
    }
}
