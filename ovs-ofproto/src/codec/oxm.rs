//! Matches and fields as TLVs: Nicira's (NXM) and OpenFlow's (OXM), from the table of fields.
//!
//! A TLV is a header (class, field, whether there is a mask, length), an experimenter number if the class says so,
//! the value and perhaps a mask as long as the value. Which fields exist, their numbers, widths, masks and
//! prerequisites are the [table's](ovs_packet::field); here is only the order in which a match is written, and what the
//! two formats split differently: VLAN tag, ingress port, TOS byte.
//!
//! A match may read the same bits as several fields (a TCP port is no UDP port; two registers are one wide register).
//! Writing goes through the fields in order and takes each bit once, under the first field whose prerequisites the
//! match meets; bits that no field takes make the match one that cannot be said.
//!
//! Tunnel options have no place of their own: a match keeps them with their lengths, and that is what is written and
//! read. Whether a switch's table of options has them is for [`place`](ovs_packet::field::TlvTable::place) to say.
//!
//! "No VLAN tag" is written in OXM as `vlan_vid` 0 (OFPVID_NONE), whether the match has the whole tag or the id with the
//! present bit; it is read as the latter. No packet tells the two apart.

use std::sync::LazyLock;

use ovs_packet::field::{
    CLASS_EXPERIMENTER, CLASS_NXM_0, CLASS_NXM_1, FieldId, OxmId, Prereq, TUN_OPTION_MAX, TunOption,
};
use ovs_packet::key::{TUN_METADATA_BYTES, VLAN_PCP_MASK, VLAN_PRESENT, WORDS};
use ovs_packet::{FlowKey, Match};

