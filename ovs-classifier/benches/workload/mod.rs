//! The rules that the benches look up and change.
#![allow(dead_code, reason = "each bench uses its part")]

use std::collections::BTreeSet;

use ovs_classifier::{Classifier, Field, Layout, Pattern};

use super::common::Random;

pub(crate) const W: usize = 96;
pub(crate) const IN_PORT: usize = 0;
pub(crate) const ETHER: usize = 2;
pub(crate) const ADDRESSES: usize = 5;
pub(crate) const PROTOCOL: usize = 6;
pub(crate) const PORTS: usize = 7;
pub(crate) const METADATA: usize = 24;

pub(crate) type Key = [u64; W];

pub(crate) fn field(word: usize, offset: usize, bits: u8) -> Field {
    Field::new((word * 64 + offset) as u16, bits).expect("a run of bits in a key")
}

/// Metadata first, addresses and protocol third, ports last; with the fields that rules match.
pub(crate) fn layout() -> Layout<W> {
    let mut stages = [0; W];
    (stages[ETHER], stages[ETHER + 1], stages[ADDRESSES], stages[PROTOCOL], stages[PORTS]) = (1, 1, 2, 2, 3);
    let fields = [
        field(METADATA, 0, 64),
        field(IN_PORT, 32, 32),
        field(ETHER, 0, 48),
        field(ETHER + 1, 0, 48),
        field(ETHER, 48, 16),
        field(ADDRESSES, 0, 32),
        field(ADDRESSES, 32, 32),
        field(PROTOCOL, 56, 8),
        field(PORTS, 32, 16),
        field(PORTS, 48, 16),
    ];
    let layout = Layout::new(stages).expect("stages are 0 to 3").with_fields(&fields).expect("fields of the key");
    layout.with_ports(field(PORTS, 32, 32)).expect("a field of the key")
}

/// An OpenFlow table as a switch has it: the addresses are prefix fields.
pub(crate) fn table<R>() -> Classifier<R, W> {
    let mut table = Classifier::with_seed(layout(), 1);
    table.set_prefix_fields(&[field(ADDRESSES, 0, 32), field(ADDRESSES, 32, 32)]).expect("two fields of the key");
    table
}

pub(crate) fn prefix(len: u64) -> u64 {
    u64::from(u32::MAX << (32 - len))
}

/// `n` distinct masks: four fields exact or not, prefixes of the addresses. With them the lengths of both prefixes.
pub(crate) fn masks(random: &mut Random, n: usize) -> Vec<(Key, i32)> {
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
    let mut masks: Vec<_> = masks.into_iter().collect();
    (1..masks.len()).rev().for_each(|i| masks.swap(i, random.below(i as u64 + 1) as usize));
    masks
}

/// Values of a key from one number: 64 of metadata, 16 ports.
pub(crate) fn values(n: u64) -> Key {
    let h = Random(n).next();
    let mut key = [0; W];
    (key[METADATA], key[IN_PORT], key[ADDRESSES]) = (h % 64, h >> 6 & 15, Random(h).next());
    (key[PROTOCOL], key[PORTS]) = (if h >> 10 & 1 == 0 { 6 } else { 17 }, h >> 11 & 0xffff);
    key
}

/// A table of random rules of many masks, with its rules and with keys that match them.
pub(crate) struct Rules {
    pub(crate) table: Classifier<u64, W>,
    pub(crate) rules: Vec<(Key, usize)>,
    pub(crate) masks: Vec<(Key, i32)>,
    pub(crate) keys: Vec<Key>,
    /// How often it was allocated to make the table.
    pub(crate) allocations: usize,
}

impl Rules {
    pub(crate) fn new(n_masks: usize, n_rules: u64) -> Rules {
        let mut random = Random(1);
        let masks = masks(&mut random, n_masks);
        let (mut table, mut rules) = (table(), Vec::with_capacity(n_rules as usize));
        let before = super::sys::allocations();
        for n in 0..n_rules {
            let mask = random.below(n_masks as u64) as usize;
            let rule = Pattern::new(values(random.next()), masks[mask].0);
            if table.insert(&rule, masks[mask].1, n).expect("no limit").is_none() {
                rules.push((n, mask));
            }
        }
        let allocations = super::sys::allocations() - before;
        // Rules are told by their number, to keep the bench's own memory small.
        let mut random = Random(1);
        let _ = self::masks(&mut random, n_masks);
        let numbers: Vec<u64> = (0..n_rules)
            .map(|_| {
                random.below(n_masks as u64);
                random.next()
            })
            .collect();
        let keys = (0..4096)
            .map(|_| {
                let (n, mask) = rules[random.below(rules.len() as u64) as usize];
                let (rule, mask, other) = (values(numbers[n as usize]), masks[mask].0, values(random.next()));
                std::array::from_fn(|i| rule[i] & mask[i] | other[i] & !mask[i])
            })
            .collect();
        let rules = rules.into_iter().map(|(n, mask)| (values(numbers[n as usize]), mask));
        // Every eighth will do for updates.
        let rules = rules.step_by(if n_rules > 100_000 { 8 } else { 1 }).collect();
        Rules { table, rules, masks, keys, allocations }
    }
}

pub(crate) fn goal(name: &str, peer: f64, ns: f64, goal: f64) {
    if ns.is_finite() {
        let verdict = if peer / ns >= goal { "reached" } else { "NOT reached" };
        println!("{name}: goal {goal}x {verdict}");
    }
}
