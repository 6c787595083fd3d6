//! `ovs-dpctl`: the datapaths of the Linux kernel, from outside the switch.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use ovs_dpif::dpctl::{self, Datapaths, Reply};
use ovs_dpif::kernel::{self, Datapath, Options as Opening};
use ovs_dpif::{Dpif, DpifError, PortSpec, TunnelPort};
use ovs_netlink::Linux;
use ovs_packet::Instant;

/// Show and change the datapaths of the Linux kernel.
#[derive(Parser, Debug)]
#[command(name = "ovs-dpctl", version, disable_version_flag = true, after_help = EXAMPLES)]
struct Options {
    /// Show more of flows and connections.
    #[arg(short, long)]
    more: bool,
    /// Show counters of ports, flows and connections.
    #[arg(short, long)]
    statistics: bool,
    /// Show ports by their names.
    #[arg(long, overrides_with = "no_names")]
    names: bool,
    /// Show ports by their numbers.
    #[arg(long)]
    no_names: bool,
    /// mod-flow: make the flow if it is not there.
    #[arg(long)]
    may_create: bool,
    /// mod-flow: begin its counters anew.
    #[arg(long)]
    clear: bool,
    /// Refuse what changes anything.
    #[arg(long)]
    read_only: bool,
    /// How the answer is written: text or json.
    #[arg(short, long, value_name = "FMT", default_value = "text", value_parser = ["text", "json"])]
    format: String,
    /// End by the signal ALRM after this many seconds.
    #[arg(short, long, value_name = "SECS")]
    timeout: Option<u32>,
    /// Print the options, one a line.
    #[arg(long)]
    option: bool,
    /// Print version.
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: (),
    /// The command and its arguments; options may stand among them.
    #[arg(value_name = "COMMAND", required_unless_present = "option")]
    command: Vec<String>,
}

const EXAMPLES: &str = "Examples:
  ovs-dpctl list-commands
  ovs-dpctl add-dp br0 && ovs-dpctl add-if br0 eth0 vxlan_sys_4789,type=vxlan
  ovs-dpctl show -s
  ovs-dpctl dump-flows -m --names br0
  ovs-dpctl --format json dump-conntrack zone=5

A datapath need not be named where there is one only. The exit status is 0 if all was done, 1 if not.";

/// The datapaths of the kernel, each opened when it is wanted.
#[derive(Default)]
struct Kernel {
    open: BTreeMap<String, Datapath>,
}

/// The name of a datapath of the kernel without its type.
fn bare(name: &str) -> Result<&str, DpifError> {
    name.strip_prefix("system@").ok_or_else(|| DpifError::NoSuchDatapath(name.to_string()))
}

impl Datapaths for Kernel {
    fn kind(&self) -> &'static str {
        "system"
    }

    fn names(&mut self) -> Result<Vec<String>, DpifError> {
        Ok(kernel::list(&Linux)?.into_iter().map(|name| format!("system@{name}")).collect())
    }

    fn open(&mut self, name: &str) -> Result<&mut dyn Dpif, DpifError> {
        let name = bare(name)?;
        if !self.open.contains_key(name) {
            self.open.insert(name.to_string(), Datapath::open(&Linux, name, Opening::OBSERVE)?);
        }
        match self.open.get_mut(name) {
            Some(datapath) => Ok(datapath),
            None => Err(DpifError::NoSuchDatapath(name.to_string())),
        }
    }

    fn create(&mut self, name: &str) -> Result<(), DpifError> {
        let name = bare(name)?;
        self.open.insert(name.to_string(), Datapath::create(&Linux, name, Opening::OBSERVE)?);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DpifError> {
        let name = bare(name)?;
        match self.open.remove(name) {
            Some(datapath) => datapath.remove(),
            None => Datapath::open(&Linux, name, Opening::OBSERVE)?.remove(),
        }
    }

    fn port(&mut self, _: &str, name: &str, kind: &str, options: &[(&str, &str)]) -> Result<PortSpec, DpifError> {
        let name = name.to_string();
        let mut udp_port = None;
        for (key, value) in options {
            match (*key, value.parse()) {
                ("dst_port", Ok(port)) => udp_port = Some(port),
                _ => return Err(DpifError::Unsupported("this option of a port")),
            }
        }
        let port = |standard: u16| udp_port.unwrap_or(standard);
        let kind = match kind {
            "system" if options.is_empty() => return Ok(PortSpec::Interface(name)),
            "internal" if options.is_empty() => return Ok(PortSpec::Internal(name)),
            "vxlan" => TunnelPort::Vxlan { port: port(4789), gbp: false, gpe: false },
            "geneve" => TunnelPort::Geneve { port: port(6081) },
            "gre" if options.is_empty() => TunnelPort::Gre,
            "ip6gre" if options.is_empty() => TunnelPort::Ip6Gre,
            "erspan" if options.is_empty() => TunnelPort::Erspan,
            "ip6erspan" if options.is_empty() => TunnelPort::Ip6Erspan,
            _ => return Err(DpifError::Unsupported("a port of this type")),
        };
        Ok(PortSpec::Tunnel { name, kind })
    }

    fn now(&self) -> Instant {
        // The clock by which the kernel tells when flows were used.
        Instant::ZERO + ovs_netlink::monotonic()
    }

    fn read(&mut self, file: &str) -> std::io::Result<String> {
        match file {
            "-" => std::io::read_to_string(std::io::stdin()),
            file => std::fs::read_to_string(file),
        }
    }
}

impl Options {
    /// The command line as the library takes it.
    fn words(&self) -> Vec<&str> {
        let flags = [
            (self.more, "-m"),
            (self.statistics, "-s"),
            (self.names, "--names"),
            (self.no_names, "--no-names"),
            (self.may_create, "--may-create"),
            (self.clear, "--clear"),
            (self.read_only, "--read-only"),
        ];
        let set = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag);
        self.command.iter().map(String::as_str).chain(set).collect()
    }
}

fn main() -> ExitCode {
    let options = match ovs_tools::options::<Options>("ovs-dpctl") {
        Ok(options) => options,
        Err(status) => return status,
    };
    if options.option {
        let _ = std::io::stdout().lock().write_all(ovs_tools::option_list::<Options>().as_bytes());
        return ExitCode::SUCCESS;
    }
    if let Some(seconds) = options.timeout.filter(|seconds| *seconds > 0) {
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_secs(seconds.into()));
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::ALARM);
        });
    }
    let answer = dpctl::run(&mut Kernel::default(), &options.words());
    let text = match answer {
        Err(error) => {
            error.to_string().lines().for_each(|line| eprintln!("ovs-dpctl: {line}"));
            return ExitCode::FAILURE;
        }
        Ok(Reply::Nothing) if options.format == "text" => return ExitCode::SUCCESS,
        Ok(reply) if options.format == "json" => format!("{}\n", reply.json()),
        Ok(reply) => reply.to_string(),
    };
    // Whoever reads it may have seen enough.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
