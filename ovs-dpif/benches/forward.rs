//! The whole userspace datapath between two ports in memory: 60-byte frames, 32 at a time.
//!
//! What the second port sends is what the first one receives next, as in the peer's measurement: no packet is made or
//! freed meanwhile. The figures include moving the packets out of the first port and into the second.
//! Of the peer's figures those for many masks are without its exact-match cache; ours is always on.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;
mod ring;

use std::sync::Mutex;

use common::Random;
use criterion::{Criterion, criterion_group, criterion_main};
use ovs_dpif::userspace::{Datapath, Limits};
use ovs_dpif::{DpAction, Dpif, PortNo, PortSpec, always_matched};
use ovs_packet::field::FieldId;
use ovs_packet::packet::BATCH;
use ovs_packet::{FlowKey, Instant, Match, Packet, compose, extract};
use ring::{Batches, Ring};

/// The key and the frame of flow `i`.
fn frame(i: u64) -> (FlowKey, Packet) {
    let (a, b, c) = (i >> 16, i >> 8 & 255, i & 255);
    let port = 1000 + i % 60_000;
    let words = format!("in_port=1,udp,nw_src=10.0.0.1,nw_dst=11.{a}.{b}.{c},tp_src={port},tp_dst=53");
    let mut packet = compose::compose(words.parse::<Match>().expect("a match").key(), &[0; 18]);
    let mut key = FlowKey::ZERO;
    extract::extract(&mut packet, &mut key);
    (key, packet)
}

/// What the process has in memory, in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|s| s.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// A datapath with megaflows of some masks, and frames for them.
fn datapath(flows: u64, masks: u64) -> (Datapath, Vec<Packet>) {
    let mut dp = Datapath::with_limits(Limits::default(), 1);
    let mut frames = Vec::new();
    let mut keys = Vec::new();
    for i in 0..flows {
        let (key, packet) = frame(i);
        frames.push(packet);
        keys.push(key);
    }
    let before = resident();
    for (i, key) in keys.iter().enumerate() {
        let mut mask = always_matched();
        mask.add(FieldId::NwDst);
        mask.bits.tp_src = (0xffff ^ (i as u64 % masks) as u16).into();
        dp.flow_put(key, &mask, &[DpAction::Output(PortNo(2))]).expect("a megaflow");
    }
    if flows >= 100_000 {
        let each = (resident() - before) / flows;
        println!("a megaflow takes {each} bytes, all told; limit 700, peer 2100 to 3500");
    }
    (dp, frames)
}

/// Adds megaflows as a tuple space explosion makes them, around the frame of flow 0, and that one's own.
fn explode(dp: &mut Datapath) {
    let (key, _) = frame(0);
    let prefix = |bits: u32| u32::MAX << (32 - bits);
    let mut put = |flip: (u32, u32, u32), bits: (u32, u32, u32), actions: &[DpAction]| {
        let mut key = key;
        key.nw_src = (key.nw_src.get() ^ flip.0).into();
        key.tp_src = (key.tp_src.get() ^ flip.1 as u16).into();
        key.tp_dst = (key.tp_dst.get() ^ flip.2 as u16).into();
        let mut mask = always_matched();
        mask.add(FieldId::NwProto);
        mask.bits.nw_src = prefix(bits.0).into();
        mask.bits.tp_src = ((prefix(bits.1) >> 16) as u16).into();
        mask.bits.tp_dst = ((prefix(bits.2) >> 16) as u16).into();
        dp.flow_put(&key, &mask, actions).expect("a megaflow");
    };
    for (i, j, k) in (0..32).flat_map(|i| (0..16).flat_map(move |j| (0..16).map(move |k| (i, j, k)))) {
        put((1 << (31 - i), 1 << (15 - j), 1 << (15 - k)), (i + 1, j + 1, k + 1), &[]);
    }
    put((0, 0, 0), (32, 16, 16), &[DpAction::Output(PortNo(2))]);
}

