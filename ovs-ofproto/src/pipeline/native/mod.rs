//! Tunnels whose outer headers the switch makes itself.
//!
//! A datapath within the process has no stack beneath it that finds the way to the other end of a tunnel. What it takes is
//! here: [`Routes`] with the rules that choose among them, the [`Neighbours`] that are next on a way, the [`Device`]s with
//! the machine's own addresses, and the [`Listener`]s that tunnels end at. All of it comes in as events: from the kernel by
//! whoever listens to it, by hand, from packets that a switch sees. Time is an argument.
//!
//! # How a packet goes
//!
//! One that leaves by a tunnel port looks its outer destination up: a route says which device it leaves by, and a device
//! that is a port of a switch is that switch's port. The next hop's address is a neighbour of that switch; if it is not
//! known, a request for it is sent through that switch, and the packet is dropped. Else the packet gets its outer header, and
//! goes through the tables of that switch as if it had come in by that port.
//!
//! One that is about to be sent to a port whose device has addresses, and that is addressed to one of them by a protocol that
//! a tunnel port listens to, loses its outer header and comes in by the tunnel's port.
//!
//! # Sharing
//!
//! [`Underlay`] is a handle: switches that can be each other's underlay share one. A translation that asks for it has its
//! lock until it is done, and nobody holds it while packets are forwarded. What every translation asks first stands beside
//! the lock, and is written under it: most need no more, and a lock costs as much as several lookups.

mod neighbours;
mod requests;
mod routes;
mod terminations;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ovs_dpif::PortNo;
use ovs_packet::{EthAddr, Instant, Match};

use super::port::Port;
use super::tunnel::TunnelKind;
pub use neighbours::{
    DEFAULT_AGING, DEFAULT_RETRANSMIT, Known, MAX_AGING, MAX_NEIGHBOURS, Neighbour, Neighbours, TimeError,
};
pub(super) use requests::Request;
pub use routes::{Hop, MAX_ROUTES, Prefix, Route, Routes, Rule, table};
pub(super) use terminations::Terminations;
pub use terminations::{Device, Listener};

/// Requests for neighbours that wait to be sent, at most.
const MAX_REQUESTS: usize = 64;

/// What is known of the network that tunnels go through. See the [module](self).
#[derive(Default, Debug)]
pub struct State {
    routes: Routes,
    neighbours: Neighbours,
    devices: BTreeMap<String, Device>,
    pub(super) terminations: Terminations,
    requests: Vec<Request>,
    now: Instant,
    version: Version,
}

/// What has changed, in numbers that grow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Version {
    /// Of what any megaflow may depend on: which packets are for tunnels.
    pub(super) ends: u64,
    /// Of what those depend on that asked for a way.
    pub(super) ways: u64,
}

/// A handle on what is known of the network that tunnels go through. Clones share it. See the [module](self).
///
/// ```
/// use ovs_ofproto::pipeline::native::{Hop, Underlay};
///
/// let underlay = Underlay::default();
/// underlay.add_address("br0", "02:00:00:00:00:01".parse().unwrap(), "192.0.2.1".parse().unwrap(), 24);
/// let hop = underlay.read().routes().lookup("192.0.2.9".parse().unwrap(), 0, None);
/// assert_eq!(hop, Some(Hop { device: "br0".into(), gateway: None, source: "192.0.2.1".parse().unwrap() }));
/// ```
#[derive(Clone, Default)]
pub struct Underlay(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: RwLock<State>,
    // What the state says of these, for who does not wait for its lock.
    ends: AtomicU64,
    ways: AtomicU64,
    has_addresses: AtomicBool,
    has_requests: AtomicBool,
}

/// What is known, from when it is asked for until the end of a translation.
pub(super) struct Look<'a> {
    shared: &'a Shared,
    state: OnceCell<RwLockReadGuard<'a, State>>,
}

impl Look<'_> {
    /// Whether a device has an address.
    pub(super) fn has_address(&self, device: &str) -> bool {
        self.shared.has_addresses.load(Ordering::Acquire)
            && self.devices.get(device).is_some_and(|device| !device.addresses.is_empty())
    }
}

