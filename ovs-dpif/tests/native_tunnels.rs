//! Packets through `tnl_push` and `tnl_pop`, from one datapath to another over a cable.

use ovs_dpif::netdev::{MemPort, MemPortPeer, Offloads};
use ovs_dpif::userspace::Datapath;
use ovs_dpif::{
    DpAction, Dpif, DropReason, Erspan, OuterIp, OuterTunnel, OuterUdp, PortNo, PortSpec, Resolution, TunnelPort,
    TunnelPush, UpcallKind, always_matched,
};
use ovs_packet::packet::{Gso, GsoKind, TunnelAddresses};
use ovs_packet::{FlowKey, Instant, Match, Packet, compose, segment};

const VPORT: PortNo = PortNo(9);

/// A datapath with a host, an uplink and a tunnel port.
struct End {
    dp: Datapath,
    host: MemPortPeer,
    uplink: MemPortPeer,
}

const HOST: PortNo = PortNo(1);
const UPLINK: PortNo = PortNo(2);

fn end(kind: TunnelPort) -> End {
    let mut dp = Datapath::new();
    let (host_port, host) = MemPort::new("host", 100);
    let (uplink_port, uplink) = MemPort::new("uplink", 100);
    let host_port = host_port.with_offloads(Offloads::ALL);
    dp.port_add(PortSpec::Device(Box::new(host_port)), Some(HOST)).unwrap();
    dp.port_add(PortSpec::Device(Box::new(uplink_port)), Some(UPLINK)).unwrap();
    dp.port_add(PortSpec::Tunnel { name: "tunnel_sys".into(), kind }, Some(VPORT)).unwrap();
    End { dp, host, uplink }
}

impl End {
    /// Polls until nothing comes up, and decides on what does by its port. Returns the keys of what came up.
    fn run(&mut self, decide: impl Fn(&FlowKey) -> Vec<DpAction>) -> Vec<FlowKey> {
        let (mut seen, mut upcalls) = (Vec::new(), Vec::new());
        self.dp.poll(Instant::ZERO, &mut upcalls);
        while let Some(upcall) = upcalls.pop() {
            assert_eq!(upcall.kind, UpcallKind::Miss);
            seen.push(*upcall.key);
            let actions = decide(&upcall.key);
            self.dp.flow_put(&upcall.key, &always_matched(), &actions).unwrap();
            self.dp.resolve(upcall, Resolution::Execute(&actions), Instant::ZERO, &mut upcalls);
        }
        assert!(self.dp.ledger().balanced(), "{}", self.dp.ledger());
        seen
    }
}

fn v4(proto: u8) -> OuterIp {
    OuterIp::V4 { src: [192, 0, 2, 1].into(), dst: [192, 0, 2, 2].into(), proto, tos: 0x28, ttl: 63, frag: 0x4000 }
}

fn v6(proto: u8) -> OuterIp {
    let (src, dst) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    OuterIp::V6 { src, dst, label: 0, proto, tclass: 0x28, hlimit: 63 }
}

fn push(ip: OuterIp, tunnel: OuterTunnel) -> TunnelPush {
    let (eth_dst, eth_src) = ("02:00:00:00:00:02".parse().unwrap(), "02:00:00:00:00:01".parse().unwrap());
    TunnelPush { tunnel_port: VPORT, out_port: PortNo(100), eth_dst, eth_src, ip, tunnel }
}

fn udp(dst: u16, csum: u16) -> OuterUdp {
    OuterUdp { src: 0, dst, csum }
}

fn frame(payload: &[u8]) -> Packet {
    let m: Match = "tcp,dl_src=02:00:00:00:00:0a,dl_dst=02:00:00:00:00:0b,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_src=1,tp_dst=80"
        .parse()
        .unwrap();
    compose::compose(m.key(), payload)
}

