//! Lookups and updates with the rules and the traffic of reference measurements: our figure, the peer's, the goal.
//!
//! - *Rules of many masks*: a choice of metadata, port, protocol and L4 port exact or not, times prefixes of 8 to 31
//!   bits of both addresses; 64 values of metadata, 16 ports; the priority is the sum of the prefixes' lengths. Keys
//!   are those of 4096 rules, with random bits where the rule does not look.
//! - *One mask*: thirteen fields of two values each, as in the peer's own benchmark of its classifier.
//! - *Megaflows*: flow `i` fixes the destination address, and of the source port the bits that its mask has.
//!
//! A key is as wide as a switch's will be, 96 words, of which rules use five.
//!
//! The peer's figures are those of Open vSwitch at d6a632a9b with these very rules and keys, the least that was seen in runs
//! that alternated it with ours, at 3.7 to 3.9 GHz.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;
#[path = "../../ovs-netlink/benches/common/sys.rs"]
mod sys;
mod workload;

use std::hint::black_box;

use common::Random;
use criterion::{Criterion, criterion_group, criterion_main};
use ovs_classifier::{Classifier, MegaflowTable, NewRule, Pattern, Probes, Version};
use workload::{ADDRESSES, ETHER, IN_PORT, Key, METADATA, PORTS, PROTOCOL, Rules, W, goal, layout, table, values};

/// Tells how often a rule, or a lookup, allocates.
#[global_allocator]
static ALLOCATOR: sys::Counting = sys::Counting;

/// Which of the sets to run: the largest take a minute, and are run when asked for.
fn wanted(rules: u64) -> bool {
    rules <= 100_000 || std::env::var_os("CLASSIFIER_BENCH_LARGE").is_some()
}

/// Row 13: the most bytes that a rule may take.
const BYTES: usize = 450;

fn rules(c: &mut Criterion) {
    // Row 4: tracked; 4b: untracked.
    for (n_masks, n_rules, name, tracked, ratio, untracked) in [
        (10, 1_000, "10_masks_1k", 375.0, 3.0, None),
        (30, 10_000, "30_masks_10k", 957.0, 6.0, None),
        (100, 10_000, "100_masks_10k", 2140.0, 10.0, None),
        (100, 100_000, "100_masks_100k", 3975.0, 10.0, Some((639.0, 5.0))),
        (300, 100_000, "300_masks_100k", 7659.0, 12.0, None),
        (1000, 1_000_000, "1000_masks_1m", 29_542.0, 20.0, None),
    ] {
        if !wanted(n_rules) {
            continue;
        }
        let Rules { mut table, rules, masks, keys, allocations } = Rules::new(n_masks, n_rules);
        let mut cost = Probes::default();
        let before = sys::allocations();
        let (mut bits, mut open) = (0, 0);
        for key in &keys {
            let mut wildcards = [0; W];
            table.at(Version::LAST).lookup_counted(key, Some(&mut wildcards), &mut cost);
            bits += wildcards.iter().map(|w| w.count_ones()).sum::<u32>();
            open += 1;
        }
        let lookups = sys::allocations() - before;
        let stats = table.stats();
        let bytes = stats.bytes / stats.rules;
        let verdict = if bytes <= BYTES { "reached" } else { "NOT reached" };
        println!("classifier/{name}: a rule takes {bytes} bytes, limit {BYTES} {verdict}");
        println!(
            "classifier/{name}: a rule takes {:.3} allocations, {open} tracked lookups {lookups}; {} guards; of {} masks {:.1} left open, {:.1} probed, {:.1} proofs, {:.1} bits",
            allocations as f64 / stats.rules as f64,
            stats.guards,
            stats.subtables,
            cost.open as f64 / f64::from(open),
            cost.probes as f64 / f64::from(open),
            cost.proofs as f64 / f64::from(open),
            f64::from(bits) / f64::from(open),
        );
        let full = format!("classifier/{name}/tracked");
        let ns = common::measure(c, &full, keys.len(), Some(tracked), || {
            for key in &keys {
                let mut wildcards = [0; W];
                black_box(&table.lookup_tracked(key, &mut wildcards));
                black_box(&wildcards);
            }
        });
        goal(&full, tracked, ns, ratio);
        let full = format!("classifier/{name}/untracked");
        let ns = common::measure(c, &full, keys.len(), untracked.map(|u| u.0), || {
            for key in &keys {
                black_box(&table.lookup(key));
            }
        });
        if let Some((peer, ratio)) = untracked {
            goal(&full, peer, ns, ratio);
        }
        // Row 5: a rule goes and comes back.
        let update = match n_rules {
            100_000 if n_masks == 100 => Some((3395.0, 4.0)),
            1_000_000 => Some((5716.0, 6.0)),
            _ => None,
        };
        if let Some((peer, ratio)) = update {
            update_pairs(c, &format!("classifier/{name}/update"), &mut table, &rules, &masks, (peer, ratio));
        }
    }
}

