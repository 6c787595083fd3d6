//! Packets and messages that brought other switches down, on a switch that is there: flow tables, bundles, translation and
//! megaflows. Each is named after its report. The bytes of the messages are read in `security.rs`; here they are obeyed.

use ovs_dpif::Dpif;
use ovs_ofproto::FlowModCommand::{Add, Modify, ModifyStrict};
use ovs_ofproto::codec::{BundleAdd, BundleControl, Header, Message, OfError, Version};
use ovs_ofproto::pipeline::ConnectionId;
use ovs_ofproto::text::Parser;
use ovs_packet::{FlowKey, Match, OfPort, Packet, extract};

use crate::world::{World, flow, packet as compose};

/// A switch with three ports, and its controller.
struct Lab {
    world: World,
    controller: ConnectionId,
}

impl Lab {
    fn new(version: Version, flows: &[&str]) -> Lab {
        let mut world = World::with(3, flows);
        let controller = world.connect(version);
        Lab { world, controller }
    }

    /// Sends a packet into the first port; what came out, by port.
    fn forward(&mut self, packet: Packet) -> Vec<(u32, Packet)> {
        let out = self.world.forward(1, packet);
        self.world.of.check();
        out
    }

    /// Sends a message; what errors came back, by the message's number.
    fn obey(&mut self, message: &[u8]) -> Vec<(u32, OfError)> {
        self.world.tell(self.controller, message);
        let heard = self.world.heard(self.controller).into_iter();
        let errors = heard.filter_map(|(xid, message)| match message {
            Message::Error(e) => Some((xid, e.error)),
            _ => None,
        });
        self.world.of.check();
        errors.collect()
    }

    fn control(&mut self, kind: u16) -> Vec<(u32, OfError)> {
        let mut b = BundleControl::default();
        (b.bundle, b.kind, b.flags) = (1, kind, 3);
        self.obey(&Message::BundleControl(b).encode(Version::V1_4, 50).unwrap())
    }

    fn bundle_add(&mut self, message: Vec<u8>) -> Vec<(u32, OfError)> {
        let mut b = BundleAdd::default();
        (b.bundle, b.flags, b.message) = (1, 3, message);
        // Both have one number.
        let xid = Header::decode(&b.message).unwrap().xid;
        self.obey(&Message::BundleAdd(b).encode(Version::V1_4, xid).unwrap())
    }
}

