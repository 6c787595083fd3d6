//! Switches that share a datapath, with patches between them that come and go.

use std::time::Duration;

use ovs_dpif::{DpAction, Dpif, PortNo};
use ovs_ofproto::FlowModCommand::Delete;
use ovs_ofproto::codec::{Message, PacketOut, PortRequest, Version};
use ovs_ofproto::pipeline::{
    ConnectionConfig, ConnectionKind, Event, Ofproto, Peer, Port, RevalidatorConfig, TraceRequest,
};
use ovs_ofproto::text::{GroupCommand, Parser};
use ovs_packet::{OfPort, Packet};

use crate::world::{self, Network, group};

fn end(bridge: usize, port: u32) -> Peer {
    Peer { bridge, port: OfPort(port) }
}

impl Network {
    fn patch(&mut self, one: Peer, other: Peer) {
        self.bridges.patch(one, other);
        self.bridges.settle(&mut self.dp, self.now);
    }

    /// Which devices a packet leaves by that comes in by one of them, the devices being counted from 0.
    fn send(&mut self, from: u32) -> Vec<u32> {
        self.forward(from + 1, packet()).into_iter().map(|(end, _)| end - 1).collect()
    }

    /// What a switch answers a controller.
    fn answers(&mut self, place: usize, message: &Message) -> Vec<Message> {
        let now = self.now;
        let bytes = message.encode(Version::V1_4, 1).unwrap();
        let answers = self.bridges.change(place, &mut self.dp, now, |of, dp| {
            let c = of.connect(&ConnectionConfig::new(Version::V1_4));
            of.handle_message(dp, c, &bytes, now).unwrap();
            let answers: Vec<_> = std::iter::from_fn(|| of.poll_output(dp, c, now)).collect();
            of.disconnect(c);
            answers
        });
        answers.unwrap().iter().map(|answer| Message::decode(&answer.message).unwrap().1).collect()
    }

    /// Asks a switch as a controller does; the one answer.
    fn ask(&mut self, place: usize, message: &Message) -> Message {
        self.answers(place, message).pop().expect("an answer")
    }
}

fn packet() -> Packet {
    let words =
        "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2";
    world::packet(words)
}

#[test]
fn a_patch_may_lead_back_to_its_switch() {
    for switches in [1, 2] {
        let mut l = Network::new(switches);
        l.patch(end(0, 8), end(0, 9));
        l.add(0, "in_port=1,actions=8");
        l.add(0, "in_port=9,actions=2");
        assert_eq!(l.send(0), [1]);
    }
}

#[test]
fn ids_of_switches_that_share_a_datapath_differ() {
    let mut l = Network::new(2);
    for place in 0..2 {
        l.add(place, "udp,actions=ct(table=1)");
        l.add(place, "table=1,in_port=1,actions=2");
    }
    assert_eq!((l.send(0), l.send(2)), (vec![1], vec![3]));
    let of_place = |place: usize| (1..4).find(|id| l.bridges.get(place).unwrap().is_recirculated(*id));
    assert_eq!((of_place(0), of_place(1)), (Some(1), Some(2)));
}

#[test]
fn a_switch_that_goes_takes_what_led_there_with_it() {
    let mut l = Network::new(2);
    l.patch(end(0, 9), end(1, 9));
    l.add(0, "in_port=1,actions=2,9");
    l.add(1, "in_port=9,udp,actions=ct(table=1)");
    l.add(1, "table=1,actions=1");
    assert_eq!(l.send(0), [1, 2]);
    assert_eq!(l.send(2), [0_u32; 0]);
    let flows = l.dp.stats().unwrap().flows;
    let gone = l.bridges.remove(1, &mut l.dp, l.now).unwrap();
    // It was credited with what went through before.
    assert_eq!(gone.flows().map(|f| f.packets).collect::<Vec<_>>(), [1, 1]);
    assert!(l.bridges.get(1).is_none() && l.bridges.remove(1, &mut l.dp, l.now).is_none());
    assert_eq!(l.bridges.iter().map(|(place, _)| place).collect::<Vec<_>>(), [0]);
    assert!(l.dp.stats().unwrap().flows < flows);
    assert_eq!(l.send(0), [1]);
    // Nobody waits there: who comes to the place gets none of its packets.
    let place = l.add_bridge();
    assert_eq!(place, 1);
    l.add(1, "actions=1");
    l.add(1, "table=1,actions=2");
    assert_eq!(l.send(0), [1]);
    assert_eq!(l.packets(1), 0);
    l.patch(end(0, 9), end(1, 7));
    assert_eq!(l.send(0), [1, 4]);
    // What went is a switch like any other.
    assert_eq!(l.bridges.add(gone), Some(2));
}

