//! The flow key: all that matching can see of a packet, in one fixed layout of u64 words.
//!
//! - [`FlowKey`] is the full key, [`FlowMask`] the bits of it that matter;
//! - [`Match`] is what a rule matches: values for the bits of a mask, without the words of which nothing is matched;
//!   [`MatchBuilder`] makes one from fields in any order;
//! - [`SparseKey`] and [`SparseMask`] hold only the words that are not zero, for cached flows;
//! - [`WordSet`] names words of the layout, [`Block`]s group them by cache line, [`Stage`]s by protocol layer.
//!
//! # Layout
//!
//! The key is dense, in 64-byte blocks, and every member is big-endian, so that a packet's bytes are copied and not
//! converted, a prefix is a run of leading bits, and any match field is a run of bits at a fixed place (see
//! [`field`](crate::field)). Block 0 holds what nearly every packet and every rule needs. The other blocks are
//! seldom touched: extraction notes which ones hold anything, and clears only those before it uses a key again, so
//! that a dense key costs no more than a compressed one and needs no expansion before it is looked up.
//!
//! | block | words | holds |
//! |---|---|---|
//! | 0 | 0-7   | recirculation id, port, conntrack state and zone and mark, Ethernet, outer VLAN, IPv4 or ARP addresses, protocol, TOS, TTL, fragment, flow label, L4 ports, TCP flags |
//! | 1 | 8-15  | IPv6 addresses, ND target, ARP or ND link-layer addresses |
//! | 2 | 16-23 | conntrack label and original IPv4 tuple, packet mark, inner VLAN, MPLS |
//! | 3 | 24-31 | OpenFlow metadata, conntrack original IPv6 tuple, conjunction id, output of the action set |
//! | 4-5 | 32-47 | registers |
//! | 6 | 48-55 | tunnel: id, addresses, TOS, TTL, flags, ports, and what GBP, GTP-U and ERSPAN add |
//! | 7 | 56-63 | which tunnel options are present; NSH |
//! | 8-11 | 64-95 | values of the tunnel options |

mod build;
mod mask;
mod matching;
mod rest;
#[cfg(feature = "serde")]
mod serialize;
mod sparse;
mod words;

pub use build::MatchBuilder;
pub use mask::FlowMask;
pub use matching::{Match, TunOptionsTooLong};
pub use rest::{ByPlace, Rest};
pub use sparse::{SparseKey, SparseMask};
pub use words::{Block, BlockSet, STAGES, Stage, WordSet};

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::big_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::addr::EthAddr;
use crate::hash;

/// How many u64 words a [`FlowKey`] has.
pub const WORDS: usize = 96;

/// How many label stack entries a key keeps.
pub const MPLS_DEPTH: usize = 3;

/// How many 32-bit registers a key has.
pub const REGISTERS: usize = 32;

/// How many bytes of tunnel option values a key keeps, all options together.
pub const TUN_METADATA_BYTES: usize = 256;

