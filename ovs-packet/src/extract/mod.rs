//! From a packet to its flow key, in one pass.
//!
//! What a field means when several protocols share it is told at [`FlowKey`]'s members. A header that is cut short or
//! contradicts itself ends the pass there: what was read before stays, what comes behind is absent from the key, and
//! [`Extraction::malformed`] tells what was wrong. So a packet is never matched on bytes that it does not have.
//!
//! # What counts as valid
//!
//! The rules are Open vSwitch's, so that one switch sees in a packet what the other does:
//!
//! - IPv4 and IPv6 are read if their header length, total or payload length and the packet's length agree; version and
//!   checksum are not looked at. Bytes behind the announced end are padding, 65535 at most.
//! - IPv6 extension headers stepped over are hop-by-hop options, routing, destination options, authentication and
//!   fragment; any other number is the protocol. If they run past the payload, only the addresses are read. A later
//!   fragment's protocol is 44, the fragment header's own.
//! - TCP needs a data offset that fits, UDP 8 bytes, SCTP 12, ICMP and IGMP 8.
//! - Of MPLS the label stack is read, and nothing behind it: what a label means, the packet does not say.
//! - Neighbour discovery options are read up to the first that does not fit. A link-layer address given twice leaves
//!   target and addresses absent.
//! - A VLAN tag that is cut short is none: its type is the packet's Ethertype.
//!
//! In one thing it keeps to the kernel's datapath, which is stricter: ICMP and IGMP are read over IPv4 alone, ICMPv6
//! over IPv6 alone. No match field can tell the difference.
//!
//! # Speed
//!
//! Common packets have code of their own: TCP, UDP and ICMP in their usual headers. All others go through code that
//! reads every kind. Both write block 0 of the key in whole words, each composed of bytes whose place in the packet was
//! checked once for the whole header, and read nothing back. Other blocks are cleared and written by the kinds of
//! packets that need them; a [`KeyBuffer`] clears what only the packet before needed.

mod common;
mod ip;
mod l2;
mod l4;
mod metadata;
mod nsh;

use core::fmt;
use core::hint::{black_box, cold_path};
use core::mem::offset_of;

use zerocopy::FromZeros;

use crate::key::{Block, BlockSet, FlowKey, WORDS};
use crate::packet::{Metadata, Packet, Place, Places};

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
    /// A neighbour discovery message's target or options are cut short, or an option is repeated.
    NeighborDiscovery,
    /// NSH is cut short, of another version, or its length contradicts its metadata type.
    Nsh,
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
            Malformed::NeighborDiscovery => "the neighbour discovery message is not well formed",
            Malformed::Nsh => "the network service header does not fit the packet",
        })
    }
}

impl core::error::Error for Malformed {}

/// Bytes that memory delivers at once; the headers of most packets lie in two such pieces.
const LINE: usize = 64;

/// What extraction says beside the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extraction {
    /// The blocks of the key that hold anything; all others are zero.
    pub blocks: BlockSet,
    /// What was wrong with the packet, if anything was.
    pub malformed: Option<Malformed>,
}

impl Extraction {
    fn good(blocks: BlockSet) -> Extraction {
        Extraction { blocks, malformed: None }
    }

    fn bad(blocks: BlockSet, malformed: Malformed) -> Extraction {
        Extraction { blocks, malformed: Some(malformed) }
    }
}

/// Reads `packet` into `key`, which is overwritten whole, and notes where its layers begin.
///
/// Two VLAN tags are read; for fewer see [`Extractor`]. To extract many packets into keys that are used again, see
/// [`KeyBuffer`], which spares the clearing.
pub fn extract(packet: &mut Packet, key: &mut FlowKey) -> Extraction {
    Extractor::new().extract(packet, key)
}

/// How packets are read: what a switch can set about it.
///
/// ```
/// use ovs_packet::extract::Extractor;
/// use ovs_packet::{FlowKey, Packet};
///
/// let mut tagged = [0; 64];
/// tagged[12..22].copy_from_slice(&[0x88, 0xa8, 0, 1, 0x81, 0x00, 0, 2, 0x08, 0x06]);
/// let (mut packet, mut key) = (Packet::from_slice(&tagged), FlowKey::ZERO);
/// Extractor::new().extract(&mut packet, &mut key);
/// assert_eq!((key.inner_vlan_tci.get(), key.eth_type.get()), (0x1002, 0x0806));
/// Extractor::new().with_vlan_limit(1).extract(&mut packet, &mut key);
/// assert_eq!((key.inner_vlan_tci.get(), key.eth_type.get()), (0, 0x8100));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extractor {
    two_tags: bool,
}

