//! The OpenFlow connections of all bridges: controllers that are connected to, controllers that connect, the management
//! socket `BRIDGE.mgmt`, and `BRIDGE.snoop`, where what is said with controllers can be heard.
//!
//! This is an edge: it has sockets. It obeys messages of each connection for a bounded time before everything else has its
//! turn.
//!
//! Messages are shown in the log of module `vconn` at level DBG, as upstream does it.

mod in_band;
mod target;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant as Clock};

use ovs_dpif::Dpif;
use ovs_ofproto::codec::{Hello, Message, Version, Versions};
use ovs_ofproto::pipeline::{ConnectionConfig, ConnectionId, ConnectionKind, Ofproto, RateLimit};
use ovs_ofproto::session::edge::{Driver, Interest, Listener, Ready, StreamOptions, TlsConfig};
use ovs_ofproto::session::{
    Class, Frame, ListenOn, ReconnectOptions, ReconnectState, Role, SessionEvent, SessionOptions,
};
use ovs_ofproto::text;
use ovs_packet::Instant;

use crate::config::{ControllerConfig, Settings};
use crate::vswitch::{Bridge, Vswitch};
use in_band::InBand;
use target::Place;

/// Messages of one connection that are obeyed before the others have their turn: so many, or as many as are obeyed in this
/// time, which is looked at now and then.
const SLICE: usize = 1024;
const SPELL: Duration = Duration::from_millis(1);
const LOOK_EVERY: usize = 8;

/// Messages that the bridge is asked for on one connection before the others have their turn.
const MESSAGES: usize = 64;

/// Bytes that wait to be sent on a connection, above which the bridge is not asked for more.
const MAX_QUEUED: usize = 256 << 10;

/// Connections of a bridge, at most.
const MAX_CONNECTIONS: usize = 64;

/// Silence after which a controller is probed, at least.
const MIN_PROBE: Duration = Duration::from_secs(5);

/// How long the other end of a management connection may be silent.
const MANAGEMENT_PROBE: Duration = Duration::from_secs(60);

/// Of what kind a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// To a controller that the configuration names: it hears of packets and changes.
    Primary,
    /// From somebody who asks: a tool, or a controller that connects.
    Service,
    /// From somebody who listens only.
    Snoop,
}

#[derive(Debug)]
struct Connection {
    kind: Kind,
    name: String,
    driver: Driver,
    /// What was configured, of an active one.
    target: Option<String>,
    /// What the bridge calls it, while it is connected.
    id: Option<ConnectionId>,
    rate_limit: Option<RateLimit>,
    versions: Versions,
    probe: Option<Duration>,
    /// It was probed and has not answered yet.
    is_idle: bool,
}

/// How much of what a connection says is listened to before the others have their turn.
#[derive(Debug)]
struct Slice {
    began: Clock,
    left: usize,
}

impl Slice {
    fn new() -> Slice {
        Slice { began: Clock::now(), left: SLICE }
    }

    fn count(&mut self) {
        self.left -= 1;
        if self.left.is_multiple_of(LOOK_EVERY) && self.began.elapsed() >= SPELL {
            self.left = 0;
        }
    }

    fn is_over(&self) -> bool {
        self.left == 0
    }
}

#[derive(Debug)]
struct Passive {
    kind: Kind,
    target: String,
    prefix: &'static str,
    probe: Option<Duration>,
    listener: Listener,
}

#[derive(Debug, Default)]
struct Service {
    versions: Versions,
    passives: Vec<Passive>,
    connections: Vec<Connection>,
    accepted: u64,
    controllers: Vec<ControllerConfig>,
    /// Targets that are nothing to connect to or listen on, and why.
    refused: BTreeMap<String, String>,
    in_band: InBand,
    /// Connections that are to be forgotten.
    gone: Vec<ConnectionId>,
}

/// What is known of a controller (the Controller table's status columns).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ControllerStatus {
    /// Whether there is a connection.
    pub is_connected: bool,
    /// Its role.
    pub role: Option<&'static str>,
    /// When it came and went, and why.
    pub status: Settings,
}

