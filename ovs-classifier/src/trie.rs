//! Prefixes of one field, as a path-compressed binary trie: how few bits of a value show which prefixes it has not.
//!
//! Each node is a prefix; its children continue it by 0 and by 1. A node is there because rules have exactly this
//! prefix, or because two longer ones part here. So a value walks down as far as it agrees, and where it leaves the
//! trie, the bits up to the one that differs prove that no longer prefix is its own.
//!
//! Values are left-aligned in 128 bits. The prefix of length 0 is everyone's and not kept. Fields of up to 32 bits, which
//! most are, have nodes of their own kind, four to a cache line.
//!
//! A large trie has a *head*: for all values of the first bits, how far they lead. Walks begin there. It is made by and by,
//! a few values with each change, while walks begin at the root or in a smaller head.

use crate::simd::prefetch;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Debug;

/// The prefixes of a field.
#[derive(Clone, Debug)]
pub(crate) enum Trie {
    /// Of a field of at most 32 bits.
    Short(Nodes<u32>),
    Long(Nodes<u128>),
}

/// The nodes of a trie whose paths are `P`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes<P> {
    nodes: Vec<Node<P>>,
    root: Link,
    free: Vec<u32>,
    /// In a large trie, what is found in the nodes of fewer bits than a head has; else empty.
    head: Vec<Head>,
    making: Option<Box<Making>>,
}

/// A left-aligned prefix.
pub(crate) trait Path: Copy + Debug + Default {
    /// The first bits of a value of 128.
    fn of(value: u128) -> Self;

    /// How many leading bits are the same, at most all.
    fn common(self, other: Self) -> u8;

    /// The bit after the first `at`.
    fn bit(self, at: u8) -> usize;

    /// Zero behind the first `len` bits.
    fn head(self, len: u8) -> Self;

    /// The first `bits` bits, of at most 32, as a number.
    fn top(self, bits: u32) -> usize;

    /// The path that begins with this number of `bits` bits.
    fn from_top(top: usize, bits: u32) -> Self;
}

macro_rules! path {
    ($type:ty, $bits:literal) => {
        impl Path for $type {
            #[inline(always)]
            fn of(value: u128) -> Self {
                (value >> (128 - $bits)) as $type
            }

            #[inline(always)]
            fn common(self, other: Self) -> u8 {
                (self ^ other).leading_zeros() as u8
            }

            #[inline(always)]
            fn bit(self, at: u8) -> usize {
                (self >> ($bits - 1 - u32::from(at.min($bits - 1))) & 1) as usize
            }

            fn head(self, len: u8) -> Self {
                self & !<$type>::MAX.checked_shr(len.into()).unwrap_or(0)
            }

            #[inline(always)]
            fn top(self, bits: u32) -> usize {
                self.checked_shr($bits - bits).unwrap_or(0) as usize
            }

            fn from_top(top: usize, bits: u32) -> Self {
                (top as $type).checked_shl($bits - bits).unwrap_or(0)
            }
        }
    };
}

path!(u32, 32);
path!(u128, 128);

/// How many bits of a value the head is indexed by, from how many nodes on: some less than most walks take, since a change
/// near the root costs a step for each of at most 2^14 values; there are few, where nodes are many.
const HEADS: &[(usize, u32)] =
    if cfg!(test) { &[(8, 4), (16, 5), (24, 6)] } else { &[(1 << 9, 8), (1 << 13, 10), (1 << 15, 12), (1 << 17, 14)] };

/// For how many values a change goes on with a head that is being made.
const MADE: usize = if cfg!(test) { 3 } else { 16 };

/// A head that is being made, of so many bits; it has the first values.
#[derive(Clone, Debug)]
struct Making {
    bits: u32,
    head: Vec<Head>,
}

/// Where the first bits of a value lead.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Head {
    link: Link,
    /// The nodes above the link, the next first; none where the value's first bits leave the trie.
    above: [Link; 2],
    /// As in [`Answer`], of the nodes before.
    lens: u16,
    bits: u8,
}

/// A node's place plus one; 0 is none.
pub(crate) type Link = u32;

#[derive(Clone, Copy, Debug)]
struct Node<P> {
    /// The prefix, zero behind its end.
    path: P,
    children: [Link; 2],
    /// How many rules have exactly this prefix, and its length in the low byte.
    rules_and_len: u32,
}

const _: () = assert!(size_of::<Node<u32>>() == 16);

impl<P: Path> Node<P> {
    fn new(path: P, len: u8, rules: u32, children: [Link; 2]) -> Self {
        Self { path, children, rules_and_len: rules << 8 | u32::from(len) }
    }

