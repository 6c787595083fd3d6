//! The tracker that threads share, batches, limits, policies, flushes: the same as one packet and one owner at a time.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Lab, packet};
use ovs_conntrack::{
    Config, ConnectionInfo, CtRequest, Cursor, Filter, Helper, Nat, NatRange, Outcome, SharedTracker, Sighting,
    Timeouts, Tracker, Transport, Tuple, TupleFilter,
};
use ovs_packet::{FlowKey, Instant, Packet, extract};
use proptest::prelude::*;

const NOW: Instant = Instant::from_secs(1000);

/// The `n`th of many connections' packets.
fn udp(n: u32, reply: bool) -> Packet {
    let client = format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    packet(&match reply {
        false => format!("udp,nw_src={client},nw_dst=8.8.8.8,tp_src=1000,tp_dst=53"),
        true => format!("udp,nw_src=8.8.8.8,nw_dst={client},tp_src=53,tp_dst=1000"),
    })
}

fn key_of(packet: &mut Packet) -> FlowKey {
    let mut key = FlowKey::ZERO;
    extract::extract(packet, &mut key);
    key
}

fn share(tracker: &SharedTracker, mut packet: Packet, request: &CtRequest, now: Instant) -> (Outcome, Packet) {
    let key = key_of(&mut packet);
    (tracker.track(&mut packet, &key, request, now), packet)
}

fn pages(tracker: &SharedTracker, filter: &Filter, most: usize) -> Vec<ConnectionInfo> {
    let (mut all, mut from) = (Vec::new(), Some(Cursor::default()));
    while let Some(at) = from {
        let (page, next) = tracker.dump_page(filter, at, most, NOW);
        assert!(page.len() <= most);
        all.extend(page);
        from = next;
    }
    all
}

#[derive(Clone, Debug)]
enum Step {
    Packet(u32, bool, u8),
    Wait(u64),
    Expire,
    FlushZone,
    FlushAll,
    Flush(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        14 => (0u32..12, any::<bool>(), 0u8..6).prop_map(|(n, reply, how)| Step::Packet(n, reply, how)),
        2 => prop::sample::select(&[1u64, 30, 61][..]).prop_map(Step::Wait),
        1 => Just(Step::Expire),
        1 => Just(Step::FlushZone),
        1 => (0u8..8).prop_map(|n| if n == 0 { Step::FlushAll } else { Step::FlushZone }),
        1 => (0u32..12).prop_map(Step::Flush),
    ];
    proptest::collection::vec(step, 1..100)
}

