//! The header of GTP-U, behind UDP port 2152 (3GPP TS 29.281, clause 5).
//!
//! ```text
//!   0  version 1 (3 bits), PT 1, reserved, E, S, PN
//!   1  message type
//!   2  length of all that is behind the first 8 bytes
//!   4  tunnel endpoint id
//!      if E, S or PN:
//!   8  sequence number (2), N-PDU number, type of the first extension
//!  12  extensions: length of all of it in 32-bit words (1), content, type of the next one (1); 0 is none
//! ```
//!
//! The four bytes at 8 are there when any of the three flags is, but each part means something only with its own. An
//! IP packet is behind the header of a message of type 255, and what else, the message type says.

use core::fmt;

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Fault, Reader, Vec, Wire, Writer, code_points, view};

/// The UDP port.
pub const UDP_PORT: u16 = 2152;

const NAME: &str = "GTP-U";
const EXTENSION: &str = "GTP-U extension";
const HEAD: usize = 8;
/// Version 1, protocol type GTP.
const VERSION_TYPE: u8 = 0x30;
const HAS_EXTENSION: u8 = 0x04;
const HAS_SEQUENCE: u8 = 0x02;
const HAS_NPDU: u8 = 0x01;

code_points! {
    /// The type of a message.
    MessageType: u8 {
        /// Is somebody there?
        ECHO_REQUEST = 1, "echo request";
        /// The answer.
        ECHO_RESPONSE = 2, "echo response";
        /// There is no such tunnel.
        ERROR_INDICATION = 26, "error indication";
        /// Which extensions are supported.
        SUPPORTED_EXTENSIONS = 31, "supported extensions";
        /// Nothing more comes by this tunnel.
        END_MARKER = 254, "end marker";
        /// A packet of the user.
        G_PDU = 255, "G-PDU";
    }
}

code_points! {
    /// The type of an extension.
    ExtensionType: u8 {
        /// There is no more.
        NONE = 0x00, "none";
        /// A UDP port.
        UDP_PORT = 0x40, "UDP port";
        /// PDU session information (5G).
        PDU_SESSION = 0x85, "PDU session";
        /// A PDCP PDU number.
        PDCP_NUMBER = 0xc0, "PDCP PDU number";
    }
}

/// The header, and what is behind it, in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    flags: u8,
    /// The type of the message; see [`MessageType`].
    pub message: u8,
    length: U16,
    /// The tunnel endpoint id.
    pub teid: U32,
    rest: [u8],
}

view!(View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        if self.flags & 0xf0 != VERSION_TYPE {
            return Err(Error::value("GTP-U version", 0, self.flags >> 4));
        }
        if self.optional() && self.rest.len() < 4 {
            return Err(Error::truncated(NAME, HEAD + self.rest.len()));
        }
        let mut extensions = self.read_extensions();
        extensions.by_ref().try_for_each(|extension| extension.map(drop))?;
        if HEAD + usize::from(self.length.get()) < extensions.rest.position() {
            return Err(Error::length("GTP-U length", 2, self.length.get().into()));
        }
        Ok(())
    }

    fn optional(&self) -> bool {
        self.flags & (HAS_EXTENSION | HAS_SEQUENCE | HAS_NPDU) != 0
    }

    /// A byte of the optional four, with the flag that makes it mean something.
    fn option<const N: usize>(&self, flag: u8, at: usize) -> Option<[u8; N]> {
        if self.flags & flag == 0 { None } else { self.rest.get(at..)?.first_chunk().copied() }
    }

    fn read_extensions(&self) -> Extensions<'_> {
        let skip = if self.optional() { 4 } else { 0 };
        let rest = Reader::at(EXTENSION, self.rest.get(skip..).unwrap_or_default(), HEAD + skip);
        let [next] = self.option(HAS_EXTENSION, 3).unwrap_or([0]);
        Extensions { rest, next: ExtensionType(next) }
    }

    /// The sequence number.
    pub fn sequence(&self) -> Option<u16> {
        self.option(HAS_SEQUENCE, 0).map(u16::from_be_bytes)
    }

    /// The sequence number, to be changed.
    pub fn sequence_mut(&mut self) -> Option<&mut U16> {
        let rest = Some(&mut self.rest).filter(|_| self.flags & HAS_SEQUENCE != 0)?;
        U16::mut_from_prefix(rest).ok().map(|(sequence, _)| sequence)
    }

    /// The N-PDU number.
    pub fn npdu(&self) -> Option<u8> {
        self.option(HAS_NPDU, 2).map(|[npdu]| npdu)
    }

    /// The type and content of each extension.
    pub fn extensions(&self) -> impl Iterator<Item = (ExtensionType, &[u8])> {
        self.read_extensions().map_while(Result::ok)
    }

    /// The length of the header, with its extensions.
    pub fn header_len(&self) -> usize {
        let mut extensions = self.read_extensions();
        extensions.by_ref().for_each(drop);
        extensions.rest.position()
    }

    /// The length of the payload, as the header has it.
    pub fn payload_len(&self) -> u16 {
        // The check saw to it that the header is not longer than all.
        self.length.get() - (self.header_len() - HEAD) as u16
    }

    /// Sets the length of the payload.
    pub fn set_payload_len(&mut self, len: u16) -> Result<(), Error> {
        let length = self.header_len() - HEAD + usize::from(len);
        let length = u16::try_from(length).map_err(|_| Error::length("GTP-U length", 2, length))?;
        self.length.set(length);
        Ok(())
    }

    /// What is behind the header; an error if it is shorter than the header says.
    pub fn payload(&self) -> Result<&[u8], Error> {
        let cut = Error::length("GTP-U length", 2, self.length.get().into());
        self.rest.get(self.header_len() - HEAD..usize::from(self.length.get())).ok_or(cut)
    }
}

