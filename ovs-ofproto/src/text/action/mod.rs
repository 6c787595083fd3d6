//! Reads actions and instructions.
//!
//! A list is read item by item; each narrows the [forms](Protocols) that can carry the list, and tells what the items
//! behind it meet. What is wrong with an item comes first, then what is wrong with their order and nesting, then what
//! does not fit the match.

mod ct;
mod encap;
mod fields;
mod hash;
mod learn;
mod other;
mod output;

use ovs_packet::Match;
use ovs_packet::field::FieldId;
use ovs_packet::text::PortNames;

use super::error::{ParseFlowError, Parsed, Problem, invalid};
use super::flow::Parser;
use super::lexer::{Item, items};
use super::number::{port, table_of, u32_of, u64_of};
use super::protocol::Protocols;
use crate::action::{Action, Instructions};
use crate::codec::check::{Known, Misfit};
use crate::codec::{MAX_NESTING, OfError};

/// How much room a list of actions has in a message: an action takes at most this much of it if it has no list itself.
const ROOM: usize = 0xffff / 16;

/// What a list of actions stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outer {
    /// A flow, whose instructions stand among the actions.
    Flow,
    /// A packet-out or a bucket.
    Nothing,
    WriteActions,
    Ct,
    Clone,
}

/// What a list of actions is read with.
pub(super) struct Reader<'p> {
    ports: &'p dyn PortNames,
    /// The forms that can say what was read.
    protocols: Protocols,
    /// What is known of packets where the reader stands.
    known: Known<'p>,
    /// The first action that does not fit what is known, and why.
    misfit: Option<ParseFlowError>,
    /// How deep the list is nested.
    depth: usize,
}

/// An item of a flow: an instruction other than plain actions, or an action.
enum Step {
    Meter(u32),
    Clear,
    Write(Vec<Action>),
    Metadata(u64, u64),
    Goto(u8),
    Action(Action),
    Drop,
}

impl Step {
    /// The place in the order in which instructions stand, and their name.
    fn rank(&self) -> (u8, &'static str) {
        match self {
            Step::Meter(_) => (0, "meter"),
            Step::Action(_) | Step::Drop => (1, "apply_actions"),
            Step::Clear => (2, "clear_actions"),
            Step::Write(_) => (3, "write_actions"),
            Step::Metadata(..) => (4, "write_metadata"),
            Step::Goto(_) => (5, "goto_table"),
        }
    }
}

impl Parser<'_> {
    /// Reads a list of actions such as `set_field:5->reg0,output:2`, for packets of which nothing is known.
    ///
    /// # Errors
    /// What is no action, with its place.
    pub fn actions(&self, text: &str) -> Parsed<Vec<Action>> {
        self.free_actions(text).map(|(actions, _)| actions)
    }

    /// The same, with the forms that can say them.
    pub(super) fn free_actions(&self, text: &str) -> Parsed<(Vec<Action>, Protocols)> {
        let mut reader = Reader::new(self.ports, Known::nothing());
        let actions = reader.list(text, Outer::Nothing)?;
        Ok((actions, reader.protocols))
    }

    /// Reads what a flow of `matching` does: actions to apply, then instructions in their order.
    ///
    /// # Errors
    /// What is no action or instruction, or does not fit the match, with its place.
    pub fn instructions(&self, text: &str, matching: &Match) -> Parsed<Instructions> {
        self.flow_instructions(text, matching).map(|(instructions, _)| instructions)
    }

    /// The same, with the forms that can say them.
    pub(super) fn flow_instructions(&self, text: &str, matching: &Match) -> Parsed<(Instructions, Protocols)> {
        let mut reader = Reader::new(self.ports, Known::of(matching));
        let mut found = Instructions::default();
        let steps = reader.steps(text, Outer::Flow)?;
        for (_, step) in steps {
            match step {
                Step::Meter(meter) => found.meter = Some(meter),
                Step::Action(action) => found.apply.push(action),
                Step::Drop => {}
                Step::Clear => found.clear = true,
                Step::Write(actions) => found.write = Some(actions),
                Step::Metadata(value, mask) => found.metadata = Some((value, mask)),
                Step::Goto(table) => found.goto = Some(table),
            }
        }
        match reader.misfit {
            Some(misfit) => Err(misfit),
            None if !reader.known.fits => Ok((found, reader.protocols & Protocols::OF10_ANY)),
            None => Ok((found, reader.protocols)),
        }
    }
}