fn request(how: u8) -> CtRequest {
    match how {
        0 => CtRequest::lookup(1).with_nat(Nat::Existing),
        1 => CtRequest::commit(1),
        2 => CtRequest::commit(2),
        3 => CtRequest::force_commit(1),
        4 => CtRequest::commit(1).with_nat(Nat::Destination(NatRange::address([9, 9, 9, 9]))),
        _ => CtRequest::commit(1).with_nat(Nat::Source(NatRange::address([10, 0, 0, 3]))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Many shards and one owner agree, in outcomes, metadata, bytes and dumps.
    #[test]
    fn shards_and_an_owner_agree(steps in steps(), shards in 1usize..20) {
        let config = Config::new(7);
        let (shared, mut owned, mut now) = (SharedTracker::new(config, shards), Tracker::new(config), NOW);
        for step in steps {
            match step {
                Step::Packet(n, reply, how) => {
                    let request = request(how);
                    let mut p = udp(n, reply);
                    let key = key_of(&mut p);
                    let outcome = owned.track(&mut p, &key, &request, now);
                    let (other, q) = share(&shared, udp(n, reply), &request, now);
                    prop_assert_eq!((outcome, p.meta, p.data()), (other, q.meta, q.data()));
                }
                Step::Wait(secs) => now += Duration::from_secs(secs),
                Step::Expire => {
                    owned.expire(now, usize::MAX);
                    shared.expire(now, usize::MAX);
                }
                Step::FlushZone => {
                    owned.flush(Some(1));
                    shared.flush(Some(1));
                }
                Step::FlushAll => {
                    owned.flush(None);
                    shared.flush(None);
                }
                Step::Flush(n) => {
                    let tuple = Tuple {
                        src: [10, 0, 0, n as u8].into(), dst: [8, 8, 8, 8].into(), proto: 17,
                        transport: Transport::Ports { src: 1000, dst: 53 },
                    };
                    let alive = owned.get(1, &tuple, now);
                    prop_assert_eq!(alive, shared.get(1, &tuple, now));
                    if alive.is_some() {
                        prop_assert!(owned.flush_tuple(1, &tuple) && shared.flush_tuple(1, &tuple));
                    }
                }
            }
            let mut dump: Vec<String> = owned.dump(None, now).map(|c| c.to_string()).collect();
            let (mut all, mut from) = (Vec::new(), Some(Cursor::default()));
            while let Some(at) = from {
                let (page, next) = shared.dump_page(&Filter::default(), at, 3, now);
                all.extend(page.iter().map(ToString::to_string));
                from = next;
            }
            dump.sort();
            all.sort();
            prop_assert_eq!(dump, all);
        }
        now += Duration::from_secs(1000);
        owned.expire(now, usize::MAX);
        shared.expire(now, usize::MAX);
        prop_assert_eq!((owned.len(), shared.len()), (0, 0));
    }

    /// A batch is its packets one after another.
    #[test]
    fn batches_and_packets_agree(
        packets in proptest::collection::vec((0u32..20, any::<bool>()), 1..32), how in 0u8..6, before in 0u32..20,
    ) {
        let (mut one, mut many) = (Tracker::new(Config::new(7)), Tracker::new(Config::new(7)));
        for n in 0..before {
            let mut p = udp(n, false);
            let key = key_of(&mut p);
            one.track(&mut p.clone(), &key, &CtRequest::commit(1), NOW);
            many.track(&mut p, &key, &CtRequest::commit(1), NOW);
        }
        let request = request(how);
        let mut all: Vec<Packet> = packets.iter().map(|(n, reply)| udp(*n, *reply)).collect();
        let keys: Vec<FlowKey> = all.iter_mut().map(key_of).collect();
        let mut alone = all.clone();
        let singly: Vec<Outcome> = alone.iter_mut().zip(&keys).map(|(p, k)| one.track(p, k, &request, NOW)).collect();
        let together = many.track_batch(all.iter_mut().zip(&keys), &request, NOW);
        prop_assert_eq!(singly.as_slice(), together.as_slice());
        prop_assert!(all.iter().zip(&alone).all(|(a, b)| a.meta == b.meta && a.data() == b.data()));
        prop_assert_eq!(one.stats(), many.stats());
    }

    /// What was read of a packet before tells the same as reading it again, whatever happened to connections meanwhile.
    #[test]
    fn packets_that_were_seen_before_are_tracked_as_others(
        packets in proptest::collection::vec((0u32..12, any::<bool>()), 1..12),
        steps in proptest::collection::vec((0u8..6, 0u16..2, 0u8..6), 1..8),
    ) {
        let (mut afresh, mut again) = (Tracker::new(Config::new(7)), Tracker::new(Config::new(7)));
        let shared = SharedTracker::new(Config::new(7), 5);
        let mut timeouts = Timeouts::default();
        [&mut afresh, &mut again].into_iter().for_each(|tracker| tracker.set_timeout_policy(3, &timeouts).unwrap());
        shared.set_timeout_policy(3, &timeouts).unwrap();
        let mut all: Vec<Packet> = packets.iter().map(|(n, reply)| udp(*n, *reply)).collect();
        let keys: Vec<FlowKey> = all.iter_mut().map(key_of).collect();
        let mut sightings = vec![Sighting::NONE; all.len()];
        let mut shared_sightings = sightings.clone();
        // They keep what they were told from step to step, but for those that come in anew.
        let [mut a, mut b, mut c] = [all.clone(), all.clone(), all.clone()];
        let mut now = NOW;
        for (how, zone, meanwhile) in steps {
            let mut request = request(how);
            (request.zone, request.nat, request.timeout_policy) = (zone, None, Some(3));
            request.mark = (meanwhile == 5).then_some((u32::from(how) + 1, 0xff));
            let wanted = afresh.track_batch(a.iter_mut().zip(&keys), &request, now);
            let batch = b.iter_mut().zip(&keys).zip(&mut sightings).map(|((p, k), s)| (p, k, s));
            prop_assert_eq!(again.track_again(batch, &request, now), wanted.clone());
            let batch = c.iter_mut().zip(&keys).zip(&mut shared_sightings).map(|((p, k), s)| (p, k, s));
            prop_assert_eq!(shared.track_again(batch, &request, now), wanted);
            for (a, (b, c)) in a.iter().zip(b.iter().zip(&c)) {
                prop_assert_eq!((a.meta, a.meta), (b.meta, c.meta));
            }
            prop_assert_eq!(afresh.stats(), again.stats());
            match meanwhile {
                1 => {
                    let gone = afresh.flush(Some(1));
                    prop_assert_eq!((again.flush(Some(1)), shared.flush(Some(1))), (gone, gone));
                }
                2 => now += Duration::from_secs(40),
                3 => [&mut a, &mut b, &mut c].map(|packets| packets.clone_from(&all)).into_iter().collect(),
                4 => {
                    (timeouts.udp_single, timeouts.udp_multiple) = (timeouts.udp_multiple, timeouts.udp_single);
                    [&mut afresh, &mut again].into_iter().for_each(|tracker| tracker.set_timeout_policy(3, &timeouts).unwrap());
                    shared.set_timeout_policy(3, &timeouts).unwrap();
                }
                _ => {}
            }
            let deadlines = |tracker: &Tracker| tracker.dump(None, now).map(|c| (c.original, c.timeout)).collect::<Vec<_>>();
            prop_assert_eq!(deadlines(&afresh), deadlines(&again));
        }
    }
}

#[test]
fn threads_count_every_connection_once() {
    const EACH: u32 = 3000;
    let tracker = SharedTracker::new(Config::new(1), 16);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let tracker = &tracker;
            scope.spawn(move || {
                for n in 0..EACH {
                    // A third of each thread's connections are another's too, a third are translated.
                    let n = if n % 3 == 0 { n } else { n + (thread + 1) * 10_000 };
                    let request = match n % 3 {
                        1 => CtRequest::commit(1).with_nat(Nat::Source(NatRange::address([192, 0, 2, 1]))),
                        _ => CtRequest::commit(1),
                    };
                    share(tracker, udp(n, false), &request, NOW);
                    share(tracker, udp(n, true), &CtRequest::lookup(1), NOW);
                    if n % 500 == 0 {
                        tracker.flush(Some(7));
                        tracker.expire(NOW, 10);
                    }
                }
            });
        }
    });
    let dump = pages(&tracker, &Filter::default(), 100);
    let mut tuples = BTreeSet::new();
    assert!(dump.iter().all(|c| tuples.insert(c.original) && tuples.insert(c.reply)));
    let stats = tracker.stats();
    assert_eq!((dump.len(), stats.connections as u64), (stats.connections, stats.created));
    // Translated connections that come one after another have 64 tries among 64,512 ports: few are refused.
    let expected = u64::from(EACH / 3 + 4 * (EACH - EACH / 3));
    assert!(stats.created + stats.nat_exhausted == expected, "{stats:?}");
    assert_eq!(tracker.zone_len(1), dump.len());
}

