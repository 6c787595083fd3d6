//! Connection tracking as a switch uses it, end to end: `ct, recirc`, then `ct(commit), output`.
//!
//! 60-byte UDP frames between two ports in memory, 32 at a time, their checksums verified. Each packet is tracked twice.
//! Those of live connections come in random order; the new ones are each of a connection of its own, of which there are a
//! million when all are flushed.
//!
//! As in the peer's measurement, the port that sends gives its buffers back to the one that receives, which writes the
//! next frames to them: what is new to the processor's caches is what is kept of the connections. "card" has as many buffers
//! as a card's ring, and "stored" one for each connection, as if all of a million frames were read from a file.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;
mod ring;

use std::sync::{Arc, Mutex};

use common::{Random, is_asked_for};
use criterion::{Criterion, criterion_group, criterion_main};
use ovs_conntrack::CtRequest;
use ovs_dpif::connections::Filter;
use ovs_dpif::netdev::{Netdev, NetdevError, Polling};
use ovs_dpif::userspace::{Datapath, Limits};
use ovs_dpif::{DpAction, Dpif, PortNo, PortSpec, always_matched};
use ovs_packet::packet::BATCH;
use ovs_packet::{FlowKey, Instant, Match, Packet, PacketBatch, checksum, compose, extract};
use ring::{Batches, Ring};

const NOW: Instant = Instant::from_secs(1);

/// Batches of buffers that go round: as in the bench of forwarding.
const FEW: u64 = 2;

/// As many as a card has.
const MANY: u64 = 32;

/// The frame of connection `i`.
fn frame(i: u32) -> Packet {
    let words = format!("udp,nw_src=10.{}.{}.{},nw_dst=11.0.0.1,tp_src=1000,tp_dst=53", i >> 16, i >> 8 & 255, i & 255);
    compose::compose(words.parse::<Match>().expect("a match").key(), &[0; 18])
}

/// What differs from one frame to another: the IPv4 header's checksum and source address, and UDP's checksum.
type Stamp = [u8; 8];

fn stamp(i: u64, template: &Packet) -> Stamp {
    let (old, new) = (&template.data()[26..30], (10 << 24 | i as u32).to_be_bytes());
    let sum = |at: usize| {
        let sum = u16::from_be_bytes([template.data()[at], template.data()[at + 1]]);
        checksum::update(sum, old, &new).to_be_bytes()
    };
    let ([i0, i1], [u0, u1]) = (sum(24), sum(40));
    let [a, b, c, d] = new;
    [i0, i1, a, b, c, d, u0, u1]
}

/// A port that writes frames, one connection's after another's, to buffers that come back.
#[derive(Debug)]
struct Source {
    batches: Batches,
    frames: Arc<[Stamp]>,
    next: usize,
}

impl Netdev for Source {
    fn name(&self) -> &str {
        "a"
    }

    fn kind(&self) -> &'static str {
        "bench"
    }

    fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        *batch = self.batches.lock().expect("no panic").pop_front().unwrap_or_default();
        for packet in batch.iter_mut() {
            packet.forget();
            let frame = self.frames[self.next];
            self.next = if self.next + 1 < self.frames.len() { self.next + 1 } else { 0 };
            let data = packet.data_mut();
            data[24..30].copy_from_slice(&frame[..6]);
            data[40..42].copy_from_slice(&frame[6..]);
        }
        Ok(batch.len())
    }

    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        batch.clear();
        Ok(())
    }

    fn polling(&self) -> Polling {
        Polling::Either
    }
}

/// A datapath whose two megaflows are the pipeline, and that is passed frames of these connections in so many batches of
/// buffers.
fn datapath(connections: impl Iterator<Item = u64>, buffers: u64) -> Datapath {
    let mut dp = Datapath::with_limits(Limits::default(), 1);
    let connections: Vec<u64> = connections.collect();
    let template = frame(0);
    let frames: Arc<[Stamp]> = connections.iter().map(|i| stamp(*i, &template)).collect();
    let most = connections.len().div_ceil(BATCH) as u64;
    let (kept, stored) = (buffers.min(most), buffers >= most);
    let batch = |_| (0..BATCH).map(|_| template.clone()).collect::<PacketBatch>();
    let batches = Batches::new(Mutex::new((0..kept).map(batch).collect()));
    let mut source = Source { batches: batches.clone(), frames, next: 0 };
    let source: Box<dyn Netdev> = match stored {
        false => Box::new(source),
        true => {
            for _ in 0..kept {
                let mut batch = PacketBatch::new();
                source.receive(&mut batch).expect("a batch");
                batches.lock().expect("no panic").push_back(batch);
            }
            Box::new(Ring::new("a", &batches, true))
        }
    };
    for device in [source, Box::new(Ring::new("b", &batches, false))] {
        dp.port_add(PortSpec::Device(device), None).expect("a port");
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

#[inline(never)]
fn polled(dp: &mut Datapath, times: u64) {
    let mut upcalls = Vec::new();
    (0..times).for_each(|_| {
        dp.poll(NOW, &mut upcalls);
    });
    assert!(upcalls.is_empty() && dp.ledger().balanced() && dp.ledger().dropped_total() == 0);
}

fn live(c: &mut Criterion) {
    for (name, connections, buffers, peer, goal) in [
        ("ct_pipeline/1k", 1024u64, FEW, 208.0, 3),
        ("ct_pipeline/100k", 100_000, FEW, 470.0, 4),
        ("ct_pipeline/1000k", 1_000_000, FEW, 624.0, 4),
        ("ct_pipeline/card_1k", 1024, MANY, 208.0, 3),
        ("ct_pipeline/card_100k", 100_000, MANY, 470.0, 4),
        ("ct_pipeline/card_1000k", 1_000_000, MANY, 624.0, 4),
        ("ct_pipeline/stored_100k", 100_000, u64::MAX, 470.0, 4),
        ("ct_pipeline/stored_1000k", 1_000_000, u64::MAX, 624.0, 4),
    ] {
        if !is_asked_for(name) {
            continue;
        }
        let mut order: Vec<u64> = (0..connections).collect();
        let mut random = Random(1);
        (1..order.len()).rev().for_each(|i| order.swap(i, random.below(i as u64 + 1) as usize));
        let mut dp = datapath(order.into_iter(), buffers);
        polled(&mut dp, connections.div_ceil(BATCH as u64));
        println!("{name}: goal {goal}x");
        common::measure(c, name, 32 * BATCH, Some(peer), || polled(&mut dp, 32));
        assert_eq!(dp.connection_count() as u64, connections);
    }
}

fn new(c: &mut Criterion) {
    let (name, connections) = ("ct_pipeline/new", 1_000_000u64);
    if !is_asked_for(name) {
        return;
    }
    let mut dp = datapath(0..connections, FEW);
    println!("{name}: goal 4x");
    common::measure(c, name, connections as usize, Some(1327.0), || {
        Dpif::conntrack(&mut dp).expect("it tracks").flush(&Filter::default(), NOW).expect("flushed");
        polled(&mut dp, connections / BATCH as u64);
    });
}

criterion_group! { name = benches; config = common::criterion(); targets = live, new }
criterion_main!(benches);
