//! How packets find their way: addresses, routes, rules, neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Route;
use crate::edge::SocketError;
use crate::message::Flags;

/// An address of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The device.
    pub index: u32,
    /// The address.
    pub ip: IpAddr,
    /// How many bits of it are the network's.
    pub prefix: u8,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RouteEntry {
    /// The network that it is to: the unspecified address and no bits for all.
    pub destination: IpAddr,
    /// How many bits of that are the network's.
    pub prefix: u8,
    /// The table: 254 is the main one, 255 that of the machine's own addresses.
    pub table: u32,
    /// The router, unless the network is at the device.
    pub gateway: Option<IpAddr>,
    /// The device.
    pub index: Option<u32>,
    /// The address that the machine's own packets get.
    pub source: Option<IpAddr>,
    /// Which of the routes to a network is taken: the one with the least.
    pub priority: u32,
    /// The mark that packets must have, where the kernel says it.
    pub mark: Option<u32>,
    /// Whether it leads to the machine itself.
    pub local: bool,
    /// Who made it (`RTPROT_*`).
    pub protocol: u8,
}

/// A rule: which packets look into which table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Whether it is for IPv6.
    pub v6: bool,
    /// The order: rules with less come first.
    pub priority: u32,
    /// The table; nothing for a rule that does something else.
    pub table: Option<u32>,
    /// The network that packets come from.
    pub source: Option<(IpAddr, u8)>,
    /// The network that packets go to.
    pub destination: Option<(IpAddr, u8)>,
    /// Whether it is for the packets that it does not match.
    pub inverted: bool,
    /// The device that packets come from.
    pub input: Option<String>,
    /// The device that packets go to.
    pub output: Option<String>,
    /// The mark of packets, and which of its bits are meant.
    pub mark: Option<(u32, u32)>,
    /// Whether it looks at other things, too, which are not told here.
    pub more: bool,
}

/// A neighbour: which hardware address an address has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Neighbour {
    /// The device.
    pub index: u32,
    /// The address.
    pub ip: IpAddr,
    /// The hardware address, when it is known and has 6 bytes.
    pub address: Option<[u8; 6]>,
    /// Whether packets may be sent to it: it answered, or was told.
    pub valid: bool,
    /// Whether it was told, and stays.
    pub permanent: bool,
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn any(family: AddressFamily) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    }
}

fn ip_of(address: RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(ip.into()),
        RouteAddress::Inet6(ip) => Some(ip.into()),
        _ => None,
    }
}

fn route_address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

impl Address {
    pub(super) fn of(message: AddressMessage) -> Option<Address> {
        let (mut local, mut address) = (None, None);
        for attribute in message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(ip),
                // Of a link with a peer: the peer's.
                AddressAttribute::Address(ip) => address = Some(ip),
                _ => {}
            }
        }
        Some(Address { index: message.header.index, ip: local.or(address)?, prefix: message.header.prefix_len })
    }

    fn message(self) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = self.index;
        message.header.prefix_len = self.prefix;
        message.header.family = family(self.ip);
        message.attributes = vec![AddressAttribute::Local(self.ip), AddressAttribute::Address(self.ip)];
        message
    }
}

