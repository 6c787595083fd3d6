//! The NORMAL action: what a learning switch with VLANs does (IEEE 802.1Q-2014, clause 8; RFC 4541 for group addresses).

use std::net::{Ipv4Addr, Ipv6Addr};

use ovs_dpif::{DropReason, SlowPath};
use ovs_packet::extract::{ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, IP_PROTO_ICMPV6, IP_PROTO_IGMP};
use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::{VLAN_PCP_MASK, VLAN_PRESENT, VLAN_VID_MASK};
use ovs_packet::{EthAddr, OfPort};

use super::{Effect, Report, Translator};
use crate::pipeline::port::Port;
use crate::pipeline::snooping::{Snooping, is_local};
use crate::pipeline::tracked::Tag;
use crate::pipeline::vlan::{Inside, PriorityTags, tpid_or_default};

/// Types of IGMP messages.
const IGMP_QUERY: u128 = 0x11;
const IGMP_V1_REPORT: u128 = 0x12;
const IGMP_V2_REPORT: u128 = 0x16;
const IGMP_LEAVE: u128 = 0x17;
const IGMP_REPORTS: [u128; 4] = [IGMP_V1_REPORT, IGMP_V2_REPORT, IGMP_LEAVE, 0x22];
/// Types of MLD messages, which are ICMPv6's.
const MLD_QUERY: u128 = 130;
const MLD_REPORTS: [u128; 3] = [131, 132, 143];

/// Why a packet for a group address goes to a port.
#[derive(Clone, Copy)]
enum Listener {
    /// A station behind it listens to the group.
    Group,
    /// A router is behind it.
    Router,
    /// All packets for groups go there.
    Flood,
    /// All reports go there.
    Flagged,
}

impl Listener {
    /// What a trace says of it, and what if the packet came from there.
    fn words(self) -> [&'static str; 2] {
        match self {
            Listener::Group => ["forwarding to mcast group port", "mcast group port is input port, dropping"],
            Listener::Router => ["forwarding to mcast router port", "mcast router port is input port, dropping"],
            Listener::Flood => ["forwarding to mcast flood port", "mcast flood port is input port, dropping"],
            Listener::Flagged => {
                ["forwarding report to mcast flagged port", "mcast port is input port, dropping the Report"]
            }
        }
    }
}

