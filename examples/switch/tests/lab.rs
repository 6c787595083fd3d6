//! Scenarios in the lab: the same on every machine, in every run.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant as Clock};

use ovs_dpif::DropReason;
use ovs_packet::{EthAddr, Match, compose};
use ovs_switch::lab::{Lab, Link, LinkId, NodeId};
use ovs_switch::{FailMode, SwitchConfig};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const SECOND: Duration = Duration::from_secs(1);

/// Switches in a line with a host at each end.
fn line(seed: u64, switches: usize, link: Link) -> (Lab, NodeId, NodeId, Vec<NodeId>, Vec<LinkId>) {
    let mut lab = Lab::new(seed);
    let (a, b) = (lab.host("a", A), lab.host("b", B));
    let nodes: Vec<_> = (1..=switches).map(|n| lab.switch(SwitchConfig::new(format!("s{n}")))).collect();
    let mut links = vec![lab.link(a, nodes[0], link)];
    links.extend(nodes.windows(2).map(|w| lab.link(w[0], w[1], link)));
    links.push(lab.link(nodes[switches - 1], b, link));
    (lab, a, b, nodes, links)
}

#[test]
fn a_hundred_switches_in_a_line() {
    let began = Clock::now();
    let (mut lab, a, _, nodes, _) = line(1, 100, Link::new(Duration::from_micros(10)));
    lab.ping(a, B, 100, SECOND / 10);
    lab.run_for(SECOND * 15);
    let report = lab.pings(a);
    assert_eq!((report.sent, report.received(), report.unexpected), (100, 100, 0));
    // There and back over 101 links; the first one waits for ARP besides.
    assert!(report.round_trips[1..].iter().all(|r| *r == Some(Duration::from_micros(2 * 101 * 10))));
    assert_eq!(report.round_trips[0], Some(Duration::from_micros(4 * 101 * 10)));
    lab.assert_balanced();
    for node in nodes {
        let switch = lab.switch_ref(node);
        assert_eq!(switch.macs().len(), 2, "{}", switch.name());
        assert_eq!(switch.ledger().forwarded, 202, "{}", switch.name());
    }
    println!("100 switches, 100 pings: {:?}", began.elapsed());
}

#[test]
fn the_same_seed_gives_the_same_frames_at_the_same_times() {
    let play = |seed| {
        let link = Link::new(Duration::from_millis(1)).loss(0.2).jitter(Duration::from_millis(3));
        let (mut lab, a, _, nodes, links) = line(seed, 3, link);
        lab.ping(a, B, 50, SECOND / 20);
        lab.run_for(SECOND * 10);
        lab.assert_balanced();
        let frames: Vec<_> = links.iter().map(|l| lab.captured(*l).to_vec()).collect();
        let megaflows = lab.switch_ref(nodes[1]).dump_megaflows(lab.now()).unwrap();
        (frames, lab.pings(a).clone(), megaflows)
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7).0, play(8).0);
}

#[test]
fn lossy_links_lose_and_say_so() {
    let (mut lab, a, _, _, links) = line(3, 1, Link::new(Duration::from_millis(1)).loss(0.3));
    lab.ping(a, B, 200, SECOND / 50);
    lab.run_for(SECOND * 10);
    lab.assert_balanced();
    let lost: u64 = links.iter().map(|l| lab.link_stats(*l).lost).sum();
    let captured_lost = links.iter().flat_map(|l| lab.captured(*l)).filter(|c| c.lost).count();
    assert!(lost > 0 && lost == captured_lost as u64);
    let received = lab.pings(a).received();
    assert!(0 < received && received < 200, "{received}");
}

#[test]
fn a_drop_rule_in_the_middle_stops_pings_until_it_goes() {
    let (mut lab, a, _, nodes, _) = line(1, 3, Link::new(Duration::from_millis(1)));
    let mut total = 0;
    for (flow, expected) in [(None, 5), (Some(true), 0), (Some(false), 5)] {
        let now = lab.now();
        let switch = lab.switch_mut(nodes[1]);
        match flow {
            Some(true) => switch.add_flow("priority=10,icmp,nw_dst=10.0.0.2,actions=drop", now).unwrap(),
            Some(false) => switch.del_flows("icmp", now).unwrap(),
            None => {}
        }
        lab.ping(a, B, 5, SECOND);
        lab.run_for(SECOND * 6);
        total += expected;
        assert_eq!(lab.pings(a).received(), total);
        lab.assert_balanced();
    }
    assert_eq!(lab.switch_ref(nodes[1]).ledger().drops(DropReason::FlowDrop), 5);
    assert_eq!(lab.switch_ref(nodes[0]).ledger().dropped_total(), 0);
}

#[test]
fn counters_and_timeouts_follow_the_virtual_clock() {
    let (mut lab, a, _, nodes, _) = line(1, 1, Link::new(Duration::from_millis(1)));
    let now = lab.now();
    let s = lab.switch_mut(nodes[0]);
    s.add_flow("priority=10,icmp,idle_timeout=3,actions=NORMAL", now).unwrap();
    s.add_flow("priority=9,icmp,hard_timeout=20,actions=NORMAL", now).unwrap();
    lab.ping(a, B, 10, SECOND);
    lab.run_for(SECOND * 10);
    let flow = |lab: &Lab, priority: i32| lab.switch_ref(nodes[0]).flows().find(|f| f.priority == priority);
    let busy = flow(&lab, 10).unwrap();
    assert_eq!((busy.packets, busy.bytes), (20, 20 * (14 + 20 + 8 + 32)));
    // The last packet was at 9.002 s or so.
    lab.run_for(Duration::from_millis(1900));
    assert!(flow(&lab, 10).is_some());
    lab.run_for(Duration::from_millis(200));
    assert!(flow(&lab, 10).is_none() && flow(&lab, 9).is_some());
    lab.run_for(SECOND * 8);
    assert!(flow(&lab, 9).is_none());
    // Megaflows that nobody uses go too, and learnt addresses in five minutes.
    lab.run_for(SECOND * 20);
    assert_eq!((lab.switch_ref(nodes[0]).megaflows().unwrap().len(), lab.switch_ref(nodes[0]).macs().len()), (0, 2));
    lab.run_for(SECOND * 300);
    assert_eq!(lab.switch_ref(nodes[0]).macs().len(), 0);
    lab.assert_balanced();
}

