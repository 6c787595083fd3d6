//! Tunnel ports: which of them a packet came by, what header it leaves with, and by which megaflow.

use std::collections::BTreeMap;

use ovs_dpif::{DpAction, Dpif, DropReason, PortNo, PortSpec, text};
use ovs_ofproto::codec::{Kind, Message, Version};
use ovs_ofproto::pipeline::{Event, Ofproto, Peer, Port, TraceRequest, TunnelConfig, TunnelKind};
use ovs_packet::field::{FieldId, TlvMapping};
use ovs_packet::key::{FlowKey, FlowMask};
use ovs_packet::packet::{Tunnel, TunnelFlags};
use ovs_packet::{Match, OfPort, compose};
use proptest::prelude::*;

use crate::world::Network;

/// Switches with tunnels.
struct Lab {
    net: Network,
    vports: BTreeMap<String, PortNo>,
}

impl Lab {
    fn new(switches: usize) -> Lab {
        let mut net = Network::new(switches);
        // The outer header is seen here as it is given to datapaths that have tunnels of their own.
        let mut features = net.dp.features();
        features.native_tunnels = false;
        for bridge in 0..switches {
            net.bridges.configure(bridge, |of| of.assume_features(features));
        }
        Lab { net, vports: BTreeMap::new() }
    }

    fn config(kind: &str, options: &str) -> TunnelConfig {
        let pairs = options.split_whitespace().filter_map(|o| o.split_once('='));
        let options = pairs.map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let (config, problems) = TunnelConfig::parse(TunnelKind::of_name(kind).unwrap(), "t0", &options).unwrap();
        assert_eq!(problems, []);
        config
    }

    fn vport(&mut self, config: &TunnelConfig) -> PortNo {
        let (name, kind) = (config.vport(), config.vport_kind());
        let dp = &mut self.net.dp;
        let made = || dp.port_add(PortSpec::Tunnel { name: config.vport(), kind }, None).unwrap();
        *self.vports.entry(name).or_insert_with(made)
    }

    fn tunnel(&mut self, bridge: usize, number: u32, kind: &str, options: &str) -> PortNo {
        let config = Lab::config(kind, options);
        let vport = self.vport(&config);
        let port = Port::tunnel(OfPort(number), vport, format!("t{number}"), config);
        self.net.bridges.configure(bridge, |of| of.port_add(port));
        self.net.bridges.settle(&mut self.net.dp, self.net.now);
        vport
    }

    /// What becomes of a packet in the words of a flow that comes by port 1 of the first switch.
    fn out(&mut self, flow: &str) -> String {
        let m: Match = format!("in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,{flow}").parse().unwrap();
        let pass = &self.net.bridges.trace(0, &self.net.dp, &TraceRequest::flow(&m)).passes[0];
        text::actions(&pass.actions).to_string()
    }

    /// Has a packet come out of a tunnel, by the key that the datapath makes of it.
    fn come(&mut self, key: &FlowKey) {
        let mut packet = compose::compose(key, b"payload");
        packet.tunnel = Tunnel::of_key(key).map(Box::new);
        (packet.meta.in_port, packet.meta.packet_type) = (key.in_port.get(), key.packet_type.get());
        let (mut upcalls, Network { bridges, dp, now, .. }) = (Vec::new(), &mut self.net);
        dp.inject(packet, &[DpAction::Recirc(0)], *now, &mut upcalls);
        upcalls.into_iter().for_each(|upcall| bridges.handle_upcall(dp, upcall, *now));
        self.net.serve();
    }

    /// The wires that packets came out of since the last time.
    fn heard(&self) -> Vec<usize> {
        self.net.received().into_iter().map(|(end, _)| end as usize).collect()
    }
}

/// The key of a packet that came out of a tunnel.
fn key(vport: PortNo, tunnel: &str, inner: &str) -> FlowKey {
    let m: Match = format!("{tunnel},dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,{inner}").parse().unwrap();
    FlowKey { in_port: vport.0.into(), ..m.key() }
}

const UDP: &str = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=9,tp_src=1,tp_dst=2";

