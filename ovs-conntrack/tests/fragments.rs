//! Fragments: joined and cut again, bounds kept, attacks dropped.

mod common;

use std::time::Duration;

use common::{Lab, packet, state, with_payload};
use ovs_conntrack::fragment::{self, FragmentDrop, FragmentLimits, Fragments, Gathered, SplitError, Whole};
use ovs_conntrack::{CtRequest, Nat, NatRange, Outcome};
use ovs_packet::{FlowKey, Instant, Packet, extract};
use proptest::prelude::*;

const NOW: Instant = Instant::from_secs(100);

fn udp(v6: bool, len: usize) -> Packet {
    let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
    match v6 {
        true => with_payload("udp6,ipv6_src=fd00::1,ipv6_dst=fd00::2,tp_src=1,tp_dst=2", &payload),
        false => with_payload("udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2", &payload),
    }
}

fn bytes(packets: &[Packet]) -> Vec<Vec<u8>> {
    packets.iter().map(|p| p.data().to_vec()).collect()
}

fn gather(fragments: &mut Fragments, packets: impl IntoIterator<Item = Packet>) -> Option<Whole> {
    packets.into_iter().fold(None, |whole, p| match fragments.gather(p, 0, NOW) {
        Gathered::Whole(found) => Some(found),
        _ => whole,
    })
}

/// A fragment of IPv4 by its offset and length, in bytes, and whether more follow.
fn piece(id: u16, offset: usize, len: usize, more: bool, fill: u8) -> Packet {
    let mut p = with_payload("ip,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_proto=17,nw_frag=later", &vec![fill; len]);
    let l3 = p.layers().l3.unwrap();
    let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    let data = p.data_mut();
    data[l3 + 4..l3 + 6].copy_from_slice(&id.to_be_bytes());
    data[l3 + 6..l3 + 8].copy_from_slice(&field.to_be_bytes());
    data[l3 + 10..l3 + 12].fill(0);
    let sum = ovs_packet::checksum::checksum(&data[l3..l3 + 20]);
    data[l3 + 10..l3 + 12].copy_from_slice(&sum.to_be_bytes());
    let mut key = FlowKey::ZERO;
    assert_eq!(extract::extract(&mut p, &mut key).malformed, None);
    p
}

#[track_caller]
fn dropped(fragments: &mut Fragments, p: Packet, reason: FragmentDrop) {
    let before = fragments.stats().dropped(reason);
    match fragments.gather(p, 0, NOW) {
        Gathered::Dropped(r) => assert_eq!(r, reason),
        other => panic!("{other:?}"),
    }
    assert!(fragments.stats().dropped(reason) > before);
}

#[test]
fn a_datagram_survives_in_any_order() {
    for v6 in [false, true] {
        let datagram = udp(v6, 8000);
        let sent = fragment::split(datagram.clone(), 1500, 77).unwrap();
        assert_eq!(sent.len(), 6);
        for turn in 0..6 {
            let mut shuffled = sent.clone();
            shuffled.rotate_left(turn);
            if turn % 2 == 1 {
                shuffled.reverse();
            }
            let mut fragments = Fragments::new(FragmentLimits::default());
            let whole = gather(&mut fragments, shuffled).unwrap();
            assert_eq!((whole.packet.data(), whole.fragments()), (datagram.data(), 6));
            assert_eq!(bytes(&whole.split()), bytes(&sent));
            let stats = fragments.stats();
            assert_eq!((stats.datagrams, stats.fragments, stats.bytes, stats.whole, stats.joined), (0, 0, 0, 1, 6));
        }
    }
}

