//! LLDP: what a station says of itself to its neighbours (IEEE 802.1AB-2009, clauses 8 and 9).
//!
//! A message is a list of TLVs, each of them a type (7 bits), a length (9 bits) and a value:
//!
//! ```text
//!  type  value                                                     where
//!   1    chassis id: kind (1), id (1-255)                          first
//!   2    port id: kind (1), id (1-255)                             second
//!   3    time to live in seconds (2)                               third
//!   4    port description    5  system name    6  system description
//!   7    system capabilities: available (2), enabled (2)
//!   8    management address: length of the next two (1), family (1), address (0-31),
//!        interface kind (1), interface (4), length of the next (1), object id (0-128)
//! 127    organization: its id (3), kind (1), anything (0-507)
//!   0    end: length 0                                             last
//! ```
//!
//! Open vSwitch knows one organization, Avaya, and of it the two TLVs of Auto-Attach ([`aa`]).
//!
//! [`View::tlvs`] reads the list as it is. [`Pdu`] keeps one of each of those that may be there once (the last one),
//! and all of the others; it emits them in the order above, which is Open vSwitch's but for the port description.

pub mod aa;
mod tlv;

pub use tlv::{Capabilities, ChassisIdKind, InterfaceKind, ManagementAddress, Organization, PortIdKind, Tlv};

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Fault, Vec, Wire, Writer, view};
use crate::addr::EthAddr;
use tlv::{Tlvs, kind};

/// The Ethertype of LLDP.
pub const ETH_TYPE: u16 = 0x88cc;
/// Where messages are sent to: the nearest bridge. Bridges do not forward it.
pub const DESTINATION: EthAddr = EthAddr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e]);

const NAME: &str = "LLDP";

/// A message in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    bytes: [u8],
}

view!(View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        let mut tlvs = Tlvs::new(&self.bytes);
        for (name, first) in
            [("LLDP chassis id", kind::CHASSIS_ID), ("LLDP port id", kind::PORT_ID), ("LLDP time to live", kind::TTL)]
        {
            let at = tlvs.position();
            match tlvs.next().transpose()? {
                Some((kind, _)) if kind == first => {}
                _ => return Err(Error::new(name, at, Fault::Missing)),
            }
        }
        loop {
            let at = tlvs.position();
            match tlvs.next().transpose()? {
                Some((kind::CHASSIS_ID, _)) => return Err(Error::new("LLDP chassis id", at, Fault::Repeated)),
                Some((kind::PORT_ID, _)) => return Err(Error::new("LLDP port id", at, Fault::Repeated)),
                Some((kind::TTL, _)) => return Err(Error::new("LLDP time to live", at, Fault::Repeated)),
                Some(_) => {}
                None if tlvs.ended() => return Ok(()),
                None => return Err(Error::new("LLDP end", at, Fault::Missing)),
            }
        }
    }

    /// The TLVs before the end, in the order in which they are there.
    pub fn tlvs(&self) -> impl Iterator<Item = Tlv<'_>> {
        Tlvs::new(&self.bytes).map_while(|tlv| tlv.ok().map(|(_, tlv)| tlv))
    }

    /// Sets for how many seconds the message is true; zero takes back what was said.
    pub fn set_ttl(&mut self, seconds: u16) {
        let mut tlvs = Tlvs::new(&self.bytes);
        tlvs.by_ref().take(2).for_each(drop);
        // The check saw to it that the third TLV is this one and has two bytes.
        let at = tlvs.position() + 2;
        if let Some(ttl) = self.bytes.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut()) {
            *ttl = seconds.to_be_bytes();
        }
    }
}

