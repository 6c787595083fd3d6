//! Groups and meters.

use std::fmt::{self, Write};

use ovs_packet::OfPort;
use ovs_packet::field::FieldId;
use ovs_packet::text::{PortNames, PortText};

use super::Printer;
use crate::codec::{Bucket, GroupDesc, GroupMod, MeterConfig, Selection, Version};
use crate::text::print::{ActionList, InNames};

pub(super) const METER_FLAGS: [(u32, &str); 4] = [(1, "kbps"), (2, "pktps"), (4, "burst"), (8, "stats")];

impl Printer<'_> {
    pub(super) fn group_mod(&mut self, g: &GroupMod) -> fmt::Result {
        let out = &mut self.out;
        out.push_str("\n ");
        match g.command {
            0 => out.push_str("ADD "),
            1 => out.push_str("MOD "),
            2 => out.push_str("DEL "),
            3 => out.push_str("INSERT_BUCKET "),
            5 => out.push_str("REMOVE_BUCKET "),
            0x8000 => out.push_str("ADD_OR_MOD "),
            other => write!(out, "cmd:{other} ")?,
        }
        let on_buckets = matches!(g.command, 3 | 5);
        if on_buckets {
            bucket_id(out, "command_bucket_id:", g.bucket, self.header.version)?;
        }
        self.group(&g.desc, on_buckets)
    }

    pub(super) fn group(&mut self, g: &GroupDesc, without_type: bool) -> fmt::Result {
        let version = self.header.version;
        let out = &mut self.out;
        write!(out, "group_id={}", g.group)?;
        if !without_type {
            let kind = ["all", "select", "indirect", "ff"].get(usize::from(g.kind)).unwrap_or(&"unknown");
            write!(out, ",type={kind}")?;
        }
        if let Some(s) = &g.selection {
            selection(out, s)?;
        }
        for b in &g.buckets {
            out.push(',');
            bucket(out, b, g.kind, version, self.names)?;
        }
        Ok(())
    }

    pub(super) fn meter(&mut self, m: &MeterConfig) -> fmt::Result {
        let out = &mut self.out;
        meter_id(out, m.meter, '=')?;
        out.push(' ');
        for (_, name) in METER_FLAGS.iter().filter(|(bit, _)| u32::from(m.flags) & bit != 0) {
            write!(out, "{name} ")?;
        }
        if m.flags & !0xf != 0 {
            write!(out, "flags:{:#x} ", m.flags & !0xf)?;
        }
        out.push_str("bands=");
        for b in &m.bands {
            out.push_str(if b.kind == 1 { "\ntype=drop" } else { "\ntype=dscp_remark" });
            write!(out, " rate={}", b.rate)?;
            if m.flags & 4 != 0 {
                write!(out, " burst_size={}", b.burst)?;
            }
            if b.kind == 2 {
                write!(out, " prec_level={}", b.precedence)?;
            }
        }
        out.push('\n');
        Ok(())
    }
}

pub(super) fn meter_id(out: &mut String, id: u32, separator: char) -> fmt::Result {
    match id {
        0..=0xffff_0000 => write!(out, "meter{separator}{id}"),
        0xffff_fffd => write!(out, "meter{separator}slowpath"),
        0xffff_fffe => write!(out, "meter{separator}controller"),
        0xffff_ffff => write!(out, "meter{separator}all"),
        _ => write!(out, "meter{separator}unknown"),
    }
}

pub(super) fn bucket_id(out: &mut String, label: &str, id: u32, version: Version) -> fmt::Result {
    if version > Version::V1_0 && version < Version::V1_5 {
        return Ok(());
    }
    out.push_str(label);
    match id {
        0xffff_fffd => out.push_str("first,"),
        0xffff_fffe => out.push_str("last,"),
        0xffff_ffff => out.push_str("all,"),
        id => write!(out, "{id},")?,
    }
    Ok(())
}

pub(super) fn bucket(out: &mut String, b: &Bucket, kind: u8, version: Version, names: &dyn PortNames) -> fmt::Result {
    out.push_str("bucket=");
    bucket_id(out, "bucket_id:", b.id, version)?;
    if b.weight != u16::from(kind == 1) {
        write!(out, "weight:{},", b.weight)?;
    }
    if b.watch_port != OfPort::ANY {
        write!(out, "watch_port:{},", PortText(b.watch_port, names))?;
    }
    if b.watch_group != u32::MAX {
        write!(out, "watch_group:{},", b.watch_group)?;
    }
    write!(out, "actions={}", InNames(&ActionList(&b.actions), names))
}

pub(super) fn selection(out: &mut String, s: &Selection) -> fmt::Result {
    if s.method.is_empty() {
        return Ok(());
    }
    write!(out, ",selection_method={}", s.method)?;
    if s.param != 0 {
        write!(out, ",selection_method_param={}", s.param)?;
    }
    match s.fields.as_slice() {
        [] => {}
        [one] => {
            out.push_str(",fields=");
            selected(out, one)?;
        }
        fields => {
            out.push_str(",fields(");
            for (n, one) in fields.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                selected(out, one)?;
            }
            out.push(')');
        }
    }
    Ok(())
}

/// A field that is hashed, with its mask if that is not of all bits.
fn selected(out: &mut String, (field, mask): &(FieldId, u128)) -> fmt::Result {
    out.push_str(field.info().name);
    let all = field.info().max_value();
    match *mask == all {
        true => Ok(()),
        false => write!(out, "={}", ovs_packet::field::Value { field: *field, value: *mask, mask: all }),
    }
}
