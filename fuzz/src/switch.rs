//! The datapath's accounts, and the pipeline with and without its caches.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use ovs_dpif::netdev::{MemPort, MemPortPeer};
use ovs_dpif::userspace::{Datapath, Limits};
use ovs_dpif::{
    Cookie, CtRequest, DpAction, DpFlow, DpFlowStats, DpStats, Dpif, DpifError, DropReason, Features, HashAlgorithm,
    Ledger, PortInfo, PortNo, PortSpec, Resolution, Ufid, Upcall, Userspace, meter, text,
};
use ovs_ofproto::codec::{Framer, Message};
use ovs_ofproto::pipeline::{Event, Ofproto, Port, VlanMode};
use ovs_ofproto::{FlowMod, FlowModCommand};
use ovs_packet::field::KeyAttr;
use ovs_packet::{FlowKey, FlowMask, Instant, Match, OfPort, Packet};

use crate::traffic;

const PORTS: u8 = 3;

/// Megaflows with actions of the input's choice: every packet is counted out once, whatever they do.
pub fn datapath_ledger(data: &[u8]) {
    let _ = ledger(&mut Unstructured::new(data));
}

/// Keys and actions in words: what is read is written, and read back as it was.
pub fn datapath_text(data: &[u8]) {
    let Ok(words) = std::str::from_utf8(data) else { return };
    if let Ok(list) = text::parse_actions(words, &()) {
        let written = text::actions(&list).to_string();
        let again = text::parse_actions(&written, &()).expect("what was written is read");
        assert_eq!(text::actions(&again).to_string(), written);
        let written = text::reasoned_actions(&list, &()).to_string();
        let again = text::parse_actions(&written, &()).expect("what was written is read");
        assert_eq!(text::reasoned_actions(&again, &()).to_string(), written);
    }
    if let Ok((key, mask)) = text::parse_key(words, &()) {
        // Attributes that do not go with the Ethertype are read, and not written.
        let written = text::masked_key(&key, &mask, &()).to_string();
        let (key, mask) = text::parse_key(&written, &()).expect("what was written is read");
        assert_eq!(text::masked_key(&key, &mask, &()).to_string(), written);
    }
}

fn actions(u: &mut Unstructured, depth: u8) -> Result<Vec<DpAction>> {
    let mut list = Vec::new();
    for _ in 0..u.int_in_range(0..=4)? {
        list.push(match u.int_in_range(0..=16)? {
            0 | 1 => DpAction::Output(PortNo(u.int_in_range(0..=4)?)),
            2 => DpAction::Userspace(Userspace::new(Cookie::Controller {
                reason: 1,
                dont_send: false,
                continuation: false,
                recirc_id: 0,
                rule_cookie: 0,
                table: 0,
                controller_id: 0,
                max_len: u.arbitrary()?,
            })),
            3 => {
                let (attr, text) = *u.choose(&[
                    (KeyAttr::Ethernet, "dl_src=02:00:00:00:00:09"),
                    (KeyAttr::Ipv4, "ip,nw_src=10.9.9.9,nw_ttl=9"),
                    (KeyAttr::Ipv6, "ipv6,ipv6_dst=::9"),
                    (KeyAttr::Tcp, "tcp,tp_dst=9"),
                    (KeyAttr::Udp, "udp,tp_dst=9"),
                    (KeyAttr::Vlan, "dl_vlan=9"),
                ])?;
                DpAction::Set(attr, (&text.parse::<Match>().expect("a match")).into())
            }
            4 => DpAction::PushVlan { tpid: 0x8100, tci: u.arbitrary()? },
            5 => DpAction::PopVlan,
            6 => DpAction::Ct(if u.arbitrary()? { CtRequest::commit(1) } else { CtRequest::lookup(1) }),
            7 => DpAction::CtClear,
            10 => DpAction::Trunc(u.arbitrary()?),
            11 => DpAction::Meter(u.int_in_range(0..=1)?),
            12 => DpAction::Hash { algorithm: HashAlgorithm::L4, basis: u.arbitrary()? },
            13 if depth < 3 => DpAction::DecTtl(actions(u, depth + 1)?),
            14 if depth < 3 => DpAction::Sample { probability: u.arbitrary()?, actions: actions(u, depth + 1)? },
            15 if depth < 3 => DpAction::CheckPktLen {
                len: u.int_in_range(0..=2000)?,
                greater: actions(u, depth + 1)?,
                less_equal: actions(u, depth + 1)?,
            },
            8 => DpAction::Recirc(u.int_in_range(0..=3)?),
            9 if depth < 3 => DpAction::Clone(actions(u, depth + 1)?),
            _ => DpAction::Drop(*u.choose(DropReason::ALL)?),
        });
    }
    Ok(list)
}

