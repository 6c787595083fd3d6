//! Controllers that say anything in any order to a switch that lives.

use std::collections::VecDeque;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use ovs_dpif::netdev::{MemPort, MemPortPeer};
use ovs_dpif::userspace::Datapath;
use ovs_dpif::{Dpif, PortSpec};
use ovs_ofproto::FlowModCommand;
use ovs_ofproto::codec::{
    Band, Bucket, BundleAdd, BundleControl, FlowMonitorRequest, GroupMod, Header, Message, MeterMod, MonitorCommand,
    MonitorFlags, PacketOut, Page, PortMod, Role, TableMod, Version,
};
use ovs_ofproto::pipeline::{
    ConnectionConfig, ConnectionId, Fragments, Ofproto, Port, PortConfig, RateLimit, TableConfig,
};
use ovs_ofproto::text::Parser;
use ovs_packet::{Instant, OfPort};

use crate::traffic;

const MATCHES: &[&str] = &["", "in_port=1", "in_port=2", "tcp", "tcp,tp_dst=80", "ip,nw_dst=10.0.0.0/8", "arp"];
const ACTIONS: &[&str] = &[
    "drop",
    "output:1",
    "output:2,group:1",
    "group:2",
    "meter:1,output:1",
    "NORMAL",
    "CONTROLLER",
    "resubmit(,1)",
    "learn(table=1,cookie=0x1,delete_learned,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])",
    "conjunction(1,1/2)",
    "clone(group:1)",
    "write_actions(group:1)",
    "goto_table:2",
];

/// Rounds in which everything that a sequence of messages began is over.
const ROUNDS: usize = 100_000;

/// A controller, and the barriers that it waits for.
struct Controller {
    id: ConnectionId,
    version: Version,
    barriers: VecDeque<u32>,
}

struct World {
    of: Ofproto,
    dp: Datapath,
    ends: Vec<MemPortPeer>,
    /// Packets that the first table must have seen, unless something said what nobody knows.
    seen: u64,
    is_known: bool,
    now: Instant,
    controllers: Vec<Controller>,
    xid: u32,
}

/// Messages in sequences of the input's choice, from several controllers, with packets and time that pass and half-read
/// answers: the state stays consistent, barriers are answered in their order, and what is said is what OpenFlow can say.
/// After each step the oracles hold ([`Ofproto::verify`]), and statistics add up.
pub fn openflow_switch(data: &[u8]) {
    let mut w = World::new();
    // What takes long goes on in slices, of which some inputs see many.
    w.of.set_slice([1, 2, usize::MAX][data.len() % 3]);
    let mut u = Unstructured::new(data);
    for _ in 0..48 {
        if u.is_empty() || w.step(&mut u).is_err() {
            break;
        }
        w.verify(&mut u);
    }
    w.finish();
}

fn flow_mod(u: &mut Unstructured) -> Result<Message> {
    use FlowModCommand::{Add, Delete, DeleteStrict, Modify, ModifyStrict};
    let command = *u.choose(&[Add, Add, Add, Modify, ModifyStrict, Delete, DeleteStrict])?;
    let (m, actions) = (*u.choose(MATCHES)?, *u.choose(ACTIONS)?);
    let extra =
        *u.choose(&["", "idle_timeout=1,", "hard_timeout=2,", "send_flow_rem,", "check_overlap,", "cookie=1,"])?;
    let (table, priority) = (u.int_in_range(0..=3u8)?, u.int_in_range(0..=2u8)?);
    let text = match command {
        Delete => format!("table={table},{m}"),
        DeleteStrict => format!("table={table},priority={priority},{m}"),
        Add => format!("table={table},priority={priority},{extra}{m},actions={actions}"),
        Modify => format!("table={table},{m},actions={actions}"),
        ModifyStrict => format!("table={table},priority={priority},{m},actions={actions}"),
    };
    let text = text.replace(",,", ",");
    Ok(Parser::default().flow_mod(&text, command).map_or(Message::BarrierRequest, Message::from))
}