#[test]
fn what_leaves_has_the_header_that_the_port_says() {
    for (kind, options, flow, sent) in [
        ("gre", "remote_ip=1.1.1.1", UDP, "dst=1.1.1.1,ttl=64,flags(df)"),
        (
            "gre",
            "remote_ip=1.1.1.1 key=5 csum=true df_default=false",
            UDP,
            "tun_id=0x5,dst=1.1.1.1,ttl=64,flags(csum|key)",
        ),
        ("vxlan", "remote_ip=1.1.1.1 key=flow", UDP, "tun_id=0x7,dst=1.1.1.1,ttl=64,tp_dst=4789,flags(df|key)"),
        (
            "vxlan",
            "remote_ip=fc00::1 local_ip=fc00::2",
            UDP,
            "ipv6_src=fc00::2,ipv6_dst=fc00::1,ttl=64,tp_dst=4789,flags(df|csum)",
        ),
        ("vxlan", "remote_ip=fc00::1 csum=false", UDP, "ipv6_dst=fc00::1,ttl=64,tp_dst=4789,flags(df)"),
        ("geneve", "remote_ip=flow local_ip=flow", UDP, "src=8.8.8.8,dst=9.9.9.9,ttl=64,tp_dst=6081,flags(df)"),
        ("gtpu", "remote_ip=1.1.1.1 packet_type=ptap", UDP, "dst=1.1.1.1,ttl=64,tp_dst=2152,flags(df)"),
        (
            "erspan",
            "remote_ip=1.1.1.1 key=1 erspan_ver=1 erspan_idx=7",
            UDP,
            "tun_id=0x1,dst=1.1.1.1,ttl=64,erspan(ver=1,idx=0x7),flags(df|key)",
        ),
        (
            "erspan",
            "remote_ip=1.1.1.1 key=1 erspan_ver=2 erspan_dir=1 erspan_hwid=4",
            UDP,
            "tun_id=0x1,dst=1.1.1.1,ttl=64,erspan(ver=2,dir=1,hwid=0x4),flags(df|key)",
        ),
        // TOS and TTL as inside, where that is IP; marks of congestion always, but that there was some.
        (
            "gre",
            "remote_ip=1.1.1.1 tos=inherit ttl=inherit",
            "ip,nw_tos=32,nw_ecn=1,nw_ttl=9",
            "dst=1.1.1.1,tos=0x21,ttl=9,flags(df)",
        ),
        ("gre", "remote_ip=1.1.1.1 tos=inherit ttl=inherit", "dl_type=0x1234", "dst=1.1.1.1,ttl=64,flags(df)"),
        (
            "gre",
            "remote_ip=1.1.1.1 tos=8 ttl=3",
            "ipv6,nw_tos=32,nw_ecn=3,nw_ttl=9",
            "dst=1.1.1.1,tos=0xa,ttl=3,flags(df)",
        ),
    ] {
        let mut l = Lab::new(1);
        let vport = l.tunnel(0, 5, kind, options);
        l.net.add(0, "actions=set_tunnel:7,set_field:8.8.8.8->tun_src,set_field:9.9.9.9->tun_dst,5,2");
        assert_eq!(l.out(flow), format!("set(tunnel({sent})),{vport},2"), "{kind} {options} {flow}");
    }
}

#[test]
fn marks_and_packet_types_are_the_ports() {
    let mut l = Lab::new(1);
    let vport = l.tunnel(0, 5, "gre", "remote_ip=1.1.1.1 egress_pkt_mark=3");
    l.tunnel(0, 6, "gre", "remote_ip=2.2.2.2 packet_type=legacy_l3");
    l.net.add(0, "udp,actions=5,2");
    assert_eq!(
        l.out(UDP),
        format!("set(tunnel(dst=1.1.1.1,ttl=64,flags(df))),set(skb_mark(0x3)),{vport},set(skb_mark(0)),2"),
    );
    // The Ethernet header that such a port takes off is put back for the next.
    l.net.add(0, "priority=40000,udp,actions=6,2");
    let back = "push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)";
    assert_eq!(l.out(UDP), format!("set(tunnel(dst=2.2.2.2,ttl=64,flags(df))),pop_eth,{vport},{back},2"));
}

