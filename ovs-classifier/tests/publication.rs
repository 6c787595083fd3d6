//! Readers beside a writer.

use ovs_classifier::{Classifier, Layout, NewRule, Pattern, Version, Writer};
use proptest::prelude::*;

const W: usize = 2;

fn rule(n: u64) -> Pattern<W> {
    // Eight masks, so that there are guards.
    Pattern::new([n, n % 8], [u64::MAX, 0xff << (n % 8)])
}

#[test]
fn a_bundle_shows_at_once_and_what_is_held_stays() {
    let mut writer = Writer::new(Classifier::new(Layout::<W>::flat()));
    let reader = writer.reader();
    let mut edit = writer.edit();
    for n in 0..20_000 {
        edit.insert(&rule(n), 1, n).unwrap();
    }
    assert_eq!(edit.len(), 20_000);
    // Dropped, an edit keeps its changes for later.
    assert_eq!((reader.load().len(), writer.pending()), (0, 20_000));
    writer.publish();
    let held = reader.load();
    assert_eq!((held.len(), writer.pending(), writer.copies()), (20_000, 0, 0));

    let mut edit = writer.edit();
    edit.remove(&rule(7), 1).unwrap();
    edit.publish();
    assert_eq!((held.len(), reader.load().len()), (20_000, 19_999));

    // The reader holds what was published before the last.
    assert!(writer.try_edit().is_none());
    drop(held);
    let mut edit = writer.try_edit().unwrap();
    assert!(edit.remove(&rule(7), 1).is_none());
    edit.insert(&rule(7), 2, 7).unwrap();
    edit.publish();
    assert_eq!((reader.load().len(), writer.copies()), (20_000, 0));
}

#[test]
fn the_writer_need_not_wait_for_a_reader_that_holds_on() {
    let mut writer = Writer::new(Classifier::new(Layout::<W>::flat()));
    let reader = writer.reader();
    let held: Vec<_> = (0..4)
        .map(|n| {
            let mut edit = writer.edit();
            edit.insert(&rule(n), 1, n).unwrap();
            edit.publish();
            reader.load()
        })
        .collect();
    let lens: Vec<usize> = held.iter().map(|snapshot| snapshot.len()).collect();
    assert_eq!(lens, [1, 2, 3, 4]);
    assert!(writer.copies() >= 2);
}

/// A rule moves from one priority to another and back; whoever looks finds it once.
#[test]
fn readers_never_see_half_a_change() {
    let rounds = if cfg!(miri) { 10 } else { 2_000 };
    let mut writer = Writer::new(Classifier::new(Layout::<W>::flat()));
    let mut edit = writer.edit();
    (0..64).for_each(|n| assert_eq!(edit.insert(&rule(n), 1, 0u64), Ok(None)));
    edit.publish();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let reader = writer.reader();
            std::thread::spawn(move || {
                let mut last = 0;
                while last < rounds {
                    let table = reader.load();
                    assert_eq!(table.len(), 64);
                    let found = table.lookup(&[9, 9 % 8]).map(|rule| *rule.payload()).expect("always there");
                    assert!(found >= last, "no step back");
                    last = found;
                }
            })
        })
        .collect();
    for round in 1..=rounds {
        let mut edit = writer.edit();
        let (from, to) = if round % 2 == 1 { (1, 2) } else { (2, 1) };
        edit.remove(&rule(9), from).expect("it is there");
        edit.insert(&rule(9), to, round).unwrap();
        edit.publish();
    }
    readers.into_iter().for_each(|reader| reader.join().expect("no assertion failed"));
}

/// Each bundle writes its number to all rules, and adds or takes away a thousand more, by which buckets grow: whoever looks
/// finds one number everywhere, and all of the thousand or none.
#[test]
fn readers_never_see_half_a_bundle() {
    let (rounds, more) = if cfg!(miri) { (4, 10) } else { (120, 1_000) };
    let mut writer = Writer::new(Classifier::new(Layout::<W>::flat()));
    let mut edit = writer.edit();
    (0..32).for_each(|n| assert_eq!(edit.insert(&rule(n), 1, 0u64), Ok(None)));
    edit.publish();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let reader = writer.reader();
            std::thread::spawn(move || {
                let mut last = 0;
                while last < rounds {
                    let table = reader.load();
                    let round = *table.lookup(&[0, 0]).expect("always there").payload();
                    assert!(round >= last, "no step back");
                    for n in 0..32 {
                        let found = table.lookup(&[n, n % 8]).map(|rule| *rule.payload());
                        assert_eq!(found, Some(round), "rule {n}");
                    }
                    let there = if round % 2 == 1 { more } else { 0 };
                    assert_eq!(table.len() as u64, 32 + there);
                    for n in [32, 32 + more / 2, 31 + more] {
                        assert_eq!(table.lookup(&[n, n % 8]).is_some(), there > 0, "rule {n}");
                    }
                    last = round;
                }
            })
        })
        .collect();
    for round in 1..=rounds {
        let mut edit = writer.edit();
        (0..32).for_each(|n| assert_eq!(edit.insert(&rule(n), 1, round), Ok(Some(round - 1))));
        for n in 32..32 + more {
            match round % 2 {
                1 => assert_eq!(edit.insert(&rule(n), 1, round), Ok(None)),
                _ => assert_eq!(edit.remove(&rule(n), 1), Some(round - 1)),
            }
        }
        edit.publish();
    }
    readers.into_iter().for_each(|reader| reader.join().expect("no assertion failed"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Both copies do the same: after any changes, published or not, a reader sees what a table of one owner has.
    #[test]
    fn what_is_published_is_what_one_table_would_be(
        changes in prop::collection::vec((0..6u8, 0..12u64, 0..3u64, any::<bool>()), 1..80),
    ) {
        let mut writer = Writer::new(Classifier::new(Layout::<W>::flat()));
        let mut alone = Classifier::new(Layout::<W>::flat());
        let reader = writer.reader();
        for (id, (kind, n, version, publish)) in changes.into_iter().enumerate() {
            let mut edit = writer.edit();
            let handle = alone.find_exact(&rule(n), 1).map(|rule| rule.handle());
            match (kind, handle) {
                (0, _) => prop_assert_eq!(edit.insert(&rule(n), 1, id), alone.insert(&rule(n), 1, id)),
                (1, _) => {
                    let new = NewRule::new(rule(n), 1, id).from_version(Version(version));
                    prop_assert_eq!(edit.add(new.clone()), alone.add(new));
                }
                (2, Some(h)) => prop_assert_eq!(edit.remove_handle(h), alone.remove_handle(h)),
                (3, Some(h)) => prop_assert_eq!(edit.hide(h, Version(version)), alone.hide(h, Version(version))),
                (4, Some(h)) => prop_assert_eq!(edit.set_payload(h, id), alone.set_payload(h, id)),
                _ => prop_assert_eq!(edit.reclaim(Version(version)), alone.reclaim(Version(version))),
            }
            if publish {
                edit.publish();
                prop_assert_eq!(format!("{:?}", reader.load()), format!("{alone:?}"));
                let handles: Vec<_> = alone.iter().map(|rule| rule.handle()).collect();
                prop_assert!(reader.load().iter().map(|rule| rule.handle()).eq(handles));
            }
        }
        prop_assert_eq!(writer.copies(), 0);
    }
}
