//! When to connect, to give up, to probe and to try again.
//!
//! An attempt that fails is followed by a pause: [`ReconnectOptions::min_backoff`], then twice the last one, up to
//! [`ReconnectOptions::max_backoff`]. A connection that worked at least as long as the last pause starts anew at the
//! shortest; how long it worked is counted up to the last sign of life. An attempt may take as long as the last pause, and
//! at least [`ReconnectOptions::connect_timeout`].
//!
//! A connection on which for [`ReconnectOptions::probe_interval`] nothing came in and of which no [`sent`](Reconnect::sent)
//! was told is probed; when then for as long again nothing comes in, it is given up. So where a protocol tells of what it
//! sent, a peer that takes it, however silently, is not probed; but one that was probed must answer.
//!
//! The states, names and times are those of Open vSwitch's connections, so that operators find what they know in the
//! columns of the database.
//!
//! Nothing here knows sockets or clocks. A caller whose loop was late hands in what has come before it asks
//! [`Reconnect::poll`], so that its own delay is not taken for the peer's.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// What a clock of the caller's gives: `std::time::Instant`, the [`Duration`] since an epoch, or a type of its own.
pub trait Time: Copy + Ord + Add<Duration, Output = Self> + Sub<Self, Output = Duration> {}

impl<T: Copy + Ord + Add<Duration, Output = T> + Sub<T, Output = Duration>> Time for T {}

/// The longest time that counts, 136 years, so that deadlines do not overflow.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// How patient to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconnectOptions {
    /// The first pause between two attempts; at least [`ReconnectOptions::SHORTEST`].
    pub min_backoff: Duration,
    /// The longest pause between two attempts; at least `min_backoff`.
    pub max_backoff: Duration,
    /// How long there may be silence before the peer is asked for a sign of life; nothing: it is never asked. At least
    /// [`ReconnectOptions::SHORTEST`].
    pub probe_interval: Option<Duration>,
    /// How long an attempt may take at least, with what the protocol exchanges first; as long as the last pause, if that was
    /// longer.
    pub connect_timeout: Duration,
}

impl ReconnectOptions {
    /// The least value that pauses and probes have; shorter ones are taken for this.
    pub const SHORTEST: Duration = Duration::from_secs(1);

    fn in_bounds(self) -> ReconnectOptions {
        let bounded = |time: Duration| time.clamp(Self::SHORTEST, LONGEST);
        let min_backoff = bounded(self.min_backoff);
        ReconnectOptions {
            min_backoff,
            max_backoff: bounded(self.max_backoff).max(min_backoff),
            probe_interval: self.probe_interval.map(bounded),
            connect_timeout: self.connect_timeout.min(LONGEST),
        }
    }
}

