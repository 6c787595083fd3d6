//! Continuity check messages of connectivity fault management (IEEE 802.1ag, 21.6; ITU-T Y.1731, 9.2).
//!
//! A maintenance end point sends them at a fixed rate; who misses them reports a fault.
//!
//! ```text
//!   0  level (3 bits), version (5)        1  opcode 1: CCM
//!   2  RDI (1 bit), reserved (4), interval (3)
//!   3  offset of the first TLV, from here on behind: 70
//!   4  sequence number                    8  MEP id
//!  10  maintenance association id (48)
//!  58  Y.1731: 16 bytes;    Open vSwitch, extended:  58  interval in ms   60  MEP id (64 bits)
//!                                                    68  operationally down, 5 reserved
//!  74  TLVs: type (1), length (2), value; the last one is of type 0 and has neither length nor value
//! ```
//!
//! Open vSwitch, in its extended mode, has intervals other than those seven of the standard and ids of 64 bits, in
//! bytes that 802.1ag leaves to Y.1731 ([`Extended`]). Its demand mode changes when faults are found and not what is
//! sent. Some of its versions left the last TLV out, so a message may end without it.

use core::fmt;
use core::time::Duration;

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Fault, Reader, Vec, Wire, Writer, code_points, parts, view};
use crate::addr::EthAddr;

/// The Ethertype of connectivity fault management.
pub const ETH_TYPE: u16 = 0x8902;
/// Where messages of level 0 are sent to; that of level n ends in `3n`.
pub const DESTINATION: EthAddr = EthAddr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x30]);
/// Where Open vSwitch sends messages of its extended mode to, which bridges forward.
pub const DESTINATION_EXTENDED: EthAddr = EthAddr([0x01, 0x23, 0x20, 0x00, 0x00, 0x30]);

const NAME: &str = "CCM";
const TLV: &str = "CFM TLV";
const OPCODE_CCM: u8 = 1;
/// From the beginning to the TLVs.
const FIXED: usize = 74;
/// What the field of the first TLV's offset counts from.
const OFFSET_FROM: usize = 4;
const RDI: u8 = 0x80;

/// How often a message is sent: the code in the flags of a CCM (802.1ag, table 21-16).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Interval(u8);

impl Interval {
    /// Not told by the standard's field; see [`Extended::interval_ms`].
    pub const OTHER: Interval = Interval(0);

    /// The interval of this code, from 0 to 7.
    pub const fn new(code: u8) -> Option<Interval> {
        if code < 8 { Some(Interval(code)) } else { None }
    }

    /// The code.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// How long it is, unless it is [`OTHER`](Interval::OTHER).
    pub const fn duration(self) -> Option<Duration> {
        Some(match self.0 {
            1 => Duration::from_nanos(3_333_333),
            2 => Duration::from_millis(10),
            3 => Duration::from_millis(100),
            4 => Duration::from_secs(1),
            5 => Duration::from_secs(10),
            6 => Duration::from_secs(60),
            7 => Duration::from_secs(600),
            _ => return None,
        })
    }
}

/// The 48 bytes that name a maintenance association (802.1ag, 21.6.5): the format, length and name of its domain, the
/// same of itself, and zeros. Associations are the same when all 48 bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Maid(pub [u8; 48]);

impl Maid {
    /// The association "ovs" in the domain "ovs", which Open vSwitch sends and expects.
    pub const OVS: Maid = {
        let mut maid = [0; 48];
        let (head, _) = maid.split_at_mut(10);
        head.copy_from_slice(b"\x04\x03ovs\x02\x03ovs");
        Maid(maid)
    };
    /// Format of a domain's name: there is none.
    pub const DOMAIN_NONE: u8 = 1;
    /// Format of a domain's name: a character string.
    pub const DOMAIN_STRING: u8 = 4;
    /// Format of an association's name: a character string.
    pub const SHORT_STRING: u8 = 2;

    /// An id of two names that are character strings, if they have a byte or more each and 44 at most together.
    pub fn new(domain: &str, association: &str) -> Option<Maid> {
        let mut maid = Maid([0; 48]);
        let mut w = Writer::new("MAID", &mut maid.0);
        let mut name = |format: u8, name: &str| {
            w.put(&[format, w.fits("MAID", name.len(), 44)?])?;
            w.put(name.as_bytes())
        };
        let written = name(Maid::DOMAIN_STRING, domain).and_then(|()| name(Maid::SHORT_STRING, association));
        written.ok().filter(|()| !domain.is_empty() && !association.is_empty()).map(|()| maid)
    }

