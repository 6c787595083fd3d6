//! Prefixes of one field, as a path-compressed binary trie: how few bits of a value show which prefixes it has not.
//!
//! Each node is a prefix; its children continue it by 0 and by 1. A node is there because rules have exactly this
//! prefix, or because two longer ones part here. So a value walks down as far as it agrees, and where it leaves the
//! trie, the bits up to the one that differs prove that no longer prefix is its own.
//!
//! Values are left-aligned in 128 bits. The prefix of length 0 is everyone's and not kept. Fields of up to 32 bits, which
//! most are, have nodes of their own kind, which are smaller. Nodes that nobody needs are a list.
//!
//! A walk also tells, for each prefix of the value, which masks have rules with it (the *holders*), as bits: a mask that is
//! not among them has nothing for the value.
//!
//! A large trie has a *head*: for all values of the first bits, how far they lead. Walks begin there. It is made by and by,
//! a few values with each change, while walks begin at the root or in a smaller head.

use crate::gradual::Gradual;
use crate::simd::prefetch;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Debug;

/// The prefixes of a field.
#[derive(Clone, Debug)]
pub(crate) enum Trie<C> {
    /// Of a field of at most 32 bits.
    Short(Nodes<u32, C>),
    Long(Nodes<u128, C>),
}

/// The nodes of a trie whose paths are `P`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes<P, C> {
    nodes: Gradual<Node<P, C>>,
    root: Link,
    /// A node that nobody needs, whose first child is the next.
    free: Link,
    /// In a large trie, what is found in the nodes of fewer bits than a head has; else empty.
    head: Vec<Head<C>>,
    /// The head before, which is smaller: from there it is not far to what a change in the nodes above the head's leads to.
    base: Vec<Head<C>>,
    making: Option<Box<Making<C>>>,
}

/// What a trie keeps of the masks whose rules have a prefix.
pub(crate) trait Holders: Copy + Debug + Default + PartialEq {
    /// These, and the mask of a column.
    fn with(self, column: u32) -> Self;

    /// These and those.
    fn and(self, others: Self) -> Self;
}

/// Nothing: the trie is that of one mask.
impl Holders for () {
    fn with(self, _: u32) {}

    fn and(self, (): ()) {}
}

/// The columns of the masks, or others: column `n` and all that are 64 or a multiple of that further are one bit. A mask that
/// no longer has a rule with a prefix is still there as long as another has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folded(pub(crate) u64);

impl Holders for Folded {
    #[inline(always)]
    fn with(self, column: u32) -> Self {
        Self(self.0 | 1 << (column % 64))
    }

    #[inline(always)]
    fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// A left-aligned prefix.
pub(crate) trait Path: Copy + Debug + Default {
    /// The first bits of a value of 128.
    fn of(value: u128) -> Self;

    /// How many leading bits are the same, at most all.
    fn common(self, other: Self) -> u8;

    /// The bit after the first `at`; any, if these are all.
    fn bit(self, at: u8) -> usize;

    /// With another bit after the first `at`.
    fn with(self, at: u8, bit: usize) -> Self;

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
                (self.wrapping_shl(at.into()) >> ($bits - 1)) as usize
            }

