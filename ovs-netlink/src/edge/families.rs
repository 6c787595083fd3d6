//! The families of the openvswitch module, and whether they are there.

use super::socket::{Connect, Linux, Protocol, Socket, SocketError};
use crate::generic::Family;
use crate::message::Flags;
use crate::ovs::{Command, CtLimits, Datapath, Flow, Meter, Packet, Vport};

/// Why the kernel datapath is not available.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The machine has no generic netlink, or does not let this program use it.
    #[error("no generic netlink here: {0}")]
    NoNetlink(#[source] SocketError),
    /// The family is not registered: the kernel has no openvswitch module, or it is not loaded.
    #[error("no generic netlink family {0:?}: the kernel module openvswitch is not loaded")]
    NoFamily(&'static str),
    /// The program may not ask.
    #[error("not permitted: {0}")]
    NotPermitted(#[source] SocketError),
    /// Something else went wrong.
    #[error("{0}")]
    Failed(#[source] SocketError),
}

impl Unavailable {
    fn of(error: SocketError) -> Unavailable {
        match error.errno() {
            Some(libc::EPERM | libc::EACCES) => Unavailable::NotPermitted(error),
            _ => Unavailable::Failed(error),
        }
    }
}

/// The families of the openvswitch module: their numbers hold until the module is loaded anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Families {
    /// Datapaths.
    pub datapath: Family,
    /// Ports.
    pub vport: Family,
    /// Flows.
    pub flow: Family,
    /// Packets.
    pub packet: Family,
    /// Meters: since Linux 4.15.
    pub meter: Option<Family>,
    /// Limits of connections: since Linux 4.18, where the kernel tracks connections.
    pub ct_limit: Option<Family>,
}

impl Families {
    /// Asks the controller for all of them.
    ///
    /// # Errors
    /// [`Unavailable::NoFamily`] names the first one that is not there and must be.
    pub fn resolve(socket: &mut Socket) -> Result<Families, Unavailable> {
        let mut maybe = |name: &'static str| match socket.resolve_family(name) {
            Ok(family) => Ok(Some(family)),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(Unavailable::of(error)),
        };
        let mut must = |name| maybe(name)?.ok_or(Unavailable::NoFamily(name));
        Ok(Families {
            datapath: must(Datapath::FAMILY)?,
            vport: must(Vport::FAMILY)?,
            flow: must(Flow::FAMILY)?,
            packet: must(Packet::FAMILY)?,
            meter: maybe(Meter::FAMILY)?,
            ct_limit: maybe(CtLimits::FAMILY)?,
        })
    }
}

/// The datapaths of the kernel in this network namespace, or why there is no kernel datapath at all.
///
/// No datapath is not an error: the result is then empty.
///
/// ```
/// use ovs_netlink::{Unavailable, probe_datapath};
///
/// match probe_datapath() {
///     Ok(datapaths) => println!("the kernel has {} datapaths", datapaths.len()),
///     Err(Unavailable::NoFamily(_)) => println!("modprobe openvswitch"),
///     Err(other) => println!("{other}"),
/// }
/// ```
///
/// # Errors
/// [`Unavailable`] with the reason.
pub fn probe_datapath() -> Result<Vec<Datapath>, Unavailable> {
    /// Far more datapaths than a machine has.
    const MAX: usize = 1 << 16;
    let mut socket = Linux.connect(Protocol::Generic).map_err(|error| match error.errno() {
        Some(libc::EPERM | libc::EACCES) => Unavailable::NotPermitted(error),
        _ => Unavailable::NoNetlink(error),
    })?;
    let family = socket.resolve_family(Datapath::FAMILY).map_err(|error| match error.errno() {
        Some(libc::ENOENT) => Unavailable::NoFamily(Datapath::FAMILY),
        _ => Unavailable::of(error),
    })?;
    let mut request = Vec::new();
    let encoded = Datapath::default().encode(&mut request, family.id, Command::Get, Flags::REQUEST);
    encoded.map_err(|error| Unavailable::Failed(error.into()))?;
    socket.dump(&mut request, MAX, Datapath::decode).map_err(Unavailable::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_true_one() {
        let registered = Socket::open(Protocol::Generic).and_then(|mut socket| socket.resolve_family(Datapath::FAMILY));
        match (registered, probe_datapath()) {
            (Ok(_), Ok(_)) => {}
            (Err(error), Err(Unavailable::NoFamily(name))) => {
                assert_eq!((error.errno(), name), (Some(libc::ENOENT), "ovs_datapath"));
            }
            (Err(_), Err(Unavailable::NoNetlink(_) | Unavailable::NotPermitted(_))) => {}
            (registered, probed) => panic!("{registered:?}, but {probed:?}"),
        }
    }
}
