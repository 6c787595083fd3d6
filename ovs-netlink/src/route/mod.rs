//! The network that a datapath lives in, over rtnetlink: links, addresses, routes, rules, neighbours, queueing disciplines.
//!
//! - [`Route`]: a socket; its functions ask, and change.
//! - [`Link`], [`NewLink`], [`LinkKind`]: network devices, the tunnel devices of a datapath among them.
//! - [`Address`], [`RouteEntry`], [`Rule`], [`Neighbour`]: how packets find their way.
//! - [`Qdisc`]: what queues a device has.
//! - [`Event`], [`Groups`]: what changed.
//!
//! Names are those of the network namespace of the thread that opened the socket, whichever thread uses it. The library
//! that knows the messages stays inside: no public type names it.

mod event;
mod link;
mod network;
mod qdisc;

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;

pub use event::{Event, Groups};
pub use link::{Link, LinkChange, LinkKind, NewLink};
pub use network::{Address, Neighbour, RouteEntry, Rule};
pub use qdisc::Qdisc;

use crate::edge::{Connect, Protocol, Socket, SocketError};
use crate::message::{Flags, Message};

/// A connection to the kernel's network.
///
/// ```no_run
/// use ovs_netlink::{Linux, route::Route};
///
/// let mut route = Route::open(&Linux)?;
/// for link in route.links()? {
///     println!("{} {} {}", link.index, link.name, if link.up { "up" } else { "down" });
/// }
/// # Ok::<(), ovs_netlink::SocketError>(())
/// ```
#[derive(Debug)]
pub struct Route {
    socket: Socket,
}

impl Route {
    /// More objects than this are not listed at once: full tables of routes have about a million.
    const MAX: usize = 4 << 20;

    /// Opens a connection.
    ///
    /// # Errors
    /// [`SocketError::System`].
    pub fn open(kernel: &impl Connect) -> Result<Route, SocketError> {
        Ok(Route { socket: kernel.connect(Protocol::Route)? })
    }

    /// Sends a request that changes something.
    fn order(&mut self, message: RouteNetlinkMessage, flags: Flags) -> Result<(), SocketError> {
        let mut request = encode(message, flags);
        self.socket.transact(&mut request, |_| Ok(()))
    }

    /// Sends a request whose answer is one message.
    fn ask<T>(
        &mut self,
        message: RouteNetlinkMessage,
        read: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<T, SocketError> {
        let mut request = encode(message, Flags::empty());
        let (mut answer, mut count) = (None, 0_usize);
        self.socket.transact(&mut request, |message| {
            count = count.saturating_add(1);
            answer = Some(decode(message));
            Ok(())
        })?;
        match answer {
            Some(message) if count == 1 => read(message?).ok_or(SocketError::NotOneAnswer(0)),
            _ => Err(SocketError::NotOneAnswer(count)),
        }
    }

    /// Lists what `read` takes of the answers. A list that a change interrupted is begun anew.
    fn list<T>(
        &mut self,
        message: RouteNetlinkMessage,
        read: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, SocketError> {
        let mut request = encode(message, Flags::empty());
        let answers = self.socket.dump(&mut request, Route::MAX, |message| Ok(decode(message)))?;
        answers.into_iter().filter_map(|message| message.map(&read).transpose()).collect()
    }
}

/// The bytes of a request; the socket fills in the rest of the header.
fn encode(message: RouteNetlinkMessage, flags: Flags) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags.bits();
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}

fn decode(message: &Message<'_>) -> Result<RouteNetlinkMessage, SocketError> {
    let mut header = NetlinkHeader::default();
    header.message_type = message.header.kind;
    header.length = message.header.length;
    RouteNetlinkMessage::deserialize(&header, message.payload())
        .map_err(|error| SocketError::Unreadable(error.to_string()))
}
