//! The walk through a list of actions.

use ovs_dpif::{DpAction, DropReason, SlowPath};
use ovs_packet::field::{FieldId, Prereq};

use super::{Effect, Translator, freeze};
use crate::action::{Action, Subfield};
use crate::codec::PacketInReason;
use crate::pipeline::trace::Kind;
use crate::pipeline::{MAX_ACTIONS, MAX_STEPS};

/// How deep samples nest, at least, where one that is always taken is to stand for a copy.
const MIN_SAMPLES: u8 = 4;

impl Translator<'_> {
    /// Executes actions. `last` says that nothing comes after them, so that the packet need not be kept.
    pub(super) fn execute(&mut self, actions: &[Action], last: bool) {
        if let Some(last) = self.execute_up_to_lookup(actions, last)
            && let Some(lookup) = actions.last().and_then(|action| self.lookup_of(action))
        {
            self.lookup_and_execute(lookup, last);
        }
    }

    /// The same, but for a lookup that is the last of them. If one is left, whether nothing comes after it.
    pub(super) fn execute_up_to_lookup(&mut self, actions: &[Action], last: bool) -> Option<bool> {
        for (i, action) in actions.iter().enumerate() {
            let rest = actions.get(i + 1..).unwrap_or_default();
            self.steps += 1;
            if self.steps > MAX_STEPS || self.out.len() > MAX_ACTIONS {
                self.fail(DropReason::ActionsTooLong, || "too many actions".to_string());
            }
            if self.failed.is_some() {
                return None;
            }
            if self.was_mpls && !self.exit && needs_what_is_below(action) {
                self.freeze(freeze::Cause::Recirculate);
            }
            if self.exit {
                if self.freezing.is_some() {
                    self.leave(actions.get(i..).unwrap_or_default(), None);
                }
                return None;
            }
            self.trace(Kind::Action, |t| t.worded(action));
            let last = last && rest.is_empty() && self.action_set.is_empty();
            match self.step(action, rest, last) {
                Next::GoOn => {}
                Next::Return => return None,
                Next::Lookup if rest.is_empty() => return Some(last),
                Next::Lookup => {
                    let lookup = self.lookup_of(action);
                    lookup.into_iter().for_each(|lookup| self.lookup_and_execute(lookup, last));
                }
            }
        }
        None
    }

    fn step(&mut self, action: &Action, rest: &[Action], last: bool) -> Next {
        match action {
            Action::Output { port, max_len } => self.output(*port, *max_len, last),
            Action::OutputField { src, max_len, .. } => self.output_field(*src, *max_len, last),
            Action::OutputTruncated { port, max_len } => self.output_truncated(*port, *max_len, last),
            Action::Controller(c) if c.pause => {
                self.freeze(freeze::Cause::Pause(c.clone()));
                // What comes after is for when the controller lets the packet go.
                self.leave(rest, None);
                return Next::Return;
            }
            Action::Controller(c) => self.packet_in(PacketInReason(c.reason), c.max_len, c.id, &c.userdata, c.meter),
            Action::Enqueue { port, queue } => self.enqueue(*port, *queue, last),
            Action::Group(group) => {
                if !self.group(*group, last) {
                    return Next::Return;
                }
            }
            Action::Bundle(bundle) => self.bundle(bundle, last),
            Action::Multipath(multipath) => self.multipath(multipath),
            Action::SetTunnelOption(set) => self.set_option(set.index, &set.value, &set.mask),
            Action::DeleteField(field) => self.delete_field(*field),
            Action::Move { src, dst, .. } => self.copy(*src, *dst),
            Action::Push(src) => self.push(*src),
            Action::Pop(dst) => self.pop(*dst),
            Action::SetVlanVid { vid, push, .. } => self.set_tag(FieldId::DlVlan, *vid, *push),
            Action::SetVlanPcp { pcp, push, .. } => self.set_tag(FieldId::DlVlanPcp, (*pcp).into(), *push),
            Action::PushVlan(tpid) => self.push_vlan(*tpid),
            Action::PopVlan | Action::StripVlan => self.tracked.pop_tag(),
            Action::SetL4Src { port, .. } => {
                self.set_port([FieldId::TcpSrc, FieldId::UdpSrc, FieldId::SctpSrc], *port);
            }
            Action::SetL4Dst { port, .. } => {
                self.set_port([FieldId::TcpDst, FieldId::UdpDst, FieldId::SctpDst], *port);
            }
            Action::DecTtl => return self.dec_ttl(&[0]),
            Action::DecTtlTo(controllers) => return self.dec_ttl(controllers),
            Action::DecMplsTtl => return self.dec_mpls_ttl(),
            Action::DecNshTtl => return self.dec_nsh_ttl(),
            Action::SetMplsLabel(_) | Action::SetMplsTc(_) | Action::SetMplsTtl(_) => self.set_mpls(action),
            Action::PushMpls(eth_type) => self.push_mpls(*eth_type),
            Action::PopMpls(eth_type) => self.pop_mpls(*eth_type),
            Action::Encap { packet_type, properties, .. } => self.encap(*packet_type, properties),
            Action::Decap(below) => self.decap(*below),
            Action::SetQueue(queue) => self.set_queue(*queue),
            Action::PopQueue => self.set_queue(self.first_priority),
            Action::FinTimeout { idle, hard } => self.fin_timeout(*idle, *hard),
            Action::Resubmit { .. } | Action::ResubmitPort(_) => return Next::Lookup,
            Action::Learn(learn) => self.learn(learn),
            Action::Sample(sample) => self.sample(sample),
            Action::Ct(ct) => self.ct(ct, last),
            Action::CtClear => self.ct_clear(),
            Action::Clone(inner) => self.clone_of(inner, last),
            Action::CheckPacketLarger { length, dst } => {
                self.check_packet_larger(*length, *dst, rest, last);
                return Next::Return;
            }
            Action::Meter(meter) => self.meter(*meter),
            Action::WriteMetadata(value, mask) => {
                self.tracked.write(FieldId::Metadata, (*value).into(), (*mask).into());
            }
            Action::Exit => self.exit = true,
            Action::DebugRecirc => self.freeze(freeze::Cause::Recirculate),
            Action::DebugSlow => self.slow |= SlowPath::ACTION,
            // Translation of addresses is a part of connection tracking; the others mean nothing to a packet.
            Action::Nat(_) | Action::Conjunction { .. } | Action::Note(_) => {}
            a => {
                if let Some((field, value, mask)) = a.as_set_field() {
                    self.set_field(field, value, mask);
                }
            }
        }
        Next::GoOn
    }

    /// What the copy changes does not outlive it; what it reads stays read.
    fn clone_of(&mut self, actions: &[Action], last: bool) {
        if !last {
            // What comes before is not to be done twice.
            self.commit();
        }
        self.in_copy(last, |t| {
            t.execute(actions, true);
            t.end_of_pipeline();
        });
    }

    /// Has `f` work on a copy of the packet. Where what it did is taken back by writing fields, or nothing comes after,
    /// the datapath needs no copy.
    pub(super) fn in_copy(&mut self, last: bool, f: impl FnOnce(&mut Self)) {
        self.in_copy_unless(last, is_reversible, f);
    }

    /// The same, where the datapath needs no copy for actions that are `harmless`.
    pub(super) fn in_copy_unless(&mut self, last: bool, harmless: fn(&DpAction) -> bool, f: impl FnOnce(&mut Self)) {
        let (base, outer) = (self.base, std::mem::take(&mut self.out));
        self.in_branch(f);
        let mut inner = std::mem::replace(&mut self.out, outer);
        if last || inner.iter().all(harmless) {
            // What was set for the copy is set back by what is committed next.
            self.out.append(&mut inner);
            return;
        }
        self.base = base;
        if self.view.features.clone {
            self.out.push(DpAction::Clone(inner));
        } else if self.view.features.sample_nesting >= MIN_SAMPLES {
            self.out.push(DpAction::Sample { probability: u32::MAX, actions: inner });
        } else {
            // What a copy goes through cannot be kept from the packet.
            self.trace(Kind::Error, |_| "Failed to compose clone action".to_string());
            self.because(DropReason::UnsupportedAction);
        }
    }

    /// Has `f` go a way of its own: what it does to the packet and to the pipeline's state is undone, but for what was
    /// written down.
    pub(super) fn in_branch(&mut self, f: impl FnOnce(&mut Self)) {
        let saved = self.tracked.save();
        let flags = (self.in_port, self.was_mpls, self.conntracked, self.exit, self.in_action_set, self.in_group);
        let (stack, set) = (self.stack.clone(), std::mem::take(&mut self.action_set));
        let pending = self.pending.clone();
        f(self);
        self.tracked.go_back(&saved);
        (self.in_port, self.was_mpls, self.conntracked, self.exit, self.in_action_set, self.in_group) = flags;
        (self.stack, self.action_set, self.pending) = (stack, set, pending);
    }

    /// Goes on one way for packets that are longer and another for those that are not.
    fn check_packet_larger(&mut self, len: u16, dst: Subfield, rest: &[Action], last: bool) {
        if !self.view.features.check_pkt_len {
            // Packets come up, and are told by their length here.
            self.slow |= SlowPath::ACTION;
            let larger = self.view.packet_len.is_some_and(|n| n > usize::from(len));
            self.tracked.write(dst.field, u128::from(larger) << dst.offset, dst.mask());
            return self.execute(rest, last);
        }
        self.commit();
        let (base, set) = (self.base, self.action_set.clone());
        let branch = |t: &mut Self, larger: bool| {
            let outer = std::mem::take(&mut t.out);
            t.detail(|| format!("for packets that are {}:", if larger { "longer" } else { "not longer" }));
            t.in_branch(|t| {
                t.action_set.clone_from(&set);
                t.tracked.write(dst.field, u128::from(larger) << dst.offset, dst.mask());
                t.execute(rest, last);
                t.end_of_pipeline();
            });
            t.base = base;
            std::mem::replace(&mut t.out, outer)
        };
        let greater = branch(self, true);
        let less_equal = branch(self, false);
        self.out.push(DpAction::CheckPktLen { len, greater, less_equal });
        // What is left of the action set went both ways.
        self.action_set.clear();
    }

    pub(super) fn meter(&mut self, meter: u32) {
        match self.bridge.meters.datapath_id(meter) {
            Some(id) => self.out.push(DpAction::Meter(id)),
            None => self.detail(|| format!("there is no meter {meter}")),
        }
    }

    fn fin_timeout(&mut self, idle: u16, hard: u16) {
        self.tracked.read(FieldId::NwProto);
        if let Some(rule) = self.rule
            && self.tracked.holds(Prereq::Tcp)
        {
            self.effect(Effect::FinTimeout { rule, idle, hard });
        }
    }
}

