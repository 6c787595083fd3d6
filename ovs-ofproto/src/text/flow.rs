//! Reads flow modifications: `KEY=VALUE` terms and flags, a match among them, and `actions=` at the end.

use std::str::FromStr;

use ovs_packet::text::{MatchProblem, NoNames, PortNames, Term, match_of_terms_with, number, resolve_port, terms};

use super::error::{ParseFlowError, Problem};
use crate::codec::{OfError, check_flow};
use crate::flow_mod::{ALL_TABLES, FlowMod, FlowModCommand, FlowModFlags};

/// A number up to `max`, or the error that `expected` describes.
pub(super) fn number_at<T: TryFrom<u128>>(
    text: &str,
    at: usize,
    expected: &'static str,
    max: u128,
) -> Result<T, ParseFlowError> {
    let fits = number(text).filter(|n| *n <= max).and_then(|n| T::try_from(n).ok());
    fits.ok_or_else(|| ParseFlowError::expected(at, expected, text))
}

/// Reads flows and actions, with names of ports if somebody knows them.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use ovs_ofproto::text::Parser;
/// use ovs_ofproto::{Action, FlowModCommand};
/// use ovs_packet::OfPort;
///
/// let ports = BTreeMap::from([("eth0".to_string(), OfPort(7))]);
/// let flow = Parser::new(&ports).flow_mod("in_port=eth0,actions=eth0", FlowModCommand::Add)?;
/// assert_eq!(flow.to_string(), "in_port=7 actions=output:7");
/// # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Parser<'p> {
    pub(super) ports: &'p dyn PortNames,
}

impl std::fmt::Debug for Parser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

impl Default for Parser<'_> {
    fn default() -> Self {
        Parser { ports: &NoNames }
    }
}

/// The flags of a flow, in the order in which they are written.
pub(super) const FLAGS: [(&str, FlowModFlags); 5] = [
    ("send_flow_rem", FlowModFlags::SEND_FLOW_REM),
    ("check_overlap", FlowModFlags::CHECK_OVERLAP),
    ("reset_counts", FlowModFlags::RESET_COUNTS),
    ("no_packet_counts", FlowModFlags::NO_PKT_COUNTS),
    ("no_byte_counts", FlowModFlags::NO_BYT_COUNTS),
];

/// The commands, in the words that begin a line of a file of flows.
pub(super) const COMMANDS: [(&str, FlowModCommand); 5] = [
    ("add", FlowModCommand::Add),
    ("modify", FlowModCommand::Modify),
    ("modify_strict", FlowModCommand::ModifyStrict),
    ("delete", FlowModCommand::Delete),
    ("delete_strict", FlowModCommand::DeleteStrict),
];

/// What `dump-flows` says of a flow and no flow-mod can say.
const STATISTICS: [&str; 5] = ["duration", "n_packets", "n_bytes", "idle_age", "hard_age"];

/// The table of a command that names none.
pub(super) fn default_table(command: FlowModCommand) -> u8 {
    match command {
        FlowModCommand::Delete | FlowModCommand::DeleteStrict => ALL_TABLES,
        _ => 0,
    }
}

/// Splits at the term `actions=`: what is before it, and what is behind it with its place.
fn split_actions(text: &str) -> (&str, Option<(&str, usize)>) {
    let mut begins = true;
    for (at, c) in text.char_indices() {
        let rest = text.get(at..).unwrap_or_default();
        let behind = rest.strip_prefix("actions=").or_else(|| rest.strip_prefix("action="));
        if let (true, Some(behind)) = (begins, behind) {
            return (text.get(..at).unwrap_or_default(), Some((behind, text.len() - behind.len())));
        }
        begins = matches!(c, ',' | ' ' | '\t' | '\r' | '\n');
    }
    (text, None)
}