    /// The format and bytes of the domain's name, and those of the association's, if their lengths are within the id.
    pub fn names(&self) -> Option<[(u8, &[u8]); 2]> {
        let mut r = Reader::new("MAID", &self.0);
        let domain = match r.u8().ok()? {
            Maid::DOMAIN_NONE => (Maid::DOMAIN_NONE, &[][..]),
            format => {
                let length = r.u8().ok()?;
                (format, r.take(length.into()).ok()?)
            }
        };
        let (format, length) = (r.u8().ok()?, r.u8().ok()?);
        Some([domain, (format, r.take(length.into()).ok()?)])
    }
}

/// What Open vSwitch sends in extended mode; all zero otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Extended {
    /// The interval in milliseconds, if the standard's field is [`Interval::OTHER`].
    pub interval_ms: u16,
    /// The id of the maintenance end point.
    pub mpid: u64,
    /// The sender is operationally down.
    pub opdown: bool,
}

code_points! {
    /// The type of a TLV.
    TlvKind: u8 {
        /// The last one.
        END = 0, "end";
        /// Who sent it: chassis and management address.
        SENDER_ID = 1, "sender id";
        /// Whether the port forwards.
        PORT_STATUS = 2, "port status";
        /// Anything.
        DATA = 3, "data";
        /// Whether the interface is up.
        INTERFACE_STATUS = 4, "interface status";
        /// Of an organisation.
        ORGANIZATION = 31, "organization";
    }
}

/// A CCM in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    level_version: u8,
    opcode: u8,
    flags: u8,
    first_tlv: u8,
    /// Sequence number, or zero.
    pub sequence: U32,
    /// The id of the maintenance end point, 1 to 8191.
    pub mpid: U16,
    /// The maintenance association.
    pub maid: Maid,
    /// Extended mode: the interval in milliseconds.
    pub interval_ms: U16,
    /// Extended mode: the id of the maintenance end point.
    pub extended_mpid: U64,
    opdown: u8,
    reserved: [u8; 5],
    rest: [u8],
}

view!(View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        if self.opcode != OPCODE_CCM {
            return Err(Error::value("CFM opcode", 1, self.opcode));
        }
        let begin = OFFSET_FROM + usize::from(self.first_tlv);
        // There may be no TLV at all, but none begins behind the end.
        if begin < FIXED || begin > FIXED + self.rest.len() {
            return Err(Error::length("CCM first TLV offset", 3, self.first_tlv.into()));
        }
        self.read_tlvs().try_for_each(|tlv| tlv.map(drop))
    }

    /// The maintenance level, from 0 to 7.
    pub fn level(&self) -> u8 {
        self.level_version >> 5
    }

    /// The version; 0.
    pub fn version(&self) -> u8 {
        self.level_version & 0x1f
    }

    /// Remote defect indication: the sender does not hear somebody whom it should.
    pub fn rdi(&self) -> bool {
        self.flags & RDI != 0
    }

    /// Sets the remote defect indication.
    pub fn set_rdi(&mut self, rdi: bool) {
        self.flags = self.flags & !RDI | if rdi { RDI } else { 0 };
    }

    /// How often messages are sent.
    pub fn interval(&self) -> Interval {
        Interval(self.flags & 7)
    }

    /// Extended mode: whether the sender is operationally down.
    pub fn opdown(&self) -> bool {
        self.opdown != 0
    }

    /// Sets whether the sender is operationally down.
    pub fn set_opdown(&mut self, opdown: bool) {
        self.opdown = opdown.into();
    }

    /// The type and value of each TLV before the last one.
    pub fn tlvs(&self) -> impl Iterator<Item = (TlvKind, &[u8])> {
        self.read_tlvs().map_while(Result::ok)
    }

    fn read_tlvs(&self) -> impl Iterator<Item = Result<(TlvKind, &[u8]), Error>> {
        let begin = OFFSET_FROM + usize::from(self.first_tlv);
        let bytes = self.rest.get(begin.saturating_sub(FIXED)..).unwrap_or_default();
        parts(Reader::at(TLV, bytes, begin), |r| {
            let kind = TlvKind(r.u8()?);
            if kind == TlvKind::END {
                return Ok(None);
            }
            let length = r.u16()?;
            Ok(Some((kind, r.take(length.into())?)))
        })
    }
}

/// A TLV.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tlv {
    /// Its type; not [`TlvKind::END`].
    pub kind: TlvKind,
    /// Its value.
    pub value: Vec<u8>,
}