            fn with(self, at: u8, bit: usize) -> Self {
                let place = $bits - 1 - u32::from(at.min($bits - 1));
                self & !(1 << place) | (bit as $type & 1) << place
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
/// in a node above the head's is made in all values that pass it. There are few such nodes, where nodes are many.
const HEADS: &[(usize, u32)] = if cfg!(test) {
    &[(8, 4), (16, 5), (24, 6)]
} else {
    &[(1 << 8, 9), (1 << 10, 10), (1 << 13, 12), (1 << 15, 13), (1 << 17, 15)]
};

/// For how many values a change goes on with a head that is being made.
const MADE: usize = if cfg!(test) { 3 } else { 16 };

/// A head that is being made, of so many bits; it has the first values.
#[derive(Clone, Debug)]
struct Making<C> {
    bits: u32,
    head: Vec<Head<C>>,
}

/// Where the first bits of a value lead.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Head<C> {
    link: Link,
    /// The nodes above the link, the next first; none where the value's first bits leave the trie.
    above: [Link; 2],
    /// As in [`Answer`], of the nodes before.
    lens: u16,
    bits: u8,
    holders: C,
}

impl<C: Holders> Head<C> {
    /// Where values come to that have the prefix of the node to which this leads; but for the link.
    fn passing<P: Path>(self, node: &Node<P, C>) -> Self {
        let lens = self.lens | u16::from(node.rules() > 0) << (node.len().wrapping_sub(1) & 15);
        let holders = self.holders.and(node.holders);
        Self { above: [self.link, self.above[0]], lens, bits: node.bits(), holders, ..self }
    }
}

/// A node's place plus one; 0 is none.
pub(crate) type Link = u32;

#[derive(Clone, Copy, Debug)]
struct Node<P, C> {
    /// The prefix, zero behind its end.
    path: P,
    children: [Link; 2],
    /// How many rules have exactly this prefix, and its length in the low byte.
    rules_and_len: u32,
    /// The masks of these rules; none where there is no rule.
    holders: C,
}

const _: () = assert!(size_of::<Node<u32, ()>>() == 16 && size_of::<Node<u32, Folded>>() == 24);

impl<P: Path, C: Holders> Node<P, C> {
    /// A node that no rule needs.
    fn fork(path: P, len: u8, children: [Link; 2]) -> Self {
        Self { path, children, rules_and_len: len.into(), holders: C::default() }
    }

    /// Adds a rule of the mask of a column.
    fn hold(&mut self, column: u32) {
        self.count(|rules| rules + 1);
        self.holders = self.holders.with(column);
    }

    /// Removes a rule.
    fn release(&mut self) {
        self.count(|rules| rules.saturating_sub(1));
        if self.rules() == 0 {
            self.holders = C::default();
        }
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

/// Where a prefix is or would be: a node that has it, or the first that has not all of what it goes on with; and the two
/// above it, the next first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    link: Link,
    above: [Link; 2],
}

impl Place {
    /// Goes on to the next node, if this is one on the way to the first `len` bits of a value.
    #[inline(always)]
    fn step<P: Path, C: Holders>(&mut self, nodes: &Nodes<P, C>, value: P, len: u8) -> bool {
        let Some(node) = nodes.node(self.link) else { return false };
        if node.len() >= len || node.agrees(value) < node.len() {
            return false;
        }
        self.above = [self.link, self.above[0]];
        self.link = node.children[value.bit(node.len())];
        true
    }
}

/// What a value has in common with the prefixes of a trie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer<C> {
    /// Bit `n - 1` is set when a prefix of length `n` is the value's.
    pub(crate) lens: u128,
    /// The masks that have a rule with a prefix of the value.
    pub(crate) holders: C,
    /// So many leading bits of the value decide that.
    pub(crate) bits: u8,
}

impl<C> Answer<C> {
    /// How many leading bits show that no rule has the value's prefix of length `len`; `None` when one has it.
    pub(crate) fn rules_out(&self, len: u8) -> Option<u8> {
        let bit = 1u128.checked_shl(u32::from(len).checked_sub(1)?)?;
        (self.lens & bit == 0).then(|| self.bits.min(len))
    }
}

impl<C: Holders> Trie<C> {
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
    #[inline(always)]
    pub(crate) fn find(&self, value: u128) -> Answer<C> {
        match self {
            Self::Short(nodes) => nodes.find_short(u32::of(value)),
            Self::Long(nodes) => nodes.find(value),
        }
    }

