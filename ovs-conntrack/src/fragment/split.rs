//! From fragments to a datagram, and from a datagram to fragments.

use core::fmt;

use alloc::vec::Vec;

use ovs_packet::{FlowKey, Packet, checksum, compose, extract};

use super::header::Fragment;

/// A datagram that was put together of fragments, and how to take it apart again.
///
/// Between the two, the packet may be translated: what is behind its network headers may change, its length too, and
/// addresses. Headers must not be pushed on it or popped.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The datagram. Its layers are known; whether its transport checksum is right is not.
    pub packet: Packet,
    plan: Plan,
}

/// Where a datagram is cut, and what the pieces have in their headers.
#[derive(Clone, Debug)]
struct Plan {
    /// The ends of all pieces but the last, in the fragmentable part.
    cuts: Vec<usize>,
    id: u32,
    /// Bytes of network headers that each piece repeats.
    headers: usize,
    /// Of IPv6: where the fragment header's protocol goes.
    named_at: Option<usize>,
    dont_fragment: bool,
}

/// Why a packet is not cut.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SplitError {
    /// Neither IPv4 nor IPv6, or cut short.
    NotIp,
    /// IPv4 with the bit that forbids it.
    DontFragment,
    /// The size does not leave room for 8 bytes behind the headers.
    TooSmall,
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SplitError::NotIp => "not a whole IP packet",
            SplitError::DontFragment => "the packet forbids fragmentation",
            SplitError::TooSmall => "fragments of this size have no room for data",
        })
    }
}

impl core::error::Error for SplitError {}

impl Whole {
    /// Puts fragments together, which cover the datagram without gaps or overlaps, in order.
    pub(super) fn join(pieces: Vec<(Fragment, Packet)>) -> Option<Whole> {
        let (first, packet) = pieces.first()?;
        let l3 = packet.layers().l3?;
        let mut joined = Packet::from_slice(packet.data().get(..l3 + first.headers)?);
        for (fragment, packet) in &pieces {
            joined.extend(packet.l3().get(fragment.payload.clone())?);
        }
        let cuts = pieces.iter().rev().skip(1).rev().map(|(fragment, _)| fragment.at.end).collect();
        let plan = Plan {
            cuts,
            id: first.datagram.id,
            headers: first.headers,
            named_at: first.next.map(|(at, _)| at),
            dont_fragment: packet.l3().get(6).is_some_and(|flags| first.next.is_none() && flags & 0x40 != 0),
        };
        joined.meta = packet.meta;
        let total = joined.len() - l3;
        let ip = joined.data_mut().get_mut(l3..)?;
        match first.next {
            None => write_ipv4(ip, first.headers, total, if plan.dont_fragment { 0x4000 } else { 0 })?,
            Some((named_at, proto)) => {
                *ip.get_mut(named_at)? = proto;
                ip.get_mut(4..6)?.copy_from_slice(&u16::try_from(total - 40).ok()?.to_be_bytes());
            }
        }
        let mut key = FlowKey::ZERO;
        extract::extract(&mut joined, &mut key);
        Some(Whole { packet: joined, plan })
    }

    /// How many fragments the datagram came in.
    pub fn fragments(&self) -> usize {
        self.plan.cuts.len() + 1
    }

    /// The fragments, cut where they were, each with the packet's metadata.
    ///
    /// A datagram that became shorter has fewer; one that became longer has a longer last one.
    pub fn split(self) -> Vec<Packet> {
        let Whole { packet, plan } = self;
        cut(packet, &plan).unwrap_or_default()
    }
}

/// Cuts an IP packet, whose layers are known, into fragments of at most `size` bytes from the network header on. `id`
/// is the identification of IPv6 fragments; those of IPv4 have the packet's own. One that is short enough stays whole.
///
/// A transport checksum that is still to be computed is computed first.
///
/// # Errors
/// If the packet cannot be cut, or not to this size.
///
/// ```
/// use ovs_conntrack::fragment;
/// use ovs_packet::{Match, compose};
///
/// let udp: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2".parse().unwrap();
/// let fragments = fragment::split(compose::compose(udp.key(), &[0; 4000]), 1500, 7).unwrap();
/// assert_eq!(fragments.iter().map(|f| f.l3().len()).collect::<Vec<_>>(), [1500, 1500, 1068]);
/// ```
pub fn split(packet: Packet, size: usize, id: u32) -> Result<Vec<Packet>, SplitError> {
    let ip = packet.l3();
    if ip.len() <= size {
        return Ok(alloc::vec![packet]);
    }
    let (headers, named_at, fragment_header, id) = match ip.first().map(|b| b >> 4) {
        Some(4) => {
            let field =
                |at: usize| ip.get(at..at + 2).and_then(|b| b.first_chunk::<2>()).map(|b| u16::from_be_bytes(*b));
            if field(6).is_none_or(|flags| flags & 0x4000 != 0) {
                return Err(SplitError::DontFragment);
            }
            let headers = ip.first().map_or(0, |b| usize::from(b & 0x0f) * 4);
            (headers.max(20), None, 0, field(4).ok_or(SplitError::NotIp)?.into())
        }
        Some(6) => {
            let (headers, named_at) = repeated(ip).ok_or(SplitError::NotIp)?;
            (headers, Some(named_at), 8, id)
        }
        _ => return Err(SplitError::NotIp),
    };
    let room = size.saturating_sub(headers + fragment_header) / 8 * 8;
    let len = ip.len().checked_sub(headers).ok_or(SplitError::NotIp)?;
    if room == 0 {
        return Err(SplitError::TooSmall);
    }
    let cuts = (1..len.div_ceil(room)).map(|i| i * room).collect();
    let plan = Plan { cuts, id, headers, named_at, dont_fragment: false };
    cut(packet, &plan).ok_or(SplitError::NotIp)
}

