//! Sets of the key's words, its blocks, and its stages.

use super::WORDS;

/// A set of word indexes of a [`FlowKey`](super::FlowKey).
///
/// ```
/// use ovs_packet::key::WordSet;
///
/// let s: WordSet = [3, 1, 3].into_iter().collect();
/// assert_eq!(s.iter().collect::<Vec<_>>(), [1, 3]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct WordSet {
    // Two halves and not one u128, which would make whatever holds a set 16-byte aligned.
    low: u64,
    high: u64,
}

impl WordSet {
    /// No word.
    pub const EMPTY: WordSet = WordSet { low: 0, high: 0 };

    /// The set as bits: bit `i` stands for word `i`.
    pub const fn bits(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }

    pub(super) const fn from_bits(bits: u128) -> WordSet {
        WordSet { low: bits as u64, high: (bits >> 64) as u64 }
    }

    /// How many words are in the set.
    pub const fn len(self) -> usize {
        self.bits().count_ones() as usize
    }

    /// Whether no word is in the set.
    pub const fn is_empty(self) -> bool {
        self.bits() == 0
    }

    /// Whether word `i` is in the set.
    #[inline(always)]
    pub const fn contains(self, i: usize) -> bool {
        i < WORDS && (if i < 64 { self.low >> i } else { self.high >> (i - 64) }) & 1 != 0
    }

    /// Adds word `i`; a word that the layout does not have is ignored.
    pub const fn insert(&mut self, i: usize) {
        if i < WORDS {
            let half = if i < 64 { &mut self.low } else { &mut self.high };
            *half |= 1 << (i & 63);
        }
    }

    /// Takes word `i` out.
    pub const fn remove(&mut self, i: usize) {
        if i < WORDS {
            *self = WordSet::from_bits(self.bits() & !(1 << i));
        }
    }

    /// How many words of the set lie below word `i`: the place of word `i` among packed words.
    #[inline(always)]
    pub const fn rank(self, i: usize) -> usize {
        const fn below(bits: u64, i: usize) -> usize {
            (bits & ((1 << (i & 63)) - 1)).count_ones() as usize
        }
        match i {
            0..64 => below(self.low, i),
            64..128 => self.low.count_ones() as usize + below(self.high, i),
            _ => self.len(),
        }
    }

    /// The place of word `i` among packed words, if it is in the set.
    #[inline(always)]
    pub const fn find(self, i: usize) -> Option<usize> {
        let (half, before) = match i {
            0..64 => (self.low, 0),
            64..128 => (self.high, self.low.count_ones()),
            _ => return None,
        };
        let bit = 1 << (i & 63);
        if half & bit == 0 { None } else { Some((before + (half & (bit - 1)).count_ones()) as usize) }
    }

    /// Whether every word of this set is in `other`.
    pub const fn is_within(self, other: WordSet) -> bool {
        self.low & !other.low | self.high & !other.high == 0
    }

    /// The blocks that the words are in.
    pub const fn blocks(self) -> BlockSet {
        let (mut blocks, mut b) = (0, 0);
        while b < WORDS / 8 {
            if self.bits() >> (8 * b) & 0xff != 0 {
                blocks |= 1 << b;
            }
            b += 1;
        }
        BlockSet(blocks)
    }

    /// Calls `f` for the indexes in the set, ascending: quicker than to iterate over them.
    #[inline(always)]
    pub(crate) fn for_each(self, mut f: impl FnMut(usize)) {
        for (mut rest, base) in [(self.low, 0), (self.high, 64)] {
            while rest != 0 {
                f(base + rest.trailing_zeros() as usize);
                rest &= rest - 1;
            }
        }
    }

    /// The indexes in the set, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        // The half that is read, and then the other.
        let (mut rest, mut then, mut base) = (self.low, self.high, 0);
        core::iter::from_fn(move || {
            if rest == 0 {
                (rest, then, base) = (then, 0, 64);
                if rest == 0 {
                    return None;
                }
            }
            let i = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            Some(base + i)
        })
    }
}

impl FromIterator<usize> for WordSet {
    fn from_iter<I: IntoIterator<Item = usize>>(words: I) -> Self {
        let mut set = WordSet::EMPTY;
        words.into_iter().for_each(|i| set.insert(i));
        set
    }
}

/// A 64-byte block of the key: one cache line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Block {
    /// What nearly every packet needs.
    Core = 0,
    /// IPv6, neighbour discovery, ARP hardware addresses.
    Network = 1,
    /// Conntrack label and original IPv4 tuple, marks, inner VLAN, MPLS.
    Extra = 2,
    /// OpenFlow metadata and the original IPv6 tuple.
    Metadata = 3,
    /// Registers 0 to 15.
    Registers = 4,
    /// Registers 16 to 31.
    UpperRegisters = 5,
    /// Tunnel.
    Tunnel = 6,
    /// Presence of tunnel options, and NSH.
    Service = 7,
    /// First 64 bytes of tunnel option values.
    Options0 = 8,
    /// Bytes 64 to 127 of tunnel option values.
    Options1 = 9,
    /// Bytes 128 to 191 of tunnel option values.
    Options2 = 10,
    /// Last 64 bytes of tunnel option values.
    Options3 = 11,
}

