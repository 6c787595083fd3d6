//! The common packets: TCP, UDP and ICMP, except neighbour discovery, over IPv4 without options or fragments or IPv6
//! without extension headers, in Ethernet frames untagged or tagged once.
//!
//! They are most of all traffic, and for them alone every header's place and size is known beforehand: nothing is looked
//! for, and each word of the key is composed in registers and stored once. What is not one of them is left to the other
//! files of this module, which read every kind from the beginning, these included: what was stored till then is no harm.
//! A test holds the two against each other.

use super::{
    ADDRESSES, CONNTRACK, ETH_TYPE_IPV4, ETH_TYPE_IPV6, IDENTITY, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_TCP,
    IP_PROTO_UDP, IPV4_ADDRESSES, PORTS, PROTOCOL, TAG_TYPE, TYPE_AND_TAG, identity, ip, join, join_quarters, l2, l4,
    put, put_block,
};
use crate::key::{Block, BlockSet, FlowKey};
use crate::packet::{Packet, Place, Places};

/// Reads `packet` if it is a common one, and says which blocks are in use then.
#[inline(always)]
pub(super) fn extract(packet: &mut Packet, key: &mut FlowKey) -> Option<BlockSet> {
    let (data, meta, _, places) = packet.for_extraction()?;
    let (header, rest) = data.split_first_chunk::<14>().filter(|_| meta.packet_type == 0)?;
    let (first, last) = (u64::from_ne_bytes(*header.first_chunk()?), u64::from_ne_bytes(*header.last_chunk()?));
    put::<IDENTITY>(key, identity(meta));
    put::<CONNTRACK>(key, 0);
    put::<ADDRESSES>(key, first);
    // Two bytes of the source that the first word has already, the others, and the Ethertype.
    let (link, eth_type) = (without_first_quarter(last), last_quarter(last));
    if !l2::is_vlan(eth_type) {
        put::<TYPE_AND_TAG>(key, link);
        put::<TAG_TYPE>(key, 0);
        return network::<14>(rest, eth_type, key, places);
    }
    let (tag, rest) = l2::tag(rest)?;
    put::<TYPE_AND_TAG>(key, join(first_half(link), join_quarters(tag.eth_type, tag.tci)));
    put::<TAG_TYPE>(key, join(0, join_quarters(eth_type, 0)));
    network::<18>(rest, tag.eth_type, key, places)
}

/// A word's last three quarters, in the order in which they stand in memory, moved to its front.
#[inline(always)]
fn without_first_quarter(word: u64) -> u64 {
    if cfg!(target_endian = "little") { word >> 16 } else { word << 16 }
}

#[inline(always)]
fn first_half(word: u64) -> u32 {
    if cfg!(target_endian = "little") { word as u32 } else { (word >> 32) as u32 }
}

#[inline(always)]
fn last_quarter(word: u64) -> u16 {
    if cfg!(target_endian = "little") { (word >> 48) as u16 } else { word as u16 }
}

/// What of an IPv4 header's first word tells a common packet: version and header length, more fragments, offset.
const KIND: u64 = u64::from_ne_bytes([0xff, 0, 0, 0, 0, 0, 0x3f, 0xff]);
const COMMON: u64 = u64::from_ne_bytes([0x45, 0, 0, 0, 0, 0, 0, 0]);

#[inline(always)]
fn network<const AT: u16>(data: &[u8], eth_type: u16, key: &mut FlowKey, places: &mut Places) -> Option<BlockSet> {
    let at = Place::START.plus(AT);
    if eth_type == ETH_TYPE_IPV4.to_be() {
        let (header, rest) = data.split_first_chunk::<{ ip::IPV4_HEADER }>()?;
        let [_, tos, l0, l1, _, _, _, _, ttl, proto, _, _, addresses @ ..] = header;
        let total_len = usize::from(u16::from_be_bytes([*l0, *l1]));
        let pad = u16::try_from(data.len().wrapping_sub(total_len)).ok()?;
        if u64::from_ne_bytes(*header.first_chunk()?) & KIND != COMMON {
            return None;
        }
        put::<IPV4_ADDRESSES>(key, u64::from_ne_bytes(*addresses));
        put::<PROTOCOL>(key, join(u32::from_ne_bytes([*proto, *tos, *ttl, 0]), 0));
        put::<PORTS>(key, ports(rest, ip::IPV4_HEADER, total_len, *proto, false)?);
        let l4 = at.plus(ip::IPV4_HEADER as u16);
        *places = Places { l2_5: Place::NONE, l3: at, l4, l2_pad: pad, l4_proto: *proto };
        return Some(BlockSet::CORE);
    }
    if eth_type == ETH_TYPE_IPV6.to_be() {
        let (header, rest) = data.split_first_chunk::<{ ip::IPV6_HEADER }>()?;
        let [w0, w1, w2, w3, l0, l1, next, hops, addresses @ ..] = header;
        let payload_len = usize::from(u16::from_be_bytes([*l0, *l1]));
        let pad = u16::try_from(rest.len().wrapping_sub(payload_len)).ok()?;
        put_block(key, Block::Network, ip::network_block(addresses));
        put::<IPV4_ADDRESSES>(key, 0);
        put::<PROTOCOL>(key, ip::ipv6_protocol([*w0, *w1, *w2, *w3], *next, *hops, 0));
        put::<PORTS>(key, ports(rest, 0, payload_len, *next, true)?);
        let l4 = at.plus(ip::IPV6_HEADER as u16);
        *places = Places { l2_5: Place::NONE, l3: at, l4, l2_pad: pad, l4_proto: *next };
        return Some(BlockSet::CORE.with(Block::Network));
    }
    None
}

/// The word of ports of a transport header, in front of which are `skip` of the `len` bytes that IP announced.
#[inline(always)]
fn ports(rest: &[u8], skip: usize, len: usize, proto: u8, v6: bool) -> Option<u64> {
    match proto {
        IP_PROTO_TCP => l4::tcp(rest, skip, len),
        IP_PROTO_UDP => l4::udp(rest, skip, len),
        IP_PROTO_ICMP if !v6 => l4::icmp(rest, skip, len),
        IP_PROTO_ICMPV6 if v6 => l4::icmp(rest, skip, len).filter(|word| !l4::is_neighbor_discovery(*word)),
        _ => None,
    }
}
