//! Groups.

use ovs_ofproto::codec::{GroupMod, Message};
use ovs_ofproto::session::Frame;
use ovs_ofproto::text::{GroupCommand, Parser, Protocols};

use super::bundle;
use super::statistics::trivial;
use super::switch::Switch;
use crate::context::{Context, Done, refuse};
use crate::input;

/// All groups.
const ALL: u32 = 0xffff_fffc;

pub(crate) fn add(context: &mut Context) -> Done {
    one_or_file(context, GroupCommand::Add)
}

pub(crate) fn modify(context: &mut Context) -> Done {
    let may_create = context.options.may_create;
    one_or_file(context, if may_create { GroupCommand::AddOrModify } else { GroupCommand::Modify })
}

pub(crate) fn delete(context: &mut Context) -> Done {
    one_or_file(context, GroupCommand::Delete)
}

pub(crate) fn insert_buckets(context: &mut Context) -> Done {
    one_or_file(context, GroupCommand::InsertBucket)
}

pub(crate) fn remove_buckets(context: &mut Context) -> Done {
    one_or_file(context, GroupCommand::RemoveBucket)
}

pub(crate) fn add_file(context: &mut Context) -> Done {
    let (name, file) = (context.argument(0).to_string(), context.argument(1).to_string());
    let (groups, usable) = input::file(context, &name, &file, GroupCommand::Add)?;
    send(context, &name, groups, usable)
}

fn one_or_file(context: &mut Context, command: GroupCommand) -> Done {
    let (name, text) = (context.argument(0).to_string(), context.argument(1).to_string());
    let (groups, usable) = input::argument(context, &name, &text, command)?;
    send(context, &name, groups, usable)
}

fn send(context: &mut Context, name: &str, groups: Vec<GroupMod>, usable: Protocols) -> Done {
    let bundled = context.options.bundle;
    let usable = if bundled { usable & Protocols::OF13_UP } else { usable };
    if (usable & context.protocols).is_empty() {
        let inserts = |g: &GroupMod| g.command == GroupCommand::InsertBucket as u16;
        if groups.iter().any(inserts) {
            return Err("insert-bucket needs OpenFlow 1.5 or later ('-O OpenFlow15')".into());
        }
    }
    let mut switch = Switch::open_for_flows(context, name, usable)?;
    let frames = groups.into_iter().map(|group| switch.frame(&Message::from(group)));
    let frames: Vec<Frame> = frames.collect::<Result<_, _>>()?;
    match bundled {
        true => bundle::transact(context, &mut switch, frames),
        false => frames.into_iter().try_for_each(|frame| switch.tell(context, vec![frame])),
    }
}

pub(crate) fn descriptions(context: &mut Context) -> Done {
    let group = match context.argument(1) {
        text if text.eq_ignore_ascii_case("any") => u32::MAX,
        text => text.parse().unwrap_or(ALL),
    };
    trivial(context, &Message::GroupDescRequest(group))
}

pub(crate) fn statistics(context: &mut Context) -> Done {
    let text = context.argument(1).to_string();
    let read = Parser::default().group_mod(&text, GroupCommand::Delete).map_err(|e| refuse(&text, &e))?;
    trivial(context, &Message::GroupStatsRequest(read.value.desc.group))
}

pub(crate) fn features(context: &mut Context) -> Done {
    trivial(context, &Message::GroupFeaturesRequest)
}