/// The OpenFlow connections of all bridges. See the [module](self).
#[derive(Debug)]
pub struct OpenFlow {
    folder: PathBuf,
    is_confined: bool,
    stream: StreamOptions,
    services: BTreeMap<String, Service>,
}

impl OpenFlow {
    /// No connections yet. Sockets are in `folder`; the database may name sockets elsewhere unless `is_confined`.
    pub fn new(folder: impl Into<PathBuf>, is_confined: bool) -> OpenFlow {
        OpenFlow { folder: folder.into(), is_confined, stream: StreamOptions::default(), services: BTreeMap::new() }
    }

    // Configuration.

    /// Uses these keys for `ssl:` and `pssl:`. What speaks TLS is made anew by the next [`configure`](Self::configure).
    pub fn set_tls(&mut self, keys: TlsConfig) {
        self.stream.tls = Some(keys);
        for service in self.services.values_mut() {
            service.passives.retain(|p| !p.target.starts_with("pssl:"));
            let is_tls = |target: &str| target.starts_with("ssl:");
            service.gone.extend(
                service.connections.iter().filter(|c| c.target.as_deref().is_some_and(is_tls)).filter_map(|c| c.id),
            );
            service.connections.retain(|c| !c.target.as_deref().is_some_and(is_tls));
            service.controllers.retain(|c| !is_tls(&c.target));
        }
    }

    /// Listens and connects as the bridges of a switch are configured. What is as it was stays connected.
    pub fn configure(&mut self, switch: &Vswitch, now: Instant) {
        self.services.retain(|name, _| switch.bridge(name).is_some());
        for bridge in switch.bridges() {
            let service = self.services.entry(bridge.name().to_string()).or_default();
            service.configure(bridge, &self.stream, &self.folder, self.is_confined, now);
        }
    }

    /// Has all connections of a bridge, or of all, made anew.
    ///
    /// # Errors
    /// If there is no such bridge.
    pub fn reconnect(&mut self, bridge: Option<&str>, now: Instant) -> Result<(), String> {
        if let Some(name) = bridge.filter(|name| !self.services.contains_key(*name)) {
            return Err(format!("{name}: no such bridge"));
        }
        for (_, service) in self.services.iter_mut().filter(|(name, _)| bridge.is_none_or(|b| b == *name)) {
            service.connections.iter_mut().for_each(|c| c.driver.session_mut().close(now, "reconnect was asked for"));
        }
        Ok(())
    }

    /// Closes everything.
    pub fn close(&mut self) {
        self.services.clear();
    }

    // Queries.

    /// What is known of a controller of a bridge, by its target; of one that connects itself only why it cannot.
    pub fn controller(&self, switch: &Vswitch, bridge: &str, target: &str, now: Instant) -> Option<ControllerStatus> {
        let service = self.services.get(bridge)?;
        if let Some(why) = service.refused.get(target) {
            let status = Settings::from([("last_error".into(), why.clone())]);
            return Some(ControllerStatus { status, ..ControllerStatus::default() });
        }
        let connection = service.connections.iter().find(|c| c.target.as_deref() == Some(target))?;
        let role = connection.id.zip(switch.ofproto(bridge)).map(|(id, of)| of.role(id));
        Some(status(connection, role, now))
    }

    /// How many connections there are, and how many wait for something.
    pub fn count(&self) -> usize {
        self.services.values().map(|s| s.connections.len()).sum()
    }

    // Work.

    /// Does all that can be done without waiting, up to a bound. True if there may be more.
    /// What is not ready is not asked.
    pub fn run(&mut self, switch: &mut Vswitch, ready: &Ready, now: Instant) -> bool {
        let mut more = false;
        for (name, service) in &mut self.services {
            service.accept(ready, now);
            service.in_band.run(name, switch, now);
            more |= service.serve(name, switch, ready, now);
            for c in service.gone.drain(..) {
                switch.with_ofproto(name, now, |of, _| of.disconnect(c));
            }
            service.connections.retain_mut(|c| {
                let stays = c.target.is_some() || c.driver.session().is_alive();
                if !stays {
                    c.leave(name, switch, now);
                }
                stays
            });
        }
        more
    }

