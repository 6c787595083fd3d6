//! Tracing a packet: translation without effects, for each pass of the packet through the pipeline.

use std::collections::VecDeque;
use std::net::IpAddr;

use ovs_dpif::{DpAction, Dpif, Nat, NatRange};
use ovs_packet::extract::{ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_NSH, ETH_TYPE_RARP};
use ovs_packet::field::{FieldId, Prereq, TunOptionError};
use ovs_packet::key::{FlowKey, FlowMask, Match};
use ovs_packet::packet::CtState;
use ovs_packet::{Instant, OfPort, Packet, extract};

use super::megaflow::Sum;
use super::ofproto::Ofproto;
use super::trace::{Pass, Trace, Tracer};
use super::translate::{Effect, Outcome, Report};
use super::upcall::World;
use crate::action::Action;

/// How often a packet is followed through the datapath and back.
const MAX_PASSES: usize = 64;

/// What [`Ofproto::trace`] is asked.
///
/// ```
/// use ovs_dpif::userspace::Datapath;
/// use ovs_ofproto::pipeline::{Ofproto, TraceRequest};
///
/// let (datapath, mut switch) = (Datapath::new(), Ofproto::new());
/// let request = TraceRequest::flow(&"in_port=1,icmp".parse().unwrap());
/// let trace = switch.trace(&datapath, &request);
/// assert!(trace.to_string().contains("No match."));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TraceRequest {
    /// The packet's key, with port numbers of OpenFlow.
    pub key: FlowKey,
    /// The packet, if there is one.
    pub packet: Option<Packet>,
    /// Execute these instead of looking the packet up, as a packet-out does.
    pub actions: Option<Vec<Action>>,
    /// The states that connection tracking is to give the packet, each time that it is tracked (`--ct-next`); then `trk|new`.
    pub ct_next: Vec<CtState>,
    /// Whether the trace has names for ports (`--names`).
    pub names: bool,
}

impl TraceRequest {
    /// A packet in words.
    pub fn flow(m: &Match) -> TraceRequest {
        TraceRequest::key(m.key())
    }

    /// A packet of which there is the key alone.
    pub fn key(key: FlowKey) -> TraceRequest {
        TraceRequest { key, packet: None, actions: None, ct_next: Vec::new(), names: false }
    }

    /// A packet that came in by a port.
    pub fn packet(mut packet: Packet, in_port: OfPort) -> TraceRequest {
        let mut key = FlowKey::ZERO;
        extract::extract(&mut packet, &mut key);
        key.in_port = in_port.0.into();
        TraceRequest { packet: Some(packet), ..TraceRequest::key(key) }
    }

    /// This, as a packet-out with these actions.
    #[must_use]
    pub fn with_actions(self, actions: Vec<Action>) -> TraceRequest {
        TraceRequest { actions: Some(actions), ..self }
    }

    /// This, with states for when the packet is tracked.
    #[must_use]
    pub fn with_ct_next(self, states: Vec<CtState>) -> TraceRequest {
        TraceRequest { ct_next: states, ..self }
    }
}

impl Ofproto {
    /// A packet in words as [`TraceRequest::key`] has it, with options of tunnels by this switch's table of them.
    ///
    /// # Errors
    /// If it has a field that stands for no option, or more options than a header can carry.
    pub fn key_of(&self, m: &Match) -> Result<FlowKey, TunOptionError> {
        self.tlv.pack(&self.tlv.place(m)?.key())
    }

    /// What would become of a packet (`ofproto/trace`). Nothing changes by it.
    pub fn trace(&mut self, dp: &dyn Dpif, request: &TraceRequest) -> Trace {
        self.in_world(|mut world| world.trace(dp, request))
    }

    /// The same, and what the packet teaches is learnt: where its sender is, flows of `learn`, who listens to which group
    /// address, that a connection ended. Nothing is counted, and the packet goes nowhere.
    pub fn trace_and_learn(&mut self, dp: &mut dyn Dpif, request: &TraceRequest, now: Instant) -> Trace {
        self.in_world(|mut world| world.trace_and_learn(dp, request, now))
    }
}

