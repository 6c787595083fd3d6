//! Packets that the datapath passes up.
//!
//! A [`World`] is the switches that share a datapath, of which one is at work: that whose port the packet came in by, and
//! who keeps the megaflow. By patches its packets may come to the others, read their tables, and change what they know.

use std::time::Duration;

use ovs_dpif::{
    Cookie, DpAction, Dpif, DpifError, FlowPut, PortNo, Resolution, SlowPath, Ufid, Upcall, UpcallKind, Userspace,
};
use ovs_packet::extract::{IP_PROTO_ICMPV6, IP_PROTO_IGMP};
use ovs_packet::field::{FieldId, Prereq, TlvTable, TunOption};
use ovs_packet::key::{FlowMask, SparseKey};
use ovs_packet::{FlowKey, Instant, Match, OfPort, Packet, extract};

use super::bridges::home_of;
use super::live::{LiveCause, LivePacket};
use super::megaflow::Sum;
use super::messages::Punt;
use super::ofproto::{Event, Ofproto};
use super::seats::Seats;
use super::trace::{Pass, Trace, Tracer};
use super::translate::{
    BridgeView, Outcome, Report, Translation, View, connection_mask, exact_mask, translate, translate_actions,
    translate_from,
};
use crate::action::Action;
use crate::codec::{PacketIn, PacketInReason, Version};
use crate::session::AsyncConfig;

/// How long nothing is told of translations that fail, after one was told of.
const FAILURES_APART: Duration = Duration::from_secs(10);

/// Switches that share a datapath, of which one is at work.
pub(super) struct World<'a> {
    pub(super) bridges: Seats<'a>,
    pub(super) at: usize,
}

/// A packet of the switch's own making with what is to become of it.
pub(super) struct DecidedOut {
    packet: Packet,
    key: FlowKey,
    outcome: Outcome,
}

impl Ofproto {
    /// Decides on a packet that came up, and on those that come up from what is decided.
    pub fn handle_upcall(&mut self, dp: &mut dyn Dpif, upcall: Upcall, now: Instant) {
        self.in_world(|mut world| {
            world.handle_upcall(dp, upcall, now);
            world.send_requests(dp, now);
        });
    }

    /// Executes actions on a packet of the switch's own making, as if it had come in by `in_port`
    /// (OpenFlow 1.5, section 7.3.6).
    pub fn packet_out(&mut self, dp: &mut dyn Dpif, packet: Packet, in_port: OfPort, actions: &[Action], now: Instant) {
        let decided = self.decide_packet_out(dp, packet, in_port, None, actions);
        decided.into_iter().for_each(|decided| self.carry_packet_out(dp, decided, now));
    }

    /// Decides what is done with a packet of the switch's own making, by what the tables say now; `metadata` is what is taken
    /// for granted of it beside its port.
    pub(super) fn decide_packet_out(
        &mut self,
        dp: &dyn Dpif,
        packet: Packet,
        in_port: OfPort,
        metadata: Option<&Match>,
        actions: &[Action],
    ) -> Option<DecidedOut> {
        self.in_world(|mut world| world.decide_out(dp, packet, in_port, metadata, actions))
    }

    /// Does what was decided.
    pub(super) fn carry_packet_out(&mut self, dp: &mut dyn Dpif, decided: DecidedOut, now: Instant) {
        self.in_world(|mut world| world.carry_out(dp, decided, now));
    }

    pub(super) fn view(&self) -> BridgeView<'_> {
        BridgeView {
            name: self.name(),
            tables: &self.tables,
            ports: &self.ports,
            groups: &self.groups,
            meters: &self.meters,
            macs: &self.macs,
            snooping: self.snooping.as_ref(),
            l2: &self.l2,
            tlv: &self.tlv,
            hooks: &self.hooks,
            fragments: self.fragments,
            tells_misses: self.connections.want_misses(),
            is_in_band: self.in_band.is_on(),
        }
    }
}

