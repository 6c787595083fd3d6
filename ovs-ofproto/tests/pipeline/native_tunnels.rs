//! Tunnels whose outer headers the switch makes, over another switch of the same datapath.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ovs_dpif::netdev::MemPortPeer;
use ovs_dpif::{Dpif, DropReason, PortNo, PortSpec};
use ovs_ofproto::pipeline::native::{Known, Prefix, table};
use ovs_ofproto::pipeline::{Ofproto, Port, TunnelConfig, TunnelKind};
use ovs_packet::wire::{self, Wire, arp};
use ovs_packet::{EthAddr, FlowKey, OfPort, Packet};

use crate::world::{Network, key as key_of, packet};

const INT: usize = 0;
const OUT: usize = 1;
const HOST: OfPort = OfPort(1);
const TUNNEL: OfPort = OfPort(2);
const VPORT: PortNo = PortNo(77);

const OWN: &str = "192.0.2.1";
const FAR: &str = "192.0.2.9";
const OWN_MAC: EthAddr = EthAddr([2, 0, 0, 0, 0, 1]);
const FAR_MAC: EthAddr = EthAddr([2, 0, 0, 0, 0, 9]);

/// A switch with a host and a tunnel, and another one with an uplink and an address.
struct Lab(Network);

fn tunnel(kind: TunnelKind, options: &[(&str, &str)]) -> TunnelConfig {
    let options: BTreeMap<String, String> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    TunnelConfig::parse(kind, "tun", &options).unwrap().0
}

impl Lab {
    fn new(config: TunnelConfig) -> Lab {
        let mut net = Network::new(0);
        let (mut int, mut out) = (Ofproto::new(), Ofproto::new());
        int.set_name("int");
        out.set_name("br0");
        int.port_add(net.device(HOST, "host"));
        out.port_add(net.device(OfPort(1), "uplink"));
        let mut local = net.device(OfPort::LOCAL, "br0");
        local.hw_addr = OWN_MAC;
        out.port_add(local);
        net.dp.port_add(PortSpec::Tunnel { name: config.vport(), kind: config.vport_kind() }, Some(VPORT)).unwrap();
        let mut port = Port::new(TUNNEL, VPORT, "tun");
        port.tunnel = Some(Arc::new(config));
        int.port_add(port);
        assert_eq!((net.bridges.add(int), net.bridges.add(out)), (Some(INT), Some(OUT)));
        net.bridges.underlay().add_address("br0", OWN_MAC, OWN.parse().unwrap(), 24);
        net.add(INT, "in_port=1,actions=output:2");
        net.add(INT, "in_port=2,actions=output:1");
        net.add(OUT, "actions=normal");
        Lab(net)
    }

    fn host(&self) -> &MemPortPeer {
        &self.0.ends[0]
    }

    fn uplink(&self) -> &MemPortPeer {
        &self.0.ends[1]
    }

    /// What became of routes and neighbours is followed before packets come.
    fn work(&mut self) {
        self.0.bridges.run(&mut self.0.dp, self.0.now);
        self.0.run();
    }

    fn pass(&mut self, seconds: u64) {
        self.0.now += Duration::from_secs(seconds);
        self.work();
    }

    /// Has the far end answer whoever asks for it.
    fn answer(&mut self) {
        let who_has = arp::Message { op: arp::Op::REPLY, ..request() };
        let reply = arp::Message {
            sha: FAR_MAC,
            spa: FAR.parse().unwrap(),
            tha: OWN_MAC,
            tpa: OWN.parse().unwrap(),
            ..who_has
        };
        let frame = wire::frame(OWN_MAC, FAR_MAC, arp::ETH_TYPE, &reply).unwrap();
        self.uplink().push(Packet::from_slice(&frame));
        self.work();
    }

    fn neighbour(&self) -> Known {
        self.0.bridges.underlay().read().neighbours().lookup("br0", FAR.parse().unwrap(), self.0.now)
    }

    fn counts(&self, port: OfPort) -> (u64, u64, u64, u64) {
        let stats = self.0.bridges.get(INT).unwrap().patch_stats(port).unwrap();
        (stats.rx_packets, stats.rx_bytes, stats.tx_packets, stats.tx_bytes)
    }
}

fn request() -> arp::Message {
    arp::Message::request(OWN_MAC, OWN.parse().unwrap(), FAR.parse().unwrap())
}

fn frame() -> Packet {
    packet("udp,dl_src=02:00:00:00:00:0a,dl_dst=02:00:00:00:00:0b,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=53,nw_ttl=64")
}

