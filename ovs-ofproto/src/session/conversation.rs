//! One end of a conversation, a switch's or a controller's: version negotiation, signs of life, bounded queues,
//! connections that are made again. See [`Session`].

use std::collections::VecDeque;
use std::time::Duration;

use ovs_packet::Instant;

use super::event::{CloseReason, ProtocolError, SendError, SessionAction, SessionCounters, SessionEvent};
use super::frame::Frame;
use super::outgoing::{Amount, Class, Outgoing};
use super::wire::{self, ErrorReply};
use super::{Reconnect, ReconnectAction, ReconnectOptions, ReconnectState};
use crate::codec::{Framer, MessageType, Version, Versions, negotiate};

/// The transaction id of what a session says of itself: hellos and probes. [`Xids`](super::Xids) never gives it.
const OWN_XID: u32 = 0;

/// How long a connection that is to be closed may take to send what waits, the reason for the end at its tail.
const LINGER: Duration = Duration::from_secs(1);

/// How a session behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOptions {
    /// The versions that may be spoken; the highest that the peer has too is.
    pub versions: Versions,
    /// When to connect, probe and give up.
    pub reconnect: ReconnectOptions,
    /// What may wait.
    pub limits: SessionLimits,
    /// Whether messages of other versions go in and out too: for tools that look on, or see what becomes of them.
    pub any_version: bool,
    /// What becomes of the peer's echo requests.
    pub echoes: Echoes,
}

/// What a session does with the echo requests of its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Echoes {
    /// They are answered, and the owner does not hear of them, nor of answers with the id that the session's own have.
    #[default]
    Answered,
    /// They are answered, and given to the owner like other messages: for tools that show all that is said.
    AnsweredAndTold,
    /// They are given to the owner and nothing is said to them: for tools that look on where others talk.
    Told,
}

impl Default for SessionOptions {
    /// Every version, and the defaults of the parts.
    fn default() -> SessionOptions {
        SessionOptions {
            versions: Versions::up_to(Version::V1_5),
            reconnect: ReconnectOptions::default(),
            limits: SessionLimits::default(),
            any_version: false,
            echoes: Echoes::default(),
        }
    }
}

/// What a peer may make a session hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Bytes that came in and were not taken out, from which on no more input is wanted; at least 65535, so that every
    /// message fits. They are held as they came: what of them are messages takes nothing more.
    pub inbound: usize,
    /// What waits to be sent, in all, from which on [`Session::send`] refuses and no more input is wanted.
    pub outbound: Amount,
    /// Replies that wait to be sent, from which on no more messages are given out.
    pub replies: Amount,
    /// Packets for the controller that wait to be sent, from which on [`Session::send`] refuses more of them.
    pub packet_ins: usize,
    /// Bytes of updates of flow monitors that wait to be sent, from which on [`Session::send`] refuses more of them.
    pub monitor_bytes: usize,
}

