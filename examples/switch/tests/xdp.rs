//! `XdpSocket` on real veth pairs in private network namespaces.
//!
//! Skipped, with the reason printed, where the process may not make namespaces. These are tests of ovs-dpif; they stand up
//! here because the private network that they need does.

#![cfg(target_os = "linux")]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use common::network::{EXPERIMENTAL, LONG, Network, OURS, batch, frame, receive_ours, wait_readable};
use ovs_dpif::netdev::{Netdev, NetdevError, Offloads, PacketSocket, XdpConfig, XdpMode, XdpSocket};
use ovs_packet::packet::L4Checksum;
use ovs_packet::{EthAddr, FlowKey, Match, Packet, PacketBatch, compose, extract, segment};
use ovs_switch::demo::netns::Namespace;
use ovs_switch::demo::traffic;
use ovs_switch::{LiveSwitch, Switch, SwitchConfig};

/// Another test's child holds all descriptors until it is the program that it is to be: what was closed meanwhile is still
/// there for a moment.
fn open(namespace: &Namespace, name: &str, mode: XdpMode) -> Result<XdpSocket, NetdevError> {
    let end = Instant::now() + LONG;
    loop {
        match open_once(namespace, name, mode) {
            Err(NetdevError::Busy { .. }) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened,
        }
    }
}

fn open_once(namespace: &Namespace, name: &str, mode: XdpMode) -> Result<XdpSocket, NetdevError> {
    namespace.run(|| XdpSocket::open(name, XdpConfig::default().with_mode(mode))).unwrap()
}

fn socket(namespace: &Namespace, name: &str) -> PacketSocket {
    namespace.run(|| PacketSocket::open(name)).unwrap().unwrap()
}

const MODES: [XdpMode; 2] = [XdpMode::Native, XdpMode::Generic];

#[test]
fn frames_go_both_ways_in_each_mode() {
    for mode in MODES {
        for need_wakeup in [true, false] {
            let Some(network) = Network::new() else { return };
            let mut a = socket(&network.left, "eth0");
            let config = XdpConfig::default().with_mode(mode).with_need_wakeup(need_wakeup);
            let mut b = network.switch.run(|| XdpSocket::open("p1", config)).unwrap().unwrap();
            assert_eq!((b.name(), b.kind(), b.mtu(), b.offloads()), ("p1", "afxdp", 1500, Offloads::NONE));
            assert_eq!((b.mode(), b.fallbacks().len()), (mode, 0));
            // More than the rings hold, so that every frame comes round again.
            for round in 0..100 {
                for len in [60, 1514] {
                    let sent = batch((0..32).map(|_| frame(len, &EXPERIMENTAL)));
                    a.send(&mut sent.clone()).unwrap();
                    let there = receive_ours(&mut b, 32);
                    assert!(there.iter().all(|p| p.data() == sent[0].data()), "{mode:?} {round}");
                    let mut back = batch(there);
                    b.send(&mut back).unwrap();
                    assert!(back.is_empty());
                    assert!(receive_ours(&mut a, 32).iter().all(|p| p.data() == sent[0].data()));
                }
            }
            let stats = b.stats();
            assert_eq!((stats.tx_packets, stats.tx_bytes, stats.tx_dropped), (6400, 3200 * (60 + 1514), 0));
            assert!(stats.rx_packets >= 6400);
            assert_eq!(stats.rx_dropped, 0);
        }
    }
}

#[test]
fn the_best_mode_is_chosen_and_the_reason_told() {
    let Some(network) = Network::new() else { return };
    let port = open(&network.switch, "p1", XdpMode::BestEffort).unwrap();
    assert_eq!(port.mode(), XdpMode::Native);
    let [reason] = port.fallbacks() else { panic!("{:?}", port.fallbacks()) };
    assert!(reason.starts_with("native-with-zerocopy: p1: opening an AF_XDP socket: "), "{reason}");
    let refused = open(&network.switch, "p2", XdpMode::NativeZeroCopy).unwrap_err().to_string();
    assert!(refused.starts_with("p2: opening an AF_XDP socket: "), "{refused}");
    // What was tried has left nothing behind.
    assert_eq!(open(&network.switch, "p2", XdpMode::Generic).unwrap().mode(), XdpMode::Generic);
}

