//! Bytes to actions.

use std::net::Ipv4Addr;

use ovs_packet::field::{EXPERIMENTER_NX as NX, EXPERIMENTER_ONF as ONF, FieldId, OxmId, PlainTlv};
use ovs_packet::key::VLAN_PRESENT;
use ovs_packet::{EthAddr, OfPort};
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{Code, EXPERIMENTER, Encoding, MAX_NESTING, encoding_of};
use crate::action::{Action, Controller, SetTunnelOption, Subfield, SubfieldError};
use crate::codec::cursor::{Place, Reader};
use crate::codec::error::{DecodeError, OfError};
use crate::codec::header::Version;
use crate::codec::io::port_at;
use crate::codec::oxm;

/// What a list of actions is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outer {
    /// A flow, a bucket, a packet that is sent, or a clone.
    Packet,
    /// The settings of a connection.
    Ct,
}

/// The body of an output of OpenFlow 1.0.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Output10 {
    port: U16,
    max_len: U16,
}

/// The body of an output from OpenFlow 1.1 on.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Output {
    port: U32,
    max_len: U16,
    _padding: [u8; 6],
}

/// The body of Nicira's load.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Load {
    bits: U16,
    field: U32,
    value: U64,
}

/// Value and mask that are written into the metadata.
pub(super) type Metadata = Option<(u64, u64)>;

/// Reads the actions up to the end of `r`, `depth` lists deep.
pub(in crate::codec) fn decode(r: Reader<'_>, version: Version, depth: usize) -> Result<Vec<Action>, DecodeError> {
    let mut actions = Vec::new();
    let within = decode_within(r.clone(), version, depth, Outer::Packet, &mut actions);
    match within.map_err(|e| e.in_list(r.at(), r.len()))? {
        None => Ok(actions),
        Some(_) => Err(r.error(OfError::BadInstructionUnsupported, "an instruction instead of an action")),
    }
}

/// Reads the actions that a flow applies, behind those that are there, which are [usual](take_usual). A write of metadata, which from OpenFlow 1.1 on is
/// an instruction, may stand behind them, as upstream takes it.
pub(in crate::codec) fn decode_applied(
    r: Reader<'_>,
    version: Version,
    actions: &mut Vec<Action>,
) -> Result<Metadata, DecodeError> {
    decode_within(r, version, 0, Outer::Packet, actions)
}

/// How many actions there are, by their lengths: none behind a length that cannot be.
#[inline(always)]
fn count(mut rest: &[u8]) -> usize {
    let mut n = 0usize;
    while let Some([_, _, high, low]) = rest.first_chunk::<4>() {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        match rest.get(len..) {
            Some(behind) if len >= 8 => (rest, n) = (behind, n.wrapping_add(1)),
            _ => break,
        }
    }
    n
}

/// What stands in a list so far, but for notes, which go with anything: beside conjunctions there is nothing else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    Nobody,
    Conjunctions,
    Others,
}

pub(super) fn decode_within(
    r: Reader<'_>,
    version: Version,
    depth: usize,
    outer: Outer,
    actions: &mut Vec<Action>,
) -> Result<Metadata, DecodeError> {
    let mut r = r.or(&OfError::BadActionBadLength);
    if depth > MAX_NESTING {
        return Err(r.error(OfError::BadActionTooMany, "actions nested less deeply"));
    }
    let left = take_usual(r.peek(), version, actions);
    r.skip(r.len().saturating_sub(left.len()))?;
    let (mut metadata, mut company) = (None, if actions.is_empty() { Company::Nobody } else { Company::Others });
    while !r.is_empty() {
        let start = r.place();
        decode_one(&mut r, version, depth, actions)?;
        let Some(action) = actions.last() else { continue };
        if metadata.is_some() {
            return Err(start.error(OfError::BadActionUnsupportedOrder, "no action behind a write of metadata"));
        }
        match action {
            Action::WriteMetadata(value, mask) if version != Version::V1_0 => {
                metadata = Some((*value, *mask));
                actions.pop();
            }
            action => {
                let fits = may_stand(action, &mut company, outer);
                fits.map_err(|error| start.error(error, "an action that may stand here"))?;
            }
        }
    }
    Ok(metadata)
}

