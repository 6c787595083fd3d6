//! Interfaces of this machine as devices: cards and what behaves like them (packet sockets, AF_XDP), and the stack's own
//! (TAP); and those that are ports of the kernel's datapath, which are no devices here but are known in the same way.
//!
//! What is known of an interface is what the kernel told last: it says what changes ([`SystemDevices::run`]), so that nothing
//! has to be asked again and again, and an interface that goes, comes, or is replaced by another of its name is noticed.
//!
//! The stack goes on seeing what a packet socket receives. So that it does not answer there for the addresses that it has on
//! the bridge's own port, it is told to answer ARP on each interface for that one's addresses alone (`arp_ignore`), as long
//! as the port is there.
//!
//! A TAP device stays while the program is not there, with the host's addresses on it; it goes when its port does.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use ovs_dpif::netdev::{
    MAX_QUEUES, Netdev, PacketSocket, PacketSockets, Tap, TapHandle, TapKind, XdpConfig, XdpMode, XdpSocket,
};
use ovs_netlink::route::{Event, Groups, Link, LinkChange, Route};
use ovs_netlink::{Linux, SocketError};
use ovs_packet::EthAddr;

use super::devices::Attributes;
use crate::config::{InterfaceConfig, Settings};

/// Datagrams of news that are read at once.
const NEWS: usize = 64;

/// What the kernel says of its interfaces.
#[derive(Debug)]
struct Links {
    route: Route,
    news: Route,
    /// By number.
    known: BTreeMap<u32, Link>,
}

impl Links {
    fn open() -> Result<Links, SocketError> {
        let (mut route, news) = (Route::open(&Linux)?, Route::open(&Linux)?);
        // In this order: what changes in between is told twice, and not never.
        news.listen(Groups::LINKS)?;
        let known = route.links()?.into_iter().map(|link| (link.index, link)).collect();
        Ok(Links { route, news, known })
    }

    /// Reads what changed. The names of the interfaces that did.
    fn run(&mut self) -> BTreeSet<String> {
        let (mut indices, mut changed) = (BTreeSet::new(), BTreeSet::new());
        let drained = self.news.events(NEWS, |event| {
            if let Event::Link(link) | Event::LinkGone(link) = event {
                indices.insert(link.index);
            }
        });
        let lost = match drained {
            Ok(drained) => drained.overruns > 0,
            Err(e) => {
                tracing::warn!(target: "netdev_linux", "news of interfaces: {e}");
                true
            }
        };
        if lost {
            indices.extend(self.known.keys());
            indices.extend(self.route.links().unwrap_or_default().into_iter().map(|link| link.index));
        }
        for index in indices {
            // An event may tell of a port of the kernel's bridge and not of the interface: who it is about is asked.
            let link = self.route.link_by_index(index).ok();
            let before = match &link {
                Some(link) => self.known.insert(index, link.clone()),
                None => self.known.remove(&index),
            };
            if before != link {
                changed.extend([before, link].into_iter().flatten().map(|link| link.name));
            }
        }
        changed
    }
}

#[derive(Debug)]
struct Open {
    options: Settings,
    index: u32,
    tap: Option<TapHandle>,
    /// It belongs to the stack, which knows it by the address that the switch gives it.
    is_own: bool,
    /// What `arp_ignore` was before.
    arp_ignore: Option<String>,
    carrier: bool,
    carrier_resets: u64,
    /// What of its configuration the system refuses.
    problem: Option<String>,
}

/// The interfaces of this machine that are devices of a switch.
#[derive(Debug, Default)]
pub(super) struct SystemDevices {
    links: Option<Links>,
    open: BTreeMap<String, Open>,
    /// The program ends and will come back: what is closed stays in the system.
    leaving: bool,
}

/// What the kind of an interface tells of it: its driver, and of one end of a pair the number of the other, in the namespace
/// where that is.
fn status(link: &Link) -> Settings {
    let is_pair = link.kind == "veth";
    let driver = Some(("driver_name".to_string(), link.kind.clone())).filter(|(_, kind)| !kind.is_empty());
    let peer = link.link.filter(|_| is_pair).map(|peer| ("peer_ifindex".to_string(), peer.to_string()));
    driver.into_iter().chain(peer).collect()
}

