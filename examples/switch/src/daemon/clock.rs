//! The clock of a daemon: the system's, unless somebody stops or warps it (`time/stop`, `time/warp`).
//!
//! Everything below takes the time as an argument, so a warp reaches every timer of the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as System};

use ovs_packet::Instant;

/// Real time that passes between two steps of a warp, for peers outside the process to have their turn.
pub const WARP_PAUSE: Duration = Duration::from_millis(1);

/// A warp that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Warp {
    left: Duration,
    step: Duration,
}

/// A monotonic clock that can be stopped and moved on, by one thread. Others may [read](Clock::reader) it.
#[derive(Debug)]
pub struct Clock {
    hands: Hands,
    warp: Option<Warp>,
}

/// What is read of a clock.
#[derive(Debug, Clone)]
struct Hands {
    epoch: System,
    /// In nanoseconds.
    warped: Arc<AtomicU64>,
    /// In nanoseconds since the epoch; `RUNS` if it is not stopped.
    stopped_at: Arc<AtomicU64>,
}

/// Nobody waits so long for a clock to be stopped.
const RUNS: u64 = u64::MAX;

impl Hands {
    fn elapsed(&self) -> Duration {
        let stopped_at = self.stopped_at.load(Ordering::Acquire);
        let real = if stopped_at == RUNS { self.epoch.elapsed() } else { Duration::from_nanos(stopped_at) };
        real + Duration::from_nanos(self.warped.load(Ordering::Acquire))
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

impl Clock {
    /// A clock that starts now. It begins a day after zero, so that what was long ago has a time too.
    pub fn new() -> Clock {
        let warped = Arc::new(AtomicU64::new(24 * 3600 * 1_000_000_000));
        let stopped_at = Arc::new(AtomicU64::new(RUNS));
        Clock { hands: Hands { epoch: System::now(), warped, stopped_at }, warp: None }
    }

    /// What tells other threads the time.
    pub fn reader(&self) -> impl Fn() -> Instant + Send + Sync + 'static {
        let hands = self.hands.clone();
        move || Instant::ZERO + hands.elapsed()
    }

    /// What tells other threads real time, however this clock is stopped and warped.
    pub fn stopwatch(&self) -> impl Fn() -> Instant + Send + Sync + 'static {
        let epoch = self.hands.epoch;
        move || Instant::ZERO + epoch.elapsed()
    }

    /// The time since the clock's zero.
    pub fn elapsed(&self) -> Duration {
        self.hands.elapsed()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.elapsed()
    }

    /// Whether time passes only by warps.
    pub fn is_stopped(&self) -> bool {
        self.hands.stopped_at.load(Ordering::Acquire) != RUNS
    }

    /// Stops the clock.
    pub fn stop(&mut self) {
        if !self.is_stopped() {
            let now = u64::try_from(self.hands.epoch.elapsed().as_nanos()).unwrap_or(RUNS - 1);
            self.hands.stopped_at.store(now, Ordering::Release);
        }
    }

    /// Asks for a warp of `total` in steps of `step`; nothing in `total` is a single step. False while another is under
    /// way.
    pub fn warp(&mut self, total: Duration, step: Duration) -> bool {
        let fits = self.warp.is_none();
        if fits {
            self.warp = Some(Warp { left: if total.is_zero() { step } else { total }, step });
        }
        fits
    }

    /// Whether a warp is under way.
    pub fn is_warping(&self) -> bool {
        self.warp.is_some()
    }

    /// Takes the next step of a warp. True when that was the last one.
    pub fn step(&mut self) -> bool {
        let Some(warp) = &mut self.warp else { return false };
        let step = warp.step.min(warp.left);
        warp.left -= step;
        self.hands.warped.fetch_add(u64::try_from(step.as_nanos()).unwrap_or(u64::MAX), Ordering::AcqRel);
        let is_over = warp.left.is_zero();
        if is_over {
            self.warp = None;
        }
        is_over
    }

    /// How much real time there is until `deadline`; nothing if it does not come by itself.
    pub fn until(&self, deadline: Instant) -> Option<Duration> {
        let left = deadline.since(self.now());
        if left.is_zero() {
            return Some(left);
        }
        (!self.is_stopped()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopped_it_moves_by_warps_alone() {
        let mut clock = Clock::new();
        clock.stop();
        let start = clock.now();
        assert_eq!(clock.now(), start);
        assert_eq!(clock.until(start + Duration::from_secs(1)), None);
        assert!(clock.warp(Duration::from_millis(2500), Duration::from_secs(1)));
        assert!(!clock.warp(Duration::ZERO, Duration::from_secs(1)));
        assert!(!clock.step() && !clock.step() && clock.step() && !clock.is_warping());
        assert_eq!(clock.now(), start + Duration::from_millis(2500));
        assert_eq!(clock.until(start), Some(Duration::ZERO));
        assert!(clock.warp(Duration::ZERO, Duration::from_secs(1)));
        assert!(clock.step());
        assert_eq!(clock.now(), start + Duration::from_millis(3500));
    }
}
