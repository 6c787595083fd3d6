//! Whether the kernel datapath is available.

use super::socket::{GenericSocket, SocketError};
use crate::message::Flags;
use crate::ovs::{Command, Datapath};

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
    let mut socket = GenericSocket::open().map_err(|error| match error.errno() {
        Some(libc::EPERM | libc::EACCES) => Unavailable::NotPermitted(error),
        _ => Unavailable::NoNetlink(error),
    })?;
    let refused = |error: SocketError| match error.errno() {
        Some(libc::EPERM | libc::EACCES) => Unavailable::NotPermitted(error),
        _ => Unavailable::Failed(error),
    };
    let family = socket.resolve_family(Datapath::FAMILY).map_err(|error| match error.errno() {
        Some(libc::ENOENT) => Unavailable::NoFamily(Datapath::FAMILY),
        _ => refused(error),
    })?;
    let request = Datapath::default().encode(family.id, Command::Get, Flags::REQUEST);
    let request = request.map_err(|error| Unavailable::Failed(error.into()))?;
    socket.dump(request, MAX, Datapath::decode).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_true_one() {
        let registered = GenericSocket::open().and_then(|mut socket| socket.resolve_family(Datapath::FAMILY));
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
