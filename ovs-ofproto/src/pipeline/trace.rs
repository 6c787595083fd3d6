//! What becomes of a packet, step by step: `ofproto/trace` as a value.
//!
//! A [`Trace`] is a tree for each pass of the packet through the pipeline: more than one if connection tracking has seen it
//! in between. Where the datapath looks it up again for something that only the packet tells (what an MPLS label stack hid,
//! a hash), the trace ends with that.
//! It is printed as upstream prints it, and as JSON.

use std::fmt::{self, Write as _};

use ovs_dpif::text::{self, PortNames};
use ovs_dpif::{DpAction, DropReason, SlowPath};
use ovs_packet::Match;

/// What a line of a trace tells of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// A switch that the packet enters.
    Bridge,
    /// A lookup in a table.
    Table,
    /// A bucket of a group.
    Bucket,
    /// Going on where translation stopped before.
    Thaw,
    /// An action.
    Action,
    /// What an action came to.
    Detail,
    /// Something that is probably not meant.
    Warn,
    /// Why the packet is dropped though no flow says so.
    Error,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Bridge => "bridge",
            Kind::Table => "table",
            Kind::Bucket => "bucket",
            Kind::Thaw => "thaw",
            Kind::Action => "action",
            Kind::Detail => "detail",
            Kind::Warn => "warn",
            Kind::Error => "error",
        }
    }

    /// Whether lines of this kind are set in even where they are the last of their list.
    fn is_terminal(self) -> bool {
        !matches!(self, Kind::Bridge | Kind::Table | Kind::Thaw)
    }
}

/// A line of a trace, with what belongs to it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Node {
    /// What it tells of.
    pub kind: Kind,
    /// What it says.
    pub text: String,
    /// What happened within.
    pub children: Vec<Node>,
}

/// One pass of a packet through the pipeline.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pass {
    /// The recirculation id that it comes with from connection tracking; none for the first.
    pub resumed: Option<u32>,
    /// For a packet that connection tracking has seen, what is taken to be its state: bits of
    /// [`CtState`](ovs_packet::packet::CtState), and whether nobody said so.
    pub ct_state: Option<(u8, bool)>,
    /// The packet, with port numbers of OpenFlow.
    pub flow: Match,
    /// What happened.
    pub nodes: Vec<Node>,
    /// The packet as it was left, unless that is as it came.
    pub last: Option<Match>,
    /// What packets have in common that are treated alike, with port numbers of OpenFlow.
    pub megaflow: Match,
    /// What the datapath does.
    pub actions: Vec<DpAction>,
    /// Whether each packet has to come up, and why.
    pub slow: SlowPath,
    /// A limit that was hit.
    pub failed: Option<DropReason>,
}

/// What becomes of a packet.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Trace {
    /// Its passes through the pipeline, in their order.
    pub passes: Vec<Pass>,
}

impl fmt::Display for Trace {
    /// In upstream's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.passes.iter().try_for_each(|p| p.fmt(f))
    }
}

impl Trace {
    /// The same, with names for ports in OpenFlow and in the datapath (`--names`).
    pub fn named<'a>(
        &'a self,
        openflow: &'a dyn crate::text::PortNames,
        datapath: &'a dyn PortNames,
    ) -> impl fmt::Display + 'a {
        Named { trace: self, names: Names { openflow, datapath } }
    }
}

/// Names of ports.
#[derive(Clone, Copy)]
struct Names<'a> {
    openflow: &'a dyn crate::text::PortNames,
    datapath: &'a dyn PortNames,
}

struct Named<'a> {
    trace: &'a Trace,
    names: Names<'a>,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trace.passes.iter().try_for_each(|p| p.write(f, self.names))
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Names { openflow: &crate::text::NoNames, datapath: &() })
    }
}

