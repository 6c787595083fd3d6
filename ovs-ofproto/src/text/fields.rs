//! Fields of matches as TLVs in words: `NXM_OF_IN_PORT(0001), NXM_OF_VLAN_TCI_W(0123/0fff)`.
//!
//! A field is called by its name on the wire, with `_W` where a mask follows, or by its header in hexadecimal; values are
//! bytes in hexadecimal, as many as the header says.

use std::fmt::Write;

use ovs_packet::field::{CLASS_EXPERIMENTER, CLASS_NXM_1, FieldId, OxmId};

use super::error::{ParseFlowError, Parsed, invalid};

/// Cookies have a header in Nicira's format, though they are no field.
const COOKIE: (&str, OxmId) = ("NXM_NX_COOKIE", OxmId { class: CLASS_NXM_1, field: 30, experimenter: 0 });
const COOKIE_BYTES: usize = 8;

/// What stands before a value.
struct Header {
    id: OxmId,
    masked: bool,
    /// Bytes of the value alone.
    len: usize,
    /// Whether a value may be shorter.
    varies: bool,
}

/// The field that has this number, with its name there.
fn field_of(id: OxmId) -> Option<(FieldId, &'static str)> {
    let field = FieldId::by_oxm(id)?;
    let point = field.info().code_points().find(|p| p.id == id)?;
    Some((field, point.name))
}

impl Header {
    fn by_name(name: &str) -> Option<Header> {
        let (name, masked) = name.strip_suffix("_W").map_or((name, false), |name| (name, true));
        if name == COOKIE.0 {
            return Some(Header { id: COOKIE.1, masked, len: COOKIE_BYTES, varies: false });
        }
        let field = FieldId::by_wire_name(name)?;
        let point = field.info().code_points().find(|p| p.name == name)?;
        let varies = field.tun_metadata_index().is_some();
        Some(Header { id: point.id, masked, len: field.info().wire_bytes.into(), varies })
    }

    /// A header in hexadecimal: eight digits, or sixteen with an experimenter.
    fn by_digits(name: &str) -> Option<Header> {
        let digits = name.strip_prefix("0x").unwrap_or(name);
        let number = u64::from_str_radix(digits, 16).ok()?;
        let (word, experimenter) = match digits.len() {
            0..=8 => (u32::try_from(number).ok()?, 0),
            _ => (u32::try_from(number >> 32).ok()?, u32::try_from(number & 0xffff_ffff).ok()?),
        };
        let class = u16::try_from(word >> 16).ok()?;
        let masked = word >> 8 & 1 != 0;
        let all = usize::from(u8::try_from(word & 0xff).ok()?);
        let all = if class == CLASS_EXPERIMENTER { all.checked_sub(4)? } else { all };
        let field = u8::try_from(word >> 9 & 0x7f).ok()?;
        let len = if masked { all / 2 } else { all };
        Some(Header { id: OxmId { class, field, experimenter }, masked, len, varies: false })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let payload = if self.masked { self.len.saturating_mul(2) } else { self.len };
        let extra = if self.id.class == CLASS_EXPERIMENTER { 4 } else { 0 };
        out.extend(self.id.class.to_be_bytes());
        out.push(self.id.field << 1 | u8::from(self.masked));
        out.push(u8::try_from(payload.saturating_add(extra)).unwrap_or(u8::MAX));
        if self.id.class == CLASS_EXPERIMENTER {
            out.extend(self.id.experimenter.to_be_bytes());
        }
    }
}

