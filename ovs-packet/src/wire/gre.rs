//! The header of GRE (RFC 2784) with key and sequence number (RFC 2890), and what NVGRE makes of the key (RFC 7637).
//!
//! ```text
//!   0  C, routing 0, K, S, reserved 0 (9 bits), version 0 (3)
//!   2  protocol of the payload, an Ethertype
//!      if C: checksum of header and payload (2), reserved (2)
//!      if K: key (4)
//!      if S: sequence number (4)
//! ```
//!
//! Routing (RFC 1701) and version 1 (PPTP) are other headers, and are refused.

use core::fmt;

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Wire, Writer, view};
use crate::checksum::checksum;

/// The number of the protocol in the header of IP.
pub const PROTOCOL: u8 = 47;
/// The protocol of an Ethernet frame (transparent Ethernet bridging).
pub const ETHERNET: u16 = 0x6558;

const NAME: &str = "GRE";
const HEAD: usize = 4;
const CHECKSUM: u16 = 0x8000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;

/// The header, and what is behind it, in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    flags: U16,
    /// The protocol of the payload, an Ethertype.
    pub protocol: U16,
    rest: [u8],
}

view!(View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        if self.flags.get() & !(CHECKSUM | KEY | SEQUENCE) != 0 {
            Err(Error::value("GRE flags", 0, self.flags.get()))
        } else if self.header_len() - HEAD > self.rest.len() {
            Err(Error::truncated(NAME, HEAD + self.rest.len()))
        } else {
            Ok(())
        }
    }

    fn has(&self, flag: u16) -> bool {
        self.flags.get() & flag != 0
    }

    /// Where, behind the first four bytes, the field of this flag is, if it is there.
    fn field(&self, flag: u16) -> Option<usize> {
        let before = [CHECKSUM, KEY, SEQUENCE].into_iter().filter(|f| *f > flag && self.has(*f)).count();
        self.has(flag).then_some(4 * before)
    }

    fn word(&self, flag: u16) -> Option<u32> {
        let word = self.rest.get(self.field(flag)?..)?.first_chunk()?;
        Some(u32::from_be_bytes(*word))
    }

    fn word_mut(&mut self, flag: u16) -> Option<&mut U32> {
        let at = self.field(flag)?;
        U32::mut_from_prefix(self.rest.get_mut(at..)?).ok().map(|(word, _)| word)
    }

    /// The length of the header.
    pub fn header_len(&self) -> usize {
        HEAD + 4 * [CHECKSUM, KEY, SEQUENCE].into_iter().filter(|flag| self.has(*flag)).count()
    }

    /// What is behind the header.
    pub fn payload(&self) -> &[u8] {
        self.rest.get(self.header_len() - HEAD..).unwrap_or_default()
    }

    /// The checksum.
    pub fn checksum(&self) -> Option<u16> {
        self.word(CHECKSUM).map(|word| (word >> 16) as u16)
    }

    /// The key.
    pub fn key(&self) -> Option<u32> {
        self.word(KEY)
    }

    /// The key, to be changed.
    pub fn key_mut(&mut self) -> Option<&mut U32> {
        self.word_mut(KEY)
    }

    /// The sequence number.
    pub fn sequence(&self) -> Option<u32> {
        self.word(SEQUENCE)
    }

    /// The sequence number, to be changed.
    pub fn sequence_mut(&mut self) -> Option<&mut U32> {
        self.word_mut(SEQUENCE)
    }

    /// Whether there is no checksum, or that of all the bytes that are viewed.
    pub fn checksum_is_right(&self) -> bool {
        !self.has(CHECKSUM) || checksum(self.as_bytes()) == 0
    }

    /// Makes the checksum, if there is one, that of all the bytes that are viewed.
    pub fn fill_checksum(&mut self) {
        if let Some(word) = self.word_mut(CHECKSUM) {
            word.set(0);
            let sum = checksum(self.as_bytes());
            if let Some(word) = self.word_mut(CHECKSUM) {
                word.set(u32::from(sum) << 16);
            }
        }
    }
}

/// The header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The protocol of the payload, an Ethertype.
    pub protocol: u16,
    /// The checksum, as it stands in the header; [`View::fill_checksum`] makes it right when the payload is there.
    pub checksum: Option<u16>,
    /// The key.
    pub key: Option<u32>,
    /// The sequence number.
    pub sequence: Option<u32>,
}

impl Default for Header {
    /// An Ethernet frame, without checksum, key and sequence number.
    fn default() -> Header {
        Header { protocol: ETHERNET, checksum: None, key: None, sequence: None }
    }
}

impl Header {
    /// A header of NVGRE: a subnet of 24 bits, of which the lower ones are taken, and a flow.
    pub const fn nvgre(subnet: u32, flow: u8) -> Header {
        Header { protocol: ETHERNET, checksum: None, key: Some(subnet << 8 | flow as u32), sequence: None }
    }

    /// The subnet and the flow, if it is a header of NVGRE: with a key, before an Ethernet frame, and without checksum
    /// and sequence number (RFC 7637, 3.2).
    pub const fn as_nvgre(&self) -> Option<(u32, u8)> {
        match *self {
            Header { protocol: ETHERNET, checksum: None, key: Some(key), sequence: None } => {
                Some((key >> 8, key as u8))
            }
            _ => None,
        }
    }