#[test]
fn what_comes_has_the_port_that_says_most() {
    let mut l = Lab::new(2);
    let vport = l.tunnel(0, 5, "gre", "remote_ip=flow key=flow");
    l.tunnel(1, 5, "gre", "remote_ip=1.1.1.1");
    l.tunnel(1, 6, "gre", "remote_ip=1.1.1.1 local_ip=2.2.2.2 key=7");
    l.net.add(0, "in_port=5,actions=1");
    l.net.add(1, "in_port=5,actions=1");
    l.net.add(1, "in_port=6,actions=2");
    for (tunnel, bridge, port) in [
        ("tun_src=1.1.1.1,tun_dst=9.9.9.9", 1, 5),
        ("tun_src=1.1.1.1,tun_dst=2.2.2.2,tun_id=7", 1, 6),
        ("tun_src=1.1.1.1,tun_dst=2.2.2.2,tun_id=8", 0, 5),
        ("tun_src=3.3.3.3,tun_dst=2.2.2.2", 0, 5),
    ] {
        let key = key(vport, tunnel, UDP);
        assert_eq!(l.net.bridges.of_key(&key), Some(Peer { bridge, port: OfPort(port) }), "{tunnel}");
        l.come(&key);
        assert_eq!(l.heard(), [2 * bridge + port as usize - 4], "{tunnel}");
    }
    assert_eq!(l.net.dp.stats().unwrap().flows, 4);
    let stats = l.net.bridges.get(1).unwrap().patch_stats(OfPort(5));
    assert_eq!(stats.unwrap().rx_packets, 1);
    // What came by one port comes by another when there is a better one, of whichever switch.
    l.tunnel(0, 6, "gre", "remote_ip=1.1.1.1 local_ip=9.9.9.9");
    l.net.add(0, "in_port=6,actions=2");
    l.come(&key(vport, "tun_src=1.1.1.1,tun_dst=9.9.9.9", UDP));
    assert_eq!(l.heard(), [2]);
    l.net.bridges.configure(0, |of| of.port_remove(OfPort(6)));
    l.net.bridges.settle(&mut l.net.dp, l.net.now);
    l.come(&key(vport, "tun_src=1.1.1.1,tun_dst=9.9.9.9", UDP));
    assert_eq!(l.heard(), [3]);
    assert!(l.net.bridges.of_key(&key(PortNo(99), "tun_src=1.1.1.1,tun_dst=9.9.9.9", UDP)).is_none());
}

#[test]
fn there_is_one_port_that_says_so_and_its_place_can_be_taken() {
    let mut l = Lab::new(2);
    let config = Lab::config("vxlan", "remote_ip=1.1.1.1 key=5");
    let vport = l.tunnel(0, 5, "vxlan", "remote_ip=1.1.1.1 key=5");
    let first = Peer { bridge: 0, port: OfPort(5) };
    assert_eq!(l.net.bridges.tunnel_twin(&config, vport), Some(first));
    assert_eq!(l.net.bridges.tunnel_twin(&Lab::config("vxlan", "remote_ip=1.1.1.1 key=6"), vport), None);
    // What is sent makes no difference.
    assert_eq!(
        l.net.bridges.tunnel_twin(&Lab::config("vxlan", "remote_ip=1.1.1.1 in_key=5 ttl=3"), vport),
        Some(first)
    );
    l.tunnel(0, 6, "vxlan", "remote_ip=1.1.1.1 key=5");
    l.net.bridges.configure(0, |of| of.port_remove(OfPort(6)));
    assert_eq!(l.net.bridges.tunnel_twin(&config, vport), Some(first));
    l.net.bridges.configure(0, |of| of.port_remove(OfPort(5)));
    assert_eq!(l.net.bridges.tunnel_twin(&config, vport), None);
}

#[test]
fn congestion_comes_out_of_a_tunnel_or_the_packet_does_not() {
    let mut l = Lab::new(1);
    let vport = l.tunnel(0, 5, "gre", "remote_ip=1.1.1.1");
    l.net.add(0, "in_port=5,actions=2");
    let tunnel = "tun_src=1.1.1.1,tun_dst=2.2.2.2";
    let mut dump = Vec::new();
    for (outer, inner, does) in [
        (0, 1, "2"),
        (1, 2, "set(ipv4(tos=0x1/0x3)),2"),
        (3, 3, "2"),
        (3, 2, "set(ipv4(tos=0x3/0x3)),2"),
        (3, 0, "drop"),
    ] {
        let mut key = key(vport, tunnel, UDP);
        (key.tun_tos, key.nw_tos) = (outer, 32 | inner);
        l.net.dp.flow_flush().unwrap();
        l.net.bridges.purge(0, &mut l.net.dp, l.net.now);
        l.come(&key);
        let flows = l.net.dp.flow_dump().unwrap();
        assert_eq!(text::actions(&flows[0].actions).to_string(), does, "outer {outer}, inner {inner}");
        dump.push(flows[0].matching().mask().bits.nw_tos);
    }
    assert_eq!(dump, [0, 3, 3, 3, 3]);
    assert_eq!(l.net.dp.ledger().drops(DropReason::FlowDrop) + l.net.dp.ledger().drops(DropReason::NotEcnCapable), 1);
}

