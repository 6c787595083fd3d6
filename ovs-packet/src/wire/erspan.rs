//! The header of ERSPAN types II and III, behind GRE (draft-foschiano-erspan-03).
//!
//! ```text
//!  both            0  version (4 bits): 1 is type II, 2 is type III; VLAN (12)
//!                  2  class of service (3), EN or BSO (2), T (1), session (10)
//!  type II         4  reserved (12 bits), index (20)
//!  type III        4  timestamp
//!                  8  security group (16 bits)
//!                 10  P (1), frame type (5), hardware (6), D (1), granularity (2), O (1)
//!                 12  if O: platform (8 bytes)
//! ```
//!
//! What kind it is, the header in front of it tells ([`Type::of`]): GRE of protocol `0x88be` and with a sequence
//! number is type II, without one type I, which has no header of its own; of protocol `0x22eb` it is type III. An
//! Ethernet frame is behind it. Open vSwitch has types II and III.

use core::fmt;

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Fault, Reader, Wire, Writer, gre, view};

/// The protocol of types I and II in the header of GRE.
pub const GRE_TYPE_II: u16 = 0x88be;
/// The protocol of type III in the header of GRE.
pub const GRE_TYPE_III: u16 = 0x22eb;

const NAME: &str = "ERSPAN";

/// The type of what is behind a header of GRE.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Type {
    /// The frame itself.
    I,
    /// A header of version 1.
    II,
    /// A header of version 2.
    III,
}

impl Type {
    /// What a header of GRE announces.
    pub fn of(gre: &gre::Header) -> Result<Type, Error> {
        match (gre.protocol, gre.sequence) {
            _ if gre.checksum.is_some() || gre.key.is_some() => Err(Error::new("ERSPAN in GRE", 0, Fault::Misplaced)),
            (GRE_TYPE_II, None) => Ok(Type::I),
            (GRE_TYPE_II, Some(_)) => Ok(Type::II),
            (GRE_TYPE_III, Some(_)) => Ok(Type::III),
            (GRE_TYPE_III, None) => Err(Error::new("ERSPAN sequence number", 0, Fault::Missing)),
            (other, _) => Err(Error::value("ERSPAN in GRE", 2, other)),
        }
    }
}

/// The header, and what is behind it, in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    version_vlan: U16,
    session: U16,
    rest: [u8],
}

view!(View, NAME);

/// What type III has behind what both have.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TypeIII {
    timestamp: U32,
    security_group: U16,
    bits: U16,
}

impl View {
    fn check(&self) -> Result<(), Error> {
        let len = 4 + self.rest.len();
        if !matches!(self.version(), 1 | 2) {
            Err(Error::value("ERSPAN version", 0, self.version()))
        } else if self.header_len() > len {
            Err(Error::truncated(NAME, len))
        } else {
            Ok(())
        }
    }

    fn type_iii(&self) -> Option<&TypeIII> {
        TypeIII::ref_from_prefix(&self.rest).ok().map(|(view, _)| view).filter(|_| self.version() == 2)
    }

    /// The version: 1 is type II, 2 is type III.
    pub fn version(&self) -> u8 {
        (self.version_vlan.get() >> 12) as u8
    }

    /// The length of the header.
    pub fn header_len(&self) -> usize {
        match (self.version(), self.type_iii()) {
            (2, Some(more)) if more.bits.get() & 1 != 0 => 20,
            (2, _) => 12,
            _ => 8,
        }
    }

    /// What is behind the header.
    pub fn payload(&self) -> &[u8] {
        self.rest.get(self.header_len() - 4..).unwrap_or_default()
    }

    /// The session, of 10 bits.
    pub fn session(&self) -> u16 {
        self.session.get() & 0x3ff
    }

    /// Sets the session, of which the lower 10 bits are taken.
    pub fn set_session(&mut self, session: u16) {
        self.session.set(self.session.get() & !0x3ff | session & 0x3ff);
    }

    /// Type III: sets the time.
    pub fn set_timestamp(&mut self, timestamp: u32) {
        if self.version() == 2
            && let Ok((more, _)) = TypeIII::mut_from_prefix(&mut self.rest)
        {
            more.timestamp.set(timestamp);
        }
    }
}

/// What the types differ in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Type II, version 1.
    II {
        /// What the frame was mirrored from: port and direction, of 20 bits.
        index: u32,
    },
    /// Type III, version 2.
    III {
        /// When the frame was mirrored, in units of the granularity.
        timestamp: u32,
        /// The security group.
        security_group: u16,
        /// P: it is an Ethernet frame.
        ethernet: bool,
        /// The type of the frame, of 5 bits.
        frame_type: u8,
        /// Which device mirrored it, of 6 bits.
        hardware: u8,
        /// D: it was mirrored when it left the switch.
        egress: bool,
        /// The unit of the time, of 2 bits: 0 is 100 microseconds, 1 is 100 nanoseconds, 2 is that of IEEE 1588.
        granularity: u8,
        /// O: more, as the platform has it.
        platform: Option<[u8; 8]>,
    },
}