#[test]
fn options_are_repeated_when_they_say_so() {
    let mut p = udp(false, 3000);
    let l3 = p.layers().l3.unwrap();
    let mut data = p.data().to_vec();
    // A stream identifier, which is copied, and a timestamp, which is not.
    let options = [0x88, 4, 1, 2, 0x44, 4, 5, 0];
    data.splice(l3 + 20..l3 + 20, options);
    data[l3] = 0x47;
    let total = (data.len() - l3) as u16;
    data[l3 + 2..l3 + 4].copy_from_slice(&total.to_be_bytes());
    data[l3 + 10..l3 + 12].fill(0);
    let sum = ovs_packet::checksum::checksum(&data[l3..l3 + 28]);
    data[l3 + 10..l3 + 12].copy_from_slice(&sum.to_be_bytes());
    p = Packet::from_slice(&data);
    extract::extract(&mut p, &mut FlowKey::ZERO.clone());
    let sent = fragment::split(p.clone(), 1500, 0).unwrap();
    assert_eq!(sent.iter().map(|f| f.l3()[0]).collect::<Vec<_>>(), [0x47, 0x46, 0x46]);
    assert_eq!(sent[1].l3()[20..24], [0x88, 4, 1, 2]);
    let whole = gather(&mut Fragments::new(FragmentLimits::default()), sent).unwrap();
    assert_eq!(whole.packet.data(), p.data());
}

#[test]
fn headers_that_ipv6_repeats() {
    let mut p = udp(true, 3000);
    let l3 = p.layers().l3.unwrap();
    let mut data = p.data().to_vec();
    // Hop by hop before, destination options behind: the latter are data to fragmentation.
    data.splice(l3 + 40..l3 + 40, [60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]);
    data[l3 + 6] = 0;
    let len = (data.len() - l3 - 40) as u16;
    data[l3 + 4..l3 + 6].copy_from_slice(&len.to_be_bytes());
    p = Packet::from_slice(&data);
    extract::extract(&mut p, &mut FlowKey::ZERO.clone());
    let sent = fragment::split(p.clone(), 1500, 0xdead_beef).unwrap();
    assert!(
        sent.iter().all(|f| f.l3()[6] == 0
            && f.l3()[40] == 44
            && f.l3()[48] == 60
            && f.l3()[52..56] == [0xde, 0xad, 0xbe, 0xef])
    );
    let whole = gather(&mut Fragments::new(FragmentLimits::default()), sent.clone()).unwrap();
    assert_eq!(whole.packet.data(), p.data());
    assert_eq!(bytes(&whole.split()), bytes(&sent));
}

#[test]
fn packets_that_are_not_cut() {
    assert_eq!(fragment::split(udp(false, 100), 128, 0).unwrap().len(), 1);
    assert_eq!(fragment::split(udp(false, 100), 27, 0).err(), Some(SplitError::TooSmall));
    assert_eq!(fragment::split(udp(true, 100), 55, 0).err(), Some(SplitError::TooSmall));
    assert_eq!(fragment::split(udp(true, 100), 56, 0).unwrap().len(), 14);
    let mut p = udp(false, 100);
    let l3 = p.layers().l3.unwrap();
    p.data_mut()[l3 + 6] |= 0x40;
    assert_eq!(fragment::split(p, 100, 0).err(), Some(SplitError::DontFragment));
    assert_eq!(fragment::split(packet("arp"), 10, 0).err(), Some(SplitError::NotIp));
}

#[test]
fn what_is_no_fragment_is_given_back() {
    let mut fragments = Fragments::new(FragmentLimits::default());
    let mut limits = *fragments.limits();
    limits.ipv4 = false;
    for p in [udp(false, 10), udp(true, 10), packet("arp"), Packet::from_slice(&[0; 3])] {
        assert!(matches!(fragments.gather(p, 0, NOW), Gathered::Other(_)));
    }
    fragments.set_limits(limits);
    assert!(matches!(fragments.gather(piece(1, 0, 1400, true, 0), 0, NOW), Gathered::Other(_)));
    assert_eq!(fragments.stats().received, 0);
}

#[test]
fn groups_and_identifications_are_apart() {
    let mut fragments = Fragments::new(FragmentLimits::default());
    assert!(matches!(fragments.gather(piece(1, 0, 1400, true, 0), 1, NOW), Gathered::Held));
    assert!(matches!(fragments.gather(piece(1, 1400, 10, false, 0), 2, NOW), Gathered::Held));
    assert!(matches!(fragments.gather(piece(2, 1400, 10, false, 0), 1, NOW), Gathered::Held));
    assert!(matches!(fragments.gather(piece(1, 1400, 10, false, 0), 1, NOW), Gathered::Whole(_)));
}

