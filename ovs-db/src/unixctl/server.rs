//! The daemon's side of unixctl, without sockets.
//!
//! A connection has one command under way at a time, and is not read from until that is answered. What connections may
//! make the server hold is bounded by [`ServerLimits`].

use std::collections::{BTreeMap, VecDeque};

use crate::json::Json;
use crate::rpc::{FrameLimits, Framer, Message, Outgoing};

/// What connections may make a server hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// The most connections. [`Server::has_room`] says whether to accept another, [`Server::evict_idle`] makes room.
    pub connections: usize,
    /// The size of a command.
    pub frame: FrameLimits,
    /// The most bytes of input that wait behind a command under way, besides what belongs to a command that is not
    /// complete; a client that sends more is cut off. At least what is read at once.
    pub waiting: usize,
}

impl Default for ServerLimits {
    /// 64 connections, commands of 16 MiB, and 1 MiB that waits.
    fn default() -> ServerLimits {
        ServerLimits { connections: 64, frame: FrameLimits::default(), waiting: 1 << 20 }
    }
}

/// How a client wants its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Text to print.
    #[default]
    Text,
    /// A JSON value.
    Json,
}

impl Format {
    /// The format that a word names, in small letters or capitals.
    pub fn from_word(word: &str) -> Option<Format> {
        [Format::Text, Format::Json].into_iter().find(|format| format.as_str().eq_ignore_ascii_case(word))
    }

    /// The word for this format.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
        }
    }
}

/// Names a connection of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// Names a command under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvocationKey {
    connection: ConnectionId,
    number: u64,
}

/// A command that a client gave, with as many arguments as it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// What to answer to.
    pub key: InvocationKey,
    /// The name of the command.
    pub command: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How the client wants the answer. A command that has no JSON form answers with text all the same.
    pub format: Format,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Done; text for people. A client that wants JSON gets it as `{"reply": text, "reply-format": "plain"}`.
    Text(String),
    /// Done; a value for programs. A client that wants text gets the text of the value.
    Json(Json),
    /// Not done, for this reason.
    Error(String),
}

#[derive(Debug)]
struct Command {
    usage: Option<String>,
    min: usize,
    max: usize,
}

#[derive(Debug)]
struct Connection {
    framer: Framer,
    format: Format,
    /// The number and the request id of the command under way.
    under_way: Option<(u64, Json)>,
    waiting: Vec<u8>,
    outgoing: Outgoing,
    broken: bool,
}

/// The daemon's side of unixctl: see [`unixctl`](super) for an example.
#[derive(Debug)]
pub struct Server {
    version: String,
    limits: ServerLimits,
    commands: BTreeMap<String, Command>,
    connections: BTreeMap<ConnectionId, Connection>,
    invocations: VecDeque<Invocation>,
    next: u64,
}

impl Server {
    /// A server without connections, and with no commands but its own. `version` is what `version` prints: by custom the
    /// program's name, its version, and perhaps more lines.
    pub fn new(version: impl Into<String>) -> Server {
        Server::with_limits(version, ServerLimits::default())
    }

    /// As [`Server::new`], with other limits.
    pub fn with_limits(version: impl Into<String>, limits: ServerLimits) -> Server {
        let mut server = Server {
            version: version.into(),
            limits,
            commands: BTreeMap::new(),
            connections: BTreeMap::new(),
            invocations: VecDeque::new(),
            next: 0,
        };
        server.register("help", "", 0, 0);
        server.register("list-commands", "", 0, 0);
        server.register("set-options", "[--format text|json]", 1, 2);
        server.register("version", "", 0, 0);
        server
    }

    /// Adds a command that takes `min` to `max` arguments. `usage` words them for people. A command of that name that is
    /// there already is replaced.
    pub fn register(&mut self, name: impl Into<String>, usage: &str, min: usize, max: usize) {
        self.commands.insert(name.into(), Command { usage: Some(usage.to_owned()), min, max });
    }

    /// As [`Server::register`], for a command that `list-commands` does not tell of.
    pub fn register_hidden(&mut self, name: impl Into<String>, min: usize, max: usize) {
        self.commands.insert(name.into(), Command { usage: None, min, max });
    }

    /// Names and usages of the commands that are told of, sorted by name.
    pub fn commands(&self) -> impl Iterator<Item = (&str, &str)> {
        self.commands.iter().filter_map(|(name, command)| Some((name.as_str(), command.usage.as_deref()?)))
    }