/// A message.
///
/// ```
/// use ovs_packet::EthAddr;
/// use ovs_packet::wire::{self, Wire, lldp};
///
/// let me = EthAddr::local(1);
/// let pdu = lldp::Pdu {
///     chassis_id_kind: lldp::ChassisIdKind::MAC_ADDRESS,
///     chassis_id: me.0.to_vec(),
///     port_id_kind: lldp::PortIdKind::INTERFACE_NAME,
///     port_id: b"eth0".to_vec(),
///     ttl: 120,
///     system_name: b"br0".to_vec(),
///     ..Default::default()
/// };
/// let frame = wire::frame(lldp::DESTINATION, me, lldp::ETH_TYPE, &pdu).unwrap();
/// assert_eq!(lldp::Pdu::parse(&frame[14..]), Ok(pdu.clone()));
/// assert_eq!(pdu.to_string(), r#"LLDP chassis mac 02:00:00:00:00:01 port interface "eth0" for 120s system "br0""#);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pdu {
    /// What kind of thing the chassis' id is.
    pub chassis_id_kind: ChassisIdKind,
    /// The chassis: 1 to 255 bytes.
    pub chassis_id: Vec<u8>,
    /// What kind of thing the port's id is.
    pub port_id_kind: PortIdKind,
    /// The port: 1 to 255 bytes.
    pub port_id: Vec<u8>,
    /// For how many seconds the message is true; zero takes back what was said.
    pub ttl: u16,
    /// Description of the port; not sent if empty.
    pub port_description: Vec<u8>,
    /// Name of the system; not sent if empty.
    pub system_name: Vec<u8>,
    /// Description of the system; not sent if empty.
    pub system_description: Vec<u8>,
    /// What the system can do, and does.
    pub capabilities: Option<(Capabilities, Capabilities)>,
    /// Where the system is managed.
    pub management: Vec<ManagementAddress>,
    /// Auto-Attach: what kind of element the sender is.
    pub element: Option<aa::Element>,
    /// Auto-Attach: the service of each VLAN, asked for or granted; one per TLV.
    pub assignments: Vec<aa::Assignments>,
    /// TLVs of organizations.
    pub organizations: Vec<Organization>,
    /// Other TLVs: type from 9 to 126, value.
    pub others: Vec<(u8, Vec<u8>)>,
}

impl Wire for Pdu {
    fn parse(bytes: &[u8]) -> Result<Pdu, Error> {
        let mut pdu = Pdu::default();
        for tlv in View::new(bytes)?.tlvs() {
            match tlv {
                Tlv::ChassisId(kind, id) => (pdu.chassis_id_kind, pdu.chassis_id) = (kind, id.to_vec()),
                Tlv::PortId(kind, id) => (pdu.port_id_kind, pdu.port_id) = (kind, id.to_vec()),
                Tlv::Ttl(seconds) => pdu.ttl = seconds,
                Tlv::PortDescription(text) => pdu.port_description = text.to_vec(),
                Tlv::SystemName(text) => pdu.system_name = text.to_vec(),
                Tlv::SystemDescription(text) => pdu.system_description = text.to_vec(),
                Tlv::Capabilities { available, enabled } => pdu.capabilities = Some((available, enabled)),
                Tlv::ManagementAddress(address) => pdu.management.push(address),
                Tlv::Element(element) => pdu.element = Some(element),
                Tlv::Assignments(digest, list) => pdu.assignments.push(aa::Assignments::new(digest, list)),
                Tlv::Organization { oui, kind, info } => {
                    pdu.organizations.push(Organization { oui, kind, info: info.to_vec() });
                }
                Tlv::Other(kind, value) => pdu.others.push((kind, value.to_vec())),
            }
        }
        Ok(pdu)
    }

    fn len(&self) -> usize {
        let mut len = 0;
        // Counting cannot fail.
        let _ = self.each(&mut |_, value| {
            len += 2 + value.iter().map(|part| part.len()).sum::<usize>();
            Ok(())
        });
        len
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        self.each(&mut |kind, value| {
            let length = value.iter().map(|part| part.len()).sum();
            let length: u16 = w.fits("LLDP TLV", length, 0x1ff)?;
            w.u16(u16::from(kind) << 9 | length)?;
            value.iter().try_for_each(|part| w.put(part))
        })?;
        let bytes = w.written();
        // What may not be sent is what must not be received: ids without bytes, for one.
        View::new(bytes).map(|_| bytes.len())
    }
}

