use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ovs_conntrack::CtRequest;
use ovs_packet::compose::compose;
use ovs_packet::key::Match;
use ovs_packet::{EthAddr, FlowKey, Packet, PacketBatch};
use proptest::prelude::*;

use super::*;
use crate::action::DpAction;
use crate::conformance::{LAWS, Subject};
use crate::dpif::{Card, FlowPut, HwOffload, PortSpec, always_matched};
use crate::drops::DropReason;
use crate::meter::{Band, Config, Unit};
use crate::netdev::{DummyControl, DummyPort, MemPort, MemPortPeer, Netdev, NetdevError, Offloads};
use crate::threads::{Assignment, Balance, ThreadId, Threads, WorkerInfo};
use crate::userspace::tests::properties::decide;

/// Waits for what workers do at a pace of their own.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(50), "{what}");
        std::thread::yield_now();
    }
}

/// Workers over queues in memory, on a clock that the test turns.
#[derive(Debug)]
struct Crew {
    workers: Workers,
    ends: Vec<(PortNo, MemPortPeer)>,
    clock: Arc<AtomicU64>,
}

impl Crew {
    fn new(workers: u32) -> Crew {
        let clock = Arc::new(AtomicU64::new(Instant::from_secs(100).as_nanos()));
        let hands = clock.clone();
        let hooks = Hooks::new(move || Instant::from_nanos(hands.load(Ordering::Relaxed)));
        let workers_of = (0..workers).collect::<Vec<_>>();
        let mut workers = Workers::new(Limits::default(), 1, Topology::uniform(workers.max(1)), hooks).unwrap();
        let mut settings = Settings { max_sleep: Duration::from_micros(50), ..Settings::default() };
        settings.assignment = Assignment::RoundRobin;
        settings.cores = (!workers_of.is_empty()).then_some(workers_of);
        workers.configure(settings);
        Crew { workers, ends: Vec::new(), clock }
    }

    /// Waits until all that was sent has gone where it goes, through up to two workers.
    fn quiet(&mut self) -> Vec<Upcall> {
        let mut upcalls = Vec::new();
        let now = self.now();
        wait_until("all that was sent is taken", || {
            self.workers.poll(now, &mut upcalls);
            !self.ends.iter().any(|(port, end)| self.workers.ports.contains_key(port) && end.backlog() > 0)
        });
        // A round ends, and one that began after it, for each worker on the way.
        for _ in 0..4 {
            self.workers.ask_all(|_| ()).unwrap();
            self.workers.poll(now, &mut upcalls);
        }
        upcalls
    }

    /// A device with so many queues, for workers.
    fn add_dummy(&mut self, name: &str, queues: usize) -> (PortNo, DummyControl) {
        let (port, control) = DummyPort::new(name, "dummy-pmd", EthAddr::local(1));
        control.set_queues(queues);
        control.set_linked(true);
        (self.workers.port_add(PortSpec::Device(Box::new(port)), None).unwrap(), control)
    }

    fn set(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.workers.settings().clone();
        change(&mut settings);
        self.workers.configure(settings);
    }

    fn seats(&self) -> Vec<(u32, String, usize)> {
        let seats = |w: WorkerInfo| w.queues.into_iter().map(move |q| (w.core.core, q.name, q.queue));
        self.workers.crew().into_iter().flat_map(seats).collect()
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
        assert!(self.quiet().is_empty());
        let end = self.ends.iter().rev().find(|(p, _)| *p == port).map(|(_, end)| end.clone());
        end.into_iter().flat_map(|end| std::iter::from_fn(move || end.pop())).collect()
    }

    fn settle(&mut self, passes: Duration) -> Vec<Upcall> {
        self.clock.fetch_add(passes.as_nanos() as u64, Ordering::Relaxed);
        self.quiet()
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.clock.load(Ordering::Relaxed))
    }
}