#[test]
fn every_kind_carries_frames_from_end_to_end() {
    let options = vec![1, 2, 0x80, 1, 9, 9, 9, 9];
    let vxlan = |csum| OuterTunnel::Vxlan { udp: udp(4789, csum), flags: 0x0800_0000, vni: 77 };
    let geneve = OuterTunnel::Geneve { udp: udp(6081, 1), oam: false, critical: true, vni: 77, options };
    let gre = |csum| OuterTunnel::Gre { flags: 0, proto: 0x6558, csum, key: Some(77), seq: Some(0) };
    let erspan = |version| OuterTunnel::Erspan { session: 77, version };
    let segments = ["2001:db8::2".parse().unwrap()].into_iter().collect();
    let srv6 = OuterTunnel::Srv6 { left: 0, segments };
    for (kind, ip, tunnel, id) in [
        (TunnelPort::Vxlan { port: 4789, gbp: false, gpe: false }, v4(17), vxlan(0), 77),
        (TunnelPort::Vxlan { port: 4789, gbp: false, gpe: false }, v6(17), vxlan(0xffff), 77),
        (TunnelPort::Geneve { port: 6081 }, v6(17), geneve.clone(), 77),
        (TunnelPort::Gre, v4(47), gre(Some(0)), 77),
        (TunnelPort::Ip6Gre, v6(47), gre(None), 77),
        (TunnelPort::Erspan, v4(47), erspan(Erspan::Index(3)), 77),
        (TunnelPort::Ip6Erspan, v6(47), erspan(Erspan::Port { direction: 1, hardware: 4 }), 77),
        (TunnelPort::Srv6, v6(43), srv6, 0),
    ] {
        let (mut near, mut far) = (end(kind), end(kind));
        let push = push(ip, tunnel);
        let sent = frame(b"through a tunnel");
        for _ in 0..3 {
            near.host.push(sent.clone());
        }
        let actions = vec![DpAction::TunnelPush(Box::new(push.clone())), DpAction::Output(UPLINK)];
        near.run(|_| actions.clone());
        let mut inside = 0;
        while let Some(packet) = near.uplink.pop() {
            assert_eq!(packet.len(), push.len() + sent.len(), "{kind:?}");
            far.uplink.push(packet);
            let keys = far.run(|key| match PortNo(key.in_port.get()) {
                UPLINK => vec![DpAction::TunnelPop(VPORT)],
                VPORT => vec![DpAction::Output(HOST)],
                other => panic!("{other}"),
            });
            for key in keys.iter().filter(|key| key.in_port.get() == VPORT.0) {
                assert_eq!(
                    (key.tun_id.get(), key.tun_tos, key.tun_ttl, key.tp_dst.get()),
                    (id, 0x28, 63, 80),
                    "{kind:?}"
                );
                assert_ne!((key.tun_dst.get(), key.tun_ipv6_dst.get()), (0, 0));
            }
            assert_eq!(far.host.pop().unwrap().data(), sent.data(), "{kind:?}");
            inside += 1;
        }
        assert_eq!(inside, 3);
        assert_eq!(far.dp.ledger().forwarded, 3);
    }
}

#[test]
fn sequence_numbers_count_and_source_ports_follow_the_flow() {
    let mut near = end(TunnelPort::Gre);
    let gre = OuterTunnel::Gre { flags: 0, proto: 0x6558, csum: None, key: None, seq: Some(0) };
    let actions = [DpAction::TunnelPush(Box::new(push(v4(47), gre))), DpAction::Output(UPLINK)];
    for _ in 0..40 {
        near.dp.inject(frame(b"x"), &actions, Instant::ZERO, &mut Vec::new());
    }
    let sequences: Vec<u8> = std::iter::from_fn(|| near.uplink.pop()).map(|p| p.data()[41]).collect();
    assert_eq!(sequences, (0..40).collect::<Vec<u8>>());

    let vxlan = OuterTunnel::Vxlan { udp: udp(4789, 0), flags: 0x0800_0000, vni: 1 };
    let actions = [DpAction::TunnelPush(Box::new(push(v4(17), vxlan))), DpAction::Output(UPLINK)];
    let ports_of = |dp: &mut Datapath| {
        for flow in 0..8u8 {
            for _ in 0..2 {
                let m: Match = format!("udp,nw_src=10.0.0.{flow},nw_dst=10.0.0.2,tp_dst=53").parse().unwrap();
                dp.inject(compose::compose(m.key(), b"q"), &actions, Instant::ZERO, &mut Vec::new());
            }
        }
        let port = |p: Packet| u16::from_be_bytes([p.data()[34], p.data()[35]]);
        std::iter::from_fn(|| near.uplink.pop()).map(port).collect::<Vec<u16>>()
    };
    let ports = ports_of(&mut near.dp);
    assert!(ports.chunks(2).all(|of_flow| of_flow[0] == of_flow[1]));
    assert!(ports.iter().all(|port| (32_768..=61_000).contains(port)));
    let mut distinct = ports.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 4, "{ports:?}");
    near.dp.set_tunnel_sources(59_049..=59_049).unwrap();
    assert_eq!(ports_of(&mut near.dp), [59_049; 16]);
}

