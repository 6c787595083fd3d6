//! Tunnels whose outer header the switch itself puts in front of packets, for a datapath that has no tunnels of its own.
//!
//! The outer packet is another packet: it goes through the tables of the switch that the route leads to with a key of its
//! own, and what those tables read of it is no part of the megaflow, for all that it is made of was read before, or is the
//! underlay's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ovs_dpif::{DpAction, DropReason, Erspan, OuterIp, OuterTunnel, OuterUdp, PortNo, TunnelPush};
use ovs_packet::extract::{ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_NSH, IP_PROTO_ICMPV6, IP_PROTO_UDP};
use ovs_packet::field::FieldId;
use ovs_packet::key::FlowKey;
use ovs_packet::packet::{Tunnel, TunnelAddresses, TunnelFlags};
use ovs_packet::wire::gre;
use ovs_packet::{EthAddr, OfPort};

use super::encap::Pending;
use super::tunnel::Departure;
use super::walk::Lookup;
use super::{BridgeView, Effect, Report, Translator};
use crate::pipeline::native::{Hop, Known, Request};
use crate::pipeline::trace::Kind;
use crate::pipeline::tracked::Tracked;
use crate::pipeline::tunnel::{FlowLabel, TunnelConfig, TunnelKey, TunnelKind};

const ETHERNET_INSIDE: u16 = 0x6558;
const ROUTING: u8 = 43;
const ARP_REPLY: u8 = 2;
const NEIGHBOUR_ADVERTISEMENT: u16 = 136;

/// In a header of VXLAN: there is an identifier; there is a group policy; there is a next protocol.
const VXLAN: u32 = 0x0800_0000;
const VXLAN_POLICY: u32 = 0x8000_0000;
const VXLAN_PROTOCOL: u32 = 0x0400_0000;

/// GTP-U of version 1 (3GPP TS 29.281, clause 5.1), with a sequence number, and its message that carries a packet.
const GTPU: u8 = 0x30;
const GTPU_SEQUENCE: u8 = 0x02;
const GTPU_PACKET: u8 = 255;

/// The port of a switch that a packet leaves by.
struct Exit<'a> {
    at: usize,
    bridge: BridgeView<'a>,
    number: OfPort,
    datapath: PortNo,
    address: EthAddr,
}

impl<'a> Translator<'a> {
    /// Puts the outer header in front of the packet and sends it where the route says. The packet is as its key says when
    /// this is called: all changes are committed.
    ///
    /// # Errors
    /// Why the packet is not sent. Nothing was written then, but that, if there is more to be done.
    pub(super) fn push_tunnel(&mut self, departure: &Departure<'_>) -> Result<(), DropReason> {
        self.try_push(departure).inspect_err(|reason| {
            // Others may have the packet; what became of this copy is said where the datapath counts it.
            if self.view.features.explicit_drop && !departure.last {
                self.out.push(DpAction::Clone(vec![DpAction::Drop(*reason)]));
            }
        })
    }

    fn try_push(&mut self, departure: &Departure<'_>) -> Result<(), DropReason> {
        let tunnel = Tunnel::of_key(&departure.outer).ok_or(DropReason::TunnelHeader)?;
        let (asked, to) = match tunnel.addresses {
            TunnelAddresses::V4 { src, dst } => (IpAddr::V4(src), IpAddr::V4(dst)),
            TunnelAddresses::V6 { src, dst } => (IpAddr::V6(src), IpAddr::V6(dst)),
        };
        // Only where routes differ by it does the packet's mark matter.
        let matters = self.view.underlay.routes().has_marks(to.is_ipv6());
        let mark = if matters { self.tracked.read(FieldId::PktMark) as u32 } else { 0 };
        self.dependencies.volatile = true;
        let asked = (!asked.is_unspecified()).then_some(asked);
        let found = self.view.underlay.routes().lookup(to, mark, asked);
        let Some((hop, exit)) = found.and_then(|hop| self.exit(&hop.device).map(|exit| (hop, exit))) else {
            self.warn(|| "native tunnel routing failed".to_string());
            return Err(DropReason::TunnelRouting);
        };
        let next = hop.gateway.filter(|gateway| !gateway.is_unspecified()).unwrap_or(to);
        self.detail(|| format!("tunneling to {next} via {}", hop.device));
        let mac = self.neighbour(&exit, &hop, next)?;
        self.detail(|| format!("tunneling from {} {} to {mac} {next}", exit.address, hop.source));
        self.effects.push((exit.at, Effect::NeighbourUsed { address: next }));
        let Some((ip, tunnel)) = self.header(departure, &tunnel, hop.source) else {
            self.warn(|| "native tunnel header build failed".to_string());
            return Err(DropReason::TunnelHeader);
        };
        let (tunnel_port, out_port) = (departure.vport, exit.datapath);
        let push = TunnelPush { tunnel_port, out_port, eth_dst: mac, eth_src: exit.address, ip, tunnel };
        self.through_underlay(&exit, push, departure.last);
        Ok(())
    }

