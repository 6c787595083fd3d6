//! What deciding on packets costs, in CPU time of the thread, against what upstream's daemon takes for the same
//! (performance.md, rows 9 and 9b: an upcall with translation and installation 6.0 us by one table, 8.5 us by 25; of each
//! megaflow 1.1 us to read its counters and 7 us to decide on it anew; after a change of one rule, as much for all). The
//! peer's 25 tables have 40 flows each that no packet meets, for other metadata; those of the third line have one, for
//! another protocol.
//! Fewer megaflows for a first look: `cargo bench --bench translation -- 20000`.

use std::time::Duration;

use ovs_dpif::netdev::{MemPort, MemPortPeer};
use ovs_dpif::userspace::Datapath;
use ovs_dpif::{Dpif, PortNo, PortSpec};
use ovs_ofproto::FlowModCommand::{Add, ModifyStrict};
use ovs_ofproto::codec::{Message, Version};
use ovs_ofproto::pipeline::{ConnectionConfig, Ofproto, Port};
use ovs_ofproto::text::Parser;
use ovs_packet::{Instant, Match, OfPort, Packet, compose};

/// CPU time of this thread.
fn cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn timed(f: impl FnOnce()) -> Duration {
    let start = cpu();
    f();
    cpu() - start
}

struct Lab {
    of: Ofproto,
    dp: Datapath,
    end: MemPortPeer,
    now: Instant,
}

/// What tables have beside the flow that leads to the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// A flow for another protocol.
    Protocol,
    /// As the peer's have it, 40 flows to prefixes for other metadata.
    Metadata,
}

impl Lab {
    fn new(tables: u8, beside: Beside) -> Lab {
        let (mut of, mut dp) = (Ofproto::new(), Datapath::new());
        of.set_flow_limit(1_000_000);
        let (port, end) = MemPort::new("p1", 256);
        for (n, port) in [(1, port), (2, MemPort::new("p2", 1).0)] {
            let number = dp.port_add(PortSpec::Device(Box::new(port)), Some(PortNo(n))).expect("a port");
            of.port_add(Port::new(OfPort(n), number, format!("p{n}")));
        }
        let mut lab = Lab { of, dp, end, now: Instant::from_secs(1) };
        for t in 1..tables {
            lab.add(&format!("table={},priority=5,ip,actions=resubmit(,{t})", t - 1));
            match beside {
                Beside::Protocol => lab.add(&format!("table={},priority=9,tcp,tp_dst={t},actions=drop", t - 1)),
                Beside::Metadata => (1..=40).for_each(|n| {
                    let flow = format!("priority=9,metadata={n},ip,nw_dst=10.{n}.{t}.0/24,actions=drop");
                    lab.add(&format!("table={},{flow}", t - 1));
                }),
            }
        }
        lab.add(&format!("table={},ip,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG0[],output:2", tables - 1));
        lab
    }

    fn add(&mut self, flow: &str) {
        let fm = Parser::default().flow_mod(flow, Add).expect("a flow");
        self.of.flow_mod(&mut self.dp, &fm, self.now).expect("room");
    }

    /// Has packets to as many addresses decided on; the time that this alone took.
    fn fill(&mut self, megaflows: u32) -> Duration {
        let words =
            "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_ttl=64,tp_src=5,tp_dst=53";
        let m: Match = words.parse().expect("a match");
        let (mut took, mut upcalls, mut n) = (Duration::ZERO, Vec::new(), 0);
        while n < megaflows {
            for _ in 0..128.min(megaflows - n) {
                let mut key = m.key();
                key.nw_dst = (0x0b00_0000 + n).into();
                let packet: Packet = compose::compose(&key, b"x");
                self.end.push(packet);
                n += 1;
            }
            while self.dp.poll(self.now, &mut upcalls) > 0 {}
            took += timed(|| {
                upcalls.drain(..).for_each(|u| self.of.handle_upcall(&mut self.dp, u, self.now));
            });
        }
        took
    }
}

