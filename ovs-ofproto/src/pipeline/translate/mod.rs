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
//! - `layers.rs` completes the mask by what the fields in it need.
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
mod mpls;
mod native;
mod normal;
mod output;
mod sample;
mod tunnel;
mod walk;

use std::net::IpAddr;
use std::sync::LazyLock;

use ovs_dpif::{DpAction, DropReason, Features, SlowPath, always_matched};
use ovs_packet::extract::{ETH_TYPE_IPV4, ETH_TYPE_IPV6, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_IGMP};
use ovs_packet::field::{FieldId, Prereq, TlvTable};
use ovs_packet::key::{FlowKey, FlowMask, Match, VLAN_PRESENT, VLAN_VID_MASK};
use ovs_packet::{EthAddr, OfPort};

use super::flow_table::{FlowTables, RuleId};
use super::group::{GroupKey, GroupTable};
use super::hooks::Hooks;
use super::l2::L2Config;
use super::mac::MacTable;
use super::meter::MeterTable;
use super::native::{Request, State as Underlay};
use super::ofproto::Fragments;
use super::port::{Port, Ports};
use super::recirc::{RecircIds, Stack, Step};
use super::snooping::Snooping;
use super::trace::{Kind, Tracer};
use super::tracing::describe;
use super::tracked::{Tracked, pipeline_mask};
use super::tunnel::is_tunnelled;
use crate::action::Action;
use crate::text::{InNames, NoNames, PortNames, packet_match};

pub(super) use freeze::connection_mask;
pub(super) use group::log_selection;
pub(super) use learn::Learned;

/// How many bytes of actions a datapath takes that is spoken to by netlink, whose lengths are numbers of 16 bits.
const MAX_BYTES: usize = 65_535;

/// How many values the stack holds: 64 kB of the widest ones.
const MAX_STACK: usize = 4096;

/// The group address of spanning trees (IEEE 802.1D-2004, table 7-10).
const STP_ADDRESS: u128 = 0x0180_c200_0000;

/// What a packet changes in the switch beside being forwarded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// It was looked up in this table and matched this rule.
    Rule {
        rule: RuleId,
        table: u8,
    },
    /// It was looked up in this table and matched nothing.
    Miss {
        table: u8,
    },
    /// Its source is behind this port.
    Station {
        vlan: u16,
        address: EthAddr,
        port: OfPort,
        gratuitous: bool,
    },
    /// It makes a flow.
    Learn(Box<Learned>),
    /// If it ends a TCP connection, the rule is to end soon after.
    FinTimeout {
        rule: RuleId,
        idle: u16,
        hard: u16,
    },
    /// It went through the bucket at this place of a group that sends to several.
    Bucket {
        group: GroupKey,
        bucket: usize,
    },
    /// It left by this end of a patch, or came in by it.
    Sent {
        port: OfPort,
    },
    Received {
        port: OfPort,
    },
    /// It is longer, or shorter, by so many bytes for what comes after.
    Grown {
        by: i32,
    },
    /// A neighbour of the switch's has this address.
    Neighbour {
        address: IpAddr,
        mac: EthAddr,
    },
    /// It goes by this neighbour.
    NeighbourUsed {
        address: IpAddr,
    },
    /// It went through a group, and the bucket at this place if one was chosen.
    Group {
        group: GroupKey,
        bucket: Option<usize>,
    },
}

impl Effect {
    /// Whether it is more than something counted.
    pub(super) fn is_learning(&self) -> bool {
        use Effect::{FinTimeout, Learn, Neighbour, Station};
        matches!(self, Station { .. } | Learn(_) | FinTimeout { .. } | Neighbour { .. })
    }
}

/// What of the switches a translation looked at.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Dependencies {
    /// Tables, by switch.
    pub(super) tables: Vec<(usize, [u64; 4])>,
    /// Groups, by switch and number.
    pub(super) groups: Vec<(usize, u32)>,
    /// Addresses asked for in tables of learnt addresses, by switch and VLAN.
    pub(super) stations: Vec<(usize, u16, EthAddr)>,
    /// Whether it asked who listens to group addresses, or what the limit of a `learn` left to make.
    pub(super) volatile: bool,
}

impl Dependencies {
    /// Forgets all, and keeps the room.
    pub(super) fn clear(&mut self) {
        self.tables.clear();
        self.groups.clear();
        self.stations.clear();
        self.volatile = false;
    }