fn update_pairs(
    c: &mut Criterion,
    name: &str,
    table: &mut Classifier<u64, W>,
    rules: &[(Key, usize)],
    masks: &[(Key, i32)],
    (peer, ratio): (f64, f64),
) {
    let mut random = Random(3);
    let pairs: Vec<_> = (0..4096).map(|_| rules[random.below(rules.len() as u64) as usize]).collect();
    let pairs: Vec<_> = pairs.iter().map(|(key, mask)| (Pattern::new(*key, masks[*mask].0), masks[*mask].1)).collect();
    let ns = common::measure(c, name, pairs.len(), Some(peer), || {
        for (pattern, priority) in &pairs {
            let payload = table.remove(pattern, *priority).expect("a rule of the table");
            table.insert(pattern, *priority, payload).expect("no limit");
        }
    });
    goal(name, peer, ns, ratio);
}

/// Row 4c, and the first of row 5: two values of each of thirteen fields, all exact.
fn one_mask(c: &mut Criterion) {
    let fields: [(usize, u64, u64, u64); 13] = [
        (1, u64::MAX, 0, 0x0012_3456),
        (METADATA, u64::MAX, 0, 0x0123_4567_89ab_cdef),
        (ADDRESSES, 0xffff_ffff << 32, 0xc0a8_0101 << 32, 0xc0a8_0201 << 32),
        (ADDRESSES, 0xffff_ffff, 0xc0a8_0102, 0xc0a8_0202),
        (IN_PORT, 0xffff_ffff, 1, 2),
        (4, 0xffff << 48, 0, 0x1065 << 48),
        (ETHER, 0xffff, 0x0800, 0x0806),
        (PORTS, 0xffff << 16, 49362 << 16, 80 << 16),
        (PORTS, 0xffff, 6667, 22),
        (ETHER + 1, u64::MAX << 16, 0x0026_5541_01d6 << 16, 0x0026_5541_01d7 << 16),
        (ETHER, u64::MAX << 16, 0x0000_0000_0001 << 16, 0x0000_0000_0002 << 16),
        (PROTOCOL, 0xff, 6, 17),
        (PROTOCOL, 0xff << 8, 0, 48 << 8),
    ];
    let key = |n: u64| {
        let mut key = [0; W];
        fields.iter().enumerate().for_each(|(i, (w, _, a, b))| key[*w] |= if n >> i & 1 == 0 { *a } else { *b });
        key
    };
    let mut mask = [0; W];
    fields.iter().for_each(|(w, bits, ..)| mask[*w] |= bits);

    let (mut random, mut flat) = (Random(1), table());
    for n in 0..100_000 {
        flat.insert(&Pattern::new(key(random.below(8192)), mask), 0, n).expect("no limit");
    }
    let keys: Vec<Key> = (0..16_384).map(|_| key(random.below(8192))).collect();
    let full = "classifier/stock/untracked";
    let ns = common::measure(c, full, keys.len(), Some(63.4), || {
        for key in &keys {
            black_box(flat.lookup(key));
        }
    });
    goal(full, 63.4, ns, 2.0);
    let full = "classifier/stock/tracked";
    let ns = common::measure(c, full, keys.len(), Some(174.3), || {
        for key in &keys {
            let mut wildcards = [0; W];
            black_box(flat.lookup_tracked(key, &mut wildcards));
            black_box(&wildcards);
        }
    });
    goal(full, 174.3, ns, 4.0);

    let full = "classifier/1_mask_10k";
    let (mut table, mut random) = (table(), Random(2));
    let mut mask = [0; W];
    (mask[METADATA], mask[ADDRESSES]) = (u64::MAX, u64::MAX);
    let patterns: Vec<_> = (0..10_000).map(|_| Pattern::new(values(random.next()), mask)).collect();
    for (pattern, n) in patterns.iter().zip(0..) {
        table.insert(pattern, 0, n).expect("no limit");
    }
    let ns = common::measure(c, &format!("{full}/tracked"), 4096, Some(350.0), || {
        for pattern in &patterns[..4096] {
            let mut wildcards = [0; W];
            black_box(&table.lookup_tracked(pattern.key(), &mut wildcards));
            black_box(&wildcards);
        }
    });
    goal(full, 350.0, ns, 1.5);
    let ns = common::measure(c, &format!("{full}/update"), patterns.len(), Some(1087.0), || {
        for pattern in &patterns {
            let payload = table.remove(pattern, 0).expect("a rule of the table");
            table.insert(pattern, 0, payload).expect("no limit");
        }
    });
    goal(full, 1087.0, ns, 2.5);

    // A bundle: rules at the next version, then the version.
    let full = "classifier/bundle_100k";
    common::measure(c, full, 100_000, None, || {
        let mut table = workload::table();
        let mut random = Random(4);
        for n in 0..100_000u64 {
            let rule = NewRule::new(Pattern::new(values(random.next()), mask), 0, n).from_version(Version(1));
            let _ = black_box(table.add(rule));
        }
        black_box(table.at(Version(1)).lookup(patterns[0].key()));
    });
}

