//! In software, what a card would have done: checksums, written and checked, and segmentation.

use alloc::vec::Vec;

use crate::checksum;
use crate::compose::{checksum_offset, final_destination, write_l4_checksum};
use crate::extract::{
    ETH_TYPE_IPV4, ETH_TYPE_IPV6, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_IGMP, IP_PROTO_SCTP, IP_PROTO_TCP,
    IP_PROTO_UDP,
};
use crate::key::FlowKey;
use crate::packet::{Gso, GsoKind, Inner, IpChecksum, L4Checksum, Offload, Packet};

/// TCP flags that belong on certain segments only.
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// Checksums that whoever sends a packet takes over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Takes {
    /// Of the IPv4 header; of a packet in a tunnel, of the inner one.
    pub ip: bool,
    /// Of the transport header, likewise.
    pub transport: bool,
    /// Of the outer IPv4 header of a packet in a tunnel.
    pub outer_ip: bool,
    /// Of the outer UDP header.
    pub outer_transport: bool,
}

/// Computes the checksums that were left undone; the packet is ready for any wire then.
pub fn finish_checksum(packet: &mut Packet) {
    settle(packet, Takes::default());
}

/// Computes the checksums that were left undone and that whoever sends the packet does not take over.
///
/// An outer checksum over what a tunnel carries is computed without reading all of it, where the inner transport checksum
/// is undone: whatever the segment is, with its checksum it sums to what its pseudo-header tells.
///
/// ```
/// use ovs_packet::packet::{IpChecksum, L4Checksum};
/// use ovs_packet::segment::{self, Takes};
/// use ovs_packet::{Match, compose};
///
/// let m: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=53".parse().unwrap();
/// let mut packet = compose::compose(m.key(), b"query");
/// segment::make_partial(&mut packet);
/// packet.offload.ip = IpChecksum::Partial { start: 14 };
/// segment::settle(&mut packet, Takes { transport: true, ..Takes::default() });
/// assert_eq!(packet.offload.ip, IpChecksum::Good);
/// assert_eq!(packet.offload.l4, L4Checksum::Partial { start: 34, offset: 6 });
/// ```
pub fn settle(packet: &mut Packet, takes: Takes) {
    let Some(inner) = packet.offload.inner else {
        if !takes.ip {
            packet.offload.ip = settle_ip(packet, packet.offload.ip);
        }
        if !takes.transport {
            packet.offload.l4 = settle_transport(packet, packet.offload.l4);
        }
        return;
    };
    let (mut ip, mut l4) = (inner.ip(), inner.l4());
    let sums_payload = packet.offload.l4.is_pending() && !takes.outer_transport;
    let known = undone_from(packet, l4).filter(|_| sums_payload);
    // Without an inner transport checksum that is undone, the outer one covers bytes as they leave.
    let as_they_leave = sums_payload && known.is_none();
    if !takes.ip || as_they_leave {
        ip = settle_ip(packet, ip);
    }
    if !takes.transport || as_they_leave {
        l4 = settle_transport(packet, l4);
    }
    packet.offload.l4 = match (packet.offload.l4, known) {
        (state, _) if !sums_payload => state,
        (state, Some((from, rest))) => write_outer(packet, state, ip, from, rest),
        (state, None) => settle_transport(packet, state),
    };
    if !takes.outer_ip {
        packet.offload.ip = settle_ip(packet, packet.offload.ip);
    }
    packet.offload.inner = Inner::of(ip, l4);
}

fn settle_ip(packet: &mut Packet, state: IpChecksum) -> IpChecksum {
    let IpChecksum::Partial { start } = state else { return state };
    write_ipv4_checksum(packet.data_mut().get_mut(start as usize..).unwrap_or(&mut []));
    IpChecksum::Good
}

fn settle_transport(packet: &mut Packet, state: L4Checksum) -> L4Checksum {
    let Some(Undone { start, end, at, pseudo }) = Undone::of(packet, state) else { return state };
    if let Some(covered) = packet.data_mut().get_mut(start..end)
        && let Some(field) = covered.get_mut(at..at + 2)
    {
        if let Some(pseudo) = pseudo {
            field.copy_from_slice(&pseudo.to_be_bytes());
        }
        let sum = written(checksum::checksum(covered), at);
        covered.get_mut(at..at + 2).into_iter().for_each(|field| field.copy_from_slice(&sum.to_be_bytes()));
    }
    L4Checksum::Good
}

