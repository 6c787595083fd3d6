//! Taking an outer header off.
//!
//! A packet for a tunnel's end is read once, from its first byte on, and nothing that is in it is believed: every length
//! is checked against the bytes there are, and checksums against what they cover, unless whoever received the packet has
//! done that already. One that is in order loses its outer header, and what that said stands beside the packet, as
//! [`Tunnel`]. One that is not stays as it is.

use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use super::{ETHERNET, ETHERNET_INSIDE, IPV4, IPV6, UDP};
use crate::checksum;
use crate::extract::{ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_NSH, IP_PROTO_UDP};
use crate::packet::{
    CtMetadata, IpChecksum, L4Checksum, Metadata, Offload, Packet, Tunnel, TunnelAddresses, TunnelFlags,
};
use crate::wire::{Error, Fault, Wire, bareudp, erspan, geneve, gre, gtpu, srv6, vxlan};

/// Extension headers of IPv6 that may stand in front of a tunnel's header (RFC 8200, section 4).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// More of them than any packet has that is meant well.
const MAX_EXTENSIONS: usize = 8;

/// The message of GTP-U that carries a packet (3GPP TS 29.281, clause 6.1).
const G_PDU: u8 = 255;

/// What a tunnel's end takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// RFC 7348, and extensions where they are asked for.
    Vxlan {
        /// Headers may have a group policy; without this, one that has is refused.
        gbp: bool,
        /// Headers may say what is inside; without this, one that does is refused.
        gpe: bool,
    },
    /// RFC 8926, with Ethernet inside.
    Geneve,
    /// RFC 2784 and 2890: Ethernet, or a packet of any Ethertype, inside.
    Gre,
    /// ERSPAN of types I, II and III (draft-foschiano-erspan-03).
    Erspan,
    /// 3GPP TS 29.281: IP inside. A message that carries no packet keeps its outer header.
    Gtpu,
    /// RFC 8754, at the end of the path: IP or Ethernet inside (RFC 8986, sections 4.4 to 4.9).
    Srv6,
    /// A packet right behind UDP.
    Bareudp(bareudp::Mode),
}

/// How many outer checksums were seen to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Checksums {
    /// Of IPv4 headers, that were summed: nobody had done it before.
    pub ip_summed: u64,
    /// Of IPv4 headers, that were wrong, whoever found that.
    pub ip_wrong: u64,
    /// Of UDP, that were summed.
    pub udp_summed: u64,
    /// Of UDP, that were wrong.
    pub udp_wrong: u64,
}

/// What is inside, and where it begins.
struct Inner {
    packet_type: u32,
    at: usize,
}

impl Inner {
    fn ethernet(at: usize) -> Inner {
        Inner { packet_type: 0, at }
    }

    fn of(eth_type: u16, at: usize) -> Inner {
        Inner { packet_type: 0x1_0000 | u32::from(eth_type), at }
    }

    /// An IP packet, by the version that it begins with.
    fn ip(what: &'static str, bytes: &[u8], at: usize) -> Result<Inner, Error> {
        match bytes.get(at).map(|b| b >> 4) {
            Some(4) => Ok(Inner::of(ETH_TYPE_IPV4, at)),
            Some(6) => Ok(Inner::of(ETH_TYPE_IPV6, at)),
            Some(version) => Err(Error::value(what, at, version)),
            None => Err(Error::truncated(what, at)),
        }
    }
}

/// Takes the outer header off a packet for a tunnel's end, from Ethernet on, and puts what it said beside the packet.
///
/// What was known of the packet before is forgotten, but for its port and what is undone inside: it is another packet now. If
/// it is to be cut, that is meant of the transport inside, which a partial checksum shows ([`cuts_inside`]). Bytes behind the end of
/// the outer packet, which nothing covers, stay behind the one inside, as padding does, and as Open vSwitch has it.
///
/// # Errors
/// If the header is not one of that kind, or is not in order; the packet stays as it is then.
pub fn pop(packet: &mut Packet, kind: Kind) -> Result<(), Error> {
    pop_counted(packet, kind, &mut Checksums::default())
}