impl Translator<'_> {
    pub(super) fn normal(&mut self, last: bool) {
        // What comes by no port, as a controller's own packet, comes as by a trunk, and teaches nothing.
        let nobody = Port::patch(self.in_port, "");
        let is_nobodys = matches!(self.in_port, OfPort::ANY | OfPort::CONTROLLER);
        let Some(ingress) = self.bridge.ports.get(self.in_port).or(is_nobodys.then_some(&nobody)) else {
            self.warn(|| "no input bundle, dropping".to_string());
            self.because(DropReason::UnknownIngress);
            return;
        };
        let destination = self.address(FieldId::EthDst);
        let source = self.address(FieldId::EthSrc);
        let tci = self.tracked.read_bits(FieldId::VlanTci, (VLAN_PRESENT | VLAN_VID_MASK).into()) as u16;
        let Some(inside) = ingress.vlan.ingress(tci & VLAN_VID_MASK) else {
            self.warn(|| "disallowed VLAN VID for this input port, dropping".to_string());
            self.because(DropReason::VlanFiltered);
            return;
        };
        if destination.is_reserved() && !self.bridge.l2.forward_bpdu {
            self.detail(|| "packet has reserved destination MAC, dropping".to_string());
            self.because(DropReason::ReservedAddress);
            return;
        }
        let vlan = inside.vlan();
        let flooded = self.bridge.l2.flood_vlans.contains(vlan);
        let gratuitous = self.is_gratuitous_arp(destination);
        if !is_nobodys && !source.is_multicast() && !flooded && self.tracked.read(FieldId::PacketType) == 0 {
            let effect = Effect::Station { vlan, address: source, port: self.in_port, gratuitous };
            self.effect(effect);
            if self.bridge.macs.would_learn(vlan, source, self.in_port) {
                self.learns(|name| format!("learned that {source} is on port {name} in VLAN {vlan}"));
            }
        }
        let snooped = destination.is_multicast() && !destination.is_broadcast();
        if let Some(snooping) = self.bridge.snooping.filter(|_| snooped)
            && self.tracked.holds(Prereq::Ip)
        {
            return self.multicast(snooping, ingress, inside, last);
        }
        let known = (!destination.is_multicast() && !flooded).then(|| {
            self.dependencies.stations.push((self.at, vlan, destination));
            self.bridge.macs.lookup(vlan, destination)
        });
        match known.flatten() {
            Some(port) if port == self.in_port => {
                self.detail(|| "learned port is input port, dropping".to_string());
                self.because(DropReason::NoOutput);
            }
            Some(port) => {
                self.detail(|| "forwarding to learned port".to_string());
                self.send_to(&[port], ingress, inside, last);
            }
            None => {
                self.detail(|| "no learned MAC for destination, flooding".to_string());
                self.flood_in_vlan(ingress, inside, last);
            }
        }
    }

    /// For a trace of a packet, which teaches: what it teaches about the port that it came in by, of this name.
    fn learns(&mut self, text: impl FnOnce(&str) -> String) {
        if self.tracer.as_ref().is_some_and(|t| t.has_packet)
            && let Some(port) = self.bridge.ports.get(self.in_port)
        {
            self.detail(|| text(&port.name));
        }
    }

    fn address(&mut self, field: FieldId) -> EthAddr {
        let [.., a, b, c, d, e, f] = self.tracked.read(field).to_be_bytes();
        EthAddr([a, b, c, d, e, f])
    }

    /// Whether a station tells where it is now.
    fn is_gratuitous_arp(&mut self, destination: EthAddr) -> bool {
        if self.tracked.read(FieldId::EthType) != ETH_TYPE_ARP.into() || !destination.is_broadcast() {
            return false;
        }
        match self.tracked.read(FieldId::ArpOp) {
            2 => true,
            1 => self.tracked.read(FieldId::ArpSpa) == self.tracked.read(FieldId::ArpTpa),
            _ => false,
        }
    }

    // Ways out.

    fn flood_in_vlan(&mut self, ingress: &Port, inside: Inside, last: bool) {
        let others = self.bridge.ports.iter().filter(|p| p.number != self.in_port && p.floods());
        let mut numbers: Vec<_> = others.map(|p| p.number).collect();
        // The switch's own port first, as it was there first.
        numbers.sort_by_key(|p| *p != OfPort::LOCAL);
        self.send_to(&numbers, ingress, inside, last);
    }

    /// Sends the packet out of those of the ports that carry its VLAN.
    fn send_to(&mut self, ports: &[OfPort], ingress: &Port, inside: Inside, last: bool) {
        let carrying: Vec<_> = ports.iter().filter_map(|p| self.bridge.ports.get(*p)).collect();
        let mut chosen = Vec::with_capacity(carrying.len());
        for p in carrying {
            if ingress.protected && p.protected {
                continue;
            }
            let vlan = inside.vlan();
            let tracked = &mut self.tracked;
            let mut inner = || match inside {
                Inside::AsTagged(0) | Inside::Assigned(_) => 0,
                Inside::AsTagged(_) => tracked.inner_vid(),
                Inside::Pushed { customer, .. } => customer,
            };
            if p.vlan.carries(vlan, &mut inner) {
                chosen.push(p);
            }
        }
        if chosen.is_empty() {
            self.because(DropReason::NoOutput);
        }
        let end = chosen.len();
        for (i, p) in chosen.into_iter().enumerate() {
            self.send_in_vlan(p, inside, last && i + 1 == end);
        }
    }

    /// Sends the packet with the tags that the port wants, and leaves it as it was.
    fn send_in_vlan(&mut self, port: &Port, inside: Inside, last: bool) {
        let vlan = inside.vlan();
        let [outer, inner] = self.tracked.tags();
        let own = |vid: u16, pcp: u16, tpid: u16| Tag { tpid: tpid_or_default(tpid), tci: VLAN_PRESENT | pcp | vid };
        // The tags as they are within the switch.
        let within = match inside {
            Inside::AsTagged(_) => [outer, inner],
            Inside::Assigned(vlan) => [own(vlan, outer.tci & VLAN_PCP_MASK, outer.tpid), Tag::default()],
            Inside::Pushed { vlan, tpid, .. } => [own(vlan, 0, tpid), outer],
        };
        let mut out = match port.vlan.strips(vlan) {
            0 => within,
            1 => [within[1], Tag::default()],
            _ => [Tag::default(); 2],
        };
        let priorities = port.priority_tags != PriorityTags::Never;
        let pcp_matters = priorities || out[0].tci & VLAN_VID_MASK == 0 && out[0].tci & VLAN_PRESENT != 0;
        if pcp_matters {
            // A tag that says nothing is left out.
            let pcp = self.tracked.read_bits(FieldId::VlanTci, VLAN_PCP_MASK.into()) as u16;
            let vid = out[0].tci & VLAN_VID_MASK;
            let kept = if priorities { pcp } else { out[0].tci & VLAN_PCP_MASK };
            let always = port.priority_tags == PriorityTags::Always && (outer.tpid != 0 || vid != 0);
            out[0] = match vid | kept {
                0 if !always => Tag::default(),
                tci => Tag { tpid: tpid_or_default(out[0].tpid), tci: tci | VLAN_PRESENT },
            };
            if out[0] == Tag::default() {
                out = [out[1], Tag::default()];
            }
        }
        let number = port.number;
        if out == [outer, inner] {
            return self.send(number, last);
        }
        let saved = self.tracked.save();
        if within[1] != inner || out[1] != inner {
            // Tags that move are read where they come to be.
            self.tracked.all_tags();
        }
        self.tracked.set_tags(out);
        self.send(number, last);
        self.tracked.go_back(&saved);
    }

    // Group addresses.

    fn multicast(&mut self, snooping: &Snooping, ingress: &Port, inside: Inside, last: bool) {
        let vlan = inside.vlan();
        self.dependencies.volatile = true;
        let (report, query) = self.membership();
        if report || query {
            // Every packet says something new: they come up one by one.
            self.slow |= SlowPath::ACTION;
            if !ingress.flood_groups {
                self.reports.push(Report::Snoop { bridge: self.at, vlan, port: self.in_port });
                self.trace_membership(snooping, vlan);
            }
        }
        if report {
            // For routers only, so that hosts do not keep silent because of each other (RFC 4541, section 2.1.1).
            let wanted = self.bridge.ports.flood_reports().map(|p| (p, Listener::Flagged));
            let ports: Vec<_> = snooping.routers(vlan).map(|p| (p, Listener::Router)).chain(wanted).collect();
            return self.send_each(ports, ingress, inside, last);
        }
        let group = if self.tracked.holds(Prereq::Ipv4) {
            Ipv4Addr::from_bits(self.tracked.read(FieldId::NwDst) as u32).to_ipv6_mapped()
        } else {
            Ipv6Addr::from_bits(self.tracked.read(FieldId::Ipv6Dst))
        };
        if query || is_local(group) {
            self.detail(|| "multicast traffic for the link, flooding".to_string());
            return self.flood_in_vlan(ingress, inside, last);
        }
        let always = self.bridge.ports.flood_groups().map(|p| (p, Listener::Flood));
        let routers = snooping.routers(vlan).map(|p| (p, Listener::Router));
        match snooping.listeners(vlan, group) {
            Some(listeners) => {
                let listeners = listeners.map(|p| (p, Listener::Group));
                let ports: Vec<_> = listeners.chain(always).chain(routers).collect();
                self.send_each(ports, ingress, inside, last);
            }
            None if snooping.config().flood_unregistered => {
                self.detail(|| "unregistered multicast, flooding".to_string());
                self.flood_in_vlan(ingress, inside, last);
            }
            None => {
                let ports: Vec<_> = routers.chain(always).collect();
                self.send_each(ports, ingress, inside, last);
            }
        }
    }

    /// For a trace: what an IGMP message of one group teaches.
    fn trace_membership(&mut self, snooping: &Snooping, vlan: u16) {
        let key = *self.tracked.shown();
        if key.nw_proto != IP_PROTO_IGMP {
            return;
        }
        let group = Ipv4Addr::from_bits(key.igmp_group.get());
        let is_known =
            |port| snooping.listeners(vlan, group.to_ipv6_mapped()).is_some_and(|mut all| all.any(|p| p == port));
        let known = is_known(self.in_port);
        match u128::from(key.tp_src.get()) {
            IGMP_V1_REPORT | IGMP_V2_REPORT if !known => {
                self.learns(|name| format!("multicast snooping learned that {group} is on port {name} in VLAN {vlan}"))
            }
            IGMP_LEAVE if known => {
                self.learns(|name| format!("multicast snooping leaving {group} is on port {name} in VLAN {vlan}"))
            }
            IGMP_QUERY if key.nw_src != 0 && !snooping.routers(vlan).any(|p| p == self.in_port) => {
                let from = key.ipv4_src();
                self.learns(|name| format!("multicast snooping query from {from} is on port {name} in VLAN {vlan}"));
            }
            _ => {}
        }
    }

    /// Sends to ports for what they are, each once and none of them back.
    fn send_each(&mut self, ports: Vec<(OfPort, Listener)>, ingress: &Port, inside: Inside, last: bool) {
        let mut seen = std::collections::BTreeSet::from([self.in_port]);
        let mut chosen = Vec::with_capacity(ports.len());
        for (port, what) in ports {
            let [sent, back] = what.words();
            self.detail(|| if port == ingress.number { back } else { sent }.to_string());
            if seen.insert(port) {
                chosen.push(port);
            }
        }
        self.send_to(&chosen, ingress, inside, last);
    }

    /// Whether the packet reports of listeners, or asks for them.
    fn membership(&mut self) -> (bool, bool) {
        let protocol = self.tracked.read(FieldId::NwProto) as u8;
        let eth_type = self.tracked.read(FieldId::EthType) as u16;
        match (eth_type, protocol) {
            (ETH_TYPE_IPV4, IP_PROTO_IGMP) => {
                let kind = self.tracked.read(FieldId::TcpSrc);
                (IGMP_REPORTS.contains(&kind), kind == IGMP_QUERY)
            }
            (ETH_TYPE_IPV6, IP_PROTO_ICMPV6) => {
                let kind = self.tracked.read(FieldId::Icmpv6Type);
                (MLD_REPORTS.contains(&kind), kind == MLD_QUERY)
            }
            _ => (false, false),
        }
    }
}
