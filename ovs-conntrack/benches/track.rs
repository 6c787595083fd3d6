//! Rows 6 to 6d of the goals: established connections at random, new ones, the peer's own two benches, two threads.
//!
//! The peer's figures are of its connection tracker alone, packets extracted; so are these. `goal` is what the house
//! asks for. Ports and addresses are written into the keys of packets that stay the same, as the peer's bench does:
//! their checksums are verified where the peer's bench has them verified, in "stock" and "zones".

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Instant as Clock;

use common::{Random, measure};
use criterion::{Criterion, criterion_group, criterion_main};
use ovs_conntrack::{Config, CtRequest, Nat, NatRange, SharedTracker, Tracker};
use ovs_packet::packet::BATCH;
use ovs_packet::{FlowKey, Instant, Match, Packet, compose, extract};

const NOW: Instant = Instant::from_secs(1);

/// Packets with their keys.
struct Batch {
    packets: Vec<Packet>,
    keys: Vec<FlowKey>,
}

impl Batch {
    fn new(text: &str, n: usize) -> Batch {
        let mut packet = compose::compose(text.parse::<Match>().expect("a match").key(), b"");
        let mut key = FlowKey::ZERO;
        extract::extract(&mut packet, &mut key);
        Batch { packets: vec![packet; n], keys: vec![key; n] }
    }

    fn udp() -> Batch {
        Batch::new("udp,nw_src=10.0.0.0,nw_dst=10.1.0.1,tp_src=1000,tp_dst=2000", BATCH)
    }

    fn tcp(flags: &str) -> Batch {
        Batch::new(&format!("tcp,nw_src=10.0.0.0,nw_dst=10.1.0.1,tp_src=1000,tp_dst=2000,tcp_flags={flags}"), BATCH)
    }

    /// Makes packets of these connections, from the first on as many as there are.
    fn aim(&mut self, connections: impl Iterator<Item = u32>, reply: bool) -> usize {
        let mut n = 0;
        for (key, i) in self.keys.iter_mut().zip(connections) {
            let (there, back) = ((0x0a00_0000 + (i >> 12), 1000 + (i & 0xfff) as u16), (0x0a01_0001, 2000));
            let ((src, tp_src), (dst, tp_dst)) = if reply { (back, there) } else { (there, back) };
            (key.nw_src, key.nw_dst) = (src.into(), dst.into());
            (key.tp_src, key.tp_dst) = (tp_src.into(), tp_dst.into());
            n += 1;
        }
        n
    }

    fn track(&mut self, tracker: &mut Tracker, n: usize, request: &CtRequest) {
        let batch = self.packets.iter_mut().zip(&self.keys).take(n);
        black_box(tracker.track_batch(batch, request, NOW));
    }

    fn share(&mut self, tracker: &SharedTracker, n: usize, request: &CtRequest) {
        let batch = self.packets.iter_mut().zip(&self.keys).take(n);
        black_box(tracker.track_batch(batch, request, NOW));
    }
}

fn unverified() -> Config {
    Config::new(1).with_verify_checksums(false)
}

/// All connections `0..n`, opened and, unless `once`, answered.
fn fill(tracker: &mut Tracker, n: u32, there: &mut Batch, back: Option<&mut Batch>, request: &CtRequest) {
    let mut back = back;
    for from in (0..n).step_by(BATCH) {
        let count = there.aim(from..n, false);
        there.track(tracker, count, request);
        if let Some(back) = &mut back {
            let count = back.aim(from..n, true);
            back.track(tracker, count, &CtRequest::lookup(0));
        }
    }
}

fn goal(name: &str, goal: f64) {
    println!("{name}: goal {goal} ns");
}

