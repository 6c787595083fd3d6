//! Fields and matches as OXM TLVs (OpenFlow 1.3, section 7.2.3), from the table of fields.
//!
//! A TLV is a header (class, field, whether there is a mask, length), an experimenter number if the class says so,
//! the value and perhaps a mask as long as the value. Which fields exist, their numbers, widths, masks and
//! prerequisites are the [table's](ovs_packet::field); here is only the order in which a match is written, and the
//! VLAN tag, which OXM splits in two and Nicira's format does not.
//!
//! A match may read the same bits as several fields (a TCP port is no UDP port; two registers are one wide register).
//! Writing goes through the fields in order and takes each bit once, under the first field whose prerequisites the
//! match meets; bits that no field takes make the match one that cannot be said.
//!
//! "No VLAN tag" is written as `vlan_vid` 0 (OFPVID_NONE), whether the match has the whole tag or the id with the
//! present bit; it is read as the latter. No packet tells the two apart.

use ovs_packet::field::{CLASS_EXPERIMENTER, FieldId, OxmId};
use ovs_packet::key::{VLAN_PCP_MASK, VLAN_PRESENT};
use ovs_packet::{FlowKey, FlowMask, Match, OfPort};

use super::cursor::{Codec, Reader, Shape, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;

const OFPMT_OXM: u16 = 1;

/// The fields in the order in which a match is written: a field stands behind its prerequisites.
const ORDER: &[FieldId] = {
    use FieldId::*;
    &[
        DpHash,
        RecircId,
        ConjId,
        PacketType,
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

/// A field with the bits of it that a TLV speaks of, right-aligned. The value is zero outside the mask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) field: FieldId,
    pub(super) value: u128,
    pub(super) mask: u128,
    /// Whether the TLV had a mask, which may have been one of all bits.
    pub(super) masked: bool,
}

/// The number that a field is written with in OpenFlow 1.3: OXM's where that version has one, else Nicira's.
fn number(field: FieldId) -> Option<OxmId> {
    field.info().oxm(Version::V1_3.0)
}

/// Whether the field has a number in OpenFlow 1.3.
pub(super) fn has_number(field: FieldId) -> bool {
    number(field).is_some()
}

fn write_header(w: &mut Writer, id: OxmId, masked: bool, value_bytes: usize) {
    let doubled = if masked { value_bytes.saturating_mul(2) } else { value_bytes };
    let experimenter = if id.class == CLASS_EXPERIMENTER { 4 } else { 0 };
    w.u16(id.class);
    w.u8((id.field & 0x7f) << 1 | u8::from(masked));
    w.uint(doubled.saturating_add(experimenter) as u128, 1);
    if id.class == CLASS_EXPERIMENTER {
        w.u32(id.experimenter);
    }
}

/// Writes a TLV; without a mask if all bits of the field count.
///
/// # Errors
/// If the field has no number.
pub(super) fn write_entry(w: &mut Writer, field: FieldId, value: u128, mask: u128) -> Result<(), EncodeError> {
    let info = field.info();
    let not_here = EncodeError::NotInVersion { version: Version::V1_3.0, what: info.name };
    let id = number(field).ok_or(not_here)?;
    let (bytes, masked) = (usize::from(info.wire_bytes), mask & info.max_value() != info.max_value());
    write_header(w, id, masked, bytes);
    w.uint(value & mask & info.max_value(), bytes);
    if masked {
        w.uint(mask & info.max_value(), bytes);
    }
    Ok(())
}

/// Reads the number of a field: a TLV's header, with the length of what follows it.
pub(super) fn read_header(r: &mut Reader<'_>) -> Result<(OxmId, bool, usize), DecodeError> {
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

/// Reads a TLV.
///
/// # Errors
/// OFPBMC_BAD_FIELD, OFPBMC_BAD_LEN, OFPBMC_BAD_MASK, OFPBMC_BAD_WILDCARDS, OFPBMC_BAD_VALUE.
pub(super) fn read_entry(r: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    let start = r.clone();
    let (id, masked, len) = read_header(r)?;
    let field = FieldId::by_oxm(id).ok_or_else(|| {
        start.error(
            OfError::BadMatchBadField,
            if id.is_known_class() { "a field of this class" } else { "a known class of fields" },
        )
    })?;
    let info = field.info();
    let bytes = usize::from(info.wire_bytes);
    if len != if masked { bytes.saturating_mul(2) } else { bytes } {
        return Err(start.error(OfError::BadMatchBadLength, "the length of the field"));
    }
    let at = r.clone();
    let value = r.uint(bytes)?;
    let wire_mask = if masked { r.uint(bytes)? } else { u128::MAX };
    let mask = wire_mask & info.max_value();
    if value & !info.max_value() != 0 {
        Err(at.error(OfError::BadMatchBadValue, "a value within the field's width"))
    } else if value & !wire_mask != 0 {
        Err(at.error(OfError::BadMatchBadWildcards, "a value that is zero where its mask is"))
    } else if mask != info.max_value() && !info.maskable {
        Err(at.error(OfError::BadMatchBadMask, "no mask, or one of all bits"))
    } else {
        Ok(Entry { field, value, mask, masked })
    }
}

/// A 16-bit port number of OpenFlow 1.0 and of Nicira's actions, whose reserved numbers begin at 0xff00.
#[derive(Clone, Copy)]
pub(super) struct OfPort10(pub(super) u16);

impl OfPort10 {
    pub(super) fn port(self) -> OfPort {
        match u32::from(self.0) {
            n @ 0xff00.. => OfPort(n | 0xffff_0000),
            n => OfPort(n),
        }
    }

    /// # Errors
    /// If the number does not fit.
    pub(super) fn of(port: OfPort) -> Result<OfPort10, EncodeError> {
        match port.0 {
            n @ (0..=0xfeff | 0xffff_ff00..) => Ok(OfPort10((n & 0xffff) as u16)),
            n => Err(EncodeError::Port(n)),
        }
    }
}

/// Writes the TLVs of a match, without the structure around them.
pub(super) fn write_fields(m: &Match, w: &mut Writer) -> Result<(), EncodeError> {
    let mut left = m.mask().bits;
    let (tci, tci_mask) = (m.key().vlan_tci.get(), left.vlan_tci.get());
    let whole_tag_absent = tci_mask == u16::MAX && tci == 0;
    let pcp = tci_mask & VLAN_PCP_MASK;
    let splits = pcp == 0 || pcp == VLAN_PCP_MASK && tci & tci_mask & VLAN_PRESENT != 0;
    for field in ORDER {
        let info = field.info();
        let mask = info.get(&left);
        if mask == 0 || (mask != info.max_value() && !info.maskable) || !info.prereq.implied_by(m) {
            continue;
        }
        match field {
            // A tag that does not split into id and priority is left to the next but one, which takes it whole.
            FieldId::VlanVid | FieldId::VlanPcp if !splits && !whole_tag_absent => continue,
            FieldId::VlanVid if whole_tag_absent => FieldId::VlanTci.info().put(&mut left, 0),
            _ => {}
        }
        write_entry(w, *field, info.get(m.key()), mask)?;
        info.put(&mut left, 0);
    }
    match FieldId::all().find(|f| f.info().get(&left) != 0) {
        Some(f) => Err(EncodeError::Match { field: f.info().name }),
        None => Ok(()),
    }
}

/// Reads TLVs up to the end of `r` as a match.
pub(super) fn read_fields(mut r: Reader<'_>) -> Result<Match, DecodeError> {
    let (mut key, mut mask) = (FlowKey::ZERO, FlowMask::EMPTY);
    while !r.is_empty() {
        let start = r.clone();
        let e = read_entry(&mut r)?;
        let info = e.field.info();
        if mask.touches(e.field) {
            return Err(start.error(OfError::BadMatchDuplicate, "a field that was not there yet"));
        }
        if !info.prereq.implied_by(&Match::new(key, mask)) {
            return Err(start.error(OfError::BadMatchPrerequisite, info.prereq.hint()));
        }
        info.put(&mut key, e.value);
        info.put(&mut mask.bits, e.mask);
    }
    Ok(Match::new(key, mask))
}

/// The structure `ofp_match`.
impl Codec for Match {
    fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let shape = Shape { what: "a match", length_at: 2, align: 8, count_padding: false };
        w.prefixed(shape, |w| {
            w.u16(OFPMT_OXM);
            w.u16(0);
            write_fields(self, w)
        })
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut r_match = r.clone().or(OfError::BadMatchBadLength);
        let start = r_match.clone();
        if r_match.u16()? != OFPMT_OXM {
            return Err(start.error(OfError::BadMatchBadType, "an OXM match"));
        }
        let len = usize::from(r_match.u16()?);
        let fields =
            len.checked_sub(4).ok_or_else(|| start.error(OfError::BadMatchBadLength, "a length of 4 or more"))?;
        let m = read_fields(r_match.sub(fields)?)?;
        r_match.skip(len.checked_next_multiple_of(8).unwrap_or(len).saturating_sub(len))?;
        r.skip(r_match.at().saturating_sub(r.at()))?;
        Ok(m)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let mut w = Writer::new();
        text.parse::<Match>().unwrap().encode(&mut w).unwrap();
        w.into_bytes()
    }

    fn read(bytes: &[u8]) -> Result<Match, DecodeError> {
        Match::decode(&mut Reader::new(bytes))
    }

    fn fields(bytes: &[u8]) -> Result<Match, OfError> {
        read_fields(Reader::new(bytes).or(OfError::BadMatchBadLength)).map_err(|e| e.error)
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
            write_fields(&m, &mut w).unwrap();
            assert_eq!(w.into_bytes(), oxm, "{text}");
            let read = fields(oxm).unwrap();
            assert!(read == m || text == "vlan_tci=0", "{text}: {read}");
        }
    }

    #[test]
    fn every_error_of_a_match() {
        use OfError::*;
        assert_eq!(read(&[0, 0, 0, 4, 0, 0, 0, 0]).unwrap_err().error, BadMatchBadType);
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
    fn bits_that_no_field_has_are_refused() {
        let mut m = Match::ANY;
        m.set(FieldId::SkbPriority, 1);
        assert_eq!(write_fields(&m, &mut Writer::new()), Err(EncodeError::Match { field: "skb_priority" }));
        let mut m = Match::ANY;
        m.set(FieldId::NwSrc, 1);
        assert!(write_fields(&m, &mut Writer::new()).is_err());
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
        for f in FieldId::all().filter(|f| number(*f).is_some() && !views(f)) {
            assert!(ORDER.contains(&f), "{}", f.info().name);
        }
    }
}
