//! The machine's own network, told to the tunnels that go through it: devices with their addresses, routes, rules, and
//! neighbours, over rtnetlink.
//!
//! Whatever changes, everything is listed anew, once for all changes that came together and [`INTERVAL`] at the earliest
//! after the last time: that is right after lost news too, and costs a machine with few routes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ovs_netlink::route::{Groups, Link, Route, RouteEntry};
use ovs_netlink::{Linux, SocketError};
use ovs_ofproto::pipeline::native::{Cached, Device, Prefix, Rule, Underlay};
use ovs_ofproto::session::edge::Ready;
use ovs_packet::{EthAddr, Instant};

/// How long a listing is good for, while changes come.
const INTERVAL: Duration = Duration::from_millis(100);

/// How many datagrams of news are read at once.
const DATAGRAMS: usize = 256;

/// What listens to the machine's network.
#[derive(Debug)]
pub(super) struct Network {
    news: Route,
    asked: Route,
    /// The devices that were told.
    told: BTreeSet<String>,
    due: Option<Instant>,
    listed: Option<Instant>,
}

impl Network {
    /// Listens from now on; everything is listed with the first [`run`](Self::run).
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(now: Instant) -> Result<Network, SocketError> {
        let news = Route::open(&Linux)?;
        news.listen(Groups::LINKS | Groups::ADDRESSES | Groups::ROUTES | Groups::RULES | Groups::NEIGHBOURS)?;
        Ok(Network { news, asked: Route::open(&Linux)?, told: BTreeSet::new(), due: Some(now), listed: None })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Tells the underlay what changed.
    pub(super) fn run(&mut self, underlay: &Underlay, ready: &Ready, now: Instant) {
        let mut changed = false;
        if ready.has(self.fd()) {
            match self.news.events(DATAGRAMS, |_| changed = true) {
                Ok(drained) => changed |= drained.overruns > 0,
                Err(error) => tracing::warn!(target: "route_table", %error, "changes of the network"),
            }
        }
        if changed && self.due.is_none() {
            self.due = Some(self.listed.map_or(now, |listed| now.max(listed + INTERVAL)));
        }
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        (self.due, self.listed) = (None, Some(now));
        if let Err(error) = self.list(underlay, now) {
            tracing::warn!(target: "route_table", %error, "the network cannot be listed");
        }
    }

    fn list(&mut self, underlay: &Underlay, now: Instant) -> Result<(), SocketError> {
        let links: HashMap<u32, Link> = self.asked.links()?.into_iter().map(|link| (link.index, link)).collect();
        let mut devices: BTreeMap<String, Device> = BTreeMap::new();
        for address in self.asked.addresses()? {
            let Some(link) = links.get(&address.index) else { continue };
            let device = devices.entry(link.name.clone()).or_insert_with(|| Device {
                address: link.address.map(EthAddr).unwrap_or_default(),
                addresses: Vec::new(),
                loopback: is_loopback(link),
            });
            device.addresses.push((address.ip, address.prefix));
        }
        let gone = self.told.iter().filter(|name| !devices.contains_key(*name));
        gone.for_each(|name| underlay.set_device(name, None));
        self.told = devices.keys().cloned().collect();
        devices.into_iter().for_each(|(name, device)| underlay.set_device(&name, Some(device)));
        let mut routes = self.asked.routes()?;
        // Of those to the same addresses, the one with the least priority number counts: it is told last.
        routes.sort_by_key(|route| std::cmp::Reverse(route.priority));
        let rules = self.asked.rules()?;
        let cached = routes.iter().filter_map(|route| Some((route.table, cached(route, &links)?)));
        underlay.replace_cached(cached, Some(rules.iter().filter_map(rule).collect()));
        // Groups have addresses that follow from theirs.
        for neighbour in self.asked.neighbours()?.into_iter().filter(|neighbour| !neighbour.ip.is_multicast()) {
            if let (true, Some(mac), Some(link)) = (neighbour.valid, neighbour.address, links.get(&neighbour.index)) {
                // A bridge and the device of its own have one name; of others nobody asks.
                underlay.set_neighbour(&link.name, neighbour.ip, EthAddr(mac), now);
            }
        }
        Ok(())
    }
}

/// `ARPHRD_LOOPBACK`.
fn is_loopback(link: &Link) -> bool {
    link.hardware == 772
}

/// A route as tunnels want it; nothing for one that leads nowhere, or that is for packets with a mark only.
fn cached(route: &RouteEntry, links: &HashMap<u32, Link>) -> Option<Cached> {
    let link = links.get(&route.index?)?;
    let to = Prefix::new(route.destination, route.prefix).filter(|_| !is_loopback(link) || route.local)?;
    Some(Cached { to, device: link.name.clone(), gateway: route.gateway, source: route.source })
}

/// A rule as tunnels want it; nothing for one that looks at what only the kernel knows.
fn rule(rule: &ovs_netlink::route::Rule) -> Option<Rule> {
    let odd =
        rule.destination.is_some() || rule.input.is_some() || rule.output.is_some() || rule.mark.is_some() || rule.more;
    let table = rule.table.filter(|_| !odd)?;
    let from = match rule.source {
        None => None,
        Some((address, len)) => Some(Prefix::new(address, len)?),
    };
    Some(Rule { priority: rule.priority, invert: rule.inverted, from, v6: rule.v6, table, by_hand: false })
}
