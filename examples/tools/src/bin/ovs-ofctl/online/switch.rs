//! A connection to a switch.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use ovs_db::unixctl::run_directory;
use ovs_ofproto::codec::{Kind, Message, Page, Port, PortRequest, Version, Versions};
use ovs_ofproto::session::edge::{Client, ClientError, ClientOptions, StreamOptions, TlsConfig, TlsOptions};
use ovs_ofproto::session::{CloseReason, Echoes, Endpoint, Frame};
use ovs_ofproto::text::{NoNames, PortNames, Protocols, ofp_print};
use ovs_packet::{Instant, OfPort};

use crate::context::{Context, Done, Failure};
use crate::offline::print::{as_json, print};

/// How long to wait for a switch that says nothing, where upstream waits for ever; -t is for less.
const PATIENCE: Duration = Duration::from_secs(60);

/// The length of a message from which on not even a port has room, which has at most 64 bytes before OpenFlow 1.3.
const MOST_WITH_ROOM: u16 = u16::MAX - 64;

/// Which socket of a bridge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    /// That for commands.
    Management,
    /// That on which the conversations with controllers can be listened to.
    Snoop,
}

/// A switch that is spoken to.
pub(crate) struct Switch {
    client: Client,
    /// What it is called in messages.
    name: String,
    /// The form in which it takes flows now.
    protocol: Protocols,
}

/// The place that a name means.
fn endpoint(name: &str, socket: Socket) -> Result<(Endpoint, String), Failure> {
    if name.contains(':') {
        let place = name.parse::<Endpoint>().map_err(|e| format!("connecting to {name} ({e})"))?;
        return Ok((place, name.to_string()));
    }
    let suffix = if socket == Socket::Management { "mgmt" } else { "snoop" };
    let directory = run_directory(std::env::var_os("OVS_RUNDIR"));
    // A bridge may stand behind the type of its datapath: netdev@br0.
    let bridge = name.split_once('@').map_or(name, |(_, bridge)| bridge);
    let places =
        [PathBuf::from(name), directory.join(format!("{name}.{suffix}")), directory.join(format!("{bridge}.{suffix}"))];
    match places.into_iter().find(|path| path.exists()) {
        Some(path) => {
            let called = format!("unix:{}", path.display());
            Ok((Endpoint::Unix(path), called))
        }
        None => Err(format!("{name} is not a bridge or a socket").into()),
    }
}

fn stream_options(context: &Context) -> Result<StreamOptions, Failure> {
    let mut stream = StreamOptions::default();
    let options = &context.options;
    if let (Some(private_key), Some(certificate)) = (&options.private_key, &options.certificate) {
        let ca_certificate = options.ca_cert.clone().filter(|ca| ca.as_os_str() != "none");
        let (private_key, certificate) = (private_key.clone(), certificate.clone());
        let files = TlsOptions { private_key, certificate, ca_certificate, ..TlsOptions::default() };
        stream.tls = Some(TlsConfig::load(&files).map_err(|e| e.to_string())?);
    }
    Ok(stream)
}

/// A clock that begins when it is made.
pub(crate) fn clock() -> impl Fn() -> Instant + Clone + 'static {
    let epoch = std::time::Instant::now();
    move || Instant::ZERO + epoch.elapsed()
}

impl Switch {
    /// Connects to the switch that `name` names.
    pub(crate) fn open(context: &Context, name: &str) -> Result<Switch, Failure> {
        Switch::open_socket(context, name, Socket::Management)
    }

    /// Connects to one of its sockets.
    pub(crate) fn open_socket(context: &Context, name: &str, socket: Socket) -> Result<Switch, Failure> {
        Switch::open_in(context, name, socket, context.versions)
    }