    fn words(&self) -> [(u16, Option<u32>); 3] {
        let checksum = self.checksum.map(|sum| u32::from(sum) << 16);
        [(CHECKSUM, checksum), (KEY, self.key), (SEQUENCE, self.sequence)]
    }
}

impl Wire for Header {
    fn parse(bytes: &[u8]) -> Result<Header, Error> {
        let view = View::new(bytes)?;
        let (checksum, key, sequence) = (view.checksum(), view.key(), view.sequence());
        Ok(Header { protocol: view.protocol.get(), checksum, key, sequence })
    }

    fn len(&self) -> usize {
        HEAD + 4 * self.words().iter().filter(|(_, word)| word.is_some()).count()
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        let present = self.words().into_iter().filter(|(_, word)| word.is_some());
        w.u16(present.fold(0, |flags, (flag, _)| flags | flag))?;
        w.u16(self.protocol)?;
        self.words().into_iter().filter_map(|(_, word)| word).try_for_each(|word| w.u32(word))?;
        Ok(w.position())
    }
}

/// Whether bytes begin with a header of a checksum that is wrong, and so are to be dropped; an error if with none.
///
/// ```
/// use ovs_packet::wire::{Wire, gre};
///
/// let mut packet = gre::Header { checksum: Some(0), ..Default::default() }.to_vec().unwrap();
/// packet.extend(b"frame");
/// assert!(gre::verify(&packet).is_err());
/// gre::View::new_mut(&mut packet).unwrap().fill_checksum();
/// assert!(gre::verify(&packet).is_ok());
/// ```
pub fn verify(packet: &[u8]) -> Result<&View, Error> {
    let view = View::new(packet)?;
    match view.checksum() {
        Some(sum) if !view.checksum_is_right() => Err(Error::new("GRE checksum", HEAD, super::Fault::Checksum(sum))),
        _ => Ok(view),
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GRE protocol {:#06x}", self.protocol)?;
        self.checksum.map_or(Ok(()), |sum| write!(f, " checksum {sum:#06x}"))?;
        self.key.map_or(Ok(()), |key| write!(f, " key {key:#x}"))?;
        self.sequence.map_or(Ok(()), |n| write!(f, " sequence {n}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString;

    use super::*;
    use crate::wire::tests::{any_bytes, hex, laws, no_prefix, refused};

    fn header() -> impl Strategy<Value = Header> {
        any::<(u16, Option<u16>, Option<u32>, Option<u32>)>().prop_map(|(protocol, checksum, key, sequence)| Header {
            protocol,
            checksum,
            key,
            sequence,
        })
    }

    proptest! {
        #[test]
        fn headers_come_back(header in header()) {
            no_prefix::<Header>(&laws(&header));
        }

        #[test]
        fn any_bytes_end(mut bytes in prop::collection::vec(any::<u8>(), 0..24), flags in 0u8..16) {
            bytes.splice(0..0, [flags << 4, 0]);
            any_bytes::<Header>(&bytes);
        }

        #[test]
        fn a_filled_checksum_is_right(header in header(), payload in prop::collection::vec(any::<u8>(), 0..40), at: prop::sample::Index) {
            let mut packet = [header.to_vec().unwrap(), payload].concat();
            View::new_mut(&mut packet).unwrap().fill_checksum();
            prop_assert!(verify(&packet).is_ok());
            prop_assert_eq!(&packet[header.len()..], verify(&packet).unwrap().payload());
            if header.checksum.is_some() {
                let at = 4 + at.index(packet.len() - 4);
                packet[at] ^= 0x10;
                prop_assert!(verify(&packet).is_err());
            }
        }
    }

    #[test]
    fn layout_is_that_of_the_rfcs() {
        let header = Header { protocol: 0x0800, checksum: Some(0x0102), key: Some(0x03040506), sequence: Some(7) };
        assert_eq!(laws(&header), hex("b000 0800 0102 0000 03040506 00000007"));
        assert_eq!(header.to_string(), "GRE protocol 0x0800 checksum 0x0102 key 0x3040506 sequence 7");
        assert_eq!(laws(&Header::nvgre(0x010203, 4)), hex("2000 6558 01020304"));
        assert_eq!(Header::nvgre(0x010203, 4).as_nvgre(), Some((0x010203, 4)));
        assert_eq!(header.as_nvgre(), None);
    }

    #[test]
    fn other_headers_are_refused() {
        for flags in [0x4000u16, 0x0800, 0x0100, 0x0008, 0x0001, 0x3001] {
            let bytes = [&flags.to_be_bytes()[..], &[0; 20]].concat();
            assert_eq!(refused::<Header>(&bytes), Error::value("GRE flags", 0, flags));
        }
    }

    #[test]
    fn words_are_patched_in_place() {
        let mut bytes = Header { checksum: Some(1), sequence: Some(5), ..Header::default() }.to_vec().unwrap();
        let view = View::new_mut(&mut bytes).unwrap();
        assert!(view.key_mut().is_none());
        view.sequence_mut().unwrap().set(6);
        assert_eq!(Header::parse(&bytes), Ok(Header { checksum: Some(1), sequence: Some(6), ..Header::default() }));
    }
}
