//! Ports and queues.

use ovs_ofproto::codec::{Message, PortMod, PortRequest, QueueRequest, QueueStatsRequest, Version};
use ovs_packet::OfPort;

use super::switch::{Switch, port_of};
use crate::context::{Context, Done, Failure};

/// What a port may be told, and the bit of its configuration; whether the word clears it.
const ACTIONS: [(&str, u32, bool); 8] = [
    ("up", 1, true),
    ("down", 1, false),
    ("stp", 2, true),
    ("receive", 4, true),
    ("receive-stp", 8, true),
    ("flood", 16, true),
    ("forward", 32, true),
    ("packet-in", 64, true),
];

/// The port of the second argument; any without one.
fn request(context: &Context) -> Result<PortRequest, Failure> {
    let mut request = PortRequest::default();
    if let Some(text) = context.arguments.get(1) {
        request.port = port_of(context, context.argument(0), text)?;
    }
    Ok(request)
}

fn dump(context: &mut Context, message: &Message) -> Done {
    super::statistics::trivial(context, message)
}

pub(crate) fn statistics(context: &mut Context) -> Done {
    let request = request(context)?;
    dump(context, &Message::PortStatsRequest(request))
}

pub(crate) fn descriptions(context: &mut Context) -> Done {
    let request = request(context)?;
    dump(context, &Message::PortDescRequest(request))
}

pub(crate) fn change(context: &mut Context) -> Done {
    let (name, port, action) =
        (context.argument(0).to_string(), context.argument(1).to_string(), context.argument(2).to_string());
    let lower = action.to_ascii_lowercase();
    let word = lower.strip_prefix("no-").or_else(|| lower.strip_prefix("no"));
    let (word, negated) = word.map_or((lower.as_str(), false), |word| (word, true));
    let found = ACTIONS.iter().find(|(name, ..)| *name == word);
    let (_, bit, clears) = found.ok_or_else(|| format!("unknown mod-port command '{action}'"))?;
    let mut switch = Switch::open(context, &name)?;
    let wanted = port.parse::<OfPort>().ok();
    let found = switch.ports()?.into_iter().find(|p| wanted == Some(p.number) || p.name == port);
    let found = found.ok_or_else(|| format!("{name}: couldn't find port `{port}'"))?;
    let mut change = PortMod::default();
    (change.number, change.hw_addr, change.mask) = (found.number, found.hw_addr, *bit);
    change.config = if *clears == negated { *bit } else { 0 };
    let request = switch.frame(&Message::PortMod(change))?;
    switch.tell(context, vec![request])
}

fn queue(text: &str) -> u32 {
    if text.is_empty() || text.eq_ignore_ascii_case("all") { u32::MAX } else { text.parse().unwrap_or(0) }
}

pub(crate) fn queue_statistics(context: &mut Context) -> Done {
    let port = context.argument(1).to_string();
    let mut request = QueueStatsRequest::default();
    if !port.is_empty() && !port.eq_ignore_ascii_case("all") {
        request.port = port_of(context, context.argument(0), &port)?;
    }
    request.queue = queue(context.argument(2));
    dump(context, &Message::QueueStatsRequest(request))
}

pub(crate) fn queues(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let mut request = QueueRequest::default();
    if let Some(port) = context.arguments.get(1) {
        request.port = port_of(context, &name, port)?;
    }
    request.queue = queue(context.argument(2));
    let mut switch = Switch::open(context, &name)?;
    if request.port != OfPort::ANY || switch.version() != Version::V1_0 {
        let request = switch.frame(&Message::QueueConfigRequest(request))?;
        return switch.dump(context, request);
    }
    // OpenFlow 1.0 has no way to ask for those of all ports.
    for port in switch.ports()? {
        if port.number.is_reserved() || port.number == OfPort::LOCAL {
            continue;
        }
        request.port = port.number;
        let request = switch.frame(&Message::QueueConfigRequest(request))?;
        switch.dump(context, request)?;
    }
    Ok(())
}