/// Takes what nearly every list is of, as many as stand here behind those that are there; what is wrong with one is for
/// others to say. Gives what is left.
pub(in crate::codec) fn take_usual<'a>(mut bytes: &'a [u8], version: Version, actions: &mut Vec<Action>) -> &'a [u8] {
    let (before, more) = (actions.len(), count(bytes));
    // Lists are not moved as they grow, and none has more room than it needs.
    match actions.capacity() {
        0 => *actions = Vec::with_capacity(more),
        _ => actions.reserve_exact(more),
    }
    // Places, in which actions are made: one that is moved to its own was just written in parts, and waits for these.
    actions.extend((0..more).map(|_| Action::Exit));
    for place in actions.get_mut(before..).unwrap_or_default() {
        let Some(behind) = take_one_usual(bytes, version, place) else { break };
        bytes = behind;
    }
    if !bytes.is_empty() {
        let taken = actions.len().saturating_sub(count(bytes));
        actions.truncate(taken);
    }
    bytes
}

/// Makes a place that needs no cleaning an output. Each kind of action has a function for this that is not inlined: the
/// compiler else makes one of their ends, which copies an action from where parts of it were just written, and waits for
/// these.
#[inline(never)]
fn put_output(place: &mut Action, port: OfPort, max_len: u16) {
    put(place, Action::Output { port, max_len });
}

#[inline(never)]
fn put_load(place: &mut Action, dst: Subfield, value: u64) {
    put(place, Action::Load { dst, value });
}

#[inline(never)]
fn put_set(place: &mut Action, field: FieldId, value: u64, mask: u64) {
    put(place, Action::SetField { field, value: value.into(), mask: mask.into() });
}

#[inline(always)]
fn put(place: &mut Action, action: Action) {
    core::mem::forget(core::mem::replace(place, action));
}

/// The head of Nicira's actions but for their length: type, that and the experimenter.
const NICIRA: u64 = (EXPERIMENTER as u64) << 48 | NX as u64;
const LENGTH: u64 = 0xffff << 32;

/// What stands behind the first eight bytes.
#[inline(always)]
fn behind_head(bytes: &[u8]) -> Option<u16> {
    let [.., high, low] = *bytes.first_chunk::<10>()?;
    Some(u16::from_be_bytes([high, low]))
}

/// Takes the action that begins here if it is of a few kinds and nothing is wrong with it, into a place that has none.
#[inline(always)]
fn take_one_usual<'a>(bytes: &'a [u8], version: Version, place: &mut Action) -> Option<&'a [u8]> {
    let head = u64::from_be_bytes(*bytes.first_chunk()?);
    let (kind, len) = ((head >> 48) as u16, (head >> 32 & 0xffff) as u16);
    let behind = bytes.get(usize::from(len)..)?;
    let (nicira, number) = match kind {
        EXPERIMENTER if head & !LENGTH == NICIRA => (true, behind_head(bytes)?),
        EXPERIMENTER => return None,
        kind => (false, kind),
    };
    let Encoding { code, min, more } = encoding_of(if nicira { NX } else { 0 }, number, version)?;
    if len != u16::from(min) && !(more && len > u16::from(min) && len.is_multiple_of(8)) {
        return None;
    }
    match code {
        Code::Output10 => {
            let port = OfPort::from_16((head >> 16 & 0xffff) as u16);
            put_output(place, port, output_len(port, (head & 0xffff) as u16).ok()?);
        }
        Code::Output11 => {
            let max_len = behind_head(bytes)?;
            let port = port_at((head & 0xffff_ffff) as u32, Place::default()).ok()?;
            put_output(place, port, output_len(port, max_len).ok()?);
        }
        Code::NxRegLoad => {
            let (l, _) = Load::ref_from_prefix(bytes.get(10..)?).ok()?;
            let (tlv, value) = (PlainTlv::numbered(l.field.get())?, l.value.get());
            let ((offset, bits), field) = (Body::bits(l.bits.get()), tlv.field());
            let fits = offset.wrapping_add(bits) <= tlv.bits() && value.checked_shr(bits.into()).unwrap_or(0) == 0;
            if !fits || !tlv.is_writable() || matches!(field, FieldId::CtMark | FieldId::CtLabel) {
                return None;
            }
            put_load(place, Subfield { field, offset, bits }, value);
        }
        Code::SetField12 | Code::SetField15 => {
            let body = bytes.get(4..len.into())?;
            let (tlv, value, size) = PlainTlv::read(body, body.len())?;
            let (field, padding) = (tlv.field(), body.get(size..)?);
            let own_rules = matches!(field, FieldId::VlanVid | FieldId::InPortOxm | FieldId::CtMark | FieldId::CtLabel);
            if own_rules || !tlv.is_writable() || padding.iter().any(|b| *b != 0) {
                return None;
            }
            put_set(place, field, value, tlv.max_value());
        }
        Code::DecNwTtl => put(place, Action::DecTtl),
        _ => return None,
    }
    Some(behind)
}

