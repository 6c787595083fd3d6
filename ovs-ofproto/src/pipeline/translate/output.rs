//! Sending packets somewhere.

use ovs_dpif::{Cookie, DpAction, DropReason, SlowPath, Userspace};
use ovs_packet::OfPort;
use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::{FlowKey, FlowMask};

use super::walk::Lookup;
use super::{Effect, Translator, freeze};
use crate::action::Subfield;
use crate::codec::PacketInReason;
use crate::pipeline::hooks::{PacketKey, Peer, Way};
use crate::pipeline::port::Port;
use crate::pipeline::trace::Kind;
use crate::session::AsyncConfig;

impl Translator<'_> {
    pub(super) fn output(&mut self, port: OfPort, max_len: u16, last: bool) {
        match port {
            OfPort::IN_PORT => self.send(self.in_port, last),
            OfPort::NORMAL => self.normal(last),
            OfPort::FLOOD => self.flood(false, last),
            OfPort::ALL => self.flood(true, last),
            OfPort::CONTROLLER => self.packet_in(self.output_reason(), max_len, 0, &[], None),
            OfPort::TABLE => {
                let lookup = Lookup { resubmit: true, ..Lookup::default() };
                self.lookup_and_execute(lookup, last);
            }
            OfPort::ANY => {}
            // A packet goes back where it came from only if it is told so by name.
            port if port == self.in_port => {
                self.detail(|| "skipping output to input port".to_string());
                self.because(DropReason::NoOutput);
            }
            port => self.send(port, last),
        }
    }

    pub(super) fn output_field(&mut self, src: Subfield, max_len: u16, last: bool) {
        let value = self.value_of(src);
        let port = match u32::try_from(value) {
            // What fits in 16 bits is a port of OpenFlow 1.0, however wide the field is.
            Ok(port) if port <= u16::MAX.into() => OfPort::from_16(port as u16),
            Ok(port) => OfPort(port),
            Err(_) => OfPort::ANY,
        };
        self.detail(|| format!("output port is {port}"));
        self.output(port, max_len, last);
    }

    pub(super) fn output_truncated(&mut self, port: OfPort, max_len: u32, last: bool) {
        let back = port == OfPort::IN_PORT;
        let port = if back { self.in_port } else { port };
        let real = port == OfPort::LOCAL || port.0 <= OfPort::MAX.0;
        if !real || self.bridge.hooks.peer(port).is_some() {
            let what = if real { "patch port" } else { "port:" };
            self.warn(|| format!("output_trunc does not support {what} {port}"));
            return;
        }
        if port == self.in_port && !back {
            self.detail(|| "skipping output to input port".to_string());
            return;
        }
        if !self.view.features.trunc {
            self.slow |= SlowPath::ACTION;
        }
        // What is cut has to be whole by then.
        self.commit();
        let before = self.out.len();
        self.out.push(DpAction::Trunc(max_len));
        self.send(port, last);
        if self.out.len() == before + 1 {
            self.out.pop();
        }
    }

    pub(super) fn enqueue(&mut self, port: OfPort, queue: u32, last: bool) {
        let port = match port {
            OfPort::IN_PORT => self.in_port,
            port if port == self.in_port => return self.detail(|| "skipping output to input port".to_string()),
            port => port,
        };
        let before = self.tracked.read(FieldId::SkbPriority) as u32;
        self.set_queue(queue);
        self.send(port, last);
        self.set_queue(before);
    }

    fn flood(&mut self, all: bool, last: bool) {
        let others = self.bridge.ports.iter().filter(|p| p.number != self.in_port && (all || p.floods()));
        let numbers: Vec<_> = others.map(|p| p.number).collect();
        let end = numbers.len();
        for (i, port) in numbers.into_iter().enumerate() {
            self.send(port, last && i + 1 == end);
        }
    }

    /// Sends the packet as it is now.
    pub(super) fn send(&mut self, port: OfPort, last: bool) {
        let Some(p) = self.bridge.ports.get(port) else {
            self.detail(|| "Nonexistent output port".to_string());
            self.because(DropReason::UnknownPort);
            return;
        };
        if !p.forwards() {
            self.detail(|| "the port takes no packets".to_string());
            self.because(DropReason::ForwardingDisabled);
            return;
        }
        if let Some(peer) = self.bridge.hooks.peer(port) {
            return self.patch(port, peer, last);
        }
        let Some(dscp) = self.dscp_by_queue(p) else { return self.leave_by(p, last) };
        let saved = self.tracked.save();
        self.set_field(FieldId::IpDscp, dscp.into(), FieldId::IpDscp.info().max_value());
        self.leave_by(p, last);
        self.tracked.go_back(&saved);
    }

    /// The DSCP that the packet gets for the queue that it leaves a port by, if it is IP.
    fn dscp_by_queue(&mut self, port: &Port) -> Option<u8> {
        if port.dscp.is_empty() {
            return None;
        }
        let queue = self.tracked.read(FieldId::SkbPriority) as u32;
        port.dscp.get(&queue).copied().filter(|_| self.tracked.holds(Prereq::Ip))
    }

    /// Sends the packet as it is now by a port that is no end of a patch.
    fn leave_by(&mut self, p: &Port, last: bool) {
        if let Some(config) = &p.tunnel {
            return self.enter_tunnel(p, config, last);
        }
        let (port, datapath) = (p.number, p.datapath);
        if !self.is_ethernet() {
            self.warn(|| "Trying to send non-Ethernet packet through legacy L2 port. Dropping packet.".to_string());
            self.because(DropReason::UnsupportedPacketType);
            return;
        }
        if p.is_patch() && self.bridge.hooks.egress(port).is_none() {
            self.because(DropReason::NoOutput);
            return;
        }
        let Some(egress) = self.bridge.hooks.egress(port).cloned() else {
            self.commit();
            if self.terminates(port) {
                return;
            }
            self.out.push(DpAction::Output(datapath));
            return;
        };
        let saved = self.tracked.save();
        match egress.send(&mut PacketKey(&mut self.tracked)) {
            Way::Port(port) => {
                self.commit();
                self.out.push(DpAction::Output(port));
            }
            Way::Hash { algorithm, basis, recirc_id } => {
                self.commit();
                self.out.push(DpAction::Hash { algorithm, basis });
                self.out.push(DpAction::Recirc(recirc_id));
            }
            Way::Drop(reason) => self.because(reason),
        }
        self.tracked.go_back(&saved);
    }

    /// Goes through the switch at the other end of a patch.
    fn patch(&mut self, from: OfPort, peer: Peer, last: bool) {
        let own = (peer.bridge == self.view.at).then_some(self.view.own);
        let Some(bridge) = own.or_else(|| self.view.bridges.get(peer.bridge).copied()) else {
            self.because(DropReason::UnknownPort);
            return;
        };
        let Some(port) = bridge.ports.get(peer.port) else {
            self.detail(|| "the other end of the patch is gone".to_string());
            self.because(DropReason::UnknownPort);
            return;
        };
        if !self.may_go_on() {
            return;
        }
        self.effect(Effect::Sent { port: from });
        self.trace(Kind::Bridge, |_| format!("bridge(\"{}\")", bridge.name));
        let may_receive = self.may_receive(port);
        let outer = (self.bridge, self.at, self.table, self.rule, self.rule_cookie, self.mirrors);
        let has_own_tunnel = std::mem::take(&mut self.has_own_tunnel);
        self.depth += 1;
        self.in_copy(last, |t| {
            (t.bridge, t.at, t.mirrors) = (bridge, peer.bridge, 0);
            t.stack.clear();
            // The other switch knows nothing of what this one noted.
            let mut forgotten = *freeze::METADATA;
            forgotten |= &FlowMask::of(&[FieldId::ActsetOutput]);
            t.tracked.restore_all(&FlowKey::ZERO, &forgotten);
            t.tracked.restore(FieldId::ActsetOutput, OfPort::UNSET.0.into());
            t.forget_connection();
            t.conntracked = false;
            t.enter(peer.port);
            t.effect(Effect::Received { port: peer.port });
            t.descend();
            if may_receive && t.was_mpls {
                // What is below the labels is looked up when it is known.
                t.look_again();
            } else if may_receive {
                t.lookup_and_execute(Lookup::default(), true);
                t.end_of_pipeline();
            } else {
                t.because(DropReason::ForwardingDisabled);
            }
            t.ascend();
        });
        self.depth -= 1;
        (self.bridge, self.at, self.table, self.rule, self.rule_cookie, self.mirrors) = outer;
        self.has_own_tunnel = has_own_tunnel;
    }

    /// Sends a copy to controllers.
    pub(super) fn packet_in(
        &mut self,
        reason: PacketInReason,
        max_len: u16,
        controller: u16,
        userdata: &[u8],
        meter: Option<u32>,
    ) {
        self.commit();
        // What the flow of lowest priority for everything does is a miss in OpenFlow's words.
        let lowest = self.rule.filter(|r| self.bridge.tables.get(*r).is_some_and(|r| r.priority == 0));
        let is_miss = || lowest.and_then(|r| self.bridge.tables.matching(r)).is_some_and(|m| m.mask().is_empty());
        let reason = match reason {
            PacketInReason::ACTION if is_miss() => PacketInReason(AsyncConfig::EXPLICIT_MISS),
            reason => reason,
        };
        let Some(recirc_id) = self.userspace_id(userdata) else { return };
        let copy = DpAction::Userspace(Userspace::new(Cookie::Controller {
            reason: reason.0,
            // Who traces a packet in words wants nobody to hear of it.
            dont_send: self.is_quiet(),
            continuation: false,
            recirc_id,
            rule_cookie: self.rule_cookie,
            table: self.table,
            controller_id: controller,
            max_len,
        }));
        let copy = self.metered(copy, meter);
        self.out.push(copy);
    }

    /// A copy for controllers behind its meter, or that of all controllers.
    pub(super) fn metered(&self, copy: DpAction, meter: Option<u32>) -> DpAction {
        let meters = self.bridge.meters;
        // The meter of one output is for this copy alone.
        match meters.datapath_id(meter.unwrap_or(crate::pipeline::CONTROLLER_METER)) {
            Some(meter) => DpAction::Sample { probability: u32::MAX, actions: vec![DpAction::Meter(meter), copy] },
            None => copy,
        }
    }

    /// Forgets what connection tracking said.
    pub(super) fn forget_connection(&mut self) {
        self.tracked.restore_all(&FlowKey::ZERO, &freeze::connection_mask());
    }
}
