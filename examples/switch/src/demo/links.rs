//! Links of a private network, over rtnetlink: virtual Ethernet pairs, their addresses, their state.
//!
//! One request, one answer; no other program is called.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ovs_netlink::route::{self, LinkChange, LinkKind, NewLink, Route};
use ovs_netlink::{Linux, SocketError};
use ovs_packet::EthAddr;

use super::netns::{Namespace, NamespaceError};

/// Why a link cannot be made, found or changed. Displays as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is no link of this name in the namespace.
    #[error("there is no link {name}")]
    NotFound {
        /// The link.
        name: String,
    },
    /// There is a link, or an address of a link, like this already.
    #[error("{name}: {what}: it is there already")]
    Exists {
        /// The link.
        name: String,
        /// What was tried.
        what: &'static str,
    },
    /// The process may not change links.
    #[error("{name}: {what} needs root or the capability CAP_NET_ADMIN")]
    NotPermitted {
        /// The link.
        name: String,
        /// What was tried.
        what: &'static str,
    },
    /// The namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The system refused something else.
    #[error("{name}: {what}: {source}")]
    System {
        /// The link.
        name: String,
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// A link, as it was when the kernel was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Link {
    /// The kernel's number for it, in its namespace.
    pub index: u32,
    /// Whether it was brought up.
    pub up: bool,
    /// Whether it has a carrier: it is up and, of a pair, so is the other end.
    pub carrier: bool,
    /// The largest payload of a frame, in bytes.
    pub mtu: usize,
    /// Its Ethernet address.
    pub address: Option<EthAddr>,
}

/// The links of one namespace.
///
/// ```
/// use ovs_switch::demo::links::Links;
/// use ovs_switch::demo::netns::{Namespace, NamespaceError};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (host, switch) = match (Namespace::new(), Namespace::new()) {
///     (Ok(host), Ok(switch)) => (host, switch),
///     (Err(NamespaceError::NotPermitted), _) => return Ok(()), // not root
///     (host, switch) => (host?, switch?),
/// };
/// let (of_host, of_switch) = (Links::open(&host)?, Links::open(&switch)?);
/// of_host.add_veth("eth0", &switch, "p1")?;
/// of_host.add_ip("eth0", "10.0.0.1".parse()?, 24)?;
/// of_host.set_up("eth0")?;
/// of_switch.set_up("p1")?;
/// assert!(of_host.get("eth0")?.carrier);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Links {
    route: Mutex<Route>,
}

impl Links {
    /// The links of `namespace`. They stay those, whichever thread uses the value.
    ///
    /// # Errors
    /// If the namespace cannot be entered, or there is no rtnetlink socket to be had.
    pub fn open(namespace: &Namespace) -> Result<Links, LinkError> {
        match namespace.run(|| Route::open(&Linux))? {
            Ok(route) => Ok(Links { route: Mutex::new(route) }),
            Err(e) => Err(error("rtnetlink", "opening a socket", e)),
        }
    }