/// Of IPv6: the bytes of headers that each fragment repeats, up to the last routing or hop by hop header, and where the
/// protocol of what follows is named (RFC 8200, section 4.5).
fn repeated(ip: &[u8]) -> Option<(usize, usize)> {
    let (mut kind, mut named_at, mut at) = (*ip.get(6)?, 6, 40);
    let mut last = (at, named_at);
    while matches!(kind, 0 | 43 | 60) {
        let [after, len] = *ip.get(at..)?.first_chunk::<2>()?;
        let through = kind != 60;
        (kind, named_at, at) = (after, at, at + 8 * (usize::from(len) + 1));
        if through {
            last = (at, named_at);
        }
    }
    Some(last)
}

fn cut(mut packet: Packet, plan: &Plan) -> Option<Vec<Packet>> {
    if packet.offload.l4.is_pending() {
        compose::write_l4_checksum(&mut packet);
    }
    let l3 = packet.layers().l3?;
    let front = packet.data().get(..l3 + plan.headers)?;
    let body = packet.l3().get(plan.headers..)?;
    let mut fragments = Vec::with_capacity(plan.cuts.len() + 1);
    let (mut start, mut key) = (0, FlowKey::ZERO);
    let ends = plan.cuts.iter().copied().filter(|end| *end < body.len()).chain([body.len()]);
    for end in ends {
        let piece = body.get(start..end)?;
        let offset = u16::try_from(start / 8).ok()?;
        let more = end < body.len();
        let mut fragment = Packet::from_slice(front);
        match plan.named_at {
            None => {
                let headers =
                    if start == 0 { plan.headers } else { keep_copied_options(&mut fragment, l3, plan.headers)? };
                fragment.extend(piece);
                let flags = offset | if more { 0x2000 } else { 0 } | if plan.dont_fragment { 0x4000 } else { 0 };
                let ip = fragment.data_mut().get_mut(l3..)?;
                write_ipv4(ip, headers, headers + piece.len(), flags)?;
            }
            Some(named_at) => {
                let place = fragment.data_mut().get_mut(l3 + named_at)?;
                let proto = core::mem::replace(place, 44);
                let [o0, o1] = (offset << 3 | u16::from(more)).to_be_bytes();
                let [i0, i1, i2, i3] = plan.id.to_be_bytes();
                fragment.extend(&[proto, 0, o0, o1, i0, i1, i2, i3]);
                fragment.extend(piece);
                let len = u16::try_from(plan.headers - 40 + 8 + piece.len()).ok()?;
                fragment.data_mut().get_mut(l3 + 4..l3 + 6)?.copy_from_slice(&len.to_be_bytes());
            }
        }
        fragment.meta = packet.meta;
        // For the sake of its layers.
        extract::extract(&mut fragment, &mut key);
        fragments.push(fragment);
        start = end;
    }
    Some(fragments)
}

/// Of a later fragment of IPv4, only options whose first bit says so are repeated (RFC 791, section 3.1). How long the
/// header is then.
fn keep_copied_options(fragment: &mut Packet, l3: usize, headers: usize) -> Option<usize> {
    let options = fragment.data().get(l3 + 20..l3 + headers)?;
    let (mut kept, mut at) = (Vec::new(), 0);
    while let Some(kind) = options.get(at).copied().filter(|kind| *kind != 0) {
        let len = if kind == 1 { 1 } else { usize::from(*options.get(at + 1).filter(|len| **len >= 2)?) };
        if kind & 0x80 != 0 {
            kept.extend_from_slice(options.get(at..at + len)?);
        }
        at += len;
    }
    kept.resize(kept.len().next_multiple_of(4), 0);
    fragment.truncate(l3 + 20);
    fragment.extend(&kept);
    Some(20 + kept.len())
}

fn write_ipv4(ip: &mut [u8], headers: usize, total: usize, flags: u16) -> Option<()> {
    let header = ip.get_mut(..headers)?;
    *header.first_mut()? = 0x40 | u8::try_from(headers / 4).ok()?;
    header.get_mut(2..4)?.copy_from_slice(&u16::try_from(total).ok()?.to_be_bytes());
    header.get_mut(6..8)?.copy_from_slice(&flags.to_be_bytes());
    header.get_mut(10..12)?.fill(0);
    let sum = checksum::checksum(header);
    header.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}
