//! The Internet checksum (RFC 1071), whole and incremental (RFC 1624), and SCTP's CRC32c.
//!
//! A *sum* here is a folded or unfolded ones'-complement sum; a *checksum* is the complement of the folded sum,
//! as it stands in a header, in host order after reading it big-endian.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Adds the big-endian 16-bit words of `data` to `sum`; an odd last byte counts as the high byte of a word.
///
/// The result is unfolded; sums of up to 2^32 words do not overflow.
pub fn sum(data: &[u8], sum: u64) -> u64 {
    let (words, rest) = data.as_chunks::<8>();
    // 2^16 is 1 modulo 2^16-1, so 32-bit halves may be added as they are and folded once at the end.
    let mut total = sum;
    for w in words {
        let v = u64::from_be_bytes(*w);
        total += (v >> 32) + (v & 0xffff_ffff);
    }
    let mut tail = [0; 8];
    for (to, from) in tail.iter_mut().zip(rest) {
        *to = *from;
    }
    let v = u64::from_be_bytes(tail);
    total + (v >> 32) + (v & 0xffff_ffff)
}

/// Folds a sum to 16 bits.
pub const fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
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
pub fn update(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    !update_sum(!checksum, old, new)
}

/// Like [`update`], for a field that holds a folded sum and not its complement, as a packet with a partial
/// checksum does.
pub fn update_sum(folded: u16, old: &[u8], new: &[u8]) -> u16 {
    debug_assert_eq!(old.len(), new.len());
    debug_assert_eq!(old.len() % 2, 0);
    fold(u64::from(folded) + u64::from(!fold(sum(old, 0))) + sum(new, 0))
}

/// The Castagnoli CRC of `data`, reflected, as SCTP uses it (RFC 9260, appendix A).
#[expect(clippy::indexing_slicing, reason = "the index is a byte, the table has 256 entries")]
pub fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, b| CRC32C[usize::from(crc as u8 ^ b)] ^ (crc >> 8))
}

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
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

    proptest! {
        #[test]
        fn wide_sum_equals_definition(data in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(checksum(&data), reference(&data));
        }

        #[test]
        fn incremental_equals_whole(
            mut data in prop::collection::vec(any::<u8>(), 20..100), at in 0usize..8, new in any::<[u8; 4]>(),
        ) {
            // A sum of all zero bytes has two representations of zero; headers are never all zero.
            data[19] |= 1;
            let before = checksum(&data);
            let old: [u8; 4] = data[at * 2..at * 2 + 4].try_into().unwrap();
            data[at * 2..at * 2 + 4].copy_from_slice(&new);
            prop_assert_eq!(update(before, &old, &new), checksum(&data));
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
