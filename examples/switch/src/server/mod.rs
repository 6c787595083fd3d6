//! `ovs-vswitchd` as a library: a switch, its database, its controllers, and the commands it takes, on one thread.
//!
//! [`Server::turn`] does everything that can be done without waiting; [`Server::wait`] waits for descriptors and deadlines.
//! Work is cut in slices: after a bounded number of packets, of messages of a connection, of commands, everything else has
//! its turn.

mod database;
mod links;
mod network;
mod options;
mod tls;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ovs_db::unixctl::{ControlSocket, InvocationKey, Reply};
use ovs_dpif::userspace::workers::Hooks;
use ovs_ofproto::session::edge::{Interest, Ready, wait_for};
use ovs_packet::Instant;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::commands::Commands;
use crate::config::{Config, TlsFiles};
use crate::coverage::Coverage;
use crate::daemon::{self, Clock, Daemon, Next, WARP_PAUSE};
use crate::openflow::OpenFlow;
use crate::vlog::Vlog;
use crate::vswitch::{DeviceNews, Dummies, Machine, StandardDevices, Vswitch};
use network::Network;
use tls::Tls;

pub use database::{Database, Request};
pub use links::Links;
pub use options::{Options, Wanted};

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `version` and `--version` say.
pub fn version_line() -> String {
    format!("ovs-vswitchd (Open vSwitch) {VERSION}")
}

/// Rounds of packets before everything else has its turn.
const ROUNDS: usize = 8;

/// A turn that took so long is told: meanwhile nothing else was done.
const LONG_TURN: Duration = Duration::from_secs(1);

/// Ports are asked for packets this often though none says that it has any.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Devices that come and go have the configuration applied again no more often than this.
const MIN_APPLY_INTERVAL: Duration = Duration::from_millis(500);

/// A running switch.
#[derive(Debug)]
pub struct Server {
    pub(crate) clock: Clock,
    pub(crate) switch: Vswitch,
    pub(crate) dummies: Dummies,
    pub(crate) openflow: OpenFlow,
    pub(crate) links: Links,
    pub(crate) database: Option<Database>,
    pub(crate) log: Vlog,
    pub(crate) coverage: Coverage,
    network: Option<Network>,
    commands: Commands,
    control: Option<ControlSocket>,
    tls: Tls,
    /// Who asked for the program to end.
    leaving: Option<Vec<InvocationKey>>,
    /// Whether what is outside the process is to go with it.
    clean_up: bool,
    /// Who waits for a warp.
    warping: Option<InvocationKey>,
    /// There may be more to do at once.
    busy: bool,
    /// Who had something when the last wait ended, whether ports did, and whether a signal came.
    ready: Ready,
    has_packets: bool,
    has_signals: bool,
    /// When ports were last asked for packets.
    polled: Option<Instant>,
    /// What was applied last, when, and when it is to be applied again because devices came or went.
    config: Config,
    applied_at: Instant,
    apply_at: Option<Instant>,
}

/// What listens to the machine's network, or nothing, said once.
fn listen_to_network(now: Instant) -> Option<Network> {
    let network = Network::new(now);
    network.inspect_err(|error| tracing::warn!(target: "route_table", %error, "routes are not read")).ok()
}