#[test]
fn packets_without_ethernet_get_a_header_where_the_port_is_for_such() {
    let mut l = Lab::new(1);
    let vport = l.tunnel(0, 5, "gre", "remote_ip=1.1.1.1 packet_type=legacy_l3");
    l.tunnel(0, 6, "gre", "remote_ip=1.1.1.1");
    l.net.add(0, "in_port=5,actions=set_field:02:00:00:00:00:09->eth_dst,2");
    let mut key = key(vport, "tun_src=1.1.1.1,tun_dst=2.2.2.2", UDP);
    (key.packet_type, key.eth_src, key.eth_dst) = (0x1_0800.into(), Default::default(), Default::default());
    l.come(&key);
    let flows = l.net.dp.flow_dump().unwrap();
    let does = text::actions(&flows[0].actions).to_string();
    assert_eq!(does, "push_eth(src=00:00:00:00:00:00,dst=02:00:00:00:00:09),2");
    assert_eq!(l.heard(), [2]);
}

#[test]
fn nothing_is_sent_back_to_where_it_ended() {
    let mut l = Lab::new(1);
    let vport = l.tunnel(0, 5, "gre", "remote_ip=1.1.1.1");
    l.tunnel(0, 6, "gre", "remote_ip=2.2.2.2");
    l.net.add(0, "in_port=5,actions=6,in_port");
    let key = key(vport, "tun_src=1.1.1.1,tun_dst=2.2.2.2", UDP);
    l.come(&key);
    let flows = l.net.dp.flow_dump().unwrap();
    let does = text::actions(&flows[0].actions).to_string();
    assert_eq!(does, format!("set(tunnel(dst=1.1.1.1,ttl=64,flags(df))),{vport}"));
}

#[test]
fn what_nobody_asked_of_a_tunnel_stays_with_the_packet_that_comes_back() {
    let mut lab = Lab::new(2);
    let vport = lab.tunnel(0, 5, "vxlan", "remote_ip=flow key=flow exts=gbp");
    lab.net.add(0, "table=0,ip,tun_id=1,actions=ct(table=1)");
    lab.net.add(0, "table=0,ip,tun_id=2,actions=load:7->NXM_NX_TUN_GBP_ID[],ct(table=1)");
    lab.net.add(0, "table=0,ip,tun_id=3,actions=ct(table=2)");
    lab.net.add(0, "table=1,tun_gbp_id=7,actions=1");
    lab.net.add(0, "table=1,tun_gbp_id=8,actions=2");
    // Through a second round, in which it is not asked for either.
    lab.net.add(0, "table=2,ip,actions=ct(table=1,zone=3)");
    for (id, policy, wire) in [(1, 7, 1), (1, 8, 2), (1, 7, 1), (2, 8, 1), (2, 7, 1), (3, 8, 2), (3, 7, 1)] {
        let tunnel = format!("tun_id={id},tun_src=1.1.1.1,tun_dst=2.2.2.2,tun_flags=0,tun_gbp_id={policy}");
        lab.come(&key(vport, &tunnel, UDP));
        assert_eq!(lab.heard(), [wire], "{tunnel}");
    }
}

#[test]
fn controllers_hear_of_tunnels_as_far_as_messages_have_words() {
    let mut lab = Lab::new(1);
    let vport = lab.tunnel(0, 5, "vxlan", "remote_ip=flow key=flow exts=gbp");
    lab.net.add(0, "in_port=5,actions=controller");
    let mut heard = |policy| {
        let tunnel = format!("tun_id=1,tun_src=1.1.1.1,tun_dst=2.2.2.2,tun_ttl=64,tun_tos=8,tun_gbp_id={policy}");
        lab.come(&key(vport, &tunnel, UDP));
        let Some(Event::PacketIn(p)) = lab.net.bridges.configure(0, Ofproto::poll_event).unwrap() else {
            panic!("nothing")
        };
        for version in [Version::V1_0, Version::V1_3, Version::V1_5] {
            assert!(Message::from((*p).clone()).encode_as(Kind::NxPacketIn2, version, 1).is_ok(), "{version}");
        }
        p.metadata.to_string()
    };
    let said = "tun_id=0x1,tun_src=1.1.1.1,tun_dst=2.2.2.2,tun_gbp_id=";
    // Of one packet as of the next, which has another policy.
    assert_eq!([heard(7), heard(8)], [7, 8].map(|policy| format!("{said}{policy},in_port=5")));
}

