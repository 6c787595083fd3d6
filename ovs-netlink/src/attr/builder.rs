//! Writing a message in one pass.

use byteorder::{ByteOrder, NativeEndian};

use super::{HEADER, MAX_NESTING, NESTED, TYPE_MASK, padding};
use crate::error::EncodeError;
use crate::message::{Flags, Header};

/// A netlink message under construction: the header, then whatever is appended.
///
/// Attributes are appended in order and padded; a nest is closed, and its length filled in, when the function that
/// writes its content returns. When something does not fit, the builder is as it was before the attribute, and stays
/// usable.
///
/// ```
/// use ovs_netlink::{EncodeError, Flags, MessageBuilder};
///
/// let mut builder = MessageBuilder::new(16, Flags::REQUEST | Flags::ACK);
/// builder.u8(1, 255);
/// let long = vec![0; 65_532];
/// assert_eq!(builder.bytes(2, &long).unwrap_err(), EncodeError::AttributeTooLong { attribute: 2, length: 65_536 });
/// assert_eq!(builder.finish(1, 0)?.len(), 16 + 8);
/// # Ok::<(), EncodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageBuilder {
    buffer: Vec<u8>,
    kind: u16,
    flags: Flags,
    depth: u8,
}

impl MessageBuilder {
    /// A message of the type `kind`: a number below 16 of netlink itself, or the number of a family.
    pub fn new(kind: u16, flags: Flags) -> MessageBuilder {
        MessageBuilder { buffer: vec![0; Header::SIZE], kind, flags, depth: 0 }
    }

    /// Adds flags to those of the message.
    pub fn add_flags(&mut self, flags: Flags) -> &mut Self {
        self.flags |= flags;
        self
    }

    /// Appends bytes as they are, padded to a multiple of 4: the headers of a family, before its attributes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Appends bytes as they are, without padding: the payload of the attribute that is open.
    pub(crate) fn raw_exact(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn pad(&mut self) {
        let zeroes = padding(self.buffer.len());
        self.buffer.extend(std::iter::repeat_n(0, zeroes));
    }

    fn fixed<const N: usize>(&mut self, kind: u16, payload: [u8; N]) -> &mut Self {
        const { assert!(N <= 8) };
        // At most 12 bytes: the length always fits.
        let length = HEADER.saturating_add(N) as u16;
        self.buffer.extend_from_slice(&length.to_ne_bytes());
        self.buffer.extend_from_slice(&(kind & TYPE_MASK).to_ne_bytes());
        self.buffer.extend_from_slice(&payload);
        self.pad();
        self
    }

    /// Appends an attribute without payload.
    pub fn flag(&mut self, kind: u16) -> &mut Self {
        self.fixed(kind, [])
    }

    /// Appends a `u8`.
    pub fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.fixed(kind, [value])
    }

    /// Appends a `u16`.
    pub fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.fixed(kind, value.to_ne_bytes())
    }

    /// Appends a `u32`.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.fixed(kind, value.to_ne_bytes())
    }

    /// Appends an `i32`.
    pub fn i32(&mut self, kind: u16, value: i32) -> &mut Self {
        self.fixed(kind, value.to_ne_bytes())
    }

    /// Appends a `u64`.
    pub fn u64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.fixed(kind, value.to_ne_bytes())
    }

    /// Appends a `u16` in network byte order.
    pub fn be16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.fixed(kind, value.to_be_bytes())
    }

    /// Appends a `u32` in network byte order.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.fixed(kind, value.to_be_bytes())
    }

    /// Appends a `u64` in network byte order.
    pub fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.fixed(kind, value.to_be_bytes())
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`] from 65,532 bytes on.
    pub fn bytes(&mut self, kind: u16, payload: &[u8]) -> Result<&mut Self, EncodeError> {
        self.attribute(kind, |builder| {
            builder.buffer.extend_from_slice(payload);
            Ok(())
        })
    }

    /// Appends numbers, one after the other.
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`].
    pub fn u32s(&mut self, kind: u16, numbers: &[u32]) -> Result<&mut Self, EncodeError> {
        self.attribute(kind, |builder| {
            builder.buffer.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
            Ok(())
        })
    }

    /// Appends a string and its NUL.
    ///
    /// # Errors
    /// [`EncodeError::NulInside`], [`EncodeError::AttributeTooLong`].
    pub fn str(&mut self, kind: u16, text: &str) -> Result<&mut Self, EncodeError> {
        if text.contains('\0') {
            return Err(EncodeError::NulInside { attribute: kind });
        }
        self.attribute(kind, |builder| {
            builder.buffer.extend_from_slice(text.as_bytes());
            builder.buffer.push(0);
            Ok(())
        })
    }

    /// Appends an attribute whose payload is what `content` appends, marked as nested.
    ///
    /// # Errors
    /// What `content` fails with, [`EncodeError::AttributeTooLong`], [`EncodeError::TooDeep`].
    pub fn nest(
        &mut self,
        kind: u16,
        content: impl FnOnce(&mut MessageBuilder) -> Result<(), EncodeError>,
    ) -> Result<&mut Self, EncodeError> {
        if self.depth >= MAX_NESTING {
            return Err(EncodeError::TooDeep { attribute: kind });
        }
        self.depth = self.depth.saturating_add(1);
        let result = self.attribute(kind & TYPE_MASK | NESTED, content).map(drop);
        self.depth = self.depth.saturating_sub(1);
        result.map(|()| self)
    }

    /// Appends an attribute of unknown length; takes all of it back when it does not work out.
    fn attribute(
        &mut self,
        raw_kind: u16,
        content: impl FnOnce(&mut MessageBuilder) -> Result<(), EncodeError>,
    ) -> Result<&mut Self, EncodeError> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; HEADER]);
        let closed = content(self).and_then(|()| self.close(start, raw_kind));
        if closed.is_err() {
            self.buffer.truncate(start);
        }
        closed.map(|()| self)
    }

    fn close(&mut self, start: usize, raw_kind: u16) -> Result<(), EncodeError> {
        let length = self.buffer.len().saturating_sub(start);
        let too_long = EncodeError::AttributeTooLong { attribute: raw_kind & TYPE_MASK, length };
        let counted = u16::try_from(length).map_err(|_| too_long)?;
        if let Some(header) = self.buffer.get_mut(start..).and_then(|rest| rest.first_chunk_mut::<HEADER>()) {
            let [l0, l1] = counted.to_ne_bytes();
            let [k0, k1] = raw_kind.to_ne_bytes();
            *header = [l0, l1, k0, k1];
        }
        self.pad();
        Ok(())
    }

    /// The bytes of the message, with its sequence number and the port of its sender (0: the kernel fills it in).
    ///
    /// # Errors
    /// [`EncodeError::MessageTooLong`] from 4 GiB on.
    pub fn finish(mut self, sequence: u32, port: u32) -> Result<Vec<u8>, EncodeError> {
        let length = u32::try_from(self.buffer.len()).map_err(|_| EncodeError::MessageTooLong(self.buffer.len()))?;
        let header = Header { length, kind: self.kind, flags: self.flags, sequence, port };
        if let Some(place) = self.buffer.first_chunk_mut::<{ Header::SIZE }>() {
            *place = header.encode();
        }
        Ok(self.buffer)
    }
}

