//! Rows 6 to 6d of the goals: established connections at random, new ones, the peer's own two benches, two threads.
//!
//! The peer's figures are of its connection tracker alone, packets extracted; so are these. `goal` is what the house
//! asks for. Ports and addresses are written into the keys of packets that stay the same, as the peer's bench does:
//! their checksums are verified where the peer's bench has them verified, in "stock" and "zones".
//!
//! New connections are measured twice, by the CPU time of the thread, as the peer's were: into an empty tracker, whose
//! memory the kernel hands out page by page meanwhile, and into the same when all have expired, whose memory is there:
//! what a tracker does that has run for a while, and the peer's "zones". With `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`
//! memory comes in pages of 2 MB, for the peer's as for ours.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::{Duration, Instant as Clock};

use common::{Random, is_asked_for, measure};
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

    fn track(&mut self, tracker: &mut Tracker, n: usize, request: &CtRequest, now: Instant) {
        let batch = self.packets.iter_mut().zip(&self.keys).take(n);
        black_box(tracker.track_batch(batch, request, now));
    }

    fn share(&mut self, tracker: &SharedTracker, n: usize, request: &CtRequest) {
        let batch = self.packets.iter_mut().zip(&self.keys).take(n);
        black_box(tracker.track_batch(batch, request, NOW));
    }
}

fn unverified() -> Config {
    Config::new(1).with_verify_checksums(false)
}

/// Opens all connections `0..n`.
fn fill(tracker: &mut Tracker, n: u32, there: &mut Batch, request: &CtRequest, now: Instant) {
    for from in (0..n).step_by(BATCH) {
        let count = there.aim(from..n, false);
        there.track(tracker, count, request, now);
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
            if !is_asked_for(&name) {
                continue;
            }
            let (mut open, mut answer, mut batch) = match tcp {
                false => (Batch::udp(), Batch::udp(), Batch::udp()),
                true => (Batch::tcp("syn"), Batch::tcp("syn|ack"), Batch::tcp("ack")),
            };
            let mut tracker = Tracker::new(unverified());
            fill(&mut tracker, n, &mut open, &CtRequest::commit(0), NOW);
            for from in (0..n).step_by(BATCH) {
                let count = answer.aim(from..n, true);
                answer.track(&mut tracker, count, &request, NOW);
            }
            println!("{name}: {:.1} bytes a connection", tracker.memory() as f64 / f64::from(n));
            goal(&name, wanted);
            let mut random = Random(1);
            measure(c, &name, 1024, Some(peer), || {
                for _ in 0..1024 / BATCH {
                    let count = batch.aim((0..BATCH).map(|_| random.below(n.into()) as u32), false);
                    batch.track(&mut tracker, count, &request, NOW);
                }
            });
            assert_eq!((tracker.len(), tracker.stats().invalid_total()), (n as usize, 0));
        }
    }
}

/// Nanoseconds of the thread's CPU time that `body` takes.
fn spent(body: impl FnOnce()) -> f64 {
    let began = cpu();
    body();
    (cpu() - began) as f64
}

/// Pages that the kernel gave this thread so far.
fn faults() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    text.split_whitespace().nth(9).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn new(c: &mut Criterion) {
    let request = CtRequest::commit(0);
    for (name, n, mut batch, peer) in [
        ("conntrack/new_udp_100k", 100_000, Batch::udp(), 607.0),
        ("conntrack/new_udp_1000k", 1_000_000, Batch::udp(), 730.0),
        ("conntrack/new_tcp_1000k", 1_000_000, Batch::tcp("syn"), 690.0),
    ] {
        if !is_asked_for(name) {
            continue;
        }
        goal(name, 120.0);
        let mut best = [f64::INFINITY; 3];
        let mut pages = 0;
        for _ in 0..5 {
            let mut tracker = Tracker::new(unverified());
            let before = faults();
            let first = spent(|| fill(&mut tracker, n, &mut batch, &request, NOW));
            pages = faults() - before;
            let later = NOW + Duration::from_secs(100);
            let expired = spent(|| assert_eq!(tracker.expire(later, usize::MAX), n as usize));
            let again = spent(|| fill(&mut tracker, n, &mut batch, &request, later));
            assert_eq!(tracker.len(), n as usize);
            best = std::array::from_fn(|i| best[i].min([first, again, expired][i] / f64::from(n)));
        }
        let [first, again, expired] = best;
        println!(
            "{name}: {first:.1} ns each into an empty tracker, {pages} pages new; peer {peer} ns: {:.2}x\n\
             {name}: {again:.1} ns each into one that was full: {:.2}x; {expired:.1} ns to expire one",
            peer / first,
            peer / again,
        );
    }
    if !["conntrack/new_snat_50k", "conntrack/new_exhausted"].into_iter().any(is_asked_for) {
        return;
    }
    // Each of few translated connections, and those for which no port is left.
    let (mut batch, n) = (Batch::udp(), 50_000);
    let snat = request.with_nat(Nat::Source(NatRange::addresses([192, 0, 2, 0], [192, 0, 2, 255])));
    measure(c, "conntrack/new_snat_50k", n as usize, None, || {
        let mut tracker = Tracker::new(unverified());
        fill(&mut tracker, n, &mut batch, &snat, NOW);
    });
    let mut tracker = Tracker::new(unverified());
    let full = request.with_nat(Nat::Source(NatRange::address([192, 0, 2, 1]).with_ports(5000, 5062)));
    fill(&mut tracker, 1000, &mut batch, &full, NOW);
    goal("conntrack/new_exhausted", 1000.0);
    measure(c, "conntrack/new_exhausted", BATCH, None, || {
        let count = batch.aim(1000..2000, false);
        batch.track(&mut tracker, count, &full, NOW);
    });
    assert_eq!(tracker.len(), 63);
}

