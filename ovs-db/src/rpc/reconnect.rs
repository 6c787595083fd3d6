//! When to connect, to give up, to probe and to try again.
//!
//! A connection that fails is tried again after a pause that doubles from [`ReconnectOptions::min_backoff`] to
//! [`ReconnectOptions::max_backoff`]; one that worked for longer than the last pause starts anew at the minimum. A
//! connection on which nothing came in for [`ReconnectOptions::probe_interval`] is probed, and given up when nothing
//! comes in for that long again. The timing is that of Open vSwitch's daemons, so that operators find what they know.
//!
//! Nothing here knows sockets or clocks: time is what passed since an epoch of the caller's choice. A caller whose loop
//! was late reads what has come in before it asks [`Reconnect::poll`], so that its own delay is not taken for the peer's.

use std::time::Duration;

/// How patient to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconnectOptions {
    /// The first pause between two attempts; at least [`ReconnectOptions::SHORTEST`].
    pub min_backoff: Duration,
    /// The longest pause between two attempts; at least `min_backoff`.
    pub max_backoff: Duration,
    /// How long nothing may come in before the peer is asked for a sign of life; nothing: it is never asked. At least
    /// [`ReconnectOptions::SHORTEST`].
    pub probe_interval: Option<Duration>,
    /// How many attempts to make; nothing: no end of them.
    pub max_tries: Option<u32>,
}

impl ReconnectOptions {
    /// The least value that the times have; shorter ones are taken for this.
    pub const SHORTEST: Duration = Duration::from_secs(1);
}

