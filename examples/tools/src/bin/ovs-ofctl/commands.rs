//! The table of the sub-commands.

use clap::CommandFactory;
use serde_json::json;

use crate::context::{Context, Done};
use crate::offline::{compose, errors, language, matches, packets, print, streams, wire};
use crate::online::{
    bundle, compare, conntrack, dump, flows, groups, meters, monitor, packet_out, ports, probe, statistics, tables, tlv,
};
use crate::options::Options;

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
    /// Lines for a shell.
    examples: &'static [&'static str],
    run: fn(&mut Context) -> Done,
}

const MANY: usize = usize::MAX;

macro_rules! commands {
    ($($name:literal $arguments:literal $min:literal..$max:tt $kind:ident $run:path, $help:literal $(: $($example:literal),+)?;)+) => {
        &[$(Command {
            name: $name,
            arguments: $arguments,
            count: ($min, $max),
            changes: commands!(@$kind),
            help: $help,
            examples: &[$($($example),+)?],
            run: $run,
        },)+]
    };
    (@reads) => { false };
    (@changes) => { true };
}

const COMMANDS: &[Command] = commands! {
    "show" "SWITCH" 1..1 reads statistics::show, "what the switch is and has, and its ports":
        "ovs-ofctl show br0";
    "dump-desc" "SWITCH" 1..1 reads statistics::description, "who made the switch";
    "dump-tables" "SWITCH" 1..1 reads statistics::tables, "statistics of tables";
    "dump-table-features" "SWITCH" 1..1 reads tables::features, "what tables can do";
    "dump-table-desc" "SWITCH" 1..1 reads tables::descriptions, "how tables are set up";
    "mod-table" "SWITCH TABLE SETTING" 3..3 changes tables::change, "drop, continue, controller, [no]evict, [no]vacancy:DOWN,UP, name:NAME":
        "ovs-ofctl -O OpenFlow14 mod-table br0 1 evict",
        "ovs-ofctl -O OpenFlow15 mod-table br0 1 name:acl";
    "get-frags" "SWITCH" 1..1 reads statistics::fragments, "how fragments are treated";
    "set-frags" "SWITCH MODE" 2..2 changes statistics::set_fragments, "treat fragments so: normal, drop, reassemble or nx-match":
        "ovs-ofctl set-frags br0 nx-match";
    "dump-ports" "SWITCH [PORT]" 1..2 reads ports::statistics, "statistics of ports":
        "ovs-ofctl dump-ports br0",
        "ovs-ofctl --format json dump-ports br0 eth1";
    "dump-ports-desc" "SWITCH [PORT]" 1..2 reads ports::descriptions, "what ports are":
        "ovs-ofctl -O OpenFlow15 dump-ports-desc br0 eth1";
    "mod-port" "SWITCH PORT ACTION" 3..3 changes ports::change, "up, down, [no-]stp, -receive, -flood, -forward, -packet-in":
        "ovs-ofctl mod-port br0 eth1 down",
        "ovs-ofctl mod-port br0 2 no-flood";
    "queue-stats" "SWITCH [PORT [QUEUE]]" 1..3 reads ports::queue_statistics, "statistics of queues":
        "ovs-ofctl queue-stats br0 eth1";
    "queue-get-config" "SWITCH [PORT [QUEUE]]" 1..3 reads ports::queues, "how queues are set up";
    "dump-flows" "SWITCH [FLOW]" 1..2 reads dump::flows, "the flows, or those within FLOW":
        "ovs-ofctl dump-flows br0",
        "ovs-ofctl --names --no-stats --sort dump-flows br0 table=1",
        "ovs-ofctl -O OpenFlow13 dump-flows br0 'cookie=0x5/-1,tcp,out_port=2'";
    "dump-aggregate" "SWITCH [FLOW]" 1..2 reads dump::aggregate, "what they come to":
        "ovs-ofctl dump-aggregate br0 'table=0,ip,nw_src=10.0.0.0/8'";
    "add-flow" "SWITCH FLOW" 2..2 changes flows::add, "add a flow":
        "ovs-ofctl add-flow br0 'table=0,priority=10,tcp,tp_dst=80,actions=output:2'",
        "ovs-ofctl add-flow br0 'ip,ct_state=-trk,actions=ct(table=1)'",
        "ovs-ofctl -O OpenFlow13 add-flow br0 'ip,in_port=1,actions=set_field:10.0.0.9->ip_dst,goto_table:2'";
    "add-flows" "SWITCH FILE" 2..2 changes flows::add_file, "add the flows of a file":
        "ovs-ofctl add-flows br0 flows.txt",
        "ovs-ofctl -O OpenFlow14 --bundle add-flows br0 flows.txt",
        "echo 'delete table=2' | ovs-ofctl add-flows br0 -";
    "mod-flows" "SWITCH FLOW" 2..2 changes flows::modify, "change what flows do":
        "ovs-ofctl mod-flows br0 'tcp,tp_dst=80,actions=output:3'",
        "ovs-ofctl --strict mod-flows br0 'priority=10,tcp,tp_dst=80,actions=drop'";
    "del-flows" "SWITCH [FLOW]" 1..2 changes flows::delete, "delete all flows, or those within FLOW":
        "ovs-ofctl del-flows br0 'table=1,out_port=2'",
        "ovs-ofctl --strict del-flows br0 'priority=10,tcp,tp_dst=80'",
        "ovs-ofctl del-flows br0 cookie=0x5/-1";
    "replace-flows" "SWITCH FILE" 2..2 changes compare::replace, "make the flows those of a file":
        "ovs-ofctl -O OpenFlow14 --bundle replace-flows br0 flows.txt";
    "diff-flows" "SOURCE1 SOURCE2" 2..2 reads compare::differences, "compare the flows of two switches or files":
        "ovs-ofctl diff-flows br0 flows.txt";
    "packet-out" "SWITCH \"in_port=PORT packet=HEX actions=...\"" 2..MANY changes packet_out::send, "send a packet":
        "ovs-ofctl packet-out br0 'in_port=controller packet=0200000000020200000000010800 actions=output:2'",
        "ovs-ofctl packet-out br0 'in_port=1 packet=0200000000020200000000010800 actions=table'";
    "add-group" "SWITCH GROUP" 1..2 changes groups::add, "add a group":
        "ovs-ofctl -O OpenFlow13 add-group br0 'group_id=1,type=select,bucket=weight:2,actions=output:1,bucket=weight:1,actions=output:2'",
        "ovs-ofctl -O OpenFlow13 add-group br0 'group_id=2,type=ff,bucket=watch_port:1,actions=output:1,bucket=watch_port:2,actions=output:2'";
    "add-groups" "SWITCH FILE" 2..2 changes groups::add_file, "add the groups of a file";
    "mod-group" "SWITCH GROUP" 1..2 changes groups::modify, "change a group":
        "ovs-ofctl -O OpenFlow13 --may-create mod-group br0 'group_id=1,type=all,bucket=actions=output:1'";
    "del-groups" "SWITCH [GROUP]" 1..2 changes groups::delete, "delete all groups, or one":
        "ovs-ofctl -O OpenFlow13 del-groups br0 group_id=1";
    "insert-buckets" "SWITCH GROUP" 1..2 changes groups::insert_buckets, "insert buckets into a group":
        "ovs-ofctl -O OpenFlow15 insert-buckets br0 'group_id=1,command_bucket_id=last,bucket=bucket_id:7,actions=output:3'";
    "remove-buckets" "SWITCH GROUP" 1..2 changes groups::remove_buckets, "remove buckets from a group":
        "ovs-ofctl -O OpenFlow15 remove-buckets br0 group_id=1,command_bucket_id=7";
    "dump-groups" "SWITCH [GROUP]" 1..2 reads groups::descriptions, "the groups, or one":
        "ovs-ofctl -O OpenFlow13 dump-groups br0";
    "dump-group-stats" "SWITCH [GROUP]" 1..2 reads groups::statistics, "statistics of groups";
    "dump-group-features" "SWITCH" 1..1 reads groups::features, "which groups there can be";
    "add-meter" "SWITCH METER" 2..2 changes meters::add, "add a meter":
        "ovs-ofctl -O OpenFlow13 add-meter br0 'meter=1,kbps,burst,band=type=drop,rate=1000,burst_size=100'";
    "mod-meter" "SWITCH METER" 2..2 changes meters::modify, "change a meter":
        "ovs-ofctl -O OpenFlow13 mod-meter br0 'meter=1,pktps,band=type=drop,rate=500'";
    "del-meter" "SWITCH METER" 1..2 changes meters::delete, "delete a meter":
        "ovs-ofctl -O OpenFlow13 del-meter br0 meter=1";
    "del-meters" "SWITCH" 1..2 changes meters::delete, "delete all meters";
    "dump-meter" "SWITCH METER" 1..2 reads meters::configurations, "how a meter is set up":
        "ovs-ofctl -O OpenFlow13 dump-meter br0 meter=1";
    "dump-meters" "SWITCH" 1..2 reads meters::configurations, "how meters are set up";
    "meter-stats" "SWITCH [METER]" 1..2 reads meters::statistics, "statistics of meters":
        "ovs-ofctl -O OpenFlow13 meter-stats br0 meter=1";
    "meter-features" "SWITCH" 1..1 reads meters::features, "which meters there can be";
    "bundle" "SWITCH FILE" 2..2 changes bundle::file, "do all that a file says or nothing":
        "ovs-ofctl -O OpenFlow14 bundle br0 changes.txt",
        "printf 'flow add in_port=1,actions=group:1\\ngroup delete group_id=2\\n' | ovs-ofctl -O OpenFlow14 bundle br0 -";
    "add-tlv-map" "SWITCH MAP" 2..2 reads tlv::add, "map tunnel options to fields":
        "ovs-ofctl add-tlv-map br0 '{class=0x102,type=0x80,len=4}->tun_metadata0'";
    "del-tlv-map" "SWITCH [MAP]" 1..2 reads tlv::delete, "end these maps, or all":
        "ovs-ofctl del-tlv-map br0 '{class=0x102,type=0x80,len=4}->tun_metadata0'";
    "dump-tlv-map" "SWITCH" 1..1 reads tlv::dump, "which tunnel options are mapped";
    "dump-ipfix-bridge" "SWITCH" 1..1 reads statistics::ipfix_bridge, "what the exporter of the bridge has done";
    "dump-ipfix-flow" "SWITCH" 1..1 reads statistics::ipfix_flow, "what the exporters of flows have done";
    "ct-flush-zone" "SWITCH ZONE" 2..2 changes conntrack::flush_zone, "forget the connections of a zone":
        "ovs-ofctl ct-flush-zone br0 5";
    "ct-flush" "SWITCH [zone=N] [mark=X[/M]] [labels=Y[/N]] [ORIGINAL [REPLY]]" 1..6 changes conntrack::flush, "forget connections":
        "ovs-ofctl ct-flush br0 zone=5",
        "ovs-ofctl ct-flush br0 zone=5 'ct_nw_src=10.0.0.1,ct_nw_proto=6,ct_tp_dst=80'";
    "monitor" "SWITCH [MISSLEN] [invalid_ttl] [watch:...]" 1..4 reads monitor::monitor, "print what the switch sends":
        "ovs-ofctl monitor br0 65535",
        "ovs-ofctl monitor br0 watch:table=1",
        "ovs-ofctl -P nxt_packet_in --timestamp monitor br0 65535 --detach --pidfile";
    "snoop" "SWITCH" 1..1 reads monitor::snoop, "print what the switch and its controllers say":
        "ovs-ofctl --timestamp snoop br0";
    "probe" "TARGET" 1..1 reads probe::probe, "whether there is a switch":
        "ovs-ofctl -t 5 probe tcp:127.0.0.1:6653";
    "ping" "TARGET [N]" 1..2 reads probe::ping, "how long echoes of N bytes take":
        "ovs-ofctl ping br0 100";
    "benchmark" "TARGET N COUNT" 3..3 reads probe::benchmark, "how many echoes of N bytes there are in a second":
        "ovs-ofctl benchmark br0 100 10000";
    "ofp-parse" "FILE" 1..1 reads streams::file, "print the messages of a file":
        "ovs-ofctl ofp-parse messages.bin",
        "ovs-ofctl --format json ofp-parse messages.bin";
    "ofp-parse-pcap" "FILE [PORT...]" 1..MANY reads streams::capture, "print the messages of a capture file":
        "ovs-ofctl ofp-parse-pcap capture.pcap 6653";
    "ofp-print" "HEX [VERBOSITY]" 1..2 reads print::message, "print a message; - reads it from standard input":
        "ovs-ofctl ofp-print 0414000800000001",
        "echo 0414000800000001 | ovs-ofctl ofp-print - 2";
    "parse-flow" "FLOW" 1..1 reads language::flow, "print what a flow becomes on the wire":
        "ovs-ofctl parse-flow 'tcp,tp_dst=80,actions=output:2'",
        "ovs-ofctl -F OXM-OpenFlow13 --format json parse-flow 'tcp,tp_dst=80,actions=output:2'";
    "parse-flows" "FILE" 1..1 reads language::flows, "the same of the flows of a file":
        "ovs-ofctl --format json parse-flows flows.txt";
    "parse-group" "GROUP" 1..1 reads language::group, "print what a group becomes on the wire":
        "ovs-ofctl -O OpenFlow13 parse-group 'group_id=1,type=all,bucket=actions=output:1'";
    "parse-key-value" "TEXT..." 1..MANY reads language::key_value, "print the items of lists";
    "parse-actions" "VERSION" 1..1 reads wire::actions, "read lists of actions in hexadecimal, one a line":
        "echo 0000000800020000 | ovs-ofctl parse-actions OpenFlow10";
    "parse-instructions" "VERSION" 1..1 reads wire::instructions, "the same of instructions";
    "parse-nx-match" "" 0..0 reads matches::nxm, "read matches as NXM fields, one a line";
    "parse-nxm" "" 0..0 reads matches::nxm, "the same";
    "parse-oxm" "VERSION" 1..1 reads matches::oxm, "read matches as OXM fields, one a line":
        "echo 'OXM_OF_ETH_TYPE(0800)' | ovs-ofctl parse-oxm OpenFlow13";
    "parse-ofp10-match" "" 0..0 reads matches::openflow10, "read matches of OpenFlow 1.0 in hexadecimal";
    "parse-ofp11-match" "" 0..0 reads matches::openflow11, "the same of OpenFlow 1.1";
    "check-vlan" "TCI MASK" 2..2 reads matches::vlan, "print what becomes of a VLAN tag in every form";
    "parse-pcap" "FILE..." 1..MANY reads packets::capture, "print the packets of capture files as flows":
        "ovs-ofctl parse-pcap capture.pcap";
    "parse-packet" "" 0..0 reads packets::packet, "print a packet of standard input as a flow";
    "compose-packet" "FLOW [L7]" 1..2 reads compose::packet, "make a packet":
        "ovs-ofctl --bare compose-packet 'eth_dst=02:00:00:00:00:02,ip,nw_src=10.0.0.1,udp,udp_dst=53'";
    "print-error" "ERROR" 1..1 reads errors::numbers, "print the numbers of an error":
        "ovs-ofctl print-error OFPBMC_BAD_VALUE";
    "encode-error-reply" "ERROR HEX" 2..2 reads errors::reply, "print the answer to a request that fails";
    "encode-hello" "BITMAP" 1..1 reads errors::hello, "print the hello of one who speaks some versions":
        "ovs-ofctl encode-hello 0x12";
    "list-commands" "" 0..MANY reads list, "print the commands";
    "help" "[COMMAND]" 0..MANY reads print_help, "print this help, or that of a command";
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

ovs-ofctl help COMMAND, or COMMAND --help, has more for each command.

The exit status is 0 if all went well, 1 if it did not, and of diff-flows 2 if there are differences; when the time of -t
is over, the program ends by the signal ALRM."#;

/// The help for a command; for the program as a whole, if there is no such command.
pub(crate) fn help(name: Option<&str>) -> String {
    if let Some(command) = COMMANDS.iter().find(|c| Some(c.name) == name) {
        return command.help();
    }
    let lines = COMMANDS.iter().map(|c| format!("  {:<44} {}", format!("{} {}", c.name, c.arguments), c.help));
    let commands = format!("Commands:\n{}\n{EXAMPLES}", lines.collect::<Vec<_>>().join("\n"));
    Options::command().after_help(commands).render_help().to_string()
}

impl Command {
    fn help(&self) -> String {
        let mut text = format!("{}\n\nUsage: ovs-ofctl [OPTIONS] {} {}", self.help, self.name, self.arguments);
        text.truncate(text.trim_end().len());
        if self.changes {
            text += "\n\nIt changes a switch: --read-only refuses it.";
        }
        if !self.examples.is_empty() {
            text += "\n\nExamples:";
        }
        self.examples.iter().for_each(|example| text += &format!("\n  {example}"));
        text + "\n\nThe options are those of ovs-ofctl --help.\n"
    }
}

fn print_help(context: &mut Context) -> Done {
    let name = context.arguments.first().cloned();
    match name.as_deref() {
        Some(name) if !COMMANDS.iter().any(|c| c.name == name) => {
            Err(format!("unknown command '{name}'; use --help for help").into())
        }
        name => context.print(help(name)),
    }
}

fn list(context: &mut Context) -> Done {
    if context.options.is_json() {
        let all = COMMANDS
            .iter()
            .map(|c| json!({"name": c.name, "arguments": c.arguments, "help": c.help, "examples": c.examples}));
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

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use clap::Parser;
    use ovs_ofproto::FlowMod;

    use super::*;

    /// What a shell makes of an example: the arguments of the program.
    fn arguments(example: &str) -> Vec<String> {
        let line = example.replace("ovs-ofctl ", "printf '%s\\0' ovs-ofctl ");
        let out = Process::new("sh").args(["-c", &line]).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{example}");
        let text = String::from_utf8(out.stdout).unwrap();
        text.split_terminator('\0').map(str::to_string).collect()
    }

    #[test]
    fn examples_are_of_their_command_and_can_be_read() {
        for command in COMMANDS {
            for example in command.examples {
                let options = Options::try_parse_from(arguments(example)).unwrap();
                assert_eq!(options.words[0], command.name, "{example}");
                let count = options.words.len() - 1;
                assert!((command.count.0..=command.count.1).contains(&count), "{example}");
                if matches!(command.name, "add-flow" | "mod-flows" | "parse-flow") {
                    options.words.last().unwrap().parse::<FlowMod>().unwrap_or_else(|e| panic!("{example}: {e}"));
                }
                assert!(command.help().contains(example));
            }
        }
    }

    #[test]
    fn what_people_use_most_has_examples() {
        for name in [
            "add-flow",
            "add-flows",
            "dump-flows",
            "mod-flows",
            "del-flows",
            "replace-flows",
            "monitor",
            "snoop",
            "packet-out",
            "bundle",
            "add-group",
            "add-meter",
            "ct-flush",
            "ofp-parse",
            "ofp-print",
            "parse-flow",
        ] {
            assert!(COMMANDS.iter().any(|c| c.name == name && !c.examples.is_empty()), "{name}");
        }
    }
}
