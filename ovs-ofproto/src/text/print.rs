//! Writes actions, instructions, flow modifications and flow statistics as upstream's tools write them.

use std::fmt;
use std::time::Duration;

use ovs_packet::field::{FieldId, Value};
use ovs_packet::{Match, OfPort};

use super::flow::{COMMANDS, FLAGS, default_table};
use crate::action::{Action, CtAction, Instructions};
use crate::codec::{FlowStats, FlowStatsRequest};
use crate::flow_mod::{DEFAULT_PRIORITY, FlowMod, FlowModCommand, FlowModFlags};

/// A list of actions in words; `drop` for an empty one.
///
/// ```
/// use ovs_ofproto::Action;
/// use ovs_ofproto::text::ActionList;
/// use ovs_packet::OfPort;
///
/// assert_eq!(ActionList(&[Action::PopVlan, Action::output(OfPort(2))]).to_string(), "pop_vlan,output:2");
/// assert_eq!(ActionList(&[]).to_string(), "drop");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ActionList<'a>(pub &'a [Action]);

impl fmt::Display for ActionList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("drop"),
            [first, rest @ ..] => {
                first.fmt(f)?;
                rest.iter().try_for_each(|a| write!(f, ",{a}"))
            }
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Output { port: OfPort::CONTROLLER, max_len } => write!(f, "CONTROLLER:{max_len}"),
            Action::Output { port, .. } if port.is_reserved() || *port == OfPort::LOCAL => write!(f, "{port}"),
            Action::Output { port, .. } => write!(f, "output:{port}"),
            Action::SetField { field: FieldId::NwTtl, value, mask: 0xff } => write!(f, "mod_nw_ttl:{value}"),
            Action::SetField { field: FieldId::MplsTtl, value, mask: 0xff } => write!(f, "set_mpls_ttl({value})"),
            Action::SetField { field, value, mask } => {
                let v = Value { field: *field, value: *value, mask: *mask };
                write!(f, "set_field:{v}->{}", field.info().name)
            }
            Action::PushVlan(tpid) => write!(f, "push_vlan:{tpid:#06x}"),
            Action::PopVlan => f.write_str("pop_vlan"),
            Action::DecTtl => f.write_str("dec_ttl"),
            Action::Resubmit { port: None, table: None } => f.write_str("resubmit(,)"),
            Action::Resubmit { port: Some(port), table: None } => write!(f, "resubmit:{port}"),
            Action::Resubmit { port: None, table: Some(table) } => write!(f, "resubmit(,{table})"),
            Action::Resubmit { port: Some(port), table: Some(table) } => write!(f, "resubmit({port},{table})"),
            Action::Ct(ct) => ct.fmt(f),
            Action::CtClear => f.write_str("ct_clear"),
            Action::Clone(actions) => write!(f, "clone({})", ActionList(actions)),
        }
    }
}

/// Writes parts with commas between them.
struct Commas<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    any: bool,
}

impl Commas<'_, '_> {
    fn push(&mut self, part: fmt::Arguments<'_>) -> fmt::Result {
        if core::mem::replace(&mut self.any, true) {
            self.f.write_str(",")?;
        }
        self.f.write_fmt(part)
    }
}

impl fmt::Display for CtAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ct(")?;
        let mut parts = Commas { f, any: false };
        if self.commit {
            parts.push(format_args!("commit"))?;
        }
        if self.force {
            parts.push(format_args!("force"))?;
        }
        if let Some(table) = self.table {
            parts.push(format_args!("table={table}"))?;
        }
        if self.zone != 0 {
            parts.push(format_args!("zone={}", self.zone))?;
        }
        if !self.exec.is_empty() {
            parts.push(format_args!("exec({})", ActionList(&self.exec)))?;
        }
        f.write_str(")")
    }
}

/// Hexadecimal with a prefix, save 0.
struct Hex(u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("0") } else { write!(f, "{:#x}", self.0) }
    }
}

/// Written behind `actions=`; `drop` for none.
impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Instructions { apply, clear, write, metadata, goto } = self;
        let mut parts = Commas { f, any: false };
        if !apply.is_empty() {
            parts.push(format_args!("{}", ActionList(apply)))?;
        }
        if *clear {
            parts.push(format_args!("clear_actions"))?;
        }
        if !write.is_empty() {
            parts.push(format_args!("write_actions({})", ActionList(write)))?;
        }
        match metadata {
            Some((value, u64::MAX)) => parts.push(format_args!("write_metadata:{}", Hex(*value)))?,
            Some((value, mask)) => parts.push(format_args!("write_metadata:{}/{}", Hex(*value), Hex(*mask)))?,
            None => {}
        }
        if let Some(table) = goto {
            parts.push(format_args!("goto_table:{table}"))?;
        }
        if parts.any { Ok(()) } else { f.write_str("drop") }
    }
}

/// Priority, if it is not the default, and match.
pub(super) struct Prioritised<'a>(pub(super) u16, pub(super) &'a Match);

impl fmt::Display for Prioritised<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = self.1.to_string();
        let mut parts = Commas { f, any: false };
        if self.0 != DEFAULT_PRIORITY {
            parts.push(format_args!("priority={}", self.0))?;
        }
        if m.is_empty() { Ok(()) } else { parts.push(format_args!("{m}")) }
    }
}

/// The names of flags, each with a space behind it.
pub(super) struct Flags(pub(super) FlowModFlags);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FLAGS.iter().filter(|(_, flag)| self.0.contains(*flag)).try_for_each(|(name, _)| write!(f, "{name} "))
    }
}

