//! IPv4 and IPv6.

use super::{Malformed, Pass};
use crate::key::{Block, FRAG_ANY, FRAG_LATER};

const IPV6_HEADER: usize = 40;

/// IPv6 extension headers that extraction steps over (RFC 8200, section 4; RFC 4302; RFC 6275; RFC 7401; RFC 5533).
mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
    pub(super) const MOBILITY: u8 = 135;
    pub(super) const HOST_IDENTITY: u8 = 139;
    pub(super) const SHIM6: u8 = 140;
}

impl Pass<'_> {
    /// Reads IPv4 (RFC 791) in `ip`, which begins at byte `at` of the packet.
    ///
    /// The header is used only if its length, the total length and the packet's length agree: otherwise all that
    /// comes behind the Ethertype is absent.
    pub(super) fn ipv4(&mut self, ip: &[u8], at: usize) -> Result<(), Malformed> {
        let header = ip.first_chunk::<20>().ok_or(Malformed::Ipv4)?;
        let [vihl, tos, l0, l1, _, _, f0, f1, ttl, proto, _, _, s0, s1, s2, s3, dst @ ..] = *header;
        let header_len = usize::from(vihl & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([l0, l1]));
        if vihl >> 4 != 4 || header_len < 20 || total_len < header_len || total_len > ip.len() {
            return Err(Malformed::Ipv4);
        }
        self.layers.l2_pad = ip.len() - total_len;
        self.key.nw_src.set(u32::from_be_bytes([s0, s1, s2, s3]));
        self.key.nw_dst.set(u32::from_be_bytes(dst));
        self.key.nw_proto = proto;
        self.key.nw_tos = tos;
        self.key.nw_ttl = ttl;
        let fragment = u16::from_be_bytes([f0, f1]);
        let (more, offset) = (fragment & 0x2000 != 0, fragment & 0x1fff);
        if offset != 0 {
            self.key.nw_frag = FRAG_ANY | FRAG_LATER;
        } else if more {
            self.key.nw_frag = FRAG_ANY;
        }
        if offset != 0 {
            return Ok(());
        }
        self.transport(ip.get(header_len..total_len).unwrap_or(&[]), at + header_len, proto, false)
    }

    /// Reads IPv6 (RFC 8200) in `ip`, which begins at byte `at` of the packet.
    pub(super) fn ipv6(&mut self, ip: &[u8], at: usize) -> Result<(), Malformed> {
        let (header, _) = ip.split_first_chunk::<IPV6_HEADER>().ok_or(Malformed::Ipv6)?;
        let [w0, w1, w2, w3, l0, l1, next, hops, addresses @ ..] = *header;
        let payload_len = usize::from(u16::from_be_bytes([l0, l1]));
        if w0 >> 4 != 6 {
            return Err(Malformed::Ipv6);
        }
        let payload = ip.get(IPV6_HEADER..IPV6_HEADER + payload_len).ok_or(Malformed::Ipv6)?;
        self.blocks = self.blocks.with(Block::Network);
        self.layers.l2_pad = ip.len() - IPV6_HEADER - payload_len;
        if let [src, dst] = addresses.as_chunks::<16>().0 {
            self.key.ipv6_src.set(u128::from_be_bytes(*src));
            self.key.ipv6_dst.set(u128::from_be_bytes(*dst));
        }
        self.key.nw_tos = w0 << 4 | w1 >> 4;
        self.key.ipv6_label.set(u32::from_be_bytes([0, w1 & 0x0f, w2, w3]));
        self.key.nw_ttl = hops;
        self.key.nw_proto = next;
        let (proto, skip) = self.extensions(payload, next)?;
        self.key.nw_proto = proto;
        if self.key.nw_frag & FRAG_LATER != 0 {
            return Ok(());
        }
        self.transport(payload.get(skip..).unwrap_or(&[]), at + IPV6_HEADER + skip, proto, true)
    }

    /// Steps over extension headers: the protocol behind them and how many bytes they take.
    fn extensions(&mut self, payload: &[u8], first: u8) -> Result<(u8, usize), Malformed> {
        let (mut next, mut skip) = (first, 0);
        loop {
            let header = || payload.get(skip..).and_then(|h| h.first_chunk::<8>()).ok_or(Malformed::Ipv6Extension);
            let len = match next {
                extension::HOP_BY_HOP
                | extension::ROUTING
                | extension::DESTINATION
                | extension::MOBILITY
                | extension::HOST_IDENTITY
                | extension::SHIM6 => 8 * (usize::from(header()?[1]) + 1),
                // In 4-byte units, less two (RFC 4302, section 2.2).
                extension::AUTHENTICATION => 4 * (usize::from(header()?[1]) + 2),
                extension::FRAGMENT => {
                    let [_, _, o0, o1, ..] = *header()?;
                    let field = u16::from_be_bytes([o0, o1]);
                    if field & 0xfff8 != 0 {
                        self.key.nw_frag = FRAG_ANY | FRAG_LATER;
                    } else if field & 1 != 0 {
                        self.key.nw_frag = FRAG_ANY;
                    }
                    8
                }
                _ => return Ok((next, skip)),
            };
            next = header()?[0];
            skip += len;
            if skip > payload.len() {
                return Err(Malformed::Ipv6Extension);
            }
            // What follows in a later fragment is payload, not headers.
            if self.key.nw_frag & FRAG_LATER != 0 {
                return Ok((next, skip));
            }
        }
    }
}