impl Ofproto {
    /// Whether it is long enough ago that the log was told of a translation that failed: whoever sends such packets is not to
    /// fill it.
    fn may_tell_failure(&mut self, now: Instant) -> bool {
        let may = self.failure_told.is_none_or(|at| now.since(at) >= FAILURES_APART);
        if may {
            self.failure_told = Some(now);
        }
        may
    }
}

impl World<'_> {
    pub(super) fn own(&mut self) -> Option<&mut Ofproto> {
        self.bridges.get_mut(self.at)
    }

    /// Has `f` translate with what there is to see. `None` if the switch at work is none.
    fn with_view(&mut self, dp: &dyn Dpif, f: impl FnOnce(View<'_>) -> Outcome) -> Option<Outcome> {
        let own = self.own()?;
        let (mut recirc, room) = (own.recirc.lend(), std::mem::take(&mut own.room));
        let views: Vec<_> = match self.bridges.len() {
            1 => Vec::new(),
            _ => self.bridges.iter().map(Ofproto::view).collect(),
        };
        let outcome = self.bridges.get(self.at).map(|own| {
            let (recirc, mut features) = (&mut recirc, own.features.unwrap_or_else(|| dp.features()));
            features.set_messages &= !own.slow_messages;
            f(View {
                own: own.view(),
                at: self.at,
                bridges: &views,
                recirc,
                features,
                underlay: own.underlay.look(),
                room,
                verifies: own.verifies,
                packet_len: None,
            })
        });
        if let Some(own) = self.own() {
            own.recirc = recirc;
            for report in outcome.iter().flat_map(|outcome| &outcome.reports) {
                if let Report::Ask(request) = report {
                    own.underlay.ask(request.clone());
                }
            }
        }
        outcome
    }

    /// Translates what packets with a key have in common.
    pub(super) fn translate(&mut self, dp: &dyn Dpif, key: &FlowKey, tracer: Option<Tracer>) -> Option<Outcome> {
        self.translate_packet(dp, key, None, tracer)
    }

    /// Translates the key of a packet of so many bytes.
    pub(super) fn translate_packet(
        &mut self,
        dp: &dyn Dpif,
        key: &FlowKey,
        len: Option<usize>,
        tracer: Option<Tracer>,
    ) -> Option<Outcome> {
        let mut outcome = self.with_view(dp, |view| translate(View { packet_len: len, ..view }, key, tracer))?;
        let (own, t) = (self.own()?, &mut outcome.translation);
        if !own.with_megaflows {
            t.read.mask |= &exact_mask(key);
        }
        if own.live.as_ref().is_some_and(|live| live.may_see(key, &t.read.mask)) {
            t.slow |= SlowPath::ACTION;
        }
        Some(outcome)
    }

    /// Translates the key of a packet that came up; if somebody waits for it, in writing. `again` says that it was up
    /// before.
    fn translate_upcall(&mut self, dp: &dyn Dpif, upcall: &Upcall, again: bool, now: Instant) -> Option<Outcome> {
        if !self.own()?.is_traced(&upcall.key, again) {
            let outcome = self.translate_packet(dp, &upcall.key, Some(upcall.packet.len()), None)?;
            if outcome.failed.is_some() && self.own()?.may_tell_failure(now) {
                self.tell_failure(dp, upcall);
            }
            return Some(outcome);
        }
        let len = Some(upcall.packet.len());
        let mut outcome = self.translate_packet(dp, &upcall.key, len, Some(Tracer::of(true)))?;
        let in_port = self.ingress(upcall);
        let (pass, _) = Pass::of(&upcall.key, in_port, &mut outcome);
        let trace = Trace { passes: vec![pass] };
        let (came, len) = (LiveCause::of(&upcall.kind), upcall.packet.len());
        self.own()?.note_seen(LivePacket { at: now, came, len, trace }, again);
        Some(outcome)
    }

    /// Writes to the log how the translation of a packet fails.
    #[cold]
    fn tell_failure(&mut self, dp: &dyn Dpif, upcall: &Upcall) {
        let tracer = Some(Tracer::of(true));
        let Some(mut outcome) = self.translate_packet(dp, &upcall.key, Some(upcall.packet.len()), tracer) else {
            return;
        };
        let (pass, _) = Pass::of(&upcall.key, self.ingress(upcall), &mut outcome);
        tracing::info!(target: "ofproto_dpif_upcall", "a packet cannot be decided on:\n{pass}");
    }

    /// The same, of a packet that is taken to have come in by a port of this number, whether that is there or not.
    pub(super) fn translate_from(
        &mut self,
        dp: &dyn Dpif,
        key: &FlowKey,
        in_port: OfPort,
        tracer: Option<Tracer>,
    ) -> Option<Outcome> {
        self.with_view(dp, |view| translate_from(view, key, in_port, tracer))
    }

    pub(super) fn translate_actions(
        &mut self,
        dp: &dyn Dpif,
        key: &FlowKey,
        in_port: OfPort,
        actions: &[Action],
        len: Option<usize>,
        tracer: Option<Tracer>,
    ) -> Option<Outcome> {
        self.with_view(dp, |view| translate_actions(View { packet_len: len, ..view }, key, in_port, actions, tracer))
    }

    pub(super) fn handle_upcall(&mut self, dp: &mut dyn Dpif, upcall: Upcall, now: Instant) {
        let mut again = Vec::new();
        self.handle_one(dp, upcall, false, now, &mut again);
        // The datapath bounds how often a packet comes up again, by its bound on recirculation.
        let home = self.at;
        while !again.is_empty() {
            for upcall in std::mem::take(&mut again) {
                // One that came out of a tunnel is another switch's.
                self.at = home_of(self.bridges.iter(), &upcall.key).unwrap_or(self.at);
                self.handle_one(dp, upcall, true, now, &mut again);
            }
        }
        self.at = home;
        self.settle(dp, now);
    }

    fn handle_one(&mut self, dp: &mut dyn Dpif, upcall: Upcall, was_up: bool, now: Instant, again: &mut Vec<Upcall>) {
        match &upcall.kind {
            UpcallKind::Action(Userspace { cookie: Cookie::SlowPath(_), .. }) => {
                self.slow(dp, upcall, was_up, now, again);
            }
            UpcallKind::Action(Userspace { cookie, .. }) => {
                self.note(&upcall, &cookie.clone(), now);
                dp.resolve(upcall, Resolution::Consumed, now, again);
            }
            UpcallKind::Stale(ufid) => {
                let ufid = *ufid;
                self.stale(dp, ufid, upcall, was_up, now, again);
            }
            _ => self.miss(dp, upcall, was_up, now, again),
        }
    }

    fn miss(&mut self, dp: &mut dyn Dpif, upcall: Upcall, was_up: bool, now: Instant, pending: &mut Vec<Upcall>) {
        let Some(outcome) = self.translate_upcall(dp, &upcall, was_up, now) else { return };
        let (mut t, reports) = (outcome.translation, outcome.reports);
        self.hear(&reports, &upcall.packet, &upcall.key, now);
        self.credit(&t.effects, one_packet(&upcall, now));
        let put = self.install(dp, &upcall.key, &mut t, now);
        let key = put.map(|_| (SparseKey::from(&*upcall.key), upcall.key.recirc_id.get()));
        dp.resolve(upcall, Resolution::Execute(&t.actions), now, pending);
        if put.is_some() {
            self.forget_evicted(dp, now);
        }
        let Some(own) = self.own() else { return };
        if let (Some(ufid), Some((key, recirc))) = (put, key) {
            own.megaflows.insert(ufid, key, recirc, &mut t, now);
        }
        own.give_back(t);
    }

    /// Installs a translation's megaflow, if there is room for it or another port must make some.
    fn install(&mut self, dp: &mut dyn Dpif, key: &FlowKey, t: &mut Translation, now: Instant) -> Option<Ufid> {
        let has_room = |own: &mut Ofproto| own.megaflows.has_room(own.flow_limit.now(), t.effects.len());
        if !self.own().is_some_and(has_room) {
            // The limit is the switch's own, and so are the ports that share it.
            let rivals: Vec<PortNo> = self.own()?.ports.iter().map(|p| p.datapath).collect();
            self.make_room(dp, key, Some(&rivals), now);
            if !self.own().is_some_and(has_room) {
                self.own()?.not_installed += 1;
                return None;
            }
        }
        let mut put = install(dp, key, t);
        if matches!(put, Err(DpifError::FlowTableFull(_))) && self.make_room(dp, key, None, now) {
            put = install(dp, key, t);
        }
        put.inspect_err(|e| tracing::debug!(error = %e, "megaflow not installed")).ok()
    }

    /// Has the datapath take a megaflow from a port that has more than that which a packet came by.
    fn make_room(&mut self, dp: &mut dyn Dpif, key: &FlowKey, rivals: Option<&[PortNo]>, now: Instant) -> bool {
        let made = dp.flow_make_room(PortNo(key.in_port.get()), rivals);
        if made {
            self.forget_evicted(dp, now);
        }
        made
    }

    /// A packet of a megaflow that was proved before something changed.
    fn stale(
        &mut self,
        dp: &mut dyn Dpif,
        ufid: Ufid,
        upcall: Upcall,
        was_up: bool,
        now: Instant,
        pending: &mut Vec<Upcall>,
    ) {
        let known = |world: &mut Self| {
            let own = world.own()?;
            let slot = own.megaflows.find(ufid)?;
            Some((slot, own.megaflows.is_doubted(slot)))
        };
        match known(self) {
            Some((slot, true)) => self.decide_anew(dp, slot, now),
            Some((slot, false)) => self.keep(dp, slot, now),
            None => {}
        }
        let Some((slot, false)) = known(self) else { return self.miss(dp, upcall, was_up, now, pending) };
        let Some(own) = self.own() else { return };
        let effects = own.megaflows.effects(slot);
        let Some(m) = own.megaflows.get(slot) else { return };
        if !m.slow.is_empty() {
            self.credit(&effects, one_packet(&upcall, now));
            return self.slow(dp, upcall, was_up, now, pending);
        }
        let sum = one_packet(&upcall, now);
        dp.resolve(upcall, Resolution::Execute(&m.actions), now, pending);
        self.credit(&effects, sum);
    }

    /// A packet of a megaflow whose packets all come up. The megaflow counts it.
    fn slow(&mut self, dp: &mut dyn Dpif, upcall: Upcall, was_up: bool, now: Instant, pending: &mut Vec<Upcall>) {
        let Some(outcome) = self.translate_upcall(dp, &upcall, was_up, now) else { return };
        self.hear(&outcome.reports, &upcall.packet, &upcall.key, now);
        let packet = upcall.packet.clone();
        dp.resolve(upcall, Resolution::Consumed, now, pending);
        dp.inject(packet, &outcome.translation.actions, now, pending);
    }

    /// Takes note of what packets tell of listeners.
    pub(super) fn hear(&mut self, reports: &[Report], packet: &Packet, key: &FlowKey, now: Instant) {
        for report in reports {
            let (bridge, vlan, port) = match report {
                Report::Snoop { bridge, vlan, port } => (bridge, vlan, port),
                Report::Neighbour { bridge, address, mac } => {
                    let of = self.bridges.get(*bridge);
                    of.into_iter().for_each(|b| b.underlay.set_neighbour(b.name(), *address, *mac, now));
                    continue;
                }
                // Whoever translates sees to it.
                Report::Ask(_) => continue,
            };
            let Some(snooping) = self.bridges.get_mut(*bridge).and_then(|b| b.snooping.as_mut()) else { continue };
            match key.nw_proto {
                IP_PROTO_IGMP => snooping.igmp(*vlan, *port, key.ipv4_src(), packet.l4(), now),
                IP_PROTO_ICMPV6 => snooping.mld(*vlan, *port, key.ipv6_src(), key.ipv6_dst(), packet.l4(), now),
                _ => {}
            }
        }
    }

    /// Ends what is over of what tunnels go through, and sends the requests that wait.
    pub(super) fn tend_underlay(&mut self, dp: &mut dyn Dpif, now: Instant) {
        if let Some(own) = self.own() {
            own.underlay.run(now);
        }
        self.send_requests(dp, now);
    }

    /// Sends requests for neighbours as if they came in by the ports that lead to them. What they ask for in turn waits for
    /// the next time.
    pub(super) fn send_requests(&mut self, dp: &mut dyn Dpif, now: Instant) {
        let requests = self.own().map(|own| own.underlay.take_requests()).unwrap_or_default();
        let home = self.at;
        for request in requests {
            let Some(at) = self.bridges.iter().position(|b| !b.is_vacant && b.name() == request.bridge) else {
                continue;
            };
            self.at = at;
            let decided = request
                .packet()
                .and_then(|packet| self.decide_out(dp, packet, request.port, None, &[Action::output(OfPort::TABLE)]));
            decided.into_iter().for_each(|decided| self.carry_out(dp, decided, now));
        }
        self.at = home;
    }

    pub(super) fn decide_out(
        &mut self,
        dp: &dyn Dpif,
        mut packet: Packet,
        in_port: OfPort,
        metadata: Option<&Match>,
        actions: &[Action],
    ) -> Option<DecidedOut> {
        let datapath = self.own().and_then(|own| own.ports.get(in_port)).map_or(u32::MAX, |p| p.datapath.0);
        packet.meta.in_port = datapath;
        // What kind of packet it is, the packet alone does not say.
        if let Some(m) = metadata.filter(|m| m.mask().bits.packet_type != 0) {
            packet.meta.packet_type = m.key().packet_type.get();
        }
        let mut key = FlowKey::ZERO;
        extract::extract(&mut packet, &mut key);
        key = key.with_vlan_limit(dp.features().vlan_headers);
        if let Some(m) = metadata {
            // What stands for no option of a tunnel, or does not fit, is not told of the packet.
            let told = self.own()?.key_of(m).unwrap_or_else(|_| m.key());
            key.assign(&told, &m.mask());
            if told.tun_present != 0 {
                (key.tun_present, key.tun_metadata) = (told.tun_present, told.tun_metadata);
            }
            key.in_port = datapath.into();
        }
        let outcome = self.translate_actions(dp, &key, in_port, actions, Some(packet.len()), None)?;
        Some(DecidedOut { packet, key, outcome })
    }

    pub(super) fn carry_out(&mut self, dp: &mut dyn Dpif, decided: DecidedOut, now: Instant) {
        let DecidedOut { packet, key, outcome } = decided;
        let len = packet.len() as u64;
        self.hear(&outcome.reports, &packet, &key, now);
        let sum = Sum { packets: 1, bytes: len, flags: key.tcp_flags.get(), used: now };
        self.credit(&outcome.translation.effects, sum);
        let mut upcalls = Vec::new();
        dp.inject(packet, &outcome.translation.actions, now, &mut upcalls);
        upcalls.into_iter().for_each(|u| self.handle_upcall(dp, u, now));
        self.settle(dp, now);
    }

    // What others should hear of.

    fn note(&mut self, upcall: &Upcall, cookie: &Cookie, now: Instant) {
        match *cookie {
            Cookie::Controller {
                reason, continuation, recirc_id, rule_cookie, table, max_len, controller_id, ..
            } => {
                let state = self.own().and_then(|own| own.recirc.thaw(recirc_id));
                let at = state.as_ref().map_or(self.at, |s| s.bridge);
                let packet = upcall.packet.data();
                let wanted = if max_len == Action::WHOLE { packet.len() } else { usize::from(max_len) };
                let data = packet.get(..wanted).unwrap_or(packet).to_vec();
                let in_port = match &state {
                    Some(s) => s.in_port.0,
                    None => self.ingress(upcall),
                };
                let mut message = PacketIn::new(in_port, data);
                // What does not fit the message's field is said as the most that does.
                message.total_len = packet.len().min(usize::from(u16::MAX)) as u32;
                (message.reason, message.table, message.cookie) = (said_reason(reason), table, rule_cookie);
                if let Some(state) = &state {
                    message.metadata = metadata(in_port, &state.key(), &upcall.key, state.conntracked);
                    if let Some(b) = self.bridges.get(at) {
                        tell_options(&mut message.metadata, &b.tlv, &state.key());
                    }
                    message.userdata.clone_from(&state.userdata);
                    message.continuation = continuation.then(|| recirc_id.to_be_bytes().to_vec());
                }
                if let Some(b) = self.bridges.get_mut(at) {
                    let punt = Punt { reason, controller: controller_id, message };
                    b.punt(&punt, now);
                    b.event(Event::PacketIn(Box::new(punt.message)));
                }
            }
            ref cookie => {
                let in_port = self.ingress(upcall);
                let (cookie, packet) = (cookie.clone(), upcall.packet.data().to_vec());
                let own = self.own();
                own.into_iter().for_each(|b| {
                    b.event(Event::Sample { cookie: cookie.clone(), in_port, packet: packet.clone() });
                });
            }
        }
    }

    fn ingress(&mut self, upcall: &Upcall) -> OfPort {
        self.own().and_then(|own| own.ports.of_key(&upcall.key)).map_or(OfPort::ANY, |p| p.number)
    }

    /// Goes on with a packet that waits for a controller: `token` is what its packet-in gave for its continuation. False
    /// if it means nothing any more.
    pub(super) fn resume(&mut self, dp: &mut dyn Dpif, mut packet: Packet, token: &[u8], now: Instant) -> bool {
        let Ok(id) = token.try_into().map(u32::from_be_bytes) else { return false };
        // A packet that came by a patch waits where it came in first.
        let home = self.bridges.iter().position(|b| b.recirc.thaw(id).is_some());
        let Some(home) = home else { return false };
        self.at = home;
        let Some(state) = self.own().and_then(|own| own.recirc.thaw(id)) else { return false };
        let ports = self.bridges.get(state.bridge).map(|b| &b.ports);
        packet.meta.in_port = ports.and_then(|p| p.get(state.in_port.0)).map_or(u32::MAX, |p| p.datapath.0);
        packet.meta.recirc_id = id;
        let mut key = FlowKey::ZERO;
        extract::extract(&mut packet, &mut key);
        key = key.with_vlan_limit(dp.features().vlan_headers);
        if state.conntracked {
            key.assign(&state.key(), &connection_mask());
        }
        let len = packet.len() as u64;
        let Some(outcome) = self.translate_packet(dp, &key, Some(packet.len()), None) else { return false };
        let sum = Sum { packets: 1, bytes: len, flags: key.tcp_flags.get(), used: now };
        self.credit(&outcome.translation.effects, sum);
        packet.meta.recirc_id = 0;
        let mut upcalls = Vec::new();
        dp.inject(packet, &outcome.translation.actions, now, &mut upcalls);
        upcalls.into_iter().for_each(|u| self.handle_upcall(dp, u, now));
        true
    }
}

