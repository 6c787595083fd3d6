//! Reads actions and instructions.

use std::slice;

use ovs_packet::{Match, OfPort};

use super::error::{ParseFlowError, Problem};
use super::flow::{Parser, number_at};
use super::lexer::{Item, items};
use super::{extended, set};
use crate::action::{Action, Controller, CtAction, Instructions};
use ovs_packet::text::{number, resolve_port};

use crate::codec::check::Known;
use crate::codec::{MAX_NESTING, OfError, PacketInReason};

/// What upstream's language has and this one does not.
const NOT_BUILT: &[&str] = &["copy_field", "unroll_xlate"];

/// What a list of actions is read with.
#[derive(Clone, Copy)]
struct Context<'p> {
    parser: &'p Parser<'p>,
    /// What is known of packets where the reader stands.
    known: Known,
    /// Whether actions must fit that.
    strict: bool,
}

fn not_built(at: usize, what: impl Into<String>) -> ParseFlowError {
    ParseFlowError { at, problem: Problem::NotBuilt(what.into()) }
}

fn refused(at: usize, error: OfError, why: &'static str) -> ParseFlowError {
    ParseFlowError { at, problem: Problem::Refused { error, why } }
}

impl Parser<'_> {
    /// Reads a list of actions such as `set_field:5->reg0,output:2`, for packets of which nothing is known.
    ///
    /// # Errors
    /// What is no action, with its place.
    pub fn actions(&self, text: &str) -> Result<Vec<Action>, ParseFlowError> {
        let mut context = Context { parser: self, known: Known::of(&Match::ANY), strict: false };
        context.list(text, 0)
    }

    /// Reads what a flow of `matching` does: actions to apply, then instructions in their order.
    ///
    /// # Errors
    /// What is no action or instruction, or does not fit the match, with its place.
    pub fn instructions(&self, text: &str, matching: &Match) -> Result<Instructions, ParseFlowError> {
        let mut context = Context { parser: self, known: Known::of(matching), strict: true };
        let mut found = Instructions::default();
        let all = items(text)?;
        let mut last = 0;
        for item in &all {
            let rank = match item.name {
                "meter" if found.apply.is_empty() && found.meter.is_none() => {
                    let expected = "a meter from 1";
                    found.meter =
                        Some(number_at(item.arg.unwrap_or_default(), item.arg_at, expected, u32::MAX.into())?);
                    continue;
                }
                "clear_actions" => 1,
                "write_actions" => 2,
                "write_metadata" => 3,
                "goto_table" => 4,
                "apply_actions" => {
                    let why = "plain actions instead of apply_actions";
                    return Err(ParseFlowError::expected(item.at, why, item.name));
                }
                _ => 0,
            };
            if rank < last || (rank > 0 && rank == last) {
                let order = "the order actions, clear_actions, write_actions, write_metadata, goto_table";
                return Err(ParseFlowError::expected(item.at, order, item.name));
            }
            last = rank;
            match rank {
                1 => {
                    no_argument(item)?;
                    found.clear = true;
                }
                2 => {
                    let text = item.arg.unwrap_or_default();
                    let mut inner = context;
                    found.write = Some(inner.list(text, 1).map_err(|e| e.moved(item.arg_at))?);
                }
                3 => found.metadata = Some(metadata(item)?),
                4 => {
                    found.goto =
                        Some(number_at(item.arg.unwrap_or_default(), item.arg_at, "a table from 0 to 254", 254)?)
                }
                _ if item.name == "drop" => {
                    no_argument(item)?;
                    if all.len() > 1 {
                        return Err(ParseFlowError::expected(item.at, "nothing else beside drop", item.name));
                    }
                }
                _ => context.push(item, &mut found.apply, 0)?,
            }
        }
        Ok(found)
    }
}

fn no_argument(item: &Item<'_>) -> Result<(), ParseFlowError> {
    match item.arg {
        Some(arg) if !arg.is_empty() => Err(ParseFlowError::expected(item.arg_at, "no argument", arg)),
        _ => Ok(()),
    }
}

fn metadata(item: &Item<'_>) -> Result<(u64, u64), ParseFlowError> {
    let text = item.arg.unwrap_or_default();
    let word = |s: &str| number(s).and_then(|n| u64::try_from(n).ok());
    let (value, mask) = text.split_once('/').map_or((text, None), |(v, m)| (v, Some(m)));
    let both = word(value).zip(mask.map_or(Some(u64::MAX), word));
    both.ok_or_else(|| ParseFlowError::expected(item.arg_at, "a 64-bit value, with a mask or without", text))
}