/// What is wrong, and what was expected.
type Wrong = (OfError, &'static str);

/// How much of a packet an output sends.
#[inline(always)]
fn output_len(port: OfPort, max_len: u16) -> Result<u16, Wrong> {
    if port == OfPort::ANY {
        return Err((OfError::BadActionBadPort, "a port that can be output to"));
    }
    let whole = port != OfPort::CONTROLLER && max_len == 0;
    Ok(if whole { Action::WHOLE } else { max_len })
}

/// Where a load writes.
#[inline(always)]
fn load_target(field: FieldId, bits: u16, value: u64) -> Result<Subfield, Wrong> {
    let (offset, bits) = Body::bits(bits);
    let dst = target(Subfield { field, offset, bits })?;
    match value.checked_shr(bits.into()) {
        Some(above) if above != 0 => Err((OfError::BadActionBadArgument, "a value that fits the bits")),
        _ => Ok(dst),
    }
}

/// A field by its header in 32 bits, of which upstream looks at class and number only: not at mask and length.
#[inline(always)]
pub(super) fn field_of(word: u32) -> Option<FieldId> {
    FieldId::by_oxm(OxmId { class: (word >> 16) as u16, field: (word >> 9 & 0x7f) as u8, experimenter: 0 })
}

#[inline(always)]
fn target(s: Subfield) -> Result<Subfield, Wrong> {
    match s.check_target() {
        Ok(()) => Ok(s),
        Err(SubfieldError::ReadOnly) => Err((OfError::BadActionBadSetArgument, "a field that can be set")),
        Err(_) => Err((OfError::BadActionBadSetLength, "bits of the field")),
    }
}

/// Whether an action may stand in such company, which it joins.
fn may_stand(action: &Action, company: &mut Company, outer: Outer) -> Result<(), OfError> {
    if outer == Outer::Packet && action.sets_connection() {
        return Err(OfError::BadActionBadSetArgument);
    }
    // Translations are within ct only.
    let (joins, bad) = match action {
        Action::Nat(_) if outer == Outer::Packet => return Err(OfError::BadActionUnsupportedOrder),
        Action::Note(_) => return Ok(()),
        Action::Conjunction { .. } => (Company::Conjunctions, Company::Others),
        _ => (Company::Others, Company::Conjunctions),
    };
    if *company == bad {
        return Err(OfError::BadActionBadConjunction);
    }
    *company = joins;
    Ok(())
}

pub(super) struct Body<'a> {
    pub(super) r: Reader<'a>,
    start: Place,
    version: Version,
    depth: usize,
}

pub(super) type Decoded = Result<Action, DecodeError>;

#[inline(always)]
fn decode_one(r: &mut Reader<'_>, version: Version, depth: usize, out: &mut Vec<Action>) -> Result<(), DecodeError> {
    let start = r.place();
    let (kind, len) = r.type_and_length()?;
    if len < 8 || !len.is_multiple_of(8) || len > r.len() {
        return Err(start.error(OfError::BadActionBadLength, "a length that is a multiple of 8, not this one"));
    }
    let mut body = r.sub(len)?;
    body.skip(4)?;
    let (vendor, number) = match kind {
        EXPERIMENTER => {
            let vendor = body.u32()?;
            if vendor != NX && vendor != ONF {
                return Err(start.error(OfError::BadActionBadExperimenter, "an experimenter that is known here"));
            }
            (vendor, body.u16()?)
        }
        kind => (0, kind),
    };
    let Some(Encoding { code, min, more }) = encoding_of(vendor, number, version) else {
        let error = if vendor == 0 { OfError::BadActionBadType } else { OfError::BadActionBadExperimenterType };
        return Err(start.error(error, "an action that is known in this version"));
    };
    let min = usize::from(min);
    if len < min || (len > min && !more) {
        return Err(start.error(OfError::BadActionBadLength, "the length of the action"));
    }
    Body { r: body, start, version, depth }.action(code, vendor, out)
}

