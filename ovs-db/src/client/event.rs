//! What a client is told to do, and what it tells.

#[cfg(doc)]
use super::Client;
use super::monitor::Missing;
use super::transaction::Report;
use crate::rpc::{Remote, SessionOptions};

/// How a client behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// Connections: pauses, probes, limits.
    pub session: SessionOptions,
    /// Whether to talk to no server of a cluster but its leader.
    pub leader_only: bool,
    /// The cluster that the database must be of; nothing: any, or none.
    pub cluster: Option<uuid::Uuid>,
    /// The lock to hold (RFC 7047 section 4.1.8): without it, nothing is committed.
    pub lock: Option<String>,
    /// The most transactions that are under way or have a report that was not taken.
    pub max_transactions: usize,
}

impl Default for ClientOptions {
    /// Any server, no lock, 1,000 transactions.
    fn default() -> ClientOptions {
        ClientOptions {
            session: SessionOptions::default(),
            leader_only: false,
            cluster: None,
            lock: None,
            max_transactions: 1000,
        }
    }
}

/// Names a transaction that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub(crate) i64);

/// What [`Client::commit`] did.
#[derive(Debug, Clone, PartialEq)]
pub enum Commit {
    /// The transaction is sent. [`Client::poll_report`] will have its report.
    Sent(TransactionId),
    /// There is nothing to wait for.
    Done(Report),
}

/// Something that an operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// There is a connection.
    Connected(Remote),
    /// The connection or the attempt is over.
    Disconnected {
        /// Where it led.
        remote: Option<Remote>,
        /// Why it ended.
        reason: String,
    },
    /// The replica has all of the database, and follows it from here.
    Following,
    /// The server has less than is wanted: see [`Client::missing`].
    Incomplete(Vec<Missing>),
    /// The server does not do as it should, or as it is asked.
    Problem(String),
    /// The client owns its lock.
    LockAcquired,
    /// The client owns its lock no more.
    LockLost,
}
