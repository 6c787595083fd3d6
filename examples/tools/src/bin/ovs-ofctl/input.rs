//! Flows, groups and meters as they are given: as an argument or in a file, in the language of flows or in JSON.
//!
//! A text whose first character is `{` or `[` is JSON, for nothing in the language begins so: an object, a list of them,
//! or objects one behind the other, as `--format json` prints them. An object is a flow, a group or a meter as the body of
//! its message is in JSON, or a whole message; of replies, the flows, groups or meters that they tell, to be added. What
//! does not say its command is for that of the sub-command. Numbers of ports are numbers there.
//!
//! Which versions can say what JSON says, is seen by writing it in each and reading that again: so it is checked as a
//! switch would, field by field and action by action.

use ovs_ofproto::codec::{FlowStats, GroupDesc, GroupMod, Message, MeterConfig, MeterMod};
use ovs_ofproto::text::{GroupCommand, MeterCommand, ParseFlowError, Parser, PortNames, Protocols, Read};
use ovs_ofproto::{FlowMod, FlowModCommand};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Deserializer, Value};

use crate::context::{Context, Failure, lines, read_text, refuse, refuse_in};
use crate::online::switch::Names;

type Parsed<T> = Result<Read<T>, ParseFlowError>;

/// What a sub-command changes.
pub(crate) trait Change: Sized + DeserializeOwned {
    type Command: Copy + PartialEq;

    /// The command in the place of which lines of a file may say another.
    const ADD: Self::Command;

    /// Who reads the language of it.
    fn parser(names: &dyn PortNames) -> Parser<'_> {
        Parser::new(names)
    }

    fn parse(parser: &Parser<'_>, text: &str, command: Self::Command) -> Parsed<Self>;
    /// The same of a line that may begin with a command.
    fn parse_line(parser: &Parser<'_>, text: &str) -> Parsed<Self>;
    fn command_to(&mut self, command: Self::Command);
    /// What a whole message says of it.
    fn of_message(message: Message) -> Option<Vec<Self>>;
    /// What is told of it, where that alone is an object.
    fn of_told(value: &Value) -> Option<serde_json::Result<Self>>;
    fn encode(&self, form: Protocols) -> Result<Vec<u8>, String>;
}

fn flow_of_stats(flow: FlowStats) -> FlowMod {
    let mut added = FlowMod::default();
    (added.table, added.priority, added.cookie) = (flow.table, flow.priority, flow.cookie);
    (added.idle_timeout, added.hard_timeout) = (flow.idle_timeout, flow.hard_timeout);
    (added.importance, added.flags) = (flow.importance, flow.flags);
    (added.matching, added.instructions) = (flow.matching, flow.instructions);
    added
}

/// In the version of a form.
fn encoded(message: &Message, form: Protocols) -> Result<Vec<u8>, String> {
    let version = form.version().ok_or("no single form")?;
    message.encode(version, 1).map_err(|e| e.to_string())
}

impl Change for FlowMod {
    type Command = FlowModCommand;

    const ADD: FlowModCommand = FlowModCommand::Add;

    fn parser(names: &dyn PortNames) -> Parser<'_> {
        Parser::new(names).normalising()
    }

    fn parse(parser: &Parser<'_>, text: &str, command: FlowModCommand) -> Parsed<FlowMod> {
        parser.flow(text, command)
    }

    fn parse_line(parser: &Parser<'_>, text: &str) -> Parsed<FlowMod> {
        parser.flow_command(text)
    }

    fn command_to(&mut self, command: FlowModCommand) {
        self.command = command;
    }

    fn of_message(message: Message) -> Option<Vec<FlowMod>> {
        match message {
            Message::FlowMod(flow) => Some(vec![*flow]),
            Message::FlowStatsReply(reply) => Some(reply.flows.into_iter().map(flow_of_stats).collect()),
            _ => None,
        }
    }

    fn of_told(value: &Value) -> Option<serde_json::Result<FlowMod>> {
        let told = value.get("packet_count").or(value.get("duration")).is_some();
        told.then(|| FlowStats::deserialize(value).map(flow_of_stats))
    }

    fn encode(&self, form: Protocols) -> Result<Vec<u8>, String> {
        form.encode_flow_mod(self.clone(), 1).map_err(|e| e.to_string())
    }
}

fn group_of_desc(desc: GroupDesc) -> GroupMod {
    let mut added = GroupMod::default();
    added.desc = desc;
    added
}

impl Change for GroupMod {
    type Command = GroupCommand;

    const ADD: GroupCommand = GroupCommand::Add;

    fn parse(parser: &Parser<'_>, text: &str, command: GroupCommand) -> Parsed<GroupMod> {
        parser.group_mod(text, command)
    }