/// The options of an interface of type `afxdp`.
fn xdp_config(interface: &InterfaceConfig) -> Result<XdpConfig, String> {
    let name = &interface.name;
    interface.options.iter().try_fold(XdpConfig::default(), |config, (key, value)| {
        match (key.as_str(), value.as_str()) {
            ("xdp-mode", mode) => {
                let mode = XdpMode::by_name(mode)
                    .ok_or_else(|| format!("{name}: option xdp-mode: there is no mode {mode}"))?;
                Ok(config.with_mode(mode))
            }
            ("use-need-wakeup", "true" | "false") => Ok(config.with_need_wakeup(value == "true")),
            ("use-need-wakeup", _) => Err(format!("{name}: option use-need-wakeup: {value} is not true or false")),
            _ => Err(format!("{name}: option {key} of an afxdp device is not available")),
        }
    })
}

fn open_xdp(interface: &InterfaceConfig) -> Result<XdpSocket, String> {
    let device = XdpSocket::open(&interface.name, xdp_config(interface)?).map_err(|e| e.to_string())?;
    for why in device.fallbacks() {
        tracing::warn!(target: "netdev_afxdp", "{}: {why}", interface.name);
    }
    tracing::info!(
        target: "netdev_afxdp",
        "{}: XDP mode {}, {} queues", interface.name, device.mode().name(), device.queues()
    );
    Ok(device)
}

/// An interface of type `system`, with as many receive queues as are asked for (`n_rxq`).
fn open_sockets(interface: &InterfaceConfig) -> Result<Box<dyn Netdev>, String> {
    let name = &interface.name;
    let Some(queues) = interface.options.get("n_rxq") else {
        return Ok(Box::new(PacketSocket::open(name).map_err(|e| e.to_string())?));
    };
    match queues.parse() {
        Ok(n) if (1..=MAX_QUEUES).contains(&n) => {
            Ok(Box::new(PacketSockets::open(name, n).map_err(|e| e.to_string())?))
        }
        _ => Err(format!("{name}: option n_rxq: {queues} is no number from 1 to {MAX_QUEUES}")),
    }
}

impl SystemDevices {
    /// Whether an interface is open.
    pub(super) fn has(&self, name: &str) -> bool {
        self.open.contains_key(name)
    }

    fn links(&mut self) -> Result<&mut Links, String> {
        match &mut self.links {
            Some(links) => Ok(links),
            none => Ok(none.insert(Links::open().map_err(|e| format!("rtnetlink: {e}"))?)),
        }
    }

    /// Has changes of interfaces told from now on, whether any is open or not.
    pub(super) fn listen(&mut self) {
        if let Err(e) = self.links() {
            tracing::warn!(target: "netdev_linux", "changes of interfaces are not told: {e}");
        }
    }