impl<'p> Parser<'p> {
    /// A parser that asks `ports` for the names that it does not know.
    pub fn new(ports: &'p dyn PortNames) -> Parser<'p> {
        Parser { ports }
    }

    /// Reads a flow as `add-flow`, `mod-flows` or `del-flows` take it. What `dump-flows` prints can be read too: what
    /// it says of packets and ages is passed over.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn flow_mod(&self, text: &str, command: FlowModCommand) -> Result<FlowMod, ParseFlowError> {
        let mut flow = FlowMod { command, table: default_table(command), ..FlowMod::default() };
        let deletes = flow.table == ALL_TABLES;
        let (head, actions) = split_actions(text);
        let all = terms(head).map_err(|e| match e.problem {
            MatchProblem::Syntax => {
                ParseFlowError::expected(e.at, "NAME or NAME=VALUE", head.get(e.at..).unwrap_or_default())
            }
            problem => ParseFlowError { at: e.at, problem: Problem::Match(problem) },
        })?;
        let mut matching = Vec::new();
        for t in all {
            if !self.key(&mut flow, &t)? {
                matching.push(t);
            }
        }
        flow.matching = match_of_terms_with(&matching, self.ports)
            .map_err(|e| ParseFlowError { at: e.at, problem: Problem::Match(e.problem) })?;
        flow.instructions = match actions {
            Some((actions, at)) => self.instructions(actions, &flow.matching).map_err(|e| e.moved(at))?,
            None if deletes => Default::default(),
            None => return Err(ParseFlowError::expected(text.len(), "actions=ACTIONS", "")),
        };
        if !deletes {
            check_flow(&flow.matching, flow.table, &flow.instructions).map_err(|error| {
                let why = match error {
                    OfError::BadInstructionBadTable => "goto_table must lead to a later table",
                    _ => "the actions do not fit the match",
                };
                ParseFlowError { at: actions.map_or(0, |(_, at)| at), problem: Problem::Refused { error, why } }
            })?;
        }
        Ok(flow)
    }

    /// Takes `t` if it is a key of the flow and not a term of its match.
    fn key(&self, flow: &mut FlowMod, t: &Term<'_>) -> Result<bool, ParseFlowError> {
        let value_at = t.value.map_or(t.at, |_| t.at + t.name.len() + 1);
        let deletes = matches!(flow.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
        if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| *name == t.name) {
            if let Some(value) = t.value {
                return Err(ParseFlowError::expected(value_at, "a flag without a value", value));
            }
            flow.flags |= *flag;
            return Ok(true);
        }
        if STATISTICS.contains(&t.name) {
            return Ok(true);
        }
        let value = || t.value.ok_or_else(|| ParseFlowError::expected(t.at + t.name.len(), "a value", ""));
        let seconds = |text| number_at(text, value_at, "a number from 0 to 65535", 0xffff);
        match t.name {
            "table" => flow.table = number_at(value()?, value_at, "a table from 0 to 255", 255)?,
            "priority" => flow.priority = number_at(value()?, value_at, "a priority from 0 to 65535", 0xffff)?,
            "idle_timeout" => flow.idle_timeout = seconds(value()?)?,
            "hard_timeout" => flow.hard_timeout = seconds(value()?)?,
            "importance" => flow.importance = seconds(value()?)?,
            "cookie" => cookie(flow, value()?, value_at)?,
            "out_port" if deletes => {
                let text = value()?;
                let expected = || ParseFlowError::expected(value_at, "a port", text);
                flow.out_port = resolve_port(text, self.ports).ok_or_else(expected)?;
            }
            "out_port" => return Err(ParseFlowError::expected(t.at, "out_port in deletions only", t.name)),
            "out_group" => {
                return Err(ParseFlowError { at: t.at, problem: Problem::NotBuilt("out_group".to_string()) });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// `VALUE` for an addition, `VALUE/MASK` for the others, where -1 is a mask of all ones.
fn cookie(flow: &mut FlowMod, text: &str, at: usize) -> Result<(), ParseFlowError> {
    let word = |s: &str| match s {
        "-1" => Some(u64::MAX),
        s => number(s).and_then(|n| u64::try_from(n).ok()),
    };
    let (value, mask) = text.split_once('/').map_or((text, None), |(v, m)| (v, Some(m)));
    let expected = || ParseFlowError::expected(at, "a 64-bit number", text);
    flow.cookie = word(value).ok_or_else(expected)?;
    flow.cookie_mask = mask.map_or(Some(0), word).ok_or_else(expected)?;
    match (flow.command, mask) {
        (FlowModCommand::Add, Some(_)) => {
            Err(ParseFlowError::expected(at, "a cookie without a mask for an addition", text))
        }
        (FlowModCommand::Add, None) | (_, Some(_)) => Ok(()),
        (_, None) => {
            let expected = "COOKIE/MASK to select flows by (such as COOKIE/-1): a cookie cannot be changed";
            Err(ParseFlowError::expected(at, expected, text))
        }
    }
}

/// Reads an addition, or what one of `add`, `modify`, `modify_strict`, `delete` and `delete_strict` in front says.
impl FromStr for FlowMod {
    type Err = ParseFlowError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let text = s.trim_start();
        let first = text.split([',', ' ', '\t', '\r', '\n']).next().unwrap_or_default();
        let parser = Parser::default();
        match COMMANDS.iter().find(|(word, _)| *word == first) {
            Some((word, command)) => {
                let rest = text.get(word.len()..).unwrap_or_default();
                parser.flow_mod(rest, *command).map_err(|e| e.moved(s.len() - rest.len()))
            }
            None => parser.flow_mod(s, FlowModCommand::Add),
        }
    }
}