fn ledger(u: &mut Unstructured) -> Result<()> {
    let limits = {
        let mut limits = Limits::default();
        (limits.flows, limits.upcalls, limits.connections) = (8, 4, 4);
        limits
    };
    let mut dp = Datapath::with_limits(limits, 1);
    let ends = plug(&mut dp, u.int_in_range(1..=40)?);
    let mut now = Instant::from_secs(1);
    let mut upcalls = Vec::new();
    for _ in 0..128 {
        if u.is_empty() {
            break;
        }
        match u.int_in_range(0..=6)? {
            0 => {
                let matches =
                    ["recirc_id=0", "recirc_id=1", "recirc_id=2,udp", "recirc_id=0,tcp,tp_dst=80", "recirc_id=3"];
                let m: Match = u.choose(&matches)?.parse().expect("a match");
                let list = actions(u, 0)?;
                assert!(!text::actions(&list).to_string().is_empty());
                if let Ok(ufid) = dp.flow_put(&m.key(), &m.mask(), &list) {
                    let flow = dp.flow_get(ufid).expect("it was put there");
                    assert!(flow.actions == list && !text::flow(&flow, now).to_string().is_empty());
                }
            }
            1 => {
                let flows = dp.flow_dump().expect("a dump");
                if !flows.is_empty() {
                    let flow = u.choose(&flows)?;
                    dp.flow_del(flow.ufid).expect("it was in the dump");
                }
            }
            2 => {
                let list = actions(u, 0)?;
                dp.inject(traffic::packet(u, 1)?, &list, now, &mut upcalls);
            }
            3 => now += Duration::from_secs(u.int_in_range(0..=100)?),
            _ => {
                let from = u.int_in_range(1..=PORTS)?;
                let packet = traffic::packet(u, from)?;
                for _ in 0..u.int_in_range(1..=3)? {
                    ends[usize::from(from) - 1].push(packet.clone());
                }
                dp.poll(now, &mut upcalls);
            }
        }
        assert!(dp.ledger().balanced(), "{}", dp.ledger());
        assert!(dp.stats().expect("counters").flows <= 8 && dp.ledger().in_flight <= 4 && dp.connection_count() <= 4);
        for _ in 0..64 {
            let Some(upcall) = upcalls.pop() else { break };
            let list = actions(u, 0)?;
            let resolution = match u.int_in_range(0..=2)? {
                0 => Resolution::Consumed,
                1 => Resolution::Drop(DropReason::TableMiss),
                _ => Resolution::Execute(&list),
            };
            dp.resolve(upcall, resolution, now, &mut upcalls);
            assert!(dp.ledger().balanced(), "{}", dp.ledger());
        }
        for upcall in std::mem::take(&mut upcalls) {
            dp.resolve(upcall, Resolution::Consumed, now, &mut Vec::new());
        }
        assert_eq!(dp.ledger().in_flight, 0);
    }
    Ok(())
}

/// Ports 1 to [`PORTS`], and their other ends.
fn plug(dp: &mut dyn Dpif, queue: usize) -> Vec<MemPortPeer> {
    let plug = |n| {
        let (port, end) = MemPort::new(format!("p{n}"), queue);
        dp.port_add(PortSpec::Device(Box::new(port)), Some(PortNo(n))).expect("a port");
        end
    };
    (1..=PORTS.into()).map(plug).collect()
}

/// A datapath that says it installs megaflows and does not: every packet goes through the pipeline.
#[derive(Debug)]
struct Uncached(Datapath);

