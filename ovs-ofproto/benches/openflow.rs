//! OpenFlow on the wire and in words: messages a second, in three versions, and beside each what upstream's library takes
//! for the very same message (performance.md, row 7: decode 4 times, encode 6 times, text 3 times as fast).
//!
//! The peer's figures are nanoseconds of CPU time at their least of `parse_ofp_flow_mod_str`, `ofputil_encode_flow_mod`,
//! `ofputil_decode_flow_mod`, `ofputil_decode_packet_in` and `ofputil_decode_flow_stats_reply` of a tree of 4.0.90 built
//! with `-O2`, on the machine of performance.md. They read into a place of their caller's: so do those here that say it,
//! and the others give a value to keep, which the peer's caller has yet to make.

use std::hint::black_box;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use ovs_ofproto::codec::{FlowStats, FlowStatsReader, FlowStatsReply, Kind, Message, PacketIn, PacketInView, Version};
use ovs_ofproto::{FlowMod, Instructions};
use ovs_packet::OfPort;

/// A match of five fields, and three actions.
const FLOW: &str = "table=3,priority=1000,cookie=0x1234,idle_timeout=60,tcp,nw_src=10.0.0.1,nw_dst=10.1.2.3,tp_src=1234,\
                    tp_dst=80,actions=load:0x5->NXM_NX_REG1[],dec_ttl,output:2";

/// A version, and what upstream takes in it: to decode, to encode, a packet-in, a hundred flows.
struct Peer {
    name: &'static str,
    version: Version,
    flow_mod: Kind,
    flow_stats: Kind,
    decode: f64,
    encode: f64,
    packet_in: f64,
    flow_stats_of_100: f64,
}

const TEXT: f64 = 1953.0;

const PEERS: [Peer; 3] = [
    Peer {
        name: "1.0+NXM",
        version: Version::V1_0,
        flow_mod: Kind::NxFlowMod,
        flow_stats: Kind::NxStatsFlowReply,
        decode: 363.0,
        encode: 476.0,
        packet_in: 89.0,
        flow_stats_of_100: 30_300.0,
    },
    Peer {
        name: "1.3",
        version: Version::V1_3,
        flow_mod: Kind::FlowMod11,
        flow_stats: Kind::StatsFlowReply13,
        decode: 371.0,
        encode: 476.0,
        packet_in: 150.0,
        flow_stats_of_100: 31_100.0,
    },
    Peer {
        name: "1.5",
        version: Version::V1_5,
        flow_mod: Kind::FlowMod11,
        flow_stats: Kind::StatsFlowReply15,
        decode: 379.0,
        encode: 444.0,
        packet_in: 146.0,
        flow_stats_of_100: 32_000.0,
    },
];

/// CPU time of this thread in nanoseconds.
fn cpu() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

/// Measures `work`, which is so many messages, and says how it stands beside the peer's figure for them.
fn compare(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    messages: u64,
    (peer, goal): (f64, Option<f64>),
    mut work: impl FnMut(),
) {
    group.throughput(Throughput::Elements(messages));
    group.bench_function(name, |b| b.iter(&mut work));
    const TIMES: usize = 1000;
    let least = (0..50).map(|_| {
        let began = cpu();
        (0..TIMES / messages as usize).for_each(|_| work());
        (cpu() - began) / (TIMES / messages as usize) as f64
    });
    let ns = least.fold(f64::MAX, f64::min);
    let goal = goal.map(|goal| format!(" of {goal}")).unwrap_or_default();
    let rate = 1e3 * messages as f64 / ns;
    println!("{name}: {ns:.0} ns of CPU, {rate:.2} M/s, upstream {peer:.0} ns: {:.1} times as fast{goal}", peer / ns);
}

fn messages(c: &mut Criterion) {
    let group = &mut c.benchmark_group("openflow");
    compare(group, "flow_mod parse text", 1, (TEXT, Some(3.0)), || {
        black_box(black_box(FLOW).parse::<FlowMod>().unwrap());
    });
    let flow: FlowMod = FLOW.parse().unwrap();
    let message = Message::from(flow.clone());
    for p in PEERS {
        let (name, version) = (p.name, p.version);
        let bytes = message.encode_as(p.flow_mod, version, 1).unwrap();
        compare(group, &format!("{name} flow_mod decode"), 1, (p.decode, Some(4.0)), || {
            assert!(black_box(&Message::decode(black_box(&bytes))).is_ok());
        });
        let mut place = FlowMod::NEW;
        compare(group, &format!("{name} flow_mod decode into a place"), 1, (p.decode, Some(4.0)), || {
            assert!(place.decode_into(black_box(&bytes)).is_ok());
            black_box(&place);
        });
        compare(group, &format!("{name} flow_mod encode"), 1, (p.encode, Some(6.0)), || {
            black_box(black_box(&message).encode_as(p.flow_mod, version, 1).unwrap());
        });
        let packet = Message::from(PacketIn::new(OfPort(3), vec![0; 64])).encode(version, 1).unwrap();
        compare(group, &format!("{name} packet_in decode"), 1, (p.packet_in, Some(4.0)), || {
            black_box(PacketInView::new(black_box(&packet)).unwrap().data.len());
        });
        let mut stats = FlowStats::default();
        stats.matching = flow.matching.clone();
        stats.instructions = Instructions::apply(flow.instructions.apply.clone());
        let page = FlowStatsReply::pages(version, vec![stats; 100]).unwrap().remove(0);
        let bytes = Message::FlowStatsReply(page).encode_as(p.flow_stats, version, 1).unwrap();
        let flows = || FlowStatsReader::new(black_box(&bytes)).unwrap().map(Result::unwrap);
        // The peer reads a flow whole or not at all.
        compare(group, &format!("{name} flow_stats walk"), 100, (p.flow_stats_of_100, None), || {
            black_box(flows().map(|f| f.flow.packets).sum::<u64>());
        });
        compare(group, &format!("{name} flow_stats walk with matches"), 100, (p.flow_stats_of_100, None), || {
            black_box(flows().filter(|f| f.matching().is_ok()).count());
        });
        let mut place = FlowStats::default();
        compare(
            group,
            &format!("{name} flow_stats decode into a place"),
            100,
            (p.flow_stats_of_100, Some(4.0)),
            || {
                let mut flows = FlowStatsReader::new(black_box(&bytes)).unwrap();
                while let Some(read) = flows.next_into(&mut place) {
                    read.unwrap();
                    black_box(&place);
                }
            },
        );
        compare(group, &format!("{name} flow_stats decode"), 100, (p.flow_stats_of_100, Some(4.0)), || {
            black_box(Message::decode(black_box(&bytes)).unwrap());
        });
    }
}

criterion_group!(benches, messages);
criterion_main!(benches);