#[test]
fn no_worker_one_and_three_keep_every_law() {
    for workers in [0, 1, 3] {
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
fn every_packet_arrives_once_while_ports_move_and_workers_come_and_go() {
    let mut crew = Crew::new(3);
    let ports = ring(&mut crew, 5);
    let (mut sent, mut arrived) = (0, 0);
    for round in 0..30u16 {
        for (i, port) in ports.iter().enumerate() {
            (0..20).for_each(|n| crew.send(*port, udp(round * 100 + n)));
            sent += 20;
            crew.workers.pin(*port, vec![(0, (round as u32 + i as u32) % 3)]).unwrap();
        }
        crew.set(|settings| settings.cores = [Some(vec![0, 1, 2]), Some(vec![2]), None][round as usize % 3].clone());
        arrived += ports.iter().map(|port| crew.take(*port).len()).sum::<usize>();
    }
    assert_eq!(arrived, sent);
    assert!(crew.quiet().is_empty() && crew.workers.ledger().balanced());
    assert_eq!((crew.workers.ledger().received, crew.workers.ledger().forwarded), (sent as u64, sent as u64));
    assert_eq!(crew.workers.flow_dump().unwrap().iter().map(|f| f.stats.packets).sum::<u64>(), sent as u64);
    let mut terse = 0;
    crew.workers.flow_stats(&mut |_, stats| terse += stats.packets).unwrap();
    assert_eq!((terse, crew.workers.stats().unwrap().flows), (sent as u64, 5));
}

#[test]
fn queues_go_to_workers_and_megaflows_with_them() {
    let mut crew = Crew::new(2);
    let (p1, queues) = crew.add_dummy("p1", 2);
    let (p2, out) = crew.add_dummy("p2", 1);
    let m: Match = format!("in_port={},udp", p1.0).parse().unwrap();
    let ufid = crew.workers.flow_put(&m.key(), &always_matched(), &[DpAction::Output(p2)]).unwrap();
    let p = |name: &str| name.to_string();
    assert_eq!(crew.seats(), [(0, p("p1"), 0), (0, p("p2"), 0), (1, p("p1"), 1)]);
    for queue in [0, 1, 1] {
        assert!(queues.receive(udp(1), queue));
    }
    wait_until("three packets have left", || out.stats().tx_packets >= 3);
    assert!(crew.quiet().is_empty());
    let by_thread = |crew: &Crew| {
        let packets = |t| crew.workers.flows_of(t).iter().map(|f| f.stats.packets).collect::<Vec<_>>();
        crew.workers.threads().into_iter().map(packets).collect::<Vec<_>>()
    };
    assert_eq!(by_thread(&crew), [vec![], vec![1], vec![2]]);
    // One worker less: its counters stay.
    crew.set(|settings| settings.cores = Some(vec![1]));
    assert_eq!(by_thread(&crew), [vec![], vec![3]]);
    assert_eq!(crew.workers.flow_get(ufid).unwrap().stats.packets, 3);
    // More queues are met when settings are given.
    queues.set_queues(3);
    crew.set(|settings| settings.cores = Some(vec![0, 1]));
    assert_eq!(crew.seats().len(), 4);
    assert_eq!(by_thread(&crew).concat().iter().sum::<u64>(), 3);
    // Without a device that wants them there are no workers, and what was counted stays.
    crew.workers.port_del(p1).unwrap();
    crew.workers.port_del(p2).unwrap();
    assert_eq!((crew.workers.crew().len(), crew.workers.ledger().forwarded), (0, 3));
    assert_eq!(crew.workers.flow_del(ufid).unwrap().stats.packets, 3);
}

#[test]
fn what_is_put_everywhere_is_everywhere() {
    let mut crew = Crew::new(2);
    let (p1, _queues) = crew.add_dummy("p1", 1);
    let m: Match = format!("in_port={},udp", p1.0).parse().unwrap();
    let ufid = crew.workers.flow_install(&FlowPut::new(&m.key(), &always_matched(), &[]).with_everywhere()).unwrap();
    let of =
        |crew: &Crew| crew.workers.threads().into_iter().map(|t| crew.workers.flows_of(t).len()).collect::<Vec<_>>();
    assert_eq!((of(&crew), crew.workers.stats().unwrap().flows), (vec![1, 1, 1], 1));
    crew.set(|settings| settings.cores = Some(vec![1]));
    assert_eq!(of(&crew), [1, 1]);
    crew.set(|settings| settings.cores = Some(vec![0, 1]));
    assert_eq!(of(&crew), [1, 1, 1]);
    crew.workers.flow_del(ufid).unwrap();
    assert_eq!(of(&crew), [0, 0, 0]);
}

#[test]
fn connections_and_meters_are_those_of_all_workers() {
    let mut crew = Crew::new(2);
    let (p1, queues) = crew.add_dummy("p1", 2);
    let (p2, out) = crew.add_dummy("p2", 1);
    crew.workers.meter_set(1, &Config::new(Unit::Packets, vec![Band::new(10)])).unwrap();
    let mut put = |words: &str, actions: &[DpAction]| {
        let m: Match = words.parse().unwrap();
        crew.workers.flow_put(&m.key(), &m.mask(), actions).unwrap();
    };
    put(&format!("in_port={},recirc_id=0", p1.0), &[DpAction::Ct(CtRequest::commit(0)), DpAction::Recirc(1)]);
    let out_of = [DpAction::Meter(1), DpAction::Output(p2)];
    put(&format!("in_port={},recirc_id=1,ct_state=+new", p1.0), &out_of);
    put(&format!("in_port={},recirc_id=1,ct_state=-new+est", p1.0), &out_of);
    let there = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2";
    let back = "udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=2,tp_dst=1";
    for i in 0..16 {
        let words = if i % 2 == 0 { there } else { back };
        // What one worker opened, the other knows.
        assert!(queues.receive(compose(words.parse::<Match>().unwrap().key(), b"payload"), i % 2));
        wait_until("the packet is taken", || queues.stats().rx_packets > i as u64);
        assert!(crew.quiet().is_empty());
    }
    assert_eq!(out.stats().tx_packets, 10);
    assert_eq!(crew.workers.main.connection_count(), 1);
    assert_eq!(crew.workers.meter_stats(1).unwrap().input.packets, 16);
    assert_eq!(crew.workers.meter_del(1).unwrap().bands[0].packets, 6);
    assert!(queues.receive(compose(there.parse::<Match>().unwrap().key(), b"payload"), 1));
    wait_until("the packet has left", || out.stats().tx_packets >= 11);
}

#[test]
fn upcalls_of_a_worker_that_ended_are_resolved_all_the_same() {
    let mut crew = Crew::new(2);
    let (p1, queues) = crew.add_dummy("p1", 2);
    assert!(queues.receive(udp(7), 0) && queues.receive(udp(8), 1));
    let mut upcalls = Vec::new();
    wait_until("both are told", || {
        crew.workers.poll(Instant::ZERO, &mut upcalls);
        upcalls.len() >= 2
    });
    // A worker tells what it counted after what it found.
    assert!(crew.quiet().is_empty());
    assert_eq!(crew.workers.ledger().in_flight, 2);
    crew.set(|settings| settings.cores = Some(vec![1]));
    for upcall in upcalls {
        let now = crew.now();
        crew.workers.resolve(upcall, crate::Resolution::Execute(&[DpAction::Output(p1)]), now, &mut Vec::new());
    }
    let ledger = crew.workers.ledger();
    assert!(ledger.balanced());
    assert_eq!((ledger.in_flight, ledger.forwarded), (0, 2));
    let performance = crew.workers.performance(ThreadId::Core(1)).unwrap();
    assert_eq!((performance.missed, performance.passes), (1, 1));
    crew.workers.clear_perf(ThreadId::Core(1));
    assert_eq!(crew.workers.performance(ThreadId::Core(1)).unwrap().passes, 0);
    assert!(crew.workers.performance(ThreadId::Core(0)).is_none() && crew.workers.pin(PortNo(9), vec![]).is_err());
}

#[test]
fn loads_are_remembered_and_dealt_out_by() {
    let mut crew = Crew::new(2);
    let (p1, queues) = crew.add_dummy("p1", 3);
    let m: Match = format!("in_port={},udp", p1.0).parse().unwrap();
    crew.workers.flow_put(&m.key(), &always_matched(), &[]).unwrap();
    // The stopwatch is the clock of the test, so work takes no time: loads are told by hand.
    crew.set(|settings| {
        settings.assignment = Assignment::Group;
        settings.balance = Balance { on: true, load: 0, improvement: 25, ..Balance::default() };
    });
    let before = crew.seats();
    let mut rounds = 0;
    while crew.seats() == before && rounds < 40 {
        rounds += 1;
        for (core, queue, nanos) in [(0, 0, 900_000_000), (1, 1, 100_000_000), (0, 2, 500_000_000)] {
            let worker = &crew.workers.crew[&core];
            let mut report = worker.shared.report();
            *report.loads.entry((p1, queue)).or_default() += nanos;
            report.busy += nanos;
        }
        crew.settle(Duration::from_secs(5));
    }
    // A minute of load at least, and a minute between two looks.
    assert!((12..40).contains(&rounds), "{rounds}");
    assert_eq!(
        crew.seats().iter().map(|(core, _, queue)| (*core, *queue)).collect::<Vec<_>>(),
        [(0, 0), (1, 1), (1, 2)]
    );
    assert!(crew.workers.crew_over(1).iter().all(|w| w.total == 0), "workers are measured anew");
    drop(queues);
}

#[test]
fn a_call_of_a_worker_wakes_who_waits_for_descriptors() {
    use std::os::fd::AsFd;
    let mut crew = Crew::new(1);
    let (_p1, queues) = crew.add_dummy("p1", 1);
    assert!(crew.quiet().is_empty());
    let fd = crew.workers.door.as_fd().try_clone_to_owned().unwrap();
    let stream = std::os::unix::net::UnixStream::from(fd);
    assert!(queues.receive(udp(1), 0));
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(50))).unwrap();
    let mut byte = [0];
    assert_eq!(std::io::Read::read(&mut &stream, &mut byte).unwrap(), 1);
    stream.set_nonblocking(true).unwrap();
    assert_eq!(crew.quiet().len(), 1);
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
    fn polling(&self) -> Polling {
        Polling::Either
    }
}

