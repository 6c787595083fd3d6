//! Headers put in front of a packet and taken off it, and the types that packets have by them
//! (OpenFlow 1.5, section 7.2.3.11; ONF EXT-382; RFC 8300).

use ovs_dpif::{DpAction, DropReason, SlowPath};
use ovs_packet::EthAddr;
use ovs_packet::extract::{ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_NSH};
use ovs_packet::field::FieldId;
use ovs_packet::key::{FlowKey, FlowMask, MPLS_DEPTH, SparseKey, VLAN_PRESENT};

use super::{Translator, freeze, mpls};
use crate::action::{Action, EncapProperty};

/// Packet types: namespace in the upper 16 bits, 1 for Ethertypes.
pub(super) const ETHERNET: u32 = 0;
const NSH: u32 = 0x1_0000 | ETH_TYPE_NSH as u32;
const IPV4: u32 = 0x1_0000 | ETH_TYPE_IPV4 as u32;
const IPV6: u32 = 0x1_0000 | ETH_TYPE_IPV6 as u32;
const MPLS: u32 = 0x1_8847;
const MPLS_MULTICAST: u32 = 0x1_8848;
/// Ethernet within MPLS.
const ETH_TYPE_TEB: u16 = 0x6558;

/// Next protocols of a network service header, with the packet types that they are (RFC 8300, section 2.2).
const NEXT_PROTOCOLS: [(u8, u32); 4] = [(1, IPV4), (2, IPV6), (3, ETHERNET), (4, NSH)];

/// How many bytes of metadata a network service header has at most.
const NSH_METADATA_MAX: usize = 248;

/// What the next commit does to the headers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) enum Pending {
    #[default]
    None,
    /// Put the header in front that the packet's type names; of a network service header, with this metadata.
    Encap(Vec<u8>),
    /// Take the outermost header off.
    Decap,
}

