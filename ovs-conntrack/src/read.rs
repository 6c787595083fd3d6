//! From a packet and its flow key to what tracking needs to know of it.
//!
//! The flow key gives addresses, protocol, ports and flags; the packet itself is read for what the key does not hold:
//! lengths, checksums, the identifier of ICMP queries, the packet inside ICMP errors. Everything that is wrong with a
//! packet by itself, without regard to any connection, is found here.

use core::net::IpAddr;

use ovs_packet::checksum;
use ovs_packet::extract::{
    ETH_TYPE_IPV4, ETH_TYPE_IPV6, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP,
};
use ovs_packet::packet::{IpChecksum, L4Checksum};
use ovs_packet::{FlowKey, Packet};

use crate::icmp;
use crate::key::Key;
use crate::outcome::InvalidReason;
use crate::siphash::SipHash13;
use crate::tcp::{self, Segment};
use crate::tuple::Tuple;

/// What a packet is to the protocol of its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    Tcp(Segment),
    /// An ICMP query, or the answer to one.
    Query {
        asks: bool,
    },
    /// UDP, SCTP, and what has no ports.
    Other,
    /// An ICMP error: key and direction are the concerned connection's.
    Error,
}

/// What was read of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) key: Key,
    /// The hash of the key.
    pub(crate) hash: u64,
    /// Whether it comes from the low end of the key.
    pub(crate) from_low: bool,
    pub(crate) content: Content,
}

/// What is read of a packet, or what is wrong with it.
pub(crate) type Reading = Result<Seen, InvalidReason>;

/// Reads `packet`, whose extracted key is `flow`, to `reading`. A transport checksum that proves right is noted in the
/// packet.
///
/// All is written where it stays: what is moved as soon as it is written, in pieces of other sizes, keeps the processor
/// waiting for longer than this takes.
pub(crate) fn read(
    reading: &mut Reading,
    packet: &mut Packet,
    flow: &FlowKey,
    zone: u16,
    verify: bool,
    hash: SipHash13,
) {
    if let Err(reason) = try_read(reading, packet, flow, zone, verify, hash) {
        *reading = Err(reason);
    }
}

#[inline(always)]
fn try_read(
    reading: &mut Reading,
    packet: &mut Packet,
    flow: &FlowKey,
    zone: u16,
    verify: bool,
    hash: SipHash13,
) -> Result<(), InvalidReason> {
    let v6 = match flow.eth_type.get() {
        ETH_TYPE_IPV4 => false,
        ETH_TYPE_IPV6 => true,
        _ => return Err(InvalidReason::NotIp),
    };
    if flow.nw_frag != 0 {
        return Err(InvalidReason::Fragment);
    }
    if packet.layers().l4.is_none() {
        return Err(InvalidReason::Malformed);
    }
    let proto = flow.nw_proto;
    if verify {
        if !v6 && packet.offload.ip == IpChecksum::Bad {
            return Err(InvalidReason::HeaderChecksum);
        }
        if packet.offload.l4 == L4Checksum::Bad {
            return Err(InvalidReason::Checksum);
        }
        if !v6 && packet.offload.ip == IpChecksum::Unknown {
            if !ipv4_header_is_right(packet.l3()) {
                return Err(InvalidReason::HeaderChecksum);
            }
            packet.offload.ip = IpChecksum::Good;
        }
    }
    let covered = segment(packet, proto)?;
    if verify && packet.offload.l4 == L4Checksum::Unknown {
        let right = match proto {
            IP_PROTO_SCTP => Some(sctp_is_right(packet)),
            _ => transport_is_right(flow, v6, proto, covered),
        };
        match right {
            Some(true) => packet.offload.l4 = L4Checksum::Good,
            Some(false) => return Err(InvalidReason::Checksum),
            None => {}
        }
    }

    match proto {
        IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_SCTP if flow.tp_src.get() == 0 || flow.tp_dst.get() == 0 => {
            return Err(InvalidReason::PortZero);
        }
        IP_PROTO_TCP => {
            let segment = Segment::read(packet.l4()).ok_or(InvalidReason::Malformed)?;
            if tcp::contradictory(segment.flags) {
                return Err(InvalidReason::TcpFlags);
            }
            let (key, from_low) = if v6 { key_of_v6(flow, zone) } else { key_of_v4(flow, zone) };
            *reading = Ok(Seen { key, hash: key.hash(hash), from_low, content: Content::Tcp(segment) });
        }
        IP_PROTO_ICMP | IP_PROTO_ICMPV6 if v6 == (proto == IP_PROTO_ICMPV6) => {
            *reading = read_icmp(packet, flow, zone, v6, hash);
        }
        _ => {
            let (key, from_low) = if v6 { key_of_v6(flow, zone) } else { key_of_v4(flow, zone) };
            *reading = Ok(Seen { key, hash: key.hash(hash), from_low, content: Content::Other });
        }
    }
    Ok(())
}

/// The key of a packet that is no ICMP.
pub(crate) fn key_of(flow: &FlowKey, zone: u16) -> Key {
    match flow.eth_type.get() {
        ETH_TYPE_IPV6 => key_of_v6(flow, zone).0,
        _ => key_of_v4(flow, zone).0,
    }
}

