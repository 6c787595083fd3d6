//! Translation: from a packet's key to what the datapath should do with packets like it.
//!
//! A translation walks the flow tables as OpenFlow says and writes down datapath actions instead of executing them. It
//! reads the key through [`Tracked`], so its mask covers all that the outcome depended on. What a packet would change in
//! the switch (counters, learnt addresses, learnt flows) is written down too, as [`Effect`]s, and credited with every
//! packet that takes the megaflow later. What of the switch it looked at is written down as [`Dependencies`], so that a
//! change has only those translated again that can have seen it.
//!
//! - `walk.rs` goes through tables, instructions and the action set; `actions.rs` through lists of actions;
//! - `freeze.rs` stops in the middle, for the datapath to do something first, and goes on afterwards;
//! - `fields.rs`, `mpls.rs`, `encap.rs` change the packet; `commit.rs` makes datapath actions of the changes;
//! - `tunnel.rs` takes packets out of tunnels and, with `native.rs`, sends them through;
//! - `output.rs`, `group.rs`, `balance.rs`, `ct.rs`, `sample.rs` send it somewhere, `normal.rs` as a learning switch does;
//! - `learn.rs` makes flows of packets;
//! - `mask.rs` makes the megaflow's mask of what was read, which `layers.rs` completes by what the fields in it need;
//! - `outcome.rs` is what comes of it, `telling.rs` what traces and logs are told.
//!
//! # Bounds
//!
//! Lookups, their depth, the stack and the length of the actions are bounded as upstream's are; beyond, the packet is
//! dropped and the reason counted.

mod actions;
mod balance;
mod commit;
mod ct;
mod encap;
mod fields;
mod freeze;
mod group;
mod in_band;
mod layers;
mod learn;
mod mask;
mod mpls;
mod native;
mod normal;
mod outcome;
mod output;
mod sample;
mod telling;
mod tunnel;
mod walk;

use ovs_dpif::{DpAction, DropReason, Features, SlowPath};
use ovs_packet::OfPort;
use ovs_packet::field::{FieldId, TlvTable};
use ovs_packet::key::{FlowKey, FlowMask, Match, VLAN_PRESENT, VLAN_VID_MASK};

use super::flow_table::{FlowTables, RuleId};
use super::group::GroupTable;
use super::hooks::Hooks;
use super::l2::L2Config;
use super::mac::MacTable;
use super::meter::MeterTable;
use super::native::Look;
use super::ofproto::Fragments;
use super::port::{Port, Ports};
use super::recirc::{RecircIds, Stack, Step};
use super::snooping::Snooping;
use super::trace::{Kind, Tracer};
use super::tracked::{Tracked, pipeline_mask};
use super::tunnel::is_tunnelled;
use crate::action::Action;
use crate::text::packet_match;
use mask::{ALWAYS, OPTIONS, to_datapath};

pub(super) use freeze::connection_mask;
pub(super) use group::log_selection;
pub(super) use learn::Learned;
pub(super) use mask::exact_mask;
pub(super) use outcome::{Dependencies, Effect, Outcome, Read, Report, Room, Translation, recirculations};

/// How many bytes of actions a datapath takes that is spoken to by netlink, whose lengths are numbers of 16 bits.
const MAX_BYTES: usize = 65_535;

/// How many values the stack holds: 64 kB of the widest ones.
const MAX_STACK: usize = 4096;

/// The group address of spanning trees (IEEE 802.1D-2004, table 7-10).
const STP_ADDRESS: u128 = 0x0180_c200_0000;

/// What a translation sees of one switch.
#[derive(Clone, Copy)]
pub(super) struct BridgeView<'a> {
    pub(super) name: &'a str,
    pub(super) tables: &'a FlowTables,
    pub(super) ports: &'a Ports,
    pub(super) groups: &'a GroupTable,
    pub(super) meters: &'a MeterTable,
    pub(super) macs: &'a MacTable,
    pub(super) snooping: Option<&'a Snooping>,
    pub(super) l2: &'a L2Config,
    pub(super) tlv: &'a TlvTable,
    pub(super) hooks: &'a Hooks,
    pub(super) fragments: Fragments,
    /// Whether a controller hears of packets that match nothing.
    pub(super) tells_misses: bool,
    /// Whether controllers are reached through the switch.
    pub(super) is_in_band: bool,
}

/// What a translation sees.
pub(super) struct View<'a> {
    /// The switch whose packet it is.
    pub(super) own: BridgeView<'a>,
    /// Its place among those that share the datapath.
    pub(super) at: usize,
    /// All of them; none if there are no others.
    pub(super) bridges: &'a [BridgeView<'a>],
    pub(super) recirc: &'a mut RecircIds,
    pub(super) features: Features,
    /// What is known of the network that tunnels go through.
    pub(super) underlay: Look<'a>,
    pub(super) room: Room,
    /// Whether lookups are held against a search from end to end.
    pub(super) verifies: bool,
    /// How long the packet is, if there is one.
    pub(super) packet_len: Option<usize>,
}