#[test]
fn a_shared_limit_is_not_exceeded_and_nearly_reached() {
    for limit in [0, 1, 10, 1000, 5000] {
        let tracker = SharedTracker::new(Config::new(1).with_max_connections(limit), 8);
        for n in 0..8000 {
            share(&tracker, udp(n, false), &CtRequest::commit(0), NOW);
        }
        assert!(tracker.len() <= limit && tracker.len() + limit / 16 >= limit, "{} of {limit}", tracker.len());
        assert_eq!(tracker.stats().refused, 8000 - tracker.len() as u64);
    }
}

/// The reply tuple of a connection whose time is over is free, whoever comes across it first, in whichever shard.
#[test]
fn a_reply_tuple_comes_free_with_its_connection() {
    let request = CtRequest::commit(1).with_nat(Nat::Destination(NatRange::address([9, 9, 9, 9])));
    for shards in 1..20 {
        let tracker = SharedTracker::new(Config::new(7), shards);
        for (round, n) in (0..).zip([3, 0, 1, 2, 0, 3]) {
            let now = NOW + Duration::from_secs(61 * round);
            // Whatever the client wanted, the server behind the translation sees the same.
            let (outcome, p) = share(&tracker, udp(n, true), &request, now);
            assert_eq!((outcome, p.meta.ct.state), (Outcome::Created, common::state("new dnat")), "{shards} shards");
            share(&tracker, udp(n, false), &CtRequest::commit(1), now);
        }
    }
}

