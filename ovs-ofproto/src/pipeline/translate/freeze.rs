//! Stopping in the middle, and going on when the packet comes back.
//!
//! What is left of a flow when translation stops is a [`Step`]; flows that led to it by resubmits leave theirs behind
//! it, on the way out. The whole is frozen under a recirculation id with what the pipeline knows of the packet.
//!
//! A state is for all packets of a megaflow, so nothing goes into it that some of them have otherwise. Of the tunnel that a
//! packet came through it has the bits that were read; what nobody asked for stays with the packet, which brings it along
//! when it comes back. That fails where the packet is given another tunnel's header on the way, or goes to a controller:
//! then all of it is read.

use std::sync::LazyLock;

use ovs_dpif::{Cookie, DpAction, DropReason, HashAlgorithm, Userspace};
use ovs_packet::field::FieldId;
use ovs_packet::key::{FlowKey, FlowMask, SparseKey};

use super::{Translator, commit, walk};
use crate::action::{Action, Controller, Instructions};
use crate::pipeline::recirc::{Frozen, OfPortOrNone, Step};
use crate::pipeline::trace::Kind;
use crate::pipeline::tracked::pipeline_mask;

/// Why translation stops.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// What is needed next is not in the key; the datapath has to look again.
    Recirculate,
    /// The datapath is to compute a hash.
    Hash(HashAlgorithm, u32),
    /// A controller decides when to go on.
    Pause(Box<Controller>),
}

/// What of a key belongs to the pipeline, and is not to be found in the packet when it comes back.
pub(super) static METADATA: LazyLock<FlowMask> = LazyLock::new(|| {
    let mut mask = *pipeline_mask();
    mask |= commit::tunnel_mask();
    mask
});

/// The same, with what connection tracking said of the packet.
static WITH_CONNECTION: LazyLock<FlowMask> = LazyLock::new(|| {
    let mut mask = *METADATA;
    mask |= &connection_mask();
    mask
});

/// What flows and controllers can ask of a tunnel: all but the outer header's ports.
static TOLD: LazyLock<FlowMask> = LazyLock::new(|| {
    let mut mask = *commit::tunnel_mask();
    (mask.bits.tun_tp_src, mask.bits.tun_tp_dst) = (0.into(), 0.into());
    mask
});

/// What connection tracking says of a packet.
pub(in crate::pipeline) fn connection_mask() -> FlowMask {
    use FieldId::{CtIpv6Dst, CtIpv6Src};
    use FieldId::{CtLabel, CtMark, CtNwDst, CtNwProto, CtNwSrc, CtState, CtTpDst, CtTpSrc, CtZone};
    FlowMask::of(&[
        CtState, CtZone, CtMark, CtLabel, CtNwProto, CtNwSrc, CtNwDst, CtIpv6Src, CtIpv6Dst, CtTpSrc, CtTpDst,
    ])
}

/// The bits of `mask` that are not in `others`.
fn without(mask: &FlowMask, others: &FlowMask) -> FlowMask {
    let mut left = *mask;
    left.bits.words_mut().iter_mut().zip(others.bits.words()).for_each(|(m, o)| *m &= !o);
    left
}

