//! Changes that take long, in slices: what can be seen of them meanwhile, and what becomes of whoever comes between.

use std::time::Duration;

use ovs_dpif::Dpif;
use ovs_ofproto::FlowModCommand::{self, Add, Delete, Modify};
use ovs_ofproto::codec::{
    BundleAdd, BundleControl, FlowMonitorRequest, FlowStatsRequest, FlowUpdate, Message, MonitorFlags, OfError, Page,
    Version,
};
use ovs_ofproto::pipeline::{ConnectionId, HIDDEN_PRIORITY, TableConfig};
use ovs_ofproto::text::{GroupCommand, Parser};
use ovs_packet::{Instant, Match};
use proptest::prelude::*;

use crate::world::{self, World, packet};

const V: Version = Version::V1_4;

fn sliced(slice: usize) -> World {
    let mut world = World::new(3);
    world.of.set_slice(slice);
    world
}

impl World {
    /// Does all that a controller's messages ask for; what it hears.
    fn settle(&mut self, c: ConnectionId) -> Vec<(u32, Message)> {
        let mut said = self.heard(c);
        while self.of.is_under_way() {
            self.run();
            said.extend(self.heard(c));
        }
        said
    }

    /// Runs until nothing is under way, as whoever obeys deadlines does; how often it had to.
    fn run_to_the_end(&mut self) -> usize {
        let mut runs = 0;
        while self.of.is_under_way() {
            assert_eq!(self.of.next_deadline(), Some(Instant::ZERO));
            self.run();
            runs += 1;
        }
        runs
    }

    fn control(&mut self, c: ConnectionId, kind: u16, xid: u32) {
        let mut b = BundleControl::default();
        (b.bundle, b.kind, b.flags) = (1, kind, 3);
        self.say(c, V, xid, &Message::BundleControl(b));
    }

    /// Commits a bundle; its messages have the numbers from 10 on, the commit has 9.
    fn bundle(&mut self, c: ConnectionId, messages: &[Message]) {
        self.control(c, 0, 1);
        for (xid, m) in (10..).zip(messages) {
            let mut b = BundleAdd::default();
            (b.bundle, b.flags, b.message) = (1, 3, m.encode(V, xid).unwrap());
            self.say(c, V, xid, &Message::BundleAdd(b));
        }
        self.control(c, 4, 9);
    }

    /// Where a packet comes out that comes in by the first port.
    fn way_of(&mut self, words: &str) -> Vec<u32> {
        self.forward(1, packet(words)).into_iter().map(|(port, _)| port).collect()
    }
}

fn flow(text: &str, command: FlowModCommand) -> Message {
    world::flow(text, command).into()
}

fn group(text: &str, command: GroupCommand) -> Message {
    world::group(text, command).into()
}

const UDP: &str =
    "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2";

fn many(n: u16, actions: &str) -> Vec<Message> {
    (0..n).map(|n| flow(&format!("table=1,priority=40000,udp,tp_dst={n},actions={actions}"), Add)).collect()
}

