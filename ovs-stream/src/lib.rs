//! Connections as Open vSwitch names and makes them, for OpenFlow, OVSDB and unixctl alike.
//!
//! # What
//!
//! - names: [`Endpoint`] (`tcp:`, `ssl:`, `unix:`) and [`ListenOn`] (`ptcp:`, `pssl:`, `punix:`, `pfd:`), each for the port
//!   that its protocol has when the name gives none;
//! - time: [`Reconnect`] says when to connect, to probe, to give up and to try again, without a socket and without a clock;
//! - sockets (feature `net`, on by default): [`net::Stream`] and [`net::Listener`], which do not block, and
//!   [`net::wait`] for programs without a loop of their own;
//! - TLS (feature `tls`): `net::TlsConfig`, the same streams and listeners with keys and certificates.
//!
//! What is said on a connection is not known here.
//!
//! # Example
//!
//! A client that is told when to do what; whatever `now` counts, it is the caller's clock:
//!
//! ```
//! use ovs_stream::{Endpoint, Reconnect, ReconnectAction, ReconnectOptions};
//! use std::time::Duration;
//!
//! // The port of this protocol is 6640.
//! let place: Endpoint<6640> = "tcp:[::1]".parse()?;
//! assert_eq!(place.to_string(), "tcp:[::1]:6640");
//!
//! let now = Duration::ZERO;
//! let mut reconnect = Reconnect::active(ReconnectOptions::default(), now);
//! assert_eq!(reconnect.poll(now), Some(ReconnectAction::Connect));
//! // net::Stream::connect(&place, &net::StreamOptions::default()) would begin it here; it was refused:
//! reconnect.closed(now);
//! assert_eq!(reconnect.deadline(), Some(Duration::from_secs(1)));
//! # Ok::<(), ovs_stream::EndpointError>(())
//! ```
//!
//! # What it does not do
//!
//! A host name is looked up by the system, which may block. There are no `fd:` endpoints and no datagrams.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod endpoint;
#[cfg(feature = "net")]
pub mod net;
mod reconnect;

pub use endpoint::{Endpoint, EndpointError, ListenOn};
pub use reconnect::{DisconnectReason, Reconnect, ReconnectAction, ReconnectOptions, ReconnectState, Time};
