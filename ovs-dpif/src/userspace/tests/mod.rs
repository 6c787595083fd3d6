//! A datapath as a whole: what comes in, comes up, goes out and is counted.

mod actions;
mod bounds;
pub(super) mod properties;
mod recirculation;

use std::collections::BTreeMap;

use ovs_conntrack::fragment::{self, Gathered};
use ovs_conntrack::{CtRequest, Nat, NatRange};
use ovs_packet::FlowKey;
use ovs_packet::Match;
use ovs_packet::compose::compose;
use ovs_packet::field::{FieldId, KeyAttr};
use ovs_packet::packet::{Gso, GsoKind, IpChecksum};
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
fn what_is_busy_is_looked_for_first() {
    let mut b = Bench::<2>::new(100);
    b.install("in_port=1,udp,nw_dst=10.0.0.9", &[]);
    b.install("in_port=1,udp,nw_src=10.0.0.1", &[DpAction::Output(PortNo(2))]);
    let mut probes = |millis: u64| {
        let before = b.dp.stats().unwrap().probes.unwrap();
        b.send(1, UDP);
        b.dp.poll(Instant::from_millis(millis), &mut Vec::new());
        b.dp.stats().unwrap().probes.unwrap() - before
    };
    assert_eq!([1000, 1500, 2000, 2500].map(&mut probes), [2, 2, 1, 1]);
    assert_eq!(b.received(2).len(), 4);
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