#[test]
fn the_next_hop_is_asked_for_and_the_packets_after_the_answer_go_through() {
    let mut lab = Lab::new(tunnel(TunnelKind::Vxlan, &[("remote_ip", FAR), ("key", "123")]));
    lab.host().push(frame());
    lab.host().push(frame());
    lab.work();
    // One request, whatever the number of packets.
    let asked = lab.uplink().pop().unwrap();
    assert_eq!(arp::Message::parse(&asked.data()[14..]), Ok(request()));
    assert!(lab.uplink().pop().is_none());
    assert_eq!(lab.neighbour(), Known::Asked);
    assert_eq!(lab.0.dp.ledger().drops(DropReason::TunnelNeighbour), 2);

    lab.answer();
    assert_eq!(lab.neighbour(), Known::At(FAR_MAC));
    lab.host().push(frame());
    lab.work();
    let outer = lab.uplink().pop().unwrap();
    let key = key_of(&outer);
    assert_eq!((key.eth_dst, key.eth_src), (FAR_MAC, OWN_MAC));
    assert_eq!((key.ipv4_src().to_string(), key.ipv4_dst().to_string()), (OWN.into(), FAR.into()));
    assert_eq!((key.tp_dst.get(), key.nw_ttl, outer.len()), (4789, 64, 50 + frame().len()));
    assert_eq!(&outer.data()[50..], frame().data());

    // The same packet back.
    let mut back = outer.clone();
    let data = back.data_mut();
    data[..6].copy_from_slice(&OWN_MAC.0);
    data[6..12].copy_from_slice(&FAR_MAC.0);
    let (src, dst): (std::net::Ipv4Addr, std::net::Ipv4Addr) = (FAR.parse().unwrap(), OWN.parse().unwrap());
    data[26..30].copy_from_slice(&src.octets());
    data[30..34].copy_from_slice(&dst.octets());
    back.offload = Default::default();
    lab.uplink().push(back);
    lab.work();
    assert_eq!(lab.host().pop().unwrap().data(), frame().data());
    lab.pass(1);
    let len = frame().len() as u64;
    assert_eq!(lab.counts(TUNNEL), (1, len, 3, 3 * len));
}

#[test]
fn a_megaflow_reads_of_the_packet_only_what_the_tunnel_depends_on() {
    let mut lab = Lab::new(tunnel(TunnelKind::Geneve, &[("remote_ip", FAR)]));
    lab.0.bridges.underlay().set_neighbour("br0", FAR.parse().unwrap(), FAR_MAC, lab.0.now);
    // A flow of the outer switch that looks at much.
    lab.0.add(OUT, "priority=40009,udp,nw_src=192.0.2.1,tp_dst=6081,dl_dst=02:00:00:00:00:09,actions=1");
    lab.host().push(frame());
    lab.work();
    assert_eq!(lab.uplink().pop().map(|p| p.len()), Some(50 + frame().len()), "{}", lab.0.dp.ledger());
    let flows = lab.0.dp.flow_dump().unwrap();

    let mask = FlowKey::from(&flows[0].mask);
    assert_eq!((mask.nw_src.get(), mask.tp_dst.get(), mask.eth_dst, mask.pkt_mark.get()), (0, 0, EthAddr::ZERO, 0));
    // The rule of the outer switch counts the outer packet; when it goes, so does the way.
    lab.pass(1);
    let of = lab.0.bridges.get(OUT).unwrap();
    let bytes: Vec<u64> = of.flows().filter(|f| f.priority == 40009).map(|f| f.bytes).collect();
    assert_eq!(bytes, [50 + frame().len() as u64]);
    lab.0.add(OUT, "priority=40010,actions=drop");
    while lab.uplink().pop().is_some() {}
    lab.host().push(frame());
    lab.work();
    assert!(lab.uplink().pop().is_none());
}

#[test]
fn a_neighbour_that_is_used_stays_and_one_that_is_not_ends() {
    let mut lab = Lab::new(tunnel(TunnelKind::Gre, &[("remote_ip", FAR)]));
    lab.host().push(frame());
    lab.work();
    lab.answer();
    for _ in 0..40 {
        lab.host().push(frame());
        lab.pass(60);
    }
    assert_eq!(lab.neighbour(), Known::At(FAR_MAC));
    while lab.uplink().pop().is_some() {}
    lab.pass(901);
    assert_eq!(lab.neighbour(), Known::Unknown);
    lab.host().push(frame());
    lab.work();
    assert_eq!(lab.uplink().pop().map(|p| p.data()[12..14].to_vec()), Some(vec![8, 6]));
    // No answer: it is asked again as long as there are packets.
    lab.pass(2);
    lab.host().push(frame());
    lab.work();
    assert_eq!(lab.uplink().pop().map(|p| p.data()[12..14].to_vec()), Some(vec![8, 6]));
}

