//! What controllers say to the switch and hear from it, message by message, in all versions.

use std::time::Duration;

use ovs_dpif::netdev::{DummyPort, Netdev, NetdevError};
use ovs_dpif::{Dpif, PortSpec};
use ovs_ofproto::codec::{
    AsyncConfig, BundleAdd, BundleControl, FlowChange, FlowMonitorRequest, FlowStatsRequest, FlowUpdate, Header, Kind,
    Message, MessageKind, MeterMod, OfError, PacketInReason, PacketOut, Page, PortMod, PortRequest, Role, SwitchConfig,
    TableMod, Version,
};
use ovs_ofproto::pipeline::{
    ConnectionConfig, ConnectionId, ConnectionKind, Event, FailMode, Port, RateLimit, RemovedReason, TableConfig,
};
use ovs_ofproto::text::{GroupCommand, Parser};
use ovs_ofproto::{FlowModCommand, Instructions};
use ovs_packet::{EthAddr, OfPort, Packet, PacketBatch};

use crate::world::{self, World};

fn switch() -> World {
    let mut world = World::new(2);
    (1..=2).for_each(|n| world.set_port(n, |port| port.hw_addr = EthAddr([2, 0, 0, 0, 0, n as u8])));
    world
}

impl World {
    /// Says something and hears what is said to it.
    fn ask(&mut self, c: ConnectionId, version: Version, message: impl Into<Message>) -> Vec<Message> {
        self.say(c, version, 7, &message.into());
        self.heard(c).into_iter().map(|(_, m)| m).collect()
    }

    fn error(&mut self, c: ConnectionId, version: Version, message: impl Into<Message>) -> Option<OfError> {
        match &self.ask(c, version, message)[..] {
            [] => None,
            [Message::Error(e)] => Some(e.error),
            other => panic!("{other:?}"),
        }
    }

    fn cookies(&self) -> Vec<u64> {
        self.of.flows().map(|f| f.cookie).collect()
    }
}

fn flow(text: &str, command: FlowModCommand) -> Message {
    world::flow(text, command).into()
}

fn add(text: &str) -> Message {
    flow(text, FlowModCommand::Add)
}

fn delete(text: &str) -> Message {
    flow(text, FlowModCommand::Delete)
}

fn group(text: &str, command: GroupCommand) -> Message {
    world::group(text, command).into()
}

fn role(role: u32, generation: u64) -> Message {
    let mut r = Role::default();
    (r.role, r.generation) = (role, Some(generation));
    Message::RoleRequest(r)
}

const V: [Version; 6] = Version::KNOWN;

/// A device with more counters than an item has room for, one of them with a name that no message can have.
#[derive(Debug)]
struct Counting;

impl Netdev for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn kind(&self) -> &'static str {
        "dummy"
    }

    fn receive(&mut self, _: &mut PacketBatch) -> Result<usize, NetdevError> {
        Ok(0)
    }

    fn send(&mut self, _: &mut PacketBatch) -> Result<(), NetdevError> {
        Ok(())
    }

    fn custom_stats(&self) -> Vec<(String, u64)> {
        let many = (0..10_000).map(|n| (format!("counter_{n}"), n));
        std::iter::once(("x".repeat(256), 1)).chain(many).collect()
    }
}

