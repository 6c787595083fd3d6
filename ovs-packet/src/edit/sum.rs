//! Changed bytes and the checksums over them.

use crate::checksum;
use crate::compose::checksum_offset;
use crate::extract::{IP_PROTO_ICMPV6, IP_PROTO_TCP, IP_PROTO_UDP};
use crate::packet::{L4Checksum, Packet};

pub(super) fn merge(to: &mut [u8], values: &[u8], mask: &[u8]) {
    for ((t, v), m) in to.iter_mut().zip(values).zip(mask) {
        *t = (*t & !m) | (v & m);
    }
}

pub(super) fn merge_u32(to: &mut u32, value: u32, mask: u32) {
    *to = (*to & !mask) | (value & mask);
}

/// A checksum that changes with bytes elsewhere in the packet.
#[derive(Clone, Copy)]
pub(super) struct Sum {
    at: usize,
    /// The field holds a sum, not its complement.
    partial: bool,
    /// A checksum of zero means that there is none.
    optional: bool,
}

impl Sum {
    /// The checksum of the IPv4 header at `l3`.
    pub(super) fn of_ipv4(l3: usize) -> Sum {
        Sum { at: l3 + 10, partial: false, optional: false }
    }

    /// The transport checksum, if a change of the IP addresses changes it.
    pub(super) fn over_addresses(packet: &Packet) -> Option<Sum> {
        let layers = packet.layers();
        match layers.l4_proto {
            IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_ICMPV6 => Sum::of_transport(packet),
            _ => None,
        }
    }

    pub(super) fn of_transport(packet: &Packet) -> Option<Sum> {
        let layers = packet.layers();
        Some(Sum {
            at: layers.l4? + checksum_offset(layers.l4_proto)?,
            partial: matches!(packet.offload.l4, L4Checksum::Partial { .. }),
            optional: layers.l4_proto == IP_PROTO_UDP,
        })
    }

    pub(super) fn update(self, packet: &mut Packet, old: &[u8], new: &[u8]) {
        let Some(field) = packet.data_mut().get_mut(self.at..).and_then(|d| d.first_chunk_mut::<2>()) else { return };
        let before = u16::from_be_bytes(*field);
        let after = match self {
            Sum { partial: true, .. } => checksum::update_sum(before, old, new),
            Sum { optional: true, .. } if before == 0 => return,
            Sum { optional, .. } => match checksum::update(before, old, new) {
                0 if optional => 0xffff,
                sum => sum,
            },
        };
        *field = after.to_be_bytes();
    }
}

/// Merges into `N` bytes at `at` and tells what stood and what stands there.
pub(super) fn change<const N: usize>(
    packet: &mut Packet,
    at: usize,
    values: &[u8],
    mask: &[u8],
) -> Option<([u8; N], [u8; N])> {
    let field = packet.data_mut().get_mut(at..)?.first_chunk_mut::<N>()?;
    let old = *field;
    merge(field, values, mask);
    Some((old, *field))
}

/// Bytes behind the transport header's start changed: its checksum follows, unless it is still to be computed.
pub(super) fn covered_by_transport(packet: &mut Packet, old: &[u8], new: &[u8]) {
    if let Some(sum) = Sum::of_transport(packet).filter(|s| !s.partial) {
        sum.update(packet, old, new);
    }
}
