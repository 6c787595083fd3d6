use std::sync::atomic::AtomicU64;

use ovs_packet::compose::compose;
use ovs_packet::key::Match;
use ovs_packet::{EthAddr, PacketBatch};

use super::*;
use crate::conformance::{LAWS, Subject};
use crate::dpif::always_matched;
use crate::netdev::{MemPort, MemPortPeer, Netdev, NetdevError, NetdevStats, Offloads};

/// Workers over queues in memory, on a clock that the test turns.
#[derive(Debug)]
struct Crew {
    workers: Workers,
    ends: Vec<(PortNo, MemPortPeer)>,
    clock: Arc<AtomicU64>,
}

impl Crew {
    fn new(workers: usize) -> Crew {
        let clock = Arc::new(AtomicU64::new(Instant::from_secs(100).as_nanos()));
        let hands = clock.clone();
        let tell: Clock = Arc::new(move || Instant::from_nanos(hands.load(Ordering::Relaxed)));
        let mut workers = Workers::new(workers, Limits::default(), 1, tell).unwrap();
        workers.set_assignment(Assignment::RoundRobin, true);
        workers.set_max_sleep(Duration::from_micros(50));
        Crew { workers, ends: Vec::new(), clock }
    }

    /// Waits until all that was sent has gone where it goes, through up to two workers.
    fn quiet(&mut self) {
        while self.ends.iter().any(|(port, end)| self.workers.ports.contains_key(port) && end.backlog() > 0) {
            std::thread::yield_now();
        }
        // A round ends, and one that began after it, for each worker on the way.
        (0..4).for_each(|_| self.workers.balance());
    }
}

impl Subject for Crew {
    fn dpif(&mut self) -> &mut dyn Dpif {
        &mut self.workers
    }

    fn add_port(&mut self, name: &str, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        let (port, end) = MemPort::new(name, 1000);
        let number = self.workers.port_add(PortSpec::Device(Box::new(port)), wanted)?;
        self.ends.push((number, end));
        Ok(number)
    }

    fn send(&mut self, port: PortNo, packet: Packet) {
        let end = self.ends.iter().rev().find(|(p, _)| *p == port);
        end.expect("the port").1.push(packet);
    }

    fn take(&mut self, port: PortNo) -> Vec<Packet> {
        self.quiet();
        let end = self.ends.iter().rev().find(|(p, _)| *p == port).map(|(_, end)| end.clone());
        end.into_iter().flat_map(|end| std::iter::from_fn(move || end.pop())).collect()
    }

    fn settle(&mut self, passes: Duration) -> Vec<Upcall> {
        self.clock.fetch_add(passes.as_nanos() as u64, Ordering::Relaxed);
        self.quiet();
        let mut upcalls = Vec::new();
        self.workers.poll(Instant::ZERO, &mut upcalls);
        upcalls
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.clock.load(Ordering::Relaxed))
    }
}

#[test]
fn one_worker_and_three_keep_every_law() {
    for workers in [1, 3] {
        for (name, law) in LAWS {
            let kept = std::panic::catch_unwind(|| law(&mut Crew::new(workers)));
            assert!(kept.is_ok(), "{name} with {workers} workers");
        }
    }
}

fn udp(port: u16) -> Packet {
    let m: Match = format!("udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src={port},tp_dst=2").parse().unwrap();
    compose(m.key(), b"payload")
}

/// Megaflows from each of these ports to the next.
fn ring(crew: &mut Crew, ports: usize) -> Vec<PortNo> {
    let numbers: Vec<_> = (0..ports).map(|i| crew.add_port(&format!("p{i}"), None).unwrap()).collect();
    for (from, to) in numbers.iter().zip(numbers.iter().cycle().skip(1)) {
        let m: Match = format!("in_port={},udp", from.0).parse().unwrap();
        crew.workers.flow_put(&m.key(), &always_matched(), &[DpAction::Output(*to)]).unwrap();
    }
    numbers
}

