//! Values survive their bytes and their words, and no bytes and no text bring either reader down.

use std::time::Duration;

use ovs_ofproto::codec::{
    EncodeError, FlowStatsReply, Framer, Hello, MAX_NESTING, Message, OfError, PacketIn, PacketInReason, PacketOut,
    Version, Versions, check_flow,
};
use ovs_ofproto::text::{ActionList, Parser, Problem};
use ovs_ofproto::{Action, CtAction, FlowMod, FlowModCommand, FlowModFlags, Instructions};
use ovs_packet::field::FieldId;
use ovs_packet::{Match, OfPort};
use proptest::prelude::*;

/// Matches that are told apart by their bytes and by their words.
fn matching() -> impl Strategy<Value = Match> {
    let term = |values: &'static [&'static str]| prop::sample::select(values);
    (
        term(&["", "in_port=1", "in_port=LOCAL", "in_port=0x4565"]),
        term(&["", "dl_vlan=5", "dl_vlan=5,dl_vlan_pcp=3", "dl_vlan_pcp=0", "vlan_tci=0x1000/0x1000", "vlan_vid=0"]),
        term(&["", "dl_src=00:00:00:00:00:01", "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"]),
        term(&[
            "",
            "ip,nw_src=10.0.0.0/8,nw_tos=32",
            "ip,nw_ecn=1,nw_ttl=3,nw_frag=no",
            "tcp,tp_src=1,tp_dst=0x50/0xfff0",
            "tcp,nw_dst=1.2.3.4,tcp_flags=+syn-ack",
            "udp6,tp_dst=53,ipv6_src=2001:db8::/32",
            "sctp,tp_dst=7",
            "icmp,icmp_type=8,icmp_code=0",
            "icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::1,nd_sll=00:00:00:00:00:01",
            "icmp6,icmp_type=136,icmp_code=0,nd_tll=00:00:00:00:00:01",
            "arp,arp_spa=10.0.0.1,arp_tpa=10.0.0.0/24,arp_op=1,arp_sha=00:00:00:00:00:01",
            "mpls,mpls_label=3,mpls_tc=1,mpls_bos=1,mpls_ttl=64",
            "dl_type=0x88cc",
        ]),
        term(&["", "reg0=1", "reg0=1,reg7=0x1/0xff", "xxreg0=0x1", "xreg3=0x0/0x1", "reg15=0"]),
        term(&["", "metadata=0x1/0xff", "metadata=0", "pkt_mark=5", "dp_hash=5/0xf", "recirc_id=1"]),
        term(&["", "ct_state=+trk-new", "ct_zone=5,ct_mark=0x1/0xf,ct_label=0x5"]),
    )
        .prop_map(|(a, b, c, d, e, f, g)| [a, b, c, d, e, f, g].join(",").parse().unwrap())
}

fn port() -> impl Strategy<Value = OfPort> {
    prop_oneof![
        (1..0xff00u32).prop_map(OfPort),
        prop::sample::select(&[OfPort::NORMAL, OfPort::FLOOD, OfPort::ALL, OfPort::LOCAL, OfPort::IN_PORT][..]),
    ]
}

/// Sets of the fields that a version 1.3 has numbers for.
fn set() -> impl Strategy<Value = Action> {
    let fields: Vec<FieldId> = FieldId::all()
        // What connections are marked with, `ct` alone sets.
        .filter(|f| !matches!(f, FieldId::CtMark | FieldId::CtLabel))
        .filter(|f| f.info().writable && f.info().code_points().next().is_some() && f.tun_metadata_index().is_none())
        .collect();
    (prop::sample::select(fields), any::<u128>(), any::<u128>(), any::<bool>()).prop_map(
        |(field, value, mask, whole)| {
            let all = field.info().max_value();
            let mask = if whole || !field.info().maskable || mask & all == 0 { all } else { mask & all };
            // As what a port is called is one word, its number is a port's.
            let value = if matches!(field, FieldId::InPort | FieldId::InPortOxm) { value & 0xfeff } else { value };
            // A set of the VLAN id leaves the tag where it is.
            let (value, mask) = if field == FieldId::VlanVid { (value | 0x1000, mask | 0x1000) } else { (value, mask) };
            // The port of a packet is set in 16 bits.
            let field = if field == FieldId::InPortOxm { FieldId::InPort } else { field };
            let (value, mask) = (value & field.info().max_value(), mask & field.info().max_value());
            Action::SetField { field, value: value & mask, mask }
        },
    )
}

