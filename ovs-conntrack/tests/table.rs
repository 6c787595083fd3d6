//! The table as its owner sees it: limits, expiry, flushing, zones, marks and labels.

mod common;

use std::time::Duration;

use common::{Lab, packet, tcp};
use ovs_conntrack::{Config, CtRequest, Outcome, Timeouts, Transport, Tuple};
use ovs_packet::{Instant, Packet};

/// The `n`th of many connections' first packets.
fn udp(n: u16) -> Packet {
    packet(&format!("udp,nw_src=10.1.{}.{},nw_dst=10.0.0.2,tp_src=1000,tp_dst=53", n >> 8, n & 255))
}

fn answer(n: u16) -> Packet {
    packet(&format!("udp,nw_dst=10.1.{}.{},nw_src=10.0.0.2,tp_dst=1000,tp_src=53", n >> 8, n & 255))
}

fn tuple(n: u16) -> Tuple {
    let [high, low] = n.to_be_bytes();
    Tuple {
        src: [10, 1, high, low].into(),
        dst: [10, 0, 0, 2].into(),
        proto: 17,
        transport: Transport::Ports { src: 1000, dst: 53 },
    }
}

#[test]
fn a_full_tracker_refuses_what_is_new_and_keeps_what_it_has() {
    let mut lab = Lab::with(Config::new(1).with_max_connections(3));
    for n in 0..3 {
        assert_eq!(lab.track(&mut udp(n), &CtRequest::commit(0)), Outcome::Created);
    }
    for n in 3..10 {
        let mut p = udp(n);
        assert_eq!(lab.track(&mut p, &CtRequest::commit(0).with_mark(5, !0)), Outcome::Refused);
        assert_eq!((p.meta.ct.state, p.meta.ct.mark), (common::state("new"), 0));
    }
    lab.sees(answer(1), "est rpl");
    lab.sees(answer(5), "new");
    assert_eq!((lab.tracker.stats().refused, lab.tracker.len()), (7, 3));
    // A place that was given up serves again: by flushing, and by expiry without anyone calling `expire`.
    assert!(lab.tracker.flush_tuple(0, &tuple(0)));
    lab.commits(udp(4), "new");
    assert_eq!(lab.tracker.len(), 3);
    lab.wait(61);
    assert_eq!(lab.track(&mut udp(5), &CtRequest::commit(0)), Outcome::Created);
}

#[test]
fn a_tracker_of_no_connections_refuses_all() {
    let mut lab = Lab::with(Config::new(1).with_max_connections(0));
    assert_eq!(lab.track(&mut udp(1), &CtRequest::commit(0)), Outcome::Refused);
}

#[test]
fn force_in_a_full_tracker_takes_the_place_of_what_it_replaces() {
    let mut lab = Lab::with(Config::new(1).with_max_connections(1));
    lab.commits(udp(1), "new");
    assert_eq!(lab.track(&mut answer(1), &CtRequest::force_commit(0)), Outcome::Created);
    assert_eq!(lab.tracker.get(0, &tuple(1), lab.now).unwrap().reply, tuple(1));
}

#[test]
fn expiry_keeps_to_its_budget_and_says_when_to_come_again() {
    let mut lab = Lab::new();
    for n in 0..100 {
        lab.commits(udp(n), "new");
    }
    let due = lab.now + Duration::from_secs(60);
    assert_eq!(lab.tracker.expire(lab.now, usize::MAX), 0);
    // It may ask to be called earlier, to sort what is left; it ends by being due within a tick.
    let mut calls = 0;
    while let Some(next) = lab.tracker.next_deadline().filter(|next| *next < due) {
        assert_eq!(lab.tracker.expire(next, usize::MAX), 0);
        calls += 1;
    }
    assert!(calls <= 7);
    assert!(lab.tracker.next_deadline().unwrap() - due < Duration::from_millis(269));
    lab.wait(61);
    assert_eq!(lab.dump().len(), 0);
    assert_eq!(lab.tracker.len(), 100);
    let mut removed = 0;
    while lab.tracker.next_deadline().is_some_and(|next| next <= lab.now) {
        let n = lab.tracker.expire(lab.now, 7);
        assert!(n <= 7);
        removed += n;
    }
    assert_eq!((removed, lab.tracker.len(), lab.tracker.next_deadline()), (100, 0, None));
}

#[test]
fn traffic_keeps_a_connection_through_many_expiries() {
    let mut lab = Lab::new();
    lab.commits(udp(1), "new");
    lab.sees(answer(1), "est rpl");
    for _ in 0..100 {
        lab.wait(20);
        assert_eq!(lab.tracker.expire(lab.now, usize::MAX), 0);
        lab.sees(udp(1), "est");
    }
    lab.wait(31);
    assert_eq!(lab.tracker.expire(lab.now, usize::MAX), 1);
}

#[test]
fn a_shorter_timeout_takes_effect_at_once() {
    let mut lab = Lab::new();
    for (from_client, flags) in [(true, "syn"), (false, "syn|ack"), (true, "ack")] {
        lab.commits(
            tcp(from_client, flags),
            if flags == "syn" { "new" } else { if from_client { "est" } else { "est rpl" } },
        );
    }
    lab.wait(3600);
    lab.sees(tcp(true, "rst"), "est");
    // A day's deadline has become one of half a minute.
    lab.wait(31);
    assert_eq!(lab.tracker.expire(lab.now, usize::MAX), 1);
}

