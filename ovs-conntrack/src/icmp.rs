//! ICMP for IPv4 and IPv6: which messages are queries, which are errors, and whom an error is about.
//!
//! A query opens a connection of its own, told from others by its identifier; only its answer belongs to it. An error
//! opens nothing: it carries the beginning of a packet that could not be delivered, and concerns that packet's
//! connection. It is believed only if it is sent to the undelivered packet's source (as pf and upstream have it).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ovs_packet::extract::{IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP};

use crate::tuple::{Transport, Tuple};

/// Kinds of query (RFC 792, RFC 4443).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Query {
    Echo = 1,
    Timestamp = 2,
    Information = 3,
}

impl Query {
    /// The query that a message type belongs to, and whether it asks; `None` for a type that is no query.
    pub(crate) const fn of(v6: bool, kind: u8) -> Option<(Query, bool)> {
        Some(match (v6, kind) {
            (false, 8) | (true, 128) => (Query::Echo, true),
            (false, 0) | (true, 129) => (Query::Echo, false),
            (false, 13) => (Query::Timestamp, true),
            (false, 14) => (Query::Timestamp, false),
            (false, 15) => (Query::Information, true),
            (false, 16) => (Query::Information, false),
            _ => return None,
        })
    }

    /// The message type that asks, or answers.
    pub(crate) const fn kind(self, v6: bool, asks: bool) -> u8 {
        match (self, v6, asks) {
            (Query::Echo, false, true) => 8,
            (Query::Echo, false, false) => 0,
            (Query::Echo, true, true) => 128,
            (Query::Echo, true, false) => 129,
            (Query::Timestamp, _, true) => 13,
            (Query::Timestamp, _, false) => 14,
            (Query::Information, _, true) => 15,
            (Query::Information, _, false) => 16,
        }
    }

    /// The inverse of `as u8`.
    pub(crate) const fn from_bits(bits: u8) -> Option<Query> {
        Some(match bits {
            1 => Query::Echo,
            2 => Query::Timestamp,
            3 => Query::Information,
            _ => return None,
        })
    }
}

/// Whether a message of this type reports an error. For IPv4: destination unreachable, source quench, redirect, time
/// exceeded, parameter problem; for IPv6: destination unreachable, packet too big, time exceeded, parameter problem.
pub(crate) const fn is_error(v6: bool, kind: u8) -> bool {
    if v6 { matches!(kind, 1..=4) } else { matches!(kind, 3 | 4 | 5 | 11 | 12) }
}

/// Bytes of an error message before the undelivered packet.
pub(crate) const ERROR_HEADER: usize = 8;

/// The tuple of the packet that an error `message` is about, in that packet's own direction.
///
/// The packet may be cut short behind the first 8 bytes of its transport header, which is all that RFC 792 promises.
/// `None` if even they are missing, if it is a later fragment, or if it is itself no packet that is tracked.
pub(crate) fn undelivered(v6: bool, message: &[u8]) -> Option<Tuple> {
    let inner = message.get(ERROR_HEADER..)?;
    let (src, dst, proto, l4) = if v6 { ipv6(inner)? } else { ipv4(inner)? };
    let l4 = inner.get(l4..)?;
    let transport = match proto {
        IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_SCTP => {
            let [s0, s1, d0, d1, ..] = *l4.first_chunk::<8>()?;
            let (src, dst) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
            if src == 0 || dst == 0 {
                return None;
            }
            Transport::Ports { src, dst }
        }
        IP_PROTO_ICMP if !v6 => query(v6, l4)?,
        IP_PROTO_ICMPV6 if v6 => query(v6, l4)?,
        _ => Transport::Ports { src: 0, dst: 0 },
    };
    Some(Tuple { src, dst, proto, transport })
}

/// The identifier, type and code of a query or its answer: code 0, or it is neither.
pub(crate) fn query(v6: bool, message: &[u8]) -> Option<Transport> {
    let [kind, code, _, _, i0, i1, ..] = *message.first_chunk::<8>()?;
    Query::of(v6, kind).filter(|_| code == 0)?;
    Some(Transport::Icmp { id: u16::from_be_bytes([i0, i1]), kind, code })
}

/// The protocol of an undelivered packet, and the byte at which its transport header begins.
pub(crate) fn transport_of(v6: bool, ip: &[u8]) -> Option<(u8, usize)> {
    let (.., proto, l4) = if v6 { ipv6(ip)? } else { ipv4(ip)? };
    Some((proto, l4))
}

fn ipv4(ip: &[u8]) -> Option<(IpAddr, IpAddr, u8, usize)> {
    let [vihl, _, _, _, _, _, f0, f1, _, proto, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *ip.first_chunk::<20>()?;
    let header_len = usize::from(vihl & 0x0f) * 4;
    let offset = u16::from_be_bytes([f0, f1]) & 0x1fff;
    if vihl >> 4 != 4 || header_len < 20 || offset != 0 {
        return None;
    }
    let (src, dst) = (Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3));
    Some((src.into(), dst.into(), proto, header_len))
}

fn ipv6(ip: &[u8]) -> Option<(IpAddr, IpAddr, u8, usize)> {
    let (header, mut rest) = ip.split_first_chunk::<40>()?;
    let [first, _, _, _, _, _, mut next, _, addresses @ ..] = *header;
    if first >> 4 != 6 {
        return None;
    }
    let (src, dst) = addresses.split_first_chunk::<16>()?;
    let (src, dst) = (Ipv6Addr::from(*src), Ipv6Addr::from(*dst.first_chunk::<16>()?));
    // Extension headers, as ovs-packet steps over them in whole packets; each has 8 bytes or more, so the walk ends.
    loop {
        let len = match next {
            // Hop by hop, routing, destination, mobility, host identity, shim6.
            0 | 43 | 60 | 135 | 139 | 140 => 8 * (usize::from(*rest.get(1)?) + 1),
            // Fragment: only the first has a transport header.
            44 if u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]) & 0xfff8 == 0 => 8,
            44 => return None,
            // Authentication, in units of 4 bytes less two (RFC 4302, section 2.2).
            51 => 4 * (usize::from(*rest.get(1)?) + 2),
            _ => return Some((src.into(), dst.into(), next, ip.len() - rest.len())),
        };
        next = *rest.first()?;
        rest = rest.get(len..)?;
    }
}