/// A pass that is still to come.
struct Next {
    key: FlowKey,
    resumed: Option<u32>,
    ct_state: Option<(u8, bool)>,
}

/// What a packet teaches.
#[derive(Default)]
struct Changes {
    effects: Vec<(usize, Effect)>,
    reports: Vec<Report>,
}

impl World<'_> {
    pub(super) fn trace(&mut self, dp: &dyn Dpif, request: &TraceRequest) -> Trace {
        self.follow(dp, request).0
    }

    fn follow(&mut self, dp: &dyn Dpif, request: &TraceRequest) -> (Trace, Changes) {
        let mark = self.own().map(|own| own.recirc.mark());
        let followed = self.follow_passes(dp, request);
        if let Some((own, mark)) = self.own().zip(mark) {
            own.recirc.retire(mark);
        }
        followed
    }

    pub(super) fn trace_and_learn(&mut self, dp: &mut dyn Dpif, request: &TraceRequest, now: Instant) -> Trace {
        let (trace, changes) = self.follow(dp, request);
        if let Some(packet) = &request.packet {
            self.hear(&changes.reports, packet, &request.key, now);
        }
        let flags = request.key.tcp_flags.get();
        self.credit(&changes.effects, Sum { flags, used: now, ..Sum::default() });
        self.settle(dp, now);
        trace
    }

    fn follow_passes(&mut self, dp: &dyn Dpif, request: &TraceRequest) -> (Trace, Changes) {
        let in_port = OfPort(request.key.in_port.get());
        let port = self.own().and_then(|own| own.ports.get(in_port)).map_or(u32::MAX, |p| p.datapath.0);
        let read = request.key.with_vlan_limit(dp.features().vlan_headers);
        let first = FlowKey { in_port: port.into(), ..read };
        // The port of a tunnel follows from more than its number.
        let is_own = self.own().is_some_and(|own| own.ports.of_key(&first).is_some_and(|p| p.number == in_port));
        let mut states = request.ct_next.iter();
        let mut queue = VecDeque::from([Next { key: first, resumed: None, ct_state: None }]);
        let (mut trace, mut changes) = (Trace::default(), Changes::default());
        while let Some(next) = queue.pop_front()
            && trace.passes.len() < MAX_PASSES
        {
            let len = request.packet.as_ref().map(Packet::len);
            let mut tracer = Tracer::of(request.packet.is_some());
            tracer.named = request.names;
            let tracer = Some(tracer);
            let outcome = match &request.actions {
                Some(actions) if next.resumed.is_none() => {
                    self.translate_actions(dp, &next.key, in_port, actions, len, tracer)
                }
                _ if next.key.recirc_id == 0 && !is_own => self.translate_from(dp, &next.key, in_port, tracer),
                _ => self.translate_packet(dp, &next.key, len, tracer),
            };
            let Some(outcome) = outcome else { break };
            let mut outcome = outcome;
            let (mut pass, resumes) = Pass::of(&next.key, in_port, &mut outcome);
            let Outcome { translation: t, reports, .. } = outcome;
            changes.effects.extend(t.effects.into_iter().filter(|(_, e)| e.is_learning()));
            changes.reports.extend(reports);
            for id in resumes {
                // The packet goes on as the actions before left it.
                let mut key = next.key;
                apply_before(&mut key, &t.actions, id);
                key.recirc_id = id.into();
                let told = states.next();
                let state = told.copied().unwrap_or(CtState::TRACKED | CtState::NEW);
                key.ct_state = state.bits();
                queue.push_back(Next { key, resumed: Some(id), ct_state: Some((state.bits(), told.is_none())) });
            }
            (pass.resumed, pass.ct_state) = (next.resumed, next.ct_state);
            trace.passes.push(pass);
        }
        (trace, changes)
    }
}