#[test]
fn patches_are_taken_apart_and_joined_otherwise() {
    let mut l = Network::new(3);
    l.patch(end(0, 9), end(1, 9));
    for place in 0..3 {
        l.add(place, "in_port=1,actions=9");
        l.add(place, "in_port=9,actions=2");
    }
    assert_eq!((l.send(0), l.send(2)), (vec![3], vec![1]));
    l.bridges.unpatch(end(1, 9));
    l.bridges.settle(&mut l.dp, l.now);
    assert_eq!((l.send(0), l.send(2)), (vec![], vec![]));
    assert!(l.bridges.get(0).unwrap().port(OfPort(9)).is_some());
    l.patch(end(2, 9), end(0, 9));
    assert_eq!((l.send(0), l.send(2), l.send(4)), (vec![5], vec![], vec![1]));
    // One that leads elsewhere by now is left alone.
    l.patch(end(1, 9), end(0, 9));
    l.bridges.unpatch(end(2, 9));
    assert_eq!(l.bridges.peer(end(0, 9)), Some(end(1, 9)));
    // A port of the same number leads nowhere.
    l.bridges.change(0, &mut l.dp, l.now, |of, _| {
        of.port_remove(OfPort(9));
        of.port_add(Port::patch(OfPort(9), "new"));
    });
    assert_eq!(l.bridges.peer(end(0, 9)), None);
    assert_eq!(l.send(0), [0_u32; 0]);
}

#[test]
fn what_goes_through_a_patch_is_counted_at_both_ends() {
    let mut l = Network::new(2);
    l.patch(end(0, 9), end(1, 8));
    l.add(0, "actions=9");
    l.add(1, "actions=2,controller");
    for _ in 0..3 {
        assert_eq!(l.send(0), [3]);
    }
    assert_eq!(l.dp.stats().unwrap().flows, 1);
    l.run();
    let stats = |l: &mut Network, place: usize, port: u32| {
        let mut request = PortRequest::default();
        request.port = OfPort(port);
        match l.ask(place, &Message::PortStatsRequest(request)) {
            Message::PortStatsReply(page) => page.items[0].counts,
            other => panic!("{other:?}"),
        }
    };
    let bytes = 3 * packet().len() as u64;
    assert_eq!(stats(&mut l, 0, 9)[..4], [0, 3, 0, bytes]);
    assert_eq!(stats(&mut l, 1, 8)[..4], [3, 0, bytes, 0]);
    assert_eq!(l.bridges.get(0).unwrap().patch_stats(OfPort(1)), None);
}

#[test]
fn flows_behind_a_patch_are_credited_before_they_are_told_of_and_before_they_go() {
    let mut l = Network::new(2);
    l.patch(end(0, 9), end(1, 9));
    l.add(0, "actions=9");
    l.add(1, "idle_timeout=3,send_flow_rem,actions=2");
    l.send(0);
    l.send(0);
    l.now += Duration::from_secs(2);
    l.send(0);
    // Without a run in between, who asks is told of all of them.
    let request = Message::FlowStatsRequest(Default::default());
    let Message::FlowStatsReply(page) = l.ask(1, &request) else { panic!() };
    assert_eq!(page.flows[0].packets, 3);
    // What came last keeps it alive.
    l.pass(Duration::from_secs(2));
    assert_eq!(l.bridges.get(1).unwrap().flow_count(), 1);
    l.send(0);
    l.change(1, Delete, "");
    let event = l.bridges.configure(1, Ofproto::poll_event).unwrap();
    assert!(matches!(event, Some(Event::FlowRemoved(flow, _)) if flow.packets == 4));
    assert_eq!(l.send(0), [0_u32; 0]);
}

#[test]
fn a_controllers_packet_crosses_patches_at_once() {
    let mut l = Network::new(2);
    l.patch(end(0, 9), end(1, 9));
    l.add(1, "in_port=9,actions=learn(table=1,NXM_OF_IN_PORT[]),2");
    let actions = Parser::default().actions("output:9").unwrap();
    let out = PacketOut::new(OfPort::CONTROLLER, actions, packet().data().to_vec());
    assert_eq!(l.answers(0, &Message::PacketOut(out)), []);
    assert!(l.ends[3].pop().is_some());
    assert_eq!(l.bridges.get(1).unwrap().flow_count(), 2);
}

#[test]
fn many_ports_are_configured_and_followed_once() {
    let mut l = Network::new(1);
    l.add(0, "actions=flood");
    l.send(0);
    for n in 10..200 {
        l.bridges.configure(0, |of| of.port_add(Port::new(OfPort(n), PortNo(5000 + n), format!("p{n}"))));
    }
    let before = l.bridges.get(0).unwrap().revalidated();
    l.bridges.settle(&mut l.dp, l.now);
    assert_eq!(l.bridges.get(0).unwrap().revalidated(), before + 1);
    assert_eq!(l.dp.flow_dump().unwrap()[0].actions.len(), 191);
}

#[test]
fn a_packet_that_waits_behind_a_patch_goes_on() {
    let mut l = Network::new(2);
    l.patch(end(0, 9), end(1, 9));
    l.add(0, "actions=9");
    l.add(1, "actions=controller(pause),2");
    assert_eq!(l.send(0), [0_u32; 0]);
    let event = l.bridges.configure(1, Ofproto::poll_event).unwrap();
    let Some(Event::PacketIn(told)) = event else { panic!("{event:?}") };
    let (token, now) = (told.continuation.unwrap(), l.now);
    let resume = |l: &mut Network, token: &[u8]| {
        l.bridges.change(1, &mut l.dp, now, |of, dp| of.resume(dp, packet(), token, now)).unwrap()
    };
    assert!(!resume(&mut l, &[0, 0, 0, 99]));
    assert!(resume(&mut l, &token));
    assert!(l.ends[3].pop().is_some());
}

