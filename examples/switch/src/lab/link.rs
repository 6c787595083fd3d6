//! What a link does to frames.

use std::time::Duration;

use ovs_packet::Instant;

/// A link's properties, the same in both directions.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) loss: f64,
}

impl Link {
    /// A link that delays frames and loses none.
    pub const fn new(delay: Duration) -> Link {
        Link { delay, jitter: Duration::ZERO, loss: 0.0 }
    }

    /// The link with a share of frames that it loses, from 0 to 1.
    pub fn loss(mut self, share: f64) -> Link {
        self.loss = share.clamp(0.0, 1.0);
        self
    }

    /// The link with up to this much more delay, chosen anew for every frame. Frames may overtake one another.
    pub const fn jitter(mut self, most: Duration) -> Link {
        self.jitter = most;
        self
    }
}

/// A frame as it went on a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// When it was sent.
    pub time: Instant,
    /// Whether it went from the link's first end to its second.
    pub forward: bool,
    /// Whether the link lost it.
    pub lost: bool,
    /// Its bytes.
    pub frame: Vec<u8>,
}
