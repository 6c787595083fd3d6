//! The masks of megaflows tell which headers their bits are of, as Linux wants it: whatever the tables are.

use ovs_dpif::{DpFlow, Dpif};
use ovs_packet::key::FlowKey;
use proptest::prelude::*;

use crate::world::{World, packet as compose};

/// Sends a packet; the megaflows afterwards.
fn megaflows(world: &mut World, packet: &str) -> Vec<DpFlow> {
    world.forward(1, compose(packet));
    world.dp.flow_dump().unwrap()
}

/// What Linux holds against a mask, in a packet with this key (`match_validate` of its openvswitch module).
fn objection(flow: &DpFlow) -> Option<&'static str> {
    let (key, mask) = (FlowKey::from(&flow.key), FlowKey::from(&flow.mask));
    let eth_type = key.eth_type.get();
    if mask.eth_type != 0xffff {
        return Some("the Ethertype is not exact");
    }
    if !matches!(eth_type, 0x0800 | 0x86dd) {
        return None;
    }
    let has_ports = mask.tp_src != 0 || mask.tp_dst != 0 || mask.tcp_flags != 0;
    if has_ports && mask.nw_proto != 0xff {
        return Some("ports without their protocol");
    }
    let is_icmpv6 = eth_type == 0x86dd && key.nw_proto == 58;
    let zero = Default::default();
    let discovers = mask.nd_target != 0 || mask.arp_sha != zero || mask.arp_tha != zero;
    (is_icmpv6 && discovers && (mask.tp_src != 0xff || mask.nw_proto != 0xff))
        .then_some("neighbour discovery without its type")
}

#[test]
fn a_port_that_tells_a_packet_from_a_flow_comes_with_its_protocol() {
    let mut world = World::with(1, &["priority=2,tcp,tp_dst=64,actions=drop", "priority=1,actions=in_port"]);
    for packet in ["udp,tp_dst=65", "tcp,tp_dst=65", "ip,nw_proto=47"] {
        for flow in megaflows(&mut world, packet) {
            assert_eq!((FlowKey::from(&flow.mask).nw_proto, objection(&flow)), (0xff, None), "{packet}: {flow:?}");
        }
    }
    assert_eq!(world.dp.flow_dump().unwrap().len(), 3, "one for each protocol");
}

fn matching() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u16..8).prop_map(|n| format!("tcp,tp_dst={n}")),
        (0u16..8).prop_map(|n| format!("tcp,tp_src={n}/0x5")),
        Just("tcp,tcp_flags=+syn-ack".to_owned()),
        (0u16..8).prop_map(|n| format!("udp,tp_dst={n}/0xfffc")),
        (0u16..8).prop_map(|n| format!("udp6,tp_src={n}")),
        (0u16..8).prop_map(|n| format!("sctp,tp_dst={n}")),
        (0u8..8).prop_map(|n| format!("icmp,icmp_type={n}")),
        (0u8..3).prop_map(|n| format!("icmp6,icmp_type={},icmp_code=0", 134 + n)),
        (1u8..5).prop_map(|n| format!("icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::{n}")),
        (1u8..5).prop_map(|n| format!("icmp6,icmp_type=135,icmp_code=0,nd_sll=02:00:00:00:00:0{n}")),
        (1u8..5).prop_map(|n| format!("icmp6,icmp_type=136,icmp_code=0,nd_tll=02:00:00:00:00:0{n}")),
        (1u8..5).prop_map(|n| format!("arp,arp_sha=02:00:00:00:00:0{n}")),
        Just("ip,nw_frag=no".to_owned()),
        Just("ipv6".to_owned()),
    ]
}

fn packet() -> impl Strategy<Value = String> {
    let base = prop_oneof![
        (0u16..8, 0u16..8).prop_map(|(a, b)| format!("tcp,tp_src={a},tp_dst={b},tcp_flags=+syn")),
        (0u16..8, 0u16..8).prop_map(|(a, b)| format!("udp,tp_src={a},tp_dst={b}")),
        (0u16..8, 0u16..8).prop_map(|(a, b)| format!("udp6,tp_src={a},tp_dst={b}")),
        (0u16..8, 0u16..8).prop_map(|(a, b)| format!("sctp,tp_src={a},tp_dst={b}")),
        (0u8..8, 0u8..2).prop_map(|(a, b)| format!("icmp,icmp_type={a},icmp_code={b}")),
        (133u8..138).prop_map(|a| format!("icmp6,icmp_type={a},icmp_code=0")),
        (1u8..5, 1u8..5).prop_map(|(a, b)| {
            format!("icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::{a},nd_sll=02:00:00:00:00:0{b}")
        }),
        (1u8..5).prop_map(|b| format!("icmp6,icmp_type=136,icmp_code=0,nd_tll=02:00:00:00:00:0{b}")),
        (1u8..5).prop_map(|n| format!("arp,arp_op=1,arp_sha=02:00:00:00:00:0{n}")),
        Just("ip,nw_proto=47".to_owned()),
        Just("ip,nw_frag=later,nw_proto=6".to_owned()),
    ];
    base.prop_map(|words| format!("{words},dl_src=02:00:00:00:00:01"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_mask_tells_which_headers_its_bits_are_of(
        matches in prop::collection::vec((matching(), 1u16..9), 1..12),
        packets in prop::collection::vec(packet(), 1..12),
    ) {
        let mut flows: Vec<String> =
            matches.iter().map(|(m, priority)| format!("priority={priority},{m},actions=drop")).collect();
        flows.push("priority=0,actions=in_port".into());
        let mut world = World::new(1);
        flows.iter().for_each(|flow| world.add(flow));
        for packet in &packets {
            for flow in megaflows(&mut world, packet) {
                prop_assert_eq!(objection(&flow), None, "{} {:?} {:?}", packet, &flow.mask, &flows);
            }
        }
    }
}
