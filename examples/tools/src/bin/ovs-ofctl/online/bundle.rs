//! Changes all at once or not at all.

use ovs_ofproto::codec::{BundleAdd, BundleControl, Message, OfError};
use ovs_ofproto::session::Frame;
use ovs_ofproto::text::{BundleLine, Parser, Protocols, ofp_print};

use serde_json::json;

use super::flows;
use super::switch::{Names, Switch};
use crate::context::{Context, Done, Failure, lines, read_text, refuse_in};
use crate::offline::print::as_json;

const OPEN: u16 = 0;
const COMMIT: u16 = 4;
const DISCARD: u16 = 6;
/// All or nothing, in their order.
const FLAGS: u16 = 3;

pub(crate) fn file(context: &mut Context) -> Done {
    let (name, file) = (context.argument(0).to_string(), context.argument(1).to_string());
    let text = read_text(&file)?;
    context.allow_bundles();
    let (mut changes, mut usable) = (Vec::new(), Protocols::OF13_UP);
    {
        let names = Names::of(context, &name);
        let parser = Parser::new(&names).normalising();
        for (number, line) in lines(&text) {
            let read = parser.bundle_line(line).map_err(|e| refuse_in(&format!("{file}:{number}: "), line, &e))?;
            usable &= read.protocols;
            changes.push(read.value);
        }
    }
    let mut switch = Switch::open_for_flows(context, &name, usable)?;
    let protocol = switch.protocol();
    let frames = changes.into_iter().map(|change| match change {
        BundleLine::Flow(flow) => flows::frame(*flow, protocol),
        BundleLine::Group(group) => switch.frame(&Message::GroupMod(group)),
        BundleLine::PacketOut(packet) => switch.frame(&Message::PacketOut(*packet)),
        other => Err(format!("not for a bundle: {other:?}").into()),
    });
    let frames = frames.collect::<Result<Vec<_>, _>>()?;
    transact(context, &mut switch, frames)
}

fn control(switch: &mut Switch, kind: u16) -> Result<Frame, Failure> {
    let mut control = BundleControl::default();
    (control.kind, control.flags) = (kind, FLAGS);
    let xid = switch.next_xid();
    Ok(switch.frame(&Message::BundleControl(control))?.with_xid(xid))
}

/// Sends messages as one bundle. What is refused is said on standard error.
pub(super) fn transact(context: &mut Context, switch: &mut Switch, messages: Vec<Frame>) -> Done {
    let mut refused = Vec::new();
    let messages: Vec<Frame> = messages.into_iter().map(|m| m.with_xid(switch.next_xid())).collect();
    let open = control(switch, OPEN)?;
    if let Some(error) = perform(switch, open, &mut refused)? {
        say(context, &refused, &[]);
        return Err(broken(switch, error));
    }
    let mut sent = Vec::new();
    for message in messages {
        let mut add = BundleAdd::default();
        (add.flags, add.message) = (FLAGS, message.bytes().to_vec());
        let frame = switch.frame(&Message::BundleAdd(add))?.with_xid(message.xid());
        switch.client().send(frame).map_err(|e| switch.talking(&e))?;
        // What was refused meanwhile must not fill the connection.
        while let Some(frame) = switch.client().try_receive().map_err(|e| switch.talking(&e))? {
            refused.push(frame);
        }
        sent.push(message);
    }
    // A message that is refused does not end the bundle: the barrier tells when all were looked at.
    let xid = switch.next_xid();
    let barrier = switch.frame(&Message::BarrierRequest)?.with_xid(xid);
    let failed = perform(switch, barrier, &mut refused)?.is_some() || !refused.is_empty();
    let last = control(switch, if failed { DISCARD } else { COMMIT })?;
    let failed = perform(switch, last, &mut refused)?.is_some() || failed;
    say(context, &refused, &sent);
    if failed { Err(broken(switch, "Protocol error")) } else { Ok(()) }
}

fn broken(switch: &Switch, why: impl std::fmt::Display) -> Failure {
    format!("talking to {} ({why})", switch.name()).into()
}

/// Sends a control message, and waits for its answer; gives the error that it is, and gathers those of other messages.
fn perform(switch: &mut Switch, request: Frame, refused: &mut Vec<Frame>) -> Result<Option<OfError>, Failure> {
    let xid = request.xid();
    switch.client().send(request).map_err(|e| switch.talking(&e))?;
    loop {
        let frame = switch.client().receive().map_err(|e| switch.talking(&e))?;
        let error = match Message::decode(frame.bytes()) {
            Ok((_, Message::Error(error))) => Some(error.error),
            _ => None,
        };
        match error {
            error if frame.xid() == xid => {
                if error.is_some() {
                    refused.push(frame);
                }
                return Ok(error);
            }
            Some(_) => refused.push(frame),
            None => {}
        }
    }
}

/// Says which messages were refused, whole where they are known.
fn say(context: &Context, refused: &[Frame], sent: &[Frame]) {
    for frame in refused {
        let Ok((_, Message::Error(error))) = Message::decode(frame.bytes()) else { continue };
        let message = sent.iter().find(|m| m.xid() == frame.xid()).map_or(error.data.as_slice(), Frame::bytes);
        if context.options.is_json() {
            eprintln!("{}", json!({"error": error.error, "for": as_json(message)}));
            continue;
        }
        eprint!("Error {} for: {}", error.error, ofp_print(message, context.verbosity(1)));
    }
}
