//! Readers beside a writer.

use ovs_classifier::{Classifier, Field, Layout, NewRule, Pattern, Version, Writer};
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

/// Two prefix fields of the first word, and ports in the second.
fn layout() -> (Layout<W>, [Field; 3]) {
    let fields = [0, 32, 64].map(|at| Field::new(at, 32).expect("32 bits of the key"));
    let layout = Layout::new([0, 3]).and_then(|layout| layout.with_ports(fields[2]));
    (layout.expect("two stages, and ports in the key"), fields)
}

/// One of some masks, with prefixes that part early and late.
fn routed((lens, a, b, c): ((u32, u32, u32), u64, u64, u64)) -> Pattern<W> {
    let high = |len: u32| (u64::MAX << 32 >> len) & 0xffff_ffff ^ 0xffff_ffff;
    let spread = |n: u64| n << 30 & 0xffff_ffff | n >> 2 << 16 | n;
    let mask = [high(lens.0) << 32 | high(lens.1), high(lens.2) << 32];
    Pattern::new([spread(a) << 32 | spread(b), spread(c) << 32], mask)
}

fn patterns() -> impl Strategy<Value = Pattern<W>> {
    let len = || prop::sample::select(vec![0, 2, 16, 24, 32]);
    ((len(), len(), prop::sample::select(vec![0, 16, 32])), 0..16u64, 0..16u64, 0..16u64).prop_map(routed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 64 }))]

    /// Both copies do the same: after any changes, published or not, a reader sees what a table of one owner has, and learns
    /// as much from a miss. That what the first copy finds is where the second has it, the classifier asserts itself.
    #[test]
    fn what_is_published_is_what_one_table_would_be(
        changes in prop::collection::vec((0..12u8, any::<prop::sample::Index>(), 0..3u64, 0..8u8), 1..200),
        patterns in prop::collection::vec(patterns(), 1..40),
    ) {
        let (layout, [source, destination, ports]) = layout();
        let mut alone = Classifier::new(layout);
        alone.set_prefix_fields(&[source, destination]).unwrap();
        let mut writer = Writer::new(alone.clone());
        let reader = writer.reader();
        let mut held = None;
        for (id, (kind, index, version, publish)) in changes.into_iter().enumerate() {
            let pattern = index.get(&patterns);
            let mut edit = writer.edit();
            let handle = alone.find_exact(pattern, 1).map(|rule| rule.handle());
            match (kind, handle) {
                (0..=3, _) => prop_assert_eq!(edit.insert(pattern, 1, id), alone.insert(pattern, 1, id)),
                (4, _) => {
                    let new = NewRule::new(pattern.clone(), 1, id).from_version(Version(version));
                    prop_assert_eq!(edit.add(new.clone()), alone.add(new));
                }
                (5 | 6, _) => prop_assert_eq!(edit.remove(pattern, 1), alone.remove(pattern, 1)),
                (7, Some(h)) => prop_assert_eq!(edit.remove_handle(h), alone.remove_handle(h)),
                (8, Some(h)) => prop_assert_eq!(edit.hide(h, Version(version)), alone.hide(h, Version(version))),
                (9, Some(h)) => prop_assert_eq!(edit.set_payload(h, id), alone.set_payload(h, id)),
                (10, _) if publish == 0 => {
                    let fields = [[source, ports], [source, destination]][id % 2];
                    prop_assert_eq!(edit.set_prefix_fields(&fields), alone.set_prefix_fields(&fields));
                }
                (11, _) if publish == 0 && version == 0 => {
                    edit.clear();
                    alone.clear();
                }
                _ => prop_assert_eq!(edit.reclaim(Version(version)), alone.reclaim(Version(version))),
            }
            if publish < 4 {
                edit.publish();
                // At times a reader holds on, so that the table is copied and goes on from there.
                held = (publish == 1).then(|| reader.load());
                let table = reader.load();
                prop_assert_eq!(format!("{table:?}"), format!("{alone:?}"));
                prop_assert!(table.iter().map(|rule| rule.handle()).eq(alone.iter().map(|rule| rule.handle())));
                for key in patterns.iter().map(Pattern::key) {
                    let (mut one, mut other) = ([0; W], [0; W]);
                    let found = table.lookup_tracked(key, &mut one).map(|rule| rule.handle());
                    prop_assert_eq!(found, alone.lookup_tracked(key, &mut other).map(|rule| rule.handle()));
                    prop_assert_eq!(one, other);
                }
            }
        }
        drop(held);
    }
}
