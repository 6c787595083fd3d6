//! Helpers: protocols that announce connections of their own.
//!
//! A control connection is committed with a helper; the helper reads its payload for announcements. For each it has
//! the tracker *expect* a connection ([`Expectation`]), which is then `+rel`, and has the mark and label of the control
//! connection. If that is translated, so is the announcement, and the expected connection in its turn.
//!
//! - [`ftp`] reads PORT, EPRT, 227 and 229, and writes them anew where addresses are translated. The text grows or
//!   shrinks by that; [`adjust`] shifts the sequence numbers of all that comes behind.
//! - TFTP announces by its first packet: whoever answers does so from another port.

pub(crate) mod adjust;
pub(crate) mod ftp;

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use ovs_packet::Instant;
use ovs_packet::extract::{IP_PROTO_TCP, IP_PROTO_UDP};

use crate::key::Key;
use crate::tuple::{Transport, Tuple};
use adjust::Adjust;

/// Who reads a connection's payload for announcements of others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Helper {
    /// FTP (RFC 959, RFC 2428), active, passive and extended.
    Ftp,
    /// TFTP (RFC 1350).
    Tftp,
}

impl Helper {
    /// The helper with this name.
    ///
    /// ```
    /// use ovs_conntrack::Helper;
    ///
    /// assert_eq!(Helper::from_name("ftp"), Some(Helper::Ftp));
    /// assert_eq!(Helper::from_name("sip"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Helper> {
        [Helper::Ftp, Helper::Tftp].into_iter().find(|helper| helper.name() == name)
    }

    /// The name in text.
    pub const fn name(self) -> &'static str {
        match self {
            Helper::Ftp => "ftp",
            Helper::Tftp => "tftp",
        }
    }

    /// The IP protocol of control connections. Committed with another's packet, a helper does nothing.
    pub const fn proto(self) -> u8 {
        match self {
            Helper::Ftp => IP_PROTO_TCP,
            Helper::Tftp => IP_PROTO_UDP,
        }
    }
}

impl fmt::Display for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a control connection has beside its tracking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Helped {
    pub(crate) helper: Helper,
    /// Shifts of the numbers of the original direction, and of the reply direction.
    pub(crate) adjust: [Adjust; 2],
}

/// How long an announced connection is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Where an expected connection comes from and goes to, its source port open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Expected {
    pub(crate) zone: u16,
    pub(crate) proto: u8,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) port: u16,
}

impl Expected {
    /// What a first packet with this tuple would have been expected as.
    pub(crate) fn of(zone: u16, tuple: &Tuple) -> Option<Expected> {
        match tuple.transport {
            Transport::Ports { dst, .. } if dst != 0 => {
                Some(Expected { zone, proto: tuple.proto, src: tuple.src, dst: tuple.dst, port: dst })
            }
            _ => None,
        }
    }

    /// The tuple that stands for it, with no source port.
    pub(crate) fn tuple(&self) -> Tuple {
        let transport = Transport::Ports { src: 0, dst: self.port };
        Tuple { src: self.src, dst: self.dst, proto: self.proto, transport }
    }
}

/// An announced connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expectation {
    pub(crate) expected: Expected,
    /// Where its packets go behind the translation: source and destination address, destination port.
    pub(crate) real: (IpAddr, IpAddr, u16),
    /// Of the control connection: its original tuple, where it is, its mark and label.
    pub(crate) parent: Tuple,
    pub(crate) parent_key: Key,
    pub(crate) mark: u32,
    pub(crate) label: u128,
    pub(crate) until: Instant,
}

impl Expectation {
    /// Whether packets of the expected connection are rewritten.
    pub(crate) fn translates(&self) -> bool {
        let Expected { src, dst, port, .. } = self.expected;
        self.real != (src, dst, port)
    }

    /// The reply tuple of the connection that a packet with `original` opens.
    pub(crate) fn reply(&self, original: &Tuple) -> Tuple {
        let sport = match original.transport {
            Transport::Ports { src, .. } => src,
            Transport::Icmp { .. } => 0,
        };
        let (src, dst, port) = self.real;
        Tuple { src: dst, dst: src, proto: original.proto, transport: Transport::Ports { src: port, dst: sport } }
    }
}
