//! Reads flows: `KEY=VALUE` terms and flags, a match among them, and `actions=` at the end.

use std::str::FromStr;

use ovs_packet::Match;
use ovs_packet::field::{FieldId, Value};
use ovs_packet::text::{
    MatchProblem, NoNames, ParseMatchError, PortNames, Term, Terms, match_of_terms_into, match_of_terms_with,
};

use super::error::{ParseFlowError, Parsed, Problem, field_value, invalid};
use super::lexer::{self, is_space};
use super::number::{port_of, table_of, u16_of, u64_of};
use super::protocol::Protocols;
use crate::codec::{FlowStatsRequest, OfError};
use crate::flow_mod::{ALL_TABLES, FlowMod, FlowModCommand, FlowModFlags};

/// What was read, and the forms of OpenFlow that can say it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read<T> {
    /// What was read.
    pub value: T,
    /// The forms that can say it.
    pub protocols: Protocols,
}

/// Reads the language, with names of ports if somebody knows them.
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
    normalises: bool,
}

impl std::fmt::Debug for Parser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

impl Default for Parser<'_> {
    fn default() -> Self {
        Parser { ports: &NoNames, normalises: false }
    }
}

/// So many terms may be taken away, each of which costs another look at all: more than there are fields.
const MAX_UNMET: usize = 256;

/// The flags of a flow, in the order in which they are written, and the forms that have them.
pub(super) const FLAGS: [(&str, FlowModFlags); 5] = [
    ("send_flow_rem", FlowModFlags::SEND_FLOW_REM),
    ("check_overlap", FlowModFlags::CHECK_OVERLAP),
    ("reset_counts", FlowModFlags::RESET_COUNTS),
    ("no_packet_counts", FlowModFlags::NO_PKT_COUNTS),
    ("no_byte_counts", FlowModFlags::NO_BYT_COUNTS),
];

fn forms_of(flag: FlowModFlags) -> Protocols {
    match flag {
        FlowModFlags::RESET_COUNTS => Protocols::OXM,
        FlowModFlags::NO_PKT_COUNTS | FlowModFlags::NO_BYT_COUNTS => Protocols::OF13_UP,
        _ => Protocols::ANY,
    }
}

/// The commands, in the words that begin a line of a file of flows.
pub(super) const COMMANDS: [(&str, FlowModCommand); 5] = [
    ("add", FlowModCommand::Add),
    ("modify", FlowModCommand::Modify),
    ("modify_strict", FlowModCommand::ModifyStrict),
    ("delete", FlowModCommand::Delete),
    ("delete_strict", FlowModCommand::DeleteStrict),
];

/// What is passed over: what `dump-flows` says of a flow and nothing else can, and what a switch's own tools say.
const PASSED_OVER: [&str; 7] =
    ["duration", "n_packets", "n_bytes", "idle_age", "hard_age", "no_readonly_table", "allow_hidden_fields"];

/// The table of a command that names none.
pub(super) fn default_table(command: FlowModCommand) -> u8 {
    match command {
        FlowModCommand::Delete | FlowModCommand::DeleteStrict => ALL_TABLES,
        _ => 0,
    }
}

/// Splits at the term `actions=`: what is before it, and what is behind it with its place.
pub(super) fn split_actions(text: &str) -> (&str, Option<(&str, usize)>) {
    let mut rest = 0usize;
    while let Some(at) = text.as_bytes().get(rest..).and_then(end_of_name) {
        let equals = rest.saturating_add(at);
        rest = equals.saturating_add(1);
        let (Some(name), Some(behind)) = (text.get(..equals), text.get(rest..)) else { break };
        let head = name.strip_suffix("actions").or_else(|| name.strip_suffix("action"));
        if let Some(head) = head.filter(|head| head.bytes().next_back().is_none_or(|b| is_space(b) || b == b'(')) {
            return (head, Some((behind, rest)));
        }
    }
    (text, None)
}

