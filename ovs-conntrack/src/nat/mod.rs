//! Address translation: what is asked, which address and port are chosen, how packets are rewritten.
//!
//! A translation is decided once, when a connection is committed, by finding a *reply tuple* for it: that of the
//! answers to the translated packets. All packets are rewritten from the two tuples. One of the original direction
//! becomes the reply tuple reversed, one of the reply direction the original tuple reversed. So source and destination,
//! addresses and ports, are one mechanism, and nothing is chosen twice.
//!
//! Beside the kernel's (`ovs-dpif/tests/kernel_conntrack.rs`): it marks also an end that it left as it is; it drops what
//! finds no port, and redirects; its ports are also identifiers of pings; mirrored tuples may both be stored.
//!
//! - [`choose`] goes through candidates for the reply tuple.
//! - [`rewrite`] changes packets, and the packets inside ICMP errors.

pub(crate) mod choose;
pub(crate) mod rewrite;

use core::fmt;
use core::net::IpAddr;

/// Translation that a [`CtRequest`](crate::CtRequest) asks for.
///
/// Its text is the argument of a `ct` action in datapath syntax:
///
/// ```
/// use ovs_conntrack::{Nat, NatRange};
///
/// let nat = Nat::Source(NatRange::addresses([10, 0, 0, 1], [10, 0, 0, 9]).with_ports(1024, 2047).persistent());
/// assert_eq!(nat.to_string(), "nat(src=10.0.0.1-10.0.0.9:1024-2047,persistent)");
/// assert_eq!(Nat::Existing.to_string(), "nat");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Nat {
    /// Packets of connections that are translated are rewritten; a new connection is not translated.
    Existing,
    /// Likewise, and a new connection that is committed has its source translated.
    Source(NatRange),
    /// Likewise, its destination.
    Destination(NatRange),
}

impl Nat {
    /// What a new connection is translated to, if to anything.
    pub const fn range(&self) -> Option<&NatRange> {
        match self {
            Nat::Existing => None,
            Nat::Source(range) | Nat::Destination(range) => Some(range),
        }
    }
}

/// Addresses and ports that a translation may choose from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub struct NatRange {
    /// First and last address, of one family. `None`, or the unspecified address alone: the packet's own is kept, and
    /// its port is changed only if another translated connection has it.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// First and last port. `None`: the packet's own is kept if it is free; otherwise another of its class (below 512,
    /// below 1024, or above) is taken.
    pub ports: Option<(u16, u16)>,
    /// Whether the first port that is tried is drawn at random, not by a hash of the connection's tuple.
    pub random: bool,
    /// Whether the text asks for what is the rule: the first port by a hash.
    pub hash: bool,
    /// Whether all connections of a client get one address, whoever they are to.
    pub persistent: bool,
}

impl NatRange {
    /// The packet's own address.
    pub fn own() -> Self {
        NatRange::default()
    }

    /// One address.
    pub fn address(address: impl Into<IpAddr>) -> Self {
        let address = address.into();
        NatRange { addresses: Some((address, address)), ..NatRange::default() }
    }

    /// The addresses from `first` to `last`.
    pub fn addresses(first: impl Into<IpAddr>, last: impl Into<IpAddr>) -> Self {
        NatRange { addresses: Some((first.into(), last.into())), ..NatRange::default() }
    }

    /// This, with the ports from `first` to `last`.
    #[must_use]
    pub fn with_ports(self, first: u16, last: u16) -> Self {
        NatRange { ports: Some((first, last)), ..self }
    }

    /// This, beginning at a random port.
    #[must_use]
    pub fn random(self) -> Self {
        NatRange { random: true, ..self }
    }

    /// This, with one address for each client.
    #[must_use]
    pub fn persistent(self) -> Self {
        NatRange { persistent: true, ..self }
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, range) = match self {
            Nat::Existing => return f.write_str("nat"),
            Nat::Source(range) => ("src", range),
            Nat::Destination(range) => ("dst", range),
        };
        write!(f, "nat({kind}")?;
        if let Some((first, last)) = range.addresses {
            // Colons before a port could be the address's own.
            match first {
                IpAddr::V6(v6) if range.ports.is_some() => write!(f, "=[{v6}]")?,
                _ => write!(f, "={first}")?,
            }
            match last {
                _ if first == last => {}
                IpAddr::V6(v6) if range.ports.is_some() => write!(f, "-[{v6}]")?,
                _ => write!(f, "-{last}")?,
            }
        }
        if let Some((first, last)) = range.ports {
            let sign = if range.addresses.is_some() { "" } else { "=" };
            write!(f, "{sign}:{first}")?;
            if last != first {
                write!(f, "-{last}")?;
            }
        }
        for (word, set) in [("persistent", range.persistent), ("hash", range.hash), ("random", range.random)] {
            if set {
                write!(f, ",{word}")?;
            }
        }
        f.write_str(")")
    }
}
