//! The Internet checksum (RFC 1071), whole and incremental (RFC 1624), and SCTP's CRC32c.
//!
//! A *sum* here is a folded or unfolded ones'-complement sum; a *checksum* is the complement of the folded sum,
//! as it stands in a header, in host order after reading it big-endian.
//!
//! Both are written so that a compiler can do many bytes at once without being told how: the sum runs in lanes that do
//! not wait for one another and in the machine's own byte order, which makes no difference until the end (RFC 1071,
//! section 2 (B)); the CRC takes sixteen bytes at a time from sixteen tables. Tests hold both against their definitions.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Bytes that the sum takes in one step.
const STEP: usize = 64;

/// Adds the big-endian 16-bit words of `data` to `sum`; an odd last byte counts as the high byte of a word.
///
/// The result is unfolded; adding up 2^47 such results does not overflow.
#[inline]
pub fn sum(data: &[u8], sum: u64) -> u64 {
    let (steps, rest) = data.as_chunks::<STEP>();
    let mut total = if steps.is_empty() { 0 } else { sum_steps(steps) };
    let (words, rest) = rest.as_chunks::<8>();
    total = words.iter().fold(total, |total, word| total + halves(u64::from_ne_bytes(*word)));
    let (words, rest) = rest.as_chunks::<2>();
    total = words.iter().fold(total, |total, word| total + u64::from(u16::from_ne_bytes(*word)));
    if let [last] = *rest {
        total += u64::from(u16::from_ne_bytes([last, 0]));
    }
    sum + u64::from(u16::from_be(fold(total)))
}

/// 2^16 is 1 modulo 2^16-1, so 32-bit halves may be added as they are and folded once at the end.
#[inline(always)]
fn halves(word: u64) -> u64 {
    (word >> 32) + (word & 0xffff_ffff)
}

fn sum_steps(steps: &[[u8; STEP]]) -> u64 {
    let mut lanes = [0; STEP / 8];
    for step in steps {
        for (lane, word) in lanes.iter_mut().zip(step.as_chunks::<8>().0) {
            *lane += halves(u64::from_ne_bytes(*word));
        }
    }
    lanes.into_iter().sum()
}

/// Folds a sum to 16 bits.
#[inline]
pub const fn fold(sum: u64) -> u16 {
    // At most 2^33, 2^18, 2^16 + 2, and then 2^16 - 1: never a guess of how often.
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The checksum of `data`, as it is written into a header whose checksum field was zero.
///
/// ```
/// // The example of RFC 1071, section 3: sum 0xddf2.
/// assert_eq!(ovs_packet::checksum::checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
/// ```
pub fn checksum(data: &[u8]) -> u16 {
    !fold(sum(data, 0))
}

/// The sum of an IPv4 pseudo-header (RFC 9293, section 3.1): addresses, protocol, transport length in bytes.
pub fn pseudo_v4(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, len: u32) -> u64 {
    let s = u64::from(src.to_bits()) + u64::from(dst.to_bits());
    s + u64::from(proto) + u64::from(len)
}

/// The sum of an IPv6 pseudo-header (RFC 8200, section 8.1): addresses, next header, transport length in bytes.
pub fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, proto: u8, len: u32) -> u64 {
    let s = sum(&src.octets(), 0);
    sum(&dst.octets(), s) + u64::from(proto) + u64::from(len)
}

/// The checksum after a 16-bit aligned run of bytes changed from `old` to `new` (RFC 1624, equation 3).
///
/// Both runs have the same even length. A run at an odd offset in the summed data is not handled: callers pass
/// whole words.
///
/// ```
/// use ovs_packet::checksum::{checksum, update};
///
/// let before = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
/// let mut after = before;
/// after[12..16].copy_from_slice(&[192, 168, 0, 1]);
/// assert_eq!(update(checksum(&before), &before[12..16], &after[12..16]), checksum(&after));
/// ```
#[inline]
pub fn update(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    !update_sum(!checksum, old, new)
}

/// Like [`update`], for a field that holds a folded sum and not its complement, as a packet with a partial
/// checksum does.
#[inline]
pub fn update_sum(folded: u16, old: &[u8], new: &[u8]) -> u16 {
    debug_assert_eq!(old.len(), new.len());
    debug_assert_eq!(old.len() % 2, 0);
    fold(u64::from(folded) + u64::from(!fold(sum(old, 0))) + sum(new, 0))
}

/// The Castagnoli CRC of `data`, reflected, as SCTP uses it (RFC 9260, appendix A).
///
/// ```
/// assert_eq!(ovs_packet::checksum::crc32c(b"123456789"), 0xe306_9283);
/// ```
pub fn crc32c(data: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(data);
    crc.finish()
}

/// The same CRC over bytes that do not stand together.
///
/// ```
/// use ovs_packet::checksum::{Crc32c, crc32c};
///
/// let mut crc = Crc32c::new();
/// crc.update(b"1234");
/// crc.update(b"56789");
/// assert_eq!(crc.finish(), crc32c(b"123456789"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Crc32c(u32);

impl Crc32c {
    /// The CRC of nothing.
    pub const fn new() -> Crc32c {
        Crc32c(!0)
    }