#[test]
fn packets_go_by_what_was_before_until_all_is_true_at_once() {
    let mut w = sliced(1);
    let (c, other) = (w.connect(V), w.connect(V));
    w.add("table=0,actions=resubmit(,1)");
    w.add("table=1,udp,actions=output:2");
    w.add("table=1,udp,tp_dst=2,priority=9,actions=output:2");
    let before = w.flows();
    // The packet's own flow is replaced early, and what it resubmits by last.
    let mut messages = many(20, "output:3");
    messages.insert(1, flow("table=1,udp,tp_dst=2,priority=9,actions=output:3", Modify));
    messages.push(flow("table=0,actions=resubmit(,1),output:1", Modify));
    w.bundle(c, &messages);
    // What comes behind the commit on the same connection waits for it, what others ask of flows too; echoes do not.
    w.say(c, V, 50, &Message::BarrierRequest);
    assert!(!w.of.wants_input(c) && w.of.wants_input(other));
    w.say(other, V, 60, &Message::EchoRequest(vec![1]));
    w.say(other, V, 61, &Message::BarrierRequest);
    w.say(other, V, 62, &FlowStatsRequest::default().into());
    w.say(other, V, 63, &Message::EchoRequest(vec![2]));
    assert!(!w.of.wants_input(other));
    let mut runs = 0;
    while w.of.is_under_way() {
        assert_eq!(w.way_of(UDP), [2]);
        if w.of.is_under_way() && w.flows().len() == 3 {
            w.of.synchronise(&mut w.dp, w.now);
        }
        runs += 1;
        if w.of.flow_count() == 3 {
            let strip = |f: &[String]| f.iter().map(|f| f.rsplit_once(' ').unwrap().0.to_string()).collect::<Vec<_>>();
            assert_eq!(strip(&w.flows()), strip(&before));
            let said = w.heard(c);
            assert!(said.iter().all(|(xid, _)| *xid == 1), "{said:?}");
        } else {
            break;
        }
    }
    assert!(runs >= 20, "{runs}");
    w.run_to_the_end();
    assert_eq!((w.of.flow_count(), w.way_of(UDP)), (23, vec![3]));
    let said: Vec<u32> = w.heard(c).iter().map(|(xid, _)| *xid).collect();
    assert_eq!(said, [9, 50], "the barrier comes behind the commit");
    let said = w.heard(other);
    assert_eq!(said.iter().map(|(xid, _)| *xid).collect::<Vec<_>>(), [60, 61, 62, 63]);
    let Message::FlowStatsReply(page) = &said[2].1 else { panic!("{:?}", said[2]) };
    assert_eq!(page.flows.len(), 23, "all of it");
    // What went through before is the flows' still.
    w.of.synchronise(&mut w.dp, w.now);
    let counted: u64 = w.of.flows().filter(|f| f.table == 0).map(|f| f.packets).sum();
    assert_eq!(counted, runs + 1);
    w.of.verify(&w.dp, 7);
}

#[test]
fn what_fails_half_way_is_taken_back_in_slices_with_its_counts() {
    let mut w = sliced(1);
    let c = w.connect(V);
    w.add("table=0,priority=1,actions=output:2");
    let mut messages = vec![
        flow("table=0,priority=1,actions=output:3", Add),
        group("group_id=7,type=indirect,bucket=output:3", GroupCommand::Add),
    ];
    messages.extend(many(10, "group:7"));
    messages.push(flow("table=0,priority=1,actions=output:1", Modify));
    messages.push(flow("table=1,actions=group:8", Add));
    w.bundle(c, &messages);
    let mut sent = 0;
    while w.of.is_under_way() {
        assert_eq!(w.way_of(UDP), [2]);
        sent += 1;
        w.of.synchronise(&mut w.dp, w.now);
        assert!(w.of.groups().is_empty());
    }
    assert!(sent > 20, "{sent}");
    let said: Vec<_> = w
        .heard(c)
        .into_iter()
        .filter_map(|(xid, m)| match m {
            Message::Error(e) => Some((xid, e.error)),
            _ => None,
        })
        .collect();
    assert_eq!(said, [(23, OfError::BadActionBadGroup), (9, OfError::BundleMsgFailed)]);
    w.of.synchronise(&mut w.dp, w.now);
    let f = w.of.flows().next().unwrap();
    assert_eq!((w.of.flow_count(), f.packets, w.way_of(UDP)), (1, sent, vec![2]));
    w.of.check();
}

#[test]
fn deletions_and_changes_of_very_many_go_on_in_slices() {
    let mut w = sliced(4);
    let (c, other) = (w.connect(V), w.connect(V));
    let flows = many(40, "output:2");
    for m in &flows {
        w.say(c, V, 5, m);
    }
    w.add("actions=resubmit(,1)");
    assert_eq!(w.way_of(UDP), [2]);
    w.say(c, V, 6, &flow("table=1,actions=output:3", Modify));
    w.say(c, V, 7, &Message::BarrierRequest);
    assert_eq!((w.way_of(UDP), w.heard(c)), (vec![2], vec![]));
    assert!(w.run_to_the_end() >= 10);
    assert_eq!((w.way_of(UDP), w.heard(c)), (vec![3], vec![(7, Message::BarrierReply)]));
    w.say(c, V, 8, &flow("table=1,tcp", Delete));
    assert!(!w.of.is_under_way());
    w.say(other, V, 8, &flow("table=1,udp", Delete));
    // Whoever asked goes; what he asked for is done.
    assert!(w.of.is_under_way() && w.of.disconnect(other) && w.of.flow_count() == 41);
    assert!(w.run_to_the_end() >= 15);
    assert_eq!((w.of.flow_count(), w.way_of(UDP)), (1, vec![]));
    // So do those of a group, and who cannot wait need not.
    w.say(c, V, 9, &group("group_id=1,type=indirect,bucket=output:2", GroupCommand::Add));
    many(40, "group:1").iter().for_each(|m| w.say(c, V, 10, m));
    assert_eq!(w.settle(c), []);
    assert_eq!(w.way_of(UDP), [2]);
    w.say(c, V, 11, &group("group_id=1", GroupCommand::Delete));
    assert!(w.of.is_under_way() && w.way_of(UDP) == [2]);
    w.of.finish(&mut w.dp, w.now);
    assert_eq!((w.of.flow_count(), w.way_of(UDP), w.heard(c)), (1, vec![], vec![]));
    w.of.check();
}

