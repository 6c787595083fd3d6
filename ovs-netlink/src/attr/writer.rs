//! Writing attributes and messages in one pass, into a buffer that the caller owns.

use super::reader::Attribute;
use super::{HEADER, MAX_NESTING, NESTED, TYPE_MASK, padding};
use crate::error::EncodeError;
use crate::message::{Flags, Header};

/// Appends attributes to a buffer that the caller owns, and keeps.
///
/// Attributes are appended in order and padded; a nest is closed, and its length filled in, when the function that
/// writes its content returns. When something does not fit, the buffer is as it was before the attribute, and the writer
/// stays usable. Nothing is allocated while the buffer has room.
///
/// ```
/// use ovs_netlink::{EncodeError, Writer};
///
/// let mut buffer = Vec::with_capacity(1 << 16);
/// let mut writer = Writer::new(&mut buffer);
/// writer.u8(1, 255);
/// let long = vec![0; 65_532];
/// assert_eq!(writer.bytes(2, &long).unwrap_err(), EncodeError::AttributeTooLong { attribute: 2, length: 65_536 });
/// assert_eq!(buffer.len(), 8);
/// ```
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut Vec<u8>,
    /// Where the padding counts from: the end of the buffer when the writer was made.
    origin: usize,
    depth: u8,
}

impl<'b> Writer<'b> {
    /// A writer that appends to `buffer`.
    pub fn new(buffer: &'b mut Vec<u8>) -> Writer<'b> {
        let origin = buffer.len();
        Writer { buffer, origin, depth: 0 }
    }

    /// Appends a message of the type `kind` (a number below 16 of netlink itself, or the number of a family) to `buffer`:
    /// its header, and what `content` writes. A buffer may hold many messages, one after the other.
    ///
    /// The sequence number and the port of the sender are 0: [`Header::stamp`] fills them in.
    ///
    /// ```
    /// use ovs_netlink::{Flags, Messages, Writer};
    ///
    /// let mut buffer = Vec::new();
    /// for number in 1..=3 {
    ///     Writer::message(&mut buffer, 16, Flags::REQUEST, |message| {
    ///         message.u32(1, number);
    ///         Ok(())
    ///     })?;
    /// }
    /// assert_eq!(Messages::new(&buffer).count(), 3);
    /// # Ok::<(), ovs_netlink::EncodeError>(())
    /// ```
    ///
    /// # Errors
    /// What `content` fails with, and [`EncodeError::MessageTooLong`] from 4 GiB on; the buffer is then as it was.
    pub fn message(
        buffer: &'b mut Vec<u8>,
        kind: u16,
        flags: Flags,
        content: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = buffer.len();
        buffer.extend_from_slice(&[0; Header::SIZE]);
        let written = content(&mut Writer { buffer: &mut *buffer, origin: start, depth: 0 });
        let length = buffer.len().saturating_sub(start);
        let counted = u32::try_from(length).map_err(|_| EncodeError::MessageTooLong(length));
        match written.and(counted) {
            Ok(length) => {
                let header = Header { length, kind, flags, sequence: 0, port: 0 };
                if let Some(place) = buffer.get_mut(start..).and_then(|rest| rest.first_chunk_mut()) {
                    *place = header.encode();
                }
                Ok(())
            }
            Err(error) => {
                buffer.truncate(start);
                Err(error)
            }
        }
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
        let zeroes = padding(self.buffer.len().saturating_sub(self.origin));
        self.buffer.extend(std::iter::repeat_n(0, zeroes));
    }

    /// Appends an attribute of a size that is known: one check for room, one copy.
    pub(crate) fn fixed<const N: usize>(&mut self, kind: u16, payload: &[u8; N]) -> &mut Self {
        const { assert!(N <= 256) };
        // At most 260 bytes: the length always fits.
        let length = HEADER.saturating_add(N) as u16;
        self.buffer.reserve(HEADER.saturating_add(N).saturating_add(3));
        self.buffer.extend_from_slice(&length.to_ne_bytes());
        self.buffer.extend_from_slice(&(kind & TYPE_MASK).to_ne_bytes());
        self.buffer.extend_from_slice(payload);
        const { &[0_u8; 3] }.get(..padding(N)).into_iter().for_each(|zeroes| self.buffer.extend_from_slice(zeroes));
        self
    }

    /// Appends an attribute without payload.
    pub fn flag(&mut self, kind: u16) -> &mut Self {
        self.fixed(kind, &[])
    }

    /// Appends a `u8`.
    pub fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.fixed(kind, &[value])
    }

