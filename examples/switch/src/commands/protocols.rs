//! Commands about protocols between switches that no port of this switch runs: bonds with LACP, spanning trees, BFD, CFM.
//!
//! Who asks for all of them is told of none, and who names one that there is none of that name. What asks for such a protocol
//! in the configuration is told in its row that it is not available.

use ovs_db::unixctl::Reply;

use super::{Call, Command, command, error, text};

pub(super) const COMMANDS: &[Command] = &[
    command("bfd/set-forwarding", "[interface] normal|false|true", 1, 2, |_, call| set(call, "no such BFD object")),
    command("bfd/show", "[interface]", 0, 1, |_, call| show(call, "", "no such bfd object")),
    command("bond/list", "", 0, 0, |_, call| show(call, BONDS, "")),
    command("bond/show", "[port]", 0, 1, |_, call| show(call, "", "no such bond")),
    command("cfm/set-fault", "[interface] normal|false|true", 1, 2, |_, call| set(call, "no such CFM object")),
    command("cfm/show", "[interface]", 0, 1, |_, call| show(call, "", "no such CFM object")),
    command("lacp/show", "[port]", 0, 1, |_, call| show(call, "", "no such lacp object")),
    command("lacp/show-stats", "[port]", 0, 1, |_, call| show(call, "", "no such lacp object")),
    command("rstp/show", "[bridge]", 0, 1, |_, call| show(call, "", "No such RSTP object")),
    command("rstp/tcn", "[bridge]", 0, 1, |_, call| show(call, "OK", "No such RSTP object")),
    command("stp/show", "[bridge]", 0, 1, |_, call| show(call, "", "no such stp object")),
    command("stp/tcn", "[bridge]", 0, 1, |_, call| show(call, "OK", "no such stp object")),
];

const BONDS: &str = "bond\ttype\trecircID\tmembers\n";

/// `all` of none; or that there is none of the name that is given.
fn show(call: &Call<'_>, all: &str, none: &str) -> Option<Reply> {
    match call.argument(0) {
        Some(_) => error(none),
        None => text(all),
    }
}

/// The same, of what is set for one or for all.
fn set(call: &Call<'_>, none: &str) -> Option<Reply> {
    let state = call.arguments.last()?;
    if !["normal", "false", "true"].iter().any(|word| state.eq_ignore_ascii_case(word)) {
        return error("unknown fault string");
    }
    if call.arguments.len() > 1 { error(none) } else { text("OK") }
}
