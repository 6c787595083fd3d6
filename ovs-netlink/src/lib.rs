//! Netlink and generic netlink messages, and the families of the openvswitch kernel module.
//!
//! # What
//!
//! A program talks to the Linux kernel's datapath in netlink messages. This crate reads and writes them, and has a thin
//! socket to send them through:
//!
//! - [`Messages`], [`Message`]: datagrams into messages, bounds-checked; [`Exchange`] says what each means for a request;
//! - [`attr`]: attributes, read by [`Attributes`] and written by [`MessageBuilder`];
//! - [`Family`], [`GenericHeader`]: generic netlink and its controller;
//! - [`ovs`]: [`Datapath`](ovs::Datapath) and [`Vport`](ovs::Vport), values for the messages of the openvswitch module;
//! - the edge, with the feature `socket` (on by default): `GenericSocket` and `probe_datapath`.
//!
//! # Why this way
//!
//! The codec works on bytes alone and is tested without a kernel; the edge is small and is tested with one. Numbers are in
//! the byte order of the machine, as netlink has them, except where a name says `be`. The crate knows no flow key: what a
//! flow is belongs to those who translate between the kernel's form and their own.
//!
//! # Invariants
//!
//! - No input makes a decoder panic, loop or recurse without bound: attributes nest at most [`attr::MAX_NESTING`] deep,
//!   and a walk over `n` bytes has at most `n / 4` steps.
//! - Errors name the offset in the datagram.
//! - A [`MessageBuilder`] never writes a length that is not true: an attribute of more than 65,535 bytes is refused.
//! - For every value `v` of [`ovs`]: `decode(encode(v)) == v`.
//! - Unsafe code: one call of `setsockopt`, in the edge. The codec has none.
//!
//! # What it does not do
//!
//! Flows, packets, meters and connection limits (the families `ovs_flow`, `ovs_packet`, `ovs_meter`, `ovs_ct_limit`),
//! multicast groups, and every family but the generic one.
//!
//! # Example
//!
//! ```
//! use ovs_netlink::{Flags, Messages, ovs::{Command, Vport, VportType}};
//!
//! // A request to make a port; 31 is what the controller said is the number of the family.
//! let port = Vport { dp_ifindex: 7, name: Some("eth1".parse()?), ty: Some(VportType::NETDEV), ..Vport::default() };
//! let bytes = port.encode(31, Command::New, Flags::REQUEST | Flags::ACK)?.finish(1, 0)?;
//!
//! // What the kernel would read.
//! let message = Messages::new(&bytes).next().unwrap()?;
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
    probe_datapath,
};
pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use generic::{CONTROLLER, Family, GenericHeader, MulticastGroup};
pub use message::{Flags, Header, Message, Messages, kind};
pub use reply::{Ack, Exchange, ExtendedAck, ReplyError, Step};