#[test]
fn what_the_switch_does_for_itself_comes_before() {
    let mut w = sliced(1);
    let c = w.connect(V);
    w.add("table=0,udp,actions=learn(table=5,hard_timeout=60,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),output:2");
    w.bundle(c, &many(20, "output:3"));
    // A flow that packets make, and a hidden one, are there at once, and nothing of the bundle is.
    assert_eq!(w.way_of(UDP), [2]);
    assert_eq!((w.of.is_under_way(), w.of.flow_count(), w.of.flows().filter(|f| f.table == 5).count()), (true, 2, 1));
    let id =
        w.of.add_hidden(Match::ANY, HIDDEN_PRIORITY, Parser::default().actions("output:3").unwrap(), w.now).unwrap();
    w.run();
    assert_eq!((w.of.flow_count(), w.way_of(UDP)), (3, vec![3]));
    w.of.remove_hidden(id, w.now);
    w.run();
    assert_eq!((w.of.is_under_way(), w.way_of(UDP)), (true, vec![2]));
    w.run_to_the_end();
    assert_eq!(w.of.flow_count(), 22);
    // A flow that the bundle is about waits for it, and it for nothing else.
    let messages: Vec<_> =
        [flow("table=5,dl_dst=02:00:00:00:00:01", Delete)].into_iter().chain(many(20, "drop")).collect();
    w.bundle(c, &messages);
    w.run();
    assert!(w.of.is_under_way());
    let other = UDP.replace("02:00:00:00:00:01", "02:00:00:00:00:03");
    assert_eq!((w.way_of(&other), w.of.is_under_way()), (vec![2], true));
    w.now += Duration::from_secs(1);
    w.dp.flow_flush().unwrap();
    w.of.purge(&mut w.dp, w.now);
    assert_eq!((w.way_of(UDP), w.of.is_under_way()), (vec![2], false), "it is there again");
    assert_eq!(w.of.flows().filter(|f| f.table == 5).count(), 2);
    w.of.check();
    // An owner's flow is true when the call returns.
    w.bundle(c, &many(20, "output:1"));
    assert!(w.of.is_under_way());
    w.add("table=0,udp,priority=40000,actions=output:3");
    assert_eq!((w.of.is_under_way(), w.way_of(UDP)), (false, vec![3]));
}

#[test]
fn flows_whose_time_is_up_go_some_at_a_time_and_tables_that_shrink() {
    let mut w = sliced(4);
    let c = w.connect(V);
    for n in 0..40 {
        w.add(&format!("table=1,udp,tp_dst={n},hard_timeout=5,actions=output:2"));
    }
    // A packet that comes when their time is just over finds them.
    w.now += Duration::from_secs(5);
    w.run();
    assert_eq!(w.of.flow_count(), 40);
    w.now += Duration::from_millis(1);
    let mut runs = 0;
    while w.of.next_deadline().is_some_and(|at| at <= w.now) && w.of.flow_count() > 0 {
        w.run();
        runs += 1;
    }
    assert_eq!((w.of.flow_count(), runs), (0, 10));
    for n in 0..40 {
        w.add(&format!("table=1,udp,tp_dst={n},hard_timeout=50,actions=output:2"));
    }
    let mut config = TableConfig::default();
    (config.limit, config.evict_by) = (Some(3), Some(Vec::new()));
    w.bundle(c, &many(8, "output:3"));
    assert!(w.of.is_under_way() && w.of.configure_table(1, config, w.now));
    assert_eq!(w.of.flow_count(), 40);
    w.run_to_the_end();
    assert!(w.of.flow_count() > 3);
    while w.of.next_deadline() == Some(Instant::ZERO) {
        w.run();
    }
    // Those of the bundle do not end by themselves.
    assert_eq!(w.of.flow_count(), 8);
}

