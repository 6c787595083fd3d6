//! Packets for a switch to send.

use ovs_ofproto::codec::{Message, PacketOut};
use ovs_ofproto::text::{Parser, Protocols};
use ovs_tools::hex;

use super::switch::{Names, Switch, port_of};
use crate::context::{Context, Done, refuse};

/// `SWITCH PACKET`, or as it used to be `SWITCH PORT ACTIONS HEX...`.
pub(crate) fn send(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let (packets, usable) = match context.arguments.len() {
        2 => {
            let text = context.argument(1).to_string();
            let names = Names::of(context, &name);
            let read = Parser::new(&names).packet_out(&text).map_err(|e| refuse(&text, &e))?;
            (vec![read.value], read.protocols)
        }
        3 => return Err("Too many arguments (4)".into()),
        _ => {
            let in_port = port_of(context, &name, context.argument(1))?;
            let text = context.argument(2).to_string();
            let names = Names::of(context, &name);
            let actions = Parser::new(&names).actions(&text).map_err(|e| refuse(&text, &e))?;
            let digits = context.arguments.iter().skip(3);
            let packets = digits.map(|digits| {
                let data = hex(digits).map_err(|_| "Trailing garbage in packet data".to_string())?;
                Ok(PacketOut::new(in_port, actions.clone(), data))
            });
            (packets.collect::<Result<Vec<_>, String>>()?, Protocols::ANY)
        }
    };
    let mut switch = Switch::open_for_flows(context, &name, usable)?;
    for packet in packets {
        let request = switch.frame(&Message::PacketOut(packet))?;
        switch.tell(context, vec![request])?;
    }
    Ok(())
}