use super::cursor::{Reader, Shape, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;

pub(super) const OFPMT_OXM: u16 = 1;

/// Of a version where Nicira's format is meant.
pub(super) const NXM: u8 = 0;

/// Cookie and mask as a match's TLV, which Nicira's format has.
const NXM_NX_COOKIE: OxmId = OxmId { class: CLASS_NXM_1, field: 30, experimenter: 0 };

/// The fields in the order in which a match is written: a field stands behind its prerequisites.
const ORDER: &[FieldId] = {
    use FieldId::*;
    &[
        DpHash,
        RecircId,
        ConjId,
        PacketType,
        InPort,
        InPortOxm,
        ActsetOutput,
        EthSrc,
        EthDst,
        EthType,
        VlanVid,
        VlanPcp,
        VlanTci,
        MplsTc,
        MplsBos,
        MplsTtl,
        MplsLabel,
        NwSrc,
        NwDst,
        Ipv6Src,
        Ipv6Dst,
        IpFrag,
        NwTos,
        IpDscp,
        NwEcn,
        NwTtl,
        Ipv6Label,
        NwProto,
        TcpSrc,
        TcpDst,
        TcpFlags,
        UdpSrc,
        UdpDst,
        SctpSrc,
        SctpDst,
        IcmpType,
        IcmpCode,
        Icmpv6Type,
        Icmpv6Code,
        NdTarget,
        NdSll,
        NdTll,
        NdReserved,
        NdOptionsType,
        ArpOp,
        ArpSpa,
        ArpTpa,
        ArpSha,
        ArpTha,
        NshFlags,
        NshTtl,
        NshMdtype,
        NshNp,
        NshSpi,
        NshSi,
        NshC1,
        NshC2,
        NshC3,
        NshC4,
        TunId,
        TunSrc,
        TunDst,
        TunIpv6Src,
        TunIpv6Dst,
        TunFlags,
        TunGbpId,
        TunGbpFlags,
        TunErspanVer,
        TunErspanIdx,
        TunErspanDir,
        TunErspanHwid,
        TunGtpuFlags,
        TunGtpuMsgtype,
        Xreg0,
        Xreg1,
        Xreg2,
        Xreg3,
        Xreg4,
        Xreg5,
        Xreg6,
        Xreg7,
        Xreg8,
        Xreg9,
        Xreg10,
        Xreg11,
        Xreg12,
        Xreg13,
        Xreg14,
        Xreg15,
        Reg0,
        Reg1,
        Reg2,
        Reg3,
        Reg4,
        Reg5,
        Reg6,
        Reg7,
        Reg8,
        Reg9,
        Reg10,
        Reg11,
        Reg12,
        Reg13,
        Reg14,
        Reg15,
        Reg16,
        Reg17,
        Reg18,
        Reg19,
        Reg20,
        Reg21,
        Reg22,
        Reg23,
        Reg24,
        Reg25,
        Reg26,
        Reg27,
        Reg28,
        Reg29,
        Reg30,
        Reg31,
        PktMark,
        CtState,
        CtZone,
        CtMark,
        CtLabel,
        CtNwSrc,
        CtNwDst,
        CtIpv6Src,
        CtIpv6Dst,
        CtNwProto,
        CtTpSrc,
        CtTpDst,
        Metadata,
    ]
};

/// The place of [`BEHIND_OPTIONS`] in [`ORDER`].
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const PLACE_OF_OPTIONS: usize = {
    let mut at = 0;
    while ORDER[at] as usize != BEHIND_OPTIONS as usize {
        at += 1;
    }
    at
};

/// The places of [`ORDER`] whose fields are in a word of the key, as bits.
type Places = [u64; 3];

static BY_WORD: LazyLock<Vec<Places>> = LazyLock::new(|| {
    let mut words = vec![[0; 3]; WORDS];
    for (at, field) in ORDER.iter().enumerate() {
        let mut key = FlowKey::ZERO;
        field.info().put(&mut key, u128::MAX);
        for (places, word) in words.iter_mut().zip(key.words()) {
            if let (true, Some(bits)) = (*word != 0, places.get_mut(at / 64)) {
                *bits |= 1u64.checked_shl((at % 64).try_into().unwrap_or(0)).unwrap_or(0);
            }
        }
    }
    words
});

/// Tunnel options are written in front of this field.
const BEHIND_OPTIONS: FieldId = FieldId::Xreg0;

/// The fields that `mask` has bits of, and [`BEHIND_OPTIONS`] if it has bits of options, in order.
fn fields_of(mask: &FlowKey) -> impl Iterator<Item = FieldId> + use<> {
    let mut found: Places = [0; 3];
    // Most words are zero: they are passed over eight at a time.
    let (words, _) = mask.words().as_chunks::<8>();
    let (by_word, _) = BY_WORD.as_chunks::<8>();
    for (words, places) in words.iter().zip(by_word) {
        if words.iter().fold(0, |any, word| any | word) == 0 {
            continue;
        }
        for (_, places) in words.iter().zip(places).filter(|(word, _)| **word != 0) {
            found.iter_mut().zip(places).for_each(|(f, p)| *f |= p);
        }
    }
    if mask.tun_present != 0 {
        let at = PLACE_OF_OPTIONS;
        if let Some(bits) = found.get_mut(at / 64) {
            *bits |= 1u64.checked_shl((at % 64) as u32).unwrap_or(0);
        }
    }
    let mut at = 0usize;
    std::iter::from_fn(move || {
        while let Some(bits) = found.get_mut(at) {
            if *bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                *bits &= bits.wrapping_sub(1);
                return ORDER.get(at.wrapping_mul(64).wrapping_add(bit)).copied();
            }
            at = at.wrapping_add(1);
        }
        None
    })
}

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
    field.info().oxm(NXM).is_some()
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
    write_id(w, id_in(field, version)?, masked, field.info().wire_bytes.into());
    Ok(())
}

