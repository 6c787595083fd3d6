//! Matches of OpenFlow 1.0 and 1.1, which are structures of fixed size, and the choice between them and TLVs.

use std::sync::LazyLock;

use ovs_packet::field::{FieldId, Prereq, PrereqSet};
use ovs_packet::key::{Rest, VLAN_PCP_MASK, VLAN_PRESENT, WordSet};
use ovs_packet::{EthAddr, FlowMask, Match, OfPort};

use super::cursor::{Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;
use super::oxm;

/// Length of the match of OpenFlow 1.0.
pub(super) const LEN_10: usize = 40;
/// Length of the match of OpenFlow 1.1.
const LEN_11: u16 = 88;
const OFPMT_STANDARD: u16 = 0;

const VID_MASK: u16 = 0xfff;
/// A frame without an Ethertype, as the key has it; OpenFlow says it otherwise from 1.0 on, but with this number too.
const TP: [(FieldId, FieldId); 5] = [
    (FieldId::TcpSrc, FieldId::TcpDst),
    (FieldId::UdpSrc, FieldId::UdpDst),
    (FieldId::SctpSrc, FieldId::SctpDst),
    (FieldId::IcmpType, FieldId::IcmpCode),
    (FieldId::Icmpv6Type, FieldId::Icmpv6Code),
];

/// The fields that ports stand for in packets that have what is `there`.
fn ports_of(there: PrereqSet) -> Option<(FieldId, FieldId)> {
    TP.into_iter().find(|(src, _)| there.contains(src.info().prereq))
}

fn mac(a: EthAddr) -> u128 {
    a.0.iter().fold(0, |v, b| v << 8 | u128::from(*b))
}

fn eth(r: &mut Reader<'_>) -> Result<EthAddr, DecodeError> {
    let mut a = EthAddr::default();
    a.0.iter_mut().zip(r.bytes(6)?).for_each(|(to, from)| *to = *from);
    Ok(a)
}

/// Sets bits of the VLAN tag.
fn set_tag(m: &mut Match, value: u16, mask: u16) {
    m.set_masked(FieldId::VlanTci, value.into(), mask.into());
}

fn prefix(bits: u32) -> u128 {
    u32::MAX.checked_shl(bits & 0x3f).unwrap_or(0).into()
}

/// The addresses of IPv4, or of ARP.
fn addresses(there: PrereqSet) -> Option<(FieldId, FieldId)> {
    [(FieldId::NwSrc, FieldId::NwDst), (FieldId::ArpSpa, FieldId::ArpTpa)]
        .into_iter()
        .find(|(src, _)| there.contains(src.info().prereq))
}

/// The protocol of IP, or the operation of ARP.
fn protocol(there: PrereqSet) -> Option<FieldId> {
    [FieldId::NwProto, FieldId::ArpOp].into_iter().find(|f| there.contains(f.info().prereq))
}

/// Reads a match of OpenFlow 1.0. What it says of headers that the packets need not have is dropped, as upstream drops
/// it, if it is one that a flow shall have.
pub(super) fn read_10(r: &mut Reader<'_>) -> Result<Match, DecodeError> {
    read_10_as(r, false).map(|(m, _)| m)
}

/// The same, and tells what was dropped.
pub(super) fn read_10_telling(r: &mut Reader<'_>) -> Result<Match, DecodeError> {
    let start = r.clone();
    let (taken, dropped) = read_10_as(r, false)?;
    if dropped {
        let came = read_10_whole(&mut start.clone())?;
        tracing::info!(target: "ofp_match", "normalization changed ofp_match, details:");
        tracing::info!(target: "ofp_match", " pre: {came}");
        tracing::info!(target: "ofp_match", "post: {taken}");
    }
    Ok(taken)
}

/// Reads a match of OpenFlow 1.0 with all that it says; of a flow that is there, and that nobody will look up.
pub(super) fn read_10_whole(r: &mut Reader<'_>) -> Result<Match, DecodeError> {
    read_10_as(r, true).map(|(m, _)| m)
}

/// Whether a match of OpenFlow 1.0 leaves nothing open.
pub(super) fn is_exact_10(r: &Reader<'_>) -> bool {
    r.clone().u32().is_ok_and(|wildcards| wildcards & 0x3f_ffff == 0)
}

/// Reads a match of OpenFlow 1.0, `whole` or what packets have of it; and whether something of it was dropped.
fn read_10_as(r: &mut Reader<'_>, whole: bool) -> Result<(Match, bool), DecodeError> {
    let wildcards = r.u32()?;
    let (in_port, src, dst, vid, pcp) = (r.u16()?, eth(r)?, eth(r)?, r.u16()?, r.u8()?);
    r.skip(1)?;
    let (eth_type, tos, proto) = (r.u16()?, r.u8()?, r.u8()?);
    r.skip(2)?;
    let (nw_src, nw_dst, tp_src, tp_dst) = (r.u32()?, r.u32()?, r.u16()?, r.u16()?);
    let exact = |bit: u32| wildcards & 1u32.checked_shl(bit).unwrap_or(0) == 0;
    let mut m = Match::ANY;
    if exact(0) {
        m.set(FieldId::InPortOxm, OfPort::from_16(in_port).0.into());
    }
    if exact(2) {
        m.set(FieldId::EthSrc, mac(src));
    }
    if exact(3) {
        m.set(FieldId::EthDst, mac(dst));
    }
    match (exact(1), exact(20)) {
        (true, _) if vid == 0xffff => set_tag(&mut m, 0, u16::MAX),
        (false, false) => {}
        (by_vid, by_pcp) => {
            let mask = VLAN_PRESENT | if by_vid { VID_MASK } else { 0 } | if by_pcp { VLAN_PCP_MASK } else { 0 };
            let tci = VLAN_PRESENT | vid & VID_MASK | u16::from(pcp).wrapping_shl(13);
            set_tag(&mut m, tci & mask, mask);
        }
    }
    if exact(4) {
        m.set(FieldId::EthType, eth_type.into());
    }
    let mut dropped = false;
    let mut add = |m: &mut Match, field: Option<FieldId>, value: u128, mask: u128| match field {
        Some(field) => m.set_masked(field, value & mask, mask),
        None => dropped = true,
    };
    let or = |field: Option<FieldId>, otherwise: FieldId| field.or(whole.then_some(otherwise));
    let there = m.prereqs();
    if exact(21) {
        let field = Some(FieldId::NwTos).filter(|_| whole || there.contains(Prereq::Ip));
        add(&mut m, field, tos.into(), 0xfc);
    }
    if exact(5) {
        add(&mut m, or(protocol(there), FieldId::NwProto), proto.into(), u128::MAX);
    }
    let pair = addresses(there).unzip();
    for (field, value, bits) in
        [(or(pair.0, FieldId::NwSrc), nw_src, wildcards >> 8), (or(pair.1, FieldId::NwDst), nw_dst, wildcards >> 14)]
    {
        let mask = prefix(bits);
        if mask != 0 {
            add(&mut m, field, value.into(), mask);
        }
    }
    let pair = ports_of(m.prereqs()).unzip();
    for (is, field, value) in
        [(exact(6), or(pair.0, FieldId::TcpSrc), tp_src), (exact(7), or(pair.1, FieldId::TcpDst), tp_dst)]
    {
        if is {
            add(&mut m, field, value.into(), u128::MAX);
        }
    }
    Ok((m, dropped))
}

/// How much of a match must be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// All of it.
    All,
    /// What there is a place for, of a flow that is only told of; the rest of it is left out. A VLAN id of which some
    /// bits are matched is given whole, and so is a priority, as upstream gives them.
    Nearest,
    /// All of it, though the packets need not have what it speaks of.
    Whole,
}