fn established(c: &mut Criterion) {
    let request = CtRequest::lookup(0);
    for (n, peer, wanted) in [(100_000, 458.0, 75.0), (1_000_000, 560.0, 110.0)] {
        for tcp in [false, true] {
            let name = format!("conntrack/established_{}_{}k", if tcp { "tcp" } else { "udp" }, n / 1000);
            let (mut open, mut answer, mut batch) = match tcp {
                false => (Batch::udp(), Batch::udp(), Batch::udp()),
                true => (Batch::tcp("syn"), Batch::tcp("syn|ack"), Batch::tcp("ack")),
            };
            let mut tracker = Tracker::new(unverified());
            fill(&mut tracker, n, &mut open, Some(&mut answer), &CtRequest::commit(0));
            println!("{name}: {:.1} bytes a connection", tracker.memory() as f64 / f64::from(n));
            goal(&name, wanted);
            let mut random = Random(1);
            measure(c, &name, 1024, Some(peer), || {
                for _ in 0..1024 / BATCH {
                    let count = batch.aim((0..BATCH).map(|_| random.below(n.into()) as u32), false);
                    batch.track(&mut tracker, count, &request);
                }
            });
            assert_eq!((tracker.len(), tracker.stats().invalid_total()), (n as usize, 0));
        }
    }
}

fn new(c: &mut Criterion) {
    let request = CtRequest::commit(0);
    for (name, n, mut batch, peer) in [
        ("conntrack/new_udp_100k", 100_000, Batch::udp(), 607.0),
        ("conntrack/new_udp_1000k", 1_000_000, Batch::udp(), 730.0),
        ("conntrack/new_tcp_1000k", 1_000_000, Batch::tcp("syn"), 690.0),
    ] {
        goal(name, 120.0);
        measure(c, name, n as usize, Some(peer), || {
            let mut tracker = Tracker::new(unverified());
            fill(&mut tracker, n, &mut batch, None, &request);
        });
    }
    // Each of few translated connections, and those for which no port is left.
    let (mut batch, n) = (Batch::udp(), 50_000);
    let snat = request.with_nat(Nat::Source(NatRange::addresses([192, 0, 2, 0], [192, 0, 2, 255])));
    measure(c, "conntrack/new_snat_50k", n as usize, None, || {
        let mut tracker = Tracker::new(unverified());
        fill(&mut tracker, n, &mut batch, None, &snat);
    });
    let mut tracker = Tracker::new(unverified());
    let full = request.with_nat(Nat::Source(NatRange::address([192, 0, 2, 1]).with_ports(5000, 5062)));
    fill(&mut tracker, 1000, &mut batch, None, &full);
    goal("conntrack/new_exhausted", 1000.0);
    measure(c, "conntrack/new_exhausted", BATCH, None, || {
        let count = batch.aim(1000..2000, false);
        batch.track(&mut tracker, count, &full);
    });
    assert_eq!(tracker.len(), 63);
}

/// The peer's `test-conntrack benchmark 1 3000000 32`: one connection, batches of 32 of the same datagram.
fn stock(c: &mut Criterion) {
    let mut batch = Batch::new("udp,nw_src=10.1.1.1,nw_dst=10.1.1.2,tp_src=1,tp_dst=2", BATCH);
    let zero_checksum = |p: &mut Packet| p.data_mut()[40..42].fill(0);
    batch.packets.iter_mut().for_each(zero_checksum);
    let mut tracker = Tracker::new(Config::new(1));
    batch.track(&mut tracker, BATCH, &CtRequest::commit(0));
    goal("conntrack/stock", 30.0);
    measure(c, "conntrack/stock", 1024 * BATCH, Some(60.0), || {
        for _ in 0..1024 {
            batch.track(&mut tracker, BATCH, &CtRequest::commit(0));
        }
    });
    assert_eq!(tracker.len(), 1);
}

