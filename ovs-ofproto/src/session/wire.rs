//! The little of the wire that a session knows: the seam to the codec.
//!
//! Everything that depends on how messages look is here: hello, echo, error, which messages a version has numbers for
//! that a conversation hangs on (barriers, multipart replies). The rest of a session handles [`Frame`]s.

use std::fmt;

use super::frame::Frame;
use crate::codec::{Hello, Message, MessageType, Version, Versions};

const OFPMPF_REPLY_MORE: u16 = 1;

/// OFPET_HELLO_FAILED, OFPHFC_INCOMPATIBLE.
const HELLO_INCOMPATIBLE: (u16, u16) = (0, 0);
/// OFPET_BAD_REQUEST, OFPBRC_BAD_VERSION.
const BAD_VERSION: (u16, u16) = (1, 0);
/// OFPET_BAD_REQUEST, OFPBRC_BAD_TYPE.
const BAD_TYPE: (u16, u16) = (1, 1);
/// OFPET_BAD_REQUEST, OFPBRC_BAD_LEN.
const BAD_LENGTH: (u16, u16) = (1, 6);

/// How much of a request an error repeats.
const REPEATED: usize = 64;

/// An error that a peer sent, in the numbers of its version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("error type {kind}, code {code}{}", Text(.data, *.kind))]
pub struct ErrorReply {
    /// The version of the message.
    pub version: Version,
    /// Its transaction id, which is that of the request.
    pub xid: u32,
    /// `OFPET_*`.
    pub kind: u16,
    /// The code within the type.
    pub code: u16,
    /// The beginning of the request; text if the type is OFPET_HELLO_FAILED (0).
    pub data: Vec<u8>,
}

struct Text<'a>(&'a [u8], u16);

impl fmt::Display for Text<'_> {
    /// The text of a failed hello, without what would upset a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Text(data, 0) = self else { return Ok(()) };
        let text = String::from_utf8_lossy(data);
        let text = text.trim_end_matches('\0');
        if text.is_empty() { Ok(()) } else { write!(f, ": {}", text.escape_debug()) }
    }
}

impl ErrorReply {
    /// The error that a message is; nothing, if it is none.
    pub fn of(frame: &Frame) -> Option<ErrorReply> {
        let (MessageType::ERROR, &[a, b, c, d, ref data @ ..]) = (frame.kind(), frame.body()) else { return None };
        Some(ErrorReply {
            version: frame.version(),
            xid: frame.xid(),
            kind: u16::from_be_bytes([a, b]),
            code: u16::from_be_bytes([c, d]),
            data: data.to_vec(),
        })
    }

    /// The message, as it came.
    pub fn to_frame(&self) -> Frame {
        error((self.kind, self.code), self.version, self.xid, &self.data)
    }
}

/// The hello of one who speaks `versions`. A set of all versions up to one is said as old peers say it, by the header
/// alone; nothing, if the set is empty.
pub(super) fn hello(versions: Versions, xid: u32) -> Option<Frame> {
    let highest = versions.highest()?;
    let hello = if versions == Versions::up_to(highest) { Hello::default() } else { Hello::new(versions) };
    Frame::new(Message::Hello(hello).encode(highest, xid).ok()?).ok()
}

/// The versions that a hello's sender speaks. What is not understood in it counts as not there.
pub(super) fn hello_versions(frame: &Frame) -> Versions {
    match Message::decode(frame.bytes()) {
        Ok((_, Message::Hello(hello))) => hello.versions(frame.version()),
        _ => Versions::up_to(frame.version()),
    }
}

pub(super) fn echo_request(version: Version, xid: u32) -> Frame {
    Frame::build(version, MessageType::ECHO_REQUEST, xid, &[])
}

pub(super) fn echo_reply(request: &Frame) -> Frame {
    Frame::build(request.version(), MessageType::ECHO_REPLY, request.xid(), &[request.body()])
}

fn error((kind, code): (u16, u16), version: Version, xid: u32, data: &[u8]) -> Frame {
    Frame::build(version, MessageType::ERROR, xid, &[&kind.to_be_bytes(), &code.to_be_bytes(), data])
}

/// The answer to a hello with which there is no version in common.
pub(super) fn hello_failed(hello: &Frame, version: Version, text: &str) -> Frame {
    error(HELLO_INCOMPATIBLE, version, hello.xid(), text.as_bytes())
}

fn answer(numbers: (u16, u16), version: Version, request: &Frame) -> Frame {
    let data = request.bytes();
    error(numbers, version, request.xid(), data.get(..REPEATED).unwrap_or(data))
}

