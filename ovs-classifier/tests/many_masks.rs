//! Tables with more masks than anyone should have.

use ovs_classifier::{Classifier, Field, Layout, MegaflowTable, Pattern, Probes, Version};

/// As wide as a switch's flow key.
const W: usize = 96;

/// A layout in four blocks, like metadata, L2, L3 and L4.
fn layout() -> Layout<W> {
    Layout::new(std::array::from_fn(|word| (word / 24) as u8)).expect("stages are 0 to 3")
}

/// A distinct mask for each `n` below 2^20, spread over the stages.
fn mask(n: u64) -> [u64; W] {
    let mut mask = [0; W];
    (mask[1], mask[30], mask[60], mask[90]) = (n & 31, n >> 5 & 31, n >> 10 & 31, n >> 15);
    mask[(n % 96) as usize] |= 1 << 40;
    mask
}

/// Numbers that look random and are the same in every run.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24
    })
}

fn key(numbers: &mut impl Iterator<Item = u64>) -> [u64; W] {
    // Words of few bits, so that keys and patterns meet.
    std::array::from_fn(|_| numbers.by_ref().next().unwrap_or(0) & 1)
}

#[test]
fn a_thousand_masks_answer_as_a_list_does() {
    let mut random = numbers(1);
    let mut table = Classifier::with_seed(layout(), 42);
    let mut list = Vec::new();
    for n in 0..1000 {
        for _ in 0..3 {
            let pattern = Pattern::new(key(&mut random), mask(n));
            // Distinct priorities: the list need not know about ties.
            let priority = list.len() as i32 ^ 0x2a5;
            assert_eq!(table.insert(&pattern, priority, priority), Ok(None));
            list.push((pattern, priority));
        }
    }
    assert_eq!((table.stats().subtables, table.stats().rules), (1000, 3000));
    for round in 0..2 {
        for _ in 0..30 {
            let key = key(&mut random);
            let expected = list.iter().filter(|rule| rule.0.matches(&key)).map(|rule| rule.1).max();
            assert_eq!(table.lookup(&key).map(|rule| *rule.payload()), expected);
            let mut wildcards = [0; W];
            assert_eq!(table.lookup_tracked(&key, &mut wildcards).map(|rule| *rule.payload()), expected);

            let other = std::array::from_fn(|i| key[i] ^ (random.next().unwrap_or(0) & !wildcards[i]));
            assert_eq!(table.lookup(&other).map(|rule| *rule.payload()), expected);
        }
        // The second round is without most of the rules, the best ones among them.
        if round == 0 {
            list.retain(|rule| rule.1 % 4 == 1);
            table.retain(|rule| rule.priority() % 4 == 1);
            assert_eq!(table.len(), list.len());
        }
    }
}

/// Both kinds of lookup choose the next mask in ways of their own: among one word of masks and among more, where few are
/// left and where more than fit a list.
#[test]
fn untracked_lookups_find_what_tracked_ones_find() {
    let field = |word: u16| Field::new(word * 64, 32).expect("the first half of a word of the key");
    let guarded = layout().with_fields(&[field(1), field(30), field(60), field(90)]).expect("fields of the key");
    for (layout, n_masks, values) in
        [(guarded, 12, 3), (guarded, 60, 3), (guarded, 100, 9), (guarded, 100, 1), (guarded, 400, 9), (layout(), 40, 3)]
    {
        let (mut random, mut table, mut list) = (numbers(n_masks), Classifier::with_seed(layout, 7), Vec::new());
        let mut next = move || random.next().unwrap_or(0);
        // Four words of which guards may know, and one of which none does.
        let key = |next: &mut dyn FnMut() -> u64| {
            let mut key = [0; W];
            [1, 30, 60, 90].into_iter().for_each(|word| key[word] = (next() % values) << 56);
            key[95] = next();
            key
        };
        for n in 0..n_masks * 6 {
            let (mut mask, n_mask) = ([0; W], n % n_masks);
            for (word, i) in [1, 30, 60, 90].into_iter().zip(0..) {
                mask[word] = if (n_mask ^ (n_mask >> 4)) >> i & 1 == 0 { u64::MAX << 32 } else { 0 };
            }
            mask[95] = n_mask;
            // Few priorities: rules of many masks have the same, and those of one mask different ones.
            let (pattern, priority) = (Pattern::new(key(&mut next), mask), (next() % 8) as i32);
            let _ = table.insert(&pattern, priority, n).expect("no limit");
            list.push((pattern, priority));
        }
        for _ in 0..300 {
            let key = key(&mut next);
            let tracked = table.lookup_tracked(&key, &mut [0; W]).map(|rule| *rule.payload());
            assert_eq!(table.lookup(&key).map(|rule| *rule.payload()), tracked, "{n_masks} masks");
            let best = list.iter().filter(|rule| rule.0.matches(&key)).map(|rule| rule.1).max();
            assert_eq!(table.lookup(&key).map(|rule| rule.priority()), best, "{n_masks} masks");
        }
    }
}

