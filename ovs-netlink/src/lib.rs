//! Netlink and generic netlink messages, and the families of the openvswitch kernel module.
//!
//! # What
//!
//! A program talks to the Linux kernel's datapath in netlink messages. This crate reads and writes them, and has sockets
//! to send them through:
//!
//! - [`Messages`], [`Message`]: datagrams into messages, bounds-checked; [`Exchange`] says what each means for a request;
//! - [`attr`]: attributes, read by [`Attributes`] and written by [`Writer`] into a buffer of the caller's; sets of
//!   attributes whose types are known, and what they are made of, as data;
//! - [`Family`], [`GenericHeader`]: generic netlink and its controller;
//! - [`ovs`]: all families of the openvswitch module: datapaths, ports, flows with their keys and actions, packets, meters,
//!   limits of connections; [`psample`]: packets that an action sampled;
//! - [`nf`]: connections, expectations and timeout policies of netfilter;
//! - the edge, with the feature `socket` (on by default): `Socket` with requests, dumps, batches and notifications,
//!   `UpcallSocket`, `Conntrack`, `Families`, `probe_datapath`;
//! - `route`, with the feature of that name (on by default): links, addresses, routes, rules, neighbours, queues;
//! - `fake`, with the feature `fake-kernel`: a kernel in this process, for tests, which fails when told to.
//!
//! # Why this way
//!
//! The codec works on bytes alone and is tested without a kernel; the edge is small and is tested with one. Numbers are in
//! the byte order of the machine, as netlink has them; where they are in network byte order on the wire, the value has
//! them in the machine's all the same, and its type on the wire is in the set's [`Policy`](attr::Policy). The crate knows
//! no flow key: what a flow is belongs to those who translate between the kernel's form and their own.
//!
//! Each set of attributes is declared once; the values, their numbers, reading, writing and the policy come from that, and a
//! test holds the policy against the kernel's headers and specifications.
//!
//! # Invariants
//!
//! - No input makes a decoder panic, loop or recurse without bound: attributes nest at most [`attr::MAX_NESTING`] deep,
//!   and a walk over `n` bytes has at most `n / 4` steps.
//! - Errors name the offset in the datagram.
//! - A [`Writer`] never writes a length that is not true: an attribute of more than 65,535 bytes is refused, and the buffer
//!   is then as it was before it.
//! - Writing into a buffer with room, and reading what borrows ([`ovs::Flow`], [`ovs::Packet`], keys, actions), allocates
//!   nothing.
//! - For every value `v` of [`ovs`]: `decode(encode(v)) == v`.
//! - What the kernel could not deliver is never taken for an answer: see `edge/exchange.rs`.
//! - Unsafe code: one call of `setsockopt`, in the edge. The codec has none.
//!
//! # Threads
//!
//! Values are plain data. A socket belongs to one thread at a time; several sockets work side by side.
//!
//! # What it does not do
//!
//! Options of queueing disciplines, classes and filters of `tc`; events of other network namespaces
//! (`NETLINK_LISTEN_ALL_NSID`); other families of netfilter. The kernel in this process changes no packets and knows
//! neither netfilter nor links.
//!
//! # Example
//!
//! ```
//! use ovs_netlink::{Flags, Messages, ovs::{Command, Vport, VportType}};
//!
//! // A request to make a port; 31 is what the controller said is the number of the family.
//! let port = Vport { dp_ifindex: 7, name: Some("eth1".parse()?), ty: Some(VportType::NETDEV), ..Vport::default() };
//! let mut buffer = Vec::new();
//! port.encode(&mut buffer, 31, Command::New, Flags::REQUEST | Flags::ACK)?;
//!
//! // What the kernel would read.
//! let message = Messages::new(&buffer).next().unwrap()?;
//! assert_eq!(message.header.kind, 31);
//! assert_eq!(Vport::decode(&message)?, port);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(feature = "socket"), forbid(unsafe_code))]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

#[forbid(unsafe_code)]
pub mod attr;
#[cfg(all(feature = "socket", target_os = "linux"))]
mod edge;
#[forbid(unsafe_code)]
mod error;
#[cfg(all(feature = "fake-kernel", target_os = "linux"))]
#[forbid(unsafe_code)]
pub mod fake;
#[forbid(unsafe_code)]
mod generic;
#[forbid(unsafe_code)]
mod message;
#[forbid(unsafe_code)]
pub mod nf;
#[forbid(unsafe_code)]
pub mod ovs;
#[forbid(unsafe_code)]
pub mod psample;
#[forbid(unsafe_code)]
mod reply;
#[cfg(all(feature = "route", target_os = "linux"))]
#[forbid(unsafe_code)]
pub mod route;

pub use attr::{Attribute, Attributes, Writer};
#[cfg(all(feature = "socket", target_os = "linux"))]
pub use edge::{
    Connect, Conntrack, Drained, Families, Linux, Protocol, Socket, SocketError, Unavailable, Upcall, UpcallSocket,
    monotonic, probe_datapath,
};
pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use generic::{CONTROLLER, Family, GenericHeader, MulticastGroup};
pub use message::{Flags, Header, Message, Messages, kind};
pub use reply::{Ack, Exchange, ExtendedAck, ReplyError, Step};
