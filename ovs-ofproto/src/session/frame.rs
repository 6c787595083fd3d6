//! A message as bytes, of which only the header is known.

use std::fmt;

use crate::codec::{Header, MessageType, Version};

/// A whole message: at least a header, with a length field that is true. What is behind the header is not looked at.
///
/// ```
/// use ovs_ofproto::codec::Version;
/// use ovs_ofproto::session::Frame;
///
/// let frame = Frame::new(vec![4, 20, 0, 8, 0, 0, 0, 7])?;
/// assert_eq!((frame.version(), frame.xid()), (Version::V1_3, 7));
/// assert!(Frame::new(vec![4, 20, 0, 9, 0, 0, 0, 7]).is_err());
/// # Ok::<(), ovs_ofproto::session::NotAFrame>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    bytes: Vec<u8>,
}

/// The bytes are not one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{actual} bytes are not one message: its header says {said:?}")]
pub struct NotAFrame {
    /// How many bytes there are.
    pub actual: usize,
    /// The length in the header, if there is a whole header.
    pub said: Option<u16>,
}

impl Frame {
    /// The message that `bytes` are.
    ///
    /// # Errors
    /// [`NotAFrame`] if there are fewer than eight, or another number than the header says.
    pub fn new(bytes: Vec<u8>) -> Result<Frame, NotAFrame> {
        let said = Header::decode(&bytes).ok().map(|header| header.length);
        match said {
            Some(length) if usize::from(length) == bytes.len() => Ok(Frame { bytes }),
            _ => Err(NotAFrame { actual: bytes.len(), said }),
        }
    }

    /// A message of a header and the pieces of a body; what does not fit in 65535 bytes is cut off.
    pub(super) fn build(version: Version, kind: MessageType, xid: u32, body: &[&[u8]]) -> Frame {
        let room = usize::from(u16::MAX).saturating_sub(Header::LEN);
        let body: Vec<u8> = body.iter().flat_map(|piece| piece.iter().copied()).take(room).collect();
        let length = u16::try_from(Header::LEN.saturating_add(body.len())).unwrap_or(u16::MAX);
        let mut bytes = vec![version.0, kind.0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(xid.to_be_bytes());
        bytes.extend(body);
        Frame { bytes }
    }

    /// The whole message.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What follows the header.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(Header::LEN..).unwrap_or_default()
    }

    /// The whole message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Its version.
    pub fn version(&self) -> Version {
        Version(self.bytes.first().copied().unwrap_or_default())
    }

    /// Its type, in the numbering of its version.
    pub fn kind(&self) -> MessageType {
        MessageType(self.bytes.get(1).copied().unwrap_or_default())
    }

    /// Its transaction id.
    pub fn xid(&self) -> u32 {
        self.bytes.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |xid| u32::from_be_bytes(*xid))
    }

    /// The same message with another transaction id.
    #[must_use]
    pub fn with_xid(mut self, xid: u32) -> Frame {
        if let Some(place) = self.bytes.get_mut(4..8) {
            place.copy_from_slice(&xid.to_be_bytes());
        }
        self
    }
}

impl fmt::Debug for Frame {
    /// The header and the first bytes of the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} type {} xid {:#x}, {} bytes", self.version(), self.kind().0, self.xid(), self.bytes.len())?;
        self.body().iter().take(16).enumerate().try_for_each(|(at, byte)| {
            f.write_str(if at == 0 { ": " } else { "" })?;
            write!(f, "{byte:02x}")
        })?;
        f.write_str(if self.body().len() > 16 { "..)" } else { ")" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_messages_are_frames() {
        for bytes in [&[][..], &[4; 7], &[4, 0, 0, 7, 0, 0, 0], &[4, 0, 0, 7, 0, 0, 0, 0], &[4, 0, 0, 8, 0, 0, 0, 0, 0]]
        {
            assert_eq!(Frame::new(bytes.to_vec()).unwrap_err().actual, bytes.len());
        }
        let frame = Frame::new(vec![4, 2, 0, 10, 1, 2, 3, 4, 5, 6]).unwrap().with_xid(9);
        assert_eq!((frame.xid(), frame.body(), frame.kind()), (9, &[5, 6][..], MessageType::ECHO_REQUEST));
        assert_eq!(format!("{frame:?}"), "Frame(OF1.3 type 2 xid 0x9, 10 bytes: 0506)");
    }

    #[test]
    fn what_is_built_is_a_frame_whatever_its_size() {
        for size in [0, 1, 65527, 65528, 100_000] {
            let built = Frame::build(Version::V1_0, MessageType::HELLO, 1, &[&vec![0; size]]);
            assert_eq!(built.bytes().len(), (size + 8).min(65535));
            assert_eq!(Frame::new(built.clone().into_bytes()), Ok(built));
        }
    }
}
