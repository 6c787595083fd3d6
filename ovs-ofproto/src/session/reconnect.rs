//! When to connect, to give up, to probe and to try again.
//!
//! An attempt that fails is followed by a pause: 1 second, then twice the last one, up to
//! [`ReconnectOptions::max_backoff`]. A connection that lasted at least as long as the last pause starts anew at 1 second.
//! An attempt, which ends when both sides have said hello, may take as long as the last pause, and at least
//! [`ReconnectOptions::connect_timeout`].
//!
//! A connection on which for [`ReconnectOptions::probe_interval`] nothing came in and no message was sent is probed; when
//! then for as long again nothing comes in, it is given up. So a peer that takes what it is sent, however silently, is not
//! probed, but one that was probed must answer.
//!
//! The states, names and times are those of Open vSwitch's connections to controllers, so that operators find what they
//! know in the columns of the database.
//!
//! Nothing here knows sockets or clocks. A caller whose loop was late hands in what has come before it asks
//! [`Reconnect::poll`], so that its own delay is not taken for the peer's.

use std::fmt;
use std::time::Duration;

use ovs_packet::Instant;

/// How patient to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconnectOptions {
    /// The longest pause between two attempts; at least [`ReconnectOptions::MIN_BACKOFF`].
    pub max_backoff: Duration,
    /// How long there may be silence before the peer is asked for a sign of life; nothing: it is never asked. At least
    /// [`ReconnectOptions::MIN_PROBE_INTERVAL`].
    pub probe_interval: Option<Duration>,
    /// How long an attempt may take at least, with the exchange of hellos; as long as the last pause, if that was longer.
    pub connect_timeout: Duration,
}

impl ReconnectOptions {
    /// The first pause between two attempts.
    pub const MIN_BACKOFF: Duration = Duration::from_secs(1);
    /// The shortest silence after which a peer is probed.
    pub const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(5);

    fn at_least_the_least(self) -> ReconnectOptions {
        ReconnectOptions {
            max_backoff: self.max_backoff.max(Self::MIN_BACKOFF),
            probe_interval: self.probe_interval.map(|interval| interval.max(Self::MIN_PROBE_INTERVAL)),
            ..self
        }
    }
}

impl Default for ReconnectOptions {
    /// Pauses of 1 to 8 seconds, a probe after 5, and a second for an attempt.
    fn default() -> ReconnectOptions {
        ReconnectOptions {
            max_backoff: Duration::from_secs(8),
            probe_interval: Some(Self::MIN_PROBE_INTERVAL),
            connect_timeout: Self::MIN_BACKOFF,
        }
    }
}

/// What [`Reconnect::poll`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconnectAction {
    /// Begin a connection; then say how it went with [`Reconnect::connected`] or [`Reconnect::closed`].
    Connect,
    /// Close the connection or stop the attempt; then say so with [`Reconnect::closed`].
    Disconnect(DisconnectReason),
    /// Send something that the peer must answer.
    Probe,
}

/// Why a connection or an attempt is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectReason {
    /// The attempt, with the exchange of hellos, took too long.
    #[error("connection attempt timed out")]
    ConnectTimeout,
    /// The peer did not answer the probe.
    #[error("no response to inactivity probe")]
    Silent,
}

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconnectState {
    /// No attempt is made.
    Void,
    /// Between two attempts.
    Backoff,
    /// An attempt is under way.
    Connecting,
    /// There is a connection.
    Active,
    /// There is a connection, and a probe on its way.
    Idle,
    /// A connection that the other side made is over, and there will be no other.
    Disconnected,
}

impl fmt::Display for ReconnectState {
    /// As the column `status` of the database has it: `ACTIVE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReconnectState::Void => "VOID",
            ReconnectState::Backoff => "BACKOFF",
            ReconnectState::Connecting => "CONNECTING",
            ReconnectState::Active => "ACTIVE",
            ReconnectState::Idle => "IDLE",
            ReconnectState::Disconnected => "DISCONNECTED",
        })
    }
}

