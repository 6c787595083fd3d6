//! As few megaflows as the peer makes, or fewer, of the same rules and traffic.
//!
//! The peer here is a model of its published rule for un-wildcarding, of our own writing: subtables by priority; in
//! each, prefix fields by a table-wide trie and stages by the set of their beginnings, one after the other, where each
//! stage read is reported whole; at the end the ports by a trie of the subtable.

use std::collections::{HashMap, HashSet};

use ovs_classifier::{BitOrder, Classifier, Field, Layout, Pattern};

/// Metadata and port of entry; Ethernet type and VLAN; addresses; protocol and L4 ports.
const W: usize = 4;
type Key = [u64; W];

const METADATA: (usize, u64) = (0, 0xffff_ffff << 32);
const IN_PORT: (usize, u64) = (0, 0xffff_ffff);
const ETH_TYPE: (usize, u64) = (1, 0xffff);
const VLAN: (usize, u64) = (1, 0xfff << 16);
const SRC: (usize, u64) = (2, 0xffff_ffff << 32);
const DST: (usize, u64) = (2, 0xffff_ffff);
const PROTO: (usize, u64) = (3, 0xff << 32);
const TP_SRC: (usize, u64) = (3, 0xffff << 16);
const TP_DST: (usize, u64) = (3, 0xffff);
const STAGES: [u8; W] = [0, 1, 2, 3];

fn field((word, bits): (usize, u64)) -> Field {
    let mut mask = [0; W];
    mask[word] = bits;
    Field::from_mask(&mask, BitOrder::Number).unwrap()
}

