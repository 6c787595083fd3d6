//! From a packet to its flow key, in one pass.
//!
//! What a field means when several protocols share it is told at [`FlowKey`]'s members. A header that is cut short or
//! contradicts itself ends the pass there: what was read before stays, what comes behind is absent from the key, and
//! [`Extraction::malformed`] tells what was wrong. So a packet is never matched on bytes that it does not have.

mod ip;
mod l2;
mod l4;

use core::fmt;

use zerocopy::FromZeros;

use crate::key::{Block, BlockSet, FlowKey};
use crate::packet::{Layers, Metadata, OriginalTuple, Packet};

macro_rules! numbers {
    ($($(#[$doc:meta])+ $name:ident: $ty:ty = $value:expr;)+) => { $($(#[$doc])+ pub const $name: $ty = $value;)+ };
}

numbers! {
    /// Internet Protocol version 4.
    ETH_TYPE_IPV4: u16 = 0x0800;
    /// Address Resolution Protocol.
    ETH_TYPE_ARP: u16 = 0x0806;
    /// Reverse ARP.
    ETH_TYPE_RARP: u16 = 0x8035;
    /// VLAN tag of a customer (IEEE 802.1Q).
    ETH_TYPE_VLAN: u16 = 0x8100;
    /// VLAN tag of a service (IEEE 802.1ad).
    ETH_TYPE_VLAN_SERVICE: u16 = 0x88a8;
    /// Internet Protocol version 6.
    ETH_TYPE_IPV6: u16 = 0x86dd;
    /// MPLS, unicast.
    ETH_TYPE_MPLS: u16 = 0x8847;
    /// MPLS, multicast.
    ETH_TYPE_MPLS_MCAST: u16 = 0x8848;
    /// Network Service Header (RFC 8300).
    ETH_TYPE_NSH: u16 = 0x894f;
    /// Link Layer Discovery Protocol.
    ETH_TYPE_LLDP: u16 = 0x88cc;
    /// In a key: an 802.3 frame that names no Ethertype.
    NO_ETHERTYPE: u16 = 0x05ff;

    /// ICMP.
    IP_PROTO_ICMP: u8 = 1;
    /// IGMP.
    IP_PROTO_IGMP: u8 = 2;
    /// TCP.
    IP_PROTO_TCP: u8 = 6;
    /// UDP.
    IP_PROTO_UDP: u8 = 17;
    /// ICMPv6.
    IP_PROTO_ICMPV6: u8 = 58;
    /// SCTP.
    IP_PROTO_SCTP: u8 = 132;

    /// ICMPv6 type of a neighbour solicitation.
    ND_SOLICIT: u8 = 135;
    /// ICMPv6 type of a neighbour advertisement.
    ND_ADVERT: u8 = 136;
}

/// Why extraction stopped before the packet's end. Each names the header that could not be used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Malformed {
    /// Fewer bytes than an Ethernet header.
    Ethernet,
    /// A VLAN tag is announced but cut short.
    Vlan,
    /// An MPLS label stack is cut short, or never ends.
    Mpls,
    /// ARP is cut short.
    Arp,
    /// IPv4: cut short, not version 4, or lengths that contradict each other or the packet.
    Ipv4,
    /// IPv6: likewise.
    Ipv6,
    /// An IPv6 extension header is cut short.
    Ipv6Extension,
    /// The transport header is cut short or contradicts itself.
    Transport,
    /// A neighbour discovery message's options are cut short or repeated.
    NeighborDiscovery,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Ethernet => "the Ethernet header is cut short",
            Malformed::Vlan => "a VLAN tag is cut short",
            Malformed::Mpls => "the MPLS label stack has no end",
            Malformed::Arp => "the ARP message is cut short",
            Malformed::Ipv4 => "the IPv4 header does not fit the packet",
            Malformed::Ipv6 => "the IPv6 header does not fit the packet",
            Malformed::Ipv6Extension => "an IPv6 extension header is cut short",
            Malformed::Transport => "the transport header does not fit the packet",
            Malformed::NeighborDiscovery => "the neighbour discovery options are not well formed",
        })
    }
}

impl core::error::Error for Malformed {}

/// What extraction says beside the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extraction {
    /// The blocks of the key that hold anything; all others are zero.
    pub blocks: BlockSet,
    /// What was wrong with the packet, if anything was.
    pub malformed: Option<Malformed>,
}

/// Reads `packet` into `key`, which is overwritten whole, and notes where its layers begin.
///
/// To extract many packets into keys that are used again, see [`KeyBuffer`], which spares the clearing.
pub fn extract(packet: &mut Packet, key: &mut FlowKey) -> Extraction {
    key.zero();
    extract_into_zeroed(packet, key)
}

