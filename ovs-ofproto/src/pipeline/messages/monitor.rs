//! Telling controllers of changes of flows.

use super::{Answer, Request, pages};
use crate::codec::{FlowEvent, FlowMonitorRequest, FlowUpdate, Message, OfError, Page, Version};
use crate::flow_mod::ALL_TABLES;
use crate::pipeline::connection::{Change, Connection, ConnectionId};
use crate::pipeline::flow_table::{Criteria, Flow, FlowTables, Log, RuleId, Step};
use crate::pipeline::ofproto::Ofproto;
use crate::session::Class;
use ovs_packet::field::TlvTable;

/// How many bytes an update takes at most, nearly.
fn len(u: &FlowUpdate) -> usize {
    match u {
        FlowUpdate::Change(c) => 1024 + 128 * (c.instructions.apply.len() + c.instructions.written().len()),
        _ => 16,
    }
}

/// Whether a monitor is about a flow, which was `before`. Whoever looks at a port hears, too, of a flow that ceases to output
/// to it; whoever looks at a group only of flows that name it, as upstream has it.
fn concerns(m: &FlowMonitorRequest, flow: &Flow, before: Option<&Flow>) -> bool {
    (m.table == ALL_TABLES || m.table == flow.table)
        && (flow.outputs_to(m.out_port) || before.is_some_and(|before| before.outputs_to(m.out_port)))
        && flow.names_group(m.out_group)
        && flow.matching.is_within(&m.matching)
}

impl Connection {
    /// Says updates under `xid`, in as many messages as they need.
    fn say_updates(&mut self, class: Class, mut updates: Vec<FlowUpdate>, tlv: &TlvTable, xid: u32) {
        for update in &mut updates {
            if let FlowUpdate::Change(change) = update {
                change.matching = tlv.lift(&change.matching);
            }
        }
        let say = |items, more| Message::FlowMonitorReply(Page { more, items });
        if let Answer::Say(messages) = pages(updates, len, say) {
            messages.iter().for_each(|m| self.push_encoded(class, m.encode_knowing(tlv, self.version, xid)));
        }
    }
}

impl Ofproto {
    pub(super) fn obey_monitors(
        &mut self,
        request: &Request<'_>,
        mut asked: Vec<FlowMonitorRequest>,
    ) -> Result<Answer, OfError> {
        for r in &mut asked {
            self.place_options(&mut r.matching)?;
        }
        let Some(c) = self.connections.get_mut(request.from) else { return Ok(Answer::Done) };
        let (mut begun, mut initial) = (Vec::new(), Vec::new());
        for r in asked {
            match c.monitors.request(&r) {
                Ok(tells) => {
                    begun.push(r.id);
                    initial.extend(tells.then_some(r));
                }
                Err(e) => {
                    // All of them or none.
                    for id in begun {
                        let _ = c.monitors.cancel(id);
                    }
                    return Err(e);
                }
            }
        }
        let mut ids: Vec<RuleId> = initial.iter().flat_map(|m| self.tables.chosen(&criteria(m))).collect();
        ids.sort_unstable();
        ids.dedup();
        // Before OpenFlow 1.4, flows that are there are told as added.
        let event = if request.version >= Version::V1_4 { FlowEvent::Initial } else { FlowEvent::Added };
        let updates = ids.into_iter().filter_map(|id| {
            let flow = self.tables.flow(id)?;
            c.monitors.tell(FlowEvent::Initial, &flow, |m| concerns(m, &flow, None)).map(|update| match update {
                FlowUpdate::Change(mut change) => {
                    change.event = event;
                    change.matching = self.tlv.lift(&change.matching);
                    FlowUpdate::Change(change)
                }
                other => other,
            })
        });
        Ok(pages(updates.collect(), len, |items, more| Message::FlowMonitorReply(Page { more, items })))
    }

