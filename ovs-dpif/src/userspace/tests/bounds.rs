//! What traffic can fill has a bound, and who fills it pays.

use super::*;

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
