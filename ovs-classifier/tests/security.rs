//! Known troubles of classifiers, by the names under which they became known.

use ovs_classifier::{Classifier, Field, Layout, MegaflowTable, Pattern, Probes, Version};

const ALL: u64 = u64::MAX;

/// CVE-2022-32166: masks of different sizes were compared as if they had the same.
#[test]
fn cve_2022_32166_masks_of_different_sizes_are_different() {
    const W: usize = 8;
    let mut table = Classifier::new(Layout::<W>::flat());
    let icmp = Pattern::from_slices(&[0, 1, 0x0800], &[0, 0xff, 0xffff]).unwrap();
    table.insert(&icmp, 10_000, "drop").unwrap();
    // A strict deletion of everything: no such rule.
    assert!(table.find_exact(&Pattern::any(), 10_000).is_none());
    assert_eq!(table.remove(&Pattern::any(), 10_000), None);
    // Masks that begin alike, end alike, or have the same words elsewhere.
    for mask in [
        vec![0, 0xff],
        vec![0, 0, 0xffff],
        vec![0xff, 0xffff],
        vec![0, 0xff, 0xffff, 1],
        vec![0, 0xff, 0xffff, 0, 0, 0, 0, ALL],
    ] {
        let other = Pattern::from_slices(&[0, 1, 0x0800, 1, 0, 0, 0, 5], &mask).unwrap();
        assert_ne!(other, icmp);
        assert_eq!(table.remove(&other, 10_000), None, "{other:?}");
    }
    assert_eq!(table.remove(&icmp, 10_000), Some("drop"));
}

/// CVE-2023-5366: where the ports decided a miss, other fields of the last stage that had decided it were not reported,
/// so that a cached answer let forged neighbour advertisements pass.
#[test]
fn cve_2023_5366_the_last_stage_is_reported_whole() {
    const W: usize = 4;
    // Type and protocol; addresses; ICMP type and code, or ports, and TCP flags; ND target.
    let layout = Layout::<W>::new([1, 2, 3, 3]).unwrap().with_ports(Field::new(2 * 64, 32).unwrap()).unwrap();
    let icmp6 = 0x86dd_003a;
    for order in [[1u64, 2], [2, 1]] {
        let mut table = Classifier::new(layout);
        let solicitation = Pattern::new([icmp6, 0, 135 << 48, 1], [ALL, 0, 0xffff_ffff << 32, ALL]);
        table.insert(&solicitation, 16, "port 1").unwrap();
        table.insert(&Pattern::any(), 0, "drop").unwrap();
        let mut cache: Vec<(Pattern<W>, &str)> = Vec::new();
        for target in order {
            let key = [icmp6, 0x1000, 135 << 48, target];
            let expected = if target == 1 { "port 1" } else { "drop" };
            if let Some((_, cached)) = cache.iter().find(|(megaflow, _)| megaflow.matches(&key)) {
                assert_eq!(*cached, expected, "from the cache");
                continue;
            }
            let mut wildcards = [0; W];
            let answer = *table.lookup_tracked(&key, &mut wildcards).unwrap().payload();
            assert_eq!(answer, expected);
            cache.push((Pattern::new(key, wildcards), answer));
        }
        assert_eq!(cache.len(), 2, "two decisions, two megaflows");
    }

    // The same with a port and the TCP flags.
    let mut table = Classifier::new(layout);
    table.insert(&Pattern::new([0x0800_0006, 0, 80 << 32 | 8, 0], [ALL, 0, 0xffff << 32 | 8, 0]), 1, "push").unwrap();
    let mut wildcards = [0; W];
    assert!(table.lookup_tracked(&[0x0800_0006, 0, 80 << 32 | 2, 0], &mut wildcards).is_none());
    assert_eq!(wildcards[2] & 8, 8, "the flag decided");
    let mut wildcards = [0; W];
    assert!(table.lookup_tracked(&[0x0800_0006, 0, 443 << 32 | 8, 0], &mut wildcards).is_none());
    assert_eq!(wildcards[2] & 8, 0, "the port alone decided");
}

