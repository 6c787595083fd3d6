//! What a session has to say: actions for its edge, events for its owner, and why a connection ended.

use super::DisconnectReason;
use super::frame::Frame;
use super::outgoing::Amount;
use super::versions::Names;
use super::wire::ErrorReply;
use crate::codec::{MessageType, Version, Versions};

/// What a session wants done to its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionAction {
    /// Begin a connection; then call [`Session::handle_connected`](super::Session::handle_connected) or [`Session::handle_closed`](super::Session::handle_closed).
    Connect,
    /// Close the connection or stop the attempt. The session has done with it: nothing more is to be said of it.
    Close,
}

/// What a session has for its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// Both sides have said hello.
    Connected {
        /// The version that is spoken.
        version: Version,
    },
    /// A message of the version that is spoken; errors and answers to the owner's own echo requests may have another.
    Message(Frame),
    /// The connection or the attempt is over.
    Closed(CloseReason),
}

/// Why a connection or an attempt is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed it.
    #[error("connection closed by peer")]
    Peer,
    /// The peer closed it within a message.
    #[error("connection closed by peer after {0} bytes of a message")]
    HalfMessage(usize),
    /// The system says why.
    #[error("{0}")]
    Io(String),
    /// It took too long, or the peer was silent for too long.
    #[error(transparent)]
    Timeout(#[from] DisconnectReason),
    /// The owner wanted it.
    #[error("closed on request: {0}")]
    Request(String),
    /// What came is not OpenFlow as it was agreed upon.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// How a peer broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A message says that it is shorter than its own header.
    #[error("a message of {length} bytes, shorter than its own header")]
    Length {
        /// What it says.
        length: u16,
    },
    /// The first message is no hello.
    #[error("message of {version} and type {} instead of a hello", kind.0)]
    NoHello {
        /// Its version.
        version: Version,
        /// Its type.
        kind: MessageType,
    },
    /// There is no version in common.
    #[error("no version in common: {} here, {} there", Names(*ours), Names(*theirs))]
    NoVersion {
        /// Those that may be spoken here.
        ours: Versions,
        /// Those of the peer.
        theirs: Versions,
    },
    /// The peer refuses to speak with us.
    #[error("refused by peer: {0}")]
    Refused(ErrorReply),
    /// A second hello.
    #[error("a second hello")]
    SecondHello,
}

/// A message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection, or the hellos are not exchanged.
    #[error("not connected")]
    NotConnected,
    /// Too much waits to be sent.
    #[error("{} messages of {} bytes wait to be sent already", .0.messages, .0.bytes)]
    Full(Amount),
    /// The message has another version than the one that is spoken.
    #[error("message of {found}, where {agreed} is spoken")]
    Version {
        /// That of the message.
        found: Version,
        /// That which is spoken.
        agreed: Version,
    },
}

/// What has happened in a session, over all its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SessionCounters {
    /// Messages that came in, with those that the session answered by itself.
    pub received: u64,
    /// Messages that were sent whole.
    pub sent: u64,
    /// Messages that [`Session::send`](super::Session::send) did not take because too much waited.
    pub refused: u64,
    /// Messages that waited to be sent when their connection ended.
    pub discarded: u64,
    /// Messages of another version than that agreed upon: they are answered by an error, and are for nobody.
    pub wrong_version: u64,
    /// Probes sent.
    pub probes: u64,
}
