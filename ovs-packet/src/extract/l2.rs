//! Ethernet, VLAN tags, LLC, MPLS, ARP.

use super::{ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_VLAN, ETH_TYPE_VLAN_SERVICE, Malformed, NO_ETHERTYPE, Pass};
use crate::addr::EthAddr;
use crate::key::{Block, VLAN_PRESENT};

/// Below this, the length-or-type field is the length of an 802.3 frame (IEEE 802.3, 3.2.6).
const MIN_ETHERTYPE: u16 = 0x0600;

fn is_vlan(eth_type: u16) -> bool {
    matches!(eth_type, ETH_TYPE_VLAN | ETH_TYPE_VLAN_SERVICE)
}

impl Pass<'_> {
    /// Reads the link layer of a frame and returns where the network layer begins.
    pub(super) fn ethernet(&mut self, data: &[u8]) -> Result<usize, Malformed> {
        let header = data.first_chunk::<14>().ok_or(Malformed::Ethernet)?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
        self.key.eth_dst = EthAddr([d0, d1, d2, d3, d4, d5]);
        self.key.eth_src = EthAddr([s0, s1, s2, s3, s4, s5]);
        let mut eth_type = u16::from_be_bytes([t0, t1]);
        let mut at = 14;
        if is_vlan(eth_type) {
            let (tci, inner) = tag(data, at)?;
            self.key.vlan_tpid.set(eth_type);
            self.key.vlan_tci.set(tci | VLAN_PRESENT);
            (eth_type, at) = (inner, at + 4);
            if is_vlan(eth_type) {
                let (tci, inner) = tag(data, at)?;
                self.blocks = self.blocks.with(Block::Extra);
                self.key.inner_vlan_tpid.set(eth_type);
                self.key.inner_vlan_tci.set(tci | VLAN_PRESENT);
                (eth_type, at) = (inner, at + 4);
            }
        }
        if eth_type < MIN_ETHERTYPE {
            (eth_type, at) = llc(data, at);
        }
        self.key.eth_type.set(eth_type);
        if matches!(eth_type, ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST) {
            self.layers.l2_5 = Some(at);
            at = self.mpls(data, at)?;
        }
        Ok(at)
    }

    /// Keeps the outermost label stack entries and finds the end of the stack (RFC 3032, section 2.1).
    fn mpls(&mut self, data: &[u8], mut at: usize) -> Result<usize, Malformed> {
        self.blocks = self.blocks.with(Block::Extra);
        let entries = data.get(at..).unwrap_or(&[]).as_chunks::<4>().0;
        for (i, entry) in entries.iter().enumerate() {
            let lse = u32::from_be_bytes(*entry);
            if let Some(kept) = self.key.mpls_lse.get_mut(i) {
                kept.set(lse);
            }
            at += 4;
            if lse & 0x100 != 0 {
                return Ok(at);
            }
        }
        Err(Malformed::Mpls)
    }

    /// ARP or RARP over Ethernet and IPv4 (RFC 826); other hardware or protocol types are left unread.
    pub(super) fn arp(&mut self, arp: &[u8]) -> Result<(), Malformed> {
        let m = arp.first_chunk::<28>().ok_or(Malformed::Arp)?;
        let [0, 1, 8, 0, 6, 4, op_high, op, rest @ ..] = *m else { return Ok(()) };
        let [sha0, sha1, sha2, sha3, sha4, sha5, spa0, spa1, spa2, spa3, tha0, tha1, tha2, tha3, tha4, tha5, tpa @ ..] =
            rest;
        self.blocks = self.blocks.with(Block::Network);
        // Operations above 255 are not defined; they read as none.
        self.key.nw_proto = if op_high == 0 { op } else { 0 };
        self.key.nw_src.set(u32::from_be_bytes([spa0, spa1, spa2, spa3]));
        self.key.nw_dst.set(u32::from_be_bytes(tpa));
        self.key.arp_sha = EthAddr([sha0, sha1, sha2, sha3, sha4, sha5]);
        self.key.arp_tha = EthAddr([tha0, tha1, tha2, tha3, tha4, tha5]);
        Ok(())
    }
}

/// The tag control information behind a tag protocol id at `at - 2`, and the type behind it.
fn tag(data: &[u8], at: usize) -> Result<(u16, u16), Malformed> {
    let [a, b, c, d] = *data.get(at..).and_then(|d| d.first_chunk::<4>()).ok_or(Malformed::Vlan)?;
    Ok((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// The Ethertype of an 802.3 frame that has one by way of SNAP (IEEE 802, 10.3), and where its payload begins.
fn llc(data: &[u8], at: usize) -> (u16, usize) {
    let snap = data.get(at..).and_then(|d| d.first_chunk::<8>());
    if let Some([0xaa, 0xaa, 0x03, 0, 0, 0, a, b]) = snap {
        let eth_type = u16::from_be_bytes([*a, *b]);
        if eth_type >= MIN_ETHERTYPE {
            return (eth_type, at + 8);
        }
    }
    (NO_ETHERTYPE, at)
}
