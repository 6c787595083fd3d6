use ovs_conntrack::fragment::{self, Gathered};
use ovs_conntrack::{CtRequest, Nat, NatRange};
use ovs_packet::FlowKey;
use ovs_packet::Match;
use ovs_packet::compose::compose;
use ovs_packet::field::{FieldId, KeyAttr};
use ovs_packet::packet::{Gso, GsoKind};
use proptest::prelude::*;

use super::*;
use crate::action::{Cookie, HashAlgorithm, SlowPath, Userspace};
use crate::connections::Connection;
use crate::dpif::{UpcallKind, always_matched};
use crate::drops::DropReason;
use crate::meter::{Band, Config, Unit};
use crate::netdev::{MemPort, MemPortPeer, Offloads};

/// A datapath with ports 1 to `N`, whose other ends are at hand.
struct Bench<const N: usize> {
    dp: Datapath,
    ends: [MemPortPeer; N],
}

impl<const N: usize> Bench<N> {
    fn new(queue: usize) -> Self {
        let mut dp = Datapath::with_limits(Limits { flows: 10, upcalls: 5, ..Limits::default() }, 1);
        let ends = std::array::from_fn(|i| {
            let (port, end) = MemPort::new(format!("p{}", i + 1), queue);
            assert_eq!(dp.port_add(PortSpec::Device(Box::new(port)), None).unwrap(), PortNo(i as u32 + 1));
            end
        });
        Bench { dp, ends }
    }

    fn install(&mut self, m: &str, actions: &[DpAction]) -> Ufid {
        let m: Match = m.parse().unwrap();
        self.dp.flow_put(&m.key(), &m.mask(), actions).unwrap()
    }

    fn send(&mut self, from: usize, m: &str) {
        self.ends[from - 1].push(compose(m.parse::<Match>().unwrap().key(), b"payload"));
    }

    fn poll(&mut self) -> Vec<Upcall> {
        let mut upcalls = Vec::new();
        while self.dp.poll(Instant::from_secs(1), &mut upcalls) > 0 {}
        assert!(self.dp.ledger().balanced(), "{}", self.dp.ledger());
        upcalls
    }

    fn received(&self, at: usize) -> Vec<Packet> {
        std::iter::from_fn(|| self.ends[at - 1].pop()).collect()
    }
}

const UDP: &str = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2";

#[test]
fn a_flood_is_forwarded_once() {
    let mut b = Bench::<3>::new(10);
    let ufid = b.install("in_port=1", &[DpAction::Output(PortNo(2)), DpAction::Output(PortNo(3))]);
    b.send(1, UDP);
    assert!(b.poll().is_empty());
    assert_eq!((b.received(2).len(), b.received(3).len()), (1, 1));
    assert_eq!((b.dp.ledger().received, b.dp.ledger().forwarded), (1, 1));
    let flow = b.dp.flow_del(ufid).unwrap();
    assert_eq!((flow.stats.packets, flow.stats.used), (1, Some(Instant::from_secs(1))));
    assert!(matches!(b.dp.flow_del(ufid), Err(DpifError::NoSuchFlow(_))));
}

#[test]
fn a_miss_comes_up_and_is_resolved() {
    let mut b = Bench::<2>::new(10);
    b.send(1, UDP);
    let mut upcalls = b.poll();
    assert_eq!((upcalls.len(), b.dp.ledger().in_flight), (1, 1));
    let upcall = upcalls.remove(0);
    assert_eq!((&upcall.kind, upcall.key.in_port.get(), upcall.key.tp_dst.get()), (&UpcallKind::Miss, 1, 2));
    b.dp.resolve(upcall, Resolution::Execute(&[DpAction::Output(PortNo(2))]), Instant::ZERO, &mut upcalls);
    assert_eq!((b.received(2).len(), b.dp.ledger().in_flight), (1, 0));
    for resolution in [Resolution::Consumed, Resolution::Drop(DropReason::TableMiss)] {
        b.send(1, UDP);
        let upcall = b.poll().remove(0);
        b.dp.resolve(upcall, resolution, Instant::ZERO, &mut upcalls);
    }
    assert_eq!((b.dp.ledger().consumed, b.dp.ledger().drops(DropReason::TableMiss)), (1, 1));
    assert!(b.dp.ledger().balanced());
}

#[test]
fn upcalls_are_bounded_and_no_port_takes_all_the_room() {
    let mut b = Bench::<2>::new(100);
    (0..8).for_each(|_| b.send(1, UDP));
    let mut upcalls = b.poll();
    // Of five places, as many as are left free.
    let lost = |b: &Bench<2>| (b.dp.stats().unwrap().lost, b.dp.ledger().drops(DropReason::UpcallQueueFull));
    assert_eq!((upcalls.len(), lost(&b)), (3, (5, 5)));
    (0..8).for_each(|_| b.send(2, UDP));
    upcalls.extend(b.poll());
    assert_eq!((upcalls.len(), lost(&b)), (4, (12, 12)));
    upcalls.drain(..).for_each(|u| b.dp.resolve(u, Resolution::Consumed, Instant::ZERO, &mut Vec::new()));
    b.send(1, UDP);
    assert_eq!(b.poll().len(), 1, "room comes back");
}