/// A translation under way.
struct Translator<'a> {
    view: View<'a>,
    /// The switch that the packet is in.
    bridge: BridgeView<'a>,
    /// Its place among the switches.
    at: usize,
    /// Where that is written what was read; there until the end.
    read: Option<Box<Read>>,
    tracked: Tracked,
    /// The key as the packet is after the datapath actions written so far.
    base: FlowKey,
    in_port: OfPort,
    table: u8,
    out: Vec<DpAction>,
    written: Written,
    effects: Vec<(usize, Effect)>,
    reports: Vec<Report>,
    dependencies: Dependencies,
    /// Actions to execute where the pipeline ends.
    action_set: Vec<Action>,
    stack: Stack,
    rule: Option<RuleId>,
    rule_cookie: u64,
    /// The cookie of the first flow, which the action set goes by.
    first_cookie: Option<u64>,
    /// How many lookups led back to the same or an earlier table, and how many are under way.
    depth: usize,
    nested: usize,
    /// How many actions were executed.
    steps: usize,
    resubmits: usize,
    mirrors: u32,
    /// The queue that the packet came with.
    first_priority: u32,
    /// Whether what connection tracking said of the packet counts.
    conntracked: bool,
    /// Whether what is below an MPLS label stack came to light, unseen.
    was_mpls: bool,
    /// The mark of congestion that it has from the tunnel that it came through, if that is another than before.
    mark_brought_in: Option<u8>,
    /// Something was moved into a header of the network layer: it is written whatever the protocol is.
    moved_to_network: bool,
    /// What the key says of a tunnel is, but for what was written, of the one that the packet came through.
    has_own_tunnel: bool,
    /// Something was sent through a tunnel with the options that the packet has.
    carries_options: bool,
    /// What is done to headers by the next commit.
    pending: encap::Pending,
    /// Within a bucket of a group, the action set, a controller's own list.
    in_group: bool,
    in_action_set: bool,
    in_packet_out: bool,
    /// Nothing more is executed.
    exit: bool,
    /// The rest is left for later.
    freezing: Option<freeze::Cause>,
    frozen: Vec<Step>,
    slow: SlowPath,
    /// Why nothing was sent, if something said so.
    reason: Option<DropReason>,
    /// A limit was hit: nothing more is executed, and what was written counts for nothing.
    failed: Option<DropReason>,
    tracer: Option<Tracer>,
    /// The trace has names for ports.
    named: bool,
}

/// How long a list of actions is that grows.
#[derive(Clone, Copy, Default)]
struct Written {
    actions: usize,
    bytes: usize,
}

impl Written {
    /// About as many bytes as netlink takes for the list, of which only what is new is looked at.
    fn bytes(&mut self, list: &[DpAction]) -> usize {
        if list.len() < self.actions {
            *self = Written::default();
        }
        self.bytes += list.iter().skip(self.actions).map(len_of).sum::<usize>();
        self.actions = list.len();
        self.bytes
    }
}

/// About as many bytes as netlink takes for an action.
fn len_of(action: &DpAction) -> usize {
    const HEADER: usize = 4;
    match action {
        DpAction::PopVlan | DpAction::PopEth | DpAction::PopNsh | DpAction::CtClear => HEADER,
        DpAction::Set(_, to) => 2 * HEADER + 16 * to.words().len(),
        DpAction::Userspace(_) | DpAction::PushNsh { .. } | DpAction::Ct(_) => 64,
        a => 2 * HEADER + a.nested().flatten().map(len_of).sum::<usize>(),
    }
}

/// Translates a packet's key, in datapath port numbers.
pub(super) fn translate<'a>(view: View<'a>, key: &FlowKey, tracer: Option<Tracer>) -> Outcome {
    let id = key.recirc_id.get();
    let frozen = (id != 0).then(|| view.recirc.thaw(id));
    let ingress = view.own.ports.of_key(key);
    Translator::run(view, key, ingress, tracer, |t| match frozen {
        None => t.start(ingress),
        Some(Some(state)) => t.thaw(&state),
        Some(None) => t.fail(DropReason::UnknownRecirculation, || format!("no state is frozen under {id:#x}")),
    })
}