    /// What two values have in common with the prefixes of two tries: both wait for memory together.
    #[inline(always)]
    pub(crate) fn find_both(&self, value: u128, other: &Self, other_value: u128) -> [Answer<C>; 2] {
        match (self, other) {
            (Self::Short(a), Self::Short(b)) => find_short_both(a, u32::of(value), b, u32::of(other_value)),
            _ => [self.find(value), other.find(other_value)],
        }
    }

    /// Where the first `len` bits of a value are, or would be.
    pub(crate) fn seek(&self, value: u128, len: u8) -> Place {
        match self {
            Self::Short(nodes) => nodes.seek(u32::of(value), len),
            Self::Long(nodes) => nodes.seek(value, len),
        }
    }

    /// Where prefixes of two values are, or would be, in two tries: both wait for memory together.
    pub(crate) fn seek_both(&self, (value, len): (u128, u8), other: &Self, second: (u128, u8)) -> [Place; 2] {
        match (self, other) {
            (Self::Short(a), Self::Short(b)) => {
                let (value, (other, other_len)) = (u32::of(value), (u32::of(second.0), second.1));
                let (mut first, mut second) = (a.start(value, len), b.start(other, other_len));
                while first.step(a, value, len) | second.step(b, other, other_len) {}
                [first, second]
            }
            _ => [self.seek(value, len), other.seek(second.0, second.1)],
        }
    }

    /// As [`seek_both`](Self::seek_both), in three tries.
    pub(crate) fn seek_three<D: Holders>(
        &self,
        first: (u128, u8),
        others: [&Trie<D>; 2],
        [second, third]: [(u128, u8); 2],
    ) -> [Place; 3] {
        match (self, others) {
            (Self::Short(a), [Trie::Short(b), Trie::Short(c)]) => {
                let [one, two, three] = [first, second, third].map(|(value, len)| (u32::of(value), len));
                let (mut first, mut second, mut third) =
                    (a.start(one.0, one.1), b.start(two.0, two.1), c.start(three.0, three.1));
                while first.step(a, one.0, one.1) | second.step(b, two.0, two.1) | third.step(c, three.0, three.1) {}
                [first, second, third]
            }
            (_, [other, last]) => {
                [self.seek(first.0, first.1), other.seek(second.0, second.1), last.seek(third.0, third.1)]
            }
        }
    }

    /// Asks for what a search or a change of a value's prefixes begins with.
    #[inline(always)]
    pub(crate) fn expect(&self, value: u128) {
        match self {
            Self::Short(nodes) => nodes.expect(u32::of(value)),
            Self::Long(nodes) => nodes.expect(value),
        }
    }

    /// Asks for the nodes of a place, ahead of a change there.
    #[cfg(feature = "std")]
    pub(crate) fn prefetch(&self, place: Place) {
        match self {
            Self::Short(nodes) => nodes.prefetch(place),
            Self::Long(nodes) => nodes.prefetch(place),
        }
    }

    /// Adds the first `len` bits of `value`, for a rule of the mask of a column, at their place; none if there are none.
    pub(crate) fn insert(&mut self, value: u128, len: u8, place: Place, column: u32) {
        match self {
            Self::Short(nodes) => nodes.insert(u32::of(value), len, place, column),
            Self::Long(nodes) => nodes.insert(value, len, place, column),
        }
    }

    /// Removes a prefix that was added, from its place.
    pub(crate) fn remove(&mut self, value: u128, len: u8, place: Place) {
        match self {
            Self::Short(nodes) => nodes.remove(u32::of(value), len, place),
            Self::Long(nodes) => nodes.remove(value, len, place),
        }
    }
}

/// A value on its way through a trie of a short field.
struct Walk<'a, C> {
    link: Link,
    lens: u32,
    bits: u8,
    holders: C,
    /// The last node whose prefix is the value's, which decides how many bits do, unless the value leaves the trie further on.
    last: Option<&'a Node<u32, C>>,
}

