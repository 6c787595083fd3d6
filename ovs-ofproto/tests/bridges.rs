//! Switches that share a datapath, with patches between them that come and go.
#![cfg(feature = "pipeline")]

use std::time::Duration;

use ovs_dpif::netdev::{MemPort, MemPortPeer};
use ovs_dpif::userspace::Datapath;
use ovs_dpif::{DpAction, Dpif, PortNo, PortSpec};
use ovs_ofproto::FlowModCommand::{Add, Delete};
use ovs_ofproto::codec::{Bucket, GroupMod, Message, PacketOut, PortRequest, Version};
use ovs_ofproto::pipeline::{
    Bridges, ConnectionConfig, ConnectionKind, Event, Ofproto, Peer, Port, RevalidatorConfig, TraceRequest,
};
use ovs_ofproto::text::Parser;
use ovs_packet::{Instant, Match, OfPort, Packet, compose};

/// Three switches, each with the ports 1 and 2 of devices.
struct Lab {
    dp: Datapath,
    bridges: Bridges,
    ends: Vec<MemPortPeer>,
    now: Instant,
}

fn end(bridge: usize, port: u32) -> Peer {
    Peer { bridge, port: OfPort(port) }
}

impl Lab {
    fn new(places: usize) -> Lab {
        let mut lab =
            Lab { dp: Datapath::new(), bridges: Bridges::default(), ends: Vec::new(), now: Instant::from_secs(1) };
        for place in 0..places {
            assert_eq!(lab.add_bridge(), place);
        }
        lab
    }

    fn add_bridge(&mut self) -> usize {
        let mut of = Ofproto::new();
        of.set_name(format!("br{}", self.ends.len() / 2));
        for n in 1..=2u32 {
            let (port, end) = MemPort::new(format!("p{}", self.ends.len()), 100);
            let number = self.dp.port_add(PortSpec::Device(Box::new(port)), None).unwrap();
            of.port_add(Port::new(OfPort(n), number, format!("p{n}")));
            self.ends.push(end);
        }
        self.bridges.add(of).unwrap()
    }

    fn patch(&mut self, one: Peer, other: Peer) {
        self.bridges.patch(one, other);
        self.bridges.settle(&mut self.dp, self.now);
    }

    fn flow(&mut self, place: usize, flow: &str) {
        let fm = Parser::default().flow_mod(flow, Add).unwrap();
        let now = self.now;
        self.bridges.change(place, &mut self.dp, now, |of, dp| of.flow_mod(dp, &fm, now)).unwrap().unwrap();
    }

    fn delete(&mut self, place: usize) {
        let fm = Parser::default().flow_mod("", Delete).unwrap();
        let now = self.now;
        self.bridges.change(place, &mut self.dp, now, |of, dp| of.flow_mod(dp, &fm, now)).unwrap().unwrap();
    }

    fn work(&mut self) {
        let mut upcalls = Vec::new();
        while self.dp.poll(self.now, &mut upcalls) > 0 {
            upcalls.drain(..).for_each(|u| self.bridges.handle_upcall(&mut self.dp, u, self.now));
        }
        self.bridges.run(&mut self.dp, self.now);
    }

    /// Which devices a packet leaves by that comes in by one of them.
    fn send(&mut self, from: usize) -> Vec<usize> {
        self.ends[from].push(packet());
        self.work();
        let popped = |(n, e): (usize, &MemPortPeer)| e.pop().map(|_| n);
        self.ends.iter().enumerate().filter_map(popped).collect()
    }

    fn packets(&self, place: usize) -> u64 {
        self.bridges.get(place).unwrap().flows().map(|f| f.packets).sum()
    }

