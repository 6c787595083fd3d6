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
        self.nodes.capacity() * size_of::<Node>() + self.free.capacity() * size_of::<u32>()
    }

    fn node(&self, link: Link) -> Option<&Node> {
        self.nodes.get(link.checked_sub(1)? as usize)
    }

    fn node_mut(&mut self, link: Link) -> Option<&mut Node> {
        self.nodes.get_mut(link.checked_sub(1)? as usize)
    }

    #[inline(always)]
    pub(crate) fn find(&self, value: u128) -> Answer {
        let mut answer = Answer::default();
        let mut link = self.root;
        while let Some(node) = self.node(link) {
            let agreed = common(node.path, value).min(node.len);
            if agreed < node.len {
                answer.bits = agreed + 1;
                break;
            }
            if node.rules > 0 {
                answer.lens |= 1 << (node.len - 1);
            }
            answer.bits = node.len;
            if node.children == [0, 0] {
                break;
            }
            // The next bit is read, whether or not something goes on from it.
            answer.bits += 1;
            link = node.children[bit(value, node.len)];
        }
        answer
    }

    /// Adds the first `len` bits of `value`.
    pub(crate) fn insert(&mut self, value: u128, len: u8) {
        if len == 0 {
            return;
        }
        let value = head(value, len);
        let (mut above, mut link) = (None, self.root);
        while let Some(node) = self.node(link).copied() {
            let agreed = common(node.path, value).min(node.len).min(len);
            if agreed < node.len {
                let mut children = [0; 2];
                children[bit(node.path, agreed)] = link;
                let mut rules = 1;
                if agreed < len {
                    children[bit(value, agreed)] = self.add(Node { path: value, children: [0; 2], rules: 1, len });
                    rules = 0;
                }
                let fork = self.add(Node { path: head(value, agreed), children, rules, len: agreed });
                self.point(above, fork);
                return;
            }
            if node.len == len {
                if let Some(node) = self.node_mut(link) {
                    node.rules += 1;
                }
                return;
            }
            let side = bit(value, node.len);
            (above, link) = (Some((link, side)), node.children[side]);
        }
        let leaf = self.add(Node { path: value, children: [0; 2], rules: 1, len });
        self.point(above, leaf);
    }

    /// Removes a prefix that was added.
    pub(crate) fn remove(&mut self, value: u128, len: u8) {
        let value = head(value, len);
        let (mut above, mut link) = ([None; 2], self.root);
        while let Some(node) = self.node(link).copied() {
            if common(node.path, value).min(len) < node.len {
                return;
            }
            if node.len == len {
                if let Some(node) = self.node_mut(link) {
                    node.rules = node.rules.saturating_sub(1);
                }
                self.prune(link, above[0]);
                if let Some((fork, _)) = above[0] {
                    self.prune(fork, above[1]);
                }
                return;
            }
            let side = bit(value, node.len);
            above = [Some((link, side)), above[0]];
            link = node.children[side];
        }
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
