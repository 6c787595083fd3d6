//! A controller that waits: for tools.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use ovs_packet::Instant;
use ovs_stream::net::StreamOptions;

use super::driver::Driver;
use crate::codec::{Version, Versions};
use crate::session::{
    Class, CloseReason, Echoes, Endpoint, ErrorReply, Frame, Progress, ReconnectOptions, SendError, SessionEvent,
    SessionOptions, TransactionId, Transactions, Xids,
};
use crate::text::ofp_print;

/// Messages that came unasked during a transaction and are kept for [`Client::receive`].
const INBOX: usize = 4096;

/// How a client connects and waits.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The versions that may be spoken.
    pub versions: Versions,
    /// How long to wait in each call; nothing: for ever.
    pub timeout: Option<Duration>,
    /// The transaction ids; clients that have clones of them take from one sequence.
    pub xids: Xids,
    /// How connections are made.
    pub stream: StreamOptions,
    /// As of [`SessionOptions::any_version`].
    pub any_version: bool,
    /// As of [`SessionOptions::echoes`]: what is told is [received](Client::receive).
    pub echoes: Echoes,
}

impl Default for ClientOptions {
    /// Every version, no end of waiting, transactions from 1 on.
    fn default() -> ClientOptions {
        ClientOptions {
            versions: SessionOptions::default().versions,
            timeout: None,
            xids: Xids::default(),
            stream: StreamOptions::default(),
            any_version: false,
            echoes: Echoes::default(),
        }
    }
}