impl Default for SessionLimits {
    /// 64 KiB in; 64 Ki messages and 8 MiB out, of these 100 replies of 64 KiB in all, 100 packets and 128 KiB of updates. So
    /// a peer that only asks makes a session hold little more than 200 KiB.
    fn default() -> SessionLimits {
        SessionLimits {
            inbound: 64 << 10,
            outbound: Amount { messages: 64 << 10, bytes: 8 << 20 },
            replies: Amount { messages: 100, bytes: 64 << 10 },
            packet_ins: 100,
            monitor_bytes: 128 << 10,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Down,
    /// Our hello is sent or on its way, the peer's has not come.
    Hello,
    /// A version is agreed upon.
    Open(Version),
    /// To be closed when all is sent, or at this time.
    Closing(Instant),
}

/// One end of an OpenFlow conversation that outlives its connections; no socket, no clock.
///
/// The two ends differ only in who connects and in what they say: [`Session::active`] makes connections and makes them
/// again, [`Session::passive`] is on a connection that the other side has made. Either says hello, agrees on a version,
/// answers echo requests, and probes a peer that is silent.
///
/// What goes in: [`handle_connected`](Session::handle_connected), [`handle_input`](Session::handle_input),
/// [`handle_closed`](Session::handle_closed), [`transmitted`](Session::transmitted). What comes out:
/// [`poll_action`](Session::poll_action), [`poll_event`](Session::poll_event), [`transmit`](Session::transmit),
/// [`poll_timeout`](Session::poll_timeout). After anything went in, poll all of them. Read before you poll for actions, so
/// that your own delay is not taken for the peer's silence; what was read and not polled for stops the time.
///
/// # Invariants
///
/// - Of input no more is held than [`SessionLimits::inbound`] and one piece, for an owner that heeds
///   [`wants_input`](Session::wants_input); of output no more than [`SessionLimits::outbound`] and a message.
/// - A peer that asks and does not read is not read from; it is then silent, and given up if it is probed.
/// - Each connection begins with empty queues. After [`SessionEvent::Closed`] nothing of it comes.
///
/// ```
/// use ovs_ofproto::codec::Version;
/// use ovs_ofproto::session::{Session, SessionAction, SessionEvent, SessionOptions};
/// use ovs_packet::Instant;
///
/// let now = Instant::ZERO;
/// let mut session = Session::active(SessionOptions::default(), now);
/// assert_eq!(session.poll_action(now), Some(SessionAction::Connect));
/// session.handle_connected(now);
/// assert_eq!(session.transmit(), [6, 0, 0, 8, 0, 0, 0, 0]); // hello, up to OpenFlow 1.5
/// session.handle_input(&[4, 0, 0, 8, 0, 0, 0, 1]); // hello, up to OpenFlow 1.3
/// assert_eq!(session.poll_event(now), Some(SessionEvent::Connected { version: Version::V1_3 }));
/// ```
#[derive(Debug, Clone)]
pub struct Session {
    options: SessionOptions,
    reconnect: Reconnect,
    phase: Phase,
    framer: Framer,
    /// Whether the framer may have a message.
    is_unread: bool,
    outgoing: Outgoing,
    events: VecDeque<SessionEvent>,
    /// The peer closed the connection; what it said before is still to be given out.
    ended: Option<CloseReason>,
    version: Option<Version>,
    peer_hello: Option<Frame>,
    last_close: Option<CloseReason>,
    counters: SessionCounters,
}

impl Session {
    /// A session that makes connections, the first at once.
    pub fn active(options: SessionOptions, now: Instant) -> Session {
        Session::new(options, Reconnect::active(options.reconnect, now))
    }

    /// A session on a connection that the other side has made; say with [`Session::handle_connected`] when it is ready.
    pub fn passive(options: SessionOptions, now: Instant) -> Session {
        Session::new(options, Reconnect::passive(options.reconnect, now))
    }

    fn new(options: SessionOptions, reconnect: Reconnect) -> Session {
        Session {
            options,
            reconnect,
            phase: Phase::Down,
            framer: Framer::new(),
            is_unread: false,
            outgoing: Outgoing::default(),
            events: VecDeque::new(),
            ended: None,
            version: None,
            peer_hello: None,
            last_close: None,
            counters: SessionCounters::default(),
        }
    }

    /// Whether both sides have said hello.
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether there is a connection or there will be another attempt.
    pub fn is_alive(&self) -> bool {
        self.reconnect.is_alive() || self.phase != Phase::Down
    }

    /// The version that is spoken, or was last.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// What the other side said hello with, on the connection that is or was last: for those who show what is said.
    pub fn peer_hello(&self) -> Option<&Frame> {
        self.peer_hello.as_ref()
    }

    /// State, times and number of connections.
    pub fn reconnect(&self) -> &Reconnect {
        &self.reconnect
    }

    /// Why the last connection or attempt ended.
    pub fn last_close(&self) -> Option<&CloseReason> {
        self.last_close.as_ref()
    }

    /// What has happened.
    pub fn counters(&self) -> SessionCounters {
        self.counters
    }

    /// What waits to be sent.
    pub fn queued(&self) -> Amount {
        self.outgoing.total()
    }

    /// What waits to be sent of a class.
    pub fn queued_of(&self, class: Class) -> Amount {
        self.outgoing.of(class)
    }

    /// Bytes that came in and were not taken out.
    pub fn incoming(&self) -> usize {
        self.framer.waiting()
    }

    /// Whether something came in that [`Session::poll_event`] has not looked at.
    pub fn is_unread(&self) -> bool {
        self.is_unread || self.ended.is_some() || !self.events.is_empty()
    }

    /// Whether the connection is to be read from. False while the owner takes too little out, and while the peer takes
    /// too little of what is sent to it.
    pub fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Hello | Phase::Open(_) => self.ended.is_none() && !self.is_input_full() && !self.is_output_full(),
            Phase::Down | Phase::Closing(_) => false,
        }
    }