/// The type and content of each extension. It ends after the first error.
#[derive(Clone, Debug)]
struct Extensions<'a> {
    rest: Reader<'a>,
    next: ExtensionType,
}

impl<'a> Extensions<'a> {
    fn read(&mut self) -> Result<&'a [u8], Error> {
        let at = self.rest.position();
        let words = self.rest.u8()?;
        let bad = Error::length(EXTENSION, at, words.into());
        // The length is with its own byte and that of the next one's type.
        let content = self.rest.take((4 * usize::from(words)).checked_sub(2).ok_or(bad)?).map_err(|_| bad)?;
        self.next = ExtensionType(self.rest.u8().map_err(|_| bad)?);
        Ok(content)
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Result<(ExtensionType, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = self.next;
        if kind == ExtensionType::NONE {
            return None;
        }
        let content = self.read();
        if content.is_err() {
            self.next = ExtensionType::NONE;
        }
        Some(content.map(|content| (kind, content)))
    }
}

/// An extension.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Extension {
    /// Its type; not [`ExtensionType::NONE`].
    pub kind: ExtensionType,
    /// Its content: two bytes, or six, and so on.
    pub content: Vec<u8>,
}

/// The header.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The type of the message.
    pub message: MessageType,
    /// The tunnel endpoint id.
    pub teid: u32,
    /// The sequence number.
    pub sequence: Option<u16>,
    /// The N-PDU number.
    pub npdu: Option<u8>,
    /// Extensions.
    pub extensions: Vec<Extension>,
    /// The length of the payload.
    pub payload_len: u16,
}

impl Header {
    /// The header of a user's packet of `payload_len` bytes in this tunnel.
    pub const fn user(teid: u32, payload_len: u16) -> Header {
        let message = MessageType::G_PDU;
        Header { message, teid, sequence: None, npdu: None, extensions: Vec::new(), payload_len }
    }

    fn flags(&self) -> u8 {
        let flag = |is: bool, flag| if is { flag } else { 0 };
        flag(!self.extensions.is_empty(), HAS_EXTENSION)
            | flag(self.sequence.is_some(), HAS_SEQUENCE)
            | flag(self.npdu.is_some(), HAS_NPDU)
    }
}

impl Wire for Header {
    /// Bytes may end before the payload does; see [`View::payload`].
    fn parse(bytes: &[u8]) -> Result<Header, Error> {
        let view = View::new(bytes)?;
        Ok(Header {
            message: MessageType(view.message),
            teid: view.teid.get(),
            sequence: view.sequence(),
            npdu: view.npdu(),
            extensions: view
                .extensions()
                .map(|(kind, content)| Extension { kind, content: content.to_vec() })
                .collect(),
            payload_len: view.payload_len(),
        })
    }