    /// The descriptors to wait for, and what for.
    pub fn interest(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        self.services.values().flat_map(|s| {
            let listening = s.passives.iter().map(|p| (p.listener.as_fd(), Interest { read: true, write: false }));
            listening.chain(s.connections.iter().filter_map(|c| c.driver.interest()))
        })
    }

    /// How long to wait at most, if nothing happens to a descriptor.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        let connections = self.services.values().flat_map(|s| &s.connections).filter_map(|c| c.driver.timeout(now));
        connections.chain(self.services.values().filter_map(|s| s.in_band.timeout(now))).min()
    }
}

fn status(connection: &Connection, role: Option<Role>, now: Instant) -> ControllerStatus {
    let session = connection.driver.session();
    let reconnect = session.reconnect();
    let state = match reconnect.state() {
        ReconnectState::Void => "VOID",
        ReconnectState::Backoff => "BACKOFF",
        ReconnectState::Connecting => "CONNECTING",
        ReconnectState::Idle => "IDLE",
        _ => "ACTIVE",
    };
    let mut status = Settings::from([("state".to_string(), state.to_string())]);
    if let Some(reason) = session.last_close() {
        status.insert("last_error".into(), reason.to_string());
    }
    for (key, at) in
        [("sec_since_connect", reconnect.last_connected()), ("sec_since_disconnect", reconnect.last_disconnected())]
    {
        if let Some(at) = at {
            status.insert(key.into(), now.since(at).as_secs().to_string());
        }
    }
    let is_connected = session.is_connected();
    let role = role.map(|role| match role {
        Role::Primary => "master",
        Role::Secondary => "slave",
        _ => "other",
    });
    ControllerStatus { is_connected, role, status }
}

impl Service {
    fn configure(&mut self, bridge: &Bridge, stream: &StreamOptions, folder: &Path, is_confined: bool, now: Instant) {
        let name = bridge.name();
        let versions = bridge.versions();
        if versions != self.versions {
            // Those who speak a version that is not allowed any more must go; all others need not know.
            for c in &mut self.connections {
                let spoken = c.driver.session().version();
                if c.driver.session().is_connected() && spoken.is_some_and(|v| !versions.contains(v)) {
                    c.driver.session_mut().close(now, "its version of OpenFlow is not allowed any more");
                }
                if c.target.is_some() {
                    c.driver.session_mut().set_options(options(versions, Some(Duration::from_secs(5)), None));
                }
            }
            self.versions = versions;
        }
        let mut passives = vec![
            (
                Kind::Service,
                format!("punix:{name}.mgmt"),
                Place::Listen(ListenOn::Unix(folder.join(format!("{name}.mgmt")))),
            ),
            (
                Kind::Snoop,
                format!("punix:{name}.snoop"),
                Place::Listen(ListenOn::Unix(folder.join(format!("{name}.snoop")))),
            ),
        ];
        let mut actives = Vec::new();
        let refused = std::mem::take(&mut self.refused);
        for controller in &bridge.config().controllers {
            match target::place(&controller.target, name, folder, is_confined) {
                Ok(place @ Place::Listen(_)) => passives.push((Kind::Service, controller.target.clone(), place)),
                Ok(Place::Connect(endpoint)) => actives.push((controller, endpoint)),
                Err(why) => {
                    if refused.get(&controller.target) != Some(&why) {
                        tracing::error!(target: "bridge", "{why}");
                    }
                    self.refused.insert(controller.target.clone(), why);
                }
            }
        }
        self.passives.retain(|p| passives.iter().any(|(kind, target, _)| (*kind, target) == (p.kind, &p.target)));
        for (kind, target, place) in passives {
            if let Place::Listen(place) = place
                && !self.passives.iter().any(|p| p.target == target)
            {
                self.listen(kind, target, &place, stream);
            }
        }
        self.connections.retain(|c| {
            let stays = c.target.as_ref().is_none_or(|t| actives.iter().any(|(a, _)| a.target == *t));
            self.gone.extend(c.id.filter(|_| !stays));
            stays
        });
        let reached_through = actives.iter().filter(|(controller, _)| !controller.is_out_of_band).map(|(_, e)| e);
        self.in_band.configure(bridge, reached_through, now);
        for (controller, endpoint) in actives {
            let probe = controller.inactivity_probe.map_or(5000, |ms| if ms == 0 { 0 } else { ms.max(5000) });
            let probe = (probe > 0).then(|| Duration::from_millis(probe));
            let backoff = controller.max_backoff.map(|ms| Duration::from_millis(ms.max(1000)));
            let options = options(versions, probe, backoff);
            if self.controllers.contains(controller) {
                continue;
            }
            let known = self.connections.iter_mut().find(|c| c.target.as_deref() == Some(&controller.target));
            match known {
                Some(c) => c.driver.session_mut().set_options(options),
                None => {
                    let rate_limit = rate_limit(controller);
                    let mut driver = Driver::active(endpoint, options, stream.clone(), now);
                    if controller.inactivity_probe.is_some() {
                        // Asked for, a peer is probed even where its end would be noticed without.
                        driver.session_mut().set_options(options);
                    }
                    let target = controller.target.clone();
                    let name = format!("{name}<->{target}");
                    tracing::info!(target: "rconn", "{name}: connecting...");
                    self.connections.push(Connection {
                        kind: Kind::Primary,
                        name,
                        driver,
                        target: Some(target),
                        id: None,
                        rate_limit,
                        versions,
                        probe,
                        is_idle: false,
                    });
                }
            }
        }
        self.controllers.clone_from(&bridge.config().controllers);
    }

