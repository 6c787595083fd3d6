//! The header that the kernel puts before each frame of packet sockets and TAP devices: what work is left to do on it.
//!
//! It is `struct virtio_net_hdr` (Virtio 1.2, section 5.1.6; `linux/virtio_net.h`) of ten bytes, in the machine's own
//! byte order. Offsets count from the frame's first byte.

use ovs_packet::packet::{Gso, GsoKind, L4Checksum, Offload};
use ovs_packet::{Packet, segment};

/// Bytes of the header.
pub(super) const LEN: usize = 10;

/// The header as it stands before the frame.
pub(super) type Header = [u8; LEN];

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// What `header` leaves to do on a frame of `len` bytes; `None` if that is not understood or makes no sense.
pub(super) fn read(header: &Header, len: usize) -> Option<Offload> {
    let &[flags, gso_type, _, _, s0, s1, c0, c1, o0, o1] = header;
    let l4 = if flags & NEEDS_CSUM != 0 {
        let start = usize::from(u16::from_ne_bytes([c0, c1]));
        let offset = usize::from(u16::from_ne_bytes([o0, o1]));
        if start + offset + 2 > len {
            return None;
        }
        L4Checksum::Partial { start, offset }
    } else if flags & DATA_VALID != 0 {
        L4Checksum::Good
    } else {
        L4Checksum::Unknown
    };
    let ecn = gso_type & GSO_ECN != 0;
    let kind = match gso_type & !GSO_ECN {
        GSO_NONE if !ecn => return Some(Offload { l4, ..Offload::default() }),
        GSO_TCPV4 => GsoKind::TcpV4,
        GSO_TCPV6 => GsoKind::TcpV6,
        GSO_UDP_L4 if !ecn => GsoKind::Udp,
        _ => return None,
    };
    let size = u16::from_ne_bytes([s0, s1]);
    (size > 0).then_some(Offload { l4, gso: Some(Gso { kind, size, ecn }), ..Offload::default() })
}

/// The header that hands on the work that is left on `packet`; `None` if its offsets do not fit one.
///
/// The kernel segments only what it also may checksum: a packet to be segmented whose checksum is whole gets a partial
/// one, if its layers are known.
pub(super) fn write(packet: &mut Packet) -> Option<Header> {
    if packet.offload.gso.is_some() || packet.offload.l4.is_pending() {
        segment::make_partial(packet);
    }
    let (mut flags, mut gso_type, mut hdr_len, mut size, mut start, mut offset) = (0, GSO_NONE, 0, 0, 0, 0);
    if let L4Checksum::Partial { start: s, offset: o } = packet.offload.l4 {
        flags = NEEDS_CSUM;
        start = u16::try_from(s).ok()?;
        offset = u16::try_from(o).ok()?;
    }
    if let Some(gso) = packet.offload.gso {
        gso_type = match gso.kind {
            GsoKind::TcpV4 => GSO_TCPV4,
            GsoKind::TcpV6 => GSO_TCPV6,
            GsoKind::Udp => GSO_UDP_L4,
        };
        if gso.ecn && gso.kind != GsoKind::Udp {
            gso_type |= GSO_ECN;
        }
        size = gso.size;
        hdr_len = u16::try_from(headers(packet, gso.kind)?).ok()?;
    }
    let ([h0, h1], [s0, s1]) = (u16::to_ne_bytes(hdr_len), u16::to_ne_bytes(size));
    let ([c0, c1], [o0, o1]) = (u16::to_ne_bytes(start), u16::to_ne_bytes(offset));
    Some([flags, gso_type, h0, h1, s0, s1, c0, c1, o0, o1])
}

/// Bytes of all headers of a packet that is to be cut: the kernel keeps them together in front.
fn headers(packet: &Packet, kind: GsoKind) -> Option<usize> {
    let l4 = match packet.offload.l4 {
        L4Checksum::Partial { start, .. } => start,
        _ => packet.layers().l4?,
    };
    let header = match kind {
        GsoKind::TcpV4 | GsoKind::TcpV6 => usize::from(packet.data().get(l4 + 12)? >> 4) * 4,
        GsoKind::Udp => 8,
    };
    Some(packet.len().min(l4 + header))
}

#[cfg(test)]
mod tests {
    use ovs_packet::{FlowKey, Match, compose, extract};

    use super::*;

    fn header(flags: u8, gso_type: u8, words: [u16; 4]) -> Header {
        let mut h = [flags, gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
        for (to, w) in h[2..].chunks_exact_mut(2).zip(words) {
            to.copy_from_slice(&w.to_ne_bytes());
        }
        h
    }

    fn tcp(payload: usize) -> Packet {
        let m: Match = "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=80".parse().unwrap();
        let mut p = compose::compose(m.key(), &vec![1; payload]);
        extract::extract(&mut p, &mut FlowKey::ZERO.clone());
        p
    }

    #[test]
    fn what_is_written_reads_back() {
        for (kind, ecn) in [(GsoKind::TcpV4, true), (GsoKind::TcpV6, false), (GsoKind::Udp, false)] {
            let mut p = tcp(4000);
            p.offload.l4 = L4Checksum::Partial { start: 34, offset: 16 };
            p.offload.gso = Some(Gso { kind, size: 1448, ecn });
            let h = write(&mut p).unwrap();
            assert_eq!(read(&h, p.len()), Some(p.offload));
            assert_eq!(u16::from_ne_bytes([h[2], h[3]]), if kind == GsoKind::Udp { 42 } else { 54 });
        }
        let mut p = tcp(10);
        p.offload.l4 = L4Checksum::Good;
        assert_eq!(write(&mut p), Some([0; LEN]));
    }

    #[test]
    fn a_packet_to_be_cut_gets_a_partial_checksum() {
        let mut p = tcp(4000);
        p.offload.l4 = L4Checksum::Good;
        p.offload.gso = Some(Gso { kind: GsoKind::TcpV4, size: 1448, ecn: false });
        assert_eq!(write(&mut p), Some(header(1, 1, [54, 1448, 34, 16])));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(
            read(&header(DATA_VALID, 0, [0; 4]), 60),
            Some(Offload { l4: L4Checksum::Good, ..Offload::default() })
        );
        assert!(read(&header(1, 0, [0, 0, 34, 16]), 52).is_some());
        for (h, len) in [
            (header(1, 0, [0, 0, 34, 16]), 51),
            (header(1, 0, [0, 0, u16::MAX, u16::MAX]), 65000),
            (header(1, GSO_TCPV4, [54, 0, 34, 16]), 3000),
            (header(1, 3, [54, 1448, 34, 6]), 3000),
            (header(1, 0x60 | GSO_TCPV4, [54, 1448, 34, 16]), 3000),
            (header(0, GSO_ECN, [0; 4]), 60),
        ] {
            assert_eq!(read(&h, len), None, "{h:?}");
        }
        let mut p = tcp(0);
        p.offload.l4 = L4Checksum::Partial { start: 70_000, offset: 16 };
        assert_eq!(write(&mut p), None);
    }
}
