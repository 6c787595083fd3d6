//! Sockets that do not block (feature `net`).
//!
//! A [`Stream`] is a connection to an [`Endpoint`](crate::Endpoint) or from a [`Listener`]. Both say
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock) where there is nothing to do, and have a file descriptor to wait for with
//! whatever loop the program has; [`wait`] is for programs that have none. No thread is made.
//!
//! A Unix domain socket may have a longer name than the 107 bytes that the system takes: it is then reached through its
//! folder. With feature `tls` streams are also made over TLS, from the files that `TlsOptions` names; for certificates alone
//! the clock of the system counts.

mod listener;
mod stream;
#[cfg(feature = "tls")]
mod tls;

pub use listener::Listener;
pub use stream::{DEFAULT_DSCP, Interest, Ready, Stream, StreamOptions, reason, wait, wait_for};
#[cfg(feature = "tls")]
pub use tls::{TlsConfig, TlsError, TlsOptions};