#[test]
fn who_reads_a_tunnel_behind_a_patch_finds_none() {
    let mut lab = Lab::new(2);
    let vport = lab.tunnel(0, 5, "vxlan", "remote_ip=flow key=flow exts=gbp");
    let ends = [0, 1].map(|bridge| Peer { bridge, port: OfPort(9) });
    for Peer { bridge, port } in ends {
        lab.net.bridges.configure(bridge, |of| of.port_add(Port::patch(port, "patch")));
    }
    lab.net.bridges.patch(ends[0], ends[1]);
    lab.net.bridges.settle(&mut lab.net.dp, lab.net.now);
    lab.net.add(0, "in_port=5,ip,actions=9,ct(table=1)");
    lab.net.add(0, "table=1,tun_gbp_id=7,actions=1");
    lab.net.add(0, "table=1,tun_gbp_id=8,actions=2");
    lab.net.add(1, "in_port=9,ip,actions=ct(table=1)");
    lab.net.add(1, "table=1,tun_gbp_id=0,tun_dst=0.0.0.0,actions=2");
    for (policy, wire) in [(7, 1), (8, 2), (7, 1)] {
        let tunnel = format!("tun_id=1,tun_src=1.1.1.1,tun_dst=2.2.2.2,tun_flags=0,tun_gbp_id={policy}");
        lab.come(&key(vport, &tunnel, UDP));
        assert_eq!(lab.heard(), [wire, 4], "{tunnel}");
    }
}

fn tunnels() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let options = (0usize..4, 0usize..4, 0usize..4, 0usize..5).prop_map(|(kind, remote, key, other)| {
        let kind = ["gre", "vxlan", "geneve", "erspan"][kind];
        let remote = ["1.1.1.1", "2.2.2.2", "fc00::1", "flow"][remote];
        let key = ["", "key=1", "key=flow", "in_key=flow out_key=2"][key];
        let other = match (other, kind) {
            (1, _) => "tos=inherit ttl=inherit",
            (2, "vxlan") => "exts=gbp",
            (2, "erspan") => "erspan_ver=flow",
            (3, _) if remote == "flow" => "local_ip=flow",
            (4, _) => "egress_pkt_mark=4",
            _ => "",
        };
        (kind, format!("remote_ip={remote} {key} {other}"))
    });
    prop::collection::vec(options, 2..6)
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    let matches = prop::sample::select(vec![
        "",
        "in_port=5,",
        "in_port=6,",
        "tun_id=1,",
        "tun_src=1.1.1.1,",
        "tun_gbp_id=3,",
        "tun_metadata0=5,",
        "tun_metadata1,",
        "tun_erspan_ver=1,",
        "udp,",
        "ip,nw_ecn=1,",
        "tun_flags=+oam,",
    ]);
    let actions = prop::sample::select(vec![
        "5",
        "6,7",
        "in_port",
        "set_tunnel:1,5,2",
        "set_field:3.3.3.3->tun_dst,6,5",
        "set_field:9->tun_gbp_id,6,7",
        "set_field:6->tun_metadata1,5,6",
        "clone(set_field:6->tun_metadata0,5),7",
        "load:1->tun_flags[0],5,6",
        "set_field:1->tun_erspan_ver,7,8",
        "2",
        "resubmit(,1)",
        "set_field:4/7->tun_metadata0,5",
    ]);
    let flow = (0u8..2, 0u8..3, matches, actions).prop_map(|(table, priority, m, actions)| {
        let actions = if table == 1 { actions.replace("resubmit(,1)", "7") } else { actions.to_string() };
        format!("table={table},priority={priority},{m}actions={actions}")
    });
    prop::collection::vec(flow, 1..8)
}