/// Whether a set of the VLAN id would take away the bit that says that there is a tag (OFPVID_PRESENT).
pub(crate) fn lacks_tag(value: u128, mask: u128) -> bool {
    mask & !value & u128::from(VLAN_PRESENT) != 0
}

impl<'a> Body<'a> {
    pub(super) fn bad(&self, error: OfError, what: &'static str) -> DecodeError {
        self.start.error(error, what)
    }

    fn wrong(&self, (error, what): Wrong) -> DecodeError {
        self.bad(error, what)
    }

    pub(super) fn argument(&self, what: &'static str) -> DecodeError {
        self.bad(OfError::BadActionBadArgument, what)
    }

    pub(super) fn zeros(&mut self, n: usize, error: OfError) -> Result<(), DecodeError> {
        match self.r.bytes(n)?.iter().all(|b| *b == 0) {
            true => Ok(()),
            false => Err(self.bad(error, "zeros")),
        }
    }

    pub(super) fn end(&mut self, error: OfError) -> Result<(), DecodeError> {
        self.zeros(self.r.len(), error)
    }

    /// A number at the place that is usual.
    pub(super) fn number(&mut self, vendor: u32, n: usize) -> Result<u64, DecodeError> {
        self.r.skip(match (vendor == NX, n) {
            (true, 4) => 2,
            (true, 8) => 6,
            _ => 0,
        })?;
        Ok((self.r.uint(n)? & u128::from(u64::MAX)) as u64)
    }

    pub(super) fn eth(&mut self) -> Result<EthAddr, DecodeError> {
        let mut a = EthAddr::default();
        a.0.iter_mut().zip(self.r.bytes(6)?).for_each(|(to, from)| *to = *from);
        Ok(a)
    }

    /// A field by its header in 32 bits.
    pub(super) fn field32(&mut self) -> Result<FieldId, DecodeError> {
        let word = self.r.u32()?;
        self.field_at(word)
    }

    fn field_at(&self, word: u32) -> Result<FieldId, DecodeError> {
        field_of(word).ok_or_else(|| self.bad(OfError::BadActionBadSetType, "a field that is known here"))
    }

    pub(super) fn field(&mut self) -> Result<FieldId, DecodeError> {
        oxm::read_header(&mut self.r)
    }

    pub(super) fn source(&self, s: Subfield) -> Result<Subfield, DecodeError> {
        match s.check_source() {
            Ok(()) => Ok(s),
            Err(_) => Err(self.bad(OfError::BadActionBadSetLength, "bits of the field")),
        }
    }

    pub(super) fn target(&self, s: Subfield) -> Result<Subfield, DecodeError> {
        target(s).map_err(|wrong| self.wrong(wrong))
    }

    pub(super) fn bits(word: u16) -> (u16, u16) {
        (word >> 6, (word & 0x3f).wrapping_add(1))
    }

    /// Where and how many bits in 16 bits, then the field in 32.
    pub(super) fn subfield32(&mut self) -> Result<Subfield, DecodeError> {
        let (offset, bits) = Self::bits(self.r.u16()?);
        Ok(Subfield { field: self.field32()?, offset, bits })
    }

    pub(super) fn nested(&mut self, outer: Outer) -> Result<Vec<Action>, DecodeError> {
        let rest = self.r.sub(self.r.len())?;
        let mut actions = Vec::new();
        match decode_within(rest, self.version, self.depth.saturating_add(1), outer, &mut actions)? {
            None => Ok(actions),
            Some(_) => Err(self.bad(OfError::BadInstructionUnsupported, "an instruction instead of an action")),
        }
    }

