//! Prefixes of one field, as a path-compressed binary trie: how few bits of a value show which prefixes it has not.
//!
//! Each node is a prefix; its children continue it by 0 and by 1. A node is there because rules have exactly this
//! prefix, or because two longer ones part here. So a value walks down as far as it agrees, and where it leaves the
//! trie, the bits up to the one that differs prove that no longer prefix is its own.
//!
//! Values are left-aligned in 128 bits. The prefix of length 0 is everyone's and not kept.

use alloc::vec::Vec;

#[derive(Clone, Debug, Default)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    root: Link,
    free: Vec<u32>,
    /// In a large trie, what is found in the nodes of fewer bits than a head has; else empty.
    head: Vec<Head>,
}

/// How many bits of a value the head is indexed by, from how many nodes on. A change near the root costs a step for each
/// of at most 2^12 values; there are few, where nodes are many.
const HEADS: [(usize, u32); 2] = if cfg!(test) { [(8, 4), (24, 6)] } else { [(1 << 12, 8), (1 << 16, 12)] };

/// Where the first bits of a value lead.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    link: Link,
    /// The nodes above the link, the next first; none where the value's first bits leave the trie.
    above: [Link; 2],
    /// As in [`Answer`], of the nodes before.
    lens: u16,
    bits: u8,
}

/// A node's place plus one; 0 is none.
type Link = u32;

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The prefix, zero behind its end.
    path: u128,
    children: [Link; 2],
    /// How many rules have exactly this prefix.
    rules: u32,
    len: u8,
}