#[test]
fn what_is_to_be_segmented_is_cut_before_it_is_wrapped() {
    let mut near = end(TunnelPort::Geneve { port: 6081 });
    let mut big = frame(&[7; 3000]);
    segment::make_partial(&mut big);
    big.offload.gso = Some(Gso { kind: GsoKind::TcpV4, size: 1400, ecn: false });
    let geneve = OuterTunnel::Geneve { udp: udp(6081, 1), oam: false, critical: false, vni: 1, options: vec![] };
    let header = push(v4(17), geneve);
    let actions = [DpAction::TunnelPush(Box::new(header.clone())), DpAction::Output(UPLINK)];
    near.dp.inject(big, &actions, Instant::ZERO, &mut Vec::new());
    let mut far = end(TunnelPort::Geneve { port: 6081 });
    let mut sizes = Vec::new();
    while let Some(mut packet) = near.uplink.pop() {
        sizes.push(packet.len() - header.len() - 54);
        assert_eq!(packet.data()[18..20], [0, sizes.len() as u8 - 1]);
        packet.offload = Default::default();
        far.uplink.push(packet);
    }
    assert_eq!(sizes, [1400, 1400, 200]);
    assert!(near.dp.events().contains(&("dp_packet_gso", 1)));
    far.run(|key| match PortNo(key.in_port.get()) {
        UPLINK => vec![DpAction::TunnelPop(VPORT)],
        _ => vec![DpAction::Output(HOST)],
    });
    let mut key = FlowKey::ZERO;
    while let Some(mut packet) = far.host.pop() {
        ovs_packet::extract::extract(&mut packet, &mut key);
        segment::verify(&mut packet, &key);
        assert_eq!(packet.offload.l4, ovs_packet::packet::L4Checksum::Good);
    }
    assert_eq!(far.dp.ledger().forwarded, 3);
}

#[test]
fn what_is_no_tunnels_is_dropped_and_counted() {
    let mut far = end(TunnelPort::Vxlan { port: 4789, gbp: false, gpe: false });
    far.dp.inject(frame(b"no tunnel"), &[DpAction::TunnelPop(VPORT)], Instant::ZERO, &mut Vec::new());
    // A port that stands for no tunnel.
    far.dp.inject(frame(b"no tunnel"), &[DpAction::TunnelPop(HOST)], Instant::ZERO, &mut Vec::new());
    far.dp.inject(frame(b"no tunnel"), &[DpAction::TunnelPop(PortNo(99))], Instant::ZERO, &mut Vec::new());
    assert_eq!(far.dp.ledger().drops(DropReason::TunnelPop), 3);
    let vxlan = OuterTunnel::Vxlan { udp: udp(4789, 0), flags: 0x0800_0000, vni: 1 };
    let actions = [DpAction::TunnelPush(Box::new(push(v4(17), vxlan))), DpAction::Output(UPLINK)];
    far.dp.inject(Packet::from_slice(&[0x45; 65_530]), &actions, Instant::ZERO, &mut Vec::new());
    assert_eq!(far.dp.ledger().drops(DropReason::TunnelPush), 1);
    // A path that is none.
    let srv6 = OuterTunnel::Srv6 { left: 9, segments: Default::default() };
    let actions = [DpAction::TunnelPush(Box::new(push(v6(43), srv6))), DpAction::Output(UPLINK)];
    far.dp.inject(frame(b"x"), &actions, Instant::ZERO, &mut Vec::new());
    assert_eq!(far.dp.ledger().drops(DropReason::TunnelPush), 2);
    assert!(far.dp.ledger().balanced());
}

/// Linux hands over a tunnel's packet whose inside is to be cut, and calls that the packet's own.
#[test]
fn what_is_to_be_cut_inside_stays_whole() {
    let mut far = end(TunnelPort::Vxlan { port: 4789, gbp: false, gpe: false });
    let mut big = frame(&[7; 3000]);
    segment::make_partial(&mut big);
    let whole = big.clone();
    let vxlan = OuterTunnel::Vxlan { udp: udp(4789, 0), flags: 0x0800_0000, vni: 1 };
    let header = push(v4(17), vxlan).header().unwrap();
    ovs_packet::tunnel::push(&mut big, &header, Default::default()).unwrap();
    segment::settle(&mut big, segment::Takes { transport: true, ..Default::default() });
    big.offload.l4 = big.offload.inner.take().unwrap().l4();
    let gso = Gso { kind: GsoKind::TcpV4, size: 1400, ecn: false };
    big.offload.gso = Some(gso);
    far.uplink.push(big);
    far.run(|key| match PortNo(key.in_port.get()) {
        UPLINK => vec![DpAction::TunnelPop(VPORT)],
        _ => vec![DpAction::Output(HOST)],
    });
    let out = far.host.pop().unwrap();
    assert_eq!((out.data(), out.offload.gso, out.offload.l4), (whole.data(), Some(gso), whole.offload.l4));
}

