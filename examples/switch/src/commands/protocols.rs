//! Commands about protocols between switches that are not built: bonds with LACP, spanning trees, BFD, CFM.
//!
//! They are here because programs call them whatever is configured (what `ovs-appctl` completes, what collects the state of a
//! machine for a report, what notes the flows of bridges before an upgrade), and take the lack of a command for the lack of a
//! daemon. What they answer is true by construction: nothing of the configuration makes such a port, and the row that asks
//! for one says that it is not available, so that of all there are none, of any name there is none, and what is done to all
//! is done. There is no state behind them to read; whoever builds such a protocol takes its commands from here to it.

use ovs_db::unixctl::Reply;

use super::{Command, command, error, text};

pub(super) const COMMANDS: &[Command] = &[
    command("bfd/set-forwarding", "[interface] normal|false|true", 1, 2, |_, call| {
        set(&call.arguments, "no such BFD object")
    }),
    command("bfd/show", "[interface]", 0, 1, |_, call| show(&call.arguments, "", "no such bfd object")),
    command("bond/list", "", 0, 0, |_, call| show(&call.arguments, BONDS, "")),
    command("bond/show", "[port]", 0, 1, |_, call| show(&call.arguments, "", "no such bond")),
    command("cfm/set-fault", "[interface] normal|false|true", 1, 2, |_, call| {
        set(&call.arguments, "no such CFM object")
    }),
    command("cfm/show", "[interface]", 0, 1, |_, call| show(&call.arguments, "", "no such CFM object")),
    command("lacp/show", "[port]", 0, 1, |_, call| show(&call.arguments, "", "no such lacp object")),
    command("lacp/show-stats", "[port]", 0, 1, |_, call| show(&call.arguments, "", "no such lacp object")),
    command("rstp/show", "[bridge]", 0, 1, |_, call| show(&call.arguments, "", "No such RSTP object")),
    command("rstp/tcn", "[bridge]", 0, 1, |_, call| show(&call.arguments, "OK", "No such RSTP object")),
    command("stp/show", "[bridge]", 0, 1, |_, call| show(&call.arguments, "", "no such stp object")),
    command("stp/tcn", "[bridge]", 0, 1, |_, call| show(&call.arguments, "OK", "no such stp object")),
];

const BONDS: &str = "bond\ttype\trecircID\tmembers\n";

/// `all` of none; or that there is none of the name that is given.
fn show(arguments: &[&str], all: &str, none: &str) -> Option<Reply> {
    match arguments.first() {
        Some(_) => error(none),
        None => text(all),
    }
}

/// The same, of what is set for one or for all.
fn set(arguments: &[&str], none: &str) -> Option<Reply> {
    let state = arguments.last()?;
    if !["normal", "false", "true"].iter().any(|word| state.eq_ignore_ascii_case(word)) {
        return error("unknown fault string");
    }
    if arguments.len() > 1 { error(none) } else { text("OK") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_there_are_none() {
        assert_eq!(show(&[], "all", "none"), text("all"));
        assert_eq!(show(&["p1"], "all", "none"), error("none"));
        assert_eq!(set(&["TRUE"], "none"), text("OK"));
        assert_eq!(set(&["p1", "false"], "none"), error("none"));
        assert_eq!(set(&["p1", "maybe"], "none"), error("unknown fault string"));
    }
}
