//! Connection tracking as a switch uses it, end to end: `ct, recirc`, then `ct(commit), output`.
//!
//! 60-byte UDP frames between two ports in memory, 32 at a time, their checksums verified. Each packet is read and looked
//! up twice, and tracked twice. Those of live connections come in random order; the new ones are each of a connection
//! of its own, of which there are a million when all are flushed.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;
mod ring;

use std::sync::Mutex;

use common::Random;
use criterion::{Criterion, criterion_group, criterion_main};
use ovs_conntrack::CtRequest;
use ovs_dpif::connections::Filter;
use ovs_dpif::userspace::{Datapath, Limits};
use ovs_dpif::{DpAction, Dpif, PortNo, PortSpec, always_matched};
use ovs_packet::packet::BATCH;
use ovs_packet::{FlowKey, Instant, Match, Packet, PacketBatch, compose, extract};
use ring::{Batches, Ring};

const NOW: Instant = Instant::from_secs(1);

/// The frame of connection `i`.
fn frame(i: u64) -> Packet {
    let (a, b, c) = (i >> 16, i >> 8 & 255, i & 255);
    let words = format!("udp,nw_src=10.{a}.{b}.{c},nw_dst=11.0.0.1,tp_src=1000,tp_dst=53");
    compose::compose(words.parse::<Match>().expect("a match").key(), &[0; 18])
}

/// A datapath whose two megaflows are the pipeline, and whose ports are these.
fn datapath(batches: impl Iterator<Item = PacketBatch>) -> Datapath {
    let mut dp = Datapath::with_limits(Limits::default(), 1);
    let batches = Batches::new(Mutex::new(batches.collect()));
    for (name, source) in [("a", true), ("b", false)] {
        let ring = Ring::new(name, &batches, source);
        dp.port_add(PortSpec::Device(Box::new(ring)), None).expect("a port");
    }
    let mut key = FlowKey::ZERO;
    let mut packet = frame(0);
    packet.meta.in_port = 1;
    extract::extract(&mut packet, &mut key);
    let first = [DpAction::Ct(CtRequest::lookup(1)), DpAction::Recirc(1)];
    dp.flow_put(&key, &always_matched(), &first).expect("a megaflow");
    key.recirc_id.set(1);
    let then = [DpAction::Ct(CtRequest::commit(1)), DpAction::Output(PortNo(2))];
    dp.flow_put(&key, &always_matched(), &then).expect("a megaflow");
    dp
}

fn polled(dp: &mut Datapath, times: u64) {
    let mut upcalls = Vec::new();
    (0..times).for_each(|_| {
        dp.poll(NOW, &mut upcalls);
    });
    assert!(upcalls.is_empty() && dp.ledger().balanced() && dp.ledger().dropped_total() == 0);
}

fn live(c: &mut Criterion) {
    for (name, connections, peer, goal) in
        [("1k", 1_000u64, 208.0, 3), ("100k", 100_000, 470.0, 4), ("1000k", 1_000_000, 624.0, 4)]
    {
        let mut order: Vec<u64> = (0..connections).collect();
        let mut random = Random(1);
        (1..order.len()).rev().for_each(|i| order.swap(i, random.below(i as u64 + 1) as usize));
        let batches = order.chunks(BATCH).map(|batch| batch.iter().map(|i| frame(*i)).collect());
        let rounds = connections.div_ceil(BATCH as u64);
        let mut dp = datapath(batches);
        polled(&mut dp, rounds);
        println!("ct_pipeline/{name}: goal {goal}x");
        common::measure(c, &format!("ct_pipeline/{name}"), 32 * BATCH, Some(peer), || polled(&mut dp, 32));
        assert_eq!(dp.connection_count() as u64, connections);
    }
}

fn new(c: &mut Criterion) {
    let connections = 1_000_000u64;
    let batches = (0..connections / BATCH as u64).map(|b| (0..BATCH as u64).map(|i| frame(b * 32 + i)).collect());
    let mut dp = datapath(batches);
    println!("ct_pipeline/new: goal 4x");
    common::measure(c, "ct_pipeline/new", connections as usize, Some(1327.0), || {
        Dpif::conntrack(&mut dp).expect("it tracks").flush(&Filter::default(), NOW).expect("flushed");
        polled(&mut dp, connections / BATCH as u64);
    });
}

criterion_group! { name = benches; config = common::criterion(); targets = live, new }
criterion_main!(benches);