/// The header of a field in 32 bits, in which an experimenter's has no room.
pub(super) fn header32(field: FieldId) -> Result<u32, EncodeError> {
    let points = field.info().code_points().map(|p| p.id).find(|id| id.class != CLASS_EXPERIMENTER);
    let id = points.ok_or(EncodeError::NotInVersion { version: NXM, what: field.info().name })?;
    let word = u32::from(id.class) << 16 | u32::from(id.field & 0x7f) << 9;
    Ok(word | u32::from(field.info().wire_bytes))
}

/// The header of a TLV of a field without a mask, and with one.
type Heads = [([u8; 8], u8); 2];

/// How many versions have numbers of their own, Nicira's format being one.
const VERSIONS: usize = 7;

/// The headers of all fields that have a number, by version.
static HEADS: LazyLock<Vec<[Option<Heads>; VERSIONS]>> = LazyLock::new(|| {
    let heads = |field: FieldId, version: u8| {
        let head = |masked| {
            let mut w = Writer::new();
            write_id(&mut w, id_in(field, version).ok()?, masked, field.info().wire_bytes.into());
            let (mut bytes, len) = ([0; 8], w.len().try_into().ok()?);
            bytes.iter_mut().zip(w.written()).for_each(|(to, from)| *to = *from);
            Some((bytes, len))
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
    let heads = HEADS.get(field as usize).and_then(|h| h.get(usize::from(version))?.as_ref());
    let [plain, with_mask] = heads.ok_or(EncodeError::NotInVersion { version, what: info.name })?;
    let (all, bytes) = (info.max_value(), usize::from(info.wire_bytes));
    // The states that there are do not fill the field: all of them are not all of it.
    let masked = mask & all != all || field == FieldId::CtState;
    let (head, len) = if masked { with_mask } else { plain };
    w.bytes(head.get(..usize::from(*len)).unwrap_or_default());
    w.uint(value & mask & all, bytes);
    if masked {
        w.uint(mask & all, bytes);
    }
    Ok(())
}

/// Writes the tunnel options of a match.
fn write_options(m: &Match, w: &mut Writer, version: u8) -> Result<(), EncodeError> {
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
pub(super) fn write_long(
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

/// Reads the number of a field: a TLV's header, with the length of what follows it.
pub(super) fn read_id(r: &mut Reader<'_>) -> Result<(OxmId, bool, usize), DecodeError> {
    let class = r.u16()?;
    let (field, mut len) = (r.u8()?, usize::from(r.clone().u8()?));
    let experimenter = if class == CLASS_EXPERIMENTER {
        len = len.checked_sub(4).ok_or_else(|| r.error(OfError::BadMatchBadLength, "room for an experimenter"))?;
        r.skip(1)?;
        r.u32()?
    } else {
        r.skip(1)?;
        0
    };
    Ok((OxmId { class, field: field >> 1, experimenter }, field & 1 != 0, len))
}

pub(super) fn known(id: OxmId, start: &Reader<'_>) -> Result<FieldId, DecodeError> {
    let what = if id.is_known_class() { "a field of this class" } else { "a known class of fields" };
    FieldId::by_oxm(id).ok_or_else(|| start.error(OfError::BadMatchBadField, what))
}

/// Reads the header of a field without its value.
///
/// # Errors
/// OFPBMC_BAD_MASK if it announces a mask, OFPBMC_BAD_FIELD, OFPBMC_BAD_LEN.
pub(super) fn read_header(r: &mut Reader<'_>) -> Result<FieldId, DecodeError> {
    let start = r.clone();
    let (id, masked, len) = read_id(r)?;
    if masked {
        return Err(start.error(OfError::BadMatchBadMask, "a field without a mask"));
    }
    let field = known(id, &start)?;
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
    let start = r.clone();
    let (id, masked, len) = read_id(r)?;
    let field = known(id, &start)?;
    let info = field.info();
    let bytes = usize::from(info.wire_bytes);
    if len != if masked { bytes.saturating_mul(2) } else { bytes } {
        return Err(start.error(OfError::BadMatchBadLength, "the length of the field"));
    }
    let at = r.clone();
    let value = r.uint(bytes)?;
    let wire_mask = if masked { r.uint(bytes)? } else { u128::MAX };
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

fn is_there(prereq: Prereq, m: &Match) -> bool {
    prereq == Prereq::None || prereq.implied_by(m)
}

/// Writes the TLVs of a match, without the structure around them.
pub(super) fn write_fields(
    m: &Match,
    w: &mut Writer,
    version: u8,
    cookie: Option<(u64, u64)>,
) -> Result<(), EncodeError> {
    let mut left = m.mask().bits;
    let (tci, tci_mask) = (m.key().vlan_tci.get(), left.vlan_tci.get());
    // Where there is no tag, there is no priority to be told apart.
    let tag_absent = tci_mask & VLAN_PRESENT != 0 && tci & tci_mask == 0;
    let pcp = tci_mask & VLAN_PCP_MASK;
    let splits = pcp == 0 || pcp == VLAN_PCP_MASK && tci & tci_mask & VLAN_PRESENT != 0;
    for field in fields_of(&m.mask().bits) {
        let info = field.info();
        if field == BEHIND_OPTIONS && left.tun_present != 0 {
            write_options(m, w, version)?;
            (left.tun_present, left.tun_metadata) = (0.into(), [0; TUN_METADATA_BYTES]);
        }
        let mask = info.get(&left);
        if mask == 0 || (mask != info.max_value() && !info.maskable) || !is_there(info.prereq, m) {
            continue;
        }
        match field {
            FieldId::VlanVid | FieldId::VlanPcp | FieldId::InPortOxm | FieldId::IpDscp if version == NXM => continue,
            FieldId::InPort | FieldId::NwTos if version != NXM => continue,
            FieldId::InPort if ovs_packet::OfPort(m.key().in_port.get()).to_16().is_none() => continue,
            // Wide registers are OpenFlow 1.5's.
            f if (FieldId::Xreg0..=FieldId::Xreg15).contains(&f) && version < Version::V1_5.0 => continue,
            // A tag that does not split into id and priority is left to the next but one, which takes it whole.
            FieldId::VlanVid | FieldId::VlanPcp if !splits && !tag_absent => continue,
            FieldId::VlanVid if tag_absent => FieldId::VlanTci.info().put(&mut left, 0),
            _ => {}
        }
        write_entry(w, version, field, info.get(m.key()), mask)?;
        info.put(&mut left, 0);
    }
    if let Some((value, mask)) = cookie.filter(|(_, mask)| *mask != 0) {
        let masked = mask != u64::MAX;
        write_id(w, NXM_NX_COOKIE, masked, 8);
        w.u64(value & mask);
        if masked {
            w.u64(mask);
        }
    }
    if left.words().iter().fold(0, |any, word| any | word) == 0 {
        return Ok(());
    }
    match FieldId::all().find(|f| f.info().get(&left) != 0) {
        Some(f) => Err(EncodeError::Match { field: f.info().name }),
        None => Ok(()),
    }
}

/// What is read of a match's TLVs.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Reading {
    /// Pass over fields that are not known.
    pub(super) loose: bool,
    /// There may be a cookie.
    pub(super) cookie: bool,
    /// Fields of the packet's headers may not be there.
    pub(super) pipeline: bool,
}

impl Reading {
    /// Pass over what is not known, and leave prerequisites out of account.
    pub(super) const LOOSE: Reading = Reading { loose: true, cookie: false, pipeline: false };
    /// The same of a packet that a controller sends.
    pub(super) const PIPELINE: Reading = Reading { loose: true, cookie: false, pipeline: true };
    /// There may be a cookie.
    pub(super) const COOKIE: Reading = Reading { loose: false, cookie: true, pipeline: false };
    /// A match of a flow.
    pub(super) const STRICT: Reading = Reading { loose: false, cookie: false, pipeline: false };
}

/// Reads TLVs up to the end of `r` into a match that says nothing yet, and perhaps a cookie with its mask.
pub(super) fn read_fields(mut r: Reader<'_>, how: Reading, m: &mut Match) -> Result<Option<(u64, u64)>, DecodeError> {
    let mut cookie = None;
    while !r.is_empty() {
        let start = r.clone();
        if is_option(&r) {
            read_option(&mut r, m)?;
            continue;
        }
        if how.cookie {
            // A field of Nicira's has the same number; the length tells them apart.
            let mut body = start.clone();
            let (id, masked, len) = read_id(&mut body)?;
            if id == NXM_NX_COOKIE && len == if masked { 16 } else { 8 } {
                let value = body.u64()?;
                let mask = if masked { body.u64()? } else { u64::MAX };
                if cookie.is_some() {
                    return Err(start.error(OfError::BadMatchDuplicate, "one cookie"));
                }
                if value & !mask != 0 {
                    return Err(start.error(OfError::BadMatchBadWildcards, "a value that is zero where its mask is"));
                }
                cookie = Some((value, mask));
                r = body;
                continue;
            }
        }
        let e = match read_entry(&mut r) {
            Ok(e) => e,
            Err(e) if how.loose && matches!(e.error, OfError::BadMatchBadField | OfError::BadMatchBadLength) => {
                let mut body = start.clone();
                let (_, _, len) = read_id(&mut body)?;
                body.skip(len)?;
                r = body;
                continue;
            }
            Err(e) => return Err(e),
        };
        let info = e.field.info();
        if !how.loose && !is_there(info.prereq, m) {
            return Err(start.error(OfError::BadMatchPrerequisite, info.prereq.hint()));
        }
        if how.pipeline && !is_pipeline(e.field) {
            return Err(start.error(OfError::BadRequestPipelineFieldsOnly, "what no header of the packet says"));
        }
        if m.mask().touches(e.field) {
            return Err(start.error(OfError::BadMatchDuplicate, "a field that was not there yet"));
        }
        m.set_masked(e.field, e.value, e.mask);
    }
    Ok(cookie)
}

/// Whether the next TLV is a tunnel option.
fn is_option(r: &Reader<'_>) -> bool {
    match r.peek() {
        [high, low, field, ..] if u16::from_be_bytes([*high, *low]) == CLASS_NXM_1 => {
            let id = OxmId { class: CLASS_NXM_1, field: field >> 1, experimenter: 0 };
            FieldId::by_oxm(id).is_some_and(|f| f.tun_metadata_index().is_some())
        }
        _ => false,
    }
}

/// Reads a tunnel option, which has any length up to [`TUN_OPTION_MAX`].
fn read_option(r: &mut Reader<'_>, m: &mut Match) -> Result<(), DecodeError> {
    let start = r.clone();
    let bad = |error, what| start.error(error, what);
    let (id, masked, len) = read_id(r)?;
    let index = known(id, &start)?.tun_metadata_index().unwrap_or(0);
    let bytes = if masked { len / 2 } else { len };
    if bytes == 0 || bytes > TUN_OPTION_MAX || masked && !len.is_multiple_of(2) {
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
pub(super) fn write_match(m: &Match, w: &mut Writer, version: u8) -> Result<(), EncodeError> {
    let shape = Shape { what: "a match", length_at: 2, align: 8, count_padding: false };
    w.prefixed(shape, |w| {
        w.u16(OFPMT_OXM);
        w.u16(0);
        write_fields(m, w, version, None)
    })
}

/// Reads what stands behind type and length of the structure `ofp_match` with OXM TLVs, and its padding.
pub(super) fn read_match(r: &mut Reader<'_>, len: usize, how: Reading, m: &mut Match) -> Result<(), DecodeError> {
    let fields = len.checked_sub(4).ok_or_else(|| r.error(OfError::BadMatchBadLength, "a length of 4 or more"))?;
    let fields = r.sub(fields)?;
    r.skip(len.checked_next_multiple_of(8).unwrap_or(len).saturating_sub(len))?;
    read_fields(fields, how, m).map(|_| ())
}

/// Reads TLVs of `len` bytes that are padded to 8, and a cookie.
pub(super) fn read_nxm(
    r: &mut Reader<'_>,
    len: usize,
    how: Reading,
    m: &mut Match,
) -> Result<Option<(u64, u64)>, DecodeError> {
    let mut all = r.clone().or(OfError::BadMatchBadLength);
    let fields = all.sub(len)?;
    all.skip(len.checked_next_multiple_of(8).unwrap_or(len).saturating_sub(len))?;
    r.skip(all.at().saturating_sub(r.at()))?;
    read_fields(fields, how, m)
}

/// Writes TLVs padded to 8, and gives their length before the padding.
pub(super) fn write_nxm(m: &Match, w: &mut Writer, cookie: Option<(u64, u64)>) -> Result<u16, EncodeError> {
    let start = w.len();
    write_fields(m, w, NXM, cookie)?;
    let len = w.len().saturating_sub(start);
    w.zeros(len.checked_next_multiple_of(8).unwrap_or(len).saturating_sub(len));
    u16::try_from(len).map_err(|_| EncodeError::TooLong { what: "a match" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let mut w = Writer::new();
        write_match(&text.parse::<Match>().unwrap(), &mut w, 4).unwrap();
        w.into_bytes()
    }

    fn read(bytes: &[u8]) -> Result<Match, DecodeError> {
        let mut m = Match::ANY;
        super::super::matching::read(&mut Reader::new(bytes), Reading::STRICT, &mut m).map(|()| m)
    }

    fn fields(bytes: &[u8]) -> Result<Match, OfError> {
        let mut m = Match::ANY;
        read_fields(Reader::new(bytes).or(OfError::BadMatchBadLength), Reading::STRICT, &mut m)
            .map(|_| m)
            .map_err(|e| e.error)
    }

    #[test]
    fn layout_of_a_match() {
        assert_eq!(
            bytes("tcp,in_port=1"),
            [0, 1, 0, 23, 0x80, 0, 0, 4, 0, 0, 0, 1, 0x80, 0, 10, 2, 8, 0, 0x80, 0, 20, 1, 6, 0]
        );
        assert_eq!(bytes(""), [0, 1, 0, 4, 0, 0, 0, 0]);
    }

    #[test]
    fn vlan_in_all_its_forms() {
        for (text, oxm) in [
            ("vlan_vid=0", &[0x80u8, 0, 12, 2, 0, 0][..]),
            ("vlan_tci=0", &[0x80, 0, 12, 2, 0, 0]),
            ("dl_vlan=5", &[0x80, 0, 12, 2, 0x10, 5]),
            ("vlan_tci=0x1000/0x1000", &[0x80, 0, 13, 4, 0x10, 0, 0x10, 0]),
            ("dl_vlan_pcp=3", &[0x80, 0, 13, 4, 0x10, 0, 0x10, 0, 0x80, 0, 14, 1, 3]),
            ("vlan_tci=0x2000/0x2000", &[0, 0, 9, 4, 0x20, 0, 0x20, 0]),
        ] {
            let m: Match = text.parse().unwrap();
            let mut w = Writer::new();
            write_fields(&m, &mut w, 4, None).unwrap();
            assert_eq!(w.into_bytes(), oxm, "{text}");
            let read = fields(oxm).unwrap();
            assert!(read == m || text == "vlan_tci=0", "{text}: {read}");
        }
    }

    #[test]
    fn every_error_of_a_match() {
        use OfError::*;
        assert_eq!(read(&[0, 9, 0, 4, 0, 0, 0, 0]).unwrap_err().error, BadMatchBadType);
        assert_eq!(read(&[0, 1, 0, 3, 0, 0, 0, 0]).unwrap_err().error, BadMatchBadLength);
        assert_eq!(read(&[0, 1, 0, 4, 0, 0, 0]).unwrap_err().error, BadMatchBadLength);
        assert_eq!(fields(&[0x80, 0, 10, 2, 8]), Err(BadMatchBadLength));
        assert_eq!(fields(&[0x80, 0, 10, 3, 8, 0, 0]), Err(BadMatchBadLength));
        assert_eq!(fields(&[0x80, 0, 0xfe, 1, 0]), Err(BadMatchBadField));
        assert_eq!(fields(&[0x12, 0, 0, 1, 0]), Err(BadMatchBadField));
        assert_eq!(fields(&[0xff, 0xff, 84, 3, 0, 0, 0]), Err(BadMatchBadLength));
        assert_eq!(fields(&[0x80, 0, 11, 4, 8, 0, 0xff, 0]), Err(BadMatchBadMask));
        assert_eq!(
            fields(&[0x80, 0, 5, 16, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]),
            Err(BadMatchBadWildcards)
        );
        assert_eq!(fields(&[0x80, 0, 12, 2, 0x20, 0]), Err(BadMatchBadValue));
        assert_eq!(fields(&[0x80, 0, 20, 1, 6]), Err(BadMatchPrerequisite));
        assert_eq!(fields(&[0x80, 0, 10, 2, 8, 0, 0x80, 0, 10, 2, 8, 0]), Err(BadMatchDuplicate));
        // The same bits under another number are the same field.
        assert_eq!(fields(&[0x80, 0, 10, 2, 8, 0, 0, 0, 6, 2, 8, 0]), Err(BadMatchDuplicate));
    }

    #[test]
    fn the_ingress_port_of_openflow_1_0_is_read() {
        assert_eq!(fields(&[0, 0, 0, 2, 0xff, 0xfe]), Ok("in_port=LOCAL".parse().unwrap()));
    }

    #[test]
    fn tunnel_options_have_their_own_lengths() {
        let m: Match = "tun_id=5,tun_metadata0=0x1234,tun_metadata63=0x5/0xf,reg0=1".parse().unwrap();
        let mut w = Writer::new();
        write_fields(&m, &mut w, NXM, None).unwrap();
        let bytes = w.into_bytes();
        assert_eq!(fields(&bytes), Ok(m));
        assert!(bytes.windows(6).any(|b| b == [0, 1, 40 << 1, 2, 0x12, 0x34]), "{bytes:x?}");
        assert_eq!(fields(&[0, 1, 80, 2, 1, 2, 0, 1, 80, 2, 1, 2]), Err(OfError::BadMatchDuplicate));
        assert_eq!(fields(&[0, 1, 80, 0]), Err(OfError::BadMatchBadLength));
        assert_eq!(fields(&[0, 1, 81, 2, 1, 0]), Err(OfError::BadMatchBadWildcards));
        assert_eq!(fields(&[0, 1, 81, 3, 0, 0, 0]), Err(OfError::BadMatchBadLength));
    }

    #[test]
    fn bits_that_no_field_has_are_refused() {
        let mut m = Match::ANY;
        m.set(FieldId::SkbPriority, 1);
        assert_eq!(write_fields(&m, &mut Writer::new(), 4, None), Err(EncodeError::Match { field: "skb_priority" }));
        let mut m = Match::ANY;
        m.set(FieldId::NwSrc, 1);
        assert!(write_fields(&m, &mut Writer::new(), 4, None).is_err());
    }

    #[test]
    fn every_field_with_a_number_is_in_the_order_or_a_view_of_others() {
        let views = |f: &FieldId| {
            let name = f.info().name;
            name.starts_with("xreg")
                || name.starts_with("xxreg")
                || matches!(f, FieldId::NwTos | FieldId::InPort)
                || f.tun_metadata_index().is_some()
        };
        for f in FieldId::all().filter(|f| has_number(*f) && !views(f)) {
            assert!(ORDER.contains(&f), "{}", f.info().name);
        }
    }
}