impl Default for ReconnectOptions {
    /// Pauses of 1 to 8 seconds, a probe after 5, and a second for an attempt.
    fn default() -> ReconnectOptions {
        ReconnectOptions {
            min_backoff: Self::SHORTEST,
            max_backoff: Duration::from_secs(8),
            probe_interval: Some(Duration::from_secs(5)),
            connect_timeout: Self::SHORTEST,
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
    /// The attempt, with what the protocol exchanges first, took too long.
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

/// When to connect, to give up, to probe and to try again. `T` is what the caller's clock gives.
///
/// An attempt that fails is tried again after a pause that doubles; a connection on which nothing comes in is probed, and
/// given up when nothing comes in for as long again. A caller whose loop was late hands in what has come before it asks
/// [`Reconnect::poll`], so that its own delay is not taken for the peer's.
///
/// ```
/// use std::time::Duration;
/// use ovs_stream::{Reconnect, ReconnectAction, ReconnectOptions};
///
/// let secs = Duration::from_secs;
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
pub struct Reconnect<T> {
    options: ReconnectOptions,
    is_passive: bool,
    state: ReconnectState,
    entered: T,
    backoff: Duration,
    /// Attempts that follow each other without a pause, after a connection that worked and now.
    free_tries: u32,
    free_tries_left: u32,
    last_activity: T,
    last_connected: Option<T>,
    last_disconnected: Option<T>,
    changes: u64,
}

impl<T: Time> Reconnect<T> {
    /// Makes attempts, the first at once.
    pub fn active(options: ReconnectOptions, now: T) -> Reconnect<T> {
        Reconnect::new(options, false, ReconnectState::Backoff, now)
    }

    /// Watches over a connection that the other side has made, and makes no other when it is over.
    pub fn passive(options: ReconnectOptions, now: T) -> Reconnect<T> {
        Reconnect::new(options, true, ReconnectState::Connecting, now)
    }

    /// Makes no attempt until it is [enabled](Reconnect::enable).
    pub fn disabled(options: ReconnectOptions, now: T) -> Reconnect<T> {
        Reconnect::new(options, false, ReconnectState::Void, now)
    }

    fn new(options: ReconnectOptions, is_passive: bool, state: ReconnectState, now: T) -> Reconnect<T> {
        Reconnect {
            options: options.in_bounds(),
            is_passive,
            state,
            entered: now,
            backoff: Duration::ZERO,
            free_tries: 0,
            free_tries_left: 0,
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

    /// Whether there is a connection or an attempt under way: something to close.
    pub fn is_open(&self) -> bool {
        self.is_connected() || self.state == ReconnectState::Connecting
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
    pub fn last_connected(&self) -> Option<T> {
        self.last_connected
    }

    /// When the last connection or attempt ended.
    pub fn last_disconnected(&self) -> Option<T> {
        self.last_disconnected
    }

    /// When [`Reconnect::poll`] will have something, if nothing else happens before.
    pub fn deadline(&self) -> Option<T> {
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
        self.options = options.in_bounds();
        self.backoff = self.backoff.min(self.options.max_backoff);
    }

    /// Lets the next `tries` attempts follow each other without a pause, as is right when each goes to another place; and as
    /// many again after a connection that worked.
    pub fn set_free_tries(&mut self, tries: u32) {
        self.free_tries = tries;
        self.free_tries_left = tries;
    }

    /// What there is to do now; each thing once, except that a disconnection is asked for until it is done.
    pub fn poll(&mut self, now: T) -> Option<ReconnectAction> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match self.state {
            ReconnectState::Void | ReconnectState::Disconnected => None,
            ReconnectState::Backoff => {
                self.enter(now, ReconnectState::Connecting);
                Some(ReconnectAction::Connect)
            }
            ReconnectState::Connecting => Some(ReconnectAction::Disconnect(DisconnectReason::ConnectTimeout)),
            ReconnectState::Active => {
                self.enter(now, ReconnectState::Idle);
                Some(ReconnectAction::Probe)
            }
            ReconnectState::Idle => Some(ReconnectAction::Disconnect(DisconnectReason::Silent)),
        }
    }

    /// Takes note that there is a connection, on which what the protocol exchanges first is done.
    pub fn connected(&mut self, now: T) {
        if self.state == ReconnectState::Connecting {
            self.last_connected = Some(now);
            self.last_activity = now;
            self.enter(now, ReconnectState::Active);
        }
    }

    /// Takes note that something came in.
    pub fn received(&mut self, now: T) {
        self.last_activity = now;
        if self.state == ReconnectState::Idle {
            self.enter(now, ReconnectState::Active);
        }
    }

    /// Takes note that a whole message was sent.
    pub fn sent(&mut self, now: T) {
        self.last_activity = now;
    }

    /// Takes note that the connection or the attempt is over, whatever the reason.
    pub fn closed(&mut self, now: T) {
        if !self.is_open() {
            return;
        }
        self.last_disconnected = Some(now);
        if self.is_passive {
            self.enter(now, ReconnectState::Disconnected);
            return;
        }
        let ReconnectOptions { min_backoff, max_backoff, .. } = self.options;
        let at_least = self.backoff.max(min_backoff);
        let has_worked = self.is_connected()
            && self.last_connected.is_some_and(|connected| self.last_activity >= connected + at_least);
        if has_worked {
            self.free_tries_left = self.free_tries;
        }
        self.backoff = if self.free_tries_left > 1 {
            self.free_tries_left = self.free_tries_left.saturating_sub(1);
            Duration::ZERO
        } else if has_worked {
            min_backoff
        } else {
            self.backoff.saturating_mul(2).clamp(min_backoff, max_backoff)
        };
        self.enter(now, ReconnectState::Backoff);
    }

    /// Begins to make attempts, if none are made; the first at once.
    pub fn enable(&mut self, now: T) {
        if self.state == ReconnectState::Void {
            self.enter(now, ReconnectState::Backoff);
        }
    }

    /// Makes no more attempts. What there is of a connection is the caller's to close.
    pub fn disable(&mut self, now: T) {
        self.backoff = Duration::ZERO;
        self.enter(now, ReconnectState::Void);
    }

    fn enter(&mut self, now: T, state: ReconnectState) {
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

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn active(options: ReconnectOptions) -> Reconnect<Duration> {
        Reconnect::active(options, secs(0))
    }

    /// The pauses that a peer sees which refuses every attempt.
    fn pauses(reconnect: &mut Reconnect<Duration>, count: usize) -> Vec<u64> {
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
        let long = ReconnectOptions { min_backoff: 3 * SECOND, max_backoff: SECOND, ..odd };
        assert_eq!(pauses(&mut active(long), 3), [0, 3, 3]);
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
            let end = now + SECOND * lasted;
            reconnect.received(end);
            reconnect.closed(end + 9 * SECOND);
            assert_eq!(reconnect.backoff(), SECOND * backoff, "after {lasted}");
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
    fn what_is_too_short_is_made_longer_and_what_is_too_long_shorter() {
        for (asked, had) in [(Duration::ZERO, SECOND), (Duration::MAX, LONGEST)] {
            let odd = ReconnectOptions {
                probe_interval: Some(asked),
                connect_timeout: Duration::MAX,
                ..ReconnectOptions::default()
            };
            let mut reconnect = active(odd);
            reconnect.poll(secs(0));
            assert_eq!(reconnect.deadline(), Some(LONGEST));
            reconnect.connected(secs(0));
            assert_eq!(reconnect.deadline(), Some(had));
        }
    }

    #[test]
    fn free_tries_have_no_pause_and_come_back_with_a_connection_that_worked() {
        let mut reconnect = active(ReconnectOptions::default());
        reconnect.set_free_tries(3);
        assert_eq!(pauses(&mut reconnect, 5), [0, 0, 0, 1, 2]);
        let mut reconnect = active(ReconnectOptions::default());
        reconnect.set_free_tries(3);
        for (lasted, pause) in [(0, 0), (0, 0), (0, 1), (0, 2), (9, 0), (0, 0), (0, 1)] {
            let now = reconnect.deadline().unwrap();
            reconnect.poll(now);
            reconnect.connected(now);
            reconnect.received(now + secs(lasted));
            reconnect.closed(now + secs(lasted));
            assert_eq!(reconnect.backoff(), secs(pause));
        }
    }

    #[test]
    fn one_that_is_disabled_waits_to_be_enabled() {
        let mut reconnect = Reconnect::disabled(ReconnectOptions::default(), secs(0));
        assert_eq!((reconnect.poll(secs(9)), reconnect.is_alive()), (None, false));
        reconnect.enable(secs(9));
        assert_eq!(reconnect.poll(secs(9)), Some(ReconnectAction::Connect));
        assert!(reconnect.is_open() && !reconnect.is_connected());
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