    fn listen(&mut self, kind: Kind, target: String, place: &ListenOn, stream: &StreamOptions) {
        let prefix = match place {
            ListenOn::Unix(_) => "unix",
            ListenOn::Ssl { .. } => "ssl",
            _ => "tcp",
        };
        let probe = (kind == Kind::Service).then_some(MANAGEMENT_PROBE);
        match Listener::bind(place, stream) {
            Ok(listener) => {
                if let Some(address) = listener.address() {
                    tracing::info!(
                        target: "socket_util", "0:{}: listening on port {}", address.ip(), address.port()
                    );
                }
                self.passives.push(Passive { kind, target, prefix, probe, listener });
            }
            Err(e) => {
                tracing::error!(target: "connmgr", "{target}: listen failed ({e})");
                self.refused.insert(target, format!("listen failed: {e}"));
            }
        }
    }

    fn accept(&mut self, ready: &Ready, now: Instant) {
        for passive in self.passives.iter().filter(|p| ready.has(&p.listener)) {
            while self.connections.len() < MAX_CONNECTIONS {
                match passive.listener.accept() {
                    Ok(Some(stream)) => {
                        let name = format!("{}#{}", passive.prefix, self.accepted);
                        self.accepted += 1;
                        let mut options = options(self.versions, passive.probe, None);
                        // What is heard is of the version in which it was said.
                        options.any_version = passive.kind == Kind::Snoop;
                        let mut driver = Driver::passive(stream, options, now);
                        if passive.probe.is_some() {
                            // Managers are probed even where their end would be noticed without.
                            driver.session_mut().set_options(options);
                        }
                        self.connections.push(Connection {
                            kind: passive.kind,
                            name,
                            driver,
                            target: None,
                            id: None,
                            rate_limit: None,
                            versions: self.versions,
                            probe: passive.probe,
                            is_idle: false,
                        });
                    }
                    Ok(None) => break,
                    Err(e) => {
                        tracing::warn!(target: "connmgr", "{}: accept failed ({e})", passive.target);
                        break;
                    }
                }
            }
        }
    }

    /// Obeys what came in, and says what there is to say. True if there may be more.
    fn serve(&mut self, bridge: &str, switch: &mut Vswitch, ready: &Ready, now: Instant) -> bool {
        let mut more = false;
        let mut heard = Vec::new();
        // What came to one since the wait may have been said before what came to another: so all are asked when one is ready.
        let is_any_ready = self.connections.iter().any(|c| c.driver.stream().is_some_and(|stream| ready.has(stream)));
        for c in &mut self.connections {
            let mut slice = Slice::new();
            let mut is_ready = is_any_ready;
            loop {
                c.driver.run_ready(now, std::mem::take(&mut is_ready));
                c.hear(bridge, switch, &mut slice, &mut heard, now);
                more |= c.say(bridge, switch, &mut heard, now);
                c.driver.flush(now);
                // A peer that sends much has more by now: that is not to wait for the next wake.
                if slice.is_over() || !c.driver.may_read() {
                    more |= slice.is_over() || c.driver.session().is_unread() && c.takes_input(bridge, switch);
                    break;
                }
            }
            c.log_silence();
        }
        self.snoop(&heard, now);
        more
    }