#[test]
fn a_station_that_moves_is_found() {
    let mut lab = Lab::new(1);
    let switch = lab.switch(SwitchConfig::new("s"));
    let hosts: Vec<_> = (1..=3).map(|n| lab.host("h", Ipv4Addr::new(10, 0, 0, n))).collect();
    let links: Vec<_> = hosts.iter().map(|h| lab.link(*h, switch, Link::new(Duration::from_millis(1)))).collect();
    let frame = |src: u64, dst: u64| {
        let key = ovs_packet::FlowKey {
            eth_src: EthAddr::local(src),
            eth_dst: EthAddr::local(dst),
            eth_type: 0x1234.into(),
            ..ovs_packet::FlowKey::ZERO
        };
        compose::compose(&key, &[0; 46]).data().to_vec()
    };
    let to = |lab: &mut Lab, link: LinkId| {
        lab.run_for(SECOND / 10);
        let n = lab.captured(link).iter().filter(|c| !c.forward).count();
        lab.capture(link, false);
        lab.capture(link, true);
        n
    };
    // Station 77 is behind the first link, then behind the second; 88 sends to it each time.
    for (home, away) in [(links[0], links[1]), (links[1], links[0])] {
        lab.inject(home, true, &frame(77, 99));
        lab.run_for(SECOND / 10);
        links.iter().for_each(|l| lab.capture(*l, false));
        links.iter().for_each(|l| lab.capture(*l, true));
        lab.inject(links[2], true, &frame(88, 77));
        assert_eq!((to(&mut lab, home), to(&mut lab, away)), (1, 0));
    }
    lab.assert_balanced();
}

#[test]
fn a_secure_switch_without_flows_drops() {
    let mut lab = Lab::new(1);
    let (a, b) = (lab.host("a", A), lab.host("b", B));
    let s = lab.switch(SwitchConfig::new("s").fail_mode(FailMode::Secure));
    lab.link(a, s, Link::new(Duration::ZERO));
    lab.link(s, b, Link::new(Duration::ZERO));
    lab.ping(a, B, 1, SECOND);
    lab.run_for(SECOND * 5);
    lab.assert_balanced();
    // ARP asked three times.
    assert_eq!(lab.switch_ref(s).ledger().drops(DropReason::TableMiss), 3);
}

#[test]
fn stateful_rules_let_answers_in_and_nothing_else() {
    let (mut lab, a, b, nodes, _) = line(1, 1, Link::new(Duration::from_millis(1)));
    let now = lab.now();
    let s = lab.switch_mut(nodes[0]);
    for flow in [
        "table=0,priority=10,icmp,actions=ct(table=1)",
        "table=1,priority=10,ct_state=+trk+new,icmp,in_port=1,actions=ct(commit),NORMAL",
        "table=1,priority=10,ct_state=+trk+est,icmp,actions=NORMAL",
        "table=1,priority=0,actions=drop",
    ] {
        s.add_flow(flow, now).unwrap();
    }
    lab.ping(a, B, 3, SECOND);
    lab.ping(b, A, 3, SECOND);
    lab.run_for(SECOND * 10);
    lab.assert_balanced();
    assert_eq!((lab.pings(a).received(), lab.pings(b).received()), (3, 0));
    assert_eq!(lab.switch_ref(nodes[0]).ledger().drops(DropReason::FlowDrop), 3);
}

#[test]
fn vlans_keep_stations_apart() {
    use ovs_dpif::netdev::MemPort;
    use ovs_ofproto::pipeline::VlanMode;
    use ovs_packet::{FlowKey, Instant, extract};
    use ovs_switch::Switch;

    let mut s = Switch::new(&SwitchConfig::new("br0"));
    let modes = [VlanMode::Access(10), VlanMode::Access(20), VlanMode::default(), VlanMode::Access(10)];
    let ends: Vec<_> = modes
        .into_iter()
        .enumerate()
        .map(|(n, mode)| {
            let (port, end) = MemPort::new(format!("p{n}"), 10);
            s.add_port(Box::new(port), mode).unwrap();
            end
        })
        .collect();
    let frame: Match = "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,tp_dst=1".parse().unwrap();
    ends[0].push(compose::compose(frame.key(), b"x"));
    s.run(Instant::ZERO);
    let tags: Vec<Option<Option<u16>>> = ends
        .iter()
        .map(|end| {
            end.pop().map(|mut p| {
                let mut k = FlowKey::ZERO;
                extract::extract(&mut p, &mut k);
                k.vlan_vid()
            })
        })
        .collect();
    assert_eq!(tags, [None, None, Some(Some(10)), Some(None)]);
    assert_eq!(
        s.dump_megaflows(Instant::ZERO).unwrap(),
        ["recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),\
          eth_type(0x0800),ipv4(frag=no), packets:0, bytes:0, used:never, actions:push_vlan(vid=10,pcp=0),3,pop_vlan,4"],
    );
}
