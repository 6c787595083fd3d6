//! `ovs-appctl`: commands to a running daemon.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use ovs_db::json::Json;
use ovs_db::net;
use ovs_db::unixctl::{Client, ClientError, Format, Target, TargetError, run_directory};
use ovs_tools::logging::Verbose;
use rustix::process::{Signal, getpid, kill_process};

/// Query and control a running Open vSwitch daemon.
#[derive(Parser, Debug)]
#[command(name = "ovs-appctl", version, disable_version_flag = true, after_help = EXAMPLES)]
struct Options {
    /// The daemon: a name, whose pid file is in the run directory; or its control socket, with the whole path.
    #[arg(short, long, value_name = "TARGET", default_value = "ovs-vswitchd")]
    target: String,
    /// How long to wait in all, in seconds; if not given, what OVS_CTL_TIMEOUT says, or else 120.
    #[arg(short = 'T', long, value_name = "SECS", value_parser = seconds)]
    timeout: Option<u32>,
    /// How the answer is written: text or json.
    #[arg(short, long, value_name = "FMT", default_value = "text", value_parser = format)]
    format: Format,
    /// Write JSON with a line for each member and element; needs --format json.
    #[arg(long)]
    pretty: bool,
    /// For old scripts: what follows is the command, as without it.
    #[arg(short, long)]
    execute: bool,
    /// Log lines on standard error, `[MODULE:][console:]LEVEL`: off, emer, err, warn, info or dbg.
    #[arg(short, long, value_name = "SPEC", value_parser = ovs_tools::logging::verbose, action = clap::ArgAction::Append)]
    verbose: Vec<Verbose>,
    /// Print the options, one a line.
    #[arg(short, long)]
    option: bool,
    /// Print version.
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: (),
    /// The command and its arguments.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

const EXAMPLES: &str = "Commands of every daemon:
  list-commands      the commands that it has
  version            its version

The run directory is /var/run/openvswitch, or what OVS_RUNDIR says.

Examples:
  ovs-appctl list-commands
  ovs-appctl -t ovsdb-server ovsdb-server/list-dbs
  ovs-appctl -t /run/openvswitch/ovs-vswitchd.123.ctl fdb/show br0
  ovs-appctl --format json --pretty fdb/show br0
  ovs-appctl -T 5 dpif/show

The exit status is 0 if the daemon did as it was told, 1 if it was not reached, 2 if it refused; when the time is over,
the program ends by the signal ALRM.";

/// How long to wait where nobody says.
const PATIENCE: u32 = 120;

/// The exit status when the daemon refuses.
const REFUSED: u8 = 2;

/// The command line with `-v` written out before the command, where it may stand alone.
fn spelled_out(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut is_command = false;
    let spell = |(at, word): (usize, OsString)| {
        let text = word.to_str().unwrap_or_default().to_string();
        is_command |= at > 0 && !text.starts_with('-');
        match text.strip_prefix("-v") {
            Some("") if !is_command => "--verbose=dbg".into(),
            Some(spec) if !is_command => format!("--verbose={spec}").into(),
            _ if text == "--verbose" && !is_command => "--verbose=dbg".into(),
            _ => word,
        }
    };
    words.enumerate().map(spell).collect()
}

fn seconds(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|seconds| *seconds > 0).ok_or("a number of seconds above 0 is needed".to_string())
}

fn format(text: &str) -> Result<Format, String> {
    Format::from_word(text).ok_or("text or json is needed".to_string())
}

/// What ended the program early.
enum Failure {
    /// The daemon was not reached, or not understood.
    Local(String),
    /// The daemon refused, for this reason.
    Refused(Json),
    /// The time is over.
    TimedOut(String),
}

