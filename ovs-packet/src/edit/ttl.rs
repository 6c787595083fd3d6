//! One hop less: TTLs counted down.

use super::sum::{Sum, change};
use super::{EditError, nsh_at};
use crate::field::KeyAttr;
use crate::packet::Packet;

/// Counts the TTL of IPv4, or the hop limit of IPv6, down by one, and gives what is left.
///
/// # Errors
/// [`EditError::TtlExpired`] if it is 0 or 1: the packet must not go on, and is unchanged.
/// [`EditError::NoSuchHeader`] if the packet is not IP.
pub fn dec_ttl(packet: &mut Packet) -> Result<u8, EditError> {
    let missing = EditError::NoSuchHeader(KeyAttr::Ipv4);
    let l3 = packet.layers().l3.ok_or(missing)?;
    let header = packet.data().get(l3..).unwrap_or(&[]);
    let at = match header.first().map(|b| b >> 4) {
        Some(4) if header.len() >= 20 => l3 + 8,
        Some(6) if header.len() >= 40 => l3 + 7,
        _ => return Err(missing),
    };
    let left = less(packet, at)?;
    if at == l3 + 8 {
        let (old, new) = change::<2>(packet, at, &[left, 0], &[0xff, 0]).ok_or(missing)?;
        Sum::of_ipv4(packet, l3).update(packet, &old, &new);
    } else {
        change::<1>(packet, at, &[left], &[0xff]).ok_or(missing)?;
    }
    Ok(left)
}

/// Counts the TTL of the outermost MPLS label down by one, and gives what is left.
///
/// # Errors
/// As [`dec_ttl`].
pub fn dec_mpls_ttl(packet: &mut Packet) -> Result<u8, EditError> {
    let missing = EditError::NoSuchHeader(KeyAttr::Mpls);
    let at = packet.layers().l2_5.ok_or(missing)? + 3;
    let left = less(packet, at).map_err(|e| if e == EditError::TtlExpired { e } else { missing })?;
    change::<1>(packet, at, &[left], &[0xff]).ok_or(missing)?;
    Ok(left)
}

/// Counts the TTL of the NSH header down by one, and gives what is left.
///
/// # Errors
/// As [`dec_ttl`].
pub fn dec_nsh_ttl(packet: &mut Packet) -> Result<u8, EditError> {
    let missing = EditError::NoSuchHeader(KeyAttr::Nsh);
    let at = nsh_at(packet).ok_or(missing)?;
    let base = packet.data_mut().get_mut(at..).and_then(|d| d.first_chunk_mut::<2>()).ok_or(missing)?;
    let word = u16::from_be_bytes(*base);
    let left = match word >> 6 & 0x3f {
        0 | 1 => return Err(EditError::TtlExpired),
        ttl => ttl - 1,
    };
    *base = (word & !(0x3f << 6) | left << 6).to_be_bytes();
    Ok(left as u8)
}

fn less(packet: &Packet, at: usize) -> Result<u8, EditError> {
    match packet.data().get(at) {
        Some(0 | 1) => Err(EditError::TtlExpired),
        Some(ttl) => Ok(ttl - 1),
        None => Err(EditError::NoSuchHeader(KeyAttr::Ipv4)),
    }
}
