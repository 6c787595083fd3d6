//! Messages: a header of 16 bytes and what follows (`linux/netlink.h`: `struct nlmsghdr`).
//!
//! A datagram from the kernel holds one message or several. [`Messages`] walks them, bounds-checked.

use std::iter::FusedIterator;

use byteorder::{ByteOrder, NativeEndian};

use crate::attr::{Attributes, padding};
use crate::error::{DecodeError, DecodeErrorKind};

bitflags::bitflags! {
    /// Flags of a message (`NLM_F_*`). What the bits from 0x100 on mean depends on the kind of message.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Flags: u16 {
        /// A request.
        const REQUEST = 0x1;
        /// Part of an answer that a `DONE` message ends.
        const MULTI = 0x2;
        /// Asks for an acknowledgement, also when all went well.
        const ACK = 0x4;
        /// Asks for the notification that the request causes, as an answer.
        const ECHO = 0x8;
        /// A dump may be inconsistent, because what it shows changed meanwhile.
        const DUMP_INTERRUPTED = 0x10;
        /// A dump was filtered as the request asked.
        const DUMP_FILTERED = 0x20;
        /// Of a GET request: all objects rather than one (`NLM_F_DUMP`, `ROOT` and `MATCH` together).
        const DUMP = 0x300;
        /// Of a NEW request: change the object if it exists.
        const REPLACE = 0x100;
        /// Of a NEW request: fail if the object exists.
        const EXCLUSIVE = 0x200;
        /// Of a NEW request: make the object if it does not exist.
        const CREATE = 0x400;
        /// Of an acknowledgement: the request is not echoed whole.
        const CAPPED = 0x100;
        /// Of an acknowledgement: attributes follow.
        const ACK_ATTRIBUTES = 0x200;
        /// Other bits are kept as they are.
        const _ = !0;
    }
}

/// Types of messages that belong to netlink itself (`NLMSG_*`).
pub mod kind {
    /// Means nothing.
    pub const NOOP: u16 = 1;
    /// An acknowledgement: an error number, 0 for none.
    pub const ERROR: u16 = 2;
    /// The end of an answer of several messages.
    pub const DONE: u16 = 3;
    /// Data was lost.
    pub const OVERRUN: u16 = 4;
    /// The lowest type that belongs to a family.
    pub const FIRST_FAMILY: u16 = 16;
}

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the message, header included.
    pub length: u32,
    /// The type: see [`kind`], or the number of a family.
    pub kind: u16,
    /// Flags.
    pub flags: Flags,
    /// The number that an answer repeats from its request.
    pub sequence: u32,
    /// The port of the sender, 0 for the kernel.
    pub port: u32,
}

impl Header {
    /// The size of a header.
    pub const SIZE: usize = 16;

    /// The header in `bytes`.
    pub fn decode(bytes: &[u8; Header::SIZE]) -> Header {
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = *bytes;
        Header {
            length: NativeEndian::read_u32(&[l0, l1, l2, l3]),
            kind: NativeEndian::read_u16(&[k0, k1]),
            flags: Flags::from_bits_retain(NativeEndian::read_u16(&[f0, f1])),
            sequence: NativeEndian::read_u32(&[s0, s1, s2, s3]),
            port: NativeEndian::read_u32(&[p0, p1, p2, p3]),
        }
    }

    /// Fills in the sequence number and the port of the sender of the message at the start of `message`, as
    /// [`Writer::message`](crate::Writer::message) wrote it. Bytes that are no header stay as they are.
    pub fn stamp(message: &mut [u8], sequence: u32, port: u32) {
        if let Some(bytes) = message.first_chunk_mut() {
            *bytes = Header { sequence, port, ..Header::decode(bytes) }.encode();
        }
    }

    /// The bytes of the header.
    pub fn encode(&self) -> [u8; Header::SIZE] {
        let [l0, l1, l2, l3] = self.length.to_ne_bytes();
        let [k0, k1] = self.kind.to_ne_bytes();
        let [f0, f1] = self.flags.bits().to_ne_bytes();
        let [s0, s1, s2, s3] = self.sequence.to_ne_bytes();
        let [p0, p1, p2, p3] = self.port.to_ne_bytes();
        [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3]
    }
}

