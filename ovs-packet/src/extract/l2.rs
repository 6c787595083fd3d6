//! Ethernet, VLAN tags, LLC, MPLS, ARP.

use super::{
    ADDRESSES, ETH_TYPE_VLAN, ETH_TYPE_VLAN_SERVICE, Extraction, Malformed, NO_ETHERTYPE, Pass, TAG_TYPE, TYPE_AND_TAG,
    claim, join, join_quarters, put,
};
use crate::addr::EthAddr;
use crate::key::{Block, BlockSet, VLAN_PRESENT};
use crate::packet::{Place, Places};

/// Below this, the length-or-type field is the length of an 802.3 frame (IEEE 802.3, 3.2.6).
const MIN_ETHERTYPE: u16 = 0x0600;

/// Whether an Ethertype, in network order, is that of a tag.
#[inline(always)]
pub(super) fn is_vlan(eth_type: u16) -> bool {
    eth_type == ETH_TYPE_VLAN.to_be() || eth_type == ETH_TYPE_VLAN_SERVICE.to_be()
}

impl Pass<'_> {
    /// Reads a frame.
    #[inline(always)]
    pub(super) fn ethernet(self, data: &[u8], two_tags: bool, mut blocks: BlockSet) -> Extraction {
        let Some((header, mut rest)) = data.split_first_chunk::<14>() else {
            *self.places = Places::NONE;
            return Extraction::bad(blocks, Malformed::Ethernet);
        };
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
        put::<ADDRESSES>(self.key, u64::from_ne_bytes([d0, d1, d2, d3, d4, d5, s0, s1]));
        let source = u32::from_ne_bytes([s2, s3, s4, s5]);
        // In network order, as all that is only compared or copied.
        let mut eth_type = u16::from_ne_bytes([t0, t1]);
        let (mut at, mut tci) = (Place::START.plus(14), 0);
        if is_vlan(eth_type) {
            let Some((outer, behind)) = tag(rest) else { return self.cut_tag(source, eth_type, 0, at, blocks) };
            put::<TAG_TYPE>(self.key, join(0, join_quarters(eth_type, 0)));
            (tci, eth_type, rest, at) = (outer.tci, outer.eth_type, behind, at.plus(4));
            if two_tags && is_vlan(eth_type) {
                let Some((inner, behind)) = tag(rest) else { return self.cut_tag(source, eth_type, tci, at, blocks) };
                blocks = claim(self.key, blocks, Block::Extra);
                self.key.inner_vlan_tpid = eth_type.to_ne_bytes().into();
                self.key.inner_vlan_tci = inner.tci.to_ne_bytes().into();
                (eth_type, rest, at) = (inner.eth_type, behind, at.plus(4));
            }
        }
        put::<TYPE_AND_TAG>(self.key, join(source, join_quarters(eth_type, tci)));
        if u16::from_be(eth_type) < MIN_ETHERTYPE {
            return self.llc(rest, at, blocks);
        }
        self.network(rest, at, eth_type, blocks)
    }

    /// A tag that is cut short is none: its type is the frame's.
    #[cold]
    fn cut_tag(self, source: u32, eth_type: u16, tci: u16, at: Place, blocks: BlockSet) -> Extraction {
        put::<TYPE_AND_TAG>(self.key, join(source, join_quarters(eth_type, tci)));
        *self.places = Places { l3: at, ..Places::NONE };
        Extraction::bad(blocks, Malformed::Vlan)
    }

    /// An 802.3 frame, which has an Ethertype by way of SNAP (IEEE 802, 10.3) or none.
    #[inline(never)]
    fn llc(self, data: &[u8], mut at: Place, blocks: BlockSet) -> Extraction {
        let mut eth_type = NO_ETHERTYPE;
        let mut payload = data;
        if let Some(([0xaa, 0xaa, 0x03, 0, 0, 0, t0, t1], behind)) = data.split_first_chunk::<8>() {
            (at, payload) = (at.plus(8), behind);
            eth_type = Some(u16::from_be_bytes([*t0, *t1])).filter(|t| *t >= MIN_ETHERTYPE).unwrap_or(NO_ETHERTYPE);
        }
        self.key.eth_type.set(eth_type);
        self.network(payload, at, eth_type.to_be(), blocks)
    }

    /// Keeps the outermost label stack entries and finds the end of the stack (RFC 3032, section 2.1).
    pub(super) fn mpls(self, data: &[u8], at: Place, blocks: BlockSet) -> Extraction {
        *self.places = Places { l2_5: at, ..Places::NONE };
        let blocks = claim(self.key, blocks, Block::Extra);
        let entries = data.as_chunks::<4>().0;
        for (kept, entry) in self.key.mpls_lse.iter_mut().zip(entries) {
            kept.set(u32::from_be_bytes(*entry));
            if entry[2] & 1 != 0 {
                break;
            }
        }
        let Some(last) = entries.iter().position(|entry| entry[2] & 1 != 0) else {
            return Extraction::bad(blocks, Malformed::Mpls);
        };
        self.places.l3 = u16::try_from(4 * (last + 1)).map_or(Place::NONE, |len| at.plus(len));
        Extraction::good(blocks)
    }

    /// ARP or RARP over Ethernet and IPv4 (RFC 826); other hardware or protocol types are left unread.
    pub(super) fn arp(self, arp: &[u8], blocks: BlockSet) -> Extraction {
        let Some(message) = arp.first_chunk::<28>() else { return Extraction::bad(blocks, Malformed::Arp) };
        let [0, 1, 8, 0, 6, 4, op_high, op, rest @ ..] = *message else { return Extraction::good(blocks) };
        let [sha0, sha1, sha2, sha3, sha4, sha5, spa0, spa1, spa2, spa3, tha0, tha1, tha2, tha3, tha4, tha5, tpa @ ..] =
            rest;
        let blocks = claim(self.key, blocks, Block::Network);
        // Operations above 255 are not defined; they read as none.
        self.key.nw_proto = if op_high == 0 { op } else { 0 };
        self.key.nw_src = [spa0, spa1, spa2, spa3].into();
        self.key.nw_dst = tpa.into();
        self.key.arp_sha = EthAddr([sha0, sha1, sha2, sha3, sha4, sha5]);
        self.key.arp_tha = EthAddr([tha0, tha1, tha2, tha3, tha4, tha5]);
        Extraction::good(blocks)
    }
}

/// What follows a tag protocol id: the tag, as a key has it, and the type behind it, both in network order.
pub(super) struct Tag {
    pub(super) tci: u16,
    pub(super) eth_type: u16,
}

#[inline(always)]
pub(super) fn tag(data: &[u8]) -> Option<(Tag, &[u8])> {
    let ([c0, c1, t0, t1], behind) = data.split_first_chunk::<4>()?;
    let tci = u16::from_ne_bytes([*c0, *c1]) | VLAN_PRESENT.to_be();
    Some((Tag { tci, eth_type: u16::from_ne_bytes([*t0, *t1]) }, behind))
}
