//! The switch as a value: flows in words go in, packets go through, and the megaflow is asserted, not only the outcome.

use std::time::Duration;

use ovs_dpif::{Dpif, DropReason, text};
use ovs_ofproto::FlowModCommand::{self, Add, Delete, DeleteStrict, Modify, ModifyStrict};
use ovs_ofproto::codec::{FlowStatsRequest, Header, Message, OfError, PacketInReason, PacketOut, Version};
use ovs_ofproto::pipeline::{Event, FlowModError, RemovedReason};
use ovs_ofproto::text::Parser;
use ovs_packet::field::FieldId;
use ovs_packet::key::{FlowKey, FlowMask};
use ovs_packet::{Match, OfPort, Packet, compose, extract};
use proptest::prelude::*;

use crate::world::{World, flow, key, packet};

fn with(flows: &[&str]) -> World {
    World::with(4, flows)
}

impl World {
    /// Sends a packet in words; those that came out as `PORT: MATCH`.
    fn words_out(&mut self, port: u32, words: &str) -> Vec<String> {
        let out = self.send(port, packet(words));
        out.into_iter().map(|(port, p)| format!("{port}: {}", words_of(&p))).collect()
    }

    /// The megaflows, without their counters.
    fn megaflows(&self) -> Vec<String> {
        let flows = self.dp.flow_dump().unwrap();
        let mut lines: Vec<_> = flows
            .iter()
            .map(|f| format!("{}, actions:{}", text::key(&f.matching()), text::actions(&f.actions)))
            .map(|l| l.replace("packet_type(ns=0,id=0),", ""))
            .collect();
        lines.sort();
        lines
    }

    /// Sends a message over a new connection; the answers.
    fn exchange(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        let c = self.connect(Version::V1_3);
        self.tell(c, message);
        let answers = self.outputs(c);
        assert!(self.of.disconnect(c));
        answers
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.dp.ledger().drops(reason)
    }

    fn counters(&self, priority: u16) -> (u64, u64) {
        let flow = self.of.flows().find(|f| f.priority == i32::from(priority)).unwrap();
        (flow.packets, flow.bytes)
    }
}

fn words_of(packet: &Packet) -> String {
    Match::exact_non_zero(FlowKey { in_port: 0.into(), ..key(packet) }).to_string()
}

const UDP: &str = "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_src=5,tp_dst=53";

