//! OpenFlow on the wire and in words: messages a second, in three versions.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ovs_ofproto::codec::{FlowStats, FlowStatsReader, FlowStatsReply, Message, PacketIn, PacketInView, Version};
use ovs_ofproto::{FlowMod, Instructions};
use ovs_packet::OfPort;

/// A match of five fields, and three actions.
const FLOW: &str = "table=3,priority=1000,cookie=0x1234,idle_timeout=60,tcp,nw_src=10.0.0.1,nw_dst=10.1.2.3,tp_src=1234,\
                    tp_dst=80,actions=load:0x5->NXM_NX_REG1[],dec_ttl,output:2";

const VERSIONS: [(&str, Version); 3] = [("1.0+NXM", Version::V1_0), ("1.3", Version::V1_3), ("1.5", Version::V1_5)];

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("openflow");
    group.throughput(Throughput::Elements(1));
    group.bench_function("flow_mod parse text", |b| b.iter(|| black_box(FLOW).parse::<FlowMod>().unwrap()));
    let flow: FlowMod = FLOW.parse().unwrap();
    let message = Message::from(flow.clone());
    for (name, version) in VERSIONS {
        let bytes = message.encode(version, 1).unwrap();
        group.bench_function(format!("{name} flow_mod decode"), |b| {
            b.iter(|| Message::decode(black_box(&bytes)).unwrap());
        });
        let mut out = Vec::with_capacity(4096);
        group.bench_function(format!("{name} flow_mod encode"), |b| {
            b.iter(|| {
                out.clear();
                black_box(&message).encode_into(version, 1, &mut out).unwrap();
            });
        });
        let packet = Message::from(PacketIn::new(OfPort(3), vec![0; 64])).encode(version, 1).unwrap();
        group.bench_function(format!("{name} packet_in decode"), |b| {
            b.iter(|| PacketInView::new(black_box(&packet)).unwrap().data.len());
        });
        let mut stats = FlowStats::default();
        stats.matching = flow.matching.clone();
        stats.instructions = Instructions::apply(flow.instructions.apply.clone());
        let page = FlowStatsReply::pages(version, vec![stats; 100]).unwrap().remove(0);
        let bytes = Message::FlowStatsReply(page).encode(version, 1).unwrap();
        group.bench_function(format!("{name} flow_stats of 100 walk"), |b| {
            b.iter(|| FlowStatsReader::new(black_box(&bytes)).unwrap().map(|f| f.unwrap().flow.packets).sum::<u64>());
        });
        group.bench_function(format!("{name} flow_stats of 100 decode"), |b| {
            b.iter(|| Message::decode(black_box(&bytes)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, messages);
criterion_main!(benches);
