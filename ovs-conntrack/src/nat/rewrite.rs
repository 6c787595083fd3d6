//! Changing a packet from one tuple to another, checksums with it.

use core::net::IpAddr;

use ovs_packet::extract::{IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP};
use ovs_packet::field::KeyAttr;
use ovs_packet::key::FlowMask;
use ovs_packet::packet::L4Checksum;
use ovs_packet::{FlowKey, Packet, checksum, compose, edit};

use crate::icmp;
use crate::tuple::{Transport, Tuple};

/// Gives a packet the addresses, ports or identifier of `to`, whose protocol is the packet's. `None` if the packet's
/// layers do not allow it.
pub(crate) fn packet(packet: &mut Packet, to: &Tuple) -> Option<()> {
    addresses(packet, to, (true, true))?;
    match to.transport {
        Transport::Ports { src, dst } => {
            let attr = match to.proto {
                IP_PROTO_TCP => KeyAttr::Tcp,
                IP_PROTO_UDP => KeyAttr::Udp,
                IP_PROTO_SCTP => KeyAttr::Sctp,
                _ => return Some(()),
            };
            let (mut values, mut mask) = (FlowKey::ZERO, FlowMask::EMPTY);
            values.tp_src.set(src);
            values.tp_dst.set(dst);
            mask.bits.tp_src.set(!0);
            mask.bits.tp_dst.set(!0);
            edit::set(packet, attr, &values, &mask).ok()
        }
        Transport::Icmp { id, .. } => {
            let at = packet.layers().l4? + 4;
            let field = packet.data_mut().get_mut(at..at + 2)?;
            let old = [*field.first()?, *field.get(1)?];
            field.copy_from_slice(&id.to_be_bytes());
            icmp_sum(packet, &old, &id.to_be_bytes())
        }
    }
}

/// Translates an ICMP error that goes with `from` to one that goes with `to`, and the packet inside, which goes the other
/// way, to `to` reversed.
///
/// An end that is not translated keeps its address in the error: that of a router on the way, who is not of the
/// connection. One that is translated has the address of `to`, also if it is a router behind it that reports.
pub(crate) fn error(packet: &mut Packet, from: &Tuple, to: &Tuple) -> Option<()> {
    addresses(packet, to, (from.src != to.src, from.dst != to.dst))?;
    let v6 = to.src.is_ipv6();
    let l4 = packet.layers().l4?;
    let end = packet.len() - packet.layers().l2_pad.min(packet.len());
    let inner = packet.data_mut().get_mut(l4 + icmp::ERROR_HEADER..end)?;
    undelivered(inner, &to.reversed(), v6)?;
    // The message is short: summed anew. One that is still to be summed by whoever sends it stays so.
    if !matches!(packet.offload.l4, L4Checksum::Partial { .. }) {
        compose::write_l4_checksum(packet);
    }
    Some(())
}

/// Gives a packet the source of `to`, its destination, or both.
fn addresses(packet: &mut Packet, to: &Tuple, (src_too, dst_too): (bool, bool)) -> Option<()> {
    let (mut values, mut mask) = (FlowKey::ZERO, FlowMask::EMPTY);
    let attr = match (to.src, to.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            values.nw_src.set(src.to_bits());
            values.nw_dst.set(dst.to_bits());
            mask.bits.nw_src.set(if src_too { !0 } else { 0 });
            mask.bits.nw_dst.set(if dst_too { !0 } else { 0 });
            KeyAttr::Ipv4
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            values.ipv6_src.set(src.to_bits());
            values.ipv6_dst.set(dst.to_bits());
            mask.bits.ipv6_src.set(if src_too { !0 } else { 0 });
            mask.bits.ipv6_dst.set(if dst_too { !0 } else { 0 });
            KeyAttr::Ipv6
        }
        _ => return None,
    };
    edit::set(packet, attr, &values, &mask).ok()
}

/// Two bytes under an ICMP checksum changed.
fn icmp_sum(packet: &mut Packet, old: &[u8; 2], new: &[u8; 2]) -> Option<()> {
    if matches!(packet.offload.l4, L4Checksum::Partial { .. }) {
        return Some(());
    }
    let at = packet.layers().l4? + 2;
    let field = packet.data_mut().get_mut(at..at + 2)?.first_chunk_mut::<2>()?;
    *field = checksum::update(u16::from_be_bytes(*field), old, new).to_be_bytes();
    Some(())
}

/// Gives the packet in an ICMP error, which may be cut short behind 8 bytes of transport header, another tuple.
///
/// Its own checksums are adjusted as far as they are there: the sender of the packet may compare.
fn undelivered(ip: &mut [u8], to: &Tuple, v6: bool) -> Option<()> {
    let (at, len) = if v6 { (8, 16) } else { (12, 4) };
    let (proto, l4) = icmp::transport_of(v6, ip)?;
    let mut new = [0; 32];
    let addresses = new.get_mut(..2 * len)?;
    match (to.src, to.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            addresses.get_mut(..4)?.copy_from_slice(&src.octets());
            addresses.get_mut(4..)?.copy_from_slice(&dst.octets());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            addresses.get_mut(..16)?.copy_from_slice(&src.octets());
            addresses.get_mut(16..)?.copy_from_slice(&dst.octets());
        }
        _ => return None,
    }
    let mut old = [0; 32];
    let place = ip.get_mut(at..at + 2 * len)?;
    old.get_mut(..2 * len)?.copy_from_slice(place);
    place.copy_from_slice(addresses);
    let (old, new) = (old.get(..2 * len)?, new.get(..2 * len)?);
    if !v6 {
        let sum = ip.get_mut(10..12)?.first_chunk_mut::<2>()?;
        *sum = checksum::update(u16::from_be_bytes(*sum), old, new).to_be_bytes();
    }
    let l4 = ip.get_mut(l4..)?;
    let (sum_at, over_addresses) = match proto {
        IP_PROTO_TCP => (16, true),
        IP_PROTO_UDP => (6, true),
        IP_PROTO_ICMPV6 => (2, true),
        IP_PROTO_ICMP => (2, false),
        _ => (usize::MAX, false),
    };
    let adjust = |l4: &mut [u8], old: &[u8], new: &[u8]| {
        let sum = l4.get_mut(sum_at..sum_at.saturating_add(2)).and_then(|s| s.first_chunk_mut::<2>());
        if let Some(sum) = sum.filter(|s| proto != IP_PROTO_UDP || **s != [0, 0]) {
            *sum = checksum::update(u16::from_be_bytes(*sum), old, new).to_be_bytes();
        }
    };
    if over_addresses {
        adjust(l4, old, new);
    }
    let (at, new) = match to.transport {
        Transport::Ports { src, dst } if matches!(proto, IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_SCTP) => {
            let ([a, b], [c, d]) = (src.to_be_bytes(), dst.to_be_bytes());
            (0, [a, b, c, d])
        }
        Transport::Icmp { id, .. } => {
            let ([a, b], [c, d]) = (id.to_be_bytes(), [*l4.get(6)?, *l4.get(7)?]);
            (4, [a, b, c, d])
        }
        Transport::Ports { .. } => return Some(()),
    };
    let old = *l4.get(at..)?.first_chunk::<4>()?;
    adjust(l4, &old, &new);
    l4.get_mut(at..at + 4)?.copy_from_slice(&new);
    Some(())
}
