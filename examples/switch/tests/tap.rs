//! `Tap` in a private network namespace: the stack on one side, the port on the other.
//!
//! Skipped, with the reason printed, where the process may not make namespaces or the kernel has no TAP devices. These are
//! tests of ovs-dpif; they stand up here because the private network that they need does.

#![cfg(target_os = "linux")]

mod common;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use common::network::{EXPERIMENTAL, LONG, Network, batch, frame, wait_readable};
use ovs_dpif::netdev::{Netdev, NetdevError, Offloads, PacketSocket, Tap, TapKind};
use ovs_packet::packet::L4Checksum;
use ovs_packet::{EthAddr, FlowKey, Match, Packet, PacketBatch, compose, extract};
use ovs_switch::demo::netns::Namespace;
use ovs_switch::demo::traffic;
use ovs_switch::{LiveSwitch, Switch, SwitchConfig};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 100);

fn open(namespace: &Namespace, name: &str) -> Result<Tap, NetdevError> {
    namespace.run(|| Tap::open(name, TapKind::Internal)).unwrap()
}

/// A network whose switch has a port of its host's own, up and with an address.
fn network() -> Option<(Network, Tap)> {
    let network = Network::new()?;
    let tap = match open(&network.switch, "br0") {
        Ok(tap) => tap,
        Err(NetdevError::System { what: "opening /dev/net/tun", source, .. }) => {
            eprintln!("skipped: {source}");
            return None;
        }
        Err(e) => panic!("{e}"),
    };
    let links = network.links(&network.switch);
    links.set_address("br0", EthAddr([2, 0, 0, 0, 0, 100])).unwrap();
    links.add_ip("br0", HOST.into(), 24).unwrap();
    links.set_up("br0").unwrap();
    Some((network, tap))
}

/// Waits for a packet that matches.
fn receive(tap: &mut Tap, wanted: &str) -> Packet {
    let (wanted, end): (Match, _) = (wanted.parse().unwrap(), Instant::now() + LONG);
    loop {
        assert!(Instant::now() < end, "{wanted} does not come");
        let mut batch = PacketBatch::new();
        if tap.receive(&mut batch).unwrap() == 0 {
            wait_readable(&[&*tap]);
        }
        for mut packet in batch {
            let mut key = FlowKey::ZERO;
            extract::extract(&mut packet, &mut key);
            if wanted.matches(&key) {
                return packet;
            }
        }
    }
}

#[test]
fn the_stack_is_the_other_end() {
    let Some((network, mut tap)) = network() else { return };
    assert_eq!((tap.name(), tap.kind(), tap.mtu(), tap.offloads()), ("br0", "internal", 1500, Offloads::ALL));
    let mac = "02:00:00:00:00:99";
    // Answers of the stack, with the checksum of the longer one undone.
    let arp =
        format!("arp,dl_src={mac},arp_sha={mac},dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_spa=10.1.0.9,arp_tpa={HOST}");
    let arp: Match = arp.parse().unwrap();
    tap.send(&mut batch([compose::compose(arp.key(), &[])])).unwrap();
    receive(&mut tap, &format!("arp,arp_op=2,arp_spa={HOST},dl_dst={mac}"));
    let socket = network.switch.run(|| UdpSocket::bind((HOST, 700))).unwrap().unwrap();
    let udp = format!("udp,dl_src={mac},dl_dst=02:00:00:00:00:64,nw_src=10.1.0.9,nw_dst={HOST},tp_src=9,tp_dst=700");
    let udp: Match = udp.parse().unwrap();
    for len in [5, 1400] {
        let sent = compose::compose(udp.key(), &vec![7; len]);
        let before = tap.stats();
        tap.send(&mut batch([sent.clone()])).unwrap();
        assert_eq!(tap.stats().tx_bytes - before.tx_bytes, sent.len() as u64);
        let mut data = [0; 2000];
        let (n, from) = socket.recv_from(&mut data).unwrap();
        assert_eq!((n, from), (len, SocketAddr::from(([10, 1, 0, 9], 9))));
        socket.send_to(&data[..n], from).unwrap();
        let back = receive(&mut tap, "udp,tp_src=700,tp_dst=9");
        assert_eq!(back.len(), sent.len());
        assert_eq!(back.offload.l4, L4Checksum::Partial { start: 34, offset: 6 });
    }
    assert_eq!((tap.stats().rx_dropped, tap.stats().tx_dropped), (0, 0));
}