fn hex(s: &str) -> Vec<u8> {
    (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn frame(s: &str) -> Packet {
    Packet::from_slice(&hex(s))
}

fn key(packet: &Packet) -> FlowKey {
    let mut key = FlowKey::ZERO;
    extract::extract(&mut packet.clone(), &mut key);
    key
}

/// Two flows; a bundle changes the first and fails with the second: both are as before, with their counters.
#[test]
fn cve_2018_17205_a_bundle_is_taken_back_whole() {
    let flows = ["table=1,in_port=2,actions=NORMAL", "table=1,in_port=3,actions=NORMAL", "actions=resubmit(2,1)"];
    let mut lab = Lab::new(Version::V1_4, &flows);
    lab.forward(compose("icmp,dl_src=02:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff"));
    lab.world.of.synchronise(&mut lab.world.dp, lab.world.now);
    let before = (lab.world.flows(), lab.world.dp.flow_dump().unwrap());
    let change = |text: &str, xid| {
        let fm = flow(text, ModifyStrict);
        Message::from(fm).encode(Version::V1_4, xid).unwrap()
    };
    assert_eq!(lab.control(0), []);
    assert_eq!(lab.bundle_add(change("table=1,in_port=2,actions=drop", 60)), []);
    assert_eq!(lab.bundle_add(change("table=1,in_port=3,actions=group:10", 61)), []);
    let errors = lab.control(4);
    assert!(errors.contains(&(61, OfError::BadActionBadGroup)), "{errors:?}");
    assert!(errors.contains(&(50, OfError::BundleMsgFailed)), "{errors:?}");
    assert_eq!((lab.world.flows(), lab.world.dp.flow_dump().unwrap()), before);
    assert!(lab.world.flows().iter().any(|f| f.ends_with(" 1")), "{:?}", lab.world.flows());
}

/// Messages that are refused leave the switch as it was, also as parts of bundles.
#[test]
fn messages_of_reports_change_nothing() {
    for (name, version, bytes, error) in [
        (
            "CVE-2017-9265",
            Version::V1_5,
            "060f0018000000010000000000000001ffff0000ffffffff",
            OfError::BadRequestBadLength,
        ),
        (
            "CVE-2018-17204/type",
            Version::V1_5,
            "060f004000000001000077000000000100000000ffffffffffff00280000154d000000010000000068617368000000000000\
             0000000000000000000000000000",
            OfError::GroupModBadType,
        ),
        (
            "CVE-2018-17204/cmd",
            Version::V1_5,
            "060f004000000001123401000000000100000000ffffffffffff00280000154d000000010000000068617368000000000000\
             0000000000000000000000000000",
            OfError::GroupModBadCommand,
        ),
        (
            "CVE-2017-14970",
            Version::V1_5,
            "060f004000000001000001000000000100200000ffffffff00200010000000000000001000000001ffff0000000000000000\
             000800010000ffff0008deadbeef",
            OfError::BadPropertyBadLength,
        ),
        (
            "CVE-2018-17206",
            Version::V1_0,
            "010d006c00000001fffffffffffd0020ffff002000002320000c0001000000000000000200ff000000000000000000000000\
             0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
             0000000000000000",
            OfError::BadActionBadLength,
        ),
        (
            "ed-prop-zero-len-be5e6d682",
            Version::V1_3,
            "040d003000000001fffffffffffffffd0018000000000000ffff001800002320002e00000001894f0004010000000000",
            OfError::BadActionBadLength,
        ),
        ("bundle-add-short-5d6ac33c9", Version::V1_4, "05220012000000010000000100000000050e", OfError::BundleMsgBadLen),
    ] {
        let mut lab = Lab::new(version, &["priority=5,ip,actions=2"]);
        let before = lab.world.flows();
        for _ in 0..100 {
            assert_eq!(lab.obey(&hex(bytes)), [(1, error)], "{name}");
        }
        assert_eq!((lab.world.flows(), lab.world.of.groups().len()), (before, 0), "{name}");
        assert_eq!(lab.forward(compose("icmp"))[0].0, 2, "{name}");
    }
}

#[test]
fn bundle_add_bad_inner_d0485f488_leaves_the_bundle() {
    let mut lab = Lab::new(Version::V1_4, &[]);
    assert_eq!(lab.control(0), []);
    let inner = hex(&format!("050e003800000001{}", "ff".repeat(48)));
    assert_eq!(lab.bundle_add(inner).len(), 1);
    let fm = flow("priority=3,actions=1", Add);
    assert_eq!(lab.bundle_add(Message::from(fm).encode(Version::V1_4, 9).unwrap()), []);
    assert_eq!(lab.control(4), []);
    assert_eq!(lab.world.flows().len(), 1);
}

/// 1 to 400 labels without a bottom, through flows that pop and push labels and look below them.
#[test]
fn cve_2016_2074_labels_without_end_pass_a_switch() {
    let flows = [
        "priority=9,mpls,mpls_label=16,actions=pop_mpls:0x8847,resubmit(,1)",
        "table=1,priority=9,mpls,actions=push_mpls:0x8847,set_field:7->mpls_label,dec_mpls_ttl,2",
        "table=1,actions=pop_mpls:0x0800,dec_ttl,3",
    ];
    let mut lab = Lab::new(Version::V1_3, &flows);
    for labels in 1..400 {
        let packet = frame(&format!("50540000000a505400000009{}{}", "8847", "00010040".repeat(labels)));
        let out = lab.forward(packet);
        assert!(out.len() <= 1, "{labels}");
    }
    assert!(lab.world.dp.stats().unwrap().flows <= 8);
}

/// Headers that lie about lengths have no transport layer: flows on ports do not match, nor are ports changed.
#[test]
fn lengths_that_lie_hide_the_transport_layer() {
    for (name, bytes) in [
        (
            "CVE-2016-10377",
            "50540000000a50540000000908004b00002800010000401154b60a0000010a000002010101010101010101010101010101010101\
             010101010101",
        ),
        (
            "ipv6-plen-4fe080160",
            "50540000000a50540000000986dd60000000003011fffe800000000000000000000000000001fe80000000000000000000000000\
             000203e8003500080000",
        ),
        ("nsh-len-14fae3e09", "50540000000a505400000009894f003f0103000001ff"),
    ] {
        let flows = [
            "priority=9,udp,tp_src=0x101,actions=1",
            "priority=9,udp6,tp_dst=53,actions=1",
            "priority=8,udp,actions=mod_tp_dst:9,2",
            "priority=8,udp6,actions=mod_tp_dst:9,2",
            "priority=1,actions=3",
        ];
        let mut lab = Lab::new(Version::V1_3, &flows);
        let packet = frame(bytes);
        for (port, out) in lab.forward(packet.clone()) {
            assert_ne!(port, 1, "{name}");
            assert_eq!(key(&out).tp_dst, key(&packet).tp_dst, "{name}");
        }
    }
}

/// Options of neighbour discovery whose length reaches beyond the packet are not written to.
#[test]
fn nd_optlen_e150d4099_options_beyond_the_packet_are_not_set() {
    let bytes = "50540000000a50540000000986dd6000000000283afffe800000000000000000000000000001fe8000000000000000000000\
                 0000028700000000000000fe8000000000000000000000000000020eff0000000000000101505400000009";
    let kinds = [("135", "nd_sll"), ("136", "nd_tll")];
    for (kind, field) in kinds {
        let flow =
            format!("priority=9,icmp6,icmp_type={kind},icmp_code=0,actions=set_field:02:00:00:00:00:77->{field},2");
        let mut lab = Lab::new(Version::V1_3, &[&flow, "priority=1,actions=3"]);
        let packet = frame(bytes);
        let len = packet.len();
        for (_, out) in lab.forward(packet) {
            assert_eq!(out.len(), len);
            assert_eq!(out.data()[len - 8..], [1, 1, 0x50, 0x54, 0, 0, 0, 9], "the bytes behind are not touched");
        }
    }
}

/// Of a packet whose protocol is 0, which stands for "no network layer", nothing is set; and no other packet is taken for
/// the same, whichever comes first.
#[test]
fn cve_2023_1668_every_way_of_setting() {
    let bytes = "50540000000a50540000000908004500001c000100004000f77bc0a80101c0a801140800000000010001";
    for (action, differs) in [
        ("mod_nw_dst:192.168.20.20", "nw_dst=192.168.20.20"),
        ("mod_nw_src:192.168.20.20", "nw_src=192.168.20.20"),
        ("mod_nw_ttl:9", "nw_ttl=9"),
        ("mod_nw_ecn:2", "nw_ecn=2"),
        ("mod_nw_tos:64", "nw_tos=64"),
        ("set_field:192.168.20.20->ip_dst", "nw_dst=192.168.20.20"),
        ("dec_ttl", "nw_ttl=63"),
    ] {
        let mut lab =
            Lab::new(Version::V1_3, &[&format!("in_port=1,ip,nw_dst=192.168.1.20,actions={action},output:2")]);
        let wanted: Match = format!("ip,{differs}").parse().unwrap();
        let ping = || compose("icmp,nw_src=192.168.1.1,nw_dst=192.168.1.20,nw_ttl=64");
        for (packet, is_set) in [(frame(bytes), false), (ping(), true), (frame(bytes), false), (ping(), true)] {
            let out = lab.forward(packet);
            assert_eq!(out.len(), 1, "{action}");
            assert_eq!(wanted.matches(&key(&out[0].1)), is_set, "{action}: {:?}", key(&out[0].1));
        }
    }
}

/// 1f886f070, dc4be5989: actions that nest without end are refused, not followed.
#[test]
fn dc4be5989_nesting_is_bounded() {
    for (open, close) in [("clone(", ")"), ("ct(commit,exec(", "))"), ("write_actions(clone(", "))")] {
        let flow = format!("actions={}1{}", open.repeat(10_000), close.repeat(10_000));
        assert!(Parser::default().flow_mod(&flow, Add).is_err(), "{open}");
    }
    // Each within the next, as bytes: an action of Nicira's (OFPAT_VENDOR, NXAST_CLONE) that holds another.
    let mut actions: Vec<u8> = hex("0000001000000001ffff000000000000");
    while actions.len() < 65_000 {
        let len = (actions.len() + 16) as u16;
        let mut outer = hex("ffff000000002320002a000000000000");
        outer[2..4].copy_from_slice(&len.to_be_bytes());
        outer.extend(&actions);
        actions = outer;
    }
    let mut message = hex("040d000000000009fffffffffffffffd0000000000000000");
    let (whole, len) = ((message.len() + actions.len()) as u16, actions.len() as u16);
    message[2..4].copy_from_slice(&whole.to_be_bytes());
    message[16..18].copy_from_slice(&len.to_be_bytes());
    message.extend(actions);
    let mut lab = Lab::new(Version::V1_3, &[]);
    assert_eq!(Header::decode(&message).unwrap().xid, 9);
    assert_eq!(lab.obey(&message).len(), 1);
}

/// b57b062f5, 55f2b065a: a flow of 4,000 actions, and what it comes to by resubmits, is executed or refused whole.
#[test]
fn b57b062f5_very_many_actions() {
    let many = "2,3,".repeat(2000);
    let mut lab = Lab::new(Version::V1_3, &[&format!("actions={many}drop").replace(",drop", "")]);
    let ping = compose("icmp");
    let out = lab.forward(ping.clone());
    assert!(out.iter().all(|(port, _)| *port != 1));
    for table in 0..8 {
        let next = format!("resubmit(,{}),", table + 1).repeat(9);
        lab.world.add(&format!("table={table},priority=9,actions={next}2"));
    }
    lab.forward(ping);
}

/// a05883b89, 149169836: a bundle of many masks, and the deletion of all, take memory and time by the number of flows.
#[test]
fn a05883b89_bundles_of_many_masks() {
    let mut lab = Lab::new(Version::V1_4, &[]);
    assert_eq!(lab.control(0), []);
    for n in 0..2000u32 {
        let text = format!(
            "priority={},ip,nw_dst=10.{}.{}.0/{},tp_dst=0x{:x}/0x{:x},udp,actions=2",
            n % 60,
            n % 7,
            n % 250,
            8 + n % 24,
            0,
            1 + n
        );
        let fm = flow(&text, Add);
        assert_eq!(lab.bundle_add(Message::from(fm).encode(Version::V1_4, n).unwrap()), []);
    }
    assert_eq!(lab.control(4), []);
    let mut all = flow("actions=drop", Modify);
    all.command = ovs_ofproto::FlowModCommand::Delete;
    all.table = ovs_ofproto::ALL_TABLES;
    assert_eq!(lab.obey(&Message::from(all).encode(Version::V1_4, 1).unwrap()), []);
    assert_eq!(lab.world.of.flow_count(), 0);
}

/// 8c506d372: an update of a monitor with an event that there is none of cannot be read, whoever says it.
#[test]
fn monitor_event_8c506d372_is_an_error() {
    let update = "0111003000000009ffff000000002320000000020000000000180000000080000000000000000000\
                  0000000000000000";
    assert!(Message::decode(&hex(&update.replace("001800000000", "001800010000"))).is_ok());
    let mut lab = Lab::new(Version::V1_0, &["actions=2"]);
    for event in ["0004", "00ff", "ffff"] {
        let update = hex(&update.replace("001800000000", &format!("0018{event}0000")));
        assert_eq!(Message::decode(&update).unwrap_err().error, OfError::BadRequestFmBadEvent);
        let before = lab.world.flows();
        assert_eq!((lab.obey(&update).len(), lab.world.flows()), (1, before));
    }
}

/// ovs-issues 356, 359: the megaflow of an untagged packet does not hold for tagged ones, nor the other way, where flows tell
/// them apart.
#[test]
fn ovs_issue_356_tags_are_told_apart_by_megaflows() {
    let flows = ["priority=110,in_port=1,dl_vlan=10,actions=3", "priority=100,in_port=1,actions=2"];
    let untagged = compose("udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02");
    let tagged = compose("udp,dl_vlan=10,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02");
    for first in [0, 1] {
        let mut lab = Lab::new(Version::V1_3, &flows);
        for n in 0..4 {
            let (packet, port) = if (n + first) % 2 == 0 { (&untagged, 2) } else { (&tagged, 3) };
            let out = lab.forward(packet.clone());
            assert_eq!(out.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [port], "packet {n} of {first}");
        }
        assert_eq!(lab.world.dp.stats().unwrap().flows, 2);
        lab.world.of.verify(&lab.world.dp, 0x1234_5678_9abc);
    }
}

/// ovs-issues 371: a packet that an OpenFlow message has no room for comes cut, in every format, and says how long it was.
#[test]
fn ovs_issue_371_packet_ins_fit_in_their_messages() {
    for version in Version::KNOWN {
        for format in 0..3 {
            let mut lab = Lab::new(version, &["actions=controller(max_len=65535)"]);
            lab.obey(&Message::SetPacketInFormat(format).encode(version, 1).unwrap());
            for len in [1400, 65_400, 65_535] {
                let mut frame = compose("udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02").data().to_vec();
                frame.resize(len, 7);
                let (packet, actions) =
                    (Packet::from_slice(&frame), Parser::default().actions("resubmit(,0)").unwrap());
                let World { of, dp, now, .. } = &mut lab.world;
                of.packet_out(dp, packet, OfPort(1), &actions, *now);
                let said = lab.world.outputs(lab.controller).remove(0);
                let (header, message) = Message::decode(&said).unwrap();
                assert_eq!(usize::from(header.length), said.len());
                let Message::PacketIn(p) = message else { panic!("{message:?}") };
                assert!(frame.starts_with(&p.data) && p.data.len() >= len.min(65_000), "{version} {format} {len}");
                // Sixteen bits is all that the older formats have to say it.
                assert_eq!(p.total_len as usize, len, "{version} {format}");
            }
        }
    }
}