impl Extractor {
    /// Reads all that a key can hold.
    pub const fn new() -> Extractor {
        Extractor { two_tags: true }
    }

    /// Reads at most `limit` VLAN tags, the rest being payload: what `other_config:vlan-limit` sets. 0, and what is
    /// beyond 2, is as many as a key holds: 2.
    pub const fn with_vlan_limit(self, limit: u8) -> Extractor {
        Extractor { two_tags: limit != 1 }
    }

    /// Reads `packet` into `key`, which is overwritten whole, and notes where its layers begin.
    pub fn extract(self, packet: &mut Packet, key: &mut FlowKey) -> Extraction {
        key.zero();
        let common = common::extract(packet, key);
        self.extract_rest(packet, key, common)
    }

    /// Reads `packet` into a key that was used before.
    #[inline]
    pub fn extract_into(self, packet: &mut Packet, buffer: &mut KeyBuffer) -> Extraction {
        let common = common::extract(packet, &mut buffer.key);
        // The other ways end in calls, so that the common one needs no stack.
        let Some(blocks) = common.filter(|_| metadata::is_plain(packet)) else {
            cold_path();
            return self.extract_rest_into(packet, buffer, common);
        };
        let known = Known { extraction: Extraction::good(blocks), frame: Some(blocks) };
        if buffer.last == known { known.extraction } else { buffer.note(known) }
    }

    #[inline(never)]
    fn extract_rest_into(self, packet: &mut Packet, buffer: &mut KeyBuffer, common: Option<BlockSet>) -> Extraction {
        let known = Known { extraction: self.extract_rest(packet, &mut buffer.key, common), frame: common };
        if buffer.last == known { known.extraction } else { buffer.note(known) }
    }

    /// Reads a packet again whose key this is, and of which not a byte was changed since: only what is known beside its
    /// bytes, if the packet is a common one.
    ///
    /// ```
    /// use ovs_packet::extract::{Extractor, KeyBuffer};
    /// use ovs_packet::{Match, compose};
    ///
    /// let dns: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=4321,tp_dst=53".parse().unwrap();
    /// let (mut packet, mut buffer) = (compose::compose(dns.key(), b"?"), KeyBuffer::default());
    /// buffer.extract(&mut packet);
    /// packet.meta.recirc_id = 5;
    /// Extractor::new().extract_again(&mut packet, &mut buffer);
    /// assert_eq!((buffer.key().recirc_id.get(), buffer.key().tp_dst.get()), (5, 53));
    /// ```
    #[inline]
    pub fn extract_again(self, packet: &mut Packet, buffer: &mut KeyBuffer) -> Extraction {
        let Some(frame) = buffer.last.frame else {
            cold_path();
            return self.extract_into(packet, buffer);
        };
        let mut extraction = Extraction::good(frame);
        put::<IDENTITY>(&mut buffer.key, identity(&packet.meta));
        put::<CONNTRACK>(&mut buffer.key, 0);
        if !metadata::is_plain(packet)
            && let Some((_, meta, tunnel, places)) = packet.for_extraction()
        {
            extraction = metadata::write(meta, tunnel, &mut buffer.key, *places, extraction);
        }
        let known = Known { extraction, frame: Some(frame) };
        if buffer.last == known { extraction } else { buffer.note(known) }
    }

    /// Reads each packet into the key of the same place, as many as there are of both.
    ///
    /// Before the first is read, every packet's headers are asked for, so that memory delivers those of all at once. That
    /// is for packets that no cache holds; how much it gains depends on the memory, and those that a cache holds gain
    /// nothing.
    pub fn extract_batch(self, packets: &mut [Packet], keys: &mut [KeyBuffer]) {
        let asked = packets.iter().fold(0, |asked, packet| {
            let data = packet.data();
            asked | data.first().unwrap_or(&0) | data.get(LINE - 1).unwrap_or(&0)
        });
        black_box(asked);
        for (packet, buffer) in packets.iter_mut().zip(keys) {
            self.extract_into(packet, buffer);
        }
    }

