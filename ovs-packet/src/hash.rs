//! Hashes of keys and of packets' tuples.
//!
//! [`five_tuple`] is the same for all packets of one direction of a flow; the symmetric ones are the same for both
//! directions. [`HashFields`] are the hashes that OpenFlow's `multipath`, `bundle` and `hash` actions choose from by name
//! or number; each of them says by a mask which bits of the key it read, so that the megaflow can say so too.
//! [`of_fields`] hashes any list of fields, as a select group does.
//!
//! A symmetric hash takes the lesser of two addresses first, then the greater: it keeps what their exclusive or would
//! lose, so that 10.0.0.1 to 10.0.0.2 and 10.0.0.5 to 10.0.0.6 differ.
//!
//! Not keyed against an attacker: tables that traffic fills and that must not collide seed a non-linear hash of
//! their own (see `ovs-conntrack`). The numbers are ours, not those of another switch.

use core::fmt;
use core::str::FromStr;

use crate::extract::{ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP};
use crate::field::FieldId;
use crate::key::{FlowKey, FlowMask, VLAN_PRESENT, VLAN_VID_MASK};

/// Folded-multiply mixing of u64 words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mixer(u64);

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

impl Mixer {
    pub(crate) const fn new(seed: u64) -> Self {
        Mixer(seed ^ 0x243f_6a88_85a3_08d3)
    }

    pub(crate) fn word(&mut self, w: u64) {
        self.0 = fold(self.0 ^ w, MULTIPLIER) ^ w.rotate_left(32);
    }

    pub(crate) fn block(&mut self, block: &[u64; 8]) {
        // Two words a multiplication, in lanes that do not wait for one another.
        let [a, b, c, d, e, f, g, h] = *block;
        let lanes = fold(a ^ 0x1319_8a2e_0370_7344, b ^ MULTIPLIER)
            ^ fold(c ^ 0xa409_3822_299f_31d0, d ^ MULTIPLIER).rotate_left(17)
            ^ fold(e ^ 0x082e_fa98_ec4e_6c89, f ^ MULTIPLIER).rotate_left(31)
            ^ fold(g ^ 0x4528_21e6_38d0_1377, h ^ MULTIPLIER).rotate_left(47);
        self.word(lanes);
    }

    pub(crate) const fn finish(self) -> u64 {
        fold(self.0 ^ 0xbe54_66cf_34e9_0c6c, MULTIPLIER)
    }
}

/// Constants for what is hashed in parallel, so that equal words in different places differ.
const LANES: [u64; 3] = [0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89, 0x4528_21e6_38d0_1377];

/// A hash of the addresses, protocol and ports, in all 64 bits; the same for all packets of a flow in one direction.
///
/// For IP and ARP packets only; every other packet hashes to the same value for the same seed.
pub fn five_tuple(key: &FlowKey, seed: u64) -> u64 {
    let mut h = Mixer::new(seed);
    let [a, b, c] = LANES;
    let ports = u64::from(key.nw_proto) << 32 | u64::from(key.tp_src.get()) << 16 | u64::from(key.tp_dst.get());
    match key.eth_type.get() {
        ETH_TYPE_IPV6 => {
            let (src, dst) = (key.ipv6_src.get(), key.ipv6_dst.get());
            let src = fold((src >> 64) as u64 ^ a, src as u64 ^ MULTIPLIER);
            let dst = fold((dst >> 64) as u64 ^ b, dst as u64 ^ c);
            h.word(src ^ dst.rotate_left(23) ^ ports);
        }
        ETH_TYPE_IPV4 | ETH_TYPE_ARP => {
            let addresses = u64::from(key.nw_src.get()) << 32 | u64::from(key.nw_dst.get());
            h.word(fold(addresses ^ a, ports ^ MULTIPLIER));
        }
        _ => {}
    }
    h.finish()
}

/// A hash of both Ethernet addresses, VLAN ids and Ethertype, the same in both directions. Packets without an Ethernet
/// header hash to the same value for the same seed.
pub fn symmetric_l2(key: &FlowKey, seed: u64) -> u64 {
    let mut h = Mixer::new(seed);
    if key.packet_type == 0 {
        link(key, &mut h);
    }
    h.finish()
}

