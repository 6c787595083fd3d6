//! `ovs-vswitchd`: the switch as a program. What it does is in the library; here are its options.

use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Clock};

use clap::{Parser, Subcommand, ValueEnum};
use ovs_dpif::netdev::PacketSocket;
use ovs_switch::demo::{
    self, LiveStage, MemoryStage, NotLive, Outcome, Report, Screen, StageError, StoryOptions, Style, capture,
};
use ovs_switch::{FailMode, LiveSwitch, Switch, SwitchConfig};
use serde_json::json;

/// A software switch with OpenFlow tables.
#[derive(Parser)]
#[command(name = "ovs-vswitchd", version, after_help = EXAMPLES)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ovs-vswitchd demo                        real traffic between two private namespaces (as root)
  ovs-vswitchd demo --memory               the same over in-memory ports
  ovs-vswitchd demo --pcap trace.pcap      the packets of a capture, through a switch
  ovs-vswitchd run --port eth1 --port eth2 --flow 'priority=10,tcp,tp_dst=23,actions=drop'
  ovs-vswitchd datapaths                   which datapaths there are on this machine";

#[derive(Subcommand)]
enum Command {
    /// Show the switch at work, and leave nothing behind.
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Demo),
    /// Switch between network interfaces until it is told to stop (Ctrl-C).
    Run(Run),
    /// Tell which kinds of datapath can be used here, and why others cannot.
    Datapaths {
        /// How to write it.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

const DEMO_EXAMPLES: &str = "\
Without root, or where namespaces are refused, the demo runs over in-memory ports and says so.

With --pcap every station of the capture (source address) gets a port of its own, in turn when there are more stations
than ports. What leaves port N is written to DIR/NAME.pN.pcap.

Examples:
  ovs-vswitchd demo --watch 30
  ovs-vswitchd demo --format json
  ovs-vswitchd demo --pcap trace.pcap --out /tmp --ports 3 --flow 'priority=10,arp,actions=FLOOD'";

#[derive(clap::Args)]
struct Demo {
    /// Use in-memory ports even where there could be real ones.
    #[arg(long, conflicts_with = "pcap")]
    memory: bool,
    /// How many MiB to send over TCP; 0 leaves TCP out.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    transfer: u64,
    /// How long to show the live table on a terminal.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    watch: u64,
    /// How to write the report.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Forward the packets of this capture file instead.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// With --pcap: the folder for what left each port.
    #[arg(long, value_name = "DIR", default_value = ".", requires = "pcap")]
    out: PathBuf,
    /// With --pcap: how many ports the switch has.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "pcap", value_parser = clap::value_parser!(u16).range(1..=255))]
    ports: u16,
    /// With --pcap: a flow beside the one with the NORMAL action; may be given again.
    #[arg(long = "flow", value_name = "FLOW", requires = "pcap")]
    flows: Vec<String>,
}

#[derive(clap::Args)]
struct Run {
    /// A network interface to switch between; may be given again.
    #[arg(long = "port", value_name = "INTERFACE", required = true)]
    ports: Vec<String>,
    /// A flow to add; may be given again.
    #[arg(long = "flow", value_name = "FLOW")]
    flows: Vec<String>,
    /// Drop what no flow matches, instead of forwarding like a learning switch.
    #[arg(long)]
    secure: bool,
    /// Stop after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// How to write the table at the end.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl From<Format> for Style {
    fn from(f: Format) -> Style {
        match f {
            Format::Text => Style::Text,
            Format::Json => Style::Json,
        }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Exit status after an interrupt, as the shell has it for SIGINT.
const INTERRUPTED: u8 = 130;

/// The words that come first where the program is not to be a daemon.
const COMMANDS: [&str; 4] = ["demo", "run", "datapaths", "help"];

fn main() -> ExitCode {
    let is_command = std::env::args().nth(1).is_some_and(|word| COMMANDS.contains(&word.as_str()));
    if !is_command {
        return ovs_switch::server::main(std::env::args().skip(1));
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter()).init();
    let options = Options::parse();
    let result = match options.command {
        Command::Demo(d) => demo(&d),
        Command::Run(r) => run(&r),
        Command::Datapaths { format } => datapaths(format),
    };
    result.unwrap_or_else(|e| {
        eprintln!("ovs-vswitchd: {e}");
        ExitCode::FAILURE
    })
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into())
}

/// A flag that is set when the process is asked to stop. Asked again, it stops on the spot.
fn on_interrupt() -> Result<Arc<AtomicBool>, Error> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the first signal sets the flag only after this has looked at it.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED.into(), flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}

fn demo(d: &Demo) -> Result<ExitCode, Error> {
    if let Some(pcap) = &d.pcap {
        return demo_capture(d, pcap);
    }
    let interrupted = on_interrupt()?;
    let mut report = Report::new(stdout(), d.format.into());
    let mut options = StoryOptions::default();
    options.transfer = d.transfer << 20;
    options.watch = Duration::from_secs(d.watch);
    options.screen = screen().filter(|_| report.style() == Style::Text && d.watch > 0);
    let live = if d.memory { None } else { live_stage(&mut report)? };
    let outcome = match live {
        Some(mut stage) => demo::run(&mut stage, &mut report, options, &interrupted)?,
        None => {
            options.screen = None;
            demo::run(&mut MemoryStage::new(), &mut report, options, &interrupted)?
        }
    };
    report.line(match outcome {
        Outcome::Good => "done; the network it ran in is gone",
        Outcome::Bad => "done, but not everything was as it should be",
        Outcome::Interrupted => "interrupted; the network it ran in is gone",
    })?;
    report.finish()?;
    Ok(match outcome {
        Outcome::Good => ExitCode::SUCCESS,
        Outcome::Bad => ExitCode::FAILURE,
        Outcome::Interrupted => ExitCode::from(INTERRUPTED),
    })
}

/// The terminal that standard output is, if it is one.
fn screen() -> Option<Screen> {
    let size = rustix::termios::tcgetwinsize(stdout()).ok()?;
    // A terminal that does not know its size is as large as terminals once were.
    let known = |n: u16, otherwise| if n == 0 { otherwise } else { usize::from(n) };
    Some(Screen { columns: known(size.ws_col, 80), rows: known(size.ws_row, 24) })
}

/// The live stage, or `None` with the reason told if there are no privileges for it.
fn live_stage(report: &mut Report<impl std::io::Write>) -> Result<Option<LiveStage>, Error> {
    match LiveStage::new() {
        Ok(stage) => Ok(Some(stage)),
        Err(NotLive::Namespace(e)) => {
            report.line(&format!("{e}"))?;
            report.set("not_live", e.to_string().into());
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}

fn demo_capture(d: &Demo, pcap: &std::path::Path) -> Result<ExitCode, Error> {
    let done = capture::forward(pcap, &d.out, d.ports.into(), &d.flows)?;
    let mut report = Report::new(stdout(), d.format.into());
    report.line(&format!("{}: {} packets", pcap.display(), done.packets))?;
    for (path, packets) in &done.files {
        let file = path.display().to_string();
        report.step(&format!("  {packets:>8} packets left by {file}"), json!({ "file": file, "packets": packets }))?;
    }
    let (text, value) = demo::snapshot(&done.switch, done.end)?;
    report.line(&format!("\n{text}"))?;
    report.set("switch", value);
    report.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn run(r: &Run) -> Result<ExitCode, Error> {
    let interrupted = on_interrupt()?;
    let mode = if r.secure { FailMode::Secure } else { FailMode::Standalone };
    let mut switch = Switch::new(&SwitchConfig::new("br0").fail_mode(mode).seed(fastrand::u64(..)));
    for port in &r.ports {
        switch.add_port(Box::new(PacketSocket::open(port)?), Default::default())?;
    }
    for flow in &r.flows {
        switch.add_flow(flow, ovs_packet::Instant::ZERO).map_err(|e| format!("flow {flow:?}: {e}"))?;
    }
    let live = LiveSwitch::start(switch)?;
    let mut report = Report::new(stdout(), r.format.into());
    report.line(&format!("switching between {}; Ctrl-C stops", r.ports.join(", ")))?;
    let end = r.seconds.map(|s| Clock::now() + Duration::from_secs(s));
    while !interrupted.load(Ordering::Relaxed) && end.is_none_or(|end| Clock::now() < end) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (text, value) = live.call(|switch, now| demo::snapshot(switch, now)).map_err(StageError::new)??;
    report.line(&text)?;
    report.set("switch", value);
    report.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn datapaths(format: Format) -> Result<ExitCode, Error> {
    let mut report = Report::new(stdout(), format.into());
    report.step("netdev: available (within this process)", json!({ "type": "netdev", "available": true }))?;
    let (line, value) = match ovs_netlink::probe_datapath() {
        Ok(there) => {
            let line = format!("system: available (the kernel's module, which has {} datapaths)", there.len());
            (line, json!({ "type": "system", "available": true, "kernel_module": true }))
        }
        Err(e) => {
            let line = format!("system: not available: {e}");
            (line, json!({ "type": "system", "available": false, "kernel_module": false, "reason": e.to_string() }))
        }
    };
    report.step(&line, value)?;
    report.finish()?;
    Ok(ExitCode::SUCCESS)
}
