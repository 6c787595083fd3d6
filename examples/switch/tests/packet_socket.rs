//! `PacketSocket` on real veth pairs in private network namespaces.
//!
//! ```text
//!   left namespace            switch namespace             right namespace
//!   eth0 10.1.0.1 ─────────── p1   (forwarder)   p2 ─────────── eth0 10.1.0.2
//! ```
//!
//! Skipped, with the reason printed, where the process may not make namespaces. These are tests of ovs-dpif; they stand up
//! here because the private network that they need does.

#![cfg(target_os = "linux")]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::network::{EXPERIMENTAL, LONG, Network, OURS, batch, frame, receive_ours, wait_readable};
use ovs_dpif::netdev::{Netdev, NetdevError, Offloads, PacketSocket, PacketSockets};
use ovs_packet::packet::{Gso, GsoKind, L4Checksum};
use ovs_packet::{EthAddr, FlowKey, Packet, PacketBatch, compose, edit, extract, segment};
use ovs_switch::demo::netns::Namespace;
use ovs_switch::demo::traffic;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// Both ends of the left link.
fn left_link(network: &Network) -> (PacketSocket, PacketSocket) {
    (open(&network.left, "eth0").unwrap(), open(&network.switch, "p1").unwrap())
}

fn open(namespace: &Namespace, name: &str) -> Result<PacketSocket, NetdevError> {
    namespace.run(|| PacketSocket::open(name)).unwrap()
}

#[test]
fn frames_go_both_ways() {
    let Some(network) = Network::new() else { return };
    let (mut a, mut b) = left_link(&network);
    assert_eq!((b.name(), b.kind(), b.mtu(), b.offloads()), ("p1", "system", 1500, Offloads::ALL));
    assert_eq!(a.address(), Some(EthAddr([2, 0, 0, 0, 0, 1])));
    for len in [14, 60, 1514] {
        let sent = batch((0..32).map(|_| frame(len, &EXPERIMENTAL)));
        let mut out = sent.clone();
        a.send(&mut out).unwrap();
        assert!(out.is_empty());
        let there = receive_ours(&mut b, 32);
        assert!(there.iter().all(|p| p.data() == sent[0].data()), "{there:?}");
        b.send(&mut batch(there)).unwrap();
        assert!(receive_ours(&mut a, 32).iter().all(|p| p.data() == sent[0].data()));
    }
    assert_eq!((a.stats().tx_packets, a.stats().tx_bytes, a.stats().tx_dropped), (96, 32 * (14 + 60 + 1514), 0));
    assert!(b.stats().rx_packets >= 96 && b.stats().rx_bytes >= a.stats().tx_bytes);
    assert_eq!(b.stats().rx_dropped, 0);
}

#[test]
fn frames_are_fanned_out_to_queues_by_connection() {
    let Some(network) = Network::new() else { return };
    let mut a = open(&network.left, "eth0").unwrap();
    let mut b = network.switch.run(|| PacketSockets::open("p1", 2)).unwrap().unwrap();
    let mut other = b.another().unwrap();
    assert_eq!((b.queues(), other.queues(), b.shown_options()), (2, 2, vec![("n_rxq", "2".to_string())]));
    let udp = |port: u16| {
        let words = format!("udp,dl_dst=02:00:00:00:00:99,nw_src=10.9.0.1,nw_dst=10.9.0.2,tp_src={port},tp_dst=9999");
        compose::compose(words.parse::<ovs_packet::Match>().unwrap().key(), b"queued")
    };
    // What came by a queue, of these.
    let take = |port: &mut dyn Netdev, queue, got: &mut Vec<u16>| {
        let mut batch = PacketBatch::new();
        while port.receive_queue(queue, &mut batch).unwrap() > 0 {
            let ours = batch.drain(..).filter(|p| p.data().get(36..38) == Some(&9999u16.to_be_bytes()));
            got.extend(ours.map(|p| u16::from_be_bytes([p.data()[34], p.data()[35]])));
        }
    };
    for _ in 0..2 {
        for ports in (1..=64).collect::<Vec<_>>().chunks(32) {
            a.send(&mut batch(ports.iter().map(|port| udp(*port)))).unwrap();
        }
    }
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let end = Instant::now() + LONG;
    while first.len() + second.len() < 128 && Instant::now() < end {
        wait_readable(&[&b, other.as_ref()]);
        take(&mut b, 0, &mut first);
        take(other.as_mut(), 1, &mut second);
    }
    first.sort_unstable();
    second.sort_unstable();
    let twice = |all: &[u16]| all.chunks(2).all(|two| two.len() == 2 && two[0] == two[1]);
    assert!(first.len() > 8 && second.len() > 8 && first.len() + second.len() == 128, "{first:?} {second:?}");
    assert!(twice(&first) && twice(&second), "a connection is in one queue");
    assert!(b.stats().rx_packets >= 128 && b.stats() == other.stats());
    for port in [&mut b as &mut dyn Netdev, other.as_mut()] {
        port.send(&mut batch([frame(60, &EXPERIMENTAL)])).unwrap();
    }
    assert_eq!(receive_ours(&mut a, 2).len(), 2);
}

