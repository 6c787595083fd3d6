//! The network service header (RFC 8300, 2) with metadata of type 1 and 2.
//!
//! ```text
//!   0  version 0 (2 bits), O, reserved, TTL (6), length in 32-bit words (6)
//!   2  reserved (4), metadata type (4)
//!   3  next protocol
//!   4  service path (3)                 7  service index
//!   8  type 1: four words of context (16)
//!      type 2: contexts: class (2), type (1), length in bytes (1), data, filled up to whole words
//! ```
//!
//! Other types of metadata are refused.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Reader, Vec, Wire, Writer, code_points, parts, view};

/// The Ethertype.
pub const ETH_TYPE: u16 = 0x894f;
/// The most bytes that a header has.
pub const MAX_LEN: usize = 252;

const NAME: &str = "NSH";
const CONTEXT: &str = "NSH context";
const HEAD: usize = 8;
const OAM: u16 = 0x2000;

code_points! {
    /// What is behind the header.
    NextProtocol: u8 {
        /// IPv4.
        IPV4 = 1, "ipv4";
        /// IPv6.
        IPV6 = 2, "ipv6";
        /// An Ethernet frame.
        ETHERNET = 3, "ethernet";
        /// Another network service header.
        NSH = 4, "nsh";
        /// MPLS.
        MPLS = 5, "mpls";
    }
}

/// The header, and what is behind it, in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    base: [u8; 2],
    metadata_type: u8,
    /// What is behind the header; see [`NextProtocol`].
    pub next_protocol: u8,
    path: [u8; 3],
    /// The service index.
    pub index: u8,
    rest: [u8],
}

view!(View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        let len = self.header_len();
        if self.base() >> 14 != 0 {
            Err(Error::value("NSH version", 0, self.base() >> 14))
        } else if len < HEAD || len > HEAD + self.rest.len() {
            Err(Error::length("NSH length", 1, len))
        } else {
            match self.metadata_type() {
                1 if len != HEAD + 16 => Err(Error::length("NSH length", 1, len)),
                1 => Ok(()),
                2 => self.read_contexts().try_for_each(|context| context.map(drop)),
                other => Err(Error::value("NSH metadata type", 2, other)),
            }
        }
    }

    fn base(&self) -> u16 {
        u16::from_be_bytes(self.base)
    }

    fn set_base(&mut self, mask: u16, bits: u16) {
        self.base = (self.base() & !mask | bits & mask).to_be_bytes();
    }

    fn metadata(&self) -> &[u8] {
        self.rest.get(..self.header_len().saturating_sub(HEAD)).unwrap_or_default()
    }

    fn read_contexts(&self) -> impl Iterator<Item = Result<(u16, u8, &[u8]), Error>> {
        let metadata = if self.metadata_type() == 2 { self.metadata() } else { &[] };
        parts(Reader::at(CONTEXT, metadata, HEAD), |r| {
            let (class, at) = (r.u16()?, r.position() + 1);
            let [kind, length] = r.array()?;
            let length = usize::from(length & 0x7f);
            let bad = Error::length(CONTEXT, at, length);
            let data = r.take(length.next_multiple_of(4)).map_err(|_| bad)?;
            Ok(Some((class, kind, data.get(..length).ok_or(bad)?)))
        })
    }

    /// The length of the header.
    pub fn header_len(&self) -> usize {
        4 * usize::from(self.base() & 0x3f)
    }

    /// What is behind the header.
    pub fn payload(&self) -> &[u8] {
        self.rest.get(self.header_len() - HEAD..).unwrap_or_default()
    }

    /// How many more service functions may see the packet.
    pub fn ttl(&self) -> u8 {
        (self.base() >> 6 & 0x3f) as u8
    }

    /// Sets the time to live, of which the lower 6 bits are taken.
    pub fn set_ttl(&mut self, ttl: u8) {
        self.set_base(0x3f << 6, u16::from(ttl) << 6);
    }

    /// Whether it is an OAM packet.
    pub fn oam(&self) -> bool {
        self.base() & OAM != 0
    }

    /// Sets whether it is an OAM packet.
    pub fn set_oam(&mut self, oam: bool) {
        self.set_base(OAM, if oam { OAM } else { 0 });
    }

    /// The service path, of 24 bits.
    pub fn path(&self) -> u32 {
        let [a, b, c] = self.path;
        u32::from_be_bytes([0, a, b, c])
    }

    /// Sets the service path, of which the lower 24 bits are taken.
    pub fn set_path(&mut self, path: u32) {
        let [_, path @ ..] = path.to_be_bytes();
        self.path = path;
    }

    /// The type of the metadata: 1 or 2.
    pub fn metadata_type(&self) -> u8 {
        self.metadata_type & 0xf
    }

    /// The four words of metadata of type 1.
    pub fn fixed_context(&self) -> Option<[u32; 4]> {
        let (words, _) = <[[u8; 4]; 4]>::ref_from_prefix(self.metadata()).ok().filter(|_| self.metadata_type() == 1)?;
        Some(words.map(u32::from_be_bytes))
    }

    /// The class, type and data of each context of metadata of type 2.
    pub fn contexts(&self) -> impl Iterator<Item = (u16, u8, &[u8])> {
        self.read_contexts().map_while(Result::ok)
    }
}