/// Where UDP has its checksum.
const UDP_CHECKSUM: usize = 6;

/// A checksum as it is written where it stands at byte `at`: one of zero says of UDP that there is none (RFC 768).
fn written(sum: u16, at: usize) -> u16 {
    if sum == 0 && at == UDP_CHECKSUM { 0xffff } else { sum }
}

/// A transport checksum that is to be computed: which bytes it covers, where in them it stands, and the pseudo-header's
/// sum if that does not stand there yet.
struct Undone {
    start: usize,
    end: usize,
    at: usize,
    pseudo: Option<u16>,
}

impl Undone {
    fn of(packet: &Packet, state: L4Checksum) -> Option<Undone> {
        match state {
            L4Checksum::Partial { start, offset } => {
                let end = packet.len() - packet.layers().l2_pad.min(packet.len());
                Some(Undone { start, end, at: offset, pseudo: None })
            }
            L4Checksum::Stale { network, start, proto } => {
                let (network, start) = (network as usize, start as usize);
                let ip = packet.data().get(network..)?;
                let (len, addresses) = addresses_of(ip, start.checked_sub(network)?)?;
                let end = (network + len).min(packet.len());
                let covered = end.checked_sub(start)? as u64;
                let pseudo = checksum::fold(addresses + u64::from(proto) + covered);
                Some(Undone { start, end, at: checksum_offset(proto)?, pseudo: Some(pseudo) })
            }
            _ => None,
        }
    }
}

/// Of an IP packet: its length, and the sum of the addresses that a transport checksum counts; its transport
/// header is `to_transport` bytes in.
fn addresses_of(ip: &[u8], to_transport: usize) -> Option<(usize, u64)> {
    let word = |at: usize| ip.get(at..)?.first_chunk::<2>().map(|w| usize::from(u16::from_be_bytes(*w)));
    let sum = |at: usize, len: usize| Some(checksum::sum(ip.get(at..at + len)?, 0));
    match ip.first()? >> 4 {
        4 => Some((word(2)?, sum(12, 8)?)),
        6 => {
            let last = final_destination(ip.get(..to_transport)?);
            Some((word(4)? + 40, sum(8, 16)? + sum(last, 16)?))
        }
        _ => None,
    }
}

/// Where the inner segment begins whose checksum is undone, and what it sums to once that is done.
fn undone_from(packet: &Packet, inner: L4Checksum) -> Option<(usize, u16)> {
    let outer = Undone::of(packet, packet.offload.l4)?;
    let undone = Undone::of(packet, inner)?;
    let pseudo = match undone.pseudo {
        Some(pseudo) => pseudo,
        None => {
            let field = packet.data().get(undone.start + undone.at..)?.first_chunk::<2>()?;
            u16::from_be_bytes(*field)
        }
    };
    // Neither may there be bytes behind it, nor may it begin in the middle of a word.
    let fits = undone.end == outer.end && undone.start.checked_sub(outer.start)? % 2 == 0;
    fits.then_some((undone.start, !pseudo))
}

/// Writes an outer transport checksum; from byte `from` on, the packet sums to `rest`. The inner IPv4 header sums to nothing
/// with its own checksum, which may be undone too.
fn write_outer(packet: &mut Packet, state: L4Checksum, inner: IpChecksum, from: usize, rest: u16) -> L4Checksum {
    let Some(Undone { start, at, pseudo, .. }) = Undone::of(packet, state) else { return state };
    let Some(headers) = packet.data_mut().get_mut(start..from) else { return settle_transport(packet, state) };
    if let (Some(pseudo), Some(field)) = (pseudo, headers.get_mut(at..at + 2)) {
        field.copy_from_slice(&pseudo.to_be_bytes());
    }
    let mut sum = checksum::sum(headers, rest.into());
    if let IpChecksum::Partial { start: ip } = inner
        && let Some(header) = (ip as usize).checked_sub(start).and_then(|ip| headers.get(ip..))
        && let Some(header) = header.first().and_then(|b| header.get(..usize::from(b & 0x0f) * 4))
    {
        sum += u64::from(!checksum::fold(checksum::sum(header, 0)));
    }
    let sum = written(!checksum::fold(sum), at);
    headers.get_mut(at..at + 2).into_iter().for_each(|field| field.copy_from_slice(&sum.to_be_bytes()));
    L4Checksum::Good
}