    /// Asks a switch as a controller does, and decodes the one answer.
    fn ask(&mut self, place: usize, message: &Message) -> Message {
        let now = self.now;
        let bytes = message.encode(Version::V1_4, 1).unwrap();
        let answer = self.bridges.change(place, &mut self.dp, now, |of, dp| {
            let c = of.connect(&ConnectionConfig::new(Version::V1_4));
            of.handle_message(dp, c, &bytes, now).unwrap();
            let answer = of.poll_output(dp, c, now);
            of.disconnect(c);
            answer
        });
        Message::decode(&answer.unwrap().expect("an answer").message).unwrap().1
    }
}

fn packet() -> Packet {
    let words =
        "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2";
    compose::compose(words.parse::<Match>().unwrap().key(), b"x")
}

#[test]
fn a_patch_may_lead_back_to_its_switch() {
    for switches in [1, 2] {
        let mut l = Lab::new(switches);
        l.patch(end(0, 8), end(0, 9));
        l.flow(0, "in_port=1,actions=8");
        l.flow(0, "in_port=9,actions=2");
        assert_eq!(l.send(0), [1]);
    }
}

#[test]
fn ids_of_switches_that_share_a_datapath_differ() {
    let mut l = Lab::new(2);
    for place in 0..2 {
        l.flow(place, "udp,actions=ct(table=1)");
        l.flow(place, "table=1,in_port=1,actions=2");
    }
    assert_eq!((l.send(0), l.send(2)), (vec![1], vec![3]));
    let of_place = |place: usize| (1..4).find(|id| l.bridges.get(place).unwrap().is_recirculated(*id));
    assert_eq!((of_place(0), of_place(1)), (Some(1), Some(2)));
}

#[test]
fn a_switch_that_goes_takes_what_led_there_with_it() {
    let mut l = Lab::new(2);
    l.patch(end(0, 9), end(1, 9));
    l.flow(0, "in_port=1,actions=2,9");
    l.flow(1, "in_port=9,udp,actions=ct(table=1)");
    l.flow(1, "table=1,actions=1");
    assert_eq!(l.send(0), [1, 2]);
    assert_eq!(l.send(2), [0_usize; 0]);
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
    l.flow(1, "actions=1");
    l.flow(1, "table=1,actions=2");
    assert_eq!(l.send(0), [1]);
    assert_eq!(l.packets(1), 0);
    l.patch(end(0, 9), end(1, 7));
    assert_eq!(l.send(0), [1, 4]);
    // What went is a switch like any other.
    assert_eq!(l.bridges.add(gone), Some(2));
}

