//! What a switch is, and what it has seen.

use ovs_ofproto::codec::{Message, PortRequest, SwitchConfig, Version};

use serde_json::json;

use super::switch::{Names, Switch};
use crate::context::{Context, Done, Failure};

/// Sends a request without arguments, and prints the answer.
pub(super) fn trivial(context: &mut Context, request: &Message) -> Done {
    let name = context.argument(0).to_string();
    let mut switch = Switch::open(context, &name)?;
    let request = switch.frame(request)?;
    switch.dump(context, request)
}

pub(crate) fn show(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let mut switch = Switch::open(context, &name)?;
    let request = switch.frame(&Message::FeaturesRequest)?;
    let reply = switch.ask(request)?;
    context.names = Names::to_show(context, &name);
    crate::offline::print::print(context, reply.bytes(), context.verbosity(1))?;
    // OpenFlow 1.0 to 1.2 tell the ports with the features, unless they are too many.
    let whole = switch.version() < Version::V1_3 && reply.bytes().len() < usize::from(u16::MAX) - 64;
    if !whole {
        let request = switch.frame(&Message::PortDescRequest(PortRequest::default()))?;
        switch.dump(context, request)?;
    }
    let request = switch.frame(&Message::GetConfigRequest)?;
    switch.dump(context, request)
}

pub(crate) fn description(context: &mut Context) -> Done {
    trivial(context, &Message::DescRequest)
}

pub(crate) fn tables(context: &mut Context) -> Done {
    trivial(context, &Message::TableStatsRequest)
}

pub(crate) fn ipfix_bridge(context: &mut Context) -> Done {
    trivial(context, &Message::IpfixBridgeStatsRequest)
}

pub(crate) fn ipfix_flow(context: &mut Context) -> Done {
    trivial(context, &Message::IpfixFlowStatsRequest)
}

const MODES: [&str; 4] = ["normal", "drop", "reassemble", "nx-match"];

/// Asks how the switch treats packets.
pub(super) fn configuration(switch: &mut Switch) -> Result<SwitchConfig, Failure> {
    match switch.answer(&Message::GetConfigRequest)? {
        Message::GetConfigReply(config) => Ok(config),
        other => Err(format!("bad reply to config request: {other:?}").into()),
    }
}

/// Has it treat packets so.
pub(super) fn configure(context: &Context, switch: &mut Switch, config: SwitchConfig) -> Done {
    let request = switch.frame(&Message::SetConfig(config))?;
    switch.tell(context, vec![request])
}

pub(crate) fn fragments(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let config = configuration(&mut Switch::open(context, &name)?)?;
    let mode = MODES.get(usize::from(config.flags & 3)).copied().unwrap_or_default();
    context.print_either(format_args!("{mode}\n"), || json!({"fragments": mode}))
}

pub(crate) fn set_fragments(context: &mut Context) -> Done {
    let (name, text) = (context.argument(0).to_string(), context.argument(1).to_string());
    let mode = MODES.iter().position(|m| m.eq_ignore_ascii_case(&text)).and_then(|n| u16::try_from(n).ok());
    let mode = mode.ok_or_else(|| format!("{text}: unknown fragment handling mode"))?;
    let mut switch = Switch::open(context, &name)?;
    let mut config = configuration(&mut switch)?;
    if config.flags & 3 == mode {
        return Ok(());
    }
    config.flags = config.flags & !3 | mode;
    configure(context, &mut switch, config)?;
    // A switch need not say that it does not know a mode.
    match configuration(&mut switch)?.flags & 3 == mode {
        true => Ok(()),
        false => Err(format!(
            "{name}: setting fragment handling mode failed (this switch probably doesn't support mode \"{text}\")"
        )
        .into()),
    }
}