impl<'a, C: Holders> Walk<'a, C> {
    /// Goes on by a node; whether there may be more.
    #[inline(always)]
    fn step(&mut self, nodes: &'a Nodes<u32, C>, value: u32) -> bool {
        let Some(node) = nodes.node(self.link) else { return false };
        let (agreed, len) = (node.path.common(value), node.len());
        if agreed < len {
            (self.bits, self.last, self.link) = (agreed + 1, None, 0);
            return false;
        }
        self.lens |= u32::from(node.rules() > 0).wrapping_shl(u32::from(len).wrapping_sub(1));
        self.holders = self.holders.and(node.holders);
        self.last = Some(node);
        self.link = node.children[value.bit(len)];
        true
    }

    #[inline(always)]
    fn answer(&self) -> Answer<C> {
        let bits = self.last.map_or(self.bits, Node::bits);
        Answer { lens: self.lens.into(), holders: self.holders, bits }
    }
}

impl<C: Holders> Nodes<u32, C> {
    #[inline(always)]
    fn walk(&self, value: u32) -> Walk<'_, C> {
        let start = self.head_of(value).copied().unwrap_or(Head { link: self.root, ..Head::default() });
        Walk { link: start.link, lens: start.lens.into(), bits: start.bits, holders: start.holders, last: None }
    }

    /// As [`find`](Self::find), with lengths in a word.
    #[inline(always)]
    fn find_short(&self, value: u32) -> Answer<C> {
        let mut walk = self.walk(value);
        while walk.step(self, value) {}
        walk.answer()
    }
}

/// Two walks, a step of each in turn.
#[inline(always)]
fn find_short_both<C: Holders>(a: &Nodes<u32, C>, value: u32, b: &Nodes<u32, C>, other: u32) -> [Answer<C>; 2] {
    let (mut first, mut second) = (a.walk(value), b.walk(other));
    while first.step(a, value) | second.step(b, other) {}
    [first.answer(), second.answer()]
}

/// How many bits of a value a head is indexed by; 0 if it is empty.
#[inline(always)]
fn bits_of<C>(head: &[Head<C>]) -> u32 {
    head.len().max(1).ilog2()
}

impl<P: Path, C: Holders> Nodes<P, C> {
    fn heap_bytes(&self) -> usize {
        self.nodes.heap_bytes()
            + (self.head.capacity() + self.base.capacity()) * size_of::<Head<C>>()
            + self.making.as_ref().map_or(0, |making| making.head.capacity() * size_of::<Head<C>>())
    }

    #[inline(always)]
    fn node(&self, link: Link) -> Option<&Node<P, C>> {
        self.nodes.get(link.checked_sub(1)? as usize)
    }

    #[inline(always)]
    fn expect(&self, value: P) {
        for head in [&self.head, &self.base] {
            head.get(value.top(bits_of(head))).into_iter().for_each(prefetch);
        }
    }

    #[cfg(feature = "std")]
    fn prefetch(&self, Place { link, above }: Place) {
        let nodes = [link, above[0], above[1]].into_iter().filter_map(|link| self.node(link));
        nodes.for_each(prefetch);
    }

    #[inline(always)]
    fn change(&mut self, link: Link, change: impl FnOnce(&mut Node<P, C>)) {
        if let Some(index) = link.checked_sub(1) {
            self.nodes.change(index as usize, change);
        }
    }

    fn find(&self, value: P) -> Answer<C> {
        let start = self.head_of(value).copied().unwrap_or(Head { link: self.root, ..Head::default() });
        let mut answer = Answer { lens: start.lens.into(), holders: start.holders, bits: start.bits };
        let mut link = start.link;
        while let Some(node) = self.node(link) {
            let agreed = node.agrees(value);
            if agreed < node.len() {
                answer.bits = agreed + 1;
                break;
            }
            answer.lens |= u128::from(node.rules() > 0) << (node.len().wrapping_sub(1) & 127);
            answer.holders = answer.holders.and(node.holders);
            answer.bits = node.bits();
            link = node.children[value.bit(node.len())];
        }
        answer
    }

