//! The actions of Nicira's that have a structure of their own, both ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ovs_packet::OfPort;
use ovs_packet::field::FieldId;

use super::Code;
use super::decode::{Body, Decoded, Outer};
use super::encode::{Encoded, Encoder, ofs_nbits, port16};
use crate::action::{
    Action, Bundle, BundleAlgorithm, Controller, CtAction, EncapProperty, HashFields, Learn, LearnFlags, LearnSource,
    LearnSpec, LearnTarget, Multipath, MultipathAlgorithm, Nat, NatFlags, NatRange, Observation, Sample,
    SampleDirection, Subfield,
};
use crate::codec::cursor::Writer;
use crate::codec::error::{DecodeError, EncodeError, OfError};
use crate::codec::io::Property;
use crate::codec::oxm;

impl Encoder<'_> {
    pub(super) fn controller(&mut self, c: &Controller) -> Encoded {
        if !(c.extended || !c.userdata.is_empty() || c.pause || c.meter.is_some()) {
            return self.put(Code::NxController, |e| {
                e.w.u16(c.max_len);
                e.w.u16(c.id);
                e.w.u8(c.reason);
                Ok(())
            });
        }
        self.put(Code::NxController2, |e| {
            e.w.zeros(6);
            if c.max_len != Action::WHOLE {
                e.w.property_u16(0, c.max_len)?;
            }
            if c.id != 0 {
                e.w.property_u16(1, c.id)?;
            }
            if c.reason != 1 {
                e.w.property_bytes(2, &[c.reason])?;
            }
            if !c.userdata.is_empty() {
                e.w.property_bytes(3, &c.userdata)?;
            }
            if c.pause {
                e.w.property_bytes(4, &[])?;
            }
            match c.meter {
                Some(meter) => e.w.property_u32(5, meter),
                None => Ok(()),
            }
        })
    }

    pub(super) fn bundle(&mut self, bundle: &Bundle) -> Encoded {
        self.put(if bundle.dst.is_some() { Code::NxBundleLoad } else { Code::NxBundle }, |e| {
            e.w.u16(bundle.algorithm.number());
            e.w.u16(bundle.fields.number());
            e.w.u16(bundle.basis);
            oxm::write_header32(e.w, FieldId::InPort)?;
            e.w.u16(bundle.members.len().try_into().map_err(|_| EncodeError::TooLong { what: "a list of ports" })?);
            match bundle.dst {
                Some(dst) => {
                    e.w.u16(ofs_nbits(dst)?);
                    oxm::write_header32(e.w, dst.field)?;
                }
                None => e.w.zeros(6),
            }
            e.w.zeros(4);
            bundle.members.iter().try_for_each(|port| {
                e.w.u16(port16(*port)?);
                Ok(())
            })
        })
    }

    pub(super) fn learn(&mut self, learn: &Learn) -> Encoded {
        let extended = learn.extended || learn.limit != 0 || learn.flags.contains(LearnFlags::WRITE_RESULT);
        self.put(if extended { Code::NxLearn2 } else { Code::NxLearn }, |e| {
            [learn.idle_timeout, learn.hard_timeout, learn.priority].iter().for_each(|n| e.w.u16(*n));
            e.w.u64(learn.cookie);
            e.w.u16(learn.flags.bits());
            e.w.u8(learn.table);
            e.w.zeros(1);
            e.w.u16(learn.fin_idle_timeout);
            e.w.u16(learn.fin_hard_timeout);
            if extended {
                e.w.u32(learn.limit);
                e.w.u16(learn.result.map_or(0, |r| r.offset));
                e.w.zeros(2);
                if let Some(result) = learn.result {
                    oxm::write_header(e.w, oxm::NXM, result.field)?;
                }
            }
            let field = |e: &mut Encoder<'_>, s: &Subfield| {
                oxm::write_header32(e.w, s.field)?;
                e.w.u16(s.offset);
                Ok(())
            };
            for spec in &learn.specs {
                let source = if matches!(spec.source, LearnSource::Immediate(_)) { 1u16 << 13 } else { 0 };
                let target = match spec.target {
                    LearnTarget::Match(_) => 0,
                    LearnTarget::Load(_) => 1u16 << 11,
                    LearnTarget::Output => 2u16 << 11,
                };
                e.w.u16(spec.bits & 0x7ff | source | target);
                match &spec.source {
                    LearnSource::Field(s) => field(e, s)?,
                    LearnSource::Immediate(bytes) => {
                        let room = usize::from(spec.bits.div_ceil(16)).saturating_mul(2);
                        e.w.zeros(room.saturating_sub(bytes.len()));
                        e.w.bytes(bytes.get(bytes.len().saturating_sub(room)..).unwrap_or_default());
                    }
                }
                match &spec.target {
                    LearnTarget::Match(s) | LearnTarget::Load(s) => field(e, s)?,
                    LearnTarget::Output => {}
                }
            }
            Ok(())
        })
    }

    pub(super) fn sample(&mut self, s: &Sample) -> Encoded {
        let fields = s.domain.is_err() || s.point.is_err();
        let encoding = match s.encoding {
            _ if fields => 4,
            n if s.direction != SampleDirection::Default => n.max(3),
            n if s.port != OfPort::ANY => n.max(2),
            n => n,
        };
        let code = match encoding {
            4.. => Code::NxSample4,
            3 => Code::NxSample3,
            2 => Code::NxSample2,
            _ => Code::NxSample,
        };
        self.put(code, |e| {
            e.w.u16(s.probability);
            e.w.u32(s.collector_set);
            for id in [&s.domain, &s.point] {
                match (id, encoding) {
                    (Ok(id), 0..=3) => e.w.u32(*id),
                    (Ok(id), _) => {
                        e.w.u32(0);
                        e.w.u32(*id);
                    }
                    (Err(field), _) => {
                        oxm::write_header32(e.w, field.field)?;
                        e.w.u16(ofs_nbits(*field)?);
                        e.w.zeros(2);
                    }
                }
            }
            if encoding >= 2 {
                e.w.u16(port16(s.port)?);
                e.w.u8(s.direction as u8);
            }
            Ok(())
        })
    }

    pub(super) fn ct(&mut self, ct: &CtAction) -> Encoded {
        ct_is_consistent(ct).map_err(|what| EncodeError::Inconsistent { what })?;
        self.put(Code::NxCt, |e| {
            e.w.u16(u16::from(ct.commit) | u16::from(ct.force) << 1);
            match ct.zone_src {
                Some(zone) => {
                    oxm::write_header32(e.w, zone.field)?;
                    e.w.u16(ofs_nbits(zone)?);
                }
                None => {
                    e.w.u32(0);
                    e.w.u16(ct.zone);
                }
            }
            e.w.u8(ct.table.unwrap_or(0xff));
            e.w.zeros(3);
            e.w.u16(ct.alg);
            e.nested(&ct.exec)
        })
    }

    pub(super) fn nat(&mut self, nat: &Nat) -> Encoded {
        nat_is_consistent(nat).map_err(|what| EncodeError::Inconsistent { what })?;
        self.put(Code::NxNat, |e| {
            e.w.zeros(2);
            e.w.u16(nat.flags.bits());
            let Some(range) = nat.range else { return Ok(()) };
            let v6 = u16::from(range.min.is_ipv6()) << 1;
            let address = |max: bool| 1u16.wrapping_shl(u32::from(max)) << v6;
            let max = range.max.map_or(0, |_| address(true));
            let ports = u16::from(range.port_min != 0) << 4 | u16::from(range.port_max != 0) << 5;
            e.w.u16(address(false) | max | ports);
            for a in [Some(range.min), range.max].into_iter().flatten() {
                match a {
                    IpAddr::V4(a) => e.w.bytes(&a.octets()),
                    IpAddr::V6(a) => e.w.bytes(&a.octets()),
                }
            }
            [range.port_min, range.port_max].iter().filter(|p| **p != 0).for_each(|p| e.w.u16(*p));
            Ok(())
        })
    }
}