#[test]
fn misses_of_a_port_have_a_rate() {
    let limits = Limits { port_misses_per_second: 10, port_miss_burst: 3, ..Limits::default() };
    let mut dp = Datapath::with_limits(limits, 1);
    let ends = ["p1", "p2"].map(|name| {
        let (port, end) = MemPort::new(name, 100);
        dp.port_add(PortSpec::Device(Box::new(port)), None).unwrap();
        end
    });
    let mut at = |millis: u64, from: usize, n: usize| {
        (0..n).for_each(|_| assert!(ends[from].push(compose(UDP.parse::<Match>().unwrap().key(), b""))));
        let (now, mut upcalls) = (Instant::from_millis(millis), Vec::new());
        dp.poll(now, &mut upcalls);
        let came = upcalls.len();
        upcalls.into_iter().for_each(|u| dp.resolve(u, Resolution::Consumed, now, &mut Vec::new()));
        (came, dp.ledger().drops(DropReason::UpcallRate))
    };
    assert_eq!(at(1000, 0, 5), (3, 2), "the burst");
    assert_eq!(at(1000, 1, 2), (2, 2), "another port has its own");
    assert_eq!(at(1150, 0, 5), (1, 6));
    assert_eq!(at(1200, 0, 5), (1, 10), "what was left of a hundredth counts");
    assert_eq!(at(9000, 0, 5), (3, 12), "no more than the burst");
}

#[test]
fn a_port_beyond_its_quota_loses_its_own_megaflows() {
    let limits = Limits { port_flows: 8, port_masks: 4, ..Limits::default() };
    let mut dp = Datapath::with_limits(limits, 1);
    let (port, end) = MemPort::new("p1", 100);
    dp.port_add(PortSpec::Device(Box::new(port)), None).unwrap();
    let put = |dp: &mut Datapath, port: u32, dst: u32, prefix: u32| {
        let mut mask = always_matched();
        mask.bits.nw_dst = (u32::MAX << (32 - prefix)).into();
        let m: Match = format!("in_port={port},udp").parse().unwrap();
        let key = FlowKey { nw_dst: dst.into(), ..m.key() };
        dp.flow_put(&key, &mask, &[DpAction::Drop(DropReason::FlowDrop)]).unwrap()
    };
    let other = put(&mut dp, 2, 1, 32);
    let used = put(&mut dp, 1, 0x0a00_0002, 32);
    let first = put(&mut dp, 1, 2, 32);
    for dst in 3..9 {
        put(&mut dp, 1, dst, 32);
    }
    assert!(dp.take_evicted().is_empty());
    end.push(compose(UDP.parse::<Match>().unwrap().key(), b""));
    dp.poll(Instant::ZERO, &mut Vec::new());
    put(&mut dp, 1, 9, 32);
    let gone: Vec<_> = dp.take_evicted().iter().map(|flow| flow.ufid).collect();
    assert_eq!(gone, [first], "the one that is used has a second chance");
    // Masks: one after the other, each with a megaflow.
    for prefix in 1..=31 {
        put(&mut dp, 1, 0x8000_0000, prefix);
    }
    assert!(dp.flow_get(other).is_ok() && dp.flow_get(used).is_ok());
    let flows = dp.flow_dump().unwrap();
    let of_port: Vec<_> = flows.iter().filter(|flow| FlowKey::from(&flow.key).in_port.get() == 1).collect();
    let masks: std::collections::BTreeSet<_> = of_port.iter().map(|flow| flow.mask.words().to_vec()).collect();
    assert!(of_port.len() <= 8 && masks.len() <= 4, "{} megaflows, {} masks", of_port.len(), masks.len());
    assert_eq!(dp.stats().unwrap().evicted as usize, 1 + dp.take_evicted().len());
    dp.flow_flush().unwrap();
    put(&mut dp, 1, 1, 32);
    assert!(dp.take_evicted().is_empty());
}

#[test]
fn the_port_with_the_most_megaflows_makes_room_for_others() {
    let mut b = Bench::<1>::new(1);
    let put = |b: &mut Bench<1>, port: u32, dst: u32| {
        let mut mask = always_matched();
        mask.bits.nw_dst = u32::MAX.into();
        let key = FlowKey { in_port: port.into(), nw_dst: dst.into(), ..FlowKey::ZERO };
        b.dp.flow_put(&key, &mask, &[])
    };
    let flows = |b: &Bench<1>| {
        let dump = b.dp.flow_dump().unwrap();
        [1, 2, 3].map(|port| dump.iter().filter(|f| FlowKey::from(&f.key).in_port.get() == port).count())
    };
    // A port alone may have all, and nobody makes room for it.
    (0..10).for_each(|dst| assert!(put(&mut b, 1, dst).is_ok()));
    assert!(matches!(put(&mut b, 1, 10), Err(DpifError::FlowTableFull(10))));
    assert!(!b.dp.flow_make_room(PortNo(1), None));
    // Others get as many each as it keeps, and no more.
    for dst in 0..10 {
        for port in [2, 3] {
            if b.dp.flow_make_room(PortNo(port), None) {
                put(&mut b, port, dst).unwrap();
            }
        }
    }
    assert_eq!(flows(&b), [4, 3, 3]);
    assert_eq!((b.dp.take_evicted().len(), b.dp.stats().unwrap().evicted), (6, 6));
    // Ports that are not asked keep theirs.
    assert!(!b.dp.flow_make_room(PortNo(4), Some(&[PortNo(5)])));
    assert!(b.dp.flow_make_room(PortNo(4), Some(&[PortNo(3), PortNo(5)])));
    assert_eq!(flows(&b), [4, 3, 2]);
}

#[test]
fn what_cannot_be_sent_is_counted() {
    let mut b = Bench::<2>::new(3);
    b.install("in_port=1,udp", &[DpAction::Output(PortNo(2))]);
    b.install("in_port=1,arp", &[DpAction::Output(PortNo(9))]);
    b.install("in_port=1,icmp", &[]);
    for _ in 0..2 {
        (0..2).for_each(|_| b.send(1, UDP));
        b.poll();
    }
    b.send(1, "arp");
    b.send(1, "icmp");
    b.poll();
    let l = b.dp.ledger();
    assert_eq!((l.forwarded, l.drops(DropReason::TxFull)), (3, 1));
    assert_eq!((l.drops(DropReason::UnknownPort), l.drops(DropReason::FlowDrop)), (1, 1));
    // A copy that was sent counts more than one that was not.
    b.received(2);
    b.install(
        "in_port=1,icmp",
        &[DpAction::Output(PortNo(9)), DpAction::Output(PortNo(2)), DpAction::Output(PortNo(9))],
    );
    b.send(1, "icmp");
    b.poll();
    assert_eq!(b.dp.ledger().forwarded, 4);
}