#[test]
fn a_second_program_is_refused() {
    let Some(network) = Network::new() else { return };
    let port = open(&network.switch, "p1", XdpMode::Native).unwrap();
    let refused = open_once(&network.switch, "p1", XdpMode::Native).unwrap_err().to_string();
    assert_eq!(refused, "interface p1 is in use: it has an XDP program; to remove it: ip link set p1 xdp off");
    drop(port);
    assert!(open(&network.switch, "p1", XdpMode::Native).is_ok());
}

#[test]
fn refusals_say_what_is_wrong_and_what_to_do() {
    let Some(network) = Network::new() else { return };
    let refusal = |name| open(&network.switch, name, XdpMode::Native).unwrap_err().to_string();
    assert_eq!(refusal("p9"), "there is no interface p9; see: ip link");
    assert_eq!(refusal("lo"), "interface lo is not Ethernet (ARP hardware type 772)");
    network.links(&network.switch).set_mtu("p1", 9000).unwrap();
    assert_eq!(refusal("p1"), "p1: opening AF_XDP sockets: AF_XDP needs an MTU of at most 3818, and it is 9000");
    // A larger frame for a larger MTU.
    for links in [network.links(&network.switch), network.links(&network.left)] {
        links.set_mtu(if links.get("p1").is_ok() { "p1" } else { "eth0" }, 3000).unwrap();
    }
    let (mut a, mut b) = (socket(&network.left, "eth0"), open(&network.switch, "p1", XdpMode::Native).unwrap());
    let sent = frame(3014, &EXPERIMENTAL);
    b.send(&mut batch([sent.clone()])).unwrap();
    assert_eq!(receive_ours(&mut a, 1)[0].data(), sent.data());
    a.send(&mut batch([sent.clone()])).unwrap();
    assert_eq!(receive_ours(&mut b, 1)[0].data(), sent.data());
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let Some(network) = Network::new() else { return };
    let (mut a, mut b) = (socket(&network.left, "eth0"), open(&network.switch, "p1", XdpMode::Native).unwrap());
    let mut out = batch([
        frame(1523, &EXPERIMENTAL),
        frame(60, &EXPERIMENTAL),
        Packet::from_slice(&[0; 13]),
        Packet::from_slice(&[]),
        frame(9000, &EXPERIMENTAL),
        frame(61, &EXPERIMENTAL),
    ]);
    b.send(&mut out).unwrap();
    assert!(out.is_empty());
    assert_eq!(receive_ours(&mut a, 2).iter().map(Packet::len).collect::<Vec<_>>(), [60, 61]);
    assert_eq!((b.stats().tx_packets, b.stats().tx_dropped, b.stats().tx_bytes), (2, 4, 121));
    // More than there is room for: the rest is counted once the rings are full.
    for _ in 0..200 {
        a.send(&mut batch((0..32).map(|_| frame(60, &EXPERIMENTAL)))).unwrap();
    }
    for _ in 0..100 {
        wait_readable(&[&b]);
    }
    let mut in_batch = PacketBatch::new();
    let mut received = 0;
    while b.receive(&mut in_batch).unwrap() > 0 {
        received += in_batch.drain(..).filter(|p| p.data()[6..12] == OURS).count() as u64;
    }
    assert!(received < 6400 && received + b.stats().rx_dropped >= 6400, "{received} {:?}", b.stats());
}

#[test]
fn an_interface_that_is_removed_is_an_error() {
    let Some(network) = Network::new() else { return };
    let mut b = open(&network.switch, "p1", XdpMode::Native).unwrap();
    network.links(&network.switch).delete("p1").unwrap();
    let mut out = batch([frame(60, &EXPERIMENTAL)]);
    let error = (0..100).find_map(|_| {
        let sent = b.send(&mut out).err();
        out = batch([frame(60, &EXPERIMENTAL)]);
        sent.or_else(|| b.receive(&mut PacketBatch::new()).err())
    });
    assert_eq!(error.unwrap().to_string(), "there is no interface p1; see: ip link");
    assert!(b.receive(&mut PacketBatch::new()).is_err());
    let _ = b.stats();
}

