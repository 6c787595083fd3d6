//! TCP, UDP, SCTP, ICMP, neighbour discovery.

use super::{
    IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP, Malformed, ND_ADVERT, ND_SOLICIT, Pass,
};
use crate::addr::EthAddr;
use crate::key::Block;

/// ND option types (RFC 4861, section 4.6).
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

impl Pass<'_> {
    /// Reads the transport header of `proto` in `l4`, which begins at byte `at` of the packet and has exactly the
    /// bytes that IP announced.
    pub(super) fn transport(&mut self, l4: &[u8], at: usize, proto: u8, v6: bool) -> Result<(), Malformed> {
        match proto {
            IP_PROTO_TCP => {
                let header = l4.first_chunk::<20>().ok_or(Malformed::Transport)?;
                let [s0, s1, d0, d1, _, _, _, _, _, _, _, _, offset, flags, ..] = *header;
                let header_len = usize::from(offset >> 4) * 4;
                if header_len < 20 || header_len > l4.len() {
                    return Err(Malformed::Transport);
                }
                self.ports([s0, s1], [d0, d1]);
                self.key.tcp_flags.set(u16::from_be_bytes([offset & 0x0f, flags]));
            }
            IP_PROTO_UDP => {
                let [s0, s1, d0, d1, ..] = *l4.first_chunk::<8>().ok_or(Malformed::Transport)?;
                self.ports([s0, s1], [d0, d1]);
            }
            IP_PROTO_SCTP => {
                let [s0, s1, d0, d1, ..] = *l4.first_chunk::<12>().ok_or(Malformed::Transport)?;
                self.ports([s0, s1], [d0, d1]);
            }
            IP_PROTO_ICMP if !v6 => {
                let [kind, code, ..] = *l4.first_chunk::<8>().ok_or(Malformed::Transport)?;
                self.ports([0, kind], [0, code]);
            }
            IP_PROTO_ICMPV6 if v6 => {
                let [kind, code, ..] = *l4.first_chunk::<8>().ok_or(Malformed::Transport)?;
                self.ports([0, kind], [0, code]);
                if code == 0 && matches!(kind, ND_SOLICIT | ND_ADVERT) {
                    self.neighbor_discovery(l4)?;
                }
            }
            _ => {}
        }
        self.layers.l4 = Some(at);
        self.layers.l4_proto = proto;
        Ok(())
    }

    fn ports(&mut self, src: [u8; 2], dst: [u8; 2]) {
        self.key.tp_src.set(u16::from_be_bytes(src));
        self.key.tp_dst.set(u16::from_be_bytes(dst));
    }

    /// Target and link-layer address options (RFC 4861, sections 4.3, 4.4, 4.6.1).
    ///
    /// Options that are not well formed leave none of the message's fields in the key.
    fn neighbor_discovery(&mut self, message: &[u8]) -> Result<(), Malformed> {
        // A message without a target is no neighbour discovery, but ICMPv6 all the same.
        let Some((header, mut options)) = message.split_first_chunk::<24>() else { return Ok(()) };
        let [_, _, _, _, _, _, _, _, target @ ..] = *header;
        let (mut sll, mut tll) = (None, None);
        while let [kind, units, ..] = *options {
            let len = usize::from(units) * 8;
            let (option, rest) = match options.split_at_checked(len) {
                Some(split) if len > 0 => split,
                _ => return Err(Malformed::NeighborDiscovery),
            };
            if let ([_, _, a, b, c, d, e, f], SOURCE_LINK_LAYER | TARGET_LINK_LAYER) = (option, kind) {
                let slot = if kind == SOURCE_LINK_LAYER { &mut sll } else { &mut tll };
                if slot.replace(EthAddr([*a, *b, *c, *d, *e, *f])).is_some() {
                    return Err(Malformed::NeighborDiscovery);
                }
            }
            options = rest;
        }
        if !options.is_empty() {
            return Err(Malformed::NeighborDiscovery);
        }
        self.blocks = self.blocks.with(Block::Network);
        self.key.nd_target.set(u128::from_be_bytes(target));
        self.key.arp_sha = sll.unwrap_or_default();
        self.key.arp_tha = tll.unwrap_or_default();
        Ok(())
    }
}