#[test]
fn sets_tags_and_clones() {
    let mut b = Bench::<2>::new(10);
    let set = |m: &str| {
        let m: Match = m.parse().unwrap();
        DpAction::Set(KeyAttr::Ipv4, (&m).into())
    };
    b.install(
        "in_port=1",
        &[
            DpAction::Clone(vec![set("ip,nw_dst=9.9.9.9"), DpAction::Output(PortNo(2))]),
            DpAction::PushVlan { tpid: 0x8100, tci: 7 },
            DpAction::Output(PortNo(2)),
            DpAction::PopVlan,
            DpAction::Output(PortNo(2)),
        ],
    );
    b.send(1, UDP);
    b.poll();
    let mut keys = b.received(2).into_iter().map(|mut p| {
        let mut k = ovs_packet::FlowKey::ZERO;
        assert_eq!(ovs_packet::extract::extract(&mut p, &mut k).malformed, None);
        (k.ipv4_dst().to_string(), k.vlan_vid())
    });
    let here = "10.0.0.2".to_string();
    assert_eq!(keys.next(), Some(("9.9.9.9".into(), None)));
    assert_eq!(keys.next(), Some((here.clone(), Some(7))));
    assert_eq!(keys.next(), Some((here, None)));
    // A set that does not fit the packet drops it.
    b.send(1, "arp");
    b.poll();
    assert_eq!(b.dp.ledger().forwarded, 2, "the arp left by the clone's way never, but tagged and plain");
}

#[test]
fn recirculation_ends() {
    let mut b = Bench::<2>::new(10);
    b.install("recirc_id=0,in_port=1", &[DpAction::Recirc(5)]);
    b.install("recirc_id=5,udp", &[DpAction::Recirc(5)]);
    b.install("recirc_id=5,arp", &[DpAction::Output(PortNo(2))]);
    b.send(1, UDP);
    b.send(1, "arp");
    b.poll();
    assert_eq!(b.dp.ledger().drops(DropReason::RecirculationDepth), 1);
    assert_eq!(b.received(2).len(), 1);
}

#[test]
fn recirculation_ends_where_nothing_is_installed() {
    // Found by fuzzing: each upcall began to count anew, so with a full table of megaflows a loop never ended.
    let mut b = Bench::<1>::new(10);
    b.send(1, UDP);
    let mut upcalls = b.poll();
    let mut rounds = 0;
    while let Some(upcall) = upcalls.pop() {
        rounds += 1;
        assert!(rounds <= 1 + u32::from(MAX_RECIRCULATIONS));
        b.dp.resolve(upcall, Resolution::Execute(&[DpAction::Recirc(5)]), Instant::ZERO, &mut upcalls);
    }
    assert_eq!((rounds, b.dp.ledger().drops(DropReason::RecirculationDepth)), (1 + u32::from(MAX_RECIRCULATIONS), 1));
    assert!(b.dp.ledger().balanced());
}

#[test]
fn recirculated_copies_do_not_multiply() {
    // Found by fuzzing: a list of n recirculations to itself took n to the power of 8 lookups for one packet.
    let mut b = Bench::<2>::new(2000);
    let list = [DpAction::Recirc(5), DpAction::Clone(vec![DpAction::Recirc(5)]), DpAction::Output(PortNo(2))];
    let ufid = b.install("recirc_id=0", &list);
    let again = b.install("recirc_id=5", &[&list[..], &list[..]].concat());
    b.send(1, UDP);
    assert!(b.poll().is_empty());
    assert!(b.dp.flow_del(again).unwrap().stats.packets <= MAX_RECIRCULATED_COPIES.into());
    // A packet that is copied at each of its turns has all of them.
    b.install("recirc_id=0", &[DpAction::Recirc(5), DpAction::Output(PortNo(2))]);
    let again = b.install("recirc_id=5", &[DpAction::Recirc(5), DpAction::Output(PortNo(2))]);
    b.received(2);
    b.send(1, UDP);
    b.poll();
    assert_eq!(b.dp.flow_del(again).unwrap().stats.packets, u64::from(MAX_RECIRCULATIONS));
    assert_eq!(b.received(2).len(), 1 + usize::from(MAX_RECIRCULATIONS));
    b.dp.flow_del(ufid).unwrap();
}

#[test]
fn ports_without_offloads_get_finished_packets() {
    let mut dp = Datapath::new();
    let (a, end_a) = MemPort::new("a", 100);
    let (plain, end_plain) = MemPort::new("plain", 100);
    let (able, end_able) = MemPort::new("able", 100);
    for port in [a, plain, able.with_offloads(Offloads::ALL)] {
        dp.port_add(PortSpec::Device(Box::new(port)), None).unwrap();
    }
    dp.flow_put(&FlowKey::ZERO, &FlowMask::EMPTY, &[DpAction::Output(PortNo(2)), DpAction::Output(PortNo(3))]).unwrap();
    let mut big = compose("tcp,nw_src=1.1.1.1,tp_src=1".parse::<Match>().unwrap().key(), &[7; 4000]);
    ovs_packet::segment::make_partial(&mut big);
    big.offload.gso = Some(Gso { kind: GsoKind::TcpV4, size: 1000, ecn: false });
    end_a.push(big);
    dp.poll(Instant::ZERO, &mut Vec::new());
    assert_eq!(std::iter::from_fn(|| end_plain.pop()).map(|p| p.len()).collect::<Vec<_>>(), [1054; 4]);
    let whole = end_able.pop().unwrap();
    assert!(whole.len() == 4054 && whole.offload.gso.is_some() && end_able.pop().is_none());
    assert_eq!((dp.ledger().forwarded, dp.ledger().balanced()), (1, true));
}

