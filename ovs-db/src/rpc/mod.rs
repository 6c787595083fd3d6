//! JSON-RPC 1.0 as OVSDB uses it (RFC 7047 section 4).
//!
//! - [`Message`]: requests, notifications, responses and errors, from and to JSON.
//! - [`Framer`]: a stream of bytes into JSON values, of bounded size and depth.
//! - [`Remote`], [`ListenOn`]: names of places such as `tcp:127.0.0.1:6640`.
//! - [`Reconnect`]: when to connect, probe, give up and try again.
//! - [`Session`]: a conversation that outlives its connections, made of these; no socket, no clock.
//!
//! ```
//! use ovs_db::rpc::{FrameLimits, Framer, Message};
//!
//! let mut framer = Framer::new(FrameLimits::default());
//! let mut bytes: &[u8] = br#"{"method":"echo","params":[],"id":1}{"method":"#;
//! let message = framer.next(&mut bytes)?.unwrap();
//! let Message::Request { method, params, id } = Message::from_json(message)? else { unreachable!() };
//! assert_eq!(method, "echo");
//! let reply = Message::Response { result: ovs_db::json::Json::Array(params), id };
//! assert_eq!(reply.encode(), br#"{"error":null,"id":1,"result":[]}"#);
//! assert!(framer.next(&mut bytes)?.is_none()); // the second message is not complete
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod framer;
mod message;
mod outgoing;
mod session;

use std::time::Duration;

pub use ovs_stream::{DisconnectReason, EndpointError as RemoteError, ReconnectAction, ReconnectOptions};

pub use framer::{FrameError, FrameLimits, Framer};
pub use message::{Message, MessageError};
pub(crate) use outgoing::Outgoing;
pub use session::{SendError, Session, SessionAction, SessionOptions};

/// The TCP port that IANA assigned to OVSDB (RFC 7047 section 6).
pub const DEFAULT_PORT: u16 = 6640;

/// A place to connect to: `tcp:HOST[:PORT]`, `ssl:HOST[:PORT]`, `unix:FILE`.
pub type Remote = ovs_stream::Endpoint<DEFAULT_PORT>;

/// A place to listen on: `ptcp:[PORT][:ADDRESS]`, `punix:FILE`.
pub type ListenOn = ovs_stream::ListenOn<DEFAULT_PORT>;

/// When a session connects, probes, gives up and tries again: its time is what passed since an epoch of the caller's choice.
pub type Reconnect = ovs_stream::Reconnect<Duration>;