    pub(super) fn cancel_monitor(&mut self, request: &Request<'_>, id: u32) -> Result<Answer, OfError> {
        let c = self.connections.get_mut(request.from);
        c.map_or(Ok(()), |c| c.monitors.cancel(id)).map(|()| Answer::Done)
    }

    /// Tells of what a log says from a place on, before it becomes true.
    pub(in crate::pipeline) fn tell_monitors(&mut self, log: &Log, from: usize, source: Option<(ConnectionId, u32)>) {
        let (mut told, mut all) = (from, usize::MAX);
        self.tell_some(log, &mut told, &mut all, source);
    }

    /// The same, by as much as there is effort for. Whether all is told.
    pub(in crate::pipeline) fn tell_some(
        &mut self,
        log: &Log,
        told: &mut usize,
        effort: &mut usize,
        source: Option<(ConnectionId, u32)>,
    ) -> bool {
        if self.connections.iter().all(|(_, c)| c.monitors.is_empty()) {
            *told = log.len();
            return true;
        }
        let left = log.since(*told);
        let (some, rest) = left.split_at((*effort).min(left.len()));
        (*told, *effort) = (*told + some.len(), *effort - some.len());
        for step in some {
            let (event, id, old) = match *step {
                Step::Added { new, replaced } => (FlowEvent::Added, new, replaced),
                Step::Modified { old, new } => (FlowEvent::Modified, new, Some(old)),
                Step::Removed { id, reason } => (FlowEvent::Removed(reason as u8), id, None),
            };
            let Some(flow) = visible(&self.tables, id) else { continue };
            let before = old.filter(|_| event == FlowEvent::Modified).and_then(|old| self.tables.flow(old));
            let concerns = |m: &FlowMonitorRequest| concerns(m, &flow, before.as_ref());
            for (connection, c) in self.connections.iter_mut().filter(|(_, c)| !c.monitors.is_empty()) {
                let own = source.filter(|(from, _)| *from == connection).map(|(_, xid)| xid);
                c.monitors.note(Change { event, flow: &flow, id, old, own }, concerns);
            }
        }
        for (_, c) in self.connections.iter_mut() {
            let updates = c.monitors.take_updates();
            if !updates.is_empty() {
                c.say_updates(Class::Monitor, updates, &self.tlv, 0);
            }
            if c.monitors.pause(c.out.monitor_bytes()) {
                c.push(Class::Monitor, &Message::FlowMonitorPaused, 0);
            }
        }
        rest.is_empty()
    }

    /// What was told last was the last of one request.
    pub(in crate::pipeline) fn end_updates(&mut self) {
        self.connections.iter_mut().for_each(|(_, c)| c.monitors.end_updates());
    }

    /// Goes on with monitors that paused, when all that was told has been read. Whether there was something to say.
    pub(super) fn resume_monitors(&mut self, connection: ConnectionId) -> bool {
        let Some(c) = self.connections.get_mut(connection).filter(|c| c.out.is_empty()) else { return false };
        let Some(missed) = c.monitors.resume() else { return false };
        let updates: Vec<_> = missed
            .into_iter()
            .filter_map(|(id, event)| {
                let flow = visible(&self.tables, id)?;
                c.monitors.tell(event, &flow, |m| concerns(m, &flow, None))
            })
            .collect();
        if !updates.is_empty() {
            c.say_updates(Class::Monitor, updates, &self.tlv, 0);
        }
        c.push(Class::Monitor, &Message::FlowMonitorResumed, 0);
        true
    }
}

/// A flow that controllers see.
fn visible(tables: &FlowTables, id: RuleId) -> Option<Flow> {
    tables.flow(id).filter(|f| f.priority <= i32::from(u16::MAX))
}

fn criteria(m: &FlowMonitorRequest) -> Criteria {
    Criteria {
        table: m.table,
        matching: m.matching.clone(),
        strict: None,
        cookie: 0,
        cookie_mask: 0,
        out_port: m.out_port,
        out_group: m.out_group,
    }
}