impl Translator<'_> {
    fn bad_type(&mut self, what: &str, packet_type: u32) {
        let text = format!("{what} of a packet of type ({},{:#x})", packet_type >> 16, packet_type & 0xffff);
        self.fail(DropReason::UnsupportedPacketType, || text);
    }

    pub(super) fn encap(&mut self, packet_type: u32, properties: &[EncapProperty]) {
        // What concerns the packet within is done before there is one around it.
        self.commit();
        if !self.view.features.packet_types && packet_type != NSH {
            self.fail(DropReason::UnsupportedAction, || "the datapath has no packet types".to_string());
            return;
        }
        let now = self.tracked.read(FieldId::PacketType) as u32;
        let metadata = match packet_type {
            ETHERNET if now >> 16 == 1 => {
                self.tracked.rewrite(|k| {
                    k.packet_type = ETHERNET.into();
                    (k.eth_src, k.eth_dst) = (EthAddr::ZERO, EthAddr::ZERO);
                    k.eth_type = (now as u16).into();
                });
                Vec::new()
            }
            NSH => match NEXT_PROTOCOLS.iter().find(|(_, of)| *of == now) {
                Some((next, _)) => self.put_nsh(*next, properties),
                None => return self.bad_type("encap(nsh)", now),
            },
            MPLS | MPLS_MULTICAST => {
                if !self.view.features.add_mpls {
                    self.slow |= SlowPath::ACTION;
                }
                let n = self.tracked.count_labels();
                if n >= MPLS_DEPTH {
                    let text = || format!("the packet has {MPLS_DEPTH} MPLS labels already");
                    return self.fail(DropReason::TooManyLabels, text);
                }
                // Labels within an Ethernet header are behind it, and hidden.
                let inner = if now == ETHERNET { 0 } else { n };
                if inner == 0 {
                    self.tracked.rewrite(|k| k.mpls_lse = [0.into(); 3]);
                    self.base.mpls_lse = [0.into(); 3];
                }
                // What is within is a whole packet, of which the label says nothing.
                self.put_label(inner, packet_type as u16, false);
                self.tracked.rewrite(|k| {
                    k.packet_type = packet_type.into();
                    (k.eth_src, k.eth_dst) = (EthAddr::ZERO, EthAddr::ZERO);
                });
                Vec::new()
            }
            _ => return self.bad_type("encap(ethernet)", now),
        };
        self.pending = Pending::Encap(metadata);
    }

    fn put_nsh(&mut self, next: u8, properties: &[EncapProperty]) -> Vec<u8> {
        let (mut kind, mut metadata) = (1, Vec::new());
        for p in properties {
            match p {
                EncapProperty::NshMdType(wanted) => kind = *wanted,
                EncapProperty::NshTlv { class, kind, value } => {
                    metadata.extend(class.to_be_bytes());
                    metadata.extend([*kind, value.len() as u8]);
                    metadata.extend(value);
                    metadata.resize(metadata.len().next_multiple_of(4), 0);
                }
            }
        }
        if kind != 2 || metadata.len() > NSH_METADATA_MAX {
            metadata.clear();
        }
        self.tracked.rewrite(|k| {
            clear_packet(k);
            k.packet_type = NSH.into();
            k.eth_type = ETH_TYPE_NSH.into();
            (k.nsh_ttl, k.nsh_mdtype, k.nsh_np, k.nsh_path) = (63, kind, next, 255.into());
        });
        metadata
    }

    pub(super) fn decap(&mut self, below: u32) {
        self.commit();
        let now = self.tracked.read(FieldId::PacketType) as u32;
        match now {
            ETHERNET if !self.view.features.packet_types => {
                self.fail(DropReason::UnsupportedAction, || "the datapath has no packet types".to_string());
            }
            ETHERNET if self.tracked.read_bits(FieldId::VlanTci, VLAN_PRESENT.into()) != 0 => {
                self.fail(DropReason::UnsupportedPacketType, || "a packet with a VLAN tag stays Ethernet".to_string());
            }
            ETHERNET => {
                let eth_type = self.tracked.read(FieldId::EthType) as u16;
                self.tracked.rewrite(|k| {
                    k.packet_type = (0x1_0000 | u32::from(eth_type)).into();
                    (k.eth_src, k.eth_dst) = (EthAddr::ZERO, EthAddr::ZERO);
                });
            }
            NSH => {
                let next = self.tracked.read(FieldId::NshNp) as u8;
                let Some((_, kind)) = NEXT_PROTOCOLS.iter().find(|(n, _)| *n == next) else {
                    let text = || format!("a network service header with next protocol {next}");
                    return self.fail(DropReason::UnsupportedPacketType, text);
                };
                self.tracked.rewrite(|k| k.packet_type = (*kind).into());
                self.pending = Pending::Decap;
                // What was below is not in the key.
                self.freeze(freeze::Cause::Recirculate);
            }
            MPLS | MPLS_MULTICAST => {
                if !self.view.features.add_mpls {
                    self.slow |= SlowPath::ACTION;
                }
                let n = self.tracked.count_labels();
                let kind = if below == Action::NEXT_PROTOCOL { ETHERNET } else { below };
                let eth_type = if kind as u16 == 0 { ETH_TYPE_TEB } else { kind as u16 };
                let was = self.was_mpls;
                self.pop_mpls(eth_type);
                self.was_mpls = was;
                // A packet of another type has no labels that could be popped.
                self.tracked.rewrite(|k| k.packet_type = kind.into());
                self.pending = Pending::Decap;
                if n == 1 {
                    self.freeze(freeze::Cause::Recirculate);
                }
            }
            other => self.bad_type("decap", other),
        }
    }

    /// Writes the header changes that are due.
    pub(super) fn commit_headers(&mut self) {
        let key = *self.tracked.shown();
        let (new, old) = (key.packet_type.get(), self.base.packet_type.get());
        match std::mem::take(&mut self.pending) {
            Pending::Encap(metadata) => match new {
                ETHERNET => {
                    self.out.push(DpAction::PushEth { src: key.eth_src, dst: key.eth_dst });
                    self.base.packet_type = key.packet_type;
                    (self.base.eth_src, self.base.eth_dst) = (key.eth_src, key.eth_dst);
                    self.base.eth_type = key.eth_type;
                }
                NSH => {
                    let header = SparseKey::from(&key.masked(&FlowMask::of(&NSH_FIELDS)));
                    self.out.push(DpAction::PushNsh { header, metadata });
                    let metadata = freeze::METADATA.bits;
                    // All headers are as the key has them now.
                    let pipeline = FlowMask { bits: metadata };
                    let kept = self.base;
                    self.base = key;
                    self.base.assign(&kept, &pipeline);
                    (self.base.in_port, self.base.recirc_id) = (kept.in_port, kept.recirc_id);
                    (self.base.pkt_mark, self.base.skb_priority) = (kept.pkt_mark, kept.skb_priority);
                }
                _ => self.commit_labels(true),
            },
            pending => {
                if pending == Pending::None && new == old {
                    return;
                }
                match old {
                    ETHERNET if new >> 16 == 1 => {
                        self.out.push(DpAction::PopEth);
                        self.base.packet_type = key.packet_type;
                        (self.base.eth_src, self.base.eth_dst) = (EthAddr::ZERO, EthAddr::ZERO);
                    }
                    NSH => self.out.push(DpAction::PopNsh),
                    MPLS | MPLS_MULTICAST => self.commit_labels(false),
                    // A packet of another type has no header that could be taken off.
                    _ => {}
                }
            }
        }
    }
}

/// What a network service header says.
const NSH_FIELDS: [FieldId; 10] = {
    use FieldId::{NshC1, NshC2, NshC3, NshC4, NshFlags, NshMdtype, NshNp, NshSi, NshSpi, NshTtl};
    [NshFlags, NshTtl, NshMdtype, NshNp, NshSpi, NshSi, NshC1, NshC2, NshC3, NshC4]
};

/// Clears all headers: another one is in front of them.
fn clear_packet(k: &mut FlowKey) {
    mpls::clear_network(k);
    (k.eth_src, k.eth_dst, k.eth_type) = (EthAddr::ZERO, EthAddr::ZERO, 0.into());
    (k.vlan_tci, k.vlan_tpid, k.inner_vlan_tci, k.inner_vlan_tpid) = (0.into(), 0.into(), 0.into(), 0.into());
    k.mpls_lse = [0.into(); 3];
}
