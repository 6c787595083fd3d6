//! Translation: from a packet's key to what the datapath should do with packets like it.
//!
//! A translation walks the flow tables as OpenFlow says and writes down datapath actions instead of executing them. It
//! reads the key through [`Tracked`], so its mask covers all that the outcome depended on. What a packet would change in
//! the switch (counters, learnt addresses) is written down too, as [`Effect`]s, and credited with every packet that
//! takes the megaflow later.
//!
//! - `actions.rs` walks tables and actions, `commit.rs` turns changed fields into datapath actions, `normal.rs` is the
//!   NORMAL action.

mod actions;
mod commit;
mod normal;

use std::collections::HashSet;

use ovs_dpif::{DpAction, DropReason, PortNo, always_matched};
use ovs_packet::extract::{IP_PROTO_ICMP, IP_PROTO_ICMPV6};
use ovs_packet::field::FieldId;
use ovs_packet::key::{FlowKey, FlowMask, Match, REGISTERS, VLAN_PRESENT};
use ovs_packet::{EthAddr, OfPort};

use super::flow_table::{FlowTables, RuleId};
use super::mac::MacTable;
use super::port::{Port, Ports};
use super::recirc::{Frozen, RecircIds};
use super::tracked::Tracked;
use crate::action::Action;

/// What a packet changes in the switch beside being forwarded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// It matched this rule.
    Rule(RuleId),
    /// It was looked up in this table and matched, or did not.
    Table { table: u8, matched: bool },
    /// Its source is behind this port.
    Learn { vlan: u16, address: EthAddr, port: OfPort },
}

/// The outcome of a translation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Translation {
    /// What packets like this one have in common, in datapath port numbers.
    pub(super) matching: Match,
    /// What the datapath does with them.
    pub(super) actions: Vec<DpAction>,
    /// What they change.
    pub(super) effects: Vec<Effect>,
    /// Whom it asked for in the table of learnt addresses, by VLAN and address.
    pub(super) stations: Vec<(u16, EthAddr)>,
}

impl Translation {
    /// The recirculation ids that packets of this megaflow come from or go to.
    pub(super) fn recirculations(&self, ids: &mut HashSet<u32>) {
        fn of(actions: &[DpAction], ids: &mut HashSet<u32>) {
            for a in actions {
                match a {
                    DpAction::Recirc(id) => drop(ids.insert(*id)),
                    DpAction::Clone(inner) => of(inner, ids),
                    _ => {}
                }
            }
        }
        ids.insert(self.matching.key().recirc_id.get());
        of(&self.actions, ids);
    }
}

/// What of the switch a translation sees.
pub(super) struct View<'a> {
    pub(super) tables: &'a FlowTables,
    pub(super) ports: &'a Ports,
    pub(super) macs: &'a MacTable,
    pub(super) recirc: &'a mut RecircIds,
}

/// A translation under way.
struct Translator<'a> {
    view: View<'a>,
    tracked: Tracked,
    /// The key as the packet is after the datapath actions written so far.
    base: FlowKey,
    in_port: OfPort,
    table: u8,
    out: Vec<DpAction>,
    effects: Vec<Effect>,
    stations: Vec<(u16, EthAddr)>,
    /// Actions to execute where the pipeline ends.
    action_set: Vec<Action>,
    rule_cookie: u64,
    depth: usize,
    resubmits: usize,
    /// Why nothing was sent, if something said so.
    reason: Option<DropReason>,
    /// A limit was hit: nothing more is executed, and what was written counts for nothing.
    failed: bool,
}

/// Translates a packet's key, in datapath port numbers. The packet itself is not at hand: what depends on more than
/// its key is left to the datapath.
pub(super) fn translate(view: View<'_>, key: &FlowKey) -> Translation {
    let ingress = view.ports.of_datapath(PortNo(key.in_port.get())).cloned();
    let id = key.recirc_id.get();
    let frozen = (id != 0).then(|| view.recirc.thaw(id));
    let reason = match (&ingress, &frozen) {
        (None, _) => Some(DropReason::UnknownIngress),
        (_, Some(None)) => Some(DropReason::UnknownRecirculation),
        _ => None,
    };
    let mut t = Translator::new(view, key, ingress.as_ref(), frozen.flatten().as_deref());
    match reason {
        Some(reason) => t.reason = Some(reason),
        None => t.run(),
    }
    t.finish(key)
}

