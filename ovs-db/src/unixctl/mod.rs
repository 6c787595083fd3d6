//! unixctl: commands to a running daemon, over a Unix domain socket (ovs-appctl(8)).
//!
//! A command is a JSON-RPC request: its name is the method, its arguments are strings, and its answer is a string to
//! print, or with [`Format::Json`] any JSON value.
//!
//! - [`Server`] is the daemon's side, without sockets: it knows which commands there are, checks their arguments, answers
//!   `list-commands`, `help`, `version` and `set-options` itself, and hands out the others as [`Invocation`]s, to be
//!   answered at once or later.
//! - [`Client`] is the other side: one command after the other, with a deadline (feature `net`).
//! - [`ControlSocket`] is the edge of a server: the socket and its connections (feature `net`).
//! - [`Target`] finds a daemon's socket as `ovs-appctl -t` does.
//!
//! ```
//! use ovs_db::unixctl::{Reply, Server};
//!
//! let mut server = Server::new("zood 1.0");
//! server.register("zoo/feed", "ANIMAL [FOOD]", 1, 2);
//! let connection = server.open();
//! server.handle_input(connection, br#"{"method":"zoo/feed","params":["emu"],"id":0}"#);
//! let feed = server.poll().unwrap();
//! assert_eq!((feed.command.as_str(), feed.arguments.as_slice()), ("zoo/feed", &["emu".to_string()][..]));
//! server.reply(feed.key, Reply::Text("fed emu\n".into()));
//! assert_eq!(server.transmit(connection), br#"{"error":null,"id":0,"result":"fed emu\n"}"#);
//! ```

#[cfg(feature = "net")]
mod client;
mod server;
#[cfg(feature = "net")]
mod socket;
mod target;

#[cfg(feature = "net")]
pub use client::{Client, ClientError};
pub use server::{ConnectionId, Format, Invocation, InvocationKey, Reply, Server, ServerLimits};
#[cfg(feature = "net")]
pub use socket::ControlSocket;
pub use target::{Target, TargetError, control_path, run_directory};
