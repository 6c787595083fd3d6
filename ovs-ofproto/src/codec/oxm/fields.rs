//! Matches as lists of TLVs, and the structures around those.
//!
//! A match may read the same bits as several fields (a TCP port is no UDP port; two registers are one wide register).
//! Writing goes through the fields in order and takes each bit once, under the first field whose prerequisites the
//! match meets; bits that no field takes make the match one that cannot be said.
//!
//! "No VLAN tag" is written in OXM as `vlan_vid` 0 (OFPVID_NONE), whether the match has the whole tag or the id with the
//! present bit; it is read as the latter. No packet tells the two apart.
//!
//! A field of a header, be it masked out whole, makes the match one of Ethernet's packets, as it does upstream. What else
//! the match says of headers goes for that; where there is nothing else, its packet type is said.

use ovs_packet::field::{FieldId, PlainTlv, Prereq};
use ovs_packet::key::{MatchBuilder, Rest, VLAN_PCP_MASK, VLAN_PRESENT};
use ovs_packet::{Match, OfPort};

use super::options::{read_option, write_options};
use super::order::{BEHIND_OPTIONS, Layout, ORDER};
use super::plain::write_plain;
use super::{NXM, NXM_NX_COOKIE, OFPMT_OXM, known, read_id, read_value, wire_len, write_entry, write_id};
use crate::codec::cursor::{Place, Reader, Shape, Writer};
use crate::codec::error::{DecodeError, EncodeError, OfError};

/// What is read of a match's TLVs.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::codec) struct Reading {
    /// Pass over fields that are not known.
    pub(in crate::codec) loose: bool,
    /// There may be a cookie.
    pub(in crate::codec) cookie: bool,
    /// Fields of the packet's headers may not be there.
    pub(in crate::codec) pipeline: bool,
}

impl Reading {
    /// Pass over what is not known, and leave prerequisites out of account.
    pub(in crate::codec) const LOOSE: Reading = Reading { loose: true, cookie: false, pipeline: false };
    /// The same of a packet that a controller sends.
    pub(in crate::codec) const PIPELINE: Reading = Reading { loose: true, cookie: false, pipeline: true };
    /// There may be a cookie.
    pub(in crate::codec) const COOKIE: Reading = Reading { loose: false, cookie: true, pipeline: false };
    /// A match of a flow.
    pub(in crate::codec) const STRICT: Reading = Reading { loose: false, cookie: false, pipeline: false };
}

/// Writes the TLVs of a match, without the structure around them.
pub(in crate::codec) fn write_fields(
    m: &Match,
    w: &mut Writer,
    version: u8,
    cookie: Option<(u64, u64)>,
) -> Result<(), EncodeError> {
    let layout = layout_of(version)?;
    if w.fill(|room| write_plain(m, layout, room, 0)).is_none() {
        write_others(m, w, version, layout)?;
    }
    match cookie {
        Some((value, mask)) if mask != 0 => write_cookie(value, mask, w),
        _ => {}
    }
    Ok(())
}

#[inline(always)]
fn layout_of(version: u8) -> Result<&'static Layout, EncodeError> {
    Layout::of(version).ok_or(EncodeError::NotInVersion { version, what: "a match of TLVs" })
}

#[inline(never)]
fn write_cookie(value: u64, mask: u64, w: &mut Writer) {
    let masked = mask != u64::MAX;
    write_id(w, NXM_NX_COOKIE, masked, 8);
    w.u64(value & mask);
    if masked {
        w.u64(mask);
    }
}

/// Writes the TLVs of any match.
#[inline(never)]
pub(super) fn write_others(m: &Match, w: &mut Writer, version: u8, layout: &Layout) -> Result<(), EncodeError> {
    let mut left = Rest::empty(m);
    left.fill();
    layout.fields_of(m, left.prereqs()).try_for_each(|place| {
        if let Some(tlv) = layout.plain(place)
            && let Some(value) = left.take_plain(tlv)
        {
            w.first_bytes(tlv.to_bytes(value), tlv.size());
            return Ok(());
        }
        match ORDER.get(place) {
            Some(field) => write_field(*field, &mut left, m, w, version),
            None => Ok(()),
        }
    })?;
    if left.is_empty() {
        return Ok(());
    }
    match left.field() {
        Some(f) => Err(EncodeError::Match { field: f.info().name }),
        None => Ok(()),
    }
}

/// Writes what is left of a field.
#[inline(never)]
fn write_field(field: FieldId, left: &mut Rest<'_>, m: &Match, w: &mut Writer, version: u8) -> Result<(), EncodeError> {
    if !left.touches(field) && field != BEHIND_OPTIONS {
        return Ok(());
    }
    let info = field.info();
    if field == BEHIND_OPTIONS && m.has_tun_options() {
        write_options(m, w, version)?;
        left.take_tun_options();
    }
    let (value, mask) = left.get(field);
    if mask == 0 || (mask != info.max_value() && !info.maskable) {
        return Ok(());
    }
    match field {
        FieldId::InPort if OfPort(m.get(FieldId::InPortOxm).0 as u32).to_16().is_none() => return Ok(()),
        FieldId::VlanVid | FieldId::VlanPcp => match Tag::of(m) {
            Tag::Absent if field == FieldId::VlanVid => left.clear(FieldId::VlanTci),
            // It is left to the next but one, which takes it whole.
            Tag::Whole => return Ok(()),
            Tag::Absent | Tag::Parts => {}
        },
        _ => {}
    }
    write_entry(w, version, field, value, mask)?;
    left.clear(field);
    Ok(())
}