/// What is left to be said of a match, and how much of that must be.
struct Left<'a> {
    rest: Rest<'a>,
    there: PrereqSet,
    said: Said,
}

impl<'a> Left<'a> {
    fn of(m: &'a Match, said: Said) -> Left<'a> {
        Left { rest: m.rest(), there: m.prereqs(), said }
    }

    /// Value and mask.
    fn take(&mut self, field: FieldId) -> (u128, u128) {
        if self.said != Said::Whole && !self.there.contains(field.info().prereq) {
            return (0, 0);
        }
        self.rest.take(field)
    }

    /// The value if all of the field is matched; a part of it cannot be said.
    fn whole(&mut self, field: FieldId) -> Result<Option<u128>, EncodeError> {
        match self.take(field) {
            (_, 0) => Ok(None),
            (value, mask) if mask == field.info().max_value() => Ok(Some(value)),
            _ => self.partly(field.info().name).map(|()| None),
        }
    }

    /// The TOS byte without its ECN bits.
    fn tos(&mut self) -> Result<Option<u128>, EncodeError> {
        match self.take(FieldId::NwTos) {
            (_, 0) => Ok(None),
            (value, 0xfc) => Ok(Some(value)),
            _ => self.partly("nw_tos").map(|()| None),
        }
    }

    /// A field that cannot be said as it is matched.
    fn partly(&self, field: &'static str) -> Result<(), EncodeError> {
        match self.said {
            Said::All | Said::Whole => Err(EncodeError::Match { field }),
            Said::Nearest => Ok(()),
        }
    }

    fn done(mut self) -> Result<(), EncodeError> {
        // That packets begin with Ethernet is taken for granted.
        self.rest.take(FieldId::PacketType);
        if self.said == Said::Nearest || self.rest.is_empty() {
            return Ok(());
        }
        match self.rest.field() {
            Some(f) => Err(EncodeError::Match { field: f.info().name }),
            None => Ok(()),
        }
    }
}

/// Wildcard bits of an address mask of OpenFlow 1.0.
fn wildcard_bits(field: FieldId, mask: u128) -> Result<u32, EncodeError> {
    let mask = u32::try_from(mask).unwrap_or(0);
    match mask.leading_ones().wrapping_add(mask.trailing_zeros()) {
        32 => Ok(mask.trailing_zeros()),
        _ if mask == 0 => Ok(32),
        _ => Err(EncodeError::Match { field: field.info().name }),
    }
}

fn low16(v: Option<u128>) -> u16 {
    (v.unwrap_or(0) & 0xffff) as u16
}

fn low8(v: Option<u128>) -> u8 {
    (v.unwrap_or(0) & 0xff) as u8
}

fn low32(v: u128) -> u32 {
    (v & 0xffff_ffff) as u32
}

/// What matches of OpenFlow 1.0 and 1.1 say of VLAN tags: id, or that there is no tag, or that there is one; priority.
enum Tag {
    Any,
    Absent,
    Present { vid: Option<u16>, pcp: Option<u8> },
}

fn tag(left: &mut Left<'_>) -> Result<Tag, EncodeError> {
    let (value, mask) = left.take(FieldId::VlanTci);
    let (value, mask) = ((value & 0xffff) as u16, (mask & 0xffff) as u16);
    let bad = Err(EncodeError::Match { field: "vlan_tci" });
    if mask == 0 {
        return Ok(Tag::Any);
    }
    if left.said == Said::Nearest {
        let part = |bits: u16| (mask & bits != 0).then_some(value & bits);
        return Ok(match mask & VLAN_PRESENT != 0 && value & VLAN_PRESENT == 0 {
            true => Tag::Absent,
            false => Tag::Present { vid: part(VID_MASK), pcp: part(VLAN_PCP_MASK).map(|p| (p >> 13) as u8) },
        });
    }
    if mask & VLAN_PRESENT == 0 {
        return bad;
    }
    if value & VLAN_PRESENT == 0 {
        return if value == 0 { Ok(Tag::Absent) } else { bad };
    }
    let part = |bits: u16| match mask & bits {
        0 => Ok(None),
        all if all == bits => Ok(Some(value & bits)),
        _ => Err(EncodeError::Match { field: "vlan_tci" }),
    };
    Ok(Tag::Present { vid: part(VID_MASK)?, pcp: part(VLAN_PCP_MASK)?.map(|p| (p >> 13) as u8) })
}

/// The words of the key that matches of OpenFlow 1.0 have fields in.
static WORDS_10: LazyLock<WordSet> = LazyLock::new(|| {
    use FieldId::{
        EthDst, EthSrc, EthType, InPortOxm, NwDst, NwProto, NwSrc, NwTos, PacketType, TcpDst, TcpSrc, VlanTci,
    };
    let fields =
        [PacketType, InPortOxm, EthSrc, EthDst, EthType, VlanTci, NwTos, NwProto, NwSrc, NwDst, TcpSrc, TcpDst];
    FlowMask::of(&fields).bits.non_zero()
});

/// Whether a match has bits of no words but those that OpenFlow 1.0 has fields in.
pub(super) fn may_fit_10(m: &Match) -> bool {
    m.map().is_within(*WORDS_10)
}

/// Whether a match can be said as OpenFlow 1.0 does.
pub(super) fn fits_10(m: &Match) -> bool {
    may_fit_10(m) && write_10(m, &mut Writer::for_message(), Said::All).is_ok()
}

/// Writes a match of OpenFlow 1.0.
///
/// # Errors
/// If it has bits that have no place there, and all is to be said.
pub(super) fn write_10(m: &Match, w: &mut Writer, said: Said) -> Result<(), EncodeError> {
    let mut left = Left::of(m, said);
    let mut wildcards = 0u32;
    let mut wild = |bit: u32, is: bool| wildcards |= u32::from(is) << (bit & 31);
    let in_port = left.whole(FieldId::InPortOxm)?;
    let (src, dst) = (left.whole(FieldId::EthSrc)?, left.whole(FieldId::EthDst)?);
    let (vid, pcp) = match tag(&mut left)? {
        Tag::Any => {
            wild(1, true);
            wild(20, true);
            (0, 0)
        }
        Tag::Absent => (0xffff, 0),
        Tag::Present { vid, pcp } => {
            wild(1, vid.is_none());
            wild(20, pcp.is_none());
            (vid.unwrap_or(0), pcp.unwrap_or(0))
        }
    };
    let tos = left.tos()?;
    let there = left.there;
    let mut address = |field: Option<FieldId>| {
        let Some(field) = field else { return Ok((0, 32)) };
        let (value, mask) = left.take(field);
        match wildcard_bits(field, mask) {
            Ok(bits) => Ok((low32(value), bits)),
            Err(_) if left.said == Said::Nearest => Ok((0, 32)),
            Err(e) => Err(e),
        }
    };
    let whole = said == Said::Whole;
    let pair = addresses(there).or(whole.then_some((FieldId::NwSrc, FieldId::NwDst)));
    let ((nw_src, src_bits), (nw_dst, dst_bits)) = (address(pair.map(|p| p.0))?, address(pair.map(|p| p.1))?);
    let (tp_src, tp_dst) = match ports_of(left.there).or(whole.then_some((FieldId::TcpSrc, FieldId::TcpDst))) {
        Some((s, d)) => (left.whole(s)?, left.whole(d)?),
        None => (None, None),
    };
    let proto = match protocol(left.there).or(whole.then_some(FieldId::NwProto)) {
        Some(field) => left.whole(field)?,
        None => None,
    };
    let eth_type = left.whole(FieldId::EthType)?;
    left.done()?;
    for (bit, is) in [
        (0, in_port.is_none()),
        (2, src.is_none()),
        (3, dst.is_none()),
        (4, eth_type.is_none()),
        (5, proto.is_none()),
        (6, tp_src.is_none()),
        (7, tp_dst.is_none()),
        (21, tos.is_none()),
    ] {
        wild(bit, is);
    }
    w.u32(wildcards | src_bits << 8 | dst_bits << 14);
    let port = OfPort(low32(in_port.unwrap_or(0)));
    w.u16(port.to_16().ok_or(EncodeError::Port(port.0))?);
    w.uint(src.unwrap_or(0), 6);
    w.uint(dst.unwrap_or(0), 6);
    w.u16(vid);
    w.u8(pcp);
    w.zeros(1);
    w.u16(low16(eth_type));
    w.u8(low8(tos));
    w.u8(low8(proto));
    w.zeros(2);
    w.u32(nw_src);
    w.u32(nw_dst);
    w.u16(low16(tp_src));
    w.u16(low16(tp_dst));
    Ok(())
}

/// Reads what stands behind type and length of a match of OpenFlow 1.1.
fn read_11(r: &mut Reader<'_>) -> Result<Match, DecodeError> {
    let start = r.clone();
    let bad = |what| start.error(OfError::BadMatchBadValue, what);
    let (in_port, wildcards) = (r.u32()?, r.u32()?);
    let (src, src_mask, dst, dst_mask) = (eth(r)?, eth(r)?, eth(r)?, eth(r)?);
    let (vid, pcp) = (r.u16()?, r.u8()?);
    r.skip(1)?;
    let (eth_type, tos, proto) = (r.u16()?, r.u8()?, r.u8()?);
    let (nw_src, nw_src_mask, nw_dst, nw_dst_mask) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
    let (tp_src, tp_dst, label, tc) = (r.u16()?, r.u16()?, r.u32()?, r.u8()?);
    r.skip(3)?;
    let (metadata, metadata_mask) = (r.u64()?, r.u64()?);
    let exact = |bit: u32| wildcards & 1u32.checked_shl(bit).unwrap_or(0) == 0;
    let mut m = Match::ANY;
    if exact(0) {
        if (0xff00..0xffff_ff00).contains(&in_port) {
            return Err(bad("a port"));
        }
        m.set(FieldId::InPortOxm, in_port.into());
    }
    const ALL: u128 = 0xffff_ffff_ffff;
    for (field, value, mask) in [(FieldId::EthSrc, src, src_mask), (FieldId::EthDst, dst, dst_mask)] {
        let mask = !mac(mask) & ALL;
        m.set_masked(field, mac(value) & mask, mask);
    }
    if exact(1) {
        match vid {
            0xffff => set_tag(&mut m, 0, u16::MAX),
            0xfffe => set_tag(&mut m, VLAN_PRESENT, VLAN_PRESENT),
            0..=VID_MASK => set_tag(&mut m, VLAN_PRESENT | vid, VLAN_PRESENT | VID_MASK),
            _ => return Err(bad("a VLAN id")),
        }
        if exact(2) && vid != 0xffff {
            if pcp > 7 {
                return Err(bad("a VLAN priority"));
            }
            m.set(FieldId::VlanPcp, pcp.into());
        }
    }
    if exact(3) {
        m.set(FieldId::EthType, eth_type.into());
    }
    let ipv4 = exact(3) && eth_type == 0x0800;
    if ipv4 && exact(4) {
        if tos & 3 != 0 {
            return Err(bad("a TOS byte without ECN bits"));
        }
        m.set(FieldId::NwTos, tos.into());
    }
    let there = m.prereqs();
    if let Some((s, d)) = addresses(there) {
        if let (true, Some(field)) = (exact(5), protocol(there)) {
            m.set(field, proto.into());
        }
        m.set_masked(s, nw_src.into(), (!nw_src_mask).into());
        m.set_masked(d, nw_dst.into(), (!nw_dst_mask).into());
    }
    if let (true, Some((s, d))) = (ipv4, ports_of(m.prereqs())) {
        for (wanted, field, value) in [(exact(6), s, tp_src), (exact(7), d, tp_dst)] {
            if wanted && u128::from(value) > field.info().max_value() {
                return Err(start.error(OfError::BadMatchBadField, "a type or code of ICMP"));
            }
            if wanted {
                m.set(field, value.into());
            }
        }
    }
    if there.contains(Prereq::Mpls) {
        if exact(8) {
            m.set(FieldId::MplsLabel, u128::from(label) & 0xf_ffff);
        }
        if exact(9) {
            m.set(FieldId::MplsTc, u128::from(tc) & 7);
        }
    }
    m.set_masked(FieldId::Metadata, u128::from(metadata & !metadata_mask), (!metadata_mask).into());
    Ok(m)
}

/// Writes a match of OpenFlow 1.1.
///
/// # Errors
/// If it has bits that have no place there, and all is to be said.
pub(super) fn write_11(m: &Match, w: &mut Writer, said: Said) -> Result<(), EncodeError> {
    let mut left = Left::of(m, said);
    let mut wildcards = 0u32;
    let mut wild = |bit: u32, is: bool| wildcards |= u32::from(is) << (bit & 31);
    let in_port = left.whole(FieldId::InPortOxm)?;
    let (src, dst) = (left.take(FieldId::EthSrc), left.take(FieldId::EthDst));
    let (vid, pcp) = match tag(&mut left)? {
        Tag::Any => {
            wild(1, true);
            wild(2, true);
            (0, 0)
        }
        Tag::Absent => {
            wild(2, true);
            (0xffff, 0)
        }
        Tag::Present { vid, pcp } => {
            wild(2, pcp.is_none());
            (vid.unwrap_or(0xfffe), pcp.unwrap_or(0))
        }
    };
    let tos = left.tos()?;
    let (nw_src, nw_dst) = match addresses(left.there) {
        Some((s, d)) => (left.take(s), left.take(d)),
        None => ((0, 0), (0, 0)),
    };
    let (tp_src, tp_dst) = match ports_of(left.there) {
        Some((s, d)) => (left.whole(s)?, left.whole(d)?),
        None => (None, None),
    };
    let (label, tc) = (left.whole(FieldId::MplsLabel)?, left.whole(FieldId::MplsTc)?);
    let proto = match protocol(left.there) {
        Some(field) => left.whole(field)?,
        None => None,
    };
    let (eth_type, metadata) = (left.whole(FieldId::EthType)?, left.take(FieldId::Metadata));
    left.done()?;
    for (bit, is) in [
        (0, in_port.is_none()),
        (3, eth_type.is_none()),
        (4, tos.is_none()),
        (5, proto.is_none()),
        (6, tp_src.is_none()),
        (7, tp_dst.is_none()),
        (8, label.is_none()),
        (9, tc.is_none()),
    ] {
        wild(bit, is);
    }
    w.u16(OFPMT_STANDARD);
    w.u16(LEN_11);
    w.u32(low32(in_port.unwrap_or(0)));
    w.u32(wildcards);
    for (value, mask) in [src, dst] {
        w.uint(value, 6);
        w.uint(!mask, 6);
    }
    w.u16(vid);
    w.u8(pcp);
    w.zeros(1);
    w.u16(low16(eth_type));
    w.u8(low8(tos));
    w.u8(low8(proto));
    for (value, mask) in [nw_src, nw_dst] {
        w.u32(low32(value));
        w.u32(!low32(mask));
    }
    w.u16(low16(tp_src));
    w.u16(low16(tp_dst));
    w.u32(low32(label.unwrap_or(0)));
    w.u8(low8(tc));
    w.zeros(3);
    w.uint(metadata.0, 8);
    w.uint(!metadata.1, 8);
    Ok(())
}

/// Reads the structure `ofp_match` of OpenFlow 1.1 and later, whichever form it has, into a match that says nothing yet.
#[inline(always)]
pub(super) fn read(r: &mut Reader<'_>, how: oxm::Reading, m: &mut Match) -> Result<(), DecodeError> {
    match oxm::match_in(r) {
        Some((bytes, fields)) => oxm::read_fields_in(bytes, fields, how, m).map(|_| ()),
        None => read_other(r, how, m),
    }
}

/// Reads a match that is not one of TLVs whose length fits.
#[inline(never)]
fn read_other(r: &mut Reader<'_>, how: oxm::Reading, m: &mut Match) -> Result<(), DecodeError> {
    let (start, short) = (r.place(), r.set_short(&OfError::BadMatchBadLength));
    let (kind, len) = r.type_and_length()?;
    r.skip(4)?;
    match kind {
        OFPMT_STANDARD if len == usize::from(LEN_11) => *m = read_11(r)?,
        OFPMT_STANDARD => return Err(start.error(OfError::BadMatchBadLength, "the length of a match of OpenFlow 1.1")),
        oxm::OFPMT_OXM => oxm::read_match(r, len, how, m)?,
        _ => return Err(start.error(OfError::BadMatchBadType, "a standard match or an OXM match")),
    }
    r.set_short(short);
    Ok(())
}

/// Writes a match as `version` has it, from OpenFlow 1.1 on.
///
/// # Errors
/// If it cannot be said there.
pub(super) fn write(m: &Match, w: &mut Writer, version: Version) -> Result<(), EncodeError> {
    write_as(m, w, version, Said::All)
}

/// The same of a flow that is only told of.
///
/// # Errors
/// If it cannot be said from OpenFlow 1.2 on.
pub(super) fn write_nearest(m: &Match, w: &mut Writer, version: Version) -> Result<(), EncodeError> {
    write_as(m, w, version, Said::Nearest)
}

fn write_as(m: &Match, w: &mut Writer, version: Version, said: Said) -> Result<(), EncodeError> {
    match version {
        Version::V1_1 => write_11(m, w, said),
        _ => oxm::write_match(m, w, version.0),
    }
}
