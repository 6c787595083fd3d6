//! What is still to be done to a packet: checksums, segmentation.
//!
//! A sender in the same machine leaves both to the card; a packet that goes to a card, or to another stack in the
//! machine, passes with its work undone, and [`segment::finish`](crate::segment::finish) does it in software for
//! every other way out.

use core::num::NonZeroU32;

/// State of the checksum of an IPv4 header: the one that the packet's network layer has, where it has one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum IpChecksum {
    /// Nobody looked.
    #[default]
    Unknown,
    /// Somebody checked it.
    Good,
    /// A device says that it is right, and nobody else looked: once the header changes, who sends the packet computes it
    /// anew.
    Trusted,
    /// Somebody checked it, and it is wrong.
    Bad,
    /// It is not written yet, whatever stands there; who sends the packet computes it.
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
    /// A device says that it is right, and nobody else looked: once what it covers changes, it is [`Stale`](Self::Stale).
    Trusted,
    /// Somebody checked it, and it is wrong.
    Bad,
    /// Of TCP or UDP, and not written yet, whatever stands there; who sends the packet computes it.
    Stale {
        /// Byte offset in the packet's data where the IP header begins, whose lengths say where the segment ends.
        network: u32,
        /// Byte offset where the transport header begins.
        start: u32,
        /// The IP protocol.
        proto: u8,
    },
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

impl IpChecksum {
    /// Whether it is still to be computed.
    pub const fn is_pending(self) -> bool {
        matches!(self, IpChecksum::Partial { .. })
    }

    fn shifted(self, by: impl Fn(usize) -> Option<usize>) -> IpChecksum {
        let IpChecksum::Partial { start } = self else { return self };
        by(start as usize).map_or(IpChecksum::Unknown, |start| IpChecksum::Partial { start: start as u32 })
    }
}

impl L4Checksum {
    /// Whether it is still to be computed.
    pub const fn is_pending(self) -> bool {
        matches!(self, L4Checksum::Partial { .. } | L4Checksum::Stale { .. })
    }

    fn shifted(self, by: impl Fn(usize) -> Option<usize>) -> L4Checksum {
        match self {
            L4Checksum::Partial { start, offset } => {
                by(start).map_or(L4Checksum::Unknown, |start| L4Checksum::Partial { start, offset })
            }
            L4Checksum::Stale { network, start, proto } => match (by(network as usize), by(start as usize)) {
                (Some(network), Some(start)) => {
                    L4Checksum::Stale { network: network as u32, start: start as u32, proto }
                }
                _ => L4Checksum::Unknown,
            },
            other => other,
        }
    }
}

/// What is left to do to the packet that a tunnel carries: in eight bytes, for every packet has room for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    /// Byte offsets where headers begin: that of IPv4 whose checksum is undone, 0 for none; those of the network and the
    /// transport header of a stale checksum, or the latter of a partial one; 0 for none.
    ip: u16,
    network: u16,
    start: u16,
    /// The IP protocol of a stale checksum, or where a partial one stands.
    detail: u8,
    is_stale: bool,
}

impl Inner {
    /// The work that these states tell of; `None` if that is none. A checksum that is not undone is
    /// [`Unknown`](L4Checksum::Unknown) from then on.
    pub fn of(ip: IpChecksum, l4: L4Checksum) -> Option<Inner> {
        let mut inner = Inner { ip: 0, network: 0, start: 0, detail: 0, is_stale: false };
        if let IpChecksum::Partial { start } = ip {
            inner.ip = u16::try_from(start).unwrap_or(0);
        }
        match l4 {
            L4Checksum::Partial { start, offset } => {
                if let (Ok(start), Ok(offset)) = (u16::try_from(start), u8::try_from(offset)) {
                    (inner.start, inner.detail) = (start, offset);
                }
            }
            L4Checksum::Stale { network, start, proto } => {
                if let (Ok(network), Ok(start)) = (u16::try_from(network), u16::try_from(start)) {
                    (inner.network, inner.start, inner.detail, inner.is_stale) = (network, start, proto, true);
                }
            }
            _ => {}
        }
        (inner.ip != 0 || inner.start != 0).then_some(inner)
    }