#[test]
fn a_panic_costs_its_batch_and_no_more() {
    for workers in [0, 1] {
        let mut crew = Crew::new(workers);
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
        assert_eq!(crew.take(ports[1]).len(), 1, "the thread goes on");
        crew.settle(Duration::ZERO);
        let ledger = crew.workers.ledger();
        assert!(ledger.balanced());
        assert_eq!((ledger.received, ledger.forwarded, ledger.drops(DropReason::WorkerPanic)), (4, 1, 3));
        let thread = if workers == 0 { ThreadId::Main } else { ThreadId::Core(0) };
        assert_eq!(crew.workers.performance(thread).unwrap().perf.panics, 3);
    }
}

/// A device with a descriptor, and perhaps with handles for several threads.
#[derive(Debug)]
struct Wired {
    wire: Arc<std::os::unix::net::UnixStream>,
    is_shared: bool,
}

impl Netdev for Wired {
    fn name(&self) -> &str {
        "wired"
    }

    fn kind(&self) -> &'static str {
        "wired"
    }

    fn receive(&mut self, _: &mut PacketBatch) -> Result<usize, NetdevError> {
        Ok(0)
    }

    fn send(&mut self, _: &mut PacketBatch) -> Result<(), NetdevError> {
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }

    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        Some(std::os::fd::AsFd::as_fd(&*self.wire))
    }

    fn polling(&self) -> Polling {
        Polling::Either
    }

    fn another(&self) -> Option<Box<dyn Netdev>> {
        self.is_shared.then(|| Box::new(Wired { wire: self.wire.clone(), is_shared: true }) as Box<dyn Netdev>)
    }
}