impl<'p> Reader<'p> {
    fn new(ports: &'p dyn PortNames, known: Known<'p>) -> Reader<'p> {
        Reader { ports, protocols: Protocols::ANY, known, misfit: None, depth: 0 }
    }

    /// Reads a list of nothing but actions.
    fn list(&mut self, text: &str, outer: Outer) -> Parsed<Vec<Action>> {
        let steps = self.steps(text, outer)?;
        let only_actions = steps.into_iter().filter_map(|(at, step)| match step {
            Step::Action(action) => Some(Ok(action)),
            Step::Meter(meter) => Some(Ok(Action::Meter(meter))),
            Step::Drop => None,
            other => Some(invalid(at, format!("{} instruction not allowed here", other.rank().1))),
        });
        only_actions.collect()
    }

    /// Reads a list within the one that is being read.
    fn nested(&mut self, text: &str, at: usize, outer: Outer) -> Parsed<Vec<Action>> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_NESTING {
            return Err(ParseFlowError { at, problem: Problem::TooDeep });
        }
        let before = self.known.clone();
        let actions = self.list(text, outer).map_err(|e| e.moved(at));
        self.depth = self.depth.saturating_sub(1);
        // What they do to packets is not seen behind them, but whether they fit counts; not in the action set, which is
        // for packets of whatever kind they are then.
        let fits = if outer == Outer::WriteActions { before.fits } else { self.known.fits };
        if outer != Outer::Ct {
            self.known = before;
        }
        self.known.fits = fits;
        actions
    }

    fn steps(&mut self, text: &str, outer: Outer) -> Parsed<Vec<(usize, Step)>> {
        let mut steps: Vec<(usize, Step)> = Vec::new();
        for item in items(text) {
            let lower;
            let item = match item.name.bytes().any(|b| b.is_ascii_uppercase()) {
                true => {
                    lower = item.name.to_ascii_lowercase();
                    Item { name: &lower, ..item }
                }
                false => item,
            };
            let step = self.step(&item, outer)?;
            if let Step::Action(action) = &step {
                self.follow(action, item.at);
            }
            steps.push((item.at, step));
            if steps.len() > ROOM {
                return invalid(item.at, "input too big");
            }
        }
        let drops = |(_, step): &&(usize, Step)| matches!(step, Step::Drop);
        if let Some((at, _)) = steps.iter().find(drops)
            && steps.iter().filter(drops).count() < steps.len()
        {
            return invalid(*at, "\"drop\" must not be accompanied by any other action or instruction");
        }
        verify(&steps, outer)?;
        Ok(steps)
    }

    /// Notes whether an action fits, and what the ones behind it meet.
    fn follow(&mut self, action: &Action, at: usize) {
        let before = self.known.clone();
        if let (Err(error), None) = (self.known.follow(std::slice::from_ref(action)), &self.misfit) {
            self.misfit = Some(ParseFlowError::refused(at, error, lacking(action, &before)));
        }
    }

    fn step(&mut self, item: &Item<'_>, outer: Outer) -> Parsed<Step> {
        let Item { name, arg, arg_at, at } = *item;
        Ok(match name {
            "drop" => Step::Drop,
            "clear_actions" => Step::Clear,
            "write_actions" => {
                let actions = self.nested(arg, arg_at, Outer::WriteActions)?;
                if let (Some(bad), None) = (actions.iter().find(|a| !a.is_for_action_sets()), &self.misfit) {
                    let why = format!("{} is not for the action set", bad.name());
                    self.misfit = Some(ParseFlowError::refused(at, OfError::BadActionBadType, why));
                }
                Step::Write(actions)
            }
            "write_metadata" => {
                self.protocols &= Protocols::NXM_OF11_UP;
                let (value, mask) = arg.split_once('/').map_or((arg, None), |(v, m)| (v, Some(m)));
                let mask = match mask {
                    Some(mask) => u64_of(mask, arg_at)?,
                    None => u64::MAX,
                };
                Step::Metadata(u64_of(value, arg_at)?, mask)
            }
            "goto_table" => Step::Goto(table_of(arg, arg_at, self.ports, |t| format!("unknown table \"{t}\""))?),
            "apply_actions" => return invalid(at, "apply_actions is the default instruction"),
            "meter" => {
                self.protocols &= if outer == Outer::Flow { Protocols::OF13_UP } else { Protocols::OF15_UP };
                Step::Meter(u32_of(arg, arg_at)?)
            }
            _ => Step::Action(self.action(item)?),
        })
    }

    fn action(&mut self, item: &Item<'_>) -> Parsed<Action> {
        // Each is given as it is found: an action is large, and not moved for nothing.
        if let Some(action) = output::parse(item, self.ports) {
            return action;
        }
        if let Some(action) = fields::parse(item, self) {
            return action;
        }
        if let Some(action) = hash::parse(item, self.ports) {
            return action;
        }
        if let Some(action) = other::parse(item, self.ports) {
            return action;
        }
        match item.name {
            "learn" => learn::parse(item, self.ports),
            "encap" => {
                self.protocols &= Protocols::OF13_UP;
                encap::encap(item)
            }
            "decap" => encap::decap(item),
            "nat" => ct::nat(item.arg, item.arg_at).map(|nat| Action::Nat(Box::new(nat))),
            "ct" => self.ct(item),
            "clone" => self.nested(item.arg, item.arg_at, Outer::Clone).map(Action::Clone),
            name => match port(name, self.ports) {
                Some(port) => Ok(output::to(port)),
                None => Err(ParseFlowError { at: item.at, problem: Problem::UnknownAction(name.to_string()) }),
            },
        }
    }
}

