//! SipHash-1-3 over `u64` words: the keyed hash of the connection table.
//!
//! Whoever sends packets chooses the keys of this table. With a hash that is linear, or whose seed only shifts it, a
//! sender finds tuples that collide under every seed and turns each lookup into a walk through all of them. SipHash
//! (Aumasson and Bernstein, 2012) is a pseudorandom function: without its key nobody finds collisions. One round a
//! word and three to finish are what the Rust, Ruby and Python hash tables settled on against the same attack.
//!
//! It is written out here because the standard library has it in three forms that do not serve: `RandomState` draws
//! its own key, which would make runs differ; `SipHasher` takes a key but is deprecated, and is the slower 2-4;
//! `SipHasher13` is not stable. What is left is forty lines, which published test vectors cover.

/// The keyed hash.
#[derive(Clone, Copy)]
pub(crate) struct SipHash13 {
    k0: u64,
    k1: u64,
}

impl SipHash13 {
    /// The hash under the 128-bit key `k0`, `k1`.
    pub(crate) const fn new(k0: u64, k1: u64) -> Self {
        SipHash13 { k0, k1 }
    }

    /// The hash of the little-endian bytes of `words`.
    #[inline(always)]
    pub(crate) fn hash(self, words: &[u64]) -> u64 {
        // The constants spell "somepseudorandomlygeneratedbytes".
        let mut v = [
            self.k0 ^ 0x736f_6d65_7073_6575,
            self.k1 ^ 0x646f_7261_6e64_6f6d,
            self.k0 ^ 0x6c79_6765_6e65_7261,
            self.k1 ^ 0x7465_6462_7974_6573,
        ];
        for word in words {
            v = absorb(v, *word);
        }
        // The last block holds the bytes left over, of which whole words leave none, and the length modulo 256.
        v = absorb(v, (words.len() as u64 * 8) << 56);
        v[2] ^= 0xff;
        v = round(round(round(v)));
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

#[inline]
const fn absorb(mut v: [u64; 4], word: u64) -> [u64; 4] {
    v[3] ^= word;
    v = round(v);
    v[0] ^= word;
    v
}

#[inline]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    c = c.wrapping_add(d);
    b = b.rotate_left(13) ^ a;
    d = d.rotate_left(16) ^ c;
    a = a.rotate_left(32);
    c = c.wrapping_add(b);
    a = a.wrapping_add(d);
    b = b.rotate_left(17) ^ c;
    d = d.rotate_left(21) ^ a;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the Rust library's own tests (`coretests/tests/hash/sip.rs`) whose input is whole words: key
    /// bytes 0 to 15, message bytes 0, 1, 2 ...
    #[test]
    fn agrees_with_published_vectors() {
        let vectors: [[u8; 8]; 6] = [
            [0xdc, 0xc4, 0x0f, 0x05, 0x58, 0x01, 0xac, 0xab],
            [0x8e, 0x9a, 0x29, 0x8d, 0x11, 0x95, 0x90, 0x36],
            [0x66, 0x8b, 0x90, 0x7d, 0x1a, 0xdd, 0x4f, 0xcc],
            [0x8c, 0x9c, 0x34, 0x67, 0xb2, 0xae, 0x64, 0xf4],
            [0x0d, 0xb6, 0xa7, 0x16, 0x6c, 0x7b, 0x15, 0x81],
            [0x31, 0x15, 0xe4, 0x99, 0x32, 0x36, 0xd2, 0xc1],
        ];
        let bytes: [u8; 40] = core::array::from_fn(|i| i as u8);
        let words: [u64; 5] = core::array::from_fn(|i| u64::from_le_bytes(bytes[i * 8..][..8].try_into().unwrap()));
        let hash = SipHash13::new(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        for (len, vector) in vectors.iter().enumerate() {
            assert_eq!(hash.hash(&words[..len]), u64::from_le_bytes(*vector), "{len} words");
        }
    }
}