#[test]
fn timeouts_are_the_owners() {
    let mut timeouts = Timeouts::default();
    timeouts.udp_first = Duration::from_secs(5);
    timeouts.udp_single = Duration::MAX;
    let mut lab = Lab::with(Config::new(1).with_timeouts(timeouts));
    lab.commits(udp(1), "new");
    lab.commits(udp(2), "new");
    lab.sees(udp(2), "new");
    lab.wait(6);
    assert_eq!((lab.has(0, &tuple(1)), lab.has(0, &tuple(2))), (false, true));
    lab.now = Instant::from_secs(u64::MAX / 2_000_000_000);
    assert_eq!((lab.tracker.expire(lab.now, usize::MAX), lab.tracker.len()), (1, 1));
}

#[test]
fn zones_know_nothing_of_one_another() {
    let mut lab = Lab::new();
    for zone in [0, 1, 65535] {
        assert_eq!(lab.track(&mut udp(1), &CtRequest::commit(zone)), Outcome::Created);
    }
    assert_eq!(lab.track(&mut answer(1), &CtRequest::lookup(1)), Outcome::Reply);
    assert_eq!(lab.track(&mut answer(1), &CtRequest::lookup(2)), Outcome::Unknown);
    let zone = |z| lab.tracker.dump(Some(z), lab.now).map(|c| (c.zone, c.answered)).collect::<Vec<_>>();
    assert_eq!((zone(1), zone(65535), zone(2)), (vec![(1, true)], vec![(65535, false)], vec![]));
    assert_eq!(lab.tracker.flush(Some(1)), 1);
    assert_eq!(lab.tracker.flush(Some(1)), 0);
    assert_eq!((lab.has(0, &tuple(1)), lab.has(1, &tuple(1)), lab.has(65535, &tuple(1))), (true, false, true));
    assert_eq!(lab.tracker.flush(None), 2);
    assert_eq!((lab.tracker.stats().flushed, lab.tracker.next_deadline()), (3, None));
}

#[test]
fn a_tuple_is_flushed_from_either_side() {
    let mut lab = Lab::new();
    lab.commits(udp(1), "new");
    lab.commits(udp(2), "new");
    assert!(!lab.tracker.flush_tuple(1, &tuple(1)));
    assert!(lab.tracker.flush_tuple(0, &tuple(1)));
    assert!(!lab.tracker.flush_tuple(0, &tuple(1)));
    assert!(lab.tracker.flush_tuple(0, &tuple(2).reversed()));
    assert!(lab.tracker.is_empty());
}

#[test]
fn marks_and_labels_are_set_under_their_masks() {
    let mut lab = Lab::new();
    let mut p = udp(1);
    lab.track(&mut p, &CtRequest::commit(9).with_mark(0xff, 0x0f).with_label(1 << 127 | 1, 1 << 127));
    assert_eq!((p.meta.ct.mark, p.meta.ct.label), (0x0f, 1 << 127));
    let mut p = answer(1);
    lab.track(&mut p, &CtRequest::commit(9).with_mark(0xa0, 0xf0).with_label(0xabc, 0xfff));
    assert_eq!((p.meta.ct.mark, p.meta.ct.label), (0xaf, 1 << 127 | 0xabc));
    assert_eq!(
        lab.dump(),
        ["udp,orig=(src=10.1.0.1,dst=10.0.0.2,sport=1000,dport=53),\
          reply=(src=10.0.0.2,dst=10.1.0.1,sport=53,dport=1000),\
          zone=9,mark=175,labels=0x80000000000000000000000000000abc"]
    );
    // Only a request that commits sets anything.
    let mut p = udp(1);
    lab.track(&mut p, &CtRequest::lookup(9).with_mark(0, !0).with_label(0, !0));
    assert_eq!((p.meta.ct.mark, p.meta.ct.label), (0xaf, 1 << 127 | 0xabc));
    lab.track(&mut p, &CtRequest::commit(9).with_mark(0, !0).with_label(0, !0));
    assert_eq!((p.meta.ct.mark, p.meta.ct.label), (0, 0));
}

#[test]
fn a_connection_does_not_inherit_a_label_with_its_place() {
    let mut lab = Lab::new();
    lab.track(&mut udp(1), &CtRequest::commit(0).with_label(7, !0));
    lab.tracker.flush(None);
    let seen = lab.commits(udp(2), "new");
    assert_eq!(seen.meta.ct.label, 0);
}

#[test]
fn an_invalid_packet_has_nothing_of_a_connection_and_sets_nothing() {
    let mut lab = Lab::new();
    lab.track(&mut tcp(true, "syn"), &CtRequest::commit(0).with_mark(1, !0));
    let mut p = tcp(true, "syn|fin");
    lab.track(&mut p, &CtRequest::commit(0).with_mark(2, !0));
    assert_eq!((p.meta.ct.state, p.meta.ct.mark, p.meta.ct.original), (common::state("inv"), 0, None));
    assert_eq!(lab.tracker.dump(None, lab.now).next().unwrap().mark, 1);
}

#[test]
fn what_an_earlier_zone_said_is_gone() {
    let mut lab = Lab::new();
    let mut p = udp(1);
    lab.track(&mut p, &CtRequest::commit(1).with_mark(5, !0));
    let outcome = lab.track(&mut p, &CtRequest::lookup(2));
    assert_eq!((outcome, p.meta.ct.mark, p.meta.ct.zone), (Outcome::Unknown, 0, 2));
}

#[test]
fn runs_with_one_seed_agree_and_the_seed_shows_nowhere() {
    let run = |seed| {
        let mut lab = Lab::with(Config::new(seed));
        for n in 0..200 {
            lab.commits(udp(n % 150), "new");
            lab.wait(1);
            lab.tracker.expire(lab.now, 3);
        }
        (lab.dump(), lab.tracker.stats(), lab.tracker.next_deadline())
    };
    assert_eq!(run(1), run(1));
    assert_eq!(run(1), run(2));
}
