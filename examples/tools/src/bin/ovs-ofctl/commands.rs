//! The table of the sub-commands.

use serde_json::json;

use crate::context::{Context, Done};
use crate::offline::{compose, errors, language, matches, packets, print, streams, wire};
use crate::online::{
    bundle, compare, conntrack, dump, flows, groups, meters, monitor, packet_out, ports, probe, statistics, tables, tlv,
};

/// A sub-command.
struct Command {
    name: &'static str,
    /// Its arguments in words.
    arguments: &'static str,
    /// How few and how many arguments it takes.
    count: (usize, usize),
    /// Whether it changes a switch.
    changes: bool,
    help: &'static str,
    run: fn(&mut Context) -> Done,
}

const MANY: usize = usize::MAX;

macro_rules! commands {
    ($($name:literal $arguments:literal $min:literal..$max:tt $kind:ident $run:path, $help:literal;)+) => {
        &[$(Command {
            name: $name,
            arguments: $arguments,
            count: ($min, $max),
            changes: commands!(@$kind),
            help: $help,
            run: $run,
        },)+]
    };
    (@reads) => { false };
    (@changes) => { true };
}

const COMMANDS: &[Command] = commands! {
    "show" "SWITCH" 1..1 reads statistics::show, "what the switch is and has, and its ports";
    "dump-desc" "SWITCH" 1..1 reads statistics::description, "who made the switch";
    "dump-tables" "SWITCH" 1..1 reads statistics::tables, "statistics of tables";
    "dump-table-features" "SWITCH" 1..1 reads tables::features, "what tables can do";
    "dump-table-desc" "SWITCH" 1..1 reads tables::descriptions, "how tables are set up";
    "mod-table" "SWITCH TABLE SETTING" 3..3 changes tables::change, "drop, continue, controller, [no]evict, [no]vacancy:DOWN,UP, name:NAME";
    "get-frags" "SWITCH" 1..1 reads statistics::fragments, "how fragments are treated";
    "set-frags" "SWITCH MODE" 2..2 changes statistics::set_fragments, "treat fragments so: normal, drop, reassemble or nx-match";
    "dump-ports" "SWITCH [PORT]" 1..2 reads ports::statistics, "statistics of ports";
    "dump-ports-desc" "SWITCH [PORT]" 1..2 reads ports::descriptions, "what ports are";
    "mod-port" "SWITCH PORT ACTION" 3..3 changes ports::change, "up, down, [no-]stp, -receive, -flood, -forward, -packet-in";
    "queue-stats" "SWITCH [PORT [QUEUE]]" 1..3 reads ports::queue_statistics, "statistics of queues";
    "queue-get-config" "SWITCH [PORT [QUEUE]]" 1..3 reads ports::queues, "how queues are set up";
    "dump-flows" "SWITCH [FLOW]" 1..2 reads dump::flows, "the flows, or those within FLOW";
    "dump-aggregate" "SWITCH [FLOW]" 1..2 reads dump::aggregate, "what they come to";
    "add-flow" "SWITCH FLOW" 2..2 changes flows::add, "add a flow";
    "add-flows" "SWITCH FILE" 2..2 changes flows::add_file, "add the flows of a file";
    "mod-flows" "SWITCH FLOW" 2..2 changes flows::modify, "change what flows do";
    "del-flows" "SWITCH [FLOW]" 1..2 changes flows::delete, "delete all flows, or those within FLOW";
    "replace-flows" "SWITCH FILE" 2..2 changes compare::replace, "make the flows those of a file";
    "diff-flows" "SOURCE1 SOURCE2" 2..2 reads compare::differences, "compare the flows of two switches or files";
    "packet-out" "SWITCH \"in_port=PORT packet=HEX actions=...\"" 2..MANY changes packet_out::send, "send a packet";
    "add-group" "SWITCH GROUP" 1..2 changes groups::add, "add a group";
    "add-groups" "SWITCH FILE" 2..2 changes groups::add_file, "add the groups of a file";
    "mod-group" "SWITCH GROUP" 1..2 changes groups::modify, "change a group";
    "del-groups" "SWITCH [GROUP]" 1..2 changes groups::delete, "delete all groups, or one";
    "insert-buckets" "SWITCH GROUP" 1..2 changes groups::insert_buckets, "insert buckets into a group";
    "remove-buckets" "SWITCH GROUP" 1..2 changes groups::remove_buckets, "remove buckets from a group";
    "dump-groups" "SWITCH [GROUP]" 1..2 reads groups::descriptions, "the groups, or one";
    "dump-group-stats" "SWITCH [GROUP]" 1..2 reads groups::statistics, "statistics of groups";
    "dump-group-features" "SWITCH" 1..1 reads groups::features, "which groups there can be";
    "add-meter" "SWITCH METER" 2..2 changes meters::add, "add a meter";
    "mod-meter" "SWITCH METER" 2..2 changes meters::modify, "change a meter";
    "del-meter" "SWITCH METER" 1..2 changes meters::delete, "delete a meter";
    "del-meters" "SWITCH" 1..2 changes meters::delete, "delete all meters";
    "dump-meter" "SWITCH METER" 1..2 reads meters::configurations, "how a meter is set up";
    "dump-meters" "SWITCH" 1..2 reads meters::configurations, "how meters are set up";
    "meter-stats" "SWITCH [METER]" 1..2 reads meters::statistics, "statistics of meters";
    "meter-features" "SWITCH" 1..1 reads meters::features, "which meters there can be";
    "bundle" "SWITCH FILE" 2..2 changes bundle::file, "do all that a file says or nothing";
    "add-tlv-map" "SWITCH MAP" 2..2 reads tlv::add, "map tunnel options to fields";
    "del-tlv-map" "SWITCH [MAP]" 1..2 reads tlv::delete, "end these maps, or all";
    "dump-tlv-map" "SWITCH" 1..1 reads tlv::dump, "which tunnel options are mapped";
    "dump-ipfix-bridge" "SWITCH" 1..1 reads statistics::ipfix_bridge, "what the exporter of the bridge has done";
    "dump-ipfix-flow" "SWITCH" 1..1 reads statistics::ipfix_flow, "what the exporters of flows have done";
    "ct-flush-zone" "SWITCH ZONE" 2..2 changes conntrack::flush_zone, "forget the connections of a zone";
    "ct-flush" "SWITCH [zone=N] [mark=X[/M]] [labels=Y[/N]] [ORIGINAL [REPLY]]" 1..6 changes conntrack::flush, "forget connections";
    "monitor" "SWITCH [MISSLEN] [invalid_ttl] [watch:...]" 1..4 reads monitor::monitor, "print what the switch sends";
    "snoop" "SWITCH" 1..1 reads monitor::snoop, "print what the switch and its controllers say";
    "probe" "TARGET" 1..1 reads probe::probe, "whether there is a switch";
    "ping" "TARGET [N]" 1..2 reads probe::ping, "how long echoes of N bytes take";
    "benchmark" "TARGET N COUNT" 3..3 reads probe::benchmark, "how many echoes of N bytes there are in a second";
    "ofp-parse" "FILE" 1..1 reads streams::file, "print the messages of a file";
    "ofp-parse-pcap" "FILE [PORT...]" 1..MANY reads streams::capture, "print the messages of a capture file";
    "ofp-print" "HEX [VERBOSITY]" 1..2 reads print::message, "print a message; - reads it from standard input";
    "parse-flow" "FLOW" 1..1 reads language::flow, "print what a flow becomes on the wire";
    "parse-flows" "FILE" 1..1 reads language::flows, "the same of the flows of a file";
    "parse-group" "GROUP" 1..1 reads language::group, "print what a group becomes on the wire";
    "parse-key-value" "TEXT..." 1..MANY reads language::key_value, "print the items of lists";
    "parse-actions" "VERSION" 1..1 reads wire::actions, "read lists of actions in hexadecimal, one a line";
    "parse-instructions" "VERSION" 1..1 reads wire::instructions, "the same of instructions";
    "parse-nx-match" "" 0..0 reads matches::nxm, "read matches as NXM fields, one a line";
    "parse-nxm" "" 0..0 reads matches::nxm, "the same";
    "parse-oxm" "VERSION" 1..1 reads matches::oxm, "read matches as OXM fields, one a line";
    "parse-ofp10-match" "" 0..0 reads matches::openflow10, "read matches of OpenFlow 1.0 in hexadecimal";
    "parse-ofp11-match" "" 0..0 reads matches::openflow11, "the same of OpenFlow 1.1";
    "check-vlan" "TCI MASK" 2..2 reads matches::vlan, "print what becomes of a VLAN tag in every form";
    "parse-pcap" "FILE..." 1..MANY reads packets::capture, "print the packets of capture files as flows";
    "parse-packet" "" 0..0 reads packets::packet, "print a packet of standard input as a flow";
    "compose-packet" "FLOW [L7]" 1..2 reads compose::packet, "make a packet";
    "print-error" "ERROR" 1..1 reads errors::numbers, "print the numbers of an error";
    "encode-error-reply" "ERROR HEX" 2..2 reads errors::reply, "print the answer to a request that fails";
    "encode-hello" "BITMAP" 1..1 reads errors::hello, "print the hello of one who speaks some versions";
    "list-commands" "" 0..MANY reads list, "print the commands";
    "help" "" 0..MANY reads print_help, "print this help";
};

