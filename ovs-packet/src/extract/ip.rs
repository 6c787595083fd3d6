//! IPv4 and IPv6.

use super::{Extraction, IPV4_ADDRESSES, Malformed, PROTOCOL, Pass, join, put, put_block};
use crate::key::{Block, BlockSet, FRAG_ANY, FRAG_LATER};
use crate::packet::Place;

pub(super) const IPV4_HEADER: usize = 20;
pub(super) const IPV6_HEADER: usize = 40;

/// The bits of IPv4's fragment field that only fragments have: more fragments, and the offset.
pub(super) const FRAGMENT: u16 = 0x3fff;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// The largest padding behind a datagram that is taken for padding.
const MAX_PAD: usize = u16::MAX as usize;

/// IPv6 extension headers that extraction steps over (RFC 8200, section 4; RFC 4302).
mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
}

fn is_extension(next: u8) -> bool {
    use extension::*;
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

/// What lies behind extension headers: the protocol, how many bytes the headers take, and the fragment bits.
struct Behind {
    proto: u8,
    skip: usize,
    frag: u8,
}

impl Pass<'_> {
    /// Reads IPv4 (RFC 791) in `ip`, which begins at byte `at` of the packet.
    #[inline(always)]
    pub(super) fn ipv4(self, ip: &[u8], at: Place, blocks: BlockSet) -> Extraction {
        let Some(header) = ip.first_chunk::<IPV4_HEADER>() else { return Extraction::bad(blocks, Malformed::Ipv4) };
        let [ihl, tos, l0, l1, _, _, f0, f1, ttl, proto, _, _, addresses @ ..] = *header;
        let header_len = usize::from(ihl & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([l0, l1]));
        let pad = ip.len().wrapping_sub(total_len);
        let (Some(l4), true) = (ip.get(header_len..total_len), header_len >= IPV4_HEADER && pad <= MAX_PAD) else {
            return Extraction::bad(blocks, Malformed::Ipv4);
        };
        let fragment = u16::from_be_bytes([f0, f1]);
        let frag = match (fragment & FRAGMENT, fragment & FRAGMENT_OFFSET) {
            (0, _) => 0,
            (_, 0) => FRAG_ANY,
            _ => FRAG_ANY | FRAG_LATER,
        };
        self.places.l2_pad = pad as u16;
        put::<IPV4_ADDRESSES>(self.key, u64::from_ne_bytes(addresses));
        put::<PROTOCOL>(self.key, join(u32::from_ne_bytes([proto, tos, ttl, frag]), 0));
        if frag & FRAG_LATER != 0 {
            return Extraction::good(blocks);
        }
        self.transport(l4, at.plus(header_len as u16), proto, false, blocks)
    }

    /// Reads IPv6 (RFC 8200) in `ip`, which begins at byte `at` of the packet.
    #[inline(always)]
    pub(super) fn ipv6(self, ip: &[u8], at: Place, blocks: BlockSet) -> Extraction {
        let Some((header, rest)) = ip.split_first_chunk::<IPV6_HEADER>() else {
            return Extraction::bad(blocks, Malformed::Ipv6);
        };
        let [w0, w1, w2, w3, l0, l1, next, hops, addresses @ ..] = header;
        let payload_len = usize::from(u16::from_be_bytes([*l0, *l1]));
        let pad = rest.len().wrapping_sub(payload_len);
        let (Some(payload), true) = (rest.get(..payload_len), pad <= MAX_PAD) else {
            return Extraction::bad(blocks, Malformed::Ipv6);
        };
        let blocks = blocks.with(Block::Network);
        self.places.l2_pad = pad as u16;
        put_block(self.key, Block::Network, network_block(addresses));
        let mut behind = Behind { proto: *next, skip: 0, frag: 0 };
        if is_extension(*next) {
            match extensions(payload, *next) {
                Some(found) => behind = found,
                None => return Extraction::bad(blocks, Malformed::Ipv6Extension),
            }
        }
        let Behind { proto, skip, frag } = behind;
        put::<PROTOCOL>(self.key, ipv6_protocol([*w0, *w1, *w2, *w3], proto, *hops, frag));
        if frag & FRAG_LATER != 0 {
            return Extraction::good(blocks);
        }
        let at = at.plus(IPV6_HEADER as u16).plus(skip as u16);
        self.transport(payload.get(skip..).unwrap_or(&[]), at, proto, true, blocks)
    }
}

/// The block of the key that holds IPv6 addresses, of a header's last 32 bytes; nothing else is in it yet.
#[inline(always)]
pub(super) fn network_block(addresses: &[u8; 32]) -> [u64; 8] {
    zerocopy::transmute!([*addresses, [0; 32]])
}

/// The word of the key that holds protocol to flow label, of a header's first four bytes and what else is in it.
#[inline(always)]
pub(super) fn ipv6_protocol(first: [u8; 4], proto: u8, hops: u8, frag: u8) -> u64 {
    let first = u32::from_be_bytes(first);
    join(u32::from_ne_bytes([proto, (first >> 20) as u8, hops, frag]), (first & 0xf_ffff).to_be())
}

/// Steps over extension headers. `None`: one of them is cut short.
#[inline(never)]
fn extensions(payload: &[u8], first: u8) -> Option<Behind> {
    let mut behind = Behind { proto: first, skip: 0, frag: 0 };
    while is_extension(behind.proto) {
        // None is shorter than 8 bytes.
        let [next, units, o0, o1, ..] = *payload.get(behind.skip..)?.first_chunk::<8>()?;
        behind.skip += match behind.proto {
            // In 4-byte units, less two (RFC 4302, section 2.2).
            extension::AUTHENTICATION => 4 * (usize::from(units) + 2),
            extension::FRAGMENT => 8,
            _ => 8 * (usize::from(units) + 1),
        };
        if behind.skip > payload.len() {
            return None;
        }
        if behind.proto == extension::FRAGMENT {
            let field = u16::from_be_bytes([o0, o1]);
            if field != 0 {
                behind.frag = FRAG_ANY;
            }
            // What follows in a later fragment is payload, whatever header it is said to be.
            if field & 0xfff8 != 0 {
                behind.frag = FRAG_ANY | FRAG_LATER;
                return Some(behind);
            }
        }
        behind.proto = next;
    }
    Some(behind)
}