/// A continuity check message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ccm {
    /// The maintenance level, from 0 to 7.
    pub level: u8,
    /// Remote defect indication: the sender does not hear somebody whom it should.
    pub rdi: bool,
    /// How often messages are sent.
    pub interval: Interval,
    /// Sequence number, or zero.
    pub sequence: u32,
    /// The id of the maintenance end point, 1 to 8191.
    pub mpid: u16,
    /// The maintenance association.
    pub maid: Maid,
    /// Extended mode.
    pub extended: Extended,
    /// TLVs, without the last one, which is always written.
    pub tlvs: Vec<Tlv>,
}

impl Default for Ccm {
    /// A message of end point 1 of Open vSwitch's association, every second.
    fn default() -> Ccm {
        Ccm {
            level: 0,
            rdi: false,
            interval: Interval(4),
            sequence: 0,
            mpid: 1,
            maid: Maid::OVS,
            extended: Extended::default(),
            tlvs: Vec::new(),
        }
    }
}

impl Wire for Ccm {
    fn parse(bytes: &[u8]) -> Result<Ccm, Error> {
        let view = View::new(bytes)?;
        Ok(Ccm {
            level: view.level(),
            rdi: view.rdi(),
            interval: view.interval(),
            sequence: view.sequence.get(),
            mpid: view.mpid.get(),
            maid: view.maid,
            extended: Extended {
                interval_ms: view.interval_ms.get(),
                mpid: view.extended_mpid.get(),
                opdown: view.opdown(),
            },
            tlvs: view.tlvs().map(|(kind, value)| Tlv { kind, value: value.to_vec() }).collect(),
        })
    }

    fn len(&self) -> usize {
        FIXED + self.tlvs.iter().map(|tlv| 3 + tlv.value.len()).sum::<usize>() + 1
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        w.u8(w.bits("CCM level", self.level, 3)? << 5)?;
        w.u8(OPCODE_CCM)?;
        w.u8(self.interval.0 | if self.rdi { RDI } else { 0 })?;
        w.u8((FIXED - OFFSET_FROM) as u8)?;
        w.u32(self.sequence)?;
        w.u16(self.mpid)?;
        w.put(&self.maid.0)?;
        w.u16(self.extended.interval_ms)?;
        w.put(&self.extended.mpid.to_be_bytes())?;
        w.u8(self.extended.opdown.into())?;
        w.zeros(5)?;
        for Tlv { kind, value } in &self.tlvs {
            if *kind == TlvKind::END {
                return Err(Error::new(TLV, w.position(), Fault::Misplaced));
            }
            w.u8(kind.0)?;
            w.u16(w.fits(TLV, value.len(), u16::MAX.into())?)?;
            w.put(value)?;
        }
        w.u8(TlvKind::END.0)?;
        Ok(w.position())
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.duration()) {
            (1, _) => f.write_str("3.33ms"),
            (_, Some(duration)) => write!(f, "{duration:?}"),
            (_, None) => f.write_str("other"),
        }
    }
}