pub(super) fn bad_version(request: &Frame, version: Version) -> Frame {
    answer(BAD_VERSION, version, request)
}

pub(super) fn bad_type(request: &Frame, version: Version) -> Frame {
    answer(BAD_TYPE, version, request)
}

pub(super) fn bad_length(version: Version) -> Frame {
    error(BAD_LENGTH, version, 0, &[])
}

/// A barrier request: answered when all before it is done.
pub(super) fn barrier_request(version: Version, xid: u32) -> Frame {
    let kind = if version == Version::V1_0 { MessageType(18) } else { MessageType::BARRIER_REQUEST };
    Frame::build(version, kind, xid, &[])
}

/// Whether a type of message is of those that any version may say at any time.
pub(super) fn is_of_any_version(kind: MessageType) -> bool {
    matches!(kind, MessageType::HELLO | MessageType::ERROR | MessageType::ECHO_REQUEST | MessageType::ECHO_REPLY)
}

/// Whether a message is a part of a multipart reply that others follow.
pub(super) fn has_more(frame: &Frame) -> bool {
    let reply = if frame.version() == Version::V1_0 { MessageType(17) } else { MessageType::MULTIPART_REPLY };
    let &[_, _, high, low, ..] = frame.body() else { return false };
    frame.kind() == reply && u16::from_be_bytes([high, low]) & OFPMPF_REPLY_MORE != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_says_a_set_only_where_it_must() {
        let plain = hello(Versions::up_to(Version::V1_3), 5).unwrap();
        assert_eq!(plain.bytes(), [4, 0, 0, 8, 0, 0, 0, 5]);
        let set: Versions = [Version::V1_0, Version::V1_3].into_iter().collect();
        let with_set = hello(set, 5).unwrap();
        assert_eq!(with_set.bytes(), [4, 0, 0, 16, 0, 0, 0, 5, 0, 1, 0, 8, 0, 0, 0, 0x12]);
        assert_eq!(hello_versions(&with_set), set);
        assert_eq!(hello_versions(&plain), Versions::up_to(Version::V1_3));
        assert_eq!(hello(Versions::default(), 5), None);
    }

    #[test]
    fn a_hello_with_a_body_that_is_none_means_its_header() {
        let odd = Frame::build(Version::V1_1, MessageType::HELLO, 1, &[b"hello, world!"]);
        assert_eq!(hello_versions(&odd), Versions::up_to(Version::V1_1));
        assert_eq!(hello_versions(&Frame::build(Version(0), MessageType::HELLO, 1, &[])), Versions::default());
    }

    #[test]
    fn errors_are_read_as_they_are_written() {
        let hello = Frame::build(Version::V1_5, MessageType::HELLO, 3, &[]);
        let failed = hello_failed(&hello, Version::V1_5, "no\x1b[2J");
        assert_eq!(failed.bytes(), b"\x06\x01\x00\x12\x00\x00\x00\x03\x00\x00\x00\x00no\x1b[2J");
        let read = ErrorReply::of(&failed).unwrap();
        assert_eq!(read.to_string(), "error type 0, code 0: no\\u{1b}[2J");
        assert_eq!(read.to_frame(), failed);
        let long = Frame::build(Version::V1_3, MessageType(99), 3, &[&[7; 100]]);
        let refused = ErrorReply::of(&bad_type(&long, Version::V1_3)).unwrap();
        assert_eq!((refused.kind, refused.code, refused.data.len()), (1, 1, 64));
        assert_eq!(ErrorReply::of(&Frame::build(Version::V1_3, MessageType::ERROR, 3, &[&[0; 3]])), None);
        assert_eq!(ErrorReply::of(&hello), None);
    }

    #[test]
    fn numbers_follow_the_version() {
        assert_eq!(barrier_request(Version::V1_0, 1).kind(), MessageType(18));
        assert_eq!(barrier_request(Version::V1_1, 1).kind(), MessageType(20));
        for (version, kind) in [(Version::V1_0, 17), (Version::V1_5, 19)] {
            for (flags, more) in [(1, true), (0, false), (3, true)] {
                let part = Frame::build(version, MessageType(kind), 1, &[&[0, 1, 0, flags, 0, 0, 0, 0]]);
                assert_eq!(has_more(&part), more);
            }
        }
        assert!(!has_more(&Frame::build(Version::V1_3, MessageType(17), 1, &[&[0, 1, 0, 1]])));
        assert!(!has_more(&Frame::build(Version::V1_3, MessageType(19), 1, &[&[0, 1]])));
    }
}
