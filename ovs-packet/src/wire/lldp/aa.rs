//! The TLVs of Auto-Attach (draft-unbehagen-lldp-spb), by which a station asks for its VLANs to be joined to services
//! of a shortest-path bridging network.
//!
//! Both are of the organization `00-04-0d` and begin with a digest of 32 bytes, which Open vSwitch sends as zeros:
//!
//! ```text
//!  kind 11, element                         kind 12, assignments
//!   0  digest                                0  digest
//!  32  kind (6 bits), state (6), VLAN (12)  32  status (4 bits), VLAN (12), service (24), repeated
//!  35  reserved
//!  36  system
//!  42  connection kind (3 bits), id (13)
//!  44  connection: more (2)
//! ```
//!
//! Of the bits of the state, the first is whether the link's frames are tagged, and the next two how services are
//! provisioned.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::addr::EthAddr;
use crate::wire::{Error, Reader, Vec, Writer, code_points};

/// The organization.
pub const OUI: [u8; 3] = [0x00, 0x04, 0x0d];
/// The kind of the TLV that says what the sender is.
pub const ELEMENT: u8 = 11;
/// The kind of the TLV that assigns VLANs to services.
pub const ASSIGNMENTS: u8 = 12;

/// The bytes of an element behind organization and kind.
const ELEMENT_LEN: usize = 46;

code_points! {
    /// What kind of element a station is.
    ElementKind: u8 {
        /// Not known.
        UNKNOWN = 1, "unknown";
        /// A server.
        SERVER = 2, "server";
        /// A proxy.
        PROXY = 3, "proxy";
        /// A server that does not authenticate.
        SERVER_NO_AUTH = 4, "server without authentication";
        /// A proxy that does not authenticate.
        PROXY_NO_AUTH = 5, "proxy without authentication";
        /// A wireless access point that authenticates.
        ACCESS_POINT_1 = 6, "access point type 1";
        /// A wireless access point that does not.
        ACCESS_POINT_2 = 7, "access point type 2";
        /// A switch.
        SWITCH = 8, "switch";
        /// A router.
        ROUTER = 9, "router";
        /// An IP phone.
        PHONE = 10, "phone";
        /// An IP camera.
        CAMERA = 11, "camera";
        /// IP video.
        VIDEO = 12, "video";
        /// A security device.
        SECURITY_DEVICE = 13, "security device";
        /// A virtual switch: what Open vSwitch says it is.
        VIRTUAL_SWITCH = 14, "virtual switch";
        /// A server as an end point.
        SERVER_ENDPOINT = 15, "server endpoint";
    }
}

/// What a station is to Auto-Attach.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Element {
    /// Authentication of the rest.
    pub digest: [u8; 32],
    /// What kind of element it is; 6 bits.
    pub kind: ElementKind,
    /// Whether the link's frames are to be tagged.
    pub vlan_tagging: bool,
    /// How services are provisioned; 2 bits.
    pub provisioning: u8,
    /// The VLAN that it is managed in; 12 bits.
    pub management_vlan: u16,
    /// Its address.
    pub system: EthAddr,
    /// How it is connected: 0 by one link, 1 by several to one system, 2 by one of a pair, 3 by several to a pair.
    /// 3 bits.
    pub connection: u8,
    /// Which connection; 13 bits.
    pub connection_id: u16,
    /// More of the connection.
    pub connection_more: u16,
}

impl Element {
    /// An element of this kind and address; all else zero.
    pub const fn new(kind: ElementKind, system: EthAddr) -> Element {
        Element {
            digest: [0; 32],
            kind,
            vlan_tagging: false,
            provisioning: 0,
            management_vlan: 0,
            system,
            connection: 0,
            connection_id: 0,
            connection_more: 0,
        }
    }