/// One flow and what becomes of the UDP packet above: what comes out of which ports (as changes to it), and the
/// megaflow.
#[test]
fn actions_and_their_megaflows() {
    const KEY: &str = "recirc_id(0),in_port(1),";
    const IP: &str = "eth_type(0x0800),ipv4(frag=no)";
    for (flow, changes, key, actions) in [
        ("actions=2", vec![(2, "", "")], format!("{KEY}{IP}"), "2"),
        ("actions=drop", vec![], format!("{KEY}{IP}"), "drop"),
        ("actions=1", vec![], format!("{KEY}{IP}"), "drop"),
        ("actions=IN_PORT", vec![(1, "", "")], format!("{KEY}{IP}"), "1"),
        ("actions=FLOOD", vec![(2, "", ""), (3, "", ""), (4, "", "")], format!("{KEY}{IP}"), "2,3,4"),
        (
            "udp,tp_dst=53,actions=3",
            vec![(3, "", "")],
            format!("{KEY}eth_type(0x0800),ipv4(proto=17,frag=no),udp(dst=53)"),
            "3",
        ),
        (
            // A packet that differs in the IP protocol is told apart without looking at its ports.
            "tcp,tp_dst=53,actions=3",
            vec![],
            format!("{KEY}eth_type(0x0800),ipv4(proto=17,frag=no)"),
            "drop",
        ),
        (
            "ip,actions=mod_nw_dst:9.9.9.9,2",
            vec![(2, "nw_dst=10.0.0.2", "nw_dst=9.9.9.9")],
            format!("{KEY}eth_type(0x0800),ipv4(dst=10.0.0.2,proto=17,frag=no)"),
            "set(ipv4(dst=9.9.9.9)),2",
        ),
        (
            // What is set to what it was needs no action.
            "ip,actions=mod_nw_dst:10.0.0.2,2",
            vec![(2, "", "")],
            format!("{KEY}eth_type(0x0800),ipv4(dst=10.0.0.2,proto=17,frag=no)"),
            "2",
        ),
        (
            "ip,actions=set_field:0.0.0.9/0.0.0.255->ip_src,2",
            vec![(2, "nw_src=10.0.0.1", "nw_src=10.0.0.9")],
            format!("{KEY}eth_type(0x0800),ipv4(src=0.0.0.1/0.0.0.255,proto=17,frag=no)"),
            "set(ipv4(src=0.0.0.9/0.0.0.255)),2",
        ),
        (
            "actions=push_vlan:0x8100,set_field:4105->vlan_vid,2,pop_vlan,3",
            vec![(2, "udp,", "udp,dl_vlan=9,dl_vlan_pcp=0,"), (3, "", "")],
            format!("{KEY}{IP}"),
            "push_vlan(vid=9,pcp=0),2,pop_vlan,3",
        ),
        (
            "actions=clone(mod_dl_dst:02:00:00:00:00:99,2),3",
            vec![(2, "dl_dst=02:00:00:00:00:02", "dl_dst=02:00:00:00:00:99"), (3, "", "")],
            format!("{KEY}eth(dst=02:00:00:00:00:02),{IP}"),
            "set(eth(dst=02:00:00:00:00:99)),2,set(eth(dst=02:00:00:00:00:02)),3",
        ),
        (
            "ip,actions=dec_ttl,2",
            vec![(2, "nw_ttl=64", "nw_ttl=63")],
            format!("{KEY}eth_type(0x0800),ipv4(proto=17,ttl=64,frag=no)"),
            "set(ipv4(ttl=63)),2",
        ),
        (
            "udp,actions=mod_tp_dst:7,mod_dl_src:02:00:00:00:00:77,2",
            vec![(2, "dl_src=02:00:00:00:00:01", "dl_src=02:00:00:00:00:77"), (2, "tp_dst=53", "tp_dst=7")],
            format!("{KEY}eth(src=02:00:00:00:00:01),eth_type(0x0800),ipv4(proto=17,frag=no),udp(dst=53)"),
            "set(eth(src=02:00:00:00:00:77)),set(udp(dst=7)),2",
        ),
    ] {
        let mut b = with(&[flow]);
        let out = b.words_out(1, UDP);
        let mut expected: Vec<(u32, String)> = Vec::new();
        for (port, from, to) in changes {
            match expected.iter_mut().find(|(p, _)| *p == port) {
                Some((_, text)) => *text = text.replace(from, to),
                None => expected.push((port, UDP.replace(from, to))),
            }
        }
        let normal = |text: &str| text.parse::<Match>().unwrap();
        let out: Vec<_> = out.iter().map(|l| l.split_once(": ").unwrap()).collect();
        assert_eq!(out.len(), expected.len(), "{flow}: {out:?}");
        for ((port, text), (expected_port, expected_text)) in out.iter().zip(&expected) {
            assert_eq!(*port, expected_port.to_string(), "{flow}");
            assert_eq!(vlan_free(normal(text)), vlan_free(normal(expected_text)), "{flow}");
        }
        assert_eq!(b.megaflows(), [format!("{key}, actions:{actions}")], "{flow}");
        // The second packet takes the megaflow, and comes out the same.
        let missed = b.dp.stats().unwrap().missed;
        assert_eq!(b.words_out(1, UDP).len(), expected.len(), "{flow}");
        assert_eq!(b.dp.stats().unwrap().missed, missed, "{flow}");
    }
}

/// The bits of a tag that the words of a match leave open: whether priority 0 was said.
fn vlan_free(m: Match) -> FlowKey {
    m.key()
}

#[test]
fn tables_lead_on_and_come_back() {
    let mut b = with(&[
        "table=0,udp,actions=load:5->NXM_NX_REG0[],resubmit(,10),3",
        "table=10,reg0=5,actions=2",
        "table=0,tcp,actions=write_metadata:7,goto_table:20",
        "table=20,ip,metadata=7,actions=write_actions(output:4,set_field:1.2.3.4->ip_dst),goto_table:21",
        "table=21,actions=2",
    ]);
    assert_eq!(b.words_out(1, UDP).len(), 2);
    let out = b.words_out(1, "tcp,nw_src=1.1.1.1,nw_dst=2.2.2.2");
    assert!(out[0].starts_with("2: tcp,") && out[0].contains("nw_dst=2.2.2.2"), "{out:?}");
    assert!(out[1].starts_with("4: tcp,") && out[1].contains("nw_dst=1.2.3.4"), "{out:?}");
    // Registers and metadata are the pipeline's own: no megaflow speaks of them.
    assert_eq!(
        b.megaflows(),
        [
            "recirc_id(0),in_port(1),eth_type(0x0800),ipv4(dst=2.2.2.2,proto=6,frag=no), actions:2,set(ipv4(dst=1.2.3.4)),4",
            "recirc_id(0),in_port(1),eth_type(0x0800),ipv4(proto=17,frag=no), actions:2,3",
        ]
    );
    assert_eq!((b.of.table_stats(10).lookups, b.of.table_stats(10).matches), (1, 1));
}