#[test]
fn what_workers_poll_wakes_nobody_else() {
    for is_shared in [false, true] {
        let mut crew = Crew::new(0);
        let wire = Arc::new(std::os::unix::net::UnixStream::pair().unwrap().0);
        crew.workers.port_add(PortSpec::Device(Box::new(Wired { wire, is_shared })), None).unwrap();
        assert_eq!(crew.workers.fds().len(), 2, "the device and the door");
        crew.set(|settings| settings.cores = Some(vec![0]));
        assert_eq!((crew.workers.crew().len(), crew.workers.fds().len()), (1, 1));
        crew.set(|settings| settings.cores = None);
        assert_eq!((crew.workers.crew().len(), crew.workers.fds().len()), (0, 2));
    }
}

#[test]
fn all_workers_lose_the_megaflow_that_makes_room() {
    let mut crew = Crew::new(3);
    let mask = always_matched();
    for eth_type in [0x88b5u16, 0x88b6, 0x88b7] {
        let key = FlowKey { in_port: 1.into(), eth_type: eth_type.into(), ..FlowKey::ZERO };
        crew.workers.flow_install(&FlowPut::new(&key, &mask, &[]).with_everywhere()).unwrap();
    }
    assert!(crew.workers.flow_make_room(PortNo(2), None));
    let [gone] = &crew.workers.take_evicted()[..] else { panic!("one megaflow, from all workers") };
    let left = crew.workers.ask_all(|dp| dp.flow_dump()).unwrap();
    for flows in left.into_iter().map(Result::unwrap) {
        assert!(flows.len() == 2 && flows.iter().all(|flow| flow.ufid != gone.ufid));
    }
    assert!(!crew.workers.flow_make_room(PortNo(2), Some(&[PortNo(3)])));
}

