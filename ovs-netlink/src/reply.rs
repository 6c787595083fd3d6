//! Answers: acknowledgements, and the exchange that a request begins.
//!
//! [`Exchange`] is the reader of answers without a socket: it takes the messages that arrive and says of each whether it
//! is part of the answer, ends it, or means that the request failed. A request with [`Flags::ACK`] and a dump both end
//! with a message of netlink itself, so that one reader serves for both.

use byteorder::{ByteOrder, NativeEndian};

use crate::attr::{Attributes, padding};
use crate::error::DecodeError;
use crate::message::{Flags, Header, Message, kind};

/// What the kernel says about a request beyond the error number (`linux/netlink.h`: `enum nlmsgerr_attrs`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtendedAck {
    /// A sentence for people.
    pub message: Option<String>,
    /// The offset in the request of the attribute that is wrong.
    pub offset: Option<u32>,
    /// The type of the attribute that is missing.
    pub missing_attribute: Option<u32>,
    /// The offset in the request of the nest in which it is missing; nothing when that is the message itself.
    pub missing_in: Option<u32>,
    /// What the family uses to identify what was made.
    pub cookie: Option<Vec<u8>>,
}

/// An acknowledgement, or the end of a dump: an error number and what the kernel says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The error number (`errno`), 0 for none.
    pub errno: i32,
    /// What the kernel says beyond it.
    pub extended: ExtendedAck,
}

impl std::fmt::Display for Ack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.errno))?;
        let extended = &self.extended;
        if let Some(message) = &extended.message {
            write!(f, ": {message}")?;
        }
        if let Some(offset) = extended.offset {
            write!(f, " (at byte {offset} of the request)")?;
        }
        if let Some(attribute) = extended.missing_attribute {
            write!(f, " (attribute {attribute} is missing)")?;
        }
        Ok(())
    }
}

impl Ack {
    /// Reads a message of the type [`kind::ERROR`] or [`kind::DONE`].
    ///
    /// # Errors
    /// [`DecodeError`] when it is too short, or its attributes are not attributes.
    pub fn decode(message: &Message<'_>) -> Result<Ack, DecodeError> {
        let flags = message.header.flags;
        // A dump of an old kernel ends without an error number.
        let is_done = message.header.kind == kind::DONE;
        if is_done && message.payload().is_empty() {
            return Ok(Ack { errno: 0, extended: ExtendedAck::default() });
        }
        let error = NativeEndian::read_i32(message.fixed::<4>(0)?);
        let errno = error.saturating_neg();
        let mut start = 4_usize;
        if !is_done {
            let request = Header::decode(message.fixed(4)?);
            start = start.saturating_add(Header::SIZE);
            if !flags.contains(Flags::CAPPED) {
                let length = usize::try_from(request.length).unwrap_or(usize::MAX);
                let echoed = length.saturating_sub(Header::SIZE);
                start = start.saturating_add(echoed).saturating_add(padding(length));
            }
        }
        let extended = if flags.contains(Flags::ACK_ATTRIBUTES) {
            ExtendedAck::decode(message.attributes(start)?)?
        } else {
            ExtendedAck::default()
        };
        Ok(Ack { errno, extended })
    }
}

impl ExtendedAck {
    fn decode(attributes: Attributes<'_>) -> Result<ExtendedAck, DecodeError> {
        let mut extended = ExtendedAck::default();
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind() {
                1 => extended.message = Some(String::from_utf8_lossy(attribute.str_bytes()?).into_owned()),
                2 => extended.offset = Some(attribute.u32()?),
                3 => extended.cookie = Some(attribute.payload().to_vec()),
                5 => extended.missing_attribute = Some(attribute.u32()?),
                6 => extended.missing_in = Some(attribute.u32()?),
                _ => {}
            }
        }
        Ok(extended)
    }
}

/// Why a request has no good answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The kernel refused the request.
    #[error("the kernel refused: {0}")]
    Refused(Ack),
    /// What the dump shows changed meanwhile: it may be inconsistent, and is to be repeated.
    #[error("the dump was interrupted by a change")]
    Interrupted,
    /// The kernel lost messages.
    #[error("messages were lost")]
    Overrun,
    /// The answer is not what it should be.
    #[error("bad answer: {0}")]
    Decode(#[from] DecodeError),
}

/// What a message means for the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The message is not part of this exchange.
    Foreign,
    /// The message is part of the answer.
    Part(Message<'a>),
    /// The answer is complete.
    Done,
}

/// A request that was sent, and its answer.
///
/// ```
/// use ovs_netlink::{Exchange, Flags, Messages, Step, Writer};
///
/// let mut exchange = Exchange::new(0);
/// let mut datagram = Vec::new();
/// Writer::message(&mut datagram, 20, Flags::MULTI, |_| Ok(()))?;
/// Writer::message(&mut datagram, 3, Flags::MULTI, |end| {
///     end.raw(&[0; 4]);
///     Ok(())
/// })?;
/// let mut messages = Messages::new(&datagram);
/// assert!(matches!(exchange.step(messages.next().unwrap()?)?, Step::Part(_)));
/// assert_eq!(exchange.step(messages.next().unwrap()?)?, Step::Done);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Exchange {
    sequence: u32,
    interrupted: bool,
}

