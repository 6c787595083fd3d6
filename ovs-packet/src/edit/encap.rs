//! Headers put in front of a packet, and taken off: VLAN tags, MPLS labels, Ethernet, NSH.
//!
//! Layers move along. What a header's removal brings to light is not read: extraction does that, when the packet goes
//! around again.

use super::EditError;
use crate::addr::EthAddr;
use crate::compose::{NSH_MAX, nsh_header};
use crate::extract::{ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_NSH};
use crate::field::{KeyAttr, Prereq, dl_type};
use crate::key::{FlowKey, VLAN_PRESENT};
use crate::packet::{CtMetadata, Layers, Packet};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Bytes of an MPLS label stack entry.
const LSE: usize = 4;
/// Bytes of NSH's base and service path headers.
const NSH_BASE: usize = 8;
/// Bottom of stack in a label stack entry (RFC 3032, section 2.1).
const BOS: u32 = 0x100;
/// Ethertype that says that Ethernet follows (transparent Ethernet bridging).
const ETH_TYPE_TEB: u16 = 0x6558;

/// The packet type of a packet that begins with the header that an Ethertype announces.
const fn headless(eth_type: u16) -> u32 {
    0x1_0000 | eth_type as u32
}

fn is_mpls(eth_type: u16) -> bool {
    matches!(eth_type, ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST)
}

// VLAN.

/// Puts a VLAN tag in front of all others. The bit of `tci` that a key uses for [`VLAN_PRESENT`], which on the wire
/// says that the frame may be dropped, is cleared, as in every switch of this kind.
///
/// Does nothing to a packet that is not Ethernet, or too short for it.
pub fn push_vlan(packet: &mut Packet, tpid: u16, tci: u16) {
    insert_vlan(packet, tpid, tci & !VLAN_PRESENT);
}

/// Puts a VLAN tag with all its bits in front of all others: one that a device took off, say.
///
/// Does nothing to a packet that is not Ethernet, or too short for it.
pub fn insert_vlan(packet: &mut Packet, tpid: u16, tci: u16) {
    if packet.meta.packet_type != 0 || packet.len() < ETHERNET {
        return;
    }
    packet.push_front(4);
    let data = packet.data_mut();
    data.copy_within(4..16, 0);
    let ([t0, t1], [c0, c1]) = (tpid.to_be_bytes(), tci.to_be_bytes());
    if let Some(tag) = data.get_mut(12..16) {
        tag.copy_from_slice(&[t0, t1, c0, c1]);
    }
}

/// Takes the outermost VLAN tag off, if there is one.
pub fn pop_vlan(packet: &mut Packet) {
    let tagged = matches!(packet.data().get(12..18), Some([0x81, 0x00, ..] | [0x88, 0xa8, ..]));
    if tagged && packet.meta.packet_type == 0 {
        packet.data_mut().copy_within(0..12, 4);
        packet.pull_front(4);
    }
}

// MPLS.

/// The label stack entry that a push gives a packet with this key: a copy of the outermost one without the bottom of
/// stack, or, if there is none, IP's explicit null label with the TTL and the upper class bits of IP (RFC 3443), else
/// TTL 64.
///
/// ```
/// use ovs_packet::edit::pushed_label;
/// use ovs_packet::FlowKey;
///
/// let key = FlowKey { eth_type: 0x86dd.into(), nw_ttl: 9, ..FlowKey::ZERO };
/// assert_eq!(pushed_label(&key), 2 << 12 | 0x100 | 9);
/// ```
pub fn pushed_label(key: &FlowKey) -> u32 {
    if is_mpls(dl_type(key)) {
        return key.mpls_lse[0].get() & !BOS;
    }
    let label = if dl_type(key) == ETH_TYPE_IPV6 { 2 } else { 0 };
    let (class, ttl) = match Prereq::Ip.holds(key) {
        true => (u32::from(key.nw_tos >> 5), if key.nw_ttl == 0 { 64 } else { key.nw_ttl }),
        false => (0, 64),
    };
    label << 12 | class << 9 | BOS | u32::from(ttl)
}