    fn open_in(context: &Context, name: &str, socket: Socket, versions: Versions) -> Result<Switch, Failure> {
        let (place, called) = endpoint(name, socket)?;
        let stream = stream_options(context)?;
        // What is sent by hand may be of any version, and what is listened to is.
        let monitors = context.options.words.first().is_some_and(|w| w == "monitor");
        let any_version = socket == Socket::Snoop || monitors;
        let echoes = match socket {
            Socket::Snoop => Echoes::Told,
            _ if monitors => Echoes::AnsweredAndTold,
            _ => Echoes::Answered,
        };
        let xids = context.xids.clone();
        // Upstream's tool numbers its hellos too.
        xids.allocate();
        let options = ClientOptions { any_version, echoes, versions, timeout: Some(PATIENCE), xids, stream };
        let client = Client::connect(&place, options, clock()).map_err(|e| match &e {
            _ if name.contains(':') => Failure::from(format!("connecting to {name} ({e})")),
            _ => format!("{name}: failed to connect to socket ({e})").into(),
        })?;
        let version = client.version();
        let protocol = Protocols::of_versions([version].into_iter().collect()).first();
        let protocol = protocol.ok_or_else(|| format!("{name}: unsupported OpenFlow version 0x{:02x}", version.0))?;
        Ok(Switch { client, name: called, protocol })
    }

    /// Connects, and agrees on a form of flows: that in which the switch begins if it is usable, or else the first.
    pub(crate) fn open_for_flows(context: &Context, name: &str, usable: Protocols) -> Result<Switch, Failure> {
        let allowed = usable & context.protocols;
        if allowed.is_empty() {
            let says = "none of the usable flow formats";
            return Err(format!("{says} ({usable}) is among the allowed flow formats ({})", context.protocols).into());
        }
        let mut switch = Switch::open(context, name)?;
        if allowed.contains(switch.protocol) {
            return Ok(switch);
        }
        for want in allowed.iter() {
            if want != switch.protocol && switch.try_protocol(want)? {
                return Ok(switch);
            }
        }
        Err(format!("switch does not support any of the usable flow formats ({usable})").into())
    }

    /// Agrees on the form in which flows are told: the newest version, then Nicira's fields, then those of OpenFlow 1.0.
    pub(crate) fn agree_for_dump(&mut self, context: &Context, usable: Protocols) -> Done {
        let order = [
            Protocols::OF15,
            Protocols::OF14,
            Protocols::OF13,
            Protocols::OF12,
            Protocols::OF11,
            Protocols::NXM,
            Protocols::OF10,
        ];
        for want in order {
            if (usable & context.protocols).contains(want) && self.try_protocol(want)? {
                return Ok(());
            }
        }
        match (usable & context.protocols).is_empty() {
            false => Err(format!("switch does not support any of the usable flow formats ({usable})").into()),
            true => Err(format!(
                "none of the usable flow formats ({usable}) is among the allowed flow formats ({})",
                context.protocols
            )
            .into()),
        }
    }

