//! Actions and instructions on the wire, in hexadecimal.

use ovs_ofproto::codec::{DecodeError, OfError, Version, check_flow_in};
use ovs_ofproto::{Action, Instructions};
use ovs_packet::Match;
use ovs_tools::hex;
use serde_json::{Value, json};

use super::print::digits;
use crate::context::{Context, Done, lines, read_text};

pub(crate) fn actions(context: &mut Context) -> Done {
    lists(context, false)
}

pub(crate) fn instructions(context: &mut Context) -> Done {
    lists(context, true)
}

/// Reads a list a line: prints it, and what differs if it is written again.
fn lists(context: &mut Context, instructions: bool) -> Done {
    let name = context.argument(0).to_string();
    let version = Version::by_name(&name).ok_or_else(|| format!("{name}: not a valid OpenFlow version"))?;
    let what = if instructions { "instructions" } else { "actions" };
    let mut log = Log::default();
    for (_, line) in lines(&read_text("-")?) {
        // The table that instructions are of may stand in front.
        let (table, line) = line.split_once(',').map_or((0, line), |(t, rest)| (t.trim().parse().unwrap_or(0), rest));
        let bytes = hex(line).map_err(|_| "Trailing garbage in hex data")?;
        let read = match instructions {
            true => Instructions::decode(&bytes, version).map(|found| (found, table)),
            false => Action::decode_list(&bytes, version).map(|list| (Instructions::apply(list), table)),
        };
        let checked: Result<Instructions, OfError> = match read {
            Ok((found, table)) if instructions => check_flow_in(version, &Match::ANY, table, &found).map(|()| found),
            Ok((found, _)) => Ok(found),
            Err(e) => {
                if !instructions {
                    log.refused(&bytes, version, &e);
                }
                Err(e.error)
            }
        };
        let found = match checked {
            Ok(found) => found,
            Err(error) => {
                let says = format_args!("bad {name} {what}: {error}\n\n");
                context.print_either(says, || json!({"error": error, "bytes": digits(&bytes)}))?;
                continue;
            }
        };
        let again = match instructions {
            true => found.encode(version),
            false => Action::encode_list(&found.apply, version),
        };
        let again = again.map_err(|e| e.to_string())?;
        let differs = differences("", &bytes, &again);
        context.print_either(format_args!("actions={found}\n{differs}\n"), || {
            let said = if instructions { json!({"instructions": found}) } else { json!({"actions": found.apply}) };
            with_again(said, &bytes, &again)
        })?;
    }
    Ok(())
}

/// How many inputs are logged that are not as they should be; upstream logs as many before it keeps silent for a while.
pub(super) const LOGGED: usize = 5;

/// What was logged of inputs that are not as they should be: as upstream logs it, of each module so many lines.
#[derive(Default)]
struct Log {
    actions: usize,
    fields: usize,
}

impl Log {
    /// Logs what is wrong with a list of actions.
    fn refused(&mut self, bytes: &[u8], version: Version, e: &DecodeError) {
        if e.error == OfError::BadInstructionUnsupported {
            tracing::warn!(target: "ofp_actions", "write_metadata instruction not allowed here");
            return;
        }
        for line in Action::complaints(bytes, version, e) {
            // Of a list that could be read, upstream never spares the line.
            if line.module == "meta_flow" && may_log(&mut self.fields) {
                tracing::warn!(target: "meta_flow", "{}", line.says);
            } else if line.module == "ofp_actions" && (line.misplaced || may_log(&mut self.actions)) {
                tracing::warn!(target: "ofp_actions", "{}", line.says);
            }
        }
    }
}

/// Whether there is room for another line, which it takes.
fn may_log(lines: &mut usize) -> bool {
    *lines += 1;
    *lines <= LOGGED
}

/// What was read, its bytes, and those that it is written with where they are others.
pub(super) fn with_again(mut said: Value, bytes: &[u8], again: &[u8]) -> Value {
    if let Some(object) = said.as_object_mut() {
        object.insert("bytes".to_string(), digits(bytes).into());
        if bytes != again {
            object.insert("again".to_string(), digits(again).into());
        }
    }
    said
}

/// Which bytes differ, a line each.
pub(crate) fn differences(prefix: &str, before: &[u8], after: &[u8]) -> String {
    let mut text = String::new();
    for n in 0..before.len().max(after.len()) {
        let side = |b: &[u8]| b.get(n).map_or("(none)".to_string(), |b| format!("{b:02x}"));
        if before.get(n) != after.get(n) {
            text += &format!("{prefix}{n:2}: {} -> {}\n", side(before), side(after));
        }
    }
    text
}
