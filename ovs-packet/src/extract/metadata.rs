//! What is known of a packet beside its bytes, into the key.

use super::{
    ETH_TYPE_IPV4, ETH_TYPE_IPV6, Extraction, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP,
    IP_PROTO_UDP, Malformed, ND_ADVERT, ND_SOLICIT, claim,
};
use crate::key::{Block, FRAG_LATER, FlowKey};
use crate::packet::{Body, CtMetadata, Metadata, OriginalTuple, Packet, Places, Tunnel};

/// Whether all that is known of a packet is its port and recirculation, and that it begins with Ethernet.
#[inline(always)]
pub(super) fn is_plain(packet: &Packet) -> bool {
    let Body { meta, tunnel, .. } = &**packet;
    packet.is_plain()
        || tunnel.is_none() && meta.dp_hash | meta.skb_priority | meta.pkt_mark | u32::from(meta.ct.state.bits()) == 0
}

/// Writes all that is known of a packet but port and recirculation, which every packet has. `e` is what its bytes gave.
pub(super) fn write(
    meta: &Metadata,
    tunnel: Option<&Tunnel>,
    key: &mut FlowKey,
    places: Places,
    mut e: Extraction,
) -> Extraction {
    if meta.pkt_mark | meta.skb_priority | meta.dp_hash != 0 {
        e.blocks = claim(key, e.blocks, Block::Extra);
        key.pkt_mark.set(meta.pkt_mark);
        key.skb_priority.set(meta.skb_priority);
        key.dp_hash.set(meta.dp_hash);
    }
    if let Some(tunnel) = tunnel {
        e.blocks = tunnel.blocks().fold(e.blocks, |blocks, block| claim(key, blocks, block));
        tunnel.write(key);
    }
    if !meta.ct.state.is_empty() {
        e.blocks = claim(key, e.blocks, Block::Extra);
        key.ct_state = meta.ct.state.bits();
        key.ct_zone.set(meta.ct.zone);
        key.ct_mark.set(meta.ct.mark);
        key.ct_label.set(meta.ct.label);
        e = write_original(&meta.ct, key, places, e);
    }
    e
}

/// Writes the original tuple of a packet's connection, where the packet is still of the connection's IP version, and its
/// ports, where it still has a transport header: an action may have pushed labels since, or taken headers away.
fn write_original(ct: &CtMetadata, key: &mut FlowKey, places: Places, mut e: Extraction) -> Extraction {
    let Some(original) = ct.original else { return e };
    let ip = !matches!(e.malformed, Some(Malformed::Ipv4 | Malformed::Ipv6));
    let (proto, tp_src, tp_dst) = match (original, key.eth_type.get()) {
        (OriginalTuple::V4 { src, dst, proto, tp_src, tp_dst }, ETH_TYPE_IPV4) if ip && proto != 0 => {
            key.ct_nw_src.set(src.to_bits());
            key.ct_nw_dst.set(dst.to_bits());
            (proto, tp_src, tp_dst)
        }
        (OriginalTuple::V6 { src, dst, proto, tp_src, tp_dst }, ETH_TYPE_IPV6) if ip && proto != 0 => {
            e.blocks = claim(key, e.blocks, Block::Metadata);
            key.ct_ipv6_src.set(src.to_bits());
            key.ct_ipv6_dst.set(dst.to_bits());
            (proto, tp_src, tp_dst)
        }
        _ => return e,
    };
    key.ct_nw_proto = proto;
    let has_ports =
        |proto| matches!(proto, IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_SCTP | IP_PROTO_ICMP | IP_PROTO_ICMPV6);
    let discovery = key.eth_type == ETH_TYPE_IPV6
        && key.nw_proto == IP_PROTO_ICMPV6
        && key.tp_dst == 0
        && matches!(key.tp_src.get(), t if t == u16::from(ND_SOLICIT) || t == u16::from(ND_ADVERT));
    let read = places.l4.get().is_some() && has_ports(key.nw_proto) && !discovery;
    if read || key.nw_frag & FRAG_LATER != 0 && has_ports(proto) {
        key.ct_tp_src.set(tp_src);
        key.ct_tp_dst.set(tp_dst);
    }
    e
}