#[test]
fn what_cannot_be_executed_is_refused() {
    let mut b = Bench::<1>::new(1);
    let nested = (0..20).fold(vec![], |inner, _| vec![DpAction::Clone(inner)]);
    assert!(matches!(b.dp.flow_put(&FlowKey::ZERO, &FlowMask::EMPTY, &nested), Err(DpifError::TooDeep(_))));
    let set = DpAction::Set(KeyAttr::InPort, (&Match::ANY).into());
    assert!(matches!(
        b.dp.flow_put(&FlowKey::ZERO, &FlowMask::EMPTY, &[set]),
        Err(DpifError::NotSettable(KeyAttr::InPort))
    ));
    for port in 0..10 {
        b.install(&format!("in_port={port}"), &[]);
    }
    assert!(matches!(b.dp.flow_put(&FlowKey::ZERO, &FlowMask::EMPTY, &[]), Err(DpifError::FlowTableFull(10))));
    // A flow that is there may still be changed.
    b.install("in_port=3", &[DpAction::PopVlan]);
    b.dp.flow_flush().unwrap();
    assert_eq!(b.dp.stats().unwrap().flows, 0);
}

#[test]
fn ports_are_numbered_and_named_once() {
    let mut b = Bench::<2>::new(1);
    let port = |name: &str| PortSpec::Device(Box::new(MemPort::new(name, 1).0));
    assert!(matches!(b.dp.port_add(port("p1"), None), Err(DpifError::PortExists(n)) if n == "p1"));
    assert!(matches!(b.dp.port_add(port("x"), Some(PortNo(2))), Err(DpifError::PortNumberTaken(PortNo(2)))));
    b.dp.port_del(PortNo(1)).unwrap();
    assert!(matches!(b.dp.port_del(PortNo(1)), Err(DpifError::NoSuchPort(PortNo(1)))));
    assert_eq!(b.dp.port_add(port("x"), None).unwrap(), PortNo(1));
    assert_eq!(b.dp.ports().unwrap().iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["x", "p2"]);
}

/// Action lists of every kind, nested a little.
fn lengths(end: &MemPortPeer) -> Vec<usize> {
    std::iter::from_fn(|| end.pop()).map(|p| p.len()).collect()
}

#[test]
fn a_cut_holds_for_one_output() {
    let mut b = Bench::<3>::new(10);
    let (two, three) = (DpAction::Output(PortNo(2)), DpAction::Output(PortNo(3)));
    b.install("in_port=1", &[DpAction::Trunc(20), two.clone(), three, DpAction::Trunc(30), two]);
    b.ends[0].push(Packet::from_slice(&[0; 60]));
    b.dp.poll(Instant::ZERO, &mut Vec::new());
    assert_eq!((lengths(&b.ends[1]), lengths(&b.ends[2])), (vec![20, 30], vec![60]));
}

#[test]
fn lengths_and_meters_and_chance_choose() {
    let mut b = Bench::<3>::new(100);
    let to = |n| vec![DpAction::Output(PortNo(n))];
    b.dp.meter_set(1, &Config::new(Unit::Packets, vec![Band::new(3)])).unwrap();
    b.install("in_port=1", &[DpAction::CheckPktLen { len: 60, greater: to(2), less_equal: to(3) }]);
    b.install("in_port=2", &[DpAction::Meter(1), DpAction::Output(PortNo(3))]);
    b.install("in_port=3", &[DpAction::Sample { probability: u32::MAX / 2, actions: to(1) }]);
    for len in [59, 60, 61, 62] {
        b.ends[0].push(Packet::from_slice(&vec![0; len]));
        b.ends[1].push(Packet::from_slice(&[0; 64]));
    }
    b.dp.poll(Instant::ZERO, &mut Vec::new());
    assert_eq!((lengths(&b.ends[1]), lengths(&b.ends[2])), (vec![61, 62], vec![59, 60, 64, 64, 64]));
    assert_eq!(b.dp.ledger().drops(DropReason::MeterExceeded), 1);
    assert!((0..100).all(|_| b.ends[2].push(Packet::from_slice(&[0; 64]))));
    while b.dp.poll(Instant::ZERO, &mut Vec::new()) > 0 {}
    assert!((25..75).contains(&lengths(&b.ends[0]).len()));
    assert!(b.dp.ledger().balanced());
}

#[test]
fn used_up_ttl_goes_its_own_way() {
    let mut b = Bench::<3>::new(10);
    b.install("in_port=1", &[DpAction::DecTtl(vec![DpAction::Output(PortNo(3))]), DpAction::Output(PortNo(2))]);
    for ttl in [64, 1, 0] {
        let m: Match = format!("udp,nw_src=1.1.1.1,nw_dst=2.2.2.2,nw_ttl={ttl}").parse().unwrap();
        b.ends[0].push(compose(m.key(), b""));
    }
    let v6: Match = "udp6,ipv6_src=::1,ipv6_dst=::2,nw_ttl=9".parse().unwrap();
    b.ends[0].push(compose(v6.key(), b""));
    b.dp.poll(Instant::ZERO, &mut Vec::new());
    let ttls = |end: &MemPortPeer| {
        let mut key = FlowKey::ZERO;
        let packets = std::iter::from_fn(|| end.pop());
        packets
            .map(|mut p| {
                ovs_packet::extract::extract(&mut p, &mut key);
                key.nw_ttl
            })
            .collect::<Vec<_>>()
    };
    assert_eq!((ttls(&b.ends[1]), ttls(&b.ends[2])), (vec![63, 8], vec![1, 0]));
}