fn group_mod(u: &mut Unstructured) -> Result<Message> {
    let mut gm = GroupMod::default();
    gm.command = *u.choose(&[0, 0, 1, 2, 3, 5, 0x8000])?;
    gm.desc.group = *u.choose(&[1, 1, 2, 3, 0xffff_fffc])?;
    gm.desc.kind = u.int_in_range(0..=3)?;
    for id in 0..u.int_in_range(0..=3u32)? {
        let mut b = Bucket::default();
        b.id = if u.ratio(1, 8)? { 0 } else { id };
        b.actions = Parser::default().actions(u.choose(ACTIONS)?).unwrap_or_default();
        match gm.desc.kind {
            1 => b.weight = u.int_in_range(0..=3)?,
            3 if u.arbitrary()? => b.watch_group = u.int_in_range(1..=3)?,
            3 => b.watch_port = OfPort(1),
            _ => {}
        }
        gm.desc.buckets.push(b);
    }
    if matches!(gm.command, 3 | 5) {
        gm.bucket = *u.choose(&[0, 1, 0xffff_fffd, 0xffff_fffe])?;
    }
    Ok(gm.into())
}

fn meter_mod(u: &mut Unstructured) -> Result<Message> {
    let mut mm = MeterMod::default();
    (mm.command, mm.config.meter) = (u.int_in_range(0..=2)?, *u.choose(&[1, 1, 2, 0, 0xffff_fffe, 0xffff_ffff])?);
    let rate = u.int_in_range(0..=9)?;
    mm.config.bands =
        vec![Band { kind: u.int_in_range(1..=2)?, rate, burst: 0, precedence: 1 }; u.int_in_range(0..=9)?];
    Ok(Message::MeterMod(mm))
}

fn other(u: &mut Unstructured) -> Result<Message> {
    Ok(match u.int_in_range(0..=15)? {
        0 => Message::FlowStatsRequest(Box::default()),
        1 => Message::AggregateStatsRequest(Box::default()),
        2 => Message::GroupStatsRequest(*u.choose(&[0xffff_fffc, 1])?),
        3 => Message::GroupDescRequest(0xffff_fffc),
        4 => Message::MeterStatsRequest(*u.choose(&[u32::MAX, 1])?),
        5 => Message::TableStatsRequest,
        6 => {
            let mut role = Role::default();
            (role.role, role.generation) = (u.int_in_range(0..=3)?, Some(u.int_in_range(0..=3)?));
            Message::RoleRequest(role)
        }
        7 => {
            let mut tm = TableMod::default();
            (tm.desc.table, tm.desc.config) = (*u.choose(&[0, 1, 254, 255])?, u.int_in_range(0..=15)?);
            if u.arbitrary()? {
                tm.desc.vacancy = Some((u.int_in_range(0..=100)?, u.int_in_range(0..=100)?, 0));
            }
            Message::TableMod(tm)
        }
        8 => {
            let mut pm = PortMod::default();
            (pm.number, pm.config, pm.mask) = (OfPort(u.int_in_range(1..=3)?), u.arbitrary()?, u.arbitrary()?);
            Message::PortMod(pm)
        }
        9 => {
            let mut m = FlowMonitorRequest::default();
            (m.id, m.flags) = (u.int_in_range(1..=2)?, MonitorFlags::from_bits_truncate(u.arbitrary()?));
            m.command = *u.choose(&[MonitorCommand::Add, MonitorCommand::Modify, MonitorCommand::Delete])?;
            Message::FlowMonitorRequest(Page { more: false, items: vec![m] })
        }
        10 => Message::FlowMonitorCancel(u.int_in_range(1..=2)?),
        11 => Message::PortDescRequest(Default::default()),
        12 => Message::GetAsyncRequest,
        13 => {
            let actions = Parser::default().actions(u.choose(ACTIONS)?).unwrap_or_default();
            Message::PacketOut(PacketOut::new(OfPort(u.int_in_range(1..=3)?), actions, vec![0; 60]))
        }
        14 => Message::SetPacketInFormat(u.int_in_range(0..=3)?),
        _ => Message::TlvTableRequest,
    })
}

fn change(u: &mut Unstructured) -> Result<Message> {
    match u.int_in_range(0..=5)? {
        0..=3 => flow_mod(u),
        _ => group_mod(u),
    }
}

