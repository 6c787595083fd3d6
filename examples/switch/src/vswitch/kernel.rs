//! The datapath of the machine's kernel, and the interfaces of the machine that are its ports.
//!
//! There is one such datapath for a switch, `ovs-system`. One that is there is taken over as it is: its ports stay, its
//! megaflows, which follow from flows that nobody knows any more, go. It outlives the program that made it, unless the
//! program is told to clean up.
//!
//! What others do to the machine's interfaces is told by rtnetlink; that ports go, by the datapath itself.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use ovs_dpif::kernel::{self, Datapath, Options};
use ovs_dpif::{Dpif, DpifError, PortSpec};
use ovs_netlink::route::{Event, Groups, LinkChange, Route};
use ovs_netlink::{Linux, monotonic};
use ovs_packet::{EthAddr, Instant};

use crate::config::InterfaceConfig;

/// How many datagrams of events are taken at a time; after more, all interfaces may have changed.
const MAX_EVENTS: usize = 256;

/// What became of the machine's interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkChanges {
    /// Those that came or changed, by name, and are there.
    pub there: BTreeSet<String>,
    /// Those that went.
    pub gone: BTreeSet<String>,
    /// Events were lost: anything may have happened.
    pub lost: bool,
}

impl LinkChanges {
    /// Whether nothing was told.
    pub fn is_empty(&self) -> bool {
        self.there.is_empty() && self.gone.is_empty() && !self.lost
    }
}

/// The kernel, as far as a switch needs it.
#[derive(Debug, Default)]
pub struct Kernel {
    /// For questions and orders; opened when first needed.
    route: Option<Route>,
    /// For events.
    events: Option<Route>,
}

impl Kernel {
    /// Takes over the datapath of this name, or makes it. Whatever other datapaths there are is removed if the switch is
    /// to be `alone`. `now` is the time of the switch.
    ///
    /// # Errors
    /// Why not, in a line.
    pub fn open(&mut self, name: &str, alone: bool, now: Instant) -> Result<Box<dyn Dpif>, String> {
        let said = |e: DpifError| e.to_string();
        let there = kernel::list(&Linux).map_err(said)?;
        for other in there.iter().filter(|other| alone && *other != name) {
            let removed = Datapath::open(&Linux, other, Options::OBSERVE).and_then(Datapath::remove);
            if let Err(e) = removed {
                tracing::warn!(target: "dpif", "couldn't remove old datapath {other}: {e}");
            }
        }
        let options = Options::default().with_clock(now, monotonic());
        let mut datapath = match there.iter().any(|known| known == name) {
            true => Datapath::open(&Linux, name, options),
            false => Datapath::create(&Linux, name, options),
        }
        .map_err(said)?;
        datapath.flow_flush().map_err(said)?;
        if alone {
            self.listen();
        }
        Ok(Box::new(datapath))
    }

    fn listen(&mut self) {
        let listening = Route::open(&Linux).and_then(|route| route.listen(Groups::LINKS).map(|()| route));
        match listening {
            Ok(route) => self.events = Some(route),
            Err(e) => tracing::warn!(target: "netlink_notifier", "changes of interfaces are not told: {e}"),
        }
    }

    /// Removes the datapath of this name, with its ports.
    ///
    /// # Errors
    /// Why not, in a line.
    pub fn remove(&mut self, name: &str) -> Result<(), String> {
        Datapath::open(&Linux, name, Options::OBSERVE).and_then(Datapath::remove).map_err(|e| e.to_string())
    }

    /// What a port of the datapath is made of, and the kind by which it is known.
    ///
    /// # Errors
    /// If the kernel has no such ports, or they have no such options.
    pub fn port(kind: &str, interface: &InterfaceConfig) -> Result<(PortSpec, &'static str), String> {
        let name = &interface.name;
        let (spec, kind) = match kind {
            "system" => (PortSpec::Interface(name.clone()), "system"),
            "internal" => (PortSpec::Internal(name.clone()), "internal"),
            _ => return Err(format!("{name}: ports of type {kind} are not available in the kernel's datapath")),
        };
        match interface.options.keys().next() {
            Some(option) => Err(format!("{name}: option {option} of a {kind} device is not available")),
            None => Ok((spec, kind)),
        }
    }

    fn route(&mut self) -> Result<&mut Route, String> {
        match &mut self.route {
            Some(route) => Ok(route),
            none => Ok(none.insert(Route::open(&Linux).map_err(|e| e.to_string())?)),
        }
    }

    /// Changes an interface of the machine.
    ///
    /// # Errors
    /// Why not, in a line.
    fn change(&mut self, name: &str, change: LinkChange<'_>) -> Result<(), String> {
        let route = self.route()?;
        let link = route.link(name).map_err(|e| e.to_string())?;
        let is_so = change.up.is_none_or(|up| up == link.up)
            && change.address.is_none_or(|address| link.address == Some(address));
        if is_so { Ok(()) } else { route.change_link(link.index, change).map_err(|e| e.to_string()) }
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// Why not, in a line.
    pub fn set_address(&mut self, name: &str, address: EthAddr) -> Result<(), String> {
        self.change(name, LinkChange { address: Some(address.0), ..LinkChange::default() })
    }

    /// Brings an interface up, or takes it down.
    ///
    /// # Errors
    /// Why not, in a line.
    pub fn set_up(&mut self, name: &str, up: bool) -> Result<(), String> {
        self.change(name, LinkChange { up: Some(up), ..LinkChange::default() })
    }

    /// What became of interfaces since the last time.
    pub fn changes(&mut self) -> LinkChanges {
        let mut changes = LinkChanges::default();
        let Some(events) = &mut self.events else { return changes };
        let taken = events.events(MAX_EVENTS, |event| match event {
            Event::Link(link) => {
                changes.gone.remove(&link.name);
                changes.there.insert(link.name);
            }
            Event::LinkGone(link) => {
                changes.there.remove(&link.name);
                changes.gone.insert(link.name);
            }
            _ => {}
        });
        match taken {
            Ok(taken) => changes.lost = taken.overruns > 0 || taken.bad > 0,
            Err(e) => tracing::warn!(target: "netlink_notifier", "changes of interfaces: {e}"),
        }
        changes
    }

    /// What becomes readable when an interface changes.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_the_machines_or_made_or_refused() {
        let mut interface = InterfaceConfig::new("p1");
        assert!(matches!(Kernel::port("system", &interface), Ok((PortSpec::Interface(_), "system"))));
        assert!(matches!(Kernel::port("internal", &interface), Ok((PortSpec::Internal(_), "internal"))));
        let refused = Kernel::port("afxdp", &interface).unwrap_err();
        assert_eq!(refused, "p1: ports of type afxdp are not available in the kernel's datapath");
        interface.options.insert("n_rxq".into(), "2".into());
        let refused = Kernel::port("system", &interface).unwrap_err();
        assert_eq!(refused, "p1: option n_rxq of a system device is not available");
    }
}