    #[inline(always)]
    fn action(mut self, code: Code, vendor: u32, out: &mut Vec<Action>) -> Result<(), DecodeError> {
        let low8 = |v: u64| (v & 0xff) as u8;
        let low16 = |v: u64| (v & 0xffff) as u16;
        let low32 = |v: u64| (v & 0xffff_ffff) as u32;
        let action = match code {
            Code::Output10 | Code::Output11 => {
                let (port, max_len) = match code {
                    Code::Output10 => {
                        let Output10 { port, max_len } = self.r.view()?;
                        (OfPort::from_16(port.get()), max_len.get())
                    }
                    _ => {
                        let at = self.r.place();
                        let Output { port, max_len, .. } = self.r.view()?;
                        (port_at(port.get(), at)?, max_len.get())
                    }
                };
                Action::Output { port, max_len: output_len(port, max_len).map_err(|wrong| self.wrong(wrong))? }
            }
            Code::SetVlanVid10 | Code::SetVlanVid11 => {
                let vid = self.r.u16()?;
                if vid > 0xfff {
                    return Err(self.argument("a VLAN id"));
                }
                Action::SetVlanVid { vid, push: code == Code::SetVlanVid10, tagged: false }
            }
            Code::SetVlanPcp10 | Code::SetVlanPcp11 => {
                let pcp = self.r.u8()?;
                if pcp > 7 {
                    return Err(self.argument("a VLAN priority"));
                }
                Action::SetVlanPcp { pcp, push: code == Code::SetVlanPcp10, tagged: false }
            }
            Code::PushVlan11 => match self.r.u16()? {
                tpid @ (0x8100 | 0x88a8) => Action::PushVlan(tpid),
                _ => return Err(self.argument("tag protocol 0x8100 or 0x88a8")),
            },
            Code::StripVlan10 => Action::StripVlan,
            Code::PopVlan11 => Action::PopVlan,
            Code::SetDlSrc => Action::SetEthSrc(self.eth()?),
            Code::SetDlDst => Action::SetEthDst(self.eth()?),
            Code::SetNwSrc => Action::SetIpv4Src(Ipv4Addr::from_bits(self.r.u32()?)),
            Code::SetNwDst => Action::SetIpv4Dst(Ipv4Addr::from_bits(self.r.u32()?)),
            Code::SetNwTos => match self.r.u8()? {
                tos if tos & 3 == 0 => Action::SetIpTos(tos),
                _ => return Err(self.argument("a TOS byte without ECN bits")),
            },
            Code::SetNwEcn11 => match self.r.u8()? {
                ecn @ 0..=3 => Action::SetIpEcn(ecn),
                _ => return Err(self.argument("two bits")),
            },
            Code::SetNwTtl11 => Action::SetIpTtl(self.r.u8()?),
            Code::SetTpSrc => Action::SetL4Src { port: self.r.u16()?, protocol: 0 },
            Code::SetTpDst => Action::SetL4Dst { port: self.r.u16()?, protocol: 0 },
            Code::Enqueue10 => {
                let port = OfPort::from_16(self.r.u16()?);
                if port.is_reserved() && !matches!(port, OfPort::IN_PORT | OfPort::LOCAL) {
                    return Err(self.bad(OfError::BadActionBadPort, "a port that has queues"));
                }
                self.r.skip(6)?;
                Action::Enqueue { port, queue: self.r.u32()? }
            }
            Code::SetMplsLabel => match low32(self.number(vendor, 4)?) {
                label @ 0..=0xf_ffff => Action::SetMplsLabel(label),
                label => Action::SetMplsLabel(label & 0xf_ffff),
            },
            Code::SetMplsTc => Action::SetMplsTc(low8(self.number(vendor, 1)?)),
            Code::SetMplsTtl => Action::SetMplsTtl(low8(self.number(vendor, 1)?)),
            Code::DecMplsTtl => Action::DecMplsTtl,
            Code::PushMpls => match low16(self.number(vendor, 2)?) {
                eth_type @ (0x8847 | 0x8848) => Action::PushMpls(eth_type),
                _ => return Err(self.argument("the Ethertype of MPLS")),
            },
            Code::PopMpls => Action::PopMpls(low16(self.number(vendor, 2)?)),
            Code::SetQueue => Action::SetQueue(low32(self.number(vendor, 4)?)),
            Code::Group => match low32(self.number(vendor, 4)?) {
                group @ 0..=0xffff_ff00 => Action::Group(group),
                _ => return Err(self.bad(OfError::BadActionBadGroup, "a group")),
            },
            Code::DecNwTtl => Action::DecTtl,
            Code::SetField12 | Code::SetField15 => self.set(code == Code::SetField15, false)?,
            Code::NxRegLoad2 => self.set(true, true)?,
            Code::CopyField15 | Code::OnfCopyField13 | Code::NxRegMove => self.copy(code)?,
            Code::Meter15 => match self.r.u32()? {
                0 => return Err(self.bad(OfError::BadActionBadMeter, "a meter above 0")),
                meter => Action::Meter(meter),
            },
            Code::NxDecTtlCntIds => {
                let n = usize::from(self.r.u16()?);
                self.zeros(4, OfError::BadActionMustBeZero)?;
                let mut ids = self.r.sub(n.saturating_mul(2))?;
                Action::DecTtlTo((0..n).map(|_| ids.u16()).collect::<Result<_, _>>()?)
            }
            Code::NxRegLoad => {
                let Load { bits, field, value } = self.r.view()?;
                let field = self.field_at(field.get())?;
                let dst = load_target(field, bits.get(), value.get()).map_err(|wrong| self.wrong(wrong))?;
                Action::Load { dst, value: value.get() }
            }
            Code::NxResubmit => Action::ResubmitPort(OfPort::from_16(self.r.u16()?)),
            Code::NxResubmitTable | Code::NxResubmitTableCt => {
                let (port, table) = (OfPort::from_16(self.r.u16()?), self.r.u8()?);
                self.zeros(3, OfError::BadActionBadArgument)?;
                Action::Resubmit {
                    port: Some(port).filter(|p| *p != OfPort::IN_PORT),
                    table: Some(table).filter(|t| *t != 0xff),
                    original: code == Code::NxResubmitTableCt,
                }
            }
            Code::NxSetTunnel => Action::SetTunnel { id: self.number(NX, 4)?, wide: false },
            Code::NxSetTunnel64 => Action::SetTunnel { id: self.number(NX, 8)?, wide: true },
            Code::NxPopQueue => Action::PopQueue,
            Code::NxNote => Action::Note(self.r.remaining().to_vec()),
            Code::NxMultipath => self.multipath()?,
            Code::NxBundle | Code::NxBundleLoad => self.bundle(code == Code::NxBundleLoad)?,
            Code::NxOutputReg => {
                let src = self.subfield32()?;
                let src = self.source(src)?;
                let max_len = self.r.u16()?;
                self.end(OfError::BadActionBadArgument)?;
                Action::OutputField { src, max_len, wide: false }
            }
            Code::NxOutputReg2 => {
                let (offset, bits) = Self::bits(self.r.u16()?);
                let max_len = self.r.u16()?;
                let src = Subfield { field: self.field()?, offset, bits };
                self.end(OfError::BadRequestMustBeZero)?;
                Action::OutputField { src: self.source(src)?, max_len, wide: true }
            }
            Code::NxLearn | Code::NxLearn2 => self.learn(code == Code::NxLearn2)?,
            Code::NxExit => Action::Exit,
            Code::NxFinTimeout => Action::FinTimeout { idle: self.r.u16()?, hard: self.r.u16()? },
            Code::NxController => {
                let (max_len, id, reason) = (self.r.u16()?, self.r.u16()?, self.r.u8()?);
                Action::Controller(Box::new(Controller { max_len, id, reason, ..Controller::default() }))
            }
            Code::NxController2 => self.controller()?,
            Code::NxWriteMetadata => {
                self.zeros(6, OfError::BadRequestMustBeZero)?;
                Action::WriteMetadata(self.r.u64()?, self.r.u64()?)
            }
            Code::NxStackPush | Code::NxStackPop => {
                let offset = self.r.u16()?;
                let field = self.field()?;
                let s = Subfield { field, offset, bits: self.r.u16()? };
                self.end(OfError::BadActionMustBeZero)?;
                match code {
                    Code::NxStackPush => Action::Push(self.source(s)?),
                    _ => Action::Pop(self.target(s)?),
                }
            }
            Code::NxSample | Code::NxSample2 | Code::NxSample3 | Code::NxSample4 => self.sample(code)?,
            Code::NxConjunction => {
                let (clause, clauses, id) = (self.r.u8()?, self.r.u8()?, self.r.u32()?);
                if !(2..=64).contains(&clauses) || clause >= clauses {
                    return Err(self.bad(OfError::BadActionBadConjunction, "a clause of 2 to 64"));
                }
                Action::Conjunction { id, clause, clauses }
            }
            Code::NxCt => self.ct()?,
            Code::NxNat => self.nat()?,
            Code::NxOutputTrunc => {
                let (port, max_len) = (OfPort::from_16(self.r.u16()?), self.r.u32()?);
                if max_len < 14 {
                    return Err(self.argument("14 bytes at least"));
                }
                Action::OutputTruncated { port, max_len }
            }
            Code::NxClone => {
                self.r.skip(6)?;
                Action::Clone(self.nested(Outer::Packet)?)
            }
            Code::NxCtClear => Action::CtClear,
            Code::NxEncap => self.encap()?,
            Code::NxDecap => {
                self.r.skip(2)?;
                Action::Decap(self.r.u32()?)
            }
            Code::NxDecNshTtl => Action::DecNshTtl,
            Code::NxCheckPktLarger => {
                let (length, offset) = (self.r.u16()?, self.r.u16()?);
                let dst = Subfield { field: self.field()?, offset, bits: 1 };
                self.end(OfError::BadActionMustBeZero)?;
                Action::CheckPacketLarger { length, dst: self.target(dst)? }
            }
            Code::NxDeleteField => {
                let field = self.field()?;
                self.end(OfError::BadRequestMustBeZero)?;
                if field.tun_metadata_index().is_none() {
                    return Err(self.bad(OfError::BadActionBadSetArgument, "a tunnel option"));
                }
                Action::DeleteField(field)
            }
            Code::NxDebugSlow => Action::DebugSlow,
            Code::NxDebugRecirc => Action::DebugRecirc,
        };
        out.push(action);
        Ok(())
    }

