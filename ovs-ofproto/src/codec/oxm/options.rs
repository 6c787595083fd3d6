//! Tunnel options, whose value and mask are runs of bytes with lengths of their own.
//!
//! They have no place of their own: a match keeps them with their lengths, and that is what is written and read. Whether a
//! switch's table of options has them is for [`place`](ovs_packet::field::TlvTable::place) to say.

use ovs_packet::Match;
use ovs_packet::field::{FieldId, TUN_OPTION_MAX, TunOption};

use super::{id_in, write_id};
use crate::codec::cursor::{Place, Reader, Writer};
use crate::codec::error::{DecodeError, EncodeError, OfError};

/// Writes the tunnel options of a match.
pub(super) fn write_options(m: &Match, w: &mut Writer, version: u8) -> Result<(), EncodeError> {
    for (index, option) in m.tun_options() {
        let field = FieldId::tun_metadata(index).unwrap_or(FieldId::TunMetadata0);
        match (option.is_present(), option.value()) {
            // There is no TLV for an option that is not there.
            (false, _) => return Err(EncodeError::Match { field: field.info().name }),
            (true, []) => write_long(w, version, field, &[0], Some(&[0]))?,
            (true, value) => write_long(w, version, field, value, Some(option.mask()).filter(|_| !option.is_exact()))?,
        }
    }
    Ok(())
}

/// Writes a TLV whose value and mask are bytes: a tunnel option.
pub(in crate::codec) fn write_long(
    w: &mut Writer,
    version: u8,
    field: FieldId,
    value: &[u8],
    mask: Option<&[u8]>,
) -> Result<(), EncodeError> {
    write_id(w, id_in(field, version)?, mask.is_some(), value.len());
    w.bytes(value);
    w.bytes(mask.unwrap_or_default());
    Ok(())
}

/// Reads what stands behind the header of tunnel option `index`, which has any length up to [`TUN_OPTION_MAX`].
pub(super) fn read_option(
    r: &mut Reader<'_>,
    start: Place,
    (index, masked, len): (usize, bool, usize),
    m: &mut Match,
) -> Result<(), DecodeError> {
    let bad = |error, what| start.error(error, what);
    let bytes = if masked { len / 2 } else { len };
    // With a mask of no bytes, some switches say that an option is there which is mapped to none.
    if len == 0 && !masked || bytes > TUN_OPTION_MAX || masked && !len.is_multiple_of(2) {
        return Err(bad(OfError::BadMatchBadLength, "the length of a tunnel option"));
    }
    let value = r.bytes(bytes)?;
    let option = match masked.then(|| r.bytes(bytes)).transpose()? {
        None => TunOption::exact(value),
        Some(mask) if value.iter().zip(mask).any(|(v, m)| v & !m != 0) => {
            return Err(bad(OfError::BadMatchBadWildcards, "a value that is zero where its mask is"));
        }
        Some(mask) if mask.iter().all(|b| *b == 0) => Some(TunOption::PRESENT),
        Some(mask) => TunOption::masked(value, mask),
    };
    let option = option.ok_or_else(|| bad(OfError::BadMatchBadLength, "the length of a tunnel option"))?;
    if m.tun_option(index).is_some() {
        return Err(bad(OfError::BadMatchDuplicate, "an option that was not there yet"));
    }
    m.set_tun_option(index, &option).map_err(|_| bad(OfError::BadMatchBadLength, "room for the tunnel options"))
}
