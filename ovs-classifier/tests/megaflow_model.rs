//! The megaflow table against an ordered map from patterns.

mod common;

use common::{Key, W, all_keys, key, layout, masks, pattern_among};
use ovs_classifier::{Handle, MegaflowTable, Pattern};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};

type Model = BTreeMap<(Key, Key), (u32, Handle)>;

#[derive(Clone, Debug)]
enum Op {
    Insert(Pattern<W>),
    Remove(Pattern<W>),
    RemoveHandle(Index),
    Change(Index),
    RetainOdd,
    Lookup(Key),
    Batch(Vec<Key>),
    Rank,
    Clear,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    masks().prop_flat_map(|masks| {
        let pattern = pattern_among(masks);
        let op = prop_oneof![
            24 => pattern.clone().prop_map(Op::Insert),
            3 => pattern.prop_map(Op::Remove),
            6 => any::<Index>().prop_map(Op::RemoveHandle),
            3 => any::<Index>().prop_map(Op::Change),
            6 => key().prop_map(Op::Lookup),
            4 => prop::collection::vec(key(), 0..70).prop_map(Op::Batch),
            3 => Just(Op::Rank),
            1 => Just(Op::RetainOdd),
        ];
        prop::collection::vec(prop_oneof![60 => op, 1 => Just(Op::Clear)], 0..80)
    })
}

fn name(pattern: &Pattern<W>) -> (Key, Key) {
    (*pattern.key(), *pattern.mask())
}

