//! A JSON-RPC session that outlives its connections (RFC 7047 section 4; timing: [`Reconnect`]).
//!
//! A [`Session`] is the protocol without the sockets. What it wants done comes out of [`Session::poll_action`], bytes to
//! send out of [`Session::transmit`]; what happened goes in by `handle_*` and [`Session::receive`]. It answers `echo`
//! requests and probes a silent peer with its own, tries several remotes in turn, and starts each connection with empty
//! buffers.
//!
//! # Invariants
//!
//! - At most one message that is not complete is held, of at most [`FrameLimits::message`] bytes.
//! - What is to be sent grows beyond [`SessionOptions::backlog`] by no more than answers to what one piece of input
//!   brought, since [`Session::wants_input`] is then false; an answer is no longer than what it answers.

use std::time::Duration;

use super::{
    DisconnectReason, FrameLimits, Framer, Message, Outgoing, Reconnect, ReconnectAction, ReconnectOptions, Remote,
};
use crate::json::Json;

/// The `id` of our own echo requests.
const PROBE_ID: &str = "echo";

/// How a session behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOptions {
    /// When to connect, probe and give up.
    pub reconnect: ReconnectOptions,
    /// What a peer may make us hold.
    pub frame: FrameLimits,
    /// The most bytes that wait to be sent before no more input is wanted and [`Session::send`] refuses.
    pub backlog: usize,
}

impl Default for SessionOptions {
    /// The defaults of the parts, messages of at most 1 GiB (the whole of a large database is one message), and a backlog
    /// of 16 MiB.
    fn default() -> SessionOptions {
        SessionOptions {
            reconnect: ReconnectOptions::default(),
            frame: FrameLimits { message: 1 << 30, ..FrameLimits::default() },
            backlog: 16 << 20,
        }
    }
}

/// What a session wants done to its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionAction {
    /// Begin a connection; then call [`Session::handle_connected`] or [`Session::handle_closed`].
    Connect(Remote),
    /// Close the connection or stop the attempt. The session has done with it: nothing more is to be said of it.
    Close,
}

/// The message was not taken: too much waits to be sent, or there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no connection.
    #[error("not connected")]
    NotConnected,
    /// The peer takes no data.
    #[error("{waiting} bytes wait to be sent already")]
    Backlog {
        /// Bytes that wait.
        waiting: usize,
    },
}

/// A JSON-RPC session that outlives its connections: the protocol without the sockets.
///
/// What it wants done comes out of [`Session::poll_action`], bytes to send out of [`Session::transmit`]; what happened
/// goes in by `handle_*` and [`Session::receive`]. It answers `echo` requests and probes a silent peer with its own, tries
/// several remotes in turn, and starts each connection with empty buffers.
///
/// ```
/// use std::time::Duration;
/// use ovs_db::rpc::{Message, Session, SessionAction, SessionOptions};
///
/// let now = Duration::ZERO;
/// let mut session = Session::new(vec!["tcp:127.0.0.1:6640".parse()?], SessionOptions::default(), now);
/// assert!(matches!(session.poll_action(now), Some(SessionAction::Connect(_))));
/// session.handle_connected(now);
/// let mut input: &[u8] = br#"{"method":"echo","params":[1],"id":7}{"method":"hi","params":[],"id":null}"#;
/// assert!(matches!(session.receive(now, &mut input), Some(Message::Notification { .. })));
/// assert_eq!(session.transmit(), br#"{"error":null,"id":7,"result":[1]}"#);
/// # Ok::<(), ovs_db::rpc::RemoteError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Session {
    options: SessionOptions,
    remotes: Vec<Remote>,
    /// The remote of the connection or attempt that there is, or of the last one.
    current: usize,
    reconnect: Reconnect,
    framer: Framer,
    outgoing: Outgoing,
    /// Whether the connection is to be closed, which the caller does not know yet.
    closing: bool,
    last_error: Option<String>,
}

impl Session {
    /// A session with the first of `remotes` that works. Without any, it waits for [`Session::set_remotes`].
    pub fn new(remotes: Vec<Remote>, options: SessionOptions, now: Duration) -> Session {
        let mut session = Session {
            options,
            remotes: Vec::new(),
            current: 0,
            reconnect: Reconnect::disabled(options.reconnect, now),
            framer: Framer::new(options.frame),
            outgoing: Outgoing::default(),
            closing: false,
            last_error: None,
        };
        session.set_remotes(remotes, now);
        session
    }

    /// Changes the remotes. A connection to one of them stays.
    pub fn set_remotes(&mut self, remotes: Vec<Remote>, now: Duration) {
        let kept = self.remote().and_then(|remote| remotes.iter().position(|other| other == remote));
        // The next attempt goes to the one behind this.
        self.current = kept.unwrap_or_else(|| remotes.len().saturating_sub(1));
        self.remotes = remotes;
        self.reconnect.set_free_tries(u32::try_from(self.remotes.len()).unwrap_or(u32::MAX));
        if kept.is_none() {
            self.close(now, "the remote was removed");
            // The new ones are not to wait for what the old ones did.
            self.reconnect.disable(now);
        }
        if !self.remotes.is_empty() {
            self.reconnect.enable(now);
        }
    }

