//! Changing a packet in place, its checksums with it.
//!
//! [`set`] overwrites the fields of one datapath key attribute under a mask; [`push_vlan`] and [`pop_vlan`] change the
//! tag stack. Checksums are updated by the difference (RFC 1624), so that a packet that came in damaged leaves damaged.
//! A packet whose checksum is still to be computed keeps the pseudo-header's sum right instead.

use core::fmt;

use zerocopy::IntoBytes;

use crate::checksum;
use crate::compose::{checksum_offset, write_sctp_checksum};
use crate::extract::{IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP};
use crate::field::KeyAttr;
use crate::key::{FlowKey, FlowMask, VLAN_PRESENT};
use crate::packet::{L4Checksum, Packet};

/// Why a packet was not changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EditError {
    /// The packet has no such header.
    NoSuchHeader(KeyAttr),
    /// No action may set fields of this attribute in a packet.
    NotSettable(KeyAttr),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::NoSuchHeader(attr) => write!(f, "the packet has no {attr:?} header"),
            EditError::NotSettable(attr) => write!(f, "{attr:?} cannot be set in a packet"),
        }
    }
}

impl core::error::Error for EditError {}

/// Whether [`set`] knows how to set fields of `attr`.
pub const fn is_settable(attr: KeyAttr) -> bool {
    use KeyAttr::*;
    matches!(
        attr,
        Priority
            | SkbMark
            | DpHash
            | Ethernet
            | Vlan
            | Ipv4
            | Ipv6
            | Tcp
            | Udp
            | Sctp
            | Icmp
            | Icmpv6
            | Arp
            | Nd
            | Mpls
    )
}

/// Overwrites the bits of `mask` that belong to `attr` with those of `values`.
///
/// # Errors
/// If the packet has no such header, or the attribute cannot be set. The packet is unchanged then.
pub fn set(packet: &mut Packet, attr: KeyAttr, values: &FlowKey, mask: &FlowMask) -> Result<(), EditError> {
    let m = &mask.bits;
    let missing = EditError::NoSuchHeader(attr);
    match attr {
        KeyAttr::Priority => merge_u32(&mut packet.meta.skb_priority, values.skb_priority.get(), m.skb_priority.get()),
        KeyAttr::SkbMark => merge_u32(&mut packet.meta.pkt_mark, values.pkt_mark.get(), m.pkt_mark.get()),
        KeyAttr::DpHash => merge_u32(&mut packet.meta.dp_hash, values.dp_hash.get(), m.dp_hash.get()),
        KeyAttr::Ethernet => {
            let header = packet.data_mut().first_chunk_mut::<12>().ok_or(missing)?;
            merge(&mut header[..6], &values.eth_dst.0, &m.eth_dst.0);
            merge(&mut header[6..], &values.eth_src.0, &m.eth_src.0);
        }
        KeyAttr::Vlan => {
            let header = packet.data_mut().first_chunk_mut::<16>().ok_or(missing)?;
            if !matches!([header[12], header[13]], [0x81, 0x00] | [0x88, 0xa8]) {
                return Err(missing);
            }
            let keep = !VLAN_PRESENT;
            merge(
                &mut header[14..],
                &(values.vlan_tci.get() & keep).to_be_bytes(),
                &(m.vlan_tci.get() & keep).to_be_bytes(),
            );
        }
        KeyAttr::Mpls => {
            let at = packet.layers().l2_5.ok_or(missing)?;
            let lse = packet.data_mut().get_mut(at..at + 4).ok_or(missing)?;
            merge(lse, values.mpls_lse[0].as_bytes(), m.mpls_lse[0].as_bytes());
        }
        KeyAttr::Ipv4 => set_ipv4(packet, values, m).ok_or(missing)?,
        KeyAttr::Ipv6 => set_ipv6(packet, values, m).ok_or(missing)?,
        KeyAttr::Tcp => set_ports(packet, IP_PROTO_TCP, values, m).ok_or(missing)?,
        KeyAttr::Udp => set_ports(packet, IP_PROTO_UDP, values, m).ok_or(missing)?,
        KeyAttr::Sctp => set_ports(packet, IP_PROTO_SCTP, values, m).ok_or(missing)?,
        KeyAttr::Icmp => set_icmp(packet, IP_PROTO_ICMP, values, m).ok_or(missing)?,
        KeyAttr::Icmpv6 => set_icmp(packet, IP_PROTO_ICMPV6, values, m).ok_or(missing)?,
        KeyAttr::Arp => {
            let at = packet.layers().l3.ok_or(missing)?;
            let arp = packet.data_mut().get_mut(at..).and_then(|d| d.first_chunk_mut::<28>()).ok_or(missing)?;
            // Other hardware and protocol types have their addresses elsewhere, and extraction does not read them.
            if !arp.starts_with(&[0, 1, 8, 0, 6, 4]) {
                return Err(missing);
            }
            merge(&mut arp[7..8], &[values.nw_proto], &[m.nw_proto]);
            merge(&mut arp[8..14], &values.arp_sha.0, &m.arp_sha.0);
            merge(&mut arp[14..18], values.nw_src.as_bytes(), m.nw_src.as_bytes());
            merge(&mut arp[18..24], &values.arp_tha.0, &m.arp_tha.0);
            merge(&mut arp[24..28], values.nw_dst.as_bytes(), m.nw_dst.as_bytes());
        }
        KeyAttr::Nd => set_nd(packet, values, m).ok_or(missing)?,
        other => return Err(EditError::NotSettable(other)),
    }
    Ok(())
}

