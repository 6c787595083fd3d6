//! What a tracked lookup reports, bit by bit.

use ovs_classifier::{Classifier, Field, Layout, NewRule, Pattern, Version};

const W: usize = 5;
/// Metadata, L2, two words of L3, L4.
const LAYOUT: Layout<W> = Layout::new([0, 1, 2, 2, 3]).expect("stages are 0 to 3");
const ALL: u64 = u64::MAX;

fn tracked<R: Copy>(table: &Classifier<R, W>, key: [u64; W]) -> (Option<R>, [u64; W]) {
    let mut wildcards = [0; W];
    let found = table.lookup_tracked(&key, &mut wildcards).map(|rule| *rule.payload());
    (found, wildcards)
}

#[test]
fn a_rule_ruled_out_by_metadata_does_not_read_the_ports() {
    let mut table = Classifier::new(LAYOUT);
    table.insert(&Pattern::new([1, 0, 0, 0, 80], [ALL, 0, 0, 0, 0xffff]), 10, "web on port 1").unwrap();
    table.insert(&Pattern::any(), 0, "rest").unwrap();
    assert_eq!(tracked(&table, [2, 0, 0, 0, 80]), (Some("rest"), [ALL, 0, 0, 0, 0]));
    assert_eq!(tracked(&table, [1, 0, 0, 0, 81]), (Some("rest"), [ALL, 0, 0, 0, 0xffff]));
    assert_eq!(tracked(&table, [1, 0, 0, 0, 80]), (Some("web on port 1"), [ALL, 0, 0, 0, 0xffff]));
}

#[test]
fn without_stages_the_same_lookup_reads_the_ports() {
    let mut table = Classifier::new(Layout::flat());
    table.insert(&Pattern::new([1, 0, 0, 0, 80], [ALL, 0, 0, 0, 0xffff]), 10, ()).unwrap();
    assert_eq!(tracked(&table, [2, 0, 0, 0, 80]), (None, [ALL, 0, 0, 0, 0xffff]));
}

#[test]
fn every_stage_stops_a_lookup() {
    let mut table = Classifier::new(LAYOUT);
    table.insert(&Pattern::exact([1, 2, 3, 4, 5]), 0, ()).unwrap();
    for (key, expected) in [
        ([0, 2, 3, 4, 5], [ALL, 0, 0, 0, 0]),
        ([1, 0, 3, 4, 5], [ALL, ALL, 0, 0, 0]),
        ([1, 2, 0, 4, 5], [ALL, ALL, ALL, ALL, 0]),
        ([1, 2, 3, 0, 5], [ALL, ALL, ALL, ALL, 0]),
        ([1, 2, 3, 4, 0], [ALL; W]),
    ] {
        assert_eq!(tracked(&table, key), (None, expected), "{key:?}");
    }
}

#[test]
fn stages_follow_the_rules_that_are_left() {
    let mut table = Classifier::new(LAYOUT);
    let [a, b] = [1, 2].map(|port| Pattern::new([port, 0, 0, 0, 80], [ALL, 0, 0, 0, ALL]));
    table.insert(&a, 0, 'a').unwrap();
    table.insert(&b, 0, 'b').unwrap();
    table.insert(&b, 7, 'B').unwrap();
    assert_eq!(tracked(&table, [2, 0, 0, 0, 9]).1, [ALL, 0, 0, 0, ALL]);
    table.remove(&b, 7);
    assert_eq!(tracked(&table, [2, 0, 0, 0, 9]).1, [ALL, 0, 0, 0, ALL], "the other rule with this pattern is there");
    table.remove(&b, 0);
    assert_eq!(tracked(&table, [2, 0, 0, 0, 9]).1, [ALL, 0, 0, 0, 0]);
}

