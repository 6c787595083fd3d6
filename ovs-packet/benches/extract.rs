//! Extraction: classes of packets one by one, hot; streams of them; and with the hash of the tuple on top.

mod common;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ovs_packet::extract::{Extractor, KeyBuffer};
use ovs_packet::packet::{BATCH, CtState, OriginalTuple, Tunnel, TunnelAddresses};
use ovs_packet::{Match, Packet, compose, hash};

const TCP4: &str = "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=5000,tp_dst=80,tcp_flags=+ack";
const UDP4: &str = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=5000,tp_dst=53";
const TCP6: &str = "tcp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_src=5000,tp_dst=80,tcp_flags=+ack";
const UDP6: &str = "udp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_src=5000,tp_dst=53";

/// What the peer needs for classes that were not measured one by one: between this and 25.
const OTHERS: f64 = 10.0;

/// The peer's 5-tuple hash: between this and 6.
const PEER_HASH: f64 = 1.1;

fn packet(words: &str) -> Packet {
    compose::compose(words.parse::<Match>().expect("a match").key(), &[0x5a; 18])
}

/// A packet with `insert` at byte `at`.
fn with(packet: Packet, at: usize, insert: &[u8]) -> Packet {
    let mut bytes = packet.data().to_vec();
    bytes.splice(at..at, insert.iter().copied());
    Packet::from_slice(&bytes)
}

/// A packet of IPv6 with hop-by-hop options and a destination header before its transport.
fn extended() -> Packet {
    let headers = [60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0];
    let mut bytes = with(packet(TCP6), 54, &headers).data().to_vec();
    (bytes[19], bytes[20]) = (bytes[19] + 16, 0);
    Packet::from_slice(&bytes)
}

fn tunnelled(words: &str) -> Packet {
    let addresses = TunnelAddresses::V4 { src: [192, 0, 2, 1].into(), dst: [192, 0, 2, 2].into() };
    let mut packet = packet(words);
    packet.tunnel = Some(Box::new(Tunnel { id: 5000, ttl: 64, tp_dst: 4789, ..Tunnel::new(addresses) }));
    packet
}

fn tracked() -> Packet {
    let mut packet = packet(TCP4);
    let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    packet.meta.recirc_id = 1;
    packet.meta.ct.state = CtState::TRACKED | CtState::ESTABLISHED;
    packet.meta.ct.original = Some(OriginalTuple::V4 { src, dst, proto: 6, tp_src: 5000, tp_dst: 80 });
    packet
}

/// The classes, each with what the peer needs in nanoseconds.
fn classes() -> Vec<(&'static str, Packet, f64)> {
    let tag = [0x81, 0, 0, 5];
    let tags = [0x88, 0xa8, 0, 5, 0x81, 0, 0, 6];
    vec![
        ("udp4", packet(UDP4), 12.4),
        ("tcp4", packet(TCP4), 12.5),
        ("vlan_tcp4", with(packet(TCP4), 12, &tag), 14.7),
        ("vlan_udp4", with(packet(UDP4), 12, &tag), 14.7),
        ("udp6", packet(UDP6), 13.6),
        ("tcp6", packet(TCP6), 13.6),
        ("vlan_tcp6", with(packet(TCP6), 12, &tag), 13.6),
        ("vlan_udp6", with(packet(UDP6), 12, &tag), 13.6),
        ("arp", packet("arp,arp_op=1,arp_spa=10.0.0.1,arp_tpa=10.0.0.2"), 10.4),
        ("icmp4", packet("icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2,icmp_type=8,icmp_code=0"), OTHERS),
        ("icmp6", packet("icmp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,icmp_type=128,icmp_code=0"), OTHERS),
        ("nd", packet("icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::2,nd_sll=02:00:00:00:00:01"), OTHERS),
        ("sctp4", packet("sctp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=5,tp_dst=6"), OTHERS),
        ("igmp", packet("ip,nw_proto=2,nw_src=10.0.0.1,nw_dst=224.0.0.5"), OTHERS),
        ("fragment4_first", packet("udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_frag=first"), OTHERS),
        ("fragment4_later", packet("udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_frag=later"), OTHERS),
        ("fragment6_later", packet("ipv6,nw_proto=44,ipv6_src=fe80::1,nw_frag=later"), OTHERS),
        ("extended_tcp6", extended(), OTHERS),
        ("qinq_tcp4", with(packet(TCP4), 12, &tags), OTHERS),
        ("snap", with(packet("dl_type=0x05ff"), 14, &[0xaa, 0xaa, 3, 0, 0, 0, 0x88, 0xcc]), OTHERS),
        ("mpls", packet("mpls,mpls_label=5,mpls_bos=1,mpls_ttl=64"), OTHERS),
        ("nsh", with(packet("dl_type=0x894f"), 14, &[0x0f, 0xc6, 1, 3, 0, 0, 5, 255]), OTHERS),
        ("tracked_tcp4", tracked(), OTHERS),
        ("tunnelled_tcp4", tunnelled(TCP4), OTHERS),
        ("tunnelled_udp6", tunnelled(UDP6), OTHERS),
    ]
}

fn extract(c: &mut Criterion) {
    for (name, mut packet, peer) in classes() {
        let mut buffer = KeyBuffer::default();
        common::measure(c, &format!("extract/{name}"), 1, Some(peer), || {
            black_box(buffer.extract(black_box(&mut packet)));
        });
    }
    let mut random = common::Random(1);
    let mut choose = |from: usize| (0..256).map(|_| random.below(from as u64) as usize).collect::<Vec<_>>();
    let all = classes();
    // The first eight are TCP and UDP; the others come in between as they are.
    for (name, of) in [("mixed_256_tcp_udp", 8), ("mixed_256_all", all.len())] {
        let mut stream: Vec<Packet> = choose(of).into_iter().map(|i| all[i].1.clone()).collect();
        let mut buffers = vec![KeyBuffer::default(); BATCH];
        common::measure(c, &format!("extract/{name}"), stream.len(), Some(OTHERS), || {
            for batch in stream.chunks_mut(BATCH) {
                Extractor::new().extract_batch(black_box(batch), &mut buffers);
            }
        });
    }
    // More than any cache holds.
    let mut cold: Vec<Packet> = (0..400).flat_map(|_| choose(8)).map(|i| all[i].1.clone()).collect();
    let mut buffers = vec![KeyBuffer::default(); BATCH];
    common::measure(c, "extract/cold_102400_tcp_udp", cold.len(), None, || {
        for batch in cold.chunks_mut(BATCH) {
            Extractor::new().extract_batch(black_box(batch), &mut buffers);
        }
    });
}

fn tuple(c: &mut Criterion) {
    for (name, words) in [("tcp4", TCP4), ("udp6", UDP6)] {
        let (mut packet, mut buffer) = (packet(words), KeyBuffer::default());
        let alone = common::measure(c, &format!("five_tuple/{name}_extract_alone"), 1, None, || {
            black_box(buffer.extract(black_box(&mut packet)));
        });
        let both = common::measure(c, &format!("five_tuple/{name}_extract_and_hash"), 1, None, || {
            buffer.extract(black_box(&mut packet));
            black_box(hash::five_tuple(buffer.key(), 1));
        });
        if both.is_finite() {
            println!("five_tuple/{name}: {:.1} ns on top; peer {PEER_HASH} to 6 ns", both - alone);
        }
    }
}

criterion_group! { name = benches; config = common::criterion(); targets = extract, tuple }
criterion_main!(benches);