impl Dpif for Uncached {
    fn kind(&self) -> &'static str {
        "uncached"
    }
    fn port_add(&mut self, spec: PortSpec, wanted: Option<PortNo>) -> std::result::Result<PortNo, DpifError> {
        self.0.port_add(spec, wanted)
    }
    fn port_del(&mut self, port: PortNo) -> std::result::Result<(), DpifError> {
        self.0.port_del(port)
    }
    fn ports(&self) -> std::result::Result<Vec<PortInfo>, DpifError> {
        self.0.ports()
    }
    fn flow_put(&mut self, _: &FlowKey, _: &FlowMask, _: &[DpAction]) -> std::result::Result<Ufid, DpifError> {
        Err(DpifError::FlowTableFull(0))
    }
    fn flow_del(&mut self, ufid: Ufid) -> std::result::Result<DpFlow, DpifError> {
        Err(DpifError::NoSuchFlow(ufid))
    }
    fn flow_get(&self, ufid: Ufid) -> std::result::Result<DpFlow, DpifError> {
        Err(DpifError::NoSuchFlow(ufid))
    }
    fn flow_stats(&self, _: &mut dyn FnMut(Ufid, DpFlowStats)) -> std::result::Result<(), DpifError> {
        Ok(())
    }
    fn flow_dump(&self) -> std::result::Result<Vec<DpFlow>, DpifError> {
        Ok(Vec::new())
    }
    fn flow_flush(&mut self) -> std::result::Result<(), DpifError> {
        Ok(())
    }
    fn meter_set(&mut self, id: u32, config: &meter::Config) -> std::result::Result<(), DpifError> {
        self.0.meter_set(id, config)
    }
    fn meter_stats(&self, id: u32) -> std::result::Result<meter::Stats, DpifError> {
        self.0.meter_stats(id)
    }
    fn meter_del(&mut self, id: u32) -> std::result::Result<meter::Stats, DpifError> {
        self.0.meter_del(id)
    }
    fn features(&self) -> Features {
        self.0.features()
    }
    fn poll(&mut self, now: Instant, upcalls: &mut Vec<Upcall>) -> usize {
        self.0.poll(now, upcalls)
    }
    fn resolve(&mut self, upcall: Upcall, resolution: Resolution<'_>, now: Instant, upcalls: &mut Vec<Upcall>) {
        self.0.resolve(upcall, resolution, now, upcalls);
    }
    fn inject(&mut self, packet: Packet, actions: &[DpAction], now: Instant, upcalls: &mut Vec<Upcall>) {
        self.0.inject(packet, actions, now, upcalls);
    }
    fn stats(&self) -> std::result::Result<DpStats, DpifError> {
        self.0.stats()
    }
    fn ledger(&self) -> &Ledger {
        self.0.ledger()
    }
}

/// An OpenFlow switch over a datapath, and the other ends of its ports.
struct Rig {
    dp: Box<dyn Dpif>,
    of: Ofproto,
    ends: Vec<MemPortPeer>,
}

impl Rig {
    /// Port 2 is an access port of VLAN 5 when `access`.
    fn new(mut dp: Box<dyn Dpif>, access: bool) -> Rig {
        let ends = plug(dp.as_mut(), 64);
        let mut of = Ofproto::new();
        for n in 1..=PORTS.into() {
            let mut port = Port::new(OfPort(n), PortNo(n), format!("p{n}"));
            if access && n == 2 {
                port.vlan = VlanMode::Access(5);
            }
            of.port_add(port);
        }
        Rig { dp, of, ends }
    }

    fn flow_mod(&mut self, flow: &FlowMod, now: Instant) -> bool {
        self.of.flow_mod(self.dp.as_mut(), flow, now).is_ok()
    }

    /// What came out of each port and what controllers hear, when `packet` comes in by port `from`.
    fn send(&mut self, from: u8, packet: &Packet, now: Instant) -> (Vec<Vec<Vec<u8>>>, Vec<String>) {
        self.ends[usize::from(from) - 1].push(packet.clone());
        self.run(now);
        self.heard()
    }