/// Puts an MPLS label stack entry in front of all others, or of the network layer. The entry is the caller's whole: see
/// [`pushed_label`].
///
/// # Errors
/// If `eth_type` is none of MPLS, or the packet has no known place for a label.
pub fn push_mpls(packet: &mut Packet, eth_type: u16, lse: u32) -> Result<(), EditError> {
    if !is_mpls(eth_type) {
        return Err(EditError::NotMpls(eth_type));
    }
    let layers = packet.layers();
    let at = layers.l2_5.or(layers.l3).filter(|at| *at <= packet.len());
    let at = at.ok_or(EditError::NoSuchHeader(KeyAttr::EtherType))?;
    announce(packet, at, eth_type)?;
    packet.push_front(LSE);
    packet.data_mut().copy_within(LSE..LSE + at, 0);
    if let Some(entry) = packet.data_mut().get_mut(at..at + LSE) {
        entry.copy_from_slice(&lse.to_be_bytes());
    }
    packet.set_layers(Layers { l2_5: Some(at), ..packet.layers() });
    packet.meta.ct = CtMetadata::default();
    Ok(())
}

/// Puts an MPLS label stack entry in front of the whole packet, an Ethernet header included: the packet begins with the
/// label then, and takes an Ethernet header of its own from [`push_eth`] (RFC 4448). The entry is the caller's whole.
///
/// ```
/// use ovs_packet::{Packet, edit};
///
/// let mut packet = Packet::from_slice(&[0; 60]);
/// edit::add_mpls(&mut packet, 0x8847, 5 << 12 | 0x100 | 64)?;
/// assert_eq!((packet.len(), packet.meta.packet_type), (64, 0x1_8847));
/// # Ok::<(), edit::EditError>(())
/// ```
///
/// # Errors
/// If `eth_type` is none of MPLS.
pub fn add_mpls(packet: &mut Packet, eth_type: u16, lse: u32) -> Result<(), EditError> {
    let kind = packet.meta.packet_type;
    if kind >> 16 == 1 && is_mpls(kind as u16) {
        return push_mpls(packet, eth_type, lse);
    }
    if !is_mpls(eth_type) {
        return Err(EditError::NotMpls(eth_type));
    }
    packet.push_front(LSE).copy_from_slice(&lse.to_be_bytes());
    packet.meta.packet_type = headless(eth_type);
    // What is within stays where it is: a checksum that is due is still written there.
    packet.set_layers(Layers { l2_5: Some(0), ..packet.layers() });
    packet.meta.ct = CtMetadata::default();
    Ok(())
}

/// Takes the outermost MPLS label stack entry off; what is behind it is of type `eth_type`.
///
/// # Errors
/// If the packet has no label.
pub fn pop_mpls(packet: &mut Packet, eth_type: u16) -> Result<(), EditError> {
    let missing = EditError::NoSuchHeader(KeyAttr::Mpls);
    let at = packet.layers().l2_5.ok_or(missing)?;
    let lse = packet.data().get(at..).and_then(|d| d.first_chunk::<LSE>()).ok_or(missing)?;
    let bottom = u32::from_be_bytes(*lse) & BOS != 0;
    // Behind a stack without a bottom is the network layer, which is no label.
    if packet.layers().l3.is_some_and(|l3| l3 < at + LSE) {
        return Err(missing);
    }
    announce(packet, at, eth_type)?;
    packet.data_mut().copy_within(0..at, LSE);
    packet.pull_front(LSE);
    let l2_5 = Some(at).filter(|_| !bottom && packet.layers().l3 != Some(at));
    packet.set_layers(Layers { l2_5, ..packet.layers() });
    if at == 0 && eth_type == ETH_TYPE_TEB {
        packet.meta.packet_type = 0;
        packet.set_layers(Layers::default());
    }
    Ok(())
}

/// Writes the Ethertype of what begins at byte `at` in front of it, or into the packet's type.
fn announce(packet: &mut Packet, at: usize, eth_type: u16) -> Result<(), EditError> {
    if packet.meta.packet_type != 0 {
        packet.meta.packet_type = headless(eth_type);
        return Ok(());
    }
    let field = at.checked_sub(2).filter(|field| *field >= 12).and_then(|f| packet.data_mut().get_mut(f..at));
    field.ok_or(EditError::NoSuchHeader(KeyAttr::EtherType))?.copy_from_slice(&eth_type.to_be_bytes());
    Ok(())
}

