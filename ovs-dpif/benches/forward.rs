//! The whole userspace datapath between two ports in memory: 60-byte frames, 32 at a time.
//!
//! The time includes what the other ends do: a lock for each packet pushed and popped, which the peer's bench has not.
//! Of the peer's figures those for many masks are without its exact-match cache; ours is always on.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;

use common::Random;
use criterion::{Criterion, criterion_group, criterion_main};
use ovs_dpif::netdev::MemPort;
use ovs_dpif::userspace::Datapath;
use ovs_dpif::{DpAction, Dpif, PortNo, PortSpec, always_matched};
use ovs_packet::field::FieldId;
use ovs_packet::packet::BATCH;
use ovs_packet::{FlowKey, Instant, Match, Packet, compose, extract};

/// The key and the frame of flow `i`.
fn frame(i: u64) -> (FlowKey, Packet) {
    let words =
        format!("in_port=1,udp,nw_src=10.0.0.1,nw_dst=11.0.{}.{},tp_src={},tp_dst=53", i >> 8, i & 255, 1000 + i);
    let mut packet = compose::compose(words.parse::<Match>().expect("a match").key(), &[0; 18]);
    let mut key = FlowKey::ZERO;
    extract::extract(&mut packet, &mut key);
    (key, packet)
}

fn forward(c: &mut Criterion) {
    for (flows, masks, name, peer) in
        [(1, 1, "1_flow", 30.0), (1_000, 1, "1k_flows", 55.0), (1_000, 10, "1k_flows_10_masks", 163.0)]
    {
        let mut dp = Datapath::new();
        let (a, sender) = MemPort::new("a", 64);
        let (b, receiver) = MemPort::new("b", 64);
        for port in [a, b] {
            dp.port_add(PortSpec::Device(Box::new(port)), None).expect("a port");
        }
        let mut frames = Vec::new();
        for i in 0..flows {
            let (key, packet) = frame(i);
            let mut mask = always_matched();
            mask.add(FieldId::NwDst);
            mask.bits.tp_src = (0xffff ^ (i % masks) as u16).into();
            dp.flow_put(&key, &mask, &[DpAction::Output(PortNo(2))]).expect("a megaflow");
            frames.push(packet);
        }
        let mut random = Random(1);
        let mut waiting: Vec<Packet> = (0..4096).map(|_| frames[random.below(flows) as usize].clone()).collect();
        let (mut upcalls, now) = (Vec::new(), Instant::from_secs(1));
        common::measure(c, &format!("forward/{name}"), waiting.len(), Some(peer), || {
            // What was received is what is sent next time.
            for batch in waiting.chunks_mut(BATCH) {
                batch.iter_mut().for_each(|packet| {
                    sender.push(std::mem::take(packet));
                });
                dp.poll(now, &mut upcalls);
                batch.iter_mut().for_each(|packet| *packet = receiver.pop().expect("it was forwarded"));
            }
        });
        assert!(upcalls.is_empty() && dp.ledger().balanced() && dp.ledger().dropped_total() == 0);
    }
}

criterion_group! { name = benches; config = common::criterion(); targets = forward }
criterion_main!(benches);