    fn len(&self) -> usize {
        let extensions: usize = self.extensions.iter().map(|extension| 2 + extension.content.len()).sum();
        HEAD + if self.flags() == 0 { 0 } else { 4 } + extensions
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        w.put(&[VERSION_TYPE | self.flags(), self.message.0])?;
        w.u16(w.fits("GTP-U length", self.len() - HEAD + usize::from(self.payload_len), u16::MAX.into())?)?;
        w.u32(self.teid)?;
        if self.flags() != 0 {
            w.u16(self.sequence.unwrap_or(0))?;
            w.u8(self.npdu.unwrap_or(0))?;
            for Extension { kind, content } in &self.extensions {
                if *kind == ExtensionType::NONE {
                    return Err(Error::new(EXTENSION, w.position(), Fault::Misplaced));
                }
                w.u8(kind.0)?;
                if content.len() % 4 != 2 {
                    return Err(Error::length(EXTENSION, w.position(), content.len()));
                }
                w.u8(w.fits(EXTENSION, (content.len() + 2) / 4, 255)?)?;
                w.put(content)?;
            }
            w.u8(ExtensionType::NONE.0)?;
        }
        Ok(w.position())
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GTP-U {} teid {:#x}", self.message, self.teid)?;
        self.sequence.map_or(Ok(()), |n| write!(f, " sequence {n}"))?;
        self.npdu.map_or(Ok(()), |n| write!(f, " N-PDU {n}"))?;
        self.extensions.iter().try_for_each(|e| write!(f, " extension {} ({} bytes)", e.kind, e.content.len()))?;
        write!(f, " payload {} bytes", self.payload_len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec;

    use super::*;
    use crate::wire::tests::{any_bytes, changed, hex, laws, no_prefix, refused};

    fn header() -> impl Strategy<Value = Header> {
        let extension = (1u8.., prop::collection::vec(any::<u8>(), 2..14)).prop_map(|(kind, mut content)| {
            content.truncate(content.len() / 4 * 4 + 2 - if content.len() % 4 < 2 { 4 } else { 0 });
            Extension { kind: ExtensionType(kind), content }
        });
        (any::<(u8, u32, Option<u16>, Option<u8>)>(), prop::collection::vec(extension, 0..4), 0u16..60000).prop_map(
            |((message, teid, sequence, npdu), extensions, payload_len)| Header {
                message: MessageType(message),
                teid,
                sequence,
                npdu,
                extensions,
                payload_len,
            },
        )
    }

    proptest! {
        #[test]
        fn headers_come_back(header in header()) {
            no_prefix::<Header>(&laws(&header));
        }

        #[test]
        fn any_bytes_end(header in header(), at: prop::sample::Index, to: u8) {
            any_bytes::<Header>(&changed(&header, &[1; 9], at, to));
        }

        #[test]
        fn a_payload_is_found(header in header(), payload in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut packet = [header.to_vec().unwrap(), payload.clone()].concat();
            let view = View::new_mut(&mut packet).unwrap();
            view.set_payload_len(payload.len() as u16).unwrap();
            prop_assert_eq!((view.header_len(), view.payload()), (header.len(), Ok(&payload[..])));
            view.set_payload_len(payload.len() as u16 + 1).unwrap();
            prop_assert!(view.payload().is_err());
        }
    }

    #[test]
    fn layout_is_that_of_the_specification() {
        assert_eq!(laws(&Header::user(0x01020304, 20)), hex("30 ff 0014 01020304"));
        let numbered = Header { sequence: Some(0x0506), ..Header::user(1, 20) };
        assert_eq!(laws(&numbered), hex("32 ff 0018 00000001 0506 00 00"));
        let session = Extension { kind: ExtensionType::PDU_SESSION, content: vec![0x10, 9] };
        let with = Header { npdu: Some(7), extensions: vec![session.clone(), session], ..numbered };
        assert_eq!(laws(&with), hex("37 ff 0020 00000001 0506 07 85  01 1009 85  01 1009 00"));
        assert_eq!(
            with.to_string(),
            "GTP-U G-PDU teid 0x1 sequence 1286 N-PDU 7 extension PDU session (2 bytes) \
             extension PDU session (2 bytes) payload 20 bytes"
        );
        // Without its flag, a part means nothing.
        let odd = Header::parse(&hex("31 ff 0004 00000001 0506 07 85")).unwrap();
        assert_eq!(odd, Header { npdu: Some(7), ..Header::user(1, 0) });
    }

    #[test]
    fn versions_and_lengths_are_checked() {
        assert_eq!(refused::<Header>(&hex("20 ff 0000 00000001")), Error::value("GTP-U version", 0, 2u8));
        assert_eq!(refused::<Header>(&hex("50 ff 0000 00000001")), Error::value("GTP-U version", 0, 5u8));
        assert_eq!(refused::<Header>(&hex("32 ff 0003 00000001 0506 00 00")), Error::length("GTP-U length", 2, 3));
        // An extension of length zero would never end.
        let zero = hex("34 ff 0014 00000001 0000 00 85  00 0000 85  00 0000 85");
        assert_eq!(refused::<Header>(&zero), Error::length(EXTENSION, 12, 0));
        assert_eq!(
            refused::<Header>(&hex("34 ff 0008 00000001 0000 00 85  02 0000 00")),
            Error::length(EXTENSION, 12, 2)
        );
        assert_eq!(refused::<Header>(&hex("34 ff 0004 00000001 0000 00 85")), Error::truncated(EXTENSION, 12));
    }

    #[test]
    fn what_cannot_be_sent_is_not_emitted() {
        let with = |kind, len| Header {
            extensions: vec![Extension { kind: ExtensionType(kind), content: vec![0; len] }],
            ..Header::user(1, 0)
        };
        assert!(with(1, 1018).to_vec().is_ok());
        for bad in [with(0, 2), with(1, 4), with(1, 1022), Header { sequence: Some(1), ..Header::user(1, 65532) }] {
            assert!(bad.to_vec().is_err(), "{bad}");
        }
    }

    #[test]
    fn fields_are_patched_in_place() {
        let mut bytes = Header { sequence: Some(1), ..Header::user(1, 2) }.to_vec().unwrap();
        let view = View::new_mut(&mut bytes).unwrap();
        view.sequence_mut().unwrap().set(9);
        view.teid.set(8);
        assert_eq!(Header::parse(&bytes), Ok(Header { sequence: Some(9), ..Header::user(8, 2) }));
        let mut plain = Header::user(1, 2).to_vec().unwrap();
        assert!(View::new_mut(&mut plain).unwrap().sequence_mut().is_none());
    }
}
