//! From a flow key to a packet that has it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::borrow::Borrow;

use arrayvec::ArrayVec;

use crate::checksum;
use crate::extract::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_NSH, ETH_TYPE_RARP,
    ETH_TYPE_VLAN, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_IGMP, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP, ND_ADVERT,
    ND_SOLICIT, NO_ETHERTYPE,
};
use crate::field::dl_type;
use crate::key::{FRAG_ANY, FRAG_LATER, FlowKey, MPLS_DEPTH, VLAN_PRESENT};
use crate::packet::{Layers, Packet, Tunnel};

/// Builds a packet that extraction reads back as `key`, with `l7` behind the last header, lengths and checksums right.
///
/// What a key does not say is filled in plainly: no IP options, TCP sequence numbers zero, NSH without metadata of
/// type 2. An 802.3 frame ([`NO_ETHERTYPE`]) gets its length. Neighbour discovery and ARP have no payload: `l7` is
/// left out of them. A key of another packet type than Ethernet gives a packet that begins at layer 3. The packet's metadata come
/// from the key too. The key may be given by value, as [`Match::key`](crate::Match::key) gives it.
///
/// ```
/// use ovs_packet::{FlowKey, Match, compose, extract};
///
/// let m: Match = "dl_vlan=5,tcp6,ipv6_src=2001:db8::1,ipv6_dst=2001:db8::2,nw_ttl=64,tcp_dst=80".parse().unwrap();
/// let mut packet = compose::compose(m.key(), b"GET /");
/// let mut key = FlowKey::ZERO;
/// extract::extract(&mut packet, &mut key);
/// assert!(m.matches(&key));
/// ```
pub fn compose(key: impl Borrow<FlowKey>, l7: &[u8]) -> Packet {
    let mut packet = build(key.borrow(), l7);
    write_l4_checksum(&mut packet);
    packet
}

/// As [`compose`], with a bit of the checksum of the IPv4 header turned over, where there is one.
///
/// ```
/// use ovs_packet::{Match, checksum, compose};
///
/// let m: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2".parse().unwrap();
/// let bad = compose::compose_with_bad_checksum(m.key(), b"x");
/// assert_ne!(checksum::checksum(&bad.data()[14..34]), 0);
/// ```
pub fn compose_with_bad_checksum(key: impl Borrow<FlowKey>, l7: &[u8]) -> Packet {
    let key = key.borrow();
    let mut packet = compose(key, l7);
    let l3 = packet.layers().l3.filter(|_| dl_type(key) == ETH_TYPE_IPV4);
    if let Some(byte) = l3.and_then(|l3| packet.data_mut().get_mut(l3 + 10)) {
        *byte ^= 1;
    }
    packet
}

/// The packet without its transport checksum.
fn build(key: &FlowKey, l7: &[u8]) -> Packet {
    let mut frame = Frame { bytes: Vec::with_capacity(128 + l7.len()), layers: Layers::default() };
    if key.packet_type == 0 {
        frame.ethernet(key);
    }
    let eth_type = dl_type(key);
    if matches!(eth_type, ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST) {
        frame.mpls(key);
    }
    frame.layers.l3 = Some(frame.bytes.len());
    match eth_type {
        ETH_TYPE_IPV4 => frame.ipv4(key, l7),
        ETH_TYPE_IPV6 => frame.ipv6(key, l7),
        ETH_TYPE_ARP | ETH_TYPE_RARP => frame.arp(key),
        ETH_TYPE_NSH => {
            frame.put(&nsh_header(key, key.nsh_np, &[]));
            frame.put(l7);
        }
        NO_ETHERTYPE if key.packet_type == 0 => frame.length_prefixed(l7),
        _ => frame.bytes.extend_from_slice(l7),
    }
    let mut packet = Packet::from_slice(&frame.bytes);
    packet.set_layers(frame.layers);
    packet.meta.in_port = key.in_port.get();
    packet.meta.recirc_id = key.recirc_id.get();
    packet.meta.packet_type = key.packet_type.get();
    packet.meta.pkt_mark = key.pkt_mark.get();
    packet.meta.skb_priority = key.skb_priority.get();
    packet.meta.dp_hash = key.dp_hash.get();
    packet.tunnel = Tunnel::of_key(key).map(Box::new);
    packet
}

