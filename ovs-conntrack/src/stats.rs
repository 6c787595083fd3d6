//! Counters.

use crate::outcome::InvalidReason;

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Counts since the tracker was made, but for `connections` and `expectations`.
        ///
        /// Every connection that was ever `created` is still among `connections`, or was `expired`, `replaced` or
        /// `flushed`.
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        #[non_exhaustive]
        pub struct Stats {
            /// Connections held now, including those that have expired and are not yet removed.
            pub connections: usize,
            /// Connections that helpers expect now.
            pub expectations: usize,
            $($(#[$doc])+ pub $name: u64,)+
            pub(crate) invalid: [u64; InvalidReason::COUNT],
        }

        impl Stats {
            /// Adds another tracker's, or part's.
            pub(crate) fn add(&mut self, other: &Stats) {
                self.connections += other.connections;
                self.expectations += other.expectations;
                $(self.$name += other.$name;)+
                self.invalid.iter_mut().zip(other.invalid).for_each(|(to, from)| *to += from);
            }
        }
    };
}

counters! {
    /// Connections stored.
    created,
    /// Connections removed because their timeout had passed.
    expired,
    /// Connections removed because a packet opened another in their place: by force, or after they had closed.
    replaced,
    /// Connections removed on request.
    flushed,
    /// Connections not stored because the tracker was full.
    refused,
    /// Connections not stored because their zone was full.
    refused_by_zone,
    /// Connections not stored because every address and port that was tried for them was taken.
    nat_exhausted,
    /// Connections not stored because a translated connection has their addresses and ports.
    clashed,
    /// Announcements of helpers' connections that were not followed: of another's address, too many, or no port free.
    expectations_refused,
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
