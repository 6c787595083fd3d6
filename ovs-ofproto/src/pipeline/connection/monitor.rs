//! Flow monitors: which changes of flows a controller is told of (OpenFlow 1.5, section 7.3.5.19; Nicira's and the ONF's
//! extensions).
//!
//! A controller that does not read what it is told makes monitoring *pause*: from then on it is told only of flows that
//! end and that it knows. What else came or changed is noted, by flow, and told when it has read all: so what is noted is
//! never more than the flows that there are.

use std::collections::{BTreeMap, BTreeSet};

use super::limits;
use crate::codec::{FlowChange, FlowEvent, FlowMonitorRequest, FlowUpdate, MonitorCommand, MonitorFlags, OfError};
use crate::flow_mod::ALL_TABLES;
use crate::pipeline::flow_table::{Flow, RuleId, TABLES};

/// What happened while monitoring paused.
#[derive(Default, Debug)]
struct Missed {
    added: BTreeSet<RuleId>,
    modified: BTreeSet<RuleId>,
}

/// The monitors of a connection.
#[derive(Default, Debug)]
pub(in crate::pipeline) struct Monitors {
    all: BTreeMap<u32, FlowMonitorRequest>,
    paused: Option<Missed>,
    /// What the change under way has to tell.
    updates: Vec<FlowUpdate>,
    abbreviated: bool,
}

/// A change of one flow, with the identity that it had and has.
#[derive(Clone, Copy)]
pub(in crate::pipeline) struct Change<'a> {
    pub(in crate::pipeline) event: FlowEvent,
    pub(in crate::pipeline) flow: &'a Flow,
    pub(in crate::pipeline) id: RuleId,
    pub(in crate::pipeline) old: Option<RuleId>,
    /// Whose request it was: this connection's, with this xid.
    pub(in crate::pipeline) own: Option<u32>,
}

fn describe(event: FlowEvent, flow: &Flow, flags: MonitorFlags) -> FlowUpdate {
    let mut c = FlowChange {
        event,
        table: flow.table,
        cookie: flow.cookie,
        matching: flow.matching.clone(),
        ..FlowChange::default()
    };
    c.priority = u16::try_from(flow.priority).unwrap_or(u16::MAX);
    (c.idle_timeout, c.hard_timeout) = (flow.idle_timeout, flow.hard_timeout);
    if flags.contains(MonitorFlags::INSTRUCTIONS) {
        c.instructions.clone_from(&flow.instructions);
    }
    FlowUpdate::Change(Box::new(c))
}

impl Monitors {
    /// Whether there is any.
    pub(in crate::pipeline) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Begins, changes or ends a monitor. True if what is there is to be told.
    pub(in crate::pipeline) fn request(&mut self, r: &FlowMonitorRequest) -> Result<bool, OfError> {
        if r.command == MonitorCommand::Delete {
            return self.cancel(r.id).map(|()| false);
        }
        if r.table != ALL_TABLES && usize::from(r.table) >= TABLES {
            return Err(OfError::BadRequestBadTable);
        }
        let known = self.all.contains_key(&r.id);
        match r.command {
            MonitorCommand::Add if known => return Err(OfError::FlowMonitorMonitorExists),
            MonitorCommand::Modify if !known => return Err(OfError::FlowMonitorUnknownMonitor),
            _ if !known && self.all.len() >= limits::MONITORS => return Err(OfError::FlowMonitorUnknown),
            _ => {}
        }
        self.all.insert(r.id, r.clone());
        Ok(r.flags.contains(MonitorFlags::INITIAL))
    }

    /// Ends a monitor.
    pub(in crate::pipeline) fn cancel(&mut self, id: u32) -> Result<(), OfError> {
        self.all.remove(&id).map(drop).ok_or(OfError::FlowMonitorUnknownMonitor)
    }

    /// What monitors that ask for `kind` want to know of a flow.
    fn flags_for(&self, kind: MonitorFlags, concerns: impl Fn(&FlowMonitorRequest) -> bool) -> MonitorFlags {
        let asked = self.all.values().filter(|m| m.flags.contains(kind) && concerns(m));
        asked.fold(MonitorFlags::empty(), |flags, m| flags | m.flags)
    }

    /// Notes a change, to be told with the others of the same request.
    pub(in crate::pipeline) fn note(&mut self, c: Change<'_>, concerns: impl Fn(&FlowMonitorRequest) -> bool) {
        let kind = match c.event {
            FlowEvent::Removed(_) => MonitorFlags::REMOVED,
            FlowEvent::Modified => MonitorFlags::MODIFY,
            FlowEvent::Added | FlowEvent::Initial => MonitorFlags::ADD,
        };
        let flags = self.flags_for(kind, concerns);
        if let Some(missed) = &mut self.paused {
            let was_added = c.old.is_some_and(|old| missed.added.remove(&old));
            if let Some(old) = &c.old {
                missed.modified.remove(old);
            }
            if !matches!(c.event, FlowEvent::Removed(_)) {
                let known = c.event == FlowEvent::Modified && !was_added;
                let noted = if known { &mut missed.modified } else { &mut missed.added };
                noted.insert(c.id);
                return;
            }
            missed.modified.remove(&c.id);
            // One that it never heard of.
            if missed.added.remove(&c.id) {
                return;
            }
        }
        if flags.is_empty() {
            return;
        }
        match c.own.filter(|_| !flags.contains(MonitorFlags::OWN) && self.paused.is_none()) {
            Some(_) if self.abbreviated => {}
            Some(xid) => {
                self.abbreviated = true;
                self.updates.push(FlowUpdate::Abbreviated(xid));
            }
            None => self.updates.push(describe(c.event, c.flow, flags)),
        }
    }

    /// What there is to tell.
    pub(in crate::pipeline) fn take_updates(&mut self) -> Vec<FlowUpdate> {
        std::mem::take(&mut self.updates)
    }

    /// What was told is all of one request.
    pub(in crate::pipeline) fn end_updates(&mut self) {
        self.abbreviated = false;
    }

    /// Pauses if that much waits to be read. True if it was not paused before.
    pub(in crate::pipeline) fn pause(&mut self, waiting: usize) -> bool {
        let pauses = self.paused.is_none() && waiting > limits::MONITOR_BYTES;
        if pauses {
            self.paused = Some(Missed::default());
        }
        pauses
    }

    pub(in crate::pipeline) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Ends a pause: what came and changed in it.
    pub(in crate::pipeline) fn resume(&mut self) -> Option<Vec<(RuleId, FlowEvent)>> {
        let missed = self.paused.take()?;
        let added = missed.added.into_iter().map(|id| (id, FlowEvent::Added));
        Some(added.chain(missed.modified.into_iter().map(|id| (id, FlowEvent::Modified))).collect())
    }

    /// A flow as it is told of now; nothing if no monitor concerns it.
    pub(in crate::pipeline) fn tell(
        &self,
        event: FlowEvent,
        flow: &Flow,
        concerns: impl Fn(&FlowMonitorRequest) -> bool,
    ) -> Option<FlowUpdate> {
        let kind = match event {
            FlowEvent::Initial => MonitorFlags::INITIAL,
            FlowEvent::Modified => MonitorFlags::MODIFY,
            _ => MonitorFlags::ADD,
        };
        let flags = self.flags_for(kind, concerns);
        (!flags.is_empty()).then(|| describe(event, flow, flags))
    }
}