/// A set of blocks of the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct BlockSet(u16);

impl BlockSet {
    /// No block.
    pub const EMPTY: BlockSet = BlockSet(0);
    /// All blocks.
    pub const ALL: BlockSet = BlockSet((1 << (WORDS / 8)) - 1);
    /// The core block alone.
    pub const CORE: BlockSet = BlockSet(1);

    /// The set as bits: bit `i` stands for block `i`.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// This set and `block`.
    pub const fn with(self, block: Block) -> BlockSet {
        BlockSet(self.0 | 1 << block as u8)
    }

    /// Whether block number `i` is in the set.
    pub const fn contains(self, i: usize) -> bool {
        i < WORDS / 8 && self.0 >> i & 1 != 0
    }
}

/// The stages of a lookup, in the order in which they are tried: a rule that differs in an early stage need not
/// be compared, nor its bits noted, in the later ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Stage {
    /// Ports, registers, connection tracking.
    Metadata = 0,
    /// Ethernet and VLAN.
    L2 = 1,
    /// IP, ARP protocol addresses, MPLS.
    L3 = 2,
    /// Ports, ICMP, ND and ARP hardware addresses.
    L4 = 3,
}

/// The stage of every word of the key, as numbers.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
pub const STAGES: [u8; WORDS] = {
    use Stage::*;
    let mut stages = [Metadata as u8; WORDS];
    let ranges: [(usize, usize, Stage); 8] =
        [(2, 4, L2), (5, 6, L3), (7, 7, L4), (8, 11, L3), (12, 15, L4), (21, 21, L2), (22, 23, L3), (57, 59, L3)];
    let mut r = 0;
    while r < ranges.len() {
        let (mut word, last, stage) = ranges[r];
        while word <= last {
            stages[word] = stage as u8;
            word += 1;
        }
        r += 1;
    }
    stages
};

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::super::FlowKey;
    use super::*;

    #[test]
    fn stages_follow_the_layout() {
        let stage = |offset: usize| STAGES[offset / 8];
        assert_eq!(stage(offset_of!(FlowKey, in_port)), Stage::Metadata as u8);
        assert_eq!(stage(offset_of!(FlowKey, ct_mark)), Stage::Metadata as u8);
        assert_eq!(stage(offset_of!(FlowKey, eth_dst)), Stage::L2 as u8);
        assert_eq!(stage(offset_of!(FlowKey, vlan_tpid)), Stage::L2 as u8);
        assert_eq!(stage(offset_of!(FlowKey, nw_dst)), Stage::L3 as u8);
        assert_eq!(stage(offset_of!(FlowKey, ipv6_label)), Stage::L3 as u8);
        assert_eq!(stage(offset_of!(FlowKey, ipv6_dst)), Stage::L3 as u8);
        assert_eq!(stage(offset_of!(FlowKey, tcp_flags)), Stage::L4 as u8);
        assert_eq!(stage(offset_of!(FlowKey, nd_target)), Stage::L4 as u8);
        assert_eq!(stage(offset_of!(FlowKey, arp_tha)), Stage::L4 as u8);
        assert_eq!(stage(offset_of!(FlowKey, inner_vlan_tci)), Stage::L2 as u8);
        assert_eq!(stage(offset_of!(FlowKey, mpls_lse)), Stage::L3 as u8);
        assert_eq!(stage(offset_of!(FlowKey, regs)), Stage::Metadata as u8);
        assert_eq!(stage(offset_of!(FlowKey, igmp_group)), Stage::L4 as u8);
        assert_eq!(stage(offset_of!(FlowKey, tun_present)), Stage::Metadata as u8);
        assert_eq!(stage(offset_of!(FlowKey, nsh_flags)), Stage::L3 as u8);
        assert_eq!(stage(offset_of!(FlowKey, nsh_context) + 12), Stage::L3 as u8);
        assert_eq!(stage(offset_of!(FlowKey, tun_metadata)), Stage::Metadata as u8);
    }

    #[test]
    fn rank_counts_below() {
        let s: WordSet = [0, 5, 95].into_iter().collect();
        assert_eq!([s.rank(0), s.rank(1), s.rank(6), s.rank(128)], [0, 1, 2, 3]);
        assert!(!s.contains(96) && s.len() == 3);
        assert_eq!([s.find(0), s.find(5), s.find(95)], [Some(0), Some(1), Some(2)]);
        assert_eq!([s.find(1), s.find(64), s.find(96), s.find(128), s.find(usize::MAX)], [None; 5]);
    }

    #[test]
    fn blocks_follow_the_layout() {
        assert_eq!(offset_of!(FlowKey, ipv6_src), 64 * Block::Network as usize);
        assert_eq!(offset_of!(FlowKey, ct_label), 64 * Block::Extra as usize);
        assert_eq!(offset_of!(FlowKey, metadata), 64 * Block::Metadata as usize);
        assert_eq!(offset_of!(FlowKey, regs), 64 * Block::Registers as usize);
        assert_eq!(offset_of!(FlowKey, tun_id), 64 * Block::Tunnel as usize);
        assert_eq!(offset_of!(FlowKey, tun_present), 64 * Block::Service as usize);
        assert_eq!(offset_of!(FlowKey, tun_metadata), 64 * Block::Options0 as usize);
    }
}