#[test]
fn counters_of_a_devices_own_are_told_by_name() {
    let mut w = switch();
    let (dummy, control) = DummyPort::new("d", "dummy", EthAddr([2, 0, 0, 0, 0, 9]));
    for (n, device) in [Box::new(dummy) as Box<dyn Netdev>, Box::new(Counting)].into_iter().enumerate() {
        let name = device.name().to_string();
        let number = w.dp.port_add(PortSpec::Device(device), None).unwrap();
        w.of.port_add(Port::new(OfPort(3 + n as u32), number, name));
    }
    control.receive(Packet::from_slice(&[0; 60]), 0);
    w.dp.poll(w.now, &mut Vec::new());
    let c = w.connect(Version::V1_4);
    let items =
        w.ask(c, Version::V1_4, Message::PortStatsRequest(PortRequest::default())).into_iter().flat_map(|m| match m {
            Message::PortStatsReply(page) => page.items,
            other => panic!("{other:?}"),
        });
    let items: Vec<_> = items.collect();
    assert_eq!(items.iter().map(|p| p.number.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let told: Vec<_> = items[2].custom.iter().map(|c| (c.name.as_str(), c.value)).collect();
    assert_eq!(
        told,
        [
            ("rx_custom_packets_1", 1),
            ("rx_custom_packets_2", 1),
            ("rx_q0_bytes", 60),
            ("rx_q0_packets", 1),
            ("tx_q0_bytes", 0),
            ("tx_q0_packets", 0)
        ]
    );
    assert!(items[0].custom.is_empty());
    // As many as there is room for, from the first on.
    let many = &items[3].custom;
    assert!(many.len() > 2000 && many.iter().enumerate().all(|(n, c)| c.name == format!("counter_{n}")));
    // Versions without properties have no place for them.
    let c = w.connect(Version::V1_3);
    let replies = w.ask(c, Version::V1_3, Message::PortStatsRequest(PortRequest::default()));
    assert!(matches!(&replies[..], [Message::PortStatsReply(page)] if page.items.iter().all(|p| p.custom.is_empty())));
}

#[test]
fn every_request_of_every_version_is_answered_in_kind() {
    for version in V {
        let mut w = switch();
        let c = w.connect(version);
        let pairs: &[(Message, MessageKind)] = &[
            (Message::EchoRequest(vec![1]), MessageKind::EchoReply),
            (Message::FeaturesRequest, MessageKind::FeaturesReply),
            (Message::GetConfigRequest, MessageKind::GetConfigReply),
            (Message::BarrierRequest, MessageKind::BarrierReply),
            (Message::DescRequest, MessageKind::DescStatsReply),
            (FlowStatsRequest::default().into(), MessageKind::FlowStatsReply),
            (Message::AggregateStatsRequest(Box::default()), MessageKind::AggregateStatsReply),
            (Message::TableStatsRequest, MessageKind::TableStatsReply),
            (Message::PortDescRequest(PortRequest::default()), MessageKind::PortDescStatsReply),
            (Message::PortStatsRequest(PortRequest::default()), MessageKind::PortStatsReply),
            (Message::QueueStatsRequest(Default::default()), MessageKind::QueueStatsReply),
            (Message::GroupStatsRequest(0xffff_fffc), MessageKind::GroupStatsReply),
            (Message::GroupDescRequest(0xffff_fffc), MessageKind::GroupDescStatsReply),
            (Message::GroupFeaturesRequest, MessageKind::GroupFeaturesStatsReply),
            (Message::MeterStatsRequest(u32::MAX), MessageKind::MeterStatsReply),
            (Message::MeterConfigRequest(u32::MAX), MessageKind::MeterConfigStatsReply),
            (Message::MeterFeaturesRequest, MessageKind::MeterFeaturesStatsReply),
            (Message::TableFeaturesRequest(Page::default()), MessageKind::TableFeaturesStatsReply),
            (Message::TableDescRequest, MessageKind::TableDescReply),
            (Message::GetAsyncRequest, MessageKind::GetAsyncReply),
            (role(0, 0), MessageKind::RoleReply),
            (Message::TlvTableRequest, MessageKind::TlvTableReply),
        ];
        for (request, reply) in pairs {
            // What the version cannot ask, nobody asks.
            let Ok(bytes) = request.encode(version, 7) else { continue };
            w.of.handle_message(&mut w.dp, c, &bytes, w.now).unwrap();
            let mut n = 0;
            while let Some(output) = w.of.poll_output(&mut w.dp, c, w.now) {
                let header = Header::decode(&output.message).unwrap();
                assert_eq!((header.version, header.xid), (version, 7), "{request:?}");
                let (_, m) = Message::decode(&output.message).unwrap_or_else(|e| panic!("{version} {reply:?}: {e}"));
                assert_eq!(m.says(), Some(*reply), "{version}: {m:?}");
                n += 1;
            }
            assert!(n > 0, "{version}: {request:?}");
        }
    }
}

#[test]
fn what_a_controller_should_not_say_is_refused() {
    let mut w = switch();
    let c = w.connect(Version::V1_3);
    let v = Version::V1_3;
    assert_eq!(w.error(c, v, Message::Hello(Default::default())), Some(OfError::BadRequestBadType));
    assert_eq!(w.error(c, v, Message::BarrierReply), Some(OfError::BadRequestBadType));
    assert_eq!(w.error(c, v, Message::IpfixBridgeStatsRequest), Some(OfError::StatsNotConfigured));
    assert_eq!(w.error(c, v, Message::Experimenter(Default::default())), Some(OfError::BadRequestBadExperimenter));
    assert_eq!(w.error(c, Version::V1_4, Message::BarrierRequest), Some(OfError::BadRequestBadVersion));
    assert_eq!(w.error(c, v, Message::EchoReply(vec![])), None);
    assert_eq!(w.error(c, v, Message::MeterStatsRequest(5)), Some(OfError::MeterModUnknownMeter));
    let mut bad = SwitchConfig::default();
    bad.flags = 8;
    assert_eq!(w.error(c, v, Message::SetConfig(bad)), Some(OfError::SwitchConfigBadFlags));
}

#[test]
fn answers_keep_the_order_of_requests_though_a_dump_takes_its_time() {
    let mut w = switch();
    let c = w.connect(Version::V1_3);
    for n in 0..2000 {
        w.say(c, Version::V1_3, 1, &add(&format!("table={},dl_vlan={},actions=output:1", n % 2, n / 2)));
    }
    assert!(w.of.wants_input(c));
    w.say(c, Version::V1_3, 5, &FlowStatsRequest::default().into());
    assert!(!w.of.wants_input(c));
    // What comes behind waits: the dump is of the flows before.
    w.say(c, Version::V1_3, 6, &delete("table=1"));
    w.say(c, Version::V1_3, 8, &Message::BarrierRequest);
    assert_eq!(w.of.flow_count(), 2000);
    let heard = w.heard(c);
    let told: usize = heard
        .iter()
        .filter_map(|(_, m)| match m {
            Message::FlowStatsReply(r) => Some(r.flows.len()),
            _ => None,
        })
        .sum();
    assert_eq!((told, w.of.flow_count()), (2000, 1000));
    let more: Vec<bool> = heard.iter().map(|(_, m)| matches!(m, Message::FlowStatsReply(r) if r.more)).collect();
    let n = more.len();
    assert!(n > 3 && more[..n - 2].iter().all(|m| *m) && !more[n - 2]);
    assert_eq!(heard[n - 1], (8, Message::BarrierReply));
    assert!(w.of.wants_input(c) && !w.of.has_output(c));
}

#[test]
fn the_table_of_an_openflow_1_0_flow_mod_needs_the_extension() {
    let mut w = switch();
    let (v, c) = (Version::V1_0, w.connect(Version::V1_0));
    assert_eq!(w.error(c, v, add("table=3,cookie=1,actions=drop")), Some(OfError::FlowModBadCommand));
    assert_eq!(w.error(c, v, add("cookie=2,actions=drop")), None);
    assert_eq!(w.error(c, v, Message::FlowModTableId(true)), None);
    assert_eq!(w.error(c, v, add("table=3,cookie=3,actions=drop")), None);
    assert_eq!(w.error(c, v, Message::FlowModTableId(false)), None);
    assert_eq!(w.cookies(), [2, 3]);
    // Without it, a deletion is of all tables.
    assert_eq!(w.error(c, v, delete("")), None);
    assert_eq!(w.cookies(), [0; 0]);
}

#[test]
fn roles() {
    let mut w = switch();
    let v = Version::V1_4;
    let (a, b, old) = (w.connect(v), w.connect(v), w.connect(Version::V1_0));
    let mut config = AsyncConfig::default();
    config.masks[3] = [Some(7), Some(7)];
    assert_eq!(w.error(a, v, Message::SetAsync(config.into())), None);
    assert!(matches!(&w.ask(a, v, role(2, 5))[..], [Message::RoleReply(r)] if r.role == 2));
    assert!(matches!(&w.ask(b, v, role(2, 6))[..], [Message::RoleReply(r)] if (r.role, r.generation) == (2, Some(6))));
    let told = w.heard(a);
    assert!(
        matches!(&told[..], [(0, Message::RoleStatus(s))] if (s.role, s.reason, s.generation) == (3, 0, 6)),
        "{told:?}"
    );
    for m in
        [add("actions=drop"), group("group_id=1,type=all", GroupCommand::Add), Message::MeterMod(MeterMod::default())]
    {
        assert_eq!(w.error(a, v, m), Some(OfError::BadRequestIsReplica));
    }
    assert_eq!(w.error(a, v, role(2, 5)), Some(OfError::RoleRequestStale));
    // Nicira's request is answered as such.
    let request = role(1, 0).encode(Version::V1_0, 3).unwrap();
    w.of.handle_message(&mut w.dp, old, &request, w.now).unwrap();
    let reply = w.of.poll_output(&mut w.dp, old, w.now).unwrap().message;
    assert_eq!(Kind::of_bytes(&reply).unwrap(), Kind::NxRoleReply);
    assert!(w.of.disconnect(b) && !w.of.disconnect(b));
    assert!(matches!(&w.ask(a, v, role(2, 6))[..], [Message::RoleReply(r)] if r.role == 2));
}

fn control(kind: u16, flags: u16) -> Message {
    let mut b = BundleControl::default();
    (b.bundle, b.kind, b.flags) = (9, kind, flags);
    Message::BundleControl(b)
}

fn bundled(version: Version, m: &Message, flags: u16) -> Message {
    let mut b = BundleAdd::default();
    (b.bundle, b.flags, b.message) = (9, flags, m.encode(version, 7).unwrap());
    Message::BundleAdd(b)
}

#[test]
fn a_bundle_happens_as_a_whole_or_not_at_all() {
    for v in [Version::V1_3, Version::V1_4, Version::V1_5] {
        let mut w = switch();
        let c = w.connect(v);
        assert_eq!(w.error(c, v, add("cookie=1,actions=drop")), None);
        assert!(matches!(&w.ask(c, v, control(0, 3))[..], [Message::BundleControl(b)] if b.kind == 1));
        let all = [
            group("group_id=5,type=all,bucket=output:1", GroupCommand::Add),
            add("table=1,cookie=2,actions=group:5"),
            delete("cookie=1/-1"),
            add("table=2,cookie=3,actions=drop"),
        ];
        for m in &all {
            assert_eq!(w.error(c, v, bundled(v, m, 3)), None);
        }
        assert_eq!((w.cookies(), w.of.groups().len()), (vec![1], 0));
        assert!(matches!(&w.ask(c, v, control(4, 3))[..], [Message::BundleControl(b)] if b.kind == 5));
        assert_eq!((w.cookies(), w.of.groups().len()), (vec![2, 3], 1));
        // One that cannot be carried out takes all back: its own error, and one for the bundle.
        for m in [group("group_id=5", GroupCommand::Delete), add("table=3,cookie=4,actions=group:77")] {
            assert_eq!(w.error(c, v, bundled(v, &m, 3)), None);
        }
        let errors = w.ask(c, v, control(4, 3));
        let errors: Vec<_> =
            errors.iter().map(|m| if let Message::Error(e) = m { e.error } else { panic!() }).collect();
        assert_eq!(errors, [OfError::BadActionBadGroup, OfError::BundleMsgFailed]);
        assert_eq!((w.cookies(), w.of.groups().len()), (vec![2, 3], 1));
        w.of.check();
        // It is gone, as one is with which nothing is done.
        assert_eq!(w.error(c, v, control(4, 3)), Some(OfError::BundleBadId));
        assert!(matches!(&w.ask(c, v, control(0, 0))[..], [Message::BundleControl(_)]));
        w.now += Duration::from_secs(11);
        w.of.run(&mut w.dp, w.now);
        // What is told of it repeats the request that began it.
        let heard = w.heard(c);
        let [(7, Message::Error(e))] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(e.error, OfError::BundleTimeout);
        assert!(matches!(Message::decode(&e.data), Ok((_, Message::BundleControl(b))) if b.kind == 0));
    }
}

#[test]
fn flows_that_end_are_told_with_the_reason() {
    for v in V {
        let mut w = switch();
        let c = w.connect(v);
        let v13 = w.connect(Version::V1_3);
        for m in [
            group("group_id=1,type=all,bucket=output:1", GroupCommand::Add),
            add("table=1,cookie=4,send_flow_rem,actions=group:1"),
        ] {
            assert_eq!(w.error(v13, Version::V1_3, m), None);
        }
        assert_eq!(w.error(c, v, add("cookie=1,send_flow_rem,hard_timeout=2,actions=drop")), None);
        assert_eq!(w.error(c, v, add("cookie=2,in_port=1,actions=drop")), None);
        // To the end of the last second, and not longer.
        w.now += Duration::from_millis(2000);
        w.of.run(&mut w.dp, w.now);
        assert_eq!(w.heard(c), []);
        w.now += Duration::from_millis(1);
        w.of.run(&mut w.dp, w.now);
        let told = w.heard(c);
        let [(0, Message::FlowRemoved(f))] = &told[..] else { panic!("{v}: {told:?}") };
        assert_eq!((f.cookie, f.reason, f.duration), (1, RemovedReason::Hard as u8, Duration::from_millis(2001)));
        w.heard(v13);
        w.say(v13, Version::V1_3, 1, &group("group_id=1", GroupCommand::Delete));
        assert!(matches!(&w.heard(v13)[..], [(0, Message::FlowRemoved(f))] if (f.cookie, f.reason) == (4, 3)));
        // Before OpenFlow 1.3, nobody is told of groups that end.
        let told = w.heard(c);
        assert_eq!(told.len(), usize::from(v >= Version::V1_3), "{v}: {told:?}");
    }
}

#[test]
fn ports() {
    let mut w = switch();
    let (old, new) = (w.connect(Version::V1_4), w.connect(Version::V1_5));
    let mut pm = PortMod::default();
    (pm.number, pm.config, pm.mask) = (OfPort(1), 1, 1);
    assert_eq!(w.error(old, Version::V1_4, Message::PortMod(pm.clone())), Some(OfError::PortModBadHwAddr));
    pm.hw_addr = EthAddr([2, 0, 0, 0, 0, 1]);
    assert_eq!(w.error(old, Version::V1_4, Message::PortMod(pm.clone())), None);
    // Who changed it is not told before OpenFlow 1.5.
    assert!(matches!(&w.heard(new)[..], [(0, Message::PortStatus(s))] if (s.reason, s.port.config) == (2, 1)));
    assert!(matches!(w.of.poll_event(), Some(Event::PortConfig(OfPort(1)))));
    pm.config = 0;
    assert!(matches!(&w.ask(new, Version::V1_5, Message::PortMod(pm.clone()))[..], [Message::PortStatus(_)]));
    assert_eq!(w.heard(old).len(), 1);
    pm.number = OfPort(9);
    assert_eq!(w.error(old, Version::V1_4, Message::PortMod(pm)), Some(OfError::PortModBadPort));
    w.of.port_remove(OfPort(2));
    assert!(matches!(&w.heard(old)[..], [(0, Message::PortStatus(s))] if s.reason == 1));
    w.of.port_remove(OfPort(2));
    assert_eq!(w.heard(old), []);
}

#[test]
fn groups_and_meters_and_who_is_told_of_them() {
    let mut w = switch();
    let v = Version::V1_4;
    let (a, b) = (w.connect(v), w.connect(v));
    let mut config = AsyncConfig::default();
    config.masks[5] = [Some(3), None];
    assert_eq!(w.error(b, v, Message::SetAsync(config.into())), None);
    assert_eq!(w.error(a, v, group("group_id=1,type=all,bucket=output:1,bucket=output:2", GroupCommand::Add)), None);
    let told = w.heard(b);
    let [(_, Message::RequestForward(bytes))] = &told[..] else { panic!("{told:?}") };
    assert!(matches!(Message::decode(bytes), Ok((_, Message::GroupMod(g))) if g.desc.group == 1));
    assert_eq!(
        w.error(a, v, group("group_id=2,type=all,bucket=group:2", GroupCommand::Add)),
        Some(OfError::GroupModLoop)
    );
    assert_eq!(w.error(a, v, group("group_id=1,type=all", GroupCommand::Add)), Some(OfError::GroupModGroupExists));
    assert_eq!(w.error(a, v, add("actions=group:9")), Some(OfError::BadActionBadGroup));
    assert_eq!(w.error(a, v, add("cookie=1,actions=group:1")), None);
    let stats = w.ask(a, v, Message::GroupStatsRequest(1));
    assert!(
        matches!(&stats[..], [Message::GroupStatsReply(p)] if p.items[0].references == 1 && p.items[0].buckets.len() == 2)
    );
    let mut mm = MeterMod::default();
    mm.config.meter = 3;
    assert_eq!(w.error(a, v, Message::MeterMod(mm.clone())), None);
    assert_eq!(w.error(a, v, add("table=1,cookie=2,actions=meter:3,output:1")), None);
    mm.command = 2;
    assert_eq!(w.error(a, v, Message::MeterMod(mm)), None);
    assert_eq!(w.cookies(), [1]);
    assert_eq!(w.error(a, v, group("group_id=all", GroupCommand::Delete)), None);
    assert_eq!(w.cookies(), [0; 0]);
}

fn monitor(id: u32) -> Message {
    let mut m = FlowMonitorRequest::default();
    m.id = id;
    Message::FlowMonitorRequest(Page { more: false, items: vec![m] })
}

fn changes(heard: &[(u32, Message)]) -> Vec<String> {
    let updates = heard.iter().flat_map(|(_, m)| match m {
        Message::FlowMonitorReply(p) => p.items.clone(),
        Message::FlowMonitorPaused => vec![FlowUpdate::Paused],
        Message::FlowMonitorResumed => vec![FlowUpdate::Resumed],
        other => panic!("{other:?}"),
    });
    updates
        .map(|u| match u {
            FlowUpdate::Change(c) => {
                let FlowChange { event, cookie, .. } = *c;
                format!("{event:?} {cookie}")
            }
            FlowUpdate::Abbreviated(xid) => format!("own {xid}"),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn monitors_are_told_of_what_is_there_and_of_what_happens() {
    for v in V {
        let mut w = switch();
        let (c, other) = (w.connect(v), w.connect(Version::V1_3));
        assert_eq!(w.error(other, Version::V1_3, add("cookie=1,actions=drop")), None);
        w.say(c, v, 7, &monitor(1));
        let heard = w.heard(c);
        let initial = if v >= Version::V1_4 { "Initial 1" } else { "Added 1" };
        assert_eq!((changes(&heard), heard[0].0), (vec![initial.to_string()], 7), "{v}");
        assert_eq!(w.error(c, v, monitor(1)), Some(OfError::FlowMonitorMonitorExists));
        for m in [
            add("in_port=1,cookie=2,actions=drop"),
            flow("in_port=1,actions=output:1", FlowModCommand::Modify),
            delete("in_port=1"),
        ] {
            assert_eq!(w.error(other, Version::V1_3, m), None);
        }
        assert_eq!(changes(&w.heard(c)), ["Added 2", "Modified 2", "Removed(2) 2"], "{v}");
        // From OpenFlow 1.4 on that is a multipart request, which has a reply.
        assert_eq!(
            changes(&[(0, w.ask(c, v, Message::FlowMonitorCancel(1)).pop().unwrap_or(Message::FlowMonitorPaused))])
                .len(),
            usize::from(v < Version::V1_4)
        );
        assert_eq!(w.error(c, v, Message::FlowMonitorCancel(1)), Some(OfError::FlowMonitorUnknownMonitor));
        assert_eq!(w.error(other, Version::V1_3, delete("")), None);
        assert_eq!(w.heard(c), []);
    }
}

#[test]
fn a_controllers_own_changes_are_told_in_short_if_it_wants() {
    let mut w = switch();
    let (v, c) = (Version::V1_3, w.connect(Version::V1_3));
    let mut m = FlowMonitorRequest::default();
    m.flags.remove(ovs_ofproto::codec::MonitorFlags::OWN);
    w.say(c, v, 1, &Message::FlowMonitorRequest(Page { more: false, items: vec![m] }));
    w.heard(c);
    w.say(c, v, 5, &add("in_port=1,actions=drop"));
    w.say(c, v, 6, &add("in_port=2,actions=drop"));
    w.say(c, v, 8, &delete(""));
    assert_eq!(changes(&w.heard(c)), ["own 5", "own 6", "own 8"]);
}

#[test]
fn a_monitor_that_is_not_read_pauses_and_goes_on() {
    let mut w = switch();
    let v = Version::V1_3;
    let (c, other) = (w.connect(v), w.connect(v));
    w.say(c, v, 7, &monitor(1));
    w.heard(c);
    let n = 4000;
    for i in 0..n {
        assert_eq!(w.error(other, v, add(&format!("table={},dl_vlan={},cookie={i},actions=drop", i % 2, i / 2))), None);
    }
    // One that it knows goes, and one that it never heard of.
    assert_eq!(w.error(other, v, delete("table=0,dl_vlan=0")), None);
    assert_eq!(w.error(other, v, delete(&format!("table=1,dl_vlan={}", n / 2 - 1))), None);
    let heard = changes(&w.heard(c));
    let paused = heard.iter().position(|s| s == "Paused").unwrap();
    assert!(paused > 100 && paused < n as usize, "{paused}");
    assert_eq!(heard[paused + 1], "Removed(2) 0");
    assert_eq!(heard.last().map(String::as_str), Some("Resumed"));
    let added = heard.iter().filter(|s| s.starts_with("Added")).count();
    assert_eq!(added, n as usize - 1, "all but the one that came and went unseen");
    assert!(!w.of.has_output(c));
}

#[test]
fn tables_tell_how_full_they_are_and_evict() {
    let mut w = switch();
    let (v, c) = (Version::V1_4, w.connect(Version::V1_4));
    let mut config = AsyncConfig::default();
    config.masks[4] = [Some(0x18), None];
    assert_eq!(w.error(c, v, Message::SetAsync(config.into())), None);
    let mut limit = TableConfig::default();
    limit.limit = Some(4);
    assert!(w.of.configure_table(0, limit, w.now));
    let mut tm = TableMod::default();
    (tm.desc.table, tm.desc.config, tm.desc.vacancy) = (0, 1 << 2 | 1 << 3, Some((40, 60, 0)));
    assert_eq!(w.error(c, v, Message::TableMod(tm.clone())), None);
    tm.desc.vacancy = Some((70, 60, 0));
    assert_eq!(w.error(c, v, Message::TableMod(tm)), Some(OfError::BadPropertyBadValue));
    for n in 0..5 {
        w.say(c, v, 1, &add(&format!("dl_vlan={n},cookie={n},importance={n},hard_timeout=9,actions=drop")));
    }
    let heard = w.heard(c);
    assert!(matches!(&heard[..], [(0, Message::TableStatus(s))] if s.reason == 3), "{heard:?}");
    assert_eq!(w.cookies(), [1, 2, 3, 4]);
    w.say(c, v, 1, &delete(""));
    assert!(
        matches!(&w.heard(c)[..], [(0, Message::TableStatus(s))] if (s.reason, s.desc.vacancy) == (4, Some((40, 60, 100))))
    );
}

#[test]
fn packets_come_in_the_format_and_at_the_rate_that_was_asked_for() {
    let mut w = switch();
    let (v, c) = (Version::V1_3, w.connect(Version::V1_3));
    let mut config = ConnectionConfig::new(v);
    (config.kind, config.rate_limit) = (ConnectionKind::Primary, Some(RateLimit::new(1, 1).with_queue(2)));
    let slow = w.of.connect(&config);
    config.kind = ConnectionKind::Service;
    let service = w.of.connect(&config);
    assert_eq!(w.error(c, v, Message::SetPacketInFormat(2)), None);
    assert_eq!(w.error(c, v, Message::SetPacketInFormat(9)), Some(OfError::BadRequestPermission));
    let actions = Parser::default().actions("CONTROLLER").unwrap();
    let out = ovs_ofproto::codec::PacketOut::new(OfPort(1), actions, vec![0; 60]);
    for _ in 0..4 {
        assert!(w.ask(c, v, out.clone()).iter().all(|m| matches!(m, Message::PacketIn(p)
            if p.reason == PacketInReason::PACKET_OUT || p.reason == PacketInReason::ACTION)));
    }
    assert_eq!((w.heard(slow).len(), w.heard(service).len()), (1, 0));
    assert_eq!(w.of.packet_in_stats(slow).map(|s| (s.passed, s.waiting, s.dropped)), [(0, 0, 0), (1, 2, 1)]);
    w.now += Duration::from_secs(1);
    w.of.run(&mut w.dp, w.now);
    assert_eq!(w.heard(slow).len(), 1);
}

#[test]
fn controllers_hear_by_their_number_and_what_they_asked_for() {
    let mut w = switch();
    let v = Version::V1_4;
    let (a, b) = (w.connect(v), w.connect(v));
    assert_eq!(w.error(b, v, Message::SetControllerId(7)), None);
    let out = |actions: &str| {
        let actions = Parser::default().actions(actions).unwrap();
        Message::from(PacketOut::new(OfPort(1), actions, vec![0; 60]))
    };
    let packets = |w: &mut World, actions: &str| {
        w.say(a, v, 1, &out(actions));
        let count =
            |heard: Vec<(u32, Message)>| heard.iter().filter(|(_, m)| matches!(m, Message::PacketIn(_))).count();
        [a, b].map(|c| count(w.heard(c)))
    };
    assert_eq!(packets(&mut w, "controller(id=7)"), [0, 1]);
    assert_eq!(packets(&mut w, "controller(id=8)"), [0, 0]);
    assert_eq!(packets(&mut w, "controller"), [1, 0]);
    assert_eq!(w.error(b, v, Message::SetControllerId(0)), None);
    assert_eq!(packets(&mut w, "controller(id=7)"), [0, 0]);
    assert_eq!(packets(&mut w, "controller"), [1, 1]);
    // Those of packet-outs go to secondary controllers alone that ask for them, and no more to this primary one.
    let mut config = AsyncConfig::default();
    config.masks[0] = [Some(0x1f), Some(0x20)];
    assert_eq!(w.error(b, v, Message::SetAsync(config.into())), None);
    assert_eq!(packets(&mut w, "controller"), [1, 0]);
    let Message::GetAsyncReply(said) = w.ask(b, v, Message::GetAsyncRequest).remove(0) else { panic!("no answer") };
    assert_eq!(said.masks[0], [Some(0x1f), Some(0x20)]);
    // What was not named stays: all of what happens to ports, for either.
    assert_eq!(said.masks[1], [Some(7), Some(7)]);
    assert!(matches!(&w.ask(b, v, role(3, 1))[..], [Message::RoleReply(r)] if r.role == 3));
    assert_eq!(packets(&mut w, "controller"), [1, 1]);
    // A flow that a packet-out leads to does it for the same reason.
    w.of.flow_mod(
        &mut w.dp,
        &Parser::default().flow_mod("in_port=1,actions=controller", FlowModCommand::Add).unwrap(),
        w.now,
    )
    .unwrap();
    assert_eq!(packets(&mut w, "resubmit(1,0)"), [1, 1]);
    // Each connection has its own, which is gone with it.
    let c = w.connect(v);
    let Message::GetAsyncReply(fresh) = w.ask(c, v, Message::GetAsyncRequest).remove(0) else { panic!("no answer") };
    assert_ne!(fresh.masks[0], said.masks[0]);
}

#[test]
fn the_switch_takes_over_when_controllers_are_gone() {
    let mut w = switch();
    w.of.set_fail_mode(FailMode::Standalone { after: Duration::from_secs(15) });
    w.of.run(&mut w.dp, w.now);
    assert_eq!(w.of.next_deadline(), Some(w.now + Duration::from_secs(15)));
    w.now += Duration::from_secs(15);
    w.of.run(&mut w.dp, w.now);
    assert!(w.of.stands_alone());
    let c = w.connect(Version::V1_3);
    // Controllers neither see nor delete what the switch does for itself.
    let v = Version::V1_3;
    assert_eq!(w.error(c, v, delete("")), None);
    let dump = w.ask(c, v, FlowStatsRequest::default());
    assert!(matches!(&dump[..], [Message::FlowStatsReply(r)] if r.flows.is_empty()));
    assert_eq!(w.of.flow_count(), 1);
    w.of.run(&mut w.dp, w.now);
    assert!(!w.of.stands_alone() && w.of.flow_count() == 0);
    assert!(w.of.add_hidden("arp".parse().unwrap(), 9, vec![], w.now).is_err());
    let rule = w.of.add_hidden("arp".parse().unwrap(), 180_000, vec![], w.now).unwrap();
    assert_eq!(
        w.of.flows().next().map(|f| (f.priority, f.instructions == Instructions::default().into())),
        Some((180_000, true))
    );
    w.of.remove_hidden(rule, w.now);
    assert_eq!(w.of.flow_count(), 0);
}

#[test]
fn messages_without_end_are_not_kept() {
    let mut w = switch();
    let (v, c) = (Version::V1_3, w.connect(Version::V1_3));
    for n in 0..2000 {
        w.say(c, v, 1, &add(&format!("table={},dl_vlan={},actions=output:1", n % 2, n / 2)));
    }
    w.say(c, v, 1, &FlowStatsRequest::default().into());
    let echo = Message::EchoRequest(vec![]).encode(v, 1).unwrap();
    let taken = (0..10_000).take_while(|_| w.of.handle_message(&mut w.dp, c, &echo, w.now).is_ok()).count();
    assert_eq!(taken, ovs_ofproto::pipeline::limits::INCOMING);
}

#[test]
fn a_flow_for_a_table_that_is_none_is_refused_before_its_bundle_is_carried_out() {
    let v = Version::V1_4;
    let mut w = switch();
    let c = w.connect(v);
    assert_eq!(w.error(c, v, bundled(v, &add("table=254,actions=drop"), 3)), Some(OfError::BadRequestPermission));
    assert_eq!(w.error(c, v, bundled(v, &add("table=3,actions=drop"), 3)), None);
    let said = w.ask(c, v, control(4, 3));
    assert!(matches!(&said[..], [Message::BundleControl(b)] if b.kind == 5), "{said:?}");
    assert_eq!(w.cookies().len(), 1, "what was refused is no part of it");
}

#[test]
fn a_packet_of_a_bundle_meets_what_was_there_at_its_place() {
    let v = Version::V1_4;
    let mut w = switch();
    let c = w.connect(v);
    assert_eq!(w.error(c, v, add("priority=0,actions=drop")), None);
    let out = PacketOut::new(OfPort(1), Parser::default().actions("table").unwrap(), vec![0; 64]);
    let all = [add("cookie=7,in_port=1,actions=CONTROLLER"), Message::PacketOut(out), delete("cookie=7/-1")];
    for m in &all {
        assert_eq!(w.error(c, v, bundled(v, m, 3)), None);
    }
    let heard = w.ask(c, v, control(4, 3));
    let told = heard.iter().any(|m| matches!(m, Message::PacketIn(p) if p.data.len() == 64));
    assert!(told, "{heard:?}");
    assert_eq!(w.cookies().len(), 1);
}

/// Before OpenFlow 1.5 who names a table names all of them again, those that have the owner's names as well. When he takes
/// his back, nothing of them stays.
#[test]
fn a_tables_name_goes_with_the_owner_who_gave_it() {
    let (mut w, version) = (switch(), Version::V1_3);
    let c = w.connect(version);
    let mut config = TableConfig::default();
    config.name = Some("two".into());
    assert!(w.of.configure_table(2, config, w.now));
    let names = |said: &[Message]| -> Vec<String> {
        let pages = said.iter().map(|m| match m {
            Message::TableFeaturesReply(page) => page.items.clone(),
            other => panic!("{other:?}"),
        });
        pages.flatten().map(|f| f.name).take(4).collect()
    };
    let pages = w.ask(c, version, Message::TableFeaturesRequest(Page::default()));
    let mut said = Vec::new();
    for page in pages {
        let Message::TableFeaturesReply(mut page) = page else { panic!("{page:?}") };
        page.items.iter_mut().filter(|f| f.table == 3).for_each(|f| f.name = "three".into());
        said.extend(w.ask(c, version, Message::TableFeaturesRequest(page)));
    }
    assert_eq!(names(&said), ["", "", "two", "three"]);
    assert!(w.of.configure_table(2, TableConfig::default(), w.now));
    let said = w.ask(c, version, Message::TableFeaturesRequest(Page::default()));
    assert_eq!(names(&said), ["", "", "", "three"]);
}
