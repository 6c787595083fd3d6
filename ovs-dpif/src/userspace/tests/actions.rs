//! What actions do to packets.

use super::*;

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