impl World {
    fn new() -> World {
        let (mut of, mut dp, mut ends) = (Ofproto::new(), Datapath::new(), Vec::new());
        for n in 1..=2 {
            let (port, end) = MemPort::new(format!("p{n}"), 4);
            ends.push(end);
            let number = dp.port_add(PortSpec::Device(Box::new(port)), None).expect("a new port");
            of.port_add(Port::new(OfPort(n), number, format!("p{n}")));
        }
        let now = Instant::from_secs(1);
        World { of, dp, ends, seen: 0, is_known: true, now, controllers: Vec::new(), xid: 0 }
    }

    /// Packets come in by a port, some of them more than once.
    fn packets(&mut self, u: &mut Unstructured) -> Result<()> {
        let from = u.int_in_range(1..=2u8)?;
        let mut packet = traffic::packet(u, from)?;
        let key = traffic::key_of(&mut packet);
        let port = self.of.port(OfPort(from.into())).expect("a port of ours");
        let is_closed = port.config.intersects(PortConfig::DOWN | PortConfig::NO_RECV | PortConfig::NO_RECV_STP);
        // What is no frame, the datapath drops.
        let is_dropped = packet.len() < 14 || self.of.fragments() == Fragments::Drop && key.nw_frag != 0;
        let times = u.int_in_range(1..=3u8)?;
        for _ in 0..times {
            assert!(self.ends[usize::from(from) - 1].push(packet.clone()));
            let mut upcalls = Vec::new();
            self.dp.poll(self.now, &mut upcalls);
            upcalls.into_iter().for_each(|upcall| self.of.handle_upcall(&mut self.dp, upcall, self.now));
            self.ends.iter().for_each(|end| while end.pop().is_some() {});
        }
        if is_closed {
            // One kind of packet passes a port that takes no others.
            self.is_known = false;
        }
        self.seen += if is_dropped { 0 } else { times.into() };
        Ok(())
    }

    /// Asserts the oracles.
    fn verify(&mut self, u: &mut Unstructured) {
        assert!(self.dp.ledger().balanced(), "{}", self.dp.ledger());
        let noise = u.arbitrary().unwrap_or(0x5555_0123_4567_89ab_cdef);
        self.of.verify(&self.dp, noise);
        self.of.synchronise(&mut self.dp, self.now);
        self.of.verify(&self.dp, !noise);
        let lookups = self.of.table_stats(0).lookups;
        assert!(!self.is_known || lookups == self.seen, "{lookups} lookups, {} packets", self.seen);
        for table in 0..4 {
            let seen = self.of.table_stats(table);
            let flows: u64 = self.of.flows().filter(|f| f.table == table).map(|f| f.packets).sum();
            assert!(seen.matches <= seen.lookups && flows <= seen.matches, "table {table}: {seen:?}, {flows} by flows");
        }
    }

    fn step(&mut self, u: &mut Unstructured) -> Result<()> {
        match u.int_in_range(0..=15)? {
            0 if self.controllers.len() < 4 => self.connect(u)?,
            _ if self.controllers.is_empty() => self.connect(u)?,
            1 => {
                let at = u.choose_index(self.controllers.len())?;
                assert!(self.of.disconnect(self.controllers.remove(at).id));
            }
            2 => {
                self.now += Duration::from_millis(u.int_in_range(0..=3000)?);
                self.of.run(&mut self.dp, self.now);
            }
            3 => {
                let config = TableConfig::default();
                let limit = if u.arbitrary()? { Some(u.int_in_range(0..=4)?) } else { None };
                let evict_by = if u.arbitrary()? { Some(Vec::new()) } else { None };
                let mut config = config;
                (config.limit, config.evict_by) = (limit, evict_by);
                self.of.configure_table(u.int_in_range(0..=3)?, config, self.now);
            }
            4 => {
                let at = u.choose_index(self.controllers.len())?;
                self.read(at, usize::from(u.int_in_range(0..=8u8)?));
            }
            5 => self.bundle(u)?,
            6 => self.raw(u)?,
            7 => self.say(u, meter_mod)?,
            8 => self.say(u, other)?,
            9 | 12 => self.packets(u)?,
            10 => self.say(u, |_| Ok(Message::BarrierRequest))?,
            _ => self.say(u, change)?,
        }
        Ok(())
    }