impl Default for ReconnectOptions {
    /// Pauses of 1 to 8 seconds, a probe after 5, any number of attempts.
    fn default() -> ReconnectOptions {
        ReconnectOptions {
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(8),
            probe_interval: Some(Duration::from_secs(5)),
            max_tries: None,
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
    /// The attempt took too long.
    #[error("connection attempt timed out")]
    ConnectTimeout,
    /// The peer did not answer the probe.
    #[error("no response to inactivity probe")]
    Silent,
    /// [`Reconnect::force`] was called.
    #[error("reconnecting on request")]
    Forced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No attempt is made.
    Disabled,
    Backoff,
    Connecting,
    Active,
    /// A probe is on its way.
    Probing,
    /// To be closed.
    Forced,
}

/// When to connect, to give up, to probe and to try again.
///
/// A connection that fails is tried again after a pause that doubles; one on which nothing comes in is probed, and given
/// up when nothing comes in for as long again. A caller whose loop was late reads what has come in before it asks
/// [`Reconnect::poll`], so that its own delay is not taken for the peer's.
///
/// ```
/// use std::time::Duration;
/// use ovs_db::rpc::{Reconnect, ReconnectAction, ReconnectOptions};
///
/// let secs = Duration::from_secs;
/// let mut reconnect = Reconnect::new(ReconnectOptions::default());
/// reconnect.enable(secs(0));
/// assert_eq!(reconnect.poll(secs(0)), Some(ReconnectAction::Connect));
/// reconnect.closed(secs(0)); // it was refused
/// assert_eq!(reconnect.deadline(), Some(secs(1)));
/// assert_eq!(reconnect.poll(secs(1)), Some(ReconnectAction::Connect));
/// reconnect.connected(secs(1));
/// assert_eq!(reconnect.poll(secs(6)), Some(ReconnectAction::Probe));
/// reconnect.activity(secs(7));
/// assert_eq!(reconnect.deadline(), Some(secs(12)));
/// ```
#[derive(Debug, Clone)]
pub struct Reconnect {
    options: ReconnectOptions,
    state: State,
    entered: Duration,
    backoff: Duration,
    tries_left: Option<u32>,
    free_tries: u32,
    free_tries_left: u32,
    connected_at: Duration,
    last_activity: Duration,
    attempts: u64,
    successes: u64,
    changes: u64,
}

impl Reconnect {
    /// A state machine that makes no attempt until it is enabled.
    pub fn new(options: ReconnectOptions) -> Reconnect {
        let mut reconnect = Reconnect {
            options,
            state: State::Disabled,
            entered: Duration::ZERO,
            backoff: Duration::ZERO,
            tries_left: options.max_tries,
            free_tries: 0,
            free_tries_left: 0,
            connected_at: Duration::ZERO,
            last_activity: Duration::ZERO,
            attempts: 0,
            successes: 0,
            changes: 0,
        };
        reconnect.set_options(options);
        reconnect
    }

    /// Changes the times. The attempts that are left are as before.
    pub fn set_options(&mut self, options: ReconnectOptions) {
        let at_least = |time: Duration| time.max(ReconnectOptions::SHORTEST);
        let min_backoff = at_least(options.min_backoff);
        self.options = ReconnectOptions {
            min_backoff,
            max_backoff: options.max_backoff.max(min_backoff),
            probe_interval: options.probe_interval.map(at_least),
            ..options
        };
        self.backoff = self.backoff.min(self.options.max_backoff);
    }

    /// Lets the next `tries` attempts follow each other without a pause, as is right when each goes to another remote;
    /// and as many again after a connection that worked for longer than the shortest pause.
    pub fn set_free_tries(&mut self, tries: u32) {
        self.free_tries = tries;
        self.free_tries_left = tries;
    }

    /// Begins to make attempts, if none are made; the first at once.
    pub fn enable(&mut self, now: Duration) {
        if self.state == State::Disabled && self.take_try() {
            self.backoff = Duration::ZERO;
            self.enter(now, State::Backoff);
        }
    }

    /// Whether attempts are made.
    pub fn is_enabled(&self) -> bool {
        self.state != State::Disabled
    }

    /// Makes no more attempts.
    pub fn disable(&mut self, now: Duration) {
        self.enter(now, State::Disabled);
    }

    /// Closes the connection or attempt that there is, to make another.
    pub fn force(&mut self, now: Duration) {
        if matches!(self.state, State::Connecting | State::Active | State::Probing) {
            self.enter(now, State::Forced);
        }
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Active | State::Probing)
    }

    /// How often a connection came or went. It is another number in another connection.
    pub fn seqno(&self) -> u64 {
        self.changes
    }

    /// Attempts made, and those of them that succeeded.
    pub fn attempts(&self) -> (u64, u64) {
        (self.attempts, self.successes)
    }

    /// The pause before the next attempt, or the last one that was made.
    pub fn backoff(&self) -> Duration {
        self.backoff
    }

    /// Takes note that there is a connection.
    pub fn connected(&mut self, now: Duration) {
        if !self.is_connected() {
            self.successes = self.successes.saturating_add(1);
            self.connected_at = now;
            self.last_activity = now;
            self.enter(now, State::Active);
        }
    }

    /// Takes note that something came in.
    pub fn activity(&mut self, now: Duration) {
        self.last_activity = now;
        if self.state == State::Probing {
            self.enter(now, State::Active);
        }
    }

    /// Takes note that the connection or the attempt is over, whatever the reason.
    pub fn closed(&mut self, now: Duration) {
        if matches!(self.state, State::Disabled | State::Backoff) {
            return;
        }
        if !self.take_try() {
            self.enter(now, State::Disabled);
            return;
        }
        let ReconnectOptions { min_backoff, max_backoff, .. } = self.options;
        let worked_for = self.last_activity.saturating_sub(self.connected_at);
        let worked = self.is_connected() && worked_for >= self.backoff.max(min_backoff);
        if worked {
            self.free_tries_left = self.free_tries;
        }
        self.backoff = if self.free_tries_left > 1 {
            self.free_tries_left = self.free_tries_left.saturating_sub(1);
            Duration::ZERO
        } else if worked || self.backoff < min_backoff {
            min_backoff
        } else {
            self.backoff.saturating_mul(2).min(max_backoff)
        };
        self.enter(now, State::Backoff);
    }

    /// What there is to do now. Each thing comes once, but for a disconnection, which comes until [`Reconnect::closed`].
    pub fn poll(&mut self, now: Duration) -> Option<ReconnectAction> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        Some(match self.state {
            State::Disabled => return None,
            State::Backoff => {
                self.attempts = self.attempts.saturating_add(1);
                self.enter(now, State::Connecting);
                ReconnectAction::Connect
            }
            State::Connecting => ReconnectAction::Disconnect(DisconnectReason::ConnectTimeout),
            State::Active => {
                self.enter(now, State::Probing);
                ReconnectAction::Probe
            }
            State::Probing => ReconnectAction::Disconnect(DisconnectReason::Silent),
            State::Forced => ReconnectAction::Disconnect(DisconnectReason::Forced),
        })
    }