    /// Has those who listen hear what was said with controllers.
    fn snoop(&mut self, heard: &[Frame], now: Instant) {
        for c in self.connections.iter_mut().filter(|c| c.kind == Kind::Snoop) {
            for frame in heard {
                // Whoever listens too slowly misses something.
                let _ = c.driver.send(frame, Class::Monitor);
            }
            c.driver.flush(now);
        }
        if !heard.is_empty() {
            self.connections.iter_mut().for_each(|c| c.driver.flush(now));
        }
    }
}

impl Connection {
    /// Whether the bridge looks at what comes now.
    fn takes_input(&self, bridge: &str, switch: &Vswitch) -> bool {
        self.id.is_none_or(|id| switch.ofproto(bridge).is_some_and(|of| of.wants_input(id)))
    }

    /// Looks at what came in, as far as the bridge does.
    fn hear(&mut self, bridge: &str, switch: &mut Vswitch, slice: &mut Slice, heard: &mut Vec<Frame>, now: Instant) {
        while !slice.is_over() {
            let event = match self.id {
                Some(id) => {
                    switch.with_ofproto(bridge, now, |of, dp| self.obey(of, dp, id, slice, heard, now)).flatten()
                }
                None => self.driver.poll_event(now),
            };
            let Some(event) = event else { return };
            slice.count();
            self.handle(bridge, switch, event, now);
        }
    }

    /// Has the bridge obey messages, until something else comes.
    fn obey(
        &mut self,
        of: &mut Ofproto,
        dp: &mut dyn Dpif,
        id: ConnectionId,
        slice: &mut Slice,
        heard: &mut Vec<Frame>,
        now: Instant,
    ) -> Option<SessionEvent> {
        while !slice.is_over() && of.wants_input(id) {
            let frame = match self.driver.poll_event(now)? {
                SessionEvent::Message(frame) => frame,
                other => return Some(other),
            };
            slice.count();
            log(&self.name, "received", frame.bytes());
            if let Err(e) = of.handle_message(dp, id, frame.bytes(), now) {
                self.driver.session_mut().close(now, &e.to_string());
            }
            if self.kind == Kind::Primary {
                heard.push(frame);
            }
        }
        None
    }

    fn handle(&mut self, bridge: &str, switch: &mut Vswitch, event: SessionEvent, now: Instant) {
        match event {
            // Whoever only listens is not obeyed.
            SessionEvent::Message(_) => {}
            SessionEvent::Connected { version } => {
                self.log_hello(version);
                if self.target.is_some() {
                    tracing::info!(target: "rconn", "{}: connected", self.name);
                }
                let mut config = ConnectionConfig::new(version);
                config.rate_limit = self.rate_limit;
                config.name = Some(match self.target {
                    Some(_) => self.name.clone(),
                    None => format!("{bridge}<->{}", self.name),
                });
                config.kind = match self.kind {
                    Kind::Primary => ConnectionKind::Primary,
                    Kind::Service => ConnectionKind::Service,
                    // Whoever listens is no connection to the switch.
                    Kind::Snoop => return,
                };
                self.id = switch.with_ofproto(bridge, now, |of, _| of.connect(&config));
            }
            SessionEvent::Closed(reason) => {
                if self.target.is_some() {
                    tracing::info!(target: "rconn", "{}: {reason}", self.name);
                } else {
                    tracing::debug!(target: "rconn", "{}: {reason}", self.name);
                }
                self.leave(bridge, switch, now);
            }
        }
    }

