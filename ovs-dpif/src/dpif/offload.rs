//! What is asked of a datapath whose ports' cards may match megaflows.

use std::fmt;

use super::flow::Ufid;
use crate::action::PortNo;
use crate::netdev::{CardCounts, Offloaded};

/// A card that matches megaflows.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Card {
    /// The port that it belongs to.
    pub port: PortNo,
    /// The port's name.
    pub name: String,
    /// The driver that it is for, of [`OFFLOAD_DRIVERS`](crate::netdev::OFFLOAD_DRIVERS).
    pub driver: &'static str,
    /// What it did.
    pub counts: CardCounts,
}

impl Card {
    pub(crate) fn new(port: PortNo, name: String, driver: &'static str, counts: CardCounts) -> Card {
        Card { port, name, driver, counts }
    }
}

/// The cards of a datapath's ports that match megaflows, so that packets are forwarded or at least found by them: whether
/// they are used for it, and by which drivers.
pub trait HwOffload: fmt::Debug {
    /// Has cards that match megaflows be used for that, or no more (`hw-offload`). Megaflows that are there already stay
    /// where they are.
    fn set_flow_offload(&mut self, enabled: bool);

    /// Whether cards that match megaflows are used for that.
    fn flow_offload(&self) -> bool;

    /// Which drivers of [`OFFLOAD_DRIVERS`](crate::netdev::OFFLOAD_DRIVERS) there are for cards, in the order in which they
    /// are tried (`hw-offload-priority`). A card that another driver gets loses its megaflows.
    fn set_offload_drivers(&mut self, drivers: &[&'static str]);

    /// The drivers in the order in which they are tried.
    fn offload_drivers(&self) -> &[&'static str];

    /// Which of them are tried for a port, if not all in their order; none leaves its card alone.
    fn prefer_offload_drivers(&mut self, port: PortNo, drivers: Option<Vec<&'static str>>);

    /// The cards, by port.
    fn cards(&self) -> Vec<Card>;

    /// What a card does of a megaflow, if one has it.
    fn offloaded(&self, ufid: Ufid) -> Option<Offloaded>;
}