/// How what a match says of a VLAN tag is written.
#[derive(Clone, Copy)]
enum Tag {
    /// There is none.
    Absent,
    /// Id and priority, each by itself.
    Parts,
    /// It does not split into these.
    Whole,
}

impl Tag {
    fn of(m: &Match) -> Tag {
        let (tci, mask) = m.get(FieldId::VlanTci);
        let (present, all_pcp) = (u128::from(VLAN_PRESENT), u128::from(VLAN_PCP_MASK));
        // Where there is no tag, there is no priority to be told apart.
        let pcp = mask & all_pcp;
        match () {
            () if mask & present != 0 && tci == 0 => Tag::Absent,
            () if pcp == 0 || pcp == all_pcp && tci & present != 0 => Tag::Parts,
            () => Tag::Whole,
        }
    }
}

/// Takes what nearly every TLV is, as many as stand in the first `len` of some bytes and are `fine`; what is wrong with one
/// is for others to say. Gives how many of those are left.
#[inline(always)]
fn take_plain(mut bytes: &[u8], len: usize, built: &mut MatchBuilder<'_>, fine: impl Fn(FieldId) -> bool) -> usize {
    let mut left = len;
    while left != 0
        && let Some((tlv, value, size)) = PlainTlv::read(bytes, left)
        && built.meets(tlv.prereq())
        && fine(tlv.field())
        && built.add_plain(tlv, value)
        && let Some(behind) = bytes.get(size..)
    {
        left = left.wrapping_sub(size);
        bytes = behind;
    }
    left
}

/// Reads the TLVs of `fields` into a match that says nothing yet, and perhaps a cookie with its mask.
pub(in crate::codec) fn read_fields(
    fields: Reader<'_>,
    how: Reading,
    m: &mut Match,
) -> Result<Option<(u64, u64)>, DecodeError> {
    read_fields_in(fields.peek(), fields, how, m)
}

/// The same, where `bytes` are those of `fields` and what stands behind them, which spares a copy of the last one.
pub(in crate::codec) fn read_fields_in(
    bytes: &[u8],
    mut fields: Reader<'_>,
    how: Reading,
    m: &mut Match,
) -> Result<Option<(u64, u64)>, DecodeError> {
    let (mut built, len) = (MatchBuilder::new(m).minding_prereqs(!how.loose), fields.len());
    let left = match how.pipeline {
        true => take_plain(bytes, len, &mut built, is_pipeline),
        false => take_plain(bytes, len, &mut built, |_| true),
    };
    if left == 0 {
        return Ok(None);
    }
    fields.skip(len.saturating_sub(left))?;
    let (cookie, headers) = read_others(fields, how, &mut built)?;
    drop(built);
    // A field of a header speaks of packets of Ethernet even if all of it is left open.
    if headers && !m.implies_ethernet() {
        *m = core::mem::replace(m, Match::ANY).with_default_packet_type();
    }
    Ok(cookie)
}

/// Reads TLVs, behind those that were taken, which may be of any kind: the cookie, and whether any field of a header is all
/// left open.
#[inline(never)]
fn read_others(
    mut r: Reader<'_>,
    how: Reading,
    built: &mut MatchBuilder<'_>,
) -> Result<(Option<(u64, u64)>, bool), DecodeError> {
    let (mut cookie, mut options, mut headers) = (None, None, false);
    while !r.is_empty() {
        let start = r.place();
        let (id, masked, len) = read_id(&mut r)?;
        // A field of Nicira's has the same number; the length tells them apart.
        if how.cookie && id == NXM_NX_COOKIE && len == if masked { 16 } else { 8 } {
            read_cookie(&mut r, start, masked, &mut cookie)?;
            continue;
        }
        let field = match known(id, start) {
            Ok(field) => field,
            Err(_) if how.loose => {
                r.skip(len)?;
                continue;
            }
            Err(e) => return Err(e),
        };
        if let Some(index) = field.tun_metadata_index() {
            read_option(&mut r, start, (index, masked, len), options.get_or_insert(Match::ANY))?;
            continue;
        }
        if how.loose && len != wire_len(field, masked) {
            r.skip(len)?;
            continue;
        }
        let e = read_value(&mut r, start, (field, masked, len))?;
        let prereq = e.field.info().prereq;
        if !built.meets(prereq) {
            return Err(start.error(OfError::BadMatchPrerequisite, prereq.hint()));
        }
        if how.pipeline && !is_pipeline(e.field) {
            return Err(start.error(OfError::BadRequestPipelineFieldsOnly, "what no header of the packet says"));
        }
        if !built.add(e.field, e.value, e.mask) {
            return Err(start.error(OfError::BadMatchDuplicate, "a field that was not there yet"));
        }
        headers |= e.mask == 0 && prereq != Prereq::None;
        let left = match how.pipeline {
            true => r.len(),
            false => take_plain(r.peek(), r.len(), built, |_| true),
        };
        r.skip(r.len().saturating_sub(left))?;
    }
    if let Some(options) = options {
        built.add_options(&options);
    }
    Ok((cookie, headers))
}

