//! `ovs-ofctl`: flows and OpenFlow messages on the command line.
//!
//! What needs no switch: flows in words are read, checked and printed as they would be sent; messages in hexadecimal
//! and packets of capture files are printed. Sub-commands that talk to a switch are refused until they are built.

mod commands;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use ovs_ofproto::codec::Version;
use ovs_tools::logging::Verbose;

/// Flows and OpenFlow messages, read and printed.
#[derive(Parser, Debug)]
#[command(name = "ovs-ofctl", version, after_help = EXAMPLES)]
struct Options {
    /// OpenFlow versions to allow, with commas between them; of them, OpenFlow13 is spoken.
    #[arg(short = 'O', long, global = true, value_name = "VERSIONS", default_value = "OpenFlow13", value_parser = protocols)]
    protocols: Protocols,
    /// How results are written.
    #[arg(short = 'f', long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Log lines on standard error: their level (off, emer, err, warn, info or dbg), or PATTERN:console:FORM.
    #[arg(short = 'v', long = "verbose", global = true, value_name = "SPEC", value_parser = ovs_tools::logging::verbose, action = clap::ArgAction::Append)]
    verbose: Vec<Verbose>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  ovs-ofctl parse-flow 'tcp,tp_dst=80,actions=output:2'
  ovs-ofctl --format json parse-flows flows.txt
  echo '04 14 00 08 00 00 00 01' | ovs-ofctl ofp-print -
  ovs-ofctl parse-pcap capture.pcap";

/// The versions that an option names.
#[derive(Clone, Debug)]
struct Protocols(Vec<Version>);

fn protocols(text: &str) -> Result<Protocols, String> {
    let versions = text.split([',', ' ']).filter(|v| !v.is_empty());
    let known = versions.map(|v| Version::by_name(v).ok_or(format!("{v}: not an OpenFlow version such as OpenFlow13")));
    known.collect::<Result<_, _>>().map(Protocols)
}

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// As upstream's tool writes them.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Read a flow as add-flow takes it, and print the message that it becomes.
    ParseFlow {
        /// The flow, such as 'priority=10,ip,actions=output:2'.
        flow: String,
    },
    /// The same for each line of a file; empty lines and comments behind # are passed over.
    ParseFlows {
        /// The file, or - for standard input.
        file: String,
    },
    /// Print the packets of a capture file as matches.
    ParsePcap {
        /// The files, in the classic pcap format.
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Print an OpenFlow message.
    OfpPrint {
        /// Its bytes in hexadecimal; or a file that has them; or - for standard input.
        #[arg(default_value = "")]
        message: String,
        /// How much to say, from 0 to 5.
        #[arg(default_value_t = 2)]
        verbosity: u8,
    },
    /// Print the OpenFlow messages of a file, one after the other.
    OfpParse {
        /// The file, or - for standard input.
        file: String,
    },
    /// Print the hello of one who speaks some versions.
    EncodeHello {
        /// The versions, a bit each.
        bitmap: String,
    },
    /// Read lists of actions in hexadecimal from standard input, one a line, and print them.
    ParseActions {
        /// The version, such as OpenFlow13.
        version: String,
    },
    /// The same of instructions.
    ParseInstructions {
        /// The version, such as OpenFlow13.
        version: String,
    },
    /// Print the answer to a request that fails.
    EncodeErrorReply {
        /// The error, such as OFPBRC_BAD_TYPE.
        error: String,
        /// The request in hexadecimal.
        request: String,
    },
    /// Print the numbers of an error.
    PrintError {
        /// Its name, such as OFPBRC_BAD_TYPE.
        name: String,
    },
    /// What is not built yet.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Sub-commands of upstream's tool that are not built yet.
const NOT_BUILT: &[&str] = &[
    "add-flow",
    "add-flows",
    "add-group",
    "add-groups",
    "add-meter",
    "add-tlv-map",
    "benchmark",
    "bundle",
    "check-vlan",
    "compose-packet",
    "ct-flush",
    "ct-flush-zone",
    "del-flows",
    "del-groups",
    "del-meter",
    "del-meters",
    "del-tlv-map",
    "diff-flows",
    "dump-aggregate",
    "dump-desc",
    "dump-flows",
    "dump-group-features",
    "dump-group-stats",
    "dump-groups",
    "dump-ipfix-bridge",
    "dump-ipfix-flow",
    "dump-meter",
    "dump-meters",
    "dump-ports",
    "dump-ports-desc",
    "dump-table-desc",
    "dump-table-features",
    "dump-tables",
    "dump-tlv-map",
    "get-frags",
    "insert-buckets",
    "meter-features",
    "meter-stats",
    "mod-flows",
    "mod-group",
    "mod-meter",
    "mod-port",
    "mod-table",
    "monitor",
    "ofp-parse-pcap",
    "packet-out",
    "parse-group",
    "parse-key-value",
    "parse-nx-match",
    "parse-nxm",
    "parse-ofp10-match",
    "parse-ofp11-match",
    "parse-oxm",
    "parse-packet",
    "ping",
    "probe",
    "queue-get-config",
    "queue-stats",
    "remove-buckets",
    "replace-flows",
    "set-frags",
    "show",
    "snoop",
];

fn main() -> ExitCode {
    let options: Options = match ovs_tools::options("ovs-ofctl") {
        Ok(options) => options,
        Err(status) => return status,
    };
    ovs_tools::logging::start(&options.verbose);
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("ovs-ofctl: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let json = options.format == Format::Json;
    let out = &mut std::io::stdout().lock();
    let speaks = |command: &str| match options.protocols.0.contains(&Version::V1_3) {
        true => Ok(()),
        false => Err(format!("{command}: of the OpenFlow versions only OpenFlow13 is built yet")),
    };
    match &options.command {
        Command::ParseFlow { flow } => speaks("parse-flow").and_then(|()| commands::parse_flow(out, flow, json)),
        Command::ParseFlows { file } => speaks("parse-flows").and_then(|()| commands::parse_flows(out, file, json)),
        Command::ParsePcap { files } => files.iter().try_for_each(|f| commands::parse_pcap(out, f, json)),
        Command::OfpPrint { message, verbosity } => commands::print_message(out, message, *verbosity, json),
        Command::OfpParse { file } => commands::ofp_parse(out, file),
        Command::EncodeHello { bitmap } => commands::encode_hello(out, bitmap),
        Command::ParseActions { version } => commands::parse_actions(out, version, false),
        Command::ParseInstructions { version } => commands::parse_actions(out, version, true),
        Command::EncodeErrorReply { error, request } => commands::encode_error_reply(out, error, request),
        Command::PrintError { name } => commands::print_error(out, name),
        Command::Other(words) => {
            let name = words.first().map_or("", String::as_str);
            if NOT_BUILT.contains(&name) {
                return Err(format!("{name} is not built yet; see --help for what is"));
            }
            let known: Vec<String> = Options::command().get_subcommands().map(|c| c.get_name().to_string()).collect();
            Err(format!("unknown command '{name}'; the commands are {}", known.join(", ")))
        }
    }
}