/// As [`pop`], and counts what was done about checksums.
///
/// # Errors
/// As [`pop`].
pub fn pop_counted(packet: &mut Packet, kind: Kind, checksums: &mut Checksums) -> Result<(), Error> {
    let mut tunnel = Tunnel::new(NOWHERE);
    let inner = Outer::read(packet, kind, &mut tunnel, checksums)?;
    if inner.at > 0 {
        packet.pull_front(inner.at);
        // What is undone behind the outer header has moved along.
        let (ip, l4) = match packet.offload.inner {
            Some(inner) => (inner.ip(), inner.l4()),
            None => (packet.offload.ip, packet.offload.l4),
        };
        packet.offload = Offload {
            ip: if ip.is_pending() { ip } else { IpChecksum::Unknown },
            l4: if l4.is_pending() { l4 } else { L4Checksum::Unknown },
            gso: packet.offload.gso.filter(|_| l4.is_pending()),
            ..Offload::default()
        };
    }
    let in_port = packet.meta.in_port;
    packet.meta =
        Metadata { in_port, packet_type: inner.packet_type, ct: CtMetadata::default(), ..Metadata::default() };
    match &mut packet.tunnel {
        Some(before) => **before = tunnel,
        none => *none = Some(Box::new(tunnel)),
    }
    Ok(())
}

/// Whether a packet that is to be cut is a tunnel's, and what is to be cut is inside: so does Linux hand over what it leaves to
/// the cards of a path that knows of tunnels. Its checksum begins behind the transport header that extraction found.
///
/// ```
/// use ovs_packet::packet::{Gso, GsoKind, L4Checksum};
/// use ovs_packet::{FlowKey, Match, compose, extract, tunnel};
///
/// let m: Match = "udp,nw_src=192.0.2.1,nw_dst=192.0.2.2,tp_dst=4789".parse().unwrap();
/// let mut packet = compose::compose(m.key(), &[0; 3000]);
/// extract::extract(&mut packet, &mut FlowKey::default());
/// packet.offload.gso = Some(Gso { kind: GsoKind::TcpV4, size: 1400, ecn: false });
/// packet.offload.l4 = L4Checksum::Partial { start: 34, offset: 6 };
/// assert!(!tunnel::cuts_inside(&packet));
/// packet.offload.l4 = L4Checksum::Partial { start: 84, offset: 16 };
/// assert!(tunnel::cuts_inside(&packet));
/// ```
pub fn cuts_inside(packet: &Packet) -> bool {
    let L4Checksum::Partial { start, .. } = packet.offload.l4 else { return false };
    packet.offload.gso.is_some() && packet.layers().l4.is_some_and(|outer| start > outer)
}

const NOWHERE: TunnelAddresses = TunnelAddresses::V4 { src: Ipv4Addr::UNSPECIFIED, dst: Ipv4Addr::UNSPECIFIED };

/// The outer header as far as it is read.
struct Outer<'a> {
    /// The packet without what is behind the end of its network layer.
    bytes: &'a [u8],
    /// Where the transport begins, and what it is.
    transport: usize,
    proto: u8,
    /// Where the routing header is, if there is one.
    routing: Option<usize>,
    l4: L4Checksum,
}

impl<'a> Outer<'a> {
    /// Reads the whole of it; returns what is inside.
    fn read(packet: &Packet, kind: Kind, tunnel: &mut Tunnel, checksums: &mut Checksums) -> Result<Inner, Error> {
        let outer = Outer::network(packet, tunnel, checksums)?;
        match kind {
            Kind::Vxlan { gbp, gpe } => outer.vxlan(outer.udp(tunnel, checksums)?, gbp, gpe, tunnel),
            Kind::Geneve => outer.geneve(outer.udp(tunnel, checksums)?, tunnel),
            Kind::Gre => outer.gre(tunnel),
            Kind::Erspan => outer.erspan(tunnel),
            Kind::Gtpu => outer.gtpu(outer.udp(tunnel, checksums)?, tunnel),
            Kind::Srv6 => outer.srv6(),
            Kind::Bareudp(mode) => outer.bareudp(outer.udp(tunnel, checksums)?, mode, tunnel),
        }
    }