/// All that matching can see of a packet. See the [module](self) for the layout.
///
/// A member that the packet does not have is zero. Values stand as they do on the wire; what a member means when
/// several protocols share it is told at the member.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct FlowKey {
    // Block 0. Word 0: metadata.
    /// Recirculation id: 0 for a packet as it came from a port.
    pub recirc_id: U32,
    /// Port that the packet came in by, in the numbering of whoever looks: datapath or OpenFlow.
    pub in_port: U32,
    // Word 1: metadata.
    /// Connection mark.
    pub ct_mark: U32,
    /// Connection tracking zone.
    pub ct_zone: U16,
    /// Connection state, see [`CtState`](crate::packet::CtState).
    pub ct_state: u8,
    /// IP protocol of the connection's original direction.
    pub ct_nw_proto: u8,
    // Words 2 and 3: L2, the first 14 bytes as in an untagged frame.
    /// Ethernet destination.
    pub eth_dst: EthAddr,
    /// Ethernet source.
    pub eth_src: EthAddr,
    /// Ethertype behind all VLAN tags; [`NO_ETHERTYPE`](crate::extract::NO_ETHERTYPE) for an 802.3 frame without one.
    pub eth_type: U16,
    /// Outer VLAN tag control information with [`VLAN_PRESENT`] set; 0 where there is no tag.
    pub vlan_tci: U16,
    // Word 4: L2.
    /// Namespace and type of the packet's first header (OpenFlow 1.5, section 7.2.3.11); 0 is Ethernet.
    pub packet_type: U32,
    /// Tag protocol of the outer VLAN tag.
    pub vlan_tpid: U16,
    #[doc(hidden)]
    pub _pad4: Reserved<2>,
    // Words 5 and 6: L3.
    /// IPv4 source, or ARP sender protocol address.
    pub nw_src: U32,
    /// IPv4 destination, or ARP target protocol address.
    pub nw_dst: U32,
    /// IP protocol behind IPv6 extension headers, or low byte of the ARP operation.
    pub nw_proto: u8,
    /// TOS or traffic class, with the ECN bits.
    pub nw_tos: u8,
    /// TTL or hop limit.
    pub nw_ttl: u8,
    /// Fragment bits: [`FRAG_ANY`], [`FRAG_LATER`].
    pub nw_frag: u8,
    /// IPv6 flow label, 20 bits.
    pub ipv6_label: U32,
    // Word 7: L4.
    /// Source port of TCP, UDP or SCTP; ICMP type.
    pub tp_src: U16,
    /// Destination port of TCP, UDP or SCTP; ICMP code.
    pub tp_dst: U16,
    /// The 12 TCP flag bits.
    pub tcp_flags: U16,
    #[doc(hidden)]
    pub _pad7: Reserved<2>,

    // Block 1. Words 8 to 11: L3.
    /// IPv6 source.
    pub ipv6_src: U128,
    /// IPv6 destination.
    pub ipv6_dst: U128,
    // Words 12 to 15: L4.
    /// Target of a neighbour solicitation or advertisement.
    pub nd_target: U128,
    /// ARP sender hardware address, or ND source link-layer address.
    pub arp_sha: EthAddr,
    /// ARP target hardware address, or ND target link-layer address.
    pub arp_tha: EthAddr,
    /// Group address of an IGMP message, or the reserved word of a neighbour discovery message.
    pub igmp_group: U32,

    // Block 2. Words 16 to 20: metadata.
    /// Connection label.
    pub ct_label: U128,
    /// IPv4 source of the connection's original direction.
    pub ct_nw_src: U32,
    /// IPv4 destination of the connection's original direction.
    pub ct_nw_dst: U32,
    /// L4 source port, or ICMP type, of the connection's original direction.
    pub ct_tp_src: U16,
    /// L4 destination port, or ICMP code, of the connection's original direction.
    pub ct_tp_dst: U16,
    /// Packet mark, as the kernel's skb mark.
    pub pkt_mark: U32,
    /// Packet priority, as the kernel's skb priority.
    pub skb_priority: U32,
    /// Hash that the datapath was told to compute.
    pub dp_hash: U32,
    // Word 21: L2.
    /// Inner VLAN tag control information with [`VLAN_PRESENT`] set; 0 where there is no second tag.
    pub inner_vlan_tci: U16,
    /// Tag protocol of the inner VLAN tag.
    pub inner_vlan_tpid: U16,
    #[doc(hidden)]
    pub _pad21: Reserved<4>,
    // Words 22 and 23: L3.
    /// MPLS label stack entries, outermost first: label 20 bits, class 3, bottom 1, TTL 8 (RFC 3032).
    pub mpls_lse: [U32; MPLS_DEPTH],
    #[doc(hidden)]
    pub _pad23: Reserved<4>,

    // Block 3: metadata.
    /// OpenFlow metadata.
    pub metadata: U64,
    /// IPv6 source of the connection's original direction.
    pub ct_ipv6_src: U128,
    /// IPv6 destination of the connection's original direction.
    pub ct_ipv6_dst: U128,
    /// Conjunction that the packet's flow completed, while the tables are looked up.
    pub conj_id: U32,
    /// Port that the action set sends to, while the tables are looked up.
    pub actset_output: U32,
    #[doc(hidden)]
    pub _pad30: Reserved<16>,

    // Blocks 4 and 5: metadata.
    /// Registers of the Nicira extension.
    pub regs: [U32; REGISTERS],

    // Block 6: metadata.
    /// Tunnel id: VNI, GRE key, TEID.
    pub tun_id: U64,
    /// IPv4 source of the outer header.
    pub tun_src: U32,
    /// IPv4 destination of the outer header.
    pub tun_dst: U32,
    /// IPv6 source of the outer header.
    pub tun_ipv6_src: U128,
    /// IPv6 destination of the outer header.
    pub tun_ipv6_dst: U128,
    /// Flags of the outer header, see [`TunnelFlags`](crate::packet::TunnelFlags).
    pub tun_flags: u8,
    /// TOS or traffic class of the outer header.
    pub tun_tos: u8,
    /// TTL or hop limit of the outer header.
    pub tun_ttl: u8,
    /// GTP-U message type (3GPP TS 29.281, section 7.1).
    pub tun_gtpu_msgtype: u8,
    /// UDP source port of the outer header.
    pub tun_tp_src: U16,
    /// UDP destination port of the outer header.
    pub tun_tp_dst: U16,
    /// VXLAN group policy id.
    pub tun_gbp_id: U16,
    /// VXLAN group policy flags.
    pub tun_gbp_flags: u8,
    /// First byte of the GTP-U header: version and flags.
    pub tun_gtpu_flags: u8,
    /// ERSPAN: from the high end, one bit free, version 4 bits, direction 1, hardware id 6, index 20.
    pub tun_erspan: U32,

    // Block 7. Word 56: metadata.
    /// In an OpenFlow pipeline's key: which of the 64 tunnel option fields the packet has; bit `i` for
    /// `tun_metadata<i>`. In a datapath's key, as extraction writes it: how many bytes of
    /// [`tun_metadata`](Self::tun_metadata) the packet's options take. Who stands between the two translates.
    pub tun_present: U64,
    // Words 57 to 59: L3.
    /// NSH flags (RFC 8300, section 2.2), right-aligned.
    pub nsh_flags: u8,
    /// NSH TTL.
    pub nsh_ttl: u8,
    /// NSH metadata type.
    pub nsh_mdtype: u8,
    /// NSH next protocol.
    pub nsh_np: u8,
    /// NSH service path id, 24 bits, and service index, 8 bits.
    pub nsh_path: U32,
    /// NSH context headers of metadata type 1.
    pub nsh_context: [U32; 4],
    #[doc(hidden)]
    pub _pad60: Reserved<32>,

    // Blocks 8 to 11: metadata.
    /// In an OpenFlow pipeline's key: values of tunnel options, at the places that the table of options gives them. In
    /// a datapath's key, as extraction writes it: the options as they were on the wire (see
    /// [`Tunnel`](crate::packet::Tunnel)), since a datapath knows no such table.
    pub tun_metadata: [u8; TUN_METADATA_BYTES],
}