#[test]
fn a_switch_that_goes_takes_its_neighbours_and_tunnels_along() {
    let mut lab = Lab::new(tunnel(TunnelKind::Gre, &[("remote_ip", FAR)]));
    lab.host().push(frame());
    lab.work();
    lab.answer();
    assert_eq!(lab.neighbour(), Known::At(FAR_MAC));
    lab.0.bridges.remove(OUT, &mut lab.0.dp, lab.0.now).unwrap();
    assert_eq!(lab.neighbour(), Known::Unknown);
}

#[test]
fn no_route_is_a_reason_and_routes_that_come_are_followed() {
    let far = "198.51.100.7";
    let mut lab = Lab::new(tunnel(TunnelKind::Vxlan, &[("remote_ip", far)]));
    lab.host().push(frame());
    lab.work();
    assert_eq!(lab.0.dp.ledger().drops(DropReason::TunnelRouting), 1);
    let to = Prefix::new(far.parse().unwrap(), 24).unwrap();
    let underlay = lab.0.bridges.underlay().clone();
    let gateway = Some(FAR.parse().unwrap());
    underlay.add_route(table::MAIN, to, "br0", gateway, 0, None, true).unwrap();
    underlay.set_neighbour("br0", FAR.parse().unwrap(), FAR_MAC, lab.0.now);
    lab.host().push(frame());
    lab.work();
    let key = key_of(&lab.uplink().pop().unwrap());
    assert_eq!((key.eth_dst, key.ipv4_dst().to_string()), (FAR_MAC, far.to_string()));
    assert!(underlay.remove_route(table::MAIN, to, 0, true));
    lab.host().push(frame());
    lab.work();
    assert!(lab.uplink().pop().is_none());
    // A device without an address has no source for a route.
    assert!(underlay.add_route(table::MAIN, to, "uplink", None, 0, None, true).is_err());
}

#[test]
fn every_kind_goes_out_and_comes_back() {
    let v6 = ("2001:db8::1", "2001:db8::9");
    for (kind, options, is_v6) in [
        (TunnelKind::Vxlan, vec![("key", "5")], false),
        (TunnelKind::Vxlan, vec![("key", "5"), ("exts", "gpe")], true),
        (TunnelKind::Geneve, vec![("key", "5"), ("csum", "true")], true),
        (TunnelKind::Gre, vec![("key", "5"), ("csum", "true"), ("seq", "true")], false),
        (TunnelKind::Ip6Gre, vec![("key", "5")], true),
        (TunnelKind::Erspan, vec![("key", "5"), ("erspan_ver", "1"), ("erspan_idx", "3")], false),
        (
            TunnelKind::Ip6Erspan,
            vec![("key", "5"), ("erspan_ver", "2"), ("erspan_dir", "1"), ("erspan_hwid", "4")],
            true,
        ),
        (TunnelKind::Gtpu, vec![("key", "5")], false),
        (TunnelKind::Srv6, vec![], true),
    ] {
        let (own, far) = if is_v6 { v6 } else { (OWN, FAR) };
        let mut options = options.clone();
        options.push(("remote_ip", far));
        let config = tunnel(kind, &options);
        let mut near = Lab::new(config.clone());
        options.last_mut().unwrap().1 = own;
        let mut remote = Lab::new(tunnel(kind, &options));
        let (own_ip, far_ip) = (own.parse().unwrap(), far.parse().unwrap());
        near.0.bridges.underlay().add_address("br0", OWN_MAC, own_ip, 24);
        near.0.bridges.underlay().set_neighbour("br0", far_ip, FAR_MAC, near.0.now);
        // The other one is the far end.
        remote.0.bridges.underlay().set_device("br0", None);
        remote.0.bridges.configure(OUT, |of| {
            let mut local = of.port(OfPort::LOCAL).unwrap().clone();
            local.hw_addr = FAR_MAC;
            of.port_add(local);
        });
        remote.0.bridges.underlay().add_address("br0", FAR_MAC, far_ip, 24);
        near.host().push(frame());
        near.work();
        let outer = near.uplink().pop().unwrap_or_else(|| panic!("{kind:?}: {}", near.0.dp.ledger()));
        remote.uplink().push(Packet::from_slice(outer.data()));
        remote.work();
        let inner = remote.host().pop().unwrap_or_else(|| panic!("{kind:?}: {}", remote.0.dp.ledger()));
        // What carries no Ethernet header puts one of zeros in its place.
        let from = if matches!(kind, TunnelKind::Gtpu | TunnelKind::Srv6) { 14 } else { 0 };
        assert_eq!(&inner.data()[from..], &frame().data()[from..], "{kind:?}");
        // Who sent is known.
        let known = remote.0.bridges.underlay().read().neighbours().lookup("br0", own_ip, remote.0.now);
        assert_eq!(known, Known::At(OWN_MAC), "{kind:?}");
    }
}