    /// Whether another connection may be opened.
    pub fn has_room(&self) -> bool {
        self.connections.len() < self.limits.connections
    }

    /// Closes the oldest of the connections that have no command under way, to make room for another. An operator is
    /// not to be kept out by those who only stay connected.
    pub fn evict_idle(&mut self) -> Option<ConnectionId> {
        let is_idle =
            |connection: &Connection| connection.under_way.is_none() && connection.outgoing.waiting().is_empty();
        let id = self.connections.iter().find(|(_, connection)| is_idle(connection)).map(|(id, _)| *id)?;
        self.close(id);
        Some(id)
    }

    /// Takes a new connection.
    pub fn open(&mut self) -> ConnectionId {
        let id = ConnectionId(self.number());
        let framer = Framer::new(self.limits.frame);
        let connection = Connection {
            framer,
            format: Format::Text,
            under_way: None,
            waiting: Vec::new(),
            outgoing: Outgoing::default(),
            broken: false,
        };
        self.connections.insert(id, connection);
        id
    }

    /// Forgets a connection that is gone. Its command under way goes on, and the answer is dropped.
    pub fn close(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    /// Whether a connection is to be read from: not while a command is under way or its answer is not sent.
    pub fn wants_input(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            !connection.broken && connection.under_way.is_none() && connection.outgoing.waiting().is_empty()
        })
    }

    /// Whether a connection is to be closed: what came in was no command, and what there was to answer is sent.
    pub fn is_over(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_none_or(|connection| connection.broken && connection.outgoing.waiting().is_empty())
    }

    /// Bytes came in on a connection.
    pub fn handle_input(&mut self, id: ConnectionId, input: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let room = self.limits.waiting.saturating_sub(connection.waiting.len());
        if input.len() > room {
            connection.broken = true;
            connection.waiting = Vec::new();
            return;
        }
        connection.waiting.extend_from_slice(input);
        self.advance(id);
    }

    /// The next command to do.
    pub fn poll(&mut self) -> Option<Invocation> {
        self.invocations.pop_front()
    }

    /// Answers a command. One whose client is gone, or that was answered, is passed over.
    pub fn reply(&mut self, key: InvocationKey, reply: Reply) {
        let Some(connection) = self.connections.get_mut(&key.connection) else { return };
        match connection.under_way.take() {
            Some((number, id)) if number == key.number => connection.answer(id, reply),
            other => connection.under_way = other,
        }
    }

    /// The bytes to send next on a connection.
    pub fn transmit(&self, id: ConnectionId) -> &[u8] {
        self.connections.get(&id).map_or(&[], |connection| connection.outgoing.waiting())
    }

    /// Takes note that the first `count` bytes of [`Server::transmit`] are sent.
    pub fn transmitted(&mut self, id: ConnectionId, count: usize) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.outgoing.advance(count);
            self.advance(id);
        }
    }

    /// Does what waits on a connection until a command is under way or an answer is to be sent.
    fn advance(&mut self, id: ConnectionId) {
        while self.wants_input(id) {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let mut input = connection.waiting.as_slice();
            let message = connection.framer.next(&mut input);
            let taken = connection.waiting.len().saturating_sub(input.len());
            connection.waiting.drain(..taken);
            match message.map(|json| json.map(Message::from_json)) {
                Ok(None) => return,
                Ok(Some(Ok(Message::Request { method, params, id: request }))) => {
                    self.begin(id, request, method, params);
                }
                Ok(Some(_)) | Err(_) => {
                    connection.broken = true;
                    connection.waiting = Vec::new();
                }
            }
        }
    }

    fn begin(&mut self, id: ConnectionId, request: Json, command: String, params: Vec<Json>) {
        let number = self.number();
        let checked = self.check(&command, params);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let arguments = match checked {
            Ok(arguments) => arguments,
            Err(reason) => return connection.answer(request, Reply::Error(reason)),
        };
        let reply = match command.as_str() {
            "help" | "list-commands" => list(&self.commands, connection.format),
            "version" => Reply::Text(self.version.clone()),
            "set-options" => match read_options(&arguments) {
                Ok(format) => {
                    connection.format = format.unwrap_or(connection.format);
                    Reply::Text(String::new())
                }
                Err(reason) => Reply::Error(reason),
            },
            _ => {
                connection.under_way = Some((number, request));
                let (key, format) = (InvocationKey { connection: id, number }, connection.format);
                return self.invocations.push_back(Invocation { key, command, arguments, format });
            }
        };
        connection.answer(request, reply);
    }

    fn check(&self, name: &str, params: Vec<Json>) -> Result<Vec<String>, String> {
        let Some(command) = self.commands.get(name) else {
            return Err(format!(
                "\"{name}\" is not a valid command (use \"list-commands\" to see a list of valid commands)"
            ));
        };
        if params.len() < command.min {
            return Err(format!("\"{name}\" command requires at least {} arguments", command.min));
        }
        if params.len() > command.max {
            return Err(format!("\"{name}\" command takes at most {} arguments", command.max));
        }
        let strings = params.into_iter().map(|json| if let Json::String(text) = json { Some(text) } else { None });
        strings.collect::<Option<_>>().ok_or_else(|| format!("\"{name}\" command has non-string argument"))
    }

    fn number(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.next
    }
}

