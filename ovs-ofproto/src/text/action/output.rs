//! Where packets go: `output`, `controller`, `enqueue`, `resubmit`, `group`.

use ovs_packet::OfPort;
use ovs_packet::text::PortNames;

use super::{Reader, Word};
use crate::action::{Action, Controller};
use crate::codec::PacketInReason;
use crate::text::error::{ParseFlowError, Parsed, Problem, invalid};
use crate::text::lexer::{Item, items, split, trim};
use crate::text::number::{hex_bytes, port, port_of, table_of, u16_of, u32_of};
use crate::text::subfield;

pub(super) const WORDS: [(&str, Word); 5] = [
    ("output", Word::Action(|reader, i| output(i, reader.ports))),
    ("controller", Word::Action(|_, i| controller(i))),
    ("enqueue", Word::Action(|reader, i| enqueue(i, reader.ports))),
    ("resubmit", Word::Action(|reader, i| resubmit(i, reader.ports))),
    ("group", Word::Action(|_, i| Ok(Action::Group(u32_of(i.arg, i.arg_at)?)))),
];

/// Output to a port whose name or number is all of an item.
pub(super) fn port_alone(reader: &mut Reader<'_>, item: &Item<'_>) -> Parsed<Action> {
    let Some(port) = port(item.name, reader.ports) else {
        return Err(ParseFlowError { at: item.at, problem: Problem::UnknownAction(item.name.to_string()) });
    };
    Ok(Action::Output { port, max_len: if port == OfPort::CONTROLLER { 0 } else { Action::WHOLE } })
}

fn output(item: &Item<'_>, ports: &dyn PortNames) -> Parsed<Action> {
    let arg = item.arg;
    // A number need not be searched.
    if arg.len() > "max_len".len() && arg.contains("port") && arg.contains("max_len") {
        return truncated(item, ports);
    }
    if let Some(port) = port(arg, ports) {
        return Ok(Action::output(port));
    }
    match subfield::parse(arg, item.arg_at) {
        Ok(src) => Ok(Action::OutputField { src, max_len: Action::WHOLE, wide: false }),
        Err(_) => invalid(item.arg_at, format!("{arg}: output to unknown port")),
    }
}

/// `output(port=PORT,max_len=BYTES)`.
fn truncated(item: &Item<'_>, ports: &dyn PortNames) -> Parsed<Action> {
    let (mut to, mut max_len) = (None, None);
    for part in items(item.arg) {
        let (at, text) = (item.arg_at.saturating_add(part.arg_at), part.arg);
        match part.name {
            "port" => {
                let port = port_of(text, at, ports, |t| format!("output to unknown truncate port: {t}"))?;
                if port.is_reserved() && port != OfPort::IN_PORT {
                    return invalid(at, format!("output to unsupported truncate port: {text}"));
                }
                to = Some(port);
            }
            "max_len" => {
                let len = u32_of(text, at)?;
                if len < 14 {
                    return invalid(at, format!("max_len {len} is less than the minimum value 14"));
                }
                max_len = Some(len);
            }
            name => return invalid(at, format!("invalid key '{name}' in output_trunc argument")),
        }
    }
    match (to, max_len) {
        (Some(port), Some(max_len)) => Ok(Action::OutputTruncated { port, max_len }),
        _ => Err(ParseFlowError::expected(item.arg_at, "port=PORT,max_len=BYTES", item.arg)),
    }
}

/// `controller`, `controller:MAX` or `controller(max_len=MAX)`, and what else a packet-in may be given.
fn controller(item: &Item<'_>) -> Parsed<Action> {
    let mut c = Controller::default();
    let mut has_userdata = false;
    if !item.arg.is_empty() && item.arg.bytes().all(|b| b.is_ascii_digit()) {
        c.max_len = u16_of(item.arg, item.arg_at, "max_len")?;
    } else {
        for part in items(item.arg) {
            let (at, text) = (item.arg_at.saturating_add(part.arg_at), part.arg);
            match part.name {
                "max_len" => c.max_len = u16_of(text, at, "max_len")?,
                "reason" => {
                    let reason = PacketInReason::by_word(text);
                    c.reason =
                        reason.ok_or_else(|| ParseFlowError::invalid(at, format!("unknown reason \"{text}\"")))?.0;
                }
                "id" => c.id = u16_of(text, at, "id")?,
                "userdata" => {
                    let bad = || ParseFlowError::invalid(at, "bad hex digit in `controller' action `userdata'");
                    c.userdata = hex_bytes(text).ok_or_else(bad)?;
                    has_userdata = true;
                }
                "pause" => c.pause = true,
                "meter_id" => c.meter = Some(u32_of(text, at)?).filter(|meter| *meter != u32::MAX),
                name => return invalid(at, format!("unknown key \"{name}\" parsing controller action")),
            }
        }
    }
    Ok(match c.reason == 1 && c.id == 0 && !has_userdata && !c.pause && c.meter.is_none() {
        true => Action::Output { port: OfPort::CONTROLLER, max_len: c.max_len },
        false => Action::Controller(Box::new(c)),
    })
}

fn enqueue(item: &Item<'_>, ports: &dyn PortNames) -> Parsed<Action> {
    let syntax = "\"enqueue\" syntax is \"enqueue:PORT:QUEUE\" or \"enqueue(PORT,QUEUE)\"";
    let arg = item.arg.trim_start_matches([':', 'q', ',']);
    let Some((port, queue)) = arg.split_once([':', 'q', ',']).filter(|(_, queue)| !queue.is_empty()) else {
        return invalid(item.arg_at, syntax);
    };
    let port = port_of(port, item.arg_at, ports, |t| format!("{t}: enqueue to unknown port"))?;
    Ok(Action::Enqueue { port, queue: u32_of(queue.trim(), item.arg_at)? })
}

/// `PORT`, `PORT,TABLE`, `,TABLE`, `PORT,` or any of them with `,ct` behind both.
fn resubmit(item: &Item<'_>, ports: &dyn PortNames) -> Parsed<Action> {
    let at = item.arg_at;
    let (port, rest) = split(item.arg, b',').unwrap_or((item.arg, ""));
    let (table, more) = split(rest, b',').unwrap_or((rest, ""));
    let (port, table, more) = (trim(port), trim(table), trim(more));
    let in_port = match port {
        "" => None,
        text => Some(port_of(text, at, ports, |t| format!("{t}: resubmit to unknown port"))?),
    };
    let table = match table {
        "" => None,
        text => Some(table_of(text, at, ports, |t| format!("{t}: resubmit to unknown table"))?),
    };
    let original = match more {
        "" => false,
        "ct" => true,
        text => return invalid(at, format!("{text}: unknown parameter")),
    };
    let in_port = in_port.filter(|p| *p != OfPort::IN_PORT);
    let table = table.filter(|t| *t != 255);
    // Without either it says nothing but itself, and is read only as it is written.
    if in_port.is_none() && table.is_none() && item.arg != "," {
        return invalid(at, "at least one \"in_port\" or \"table\" must be specified on resubmit");
    }
    Ok(Action::Resubmit { port: in_port, table, original })
}