/// Whether the list of actions goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    GoOn,
    Return,
    /// After the lookup that the action asks for.
    Lookup,
}

/// Whether the packet is afterwards as it was for another bucket: beside what can be written back, connection tracking that
/// translates no addresses leaves only what the pipeline does not believe of a packet that it did not track.
pub(super) fn is_harmless_to_buckets(action: &DpAction) -> bool {
    is_reversible(action) || matches!(action, DpAction::Ct(request) if request.nat.is_none())
}

/// Whether the packet is afterwards as it was, but for fields and headers that can be written back.
fn is_reversible(action: &DpAction) -> bool {
    match action {
        DpAction::Output(_)
        | DpAction::LbOutput(_)
        | DpAction::Userspace(_)
        | DpAction::Set(..)
        | DpAction::PushVlan { .. }
        | DpAction::PopVlan
        | DpAction::PushMpls { .. }
        | DpAction::Recirc(_)
        | DpAction::Clone(_)
        | DpAction::Psample { .. } => true,
        DpAction::Sample { actions, .. } => actions.iter().all(is_reversible),
        DpAction::CheckPktLen { greater, less_equal, .. } => greater.iter().chain(less_equal).all(is_reversible),
        _ => false,
    }
}

/// Whether an action looks at, or changes, what comes after an MPLS label stack that was taken off.
fn needs_what_is_below(action: &Action) -> bool {
    let above_l3 = |f: FieldId| !matches!(f.info().prereq, Prereq::None | Prereq::Ethernet | Prereq::Vlan);
    match action {
        Action::Output { .. }
        | Action::OutputTruncated { .. }
        | Action::OutputField { .. }
        | Action::Enqueue { .. }
        | Action::SetVlanVid { .. }
        | Action::SetVlanPcp { .. }
        | Action::SetEthSrc(_)
        | Action::SetEthDst(_)
        | Action::SetTunnel { .. }
        | Action::SetQueue(_)
        | Action::Group(_) => false,
        Action::SetField { field, .. } | Action::SetFieldNicira { field, .. } => above_l3(*field),
        Action::Load { dst, .. } => above_l3(dst.field),
        _ => true,
    }
}