/// The names if they are strings, else all bytes in hexadecimal.
impl fmt::Display for Maid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name| core::str::from_utf8(name).ok();
        match self.names() {
            Some([(Maid::DOMAIN_STRING, domain), (Maid::SHORT_STRING, association)])
                if text(domain).is_some() && text(association).is_some() =>
            {
                write!(f, "{}/{}", domain.escape_ascii(), association.escape_ascii())
            }
            _ => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for Maid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Ccm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ccm { level, rdi, interval, sequence, mpid, maid, extended, tlvs } = self;
        write!(f, "CCM level {level} mpid {mpid} in {maid} sequence {sequence} every {interval}")?;
        if *extended != Extended::default() {
            let Extended { interval_ms, mpid, opdown } = extended;
            write!(f, " extended ({interval_ms}ms mpid {mpid}{})", if *opdown { " opdown" } else { "" })?;
        }
        f.write_str(if *rdi { " rdi" } else { "" })?;
        tlvs.iter().try_for_each(|tlv| write!(f, " {} ({} bytes)", tlv.kind, tlv.value.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec;

    use super::*;
    use crate::wire::tests::{any_bytes, laws, refused};

    fn ccm() -> impl Strategy<Value = Ccm> {
        let tlv =
            (1u8.., prop::collection::vec(any::<u8>(), 0..9)).prop_map(|(k, value)| Tlv { kind: TlvKind(k), value });
        let extended =
            any::<(u16, u64, bool)>().prop_map(|(interval_ms, mpid, opdown)| Extended { interval_ms, mpid, opdown });
        (any::<(bool, u32, u16)>(), 0u8..8, 0u8..8, any::<[u8; 8]>(), extended, prop::collection::vec(tlv, 0..4))
            .prop_map(|((rdi, sequence, mpid), level, interval, start, extended, tlvs)| {
                let mut maid = Maid::OVS;
                maid.0[..8].copy_from_slice(&start);
                Ccm { level, rdi, interval: Interval(interval), sequence, mpid, maid, extended, tlvs }
            })
    }

    proptest! {
        #[test]
        fn messages_come_back(ccm in ccm()) {
            laws(&ccm);
        }

        #[test]
        fn any_bytes_end(ccm in ccm(), at in 0usize..90, to: u8, cut in 0usize..100) {
            let mut bytes = ccm.to_vec().unwrap();
            let at = at % bytes.len();
            bytes[at] = to;
            any_bytes::<Ccm>(&bytes[..cut.min(bytes.len())]);
        }
    }

    #[test]
    fn layout_is_that_of_the_standard() {
        let ccm = Ccm {
            level: 5,
            rdi: true,
            interval: Interval::OTHER,
            sequence: 0x01020304,
            mpid: 0x0506,
            extended: Extended { interval_ms: 0x1122, mpid: 0x33445566778899aa, opdown: true },
            ..Ccm::default()
        };
        let bytes = laws(&ccm);
        assert_eq!(bytes.len(), 75);
        assert_eq!(bytes[..20], [0xa0, 1, 0x80, 70, 1, 2, 3, 4, 5, 6, 4, 3, b'o', b'v', b's', 2, 3, b'o', b'v', b's']);
        assert_eq!(bytes[58..], [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            ccm.to_string(),
            "CCM level 5 mpid 1286 in ovs/ovs sequence 16909060 every other \
             extended (4386ms mpid 3694171492931115434 opdown) rdi"
        );
    }

    #[test]
    fn the_last_tlv_may_be_left_out_and_nothing_more() {
        let bytes = Ccm::default().to_vec().unwrap();
        assert_eq!(Ccm::parse(&bytes[..74]), Ok(Ccm::default()));
        for short in 0..74 {
            assert_eq!(refused::<Ccm>(&bytes[..short]).fault, Fault::Truncated);
        }
    }

    #[test]
    fn tlvs_stay_within_the_message() {
        let tlv = Tlv { kind: TlvKind::PORT_STATUS, value: vec![2] };
        let good = Ccm { tlvs: vec![tlv.clone()], ..Ccm::default() }.to_vec().unwrap();
        let with = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        assert_eq!(refused::<Ccm>(&with(76, 200)), Error::truncated(TLV, 77));
        assert_eq!(refused::<Ccm>(&with(3, 69)), Error::length("CCM first TLV offset", 3, 69));
        assert_eq!(refused::<Ccm>(&with(3, 255)), Error::length("CCM first TLV offset", 3, 255));
        assert_eq!(refused::<Ccm>(&with(1, 2)), Error::value("CFM opcode", 1, 2u8));
        // A greater offset skips what a newer version has there: here the port status.
        assert_eq!(Ccm::parse(&with(3, 74)).unwrap().tlvs, []);
        // Behind the last TLV anything may stand.
        assert_eq!(Ccm::parse(&[&good[..], &[9; 40]].concat()).unwrap().tlvs, [tlv]);
        assert!(Ccm { tlvs: vec![Tlv { kind: TlvKind::END, value: vec![] }], ..Ccm::default() }.to_vec().is_err());
    }

    #[test]
    fn names_of_associations() {
        assert_eq!(Maid::new("ovs", "ovs"), Some(Maid::OVS));
        assert_eq!(Maid::new("", "x"), None);
        assert_eq!(Maid::new(&"d".repeat(22), &"a".repeat(22)).unwrap().0[47], b'a');
        assert_eq!(Maid::new(&"d".repeat(22), &"a".repeat(23)), None);
        let mut maid = Maid::OVS;
        maid.0[1] = 45;
        assert_eq!(maid.names(), None);
        assert!(maid.to_string().starts_with("042d6f7673"));
        maid.0[..6].copy_from_slice(&[1, 32, 3, b'x', b'y', b'z']);
        assert_eq!(maid.names(), Some([(1, &[][..]), (32, &b"xyz"[..])]));
    }

    #[test]
    fn a_defect_is_patched_in_place() {
        let mut bytes = Ccm::default().to_vec().unwrap();
        let view = View::new_mut(&mut bytes).unwrap();
        view.set_rdi(true);
        view.set_opdown(true);
        view.sequence.set(9);
        let ccm = Ccm::parse(&bytes).unwrap();
        assert!(ccm.rdi && ccm.extended.opdown && ccm.sequence == 9);
        assert_eq!(ccm.interval.duration(), Some(Duration::from_secs(1)));
    }
}