impl Server {
    /// A switch as the command line says, with its control socket if it is to have one.
    ///
    /// # Errors
    /// If the control socket cannot be, or a configuration file is not one.
    pub fn new(options: &Options, log: Vlog) -> Result<Server, String> {
        let clock = Clock::new();
        let now = clock.now();
        let devices = StandardDevices::new(options.dummies).with_machine(machine(options, &clock));
        let dummies = devices.dummies().clone();
        let control = match options.common.control_path() {
            Some(path) => Some(bind(&path)?),
            None => None,
        };
        let mut server = Server {
            switch: Vswitch::new(options.types.clone(), Box::new(devices), fastrand::u64(..)),
            dummies,
            tls: Tls::new(options.tls.clone()),
            openflow: OpenFlow::new(&options.common.folders.run, options.is_confined),
            links: Links::default(),
            database: None,
            log,
            coverage: Coverage::default(),
            network: options.system_routes.then(|| listen_to_network(now)).flatten(),
            commands: Commands::new(&version_line(), options.dummies != crate::vswitch::DummyLevel::Off),
            control,
            leaving: None,
            clean_up: false,
            warping: None,
            busy: false,
            ready: Ready::unknown(),
            has_packets: true,
            has_signals: true,
            polled: None,
            config: Config::default(),
            applied_at: now,
            apply_at: None,
            clock,
        };
        match &options.config {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                let config = Config::from_toml(&text).map_err(|e| format!("{}: {e}", path.display()))?;
                server.apply(config, now);
            }
            None => {
                server.database = Some(Database::new(options.remotes.clone(), now));
                server.renew_keys(None);
            }
        }
        Ok(server)
    }

    /// Whether whoever started the program need not wait any more.
    pub fn is_ready(&self) -> bool {
        self.database.as_ref().is_none_or(Database::is_ready)
    }

    /// Takes the keys of files that are others than before.
    fn renew_keys(&mut self, of_database: Option<&TlsFiles>) {
        let Some(keys) = self.tls.news(of_database) else { return };
        self.openflow.set_tls(keys.openflow);
        if let (Some(database), Some(credentials)) = (&mut self.database, keys.database) {
            database.set_credentials(credentials);
        }
    }

    fn apply(&mut self, config: Config, now: Instant) {
        self.coverage.add("bridge_reconfigure", 1);
        self.renew_keys(config.tls.as_ref());
        self.switch.apply(&config, now);
        (self.config, self.applied_at, self.apply_at) = (config, now, None);
        self.openflow.configure(&self.switch, now);
        self.links.configure(&self.dummies, now);
        self.busy = true;
    }

    /// Does all that can be done without waiting, up to a bound. True as long as the program is to go on.
    pub fn turn(&mut self) -> bool {
        if self.clock.is_warping() {
            let is_over = self.clock.step();
            if is_over && let Some(key) = self.warping.take() {
                // Everything that the warp made due is done before the answer goes out.
                self.work(&Ready::unknown());
                self.commands.reply(key, Reply::Text("warped".into()));
            }
        }
        let ready = std::mem::take(&mut self.ready);
        self.work(&ready);
        self.serve_control(&ready);
        self.leaving.is_none()
    }

    /// Packets, messages, the database. Who is known to have nothing is not asked: a turn for one message is to cost little more
    /// than that message.
    fn work(&mut self, ready: &Ready) {
        let now = self.clock.now();
        self.busy = false;
        // What a configuration makes has news at once, which belongs to what is written back.
        let unknown = Ready::unknown();
        let applied = self.hear_database(ready, now);
        let ready = if applied { &unknown } else { ready };
        self.hear_devices(ready, now);
        self.network.iter_mut().for_each(|network| network.run(self.switch.underlay(), ready, now));
        self.busy |= self.openflow.run(&mut self.switch, ready, now);
        self.switch.obey_controllers(now);
        self.forward(ready, now);
        self.coverage.run(now);
        let wrote = self.database.as_mut().is_some_and(|d| d.refresh(&self.switch, &self.openflow, now));
        if applied || wrote {
            // It is sent now, and not after the wait.
            self.hear_database(&Ready::none(), now);
        }
    }

    /// What the database asks for is done, and what became of it written back. True if there was anything.
    fn hear_database(&mut self, ready: &Ready, now: Instant) -> bool {
        let Some(database) = &mut self.database else { return false };
        match database.run(ready, now) {
            Request::Nothing => return false,
            Request::Yield => self.apply(Config::default(), now),
            Request::Apply(config) => {
                self.apply(config, now);
                if let Some(database) = &mut self.database {
                    database.configured(&self.switch, &self.openflow, now);
                }
            }
        }
        true
    }

    /// What became of devices outside the process.
    fn hear_devices(&mut self, ready: &Ready, now: Instant) {
        let news = self.switch.hear_devices(ready);
        if news == DeviceNews::Apply {
            // What cannot be opened may be news each time it is tried.
            self.apply_at.get_or_insert(now.max(self.applied_at + MIN_APPLY_INTERVAL));
        }
        let is_due = self.apply_at.is_some_and(|at| at <= now);
        if is_due {
            let config = std::mem::take(&mut self.config);
            self.apply(config, now);
        }
        if is_due || news > DeviceNews::None {
            self.state_changed();
        }
    }

    /// Packets that wait, up to a bound.
    fn forward(&mut self, ready: &Ready, now: Instant) {
        // Dummies have no descriptors, and what is over is looked for now and then in any case.
        let is_due = self.polled.is_none_or(|at| now.since(at) >= POLL_INTERVAL) || !self.dummies.is_empty();
        let polls = std::mem::take(&mut self.has_packets) || ready.is_unknown() || is_due;
        if polls {
            self.polled = Some(now);
        }
        for _ in 0..ROUNDS {
            self.links.run(now);
            let (rounds, start) = (self.switch.rounds(), self.clock.now());
            let taken = if polls { self.switch.run(now) } else { self.switch.tend(now) };
            if self.switch.rounds() != rounds {
                self.switch.revalidation_took(self.clock.now() - start);
            }
            if taken == 0 {
                self.links.run(now);
                return;
            }
        }
        (self.busy, self.polled) = (true, None);
    }

    /// Commands that wait, up to a bound. Answers go out with the next look whether there are more.
    fn serve_control(&mut self, ready: &Ready) {
        let is_ready = |c: &ControlSocket| c.interest(self.commands.server()).any(|(fd, _)| ready.has(fd));
        if !self.control.as_ref().is_some_and(is_ready) {
            return;
        }
        for _ in 0..ROUNDS {
            if !self.serve_commands() {
                return;
            }
        }
        self.busy = true;
    }

    /// Sends and reads what there is, and does the commands that came. True if there were any.
    fn serve_commands(&mut self) -> bool {
        let Some(control) = &mut self.control else { return false };
        if let Err(e) = control.run(self.commands.server_mut()) {
            tracing::warn!(target: "unixctl", "{}: accept failed: {e}", control.path().display());
        }
        let mut any = false;
        while let Some(invocation) = self.commands.server_mut().poll() {
            tracing::debug!(
                target: "unixctl", "received request {}{:?}", invocation.command, invocation.arguments
            );
            any = true;
            let key = invocation.key;
            if let Some(reply) = crate::commands::execute(self, &invocation) {
                self.commands.reply(key, reply);
            }
            // What a command did is done whole before the next one looks.
            self.work(&Ready::unknown());
        }
        any
    }

    /// Waits for descriptors and deadlines, but no longer than `longest`.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&mut self, signals: &Signals, longest: Option<Duration>) -> io::Result<()> {
        let now = self.clock.now();
        let database = self.database.as_ref().and_then(Database::deadline);
        let network = self.network.as_ref().and_then(Network::next_deadline);
        let deadlines = [self.switch.next_deadline(), database, self.apply_at, network];
        let mut timeout = deadlines.into_iter().flatten().min().and_then(|at| self.clock.until(at));
        let relative = [self.openflow.timeout(now), self.links.timeout(now)];
        for left in relative.into_iter().flatten() {
            if left.is_zero() || !self.clock.is_stopped() {
                timeout = Some(timeout.map_or(left, |t| t.min(left)));
            }
        }
        if self.clock.is_warping() {
            timeout = Some(WARP_PAUSE);
        }
        if self.busy {
            timeout = Some(Duration::ZERO);
        }
        let timeout = timeout.into_iter().chain(longest).min();
        let control = self.control.iter().flat_map(|c| c.interest(self.commands.server()));
        let database = self.database.iter().filter_map(Database::interest);
        let reads = Interest { read: true, write: false };
        let ports = self.switch.fds();
        let network = self.network.iter().map(|network| (network.fd(), reads));
        let ready = wait_for(
            control
                .chain(database)
                .chain(ports.iter().map(|fd| (*fd, reads)))
                .chain(network)
                .chain([(signals.as_fd(), reads)])
                .chain(self.openflow.interest())
                .chain(self.links.interest()),
            timeout,
        )?;
        self.has_packets = ports.iter().any(|fd| ready.has(fd));
        self.has_signals = ready.has(signals);
        self.ready = ready;
        Ok(())
    }

    // What commands ask for.

    /// Has what is known of interfaces written to the database.
    pub(crate) fn state_changed(&mut self) {
        self.switch.meet_devices();
        if let Some(database) = &mut self.database {
            database.status_changed();
        }
    }

    /// Has the counters of events tell what others count.
    pub(crate) fn count(&mut self) {
        // Batches have room for 32 packets, always.
        self.coverage.set("dp_packet_batch_grow", 0);
        let mut totals = std::collections::BTreeMap::new();
        for datapath in self.switch.all_datapaths() {
            let ledger = datapath.dpif().ledger();
            *totals.entry("netdev_received").or_insert(0) += ledger.received;
            for (name, count) in datapath.dpif().events() {
                *totals.entry(name).or_insert(0) += count;
            }
            for reason in ovs_dpif::DropReason::ALL {
                *totals.entry(drop_counter(*reason)).or_insert(0) += ledger.drops(*reason);
            }
        }
        for bridge in self.switch.bridges() {
            let Some(of) = self.switch.ofproto(bridge.name()) else { continue };
            let stats = of.macs().stats();
            for (name, count) in [
                ("mac_learning_learned", stats.learned),
                ("mac_learning_expired", stats.expired),
                ("mac_learning_evicted", stats.evicted),
                ("mac_learning_moved", stats.moved),
                ("mac_learning_static_none_move", stats.stayed),
                ("revalidate_missing_dp_flow", of.missed()),
            ] {
                *totals.entry(name).or_insert(0) += count;
            }
        }
        totals.into_iter().for_each(|(name, total)| self.coverage.set(name, total));
    }

    /// What the switch holds, by kind.
    pub(crate) fn usage(&self) -> Vec<(&'static str, u64)> {
        let bridges = || self.switch.bridges();
        let flows: usize = bridges().filter_map(|b| self.switch.ofproto(b.name())).map(|of| of.flows().count()).sum();
        let megaflows: u64 = self.switch.datapaths().map(|d| d.stats().unwrap_or_default().flows).sum();
        let ports: usize = bridges().map(|b| b.ports().count()).sum();
        vec![
            ("handlers", 0),
            ("ofconns", self.openflow.count() as u64),
            ("ports", ports as u64),
            ("revalidators", 0),
            ("rules", flows as u64),
            ("udpif keys", megaflows),
        ]
    }

    /// Ends the program for somebody who waits for that. What it has made in the system goes only if that is to be cleaned
    /// up.
    pub(crate) fn leave(&mut self, key: InvocationKey, clean_up: bool) {
        self.leaving.get_or_insert_default().push(key);
        self.clean_up |= clean_up;
    }

    pub(crate) fn warp(&mut self, key: InvocationKey, total: Duration, step: Duration) -> Result<(), String> {
        if self.warping.is_some() || !self.clock.warp(total, step) {
            return Err("A previous warp in progress".into());
        }
        self.warping = Some(key);
        Ok(())
    }

    /// Ends: whoever asked for the end is answered last. What is outside the process goes on forwarding, unless it is to
    /// be cleaned up.
    fn finish(mut self) {
        let now = self.clock.now();
        self.openflow.close();
        match self.clean_up {
            true => self.switch.apply(&Config::default(), now),
            false => self.switch.leave(),
        }
        for key in self.leaving.take().into_iter().flatten() {
            self.commands.reply(key, Reply::Text(String::new()));
        }
        if let Some(control) = &mut self.control {
            let _ = control.run(self.commands.server_mut());
        }
    }
}