impl Pass {
    /// A pass of a packet with this key, as it was written down; and under which ids the packet goes on.
    pub(super) fn of(key: &FlowKey, in_port: OfPort, outcome: &mut Outcome) -> (Pass, Vec<u32>) {
        let (nodes, resumes) = outcome.tracer.take().unwrap_or_default().finish();
        let last = outcome.last.take().unwrap_or_default();
        let flow = describe(&FlowKey { in_port: in_port.0.into(), ..*key });
        let mut end = *last;
        (end.recirc_id, end.actset_output) = (key.recirc_id, 0.into());
        let end = describe(&end);
        let mut mask = outcome.translation.read.mask;
        if let Some(registers) = outcome.registers.take() {
            // There is no megaflow: what led to the end is told as far as it is known.
            mask |= &registers;
        }
        let mut megaflow = Match::new(*key, mask);
        if !outcome.tag_asked {
            megaflow.set_masked(FieldId::VlanTci, 0, 0);
        }
        if !Prereq::Ip.holds(key) {
            // Of what is no IP it goes without saying that it is no fragment.
            megaflow.set_masked(FieldId::IpFrag, 0, 0);
        }
        megaflow.set(FieldId::InPortOxm, in_port.0.into());
        if !FieldId::IpFrag.info().prereq.holds(key) {
            // Every megaflow has it, but it says nothing.
            megaflow.set_masked(FieldId::IpFrag, 0, 0);
        }
        if let Some(options) = outcome.options.take() {
            // Where they are in the datapath's key says nothing to who knows them by name.
            megaflow = megaflow.without_tun_options();
            for (index, option) in options.tun_options() {
                // They came out of a header: there is room for them.
                let _ = megaflow.set_tun_option(index, &option);
            }
        }
        let pass = Pass {
            resumed: Some(key.recirc_id.get()).filter(|id| *id != 0),
            ct_state: (key.recirc_id.get() != 0).then_some((key.ct_state, false)),
            last: (end != flow).then_some(end),
            flow,
            nodes,
            megaflow,
            actions: outcome.translation.actions.clone(),
            slow: outcome.translation.slow,
            failed: outcome.failed,
        };
        (pass, resumes)
    }
}

/// Does to a key what actions do before the packet comes back under an id, in whichever copy it does. False if it does not.
fn apply_before(key: &mut FlowKey, actions: &[DpAction], id: u32) -> bool {
    for a in actions {
        if matches!(a, DpAction::Recirc(to) if *to == id) {
            return true;
        }
        for inner in a.nested() {
            let mut copy = *key;
            if apply_before(&mut copy, inner, id) {
                *key = copy;
                return true;
            }
        }
        apply(key, a);
    }
    false
}

/// What an action does to a key, as far as that is known without the packet.
fn apply(key: &mut FlowKey, action: &DpAction) {
    match action {
        DpAction::Set(_, to) => to.apply(key),
        DpAction::PushVlan { tpid, tci } => {
            (key.inner_vlan_tpid, key.inner_vlan_tci) = (key.vlan_tpid, key.vlan_tci);
            (key.vlan_tpid, key.vlan_tci) = ((*tpid).into(), (*tci).into());
        }
        DpAction::PopVlan => {
            (key.vlan_tpid, key.vlan_tci) = (key.inner_vlan_tpid, key.inner_vlan_tci);
            (key.inner_vlan_tpid, key.inner_vlan_tci) = (0.into(), 0.into());
        }
        DpAction::PushMpls { eth_type, lse } | DpAction::AddMpls { eth_type, lse } => {
            let [a, b, _] = key.mpls_lse;
            key.mpls_lse = [(*lse).into(), a, b];
            key.eth_type = (*eth_type).into();
        }
        DpAction::PopMpls(eth_type) => {
            let [_, b, c] = key.mpls_lse;
            key.mpls_lse = [b, c, 0.into()];
            key.eth_type = (*eth_type).into();
        }
        DpAction::Ct(request) => {
            key.ct_zone = request.zone.into();
            match request.nat {
                Some(Nat::Source(range)) => apply_nat(key, &range, true),
                Some(Nat::Destination(range)) => apply_nat(key, &range, false),
                _ => {}
            }
        }
        DpAction::CtClear => {
            let mask = FlowMask::of(&[FieldId::CtState, FieldId::CtZone, FieldId::CtMark, FieldId::CtLabel]);
            key.assign(&FlowKey::ZERO, &mask);
        }
        _ => {}
    }
}