/// Where the first equals sign stands that could be behind `action` or `actions`.
fn end_of_name(text: &[u8]) -> Option<usize> {
    let could = |before: &u8, b: &u8| (*b == b'=') & ((*before == b's') | (*before == b'n'));
    let behind = text.get(1..)?;
    // Blocks without one are passed over as a whole.
    let (blocks, blocks_behind) = (text.as_chunks::<16>().0, behind.as_chunks::<16>().0);
    let has_none = |(block, behind): &(&[u8; 16], &[u8; 16])| {
        !block.iter().zip(*behind).fold(false, |found, (before, b)| found | could(before, b))
    };
    let skipped = blocks.iter().zip(blocks_behind).take_while(has_none).count().saturating_mul(16);
    let mut rest = text.get(skipped..)?.iter().zip(behind.get(skipped..)?);
    rest.position(|(before, b)| could(before, b)).map(|at| skipped.saturating_add(at).saturating_add(1))
}

/// Which keys a command has.
#[derive(Clone, Copy)]
struct Keys {
    /// Actions, timeouts, flags.
    sets: bool,
    /// The importance.
    adds: bool,
    /// The priority.
    one: bool,
    /// Where the flows lead to.
    selects: bool,
}

impl Keys {
    fn of(command: FlowModCommand) -> Keys {
        let deletes = matches!(command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
        Keys {
            sets: !deletes,
            adds: command == FlowModCommand::Add,
            one: command != FlowModCommand::Delete,
            selects: deletes,
        }
    }
}

impl<'p> Parser<'p> {
    /// A parser that asks `ports` for the names that it does not know.
    pub fn new(ports: &'p dyn PortNames) -> Parser<'p> {
        Parser { ports, normalises: false }
    }

    /// The same, but a flow may match fields that the rest of its match does not say to be there: as upstream's
    /// tools do it, they are left out, which is told in the log.
    pub fn normalising(self) -> Parser<'p> {
        Parser { normalises: true, ..self }
    }

    /// Reads a flow as `add-flow`, `mod-flows` or `del-flows` take it. What `dump-flows` prints can be read too: what
    /// it says of packets and ages is passed over. The table of a flow that names none is 0, in deletions all.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn flow_mod(&self, text: &str, command: FlowModCommand) -> Parsed<FlowMod> {
        let mut flow = FlowMod { command, table: ALL_TABLES, ..FlowMod::NEW };
        self.read_flow(text, &mut flow)?;
        if flow.table == ALL_TABLES {
            flow.table = default_table(command);
        }
        Ok(flow)
    }