fn layout() -> Layout<W> {
    let fields = [METADATA, IN_PORT, ETH_TYPE, VLAN, SRC, DST, PROTO, TP_SRC, TP_DST].map(field);
    let ports = field((3, 0xffff_ffff));
    Layout::new(STAGES).unwrap().with_fields(&fields).unwrap().with_ports(ports).unwrap()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[derive(Clone, Copy, Default)]
struct Rule {
    key: Key,
    mask: Key,
    priority: i32,
}

impl Rule {
    fn set(mut self, (word, bits): (usize, u64), value: u64) -> Rule {
        self.key[word] |= value << bits.trailing_zeros() & bits;
        self.mask[word] |= bits;
        self
    }

    fn prefix(mut self, (word, bits): (usize, u64), value: u64, len: u32) -> Rule {
        let bits_of = if len == 0 { 0 } else { u64::from(u32::MAX << (32 - len)) << bits.trailing_zeros() };
        self.key[word] |= value << bits.trailing_zeros() & bits_of;
        self.mask[word] |= bits_of;
        self
    }

    fn matches(&self, key: &Key) -> bool {
        (0..W).all(|i| key[i] & self.mask[i] == self.key[i])
    }
}

/// The model of the peer.
struct Peer {
    /// By priority of the best rule, descending: mask, that priority, rules.
    subtables: Vec<(Key, i32, Vec<Rule>)>,
    prefixes: [HashSet<(u64, u32)>; 2],
}

const PREFIX_FIELDS: [(usize, u64); 2] = [DST, SRC];

fn value((word, bits): (usize, u64), key: &Key) -> u64 {
    (key[word] & bits) >> bits.trailing_zeros()
}

fn prefix_len(place: (usize, u64), mask: &Key) -> u32 {
    (value(place, mask) as u32).leading_ones()
}

impl Peer {
    fn new(rules: &[Rule]) -> Peer {
        let mut subtables: Vec<(Key, i32, Vec<Rule>)> = Vec::new();
        let mut prefixes = [HashSet::new(), HashSet::new()];
        for rule in rules {
            match subtables.iter_mut().find(|(mask, ..)| *mask == rule.mask) {
                Some((_, priority, rules)) => {
                    *priority = (*priority).max(rule.priority);
                    rules.push(*rule);
                }
                None => subtables.push((rule.mask, rule.priority, vec![*rule])),
            }
            for (place, prefixes) in PREFIX_FIELDS.iter().zip(&mut prefixes) {
                let len = prefix_len(*place, &rule.mask);
                if len > 0 {
                    prefixes.insert((value(*place, &rule.key), len));
                }
            }
        }
        subtables.sort_by_key(|(_, priority, _)| std::cmp::Reverse(*priority));
        Peer { subtables, prefixes }
    }

    /// Which lengths of prefix there are for a value, and how many of its bits decide that: those that it shares with
    /// any prefix, and one more if it leaves the trie there.
    fn trie(prefixes: impl Iterator<Item = (u64, u32)>, value: u64) -> (HashSet<u32>, u32) {
        let (mut lens, mut bits) = (HashSet::new(), 0);
        for (prefix, len) in prefixes {
            let shared = ((prefix ^ value) as u32).leading_zeros().min(len);
            if shared == len {
                lens.insert(len);
            }
            bits = bits.max(if shared == len { len } else { shared + 1 });
        }
        (lens, bits)
    }

    fn lookup(&self, key: &Key, wildcards: &mut Key) -> Option<Rule> {
        let tries: Vec<_> = PREFIX_FIELDS
            .iter()
            .zip(&self.prefixes)
            .map(|(place, prefixes)| Peer::trie(prefixes.iter().copied(), value(*place, key)))
            .collect();
        let mut best: Option<Rule> = None;
        for (mask, priority, rules) in &self.subtables {
            if best.is_some_and(|best| best.priority >= *priority) {
                break;
            }
            let mut reads = [0; W];
            let mut ruled_out = false;
            let beginnings = |words: usize| rules.iter().any(|r| (0..words).all(|i| key[i] & mask[i] == r.key[i]));
            for stage in 0..W {
                // A prefix that nobody has, once its stage begins.
                for (place, (lens, bits)) in PREFIX_FIELDS.iter().zip(&tries).filter(|(place, _)| place.0 == stage) {
                    let len = prefix_len(*place, mask);
                    let head = Rule::default().prefix(*place, u64::MAX, *bits).mask;
                    let known = (0..W).all(|i| head[i] & !wildcards[i] == 0);
                    if len > 0 && !lens.contains(&len) && (*bits <= len || known) {
                        (0..W).for_each(|i| reads[i] |= head[i]);
                        ruled_out = true;
                    }
                }
                if ruled_out || mask[stage] == 0 {
                    if ruled_out {
                        break;
                    }
                    continue;
                }
                let last = mask[stage + 1..].iter().all(|word| *word == 0);
                if last && stage == 3 && !beginnings(W) && mask[3] & 0xffff_ffff != 0 {
                    // The ports, if they alone say it.
                    let ports = (mask[3] & 0xffff_ffff) as u32;
                    let len = 32 - ports.trailing_zeros();
                    let there = rules.iter().map(|rule| (rule.key[3] & 0xffff_ffff, len));
                    let (lens, bits) = Peer::trie(there, key[3] & u64::from(ports));
                    if lens.is_empty() {
                        reads[3] |= u64::from(ports & (u32::MAX.checked_shl(32 - bits).unwrap_or(0)));
                        ruled_out = true;
                        break;
                    }
                }
                reads[stage] |= mask[stage];
                if !last && !beginnings(stage + 1) {
                    ruled_out = true;
                    break;
                }
            }
            (0..W).for_each(|i| wildcards[i] |= reads[i]);
            if !ruled_out {
                let found = rules.iter().filter(|rule| rule.matches(key)).max_by_key(|rule| rule.priority);
                best = match (best, found) {
                    (Some(best), Some(found)) if found.priority <= best.priority => Some(best),
                    (best, found) => found.copied().or(best),
                };
            }
        }
        best
    }
}

/// How many megaflows a trace makes, with an answer and the bits that it depended on for each that is not cached.
fn megaflows(trace: &[Key], mut lookup: impl FnMut(&Key) -> (Option<i32>, Key)) -> usize {
    let mut cache: HashMap<Key, HashMap<Key, Option<i32>>> = HashMap::new();
    for key in trace {
        let under = |mask: &Key| std::array::from_fn(|i| key[i] & mask[i]);
        let cached = cache.iter().find_map(|(mask, flows)| flows.get(&under(mask)).copied());
        let (answer, mask) = lookup(key);
        match cached {
            Some(cached) => assert_eq!(cached, answer, "the cache says what the table says"),
            None => drop(cache.entry(mask).or_default().insert(under(&mask), answer)),
        }
    }
    cache.values().map(HashMap::len).sum()
}

fn compare(name: &str, rules: &[Rule], trace: &[Key], tries: bool) -> f64 {
    let peer = Peer::new(rules);
    let mut table = Classifier::new(layout());
    if tries {
        table.set_prefix_fields(&PREFIX_FIELDS.map(field)).unwrap();
    }
    for rule in rules {
        table.insert(&Pattern::new(rule.key, rule.mask), rule.priority, ()).unwrap();
    }
    let ours = megaflows(trace, |key| {
        let mut wildcards = [0; W];
        let found = table.lookup_tracked(key, &mut wildcards).map(|rule| rule.priority());
        (found, wildcards)
    });
    let theirs = megaflows(trace, |key| {
        let mut wildcards = [0; W];
        let found = peer.lookup(key, &mut wildcards).map(|rule| rule.priority);
        (found, wildcards)
    });
    println!("{name}: {ours} megaflows, the peer {theirs}: {:.2}", ours as f64 / theirs as f64);
    ours as f64 / theirs as f64
}

/// Rules of a firewall: prefixes of networks, well-known ports, some exact; every rule of a priority of its own.
fn acl(random: &mut Random, n: u64, networks: u64) -> Vec<Rule> {
    let rule = |priority: u64, random: &mut Random| {
        let mut rule = Rule { priority: priority as i32, ..Rule::default() }.set(ETH_TYPE, 0x0800);
        let network = |random: &mut Random| 0x0a00_0000 | random.below(networks) << 12 | random.below(4096);
        let lens = [0, 8, 16, 20, 24, 24, 28, 32];
        let (src, dst) = (lens[random.below(8) as usize], lens[random.below(8) as usize]);
        rule = rule.prefix(SRC, network(random), src).prefix(DST, network(random), dst);
        if random.below(4) > 0 {
            rule = rule.set(PROTO, [6, 17][random.below(2) as usize]);
            match random.below(4) {
                0 => {}
                1 => rule = rule.set(TP_SRC, [53, 123, 67][random.below(3) as usize]),
                _ => rule = rule.set(TP_DST, [22, 25, 53, 80, 443, 993, 3306, 8080][random.below(8) as usize]),
            }
        }
        rule
    };
    (1..=n).map(|priority| rule(priority, random)).collect()
}

/// Packets that match a rule, or nearly, or nothing.
fn traffic(random: &mut Random, rules: &[Rule], n: usize) -> Vec<Key> {
    (0..n)
        .map(|_| {
            let rule = rules[random.below(rules.len() as u64) as usize];
            let near = random.below(3);
            let other = Rule::default()
                .set(METADATA, 1 + random.below(4))
                .set(IN_PORT, 1 + random.below(8))
                .set(ETH_TYPE, 0x0800)
                .set(SRC, 0x0a00_0000 | random.below(1 << 20))
                .set(DST, if near == 2 { random.below(1 << 32) } else { 0x0a00_0000 | random.below(1 << 20) })
                .set(PROTO, [6, 17][random.below(2) as usize])
                .set(TP_SRC, 1024 + random.below(60_000))
                .set(TP_DST, if random.below(2) == 0 { random.below(65_536) } else { 443 })
                .key;
            if near == 2 { other } else { std::array::from_fn(|i| rule.key[i] | other[i] & !rule.mask[i]) }
        })
        .collect()
}

/// Row 4d: with prefix tries as the peer has them by default.
#[test]
fn half_of_the_megaflows_of_the_peer_on_acl_sets() {
    let mut random = Random(1);
    let mut ratios = Vec::new();
    for (n, networks) in [(20, 4), (60, 16), (60, 256), (200, 16), (200, 256), (1000, 256)] {
        let rules = acl(&mut random, n, networks);
        let trace = traffic(&mut random, &rules, 3000);
        ratios.push(compare(&format!("acl of {n} rules, {networks} networks"), &rules, &trace, true));
    }
    assert!(ratios.iter().all(|ratio| *ratio <= 0.5), "{ratios:?}");
}

/// A table of routes: one mask for each length of prefix, the longer the higher.
#[test]
fn no_more_megaflows_than_the_peer_on_routes() {
    let mut random = Random(2);
    for n in [30, 300] {
        let rules: Vec<_> = (0..n)
            .map(|_| {
                let len = 8 + random.below(25) as u32;
                let rule = Rule { priority: len as i32, ..Rule::default() }.set(ETH_TYPE, 0x0800);
                rule.set(METADATA, 1).prefix(DST, random.below(1 << 32), len)
            })
            .collect();
        let trace = traffic(&mut random, &rules, 4000);
        assert!(compare(&format!("{n} routes"), &rules, &trace, true) <= 1.0);
    }
}

/// A table that many ports and tenants share: metadata and VLAN in all masks.
#[test]
fn no_more_megaflows_than_the_peer_on_a_table_of_tenants() {
    let mut random = Random(3);
    let mut rules = acl(&mut random, 150, 8);
    for rule in &mut rules {
        *rule = rule.set(METADATA, 1 + random.below(6));
        if random.below(3) == 0 {
            *rule = rule.set(VLAN, random.below(3));
        }
    }
    let trace = traffic(&mut random, &rules, 4000);
    assert!(compare("tenants", &rules, &trace, true) <= 1.0);
}

/// Ports of a few services, and traffic from everywhere to everywhere.
#[test]
fn no_more_megaflows_than_the_peer_on_ports() {
    let mut random = Random(4);
    let mut rules: Vec<Rule> = [22, 80, 443, 8080, 3306]
        .into_iter()
        .map(|port| Rule { priority: 10, ..Rule::default() }.set(PROTO, 6).set(TP_DST, port))
        .collect();
    rules.push(Rule { priority: 20, ..Rule::default() }.set(TP_SRC, 53));
    rules.push(Rule { priority: 1, ..Rule::default() }.set(ETH_TYPE, 0x0800));
    let trace = traffic(&mut random, &rules, 4000);
    assert!(compare("ports", &rules, &trace, true) <= 1.0);
}
