//! In software, what a card would have done: transport checksums and segmentation.

use alloc::vec::Vec;

use crate::checksum;
use crate::compose::{checksum_offset, write_l4_checksum};
use crate::extract::{IP_PROTO_TCP, IP_PROTO_UDP};
use crate::packet::{Gso, GsoKind, L4Checksum, Offload, Packet};

/// TCP flags that belong on certain segments only.
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// Computes a checksum that was left partial; the packet is ready for any wire then.
pub fn finish_checksum(packet: &mut Packet) {
    let L4Checksum::Partial { start, offset } = packet.offload.l4 else { return };
    packet.offload.l4 = L4Checksum::Good;
    let udp = packet.layers().l4_proto == IP_PROTO_UDP;
    let end = packet.len() - packet.layers().l2_pad.min(packet.len());
    let Some(covered) = packet.data_mut().get_mut(start..end) else { return };
    let mut sum = checksum::checksum(covered);
    if sum == 0 && udp {
        sum = 0xffff;
    }
    if let Some(field) = covered.get_mut(offset..offset + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Turns a packet's transport checksum into a partial one, as a sender that leaves it to the card would have.
///
/// Does nothing to a packet whose transport protocol has no such checksum.
pub fn make_partial(packet: &mut Packet) {
    let layers = packet.layers();
    let (Some(l3), Some(l4)) = (layers.l3, layers.l4) else { return };
    if !matches!(layers.l4_proto, IP_PROTO_TCP | IP_PROTO_UDP) {
        return;
    }
    let Some(offset) = checksum_offset(layers.l4_proto) else { return };
    let len = packet.l4().len() as u64;
    let (from, n) = if packet.data().get(l3).is_some_and(|b| b >> 4 == 4) { (l3 + 12, 8) } else { (l3 + 8, 32) };
    let addresses = packet.data().get(from..from + n).unwrap_or(&[]);
    let sum = checksum::fold(checksum::sum(addresses, u64::from(layers.l4_proto) + len));
    if let Some(field) = packet.data_mut().get_mut(l4 + offset..l4 + offset + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
        packet.offload.l4 = L4Checksum::Partial { start: l4, offset };
    }
}

/// Does all the work that is left on `packet`: the packets that go on a plain wire, in order.
///
/// A packet without a segmentation request comes back alone, its checksum computed. A request that does not fit the
/// packet (no such transport header, size zero) is dropped, and the packet comes back alone too.
///
/// ```
/// use ovs_packet::packet::{Gso, GsoKind};
/// use ovs_packet::{Match, compose, segment};
///
/// let m: Match = "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=80".parse().unwrap();
/// let mut big = compose::compose(m.key(), &[0; 3000]);
/// big.offload.gso = Some(Gso { kind: GsoKind::TcpV4, size: 1448, ecn: false });
/// let sizes: Vec<usize> = segment::finish(big).iter().map(|p| p.len() - 54).collect();
/// assert_eq!(sizes, [1448, 1448, 104]);
/// ```
pub fn finish(mut packet: Packet) -> Vec<Packet> {
    let plan = packet.offload.gso.take().and_then(|gso| Plan::of(&packet, gso));
    match plan {
        None => {
            finish_checksum(&mut packet);
            Vec::from([packet])
        }
        Some(plan) => plan.segments(&packet),
    }
}

/// Where the cuts go.
struct Plan {
    gso: Gso,
    l3: usize,
    l4: usize,
    payload: usize,
    end: usize,
}

impl Plan {
    fn of(packet: &Packet, gso: Gso) -> Option<Plan> {
        let layers = packet.layers();
        let (l3, l4) = (layers.l3?, layers.l4?);
        let (proto, header) = match gso.kind {
            GsoKind::TcpV4 | GsoKind::TcpV6 => (IP_PROTO_TCP, usize::from(packet.data().get(l4 + 12)? >> 4) * 4),
            GsoKind::Udp => (IP_PROTO_UDP, 8),
        };
        let end = packet.len().checked_sub(layers.l2_pad)?;
        let payload = l4 + header;
        let fits = gso.size > 0 && proto == layers.l4_proto && payload + usize::from(gso.size) < end;
        fits.then_some(Plan { gso, l3, l4, payload, end })
    }

    fn segments(&self, packet: &Packet) -> Vec<Packet> {
        let size = usize::from(self.gso.size);
        let (headers, payload) = (packet.data().get(..self.payload), packet.data().get(self.payload..self.end));
        let (headers, payload) = (headers.unwrap_or(&[]), payload.unwrap_or(&[]));
        let last = payload.chunks(size).len().saturating_sub(1);
        let cut = |(n, chunk): (usize, &[u8])| {
            let mut segment = Packet::from_slice(headers);
            segment.extend(chunk);
            segment.meta = packet.meta;
            let mut layers = packet.layers();
            layers.l2_pad = 0;
            segment.set_layers(layers);
            self.fix_ip(&mut segment, n);
            match self.gso.kind {
                GsoKind::Udp => self.fix_udp(&mut segment),
                GsoKind::TcpV4 | GsoKind::TcpV6 => self.fix_tcp(&mut segment, n * size, n == 0, n == last),
            }
            segment.offload = Offload { l4: L4Checksum::Good, gso: None };
            write_l4_checksum(&mut segment);
            segment
        };
        payload.chunks(size).enumerate().map(cut).collect()
    }

    /// Length, and for IPv4 identification and checksum.
    fn fix_ip(&self, segment: &mut Packet, n: usize) {
        let len = segment.len() - self.l3;
        let Some(ip) = segment.data_mut().get_mut(self.l3..self.l4) else { return };
        if ip.first().is_some_and(|b| b >> 4 == 4) {
            if let Some([_, _, l0, l1, i0, i1, .., c0, c1, _, _, _, _, _, _, _, _]) = ip.first_chunk_mut::<20>() {
                [*l0, *l1] = (len as u16).to_be_bytes();
                [*i0, *i1] = u16::from_be_bytes([*i0, *i1]).wrapping_add(n as u16).to_be_bytes();
                [*c0, *c1] = [0; 2];
            }
            let sum = checksum::checksum(ip).to_be_bytes();
            if let Some(field) = ip.get_mut(10..12) {
                field.copy_from_slice(&sum);
            }
        } else if let Some(field) = ip.get_mut(4..6) {
            field.copy_from_slice(&(len.saturating_sub(40) as u16).to_be_bytes());
        }
    }

    fn fix_udp(&self, segment: &mut Packet) {
        let len = (segment.len() - self.l4) as u16;
        if let Some(field) = segment.data_mut().get_mut(self.l4 + 4..self.l4 + 6) {
            field.copy_from_slice(&len.to_be_bytes());
        }
    }

    fn fix_tcp(&self, segment: &mut Packet, advance: usize, first: bool, last: bool) {
        let Some(tcp) = segment.data_mut().get_mut(self.l4..).and_then(|d| d.first_chunk_mut::<20>()) else { return };
        let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(advance as u32);
        tcp[4..8].copy_from_slice(&seq.to_be_bytes());
        if !last {
            tcp[13] &= !FIN_PSH;
        }
        if !first && self.gso.ecn {
            tcp[13] &= !CWR;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compose::compose;
    use crate::extract::extract;
    use crate::key::{FlowKey, Match};

    proptest! {
        #[test]
        fn segments_carry_the_payload_and_are_valid(
            kind in 0..3usize, size in 1u16..600, payload in prop::collection::vec(any::<u8>(), 0..3000), vlan: bool,
        ) {
            let (text, kind) = [
                ("tcp,nw_src=1.1.1.1,nw_dst=2.2.2.2,tp_src=1,tp_dst=2,tcp_flags=psh|ack|cwr", GsoKind::TcpV4),
                ("tcp6,ipv6_src=::1,ipv6_dst=::2,tp_src=1,tp_dst=2,tcp_flags=psh|ack", GsoKind::TcpV6),
                ("udp,nw_src=1.1.1.1,nw_dst=2.2.2.2,tp_src=1,tp_dst=2", GsoKind::Udp),
            ][kind];
            let text = if vlan { alloc::format!("{text},dl_vlan=9") } else { text.into() };
            let mut big = compose(text.parse::<Match>().unwrap().key(), &payload);
            make_partial(&mut big);
            big.offload.gso = Some(Gso { kind, size, ecn: true });
            let mut key = FlowKey::ZERO;
            extract(&mut big, &mut key);
            let parts = finish(big);
            let mut joined = Vec::new();
            for (n, mut part) in parts.iter().cloned().enumerate() {
                let mut k = FlowKey::ZERO;
                prop_assert_eq!(extract(&mut part, &mut k).malformed, None);
                let header = if kind == GsoKind::Udp { 8 } else { 20 };
                prop_assert!(part.l4().len() - header <= usize::from(size));
                joined.extend_from_slice(&part.l4()[header..]);
                if kind != GsoKind::Udp {
                    let t = part.l4();
                    prop_assert_eq!(u32::from_be_bytes(t[4..8].try_into().unwrap()) as usize, n * usize::from(size));
                    prop_assert_eq!(t[13] & 8 != 0, n + 1 == parts.len());
                    prop_assert_eq!(t[13] & CWR != 0, kind == GsoKind::TcpV4 && n == 0);
                    k.tcp_flags = key.tcp_flags;
                }
                prop_assert_eq!(k, key);
                let before = part.data().to_vec();
                write_l4_checksum(&mut part);
                prop_assert_eq!(part.data(), &before[..]);
            }
            prop_assert_eq!(joined, payload);
        }
    }

    #[test]
    fn a_request_that_does_not_fit_is_dropped() {
        let m: Match = "udp,nw_src=1.1.1.1".parse().unwrap();
        for gso in [
            Gso { kind: GsoKind::TcpV4, size: 1, ecn: false },
            Gso { kind: GsoKind::Udp, size: 0, ecn: false },
            Gso { kind: GsoKind::Udp, size: 9999, ecn: false },
        ] {
            let mut packet = compose(m.key(), &[1; 100]);
            packet.offload.gso = Some(gso);
            let before = packet.data().to_vec();
            let parts = finish(packet);
            assert_eq!(parts.len(), 1);
            assert_eq!(parts[0].data(), before);
        }
    }
}
