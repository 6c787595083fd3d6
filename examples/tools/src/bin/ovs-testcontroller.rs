//! `ovs-testcontroller`: a controller that makes OpenFlow switches learn, for trying things out.
//!
//! What it says to switches is in [`ovs_tools::learning`]; here are its options, its sockets and its clock.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant as Clock;

use ovs_db::unixctl::{ControlSocket, InvocationKey, Reply, Server};
use ovs_ofproto::codec::{Message, Versions};
use ovs_ofproto::session::edge::{Driver, Interest, Listener, StreamOptions, TlsConfig, TlsOptions, wait};
use ovs_ofproto::session::{Class, Endpoint, Frame, ListenOn, SessionEvent, SessionOptions, parse_versions};
use ovs_ofproto::text::{NoNames, Parser};
use ovs_ofproto::{FlowMod, FlowModCommand};
use ovs_packet::Instant;
use ovs_switch::daemon::getopt::{self, Opt, Piece, Value};
use ovs_switch::daemon::{COMMON, Common, Next};
use ovs_switch::server::Signals;
use ovs_switch::vlog::Vlog;
use ovs_tools::learning::{L2_ONLY, LearningConfig, LearningSwitch};

const PROGRAM: &str = "ovs-testcontroller";

/// Switches that are served at once, and places that are listened on.
const MAX_SWITCHES: usize = 64;

/// Messages of one switch that are heeded before the others have their turn.
const SLICE: usize = 50;

/// The options that are the controller's own.
const OWN: &[Opt] = &[
    Opt::long("hub", Value::None, "", "act as hub instead of learning switch").letter('H'),
    Opt::long("noflow", Value::None, "", "pass traffic, but don't add flows").letter('n'),
    Opt::long("max-idle", Value::Required, "SECS|permanent", "how long new flows may be idle (default: 60)"),
    Opt::long("normal", Value::None, "", "let the switch choose where what is not flooded goes").letter('N'),
    Opt::long("wildcards", Value::Optional, "MASK", "wildcard these bits in flows, or those above layer 2").letter('w'),
    Opt::long("queue", Value::Required, "QUEUE-ID", "the queue to use for output").letter('q'),
    Opt::long("port-queue", Value::Required, "PORT-NAME:QUEUE-ID", "the queue for frames from a port").letter('Q'),
    Opt::long("with-flows", Value::Required, "FILE", "give switches the flows from a file; may be given again"),
    Opt::long("mute", Value::None, "", "say nothing to what switches send but to their echo requests"),
    Opt::long(
        "protocols",
        Value::Required,
        "VERSIONS",
        "allowed OpenFlow versions (default: OpenFlow10 to OpenFlow15)",
    )
    .letter('O'),
    Opt::long("private-key", Value::Required, "FILE", "the private key for ssl and pssl").letter('p'),
    Opt::long("certificate", Value::Required, "FILE", "the certificate for ssl and pssl").letter('c'),
    Opt::long("ca-cert", Value::Required, "FILE", "the certificate that peers are known by, or none").letter('C'),
];

/// What the command line says.
struct Options {
    common: Common,
    config: LearningConfig,
    versions: Versions,
    stream: StreamOptions,
    places: Vec<Place>,
}

enum Place {
    Listen(ListenOn),
    Connect(Endpoint),
}

/// What there is to do.
enum Wanted {
    Serve(Box<Options>),
    Print(String),
}

