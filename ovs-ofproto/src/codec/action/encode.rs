//! Actions to bytes.

use ovs_packet::field::{EXPERIMENTER_NX as NX, FieldId};
use ovs_packet::key::VLAN_PRESENT;
use ovs_packet::{EthAddr, OfPort};

use super::nicira::encap_property;
use super::{ACTION, Code, EXPERIMENTER, MAX_NESTING, lacks_tag};
use crate::action::{Action, SetTunnelOption, Subfield};
use crate::codec::cursor::Writer;
use crate::codec::error::EncodeError;
use crate::codec::header::Version;
use crate::codec::oxm;

/// Writes a list of actions, `depth` lists deep.
#[inline(never)]
pub(in crate::codec) fn encode(
    actions: &[Action],
    w: &mut Writer,
    version: Version,
    depth: usize,
) -> Result<(), EncodeError> {
    if depth > MAX_NESTING {
        return Err(EncodeError::TooDeep);
    }
    let mut e = Encoder { w, version, depth };
    for action in actions {
        match action {
            // Most are one of these.
            Action::Output { port, max_len } => e.output(*port, *max_len)?,
            Action::Load { dst, value } => e.load_checked(*dst, *value)?,
            Action::DecTtl => e.fixed_here(Code::DecNwTtl, 0)?,
            _ => e.action(action)?,
        }
    }
    Ok(())
}

pub(super) struct Encoder<'w> {
    pub(super) w: &'w mut Writer,
    pub(super) version: Version,
    pub(super) depth: usize,
}

pub(super) type Encoded = Result<(), EncodeError>;

/// First bit and number of bits in 16 bits.
pub(super) fn ofs_nbits(s: Subfield) -> Result<u16, EncodeError> {
    if s.bits == 0 || s.bits > 64 || s.offset > 1023 {
        return Err(EncodeError::Inconsistent { what: "a run of more than 64 bits of a field" });
    }
    Ok(s.offset << 6 | s.bits.saturating_sub(1))
}

/// An Ethernet address as a number of 48 bits.
fn number_of(a: EthAddr) -> u128 {
    a.0.iter().fold(0, |n, b| n << 8 | u128::from(*b))
}

pub(super) fn port16(port: OfPort) -> Result<u16, EncodeError> {
    port.to_16().ok_or(EncodeError::Port(port.0))
}