impl Translator<'_> {
    /// Stops: what comes after this action is left for later.
    pub(super) fn freeze(&mut self, cause: Cause) {
        self.exit = true;
        self.freezing = Some(cause);
    }

    /// Leaves actions and instructions of the current flow for later.
    pub(super) fn leave(&mut self, actions: &[Action], then: Option<Instructions>) {
        if actions.is_empty() && then.is_none() {
            return;
        }
        let step =
            Step { table: self.table, cookie: self.rule_cookie, actions: actions.to_vec(), then: then.map(Box::new) };
        self.frozen.push(step);
    }

    /// What the pipeline knows, to go on with a lookup in `table` or else with what was left. `whole` for who does not have
    /// the packet's key then.
    fn state(&mut self, table: Option<u8>, steps: Vec<Step>, whole: bool) -> Frozen {
        let own = self.unread_tunnel(whole);
        let key = self.tracked.shown().masked(&without(&METADATA, &own));
        Frozen {
            bridge: self.at,
            table,
            steps,
            in_port: OfPortOrNone(self.in_port),
            metadata: SparseKey::from(&key),
            own: SparseKey::from(&own.bits),
            action_set: self.action_set.clone(),
            stack: self.stack.clone(),
            mirrors: self.mirrors,
            conntracked: self.conntracked,
            userdata: Vec::new(),
        }
    }

    /// What of the tunnel that the packet came through is still the packet's own, and was not read.
    fn unread_tunnel(&mut self, whole: bool) -> FlowMask {
        if !self.has_own_tunnel {
            return FlowMask::EMPTY;
        }
        let tunnel = commit::tunnel_mask();
        if whole || self.base.masked(tunnel) != FlowKey::ZERO {
            self.tracked.note(&TOLD);
        } else {
            self.tracked.note_written(tunnel);
        }
        without(tunnel, self.tracked.mask())
    }

    fn id_of(&mut self, state: Frozen) -> Option<u32> {
        let id = self.view.recirc.freeze(state);
        if id.is_none() {
            self.fail(DropReason::NoRecirculation, || "no recirculation id is free".to_string());
        }
        id
    }

    /// Has a copy of the packet looked up again in `table`.
    pub(super) fn fork(&mut self, table: u8) {
        let state = self.state(Some(table), Vec::new(), false);
        if let Some(id) = self.id_of(state) {
            self.detail(|| {
                "A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table "
                    .to_string()
                    + &table.to_string()
                    + "."
            });
            if let Some(t) = &mut self.tracer {
                t.resume(id);
            }
            self.out.push(DpAction::Recirc(id));
        }
    }

    /// Has the packet looked up in the first table when the datapath has read it anew.
    pub(super) fn look_again(&mut self) {
        self.commit();
        let state = self.state(Some(0), Vec::new(), false);
        if let Some(id) = self.id_of(state) {
            self.out.push(DpAction::Recirc(id));
        }
        self.was_mpls = false;
    }

    /// A note for the controllers, and what the packet-in is to tell of the pipeline.
    pub(super) fn userspace_id(&mut self, userdata: &[u8]) -> Option<u32> {
        let mut state = self.state(None, Vec::new(), true);
        (state.action_set, state.userdata) = (Vec::new(), userdata.to_vec());
        self.id_of(state)
    }

    /// If something stopped, writes down how to go on.
    pub(super) fn freeze_if_asked(&mut self) {
        let Some(cause) = self.freezing.take() else { return };
        let steps = std::mem::take(&mut self.frozen);
        self.commit();
        let mut state = self.state(None, steps, matches!(cause, Cause::Pause(_)));
        // A state without steps would look the packet up.
        state.table = None;
        self.action_set.clear();
        match cause {
            Cause::Pause(controller) => {
                state.userdata.clone_from(&controller.userdata);
                if self.conntracked {
                    // The packet comes back from its controller, which knows nothing of connections.
                    let key = self.tracked.shown().masked(&WITH_CONNECTION);
                    state.metadata = SparseKey::from(&key);
                }
                let Some(id) = self.id_of(state) else { return };
                let copy = self.for_controllers(&controller, id);
                self.out.push(self.metered(copy, controller.meter));
            }
            cause => {
                if let Cause::Hash(algorithm, basis) = cause {
                    self.out.push(DpAction::Hash { algorithm, basis });
                }
                let Some(id) = self.id_of(state) else { return };
                self.out.push(DpAction::Recirc(id));
            }
        }
        self.was_mpls = false;
        self.exit = false;
    }

    fn for_controllers(&self, controller: &Controller, id: u32) -> DpAction {
        DpAction::Userspace(Userspace::new(Cookie::Controller {
            reason: controller.reason,
            dont_send: self.is_quiet(),
            continuation: true,
            recirc_id: id,
            rule_cookie: self.first_cookie.unwrap_or(self.rule_cookie),
            table: self.table,
            controller_id: controller.id,
            max_len: controller.max_len,
        }))
    }

    /// Goes on where translation stopped.
    pub(super) fn thaw(&mut self, state: &Frozen) {
        let other = self.view.bridges.get(state.bridge).copied();
        if let Some(bridge) = other.or((state.bridge == self.at).then_some(self.bridge)) {
            (self.bridge, self.at) = (bridge, state.bridge);
        } else {
            self.fail(DropReason::UnknownRecirculation, || "the switch that froze the packet is gone".to_string());
            return;
        }
        self.trace(Kind::Bridge, |t| format!("bridge(\"{}\")", t.bridge.name));
        self.descend();
        self.trace(Kind::Thaw, |_| "thaw".to_string());
        self.descend();
        let table = state.table.or(state.steps.first().map(|s| s.table)).unwrap_or(0);
        self.trace(Kind::Thaw, |_| format!("Resuming from table {table}"));
        self.conntracked = state.conntracked;
        if !state.conntracked {
            self.forget_connection();
        }
        let own = FlowMask { bits: FlowKey::from(&state.own) };
        self.has_own_tunnel &= own != FlowMask::EMPTY;
        self.tracked.restore_all(&state.key(), &without(&METADATA, &own));
        self.enter(state.in_port.0);
        self.stack.clone_from(&state.stack);
        self.mirrors = state.mirrors;
        if !state.action_set.is_empty() {
            self.trace(Kind::Thaw, |t| {
                format!("Restoring action set: {}", t.worded(&crate::text::ActionList(&state.action_set)))
            });
            self.write_to_set(&state.action_set);
        }
        self.ascend();
        if let Some(table) = state.table {
            self.lookup_and_execute(walk::Lookup { table, ..walk::Lookup::default() }, true);
        }
        for (i, step) in state.steps.iter().enumerate() {
            (self.table, self.rule_cookie) = (step.table, step.cookie);
            let last = i + 1 == state.steps.len() && step.then.is_none();
            self.execute(&step.actions, last);
            if let Some(rest) = &step.then {
                let onward = self.instructions(rest, i + 1 == state.steps.len());
                let next = onward.and_then(|onward| self.next_lookup(rest, onward));
                next.into_iter().for_each(|(lookup, last)| self.lookup_and_execute(lookup, last));
            }
            if self.freezing.is_some() {
                // What was left before comes after what is left now.
                self.frozen.extend(state.steps.iter().skip(i + 1).cloned());
            }
            if self.exit || self.failed.is_some() {
                break;
            }
        }
        self.end_of_pipeline();
        self.ascend();
    }
}