    /// Reads what is left of `packet`: all of the frame, unless it was a `common` one that is read already, and what is
    /// known beside it. All blocks that are used are overwritten whole.
    #[inline(always)]
    fn extract_rest(self, packet: &mut Packet, key: &mut FlowKey, common: Option<BlockSet>) -> Extraction {
        let plain = metadata::is_plain(packet);
        let Some((data, meta, tunnel, places)) = packet.for_extraction() else {
            return Extraction::bad(BlockSet::EMPTY, Malformed::Ethernet);
        };
        let extraction = match common {
            Some(blocks) => Extraction::good(blocks),
            None => self.frame(data, meta, key, places),
        };
        if plain { extraction } else { metadata::write(meta, tunnel, key, *places, extraction) }
    }

    /// Reads a frame, or what has none, of whatever kind.
    fn frame(self, data: &[u8], meta: &Metadata, key: &mut FlowKey, places: &mut Places) -> Extraction {
        clear(key, Block::Core);
        put::<IDENTITY>(key, identity(meta));
        let pass = Pass { key, places };
        match meta.packet_type {
            0 => pass.ethernet(data, self.two_tags, BlockSet::CORE),
            packet_type => pass.headless(data, packet_type, BlockSet::CORE),
        }
    }
}

impl Default for Extractor {
    fn default() -> Self {
        Extractor::new()
    }
}

/// A key that is used for one packet after another.
///
/// Only the blocks that the last packet used are cleared for the next one: for most traffic, one or two of twelve.
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
    last: Known,
}

/// What a buffer knows of the packet whose key it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    extraction: Extraction,
    /// The blocks that hold what the bytes of a common packet say.
    frame: Option<BlockSet>,
}

impl Default for KeyBuffer {
    fn default() -> Self {
        KeyBuffer { key: FlowKey::ZERO, last: Known { extraction: Extraction::good(BlockSet::EMPTY), frame: None } }
    }
}

impl KeyBuffer {
    /// Reads `packet` into the key, as [`Extractor::new`] does.
    #[inline]
    pub fn extract(&mut self, packet: &mut Packet) -> Extraction {
        Extractor::new().extract_into(packet, self)
    }

    /// The key of the last packet.
    pub fn key(&self) -> &FlowKey {
        &self.key
    }

    /// The blocks of the key that hold anything.
    pub fn blocks(&self) -> BlockSet {
        self.last.extraction.blocks
    }

    /// What the last extraction said.
    pub fn extraction(&self) -> Extraction {
        self.last.extraction
    }

    /// Notes what the last packet was, and clears what only the one before it used.
    #[inline(never)]
    fn note(&mut self, known: Known) -> Extraction {
        let mut stale = self.last.extraction.blocks.bits() & !known.extraction.blocks.bits();
        self.last = known;
        let blocks = self.key.words_mut().as_chunks_mut::<8>().0;
        while stale != 0 {
            if let Some(block) = blocks.get_mut(stale.trailing_zeros() as usize) {
                *block = [0; 8];
            }
            stale &= stale - 1;
        }
        known.extraction
    }
}

/// Where one packet's key and layers go. Each layer's method ends in the next one's.
struct Pass<'p> {
    key: &'p mut FlowKey,
    places: &'p mut Places,
}

impl Pass<'_> {
    /// A packet that begins at layer 3: the type is its Ethertype (OpenFlow 1.5, section 7.2.3.11).
    fn headless(self, data: &[u8], packet_type: u32, blocks: BlockSet) -> Extraction {
        self.key.packet_type.set(packet_type);
        let eth_type = if packet_type >> 16 == 1 { packet_type as u16 } else { 0 };
        self.key.eth_type.set(eth_type);
        self.network(data, Place::START, eth_type.to_be(), blocks)
    }

    /// Reads what an Ethertype, in network order, announces at byte `at` of the packet.
    #[inline(always)]
    fn network(self, data: &[u8], at: Place, eth_type: u16, blocks: BlockSet) -> Extraction {
        *self.places = Places { l3: at, ..Places::NONE };
        if eth_type == ETH_TYPE_IPV4.to_be() {
            self.ipv4(data, at, blocks)
        } else if eth_type == ETH_TYPE_IPV6.to_be() {
            self.ipv6(data, at, blocks)
        } else {
            self.other(data, at, u16::from_be(eth_type), blocks)
        }
    }

    #[inline(never)]
    fn other(self, data: &[u8], at: Place, eth_type: u16, blocks: BlockSet) -> Extraction {
        match eth_type {
            ETH_TYPE_ARP | ETH_TYPE_RARP => self.arp(data, blocks),
            ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST => self.mpls(data, at, blocks),
            ETH_TYPE_NSH => nsh::read(data, self.key, blocks),
            _ => Extraction::good(blocks),
        }
    }
}

