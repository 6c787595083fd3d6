//! The outer headers of a packet that came through a tunnel, or that is to go through one.
//!
//! Whoever takes a packet out of a tunnel puts a [`Tunnel`] beside it, and extraction writes it to the key's tunnel
//! members; an action that sets those members does so by way of [`Tunnel::of_key`] again. In a datapath's key the
//! options stand as they were on the wire, from the first byte of [`FlowKey::tun_metadata`] on, and
//! [`FlowKey::tun_present`] is their length in bytes.

use core::net::{Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use super::TunnelFlags;
use crate::key::{Block, FlowKey, TUN_METADATA_BYTES};

/// What the outer headers of a tunnel say. A member that the kind of tunnel does not have is zero.
///
/// ```
/// use ovs_packet::packet::{Tunnel, TunnelAddresses};
/// use ovs_packet::{FlowKey, Packet, extract};
///
/// let mut packet = Packet::from_slice(&[0; 60]);
/// let addresses = TunnelAddresses::V4 { src: [10, 0, 0, 1].into(), dst: [10, 0, 0, 2].into() };
/// packet.tunnel = Some(Box::new(Tunnel { id: 5000, ttl: 64, ..Tunnel::new(addresses) }));
/// let mut key = FlowKey::ZERO;
/// extract::extract(&mut packet, &mut key);
/// assert_eq!((key.tun_id.get(), key.tun_dst.get()), (5000, 0x0a00_0002));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// Outer addresses.
    pub addresses: TunnelAddresses,
    /// VNI, GRE key or TEID, right-aligned; [`TunnelFlags::KEY`] tells zero from none.
    pub id: u64,
    /// What was set in the outer headers.
    pub flags: TunnelFlags,
    /// TOS or traffic class of the outer header.
    pub tos: u8,
    /// TTL or hop limit of the outer header.
    pub ttl: u8,
    /// Outer UDP source port.
    pub tp_src: u16,
    /// Outer UDP destination port.
    pub tp_dst: u16,
    /// VXLAN group policy id.
    pub gbp_id: u16,
    /// VXLAN group policy flags.
    pub gbp_flags: u8,
    /// First byte of the GTP-U header.
    pub gtpu_flags: u8,
    /// GTP-U message type.
    pub gtpu_msgtype: u8,
    /// ERSPAN, packed as [`FlowKey::tun_erspan`] tells.
    pub erspan: u32,
    /// Geneve options as they stand on the wire (RFC 8926, section 3.5): whole options, one behind the other.
    pub options: ArrayVec<u8, TUN_METADATA_BYTES>,
}

/// Addresses of an outer IP header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TunnelAddresses {
    /// Over IPv4.
    V4 {
        /// Source.
        src: Ipv4Addr,
        /// Destination.
        dst: Ipv4Addr,
    },
    /// Over IPv6.
    V6 {
        /// Source.
        src: Ipv6Addr,
        /// Destination.
        dst: Ipv6Addr,
    },
}

impl Tunnel {
    /// A tunnel between these addresses, all else zero.
    pub fn new(addresses: TunnelAddresses) -> Tunnel {
        Tunnel {
            addresses,
            id: 0,
            flags: TunnelFlags::empty(),
            tos: 0,
            ttl: 0,
            tp_src: 0,
            tp_dst: 0,
            gbp_id: 0,
            gbp_flags: 0,
            gtpu_flags: 0,
            gtpu_msgtype: 0,
            erspan: 0,
            options: ArrayVec::new(),
        }
    }

