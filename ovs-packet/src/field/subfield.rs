//! Runs of bits of a field: `reg0[4..7]`, `NXM_NX_REG0[]`, `vlan_tci[12]`.

use core::fmt;

use super::FieldId;

/// A run of bits of a field.
///
/// ```
/// use ovs_packet::field::{FieldId, Subfield};
///
/// let s: Subfield = "NXM_NX_REG0[4..7]".parse().unwrap();
/// assert_eq!((s.field, s.offset, s.bits, s.mask()), (FieldId::Reg0, 4, 4, 0xf0));
/// assert_eq!(s.to_string(), "reg0[4..7]");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Subfield {
    /// The field.
    pub field: FieldId,
    /// The lowest bit.
    pub offset: u16,
    /// How many bits.
    pub bits: u16,
}

/// Why a text names no bits of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ParseSubfieldError {
    /// Byte offset in the text of what is wrong.
    pub at: usize,
    /// What should be there.
    pub expected: &'static str,
}

impl fmt::Display for ParseSubfieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at offset {}", self.expected, self.at)
    }
}

impl core::error::Error for ParseSubfieldError {}

impl Subfield {
    /// All bits of a field.
    pub const fn whole(field: FieldId) -> Subfield {
        Subfield { field, offset: 0, bits: field.info().bits }
    }

    /// Whether these are all bits of the field.
    pub const fn is_whole(self) -> bool {
        self.offset == 0 && self.bits == self.field.info().bits
    }

    /// The bits as a mask of the field; 0 for bits above the 128th, which only tunnel options have.
    pub fn mask(self) -> u128 {
        self.ones().checked_shl(self.offset.into()).unwrap_or(0)
    }

    /// The bits as a mask of a value; for more than 128, all ones.
    pub fn ones(self) -> u128 {
        u128::MAX.checked_shr(128u32.saturating_sub(self.bits.into())).unwrap_or(0)
    }
}

impl core::str::FromStr for Subfield {
    type Err = ParseSubfieldError;

    /// Reads `FIELD[]`, `FIELD[BIT]`, `FIELD[LOW..HIGH]`; without brackets too, for the whole field. The field is
    /// called as in a match or as in one of the wire formats.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, range) = match text.split_once('[') {
            None => (text, ""),
            Some((name, rest)) => {
                let end = ParseSubfieldError { at: text.len(), expected: "a closing bracket" };
                (name, rest.strip_suffix(']').ok_or(end)?)
            }
        };
        let unknown = ParseSubfieldError { at: 0, expected: "the name of a field" };
        let field = FieldId::by_name(name).or_else(|| FieldId::by_wire_name(name)).ok_or(unknown)?;
        let width = field.info().bits;
        let bad = ParseSubfieldError { at: name.len(), expected: "bits of the field: [], [BIT] or [LOW..HIGH]" };
        let number = |s: &str| s.parse::<u16>().ok().filter(|n| *n < width);
        let (low, high) = match range.split_once("..") {
            _ if range.is_empty() => (0, width.saturating_sub(1)),
            None => number(range).map(|n| (n, n)).ok_or(bad)?,
            Some((low, high)) => number(low).zip(number(high)).filter(|(l, h)| l <= h).ok_or(bad)?,
        };
        Ok(Subfield { field, offset: low, bits: high - low + 1 })
    }
}

/// As the reference writes it, by the field's own name.
impl fmt::Display for Subfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.field.info().name;
        match self.bits {
            _ if self.is_whole() => write!(f, "{name}[]"),
            1 => write!(f, "{name}[{}]", self.offset),
            bits => write!(f, "{name}[{}..{}]", self.offset, self.offset + bits - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn names_of_all_kinds() {
        use FieldId::*;
        for (name, field) in [
            ("reg0", Reg0),
            ("reg31", Reg31),
            ("NXM_NX_REG15", Reg15),
            ("NXOXM_ET_REG16", Reg16),
            ("NXM_NX_XXREG1", Xxreg1),
            ("OXM_OF_PKT_REG3", Xreg3),
            ("NXM_OF_ETH_SRC", EthSrc),
            ("dl_src", EthSrc),
            ("OXM_OF_METADATA", Metadata),
            ("OXM_OF_IPV4_SRC", NwSrc),
            ("NXM_OF_TCP_DST", TcpDst),
            ("NXM_NX_CT_MARK", CtMark),
            ("OXM_OF_VLAN_VID", VlanVid),
            ("NXM_OF_VLAN_TCI", VlanTci),
            ("NXOXM_NSH_C2", NshC2),
        ] {
            assert_eq!(name.parse(), Ok(Subfield::whole(field)), "{name}");
        }
        for name in ["NXM_NX_TCP_DST", "NXM_OF_METADATA", "OXM_OF_", "NXM_NX_reg0", "OXM_OF_PKT_REG16", "bogus", ""] {
            assert_eq!(name.parse::<Subfield>().map_err(|e| e.at), Err(0), "{name}");
        }
    }

    #[test]
    fn ranges() {
        let range = |s: &str| s.parse::<Subfield>().map(|s| (s.offset, s.bits)).ok();
        assert_eq!(range("reg0[]"), Some((0, 32)));
        assert_eq!(range("reg0[4..7]"), Some((4, 4)));
        assert_eq!(range("NXM_NX_REG0[31]"), Some((31, 1)));
        assert_eq!(range("vlan_vid[]"), Some((0, 12)));
        assert_eq!(range("tun_metadata3[0..991]"), Some((0, 992)));
        for bad in ["reg0[", "reg0[32]", "reg0[5..4]", "reg0[x]", "reg0[..]", "reg0[0..32]", "reg0[-1]", "reg0[1..2"] {
            assert_eq!(range(bad), None, "{bad}");
        }
        let s = |s: &str| s.parse::<Subfield>().unwrap();
        assert_eq!((s("reg0[4..7]").mask(), s("xxreg0[]").mask()), (0xf0, u128::MAX));
        assert_eq!(s("xxreg0[127]").to_string(), "xxreg0[127]");
        assert_eq!(s("OXM_OF_PKT_REG0[0..63]").to_string(), "xreg0[]");
    }
}
