//! Hashes of keys and of packets' tuples.
//!
//! Not keyed against an attacker: tables that traffic fills and that must not collide seed a non-linear hash of
//! their own (see `ovs-conntrack`).

use crate::key::FlowKey;

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

/// A hash of the addresses, protocol and ports, in all 64 bits; the same for all packets of a flow in one direction.
///
/// For IP packets only; every other packet hashes to the same value for the same seed.
pub fn five_tuple(key: &FlowKey, seed: u64) -> u64 {
    let mut h = Mixer::new(seed);
    match key.eth_type.get() {
        crate::extract::ETH_TYPE_IPV4 => {
            h.word(u64::from(key.nw_src.get()) << 32 | u64::from(key.nw_dst.get()));
        }
        crate::extract::ETH_TYPE_IPV6 => {
            for address in [key.ipv6_src.get(), key.ipv6_dst.get()] {
                h.word((address >> 64) as u64);
                h.word(address as u64);
            }
        }
        _ => return h.finish(),
    }
    h.word(u64::from(key.nw_proto) << 32 | u64::from(key.tp_src.get()) << 16 | u64::from(key.tp_dst.get()));
    h.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::BlockSet;

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

    #[test]
    fn tuple_hash_tells_directions_apart() {
        let mut a =
            FlowKey { eth_type: 0x0800.into(), nw_src: 1.into(), nw_dst: 2.into(), nw_proto: 6, ..FlowKey::ZERO };
        let forward = five_tuple(&a, 0);
        core::mem::swap(&mut a.nw_src, &mut a.nw_dst);
        assert_ne!(five_tuple(&a, 0), forward);
    }
}