/// What upstream's coverage counters call a reason to drop; its own name where upstream has none.
fn drop_counter(reason: ovs_dpif::DropReason) -> &'static str {
    use ovs_dpif::DropReason as R;
    match reason {
        R::FlowDrop => "drop_action_of_pipeline",
        R::TooManyResubmits => "drop_action_too_many_resubmit",
        R::TooDeep => "drop_action_recursion_too_deep",
        R::StackTooDeep => "drop_action_stack_too_deep",
        R::TooManyLabels => "drop_action_too_many_mpls_labels",
        R::TunnelMetadata => "drop_action_invalid_tunnel_metadata",
        R::UnsupportedPacketType => "drop_action_unsupported_packet_type",
        R::NoRecirculation => "drop_action_no_recirculation_context",
        R::ForwardingDisabled => "drop_action_forwarding_disabled",
        R::RecirculationDepth | R::UnknownRecirculation => "datapath_drop_recirc_error",
        R::UnknownBond => "datapath_drop_invalid_bond",
        R::UnknownPort => "datapath_drop_invalid_port",
        R::InvalidPacket => "datapath_drop_rx_invalid_packet",
        R::MeterExceeded => "datapath_drop_meter",
        R::UpcallQueueFull => "datapath_drop_upcall_error",
        R::TunnelPop => "datapath_drop_tunnel_pop_error",
        R::TunnelPush => "datapath_drop_tunnel_push_error",
        R::NotEcnCapable => "drop_action_congestion",
        R::TunnelRouting => "drop_action_tunnel_routing_failed",
        R::TunnelNeighbour => "drop_action_tunnel_neigh_cache_miss",
        R::TunnelHeader => "drop_action_tunnel_header_build_failed",
        other => other.id(),
    }
}