#[test]
fn both_directions_have_one_symmetric_hash() {
    let mut b = Bench::<2>::new(10);
    let hash = |algorithm| vec![DpAction::Hash { algorithm, basis: 7 }, DpAction::Recirc(1)];
    b.install("recirc_id=0,in_port=1", &hash(HashAlgorithm::SymmetricL4));
    b.install("recirc_id=0,in_port=2", &hash(HashAlgorithm::L4));
    let mut hashes = Vec::new();
    for port in 0..2 {
        for m in [
            "tcp,nw_src=1.1.1.1,nw_dst=2.2.2.2,tp_src=1,tp_dst=2",
            "tcp,nw_src=2.2.2.2,nw_dst=1.1.1.1,tp_src=2,tp_dst=1",
        ] {
            b.ends[port].push(compose(m.parse::<Match>().unwrap().key(), b""));
            let mut upcalls = Vec::new();
            b.dp.poll(Instant::ZERO, &mut upcalls);
            for upcall in upcalls {
                hashes.push(upcall.key.dp_hash.get());
                b.dp.resolve(upcall, Resolution::Consumed, Instant::ZERO, &mut Vec::new());
            }
        }
    }
    assert!(hashes.iter().all(|h| *h != 0));
    assert!(hashes[0] == hashes[1] && hashes[2] != hashes[3]);
}

#[test]
fn a_set_writes_the_bits_of_its_mask_and_is_dumped_as_given() {
    let mut b = Bench::<2>::new(10);
    let given = "set(ipv4(dst=9.9.9.9/255.0.0.0)),2";
    let ufid = b.install("in_port=1", &crate::text::parse_actions(given, &()).unwrap());
    b.send(1, UDP);
    b.poll();
    let shown = crate::text::actions(&b.dp.flow_get(ufid).unwrap().actions).to_string();
    assert_eq!(shown, given);
    let mut got = FlowKey::ZERO;
    ovs_packet::extract::extract(&mut b.received(2)[0], &mut got);
    assert_eq!(got.ipv4_dst().to_string(), "9.0.0.2");
}

#[test]
fn dumps_show_the_packet_that_made_the_megaflow() {
    let mut b = Bench::<2>::new(10);
    let (key, mask) =
        crate::text::parse_key("recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.1.2.3/255.0.0.0)", &())
            .unwrap();
    let ufid = b.dp.flow_put(&key, &mask, &[]).unwrap();
    let shown = crate::text::flow(&b.dp.flow_get(ufid).unwrap(), Instant::ZERO).to_string();
    assert!(shown.contains("dst=10.1.2.3/255.0.0.0"), "{shown}");
    // Another packet of the same flow is the same megaflow.
    let other = FlowKey { nw_dst: 0x0a09_0909.into(), ..key };
    assert_eq!(b.dp.flow_put(&other, &mask, &[]).unwrap(), ufid);
}

#[test]
fn fragments_are_tracked_whole_and_translated() {
    let mut b = Bench::<2>::new(100);
    let nat = Nat::Source(NatRange::address([192, 0, 2, 7]));
    b.install("in_port=1,recirc_id=0", &[DpAction::Ct(CtRequest::commit(1).with_nat(nat)), DpAction::Recirc(5)]);
    b.install("in_port=1,recirc_id=5,ct_state=+new+trk", &[DpAction::Output(PortNo(2))]);
    let datagram = compose(UDP.parse::<Match>().unwrap().key(), &[7; 8000]);
    for fragment in fragment::split(datagram, 1500, 0).unwrap() {
        b.ends[0].push(fragment);
    }
    // One that is alone, one that is too small.
    let lone = fragment::split(compose(UDP.parse::<Match>().unwrap().key(), &[1; 3000]), 1500, 0).unwrap().remove(0);
    b.ends[0].push(lone);
    b.ends[0].push(fragment::split(compose(UDP.parse::<Match>().unwrap().key(), &[2; 900]), 576, 0).unwrap().remove(0));
    assert!(b.poll().is_empty());
    let out = b.received(2);
    assert_eq!(out.len(), 6);
    let mut fragments = ovs_conntrack::fragment::Fragments::new(Default::default());
    let whole = out.into_iter().fold(None, |whole, mut p| {
        ovs_packet::extract::extract(&mut p, &mut FlowKey::ZERO.clone());
        match fragments.gather(p, 0, Instant::ZERO) {
            Gathered::Whole(found) => Some(found.packet),
            _ => whole,
        }
    });
    assert_eq!(whole.unwrap().l3()[12..16], [192, 0, 2, 7]);
    let ledger = b.dp.ledger();
    // Five of six and the lone one are held, the sixth is forwarded for them.
    assert_eq!((ledger.received, ledger.forwarded, ledger.consumed), (8, 1, 6));
    assert_eq!(ledger.drops(DropReason::Fragment), 1);
    assert_eq!(b.dp.connection_count(), 1);
}

/// What the lookup read of a packet is right for tracking until an action changes the packet.
#[test]
fn what_is_tracked_is_the_packet_as_the_actions_before_left_it() {
    let mut b = Bench::<2>::new(100);
    let set = |to: &str| DpAction::Set(KeyAttr::Ipv4, (&format!("ip,nw_dst={to}").parse::<Match>().unwrap()).into());
    let ct = |zone| DpAction::Ct(CtRequest::commit(zone));
    let nat = CtRequest::commit(3).with_nat(Nat::Destination(NatRange::address([10, 9, 9, 9])));
    b.install("in_port=1", &[ct(1), set("10.7.7.7"), ct(2), DpAction::Ct(nat), ct(4), DpAction::Output(PortNo(2))]);
    (0..2).for_each(|_| b.send(1, UDP));
    assert!(b.poll().is_empty());
    let mut destinations = Vec::new();
    let mut note = |c: Connection| destinations.push((c.zone, c.original.dst.to_string()));
    b.dp.conntrack().unwrap().dump(None, Instant::from_secs(1), &mut note).unwrap();
    destinations.sort();
    let expected = [(1, "10.0.0.2"), (2, "10.7.7.7"), (3, "10.7.7.7"), (4, "10.9.9.9")];
    assert_eq!(destinations, expected.map(|(zone, to)| (zone, to.to_string())));
}