    fn run(&mut self, now: Instant) {
        let mut upcalls = Vec::new();
        self.dp.poll(now, &mut upcalls);
        upcalls.into_iter().for_each(|upcall| self.of.handle_upcall(self.dp.as_mut(), upcall, now));
        self.of.run(self.dp.as_mut(), now);
        assert!(self.dp.ledger().balanced(), "{}", self.dp.ledger());
        assert_eq!(self.dp.ledger().in_flight, 0);
    }

    fn heard(&mut self) -> (Vec<Vec<Vec<u8>>>, Vec<String>) {
        let out = |end: &MemPortPeer| std::iter::from_fn(|| end.pop()).map(|p| p.data().to_vec()).collect();
        let events = std::iter::from_fn(|| self.of.poll_event());
        let mut told: Vec<_> = events.filter(|e| matches!(e, Event::PacketIn(_))).map(|e| format!("{e:?}")).collect();
        let mut sent: Vec<Vec<_>> = self.ends.iter().map(out).collect();
        // Copies of one packet may overtake one another.
        sent.iter_mut().for_each(|port| port.sort());
        told.sort();
        (sent, told)
    }
}

const MATCHES: &[&str] = &[
    "",
    "in_port=1",
    "in_port=2",
    "arp",
    "ip",
    "ip,nw_dst=10.0.0.2",
    "ip,nw_dst=10.0.0.0/31",
    "ip,nw_src=10.0.0.1",
    "ip,nw_ttl=1",
    "ip,nw_frag=later",
    "tcp",
    "tcp,tp_dst=80",
    "tcp,tp_dst=0x50/0xfff0",
    "tcp,tcp_flags=+syn-ack",
    "udp,tp_src=1000",
    "icmp,icmp_type=8",
    "ipv6,ipv6_dst=fe80::/127",
    "tcp6,tp_dst=80",
    "udp6",
    "dl_vlan=5",
    "vlan_tci=0",
    "vlan_tci=0x1000/0x1000",
    "dl_vlan_pcp=1",
    "dl_dst=02:00:00:00:00:02",
    "dl_src=02:00:00:00:00:01/ff:ff:ff:ff:ff:fe",
    "dl_type=0x1234",
    "reg0=1",
    "reg0=0x1/0x1,ip",
    "metadata=0x2/0xf",
    "ct_state=+trk+new,ip",
    "ct_state=+trk+est,ip",
    "ct_state=-trk",
    "ct_state=+inv+trk",
    "ct_state=+trk,ct_mark=1,ip",
];

/// The first of these are for packets of any kind, the others for IP.
const ACTIONS: &[&str] = &[
    "drop",
    "NORMAL",
    "output:1",
    "output:2",
    "output:3",
    "IN_PORT",
    "FLOOD",
    "ALL",
    "CONTROLLER:64",
    "resubmit(,1)",
    "resubmit(,2)",
    "resubmit(3,1)",
    "set_field:1->reg0",
    "set_field:0x2->metadata,resubmit(,2)",
    "load:3->NXM_NX_REG0[0..3]",
    "set_field:02:00:00:00:00:04->eth_dst",
    "mod_dl_src:02:00:00:00:00:0a",
    "push_vlan:0x8100,set_field:4102->vlan_vid",
    "pop_vlan",
    "clone(set_field:02:00:00:00:00:09->eth_src,output:2)",
    "ct_clear",
    "write_actions(output:3)",
    "goto_table:1",
    "dec_ttl",
    "ct(table=1)",
    "ct(table=2,zone=1)",
    "ct(commit)",
    "ct(commit,zone=1,exec(set_field:1->ct_mark))",
    "set_field:10.0.0.9->ip_dst",
    "mod_nw_tos:32",
];

fn flow(u: &mut Unstructured) -> Result<Option<FlowMod>> {
    let (table, priority): (u8, u8) = (u.int_in_range(0..=2)?, u.int_in_range(0..=3)?);
    let m = *u.choose(MATCHES)?;
    let mut list: Vec<&str> = Vec::new();
    for _ in 0..u.int_in_range(1..=3)? {
        list.push(u.choose(ACTIONS)?);
    }
    let text = format!("table={table},priority={priority},{m},actions={}", list.join(","));
    // What does not go together is refused; so are most lists with a drop in them.
    Ok(text.parse().ok())
}