/// Why a call of a client failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection was not made, or is over.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// The time of the call is over. What still comes of it is dropped.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The switch refused the request.
    #[error(transparent)]
    Refused(#[from] ErrorReply),
    /// A message was not taken.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The system does not let us wait.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A controller that does one thing after the other and waits for each.
///
/// ```no_run
/// use ovs_ofproto::codec::Message;
/// use ovs_ofproto::session::edge::{Client, ClientOptions};
/// use ovs_ofproto::session::{Frame, parse_versions};
/// use ovs_packet::Instant;
/// use std::time::Duration;
///
/// let epoch = std::time::Instant::now();
/// let options = ClientOptions {
///     versions: parse_versions("OpenFlow13")?,
///     timeout: Some(Duration::from_secs(5)),
///     ..ClientOptions::default()
/// };
/// let mut client = Client::connect(&"unix:br0.mgmt".parse()?, options, move || Instant::ZERO + epoch.elapsed())?;
/// let request = Message::FeaturesRequest.encode(client.version(), 0)?;
/// let (header, features) = Message::decode(client.transact(Frame::new(request)?)?.bytes())?;
/// println!("{features:?}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client {
    driver: Driver,
    transactions: Transactions,
    version: Version,
    timeout: Option<Duration>,
    inbox: VecDeque<Frame>,
    missed: u64,
    clock: Box<dyn FnMut() -> Instant>,
    /// What the other side is called in the log.
    peer: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("driver", &self.driver).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects and agrees on a version. `clock` says how late it is.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn connect(
        endpoint: &Endpoint,
        options: ClientOptions,
        mut clock: impl FnMut() -> Instant + 'static,
    ) -> Result<Client, ClientError> {
        let ClientOptions { versions, timeout, xids, stream, any_version, echoes } = options;
        // How long to wait is for the calls to say.
        let reconnect =
            ReconnectOptions { probe_interval: None, connect_timeout: Duration::MAX, ..ReconnectOptions::default() };
        let session = SessionOptions { versions, reconnect, any_version, echoes, ..SessionOptions::default() };
        let now = clock();
        let mut client = Client {
            driver: Driver::active(endpoint.clone(), session, stream, now),
            transactions: Transactions::new(xids),
            version: Version::V1_0,
            timeout,
            inbox: VecDeque::new(),
            missed: 0,
            clock: Box::new(clock),
            peer: endpoint.to_string(),
        };
        let until = client.until(now);
        loop {
            match client.next_event(until)? {
                SessionEvent::Connected { version } => {
                    client.version = version;
                    return Ok(client);
                }
                SessionEvent::Closed(reason) => return Err(reason.into()),
                SessionEvent::Message(frame) => client.keep(frame),
            }
        }
    }

    /// The version that is spoken.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What runs the connection, for one who waits for other things too.
    pub fn driver(&mut self) -> &mut Driver {
        &mut self.driver
    }

    /// How many messages that came unasked were dropped because too many had come.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Sends a request and waits for its answer. Of an answer of several parts, the first.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Refused`] if the answer is an error.
    pub fn transact(&mut self, request: Frame) -> Result<Frame, ClientError> {
        let mut first = None;
        self.transact_each(vec![request], |frame| {
            first.get_or_insert(frame);
        })?;
        first.ok_or_else(|| CloseReason::Peer.into())
    }

    /// Sends a request, or the parts of one, and waits for all parts of its answer.
    ///
    /// # Errors
    /// As for [`Client::transact`].
    pub fn transact_multipart(&mut self, requests: Vec<Frame>) -> Result<Vec<Frame>, ClientError> {
        let mut replies = Vec::new();
        self.transact_each(requests, |frame| replies.push(frame))?;
        Ok(replies)
    }

    /// Sends a request, or the parts of one, and hands on each part of its answer as it comes. Nothing is done for no
    /// request.
    ///
    /// # Errors
    /// As for [`Client::transact`].
    pub fn transact_each(&mut self, requests: Vec<Frame>, mut each: impl FnMut(Frame)) -> Result<(), ClientError> {
        let Some((id, frames)) = self.transactions.ask(requests, None) else { return Ok(()) };
        let mut error = None;
        self.perform(id, frames, |progress| match progress {
            Progress::Reply { frame, .. } => each(frame),
            Progress::Refused { error: why, .. } => error = Some(why),
            _ => {}
        })?;
        error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Sends requests that have no answer and a barrier, and waits for that. Gives back which of the requests, from 0 on,
    /// were refused, and why.
    ///
    /// # Errors
    /// As for [`Client::transact`]; [`ClientError::Refused`] if it is the barrier that is refused.
    pub fn transact_noreply(&mut self, requests: Vec<Frame>) -> Result<Vec<(usize, ErrorReply)>, ClientError> {
        let (id, frames) = self.transactions.tell(requests, self.version, None);
        let (mut refused, mut barrier, mut unasked) = (Vec::new(), None, Vec::new());
        self.perform(id, frames, |progress| match progress {
            Progress::Refused { error, is_last: true, .. } => barrier = Some(error),
            Progress::Refused { request, error, .. } => refused.push((request, error)),
            Progress::Reply { frame, .. } => unasked.push(frame),
            _ => {}
        })?;
        unasked.into_iter().for_each(|frame| self.keep(frame));
        barrier.map_or(Ok(refused), |error| Err(error.into()))
    }

    /// An id for a message that is [sent](Client::send) and belongs to no transaction.
    pub fn allocate_xid(&mut self) -> u32 {
        self.transactions.allocate_xid()
    }

    /// Sends a message and does not wait for more than that it is on its way.
    ///
    /// # Errors
    /// As for [`Client::transact`].
    pub fn send(&mut self, message: Frame) -> Result<(), ClientError> {
        let now = (self.clock)();
        let until = self.until(now);
        self.push(&message, until)?;
        loop {
            self.driver.run((self.clock)());
            if self.driver.session().transmit().is_empty() {
                return Ok(());
            }
            if let Some(event) = self.turn(until)? {
                self.keep_event(event)?;
            }
        }
    }

    /// The next message that belongs to no transaction.
    ///
    /// # Errors
    /// As for [`Client::transact`].
    pub fn receive(&mut self) -> Result<Frame, ClientError> {
        let now = (self.clock)();
        let until = self.until(now);
        loop {
            if let Some(frame) = self.inbox.pop_front() {
                return Ok(frame);
            }
            let event = self.next_event(until)?;
            self.keep_event(event)?;
        }
    }

    /// The next message that belongs to no transaction, if there is one; nothing is waited for. For one who waits for
    /// [`Client::driver`] and other things.
    ///
    /// # Errors
    /// As for [`Client::transact`].
    pub fn try_receive(&mut self) -> Result<Option<Frame>, ClientError> {
        let now = (self.clock)();
        loop {
            if let Some(frame) = self.inbox.pop_front() {
                return Ok(Some(frame));
            }
            self.driver.run(now);
            match self.driver.poll_event(now) {
                Some(event) => self.keep_event(event)?,
                None => return Ok(None),
            }
        }
    }

    fn until(&self, now: Instant) -> Option<Instant> {
        self.timeout.map(|timeout| now + timeout)
    }

    /// Sends the messages of a transaction and hands on what comes of it, until it is done.
    fn perform(
        &mut self,
        id: TransactionId,
        frames: Vec<Frame>,
        mut each: impl FnMut(Progress),
    ) -> Result<(), ClientError> {
        let now = (self.clock)();
        let until = self.until(now);
        let result = self.try_perform(frames, until, &mut each);
        self.transactions.forget(id);
        result
    }

    fn try_perform(
        &mut self,
        frames: Vec<Frame>,
        until: Option<Instant>,
        each: &mut impl FnMut(Progress),
    ) -> Result<(), ClientError> {
        let mut frames = frames.into_iter().peekable();
        loop {
            while let Some(frame) = frames.peek() {
                match self.driver.send(frame, Class::Other) {
                    Ok(()) => {
                        self.log("sent (Success)", frame);
                        drop(frames.next());
                    }
                    Err(SendError::Full(_)) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            let Some(event) = self.turn(until)? else { continue };
            let frame = match event {
                SessionEvent::Message(frame) => frame,
                SessionEvent::Closed(reason) => return Err(reason.into()),
                SessionEvent::Connected { .. } => continue,
            };
            self.log("received", &frame);
            let progress = self.transactions.handle(frame);
            let is_last = match &progress {
                Progress::Reply { is_last, .. } | Progress::Refused { is_last, .. } => *is_last,
                Progress::Done { .. } => true,
                Progress::Unsolicited(_) => false,
            };
            match progress {
                Progress::Unsolicited(frame) => self.keep(frame),
                progress => each(progress),
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Queues a message, after waiting for room.
    fn push(&mut self, message: &Frame, until: Option<Instant>) -> Result<(), ClientError> {
        loop {
            match self.driver.send(message, Class::Other) {
                Err(SendError::Full(_)) => {
                    if let Some(event) = self.turn(until)? {
                        self.keep_event(event)?;
                    }
                }
                result => {
                    result?;
                    self.log("sent (Success)", message);
                    return Ok(());
                }
            }
        }
    }

    /// Shows a message in the log.
    fn log(&self, what: &str, frame: &Frame) {
        if tracing::enabled!(target: "vconn", tracing::Level::DEBUG) {
            let text = ofp_print(frame.bytes(), 1);
            tracing::debug!(target: "vconn", "{}: {what}: {}", self.peer, text.trim_end());
        }
    }

    fn keep_event(&mut self, event: SessionEvent) -> Result<(), ClientError> {
        match event {
            SessionEvent::Message(frame) => {
                self.log("received", &frame);
                self.keep(frame);
            }
            SessionEvent::Closed(reason) => return Err(reason.into()),
            SessionEvent::Connected { .. } => {}
        }
        Ok(())
    }

    fn keep(&mut self, frame: Frame) {
        if self.inbox.len() >= INBOX {
            self.inbox.pop_front();
            self.missed = self.missed.saturating_add(1);
        }
        self.inbox.push_back(frame);
    }

    fn next_event(&mut self, until: Option<Instant>) -> Result<SessionEvent, ClientError> {
        loop {
            if let Some(event) = self.turn(until)? {
                return Ok(event);
            }
        }
    }

    /// Does what can be done, and waits if that is nothing.
    fn turn(&mut self, until: Option<Instant>) -> Result<Option<SessionEvent>, ClientError> {
        let now = (self.clock)();
        if let Some(event) = self.driver.poll_event(now) {
            return Ok(Some(event));
        }
        self.driver.run(now);
        if let Some(event) = self.driver.poll_event(now) {
            return Ok(Some(event));
        }
        let left = until.map(|until| until.since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ClientError::TimedOut(self.timeout.unwrap_or_default()));
        }
        self.driver.wait(now, left)?;
        Ok(None)
    }
}