    fn note_table(&mut self, bridge: usize, table: u8) {
        let at = self.tables.iter().position(|(b, _)| *b == bridge).unwrap_or_else(|| {
            self.tables.push((bridge, [0; 4]));
            self.tables.len() - 1
        });
        if let Some(word) = self.tables.get_mut(at).and_then(|(_, set)| set.get_mut(usize::from(table / 64))) {
            *word |= 1 << (table % 64);
        }
    }
}

/// What of a packet a translation read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Read {
    /// The key as the pipeline met it first.
    pub(super) first: FlowKey,
    /// What all lookups together saw of that: a flow that does not overlap this was none of them's business.
    pub(super) seen: FlowMask,
    /// What packets like this one have in common with it, in datapath port numbers.
    pub(super) mask: FlowMask,
}

/// Room that translations write to, to be used again: whoever is done with a [`Translation`] gives it back.
#[derive(Default, Debug)]
pub(super) struct Room {
    pub(super) effects: Vec<(usize, Effect)>,
    pub(super) actions: Vec<DpAction>,
    pub(super) dependencies: Dependencies,
    pub(super) read: Option<Box<Read>>,
}

/// The outcome of a translation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Translation {
    pub(super) read: Box<Read>,
    /// What the datapath does with them.
    pub(super) actions: Vec<DpAction>,
    /// What they change, and in which switch.
    pub(super) effects: Vec<(usize, Effect)>,
    /// What it depended on beside the packet.
    pub(super) dependencies: Dependencies,
    /// Whether each packet has to come up, and why.
    pub(super) slow: SlowPath,
}

/// The recirculation ids in actions.
pub(super) fn recirculations(actions: &[DpAction], id: &mut dyn FnMut(u32)) {
    for a in actions {
        match a {
            DpAction::Recirc(to) => id(*to),
            DpAction::Userspace(u) => {
                if let ovs_dpif::Cookie::Controller { recirc_id, .. } = u.cookie {
                    id(recirc_id);
                }
            }
            a => a.nested().for_each(|inner| recirculations(inner, id)),
        }
    }
}

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
    pub(super) underlay: &'a Underlay,
    pub(super) room: Room,
    /// Whether lookups are held against a search from end to end.
    pub(super) verifies: bool,
    /// How long the packet is, if there is one.
    pub(super) packet_len: Option<usize>,
}

/// What one packet does, beside what all packets of its megaflow do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Report {
    /// What it says of who listens to group addresses.
    Snoop { bridge: usize, vlan: u16, port: OfPort },
    /// It needs the address of a neighbour, who is to be asked; whoever is.
    Ask(Request),
    /// It came from a neighbour with this address.
    Neighbour { bridge: usize, address: IpAddr, mac: EthAddr },
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

/// What came of a translation, with what concerns the one packet.
pub(super) struct Outcome {
    pub(super) translation: Translation,
    pub(super) reports: Vec<Report>,
    pub(super) tracer: Option<Tracer>,
    /// The key as the pipeline left it, of a packet that is traced.
    pub(super) last: Option<Box<FlowKey>>,
    /// What was read of the options of its tunnel, as flows have it, of a packet that is traced.
    pub(super) options: Option<Box<Match>>,
    /// What was read of registers and metadata, of a packet that is traced and whose translation failed.
    pub(super) registers: Option<Box<FlowMask>>,
    /// A limit that was hit.
    pub(super) failed: Option<DropReason>,
    /// The packet has a tag that was asked for. That there is none follows from the Ethertype.
    pub(super) tag_asked: bool,
}

/// Translates a packet's key, in datapath port numbers.
pub(super) fn translate<'a>(view: View<'a>, key: &FlowKey, tracer: Option<Tracer>) -> Outcome {
    let id = key.recirc_id.get();
    let frozen = (id != 0).then(|| view.recirc.thaw(id));
    let ingress = view.own.ports.of_key(key);
    let mut t = Translator::new(view, key, ingress, tracer);
    match frozen {
        None => t.start(ingress),
        Some(Some(state)) => t.thaw(&state),
        Some(None) => t.fail(DropReason::UnknownRecirculation, || format!("no state is frozen under {id:#x}")),
    }
    t.finish(key)
}

