//! Messages in words and as JSON.

use std::io::{self, BufRead, Read};

use ovs_ofproto::FlowMod;
use ovs_ofproto::codec::{FlowStats, Message};
use ovs_ofproto::text::{message as in_words, ofp_print};
use ovs_tools::hex;
use serde_json::{Value, json};

use crate::context::{Context, Done, Failure};

/// A message as JSON: its header, the text, and the bytes; flows in parts.
pub(crate) fn as_json(bytes: &[u8]) -> Result<Value, Failure> {
    let (header, body) = Message::decode(bytes).map_err(|e| format!("decode error: {e}"))?;
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let mut object = json!({
        "version": header.version.to_string(),
        "xid": header.xid,
        "text": in_words(&header, &body).to_string().trim_end(),
        "bytes": digits,
    });
    let more = match &body {
        Message::FlowMod(flow) => Some(("flow", flow_json(flow))),
        Message::FlowStatsReply(reply) => {
            Some(("flows", reply.flows.iter().map(statistics_json).collect::<Vec<_>>().into()))
        }
        _ => None,
    };
    if let (Some((name, value)), Some(object)) = (more, object.as_object_mut()) {
        object.insert(name.to_string(), value);
    }
    Ok(object)
}

fn flow_json(flow: &FlowMod) -> Value {
    json!({
        "command": format!("{:?}", flow.command),
        "table": flow.table,
        "priority": flow.priority,
        "cookie": flow.cookie,
        "match": flow.matching.to_string(),
        "idle_timeout": flow.idle_timeout,
        "hard_timeout": flow.hard_timeout,
        "importance": flow.importance,
        "actions": flow.instructions.to_string(),
    })
}

fn statistics_json(flow: &FlowStats) -> Value {
    json!({
        "table": flow.table,
        "priority": flow.priority,
        "cookie": flow.cookie,
        "match": flow.matching.to_string(),
        "duration": flow.duration.as_secs_f64(),
        "packets": flow.packets,
        "bytes": flow.bytes,
        "idle_timeout": flow.idle_timeout,
        "hard_timeout": flow.hard_timeout,
        "actions": flow.instructions.to_string(),
    })
}

/// Prints a message, in words or as JSON.
pub(crate) fn print(context: &mut Context, bytes: &[u8], verbosity: u8) -> Done {
    match context.options.is_json() {
        true => {
            let object = as_json(bytes)?;
            context.print_json(&object)
        }
        false => context.print(ofp_print(bytes, verbosity)),
    }
}

/// Sixteen bytes a line.
pub(crate) fn hex_dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (n, line) in bytes.chunks(16).enumerate() {
        text += &format!("{:08x} ", n * 16);
        for (i, b) in line.iter().enumerate() {
            text += &format!("{}{b:02x}", if i == 8 { '-' } else { ' ' });
        }
        text.push('\n');
    }
    text
}

pub(crate) fn message(context: &mut Context) -> Done {
    let verbosity = match context.arguments.get(1) {
        Some(text) => text.parse().map_err(|_| format!("{text}: not a verbosity from 0 to 255"))?,
        None => 2,
    };
    let failed = |e: io::Error| Failure::from(format!("standard input: {e}"));
    let bytes = match (context.argument(0), context.options.raw) {
        ("-", true) => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
            bytes
        }
        (text, _) => {
            let mut line = text.to_string();
            if text == "-" {
                line.clear();
                io::stdin().lock().read_line(&mut line).map_err(failed)?;
            }
            hex(&line).map_err(|_| "trailing garbage following hex bytes")?
        }
    };
    print(context, &bytes, verbosity)
}