fn ct_set() -> impl Strategy<Value = Action> {
    (any::<u32>(), 1..=u32::MAX).prop_map(|(value, mask)| Action::SetField {
        field: FieldId::CtMark,
        value: (value & mask).into(),
        mask: mask.into(),
    })
}

fn ct() -> impl Strategy<Value = Action> {
    (any::<bool>(), any::<bool>(), any::<u16>(), prop::option::of(0..255u8), prop::collection::vec(ct_set(), 0..3))
        .prop_map(|(commit, force, zone, table, exec)| {
            let mut ct = CtAction::default();
            (ct.commit, ct.force, ct.zone, ct.table) = (commit, force && commit, zone, table);
            ct.exec = if commit { exec } else { vec![] };
            Action::Ct(Box::new(ct))
        })
}

fn action() -> impl Strategy<Value = Action> {
    let leaf = prop_oneof![
        port().prop_map(Action::output),
        any::<u16>().prop_map(|max_len| Action::Output { port: OfPort::CONTROLLER, max_len }),
        set(),
        set(),
        prop::sample::select(&[0x8100, 0x88a8][..]).prop_map(Action::PushVlan),
        Just(Action::PopVlan),
        Just(Action::DecTtl),
        (prop::option::of((1..0xff00u32).prop_map(OfPort)), prop::option::of(0..255u8))
            .prop_map(|(port, table)| Action::Resubmit { port, table, original: false }),
        ct(),
        Just(Action::CtClear),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Action::Clone))
}

fn instructions() -> impl Strategy<Value = Instructions> {
    let actions = || prop::collection::vec(action(), 0..5);
    (actions(), any::<bool>(), actions(), prop::option::of(any::<(u64, u64)>()), prop::option::of(1..255u8)).prop_map(
        |(apply, clear, write, metadata, goto)| {
            let mut all = Instructions::apply(apply);
            let write = Some(write).filter(|w| !w.is_empty());
            (all.clear, all.write, all.metadata, all.goto) = (clear, write, metadata, goto);
            all
        },
    )
}

/// Those of the instructions, and of the actions in them, that fit what a flow matches.
fn fit(matching: &Match, table: u8, all: Instructions) -> Instructions {
    let mut fitting = Instructions::default();
    let fits = |candidate: &Instructions| check_flow(matching, table, candidate).is_ok();
    for action in all.apply {
        fitting.apply.push(action);
        if !fits(&fitting) {
            fitting.apply.pop();
        }
    }
    for action in all.write.into_iter().flatten() {
        let before = fitting.write.clone();
        fitting.write.get_or_insert_default().push(action);
        if !fits(&fitting) {
            fitting.write = before;
        }
    }
    (fitting.clear, fitting.metadata) = (all.clear, all.metadata);
    fitting.goto = all.goto.filter(|next| *next > table);
    fitting
}