/// What is left of a packet when it leaves by a port that takes checksums over.
#[test]
fn checksums_are_left_to_the_port_that_sends() {
    let (mut near, mut far) = (end(TunnelPort::Geneve { port: 6081 }), end(TunnelPort::Geneve { port: 6081 }));
    let geneve = OuterTunnel::Geneve { udp: udp(6081, 1), oam: false, critical: false, vni: 1, options: vec![] };
    let actions = [DpAction::TunnelPush(Box::new(push(v4(17), geneve))), DpAction::Output(UPLINK)];
    let mut packet = frame(b"left");
    let whole = packet.clone();
    segment::make_partial(&mut packet);
    assert_ne!(packet.data(), whole.data());
    near.dp.inject(packet, &actions, Instant::ZERO, &mut Vec::new());
    // The cable computes none of a tunnel's, so all were computed at the port.
    let mut sent = near.uplink.pop().unwrap();
    assert!(!sent.offload.is_pending());
    assert_eq!(sent.data()[50..], whole.data()[..]);
    sent.offload = Default::default();
    let mut wrong = sent.clone();
    far.uplink.push(sent);
    *wrong.data_mut().last_mut().unwrap() ^= 1;
    far.uplink.push(wrong);
    far.run(|key| match PortNo(key.in_port.get()) {
        UPLINK => vec![DpAction::TunnelPop(VPORT)],
        _ => vec![DpAction::Output(HOST)],
    });
    assert_eq!(far.host.pop().unwrap().data(), whole.data());
    assert_eq!(far.dp.ledger().drops(DropReason::TunnelPop), 1);
    let events = far.dp.events();
    for (name, count) in [("l3csum_checked", 2), ("l3csum_err", 0), ("l4csum_checked", 2), ("l4csum_err", 1)] {
        let known = events.iter().find(|(event, _)| event.strip_prefix("native_tnl_") == Some(name));
        assert_eq!(known.map(|(_, count)| *count), Some(count), "{name}");
    }
}

#[test]
fn a_copy_goes_into_the_tunnel_and_the_packet_stays_as_it_was() {
    let mut near = end(TunnelPort::Vxlan { port: 4789, gbp: false, gpe: false });
    let vxlan = OuterTunnel::Vxlan { udp: udp(4789, 0), flags: 0x0800_0000, vni: 1 };
    let wrapped = vec![DpAction::TunnelPush(Box::new(push(v4(17), vxlan))), DpAction::Output(UPLINK)];
    let sent = frame(b"both ways");
    near.dp.inject(sent.clone(), &[DpAction::Clone(wrapped), DpAction::Output(HOST)], Instant::ZERO, &mut Vec::new());
    assert_eq!(near.uplink.pop().unwrap().len(), 50 + sent.len());
    assert_eq!(near.host.pop().unwrap().data(), sent.data());
}

#[test]
fn a_tunnel_that_ends_where_it_begins_is_bounded() {
    let mut one = end(TunnelPort::Vxlan { port: 4789, gbp: false, gpe: false });
    let vxlan = OuterTunnel::Vxlan { udp: udp(4789, 0), flags: 0x0800_0000, vni: 1 };
    let around = vec![DpAction::TunnelPush(Box::new(push(v4(17), vxlan))), DpAction::TunnelPop(VPORT)];
    one.host.push(frame(b"round and round"));
    let keys = one.run(|_| around.clone());
    assert_eq!(one.dp.ledger().drops(DropReason::RecirculationDepth), 1);
    let addresses = TunnelAddresses::V4 { src: [192, 0, 2, 1].into(), dst: [192, 0, 2, 2].into() };
    assert_eq!(ovs_packet::packet::Tunnel::of_key(&keys[1]).unwrap().addresses, addresses);
}