/// Translates the key of a packet that is taken to have come in by a port of this number, whether that is there or not.
pub(super) fn translate_from<'a>(view: View<'a>, key: &FlowKey, in_port: OfPort, tracer: Option<Tracer>) -> Outcome {
    let ingress = view.own.ports.get(in_port);
    let mut t = Translator::new(view, key, ingress, tracer);
    if ingress.is_some() {
        t.start(ingress);
        return t.finish(key);
    }
    t.enter(in_port);
    t.trace(Kind::Bridge, |t| format!("bridge(\"{}\")", t.bridge.name));
    t.descend();
    t.lookup_and_execute(walk::Lookup::default(), true);
    t.end_of_pipeline();
    t.ascend();
    t.finish(key)
}

/// Translates actions for a packet of the switch's own making, as if it had come in by `in_port`.
pub(super) fn translate_actions<'a>(
    view: View<'a>,
    key: &FlowKey,
    in_port: OfPort,
    actions: &[Action],
    tracer: Option<Tracer>,
) -> Outcome {
    let mut t = Translator::new(view, key, None, tracer);
    t.enter(in_port);
    t.in_packet_out = true;
    t.trace(Kind::Bridge, |t| format!("bridge(\"{}\")", t.bridge.name));
    t.descend();
    t.execute(actions, true);
    t.end_of_pipeline();
    t.ascend();
    t.finish(key)
}

