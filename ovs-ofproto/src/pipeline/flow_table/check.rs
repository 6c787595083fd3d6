//! Whether the switch can do what a flow says.

use ovs_packet::OfPort;
use ovs_packet::field::FieldId;
use ovs_packet::key::Match;

use super::{FlowModError, TABLES};
use crate::action::{Action, Instructions};
use crate::codec::check::check_loosely;
use crate::pipeline::MAX_NESTING;
use crate::pipeline::group::GroupTable;
use crate::pipeline::meter::MeterTable;

/// What flows may name.
#[derive(Clone, Copy)]
pub(in crate::pipeline) struct Known<'a> {
    pub(in crate::pipeline) groups: &'a GroupTable,
    pub(in crate::pipeline) meters: &'a MeterTable,
}

impl Known<'_> {
    /// Checks the instructions of a flow that matches `m` in `table`.
    pub(in crate::pipeline) fn check(
        &self,
        m: &Match,
        table: u8,
        instructions: &Instructions,
    ) -> Result<(), FlowModError> {
        // Whether all actions fit is for the version to say that the flow came in.
        check_loosely(m, table, instructions).map_err(FlowModError::Inconsistent)?;
        if let Some(goto) = instructions.goto.filter(|t| usize::from(*t) >= TABLES) {
            return Err(FlowModError::BadGoto(goto));
        }
        instructions.meter.map_or(Ok(()), |meter| self.meter(meter))?;
        self.check_actions(&instructions.apply)?;
        self.check_actions(instructions.written())
    }

    /// Checks actions that stand alone: those of a packet-out, or of a bucket.
    pub(in crate::pipeline) fn check_actions(&self, actions: &[Action]) -> Result<(), FlowModError> {
        self.list(actions, 0)
    }

    fn meter(&self, meter: u32) -> Result<(), FlowModError> {
        if self.meters.contains(meter) { Ok(()) } else { Err(FlowModError::NoMeter(meter)) }
    }

    fn list(&self, actions: &[Action], depth: usize) -> Result<(), FlowModError> {
        if depth > MAX_NESTING {
            return Err(FlowModError::BadAction("actions nest too deep"));
        }
        actions.iter().try_for_each(|a| self.one(a, depth))
    }

    fn one(&self, a: &Action, depth: usize) -> Result<(), FlowModError> {
        let tracks = |field| matches!(field, FieldId::CtMark | FieldId::CtLabel);
        if let Some((field, ..)) = a.as_set_field() {
            return match field {
                f if !f.info().writable => Err(FlowModError::BadAction("a field that cannot be set")),
                f if tracks(f) => {
                    Err(FlowModError::BadAction("ct_mark and ct_label are set inside ct(exec(...)) only"))
                }
                _ => Ok(()),
            };
        }
        match a {
            Action::Group(group) if self.groups.latest(*group).is_none() => Err(FlowModError::NoGroup(*group)),
            Action::Meter(meter) => self.meter(*meter),
            Action::Output { port, .. } | Action::OutputTruncated { port, .. } | Action::Enqueue { port, .. }
                if *port == OfPort::ANY || (*port > OfPort::MAX && *port != OfPort::LOCAL && !port.is_reserved()) =>
            {
                Err(FlowModError::BadPort(*port))
            }
            Action::PushVlan(tpid) if !matches!(tpid, 0x8100 | 0x88a8) => {
                Err(FlowModError::BadAction("push_vlan of a tag that is none"))
            }
            Action::Ct(ct) if ct.table.is_some_and(|t| usize::from(t) >= TABLES) => {
                Err(FlowModError::BadAction("ct into a table that is not there"))
            }
            Action::Ct(ct) => ct.exec.iter().try_for_each(|e| match e.as_set_field() {
                Some((field, ..)) if tracks(field) => Ok(()),
                None if matches!(e, Action::Nat(_) | Action::Move { .. }) => Ok(()),
                _ => Err(FlowModError::BadAction("ct(exec(...)) sets ct_mark and ct_label only")),
            }),
            Action::Clone(inner) => self.list(inner, depth + 1),
            _ => Ok(()),
        }
    }
}
