//! What the demo's story needs of the world it plays in.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ovs_packet::Instant;

use crate::switch::Switch;

/// What came of some pings.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Ping {
    /// Requests sent.
    pub sent: u64,
    /// Requests answered.
    pub received: u64,
    /// Time to each answer.
    pub rtts: Vec<Duration>,
}

/// What came of a bulk transfer.
#[derive(Clone, PartialEq, Debug)]
pub struct Transfer {
    /// Bytes of payload that arrived.
    pub bytes: u64,
    /// Whether every one of them was right.
    pub intact: bool,
    /// Bits of payload in a second.
    pub bits_per_second: f64,
}

/// Why the stage failed. Displays as one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StageError(Box<dyn std::error::Error + Send + Sync>);

impl StageError {
    /// An error of the stage's own parts.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StageError {
        StageError(source.into())
    }
}

/// Two hosts, A and B, with a switch between them.
pub trait Stage {
    /// One word for machines: `live` or `memory`.
    fn kind(&self) -> &'static str;

    /// What the stage is, in a line.
    fn describe(&self) -> String;

    /// The hosts' names and addresses.
    fn hosts(&self) -> [(String, String); 2];

    /// Has A ping B.
    ///
    /// # Errors
    /// If no request can be sent.
    fn ping(&mut self, count: u16, interval: Duration) -> Result<Ping, StageError>;

    /// Has A send `bytes` to B over TCP, until `stop` is set; `None` if the stage's hosts speak none.
    ///
    /// # Errors
    /// If there is no connection.
    fn transfer(&mut self, bytes: u64, stop: &AtomicBool) -> Result<Option<Transfer>, StageError>;

    /// Does something with the switch.
    ///
    /// # Errors
    /// If the switch is gone.
    fn switch<T: Send + 'static>(
        &mut self,
        f: impl FnOnce(&mut Switch, Instant) -> T + Send + 'static,
    ) -> Result<T, StageError>;
}
