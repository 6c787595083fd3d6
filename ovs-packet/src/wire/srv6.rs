//! The segment routing header of IPv6 (RFC 8754, 2), with which SRv6 makes tunnels.
//!
//! ```text
//!   0  next header           1  length in 8 bytes, without the first 8
//!   2  routing type 4        3  segments left
//!   4  last entry            5  flags
//!   6  tag (2)
//!   8  segments (16 each), the last one of the path first
//!      TLVs: type (1), length (1), value; type 0 is a single byte
//! ```
//!
//! The header ends at a multiple of 8 bytes, so there may be TLVs that only fill (types 0 and 4). What it carries, the
//! next header says: 4 for IPv4, 41 for IPv6, 143 for Ethernet.

use core::fmt;
use core::net::Ipv6Addr;

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Reader, Vec, Wire, Writer, code_points, parts, view};

/// The number of routing headers among next headers.
pub const PROTOCOL: u8 = 43;
/// The next header of IPv4.
pub const NEXT_IPV4: u8 = 4;
/// The next header of IPv6.
pub const NEXT_IPV6: u8 = 41;
/// The next header of Ethernet.
pub const NEXT_ETHERNET: u8 = 143;

const NAME: &str = "SRv6";
const TLV: &str = "SRv6 TLV";
const HEAD: usize = 8;
const ROUTING_TYPE: u8 = 4;

code_points! {
    /// The type of a TLV.
    TlvKind: u8 {
        /// A single byte that only fills.
        PAD1 = 0, "pad1";
        /// Bytes that only fill.
        PADN = 4, "padn";
        /// A keyed hash of the header.
        HMAC = 5, "HMAC";
    }
}

/// The header, and what is behind it, in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    /// What is behind it.
    pub next_header: u8,
    length: u8,
    routing_type: u8,
    segments_left: u8,
    last_entry: u8,
    /// Flags, none of which is defined.
    pub flags: u8,
    /// Packets of one kind have one tag.
    pub tag: U16,
    rest: [u8],
}

view!(View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        if self.routing_type != ROUTING_TYPE {
            Err(Error::value("SRv6 routing type", 2, self.routing_type))
        } else if self.header_len() > HEAD + self.rest.len() {
            Err(Error::length("SRv6 length", 1, self.length.into()))
        } else if 16 * (usize::from(self.last_entry) + 1) > 8 * usize::from(self.length) {
            Err(Error::length("SRv6 last entry", 4, self.last_entry.into()))
        } else if usize::from(self.segments_left) > usize::from(self.last_entry) + 1 {
            // One more than there are entries is right for a header without its first segment (4.1.1).
            Err(Error::length("SRv6 segments left", 3, self.segments_left.into()))
        } else {
            self.read_tlvs().try_for_each(|tlv| tlv.map(drop))
        }
    }

    fn read_tlvs(&self) -> impl Iterator<Item = Result<(TlvKind, &[u8]), Error>> {
        let segments = 16 * (usize::from(self.last_entry) + 1);
        let tlvs = self.rest.get(segments..8 * usize::from(self.length)).unwrap_or_default();
        parts(Reader::at(TLV, tlvs, HEAD + segments), |r| {
            let kind = TlvKind(r.u8()?);
            if kind == TlvKind::PAD1 {
                return Ok(Some((kind, &[][..])));
            }
            let at = r.position();
            let length = r.u8()?;
            Ok(Some((kind, r.take(length.into()).map_err(|_| Error::length(TLV, at, length.into()))?)))
        })
    }

    /// The length of the header.
    pub fn header_len(&self) -> usize {
        HEAD + 8 * usize::from(self.length)
    }

    /// What is behind the header.
    pub fn payload(&self) -> &[u8] {
        self.rest.get(8 * usize::from(self.length)..).unwrap_or_default()
    }

    /// How many segments are still to be visited.
    pub fn segments_left(&self) -> u8 {
        self.segments_left
    }

    /// The segments as they are there: the last one of the path first.
    pub fn segments(&self) -> &[[u8; 16]] {
        let segments = self.rest.get(..16 * (usize::from(self.last_entry) + 1)).unwrap_or_default();
        <[[u8; 16]]>::ref_from_bytes(segments).unwrap_or_default()
    }

    /// The type and value of each TLV.
    pub fn tlvs(&self) -> impl Iterator<Item = (TlvKind, &[u8])> {
        self.read_tlvs().map_while(Result::ok)
    }

    /// What a router does that is the current segment: takes one from the segments left and returns the segment that
    /// is now current, to be the packet's destination; nothing at the end of the path.
    pub fn advance(&mut self) -> Option<Ipv6Addr> {
        let left = self.segments_left.checked_sub(1)?;
        let next = *self.segments().get(usize::from(left))?;
        self.segments_left = left;
        Some(next.into())
    }
}

