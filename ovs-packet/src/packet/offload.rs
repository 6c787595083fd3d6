//! What is still to be done to a packet: checksums, segmentation.
//!
//! A sender in the same machine leaves both to the card; a packet that goes to a card, or to another stack in the
//! machine, passes with its work undone, and [`segment::finish`](crate::segment::finish) does it in software for
//! every other way out.

/// State of the checksum of an IPv4 header: the one that the packet's network layer has, where it has one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum IpChecksum {
    /// Nobody looked.
    #[default]
    Unknown,
    /// Somebody checked it.
    Good,
    /// Somebody checked it, and it is wrong.
    Bad,
    /// It is not written yet; who sends the packet computes it.
    Partial {
        /// Byte offset in the packet's data where the header begins.
        start: u32,
    },
}

/// State of the transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum L4Checksum {
    /// Nobody looked.
    #[default]
    Unknown,
    /// Somebody checked it.
    Good,
    /// Somebody checked it, and it is wrong.
    Bad,
    /// The field holds the pseudo-header's sum; who sends the packet sums from `start` to the end and writes the
    /// complement at `start + offset`.
    Partial {
        /// Byte offset in the packet's data where the transport header begins.
        start: usize,
        /// Where in it the checksum stands.
        offset: usize,
    },
}

/// Which kind of segments a packet is to be cut into.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP over either, each segment a datagram of its own.
    Udp,
}

/// A packet that is larger than the wire allows, to be cut before it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Gso {
    /// How to cut it.
    pub kind: GsoKind,
    /// Bytes of payload in each segment but the last.
    pub size: u16,
    /// Whether CWR belongs on the first segment only (RFC 3168, section 6.1.2).
    pub ecn: bool,
}

/// The work that is left.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Offload {
    /// Checksum of the IPv4 header.
    pub ip: IpChecksum,
    /// Transport checksum.
    pub l4: L4Checksum,
    /// Segmentation.
    pub gso: Option<Gso>,
}

impl Offload {
    /// Nothing to do, as far as anybody knows.
    pub(super) const NONE: Offload = Offload { ip: IpChecksum::Unknown, l4: L4Checksum::Unknown, gso: None };

    pub(crate) fn shift(&mut self, by: impl Fn(usize) -> Option<usize>) {
        if let IpChecksum::Partial { start } = self.ip {
            let start = by(start as usize).and_then(|start| u32::try_from(start).ok());
            self.ip = start.map_or(IpChecksum::Unknown, |start| IpChecksum::Partial { start });
        }
        if let L4Checksum::Partial { start, offset } = self.l4 {
            self.l4 = match by(start) {
                Some(start) => L4Checksum::Partial { start, offset },
                None => L4Checksum::Unknown,
            };
        }
    }
}