    #[inline(always)]
    fn len(&self) -> u8 {
        self.rules_and_len as u8
    }

    /// How many rules there are; at 2^24 - 1 it is no longer counted, up or down, and costs bits at worst.
    #[inline(always)]
    fn rules(&self) -> u32 {
        self.rules_and_len >> 8
    }

    fn count(&mut self, change: impl Fn(u32) -> u32) {
        if self.rules() < u32::MAX >> 8 {
            self.rules_and_len = change(self.rules()) << 8 | u32::from(self.len());
        }
    }

    /// How many leading bits a value shares with the prefix.
    #[inline(always)]
    fn agrees(&self, value: P) -> u8 {
        self.path.common(value).min(self.len())
    }

    /// What decides that a value is here and goes on or not: the next bit, too, unless nothing can go on.
    #[inline(always)]
    fn bits(&self) -> u8 {
        self.len() + u8::from(self.children != [0, 0])
    }
}

/// The beginning of a walk: a node, the two above it, each with the side that leads down, and their lengths.
struct Start {
    link: Link,
    above: [Option<(Link, usize)>; 2],
    lens: [u8; 2],
}

/// What a value has in common with the prefixes of a trie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Bit `n - 1` is set when a prefix of length `n` is the value's.
    pub(crate) lens: u128,
    /// So many leading bits of the value decide that.
    pub(crate) bits: u8,
}

impl Answer {
    /// How many leading bits show that no rule has the value's prefix of length `len`; `None` when one has it.
    pub(crate) fn rules_out(self, len: u8) -> Option<u8> {
        let bit = 1u128.checked_shl(u32::from(len).checked_sub(1)?)?;
        (self.lens & bit == 0).then(|| self.bits.min(len))
    }
}

impl Trie {
    /// Without prefixes, of a field of so many bits.
    pub(crate) fn new(bits: u8) -> Self {
        if bits <= 32 { Self::Short(Nodes::default()) } else { Self::Long(Nodes::default()) }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Short(nodes) => nodes.heap_bytes(),
            Self::Long(nodes) => nodes.heap_bytes(),
        }
    }

    /// What a value has in common with the prefixes.
    #[inline]
    pub(crate) fn find(&self, value: u128) -> Answer {
        match self {
            Self::Short(nodes) => nodes.find_short(u32::of(value)),
            Self::Long(nodes) => nodes.find(value),
        }
    }

    /// What two values have in common with the prefixes of two tries: both wait for memory together.
    #[inline]
    pub(crate) fn find_both(&self, value: u128, other: &Self, other_value: u128) -> [Answer; 2] {
        match (self, other) {
            (Self::Short(a), Self::Short(b)) => find_short_both(a, u32::of(value), b, u32::of(other_value)),
            _ => [self.find(value), other.find(other_value)],
        }
    }

    /// Whether walks are worth to be [looked ahead](Self::ahead).
    #[inline(always)]
    pub(crate) fn is_large(&self) -> bool {
        match self {
            Self::Short(nodes) => !nodes.head.is_empty(),
            Self::Long(nodes) => !nodes.head.is_empty(),
        }
    }

    /// Asks for the memory from which finding a value begins.
    #[inline(always)]
    pub(crate) fn ahead(&self, value: u128) {
        match self {
            Self::Short(nodes) => nodes.ahead(u32::of(value)),
            Self::Long(nodes) => nodes.ahead(value),
        }
    }

    /// Asks for the node to which finding a value comes behind a node, or behind the head if that is none; returns it.
    #[inline(always)]
    pub(crate) fn further(&self, value: u128, link: Link) -> Link {
        match self {
            Self::Short(nodes) => nodes.further(u32::of(value), link),
            Self::Long(nodes) => nodes.further(value, link),
        }
    }

    /// Adds the first `len` bits of `value`.
    pub(crate) fn insert(&mut self, value: u128, len: u8) {
        match self {
            Self::Short(nodes) => nodes.insert(u32::of(value), len),
            Self::Long(nodes) => nodes.insert(value, len),
        }
    }

    /// Removes a prefix that was added.
    pub(crate) fn remove(&mut self, value: u128, len: u8) {
        match self {
            Self::Short(nodes) => nodes.remove(u32::of(value), len),
            Self::Long(nodes) => nodes.remove(value, len),
        }
    }
}

/// A value on its way through a trie of a short field.
struct Walk {
    link: Link,
    lens: u32,
    bits: u8,
}

