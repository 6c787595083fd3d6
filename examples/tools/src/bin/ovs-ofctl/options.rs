//! The command line.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, Parser, ValueEnum};
use ovs_ofproto::codec::{Version, Versions};
use ovs_ofproto::session::parse_versions;
use ovs_ofproto::text::Protocols;
use ovs_packet::field::FieldId;
use ovs_tools::logging::Verbose;

use crate::commands;
use crate::context::Failure;

/// Flows and OpenFlow messages: read, printed, and sent to switches.
#[derive(Parser, Debug)]
#[command(
    name = "ovs-ofctl",
    version,
    infer_long_args = true,
    args_override_self = true,
    disable_version_flag = true,
    disable_help_flag = true
)]
pub(crate) struct Options {
    /// OpenFlow versions to allow, with commas between them; any allows all that there are.
    #[arg(short = 'O', long, value_name = "VERSIONS", default_value = "OpenFlow10", value_parser = versions)]
    pub(crate) protocols: Versions,
    /// Forms of flows to allow: OpenFlow10, NXM, OXM, and those that parse-flow names.
    #[arg(short = 'F', long, value_name = "FORMATS", default_value = "any", value_parser = forms)]
    pub(crate) flow_format: Protocols,
    /// The form in which monitor wants packets: standard, nxt_packet_in or nxt_packet_in2.
    #[arg(short = 'P', long, value_name = "FORMAT", value_parser = packet_in)]
    pub(crate) packet_in_format: Option<u32>,
    /// How results are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Say more of messages; more often, still more.
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) more: u8,
    /// How long to run at most, in seconds.
    #[arg(short, long, value_name = "SECS", value_parser = seconds)]
    pub(crate) timeout: Option<u32>,
    /// For mod-flows and del-flows, only the flows with exactly this match; for parse-nx-match, no unknown field.
    #[arg(long)]
    pub(crate) strict: bool,
    /// For replace-flows, replace flows that do not change too.
    #[arg(long)]
    pub(crate) readd: bool,
    /// Change flows and groups all at once or not at all; needs OpenFlow 1.3 or later.
    #[arg(long)]
    pub(crate) bundle: bool,
    /// Write the time before each message.
    #[arg(long)]
    pub(crate) timestamp: bool,
    /// For dump-flows: by a field, in ascending order, or with - in front in descending order; without one, by priority.
    #[arg(long, value_name = "FIELD", num_args = 0..=1, require_equals = true, default_missing_value = "priority", value_parser = criterion, action = ArgAction::Append)]
    pub(crate) sort: Vec<Criterion>,
    /// The same in descending order.
    #[arg(long, value_name = "FIELD", num_args = 0..=1, require_equals = true)]
    rsort: Option<String>,
    /// Names of ports and tables, also where the output is no terminal.
    #[arg(long, overrides_with = "no_names")]
    names: bool,
    /// Numbers of ports and tables only, also on a terminal.
    #[arg(long, overrides_with = "names")]
    no_names: bool,
    /// For dump-flows, with statistics, as is the default.
    #[arg(long, overrides_with = "no_stats")]
    stats: bool,
    /// For dump-flows, without statistics.
    #[arg(long, overrides_with = "stats")]
    no_stats: bool,
    /// When to write flows in colors: always, never, or auto, on a terminal alone; OVS_COLORS says which.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "auto", value_parser = color)]
    color: Option<Color>,
    /// For mod-group, add the group if there is none.
    #[arg(long)]
    pub(crate) may_create: bool,
    /// For compose-packet, write a capture file.
    #[arg(long)]
    pub(crate) pcap: bool,
    /// For compose-packet, write the digits alone.
    #[arg(long)]
    pub(crate) bare: bool,
    /// For compose-packet, make all checksums wrong.
    #[arg(long)]
    pub(crate) bad_csum: bool,
    /// For ofp-print, read bytes instead of digits.
    #[arg(long)]
    pub(crate) raw: bool,
    /// Refuse commands that change a switch.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// For monitor and snoop, the name of the control socket.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) unixctl: Option<String>,
    /// For monitor and snoop, write a file with the process id.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "ovs-ofctl.pid")]
    pub(crate) pidfile: Option<PathBuf>,
    /// For monitor and snoop, take the place of a process whose file is still there.
    #[arg(long)]
    pub(crate) overwrite_pidfile: bool,
    /// For monitor and snoop, go on in the background.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Stay in this folder when in the background.
    #[arg(long)]
    pub(crate) no_chdir: bool,
    /// The private key for ssl.
    #[arg(short = 'p', long, value_name = "FILE")]
    pub(crate) private_key: Option<PathBuf>,
    /// The certificate for ssl.
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// The authority that must have signed the switch's certificate; none to accept any.
    #[arg(short = 'C', long, value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Log lines on standard error: their level (off, emer, err, warn, info or dbg), or PATTERN:console:FORM.
    #[arg(short, long, value_name = "SPEC", value_parser = ovs_tools::logging::verbose, action = ArgAction::Append)]
    pub(crate) verbose: Vec<Verbose>,
    /// Print the options, one a line.
    #[arg(short, long)]
    option: bool,
    /// Print this help, or that of a command.
    #[arg(short, long)]
    help: bool,
    /// Print version.
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: (),
    /// The command and its arguments.
    #[arg(value_name = "COMMAND")]
    pub(crate) words: Vec<String>,
}

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// As upstream's tool writes them.
    Text,
    /// One JSON object a line.
    Json,
}

