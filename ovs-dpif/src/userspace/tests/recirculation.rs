//! Packets that come back: how often, tracked, and as what.

use super::*;

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

/// However often it is tracked, and in however many zones, an IPv4 header is summed once, and not where a device has.
#[test]
fn headers_that_tracking_summed_are_counted() {
    let mut b = Bench::<2>::new(100);
    let ct = |zone| DpAction::Ct(CtRequest::commit(zone));
    b.install("in_port=1,recirc_id=0", &[ct(1), ct(2), DpAction::Recirc(5)]);
    b.install("in_port=1,recirc_id=5,ct_state=-inv+trk", &[ct(1), DpAction::Output(PortNo(2))]);
    b.install("in_port=1,recirc_id=5,ct_state=+inv+trk", &[]);
    let (v4, v6) = (UDP.parse::<Match>().unwrap(), "udp6,ipv6_src=::1,ipv6_dst=::2,tp_src=1,tp_dst=2".parse().unwrap());
    let summed = |b: &mut Bench<2>, packet: Packet| {
        let events = |b: &Bench<2>| b.dp.events().into_iter().collect::<BTreeMap<_, _>>();
        let before = events(b);
        b.ends[0].push(packet);
        assert!(b.poll().is_empty());
        ["conntrack_l3csum_checked", "conntrack_l3csum_err"].map(|name| events(b)[name] - before[name])
    };
    let right = compose(v4.key(), b"payload");
    // Of a connection that is not there, and of one that is; by itself, and in a batch.
    assert_eq!([(); 2].map(|()| summed(&mut b, right.clone())), [[1, 0]; 2]);
    assert!((0..4).all(|_| b.ends[0].push(right.clone())));
    assert_eq!(summed(&mut b, right.clone()), [5, 0]);
    assert_eq!(summed(&mut b, compose(Match::key(&v6), b"payload")), [0, 0]);
    let mut known = right.clone();
    known.offload.ip = IpChecksum::Good;
    assert_eq!(summed(&mut b, known), [0, 0]);
    let mut wrong = right;
    wrong.data_mut()[24] ^= 1;
    assert_eq!(summed(&mut b, wrong), [2, 2]);
    assert_eq!(b.received(2).len(), 9);
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