    fn route(&self) -> MutexGuard<'_, Route> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, name: &str) -> Result<Link, LinkError> {
        self.route().link(name).map(|link| link_of(&link)).map_err(|e| error(name, "looking it up", e))
    }

    /// Makes a pair: `name` here, and its other end `peer_name` in `peer`. Both are down, with addresses that the
    /// kernel made up.
    ///
    /// # Errors
    /// If either name is taken or no name for a link (empty, over 15 bytes, with a slash or space).
    pub fn add_veth(&self, name: &str, peer: &Namespace, peer_name: &str) -> Result<(), LinkError> {
        self.add(name, LinkKind::Veth { peer: peer_name, namespace: Some(peer.as_fd()) })
    }

    /// Makes a bridge of the kernel's own, to compare with.
    ///
    /// # Errors
    /// If the name is taken, or the kernel has no bridges.
    pub fn add_bridge(&self, name: &str) -> Result<(), LinkError> {
        self.add(name, LinkKind::Bridge)
    }

    fn add(&self, name: &str, kind: LinkKind<'_>) -> Result<(), LinkError> {
        self.route().add_link(&NewLink::new(name, kind)).map_err(|e| error(name, "making it", e))
    }

    /// Makes a link a port of `bridge`, or of nothing.
    ///
    /// # Errors
    /// If there is no such link or bridge.
    pub fn set_bridge(&self, name: &str, bridge: Option<&str>) -> Result<(), LinkError> {
        let index = match bridge {
            Some(bridge) => self.get(bridge)?.index,
            None => 0,
        };
        self.change(name, "setting its bridge", LinkChange { master: Some(index), ..LinkChange::default() })
    }

    /// Gives a link another Ethernet address.
    ///
    /// # Errors
    /// If there is no such link, or it cannot have this address (multicast, zero).
    pub fn set_address(&self, name: &str, address: EthAddr) -> Result<(), LinkError> {
        self.change(name, "setting its address", LinkChange { address: Some(address.0), ..LinkChange::default() })
    }

    /// Gives a link another MTU.
    ///
    /// # Errors
    /// If there is no such link, or it cannot have this MTU.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), LinkError> {
        self.change(name, "setting its MTU", LinkChange { mtu: Some(mtu), ..LinkChange::default() })
    }

    /// Brings a link up.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn set_up(&self, name: &str) -> Result<(), LinkError> {
        self.change(name, "bringing it up", LinkChange { up: Some(true), ..LinkChange::default() })
    }

    /// Takes a link down.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn set_down(&self, name: &str) -> Result<(), LinkError> {
        self.change(name, "taking it down", LinkChange { up: Some(false), ..LinkChange::default() })
    }

    fn change(&self, name: &str, what: &'static str, change: LinkChange<'_>) -> Result<(), LinkError> {
        let index = self.get(name)?.index;
        self.route().change_link(index, change).map_err(|e| error(name, what, e))
    }

    /// Gives a link an IP address in a network of `prefix` bits. An IPv6 address is usable at once: nobody is asked
    /// whether it is a duplicate.
    ///
    /// # Errors
    /// If there is no such link, it has the address, or the prefix is longer than the address.
    pub fn add_ip(&self, name: &str, address: IpAddr, prefix: u8) -> Result<(), LinkError> {
        let index = self.get(name)?.index;
        let address = route::Address { index, ip: address, prefix };
        self.route().add_address(address).map_err(|e| error(name, "adding an address", e))
    }

    /// Removes a link; of a pair, both ends.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn delete(&self, name: &str) -> Result<(), LinkError> {
        let index = self.get(name)?.index;
        self.route().delete_link(index).map_err(|e| error(name, "removing it", e))
    }
}

fn link_of(link: &route::Link) -> Link {
    Link {
        index: link.index,
        up: link.up,
        carrier: link.carrier,
        mtu: link.mtu as usize,
        address: link.address.map(EthAddr),
    }
}

fn error(name: &str, what: &'static str, source: SocketError) -> LinkError {
    let (name, source) = (name.to_owned(), io::Error::from(source));
    // ENODEV has no kind of its own.
    const ENODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();
    match source.kind() {
        _ if source.raw_os_error() == Some(ENODEV) => LinkError::NotFound { name },
        io::ErrorKind::AlreadyExists => LinkError::Exists { name, what },
        io::ErrorKind::PermissionDenied => LinkError::NotPermitted { name, what },
        _ => LinkError::System { name, what, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_between_two_namespaces() {
        let (a, b) = match (Namespace::new(), Namespace::new()) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(e), _) | (_, Err(e)) => return eprintln!("skipped: {e}"),
        };
        let (la, lb) = (Links::open(&a).unwrap(), Links::open(&b).unwrap());
        la.add_veth("eth0", &b, "p1").unwrap();
        assert!(matches!(la.add_veth("eth0", &b, "p2"), Err(LinkError::Exists { .. })));
        assert!(matches!(lb.get("p2"), Err(LinkError::NotFound { .. })));
        let mac = EthAddr([2, 0, 0, 0, 0, 7]);
        la.set_address("eth0", mac).unwrap();
        la.set_mtu("eth0", 1400).unwrap();
        la.add_ip("eth0", "10.1.0.1".parse().unwrap(), 24).unwrap();
        la.add_ip("eth0", "fd00::1".parse().unwrap(), 64).unwrap();
        assert_eq!(
            la.add_ip("eth0", "10.1.0.1".parse().unwrap(), 24).unwrap_err().to_string(),
            "eth0: adding an address: it is there already"
        );
        la.set_up("eth0").unwrap();
        let link = la.get("eth0").unwrap();
        assert_eq!((link.up, link.carrier, link.mtu, link.address), (true, false, 1400, Some(mac)));
        lb.set_up("p1").unwrap();
        assert!(la.get("eth0").unwrap().carrier);
        a.run(|| std::net::UdpSocket::bind("[fd00::1]:9")).unwrap().unwrap();
        lb.set_down("p1").unwrap();
        assert!(!lb.get("p1").unwrap().up);
        la.delete("eth0").unwrap();
        assert_eq!(lb.get("p1").unwrap_err().to_string(), "there is no link p1");
    }

    #[test]
    fn a_bad_name_is_refused() {
        let Ok(a) = Namespace::new().inspect_err(|e| eprintln!("skipped: {e}")) else { return };
        let links = Links::open(&a).unwrap();
        for name in ["", "a/b", "sixteen-bytes-ab"] {
            assert!(links.add_veth(name, &a, "p1").is_err(), "{name:?}");
        }
    }
}
