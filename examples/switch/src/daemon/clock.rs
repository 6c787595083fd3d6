//! The clock of a daemon: the system's, unless somebody stops or warps it (`time/stop`, `time/warp`).
//!
//! Everything below takes the time as an argument, so a warp reaches every timer of the program at once.

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

/// A monotonic clock that can be stopped and moved on.
#[derive(Debug)]
pub struct Clock {
    epoch: System,
    warped: Duration,
    stopped_at: Option<Duration>,
    warp: Option<Warp>,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

impl Clock {
    /// A clock that starts now. It begins a day after zero, so that what was long ago has a time too.
    pub fn new() -> Clock {
        Clock { epoch: System::now(), warped: Duration::from_secs(24 * 3600), stopped_at: None, warp: None }
    }

    /// The time since the clock's zero.
    pub fn elapsed(&self) -> Duration {
        self.stopped_at.unwrap_or_else(|| self.epoch.elapsed()) + self.warped
    }

    /// The time.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.elapsed()
    }

    /// Whether time passes only by warps.
    pub fn is_stopped(&self) -> bool {
        self.stopped_at.is_some()
    }

    /// Stops the clock.
    pub fn stop(&mut self) {
        self.stopped_at.get_or_insert_with(|| self.epoch.elapsed());
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
        self.warped += step;
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