/// When to connect, to give up, to probe and to try again: see the [module](super).
///
/// ```
/// use ovs_ofproto::session::{Reconnect, ReconnectAction, ReconnectOptions};
/// use ovs_packet::Instant;
///
/// let secs = Instant::from_secs;
/// let mut reconnect = Reconnect::active(ReconnectOptions::default(), secs(0));
/// assert_eq!(reconnect.poll(secs(0)), Some(ReconnectAction::Connect));
/// reconnect.closed(secs(0)); // it was refused
/// assert_eq!(reconnect.deadline(), Some(secs(1)));
/// assert_eq!(reconnect.poll(secs(1)), Some(ReconnectAction::Connect));
/// reconnect.connected(secs(1));
/// assert_eq!(reconnect.poll(secs(6)), Some(ReconnectAction::Probe));
/// reconnect.received(secs(7));
/// assert_eq!(reconnect.deadline(), Some(secs(12)));
/// ```
#[derive(Debug, Clone)]
pub struct Reconnect {
    options: ReconnectOptions,
    is_passive: bool,
    state: ReconnectState,
    entered: Instant,
    backoff: Duration,
    /// From when on a connection that ends has lasted; nothing: it has not, whenever it ends.
    lasted_at: Option<Instant>,
    last_activity: Instant,
    last_connected: Option<Instant>,
    last_disconnected: Option<Instant>,
    changes: u64,
}

impl Reconnect {
    /// Makes attempts, the first at once.
    pub fn active(options: ReconnectOptions, now: Instant) -> Reconnect {
        Reconnect::new(options, false, ReconnectState::Backoff, now)
    }

    /// Watches over a connection that the other side has made, and makes no other when it is over.
    pub fn passive(options: ReconnectOptions, now: Instant) -> Reconnect {
        Reconnect::new(options, true, ReconnectState::Connecting, now)
    }

    fn new(options: ReconnectOptions, is_passive: bool, state: ReconnectState, now: Instant) -> Reconnect {
        Reconnect {
            options: options.at_least_the_least(),
            is_passive,
            state,
            entered: now,
            backoff: Duration::ZERO,
            lasted_at: None,
            last_activity: now,
            last_connected: None,
            last_disconnected: None,
            changes: 0,
        }
    }