#[test]
fn unsound_fragments_are_dropped() {
    let mut fragments = Fragments::new(FragmentLimits::default());
    dropped(&mut fragments, piece(1, 0, 1401, true, 0), FragmentDrop::Malformed);
    dropped(&mut fragments, piece(1, 8, 0, false, 0), FragmentDrop::Malformed);
    dropped(&mut fragments, piece(1, 0, 1176, true, 0), FragmentDrop::TooSmall);
    assert_eq!(fragments.stats().datagrams, 0);
    assert!(matches!(fragments.gather(piece(1, 8000, 8, false, 0), 0, NOW), Gathered::Held));
}

/// The smallest fragment that is not the last one passes, one of eight bytes less does not; the last may be of any size.
#[test]
fn the_smallest_fragment_passes_and_a_smaller_one_does_not() {
    for (v6, headers, default) in [(false, 20, 1200), (true, 48, 1280)] {
        // Fragments hold a multiple of eight bytes: the limit is met exactly only if headers and that come to it.
        for least in [headers + 400, default - (default - headers) % 8] {
            let mut limits = FragmentLimits::default();
            *(if v6 { &mut limits.min_size_v6 } else { &mut limits.min_size_v4 }) = least;
            for (size, passes) in [(least, true), (least - 8, false), (least + 8, true)] {
                let sent = fragment::split(udp(v6, 3 * default), size, 9).unwrap();
                assert_eq!(sent[0].l3().len(), size);
                assert!(sent[sent.len() - 1].l3().len() < least || sent.len() > 3, "the last one is as small as it is");
                let mut fragments = Fragments::new(limits);
                let (last, others) = sent.split_last().unwrap();
                for p in others {
                    if passes {
                        assert!(matches!(fragments.gather(p.clone(), 0, NOW), Gathered::Held), "{v6} {size}");
                    } else {
                        dropped(&mut fragments, p.clone(), FragmentDrop::TooSmall);
                    }
                }
                let whole = gather(&mut fragments, [last.clone()]);
                assert_eq!(whole.map(|w| w.packet.len()), passes.then(|| udp(v6, 3 * default).len()));
            }
        }
        // Unset, it is as upstream has it.
        let mut fragments = Fragments::new(FragmentLimits::default());
        let size = default - (default - headers) % 8;
        let [least, less] = [size + if size < default { 8 } else { 0 }, size - if size < default { 0 } else { 8 }];
        let first = |size| fragment::split(udp(v6, 3 * default), size, 9).unwrap().swap_remove(0);
        assert!(matches!(fragments.gather(first(least), 0, NOW), Gathered::Held));
        dropped(&mut fragments, first(less), FragmentDrop::TooSmall);
    }
}

/// A datagram of more than 65,535 bytes (upstream's commit c3f4d9fe5).
#[test]
fn ipf_oversize() {
    let mut fragments = Fragments::new(FragmentLimits::default());
    for i in 0..44 {
        assert!(matches!(fragments.gather(piece(9, i * 1480, 1480, true, 0), 0, NOW), Gathered::Held));
    }
    dropped(&mut fragments, piece(9, 44 * 1480, 1480, true, 0), FragmentDrop::TooLong);
    dropped(&mut fragments, piece(9, 65528, 8, false, 0), FragmentDrop::TooLong);
    // The longest there is.
    match fragments.gather(piece(9, 44 * 1480, 65535 - 20 - 44 * 1480, false, 0), 0, NOW) {
        Gathered::Whole(whole) => assert_eq!(whole.packet.l3().len(), 65535),
        other => panic!("{other:?}"),
    }
}