fn megaflows(c: &mut Criterion) {
    // Rows 3, 3b and 3c.
    for (flows, n_masks, name, peer, ratio) in [
        (1_000, 1, "1k_flows/1_mask", Some(17.1), 4.0),
        (1_000, 10, "1k_flows/10_masks", Some(84.6), 6.0),
        (1_000, 50, "1k_flows/50_masks", Some(378.6), 8.0),
        (1_000, 100, "1k_flows/100_masks", Some(721.5), 15.0),
        (1_000, 1000, "1k_flows/1000_masks", None, 0.0),
        (100_000, 10, "100k_flows/10_masks", Some(106.2), 3.5),
        (1_000_000, 10, "1m_flows/10_masks", Some(113.3), 2.5),
    ] {
        if !wanted(flows) {
            continue;
        }
        let mut table = MegaflowTable::with_layout(&layout(), 1);
        let mut keys = Vec::new();
        for i in 0..flows {
            let (mut key, mut mask) = ([0; W], [0; W]);
            (key[ADDRESSES], key[PORTS]) = (0x0a00_0001 << 32 | (0x0b00_0000 + i), Random(i).next() & 0xffff_ffff);
            (key[ETHER], key[IN_PORT]) = (0x0800, 1);
            (mask[IN_PORT], mask[ADDRESSES], mask[ETHER]) = (u64::MAX, 0xffff_ffff, 0xffff);
            (mask[PROTOCOL], mask[PORTS]) = (0xff, (0xffff ^ (i % n_masks)) << 16);
            table.insert(&Pattern::new(key, mask), i).expect("no limit");
            if flows <= 1_000 || i % (flows / 4096) == 0 {
                keys.push(key);
            }
        }
        let mut random = Random(2);
        let order: Vec<&Key> = (0..4096).map(|_| &keys[random.below(keys.len() as u64) as usize]).collect();
        let mut found = [None; 32];
        let name = format!("megaflow/{name}");
        println!("{name}: {} bytes each", table.stats().bytes / table.len());
        let ns = common::measure(c, &name, order.len(), peer, || {
            for batch in order.chunks(32) {
                black_box(table.lookup_batch(batch, &mut found));
            }
        });
        println!("{name}: {:.2} masks probed", table.stats().probes as f64 / table.stats().lookups.max(1) as f64);
        if let Some(peer) = peer {
            goal(&name, peer, ns, ratio);
        }
    }

    million(c);

    hostile(c);
}