impl Ofproto {
    /// Goes on with a packet that waits for a controller (`NXT_RESUME`): `token` is what its packet-in gave for its
    /// continuation. False if it means nothing any more.
    pub fn resume(&mut self, dp: &mut dyn Dpif, packet: Packet, token: &[u8], now: Instant) -> bool {
        self.in_world(|mut world| world.resume(dp, packet, token, now))
    }
}

/// A reason as packet-ins tell it: both kinds of misses are one.
fn said_reason(reason: u8) -> PacketInReason {
    match reason {
        AsyncConfig::EXPLICIT_MISS | AsyncConfig::IMPLICIT_MISS => PacketInReason::NO_MATCH,
        reason => PacketInReason(reason),
    }
}

/// A packet that came up, as it is credited.
fn one_packet(upcall: &Upcall, now: Instant) -> Sum {
    Sum { packets: 1, bytes: upcall.packet.len() as u64, flags: upcall.key.tcp_flags.get(), used: now }
}

/// Installs a translation's megaflow. Where the datapath refuses the actions, each packet comes up, as the translation says
/// from then on.
pub(super) fn install(dp: &mut dyn Dpif, key: &FlowKey, t: &mut Translation) -> Result<Ufid, DpifError> {
    if t.slow.is_empty() {
        match dp.flow_install(&FlowPut::new(key, &t.read.mask, &t.actions)) {
            Err(DpifError::Unsupported(_) | DpifError::NotSettable(_) | DpifError::TooDeep(_)) => {
                t.slow = SlowPath::ACTION;
            }
            done => return done,
        }
    }
    dp.flow_install(&FlowPut::new(key, &t.read.mask, &[slow_action(t.slow)]))
}

