//! Changes of flows.

use ovs_ofproto::session::Frame;
use ovs_ofproto::text::{Parser, Protocols, Read};
use ovs_ofproto::{FlowMod, FlowModCommand};

use super::bundle;
use super::switch::{Names, Switch};
use crate::context::{Context, Done, Failure, lines, read_text, refuse, refuse_in};
use crate::offline::print::hex_dump;

/// Above this, messages are shown as they are sent.
const SHOWS_BYTES: u8 = 5;

pub(crate) fn add(context: &mut Context) -> Done {
    one_or_file(context, FlowModCommand::Add)
}

pub(crate) fn modify(context: &mut Context) -> Done {
    let strict = context.options.strict;
    one_or_file(context, if strict { FlowModCommand::ModifyStrict } else { FlowModCommand::Modify })
}

pub(crate) fn delete(context: &mut Context) -> Done {
    let strict = context.options.strict;
    one_or_file(context, if strict { FlowModCommand::DeleteStrict } else { FlowModCommand::Delete })
}

pub(crate) fn add_file(context: &mut Context) -> Done {
    let file = context.argument(1).to_string();
    from_file(context, &file, FlowModCommand::Add)
}

fn one_or_file(context: &mut Context, command: FlowModCommand) -> Done {
    let text = context.argument(1).to_string();
    if text == "-" {
        return from_file(context, "-", command);
    }
    let name = context.argument(0).to_string();
    let read = {
        let names = Names::of(context, &name);
        Parser::new(&names).normalising().flow(&text, command).map_err(|e| refuse(&text, &e))?
    };
    send(context, &name, vec![read.value], read.protocols)
}

/// Lines of a file of additions may begin with another command.
fn from_file(context: &mut Context, file: &str, command: FlowModCommand) -> Done {
    let name = context.argument(0).to_string();
    let text = read_text(file)?;
    let (mut flows, mut usable) = (Vec::new(), Protocols::ANY);
    {
        let names = Names::of(context, &name);
        let parser = Parser::new(&names).normalising();
        for (number, line) in lines(&text) {
            let read: Read<FlowMod> = match command {
                FlowModCommand::Add => parser.flow_command(line),
                command => parser.flow(line, command),
            }
            .map_err(|e| refuse_in(&format!("{file}:{number}: "), line, &e))?;
            usable &= read.protocols;
            flows.push(read.value);
        }
    }
    send(context, &name, flows, usable)
}

/// A flow as it goes to a switch.
pub(super) fn frame(flow: FlowMod, protocol: Protocols) -> Result<Frame, Failure> {
    let bytes = protocol.encode_flow_mod(flow, 0).map_err(|e| e.to_string())?;
    Frame::new(bytes).map_err(|e| e.to_string().into())
}

fn send(context: &mut Context, name: &str, flows: Vec<FlowMod>, usable: Protocols) -> Done {
    let bundled = context.options.bundle;
    let usable = if bundled { usable & Protocols::OF13_UP } else { usable };
    let mut switch = Switch::open_for_flows(context, name, usable)?;
    let protocol = switch.protocol();
    let frames = flows.into_iter().map(|flow| frame(flow, protocol)).collect::<Result<Vec<_>, _>>()?;
    if bundled {
        return bundle::transact(context, &mut switch, frames);
    }
    let mut shown = String::new();
    for frame in frames {
        match context.options.more {
            SHOWS_BYTES => shown += &hex_dump(frame.bytes()),
            0..SHOWS_BYTES => {}
            _ => {
                shown.extend(frame.bytes().iter().map(|b| format!("{b:02x}")));
                shown.push('\n');
            }
        }
        switch.tell(context, vec![frame])?;
    }
    context.print(shown)
}
