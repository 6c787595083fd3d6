//! What a megaflow's actions come to: most lists are short and go straight ahead.
//!
//! A list that changes the packet in place, tracks it, sends copies, and ends with an output or another lookup needs no
//! lists of packets of its own: it is done to the packets where they are in their batch, and the last action takes
//! them. Everything else, which may split a batch or hold packets, is left to the general way ([`super::execute`]); so
//! are fragments that are to be tracked.

use ovs_packet::{FlowKey, Packet, edit, key::FlowMask};

use crate::action::{DpAction, PortNo};

/// How a megaflow's actions are executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Program {
    /// There are none.
    Drop,
    /// The packets are sent to this port, and that is all.
    Output(PortNo),
    /// All but the last change packets in place, track them or send copies; the last takes the packets themselves.
    Straight(Last),
    /// Something else.
    General,
}

/// What becomes of packets in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Last {
    /// They are sent to this port.
    Output(PortNo),
    /// They are looked up again with this recirculation id.
    Recirc(u32),
}

impl Program {
    pub(super) fn of(actions: &[DpAction]) -> Program {
        match actions.split_last() {
            None => Program::Drop,
            Some((DpAction::Output(port), [])) => Program::Output(*port),
            Some((DpAction::Output(port), before)) if is_straight(before) => Program::Straight(Last::Output(*port)),
            Some((DpAction::Recirc(id), before)) if is_straight(before) && !before.iter().any(is_cut) => {
                Program::Straight(Last::Recirc(*id))
            }
            Some(_) => Program::General,
        }
    }
}

/// Whether actions can be done in place. An edit may bring a fragment to light, which is not tracked in place.
fn is_straight(actions: &[DpAction]) -> bool {
    let tracked = actions.iter().rposition(|a| matches!(a, DpAction::Ct(_))).map_or(0, |at| at + 1);
    let simple = |a: &DpAction| matches!(a, DpAction::Output(_) | DpAction::Trunc(_) | DpAction::Ct(_));
    actions.iter().take(tracked).all(simple) && actions.iter().skip(tracked).all(|a| simple(a) || is_edit(a))
}

/// Whether what the action does is left to an output behind it, which may come after another lookup.
fn is_cut(action: &DpAction) -> bool {
    matches!(action, DpAction::Trunc(_))
}

/// Whether [`Editor::edit`] knows the action.
pub(crate) fn is_edit(action: &DpAction) -> bool {
    use DpAction::*;
    matches!(
        action,
        Set(..)
            | PushVlan { .. }
            | PopVlan
            | PushMpls { .. }
            | AddMpls { .. }
            | PopMpls(_)
            | PushEth { .. }
            | PopEth
            | PushNsh { .. }
            | PopNsh
            | CtClear
    )
}

/// Room for the values of a `set` in full width, all zero between two uses.
pub(crate) struct Editor {
    values: Box<FlowKey>,
    mask: Box<FlowMask>,
}

impl Editor {
    pub(crate) fn new() -> Editor {
        Editor { values: Box::default(), mask: Box::new(FlowMask::EMPTY) }
    }

    /// Changes packets in place, and calls `failed` with the place of each that cannot be changed.
    pub(crate) fn edit<'p>(
        &mut self,
        action: &DpAction,
        packets: impl Iterator<Item = (usize, &'p mut Packet)>,
        mut failed: impl FnMut(usize),
    ) {
        let mut all = |packets: &mut dyn Iterator<Item = (usize, &'p mut Packet)>,
                       edit: &mut dyn FnMut(&mut Packet) -> Result<(), edit::EditError>| {
            packets.for_each(|(place, packet)| {
                if edit(packet).is_err() {
                    failed(place);
                }
            });
        };
        let mut packets = packets;
        let packets = &mut packets;
        match action {
            DpAction::Set(attr, to) => {
                self.fill(to.words().map(|(i, value, mask)| (i, value & mask, mask)));
                all(packets, &mut |packet| edit::set(packet, *attr, &self.values, &self.mask));
                self.fill(to.words().map(|(i, ..)| (i, 0, 0)));
            }
            DpAction::PushVlan { tpid, tci } => packets.for_each(|(_, p)| edit::push_vlan(p, *tpid, *tci)),
            DpAction::PopVlan => packets.for_each(|(_, p)| edit::pop_vlan(p)),
            DpAction::PushMpls { eth_type, lse } => all(packets, &mut |p| edit::push_mpls(p, *eth_type, *lse)),
            DpAction::AddMpls { eth_type, lse } => all(packets, &mut |p| edit::add_mpls(p, *eth_type, *lse)),
            DpAction::PopMpls(eth_type) => all(packets, &mut |p| edit::pop_mpls(p, *eth_type)),
            DpAction::PushEth { src, dst } => all(packets, &mut |p| edit::push_eth(p, *dst, *src)),
            DpAction::PopEth => all(packets, &mut edit::pop_eth),
            DpAction::PushNsh { header, metadata } => {
                let header = FlowKey::from(header);
                all(packets, &mut |p| edit::push_nsh(p, &header, metadata));
            }
            DpAction::PopNsh => all(packets, &mut edit::pop_nsh),
            DpAction::CtClear => packets.for_each(|(_, p)| p.meta.ct = Default::default()),
            _ => {}
        }
    }

    fn fill(&mut self, words: impl Iterator<Item = (usize, u64, u64)>) {
        let (values, masks) = (self.values.words_mut(), self.mask.bits.words_mut());
        for (i, value, mask) in words {
            if let (Some(to), Some(bits)) = (values.get_mut(i), masks.get_mut(i)) {
                (*to, *bits) = (value, mask);
            }
        }
    }
}
