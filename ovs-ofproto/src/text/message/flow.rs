//! Flows.

use std::fmt::{self, Write};

use ovs_packet::OfPort;

use super::Printer;
use crate::codec::{FlowRemoved, FlowStats, NO_BUFFER, Version};
use crate::flow_mod::{FlowMod, FlowModCommand, FlowModFlags};
use crate::text::print::{Flags, Seconds};

impl Printer {
    pub(super) fn flow_mod(&mut self, flow: &FlowMod) -> fmt::Result {
        let out = &mut self.out;
        out.push_str(match flow.command {
            FlowModCommand::Add => " ADD",
            FlowModCommand::Modify => " MOD",
            FlowModCommand::ModifyStrict => " MOD_STRICT",
            FlowModCommand::Delete => " DEL",
            FlowModCommand::DeleteStrict => " DEL_STRICT",
        });
        if flow.table != 0 {
            write!(out, " table:{}", flow.table)?;
        }
        out.push(' ');
        self.matching(flow.priority, &flow.matching)?;
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
        if flow.buffer_id != NO_BUFFER {
            write!(out, "buf:{:#x} ", flow.buffer_id)?;
        }
        if flow.out_port != OfPort::ANY {
            write!(out, "out_port:{} ", flow.out_port)?;
        }
        write!(out, "{}actions={}", Flags(flow.flags), flow.instructions)
    }

    pub(super) fn flow_stats(&mut self, flow: &FlowStats) -> fmt::Result {
        let mut shown = flow.clone();
        // How long ago a flow was changed is said only if it was.
        if shown.hard_age.map(u64::from) == Some(shown.duration.as_secs()) {
            shown.hard_age = None;
        }
        if shown.flags != FlowModFlags::empty() && self.header.version < Version::V1_3 {
            shown.flags = FlowModFlags::empty();
        }
        write!(self.out, "{shown}")
    }

    pub(super) fn flow_removed(&mut self, flow: &FlowRemoved) -> fmt::Result {
        self.out.push(' ');
        self.matching(flow.priority, &flow.matching)?;
        let out = &mut self.out;
        out.push_str(" reason=");
        removed_reason(out, flow.reason)?;
        if let Some(table) = flow.table.filter(|t| *t != 255) {
            write!(out, " table_id={table}")?;
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