#[test]
fn monitors_hear_of_all_of_it_within_their_bounds() {
    let mut w = sliced(1);
    let (c, own, watcher) = (w.connect(V), w.connect(V), w.connect(V));
    let mut m = FlowMonitorRequest::default();
    (m.id, m.flags) = (1, MonitorFlags::ADD | MonitorFlags::REMOVED);
    for c in [own, watcher] {
        w.say(c, V, 3, &Message::FlowMonitorRequest(Page { more: false, items: vec![m.clone()] }));
        w.heard(c);
    }
    w.bundle(own, &many(12, "output:2"));
    w.run_to_the_end();
    let updates = |said: Vec<(u32, Message)>| -> Vec<FlowUpdate> {
        let pages = said.into_iter().filter_map(|(_, m)| match m {
            Message::FlowMonitorReply(page) => Some(page.items),
            _ => None,
        });
        pages.flatten().collect()
    };
    assert_eq!(updates(w.heard(own)), [FlowUpdate::Abbreviated(9)]);
    assert_eq!(updates(w.heard(watcher)).len(), 12);
    w.bundle(c, &[flow("table=1", Delete), flow("table=0,actions=group:1", Add)]);
    w.run_to_the_end();
    assert_eq!(updates(w.heard(watcher)), [], "nothing happened");
}

fn texts() -> impl Strategy<Value = (FlowModCommand, String)> {
    let matches = prop::sample::select(vec!["udp,tp_dst=2", "udp", "tcp", "", "in_port=1", "udp,nw_dst=10.0.0.0/8"]);
    let actions = prop::sample::select(vec!["output:2", "output:3", "resubmit(,1)", "group:1", "drop", "group:9"]);
    let command = prop::sample::select(vec![Add, Add, Add, Modify, Delete]);
    (command, 0..2u8, 0..2u8, matches, actions).prop_map(|(command, table, priority, m, actions)| {
        let text = match command {
            Add => format!("table={table},priority={priority},{m},actions={actions}"),
            Modify => format!("table={table},{m},actions={actions}"),
            _ => format!("table={table},{m}"),
        };
        (command, text.replace(",,", ","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the slices, a bundle leads to the same and is answered the same; packets meanwhile see what was there
    /// before it or what is there after it.
    #[test]
    fn slices_make_no_difference(
        before in prop::collection::vec(texts(), 0..8),
        bundle in prop::collection::vec(texts(), 1..12),
        slice in 1usize..4,
    ) {
        let mut worlds = [sliced(slice), sliced(usize::MAX)];
        let mut ends = Vec::new();
        for w in &mut worlds {
            let c = w.connect(V);
            w.say(c, V, 4, &group("group_id=1,type=indirect,bucket=output:2,output:3", GroupCommand::Add));
            before.iter().for_each(|(command, text)| w.say(c, V, 5, &flow(text, *command)));
            w.settle(c);
            let old = (w.way_of(UDP), w.of.flow_count());
            let messages: Vec<_> =
                bundle.iter().map(|(command, text)| flow(text, *command)).chain([group("group_id=1,type=indirect,bucket=output:2", GroupCommand::Modify)]).collect();
            w.bundle(c, &messages);
            let mut seen = Vec::new();
            while w.of.is_under_way() {
                seen.push((w.way_of(UDP), w.of.flow_count()));
                w.run();
            }
            let new = (w.way_of(UDP), w.of.flow_count());
            prop_assert!(seen.iter().all(|s| *s == old || *s == new), "{:?}: {:?} {:?}", seen, old, new);
            w.of.synchronise(&mut w.dp, w.now);
            w.of.verify(&w.dp, 0x1234_5678_9abc);
            let flows: Vec<String> = w.flows().iter().map(|f| f.rsplit_once(' ').unwrap().0.into()).collect();
            ends.push((new, flows, w.heard(c)));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
    }
}
