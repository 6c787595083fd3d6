//! Meters.

use ovs_ofproto::codec::{Message, MeterMod};
use ovs_ofproto::text::{MeterCommand, Protocols};

use super::switch::Switch;
use crate::context::{Context, Done, Failure};
use crate::input;

/// All meters.
const ALL: u32 = u32::MAX;

pub(crate) fn add(context: &mut Context) -> Done {
    change(context, MeterCommand::Add)
}

pub(crate) fn modify(context: &mut Context) -> Done {
    change(context, MeterCommand::Modify)
}

pub(crate) fn delete(context: &mut Context) -> Done {
    change(context, MeterCommand::Delete)
}

fn read(context: &Context, command: MeterCommand) -> Result<Vec<MeterMod>, Failure> {
    let Some(text) = context.arguments.get(1) else {
        let mut all = MeterMod::default();
        (all.command, all.config.meter) = (command as u16, ALL);
        return Ok(vec![all]);
    };
    Ok(input::argument(context, context.argument(0), text, command)?.0)
}

fn change(context: &mut Context, command: MeterCommand) -> Done {
    let name = context.argument(0).to_string();
    let meters = read(context, command)?;
    let mut switch = Switch::open_for_flows(context, &name, Protocols::OF13_UP)?;
    meters.into_iter().try_for_each(|meter| {
        let request = switch.frame(&Message::MeterMod(meter))?;
        switch.tell(context, vec![request])
    })
}

fn dump(context: &mut Context, request: impl FnOnce(u32) -> Message) -> Done {
    let name = context.argument(0).to_string();
    let meter = read(context, MeterCommand::Delete)?.first().map_or(ALL, |meter| meter.config.meter);
    let mut switch = Switch::open_for_flows(context, &name, Protocols::OF13_UP)?;
    let request = switch.frame(&request(meter))?;
    switch.dump(context, request)
}

pub(crate) fn configurations(context: &mut Context) -> Done {
    dump(context, Message::MeterConfigRequest)
}

pub(crate) fn statistics(context: &mut Context) -> Done {
    dump(context, Message::MeterStatsRequest)
}

pub(crate) fn features(context: &mut Context) -> Done {
    dump(context, |_| Message::MeterFeaturesRequest)
}
