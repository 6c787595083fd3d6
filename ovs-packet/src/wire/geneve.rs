//! The header of Geneve, behind UDP port 6081 (RFC 8926, 3.4).
//!
//! ```text
//!   0  version 0 (2 bits), length of the options in 32-bit words (6)
//!   1  O: OAM, C: a critical option, reserved (6)
//!   2  protocol of the payload, an Ethertype
//!   4  VNI (3)                                  7  reserved
//!   8  options: class (2), C and type (1), reserved (3 bits), length in 32-bit words (5), data
//! ```
//!
//! An option that is longer than what the header has for options is an error of the header.

use core::fmt;

use arrayvec::ArrayVec;
use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Reader, Vec, Wire, Writer, parts, view};

/// The UDP port.
pub const UDP_PORT: u16 = 6081;
/// The protocol of an Ethernet frame (transparent Ethernet bridging).
pub const ETHERNET: u16 = 0x6558;
/// The most bytes that options have in one header.
pub const MAX_OPTIONS: usize = 252;

const NAME: &str = "Geneve";
const OPTION: &str = "Geneve option";
const HEAD: usize = 8;
const OAM: u8 = 0x80;
const CRITICAL: u8 = 0x40;

/// The header, and what is behind it, in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    version_length: u8,
    flags: u8,
    /// The protocol of the payload, an Ethertype.
    pub protocol: U16,
    vni: [u8; 3],
    reserved: u8,
    rest: [u8],
}

view!(View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        if self.version_length >> 6 != 0 {
            return Err(Error::value("Geneve version", 0, self.version_length >> 6));
        }
        if self.options_len() > self.rest.len() {
            return Err(Error::length("Geneve options", 0, self.options_len()));
        }
        self.read_options().try_for_each(|option| option.map(drop))
    }

    fn options_len(&self) -> usize {
        4 * usize::from(self.version_length & 0x3f)
    }

    fn read_options(&self) -> impl Iterator<Item = Result<(u16, u8, &[u8]), Error>> {
        let options = self.rest.get(..self.options_len()).unwrap_or_default();
        parts(Reader::at(OPTION, options, HEAD), |r| {
            let (class, at) = (r.u16()?, r.position() + 1);
            let [kind, length] = r.array()?;
            let length = 4 * usize::from(length & 0x1f);
            Ok(Some((class, kind, r.take(length).map_err(|_| Error::length(OPTION, at, length))?)))
        })
    }

    /// The length of the header.
    pub fn header_len(&self) -> usize {
        HEAD + self.options_len()
    }

    /// What is behind the header.
    pub fn payload(&self) -> &[u8] {
        self.rest.get(self.options_len()..).unwrap_or_default()
    }

    /// The virtual network, of 24 bits.
    pub fn vni(&self) -> u32 {
        let [a, b, c] = self.vni;
        u32::from_be_bytes([0, a, b, c])
    }

    /// Sets the virtual network, of which the lower 24 bits are taken.
    pub fn set_vni(&mut self, vni: u32) {
        let [_, vni @ ..] = vni.to_be_bytes();
        self.vni = vni;
    }

    /// Whether it is a control packet, between the ends of the tunnel.
    pub fn oam(&self) -> bool {
        self.flags & OAM != 0
    }

    /// Sets whether it is a control packet.
    pub fn set_oam(&mut self, oam: bool) {
        self.flags = self.flags & !OAM | if oam { OAM } else { 0 };
    }

    /// Whether there is an option that whoever does not know it must drop the packet for.
    pub fn critical(&self) -> bool {
        self.flags & CRITICAL != 0
    }

    /// The class, type and data of each option.
    pub fn options(&self) -> impl Iterator<Item = (u16, u8, &[u8])> {
        self.read_options().map_while(Result::ok)
    }
}

/// An option.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Opt {
    /// Who defined it.
    pub class: u16,
    /// Which of the class; the upper bit says that it is critical.
    pub kind: u8,
    /// What it says: whole 32-bit words.
    pub data: ArrayVec<u8, 124>,
}

impl Opt {
    /// Whether whoever does not know it must drop the packet.
    pub fn critical(&self) -> bool {
        self.kind & 0x80 != 0
    }
}

/// The header.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The virtual network, of 24 bits.
    pub vni: u32,
    /// The protocol of the payload, an Ethertype.
    pub protocol: u16,
    /// It is a control packet, between the ends of the tunnel.
    pub oam: bool,
    /// Options, of at most [`MAX_OPTIONS`] bytes together.
    pub options: Vec<Opt>,
}

impl Default for Header {
    /// Network 0, an Ethernet frame, no options.
    fn default() -> Header {
        Header { vni: 0, protocol: ETHERNET, oam: false, options: Vec::new() }
    }
}

impl Header {
    fn options_len(&self) -> usize {
        self.options.iter().map(|option| 4 + option.data.len()).sum()
    }
}