/// What an explosion on port 1 leaves to a victim there, and to one on another port, of a thousand flows each.
fn attack(c: &mut Criterion) {
    const FLOWS: u64 = 1000;
    for (name, victim, goal) in [("same_port", 1, 80), ("other_port", 5, 95)] {
        let [before, under] = [false, true].map(|attacked| {
            let mut dp = Datapath::with_limits(Limits::default(), 1);
            let mut frames = Vec::new();
            for i in 0..FLOWS {
                let (mut key, packet) = frame(i);
                key.in_port.set(victim);
                let mut mask = always_matched();
                [FieldId::NwProto, FieldId::NwDst, FieldId::UdpSrc].iter().for_each(|field| mask.add(*field));
                dp.flow_put(&key, &mask, &[DpAction::Output(PortNo(2))]).expect("a megaflow");
                frames.push(packet);
            }
            if attacked {
                explode(&mut dp);
            }
            let mut random = Random(1);
            let mut batch = || (0..BATCH).map(|_| frames[random.below(FLOWS) as usize].clone()).collect();
            let batches = Batches::new(Mutex::new((0..FLOWS.div_ceil(32)).map(|_| batch()).collect()));
            for (name, source, port) in [("a", true, victim), ("b", false, 2)] {
                let ring = Ring::new(name, &batches, source);
                dp.port_add(PortSpec::Device(Box::new(ring)), Some(PortNo(port))).expect("a port");
            }
            let (mut upcalls, now) = (Vec::new(), Instant::from_secs(1));
            let name = format!("attack/{name}/{}", if attacked { "under" } else { "before" });
            let cost = common::measure(c, &name, 32 * BATCH, None, || {
                (0..32).for_each(|_| {
                    dp.poll(now, &mut upcalls);
                });
            });
            assert!(upcalls.is_empty() && dp.ledger().balanced() && dp.ledger().dropped_total() == 0);
            if attacked {
                assert!(dp.stats().expect("statistics").masks > 8000);
            }
            cost
        });
        println!("attack/{name}: {:.0} % of the throughput left; goal {goal} %", 100.0 * before / under);
    }
}

fn forward(c: &mut Criterion) {
    for (flows, masks, name, peer) in [
        (1, 1, "1_flow", 30.0),
        (1_000, 1, "1k_flows", 55.0),
        (8_000, 1, "8k_flows", 91.0),
        (1_000, 10, "1k_flows_10_masks", 163.0),
        (1_000, 50, "1k_flows_50_masks", 652.0),
        (100_000, 10, "100k_flows_10_masks", 370.0),
        (1, 8192, "8192_hostile_masks", 75_000.0),
    ] {
        let (mut dp, frames) = if masks == 8192 {
            (Datapath::with_limits(Limits::default(), 1), vec![frame(0).1])
        } else {
            datapath(flows, masks)
        };
        if masks == 8192 {
            explode(&mut dp);
        }
        let mut random = Random(1);
        let mut batch = || (0..BATCH).map(|_| frames[random.below(flows) as usize].clone()).collect();
        let batches = Batches::new(Mutex::new((0..flows.div_ceil(32).max(2)).map(|_| batch()).collect()));
        for (name, source) in [("a", true), ("b", false)] {
            let ring = Ring::new(name, &batches, source);
            dp.port_add(PortSpec::Device(Box::new(ring)), None).expect("a port");
        }
        let (mut upcalls, now) = (Vec::new(), Instant::from_secs(1));
        common::measure(c, &format!("forward/{name}"), 32 * BATCH, Some(peer), || {
            (0..32).for_each(|_| {
                dp.poll(now, &mut upcalls);
            });
        });
        assert!(upcalls.is_empty() && dp.ledger().balanced() && dp.ledger().dropped_total() == 0);
    }
}

criterion_group! { name = benches; config = common::criterion(); targets = forward, attack }
criterion_main!(benches);