#[test]
fn packets_that_are_no_fragments_are_tracked_by_the_batch() {
    let mut b = Bench::<2>::new(100);
    b.install("in_port=1,recirc_id=0", &[DpAction::Ct(CtRequest::commit(1)), DpAction::Recirc(5)]);
    b.install("in_port=1,recirc_id=5,ct_state=+new+trk", &[DpAction::Output(PortNo(2))]);
    for port in 1..=40 {
        b.send(1, &format!("udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src={port},tp_dst=2"));
    }
    assert!(b.poll().is_empty());
    assert_eq!((b.received(2).len(), b.dp.connection_count()), (40, 40));
}

/// What was read of a packet stays its own while others of its batch go elsewhere, and come back changed or twice.
#[test]
fn packets_that_come_back_are_matched_as_what_they_are() {
    let mut b = Bench::<3>::new(100);
    let set = DpAction::Set(KeyAttr::Ipv4, (&"ip,nw_dst=10.7.7.7".parse::<Match>().unwrap()).into());
    let ct = || DpAction::Ct(CtRequest::commit(1));
    b.install("in_port=1,recirc_id=0,udp,tp_src=1", &[ct(), DpAction::Recirc(5)]);
    b.install("in_port=1,recirc_id=0,udp,tp_src=2", &[ct(), set, DpAction::Recirc(6)]);
    b.install("in_port=1,recirc_id=0,udp,tp_src=3", &[ct(), DpAction::Recirc(5), DpAction::Recirc(7)]);
    b.install("in_port=1,recirc_id=5,ct_state=+new+trk,udp,tp_src=1", &[ct(), DpAction::Output(PortNo(2))]);
    b.install("in_port=1,recirc_id=5,ct_state=+new+trk,udp,tp_src=3", &[ct(), DpAction::Output(PortNo(2))]);
    b.install("in_port=1,recirc_id=6,ct_state=+new+trk,ip,nw_dst=10.7.7.7", &[ct(), DpAction::Output(PortNo(3))]);
    b.install("in_port=1,recirc_id=7,ct_state=+new+trk,udp,tp_src=3", &[DpAction::Output(PortNo(3))]);
    for i in 0..30 {
        b.send(1, &format!("udp,nw_src=10.0.0.{i},nw_dst=10.0.0.2,tp_src={},tp_dst=2", 1 + i % 3));
    }
    assert!(b.poll().is_empty());
    let addresses = |packets: Vec<Packet>| packets.iter().map(|p| (p.l3()[15], p.l3()[19])).collect::<Vec<_>>();
    let (second, third) = (addresses(b.received(2)), addresses(b.received(3)));
    let of = |kinds: &[u8], to: u8| (0..30).filter(|i| kinds.contains(&(i % 3))).map(|i| (i, to)).collect::<Vec<_>>();
    let sorted = |mut list: Vec<(u8, u8)>| {
        list.sort_unstable();
        list
    };
    assert_eq!(sorted(second), of(&[0, 2], 2));
    assert_eq!(sorted(third), sorted([of(&[1], 7), of(&[2], 2)].concat()));
    // Those that were changed in between are of two connections.
    assert_eq!(b.dp.connection_count(), 40);
    assert_eq!((b.dp.ledger().dropped_total(), b.dp.ledger().forwarded), (0, 30));
}

fn actions() -> impl Strategy<Value = Vec<DpAction>> {
    let controller = Userspace::new(Cookie::SlowPath(SlowPath::ACTION));
    let ttl = {
        let mut m = Match::ANY;
        m.set(FieldId::NwTtl, 9);
        (&m).into()
    };
    let leaf = prop_oneof![
        (0u32..5).prop_map(|p| DpAction::Output(PortNo(p))),
        Just(DpAction::Userspace(controller)),
        (0u32..100).prop_map(DpAction::Trunc),
        any::<u32>().prop_map(|basis| DpAction::Hash { algorithm: HashAlgorithm::L4, basis }),
        Just(DpAction::Meter(1)),
        Just(DpAction::DecTtl(vec![DpAction::Output(PortNo(2))])),
        Just(DpAction::Set(KeyAttr::Ipv4, ttl)),
        Just(DpAction::PushVlan { tpid: 0x8100, tci: 3 }),
        Just(DpAction::PopVlan),
        Just(DpAction::CtClear),
        Just(DpAction::Drop(DropReason::VlanFiltered)),
        (0u32..3).prop_map(DpAction::Recirc),
    ];
    let list = prop::collection::vec(leaf, 0..4);
    list.prop_recursive(2, 8, 3, |inner| {
        (inner.clone(), inner).prop_map(|(mut a, b)| {
            a.push(DpAction::Clone(b));
            a
        })
    })
}

proptest! {
    /// Whatever the flows do, every packet is accounted for once.
    #[test]
    fn the_ledger_balances(
        lists in prop::collection::vec(actions(), 3), sends in prop::collection::vec((1usize..3, any::<bool>()), 0..30),
        queue in 0usize..6,
    ) {
        let mut b = Bench::<3>::new(queue);
        for (recirc, list) in lists.iter().enumerate() {
            // One id in three has no flow for ARP: those come up.
            let m = if recirc == 2 { "recirc_id=2,udp".to_string() } else { format!("recirc_id={recirc}") };
            b.install(&m, list);
        }
        for (from, udp) in sends {
            b.send(from, if udp { UDP } else { "arp" });
            let upcalls = b.poll();
            for (i, upcall) in upcalls.into_iter().enumerate() {
                let mut more = Vec::new();
                let resolution = [
                    Resolution::Execute(&[DpAction::Output(PortNo(1))]),
                    Resolution::Consumed,
                    Resolution::Drop(DropReason::TableMiss),
                ][i % 3];
                b.dp.resolve(upcall, resolution, Instant::ZERO, &mut more);
                prop_assert!(more.is_empty());
                prop_assert!(b.dp.ledger().balanced(), "{}", b.dp.ledger());
            }
        }
        prop_assert_eq!(b.dp.ledger().in_flight, 0);
    }
}