    fn connect(&mut self, u: &mut Unstructured) -> Result<()> {
        let version = *u.choose(&Version::KNOWN)?;
        let mut config = ConnectionConfig::new(version);
        config.rate_limit =
            if u.arbitrary()? { Some(RateLimit::new(u.int_in_range(0..=9)?, 1).with_queue(2)) } else { None };
        let id = self.of.connect(&config);
        self.controllers.push(Controller { id, version, barriers: VecDeque::new() });
        Ok(())
    }

    fn say(&mut self, u: &mut Unstructured, make: impl Fn(&mut Unstructured) -> Result<Message>) -> Result<()> {
        let at = u.choose_index(self.controllers.len())?;
        let message = make(u)?;
        self.send(at, &message);
        Ok(())
    }

    fn send(&mut self, at: usize, message: &Message) {
        self.xid += 1;
        let c = &mut self.controllers[at];
        let Ok(bytes) = message.encode(c.version, self.xid) else { return };
        let sent = self.of.handle_message(&mut self.dp, c.id, &bytes, self.now).is_ok();
        if sent && *message == Message::BarrierRequest {
            c.barriers.push_back(self.xid);
        }
    }

    fn bundle(&mut self, u: &mut Unstructured) -> Result<()> {
        let at = u.choose_index(self.controllers.len())?;
        let version = self.controllers[at].version;
        let mut control = BundleControl::default();
        (control.bundle, control.flags) = (u.int_in_range(0..=1)?, u.int_in_range(0..=3)?);
        for _ in 0..u.int_in_range(0..=4u8)? {
            if u.ratio(1, 4)? {
                control.kind = *u.choose(&[0, 2, 6, 1])?;
                self.send(at, &Message::BundleControl(control.clone()));
            }
            let mut add = BundleAdd::default();
            (add.bundle, add.flags) = (control.bundle, control.flags);
            let Ok(message) = change(u)?.encode(version, self.xid + 1) else { continue };
            add.message = message;
            self.send(at, &Message::BundleAdd(add));
        }
        control.kind = 4;
        self.send(at, &Message::BundleControl(control));
        Ok(())
    }

    /// Bytes that may be no message, with a header that is one.
    fn raw(&mut self, u: &mut Unstructured) -> Result<()> {
        let at = u.choose_index(self.controllers.len())?;
        self.is_known = false;
        let len = u.int_in_range(0..=60)?;
        let body = u.bytes(len)?;
        let mut bytes = vec![self.controllers[at].version.0, u.int_in_range(0..=34)?];
        bytes.extend((8 + len as u16).to_be_bytes());
        bytes.extend([0xff; 4]);
        bytes.extend(body);
        if matches!(Message::decode(&bytes), Ok((_, Message::BarrierRequest))) {
            self.controllers[at].barriers.push_back(u32::MAX);
        }
        let sent = self.of.handle_message(&mut self.dp, self.controllers[at].id, &bytes, self.now);
        assert!(sent.is_ok(), "few messages wait");
        Ok(())
    }

    /// Reads messages: they can be read, and barriers come back in their order.
    fn read(&mut self, at: usize, most: usize) {
        let c = &mut self.controllers[at];
        for _ in 0..most {
            let Some(output) = self.of.poll_output(&mut self.dp, c.id, self.now) else { break };
            let header = Header::decode(&output.message).expect("a header");
            assert_eq!((header.version, usize::from(header.length)), (c.version, output.message.len()));
            match Message::decode(&output.message) {
                Ok((h, Message::BarrierReply)) => assert_eq!(c.barriers.pop_front(), Some(h.xid)),
                Ok(_) => {}
                Err(e) => panic!("{e}: {:x?}", output.message),
            }
        }
    }

    fn finish(mut self) {
        // A sequence is short: what is under way after so many rounds of slices does not end.
        for _ in 0..ROUNDS {
            if !self.of.is_under_way() && !self.controllers.iter().any(|c| self.of.has_output(c.id)) {
                break;
            }
            self.of.run(&mut self.dp, self.now);
            (0..self.controllers.len()).for_each(|at| self.read(at, usize::MAX));
        }
        assert!(!self.of.is_under_way(), "what messages began has no end");
        for c in &self.controllers {
            assert!(c.barriers.is_empty() && !self.of.has_output(c.id) && self.of.wants_input(c.id));
        }
        self.of.run(&mut self.dp, self.now + Duration::from_secs(100));
        for c in &self.controllers {
            self.of.disconnect(c.id);
        }
        self.of.check();
    }
}
