//! Reads groups: `group_id=1,type=select,bucket=weight:5,actions=output:1,bucket=...`.

use std::collections::BTreeSet;

use ovs_packet::OfPort;
use ovs_packet::field::FieldId;

use super::error::{ParseFlowError, Parsed, field_value, invalid};
use super::flow::{Parser, Read};
use super::lexer::items;
use super::number::{port_of, u16_of, u32_of, u64_of};
use super::protocol::Protocols;
use crate::codec::{Bucket, GroupDesc, GroupMod, Selection};

/// What to do with a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum GroupCommand {
    /// Add it.
    Add = 0,
    /// Change it.
    Modify = 1,
    /// Delete it.
    Delete = 2,
    /// Insert buckets.
    InsertBucket = 3,
    /// Remove buckets.
    RemoveBucket = 5,
    /// Change it, or add it if there is none (an extension).
    AddOrModify = 0x8000,
}

const COMMANDS: [(&str, GroupCommand); 6] = [
    ("add", GroupCommand::Add),
    ("modify", GroupCommand::Modify),
    ("delete", GroupCommand::Delete),
    ("add_or_mod", GroupCommand::AddOrModify),
    ("insert_bucket", GroupCommand::InsertBucket),
    ("remove_bucket", GroupCommand::RemoveBucket),
];

const KINDS: [(&str, u8); 5] =
    [("all", 0), ("select", SELECT), ("indirect", INDIRECT), ("ff", 3), ("fast_failover", 3)];
const SELECT: u8 = 1;
const INDIRECT: u8 = 2;
const FAST_FAILOVER: u8 = 3;

/// The greatest number of a group.
const MAX_GROUP: u32 = 0xffff_ff00;
/// All groups.
const ALL_GROUPS: u32 = 0xffff_fffc;
/// Every group, or none.
const ANY_GROUP: u32 = 0xffff_ffff;
/// The greatest number of a bucket.
const MAX_BUCKET: u32 = 0xffff_ff00;
const FIRST_BUCKET: u32 = 0xffff_fffd;
const LAST_BUCKET: u32 = 0xffff_fffe;

/// The longest name of a selection method.
const MAX_METHOD: usize = 15;

/// What needs numbers of buckets or ways to select: Nicira's extension, or OpenFlow 1.5.
const NEW_FORM: Protocols = Protocols::OF10_ANY.union(Protocols::OF15_UP);

/// A group by number, or `all`, or `any`.
pub(super) fn group_id(text: &str) -> Option<u32> {
    match text {
        t if t.eq_ignore_ascii_case("any") => Some(ANY_GROUP),
        t if t.eq_ignore_ascii_case("all") => Some(ALL_GROUPS),
        t => t.parse().ok(),
    }
}

impl GroupCommand {
    fn has_type(self) -> bool {
        matches!(self, GroupCommand::Add | GroupCommand::Modify | GroupCommand::AddOrModify)
    }

    fn has_buckets(self) -> bool {
        self.has_type() || self == GroupCommand::InsertBucket
    }

    fn has_bucket_id(self) -> bool {
        matches!(self, GroupCommand::InsertBucket | GroupCommand::RemoveBucket)
    }
}