#[test]
fn segments_pass_whole_between_the_stack_and_a_host() {
    let Some((network, tap)) = network() else { return };
    let p1 = network.switch.run(|| PacketSocket::open("p1")).unwrap().unwrap();
    let mut switch = Switch::new(&SwitchConfig::new("br0").seed(1));
    for port in [Box::new(tap) as Box<dyn Netdev>, Box::new(p1)] {
        switch.add_port(port, Default::default()).unwrap();
    }
    let live = LiveSwitch::start(switch).unwrap();
    let bytes = if cfg!(debug_assertions) { 8 << 20 } else { 1 << 30 };
    for (from, to, address) in
        [(&network.left, &network.switch, HOST), (&network.switch, &network.left, Ipv4Addr::new(10, 1, 0, 1))]
    {
        let to_address = SocketAddr::new(address.into(), 80);
        let report = traffic::tcp_transfer(to, from, to_address, bytes, LONG, &AtomicBool::new(false)).unwrap();
        eprintln!("to {address}: {:.2} Gbit/s", report.bits_per_second() / 1e9);
        assert_eq!((report.bytes, report.intact), (bytes, true));
    }
    let switch = live.stop().unwrap();
    let ledger = switch.ledger();
    assert!(ledger.balanced());
    // Had every segment been a frame, there would be at least this many.
    assert!(ledger.received < 2 * bytes / 1500, "{ledger:?}");
}

#[test]
fn what_the_stack_refuses_does_not_block_the_rest() {
    let Some((network, mut tap)) = network() else { return };
    let mut nonsense = frame(60, &EXPERIMENTAL);
    nonsense.offload.l4 = L4Checksum::Partial { start: 59, offset: 16 };
    let mut far = frame(60, &EXPERIMENTAL);
    far.offload.l4 = L4Checksum::Partial { start: 70_000, offset: 16 };
    let some = [Packet::from_slice(&[0; 13]), Packet::from_slice(&[]), nonsense, far, frame(61, &EXPERIMENTAL)];
    let mut out = batch(some);
    tap.send(&mut out).unwrap();
    assert!(out.is_empty());
    assert_eq!((tap.stats().tx_packets, tap.stats().tx_dropped, tap.stats().tx_bytes), (1, 4, 61));
    // Down, it takes nothing and gives nothing, which is no failure.
    network.links(&network.switch).set_down("br0").unwrap();
    let mut out = batch([frame(60, &EXPERIMENTAL), frame(60, &EXPERIMENTAL)]);
    tap.send(&mut out).unwrap();
    assert_eq!((out.len(), tap.stats().tx_dropped), (0, 6));
    tap.receive(&mut PacketBatch::new()).unwrap();
    network.links(&network.switch).set_up("br0").unwrap();
    tap.send(&mut batch([frame(60, &EXPERIMENTAL)])).unwrap();
    assert_eq!(tap.stats().tx_packets, 2);
}

#[test]
fn it_is_there_for_as_long_as_it_is_to_be() {
    let Some((network, tap)) = network() else { return };
    let links = network.links(&network.switch);
    let busy = open(&network.switch, "br0").unwrap_err().to_string();
    assert_eq!(busy, "interface br0 is in use: another program has the TAP device open");
    let index = links.get("br0").unwrap().index;
    tap.handle().set_persistent(true).unwrap();
    drop(tap);
    // With its address, but nobody behind it.
    let orphan = links.get("br0").unwrap();
    assert_eq!((orphan.index, orphan.up, orphan.carrier), (index, true, false));
    let again = open(&network.switch, "br0").unwrap();
    assert_eq!((again.handle().index(), again.address()), (index, Some(EthAddr([2, 0, 0, 0, 0, 100]))));
    assert!(links.get("br0").unwrap().carrier);
    again.handle().set_persistent(false).unwrap();
    let hold = again.handle();
    drop(again);
    assert!(links.get("br0").is_ok());
    drop(hold);
    assert!(links.get("br0").is_err());
}

#[test]
fn an_interface_that_is_removed_is_an_error() {
    let Some((network, mut tap)) = network() else { return };
    network.links(&network.switch).delete("br0").unwrap();
    let error = tap.receive(&mut PacketBatch::new()).unwrap_err().to_string();
    assert_eq!(error, "there is no interface br0; see: ip link");
    let mut out = batch([frame(60, &EXPERIMENTAL)]);
    assert_eq!(tap.send(&mut out).unwrap_err().to_string(), error);
    assert_eq!((out.len(), tap.fd().is_none()), (1, true));
}

#[test]
fn refusals_say_what_is_wrong_and_what_to_do() {
    let Some((network, _tap)) = network() else { return };
    assert_eq!(
        open(&network.switch, "p1").unwrap_err().to_string(),
        "interface p1 is in use: it is there already, and no TAP device of a switch"
    );
    let refused = network.switch.run(|| {
        set_capabilities(
            None,
            CapabilitySets {
                effective: CapabilitySet::empty(),
                permitted: CapabilitySet::empty(),
                inheritable: CapabilitySet::empty(),
            },
        )
        .unwrap();
        Tap::open("tap0", TapKind::Tap).unwrap_err().to_string()
    });
    assert_eq!(refused.unwrap(), "opening tap0 needs the capability CAP_NET_ADMIN; run as root");
}