    /// The port that is this device: of the switch of that name, if there is one, or of any.
    fn exit(&self, device: &str) -> Option<Exit<'a>> {
        let one = [(self.view.at, self.view.own)];
        let mut all: Vec<(usize, BridgeView<'a>)> = self.view.bridges.iter().copied().enumerate().collect();
        if all.is_empty() {
            all.extend(one);
        }
        all.sort_by_key(|(_, bridge)| bridge.name != device);
        all.into_iter().find_map(|(at, bridge)| {
            let port = bridge.ports.iter().find(|port| port.name == device)?;
            Some(Exit { at, bridge, number: port.number, datapath: port.datapath, address: port.hw_addr })
        })
    }

    /// The Ethernet address of the next hop. If it is not known, it is asked for.
    fn neighbour(&mut self, exit: &Exit<'_>, hop: &Hop, next: IpAddr) -> Result<EthAddr, DropReason> {
        let bridge = exit.bridge.name;
        let kind = if next.is_ipv4() { "ARP" } else { "ND" };
        let underlay = &self.view.underlay;
        let known = underlay.neighbours().lookup(bridge, next, underlay.now());
        match known {
            Known::At(mac) => return Ok(mac),
            Known::Asked => {
                self.detail(|| format!("neighbor cache miss for {next} on bridge {bridge}, waiting on {kind} request"));
            }
            Known::Unknown => {
                self.detail(|| format!("neighbor cache miss for {next} on bridge {bridge}, sending {kind} request"));
                let source = self.view.underlay.source_for(&hop.device, next).unwrap_or(hop.source);
                let (bridge, at, port, mac) = (bridge.to_string(), exit.at, exit.number, exit.address);
                self.reports.push(Report::Ask(Request { bridge, at, port, mac, source, target: next }));
            }
        }
        Err(DropReason::TunnelNeighbour)
    }

    /// The header behind Ethernet.
    fn header(&self, departure: &Departure<'_>, tunnel: &Tunnel, source: IpAddr) -> Option<(OuterIp, OuterTunnel)> {
        let config = departure.config;
        let (proto, behind) = self.behind_ip(config, tunnel)?;
        let (tos, ttl) = (tunnel.tos, tunnel.ttl);
        let ip = match (source, tunnel.addresses) {
            (IpAddr::V4(src), TunnelAddresses::V4 { dst, .. }) => {
                let frag = if tunnel.flags.contains(TunnelFlags::DONT_FRAGMENT) { 0x4000 } else { 0 };
                OuterIp::V4 { src, dst, proto, tos, ttl, frag }
            }
            (IpAddr::V6(src), TunnelAddresses::V6 { dst, .. }) => {
                // Of a path, it says how each packet's label is found.
                let label = match (config.kind, config.srv6.label) {
                    (TunnelKind::Srv6, FlowLabel::Zero) => 1,
                    (TunnelKind::Srv6, FlowLabel::Compute) => 2,
                    _ => 0,
                };
                OuterIp::V6 { src, dst, label, proto, tclass: tos, hlimit: ttl }
            }
            _ => return None,
        };
        Some((ip, behind))
    }

