//! Parts of fields by name: `reg0[4..7]`, `NXM_NX_REG0[]`, `OXM_OF_METADATA[3]`.

use ovs_packet::field::{CLASS_EXPERIMENTER, FieldId};

use super::error::{ParseFlowError, Parsed, invalid};
use crate::action::Subfield;

/// The field called `name`, in the words of matches or of the wire formats.
pub(super) fn field(name: &str) -> Option<FieldId> {
    // The names of wire formats, and no others, begin with a capital letter.
    match name.bytes().next()?.is_ascii_uppercase() {
        true => FieldId::by_wire_name(name).or_else(|| FieldId::by_wire_name(name.strip_suffix("_W")?)),
        false => FieldId::by_name(name),
    }
}

/// Splits `FIELD[]`, `FIELD[BIT]`, `FIELD[LOW..HIGH]`, or `FIELD` for all of it, off the front of `text`; gives what is
/// left.
pub(super) fn split(text: &str, at: usize) -> Parsed<(Subfield, &str)> {
    let fail = |says: String| ParseFlowError::invalid(at, format!("{text}: {says}"));
    let name_end = text.bytes().position(|b| matches!(b, b'[' | b'-')).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(name_end).unwrap_or((text, ""));
    let field = field(name).ok_or_else(|| fail(format!("unknown field `{name}'")))?;
    let range = match rest.as_bytes() {
        [b'[', b']', ..] => return Ok((Subfield::whole(field), rest.get(2..).unwrap_or_default())),
        [b'[', ..] => rest.get(1..).unwrap_or_default(),
        _ => return Ok((Subfield::whole(field), rest)),
    };
    let width = field.info().bits;
    let syntax = || fail("syntax error expecting [] or [<bit>] or [<start>..<end>]".to_string());
    let (low, high, rest) = bits(range).ok_or_else(syntax)?;
    let narrow = |which, bit| fail(format!("{which} bit {bit} is not valid because field is only {width} bits wide"));
    match () {
        () if low > high => Err(fail(format!("starting bit {low} is after ending bit {high}"))),
        () if low >= width => Err(narrow("starting", low)),
        () if high >= width => Err(narrow("ending", high)),
        () => Ok((Subfield { field, offset: low, bits: high.saturating_sub(low).saturating_add(1) }, rest)),
    }
}

/// The lowest and the highest bit of `BIT]` or `LOW..HIGH]`, and what is left.
fn bits(text: &str) -> Option<(u16, u16, &str)> {
    let (low, rest) = bit(text)?;
    match rest.as_bytes() {
        [b']', ..] => Some((low, low, rest.get(1..)?)),
        [b'.', b'.', ..] => {
            let (high, rest) = bit(rest.get(2..)?)?;
            Some((low, high, rest.strip_prefix(']')?))
        }
        _ => None,
    }
}

/// The number of a bit, white space around it, and what is left.
fn bit(text: &str) -> Option<(u16, &str)> {
    let text = text.trim_ascii_start();
    let digits = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(digits)?;
    let number = number.bytes().try_fold(0u16, |n, b| n.checked_mul(10)?.checked_add(u16::from(b.wrapping_sub(b'0'))));
    Some((number.filter(|_| digits > 0)?, rest.trim_ascii_start()))
}

/// Reads a text that is one part of a field.
pub(super) fn parse(text: &str, at: usize) -> Parsed<Subfield> {
    match split(text, at)? {
        (subfield, "") => Ok(subfield),
        _ => invalid(at, format!("{text}: extra input following subfield")),
    }
}

/// Whether Nicira's and OpenFlow's own classes have the field, which older actions need.
pub(super) fn is_plain(field: FieldId) -> bool {
    field.info().oxm(0).is_some_and(|id| id.class != CLASS_EXPERIMENTER)
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
        let range = |s: &str| parse(s, 0).map(|s| (s.offset, s.bits)).ok();
        assert_eq!(range("reg0[]"), Some((0, 32)));
        assert_eq!(range("reg0[4..7]"), Some((4, 4)));
        assert_eq!(range("NXM_NX_REG0[31]"), Some((31, 1)));
        assert_eq!(range("reg0[ 4 .. 7 ]"), Some((4, 4)));
        for bad in [
            "reg0[",
            "reg0[32]",
            "reg0[5..4]",
            "reg0[x]",
            "reg0[..]",
            "reg0[4..]",
            "reg0[4.7]",
            "reg0[4. .7]",
            "reg0[65537]",
            "reg0[ ]",
            "bogus[]",
            "reg0[]x",
        ] {
            assert_eq!(range(bad), None, "{bad}");
        }
        assert_eq!(parse("reg0[4..7]", 0).unwrap().mask(), 0xf0);
        assert_eq!(parse("xxreg0[]", 0).unwrap().mask(), u128::MAX);
        assert_eq!(split("reg0[1]->reg1", 0).unwrap().1, "->reg1");
    }
}