#[test]
fn tags_come_in_with_their_frame() {
    let Some(network) = Network::new() else { return };
    let (mut a, mut b) = left_link(&network);
    let tagged = [
        frame(64, &[0x81, 0, 0x60, 7, 0x88, 0xb5]),
        frame(1518, &[0x81, 0, 0, 1, 0x88, 0xb5]),
        frame(68, &[0x88, 0xa8, 0x0f, 0xfe, 0x81, 0, 0x30, 9, 0x88, 0xb5]),
        // A priority tag has VLAN 0; the drop-eligible bit stays.
        frame(64, &[0x81, 0, 0xf0, 0, 0x88, 0xb5]),
    ];
    a.send(&mut batch(tagged.clone())).unwrap();
    for (sent, received) in tagged.iter().zip(receive_ours(&mut b, 4)) {
        assert_eq!(sent.data(), received.data());
    }
}

#[test]
fn what_the_kernel_refuses_does_not_block_the_rest() {
    let Some(network) = Network::new() else { return };
    let (mut a, mut b) = left_link(&network);
    let mut nonsense = frame(60, &EXPERIMENTAL);
    nonsense.offload.l4 = L4Checksum::Partial { start: 59, offset: 16 };
    let mut far = frame(60, &EXPERIMENTAL);
    far.offload.l4 = L4Checksum::Partial { start: 70_000, offset: 16 };
    let mut out = batch([
        frame(1515, &EXPERIMENTAL),
        frame(60, &EXPERIMENTAL),
        frame(9000, &EXPERIMENTAL),
        Packet::from_slice(&[0; 13]),
        Packet::from_slice(&[]),
        nonsense,
        far,
        frame(61, &EXPERIMENTAL),
    ]);
    a.send(&mut out).unwrap();
    assert!(out.is_empty());
    assert_eq!(receive_ours(&mut b, 2).iter().map(Packet::len).collect::<Vec<_>>(), [60, 61]);
    let stats = a.stats();
    assert_eq!((stats.tx_packets, stats.tx_dropped, stats.tx_bytes), (2, 6, 121));
}

#[test]
fn work_that_is_left_reaches_the_other_end() {
    let Some(network) = Network::new() else { return };
    let (mut a, mut b) = left_link(&network);
    let cases = [
        ("tcp,nw_src=10.1.0.1,nw_dst=10.1.0.9,tp_dst=80", GsoKind::TcpV4, true, (34, 16)),
        ("tcp6,ipv6_src=fd00::1,ipv6_dst=fd00::9,tp_dst=80", GsoKind::TcpV6, false, (54, 16)),
        ("udp,nw_src=10.1.0.1,nw_dst=10.1.0.9,tp_dst=80", GsoKind::Udp, false, (34, 6)),
    ];
    for (text, kind, ecn, (start, offset)) in cases {
        let m: ovs_packet::Match = format!("{text},dl_src={}", EthAddr(OURS)).parse().unwrap();
        let mut big = compose::compose(m.key(), &[5; 5000]);
        extract::extract(&mut big, &mut FlowKey::ZERO.clone());
        big.offload.gso = Some(Gso { kind, size: 1400, ecn });
        let mut plain = compose::compose(m.key(), &[5; 50]);
        plain.offload.l4 = L4Checksum::Good;
        a.send(&mut batch([big.clone(), plain])).unwrap();
        let received = receive_ours(&mut b, 2);
        assert_eq!(received[0].len(), big.len());
        assert_eq!(received[0].offload.gso, big.offload.gso);
        assert_eq!(received[0].offload.l4, L4Checksum::Partial { start, offset });
        assert_eq!(received[1].offload.gso, None);
        assert!(!matches!(received[1].offload.l4, L4Checksum::Partial { .. }));
    }
}

