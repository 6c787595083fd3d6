//! What megaflows say is what the pipeline says: after a change and the answer to its barrier no packet takes an old action,
//! however many megaflows there are; and nothing grows beyond its bound, whatever packets come.

use std::time::Duration;

use ovs_dpif::Dpif;
use ovs_dpif::userspace::{Datapath, Limits};
use ovs_ofproto::FlowModCommand::{self, Add, DeleteStrict, ModifyStrict};
use ovs_ofproto::codec::{Band, Kind, Message, MeterMod, Version};
use ovs_ofproto::pipeline::{CONTROLLER_METER, ConnectionId, Event, RevalidatorConfig};
use ovs_packet::{Match, Packet, compose};

use crate::world::{World, flow, packet};

const PORTS: usize = 4;

/// A switch and its controller.
struct Lab {
    world: World,
    controller: ConnectionId,
}

impl Lab {
    fn new(limits: Limits) -> Lab {
        let mut world = World::over(Datapath::with_limits(limits, 5), PORTS as u32);
        let controller = world.connect(Version::V1_3);
        world.of.set_flow_limit(1_000_000);
        world.run();
        Lab { world, controller }
    }

    fn with(flows: &[&str]) -> Lab {
        let mut limits = Limits::default();
        limits.flows = 1_000_000;
        let mut lab = Lab::new(limits);
        flows.iter().for_each(|f| lab.change(Add, f));
        lab
    }

    fn change(&mut self, command: FlowModCommand, flow: &str) {
        self.world.change(command, flow).unwrap();
    }

    fn send(&mut self, port: u32, packet: &Packet) {
        self.world.push(port, packet.clone());
        self.world.serve();
    }

    /// How many packets came out of each port since this was asked last.
    fn received(&self) -> [usize; PORTS] {
        let came = self.world.received();
        std::array::from_fn(|n| came.iter().filter(|(port, _)| *port as usize == n + 1).count())
    }

    /// Sends messages and then a barrier, and reads what is answered until that.
    fn exchange(&mut self, messages: &[&[u8]]) {
        messages.iter().for_each(|message| self.world.tell(self.controller, message));
        let last = self.world.outputs(self.controller).pop();
        assert_eq!(last.and_then(|last| Kind::of_bytes(&last).ok()), Some(Kind::BarrierReply11));
    }

    fn counters(&self, priority: i32) -> u64 {
        self.world.of.flows().filter(|f| f.priority == priority).map(|f| f.packets).sum()
    }
}

fn udp(n: u32) -> Packet {
    let m: Match = "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_ttl=64,tp_src=5,tp_dst=53"
        .parse()
        .unwrap();
    let mut key = m.key();
    key.nw_dst = (0x0b00_0000 + n).into();
    compose::compose(&key, b"x")
}

/// The action that all packets end with.
fn ending(port: u32) -> Vec<u8> {
    let flow = format!("table=1,priority=5,ip,actions=output:{port}");
    Message::from(self::flow(&flow, ModifyStrict)).encode(Version::V1_3, 7).unwrap()
}

/// A switch with as many megaflows, all of which end with one rule.
fn ending_alike(megaflows: u32) -> Lab {
    let mut lab = Lab::with(&[
        "table=0,priority=5,ip,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG0[],goto_table:1",
        "table=1,priority=5,ip,actions=output:2",
    ]);
    for n in 0..megaflows {
        lab.world.push(1, udp(n));
        if n % 128 == 127 || n + 1 == megaflows {
            lab.world.serve();
            lab.received();
        }
    }
    assert_eq!(lab.world.dp.stats().unwrap().flows, u64::from(megaflows));
    lab
}

/// What came of many changes, each with a barrier.
struct Trials {
    /// Packets that went the old way after the answer.
    stale: u32,
    /// How long the answers took, ascending.
    took: Vec<Duration>,
}

