//! Conversations between switches and controllers (feature `session`), without a socket, a thread or a clock.
//!
//! # What is where
//!
//! - [`Session`]: one end of a conversation, made of [`Reconnect`] (when to connect, probe, give up, try again) and queues
//!   that are bounded by [`SessionLimits`]; messages go in and out as [`Frame`]s, of which it reads the header alone;
//! - [`Transactions`]: requests and what comes of them, with [`Xids`];
//! - [`Roles`] and [`AsyncConfig`]: what a switch holds of its controllers;
//! - [`Endpoint`], [`ListenOn`]: names of places such as `tcp:127.0.0.1:6653`; [`parse_versions`]: what `-O` takes;
//! - `edge` (feature `session-edge`): sockets that do not block, a driver for the owner's loop, and a client that
//!   blocks, for tools; with feature `tls` also over TLS.
//!
//! # Two ends
//!
//! A switch and a controller, with nothing between them but the copying of bytes:
//!
//! ```
//! use ovs_ofproto::codec::{Message, Version};
//! use ovs_ofproto::session::{Class, Frame, Progress, Session, SessionEvent, SessionOptions, Transactions};
//! use ovs_packet::Instant;
//!
//! let now = Instant::ZERO;
//! let only = SessionOptions { versions: [Version::V1_3].into_iter().collect(), ..SessionOptions::default() };
//! let (mut switch, mut controller) = (Session::active(only, now), Session::passive(SessionOptions::default(), now));
//! switch.poll_action(now); // Connect
//! switch.handle_connected(now);
//! controller.handle_connected(now);
//! let mut transactions = Transactions::default();
//! let mut dpid = None;
//! while dpid.is_none() {
//!     controller.handle_input(switch.transmit());
//!     switch.transmitted(now, switch.transmit().len());
//!     switch.handle_input(controller.transmit());
//!     controller.transmitted(now, controller.transmit().len());
//!     while let Some(event) = controller.poll_event(now) {
//!         match event {
//!             SessionEvent::Connected { version } => {
//!                 let request = Frame::new(Message::FeaturesRequest.encode(version, 0)?)?;
//!                 for frame in transactions.ask(vec![request], None).unwrap().1 {
//!                     controller.send(&frame, Class::Other)?;
//!                 }
//!             }
//!             SessionEvent::Message(frame) => match transactions.handle(frame) {
//!                 Progress::Reply { frame, .. } => dpid = frame.body().get(..8).map(<[u8]>::to_vec),
//!                 other => println!("{other:?}"),
//!             },
//!             SessionEvent::Closed(reason) => println!("{reason}"),
//!         }
//!     }
//!     while let Some(event) = switch.poll_event(now) {
//!         let SessionEvent::Message(request) = event else { continue };
//!         let reply = Message::FeaturesReply(Default::default()).encode(request.version(), request.xid())?;
//!         switch.send(&Frame::new(reply)?, Class::Reply)?;
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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

mod async_config;
mod conversation;
#[cfg(feature = "session-edge")]
pub mod edge;
mod event;
mod frame;
mod outgoing;
mod role;
mod transactions;
mod versions;
mod wire;

use ovs_packet::Instant;
pub use ovs_stream::{DisconnectReason, EndpointError, ReconnectAction, ReconnectOptions, ReconnectState};

pub use async_config::{AsyncConfig, AsyncKind};
pub use conversation::{Echoes, Session, SessionLimits, SessionOptions};
pub use event::{CloseReason, ProtocolError, SendError, SessionAction, SessionCounters, SessionEvent};
pub use frame::{Frame, NotAFrame};
pub use outgoing::{Amount, Class};
pub use role::{Role, RoleError, RoleReply, RoleRequest, Roles};
pub use transactions::{Progress, TransactionId, Transactions, Xids};
pub use versions::{UnknownVersion, parse_versions};
pub use wire::ErrorReply;

/// The TCP port that IANA assigned to OpenFlow.
pub const DEFAULT_PORT: u16 = 6653;

/// A place to connect to: `tcp:HOST[:PORT]`, `ssl:HOST[:PORT]`, `unix:FILE`.
pub type Endpoint = ovs_stream::Endpoint<DEFAULT_PORT>;

/// A place to listen on: `ptcp:[PORT][:ADDRESS]`, `pssl:[PORT][:ADDRESS]`, `punix:FILE`, `pfd:FD`.
pub type ListenOn = ovs_stream::ListenOn<DEFAULT_PORT>;

/// When a session connects, probes, gives up and tries again.
pub type Reconnect = ovs_stream::Reconnect<Instant>;
