//! Flows.

use std::fmt::{self, Write};

use ovs_packet::OfPort;
use ovs_packet::text::{PortText, TableText};

use super::Printer;
use crate::codec::{FlowRemoved, FlowStats, NO_BUFFER, Version};
use crate::flow_mod::{DEFAULT_PRIORITY, FlowMod, FlowModCommand, FlowModFlags};
use crate::text::print::{Flags, InNames, Seconds};

impl Printer<'_> {
    pub(super) fn flow_mod(&mut self, flow: &FlowMod) -> fmt::Result {
        let out = &mut self.out;
        out.push_str(match flow.command {
            FlowModCommand::Add => " ADD",
            FlowModCommand::Modify => " MOD",
            FlowModCommand::ModifyStrict => " MOD_STRICT",
            FlowModCommand::Delete => " DEL",
            FlowModCommand::DeleteStrict => " DEL_STRICT",
        });
        if flow.table != 0 || self.names.table_name(0).is_some() {
            write!(out, " table:{}", TableText(flow.table, self.names))?;
        }
        out.push(' ');
        let raw = self.raw_match.take();
        let needs_priority = raw.is_some() && flow.priority != DEFAULT_PRIORITY;
        match raw {
            Some(raw) => self.out.push_str(&raw),
            None => self.matching(flow.priority, &flow.matching)?,
        }
        let out = &mut self.out;
        if !out.ends_with(' ') {
            out.push(' ');
        }
        let adds = flow.command == FlowModCommand::Add;
        let new = if adds { flow.cookie } else { flow.new_cookie.unwrap_or(0) };
        // A cookie of all ones means that there is none.
        if new != 0 && new != u64::MAX {
            write!(out, "cookie:{new:#x} ")?;
        }
        if flow.cookie_mask != 0 {
            write!(out, "cookie:{:#x}/{:#x} ", flow.cookie, flow.cookie_mask)?;
        }
        for (name, value) in [("idle", flow.idle_timeout), ("hard", flow.hard_timeout), ("importance", flow.importance)]
        {
            if value != 0 {
                write!(out, "{name}:{value} ")?;
            }
        }
        if needs_priority {
            write!(out, "pri:{} ", flow.priority)?;
        }
        if flow.buffer_id != NO_BUFFER {
            write!(out, "buf:{:#x} ", flow.buffer_id)?;
        }
        if flow.out_port != OfPort::ANY {
            write!(out, "out_port:{} ", PortText(flow.out_port, self.names))?;
        }
        write!(out, "{}actions={}", Flags(flow.flags), InNames(&flow.instructions, self.names))
    }

    pub(super) fn flow_stats(&mut self, flow: &FlowStats) -> fmt::Result {
        let mut shown = flow.clone();
        if shown.flags != FlowModFlags::empty() && self.header.version < Version::V1_3 {
            shown.flags = FlowModFlags::empty();
        }
        write!(self.out, "{}", InNames(&shown, self.names))
    }

    pub(super) fn flow_removed(&mut self, flow: &FlowRemoved) -> fmt::Result {
        self.out.push(' ');
        self.matching(flow.priority, &flow.matching)?;
        let out = &mut self.out;
        out.push_str(" reason=");
        removed_reason(out, flow.reason)?;
        if let Some(table) = flow.table.filter(|t| *t != 255) {
            write!(out, " table_id={}", TableText(table, self.names))?;
        }
        if flow.cookie != 0 {
            write!(out, " cookie:{:#x}", flow.cookie)?;
        }
        write!(out, " duration{} idle{}", Seconds(flow.duration), flow.idle_timeout)?;
        if flow.hard_timeout != 0 {
            write!(out, " hard{}", flow.hard_timeout)?;
        }
        writeln!(out, " pkts{} bytes{}", flow.packets, flow.bytes)
    }
}

/// Why a flow ended.
pub(super) fn removed_reason(out: &mut String, reason: u8) -> fmt::Result {
    let reasons = ["idle", "hard", "delete", "group_delete", "meter_delete", "eviction"];
    match reasons.get(usize::from(reason)) {
        Some(reason) => out.write_str(reason),
        None => write!(out, "{reason}"),
    }
}