#[test]
fn frames_that_find_no_room_are_counted() {
    let Some(network) = Network::new() else { return };
    let (mut a, b) = left_link(&network);
    for _ in 0..1000 {
        a.send(&mut batch((0..32).map(|_| frame(1514, &EXPERIMENTAL)))).unwrap();
    }
    let dropped = b.stats().rx_dropped;
    assert!(dropped > 0);
    // The kernel counts anew after each question, we go on; frames of its own may have come meanwhile.
    assert!(b.stats().rx_dropped >= dropped);
}

#[test]
fn an_interface_may_go_down_and_come_back() {
    let Some(network) = Network::new() else { return };
    let (mut a, mut b) = left_link(&network);
    let links = network.links(&network.switch);
    links.set_down("p1").unwrap();
    let mut in_batch = PacketBatch::new();
    let error = (0..100).find_map(|_| b.receive(&mut in_batch).err()).unwrap();
    assert_eq!(error.to_string(), "p1: receiving: Network is down (os error 100)");
    let mut out = batch([frame(60, &EXPERIMENTAL)]);
    assert_eq!(b.send(&mut out).unwrap_err().to_string(), "p1: sending: Network is down (os error 100)");
    assert_eq!(out.len(), 1);
    links.set_up("p1").unwrap();
    b.send(&mut out).unwrap();
    receive_ours(&mut a, 1);
    // What is sent before the kernel has dealt with the other end's carrier is lost: asked for it, it does.
    assert!(network.links(&network.left).get("eth0").unwrap().carrier);
    a.send(&mut batch([frame(60, &EXPERIMENTAL)])).unwrap();
    receive_ours(&mut b, 1);
}

#[test]
fn an_interface_that_is_removed_is_an_error() {
    let Some(network) = Network::new() else { return };
    let (mut a, mut b) = left_link(&network);
    network.links(&network.switch).delete("p1").unwrap();
    for port in [&mut a, &mut b] {
        let mut in_batch = PacketBatch::new();
        let error = (0..100).find_map(|_| port.receive(&mut in_batch).err()).unwrap();
        assert!(matches!(error, NetdevError::NoSuchInterface { .. }), "{error}");
        // And again, though the kernel says it only once.
        in_batch.clear();
        assert!(port.receive(&mut in_batch).is_err());
        let mut out = batch([frame(60, &EXPERIMENTAL)]);
        let error = port.send(&mut out).unwrap_err();
        assert_eq!(error.to_string(), format!("there is no interface {}; see: ip link", port.name()));
        assert_eq!(out.len(), 1);
        let _ = port.stats();
    }
    // Whoever sends first is told too.
    let mut c = open(&network.right, "eth0").unwrap();
    network.links(&network.right).delete("eth0").unwrap();
    assert!(c.send(&mut batch([frame(60, &EXPERIMENTAL)])).is_err());
    assert!(matches!(c.receive(&mut PacketBatch::new()), Err(NetdevError::NoSuchInterface { .. })));
}

#[test]
fn opening_brings_an_interface_up() {
    let Some(network) = Network::new() else { return };
    let links = network.links(&network.switch);
    links.set_down("p1").unwrap();
    let port = open(&network.switch, "p1").unwrap();
    assert!(links.get("p1").unwrap().up);
    drop(port);
    assert!(links.get("p1").unwrap().up);
}