#[test]
fn workers_have_both_directions_of_a_connection() {
    let tracker = SharedTracker::new(Config::new(1), 64);
    let mut workers = BTreeSet::new();
    for n in 0..100 {
        let worker = |mut p: Packet| tracker.worker_of(&key_of(&mut p), 0, 3);
        assert_eq!(worker(udp(n, false)), worker(udp(n, true)));
        workers.insert(worker(udp(n, false)));
    }
    assert_eq!(workers, BTreeSet::from([0, 1, 2]));
}

#[test]
fn limits_by_zone() {
    let mut lab = Lab::new();
    lab.tracker.set_zone_limit(1, Some(3));
    lab.tracker.set_default_zone_limit(Some(5));
    let fill = |lab: &mut Lab, zone: u16, from: u32, n: u32| {
        let track = |i| lab.track(&mut udp(i, false), &CtRequest::commit(zone)) == Outcome::Created;
        (from..from + n).map(track).filter(|created| *created).count()
    };
    assert_eq!((fill(&mut lab, 1, 0, 10), fill(&mut lab, 2, 0, 10)), (3, 5));
    assert_eq!((lab.tracker.stats().refused_by_zone, lab.tracker.zone_len(1)), (12, 3));
    // What comes free serves again; what there is is charged to a new limit; none is removed.
    lab.tracker.flush(Some(1));
    assert_eq!(fill(&mut lab, 1, 0, 10), 3);
    lab.tracker.set_zone_limit(1, Some(4));
    assert_eq!(fill(&mut lab, 1, 100, 10), 1);
    lab.tracker.set_zone_limit(1, Some(2));
    assert_eq!((fill(&mut lab, 1, 200, 10), lab.tracker.zone_len(1)), (0, 4));
    let first = lab.tracker.dump(Some(1), lab.now).next().unwrap();
    lab.tracker.flush_tuple(1, &first.original);
    assert_eq!(fill(&mut lab, 1, 200, 10), 0);
    lab.tracker.set_default_zone_limit(None);
    lab.tracker.set_zone_limit(1, None);
    assert_eq!((fill(&mut lab, 1, 300, 10), fill(&mut lab, 2, 300, 10)), (10, 10));
    assert_eq!((lab.tracker.zone_limit(1), lab.tracker.zone_limits()), (None, vec![]));
    // An expired connection gives its place up when another asks.
    lab.tracker.set_zone_limit(9, Some(1));
    assert_eq!(fill(&mut lab, 9, 0, 1), 1);
    lab.wait(61);
    assert_eq!(fill(&mut lab, 9, 1, 1), 1);
}

#[test]
fn flushed_connections_give_their_room_back() {
    let mut lab = Lab::new();
    let fill = |lab: &mut Lab, zone, from: u32, n: u32| {
        for i in from..from + n {
            assert_eq!(lab.track(&mut udp(i, false), &CtRequest::commit(zone)), Outcome::Created);
        }
    };
    fill(&mut lab, 1, 0, 2000);
    let mut memory = Vec::new();
    for round in 1..30 {
        // Other connections each time: nobody comes across those that were flushed but the sweep.
        fill(&mut lab, 2, round * 1000, 1000);
        lab.tracker.flush(Some(2));
        memory.push(lab.tracker.memory());
    }
    assert!(memory[28] < memory[2] + memory[2] / 8, "{memory:?}");
}

#[test]
fn the_limit_of_all_moves() {
    let mut lab = Lab::with(Config::new(1).with_max_connections(3));
    let fill = |lab: &mut Lab, from: u32| {
        (from..from + 5).filter(|i| lab.track(&mut udp(*i, false), &CtRequest::commit(0)) == Outcome::Created).count()
    };
    assert_eq!(fill(&mut lab, 0), 3);
    lab.tracker.set_max_connections(5);
    assert_eq!((fill(&mut lab, 100), lab.tracker.max_connections()), (2, 5));
    lab.tracker.set_max_connections(2);
    assert_eq!(fill(&mut lab, 200), 0);
    for c in lab.tracker.dump(None, lab.now).take(4).collect::<Vec<_>>() {
        lab.tracker.flush_tuple(0, &c.original);
    }
    assert_eq!((lab.tracker.len(), fill(&mut lab, 300)), (1, 1));
}