/// A hash of Ethernet and IP addresses, VLAN ids, Ethertype, protocol, and of TCP's and SCTP's ports, the same in both
/// directions.
pub fn symmetric_l4(key: &FlowKey, seed: u64) -> u64 {
    let mut h = Mixer::new(seed);
    link(key, &mut h);
    if addresses(key, &mut h) {
        h.word(key.nw_proto.into());
        if matches!(key.nw_proto, IP_PROTO_TCP | IP_PROTO_SCTP) {
            h.word(ordered(key.tp_src.get(), key.tp_dst.get()));
        }
    }
    h.finish()
}

/// A hash of IP addresses, protocol, and of the ports of TCP, SCTP and, with `udp`, UDP, the same in both directions and
/// for all fragments of a datagram; of packets that are not IP, [`symmetric_l2`].
pub fn symmetric_l3l4(key: &FlowKey, seed: u64, udp: bool) -> u64 {
    let mut h = Mixer::new(seed);
    if !addresses(key, &mut h) {
        return symmetric_l2(key, seed);
    }
    h.word(key.nw_proto.into());
    let ports = matches!(key.nw_proto, IP_PROTO_TCP | IP_PROTO_SCTP) || udp && key.nw_proto == IP_PROTO_UDP;
    if ports && key.nw_frag == 0 {
        h.word(ordered(key.tp_src.get(), key.tp_dst.get()));
    }
    h.finish()
}

/// A hash of Ethertype and IP addresses, the same in both directions.
pub fn symmetric_l3(key: &FlowKey, seed: u64) -> u64 {
    let mut h = Mixer::new(seed);
    h.word(key.eth_type.get().into());
    addresses(key, &mut h);
    h.finish()
}

/// A hash of those of `fields` that the packet has: each field's prerequisites must hold for its key.
pub fn of_fields(key: &FlowKey, fields: &[FieldId], seed: u64) -> u64 {
    let mut mask = FlowMask::EMPTY;
    fields.iter().filter(|f| f.info().prereq.holds(key)).for_each(|f| mask.add(*f));
    masked(key, &mask, seed)
}

/// A hash of the bits of `mask` in `key`.
pub fn masked(key: &FlowKey, mask: &FlowMask, seed: u64) -> u64 {
    let mut h = Mixer::new(seed);
    let words = key.words().iter().zip(mask.bits.words()).enumerate();
    for (i, (word, mask)) in words.filter(|(_, (_, mask))| **mask != 0) {
        h.word(i as u64);
        h.word(word & mask);
    }
    h.finish()
}

fn link(key: &FlowKey, h: &mut Mixer) {
    let address = |a: [u8; 6]| a.into_iter().fold(0, |word, byte| word << 8 | u64::from(byte));
    let (src, dst) = (address(key.eth_src.0), address(key.eth_dst.0));
    let vid = |tci: u16| u64::from(tci & VLAN_VID_MASK);
    h.word(src.min(dst) | u64::from(key.eth_type.get()) << 48);
    h.word(src.max(dst) | (vid(key.vlan_tci.get()) ^ vid(key.inner_vlan_tci.get())) << 48);
}

/// Hashes the addresses of an IP packet; false if it is none.
fn addresses(key: &FlowKey, h: &mut Mixer) -> bool {
    match key.eth_type.get() {
        ETH_TYPE_IPV4 => {
            let (src, dst) = (u64::from(key.nw_src.get()), u64::from(key.nw_dst.get()));
            h.word(src.min(dst) << 32 | src.max(dst));
        }
        ETH_TYPE_IPV6 => {
            let (src, dst) = (key.ipv6_src.get(), key.ipv6_dst.get());
            for address in [src.min(dst), src.max(dst)] {
                h.word((address >> 64) as u64);
                h.word(address as u64);
            }
        }
        _ => return false,
    }
    true
}

fn ordered(a: u16, b: u16) -> u64 {
    u64::from(a.min(b)) << 16 | u64::from(a.max(b))
}

