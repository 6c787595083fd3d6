//! Sockets that do not block: the edge of the protocols of this crate (feature `net`); those of [`ovs_stream`].

pub use ovs_stream::net::{Interest, Listener, Ready, Stream, StreamOptions, reason, wait, wait_for};
#[cfg(feature = "tls")]
pub use ovs_stream::net::{TlsConfig, TlsError, TlsOptions};

/// Connections to databases ask for no treatment by the network, as upstream's do.
pub(crate) fn plain() -> StreamOptions {
    StreamOptions::default().with_dscp(0)
}