fn merge(to: &mut [u8], values: &[u8], mask: &[u8]) {
    for ((t, v), m) in to.iter_mut().zip(values).zip(mask) {
        *t = (*t & !m) | (v & m);
    }
}

fn merge_u32(to: &mut u32, value: u32, mask: u32) {
    *to = (*to & !mask) | (value & mask);
}

/// A checksum that changes with bytes elsewhere in the packet.
#[derive(Clone, Copy)]
struct Sum {
    at: usize,
    /// The field holds a sum, not its complement.
    partial: bool,
    /// A checksum of zero means that there is none.
    optional: bool,
}

impl Sum {
    /// The transport checksum, if a change of the IP addresses changes it.
    fn over_addresses(packet: &Packet) -> Option<Sum> {
        let layers = packet.layers();
        match layers.l4_proto {
            IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_ICMPV6 => Sum::of_transport(packet),
            _ => None,
        }
    }

    fn of_transport(packet: &Packet) -> Option<Sum> {
        let layers = packet.layers();
        Some(Sum {
            at: layers.l4? + checksum_offset(layers.l4_proto)?,
            partial: matches!(packet.offload.l4, L4Checksum::Partial { .. }),
            optional: layers.l4_proto == IP_PROTO_UDP,
        })
    }

    fn update(self, packet: &mut Packet, old: &[u8], new: &[u8]) {
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
fn change<const N: usize>(packet: &mut Packet, at: usize, values: &[u8], mask: &[u8]) -> Option<([u8; N], [u8; N])> {
    let field = packet.data_mut().get_mut(at..)?.first_chunk_mut::<N>()?;
    let old = *field;
    merge(field, values, mask);
    Some((old, *field))
}

fn set_ipv4(packet: &mut Packet, values: &FlowKey, m: &FlowKey) -> Option<()> {
    let l3 = packet.layers().l3?;
    // All or nothing: the whole header is there, or nothing is changed.
    let header = packet.data().get(l3..)?.first_chunk::<20>()?;
    if header[0] >> 4 != 4 {
        return None;
    }
    let ip_sum = Sum { at: l3 + 10, partial: false, optional: false };
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

fn set_ipv6(packet: &mut Packet, values: &FlowKey, m: &FlowKey) -> Option<()> {
    let l3 = packet.layers().l3?;
    let header = packet.data().get(l3..)?.first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    for (at, values, mask) in [(8, &values.ipv6_src, &m.ipv6_src), (24, &values.ipv6_dst, &m.ipv6_dst)] {
        let (old, new) = change::<16>(packet, l3 + at, values.as_bytes(), mask.as_bytes())?;
        if let Some(sum) = Sum::over_addresses(packet) {
            sum.update(packet, &old, &new);
        }
    }
    let word = |tos: u8, label: u32| (u32::from(tos) << 20 | label & 0xf_ffff).to_be_bytes();
    change::<4>(packet, l3, &word(values.nw_tos, values.ipv6_label.get()), &word(m.nw_tos, m.ipv6_label.get()))?;
    change::<1>(packet, l3 + 7, &[values.nw_ttl], &[m.nw_ttl])?;
    Some(())
}

fn set_ports(packet: &mut Packet, proto: u8, values: &FlowKey, m: &FlowKey) -> Option<()> {
    let layers = packet.layers();
    let l4 = layers.l4.filter(|_| layers.l4_proto == proto)?;
    let join = |k: &FlowKey| {
        let ([a, b], [c, d]) = (k.tp_src.get().to_be_bytes(), k.tp_dst.get().to_be_bytes());
        [a, b, c, d]
    };
    let (old, new) = change::<4>(packet, l4, &join(values), &join(m))?;
    // The sum of a partial checksum does not cover the ports yet.
    if matches!(packet.offload.l4, L4Checksum::Partial { .. }) || old == new {
        return Some(());
    }
    if proto == IP_PROTO_SCTP {
        let end = packet.len() - layers.l2_pad.min(packet.len());
        write_sctp_checksum(packet.data_mut().get_mut(l4..end)?);
    } else {
        Sum::of_transport(packet)?.update(packet, &old, &new);
    }
    Some(())
}

fn set_icmp(packet: &mut Packet, proto: u8, values: &FlowKey, m: &FlowKey) -> Option<()> {
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

/// Bytes behind the transport header's start changed: its checksum follows, unless it is still to be computed.
fn covered_by_transport(packet: &mut Packet, old: &[u8], new: &[u8]) {
    if let Some(sum) = Sum::of_transport(packet).filter(|s| !s.partial) {
        sum.update(packet, old, new);
    }
}

fn set_nd(packet: &mut Packet, values: &FlowKey, m: &FlowKey) -> Option<()> {
    let layers = packet.layers();
    let l4 = layers.l4.filter(|_| layers.l4_proto == IP_PROTO_ICMPV6)?;
    let (old, new) = change::<16>(packet, l4 + 8, values.nd_target.as_bytes(), m.nd_target.as_bytes())?;
    covered_by_transport(packet, &old, &new);
    let end = packet.len() - layers.l2_pad.min(packet.len());
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

/// Puts a VLAN tag in front of all others.
///
/// Does nothing to a packet that is too short to be Ethernet.
pub fn push_vlan(packet: &mut Packet, tpid: u16, tci: u16) {
    if packet.len() < 14 {
        return;
    }
    packet.push_front(4);
    let data = packet.data_mut();
    data.copy_within(4..16, 0);
    let [t0, t1] = tpid.to_be_bytes();
    let [c0, c1] = (tci & !VLAN_PRESENT).to_be_bytes();
    if let Some(tag) = data.get_mut(12..16) {
        tag.copy_from_slice(&[t0, t1, c0, c1]);
    }
}

/// Takes the outermost VLAN tag off, if there is one.
pub fn pop_vlan(packet: &mut Packet) {
    let tagged = matches!(packet.data().get(12..18), Some([0x81, 0x00, ..] | [0x88, 0xa8, ..]));
    if tagged {
        packet.data_mut().copy_within(0..12, 4);
        packet.pull_front(4);
    }
}

#[cfg(test)]
mod tests;