/// Translates the key of a packet that is taken to have come in by a port of this number, whether that is there or not.
pub(super) fn translate_from<'a>(view: View<'a>, key: &FlowKey, in_port: OfPort, tracer: Option<Tracer>) -> Outcome {
    let ingress = view.own.ports.get(in_port);
    Translator::run(view, key, ingress, tracer, |t| {
        if ingress.is_some() {
            return t.start(ingress);
        }
        t.enter(in_port);
        t.trace(Kind::Bridge, |t| format!("bridge(\"{}\")", t.bridge.name));
        t.descend();
        t.lookup_and_execute(walk::Lookup::default(), true);
        t.end_of_pipeline();
        t.ascend();
    })
}

/// Translates actions for a packet of the switch's own making, as if it had come in by `in_port`.
pub(super) fn translate_actions<'a>(
    view: View<'a>,
    key: &FlowKey,
    in_port: OfPort,
    actions: &[Action],
    tracer: Option<Tracer>,
) -> Outcome {
    Translator::run(view, key, None, tracer, |t| {
        t.enter(in_port);
        t.in_packet_out = true;
        t.trace(Kind::Bridge, |t| format!("bridge(\"{}\")", t.bridge.name));
        t.descend();
        t.execute(actions, true);
        t.end_of_pipeline();
        t.ascend();
    })
}