    /// Opens an interface of type `system`, `afxdp`, `internal` or `tap`.
    pub(super) fn open(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<Box<dyn Netdev>, String> {
        let name = &interface.name;
        let known = |option: &&String| kind == "system" && *option == "n_rxq";
        if kind != "afxdp"
            && let Some(option) = interface.options.keys().find(|option| !known(option))
        {
            return Err(format!("{name}: option {option} of a device of type {kind} is not available"));
        }
        // Where it cannot be opened now, what becomes of it is to be heard.
        self.links()?;
        let tap = |kind| {
            let tap = Tap::open(name, kind).map_err(|e| e.to_string())?;
            tap.handle().set_persistent(true).map_err(|e| e.to_string())?;
            Ok::<_, String>(tap)
        };
        // The size of AF_XDP's frames is chosen when it is opened.
        let asked_before = matches!(kind, "system" | "afxdp").then(|| self.settle(interface));
        let (device, handle): (Box<dyn Netdev>, _) = match kind {
            "afxdp" => (Box::new(open_xdp(interface)?), None),
            "internal" | "tap" => {
                let tap = tap(if kind == "tap" { TapKind::Tap } else { TapKind::Internal })?;
                let handle = tap.handle();
                (Box::new(tap), Some(handle))
            }
            _ => (open_sockets(interface)?, None),
        };
        let problem = asked_before.unwrap_or_else(|| self.settle(interface));
        let open = self.know(kind, interface, problem)?;
        open.tap = handle;
        if kind == "system" {
            open.arp_ignore = keep_quiet(name);
        }
        Ok(device)
    }

    /// Takes note of an interface that is a port of the kernel's datapath: `system`, or `internal`.
    pub(super) fn adopt(&mut self, kind: &str, interface: &InterfaceConfig) {
        let problem = self.settle(interface);
        if let Err(e) = self.know(kind, interface, problem) {
            tracing::warn!(target: "netdev_linux", "{e}");
        }
    }

    /// Takes note of an interface that is a port now.
    fn know(&mut self, kind: &str, interface: &InterfaceConfig, problem: Option<String>) -> Result<&mut Open, String> {
        let name = &interface.name;
        let links = self.links()?;
        let link = links.route.link(name).map_err(|e| format!("{name}: {e}"))?;
        let open = Open {
            options: interface.options.clone(),
            index: link.index,
            tap: None,
            is_own: matches!(kind, "internal" | "tap"),
            arp_ignore: None,
            carrier: link.carrier,
            carrier_resets: 0,
            problem,
        };
        links.known.insert(link.index, link);
        Ok(self.open.entry(name.clone()).insert_entry(open).into_mut())
    }

    /// Gives an interface that is open what is asked for beside its options. Says what is not done, and why.
    fn settle(&mut self, interface: &InterfaceConfig) -> Option<String> {
        let steering = interface.other_config.get("tx-steering").filter(|mode| *mode != "thread");
        let steering = steering.map(|mode| {
            format!("{}: tx-steering {mode} is not available: each thread sends by a queue of its own", interface.name)
        });
        let told = [self.set_mtu(interface), steering];
        told.into_iter().flatten().reduce(|a, b| format!("{a}; {b}"))
    }

    /// Gives an interface the MTU that is asked for. Says why not.
    fn set_mtu(&mut self, interface: &InterfaceConfig) -> Option<String> {
        let (name, mtu) = (&interface.name, interface.mtu_request?);
        let set = |links: &mut Links| {
            let link = links.route.link(name)?;
            if link.mtu == u32::from(mtu) {
                return Ok(());
            }
            links.route.change_link(link.index, LinkChange { mtu: Some(mtu.into()), ..LinkChange::default() })
        };
        let why = match self.links() {
            Ok(links) => set(links).err()?.to_string(),
            Err(why) => why,
        };
        Some(format!("{name}: its MTU cannot be {mtu}: {why}"))
    }

    /// Gives an interface that is open what changed in its configuration.
    pub(super) fn configure(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<(), String> {
        let name = &interface.name;
        let Some(open) = self.open.get(name) else { return Ok(()) };
        let keys = open.options.keys().chain(interface.options.keys());
        let changed = keys.into_iter().find(|key| open.options.get(*key) != interface.options.get(*key));
        match (changed, kind) {
            (None, _) => {}
            (Some(key), _) if kind == "afxdp" || kind == "system" && key == "n_rxq" => {
                return Err(format!("{name}: option {key} changes only when the port is made anew"));
            }
            (Some(key), _) => {
                return Err(format!("{name}: option {key} of a device of type {kind} is not available"));
            }
        }
        let problem = self.settle(interface);
        if let Some(open) = self.open.get_mut(name) {
            open.problem = problem;
        }
        Ok(())
    }

    fn change(&mut self, name: &str, change: LinkChange<'_>) -> Result<(), String> {
        let Some(index) = self.open.get(name).map(|open| open.index) else { return Ok(()) };
        self.links()?.route.change_link(index, change).map_err(|e| e.to_string())
    }

    /// Gives an interface of the stack's own an address. That of a card is its own.
    pub(super) fn set_address(&mut self, name: &str, address: EthAddr) -> Result<(), String> {
        let is_own = self.open.get(name).is_some_and(|open| open.is_own);
        if !is_own || self.link(name).and_then(|link| link.address) == Some(address.0) {
            return Ok(());
        }
        self.change(name, LinkChange { address: Some(address.0), ..LinkChange::default() })?;
        if let Some(link) = self.link_mut(name) {
            link.address = Some(address.0);
        }
        Ok(())
    }

    /// Gives an interface an MTU that nobody asked for by name.
    pub(super) fn fit_mtu(&mut self, name: &str, mtu: usize) -> Result<(), String> {
        let mtu = u32::try_from(mtu).map_err(|e| e.to_string())?;
        if self.link(name).is_some_and(|link| link.mtu == mtu) {
            return Ok(());
        }
        self.change(name, LinkChange { mtu: Some(mtu), ..LinkChange::default() })?;
        if let Some(link) = self.link_mut(name) {
            link.mtu = mtu;
        }
        Ok(())
    }

    /// Brings an interface up or takes it down.
    pub(super) fn set_up(&mut self, name: &str, up: bool) -> Result<(), String> {
        self.change(name, LinkChange { up: Some(up), ..LinkChange::default() })?;
        if let Some(link) = self.link_mut(name) {
            link.up = up;
        }
        Ok(())
    }

    fn link(&self, name: &str) -> Option<&Link> {
        self.links.as_ref()?.known.get(&self.open.get(name)?.index)
    }

    fn link_mut(&mut self, name: &str) -> Option<&mut Link> {
        self.links.as_mut()?.known.get_mut(&self.open.get(name)?.index)
    }

    /// What is known of an interface.
    pub(super) fn attributes(&self, name: &str) -> Option<Attributes> {
        let (open, link) = (self.open.get(name)?, self.link(name)?);
        let read = |file: &str| {
            let path = format!("/sys/class/net/{name}/{file}");
            std::fs::read_to_string(path).ok().map(|t| t.trim().to_string())
        };
        // The files may be those of another network namespace.
        let is_same = read("ifindex").and_then(|n| n.parse().ok()) == Some(link.index);
        let speed = || read("speed")?.parse::<u64>().ok().map(|megabits| megabits * 1_000_000);
        Some(Attributes {
            address: link.address.map(EthAddr),
            mtu: usize::try_from(link.mtu).ok(),
            up: link.up,
            carrier: link.carrier,
            carrier_resets: open.carrier_resets,
            index: Some(link.index),
            speed: is_same.then(speed).flatten(),
            full_duplex: is_same
                .then(|| read("duplex"))
                .flatten()
                .filter(|d| d == "full" || d == "half")
                .map(|d| d == "full"),
            status: status(link),
            ..Attributes::default()
        })
    }

    /// What of an interface's configuration the system refuses.
    pub(super) fn problem(&self, name: &str) -> Option<String> {
        self.open.get(name)?.problem.clone()
    }

    /// Whether an interface that was opened is there no more: it was removed, or renamed.
    pub(super) fn is_gone(&self, name: &str) -> bool {
        self.open.contains_key(name) && self.link(name).is_none_or(|link| link.name != name)
    }

    /// Takes note of what became of interfaces: the names of those that changed.
    pub(super) fn run(&mut self) -> BTreeSet<String> {
        let Some(links) = &mut self.links else { return BTreeSet::new() };
        let changed = links.run();
        for name in &changed {
            let carrier = self.link(name).map(|link| link.carrier);
            if let Some((open, carrier)) = self.open.get_mut(name).zip(carrier)
                && open.carrier != carrier
            {
                open.carrier = carrier;
                open.carrier_resets += 1;
            }
        }
        changed
    }

    /// What becomes readable when there is news.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.links.as_ref().map(|links| links.news.as_fd())
    }

    /// From now on what is closed stays in the system.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    /// A device was closed. False if it is none of these.
    pub(super) fn closed(&mut self, name: &str) -> bool {
        let Some(open) = self.open.remove(name) else { return false };
        if let Some(tap) = open.tap.filter(|_| !self.leaving)
            && let Err(e) = tap.set_persistent(false)
        {
            // It was removed by somebody else.
            tracing::debug!(target: "netdev_linux", "{name}: {e}");
        }
        if let Some(before) = open.arp_ignore {
            // The interface may be gone.
            let _ = std::fs::write(arp_ignore(name), before);
        }
        true
    }
}

/// The setting of ARP on an interface of this network namespace (ip-sysctl of the kernel's documentation).
fn arp_ignore(name: &str) -> PathBuf {
    Path::new("/proc/sys/net/ipv4/conf").join(name).join("arp_ignore")
}

/// Has the stack answer ARP on an interface for that one's own addresses only. The setting that was there, if it was
/// changed.
fn keep_quiet(name: &str) -> Option<String> {
    let path = arp_ignore(name);
    let before = std::fs::read_to_string(&path).ok().filter(|before| before.trim() == "0")?;
    match std::fs::write(&path, "1") {
        Ok(()) => Some(before),
        Err(e) => {
            tracing::info!(target: "netdev_linux", "{}: {e}: the stack may answer ARP on {name}", path.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_a_pair_tells_of_the_other() {
        let mut link = Link::default();
        assert!(status(&link).is_empty());
        (link.kind, link.link) = ("vlan".into(), Some(7));
        assert_eq!(status(&link).into_iter().collect::<Vec<_>>(), [("driver_name".into(), "vlan".into())]);
        link.kind = "veth".into();
        assert_eq!(status(&link).get("peer_ifindex").map(String::as_str), Some("7"));
    }

    #[test]
    fn options_of_xdp_are_known_or_refused() {
        let of = |options: &[(&str, &str)]| {
            let mut interface = InterfaceConfig::new("p1");
            interface.options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            xdp_config(&interface)
        };
        let config = of(&[("xdp-mode", "generic"), ("use-need-wakeup", "false")]).unwrap();
        assert_eq!((config.mode, config.need_wakeup), (XdpMode::Generic, false));
        for (options, says) in [
            (("xdp-mode", "fast"), "p1: option xdp-mode: there is no mode fast"),
            (("use-need-wakeup", "1"), "p1: option use-need-wakeup: 1 is not true or false"),
            (("n_rxq", "2"), "p1: option n_rxq of an afxdp device is not available"),
        ] {
            assert_eq!(of(&[options]).unwrap_err(), says);
        }
    }
}