    /// Changes probing and pauses.
    pub fn set_reconnect_options(&mut self, options: ReconnectOptions) {
        self.options.reconnect = options;
        self.reconnect.set_options(options);
    }

    /// The remote of the connection or attempt that there is, or of the last one.
    pub fn remote(&self) -> Option<&Remote> {
        self.remotes.get(self.current)
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.reconnect.is_connected()
    }

    /// Whether there is a connection or there will be another attempt.
    pub fn is_alive(&self) -> bool {
        self.reconnect.is_alive()
    }

    /// How often a connection came or went.
    pub fn seqno(&self) -> u64 {
        self.reconnect.seqno()
    }

    /// Why the last connection or attempt ended.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// What is to be done to the connection; call it until there is nothing.
    pub fn poll_action(&mut self, now: Duration) -> Option<SessionAction> {
        loop {
            if self.take_close() {
                return Some(SessionAction::Close);
            }
            match self.reconnect.poll(now)? {
                ReconnectAction::Connect => {
                    self.current = self.current.saturating_add(1);
                    if self.current >= self.remotes.len() {
                        self.current = 0;
                    }
                    match self.remote().cloned() {
                        Some(remote) => return Some(SessionAction::Connect(remote)),
                        None => self.reconnect.disable(now),
                    }
                }
                ReconnectAction::Disconnect(reason) => self.close_for(now, reason),
                ReconnectAction::Probe => {
                    let (method, params) = (PROBE_ID.to_owned(), Vec::new());
                    self.push(&Message::Request { method, params, id: Json::string(PROBE_ID) });
                }
            }
        }
    }

    /// Whether the connection or attempt that there is is to be closed: [`SessionAction::Close`], once, without a look at
    /// the time. A caller that reads before it lets time pass asks this before that.
    pub fn take_close(&mut self) -> bool {
        std::mem::take(&mut self.closing)
    }