/// CVE-2019-25076, tuple space explosion: a stream of packets, each of which differs from an allowed one in one bit of
/// each of three fields, makes a mask for each combination of three prefixes, and every lookup walks them all.
#[test]
fn cve_2019_25076_an_explosion_of_masks_does_not_multiply_probes() {
    const W: usize = 2;
    let fields = [(0, 32), (64, 16), (80, 16)].map(|(at, bits)| Field::new(at, bits).unwrap());
    let layout = Layout::<W>::flat().with_fields(&fields).unwrap();
    let (mut cache, mut table) = (MegaflowTable::with_layout(&layout, 1), Classifier::with_seed(layout, 1));
    let allowed = [0x0a00_0001 << 32, 1234 << 48 | 80 << 32];
    let mut masks = 0;
    for (i, j, k) in (0..32).flat_map(|i| (0..16).flat_map(move |j| (0..16).map(move |k| (i, j, k)))) {
        let key = [allowed[0] ^ 1 << (63 - i), allowed[1] ^ 1 << (63 - j) ^ 1 << (47 - k)];
        let ports = (ALL << (15 - j) & 0xffff) << 48 | (ALL << (15 - k) & 0xffff) << 32;
        let megaflow = Pattern::new(key, [ALL << (63 - i) & ALL << 32, ports]);
        cache.insert(&megaflow, "deny").unwrap();
        table.insert(&megaflow, i + j + k, "deny").unwrap();
        masks += 1;
    }
    assert_eq!((masks, cache.mask_count()), (8192, 8192));
    let megaflow = Pattern::new(allowed, [ALL << 32, ALL << 32]);
    cache.insert(&megaflow, "allow").unwrap();
    table.insert(&megaflow, 0, "allow").unwrap();

    let mut found = [None; 32];
    cache.lookup_batch(&[&allowed; 32], &mut found);
    assert!(found.iter().all(|handle| handle.and_then(|h| cache.get(h)).is_some_and(|m| *m.payload() == "allow")));
    let probes = cache.stats().probes as f64 / 32.0;
    assert!(probes < 8192.0 / 64.0, "{probes} probes for each packet of the victim");

    let mut cost = Probes::default();
    let (mut wildcards, view) = ([0; W], table.at(Version::LAST));
    let rule = view.lookup_counted(&allowed, Some(&mut wildcards), &mut cost).unwrap();
    assert_eq!(*rule.payload(), "allow");
    assert!(cost.probes < 8192 / 64, "{cost:?}");

    // The attacker's own packets cost no more.
    cache.rank();
    let before = cache.stats().probes;
    for i in 0..32 {
        assert!(cache.lookup(&[allowed[0] ^ 1 << (63 - i), allowed[1] ^ 1 << 60 ^ 1 << 36]).is_some());
    }
    let probes = (cache.stats().probes - before) as f64 / 32.0;
    assert!(probes < 8192.0 / 64.0, "{probes} probes for each packet of the attacker");
}

/// The same beside a victim's traffic: its flow stays in the cache, where no mask is probed, whatever the attacker sends
/// between its packets.
#[test]
fn cve_2019_25076_a_victims_flow_stays_in_the_cache() {
    const W: usize = 2;
    const FLOWS: usize = 4096;
    let mut cache = MegaflowTable::with_seed(1).with_cache(FLOWS);
    let allowed = [0x0a00_0001 << 32, 1234 << 48 | 80 << 32];
    for (i, j) in (0..32).flat_map(|i| (0..32).map(move |j| (i, j))) {
        let key: [u64; W] = [allowed[0] ^ 1 << (63 - i), allowed[1] ^ 1 << (63 - j)];
        cache.insert(&Pattern::new(key, [ALL << (63 - i), ALL << (63 - j)]), "deny").unwrap();
    }
    cache.insert(&Pattern::new(allowed, [ALL << 32, ALL << 32]), "allow").unwrap();
    assert_eq!(cache.mask_count(), 1024);
    let (mut packets, mut random) = (0, 1u64);
    for n in 0..4 * FLOWS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // No two packets of the attacker are alike, and what they find pushes at the cache.
        cache.lookup(&[allowed[0] ^ 1 << 63 ^ random >> 33 << 32, allowed[1] ^ 1 << 63 ^ random << 33]);
        if n % 4 == 0 {
            let before = cache.stats();
            assert_eq!(cache.lookup(&allowed), Some(&mut "allow"));
            packets += usize::from(cache.stats().probes == before.probes);
        }
    }
    assert!(packets * 100 > FLOWS * 97, "of {FLOWS} packets of the victim {packets} were in the cache");
}
