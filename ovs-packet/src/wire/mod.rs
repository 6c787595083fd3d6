//! Protocol headers and messages: views that read and patch bytes in place, and values that build them.
//!
//! Extraction ([`crate::extract`]) reads what flows are matched on. This module is for everything else that a switch,
//! a controller or a test says on the wire: control protocols between bridges, multicast membership, neighbours, and
//! the headers of tunnels. Each protocol has one file, and each file has two things:
//!
//! - a `View`, which is to the bytes of a message what `str` is to the bytes of a text: `View::new` checks once that
//!   the lengths in it agree with each other and with the bytes there are, after which reading cannot fail;
//!   `View::new_mut` gives the same with members that can be written. Whole-byte members are public and big-endian
//!   ([`zerocopy::big_endian`]); parts of bytes and lists have methods. A member that others depend on, such as a
//!   length, can only be read.
//! - a value ([`Wire`]): plain, owned, comparable. [`Wire::parse`] makes it from bytes, [`Wire::emit`] bytes from it.
//!
//! ```
//! use ovs_packet::wire::{Wire, geneve};
//!
//! let header = geneve::Header { vni: 7, ..Default::default() };
//! let mut bytes = header.to_vec().unwrap();
//! bytes.extend(b"an Ethernet frame");
//!
//! geneve::View::new_mut(&mut bytes).unwrap().set_vni(8);
//! let again = geneve::Header::parse(&bytes).unwrap();
//! assert_eq!(again, geneve::Header { vni: 8, ..header });
//! assert_eq!(&bytes[again.len()..], b"an Ethernet frame");
//! ```
//!
//! | protocols | modules |
//! |---|---|
//! | between bridges | [`lacp`], [`stp`] (and RSTP), [`cfm`], [`bfd`], [`lldp`] |
//! | membership | [`igmp`], [`mld`], and what they share in [`group`] |
//! | neighbours | [`arp`], [`nd`], both of ICMPv6 with [`icmpv6`] |
//! | tunnels | [`geneve`], [`vxlan`], [`gre`], [`erspan`], [`gtpu`], [`srv6`], [`bareudp`], [`nsh`] |
//!
//! # Laws
//!
//! For every value `v` that can be emitted, `parse(emit(v)) == v`. For every `b` that is canonical, that is, with
//! reserved bits zero, right checksums and parts in the order in which we write them, `emit(parse(b)) == b`. For any
//! bytes at all, parsing ends with a value or an [`Error`] after time linear in their length, and a value takes memory
//! linear in it.
//!
//! Bits that a specification reserves, and tells receivers to ignore, are ignored and not kept.

pub mod arp;
pub mod bareudp;
pub mod bfd;
pub mod cfm;
pub mod erspan;
pub mod geneve;
pub mod gre;
pub mod group;
pub mod gtpu;
pub mod icmpv6;
pub mod igmp;
pub mod lacp;
pub mod lldp;
pub mod mld;
pub mod nd;
pub mod nsh;
pub mod srv6;
pub mod stp;
pub mod vxlan;

mod io;
#[cfg(test)]
pub(crate) mod tests;

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use io::{Reader, Writer, code_points, parts, view};

use crate::addr::EthAddr;

/// A message, or a header in front of something else, as a value.
#[expect(clippy::len_without_is_empty, reason = "no header or message is empty")]
pub trait Wire: Sized {
    /// Reads the value that `bytes` begin with.
    ///
    /// What follows a header is its payload, at [`len`](Wire::len). What follows a message is padding, and is ignored,
    /// unless the module says that a message fills its bytes.
    fn parse(bytes: &[u8]) -> Result<Self, Error>;

    /// How many bytes [`emit`](Wire::emit) writes.
    fn len(&self) -> usize;

    /// Writes the value to the beginning of `out` and returns its length. Bytes behind it stay as they are.
    ///
    /// The error tells of a part of the value that its field cannot hold, or that `out` is too short; `out` may then
    /// have been written to.
    fn emit(&self, out: &mut [u8]) -> Result<usize, Error>;