impl Connection {
    fn answer(&mut self, id: Json, reply: Reply) {
        let message = match (reply, self.format) {
            (Reply::Error(reason), _) => Message::Error { error: Json::String(reason), id },
            (Reply::Text(text), Format::Text) => Message::Response { result: Json::String(text), id },
            (Reply::Json(value), Format::Text) => Message::Response { result: Json::String(value.to_text()), id },
            (Reply::Json(result), Format::Json) => Message::Response { result, id },
            (Reply::Text(text), Format::Json) => {
                let result = Json::object([("reply", Json::String(text)), ("reply-format", Json::string("plain"))]);
                Message::Response { result, id }
            }
        };
        self.outgoing.push(&message.encode());
    }
}

fn list(commands: &BTreeMap<String, Command>, format: Format) -> Reply {
    let listed = commands.iter().filter_map(|(name, command)| Some((name, command.usage.as_ref()?)));
    match format {
        Format::Json => Reply::Json(Json::object(listed.map(|(name, usage)| (name, Json::string(usage))))),
        Format::Text => {
            let lines = listed.map(|(name, usage)| format!("  {name:<23} {usage}\n"));
            Reply::Text(std::iter::once("The available commands are:\n".to_owned()).chain(lines).collect())
        }
    }
}

/// `--format WORD` or `--format=WORD`, as getopt takes them.
fn read_options(arguments: &[String]) -> Result<Option<Format>, String> {
    let mut format = None;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        // An option may be shortened as long as it says which it is.
        let is_format = name.len() > 2 && "--format".starts_with(name) || name == "-f";
        if !is_format {
            return Err(format!("unrecognized option '{word}'"));
        }
        let value = match value {
            Some(value) => value,
            None => words.next().ok_or_else(|| format!("option '{name}' requires an argument"))?,
        };
        let known = Format::from_word(value).ok_or_else(|| format!("option format has invalid value {value}"))?;
        format = Some(known);
    }
    Ok(format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    struct Talk {
        server: Server,
        connection: ConnectionId,
    }

    impl Talk {
        fn new() -> Talk {
            let mut server = Server::new("zood 1.0");
            server.register("feed", "ANIMAL [FOOD]", 1, 2);
            server.register_hidden("secret", 0, 0);
            let connection = server.open();
            Talk { server, connection }
        }

        fn say(&mut self, text: &str) -> String {
            self.server.handle_input(self.connection, text.as_bytes());
            self.heard()
        }

        fn heard(&mut self) -> String {
            let text = String::from_utf8(self.server.transmit(self.connection).to_vec()).unwrap();
            self.server.transmitted(self.connection, text.len());
            text
        }

        fn call(&mut self, method: &str, params: &str) -> Json {
            let answer = self.say(&format!(r#"{{"method":"{method}","params":{params},"id":1}}"#));
            let answer = parse(answer.as_bytes()).unwrap();
            let result = answer.get("result").unwrap().clone();
            if result == Json::Null { answer.get("error").unwrap().clone() } else { result }
        }
    }

    #[test]
    fn commands_of_the_server_itself() {
        let mut talk = Talk::new();
        assert_eq!(talk.call("version", "[]"), Json::string("zood 1.0"));
        let list = "The available commands are:\n  feed                    ANIMAL [FOOD]\n  help                    \n  \
                    list-commands           \n  set-options             [--format text|json]\n  version                 \n";
        assert_eq!(talk.call("list-commands", "[]"), Json::string(list));
        assert_eq!(talk.call("help", "[]"), Json::string(list));
        for options in [r#"["--format","JSON"]"#, r#"["--fo=json"]"#, r#"["-f","json"]"#] {
            talk.call("set-options", r#"["--format","text"]"#);
            talk.call("set-options", options);
            assert_eq!(talk.call("version", "[]").to_text(), r#"{"reply":"zood 1.0","reply-format":"plain"}"#);
        }
        assert_eq!(talk.call("list-commands", "[]").get("feed"), Some(&Json::string("ANIMAL [FOOD]")));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut talk = Talk::new();
        for (method, params, says) in [
            ("fee", "[]", "\"fee\" is not a valid command (use \"list-commands\" to see a list of valid commands)"),
            ("feed", "[]", "\"feed\" command requires at least 1 arguments"),
            ("feed", r#"["a","b","c"]"#, "\"feed\" command takes at most 2 arguments"),
            ("feed", "[5]", "\"feed\" command has non-string argument"),
            ("set-options", r#"["--format"]"#, "option '--format' requires an argument"),
            ("set-options", r#"["--format","xml"]"#, "option format has invalid value xml"),
            ("set-options", r#"["--wide"]"#, "unrecognized option '--wide'"),
        ] {
            assert_eq!(talk.call(method, params), Json::string(says));
        }
        assert!(talk.server.poll().is_none());
    }

    #[test]
    fn one_command_at_a_time_answered_when_it_is_done() {
        let mut talk = Talk::new();
        let two = r#"{"method":"feed","params":["emu"],"id":1}{"method":"secret","params":[],"id":2}"#;
        assert_eq!(talk.say(two), "");
        let first = talk.server.poll().unwrap();
        assert!(talk.server.poll().is_none() && !talk.server.wants_input(talk.connection));
        talk.server.reply(first.key, Reply::Error("no emu".into()));
        talk.server.reply(first.key, Reply::Text("again".into()));
        assert_eq!(talk.heard(), r#"{"error":"no emu","id":1,"result":null}"#);
        let second = talk.server.poll().unwrap();
        assert_eq!(second.command, "secret");
        talk.server.reply(second.key, Reply::Json(Json::Integer(5)));
        assert_eq!(talk.heard(), r#"{"error":null,"id":2,"result":"5"}"#);
        // The client goes before its answer.
        talk.say(r#"{"method":"secret","params":[],"id":3}"#);
        let third = talk.server.poll().unwrap();
        talk.server.close(talk.connection);
        talk.server.reply(third.key, Reply::Text(String::new()));
        assert_eq!(talk.heard(), "");
    }

    #[test]
    fn who_does_not_read_is_not_read_from() {
        let mut talk = Talk::new();
        let version = r#"{"method":"version","params":[],"id":1}"#;
        talk.server.handle_input(talk.connection, version.repeat(3).as_bytes());
        let answer = talk.server.transmit(talk.connection).len();
        assert!(answer > 0 && !talk.server.wants_input(talk.connection));
        talk.server.transmitted(talk.connection, answer - 1);
        assert_eq!(talk.server.transmit(talk.connection).len(), 1, "the next command waits");
        talk.server.transmitted(talk.connection, 1);
        assert_eq!(talk.server.transmit(talk.connection).len(), answer);
        talk.heard();
        talk.heard();
        assert!(talk.server.wants_input(talk.connection));
    }

    #[test]
    fn what_is_no_command_ends_the_connection() {
        for text in
            ["hello", "[]", r#"{"method":"version","params":[],"id":null}"#, r#"{"result":1,"error":null,"id":1}"#]
        {
            let mut talk = Talk::new();
            talk.say(text);
            assert!(talk.server.is_over(talk.connection), "{text}");
            assert!(!talk.server.wants_input(talk.connection));
        }
    }

    #[test]
    fn limits_hold() {
        let limits = ServerLimits { connections: 2, waiting: 100, ..ServerLimits::default() };
        let mut server = Server::with_limits("v", limits);
        server.register_hidden("wait", 0, 0);
        let connection = server.open();
        server.handle_input(connection, br#"{"method":"wait","params":[],"id":1}"#);
        assert!(!server.is_over(connection));
        server.handle_input(connection, &[b' '; 101]);
        assert!(server.is_over(connection));
        server.close(connection);
        let (busy, idle) = (server.open(), server.open());
        assert!(!server.has_room());
        server.handle_input(busy, br#"{"method":"wait","params":[],"id":1}"#);
        assert_eq!(server.evict_idle(), Some(idle));
        assert!(server.has_room() && server.evict_idle().is_none());
    }
}