impl Pass {
    fn write(&self, f: &mut fmt::Formatter<'_>, names: Names<'_>) -> fmt::Result {
        let worded = |m: &Match| m.with_names(names.openflow).to_string();
        if let Some(id) = self.resumed {
            let rule = "=".repeat(79);
            write!(f, "\n{rule}\nrecirc({id:#x})")?;
            let (state, default) = self.ct_state.unwrap_or((0, true));
            let names = ovs_packet::packet::CtState::NAMES;
            let set = names.iter().enumerate().filter(|(i, _)| state >> i & 1 != 0);
            // Upstream names the tracked state first.
            let mut names: Vec<_> = set.map(|(_, n)| *n).collect();
            names.sort_by_key(|n| *n != "trk");
            match default {
                true => {
                    f.write_str(" - resume conntrack with default ct_state=trk|new (use --ct-next to customize)")?
                }
                false => write!(f, " - resume conntrack with ct_state={}", names.join("|"))?,
            }
            write!(f, "\n{rule}\n\n")?;
        }
        writeln!(f, "Flow: {}", worded(&self.flow))?;
        print(f, &self.nodes, 0)?;
        match &self.last {
            Some(last) => writeln!(f, "\nFinal flow: {}", worded(last))?,
            None => writeln!(f, "\nFinal flow: unchanged")?,
        }
        writeln!(f, "Megaflow: {}", with_masks_of_icmp(&worded(&self.megaflow)))?;
        writeln!(f, "Datapath actions: {}", text::named_actions(&self.actions, names.datapath))?;
        match self.failed {
            Some(reason) => return writeln!(f, "Translation failed ({}), packet is dropped.", failure(reason)),
            None if self.slow.is_empty() => return Ok(()),
            None => writeln!(f, "This flow is handled by the userspace slow path because it:")?,
        }
        let reasons = EXPLANATIONS.iter().filter(|(why, _)| self.slow.contains(*why));
        reasons.into_iter().try_for_each(|(_, text)| writeln!(f, "  - {text}."))
    }
}

/// What upstream says of why packets come up.
const EXPLANATIONS: [(SlowPath, &str); 7] = [
    (SlowPath::CFM, "Consists of CFM packets"),
    (SlowPath::BFD, "Consists of BFD packets"),
    (SlowPath::LACP, "Consists of LACP packets"),
    (SlowPath::STP, "Consists of STP packets"),
    (SlowPath::LLDP, "Consists of LLDP packets"),
    (SlowPath::ACTION, "Uses action(s) not supported by datapath"),
    (SlowPath::MATCH, "Datapath can't match specifically enough"),
];

/// What upstream says of limits that are hit.
fn failure(reason: DropReason) -> &'static str {
    match reason {
        DropReason::TooDeep => "Recursion too deep",
        DropReason::TooManyResubmits => "Too many resubmits",
        DropReason::StackTooDeep => "Stack too deep",
        DropReason::UnknownRecirculation | DropReason::NoRecirculation => "No recirculation context",
        DropReason::TooManyLabels => "Too many MPLS labels",
        DropReason::TunnelMetadata => "Invalid tunnel metadata",
        DropReason::UnsupportedPacketType => "Unsupported packet type",
        DropReason::ForwardingDisabled => "Forwarding is disabled",
        other => other.text(),
    }
}

/// A megaflow in upstream's words, in which types and codes of ICMP, of which a packet has but the lower bytes, have masks.
fn with_masks_of_icmp(megaflow: &str) -> String {
    let masked = |term: &str| {
        let (name, value) = term.split_once('=').filter(|(name, _)| matches!(*name, "icmp_type" | "icmp_code"))?;
        Some(format!("{name}={:#x}/0xff", value.parse::<u8>().ok()?))
    };
    let terms: Vec<String> = megaflow.split(',').map(|t| masked(t).unwrap_or_else(|| t.to_string())).collect();
    terms.join(",")
}

fn print(f: &mut fmt::Formatter<'_>, nodes: &[Node], level: usize) -> fmt::Result {
    for (i, node) in nodes.iter().enumerate() {
        let more = usize::from(i + 1 < nodes.len() || node.kind.is_terminal());
        let (width, text) = ((level + more) * 4, &node.text);
        match node.kind {
            Kind::Bridge => writeln!(f, "\n{:width$}{text}\n{:width$}{}", "", "", "-".repeat(text.len()))?,
            Kind::Detail => writeln!(f, "{:width$} -> {text}", "")?,
            Kind::Warn => writeln!(f, "{:width$} >> {text}", "")?,
            Kind::Error => writeln!(f, "{:width$} >>>> {text} <<<<", "")?,
            _ => writeln!(f, "{:width$}{text}", "")?,
        }
        print(f, &node.children, level + 2 * more)?;
    }
    Ok(())
}

impl Trace {
    /// The trace as JSON (RFC 8259): an array of passes.
    pub fn to_json(&self) -> String {
        let passes: Vec<_> = self.passes.iter().map(Pass::json).collect();
        format!("[{}]", passes.join(","))
    }
}

