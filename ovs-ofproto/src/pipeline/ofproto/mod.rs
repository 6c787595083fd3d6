//! The switch itself.

use std::collections::{HashSet, VecDeque};

use ovs_dpif::{Cookie, DpFlowStats, Dpif, Resolution, Ufid, Upcall, UpcallKind, Userspace};
use ovs_packet::{FlowKey, Instant, Match, OfPort, Packet, extract};

use super::connection::{ConnectionId, Connections};
use super::flow_table::{Flow, FlowModError, FlowTables, Known, Log, RemovedReason, TABLES, TableConfig};
use super::group::GroupTable;
use super::mac::{MacChanges, MacTable};
use super::megaflow::{Megaflow, Megaflows};
use super::messages::Punt;
use super::meter::MeterTable;
use super::port::{Port, Ports};
use super::recirc::RecircIds;
use super::translate::{Effect, View, translate, translate_actions};
use super::{MAX_EVENTS, MAX_IDLE, STATS_INTERVAL};
use crate::action::Action;
use crate::codec::{Description, PacketIn, PacketInReason, Version};
use crate::flow_mod::{FlowMod, FlowModFlags};

/// What the switch's owner should know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A packet.
    PacketIn(Box<PacketIn>),
    /// A flow ended that was to be reported.
    FlowRemoved(Box<Flow>, RemovedReason),
    /// A controller changed how a port shall be: its device is to be taken up or down as [`Port::config`] says.
    PortConfig(OfPort),
    /// A controller wants the connections of a zone to be forgotten.
    FlushConnections {
        /// The zone.
        zone: u16,
    },
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
    macs: MacTable,
    recirc: RecircIds,
    megaflows: Megaflows,
    /// Something changed that any megaflow may depend on. The tables of flows and of addresses tell their changes
    /// themselves.
    pub(super) changed: bool,

    next_stats: Instant,
    table_stats: Vec<TableStats>,
    events: VecDeque<Event>,
    events_lost: u64,
    datapath_id: u64,
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