/// Bytes of the layout that hold nothing: zero, and out of reach by name.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Debug)]
#[repr(transparent)]
pub struct Reserved<const N: usize>([u8; N]);

const _: () = assert!(size_of::<FlowKey>() == WORDS * 8 && WORDS.is_multiple_of(8) && WORDS <= 128);

/// Set in [`FlowKey::vlan_tci`] of every packet that has a tag, so that VLAN 0 differs from no VLAN.
pub const VLAN_PRESENT: u16 = 0x1000;
/// The VLAN id bits of a tag.
pub const VLAN_VID_MASK: u16 = 0x0fff;
/// The priority bits of a tag.
pub const VLAN_PCP_MASK: u16 = 0xe000;

/// In [`FlowKey::nw_frag`]: the packet is a fragment.
pub const FRAG_ANY: u8 = 1;
/// In [`FlowKey::nw_frag`]: the packet is a fragment but not the first, so that it has no L4 header.
pub const FRAG_LATER: u8 = 2;

impl FlowKey {
    /// The key of no packet: all zero.
    pub const ZERO: FlowKey = zerocopy::transmute!([0u64; WORDS]);

    /// The key as words, in the byte order of memory: equality and masking work on them, arithmetic does not.
    pub fn words(&self) -> &[u64; WORDS] {
        zerocopy::transmute_ref!(self)
    }

    /// The key as words that can be changed.
    pub fn words_mut(&mut self) -> &mut [u64; WORDS] {
        zerocopy::transmute_mut!(self)
    }