    /// Ethernet, without tags, and IP.
    fn network(packet: &'a Packet, tunnel: &mut Tunnel, checksums: &mut Checksums) -> Result<Outer<'a>, Error> {
        let bytes = packet.data();
        let eth_type = bytes.get(12..14).and_then(|b| b.first_chunk().copied()).map(u16::from_be_bytes);
        let l4 = packet.offload.l4;
        match eth_type {
            Some(ETH_TYPE_IPV4) => {
                let header: &[u8; IPV4] = head(bytes, ETHERNET, "tunnel IPv4")?;
                let whole = bytes.get(..ETHERNET + end_of_ipv4(header)?);
                let bytes = whole.ok_or(Error::truncated("tunnel IPv4", bytes.len()))?;
                let state = packet.offload.ip;
                checksums.ip_summed += u64::from(state == IpChecksum::Unknown);
                let is_wrong = state == IpChecksum::Unknown && checksum::checksum(header) != 0;
                if is_wrong || state == IpChecksum::Bad {
                    checksums.ip_wrong += 1;
                    return Err(ip_checksum(header));
                }
                let [_, tos, _, _, _, _, frag, _, ttl, proto, _, _, addresses @ ..] = *header;
                let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
                tunnel.addresses = TunnelAddresses::V4 { src: [s0, s1, s2, s3].into(), dst: [d0, d1, d2, d3].into() };
                (tunnel.tos, tunnel.ttl) = (tos, ttl);
                if frag & 0x40 != 0 {
                    tunnel.flags |= TunnelFlags::DONT_FRAGMENT;
                }
                Ok(Outer { bytes, transport: ETHERNET + IPV4, proto, routing: None, l4 })
            }
            Some(ETH_TYPE_IPV6) => {
                let header: &[u8; IPV6] = head(bytes, ETHERNET, "tunnel IPv6")?;
                let [v, c, _, _, l0, l1, next, hops, addresses @ ..] = *header;
                if v >> 4 != 6 {
                    return Err(Error::value("tunnel IP version", ETHERNET, v >> 4));
                }
                let end = ETHERNET + IPV6 + usize::from(u16::from_be_bytes([l0, l1]));
                let bytes = bytes.get(..end).ok_or(Error::truncated("tunnel IPv6", bytes.len()))?;
                let (src, dst) = addresses.split_at(16);
                let address = |b: &[u8]| Ipv6Addr::from(b.first_chunk::<16>().copied().unwrap_or_default());
                tunnel.addresses = TunnelAddresses::V6 { src: address(src), dst: address(dst) };
                (tunnel.tos, tunnel.ttl) = (v << 4 | c >> 4, hops);
                Outer { bytes, transport: ETHERNET + IPV6, proto: next, routing: None, l4 }.past_extensions()
            }
            Some(other) => Err(Error::value("tunnel Ethertype", 12, other)),
            None => Err(Error::truncated("tunnel Ethernet", bytes.len())),
        }
    }

    fn past_extensions(mut self) -> Result<Outer<'a>, Error> {
        for _ in 0..MAX_EXTENSIONS {
            match self.proto {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                    let [next, length]: [u8; 2] = *head(self.bytes, self.transport, "tunnel IPv6 extension")?;
                    if self.proto == ROUTING {
                        self.routing = Some(self.transport);
                    }
                    (self.proto, self.transport) = (next, self.transport + 8 + 8 * usize::from(length));
                    if self.transport > self.bytes.len() {
                        return Err(Error::truncated("tunnel IPv6 extension", self.bytes.len()));
                    }
                }
                FRAGMENT => return Err(Error::value("tunnel IPv6 fragment", self.transport, FRAGMENT)),
                _ => return Ok(self),
            }
        }
        Err(Error::new("tunnel IPv6 extension", self.transport, Fault::Repeated))
    }

    /// The bytes from `at` on, and an error's place in the packet.
    fn from(&self, at: usize) -> &'a [u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    fn has(&self, proto: u8, what: &'static str) -> Result<(), Error> {
        if self.proto == proto { Ok(()) } else { Err(Error::value(what, self.transport, self.proto)) }
    }

    /// UDP; returns where its payload begins.
    fn udp(&self, tunnel: &mut Tunnel, checksums: &mut Checksums) -> Result<usize, Error> {
        self.has(IP_PROTO_UDP, "tunnel protocol")?;
        let at = self.transport;
        let [s0, s1, d0, d1, l0, l1, c0, c1]: [u8; UDP] = *head(self.bytes, at, "tunnel UDP")?;
        let datagram = self.from(at);
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if len != datagram.len() {
            return Err(Error::length("tunnel UDP", at + 4, len));
        }
        (tunnel.tp_src, tunnel.tp_dst) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
        if [c0, c1] != [0, 0] {
            let pseudo = match tunnel.addresses {
                TunnelAddresses::V4 { src, dst } => checksum::pseudo_v4(src, dst, IP_PROTO_UDP, len as u32),
                TunnelAddresses::V6 { src, dst } => checksum::pseudo_v6(src, dst, IP_PROTO_UDP, len as u32),
            };
            let is_right = match self.l4 {
                L4Checksum::Good | L4Checksum::Trusted => true,
                L4Checksum::Bad => false,
                // What the sender in this machine left undone, of this datagram or of one inside it, it got right.
                L4Checksum::Partial { .. } | L4Checksum::Stale { .. } => true,
                L4Checksum::Unknown => {
                    checksums.udp_summed += 1;
                    checksum::fold(checksum::sum(datagram, pseudo)) == 0xffff
                }
            };
            if !is_right {
                checksums.udp_wrong += 1;
                return Err(Error::new("tunnel UDP checksum", at + 6, Fault::Checksum(u16::from_be_bytes([c0, c1]))));
            }
            tunnel.flags |= TunnelFlags::CHECKSUM;
        }
        Ok(at + UDP)
    }

    fn vxlan(&self, at: usize, gbp: bool, gpe: bool, tunnel: &mut Tunnel) -> Result<Inner, Error> {
        let view = vxlan::View::new(self.from(at)).map_err(|e| e.shifted(at))?;
        (tunnel.id, tunnel.flags) = (view.vni().into(), tunnel.flags | TunnelFlags::KEY);
        let inner = at + vxlan::LEN;
        match view.extension() {
            vxlan::Extension::None => Ok(Inner::ethernet(inner)),
            vxlan::Extension::Policy { id, dont_learn, applied } if gbp => {
                tunnel.gbp_id = id;
                tunnel.gbp_flags = if dont_learn { 0x40 } else { 0 } | if applied { 0x08 } else { 0 };
                Ok(Inner::ethernet(inner))
            }
            vxlan::Extension::Protocol { oam: false, next } if gpe => match next {
                vxlan::NextProtocol::ETHERNET => Ok(Inner::ethernet(inner)),
                vxlan::NextProtocol::IPV4 => Ok(Inner::of(ETH_TYPE_IPV4, inner)),
                vxlan::NextProtocol::IPV6 => Ok(Inner::of(ETH_TYPE_IPV6, inner)),
                vxlan::NextProtocol::NSH => Ok(Inner::of(ETH_TYPE_NSH, inner)),
                other => Err(Error::value("VXLAN next protocol", at + 3, other.0)),
            },
            vxlan::Extension::Policy { .. } | vxlan::Extension::Protocol { .. } => {
                Err(Error::value("VXLAN flags", at, self.bytes.get(at).copied().unwrap_or(0)))
            }
        }
    }

    fn geneve(&self, at: usize, tunnel: &mut Tunnel) -> Result<Inner, Error> {
        let view = geneve::View::new(self.from(at)).map_err(|e| e.shifted(at))?;
        if view.protocol != ETHERNET_INSIDE {
            return Err(Error::value("Geneve protocol", at + 2, view.protocol.get()));
        }
        (tunnel.id, tunnel.flags) = (view.vni().into(), tunnel.flags | TunnelFlags::KEY);
        if view.oam() {
            tunnel.flags |= TunnelFlags::OAM;
        }
        let options = self.bytes.get(at + 8..at + view.header_len()).unwrap_or_default();
        tunnel.options = ArrayVec::try_from(options).map_err(|_| Error::length("Geneve options", at, options.len()))?;
        Ok(Inner::ethernet(at + view.header_len()))
    }

    fn gre(&self, tunnel: &mut Tunnel) -> Result<Inner, Error> {
        self.has(gre::PROTOCOL, "tunnel protocol")?;
        let at = self.transport;
        let view = gre::verify(self.from(at)).map_err(|e| e.shifted(at))?;
        if view.checksum().is_some() {
            tunnel.flags |= TunnelFlags::CHECKSUM;
        }
        if let Some(key) = view.key() {
            (tunnel.id, tunnel.flags) = (key.into(), tunnel.flags | TunnelFlags::KEY);
        }
        let inner = at + view.header_len();
        match view.protocol.get() {
            ETHERNET_INSIDE => Ok(Inner::ethernet(inner)),
            // Smaller numbers are lengths (IEEE 802.3, clause 3.2.6).
            eth_type if eth_type >= 0x600 => Ok(Inner::of(eth_type, inner)),
            other => Err(Error::value("GRE protocol", at + 2, other)),
        }
    }

    fn erspan(&self, tunnel: &mut Tunnel) -> Result<Inner, Error> {
        self.has(gre::PROTOCOL, "tunnel protocol")?;
        let at = self.transport;
        let gre = gre::Header::parse(self.from(at)).map_err(|e| e.shifted(at))?;
        let kind = erspan::Type::of(&gre).map_err(|e| e.shifted(at))?;
        let at = at + gre.len();
        if kind == erspan::Type::I {
            return Ok(Inner::ethernet(at));
        }
        let header = erspan::Header::parse(self.from(at)).map_err(|e| e.shifted(at))?;
        (tunnel.id, tunnel.flags) = (header.session.into(), tunnel.flags | TunnelFlags::KEY);
        tunnel.erspan = match (kind, header.kind) {
            (erspan::Type::II, erspan::Kind::II { index }) => 1 << 27 | index,
            (erspan::Type::III, erspan::Kind::III { hardware, egress, .. }) => {
                2 << 27 | u32::from(egress) << 26 | u32::from(hardware) << 20
            }
            _ => return Err(Error::new("ERSPAN version", at, Fault::Misplaced)),
        };
        Ok(Inner::ethernet(at + header.len()))
    }

    fn gtpu(&self, at: usize, tunnel: &mut Tunnel) -> Result<Inner, Error> {
        let view = gtpu::View::new(self.from(at)).map_err(|e| e.shifted(at))?;
        let payload = view.payload().map_err(|e| e.shifted(at))?;
        tunnel.gtpu_flags = self.bytes.get(at).copied().unwrap_or(0);
        (tunnel.gtpu_msgtype, tunnel.id) = (view.message, view.teid.get().into());
        if view.message != G_PDU {
            // There is no packet inside: it is for whoever speaks the protocol, whole.
            return Ok(Inner::ethernet(0));
        }
        if payload.len() != self.from(at + view.header_len()).len() {
            return Err(Error::length("GTP-U length", at + 2, payload.len()));
        }
        Inner::ip("GTP-U packet", self.bytes, at + view.header_len())
    }

    fn srv6(&self) -> Result<Inner, Error> {
        let at = self.routing.ok_or(Error::new("SRv6 header", self.transport, Fault::Missing))?;
        let view = srv6::View::new(self.from(at)).map_err(|e| e.shifted(at))?;
        if view.segments_left() != 0 {
            return Err(Error::value("SRv6 segments left", at + 3, view.segments_left()));
        }
        match self.proto {
            srv6::NEXT_IPV4 | srv6::NEXT_IPV6 => Inner::ip("SRv6 packet", self.bytes, self.transport),
            srv6::NEXT_ETHERNET => Ok(Inner::ethernet(self.transport)),
            other => Err(Error::value("SRv6 next header", at, other)),
        }
    }

    fn bareudp(&self, at: usize, mode: bareudp::Mode, tunnel: &Tunnel) -> Result<Inner, Error> {
        let dst = match tunnel.addresses {
            TunnelAddresses::V4 { dst, .. } => IpAddr::V4(dst),
            TunnelAddresses::V6 { dst, .. } => IpAddr::V6(dst),
        };
        Ok(Inner::of(mode.eth_type(self.from(at), dst).map_err(|e| e.shifted(at))?, at))
    }
}