/// Takes a block into use: clears it, unless it is in use already.
#[inline(always)]
fn claim(key: &mut FlowKey, blocks: BlockSet, block: Block) -> BlockSet {
    if !blocks.contains(block as usize) {
        clear(key, block);
    }
    blocks.with(block)
}

#[inline(always)]
fn clear(key: &mut FlowKey, block: Block) {
    put_block(key, block, [0; 8]);
}

#[inline(always)]
fn put_block(key: &mut FlowKey, block: Block, words: [u64; 8]) {
    if let Some(place) = key.words_mut().as_chunks_mut::<8>().0.get_mut(block as usize) {
        *place = words;
    }
}

/// The word of the key that the member at `offset` begins.
const fn word(offset: usize) -> usize {
    assert!(offset.is_multiple_of(8) && offset < WORDS * 8);
    offset / 8
}

/// The words of block 0, and the places in them that the code relies upon.
const IDENTITY: usize = word(offset_of!(FlowKey, recirc_id));
const CONNTRACK: usize = word(offset_of!(FlowKey, ct_mark));
const ADDRESSES: usize = word(offset_of!(FlowKey, eth_dst));
const TYPE_AND_TAG: usize = ADDRESSES + 1;
const TAG_TYPE: usize = word(offset_of!(FlowKey, packet_type));
const IPV4_ADDRESSES: usize = word(offset_of!(FlowKey, nw_src));
const PROTOCOL: usize = word(offset_of!(FlowKey, nw_proto));
const PORTS: usize = word(offset_of!(FlowKey, tp_src));

const _: () = {
    assert!(offset_of!(FlowKey, in_port) == IDENTITY * 8 + 4);
    assert!(offset_of!(FlowKey, eth_src) == ADDRESSES * 8 + 6);
    assert!(offset_of!(FlowKey, eth_type) == TYPE_AND_TAG * 8 + 4);
    assert!(offset_of!(FlowKey, vlan_tci) == TYPE_AND_TAG * 8 + 6);
    assert!(offset_of!(FlowKey, vlan_tpid) == TAG_TYPE * 8 + 4);
    assert!(offset_of!(FlowKey, nw_dst) == IPV4_ADDRESSES * 8 + 4);
    assert!(offset_of!(FlowKey, nw_tos) == PROTOCOL * 8 + 1);
    assert!(offset_of!(FlowKey, nw_ttl) == PROTOCOL * 8 + 2);
    assert!(offset_of!(FlowKey, nw_frag) == PROTOCOL * 8 + 3);
    assert!(offset_of!(FlowKey, ipv6_label) == PROTOCOL * 8 + 4);
    assert!(offset_of!(FlowKey, tp_dst) == PORTS * 8 + 2);
    assert!(offset_of!(FlowKey, tcp_flags) == PORTS * 8 + 4);
    assert!(offset_of!(FlowKey, ipv6_dst) == offset_of!(FlowKey, ipv6_src) + 16);
};

#[inline(always)]
fn identity(meta: &Metadata) -> u64 {
    join(meta.recirc_id.to_be(), meta.in_port.to_be())
}

/// Writes word `WORD` of the key.
#[inline(always)]
fn put<const WORD: usize>(key: &mut FlowKey, value: u64) {
    if let Some(word) = key.words_mut().get_mut(WORD) {
        *word = value;
    }
}

/// Two halves of a word, in the order in which they stand in memory.
#[inline(always)]
fn join(first: u32, second: u32) -> u64 {
    let (a, b) = (u64::from(first), u64::from(second));
    if cfg!(target_endian = "little") { a | b << 32 } else { a << 32 | b }
}

/// Two quarters of a word, in the order in which they stand in memory.
#[inline(always)]
fn join_quarters(first: u16, second: u16) -> u32 {
    let (a, b) = (u32::from(first), u32::from(second));
    if cfg!(target_endian = "little") { a | b << 16 } else { a << 16 | b }
}

#[cfg(test)]
mod tests;