    /// When [`Session::poll_action`] is to be called, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.closing { Some(Duration::ZERO) } else { self.reconnect.deadline() }
    }

    /// The connection that was asked for is there.
    pub fn handle_connected(&mut self, now: Duration) {
        self.reset();
        self.reconnect.connected(now);
    }

    /// The connection was closed by the peer, or the attempt failed, for the reason given.
    pub fn handle_closed(&mut self, now: Duration, reason: &str) {
        self.last_error = Some(reason.to_owned());
        self.reset();
        self.reconnect.closed(now);
    }

    /// Closes the connection or attempt that there is, for the reason given; the next remote is tried.
    pub fn close(&mut self, now: Duration, reason: &str) {
        if self.reconnect.is_open() {
            self.handle_closed(now, reason);
            self.closing = true;
        }
    }

    fn close_for(&mut self, now: Duration, reason: DisconnectReason) {
        self.handle_closed(now, &reason.to_string());
        self.closing = true;
    }

    /// Whether the connection is to be read from. False while the peer takes too little of what is sent to it.
    pub fn wants_input(&self) -> bool {
        self.is_connected() && self.backlog() <= self.options.backlog
    }

    /// Takes bytes that came in, up to the end of the next message that is for the caller, and returns that message;
    /// nothing, with `input` empty, when there is none. Input that is not JSON-RPC closes the connection.
    pub fn receive(&mut self, now: Duration, input: &mut &[u8]) -> Option<Message> {
        if !self.is_connected() {
            *input = &[];
            return None;
        }
        if !input.is_empty() {
            self.reconnect.received(now);
        }
        loop {
            let message = match self.framer.next(input) {
                Ok(None) => return None,
                Ok(Some(json)) => Message::from_json(json).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match message {
                Ok(Message::Request { method, params, id }) if method == "echo" => {
                    self.push(&Message::Response { result: Json::Array(params), id });
                }
                Ok(Message::Response { id, .. } | Message::Error { id, .. }) if id.as_str() == Some(PROBE_ID) => {}
                Ok(message) => return Some(message),
                Err(error) => {
                    *input = &[];
                    self.close(now, &error);
                    return None;
                }
            }
        }
    }

    /// Bytes of a message that is not complete, to see that a peer sends one.
    pub fn incomplete(&self) -> usize {
        self.framer.pending()
    }

    /// Queues a message to be sent.
    ///
    /// # Errors
    /// [`SendError`]; nothing is queued then.
    pub fn send(&mut self, message: &Message) -> Result<(), SendError> {
        if !self.is_connected() {
            return Err(SendError::NotConnected);
        }
        let waiting = self.backlog();
        if waiting > self.options.backlog {
            return Err(SendError::Backlog { waiting });
        }
        self.push(message);
        Ok(())
    }

    fn push(&mut self, message: &Message) {
        self.outgoing.push(&message.encode());
    }

    /// Bytes that wait to be sent.
    pub fn backlog(&self) -> usize {
        self.outgoing.waiting().len()
    }

    /// The bytes to send next.
    pub fn transmit(&self) -> &[u8] {
        self.outgoing.waiting()
    }

    /// Takes note that the first `count` bytes of [`Session::transmit`] are sent.
    pub fn transmitted(&mut self, count: usize) {
        self.outgoing.advance(count);
    }

    fn reset(&mut self) {
        self.framer = Framer::new(self.options.frame);
        self.outgoing = Outgoing::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn remote(name: &str) -> Remote {
        name.parse().unwrap()
    }

    fn connected(options: SessionOptions) -> Session {
        let mut session = Session::new(vec![remote("unix:a")], options, secs(0));
        assert_eq!(session.poll_action(secs(0)), Some(SessionAction::Connect(remote("unix:a"))));
        session.handle_connected(secs(0));
        session
    }

    fn drain(session: &mut Session) -> String {
        let text = String::from_utf8(session.transmit().to_vec()).unwrap();
        session.transmitted(text.len());
        text
    }

    #[test]
    fn remotes_are_tried_in_turn_before_any_pause() {
        let remotes = vec![remote("unix:a"), remote("unix:b"), remote("unix:c")];
        let mut session = Session::new(remotes.clone(), SessionOptions::default(), secs(0));
        for remote in &remotes {
            assert_eq!(session.poll_action(secs(0)), Some(SessionAction::Connect(remote.clone())));
            session.handle_closed(secs(0), "refused");
        }
        assert_eq!((session.poll_action(secs(0)), session.poll_timeout()), (None, Some(secs(1))));
        assert_eq!(session.poll_action(secs(1)), Some(SessionAction::Connect(remotes[0].clone())));
        assert_eq!(session.last_error(), Some("refused"));
    }

    #[test]
    fn a_remote_that_is_removed_is_left() {
        let mut session = connected(SessionOptions::default());
        session.set_remotes(vec![remote("unix:b"), remote("unix:a")], secs(0));
        assert!(session.is_connected());
        session.set_remotes(vec![remote("unix:b")], secs(0));
        assert_eq!(session.poll_action(secs(0)), Some(SessionAction::Close));
        assert_eq!(session.poll_action(secs(0)), Some(SessionAction::Connect(remote("unix:b"))));
        session.set_remotes(Vec::new(), secs(9));
        assert_eq!(session.poll_action(secs(9)), Some(SessionAction::Close));
        assert_eq!((session.poll_action(secs(99)), session.is_alive()), (None, false));
    }

    #[test]
    fn silence_is_probed_and_the_answer_is_not_for_the_caller() {
        let mut session = connected(SessionOptions::default());
        assert_eq!(session.poll_action(secs(5)), None);
        assert_eq!(drain(&mut session), r#"{"id":"echo","method":"echo","params":[]}"#);
        let mut answer: &[u8] = br#"{"error":null,"id":"echo","result":[]}"#;
        assert_eq!(session.receive(secs(6), &mut answer), None);
        assert_eq!(session.poll_timeout(), Some(secs(11)));
        session.poll_action(secs(11));
        assert_eq!(session.poll_action(secs(16)), Some(SessionAction::Close));
        assert_eq!(session.last_error(), Some("no response to inactivity probe"));
    }

    #[test]
    fn garbage_closes_the_connection_and_the_next_starts_clean() {
        for garbage in [&b"HTTP/1.1 200 OK\r\n"[..], b"[]", br#"{"method":5}"#, b"{]"] {
            let mut session = connected(SessionOptions::default());
            session.send(&Message::Notification { method: "m".into(), params: Vec::new() }).unwrap();
            let mut input = garbage;
            assert_eq!(session.receive(secs(1), &mut input), None);
            assert_eq!((input.len(), session.poll_action(secs(1))), (0, Some(SessionAction::Close)));
            assert!(!session.is_connected() && session.transmit().is_empty());
            assert!(matches!(session.poll_action(secs(2)), Some(SessionAction::Connect(_))));
            session.handle_connected(secs(2));
            assert!(session.receive(secs(2), &mut &br#"{"method":"m","params":[],"id":1}"#[..]).is_some());
        }
    }

    #[test]
    fn a_peer_that_asks_and_does_not_read_is_not_read_from() {
        let mut session = connected(SessionOptions { backlog: 100, ..SessionOptions::default() });
        let echo = br#"{"method":"echo","params":["xxxxxxxxxxxxxxxxxxxx"],"id":0}"#;
        let mut asked = 0;
        while session.wants_input() {
            session.receive(secs(0), &mut &echo[..]);
            asked += echo.len();
        }
        assert!(session.backlog() <= 100 + echo.len() && session.backlog() <= asked);
        let note = Message::Notification { method: "m".into(), params: Vec::new() };
        assert!(matches!(session.send(&note), Err(SendError::Backlog { .. })));
        session.transmitted(60);
        assert!(session.wants_input());
        assert_eq!(session.send(&note), Ok(()));
        drain(&mut session);
        assert_eq!(session.backlog(), 0);
    }
}
