//! Interfaces of the Linux kernel: which ones a port can be made of, and what errors about them mean.

use std::io;
#[cfg(any(feature = "packet-socket", feature = "af-xdp"))]
use std::os::fd::BorrowedFd;

#[cfg(any(feature = "packet-socket", feature = "af-xdp"))]
use ovs_netlink::route::{Link, Route};
#[cfg(any(feature = "packet-socket", feature = "af-xdp"))]
use rustix::net::netdevice;

#[cfg(any(feature = "packet-socket", feature = "tap"))]
use ovs_packet::PacketBatch;

use super::NetdevError;
#[cfg(any(feature = "packet-socket", feature = "tap"))]
use super::NetdevStats;

/// `ARPHRD_ETHER`.
#[cfg(any(feature = "packet-socket", feature = "af-xdp"))]
const ETHERNET: u16 = 1;

/// Whether an interface can have this name: the kernel would cut it, or take a number for `%d`.
#[cfg(feature = "tap")]
pub(super) fn is_name(name: &str) -> bool {
    let fits = !name.is_empty() && name.len() < libc::IFNAMSIZ && name != "." && name != "..";
    fits && !name.contains(|c: char| matches!(c, '/' | ':' | '%' | '\0') || c.is_whitespace())
}

/// The interface of this name, if a port can be made of it.
#[cfg(any(feature = "packet-socket", feature = "af-xdp"))]
pub(super) fn usable(links: &mut Route, name: &str) -> Result<Link, NetdevError> {
    let no_such_interface = || NetdevError::NoSuchInterface { name: name.to_owned() };
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(no_such_interface());
    }
    let link = links.link(name).map_err(|e| match e.errno() {
        Some(libc::ENODEV) => no_such_interface(),
        _ => system(name, "looking it up", e.into()),
    })?;
    if link.hardware != ETHERNET {
        return Err(NetdevError::NotEthernet { name: name.to_owned(), hardware: link.hardware });
    }
    let Some(master) = link.master else { return Ok(link) };
    let by = match links.link_by_index(master) {
        Ok(m) if m.kind == "openvswitch" => {
            format!("it is a port of the kernel's datapath {}; to release it: ovs-vsctl del-port {name}", m.name)
        }
        Ok(m) => format!("it is a port of {} {}; to release it: ip link set {name} nomaster", m.kind, m.name),
        Err(_) => format!("it is a port of interface {master}; to release it: ip link set {name} nomaster"),
    };
    Err(NetdevError::Busy { name: name.to_owned(), by })
}

/// Says what an error of a socket on an interface means: one that is down may come up again, one that is gone may not.
#[cfg(any(feature = "packet-socket", feature = "af-xdp"))]
pub(super) fn broken(
    name: &str,
    index: u32,
    socket: BorrowedFd<'_>,
    what: &'static str,
    error: io::Error,
) -> NetdevError {
    let lost = matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV));
    if lost && netdevice::index_to_name(socket, index).is_err() {
        return NetdevError::NoSuchInterface { name: name.to_owned() };
    }
    system(name, what, error)
}

/// Takes the packets that were sent or refused, so many from the front, out of a batch. Those that are left were not taken,
/// unless the device failed.
#[cfg(any(feature = "packet-socket", feature = "tap"))]
pub(super) fn settle<E>(
    stats: &mut NetdevStats,
    batch: &mut PacketBatch,
    done: usize,
    outcome: Result<(), E>,
) -> Result<(), E> {
    batch.drain(..done);
    if outcome.is_ok() {
        stats.tx_dropped += batch.len() as u64;
    }
    outcome
}

/// What the system refused.
pub(super) fn system(name: &str, what: &'static str, source: io::Error) -> NetdevError {
    NetdevError::System { name: name.to_owned(), what, source }
}
