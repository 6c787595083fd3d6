//! The sub-commands.

use std::fs::File;
use std::io::{BufReader, Write};

use ovs_ofproto::codec::{ErrorMessage, Framer, Header, Hello, Message, OfError, Version, Versions};
use ovs_ofproto::text::{Parser, message, ofp_print, packet_match};
use ovs_ofproto::{Action, FlowMod, FlowModCommand, Instructions};
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

pub(crate) fn print_message(out: &mut impl Write, argument: &str, verbosity: u8, json: bool) -> Result<(), String> {
    let text = match hex(argument) {
        Ok(bytes) => Ok(bytes),
        Err(_) => {
            let input = read_input(argument)?;
            let text = String::from_utf8(input).map_err(|_| format!("{argument}: not a text of hexadecimal digits"))?;
            hex(&text).map_err(|e| format!("{argument}: {e}"))
        }
    };
    let bytes = text?;
    if json {
        let (header, body) = Message::decode(&bytes).map_err(|e| format!("decode error: {e}"))?;
        return write(out, format_args!("{}\n", as_json(&header, &body, &bytes)));
    }
    write(out, format_args!("{}", ofp_print(&bytes, verbosity)))
}

/// Messages one after the other in a file, as they stand in a stream.
pub(crate) fn ofp_parse(out: &mut impl Write, file: &str) -> Result<(), String> {
    let mut framer = Framer::new();
    framer.push(&read_input(file)?);
    for frame in framer.by_ref() {
        let frame = frame.map_err(|e| format!("{file}: {e}"))?;
        write(out, format_args!("{}", ofp_print(&frame, 4)))?;
    }
    match framer.waiting() {
        0 => Ok(()),
        n => Err(format!("{file}: {n} bytes left of a message that does not end")),
    }
}

/// The hello of one who speaks the versions whose bits are set.
pub(crate) fn encode_hello(out: &mut impl Write, bitmap: &str) -> Result<(), String> {
    let bits = bitmap.strip_prefix("0x").map_or_else(|| bitmap.parse(), |hex| u32::from_str_radix(hex, 16));
    let versions = Versions(bits.map_err(|_| format!("{bitmap}: not a number of 32 bits"))?);
    let highest = versions.highest().ok_or("no version in the bitmap")?;
    // A set without holes below the highest needs no list.
    let hello = match Versions::up_to(highest) == versions {
        true => Hello::default(),
        false => Hello::new(versions),
    };
    let bytes = Message::Hello(hello).encode(highest, 1).map_err(|e| e.to_string())?;
    write(out, format_args!("{}{}", hex_dump(&bytes), ofp_print(&bytes, 0)))
}

/// Sixteen bytes a line.
fn hex_dump(bytes: &[u8]) -> String {
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

/// Reads each line of the standard input as bytes; `#` begins a comment.
fn lines_of_hex() -> Result<Vec<Vec<u8>>, String> {
    let text = String::from_utf8(read_input("-")?).map_err(|_| "standard input: not UTF-8".to_string())?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    // The table that instructions are of may stand in front.
    let lines = lines.map(|line| line.split_once(',').map_or(line, |(_, bytes)| bytes));
    lines.filter(|line| !line.is_empty()).map(|line| hex(line).map_err(|e| format!("{line}: {e}"))).collect()
}

/// Actions or instructions in hexadecimal, a list a line: prints them, and what differs if they are written again.
pub(crate) fn parse_actions(out: &mut impl Write, version: &str, instructions: bool) -> Result<(), String> {
    let version = Version::by_name(version).ok_or_else(|| format!("{version}: not an OpenFlow version"))?;
    let what = if instructions { "instructions" } else { "actions" };
    for bytes in lines_of_hex()? {
        let read = match instructions {
            true => Instructions::decode(&bytes, version),
            false => Action::decode_list(&bytes, version).map(Instructions::apply),
        };
        let found = match read {
            Ok(found) => found,
            Err(e) => {
                let name = version.to_string().replace("OF", "OpenFlow").replace('.', "");
                write(out, format_args!("bad {name} {what}: {}\n\n", e.error))?;
                continue;
            }
        };
        write(out, format_args!("actions={found}\n"))?;
        let again = match instructions {
            true => found.encode(version),
            false => Action::encode_list(&found.apply, version),
        };
        let again = again.map_err(|e| e.to_string())?;
        for n in 0..bytes.len().max(again.len()) {
            let side = |b: &[u8]| b.get(n).map_or("(none)".to_string(), |b| format!("{b:02x}"));
            if bytes.get(n) != again.get(n) {
                write(out, format_args!("{n:2}: {} -> {}\n", side(&bytes), side(&again)))?;
            }
        }
        write(out, format_args!("\n"))?;
    }
    Ok(())
}

/// The answer to a request that fails.
pub(crate) fn encode_error_reply(out: &mut impl Write, name: &str, request: &str) -> Result<(), String> {
    let error = OfError::by_name(name).ok_or_else(|| format!("unknown error \"{name}\""))?;
    let request = hex(request).map_err(|e| format!("{request}: {e}"))?;
    let header = Header::decode(&request).map_err(|e| e.to_string())?;
    let reply = Message::Error(ErrorMessage::new(error, &request));
    let bytes = reply.encode(header.version, header.xid).map_err(|e| e.to_string())?;
    write(out, format_args!("{}", hex_dump(&bytes)))
}

/// What an error is called in each version.
pub(crate) fn print_error(out: &mut impl Write, name: &str) -> Result<(), String> {
    let error = OfError::by_name(name).ok_or_else(|| format!("unknown error \"{name}\""))?;
    for version in Version::KNOWN {
        if let (Some(n), Some(minor)) = (error.number(version), version.minor()) {
            let (vendor, kind, code) = (n.experimenter, n.kind, n.code);
            let vendor = if vendor == 0 { "0".to_string() } else { format!("{vendor:#x}") };
            write(out, format_args!("OpenFlow 1.{minor}: vendor {vendor}, type {kind}, code {code}\n"))?;
        }
    }
    Ok(())
}