    pub(super) fn read(mut r: Reader<'_>) -> Result<Element, Error> {
        let (digest, word) = (r.array()?, r.u32()?);
        let (system, connection) = (EthAddr(r.array()?), r.u16()?);
        Ok(Element {
            digest,
            kind: ElementKind((word >> 26) as u8),
            vlan_tagging: word >> 25 & 1 != 0,
            provisioning: (word >> 23 & 3) as u8,
            management_vlan: (word >> 8 & 0xfff) as u16,
            system,
            connection: (connection >> 13) as u8,
            connection_id: connection & 0x1fff,
            connection_more: r.u16()?,
        })
    }

    pub(super) fn bytes(&self) -> Result<[u8; ELEMENT_LEN], Error> {
        let mut bytes = [0; ELEMENT_LEN];
        let mut w = Writer::new("LLDP AA element", &mut bytes);
        w.put(&self.digest)?;
        let kind = w.bits("LLDP AA element kind", self.kind.0, 6)?;
        let provisioning = w.bits("LLDP AA provisioning", self.provisioning, 2)?;
        let vlan = w.bits("LLDP AA management VLAN", self.management_vlan, 12)?;
        let state = u32::from(self.vlan_tagging) << 25 | u32::from(provisioning) << 23;
        w.u32(u32::from(kind) << 26 | state | u32::from(vlan) << 8)?;
        w.put(&self.system.0)?;
        let connection = w.bits("LLDP AA connection", self.connection, 3)?;
        let id = w.bits("LLDP AA connection id", self.connection_id, 13)?;
        w.u16(u16::from(connection) << 13 | id)?;
        w.u16(self.connection_more)?;
        Ok(bytes)
    }
}

/// An assignment in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct AssignmentView {
    status_vlan: [u8; 2],
    isid: [u8; 3],
}

/// The assignment of a VLAN to a service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Assignment {
    /// What has become of it: 1 asked for, 2 granted, others refused for a reason. 4 bits.
    pub status: u8,
    /// The VLAN; 12 bits.
    pub vlan: u16,
    /// The service instance; 24 bits.
    pub isid: u32,
}

impl From<&AssignmentView> for Assignment {
    fn from(view: &AssignmentView) -> Assignment {
        let (word, [a, b, c]) = (u16::from_be_bytes(view.status_vlan), view.isid);
        Assignment { status: (word >> 12) as u8, vlan: word & 0xfff, isid: u32::from_be_bytes([0, a, b, c]) }
    }
}

/// What one TLV assigns, at most 95 VLANs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Assignments {
    /// Authentication of the rest.
    pub digest: [u8; 32],
    /// The service of each VLAN.
    pub list: Vec<Assignment>,
}

impl Assignments {
    pub(super) fn new(digest: &[u8; 32], list: &[AssignmentView]) -> Assignments {
        Assignments { digest: *digest, list: list.iter().map(Assignment::from).collect() }
    }

    pub(super) fn views(&self) -> Result<Vec<AssignmentView>, Error> {
        let nowhere = Writer::new("LLDP AA assignments", &mut []);
        let view = |assignment: &Assignment| {
            let status = nowhere.bits("LLDP AA status", assignment.status, 4)?;
            let vlan = nowhere.bits("LLDP AA VLAN", assignment.vlan, 12)?;
            let [_, a, b, c] = nowhere.bits("LLDP AA service", assignment.isid, 24)?.to_be_bytes();
            Ok(AssignmentView { status_vlan: (u16::from(status) << 12 | vlan).to_be_bytes(), isid: [a, b, c] })
        };
        self.list.iter().map(view).collect()
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Element { kind, vlan_tagging, provisioning, management_vlan, system, connection, connection_id, .. } = self;
        let tagging = if *vlan_tagging { "tagged" } else { "untagged" };
        write!(f, "AA {kind} {system} {tagging} provisioning {provisioning} management VLAN {management_vlan}")?;
        write!(f, " connection {connection},{connection_id}")
    }
}

impl fmt::Display for Assignments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AA assignments")?;
        self.list.iter().try_for_each(|a| write!(f, " VLAN {} to {} status {}", a.vlan, a.isid, a.status))
    }
}
