use super::count::Count;
use super::fork::Fork;
use super::head::MADE;
use super::nodes::Nodes;
use super::way::APART;
use super::{Folded, Holders, Link, Path, Place, Trie};
use crate::simd::Portable;
use alloc::vec::Vec;
use proptest::prelude::*;

impl<C: Holders> Trie<C> {
    fn seek(&self, value: u128, len: u8) -> Place {
        let mut at = self.begin(value, len);
        while self.step(value, len, &mut at) {}
        at
    }
}

impl<P: Path, C: Holders> Nodes<P, C> {
    fn seek(&self, value: P, len: u8) -> Place {
        let mut at = self.begin(value, len);
        while self.step(value, len, &mut at) {}
        Place(at)
    }
}

fn head(value: u128, len: u8) -> u128 {
    value.head(len)
}

/// Visits what a link leads to, where all begin like `value` in `len` bits: each bucket has some prefixes, each fork
/// parts some or is one. Returns how many forks, buckets and prefixes there are.
fn visit<P: Path>(nodes: &Nodes<P, Folded>, link: Link, value: P, len: u8) -> [usize; 3] {
    let begins = |path: P, at: u8| at >= len && path.common(value) >= len && path == path.head(at);
    if let Some(bucket) = nodes.bucket(link) {
        assert!(bucket.len() > 0);
        assert!(bucket.prefixes().all(|of| begins(of.path, of.count.len()) && of.count.rules() > 0));
        assert!(bucket.counts[bucket.len()..].iter().all(|count| *count == 0), "no gaps");
        return [0, 1, bucket.len()];
    }
    let Some(fork) = nodes.fork(link) else { return [0; 3] };
    let is_held = fork.count.rules() > 0;
    let children = fork.children.iter().filter(|child| **child != Link::NONE).count();
    assert!(begins(fork.path, fork.len()) && children + usize::from(is_held) >= 2);
    assert!(is_held || fork.holders == 0);
    let sides = [0, 1].map(|side| visit(nodes, fork.children[side], fork.path.with(fork.len(), side), fork.len() + 1));
    let short = nodes.heads.shorts.get(fork.path, fork.len());
    assert!(
        short == link || short == Link::NONE && u32::from(fork.len()) >= nodes.heads.bits(),
        "short forks are known"
    );
    let all = core::array::from_fn(|i| sides[0][i] + sides[1][i]);
    let [forks, buckets, prefixes] = all;
    [forks + 1, buckets, prefixes + usize::from(is_held)]
}

/// All is as it should be; how many prefixes there are.
fn check<P: Path>(nodes: &Nodes<P, Folded>) -> usize {
    let [forks, buckets, prefixes] = visit(nodes, nodes.root, P::default(), 0);
    assert_eq!(forks, nodes.forks.len() - nodes.forks.vacancies());
    assert_eq!(buckets, nodes.buckets.len() - nodes.buckets.vacancies());
    check_heads(nodes);
    let bits = nodes.heads.making.as_ref().map_or(nodes.heads.bits(), |making| making.bits);
    for (len, top) in (0..bits).flat_map(|len| (0..1usize << len).map(move |top| (len, top))) {
        let (path, len) = (P::from_top(top, len), len as u8);
        let short = nodes.heads.shorts.get(path, len);
        let is_it = |fork: &Fork<P, Folded>| fork.path == path && fork.len() == len;
        assert!(short == Link::NONE || nodes.fork(short).is_some_and(is_it), "no other is known");
        assert_eq!(nodes.seek(path, len).0, walked(nodes, path, len));
    }
    prefixes
}

/// Where a prefix is, as a walk from the root finds it.
fn walked<P: Path>(nodes: &Nodes<P, Folded>, value: P, len: u8) -> Link {
    let mut link = nodes.root;
    while let Some(fork) = nodes.fork(link).filter(|fork| fork.len() != len || !fork.is_in(value)) {
        link = if fork.len() < len && fork.is_in(value) { fork.child(value) } else { Link::NONE };
    }
    link
}