#[test]
fn each_bucket_of_a_group_for_all_counts() {
    let mut l = Network::new(1);
    assert_eq!(l.answers(0, &group("group_id=7,type=all,bucket=output:2,bucket=drop", GroupCommand::Add).into()), []);
    l.add(0, "actions=group:7");
    (0..3).for_each(|_| assert_eq!(l.send(0), [1]));
    let Message::GroupStatsReply(page) = l.ask(0, &Message::GroupStatsRequest(7)) else { panic!() };
    let counts: Vec<u64> = page.items[0].buckets.iter().map(|b| b.0).collect();
    assert_eq!((page.items[0].counts.0, counts), (3, vec![3, 3]));
}

#[test]
fn megaflows_match_all_of_a_packet_if_they_are_to() {
    let mut l = Network::new(1);
    l.add(0, "actions=2");
    let now = l.now;
    l.bridges.change(0, &mut l.dp, now, |of, dp| of.set_megaflows(dp, false, now));
    for port in [1, 2] {
        let words = format!("udp,dl_src=02:00:00:00:00:01,nw_src=10.0.0.1,tp_src={port},tp_dst=2");
        l.forward(1, world::packet(&words));
    }
    assert_eq!(l.dp.stats().unwrap().flows, 2);
    l.bridges.change(0, &mut l.dp, now, |of, dp| of.set_megaflows(dp, true, now));
    l.send(0);
    assert_eq!(l.dp.stats().unwrap().flows, 1);
}

#[test]
fn megaflows_are_idle_as_long_as_is_said() {
    let mut l = Network::new(1);
    l.add(0, "actions=2");
    let mut config = RevalidatorConfig::default();
    config.max_idle = Duration::from_secs(2);
    l.bridges.configure(0, |of| of.set_revalidator(config));
    l.send(0);
    for (after, flows) in [(1, 1), (1, 0)] {
        l.pass(Duration::from_secs(after));
        assert_eq!(l.dp.stats().unwrap().flows, flows);
    }
}

#[test]
fn a_trace_from_a_port_that_is_not_there_is_followed() {
    let mut l = Network::new(1);
    let trace = |l: &mut Network, words: &str| {
        let mut request = TraceRequest::flow(&words.parse().unwrap());
        if !words.contains("in_port") {
            request.key.in_port = OfPort::ANY.0.into();
        }
        l.bridges.trace(0, &l.dp, &request).to_string()
    };
    l.add(0, "actions=normal");
    let end = |text: &str| text.lines().last().unwrap_or_default().to_string();
    let flooded = trace(&mut l, "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02");
    assert_eq!(end(&flooded).matches(',').count(), 1, "{flooded}");
    assert_eq!(l.bridges.get(0).unwrap().macs().len(), 0);
    l.change(0, Delete, "");
    assert!(trace(&mut l, "in_port=77").contains("Final flow: unchanged"));
    l.add(0, "actions=resubmit(,0)");
    assert_eq!(end(&trace(&mut l, "in_port=1")), "Translation failed (Recursion too deep), packet is dropped.");
    // What is longer than a datapath takes is executed packet by packet.
    l.add(0, "actions=resubmit(,1)");
    for table in 1..250 {
        l.add(0, &format!("table={table},actions={}resubmit(,{})", "in_port,".repeat(40), table + 1));
    }
    let long = trace(&mut l, "in_port=1");
    assert!(long.contains("over 64 kB of actions") && long.contains("slow path because it:"));
    assert_eq!(end(&long), "  - Uses action(s) not supported by datapath.");
}

#[test]
fn what_is_told_of_packets_that_miss_and_of_their_connections() {
    let mut l = Network::new(1);
    let now = l.now;
    l.bridges.change(0, &mut l.dp, now, |of, _| {
        let mut config = ConnectionConfig::new(Version::V1_0);
        config.kind = ConnectionKind::Primary;
        of.connect(&config);
    });
    let told = |l: &mut Network| {
        l.send(0);
        match l.bridges.configure(0, Ofproto::poll_event).unwrap() {
            Some(Event::PacketIn(told)) => told,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told(&mut l).cookie, 0);
    l.add(0, "table=0,udp,actions=ct(commit,table=1)");
    l.add(0, "table=1,actions=ct_clear,ct_clear,2,controller");
    l.add(0, "table=1,priority=40000,actions=controller");
    let metadata = told(&mut l).metadata.to_string();
    assert!(metadata.contains("ct_nw_src=10.0.0.1") && metadata.contains("ct_tp_dst=2"), "{metadata}");
    l.add(0, "table=1,priority=40000,actions=ct_clear,ct_clear,2");
    l.send(0);
    let flows = l.dp.flow_dump().unwrap();
    let clears = flows.iter().flat_map(|f| &f.actions).filter(|a| matches!(a, DpAction::CtClear)).count();
    assert_eq!(clears, 1);
}