/// The header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The session, of 10 bits.
    pub session: u16,
    /// The VLAN of the frame, of 12 bits.
    pub vlan: u16,
    /// The class of service of the frame, of 3 bits.
    pub class: u8,
    /// Type II: how the frame was encapsulated (EN); type III: whether it was whole (BSO). 2 bits.
    pub encapsulation: u8,
    /// T: the frame was cut.
    pub truncated: bool,
    /// What the types differ in.
    pub kind: Kind,
}

impl Header {
    /// Type II with this session and index; all else zero.
    pub const fn type_ii(session: u16, index: u32) -> Header {
        Header { session, vlan: 0, class: 0, encapsulation: 0, truncated: false, kind: Kind::II { index } }
    }

    /// Type III with this session, device and direction; all else zero.
    pub const fn type_iii(session: u16, hardware: u8, egress: bool) -> Header {
        let kind = Kind::III {
            timestamp: 0,
            security_group: 0,
            ethernet: false,
            frame_type: 0,
            hardware,
            egress,
            granularity: 0,
            platform: None,
        };
        Header { session, vlan: 0, class: 0, encapsulation: 0, truncated: false, kind }
    }

    /// The header of GRE that belongs in front of it.
    pub const fn gre(&self, sequence: u32) -> gre::Header {
        let protocol = match self.kind {
            Kind::II { .. } => GRE_TYPE_II,
            Kind::III { .. } => GRE_TYPE_III,
        };
        gre::Header { protocol, checksum: None, key: None, sequence: Some(sequence) }
    }
}

impl Wire for Header {
    fn parse(bytes: &[u8]) -> Result<Header, Error> {
        let view = View::new(bytes)?;
        let kind = match view.type_iii() {
            None => Kind::II { index: Reader::at(NAME, &view.rest, 4).u32()? & 0xf_ffff },
            Some(TypeIII { timestamp, security_group, bits }) => {
                let bits = bits.get();
                let platform = || view.rest.get(8..)?.first_chunk().copied();
                Kind::III {
                    timestamp: timestamp.get(),
                    security_group: security_group.get(),
                    ethernet: bits & 0x8000 != 0,
                    frame_type: (bits >> 10 & 0x1f) as u8,
                    hardware: (bits >> 4 & 0x3f) as u8,
                    egress: bits & 8 != 0,
                    granularity: (bits >> 1 & 3) as u8,
                    platform: if bits & 1 != 0 { platform() } else { None },
                }
            }
        };
        let word = view.session.get();
        Ok(Header {
            session: view.session(),
            vlan: view.version_vlan.get() & 0xfff,
            class: (word >> 13) as u8,
            encapsulation: (word >> 11 & 3) as u8,
            truncated: word & 0x400 != 0,
            kind,
        })
    }