pub(super) const NSH_CLASS: u16 = 0x4;

pub(super) fn encap_property(p: &EncapProperty, w: &mut Writer) -> Encoded {
    match p {
        EncapProperty::NshMdType(md_type) => {
            w.u16(NSH_CLASS);
            w.bytes(&[1, 5, *md_type, 0, 0, 0]);
        }
        EncapProperty::NshTlv { class, kind, value } => {
            let padded = value.len().checked_next_multiple_of(8).unwrap_or(0);
            let len =
                u8::try_from(padded.saturating_add(8)).map_err(|_| EncodeError::TooLong { what: "an NSH option" })?;
            w.u16(NSH_CLASS);
            w.u8(2);
            w.u8(len);
            w.u16(*class);
            w.u8(*kind);
            w.uint(value.len() as u128, 1);
            w.bytes(value);
            w.zeros(padded.saturating_sub(value.len()));
        }
    }
    Ok(())
}

/// What is wrong with a `ct` action that can be seen from it alone.
pub(crate) fn ct_is_consistent(ct: &CtAction) -> Result<(), &'static str> {
    let bare = |a: &Action| matches!(a, Action::Nat(nat) if nat.flags.is_empty() && nat.range.is_none());
    if ct.force && !ct.commit {
        return Err("force is for connections that are committed");
    }
    if !ct.commit && !ct.exec.iter().all(bare) {
        return Err("only a connection that is committed can be given a mark, a label or a translation");
    }
    let nats = ct.exec.iter().filter(|a| matches!(a, Action::Nat(_))).count();
    if nats > 1 || (nats == 1 && !matches!(ct.exec.first(), Some(Action::Nat(_)))) {
        return Err("nat comes first, and once");
    }
    match ct.exec.iter().all(|a| matches!(a, Action::Nat(_)) || a.sets_connection()) {
        true => Ok(()),
        false => Err("sets of ct_mark and ct_label"),
    }
}