    /// The same, with the forms that can say it. The table of a flow that names none is [`ALL_TABLES`], for the switch to
    /// choose.
    ///
    /// ```
    /// use ovs_ofproto::FlowModCommand;
    /// use ovs_ofproto::text::{Parser, Protocols};
    ///
    /// let flow = Parser::default().flow("tcp,tp_src=0x10/0xf0,actions=drop", FlowModCommand::Add)?;
    /// assert_eq!(flow.protocols.to_string(), "NXM,OXM");
    /// assert_eq!(flow.protocols.first(), Some(Protocols::NXM));
    /// # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn flow(&self, text: &str, command: FlowModCommand) -> Parsed<Read<FlowMod>> {
        let mut flow = FlowMod { command, table: ALL_TABLES, ..FlowMod::NEW };
        let protocols = self.read_flow(text, &mut flow)?;
        Ok(Read { value: flow, protocols })
    }

    /// Reads into a flow that says nothing yet but its command, and gives the forms that can say it.
    fn read_flow(&self, text: &str, flow: &mut FlowMod) -> Parsed<Protocols> {
        let keys = Keys::of(flow.command);
        if !keys.sets {
            return self.head(text, keys, flow);
        }
        let (head, Some((actions, at))) = split_actions(text) else {
            return invalid(text.len(), "must specify an action");
        };
        let mut protocols = self.head(head, keys, flow)?;
        let read = self.read_instructions(actions, &flow.matching, &mut flow.instructions);
        protocols &= read.map_err(|e| e.moved(at))?;
        if flow.instructions.goto.is_some_and(|next| next <= flow.table && flow.table != ALL_TABLES) {
            let why = "goto_table must lead to a later table";
            return Err(ParseFlowError::refused(at, OfError::BadInstructionBadTable, why));
        }
        if protocols.is_empty() {
            return Err(ParseFlowError::refused(at, OfError::BadActionMatchInconsistent, ""));
        }
        Ok(protocols)
    }

    /// The same of a line that may begin with its command, and adds the flow if it does not.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn flow_command(&self, text: &str) -> Parsed<Read<FlowMod>> {
        let (command, rest) = split_command(text);
        let read = self.flow(rest, command.unwrap_or_default());
        read.map_err(|e| e.moved(text.len().saturating_sub(rest.len())))
    }

    /// Reads what selects flows for statistics, as `dump-flows` takes it.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn flow_stats_request(&self, text: &str) -> Parsed<Read<FlowStatsRequest>> {
        let keys = Keys { sets: false, adds: false, one: false, selects: true };
        let mut flow = FlowMod { command: FlowModCommand::Delete, table: ALL_TABLES, ..FlowMod::default() };
        let mut protocols = self.head(text, keys, &mut flow)?;
        // Statistics name their table in every form.
        for (tabled, plain) in [(Protocols::OF10_TID, Protocols::OF10), (Protocols::NXM_TID, Protocols::NXM)] {
            if protocols.contains(tabled) {
                protocols |= plain;
            }
        }
        let value = FlowStatsRequest {
            table: flow.table,
            out_port: flow.out_port,
            out_group: flow.out_group,
            cookie: flow.cookie,
            cookie_mask: flow.cookie_mask,
            matching: flow.matching,
        };
        Ok(Read { value, protocols })
    }

    /// Reads keys and match.
    fn head(&self, head: &str, keys: Keys, flow: &mut FlowMod) -> Parsed<Protocols> {
        let mut protocols = Protocols::ANY;
        let mut matching = Vec::with_capacity(8);
        for t in Terms::new(head) {
            let t = t.map_err(|e| wrong(head, e))?;
            if t.is_known() || !self.key(flow, keys, &t, &mut protocols)? {
                matching.push(t);
            }
        }
        if !self.normalises {
            let read = match_of_terms_into(&matching, self.ports, &mut flow.matching);
            read.map_err(|e| ParseFlowError { at: e.at, problem: Problem::Match(e.problem) })?;
            return Ok(protocols & forms_of_match(&matching, &flow.matching));
        }
        let unmet;
        (flow.matching, unmet) = self.normalised(&mut matching)?;
        if !unmet.is_empty() {
            let mut before = flow.matching.to_owned();
            unmet.iter().for_each(|v| before.set_masked(v.field, v.value, v.mask));
            tracing::info!(target: "ofp_match", "normalization changed ofp_match, details:");
            tracing::info!(target: "ofp_match", " pre: {before}");
            tracing::info!(target: "ofp_match", "post: {}", flow.matching);
        }
        Ok(protocols & forms_of_match(&matching, &flow.matching))
    }

    /// Builds a match from terms. Those that need what the others do not say are taken away, and what they say is given.
    fn normalised(&self, terms: &mut Vec<Term<'_>>) -> Parsed<(Match, Vec<Value>)> {
        let mut unmet = Vec::new();
        loop {
            let e = match match_of_terms_with(terms, self.ports) {
                Ok(m) => return Ok((m, unmet)),
                Err(e) => e,
            };
            let lacks = matches!(e.problem, MatchProblem::Prerequisite { .. });
            let lacks = lacks && unmet.len() < MAX_UNMET;
            let Some(n) = terms.iter().position(|t| lacks && t.at == e.at) else {
                return Err(ParseFlowError { at: e.at, problem: Problem::Match(e.problem) });
            };
            let t = terms.remove(n);
            if let (Some(field), Some(text)) = (FieldId::by_name(t.name), t.value) {
                let at = t.at.saturating_add(t.name.len()).saturating_add(1);
                unmet.push(field_value(field, text, at)?);
            }
        }
    }

    /// Builds a match from terms.
    pub(super) fn matching(&self, terms: &[Term<'_>]) -> Parsed<Match> {
        match_of_terms_with(terms, self.ports)
            .map_err(|e| ParseFlowError { at: e.at, problem: Problem::Match(e.problem) })
    }

    /// Takes `t` if it is a key of the flow and not a term of its match.
    fn key(&self, flow: &mut FlowMod, keys: Keys, t: &Term<'_>, protocols: &mut Protocols) -> Parsed<bool> {
        let value_at = t.value.map_or(t.at, |_| t.at.saturating_add(t.name.len()).saturating_add(1));
        let value = || match t.value {
            Some(value) if !value.is_empty() => Ok(value),
            _ => invalid(t.at, format!("field {} missing value", t.name)),
        };
        match t.name {
            "table" => {
                flow.table = table_of(value()?, value_at, self.ports, |text| format!("unknown table \"{text}\""))?;
                if flow.table != ALL_TABLES {
                    *protocols &= Protocols::TABLED;
                }
            }
            "priority" if keys.one => flow.priority = u16_of(value()?, value_at, t.name)?,
            "cookie" => cookie(flow, keys, value()?, value_at, protocols)?,
            "idle_timeout" if keys.sets => flow.idle_timeout = u16_of(value()?, value_at, t.name)?,
            "hard_timeout" if keys.sets => flow.hard_timeout = u16_of(value()?, value_at, t.name)?,
            "importance" if keys.adds => flow.importance = u16_of(value()?, value_at, t.name)?,
            "out_port" if keys.selects => {
                let says = |text: &str| format!("{text} is not a valid OpenFlow port");
                flow.out_port = port_of(value()?, value_at, self.ports, says)?;
            }
            "out_group" if keys.selects => {
                *protocols &= Protocols::OF11_UP;
                let text = value()?;
                flow.out_group = super::group::group_id(text).ok_or_else(|| {
                    ParseFlowError::invalid(value_at, format!("{text} is not a valid OpenFlow group"))
                })?;
            }
            name if PASSED_OVER.contains(&name) => {}
            name => match FLAGS.iter().find(|(flag, _)| *flag == name && keys.sets) {
                Some((_, flag)) => {
                    flow.flags |= *flag;
                    *protocols &= forms_of(*flag);
                }
                None => return Ok(false),
            },
        }
        Ok(true)
    }
}

