//! Guards are made anew while the table is used: whatever is half made, answers and wildcards stay right.

use ovs_classifier::{Classifier, Field, Layout, Pattern, Probes, Version};

const W: usize = 2;

fn layout() -> Layout<W> {
    let fields =
        [(0, 32), (32, 32), (64, 16), (80, 16)].map(|(at, bits)| Field::new(at, bits).expect("bits of the key"));
    Layout::new([0, 3]).and_then(|layout| layout.with_fields(&fields)).expect("two stages, four fields")
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 ^ self.0 >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
    }
}

/// One of `masks` masks, with values that rules and keys share.
fn rule(random: &mut Random, masks: u64) -> (Pattern<W>, i32) {
    let n = random.next() % masks;
    // Some have no prefix of the first field.
    let (a, b, c) = (if n % 7 == 3 { 0 } else { n % 24 + 4 }, n / 24 % 24 + 4, n / 576 % 3);
    let high = |len: u64, bits: u32| u64::MAX.checked_shl(64 - len as u32).unwrap_or(0) >> (64 - bits);
    let mask = [high(a, 32) << 32 | high(b, 32), [0, 0xffff << 48, 0xffff << 32][c as usize]];
    (Pattern::new(key(random), mask), (a + b) as i32)
}

fn key(random: &mut Random) -> [u64; W] {
    let n = random.next();
    [(n & 0x7) << 61 | (n >> 3 & 3) << 36 | (n >> 5 & 7) << 29 | n >> 8 & 3, (n >> 10 & 3) << 48 | (n >> 12 & 3) << 32]
}

/// Compares some lookups with those of a list.
fn check(table: &Classifier<u64, W>, list: &[(Pattern<W>, i32)], random: &mut Random) {
    for _ in 0..4 {
        let key = key(random);
        let expected = list.iter().filter(|rule| rule.0.matches(&key)).map(|rule| rule.1).max();
        let (mut wildcards, mut cost) = ([0; W], Probes::default());
        let found = table.at(Version::LAST).lookup_counted(&key, Some(&mut wildcards), &mut cost);
        assert_eq!(found.map(|rule| rule.priority()), expected);
        assert_eq!(table.lookup(&key).map(|rule| rule.priority()), expected);
        assert!(cost.probes <= cost.open && cost.open <= table.stats().subtables as u64);
        for _ in 0..8 {
            // What is not reported is that of another key, one that rules match.
            let filler = self::key(random);
            let other = std::array::from_fn(|i| key[i] & wildcards[i] | filler[i] & !wildcards[i]);
            assert_eq!(table.lookup(&other).map(|rule| rule.priority()), expected, "{key:?} and {other:?}");
        }
    }
}

#[test]
fn lookups_are_right_between_any_two_steps() {
    let (steps, seeds) = if cfg!(miri) { (60, 1) } else { (1_500, 4) };
    for (seed, masks) in (0..seeds).zip([12, 100, 150, 1700]) {
        let mut random = Random(seed);
        let (mut table, mut list) = (Classifier::with_seed(layout(), seed), Vec::<(Pattern<W>, i32)>::new());
        let prefixes = [(0, 32), (32, 32)].map(|(at, bits)| Field::new(at, bits).expect("bits of the key"));
        table.set_prefix_fields(&prefixes).expect("two fields");
        // It grows, then turns over, then shrinks; and rules are removed while their masks are copied.
        for step in 0..steps {
            let grows = if step < steps / 2 {
                9
            } else if step < steps * 3 / 4 {
                5
            } else {
                1
            };
            if random.next() % 10 < grows || list.is_empty() {
                let (pattern, priority) = rule(&mut random, masks);
                if table.insert(&pattern, priority, step).expect("no limit").is_none() {
                    list.push((pattern, priority));
                }
            } else {
                let (pattern, priority) = list.swap_remove((random.next() % list.len() as u64) as usize);
                assert!(table.remove(&pattern, priority).is_some());
            }
            if step % 5 == 0 {
                check(&table, &list, &mut random);
            }
        }
        assert!(list.is_empty() || table.len() == list.len());
    }
}

/// The work of an update does not grow with the table: guards for what is there come by and by.
#[test]
fn guards_come_by_and_by_to_a_table_that_has_rules() {
    let mut table = Classifier::with_seed(layout(), 1);
    // Eight masks need none. The ninth asks for them, when there are thousands of rules.
    let mask = |n: u64| [(u64::MAX << (32 + n)) & u64::MAX << 32, 0xffff << 48];
    for n in 0..6_000 {
        table.insert(&Pattern::new([n << 41, n << 48], mask(n % 8)), (n % 8) as i32, n).expect("no limit");
    }
    assert_eq!(table.stats().guards, 0);
    let mut updates = 0;
    while table.stats().guards == 0 {
        table.insert(&Pattern::new([updates << 41, 7 << 48], mask(8)), 9, updates).expect("no limit");
        updates += 1;
        assert!(updates < 2_000, "they come in time");
    }
    assert!(updates > 8, "not all in one update");
    let mut cost = Probes::default();
    let mut wildcards = [0; W];
    assert!(table.at(Version::LAST).lookup_counted(&[u64::MAX, u64::MAX], Some(&mut wildcards), &mut cost).is_none());
    assert!(cost.open < 9, "{cost:?}");
}

/// Guards of a word of columns are in use while masks come for which they have no place, with prefixes and without.
#[test]
fn masks_beyond_the_rows_are_found_until_there_are_wider_ones() {
    let mut random = Random(7);
    let mut table = Classifier::with_seed(layout(), 7);
    let prefixes = [(0, 32), (32, 32)].map(|(at, bits)| Field::new(at, bits).expect("bits of the key"));
    table.set_prefix_fields(&prefixes).expect("two fields");
    let mut list = Vec::new();
    let mask = |n: u64| {
        let lens = if n < 60 { [4 + n % 8, 4 + n / 8] } else { [n % 2 * 5, 0] };
        let [a, b] = lens.map(|len| u64::from(u32::MAX.checked_shl(32 - len as u32).unwrap_or(0)));
        [a << 32 | b, n.saturating_sub(59) << 48]
    };
    for n in 0..3_000 {
        // Half of the keys have prefixes that none of these have.
        let [low, ports] = key(&mut random).map(|word| word & u64::MAX >> 1);
        let (pattern, priority) = (Pattern::new([low, ports], mask(n % 60)), (n % 60) as i32);
        if table.insert(&pattern, priority, n).expect("no limit").is_none() {
            list.push((pattern, priority));
        }
    }
    let columns = table.stats().subtables;
    for n in 60..90 {
        let (pattern, priority) = (Pattern::new(key(&mut random), mask(n)), n as i32);
        assert!(table.insert(&pattern, priority, n).expect("no limit").is_none());
        list.push((pattern, priority));
        (0..64).for_each(|_| check(&table, &list, &mut random));
    }
    assert!(columns == 60 && table.stats().subtables > 64, "{columns}");
}