    /// How many bits of a value the head is indexed by; 0 if there is none.
    #[inline(always)]
    fn head_bits(&self) -> u32 {
        bits_of(&self.head)
    }

    #[inline(always)]
    fn head_of(&self, value: P) -> Option<&Head<C>> {
        self.head.get(value.top(self.head_bits()))
    }

    /// What finding comes to with the first `bits` bits of a value: at a node that needs more. Begins in the largest head
    /// that has no more bits.
    fn find_head(&self, value: P, bits: u32) -> Head<C> {
        let from = [&self.head, &self.base].into_iter().find(|head| !head.is_empty() && bits_of(head) <= bits);
        let from = from.and_then(|head| head.get(value.top(bits_of(head)))).copied();
        self.find_head_from(from.unwrap_or(Head { link: self.root, ..Head::default() }), value, bits)
    }

    fn find_head_from(&self, mut head: Head<C>, value: P, bits: u32) -> Head<C> {
        while let Some(node) = self.node(head.link).filter(|node| u32::from(node.len()) < bits) {
            let agreed = node.agrees(value);
            if agreed < node.len() {
                return Head { link: 0, above: [0; 2], bits: agreed + 1, ..head };
            }
            head = Head { link: node.children[value.bit(node.len())], ..head.passing(node) };
        }
        head
    }

