//! Fields as TLVs: Nicira's (NXM) and OpenFlow's (OXM), from the table of fields.
//!
//! A TLV is a header (class, field, whether there is a mask, length), an experimenter number if the class says so,
//! the value and perhaps a mask as long as the value. Which fields exist, their numbers, widths, masks and
//! prerequisites are the [table's](ovs_packet::field). Here are single TLVs; `fields` has matches made of them, in the
//! order of `order`; `options` has tunnel options, whose TLVs are like no others.

mod fields;
mod options;
mod order;
mod plain;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use ovs_packet::field::{CLASS_EXPERIMENTER, CLASS_NXM_0, CLASS_NXM_1, FieldId, OxmId, PlainTlv};

use super::cursor::{Place, Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};

pub(super) use fields::{
    Reading, match_in, read_fields, read_fields_in, read_match, read_nxm, write_fields, write_match, write_nxm,
};
pub(super) use options::write_long;

pub(super) const OFPMT_OXM: u16 = 1;

/// Of a version where Nicira's format is meant.
pub(super) const NXM: u8 = 0;

/// Cookie and mask as a match's TLV, which Nicira's format has.
const NXM_NX_COOKIE: OxmId = OxmId { class: CLASS_NXM_1, field: 30, experimenter: 0 };

/// A field with the bits of it that a TLV speaks of, right-aligned. The value is zero outside the mask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) field: FieldId,
    pub(super) value: u128,
    pub(super) mask: u128,
    /// Whether the TLV had a mask, which may have been one of all bits.
    pub(super) masked: bool,
}

/// Whether the field has a number.
pub(super) fn has_number(field: FieldId) -> bool {
    HEADS.get(field as usize).is_some_and(|heads| heads.first().is_some_and(Option::is_some))
}

/// Whether the field has a number of Nicira's, whose headers have no experimenter.
pub(super) fn has_nxm(field: FieldId) -> bool {
    field.info().oxm(NXM).is_some_and(|id| id.class == CLASS_NXM_0 || id.class == CLASS_NXM_1)
}

fn write_id(w: &mut Writer, id: OxmId, masked: bool, value_bytes: usize) {
    let doubled = if masked { value_bytes.saturating_mul(2) } else { value_bytes };
    let experimenter = if id.class == CLASS_EXPERIMENTER { 4 } else { 0 };
    w.u16(id.class);
    w.u8((id.field & 0x7f) << 1 | u8::from(masked));
    w.uint(doubled.saturating_add(experimenter) as u128, 1);
    if id.class == CLASS_EXPERIMENTER {
        w.u32(id.experimenter);
    }
}

fn id_in(field: FieldId, version: u8) -> Result<OxmId, EncodeError> {
    let info = field.info();
    info.oxm(version).ok_or(EncodeError::NotInVersion { version, what: info.name })
}

/// Writes the header of a field without its value.
///
/// # Errors
/// If the field has no number.
pub(super) fn write_header(w: &mut Writer, version: u8, field: FieldId) -> Result<(), EncodeError> {
    write_header_as(w, version, field, false)
}

/// The same, announcing a mask or none.
pub(super) fn write_header_as(w: &mut Writer, version: u8, field: FieldId, masked: bool) -> Result<(), EncodeError> {
    let bytes = w.wire_bytes(field);
    if bytes != field.info().wire_bytes {
        // A tunnel option whose length is known.
        write_id(w, id_in(field, version)?, masked, bytes.into());
        return Ok(());
    }
    let [plain, with_mask] = heads_of(field, version)?;
    write_head(w, if masked { *with_mask } else { *plain });
    Ok(())
}

/// Writes the header of a field in 32 bits.
///
/// # Errors
/// If it has no room there.
pub(super) fn write_header32(w: &mut Writer, field: FieldId) -> Result<(), EncodeError> {
    w.u32(header32_for(w, field)?);
    Ok(())
}