impl Trials {
    fn percentile(&self, n: usize) -> Duration {
        self.took[(self.took.len() - 1) * n / 100]
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// Changes where packets go, waits for the barrier's answer and sends a packet, again and again.
fn change_and_send(megaflows: u32, trials: u32) -> Trials {
    let mut lab = ending_alike(megaflows);
    // None is idle for too long, so that all are there in the end.
    let mut config = *lab.world.of.revalidator();
    config.max_idle = Duration::from_secs(1 << 20);
    lab.world.of.set_revalidator(config);
    let barrier = Message::BarrierRequest.encode(Version::V1_3, 8).unwrap();
    let changes = [ending(2), ending(3)];
    let (mut random, mut stale, mut sent) = (fastrand(1), 0, u64::from(megaflows));
    let mut took = Vec::with_capacity(trials as usize);
    for trial in 0..trials {
        let to = 1 + random() as usize % 2;
        let start = cpu();
        lab.exchange(&[&changes[to - 1], &barrier]);
        took.push(cpu() - start);
        // Of the first and of others, so that some are asked for while others wait.
        for n in [0, random() as u32 % megaflows] {
            lab.send(1, &udp(n));
            sent += 1;
            let mut expected = [0; PORTS];
            expected[to] = 1;
            stale += u32::from(lab.received() != expected);
        }
        if trial % 7 == 0 {
            lab.world.now += Duration::from_millis(1);
            lab.world.run();
        }
    }
    lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
    assert_eq!(lab.world.dp.stats().unwrap().flows, u64::from(megaflows), "nothing is deleted");
    assert_eq!(lab.counters(5), 2 * sent, "each of both rules counts every packet");
    assert_eq!(lab.world.of.megaflow_memory().unproved, 0);
    took.sort_unstable();
    Trials { stale, took }
}

/// Numbers that are the same in every run.
fn fastrand(seed: u64) -> impl FnMut() -> u64 {
    let mut x = seed;
    move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        x >> 33
    }
}

#[test]
fn after_a_barrier_no_packet_takes_an_old_action() {
    for (megaflows, trials) in [(1, 500), (255, 60), (257, 200), (3000, 300)] {
        assert_eq!(change_and_send(megaflows, trials).stale, 0, "{megaflows} megaflows");
    }
}

/// The whole of it, with figures: `cargo test --release -p ovs-ofproto --test pipeline revalidation -- --ignored --nocapture`.
#[test]
#[ignore = "3,000,000 trials"]
fn after_a_barrier_no_packet_takes_an_old_action_in_a_million_trials() {
    for megaflows in [1, 16_000, 200_000] {
        let start = cpu();
        let trials = change_and_send(megaflows, 1_000_000);
        eprintln!(
            "{megaflows} megaflows: {} stale packets; answers median {:?}, p99 {:?}, worst {:?}; {:?} in all",
            trials.stale,
            trials.percentile(50),
            trials.percentile(99),
            trials.percentile(100),
            cpu() - start
        );
        assert_eq!(trials.stale, 0, "{megaflows} megaflows");
    }
}

#[test]
fn a_rule_concerns_those_that_it_overlaps() {
    let mut lab = ending_alike(1000);
    let looked_into = |lab: &mut Lab, command, flow: &str| {
        let before = lab.world.of.revalidated();
        lab.change(command, flow);
        lab.world.of.revalidated() - before
    };
    // Ever again, so that lists are sorted, kept sorted while megaflows come, and forgotten.
    for round in 0..4 {
        assert_eq!(looked_into(&mut lab, Add, "table=1,priority=9,ip,nw_dst=11.0.0.7,actions=output:3"), 1);
        assert_eq!(
            looked_into(
                &mut lab,
                Add,
                "table=0,priority=9,ip,nw_dst=11.0.1.0/28,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG0[],output:4"
            ),
            16
        );
        // Where ports were looked at, it is seen that this is not for them.
        let other_port = looked_into(&mut lab, Add, "table=0,priority=9,udp,nw_dst=11.0.0.9,tp_dst=7,actions=drop");
        assert_eq!(other_port, u64::from(round == 0));
        assert_eq!(looked_into(&mut lab, Add, "table=0,priority=9,ipv6,actions=drop"), 0);
        assert_eq!(looked_into(&mut lab, Add, "table=2,priority=9,actions=drop"), 0);
        lab.send(1, &udp(7));
        lab.send(1, &udp(0x10f));
        lab.send(1, &udp(9));
        assert_eq!(lab.received(), [0, 1, 1, 1]);
        assert_eq!(looked_into(&mut lab, DeleteStrict, "table=1,priority=9,ip,nw_dst=11.0.0.7"), 1);
        assert_eq!(looked_into(&mut lab, DeleteStrict, "table=0,priority=9,ip,nw_dst=11.0.1.0/28"), 16);
        assert_eq!(looked_into(&mut lab, DeleteStrict, "table=0,priority=9,udp,nw_dst=11.0.0.9,tp_dst=7"), 0);
        assert_eq!(looked_into(&mut lab, DeleteStrict, "table=0,priority=9,ipv6"), 0);
        assert_eq!(looked_into(&mut lab, DeleteStrict, "table=2,priority=9"), 0);
        lab.world.of.check();
        for n in 0..500 {
            lab.send(1, &udp(2000 + round * 500 + n));
        }
        lab.received();
    }
}

#[test]
fn a_change_of_many_is_told_once_and_the_others_are_kept() {
    let mut lab = ending_alike(600);
    // Those of the other half go another way first, so that a change of one concerns half of them.
    lab.change(Add, "table=0,priority=7,ip,nw_dst=11.0.0.0/24,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG0[],output:4");
    lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
    let before = lab.world.of.revalidated();
    lab.change(ModifyStrict, "table=1,priority=5,ip,actions=output:3");
    assert_eq!(lab.world.of.revalidated(), before, "it waits");
    assert_eq!(lab.world.of.megaflow_memory().unproved, 600);
    for (n, to) in [(5, 3), (300, 2), (5, 3), (300, 2)] {
        lab.send(1, &udp(n));
        let mut expected = [0; PORTS];
        expected[to] = 1;
        assert_eq!(lab.received(), expected);
    }
    assert_eq!((lab.world.stale, lab.world.of.revalidated() - before), (2, 1), "one kept, one decided anew, each once");
    lab.world.run();
    assert_eq!((lab.world.of.revalidated() - before, lab.world.of.megaflow_memory().unproved), (344, 0));
    assert_eq!(lab.world.dp.stats().unwrap().flows, 600);
    lab.world.of.check();
}

#[test]
fn what_went_through_before_a_change_is_its_rules() {
    let mut lab = ending_alike(600);
    lab.change(Add, "table=0,priority=9,udp,actions=output:3");
    for n in 0..600 {
        lab.send(1, &udp(n));
    }
    // Whoever is told the last counters is told them whole.
    lab.change(Add, "table=0,priority=9,udp,send_flow_rem,actions=output:3");
    lab.send(1, &udp(1));
    while lab.world.of.poll_event().is_some() {}
    lab.change(DeleteStrict, "table=0,priority=9,udp");
    let Some(Event::FlowRemoved(flow, _)) = lab.world.of.poll_event() else { panic!() };
    assert_eq!(flow.packets, 601);
    lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
    assert_eq!(lab.counters(5), 2 * 600);
}

#[test]
fn what_went_through_a_few_megaflows_before_a_change_is_their_rules() {
    let mut lab = ending_alike(3);
    for _ in 0..5 {
        lab.send(1, &udp(1));
    }
    // The megaflow leads elsewhere from now on; what it has counted does not.
    lab.change(Add, "table=1,priority=8,ip,actions=output:3");
    lab.send(1, &udp(1));
    lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
    assert_eq!((lab.counters(5), lab.counters(8)), (2 * 8 + 1, 1), "one of both rules, and the other alone");
}

#[test]
fn a_rule_that_changes_ever_again_is_remembered_no_longer_than_needed() {
    let mut lab = ending_alike(600);
    for n in 0..10_000 {
        lab.change(ModifyStrict, &format!("table=1,priority=5,ip,actions=output:{}", 2 + n % 2));
    }
    lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
    assert_eq!(lab.counters(5), 2 * 600);
    lab.send(1, &udp(1));
    assert_eq!(lab.received(), [0, 0, 1, 0]);
}

#[test]
fn megaflows_that_the_datapath_evicts_are_forgotten_with_their_packets_credited() {
    let mut limits = Limits::default();
    (limits.port_flows, limits.port_masks) = (10, 5);
    let mut lab = Lab::new(limits);
    lab.change(Add, "priority=5,ip,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG0[],output:2");
    for n in 0..100 {
        lab.send(1, &udp(n));
        lab.send(1, &udp(n));
    }
    assert_eq!((lab.world.of.megaflow_count().0, lab.world.dp.stats().unwrap().evicted), (10, 90));
    lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
    assert_eq!(lab.counters(5), 200);
}

#[test]
fn a_port_that_fills_the_table_makes_room_for_others() {
    let mut limits = Limits::default();
    limits.flows = 50;
    // It may be the switch that allows no more, or the datapath.
    for (own, limits) in [(50, Limits::default()), (1000, limits)] {
        let mut lab = Lab::new(limits);
        lab.world.of.set_flow_limit_now(own);
        lab.change(Add, "priority=5,ip,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG0[],output:2");
        for n in 0..100 {
            lab.send(1, &udp(n));
        }
        assert_eq!((lab.world.of.megaflow_count().0, lab.world.dp.stats().unwrap().evicted), (50, 0));
        for n in 0..40 {
            lab.send(3, &udp(n));
        }
        // Now they have as many each.
        let (stats, count) = (lab.world.dp.stats().unwrap(), lab.world.of.megaflow_count().0);
        assert_eq!((count, stats.flows, stats.evicted), (50, 50, 25));
        lab.send(3, &udp(0));
        assert_eq!(lab.world.dp.stats().unwrap().missed, stats.missed, "what the port got, it has");
        lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
        assert_eq!(lab.counters(5), 141, "what went is credited");
    }
}

/// A million packets, no two alike: the counts that may not grow beyond their bounds do not.
#[test]
fn hostile_packets_fill_nothing_beyond_its_bound() {
    let packets = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    let mut lab = Lab::new(Limits::default());
    let mut config = RevalidatorConfig::default();
    (config.flow_limit, config.max_idle) = (2000, Duration::from_millis(1500));
    lab.world.of.set_revalidator(config);
    for flow in [
        "table=0,priority=1,actions=resubmit(,1),resubmit(,2)",
        "table=0,priority=9,tcp,tp_dst=0x8000/0x8000,actions=ct(table=1)",
        "table=1,priority=9,tcp,nw_src=0.0.0.1/0.0.0.1,tp_src=0x10/0x10,actions=NORMAL",
        "table=1,priority=8,udp,nw_dst=128.0.0.0/1,actions=learn(table=3,idle_timeout=1,limit=1000,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),2",
        "table=2,priority=7,tcp,tp_dst=80,actions=multipath(symmetric_l4,0,modulo_n,3,0,NXM_NX_REG0[]),3",
        "table=2,priority=1,actions=NORMAL",
    ] {
        lab.change(Add, flow);
    }
    let mut random = fastrand(9);
    for n in 0..packets {
        let proto = ["tcp", "udp", "icmp", "sctp"][random() as usize % 4];
        let m: Match = proto.parse().unwrap();
        let mut key = m.key();
        (key.eth_src.0[3], key.eth_src.0[4], key.eth_src.0[5]) = (random() as u8, random() as u8, random() as u8);
        (key.eth_dst.0[4], key.eth_dst.0[5]) = (random() as u8, random() as u8);
        (key.nw_src, key.nw_dst) = ((random() as u32).into(), (random() as u32).into());
        (key.tp_src, key.tp_dst) = ((random() as u16).into(), (random() as u16).into());
        lab.world.push((n % PORTS) as u32 + 1, compose::compose(&key, b""));
        if n % 64 == 63 {
            lab.world.serve();
            lab.received();
            lab.world.now += Duration::from_millis(10);
            lab.world.run();
            let memory = lab.world.of.megaflow_memory();
            assert!(memory.megaflows <= 2000 && memory.steps <= 16 * 2000 && memory.shapes <= 2000, "{memory:?}");
            assert!(memory.bytes <= 2000 * 4096 + (1 << 20), "{memory:?}");
            assert_eq!(lab.world.dp.stats().unwrap().flows as usize, memory.megaflows);
            assert!(lab.world.of.macs().len() <= 8192 && lab.world.of.flow_count() <= 6 + 1000);
        }
    }
    assert!(lab.world.of.not_installed() > 0 && lab.world.of.megaflow_count().0 > 0);
    lab.world.of.check();
}

/// Found by the fuzz target `openflow_switch`: megaflows went on sending packets up past the meter that came for them.
#[test]
fn a_meter_for_packets_to_controllers_concerns_megaflows_that_are_there() {
    let mut lab = Lab::with(&["priority=5,ip,actions=CONTROLLER"]);
    lab.send(1, &udp(1));
    let actions = |lab: &Lab| ovs_dpif::text::actions(&lab.world.dp.flow_dump().unwrap()[0].actions).to_string();
    assert!(actions(&lab).starts_with("userspace("), "{}", actions(&lab));
    let mut mm = MeterMod::default();
    mm.config.meter = CONTROLLER_METER;
    (mm.config.flags, mm.config.bands) = (2, vec![Band { kind: 1, rate: 5, burst: 0, precedence: 0 }]);
    let add = Message::MeterMod(mm.clone()).encode(Version::V1_3, 1).unwrap();
    mm.command = 2;
    let delete = Message::MeterMod(mm).encode(Version::V1_3, 1).unwrap();
    let barrier = Message::BarrierRequest.encode(Version::V1_3, 8).unwrap();
    lab.exchange(&[&add, &barrier]);
    assert!(actions(&lab).contains("meter("), "{}", actions(&lab));
    lab.exchange(&[&delete, &barrier]);
    assert!(actions(&lab).starts_with("userspace("), "{}", actions(&lab));
}

#[test]
fn megaflows_may_be_disabled() {
    let mut lab = Lab::with(&["priority=5,ip,actions=output:2"]);
    lab.world.of.set_megaflows(&mut lab.world.dp, false, lab.world.now);
    for n in [1, 2, 1] {
        lab.send(1, &udp(n));
    }
    assert_eq!(lab.world.dp.stats().unwrap().flows, 2);
    let exact = lab.world.dp.flow_dump().unwrap().iter().all(|f| f.matching().mask().bits.tp_dst == u16::MAX);
    assert!(exact);
    lab.change(ModifyStrict, "priority=5,ip,actions=output:3");
    lab.received();
    lab.send(1, &udp(1));
    assert_eq!((lab.received(), lab.world.dp.stats().unwrap().flows), ([0, 0, 1, 0], 2));
    lab.world.of.set_megaflows(&mut lab.world.dp, true, lab.world.now);
    assert_eq!(lab.world.dp.stats().unwrap().flows, 0);
    lab.send(1, &packet("icmp,nw_src=1.1.1.1"));
    lab.send(1, &udp(2));
    assert_eq!(lab.world.dp.stats().unwrap().flows, 1);
}

#[test]
fn where_time_is_short_megaflows_that_hardly_serve_go() {
    let mut lab = ending_alike(600);
    let mut config = RevalidatorConfig::default();
    (config.flow_limit, config.stats_delay) = (1_000_000, Duration::ZERO);
    lab.world.of.set_revalidator(config);
    lab.world.of.revalidation_took(Duration::from_millis(400));
    for _ in 0..20 {
        lab.send(1, &udp(3));
    }
    lab.world.now += Duration::from_secs(2);
    lab.world.run();
    lab.change(ModifyStrict, "table=1,priority=5,ip,actions=output:3");
    lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
    assert_eq!(lab.world.of.megaflow_count().0, 1, "ten packets a second");
    assert_eq!(lab.counters(5), 2 * 620);
}

#[test]
fn a_megaflow_leads_back_to_its_rules() {
    let mut lab = Lab::with(&[
        "table=0,priority=9,cookie=0x5,udp,actions=goto_table:1",
        "table=1,priority=7,nw_src=10.0.0.0/24,udp,actions=conjunction(3,1/2)",
        "table=1,priority=7,udp,tp_dst=53,actions=conjunction(3,2/2)",
        "table=1,priority=7,conj_id=3,ip,actions=resubmit(,2),NORMAL",
    ]);
    lab.world.of.set_name("br7");
    for _ in 0..3 {
        lab.send(1, &udp(1));
        lab.world.now += Duration::from_secs(1);
    }
    lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
    let ufid = lab.world.dp.flow_dump().unwrap()[0].ufid;
    let found = lab.world.of.detrace(&lab.world.dp, ufid, lab.world.now).unwrap();
    assert_eq!(
        found.to_string(),
        "br7\n  \
         cookie=0x5, duration=3s, n_packets=3, n_bytes=129, priority=9,udp,actions=goto_table:1\n  \
         table_id=1, duration=3s, n_packets=3, n_bytes=129, priority=7,conj_id=3,ip,actions=resubmit(,2),NORMAL\n  \
         table_id=2, no match\n  \
         learns 02:00:00:00:00:01 vlan 0 at port 1\n"
    );
    let explained = found.trace.to_string();
    assert!(explained.contains("conj. priority=7,udp,nw_src=10.0.0.0/24"), "{explained}");
    let json = found.to_json();
    assert!(json.starts_with(&format!(r#"{{"ufid":"{ufid}","match":"recirc_id(0),in_port(1),"#)), "{json}");
    assert!(
        json.contains(
            r#""in_doubt":false,"deeds":[{"bridge":"br7","kind":"rule","table_id":0,"priority":9,"cookie":5,"#
        )
    );
    assert!(json.contains(r#"{"bridge":"br7","kind":"miss","table_id":2}"#));
    assert!(lab.world.of.detrace(&lab.world.dp, ovs_dpif::Ufid(5), lab.world.now).is_none());
}

#[test]
fn a_megaflow_in_doubt_says_so() {
    let mut lab = ending_alike(300);
    let ufid = lab.world.dp.flow_dump().unwrap()[0].ufid;
    lab.change(ModifyStrict, "table=1,priority=5,ip,actions=output:3");
    let found = lab.world.of.detrace(&lab.world.dp, ufid, lab.world.now).unwrap();
    assert!(found.in_doubt && found.to_string().contains("table_id=1, flow that is gone"), "{found}");
    lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
    let found = lab.world.of.detrace(&lab.world.dp, ufid, lab.world.now).unwrap();
    assert!(!found.in_doubt && found.to_string().contains("actions=output:3"), "{found}");
}

#[test]
fn live_traces_tell_what_became_of_packets() {
    let mut lab = Lab::with(&[
        "priority=9,udp,tp_dst=53,actions=controller,output:2",
        "priority=8,ip,actions=ct(table=1)",
        "table=1,priority=5,ct_state=+trk,ip,actions=output:3",
    ]);
    // What goes by megaflows is seen as well as what is new.
    let (dns, ping) = (udp(1), packet("icmp,nw_src=10.0.0.9,nw_dst=10.0.0.2,nw_ttl=64"));
    [&dns, &ping, &dns, &ping].into_iter().for_each(|p| lab.send(1, p));
    while lab.world.of.poll_event().is_some() {}
    lab.received();
    let watched: Match = "in_port=1,ip".parse().unwrap();
    lab.world.of.trace_live(&mut lab.world.dp, &watched, 3, lab.world.now).unwrap();
    [&dns, &ping].into_iter().for_each(|p| lab.send(1, p));
    lab.send(2, &dns);
    assert_eq!(lab.received(), [0, 1, 1, 0], "packets go where they went before");
    assert!(matches!(lab.world.of.poll_event(), Some(Event::PacketIn(_))), "the controller hears of them");
    let live = lab.world.of.live_trace().unwrap();
    assert_eq!((live.seen.len(), live.left), (2, 1));
    let text = live.to_string();
    assert!(text.contains("priority 9") && text.contains("recirc(0x"), "{text}");
    assert_eq!(live.seen[1].trace.passes.len(), 2, "{text}");
    assert!(text.ends_with("2 packets seen, waiting for 1 more.\n"), "{text}");
    assert!(
        live.to_json().starts_with(r#"{"match":"ip,in_port=1","left":1,"packets":[{"time":100000,"#),
        "{}",
        live.to_json()
    );
    // With the last packet all is as before: what follows does not come up.
    lab.send(1, &dns);
    lab.world.run();
    [&dns, &ping].into_iter().for_each(|p| lab.send(1, p));
    let missed = lab.world.dp.stats().unwrap().missed;
    [&dns, &ping].into_iter().for_each(|p| lab.send(1, p));
    assert_eq!((lab.world.dp.stats().unwrap().missed, lab.world.of.live_trace().unwrap().seen.len()), (missed, 3));
    assert!(
        lab.world
            .dp
            .flow_dump()
            .unwrap()
            .iter()
            .all(|f| !ovs_dpif::text::actions(&f.actions).to_string().contains("slow_path"))
    );
}

#[test]
fn live_traces_end() {
    let mut lab = Lab::with(&["actions=output:2"]);
    for (bad, n) in [("reg0=1", 3), ("metadata=1", 3), ("in_port=9", 3), ("ip", 0), ("ip", 1001)] {
        assert!(lab.world.of.trace_live(&mut lab.world.dp, &bad.parse().unwrap(), n, lab.world.now).is_err(), "{bad}");
    }
    lab.world.of.trace_live(&mut lab.world.dp, &"ip".parse().unwrap(), 3, lab.world.now).unwrap();
    lab.world.now += Duration::from_secs(61);
    lab.world.run();
    assert!(!lab.world.of.live_trace().unwrap().is_waiting());
    lab.send(1, &udp(1));
    assert_eq!((lab.received(), lab.world.of.live_trace().unwrap().seen.len()), ([0, 1, 0, 0], 0));
}

/// Counters are read late, and in whatever order: the packet that came last decides what is learnt.
#[test]
fn flows_are_learnt_in_the_order_of_their_packets() {
    let learn = "actions=learn(table=2,hard_timeout=9,dl_dst=02:00:00:00:00:01,output:OXM_OF_IN_PORT[]),output:3";
    let mut lab =
        Lab::with(&["in_port=1,actions=resubmit(,1)", "in_port=2,actions=resubmit(,1)", &format!("table=1,{learn}")]);
    let learnt = |lab: &Lab| {
        let flow = lab.world.of.flows().find(|f| f.table == 2).unwrap();
        flow.instructions.apply.iter().map(|a| a.to_string()).collect::<String>()
    };
    lab.send(1, &udp(1));
    lab.send(2, &udp(1));
    for last in [1, 2, 2, 1] {
        for port in [3 - last, last] {
            lab.world.now += Duration::from_millis(75);
            lab.send(port, &udp(1));
        }
        lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
        assert_eq!(learnt(&lab), format!("output:{last}"));
    }
}