fn head<'a, const N: usize>(bytes: &'a [u8], at: usize, what: &'static str) -> Result<&'a [u8; N], Error> {
    bytes.get(at..).and_then(|b| b.first_chunk()).ok_or(Error::truncated(what, bytes.len()))
}

/// The length of an IPv4 packet with this header, which has no options and is no fragment.
fn end_of_ipv4(header: &[u8; IPV4]) -> Result<usize, Error> {
    let [version, _, l0, l1, _, _, f0, f1, ..] = *header;
    let frag = u16::from_be_bytes([f0, f1]);
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    match version {
        0x45 if frag & 0x3fff != 0 => Err(Error::value("tunnel IPv4 fragment", ETHERNET + 6, frag)),
        0x45 if len < IPV4 => Err(Error::length("tunnel IPv4", ETHERNET + 2, len)),
        0x45 => Ok(len),
        _ if version >> 4 == 4 => Err(Error::value("tunnel IPv4 options", ETHERNET, version)),
        _ => Err(Error::value("tunnel IP version", ETHERNET, version >> 4)),
    }
}

fn ip_checksum(header: &[u8; IPV4]) -> Error {
    let [.., c0, c1, _, _, _, _, _, _, _, _] = *header;
    Error::new("tunnel IPv4 checksum", ETHERNET + 10, Fault::Checksum(u16::from_be_bytes([c0, c1])))
}