/// Row 14: masks as a tuple space explosion makes them, one for each triple of bits in which a packet differs. What a
/// victim's packet costs beside what it costs alone: without a cache, and with one, as a datapath has it.
fn hostile(c: &mut Criterion) {
    let mut victim = [0; W];
    (victim[ADDRESSES], victim[PROTOCOL], victim[PORTS]) = (0x0a00_0001 << 32 | 0x0b00_0001, 6, 1234 << 16 | 80);
    let mut exact = [0; W];
    (exact[ADDRESSES], exact[PROTOCOL], exact[PORTS]) = (u64::MAX, 0xff, 0xffff_ffff);
    for (cached, flows) in [("", 0), ("_cached", 8192)] {
        let table = || MegaflowTable::with_layout(&layout(), 1).with_cache(flows);
        let (mut alone, mut table) = (table(), table());
        for (i, j, k) in (0..32).flat_map(|i| (0..16).flat_map(move |j| (0..16).map(move |k| (i, j, k)))) {
            let (mut key, mut mask) = (victim, [0; W]);
            key[ADDRESSES] ^= 1 << (63 - i);
            key[PORTS] ^= 1 << (31 - j) | 1 << (15 - k);
            mask[ADDRESSES] = u64::MAX << (63 - i);
            mask[PORTS] = 0xffff_0000 << (15 - j) & 0xffff_0000 | 0xffff << (15 - k) & 0xffff;
            mask[PROTOCOL] = 0xff;
            table.insert(&Pattern::new(key, mask), 0).expect("no limit");
        }
        for table in [&mut alone, &mut table] {
            table.insert(&Pattern::new(victim, exact), 1).expect("no limit");
        }
        let keys = [&victim; 32];
        let mut found = [None; 32];
        let name = format!("megaflow/8192_hostile_masks{cached}");
        let one = common::measure(c, &format!("{name}/alone"), 32, None, || {
            black_box(alone.lookup_batch(&keys, &mut found));
        });
        let ns = common::measure(c, &name, 32, Some(75_000.0), || {
            black_box(table.lookup_batch(&keys, &mut found));
        });
        let stats = table.stats();
        println!(
            "{name}: {:.2} hash tables probed, {:.1} % of the lookups of one mask kept",
            stats.probes as f64 / stats.lookups as f64,
            100.0 * one / ns
        );
    }
}

/// Row 2: a million flows of megaflows whose masks have little in common, with the cache in front of them.
fn million(c: &mut Criterion) {
    const FLOWS: u64 = 1_000_000;
    if !wanted(FLOWS) {
        return;
    }
    let words = [ADDRESSES, PORTS, ETHER, METADATA];
    let mut table = MegaflowTable::with_layout(&layout(), 1).with_cache(FLOWS as usize);
    let key = |i: u64| {
        let mut key = [0; W];
        words.iter().for_each(|word| key[*word] = Random(i).next());
        key[PROTOCOL] = i % 4 + 1;
        key
    };
    for i in 0..FLOWS {
        let mut mask = [0; W];
        (mask[PROTOCOL], mask[words[(i % 4) as usize]]) = (u64::MAX, u64::MAX);
        table.insert(&Pattern::new(key(i), mask), i).expect("no limit");
    }
    let keys: Vec<Key> = (0..FLOWS).map(key).collect();
    let keys: Vec<&Key> = keys.iter().collect();
    let mut found = [None; 32];
    let before = table.stats();
    let mut all = |table: &mut MegaflowTable<u64, W>| {
        let stats = table.stats();
        keys.chunks(32).for_each(|batch| assert_eq!(table.lookup_batch(batch, &mut found), batch.len()));
        (table.stats().cached - stats.cached) as f64 / FLOWS as f64
    };
    let shares: Vec<f64> = (0..6).map(|_| all(&mut table)).collect();
    let bytes = (table.stats().bytes - before.bytes) as f64 / FLOWS as f64;
    let last = shares.last().copied().unwrap_or(0.0);
    println!(
        "megaflow/cache: {:.2} % of a million flows found, at {bytes:.1} bytes a flow; goal 99 %, 16 bytes",
        100.0 * last
    );
    common::measure(c, "megaflow/cache/1m_flows", 4096, None, || {
        for batch in keys[..4096].chunks(32) {
            black_box(table.lookup_batch(batch, &mut found));
        }
    });
}

criterion_group! { name = benches; config = common::criterion(); targets = rules, one_mask, megaflows }
criterion_main!(benches);