const EXAMPLES: &str = r#"
SWITCH is the name of a bridge, a socket, or a place such as tcp:127.0.0.1:6653.

A FLOW, GROUP or METER, and a FILE of them, may be JSON, as --format json prints it: what begins with { or [ is read so. A
switch's flows, groups or meters that were dumped so are added by add-flows, add-groups and add-meter.

Examples:
  ovs-ofctl add-flow br0 'table=0,priority=10,tcp,tp_dst=80,actions=output:2'
  ovs-ofctl -O OpenFlow13 --names dump-flows br0
  ovs-ofctl --bundle replace-flows br0 flows.txt
  ovs-ofctl monitor br0 65535 watch:table=1
  ovs-ofctl parse-flow 'tcp,tp_dst=80,actions=output:2'
  ovs-ofctl --format json parse-flows flows.txt
  ovs-ofctl add-flow br0 '{"match": {"in_port": 1}, "instructions": {"goto_table": 2}}'
  ovs-ofctl --format json dump-flows br0 | ovs-ofctl replace-flows br1 -
  echo '0414000800000001' | ovs-ofctl ofp-print -

The exit status is 0 if all went well, 1 if it did not, and of diff-flows 2 if there are differences; when the time of -t
is over, the program ends by the signal ALRM."#;

/// What stands below the options in the help.
pub(crate) fn help() -> String {
    let lines = COMMANDS.iter().map(|c| format!("  {:<44} {}", format!("{} {}", c.name, c.arguments), c.help));
    format!("Commands:\n{}\n{EXAMPLES}", lines.collect::<Vec<_>>().join("\n"))
}

fn print_help(_: &mut Context) -> Done {
    use clap::CommandFactory;
    // Whoever reads it may have seen enough.
    let _ = crate::options::Options::command().after_help(help()).print_help();
    Ok(())
}

fn list(context: &mut Context) -> Done {
    if context.options.is_json() {
        let all = COMMANDS.iter().map(|c| json!({"name": c.name, "arguments": c.arguments, "help": c.help}));
        return all.into_iter().try_for_each(|command| context.print_json(&command));
    }
    context.print("The available commands are:\n")?;
    let mut names: Vec<_> = COMMANDS.iter().map(|c| (c.name, c.arguments)).collect();
    names.sort_unstable();
    names.into_iter().try_for_each(|(name, arguments)| context.print(format_args!("  {name:<23} {arguments}\n")))
}

/// Runs the command that the command line names.
pub(crate) fn run(context: &mut Context) -> Done {
    let Some(name) = context.options.words.first().cloned() else {
        return Err("missing command name; use --help for help".into());
    };
    let Some(command) = COMMANDS.iter().find(|c| c.name == name) else {
        return Err(format!("unknown command '{name}'; use --help for help").into());
    };
    let (min, max) = command.count;
    match context.arguments.len() {
        n if n < min => Err(format!("'{name}' command requires at least {min} arguments").into()),
        n if n > max => Err(format!("'{name}' command takes at most {max} arguments").into()),
        _ if command.changes && context.options.read_only => {
            Err(format!("'{name}' command does not work in read only mode").into())
        }
        _ => (command.run)(context),
    }
}