    /// Checksum of the inner IPv4 header.
    pub fn ip(self) -> IpChecksum {
        if self.ip == 0 { IpChecksum::Unknown } else { IpChecksum::Partial { start: self.ip.into() } }
    }

    /// Inner transport checksum.
    pub fn l4(self) -> L4Checksum {
        match (self.start, self.is_stale) {
            (0, _) => L4Checksum::Unknown,
            (start, true) => {
                L4Checksum::Stale { network: self.network.into(), start: start.into(), proto: self.detail }
            }
            (start, false) => L4Checksum::Partial { start: start.into(), offset: self.detail.into() },
        }
    }
}

/// The work that is left.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Offload {
    /// Checksum of the IPv4 header: of the outermost, of a packet in a tunnel.
    pub ip: IpChecksum,
    /// Transport checksum, likewise.
    pub l4: L4Checksum,
    /// Segmentation. A packet is cut before it goes into a tunnel.
    pub gso: Option<Gso>,
    /// What is left to do to the packet that a tunnel carries, where that is anything.
    pub inner: Option<Inner>,
    /// By which a card tells which megaflow the packet matches.
    pub mark: Option<NonZeroU32>,
}

impl Offload {
    /// Nothing to do, as far as anybody knows.
    pub(super) const NONE: Offload =
        Offload { ip: IpChecksum::Unknown, l4: L4Checksum::Unknown, gso: None, inner: None, mark: None };

    /// Whether a checksum is still to be computed, or the packet to be cut.
    #[inline]
    pub const fn is_pending(&self) -> bool {
        self.gso.is_some() | self.ip.is_pending() | self.l4.is_pending() | self.inner.is_some()
    }

    /// Takes the state of the packet as that of what a tunnel carries; about the outer headers nothing is known then. To be
    /// called before they are put in front, so that offsets move along.
    ///
    /// A packet that is in a tunnel already has its innermost work done first
    /// ([`segment::finish_checksum`](crate::segment::finish_checksum)): one level is kept.
    pub fn enclose(&mut self) {
        *self = Offload { gso: self.gso, inner: Inner::of(self.ip, self.l4), ..Offload::NONE };
    }

    pub(crate) fn shift(&mut self, by: impl Fn(usize) -> Option<usize>) {
        self.ip = self.ip.shifted(&by);
        self.l4 = self.l4.shifted(&by);
        self.inner = self.inner.and_then(|inner| Inner::of(inner.ip().shifted(&by), inner.l4().shifted(&by)));
    }
}

const _: () = assert!(size_of::<Inner>() == 8 && size_of::<Offload>() <= 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undone_inside_comes_back_and_moves_along() {
        let partial = L4Checksum::Partial { start: 34, offset: 16 };
        let stale = L4Checksum::Stale { network: 14, start: 34, proto: 17 };
        for ip in [IpChecksum::Partial { start: 14 }, IpChecksum::Unknown] {
            for l4 in [partial, stale, L4Checksum::Unknown] {
                let mut offload = Offload { ip, l4, ..Offload::NONE };
                offload.enclose();
                assert_eq!((offload.ip, offload.l4), (IpChecksum::Unknown, L4Checksum::Unknown));
                assert_eq!(
                    offload.inner.map_or((IpChecksum::Unknown, L4Checksum::Unknown), |i| (i.ip(), i.l4())),
                    (ip, l4)
                );
                offload.shift(|at| Some(at + 50));
                offload.shift(|at| at.checked_sub(50));
                assert_eq!(offload.inner, Inner::of(ip, l4));
            }
        }
        let mut done = Offload { ip: IpChecksum::Good, l4: L4Checksum::Bad, ..Offload::NONE };
        done.enclose();
        assert!(!done.is_pending());
    }
}