impl Node {
    /// How many leading bits a value shares with the prefix.
    #[inline(always)]
    fn agrees(&self, value: u128) -> u8 {
        if self.len <= 64 {
            return (((self.path ^ value) >> 64) as u64).leading_zeros().min(u32::from(self.len)) as u8;
        }
        common(self.path, value).min(self.len)
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

fn bit(value: u128, at: u8) -> usize {
    (value >> (127 - u32::from(at.min(127))) & 1) as usize
}

fn head(value: u128, len: u8) -> u128 {
    value & !u128::MAX.checked_shr(len.into()).unwrap_or(0)
}

fn common(a: u128, b: u128) -> u8 {
    (a ^ b).leading_zeros() as u8
}

impl Trie {
    pub(crate) fn heap_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.free.capacity() * size_of::<u32>()
            + self.head.capacity() * size_of::<Head>()
    }

    fn node(&self, link: Link) -> Option<&Node> {
        self.nodes.get(link.checked_sub(1)? as usize)
    }

    fn node_mut(&mut self, link: Link) -> Option<&mut Node> {
        self.nodes.get_mut(link.checked_sub(1)? as usize)
    }

    pub(crate) fn find(&self, value: u128) -> Answer {
        let start = self.head_of(value).copied().unwrap_or(Head { link: self.root, ..Head::default() });
        // The upper half is all there is of most fields, and half the work.
        let high = (value >> 64) as u64;
        let (mut link, mut lens, mut bits) = (start.link, u64::from(start.lens), start.bits);
        loop {
            let Some(node) = self.node(link) else { return Answer { lens: lens.into(), bits } };
            if node.len >= 64 {
                return self.find_below(link, value, Answer { lens: lens.into(), bits });
            }
            let agreed = node.agrees(value);
            if agreed < node.len {
                return Answer { lens: lens.into(), bits: agreed + 1 };
            }
            lens |= u64::from(node.rules > 0) << (node.len.wrapping_sub(1) & 63);
            // The next bit is read, whether or not something goes on from it; unless nothing can.
            bits = node.len + u8::from(node.children != [0, 0]);
            link = node.children[(high >> (63 - node.len) & 1) as usize];
        }
    }

    /// Goes on with finding from a node of a length that the upper half does not have.
    #[cold]
    fn find_below(&self, mut link: Link, value: u128, mut answer: Answer) -> Answer {
        while let Some(node) = self.node(link) {
            let agreed = node.agrees(value);
            if agreed < node.len {
                answer.bits = agreed + 1;
                break;
            }
            if node.rules > 0 {
                answer.lens |= 1 << (node.len.wrapping_sub(1) & 63);
            }
            answer.bits = node.len + u8::from(node.children != [0, 0]);
            link = node.children[bit(value, node.len)];
        }
        answer
    }

    /// How many bits of a value the head is indexed by; 0 if there is none.
    #[inline(always)]
    fn head_bits(&self) -> u32 {
        self.head.len().max(1).ilog2()
    }

    #[inline(always)]
    fn head_of(&self, value: u128) -> Option<&Head> {
        let high = (value >> 64) as u64;
        self.head.get(high.checked_shr(64 - self.head_bits())? as usize)
    }

    /// What finding comes to with the bits that the head has, of `value`: at a node that needs more.
    fn find_head(&self, value: u128) -> Head {
        let mut head = Head { link: self.root, ..Head::default() };
        while let Some(node) = self.node(head.link).filter(|node| u32::from(node.len) < self.head_bits()) {
            let agreed = node.agrees(value);
            if agreed < node.len {
                return Head { link: 0, above: [0; 2], bits: agreed + 1, ..head };
            }
            head.lens |= u16::from(node.rules > 0) << (node.len.wrapping_sub(1) & 15);
            head.bits = node.len + u8::from(node.children != [0, 0]);
            head.above = [head.link, head.above[0]];
            head.link = node.children[bit(value, node.len)];
        }
        head
    }

    /// Restores the head where it depends on a node of length `len` and what it leads to.
    fn mend(&mut self, value: u128, len: u8) {
        let (old, nodes) = (self.head_bits(), self.nodes.len());
        let bits = HEADS.iter().filter(|(from, _)| *from <= nodes).map(|(_, bits)| *bits).max().unwrap_or(0).max(old);
        if bits == 0 || u32::from(len) >= bits {
            return;
        }
        let len = if bits == old { len } else { 0 };
        self.head.resize(1 << bits, Head::default());
        let first = (head(value, len) >> (128 - bits)) as usize;
        for i in first..first + (1 << (bits - u32::from(len))) {
            let found = self.find_head((i as u128) << (128 - bits));
            if let Some(head) = self.head.get_mut(i) {
                *head = found;
            }
        }
    }

    /// Adds the first `len` bits of `value`.
    pub(crate) fn insert(&mut self, value: u128, len: u8) {
        if len == 0 {
            return;
        }
        let value = head(value, len);
        let changed = self.put(value, len);
        self.mend(value, changed);
    }

    /// Where a walk to a prefix of `len` bits may begin.
    fn start(&self, value: u128, len: u8) -> Start {
        match self.head_of(value).filter(|_| u32::from(len) >= self.head_bits()) {
            Some(Head { link, above: [above, second], .. }) if *above != 0 => {
                let len = |link| self.node(link).map_or(0, |node| node.len);
                let side = |link| self.node(link).map(|node| (link, bit(value, node.len)));
                Start { link: *link, above: [side(*above), side(*second)], lens: [len(*above), len(*second)] }
            }
            _ => Start { link: self.root, above: [None; 2], lens: [0; 2] },
        }
    }

    /// Adds a prefix; returns the length of the shortest that led somewhere else before.
    fn put(&mut self, value: u128, len: u8) -> u8 {
        let Start { mut link, above: [mut above, _], lens: [mut above_len, _] } = self.start(value, len);
        while let Some(node) = self.node(link) {
            let agreed = node.agrees(value).min(len);
            if agreed < node.len {
                let (mut children, node) = ([0; 2], *node);
                children[bit(node.path, agreed)] = link;
                let mut rules = 1;
                if agreed < len {
                    children[bit(value, agreed)] = self.add(Node { path: value, children: [0; 2], rules: 1, len });
                    rules = 0;
                }
                let fork = self.add(Node { path: head(value, agreed), children, rules, len: agreed });
                self.point(above, fork);
                return above_len;
            }
            if node.len == len {
                let is_new = node.rules == 0;
                if let Some(node) = self.node_mut(link) {
                    node.rules += 1;
                }
                return if is_new { len } else { u8::MAX };
            }
            let side = bit(value, node.len);
            (above, above_len, link) = (Some((link, side)), node.len, node.children[side]);
        }
        let leaf = self.add(Node { path: value, children: [0; 2], rules: 1, len });
        self.point(above, leaf);
        above_len
    }

    /// Removes a prefix that was added.
    pub(crate) fn remove(&mut self, value: u128, len: u8) {
        let value = head(value, len);
        let changed = self.take(value, len);
        self.mend(value, changed);
    }

    /// Removes a prefix; returns the length of the shortest that led somewhere else before.
    fn take(&mut self, value: u128, len: u8) -> u8 {
        let Start { mut link, mut above, mut lens } = self.start(value, len);
        while let Some(node) = self.node(link) {
            if node.agrees(value).min(len) < node.len {
                return u8::MAX;
            }
            if node.len == len {
                let rules = node.rules;
                if let Some(node) = self.node_mut(link) {
                    node.rules = node.rules.saturating_sub(1);
                }
                self.prune(link, above[0]);
                if let Some((fork, _)) = above[0] {
                    self.prune(fork, above[1]);
                }
                return if rules > 1 { u8::MAX } else { lens[1] };
            }
            let side = bit(value, node.len);
            (above, lens) = ([Some((link, side)), above[0]], [node.len, lens[0]]);
            link = node.children[side];
        }
        u8::MAX
    }

    /// Takes a node out that no rule and no fork needs.
    fn prune(&mut self, link: Link, above: Option<(Link, usize)>) {
        if let Some(&Node { rules: 0, children: [only, 0] | [0, only], .. }) = self.node(link) {
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

    fn add(&mut self, node: Node) -> Link {
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
    use super::{Trie, head};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Values of ten bits, so that prefixes meet.
    fn prefix() -> impl Strategy<Value = (u128, u8)> {
        (0..1024u128, 1..=10u8).prop_map(|(value, len)| (head(value << 118, len), len))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn says_what_a_list_says_in_no_more_bits_than_needed(
            prefixes in prop::collection::vec(prefix(), 0..24),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..16),
        ) {
            let mut trie = Trie::default();
            let mut list = prefixes;
            list.iter().for_each(|(value, len)| trie.insert(*value, *len));
            for index in gone {
                if !list.is_empty() {
                    let (value, len) = list.swap_remove(index.index(list.len()));
                    trie.remove(value, len);
                }
            }
            let live = trie.nodes.len() - trie.free.len();
            prop_assert!(live <= 2 * list.len(), "{live} nodes for {} prefixes", list.len());
            for n in 0..1024u128 {
                let value = n << 118;
                let answer = trie.find(value);
                for len in 1..=10 {
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
}