    /// The word at place `i` of the layout; zero beyond it.
    #[inline(always)]
    pub(crate) fn word(&self, i: usize) -> u64 {
        self.words().get(i).copied().unwrap_or(0)
    }

    /// The key made of words.
    pub fn from_words(words: [u64; WORDS]) -> Self {
        zerocopy::transmute!(words)
    }

    /// The words that are not zero.
    pub fn non_zero(&self) -> WordSet {
        let bits = |words: &[u64]| words.iter().rev().fold(0u64, |bits, w| bits << 1 | u64::from(*w != 0));
        let (low, high) = self.words().split_at(64);
        WordSet::from_bits(u128::from(bits(high)) << 64 | u128::from(bits(low)))
    }

    /// The key as whoever reads at most `limit` VLAN tags has it: a tag beyond is payload, announced by its Ethertype. 0
    /// sets no limit.
    ///
    /// ```
    /// use ovs_packet::FlowKey;
    ///
    /// let mut key = FlowKey { vlan_tci: 0x1010.into(), eth_type: 0x0800.into(), ..FlowKey::ZERO };
    /// (key.inner_vlan_tpid, key.inner_vlan_tci) = (0x8100.into(), 0x1011.into());
    /// let read = key.with_vlan_limit(1);
    /// assert_eq!((read.eth_type.get(), read.inner_vlan_tci.get()), (0x8100, 0));
    /// assert_eq!((key.with_vlan_limit(2), key.with_vlan_limit(0)), (key, key));
    /// ```
    #[must_use]
    pub fn with_vlan_limit(mut self, limit: u8) -> FlowKey {
        if limit == 1 && self.inner_vlan_tci != 0 {
            self.eth_type = self.inner_vlan_tpid;
            (self.inner_vlan_tpid, self.inner_vlan_tci) = (0.into(), 0.into());
        }
        self
    }

    /// Whether all bits of `mask` are the same in both keys.
    pub fn agrees(&self, other: &FlowKey, mask: &FlowMask) -> bool {
        let differ = self.words().iter().zip(other.words()).zip(mask.bits.words());
        differ.fold(0, |d, ((a, b), m)| d | ((a ^ b) & m)) == 0
    }

    /// This key with the bits outside `mask` cleared.
    pub fn masked(&self, mask: &FlowMask) -> FlowKey {
        let mut key = *self;
        for (w, m) in key.words_mut().iter_mut().zip(mask.bits.words()) {
            *w &= m;
        }
        key
    }

    /// Copies the bits of `mask` from `values`.
    pub fn assign(&mut self, values: &FlowKey, mask: &FlowMask) {
        for ((w, v), m) in self.words_mut().iter_mut().zip(values.words()).zip(mask.bits.words()) {
            *w = (*w & !m) | (v & m);
        }
    }

    /// A hash of the words in `blocks`, well mixed in all 64 bits. Words outside are taken to be zero.
    pub fn hash(&self, blocks: BlockSet, seed: u64) -> u64 {
        let mut h = hash::Mixer::new(seed ^ u64::from(blocks.bits()));
        for block in self.words().as_chunks::<8>().0.iter().enumerate().filter(|(i, _)| blocks.contains(*i)) {
            h.block(block.1);
        }
        h.finish()
    }

    /// IPv4 source (or ARP sender) as an address.
    pub fn ipv4_src(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.nw_src.get())
    }

    /// IPv4 destination (or ARP target) as an address.
    pub fn ipv4_dst(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.nw_dst.get())
    }

    /// IPv6 source as an address.
    pub fn ipv6_src(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.ipv6_src.get())
    }

    /// IPv6 destination as an address.
    pub fn ipv6_dst(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.ipv6_dst.get())
    }

    /// The VLAN id of the outer tag, if there is one.
    pub fn vlan_vid(&self) -> Option<u16> {
        let tci = self.vlan_tci.get();
        (tci & VLAN_PRESENT != 0).then_some(tci & VLAN_VID_MASK)
    }
}

impl Default for FlowKey {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// Writes the key as a match that is exact on every field that is not zero.
impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowKey({})", Match::exact_non_zero(*self))
    }
}