#[test]
fn a_match_hides_the_masks_below_it() {
    let mut table = Classifier::new(LAYOUT);
    let vlan = Pattern::new([0, 5, 0, 0, 0], [0, 0xfff, 0, 0, 0]);
    table.insert(&vlan, 5, "vlan").unwrap();
    table.insert(&Pattern::exact([0; W]), 5, "same priority, younger mask").unwrap();
    table.insert(&Pattern::exact([1; W]), 4, "lower").unwrap();
    assert_eq!(tracked(&table, [9, 5, 9, 9, 9]), (Some("vlan"), [0, 0xfff, 0, 0, 0]));

    // One rule of higher priority brings its mask to the front.
    table.insert(&Pattern::exact([2; W]), 6, "higher").unwrap();
    assert_eq!(tracked(&table, [9, 5, 9, 9, 9]), (Some("vlan"), [ALL, 0xfff, 0, 0, 0]));
    table.remove(&Pattern::exact([2; W]), 6);
    assert_eq!(tracked(&table, [9, 5, 9, 9, 9]), (Some("vlan"), [0, 0xfff, 0, 0, 0]));
}

#[test]
fn no_rules_and_the_rule_for_everything_read_nothing() {
    let mut table = Classifier::new(LAYOUT);
    assert_eq!(tracked(&table, [1; W]), (None, [0; W]));
    table.insert(&Pattern::any(), i32::MIN, 'x').unwrap();
    assert_eq!(tracked(&table, [1; W]), (Some('x'), [0; W]));
    table.remove(&Pattern::any(), i32::MIN);
    assert_eq!(tracked(&table, [1; W]), (None, [0; W]));
    assert_eq!(table.stats().subtables, 0);
}

#[test]
fn keys_of_no_word_and_of_the_most_words() {
    let mut none = Classifier::new(Layout::<0>::flat());
    none.insert(&Pattern::any(), 0, 'x').unwrap();
    assert_eq!(none.lookup(&[]).map(|rule| *rule.payload()), Some('x'));

    let mut most = Classifier::new(Layout::<256>::flat());
    let mut key = [0; 256];
    key[255] = 9;
    most.insert(&Pattern::new(key, key), 0, 'y').unwrap();
    let mut wildcards = [0; 256];
    assert_eq!(most.lookup_tracked(&key, &mut wildcards).map(|rule| *rule.payload()), Some('y'));
    assert_eq!(wildcards, key);
    assert!(most.lookup(&[0; 256]).is_none());
}

