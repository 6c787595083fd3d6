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
use ovs_packet::text::{PortNames, Words};

use super::error::{ParseFlowError, Parsed, Problem, invalid};
use super::flow::Parser;
use super::lexer::{Item, items};
use super::number::{table_of, u32_of, u64_of};
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

/// What a word that begins an item stands for.
#[derive(Clone, Copy)]
enum Word {
    /// An action, and who reads it.
    Action(fn(&mut Reader<'_>, &Item<'_>) -> Parsed<Action>),
    Drop,
    Meter,
    Clear,
    Write,
    Metadata,
    Goto,
    Apply,
}

impl Word {
    /// The place in the order in which instructions stand, and their name.
    fn rank(self) -> (u8, &'static str) {
        match self {
            Word::Meter => (0, "meter"),
            Word::Action(_) | Word::Drop | Word::Apply => (1, "apply_actions"),
            Word::Clear => (2, "clear_actions"),
            Word::Write => (3, "write_actions"),
            Word::Metadata => (4, "write_metadata"),
            Word::Goto => (5, "goto_table"),
        }
    }
}

/// The instructions, and the actions that have lists of their own.
const OWN_WORDS: [(&str, Word); 13] = [
    ("drop", Word::Drop),
    ("meter", Word::Meter),
    ("clear_actions", Word::Clear),
    ("write_actions", Word::Write),
    ("write_metadata", Word::Metadata),
    ("goto_table", Word::Goto),
    ("apply_actions", Word::Apply),
    ("clone", Word::Action(|reader, i| reader.nested(i.arg, i.arg_at, Outer::Clone).map(Action::Clone))),
    ("ct", Word::Action(|reader, i| reader.ct(i))),
    ("nat", Word::Action(|_, i| ct::nat(i.arg, i.arg_at).map(|nat| Action::Nat(Box::new(nat))))),
    ("learn", Word::Action(|reader, i| learn::parse(i, reader.ports))),
    (
        "encap",
        Word::Action(|reader, i| {
            reader.protocols &= Protocols::OF13_UP;
            encap::encap(i)
        }),
    ),
    ("decap", Word::Action(|_, i| encap::decap(i))),
];

const LISTS: [&[(&str, Word)]; 5] = [&OWN_WORDS, &output::WORDS, &fields::WORDS, &hash::WORDS, &other::WORDS];

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const ALL_WORDS: [(&str, Word); 128] = {
    let (mut words, mut n, mut list) = ([("", Word::Drop); 128], 0, 0);
    while list < LISTS.len() {
        let mut i = 0;
        while i < LISTS[list].len() {
            words[n] = LISTS[list][i];
            (n, i) = (n + 1, i + 1);
        }
        list += 1;
    }
    words
};

static WORDS: Words<Word, 256> = Words::new(&ALL_WORDS);

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
        let actions = reader.actions(text, Outer::Nothing)?;
        Ok((actions, reader.protocols))
    }

    /// Reads what a flow of `matching` does: actions to apply, then instructions in their order.
    ///
    /// # Errors
    /// What is no action or instruction, or does not fit the match, with its place.
    pub fn instructions(&self, text: &str, matching: &Match) -> Parsed<Instructions> {
        let mut found = Instructions::default();
        self.read_instructions(text, matching, &mut found)?;
        Ok(found)
    }

    /// The same, added to what says nothing yet; gives the forms that can say them.
    pub(super) fn read_instructions(
        &self,
        text: &str,
        matching: &Match,
        found: &mut Instructions,
    ) -> Parsed<Protocols> {
        let mut reader = Reader::new(self.ports, Known::of(matching));
        reader.list(text, Outer::Flow, found)?;
        match reader.misfit {
            Some(misfit) => Err(misfit),
            None if !reader.known.fits => Ok(reader.protocols & Protocols::OF10_ANY),
            None => Ok(reader.protocols),
        }
    }
}

