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
mod reconnect;
mod remote;
mod session;

pub use framer::{FrameError, FrameLimits, Framer};
pub use message::{Message, MessageError};
pub(crate) use outgoing::Outgoing;
pub use reconnect::{DisconnectReason, Reconnect, ReconnectAction, ReconnectOptions};
pub use remote::{DEFAULT_PORT, ListenOn, Remote, RemoteError};
pub use session::{SendError, Session, SessionAction, SessionOptions};