/// A context of metadata of type 2.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Context {
    /// Who defined it.
    pub class: u16,
    /// Which of the class.
    pub kind: u8,
    /// What it says, in at most 127 bytes.
    pub data: Vec<u8>,
}

/// What a header carries along.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Metadata {
    /// Type 1: four words.
    Fixed([u32; 4]),
    /// Type 2: contexts of any length, of at most 244 bytes together.
    Variable(Vec<Context>),
}

/// The header.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// It is an OAM packet.
    pub oam: bool,
    /// How many more service functions may see the packet; 6 bits.
    pub ttl: u8,
    /// What is behind the header.
    pub next_protocol: NextProtocol,
    /// The service path, of 24 bits.
    pub path: u32,
    /// The service index.
    pub index: u8,
    /// What it carries along.
    pub metadata: Metadata,
}

impl Header {
    /// A header in front of an Ethernet frame at the beginning of a path, with a time to live of 63 (RFC 8300, 2.2),
    /// an index of 255 and four words of zero.
    pub const fn of_path(path: u32) -> Header {
        let metadata = Metadata::Fixed([0; 4]);
        Header { oam: false, ttl: 63, next_protocol: NextProtocol::ETHERNET, path, index: 255, metadata }
    }
}

impl Wire for Header {
    fn parse(bytes: &[u8]) -> Result<Header, Error> {
        let view = View::new(bytes)?;
        let context = |(class, kind, data): (u16, u8, &[u8])| Context { class, kind, data: data.to_vec() };
        let metadata = match view.fixed_context() {
            Some(words) => Metadata::Fixed(words),
            None => Metadata::Variable(view.contexts().map(context).collect()),
        };
        Ok(Header {
            oam: view.oam(),
            ttl: view.ttl(),
            next_protocol: NextProtocol(view.next_protocol),
            path: view.path(),
            index: view.index,
            metadata,
        })
    }