    fn parse_line(parser: &Parser<'_>, text: &str) -> Parsed<GroupMod> {
        parser.group_command(text)
    }

    fn command_to(&mut self, command: GroupCommand) {
        self.command = command as u16;
    }

    fn of_message(message: Message) -> Option<Vec<GroupMod>> {
        match message {
            Message::GroupMod(group) => Some(vec![*group]),
            Message::GroupDescReply(page) => Some(page.items.into_iter().map(group_of_desc).collect()),
            _ => None,
        }
    }

    fn of_told(value: &Value) -> Option<serde_json::Result<GroupMod>> {
        value.get("group_id").map(|_| GroupDesc::deserialize(value).map(group_of_desc))
    }

    fn encode(&self, form: Protocols) -> Result<Vec<u8>, String> {
        encoded(&Message::from(self.clone()), form)
    }
}

fn meter_of_config(config: MeterConfig) -> MeterMod {
    let mut added = MeterMod::default();
    added.config = config;
    added
}

impl Change for MeterMod {
    type Command = MeterCommand;

    const ADD: MeterCommand = MeterCommand::Add;

    fn parse(parser: &Parser<'_>, text: &str, command: MeterCommand) -> Parsed<MeterMod> {
        let value = parser.meter_mod(text, command)?;
        Ok(Read { value, protocols: Protocols::OF13_UP })
    }

    fn parse_line(parser: &Parser<'_>, text: &str) -> Parsed<MeterMod> {
        MeterMod::parse(parser, text, MeterCommand::Add)
    }

    fn command_to(&mut self, command: MeterCommand) {
        self.command = command as u16;
    }

    fn of_message(message: Message) -> Option<Vec<MeterMod>> {
        match message {
            Message::MeterMod(meter) => Some(vec![meter]),
            Message::MeterConfigReply(page) => Some(page.items.into_iter().map(meter_of_config).collect()),
            _ => None,
        }
    }

    fn of_told(value: &Value) -> Option<serde_json::Result<MeterMod>> {
        value.get("meter_id").map(|_| MeterConfig::deserialize(value).map(meter_of_config))
    }

    fn encode(&self, form: Protocols) -> Result<Vec<u8>, String> {
        encoded(&Message::MeterMod(self.clone()), form)
    }
}

/// What was read, and the forms that can say all of it.
pub(crate) type Changes<T> = (Vec<T>, Protocols);

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Hands on the objects of a value, those in lists too, by their numbers.
fn each_object(value: Value, each: &mut impl FnMut(Value) -> Result<(), Failure>) -> Result<(), Failure> {
    match value {
        Value::Array(values) => values.into_iter().try_for_each(|value| each_object(value, each)),
        value => each(value),
    }
}

/// What an object says.
fn of_object<T: Change>(value: Value, command: T::Command) -> Result<Vec<T>, String> {
    let wrong = |e: serde_json::Error| e.to_string();
    if value.get("body").is_some() {
        let message = Message::deserialize(&value).map_err(wrong)?;
        return T::of_message(message).ok_or_else(|| "a message that says something else".to_string());
    }
    if let Some(told) = T::of_told(&value) {
        let mut one = told.map_err(wrong)?;
        one.command_to(command);
        return Ok(vec![one]);
    }
    let says_command = value.get("command").is_some();
    let mut one = T::deserialize(&value).map_err(wrong)?;
    if !says_command {
        one.command_to(command);
    }
    Ok(vec![one])
}

/// The forms that can say a change so that a switch understands it.
fn forms_of<T: Change>(change: &T) -> Result<Protocols, String> {
    let (mut forms, mut why) = (Protocols::empty(), String::new());
    for form in Protocols::ANY.iter() {
        let said = change.encode(form).and_then(|bytes| Message::decode(&bytes).map_err(|e| e.to_string()));
        match said {
            Ok(_) => forms |= form,
            Err(e) => why = e,
        }
    }
    if forms.is_empty() { Err(why) } else { Ok(forms) }
}

fn read_json<T: Change>(place: &str, text: &str, command: T::Command) -> Result<Changes<T>, Failure> {
    let (mut changes, mut usable, mut number) = (Vec::new(), Protocols::ANY, 0);
    for value in Deserializer::from_str(text).into_iter::<Value>() {
        let value = value.map_err(|e| format!("{place}{e}"))?;
        each_object(value, &mut |value| {
            number += 1;
            let wrong = |e| Failure::Says(format!("{place}object {number}: {e}"));
            for change in of_object::<T>(value, command).map_err(wrong)? {
                usable &= forms_of(&change).map_err(wrong)?;
                changes.push(change);
            }
            Ok(())
        })?;
    }
    Ok((changes, usable))
}