/// Lone firsts, repetitions and overlaps: nothing is held for longer than its time (CVE-2021-3905).
#[test]
fn cve_2021_3905() {
    let mut fragments = Fragments::new(FragmentLimits::default());
    for id in 0..4 {
        assert!(matches!(fragments.gather(piece(id, 0, 1480, true, 0), 0, NOW), Gathered::Held));
    }
    dropped(&mut fragments, piece(0, 0, 1480, true, 0), FragmentDrop::Duplicate);
    assert!(matches!(fragments.gather(piece(0, 1480, 1480, true, 1), 0, NOW), Gathered::Held));
    dropped(&mut fragments, piece(0, 1472, 100, false, 2), FragmentDrop::Overlap);
    // Of a datagram in which fragments overlapped, nothing goes through.
    dropped(&mut fragments, piece(0, 0, 1480, true, 0), FragmentDrop::Overlap);
    dropped(&mut fragments, piece(0, 1480, 100, false, 0), FragmentDrop::Overlap);
    assert_eq!((fragments.stats().fragments, fragments.stats().datagrams), (3, 4));
    assert_eq!(fragments.next_deadline(), Some(NOW + Duration::from_secs(15)));
    assert_eq!(fragments.expire(NOW + Duration::from_secs(15)), 3);
    let stats = fragments.stats();
    assert_eq!((stats.fragments, stats.bytes, stats.datagrams), (0, 0, 0));
    assert_eq!(stats.received, stats.dropped_total());
    assert_eq!(fragments.next_deadline(), None);
}

#[test]
fn contradictions_about_the_end_are_overlaps() {
    for (first, second) in [
        (piece(1, 1400, 8, false, 0), piece(1, 1408, 1400, true, 0)),
        (piece(1, 1400, 8, false, 0), piece(1, 2800, 8, false, 0)),
        (piece(1, 2800, 1400, true, 0), piece(1, 1400, 8, false, 0)),
    ] {
        let mut fragments = Fragments::new(FragmentLimits::default());
        assert!(matches!(fragments.gather(first, 0, NOW), Gathered::Held));
        dropped(&mut fragments, second, FragmentDrop::Overlap);
    }
}

#[test]
fn floods_push_out_the_oldest_and_memory_stays_flat() {
    let mut limits = FragmentLimits::default();
    (limits.datagrams, limits.fragments, limits.bytes) = (10, 15, 20_000);
    let mut fragments = Fragments::new(limits);
    for i in 0..5000u32 {
        let p = if i % 7 == 0 {
            piece(i as u16, 1480, 8, false, 0)
        } else {
            piece((i / 2) as u16, (i as usize % 2) * 1480, 1480, true, 0)
        };
        fragments.gather(p, 0, NOW);
        let s = fragments.stats();
        assert!(s.datagrams <= 10 && s.fragments <= 15 && s.bytes <= 20_000, "{s:?}");
        assert_eq!(s.received, s.joined + s.dropped_total() + s.fragments as u64);
    }
    assert!(fragments.stats().dropped(FragmentDrop::Evicted) > 1000);
    // Who sends a whole datagram now gets it through.
    assert!(gather(&mut fragments, fragment::split(udp(false, 5000), 1500, 0).unwrap()).is_some());
    let mut limits = FragmentLimits::default();
    limits.per_datagram = 3;
    let mut fragments = Fragments::new(limits);
    for i in 0..3 {
        fragments.gather(piece(1, i * 1480, 1480, true, 0), 0, NOW);
    }
    dropped(&mut fragments, piece(1, 3 * 1480, 1480, true, 0), FragmentDrop::TooMany);
    assert_eq!(fragments.flush(), 3);
}

