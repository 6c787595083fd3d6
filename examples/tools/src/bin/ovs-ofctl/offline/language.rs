//! What texts become on the wire.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, Write};

use ovs_ofproto::codec::{Message, Version};
use ovs_ofproto::text::{GroupCommand, Parser, Protocols, key_values, ofp_print};
use ovs_ofproto::{FlowMod, FlowModCommand};
use serde_json::json;

use super::print::as_json;
use crate::context::{Context, Done, Failure, refuse, refuse_in, version_name};

/// Prints what stands before flows, and chooses the form in which they go out.
fn choose(context: &mut Context, usable: Protocols) -> Result<Protocols, Failure> {
    let chosen = (usable & context.protocols).first();
    if context.options.is_json() {
        return chosen.ok_or_else(|| "no usable protocol".into());
    }
    context.print(format_args!("usable protocols: {usable}\n"))?;
    let chosen = chosen.ok_or(Failure::from("no usable protocol"))?;
    context.print(format_args!("chosen protocol: {chosen}\n"))?;
    Ok(chosen)
}

/// Prints a flow as a switch would read it.
fn print_flow(context: &mut Context, flow: FlowMod, protocol: Protocols, xid: u32) -> Done {
    let bytes = protocol.encode_flow_mod(flow, xid).map_err(|e| e.to_string())?;
    match context.options.is_json() {
        true => {
            let mut object = as_json(&bytes);
            if let Some(object) = object.as_object_mut() {
                object.insert("protocol".to_string(), json!(protocol.to_string()));
            }
            context.print_json(&object)
        }
        false => {
            let verbosity = context.verbosity(0);
            context.print(ofp_print(&bytes, verbosity))
        }
    }
}

pub(crate) fn flow(context: &mut Context) -> Done {
    let text = context.argument(0).to_string();
    let read = Parser::default().normalising().flow(&text, FlowModCommand::Add).map_err(|e| refuse(&text, &e))?;
    // A form that can say each field may still not say all that is matched of it.
    let sayable = |p: &Protocols| p.encode_flow_mod(read.value.clone(), 1).is_ok();
    let first = (read.protocols & context.protocols).iter().find(sayable);
    let chosen = choose(context, read.protocols)?;
    print_flow(context, read.value, first.unwrap_or(chosen), 1)
}

/// A file that can be read twice: what comes by a pipe is kept in a file of no name meanwhile.
fn open_twice(name: &str) -> Result<File, Failure> {
    let failed = |e: io::Error| Failure::from(format!("{name}: open failed ({e})"));
    if name != "-" {
        let file = File::open(name).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_file() {
            return Ok(file);
        }
        return spool(file).map_err(failed);
    }
    spool(io::stdin().lock()).map_err(failed)
}

fn spool(mut input: impl io::Read) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("ovs-ofctl.{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    io::copy(&mut input, &mut file)?;
    file.flush()?;
    Ok(file)
}

/// Hands on the lines of a file without comments and empty ones, one at a time.
fn each_line(file: &mut File, name: &str, mut each: impl FnMut(usize, &str) -> Done) -> Done {
    file.rewind().map_err(|e| format!("{name}: {e}"))?;
    let mut input = BufReader::with_capacity(1 << 16, file);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(|e| format!("{name}: {e}"))? == 0 {
            return Ok(());
        }
        number += 1;
        let text = std::str::from_utf8(&line).map_err(|_| format!("{name}:{number}: not UTF-8"))?;
        let text = text.split('#').next().unwrap_or_default().trim_end_matches(['\r', '\n']);
        if !text.trim().is_empty() {
            each(number, text)?;
        }
    }
}

/// The file is read twice, once for the forms that can say all of it and once to print it, so that no more than a line is
/// in memory.
pub(crate) fn flows(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let mut file = open_twice(&name)?;
    let parser = Parser::default().normalising();
    let mut usable = Protocols::ANY;
    each_line(&mut file, &name, |number, line| {
        let read = parser.flow(line, FlowModCommand::Add);
        let read = read.map_err(|e| refuse_in(&format!("{name}:{number}: "), line, &e))?;
        usable &= read.protocols;
        Ok(())
    })?;
    let chosen = choose(context, usable)?;
    let mut xid = 0u32;
    each_line(&mut file, &name, |_, line| {
        let read = parser.flow(line, FlowModCommand::Add).map_err(|e| refuse(line, &e))?;
        xid = xid.wrapping_add(1);
        print_flow(context, read.value, chosen, xid)
    })
}

pub(crate) fn group(context: &mut Context) -> Done {
    let text = context.argument(0).to_string();
    let read = Parser::default().group_mod(&text, GroupCommand::Add).map_err(|e| refuse(&text, &e))?;
    let version = (read.protocols & context.protocols).first().and_then(Protocols::version);
    let bytes = |version: Version| Message::from(read.value.clone()).encode(version, 1).map_err(|e| e.to_string());
    if context.options.is_json() {
        let object = as_json(&bytes(version.ok_or("no usable protocol")?)?);
        return context.print_json(&object);
    }
    context.print(format_args!("usable protocols: {}\n", read.protocols))?;
    let version = version.ok_or(Failure::from("no usable protocol"))?;
    context.print(format_args!("chosen version: {}\n", version_name(version)))?;
    let verbosity = context.verbosity(0);
    context.print(ofp_print(&bytes(version)?, verbosity))
}

pub(crate) fn key_value(context: &mut Context) -> Done {
    for text in context.arguments.clone() {
        let items: Vec<String> = key_values(&text)
            .map(|(key, value)| if value.is_empty() { key.to_string() } else { format!("{key}={value}") })
            .collect();
        context.print_either(format_args!("{}\n", items.join(", ")), || {
            let pairs = key_values(&text).map(|(key, value)| json!([key, value]));
            json!({"items": pairs.collect::<Vec<_>>()})
        })?;
    }
    Ok(())
}
