//! The table of tunnel options.

use ovs_ofproto::codec::{Message, TlvTableMod};
use ovs_ofproto::text::{Protocols, tlv_mappings};

use super::statistics::trivial;
use super::switch::Switch;
use crate::context::{Context, Done, refuse};

/// Adds options, deletes them, or deletes all.
const ADD: u16 = 0;
const DELETE: u16 = 1;
const CLEAR: u16 = 2;

fn change(context: &mut Context, command: u16) -> Done {
    let (name, text) = (context.argument(0).to_string(), context.argument(1).to_string());
    let mut table = TlvTableMod::default();
    table.command = command;
    table.mappings = tlv_mappings(&text).map_err(|e| refuse(&text, &e))?;
    let mut switch = Switch::open_for_flows(context, &name, Protocols::TLV)?;
    let request = switch.frame(&Message::TlvTableMod(table))?;
    switch.tell(context, vec![request])
}

pub(crate) fn add(context: &mut Context) -> Done {
    change(context, ADD)
}

pub(crate) fn delete(context: &mut Context) -> Done {
    let command = if context.arguments.len() > 1 { DELETE } else { CLEAR };
    change(context, command)
}

pub(crate) fn dump(context: &mut Context) -> Done {
    trivial(context, &Message::TlvTableRequest)
}