#[test]
fn a_fragmented_datagram_is_tracked_and_translated_whole() {
    for v6 in [false, true] {
        let (public, range) = match v6 {
            true => ("2001:db8::7", NatRange::address("2001:db8::7".parse::<std::net::IpAddr>().unwrap())),
            false => ("192.0.2.7", NatRange::address([192, 0, 2, 7])),
        };
        let mut lab = Lab::new();
        let mut fragments = Fragments::new(FragmentLimits::default());
        let sent = fragment::split(udp(v6, 8000), 1500, 5).unwrap();
        let mut whole = gather(&mut fragments, sent.clone()).unwrap();
        let outcome = lab.track(&mut whole.packet, &CtRequest::commit(3).with_nat(Nat::Source(range)));
        assert_eq!(outcome, Outcome::Created);
        let out = whole.split();
        assert_eq!(out.len(), sent.len());
        for (mut p, was) in out.clone().into_iter().zip(&sent) {
            assert_eq!((p.meta.ct.state, p.meta.ct.zone), (state("new snat"), 3));
            assert_eq!(p.len(), was.len());
            let mut key = FlowKey::ZERO;
            assert_eq!(extract::extract(&mut p, &mut key).malformed, None);
            let src = if v6 { key.ipv6_src().to_string() } else { key.ipv4_src().to_string() };
            assert_eq!((src.as_str(), key.nw_frag & 1), (public, 1));
        }
        // What the receiver puts together has a checksum that is right.
        let again = gather(&mut fragments, out).unwrap();
        let mut p = again.packet;
        lab.track(&mut p, &CtRequest::commit(9));
        assert_eq!(p.meta.ct.state, state("new"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_cut_of_any_datagram_comes_back(
        v6: bool, len in 0usize..20_000, size in 576usize..2000, order in any::<prop::sample::Index>(), id: u32,
    ) {
        let datagram = udp(v6, len);
        let mut sent = fragment::split(datagram.clone(), size, id).unwrap();
        prop_assert!(sent.iter().all(|f| f.l3().len() <= size));
        let n = sent.len();
        sent.rotate_left(order.index(n));
        let mut limits = FragmentLimits::default();
        (limits.min_size_v4, limits.min_size_v6) = (0, 0);
        let mut fragments = Fragments::new(limits);
        if n == 1 {
            prop_assert!(matches!(fragments.gather(sent.remove(0), 0, NOW), Gathered::Other(_)));
        } else {
            let whole = gather(&mut fragments, sent).unwrap();
            prop_assert_eq!(whole.packet.data(), datagram.data());
        }
    }

    /// Pieces from anywhere: what becomes whole has each byte from a piece that said so, and the books balance.
    #[test]
    fn pieces_from_anywhere(
        pieces in proptest::collection::vec((0usize..6, 1usize..5, any::<bool>(), any::<u8>(), 0u16..2), 0..40),
    ) {
        let mut limits = FragmentLimits::default();
        limits.min_size_v4 = 0;
        let mut fragments = Fragments::new(limits);
        for (at, len, more, fill, id) in pieces {
            if let Gathered::Whole(whole) = fragments.gather(piece(id, at * 8, len * 8, more, fill), 0, NOW) {
                prop_assert!(whole.packet.l3().len() > 20);
            }
            let s = fragments.stats();
            prop_assert_eq!(s.received, s.joined + s.dropped_total() + s.fragments as u64);
        }
        fragments.expire(NOW + Duration::from_secs(15));
        let s = fragments.stats();
        prop_assert_eq!((s.datagrams, s.fragments, s.bytes), (0, 0, 0));
    }

    #[test]
    fn any_bytes_are_judged(frame in proptest::collection::vec(any::<u8>(), 0..120), v6: bool) {
        let mut data = vec![0; 12];
        data.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
        data.extend(frame);
        if let Some(first) = data.get_mut(14) {
            *first = if v6 { 0x60 } else { 0x45 };
        }
        let mut p = Packet::from_slice(&data);
        extract::extract(&mut p, &mut FlowKey::ZERO.clone());
        let mut limits = FragmentLimits::default();
        (limits.min_size_v4, limits.min_size_v6) = (0, 0);
        let mut fragments = Fragments::new(limits);
        fragments.gather(p.clone(), 0, NOW);
        let _ = fragment::split(p, 40, 1);
        let s = fragments.stats();
        prop_assert_eq!(s.received, s.joined + s.dropped_total() + s.fragments as u64);
    }
}