#[test]
fn loops_end() {
    for (flow, reason) in [
        ("table=0,actions=resubmit(,0)", DropReason::TooDeep),
        ("table=0,actions=2,resubmit(,1),resubmit(,1)", DropReason::TooManyResubmits),
    ] {
        let mut b = with(&[flow]);
        for t in 1..30 {
            b.change(Add, &format!("table={t},actions=resubmit(,{}),resubmit(,{})", t + 1, t + 1)).unwrap();
        }
        assert!(b.words_out(1, UDP).is_empty());
        assert_eq!(b.drops(reason), 1);
    }
}

#[test]
fn a_used_up_ttl_goes_to_the_controllers() {
    let mut b = with(&["cookie=0x77,ip,actions=dec_ttl,2"]);
    assert!(b.words_out(3, &UDP.replace("nw_ttl=64", "nw_ttl=1")).is_empty());
    let Some(Event::PacketIn(p)) = b.of.poll_event() else { panic!("no packet-in") };
    assert_eq!(
        (p.reason, p.cookie, p.metadata.to_string().as_str(), p.table),
        (PacketInReason::INVALID_TTL, 0x77, "in_port=3", 0)
    );
    assert_eq!((p.total_len, p.data.len(), b.dp.ledger().consumed), (49, 49, 1));
    assert!(b.of.poll_event().is_none());
}

#[test]
fn controllers_get_as_much_as_they_want() {
    let mut b = with(&["actions=controller:20,2"]);
    assert_eq!(b.words_out(1, UDP).len(), 1);
    let Some(Event::PacketIn(p)) = b.of.poll_event() else { panic!("no packet-in") };
    assert_eq!((p.reason, p.total_len, p.data.len()), (PacketInReason::ACTION, 49, 20));
    // With nobody there to take them, events are bounded.
    (0..5000).for_each(|_| drop(b.words_out(1, UDP)));
    assert_eq!((b.of.events_lost(), std::iter::from_fn(|| b.of.poll_event()).count()), (904, 4096));
}

#[test]
fn packet_out_goes_through_actions() {
    let mut b = with(&["in_port=4,actions=3"]);
    let actions = |text: &str| Parser::default().actions(text).unwrap();
    b.of.packet_out(&mut b.dp, packet(UDP), OfPort(4), &actions("2"), b.now);
    b.of.packet_out(&mut b.dp, packet(UDP), OfPort::CONTROLLER, &actions("FLOOD"), b.now);
    b.of.packet_out(&mut b.dp, packet(UDP), OfPort(4), &[ovs_ofproto::Action::output(OfPort::TABLE)], b.now);
    let ports: Vec<u32> = b.received().iter().map(|(port, _)| *port).collect();
    assert_eq!(ports, [1, 2, 2, 3, 3, 4]);
    assert_eq!((b.dp.ledger().injected, b.dp.ledger().balanced(), b.dp.stats().unwrap().flows), (3, true, 0));
}

#[test]
fn changes_take_effect_before_they_are_acknowledged() {
    let mut b = with(&["priority=1,actions=2"]);
    for (command, flow, port) in [
        (Add, "priority=5,udp,actions=3", Some("3")),
        (Modify, "udp,actions=4", Some("4")),
        (ModifyStrict, "priority=5,udp,actions=2", Some("2")),
        (ModifyStrict, "priority=6,udp,actions=3", Some("2")),
        (Add, "priority=9,udp,tp_dst=53,actions=drop", None),
        (DeleteStrict, "priority=9,udp", None),
        (DeleteStrict, "priority=9,udp,tp_dst=53", Some("2")),
        (Delete, "out_port=4", Some("2")),
        (Delete, "out_port=2", None),
    ] {
        b.words_out(1, UDP);
        b.change(command, flow).unwrap();
        let out = b.words_out(1, UDP);
        assert_eq!(out.first().map(|l| &l[..1]), port, "{command:?} {flow}");
    }
    assert_eq!((b.of.flow_count(), b.drops(DropReason::TableMiss)), (0, 1));
}

/// What went through megaflows and was not read yet when a flow took another's place is the new flow's, which has the old
/// one's counters. Found by the fuzz target `megaflow_soundness`.
#[test]
fn a_flow_that_takes_anothers_place_keeps_what_is_not_read_yet() {
    for (command, again) in
        [(FlowModCommand::Add, "priority=10,udp actions=output:3"), (FlowModCommand::Modify, "udp actions=output:3")]
    {
        let mut b = with(&["priority=10,udp actions=output:2"]);
        (0..3).for_each(|_| drop(b.words_out(1, UDP)));
        let (read, _) = b.counters(10);
        b.change(command, again).unwrap();
        assert!(read < 3, "the rest is in the datapath's counters only");
        b.words_out(1, UDP);
        b.pass(Duration::from_secs(1));
        assert_eq!(b.counters(10).0, 4, "{command:?}");
    }
}