impl Exchange {
    /// The exchange that a request with this sequence number begins.
    pub fn new(sequence: u32) -> Exchange {
        Exchange { sequence, interrupted: false }
    }

    /// Takes the next message that arrived.
    ///
    /// # Errors
    /// [`ReplyError`]; the exchange is then over, except after [`ReplyError::Decode`], when the end may be still to come.
    pub fn step<'a>(&mut self, message: Message<'a>) -> Result<Step<'a>, ReplyError> {
        let header = message.header;
        if header.kind == kind::OVERRUN {
            return Err(ReplyError::Overrun);
        }
        if header.sequence != self.sequence || header.kind == kind::NOOP {
            return Ok(Step::Foreign);
        }
        self.interrupted |= header.flags.contains(Flags::DUMP_INTERRUPTED);
        if !matches!(header.kind, kind::ERROR | kind::DONE) {
            return Ok(Step::Part(message));
        }
        match Ack::decode(&message)? {
            ack if ack.errno != 0 => Err(ReplyError::Refused(ack)),
            _ if self.interrupted => Err(ReplyError::Interrupted),
            _ => Ok(Step::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Writer;
    use crate::message::Messages;
    use proptest::prelude::*;

    fn step(kind: u16, flags: Flags, payload: &[u8], attributes: impl Fn(&mut Writer<'_>)) -> Result<bool, ReplyError> {
        let mut bytes = Vec::new();
        Writer::message(&mut bytes, kind, flags, |writer| {
            writer.raw(payload);
            attributes(writer);
            Ok(())
        })
        .unwrap();
        Header::stamp(&mut bytes, 5, 0);
        let message = Messages::new(&bytes).next().unwrap().unwrap();
        Exchange::new(5).step(message).map(|step| step == Step::Done)
    }

    fn error(errno: i32, request: &[u8]) -> Vec<u8> {
        [&(-errno).to_ne_bytes()[..], request].concat()
    }

    #[test]
    fn acknowledgements_with_and_without_the_request() {
        let mut request = Vec::new();
        Writer::message(&mut request, 30, Flags::REQUEST, |writer| {
            writer.u32(1, 2);
            Ok(())
        })
        .unwrap();
        assert_eq!(step(2, Flags::empty(), &error(0, &request[..16]), |_| ()), Ok(true));
        let words = |writer: &mut Writer<'_>| {
            writer.str(1, "no such thing").unwrap().u32(2, 20).u32(5, 3);
        };
        let extended = ExtendedAck {
            message: Some("no such thing".to_owned()),
            offset: Some(20),
            missing_attribute: Some(3),
            ..ExtendedAck::default()
        };
        let refused = ReplyError::Refused(Ack { errno: 22, extended });
        // The request echoed whole (24 bytes), or capped to its header.
        assert_eq!(step(2, Flags::ACK_ATTRIBUTES, &error(22, &request), words), Err(refused.clone()));
        assert_eq!(
            step(2, Flags::ACK_ATTRIBUTES | Flags::CAPPED, &error(22, &request[..16]), words),
            Err(refused.clone())
        );
        let text = refused.to_string();
        assert!(text.contains("Invalid argument (os error 22): no such thing (at byte 20"), "{text}");
    }

    #[test]
    fn ends_of_dumps() {
        assert_eq!(step(3, Flags::MULTI, &[], |_| ()), Ok(true));
        assert_eq!(step(3, Flags::MULTI, &error(0, &[]), |_| ()), Ok(true));
        assert!(matches!(
            step(3, Flags::MULTI, &error(1, &[]), |_| ()),
            Err(ReplyError::Refused(Ack { errno: 1, .. }))
        ));
        let interrupted = Flags::MULTI | Flags::DUMP_INTERRUPTED;
        assert_eq!(step(3, interrupted, &error(0, &[]), |_| ()), Err(ReplyError::Interrupted));
        assert_eq!(step(4, Flags::empty(), &[], |_| ()), Err(ReplyError::Overrun));
        assert_eq!(step(1, Flags::empty(), &[], |_| ()), Ok(false));
        assert!(matches!(step(2, Flags::empty(), &[0; 8], |_| ()), Err(ReplyError::Decode(_))));
    }

    #[test]
    fn an_echo_that_claims_too_much_is_an_error() {
        let mut header = [0; 16];
        header[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        let result = step(2, Flags::ACK_ATTRIBUTES, &error(22, &header), |_| ());
        assert!(matches!(result, Err(ReplyError::Decode(_))));
    }

    proptest! {
        #[test]
        fn random_answers_never_panic(
            kind in 0u16..20,
            flags in any::<u16>(),
            payload in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = step(kind, Flags::from_bits_retain(flags), &payload, |_| ());
        }
    }
}
