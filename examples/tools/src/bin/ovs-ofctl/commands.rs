//! The sub-commands.

use std::fs::File;
use std::io::{BufReader, Write};

use ovs_ofproto::codec::{Header, Message, Version};
use ovs_ofproto::text::{Parser, message, packet_match};
use ovs_ofproto::{FlowMod, FlowModCommand};
use ovs_packet::pcap::Reader;
use ovs_packet::{FlowKey, OfPort, Packet, extract};
use ovs_tools::{hex, read_input};
use serde_json::{Value, json};

/// A message as JSON: its header, the text, and the bytes.
fn as_json(header: &Header, body: &Message, bytes: &[u8]) -> Value {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let mut object = json!({
        "version": header.version.to_string(),
        "xid": header.xid,
        "text": message(header, body).to_string().trim_end(),
        "bytes": hex,
    });
    if let (Message::FlowMod(flow), Some(object)) = (body, object.as_object_mut()) {
        object.insert("flow".to_string(), flow_json(flow));
    }
    object
}

fn flow_json(flow: &FlowMod) -> Value {
    json!({
        "table": flow.table,
        "priority": flow.priority,
        "cookie": flow.cookie,
        "match": flow.matching.to_string(),
        "idle_timeout": flow.idle_timeout,
        "hard_timeout": flow.hard_timeout,
        "actions": flow.instructions.to_string(),
    })
}

fn write(out: &mut impl Write, text: std::fmt::Arguments<'_>) -> Result<(), String> {
    out.write_fmt(text).map_err(|e| format!("standard output: {e}"))
}

/// Prints what a flow becomes on the wire.
fn print_flow(out: &mut impl Write, text: &str, xid: u32, json: bool) -> Result<(), String> {
    let flow = Parser::default().flow_mod(text, FlowModCommand::Add).map_err(|e| e.to_string())?;
    let bytes = Message::from(flow).encode(Version::V1_3, xid).map_err(|e| e.to_string())?;
    // What is printed is what a switch would read.
    let (header, body) = Message::decode(&bytes).map_err(|e| e.to_string())?;
    match json {
        true => write(out, format_args!("{}\n", as_json(&header, &body, &bytes))),
        false => write(out, format_args!("{}", message(&header, &body))),
    }
}

pub(crate) fn parse_flow(out: &mut impl Write, flow: &str, json: bool) -> Result<(), String> {
    head(out, json)?;
    print_flow(out, flow, 1, json)
}

pub(crate) fn parse_flows(out: &mut impl Write, file: &str, json: bool) -> Result<(), String> {
    let bytes = read_input(file)?;
    let text = String::from_utf8(bytes)
        .map_err(|e| format!("{file}: not UTF-8 from offset {}", e.utf8_error().valid_up_to()))?;
    head(out, json)?;
    let mut xid = 0;
    for (number, line) in text.lines().enumerate() {
        let flow = line.split('#').next().unwrap_or_default();
        if !flow.trim().is_empty() {
            xid += 1;
            print_flow(out, flow, xid, json).map_err(|e| format!("{file}:{}: {e}", number + 1))?;
        }
    }
    Ok(())
}

/// What upstream's tool says first; there is one protocol to choose.
fn head(out: &mut impl Write, json: bool) -> Result<(), String> {
    if json {
        return Ok(());
    }
    write(out, format_args!("usable protocols: OXM-OpenFlow13\nchosen protocol: OXM-OpenFlow13\n"))
}

pub(crate) fn parse_pcap(out: &mut impl Write, file: &str, json: bool) -> Result<(), String> {
    let input = File::open(file).map_err(|e| format!("{file}: {e}"))?;
    let reader = Reader::new(BufReader::new(input)).map_err(|e| format!("{file}: {e}"))?;
    for record in reader {
        let record = record.map_err(|e| format!("{file}: {e}"))?;
        let mut key = FlowKey::ZERO;
        extract::extract(&mut Packet::from_slice(&record.data), &mut key);
        // A capture file does not say by which port a packet came in.
        key.in_port = OfPort::ANY.0.into();
        let m = packet_match(&key);
        match json {
            true => {
                let seconds = record.time.as_secs_f64();
                write(
                    out,
                    format_args!("{}\n", json!({"time": seconds, "len": record.wire_len, "flow": m.to_string()})),
                )?;
            }
            false => write(out, format_args!("{m}\n"))?,
        }
    }
    Ok(())
}

pub(crate) fn ofp_print(out: &mut impl Write, argument: &str, json: bool) -> Result<(), String> {
    let text = match hex(argument) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => {
            let input = read_input(argument)?;
            let text = String::from_utf8(input).map_err(|_| format!("{argument}: not a text of hexadecimal digits"))?;
            hex(&text).map_err(|e| format!("{argument}: {e}"))
        }
    };
    let bytes = text?;
    let (header, body) = Message::decode(&bytes).map_err(|e| format!("decode error: {e}"))?;
    match json {
        true => write(out, format_args!("{}\n", as_json(&header, &body, &bytes))),
        false => write(out, format_args!("{}", message(&header, &body))),
    }
}