/// Takes the type of a TLV and the parts of its value.
type Each<'a> = &'a mut dyn FnMut(u8, &[&[u8]]) -> Result<(), Error>;

impl Pdu {
    /// Gives each TLV, in order, with the end.
    fn each(&self, tlv: Each<'_>) -> Result<(), Error> {
        tlv(kind::CHASSIS_ID, &[&[self.chassis_id_kind.0], &self.chassis_id])?;
        tlv(kind::PORT_ID, &[&[self.port_id_kind.0], &self.port_id])?;
        tlv(kind::TTL, &[&self.ttl.to_be_bytes()])?;
        for (kind, text) in [
            (kind::PORT_DESCRIPTION, &self.port_description),
            (kind::SYSTEM_NAME, &self.system_name),
            (kind::SYSTEM_DESCRIPTION, &self.system_description),
        ] {
            if !text.is_empty() {
                tlv(kind, &[text])?;
            }
        }
        if let Some((available, enabled)) = self.capabilities {
            tlv(kind::CAPABILITIES, &[&available.bits().to_be_bytes(), &enabled.bits().to_be_bytes()])?;
        }
        self.management.iter().try_for_each(|address| address.each(tlv))?;
        if let Some(element) = &self.element {
            tlv(kind::ORGANIZATION, &[&aa::OUI, &[aa::ELEMENT], &element.bytes()?])?;
        }
        for assignments in &self.assignments {
            let list = assignments.views()?;
            tlv(kind::ORGANIZATION, &[&aa::OUI, &[aa::ASSIGNMENTS], &assignments.digest, list.as_bytes()])?;
        }
        for Organization { oui, kind, info } in &self.organizations {
            if *oui == aa::OUI && matches!(*kind, aa::ELEMENT | aa::ASSIGNMENTS) {
                return Err(Error::new("LLDP Auto-Attach as of any organization", 0, Fault::Misplaced));
            }
            tlv(kind::ORGANIZATION, &[oui, &[*kind], info])?;
        }
        for (kind, value) in &self.others {
            if !(kind::MANAGEMENT_ADDRESS + 1..kind::ORGANIZATION).contains(kind) {
                return Err(Error::value("LLDP type of another TLV", 0, *kind));
            }
            tlv(*kind, &[value])?;
        }
        tlv(kind::END, &[])
    }
}

/// Bytes that are mostly text.
struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for Pdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LLDP chassis {} ", self.chassis_id_kind)?;
        tlv::show_id(f, self.chassis_id_kind == ChassisIdKind::MAC_ADDRESS, &self.chassis_id)?;
        write!(f, " port {} ", self.port_id_kind)?;
        tlv::show_id(f, self.port_id_kind == PortIdKind::MAC_ADDRESS, &self.port_id)?;
        write!(f, " for {}s", self.ttl)?;
        for (name, text) in [
            ("port description", &self.port_description),
            ("system", &self.system_name),
            ("description", &self.system_description),
        ] {
            if !text.is_empty() {
                write!(f, " {name} {}", Text(text))?;
            }
        }
        if let Some((available, enabled)) = &self.capabilities {
            f.write_str(" can ")?;
            bitflags::parser::to_writer(available, &mut *f)?;
            f.write_str(", does ")?;
            bitflags::parser::to_writer(enabled, &mut *f)?;
        }
        self.management.iter().try_for_each(|address| write!(f, "; {address}"))?;
        self.element.iter().try_for_each(|element| write!(f, "; {element}"))?;
        self.assignments.iter().try_for_each(|list| write!(f, "; {list}"))?;
        self.organizations.iter().try_for_each(|tlv| write!(f, "; {tlv}"))?;
        self.others.iter().try_for_each(|(kind, value)| write!(f, "; TLV {kind} ({} bytes)", value.len()))
    }
}

#[cfg(test)]
mod tests;