/// The most bytes of an NSH header (RFC 8300, section 2.2): its length is counted in words, in six bits.
pub(crate) const NSH_MAX: usize = 63 * 4;

/// An NSH header with what the key says of it, before a packet of type `np`. Metadata other than those of type 1 are
/// whole words; what does not fit is left out.
pub(crate) fn nsh_header(key: &FlowKey, np: u8, metadata: &[u8]) -> ArrayVec<u8, NSH_MAX> {
    let mut header = ArrayVec::from_iter([0, 0, key.nsh_mdtype, np]);
    header.extend(key.nsh_path.get().to_be_bytes());
    match key.nsh_mdtype {
        1 => header.extend(key.nsh_context.iter().flat_map(|c| c.get().to_be_bytes())),
        _ => header.extend(metadata.iter().copied().take(NSH_MAX - header.len())),
    }
    let words = (header.len() / 4) as u16;
    let first = u16::from(key.nsh_flags & 3) << 12 | u16::from(key.nsh_ttl & 0x3f) << 6 | words;
    if let Some(base) = header.first_chunk_mut::<2>() {
        *base = first.to_be_bytes();
    }
    header
}

/// Computes the transport checksum of `packet` anew, from the bytes as they are.
///
/// Does nothing to a packet whose transport protocol has none, or whose layers are not known.
pub fn write_l4_checksum(packet: &mut Packet) {
    let layers = packet.layers();
    let (Some(l3), Some(l4), Some(at)) = (layers.l3, layers.l4, checksum_offset(layers.l4_proto)) else { return };
    let end = packet.len() - layers.l2_pad.min(packet.len());
    let len = end.saturating_sub(l4) as u32;
    let sum = match (layers.l4_proto, packet.data().get(l3).map(|b| b >> 4)) {
        (IP_PROTO_SCTP, _) => {
            let Some(segment) = packet.data_mut().get_mut(l4..end) else { return };
            write_sctp_checksum(segment);
            return;
        }
        (IP_PROTO_ICMP | IP_PROTO_IGMP, _) => 0,
        (_, Some(4)) => addresses(packet.data(), l3 + 12, 8),
        _ => {
            let last = final_destination(packet.data().get(l3..l4).unwrap_or(&[]));
            addresses(packet.data(), l3 + 8, 16) + addresses(packet.data(), l3 + last, 16)
        }
    };
    let pseudo = if matches!(layers.l4_proto, IP_PROTO_ICMP | IP_PROTO_IGMP) {
        0
    } else {
        u64::from(layers.l4_proto) + u64::from(len)
    };
    let Some(segment) = packet.data_mut().get_mut(l4..end) else { return };
    let Some(field) = segment.get_mut(at..at + 2) else { return };
    field.fill(0);
    let mut value = !checksum::fold(checksum::sum(segment, sum + pseudo));
    // A UDP checksum of zero means that there is none (RFC 768).
    if value == 0 && layers.l4_proto == IP_PROTO_UDP {
        value = 0xffff;
    }
    if let Some(field) = segment.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// Where in an IPv6 packet the address of its last destination stands, which the transport's checksum counts
/// (RFC 8200, section 8.1): in the header, or, on the way there, in a routing header.
pub(crate) fn final_destination(ip: &[u8]) -> usize {
    const DESTINATION: usize = 24;
    let Some(mut next) = ip.get(6).copied() else { return DESTINATION };
    let mut at = 40;
    while let Some(&[after, units, kind, segments_left]) = ip.get(at..).and_then(|h| h.first_chunk::<4>()) {
        let len = match next {
            0 | 43 | 60 => (usize::from(units) + 1) * 8,
            44 => 8,
            51 => (usize::from(units) + 2) * 4,
            _ => break,
        };
        if next == 43 && segments_left > 0 {
            let last = match kind {
                // Source routing: the addresses as they are visited (RFC 8200, section 4.4).
                0 | 2 => at + len.saturating_sub(16),
                // Segment routing: the addresses in reverse (RFC 8754, section 2).
                4 => at + 8,
                _ => DESTINATION,
            };
            return if last + 16 <= ip.len() { last } else { DESTINATION };
        }
        (next, at) = (after, at + len);
    }
    DESTINATION
}

fn addresses(data: &[u8], from: usize, len: usize) -> u64 {
    checksum::sum(data.get(from..from + len).unwrap_or(&[]), 0)
}

/// Writes SCTP's CRC32c (RFC 9260, appendix A) into a whole SCTP packet.
pub(crate) fn write_sctp_checksum(segment: &mut [u8]) {
    if let Some(field) = segment.get_mut(8..12) {
        field.fill(0);
        let crc = checksum::crc32c(segment);
        if let Some(field) = segment.get_mut(8..12) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
    }
}

/// Where the 16-bit checksum stands in a transport header; SCTP's 32-bit one is at the given place too.
pub(crate) fn checksum_offset(proto: u8) -> Option<usize> {
    Some(match proto {
        IP_PROTO_TCP => 16,
        IP_PROTO_UDP => 6,
        IP_PROTO_ICMP | IP_PROTO_ICMPV6 | IP_PROTO_IGMP => 2,
        IP_PROTO_SCTP => 8,
        _ => return None,
    })
}

struct Frame {
    bytes: Vec<u8>,
    layers: Layers,
}

impl Frame {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn ethernet(&mut self, key: &FlowKey) {
        self.put(&key.eth_dst.0);
        self.put(&key.eth_src.0);
        for (tpid, tci) in [(key.vlan_tpid, key.vlan_tci), (key.inner_vlan_tpid, key.inner_vlan_tci)] {
            if tci.get() & VLAN_PRESENT != 0 {
                let tpid = if tpid == 0 { ETH_TYPE_VLAN } else { tpid.get() };
                self.put(&tpid.to_be_bytes());
                self.put(&(tci.get() & !VLAN_PRESENT).to_be_bytes());
            }
        }
        if key.eth_type != NO_ETHERTYPE {
            self.put(&key.eth_type.get().to_be_bytes());
        }
    }

    fn mpls(&mut self, key: &FlowKey) {
        self.layers.l2_5 = Some(self.bytes.len());
        // The key keeps three entries at most: the last of them ends the stack.
        for (i, lse) in key.mpls_lse.iter().enumerate() {
            let last = lse.get() & 0x100 != 0 || i + 1 == MPLS_DEPTH;
            self.put(&(lse.get() | u32::from(last) << 8).to_be_bytes());
            if last {
                break;
            }
        }
    }

    fn length_prefixed(&mut self, l7: &[u8]) {
        // An LLC header that is not SNAP: source and destination of the null service access point.
        let llc = [0, 0, 3];
        let len = u16::try_from(llc.len() + l7.len()).unwrap_or(u16::MAX).min(1500);
        self.put(&len.to_be_bytes());
        self.layers.l3 = Some(self.bytes.len());
        self.put(&llc);
        self.put(l7);
    }

    fn arp(&mut self, key: &FlowKey) {
        self.put(&[0, 1, 8, 0, 6, 4, 0, key.nw_proto]);
        self.put(&key.arp_sha.0);
        self.put(&key.nw_src.get().to_be_bytes());
        self.put(&key.arp_tha.0);
        self.put(&key.nw_dst.get().to_be_bytes());
    }

    fn ipv4(&mut self, key: &FlowKey, l7: &[u8]) {
        let at = self.bytes.len();
        // A later fragment is one whatever the other bit says: that is how a match on "later" alone reads.
        let fragment: u16 = match (key.nw_frag & FRAG_ANY != 0, key.nw_frag & FRAG_LATER != 0) {
            (_, true) => 1,
            (true, false) => 0x2000,
            (false, false) => 0,
        };
        self.put(&[0x45, key.nw_tos, 0, 0, 0, 0]);
        self.put(&fragment.to_be_bytes());
        self.put(&[key.nw_ttl, key.nw_proto, 0, 0]);
        self.put(&key.nw_src.get().to_be_bytes());
        self.put(&key.nw_dst.get().to_be_bytes());
        self.transport(key, l7);
        let len = u16::try_from(self.bytes.len() - at).unwrap_or(u16::MAX);
        if let Some(header) = self.bytes.get_mut(at..).and_then(|b| b.first_chunk_mut::<20>()) {
            header[2..4].copy_from_slice(&len.to_be_bytes());
            let sum = checksum::checksum(header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
    }

    fn ipv6(&mut self, key: &FlowKey, l7: &[u8]) {
        let at = self.bytes.len();
        let first = 6 << 28 | u32::from(key.nw_tos) << 20 | key.ipv6_label.get() & 0xf_ffff;
        let fragment = key.nw_frag & (FRAG_ANY | FRAG_LATER) != 0;
        self.put(&first.to_be_bytes());
        self.put(&[0, 0, if fragment { 44 } else { key.nw_proto }, key.nw_ttl]);
        self.put(&key.ipv6_src.get().to_be_bytes());
        self.put(&key.ipv6_dst.get().to_be_bytes());
        if fragment {
            let offset = if key.nw_frag & FRAG_LATER != 0 { 8 } else { 1 };
            self.put(&[key.nw_proto, 0, 0, offset, 0, 0, 0, 0]);
        }
        self.transport(key, l7);
        let len = u16::try_from(self.bytes.len() - at - 40).unwrap_or(u16::MAX);
        if let Some(field) = self.bytes.get_mut(at + 4..at + 6) {
            field.copy_from_slice(&len.to_be_bytes());
        }
    }

    fn transport(&mut self, key: &FlowKey, l7: &[u8]) {
        if key.nw_frag & FRAG_LATER != 0 {
            return self.put(l7);
        }
        let at = self.bytes.len();
        let v6 = dl_type(key) == ETH_TYPE_IPV6;
        let (src, dst) = (key.tp_src.get().to_be_bytes(), key.tp_dst.get().to_be_bytes());
        let neighbor_discovery =
            v6 && key.nw_proto == IP_PROTO_ICMPV6 && dst == [0, 0] && matches!(src[1], ND_SOLICIT | ND_ADVERT);
        match key.nw_proto {
            IP_PROTO_TCP => {
                let [high, low] = key.tcp_flags.get().to_be_bytes();
                self.put(&src);
                self.put(&dst);
                self.put(&[0, 0, 0, 0, 0, 0, 0, 0, 5 << 4 | high & 0x0f, low, 0, 0, 0, 0, 0, 0]);
            }
            IP_PROTO_UDP => {
                let len = u16::try_from(8 + l7.len()).unwrap_or(u16::MAX);
                self.put(&src);
                self.put(&dst);
                self.put(&len.to_be_bytes());
                self.put(&[0, 0]);
            }
            IP_PROTO_SCTP => {
                self.put(&src);
                self.put(&dst);
                self.put(&[0; 8]);
            }
            IP_PROTO_ICMP if !v6 => self.put(&[src[1], dst[1], 0, 0, 0, 0, 0, 0]),
            IP_PROTO_IGMP if !v6 => {
                self.put(&[src[1], dst[1], 0, 0]);
                self.put(&key.igmp_group.get().to_be_bytes());
            }
            IP_PROTO_ICMPV6 if v6 => {
                self.put(&[src[1], dst[1], 0, 0]);
                self.put(&(if neighbor_discovery { key.igmp_group.get() } else { 0 }).to_be_bytes());
                if neighbor_discovery {
                    self.put(&key.nd_target.get().to_be_bytes());
                    // The type of the first option shares a member with TCP's flags.
                    let first = key.tcp_flags.get();
                    let mut options = [(1, key.arp_sha), (2, key.arp_tha)];
                    if first == 2 {
                        options.reverse();
                    }
                    for (kind, address) in options {
                        if !address.is_zero() || first == u16::from(kind) {
                            self.put(&[kind, 1]);
                            self.put(&address.0);
                        }
                    }
                }
            }
            _ => {}
        }
        self.layers.l4 = Some(at);
        self.layers.l4_proto = key.nw_proto;
        if !neighbor_discovery {
            self.put(l7);
        }
    }
}

#[cfg(test)]
mod tests;
