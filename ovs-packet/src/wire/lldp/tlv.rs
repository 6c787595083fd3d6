//! The TLVs: their types, what is in each, and reading the list.

use core::fmt;
use core::net::IpAddr;

use arrayvec::ArrayVec;
use bitflags::bitflags;
use zerocopy::FromBytes;

use super::{Each, NAME, Text, aa};
use crate::addr::EthAddr;
use crate::wire::{Error, Reader, Vec, code_points};

/// Types.
pub(super) mod kind {
    pub(in super::super) const END: u8 = 0;
    pub(in super::super) const CHASSIS_ID: u8 = 1;
    pub(in super::super) const PORT_ID: u8 = 2;
    pub(in super::super) const TTL: u8 = 3;
    pub(in super::super) const PORT_DESCRIPTION: u8 = 4;
    pub(in super::super) const SYSTEM_NAME: u8 = 5;
    pub(in super::super) const SYSTEM_DESCRIPTION: u8 = 6;
    pub(in super::super) const CAPABILITIES: u8 = 7;
    pub(in super::super) const MANAGEMENT_ADDRESS: u8 = 8;
    pub(in super::super) const ORGANIZATION: u8 = 127;
}

code_points! {
    /// What kind of thing the id of a chassis is (802.1AB, table 8-2).
    ChassisIdKind: u8 {
        /// A chassis component (RFC 4133).
        COMPONENT = 1, "component";
        /// An interface's alias (RFC 2863).
        INTERFACE_ALIAS = 2, "alias";
        /// A port component (RFC 4133).
        PORT_COMPONENT = 3, "port component";
        /// An Ethernet address.
        MAC_ADDRESS = 4, "mac";
        /// A network address: its family (one byte), and it.
        NETWORK_ADDRESS = 5, "address";
        /// An interface's name (RFC 2863).
        INTERFACE_NAME = 6, "interface";
        /// Assigned locally.
        LOCAL = 7, "local";
    }
}

code_points! {
    /// What kind of thing the id of a port is (802.1AB, table 8-3).
    PortIdKind: u8 {
        /// An interface's alias (RFC 2863).
        INTERFACE_ALIAS = 1, "alias";
        /// A port component (RFC 4133).
        COMPONENT = 2, "component";
        /// An Ethernet address.
        MAC_ADDRESS = 3, "mac";
        /// A network address: its family (one byte), and it.
        NETWORK_ADDRESS = 4, "address";
        /// An interface's name (RFC 2863).
        INTERFACE_NAME = 5, "interface";
        /// An agent circuit id (RFC 3046).
        AGENT_CIRCUIT = 6, "circuit";
        /// Assigned locally.
        LOCAL = 7, "local";
    }
}

code_points! {
    /// What an interface's number is (802.1AB, 8.5.9.5).
    InterfaceKind: u8 {
        /// It is not known.
        UNKNOWN = 1, "unknown";
        /// An interface index.
        IF_INDEX = 2, "ifindex";
        /// A port number of the system.
        SYSTEM_PORT = 3, "port";
    }
}

bitflags! {
    /// What a system can do (802.1AB, table 8-4).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Capabilities: u16 {
        /// Something else.
        const OTHER = 0x0001;
        /// A repeater.
        const REPEATER = 0x0002;
        /// A bridge.
        const BRIDGE = 0x0004;
        /// A WLAN access point.
        const WLAN_ACCESS_POINT = 0x0008;
        /// A router.
        const ROUTER = 0x0010;
        /// A telephone.
        const TELEPHONE = 0x0020;
        /// A cable modem.
        const DOCSIS = 0x0040;
        /// A station and nothing more.
        const STATION_ONLY = 0x0080;
        /// The customers' VLANs of a bridge.
        const CUSTOMER_VLAN = 0x0100;
        /// The provider's VLANs of a bridge.
        const SERVICE_VLAN = 0x0200;
        /// A relay of two ports.
        const TWO_PORT_RELAY = 0x0400;
    }
}

/// An address at which a system is managed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ManagementAddress {
    /// The family of the address, by the numbers of IANA: 1 for IPv4, 2 for IPv6, 6 for Ethernet.
    pub family: u8,
    /// The address, of at most 31 bytes.
    pub address: ArrayVec<u8, 31>,
    /// What the interface's number is.
    pub interface_kind: InterfaceKind,
    /// The number of the interface that has the address.
    pub interface: u32,
    /// The object that the interface is, encoded; mostly empty.
    pub object_id: ArrayVec<u8, 128>,
}