fn main() -> ExitCode {
    run().unwrap_or_else(|e| {
        eprintln!("{PROGRAM}: {e}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, String> {
    let log = Vlog::new(PROGRAM);
    if let Some(method) = std::env::var_os("OVS_SYSLOG_METHOD") {
        log.set_syslog_method(&method.to_string_lossy())?;
    }
    let options = match parse(std::env::args().skip(1), &log)? {
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
    let signals = Signals::new().map_err(|e| format!("cannot listen for signals: {e}"))?;
    let conduct = options.common.conduct.clone();
    let mut controller = Controller::new(*options, log.clone())?;
    daemon.serves(&conduct, &log);
    let ended = loop {
        if !controller.turn() {
            break None;
        }
        let (hangup, end) = signals.take();
        if hangup && let Err(e) = log.reopen() {
            tracing::warn!(target: "vlog", "SIGHUP: {e}");
        }
        if end.is_some() {
            break end;
        }
        controller.wait(&signals)?;
    };
    controller.finish();
    drop(daemon);
    if let Some(signal) = ended {
        ovs_switch::server::end_by(signal);
    }
    Ok(ExitCode::SUCCESS)
}

// Options.

fn parse(line: impl IntoIterator<Item = String>, log: &Vlog) -> Result<Wanted, String> {
    let all: Vec<Opt> = OWN.iter().chain(COMMON).copied().collect();
    let (mut common, mut config) = (Common::new(PROGRAM), LearningConfig::default());
    let mut versions = SessionOptions::default().versions;
    let (mut key, mut certificate, mut authority) = (None, None, None);
    let mut words = Vec::new();
    for piece in getopt::parse(&all, line)? {
        let (name, value) = match piece {
            Piece::Word(word) => {
                words.push(word);
                continue;
            }
            Piece::Option(name, value) => (name, value),
        };
        let text = value.as_deref().unwrap_or_default();
        match name {
            "help" => return Ok(Wanted::Print(help(&all))),
            "version" => return Ok(Wanted::Print(format!("{}\n", version_line()))),
            "hub" => config.hub = true,
            "noflow" => config.flows = false,
            "max-idle" => config.max_idle = max_idle(text)?,
            "normal" => config.normal = true,
            "wildcards" => config.wildcards = if value.is_none() { L2_ONLY } else { wildcards(text)? },
            "queue" => config.queue = Some(queue(text)?),
            "port-queue" => {
                let of = text.rsplit_once(':').filter(|(port, _)| !port.is_empty());
                let (port, number) = of.ok_or_else(|| format!("{text}: not PORT-NAME:QUEUE-ID"))?;
                if config.port_queues.insert(port.into(), queue(number)?).is_some() {
                    return Err(format!("{port}: two queues for one port"));
                }
            }
            "with-flows" => config.default_flows.extend(flows(text)?),
            "mute" => config.mute = true,
            "protocols" => versions = parse_versions(text).map_err(|e| e.to_string())?,
            "private-key" => key = value,
            "certificate" => certificate = value,
            "ca-cert" => authority = value,
            name => drop(common.take(log, name, value)?),
        }
    }
    if words.is_empty() {
        return Err("at least one vconn argument required; use --help for usage".into());
    }
    let stream = StreamOptions { tls: tls(key, certificate, authority)?, ..StreamOptions::default() };
    let places = words.iter().map(|word| place(word, &common)).collect::<Result<_, _>>()?;
    Ok(Wanted::Serve(Box::new(Options { common, config, versions, stream, places })))
}

fn tls(
    key: Option<String>,
    certificate: Option<String>,
    authority: Option<String>,
) -> Result<Option<TlsConfig>, String> {
    let (private_key, certificate) = match (key, certificate) {
        (None, None) => return Ok(None),
        (Some(key), Some(certificate)) => (key.into(), certificate.into()),
        _ => return Err("--private-key and --certificate are of use only together".into()),
    };
    let ca_certificate = authority.filter(|file| file != "none").map(Into::into);
    let files = TlsOptions { private_key, certificate, ca_certificate, ..TlsOptions::default() };
    TlsConfig::load(&files).map(Some).map_err(|e| e.to_string())
}

fn max_idle(text: &str) -> Result<u16, String> {
    if text == "permanent" {
        return Ok(0);
    }
    let seconds = text.parse().ok().filter(|s| *s > 0);
    seconds.ok_or_else(|| "--max-idle argument must be between 1 and 65535 or the word 'permanent'".into())
}

fn wildcards(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text);
    u32::from_str_radix(digits, 16).map_err(|e| format!("--wildcards {text}: {e}"))
}

fn queue(text: &str) -> Result<u32, String> {
    text.parse().map_err(|e| format!("queue {text}: {e}"))
}

/// The flows of a file, one a line, as `ovs-ofctl add-flows` takes them.
fn flows(file: &str) -> Result<Vec<FlowMod>, String> {
    let text = String::from_utf8(ovs_tools::read_input(file)?).map_err(|e| format!("{file}: {e}"))?;
    let parser = Parser::new(&NoNames);
    let mut flows = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            let flow = parser.flow_mod(line, FlowModCommand::Add);
            flows.push(flow.map_err(|e| format!("{file}:{number}: {e}"))?);
        }
    }
    Ok(flows)
}

/// A place to listen on or to connect to. Sockets whose names have no folder are in the run folder.
fn place(word: &str, common: &Common) -> Result<Place, String> {
    let folder = &common.folders.run;
    if let Some(file) = word.strip_prefix("punix:").filter(|file| !file.is_empty()) {
        return Ok(Place::Listen(ListenOn::Unix(folder.join(file))));
    }
    if let Some(file) = word.strip_prefix("unix:").filter(|file| !file.is_empty()) {
        return Ok(Place::Connect(Endpoint::Unix(folder.join(file))));
    }
    match word.parse() {
        Ok(place) => Ok(Place::Listen(place)),
        Err(_) => word.parse().map(Place::Connect).map_err(|e: ovs_ofproto::session::EndpointError| e.to_string()),
    }
}

fn version_line() -> String {
    format!("{PROGRAM} (Open vSwitch) {}", env!("CARGO_PKG_VERSION"))
}

fn help(all: &[Opt]) -> String {
    let shown: Vec<Opt> = all.iter().filter(|o| o.name != "daemon-stage").copied().collect();
    format!(
        "{PROGRAM}: OpenFlow controller\nusage: {PROGRAM} [OPTIONS] METHOD...\nwhere METHOD is any OpenFlow connection \
         method: tcp:HOST[:PORT], ssl:HOST[:PORT], unix:FILE,\nptcp:[PORT][:IP], pssl:[PORT][:IP], punix:FILE.\n\n\
         Options:\n{}",
        getopt::describe(&shown)
    )
}

// The controller.

struct Peer {
    name: String,
    driver: Driver,
    /// The conversation, while there is one.
    switch: Option<LearningSwitch>,
    xid: u32,
}

struct Controller {
    epoch: Clock,
    config: Arc<LearningConfig>,
    session: SessionOptions,
    listeners: Vec<(String, Listener)>,
    peers: Vec<Peer>,
    accepted: u64,
    log: Vlog,
    server: Server,
    control: Option<ControlSocket>,
    leaving: Vec<InvocationKey>,
}

impl Controller {
    fn new(options: Options, log: Vlog) -> Result<Controller, String> {
        let control = match options.common.control_path() {
            Some(path) => Some(
                ControlSocket::bind(&path)
                    .map_err(|e| format!("could not initialize control socket {} ({e})", path.display()))?,
            ),
            None => None,
        };
        let mut server = Server::new(version_line());
        for (name, usage, min, max) in [
            ("exit", "", 0, 0),
            ("vlog/set", "{spec | PATTERN:destination:pattern}", 1, usize::MAX),
            ("vlog/list", "", 0, 0),
            ("vlog/list-pattern", "", 0, 0),
            ("vlog/reopen", "", 0, 0),
            ("vlog/close", "", 0, 0),
        ] {
            server.register(name, usage, min, max);
        }
        let mut controller = Controller {
            epoch: Clock::now(),
            config: Arc::new(options.config),
            session: SessionOptions { versions: options.versions, ..SessionOptions::default() },
            listeners: Vec::new(),
            peers: Vec::new(),
            accepted: 0,
            log,
            server,
            control,
            leaving: Vec::new(),
        };
        for place in options.places {
            match place {
                Place::Listen(place) => {
                    let listener = Listener::bind(&place, &options.stream).map_err(|e| format!("{place}: {e}"))?;
                    controller.listeners.push((name_of(&place), listener));
                }
                Place::Connect(place) => {
                    let name = format!("{place}");
                    let stream = options.stream.clone();
                    let driver = Driver::active(place, controller.session, stream, controller.now());
                    controller.peers.push(Peer { name, driver, switch: None, xid: 0 });
                }
            }
        }
        Ok(controller)
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    /// Does what can be done without waiting, up to a bound. True as long as the program is to go on.
    fn turn(&mut self) -> bool {
        let now = self.now();
        for (name, listener) in &self.listeners {
            while self.peers.len() < MAX_SWITCHES {
                match listener.accept() {
                    Ok(Some(stream)) => {
                        self.accepted += 1;
                        let name = format!("{name}#{}", self.accepted);
                        let driver = Driver::passive(stream, self.session, now);
                        self.peers.push(Peer { name, driver, switch: None, xid: 0 });
                    }
                    Ok(None) => break,
                    Err(e) => {
                        tracing::warn!(target: "vconn", "{name}: accept failed: {e}");
                        break;
                    }
                }
            }
        }
        for peer in &mut self.peers {
            peer.serve(&self.config, now);
        }
        self.peers.retain(|peer| peer.driver.session().is_alive());
        self.serve_control();
        self.leaving.is_empty()
    }

    fn serve_control(&mut self) {
        let Some(control) = &mut self.control else { return };
        if let Err(e) = control.run(&mut self.server) {
            tracing::warn!(target: "unixctl", "{}: accept failed: {e}", control.path().display());
        }
        while let Some(call) = self.server.poll() {
            let done = |result: Result<(), String>| match result {
                Ok(()) => Reply::Text(String::new()),
                Err(why) => Reply::Error(why),
            };
            let reply = match call.command.as_str() {
                "exit" => {
                    self.leaving.push(call.key);
                    continue;
                }
                "vlog/set" => done(call.arguments.iter().try_for_each(|spec| self.log.set(spec))),
                "vlog/list" => Reply::Text(self.log.levels()),
                "vlog/list-pattern" => Reply::Text(self.log.patterns()),
                "vlog/reopen" => done(self.log.reopen()),
                _ => {
                    self.log.close_file();
                    done(Ok(()))
                }
            };
            self.server.reply(call.key, reply);
        }
        // Said already.
        let _ = control.run(&mut self.server);
    }

    fn wait(&self, signals: &Signals) -> Result<(), String> {
        let now = self.now();
        let timeout = self.peers.iter().filter_map(|peer| peer.driver.timeout(now)).min();
        let reads = Interest { read: true, write: false };
        let has_room = self.peers.len() < MAX_SWITCHES;
        let listeners = self.listeners.iter().filter(|_| has_room).map(|(_, l)| (l.as_fd(), reads));
        let control = self.control.iter().flat_map(|c| c.interest(&self.server));
        let peers = self.peers.iter().filter_map(|peer| peer.driver.interest());
        wait(listeners.chain(control).chain(peers).chain([(signals.as_fd(), reads)]), timeout)
            .map_err(|e| format!("cannot wait: {e}"))
    }

    /// Ends: whoever asked for it is answered last.
    fn finish(mut self) {
        for key in std::mem::take(&mut self.leaving) {
            self.server.reply(key, Reply::Text(String::new()));
        }
        if let Some(control) = &mut self.control {
            let _ = control.run(&mut self.server);
        }
    }
}

fn name_of(place: &ListenOn) -> String {
    match place {
        ListenOn::Tcp { .. } => "tcp".into(),
        ListenOn::Ssl { .. } => "ssl".into(),
        _ => "unix".into(),
    }
}

impl Peer {
    fn serve(&mut self, config: &Arc<LearningConfig>, now: Instant) {
        self.driver.run(now);
        for _ in 0..SLICE {
            let Some(event) = self.driver.poll_event(now) else { break };
            match event {
                SessionEvent::Connected { version } => {
                    tracing::info!(target: "rconn", "{}: connected", self.name);
                    let switch = LearningSwitch::new(config.clone(), version);
                    let greeting = switch.greeting();
                    self.switch = Some(switch);
                    self.say(&greeting);
                }
                SessionEvent::Message(frame) => match Message::decode(frame.bytes()) {
                    Ok((_, Message::Error(error))) => {
                        tracing::info!(target: "learning_switch", "{}: the switch says {error:?}", self.name);
                    }
                    Ok((_, message)) => {
                        let answer = self.switch.as_mut().map(|s| s.handle(&message, now)).unwrap_or_default();
                        self.say(&answer);
                    }
                    Err(e) => tracing::warn!(target: "learning_switch", "{}: a message is passed over: {e}", self.name),
                },
                SessionEvent::Closed(reason) => {
                    tracing::info!(target: "rconn", "{}: {reason}", self.name);
                    self.switch = None;
                }
            }
        }
        self.driver.run(now);
    }

    fn say(&mut self, messages: &[Message]) {
        let Some(version) = self.driver.session().version() else { return };
        for message in messages {
            self.xid = self.xid.wrapping_add(1).max(1);
            let bytes = message.encode(version, self.xid).map_err(|e| e.to_string());
            let sent = bytes.and_then(|bytes| {
                let frame = Frame::new(bytes).map_err(|e| e.to_string())?;
                self.driver.send(&frame, Class::Other).map_err(|e| e.to_string())
            });
            if let Err(e) = sent {
                tracing::warn!(target: "learning_switch", "{}: a message is not sent: {e}", self.name);
            }
        }
    }
}