/// Whatever there is of heads says what a walk from the root says.
fn check_heads<P: Path>(nodes: &Nodes<P, Folded>) {
    let making = nodes.heads.making.iter().map(|making| (&making.head, making.bits));
    for (head, bits) in making.chain([(&nodes.heads.head, nodes.heads.bits())]) {
        for (i, slot) in head.slots.iter().enumerate() {
            let way = nodes.way_of(Path::from_top(i, bits), bits);
            assert_eq!(*slot, way.slot, "value {i} of {bits} bits");
            let Some(apart) = head.apart.get(i) else { continue };
            for len in (bits.saturating_sub(APART).max(1)..bits).filter(|len| slot.lens >> (len - 1) & 1 != 0) {
                let len = len as u8;
                assert_eq!(apart.holders(len), way.apart.holders(len), "length {len} of value {i} of {bits} bits");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

/// Values of ten bits, so that prefixes meet; of a short field, and of a long one after bits that all share or
    /// not.
    #[test]
    fn says_what_a_list_says_in_no_more_bits_than_needed(
        prefixes in prop::collection::vec((0..1024u128, 1..=10u8, 0..130u32), 0..48),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        shift in prop_oneof![Just(0u8), Just(50), Just(60), Just(118)],
        is_apart in any::<bool>(),
    ) {
        let mut trie = Trie::<Folded>::new(if shift == 0 { 32 } else { 128 });
        if is_apart {
            trie.tell_apart();
        }
        let at = |value: u128| value << 118 >> shift;
        let mut list: Vec<(u128, u8, u32)> =
            prefixes.iter().map(|(value, len, column)| (head(at(*value), len + shift), len + shift, *column)).collect();
        list.iter().for_each(|(value, len, column)| trie.insert(*value, *len, trie.seek(*value, *len), *column));
        for index in gone {
            if !list.is_empty() {
                let (value, len, _) = list.swap_remove(index.index(list.len()));
                trie.remove(value, len, trie.seek(value, len));
            }
        }
        let mut distinct: Vec<_> = list.iter().map(|of| (of.0, of.1)).collect();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), match &trie {
            Trie::Short(nodes) => check(nodes),
            Trie::Long(nodes) => check(nodes),
        });
        for n in 0..1024u128 {
            let value = at(n);
            let answer = trie.find(value, Portable);
            for len in 1..=10 + shift {
                let there = list.iter().any(|p| p.1 == len && p.0 == head(value, len));
                prop_assert_eq!(answer.rules_out(len).is_none(), there);
            }
            for column in 0..64 {
                let has = |p: &(u128, u8, u32)| p.0 == head(value, p.1);
                let there = list.iter().any(|p| p.2 % 64 == column && has(p));
                let said = answer.holders() >> column & 1 != 0;
                prop_assert!(said || !there, "a mask is missing");
                prop_assert!(!said || list.iter().any(has), "a mask is told of a prefix that nobody has");
                if let Some((apart, from)) = trie.apart(value) {
                    for len in (from.max(1)..=10 + shift).filter(|len| answer.short.lens >> (len - 1) & 1 != 0) {
                        let there = list.iter().any(|p| p.1 == len && p.2 % 64 == column && has(p));
                        let said = apart.holders(len) >> column & 1 != 0;
                        prop_assert!(said || !there, "a mask of {len} bits is missing");
                        prop_assert!(!said || list.iter().any(|p| p.1 == len && has(p)));
                    }
                }
            }
            // The bits decide: whatever follows them, the same lengths are there.
            let rest: Vec<u128> = [0, u128::MAX].map(|fill| head(value, answer.bits) | fill & !head(u128::MAX, answer.bits)).into();
            for other in rest {
                prop_assert_eq!((trie.find(other, Portable).short, trie.find(other, Portable).long), (answer.short, answer.long));
            }
            if answer.bits > 0 {
                // One bit fewer does not: another value that has them differs in its lengths, or in none at all.
                let sibling = head(value ^ 1 << (128 - u32::from(answer.bits)), answer.bits);
                let below = |v: u128| list.iter().any(|p| p.1 >= answer.bits && head(p.0, answer.bits) == head(v, answer.bits));
                prop_assert!(below(value) || below(sibling));
            }
        }
    }
}

#[test]
fn a_head_is_made_by_and_by() {
    let mut nodes = Nodes::<u32, Folded>::default();
    let (mut before, mut steps) = (0, 0);
    for n in 0..320u32 {
        let value = n.wrapping_mul(0x9e37_79b9);
        nodes.insert(value, 32, nodes.seek(value, 32), n);
        let made = nodes.heads.making.as_ref().map_or(0, |making| making.head.slots.len());
        assert!(made <= before + MADE, "a change makes a few");
        (before, steps) = (made, steps + usize::from(made > 0));
        assert_eq!(check(&nodes), n as usize + 1);
    }
    assert!(nodes.heads.bits() == 6 && steps > 16, "{steps}");
}

/// A table may have few masks first, and many later: then the heads that there are do not do, nor those that are made.
#[test]
fn a_head_is_made_anew_to_tell_masks_apart() {
    let mut nodes = Nodes::<u32, Folded>::default();
    let (mut made, mut apart) = (0, 0);
    for n in 0..2_000u32 {
        if n == 500 {
            assert!(nodes.heads.bits() == 6 && nodes.heads.making.is_none() && nodes.heads.head.apart.is_empty());
            nodes.tell_apart();
        }
        let (value, len) = (n.wrapping_mul(0x9e37_79b9), 1 + n as u8 % 12);
        nodes.insert(value, len, nodes.seek(value, len), n);
        if n > 400 {
            let (value, len) = ((n - 400).wrapping_mul(0x9e37_79b9), 1 + (n - 400) as u8 % 12);
            nodes.remove(value, len, nodes.seek(value, len));
        }
        (made, apart) = (made + usize::from(nodes.heads.making.is_some()), nodes.heads.head.apart.len());
        check(&nodes);
    }
    assert!(made > 20 && apart == 64, "{made} {apart}");
}

#[test]
fn prefixes_come_and_go() {
    let mut nodes = Nodes::<u32, Folded>::default();
    let mut there = Vec::new();
    let mut random = 1u64;
    for n in 0..6_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Of 1 to 12 bits, so that most end where heads look; first more come than go, then the other way round, until
        // none is left.
        let (value, len) = ((random >> 32) as u32, 1 + (random >> 20) as u8 % 12);
        if (random >> 8) % 8 < if n < 1_500 { 5 } else { 2 } {
            nodes.insert(value, len, nodes.seek(value, len), n);
            there.push((value.head(len), len));
        } else if !there.is_empty() {
            let (value, len) = there.swap_remove(random as usize % there.len());
            nodes.remove(value, len, nodes.seek(value, len));
        }
        if n % 16 == 0 || there.len() < 8 {
            let mut distinct = there.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(check(&nodes), distinct.len());
        }
    }
    assert_eq!(nodes.heads.bits(), 6);
    for (value, len) in there.drain(..) {
        nodes.remove(value, len, nodes.seek(value, len));
        check(&nodes);
    }
    assert_eq!(nodes.root, Link::NONE);
}

#[test]
fn a_removal_of_what_is_not_there_changes_nothing() {
    let mut trie = Trie::<Folded>::new(32);
    for n in 0..40u128 {
        trie.insert(n << 120, 8, trie.seek(n << 120, 8), 0);
    }
    let before: Vec<_> = (0..256u128).map(|n| trie.find(n << 120, Portable)).collect();
    for (value, len) in [(40u128 << 120, 8u8), (1 << 120, 7), (1 << 120, 9), (0, 0), (0, 1), (0, 3)] {
        trie.remove(value, len, trie.seek(value, len));
    }
    assert_eq!(before, (0..256u128).map(|n| trie.find(n << 120, Portable)).collect::<Vec<_>>());
}

#[test]
fn a_prefix_of_too_many_rules_stays() {
    let count = (0..1 << 24).fold(Count::none(24), |count, _| count.up());
    assert_eq!((count.len(), count.rules()), (24, (1 << 24) - 1));
    let count = count.down();
    assert_eq!((count.len(), count.rules()), (24, (1 << 24) - 1), "how many there are is not known");
}