/// Translates actions for a packet of the switch's own making, as if it had come in by `in_port`.
pub(super) fn translate_actions(view: View<'_>, key: &FlowKey, in_port: OfPort, actions: &[Action]) -> Translation {
    let mut t = Translator::new(view, key, None, None);
    t.in_port = in_port;
    t.tracked.restore(FieldId::InPortOxm, in_port.0.into());
    t.execute(actions);
    t.finish(key)
}

impl<'a> Translator<'a> {
    fn new(view: View<'a>, key: &FlowKey, ingress: Option<&Port>, frozen: Option<&Frozen>) -> Translator<'a> {
        let number = ingress.map_or(OfPort::ANY, |p| p.number);
        let mut tracked = Tracked::new(*key);
        tracked.restore(FieldId::InPortOxm, number.0.into());
        // A flow of OpenFlow does not see recirculation: it is one pass to it.
        tracked.restore(FieldId::RecircId, 0);
        let mut in_port = number;
        if let Some(frozen) = frozen {
            in_port = frozen.in_port;
            tracked.restore(FieldId::InPortOxm, frozen.in_port.0.into());
            tracked.restore(FieldId::Metadata, frozen.metadata.into());
            let registers = (0..REGISTERS).filter_map(FieldId::reg);
            registers.zip(frozen.registers).for_each(|(f, v)| tracked.restore(f, v.into()));
        }
        Translator {
            view,
            tracked,
            base: *key,
            in_port,
            table: frozen.map_or(0, |f| f.table),
            out: Vec::new(),
            effects: Vec::new(),
            stations: Vec::new(),
            action_set: Vec::new(),
            rule_cookie: 0,
            depth: 0,
            resubmits: 0,
            reason: None,
            failed: false,
        }
    }

    fn run(&mut self) {
        self.lookup_and_execute(self.table, None);
        let set = std::mem::take(&mut self.action_set);
        self.execute(&set);
    }

    fn finish(mut self, key: &FlowKey) -> Translation {
        if self.failed {
            self.out.clear();
            self.reason = Some(DropReason::TooManyResubmits);
        }
        if self.out.is_empty() {
            self.out.push(DpAction::Drop(self.reason.unwrap_or(DropReason::NoOutput)));
        }
        let mut mask = datapath_mask(self.tracked.mask(), key);
        mask |= &always_matched();
        Translation {
            matching: Match::new(*key, mask),
            actions: self.out,
            effects: self.effects,
            stations: self.stations,
        }
    }
}

/// The bits of a mask that a datapath knows, in a packet with this key.
fn datapath_mask(mask: &FlowMask, key: &FlowKey) -> FlowMask {
    let mut mask = *mask;
    FieldId::all().filter(|f| f.info().attr.is_none()).for_each(|f| f.info().put(&mut mask.bits, 0));
    let m = &mut mask.bits;
    // Type and code of ICMP are bytes where others have ports: their upper bytes are zero for every such packet.
    if matches!(key.nw_proto, IP_PROTO_ICMP | IP_PROTO_ICMPV6) {
        (m.tp_src, m.tp_dst) = ((m.tp_src.get() & 0xff).into(), (m.tp_dst.get() & 0xff).into());
    }
    // Of a tag that is not there, nothing is.
    for (tci, tpid, present) in [
        (&mut m.vlan_tci, &mut m.vlan_tpid, key.vlan_tci != 0),
        (&mut m.inner_vlan_tci, &mut m.inner_vlan_tpid, key.inner_vlan_tci != 0),
    ] {
        if !present && *tci != 0 {
            (*tci, *tpid) = (VLAN_PRESENT.into(), 0.into());
        }
    }
    mask
}