/// When flows are in colors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Color {
    Always,
    Never,
    Auto,
}

/// By what flows are sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Criterion {
    /// A field; the priority for none.
    pub(crate) field: Option<FieldId>,
    pub(crate) descending: bool,
}

fn versions(text: &str) -> Result<Versions, String> {
    if text.eq_ignore_ascii_case("any") {
        return Ok(Versions::up_to(Version::V1_5));
    }
    parse_versions(text).map_err(|e| e.to_string())
}

fn forms(text: &str) -> Result<Protocols, String> {
    match text.parse::<Protocols>() {
        Ok(forms) if forms.is_empty() => Err(format!("{text}: no flow protocol specified")),
        Ok(forms) => Ok(forms),
        Err(e) => Err(e.to_string()),
    }
}

fn packet_in(text: &str) -> Result<u32, String> {
    match text {
        "standard" | "openflow10" => Ok(0),
        "nxt_packet_in" | "nxm" => Ok(1),
        "nxt_packet_in2" => Ok(2),
        _ => Err(format!("unknown packet-in format `{text}'")),
    }
}

fn seconds(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|s| *s > 0).ok_or(format!("value {text} on -t or --timeout is invalid"))
}

fn criterion(text: &str) -> Result<Criterion, String> {
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    if name.eq_ignore_ascii_case("priority") {
        return Ok(Criterion { field: None, descending });
    }
    let field = FieldId::by_name(name).ok_or(format!("{name}: unknown field name"))?;
    Ok(Criterion { field: Some(field), descending })
}

fn color(text: &str) -> Result<Color, String> {
    match text {
        "always" | "yes" | "force" => Ok(Color::Always),
        "never" | "no" | "none" => Ok(Color::Never),
        "auto" | "tty" | "if-tty" => Ok(Color::Auto),
        _ => Err(format!("incorrect value `{text}' for --color")),
    }
}

/// The command line in words that the parser takes: one list of criteria has both orders, and -v may stand alone.
fn normalise(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut plain = false;
    words
        .map(|word| {
            let text = word.to_str().filter(|_| !plain).map(str::to_string);
            plain |= text.as_deref() == Some("--");
            match text.as_deref() {
                Some("-v" | "--verbose") => "--verbose=dbg".into(),
                Some("--rsort") => "--sort=-priority".into(),
                Some(text) => match text.strip_prefix("--rsort=") {
                    Some(field) => format!("--sort=-{field}").into(),
                    None => word,
                },
                None => word,
            }
        })
        .collect()
}

/// Reads the command line.
pub(crate) fn read() -> Result<Options, Failure> {
    let options = Options::try_parse_from(normalise(std::env::args_os())).map_err(|e| {
        if e.use_stderr() {
            let text = e.to_string();
            let first = text.lines().next().unwrap_or_default();
            return Failure::Says(said_by(first));
        }
        // Whoever reads it may have seen enough.
        let _ = e.print();
        Failure::Status(ExitCode::SUCCESS)
    })?;
    if options.help {
        // Whoever reads it may have seen enough.
        let _ = write!(std::io::stdout(), "{}", commands::help(options.words.first().map(String::as_str)));
        return Err(Failure::Status(ExitCode::SUCCESS));
    }
    if options.option {
        for argument in Options::command().get_arguments().filter(|a| !a.is_hide_set()) {
            let takes = if argument.get_action().takes_values() { "=" } else { "" };
            argument.get_long().into_iter().for_each(|long| println!("--{long}{takes}"));
            argument.get_short().into_iter().for_each(|short| println!("-{short}"));
        }
        return Err(Failure::Status(ExitCode::SUCCESS));
    }
    Ok(options)
}

/// What the parser of options says, in fewer words where a value is wrong.
fn said_by(first: &str) -> String {
    let text = first.strip_prefix("error: ").unwrap_or(first);
    match text.starts_with("invalid value") {
        true => text.split_once("': ").map_or(text, |(_, says)| says).to_string(),
        false => format!("{text}; use --help for help"),
    }
}

impl Options {
    /// By what flows are sorted, the priority last; nothing if they are not.
    pub(crate) fn criteria(&self) -> Vec<Criterion> {
        let mut criteria = self.sort.clone();
        if !criteria.is_empty() {
            criteria.push(Criterion { field: None, descending: true });
        }
        criteria
    }

    /// Whether flows are printed with what they have seen.
    pub(crate) fn shows_statistics(&self) -> bool {
        !self.no_stats
    }

    /// Whether ports may be named.
    pub(crate) fn takes_names(&self) -> bool {
        !self.no_names
    }

    /// Whether ports are printed by name.
    pub(crate) fn shows_names(&self) -> bool {
        self.names || (!self.no_names && std::io::IsTerminal::is_terminal(&std::io::stdout()))
    }

    /// Whether flows are in colors.
    pub(crate) fn is_colored(&self) -> bool {
        match self.color {
            Some(Color::Always) => true,
            Some(Color::Auto) => std::io::IsTerminal::is_terminal(&std::io::stdout()),
            Some(Color::Never) | None => false,
        }
    }

    /// Whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }
}
