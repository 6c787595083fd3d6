//! Megaflows: shown, put, changed, removed.

use ovs_packet::key::FlowMask;
use ovs_packet::packet::TunnelFlags;
use ovs_packet::{FlowKey, Match};

use super::args::{Args, Names};
use super::reply::{Reply, ShownFlow};
use super::{DpctlError, failed, usage};
use crate::dpif::{DpFlow, Dpif, DpifError, FlowPut, PutMode, Ufid};
use crate::netdev::Level;
use crate::text::{self, PortNames};
use crate::threads::ThreadId;

/// What a line of a file does, unless it says otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Modify,
    Delete,
}

/// A type of megaflows, and whether one is of it of which a card does so much.
type Type = (&'static str, fn(Option<Level>) -> bool);

/// The types of megaflows that upstream knows. No card here is a traffic controller's or of DPDK.
const TYPES: [Type; 7] = [
    ("ovs", |level| level != Some(Level::Full)),
    ("non-offloaded", |level| level.is_none()),
    ("all", |_| true),
    ("tc", |_| false),
    ("dpdk", |_| false),
    ("offloaded", |level| level == Some(Level::Full)),
    ("partially-offloaded", |level| level == Some(Level::Partial)),
];

fn names(dp: &dyn Dpif) -> Result<Names, DpctlError> {
    dp.ports().map(Names).map_err(failed("listing ports"))
}

pub(super) fn dump(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let types = args.take("type=");
    let pmd = args.take("pmd=");
    let filter = args.take("filter=");
    let options = args.options;
    let now = args.datapaths.now();
    let mut wanted = Vec::new();
    if let Some(types) = types {
        for name in types.split(',').filter(|name| !name.is_empty()) {
            let Some((_, is)) = TYPES.iter().find(|(known, _)| *known == name) else {
                return usage(format!("Failed to parse type ({name}) (Invalid argument)"));
            };
            wanted.push(*is);
        }
    }
    // The main thread is -1.
    let wrong = |pmd: &str| DpctlError::Usage(format!("invalid pmd '{pmd}'"));
    let pmd = pmd.map(|pmd| pmd.parse::<i64>().map_err(|_| wrong(pmd))).transpose()?;
    let dp = args.open(2)?;
    let names = names(dp)?;
    let filter = filter.map(|text| matched(text, &names)).transpose()?;
    let of_kernel = dp.kind() == "system";
    let is_of_type = |flow: &DpFlow| {
        let level = dp.offload().and_then(|cards| cards.offloaded(flow.ufid)).map(|known| known.level);
        types.is_none() || wanted.iter().any(|is| is(level))
    };
    let passes =
        |flow: &DpFlow| is_of_type(flow) && filter.as_ref().is_none_or(|filter| filter.overlaps(&flow.matching()));
    let mut all = Vec::new();
    for (core, flows) in by_thread(dp)? {
        if pmd.is_some_and(|pmd| pmd != core.map_or(-1, i64::from)) {
            continue;
        }
        all.extend(flows.into_iter().filter(passes).map(|flow| {
            let named = options.names.unwrap_or(options.more);
            ShownFlow { core, ..shown_flow(dp, flow, &names, options.more, named, of_kernel, now) }
        }));
    }
    // What the kernel's module forwards by is nobody's thread.
    Ok(Reply::Flows { flows: all, threads: !of_kernel && pmd.is_none() })
}

/// A thread's core, if it is not the control thread, and its megaflows.
type OfThread = (Option<u32>, Vec<DpFlow>);

/// The megaflows of each thread. A datapath without threads has those of one.
fn by_thread(dp: &dyn Dpif) -> Result<Vec<OfThread>, DpctlError> {
    let Some(workers) = dp.workers() else {
        return Ok(vec![(None, dp.flow_dump().map_err(failed("Failed to dump flows from datapath"))?)]);
    };
    let of = |thread| match thread {
        ThreadId::Main => (None, workers.flows_of(thread)),
        ThreadId::Core(core) => (Some(core), workers.flows_of(thread)),
    };
    Ok(workers.threads().into_iter().map(of).collect())
}

/// An OpenFlow match, in which ports may be named as in the datapath, and values may be in brackets as there.
fn matched(text: &str, names: &Names) -> Result<Match, DpctlError> {
    let port = |word: &str| {
        let bracketed = word.strip_suffix(')').and_then(|word| word.split_once('('));
        match bracketed.or_else(|| word.split_once('=')) {
            Some(("in_port", name)) => {
                let number = names.number(name).map(|number| number.to_string());
                format!("in_port={}", number.as_deref().unwrap_or(name))
            }
            Some((name, value)) => format!("{name}={value}"),
            None => word.to_string(),
        }
    };
    let text: Vec<_> = text.split(',').map(port).collect();
    text.join(",").parse().map_err(|error| DpctlError::Usage(format!("Failed to parse filter ({error})")))
}

fn shown_flow(
    dp: &dyn Dpif,
    flow: DpFlow,
    names: &Names,
    more: bool,
    named: bool,
    of_kernel: bool,
    now: ovs_packet::Instant,
) -> ShownFlow {
    let matching = flow.matching();
    let offloaded = dp.offload().and_then(|cards| cards.offloaded(flow.ufid));
    let mask = matching.mask();
    let ports: &dyn PortNames = if named { names } else { &() };
    let whole = (&flow.key).into();
    let key = match (of_kernel, more) {
        (true, true) => text::kernel_key(&whole, &mask, ports, true).to_string(),
        (true, false) => text::kernel_key(&whole, &in_brief(&whole, mask), ports, false).to_string(),
        (false, true) => text::full_key(&whole, &mask, ports).to_string(),
        (false, false) => text::masked_key(&whole, &in_brief(&whole, mask), ports).to_string(),
    };
    let actions = match of_kernel {
        true => text::kernel_actions(&flow.actions, &whole, ports).to_string(),
        false => text::named_actions(&flow.actions, ports).to_string(),
    };
    ShownFlow { ufid: more.then_some(flow.ufid), offloaded, key, actions, stats: flow.stats, now, core: None }
}

/// Of a tunnel, what goes without saying in a line that does not say all: that a header has no key, and a type of service
/// of 0.
fn in_brief(key: &FlowKey, mut mask: FlowMask) -> FlowMask {
    let m = &mut mask.bits;
    if key.tun_flags & TunnelFlags::KEY.bits() == 0 {
        m.tun_flags &= !TunnelFlags::KEY.bits();
        if key.tun_id == 0 {
            m.tun_id = 0.into();
        }
    }
    if key.tun_tos == 0 {
        m.tun_tos = 0;
    }
    mask
}

/// The identity at the front of a text, if there is one, and what is behind it.
fn ufid(text: &str) -> Result<(Option<Ufid>, &str), DpctlError> {
    let Some(rest) = text.strip_prefix("ufid:") else { return Ok((None, text)) };
    let end = rest.find([',', ' ']).unwrap_or(rest.len());
    let (digits, behind) = rest.split_at(end);
    let hex: String = digits.chars().filter(|c| *c != '-').collect();
    let hex = hex.strip_prefix("0x").unwrap_or(&hex);
    let number = u128::from_str_radix(hex, 16).ok().filter(|_| !hex.is_empty());
    match number {
        Some(number) => Ok((Some(Ufid(number)), behind.trim_start_matches([',', ' ']))),
        None => usage("parsing flow ufid (Invalid argument)"),
    }
}

pub(super) fn put(args: &mut Args<'_, '_>, add: bool) -> Result<Reply, DpctlError> {
    let (Some(actions), Some(flow)) = (args.rest.pop(), args.rest.pop()) else { return usage("a flow and actions") };
    let options = args.options;
    let now = args.datapaths.now();
    let mode = match (add, options.may_create) {
        (true, _) => PutMode::Create,
        (false, false) => PutMode::Modify,
        (false, true) => PutMode::Put,
    };
    let dp = args.open(1)?;
    let before = put_one(dp, flow, actions, mode, options.clear, options.statistics)?;
    Ok(if options.statistics { Reply::Stats(before, now) } else { Reply::Nothing })
}

/// A key and its mask in words. A datapath within the process has every flow for one recirculation id, and so for none
/// where none is said.
fn key_and_mask(dp: &dyn Dpif, text: &str, names: &Names) -> Result<(FlowKey, FlowMask), DpctlError> {
    let parsed = text::parse_key(text, names);
    let (key, mut mask) = parsed.map_err(|source| DpctlError::Text { what: "parsing flow key", source })?;
    if dp.kind() != "system" {
        mask.bits.recirc_id = u32::MAX.into();
    }
    Ok((key, mask))
}

/// Puts a megaflow; gives what had gone through it.
fn put_one(
    dp: &mut dyn Dpif,
    flow: &str,
    actions: &str,
    mode: PutMode,
    clear: bool,
    statistics: bool,
) -> Result<crate::DpFlowStats, DpctlError> {
    let names = names(dp)?;
    let (ufid, key) = ufid(flow)?;
    let (key, mask) = key_and_mask(dp, key, &names)?;
    let actions =
        text::parse_actions(actions, &names).map_err(|source| DpctlError::Text { what: "parsing actions", source })?;
    let mut put = FlowPut::new(&key, &mask, &actions).with_mode(mode).with_everywhere();
    put.ufid = ufid;
    put.zero_stats = clear;
    let identity = ufid.unwrap_or_else(|| Ufid::of(&Match::new(key, mask)));
    let before =
        if statistics { dp.flow_get(identity).map(|flow| flow.stats).unwrap_or_default() } else { Default::default() };
    match dp.flow_install(&put) {
        // Put under an identity of somebody else's.
        Err(DpifError::NoSuchFlow(_)) if ufid.is_none() => {
            put.ufid = found(dp, &Match::new(key, mask))?;
            match put.ufid {
                Some(_) => dp.flow_install(&put),
                None => Err(DpifError::NoSuchFlow(identity)),
            }
        }
        done => done,
    }
    .map_err(failed("updating flow table"))?;
    Ok(before)
}

/// The megaflow that is for the same packets.
fn found(dp: &dyn Dpif, wanted: &Match) -> Result<Option<Ufid>, DpctlError> {
    let flows = dp.flow_dump().map_err(failed("Failed to dump flows from datapath"))?;
    let same = |flow: &&DpFlow| {
        let flow = flow.matching();
        // What the datapath matches beyond what was asked makes no other megaflow.
        flow.mask().covers(&wanted.mask()) && flow.overlaps(wanted)
    };
    Ok(flows.iter().find(same).map(|flow| flow.ufid))
}

pub(super) fn get(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let Some(text) = args.rest.pop() else { return usage("a ufid") };
    let (options, now) = (args.options, args.datapaths.now());
    let (Some(ufid), _) = ufid(text)? else { return usage("parsing flow ufid (Invalid argument)") };
    let dp = args.open(1)?;
    let flow = dp.flow_get(ufid).map_err(failed("getting flow"))?;
    let names = names(dp)?;
    let named = options.names.unwrap_or(options.more);
    let of_kernel = dp.kind() == "system";
    let flows = vec![shown_flow(dp, flow, &names, options.more, named, of_kernel, now)];
    Ok(Reply::Flows { flows, threads: false })
}

pub(super) fn delete(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let Some(text) = args.rest.pop() else { return usage("a flow") };
    let (options, now) = (args.options, args.datapaths.now());
    let dp = args.open(1)?;
    let gone = delete_one(dp, text)?;
    Ok(if options.statistics { Reply::Stats(gone.stats, now) } else { Reply::Nothing })
}

fn delete_one(dp: &mut dyn Dpif, flow: &str) -> Result<DpFlow, DpctlError> {
    let (named, key) = ufid(flow)?;
    let identity = match named {
        Some(ufid) => ufid,
        None => {
            let names = names(dp)?;
            let (key, mask) = key_and_mask(dp, key, &names)?;
            let wanted = Match::new(key, mask);
            let own = Ufid::of(&wanted);
            match dp.flow_get(own) {
                Ok(_) => own,
                Err(_) => found(dp, &wanted)?.unwrap_or(own),
            }
        }
    };
    dp.flow_del(identity).map_err(|error| match error {
        DpifError::NoSuchFlow(_) if named.is_none() => DpctlError::Usage(
            "deleting flow (No such file or directory)\nPerhaps you need to specify a UFID?".to_string(),
        ),
        error => failed("deleting flow")(error),
    })
}

pub(super) fn delete_all(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let from_file = match args.rest.as_slice() {
        [] => false,
        &[one] => !args.is_datapath(one)?,
        _ => true,
    };
    if from_file {
        return process(args, Verb::Delete);
    }
    args.open(1)?.flow_flush().map_err(failed("deleting all flows"))?;
    Ok(Reply::Nothing)
}

/// Does what the lines of a file say. Lines that cannot be done do not stop the others.
pub(super) fn process(args: &mut Args<'_, '_>, verb: Verb) -> Result<Reply, DpctlError> {
    let Some(file) = args.rest.pop() else { return usage("a file") };
    let read = args.datapaths.read(file);
    let text = read.map_err(|source| DpctlError::File { file: file.to_string(), source })?;
    let dp = args.open(1)?;
    let mut errors = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Err(error) = one_line(dp, line, verb, number + 1) {
            errors.push(error.to_string());
        }
    }
    if errors.is_empty() { Ok(Reply::Nothing) } else { Err(DpctlError::Lines(errors)) }
}