fn flow_mod() -> impl Strategy<Value = FlowMod> {
    let command = prop::sample::select(
        &[
            FlowModCommand::Add,
            FlowModCommand::Modify,
            FlowModCommand::ModifyStrict,
            FlowModCommand::Delete,
            FlowModCommand::DeleteStrict,
        ][..],
    );
    (command, any::<u8>(), matching(), any::<[u16; 3]>(), any::<[u64; 2]>(), 0..32u16, port(), instructions()).prop_map(
        |(command, table, matching, [priority, idle, hard], [cookie, mask], flags, port, instructions)| {
            let adds = command == FlowModCommand::Add;
            let deletes = matches!(command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
            let mut flow = FlowMod::default();
            // Only deletions are for all tables.
            let table = if deletes { table } else { table & 0x7f };
            (flow.command, flow.table, flow.matching) = (command, table, matching);
            // Deletions have no times, and those that are not strict no priority.
            if command != FlowModCommand::Delete {
                flow.priority = priority;
            }
            if !deletes {
                (flow.idle_timeout, flow.hard_timeout) = (idle, hard);
            }
            (flow.cookie, flow.cookie_mask) = (cookie, if adds { 0 } else { mask });
            flow.flags = FlowModFlags::from_bits_truncate(if deletes { 0 } else { flags });
            flow.out_port = if deletes { port } else { OfPort::ANY };
            // What does not fit is refused by both readers: it is for the tests of errors.
            if !deletes {
                flow.instructions = fit(&flow.matching, flow.table, instructions);
            }
            flow
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let data = || prop::collection::vec(any::<u8>(), 0..70);
    prop_oneof![
        Just(Message::Hello(Hello::default())),
        any::<u32>().prop_map(|v| Message::Hello(Hello::new(Versions(v)))),
        data().prop_map(Message::EchoRequest),
        data().prop_map(Message::EchoReply),
        Just(Message::FeaturesRequest),
        Just(Message::BarrierRequest),
        Just(Message::BarrierReply),
        flow_mod().prop_map(Message::from),
        flow_mod().prop_map(Message::from),
        (port(), prop::collection::vec(action(), 0..4), data()).prop_map(|(port, actions, data)| {
            let port = if port.is_reserved() { OfPort::CONTROLLER } else { port };
            Message::PacketOut(PacketOut::new(port, actions, data))
        }),
        (matching(), any::<(u8, u8, u64)>(), data()).prop_map(|(m, (reason, table, cookie), data)| {
            let mut packet = PacketIn::new(OfPort(1), data);
            (packet.metadata, packet.reason) = (m, PacketInReason(reason));
            (packet.table, packet.cookie) = (table, cookie);
            Message::from(packet)
        }),
        prop::collection::vec((flow_mod(), any::<(u32, u32)>(), any::<[u64; 2]>()), 0..4).prop_map(|flows| {
            let flows = flows.into_iter().map(|(flow, (secs, nanos), [packets, bytes])| {
                let mut stats = ovs_ofproto::codec::FlowStats::default();
                (stats.table, stats.matching, stats.instructions) = (flow.table, flow.matching, flow.instructions);
                (stats.priority, stats.flags, stats.cookie) = (flow.priority, flow.flags, flow.cookie);
                (stats.idle_timeout, stats.hard_timeout) = (flow.idle_timeout, flow.hard_timeout);
                (stats.packets, stats.bytes) = (packets, bytes);
                stats.duration = Duration::new(secs.into(), nanos % 1_000_000_000);
                stats
            });
            Message::FlowStatsReply(FlowStatsReply::pages(Version::V1_5, flows).unwrap().remove(0))
        }),
    ]
}

proptest! {
    #[test]
    fn messages_survive_their_bytes(message in message(), xid: u32) {
        let bytes = message.encode(Version::V1_5, xid).unwrap();
        let (header, read) = Message::decode(&bytes).unwrap();
        prop_assert_eq!((header.xid, usize::from(header.length)), (xid, bytes.len()));
        prop_assert_eq!(&read, &message);
        prop_assert_eq!(read.encode(Version::V1_5, xid).unwrap(), bytes);
    }

    #[test]
    fn a_message_cut_short_is_an_error(message in message()) {
        let bytes = message.encode(Version::V1_5, 1).unwrap();
        for len in 0..bytes.len() {
            // As it stands the length is wrong; with its length put right the rest must be.
            prop_assert!(Message::decode(&bytes[..len]).is_err());
            let mut cut = bytes[..len].to_vec();
            if let Some(place) = cut.get_mut(2..4) {
                place.copy_from_slice(&(len as u16).to_be_bytes());
            }
            match Message::decode(&cut) {
                Err(e) => prop_assert!(e.at <= len),
                // Bytes of a payload, flows, and hello elements may be missing: then it is a shorter message.
                Ok((_, read)) => prop_assert!(read != message),
            }
        }
    }

    #[test]
    fn flows_survive_their_words(flow in flow_mod()) {
        let text = flow.to_string();
        let read = text.parse::<FlowMod>();
        prop_assert_eq!(read.as_ref(), Ok(&flow), "{}", text);
    }

    #[test]
    fn actions_survive_their_words(actions in prop::collection::vec(action(), 0..6)) {
        let text = ActionList(&actions).to_string();
        prop_assert_eq!(Parser::default().actions(&text), Ok(actions), "{}", text);
    }

    #[test]
    fn a_line_of_dump_flows_is_a_flow(flow in flow_mod()) {
        let mut stats = ovs_ofproto::codec::FlowStats::default();
        // There is no table 255: it stands for the switch's choice.
        let table = flow.table % 255;
        (stats.table, stats.matching, stats.priority) = (table, flow.matching.clone(), flow.priority);
        (stats.cookie, stats.flags) = (flow.cookie, flow.flags);
        let read: FlowMod = stats.to_string().parse().unwrap();
        prop_assert_eq!((read.table, read.priority, read.cookie), (table, flow.priority, flow.cookie));
        prop_assert_eq!((read.matching, read.flags), (flow.matching, flow.flags));
    }

    #[test]
    fn any_bytes_give_an_answer(
        kind in 0..32u8,
        version in 1..8u8,
        mut bytes in prop::collection::vec(prop_oneof![4 => 0..9u8, 1 => any::<u8>()], 8..300),
    ) {
        let len = bytes.len() as u16;
        bytes[..4].copy_from_slice(&[version, kind, (len >> 8) as u8, len as u8]);
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn a_message_with_changed_bytes_gives_an_answer(
        message in message(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = message.encode(Version::V1_5, 1).unwrap();
        let len = bytes.len();
        for (at, byte) in changes {
            bytes[at.index(len)] = byte;
        }
        if let Ok((header, read)) = Message::decode(&bytes) {
            // What was understood can be printed, and mostly sent again.
            let _ = ovs_ofproto::text::message(&header, &read).to_string();
            let _ = read.encode(header.version, header.xid);
        }
        let mut framer = Framer::new();
        framer.push(&bytes);
        let _ = framer.next();
    }

    #[test]
    fn any_text_gives_an_answer(text in "[a-z0-9_=:,/.()>\\[\\] -]{0,80}") {
        let _ = text.parse::<FlowMod>();
        let _ = Parser::default().actions(&text);
    }

    #[test]
    fn any_words_give_an_answer(words in prop::collection::vec(prop::sample::select(&[
        "actions=", "set_field:", "->", "reg0", "[0..7]", "load:5", "clone(", "ct(", "commit", "exec(", ")", ",", "5",
        "resubmit(", "controller(max_len=", "drop", "tcp", "priority=", "cookie=", "/", "write_actions(", "\u{e9}", "\"",
    ][..]), 0..20)) {
        let text = words.concat();
        if let Err(e) = text.parse::<FlowMod>() {
            prop_assert!(e.at <= text.len(), "{} in {:?}", e, text);
        }
    }
}

#[test]
fn ten_thousand_clones_are_refused_quickly() {
    let deep = format!("actions={}{}", "clone(".repeat(10_000), ")".repeat(10_000));
    let error = deep.parse::<FlowMod>().unwrap_err();
    assert_eq!(error.problem, Problem::TooDeep);
    let open = format!("actions={}", "clone(".repeat(10_000));
    assert!(open.parse::<FlowMod>().is_err());
    let allowed = format!("{}drop{}", "clone(".repeat(MAX_NESTING), ")".repeat(MAX_NESTING));
    let actions = Parser::default().actions(&allowed).unwrap();
    assert_eq!(ActionList(&actions).to_string(), allowed);
}

#[test]
fn what_version_1_3_cannot_say_is_not_sent() {
    let mut flow: FlowMod = "actions=drop".parse().unwrap();
    flow.importance = 5;
    let e = Message::from(flow).encode(Version::V1_3, 1).unwrap_err();
    assert!(matches!(e, EncodeError::NotInVersion { version: 4, .. }));
    assert!(Message::MeterFeaturesRequest.encode(Version::V1_0, 1).is_err());
    assert!(Message::EchoRequest(vec![]).encode(Version::V1_0, 1).is_ok());
    let e = Message::EchoRequest(vec![0; 65528]).encode(Version::V1_3, 1).unwrap_err();
    assert_eq!(e, EncodeError::TooLong { what: "a message" });
}

#[test]
fn versions_and_types_that_are_not_here_are_refused() {
    let error = |bytes: &[u8]| Message::decode(bytes).unwrap_err().error;
    assert_eq!(error(&[1, 29, 0, 8, 0, 0, 0, 1]), OfError::BadRequestBadType);
    assert_eq!(error(&[4, 99, 0, 8, 0, 0, 0, 1]), OfError::BadRequestBadType);
    assert_eq!(error(&[4, 18, 0, 16, 0, 0, 0, 1, 0, 99, 0, 0, 0, 0, 0, 0]), OfError::BadRequestBadMultipart);
    assert_eq!(error(&[4, 20, 0, 9, 0, 0, 0, 1, 0]), OfError::BadRequestBadLength);
    assert_eq!(error(&[4, 20, 0, 9, 0, 0, 0, 1]), OfError::BadRequestBadLength);
    assert!(Message::decode(&[9, 2, 0, 8, 0, 0, 0, 1]).is_ok());
}

#[test]
fn many_flows_go_out_in_pages() {
    let flows = (0..3000u64).map(|cookie| {
        let mut stats = ovs_ofproto::codec::FlowStats::default();
        stats.cookie = cookie;
        stats
    });
    let pages = FlowStatsReply::pages(Version::V1_3, flows).unwrap();
    let more: Vec<bool> = pages.iter().map(|p| p.more).collect();
    assert_eq!(more, [true, true, false]);
    let cookies: Vec<u64> = pages.iter().flat_map(|p| &p.flows).map(|f| f.cookie).collect();
    assert_eq!(cookies, (0..3000).collect::<Vec<_>>());
    for page in pages {
        Message::FlowStatsReply(page).encode(Version::V1_3, 1).unwrap();
    }
}