#[test]
fn counters_follow_the_flows() {
    let mut b = with(&["priority=1,actions=2", "priority=5,udp,actions=3"]);
    (0..3).for_each(|_| drop(b.words_out(1, UDP)));
    b.pass(Duration::from_secs(1));
    assert_eq!(b.counters(5), (3, 3 * 49));
    // Counters stay with a flow that is modified, and what came later is credited to it too.
    b.change(Modify, "udp,actions=4").unwrap();
    (0..2).for_each(|_| drop(b.words_out(1, UDP)));
    b.pass(Duration::from_secs(1));
    assert_eq!((b.counters(5), b.counters(1)), ((5, 5 * 49), (0, 0)));
    b.change(Modify, "reset_counts,udp,actions=4").unwrap();
    assert_eq!(b.counters(5), (0, 0));
}

#[test]
fn flows_end_when_their_time_is_up() {
    let mut b = with(&[
        "priority=5,idle_timeout=2,send_flow_rem,cookie=5,actions=2",
        "priority=4,hard_timeout=5,send_flow_rem,cookie=4,actions=3",
        "priority=3,hard_timeout=5,actions=4",
    ]);
    let mut ports = Vec::new();
    for _ in 0..8 {
        ports.push(b.words_out(1, UDP).first().map_or(0, |l| l[..1].parse().unwrap()));
        b.pass(Duration::from_millis(1500));
    }
    assert_eq!(ports, [2; 8]);
    b.pass(Duration::from_millis(499));
    assert!(
        b.of.poll_event().is_some_and(|e| matches!(e, Event::FlowRemoved(f, RemovedReason::Hard) if f.cookie == 4))
    );
    assert!(b.of.poll_event().is_none() && b.of.flow_count() == 1);
    b.pass(Duration::from_millis(2));
    let Some(Event::FlowRemoved(flow, RemovedReason::Idle)) = b.of.poll_event() else { panic!("not removed") };
    assert_eq!((flow.cookie, flow.packets), (5, 8));
    assert!(b.words_out(1, UDP).is_empty() && b.of.flow_count() == 0);
    b.change(Add, "send_flow_rem,actions=2").unwrap();
    b.change(Delete, "").unwrap();
    assert!(matches!(b.of.poll_event(), Some(Event::FlowRemoved(_, RemovedReason::Delete))));
}

#[test]
fn modifications_that_cannot_be_are_refused() {
    let mut b = with(&["priority=5,udp,actions=2"]);
    assert_eq!(b.change(Add, "priority=5,ip,check_overlap,actions=3"), Err(FlowModError::Overlap(0)));
    assert_eq!(b.change(Add, "priority=6,ip,check_overlap,actions=3"), Ok(()));
    assert_eq!(b.change(Add, "table=5,actions=goto_table:9"), Ok(()));
    let mut fm = flow("table=5,actions=goto_table:9", Add);
    fm.instructions.goto = Some(5);
    assert_eq!(b.of.flow_mod(&mut b.dp, &fm, b.now), Err(FlowModError::Inconsistent(OfError::BadInstructionBadTable)));
    assert_eq!(b.of.flow_count(), 3);
}

#[test]
fn a_port_that_goes_takes_its_megaflows_along() {
    let mut b = with(&["actions=NORMAL"]);
    b.words_out(2, "dl_src=02:00:00:00:00:02,dl_dst=02:00:00:00:00:01,ip");
    assert_eq!(b.words_out(1, UDP).len(), 1);
    b.of.port_remove(OfPort(2));
    b.run();
    assert_eq!(b.words_out(1, UDP).iter().map(|l| &l[..1]).collect::<Vec<_>>(), ["3", "4"]);
    assert_eq!(b.of.macs().len(), 1);
}

#[test]
fn normal_learns_by_megaflows_too() {
    let mut b = with(&["actions=NORMAL"]);
    assert_eq!(b.words_out(1, UDP).len(), 3);
    let back = UDP
        .replace("02:00:00:00:00:01", "X")
        .replace("02:00:00:00:00:02", "02:00:00:00:00:01")
        .replace('X', "02:00:00:00:00:02");
    assert_eq!(b.words_out(2, &back).len(), 1);
    assert_eq!(b.words_out(1, UDP).len(), 1);
    // A station that speaks stays known, though its packets do not come up.
    for _ in 0..70 {
        b.pass(Duration::from_secs(5));
        b.words_out(1, UDP);
    }
    assert_eq!(b.of.macs().iter(b.now).map(|m| m.port).collect::<Vec<_>>(), [OfPort(1)]);
    assert_eq!(b.words_out(1, UDP).len(), 3);
    // A group address that bridges do not forward.
    b.words_out(1, "dl_src=02:00:00:00:00:01,dl_dst=01:80:c2:00:00:0e,dl_type=0x88cc");
    assert_eq!(b.drops(DropReason::ReservedAddress), 1);
}