impl Deref for Look<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.get_or_init(|| self.shared.read())
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        // A change that panicked left every table whole.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes beside the lock what the state says now.
    fn publish(&self, state: &State) {
        self.ends.store(state.version.ends, Ordering::Release);
        self.ways.store(state.version.ways, Ordering::Release);
        self.has_requests.store(!state.requests.is_empty(), Ordering::Release);
    }
}

/// Why a route is not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The device has no address from which the destination, or the gateway, can be reached; or not the one that was
    /// asked for.
    #[error("Error while inserting route.")]
    NoSource,
    /// There are [`MAX_ROUTES`].
    #[error("there are too many routes")]
    TooMany,
}

impl State {
    /// The routes and rules.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The neighbours.
    pub fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// The devices, by name.
    pub fn devices(&self) -> &BTreeMap<String, Device> {
        &self.devices
    }

    /// The ports that stand for tunnels.
    pub fn listeners(&self) -> impl Iterator<Item = (PortNo, &Listener)> {
        self.terminations.listeners()
    }

    /// Which packets tunnels end for, and by which port they come in then.
    pub fn ends(&self) -> impl Iterator<Item = (Match, PortNo)> {
        self.terminations.matches(&self.devices)
    }

    /// The time that it was told last.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Whether an address is one of these devices'.
    pub(super) fn is_own<'a>(
        &self,
        mut devices: impl Iterator<Item = &'a str>,
        is_it: impl Fn(IpAddr) -> bool,
    ) -> bool {
        devices.any(|name| self.devices.get(name).is_some_and(|d| d.addresses.iter().any(|(ip, _)| is_it(*ip))))
    }

    /// The address of a device that is nearest to another address: the one with the longest prefix that both share.
    pub fn source_for(&self, device: &str, to: IpAddr) -> Option<IpAddr> {
        let addresses = self.devices.get(device)?.addresses.iter();
        let near = addresses.filter(|(ip, len)| Prefix::new(*ip, *len).is_some_and(|prefix| prefix.contains(to)));
        // Of several, the first one counts.
        near.rev().max_by_key(|(_, len)| *len).map(|(ip, _)| *ip)
    }

    /// The source of a route: the one that is asked for, if the device has it, or the nearest.
    fn source_of(&self, device: &str, to: IpAddr, gateway: Option<IpAddr>, asked: Option<IpAddr>) -> Option<IpAddr> {
        let near = |to: IpAddr| match asked {
            None => self.source_for(device, to),
            Some(asked) => {
                let mut addresses = self.devices.get(device)?.addresses.iter();
                let is_it = |(ip, len): &&(IpAddr, u8)| {
                    *ip == asked && Prefix::new(*ip, *len).is_some_and(|prefix| prefix.contains(to))
                };
                addresses.find(is_it).map(|(ip, _)| *ip)
            }
        };
        near(to).or_else(|| gateway.and_then(near))
    }

    pub(super) fn push_request(&mut self, request: Request) {
        if self.requests.len() < MAX_REQUESTS {
            self.requests.push(request);
        }
    }
}