impl Parser<'_> {
    /// Reads a change of groups that begins with its command, or else adds one.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn group_command(&self, text: &str) -> Parsed<Read<GroupMod>> {
        let start = text.trim_start();
        let first = start.split([',', ' ', '\t', '\r', '\n']).next().unwrap_or_default();
        let (command, rest) = match COMMANDS.iter().find(|(word, _)| *word == first) {
            Some((word, command)) => (*command, start.get(word.len()..).unwrap_or_default()),
            None => (GroupCommand::Add, text),
        };
        self.group_mod(rest, command).map_err(|e| e.moved(text.len().saturating_sub(rest.len())))
    }

    /// Reads what `add-group` and the like take.
    ///
    /// ```
    /// use ovs_ofproto::text::{GroupCommand, Parser};
    ///
    /// let group = Parser::default().group_mod("group_id=7,type=select,bucket=actions=output:1", GroupCommand::Add)?;
    /// assert_eq!((group.value.desc.group, group.value.desc.buckets[0].weight), (7, 1));
    /// assert_eq!(group.protocols.to_string(), "any");
    /// # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn group_mod(&self, text: &str, command: GroupCommand) -> Parsed<Read<GroupMod>> {
        let mut protocols = if command.has_bucket_id() { NEW_FORM } else { Protocols::ANY };
        let mut group = GroupMod { command: command as u16, desc: GroupDesc::default(), bucket: GroupMod::ALL_BUCKETS };
        if command == GroupCommand::Delete && text.is_empty() {
            group.desc.group = ALL_GROUPS;
            return Ok(Read { value: group, protocols });
        }
        let buckets_at = text.find("bucket=").filter(|at| !text.get(..*at).unwrap_or_default().ends_with("command_"));
        let head = text.get(..buckets_at.unwrap_or(text.len())).unwrap_or_default();
        if buckets_at.is_some() && !command.has_buckets() {
            return invalid(head.len(), "bucket is not needed");
        }
        self.group_head(head, command, &mut group, &mut protocols)?;
        if let Some(mut at) = buckets_at {
            for part in text.get(at..).unwrap_or_default().split("bucket=").skip(1) {
                at = at.saturating_add("bucket=".len());
                let bucket = self.bucket(part, at, group.desc.kind, &mut protocols)?;
                if command != GroupCommand::InsertBucket && group.desc.kind != SELECT && bucket.weight != 0 {
                    return invalid(at, "Only select groups can have bucket weights.");
                }
                group.desc.buckets.push(bucket);
                at = at.saturating_add(part.len());
            }
        }
        if group.desc.kind == INDIRECT && group.desc.buckets.len() > 1 {
            return invalid(head.len(), "Indirect groups can have at most one bucket.");
        }
        number_buckets(&mut group.desc.buckets);
        Ok(Read { value: group, protocols })
    }

    /// Reads what stands before the buckets.
    fn group_head(
        &self,
        head: &str,
        command: GroupCommand,
        group: &mut GroupMod,
        protocols: &mut Protocols,
    ) -> Parsed<()> {
        let (mut id, mut kind, mut has_bucket_id) = (None, None, false);
        let mut selection = Selection::default();
        for item in items(head) {
            let (at, text) = (item.arg_at, item.arg);
            let needed = |wanted: bool, says: &str| if wanted { Ok(()) } else { invalid(item.at, says) };
            match item.name {
                "command_bucket_id" => {
                    needed(command.has_bucket_id(), "command bucket id is not needed")?;
                    group.bucket = command_bucket(text, at)?;
                    if group.bucket == GroupMod::ALL_BUCKETS && command == GroupCommand::InsertBucket {
                        return invalid(at, "command_bucket_id=all is not permitted");
                    }
                    has_bucket_id = true;
                }
                "group_id" if text == "all" => id = Some(ALL_GROUPS),
                "group_id" => match u32_of(text, at)? {
                    number if number > MAX_GROUP && number != ALL_GROUPS => {
                        return invalid(at, format!("invalid group id {number}"));
                    }
                    number => id = Some(number),
                },
                "type" => {
                    needed(command.has_type(), "type is not needed")?;
                    let found = KINDS.iter().find(|(word, _)| *word == text).map(|(_, kind)| *kind);
                    kind =
                        Some(found.ok_or_else(|| ParseFlowError::invalid(at, format!("invalid group type {text}")))?);
                }
                "selection_method" => {
                    needed(command.has_type(), "selection method is not needed")?;
                    if text.len() > MAX_METHOD {
                        return invalid(at, format!("selection method is longer than {MAX_METHOD} bytes long"));
                    }
                    selection.method = text.to_string();
                    *protocols &= NEW_FORM;
                }
                "selection_method_param" => {
                    needed(command.has_type(), "selection method param is not needed")?;
                    selection.param = u64_of(text, at)?;
                    *protocols &= NEW_FORM;
                }
                "fields" => {
                    needed(command.has_type(), "fields are not needed")?;
                    select_fields(text, at, &mut selection.fields, protocols)?;
                    *protocols &= NEW_FORM;
                }
                name => return invalid(item.at, format!("unknown keyword {name}")),
            }
        }
        let end = head.len();
        group.desc.group = id.ok_or_else(|| ParseFlowError::invalid(end, "must specify a group_id"))?;
        match kind {
            Some(kind) => group.desc.kind = kind,
            None if command.has_type() => return invalid(end, "must specify a type"),
            None => {}
        }
        if selection.method != "hash" && !selection.fields.is_empty() {
            return invalid(end, "fields may only be specified with \"selection_method=hash\"");
        }
        if selection.method.is_empty() && selection.param != 0 {
            return invalid(end, "selection_method_param is only allowed with \"selection_method\"");
        }
        if command == GroupCommand::InsertBucket && !has_bucket_id {
            return invalid(end, "must specify a command bucket id");
        }
        // Their order says nothing.
        selection.fields.sort_by_key(|(field, _)| *field);
        group.desc.selection = Some(selection).filter(|s| !s.method.is_empty());
        Ok(())
    }

    fn bucket(&self, text: &str, start: usize, kind: u8, protocols: &mut Protocols) -> Parsed<Bucket> {
        let mut bucket = Bucket { id: u32::MAX, weight: u16::from(kind == SELECT), ..Bucket::default() };
        let mut actions = String::new();
        for item in items(text) {
            let (at, arg) = (start.saturating_add(item.arg_at), item.arg);
            let is = |name: &str| item.name.eq_ignore_ascii_case(name);
            if is("weight") {
                bucket.weight = u16_of(arg, at, "weight")?;
            } else if is("watch_port") {
                let says = |t: &str| format!("{t}: invalid watch_port");
                bucket.watch_port = port_of(arg, at, self.ports, says)?;
                let fits = !bucket.watch_port.is_reserved() && bucket.watch_port != OfPort::LOCAL;
                if !fits && !matches!(bucket.watch_port, OfPort::ANY | OfPort::CONTROLLER) {
                    return invalid(at, says(arg));
                }
            } else if is("watch_group") {
                bucket.watch_group = u32_of(arg, at)?;
                if bucket.watch_group > MAX_GROUP {
                    return invalid(at, format!("invalid watch_group id {}", bucket.watch_group));
                }
            } else if is("bucket_id") {
                bucket.id = u32_of(arg, at)?;
                if bucket.id > MAX_BUCKET {
                    return invalid(at, format!("invalid bucket_id id {}", bucket.id));
                }
                *protocols &= NEW_FORM;
            } else if is("action") || is("actions") {
                actions.push_str(arg);
                actions.push(',');
            } else {
                actions.push_str(item.name);
                actions.push('(');
                actions.push_str(arg);
                actions.push_str("),");
            }
        }
        if actions.is_empty() {
            return invalid(start, "bucket must specify actions");
        }
        if kind == FAST_FAILOVER && bucket.watch_port == OfPort::ANY && bucket.watch_group == ANY_GROUP {
            return invalid(start, "fast failover bucket requires watch_port or watch_group");
        }
        let (actions, forms) = self.free_actions(&actions).map_err(|e| ParseFlowError { at: start, ..e })?;
        bucket.actions = actions;
        *protocols &= forms;
        Ok(bucket)
    }
}