/// What is wrong with terms of a text.
#[cold]
fn wrong(text: &str, e: ParseMatchError) -> ParseFlowError {
    match e.problem {
        MatchProblem::Syntax => {
            ParseFlowError::expected(e.at, "NAME or NAME=VALUE", text.get(e.at..).unwrap_or_default())
        }
        problem => ParseFlowError { at: e.at, problem: Problem::Match(problem) },
    }
}

/// The forms that can say a match that was read from `terms`.
pub(super) fn forms_of_match(terms: &[Term<'_>], m: &Match) -> Protocols {
    let mut protocols = Protocols::of_ipv6(m);
    for t in terms {
        let field = match t.field() {
            // All forms have the port's number.
            Some(FieldId::InPortOxm) if t.name == "in_port" => FieldId::InPort,
            Some(field) => field,
            None => continue,
        };
        if m.is_exact(field) {
            protocols &= Protocols::of_field(field, u128::MAX);
            continue;
        }
        let (_, mask) = m.get(field);
        let says_nothing = mask == 0 && t.value.is_some_and(|v| v == "*" || v.contains('/'));
        if !(says_nothing && field.tun_metadata_index().is_none()) {
            protocols &= Protocols::of_field(field, mask);
        }
    }
    protocols
}

/// `VALUE` where flows get a cookie, `VALUE/MASK` where they are selected by theirs.
fn cookie(flow: &mut FlowMod, keys: Keys, text: &str, at: usize, protocols: &mut Protocols) -> Parsed<()> {
    match lexer::split(text, b'/') {
        Some(_) if keys.adds => return invalid(at, "flow additions cannot use a cookie mask"),
        Some((value, mask)) => {
            (flow.cookie, flow.cookie_mask) = (u64_of(value, at)?, u64_of(mask, at)?);
            if flow.cookie_mask != 0 {
                *protocols &= Protocols::NXM_OF11_UP;
            }
        }
        None if keys.adds => flow.cookie = u64_of(text, at)?,
        None if keys.sets => flow.new_cookie = Some(u64_of(text, at)?),
        None => {
            let says = "cannot set cookie (to match on a cookie, specify a mask, e.g. ";
            return invalid(at, format!("{says}cookie={text}/-1)"));
        }
    }
    Ok(())
}

/// The word that begins a text, if it is a command, and what stands behind it.
pub(super) fn split_command(text: &str) -> (Option<FlowModCommand>, &str) {
    let start = text.trim_start();
    let end = start.bytes().position(is_space).unwrap_or(start.len());
    let (first, rest) = start.split_at_checked(end).unwrap_or_default();
    match COMMANDS.iter().find(|(word, _)| *word == first) {
        Some((_, command)) => (Some(*command), rest),
        None => (None, text),
    }
}

/// Reads an addition, or what one of `add`, `modify`, `modify_strict`, `delete` and `delete_strict` in front says.
impl FromStr for FlowMod {
    type Err = ParseFlowError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (command, rest) = split_command(s);
        let flow = Parser::default().flow_mod(rest, command.unwrap_or_default());
        flow.map_err(|e| e.moved(s.len().saturating_sub(rest.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_narrow() {
        let forms = |text: &str| {
            let read = Parser::default().flow(text, FlowModCommand::Add);
            read.map(|r| r.protocols.to_string()).unwrap_or_else(|e| e.to_string())
        };
        assert_eq!(forms("ip,nw_src=10.0.0.0/8,actions=drop"), "any");
        assert_eq!(forms("table=1,actions=drop"), "OXM,OpenFlow10+table_id,NXM+table_id,OpenFlow11");
        assert_eq!(forms("udp6,udp_dst=1,actions=drop"), "NXM,OXM");
        assert_eq!(forms("actions=mod_nw_src:1.2.3.4"), "OpenFlow10,NXM");
        assert_eq!(forms("reset_counts,actions=drop"), "OXM");
        assert_eq!(forms("dl_dst=*,actions=drop"), "any");
        assert_eq!(
            forms("skb_priority=0,actions=drop"),
            "at offset 23: actions are invalid with specified match (OFPBAC_MATCH_INCONSISTENT)"
        );
    }

    #[test]
    fn keys_are_no_names_of_fields() {
        let keys =
            ["table", "priority", "cookie", "idle_timeout", "hard_timeout", "importance", "out_port", "out_group"];
        for key in keys.iter().chain(&PASSED_OVER).chain(FLAGS.iter().map(|(name, _)| name)) {
            assert!(!Term::new(key, None, 0).is_known(), "{key}");
        }
    }

    #[test]
    fn actions_begin_wherever_their_name_does() {
        for n in 0..70 {
            let head = format!("{}tcp_flags=ns,xactions=1,interaction=2,", "y".repeat(n));
            for name in ["action", "actions"] {
                let text = format!("{head}{name}=drop,actions=1");
                assert_eq!(
                    split_actions(&text),
                    (head.as_str(), Some(("drop,actions=1", head.len() + name.len() + 1)))
                );
            }
            assert_eq!(split_actions(&head), (head.as_str(), None));
        }
        assert_eq!(split_actions("actions="), ("", Some(("", 8))));
        assert_eq!(split_actions("s="), ("s=", None));
        assert_eq!(split_actions(""), ("", None));
        assert_eq!(split_actions("é actions=é"), ("é ", Some(("é", 11))));
    }

    #[test]
    fn keys_of_other_commands_are_refused() {
        use FlowModCommand::*;
        let says = |text: &str, command| Parser::default().flow(text, command).unwrap_err().problem.to_string();
        assert_eq!(says("out_port=1,actions=drop", Add), "unknown keyword out_port");
        assert_eq!(says("priority=1", Delete), "unknown keyword priority");
        assert_eq!(says("importance=1,actions=drop", Modify), "unknown keyword importance");
        assert_eq!(says("cookie=1/1,actions=drop", Add), "flow additions cannot use a cookie mask");
        assert_eq!(
            says("cookie=1", Delete),
            "cannot set cookie (to match on a cookie, specify a mask, e.g. cookie=1/-1)"
        );
        assert_eq!(says("ip", Add), "must specify an action");
        assert_eq!(says("table=x", Delete), "unknown table \"x\"");
        assert_eq!(says("idle_timeout=,actions=drop", Add), "field idle_timeout missing value");
    }
}