fn build(tunnels: &[(&'static str, String)], rules: &[String]) -> (Lab, Vec<PortNo>) {
    let mut l = Lab::new(1);
    let mapping = |index, kind| TlvMapping { class: 0x102, kind, len: 4, index };
    let mut table = ovs_ofproto::codec::TlvTableMod::default();
    table.mappings = vec![mapping(0, 1), mapping(1, 2)];
    let bytes = ovs_ofproto::codec::Message::TlvTableMod(table).encode(ovs_ofproto::codec::Version::V1_5, 1).unwrap();
    let now = l.net.now;
    l.net.bridges.change(0, &mut l.net.dp, now, |of, dp| {
        let of_config = ovs_ofproto::pipeline::ConnectionConfig::new(ovs_ofproto::codec::Version::V1_5);
        let controller = of.connect(&of_config);
        of.handle_message(dp, controller, &bytes, now).unwrap();
    });
    let vports = tunnels.iter().zip(5..).map(|((kind, options), n)| l.tunnel(0, n, kind, options)).collect();
    rules.iter().for_each(|rule| l.net.add(0, rule));
    (l, vports)
}

/// A packet out of a tunnel, made of numbers.
fn arrival(vports: &[PortNo], n: &[u8; 10]) -> FlowKey {
    let mut key = key(vports[usize::from(n[0]) % vports.len()], "tun_id=0", UDP);
    let peers = [0x0101_0101u32, 0x0202_0202, 0x0303_0303];
    if n[1].is_multiple_of(4) {
        (key.tun_ipv6_src, key.tun_ipv6_dst) = ((0xfc00 << 112 | 1).into(), (0xfc00 << 112 | 2).into());
    } else {
        (key.tun_src, key.tun_dst) = (peers[usize::from(n[1]) % 3].into(), peers[usize::from(n[2]) % 3].into());
    }
    key.tun_id = u64::from(n[3] % 3).into();
    key.tun_flags = n[4] & TunnelFlags::all().bits();
    (key.tun_tos, key.tun_ttl, key.nw_tos) = (n[5] & 3, n[6], n[7] & 3);
    key.tun_gbp_id = u16::from(n[8] % 4).into();
    key.tun_erspan = (u32::from(n[8] % 3) << 27 | u32::from(n[9])).into();
    for kind in (1..=3u8).filter(|kind| n[9] >> kind & 1 != 0) {
        let at = key.tun_present.get() as usize;
        key.tun_metadata[at..at + 8].copy_from_slice(&[1, 2, kind, 1, 0, 0, 0, n[8] % 8]);
        key.tun_present = (at as u64 + 8).into();
    }
    key
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn one_megaflow_is_one_list_of_actions(
        tunnels in tunnels(), rules in rules(), numbers in prop::collection::vec(any::<[u8; 10]>(), 6), noise: [u8; 10],
    ) {
        let (mut l, vports) = build(&tunnels, &rules);
        for n in &numbers {
            let first = arrival(&vports, n);
            l.come(&first);
            let Some(megaflow) = l.net.dp.flow_dump().unwrap().into_iter().find(|f| f.matching().matches(&first)) else { continue };
            // Another packet, other in whatever the megaflow leaves open of its tunnel.
            let (mask, other) = (megaflow.matching().mask(), arrival(&vports, &noise));
            let mut open = FlowMask::EMPTY;
            for f in [FieldId::TunTtl, FieldId::TunGbpId, FieldId::TunErspanIdx, FieldId::TunErspanVer, FieldId::NwTos, FieldId::NwEcn] {
                open.add(f);
            }
            open.bits.tun_flags = u8::MAX;
            if mask.bits.tun_present == 0 {
                (open.bits.tun_present, open.bits.tun_metadata) = (u64::MAX.into(), [u8::MAX; 256]);
            } else {
                // The values of options: headers stay as they are.
                for at in (0..first.tun_present.get() as usize).step_by(8) {
                    open.bits.tun_metadata[at + 4..at + 8].fill(u8::MAX);
                }
            }
            open.bits.words_mut().iter_mut().zip(mask.bits.words()).for_each(|(open, known)| *open &= !known);
            let mut second = first;
            second.assign(&other, &open);
            prop_assert!(megaflow.matching().matches(&second));
            let (mut fresh, _) = build(&tunnels, &rules);
            fresh.come(&second);
            let again = fresh.net.dp.flow_dump().unwrap();
            let does = |actions: &[DpAction]| text::actions(actions).to_string();
            prop_assert_eq!(again.len(), 1);
            prop_assert_eq!(does(&again[0].actions), does(&megaflow.actions), "{:?} {:?}", second, megaflow.matching());
        }
    }
}