/// What goes out of ports, sorted.
fn sent(crew: &mut Crew, ports: &[PortNo]) -> Vec<Vec<Vec<u8>>> {
    let mut of = |port: &PortNo| {
        let mut all: Vec<_> = crew.take(*port).iter().map(|packet| packet.data().to_vec()).collect();
        all.sort();
        all
    };
    ports.iter().map(&mut of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// What workers, their megaflows and their caches make of packets is what is decided for each alone, and packets of one
    /// megaflow have the same done to them, whichever worker they come to.
    #[test]
    fn cached_equals_uncached_and_the_same_megaflow_has_the_same_actions_in_any_worker(
        packets in prop::collection::vec((0..4u32, 0..6u32, 0..40u16, 0..6u16, any::<bool>(), 0..80usize), 1..100),
        chunk in 1..70usize, workers in 0..3u32,
    ) {
        let frames: Vec<Packet> = packets.iter().map(|(src, dst, from, to, tcp, len)| {
            let proto = if *tcp { "tcp" } else { "udp" };
            let words = format!("{proto},nw_src=10.0.{src}.7,nw_dst=10.1.0.{dst},tp_src={from},tp_dst={to},nw_ttl=64");
            compose(words.parse::<Match>().unwrap().key(), &vec![7; *len])
        }).collect();
        let make = |workers| {
            let mut crew = Crew::new(workers);
            let ports = ["p1", "p2", "p3"].map(|name| crew.add_port(name, None).unwrap());
            (crew, ports)
        };
        let (mut alone, ports) = make(0);
        for frame in &frames {
            let mut packet = frame.clone();
            packet.meta.in_port = 1;
            let mut key = FlowKey::ZERO;
            ovs_packet::extract::extract(&mut packet, &mut key);
            alone.workers.inject(packet, &decide(&key).1, Instant::ZERO, &mut Vec::new());
        }
        let expected = sent(&mut alone, &ports);
        let (mut crew, ports) = make(workers);
        for frames in frames.chunks(chunk) {
            frames.iter().for_each(|frame| crew.send(ports[0], frame.clone()));
            let now = crew.now();
            for upcall in crew.quiet() {
                let (mask, actions) = decide(&upcall.key);
                crew.workers.flow_put(&upcall.key, &mask, &actions).unwrap();
                crew.workers.resolve(upcall, crate::Resolution::Execute(&actions), now, &mut Vec::new());
            }
        }
        prop_assert_eq!(sent(&mut crew, &ports), expected);
        crew.quiet();
        let (counts, truth) = (crew.workers.ledger().clone(), alone.workers.ledger().clone());
        prop_assert!(counts.balanced());
        prop_assert_eq!(counts.forwarded, truth.forwarded);
        prop_assert_eq!(counts.dropped().collect::<Vec<_>>(), truth.dropped().collect::<Vec<_>>());
        let stats = crew.workers.stats().unwrap();
        prop_assert_eq!(stats.hits + stats.missed, frames.len() as u64);
        prop_assert_eq!(crew.workers.flow_dump().unwrap().iter().map(|f| f.stats.packets).sum::<u64>(), stats.hits);
    }
}

/// A card is its port's driver's: the first of an order, or what is preferred for the port; another forgets.
#[test]
fn drivers_share_the_cards_by_their_order() {
    let mut crew = Crew::new(0);
    let ports: Vec<PortNo> = ["a", "b", "c"].map(|name| crew.add_dummy(name, 1).0).to_vec();
    let of_ports =
        |crew: &Crew| crew.workers.cards().into_iter().map(|card| (card.port, card.driver)).collect::<Vec<_>>();
    assert_eq!(of_ports(&crew), ports.iter().map(|port| (*port, "dummy")).collect::<Vec<_>>());
    crew.workers.set_flow_offload(true);
    let (mut key, mut mask) = (FlowKey::ZERO, always_matched());
    ovs_packet::extract::extract(&mut udp(1), &mut key);
    key.in_port.set(ports[0].0);
    mask.add(ovs_packet::field::FieldId::NwProto);
    let ufid = crew.workers.flow_put(&key, &mask, &[DpAction::Output(ports[1])]).unwrap();
    assert_eq!(crew.workers.offloaded(ufid).unwrap().by, "dummy");
    crew.workers.prefer_offload_drivers(ports[1], Some(vec![]));
    crew.workers.prefer_offload_drivers(ports[2], Some(vec!["dummy_x", "dummy"]));
    assert_eq!(of_ports(&crew), [(ports[0], "dummy"), (ports[2], "dummy_x")]);
    assert!(crew.workers.offloaded(ufid).is_some(), "other ports' cards stay");
    let counts = |crew: &Crew| crew.workers.offload_stats().into_iter().map(|s| (s.driver, s.counters[0].1)).collect();
    let both: Vec<(&str, u64)> = counts(&crew);
    assert_eq!(both, [("dummy", 1), ("dummy_x", 1)]);
    crew.workers.set_offload_drivers(&["dummy_x", "dummy"]);
    assert_eq!(of_ports(&crew), [(ports[0], "dummy_x"), (ports[2], "dummy_x")]);
    assert!(crew.workers.offloaded(ufid).is_none());
    crew.workers.flow_put(&key, &mask, &[]).unwrap();
    assert_eq!(crew.workers.offloaded(ufid).unwrap().by, "dummy_x");
    crew.workers.prefer_offload_drivers(ports[1], None);
    crew.workers.port_del(ports[2]).unwrap();
    assert_eq!(of_ports(&crew), [(ports[0], "dummy_x"), (ports[1], "dummy_x")]);
    crew.workers.set_offload_drivers(&[]);
    let none: Vec<(&str, u64)> = counts(&crew);
    assert!(none.is_empty() && of_ports(&crew).is_empty() && crew.workers.offloaded(ufid).is_none());
    crew.workers.set_flow_offload(false);
    assert!(crew.workers.offload_stats().is_empty());
}

/// Where a key might have to be looked for in several places, each worker's cache is asked first.
#[test]
fn workers_answer_from_their_caches() {
    for workers in [0, 1] {
        let mut crew = Crew::new(workers);
        let (from, to) = (crew.add_port("a", None).unwrap(), crew.add_port("b", None).unwrap());
        // Masks that have little in common, so that no hash table is for more than one.
        let fields = ["nw_src", "nw_dst", "tp_src", "tp_dst"];
        for i in 0..4u16 {
            let (field, value) =
                (fields[usize::from(i)], if i < 2 { "10.0.0.9".into() } else { (900 + i).to_string() });
            let m: Match = format!("in_port={},udp,{field}={value}", from.0).parse().unwrap();
            crew.workers.flow_put(&m.key(), &m.mask(), &[DpAction::Output(to)]).unwrap();
        }
        let frames = ["nw_src=10.0.0.9", "nw_dst=10.0.0.9", "tp_src=902", "tp_dst=903"];
        let thread = if workers == 0 { ThreadId::Main } else { ThreadId::Core(0) };
        let mut cached = Vec::new();
        for _ in 0..3 {
            for words in frames {
                crew.send(from, compose(format!("udp,{words}").parse::<Match>().unwrap().key(), b""));
            }
            assert_eq!(crew.take(to).len(), 4);
            cached.push(crew.workers.performance(thread).unwrap().cached);
        }
        assert_eq!((cached[1] - cached[0], cached[2] - cached[1]), (4, 4), "{cached:?}");
    }
}

#[test]
fn cards_match_megaflows_and_do_what_they_can() {
    for workers in [0, 2] {
        let mut crew = Crew::new(workers);
        let (a, from) = crew.add_dummy("a", 1);
        let (b, to) = crew.add_dummy("b", 1);
        let (mut key, mut mask) = (FlowKey::ZERO, always_matched());
        ovs_packet::extract::extract(&mut udp(1), &mut key);
        key.in_port.set(a.0);
        mask.add(ovs_packet::field::FieldId::NwProto);
        let push = DpAction::PushVlan { tpid: 0x8100, tci: 0x1005 };
        crew.workers.flow_put(&key, &mask, &[DpAction::Output(b)]).unwrap();
        crew.workers.set_flow_offload(true);
        from.receive(udp(1), 0);
        assert_eq!(
            (from.pop().is_some(), crew.workers.offloaded(crate::Ufid::of(&Match::new(key, mask)))),
            (false, None)
        );

        // All of it.
        let ufid = crew.workers.flow_put(&key, &mask, &[DpAction::Output(b)]).unwrap();
        assert_eq!(crew.workers.offloaded(ufid).unwrap().level, crate::netdev::Level::Full);
        crew.quiet();
        let before = crew.workers.ledger().received;
        from.set_now(Instant::from_secs(9));
        from.receive(udp(2), 0);
        crew.quiet();
        assert_eq!(crew.workers.ledger().received, before, "the datapath does not see it");
        let flow = crew.workers.flow_get(ufid).unwrap();
        assert_eq!((flow.stats.packets, flow.stats.used >= Some(Instant::from_secs(9))), (2, true));
        assert_eq!(crew.workers.flow_counters(ufid).unwrap(), flow.stats);
        assert_eq!(crew.workers.flow_dump().unwrap()[0].stats, flow.stats);
        let per_thread: u64 = crew
            .workers
            .threads()
            .into_iter()
            .flat_map(|thread| crew.workers.flows_of(thread))
            .map(|flow| flow.stats.packets)
            .sum();
        assert_eq!(per_thread, 2);
        assert_eq!(to.stats().tx_packets, 2);

        // A part: the card tells, the datapath does.
        crew.workers.flow_put(&key, &mask, &[push, DpAction::Output(b)]).unwrap();
        assert_eq!(crew.workers.offloaded(ufid).unwrap().level, crate::netdev::Level::Partial);
        from.receive(udp(3), 0);
        crew.quiet();
        assert_eq!(crew.workers.ledger().received, before + 1);
        let threads = crew.workers.threads();
        let marked: u64 = threads.iter().filter_map(|t| crew.workers.performance(*t)).map(|did| did.marked).sum();
        assert_eq!((marked, to.stats().tx_packets), (1, 3));

        // Where a packet was to go is no more: the datapath gets it.
        crew.workers.flow_put(&key, &mask, &[DpAction::Output(b)]).unwrap();
        crew.workers.port_del(b).unwrap();
        from.receive(udp(4), 0);
        crew.quiet();
        assert_eq!(crew.workers.ledger().drops(DropReason::UnknownPort), 1);
        let Card { name, driver: kind, counts, .. } = crew.workers.cards().remove(0);
        assert_eq!((name.as_str(), kind), ("a", "dummy"));
        let [partial, full, missed, aborted] = [counts.partial, counts.full, counts.missed, counts.aborted];
        assert_eq!([partial, full, missed, aborted], [1, 2, 1, 1]);
        assert_eq!(crew.workers.flow_del(ufid).unwrap().stats.packets, 4);
        assert!(crew.workers.offloaded(ufid).is_none());
        crew.workers.set_flow_offload(false);
        from.receive(udp(5), 0);
        assert_eq!(crew.workers.cards()[0].counts, counts);
    }
}