/// Flows and packets of the input's choice through two switches, one of which has no megaflows: the same packets come
/// out, controllers hear the same, and flows have the same counters. Stations stay where they are: megaflows learn of a
/// move no sooner than the packet that told of it has gone its way.
pub fn megaflow_soundness(data: &[u8]) {
    let _ = soundness(&mut Unstructured::new(data));
}

fn soundness(u: &mut Unstructured) -> Result<()> {
    let access = u.arbitrary()?;
    let mut cached = Rig::new(Box::new(Datapath::new()), access);
    let mut plain = Rig::new(Box::new(Uncached(Datapath::new())), access);
    let mut now = Instant::from_secs(1000);
    for step in 0..96 {
        if u.is_empty() {
            break;
        }
        match if step < 4 { 0 } else { u.int_in_range(0..=7)? } {
            0 => {
                if let Some(flow) = flow(u)? {
                    assert_eq!(cached.flow_mod(&flow, now), plain.flow_mod(&flow, now));
                }
            }
            1 => {
                let mut flow = FlowMod::default();
                flow.command = FlowModCommand::Delete;
                flow.table = u.int_in_range(0..=2)?;
                flow.matching = u.choose(MATCHES)?.parse().expect("a match");
                assert_eq!(cached.flow_mod(&flow, now), plain.flow_mod(&flow, now));
            }
            // Less than it takes a learnt address to age.
            2 => now += Duration::from_millis(u.int_in_range(0..=2000)?),
            _ => {
                let from = u.int_in_range(1..=PORTS)?;
                let packet = traffic::packet(u, from)?;
                for _ in 0..u.int_in_range(1..=2)? {
                    let (a, b) = (cached.send(from, &packet, now), plain.send(from, &packet, now));
                    assert_eq!(a, b, "{packet:?} from {from}\n{}", describe(&cached, now));
                }
            }
        }
    }
    // Time to read the counters.
    now += Duration::from_secs(1);
    cached.run(now);
    plain.run(now);
    let counters =
        |rig: &Rig| rig.of.flows().map(|f| (f.table, f.priority, f.matching, f.packets, f.bytes)).collect::<Vec<_>>();
    assert_eq!(counters(&cached), counters(&plain));
    Ok(())
}

fn describe(rig: &Rig, now: Instant) -> String {
    let flows = rig.of.flows().map(|f| format!("{f:?}\n"));
    let megaflows = rig.dp.flow_dump().expect("a dump").into_iter().map(|f| format!("{}\n", text::flow(&f, now)));
    flows.chain(megaflows).collect()
}

/// A controller's stream executed on a live switch: whatever it asks for, packets are accounted for.
pub fn openflow_execute(data: &[u8]) {
    let mut rig = Rig::new(Box::new(Datapath::new()), false);
    let mut now = Instant::from_secs(1);
    let mut framer = Framer::new();
    framer.push(data);
    let probes: Vec<_> = (1..=PORTS)
        .flat_map(|from| {
            [2, 4, 0].map(|kind| (from, traffic::packet(&mut Unstructured::new(&[1, 0, 3, kind, 0, 9, 9]), from)))
        })
        .collect();
    for frame in framer.map_while(std::result::Result::ok).take(64) {
        match Message::decode(&frame) {
            Ok((_, Message::FlowMod(flow))) => {
                let before = rig.of.flow_count();
                if rig.flow_mod(&flow, now) && flow.command == FlowModCommand::Add {
                    assert!(rig.of.flow_count() <= before + 1);
                }
            }
            Ok((_, Message::PacketOut(out))) => {
                let packet = Packet::from_slice(&out.data);
                rig.of.packet_out(rig.dp.as_mut(), packet, out.in_port, &out.actions, now);
            }
            _ => {}
        }
        for (from, packet) in &probes {
            if let Ok(packet) = packet {
                rig.send(*from, packet, now);
            }
        }
        now += Duration::from_millis(700);
    }
    rig.run(now + Duration::from_secs(100_000));
}