/// The peer's `test-conntrack benchmark 1 3000000 32`: one connection, batches of 32 of the same datagram.
fn stock(c: &mut Criterion) {
    let mut batch = Batch::new("udp,nw_src=10.1.1.1,nw_dst=10.1.1.2,tp_src=1,tp_dst=2", BATCH);
    let zero_checksum = |p: &mut Packet| p.data_mut()[40..42].fill(0);
    batch.packets.iter_mut().for_each(zero_checksum);
    let mut tracker = Tracker::new(Config::new(1));
    batch.track(&mut tracker, BATCH, &CtRequest::commit(0), NOW);
    goal("conntrack/stock", 30.0);
    measure(c, "conntrack/stock", 1024 * BATCH, Some(60.0), || {
        for _ in 0..1024 {
            batch.track(&mut tracker, BATCH, &CtRequest::commit(0), NOW);
        }
    });
    assert_eq!(tracker.len(), 1);
}

/// The peer's `test-conntrack benchmark-zones 10000 100 100`: a zone among a hundred is flushed, filled and passed.
fn zones(c: &mut Criterion) {
    const CONNECTIONS: u32 = 10_000;
    if !["conntrack/zones_commit", "conntrack/zones_pass", "conntrack/zones_flush"].into_iter().any(is_asked_for) {
        return;
    }
    let mut one = Batch::new("udp,nw_src=10.1.1.1,nw_dst=10.1.1.2,tp_src=1,tp_dst=2", 1);
    one.packets.iter_mut().for_each(|p| p.data_mut()[40..42].fill(0));
    let mut pass = |tracker: &mut Tracker, request: &CtRequest| {
        for i in 0..CONNECTIONS {
            let port = |p: u32| if p as u16 == 0 { 65535 } else { p as u16 };
            (one.keys[0].tp_src, one.keys[0].tp_dst) = (port(i >> 16).into(), port(i).into());
            one.track(tracker, 1, request, NOW);
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
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Connections that there are before it is measured, of all threads; as many again are opened then.
const HELD: u32 = 64_000;

/// Nanoseconds of CPU a packet, on each of `threads` threads that share the same packets out. Three of 32 open a
/// connection, the others are of any that the thread has opened. Each thread has every so manieth connection; if
/// `steered`, those which [`SharedTracker::worker_of`] gives it, as a card would spread them.
fn shared(threads: u32, steered: bool) -> f64 {
    let tracker = SharedTracker::new(unverified(), 256);
    let (held, rounds) = (HELD / threads, HELD / threads / 3);
    let start = std::sync::Barrier::new(threads as usize);
    let spent: f64 = std::thread::scope(|scope| {
        let worker = |thread: u32| {
            let (tracker, start) = (&tracker, &start);
            move || {
                let (mut batch, mut random) = (Batch::udp(), Random(thread.into()));
                let mut probe = Batch::udp();
                let mine = |i: &u32| {
                    probe.aim(*i..*i + 1, false);
                    match steered {
                        true => tracker.worker_of(&probe.keys[0], 0, threads as usize) == thread as usize,
                        false => i % threads == thread,
                    }
                };
                let ids: Vec<u32> = (0..).filter(mine).take(2 * held as usize).collect();
                for some in ids[..held as usize].chunks(BATCH) {
                    let count = batch.aim(some.iter().copied(), false);
                    batch.share(tracker, count, &CtRequest::commit(0));
                }
                let mut known = held as usize;
                start.wait();
                spent(|| {
                    for _ in 0..rounds {
                        let new = known..known + 3;
                        let old = (0..BATCH - 3).map(|_| random.below(known as u64) as usize);
                        let count = batch.aim(new.clone().chain(old).map(|i| ids[i]), false);
                        batch.share(tracker, count, &CtRequest::commit(0));
                        known = new.end;
                    }
                })
            }
        };
        let running: Vec<_> = (0..threads).map(|t| scope.spawn(worker(t))).collect();
        running.into_iter().map(|t| t.join().unwrap_or(f64::INFINITY)).sum()
    });
    assert_eq!(tracker.len(), (threads * (held + rounds * 3)) as usize);
    spent / f64::from(threads * rounds * BATCH as u32)
}

fn two_threads(_: &mut Criterion) {
    // By CPU time, since neighbours share the machine; alternated, the best of each.
    for (name, steered) in [("conntrack/shared_steered", true), ("conntrack/shared_any", false)] {
        if !is_asked_for(name) {
            continue;
        }
        let (mut one, mut two) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..12 {
            one = one.min(shared(1, steered));
            two = two.min(shared(2, steered));
        }
        let ratio = 2.0 * one / two;
        println!("{name}: {one:.1} ns on one thread, {two:.1} ns on each of two: {ratio:.2}x; goal 1.9x");
    }
}

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = established, new, stock, zones, two_threads
}
criterion_main!(benches);