impl Underlay {
    /// What is known.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read()
    }

    /// What is known, read only if something is asked.
    pub(super) fn look(&self) -> Look<'_> {
        Look { shared: &self.0, state: OnceCell::new() }
    }

    pub(super) fn version(&self) -> Version {
        Version { ends: self.0.ends.load(Ordering::Acquire), ways: self.0.ways.load(Ordering::Acquire) }
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes ways; `f` says whether it did.
    fn change_ways(&self, f: impl FnOnce(&mut State) -> bool) -> bool {
        let mut state = self.write();
        let changed = f(&mut state);
        state.version.ways += u64::from(changed);
        self.0.publish(&state);
        changed
    }

    fn change_ends(&self, f: impl FnOnce(&mut State)) {
        let mut state = self.write();
        f(&mut state);
        let State { terminations, devices, version, .. } = &mut *state;
        terminations.rebuild(devices);
        version.ends += 1;
        version.ways += 1;
        let has_addresses = state.devices.values().any(|device| !device.addresses.is_empty());
        self.0.has_addresses.store(has_addresses, Ordering::Release);
        self.0.publish(&state);
    }

    // Devices.

    /// A device is there, or is other than it was; or, without one, is gone.
    pub fn set_device(&self, name: &str, device: Option<Device>) {
        if self.read().devices.get(name) != device.as_ref() {
            self.change_ends(|state| match device {
                Some(device) => drop(state.devices.insert(name.into(), device)),
                None => drop(state.devices.remove(name)),
            });
        }
    }

    /// A device has another Ethernet address.
    pub fn set_device_address(&self, name: &str, address: EthAddr) {
        let known = self.read().devices.get(name).cloned();
        if let Some(device) = known {
            self.set_device(name, Some(Device { address, ..device }));
        }
    }

    /// Gives a device an address, and makes the routes that come with it: to the address itself, and to its link.
    pub fn add_address(&self, name: &str, mac: EthAddr, ip: IpAddr, len: u8) {
        let Some(link) = Prefix::new(ip, len) else { return };
        let mut device = self.read().devices.get(name).cloned().unwrap_or_default();
        device.address = mac;
        if !device.addresses.contains(&(ip, len)) {
            device.addresses.push((ip, len));
        }
        self.set_device(name, Some(device));
        self.change_ways(|state| {
            for (table, to) in [(table::LOCAL, Prefix::host(ip)), (table::MAIN, link)] {
                let source = state.source_for(name, to.address()).unwrap_or(ip);
                let route = Route { to, mark: 0, device: name.into(), gateway: None, source, by_hand: false };
                state.routes.add(table, route);
            }
            true
        });
    }

    // Routes.

    /// Adds a route, whose source is chosen of its device's addresses if none is asked for.
    ///
    /// # Errors
    /// If there is none to choose, or the one that is asked for cannot be it.
    #[expect(clippy::too_many_arguments, reason = "they are those of a route")]
    pub fn add_route(
        &self,
        table: u32,
        to: Prefix,
        device: &str,
        gateway: Option<IpAddr>,
        mark: u32,
        source: Option<IpAddr>,
        by_hand: bool,
    ) -> Result<(), RouteError> {
        let source = self.read().source_of(device, to.address(), gateway, source).ok_or(RouteError::NoSource)?;
        let route = Route { to, mark, device: device.into(), gateway, source, by_hand };
        match self.change_ways(|state| state.routes.add(table, route)) {
            true => Ok(()),
            false => Err(RouteError::TooMany),
        }
    }

    /// Removes a route. Whether it was there.
    pub fn remove_route(&self, table: u32, to: Prefix, mark: u32, by_hand: bool) -> bool {
        self.change_ways(|state| state.routes.remove(table, to, mark, by_hand))
    }

    /// Replaces all that the system says: devices that are not of the switch, routes with their tables, rules. What was
    /// added by hand stays. A route whose source is not told, and cannot be chosen, is left out.
    pub fn replace_cached(&self, routes: impl IntoIterator<Item = (u32, Cached)>, rules: Option<Vec<Rule>>) {
        self.change_ways(|state| {
            state.routes.forget_cached();
            for (table, Cached { to, device, gateway, source }) in routes {
                let chosen = state.source_of(&device, to.address(), gateway, None);
                let Some(source) = source.or(chosen) else { continue };
                state.routes.add(table, Route { to, mark: 0, device, gateway, source, by_hand: false });
            }
            if let Some(rules) = rules {
                state.routes.set_cached_rules(rules);
            }
            true
        });
    }

    /// Adds a rule; one without a priority gets the next free one.
    pub fn add_rule(&self, rule: Rule) {
        self.change_ways(|state| {
            let priority = if rule.priority == 0 { state.routes.free_priority() } else { rule.priority };
            state.routes.add_rule(Rule { priority, ..rule });
            true
        });
    }

    /// Removes a rule that was added by hand, of any priority if its own is 0. Whether there was one.
    pub fn remove_rule(&self, rule: &Rule) -> bool {
        self.change_ways(|state| state.routes.remove_rule(rule))
    }

    // Neighbours.

    /// A neighbour of a switch has this address.
    pub fn set_neighbour(&self, bridge: &str, ip: IpAddr, mac: EthAddr, now: Instant) {
        self.change_ways(|state| state.neighbours.learn(bridge, ip, mac, now));
    }

    pub(super) fn neighbour_used(&self, bridge: &str, ip: IpAddr, at: Instant) {
        self.write().neighbours.used(bridge, ip, at);
    }

    /// Takes note of a request that is to be sent, unless one was.
    pub(super) fn ask(&self, request: Request) {
        self.change_ways(|state| {
            let (bridge, now) = (request.bridge.clone(), state.now);
            let asked = state.neighbours.ask(&bridge, request.target, now);
            if asked {
                state.push_request(request);
            }
            asked
        });
    }

    /// Forgets the neighbours of a switch, or of all.
    pub fn flush_neighbours(&self, bridge: Option<&str>) {
        self.change_ways(|state| state.neighbours.flush(bridge));
    }

    /// See [`Neighbours::set_aging`].
    ///
    /// # Errors
    /// If the time cannot be that.
    pub fn set_aging(&self, aging: std::time::Duration, now: Instant) -> Result<(), TimeError> {
        self.write().neighbours.set_aging(aging, now)
    }

    /// See [`Neighbours::set_retransmit`].
    ///
    /// # Errors
    /// If the time cannot be that.
    pub fn set_retransmit(&self, retransmit: std::time::Duration, now: Instant) -> Result<(), TimeError> {
        self.write().neighbours.set_retransmit(retransmit, now)
    }

    // Tunnel ports.

    /// A port of a switch is one of those that a port of the datapath stands for, whose outer headers are of these protocols
    /// and, if they have any, to this UDP port.
    pub fn listen(&self, port: PortNo, name: &str, protocols: &[u8], udp_port: u16) {
        self.change_ends(|state| state.terminations.listen(port, name, protocols, udp_port));
    }

    /// It is none any more.
    pub fn unlisten(&self, port: PortNo) {
        self.change_ends(|state| state.terminations.unlisten(port));
    }

    /// The same for a port of a switch, if it is a tunnel's.
    pub(super) fn listen_for(&self, port: &Port) {
        if let Some(config) = &port.tunnel {
            self.listen(port.datapath, &config.vport(), protocols(config.kind), config.dst_port);
        }
    }

    pub(super) fn unlisten_for(&self, port: &Port) {
        if port.tunnel.is_some() {
            self.unlisten(port.datapath);
        }
    }

    // Time.

    /// Ends what is over.
    pub fn run(&self, now: Instant) {
        let mut state = self.write();
        state.now = state.now.max(now);
        if state.neighbours.expire(now) {
            state.version.ways += 1;
            self.0.publish(&state);
        }
    }

    /// When [`run`](Self::run) has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let state = self.read();
        let now = (!state.requests.is_empty()).then_some(Instant::ZERO);
        now.or_else(|| state.neighbours.next_expiry())
    }

    /// The requests that are to be sent.
    pub(super) fn take_requests(&self) -> Vec<Request> {
        if !self.0.has_requests.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut state = self.write();
        let requests = std::mem::take(&mut state.requests);
        self.0.publish(&state);
        requests
    }
}

impl fmt::Debug for Underlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Underlay").field(&self.version()).finish()
    }
}

/// The protocols of IP that a kind of tunnel comes by.
const fn protocols(kind: TunnelKind) -> &'static [u8] {
    match kind {
        TunnelKind::Gre | TunnelKind::Ip6Gre | TunnelKind::Erspan | TunnelKind::Ip6Erspan => &[47],
        TunnelKind::Vxlan | TunnelKind::Geneve | TunnelKind::Gtpu | TunnelKind::Bareudp => &[17],
        // Behind the path: IPv4, IPv6.
        TunnelKind::Srv6 => &[4, 41],
    }
}

/// A route as the system has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cached {
    /// Which addresses.
    pub to: Prefix,
    /// The device.
    pub device: String,
    /// The router, if there is one.
    pub gateway: Option<IpAddr>,
    /// The source address that the system prefers.
    pub source: Option<IpAddr>,
}
