//! Flows of switches and files against each other.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use ovs_ofproto::codec::FlowStats;
use ovs_ofproto::text::{ActionList, Parser, Protocols};
use ovs_ofproto::{DEFAULT_PRIORITY, FlowMod, FlowModCommand, FlowModFlags, Instructions};
use ovs_packet::Match;
use serde_json::json;

use super::switch::{Names, Switch};
use super::{bundle, dump, flows};
use crate::context::{Context, Done, Failure};
use crate::input;

/// What makes flows the same one: table, priority from high to low, and match.
type Key = (u8, std::cmp::Reverse<u16>, String);

/// What may differ between two versions of a flow.
#[derive(Clone)]
struct Version {
    matching: Match,
    cookie: u64,
    idle_timeout: u16,
    hard_timeout: u16,
    importance: u16,
    flags: FlowModFlags,
    instructions: Instructions,
}

impl Version {
    /// Whether two are as good as the same: actions are, that are written so.
    fn is_like(&self, other: &Version) -> bool {
        (self.cookie, self.idle_timeout, self.hard_timeout, self.importance)
            == (other.cookie, other.idle_timeout, other.hard_timeout, other.importance)
            && self.instructions.to_string() == other.instructions.to_string()
    }

    fn flow(&self, (table, priority, _): &Key, command: FlowModCommand) -> FlowMod {
        let mut flow = FlowMod::default();
        (flow.command, flow.table, flow.priority, flow.matching) = (command, *table, priority.0, self.matching.clone());
        if command == FlowModCommand::Add {
            (flow.cookie, flow.idle_timeout, flow.hard_timeout) = (self.cookie, self.idle_timeout, self.hard_timeout);
            (flow.importance, flow.flags) = (self.importance, self.flags);
            flow.instructions = self.instructions.clone();
        }
        flow
    }

    /// A line of `diff-flows`.
    fn line(&self, (table, priority, _): &Key) -> String {
        let mut line = String::new();
        if *table != 0 {
            line += &format!("table={table} ");
        }
        let matching = self.matching.to_string();
        if priority.0 != DEFAULT_PRIORITY {
            line += &format!("priority={}", priority.0);
            line += if matching.is_empty() { "" } else { "," };
        }
        line += &matching;
        for (name, value) in
            [("idle_timeout", self.idle_timeout), ("hard_timeout", self.hard_timeout), ("importance", self.importance)]
        {
            if name == "idle_timeout" && self.cookie != 0 {
                line += &format!(" cookie={:#x}", self.cookie);
            }
            if value != 0 {
                line += &format!(" {name}={value}");
            }
        }
        let actions = match self.instructions.is_drop() {
            true => ActionList(&[]).to_string(),
            false => self.instructions.to_string(),
        };
        format!("{line} actions={actions}\n")
    }
}

/// The flows of two sources.
type Both = BTreeMap<Key, [Option<Version>; 2]>;

fn insert(both: &mut Both, table: u8, priority: u16, version: Version, side: usize) {
    let key = (table, std::cmp::Reverse(priority), version.matching.to_string());
    if let Some(place) = both.entry(key).or_default().get_mut(side) {
        *place = Some(version);
    }
}

/// Reads the flows of a file; gives the forms that can say them all.
fn from_file(both: &mut Both, file: &str, parser: &Parser<'_>, side: usize) -> Result<Protocols, Failure> {
    let (flows, usable) = input::file_with::<FlowMod>(parser, file, FlowModCommand::Add, false)?;
    for flow in flows {
        let version = Version {
            matching: flow.matching,
            cookie: flow.cookie,
            idle_timeout: flow.idle_timeout,
            hard_timeout: flow.hard_timeout,
            importance: flow.importance,
            flags: flow.flags & FlowModFlags::SEND_FLOW_REM,
            instructions: flow.instructions,
        };
        let table = if flow.table == ovs_ofproto::ALL_TABLES { 0 } else { flow.table };
        insert(both, table, flow.priority, version, side);
    }
    Ok(usable)
}

fn from_switch(both: &mut Both, found: Vec<FlowStats>, side: usize) {
    for flow in found {
        let version = Version {
            matching: flow.matching,
            cookie: flow.cookie,
            idle_timeout: flow.idle_timeout,
            hard_timeout: flow.hard_timeout,
            importance: flow.importance,
            flags: FlowModFlags::empty(),
            instructions: flow.instructions,
        };
        insert(both, flow.table, flow.priority, version, side);
    }
}

pub(crate) fn replace(context: &mut Context) -> Done {
    const FILE: usize = 0;
    const SWITCH: usize = 1;
    let (name, file) = (context.argument(0).to_string(), context.argument(1).to_string());
    let mut both = Both::new();
    let usable = {
        let names = Names::of(context, &name);
        from_file(&mut both, &file, &Parser::new(&names).normalising(), FILE)?
    };
    let mut switch = Switch::open(context, &name)?;
    let found = dump::fetch_all(&mut switch, context, usable)?;
    from_switch(&mut both, found, SWITCH);
    let mut frames = Vec::new();
    let mut tables: Vec<u8> = both.keys().map(|key| key.0).collect();
    tables.dedup();
    let protocol = switch.protocol();
    for table in tables {
        let of_table = || both.iter().filter(|(key, _)| key.0 == table);
        for (key, versions) in of_table() {
            if let [None, Some(old)] = versions {
                frames.push(flows::frame(old.flow(key, FlowModCommand::DeleteStrict), protocol)?);
            }
        }
        for (key, versions) in of_table() {
            let [Some(new), old] = versions else { continue };
            if context.options.readd || !old.as_ref().is_some_and(|old| old.is_like(new)) {
                frames.push(flows::frame(new.flow(key, FlowModCommand::Add), protocol)?);
            }
        }
    }
    match context.options.bundle {
        true => bundle::transact(context, &mut switch, frames),
        false => switch.tell(context, frames),
    }
}

/// A file, or else a switch.
fn source(context: &Context, both: &mut Both, name: &str, side: usize) -> Done {
    let is_file = name.starts_with(['/', '.']) || (!name.contains(':') && Path::new(name).exists());
    if is_file {
        return from_file(both, name, &Parser::default().normalising(), side).map(|_| ());
    }
    let mut switch = Switch::open(context, name)?;
    let found = dump::fetch_all(&mut switch, context, Protocols::ANY)?;
    from_switch(both, found, side);
    Ok(())
}

pub(crate) fn differences(context: &mut Context) -> Done {
    let mut both = Both::new();
    for side in [0, 1] {
        let name = context.argument(side).to_string();
        source(context, &mut both, &name, side)?;
    }
    let mut differ = false;
    for (key, versions) in &both {
        if matches!(versions, [Some(a), Some(b)] if a.is_like(b)) {
            continue;
        }
        differ = true;
        for (sign, version) in ['-', '+'].iter().zip(versions) {
            if let Some(version) = version {
                context.print_either(format_args!("{sign}{}", version.line(key)), || {
                    let side = if *sign == '-' { 1 } else { 2 };
                    json!({"source": side, "flow": version.flow(key, FlowModCommand::Add)})
                })?;
            }
        }
    }
    if differ { Err(Failure::Status(ExitCode::from(2))) } else { Ok(()) }
}
