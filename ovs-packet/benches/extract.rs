//! Extraction: classes of packets one by one, hot; and a stream of all of them.

mod common;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ovs_packet::extract::KeyBuffer;
use ovs_packet::{Match, Packet, compose};

/// Classes with what the peer needs for one, in nanoseconds, where that was measured.
const CLASSES: &[(&str, &str, Option<f64>)] = &[
    ("udp4", "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=5000,tp_dst=53", Some(12.4)),
    ("tcp4", "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=5000,tp_dst=80,tcp_flags=+ack", Some(12.5)),
    ("vlan_tcp4", "dl_vlan=5,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=5000,tp_dst=80", Some(14.7)),
    ("udp6", "udp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_src=5000,tp_dst=53", Some(13.6)),
    ("arp", "arp,arp_op=1,arp_spa=10.0.0.1,arp_tpa=10.0.0.2", Some(10.4)),
    ("tcp6", "tcp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_src=5000,tp_dst=80", None),
    ("icmp4", "icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2,icmp_type=8,icmp_code=0", None),
    ("fragment4", "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_frag=later", None),
    ("nd", "icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::2,nd_sll=02:00:00:00:00:01", None),
    ("mpls", "mpls,mpls_label=5,mpls_bos=1,mpls_ttl=64", None),
];

fn packet(words: &str) -> Packet {
    compose::compose(words.parse::<Match>().expect("a match").key(), &[0x5a; 18])
}

fn extract(c: &mut Criterion) {
    for (name, words, peer) in CLASSES {
        let (mut packet, mut buffer) = (packet(words), KeyBuffer::default());
        common::measure(c, &format!("extract/{name}"), 1, *peer, || {
            black_box(buffer.extract(black_box(&mut packet)));
        });
    }
    let mut random = common::Random(1);
    let mut stream: Vec<Packet> =
        (0..256).map(|_| packet(CLASSES[random.below(CLASSES.len() as u64) as usize].1)).collect();
    let mut buffer = KeyBuffer::default();
    common::measure(c, "extract/mixed_256", stream.len(), None, || {
        for packet in &mut stream {
            black_box(buffer.extract(black_box(packet)));
        }
    });
}

criterion_group! { name = benches; config = common::criterion(); targets = extract }
criterion_main!(benches);