/// Masks by the lengths of two prefixes, as tables of addresses have them: first so few that tries tell all of them, then so
/// many that they tell them by length. Of some tables the longest prefixes have the answer, of others any mask.
#[test]
fn tries_of_few_and_of_many_masks_rule_out_what_the_list_does_not_have() {
    const ADDRESSES: u64 = 0x0a0b_0000_0c0d_0000;
    let fields = [0, 32].map(|offset| Field::new(offset, 32).expect("a half of a key"));
    let layout = Layout::<2>::flat().with_fields(&fields).expect("fields of the key");
    for is_flat in [false, true] {
        let (mut table, mut list, mut random) = (Classifier::with_seed(layout, 3), Vec::new(), numbers(5));
        table.set_prefix_fields(&fields).expect("two fields");
        let mut next = move || random.next().unwrap_or(0);
        // Addresses of some networks, so that prefixes are shared.
        let key = |next: &mut dyn FnMut() -> u64| {
            let halves = [next(), next()]
                .map(|n| n % 5 * 0x1000_0000 + (n >> 8) % 7 * 0x4_0000 + (n >> 16) % 64 * 0x100 + (n >> 24) % 9);
            [(halves[0] << 32 | halves[1]) ^ ADDRESSES, next() & 1]
        };
        for n in 0..9_000 {
            let masks = if n < 3_000 { 100 } else { 1_200 };
            let mask = next() % masks;
            let (source, destination) = (4 + mask / 24 % 24, 4 + mask % 24);
            let address = |len: u64| u64::from(u32::MAX << (32 - len));
            let mask = [address(source) << 32 | address(destination), mask / 576];
            let priority = if is_flat { (next() % 3) as i32 } else { (source + destination) as i32 };
            let pattern = Pattern::new(key(&mut next), mask);
            let _ = table.insert(&pattern, priority, ()).expect("no limit");
            list.push((pattern, priority));
            if n % 1_000 == 999 {
                check(&table, &list, &mut next, key);
            }
        }
        assert!(table.stats().subtables > 1_100);
        let keeps = |pattern: &Pattern<2>| pattern.key()[0].count_ones() % 3 == 0;
        table.retain(|rule| keeps(&rule.pattern()));
        list.retain(|rule| keeps(&rule.0));
        check(&table, &list, &mut next, key);
    }
}