impl<'a> Translator<'a> {
    /// Has `f` translate a packet. The translator is some thousand bytes, and is made where it stays.
    fn run(
        mut view: View<'a>,
        key: &FlowKey,
        ingress: Option<&Port>,
        tracer: Option<Tracer>,
        f: impl FnOnce(&mut Translator<'a>),
    ) -> Outcome {
        let (at, bridge) = (view.at, view.own);
        let in_port = ingress.map_or(OfPort::ANY, |p| p.number);
        let Room { effects, actions, dependencies, read } = std::mem::take(&mut view.room);
        let mut read = read.unwrap_or_default();
        read.first = *key;
        // Few packets have options of tunnels.
        let unpacked =
            if key.tun_present == 0 { Ok(()) } else { bridge.tlv.unpack(key).map(|unpacked| read.first = unpacked) };
        // A flow of OpenFlow does not see recirculation: it is one pass to it.
        let first = &mut read.first;
        (first.in_port, first.recirc_id) = (in_port.0.into(), 0.into());
        first.actset_output = OfPort::UNSET.0.into();
        let mut t = Translator {
            view,
            bridge,
            at,
            tracked: Tracked::new(*first),
            read: Some(read),
            base: *key,
            in_port,
            table: 0,
            out: actions,
            written: Written::default(),
            effects,
            reports: Vec::new(),
            dependencies,
            action_set: Vec::new(),
            stack: Stack::new(),
            rule: None,
            rule_cookie: u64::MAX,
            first_cookie: None,
            depth: 0,
            nested: 0,
            steps: 0,
            resubmits: 0,
            mirrors: 0,
            first_priority: key.skb_priority.get(),
            conntracked: key.ct_state != 0,
            was_mpls: false,
            mark_brought_in: None,
            moved_to_network: false,
            has_own_tunnel: is_tunnelled(key),
            carries_options: false,
            pending: encap::Pending::None,
            in_group: false,
            in_action_set: false,
            in_packet_out: false,
            exit: false,
            freezing: None,
            frozen: Vec::new(),
            slow: SlowPath::empty(),
            reason: None,
            failed: None,
            named: tracer.as_ref().is_some_and(|t| t.named),
            tracer,
        };
        t.tracked.verify(t.view.verifies);
        if t.has_own_tunnel {
            // What tells one tunnel from another always counts.
            t.tracked.note(tunnel::identity(key));
        }
        // The datapath forgets the tunnel that a packet came through unless it is told.
        t.base.recirc_id = 0.into();
        let tunnel = commit::tunnel_mask();
        if t.base.words().iter().zip(tunnel.bits.words()).fold(0, |bits, (word, mask)| bits | word & mask) != 0 {
            t.base.assign(&FlowKey::ZERO, tunnel);
        }
        if let Err(e) = unpacked {
            t.tracked.note(commit::tunnel_mask());
            let name = t.bridge.name;
            let mut flow = *t.first();
            flow.assign(&FlowKey::ZERO, commit::tunnel_mask());
            flow.actset_output = 0.into();
            let flow = packet_match(&flow);
            tracing::warn!(
                target: "ofproto_dpif_xlate", "Invalid Geneve tunnel metadata on bridge {name} while processing {flow}"
            );
            t.fail(DropReason::TunnelMetadata, || format!("the options of the tunnel cannot be read: {e}"));
        }
        f(&mut t);
        t.finish(key)
    }

    /// The packet as it came, in the words of OpenFlow.
    fn first(&self) -> &FlowKey {
        self.read.as_ref().map_or(&FlowKey::ZERO, |read| &read.first)
    }

    /// The packet is taken to have come in by `port`.
    fn enter(&mut self, port: OfPort) {
        self.in_port = port;
        self.tracked.restore(FieldId::InPortOxm, port.0.into());
    }

    /// A packet as it came from a port.
    fn start(&mut self, ingress: Option<&Port>) {
        self.trace(Kind::Bridge, |t| format!("bridge(\"{}\")", t.bridge.name));
        self.descend();
        match ingress {
            None if is_tunnelled(self.first()) => {
                self.fail(DropReason::UnknownIngress, || "no OpenFlow tunnel port for this packet".to_string());
            }
            None => self.fail(DropReason::UnknownIngress, || "the ingress port is unknown".to_string()),
            Some(port) if !self.may_receive(port) => {
                self.fail(DropReason::ForwardingDisabled, || "the ingress port takes no packets in".to_string());
            }
            Some(_) if self.failed.is_some() => {}
            Some(port) => {
                if !self.leave_tunnel(port) {
                    return self.ascend();
                }
                self.lookup_and_execute(walk::Lookup::default(), true);
                self.end_of_pipeline();
                self.serve_in_band();
            }
        }
        self.ascend();
    }

    /// Whether a port takes the packet in.
    fn may_receive(&mut self, port: &Port) -> bool {
        let plain = port.receives(false);
        // Only where it matters is the packet looked at.
        if plain == port.receives(true) {
            return plain;
        }
        port.receives(self.tracked.read(FieldId::EthDst) == STP_ADDRESS)
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push((self.at, effect));
    }

    /// What a copy of the packet goes through after which nothing comes, the packet may go through itself.
    fn unwrap_last(&mut self) {
        if matches!(self.out.last(), Some(DpAction::Clone(_)))
            && let Some(DpAction::Clone(inner)) = self.out.pop()
        {
            self.out.extend(inner);
        }
    }

    fn finish(&mut self, key: &FlowKey) -> Outcome {
        let wanted = self.slow.is_empty();
        if self.written.bytes(&self.out) > MAX_BYTES {
            self.slow |= SlowPath::ACTION;
        }
        if let Some(reason) = self.failed {
            self.out.clear();
            self.reason = Some(reason);
        }
        self.unwrap_last();
        let is_only_seen = self.view.own.hooks.drops_sampled && self.out.last().is_some_and(sample::is_observation);
        // Elsewhere nothing at all is a drop, too.
        if self.view.features.explicit_drop && (is_only_seen || self.out.is_empty() && wanted) {
            self.out.push(DpAction::Drop(self.reason.unwrap_or(DropReason::NoOutput)));
        }
        self.dependencies.volatile |= self.tracked.is_conjoined();
        self.dependencies.groups.sort_unstable();
        self.dependencies.groups.dedup();
        let mut read = self.read.take().unwrap_or_default();
        self.tracked.seen_into(&mut read.seen);
        read.mask = *self.tracked.mask();
        let options = self.tracer.is_some().then(|| {
            let options = FlowMask { bits: read.mask.bits.masked(&OPTIONS) };
            Box::new(self.bridge.tlv.lift(&Match::new(read.first, options)))
        });
        let is_told = self.tracer.is_some() && self.failed.is_some();
        let registers = is_told.then(|| Box::new(FlowMask { bits: read.mask.bits.masked(pipeline_mask()) }));
        let has_options = key.tun_present != 0 || read.mask.bits.tun_present != 0 || self.carries_options;
        if has_options && let Ok(packed) = self.bridge.tlv.pack_mask(key, &read.mask) {
            read.mask = packed;
        }
        to_datapath(&mut read.mask, key);
        let tag_asked = key.vlan_tci != 0 && read.mask.bits.vlan_tci != 0;
        if key.vlan_tci != 0 && !tag_asked {
            // As upstream has it, whose keys cannot tell a tag that nobody asked for from none.
            read.mask.bits.vlan_tci.set(VLAN_PRESENT | VLAN_VID_MASK);
        }
        read.mask |= &ALWAYS;
        let translation = Translation {
            read,
            actions: std::mem::take(&mut self.out),
            effects: std::mem::take(&mut self.effects),
            dependencies: std::mem::take(&mut self.dependencies),
            slow: self.slow,
        };
        Outcome {
            translation,
            reports: std::mem::take(&mut self.reports),
            last: self.tracer.is_some().then(|| Box::new(*self.tracked.shown())),
            options,
            registers,
            tracer: self.tracer.take(),
            failed: self.failed,
            tag_asked,
        }
    }
}

impl std::fmt::Debug for BridgeView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BridgeView").field(&self.name).finish()
    }
}