/// What a switch says it is, unless it is told something else.
fn description() -> Description {
    let mut d = Description::default();
    (d.manufacturer, d.hardware) = ("ovs-rs".into(), "Open vSwitch".into());
    d.software = env!("CARGO_PKG_VERSION").into();
    (d.serial, d.datapath) = ("None".into(), "None".into());
    d
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
            description: description(),
            macs: MacTable::default(),
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

    /// Says what the switch is, to be repeated to controllers.
    pub fn set_description(&mut self, description: Description) {
        self.description = description;
    }

    /// Sets a table up. Flows beyond its limit give way, as far as they can. False if there is no such table.
    pub fn configure_table(&mut self, table: u8, config: TableConfig, now: Instant) -> bool {
        let mut log = Log::default();
        let known = self.tables.configure(table, config, &mut log);
        self.commit(log, None, now);
        known
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

    /// The learnt addresses.
    pub fn macs(&self) -> &MacTable {
        &self.macs
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
        let changed = (self.changed || self.macs.has_changes()).then_some(Instant::ZERO);
        [stats, changed, self.tables.next_expiry(), self.macs.next_expiry(), self.connections.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    // Changes.

    /// Adds a port, or gives one that is there another configuration. Takes effect with the next [`run`](Self::run).
    pub fn port_add(&mut self, mut port: Port) {
        let old = self.ports.remove(port.number);
        if let Some(old) = &old {
            port.config = old.config;
        }
        let reason = if old.is_some() { 2 } else { 0 };
        let is_news =
            old.is_none_or(|old| [Version::V1_0, Version::V1_5].iter().any(|v| old.desc(*v) != port.desc(*v)));
        if is_news {
            self.tell_of_port(reason, &port, None);
        }
        self.ports.insert(port);
        self.changed = true;
    }

    /// Removes a port and what was learnt behind it.
    pub fn port_remove(&mut self, number: OfPort) -> Option<Port> {
        let port = self.ports.remove(number)?;
        self.macs.forget_port(number);
        self.changed = true;
        self.tell_of_port(1, &port, None);
        Some(port)
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
        // What went through so far belongs to the flows as they are.
        self.collect(dp, now);
        let known = Known { groups: &self.groups, meters: &self.meters };
        let mut log = Log::default();
        self.tables.modify(fm, known, now, &mut log)?;
        self.commit(log, None, now);
        self.revalidate(dp, now);
        Ok(())
    }

    /// Executes actions on a packet of the switch's own making, as if it had come in by `in_port`
    /// (OpenFlow 1.5, section 7.3.6).
    pub fn packet_out(&mut self, dp: &mut dyn Dpif, packet: Packet, in_port: OfPort, actions: &[Action], now: Instant) {
        self.packet_out_with(dp, packet, in_port, None, actions, now);
    }

    /// The same, with what is taken for granted of the packet beside its port.
    pub(super) fn packet_out_with(
        &mut self,
        dp: &mut dyn Dpif,
        mut packet: Packet,
        in_port: OfPort,
        metadata: Option<&Match>,
        actions: &[Action],
        now: Instant,
    ) {
        packet.meta.in_port = self.ports.get(in_port).map_or(u32::MAX, |p| p.datapath.0);
        let mut key = FlowKey::ZERO;
        extract::extract(&mut packet, &mut key);
        if let Some(m) = metadata {
            key.assign(m.key(), m.mask());
        }
        let len = packet.len() as u64;
        let t = translate_actions(self.view(), &key, in_port, actions);
        self.credit(&t.effects, 1, len, now);
        let mut upcalls = Vec::new();
        dp.inject(packet, &t.actions, now, &mut upcalls);
        upcalls.into_iter().for_each(|u| self.handle_upcall(dp, u, now));
    }

    /// Makes what a log says true, and tells of it: whose request it was, by connection and xid, if it was one.
    pub(super) fn commit(&mut self, log: Log, _source: Option<(ConnectionId, u32)>, now: Instant) {
        let mut ended = Vec::new();
        self.tables.commit(log, false, |flow, reason| ended.push((flow, reason)));
        for (flow, reason) in ended {
            self.tell_of_removed(&flow, reason, now);
            self.event(Event::FlowRemoved(Box::new(flow), reason));
        }
    }

    /// Tells the owner that a controller changed a port.
    pub(super) fn port_config_changed(&mut self, port: &Port) {
        self.event(Event::PortConfig(port.number));
    }

    // Packets.

    /// Decides on a packet that came up, and on those that come up from what is decided.
    pub fn handle_upcall(&mut self, dp: &mut dyn Dpif, upcall: Upcall, now: Instant) {
        // The datapath bounds how often a packet comes up again, by its bound on recirculation.
        let mut pending = vec![upcall];
        while !pending.is_empty() {
            let mut again = Vec::new();
            for upcall in pending {
                match upcall.kind {
                    UpcallKind::Action(Userspace { ref cookie, .. }) => {
                        self.packet_in(&upcall, cookie, now);
                        dp.resolve(upcall, Resolution::Consumed, now, &mut again);
                    }
                    _ => self.miss(dp, upcall, now, &mut again),
                }
            }
            pending = again;
        }
    }

    fn miss(&mut self, dp: &mut dyn Dpif, upcall: Upcall, now: Instant, pending: &mut Vec<Upcall>) {
        let t = translate(self.view(), &upcall.key);
        self.credit(&t.effects, 1, upcall.packet.len() as u64, now);
        let actions = t.actions.clone();
        match dp.flow_put(&upcall.key, t.matching.mask(), &t.actions) {
            Ok(ufid) => {
                let known = self.megaflows.remove(ufid);
                let mut megaflow = Megaflow::new(upcall.key.clone(), t, now);
                // A second packet of the same flow came up before the first one's megaflow was there.
                megaflow.credited = known.map_or(DpFlowStats::default(), |m| m.credited);
                self.megaflows.insert(ufid, megaflow);
            }
            Err(e) => tracing::debug!(error = %e, "megaflow not installed"),
        }
        dp.resolve(upcall, Resolution::Execute(&actions), now, pending);
    }

    fn packet_in(&mut self, upcall: &Upcall, cookie: &Cookie, now: Instant) {
        let Cookie::Controller { reason, rule_cookie, table, max_len, controller_id, .. } = *cookie else { return };
        let packet = upcall.packet.data();
        let wanted = if max_len == Action::WHOLE { packet.len() } else { usize::from(max_len) };
        let in_port = self.ports.of_datapath(ovs_dpif::PortNo(upcall.packet.meta.in_port));
        let data = packet.get(..wanted).unwrap_or(packet).to_vec();
        let mut message = PacketIn::new(in_port.map_or(OfPort::ANY, |p| p.number), data);
        // What does not fit the message's field is said as the most that does.
        message.total_len = packet.len().min(usize::from(u16::MAX)) as u32;
        (message.reason, message.table, message.cookie) = (PacketInReason(reason), table, rule_cookie);
        let punt = Punt { reason, controller: controller_id, message };
        self.punt(&punt, now);
        self.event(Event::PacketIn(Box::new(punt.message)));
    }

    pub(super) fn event(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        } else {
            self.events_lost += 1;
        }
    }

    // Upkeep.

    /// Does what time or changes ask for: reads counters, ends what is over, makes megaflows true again.
    pub fn run(&mut self, dp: &mut dyn Dpif, now: Instant) {
        let flows_due = self.tables.next_expiry().is_some_and(|at| at <= now);
        self.run_connections(now);
        if now >= self.next_stats || flows_due {
            self.collect(dp, now);
            self.drop_idle(dp, now);
            let mut log = Log::default();
            self.tables.expire(now, &mut log);
            self.changed |= log.len() > 0;
            self.commit(log, None, now);
            self.next_stats = now + STATS_INTERVAL;
            let mut used = HashSet::new();
            self.megaflows.iter().for_each(|(_, m)| m.translation.recirculations(&mut used));
            self.recirc.collect(&used);
        }
        self.macs.expire(now);
        match self.macs.take_changes() {
            _ if self.changed => self.revalidate(dp, now),
            MacChanges::All => self.revalidate(dp, now),
            MacChanges::Some(stations) => {
                let concerned = self.megaflows.that_asked(&stations);
                concerned.into_iter().for_each(|ufid| self.revalidate_one(dp, ufid, now));
            }
        }
    }

    fn view(&mut self) -> View<'_> {
        View { tables: &self.tables, ports: &self.ports, macs: &self.macs, recirc: &mut self.recirc }
    }

    fn credit(&mut self, effects: &[Effect], packets: u64, bytes: u64, used: Instant) {
        for effect in effects {
            match effect {
                Effect::Rule(id) => self.tables.credit(*id, packets, bytes, used),
                Effect::Table { table, matched } => {
                    if let Some(t) = self.table_stats.get_mut(usize::from(*table)) {
                        t.lookups += packets;
                        t.matches += if *matched { packets } else { 0 };
                    }
                }
                Effect::Learn { vlan, address, port } => {
                    self.macs.learn(*vlan, *address, *port, used);
                }
            }
        }
    }

    /// Reads the datapath's counters and credits what is new.
    pub(super) fn collect(&mut self, dp: &mut dyn Dpif, now: Instant) {
        let mut news = Vec::new();
        let dumped = dp.flow_stats(&mut |ufid, stats| {
            if stats.packets > 0 {
                news.push((ufid, stats));
            }
        });
        if let Err(e) = dumped {
            // What is missing is credited the next time.
            tracing::warn!(error = %e, "counters of the datapath not read to the end");
        }
        news.sort_unstable_by_key(|(ufid, _)| *ufid);
        for (ufid, stats) in news {
            self.credit_megaflow(ufid, stats, now);
        }
    }

    fn credit_megaflow(&mut self, ufid: Ufid, stats: DpFlowStats, now: Instant) {
        let Some(megaflow) = self.megaflows.get_mut(ufid) else { return };
        let (packets, bytes) = megaflow.news(stats);
        if packets > 0 {
            let effects = megaflow.translation.effects.clone();
            self.credit(&effects, packets, bytes, stats.used.unwrap_or(now));
        }
    }

    fn drop_idle(&mut self, dp: &mut dyn Dpif, now: Instant) {
        let idle = |m: &Megaflow| now - m.used() >= MAX_IDLE;
        let idle: Vec<_> = self.megaflows.iter().filter(|(_, m)| idle(m)).map(|(ufid, _)| ufid).collect();
        idle.into_iter().for_each(|ufid| self.uninstall(dp, ufid, now));
    }

    /// Removes every megaflow, after what went through it is credited.
    pub fn purge(&mut self, dp: &mut dyn Dpif, now: Instant) {
        let all: Vec<_> = self.megaflows.iter().map(|(ufid, _)| ufid).collect();
        all.into_iter().for_each(|ufid| self.uninstall(dp, ufid, now));
    }

    /// Reads the datapath's counters and credits what is new, now.
    pub fn synchronise(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.run(dp, now);
        self.collect(dp, now);
    }

    fn uninstall(&mut self, dp: &mut dyn Dpif, ufid: Ufid, now: Instant) {
        if let Ok(flow) = dp.flow_del(ufid) {
            self.credit_megaflow(ufid, flow.stats, now);
        }
        self.megaflows.remove(ufid);
    }

    /// Translates every megaflow again, and changes or removes those that come out otherwise.
    pub(super) fn revalidate(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.changed = false;
        let all: Vec<_> = self.megaflows.iter().map(|(ufid, _)| ufid).collect();
        all.into_iter().for_each(|ufid| self.revalidate_one(dp, ufid, now));
    }

    fn revalidate_one(&mut self, dp: &mut dyn Dpif, ufid: Ufid, now: Instant) {
        let Some(key) = self.megaflows.get(ufid).map(|m| m.key.clone()) else { return };
        let t = translate(self.view(), &key);
        if self.megaflows.get(ufid).is_some_and(|m| m.translation == t) {
            return;
        }
        // What went through before the change is credited as it was.
        if let Ok(flow) = dp.flow_get(ufid) {
            self.credit_megaflow(ufid, flow.stats, now);
        }
        let same_packets = self.megaflows.get(ufid).is_some_and(|m| m.translation.matching == t.matching);
        if same_packets && dp.flow_put(&key, t.matching.mask(), &t.actions).is_ok() {
            self.megaflows.retranslate(ufid, t);
        } else {
            self.uninstall(dp, ufid, now);
        }
    }
}
