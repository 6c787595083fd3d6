//! A session over a socket.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ovs_packet::Instant;
use ovs_stream::net::{Interest, Stream, StreamOptions, reason, wait};

use crate::session::{
    Class, CloseReason, Endpoint, Frame, SendError, Session, SessionAction, SessionEvent, SessionOptions,
};

/// Bytes read at once.
const CHUNK: usize = 32 << 10;

/// Runs a [`Session`] over a socket, in a loop of the owner's: [`run`](Driver::run), then
/// [`poll_event`](Driver::poll_event) until there is nothing, then wait for [`interest`](Driver::interest) or
/// [`timeout`](Driver::timeout). See [`edge`](super) for an example.
pub struct Driver {
    session: Session,
    endpoint: Option<Endpoint>,
    options: StreamOptions,
    stream: Option<Stream>,
    is_connected: bool,
    /// Whether there may be input that the last call did not read.
    may_read: bool,
    /// What a read fills; made by the first one.
    buffer: Vec<u8>,
}

impl Driver {
    /// Connects to a place, and again whenever the connection ends. A place that needs no probes is not probed.
    pub fn active(endpoint: Endpoint, session: SessionOptions, options: StreamOptions, now: Instant) -> Driver {
        let session = Session::active(with_probes(session, endpoint.needs_probes()), now);
        Driver {
            session,
            endpoint: Some(endpoint),
            options,
            stream: None,
            is_connected: false,
            may_read: false,
            buffer: Vec::new(),
        }
    }

    /// Speaks on a connection that the other side has made, as long as it lasts.
    pub fn passive(stream: Stream, session: SessionOptions, now: Instant) -> Driver {
        let session = Session::passive(with_probes(session, stream.needs_probes()), now);
        let options = StreamOptions::default();
        Driver {
            session,
            endpoint: None,
            options,
            stream: Some(stream),
            is_connected: false,
            may_read: true,
            buffer: Vec::new(),
        }
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session. What is to be done for it is done by the next [`Driver::run`].
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The connection or attempt that there is.
    pub fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// Does all that can be done without waiting: connects, reads, sends, and sees to the time.
    pub fn run(&mut self, now: Instant) {
        self.run_ready(now, true);
    }

    /// As [`Driver::run`], for an owner who knows whether the descriptor is ready: what is not is not asked for input.
    pub fn run_ready(&mut self, now: Instant, is_ready: bool) {
        if is_ready || self.may_read {
            self.transfer(now, Driver::receive);
        }
        while let Some(action) = self.session.poll_action(now) {
            match action {
                SessionAction::Close => self.drop_stream(),
                SessionAction::Connect => {
                    self.connect(now);
                    self.transfer(now, Driver::receive);
                }
            }
        }
        self.transfer(now, Driver::transmit);
    }

    /// Sends what is queued, as far as it goes without waiting, and reads nothing: for owners who have just read.
    pub fn flush(&mut self, now: Instant) {
        self.transfer(now, Driver::transmit);
    }

    /// Whether there may be input that was not read, and is wanted.
    pub fn may_read(&self) -> bool {
        self.may_read && self.session.wants_input()
    }

    /// What there is for the owner; call it until there is nothing.
    pub fn poll_event(&mut self, now: Instant) -> Option<SessionEvent> {
        self.session.poll_event(now)
    }

    /// Queues a message to be sent by the next [`Driver::run`].
    ///
    /// # Errors
    /// As for [`Session::send`].
    pub fn send(&mut self, frame: &Frame, class: Class) -> Result<(), SendError> {
        self.session.send(frame, class)
    }

    /// The descriptor to wait for, and what for; nothing without a connection or attempt. Both may be others after each
    /// [`Driver::run`] and [`Driver::poll_event`].
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        let stream = self.stream.as_ref()?;
        let wanted = if self.is_connected {
            Interest { read: self.session.wants_input(), write: !self.session.transmit().is_empty() }
        } else {
            Interest { read: true, write: false }
        };
        Some((stream.as_fd(), stream.interest(wanted)))
    }

    /// How long to wait at most, if nothing happens to the descriptor; nothing: as long as it takes.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.may_read() {
            return Some(Duration::ZERO);
        }
        self.session.poll_timeout().map(|deadline| deadline.since(now))
    }

    /// Waits until there is something to do, but no longer than `longest`: for programs without a loop of their own.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&self, now: Instant, longest: Option<Duration>) -> io::Result<()> {
        let timeout = self.timeout(now).into_iter().chain(longest).min();
        wait(self.interest(), timeout)
    }

    fn connect(&mut self, now: Instant) {
        let Some(endpoint) = &self.endpoint else { return };
        match Stream::connect(endpoint, &self.options) {
            Ok(stream) => self.stream = Some(stream),
            Err(error) => self.session.handle_closed(now, CloseReason::Io(reason(&error))),
        }
    }

    fn drop_stream(&mut self) {
        self.stream = None;
        self.is_connected = false;
        self.may_read = false;
    }

    fn transfer(&mut self, now: Instant, how: fn(&mut Driver, Instant) -> Result<(), CloseReason>) {
        if let Err(reason) = how(self, now) {
            self.drop_stream();
            self.session.handle_closed(now, reason);
        }
    }

    fn receive(&mut self, now: Instant) -> Result<(), CloseReason> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if !self.is_connected {
            if !stream.finish_connecting().map_err(|error| CloseReason::Io(reason(&error)))? {
                return Ok(());
            }
            self.is_connected = true;
            self.session.handle_connected(now);
        }
        self.may_read = false;
        self.buffer.resize(CHUNK, 0);
        while self.session.wants_input() {
            match stream.read(&mut self.buffer) {
                Ok(0) => return Err(CloseReason::Peer),
                Ok(count) => {
                    self.session.handle_input(self.buffer.get(..count).unwrap_or_default());
                    // A socket gives what it has: if that did not fill the buffer, whoever waits for the descriptor hears of more.
                    self.may_read = count == CHUNK || !stream.gives_all();
                    if !self.may_read {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.may_read = false;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_reason(error)),
            }
        }
        Ok(())
    }

    fn transmit(&mut self, now: Instant) -> Result<(), CloseReason> {
        let Some(stream) = self.stream.as_mut().filter(|_| self.is_connected) else { return Ok(()) };
        while !self.session.transmit().is_empty() {
            match stream.write(self.session.transmit()) {
                Ok(count) => self.session.transmitted(now, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_reason(error)),
            }
        }
        match stream.flush() {
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Err(io_reason(error))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("session", &self.session)
            .field("endpoint", &self.endpoint)
            .field("stream", &self.stream)
            .field("is_connected", &self.is_connected)
            .finish_non_exhaustive()
    }
}

fn io_reason(error: io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CloseReason::Peer,
        _ => CloseReason::Io(reason(&error)),
    }
}

fn with_probes(options: SessionOptions, needs_probes: bool) -> SessionOptions {
    let mut options = options;
    if !needs_probes {
        options.reconnect.probe_interval = None;
    }
    options
}
