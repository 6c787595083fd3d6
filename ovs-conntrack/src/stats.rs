//! Counters.

use crate::outcome::InvalidReason;

/// Counts since the tracker was made, but for `connections`.
///
/// Every connection that was ever `created` is still among `connections`, or was `expired`, `replaced` or `flushed`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Connections held now, including those that have expired and are not yet removed.
    pub connections: usize,
    /// Connections stored.
    pub created: u64,
    /// Connections removed because their timeout had passed.
    pub expired: u64,
    /// Connections removed because a packet opened another in their place: by force, or after they had closed.
    pub replaced: u64,
    /// Connections removed on request.
    pub flushed: u64,
    /// Connections not stored because the tracker was full.
    pub refused: u64,
    pub(crate) invalid: [u64; InvalidReason::COUNT],
}

impl Stats {
    /// Packets that were invalid for this reason.
    pub fn invalid(&self, reason: InvalidReason) -> u64 {
        self.invalid.get(reason as usize).copied().unwrap_or(0)
    }

    /// Packets that were invalid for any reason.
    pub fn invalid_total(&self) -> u64 {
        self.invalid.iter().sum()
    }

    pub(crate) fn count_invalid(&mut self, reason: InvalidReason) {
        if let Some(count) = self.invalid.get_mut(reason as usize) {
            *count += 1;
        }
    }
}