/// A TLV.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tlv {
    /// Its type.
    pub kind: TlvKind,
    /// Its value; that of [`TlvKind::PAD1`] is empty.
    pub value: Vec<u8>,
}

/// The header.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// What is behind it.
    pub next_header: u8,
    /// How many segments are still to be visited.
    pub segments_left: u8,
    /// Flags, none of which is defined.
    pub flags: u8,
    /// Packets of one kind have one tag.
    pub tag: u16,
    /// The segments in the order of the header, the last one of the path first: one at least, and at most 127.
    pub segments: Vec<Ipv6Addr>,
    /// TLVs, with those that fill: a multiple of 8 bytes together.
    pub tlvs: Vec<Tlv>,
}

impl Header {
    /// The header of a packet that starts on a path, in the order in which it is travelled. The packet's destination
    /// is the first segment of it.
    pub fn of_path(next_header: u8, path: &[Ipv6Addr]) -> Header {
        let segments: Vec<Ipv6Addr> = path.iter().rev().copied().collect();
        let segments_left = u8::try_from(segments.len().saturating_sub(1)).unwrap_or(u8::MAX);
        Header { next_header, segments_left, flags: 0, tag: 0, segments, tlvs: Vec::new() }
    }

    /// The segments in the order in which they are travelled.
    pub fn path(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.segments.iter().rev().copied()
    }
}

impl Wire for Header {
    fn parse(bytes: &[u8]) -> Result<Header, Error> {
        let view = View::new(bytes)?;
        Ok(Header {
            next_header: view.next_header,
            segments_left: view.segments_left,
            flags: view.flags,
            tag: view.tag.get(),
            segments: view.segments().iter().map(|segment| Ipv6Addr::from(*segment)).collect(),
            tlvs: view.tlvs().map(|(kind, value)| Tlv { kind, value: value.to_vec() }).collect(),
        })
    }

    fn len(&self) -> usize {
        let tlv = |tlv: &Tlv| if tlv.kind == TlvKind::PAD1 { 1 } else { 2 + tlv.value.len() };
        HEAD + 16 * self.segments.len() + self.tlvs.iter().map(tlv).sum::<usize>()
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        let len = self.len();
        if !len.is_multiple_of(8) {
            return Err(Error::length("SRv6 length", 1, len));
        }
        w.put(&[self.next_header, w.fits("SRv6 length", len / 8 - 1, 255)?, ROUTING_TYPE, self.segments_left])?;
        let last_entry = self.segments.len().checked_sub(1).ok_or(Error::length("SRv6 last entry", 4, 0))?;
        w.put(&[w.fits("SRv6 last entry", last_entry, 255)?, self.flags])?;
        w.u16(self.tag)?;
        self.segments.iter().try_for_each(|segment| w.put(&segment.octets()))?;
        for Tlv { kind, value } in &self.tlvs {
            w.u8(kind.0)?;
            if *kind != TlvKind::PAD1 {
                w.u8(w.fits(TLV, value.len(), 255)?)?;
                w.put(value)?;
            } else if !value.is_empty() {
                return Err(Error::length(TLV, w.position(), value.len()));
            }
        }
        let bytes = w.written();
        // What may not be sent is what must not be received.
        View::new(bytes).map(|_| bytes.len())
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { next_header, segments_left, tag, .. } = self;
        write!(f, "SRv6 next {next_header} left {segments_left} tag {tag}")?;
        self.path()
            .enumerate()
            .try_for_each(|(i, segment)| write!(f, "{}{segment}", if i == 0 { " path " } else { "," }))?;
        self.tlvs.iter().try_for_each(|tlv| write!(f, " {} ({} bytes)", tlv.kind, tlv.value.len()))
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
        let tlv = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(kind, mut value)| {
            value.truncate(if kind == 0 { 0 } else { 255 });
            Tlv { kind: TlvKind(kind), value }
        });
        let segments = prop::collection::vec(any::<[u8; 16]>(), 1..6);
        (any::<(u8, u8, u16)>(), segments, prop::collection::vec(tlv, 0..3), any::<prop::sample::Index>()).prop_map(
            |((next_header, flags, tag), segments, tlvs, left)| {
                let segments: Vec<Ipv6Addr> = segments.into_iter().map(Ipv6Addr::from).collect();
                let segments_left = left.index(segments.len() + 1) as u8;
                let mut header = Header { next_header, segments_left, flags, tag, segments, tlvs };
                while !header.len().is_multiple_of(8) {
                    header.tlvs.push(Tlv { kind: TlvKind::PAD1, value: vec![] });
                }
                header
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
            any_bytes::<Header>(&changed(&header, &[7; 20], at, to));
        }
    }