/// Writes the checksum of the IPv4 header that `ip` begins with.
fn write_ipv4_checksum(ip: &mut [u8]) {
    let len = ip.first().map_or(0, |b| usize::from(b & 0x0f) * 4);
    let Some(header) = ip.get_mut(..len) else { return };
    if let Some(field) = header.get_mut(10..12) {
        field.fill(0);
    }
    let sum = checksum::checksum(header).to_be_bytes();
    if let Some(field) = header.get_mut(10..12) {
        field.copy_from_slice(&sum);
    }
}

/// Checks the checksums that nobody looked at, and notes in [`offload`](crate::packet::Body::offload) what was found;
/// `key` is what extraction read of the packet. What has no checksum, or not all of what its checksum covers, stays
/// unknown.
///
/// ```
/// use ovs_packet::packet::{IpChecksum, L4Checksum};
/// use ovs_packet::{FlowKey, Match, compose, extract, segment};
///
/// let m: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=53".parse().unwrap();
/// let mut packet = compose::compose(m.key(), b"query");
/// packet.data_mut()[45] ^= 1;
/// let mut key = FlowKey::ZERO;
/// extract::extract(&mut packet, &mut key);
/// segment::verify(&mut packet, &key);
/// assert_eq!((packet.offload.ip, packet.offload.l4), (IpChecksum::Good, L4Checksum::Bad));
/// ```
pub fn verify(packet: &mut Packet, key: &FlowKey) {
    let v4 = key.eth_type == ETH_TYPE_IPV4;
    if v4 && packet.offload.ip == IpChecksum::Unknown {
        let ip = packet.l3();
        let header = ip.first().and_then(|b| ip.get(..usize::from(b & 0x0f) * 4)).filter(|h| h.len() >= 20);
        packet.offload.ip = match header.map(checksum::checksum) {
            Some(0) => IpChecksum::Good,
            Some(_) => IpChecksum::Bad,
            None => IpChecksum::Unknown,
        };
    }
    if packet.offload.l4 == L4Checksum::Unknown && key.nw_frag == 0 {
        packet.offload.l4 = match transport_is_right(packet.l4(), key) {
            Some(true) => L4Checksum::Good,
            Some(false) => L4Checksum::Bad,
            None => L4Checksum::Unknown,
        };
    }
}

/// Whether the checksum of the transport header that `l4` begins with is right; `None` if it has none.
fn transport_is_right(l4: &[u8], key: &FlowKey) -> Option<bool> {
    let (v4, v6) = (key.eth_type == ETH_TYPE_IPV4, key.eth_type == ETH_TYPE_IPV6);
    let proto = key.nw_proto;
    let pseudo = |len: usize| match v4 {
        true => checksum::pseudo_v4(key.ipv4_src(), key.ipv4_dst(), proto, len as u32),
        false => checksum::pseudo_v6(key.ipv6_src(), key.ipv6_dst(), proto, len as u32),
    };
    let sum = match (proto, l4) {
        _ if l4.is_empty() || !(v4 || v6) => return None,
        (IP_PROTO_UDP, [_, _, _, _, l0, l1, c0, c1, ..]) => {
            // None at all, which only IPv4 allows (RFC 768; RFC 8200, section 8.1).
            if [*c0, *c1] == [0, 0] {
                return v6.then_some(false);
            }
            let len = usize::from(u16::from_be_bytes([*l0, *l1]));
            let Some(datagram) = l4.get(..len).filter(|datagram| datagram.len() >= 8) else { return Some(false) };
            checksum::sum(datagram, pseudo(len))
        }
        (IP_PROTO_TCP, _) => checksum::sum(l4, pseudo(l4.len())),
        (IP_PROTO_ICMPV6, _) if v6 => checksum::sum(l4, pseudo(l4.len())),
        (IP_PROTO_ICMP | IP_PROTO_IGMP, _) if v4 => checksum::sum(l4, 0),
        (IP_PROTO_SCTP, _) => return sctp_is_right(l4),
        _ => return None,
    };
    Some(checksum::fold(sum) == 0xffff)
}