#[inline(always)]
fn key_of_v4(flow: &FlowKey, zone: u16) -> (Key, bool) {
    let (src, dst) = ports(flow);
    Key::of_v4(zone, flow.nw_proto, (flow.nw_src.get(), src), (flow.nw_dst.get(), dst))
}

#[inline(always)]
fn key_of_v6(flow: &FlowKey, zone: u16) -> (Key, bool) {
    let (src, dst) = ports(flow);
    Key::of_v6(zone, flow.nw_proto, (flow.ipv6_src.get(), src), (flow.ipv6_dst.get(), dst))
}

/// Without a transport that is known, the addresses alone are the connection.
#[inline(always)]
fn ports(flow: &FlowKey) -> (u16, u16) {
    match flow.nw_proto {
        IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_SCTP => (flow.tp_src.get(), flow.tp_dst.get()),
        _ => (0, 0),
    }
}

/// Reads a message of ICMP, or ICMPv6 if `v6`.
fn read_icmp(packet: &Packet, flow: &FlowKey, zone: u16, v6: bool, hash: SipHash13) -> Result<Seen, InvalidReason> {
    let (src, dst) = addresses(flow, v6);
    let (message, kind) = (packet.l4(), flow.tp_src.get() as u8);
    if icmp::is_error(v6, kind) {
        let undelivered = icmp::undelivered(v6, message).filter(|t| t.src == dst);
        let (key, from_low) = undelivered.and_then(|t| Key::new(zone, &t)).ok_or(InvalidReason::IcmpError)?;
        return Ok(Seen { key, hash: key.hash(hash), from_low: !from_low, content: Content::Error });
    }
    let transport = icmp::query(v6, message).ok_or(InvalidReason::IcmpType)?;
    let asks = icmp::Query::of(v6, kind).is_some_and(|(_, asks)| asks);
    let tuple = Tuple { src, dst, proto: flow.nw_proto, transport };
    let (key, from_low) = Key::new(zone, &tuple).ok_or(InvalidReason::Malformed)?;
    Ok(Seen { key, hash: key.hash(hash), from_low, content: Content::Query { asks } })
}

fn addresses(flow: &FlowKey, v6: bool) -> (IpAddr, IpAddr) {
    if v6 { (flow.ipv6_src().into(), flow.ipv6_dst().into()) } else { (flow.ipv4_src().into(), flow.ipv4_dst().into()) }
}

/// The transport header and all that it covers, which for UDP is what it says itself.
fn segment(packet: &Packet, proto: u8) -> Result<&[u8], InvalidReason> {
    let l4 = packet.l4();
    if proto != IP_PROTO_UDP {
        return Ok(l4);
    }
    let len = match l4 {
        [_, _, _, _, l0, l1, ..] => usize::from(u16::from_be_bytes([*l0, *l1])),
        _ => 0,
    };
    l4.get(..len).filter(|datagram| datagram.len() >= 8).ok_or(InvalidReason::Malformed)
}

#[inline]
fn ipv4_header_is_right(ip: &[u8]) -> bool {
    // Nearly all are without options: a sum of known length.
    if let Some(header @ [0x45, ..]) = ip.first_chunk::<20>() {
        return checksum::checksum(header) == 0;
    }
    let len = ip.first().map_or(0, |b| usize::from(b & 0x0f) * 4);
    ip.get(..len).is_some_and(|header| checksum::checksum(header) == 0)
}

/// Whether the transport checksum is right; `None` if there is none.
fn transport_is_right(flow: &FlowKey, v6: bool, proto: u8, segment: &[u8]) -> Option<bool> {
    let len = segment.len() as u32;
    let pseudo = match v6 {
        false => checksum::pseudo_v4(flow.ipv4_src(), flow.ipv4_dst(), proto, len),
        true => checksum::pseudo_v6(flow.ipv6_src(), flow.ipv6_dst(), proto, len),
    };
    let sum = match (proto, v6) {
        // A UDP checksum of zero means that there is none (RFC 768), which IPv6 forbids (RFC 8200, section 8.1).
        (IP_PROTO_UDP, v6) if matches!(segment, [_, _, _, _, _, _, 0, 0, ..]) => return v6.then_some(false),
        (IP_PROTO_TCP | IP_PROTO_UDP, _) | (IP_PROTO_ICMPV6, true) => pseudo,
        (IP_PROTO_ICMP, false) => 0,
        _ => return None,
    };
    Some(checksum::fold(checksum::sum(segment, sum)) == 0xffff)
}

/// CRC32c over the packet with its checksum taken as zero (RFC 9260, section 6.8): for as long as the sum takes, it is.
fn sctp_is_right(packet: &mut Packet) -> bool {
    let Some(at) = packet.layers().l4 else { return false };
    let Some(field) = packet.data_mut().get_mut(at + 8..at + 12) else { return false };
    let mut written = [0; 4];
    written.swap_with_slice(field);
    let crc = checksum::crc32c(packet.l4());
    if let Some(field) = packet.data_mut().get_mut(at + 8..at + 12) {
        field.copy_from_slice(&written);
    }
    crc == u32::from_le_bytes(written)
}