#[test]
fn every_packet_arrives_once_while_ports_move() {
    let mut crew = Crew::new(3);
    let ports = ring(&mut crew, 5);
    let (mut sent, mut arrived) = (0, 0);
    for round in 0..30u16 {
        for (i, port) in ports.iter().enumerate() {
            (0..20).for_each(|n| crew.send(*port, udp(round * 100 + n)));
            sent += 20;
            crew.workers.pin(*port, Some((round as usize + i) % 3)).unwrap();
        }
        crew.workers.rebalance().unwrap();
        arrived += ports.iter().map(|port| crew.take(*port).len()).sum::<usize>();
    }
    assert_eq!(arrived, sent);
    let mut upcalls = Vec::new();
    assert_eq!(crew.workers.poll(Instant::ZERO, &mut upcalls), sent);
    assert!(upcalls.is_empty() && crew.workers.ledger().balanced());
    assert_eq!(crew.workers.ledger().forwarded, sent as u64);
    let packets: u64 = (0..3).map(|w| crew.workers.perf(w).unwrap().batch_packets.sum()).sum();
    assert_eq!(packets, sent as u64);
    assert_eq!(crew.workers.flow_dump().unwrap().iter().map(|f| f.stats.packets).sum::<u64>(), sent as u64);
}

#[test]
fn what_workers_cannot_share_is_refused() {
    let mut crew = Crew::new(2);
    let m: Match = "in_port=1".parse().unwrap();
    let nested = [DpAction::Clone(vec![DpAction::Ct(ovs_conntrack::CtRequest::commit(1))])];
    for actions in [&nested[..], &[DpAction::Meter(1)]] {
        let refused = crew.workers.flow_put(&m.key(), &m.mask(), actions);
        assert!(matches!(refused, Err(DpifError::Unsupported(_))));
    }
    assert_eq!(crew.workers.features().meters, 0);
    assert!(crew.workers.pin(PortNo(9), None).is_err() && crew.workers.perf(2).is_none());
}

/// A device that panics when it is sent to.
#[derive(Debug)]
struct Trap;

impl Netdev for Trap {
    fn name(&self) -> &str {
        "trap"
    }
    fn kind(&self) -> &'static str {
        "dummy"
    }
    fn receive(&mut self, _: &mut PacketBatch) -> Result<usize, NetdevError> {
        Ok(0)
    }
    fn send(&mut self, _: &mut PacketBatch) -> Result<(), NetdevError> {
        panic!("a device that fails its worker")
    }
    fn offloads(&self) -> Offloads {
        Offloads::NONE
    }
    fn address(&self) -> Option<EthAddr> {
        None
    }
    fn mtu(&self) -> usize {
        1500
    }
    fn stats(&self) -> NetdevStats {
        NetdevStats::default()
    }
}

#[test]
fn a_panic_costs_its_batch_and_no_more() {
    let mut crew = Crew::new(1);
    let ports = ring(&mut crew, 2);
    let trap = crew.workers.port_add(PortSpec::Device(Box::new(Trap)), None).unwrap();
    let m: Match = format!("in_port={},arp", ports[0].0).parse().unwrap();
    crew.workers.flow_put(&m.key(), &always_matched(), &[DpAction::Output(trap)]).unwrap();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for _ in 0..3 {
        crew.send(ports[0], compose("arp".parse::<Match>().unwrap().key(), b""));
        assert!(crew.settle(Duration::ZERO).is_empty());
    }
    std::panic::set_hook(before);
    crew.send(ports[0], udp(1));
    assert_eq!(crew.take(ports[1]).len(), 1, "the worker goes on");
    crew.settle(Duration::ZERO);
    let ledger = crew.workers.ledger();
    assert!(ledger.balanced());
    assert_eq!((ledger.received, ledger.forwarded, ledger.drops(DropReason::WorkerPanic)), (4, 1, 3));
    assert_eq!(crew.workers.perf(0).unwrap().panics, 3);
}

#[test]
fn all_workers_lose_the_megaflow_that_makes_room() {
    let mut crew = Crew::new(3);
    let mask = always_matched();
    for eth_type in [0x88b5u16, 0x88b6, 0x88b7] {
        let key = FlowKey { in_port: 1.into(), eth_type: eth_type.into(), ..FlowKey::ZERO };
        crew.workers.flow_put(&key, &mask, &[]).unwrap();
    }
    assert!(crew.workers.flow_make_room(PortNo(2), None));
    let [gone] = &crew.workers.take_evicted()[..] else { panic!("one megaflow, from all workers") };
    let left = crew.workers.ask_all(|dp| dp.flow_dump()).unwrap();
    for flows in left.into_iter().map(Result::unwrap) {
        assert!(flows.len() == 2 && flows.iter().all(|flow| flow.ufid != gone.ufid));
    }
    assert!(!crew.workers.flow_make_room(PortNo(2), Some(&[PortNo(3)])));
}