    fn is_input_full(&self) -> bool {
        self.framer.waiting() >= self.options.limits.inbound.max(usize::from(u16::MAX))
    }

    /// Whether there are events that the owner has not polled for. Time stands still meanwhile: what the peer said is not
    /// known yet.
    fn awaits_owner(&self) -> bool {
        self.ended.is_some() || self.is_unread && !self.is_output_full()
    }

    fn is_output_full(&self) -> bool {
        let limits = &self.options.limits;
        self.outgoing.of(Class::Reply).reaches(limits.replies) || self.outgoing.total().reaches(limits.outbound)
    }

    /// The bytes to send next.
    pub fn transmit(&self) -> &[u8] {
        self.outgoing.bytes()
    }

    /// When [`Session::poll_action`] is to be called, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closing(_) if self.outgoing.bytes().is_empty() => Some(Instant::ZERO),
            Phase::Closing(until) => Some(until),
            _ if self.awaits_owner() => None,
            _ => self.reconnect.deadline(),
        }
    }

    /// Changes versions, times and limits. Versions count from the next connection on.
    pub fn set_options(&mut self, options: SessionOptions) {
        self.options = options;
        self.reconnect.set_options(options.reconnect);
    }

    /// The connection that was asked for is there, or the one that the other side made is ready.
    pub fn handle_connected(&mut self, now: Instant) {
        self.framer = Framer::new();
        self.is_unread = false;
        self.outgoing = Outgoing::default();
        self.ended = None;
        self.phase = Phase::Hello;
        match wire::hello(self.options.versions, OWN_XID) {
            Some(hello) => self.outgoing.push(&hello, Class::Other),
            None => self.close(now, "no version of OpenFlow is allowed"),
        }
    }

    /// Bytes that came in.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        if matches!(self.phase, Phase::Hello | Phase::Open(_)) && self.ended.is_none() {
            self.framer.push(bytes);
            self.is_unread |= !bytes.is_empty();
        }
    }

    /// The peer closed the connection ([`CloseReason::Peer`]), or it or the attempt failed. What came in before is still
    /// given out, then the end.
    pub fn handle_closed(&mut self, now: Instant, reason: CloseReason) {
        match self.phase {
            Phase::Hello | Phase::Open(_) => {
                self.outgoing_ends();
                self.ended = Some(reason);
            }
            Phase::Down => self.end(now, reason, Phase::Down),
            Phase::Closing(_) => {
                self.outgoing_ends();
                self.phase = Phase::Down;
            }
        }
    }

    /// Closes the connection or attempt that there is, for a reason that the owner has. What waits to be sent still is,
    /// if the peer takes it within a second.
    pub fn close(&mut self, now: Instant, reason: &str) {
        let is_attempt = self.reconnect.state() == ReconnectState::Connecting;
        let next = match self.phase {
            Phase::Down if is_attempt => Phase::Closing(now),
            Phase::Hello | Phase::Open(_) if self.ended.is_none() => Phase::Closing(now + LINGER),
            Phase::Hello | Phase::Open(_) => Phase::Down,
            Phase::Down | Phase::Closing(_) => return,
        };
        self.end(now, CloseReason::Request(reason.to_owned()), next);
    }

    /// Closes what there is as [`Session::close`] does, and makes no more attempts.
    pub fn shut_down(&mut self, now: Instant, reason: &str) {
        self.close(now, reason);
        self.reconnect.disable(now);
    }

    /// What is to be done to the connection; call it until there is nothing.
    pub fn poll_action(&mut self, now: Instant) -> Option<SessionAction> {
        if let Phase::Closing(until) = self.phase {
            if !self.outgoing.bytes().is_empty() && now < until {
                return None;
            }
            self.outgoing_ends();
            self.phase = Phase::Down;
            return Some(SessionAction::Close);
        }
        if self.awaits_owner() {
            return None;
        }
        match self.reconnect.poll(now)? {
            ReconnectAction::Connect => Some(SessionAction::Connect),
            ReconnectAction::Disconnect(reason) => {
                self.outgoing_ends();
                self.end(now, reason.into(), Phase::Down);
                Some(SessionAction::Close)
            }
            ReconnectAction::Probe => {
                if let Phase::Open(version) = self.phase {
                    self.outgoing.push(&wire::echo_request(version, OWN_XID), Class::Other);
                    self.counters.probes = self.counters.probes.saturating_add(1);
                }
                None
            }
        }
    }

    /// What there is for the owner; call it until there is nothing.
    pub fn poll_event(&mut self, now: Instant) -> Option<SessionEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let frame = match self.phase {
                Phase::Hello | Phase::Open(_) if self.ended.is_some() || !self.is_output_full() => self.framer.next(),
                _ => None,
            };
            match frame {
                Some(Ok(bytes)) => match Frame::new(bytes) {
                    Ok(frame) => {
                        self.counters.received = self.counters.received.saturating_add(1);
                        self.reconnect.received(now);
                        if let Some(frame) = self.handle_frame(now, frame) {
                            return Some(SessionEvent::Message(frame));
                        }
                    }
                    Err(error) => self.fail_length(now, error.said.unwrap_or_default()),
                },
                Some(Err(error)) => self.fail_length(now, error.length),
                None => {
                    self.is_unread &= self.is_output_full() && self.ended.is_none();
                    let reason = match (self.ended.take()?, self.framer.waiting()) {
                        (CloseReason::Peer, half @ 1..) => CloseReason::HalfMessage(half),
                        (reason, _) => reason,
                    };
                    self.end(now, reason, Phase::Down);
                }
            }
        }
    }

    /// Queues a message to be sent.
    ///
    /// # Errors
    /// [`SendError`]; nothing is queued then.
    pub fn send(&mut self, frame: &Frame, class: Class) -> Result<(), SendError> {
        let Phase::Open(agreed) = self.phase else { return Err(SendError::NotConnected) };
        if self.ended.is_some() {
            return Err(SendError::NotConnected);
        }
        let found = frame.version();
        if found != agreed && !self.options.any_version && !wire::is_of_any_version(frame.kind()) {
            return Err(SendError::Version { found, agreed });
        }
        let (limits, of_class, total) = (&self.options.limits, self.outgoing.of(class), self.outgoing.total());
        let full = match class {
            Class::PacketIn if of_class.messages >= limits.packet_ins => Some(of_class),
            Class::Monitor if of_class.bytes >= limits.monitor_bytes => Some(of_class),
            _ => Some(total).filter(|total| total.reaches(limits.outbound)),
        };
        if let Some(amount) = full {
            self.counters.refused = self.counters.refused.saturating_add(1);
            return Err(SendError::Full(amount));
        }
        self.outgoing.push(frame, class);
        Ok(())
    }

    /// Takes note that the first `count` bytes of [`Session::transmit`] are sent.
    pub fn transmitted(&mut self, now: Instant, count: usize) {
        let ended = self.outgoing.advance(count);
        if ended > 0 {
            self.counters.sent = self.counters.sent.saturating_add(u64::try_from(ended).unwrap_or(u64::MAX));
            self.reconnect.sent(now);
        }
    }

    /// Does what is the session's own to do, and gives back what is for the owner.
    fn handle_frame(&mut self, now: Instant, frame: Frame) -> Option<Frame> {
        let kind = frame.kind();
        let Phase::Open(agreed) = self.phase else {
            self.handle_hello(now, &frame);
            return None;
        };
        if frame.version() != agreed && !self.options.any_version && !wire::is_of_any_version(kind) {
            // It is refused as its sender spoke, who may go on as agreed.
            let known = Version::KNOWN.contains(&frame.version());
            self.answer(&wire::bad_version(&frame, if known { frame.version() } else { agreed }));
            self.counters.wrong_version = self.counters.wrong_version.saturating_add(1);
            return None;
        }
        match kind {
            MessageType::HELLO => {
                self.fail(now, ProtocolError::SecondHello, Some(wire::bad_type(&frame, agreed)));
                None
            }
            MessageType::ECHO_REQUEST => {
                if self.options.echoes != Echoes::Told {
                    self.answer(&wire::echo_reply(&frame));
                }
                (self.options.echoes != Echoes::Answered).then_some(frame)
            }
            MessageType::ECHO_REPLY if frame.xid() == OWN_XID && self.options.echoes == Echoes::Answered => None,
            _ => Some(frame),
        }
    }

    fn handle_hello(&mut self, now: Instant, frame: &Frame) {
        let (kind, version) = (frame.kind(), frame.version());
        if let Some(error) = ErrorReply::of(frame) {
            return self.fail(now, ProtocolError::Refused(error), None);
        }
        if kind != MessageType::HELLO {
            return self.fail(now, ProtocolError::NoHello { version, kind }, None);
        }
        let (ours, theirs) = (self.options.versions, wire::hello_versions(frame));
        self.peer_hello = Some(frame.clone());
        match negotiate(ours, theirs) {
            Some(version) => {
                self.phase = Phase::Open(version);
                self.version = Some(version);
                self.reconnect.connected(now);
                self.events.push_back(SessionEvent::Connected { version });
            }
            None => {
                let error = ProtocolError::NoVersion { ours, theirs };
                let said = theirs.highest().or(ours.highest()).unwrap_or(version);
                let answer = wire::hello_failed(frame, said, &error.to_string());
                self.fail(now, error, Some(answer));
            }
        }
    }

    fn fail_length(&mut self, now: Instant, length: u16) {
        let answer = match self.phase {
            Phase::Open(version) => Some(wire::bad_length(version)),
            _ => None,
        };
        self.fail(now, ProtocolError::Length { length }, answer);
    }

    fn fail(&mut self, now: Instant, error: ProtocolError, answer: Option<Frame>) {
        if let Some(answer) = answer {
            self.answer(&answer);
        }
        // The peer that has closed already takes no answer.
        let next = if self.ended.take().is_some() { Phase::Down } else { Phase::Closing(now + LINGER) };
        self.end(now, error.into(), next);
    }

    fn answer(&mut self, frame: &Frame) {
        if self.ended.is_none() {
            self.outgoing.push(frame, Class::Reply);
        }
    }

    fn end(&mut self, now: Instant, reason: CloseReason, next: Phase) {
        self.reconnect.closed(now);
        self.framer = Framer::new();
        self.is_unread = false;
        self.ended = None;
        self.phase = next;
        self.last_close = Some(reason.clone());
        // Of attempts that fail while the owner does not look, the last is told.
        if matches!(self.events.back(), Some(SessionEvent::Closed(_))) {
            self.events.pop_back();
        }
        self.events.push_back(SessionEvent::Closed(reason));
    }

    /// Nothing more can be sent.
    fn outgoing_ends(&mut self) {
        let left = u64::try_from(self.outgoing.total().messages).unwrap_or(u64::MAX);
        self.counters.discarded = self.counters.discarded.saturating_add(left);
        self.outgoing = Outgoing::default();
    }
}