/// The hashes that actions choose from (`enum nx_hash_fields` of the Nicira extensions, with their numbers).
///
/// ```
/// use ovs_packet::FlowKey;
/// use ovs_packet::hash::HashFields;
///
/// let fields: HashFields = "symmetric_l3l4+udp".parse().unwrap();
/// assert_eq!((fields as u16, fields.name()), (3, "symmetric_l3l4+udp"));
/// assert_eq!(fields.hash(&FlowKey::ZERO, 1), fields.hash(&FlowKey::ZERO, 1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
#[non_exhaustive]
pub enum HashFields {
    /// Ethernet source.
    EthSrc = 0,
    /// [`symmetric_l4`].
    SymmetricL4 = 1,
    /// [`symmetric_l3l4`] without UDP's ports.
    SymmetricL3L4 = 2,
    /// [`symmetric_l3l4`] with UDP's ports.
    SymmetricL3L4Udp = 3,
    /// IPv4 or IPv6 source.
    NwSrc = 4,
    /// IPv4 or IPv6 destination.
    NwDst = 5,
    /// [`symmetric_l3`].
    SymmetricL3 = 6,
}

/// A word that names none of [`HashFields`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseHashFieldsError;

impl HashFields {
    /// All of them, by number.
    pub const ALL: [HashFields; 7] = {
        use HashFields::*;
        [EthSrc, SymmetricL4, SymmetricL3L4, SymmetricL3L4Udp, NwSrc, NwDst, SymmetricL3]
    };

    /// The one with this number on the wire.
    pub fn from_code(code: u16) -> Option<HashFields> {
        HashFields::ALL.get(usize::from(code)).copied()
    }

    /// Its name in text.
    pub const fn name(self) -> &'static str {
        match self {
            HashFields::EthSrc => "eth_src",
            HashFields::SymmetricL4 => "symmetric_l4",
            HashFields::SymmetricL3L4 => "symmetric_l3l4",
            HashFields::SymmetricL3L4Udp => "symmetric_l3l4+udp",
            HashFields::NwSrc => "nw_src",
            HashFields::NwDst => "nw_dst",
            HashFields::SymmetricL3 => "symmetric_l3",
        }
    }

    /// The hash of a packet with this key, in all 64 bits.
    pub fn hash(self, key: &FlowKey, seed: u64) -> u64 {
        match self {
            HashFields::EthSrc => of_fields(key, &[FieldId::EthSrc], seed),
            HashFields::SymmetricL4 => symmetric_l4(key, seed),
            HashFields::SymmetricL3L4 => symmetric_l3l4(key, seed, false),
            HashFields::SymmetricL3L4Udp => symmetric_l3l4(key, seed, true),
            HashFields::NwSrc => one_address(key.eth_type.get(), key.nw_src.get(), key.ipv6_src.get(), seed),
            HashFields::NwDst => one_address(key.eth_type.get(), key.nw_dst.get(), key.ipv6_dst.get(), seed),
            HashFields::SymmetricL3 => symmetric_l3(key, seed),
        }
    }

    /// Adds to `mask` the bits of `key` that the hash reads: of any packet that has the same, the hash is the same.
    pub fn mask(self, key: &FlowKey, mask: &mut FlowMask) {
        let bits = &mut mask.bits;
        let (v4, v6) = (key.eth_type == ETH_TYPE_IPV4, key.eth_type == ETH_TYPE_IPV6);
        let l3l4 = matches!(self, HashFields::SymmetricL3L4 | HashFields::SymmetricL3L4Udp);
        let l2 = self == HashFields::SymmetricL4 || l3l4 && !v4 && !v6;
        bits.eth_type.set(u16::MAX);
        bits.packet_type.set(u32::MAX);
        if l2 || self == HashFields::EthSrc {
            bits.eth_src.0 = [0xff; 6];
        }
        if l2 {
            bits.eth_dst.0 = [0xff; 6];
            for tci in [&mut bits.vlan_tci, &mut bits.inner_vlan_tci] {
                tci.set(tci.get() | VLAN_PRESENT | VLAN_VID_MASK);
            }
        }
        if !matches!(self, HashFields::EthSrc | HashFields::NwDst) {
            if v4 {
                bits.nw_src.set(u32::MAX);
            } else if v6 {
                bits.ipv6_src.set(u128::MAX);
            }
        }
        if !matches!(self, HashFields::EthSrc | HashFields::NwSrc) {
            if v4 {
                bits.nw_dst.set(u32::MAX);
            } else if v6 {
                bits.ipv6_dst.set(u128::MAX);
            }
        }
        if (v4 || v6) && (l3l4 || self == HashFields::SymmetricL4) {
            bits.nw_proto = u8::MAX;
            if l3l4 {
                bits.nw_frag = u8::MAX;
            }
            let with_udp = self == HashFields::SymmetricL3L4Udp && key.nw_proto == IP_PROTO_UDP;
            let ports = matches!(key.nw_proto, IP_PROTO_TCP | IP_PROTO_SCTP) || with_udp;
            if ports && (!l3l4 || key.nw_frag == 0) {
                bits.tp_src.set(u16::MAX);
                bits.tp_dst.set(u16::MAX);
            }
        }
    }
}