fn one_line(dp: &mut dyn Dpif, line: &str, verb: Verb, number: usize) -> Result<(), DpctlError> {
    let end = line.find([',', ' ', '\t']).unwrap_or(line.len());
    let (first, rest) = line.split_at(end);
    // A verb may be cut short.
    let verbs = [("add", Verb::Add), ("delete", Verb::Delete), ("modify", Verb::Modify)];
    let said = verbs.iter().find(|(name, _)| !first.is_empty() && name.starts_with(first));
    let (verb, rest) = match said {
        Some((_, said)) => (*said, rest.trim_start_matches([',', ' ', '\t'])),
        None => (verb, line),
    };
    let (flow, actions) = rest.split_once([' ', '\t']).map_or((rest, ""), |(flow, actions)| (flow, actions.trim()));
    let wrong = flow.is_empty() || (verb == Verb::Delete) != actions.is_empty();
    if wrong {
        return usage(format!("Failed parsing line number {number}, skipped!"));
    }
    match verb {
        Verb::Add => put_one(dp, flow, actions, PutMode::Create, false, false).map(drop),
        Verb::Modify => put_one(dp, flow, actions, PutMode::Modify, false, false).map(drop),
        Verb::Delete => delete_one(dp, flow).map(drop),
    }
}

pub(super) fn parse_actions(args: &Args<'_, '_>) -> Result<Reply, DpctlError> {
    let parse = |words: &&str| {
        let list = text::parse_actions(words, &());
        let list = list.map_err(|source| DpctlError::Text { what: "odp_actions_from_string", source })?;
        Ok(text::actions(&list).to_string())
    };
    args.rest.iter().map(parse).collect::<Result<_, _>>().map(Reply::Names)
}