impl Context<'_> {
    fn list(&mut self, text: &str, depth: usize) -> Result<Vec<Action>, ParseFlowError> {
        if depth > MAX_NESTING {
            return Err(ParseFlowError { at: 0, problem: Problem::TooDeep });
        }
        let mut actions = Vec::new();
        let all = items(text)?;
        for item in &all {
            if item.name == "drop" && all.len() == 1 {
                no_argument(item)?;
                continue;
            }
            self.push(item, &mut actions, depth)?;
        }
        Ok(actions)
    }

    /// Appends what `item` stands for, and follows what it does to packets.
    fn push(&mut self, item: &Item<'_>, actions: &mut Vec<Action>, depth: usize) -> Result<(), ParseFlowError> {
        let new = match set::parse(item, &self.known.m) {
            Some(set) => set?,
            None => vec![self.action(item, depth)?],
        };
        for action in &new {
            let checked = self.known.follow(slice::from_ref(action));
            if let (Err(error), true) = (checked, self.strict) {
                return Err(refused(item.at, error, "the action needs something that the match does not say"));
            }
        }
        actions.extend(new);
        Ok(())
    }

    fn action(&mut self, item: &Item<'_>, depth: usize) -> Result<Action, ParseFlowError> {
        let arg = item.arg.unwrap_or_default();
        match item.name {
            "output" => self.output(arg, item.arg_at),
            "controller" | "CONTROLLER" => controller(item, arg),
            "push_vlan" => match number(arg) {
                Some(tpid @ (0x8100 | 0x88a8)) => Ok(Action::PushVlan(tpid as u16)),
                _ => Err(ParseFlowError::expected(item.arg_at, "tag protocol 0x8100 or 0x88a8", arg)),
            },
            "pop_vlan" => no_argument(item).map(|()| Action::PopVlan),
            "strip_vlan" => no_argument(item).map(|()| Action::StripVlan),
            "dec_ttl" if !arg.is_empty() => {
                let ids = arg.split(',').map(|id| number_at(id.trim(), item.arg_at, "the id of a controller", 0xffff));
                ids.collect::<Result<_, _>>().map(Action::DecTtlTo)
            }
            "dec_ttl" => Ok(Action::DecTtl),
            "resubmit" => self.resubmit(item, arg),
            "ct" => self.ct(arg, depth).map(|ct| Action::Ct(Box::new(ct))).map_err(|e| e.moved(item.arg_at)),
            "ct_clear" => no_argument(item).map(|()| Action::CtClear),
            "clone" => {
                let mut inner = *self;
                inner.list(arg, depth + 1).map(Action::Clone).map_err(|e| e.moved(item.arg_at))
            }
            "drop" => Err(ParseFlowError::expected(item.at, "nothing else beside drop", item.name)),
            "clear_actions" | "write_actions" | "write_metadata" | "goto_table" | "apply_actions" => {
                Err(ParseFlowError::expected(item.at, "an action, not an instruction", item.name))
            }
            "check_pkt_larger" => extended::check_packet_larger(item),
            name if extended::is_known(name) => {
                extended::parse(item, self.parser.ports).map_err(|e| e.moved(item.arg_at))
            }
            name if NOT_BUILT.contains(&name) => Err(not_built(item.at, format!("action {name}"))),
            name => match self.port(name) {
                Some(port) if item.arg.is_none() => self.output_to(port, name, item.at),
                _ => Err(ParseFlowError { at: item.at, problem: Problem::UnknownAction(name.to_string()) }),
            },
        }
    }

    fn port(&self, text: &str) -> Option<OfPort> {
        resolve_port(text, self.parser.ports)
    }

    fn output(&self, arg: &str, at: usize) -> Result<Action, ParseFlowError> {
        match self.port(arg) {
            Some(port) => self.output_to(port, arg, at),
            None if arg.contains("max_len") => {
                extended::output_truncated(arg, self.parser.ports).map_err(|e| e.moved(at))
            }
            None if super::subfield::parse(arg).is_ok() => {
                let src = super::subfield::parse(arg).map_err(|e| e.moved(at))?;
                Ok(Action::OutputField { src, max_len: Action::WHOLE, wide: false })
            }
            None => Err(ParseFlowError::expected(at, "a port", arg)),
        }
    }

    fn output_to(&self, port: OfPort, text: &str, at: usize) -> Result<Action, ParseFlowError> {
        match port {
            OfPort::ANY => Err(ParseFlowError::expected(at, "a port that can be output to", text)),
            port => Ok(Action::output(port)),
        }
    }

    /// `PORT`, `PORT,TABLE`, `,TABLE` or `PORT,`.
    fn resubmit(&self, item: &Item<'_>, arg: &str) -> Result<Action, ParseFlowError> {
        let mut parts = arg.split(',').map(str::trim);
        let (port, table, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        let bad = |expected| Err(ParseFlowError::expected(item.arg_at, expected, arg));
        match more {
            Some("ct") | None => {}
            Some(_) => return bad("PORT, PORT,TABLE or ,TABLE"),
        }
        let in_port = match port {
            "" => None,
            text => match self.port(text) {
                Some(port) => Some(port),
                None => return bad("a port"),
            },
        };
        let table = match table.unwrap_or_default() {
            "" => None,
            text => Some(number_at::<u8>(text, item.arg_at, "a table from 0 to 255", 255)?),
        };
        let in_port = in_port.filter(|p| *p != OfPort::IN_PORT);
        let table = table.filter(|t| *t != 255);
        // Without either it says nothing but itself, and is read only as it is written.
        if in_port.is_none() && table.is_none() && arg != "," {
            return bad("a port, a table, or both");
        }
        let original = more.is_some();
        Ok(Action::Resubmit { port: in_port, table, original })
    }

    fn ct(&mut self, text: &str, depth: usize) -> Result<CtAction, ParseFlowError> {
        let mut ct = CtAction::default();
        let mut exec_at = 0;
        for item in items(text)? {
            let arg = item.arg.unwrap_or_default();
            match item.name {
                "commit" => {
                    no_argument(&item)?;
                    ct.commit = true;
                }
                "force" => {
                    no_argument(&item)?;
                    ct.force = true;
                }
                "table" => ct.table = Some(number_at(arg, item.arg_at, "a table from 0 to 254", 254)?),
                "zone" if super::subfield::parse(arg).is_ok() => {
                    let zone = super::subfield::parse(arg).map_err(|e| e.moved(item.arg_at))?;
                    if zone.bits != 16 {
                        return Err(ParseFlowError::expected(item.arg_at, "16 bits of a field", arg));
                    }
                    ct.zone_src = Some(zone);
                }
                "zone" => ct.zone = number_at(arg, item.arg_at, "a zone from 0 to 65535", 0xffff)?,
                "exec" => {
                    exec_at = item.at;
                    ct.exec.extend(self.list(arg, depth + 1).map_err(|e| e.moved(item.arg_at))?);
                }
                "nat" => {
                    exec_at = item.at;
                    let nat = extended::nat(arg).map_err(|e| e.moved(item.arg_at))?;
                    ct.exec.insert(0, Action::Nat(Box::new(nat)));
                }
                "alg" => {
                    ct.alg = match arg {
                        "ftp" => 21,
                        "tftp" => 69,
                        other => return Err(ParseFlowError::expected(item.arg_at, "ftp or tftp", other)),
                    };
                }
                name => {
                    let expected = "commit, force, zone=N, table=N or exec(...)";
                    return Err(ParseFlowError::expected(item.at, expected, name));
                }
            }
        }
        crate::codec::action::ct_is_consistent(&ct)
            .map_err(|why| refused(exec_at, OfError::BadActionBadArgument, why))?;
        Ok(ct)
    }
}