    /// Restores the heads where they depend on a node of length `len` and what it leads to; goes on making one.
    fn mend(&mut self, value: P, len: u8) {
        if u32::from(len) < self.head_bits() {
            let [mut head, mut base] = [&mut self.head, &mut self.base].map(core::mem::take);
            let [bits, base_bits] = [&head, &base].map(|head| bits_of(head));
            self.mend_head(&mut base, base_bits, value, len);
            self.base = base;
            self.mend_head(&mut head, bits, value, len);
            self.head = head;
        }
        let (nodes, bits) = (self.nodes.len(), self.head_bits());
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
            self.base = core::mem::replace(&mut self.head, making.head);
        }
    }

    /// Restores what there is of a head of so many bits where it depends on a node of length `len` and what it leads to.
    fn mend_head(&self, head: &mut [Head<C>], bits: u32, value: P, len: u8) {
        if u32::from(len) < bits {
            self.fill(head, bits, value.head(len), len, self.find_head(value, len.into()));
        }
    }

    /// Fills in a head where values begin like `value` in `len` bits, which lead to `at`.
    fn fill(&self, head: &mut [Head<C>], bits: u32, value: P, len: u8, at: Head<C>) {
        let mut put = |value: P, len: u8, at: Head<C>| {
            let (first, end) = (value.top(bits), value.top(bits) + (1 << (bits - u32::from(len))));
            if let Some(values) = head.get_mut(first..end.min(head.len())) {
                values.fill(at);
            }
        };
        let Some(node) = self.node(at.link).filter(|node| u32::from(node.len()) < bits) else {
            return put(value, len, at);
        };
        let leaves = |agreed: u8| Head { link: 0, above: [0; 2], bits: agreed + 1, ..at };
        let agreed = node.agrees(value);
        if agreed < len {
            return put(value, len, leaves(agreed));
        }
        for agreed in len..node.len() {
            put(node.path.head(agreed).with(agreed, 1 - node.path.bit(agreed)), agreed + 1, leaves(agreed));
        }
        let next = at.passing(node);
        for (side, link) in node.children.into_iter().enumerate() {
            self.fill(head, bits, node.path.with(node.len(), side), node.len() + 1, Head { link, ..next });
        }
    }

    /// Where a search for a prefix of `len` bits may begin.
    fn start(&self, value: P, len: u8) -> Place {
        match self.head_of(value).filter(|head| u32::from(len) >= self.head_bits() && head.above[0] != 0) {
            Some(Head { link, above, .. }) => Place { link: *link, above: *above },
            None => Place { link: self.root, above: [0; 2] },
        }
    }

    /// The length of a node; that of no prefix, if it is none.
    fn len_of(&self, link: Link) -> u8 {
        self.node(link).map_or(0, Node::len)
    }

    fn seek(&self, value: P, len: u8) -> Place {
        let mut place = self.start(value, len);
        while place.step(self, value, len) {}
        place
    }

    fn insert(&mut self, value: P, len: u8, place: Place, column: u32) {
        if len > 0 {
            let value = value.head(len);
            let changed = self.put(value, len, place, column);
            self.mend(value, changed);
        }
    }

    /// Adds a prefix; returns the length of the shortest that led somewhere else before, or to other masks.
    fn put(&mut self, value: P, len: u8, Place { link, above: [above, _] }: Place, column: u32) -> u8 {
        let above_len = self.len_of(above);
        let Some(node) = self.node(link) else {
            let leaf = self.add_leaf(value, len, column);
            self.point(value, above, leaf);
            return above_len;
        };
        let agreed = node.agrees(value).min(len);
        if agreed == node.len() {
            let is_new = node.rules() == 0 || node.holders.with(column) != node.holders;
            self.change(link, |node| node.hold(column));
            return if is_new { len } else { u8::MAX };
        }
        let (mut children, path) = ([0; 2], node.path);
        children[path.bit(agreed)] = link;
        let mut fork = Node::fork(value.head(agreed), agreed, children);
        if agreed < len {
            fork.children[value.bit(agreed)] = self.add_leaf(value, len, column);
        } else {
            fork.hold(column);
        }
        let fork = self.add(fork);
        self.point(value, above, fork);
        above_len
    }

    fn add_leaf(&mut self, value: P, len: u8, column: u32) -> Link {
        let mut leaf = Node::fork(value, len, [0; 2]);
        leaf.hold(column);
        self.add(leaf)
    }

    fn remove(&mut self, value: P, len: u8, place: Place) {
        let value = value.head(len);
        let changed = self.take(value, len, place);
        self.mend(value, changed);
    }

    /// Removes a prefix; returns the length of the shortest that led somewhere else before.
    fn take(&mut self, value: P, len: u8, Place { link, above: [fork, above] }: Place) -> u8 {
        let is_it = |node: &&Node<P, C>| node.len() == len && node.agrees(value) == len;
        let Some(rules) = self.node(link).filter(is_it).map(Node::rules) else { return u8::MAX };
        self.change(link, Node::release);
        self.prune(value, link, fork);
        self.prune(value, fork, above);
        if rules > 1 { u8::MAX } else { self.len_of(above) }
    }

    /// Takes a node out that no rule and no fork needs.
    fn prune(&mut self, value: P, link: Link, above: Link) {
        if let Some(Node { children: [only, 0] | [0, only], .. }) = self.node(link).filter(|node| node.rules() == 0) {
            let only = *only;
            self.point(value, above, only);
            let next = core::mem::replace(&mut self.free, link);
            self.change(link, |node| node.children = [next, 0]);
        }
    }

    /// Has a value led from a node, or from the root if that is none.
    fn point(&mut self, value: P, from: Link, to: Link) {
        if from == 0 {
            self.root = to;
        }
        self.change(from, |node| node.children[value.bit(node.len())] = to);
    }

    fn add(&mut self, node: Node<P, C>) -> Link {
        let link = self.free;
        if let Some(next) = self.node(link).map(|free| free.children[0]) {
            self.free = next;
            self.change(link, |place| *place = node);
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
    use super::{Folded, Head, Link, Nodes, Path, Trie, bits_of};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn head(value: u128, len: u8) -> u128 {
        value.head(len)
    }

    fn live<P: Path>(nodes: &Nodes<P, Folded>) -> usize {
        let next = |link: &Link| nodes.node(*link).map(|node| node.children[0]).filter(|next| *next != 0);
        let free = core::iter::successors(Some(nodes.free).filter(|link| *link != 0), next);
        nodes.nodes.len() - free.count()
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
        ) {
            let mut trie = Trie::<Folded>::new(if shift == 0 { 32 } else { 128 });
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
                for column in 0..64 {
                    let has = |p: &(u128, u8, u32)| p.0 == head(value, p.1);
                    let there = list.iter().any(|p| p.2 % 64 == column && has(p));
                    let said = answer.holders.0 >> column & 1 != 0;
                    prop_assert!(said || !there, "a mask is missing");
                    prop_assert!(!said || list.iter().any(has), "a mask is told of a prefix that nobody has");
                }
                // The bits decide: whatever follows them, the same lengths are there.
                let rest: Vec<u128> = [0, u128::MAX].map(|fill| head(value, answer.bits) | fill & !head(u128::MAX, answer.bits)).into();
                for other in rest {
                    prop_assert_eq!((trie.find(other).lens, trie.find(other).holders), (answer.lens, answer.holders));
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

    /// Whatever there is of heads says what a walk from the root says.
    fn check_heads(nodes: &Nodes<u32, Folded>) {
        let whole = [&nodes.head, &nodes.base].map(|head| (head, bits_of(head)));
        let heads = nodes.making.iter().map(|making| (&making.head, making.bits)).chain(whole);
        let root = Head { link: nodes.root, ..Head::default() };
        for (head, bits) in heads {
            for (i, head) in head.iter().enumerate() {
                let found = nodes.find_head_from(root, Path::from_top(i, bits), bits);
                assert_eq!(*head, found, "value {i} of {bits} bits");
            }
        }
    }

    #[test]
    fn a_head_is_made_by_and_by() {
        let mut nodes = Nodes::<u32, Folded>::default();
        let (mut before, mut steps) = (0, 0);
        for n in 0..64u32 {
            let value = n.wrapping_mul(0x9e37_79b9);
            nodes.insert(value, 32, nodes.seek(value, 32), n);
            let made = nodes.making.as_ref().map_or(0, |making| making.head.len());
            assert!(made <= before + super::MADE, "a change makes a few");
            (before, steps) = (made, steps + usize::from(made > 0));
            check_heads(&nodes);
        }
        assert!(nodes.head_bits() == 6 && steps > 16, "{steps}");
    }

    #[test]
    fn heads_follow_prefixes_that_come_and_go() {
        let mut nodes = Nodes::<u32, Folded>::default();
        let mut there = Vec::new();
        let mut random = 1u64;
        for n in 0..3_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Of 1 to 12 bits, so that most end where heads look; first more come than go, then the other way round.
            let (value, len) = ((random >> 32) as u32, 1 + (random >> 20) as u8 % 12);
            if (random >> 8) % 8 < if n < 1_500 { 5 } else { 2 } {
                nodes.insert(value, len, nodes.seek(value, len), n);
                there.push((value, len));
            } else if !there.is_empty() {
                let (value, len) = there.swap_remove(random as usize % there.len());
                nodes.remove(value, len, nodes.seek(value, len));
            }
            check_heads(&nodes);
        }
        assert!(nodes.head_bits() == 6 && there.len() < 100, "{}", there.len());
    }

    #[test]
    fn a_prefix_of_too_many_rules_stays() {
        let mut trie = Trie::<Folded>::new(32);
        trie.insert(1 << 127, 1, trie.seek(1 << 127, 1), 0);
        let Trie::Short(nodes) = &mut trie else { unreachable!("32 bits are few") };
        nodes.change(1, |node| node.rules_and_len |= u32::MAX << 8);
        trie.insert(1 << 127, 1, trie.seek(1 << 127, 1), 0);
        trie.remove(1 << 127, 1, trie.seek(1 << 127, 1));
        assert_eq!(trie.find(1 << 127).rules_out(1), None);
    }
}