/// Gives a packet the first address and port that it may be translated to.
fn apply_nat(key: &mut FlowKey, range: &NatRange, is_source: bool) {
    let port = range.ports.map(|(first, _)| first).filter(|port| *port != 0);
    let has_ports = [Prereq::Tcp, Prereq::Udp, Prereq::Sctp].into_iter().any(|p| p.holds(key));
    if let Some(port) = port.filter(|_| has_ports) {
        *(if is_source { &mut key.tp_src } else { &mut key.tp_dst }) = port.into();
    }
    let field = match (range.addresses, is_source) {
        (Some((IpAddr::V4(to), _)), true) if Prereq::Ipv4.holds(key) => Some((FieldId::NwSrc, to.to_bits().into())),
        (Some((IpAddr::V4(to), _)), false) if Prereq::Ipv4.holds(key) => Some((FieldId::NwDst, to.to_bits().into())),
        (Some((IpAddr::V6(to), _)), true) if Prereq::Ipv6.holds(key) => Some((FieldId::Ipv6Src, to.to_bits())),
        (Some((IpAddr::V6(to), _)), false) if Prereq::Ipv6.holds(key) => Some((FieldId::Ipv6Dst, to.to_bits())),
        _ => None,
    };
    if let Some((field, to)) = field {
        field.info().put(key, to);
    }
}

/// All that there is of a packet, in the order of upstream's words: what every packet of its kind has, and the rest where
/// it is not zero.
pub(super) fn describe(key: &FlowKey) -> Match {
    use FieldId::*;
    let mut m = Match::exact_non_zero(*key).without_tun_options();
    let mut say = |fields: &[FieldId]| fields.iter().for_each(|f| m.set(*f, f.info().get(key)));
    say(&[InPortOxm]);
    if key.packet_type == 0 {
        say(&[PacketType, EthSrc, EthDst, EthType, VlanTci]);
    }
    match key.eth_type.get() {
        ETH_TYPE_IPV4 => say(&[NwSrc, NwDst, NwProto, NwTos, NwEcn, NwTtl, IpFrag]),
        ETH_TYPE_IPV6 => say(&[Ipv6Src, Ipv6Dst, Ipv6Label, NwProto, NwTos, NwEcn, NwTtl, IpFrag]),
        // Upstream says of the network layer below what it would have, too.
        ETH_TYPE_NSH => {
            say(&[NshFlags, NshTtl, NshMdtype, NshNp, NshSpi, NshSi]);
            if key.nsh_mdtype == 1 {
                say(&[NshC1, NshC2, NshC3, NshC4]);
            }
            say(&[NwProto, NwTos, NwEcn, NwTtl, IpFrag]);
        }
        ETH_TYPE_ARP | ETH_TYPE_RARP => say(&[ArpSpa, ArpTpa, ArpOp, ArpSha, ArpTha]),
        _ => {}
    }
    for (prereq, fields) in [
        (Prereq::Tcp, &[TcpSrc, TcpDst, TcpFlags][..]),
        (Prereq::Udp, &[UdpSrc, UdpDst]),
        (Prereq::Sctp, &[SctpSrc, SctpDst]),
        (Prereq::Icmpv4, &[IcmpType, IcmpCode]),
        (Prereq::Icmpv6, &[Icmpv6Type, Icmpv6Code]),
        (Prereq::Mpls, &[MplsLabel, MplsTc, MplsTtl, MplsBos]),
    ] {
        if prereq.holds(key) {
            say(fields);
        }
    }
    m
}