fn command_bucket(text: &str, at: usize) -> Parsed<u32> {
    Ok(match text {
        "all" => GroupMod::ALL_BUCKETS,
        "first" => FIRST_BUCKET,
        "last" => LAST_BUCKET,
        text => match u32_of(text, at)? {
            id @ (0..=MAX_BUCKET | FIRST_BUCKET..) => id,
            id => return invalid(at, format!("invalid command bucket id {id}")),
        },
    })
}

fn select_fields(text: &str, start: usize, fields: &mut Vec<(FieldId, u128)>, protocols: &mut Protocols) -> Parsed<()> {
    for item in items(text) {
        let at = start.saturating_add(item.arg_at);
        let Some(field) = FieldId::by_name(item.name).or_else(|| FieldId::by_wire_name(item.name)) else {
            return invalid(start.saturating_add(item.at), format!("{text}: unknown field {}", item.name));
        };
        if fields.iter().any(|(f, _)| *f == field) {
            return invalid(at, format!("{}: duplicate field", item.name));
        }
        let info = field.info();
        let mask = if item.arg.is_empty() { info.max_value() } else { field_value(field, item.arg, at)?.value };
        if mask == 0 {
            return invalid(at, format!("{text}: values are wildcards here and must not be all-zeros"));
        }
        if mask != info.max_value() && !info.maskable {
            return invalid(at, format!("{}: invalid mask for field {}", item.arg, info.name));
        }
        fields.push((field, mask));
        *protocols &= Protocols::of_field(field, mask);
    }
    Ok(())
}