    /// What is behind IP, with its protocol.
    fn behind_ip(&self, config: &TunnelConfig, tunnel: &Tunnel) -> Option<(u8, OuterTunnel)> {
        let checksum = tunnel.flags.contains(TunnelFlags::CHECKSUM);
        let udp = OuterUdp { src: 0, dst: config.dst_port, csum: if checksum { 0xffff } else { 0 } };
        let inside = match self.base.packet_type.get() {
            0 => ETHERNET_INSIDE,
            other => other as u16,
        };
        let behind = match config.kind {
            TunnelKind::Vxlan => {
                let flags = match inside {
                    _ if !config.vxlan.gpe => match u32::from(tunnel.gbp_flags) << 16 | u32::from(tunnel.gbp_id) {
                        policy if config.vxlan.gbp && policy != 0 => VXLAN | VXLAN_POLICY | policy,
                        _ => VXLAN,
                    },
                    ETH_TYPE_IPV4 => VXLAN | VXLAN_PROTOCOL | 1,
                    ETH_TYPE_IPV6 => VXLAN | VXLAN_PROTOCOL | 2,
                    ETHERNET_INSIDE => VXLAN | VXLAN_PROTOCOL | 3,
                    ETH_TYPE_NSH => VXLAN | VXLAN_PROTOCOL | 4,
                    _ => return None,
                };
                (IP_PROTO_UDP, OuterTunnel::Vxlan { udp, flags, vni: tunnel.id as u32 & 0xff_ffff })
            }
            TunnelKind::Geneve => {
                let options = tunnel.options.to_vec();
                let (oam, critical) = (tunnel.flags.contains(TunnelFlags::OAM), has_critical(&options));
                let vni = tunnel.id as u32 & 0xff_ffff;
                (IP_PROTO_UDP, OuterTunnel::Geneve { udp, oam, critical, vni, options })
            }
            TunnelKind::Gre | TunnelKind::Ip6Gre => {
                let key = (config.out_key != TunnelKey::None).then_some(tunnel.id as u32);
                let (csum, seq) = (checksum.then_some(0), config.sequence.then_some(0));
                (gre::PROTOCOL, OuterTunnel::Gre { flags: 0, proto: inside, csum, key, seq })
            }
            TunnelKind::Erspan | TunnelKind::Ip6Erspan => {
                let session = u16::try_from(tunnel.id).ok().filter(|session| *session < 1 << 10)?;
                let bits = tunnel.erspan;
                let version = match bits >> 27 & 0xf {
                    1 => Erspan::Index(bits & 0xf_ffff),
                    2 => Erspan::Port { direction: (bits >> 26 & 1) as u8, hardware: (bits >> 20 & 0x3f) as u8 },
                    _ => return None,
                };
                (gre::PROTOCOL, OuterTunnel::Erspan { session, version })
            }
            TunnelKind::Gtpu => {
                let flags = if tunnel.gtpu_flags == 0 { GTPU } else { tunnel.gtpu_flags };
                let flags = flags | if config.sequence { GTPU_SEQUENCE } else { 0 };
                let kind = if tunnel.gtpu_msgtype == 0 { GTPU_PACKET } else { tunnel.gtpu_msgtype };
                (IP_PROTO_UDP, OuterTunnel::Gtpu { udp, flags, kind, teid: tunnel.id as u32 })
            }
            TunnelKind::Srv6 => {
                let TunnelAddresses::V6 { dst, .. } = tunnel.addresses else { return None };
                let path = if config.srv6.segments.is_empty() { &[dst][..] } else { &config.srv6.segments };
                let leads_there = path.first() == Some(&dst) && matches!(inside, ETH_TYPE_IPV4 | ETH_TYPE_IPV6);
                if !leads_there || path.len() > ovs_dpif::MAX_SEGMENTS {
                    return None;
                }
                let (left, segments) = (path.len().saturating_sub(1) as u8, path.iter().copied().collect());
                (ROUTING, OuterTunnel::Srv6 { left, segments })
            }
            _ => return None,
        };
        Some(behind)
    }