/// The peer's `test-conntrack benchmark-zones 10000 100 100`: a zone among a hundred is flushed, filled and passed.
fn zones(c: &mut Criterion) {
    const CONNECTIONS: u32 = 10_000;
    let mut one = Batch::new("udp,nw_src=10.1.1.1,nw_dst=10.1.1.2,tp_src=1,tp_dst=2", 1);
    one.packets.iter_mut().for_each(|p| p.data_mut()[40..42].fill(0));
    let mut pass = |tracker: &mut Tracker, request: &CtRequest| {
        for i in 0..CONNECTIONS {
            let port = |p: u32| if p as u16 == 0 { 65535 } else { p as u16 };
            (one.keys[0].tp_src, one.keys[0].tp_dst) = (port(i >> 16).into(), port(i).into());
            one.track(tracker, 1, request);
        }
    };
    let mut tracker = Tracker::new(Config::new(1));
    (0..100).for_each(|zone| pass(&mut tracker, &CtRequest::commit(zone)));
    assert_eq!(tracker.zone_len(1), CONNECTIONS as usize);
    goal("conntrack/zones_commit", 86.0);
    measure(c, "conntrack/zones_commit", CONNECTIONS as usize, Some(346.0), || {
        tracker.flush(Some(1));
        pass(&mut tracker, &CtRequest::commit(1));
    });
    goal("conntrack/zones_pass", 34.0);
    measure(c, "conntrack/zones_pass", CONNECTIONS as usize, Some(103.0), || {
        pass(&mut tracker, &CtRequest::lookup(1));
    });
    println!("conntrack/zones: {:.1} bytes a connection", tracker.memory() as f64 / tracker.len() as f64);
    // A flush of many, seen alone: a connection's share of it.
    let best = (0..20).map(|_| {
        pass(&mut tracker, &CtRequest::commit(1));
        let began = Clock::now();
        assert_eq!(tracker.flush(Some(1)), CONNECTIONS as usize);
        began.elapsed()
    });
    let ns = best.min().unwrap_or_default().as_nanos() as f64;
    println!(
        "conntrack/zones_flush: {ns:.0} ns for {CONNECTIONS} connections; peer 1024000 ns: {:.0}x",
        1_024_000.0 / ns
    );
}

/// Thread CPU time, in nanoseconds.
fn cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Nanoseconds of CPU a packet on each of `threads` threads. A tenth of the packets open a connection.
///
/// `steered`: each thread has the connections that [`SharedTracker::worker_of`] gives it, as a card would spread them;
/// otherwise it has any.
fn shared(threads: u32, packets: u32, steered: bool) -> f64 {
    let tracker = SharedTracker::new(unverified(), 256);
    let spent: u64 = std::thread::scope(|scope| {
        let worker = |thread: u32| {
            let tracker = &tracker;
            move || {
                let (mut batch, mut random) = (Batch::udp(), Random(thread.into()));
                let mut probe = Batch::udp();
                let mine = |i: &u32| {
                    probe.aim(*i..*i + 1, false);
                    !steered || tracker.worker_of(&probe.keys[0], 0, threads as usize) == thread as usize
                };
                let total = 1000 * BATCH as u32 + packets / BATCH as u32 * 3;
                let ids: Vec<u32> = ((thread << 24)..).filter(mine).take(total as usize).collect();
                let mut known = 0;
                let mut step = |open: bool| {
                    let new = known..known + if open { BATCH } else { 3 };
                    let old = (0..BATCH - new.len()).map(|_| random.below(known.max(1) as u64) as usize);
                    let count = batch.aim(new.clone().chain(old).map(|i| ids[i]), false);
                    batch.share(tracker, count, &CtRequest::commit(0));
                    known = new.end;
                };
                (0..1000).for_each(|_| step(true));
                let began = cpu();
                (0..packets / BATCH as u32).for_each(|_| step(false));
                cpu() - began
            }
        };
        let running: Vec<_> = (0..threads).map(|t| scope.spawn(worker(t))).collect();
        running.into_iter().map(|t| t.join().unwrap_or(0)).sum()
    });
    spent as f64 / f64::from(threads * (packets / BATCH as u32) * BATCH as u32)
}

fn two_threads(_: &mut Criterion) {
    // By CPU time, since neighbours share the machine; alternated, the best of each.
    for (name, steered) in [("steered", true), ("any", false)] {
        let (mut one, mut two) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..8 {
            one = one.min(shared(1, 500_000, steered));
            two = two.min(shared(2, 500_000, steered));
        }
        let ratio = 2.0 * one / two;
        println!(
            "conntrack/shared_{name}: {one:.1} ns on one thread, {two:.1} ns on each of two: {ratio:.2}x; goal 1.9x"
        );
    }
}

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = established, new, stock, zones, two_threads
}
criterion_main!(benches);
