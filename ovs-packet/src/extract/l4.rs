//! TCP, UDP, SCTP, ICMP, IGMP, neighbour discovery.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{
    Extraction, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_IGMP, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP, Malformed,
    ND_ADVERT, ND_SOLICIT, PORTS, Pass, claim, join, join_quarters, put,
};
use crate::addr::EthAddr;
use crate::key::{Block, BlockSet, FlowKey};
use crate::packet::Place;

const UDP_HEADER: usize = 8;
const SCTP_HEADER: usize = 12;
const ICMP_HEADER: usize = 8;

/// TCP's header without options.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TcpHeader {
    ports: [u8; 4],
    _numbers: [u8; 8],
    /// Data offset and flags.
    control: [u8; 2],
    _rest: [u8; 6],
}

const TCP_HEADER: usize = size_of::<TcpHeader>();

/// The flags among the bits of TCP's data offset and flags.
const TCP_FLAGS: u16 = 0x0fff;

/// ND option types (RFC 4861, section 4.6).
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

impl Pass<'_> {
    /// Reads the transport header of `proto` in `l4`, which begins at byte `at` of the packet and has exactly the
    /// bytes that IP announced.
    #[inline(never)]
    pub(super) fn transport(self, l4: &[u8], at: Place, proto: u8, v6: bool, blocks: BlockSet) -> Extraction {
        let mut extraction = Extraction::good(blocks);
        let cut = Extraction::bad(blocks, Malformed::Transport);
        match proto {
            IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_SCTP => {
                let ports = match proto {
                    IP_PROTO_TCP => tcp(l4, 0, l4.len()),
                    IP_PROTO_UDP => udp(l4, 0, l4.len()),
                    _ => udp(l4, 0, l4.len()).filter(|_| l4.len() >= SCTP_HEADER),
                };
                let Some(ports) = ports else { return cut };
                put::<PORTS>(self.key, ports);
            }
            IP_PROTO_ICMP if !v6 => {
                let Some(word) = icmp(l4, 0, l4.len()) else { return cut };
                put::<PORTS>(self.key, word);
            }
            IP_PROTO_ICMPV6 if v6 => {
                let Some(word) = icmp(l4, 0, l4.len()) else { return cut };
                put::<PORTS>(self.key, word);
                if is_neighbor_discovery(word) {
                    extraction.malformed = neighbor_discovery(self.key, l4).err();
                }
            }
            IP_PROTO_IGMP if !v6 => {
                let (Some(word), Some(group)) = (icmp(l4, 0, l4.len()), l4.get(4..).and_then(|b| b.first_chunk::<4>()))
                else {
                    return cut;
                };
                put::<PORTS>(self.key, word);
                extraction.blocks = claim(self.key, blocks, Block::Network);
                self.key.igmp_group = (*group).into();
            }
            _ => {}
        }
        self.places.l4 = at;
        self.places.l4_proto = proto;
        extraction
    }
}

/// The word of the key that holds the ports and flags of the TCP segment (RFC 9293, section 3.1) that `data` begins with,
/// if its header fits into `len` bytes less `skip`.
#[inline(always)]
pub(super) fn tcp(data: &[u8], skip: usize, len: usize) -> Option<u64> {
    let (header, _) = TcpHeader::ref_from_prefix(data).ok()?;
    let header_len = usize::from(header.control[0] >> 4) * 4;
    if header_len < TCP_HEADER || skip + header_len > len {
        return None;
    }
    let flags = u16::from_ne_bytes(header.control) & TCP_FLAGS.to_be();
    Some(join(u32::from_ne_bytes(header.ports), join_quarters(flags, 0)))
}

/// The word of the key that holds the ports of the UDP datagram (RFC 768) that `data` begins with, if its header fits
/// into `len` bytes less `skip`.
#[inline(always)]
pub(super) fn udp(data: &[u8], skip: usize, len: usize) -> Option<u64> {
    let [s0, s1, d0, d1, ..] = *data.first_chunk::<UDP_HEADER>()?;
    (len >= skip + UDP_HEADER).then(|| join(u32::from_ne_bytes([s0, s1, d0, d1]), 0))
}

/// The word of the key that holds type and code of the message of ICMP (RFC 792), ICMPv6 (RFC 4443) or IGMP (RFC 2236)
/// that `data` begins with, if its header fits into `len` bytes less `skip`.
#[inline(always)]
pub(super) fn icmp(data: &[u8], skip: usize, len: usize) -> Option<u64> {
    let [kind, code, ..] = *data.first_chunk::<ICMP_HEADER>()?;
    (len >= skip + ICMP_HEADER).then(|| icmp_word(kind, code))
}

const fn icmp_word(kind: u8, code: u8) -> u64 {
    u64::from_ne_bytes([0, kind, 0, code, 0, 0, 0, 0])
}

/// Whether a message of ICMPv6 with this type and code is neighbour discovery with a target.
#[inline(always)]
pub(super) fn is_neighbor_discovery(word: u64) -> bool {
    word == const { icmp_word(ND_SOLICIT, 0) } || word == const { icmp_word(ND_ADVERT, 0) }
}

/// Reserved word, target and link-layer address options (RFC 4861, sections 4.3, 4.4, 4.6.1), into a key whose block of
/// them is in use already, by IPv6.
///
/// Of a message that is cut short, what there is of it stays; a link-layer address that is given twice leaves target
/// and addresses absent.
fn neighbor_discovery(key: &mut FlowKey, message: &[u8]) -> Result<(), Malformed> {
    let Some(([_, _, _, _, reserved @ ..], rest)) = message.split_first_chunk::<8>() else { return Ok(()) };
    key.igmp_group = (*reserved).into();
    let (target, mut options) = rest.split_first_chunk::<16>().ok_or(Malformed::NeighborDiscovery)?;
    key.nd_target = (*target).into();
    let mut first = 0;
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        let (option, behind) = match options.split_at_checked(len) {
            Some(split) if len > 0 => split,
            _ => return Err(Malformed::NeighborDiscovery),
        };
        let slot = match kind {
            SOURCE_LINK_LAYER => &mut key.arp_sha,
            TARGET_LINK_LAYER => &mut key.arp_tha,
            _ => {
                options = behind;
                continue;
            }
        };
        if let [_, _, a, b, c, d, e, f] = *option {
            if !slot.is_zero() {
                key.nd_target = 0.into();
                (key.arp_sha, key.arp_tha) = (EthAddr::default(), EthAddr::default());
                return Err(Malformed::NeighborDiscovery);
            }
            *slot = EthAddr([a, b, c, d, e, f]);
            // The type of the first of these options shares a member with TCP's flags.
            if first == 0 {
                first = kind;
                key.tcp_flags.set(kind.into());
            }
        }
        options = behind;
    }
    if options.is_empty() { Ok(()) } else { Err(Malformed::NeighborDiscovery) }
}