/// Reads what an argument says, or the standard input for `-`, for a switch of which `names` knows the ports.
pub(crate) fn argument<T: Change>(
    context: &Context,
    switch: &str,
    text: &str,
    command: T::Command,
) -> Result<Changes<T>, Failure> {
    if text == "-" {
        return file(context, switch, text, command);
    }
    if is_json(text) {
        return read_json("", text, command);
    }
    let names = Names::of(context, switch);
    let read = T::parse(&T::parser(&names), text, command).map_err(|e| refuse(text, &e))?;
    Ok((vec![read.value], read.protocols))
}

/// Reads what a file says.
pub(crate) fn file<T: Change>(
    context: &Context,
    switch: &str,
    file: &str,
    command: T::Command,
) -> Result<Changes<T>, Failure> {
    let names = Names::of(context, switch);
    file_with(&T::parser(&names), file, command, command == T::ADD)
}

/// The same by a parser that is there. Lines may begin with their `commands`, or are all for the one that is given.
pub(crate) fn file_with<T: Change>(
    parser: &Parser<'_>,
    file: &str,
    command: T::Command,
    commands: bool,
) -> Result<Changes<T>, Failure> {
    let text = read_text(file)?;
    if is_json(&text) {
        return read_json(&format!("{file}: "), &text, command);
    }
    let (mut changes, mut usable) = (Vec::new(), Protocols::ANY);
    for (number, line) in lines(&text) {
        let read = if commands { T::parse_line(parser, line) } else { T::parse(parser, line, command) };
        let read = read.map_err(|e| refuse_in(&format!("{file}:{number}: "), line, &e))?;
        usable &= read.protocols;
        changes.push(read.value);
    }
    Ok((changes, usable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flows(text: &str) -> Result<Vec<String>, String> {
        match read_json::<FlowMod>("", text, FlowModCommand::Add) {
            Ok((flows, _)) => Ok(flows.iter().map(ToString::to_string).collect()),
            Err(Failure::Says(text)) => Err(text),
            Err(Failure::Status(_)) => Err(String::new()),
        }
    }

    #[test]
    fn objects_lists_and_streams_of_flows() {
        let one = r#"{"match": {"in_port": 1}, "instructions": {"goto_table": 2}}"#;
        let said = "in_port=1 actions=goto_table:2";
        assert_eq!(flows(one).unwrap(), [said]);
        assert_eq!(flows(&format!("[{one}, [{one}]]\n{one}\n{one}")).unwrap(), [said; 4]);
        assert_eq!(flows(r#"{"command": "delete", "match": {}}"#).unwrap(), ["delete table=0"]);
    }

    #[test]
    fn replies_are_added_again() {
        let reply = r#"{"type": "flow_stats_reply", "body": {"flows": [
            {"table_id": 3, "priority": 5, "match": {"in_port": 7}, "packet_count": 9, "instructions": {"goto_table": 4}}]}}"#;
        assert_eq!(flows(reply).unwrap(), ["table=3,priority=5,in_port=7 actions=goto_table:4"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert!(flows(r#"[{"match": {"in_port": 1"#).unwrap_err().contains("line 1 column"));
        let wrong = r#"[{"match": {}}, {"matches": {}}]"#;
        assert!(flows(wrong).unwrap_err().starts_with("object 2: unknown field `matches`"));
        // A field without what must be matched beside it.
        assert!(flows(r#"{"match": {"tcp_dst": 80}}"#).unwrap_err().starts_with("object 1: "));
        assert!(flows(r#"{"type": "echo_request", "body": ""}"#).unwrap_err().contains("something else"));
        assert!(flows("[3]").is_err());
    }

    #[test]
    fn groups_and_meters() {
        let read = read_json::<GroupMod>(
            "",
            r#"{"group_id": 5, "type": "all", "buckets": [{"actions": ["dec_ttl"]}]}"#,
            GroupCommand::Add,
        );
        let Ok((groups, forms)) = read else { panic!() };
        assert_eq!((groups[0].desc.group, groups[0].desc.buckets.len()), (5, 1));
        assert!(forms.contains(Protocols::OF13));
        let text = r#"{"meter_id": 5, "flags": ["kbps"], "bands": [{"type": "drop", "rate": 10}]}"#;
        let Ok((meters, forms)) = read_json::<MeterMod>("", text, MeterCommand::Modify) else { panic!() };
        assert_eq!((meters[0].command, meters[0].config.meter), (1, 5));
        assert!(!forms.contains(Protocols::OF10) && forms.contains(Protocols::OF15));
    }
}