/// The same as a number.
#[inline(always)]
pub(super) fn header32_for(w: &Writer, field: FieldId) -> Result<u32, EncodeError> {
    let header = header32(field)?;
    Ok(if w.knows_options() { header & !0xff | u32::from(w.wire_bytes(field)) } else { header })
}

/// The header of a field in 32 bits, in which an experimenter's has no room.
#[inline(always)]
pub(super) fn header32(field: FieldId) -> Result<u32, EncodeError> {
    /// Of all fields; none of those that have no room.
    static HEADERS: LazyLock<Vec<Option<u32>>> = LazyLock::new(|| {
        let header = |field: FieldId| {
            let id = field.info().code_points().map(|p| p.id).find(|id| id.class != CLASS_EXPERIMENTER)?;
            let word = u32::from(id.class) << 16 | u32::from(id.field & 0x7f) << 9;
            Some(word | u32::from(field.info().wire_bytes))
        };
        FieldId::all().map(header).collect()
    });
    let header = HEADERS.get(field as usize).copied().flatten();
    header.ok_or_else(|| EncodeError::NotInVersion { version: NXM, what: field.info().name })
}

/// The header of a TLV of a field without a mask, and with one: as a number, and whether that has 32 bits or, with an
/// experimenter, 64.
type Heads = [(u64, bool); 2];

fn write_head(w: &mut Writer, (head, is_short): (u64, bool)) {
    match is_short {
        true => w.u32(head as u32),
        false => w.u64(head),
    }
}

#[inline(always)]
fn heads_of(field: FieldId, version: u8) -> Result<&'static Heads, EncodeError> {
    let heads = HEADS.get(field as usize).and_then(|h| h.get(usize::from(version))?.as_ref());
    heads.ok_or_else(|| EncodeError::NotInVersion { version, what: field.info().name })
}

/// How many versions have numbers of their own, Nicira's format being one.
const VERSIONS: usize = 7;

/// The headers of all fields that have a number, by version.
static HEADS: LazyLock<Vec<[Option<Heads>; VERSIONS]>> = LazyLock::new(|| {
    let heads = |field: FieldId, version: u8| {
        let head = |masked| {
            let mut w = Writer::new();
            write_id(&mut w, id_in(field, version).ok()?, masked, field.info().wire_bytes.into());
            Some((w.written().iter().fold(0, |n, b| n << 8 | u64::from(*b)), w.len() == 4))
        };
        Some([head(false)?, head(true)?])
    };
    FieldId::all().map(|f| core::array::from_fn(|v| heads(f, v as u8))).collect()
});

/// Writes a TLV; without a mask if all bits of the field count.
///
/// # Errors
/// If the field has no number.
pub(super) fn write_entry(
    w: &mut Writer,
    version: u8,
    field: FieldId,
    value: u128,
    mask: u128,
) -> Result<(), EncodeError> {
    let info = field.info();
    let [plain, with_mask] = heads_of(field, version)?;
    let (all, bytes) = (info.max_value(), usize::from(info.wire_bytes));
    // The states that there are do not fill the field: all of them are not all of it.
    let masked = mask & all != all || field == FieldId::CtState;
    write_head(w, if masked { *with_mask } else { *plain });
    w.uint(value & mask & all, bytes);
    if masked {
        w.uint(mask & all, bytes);
    }
    Ok(())
}

/// The TLV of a field in a version, if that is one of the plain.
#[inline(always)]
pub(super) fn plain_in(field: FieldId, version: u8) -> Option<&'static PlainTlv> {
    PlainTlv::of(head_of(field, version)?)
}

/// The header of a TLV of a field without a mask, if it has 32 bits.
#[inline(always)]
fn head_of(field: FieldId, version: u8) -> Option<u32> {
    match heads_of(field, version).ok()? {
        [(head, true), _] => u32::try_from(*head).ok(),
        _ => None,
    }
}

