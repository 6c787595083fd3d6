//! Sets of fields of IP and of what IP carries.

use zerocopy::IntoBytes;

use super::sum::{Sum, change, covered_by_transport};
use crate::checksum;
use crate::compose::final_destination;
use crate::extract::{IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, ND_ADVERT, ND_SOLICIT};
use crate::key::FlowKey;
use crate::packet::{L4Checksum, Packet};

pub(super) fn set_ipv4(packet: &mut Packet, values: &FlowKey, m: &FlowKey) -> Option<()> {
    let l3 = packet.layers().l3?;
    // All or nothing: the whole header is there, or nothing is changed.
    let header = packet.data().get(l3..)?.first_chunk::<20>()?;
    if header[0] >> 4 != 4 {
        return None;
    }
    let ip_sum = Sum::of_ipv4(packet, l3);
    for (at, values, mask) in [(12, &values.nw_src, &m.nw_src), (16, &values.nw_dst, &m.nw_dst)] {
        let (old, new) = change::<4>(packet, l3 + at, values.as_bytes(), mask.as_bytes())?;
        ip_sum.update(packet, &old, &new);
        if let Some(sum) = Sum::over_addresses(packet) {
            sum.update(packet, &old, &new);
        }
    }
    let (old, new) = change::<2>(packet, l3, &[0, values.nw_tos], &[0, m.nw_tos])?;
    ip_sum.update(packet, &old, &new);
    let (old, new) = change::<2>(packet, l3 + 8, &[values.nw_ttl, 0], &[m.nw_ttl, 0])?;
    ip_sum.update(packet, &old, &new);
    Some(())
}

pub(super) fn set_ipv6(packet: &mut Packet, values: &FlowKey, m: &FlowKey) -> Option<()> {
    let l3 = packet.layers().l3?;
    let header = packet.data().get(l3..)?;
    if header.first_chunk::<40>()?[0] >> 4 != 6 {
        return None;
    }
    // The transport's checksum counts the last destination, which a routing header may have elsewhere.
    let last = final_destination(packet.data().get(l3..packet.layers().l4.unwrap_or(l3)).unwrap_or(&[]));
    for (at, values, mask) in [(8, &values.ipv6_src, &m.ipv6_src), (24, &values.ipv6_dst, &m.ipv6_dst)] {
        let (old, new) = change::<16>(packet, l3 + at, values.as_bytes(), mask.as_bytes())?;
        if let Some(sum) = Sum::over_addresses(packet).filter(|_| at == 8 || at == last) {
            sum.update(packet, &old, &new);
        }
    }
    let word = |tos: u8, label: u32| (u32::from(tos) << 20 | label & 0xf_ffff).to_be_bytes();
    change::<4>(packet, l3, &word(values.nw_tos, values.ipv6_label.get()), &word(m.nw_tos, m.ipv6_label.get()))?;
    change::<1>(packet, l3 + 7, &[values.nw_ttl], &[m.nw_ttl])?;
    Some(())
}

pub(super) fn set_ports(packet: &mut Packet, proto: u8, values: &FlowKey, m: &FlowKey) -> Option<()> {
    let layers = packet.layers();
    let l4 = layers.l4.filter(|_| layers.l4_proto == proto)?;
    let join = |k: &FlowKey| {
        let ([a, b], [c, d]) = (k.tp_src.get().to_be_bytes(), k.tp_dst.get().to_be_bytes());
        [a, b, c, d]
    };
    let sctp = proto == IP_PROTO_SCTP && !matches!(packet.offload.l4, L4Checksum::Partial { .. });
    let before = if sctp { sctp_crc(packet, l4)? } else { 0 };
    let (old, new) = change::<4>(packet, l4, &join(values), &join(m))?;
    if sctp {
        let differ = (before ^ sctp_crc(packet, l4)?).to_le_bytes();
        let field = packet.data_mut().get_mut(l4 + 8..)?.first_chunk_mut::<4>()?;
        field.iter_mut().zip(differ).for_each(|(f, d)| *f ^= d);
    } else {
        covered_by_transport(packet, &old, &new);
    }
    Some(())
}

/// The CRC32c of an SCTP packet (RFC 9260, appendix A) as it stands, its own included: two packets that differ only in
/// other bytes should differ in their checksums as these do.
fn sctp_crc(packet: &Packet, l4: usize) -> Option<u32> {
    let end = packet.len() - packet.layers().l2_pad.min(packet.len());
    packet.data().get(l4..end).filter(|segment| segment.len() >= 12).map(checksum::crc32c)
}

pub(super) fn set_icmp(packet: &mut Packet, proto: u8, values: &FlowKey, m: &FlowKey) -> Option<()> {
    let layers = packet.layers();
    let l4 = layers.l4.filter(|_| layers.l4_proto == proto)?;
    let join = |k: &FlowKey| [k.tp_src.get() as u8, k.tp_dst.get() as u8];
    let (old, new) = change::<2>(packet, l4, &join(values), &join(m))?;
    covered_by_transport(packet, &old, &new);
    // Nothing but zeros: the one sum that a difference does not find (RFC 1624, section 3).
    if proto == IP_PROTO_ICMP && packet.l4().iter().all(|byte| *byte == 0) {
        packet.data_mut().get_mut(l4 + 2..l4 + 4)?.fill(0xff);
    }
    Some(())
}

/// Where a neighbour solicitation or advertisement begins and ends, if it has its target.
fn neighbor_discovery(packet: &Packet) -> Option<(usize, usize)> {
    let layers = packet.layers();
    let l4 = layers.l4.filter(|_| layers.l4_proto == IP_PROTO_ICMPV6)?;
    let end = packet.len() - layers.l2_pad.min(packet.len());
    let message = packet.data().get(l4..end)?.first_chunk::<24>()?;
    matches!(message, [ND_SOLICIT | ND_ADVERT, 0, ..]).then_some((l4, end))
}

pub(super) fn set_nd(packet: &mut Packet, values: &FlowKey, m: &FlowKey) -> Option<()> {
    let (l4, end) = neighbor_discovery(packet)?;
    let (old, new) = change::<16>(packet, l4 + 8, values.nd_target.as_bytes(), m.nd_target.as_bytes())?;
    covered_by_transport(packet, &old, &new);
    let mut at = l4 + 24;
    while let Some(&[kind, units]) = packet.data().get(at..end).and_then(|d| d.first_chunk::<2>()) {
        let (value, mask) = match kind {
            1 => (values.arp_sha, m.arp_sha),
            _ => (values.arp_tha, m.arp_tha),
        };
        if matches!(kind, 1 | 2) && units == 1 && at + 8 <= end {
            let (old, new) = change::<6>(packet, at + 2, &value.0, &mask.0)?;
            covered_by_transport(packet, &old, &new);
        }
        if units == 0 {
            break;
        }
        at += usize::from(units) * 8;
    }
    Some(())
}

/// The reserved word, and the type of the first option, if there is one.
pub(super) fn set_nd_extensions(packet: &mut Packet, values: &FlowKey, m: &FlowKey) -> Option<()> {
    let (l4, end) = neighbor_discovery(packet)?;
    let (old, new) = change::<4>(packet, l4 + 4, values.igmp_group.as_bytes(), m.igmp_group.as_bytes())?;
    covered_by_transport(packet, &old, &new);
    if l4 + 32 <= end {
        let kind = |k: &FlowKey| [k.tcp_flags.get() as u8, 0];
        let (old, new) = change::<2>(packet, l4 + 24, &kind(values), &kind(m))?;
        covered_by_transport(packet, &old, &new);
    }
    Some(())
}
