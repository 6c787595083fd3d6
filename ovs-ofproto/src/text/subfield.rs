//! Parts of fields by name: `reg0[4..7]`, `NXM_NX_REG0[]`, `OXM_OF_METADATA[3]`.

use ovs_packet::field::{FieldId, Subfield};

use super::error::ParseFlowError;

/// The field called `name`, in the words of matches or of the wire formats.
pub(super) fn field(name: &str) -> Option<FieldId> {
    FieldId::by_wire_name(name).or_else(|| FieldId::by_name(name))
}

/// Reads `FIELD[]`, `FIELD[BIT]`, `FIELD[LOW..HIGH]`; without brackets too, for the whole field.
pub(super) fn parse(text: &str) -> Result<Subfield, ParseFlowError> {
    text.parse::<Subfield>().map_err(|e| ParseFlowError::expected(e.at, e.expected, text.get(e.at..).unwrap_or("")))
}
