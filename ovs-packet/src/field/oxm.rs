//! Numbers and names of fields on the wire.
//!
//! A field may have several: Nicira's (NXM), OpenFlow's (OXM) since some version, and experimenters' from before
//! OpenFlow took the field up. All are read, whatever the protocol's version; one is written, the preferred one of
//! the version (see [`Field::oxm`](super::Field::oxm)).

use core::fmt;

/// Class of the fields of the first Nicira table, which repeat those of OpenFlow 1.0.
pub const CLASS_NXM_0: u16 = 0x0000;
/// Class of the Nicira extensions.
pub const CLASS_NXM_1: u16 = 0x0001;
/// Class of Ericsson's fields, a member class of the Open Networking Foundation.
pub const CLASS_ERICSSON: u16 = 0x1000;
/// Class of the fields that OpenFlow defines.
pub const CLASS_OPENFLOW_BASIC: u16 = 0x8000;
/// Class of the packet registers.
pub const CLASS_PACKET_REGS: u16 = 0x8001;
/// Class of experimenter fields, whose header is followed by an experimenter number.
pub const CLASS_EXPERIMENTER: u16 = 0xffff;
/// Experimenter number of the Open Networking Foundation.
pub const EXPERIMENTER_ONF: u32 = 0x4f4e_4600;
/// Experimenter number of Nicira.
pub const EXPERIMENTER_NX: u32 = 0x0000_2320;
/// Experimenter number of Nicira's fields of the Network Service Header.
pub const EXPERIMENTER_NSH: u32 = 0x005a_d650;

/// A match field's number on the wire: class and field of an OXM TLV header (OpenFlow 1.5, section 7.2.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OxmId {
    /// `oxm_class`.
    pub class: u16,
    /// `oxm_field`, 7 bits.
    pub field: u8,
    /// The experimenter, where the class is [`CLASS_EXPERIMENTER`]; 0 elsewhere.
    pub experimenter: u32,
}

/// Class, number and name of a field in one of the wire formats.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CodePoint {
    /// The name, such as `NXM_OF_ETH_SRC`.
    pub name: &'static str,
    /// The number.
    pub id: OxmId,
    /// The first OpenFlow version, as on the wire (OpenFlow 1.2 is 3), that standardizes the number; 0 for an
    /// extension, which goes with every version.
    pub since: u8,
}

impl fmt::Debug for CodePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.id.field)
    }
}

/// The classes by the beginnings of their names; a longer one stands before its own beginning.
const CLASSES: [(&str, u16, u32); 8] = [
    ("NXM_OF_", CLASS_NXM_0, 0),
    ("NXM_NX_", CLASS_NXM_1, 0),
    ("OXM_OF_PKT_REG", CLASS_PACKET_REGS, 0),
    ("OXM_OF_", CLASS_OPENFLOW_BASIC, 0),
    ("ERICOXM_OF_", CLASS_ERICSSON, 0),
    ("ONFOXM_ET_", CLASS_EXPERIMENTER, EXPERIMENTER_ONF),
    ("NXOXM_ET_", CLASS_EXPERIMENTER, EXPERIMENTER_NX),
    ("NXOXM_NSH_", CLASS_EXPERIMENTER, EXPERIMENTER_NSH),
];

/// How many spaces of numbers there are.
pub(super) const SPACES: usize = CLASSES.len();

impl OxmId {
    /// The space of numbers that this one is in, below [`SPACES`]; none if the class is not known.
    pub(super) const fn space(self) -> Option<usize> {
        Some(match (self.class, self.experimenter) {
            (CLASS_NXM_0, 0) => 0,
            (CLASS_NXM_1, 0) => 1,
            (CLASS_PACKET_REGS, 0) => 2,
            (CLASS_OPENFLOW_BASIC, 0) => 3,
            (CLASS_ERICSSON, 0) => 4,
            (CLASS_EXPERIMENTER, EXPERIMENTER_ONF) => 5,
            (CLASS_EXPERIMENTER, EXPERIMENTER_NX) => 6,
            (CLASS_EXPERIMENTER, EXPERIMENTER_NSH) => 7,
            _ => return None,
        })
    }

    /// Whether any field has a number of this class and experimenter, so that one that is not found is an unknown
    /// field of a known class.
    pub const fn is_known_class(self) -> bool {
        self.space().is_some()
    }
}

impl CodePoint {
    /// The number in the class that the name begins with.
    #[expect(clippy::panic, clippy::indexing_slicing, reason = "evaluated when compiled")]
    pub(super) const fn new(name: &'static str, field: u8, since: u8) -> CodePoint {
        let mut i = 0;
        while i < CLASSES.len() {
            let (prefix, class, experimenter) = CLASSES[i];
            if starts_with(name, prefix) {
                return CodePoint { name, id: OxmId { class, field, experimenter }, since };
            }
            i += 1;
        }
        panic!("a name of no known class")
    }
}

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const fn starts_with(name: &str, prefix: &str) -> bool {
    let (name, prefix) = (name.as_bytes(), prefix.as_bytes());
    let mut i = 0;
    while i < prefix.len() {
        if i >= name.len() || name[i] != prefix[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_a_space_of_its_own() {
        for (i, (_, class, experimenter)) in CLASSES.into_iter().enumerate() {
            assert_eq!(OxmId { class, field: 0, experimenter }.space(), Some(i));
        }
        assert_eq!(OxmId { class: 0x8002, field: 0, experimenter: 0 }.space(), None);
        assert_eq!(OxmId { class: CLASS_NXM_0, field: 0, experimenter: 1 }.space(), None);
    }
}