#[test]
fn connections_recirculate() {
    let mut b = with(&[
        "table=0,udp,actions=load:9->NXM_NX_REG3[],ct(zone=7,table=1)",
        "table=1,reg3=9,ct_state=+trk+new,udp,actions=ct(commit,zone=7,exec(set_field:0x5->ct_mark)),2",
        "table=1,reg3=9,ct_state=+trk+est,ct_mark=5,udp,actions=3",
    ]);
    let back = UDP.replace("nw_src=10.0.0.1,nw_dst=10.0.0.2", "nw_src=10.0.0.2,nw_dst=10.0.0.1");
    let back = back.replace("tp_src=5,tp_dst=53", "tp_src=53,tp_dst=5");
    let ports = |out: Vec<String>| out.iter().map(|l| l[..1].to_string()).collect::<Vec<_>>();
    assert_eq!(ports(b.words_out(1, UDP)), ["2"]);
    assert_eq!(ports(b.words_out(4, &back)), ["3"]);
    assert_eq!(ports(b.words_out(1, UDP)), ["3"]);
    let flows = b.megaflows();
    assert!(flows.iter().any(|f| f.ends_with("actions:ct(zone=7),recirc(0x1)")), "{flows:#?}");
    assert!(
        flows
            .iter()
            .any(|f| f.contains(",ct_state(+new+trk),") && f.ends_with("ct(commit,zone=7,mark=0x5/0xffffffff),2")),
        "{flows:#?}"
    );
    assert_eq!(b.dp.connection_count(), 1);
    // States that nothing refers to any more are forgotten, and the megaflows with them.
    (0..60).for_each(|_| b.pass(Duration::from_secs(1)));
    assert_eq!(b.dp.stats().unwrap().flows, 0);
}

/// A switch's end of a conversation with a controller, in bytes.
#[test]
fn messages_are_obeyed_and_answered() {
    let mut b = with(&[]);
    b.of.set_datapath_id(0xabc);
    let ask = |b: &mut World, message: Message| {
        let bytes = message.encode(Version::V1_3, 7).unwrap();
        let answers = b.exchange(&bytes);
        answers.iter().map(|a| Message::decode(a).map(|(h, m)| (h.xid, m)).unwrap()).collect::<Vec<_>>()
    };
    let add: ovs_ofproto::FlowMod = "priority=10,udp,tp_dst=53 actions=output:2".parse().unwrap();
    assert_eq!(ask(&mut b, add.into()), []);
    assert_eq!(ask(&mut b, Message::BarrierRequest), [(7, Message::BarrierReply)]);
    assert_eq!(ask(&mut b, Message::EchoRequest(b"hi".to_vec())), [(7, Message::EchoReply(b"hi".to_vec()))]);
    assert!(
        matches!(&ask(&mut b, Message::FeaturesRequest)[..], [(7, Message::FeaturesReply(f))] if f.datapath_id == 0xabc)
    );
    assert_eq!(b.words_out(1, UDP).len(), 1);
    let stats = ask(&mut b, FlowStatsRequest::default().into());
    let [(7, Message::FlowStatsReply(reply))] = &stats[..] else { panic!("{stats:?}") };
    assert_eq!((reply.flows.len(), reply.flows[0].packets, reply.flows[0].priority), (1, 1, 10));
    let actions = vec![ovs_ofproto::Action::output(OfPort(3))];
    let out = PacketOut::new(OfPort::CONTROLLER, actions, packet(UDP).data().to_vec());
    assert_eq!(ask(&mut b, Message::PacketOut(out)), []);
    assert!(b.ends[2].pop().is_some());
    // What is wrong is answered with an error that repeats the request.
    let mut overlap: ovs_ofproto::FlowMod = "check_overlap,priority=10,ip actions=output:2".parse().unwrap();
    overlap.table = 0;
    let request = Message::from(overlap).encode(Version::V1_3, 9).unwrap();
    let answers = b.exchange(&request);
    let (Header { xid: 9, .. }, Message::Error(e)) = Message::decode(&answers[0]).unwrap() else { panic!() };
    assert_eq!((e.error, e.data), (OfError::FlowModOverlap, request));
    for garbage in [&[][..], &[4, 99, 0, 8, 0, 0, 0, 1], &[1, 14, 0, 8, 0, 0, 0, 1], &[4, 14, 0, 99, 0, 0, 0, 1]] {
        let answers = b.exchange(garbage);
        assert_eq!(answers.len(), usize::from(garbage.len() >= 8), "{garbage:?}");
        assert!(answers.iter().all(|a| matches!(Message::decode(a), Ok((h, Message::Error(_))) if h.xid == 1)));
    }
}

// Bugs that upstream had.

