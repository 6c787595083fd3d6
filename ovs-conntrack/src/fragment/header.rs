//! What a fragment says of itself.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use ovs_packet::Packet;

/// What tells the fragments of one datagram from those of others (RFC 791, section 3.2; RFC 8200, section 4.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Datagram {
    pub(super) group: u64,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) id: u32,
    /// Of IPv4; 0 for IPv6, whose later fragments need not agree.
    pub(super) proto: u8,
}

/// A fragment, taken apart. Offsets are from the network header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fragment {
    pub(super) datagram: Datagram,
    /// Where its bytes belong in the datagram's fragmentable part.
    pub(super) at: Range<usize>,
    pub(super) more: bool,
    /// Where its bytes are.
    pub(super) payload: Range<usize>,
    /// Bytes of all headers that each fragment repeats, but for IPv6's fragment header.
    pub(super) headers: usize,
    /// Of IPv6: where the protocol of the fragment header is named, and what it names behind itself.
    pub(super) next: Option<(usize, u8)>,
}

impl Fragment {
    /// Reads a packet whose layers are known.
    ///
    /// `Ok(None)` if it is no fragment: another protocol, a whole datagram, or an IPv6 fragment that is first and last
    /// at once (RFC 6946). `Err(())` if its headers are cut short.
    pub(super) fn read(packet: &Packet, group: u64) -> Result<Option<Fragment>, ()> {
        let ip = packet.l3();
        match ip.first().map(|b| b >> 4) {
            Some(4) if packet.layers().l3.is_some() => ipv4(ip, group),
            Some(6) if packet.layers().l3.is_some() => ipv6(ip, group).ok_or(()),
            _ => Ok(None),
        }
    }
}

fn ipv4(ip: &[u8], group: u64) -> Result<Option<Fragment>, ()> {
    let header = ip.first_chunk::<20>().ok_or(())?;
    let [vihl, _, l0, l1, i0, i1, f0, f1, _, proto, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let field = u16::from_be_bytes([f0, f1]);
    let (more, offset) = (field & 0x2000 != 0, usize::from(field & 0x1fff) * 8);
    if !more && offset == 0 {
        return Ok(None);
    }
    let (headers, total) = (usize::from(vihl & 0x0f) * 4, usize::from(u16::from_be_bytes([l0, l1])));
    if headers < 20 || total < headers || total > ip.len() {
        return Err(());
    }
    let datagram = Datagram {
        group,
        src: Ipv4Addr::new(s0, s1, s2, s3).into(),
        dst: Ipv4Addr::new(d0, d1, d2, d3).into(),
        id: u16::from_be_bytes([i0, i1]).into(),
        proto,
    };
    let at = offset..offset + (total - headers);
    Ok(Some(Fragment { datagram, at, more, payload: headers..total, headers, next: None }))
}

/// `None` if the headers are cut short, `Some(None)` for what is no fragment.
fn ipv6(ip: &[u8], group: u64) -> Option<Option<Fragment>> {
    let header = ip.first_chunk::<40>()?;
    let [_, _, _, _, l0, l1, next, _, addresses @ ..] = *header;
    let (src, dst) = addresses.split_first_chunk::<16>()?;
    let total = 40 + usize::from(u16::from_be_bytes([l0, l1]));
    let ip = ip.get(..total)?;
    let (mut kind, mut named_at, mut at) = (next, 6, 40);
    // Only what stands before a fragment header in each fragment: hop by hop, destination, routing.
    while matches!(kind, 0 | 43 | 60) {
        let [after, len] = *ip.get(at..)?.first_chunk::<2>()?;
        (kind, named_at, at) = (after, at, at + 8 * (usize::from(len) + 1));
    }
    if kind != 44 {
        return Some(None);
    }
    let [behind, _, o0, o1, i0, i1, i2, i3] = *ip.get(at..)?.first_chunk::<8>()?;
    let field = u16::from_be_bytes([o0, o1]);
    let (more, offset) = (field & 1 != 0, usize::from(field & 0xfff8));
    if !more && offset == 0 {
        return Some(None);
    }
    let datagram = Datagram {
        group,
        src: Ipv6Addr::from(*src).into(),
        dst: Ipv6Addr::from(*dst.first_chunk::<16>()?).into(),
        id: u32::from_be_bytes([i0, i1, i2, i3]),
        proto: 0,
    };
    let payload = at + 8..total;
    let place = offset..offset + payload.len();
    Some(Some(Fragment { datagram, at: place, more, payload, headers: at, next: Some((named_at, behind)) }))
}