fn one_address(eth_type: u16, v4: u32, v6: u128, seed: u64) -> u64 {
    let mut h = Mixer::new(seed);
    match eth_type {
        ETH_TYPE_IPV4 => h.word(v4.into()),
        ETH_TYPE_IPV6 => {
            h.word((v6 >> 64) as u64);
            h.word(v6 as u64);
        }
        _ => {}
    }
    h.finish()
}

impl fmt::Display for HashFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HashFields {
    type Err = ParseHashFieldsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        HashFields::ALL.into_iter().find(|fields| fields.name() == text).ok_or(ParseHashFieldsError)
    }
}

impl fmt::Display for ParseHashFieldsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of ")?;
        for (i, fields) in HashFields::ALL.into_iter().enumerate() {
            write!(f, "{}{fields}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl core::error::Error for ParseHashFieldsError {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::string::ToString;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::key::{BlockSet, WORDS};

    /// A key of IPv4, IPv6, ARP or something else, with every member at random.
    fn any_key() -> impl Strategy<Value = FlowKey> {
        (prop::collection::vec(any::<u64>(), WORDS), 0..4usize, 0..5usize, 0..3usize, any::<bool>()).prop_map(
            |(words, kind, proto, frag, ethernet)| {
                let mut key = FlowKey::from_words(words.try_into().unwrap());
                key.eth_type.set([ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_ARP, 0x1234][kind]);
                key.nw_proto = [IP_PROTO_TCP, IP_PROTO_UDP, IP_PROTO_SCTP, 1, 47][proto];
                key.nw_frag = [0, 1, 3][frag];
                key.packet_type.set(if ethernet { 0 } else { 0x1_0800 });
                key
            },
        )
    }

    fn reversed(key: &FlowKey) -> FlowKey {
        let mut key = *key;
        core::mem::swap(&mut key.eth_src, &mut key.eth_dst);
        core::mem::swap(&mut key.nw_src, &mut key.nw_dst);
        core::mem::swap(&mut key.ipv6_src, &mut key.ipv6_dst);
        core::mem::swap(&mut key.tp_src, &mut key.tp_dst);
        key
    }

    proptest! {
        #[test]
        fn symmetric_hashes_are(key in any_key(), seed: u64) {
            use HashFields::*;
            for fields in [SymmetricL4, SymmetricL3L4, SymmetricL3L4Udp, SymmetricL3] {
                prop_assert_eq!(fields.hash(&key, seed), fields.hash(&reversed(&key), seed), "{}", fields);
            }
            prop_assert_eq!(symmetric_l2(&key, seed), symmetric_l2(&reversed(&key), seed));
            prop_assert_eq!(NwSrc.hash(&key, seed), NwDst.hash(&reversed(&key), seed));
        }

        /// The mask says all that the hash read, and nothing that made no difference.
        #[test]
        fn a_hash_reads_what_its_mask_says(key in any_key(), other in any_key(), seed: u64) {
            for fields in HashFields::ALL {
                let mut mask = FlowMask::EMPTY;
                fields.mask(&key, &mut mask);
                let mut changed = other;
                changed.assign(&key, &mask);
                prop_assert_eq!(fields.hash(&key, seed), fields.hash(&changed, seed), "{}", fields);
            }
        }

        #[test]
        fn a_list_of_fields_is_hashed_where_they_are_there(key in any_key(), other in any_key(), seed: u64) {
            let fields = [FieldId::EthDst, FieldId::NwSrc, FieldId::TcpSrc];
            let hash = of_fields(&key, &fields, seed);
            let mut same = other;
            let mut mask = FlowMask::of(&[FieldId::EthDst]);
            mask.bits.eth_type.set(u16::MAX);
            (mask.bits.nw_proto, mask.bits.nw_frag) = (0xff, 0xff);
            mask.bits.packet_type.set(u32::MAX);
            mask |= &FlowMask::of(&[FieldId::NwSrc, FieldId::TcpSrc]);
            same.assign(&key, &mask);
            prop_assert_eq!(of_fields(&same, &fields, seed), hash);
            let mut elsewhere = key;
            elsewhere.eth_dst.0[5] ^= 1;
            let ethernet = FieldId::EthDst.info().prereq.holds(&key);
            prop_assert_eq!(of_fields(&elsewhere, &fields, seed) != hash, ethernet);
        }
    }

    #[test]
    fn every_word_of_a_block_counts() {
        let base = FlowKey::ZERO.hash(BlockSet::CORE, 1);
        for i in 0..8 {
            let mut key = FlowKey::ZERO;
            key.words_mut()[i] = 1;
            assert_ne!(key.hash(BlockSet::CORE, 1), base, "word {i}");
        }
        assert_ne!(FlowKey::ZERO.hash(BlockSet::CORE, 2), base);
    }

    /// Each bit of the tuple changes about half of the hash's bits, and the low bits of many flows fill a table evenly.
    #[test]
    fn tuple_hashes_spread() {
        for eth_type in [ETH_TYPE_IPV4, ETH_TYPE_IPV6] {
            let base = FlowKey { eth_type: eth_type.into(), nw_proto: 6, ..FlowKey::ZERO };
            let h = five_tuple(&base, 7);
            let flip = |f: &dyn Fn(&mut FlowKey)| {
                let mut key = base;
                f(&mut key);
                (five_tuple(&key, 7) ^ h).count_ones()
            };
            let mut changed = Vec::new();
            for bit in 0..32 {
                changed.push(flip(&|k| k.tp_src.set(1 << (bit % 16))));
                changed.push(flip(&|k| k.tp_dst.set(1 << (bit % 16))));
                changed.push(flip(&|k| (k.nw_src.set(1 << bit), k.ipv6_src.set(1 << (4 * bit))).0));
                changed.push(flip(&|k| (k.nw_dst.set(1 << bit), k.ipv6_dst.set(1 << (4 * bit))).0));
            }
            assert!(changed.iter().all(|n| (14..50).contains(n)), "{changed:?}");
            let mut buckets = [0; 64];
            let mut seen = HashSet::new();
            for i in 0..6400u32 {
                let mut key = base;
                key.nw_dst.set(0x0a00_0000 + i / 100);
                key.ipv6_dst.set(u128::from(0x0a00_0000 + i / 100));
                key.tp_src.set(1000 + (i % 100) as u16);
                let h = five_tuple(&key, 7);
                assert!(seen.insert(h));
                buckets[h as usize % 64] += 1;
            }
            assert!(buckets.iter().all(|n| (60..145).contains(n)), "{buckets:?}");
        }
    }

    #[test]
    fn tuple_hash_tells_directions_and_parts_apart() {
        for eth_type in [ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_ARP] {
            let mut key = FlowKey { eth_type: eth_type.into(), nw_proto: 6, ..FlowKey::ZERO };
            (key.nw_src, key.nw_dst, key.ipv6_src, key.ipv6_dst) = (1.into(), 2.into(), 1.into(), 2.into());
            let forward = five_tuple(&key, 0);
            assert_ne!(five_tuple(&reversed(&key), 0), forward);
            assert_ne!(five_tuple(&FlowKey { nw_proto: 17, ..key }, 0), forward);
            assert_ne!(five_tuple(&FlowKey { tp_dst: 1.into(), ..key }, 0), forward);
            assert_ne!(five_tuple(&key, 1), forward);
        }
    }

    #[test]
    fn names_and_numbers() {
        for (i, fields) in HashFields::ALL.into_iter().enumerate() {
            assert_eq!((fields as usize, HashFields::from_code(i as u16)), (i, Some(fields)));
            assert_eq!(fields.to_string().parse(), Ok(fields));
        }
        assert_eq!(HashFields::from_code(7), None);
        assert_eq!("modulo_n".parse::<HashFields>(), Err(ParseHashFieldsError));
        assert!(ParseHashFieldsError.to_string().starts_with("not one of eth_src, symmetric_l4, "));
    }
}