impl Pass {
    fn json(&self) -> String {
        let resumed = self.resumed.map_or("null".to_string(), |id| id.to_string());
        let nodes: Vec<_> = self.nodes.iter().map(Node::json).collect();
        let last = self.last.as_ref().unwrap_or(&self.flow);
        let failed = self.failed.map_or("null".to_string(), |r| quoted(r.id()));
        format!(
            r#"{{"recirc_id":{resumed},"flow":{},"nodes":[{}],"final_flow":{},"megaflow":{},"actions":{},"failed":{failed}}}"#,
            quoted(&self.flow.to_string()),
            nodes.join(","),
            quoted(&last.to_string()),
            quoted(&self.megaflow.to_string()),
            quoted(&text::actions(&self.actions).to_string()),
        )
    }
}

impl Node {
    fn json(&self) -> String {
        let children: Vec<_> = self.children.iter().map(Node::json).collect();
        let (kind, text) = (quoted(self.kind.name()), quoted(&self.text));
        format!(r#"{{"kind":{kind},"text":{text},"children":[{}]}}"#, children.join(","))
    }
}

pub(super) fn quoted(s: &str) -> String {
    let mut out = String::from('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // Writing to a string does not fail.
            c if c < ' ' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Writes a trace down while a translation goes on.
#[derive(Debug)]
pub(super) struct Tracer {
    /// Lists of lines, each of which belongs to the last line of the one before.
    open: Vec<Vec<Node>>,
    resumes: Vec<u32>,
    /// There is a packet, which controllers hear of.
    pub(super) has_packet: bool,
    /// Ports have names.
    pub(super) named: bool,
}

impl Default for Tracer {
    fn default() -> Self {
        Tracer { open: vec![Vec::new()], resumes: Vec::new(), has_packet: false, named: false }
    }
}

impl Tracer {
    /// A tracer of a packet that goes its way, or of one in words alone.
    pub(super) fn of(has_packet: bool) -> Tracer {
        Tracer { has_packet, ..Tracer::default() }
    }

    pub(super) fn add(&mut self, kind: Kind, text: String) {
        if let Some(list) = self.open.last_mut() {
            list.push(Node { kind, text, children: Vec::new() });
        }
    }

    /// The lines that follow belong to the last one.
    pub(super) fn descend(&mut self) {
        self.open.push(Vec::new());
    }

    pub(super) fn ascend(&mut self) {
        if self.open.len() < 2 {
            return;
        }
        let mut list = self.open.pop().unwrap_or_default();
        match self.open.last_mut() {
            Some(outer) => match outer.last_mut() {
                Some(node) => node.children.append(&mut list),
                None => outer.append(&mut list),
            },
            None => self.open.push(list),
        }
    }

    /// The packet will come back under this id.
    pub(super) fn resume(&mut self, id: u32) {
        self.resumes.push(id);
    }

    /// The lines, and under which ids the packet comes back.
    pub(super) fn finish(mut self) -> (Vec<Node>, Vec<u32>) {
        while self.open.len() > 1 {
            self.ascend();
        }
        (self.open.pop().unwrap_or_default(), self.resumes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_set_in_by_what_they_belong_to() {
        let mut t = Tracer::default();
        t.add(Kind::Bridge, "bridge(\"br0\")".into());
        t.descend();
        t.add(Kind::Table, " 0. priority 0".into());
        t.descend();
        t.add(Kind::Action, "resubmit(,1)".into());
        t.add(Kind::Table, " 1. No match.".into());
        t.descend();
        t.add(Kind::Action, "drop".into());
        t.ascend();
        t.add(Kind::Action, "output:2".into());
        t.add(Kind::Detail, "a \"word\"".into());
        let (nodes, _) = t.finish();
        let pass = Pass {
            resumed: None,
            ct_state: None,
            flow: Match::ANY,
            nodes,
            last: None,
            megaflow: Match::ANY,
            actions: Vec::new(),
            slow: SlowPath::empty(),
            failed: None,
        };
        let lines = "Flow: \n\nbridge(\"br0\")\n-------------\n 0. priority 0\n    resubmit(,1)\n     1. No match.\n            drop\n    output:2\n     -> a \"word\"\n\nFinal flow: unchanged\nMegaflow: \nDatapath actions: drop\n";
        assert_eq!(pass.to_string(), lines);
        let json = Trace { passes: vec![pass] }.to_json();
        assert!(json.starts_with(r#"[{"recirc_id":null,"flow":"","nodes":[{"kind":"bridge","text":"bridge(\"br0\")""#));
    }
}