/// Reads the value of a cookie's TLV.
fn read_cookie(
    r: &mut Reader<'_>,
    start: Place,
    masked: bool,
    cookie: &mut Option<(u64, u64)>,
) -> Result<(), DecodeError> {
    let value = r.u64()?;
    let mask = if masked { r.u64()? } else { u64::MAX };
    if cookie.is_some() {
        return Err(start.error(OfError::BadMatchDuplicate, "one cookie"));
    }
    if value & !mask != 0 {
        return Err(start.error(OfError::BadMatchBadWildcards, "a value that is zero where its mask is"));
    }
    *cookie = Some((value, mask));
    Ok(())
}

/// Whether a field is of the pipeline, not of a packet's headers (OpenFlow 1.5, section 7.2.3.9), so that a controller
/// can say it of a packet that it sends.
fn is_pipeline(field: FieldId) -> bool {
    let tunnel = (FieldId::TunId..=FieldId::TunMetadata63).contains(&field);
    let register = (FieldId::Reg0..=FieldId::Xxreg7).contains(&field);
    let none = matches!(field, FieldId::TunTtl | FieldId::TunTos);
    let other = matches!(field, FieldId::Metadata | FieldId::InPort | FieldId::InPortOxm | FieldId::PacketType);
    (tunnel || register || other) && !none
}

/// Writes the structure `ofp_match` with OXM TLVs.
pub(in crate::codec) fn write_match(m: &Match, w: &mut Writer, version: u8) -> Result<(), EncodeError> {
    let layout = layout_of(version)?;
    let head = |len: usize| u32::from(OFPMT_OXM) << 16 | len as u32;
    let plain = w.fill(|room| {
        let len = write_plain(m, layout, room, 4)?;
        *room.first_chunk_mut()? = head(len).to_be_bytes();
        Some(len.wrapping_add(padding(len)))
    });
    if plain.is_some() {
        return Ok(());
    }
    let shape = Shape { what: "a match", length_at: 2, align: 8, count_padding: false };
    w.prefixed(shape, |w| {
        w.u32(head(0));
        write_others(m, w, version, layout)
    })
}

/// How many bytes are missing to a multiple of 8.
#[inline(always)]
fn padding(len: usize) -> usize {
    len.wrapping_neg() & 7
}

/// The TLVs of the structure `ofp_match` that begins here, if it is one of TLVs and whole, and all bytes from the first of
/// them on. It is passed over.
#[inline(always)]
pub(in crate::codec) fn match_in<'a>(r: &mut Reader<'a>) -> Option<(&'a [u8], Reader<'a>)> {
    let (at, (head, bytes)) = (r.at(), r.peek().split_first_chunk::<4>()?);
    let [0, 1, high, low] = *head else { return None };
    let len = usize::from(u16::from_be_bytes([high, low]));
    let fields = bytes.get(..len.checked_sub(4)?)?;
    r.skip(len.wrapping_add(padding(len))).ok()?;
    Some((bytes, Reader::new_at(fields, at.wrapping_add(4)).or(&OfError::BadMatchBadLength)))
}

/// Reads what stands behind type and length of the structure `ofp_match` with OXM TLVs, and its padding.
pub(in crate::codec) fn read_match(
    r: &mut Reader<'_>,
    len: usize,
    how: Reading,
    m: &mut Match,
) -> Result<(), DecodeError> {
    let fields = len.checked_sub(4).ok_or_else(|| r.error(OfError::BadMatchBadLength, "a length of 4 or more"))?;
    let (bytes, fields) = (r.peek(), r.sub(fields)?);
    r.skip(padding(len))?;
    read_fields_in(bytes, fields, how, m).map(|_| ())
}

/// Reads TLVs of `len` bytes that are padded to 8, and a cookie.
pub(in crate::codec) fn read_nxm(
    r: &mut Reader<'_>,
    len: usize,
    how: Reading,
    m: &mut Match,
) -> Result<Option<(u64, u64)>, DecodeError> {
    let short = r.set_short(&OfError::BadMatchBadLength);
    let (bytes, fields) = (r.peek(), r.sub(len)?);
    r.skip(padding(len))?;
    r.set_short(short);
    read_fields_in(bytes, fields, how, m)
}

/// Writes TLVs padded to 8, and gives their length before the padding.
pub(in crate::codec) fn write_nxm(m: &Match, w: &mut Writer, cookie: Option<(u64, u64)>) -> Result<u16, EncodeError> {
    let start = w.len();
    write_fields(m, w, NXM, cookie)?;
    let len = w.len().saturating_sub(start);
    w.zeros(padding(len));
    u16::try_from(len).map_err(|_| EncodeError::TooLong { what: "a match" })
}