    fn path() -> [Ipv6Addr; 2] {
        ["fc00::1".parse().unwrap(), "fc00::2".parse().unwrap()]
    }

    #[test]
    fn layout_is_that_of_the_rfc() {
        let header = Header { tag: 0x0102, ..Header::of_path(NEXT_IPV4, &path()) };
        let expected = "04 04 04 01 01 00 0102 fc000000000000000000000000000002 fc000000000000000000000000000001";
        assert_eq!(laws(&header), hex(expected));
        assert_eq!(header.to_string(), "SRv6 next 4 left 1 tag 258 path fc00::1,fc00::2");
        assert!(header.path().eq(path()));
    }

    #[test]
    fn lengths_are_checked() {
        let good = Header::of_path(NEXT_IPV6, &path()).to_vec().unwrap();
        for (at, bad, error) in [
            (2, 0, Error::value("SRv6 routing type", 2, 0u8)),
            (1, 5, Error::length("SRv6 length", 1, 5)),
            (1, 3, Error::length("SRv6 last entry", 4, 1)),
            (4, 2, Error::length("SRv6 last entry", 4, 2)),
            (3, 3, Error::length("SRv6 segments left", 3, 3)),
        ] {
            let mut bytes = good.clone();
            bytes[at] = bad;
            assert_eq!(refused::<Header>(&bytes), error);
        }
        // With one entry less, what was the second segment is TLVs: the last but one says that it has 9 bytes.
        let mut bytes = good;
        (bytes[4], bytes[37], bytes[38]) = (0, 1, 9);
        assert_eq!(refused::<Header>(&bytes), Error::length(TLV, 38, 9));
    }

    #[test]
    fn what_cannot_be_sent_is_not_emitted() {
        let header = Header::of_path(NEXT_IPV6, &path());
        let tlv = |kind, n| vec![Tlv { kind: TlvKind(kind), value: vec![0; n] }];
        for bad in [
            Header::of_path(NEXT_IPV6, &[]),
            Header::of_path(NEXT_IPV6, &[Ipv6Addr::LOCALHOST; 128]),
            Header { segments_left: 4, ..header.clone() },
            Header { tlvs: tlv(4, 1), ..header.clone() },
            Header { tlvs: tlv(0, 7), ..header.clone() },
            Header { tlvs: tlv(9, 256), ..header.clone() },
        ] {
            assert!(bad.to_vec().is_err(), "{bad:?}");
        }
        assert!(Header { tlvs: tlv(4, 6), ..header }.to_vec().is_ok());
        assert!(Header::of_path(NEXT_IPV6, &[Ipv6Addr::LOCALHOST; 127]).to_vec().is_ok());
    }

    #[test]
    fn a_packet_travels_its_path() {
        let mut bytes = Header::of_path(NEXT_IPV6, &path()).to_vec().unwrap();
        let view = View::new_mut(&mut bytes).unwrap();
        assert_eq!((view.advance(), view.segments_left()), (Some(path()[1]), 0));
        assert_eq!(view.advance(), None);
    }
}