#[test]
fn timeout_policies_by_request_and_by_zone() {
    let mut lab = Lab::new();
    let mut timeouts = Timeouts::default();
    timeouts.udp_first = Duration::from_secs(7);
    lab.tracker.set_timeout_policy(3, &timeouts).unwrap();
    timeouts.udp_first = Duration::from_secs(9);
    timeouts.udp_single = Duration::from_secs(11);
    lab.tracker.set_timeout_policy(4, &timeouts).unwrap();
    lab.tracker.set_zone_timeout_policy(5, Some(4));
    let timeout = |lab: &mut Lab, n, request: CtRequest| {
        lab.track(&mut udp(n, false), &request);
        let c = lab.tracker.dump(None, lab.now).max_by_key(|c| c.original).unwrap();
        c.timeout.as_secs()
    };
    assert_eq!(timeout(&mut lab, 0, CtRequest::commit(0)), 60);
    assert_eq!(timeout(&mut lab, 1, CtRequest::commit(0).with_timeout_policy(3)), 7);
    assert_eq!(timeout(&mut lab, 2, CtRequest::commit(5)), 9);
    assert_eq!(timeout(&mut lab, 3, CtRequest::commit(5).with_timeout_policy(3)), 7);
    assert_eq!(timeout(&mut lab, 4, CtRequest::commit(0).with_timeout_policy(77)), 60);
    // A policy that changes is followed from the next packet on, as is one that goes.
    timeouts.udp_single = Duration::from_secs(13);
    lab.tracker.set_timeout_policy(4, &timeouts).unwrap();
    assert_eq!(timeout(&mut lab, 5, CtRequest::commit(5)), 9);
    assert_eq!(timeout(&mut lab, 5, CtRequest::commit(5)), 13);
    lab.tracker.remove_timeout_policy(4);
    assert_eq!(timeout(&mut lab, 5, CtRequest::commit(5)), 60);
}

#[test]
fn any_part_of_a_connection_flushes_it() {
    let fill = || {
        let mut lab = Lab::new();
        for n in 0..6u32 {
            let request = CtRequest::commit(n as u16 % 2).with_mark(n, !0).with_label(n.into(), !0);
            lab.track(&mut udp(n, false), &request.with_nat(Nat::Source(NatRange::address([192, 0, 2, n as u8]))));
        }
        let mut ping = common::icmp("icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2,icmp_type=8,icmp_code=0", 7);
        lab.track(&mut ping, &CtRequest::commit(0));
        lab
    };
    let tuple = TupleFilter::default;
    let address = |n: u8| Some([10, 0, 0, n].into());
    for (filter, left) in [
        (Filter::default(), 0),
        (Filter::zone(1), 4),
        (Filter { mark: Some((1, 1)), ..Filter::default() }, 4),
        (Filter { label: Some((2, 6)), ..Filter::default() }, 5),
        (Filter { original: TupleFilter { src: address(1), ..tuple() }, ..Filter::default() }, 5),
        (Filter { original: TupleFilter { src: address(1), ..tuple() }, ..Filter::zone(1) }, 6),
        (Filter { original: TupleFilter { dst: address(2), ..tuple() }, ..Filter::default() }, 6),
        (Filter { reply: TupleFilter { dst: Some([192, 0, 2, 3].into()), ..tuple() }, ..Filter::default() }, 6),
        (Filter { original: TupleFilter { proto: Some(17), ..tuple() }, ..Filter::default() }, 1),
        (Filter { original: TupleFilter { dst_port: Some(53), ..tuple() }, ..Filter::default() }, 1),
        (Filter { original: TupleFilter { icmp_id: Some(7), icmp_type: Some(8), ..tuple() }, ..Filter::default() }, 6),
        (Filter { original: TupleFilter { icmp_type: Some(0), ..tuple() }, ..Filter::default() }, 7),
        (Filter { reply: TupleFilter { icmp_type: Some(0), icmp_code: Some(0), ..tuple() }, ..Filter::default() }, 6),
        (Filter { original: TupleFilter { src_port: Some(7), ..tuple() }, ..Filter::default() }, 7),
    ] {
        let mut lab = fill();
        assert_eq!((lab.tracker.flush_matching(&filter, lab.now), lab.tracker.len()), (7 - left, left), "{filter:?}");
        assert_eq!(lab.tracker.dump(None, lab.now).filter(|c| filter.matches(c)).count(), 0);
    }
}

