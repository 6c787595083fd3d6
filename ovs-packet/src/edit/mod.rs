//! Changing a packet in place, its checksums with it.
//!
//! - [`set`] overwrites the fields of one datapath key attribute under a mask;
//! - [`dec_ttl`], [`dec_mpls_ttl`] and [`dec_nsh_ttl`] count a hop;
//! - `push_*` and `pop_*` put headers in front and take them off: [`push_vlan`], [`push_mpls`], [`add_mpls`],
//!   [`push_eth`], [`push_nsh`] and their reverses.
//!
//! Checksums are updated by the difference (RFC 1624; SCTP's CRC is linear too), so that a packet that came in damaged
//! leaves damaged. A packet whose checksum is still to be computed keeps the pseudo-header's sum right instead. Where the
//! headers are is known from extraction ([`Packet::layers`]): a packet that was not extracted has none.

mod encap;
mod sum;
mod transport;
mod ttl;

pub use encap::{
    add_mpls, insert_vlan, pop_eth, pop_mpls, pop_nsh, pop_vlan, push_eth, push_mpls, push_nsh, push_vlan, pushed_label,
};
pub use ttl::{dec_mpls_ttl, dec_nsh_ttl, dec_ttl};

use alloc::boxed::Box;
use core::fmt;

use zerocopy::IntoBytes;

use self::sum::{merge, merge_u32};
use self::transport::{set_icmp, set_ipv4, set_ipv6, set_nd, set_nd_extensions, set_ports};
use crate::extract::{ETH_TYPE_NSH, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP};
use crate::field::KeyAttr;
use crate::key::{FlowKey, FlowMask, VLAN_PRESENT};
use crate::packet::{Packet, Tunnel};

/// Why a packet was not changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EditError {
    /// The packet has no such header.
    NoSuchHeader(KeyAttr),
    /// No action may set fields of this attribute in a packet.
    NotSettable(KeyAttr),
    /// The TTL allows no further hop.
    TtlExpired,
    /// A label was to be announced by an Ethertype that is none of MPLS.
    NotMpls(u16),
    /// A packet of this type cannot have the header, or has it already.
    WrongPacketType(u32),
    /// NSH carries something that has no packet type.
    UnknownNextProtocol(u8),
    /// NSH cannot have metadata of so many bytes.
    BadMetadata(usize),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::NoSuchHeader(attr) => write!(f, "the packet has no {attr:?} header"),
            EditError::NotSettable(attr) => write!(f, "{attr:?} cannot be set in a packet"),
            EditError::TtlExpired => write!(f, "the TTL allows no further hop"),
            EditError::NotMpls(eth_type) => write!(f, "Ethertype {eth_type:#06x} is not MPLS"),
            EditError::WrongPacketType(kind) => {
                write!(f, "not possible with a packet of type ({},{:#x})", kind >> 16, kind & 0xffff)
            }
            EditError::UnknownNextProtocol(np) => write!(f, "NSH carries protocol {np}, which is not known"),
            EditError::BadMetadata(len) => write!(f, "{len} bytes are no length of NSH metadata"),
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
            | Tunnel
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
            | NdExtensions
            | Mpls
            | Nsh
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
        KeyAttr::Tunnel => {
            let mut tunnel = FlowKey::ZERO;
            // A header to another end is another header: it has nothing of the one before.
            if m.tun_dst == 0 && m.tun_ipv6_dst == 0 {
                packet.tunnel.iter().for_each(|t| t.write(&mut tunnel));
            }
            tunnel.assign(values, mask);
            packet.tunnel = Tunnel::of_key(&tunnel).map(Box::new);
        }
        KeyAttr::Ethernet | KeyAttr::Vlan if packet.meta.packet_type != 0 => return Err(missing),
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
        KeyAttr::NdExtensions => set_nd_extensions(packet, values, m).ok_or(missing)?,
        KeyAttr::Nsh => set_nsh(packet, values, m).ok_or(missing)?,
        other => return Err(EditError::NotSettable(other)),
    }
    Ok(())
}

/// Where the packet has an NSH header that is whole, at least in what a key has of it.
fn nsh_at(packet: &Packet) -> Option<usize> {
    let at = packet.layers().l3?;
    let announced = match packet.meta.packet_type {
        0 => packet.data().get(at.checked_sub(2)?..)?.first_chunk::<2>().map(|t| u16::from_be_bytes(*t))?,
        kind => kind as u16,
    };
    let header = packet.data().get(at..)?;
    let &[first, second, mdtype, ..] = header.first_chunk::<8>()?;
    let len = usize::from(second & 0x3f) * 4;
    let least = if mdtype == 1 { 24 } else { 8 };
    (announced == ETH_TYPE_NSH && first >> 6 == 0 && (least..=header.len()).contains(&len)).then_some(at)
}

fn set_nsh(packet: &mut Packet, values: &FlowKey, m: &FlowKey) -> Option<()> {
    let at = nsh_at(packet)?;
    let (base, rest) = packet.data_mut().get_mut(at..)?.split_first_chunk_mut::<8>()?;
    let first = |k: &FlowKey| (u16::from(k.nsh_flags & 3) << 12 | u16::from(k.nsh_ttl & 0x3f) << 6).to_be_bytes();
    merge(&mut base[..2], &first(values), &first(m));
    merge(&mut base[4..], values.nsh_path.as_bytes(), m.nsh_path.as_bytes());
    if base[2] == 1 {
        merge(rest.first_chunk_mut::<16>()?, values.nsh_context.as_bytes(), m.nsh_context.as_bytes());
    }
    Some(())
}

#[cfg(test)]
mod tests;
