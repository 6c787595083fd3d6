//! The eight bytes that every message begins with (OpenFlow 1.3, section 7.1).

use std::fmt;

use super::cursor::Reader;
use super::error::{DecodeError, OfError};

/// A version of OpenFlow as it stands on the wire. Any byte is one; those that this crate has heard of have names.
///
/// ```
/// use ovs_ofproto::codec::Version;
///
/// assert_eq!(Version::V1_3.to_string(), "OF1.3");
/// assert_eq!(Version::by_name("OpenFlow13"), Some(Version::V1_3));
/// assert!(Version::V1_0 < Version::V1_5);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version(pub u8);

impl Version {
    /// OpenFlow 1.0.
    pub const V1_0: Version = Version(1);
    /// OpenFlow 1.1.
    pub const V1_1: Version = Version(2);
    /// OpenFlow 1.2.
    pub const V1_2: Version = Version(3);
    /// OpenFlow 1.3.
    pub const V1_3: Version = Version(4);
    /// OpenFlow 1.4.
    pub const V1_4: Version = Version(5);
    /// OpenFlow 1.5.
    pub const V1_5: Version = Version(6);

    /// The versions with names, oldest first.
    pub const KNOWN: [Version; 6] =
        [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3, Version::V1_4, Version::V1_5];

    /// The version that options and the database call `name`: `OpenFlow10` to `OpenFlow15`.
    pub fn by_name(name: &str) -> Option<Version> {
        let minor = name.strip_prefix("OpenFlow1")?;
        Version::KNOWN.into_iter().find(|v| v.minor().is_some_and(|m| *minor == m.to_string()))
    }

    /// The number behind `1.`, of versions with names.
    pub fn minor(self) -> Option<u8> {
        Version::KNOWN.contains(&self).then(|| self.0.saturating_sub(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor() {
            Some(minor) => write!(f, "OF1.{minor}"),
            None => write!(f, "OF {:#04x}", self.0),
        }
    }
}

/// The type of a message, in the numbering of OpenFlow 1.3. Numbers differ between versions; those of hello, error,
/// echo and experimenter do not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageType(pub u8);

#[expect(missing_docs, reason = "the names are the specification's")]
impl MessageType {
    pub const HELLO: MessageType = MessageType(0);
    pub const ERROR: MessageType = MessageType(1);
    pub const ECHO_REQUEST: MessageType = MessageType(2);
    pub const ECHO_REPLY: MessageType = MessageType(3);
    pub const EXPERIMENTER: MessageType = MessageType(4);
    pub const FEATURES_REQUEST: MessageType = MessageType(5);
    pub const FEATURES_REPLY: MessageType = MessageType(6);
    pub const PACKET_IN: MessageType = MessageType(10);
    pub const PACKET_OUT: MessageType = MessageType(13);
    pub const FLOW_MOD: MessageType = MessageType(14);
    pub const MULTIPART_REQUEST: MessageType = MessageType(18);
    pub const MULTIPART_REPLY: MessageType = MessageType(19);
    pub const BARRIER_REQUEST: MessageType = MessageType(20);
    pub const BARRIER_REPLY: MessageType = MessageType(21);
}

/// What every message begins with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// Version of the message.
    pub version: Version,
    /// Its type, in that version's numbering.
    pub kind: MessageType,
    /// Its length in bytes, this header included.
    pub length: u16,
    /// Transaction id: a reply repeats the request's.
    pub xid: u32,
}

impl Header {
    /// Length of a header in bytes.
    pub const LEN: usize = 8;

    /// Reads the header of `message` and nothing else.
    ///
    /// # Errors
    /// [`OfError::BadRequestBadLength`] if there are fewer than eight bytes.
    pub fn decode(message: &[u8]) -> Result<Header, DecodeError> {
        Header::read(&mut Reader::new(message).or(&OfError::BadRequestBadLength))
    }

    #[inline(always)]
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Header, DecodeError> {
        if let Some([version, kind, a, b, c, d, e, f]) = r.peek().first_chunk::<8>() {
            let (length, xid) = (u16::from_be_bytes([*a, *b]), u32::from_be_bytes([*c, *d, *e, *f]));
            r.skip(Header::LEN)?;
            return Ok(Header { version: Version(*version), kind: MessageType(*kind), length, xid });
        }
        Ok(Header { version: Version(r.u8()?), kind: MessageType(r.u8()?), length: r.u16()?, xid: r.u32()? })
    }
}