/// CVE-2023-1668: IP protocol 0 is taken for "no network layer", in which nothing is set; it was so for all packets that
/// came behind such a one.
#[test]
fn cve_2023_1668_protocol_zero_concerns_no_other() {
    for (action, set, is_for_all) in [
        ("mod_nw_dst:192.168.20.20", "nw_dst=192.168.20.20", false),
        ("set_field:192.168.20.20->ip_dst", "nw_dst=192.168.20.20", false),
        // Moves do not ask for the protocol: what they do is for every one.
        ("move:NXM_OF_IP_SRC[]->NXM_OF_IP_DST[]", "nw_dst=1.1.1.1", true),
        ("mod_nw_tos:32", "nw_tos=32", false),
        ("dec_ttl", "nw_ttl=63", false),
    ] {
        let mut b = with(&[&format!("in_port=1,ip,nw_dst=192.168.1.20,actions={action},2")]);
        let rest = "nw_src=1.1.1.1,nw_dst=192.168.1.20,nw_ttl=64";
        for (packet, is_set) in
            [(format!("ip,nw_proto=0,{rest}"), is_for_all), (format!("icmp,{rest},icmp_type=8"), true)]
        {
            let out = b.words_out(1, &packet);
            assert!(out.len() == 1 && out[0].contains(set) == is_set, "{action}: {packet}: {out:?}");
        }
    }
}

/// The same of ARP, whose operation stands in the same place.
#[test]
fn arp_operation_zero_concerns_no_other() {
    let mut b = with(&["in_port=1,arp,actions=set_field:00:02:03:04:05:06->arp_sha,2"]);
    for (op, is_set) in [(0, false), (1, true)] {
        let out = b.words_out(1, &format!("arp,arp_op={op},arp_spa=1.1.1.1,arp_tpa=1.1.1.2"));
        assert!(out.len() == 1 && out[0].contains("arp_sha=00:02:03:04:05:06") == is_set, "{op}: {out:?}");
    }
}

/// CVE-2023-5366: the last stage of a lookup that failed was not noted.
#[test]
fn cve_2023_5366_nd_target_is_noted() {
    let flows = [
        "priority=16,icmp6,nw_ttl=255,icmp_type=135,icmp_code=0,nd_target=1000::1,actions=2",
        "priority=1,actions=drop",
    ];
    for order in [["1000::1", "1000::2"], ["1000::2", "1000::1"]] {
        let mut b = with(&flows);
        for target in order {
            let out = b.words_out(1, &format!("icmp6,nw_ttl=255,icmp_type=135,icmp_code=0,nd_target={target}"));
            assert_eq!(out.len(), usize::from(target == "1000::1"), "{target} of {order:?}");
        }
    }
    for order in [["syn", "psh"], ["psh", "syn"]] {
        let mut b = with(&["tcp,tp_dst=80,tcp_flags=+psh,actions=2", "priority=1,actions=drop"]);
        for flags in order {
            let out = b.words_out(1, &format!("tcp,nw_src=1.1.1.1,tp_dst=80,tcp_flags={flags}"));
            assert_eq!(out.len(), usize::from(flags == "psh"), "{flags} of {order:?}");
        }
    }
}

/// CVE-2022-32166: masks of different size were compared.
#[test]
fn cve_2022_32166_strict_deletion_compares_masks() {
    let mut b = with(&["priority=10000,icmp,actions=drop"]);
    b.change(DeleteStrict, "priority=10000,cookie=0x1234/-1").unwrap_or(());
    b.change(DeleteStrict, "priority=10000").unwrap();
    assert_eq!(b.of.flow_count(), 1);
}

/// CVE-2020-35498: a megaflow made by a packet with much padding caught packets for other addresses.
#[test]
fn cve_2020_35498_padding_does_not_widen_megaflows() {
    for pad in [0, 255, 256, 1000, 65000] {
        let mut b = with(&[
            "priority=5,ip,ip_dst=1.1.1.1,actions=1",
            "priority=5,ip,ip_dst=1.1.1.2,actions=2",
            "priority=1,actions=drop",
        ]);
        let mut first = compose::compose("tcp,nw_src=9.9.9.9,nw_dst=1.1.1.1".parse::<Match>().unwrap().key(), b"");
        first.extend(&vec![0; pad]);
        assert_eq!(b.send(3, first).iter().map(|(p, _)| *p).collect::<Vec<_>>(), [1]);
        assert_eq!(b.words_out(3, "tcp,nw_src=9.9.9.9,nw_dst=1.1.1.2").len(), 1);
    }
}

// The oracle of soundness: a packet that a megaflow catches is treated as one that is translated afresh.