#[test]
fn patches_are_taken_apart_and_joined_otherwise() {
    let mut l = Lab::new(3);
    l.patch(end(0, 9), end(1, 9));
    for place in 0..3 {
        l.flow(place, "in_port=1,actions=9");
        l.flow(place, "in_port=9,actions=2");
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
    assert_eq!(l.send(0), [0_usize; 0]);
}

#[test]
fn what_goes_through_a_patch_is_counted_at_both_ends() {
    let mut l = Lab::new(2);
    l.patch(end(0, 9), end(1, 8));
    l.flow(0, "actions=9");
    l.flow(1, "actions=2,controller");
    for _ in 0..3 {
        assert_eq!(l.send(0), [3]);
    }
    assert_eq!(l.dp.stats().unwrap().flows, 1);
    l.work();
    let stats = |l: &mut Lab, place: usize, port: u32| {
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
    let mut l = Lab::new(2);
    l.patch(end(0, 9), end(1, 9));
    l.flow(0, "actions=9");
    l.flow(1, "idle_timeout=3,send_flow_rem,actions=2");
    l.send(0);
    l.send(0);
    l.now += Duration::from_secs(2);
    l.send(0);
    // Without a run in between, who asks is told of all of them.
    let request = Message::FlowStatsRequest(Default::default());
    let Message::FlowStatsReply(page) = l.ask(1, &request) else { panic!() };
    assert_eq!(page.flows[0].packets, 3);
    // What came last keeps it alive.
    l.now += Duration::from_secs(2);
    l.work();
    assert_eq!(l.bridges.get(1).unwrap().flow_count(), 1);
    l.send(0);
    l.delete(1);
    let event = l.bridges.configure(1, Ofproto::poll_event).unwrap();
    assert!(matches!(event, Some(Event::FlowRemoved(flow, _)) if flow.packets == 4));
    assert_eq!(l.send(0), [0_usize; 0]);
}

#[test]
fn a_controllers_packet_crosses_patches_at_once() {
    let mut l = Lab::new(2);
    l.patch(end(0, 9), end(1, 9));
    l.flow(1, "in_port=9,actions=learn(table=1,NXM_OF_IN_PORT[]),2");
    let actions = Parser::default().actions("output:9").unwrap();
    let out = PacketOut::new(OfPort::CONTROLLER, actions, packet().data().to_vec());
    let (now, bytes) = (l.now, Message::PacketOut(out).encode(Version::V1_4, 1).unwrap());
    let left = l.bridges.change(0, &mut l.dp, now, |of, dp| {
        let c = of.connect(&ConnectionConfig::new(Version::V1_4));
        of.handle_message(dp, c, &bytes, now).unwrap();
        l.ends[3].pop().is_some()
    });
    assert_eq!(left, Some(true));
    assert_eq!(l.bridges.get(1).unwrap().flow_count(), 2);
}

#[test]
fn many_ports_are_configured_and_followed_once() {
    let mut l = Lab::new(1);
    l.flow(0, "actions=flood");
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
    let mut l = Lab::new(2);
    l.patch(end(0, 9), end(1, 9));
    l.flow(0, "actions=9");
    l.flow(1, "actions=controller(pause),2");
    assert_eq!(l.send(0), [0_usize; 0]);
    let event = l.bridges.configure(1, Ofproto::poll_event).unwrap();
    let Some(Event::PacketIn(told)) = event else { panic!("{event:?}") };
    let (token, now) = (told.continuation.unwrap(), l.now);
    let resume = |l: &mut Lab, token: &[u8]| {
        l.bridges.change(1, &mut l.dp, now, |of, dp| of.resume(dp, packet(), token, now)).unwrap()
    };
    assert!(!resume(&mut l, &[0, 0, 0, 99]));
    assert!(resume(&mut l, &token));
    assert!(l.ends[3].pop().is_some());
}

#[test]
fn each_bucket_of_a_group_for_all_counts() {
    let mut l = Lab::new(1);
    let now = l.now;
    let mut gm = GroupMod::default();
    gm.desc.group = 7;
    for (id, actions) in [(0, "output:2"), (1, "drop")] {
        let mut bucket = Bucket::default();
        (bucket.id, bucket.actions) = (id, Parser::default().actions(actions).unwrap());
        gm.desc.buckets.push(bucket);
    }
    let bytes = Message::GroupMod(Box::new(gm)).encode(Version::V1_4, 1).unwrap();
    l.bridges.change(0, &mut l.dp, now, |of, dp| {
        let c = of.connect(&ConnectionConfig::new(Version::V1_4));
        of.handle_message(dp, c, &bytes, now).unwrap();
        assert!(of.poll_output(dp, c, now).is_none());
    });
    l.flow(0, "actions=group:7");
    (0..3).for_each(|_| assert_eq!(l.send(0), [1]));
    let Message::GroupStatsReply(page) = l.ask(0, &Message::GroupStatsRequest(7)) else { panic!() };
    let counts: Vec<u64> = page.items[0].buckets.iter().map(|b| b.0).collect();
    assert_eq!((page.items[0].counts.0, counts), (3, vec![3, 3]));
}

#[test]
fn megaflows_match_all_of_a_packet_if_they_are_to() {
    let mut l = Lab::new(1);
    l.flow(0, "actions=2");
    let now = l.now;
    l.bridges.change(0, &mut l.dp, now, |of, dp| of.set_megaflows(dp, false, now));
    for port in [1, 2] {
        let words = format!("udp,dl_src=02:00:00:00:00:01,nw_src=10.0.0.1,tp_src={port},tp_dst=2");
        l.ends[0].push(compose::compose(words.parse::<Match>().unwrap().key(), b"x"));
        l.work();
    }
    assert_eq!(l.dp.stats().unwrap().flows, 2);
    l.bridges.change(0, &mut l.dp, now, |of, dp| of.set_megaflows(dp, true, now));
    l.send(0);
    assert_eq!(l.dp.stats().unwrap().flows, 1);
}

#[test]
fn megaflows_are_idle_as_long_as_is_said() {
    let mut l = Lab::new(1);
    l.flow(0, "actions=2");
    let mut config = RevalidatorConfig::default();
    config.max_idle = Duration::from_secs(2);
    l.bridges.configure(0, |of| of.set_revalidator(config));
    l.send(0);
    for (after, flows) in [(1, 1), (1, 0)] {
        l.now += Duration::from_secs(after);
        l.work();
        assert_eq!(l.dp.stats().unwrap().flows, flows);
    }
}

#[test]
fn a_trace_from_a_port_that_is_not_there_is_followed() {
    let mut l = Lab::new(1);
    let trace = |l: &mut Lab, words: &str| {
        let mut request = TraceRequest::flow(&words.parse().unwrap());
        if !words.contains("in_port") {
            request.key.in_port = OfPort::ANY.0.into();
        }
        l.bridges.trace(0, &l.dp, &request).to_string()
    };
    l.flow(0, "actions=normal");
    let end = |text: &str| text.lines().last().unwrap_or_default().to_string();
    let flooded = trace(&mut l, "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02");
    assert_eq!(end(&flooded).matches(',').count(), 1, "{flooded}");
    assert_eq!(l.bridges.get(0).unwrap().macs().len(), 0);
    l.delete(0);
    assert!(trace(&mut l, "in_port=77").contains("Final flow: unchanged"));
    l.flow(0, "actions=resubmit(,0)");
    assert_eq!(end(&trace(&mut l, "in_port=1")), "Translation failed (Recursion too deep), packet is dropped.");
    // What is longer than a datapath takes is executed packet by packet.
    l.flow(0, "actions=resubmit(,1)");
    for table in 1..250 {
        l.flow(0, &format!("table={table},actions={}resubmit(,{})", "in_port,".repeat(40), table + 1));
    }
    let long = trace(&mut l, "in_port=1");
    assert!(long.contains("over 64 kB of actions") && long.contains("slow path because it:"));
    assert_eq!(end(&long), "  - Uses action(s) not supported by datapath.");
}

#[test]
fn what_is_told_of_packets_that_miss_and_of_their_connections() {
    let mut l = Lab::new(1);
    let now = l.now;
    l.bridges.change(0, &mut l.dp, now, |of, _| {
        let mut config = ConnectionConfig::new(Version::V1_0);
        config.kind = ConnectionKind::Primary;
        of.connect(&config);
    });
    let told = |l: &mut Lab| {
        l.send(0);
        match l.bridges.configure(0, Ofproto::poll_event).unwrap() {
            Some(Event::PacketIn(told)) => told,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told(&mut l).cookie, 0);
    l.flow(0, "table=0,udp,actions=ct(commit,table=1)");
    l.flow(0, "table=1,actions=ct_clear,ct_clear,2,controller");
    l.flow(0, "table=1,priority=40000,actions=controller");
    let metadata = told(&mut l).metadata.to_string();
    assert!(metadata.contains("ct_nw_src=10.0.0.1") && metadata.contains("ct_tp_dst=2"), "{metadata}");
    l.flow(0, "table=1,priority=40000,actions=ct_clear,ct_clear,2");
    l.send(0);
    let flows = l.dp.flow_dump().unwrap();
    let clears = flows.iter().flat_map(|f| &f.actions).filter(|a| matches!(a, DpAction::CtClear)).count();
    assert_eq!(clears, 1);
}