impl ManagementAddress {
    /// An IP address of an interface that has an index, or of an unknown one.
    pub fn new(ip: IpAddr, if_index: Option<u32>) -> ManagementAddress {
        let mut address = ArrayVec::new();
        let family = match ip {
            IpAddr::V4(ip) => {
                address.extend(ip.octets());
                1
            }
            IpAddr::V6(ip) => {
                address.extend(ip.octets());
                2
            }
        };
        let interface_kind = if if_index.is_some() { InterfaceKind::IF_INDEX } else { InterfaceKind::UNKNOWN };
        let interface = if_index.unwrap_or(0);
        ManagementAddress { family, address, interface_kind, interface, object_id: ArrayVec::new() }
    }

    /// The IP address, if it is one and has its length.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.family {
            1 => <[u8; 4]>::try_from(&self.address[..]).ok().map(IpAddr::from),
            2 => <[u8; 16]>::try_from(&self.address[..]).ok().map(IpAddr::from),
            _ => None,
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<ManagementAddress, Error> {
        let at = r.position();
        let length = r.u8()?;
        let bad = Error::length("LLDP management address", at, length.into());
        let (family, address) = r.take(length.into()).ok().and_then(|bytes| bytes.split_first()).ok_or(bad)?;
        let address = ArrayVec::try_from(address).map_err(|_| bad)?;
        let (interface_kind, interface) = (InterfaceKind(r.u8()?), r.u32()?);
        // Some senders leave out the length when there is no object id.
        let at = r.position();
        let length = if r.is_empty() { 0 } else { r.u8()? };
        let bad = Error::length("LLDP management object id", at, length.into());
        let object_id = r.take(length.into()).ok().and_then(|id| ArrayVec::try_from(id).ok()).ok_or(bad)?;
        Ok(ManagementAddress { family: *family, address, interface_kind, interface, object_id })
    }

    pub(super) fn each(&self, tlv: Each<'_>) -> Result<(), Error> {
        tlv(
            kind::MANAGEMENT_ADDRESS,
            &[
                &[self.address.len() as u8 + 1, self.family],
                &self.address,
                &[self.interface_kind.0],
                &self.interface.to_be_bytes(),
                &[self.object_id.len() as u8],
                &self.object_id,
            ],
        )
    }
}

/// A TLV of an organization.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Organization {
    /// The organization.
    pub oui: [u8; 3],
    /// The kind of TLV, as the organization has it.
    pub kind: u8,
    /// What it says, in at most 507 bytes.
    pub info: Vec<u8>,
}