impl Walk {
    /// Goes on by a node; whether there may be more.
    #[inline(always)]
    fn step(&mut self, nodes: &Nodes<u32>, value: u32) -> bool {
        let Some(node) = nodes.node(self.link) else { return false };
        let agreed = node.agrees(value);
        if agreed < node.len() {
            (self.bits, self.link) = (agreed + 1, 0);
            return false;
        }
        self.lens |= u32::from(node.rules() > 0) << (node.len().wrapping_sub(1) & 31);
        self.bits = node.bits();
        self.link = node.children[value.bit(node.len())];
        true
    }

    #[inline(always)]
    fn answer(&self) -> Answer {
        Answer { lens: self.lens.into(), bits: self.bits }
    }
}

impl Nodes<u32> {
    #[inline(always)]
    fn walk(&self, value: u32) -> Walk {
        let start = self.head_of(value).copied().unwrap_or(Head { link: self.root, ..Head::default() });
        Walk { link: start.link, lens: start.lens.into(), bits: start.bits }
    }

    /// As [`find`](Self::find), with lengths in a word.
    fn find_short(&self, value: u32) -> Answer {
        let mut walk = self.walk(value);
        while walk.step(self, value) {}
        walk.answer()
    }
}

/// Two walks, a step of each in turn.
#[inline(never)]
fn find_short_both(a: &Nodes<u32>, value: u32, b: &Nodes<u32>, other: u32) -> [Answer; 2] {
    let (mut first, mut second) = (a.walk(value), b.walk(other));
    while first.step(a, value) | second.step(b, other) {}
    [first.answer(), second.answer()]
}