/// What is found matches and is what the map has for its pattern; nothing is found only where nothing matches.
fn check(table: &MegaflowTable<u32, W>, model: &Model, key: &Key, found: Option<Handle>) {
    match found {
        Some(handle) => {
            let megaflow = table.get(handle).expect("what a lookup found is there");
            assert!(megaflow.matches(key));
            assert_eq!(model.get(&name(&megaflow.pattern())), Some(&(*megaflow.payload(), handle)));
        }
        None => assert!(!model.keys().any(|(values, mask)| Pattern::new(*values, *mask).matches(key))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn finds_what_the_map_has(layout in layout(), seed: u64, cache in prop_oneof![Just(0), 1..10usize], ops in ops()) {
        let mut table = MegaflowTable::with_layout(&layout, seed).with_cache(cache);
        let mut model = Model::new();
        let mut stale: BTreeSet<Handle> = BTreeSet::new();
        let (mut lookups, mut hits) = (0, 0);
        for (op, id) in ops.into_iter().zip(0u32..) {
            let chosen = |index: Index| {
                let entries: Vec<_> = model.iter().map(|(name, entry)| (*name, *entry)).collect();
                (!entries.is_empty()).then(|| *index.get(&entries))
            };
            match op {
                Op::Insert(pattern) => {
                    let before = model.get(&name(&pattern)).copied();
                    let (handle, replaced) = table.insert(&pattern, id).unwrap();
                    prop_assert_eq!(replaced, before.map(|(payload, _)| payload));
                    prop_assert!(before.is_none_or(|(_, old)| old == handle), "replacing keeps the handle");
                    prop_assert!(!stale.contains(&handle), "no handle comes back");
                    model.insert(name(&pattern), (id, handle));
                }
                Op::Remove(pattern) => {
                    let before = model.remove(&name(&pattern));
                    prop_assert_eq!(table.find_exact(&pattern), before.map(|(_, handle)| handle));
                    prop_assert_eq!(table.remove(&pattern), before.map(|(payload, _)| payload));
                    stale.extend(before.map(|(_, handle)| handle));
                }
                Op::RemoveHandle(index) => {
                    if let Some((name, (payload, handle))) = chosen(index) {
                        prop_assert_eq!(table.remove_handle(handle), Some(payload));
                        model.remove(&name);
                        stale.insert(handle);
                    }
                }
                Op::Change(index) => {
                    if let Some((name, (payload, handle))) = chosen(index) {
                        prop_assert_eq!(table.get_mut(handle).copied(), Some(payload));
                        table.get_mut(handle).into_iter().for_each(|payload| *payload = id);
                        model.insert(name, (id, handle));
                    }
                }
                Op::RetainOdd => {
                    table.retain(|_, payload| *payload % 2 == 1);
                    stale.extend(model.values().filter(|entry| entry.0 % 2 == 0).map(|entry| entry.1));
                    model.retain(|_, entry| entry.0 % 2 == 1);
                }
                Op::Lookup(key) => {
                    let found = table.find(&key);
                    check(&table, &model, &key, found);
                    let expected = found.and_then(|handle| table.get(handle)).map(|megaflow| *megaflow.payload());
                    let payload = table.lookup(&key).map(|payload| *payload);
                    // Where several match, the cache may know another one.
                    prop_assert!(payload == expected || cache > 0 && payload.is_some() == expected.is_some());
                    lookups += 1;
                    hits += u64::from(found.is_some());
                }
                Op::Batch(keys) => {
                    let references: Vec<&Key> = keys.iter().collect();
                    let leftover = table.iter().next().map(|(handle, _)| handle);
                    let mut found = vec![leftover; keys.len() + 2];
                    let count = table.lookup_batch(&references, &mut found);
                    for (key, found) in keys.iter().zip(&found) {
                        check(&table, &model, key, *found);
                        prop_assert!(cache > 0 || *found == table.find(key));
                    }
                    prop_assert_eq!(&found[keys.len()..], &[None, None]);
                    prop_assert_eq!(count, found.iter().flatten().count());
                    lookups += keys.len() as u64;
                    hits += count as u64;
                }
                Op::Rank => table.rank(),
                Op::Clear => {
                    table.clear();
                    stale.extend(model.values().map(|entry| entry.1));
                    model.clear();
                }
            }
            prop_assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
        }

        for handle in stale {
            prop_assert!(table.get(handle).is_none());
            prop_assert!(table.get_mut(handle).is_none());
            prop_assert!(table.remove_handle(handle).is_none());
        }
        for key in all_keys() {
            let found = table.find(&key);
            check(&table, &model, &key, found);
        }
        let listed: Model =
            table.iter().map(|(handle, flow)| (name(&flow.pattern()), (*flow.payload(), handle))).collect();
        prop_assert_eq!(&listed, &model);
        prop_assert_eq!(table.masks().count(), table.mask_count());
        let masks: BTreeMap<Key, usize> = table.masks().collect();
        let mut expected = BTreeMap::new();
        model.keys().for_each(|(_, mask)| *expected.entry(*mask).or_insert(0) += 1);
        prop_assert_eq!(masks, expected);
        let stats = table.stats();
        prop_assert_eq!((stats.lookups, stats.hits, stats.megaflows), (lookups, hits, model.len()));
    }
}

#[test]
fn iteration_is_in_the_order_of_insertion() {
    let mut table = MegaflowTable::new();
    let flows: Vec<_> = (0..10).map(|n| Pattern::new([n, 0, 0, 0], [u64::MAX, 0, 0, 0])).collect();
    for (flow, n) in flows.iter().zip(0..) {
        table.insert(flow, n).unwrap();
    }
    table.remove(&flows[3]);
    table.insert(&flows[3], 10).unwrap();
    table.insert(&flows[0], 11).unwrap();
    let order: Vec<_> = table.iter().map(|(_, flow)| *flow.payload()).collect();
    assert_eq!(order, [11, 1, 2, 4, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn ranking_puts_the_busiest_mask_first_and_forgets() {
    let mut table = MegaflowTable::new();
    let [a, b] = [[1, 0, 0, 0], [0, 1, 0, 0]];
    table.insert(&Pattern::new(a, [u64::MAX, 0, 0, 0]), 'a').unwrap();
    table.insert(&Pattern::new(b, [0, u64::MAX, 0, 0]), 'b').unwrap();
    let probes = |table: &mut MegaflowTable<char, W>| {
        let before = table.stats().probes;
        table.lookup(&b);
        table.stats().probes - before
    };
    assert_eq!((0..4).map(|_| probes(&mut table)).sum::<u64>(), 8, "the order changes at a ranking only");
    table.rank();
    assert_eq!(probes(&mut table), 1);
    // Of those five hits, two and a half are left after two rankings: three others outdo them.
    table.rank();
    for _ in 0..3 {
        table.lookup(&a);
    }
    table.rank();
    assert_eq!(probes(&mut table), 2);
}

#[test]
fn keys_without_a_place_for_their_answer_are_not_looked_up() {
    let mut table = MegaflowTable::new();
    let (handle, _) = table.insert(&Pattern::any(), ()).unwrap();
    let keys = [[0; W]; 40];
    let keys: Vec<&Key> = keys.iter().collect();
    let mut found = [None; 35];
    assert_eq!(table.lookup_batch(&keys, &mut found), 35);
    assert_eq!(found, [Some(handle); 35]);
    assert_eq!(table.stats().lookups, 35);
    assert_eq!(table.stats().probes, 35);
}

#[test]
fn tables_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<ovs_classifier::Classifier<u64, 96>>();
    crosses::<MegaflowTable<u64, 96>>();
}

#[test]
fn tables_show_their_entries() {
    let mut table = MegaflowTable::new();
    table.insert(&Pattern::new([7, 0, 0, 0], [255, 0, 0, 0]), "go").unwrap();
    assert_eq!(format!("{table:?}"), r#"{Handle(0.1): Megaflow { pattern: {0: 0x7/0xff}, payload: "go" }}"#);
    let mut rules = ovs_classifier::Classifier::new(ovs_classifier::Layout::<1>::flat());
    rules.insert(&Pattern::any(), 3, "go").unwrap();
    assert_eq!(format!("{rules:?}"), r#"[Rule { priority: 3, pattern: {}, payload: "go", .. }]"#);
}

#[test]
fn a_full_table_takes_no_new_pattern() {
    let mut table = MegaflowTable::new().with_limit(1);
    let [a, b] = [1, 2].map(|n| Pattern::new([n, 0, 0, 0], [u64::MAX, 0, 0, 0]));
    table.insert(&a, 'a').unwrap();
    assert_eq!(table.insert(&b, 'b'), Err(ovs_classifier::TableFull { limit: 1 }));
    assert_eq!((table.mask_count(), table.insert(&a, 'c').unwrap().1), (1, Some('a')));
}
