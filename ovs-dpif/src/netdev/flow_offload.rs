//! Megaflows that a card matches itself.
//!
//! A card that knows a megaflow either tells with each packet which one it matches, and the datapath does the rest
//! ([`Level::Partial`]), or does all of it, so that the datapath never sees the packet ([`Level::Full`]). What it does by
//! itself it counts by itself: the datapath adds that to its own counters.
//!
//! Thread rules: cards are asked by the thread that owns the datapath's control, and used by whoever receives from or sends to
//! their device.

use std::fmt;
use std::sync::Arc;

use ovs_packet::{Match, Packet};

use crate::action::{DpAction, PortNo};
use crate::dpif::{DpFlowStats, Ufid};
use crate::netdev::NetdevError;

/// The drivers of cards that there are, in the order in which they are tried. Both are of dummy devices, and alike: of two,
/// one can be preferred.
pub const OFFLOAD_DRIVERS: [&str; 2] = ["dummy", "dummy_x"];

/// How much of a megaflow a card does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Level {
    /// It says of packets that they match.
    Partial,
    /// It executes the actions.
    Full,
}

/// A megaflow that a card has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offloaded {
    /// How much of it the card does.
    pub level: Level,
    /// What went through the card alone.
    pub stats: DpFlowStats,
    /// The driver that the card is used by, as `dpctl/dump-flows -m` has it.
    pub by: &'static str,
}

/// What a card did with the packets that came in while a driver [used](FlowOffload::set_driver) it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CardCounts {
    /// It said which megaflow they match.
    pub partial: u64,
    /// It was to forward them.
    pub full: u64,
    /// It knew no megaflow for them.
    pub missed: u64,
    /// Of those: it could not, and left them to the datapath.
    pub aborted: u64,
}

/// A megaflow for a card.
pub struct OffloadPut<'a> {
    /// Its identity.
    pub ufid: Ufid,
    /// Which packets match; the port that they come in by is the card's own.
    pub matching: &'a Match,
    /// What is done with them.
    pub actions: &'a [DpAction],
    /// The cards of other ports of the datapath.
    pub others: &'a dyn Fn(PortNo) -> Option<Arc<dyn FlowOffload>>,
}

impl fmt::Debug for OffloadPut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OffloadPut").field("ufid", &self.ufid).field("actions", &self.actions).finish_non_exhaustive()
    }
}

/// A card that matches megaflows.
pub trait FlowOffload: Send + Sync + fmt::Debug {
    /// Whether a driver can use it, one of [`OFFLOAD_DRIVERS`].
    fn suits(&self, driver: &str) -> bool;

    /// By which driver it is used from now on. One that is not used, or by another than before, forgets its megaflows.
    fn set_driver(&self, driver: Option<&'static str>);

    /// Takes a megaflow, or other actions for one that it has.
    ///
    /// # Errors
    /// If it cannot have it.
    fn put(&self, flow: &OffloadPut<'_>) -> Result<Level, NetdevError>;

    /// Forgets a megaflow, and says what it was.
    fn delete(&self, ufid: Ufid) -> Option<Offloaded>;

    /// A megaflow that it has.
    fn get(&self, ufid: Ufid) -> Option<Offloaded>;

    /// Sends a packet that another card forwards; gives it back if this one sends nothing for others.
    ///
    /// # Errors
    /// The packet.
    fn forward(&self, packet: Packet) -> Result<(), Packet> {
        Err(packet)
    }

    /// Whether it sends what other cards forward.
    fn takes_from_others(&self) -> bool {
        false
    }

    /// What it did with packets.
    fn counts(&self) -> CardCounts;
}
