//! Sockets for conversations (feature `session-edge`).
//!
//! Streams and listeners are those of [`ovs_stream`]; nothing of them blocks, except that a host name is looked up. A [`Driver`] runs a [`Session`](super::Session) over one, in a loop of the owner's: it
//! has a descriptor to wait for, with [`wait`] or mio's `SourceFd` or what else there is, and a time until which. A
//! [`Client`] is for tools that have nothing else to do than to wait.
//!
//! No thread is made, and no clock is read: the owner says what time it is. With feature `tls` streams are also made
//! over TLS, from the files that `TlsOptions` names; for certificates alone the clock of the system counts.
//!
//! A controller that prints the type of every message, on whatever `loop` stands for:
//!
//! ```no_run
//! use std::time::Duration;
//! use ovs_ofproto::session::edge::{Driver, Interest, Listener, StreamOptions, wait};
//! use ovs_ofproto::session::{ListenOn, SessionEvent, SessionOptions};
//! use ovs_packet::Instant;
//! use std::os::fd::AsFd;
//!
//! let epoch = std::time::Instant::now();
//! let clock = || Instant::ZERO + epoch.elapsed();
//! let listener = Listener::bind(&"ptcp:6653:127.0.0.1".parse::<ListenOn>()?, &StreamOptions::default())?;
//! let mut switches: Vec<Driver> = Vec::new();
//! loop {
//!     while let Some(stream) = listener.accept()? {
//!         switches.push(Driver::passive(stream, SessionOptions::default(), clock()));
//!     }
//!     for switch in &mut switches {
//!         switch.run(clock());
//!         while let Some(event) = switch.poll_event(clock()) {
//!             if let SessionEvent::Message(frame) = event {
//!                 println!("{frame:?}");
//!             }
//!         }
//!     }
//!     switches.retain(|switch| switch.session().is_alive());
//!     let now = clock();
//!     let until = switches.iter().filter_map(|switch| switch.timeout(now)).min();
//!     let accepting = (listener.as_fd(), Interest { read: true, write: false });
//!     wait(switches.iter().filter_map(Driver::interest).chain([accepting]), until)?;
//! }
//! # #[expect(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod driver;

pub use client::{Client, ClientError, ClientOptions};
pub use driver::Driver;
pub use ovs_stream::net::{DEFAULT_DSCP, Interest, Listener, Ready, Stream, StreamOptions, wait, wait_for};
#[cfg(feature = "tls")]
pub use ovs_stream::net::{TlsConfig, TlsError, TlsOptions};