fn line(what: &str, each: Duration, peer: f64) {
    let us = each.as_nanos() as f64 / 1000.0;
    println!("{what:<58} {us:>8.3} us   {:>6.1} times upstream", peer / us);
}

fn main() {
    let megaflows: u32 = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(200_000);
    for (tables, beside, peer) in [(1, Beside::Protocol, 6.0), (25, Beside::Metadata, 8.5), (25, Beside::Protocol, 8.5)]
    {
        let mut lab = Lab::new(tables, beside);
        let took = lab.fill(megaflows);
        let flows = lab.dp.stats().expect("counters").flows as u32;
        let rules = lab.of.flow_count();
        line(&format!("upcall, all of it; {tables} tables, {rules} rules, {flows} megaflows"), took / megaflows, peer);
        if tables == 1 || beside == Beside::Metadata {
            continue;
        }
        let memory = lab.of.megaflow_memory();
        println!(
            "{:>60} bytes a megaflow, beside the datapath's: {} steps, {} shapes",
            memory.bytes / memory.megaflows.max(1),
            memory.steps,
            memory.shapes
        );
        // Counters that all have news.
        lab.now += Duration::from_millis(600);
        let took = timed(|| lab.of.run(&mut lab.dp, lab.now));
        line("counters read, each megaflow", took / flows, 1.1);
        one_rule(&mut lab, flows);
        let before = lab.of.revalidated();
        let took = timed(|| {
            lab.add("table=23,priority=40000,ip,nw_proto=17,actions=resubmit(,24)");
            lab.of.synchronise(&mut lab.dp, lab.now);
        });
        let looked = (lab.of.revalidated() - before).max(1) as u32;
        line(&format!("decided anew ({looked})"), took / looked, 7.0);
    }
    barriers(16_000);
}

/// Changes of one rule that concern one megaflow, of which the first finds nothing sorted.
fn one_rule(lab: &mut Lab, flows: u32) {
    for what in ["first", "second", "third"] {
        let before = lab.of.revalidated();
        let took =
            timed(|| lab.add(&format!("table=24,priority=40000,ip,nw_dst=11.0.0.{},actions=output:1", what.len())));
        let looked = lab.of.revalidated() - before;
        let ratio = 7.0 * f64::from(flows) / (took.as_nanos() as f64 / 1000.0);
        println!(
            "{:<58} {:>8} us   {ratio:>6.0} times upstream ({looked} of {flows} looked into)",
            format!("{what} change of one rule, all of it"),
            took.as_micros()
        );
    }
}

/// How long flow-mods with a barrier take while so many megaflows end with the rule that they change; and the first packet
/// behind each.
fn barriers(megaflows: u32) {
    let mut lab = Lab::new(2, Beside::Protocol);
    lab.fill(megaflows);
    let controller = lab.of.connect(&ConnectionConfig::new(Version::V1_3));
    let barrier = Message::BarrierRequest.encode(Version::V1_3, 1).expect("a message");
    let changes = [1, 2].map(|port| {
        let flow = format!("table=1,ip,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG0[],output:{port}");
        let fm = Parser::default().flow_mod(&flow, ModifyStrict).expect("a flow");
        Message::from(fm).encode(Version::V1_3, 2).expect("a message")
    });
    let mut took: Vec<_> = (0..2000)
        .map(|n| {
            // What is left to do is done in rounds between changes, as a daemon does.
            lab.of.run(&mut lab.dp, lab.now);
            timed(|| {
                for m in [&changes[n % 2], &barrier] {
                    lab.of.handle_message(&mut lab.dp, controller, m, lab.now).expect("room");
                }
                while lab.of.poll_output(&mut lab.dp, controller, lab.now).is_some() {}
            })
        })
        .collect();
    took.sort_unstable();
    let (median, p99, worst) = (took[1000], took[1980], took[1999]);
    println!(
        "flow-mod and barrier, {megaflows} megaflows in doubt: median {} us, p99 {} us (limit 5000), worst {} us",
        median.as_micros(),
        p99.as_micros(),
        worst.as_micros()
    );
}