impl Wire for Header {
    fn parse(bytes: &[u8]) -> Result<Header, Error> {
        let view = View::new(bytes)?;
        let mut options = Vec::new();
        for (class, kind, data) in view.options() {
            let data = ArrayVec::try_from(data).map_err(|_| Error::length(OPTION, HEAD, data.len()))?;
            options.push(Opt { class, kind, data });
        }
        Ok(Header { vni: view.vni(), protocol: view.protocol.get(), oam: view.oam(), options })
    }

    fn len(&self) -> usize {
        HEAD + self.options_len()
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        w.u8(w.fits::<u8>("Geneve options", self.options_len(), MAX_OPTIONS)? / 4)?;
        let critical = if self.options.iter().any(Opt::critical) { CRITICAL } else { 0 };
        w.u8(critical | if self.oam { OAM } else { 0 })?;
        w.u16(self.protocol)?;
        w.u32(w.bits("Geneve VNI", self.vni, 24)? << 8)?;
        for Opt { class, kind, data } in &self.options {
            if !data.len().is_multiple_of(4) {
                return Err(Error::length(OPTION, w.position(), data.len()));
            }
            w.u16(*class)?;
            w.put(&[*kind, (data.len() / 4) as u8])?;
            w.put(data)?;
        }
        Ok(w.position())
    }
}

impl fmt::Display for Opt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{class={:#x},type={:#x},len={}", self.class, self.kind, self.data.len())?;
        f.write_str(if self.data.is_empty() { "}" } else { ",0x" })?;
        self.data.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(if self.data.is_empty() { "" } else { "}" })
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let oam = if self.oam { " oam" } else { "" };
        write!(f, "Geneve vni {:#x} protocol {:#06x}{oam}", self.vni, self.protocol)?;
        f.write_str(if self.options.is_empty() { "" } else { " options " })?;
        self.options.iter().try_for_each(|option| option.fmt(f))
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
        let option = (any::<(u16, u8)>(), prop::collection::vec(any::<[u8; 4]>(), 0..8))
            .prop_map(|((class, kind), data)| Opt { class, kind, data: data.concat().into_iter().collect() });
        (0u32..1 << 24, any::<(u16, bool)>(), prop::collection::vec(option, 0..8))
            .prop_map(|(vni, (protocol, oam), options)| Header { vni, protocol, oam, options })
    }

    proptest! {
        #[test]
        fn headers_come_back(header in header()) {
            no_prefix::<Header>(&laws(&header));
        }

        #[test]
        fn any_bytes_end(header in header(), at: prop::sample::Index, to: u8) {
            any_bytes::<Header>(&changed(&header, &[7; 9], at, to));
        }
    }

    #[test]
    fn layout_is_that_of_the_rfc() {
        let option = Opt { class: 0x0102, kind: 0x83, data: [1, 2, 3, 4].into_iter().collect() };
        let header = Header { vni: 0x0a0b0c, oam: true, options: vec![option], ..Header::default() };
        let bytes = laws(&header);
        assert_eq!(bytes, hex("02 c0 6558 0a0b0c 00  0102 83 01 01020304"));
        let view = View::new(&bytes).unwrap();
        assert!(view.critical() && view.oam() && view.payload().is_empty());
        assert_eq!(view.header_len(), 16);
        assert_eq!(
            header.to_string(),
            "Geneve vni 0xa0b0c protocol 0x6558 oam options {class=0x102,type=0x83,len=4,0x01020304}"
        );
    }

    #[test]
    fn versions_and_lengths_are_checked() {
        assert_eq!(refused::<Header>(&hex("40 00 6558 000000 00")), Error::value("Geneve version", 0, 1u8));
        assert_eq!(refused::<Header>(&hex("3f 00 6558 000000 00 00000000")), Error::length("Geneve options", 0, 252));
    }

    #[test]
    fn what_cannot_be_sent_is_not_emitted() {
        let option = |n: usize| Opt { class: 1, kind: 2, data: vec![0; n].into_iter().collect() };
        assert!(Header { options: vec![option(3)], ..Header::default() }.to_vec().is_err());
        assert!(Header { options: vec![option(124), option(120)], ..Header::default() }.to_vec().is_ok());
        assert!(Header { options: vec![option(124), option(124)], ..Header::default() }.to_vec().is_err());
        assert!(Header { vni: 1 << 24, ..Header::default() }.to_vec().is_err());
    }

    #[test]
    fn fields_are_patched_in_place() {
        let mut bytes = Header::default().to_vec().unwrap();
        let view = View::new_mut(&mut bytes).unwrap();
        view.set_vni(0xff01_0203);
        view.set_oam(true);
        view.protocol.set(0x0800);
        assert_eq!(Header::parse(&bytes), Ok(Header { vni: 0x010203, protocol: 0x0800, oam: true, options: vec![] }));
    }

    /// `CVE-2023-3966/optlen` of `security-triggers.json`, behind its UDP header: 8 bytes for options, one of 124.
    #[test]
    fn security_cve_2023_3966_an_option_longer_than_the_options_is_refused() {
        let mut bytes = hex("02 00 6558 000001 00  0102 80 1f 00000000  50540000000a 505400000009 0800");
        bytes.extend([0; 124]);
        assert_eq!(refused::<Header>(&bytes), Error::length(OPTION, 11, 124));
    }
}