impl RouteEntry {
    pub(super) fn of(message: RouteMessage) -> Option<RouteEntry> {
        let header = message.header;
        let mut route = RouteEntry {
            destination: any(header.address_family)?,
            prefix: header.destination_prefix_length,
            table: header.table.into(),
            gateway: None,
            index: None,
            source: None,
            priority: 0,
            mark: None,
            local: header.kind == RouteType::Local,
            protocol: header.protocol.into(),
        };
        if !matches!(header.kind, RouteType::Unicast | RouteType::Local) {
            return None;
        }
        for attribute in message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => route.destination = ip_of(address)?,
                RouteAttribute::Gateway(address) => route.gateway = ip_of(address),
                RouteAttribute::Via(RouteVia::Inet(ip)) => route.gateway = Some(ip.into()),
                RouteAttribute::Via(RouteVia::Inet6(ip)) => route.gateway = Some(ip.into()),
                RouteAttribute::Oif(index) => route.index = Some(index),
                RouteAttribute::PrefSource(address) => route.source = ip_of(address),
                RouteAttribute::Priority(priority) => route.priority = priority,
                RouteAttribute::Mark(mark) => route.mark = Some(mark),
                RouteAttribute::Table(table) => route.table = table,
                // Of several ways, the first.
                RouteAttribute::MultiPath(hops) => {
                    if let Some(hop) = hops.into_iter().next() {
                        route.index = Some(hop.interface_index);
                        for attribute in hop.attributes {
                            if let RouteAttribute::Gateway(address) = attribute {
                                route.gateway = ip_of(address);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Some(route)
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family(self.destination);
        message.header.destination_prefix_length = self.prefix;
        message.header.kind = if self.local { RouteType::Local } else { RouteType::Unicast };
        message.header.protocol = RouteProtocol::from(self.protocol);
        message.header.scope = match (self.local, self.gateway) {
            (true, _) => RouteScope::Host,
            (false, None) => RouteScope::Link,
            (false, Some(_)) => RouteScope::Universe,
        };
        let attributes = [
            (self.prefix > 0).then(|| RouteAttribute::Destination(route_address(self.destination))),
            Some(RouteAttribute::Table(self.table)),
            self.gateway.map(|ip| RouteAttribute::Gateway(route_address(ip))),
            self.index.map(RouteAttribute::Oif),
            self.source.map(|ip| RouteAttribute::PrefSource(route_address(ip))),
            (self.priority > 0).then_some(RouteAttribute::Priority(self.priority)),
        ];
        message.attributes = attributes.into_iter().flatten().collect();
        message
    }
}

impl Rule {
    pub(super) fn of(message: RuleMessage) -> Option<Rule> {
        let header = message.header;
        let v6 = match header.family {
            AddressFamily::Inet => false,
            AddressFamily::Inet6 => true,
            _ => return None,
        };
        let looks_up = header.action == RuleAction::ToTable;
        let mut rule = Rule {
            v6,
            priority: 0,
            table: looks_up.then_some(header.table.into()),
            source: None,
            destination: None,
            inverted: header.flags.contains(RuleFlags::Invert),
            input: None,
            output: None,
            mark: None,
            more: header.tos != 0 || !looks_up,
        };
        let (mut mark, mut mask) = (None, u32::MAX);
        for attribute in message.attributes {
            match attribute {
                RuleAttribute::Priority(priority) => rule.priority = priority,
                RuleAttribute::Table(table) if looks_up => rule.table = Some(table),
                RuleAttribute::Source(ip) => rule.source = Some((ip, header.src_len)),
                RuleAttribute::Destination(ip) => rule.destination = Some((ip, header.dst_len)),
                RuleAttribute::Iifname(name) => rule.input = Some(name),
                RuleAttribute::Oifname(name) => rule.output = Some(name),
                RuleAttribute::FwMark(value) => mark = Some(value),
                RuleAttribute::FwMask(value) => mask = value,
                RuleAttribute::Table(_) | RuleAttribute::Protocol(_) => {}
                // What is there always, and says nothing.
                RuleAttribute::SuppressPrefixLen(u32::MAX) | RuleAttribute::L3MDev(false) => {}
                _ => rule.more = true,
            }
        }
        rule.mark = mark.map(|mark| (mark, mask));
        Some(rule)
    }

    fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = if self.v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        message.header.action = RuleAction::ToTable;
        message.header.flags = if self.inverted { RuleFlags::Invert } else { RuleFlags::empty() };
        message.header.src_len = self.source.map_or(0, |(_, bits)| bits);
        message.header.dst_len = self.destination.map_or(0, |(_, bits)| bits);
        let attributes = [
            Some(RuleAttribute::Priority(self.priority)),
            self.table.map(RuleAttribute::Table),
            self.source.map(|(ip, _)| RuleAttribute::Source(ip)),
            self.destination.map(|(ip, _)| RuleAttribute::Destination(ip)),
            self.input.clone().map(RuleAttribute::Iifname),
            self.output.clone().map(RuleAttribute::Oifname),
            self.mark.map(|(mark, _)| RuleAttribute::FwMark(mark)),
            self.mark.map(|(_, mask)| RuleAttribute::FwMask(mask)),
        ];
        message.attributes = attributes.into_iter().flatten().collect();
        message
    }
}

impl Neighbour {
    pub(super) fn of(message: NeighbourMessage) -> Option<Neighbour> {
        let NeighbourMessage { header, attributes, .. } = message;
        let (mut ip, mut address) = (None, None);
        for attribute in attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => ip = Some(v4.into()),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => ip = Some(v6.into()),
                NeighbourAttribute::LinkLayerAddress(bytes) => address = bytes.try_into().ok(),
                _ => {}
            }
        }
        let valid = !matches!(
            header.state,
            NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::None | NeighbourState::Other(_)
        );
        let permanent = header.state == NeighbourState::Permanent;
        Some(Neighbour { index: header.ifindex, ip: ip?, address, valid, permanent })
    }

    fn message(&self) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header = NeighbourHeader {
            family: family(self.ip),
            ifindex: self.index,
            state: if self.permanent { NeighbourState::Permanent } else { NeighbourState::Reachable },
            ..NeighbourHeader::default()
        };
        let destination = match self.ip {
            IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
            IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
        };
        let address = self.address.map(|address| NeighbourAttribute::LinkLayerAddress(address.to_vec()));
        message.attributes =
            [Some(NeighbourAttribute::Destination(destination)), address].into_iter().flatten().collect();
        message
    }
}