    fn len(&self) -> usize {
        match self.kind {
            Kind::II { .. } => 8,
            Kind::III { platform, .. } => 12 + platform.map_or(0, |platform| platform.len()),
        }
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        let version = if matches!(self.kind, Kind::II { .. }) { 1 } else { 2 };
        w.u16(version << 12 | w.bits("ERSPAN VLAN", self.vlan, 12)?)?;
        let class = u16::from(w.bits("ERSPAN class of service", self.class, 3)?);
        let encapsulation = u16::from(w.bits("ERSPAN encapsulation", self.encapsulation, 2)?);
        let session = w.bits("ERSPAN session", self.session, 10)?;
        w.u16(class << 13 | encapsulation << 11 | u16::from(self.truncated) << 10 | session)?;
        match self.kind {
            Kind::II { index } => w.u32(w.bits("ERSPAN index", index, 20)?)?,
            Kind::III { timestamp, security_group, ethernet, frame_type, hardware, egress, granularity, platform } => {
                w.u32(timestamp)?;
                w.u16(security_group)?;
                let frame_type = u16::from(w.bits("ERSPAN frame type", frame_type, 5)?);
                let hardware = u16::from(w.bits("ERSPAN hardware", hardware, 6)?);
                let granularity = u16::from(w.bits("ERSPAN granularity", granularity, 2)?);
                let flags = u16::from(ethernet) << 15 | u16::from(egress) << 3 | u16::from(platform.is_some());
                w.u16(flags | frame_type << 10 | hardware << 4 | granularity << 1)?;
                w.put(platform.as_ref().map_or(&[], |platform| &platform[..]))?;
            }
        }
        Ok(w.position())
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { session, vlan, class, encapsulation, truncated, kind } = self;
        let name = if matches!(kind, Kind::II { .. }) { "ERSPAN II" } else { "ERSPAN III" };
        write!(f, "{name} session {session} VLAN {vlan} class {class} encapsulation {encapsulation}")?;
        f.write_str(if *truncated { " truncated" } else { "" })?;
        match kind {
            Kind::II { index } => write!(f, " index {index:#x}"),
            Kind::III { timestamp, security_group, frame_type, hardware, egress, granularity, .. } => {
                let direction = if *egress { "egress" } else { "ingress" };
                write!(f, " {direction} hardware {hardware} group {security_group} frame type {frame_type}")?;
                write!(f, " time {timestamp} granularity {granularity}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString;

    use super::*;
    use crate::wire::tests::{any_bytes, hex, laws, no_prefix, refused};

    fn kind() -> impl Strategy<Value = Kind> {
        let type_iii = (any::<(u32, u16, bool, bool, Option<[u8; 8]>)>(), 0u8..32, 0u8..64, 0u8..4).prop_map(
            |((timestamp, security_group, ethernet, egress, platform), frame_type, hardware, granularity)| Kind::III {
                timestamp,
                security_group,
                ethernet,
                frame_type,
                hardware,
                egress,
                granularity,
                platform,
            },
        );
        prop_oneof![(0u32..1 << 20).prop_map(|index| Kind::II { index }), type_iii]
    }

    proptest! {
        #[test]
        fn headers_come_back(session in 0u16..1024, vlan in 0u16..4096, class in 0u8..8, en in 0u8..4, truncated: bool, kind in kind()) {
            let bytes = laws(&Header { session, vlan, class, encapsulation: en, truncated, kind });
            no_prefix::<Header>(&bytes);
        }

        #[test]
        fn any_bytes_end(mut bytes in prop::collection::vec(any::<u8>(), 1..24), version in 0u8..4) {
            bytes[0] = version << 4 | bytes[0] & 0xf;
            any_bytes::<Header>(&bytes);
        }
    }

    #[test]
    fn layout_is_that_of_the_draft() {
        let ii = Header { vlan: 0x123, class: 5, encapsulation: 3, ..Header::type_ii(0x2aa, 0xabcde) };
        assert_eq!(laws(&ii), hex("1123 baaa 000abcde"));
        assert_eq!(ii.to_string(), "ERSPAN II session 682 VLAN 291 class 5 encapsulation 3 index 0xabcde");
        assert_eq!(laws(&Header::type_iii(1, 0x3f, true)), hex("2000 0001 00000000 0000 03f8"));
        assert_eq!(laws(&Header::type_iii(1, 4, false)), hex("2000 0001 00000000 0000 0040"));
    }

    #[test]
    fn gre_announces_the_type() {
        let gre = |protocol, sequence| gre::Header { protocol, sequence, ..gre::Header::default() };
        assert_eq!(Type::of(&gre(GRE_TYPE_II, None)), Ok(Type::I));
        assert_eq!(Type::of(&Header::type_ii(1, 2).gre(9)), Ok(Type::II));
        assert_eq!(Type::of(&Header::type_iii(1, 2, true).gre(9)), Ok(Type::III));
        assert_eq!(Type::of(&gre(GRE_TYPE_III, None)).unwrap_err().fault, Fault::Missing);
        assert_eq!(Type::of(&gre(0x6558, Some(1))), Err(Error::value("ERSPAN in GRE", 2, 0x6558u16)));
        let keyed = gre::Header { key: Some(1), ..gre(GRE_TYPE_II, Some(1)) };
        assert_eq!(Type::of(&keyed).unwrap_err().fault, Fault::Misplaced);
    }

    #[test]
    fn versions_lengths_and_ranges_are_checked() {
        assert_eq!(refused::<Header>(&hex("3000 0001 00000000")), Error::value("ERSPAN version", 0, 3u8));
        // The optional part is announced and not there.
        assert_eq!(refused::<Header>(&hex("2000 0001 00000000 0000 0001 00")), Error::truncated(NAME, 13));
        assert!(Header::type_ii(1024, 0).to_vec().is_err() && Header::type_ii(0, 1 << 20).to_vec().is_err());
        assert!(Header::type_iii(0, 64, true).to_vec().is_err());
    }

    #[test]
    fn session_and_time_are_patched_in_place() {
        let mut bytes = Header { truncated: true, ..Header::type_iii(1, 2, true) }.to_vec().unwrap();
        let view = View::new_mut(&mut bytes).unwrap();
        view.set_session(0xfc02);
        view.set_timestamp(0x01020304);
        assert_eq!(bytes, hex("2000 0402 01020304 0000 0028"));
    }
}