#[test]
fn megaflows_are_matched_by_their_masks() {
    let mut b = Bench::<2>::new(100);
    let mut mask = always_matched();
    mask.add(FieldId::NwDst);
    let key: Match = format!("in_port=1,{UDP}").parse().unwrap();
    b.dp.flow_put(&key.key(), &mask, &[DpAction::Output(PortNo(2))]).unwrap();
    b.send(1, UDP);
    b.send(1, "udp,nw_src=99.0.0.1,nw_dst=10.0.0.2,tp_src=7,tp_dst=8");
    assert!(b.poll().is_empty());
    b.send(1, "udp,nw_src=10.0.0.1,nw_dst=10.0.0.3");
    assert_eq!(b.poll().len(), 1);
    assert_eq!((b.dp.stats().unwrap().hits, b.dp.stats().unwrap().missed, b.dp.stats().unwrap().masks), (2, 1, 1));
}

#[test]
fn tags_beyond_the_limit_are_payload() {
    let mut b = Bench::<1>::new(10);
    let mut tagged = [0; 64];
    tagged[12..22].copy_from_slice(&[0x88, 0xa8, 0, 1, 0x81, 0x00, 0, 2, 0x08, 0x06]);
    for (limit, inner, headers) in [(0, 0x1002, 2), (1, 0, 1), (2, 0x1002, 2)] {
        b.dp.set_vlan_limit(limit).unwrap();
        assert_eq!(b.dp.features().vlan_headers, headers);
        b.ends[0].push(Packet::from_slice(&tagged));
        for upcall in b.poll() {
            assert_eq!((upcall.key.vlan_tci.get(), upcall.key.inner_vlan_tci.get()), (0x1001, inner));
            b.dp.resolve(upcall, Resolution::Consumed, Instant::ZERO, &mut Vec::new());
        }
        assert_eq!(b.dp.ledger().in_flight, 0);
    }
}

/// CVE-2019-25076, tuple space explosion: 8,192 frames, each of which differs from the victim's in one bit of each of
/// three fields and so has a mask of its own made.
#[test]
fn cve_2019_25076_a_victim_on_the_attacked_port_needs_few_probes() {
    let mut dp = Datapath::new();
    let (port, end) = MemPort::new("p1", 64);
    dp.port_add(PortSpec::Device(Box::new(port)), None).unwrap();
    let victim: Match = "in_port=1,tcp,nw_src=10.0.0.1,nw_dst=11.0.0.1,tp_src=1234,tp_dst=80".parse().unwrap();
    let prefix = |bits: u32, all: u32| if bits == 0 { 0 } else { u32::MAX << (all - bits) };
    for (i, j, k) in (0..32).flat_map(|i| (0..16).flat_map(move |j| (0..16).map(move |k| (i, j, k)))) {
        let mut key = victim.key();
        key.nw_src = (key.nw_src.get() ^ 1 << (31 - i)).into();
        key.tp_src = (key.tp_src.get() ^ 1 << (15 - j)).into();
        key.tp_dst = (key.tp_dst.get() ^ 1 << (15 - k)).into();
        let mut mask = always_matched();
        mask.add(FieldId::NwProto);
        mask.bits.nw_src = prefix(i + 1, 32).into();
        mask.bits.tp_src = (prefix(j + 1, 16) as u16).into();
        mask.bits.tp_dst = (prefix(k + 1, 16) as u16).into();
        dp.flow_put(&key, &mask, &[]).unwrap();
    }
    let mut mask = always_matched();
    [FieldId::NwProto, FieldId::NwSrc, FieldId::TcpSrc, FieldId::TcpDst].iter().for_each(|field| mask.add(*field));
    let mut key = victim.key();
    key.in_port = 1.into();
    dp.flow_put(&key, &mask, &[DpAction::Output(PortNo(1))]).unwrap();
    assert_eq!(dp.stats().unwrap().masks, 8192);

    let mut worst = 0;
    for _ in 0..64 {
        let before = dp.stats().unwrap().probes.unwrap();
        end.push(compose(victim.key(), b"victim"));
        dp.poll(Instant::ZERO, &mut Vec::new());
        assert!(end.pop().is_some(), "it is the victim's");
        worst = worst.max(dp.stats().unwrap().probes.unwrap() - before);
    }
    assert!(worst <= 16, "{worst} probes for a packet");
}

/// A pipeline of one rule: where packets of a protocol go.
struct Toy {
    ports: std::collections::BTreeMap<u8, PortNo>,
    translations: u32,
}