#[test]
fn refusals_say_what_is_wrong_and_what_to_do() {
    let Some(network) = Network::new() else { return };
    let refusal = |name| open(&network.switch, name).unwrap_err().to_string();
    assert_eq!(refusal("p9"), "there is no interface p9; see: ip link");
    assert_eq!(refusal(""), "there is no interface ; see: ip link");
    assert_eq!(refusal("a-name-of-18-bytes"), "there is no interface a-name-of-18-bytes; see: ip link");
    assert_eq!(refusal("lo"), "interface lo is not Ethernet (ARP hardware type 772)");
    let links = network.links(&network.switch);
    match links.add_bridge("br0") {
        Err(e) => eprintln!("no kernel bridge to try: {e}"),
        Ok(()) => {
            links.set_bridge("p1", Some("br0")).unwrap();
            assert_eq!(
                refusal("p1"),
                "interface p1 is in use: it is a port of bridge br0; to release it: ip link set p1 nomaster"
            );
            links.set_bridge("p1", None).unwrap();
            assert!(open(&network.switch, "p1").is_ok());
        }
    }
    links.set_down("p1").unwrap();
    let refusal_with = |keep| {
        let open = move || {
            keep_capabilities(keep);
            PacketSocket::open("p1").unwrap_err().to_string()
        };
        network.switch.run(open).unwrap()
    };
    assert_eq!(refusal_with(CapabilitySet::empty()), "opening p1 needs the capability CAP_NET_RAW; run as root");
    assert_eq!(
        refusal_with(CapabilitySet::NET_RAW),
        "p1: bringing it up (ip link set up): Operation not permitted (os error 1)"
    );
}

/// Takes all other capabilities from the calling thread.
fn keep_capabilities(keep: CapabilitySet) {
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).unwrap();
}

/// How packets pass through the switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Passing {
    /// As they are, with their work undone.
    Offloaded,
    /// With all their work done by our code.
    Finished,
}

/// What becomes of the tags of packets that pass from one port to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tag {
    Keep,
    Push,
    Pop,
}

/// What the forwarder saw.
#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    packets: u64,
    /// Packets longer than an Ethernet frame, to be segmented.
    gso: u64,
    /// Those of them with a VLAN tag.
    gso_tagged: u64,
    /// The longest packet.
    longest: usize,
    partial: u64,
    sent: u64,
    /// Packets that were not taken.
    lost: u64,
}

impl Seen {
    fn forward(&mut self, from: &mut PacketSocket, to: &mut PacketSocket, tag: Tag, passing: Passing) {
        let mut batch = PacketBatch::new();
        from.receive(&mut batch).unwrap();
        for packet in &mut batch {
            let tagged = packet.data()[12..14] == [0x81, 0];
            self.packets += 1;
            self.longest = self.longest.max(packet.len());
            let gso = packet.len() > 1514 && packet.offload.gso.is_some();
            self.gso += u64::from(gso);
            self.gso_tagged += u64::from(gso && tagged);
            self.partial += u64::from(matches!(packet.offload.l4, L4Checksum::Partial { .. }));
            match tag {
                Tag::Keep => {}
                Tag::Push => edit::push_vlan(packet, 0x8100, 0x6007),
                // The kernel's own frames on the trunk have none.
                Tag::Pop => edit::pop_vlan(packet),
            }
        }
        match passing {
            Passing::Offloaded => self.send(to, batch),
            Passing::Finished => {
                let mut out = PacketBatch::new();
                for mut packet in batch {
                    extract::extract(&mut packet, &mut FlowKey::ZERO.clone());
                    for part in segment::finish(packet) {
                        assert!(part.len() <= 1518 && part.offload.gso.is_none());
                        assert!(!matches!(part.offload.l4, L4Checksum::Partial { .. }));
                        out.push(part);
                        if out.is_full() {
                            self.send(to, std::mem::take(&mut out));
                        }
                    }
                }
                self.send(to, out);
            }
        }
    }

    fn send(&mut self, to: &mut PacketSocket, mut batch: PacketBatch) {
        self.sent += batch.len() as u64;
        to.send(&mut batch).unwrap();
        self.lost += batch.len() as u64;
    }
}

/// Runs `traffic` while a forwarder passes packets between two ports: those from the first to the second change their
/// tags as `there` says, those from the second to the first as `back` does.
fn forwarded<R>(
    network: &Network,
    (first, there, second, back): (&str, Tag, &str, Tag),
    passing: Passing,
    traffic: impl FnOnce() -> R,
) -> (R, Seen) {
    let (mut p, mut q) = (open(&network.switch, first).unwrap(), open(&network.switch, second).unwrap());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let forwarder = scope.spawn(|| {
            let mut seen = Seen::default();
            while !over.load(Ordering::Relaxed) {
                wait_readable(&[&p, &q]);
                seen.forward(&mut p, &mut q, there, passing);
                seen.forward(&mut q, &mut p, back, passing);
            }
            eprintln!("{passing:?} {first}-{second}: {seen:?}\n  {first} {:?}\n  {second} {:?}", p.stats(), q.stats());
            seen
        });
        let result = traffic();
        over.store(true, Ordering::Relaxed);
        (result, forwarder.join().unwrap())
    })
}

