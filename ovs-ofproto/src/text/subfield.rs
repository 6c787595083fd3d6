//! Parts of fields by name: `reg0[4..7]`, `NXM_NX_REG0[]`, `OXM_OF_METADATA[3]`.

use ovs_packet::field::FieldId;

use super::error::ParseFlowError;
use crate::action::Subfield;

/// The field called `name`, in the words of matches or of the wire formats.
pub(super) fn field(name: &str) -> Option<FieldId> {
    FieldId::by_wire_name(name).or_else(|| FieldId::by_name(name))
}

/// Reads `FIELD[]`, `FIELD[BIT]`, `FIELD[LOW..HIGH]`; without brackets too, for the whole field.
pub(super) fn parse(text: &str) -> Result<Subfield, ParseFlowError> {
    let (name, range) = match text.split_once('[') {
        None => (text, ""),
        Some((name, rest)) => {
            let end = || ParseFlowError::expected(text.len(), "a closing bracket", "");
            (name, rest.strip_suffix(']').ok_or_else(end)?)
        }
    };
    let field = field(name).ok_or_else(|| ParseFlowError::expected(0, "the name of a field", name))?;
    let width = field.info().bits;
    let bad = || ParseFlowError::expected(name.len(), "bits of the field: [], [BIT] or [LOW..HIGH]", range);
    let number = |s: &str| s.parse::<u16>().ok().filter(|n| *n < width);
    let (low, high) = match range.split_once("..") {
        _ if range.is_empty() => (0, width.saturating_sub(1)),
        None => number(range).map(|n| (n, n)).ok_or_else(bad)?,
        Some((low, high)) => number(low).zip(number(high)).filter(|(l, h)| l <= h).ok_or_else(bad)?,
    };
    Ok(Subfield { field, offset: low, bits: high - low + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_kinds() {
        use FieldId::*;
        for (name, f) in [
            ("reg0", Reg0),
            ("NXM_NX_REG15", Reg15),
            ("NXM_NX_XXREG1", Xxreg1),
            ("OXM_OF_PKT_REG3", Xreg3),
            ("NXM_OF_ETH_SRC", EthSrc),
            ("OXM_OF_METADATA", Metadata),
            ("OXM_OF_IPV4_SRC", NwSrc),
            ("NXM_OF_TCP_DST", TcpDst),
            ("NXM_NX_CT_MARK", CtMark),
            ("OXM_OF_VLAN_VID", VlanVid),
            ("NXM_OF_VLAN_TCI", VlanTci),
        ] {
            assert_eq!(field(name), Some(f), "{name}");
        }
        for name in ["NXM_NX_TCP_DST", "NXM_OF_METADATA", "OXM_OF_", "NXM_NX_reg0", "OXM_OF_PKT_REG16", "bogus"] {
            assert_eq!(field(name), None, "{name}");
        }
    }

    #[test]
    fn ranges() {
        let range = |s: &str| parse(s).map(|s| (s.offset, s.bits)).ok();
        assert_eq!(range("reg0[]"), Some((0, 32)));
        assert_eq!(range("reg0[4..7]"), Some((4, 4)));
        assert_eq!(range("NXM_NX_REG0[31]"), Some((31, 1)));
        for bad in ["reg0[", "reg0[32]", "reg0[5..4]", "reg0[x]", "reg0[..]", "bogus[]"] {
            assert_eq!(range(bad), None, "{bad}");
        }
        assert_eq!(parse("reg0[4..7]").unwrap().mask(), 0xf0);
        assert_eq!(parse("xxreg0[]").unwrap().mask(), u128::MAX);
    }
}