/// A message: header and payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The header.
    pub header: Header,
    payload: &'a [u8],
    offset: usize,
}

impl<'a> Message<'a> {
    /// What follows the header.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The offset of the payload in the datagram.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The first `N` bytes of the payload from `start` on: the header of a family.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`].
    pub fn fixed<const N: usize>(&self, start: usize) -> Result<&'a [u8; N], DecodeError> {
        let rest = self.payload.get(start..).unwrap_or_default();
        rest.first_chunk().ok_or_else(|| {
            let kind = DecodeErrorKind::Truncated { needed: N, available: rest.len() };
            DecodeError::new(self.offset.saturating_add(start), kind)
        })
    }

    /// The attributes from byte `start` of the payload on.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when the payload ends before `start`.
    pub fn attributes(&self, start: usize) -> Result<Attributes<'a>, DecodeError> {
        match self.payload.get(start..) {
            Some(bytes) => Ok(Attributes::new(bytes, self.offset.saturating_add(start))),
            None => Err(DecodeError::new(
                self.offset,
                DecodeErrorKind::Truncated { needed: start, available: self.payload.len() },
            )),
        }
    }
}

/// The messages of a datagram. An iterator that ends after its first error.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Messages<'a> {
    /// The messages in `datagram`.
    pub fn new(datagram: &'a [u8]) -> Messages<'a> {
        Messages { rest: datagram, offset: 0 }
    }

    fn read(&mut self) -> Result<Message<'a>, DecodeError> {
        let available = self.rest.len();
        let error = |kind| Err(DecodeError::new(self.offset, kind));
        let Some(bytes) = self.rest.first_chunk::<{ Header::SIZE }>() else {
            return error(DecodeErrorKind::Truncated { needed: Header::SIZE, available });
        };
        let header = Header::decode(bytes);
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if length < Header::SIZE {
            return error(DecodeErrorKind::ShortLength { length, header: Header::SIZE });
        }
        let Some(payload) = self.rest.get(Header::SIZE..length) else {
            return error(DecodeErrorKind::Truncated { needed: length, available });
        };
        let message = Message { header, payload, offset: self.offset.saturating_add(Header::SIZE) };
        let step = length.saturating_add(padding(length)).min(available);
        self.rest = self.rest.get(step..).unwrap_or_default();
        self.offset = self.offset.saturating_add(step);
        Ok(message)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let result = self.read();
        if result.is_err() {
            self.rest = &[];
        }
        Some(result)
    }
}

impl FusedIterator for Messages<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Writer;
    use proptest::prelude::*;

    #[test]
    fn a_datagram_of_two_and_a_half() {
        let mut bytes = Vec::new();
        Writer::message(&mut bytes, 20, Flags::MULTI, |_| Ok(())).unwrap();
        for _ in 0..2 {
            Writer::message(&mut bytes, 21, Flags::MULTI, |two| {
                two.u8(1, 5);
                Ok(())
            })
            .unwrap();
        }
        bytes.truncate(60);
        Header::stamp(&mut bytes, 1, 0);
        let mut messages = Messages::new(&bytes);
        assert_eq!(messages.next().unwrap().unwrap().header.sequence, 1);
        assert_eq!(messages.next().unwrap().unwrap().offset(), 32);
        let error = messages.next().unwrap().unwrap_err();
        assert_eq!(error, DecodeError::new(40, DecodeErrorKind::Truncated { needed: 24, available: 20 }));
        assert_eq!(messages.next(), None);
    }

    proptest! {
        #[test]
        fn headers_round_trip(bytes in any::<[u8; 16]>()) {
            prop_assert_eq!(Header::decode(&bytes).encode(), bytes);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
            prop_assert!(Messages::new(&bytes).count() <= bytes.len() / 16 + 1);
        }
    }
}