/// Appends numbers of 64 bits: the kernel's statistics structures are made of them.
pub(crate) fn push_u64s(bytes: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        let mut eight = [0; 8];
        NativeEndian::write_u64(&mut eight, *number);
        bytes.extend_from_slice(&eight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Messages;
    use proptest::prelude::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn bytes_of_a_message() {
        let mut builder = MessageBuilder::new(0x1c, Flags::REQUEST | Flags::ACK);
        builder.raw(&[3, 1, 0, 0]).u8(1, 0xaa).be16(2, 0x1234);
        builder.nest(3, |inner| inner.flag(4).str(5, "ab").map(drop)).unwrap();
        #[rustfmt::skip]
        let expected = [
            52, 0, 0, 0, 0x1c, 0, 5, 0, 7, 0, 0, 0, 9, 0, 0, 0, // length, type, flags, sequence, port
            3, 1, 0, 0,
            5, 0, 1, 0, 0xaa, 0, 0, 0,
            6, 0, 2, 0, 0x12, 0x34, 0, 0,
            16, 0, 3, 0x80,
              4, 0, 4, 0,
              7, 0, 5, 0, b'a', b'b', 0, 0,
        ];
        assert_eq!(builder.finish(7, 9).unwrap(), expected);
    }

    #[test]
    fn what_is_too_long_leaves_no_trace() {
        let mut builder = MessageBuilder::new(16, Flags::REQUEST);
        builder.bytes(1, &[1; 65_531]).unwrap();
        let before = builder.clone();
        // One nest of two attributes that fit, but not together: the netlink overflow of flows with 4,000 actions.
        let error = builder.nest(2, |inner| {
            inner.bytes(3, &[0; 40_000])?.bytes(4, &[0; 40_000])?;
            Ok(())
        });
        assert_eq!(error.unwrap_err(), EncodeError::AttributeTooLong { attribute: 2, length: 80_012 });
        assert_eq!(builder, before);
        assert_eq!(builder.str(5, "a\0b").unwrap_err(), EncodeError::NulInside { attribute: 5 });
        assert_eq!(builder, before);
    }

    #[test]
    fn nesting_is_bounded() {
        fn deep(builder: &mut MessageBuilder) -> Result<(), EncodeError> {
            builder.nest(1, deep).map(drop)
        }
        let mut builder = MessageBuilder::new(16, Flags::REQUEST);
        assert_eq!(deep(&mut builder), Err(EncodeError::TooDeep { attribute: 1 }));
        assert_eq!(builder, MessageBuilder::new(16, Flags::REQUEST));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            attributes in prop::collection::vec((0u16..0x4000, prop::collection::vec(any::<u8>(), 0..20)), 0..10),
            nest in any::<bool>(),
        ) {
            let mut builder = MessageBuilder::new(16, Flags::REQUEST);
            let write = |builder: &mut MessageBuilder| {
                attributes.iter().try_for_each(|(kind, payload)| builder.bytes(*kind, payload).map(drop))
            };
            if nest { builder.nest(9, write).map(drop) } else { write(&mut builder) }.unwrap();
            let bytes = builder.finish(1, 2).unwrap();
            prop_assert_eq!(bytes.len() % 4, 0);
            let message = Messages::new(&bytes).next().unwrap().unwrap();
            let mut walk = message.attributes(0).unwrap();
            if nest {
                let outer = walk.next().unwrap().unwrap();
                prop_assert!(outer.kind() == 9 && outer.is_marked_nested() && walk.next().is_none());
                walk = outer.nested().unwrap();
            }
            let read: Vec<_> = walk.map(|a| a.map(|a| (a.kind(), a.payload().to_vec()))).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read, attributes);
        }
    }
}