    /// Sends the outer packet through the switch of the port that it leaves by.
    fn through_underlay(&mut self, exit: &Exit<'a>, push: TunnelPush, last: bool) {
        if !self.may_go_on() {
            return;
        }
        let key = self.outer_key(&push);
        let grown = i32::try_from(push.len()).unwrap_or(0);
        let packet = std::mem::replace(&mut self.tracked, Tracked::new(key));
        let base = std::mem::replace(&mut self.base, key);
        let before = std::mem::replace(&mut self.out, vec![DpAction::TunnelPush(Box::new(push))]);
        let outer = (self.bridge, self.at, self.table, self.rule, self.rule_cookie, self.mirrors);
        self.effect(Effect::Grown { by: grown });
        self.trace(Kind::Bridge, |_| format!("bridge(\"{}\")", exit.bridge.name));
        self.depth += 1;
        self.in_branch(|t| {
            (t.bridge, t.at, t.mirrors) = (exit.bridge, exit.at, 0);
            (t.pending, t.was_mpls, t.conntracked, t.carries_options) = (Pending::None, false, false, false);
            t.enter(exit.number);
            t.descend();
            let port = exit.bridge.ports.get(exit.number);
            if port.is_some_and(|port| t.may_receive(port)) {
                t.lookup_and_execute(Lookup::default(), true);
                t.end_of_pipeline();
            } else {
                t.because(DropReason::ForwardingDisabled);
            }
            t.ascend();
        });
        self.depth -= 1;
        (self.bridge, self.at, self.table, self.rule, self.rule_cookie, self.mirrors) = outer;
        self.effect(Effect::Grown { by: -grown });
        let wrapped = std::mem::replace(&mut self.out, before);
        self.base = base;
        let read = *std::mem::replace(&mut self.tracked, packet).mask();
        // These the outer packet has of the one inside.
        for field in [FieldId::PktMark, FieldId::SkbPriority] {
            if field.info().get(&read.bits) != 0 {
                self.tracked.read(field);
            }
        }
        match wrapped.len() {
            0 | 1 => {}
            _ if last => self.out.extend(wrapped),
            _ => self.out.push(DpAction::Clone(wrapped)),
        }
    }

    /// The outer packet as tables see it. Of its UDP source port they know nothing.
    fn outer_key(&self, push: &TunnelPush) -> FlowKey {
        let inside = self.tracked.shown();
        let mut key = FlowKey {
            eth_dst: push.eth_dst,
            eth_src: push.eth_src,
            pkt_mark: inside.pkt_mark,
            skb_priority: inside.skb_priority,
            actset_output: OfPort::UNSET.0.into(),
            ..FlowKey::ZERO
        };
        let proto = match push.ip {
            OuterIp::V4 { src, dst, proto, tos, ttl, .. } => {
                (key.nw_src, key.nw_dst) = (src.to_bits().into(), dst.to_bits().into());
                (key.eth_type, key.nw_tos, key.nw_ttl) = (ETH_TYPE_IPV4.into(), tos, ttl);
                proto
            }
            OuterIp::V6 { src, dst, proto, tclass, hlimit, .. } => {
                (key.ipv6_src, key.ipv6_dst) = (src.to_bits().into(), dst.to_bits().into());
                (key.eth_type, key.nw_tos, key.nw_ttl) = (ETH_TYPE_IPV6.into(), tclass, hlimit);
                proto
            }
        };
        // Behind the routing header of a path is the packet itself.
        key.nw_proto = match proto {
            ROUTING if self.base.packet_type.get() as u16 == ETH_TYPE_IPV4 => 4,
            ROUTING => 41,
            other => other,
        };
        if let OuterTunnel::Vxlan { udp, .. } | OuterTunnel::Geneve { udp, .. } | OuterTunnel::Gtpu { udp, .. } =
            &push.tunnel
        {
            key.tp_dst = udp.dst.into();
        }
        key
    }

    // The other way.