/// Gives each bucket without a number the lowest that no other has.
fn number_buckets(buckets: &mut [Bucket]) {
    let used: BTreeSet<u32> = buckets.iter().map(|b| b.id).filter(|id| *id <= MAX_BUCKET).collect();
    let mut free = (0..=MAX_BUCKET).filter(|id| !used.contains(id));
    for bucket in buckets.iter_mut().filter(|b| b.id > MAX_BUCKET) {
        bucket.id = free.next().unwrap_or(MAX_BUCKET);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str, command: GroupCommand) -> String {
        Parser::default().group_mod(text, command).unwrap_err().problem.to_string()
    }

    #[test]
    fn buckets_and_defaults() {
        let read = Parser::default()
            .group_mod(
                "group_id=5,type=ff,bucket=bucket_id:1,watch_port:2,output:2,bucket=watch_group=3,actions=drop",
                GroupCommand::Add,
            )
            .unwrap();
        assert_eq!(read.protocols, NEW_FORM);
        let [one, two] = read.value.desc.buckets.as_slice() else { panic!() };
        assert_eq!((one.id, one.watch_port, one.actions.len()), (1, OfPort(2), 1));
        assert_eq!((two.id, two.watch_group, two.actions.len(), two.weight), (0, 3, 0, 0));
        let all = Parser::default().group_mod("", GroupCommand::Delete).unwrap();
        assert_eq!(all.value.desc.group, ALL_GROUPS);
        let insert =
            Parser::default().group_command("insert_bucket group_id=1,command_bucket_id=last,bucket=actions=1");
        assert_eq!((insert.as_ref().unwrap().value.command, insert.unwrap().value.bucket), (3, LAST_BUCKET));
    }

    #[test]
    fn selection() {
        let text = "group_id=1,type=select,selection_method=hash,fields(ip_dst=255.255.0.0,nw_proto),bucket=actions=1";
        let read = Parser::default().group_mod(text, GroupCommand::Add).unwrap();
        let selection = read.value.desc.selection.unwrap();
        assert_eq!(selection.method, "hash");
        assert!(selection.fields.contains(&(FieldId::NwDst, 0xffff_0000)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        use GroupCommand::*;
        assert_eq!(says("group_id=1234,bukket=5", Add), "unknown keyword bukket");
        assert_eq!(says("type=all", Add), "must specify a group_id");
        assert_eq!(says("group_id=1", Add), "must specify a type");
        assert_eq!(says("group_id=1,type=x", Add), "invalid group type x");
        assert_eq!(
            says("group_id=1,type=all,bucket=weight:1,actions=1", Add),
            "Only select groups can have bucket weights."
        );
        assert_eq!(
            says("group_id=1,type=ff,bucket=actions=1", Add),
            "fast failover bucket requires watch_port or watch_group"
        );
        assert_eq!(says("group_id=1,bucket=actions=1", Delete), "bucket is not needed");
        assert_eq!(says("group_id=1,bucket=actions=1", InsertBucket), "must specify a command bucket id");
        assert_eq!(
            says("group_id=1,type=select,fields(nw_src),bucket=actions=1", Add),
            "fields may only be specified with \"selection_method=hash\""
        );
        assert_eq!(
            says("group_id=1,type=select,bucket=actions=clear_actions", Add),
            "clear_actions instruction not allowed here"
        );
    }
}