impl<P: Path> Nodes<P> {
    fn heap_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node<P>>()
            + self.free.capacity() * size_of::<u32>()
            + self.head.capacity() * size_of::<Head>()
            + self.making.as_ref().map_or(0, |making| making.head.capacity() * size_of::<Head>())
    }

    #[inline(always)]
    fn node(&self, link: Link) -> Option<&Node<P>> {
        self.nodes.get(link.checked_sub(1)? as usize)
    }

    fn node_mut(&mut self, link: Link) -> Option<&mut Node<P>> {
        self.nodes.get_mut(link.checked_sub(1)? as usize)
    }

    fn find(&self, value: P) -> Answer {
        let start = self.head_of(value).copied().unwrap_or(Head { link: self.root, ..Head::default() });
        let mut answer = Answer { lens: start.lens.into(), bits: start.bits };
        let mut link = start.link;
        while let Some(node) = self.node(link) {
            let agreed = node.agrees(value);
            if agreed < node.len() {
                answer.bits = agreed + 1;
                break;
            }
            answer.lens |= u128::from(node.rules() > 0) << (node.len().wrapping_sub(1) & 127);
            answer.bits = node.bits();
            link = node.children[value.bit(node.len())];
        }
        answer
    }

    /// How many bits of a value the head is indexed by; 0 if there is none.
    #[inline(always)]
    fn head_bits(&self) -> u32 {
        self.head.len().max(1).ilog2()
    }

    #[inline(always)]
    fn head_of(&self, value: P) -> Option<&Head> {
        self.head.get(value.top(self.head_bits()))
    }

    /// See [`Trie::ahead`].
    #[inline(always)]
    fn ahead(&self, value: P) {
        if let Some(head) = self.head_of(value) {
            prefetch(head);
        }
    }

    /// See [`Trie::further`]. A value that leaves the trie goes on to nodes that it does not need: what it costs to see that
    /// is more than they cost.
    #[inline(always)]
    fn further(&self, value: P, link: Link) -> Link {
        let next = match self.node(link) {
            Some(node) => node.children[value.bit(node.len())],
            None => self.head_of(value).map_or(0, |head| head.link),
        };
        if let Some(node) = self.node(next) {
            prefetch(node);
        }
        next
    }

    /// What finding comes to with the first `bits` bits of a value: at a node that needs more.
    fn find_head(&self, value: P, bits: u32) -> Head {
        let mut head = Head { link: self.root, ..Head::default() };
        while let Some(node) = self.node(head.link).filter(|node| u32::from(node.len()) < bits) {
            let agreed = node.agrees(value);
            if agreed < node.len() {
                return Head { link: 0, above: [0; 2], bits: agreed + 1, ..head };
            }
            head.lens |= u16::from(node.rules() > 0) << (node.len().wrapping_sub(1) & 15);
            head.bits = node.bits();
            head.above = [head.link, head.above[0]];
            head.link = node.children[value.bit(node.len())];
        }
        head
    }

    /// Restores the heads where they depend on a node of length `len` and what it leads to; goes on making one.
    fn mend(&mut self, value: P, len: u8) {
        let (bits, mut head) = (self.head_bits(), core::mem::take(&mut self.head));
        self.mend_head(&mut head, bits, value, len);
        self.head = head;

        let nodes = self.nodes.len();
        let wanted = HEADS.iter().filter(|(from, _)| *from <= nodes).map(|(_, bits)| *bits).max().unwrap_or(0);
        let begun = || (wanted > bits).then(|| Box::new(Making { bits: wanted, head: Vec::new() }));
        let Some(mut making) = self.making.take().or_else(begun) else { return };
        self.mend_head(&mut making.head, making.bits, value, len);
        let (done, all) = (making.head.len(), 1 << making.bits);
        let more = (done..all).take(MADE).map(|i| self.find_head(P::from_top(i, making.bits), making.bits));
        making.head.extend(more);
        if making.head.len() < all {
            self.making = Some(making);
        } else {
            self.head = making.head;
        }
    }

    /// Restores what there is of a head of so many bits where it depends on a node of length `len`.
    fn mend_head(&self, head: &mut [Head], bits: u32, value: P, len: u8) {
        if u32::from(len) < bits {
            let first = value.head(len).top(bits);
            let changed = head.iter_mut().enumerate().skip(first).take(1 << (bits - u32::from(len)));
            changed.for_each(|(i, head)| *head = self.find_head(P::from_top(i, bits), bits));
        }
    }

    fn insert(&mut self, value: P, len: u8) {
        if len > 0 {
            let value = value.head(len);
            let changed = self.put(value, len);
            self.mend(value, changed);
        }
    }

    /// Where a walk to a prefix of `len` bits may begin.
    fn start(&self, value: P, len: u8) -> Start {
        match self.head_of(value).filter(|_| u32::from(len) >= self.head_bits()) {
            Some(Head { link, above: [above, second], .. }) if *above != 0 => {
                let len = |link| self.node(link).map_or(0, Node::len);
                let side = |link| self.node(link).map(|node| (link, value.bit(node.len())));
                Start { link: *link, above: [side(*above), side(*second)], lens: [len(*above), len(*second)] }
            }
            _ => Start { link: self.root, above: [None; 2], lens: [0; 2] },
        }
    }

    /// Adds a prefix; returns the length of the shortest that led somewhere else before.
    fn put(&mut self, value: P, len: u8) -> u8 {
        let Start { mut link, above: [mut above, _], lens: [mut above_len, _] } = self.start(value, len);
        while let Some(node) = self.node(link) {
            let agreed = node.agrees(value).min(len);
            if agreed < node.len() {
                let (mut children, path) = ([0; 2], node.path);
                children[path.bit(agreed)] = link;
                let mut rules = 1;
                if agreed < len {
                    children[value.bit(agreed)] = self.add(Node::new(value, len, 1, [0; 2]));
                    rules = 0;
                }
                let fork = self.add(Node::new(value.head(agreed), agreed, rules, children));
                self.point(above, fork);
                return above_len;
            }
            if node.len() == len {
                let is_new = node.rules() == 0;
                if let Some(node) = self.node_mut(link) {
                    node.count(|rules| rules + 1);
                }
                return if is_new { len } else { u8::MAX };
            }
            let side = value.bit(node.len());
            (above, above_len, link) = (Some((link, side)), node.len(), node.children[side]);
        }
        let leaf = self.add(Node::new(value, len, 1, [0; 2]));
        self.point(above, leaf);
        above_len
    }

    fn remove(&mut self, value: P, len: u8) {
        let value = value.head(len);
        let changed = self.take(value, len);
        self.mend(value, changed);
    }

    /// Removes a prefix; returns the length of the shortest that led somewhere else before.
    fn take(&mut self, value: P, len: u8) -> u8 {
        let Start { mut link, mut above, mut lens } = self.start(value, len);
        while let Some(node) = self.node(link) {
            if node.agrees(value).min(len) < node.len() {
                return u8::MAX;
            }
            if node.len() == len {
                let rules = node.rules();
                if let Some(node) = self.node_mut(link) {
                    node.count(|rules| rules.saturating_sub(1));
                }
                self.prune(link, above[0]);
                if let Some((fork, _)) = above[0] {
                    self.prune(fork, above[1]);
                }
                return if rules > 1 { u8::MAX } else { lens[1] };
            }
            let side = value.bit(node.len());
            (above, lens) = ([Some((link, side)), above[0]], [node.len(), lens[0]]);
            link = node.children[side];
        }
        u8::MAX
    }

    /// Takes a node out that no rule and no fork needs.
    fn prune(&mut self, link: Link, above: Option<(Link, usize)>) {
        if let Some(Node { children: [only, 0] | [0, only], .. }) = self.node(link).filter(|node| node.rules() == 0) {
            let only = *only;
            self.point(above, only);
            self.free.push(link);
        }
    }

    fn point(&mut self, above: Option<(Link, usize)>, to: Link) {
        match above {
            None => self.root = to,
            Some((link, side)) => {
                if let Some(node) = self.node_mut(link) {
                    node.children[side] = to;
                }
            }
        }
    }

    fn add(&mut self, node: Node<P>) -> Link {
        if let Some(link) = self.free.pop()
            && let Some(place) = self.node_mut(link)
        {
            *place = node;
            return link;
        }
        self.nodes.push(node);
        // Each of at most 2^32 - 2 rules adds two nodes at most to a trie; a table of 2^31 distinct prefixes is out of
        // reach of memory, and the link of a node beyond is that of no node: bits are lost then, not the rule.
        u32::try_from(self.nodes.len()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Nodes, Path, Trie};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn head(value: u128, len: u8) -> u128 {
        value.head(len)
    }

    fn live<P>(nodes: &Nodes<P>) -> usize {
        nodes.nodes.len() - nodes.free.len()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Values of ten bits, so that prefixes meet; of a short field, and of a long one after bits that all share or
        /// not.
        #[test]
        fn says_what_a_list_says_in_no_more_bits_than_needed(
            prefixes in prop::collection::vec((0..1024u128, 1..=10u8), 0..48),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
            shift in prop_oneof![Just(0u8), Just(50), Just(60), Just(118)],
        ) {
            let mut trie = Trie::new(if shift == 0 { 32 } else { 128 });
            let at = |value: u128| value << 118 >> shift;
            let mut list: Vec<(u128, u8)> =
                prefixes.iter().map(|(value, len)| (head(at(*value), len + shift), len + shift)).collect();
            list.iter().for_each(|(value, len)| trie.insert(*value, *len));
            for index in gone {
                if !list.is_empty() {
                    let (value, len) = list.swap_remove(index.index(list.len()));
                    trie.remove(value, len);
                }
            }
            let live = match &trie {
                Trie::Short(nodes) => live(nodes),
                Trie::Long(nodes) => live(nodes),
            };
            prop_assert!(live <= 2 * list.len(), "{live} nodes for {} prefixes", list.len());
            for n in 0..1024u128 {
                let value = at(n);
                let answer = trie.find(value);
                for len in 1..=10 + shift {
                    let there = list.iter().any(|p| p.1 == len && p.0 == head(value, len));
                    prop_assert_eq!(answer.rules_out(len).is_none(), there);
                }
                // The bits decide: whatever follows them, the same lengths are there.
                let rest: Vec<u128> = [0, u128::MAX].map(|fill| head(value, answer.bits) | fill & !head(u128::MAX, answer.bits)).into();
                for other in rest {
                    prop_assert_eq!(trie.find(other).lens, answer.lens);
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
        let mut nodes = Nodes::<u32>::default();
        let (mut before, mut steps) = (0, 0);
        for n in 0..64u32 {
            nodes.insert(n.wrapping_mul(0x9e37_79b9), 32);
            let made = nodes.making.as_ref().map_or(0, |making| making.head.len());
            assert!(made <= before + super::MADE, "a change makes a few");
            (before, steps) = (made, steps + usize::from(made > 0));
            let heads =
                nodes.making.iter().map(|making| (&making.head, making.bits)).chain([(&nodes.head, nodes.head_bits())]);
            for (head, bits) in heads {
                for (i, head) in head.iter().enumerate() {
                    assert_eq!(*head, nodes.find_head(Path::from_top(i, bits), bits), "value {i} of {bits} bits");
                }
            }
        }
        assert!(nodes.head_bits() == 6 && steps > 16, "{steps}");
    }

    #[test]
    fn a_prefix_of_too_many_rules_stays() {
        let mut trie = Trie::new(32);
        trie.insert(1 << 127, 1);
        let Trie::Short(nodes) = &mut trie else { unreachable!("32 bits are few") };
        nodes.nodes[0].rules_and_len |= u32::MAX << 8;
        trie.insert(1 << 127, 1);
        trie.remove(1 << 127, 1);
        assert_eq!(trie.find(1 << 127).rules_out(1), None);
    }
}