    /// The tunnel that a datapath's key tells of; `None` for a key without outer destination, which is one without
    /// tunnel.
    pub fn of_key(key: &FlowKey) -> Option<Tunnel> {
        let addresses = if key.tun_ipv6_dst != 0 {
            TunnelAddresses::V6 {
                src: Ipv6Addr::from_bits(key.tun_ipv6_src.get()),
                dst: Ipv6Addr::from_bits(key.tun_ipv6_dst.get()),
            }
        } else if key.tun_dst != 0 {
            TunnelAddresses::V4 {
                src: Ipv4Addr::from_bits(key.tun_src.get()),
                dst: Ipv4Addr::from_bits(key.tun_dst.get()),
            }
        } else {
            return None;
        };
        let len = usize::try_from(key.tun_present.get()).unwrap_or(usize::MAX).min(TUN_METADATA_BYTES);
        Some(Tunnel {
            addresses,
            id: key.tun_id.get(),
            flags: TunnelFlags::from_bits_retain(key.tun_flags),
            tos: key.tun_tos,
            ttl: key.tun_ttl,
            tp_src: key.tun_tp_src.get(),
            tp_dst: key.tun_tp_dst.get(),
            gbp_id: key.tun_gbp_id.get(),
            gbp_flags: key.tun_gbp_flags,
            gtpu_flags: key.tun_gtpu_flags,
            gtpu_msgtype: key.tun_gtpu_msgtype,
            erspan: key.tun_erspan.get(),
            options: key.tun_metadata.iter().take(len).copied().collect(),
        })
    }

    /// The blocks of a key that the tunnel's members are in.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block> {
        let options = [Block::Options0, Block::Options1, Block::Options2, Block::Options3];
        let presence = (!self.options.is_empty()).then_some(Block::Service);
        let used = options.into_iter().take(self.options.len().div_ceil(64));
        core::iter::once(Block::Tunnel).chain(presence).chain(used)
    }

    /// Writes the tunnel members of `key`, which are zero.
    pub(crate) fn write(&self, key: &mut FlowKey) {
        match self.addresses {
            TunnelAddresses::V4 { src, dst } => {
                key.tun_src.set(src.to_bits());
                key.tun_dst.set(dst.to_bits());
            }
            TunnelAddresses::V6 { src, dst } => {
                key.tun_ipv6_src.set(src.to_bits());
                key.tun_ipv6_dst.set(dst.to_bits());
            }
        }
        key.tun_id.set(self.id);
        key.tun_flags = self.flags.bits();
        key.tun_tos = self.tos;
        key.tun_ttl = self.ttl;
        key.tun_tp_src.set(self.tp_src);
        key.tun_tp_dst.set(self.tp_dst);
        key.tun_gbp_id.set(self.gbp_id);
        key.tun_gbp_flags = self.gbp_flags;
        key.tun_gtpu_flags = self.gtpu_flags;
        key.tun_gtpu_msgtype = self.gtpu_msgtype;
        key.tun_erspan.set(self.erspan);
        if let Some(room) = key.tun_metadata.get_mut(..self.options.len()) {
            room.copy_from_slice(&self.options);
            key.tun_present.set(self.options.len() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_the_key_says_is_what_was_carried(
            v6: bool, numbers: [u64; 3], bytes: [u8; 8], options in prop::collection::vec(any::<u8>(), 0..=TUN_METADATA_BYTES),
        ) {
            let [a, b, id] = numbers;
            let addresses = if v6 {
                TunnelAddresses::V6 { src: Ipv6Addr::from_bits(a.into()), dst: Ipv6Addr::from_bits(u128::from(b) << 64 | 1) }
            } else {
                TunnelAddresses::V4 { src: Ipv4Addr::from_bits(a as u32), dst: Ipv4Addr::from_bits(b as u32 | 1) }
            };
            let [flags, tos, ttl, gbp_flags, gtpu_flags, gtpu_msgtype, p, q] = bytes;
            let tunnel = Tunnel {
                id, flags: TunnelFlags::from_bits_retain(flags), tos, ttl, gbp_flags, gtpu_flags, gtpu_msgtype,
                tp_src: u16::from(p) << 8, tp_dst: q.into(), gbp_id: u16::from(q) << 4, erspan: a as u32,
                options: options.iter().copied().collect(), ..Tunnel::new(addresses)
            };
            let mut key = FlowKey::ZERO;
            tunnel.write(&mut key);
            let blocks: Vec<usize> = tunnel.blocks().map(|block| block as usize).collect();
            prop_assert_eq!(Tunnel::of_key(&key), Some(tunnel));
            for (i, block) in key.words().as_chunks::<8>().0.iter().enumerate() {
                prop_assert!(blocks.contains(&i) || *block == [0; 8]);
            }
        }
    }

    #[test]
    fn a_key_without_outer_destination_has_no_tunnel() {
        assert_eq!(Tunnel::of_key(&FlowKey { tun_id: 5.into(), tun_src: 1.into(), ..FlowKey::ZERO }), None);
    }
}