/// The cores that there are, or are said to be, and the clocks that threads on them ask.
fn machine(options: &Options, clock: &Clock) -> Machine {
    let topology = options.numa.clone().unwrap_or_else(daemon::discover);
    for (node, cores) in topology.nodes() {
        tracing::info!(target: "ovs_numa", "Discovered {cores} CPU cores on NUMA node {node}");
    }
    tracing::info!(target: "ovs_numa", "Discovered {topology}");
    let hooks = Hooks::new(clock.reader()).with_stopwatch(clock.stopwatch());
    // Cores that are not there cannot be had.
    let hooks = if options.numa.is_some() { hooks } else { hooks.with_start(daemon::bind) };
    Machine { topology, hooks }
}

fn bind(path: &Path) -> Result<ControlSocket, String> {
    ControlSocket::bind(path).map_err(|e| format!("could not initialize control socket {} ({e})", path.display()))
}

/// Signals that came, as something to wait for.
#[derive(Debug)]
pub struct Signals {
    pipe: UnixStream,
    hangup: std::sync::Arc<std::sync::atomic::AtomicBool>,
    end: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Signals {
    /// Listens for the signals that a daemon heeds: HUP, INT, TERM.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Signals> {
        let (pipe, sender) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        let signals = Signals { pipe, hangup: Default::default(), end: Default::default() };
        signal_hook::flag::register(SIGHUP, signals.hangup.clone())?;
        for signal in [SIGINT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or(0);
            signal_hook::flag::register_usize(signal, signals.end.clone(), number)?;
        }
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Whether the log is to be opened anew, and which signal asked for the end.
    pub fn take(&self) -> (bool, Option<i32>) {
        use std::io::Read;
        use std::sync::atomic::Ordering::SeqCst;
        // The bytes say only that something came.
        let _ = (&self.pipe).read(&mut [0; 64]);
        let end = i32::try_from(self.end.load(SeqCst)).ok().filter(|n| *n != 0);
        (self.hangup.swap(false, SeqCst), end)
    }
}

impl AsFd for Signals {
    /// What becomes readable when a signal comes.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Ends the process by a signal, so that whoever waits for it sees what ended it.
pub fn end_by(signal: i32) {
    // It does not come back, or the signal is none that ends a process.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// Runs `ovs-vswitchd` with these arguments until it is told to end.
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    match run(arguments) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("ovs-vswitchd: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: impl IntoIterator<Item = String>) -> Result<ExitCode, String> {
    let log = Vlog::new("ovs-vswitchd");
    if let Some(method) = std::env::var_os("OVS_SYSLOG_METHOD") {
        log.set_syslog_method(&method.to_string_lossy())?;
    }
    let options = match Options::parse(arguments, &log)? {
        Wanted::Print(text) => {
            print!("{text}");
            return Ok(ExitCode::SUCCESS);
        }
        Wanted::Serve(options) => options,
    };
    log.start()?;
    let mut daemon = match options.common.conduct.start(&log)? {
        Next::Exit(code) => return Ok(code),
        Next::Serve(daemon) => daemon,
    };
    options.common.open_log(&log)?;
    if options.mlockall
        && let Err(e) = lock_memory()
    {
        tracing::error!(target: "vswitchd", "mlockall failed: {e}");
    }
    let signals = Signals::new().map_err(|e| format!("cannot listen for signals: {e}"))?;
    let mut server = Server::new(&options, log.clone())?;
    let mut told = false;
    let ended = loop {
        let began = std::time::Instant::now();
        if !server.turn() {
            break None;
        }
        let took = began.elapsed();
        if took >= LONG_TURN {
            tracing::warn!(target: "timeval", "Unreasonably long {}ms poll interval", took.as_millis());
        }
        let (hangup, end) = if server.has_signals { signals.take() } else { (false, None) };
        if hangup && let Err(e) = log.reopen() {
            tracing::warn!(target: "vlog", "SIGHUP: {e}");
        }
        if let Some(signal) = end {
            let name = if signal == SIGINT { "Interrupt" } else { "Terminated" };
            tracing::warn!(target: "fatal_signal", "terminating with signal {signal} ({name})");
            break end;
        }
        if !told && server.is_ready() {
            told = true;
            serves(&mut daemon, &options, &log);
        }
        server.wait(&signals, None).map_err(|e| format!("cannot wait: {e}"))?;
    };
    server.finish();
    drop(daemon);
    if let Some(signal) = ended {
        end_by(signal);
    }
    Ok(ExitCode::SUCCESS)
}

fn serves(daemon: &mut Daemon, options: &Options, log: &Vlog) {
    daemon.serves(&options.common.conduct, log);
    tracing::info!(target: "vswitchd", "{}", version_line());
}

fn lock_memory() -> io::Result<()> {
    use rustix::mm::{MlockAllFlags, mlockall};
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE;
    // Kernels before 4.4 lock pages at once only.
    mlockall(all | MlockAllFlags::ONFAULT).or_else(|_| mlockall(all))?;
    Ok(())
}
