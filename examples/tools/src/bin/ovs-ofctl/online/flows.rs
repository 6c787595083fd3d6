//! Changes of flows.

use ovs_ofproto::session::Frame;
use ovs_ofproto::text::Protocols;
use ovs_ofproto::{FlowMod, FlowModCommand};

use super::bundle;
use super::switch::Switch;
use crate::context::{Context, Done, Failure};
use crate::input;
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
    let (name, file) = (context.argument(0).to_string(), context.argument(1).to_string());
    let (flows, usable) = input::file(context, &name, &file, FlowModCommand::Add)?;
    send(context, &name, flows, usable)
}

fn one_or_file(context: &mut Context, command: FlowModCommand) -> Done {
    let (name, text) = (context.argument(0).to_string(), context.argument(1).to_string());
    let (flows, usable) = input::argument(context, &name, &text, command)?;
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