    /// Whether what is sent out of a port is for the end of a tunnel here: then it goes there instead. Of what is not,
    /// neighbours are learnt.
    pub(super) fn terminates(&mut self, port: OfPort) -> bool {
        let underlay = &self.view.underlay;
        // Nothing is asked of packets for a port that no tunnel can end at.
        let device = self.bridge.ports.get(port).is_some_and(|port| underlay.has_address(&port.name));
        if !device || !self.view.features.native_tunnels {
            return false;
        }
        let found = underlay.terminations.view().and_then(|view| self.tracked.lookup(view)).map(|rule| *rule.payload());
        let Some(vport) = found else {
            self.learn_neighbour();
            return false;
        };
        self.out.push(DpAction::TunnelPop(vport));
        // Who sends through a tunnel is where it can be sent to.
        let key = self.tracked.shown();
        let address = match key.eth_type.get() {
            ETH_TYPE_IPV4 => IpAddr::V4(Ipv4Addr::from_bits(key.nw_src.get())),
            _ => IpAddr::V6(Ipv6Addr::from_bits(key.ipv6_src.get())),
        };
        self.reports.push(Report::Neighbour { bridge: self.at, address, mac: key.eth_src });
        true
    }

    /// Learns what a packet says of a neighbour: an answer to one of the switch's own addresses, or one that nobody asked
    /// for.
    fn learn_neighbour(&mut self) {
        match self.tracked.read(FieldId::EthType) as u16 {
            ETH_TYPE_ARP => self.learn_by_arp(),
            ETH_TYPE_IPV6 if self.tracked.read(FieldId::NwProto) as u8 == IP_PROTO_ICMPV6 => self.learn_by_nd(),
            _ => {}
        }
    }

    fn learn_by_arp(&mut self) {
        let address = |t: &mut Self, field| Ipv4Addr::from_bits(t.tracked.read(field) as u32);
        let (sender, target) = (address(self, FieldId::NwSrc), address(self, FieldId::NwDst));
        let unasked = sender == target;
        if !unasked
            && (!self.is_own(|own| own == IpAddr::V4(target)) || self.tracked.read(FieldId::NwProto) as u8 != ARP_REPLY)
        {
            return;
        }
        let mac = ethernet(self.tracked.read(FieldId::ArpSha));
        self.neighbour_is(sender.into(), mac);
    }

    fn learn_by_nd(&mut self) {
        let kind = self.tracked.read(FieldId::Icmpv6Type) as u16;
        if kind != NEIGHBOUR_ADVERTISEMENT || self.tracked.read(FieldId::Icmpv6Code) != 0 {
            return;
        }
        let to = Ipv6Addr::from_bits(self.tracked.read(FieldId::Ipv6Dst));
        let is_for = |own: IpAddr| matches!(own, IpAddr::V6(own) if own == to || is_group_of(to, own));
        if !self.is_own(is_for) {
            return;
        }
        let target = Ipv6Addr::from_bits(self.tracked.read(FieldId::NdTarget));
        let mac = ethernet(self.tracked.read(FieldId::NdTll));
        self.neighbour_is(target.into(), mac);
    }

    fn neighbour_is(&mut self, address: IpAddr, mac: EthAddr) {
        if !mac.is_zero() {
            self.effect(Effect::Neighbour { address, mac });
        }
    }

    /// Whether an address is the switch's, or one of its ports'.
    fn is_own(&self, is_it: impl Fn(IpAddr) -> bool) -> bool {
        let ports = self.bridge.ports.iter().map(|port| port.name.as_str());
        self.view.underlay.is_own(ports, is_it)
    }
}

fn ethernet(bits: u128) -> EthAddr {
    let [.., a, b, c, d, e, f] = bits.to_be_bytes();
    EthAddr([a, b, c, d, e, f])
}

/// Whether an address is the group that all with this one's last 24 bits are in (RFC 4291, section 2.7.1).
fn is_group_of(group: Ipv6Addr, own: Ipv6Addr) -> bool {
    let [.., a, b, c] = own.octets();
    group == Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// Whether an option of Geneve must be understood (RFC 8926, section 3.5).
fn has_critical(mut options: &[u8]) -> bool {
    while let [_, _, kind, len, rest @ ..] = options {
        if kind & 0x80 != 0 {
            return true;
        }
        options = rest.get(4 * usize::from(len & 0x1f)..).unwrap_or_default();
    }
    false
}