impl Toy {
    fn decide(&mut self, dp: &mut Datapath, upcall: Upcall) {
        self.translations += 1;
        let actions: Vec<_> = self.ports.get(&upcall.key.nw_proto).map(|p| DpAction::Output(*p)).into_iter().collect();
        let mut mask = always_matched();
        mask.add(FieldId::NwProto);
        match upcall.kind {
            UpcallKind::Stale(ufid) if dp.flow_get(ufid).unwrap().actions == actions => dp.flow_keep(ufid).unwrap(),
            _ => drop(dp.flow_put(&upcall.key, &mask, &actions).unwrap()),
        }
        dp.resolve(upcall, Resolution::Execute(&actions), Instant::ZERO, &mut Vec::new());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever changes between two packets, each goes where the pipeline as it is says; and what did not change is not
    /// translated more than once for each change.
    #[test]
    fn no_packet_takes_an_action_of_an_old_version(
        steps in prop::collection::vec((any::<bool>(), 0..2usize, 2..4u32), 1..60)
    ) {
        let mut b = Bench::<3>::new(100);
        let mut toy = Toy { ports: Default::default(), translations: 0 };
        let (mut changes, protocols) = (1, [6u8, 17]);
        for (change, protocol, port) in steps {
            if change {
                toy.ports.insert(protocols[protocol], PortNo(port));
                b.dp.publish();
                changes += 1;
                continue;
            }
            b.send(1, ["tcp,nw_src=1.1.1.1", "udp,nw_src=1.1.1.1"][protocol]);
            b.poll().into_iter().for_each(|upcall| toy.decide(&mut b.dp, upcall));
            let got = (b.received(2).len(), b.received(3).len());
            let wanted = toy.ports.get(&protocols[protocol]).map_or((0, 0), |p| ((p.0 == 2).into(), (p.0 == 3).into()));
            prop_assert_eq!(got, wanted);
        }
        prop_assert!(toy.translations <= 2 * changes);
    }
}

/// A pipeline that reads different bits of different packets, and tells which.
pub(super) fn decide(key: &FlowKey) -> (FlowMask, Vec<DpAction>) {
    let mut mask = always_matched();
    mask.add(FieldId::NwProto);
    mask.bits.tp_dst = 1.into();
    let out = |n: u32| DpAction::Output(PortNo(n));
    let ttl = |n: u128| {
        let mut m = Match::ANY;
        m.set(FieldId::NwTtl, n);
        DpAction::Set(KeyAttr::Ipv4, (&m).into())
    };
    let actions = if key.tp_dst.get() & 1 == 0 {
        mask.bits.nw_dst = 0xff.into();
        match key.nw_dst.get() & 0xff {
            0 => vec![],
            1 => vec![out(2)],
            2 => vec![DpAction::PushVlan { tpid: 0x8100, tci: 0x1005 }, out(3)],
            n => vec![ttl(n.into()), out(2), DpAction::Trunc(40), out(3)],
        }
    } else if key.nw_proto == 6 {
        mask.bits.nw_src = 0xffff_ff00.into();
        mask.bits.tp_src = 0xf.into();
        let n = u32::from(key.tp_src.get() & 0xf);
        match n % 4 {
            0 => vec![DpAction::Clone(vec![ttl(9), out(3)]), out(2)],
            1 => vec![DpAction::CheckPktLen { len: 60, greater: vec![out(3)], less_equal: vec![out(2)] }],
            2 => vec![out(2 + (key.nw_src.get() >> 8 & 1))],
            _ => vec![DpAction::PopVlan, out(9)],
        }
    } else {
        mask.bits.nw_dst = 0xffff_ffff.into();
        vec![out(2 + (key.nw_dst.get() & 1))]
    };
    (mask, actions)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What batches, megaflows and the cache make of packets is what is decided for each alone.
    #[test]
    fn cached_equals_uncached_and_the_same_megaflow_has_the_same_actions(
        packets in prop::collection::vec((0..4u32, 0..6u32, 0..40u16, 0..6u16, any::<bool>(), 0..80usize), 1..150),
        chunk in 1..70usize,
    ) {
        let frames: Vec<Packet> = packets.iter().map(|(src, dst, from, to, tcp, len)| {
            let proto = if *tcp { "tcp" } else { "udp" };
            let words = format!("{proto},nw_src=10.0.{src}.7,nw_dst=10.1.0.{dst},tp_src={from},tp_dst={to},nw_ttl=64");
            compose(words.parse::<Match>().unwrap().key(), &vec![7; *len])
        }).collect();
        let limits = Limits { upcalls: 1000, ..Limits::default() };
        let make = |cache: usize| {
            let mut dp = Datapath::with_limits(limits, 1);
            dp.table = MegaflowTable::with_layout(&key_layout(), 1).with_cache(cache);
            let ends = [1, 2, 3].map(|n| {
                let (port, end) = MemPort::new(format!("p{n}"), 1000);
                dp.port_add(PortSpec::Device(Box::new(port)), None).unwrap();
                end
            });
            (dp, ends)
        };
        let sent = |ends: &[MemPortPeer; 3]| {
            let all = |end: &MemPortPeer| {
                let mut all: Vec<_> = std::iter::from_fn(|| end.pop()).map(|p| p.data().to_vec()).collect();
                all.sort();
                all
            };
            [all(&ends[0]), all(&ends[1]), all(&ends[2])]
        };
        let (mut alone, alone_ends) = make(0);
        for frame in &frames {
            let mut packet = frame.clone();
            packet.meta.in_port = 1;
            let mut key = FlowKey::ZERO;
            ovs_packet::extract::extract(&mut packet, &mut key);
            alone.inject(packet, &decide(&key).1, Instant::ZERO, &mut Vec::new());
        }
        let expected = sent(&alone_ends);
        for cache in [0, 1000] {
            let (mut dp, ends) = make(cache);
            for frames in frames.chunks(chunk) {
                frames.iter().for_each(|frame| assert!(ends[0].push(frame.clone())));
                let mut upcalls = Vec::new();
                while dp.poll(Instant::ZERO, &mut upcalls) > 0 {}
                for upcall in upcalls {
                    let (mask, actions) = decide(&upcall.key);
                    dp.flow_put(&upcall.key, &mask, &actions).unwrap();
                    dp.resolve(upcall, Resolution::Execute(&actions), Instant::ZERO, &mut Vec::new());
                }
            }
            prop_assert_eq!(&sent(&ends), &expected);
            let (counts, truth) = (dp.ledger(), alone.ledger());
            prop_assert!(counts.balanced());
            prop_assert_eq!(counts.forwarded, truth.forwarded);
            prop_assert_eq!(counts.dropped().collect::<Vec<_>>(), truth.dropped().collect::<Vec<_>>());
            let stats = dp.stats().unwrap();
            prop_assert_eq!(stats.hits + stats.missed, frames.len() as u64);
            prop_assert_eq!(dp.flow_dump().unwrap().iter().map(|f| f.stats.packets).sum::<u64>(), stats.hits);
        }
    }
}
