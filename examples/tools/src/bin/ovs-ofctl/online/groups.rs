//! Groups.

use ovs_ofproto::codec::{GroupMod, Message};
use ovs_ofproto::session::Frame;
use ovs_ofproto::text::{GroupCommand, Parser, Protocols};

use super::bundle;
use super::statistics::trivial;
use super::switch::{Names, Switch};
use crate::context::{Context, Done, lines, read_text, refuse, refuse_in};

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
    let file = context.argument(1).to_string();
    from_file(context, &file, GroupCommand::Add)
}

fn one_or_file(context: &mut Context, command: GroupCommand) -> Done {
    let text = context.argument(1).to_string();
    if text == "-" {
        return from_file(context, "-", command);
    }
    let name = context.argument(0).to_string();
    let read = {
        let names = Names::of(context, &name);
        Parser::new(&names).group_mod(&text, command).map_err(|e| refuse(&text, &e))?
    };
    send(context, &name, vec![read.value], read.protocols)
}

fn from_file(context: &mut Context, file: &str, command: GroupCommand) -> Done {
    let name = context.argument(0).to_string();
    let text = read_text(file)?;
    let (mut groups, mut usable) = (Vec::new(), Protocols::ANY);
    {
        let names = Names::of(context, &name);
        let parser = Parser::new(&names);
        for (number, line) in lines(&text) {
            let read = match command {
                GroupCommand::Add => parser.group_command(line),
                command => parser.group_mod(line, command),
            }
            .map_err(|e| refuse_in(&format!("{file}:{number}: "), line, &e))?;
            usable &= read.protocols;
            groups.push(read.value);
        }
    }
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
