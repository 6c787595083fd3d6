//! Tracking: packets of established connections in random order, and new connections.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;

use std::hint::black_box;

use common::Random;
use criterion::{Criterion, criterion_group, criterion_main};
use ovs_conntrack::{Config, CtRequest, Outcome, Tracker};
use ovs_packet::{FlowKey, Instant, Match, Packet, compose, extract};

const CONNECTIONS: u32 = 100_000;

/// A datagram and its key. As in the peer's bench, checksums are not verified, and the key alone tells packets apart.
fn datagram() -> (Packet, FlowKey) {
    let words = "udp,nw_src=10.0.0.0,nw_dst=10.1.0.1,tp_src=1000,tp_dst=2000";
    let mut packet = compose::compose(words.parse::<Match>().expect("a match").key(), b"");
    let mut key = FlowKey::ZERO;
    extract::extract(&mut packet, &mut key);
    (packet, key)
}

fn of_connection(key: &mut FlowKey, i: u32, reply: bool) {
    let (there, back) = ((0x0a00_0000 + (i >> 12), 1000 + (i & 0xfff) as u16), (0x0a01_0001, 2000));
    let ((src, tp_src), (dst, tp_dst)) = if reply { (back, there) } else { (there, back) };
    (key.nw_src, key.nw_dst) = (src.into(), dst.into());
    (key.tp_src, key.tp_dst) = (tp_src.into(), tp_dst.into());
}

fn config() -> Config {
    Config::new(1).with_verify_checksums(false)
}

fn established(c: &mut Criterion) {
    let ((mut packet, mut key), now) = (datagram(), Instant::from_secs(1));
    let mut tracker = Tracker::new(config());
    for (i, reply) in (0..CONNECTIONS).flat_map(|i| [(i, false), (i, true)]) {
        of_connection(&mut key, i, reply);
        tracker.track(&mut packet, &key, &CtRequest::commit(0), now);
    }
    let mut random = Random(1);
    let request = CtRequest::lookup(0);
    common::measure(c, "conntrack/established_100k", 1024, Some(458.0), || {
        for _ in 0..1024 {
            of_connection(&mut key, random.below(CONNECTIONS.into()) as u32, false);
            let outcome = tracker.track(&mut packet, &key, &request, now);
            debug_assert_eq!(outcome, Outcome::Established);
            black_box(outcome);
        }
    });
}

fn new(c: &mut Criterion) {
    let ((mut packet, mut key), now) = (datagram(), Instant::from_secs(1));
    let request = CtRequest::commit(0);
    common::measure(c, "conntrack/new_100k", CONNECTIONS as usize, Some(607.0), || {
        let mut tracker = Tracker::new(config());
        for i in 0..CONNECTIONS {
            of_connection(&mut key, i, false);
            black_box(tracker.track(&mut packet, &key, &request, now));
        }
    });
}

criterion_group! { name = benches; config = common::criterion(); targets = established, new }
criterion_main!(benches);
