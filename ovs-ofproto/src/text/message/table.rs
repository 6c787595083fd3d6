//! Tables.

use std::fmt::{self, Write};

use ovs_packet::text::TableText;

use super::{Printer, bits};
use crate::codec::{TableDesc, TableStatus, Version};

impl Printer<'_> {
    pub(super) fn table_config(&self) -> bool {
        self.header.version >= Version::V1_4
    }

    pub(super) fn table_mod(&mut self, t: &TableDesc) -> fmt::Result {
        let (new, version) = (self.table_config(), self.header.version);
        let out = &mut self.out;
        match t.table {
            0xff => out.push_str(" table_id: ALL_TABLES"),
            table => write!(out, " table_id={}", TableText(table, self.names))?,
        }
        if version == Version::V1_3 {
            return Ok(());
        }
        if !new {
            let miss = ["controller", "continue", "drop", "error"].get((t.config & 3) as usize).copied();
            return write!(out, ", flow_miss_config={}", miss.unwrap_or_default());
        }
        write!(out, ", eviction={}", if t.config & 4 != 0 { "on" } else { "off" })?;
        if let Some(flags) = t.eviction {
            out.push_str("eviction_flags=");
            eviction_flags(out, flags)?;
        }
        write!(out, ", vacancy={}", if t.config & 8 != 0 { "on" } else { "off" })?;
        let (down, up, _) = t.vacancy.unwrap_or_default();
        if t.config & 8 != 0 { write!(out, " vacancy:{down},{up}") } else { Ok(()) }
    }

    pub(super) fn table_status(&mut self, s: &TableStatus) -> fmt::Result {
        let reason = if s.reason == 3 { "VACANCY_DOWN" } else { "VACANCY_UP" };
        write!(self.out, " reason={reason}\ntable_desc:-")?;
        self.table_desc(&s.desc)
    }

    pub(super) fn table_desc(&mut self, t: &TableDesc) -> fmt::Result {
        let out = &mut self.out;
        write!(out, "\n  table {}:\n", TableText(t.table, self.names))?;
        write!(out, "   eviction={} eviction_flags=", if t.config & 4 != 0 { "on" } else { "off" })?;
        eviction_flags(out, t.eviction.unwrap_or(u32::MAX))?;
        write!(out, "\n   vacancy={}", if t.config & 8 != 0 { "on" } else { "off" })?;
        if t.config & 8 != 0 {
            let (down, up, now) = t.vacancy.unwrap_or_default();
            write!(out, " vacancy_down={down}% vacancy_up={up}% vacancy={now}%")?;
        }
        out.push('\n');
        Ok(())
    }
}

pub(super) fn eviction_flags(out: &mut String, flags: u32) -> fmt::Result {
    match flags {
        u32::MAX => {
            out.push_str("(default)");
            Ok(())
        }
        flags => {
            let mut names = String::new();
            bits(&mut names, flags, &[(1, "OTHER"), (2, "IMPORTANCE"), (4, "LIFETIME")])?;
            out.push_str(&names.replace(' ', "|"));
            Ok(())
        }
    }
}