    /// Shows how the version was agreed upon.
    fn log_hello(&self, version: Version) {
        if !tracing::enabled!(target: "vconn", tracing::Level::DEBUG) {
            return;
        }
        let session = self.driver.session();
        let ours = self.versions;
        let own = ours.highest().and_then(|v| Message::Hello(Hello::new(ours)).encode(v, 0).ok());
        own.iter().for_each(|bytes| log(&self.name, "sent (Success)", bytes));
        let Some(theirs) = session.peer_hello() else { return };
        log(&self.name, "received", theirs.bytes());
        let known = match Message::decode(theirs.bytes()) {
            Ok((_, Message::Hello(hello))) => hello.versions(theirs.version()),
            _ => Versions::default(),
        };
        tracing::debug!(
            target: "vconn",
            "{}: negotiated OpenFlow version {:#04x} (we support {}, peer supports {})",
            self.name, version.0, in_words(ours), in_words(known)
        );
    }

    /// Shows that the other end is silent.
    fn log_silence(&mut self) {
        let reconnect = self.driver.session().reconnect();
        let is_idle = reconnect.state() == ReconnectState::Idle;
        if is_idle && !std::mem::replace(&mut self.is_idle, is_idle) {
            let seconds = self.probe.unwrap_or_default().as_secs();
            tracing::debug!(target: "rconn", "{}: idle {seconds} seconds, sending inactivity probe", self.name);
        }
        self.is_idle = is_idle;
    }

    /// Has the bridge forget the connection.
    fn leave(&mut self, bridge: &str, switch: &mut Vswitch, now: Instant) {
        if let Some(id) = self.id.take() {
            switch.with_ofproto(bridge, now, |of, _| of.disconnect(id));
        }
    }

    /// Sends what the bridge has to say, as much as may wait. True if there may be more.
    fn say(&mut self, bridge: &str, switch: &mut Vswitch, heard: &mut Vec<Frame>, now: Instant) -> bool {
        let Some(id) = self.id else { return false };
        for _ in 0..MESSAGES {
            if self.driver.session().queued().bytes >= MAX_QUEUED {
                self.driver.flush(now);
                if self.driver.session().queued().bytes >= MAX_QUEUED {
                    // It goes on when the other end has read.
                    return false;
                }
            }
            let output = switch.with_ofproto(bridge, now, |of, dp| of.poll_output(dp, id, now)).flatten();
            let Some(output) = output else { return false };
            log(&self.name, "sent (Success)", &output.message);
            let Ok(frame) = Frame::new(output.message) else { continue };
            if let Err(e) = self.driver.send(&frame, output.class) {
                tracing::debug!(target: "rconn", "{}: a message is not sent: {e}", self.name);
            }
            if self.kind == Kind::Primary {
                heard.push(frame);
            }
        }
        true
    }
}

/// How many packets a controller gets (columns `controller_rate_limit`, `controller_burst_limit`, `controller_queue_size`).
fn rate_limit(controller: &ControllerConfig) -> Option<RateLimit> {
    let rate = controller.rate_limit.filter(|r| *r > 0)?;
    let mut limit = RateLimit::new(rate.max(100), controller.burst_limit.unwrap_or(0));
    limit.queue = controller.queue_size.map_or(limit.queue, |n| n as usize);
    Some(limit)
}

/// A set of versions as upstream's log says it.
fn in_words(versions: Versions) -> String {
    match versions.highest() {
        None => "no version".into(),
        Some(v) if versions == Versions::up_to(v) && v > Version::V1_0 => format!("version {:#04x} and earlier", v.0),
        Some(v) if versions.iter().count() == 1 => format!("version {:#04x}", v.0),
        Some(_) => {
            let all: Vec<String> = versions.iter().map(|v| format!("{:#04x}", v.0)).collect();
            format!("versions {}", all.join(", "))
        }
    }
}

/// Shows a message in the log.
fn log(name: &str, what: &str, bytes: &[u8]) {
    if tracing::enabled!(target: "vconn", tracing::Level::DEBUG) {
        let text = text::ofp_print(bytes, 1);
        tracing::debug!(target: "vconn", "{name}: {what}: {}", text.trim_end());
    }
}

fn options(versions: Versions, probe: Option<Duration>, backoff: Option<Duration>) -> SessionOptions {
    let usual = ReconnectOptions::default();
    let reconnect = ReconnectOptions {
        probe_interval: probe.map(|probe| probe.max(MIN_PROBE)),
        max_backoff: backoff.unwrap_or(Duration::from_secs(8)),
        ..usual
    };
    SessionOptions { versions, reconnect, ..SessionOptions::default() }
}