/// Reads fields in words as TLVs; `<any>` for none.
///
/// ```
/// use ovs_ofproto::text::{fields_of, fields_text};
///
/// let bytes = fields_of("NXM_OF_IN_PORT(0001), NXM_OF_ETH_TYPE(0800)")?;
/// assert_eq!(bytes, [0, 0, 0, 2, 0, 1, 0, 0, 6, 2, 8, 0]);
/// assert_eq!(fields_text(&bytes), "NXM_OF_IN_PORT(0001), NXM_OF_ETH_TYPE(0800)");
/// # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
/// ```
///
/// # Errors
/// What is no field, with its place.
pub fn fields_of(text: &str) -> Parsed<Vec<u8>> {
    let mut out = Vec::new();
    if text.trim() == "<any>" {
        return Ok(out);
    }
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        let at = text.len().saturating_sub(rest.len());
        if rest.is_empty() {
            return Ok(out);
        }
        let missing = |what: &str| ParseFlowError::invalid(at, format!("{text}: missing {what}"));
        let (name, behind) = rest.split_once('(').ok_or_else(|| missing("( at end of nx_match"))?;
        let unknown = || ParseFlowError::invalid(at, format!("{text}: unknown field `{name}'"));
        let mut header = Header::by_name(name).or_else(|| Header::by_digits(name)).ok_or_else(unknown)?;
        let (values, behind) = behind.split_once(')').ok_or_else(|| missing(&format!(") following field {name}")))?;
        let (value, mask) = values.split_once('/').map_or((values, None), |(v, m)| (v, Some(m)));
        let bytes = |digits: &str| {
            super::number::hex_bytes(digits)
                .ok_or_else(|| ParseFlowError::invalid(at, format!("{digits:.2}: hex digits expected")))
        };
        let value = bytes(value)?;
        if header.varies && value.len() <= header.len {
            header.len = value.len();
        }
        if value.len() != header.len {
            return invalid(at, format!("expected to read {} bytes but got {}", header.len, value.len()));
        }
        header.write(&mut out);
        out.extend(&value);
        match (header.masked, mask) {
            (true, None) => return Err(missing(&format!("/ in masked field {name}"))),
            (true, Some(mask)) => {
                let mask = bytes(mask)?;
                if mask.len() != header.len {
                    return invalid(at, format!("expected to read {} bytes but got {}", header.len, mask.len()));
                }
                out.extend(mask);
            }
            (false, Some(_)) => return Err(missing(&format!(") following field {name}"))),
            (false, None) => {}
        }
        rest = behind;
    }
}

/// Writes TLVs in words; `<any>` for none. What is cut off ends the list.
pub fn fields_text(mut bytes: &[u8]) -> String {
    let mut out = String::new();
    while let [a, b, field, len, rest @ ..] = bytes {
        let (class, masked) = (u16::from_be_bytes([*a, *b]), field & 1 != 0);
        let (experimenter, rest, len) = match (class, rest) {
            (CLASS_EXPERIMENTER, [a, b, c, d, rest @ ..]) => {
                (u32::from_be_bytes([*a, *b, *c, *d]), rest, usize::from(*len).saturating_sub(4))
            }
            (_, rest) => (0, rest, usize::from(*len)),
        };
        let Some((value, behind)) = rest.split_at_checked(len) else { break };
        bytes = behind;
        let id = OxmId { class, field: field >> 1, experimenter };
        out.push_str(if out.is_empty() { "" } else { ", " });
        let name = if id == COOKIE.1 { Some(COOKIE.0) } else { field_of(id).map(|(_, name)| name) };
        // Writing to a text does not fail.
        let _ = match name {
            Some(name) => write!(out, "{name}{}(", if masked { "_W" } else { "" }),
            None => write!(out, "{experimenter}:{class}:{}(", field >> 1),
        };
        let half = if masked { len / 2 } else { len };
        for (n, byte) in value.iter().enumerate() {
            let _ = write!(out, "{}{byte:02x}", if masked && n == half { "/" } else { "" });
        }
        out.push(')');
    }
    if out.is_empty() { "<any>".to_string() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bytes() {
        for text in [
            "<any>",
            "NXM_OF_VLAN_TCI_W(0123/0fff)",
            "NXM_NX_COOKIE_W(00000000abcdef01/ffffffff00000000)",
            "OXM_OF_ETH_TYPE(0800), NXOXM_ET_ERSPAN_VER_W(01/01)",
            "NXM_NX_TUN_METADATA0(0102)",
        ] {
            assert_eq!(fields_text(&fields_of(text).unwrap()), text);
        }
        assert_eq!(fields_of("01020304(1111/3333)").unwrap(), [1, 2, 3, 4, 0x11, 0x11, 0x33, 0x33]);
        let says = |text: &str| fields_of(text).unwrap_err().problem.to_string();
        assert_eq!(says("NXM_OF_IN_PORT"), "NXM_OF_IN_PORT: missing ( at end of nx_match");
        assert_eq!(says("XYZ(00)"), "XYZ(00): unknown field `XYZ'");
        assert_eq!(says("NXM_OF_IN_PORT(00)"), "expected to read 2 bytes but got 1");
        assert_eq!(
            says("NXM_OF_VLAN_TCI_W(0000)"),
            "NXM_OF_VLAN_TCI_W(0000): missing / in masked field NXM_OF_VLAN_TCI_W"
        );
    }
}
