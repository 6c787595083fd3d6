//! Putting an outer header in front.
//!
//! What is the same for all packets of a flow is a [`Header`], made once. What differs is filled in for each packet: the
//! lengths, and what [`Varying`] has. Checksums of IP and UDP are left to whoever sends the packet.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::{ETHERNET, IPV4, IPV6, UDP};
use crate::extract::{ETH_TYPE_IPV4, ETH_TYPE_IPV6, IP_PROTO_UDP};
use crate::packet::{IpChecksum, L4Checksum, Layers, Metadata, Packet};
use crate::segment;
use crate::wire::{Error, erspan, gre, gtpu, srv6};

/// The source ports of tunnels, unless others are asked for.
pub const DEFAULT_SOURCE_PORTS: RangeInclusive<u16> = 32_768..=61_000;

/// An outer header, from Ethernet on, as it is for all packets that are sent alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    bytes: Vec<u8>,
    /// Where the network layer ends.
    transport: usize,
    finish: Finish,
}

/// What is done to a header for each packet, beside the lengths and checksums of IP and UDP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Finish {
    /// Behind UDP.
    Udp {
        /// UDP has a checksum.
        checksum: bool,
        /// The source port; none takes [`Varying::source`].
        source: Option<u16>,
    },
    /// GTP-U, behind UDP: its length, and its sequence number if it has one.
    Gtpu {
        /// As of [`Udp`](Finish::Udp).
        checksum: bool,
        /// As of [`Udp`](Finish::Udp).
        source: Option<u16>,
    },
    /// GRE: its checksum and its sequence number, as far as it has them.
    Gre,
    /// ERSPAN behind GRE: the sequence number, and the time, of type III.
    Erspan,
    /// A routing header of segments: what is behind it, by the version of IP that the packet begins with; the flow label
    /// of IPv6.
    Srv6(FlowLabel),
}

/// What flow label the outer header of IPv6 has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum FlowLabel {
    /// The packet's, if it is IPv6; else zero.
    #[default]
    Copy,
    /// Zero.
    Zero,
    /// One of [`Varying::label`].
    Compute,
}

/// What differs from packet to packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Varying {
    /// UDP source port, which spreads flows over paths (RFC 7348, section 5): see [`source_port`].
    pub source: u16,
    /// Sequence number; of GTP-U, its lower half.
    pub sequence: u32,
    /// Time of ERSPAN type III, in units of 100 microseconds.
    pub timestamp: u32,
    /// Flow label, of which the lower 20 bits are taken.
    pub label: u32,
    /// What is added to the identification of IPv4, by which segments of one packet differ (RFC 791, section 3.1).
    pub identification: u16,
}

/// The source port of a flow with this hash, among `ports`.
///
/// ```
/// use ovs_packet::tunnel::source_port;
///
/// assert_eq!(source_port(0, 100..=199), 100);
/// assert_eq!(source_port(u32::MAX, 100..=199), 199);
/// assert_eq!(source_port(0x1234_5678, 7..=7), 7);
/// ```
pub fn source_port(hash: u32, ports: RangeInclusive<u16>) -> u16 {
    let (first, count) = (*ports.start(), u64::from(ports.end().saturating_sub(*ports.start())) + 1);
    first.saturating_add(((u64::from(hash) * count) >> 32) as u16)
}

