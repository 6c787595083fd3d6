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

use std::sync::LazyLock;

use ovs_packet::field::{FieldId, PlainTlv, Prereq};
use ovs_packet::key::{MatchBuilder, Rest, VLAN_PCP_MASK, VLAN_PRESENT};
use ovs_packet::{Match, OfPort};

use super::options::{read_option, write_options};
use super::order::{BEHIND_OPTIONS, ORDER, fields_of};
use super::{
    NXM, NXM_NX_COOKIE, OFPMT_OXM, VERSIONS, head_of, known, read_id, read_value, wire_len, write_entry, write_id,
};
use crate::codec::cursor::{Place, Reader, Shape, Writer};
use crate::codec::error::{DecodeError, EncodeError, OfError};
use crate::codec::header::Version;

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
    let mut left = Rest::empty(m);
    left.fill();
    let (plain, mut tag) = (plain_of(version), None);
    let mut places = fields_of(m, left.prereqs());
    while let Some(place) = places.pop() {
        // What nearly every match has.
        if let Some(PlainHead { head, tlv }) = plain.get(place).and_then(Option::as_ref)
            && let Some(value) = left.take_plain(tlv)
        {
            w.u32_and_uint(*head, value, tlv.len());
            continue;
        }
        let Some(&field) = ORDER.get(place) else { continue };
        if !left.touches(field) && field != BEHIND_OPTIONS {
            continue;
        }
        let info = field.info();
        if field == BEHIND_OPTIONS && m.has_tun_options() {
            write_options(m, w, version)?;
            left.take_tun_options();
        }
        let (value, mask) = left.get(field);
        if mask == 0 || (mask != info.max_value() && !info.maskable) {
            continue;
        }
        match field {
            FieldId::VlanVid | FieldId::VlanPcp | FieldId::InPortOxm | FieldId::IpDscp if version == NXM => continue,
            FieldId::InPort | FieldId::NwTos if version != NXM => continue,
            FieldId::InPort if OfPort(m.get(FieldId::InPortOxm).0 as u32).to_16().is_none() => continue,
            // Wide registers are OpenFlow 1.5's.
            f if (FieldId::Xreg0..=FieldId::Xreg15).contains(&f) && version < Version::V1_5.0 => continue,
            FieldId::VlanVid | FieldId::VlanPcp => match *tag.get_or_insert_with(|| Tag::of(m)) {
                Tag::Absent if field == FieldId::VlanVid => left.clear(FieldId::VlanTci),
                // It is left to the next but one, which takes it whole.
                Tag::Whole => continue,
                Tag::Absent | Tag::Parts => {}
            },
            _ => {}
        }
        write_entry(w, version, field, value, mask)?;
        left.clear(field);
    }
    if let Some((value, mask)) = cookie.filter(|(_, mask)| *mask != 0) {
        let masked = mask != u64::MAX;
        write_id(w, NXM_NX_COOKIE, masked, 8);
        w.u64(value & mask);
        if masked {
            w.u64(mask);
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    match left.field() {
        Some(f) => Err(EncodeError::Match { field: f.info().name }),
        None => Ok(()),
    }
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

/// A field that is written as it stands, with no other to be looked at, if all of it is matched.
struct PlainHead {
    head: u32,
    tlv: &'static PlainTlv,
}

type PlainHeads = [Option<PlainHead>; ORDER.len()];

/// For each version, those of the places of [`ORDER`].
static PLAIN: LazyLock<[PlainHeads; VERSIONS]> = LazyLock::new(|| {
    let plain = |field: FieldId, version: u8| {
        use FieldId::{CtState, InPort, InPortOxm, IpDscp, NwTos, VlanPcp, VlanTci, VlanVid};
        let own_way = matches!(field, VlanVid | VlanPcp | VlanTci | InPort | InPortOxm | IpDscp | NwTos | CtState);
        if own_way || (FieldId::Xreg0..=FieldId::Xreg15).contains(&field) {
            return None;
        }
        let head = head_of(field, version)?;
        Some(PlainHead { head, tlv: PlainTlv::of(head)? })
    };
    core::array::from_fn(|version| core::array::from_fn(|place| plain(*ORDER.get(place)?, version as u8)))
});

fn plain_of(version: u8) -> &'static [Option<PlainHead>] {
    PLAIN.get(usize::from(version)).map_or(&[], |heads| heads)
}

/// Takes what nearly every TLV is, as many as stand here; what is wrong with one is for others to say. Gives what is left.
#[inline(always)]
fn take_plain<'a>(mut bytes: &'a [u8], how: Reading, built: &mut MatchBuilder) -> &'a [u8] {
    while let Some((head, rest)) = bytes.split_first_chunk::<4>()
        && let Some(tlv) = PlainTlv::of(u32::from_be_bytes(*head))
        && let Some((value, behind)) = tlv.read(rest)
        && (how.loose || built.meets(tlv.prereq()))
        && (!how.pipeline || is_pipeline(tlv.field()))
        && built.add_plain(tlv, value)
    {
        bytes = behind;
    }
    bytes
}