fn packets() -> impl Strategy<Value = String> {
    let addresses = (0u8..4, 0u8..4);
    let ip = (addresses, 0u16..4, 0u16..4, 0u8..3, 0u8..5, prop::option::of(1u16..3)).prop_map(
        |((s, d), sp, dp, ttl, kind, vlan)| {
            let kind = ["tcp", "udp", "icmp", "tcp6", "ip"][usize::from(kind)];
            let vlan = vlan.map_or(String::new(), |v| format!(",dl_vlan={v}"));
            let l3 = if kind == "tcp6" {
                format!("ipv6_src=::{s},ipv6_dst=::{d}")
            } else {
                format!("nw_src=10.0.{s}.{d},nw_dst=10.{d}.0.{s}")
            };
            let l4 = match kind {
                "icmp" => format!("icmp_type={sp},icmp_code={dp}"),
                "ip" => "nw_proto=89".to_string(),
                _ => format!("tp_src={sp},tp_dst={dp}"),
            };
            format!("{kind}{vlan},dl_src=02:00:00:00:00:0{s},dl_dst=02:00:00:00:00:0{d},{l3},nw_ttl={ttl},{l4}")
        },
    );
    let arp = (0u8..4, 0u8..4, 1u8..3).prop_map(|(s, d, op)| {
        format!("arp,dl_src=02:00:00:00:00:0{s},dl_dst=ff:ff:ff:ff:ff:ff,arp_spa=10.0.0.{s},arp_tpa=10.0.0.{d},arp_op={op},arp_sha=02:00:00:00:00:0{s}")
    });
    prop_oneof![4 => ip, 1 => arp]
}

/// Matches of few values each, so that packets meet them.
pub(super) fn matches() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        (0u8..4).prop_map(|n| format!("ip,nw_src=10.0.{n}.0/24,")),
        (0u8..4).prop_map(|n| format!("ip,nw_dst=10.{n}.0.0/16,")),
        (0u8..4).prop_map(|n| format!("ip,nw_dst=10.0.0.{n}/255.0.0.255,")),
        (0u16..4).prop_map(|n| format!("tcp,tp_dst={n},")),
        (0u16..4).prop_map(|n| format!("udp,tp_src={n}/0x3,")),
        (0u16..4).prop_map(|n| format!("icmp,icmp_type={n},")),
        (0u8..3).prop_map(|n| format!("ip,nw_ttl={n},")),
        (0u8..4).prop_map(|n| format!("tcp6,ipv6_dst=::{n},")),
        (0u8..4).prop_map(|n| format!("dl_src=02:00:00:00:00:0{n},")),
        (1u8..3).prop_map(|n| format!("dl_vlan={n},")),
        (1u8..3).prop_map(|n| format!("arp,arp_op={n},")),
        Just("vlan_tci=0,".to_string()),
        Just("in_port=1,".to_string()),
        (0u8..3).prop_map(|n| format!("reg0={n},")),
    ]
}

fn flows() -> impl Strategy<Value = Vec<String>> {
    let actions = prop_oneof![
        Just("drop".to_string()),
        (1u8..5).prop_map(|n| n.to_string()),
        Just("NORMAL".to_string()),
        Just("FLOOD".to_string()),
        (1u8..4).prop_map(|t| format!("resubmit(,{t}),3")),
        (1u8..4).prop_map(|t| format!("2,goto_table:{t}")),
        (0u8..3, 1u8..4).prop_map(|(n, t)| format!("load:{n}->NXM_NX_REG0[],resubmit(,{t})")),
        (0u8..4).prop_map(|n| format!("set_field:02:00:00:00:00:0{n}->eth_dst,2")),
        Just("set_field:02:00:00:00:00:00/00:00:00:00:00:01->eth_src,3".to_string()),
        (1u8..3).prop_map(|n| format!("push_vlan:0x8100,set_field:410{n}->vlan_vid,2")),
        Just("pop_vlan,3".to_string()),
        Just("clone(set_field:02:00:00:00:00:09->eth_src,2),4".to_string()),
        Just("write_actions(output:4),goto_table:3".to_string()),
        Just("move:NXM_OF_ETH_SRC[0..15]->NXM_NX_REG0[0..15],resubmit(,3)".to_string()),
        Just("push:NXM_OF_ETH_SRC[],pop:NXM_OF_ETH_DST[],2".to_string()),
        Just("multipath(symmetric_l4,0,modulo_n,3,0,NXM_NX_REG0[0..3]),resubmit(,3)".to_string()),
        Just("bundle(eth_src,0,hrw,ofport,members:2,3,4)".to_string()),
        Just("check_pkt_larger(60)->NXM_NX_REG0[0],resubmit(,3)".to_string()),
        Just("learn(table=3,priority=9,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),4".to_string()),
        Just("output(port=2,max_len=40),3".to_string()),
        Just("mod_vlan_vid:2,2,strip_vlan,3".to_string()),
        Just("clone(mod_vlan_pcp:3,2,resubmit(,3)),4".to_string()),
        Just("debug_recirc,mod_dl_src:02:00:00:00:00:0a,resubmit(,3)".to_string()),
        Just("enqueue:3:1,2".to_string()),
    ];
    let flow = (0u8..3, 0u8..4, matches(), actions).prop_map(|(table, priority, m, actions)| {
        let actions = actions.replace("goto_table:1", "goto_table:3").replace("goto_table:2", "goto_table:3");
        format!("table={table},priority={priority},{m}actions={actions}")
    });
    prop::collection::vec(flow, 1..12)
}

