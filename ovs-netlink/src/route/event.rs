//! What changed.

use netlink_packet_route::RouteNetlinkMessage;

use super::link::Link;
use super::network::{Address, Neighbour, RouteEntry, Rule};
use super::{Route, decode};
use crate::edge::{Drained, SocketError};
use crate::message::Message;

bitflags::bitflags! {
    /// What a program wants to be told of.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Groups: u8 {
        /// Devices.
        const LINKS = 1;
        /// Addresses.
        const ADDRESSES = 2;
        /// Routes.
        const ROUTES = 4;
        /// Rules.
        const RULES = 8;
        /// Neighbours.
        const NEIGHBOURS = 16;
    }
}

impl Groups {
    /// The numbers of the kernel's groups (`RTNLGRP_*`).
    fn numbers(self) -> impl Iterator<Item = u32> {
        const NUMBERS: [(Groups, &[u32]); 5] = [
            (Groups::LINKS, &[1]),
            (Groups::ADDRESSES, &[5, 9]),
            (Groups::ROUTES, &[7, 11]),
            (Groups::RULES, &[8, 19]),
            (Groups::NEIGHBOURS, &[3]),
        ];
        NUMBERS.into_iter().filter(move |(group, _)| self.contains(*group)).flat_map(|(_, numbers)| numbers).copied()
    }
}

/// What changed. A device or a route that changed is told as new.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A device is there, or changed.
    Link(Link),
    /// A device is gone.
    LinkGone(Link),
    /// An address is there.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A route is there.
    Route(RouteEntry),
    /// A route is gone.
    RouteGone(RouteEntry),
    /// A rule is there.
    Rule(Rule),
    /// A rule is gone.
    RuleGone(Rule),
    /// A neighbour is there, or changed.
    Neighbour(Neighbour),
    /// A neighbour is gone.
    NeighbourGone(Neighbour),
}

impl Event {
    /// Reads a message; nothing for one that tells nothing of these.
    ///
    /// # Errors
    /// [`SocketError::Unreadable`].
    pub fn decode(message: &Message<'_>) -> Result<Option<Event>, SocketError> {
        decode(message).map(Event::of)
    }

    fn of(message: RouteNetlinkMessage) -> Option<Event> {
        Some(match message {
            RouteNetlinkMessage::NewLink(link) => Event::Link(Link::of(link)),
            RouteNetlinkMessage::DelLink(link) => Event::LinkGone(Link::of(link)),
            RouteNetlinkMessage::NewAddress(address) => Event::Address(Address::of(address)?),
            RouteNetlinkMessage::DelAddress(address) => Event::AddressGone(Address::of(address)?),
            RouteNetlinkMessage::NewRoute(route) => Event::Route(RouteEntry::of(route)?),
            RouteNetlinkMessage::DelRoute(route) => Event::RouteGone(RouteEntry::of(route)?),
            RouteNetlinkMessage::NewRule(rule) => Event::Rule(Rule::of(rule)?),
            RouteNetlinkMessage::DelRule(rule) => Event::RuleGone(Rule::of(rule)?),
            RouteNetlinkMessage::NewNeighbour(neighbour) => Event::Neighbour(Neighbour::of(neighbour)?),
            RouteNetlinkMessage::DelNeighbour(neighbour) => Event::NeighbourGone(Neighbour::of(neighbour)?),
            _ => return None,
        })
    }
}

impl Route {
    /// Asks to be told of changes from now on. Use a connection for this alone.
    ///
    /// # Errors
    /// [`SocketError::System`].
    pub fn listen(&self, groups: Groups) -> Result<(), SocketError> {
        groups.numbers().try_for_each(|number| self.socket.join(number))
    }

    /// Takes the events that are there, of at most `max` datagrams, without waiting. After an overrun everything may have
    /// changed, and is to be listed anew.
    ///
    /// # Errors
    /// [`SocketError::System`]. What was lost or cannot be read is no error: it is counted.
    pub fn events(&mut self, max: usize, mut each: impl FnMut(Event)) -> Result<Drained, SocketError> {
        let mut bad = 0_usize;
        let drained = self.socket.drain(max, |message| match Event::decode(&message) {
            Ok(event) => event.into_iter().for_each(&mut each),
            Err(_) => bad = bad.saturating_add(1),
        })?;
        let messages = drained.messages.saturating_sub(bad);
        Ok(Drained { messages, bad: drained.bad.saturating_add(bad), ..drained })
    }
}

impl std::os::fd::AsFd for Route {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