/// Reads the number of a field: a TLV's header, with the length of what follows it.
pub(super) fn read_id(r: &mut Reader<'_>) -> Result<(OxmId, bool, usize), DecodeError> {
    let head = r.u32()?;
    let (class, field, masked) = ((head >> 16) as u16, (head >> 9 & 0x7f) as u8, head & 0x100 != 0);
    let (mut len, mut experimenter) = ((head & 0xff) as usize, 0);
    if class == CLASS_EXPERIMENTER {
        len = len.checked_sub(4).ok_or_else(|| r.error(OfError::BadMatchBadLength, "room for an experimenter"))?;
        experimenter = r.u32()?;
    }
    Ok((OxmId { class, field, experimenter }, masked, len))
}

pub(super) fn known(id: OxmId, start: Place) -> Result<FieldId, DecodeError> {
    let what = if id.is_known_class() { "a field of this class" } else { "a known class of fields" };
    FieldId::by_oxm(id).ok_or_else(|| start.error(OfError::BadMatchBadField, what))
}

/// Reads the header of a field without its value.
///
/// # Errors
/// OFPBMC_BAD_MASK if it announces a mask, OFPBMC_BAD_FIELD, OFPBMC_BAD_LEN.
pub(super) fn read_header(r: &mut Reader<'_>) -> Result<FieldId, DecodeError> {
    let start = r.place();
    let (id, masked, len) = read_id(r)?;
    if masked {
        return Err(start.error(OfError::BadMatchBadMask, "a field without a mask"));
    }
    let field = known(id, start)?;
    let bytes = usize::from(field.info().wire_bytes);
    if len != bytes && (field.tun_metadata_index().is_none() || len == 0 || len > bytes) {
        return Err(start.error(OfError::BadMatchBadLength, "the length of the field"));
    }
    Ok(field)
}

/// Reads a TLV.
///
/// # Errors
/// OFPBMC_BAD_FIELD, OFPBMC_BAD_LEN, OFPBMC_BAD_MASK, OFPBMC_BAD_WILDCARDS, OFPBMC_BAD_VALUE.
pub(super) fn read_entry(r: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    let start = r.place();
    let (id, masked, len) = read_id(r)?;
    let field = known(id, start)?;
    read_value(r, start, (field, masked, len))
}

/// How long a TLV of a field is behind its header.
fn wire_len(field: FieldId, masked: bool) -> usize {
    let bytes = usize::from(field.info().wire_bytes);
    if masked { bytes.saturating_mul(2) } else { bytes }
}

/// Reads what stands behind the header of a TLV that begins at `start`: of which field, whether with a mask, how long.
fn read_value(
    r: &mut Reader<'_>,
    start: Place,
    (field, masked, len): (FieldId, bool, usize),
) -> Result<Entry, DecodeError> {
    let info = field.info();
    let bytes = usize::from(info.wire_bytes);
    if len != wire_len(field, masked) {
        return Err(start.error(OfError::BadMatchBadLength, "the length of the field"));
    }
    let at = r.clone();
    let value = r.uint(bytes)?;
    if !masked {
        return match field.accepts(value) {
            true => Ok(Entry { field, value, mask: info.max_value(), masked }),
            false => Err(at.error(OfError::BadMatchBadValue, "a value that the field can have")),
        };
    }
    let wire_mask = r.uint(bytes)?;
    let mask = wire_mask & info.max_value();
    if value & !wire_mask != 0 {
        Err(at.error(OfError::BadMatchBadWildcards, "a value that is zero where its mask is"))
    } else if mask != info.max_value() && mask != 0 && !info.maskable {
        Err(at.error(OfError::BadMatchBadMask, "no mask, or one of all bits"))
    } else if value & !info.max_value() != 0 || (value & mask == value && !field.accepts(value)) {
        Err(at.error(OfError::BadMatchBadValue, "a value that the field can have"))
    } else {
        Ok(Entry { field, value, mask, masked })
    }
}
