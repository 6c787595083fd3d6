//! Connections that a switch tracks.

use ovs_ofproto::codec::Message;
use ovs_ofproto::text::connections;

use super::switch::Switch;
use crate::context::{Context, Done, Failure};

fn tell(context: &mut Context, message: &Message) -> Done {
    let name = context.argument(0).to_string();
    let mut switch = Switch::open(context, &name)?;
    let request = switch.frame(message)?;
    switch.tell(context, vec![request])
}

pub(crate) fn flush_zone(context: &mut Context) -> Done {
    let text = context.argument(1);
    let zone = ovs_packet::text::integer(text).and_then(|n| u16::try_from(n).ok());
    let zone = zone.ok_or_else(|| format!("invalid zone_id \"{text}\""))?;
    tell(context, &Message::CtFlushZone(zone))
}

pub(crate) fn flush(context: &mut Context) -> Done {
    let arguments: Vec<&str> = context.arguments.iter().skip(1).map(String::as_str).collect();
    let read = connections(&arguments);
    let flush = read.map_err(|e| Failure::from(format!("Failed to parse CT match: {}", e.problem)))?;
    tell(context, &Message::CtFlush(Box::new(flush)))
}