/// Has every packet come up.
fn slow_action(why: SlowPath) -> DpAction {
    DpAction::Userspace(Userspace::new(Cookie::SlowPath(why)))
}

/// Has a packet-in tell the options of a tunnel that a packet has.
fn tell_options(m: &mut Match, tlv: &TlvTable, key: &FlowKey) {
    for index in (0..u64::BITS as usize).filter(|index| key.tun_present.get() >> index & 1 != 0) {
        if let Some(option) = tlv.get(key, index).as_deref().and_then(TunOption::exact) {
            // More options than fit are not told.
            let _ = m.set_tun_option(index, &option);
        }
    }
}

/// What a packet-in tells beside the packet: what is not zero of the pipeline's fields.
fn metadata(in_port: OfPort, pipeline: &FlowKey, key: &FlowKey, conntracked: bool) -> Match {
    let mut all = *pipeline;
    all.in_port = in_port.0.into();
    if conntracked {
        let mask = FlowMask::of(&[FieldId::CtState, FieldId::CtZone, FieldId::CtMark, FieldId::CtLabel]);
        all.assign(key, &mask);
        if key.ct_state != 0 {
            // What connection it is of is told in the terms of its network layer.
            all.eth_type = key.eth_type;
        }
        if Prereq::Ct.holds(key) && key.ct_nw_proto != 0 {
            use FieldId::{CtIpv6Dst, CtIpv6Src, CtNwDst, CtNwProto, CtNwSrc, CtTpDst, CtTpSrc};
            all.assign(key, &FlowMask::of(&[CtNwProto, CtNwSrc, CtNwDst, CtIpv6Src, CtIpv6Dst, CtTpSrc, CtTpDst]));
        }
    }
    (all.pkt_mark, all.packet_type) = (key.pkt_mark, key.packet_type);
    let mut m = Match::ANY;
    m.set(FieldId::InPortOxm, in_port.0.into());
    for f in FieldId::all().filter(|f| f.tun_metadata_index().is_none() && f.info().get(&all) != 0) {
        let wide = (FieldId::Xreg0..=FieldId::Xxreg7).contains(&f);
        // No message has the outer header's TOS and TTL.
        let has_name = f.info().oxm(Version::V1_5.0).is_some();
        if !wide && has_name && f != FieldId::InPort {
            m.set(f, f.info().get(&all));
        }
    }
    m
}