/// Where rules share prefixes and differ elsewhere, tries leave some masks in every part of a large table: guards see to it
/// that few of these are probed, though no priority tells which.
#[test]
fn what_tries_leave_of_very_many_masks_is_not_probed_in_vain() {
    let fields = [Field::new(0, 32), Field::new(32, 32)].map(|field| field.expect("a half of a word"));
    let layout = Layout::<2>::flat().with_fields(&fields).expect("fields of the key");
    for n_masks in [1_000, 4_000] {
        let mut table = Classifier::with_seed(layout, 1);
        table.set_prefix_fields(&fields[..1]).expect("a field of the key");
        for n in 0..n_masks {
            let (prefix, other) = ((n % 800) << 48, n + 1);
            table
                .insert(&Pattern::new([prefix | other, 0], [u64::MAX << 32 | 0xffff_ffff, n]), 1, n)
                .expect("no limit");
        }
        for n in 0..200u64 {
            let (mut cost, mut wildcards) = (Probes::default(), [0; 2]);
            let key = [(n % 800) << 48 | 0xffff_0000 | n, 0];
            assert!(table.at(Version::LAST).lookup_counted(&key, Some(&mut wildcards), &mut cost).is_none());
            assert!(cost.probes < 10, "{} of {n_masks} masks probed, {} open", cost.probes, cost.open);
        }
    }
}

/// Lookups find what is in the list, and whatever the key has in the bits that they do not report.
fn check(
    table: &Classifier<(), 2>,
    list: &[(Pattern<2>, i32)],
    next: &mut dyn FnMut() -> u64,
    key: impl Fn(&mut dyn FnMut() -> u64) -> [u64; 2],
) {
    for _ in 0..40 {
        let key = key(next);
        let best = |key: &[u64; 2]| list.iter().filter(|rule| rule.0.matches(key)).map(|rule| rule.1).max();
        let (expected, mut wildcards) = (best(&key), [0; 2]);
        assert_eq!(table.lookup_tracked(&key, &mut wildcards).map(|rule| rule.priority()), expected);
        assert_eq!(table.lookup(&key).map(|rule| rule.priority()), expected);
        for _ in 0..4 {
            let other = std::array::from_fn(|i| key[i] ^ (next() & next() & !wildcards[i]));
            assert_eq!(best(&other), expected, "{key:x?} with {wildcards:x?}");
        }
    }
}

#[test]
fn ten_thousand_masks_come_and_go() {
    let patterns: Vec<_> = (0..10_000).map(|n| Pattern::new([u64::MAX; W], mask(n))).collect();
    let mut table = Classifier::new(layout());
    let mut megaflows = MegaflowTable::new();
    for (pattern, n) in patterns.iter().zip(0i32..) {
        table.insert(pattern, n * 7919 % 10_007, n).unwrap();
        megaflows.insert(pattern, n).unwrap();
    }
    assert_eq!((table.stats().subtables, megaflows.mask_count()), (10_000, 10_000));
    let best = table.iter().map(|rule| rule.priority()).max();
    assert_eq!(table.lookup(&[u64::MAX; W]).map(|rule| rule.priority()), best, "all match");
    assert!(megaflows.find(&[u64::MAX; W]).is_some());
    for (pattern, n) in patterns.iter().zip(0i32..) {
        assert_eq!(table.remove(pattern, n * 7919 % 10_007), Some(n));
        assert_eq!(megaflows.remove(pattern), Some(n));
    }
    assert_eq!((table.stats().subtables, megaflows.mask_count()), (0, 0));
}

#[test]
fn one_mask_with_many_rules_of_one_pattern_each() {
    let mut table = Classifier::new(layout());
    let mut mask = [0; W];
    mask[20] = u64::MAX;
    mask[70] = 0xffff_ffff;
    let rule = |n: u64| {
        let mut key = [0; W];
        (key[20], key[70]) = (n % 10, n);
        Pattern::new(key, mask)
    };
    for n in 0..20_000 {
        table.insert(&rule(n), 1, n).unwrap();
    }
    let stats = table.stats();
    assert_eq!((stats.rules, stats.subtables), (20_000, 1));
    assert!(stats.bytes > 20_000 * 16, "two words each at least: {}", stats.bytes);
    for n in (0..20_000).step_by(97) {
        assert_eq!(table.lookup(rule(n).key()).map(|rule| *rule.payload()), Some(n));
    }
    table.clear();
    assert!(table.lookup(rule(5).key()).is_none());
    assert_eq!(table.iter().count(), 0);
}