    /// Has the switch take flows in another form of its version; false if it does not.
    fn try_protocol(&mut self, want: Protocols) -> Result<bool, Failure> {
        if want.version() != Some(self.version()) {
            return Ok(false);
        }
        while self.protocol != want {
            let (message, next) = match self.protocol.is_nxm() == want.is_nxm() {
                false => {
                    let next = if want.is_nxm() { Protocols::NXM } else { Protocols::OF10 };
                    let next = next.with_table_id(self.protocol.intersects(Protocols::TABLED));
                    (Message::SetFlowFormat(if want.is_nxm() { 2 } else { 0 }), next)
                }
                true => {
                    let on = want.intersects(Protocols::TABLED);
                    (Message::FlowModTableId(on), self.protocol.with_table_id(on))
                }
            };
            let frame = self.frame(&message)?;
            let refused = self.client.transact_noreply(vec![frame]).map_err(|e| self.talking(&e))?;
            if !refused.is_empty() {
                return Ok(false);
            }
            self.protocol = next;
        }
        Ok(true)
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The version that is spoken.
    pub(crate) fn version(&self) -> Version {
        self.client.version()
    }

    /// The form in which it takes flows.
    pub(crate) fn protocol(&self) -> Protocols {
        self.protocol
    }

    /// What runs the connection, for one who waits for other things too.
    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// What went wrong with the connection.
    pub(crate) fn talking(&self, error: &ClientError) -> Failure {
        let why = match error {
            ClientError::Closed(CloseReason::Peer) => "End of file".to_string(),
            error => error.to_string(),
        };
        format!("talking to {} ({why})", self.name).into()
    }

    /// A message as it is sent here.
    pub(crate) fn frame(&self, message: &Message) -> Result<Frame, Failure> {
        let bytes = message.encode(self.version(), 0).map_err(|e| e.to_string())?;
        Frame::new(bytes).map_err(|e| e.to_string().into())
    }

    /// The same in one of several kinds that say it.
    pub(crate) fn frame_as(&self, kind: Kind, message: &Message) -> Result<Frame, Failure> {
        let bytes = message.encode_as(kind, self.version(), 0).map_err(|e| e.to_string())?;
        Frame::new(bytes).map_err(|e| e.to_string().into())
    }

    /// Sends a request, and gives the answer, which may be an error.
    pub(crate) fn ask(&mut self, request: Frame) -> Result<Frame, Failure> {
        match self.client.transact(request) {
            Ok(reply) => Ok(reply),
            Err(ClientError::Refused(error)) => Ok(error.to_frame()),
            Err(e) => Err(self.talking(&e)),
        }
    }

    /// Sends a request, and gives the answer as a value.
    pub(crate) fn answer(&mut self, request: &Message) -> Result<Message, Failure> {
        let request = self.frame(request)?;
        let reply = self.ask(request)?;
        Message::decode(reply.bytes()).map(|(_, reply)| reply).map_err(|e| e.to_string().into())
    }

    /// Sends a request, and hands on each part of the answer, the last of which may be an error.
    pub(crate) fn ask_each(&mut self, request: Frame, each: impl FnMut(&[u8]) -> Done) -> Done {
        self.ask_in_parts(vec![request], each)
    }

    /// The same with a request in several parts.
    pub(crate) fn ask_in_parts(&mut self, request: Vec<Frame>, mut each: impl FnMut(&[u8]) -> Done) -> Done {
        let mut done = Ok(());
        let asked = self.client.transact_each(request, |frame| {
            if done.is_ok() {
                done = each(frame.bytes());
            }
        });
        done?;
        match asked {
            Ok(()) => Ok(()),
            Err(ClientError::Refused(error)) => each(error.to_frame().bytes()),
            Err(e) => Err(self.talking(&e)),
        }
    }

    /// Sends a request, and prints the answer.
    pub(crate) fn dump(&mut self, context: &mut Context, request: Frame) -> Done {
        context.names = Names::to_show(context, context.argument(0));
        let verbosity = context.verbosity(1);
        self.ask_each(request, |bytes| print(context, bytes, verbosity))
    }

    /// Sends requests that have no answer, and waits until they are done. The first that is refused ends the program.
    pub(crate) fn tell(&mut self, context: &Context, requests: Vec<Frame>) -> Done {
        let errors = self.client.transact_noreply(requests).map_err(|e| self.talking(&e))?;
        let Some((_, error)) = errors.first() else { return Ok(()) };
        Err(refused(context.options.is_json(), error.to_frame().bytes(), context.verbosity(2)))
    }

    /// A transaction id that no other message has.
    pub(crate) fn next_xid(&mut self) -> u32 {
        self.client.allocate_xid()
    }

    /// The names of its tables, as versions before OpenFlow 1.3 tell them with their statistics, later ones with their
    /// features.
    fn table_names(&mut self) -> Result<Vec<(u8, String)>, Failure> {
        let asks = match self.version() < Version::V1_3 {
            true => Message::TableStatsRequest,
            false => Message::TableFeaturesRequest(Page::default()),
        };
        let mut names = Vec::new();
        let request = self.frame(&asks)?;
        self.ask_each(request, |bytes| {
            match Message::decode(bytes) {
                Ok((_, Message::TableStatsReply(page))) => {
                    let features = page.items.into_iter().filter_map(|t| t.features);
                    names.extend(features.map(|f| (f.table, f.name)));
                }
                Ok((_, Message::TableFeaturesReply(page))) => {
                    names.extend(page.items.into_iter().map(|f| (f.table, f.name)));
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(names)
    }

    /// Its ports. Versions before OpenFlow 1.3 tell them with what the switch can do, as long as they have room there.
    pub(crate) fn ports(&mut self) -> Result<Vec<Port>, Failure> {
        if self.version() < Version::V1_3 {
            let request = self.frame(&Message::FeaturesRequest)?;
            let reply = self.ask(request)?;
            if let Ok((header, Message::FeaturesReply(features))) = Message::decode(reply.bytes())
                && header.length < MOST_WITH_ROOM
            {
                return Ok(features.ports);
            }
        }
        let mut ports = Vec::new();
        let request = self.frame(&Message::PortDescRequest(PortRequest::default()))?;
        self.ask_each(request, |bytes| {
            if let Ok((_, Message::PortDescReply(page))) = Message::decode(bytes) {
                ports.extend(page.items);
            }
            Ok(())
        })?;
        Ok(ports)
    }
}

/// Says what a switch answered where it should have obeyed.
pub(super) fn refused(json: bool, answer: &[u8], verbosity: u8) -> Failure {
    match json {
        true => eprintln!("{}", as_json(answer)),
        false => eprint!("{}", ofp_print(answer, verbosity)),
    }
    Failure::Status(ExitCode::FAILURE)
}

/// The ports and flow tables of a switch by name. It is asked for either when the first name is met, by a connection of its
/// own.
pub(crate) struct Names<'c> {
    context: &'c Context,
    name: String,
    ports: OnceCell<BTreeMap<String, OfPort>>,
    tables: OnceCell<BTreeMap<String, u8>>,
}

/// What ports and tables are called.
#[derive(Default)]
struct Known {
    ports: BTreeMap<String, OfPort>,
    tables: BTreeMap<String, u8>,
}

fn called(tables: &BTreeMap<String, u8>, table: u8) -> Option<&str> {
    tables.iter().find(|(_, n)| **n == table).map(|(name, _)| name.as_str())
}

impl PortNames for Known {
    fn port(&self, name: &str) -> Option<OfPort> {
        self.ports.get(name).copied()
    }

    fn name(&self, port: OfPort) -> Option<&str> {
        self.ports.name(port)
    }

    fn table(&self, name: &str) -> Option<u8> {
        self.tables.get(name).copied()
    }

    fn table_name(&self, table: u8) -> Option<&str> {
        called(&self.tables, table)
    }
}

impl<'c> Names<'c> {
    /// Those of the switch `name`.
    pub(crate) fn of(context: &'c Context, name: &str) -> Names<'c> {
        Names { context, name: name.to_string(), ports: OnceCell::new(), tables: OnceCell::new() }
    }

    /// What the switch says, or nothing if it does not or may not be asked.
    fn asked<T: Default>(&self, ask: impl FnOnce(&mut Switch) -> Result<T, Failure>) -> T {
        let asks = self.context.options.takes_names();
        let switch = asks.then(|| Switch::open(self.context, &self.name).ok()).flatten();
        switch.and_then(|mut switch| ask(&mut switch).ok()).unwrap_or_default()
    }

    /// The ports by name. Long names are cut short: what two ports are called then means neither.
    fn ports(&self) -> &BTreeMap<String, OfPort> {
        self.ports.get_or_init(|| {
            let ports = self.asked(Switch::ports);
            let mut times = BTreeMap::<&str, usize>::new();
            ports.iter().for_each(|p| *times.entry(&p.name).or_default() += 1);
            let own = |p: &&Port| times.get(p.name.as_str()) == Some(&1);
            ports.iter().filter(own).map(|p| (p.name.clone(), p.number)).collect()
        })
    }

    /// The tables by name.
    pub(crate) fn tables(&self) -> &BTreeMap<String, u8> {
        self.tables.get_or_init(|| {
            let tables = self.asked(Switch::table_names);
            tables.into_iter().filter(|(_, name)| !name.is_empty()).map(|(n, name)| (name, n)).collect()
        })
    }

    /// What is written by name, if anything is.
    pub(crate) fn to_show(context: &Context, name: &str) -> Rc<dyn PortNames> {
        if !context.options.shows_names() || context.options.is_json() {
            return Rc::new(NoNames);
        }
        let names = Names::of(context, name);
        Rc::new(Known { ports: names.ports().clone(), tables: names.tables().clone() })
    }
}

impl PortNames for Names<'_> {
    fn port(&self, name: &str) -> Option<OfPort> {
        self.ports().get(name).copied()
    }

    fn name(&self, port: OfPort) -> Option<&str> {
        self.ports().name(port)
    }

    fn table(&self, name: &str) -> Option<u8> {
        self.tables().get(name).copied()
    }

    fn table_name(&self, table: u8) -> Option<&str> {
        called(self.tables(), table)
    }
}

/// A port by number or name.
pub(crate) fn port_of(context: &Context, switch: &str, text: &str) -> Result<OfPort, Failure> {
    let names = Names::of(context, switch);
    ovs_packet::text::resolve_port(text, &names).ok_or_else(|| format!("{switch}: couldn't find port `{text}'").into())
}