/// Two packets of the peer's own tests of its classifier, for which it reports more than is needed: protocol and flags
/// where the ports alone show that no rule has them, and the rest of an address that a shorter prefix of another rule
/// leaves open. Ours is within what it reports, and every key that has those bits gets the same answer.
#[test]
fn what_ports_alone_show_needs_no_earlier_stage() {
    /// A port; the addresses; the protocol; ports and flags.
    const LAYOUT: Layout<4> = Layout::new([0, 2, 2, 3]).expect("stages are 0 to 3");
    const ADDRESSES: usize = 1;
    let layout = LAYOUT.with_ports(Field::new(3 * 64, 32).unwrap()).unwrap();
    let rule = |destination: u64, len: u32, ports: [Option<u64>; 2], flags: u64| {
        let port = |port: Option<u64>| (port.unwrap_or(0), if port.is_some() { 0xffff } else { 0 });
        let ([from, from_mask], [to, to_mask]) = (port(ports[0]).into(), port(ports[1]).into());
        let mask = [ALL, ALL << (32 - len) & 0xffff_ffff, 0xff, from_mask << 48 | to_mask << 32 | flags];
        Pattern::new([1, destination, 6, from << 48 | to << 32 | flags], mask)
    };
    let check = |table: &Classifier<u32, 4>, key: [u64; 4], answer: u32, bits: [u64; 4], peer: [u64; 4]| {
        let mut wildcards = [0; 4];
        assert_eq!(table.lookup_tracked(&key, &mut wildcards).map(|rule| *rule.payload()), Some(answer));
        assert_eq!(wildcards, bits);
        assert!(bits.iter().zip(peer).all(|(ours, theirs)| ours & !theirs == 0), "no bit that the peer has not");
        for n in 0..20_000u64 {
            let random: [u64; 4] = std::array::from_fn(|i| {
                (n * 4 + i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(n as u32 % 64)
            });
            let near = [1, 0x0a01_020f, 6, 80 << 32 | 8];
            let other =
                if n % 2 == 0 { random } else { std::array::from_fn(|i| near[i] ^ (random[i] & random[(i + 1) % 4])) };
            let other: [u64; 4] = std::array::from_fn(|i| key[i] & wildcards[i] | other[i] & !wildcards[i]);
            assert_eq!(table.lookup(&other).map(|rule| *rule.payload()), Some(answer), "{other:x?}");
        }
    };

    // "lookup segmentation - final stage": port 79 where a rule has port 80 and a flag.
    let mut table = Classifier::new(layout);
    table.insert(&rule(0, 0, [None, Some(80)], 8), 33, 2).unwrap();
    table.insert(&Pattern::new([1, 0, 0, 0], [ALL, 0, 0, 0]), 0, 0).unwrap();
    let peer = [ALL, 0, 0xff, 0xfff0 << 32 | 8];
    check(&table, [1, 0xc0a8_0002, 6, 8 << 48 | 79 << 32], 0, [ALL, 0, 0, 0xfff0 << 32], peer);

    // "prefix lookup": an address of which rules have 16, 24 and all bits, and ports that none has.
    let mut table = Classifier::new(layout);
    table.set_prefix_fields(&[Field::new(ADDRESSES as u16 * 64 + 32, 32).unwrap()]).unwrap();
    table.insert(&rule(0x0a01_0000, 16, [None, None], 0), 16, 3).unwrap();
    table.insert(&rule(0x0a01_0200, 24, [Some(79), None], 0), 32, 2).unwrap();
    for (port, payload) in [(80, 0), (8080, 2), (192, 2)] {
        table.insert(&rule(0x0a01_020f, 32, [None, Some(port)], 0), 33, payload).unwrap();
    }
    table.insert(&Pattern::new([1, 0, 0, 0], [ALL, 0, 0, 0]), 0, 0).unwrap();
    let ports = 0xffc0 << 48 | 0xfff0 << 32;
    let (ours, peer) = ([ALL, 0xffff_0000, 0xff, ports], [ALL, 0xffff_ffff, 0xff, ports]);
    check(&table, [1, 0x0a01_020f, 6, 8 << 48 | 79 << 32], 3, ours, peer);
}

/// An access list, some rules of which come at a later version or are hidden: what is reported decides the answer, whichever bit
/// of the rest is another. Each mask has a few rules of different priorities.
#[test]
fn rules_of_small_masks_are_told_apart_soundly() {
    let field = |offset, bits| Field::new(offset, bits).expect("a run of bits in a key");
    let addresses = [field(64, 32), field(96, 32)];
    let layout = Layout::<3>::new([0, 2, 3]).expect("stages are 0 to 3");
    let layout = layout.with_fields(&[field(0, 32), addresses[0], addresses[1], field(152, 8), field(160, 16)]);
    let layout = layout.expect("fields of the key").with_ports(field(160, 32)).expect("ports of the key");
    let mut state = 1u64;
    let mut next = |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    let prefix = |len: u64| u64::from(u32::MAX) << (32 - len) & u64::from(u32::MAX);
    for round in 0..12 {
        let mut table = Classifier::with_seed(layout, round);
        table.set_prefix_fields(&addresses).expect("two fields of the key");
        let key = |next: &mut dyn FnMut(u64) -> u64| {
            let address = |next: &mut dyn FnMut(u64) -> u64| 0x0a00_0000 + next(4) * 0x1000 + next(3) * 0x40 + next(4);
            [
                next(2) << 32,
                address(next) << 32 | address(next),
                (6 + next(2) * 11) << 32 | next(3) << 16 | (80 + next(4)),
            ]
        };
        let mut list = Vec::new();
        for n in 0..150u32 {
            let lens = [0, 8, 20, 26, 32];
            let mut len = || prefix(lens[next(5) as usize]);
            let addresses = len() << 32 | len();
            let ports = [0, 0xffff, 0xfffe, 0xffff_0000][next(4) as usize];
            let mask = [[0, 0xffff_ffff << 32][next(2) as usize], addresses, [0, 0xff][next(2) as usize] << 32 | ports];
            let (pattern, priority, added) = (Pattern::new(key(&mut next), mask), next(20) as i32, next(3));
            if let Ok(handle) = table.add(NewRule::new(pattern.clone(), priority, n).from_version(Version(added))) {
                let hidden = added + 1 + next(4);
                if hidden < 4 {
                    assert!(table.hide(handle, Version(hidden)));
                }
                list.push((pattern, priority, added..if hidden < 4 { hidden } else { u64::MAX }));
            }
        }
        assert!(table.stats().guards > 0 && table.stats().subtables > 40);
        for _ in 0..150 {
            let (key, version) = (key(&mut next), next(5));
            let best = |key: &[u64; 3]| {
                let seen = list.iter().filter(|rule| rule.2.contains(&version) && rule.0.matches(key));
                seen.map(|rule| rule.1).max()
            };
            let mut wildcards = [0; 3];
            let found = table.at(Version(version)).lookup_tracked(&key, &mut wildcards).map(|rule| rule.priority());
            assert_eq!(found, best(&key));
            for bit in (0..192).filter(|bit| wildcards[bit / 64] << (bit % 64) >> 63 == 0) {
                let mut other = key;
                other[bit / 64] ^= 1 << 63 >> (bit % 64);
                assert_eq!(best(&other), found, "bit {bit} of {key:x?} with {wildcards:x?}");
            }
            for _ in 0..20 {
                let near = self::near(&key, &wildcards, || next(1 << 31) << 40 ^ next(1 << 31) << 20 ^ next(1 << 31));
                assert_eq!(best(&near), found, "{near:x?} for {key:x?} with {wildcards:x?}");
            }
        }
    }
}

/// A key that agrees with another on some bits.
fn near(key: &[u64; 3], bits: &[u64; 3], mut random: impl FnMut() -> u64) -> [u64; 3] {
    std::array::from_fn(|i| key[i] ^ (random() & random() & !bits[i]))
}

#[test]
fn words_are_not_reported_where_a_prefix_that_is_reported_for_another_mask_will_do() {
    let mut table = Classifier::new(LAYOUT);
    table.set_prefix_fields(&[Field::new(128, 32).unwrap()]).unwrap();
    let prefix = |value: u64, len: u32| (value << 32, u64::from(u32::MAX << (32 - len)) << 32);
    // No rule has the key's prefix; of the older mask, none has its metadata, either, which come in an earlier stage.
    let (value, mask) = prefix(0x0a01_0000, 16);
    table.insert(&Pattern::new([1, 0, value, 0, 0], [ALL, 0, mask, 0, 0]), 10, 0).unwrap();
    let (value, mask) = prefix(0x0a01_0000, 12);
    table.insert(&Pattern::new([0, 0, value, 0, 0], [0, 0, mask, 0, 0]), 10, 1).unwrap();
    // Below the answer: so many masks that they are not simply probed.
    table.insert(&Pattern::any(), 5, 2).unwrap();
    for n in 0..20 {
        table.insert(&Pattern::new([0, 1, 0, 0, 0], [0, 1 | 2 << n, 0, 0, 0]), 1, 3).unwrap();
    }
    let (found, wildcards) = tracked(&table, [2, 0, 0xc0a8_0001 << 32, 0, 0]);
    assert_eq!((found, wildcards), (Some(2), [0, 0, 1 << 63, 0, 0]));
}
