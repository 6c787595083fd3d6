//! Packets that come by tunnel ports, and packets that leave by them.
//!
//! What comes has its congestion marks brought in, and an Ethernet header if the port is one for packets without. What
//! leaves is given an outer header of the port's making, of which flows know nothing afterwards, by the datapath's vport, or,
//! where there is none that does it, by `native.rs`.

use std::sync::LazyLock;

use ovs_dpif::{DpAction, DropReason, PortNo};
use ovs_packet::EthAddr;
use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::{FlowKey, FlowMask};
use ovs_packet::packet::TunnelFlags;

use super::encap::{ETHERNET, Pending};
use super::{Effect, Translator, commit};
use crate::pipeline::port::Port;
use crate::pipeline::tunnel::{Decapsulated, PacketMode, TunnelConfig, TunnelKind, decapsulate, is_tunnelled};

/// A packet that is about to leave by a tunnel.
#[derive(Debug)]
pub(super) struct Departure<'a> {
    /// What tunnel it is.
    pub(super) config: &'a TunnelConfig,
    /// The datapath's port for it.
    pub(super) vport: PortNo,
    /// The outer header, in the tunnel members of a datapath's key: options of Geneve as on the wire. What it depends on has
    /// been read.
    pub(super) outer: FlowKey,
    /// Whether nothing is done with the packet afterwards.
    pub(super) last: bool,
}

/// What tells one tunnel from another, which always counts.
pub(super) fn identity(key: &FlowKey) -> &'static FlowMask {
    use FieldId::{TunDst, TunId, TunIpv6Dst, TunIpv6Src, TunSrc, TunTos};
    static MASKS: LazyLock<[FlowMask; 2]> = LazyLock::new(|| {
        let with_key = |fields: &[FieldId]| {
            let mut mask = FlowMask::of(fields);
            // It tells a key of zero from none.
            mask.bits.tun_flags = TunnelFlags::KEY.bits();
            mask
        };
        [with_key(&[TunId, TunTos, TunSrc, TunDst]), with_key(&[TunId, TunTos, TunIpv6Src, TunIpv6Dst])]
    });
    let [v4, v6] = &*MASKS;
    if key.tun_dst != 0 { v4 } else { v6 }
}

impl Translator<'_> {
    // In.

    /// Takes in a packet that came by a tunnel port. False if it is dropped.
    pub(super) fn leave_tunnel(&mut self, port: &Port) -> bool {
        let Some(config) = &port.tunnel else { return true };
        self.effect(Effect::Received { port: port.number });
        if config.mode == PacketMode::LegacyL3 && self.tracked.read(FieldId::PacketType) as u32 != ETHERNET {
            self.tracked.rewrite(|k| {
                k.packet_type = ETHERNET.into();
                (k.eth_src, k.eth_dst) = (EthAddr::ZERO, EthAddr::ZERO);
            });
            self.pending = Pending::Encap(Vec::new());
        }
        if !is_tunnelled(self.tracked.shown()) || !self.tracked.holds(Prereq::Ip) {
            return true;
        }
        let outer = self.tracked.read(FieldId::TunTos) as u8;
        match decapsulate(outer, || self.tracked.read(FieldId::NwEcn) as u8) {
            Decapsulated::Stays => true,
            Decapsulated::Becomes(mark) => {
                self.tracked.write(FieldId::NwEcn, mark.into(), u128::MAX);
                self.mark_brought_in = Some(mark);
                true
            }
            Decapsulated::Dropped => {
                tracing::warn!(target: "tunnel", "dropping tunnel packet marked ECN CE but is not ECN capable");
                self.because(DropReason::NotEcnCapable);
                false
            }
        }
    }

    // Out.

    /// Whether the packet begins with an Ethernet header.
    pub(super) fn is_ethernet(&mut self) -> bool {
        self.tracked.read(FieldId::PacketType) as u32 == ETHERNET
    }

    /// Sends the packet by a tunnel port. What becomes of its key on the way is undone.
    pub(super) fn enter_tunnel(&mut self, port: &Port, config: &TunnelConfig, last: bool) {
        match (config.mode, self.is_ethernet()) {
            (PacketMode::LegacyL2, false) => {
                let text = "Trying to send non-Ethernet packet through legacy L2 port. Dropping packet.";
                self.warn(|| text.to_string());
                self.because(DropReason::UnsupportedPacketType);
            }
            (PacketMode::LegacyL3, true) => {
                let (saved, pending) = (self.tracked.save(), self.pending.clone());
                let eth_type = self.tracked.read(FieldId::EthType) as u32;
                self.tracked.rewrite(|k| k.packet_type = (0x1_0000 | eth_type).into());
                // A header that is not there yet is not put in front; one that is taken off is put back.
                self.pending = Pending::None;
                self.send_through(port, config, last);
                self.tracked.go_back(&saved);
                let is_off = self.base.packet_type != ETHERNET;
                self.pending = if is_off { Pending::Encap(Vec::new()) } else { pending };
            }
            _ => self.send_through(port, config, last),
        }
    }

    fn send_through(&mut self, port: &Port, config: &TunnelConfig, last: bool) {
        let mut outer = config.outer(&mut self.tracked);
        if !is_tunnelled(&outer) {
            self.warn(|| "Tunneling decided against output".to_string());
            return self.because(DropReason::NoOutput);
        }
        let first = self.first();
        if outer.tun_dst == first.tun_dst && outer.tun_ipv6_dst == first.tun_ipv6_dst {
            self.warn(|| "Not tunneling to our own address".to_string());
            return self.because(DropReason::NoOutput);
        }
        if config.kind == TunnelKind::Geneve && !self.carry_options(&mut outer) {
            return;
        }
        self.effect(Effect::Sent { port: port.number });
        let saved = config.egress_mark.map(|mark| {
            let saved = self.tracked.save();
            self.tracked.write(FieldId::PktMark, mark.into(), u128::MAX);
            saved
        });
        if self.view.features.native_tunnels {
            self.detail(|| "output to native tunnel".to_string());
            self.commit();
            let departure = Departure { config, vport: port.datapath, outer, last };
            if let Err(reason) = self.push_tunnel(&departure) {
                self.because(reason);
            }
        } else {
            self.detail(|| "output to kernel tunnel".to_string());
            self.set_outer(&outer);
            self.commit();
            self.out.push(DpAction::Output(port.datapath));
        }
        if let Some(saved) = saved {
            self.tracked.go_back(&saved);
        }
    }

    /// Gives the outer header the options that the packet has, as on the wire. False if it is dropped.
    fn carry_options(&mut self, outer: &mut FlowKey) -> bool {
        let first = self.read.as_ref().map_or(&FlowKey::ZERO, |read| &read.first);
        self.tracked.read_options(self.bridge.tlv, first);
        self.carries_options = true;
        let key = self.tracked.shown();
        (outer.tun_present, outer.tun_metadata) = (key.tun_present, key.tun_metadata);
        match self.bridge.tlv.pack(outer) {
            Ok(packed) => {
                *outer = packed;
                true
            }
            Err(e) => {
                self.fail(DropReason::TunnelMetadata, || format!("the options of the tunnel do not fit: {e}"));
                false
            }
        }
    }

    /// Has the datapath's vport make this outer header; it is set as a whole.
    fn set_outer(&mut self, outer: &FlowKey) {
        let mask = commit::tunnel_mask();
        let new = outer.masked(mask);
        if new != self.base.masked(mask) {
            self.base.assign(&new, mask);
            self.out.push(DpAction::set_tunnel(&new));
        }
    }
}