impl Header {
    /// A header that these bytes are, from Ethernet on; what each packet decides is anything.
    ///
    /// # Errors
    /// If they are not Ethernet, then IPv4 without options or IPv6, then what `finish` says.
    pub fn new(bytes: Vec<u8>, finish: Finish) -> Result<Header, Error> {
        let eth_type = bytes.get(12..14).and_then(|b| b.first_chunk().copied()).map(u16::from_be_bytes);
        let transport = match eth_type {
            Some(ETH_TYPE_IPV4) => ETHERNET + IPV4,
            Some(ETH_TYPE_IPV6) => ETHERNET + IPV6,
            Some(other) => return Err(Error::value("tunnel Ethertype", 12, other)),
            None => return Err(Error::truncated("tunnel Ethernet", bytes.len())),
        };
        let (Some(version), Some(behind)) = (bytes.get(ETHERNET), bytes.get(transport..)) else {
            return Err(Error::truncated("tunnel header", bytes.len()));
        };
        if *version != if transport == ETHERNET + IPV4 { 0x45 } else { 0x60 | version & 0x0f } {
            return Err(Error::value("tunnel IP version", ETHERNET, *version));
        }
        let udp = || behind.get(UDP..).ok_or(Error::truncated("tunnel UDP", bytes.len()));
        match finish {
            Finish::Udp { .. } => udp().map(drop)?,
            Finish::Gtpu { .. } => drop(udp().and_then(|rest| {
                // The length in it is of a packet that is not there yet.
                let short = Error::truncated("GTP-U", bytes.len());
                let first = rest.first().ok_or(short)?;
                let len = if first & 7 == 0 { 8 } else { 12 };
                rest.get(..len).ok_or(short)
            })?),
            Finish::Gre => drop(gre::View::new(behind)?),
            Finish::Erspan => {
                let gre = gre::View::new(behind)?;
                erspan::View::new(gre.payload())?;
            }
            Finish::Srv6(_) => drop(srv6::View::new(behind)?),
        }
        Ok(Header { bytes, transport, finish })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it has a checksum over what is behind it.
    pub fn covers_payload(&self) -> bool {
        match self.finish {
            Finish::Udp { checksum, .. } | Finish::Gtpu { checksum, .. } => checksum,
            Finish::Gre => self.gre().is_some_and(|view| view.checksum().is_some()),
            Finish::Erspan | Finish::Srv6(_) => false,
        }
    }

    /// Whether each packet takes a sequence number.
    pub fn counts(&self) -> bool {
        match self.finish {
            Finish::Gre | Finish::Erspan => self.gre().is_some_and(|view| view.sequence().is_some()),
            Finish::Gtpu { .. } => self.bytes.get(self.transport + UDP).is_some_and(|flags| flags & 2 != 0),
            Finish::Udp { .. } | Finish::Srv6(_) => false,
        }
    }

    /// Whether packets have a source port, or a label, of [`Varying`].
    pub fn spreads(&self) -> bool {
        use Finish::{Gtpu, Srv6, Udp};
        matches!(self.finish, Udp { source: None, .. } | Gtpu { source: None, .. } | Srv6(FlowLabel::Compute))
    }

    fn gre(&self) -> Option<&gre::View> {
        gre::View::new(self.bytes.get(self.transport..)?).ok()
    }
}

/// Puts a header in front of a packet, which is Ethernet then, and has come through no tunnel. It is one that is to be cut
/// into no segments.
///
/// The checksums of the outer IPv4 and UDP are left to be computed where the packet is sent, and so is what was left of the
/// packet inside ([`Offload`](crate::packet::Offload)): [`segment::finish_checksum`] does both. Two have to be done before: a
/// packet that is in a tunnel already, or padded, and one behind a checksum of GRE. Edits change the outer headers from then on.
///
/// # Errors
/// If the whole is longer than the length fields of IP can say, or if it is nothing that the tunnel carries; the packet
/// stays as it is then.
pub fn push(packet: &mut Packet, header: &Header, varying: Varying) -> Result<(), Error> {
    let len = header.bytes.len() + packet.len();
    let behind_ip = len - header.transport;
    let ip_len = if header.transport == ETHERNET + IPV4 { len - ETHERNET } else { behind_ip };
    let too_long = Error::length("tunnel packet", 0, len);
    let (ip_len, behind_ip) =
        (u16::try_from(ip_len).map_err(|_| too_long)?, u16::try_from(behind_ip).map_err(|_| too_long)?);
    let first_word = packet.data().first_chunk().copied().map(u32::from_be_bytes);
    let next = match (header.finish, first_word.map(|word| word >> 28)) {
        (Finish::Srv6(_), Some(4)) if packet.meta.packet_type != 0 => srv6::NEXT_IPV4,
        (Finish::Srv6(_), Some(6)) if packet.meta.packet_type != 0 => srv6::NEXT_IPV6,
        (Finish::Srv6(_), _) if packet.meta.packet_type == 0 => srv6::NEXT_ETHERNET,
        (Finish::Srv6(_), _) => return Err(Error::value("SRv6 packet", 0, packet.meta.packet_type)),
        _ => 0,
    };
    let is_udp = matches!(header.finish, Finish::Udp { .. } | Finish::Gtpu { .. });
    // Of padding inside, nobody knows any more then.
    let is_padded = packet.layers().l2_pad > 0;
    if packet.offload.inner.is_some() || is_padded || header.covers_payload() && !is_udp {
        segment::finish_checksum(packet);
    }
    packet.offload.enclose();
    packet.push_front(header.bytes.len()).copy_from_slice(&header.bytes);
    let bytes = packet.data_mut();
    if let Some(behind) = bytes.get_mut(header.transport..) {
        match header.finish {
            Finish::Udp { source, .. } => write_u16(behind, 0, source.unwrap_or(varying.source)),
            Finish::Gtpu { source, .. } => {
                write_u16(behind, 0, source.unwrap_or(varying.source));
                write_u16(behind, UDP + 2, behind_ip.saturating_sub(UDP as u16 + 8));
                if let Some(sequence) = behind
                    .get_mut(UDP..)
                    .and_then(|gtpu| gtpu::View::new_mut(gtpu).ok())
                    .and_then(gtpu::View::sequence_mut)
                {
                    sequence.set(varying.sequence as u16);
                }
            }
            Finish::Gre | Finish::Erspan => {
                if let Ok(gre) = gre::View::new_mut(behind) {
                    if let Some(sequence) = gre.sequence_mut() {
                        sequence.set(varying.sequence);
                    }
                    gre.fill_checksum();
                }
                let len = gre::View::new(behind).map_or(0, gre::View::header_len);
                if header.finish == Finish::Erspan
                    && let Some(erspan) = behind.get_mut(len..).and_then(|b| erspan::View::new_mut(b).ok())
                {
                    erspan.set_timestamp(varying.timestamp);
                }
            }
            Finish::Srv6(_) => {
                if let Ok(srv6) = srv6::View::new_mut(behind) {
                    srv6.next_header = next;
                }
            }
        }
    }
    finish_ip(bytes, header, ip_len, label(header.finish, next, first_word, varying), varying.identification);
    if is_udp {
        write_u16(bytes, header.transport + 4, behind_ip);
        // Zero would say that there is none (RFC 768).
        write_u16(bytes, header.transport + 6, if header.covers_payload() { 0xffff } else { 0 });
    }
    let (l4, l4_proto) = if is_udp { (Some(header.transport), IP_PROTO_UDP) } else { (None, 0) };
    packet.set_layers(Layers { l3: Some(ETHERNET), l4, l4_proto, ..Layers::default() });
    packet.meta = Metadata { packet_type: 0, ..packet.meta };
    packet.tunnel = None;
    if header.transport == ETHERNET + IPV4 {
        packet.offload.ip = IpChecksum::Partial { start: ETHERNET as u32 };
    }
    if is_udp && header.covers_payload() {
        let (network, start) = (ETHERNET as u32, header.transport as u32);
        packet.offload.l4 = L4Checksum::Stale { network, start, proto: IP_PROTO_UDP };
    }
    Ok(())
}

/// The flow label, where one is asked for.
fn label(finish: Finish, next: u8, first_word: Option<u32>, varying: Varying) -> Option<u32> {
    let Finish::Srv6(label) = finish else { return None };
    Some(match label {
        FlowLabel::Copy if next == srv6::NEXT_IPV6 => first_word.unwrap_or(0),
        FlowLabel::Copy | FlowLabel::Zero => 0,
        FlowLabel::Compute => varying.label,
    })
}

fn finish_ip(bytes: &mut [u8], header: &Header, len: u16, label: Option<u32>, identification: u16) {
    if header.transport == ETHERNET + IPV4 {
        write_u16(bytes, ETHERNET + 2, len);
        if let Some(id) = bytes.get(ETHERNET + 4..).and_then(|b| b.first_chunk().copied()).map(u16::from_be_bytes) {
            write_u16(bytes, ETHERNET + 4, id.wrapping_add(identification));
        }
        write_u16(bytes, ETHERNET + 10, 0);
        return;
    }
    write_u16(bytes, ETHERNET + 4, len);
    if let (Some(label), Some([_, a, b, c, ..])) = (label, bytes.get_mut(ETHERNET..)) {
        let [_, high, mid, low] = label.to_be_bytes();
        (*a, *b, *c) = (*a & 0xf0 | high & 0x0f, mid, low);
    }
}

fn write_u16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}