impl Encoder<'_> {
    pub(super) fn not_here(&self, what: &'static str) -> EncodeError {
        EncodeError::NotInVersion { version: self.version.0, what }
    }

    /// Writes an action: its header, what `body` writes, padding and length.
    pub(super) fn put(&mut self, code: Code, body: impl FnOnce(&mut Encoder<'_>) -> Encoded) -> Encoded {
        let (vendor, _, _, number, min, _) = *code.run(self.version).ok_or_else(|| self.not_here("this action"))?;
        let start = self.w.len();
        if vendor == 0 {
            self.w.u32(u32::from(number) << 16);
        } else {
            self.w.u64(u64::from(EXPERIMENTER) << 48 | u64::from(vendor));
            self.w.u16(number);
        }
        body(self)?;
        let written = self.w.len().saturating_sub(start);
        self.w.zeros(usize::from(min).saturating_sub(written));
        self.w.finish(start, ACTION)
    }

    /// Writes an action at once that is as long as it is at least, whose body is the first bytes of `body`, and zeros.
    #[inline(never)]
    fn fixed(&mut self, code: Code, body: u128) -> Encoded {
        self.fixed_here(code, body)
    }

    /// The same, for those that are in a hurry.
    #[inline(always)]
    fn fixed_here(&mut self, code: Code, body: u128) -> Encoded {
        let (vendor, _, _, number, min, _) = *code.run(self.version).ok_or_else(|| self.not_here("this action"))?;
        let (number, len) = (u64::from(number) << 48, u64::from(min) << 32);
        if vendor == 0 {
            let head = u128::from(number | len) << 64;
            self.w.first_bytes((head | body >> 32).to_be_bytes(), min.into());
        } else {
            let head = u64::from(EXPERIMENTER) << 48 | len | u64::from(vendor);
            let (high, low) = ((body >> 80) as u64, (body >> 16) as u64);
            self.w.first_words([head, number | high, low], min.into());
        }
        Ok(())
    }

    /// An action with a number of `n` bytes at the place that is usual.
    pub(super) fn number(&mut self, code: Code, value: u64, n: usize) -> Encoded {
        let nicira = code.run(self.version).is_some_and(|run| run.0 == NX);
        let above = (8usize.wrapping_sub(n) as u32).wrapping_mul(8);
        let body = u128::from(value.wrapping_shl(above)) << 64;
        match (nicira, n) {
            (true, 4) => self.fixed(code, body >> 16),
            (true, 8) => self.fixed(code, body >> 48),
            _ => self.fixed(code, body),
        }
    }

    pub(super) fn eth(&mut self, code: Code, a: EthAddr) -> Encoded {
        self.fixed(code, number_of(a) << 80)
    }

    /// OpenFlow's set of a field.
    pub(super) fn set_field(&mut self, field: FieldId, value: u128, mask: u128) -> Encoded {
        if field == FieldId::VlanVid && value & mask & u128::from(VLAN_PRESENT) == 0 {
            // Which OpenFlow 1.5 wants in both (section 7.2.6.7).
            return Err(EncodeError::Inconsistent {
                what: "a set of the VLAN id without the bit of a tag that is there",
            });
        }
        let code = if self.version >= Version::V1_5 { Code::SetField15 } else { Code::SetField12 };
        if mask == field.info().max_value()
            && let Some(tlv) = oxm::plain_in(field, self.version.0)
            && let Some((_, _, _, number, ..)) = code.run(self.version)
        {
            // Most are of all of a small field.
            let len = tlv.size().wrapping_add(4).wrapping_add(7) & !7;
            let (head, value) = tlv.to_words((value & mask) as u64);
            let head = u64::from(*number) << 48 | (len as u64) << 32 | u64::from(head);
            self.w.first_words([head, value], len);
            return Ok(());
        }
        self.put(code, |e| oxm::write_entry(e.w, e.version.0, field, value, mask))
    }

    pub(super) fn set_whole(&mut self, field: FieldId, value: u128) -> Encoded {
        self.set_field(field, value, field.info().max_value())
    }

    pub(super) fn load(&mut self, dst: Subfield, value: u64) -> Encoded {
        let field = oxm::header32_for(self.w, dst.field)?;
        self.load_to(dst, field, value)
    }

    /// The same, to a field of which `header` is the header.
    #[inline(always)]
    fn load_to(&mut self, dst: Subfield, header: u32, value: u64) -> Encoded {
        let head = u64::from(ofs_nbits(dst)?) << 48 | u64::from(header) << 16;
        self.fixed(Code::NxRegLoad, u128::from(head) << 64 | u128::from(value) << 16)
    }

    /// A run of ones of the mask after the other, 64 bits at most.
    pub(super) fn loads(&mut self, field: FieldId, value: u128, mask: u128) -> Encoded {
        if oxm::header32(field).is_err() {
            return self.load2(field, value, mask);
        }
        let mut mask = mask;
        while mask != 0 {
            let offset = mask.trailing_zeros();
            let bits = mask.checked_shr(offset).unwrap_or(0).trailing_ones().min(64);
            let ones = u128::MAX.checked_shr(128u32.saturating_sub(bits)).unwrap_or(0);
            let part = value.checked_shr(offset).unwrap_or(0) & ones;
            let dst = Subfield { field, offset: offset as u16, bits: bits as u16 };
            self.load(dst, (part & u128::from(u64::MAX)) as u64)?;
            mask &= !(ones.checked_shl(offset).unwrap_or(0));
        }
        Ok(())
    }

    pub(super) fn load2(&mut self, field: FieldId, value: u128, mask: u128) -> Encoded {
        self.put(Code::NxRegLoad2, |e| oxm::write_entry(e.w, oxm::NXM, field, value, mask))
    }

    /// A set of a field as OpenFlow 1.0 and 1.1 have it.
    pub(super) fn legacy(&mut self, field: FieldId, value: u128, mask: u128) -> Encoded {
        use FieldId::{
            DlVlan, DlVlanPcp, EthDst, EthSrc, IpDscp, NwDst, NwEcn, NwSrc, NwTos, TcpDst, TcpSrc, UdpDst, UdpSrc,
            VlanPcp, VlanTci, VlanVid,
        };
        let v10 = self.version == Version::V1_0;
        if mask != field.info().max_value() {
            return self.loads(field, value, mask);
        }
        let low = (value & u128::from(u64::MAX)) as u64;
        let (vid, pcp) = match v10 {
            true => (Code::SetVlanVid10, Code::SetVlanPcp10),
            false => (Code::SetVlanVid11, Code::SetVlanPcp11),
        };
        let mac = |v: u128| {
            let mut a = EthAddr::default();
            a.0.iter_mut().zip(v.to_be_bytes().iter().skip(10)).for_each(|(to, from)| *to = *from);
            a
        };
        match field {
            VlanTci if low & u64::from(VLAN_PRESENT) == 0 => {
                self.fixed(if v10 { Code::StripVlan10 } else { Code::PopVlan11 }, 0)
            }
            VlanTci if v10 => {
                self.number(vid, low & 0xfff, 2)?;
                self.number(pcp, low >> 13, 1)
            }
            VlanVid | DlVlan => self.number(vid, low & 0xfff, 2),
            VlanPcp | DlVlanPcp => self.number(pcp, low, 1),
            EthSrc => self.eth(Code::SetDlSrc, mac(value)),
            EthDst => self.eth(Code::SetDlDst, mac(value)),
            NwSrc => self.number(Code::SetNwSrc, low, 4),
            NwDst => self.number(Code::SetNwDst, low, 4),
            NwTos => self.number(Code::SetNwTos, low, 1),
            IpDscp => self.number(Code::SetNwTos, low << 2, 1),
            NwEcn if !v10 => self.number(Code::SetNwEcn11, low, 1),
            TcpSrc | UdpSrc => self.number(Code::SetTpSrc, low, 2),
            TcpDst | UdpDst => self.number(Code::SetTpDst, low, 2),
            _ => self.loads(field, value, mask),
        }
    }

    pub(super) fn set(&mut self, field: FieldId, value: u128, mask: u128, nicira: bool) -> Encoded {
        let info = field.info();
        if !info.writable || !oxm::has_number(field) && !matches!(field, FieldId::DlVlan | FieldId::DlVlanPcp) {
            return Err(self.not_here(info.name));
        }
        match mask & info.max_value() {
            0 => return Err(EncodeError::Inconsistent { what: "a set of no bit of a field" }),
            all if all != info.max_value() && !info.maskable => {
                return Err(EncodeError::Inconsistent { what: "a set of part of a field without masks" });
            }
            _ => {}
        }
        if field == FieldId::VlanVid && !nicira && lacks_tag(value, mask) {
            return Err(EncodeError::Inconsistent {
                what: "a set of the VLAN id without the bit of a tag that is there",
            });
        }
        let whole = mask & info.max_value() == info.max_value();
        match self.version {
            v if v >= Version::V1_5 => self.set_field(field, value, mask),
            _ if nicira => self.load2(field, value, mask),
            v if v < Version::V1_2 => self.legacy(field, value, mask),
            _ if whole => self.set_field(field, value, mask),
            _ => self.loads(field, value, mask),
        }
    }

    /// Pushes a tag if there may be none, and says it.
    pub(super) fn vlan(&mut self, push: bool, tagged: bool) -> Encoded {
        if push && !tagged && self.version != Version::V1_0 {
            self.number(Code::PushVlan11, 0x8100, 2)?;
        }
        Ok(())
    }

    pub(super) fn nested(&mut self, actions: &[Action]) -> Encoded {
        encode(actions, self.w, self.version, self.depth.saturating_add(1))
    }

    #[inline(always)]
    fn output(&mut self, port: OfPort, max_len: u16) -> Encoded {
        // The length is the controller's; for other ports zero means the whole packet.
        let elsewhere = port != OfPort::CONTROLLER && max_len == Action::WHOLE;
        let max_len = if elsewhere { 0 } else { max_len };
        if self.version == Version::V1_0 {
            let body = u128::from(port16(port)?) << 112 | u128::from(max_len) << 96;
            return self.fixed_here(Code::Output10, body);
        }
        self.fixed_here(Code::Output11, u128::from(port.0) << 96 | u128::from(max_len) << 80)
    }

    #[inline(always)]
    fn load_checked(&mut self, dst: Subfield, value: u64) -> Encoded {
        if dst.check_target().is_err() || dst.bits > 64 {
            return Err(EncodeError::Inconsistent { what: "a load of bits that cannot be set" });
        }
        if self.version < Version::V1_5
            && let Ok(header) = oxm::header32_for(self.w, dst.field)
        {
            return self.load_to(dst, header, value);
        }
        let (wide, mask) = (u128::from(value) << (dst.offset & 127), dst.mask());
        match self.version >= Version::V1_5 {
            true => self.set_field(dst.field, wide, mask),
            false => self.load2(dst.field, wide, mask),
        }
    }

    pub(super) fn action(&mut self, action: &Action) -> Encoded {
        let version = self.version;
        let (v10, legacy) = (version == Version::V1_0, version < Version::V1_2);
        match action {
            Action::Output { port, max_len } => self.output(*port, *max_len),
            Action::OutputField { src, max_len, wide } => {
                if *wide || !oxm::has_nxm(src.field) {
                    return self.put(Code::NxOutputReg2, |e| {
                        e.w.u16(ofs_nbits(*src)?);
                        e.w.u16(*max_len);
                        oxm::write_header(e.w, oxm::NXM, src.field)
                    });
                }
                self.put(Code::NxOutputReg, |e| {
                    e.w.u16(ofs_nbits(*src)?);
                    oxm::write_header32(e.w, src.field)?;
                    e.w.u16(*max_len);
                    Ok(())
                })
            }
            Action::OutputTruncated { port, max_len } => self.put(Code::NxOutputTrunc, |e| {
                e.w.u16(port16(*port)?);
                e.w.u32(*max_len);
                Ok(())
            }),
            Action::Controller(c) => self.controller(c),
            Action::Enqueue { port, queue } if v10 => self.put(Code::Enqueue10, |e| {
                e.w.u16(port16(*port)?);
                e.w.zeros(6);
                e.w.u32(*queue);
                Ok(())
            }),
            Action::Enqueue { port, queue } => {
                self.number(Code::SetQueue, (*queue).into(), 4)?;
                self.action(&Action::output(*port))?;
                self.put(Code::NxPopQueue, |_| Ok(()))
            }
            Action::Group(group) => self.number(Code::Group, (*group).into(), 4),
            Action::Bundle(bundle) => self.bundle(bundle),
            Action::SetField { field, value, mask } => self.set(*field, *value, *mask, false),
            Action::SetFieldNicira { field, value, mask } => self.set(*field, *value, *mask, true),
            Action::SetTunnelOption(set) => {
                let SetTunnelOption { index, value, mask, nicira } = &**set;
                let field = FieldId::tun_metadata((*index).into());
                let field = field.ok_or(EncodeError::Inconsistent { what: "a tunnel option above 63" })?;
                if value.is_empty() || value.len() != mask.len() || value.len() > 124 {
                    return Err(EncodeError::Inconsistent {
                        what: "a tunnel option whose value and mask differ in length",
                    });
                }
                let mask = Some(mask.as_slice()).filter(|m| m.iter().any(|b| *b != 0xff));
                let standard = version >= Version::V1_2 && mask.is_none() && !nicira || version >= Version::V1_5;
                let code = match standard {
                    true if version >= Version::V1_5 => Code::SetField15,
                    true => Code::SetField12,
                    false => Code::NxRegLoad2,
                };
                self.put(code, |e| {
                    oxm::write_long(e.w, if standard { version.0 } else { oxm::NXM }, field, value, mask)
                })
            }
            Action::Load { dst, value } => self.load_checked(*dst, *value),
            Action::Move { src, dst, onf } => self.copy(*src, *dst, *onf),
            Action::Push(field) => self.stack(Code::NxStackPush, *field),
            Action::Pop(field) => self.stack(Code::NxStackPop, *field),
            Action::SetVlanVid { vid, push, tagged } => {
                self.vlan(*push, *tagged)?;
                match version {
                    Version::V1_0 => self.number(Code::SetVlanVid10, (*vid).into(), 2),
                    Version::V1_1 => self.number(Code::SetVlanVid11, (*vid).into(), 2),
                    _ => self.set_whole(FieldId::VlanVid, (vid & 0xfff | VLAN_PRESENT).into()),
                }
            }
            Action::SetVlanPcp { pcp, push, tagged } => {
                self.vlan(*push, *tagged)?;
                match version {
                    Version::V1_0 => self.number(Code::SetVlanPcp10, (*pcp).into(), 1),
                    Version::V1_1 => self.number(Code::SetVlanPcp11, (*pcp).into(), 1),
                    _ => self.set_whole(FieldId::VlanPcp, (*pcp).into()),
                }
            }
            Action::StripVlan | Action::PopVlan => self.fixed(if v10 { Code::StripVlan10 } else { Code::PopVlan11 }, 0),
            Action::PushVlan(tpid) => self.number(Code::PushVlan11, (*tpid).into(), 2),
            Action::SetEthSrc(a) if legacy => self.eth(Code::SetDlSrc, *a),
            Action::SetEthDst(a) if legacy => self.eth(Code::SetDlDst, *a),
            Action::SetIpv4Src(a) if legacy => self.number(Code::SetNwSrc, a.to_bits().into(), 4),
            Action::SetIpv4Dst(a) if legacy => self.number(Code::SetNwDst, a.to_bits().into(), 4),
            Action::SetIpTos(tos) if legacy => self.number(Code::SetNwTos, (*tos).into(), 1),
            Action::SetIpTos(tos) => self.set_whole(FieldId::IpDscp, u128::from(*tos >> 2)),
            Action::SetIpEcn(ecn) if version == Version::V1_1 => self.number(Code::SetNwEcn11, (*ecn).into(), 1),
            Action::SetIpEcn(ecn) if v10 => self.loads(FieldId::NwEcn, (*ecn).into(), 3),
            Action::SetIpTtl(ttl) if v10 => self.loads(FieldId::NwTtl, (*ttl).into(), 0xff),
            Action::SetIpTtl(ttl) => self.number(Code::SetNwTtl11, (*ttl).into(), 1),
            Action::SetL4Src { port, .. } if legacy => self.number(Code::SetTpSrc, (*port).into(), 2),
            Action::SetL4Dst { port, .. } if legacy => self.number(Code::SetTpDst, (*port).into(), 2),
            Action::SetL4Src { port, protocol } | Action::SetL4Dst { port, protocol } => {
                let src = matches!(action, Action::SetL4Src { .. });
                let field = match (protocol, src) {
                    (6, true) => FieldId::TcpSrc,
                    (6, false) => FieldId::TcpDst,
                    (17, true) => FieldId::UdpSrc,
                    (17, false) => FieldId::UdpDst,
                    (132, true) => FieldId::SctpSrc,
                    (132, false) => FieldId::SctpDst,
                    _ => {
                        return Err(EncodeError::Inconsistent { what: "a set of a port of neither TCP, UDP nor SCTP" });
                    }
                };
                self.set_whole(field, (*port).into())
            }
            Action::SetMplsLabel(label) if legacy => self.number(Code::SetMplsLabel, (*label).into(), 4),
            Action::SetMplsTc(tc) if legacy => self.number(Code::SetMplsTc, (*tc).into(), 1),
            Action::SetMplsTtl(ttl) => self.number(Code::SetMplsTtl, (*ttl).into(), 1),
            Action::SetTunnel { id, wide } if legacy => match u32::try_from(*id) {
                Ok(id) if !wide => self.number(Code::NxSetTunnel, id.into(), 4),
                _ => self.number(Code::NxSetTunnel64, *id, 8),
            },
            Action::SetEthSrc(_)
            | Action::SetEthDst(_)
            | Action::SetIpv4Src(_)
            | Action::SetIpv4Dst(_)
            | Action::SetIpEcn(_)
            | Action::SetMplsLabel(_)
            | Action::SetMplsTc(_)
            | Action::SetTunnel { .. } => match action.as_set_field() {
                Some((field, value, mask)) => self.set_field(field, value, mask),
                None => Err(self.not_here("a set of a field")),
            },
            Action::DecTtl => self.fixed(Code::DecNwTtl, 0),
            Action::DecTtlTo(ids) => self.put(Code::NxDecTtlCntIds, |e| {
                e.w.u16(ids.len().try_into().map_err(|_| EncodeError::TooLong { what: "a list of controllers" })?);
                e.w.zeros(4);
                ids.iter().for_each(|id| e.w.u16(*id));
                Ok(())
            }),
            Action::DecMplsTtl => self.fixed(Code::DecMplsTtl, 0),
            Action::PushMpls(eth_type) => self.number(Code::PushMpls, (*eth_type).into(), 2),
            Action::PopMpls(eth_type) => self.number(Code::PopMpls, (*eth_type).into(), 2),
            Action::DecNshTtl => self.put(Code::NxDecNshTtl, |_| Ok(())),
            Action::DeleteField(field) => self.put(Code::NxDeleteField, |e| oxm::write_header(e.w, oxm::NXM, *field)),
            Action::SetQueue(queue) => self.number(Code::SetQueue, (*queue).into(), 4),
            Action::PopQueue => self.put(Code::NxPopQueue, |_| Ok(())),
            Action::FinTimeout { idle, hard } => self.put(Code::NxFinTimeout, |e| {
                e.w.u16(*idle);
                e.w.u16(*hard);
                Ok(())
            }),
            Action::ResubmitPort(port) => self.number(Code::NxResubmit, port16(*port)?.into(), 2),
            Action::Resubmit { port, table, original } => {
                let code = if *original { Code::NxResubmitTableCt } else { Code::NxResubmitTable };
                self.put(code, |e| {
                    e.w.u16(port16(port.unwrap_or(OfPort::IN_PORT))?);
                    e.w.u8(table.unwrap_or(0xff));
                    Ok(())
                })
            }
            Action::Learn(learn) => self.learn(learn),
            Action::Conjunction { id, clause, clauses } => self.put(Code::NxConjunction, |e| {
                e.w.u8(*clause);
                e.w.u8(*clauses);
                e.w.u32(*id);
                Ok(())
            }),
            Action::Multipath(m) => self.put(Code::NxMultipath, |e| {
                e.w.u16(m.fields.number());
                e.w.u16(m.basis);
                e.w.zeros(2);
                e.w.u16(m.algorithm.number());
                e.w.u16(m.max_link);
                e.w.u32(m.arg);
                e.w.zeros(2);
                e.w.u16(ofs_nbits(m.dst)?);
                oxm::write_header32(e.w, m.dst.field)?;
                Ok(())
            }),
            Action::Note(bytes) => self.put(Code::NxNote, |e| {
                e.w.bytes(bytes);
                Ok(())
            }),
            Action::Exit => self.put(Code::NxExit, |_| Ok(())),
            Action::Sample(sample) => self.sample(sample),
            Action::Ct(ct) => self.ct(ct),
            Action::CtClear => self.put(Code::NxCtClear, |_| Ok(())),
            Action::Nat(nat) => self.nat(nat),
            Action::Clone(actions) => self.put(Code::NxClone, |e| {
                e.w.zeros(6);
                e.nested(actions)
            }),
            Action::CheckPacketLarger { length, dst } => self.put(Code::NxCheckPktLarger, |e| {
                e.w.u16(*length);
                e.w.u16(dst.offset);
                oxm::write_header(e.w, oxm::NXM, dst.field)
            }),
            Action::Encap { packet_type, header_len, properties } => self.put(Code::NxEncap, |e| {
                e.w.u16(*header_len);
                e.w.u32(*packet_type);
                properties.iter().try_for_each(|p| encap_property(p, e.w))
            }),
            Action::Decap(packet_type) => self.put(Code::NxDecap, |e| {
                e.w.zeros(2);
                e.w.u32(*packet_type);
                Ok(())
            }),
            Action::Meter(meter) => self.number(Code::Meter15, (*meter).into(), 4),
            Action::WriteMetadata(value, mask) => self.put(Code::NxWriteMetadata, |e| {
                e.w.zeros(6);
                e.w.u64(*value);
                e.w.u64(*mask);
                Ok(())
            }),
            Action::DebugRecirc => self.put(Code::NxDebugRecirc, |_| Ok(())),
            Action::DebugSlow => self.put(Code::NxDebugSlow, |_| Ok(())),
        }
    }

    pub(super) fn copy(&mut self, src: Subfield, dst: Subfield, onf: bool) -> Encoded {
        if src.bits != dst.bits {
            return Err(EncodeError::Inconsistent { what: "a copy of bits to more or fewer" });
        }
        let numbers = |e: &mut Encoder<'_>| [src.bits, src.offset, dst.offset].iter().for_each(|n| e.w.u16(*n));
        let headers = |e: &mut Encoder<'_>, version: u8| {
            oxm::write_header(e.w, version, src.field)?;
            oxm::write_header(e.w, version, dst.field)
        };
        if self.version >= Version::V1_5 {
            return self.put(Code::CopyField15, |e| {
                numbers(e);
                e.w.zeros(2);
                headers(e, e.version.0)
            });
        }
        if onf && self.version == Version::V1_3 {
            return self.put(Code::OnfCopyField13, |e| {
                e.w.zeros(2);
                numbers(e);
                e.w.zeros(2);
                headers(e, e.version.0)
            });
        }
        self.put(Code::NxRegMove, |e| {
            numbers(e);
            headers(e, oxm::NXM)
        })
    }

    pub(super) fn stack(&mut self, code: Code, field: Subfield) -> Encoded {
        self.put(code, |e| {
            e.w.u16(field.offset);
            oxm::write_header(e.w, oxm::NXM, field.field)?;
            e.w.u16(field.bits);
            Ok(())
        })
    }
}