    /// Appends a `u16`.
    pub fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.fixed(kind, &value.to_ne_bytes())
    }

    /// Appends a `u32`.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.fixed(kind, &value.to_ne_bytes())
    }

    /// Appends an `i32`.
    pub fn i32(&mut self, kind: u16, value: i32) -> &mut Self {
        self.fixed(kind, &value.to_ne_bytes())
    }

    /// Appends a `u64`.
    pub fn u64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.fixed(kind, &value.to_ne_bytes())
    }

    /// Appends a `u16` in network byte order.
    pub fn be16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.fixed(kind, &value.to_be_bytes())
    }

    /// Appends a `u32` in network byte order.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.fixed(kind, &value.to_be_bytes())
    }

    /// Appends a `u64` in network byte order.
    pub fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.fixed(kind, &value.to_be_bytes())
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`] from 65,532 bytes on.
    pub fn bytes(&mut self, kind: u16, payload: &[u8]) -> Result<&mut Self, EncodeError> {
        self.attribute(kind, |writer| {
            writer.buffer.extend_from_slice(payload);
            Ok(())
        })
    }

    /// Appends numbers, one after the other.
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`].
    pub fn u32s(&mut self, kind: u16, numbers: &[u32]) -> Result<&mut Self, EncodeError> {
        self.attribute(kind, |writer| {
            writer.buffer.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
            Ok(())
        })
    }

    /// Appends the bytes of a string, and a NUL.
    ///
    /// # Errors
    /// [`EncodeError::NulInside`], [`EncodeError::AttributeTooLong`].
    pub fn text(&mut self, kind: u16, text: &[u8]) -> Result<&mut Self, EncodeError> {
        if text.contains(&0) {
            return Err(EncodeError::NulInside { attribute: kind });
        }
        self.attribute(kind, |writer| {
            writer.buffer.extend_from_slice(text);
            writer.buffer.push(0);
            Ok(())
        })
    }

    /// Appends an attribute that was read, with the flags that its type had.
    ///
    /// # Errors
    /// None in practice: what was read has a length that can be written.
    pub fn copy(&mut self, attribute: &Attribute<'_>) -> Result<&mut Self, EncodeError> {
        self.attribute(attribute.raw_kind(), |writer| {
            writer.buffer.extend_from_slice(attribute.payload());
            Ok(())
        })
    }

    /// Appends a string and its NUL.
    ///
    /// # Errors
    /// [`EncodeError::NulInside`], [`EncodeError::AttributeTooLong`].
    pub fn str(&mut self, kind: u16, text: &str) -> Result<&mut Self, EncodeError> {
        self.text(kind, text.as_bytes())
    }

    /// Appends an attribute whose payload is what `content` appends, marked as nested.
    ///
    /// # Errors
    /// What `content` fails with, [`EncodeError::AttributeTooLong`], [`EncodeError::TooDeep`].
    pub fn nest(
        &mut self,
        kind: u16,
        content: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
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
    pub(crate) fn attribute(
        &mut self,
        raw_kind: u16,
        content: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Attributes;
    use crate::message::Messages;
    use proptest::prelude::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn bytes_of_a_message() {
        let mut buffer = vec![0xee];
        Writer::message(&mut buffer, 0x1c, Flags::REQUEST | Flags::ACK, |message| {
            message.raw(&[3, 1, 0, 0]).u8(1, 0xaa).be16(2, 0x1234);
            message.nest(3, |inner| inner.flag(4).str(5, "ab").map(drop)).map(drop)
        })
        .unwrap();
        Header::stamp(&mut buffer[1..], 7, 9);
        #[rustfmt::skip]
        let expected = [
            0xee, // what was there before stays, and is not what the padding counts from
            52, 0, 0, 0, 0x1c, 0, 5, 0, 7, 0, 0, 0, 9, 0, 0, 0, // length, type, flags, sequence, port
            3, 1, 0, 0,
            5, 0, 1, 0, 0xaa, 0, 0, 0,
            6, 0, 2, 0, 0x12, 0x34, 0, 0,
            16, 0, 3, 0x80,
              4, 0, 4, 0,
              7, 0, 5, 0, b'a', b'b', 0, 0,
        ];
        assert_eq!(buffer, expected);
    }

    #[test]
    fn what_is_too_long_leaves_no_trace() {
        let mut buffer = Vec::new();
        Writer::new(&mut buffer).bytes(1, &[1; 65_531]).unwrap();
        let before = buffer.clone();
        let mut writer = Writer::new(&mut buffer);
        // One nest of two attributes that fit, but not together: the netlink overflow of flows with 4,000 actions.
        let error = writer.nest(2, |inner| {
            inner.bytes(3, &[0; 40_000])?.bytes(4, &[0; 40_000])?;
            Ok(())
        });
        assert_eq!(error.unwrap_err(), EncodeError::AttributeTooLong { attribute: 2, length: 80_012 });
        // The longest userdata that an action can carry does not fit an action that has a port as well.
        let error = writer.nest(2, |inner| inner.u32(1, 7).bytes(2, &[0; 65_528]).map(drop)).unwrap_err();
        assert_eq!(error, EncodeError::AttributeTooLong { attribute: 2, length: 65_544 });
        assert_eq!(writer.str(5, "a\0b").unwrap_err(), EncodeError::NulInside { attribute: 5 });
        assert_eq!(buffer, before);
        let refused = Writer::message(&mut buffer, 16, Flags::empty(), |message| message.str(1, "\0").map(drop));
        assert_eq!(refused, Err(EncodeError::NulInside { attribute: 1 }));
        assert_eq!(buffer, before);
    }

    #[test]
    fn nesting_is_bounded() {
        fn deep(writer: &mut Writer<'_>) -> Result<(), EncodeError> {
            writer.nest(1, deep).map(drop)
        }
        let mut buffer = Vec::new();
        assert_eq!(deep(&mut Writer::new(&mut buffer)), Err(EncodeError::TooDeep { attribute: 1 }));
        assert_eq!(buffer, []);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            attributes in prop::collection::vec((0u16..0x4000, prop::collection::vec(any::<u8>(), 0..20)), 0..10),
            nest in any::<bool>(),
        ) {
            let write = |writer: &mut Writer<'_>| {
                attributes.iter().try_for_each(|(kind, payload)| writer.bytes(*kind, payload).map(drop))
            };
            let mut bytes = Vec::new();
            Writer::message(&mut bytes, 16, Flags::REQUEST, |message| {
                if nest { message.nest(9, write).map(drop) } else { write(message) }
            }).unwrap();
            prop_assert_eq!(bytes.len() % 4, 0);
            let message = Messages::new(&bytes).next().unwrap().unwrap();
            let mut walk: Attributes<'_> = message.attributes(0).unwrap();
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