    pub(super) fn set(self, may_mask: bool, nicira: bool) -> Decoded {
        // What is wrong with a field in a match, said of the same field in an action.
        self.set_as_match(may_mask, nicira).map_err(|e| {
            let error = match e.error {
                OfError::BadMatchBadField => OfError::BadActionBadSetType,
                OfError::BadMatchBadLength => OfError::BadActionBadSetLength,
                other => other,
            };
            DecodeError { error, ..e }
        })
    }

    pub(super) fn set_as_match(mut self, may_mask: bool, nicira: bool) -> Decoded {
        let (start, mut head) = (self.r.place(), self.r.clone());
        let (id, masked, len) = oxm::read_id(&mut head)?;
        let option = FieldId::by_oxm(id).and_then(|f| f.tun_metadata_index());
        if masked && !may_mask {
            return Err(start.error(OfError::BadActionBadSetMask, "a field without a mask"));
        }
        let action = if let Some(index) = option {
            let bytes = if masked { len / 2 } else { len };
            if bytes == 0 || bytes > 124 || (masked && len % 2 != 0) {
                return Err(start.error(OfError::BadMatchBadLength, "the length of a tunnel option"));
            }
            let value = head.bytes(bytes)?.to_vec();
            let mask = if masked { head.bytes(bytes)?.to_vec() } else { vec![0xff; bytes] };
            if value.iter().zip(&mask).any(|(v, m)| v & !m != 0) {
                return Err(start.error(OfError::BadMatchBadWildcards, "a value that is zero where its mask is"));
            }
            self.r = head;
            let index = index.try_into().unwrap_or(0);
            Action::SetTunnelOption(Box::new(SetTunnelOption { index, value, mask, nicira }))
        } else {
            let e = oxm::read_entry(&mut self.r)?;
            let no_tag = e.field == FieldId::VlanVid && !nicira && (e.mask & e.value & u128::from(VLAN_PRESENT) == 0);
            let in_port = e.field == FieldId::InPortOxm && !nicira;
            if !e.field.info().writable || no_tag || in_port {
                return Err(start.error(OfError::BadActionBadSetArgument, "bits of a field that can be set"));
            }
            let (field, value, mask) = (e.field, e.value, e.mask);
            if nicira { Action::SetFieldNicira { field, value, mask } } else { Action::SetField { field, value, mask } }
        };
        self.end(OfError::BadActionBadSetArgument)?;
        Ok(action)
    }

    pub(super) fn copy(mut self, code: Code) -> Decoded {
        if code == Code::OnfCopyField13 {
            self.r.skip(2)?;
        }
        let (bits, src, dst) = (self.r.u16()?, self.r.u16()?, self.r.u16()?);
        if code != Code::NxRegMove {
            self.r.skip(2)?;
        }
        let src = Subfield { field: self.field()?, offset: src, bits };
        let dst = Subfield { field: self.field()?, offset: dst, bits };
        self.end(OfError::BadRequestMustBeZero)?;
        self.source(src)?;
        Ok(Action::Move { src, dst: self.target(dst)?, onf: code != Code::NxRegMove })
    }
}
