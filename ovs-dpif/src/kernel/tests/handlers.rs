//! Threads that take upcalls and execute orders.

use std::time::{Duration, Instant};

use ovs_netlink::fake::{FakeKernel, Fault};
use ovs_packet::{Match, compose};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::*;
use crate::dpif::Upcall;
use crate::drops::DropReason;
use crate::{DpAction, Dpif, PortNo, PortSpec, Resolution};

/// Enough for anything.
const LONG: Duration = Duration::from_secs(20);

struct Bench {
    kernel: FakeKernel,
    dp: Datapath,
    ports: [PortNo; 2],
}

impl Bench {
    fn new(options: Options, wanted: Option<usize>) -> Bench {
        let kernel = FakeKernel::new();
        let mut dp = Datapath::create(&kernel, "br0", options).unwrap();
        let ports = ["a", "b"].map(|name| dp.port_add(PortSpec::Internal(name.into()), None).unwrap());
        dp.set_handlers(wanted).unwrap();
        Bench { kernel, dp, ports }
    }

    fn receive(&self, port: PortNo, number: u8) {
        let m: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2".parse().unwrap();
        let mut key = m.key();
        key.in_port.set(port.0);
        let mut bytes = Vec::new();
        put_key(&mut ovs_netlink::Writer::new(&mut bytes), &key).unwrap();
        assert!(self.kernel.receive(self.dp.ifindex(), &bytes, compose::compose(&key, &[number]).data()));
    }

    /// Takes upcalls, waiting for them, until `enough`.
    fn take(&mut self, enough: impl Fn(&Datapath, &[Upcall]) -> bool) -> Vec<Upcall> {
        let (begun, mut upcalls) = (Instant::now(), Vec::new());
        while !enough(&self.dp, &upcalls) {
            assert!(begun.elapsed() < LONG, "{} upcalls, {:?}", upcalls.len(), self.dp.ledger());
            if self.dp.poll(ovs_packet::Instant::ZERO, &mut upcalls) == 0 {
                let fds = self.dp.fds();
                let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
                poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 })).unwrap();
            }
        }
        upcalls
    }

    fn resolve(&mut self, upcall: Upcall, resolution: Resolution<'_>) {
        self.dp.resolve(upcall, resolution, ovs_packet::Instant::ZERO, &mut Vec::new());
        assert!(self.dp.ledger().balanced());
    }
}

fn number(packet: &[u8]) -> u8 {
    *packet.last().unwrap()
}

#[test]
fn what_threads_read_is_decided_and_executed_in_order() {
    let mut bench = Bench::new(Options::default().with_handlers(3), None);
    bench.kernel.set_cpus(&[2, 0, 1]);
    (0..60).for_each(|n| bench.receive(bench.ports[0], n));
    // Those of one CPU keep their order, from miss to miss.
    let mut left = 60;
    while left > 0 {
        for upcall in bench.take(|_, upcalls| !upcalls.is_empty()) {
            let turn = upcall.key.recirc_id.get();
            let actions = [if turn < 3 { DpAction::Recirc(turn + 1) } else { DpAction::Output(bench.ports[1]) }];
            left -= usize::from(turn == 3);
            bench.resolve(upcall, Resolution::Execute(&actions));
        }
    }
    let (begun, mut out) = (Instant::now(), Vec::new());
    while out.len() < 60 {
        assert!(begun.elapsed() < LONG);
        out.extend(bench.kernel.take_outputs().iter().map(|output| number(&output.packet)));
    }
    for cpu in 0..3 {
        let of_cpu: Vec<_> = out.iter().filter(|n| *n % 3 == cpu).collect();
        assert!(of_cpu.len() == 20 && of_cpu.is_sorted(), "{out:?}");
    }
    assert_eq!((bench.dp.ledger().forwarded, bench.dp.ledger().in_flight), (240, 0));
}

#[test]
fn a_flood_by_one_port_leaves_the_others_their_turns() {
    let mut bench = Bench::new(Options::default().with_handlers(2), None);
    let [flooded, quiet] = bench.ports;
    // The owner looks away meanwhile; what the kernel's socket holds is bounded too, so in portions.
    let reads = |bench: &Bench, all: u64| {
        let begun = Instant::now();
        let seen = || bench.dp.crew.as_ref().unwrap().seen();
        while seen().0 as u64 + seen().1 < all && begun.elapsed() < LONG {
            std::thread::yield_now();
        }
    };
    for portion in 1..=60 {
        (0..100).for_each(|n| bench.receive(flooded, n));
        reads(&bench, portion * 100);
    }
    (0..5).for_each(|n| bench.receive(quiet, n));
    reads(&bench, 6005);
    let first = bench.take(|_, upcalls| upcalls.len() >= 10);
    let of_quiet: Vec<_> = first.iter().filter(|u| u.key.in_port == quiet.0).map(|u| number(u.packet.data())).collect();
    assert_eq!(of_quiet, [0, 1, 2, 3, 4], "every second of the first is theirs");
    let rest = bench.take(|_, upcalls| upcalls.len() + first.len() == 2048 + 5);
    first.into_iter().chain(rest).for_each(|upcall| bench.resolve(upcall, Resolution::Drop(DropReason::FlowDrop)));
    assert_eq!(bench.dp.ledger().drops(DropReason::UpcallQueueFull), 6000 - 2048);
    assert_eq!((bench.dp.ledger().received, bench.dp.stats().unwrap().lost), (6005, 6000 - 2048));
}

#[test]
fn orders_that_fail_are_no_packets_forwarded() {
    let mut bench = Bench::new(Options::default().with_handlers(1), None);
    (0..2).for_each(|n| bench.receive(bench.ports[0], n));
    let upcalls = bench.take(|_, upcalls| upcalls.len() == 2);
    bench.kernel.inject(Fault::Refuse(22));
    let out = [DpAction::Output(bench.ports[1])];
    upcalls.into_iter().for_each(|upcall| bench.resolve(upcall, Resolution::Execute(&out)));
    bench.take(|dp, _| dp.ledger().drops(DropReason::EditFailed) == 1);
    assert!(bench.dp.ledger().balanced() && bench.dp.ledger().forwarded == 1);
}

#[test]
fn by_port_there_are_as_many_threads_as_are_wanted() {
    let mut bench = Bench::new(Options::default().with_dispatch(Dispatch::PerPort).with_handlers(1), Some(1));
    let cpus = std::thread::available_parallelism().unwrap().get();
    let out = [DpAction::Output(bench.ports[1])];
    for (round, wanted) in [1, cpus, cpus + 7, 1].into_iter().enumerate() {
        let count = bench.dp.set_handlers(Some(wanted)).unwrap();
        assert_eq!(count, wanted.min(cpus));
        bench.receive(bench.ports[0], round as u8);
        let upcalls = bench.take(|_, upcalls| upcalls.len() == 1);
        upcalls.into_iter().for_each(|upcall| bench.resolve(upcall, Resolution::Execute(&out)));
    }
    // By CPU nobody is asked.
    let mut bench = Bench::new(Options::default().with_handlers(2), Some(9));
    assert_eq!(bench.dp.set_handlers(Some(1)).unwrap(), 2);
    assert!(bench.dp.take_handlers().is_empty());
}