    /// Where the connection is.
    pub fn state(&self) -> ReconnectState {
        self.state
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, ReconnectState::Active | ReconnectState::Idle)
    }

    /// Whether there is a connection or there will be another attempt.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, ReconnectState::Void | ReconnectState::Disconnected)
    }

    /// How often a connection came or went. It is another number in another connection.
    pub fn seqno(&self) -> u64 {
        self.changes
    }

    /// The pause before the next attempt, or the last one that was made.
    pub fn backoff(&self) -> Duration {
        self.backoff
    }

    /// When the last connection came.
    pub fn last_connected(&self) -> Option<Instant> {
        self.last_connected
    }

    /// When the last connection or attempt ended.
    pub fn last_disconnected(&self) -> Option<Instant> {
        self.last_disconnected
    }

    /// When [`Reconnect::poll`] will have something, if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let probe_interval = self.options.probe_interval;
        match self.state {
            ReconnectState::Void | ReconnectState::Disconnected => None,
            ReconnectState::Backoff => Some(self.entered + self.backoff),
            ReconnectState::Connecting => Some(self.entered + self.backoff.max(self.options.connect_timeout)),
            ReconnectState::Active => probe_interval.map(|interval| self.last_activity.max(self.entered) + interval),
            ReconnectState::Idle => probe_interval.map(|interval| self.entered + interval),
        }
    }

    /// Changes the times. A pause that is now too long is shortened.
    pub fn set_options(&mut self, options: ReconnectOptions) {
        self.options = options.at_least_the_least();
        self.backoff = self.backoff.min(self.options.max_backoff);
    }

    /// What there is to do now; each thing once, except that a disconnection is asked for until it is done.
    pub fn poll(&mut self, now: Instant) -> Option<ReconnectAction> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match self.state {
            ReconnectState::Void | ReconnectState::Disconnected => None,
            ReconnectState::Backoff => {
                self.lasted_at = Some(now + self.backoff);
                self.enter(now, ReconnectState::Connecting);
                Some(ReconnectAction::Connect)
            }
            ReconnectState::Connecting => {
                self.lasted_at = None;
                Some(ReconnectAction::Disconnect(DisconnectReason::ConnectTimeout))
            }
            ReconnectState::Active => {
                self.enter(now, ReconnectState::Idle);
                Some(ReconnectAction::Probe)
            }
            ReconnectState::Idle => Some(ReconnectAction::Disconnect(DisconnectReason::Silent)),
        }
    }

    /// Takes note that there is a connection, on which both sides have said hello.
    pub fn connected(&mut self, now: Instant) {
        if self.state == ReconnectState::Connecting {
            self.last_connected = Some(now);
            self.enter(now, ReconnectState::Active);
        }
    }

    /// Takes note that something came in.
    pub fn received(&mut self, now: Instant) {
        self.last_activity = now;
        if self.state == ReconnectState::Idle {
            self.enter(now, ReconnectState::Active);
        }
    }

    /// Takes note that a whole message was sent.
    pub fn sent(&mut self, now: Instant) {
        self.last_activity = now;
    }

    /// Takes note that the connection or the attempt is over, whatever the reason.
    pub fn closed(&mut self, now: Instant) {
        if !matches!(self.state, ReconnectState::Connecting | ReconnectState::Active | ReconnectState::Idle) {
            return;
        }
        self.last_disconnected = Some(now);
        if self.is_passive {
            self.enter(now, ReconnectState::Disconnected);
            return;
        }
        let has_lasted = self.lasted_at.is_some_and(|at| now >= at);
        let longer = if has_lasted { Duration::ZERO } else { self.backoff.saturating_mul(2) };
        self.backoff = longer.clamp(ReconnectOptions::MIN_BACKOFF, self.options.max_backoff);
        self.enter(now, ReconnectState::Backoff);
    }

    /// Makes no more attempts. What there is of a connection is the caller's to close.
    pub fn disable(&mut self, now: Instant) {
        self.backoff = Duration::ZERO;
        self.enter(now, ReconnectState::Void);
    }

    fn enter(&mut self, now: Instant, state: ReconnectState) {
        let was_connected = self.is_connected();
        self.state = state;
        self.entered = now;
        if was_connected != self.is_connected() {
            self.changes = self.changes.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn secs(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    fn active(options: ReconnectOptions) -> Reconnect {
        Reconnect::active(options, secs(0))
    }

    /// The pauses that a peer sees which refuses every attempt.
    fn pauses(reconnect: &mut Reconnect, count: usize) -> Vec<u64> {
        let mut now = reconnect.entered;
        let mut pauses = Vec::new();
        while pauses.len() < count {
            let deadline = reconnect.deadline().unwrap();
            pauses.push((deadline - now).as_secs());
            now = deadline;
            assert_eq!(reconnect.poll(now), Some(ReconnectAction::Connect));
            reconnect.closed(now);
        }
        pauses
    }

    #[test]
    fn pauses_double_up_to_the_maximum() {
        assert_eq!(pauses(&mut active(ReconnectOptions::default()), 7), [0, 1, 2, 4, 8, 8, 8]);
        let odd = ReconnectOptions { max_backoff: 6 * SECOND, ..ReconnectOptions::default() };
        assert_eq!(pauses(&mut active(odd), 6), [0, 1, 2, 4, 6, 6]);
        let none = ReconnectOptions { max_backoff: Duration::ZERO, ..odd };
        assert_eq!(pauses(&mut active(none), 4), [0, 1, 1, 1]);
    }

    #[test]
    fn a_connection_that_lasted_starts_anew_one_that_did_not_goes_on() {
        let mut reconnect = active(ReconnectOptions::default());
        pauses(&mut reconnect, 4);
        assert_eq!(reconnect.backoff(), 8 * SECOND);
        for (lasted, backoff) in [(1, 8), (7, 8), (8, 1), (0, 2), (2, 1)] {
            let now = reconnect.deadline().unwrap();
            reconnect.poll(now);
            reconnect.connected(now);
            reconnect.closed(now + lasted * SECOND);
            assert_eq!(reconnect.backoff(), backoff * SECOND, "after {lasted}");
        }
        assert_eq!(reconnect.seqno(), 10);
    }

    #[test]
    fn an_attempt_that_takes_too_long_never_starts_anew() {
        let mut reconnect = active(ReconnectOptions::default());
        for backoff in [1, 2, 4, 8, 8] {
            reconnect.poll(reconnect.deadline().unwrap());
            let late = reconnect.deadline().unwrap();
            let timeout = Some(ReconnectAction::Disconnect(DisconnectReason::ConnectTimeout));
            assert_eq!((reconnect.poll(late), reconnect.poll(late)), (timeout, timeout));
            reconnect.closed(late);
            assert_eq!(reconnect.backoff(), backoff * SECOND);
        }
    }

    #[test]
    fn silence_is_probed_then_given_up() {
        let mut reconnect = active(ReconnectOptions::default());
        reconnect.poll(secs(0));
        reconnect.connected(secs(0));
        reconnect.sent(secs(3));
        assert_eq!(reconnect.poll(secs(7)), None);
        assert_eq!(reconnect.poll(secs(8)), Some(ReconnectAction::Probe));
        assert_eq!(reconnect.state().to_string(), "IDLE");
        reconnect.sent(secs(8)); // a message sent is no answer
        assert_eq!(reconnect.poll(secs(12)), None);
        assert_eq!(reconnect.poll(secs(13)), Some(ReconnectAction::Disconnect(DisconnectReason::Silent)));
        reconnect.received(secs(13));
        assert_eq!((reconnect.poll(secs(13)), reconnect.deadline()), (None, Some(secs(18))));
    }

    #[test]
    fn silence_before_the_connection_does_not_count() {
        let mut reconnect = active(ReconnectOptions::default());
        reconnect.poll(secs(100));
        reconnect.connected(secs(100));
        assert_eq!((reconnect.poll(secs(100)), reconnect.deadline()), (None, Some(secs(105))));
    }

    #[test]
    fn without_an_interval_silence_is_no_matter() {
        let mut reconnect = active(ReconnectOptions { probe_interval: None, ..ReconnectOptions::default() });
        reconnect.poll(secs(0));
        reconnect.connected(secs(0));
        assert_eq!((reconnect.deadline(), reconnect.poll(secs(1 << 30))), (None, None));
    }

    #[test]
    fn what_is_too_short_is_made_longer() {
        let short = ReconnectOptions { probe_interval: Some(SECOND), ..ReconnectOptions::default() };
        let mut reconnect = active(short);
        reconnect.poll(secs(0));
        reconnect.connected(secs(0));
        assert_eq!(reconnect.deadline(), Some(secs(5)));
    }

    #[test]
    fn a_connection_of_the_other_side_is_not_made_again() {
        let mut reconnect = Reconnect::passive(ReconnectOptions::default(), secs(0));
        assert_eq!(reconnect.deadline(), Some(secs(1)));
        reconnect.connected(secs(0));
        assert!(reconnect.is_connected() && reconnect.is_alive());
        reconnect.closed(secs(3));
        assert_eq!((reconnect.state(), reconnect.deadline()), (ReconnectState::Disconnected, None));
        assert!(!reconnect.is_alive());
        reconnect.connected(secs(4));
        assert!(!reconnect.is_connected());
    }

    #[test]
    fn a_pause_is_shortened_with_the_maximum() {
        let mut reconnect = active(ReconnectOptions::default());
        pauses(&mut reconnect, 4);
        reconnect.set_options(ReconnectOptions { max_backoff: 2 * SECOND, ..ReconnectOptions::default() });
        assert_eq!(reconnect.deadline(), Some(secs(7 + 2)));
        reconnect.disable(secs(8));
        assert_eq!((reconnect.poll(secs(99)), reconnect.is_alive()), (None, false));
    }
}