    /// Adds `data` behind what was added before.
    #[expect(clippy::indexing_slicing, reason = "an index is a byte, a table has 256 entries")]
    pub fn update(&mut self, data: &[u8]) {
        let (steps, rest) = data.as_chunks::<TABLES>();
        for step in steps {
            // The CRC so far goes into the first four bytes; each byte then counts by how many bytes come behind it.
            // What does not wait for the last step's CRC is looked up first.
            let [a, b, c, d, others @ ..] = *step;
            let places = CRC32C.iter().rev().skip(4);
            let others = others.into_iter().zip(places).fold(0, |sum, (byte, table)| sum ^ table[usize::from(byte)]);
            let [a, b, c, d] = (self.0 ^ u32::from_le_bytes([a, b, c, d])).to_le_bytes().map(usize::from);
            self.0 = others ^ ((CRC32C[15][a] ^ CRC32C[14][b]) ^ (CRC32C[13][c] ^ CRC32C[12][d]));
        }
        self.0 = rest.iter().fold(self.0, |crc, b| CRC32C[0][usize::from(crc as u8 ^ b)] ^ (crc >> 8));
    }

    /// The CRC of all that was added.
    pub const fn finish(self) -> u32 {
        !self.0
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Crc32c::new()
    }
}

/// How many bytes the CRC takes in one step.
const TABLES: usize = 16;

/// `CRC32C[n][b]` is what byte `b` adds to the CRC when `n` bytes come behind it.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static CRC32C: [[u32; 256]; TABLES] = {
    let mut tables = [[0; 256]; TABLES];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut n = 1;
    while n < TABLES {
        let mut i = 0;
        while i < 256 {
            let crc = tables[n - 1][i];
            tables[n][i] = crc >> 8 ^ tables[0][crc as u8 as usize];
            i += 1;
        }
        n += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, a word at a time.
    fn reference(data: &[u8]) -> u16 {
        let total: u64 =
            data.chunks(2).map(|w| u64::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)]))).sum();
        !fold(total)
    }

    /// The definition of the CRC, a bit at a time.
    fn crc_reference(data: &[u8]) -> u32 {
        let mut crc = !0u32;
        for byte in data {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 != 0 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            }
        }
        !crc
    }

    proptest! {
        #[test]
        fn wide_sum_equals_definition(data in prop::collection::vec(any::<u8>(), 0..400), begun in any::<u32>()) {
            prop_assert_eq!(checksum(&data), reference(&data));
            let whole = fold(u64::from(begun) + u64::from(!reference(&data)));
            prop_assert_eq!(fold(sum(&data, begun.into())), whole);
        }

        #[test]
        fn wide_crc_equals_definition(data in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(crc32c(&data), crc_reference(&data));
            let (front, back) = data.split_at(data.len() / 3);
            let mut crc = Crc32c::new();
            crc.update(front);
            crc.update(back);
            prop_assert_eq!(crc.finish(), crc_reference(&data));
        }

        /// Fields of 16, 32, 48 and 128 bits: ports, IPv4, Ethernet and IPv6 addresses.
        #[test]
        fn incremental_equals_whole(
            mut data in prop::collection::vec(any::<u8>(), 40..100), at in 0usize..9, width in 0usize..4, new in any::<[u8; 16]>(),
        ) {
            // A sum of all zero bytes has two representations of zero; headers are never all zero.
            data[39] |= 1;
            let width = [2, 4, 6, 16][width];
            let before = checksum(&data);
            let old = data[at * 2..at * 2 + width].to_vec();
            data[at * 2..at * 2 + width].copy_from_slice(&new[..width]);
            prop_assert_eq!(update(before, &old, &new[..width]), checksum(&data));
            prop_assert_eq!(update_sum(!before, &old, &new[..width]), !checksum(&data));
        }
    }

    #[test]
    fn extremes_fold_as_their_definition_says() {
        for byte in [0, 0xff] {
            for len in [0, 1, 2, 19, 20, 63, 64, 65, 1500, 65_535, 1 << 20] {
                let data = std::vec![byte; len];
                assert_eq!(checksum(&data), reference(&data), "{len} times {byte}");
            }
        }
    }

    #[test]
    fn crc32c_check_value() {
        // The check value of the CRC catalogue, and 32 zero bytes from RFC 3720, appendix B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn pseudo_headers_agree_with_their_bytes() {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 168, 255, 254));
        let mut bytes = a.octets().to_vec();
        bytes.extend(b.octets());
        bytes.extend([0, 17, 0x12, 0x34]);
        assert_eq!(fold(pseudo_v4(a, b, 17, 0x1234)), fold(sum(&bytes, 0)));

        let (a, b) = (Ipv6Addr::LOCALHOST, "2001:db8::ffff:1".parse::<Ipv6Addr>().unwrap());
        let mut bytes = a.octets().to_vec();
        bytes.extend(b.octets());
        bytes.extend([0, 1, 0x12, 0x34, 0, 0, 0, 58]);
        assert_eq!(fold(pseudo_v6(a, b, 58, 0x11234)), fold(sum(&bytes, 0)));
    }
}
