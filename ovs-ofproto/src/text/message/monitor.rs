//! Flow monitors.

use std::fmt::{self, Write};

use ovs_packet::OfPort;
use ovs_packet::text::{PortText, TableText};

use super::Printer;
use super::flow::removed_reason;
use crate::codec::{FlowEvent, FlowMonitorRequest, FlowUpdate, MonitorCommand, MonitorFlags};
use crate::flow_mod::{ALL_TABLES, DEFAULT_PRIORITY};
use crate::text::print::InNames;

const FLAGS: [(MonitorFlags, &str); 6] = [
    (MonitorFlags::INITIAL, "initial"),
    (MonitorFlags::ADD, "add"),
    (MonitorFlags::REMOVED, "delete"),
    (MonitorFlags::MODIFY, "modify"),
    (MonitorFlags::INSTRUCTIONS, "actions"),
    (MonitorFlags::OWN, "own"),
];

impl Printer<'_> {
    pub(super) fn monitor_request(&mut self, m: &FlowMonitorRequest) -> fmt::Result {
        write!(self.out, "\n id={}", m.id)?;
        if m.command == MonitorCommand::Delete {
            self.out.push_str(" command=delete");
            return Ok(());
        }
        let flags: Vec<&str> = FLAGS.iter().filter(|(f, _)| m.flags.contains(*f)).map(|(_, name)| *name).collect();
        write!(self.out, " flags={}", if flags.is_empty() { "0".to_string() } else { flags.join(",") })?;
        if m.out_port != OfPort::ANY {
            write!(self.out, " out_port={}", PortText(m.out_port, self.names))?;
        }
        if !matches!(m.out_group, 0 | u32::MAX) {
            write!(self.out, " out_group={}", m.out_group)?;
        }
        if m.table != ALL_TABLES {
            write!(self.out, " table={}", TableText(m.table, self.names))?;
        }
        self.out.push(' ');
        self.matching(DEFAULT_PRIORITY, &m.matching)?;
        if self.out.ends_with(' ') {
            self.out.pop();
        }
        Ok(())
    }

    pub(super) fn flow_update(&mut self, update: &FlowUpdate) -> fmt::Result {
        self.out.push_str("\n event=");
        let change = match update {
            FlowUpdate::Change(change) => change,
            FlowUpdate::Abbreviated(xid) => return write!(self.out, "ABBREV xid={xid:#x}"),
            FlowUpdate::Paused => return self.out.write_str("PAUSED"),
            FlowUpdate::Resumed => return self.out.write_str("RESUMED"),
        };
        match change.event {
            FlowEvent::Initial => self.out.push_str("INITIAL"),
            FlowEvent::Added => self.out.push_str("ADDED"),
            FlowEvent::Removed(reason) => {
                self.out.push_str("DELETED reason=");
                removed_reason(&mut self.out, reason)?;
            }
            FlowEvent::Modified => self.out.push_str("MODIFIED"),
        }
        write!(self.out, " table={}", TableText(change.table, self.names))?;
        for (name, timeout) in [("idle_timeout", change.idle_timeout), ("hard_timeout", change.hard_timeout)] {
            if timeout != 0 {
                write!(self.out, " {name}={timeout}")?;
            }
        }
        match change.cookie {
            0 => self.out.push_str(" cookie=0 "),
            cookie => write!(self.out, " cookie={cookie:#x} ")?,
        }
        self.matching(DEFAULT_PRIORITY, &change.matching)?;
        if change.instructions.is_drop() {
            return Ok(());
        }
        if !self.out.ends_with(' ') {
            self.out.push(' ');
        }
        write!(self.out, "actions={}", InNames(&change.instructions, self.names))
    }
}
