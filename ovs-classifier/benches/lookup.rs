//! Lookups: rules of many masks, tracked and not; megaflows by the batch.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::hint::black_box;

use common::Random;
use criterion::{Criterion, criterion_group, criterion_main};
use ovs_classifier::{Classifier, Layout, MegaflowTable, Pattern};

/// A flow key's width, and in it the places of the fields that rules match.
const W: usize = 48;
const IN_PORT: usize = 0;
const ADDRESSES: usize = 5;
const PROTOCOL: usize = 6;
const PORTS: usize = 7;
const METADATA: usize = 24;

/// Metadata first, addresses and protocol third, ports last.
const LAYOUT: Layout<W> = {
    let mut stages = [0; W];
    (stages[ADDRESSES], stages[PROTOCOL], stages[PORTS]) = (2, 2, 3);
    Layout::new(stages).expect("stages are 0 to 3")
};

type Key = [u64; W];

fn prefix(len: u64) -> u64 {
    u64::from(u32::MAX << (32 - len))
}

/// `n` distinct masks: four fields exact or not, prefixes of the addresses. With them the lengths of both prefixes.
fn masks(random: &mut Random, n: usize) -> Vec<(Key, i32)> {
    let mut masks = BTreeSet::new();
    while masks.len() < n {
        let (src, dst) = (8 + random.below(24), 8 + random.below(24));
        let mut mask = [0; W];
        mask[ADDRESSES] = prefix(src) << 32 | prefix(dst);
        for (place, whole) in [(METADATA, u64::MAX), (IN_PORT, 0xffff_ffff), (PROTOCOL, 0xff), (PORTS, 0xffff)] {
            mask[place] = if random.below(2) == 0 { whole } else { 0 };
        }
        masks.insert((mask, (src + dst) as i32));
    }
    masks.into_iter().collect()
}

/// Values of a key from one number: 64 of metadata, 16 ports.
fn values(n: u64) -> Key {
    let h = Random(n).next();
    let mut key = [0; W];
    (key[METADATA], key[IN_PORT], key[ADDRESSES]) = (h % 64, h >> 6 & 15, h);
    (key[PROTOCOL], key[PORTS]) = (if h >> 10 & 1 == 0 { 6 } else { 17 }, h >> 11 & 0xffff);
    key
}

fn rules(c: &mut Criterion) {
    // The peer's figures are for lookups that track, which is what it does for every upcall.
    for (n_masks, n_rules, name, peer) in [(10, 1_000, "10_masks_1k", 450.0), (100, 10_000, "100_masks_10k", 2500.0)] {
        let mut random = Random(1);
        let masks = masks(&mut random, n_masks);
        let mut table = Classifier::new(LAYOUT);
        let mut rules = Vec::new();
        for n in 0..n_rules {
            let (mask, priority) = masks[random.below(n_masks as u64) as usize];
            let rule = Pattern::new(values(random.next()), mask);
            table.insert(&rule, priority, n).expect("no limit");
            rules.push(rule);
        }
        // Keys that match a rule, with random bits where it does not look.
        let keys: Vec<Key> = (0..4096)
            .map(|_| {
                let rule = &rules[random.below(n_rules) as usize];
                let other = values(random.next());
                std::array::from_fn(|i| rule.key()[i] | other[i] & !rule.mask()[i])
            })
            .collect();
        common::measure(c, &format!("classifier/{name}/tracked"), keys.len(), Some(peer), || {
            for key in &keys {
                let mut wildcards = [0; W];
                black_box(table.lookup_tracked(key, &mut wildcards));
                black_box(&wildcards);
            }
        });
        common::measure(c, &format!("classifier/{name}/untracked"), keys.len(), None, || {
            for key in &keys {
                black_box(table.lookup(key));
            }
        });
    }
}

fn megaflows(c: &mut Criterion) {
    const FLOWS: u64 = 1_000;
    for (n_masks, peer) in [(1, 21.0), (10, 108.0), (50, 459.0)] {
        let mut table = MegaflowTable::new();
        let mut keys = Vec::new();
        for i in 0..FLOWS {
            let (mut key, mut mask) = ([0; W], [0; W]);
            (key[ADDRESSES], key[PORTS]) = (0x0a00_0001 << 32 | (0x0b00_0000 + i), Random(i).next() & 0xffff_ffff);
            (mask[IN_PORT], mask[ADDRESSES]) = (u64::MAX, 0xffff_ffff);
            (mask[PROTOCOL], mask[PORTS]) = (0xff, 0xffff ^ (i % n_masks));
            table.insert(&Pattern::new(key, mask), i).expect("no limit");
            keys.push(key);
        }
        let mut random = Random(2);
        let order: Vec<&Key> = (0..4096).map(|_| &keys[random.below(FLOWS) as usize]).collect();
        let mut found = [None; 32];
        common::measure(c, &format!("megaflow/1k_flows/{n_masks}_masks"), order.len(), Some(peer), || {
            for batch in order.chunks(32) {
                black_box(table.lookup_batch(batch, &mut found));
            }
        });
    }
}

criterion_group! { name = benches; config = common::criterion(); targets = rules, megaflows }
criterion_main!(benches);