    /// When [`Reconnect::poll`] will have something, if nothing else happens before.
    pub fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Disabled => None,
            State::Backoff => Some(self.entered.saturating_add(self.backoff)),
            State::Connecting => Some(self.entered.saturating_add(self.backoff.max(ReconnectOptions::SHORTEST))),
            State::Active => {
                let since = self.last_activity.max(self.entered);
                self.options.probe_interval.map(|interval| since.saturating_add(interval))
            }
            State::Probing => self.options.probe_interval.map(|interval| self.entered.saturating_add(interval)),
            State::Forced => Some(self.entered),
        }
    }

    fn take_try(&mut self) -> bool {
        match &mut self.tries_left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left = left.saturating_sub(1);
                true
            }
        }
    }

    fn enter(&mut self, now: Duration, state: State) {
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

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn enabled(options: ReconnectOptions) -> Reconnect {
        let mut reconnect = Reconnect::new(options);
        reconnect.enable(secs(0));
        reconnect
    }

    /// The pauses that a peer sees which refuses every attempt.
    fn pauses(reconnect: &mut Reconnect, count: usize) -> Vec<u64> {
        let mut now = secs(0);
        let mut pauses = Vec::new();
        while pauses.len() < count {
            let Some(deadline) = reconnect.deadline() else { break };
            pauses.push((deadline - now).as_secs());
            now = deadline;
            assert_eq!(reconnect.poll(now), Some(ReconnectAction::Connect));
            reconnect.closed(now);
        }
        pauses
    }

    #[test]
    fn pauses_double_up_to_the_maximum() {
        assert_eq!(pauses(&mut enabled(ReconnectOptions::default()), 7), [0, 1, 2, 4, 8, 8, 8]);
        let odd = ReconnectOptions { max_backoff: secs(6), ..ReconnectOptions::default() };
        assert_eq!(pauses(&mut enabled(odd), 6), [0, 1, 2, 4, 6, 6]);
        let tiny = ReconnectOptions { min_backoff: secs(0), max_backoff: secs(0), ..odd };
        assert_eq!(pauses(&mut enabled(tiny), 3), [0, 1, 1]);
    }

    #[test]
    fn free_tries_have_no_pause_and_tries_end() {
        let mut reconnect = enabled(ReconnectOptions { max_tries: Some(5), ..ReconnectOptions::default() });
        reconnect.set_free_tries(3);
        assert_eq!(pauses(&mut reconnect, 9), [0, 0, 0, 1, 2]);
        assert!(!reconnect.is_enabled());
    }

    #[test]
    fn free_tries_come_back_with_a_connection_that_worked() {
        let mut reconnect = enabled(ReconnectOptions::default());
        reconnect.set_free_tries(3);
        for (lasted, pause) in [(0, 0), (0, 0), (0, 1), (0, 2), (9, 0), (0, 0), (0, 1)] {
            let now = reconnect.deadline().unwrap();
            reconnect.poll(now);
            reconnect.connected(now);
            reconnect.activity(now + secs(lasted));
            reconnect.closed(now + secs(lasted));
            assert_eq!(reconnect.backoff(), secs(pause));
        }
    }

    #[test]
    fn a_connection_that_worked_starts_anew_one_that_did_not_goes_on() {
        let mut reconnect = enabled(ReconnectOptions::default());
        pauses(&mut reconnect, 4);
        assert_eq!(reconnect.backoff(), secs(8));
        for (lasted, backoff) in [(1, secs(8)), (9, secs(1))] {
            let now = reconnect.deadline().unwrap();
            reconnect.poll(now);
            reconnect.connected(now);
            reconnect.activity(now + secs(lasted));
            reconnect.closed(now + secs(lasted));
            assert_eq!(reconnect.backoff(), backoff);
        }
        assert_eq!(reconnect.seqno(), 4);
    }

    #[test]
    fn attempts_time_out_and_silence_is_probed_then_given_up() {
        let mut reconnect = enabled(ReconnectOptions::default());
        reconnect.poll(secs(0));
        let disconnect = |reason| Some(ReconnectAction::Disconnect(reason));
        assert_eq!(reconnect.poll(secs(1)), disconnect(DisconnectReason::ConnectTimeout));
        reconnect.connected(secs(1));
        assert_eq!(reconnect.poll(secs(5)), None);
        assert_eq!(reconnect.poll(secs(6)), Some(ReconnectAction::Probe));
        assert_eq!(reconnect.poll(secs(10)), None);
        assert_eq!(reconnect.poll(secs(11)), disconnect(DisconnectReason::Silent));
        reconnect.activity(secs(11));
        assert_eq!(reconnect.poll(secs(11)), None);
        reconnect.force(secs(12));
        assert_eq!(reconnect.poll(secs(12)), disconnect(DisconnectReason::Forced));
        assert!(!reconnect.is_connected());
    }

    #[test]
    fn without_a_probe_interval_silence_is_no_matter() {
        let mut reconnect = enabled(ReconnectOptions { probe_interval: None, ..ReconnectOptions::default() });
        reconnect.poll(secs(0));
        reconnect.connected(secs(0));
        assert_eq!((reconnect.deadline(), reconnect.poll(secs(1 << 40))), (None, None));
    }
}