/// `controller`, `controller:MAX` or `controller(max_len=MAX)`, and what else a packet-in may be given.
fn controller(item: &Item<'_>, arg: &str) -> Result<Action, ParseFlowError> {
    let mut c = Controller::default();
    let length = |text, at| number_at(text, at, "a length from 0 to 65535", 0xffff);
    if number(arg).is_some() {
        c.max_len = length(arg, item.arg_at)?;
    } else {
        for part in items(arg).map_err(|e| e.moved(item.arg_at))? {
            let at = item.arg_at + part.arg_at;
            match (part.name, part.arg.unwrap_or_default()) {
                ("max_len", text) => c.max_len = length(text, at)?,
                ("reason", word) => {
                    let reason = PacketInReason::by_word(word);
                    c.reason = reason.ok_or_else(|| ParseFlowError::expected(at, "a reason such as action", word))?.0;
                }
                ("id", text) => c.id = number_at(text, at, "an id from 0 to 65535", 0xffff)?,
                ("userdata", text) => c.userdata = extended::dotted(text, at)?,
                ("pause", "") => c.pause = true,
                ("meter_id", text) => c.meter = Some(number_at(text, at, "a meter", u32::MAX.into())?),
                (name, _) => {
                    let expected = "a length, or max_len=LENGTH";
                    return Err(ParseFlowError::expected(item.arg_at + part.at, expected, name));
                }
            }
        }
    }
    Ok(match c.reason == 1 && c.id == 0 && c.userdata.is_empty() && !c.pause && c.meter.is_none() {
        true => Action::Output { port: OfPort::CONTROLLER, max_len: c.max_len },
        false => Action::Controller(Box::new(c)),
    })
}