impl<'a> Translator<'a> {
    fn new(mut view: View<'a>, key: &FlowKey, ingress: Option<&Port>, tracer: Option<Tracer>) -> Translator<'a> {
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
        let mut tracked = Tracked::new(*first);
        tracked.verify(view.verifies);
        if is_tunnelled(first) {
            // What tells one tunnel from another always counts.
            tracked.note(tunnel::identity(first));
        }
        // The datapath forgets the tunnel that a packet came through unless it is told.
        let mut base = *key;
        base.recirc_id = 0.into();
        let tunnel = commit::tunnel_mask();
        if base.words().iter().zip(tunnel.bits.words()).fold(0, |bits, (word, mask)| bits | word & mask) != 0 {
            base.assign(&FlowKey::ZERO, tunnel);
        }
        let mut t = Translator {
            view,
            bridge,
            at,
            read: Some(read),
            tracked,
            base,
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
        t
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

    /// Gives the translation up.
    fn fail(&mut self, reason: DropReason, text: impl FnOnce() -> String) {
        self.trace(Kind::Error, |_| text());
        self.failed = self.failed.or(Some(reason));
    }

    /// The same, for a reason that lies in the flows: who set them up is told.
    fn give_up(&mut self, reason: DropReason, text: impl FnOnce() -> String) {
        self.complain(text);
        self.failed = self.failed.or(Some(reason));
    }

    /// Says what flows make of a packet that can hardly be meant: to who traces it, or else to the log.
    fn complain(&mut self, text: impl FnOnce() -> String) {
        if self.tracer.is_some() {
            return self.trace(Kind::Error, |_| text());
        }
        // That nothing is to be sent yet is not of the packet.
        let (name, key) = (self.bridge.name, FlowKey { actset_output: 0.into(), ..*self.first() });
        tracing::warn!(target: "ofproto_dpif_xlate", "{} on bridge {name} while processing {}", text(), describe(&key));
    }

    /// Notes why a packet might have been sent nowhere.
    fn because(&mut self, reason: DropReason) {
        self.reason = self.reason.or(Some(reason));
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push((self.at, effect));
    }

    // Tracing.

    /// Writes a line of the trace.
    fn trace(&mut self, kind: Kind, text: impl FnOnce(&Translator<'a>) -> String) {
        if let Some(mut tracer) = self.tracer.take() {
            tracer.add(kind, text(self));
            self.tracer = Some(tracer);
        }
    }

    /// Whether there is no packet that controllers could hear of.
    fn is_quiet(&self) -> bool {
        self.tracer.as_ref().is_some_and(|t| !t.has_packet)
    }

    /// Words of a trace, with names for ports if it has them.
    fn worded<T: ?Sized>(&self, what: &T) -> String
    where
        for<'t> InNames<'t, T>: std::fmt::Display,
    {
        let names: &dyn PortNames = if self.named { self.bridge.ports } else { &NoNames };
        InNames(what, names).to_string()
    }

    fn detail(&mut self, text: impl FnOnce() -> String) {
        self.trace(Kind::Detail, |_| text());
    }

    fn warn(&mut self, text: impl FnOnce() -> String) {
        self.trace(Kind::Warn, |_| text());
    }

    /// The lines that follow belong to the last one.
    fn descend(&mut self) {
        if let Some(t) = &mut self.tracer {
            t.descend();
        }
    }

    fn ascend(&mut self) {
        if let Some(t) = &mut self.tracer {
            t.ascend();
        }
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
        if is_only_seen || self.out.is_empty() && wanted {
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

static ALWAYS: LazyLock<FlowMask> = LazyLock::new(always_matched);

/// Where a key has options of tunnels.
static OPTIONS: LazyLock<FlowMask> = LazyLock::new(|| {
    let mut mask = FlowMask::EMPTY;
    (mask.bits.tun_present, mask.bits.tun_metadata) = (u64::MAX.into(), [u8::MAX; 256]);
    mask
});

/// What a datapath's key has at all.
static OF_DATAPATHS: LazyLock<FlowMask> = LazyLock::new(|| {
    let mut mask = FlowMask::EMPTY;
    FieldId::all().filter(|f| f.info().attr.is_some()).for_each(|f| mask.add(f));
    let m = &mut mask.bits;
    (m.vlan_tpid, m.inner_vlan_tci, m.inner_vlan_tpid) = (u16::MAX.into(), u16::MAX.into(), u16::MAX.into());
    m.mpls_lse = [u32::MAX.into(); 3];
    m.ct_nw_proto = u8::MAX;
    (m.tun_tp_src, m.tun_tp_dst) = (u16::MAX.into(), u16::MAX.into());
    (m.tun_present, m.tun_metadata, m.tun_flags) = (u64::MAX.into(), [u8::MAX; 256], u8::MAX);
    mask
});

/// All that a packet with this key has for a datapath.
pub(super) fn exact_mask(key: &FlowKey) -> FlowMask {
    let mut mask = FlowMask::EMPTY;
    let known = FieldId::all().filter(|f| f.info().attr.is_some() && f.info().prereq.holds(key));
    let tunnel = commit::tunnel_mask();
    known.filter(|f| f.info().get(&tunnel.bits) == 0 || f.info().get(key) != 0).for_each(|f| mask.add(f));
    to_datapath(&mut mask, key);
    mask
}

/// Leaves of a mask the bits that a datapath knows, in a packet with this key.
fn to_datapath(mask: &mut FlowMask, key: &FlowKey) {
    mask.bits.words_mut().iter_mut().zip(OF_DATAPATHS.bits.words()).for_each(|(m, known)| *m &= known);
    let m = &mut mask.bits;
    // Type and code of ICMP are bytes where others have ports: their upper bytes are zero for every such packet.
    if matches!(key.nw_proto, IP_PROTO_ICMP | IP_PROTO_ICMPV6) {
        (m.tp_src, m.tp_dst) = ((m.tp_src.get() & 0xff).into(), (m.tp_dst.get() & 0xff).into());
    }
    // The type of an IGMP message is no field of datapaths.
    if key.nw_proto == IP_PROTO_IGMP && key.eth_type.get() == ETH_TYPE_IPV4 {
        (m.tp_src, m.tp_dst) = (0.into(), 0.into());
    }
    layers::require(m, key);
    // Of fragments, every packet that is none has but that.
    if !matches!(key.eth_type.get(), ETH_TYPE_IPV4 | ETH_TYPE_IPV6) {
        m.nw_frag = 0;
    }
    // What pushed labels were read of is not the packet's.
    if !Prereq::Mpls.holds(key) {
        m.mpls_lse = [0.into(); 3];
    }
    // What came through no tunnel tells of none, as its port says.
    if !is_tunnelled(key) {
        let bits = m.words_mut().iter_mut().zip(commit::tunnel_mask().bits.words());
        bits.for_each(|(m, tunnel)| *m &= !tunnel);
    }
    // An outer header is of one family.
    match key.tun_dst.get() {
        0 => (m.tun_src, m.tun_dst) = (0.into(), 0.into()),
        _ => (m.tun_ipv6_src, m.tun_ipv6_dst) = (0.into(), 0.into()),
    }
    // Of a tag that is not there, nothing is.
    for (tci, tpid, present) in [
        (&mut m.vlan_tci, &mut m.vlan_tpid, key.vlan_tci != 0),
        (&mut m.inner_vlan_tci, &mut m.inner_vlan_tpid, key.inner_vlan_tci != 0),
    ] {
        if *tci == 0 && *tpid == 0 {
            continue;
        }
        *tci = if present { (tci.get() | VLAN_PRESENT).into() } else { VLAN_PRESENT.into() };
        if !present {
            *tpid = 0.into();
        }
    }
}