impl<'p> Reader<'p> {
    fn new(ports: &'p dyn PortNames, known: Known<'p>) -> Reader<'p> {
        Reader { ports, protocols: Protocols::ANY, known, misfit: None, depth: 0 }
    }

    /// Reads a list of nothing but actions.
    fn actions(&mut self, text: &str, outer: Outer) -> Parsed<Vec<Action>> {
        let mut found = Instructions::default();
        self.list(text, outer, &mut found)?;
        Ok(found.apply)
    }

    /// Reads a list within the one that is being read.
    fn nested(&mut self, text: &str, at: usize, outer: Outer) -> Parsed<Vec<Action>> {
        let mut actions = Vec::new();
        self.nested_behind(&mut actions, text, at, outer)?;
        Ok(actions)
    }

    /// The same, behind actions that are there already.
    fn nested_behind(&mut self, actions: &mut Vec<Action>, text: &str, at: usize, outer: Outer) -> Parsed<()> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_NESTING {
            return Err(ParseFlowError { at, problem: Problem::TooDeep });
        }
        let before = self.known.clone();
        let mut found = Instructions { apply: core::mem::take(actions), ..Instructions::default() };
        let read = self.list(text, outer, &mut found).map_err(|e| e.moved(at));
        *actions = found.apply;
        self.depth = self.depth.saturating_sub(1);
        // What they do to packets is not seen behind them, but whether they fit counts; not in the action set, which is
        // for packets of whatever kind they are then.
        let fits = if outer == Outer::WriteActions { before.fits } else { self.known.fits };
        if outer != Outer::Ct {
            self.known = before;
        }
        self.known.fits = fits;
        read
    }

    /// Reads a list into what says nothing yet.
    fn list(&mut self, text: &str, outer: Outer, found: &mut Instructions) -> Parsed<()> {
        let mut order = Order::new(outer);
        for item in items(text) {
            let lower;
            let (item, word) = match WORDS.get(item.name) {
                Some(word) => (item, *word),
                None => {
                    lower = item.name.to_ascii_lowercase();
                    let word = WORDS.get(&lower).copied().unwrap_or(Word::Action(output::port_alone));
                    (Item { name: &lower, ..item }, word)
                }
            };
            match word {
                Word::Action(read) => {
                    // An action is moved to its place before anything else is done with it: each move waits for the last.
                    found.apply.push(read(self, &item)?);
                    if let Some(action) = found.apply.last() {
                        self.follow(action, item.at);
                        order.add_action(action, item.at);
                    }
                }
                word => {
                    self.instruction(word, &item, outer, found)?;
                    order.add_instruction(word, item.at);
                }
            }
            if order.items > ROOM {
                return invalid(item.at, "input too big");
            }
        }
        order.verdict()
    }

    fn instruction(&mut self, word: Word, item: &Item<'_>, outer: Outer, found: &mut Instructions) -> Parsed<()> {
        let Item { arg, arg_at, at, .. } = *item;
        match word {
            Word::Drop | Word::Action(_) => {}
            Word::Clear => found.clear = true,
            Word::Write => {
                let actions = self.nested(arg, arg_at, Outer::WriteActions)?;
                if let (Some(bad), None) = (actions.iter().find(|a| !a.is_for_action_sets()), &self.misfit) {
                    let why = format!("{} is not for the action set", bad.name());
                    self.misfit = Some(ParseFlowError::refused(at, OfError::BadActionBadType, why));
                }
                found.write = Some(actions);
            }
            Word::Metadata => {
                self.protocols &= Protocols::NXM_OF11_UP;
                let (value, mask) = arg.split_once('/').map_or((arg, None), |(v, m)| (v, Some(m)));
                let mask = match mask {
                    Some(mask) => u64_of(mask, arg_at)?,
                    None => u64::MAX,
                };
                found.metadata = Some((u64_of(value, arg_at)?, mask));
            }
            Word::Goto => {
                found.goto = Some(table_of(arg, arg_at, self.ports, |t| format!("unknown table \"{t}\""))?);
            }
            Word::Apply => return invalid(at, "apply_actions is the default instruction"),
            Word::Meter => {
                let meter = u32_of(arg, arg_at)?;
                match outer {
                    Outer::Flow => {
                        self.protocols &= Protocols::OF13_UP;
                        found.meter = Some(meter);
                    }
                    _ => {
                        self.protocols &= Protocols::OF15_UP;
                        found.apply.push(Action::Meter(meter));
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes whether an action fits, and what the ones behind it meet.
    fn follow(&mut self, action: &Action, at: usize) {
        if let (Err(error), None) = (self.known.follow(std::slice::from_ref(action)), &self.misfit) {
            self.misfit = Some(ParseFlowError::refused(at, error, lacking(action, &self.known)));
        }
    }
}

/// What is wrong with items not each for itself, but for where they stand and beside which others. It is told when all
/// are read.
struct Order {
    outer: Outer,
    items: usize,
    drops: usize,
    first_drop: usize,
    conjunctions: bool,
    /// The first item that does not go along with conjunctions, and its name.
    other: Option<(usize, &'static str)>,
    /// The last item, as an instruction.
    last: Option<Word>,
    /// The first item that may not stand where it does.
    misplaced: Option<ParseFlowError>,
    /// The first instruction where there are only actions.
    foreign: Option<(usize, &'static str)>,
}

impl Order {
    fn new(outer: Outer) -> Order {
        Order {
            outer,
            items: 0,
            drops: 0,
            first_drop: 0,
            conjunctions: false,
            other: None,
            last: None,
            misplaced: None,
            foreign: None,
        }
    }

    fn add_action(&mut self, action: &Action, at: usize) {
        match action {
            Action::Conjunction { .. } => self.conjunctions = true,
            Action::Note(_) => {}
            _ if self.other.is_none() => self.other = Some((at, action.name())),
            _ => {}
        }
        if let (None, Some(says)) = (&self.misplaced, action.misplaced(self.outer == Outer::Ct)) {
            self.misplaced = Some(ParseFlowError::invalid(at, says));
        }
        self.add(Word::Apply, at);
    }

    fn add_instruction(&mut self, word: Word, at: usize) {
        let (_, name) = word.rank();
        self.other.get_or_insert((at, name));
        match word {
            Word::Drop => {
                if self.drops == 0 {
                    self.first_drop = at;
                }
                self.drops = self.drops.saturating_add(1);
            }
            Word::Meter => {}
            _ if self.outer != Outer::Flow => {
                self.foreign.get_or_insert((at, name));
            }
            _ => {}
        }
        self.add(word, at);
    }

    /// Counts an item, and sees that instructions stand in their order, each once.
    #[inline]
    fn add(&mut self, word: Word, at: usize) {
        self.items = self.items.saturating_add(1);
        let last = self.last.replace(word);
        if let (Some(last), Outer::Flow, None) = (last, self.outer, &self.misplaced) {
            let ((rank, name), (before, before_name)) = (word.rank(), last.rank());
            if rank > before || rank == before && rank == 1 {
                return;
            }
            let says = match rank < before {
                true => format!("invalid instruction ordering: {name} must appear before {before_name}"),
                false => format!("duplicate {name} instruction not allowed"),
            };
            self.misplaced = Some(ParseFlowError::invalid(at, format!("{says}, for OpenFlow 1.1+ compatibility")));
        }
    }

    fn verdict(&mut self) -> Parsed<()> {
        if self.drops != 0 && self.drops < self.items {
            let says = "\"drop\" must not be accompanied by any other action or instruction";
            return invalid(self.first_drop, says);
        }
        match (self.other, self.misplaced.take(), self.foreign) {
            (Some((at, name)), ..) if self.conjunctions => invalid(
                at,
                format!(
                    "\"conjunction\" actions may be used along with \"note\" but not any other kind of action (such as \
                     the \"{name}\" action used here)"
                ),
            ),
            (_, Some(misplaced), _) => Err(misplaced),
            (_, None, Some((at, name))) => invalid(at, format!("{name} instruction not allowed here")),
            (_, None, None) => Ok(()),
        }
    }
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
