//! What holds for any flows, packets and changes.

use super::*;

/// Action lists of every kind, nested a little.
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
        let done = match upcall.kind {
            UpcallKind::Stale(ufid) if dp.flow_get(ufid).unwrap().actions == actions => dp.flow_keep(ufid).map(|_| ()),
            _ => dp.flow_put(&upcall.key, &mask, &actions).map(|_| ()),
        };
        done.unwrap();
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
pub(in crate::userspace) fn decide(key: &FlowKey) -> (FlowMask, Vec<DpAction>) {
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