/// The kernel's stack leaves checksums undone on a veth pair: they come in marked so, and those that are whole do not.
#[test]
fn work_that_is_left_is_seen() {
    for mode in MODES {
        let Some(network) = Network::new() else { return };
        let (mut a, mut b) = (socket(&network.left, "eth0"), open(&network.switch, "p1", mode).unwrap());
        let m: Match =
            format!("tcp,nw_src=10.1.0.1,nw_dst=10.1.0.9,tp_dst=80,dl_src={}", EthAddr(OURS)).parse().unwrap();
        let whole = compose::compose(m.key(), &[5; 50]);
        let mut partial = whole.clone();
        extract::extract(&mut partial, &mut FlowKey::ZERO.clone());
        segment::make_partial(&mut partial);
        a.send(&mut batch([partial, whole])).unwrap();
        let received = receive_ours(&mut b, 2);
        assert_eq!(received[0].offload.l4, L4Checksum::Partial { start: 34, offset: 16 }, "{mode:?}");
        assert_eq!(received[1].offload.l4, L4Checksum::Unknown, "{mode:?}");
    }
}

/// A transfer between two stacks, neither of which was told to do its checksums itself, through a whole switch.
fn transfer(network: &Network, ports: [Box<dyn Netdev>; 2]) {
    let mut switch = Switch::new(&SwitchConfig::new("br0").seed(1));
    for port in ports {
        switch.add_port(port, Default::default()).unwrap();
    }
    let live = LiveSwitch::start(switch).unwrap();
    let bytes = if cfg!(debug_assertions) { 8 << 20 } else { 1 << 30 };
    for to in ["10.1.0.2:80", "[fd00::2]:80"] {
        let to: SocketAddr = to.parse().unwrap();
        let report =
            traffic::tcp_transfer(&network.right, &network.left, to, bytes, LONG, &AtomicBool::new(false)).unwrap();
        eprintln!("to {to}: {bytes} bytes, {:.2} Gbit/s", report.bits_per_second() / 1e9);
        assert_eq!((report.bytes, report.intact), (bytes, true));
    }
    let ping = network.left.run(|| traffic::ping([10, 1, 0, 2].into(), 3, Duration::ZERO, LONG)).unwrap().unwrap();
    assert_eq!((ping.sent, ping.received), (3, 3));
    assert!(live.stop().unwrap().ledger().balanced());
}

#[test]
fn tcp_passes_between_two_of_them() {
    let Some(network) = Network::new() else { return };
    let port = |name| Box::new(open(&network.switch, name, XdpMode::BestEffort).unwrap());
    transfer(&network, [port("p1"), port("p2")]);
}

#[test]
fn tcp_passes_between_one_of_them_and_a_packet_socket() {
    let Some(network) = Network::new() else { return };
    let xdp = open(&network.switch, "p1", XdpMode::BestEffort).unwrap();
    let socket = socket(&network.switch, "p2");
    transfer(&network, [Box::new(xdp), Box::new(socket)]);
}

/// A tag that a stack puts on stands in the packet's metadata, not in the frame, until somebody needs it there.
#[test]
fn a_tag_of_the_stack_is_in_the_frame() {
    for mode in MODES {
        let Some(network) = Network::new() else { return };
        let ip = |args: &str| {
            let mut command = std::process::Command::new("ip");
            command.args(args.split(' '));
            network.left.run(|| command.status()).unwrap().is_ok_and(|status| status.success())
        };
        if !ip("link add link eth0 name v7 type vlan id 7") {
            return eprintln!("skipped: no VLAN devices");
        }
        assert!(ip("addr add 10.7.0.1/24 dev v7") && ip("link set v7 up"));
        let mut b = open(&network.switch, "p1", mode).unwrap();
        let sender = network.left.run(|| std::net::UdpSocket::bind("10.7.0.1:0")).unwrap().unwrap();
        let _ = sender.send_to(b"who has it", "10.7.0.9:9");
        let end = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < end);
            wait_readable(&[&b]);
            let mut batch = PacketBatch::new();
            b.receive(&mut batch).unwrap();
            // ARP for 10.7.0.9, tagged.
            if batch.iter().any(|p| p.data().get(12..18) == Some(&[0x81, 0, 0, 7, 8, 6])) {
                break;
            }
            assert!(!batch.iter().any(|p| p.data().get(12..14) == Some(&[8, 6])), "{mode:?}: the tag is lost");
        }
    }
}