/// Writes a flow as `add-flow` takes it, with the command in front if it is not an addition. What is read from it is
/// the same flow, if the cookie of an addition has no mask and only deletions have an output port.
impl fmt::Display for FlowMod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let adds = self.command == FlowModCommand::Add;
        if let (Some((word, _)), false) = (COMMANDS.iter().find(|(_, c)| *c == self.command), adds) {
            write!(f, "{word} ")?;
        }
        let mut parts = Commas { f, any: false };
        if self.cookie_mask != 0 || (self.cookie != 0 && !adds) {
            parts.push(format_args!("cookie={:#x}/{:#x}", self.cookie, self.cookie_mask))?;
        } else if self.cookie != 0 {
            parts.push(format_args!("cookie={:#x}", self.cookie))?;
        }
        if self.table != default_table(self.command) {
            parts.push(format_args!("table={}", self.table))?;
        }
        for (name, value) in
            [("idle_timeout", self.idle_timeout), ("hard_timeout", self.hard_timeout), ("importance", self.importance)]
        {
            if value != 0 {
                parts.push(format_args!("{name}={value}"))?;
            }
        }
        if self.out_port != OfPort::ANY {
            parts.push(format_args!("out_port={}", self.out_port))?;
        }
        for (name, _) in FLAGS.iter().filter(|(_, flag)| self.flags.contains(*flag)) {
            parts.push(format_args!("{name}"))?;
        }
        let rest = Prioritised(self.priority, &self.matching).to_string();
        if !rest.is_empty() {
            parts.push(format_args!("{rest}"))?;
        }
        let any = parts.any;
        if matches!(self.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict) && self.instructions.is_drop()
        {
            return Ok(());
        }
        write!(f, "{}actions={}", if any { " " } else { "" }, self.instructions)
    }
}

/// Seconds, with milliseconds if they are not whole, and with as many decimals as they have if those are not.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        match nanos {
            0 => write!(f, "{secs}s"),
            _ if nanos % 1_000_000 == 0 => write!(f, "{secs}.{:03}s", nanos / 1_000_000),
            _ => write!(f, "{secs}.{}s", format!("{nanos:09}").trim_end_matches('0')),
        }
    }
}

/// Writes a line as `dump-flows` does, with the space that it begins with.
impl fmt::Display for FlowStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " cookie={:#x}, duration={}, table={}", self.cookie, Seconds(self.duration), self.table)?;
        write!(f, ", n_packets={}, n_bytes={}, ", self.packets, self.bytes)?;
        for (name, value) in [("idle_timeout", self.idle_timeout), ("hard_timeout", self.hard_timeout)] {
            if value != 0 {
                write!(f, "{name}={value}, ")?;
            }
        }
        write!(f, "{}", Flags(self.flags))?;
        let matching = Prioritised(self.priority, &self.matching).to_string();
        write!(f, "{matching}{}actions={}", if matching.is_empty() { "" } else { " " }, self.instructions)
    }
}

/// Writes what a request asks for, as `ofp-print` does.
impl fmt::Display for FlowStatsRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.table != crate::flow_mod::ALL_TABLES {
            write!(f, " table={}", self.table)?;
        }
        if self.out_port != OfPort::ANY {
            write!(f, " out_port={}", self.out_port)?;
        }
        if self.out_group != u32::MAX {
            write!(f, " out_group={}", self.out_group)?;
        }
        if self.cookie_mask != 0 {
            write!(f, " cookie={:#x}/{:#x}", self.cookie, self.cookie_mask)?;
        }
        let matching = self.matching.to_string();
        write!(f, "{}{matching}", if matching.is_empty() { "" } else { " " })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_upstream_writes_them() {
        for (nanos, text) in [
            (0, "5s"),
            (1_000_000, "5.001s"),
            (10_000_000, "5.010s"),
            (1_500_000, "5.0015s"),
            (10_000, "5.00001s"),
            (1, "5.000000001s"),
            (999_999_999, "5.999999999s"),
        ] {
            assert_eq!(Seconds(Duration::new(5, nanos)).to_string(), text);
        }
    }

    #[test]
    fn a_line_of_dump_flows() {
        let mut flow =
            FlowStats { table: 2, duration: Duration::from_millis(1200), priority: 10, ..FlowStats::default() };
        flow.matching = "icmp".parse().unwrap();
        assert_eq!(
            flow.to_string(),
            " cookie=0x0, duration=1.200s, table=2, n_packets=0, n_bytes=0, priority=10,icmp actions=drop"
        );
        flow.flags = FlowModFlags::SEND_FLOW_REM | FlowModFlags::RESET_COUNTS;
        (flow.idle_timeout, flow.priority, flow.matching) = (5, DEFAULT_PRIORITY, Match::ANY);
        assert_eq!(
            flow.to_string(),
            " cookie=0x0, duration=1.200s, table=2, n_packets=0, n_bytes=0, idle_timeout=5, \
             send_flow_rem reset_counts actions=drop"
        );
    }

    #[test]
    fn commands_stand_in_front() {
        for text in [
            "delete cookie=0x1/0xff,table=3,out_port=LOCAL,ip",
            "delete_strict priority=5,ip",
            "modify cookie=0x5/0xffffffffffffffff,ip actions=NORMAL",
            "modify_strict table=1,idle_timeout=5 actions=drop",
            "actions=drop",
        ] {
            assert_eq!(text.parse::<FlowMod>().unwrap().to_string(), text);
        }
    }
}