/// CRC32c over the packet with its checksum taken as zero (RFC 9260, section 6.8).
fn sctp_is_right(l4: &[u8]) -> Option<bool> {
    let ([ports_and_tag @ .., w0, w1, w2, w3], chunks) = l4.split_first_chunk::<12>()?;
    let mut crc = checksum::Crc32c::new();
    for part in [&ports_and_tag[..], &[0; 4], chunks] {
        crc.update(part);
    }
    Some(crc.finish() == u32::from_le_bytes([*w0, *w1, *w2, *w3]))
}

/// Turns a packet's transport checksum into a partial one, as a sender that leaves it to the card would have.
///
/// Does nothing to a packet whose transport protocol has no such checksum.
pub fn make_partial(packet: &mut Packet) {
    if let L4Checksum::Partial { .. } = packet.offload.l4 {
        return;
    }
    let layers = packet.layers();
    let state = match (packet.offload.l4, layers.l3, layers.l4, layers.l4_proto) {
        (known @ L4Checksum::Stale { .. }, ..) => known,
        (_, Some(l3), Some(l4), proto @ (IP_PROTO_TCP | IP_PROTO_UDP)) => {
            L4Checksum::Stale { network: l3 as u32, start: l4 as u32, proto }
        }
        _ => return,
    };
    let Some(Undone { start, at, pseudo: Some(pseudo), .. }) = Undone::of(packet, state) else { return };
    if let Some(field) = packet.data_mut().get_mut(start + at..start + at + 2) {
        field.copy_from_slice(&pseudo.to_be_bytes());
        packet.offload.l4 = L4Checksum::Partial { start, offset: at };
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

/// How long the longest of the packets is that `packet` goes on a wire as: its own length, or that of a segment.
///
/// ```
/// use ovs_packet::packet::{Gso, GsoKind};
/// use ovs_packet::{Match, compose, segment};
///
/// let m: Match = "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=80".parse().unwrap();
/// let mut big = compose::compose(m.key(), &[0; 3000]);
/// assert_eq!(segment::longest(&big), 3054);
/// big.offload.gso = Some(Gso { kind: GsoKind::TcpV4, size: 1448, ecn: false });
/// assert_eq!(segment::longest(&big), 1502);
/// ```
pub fn longest(packet: &Packet) -> usize {
    let plan = packet.offload.gso.and_then(|gso| Plan::of(packet, gso));
    plan.map_or(packet.len(), |plan| plan.payload + usize::from(plan.gso.size))
}

/// Where the cuts go.
struct Plan {
    gso: Gso,
    v4: bool,
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
        let v4 = packet.data().get(l3).is_some_and(|b| b >> 4 == 4);
        fits.then_some(Plan { gso, v4, l3, l4, payload, end })
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
            segment.tunnel.clone_from(&packet.tunnel);
            let mut layers = packet.layers();
            layers.l2_pad = 0;
            segment.set_layers(layers);
            self.fix_ip(&mut segment, n);
            match self.gso.kind {
                GsoKind::Udp => self.fix_udp(&mut segment),
                GsoKind::TcpV4 | GsoKind::TcpV6 => self.fix_tcp(&mut segment, n * size, n == 0, n == last),
            }
            let ip = if self.v4 { IpChecksum::Good } else { IpChecksum::Unknown };
            segment.offload = Offload { ip, l4: L4Checksum::Good, ..Offload::default() };
            write_l4_checksum(&mut segment);
            segment
        };
        payload.chunks(size).enumerate().map(cut).collect()
    }

    /// Length, and for IPv4 identification and checksum.
    fn fix_ip(&self, segment: &mut Packet, n: usize) {
        let len = segment.len() - self.l3;
        let Some(ip) = segment.data_mut().get_mut(self.l3..self.l4) else { return };
        if self.v4 {
            if let Some([_, _, l0, l1, i0, i1, ..]) = ip.first_chunk_mut::<20>() {
                [*l0, *l1] = (len as u16).to_be_bytes();
                [*i0, *i1] = u16::from_be_bytes([*i0, *i1]).wrapping_add(n as u16).to_be_bytes();
            }
            write_ipv4_checksum(ip);
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

    const KINDS: [(&str, Option<bool>); 8] = [
        ("tcp,nw_src=1.1.1.1,nw_dst=2.2.2.2,tp_src=1", Some(true)),
        ("udp,nw_src=1.1.1.1,nw_dst=2.2.2.2,tp_src=1", Some(true)),
        ("icmp,nw_src=1.1.1.1,icmp_type=8,icmp_code=0", Some(true)),
        ("sctp,nw_src=1.1.1.1,tp_src=1", Some(true)),
        ("tcp6,ipv6_src=::1,tp_src=1", Some(true)),
        ("icmp6,ipv6_src=::1,icmp_type=128,icmp_code=0", Some(true)),
        ("ip,nw_proto=47,nw_src=1.1.1.1", None),
        ("arp,arp_op=1", None),
    ];

    fn checked(packet: &Packet) -> (IpChecksum, L4Checksum) {
        let (mut packet, mut key) = (packet.clone(), FlowKey::ZERO);
        extract(&mut packet, &mut key);
        verify(&mut packet, &key);
        (packet.offload.ip, packet.offload.l4)
    }

    #[test]
    fn what_is_right_is_found_right_and_what_is_damaged_wrong() {
        for (text, has) in KINDS {
            let packet = compose(text.parse::<Match>().unwrap().key(), b"some payload!");
            let v4 = packet.data()[12..14] == [8, 0];
            let ip = if v4 { IpChecksum::Good } else { IpChecksum::Unknown };
            let l4 = if has.is_some() { L4Checksum::Good } else { L4Checksum::Unknown };
            assert_eq!(checked(&packet), (ip, l4), "{text}");
            for at in (packet.layers().l4.unwrap_or(packet.len())..packet.len()).filter(|_| has.is_some()) {
                let mut damaged = packet.clone();
                damaged.data_mut()[at] ^= 0x40;
                assert_ne!(checked(&damaged).1, L4Checksum::Good, "{text} {at}");
            }
            let mut damaged = packet.clone();
            damaged.data_mut()[if v4 { 22 } else { 21 }] ^= 0x40;
            assert_eq!(checked(&damaged).0, if v4 { IpChecksum::Bad } else { IpChecksum::Unknown }, "{text}");
        }
        // UDP may do without over IPv4 alone; its length may be less than IP's, not more.
        for (text, without) in [(KINDS[1].0, L4Checksum::Unknown), ("udp6,ipv6_src=::1", L4Checksum::Bad)] {
            let mut packet = compose(text.parse::<Match>().unwrap().key(), b"x");
            let at = packet.layers().l4.unwrap();
            packet.data_mut()[at + 6..at + 8].fill(0);
            assert_eq!(checked(&packet).1, without);
            packet.data_mut()[at + 5] = 200;
            packet.data_mut()[at + 7] = 1;
            assert_eq!(checked(&packet).1, L4Checksum::Bad);
        }
        let fragment = compose("udp,nw_src=1.1.1.1,nw_frag=first".parse::<Match>().unwrap().key(), b"x");
        assert_eq!(checked(&fragment), (IpChecksum::Good, L4Checksum::Unknown));
    }

    #[test]
    fn partial_checksums_become_right_wherever_the_header_goes() {
        for (text, _) in KINDS.into_iter().take(2) {
            let good = compose(text.parse::<Match>().unwrap().key(), b"odd");
            let mut packet = good.clone();
            make_partial(&mut packet);
            packet.data_mut()[24..26].fill(0x55);
            packet.offload.ip = IpChecksum::Partial { start: 14 };
            packet.push_front(10);
            assert_eq!(packet.offload.ip, IpChecksum::Partial { start: 24 });
            finish_checksum(&mut packet);
            assert_eq!((packet.offload.ip, packet.offload.l4), (IpChecksum::Good, L4Checksum::Good));
            packet.pull_front(10);
            assert_eq!(packet.data(), good.data());
            packet.offload.ip = IpChecksum::Partial { start: 14 };
            packet.pull_front(20);
            assert_eq!(packet.offload.ip, IpChecksum::Unknown);
        }
    }

    fn stale(packet: &Packet) -> L4Checksum {
        let layers = packet.layers();
        L4Checksum::Stale {
            network: layers.l3.unwrap() as u32,
            start: layers.l4.unwrap() as u32,
            proto: layers.l4_proto,
        }
    }

    #[test]
    fn what_is_stale_is_computed_whatever_stands_there() {
        for (text, _) in [KINDS[0], KINDS[1], KINDS[4]] {
            let good = compose(text.parse::<Match>().unwrap().key(), b"odd");
            for partial in [false, true] {
                let mut packet = good.clone();
                let at = packet.layers().l4.unwrap() + checksum_offset(packet.layers().l4_proto).unwrap();
                packet.data_mut()[at..at + 2].fill(0x77);
                // What is behind the datagram does not count.
                packet.extend(&[9; 5]);
                packet.offload.l4 = stale(&packet);
                packet.push_front(6);
                let mut layers = packet.layers();
                layers.l2_pad = 5;
                packet.set_layers(layers);
                if partial {
                    make_partial(&mut packet);
                    assert!(matches!(packet.offload.l4, L4Checksum::Partial { .. }));
                }
                finish_checksum(&mut packet);
                assert_eq!(&packet.data()[6..packet.len() - 5], good.data(), "{text} {partial}");
            }
        }
    }

    /// A UDP packet around another: what it is when all is computed, and the same with all of it undone.
    fn tunneled(inner: &str, len: usize) -> (Packet, Packet) {
        let inside = compose(inner.parse::<Match>().unwrap().key(), &alloc::vec![0x5a; len]);
        let outside: Match = "udp,nw_src=9.9.9.1,nw_dst=9.9.9.2,tp_src=4,tp_dst=4789".parse().unwrap();
        let payload = [&[8, 0, 0, 0, 0, 0, 1, 0], inside.data()].concat();
        let good = compose(outside.key(), &payload);
        let mut undone = inside;
        undone.offload.l4 = stale(&undone);
        if undone.data()[12] == 8 {
            undone.offload.ip = IpChecksum::Partial { start: 14 };
            undone.data_mut()[24..26].fill(0xee);
        }
        let at = undone.layers().l4.unwrap() + checksum_offset(undone.layers().l4_proto).unwrap();
        undone.data_mut()[at..at + 2].fill(0xee);
        undone.offload.enclose();
        undone.push_front(50).copy_from_slice(&good.data()[..50]);
        undone.data_mut()[24..26].fill(0);
        undone.data_mut()[40..42].fill(0);
        undone.offload.ip = IpChecksum::Partial { start: 14 };
        undone.offload.l4 = L4Checksum::Stale { network: 14, start: 34, proto: IP_PROTO_UDP };
        (good, undone)
    }

    #[test]
    fn tunnels_are_settled_in_any_division_of_labour() {
        for (text, len) in [(KINDS[0].0, 7), (KINDS[1].0, 64), (KINDS[4].0, 30)] {
            for bits in 0..16u8 {
                let bit = |n: u8| bits >> n & 1 != 0;
                let takes = Takes { ip: bit(0), transport: bit(1), outer_ip: bit(2), outer_transport: bit(3) };
                let (good, mut packet) = tunneled(text, len);
                settle(&mut packet, takes);
                assert_eq!(packet.offload.ip.is_pending(), takes.outer_ip, "{text} {takes:?}");
                assert_eq!(packet.offload.l4.is_pending(), takes.outer_transport, "{text} {takes:?}");
                let is_undone = packet.offload.inner.is_some_and(|inner| inner.l4().is_pending());
                assert_eq!(is_undone, takes.transport, "{text} {takes:?}");
                // The outer checksum is right before the inner ones are there.
                if !takes.outer_transport {
                    assert_eq!(packet.data()[40..42], good.data()[40..42], "{text} {takes:?}");
                }
                finish_checksum(&mut packet);
                assert_eq!(packet.data(), good.data(), "{text} {takes:?}");
                assert!(!packet.offload.is_pending());
            }
        }
        // An inner header alone that is undone is done before an outer checksum that covers it.
        let (good, mut packet) = tunneled(KINDS[0].0, 8);
        let at = 50 + 34 + 16;
        packet.data_mut()[at..at + 2].copy_from_slice(&good.data()[at..at + 2]);
        packet.offload.inner = packet.offload.inner.and_then(|inner| Inner::of(inner.ip(), L4Checksum::Unknown));
        settle(&mut packet, Takes { ip: true, transport: true, ..Takes::default() });
        assert_eq!((packet.offload.inner, packet.data()), (None, good.data()));
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