pub(super) fn nat_is_consistent(nat: &Nat) -> Result<(), &'static str> {
    let both = |a, b| nat.flags.contains(a) && nat.flags.contains(b);
    if both(NatFlags::SRC, NatFlags::DST) || both(NatFlags::HASH, NatFlags::RANDOM) {
        return Err("nat in one way");
    }
    let Some(range) = nat.range else { return Ok(()) };
    let ordered = range.max.is_none_or(|max| max.is_ipv4() == range.min.is_ipv4() && max >= range.min);
    let ports = range.port_max == 0 || range.port_min != 0 && range.port_max >= range.port_min;
    match ordered && ports && !range.min.is_unspecified() {
        true => Ok(()),
        false => Err("a range from a lower to a higher end"),
    }
}

impl Body<'_> {
    pub(super) fn multipath(mut self) -> Decoded {
        let (fields, basis) = (self.r.u16()?, self.r.u16()?);
        self.r.skip(2)?;
        let (algorithm, max_link, arg) = (self.r.u16()?, self.r.u16()?, self.r.u32()?);
        self.r.skip(2)?;
        let dst = self.subfield32()?;
        let fields = HashFields::by_number(fields).ok_or_else(|| self.argument("known fields"))?;
        let algorithm = MultipathAlgorithm::by_number(algorithm).ok_or_else(|| self.argument("a known algorithm"))?;
        let dst = self.target(dst)?;
        // A link is a number up to `max_link`, which the bits must hold.
        if dst.bits < 16 && u32::from(max_link) >= 1u32 << (dst.bits & 31) {
            return Err(self.argument("bits for all links"));
        }
        Ok(Action::Multipath(Box::new(Multipath { fields, basis, algorithm, max_link, arg, dst })))
    }

    pub(super) fn bundle(mut self, load: bool) -> Decoded {
        let (algorithm, fields, basis, kind) = (self.r.u16()?, self.r.u16()?, self.r.u16()?, self.r.u32()?);
        let n = usize::from(self.r.u16()?);
        let dst = match load {
            true => Some(self.subfield32()?),
            false => {
                self.zeros(6, OfError::BadActionBadArgument)?;
                None
            }
        };
        self.zeros(4, OfError::BadActionBadArgument)?;
        let fields = HashFields::by_number(fields).ok_or_else(|| self.argument("known fields"))?;
        let algorithm = BundleAlgorithm::by_number(algorithm).ok_or_else(|| self.argument("a known algorithm"))?;
        if oxm::header32(FieldId::InPort) != Ok(kind) || n > 2048 {
            return Err(self.argument("at most 2048 ports"));
        }
        if let Some(dst) = dst {
            if dst.bits < 16 {
                return Err(self.argument("16 bits or more"));
            }
            self.target(dst)?;
        }
        let mut members = self.r.sub(n.saturating_mul(2))?;
        let members: Vec<OfPort> = (0..n).map(|_| members.u16().map(OfPort::from_16)).collect::<Result<_, _>>()?;
        if members.iter().any(|p| p.is_reserved() && !matches!(*p, OfPort::LOCAL | OfPort::ANY)) {
            return Err(self.bad(OfError::BadActionBadPort, "real ports"));
        }
        Ok(Action::Bundle(Box::new(Bundle { fields, basis, algorithm, dst, members })))
    }

    pub(super) fn learn(mut self, extended: bool) -> Decoded {
        let mut learn = Learn {
            idle_timeout: self.r.u16()?,
            hard_timeout: self.r.u16()?,
            priority: self.r.u16()?,
            cookie: self.r.u64()?,
            extended,
            ..Learn::default()
        };
        let flags = LearnFlags::from_bits(self.r.u16()?);
        learn.table = self.r.u8()?;
        self.zeros(1, OfError::BadActionBadArgument)?;
        learn.fin_idle_timeout = self.r.u16()?;
        learn.fin_hard_timeout = self.r.u16()?;
        let allowed = |f: &LearnFlags| extended || !f.contains(LearnFlags::WRITE_RESULT);
        learn.flags = flags.filter(allowed).ok_or_else(|| self.argument("known flags"))?;
        if learn.table == 0xff {
            return Err(self.argument("a table below 255"));
        }
        if extended {
            learn.limit = self.r.u32()?;
            let offset = self.r.u16()?;
            self.zeros(2, OfError::BadActionMustBeZero)?;
            if learn.flags.contains(LearnFlags::WRITE_RESULT) {
                let result = Subfield { field: self.field()?, offset, bits: 1 };
                learn.result = Some(self.target(result)?);
            } else if offset != 0 {
                return Err(self.argument("no place of a result"));
            }
        }
        while self.r.len() >= 2 {
            let header = self.r.u16()?;
            if header == 0 {
                break;
            }
            let (bits, immediate, target) = (header & 0x7ff, header & 1 << 13 != 0, header >> 11 & 3);
            if header >> 14 != 0 || target == 3 || (target == 2 && immediate) {
                return Err(self.argument("a match, a load or an output"));
            }
            let field = |b: &mut Self| {
                let field = b.field32()?;
                Ok(Subfield { field, offset: b.r.u16()?, bits })
            };
            let source = match immediate {
                true => {
                    let bytes = self.r.bytes(usize::from(bits.div_ceil(16)).saturating_mul(2))?;
                    let skip = bytes.len().saturating_sub(bits.div_ceil(8).into());
                    LearnSource::Immediate(bytes.get(skip..).unwrap_or_default().to_vec())
                }
                false => {
                    let s = field(&mut self)?;
                    LearnSource::Field(self.source(s)?)
                }
            };
            let target = match target {
                0 => {
                    let s = field(&mut self)?;
                    LearnTarget::Match(self.source(s)?)
                }
                1 => {
                    let s = field(&mut self)?;
                    LearnTarget::Load(self.target(s)?)
                }
                _ => LearnTarget::Output,
            };
            learn.specs.push(LearnSpec { bits, source, target });
        }
        self.end(OfError::BadActionBadArgument)?;
        Ok(Action::Learn(Box::new(learn)))
    }

    pub(super) fn controller(mut self) -> Decoded {
        self.zeros(6, OfError::BadRequestMustBeZero)?;
        let mut c = Controller { extended: true, ..Controller::default() };
        while let Some(p) = Property::next(&mut self.r)? {
            match p.kind {
                0 => c.max_len = p.u16()?,
                1 => c.id = p.u16()?,
                2 => c.reason = p.u8()?,
                3 => c.userdata = p.value.to_vec(),
                4 => c.pause = true,
                5 => c.meter = Some(p.u32()?),
                _ => return Err(p.unknown("NXAST_RAW_CONTROLLER2")),
            }
        }
        Ok(Action::Controller(Box::new(c)))
    }

    pub(super) fn sample(mut self, code: Code) -> Decoded {
        let mut s = Sample {
            encoding: match code {
                Code::NxSample => 1,
                Code::NxSample2 => 2,
                Code::NxSample3 => 3,
                _ => 4,
            },
            probability: self.r.u16()?,
            collector_set: self.r.u32()?,
            ..Sample::default()
        };
        if code == Code::NxSample4 {
            s.domain = self.observation()?;
            s.point = self.observation()?;
        } else {
            s.domain = Ok(self.r.u32()?);
            s.point = Ok(self.r.u32()?);
        }
        if code != Code::NxSample {
            s.port = OfPort::from_16(self.r.u16()?);
            let direction = self.r.u8()?;
            if code != Code::NxSample2 {
                self.zeros(5, OfError::BadRequestMustBeZero)?;
                s.direction = match direction {
                    0 => SampleDirection::Default,
                    1 => SampleDirection::Ingress,
                    2 => SampleDirection::Egress,
                    _ => return Err(self.argument("a known direction")),
                };
            }
        }
        match s.probability {
            0 => Err(self.argument("a probability above 0")),
            _ => Ok(Action::Sample(Box::new(s))),
        }
    }

    pub(super) fn observation(&mut self) -> Result<Observation, DecodeError> {
        if self.r.clone().u32()? == 0 {
            self.r.skip(4)?;
            return Ok(Ok(self.r.u32()?));
        }
        let field = self.field32()?;
        let (offset, bits) = Self::bits(self.r.u16()?);
        self.r.skip(2)?;
        let s = self.source(Subfield { field, offset, bits })?;
        if s.bits > 32 { Err(self.argument("at most 32 bits")) } else { Ok(Err(s)) }
    }

    pub(super) fn ct(mut self) -> Decoded {
        let flags = self.r.u16()?;
        let mut ct = CtAction { commit: flags & 1 != 0, force: flags & 2 != 0, ..CtAction::default() };
        if ct.force && !ct.commit {
            return Err(self.argument("force with commit"));
        }
        if self.r.clone().u32()? == 0 {
            self.r.skip(4)?;
            ct.zone = self.r.u16()?;
        } else {
            let field = self.field32()?;
            let (offset, bits) = Self::bits(self.r.u16()?);
            let zone = self.source(Subfield { field, offset, bits })?;
            if bits != 16 {
                return Err(self.bad(OfError::BadActionBadSetLength, "16 bits"));
            }
            ct.zone_src = Some(zone);
        }
        ct.table = Some(self.r.u8()?).filter(|t| *t != 0xff);
        self.r.skip(3)?;
        ct.alg = self.r.u16()?;
        ct.exec = self.nested(Outer::Ct)?;
        ct_is_consistent(&ct).map_err(|what| self.argument(what))?;
        Ok(Action::Ct(Box::new(ct)))
    }

    pub(super) fn nat(mut self) -> Decoded {
        self.r.skip(2)?;
        let flags = NatFlags::from_bits(self.r.u16()?).ok_or_else(|| self.argument("known flags"))?;
        let present = self.r.u16()?;
        let has = |bit: u16| present & bit != 0;
        let short = |b: &Self| b.argument("a range that is there");
        let wrong = (has(1 | 2) && has(4 | 8)) || (has(2) && !has(1)) || (has(8) && !has(4)) || (has(32) && !has(16));
        if wrong || (has(16) && !has(1 | 4)) {
            return Err(short(&self));
        }
        let mut nat = Nat { flags, range: None };
        if has(1 | 4) {
            let v6 = has(4);
            let address = |b: &mut Self| {
                let n = if v6 { 16 } else { 4 };
                let v = b.r.uint(n).map_err(|_| b.argument("an address"))?;
                Ok(if v6 {
                    Ipv6Addr::from_bits(v).into()
                } else {
                    Ipv4Addr::from_bits((v & 0xffff_ffff) as u32).into()
                })
            };
            let min: IpAddr = address(&mut self)?;
            let max = if has(2 | 8) { Some(address(&mut self)?) } else { None };
            let port = |b: &mut Self, is: bool| match is {
                true => b.r.u16().map_err(|_| b.argument("a port")),
                false => Ok(0),
            };
            let port_min = port(&mut self, has(16))?;
            let port_max = port(&mut self, has(32))?;
            if has(16) && port_min == 0 || has(32) && port_max < port_min {
                return Err(short(&self));
            }
            nat.range = Some(NatRange { min, max, port_min, port_max });
        }
        nat_is_consistent(&nat).map_err(|what| self.argument(what))?;
        Ok(Action::Nat(Box::new(nat)))
    }

    pub(super) fn encap(mut self) -> Decoded {
        let (header_len, packet_type) = (self.r.u16()?, self.r.u32()?);
        if !matches!(packet_type, 0 | 0x1_894f | 0x1_8847 | 0x1_8848) {
            return Err(self.bad(OfError::BadActionBadHeaderType, "Ethernet, NSH or MPLS"));
        }
        let mut properties = Vec::new();
        while !self.r.is_empty() {
            let mut head = self.r.clone();
            let (class, kind, len) = (head.u16()?, head.u8()?, usize::from(head.u8()?));
            let padded = len.checked_next_multiple_of(8).unwrap_or(usize::MAX);
            if len < 4 || padded > self.r.len() {
                return Err(self.r.error(OfError::BadActionBadLength, "a property within what there is"));
            }
            let mut body = self.r.sub(padded)?;
            body.skip(4)?;
            properties.push(match (class, kind) {
                (NSH_CLASS, 1) if len <= 8 => EncapProperty::NshMdType(body.u8()?),
                (NSH_CLASS, 2) => {
                    let (class, kind, value) = (body.u16()?, body.u8()?, usize::from(body.u8()?));
                    if len != value.checked_next_multiple_of(8).unwrap_or(0).saturating_add(8) {
                        return Err(body.error(OfError::BadActionBadEdProp, "the length of an NSH option"));
                    }
                    EncapProperty::NshTlv { class, kind, value: body.bytes(value)?.to_vec() }
                }
                (NSH_CLASS, 1) => return Err(body.error(OfError::BadActionBadEdProp, "a metadata type")),
                _ => return Err(body.error(OfError::BadActionUnknownEdProp, "a property of NSH")),
            });
        }
        Ok(Action::Encap { packet_type, header_len, properties })
    }
}