fn through_the_switch<R>(network: &Network, passing: Passing, traffic: impl FnOnce() -> R) -> (R, Seen) {
    forwarded(network, ("p1", Tag::Keep, "p2", Tag::Keep), passing, traffic)
}

/// A transfer from left to right, which has to arrive intact.
fn transfer(network: &Network, what: &str, to: &str) {
    let bytes = if cfg!(debug_assertions) { 64 << 20 } else { 1 << 30 };
    let to: SocketAddr = to.parse().unwrap();
    let report =
        traffic::tcp_transfer(&network.right, &network.left, to, bytes, LONG, &AtomicBool::new(false)).unwrap();
    eprintln!("{what} to {to}: {bytes} bytes, {:.2} Gbit/s", report.bits_per_second() / 1e9);
    assert_eq!((report.bytes, report.intact), (bytes, true));
}

/// A transfer through the switch, to which packets come with offloads as the kernel set them.
fn transfer_through_the_switch(network: &Network, passing: Passing, to: &str) {
    let ((), seen) = through_the_switch(network, passing, || transfer(network, &format!("{passing:?}"), to));
    assert!(seen.gso > 0 && seen.partial > 0 && seen.longest > 1518, "{seen:?}");
}

#[test]
fn tcp_passes_with_its_work_undone() {
    let Some(network) = Network::new() else { return };
    transfer_through_the_switch(&network, Passing::Offloaded, "10.1.0.2:80");
    transfer_through_the_switch(&network, Passing::Offloaded, "[fd00::2]:80");
}

#[test]
fn tcp_passes_with_its_work_done_in_software() {
    let Some(network) = Network::new() else { return };
    transfer_through_the_switch(&network, Passing::Finished, "10.1.0.2:80");
    transfer_through_the_switch(&network, Passing::Finished, "[fd00::2]:80");
}

/// Two switches with a trunk between them: the one tags what goes onto it, the other takes the tag off.
#[test]
fn tagged_tcp_passes_over_a_trunk() {
    for passing in [Passing::Offloaded, Passing::Finished] {
        let Some(network) = Network::new() else { return };
        let links = network.links(&network.switch);
        links.add_veth("t1", &network.switch, "t2").unwrap();
        let near = ("p1", Tag::Push, "t1", Tag::Pop);
        let far = ("t2", Tag::Pop, "p2", Tag::Push);
        // The near one passes packets on as they are in any case: so the trunk's far end sees large ones with a tag.
        let (((), far), near) = forwarded(&network, near, Passing::Offloaded, || {
            forwarded(&network, far, passing, || {
                transfer(&network, &format!("{passing:?} over a trunk"), "10.1.0.2:80")
            })
        });
        assert!(near.gso > 0 && far.gso_tagged > 0, "{near:?} {far:?}");
    }
}

/// For the ratio, printed beside the others: the kernel's own bridge in the switch's place.
#[test]
fn tcp_passes_a_bridge_of_the_kernel() {
    let Some(network) = Network::new() else { return };
    let links = network.links(&network.switch);
    if let Err(e) = links.add_bridge("br0") {
        return eprintln!("skipped: {e}");
    }
    for link in ["p1", "p2"] {
        links.set_bridge(link, Some("br0")).unwrap();
    }
    links.set_up("br0").unwrap();
    transfer(&network, "kernel bridge", "10.1.0.2:80");
}

#[test]
fn ping_passes() {
    let Some(network) = Network::new() else { return };
    let (report, seen) = through_the_switch(&network, Passing::Offloaded, || {
        network.left.run(|| traffic::ping([10, 1, 0, 2].into(), 5, Duration::ZERO, LONG)).unwrap().unwrap()
    });
    assert_eq!((report.sent, report.received), (5, 5));
    assert!(seen.packets >= 10);
    eprintln!("round trips: {:?}", report.rtts);
}