/// A TLV, which may borrow from the message.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Tlv<'a> {
    /// The chassis.
    ChassisId(ChassisIdKind, &'a [u8]),
    /// The port.
    PortId(PortIdKind, &'a [u8]),
    /// For how many seconds the message is true.
    Ttl(u16),
    /// Description of the port.
    PortDescription(&'a [u8]),
    /// Name of the system.
    SystemName(&'a [u8]),
    /// Description of the system.
    SystemDescription(&'a [u8]),
    /// What the system can do.
    Capabilities {
        /// What it is able to do.
        available: Capabilities,
        /// What it does.
        enabled: Capabilities,
    },
    /// Where the system is managed.
    ManagementAddress(ManagementAddress),
    /// Auto-Attach: what kind of element the sender is.
    Element(aa::Element),
    /// Auto-Attach: a digest, and the service of each VLAN.
    Assignments(&'a [u8; 32], &'a [aa::AssignmentView]),
    /// Of another organization.
    Organization {
        /// The organization.
        oui: [u8; 3],
        /// The kind of TLV, as the organization has it.
        kind: u8,
        /// What it says.
        info: &'a [u8],
    },
    /// Of another type: type and value.
    Other(u8, &'a [u8]),
}

impl<'a> Tlv<'a> {
    fn read(kind: u8, at: usize, value: &'a [u8]) -> Result<Tlv<'a>, Error> {
        let named = |what| Reader::at(what, value, at);
        Ok(match kind {
            kind::CHASSIS_ID => {
                let (kind, id) = read_id(named("LLDP chassis id"))?;
                Tlv::ChassisId(ChassisIdKind(kind), id)
            }
            kind::PORT_ID => {
                let (kind, id) = read_id(named("LLDP port id"))?;
                Tlv::PortId(PortIdKind(kind), id)
            }
            kind::TTL => Tlv::Ttl(named("LLDP time to live").u16()?),
            kind::PORT_DESCRIPTION => Tlv::PortDescription(value),
            kind::SYSTEM_NAME => Tlv::SystemName(value),
            kind::SYSTEM_DESCRIPTION => Tlv::SystemDescription(value),
            kind::CAPABILITIES => {
                let mut r = named("LLDP capabilities");
                let available = Capabilities::from_bits_retain(r.u16()?);
                Tlv::Capabilities { available, enabled: Capabilities::from_bits_retain(r.u16()?) }
            }
            kind::MANAGEMENT_ADDRESS => {
                Tlv::ManagementAddress(ManagementAddress::read(&mut named("LLDP management address"))?)
            }
            kind::ORGANIZATION => {
                let mut r = named("LLDP organization");
                let (oui, kind) = (r.array()?, r.u8()?);
                let (at, info) = (r.position(), r.rest());
                match (oui, kind) {
                    (aa::OUI, aa::ELEMENT) => Tlv::Element(aa::Element::read(Reader::at("LLDP AA element", info, at))?),
                    (aa::OUI, aa::ASSIGNMENTS) => {
                        let (digest, list) =
                            info.split_first_chunk().ok_or(Error::truncated("LLDP AA assignments", at + info.len()))?;
                        let list = <[aa::AssignmentView]>::ref_from_bytes(list)
                            .map_err(|_| Error::length("LLDP AA assignments", at + digest.len(), list.len()))?;
                        Tlv::Assignments(digest, list)
                    }
                    _ => Tlv::Organization { oui, kind, info },
                }
            }
            other => Tlv::Other(other, value),
        })
    }
}

/// A kind, and a byte or more.
fn read_id(mut r: Reader<'_>) -> Result<(u8, &[u8]), Error> {
    let kind = r.u8()?;
    let mut id = r.clone();
    id.take(1)?;
    Ok((kind, r.rest()))
}

/// Reads a list of TLVs up to its end, or to the first error.
#[derive(Clone, Debug)]
pub(super) struct Tlvs<'a> {
    rest: Reader<'a>,
    ended: bool,
}

impl<'a> Tlvs<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Tlvs { rest: Reader::new(NAME, bytes), ended: false }
    }

    /// Where the next one begins.
    pub(super) fn position(&self) -> usize {
        self.rest.position()
    }

    /// Whether the list ended with the TLV that says so.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    fn read(&mut self) -> Result<Option<(u8, Tlv<'a>)>, Error> {
        let at = self.rest.position();
        let head = self.rest.u16()?;
        let (kind, length) = ((head >> 9) as u8, usize::from(head & 0x1ff));
        if length > self.rest.remaining() || (kind == kind::END && length != 0) {
            return Err(Error::length("LLDP TLV", at, length));
        }
        let (at, value) = (self.rest.position(), self.rest.take(length)?);
        self.ended = kind == kind::END;
        if self.ended { Ok(None) } else { Tlv::read(kind, at, value).map(|tlv| Some((kind, tlv))) }
    }
}

impl<'a> Iterator for Tlvs<'a> {
    /// The type, and the TLV.
    type Item = Result<(u8, Tlv<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.rest.is_empty() {
            return None;
        }
        let tlv = self.read().transpose();
        if matches!(tlv, Some(Err(_))) {
            self.rest.rest();
        }
        tlv
    }
}

/// An id: an Ethernet address if it says so and is one, else text.
pub(super) fn show_id(f: &mut fmt::Formatter<'_>, is_mac: bool, id: &[u8]) -> fmt::Result {
    match <[u8; 6]>::try_from(id) {
        Ok(mac) if is_mac => write!(f, "{}", EthAddr(mac)),
        _ => write!(f, "{}", Text(id)),
    }
}

impl fmt::Display for ManagementAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            Some(ip) => write!(f, "managed at {ip}")?,
            None => write!(f, "managed at family {} {}", self.family, Text(&self.address))?,
        }
        write!(f, " interface {} {}", self.interface_kind, self.interface)
    }
}

impl fmt::Display for Organization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.oui;
        write!(f, "{a:02x}-{b:02x}-{c:02x} TLV {} ({} bytes)", self.kind, self.info.len())
    }
}