/// Puts other values into fields of a key, in bits that a mask leaves open, without making it another kind of packet.
fn disturb(key: &FlowKey, mask: &FlowMask, noise: &[u128]) -> FlowKey {
    use FieldId::*;
    let v6 = key.eth_type == 0x86dd;
    let fields: &[FieldId] = match (key.eth_type.get(), key.nw_proto) {
        (0x0806, _) => &[EthSrc, EthDst, ArpSpa, ArpTpa, ArpSha, ArpTha],
        (_, 6 | 17) if v6 => {
            &[EthSrc, EthDst, Ipv6Src, Ipv6Dst, Ipv6Label, NwTtl, NwTos, NwEcn, TcpSrc, TcpDst, VlanPcp]
        }
        (_, 6 | 17) => &[EthSrc, EthDst, NwSrc, NwDst, NwTtl, NwTos, NwEcn, TcpSrc, TcpDst, VlanPcp, DlVlan],
        (_, 1) => &[EthSrc, EthDst, NwSrc, NwDst, NwTtl, NwTos, NwEcn, IcmpType, IcmpCode, VlanPcp, DlVlan],
        _ => &[EthSrc, EthDst, NwSrc, NwDst, NwTtl, NwTos, NwEcn, VlanPcp, DlVlan],
    };
    let mut other = *key;
    for (f, n) in fields.iter().zip(noise.iter().cycle()) {
        let info = f.info();
        if matches!(f, VlanPcp | DlVlan) && key.vlan_tci == 0 {
            continue;
        }
        let open = !info.get(&mask.bits);
        info.put(&mut other, (info.get(key) & !open) | (n & open));
    }
    other
}

proptest! {
    #[test]
    fn megaflows_are_sound(
        flows in flows(), packets in prop::collection::vec((1u32..4, packets()), 1..6), noise in prop::collection::vec(any::<u128>(), 7),
    ) {
        // Actions that need what their match does not say are refused before they reach a switch.
        let sensible = |f: &&str| Parser::default().flow_mod(f, Add).is_ok();
        let table: Vec<&str> = flows.iter().map(String::as_str).filter(sensible).collect();
        let mut cached = with(&table);
        let mut history = Vec::new();
        for (port, packet) in &packets {
            let first = self::packet(packet);
            history.push((*port, first.clone()));
            cached.send(*port, first.clone());
            let mut p = first;
            p.meta.in_port = *port;
            let mut key = FlowKey::ZERO;
            extract::extract(&mut p, &mut key);
            // The megaflow that this packet takes, and another packet that must take it too. What the packet changed
            // may have ended the megaflow at once.
            let flows = cached.dp.flow_dump().unwrap();
            let megaflow = flows.iter().find(|f| f.matching().matches(&key));
            let Some((megaflow, again)) = megaflow.map(|f| (f.matching(), text::actions(&f.actions).to_string().contains("recirc"))) else { continue };
            let other = disturb(&key, &megaflow.mask(), &noise);
            prop_assert!(megaflow.matches(&other));
            let packet = compose::compose(&other, b"payload");
            // Time enough for counters to be read: what is learnt by megaflows is learnt then.
            let second = Duration::from_secs(1);
            cached.pass(second);
            let plain = |out: Vec<(u32, Packet)>| out.into_iter().map(|(n, p)| (n, p.data().to_vec())).collect::<Vec<_>>();
            // A switch with the same past, but without megaflows.
            let mut fresh = with(&table);
            for (port, p) in &history {
                fresh.send(*port, p.clone());
                fresh.pass(second);
            }
            fresh.dp.flow_flush().unwrap();

            let missed = cached.dp.stats().unwrap().missed;
            let by_cache = plain(cached.send(*port, packet.clone()));
            // What is looked up again may be another packet then.
            let missed_now = if again { missed } else { cached.dp.stats().unwrap().missed };
            prop_assert_eq!(missed_now, missed, "{} did not take {:?}", words_of(&packet), megaflow);
            prop_assert_eq!(by_cache, plain(fresh.send(*port, packet.clone())), "{} by {:?}", words_of(&packet), megaflow);
            cached.pass(second);
            history.push((*port, packet));
            // Whatever else is there, against a search of all rules from end to end; and each packet was looked up once.
            cached.of.verify(&cached.dp, noise.iter().fold(0, |all, n| all ^ n));
            prop_assert_eq!(cached.of.table_stats(0).lookups, history.len() as u64);
        }
    }
}