// Ethernet.

/// Puts an Ethernet header in front of a packet that begins with another one.
///
/// # Errors
/// If the packet begins with Ethernet already, or its type is not of an Ethertype.
pub fn push_eth(packet: &mut Packet, dst: EthAddr, src: EthAddr) -> Result<(), EditError> {
    let kind = packet.meta.packet_type;
    if kind >> 16 != 1 {
        return Err(EditError::WrongPacketType(kind));
    }
    let [_, _, t0, t1] = kind.to_be_bytes();
    let header = packet.push_front(ETHERNET);
    let fields = dst.0.into_iter().chain(src.0).chain([t0, t1]);
    header.iter_mut().zip(fields).for_each(|(to, b)| *to = b);
    packet.meta.packet_type = 0;
    Ok(())
}

/// Takes the Ethernet header off, with all VLAN tags. The packet begins with its labels then, or with the network layer.
///
/// # Errors
/// If there is no Ethernet header, or no Ethertype in it.
pub fn pop_eth(packet: &mut Packet) -> Result<(), EditError> {
    if packet.meta.packet_type != 0 {
        return Err(EditError::WrongPacketType(packet.meta.packet_type));
    }
    let missing = EditError::NoSuchHeader(KeyAttr::EtherType);
    let layers = packet.layers();
    let at = layers.l2_5.or(layers.l3).ok_or(missing)?;
    let field = at.checked_sub(2).filter(|field| *field >= 12).and_then(|f| packet.data().get(f..)?.first_chunk::<2>());
    // Below 1536 it is the length of an 802.3 frame.
    let eth_type = field.map(|f| u16::from_be_bytes(*f)).filter(|t| *t >= 0x600).ok_or(missing)?;
    packet.pull_front(at);
    packet.meta.packet_type = headless(eth_type);
    Ok(())
}

// NSH.

/// What NSH calls the packet types that it can carry (RFC 8300, section 2.2).
const NEXT_PROTOCOLS: [(u8, u32); 4] =
    [(1, headless(ETH_TYPE_IPV4)), (2, headless(ETH_TYPE_IPV6)), (3, 0), (4, headless(ETH_TYPE_NSH))];

/// Puts an NSH header in front of the packet, with the flags, TTL, path, metadata type and context that `key` has.
/// `metadata` are those of type 2.
///
/// # Errors
/// If NSH cannot carry packets of this type, or the metadata are no whole words, or too many.
pub fn push_nsh(packet: &mut Packet, key: &FlowKey, metadata: &[u8]) -> Result<(), EditError> {
    let kind = packet.meta.packet_type;
    let np = NEXT_PROTOCOLS.iter().find(|(_, k)| *k == kind).ok_or(EditError::WrongPacketType(kind))?.0;
    if !metadata.len().is_multiple_of(4) || metadata.len() > NSH_MAX - NSH_BASE {
        return Err(EditError::BadMetadata(metadata.len()));
    }
    let header = nsh_header(key, np, metadata);
    packet.push_front(header.len()).copy_from_slice(&header);
    packet.meta.packet_type = headless(ETH_TYPE_NSH);
    packet.set_layers(Layers { l3: Some(0), ..Layers::default() });
    Ok(())
}

/// Takes the NSH header off that the packet begins with.
///
/// # Errors
/// If it begins with none that is whole, or one that carries something unknown.
pub fn pop_nsh(packet: &mut Packet) -> Result<(), EditError> {
    let missing = EditError::NoSuchHeader(KeyAttr::Nsh);
    if packet.meta.packet_type != headless(ETH_TYPE_NSH) {
        return Err(missing);
    }
    let &[h0, h1, _, np] = packet.data().first_chunk::<4>().ok_or(missing)?;
    let header = u16::from_be_bytes([h0, h1]);
    let len = usize::from(header & 0x3f) * 4;
    if header >> 14 != 0 || len < NSH_BASE || len > packet.len() {
        return Err(missing);
    }
    let inner = NEXT_PROTOCOLS.iter().find(|(n, _)| *n == np).ok_or(EditError::UnknownNextProtocol(np))?.1;
    packet.pull_front(len);
    packet.meta.packet_type = inner;
    packet.set_layers(Layers::default());
    Ok(())
}