/// Reads TLVs up to the end of `r` into a match that says nothing yet, and perhaps a cookie with its mask.
pub(in crate::codec) fn read_fields(
    mut r: Reader<'_>,
    how: Reading,
    m: &mut Match,
) -> Result<Option<(u64, u64)>, DecodeError> {
    let (mut cookie, mut options, mut headers) = (None, None, false);
    let mut built = MatchBuilder::new();
    loop {
        let left = take_plain(r.peek(), how, &mut built);
        r.skip(r.len().saturating_sub(left.len()))?;
        if r.is_empty() {
            break;
        }
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
        if !how.loose && !built.meets(prereq) {
            return Err(start.error(OfError::BadMatchPrerequisite, prereq.hint()));
        }
        if how.pipeline && !is_pipeline(e.field) {
            return Err(start.error(OfError::BadRequestPipelineFieldsOnly, "what no header of the packet says"));
        }
        if !built.add(e.field, e.value, e.mask) {
            return Err(start.error(OfError::BadMatchDuplicate, "a field that was not there yet"));
        }
        headers |= e.mask == 0 && prereq != Prereq::None;
    }
    built.finish(options.as_ref(), m);
    // A field of a header speaks of packets of Ethernet even if all of it is left open.
    if headers && !m.implies_ethernet() {
        *m = core::mem::replace(m, Match::ANY).with_default_packet_type();
    }
    Ok(cookie)
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
    let shape = Shape { what: "a match", length_at: 2, align: 8, count_padding: false };
    w.prefixed(shape, |w| {
        w.u16(OFPMT_OXM);
        w.u16(0);
        write_fields(m, w, version, None)
    })
}

/// Reads what stands behind type and length of the structure `ofp_match` with OXM TLVs, and its padding.
pub(in crate::codec) fn read_match(
    r: &mut Reader<'_>,
    len: usize,
    how: Reading,
    m: &mut Match,
) -> Result<(), DecodeError> {
    let fields = len.checked_sub(4).ok_or_else(|| r.error(OfError::BadMatchBadLength, "a length of 4 or more"))?;
    let fields = r.sub(fields)?;
    r.skip(len.checked_next_multiple_of(8).unwrap_or(len).saturating_sub(len))?;
    read_fields(fields, how, m).map(|_| ())
}

/// Reads TLVs of `len` bytes that are padded to 8, and a cookie.
pub(in crate::codec) fn read_nxm(
    r: &mut Reader<'_>,
    len: usize,
    how: Reading,
    m: &mut Match,
) -> Result<Option<(u64, u64)>, DecodeError> {
    let mut all = r.clone().or(&OfError::BadMatchBadLength);
    let fields = all.sub(len)?;
    all.skip(len.checked_next_multiple_of(8).unwrap_or(len).saturating_sub(len))?;
    r.skip(all.at().saturating_sub(r.at()))?;
    read_fields(fields, how, m)
}

/// Writes TLVs padded to 8, and gives their length before the padding.
pub(in crate::codec) fn write_nxm(m: &Match, w: &mut Writer, cookie: Option<(u64, u64)>) -> Result<u16, EncodeError> {
    let start = w.len();
    write_fields(m, w, NXM, cookie)?;
    let len = w.len().saturating_sub(start);
    w.zeros(len.checked_next_multiple_of(8).unwrap_or(len).saturating_sub(len));
    u16::try_from(len).map_err(|_| EncodeError::TooLong { what: "a match" })
}