    fn len(&self) -> usize {
        HEAD + match &self.metadata {
            Metadata::Fixed(words) => size_of_val(words),
            Metadata::Variable(list) => list.iter().map(|context| 4 + context.data.len().next_multiple_of(4)).sum(),
        }
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        let words = w.fits::<u16>("NSH length", self.len(), MAX_LEN)? / 4;
        let ttl = w.bits("NSH TTL", u16::from(self.ttl), 6)? << 6;
        w.u16(ttl | words | if self.oam { OAM } else { 0 })?;
        w.u8(if matches!(self.metadata, Metadata::Fixed(_)) { 1 } else { 2 })?;
        w.u8(self.next_protocol.0)?;
        w.u32(w.bits("NSH service path", self.path, 24)? << 8 | u32::from(self.index))?;
        match &self.metadata {
            Metadata::Fixed(words) => words.iter().try_for_each(|word| w.u32(*word))?,
            Metadata::Variable(list) => {
                for Context { class, kind, data } in list {
                    w.u16(*class)?;
                    w.put(&[*kind, w.fits(CONTEXT, data.len(), 127)?])?;
                    w.put(data)?;
                    w.zeros(data.len().next_multiple_of(4) - data.len())?;
                }
            }
        }
        Ok(w.position())
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { oam, ttl, next_protocol, path, index, metadata } = self;
        write!(f, "NSH path {path:#x} index {index} ttl {ttl} next {next_protocol}{}", if *oam { " oam" } else { "" })?;
        match metadata {
            Metadata::Fixed([a, b, c, d]) => write!(f, " context {a:#x} {b:#x} {c:#x} {d:#x}"),
            Metadata::Variable(list) => list.iter().try_for_each(|Context { class, kind, data }| {
                write!(f, " context {class:#x},{kind:#x} ({} bytes)", data.len())
            }),
        }
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
        let context = (any::<(u16, u8)>(), prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|((class, kind), data)| Context { class, kind, data });
        let metadata = prop_oneof![
            any::<[u32; 4]>().prop_map(Metadata::Fixed),
            prop::collection::vec(context, 0..8).prop_map(Metadata::Variable),
        ];
        (any::<(bool, u8, u8)>(), 0u8..64, 0u32..1 << 24, metadata).prop_map(
            |((oam, next, index), ttl, path, metadata)| Header {
                oam,
                ttl,
                next_protocol: NextProtocol(next),
                path,
                index,
                metadata,
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
            any_bytes::<Header>(&changed(&header, &[3; 9], at, to));
        }
    }

    #[test]
    fn layout_is_that_of_the_rfc() {
        let header = Header { metadata: Metadata::Fixed([1, 2, 3, 4]), ..Header::of_path(0x010203) };
        assert_eq!(laws(&header), hex("0fc6 01 03 010203 ff 00000001 00000002 00000003 00000004"));
        assert_eq!(header.to_string(), "NSH path 0x10203 index 255 ttl 63 next ethernet context 0x1 0x2 0x3 0x4");
        let context = Context { class: 0x0405, kind: 6, data: vec![7; 5] };
        let header = Header { oam: true, ttl: 1, metadata: Metadata::Variable(vec![context]), ..header };
        assert_eq!(laws(&header), hex("2045 02 03 010203 ff 0405 06 05 0707070707 000000"));
    }

    #[test]
    fn versions_types_and_lengths_are_checked() {
        for (bytes, error) in [
            ("4fc6 01 03 000001 ff", Error::value("NSH version", 0, 1u8)),
            ("0fc1 01 03 000001 ff", Error::length("NSH length", 1, 4)),
            ("0fc1 02 03 000001 ff", Error::length("NSH length", 1, 4)),
            ("0fc0 02 03 000001 ff", Error::length("NSH length", 1, 0)),
            ("0fc2 01 03 000001 ff", Error::length("NSH length", 1, 8)),
            ("0fc2 03 03 000001 ff", Error::value("NSH metadata type", 2, 3u8)),
            ("0fc3 02 03 000001 ff 0000 00 01", Error::length(CONTEXT, 11, 1)),
        ] {
            assert_eq!(refused::<Header>(&hex(bytes)), error);
        }
        assert!(Header::parse(&hex("0fc2 02 03 000001 ff")).is_ok());
    }

    #[test]
    fn what_cannot_be_sent_is_not_emitted() {
        let with = |data| Header { metadata: Metadata::Variable(vec![data; 2]), ..Header::of_path(1) };
        let context = |n| Context { class: 0, kind: 0, data: vec![0; n] };
        assert!(with(context(116)).to_vec().is_ok());
        assert!(with(context(120)).to_vec().is_err());
        let long = Header { metadata: Metadata::Variable(vec![context(128)]), ..Header::of_path(1) };
        assert!(long.to_vec().is_err());
        assert!(Header { ttl: 64, ..Header::of_path(1) }.to_vec().is_err());
        assert!(Header::of_path(1 << 24).to_vec().is_err());
    }

    #[test]
    fn fields_are_patched_in_place() {
        let mut bytes = Header::of_path(5).to_vec().unwrap();
        let view = View::new_mut(&mut bytes).unwrap();
        view.set_ttl(view.ttl() - 1);
        view.set_path(6);
        view.set_oam(true);
        view.index -= 1;
        assert_eq!(Header::parse(&bytes), Ok(Header { oam: true, ttl: 62, index: 254, ..Header::of_path(6) }));
    }

    /// `nsh-len-14fae3e09` of `security-triggers.json`, behind its Ethernet header: a length of 252 in 8 bytes.
    #[test]
    fn security_14fae3e09_a_length_behind_the_packet_is_refused() {
        assert_eq!(refused::<Header>(&hex("003f 01 03 000001 ff")), Error::length("NSH length", 1, 252));
    }
}