fn main() -> ExitCode {
    let options: Options = match ovs_tools::options_of("ovs-appctl", spelled_out(std::env::args_os())) {
        Ok(options) => options,
        Err(status) => return status,
    };
    let error = |text: &str| eprintln!("ovs-appctl: {text}");
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Local(text)) => {
            error(&text);
            ExitCode::FAILURE
        }
        Err(Failure::Refused(reason)) => {
            eprint!("{}", line(reason.as_str().map_or_else(|| reason.to_text(), str::to_owned)));
            error(&format!("{}: server returned an error", options.target));
            ExitCode::from(REFUSED)
        }
        Err(Failure::TimedOut(text)) => {
            error(&text);
            // Scripts tell a time-out by the signal that upstream's program ends by.
            let _ = kill_process(getpid(), Signal::ALARM);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    ovs_tools::logging::start(&options.verbose);
    if options.option {
        return print(&ovs_tools::option_list::<Options>());
    }
    let local = |text: &str| Err(Failure::Local(text.to_string()));
    let Some((command, arguments)) = options.command.split_first() else {
        return local("at least one non-option argument is required (use --help for help)");
    };
    if options.pretty && options.format != Format::Json {
        return local("--pretty is supported with --format json only");
    }
    let limit = match options.timeout {
        Some(seconds) => seconds,
        None => time_limit(std::env::var_os("OVS_CTL_TIMEOUT").as_deref())?,
    };
    let socket = Target::from(options.target.as_str()).socket(&run_directory(std::env::var_os("OVS_RUNDIR")));
    let socket = socket.map_err(|e| match e {
        TargetError::Unreadable { file, error } => {
            Failure::Local(format!("cannot read pidfile \"{}\" ({})", file.display(), reason(&error)))
        }
        e => Failure::Local(e.to_string()),
    })?;
    let (start, limit) = (Instant::now(), Duration::from_secs(limit.into()));
    let mut client =
        Client::connect(&socket, limit, move || start.elapsed()).map_err(|e| failure(options, &socket, e))?;
    let mut call = |command: &str, arguments: &[&str]| {
        let answer = client.call(command, arguments).map_err(|e| failure(options, &socket, e))?;
        answer.map_err(Failure::Refused)
    };
    if options.format != Format::Text {
        call("set-options", &["--format", options.format.as_str()])?;
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let answer = call(command, &arguments)?;
    match (options.format, &answer) {
        (Format::Text, Json::String(text)) => print(text),
        (Format::Text, _) => Err(Failure::Refused(Json::String(format!(
            "the answer is to be text, but is of JSON type {}",
            answer.kind()
        )))),
        (Format::Json, _) if options.pretty => print(&answer.to_pretty_text()),
        (Format::Json, _) => print(&answer.to_text()),
    }
}

fn time_limit(variable: Option<&OsStr>) -> Result<u32, Failure> {
    match variable.filter(|value| !value.is_empty()) {
        None => Ok(PATIENCE),
        Some(value) => {
            seconds(&value.to_string_lossy()).map_err(|e| Failure::Local(format!("OVS_CTL_TIMEOUT {value:?}: {e}")))
        }
    }
}

fn failure(options: &Options, socket: &Path, error: ClientError) -> Failure {
    let target = &options.target;
    match error {
        ClientError::TimedOut(limit) => {
            Failure::TimedOut(format!("{target}: no answer within {} seconds; see --timeout", limit.as_secs()))
        }
        ClientError::Connect(error) => {
            Failure::Local(format!("cannot connect to \"{}\" ({})", socket.display(), reason(&error)))
        }
        ClientError::Closed => Failure::Local(format!("{target}: transaction error (End of file)")),
        ClientError::Io(error) => Failure::Local(format!("{target}: transaction error ({})", reason(&error))),
        error => Failure::Local(format!("{target}: transaction error ({error})")),
    }
}

/// What the system says, without the number of the error.
fn reason(error: &io::Error) -> String {
    error.source().map_or_else(|| net::reason(error), ToString::to_string)
}

/// The text with an end of line, unless there is none of it.
fn line(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn print(text: &str) -> Result<(), Failure> {
    let written = io::stdout().write_all(line(text.to_string()).as_bytes());
    written.map_err(|e| Failure::Local(format!("standard output: {}", reason(&e))))
}
