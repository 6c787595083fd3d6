//! One worker against two, each with a port in memory of its own: 60-byte frames of 1,000 flows, 32 at a time.
//!
//! A worker receives from its port and sends to it: what it sends it receives next, so no packet is made or freed meanwhile.
//! Work is measured by what the workers' threads used of the processor, since the machine may be busy with other things;
//! what all workers forward in a second that each has a core for, is the sum. By the wall clock it is as much only where
//! there are as many cores to be had. The second worker is to give nearly as much as the first: they share nothing.

mod ring;

use std::time::{Duration, Instant as Wall};

use ovs_dpif::threads::{Settings, ThreadId, Threads, Topology};
use ovs_dpif::userspace::Limits;
use ovs_dpif::userspace::workers::{Hooks, Workers};
use ovs_dpif::{DpAction, Dpif, PortSpec, always_matched};
use ovs_packet::field::FieldId;
use ovs_packet::key::FlowMask;
use ovs_packet::packet::BATCH;
use ovs_packet::{Instant, Match, Packet, compose};
use ring::{Batches, Ring};
use rustix::time::{ClockId, clock_gettime};

const FLOWS: u32 = 1000;
const TIME: Duration = Duration::from_secs(2);

fn frame(i: u32) -> Packet {
    let words = format!("udp,nw_src=10.0.0.1,nw_dst=11.0.{}.{},tp_src={},tp_dst=53", i >> 8, i & 255, 1000 + i);
    compose::compose(words.parse::<Match>().expect("a match").key(), &[0; 18])
}

/// What the calling thread used of the processor.
fn used() -> Instant {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Instant::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Millions of packets a second: by what threads used of the processor, and by the wall clock.
fn measure(workers: u32) -> (f64, f64) {
    let began = Wall::now();
    let hooks = Hooks::new(move || Instant::ZERO + began.elapsed()).with_stopwatch(used);
    let mut dp = Workers::new(Limits::default(), 1, Topology::uniform(workers), hooks).expect("descriptors");
    let mut settings = Settings::default();
    settings.cores = Some((0..workers).collect());
    dp.configure(settings);
    let mut mask = always_matched();
    for (word, more) in
        mask.bits.words_mut().iter_mut().zip(FlowMask::of(&[FieldId::NwDst, FieldId::UdpSrc]).bits.words())
    {
        *word |= more;
    }
    for i in 0..workers {
        let frames: Vec<Packet> = (0..FLOWS).map(frame).collect();
        let batches = Batches::default();
        let ring = Ring::new(format!("ring{i}"), &batches, true);
        let port = dp.port_add(PortSpec::Device(Box::new(ring)), None).expect("a port");
        dp.pin(port, vec![(0, i)]).expect("the port");
        for flow in 0..FLOWS {
            let mut key = ovs_packet::FlowKey::ZERO;
            ovs_packet::extract::extract(&mut frame(flow), &mut key);
            key.in_port.set(port.0);
            dp.flow_put(&key, &mask, &[DpAction::Output(port)]).expect("a megaflow");
        }
        // Packets that come before their megaflows would go up.
        let packets = frames.chunks(BATCH).map(|packets| packets.iter().cloned().collect());
        batches.lock().expect("no panic").extend(packets);
    }
    let threads: Vec<ThreadId> = (0..workers).map(ThreadId::Core).collect();
    threads.iter().for_each(|thread| dp.clear_perf(*thread));
    let start = Wall::now();
    std::thread::sleep(TIME);
    let wall = start.elapsed().as_secs_f64();
    let did: Vec<_> = threads.iter().filter_map(|thread| dp.performance(*thread)).collect();
    let packets: u64 = did.iter().map(|did| did.perf.packets).sum();
    let rate = did.iter().map(|did| did.perf.packets as f64 * 1000.0 / did.perf.busy_nanos.max(1) as f64).sum();
    (rate, packets as f64 / wall / 1e6)
}

fn main() {
    // Under a test run there is nothing to measure.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let best = |workers| {
        let runs = (0..3).map(|_| measure(workers));
        runs.fold((0.0f64, 0.0f64), |best, run| (best.0.max(run.0), best.1.max(run.1)))
    };
    let (one, two) = (best(1), best(2));
    println!("1 worker:  {:6.2} Mpps of a core  ({:.2} by the wall clock)", one.0, one.1);
    println!("2 workers: {:6.2} Mpps of a core each, together  ({:.2} by the wall clock)", two.0, two.1);
    println!("ratio:     {:6.2}  ({:.2} by the wall clock); 2 is the most there can be", two.0 / one.0, two.1 / one.1);
}