/// Checks the order of instructions, and what may stand within what.
fn verify(steps: &[(usize, Step)], outer: Outer) -> Parsed<()> {
    let conjunction = |s: &Step| matches!(s, Step::Action(Action::Conjunction { .. }));
    if steps.iter().any(|(_, s)| conjunction(s)) {
        let goes_along = |s: &Step| conjunction(s) || matches!(s, Step::Action(Action::Note(_)));
        if let Some((at, step)) = steps.iter().find(|(_, s)| !goes_along(s)) {
            let name = if let Step::Action(action) = step { action.name() } else { step.rank().1 };
            return invalid(
                *at,
                format!(
                    "\"conjunction\" actions may be used along with \"note\" but not any other kind of action (such as \
                     the \"{name}\" action used here)"
                ),
            );
        }
    }
    let mut last: Option<(u8, &str)> = None;
    for (at, step) in steps {
        if let Step::Action(action) = step {
            action.misplaced(outer == Outer::Ct).map_or(Ok(()), |says| invalid(*at, says))?;
        }
        let (rank, name) = step.rank();
        if outer == Outer::Flow {
            let says = match last {
                Some((before, before_name)) if rank < before => format!(
                    "invalid instruction ordering: {name} must appear before {before_name}, for OpenFlow 1.1+ \
                     compatibility"
                ),
                Some((before, _)) if rank == before && rank != 1 => {
                    format!("duplicate {name} instruction not allowed, for OpenFlow 1.1+ compatibility")
                }
                _ => String::new(),
            };
            if !says.is_empty() {
                return invalid(*at, says);
            }
        }
        last = Some((rank, name));
    }
    Ok(())
}

/// The field whose prerequisites are not known to hold, as upstream's log says it.
fn lacking(action: &Action, known: &Known<'_>) -> String {
    let lacks = |what: &str, field: FieldId| format!("{what} {} lacks correct prerequisites", field.info().name);
    let misses = |field: &FieldId| !known.has(field.info().prereq);
    let source = |field: FieldId| Some(field).filter(misses).map(|field| lacks("source field", field));
    let target = |field: FieldId| Some(field).filter(misses).map(|field| lacks("destination field", field));
    let found = match action {
        Action::Move { src, dst, .. } => source(src.field).or_else(|| target(dst.field)),
        Action::OutputField { src, .. } | Action::Push(src) => source(src.field),
        Action::Pop(dst) => target(dst.field),
        Action::Multipath(m) => target(m.dst.field),
        Action::Bundle(b) => b.dst.and_then(|dst| target(dst.field)),
        Action::Learn(l) => known.misfit_of(l).map(|misfit| match misfit {
            Misfit::Source(field) => lacks("source field", field),
            Misfit::Target(field) => lacks("destination field", field),
        }),
        other => other.target().filter(misses).map(|field| lacks("set_field", field)),
    };
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::error::Problem;

    /// What the log says of a flow whose actions do not fit its match.
    fn misfit(flow: &str) -> String {
        match flow.parse::<crate::FlowMod>().unwrap_err().problem {
            Problem::Refused { error: OfError::BadActionMatchInconsistent, why } => why,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_whole_tunnel_option_is_loaded_as_it_is_set() {
        let read = |text: &str| Parser::new(&ovs_packet::text::NoNames).actions(text).unwrap();
        assert_eq!(read("load:0x11223344->tun_metadata1"), read("set_field:0x11223344->tun_metadata1"));
    }

    #[test]
    fn the_field_that_packets_lack_is_named() {
        assert_eq!(
            misfit("tcp,ip_frag=later actions=move:tcp_dst->tcp_src"),
            "source field tcp_dst lacks correct prerequisites"
        );
        assert_eq!(misfit("ip actions=set_field:5->udp_src"), "set_field udp_src lacks correct prerequisites");
        let learns = |specs: &str| misfit(&format!("tcp,ip_frag=later actions=learn(table=1,{specs})"));
        // What the learned flow matches is there for what stands behind it.
        assert_eq!(
            learns("eth_type=0x800,nw_proto=6,NXM_OF_TCP_SRC[]=NXM_OF_TCP_DST[]"),
            "source field tcp_dst lacks correct prerequisites"
        );
        assert_eq!(learns("nw_proto=6"), "source field nw_proto lacks correct prerequisites");
        assert_eq!(learns("load:5->NXM_OF_TCP_SRC[]"), "destination field tcp_src lacks correct prerequisites");
    }
}