/// A key that is used for one packet after another.
///
/// Only the blocks that the last packet used are cleared for the next one: for most traffic, one of six.
///
/// ```
/// use ovs_packet::Packet;
/// use ovs_packet::extract::KeyBuffer;
///
/// let mut buffer = KeyBuffer::default();
/// for frame in [&[0u8; 60][..], &[0xff; 60]] {
///     let mut packet = Packet::from_slice(frame);
///     buffer.extract(&mut packet);
///     assert_eq!(buffer.key().eth_dst.0[0], frame[0]);
/// }
/// ```
#[derive(Clone, Debug)]
pub struct KeyBuffer {
    key: FlowKey,
    blocks: BlockSet,
}

impl Default for KeyBuffer {
    fn default() -> Self {
        KeyBuffer { key: FlowKey::ZERO, blocks: BlockSet::EMPTY }
    }
}

impl KeyBuffer {
    /// Reads `packet` into the key.
    pub fn extract(&mut self, packet: &mut Packet) -> Extraction {
        let used = self.blocks;
        for (_, block) in
            self.key.words_mut().as_chunks_mut::<8>().0.iter_mut().enumerate().filter(|(i, _)| used.contains(*i))
        {
            *block = [0; 8];
        }
        let extraction = extract_into_zeroed(packet, &mut self.key);
        self.blocks = extraction.blocks;
        extraction
    }

    /// The key of the last packet.
    pub fn key(&self) -> &FlowKey {
        &self.key
    }

    /// The blocks of the key that hold anything.
    pub fn blocks(&self) -> BlockSet {
        self.blocks
    }
}

fn extract_into_zeroed(packet: &mut Packet, key: &mut FlowKey) -> Extraction {
    let mut pass = Pass { key, layers: Layers::default(), blocks: BlockSet::CORE };
    pass.metadata(&packet.meta);
    let malformed = pass.frame(packet.data()).err();
    let Pass { layers, blocks, .. } = pass;
    packet.set_layers(layers);
    Extraction { blocks, malformed }
}

/// One pass over a packet.
struct Pass<'k> {
    key: &'k mut FlowKey,
    layers: Layers,
    blocks: BlockSet,
}

impl Pass<'_> {
    fn metadata(&mut self, meta: &Metadata) {
        let key = &mut *self.key;
        key.in_port.set(meta.in_port);
        key.recirc_id.set(meta.recirc_id);
        key.packet_type.set(meta.packet_type);
        if meta.pkt_mark | meta.skb_priority | meta.dp_hash != 0 {
            self.blocks = self.blocks.with(Block::Extra);
            key.pkt_mark.set(meta.pkt_mark);
            key.skb_priority.set(meta.skb_priority);
            key.dp_hash.set(meta.dp_hash);
        }
        if !meta.ct.state.is_empty() {
            key.ct_state = meta.ct.state.bits();
            key.ct_zone.set(meta.ct.zone);
            key.ct_mark.set(meta.ct.mark);
            self.blocks = self.blocks.with(Block::Extra);
            key.ct_label.set(meta.ct.label);
            match meta.ct.original {
                Some(OriginalTuple::V4 { src, dst, proto, tp_src, tp_dst }) => {
                    key.ct_nw_src.set(src.to_bits());
                    key.ct_nw_dst.set(dst.to_bits());
                    key.ct_nw_proto = proto;
                    key.ct_tp_src.set(tp_src);
                    key.ct_tp_dst.set(tp_dst);
                }
                Some(OriginalTuple::V6 { src, dst, proto, tp_src, tp_dst }) => {
                    self.blocks = self.blocks.with(Block::Metadata);
                    key.ct_ipv6_src.set(src.to_bits());
                    key.ct_ipv6_dst.set(dst.to_bits());
                    key.ct_nw_proto = proto;
                    key.ct_tp_src.set(tp_src);
                    key.ct_tp_dst.set(tp_dst);
                }
                None => {}
            }
        }
    }

    /// Reads the whole frame. An error is what ended the pass early.
    fn frame(&mut self, data: &[u8]) -> Result<(), Malformed> {
        let l3 = match self.key.packet_type.get() {
            0 => self.ethernet(data)?,
            // A packet that begins at layer 3: the type is its Ethertype (OpenFlow 1.5, section 7.2.3.11).
            packet_type => {
                if packet_type >> 16 == 1 {
                    self.key.eth_type.set(packet_type as u16);
                }
                0
            }
        };
        let rest = data.get(l3..).unwrap_or(&[]);
        match self.key.eth_type.get() {
            ETH_TYPE_IPV4 => {
                self.layers.l3 = Some(l3);
                self.ipv4(rest, l3)
            }
            ETH_TYPE_IPV6 => {
                self.layers.l3 = Some(l3);
                self.ipv6(rest, l3)
            }
            ETH_TYPE_ARP | ETH_TYPE_RARP => {
                self.layers.l3 = Some(l3);
                self.arp(rest)
            }
            _ => {
                self.layers.l3 = Some(l3);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
