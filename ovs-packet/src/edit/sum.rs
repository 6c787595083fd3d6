//! Changed bytes and the checksums over them.

use crate::checksum;
use crate::compose::checksum_offset;
use crate::extract::{IP_PROTO_ICMPV6, IP_PROTO_TCP, IP_PROTO_UDP};
use crate::packet::{IpChecksum, L4Checksum, Layers, Packet};

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
    kind: Kind,
    /// A checksum of zero means that there is none.
    optional: bool,
}

/// How a checksum follows.
#[derive(Clone, Copy)]
enum Kind {
    /// By the difference, in the field.
    Whole,
    /// By the difference, in a field that holds a sum, not its complement.
    Partial,
    /// Not at all: who sends the packet computes it anew, and is to be told so.
    Ip(IpChecksum),
    /// The same of a transport checksum.
    Transport(L4Checksum),
}

impl Sum {
    /// The checksum of the IPv4 header at `l3`.
    pub(super) fn of_ipv4(packet: &Packet, l3: usize) -> Sum {
        let kind = match packet.offload.ip {
            IpChecksum::Trusted | IpChecksum::Partial { .. } => Kind::Ip(IpChecksum::Partial { start: l3 as u32 }),
            _ => Kind::Whole,
        };
        Sum { at: l3 + 10, kind, optional: false }
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
        let Layers { l3, l4, l4_proto: proto, .. } = packet.layers();
        let (network, start) = (l3? as u32, l4? as u32);
        let kind = match (packet.offload.l4, proto) {
            (L4Checksum::Partial { .. }, _) => Kind::Partial,
            (L4Checksum::Trusted | L4Checksum::Stale { .. }, IP_PROTO_TCP | IP_PROTO_UDP) => {
                Kind::Transport(L4Checksum::Stale { network, start, proto })
            }
            _ => Kind::Whole,
        };
        Some(Sum { at: l4? + checksum_offset(proto)?, kind, optional: proto == IP_PROTO_UDP })
    }

    pub(super) fn update(self, packet: &mut Packet, old: &[u8], new: &[u8]) {
        if old == new {
            return;
        }
        let Some(field) = packet.data_mut().get_mut(self.at..).and_then(|d| d.first_chunk_mut::<2>()) else { return };
        let before = u16::from_be_bytes(*field);
        let after = match self {
            Sum { kind: Kind::Partial, .. } => checksum::update_sum(before, old, new),
            Sum { kind: Kind::Ip(state), .. } => return packet.offload.ip = state,
            Sum { optional: true, .. } if before == 0 => return,
            Sum { kind: Kind::Transport(state), .. } => return packet.offload.l4 = state,
            Sum { kind: Kind::Whole, optional, .. } => match checksum::update(before, old, new) {
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
    if let Some(sum) = Sum::of_transport(packet).filter(|s| !matches!(s.kind, Kind::Partial)) {
        sum.update(packet, old, new);
    }
}