/// A zone that is flushed and filled again and again takes the room of little more than one filling.
#[test]
fn room_that_a_flush_leaves_is_used_again() {
    let mut lab = Lab::with(Config::new(1).with_verify_checksums(false));
    let mut packets: Vec<Packet> = (0..2000).map(|n| udp(n, false)).collect();
    let keys: Vec<FlowKey> = packets.iter_mut().map(key_of).collect();
    let fill = |lab: &mut Lab, packets: &mut [Packet]| {
        for (p, key) in packets.iter_mut().zip(&keys) {
            assert_eq!(lab.tracker.track(p, key, &CtRequest::commit(1), lab.now), Outcome::Created);
        }
    };
    fill(&mut lab, &mut packets);
    let memory = lab.tracker.memory();
    for round in 0..20 {
        assert_eq!((lab.tracker.flush(Some(1)), lab.tracker.len()), (2000, 0));
        assert_eq!(lab.tracker.dump(None, lab.now).count(), 0);
        fill(&mut lab, &mut packets);
        assert_eq!(lab.tracker.len(), 2000);
        assert!(lab.tracker.memory() <= memory * 5 / 2, "round {round}: {} from {memory}", lab.tracker.memory());
    }
    lab.tracker.flush(Some(1));
    // Nobody opens any more: the owner's housekeeping clears up.
    for _ in 0..1000 {
        lab.tracker.expire(lab.now, 64);
    }
    assert_eq!(lab.tracker.next_deadline(), None);
    let stats = lab.tracker.stats();
    assert_eq!((stats.created, stats.flushed, stats.expired), (42_000, 42_000, 0));
}

/// Connections that are never completed hold what the limit says and no more; established ones do not notice.
#[test]
fn a_flood_of_half_open_connections_keeps_memory_flat() {
    let mut lab = Lab::with(Config::new(1).with_max_connections(1000).with_verify_checksums(false));
    let mut p = packet("tcp,nw_src=1.1.1.1,nw_dst=10.0.0.2,tp_src=7,tp_dst=80,tcp_flags=syn");
    let mut key = key_of(&mut p);
    for (from_client, flags) in [(true, "syn"), (false, "syn|ack"), (true, "ack")] {
        lab.track(&mut common::tcp(from_client, flags), &CtRequest::commit(0));
    }
    let mut flat = 0;
    for n in 0..60_000u32 {
        key.nw_src.set(0x0b00_0000 + n);
        lab.tracker.track(&mut p, &key, &CtRequest::commit(0), lab.now);
        if n % 100 == 0 {
            lab.now += Duration::from_millis(500);
        }
        if n == 20_000 {
            flat = lab.tracker.memory();
        }
        assert!(lab.tracker.len() <= 1000);
    }
    // Small parts of the index may still grow as chance fills them.
    assert!(lab.tracker.memory() <= flat * 9 / 8, "{} from {flat}", lab.tracker.memory());
    let stats = lab.tracker.stats();
    assert!(stats.refused > 10_000 && stats.expired > 5_000, "{stats:?}");
    lab.sees(common::tcp(true, "psh|ack"), "est");
}

#[test]
fn a_dump_in_pages_shows_everything_once() {
    let tracker = SharedTracker::new(Config::new(1), 7);
    for n in 0..500 {
        share(&tracker, udp(n, false), &CtRequest::commit(n as u16 % 3), NOW);
    }
    for most in [1, 10, 1000] {
        let all = pages(&tracker, &Filter::default(), most);
        assert_eq!((all.len(), BTreeSet::from_iter(all.iter().map(|c| c.original)).len()), (500, 500));
        assert_eq!(pages(&tracker, &Filter::zone(1), most).len(), 167);
    }
    assert!(Helper::from_name("tftp") == Some(Helper::Tftp));
}