impl Route {
    /// All addresses of all devices.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn addresses(&mut self) -> Result<Vec<Address>, SocketError> {
        self.list(RouteNetlinkMessage::GetAddress(AddressMessage::default()), |message| match message {
            RouteNetlinkMessage::NewAddress(address) => Address::of(address),
            _ => None,
        })
    }

    /// Gives a device an address. One of IPv6 is usable at once: nobody is asked whether it is a duplicate.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `EEXIST` when it has it.
    pub fn add_address(&mut self, address: Address) -> Result<(), SocketError> {
        let mut message = address.message();
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        self.order(RouteNetlinkMessage::NewAddress(message), Flags::CREATE | Flags::EXCLUSIVE)
    }

    /// Takes an address off a device.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `EADDRNOTAVAIL` when it does not have it.
    pub fn delete_address(&mut self, address: Address) -> Result<(), SocketError> {
        self.order(RouteNetlinkMessage::DelAddress(address.message()), Flags::empty())
    }

    /// All routes of all tables that lead somewhere, those to the machine itself among them.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn routes(&mut self) -> Result<Vec<RouteEntry>, SocketError> {
        self.list(RouteNetlinkMessage::GetRoute(RouteMessage::default()), |message| match message {
            RouteNetlinkMessage::NewRoute(route) => RouteEntry::of(route),
            _ => None,
        })
    }

    /// Makes a route, or changes the one to the same network with the same priority.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENETUNREACH` when the router cannot be reached.
    pub fn set_route(&mut self, route: &RouteEntry) -> Result<(), SocketError> {
        self.order(RouteNetlinkMessage::NewRoute(route.message()), Flags::CREATE | Flags::REPLACE)
    }

    /// Forgets a route.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ESRCH` when there is none.
    pub fn delete_route(&mut self, route: &RouteEntry) -> Result<(), SocketError> {
        self.order(RouteNetlinkMessage::DelRoute(route.message()), Flags::empty())
    }

    /// All rules of IPv4 and IPv6.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn rules(&mut self) -> Result<Vec<Rule>, SocketError> {
        self.list(RouteNetlinkMessage::GetRule(RuleMessage::default()), |message| match message {
            RouteNetlinkMessage::NewRule(rule) => Rule::of(rule),
            _ => None,
        })
    }

    /// Makes a rule that looks into a table.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `EEXIST` when there is one.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), SocketError> {
        self.order(RouteNetlinkMessage::NewRule(rule.message()), Flags::CREATE | Flags::EXCLUSIVE)
    }

    /// Forgets a rule.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENOENT` when there is none.
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<(), SocketError> {
        self.order(RouteNetlinkMessage::DelRule(rule.message()), Flags::empty())
    }

    /// All neighbours of IPv4 and IPv6.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>, SocketError> {
        self.list(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), |message| match message {
            RouteNetlinkMessage::NewNeighbour(neighbour) => Neighbour::of(neighbour),
            _ => None,
        })
    }

    /// Tells a neighbour's hardware address.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn set_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), SocketError> {
        self.order(RouteNetlinkMessage::NewNeighbour(neighbour.message()), Flags::CREATE | Flags::REPLACE)
    }

    /// Forgets a neighbour.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENOENT` when there is none.
    pub fn delete_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), SocketError> {
        self.order(RouteNetlinkMessage::DelNeighbour(neighbour.message()), Flags::empty())
    }
}