    /// The bytes of the value.
    fn to_vec(&self) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; self.len()];
        self.emit(&mut out)?;
        Ok(out)
    }
}

/// What is wrong with bytes that were to be parsed, or with a value that was to be emitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    /// The header, or the part of it, that is at fault: `"LLDP management address"`.
    pub what: &'static str,
    /// Where it is, in bytes from the beginning of what was parsed; of a value, how far writing got.
    pub at: u32,
    /// In what way.
    pub fault: Fault,
}

const _: () = assert!(size_of::<Error>() <= 32);

/// In what way something is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end before it does.
    Truncated,
    /// A length or a count, which is told, disagrees with what it measures or with what it is in.
    Length(u32),
    /// A value, which is told, that is not defined, not supported, or not allowed here; or too great for its field.
    Value(u32),
    /// A checksum, which is told as it stands in the packet, that is not that of the bytes.
    Checksum(u16),
    /// It is required and not there.
    Missing,
    /// It is there again, and may be only once.
    Repeated,
    /// It is not where it has to be.
    Misplaced,
}

impl Error {
    pub(crate) fn new(what: &'static str, at: usize, fault: Fault) -> Error {
        Error { what, at: u32::try_from(at).unwrap_or(u32::MAX), fault }
    }

    pub(crate) fn truncated(what: &'static str, at: usize) -> Error {
        Error::new(what, at, Fault::Truncated)
    }

    pub(crate) fn length(what: &'static str, at: usize, length: usize) -> Error {
        Error::new(what, at, Fault::Length(u32::try_from(length).unwrap_or(u32::MAX)))
    }

    pub(crate) fn value(what: &'static str, at: usize, value: impl Into<u32>) -> Error {
        Error::new(what, at, Fault::Value(value.into()))
    }

    /// The same error in something that the bytes began `by` bytes into.
    pub(crate) fn shifted(self, by: usize) -> Error {
        Error { at: self.at.saturating_add(u32::try_from(by).unwrap_or(u32::MAX)), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error { what, at, fault } = self;
        write!(f, "{what} at byte {at}: ")?;
        match fault {
            Fault::Truncated => f.write_str("cut short"),
            Fault::Length(n) => write!(f, "length {n} does not fit"),
            Fault::Value(v) => write!(f, "value {v:#x} is not possible"),
            Fault::Checksum(c) => write!(f, "checksum {c:#06x} is wrong"),
            Fault::Missing => f.write_str("not there"),
            Fault::Repeated => f.write_str("there twice"),
            Fault::Misplaced => f.write_str("out of place"),
        }
    }
}

impl core::error::Error for Error {}

/// The shortest Ethernet frame without its frame check sequence (IEEE 802.3, 3.2.8).
const MIN_FRAME: usize = 60;

/// An Ethernet II frame with `message` in it, padded with zeros to 60 bytes.
///
/// ```
/// use ovs_packet::EthAddr;
/// use ovs_packet::wire::{self, arp};
///
/// let who_has = arp::Message::request(EthAddr::local(1), [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
/// let frame = wire::frame(EthAddr::BROADCAST, EthAddr::local(1), arp::ETH_TYPE, &who_has).unwrap();
/// assert_eq!((frame.len(), &frame[12..14]), (60, &[0x08, 0x06][..]));
/// ```
pub fn frame(dst: EthAddr, src: EthAddr, eth_type: u16, message: &impl Wire) -> Result<Vec<u8>, Error> {
    framed(dst, src, eth_type, &[], message)
}

/// A frame whose type or length is `kind` and in which `before` stands before the message.
fn framed(dst: EthAddr, src: EthAddr, kind: u16, before: &[u8], message: &impl Wire) -> Result<Vec<u8>, Error> {
    let len = 14 + before.len() + message.len();
    let mut frame = vec![0; len.max(MIN_FRAME)];
    let mut w = Writer::new("Ethernet frame", &mut frame);
    w.put(&dst.0)?;
    w.put(&src.0)?;
    w.u16(kind)?;
    w.put(before)?;
    w.wire(message)?;
    Ok(frame)
}
