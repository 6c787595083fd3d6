//! Actions on the wire: the table of their encodings, and the body of each.
//!
//! A row names an encoding, and says for runs of versions by whose numbering and under which number it goes, how long
//! it is at least, and whether it may be longer. An action that has several encodings goes out in the one that the
//! version has, as upstream chooses: sets of fields as `set_field` from OpenFlow 1.2 on, as actions of their own before,
//! as Nicira's loads where there is a mask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ovs_packet::field::{EXPERIMENTER_NX as NX, EXPERIMENTER_ONF as ONF, FieldId};
use ovs_packet::key::VLAN_PRESENT;
use ovs_packet::{EthAddr, OfPort};

use super::cursor::{Reader, Shape, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;
use super::io::{Property, read_port};
use super::oxm;
use crate::action::{
    Action, Bundle, BundleAlgorithm, Controller, CtAction, EncapProperty, HashFields, Learn, LearnFlags, LearnSource,
    LearnSpec, LearnTarget, Multipath, MultipathAlgorithm, Nat, NatFlags, NatRange, Observation, Sample,
    SampleDirection, Subfield, SubfieldError,
};

/// How deep actions may be nested: clones within clones, and the settings of a connection.
pub const MAX_NESTING: usize = 32;

/// The type of all experimenters' actions.
pub(super) const EXPERIMENTER: u16 = 0xffff;

const ACTION: Shape = Shape::tlv("an action");
/// The action may be longer.
const MORE: u8 = 1;

/// (experimenter, first version, last version, number, least length, [`MORE`])
type Run = (u32, u8, u8, u16, u8, u8);

macro_rules! encodings {
    ($($code:ident, [$($run:expr),+];)+) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        enum Code {
            $($code,)+
        }

        const ROWS: &[(Code, &[Run])] = &[$((Code::$code, &[$($run),+]),)+];
    };
}

encodings! {
    Output10, [(0, 1, 1, 0, 8, 0)];
    Output11, [(0, 2, 6, 0, 16, 0)];
    SetVlanVid10, [(0, 1, 1, 1, 8, 0)];
    SetVlanVid11, [(0, 2, 6, 1, 8, 0)];
    SetVlanPcp10, [(0, 1, 1, 2, 8, 0)];
    SetVlanPcp11, [(0, 2, 6, 2, 8, 0)];
    PushVlan11, [(0, 2, 6, 17, 8, 0)];
    StripVlan10, [(0, 1, 1, 3, 8, 0)];
    SetDlSrc, [(0, 1, 1, 4, 16, 0), (0, 2, 6, 3, 16, 0)];
    PopVlan11, [(0, 2, 6, 18, 8, 0)];
    SetDlDst, [(0, 1, 1, 5, 16, 0), (0, 2, 6, 4, 16, 0)];
    SetNwSrc, [(0, 1, 1, 6, 8, 0), (0, 2, 6, 5, 8, 0)];
    SetNwDst, [(0, 1, 1, 7, 8, 0), (0, 2, 6, 6, 8, 0)];
    SetNwTos, [(0, 1, 1, 8, 8, 0), (0, 2, 6, 7, 8, 0)];
    SetNwEcn11, [(0, 2, 6, 8, 8, 0)];
    SetTpSrc, [(0, 1, 6, 9, 8, 0)];
    SetTpDst, [(0, 1, 6, 10, 8, 0)];
    Enqueue10, [(0, 1, 1, 11, 16, 0)];
    SetMplsLabel, [(NX, 1, 1, 30, 16, 0), (0, 2, 6, 13, 8, 0)];
    SetMplsTc, [(NX, 1, 1, 31, 16, 0), (0, 2, 6, 14, 8, 0)];
    SetMplsTtl, [(NX, 1, 1, 25, 16, 0), (0, 2, 6, 15, 8, 0)];
    DecMplsTtl, [(NX, 1, 1, 26, 16, 0), (0, 2, 6, 16, 8, 0)];
    PushMpls, [(NX, 1, 1, 23, 16, 0), (0, 2, 6, 19, 8, 0)];
    PopMpls, [(NX, 1, 1, 24, 16, 0), (0, 2, 6, 20, 8, 0)];
    SetQueue, [(NX, 1, 1, 4, 16, 0), (0, 2, 6, 21, 8, 0)];
    Group, [(NX, 1, 1, 40, 16, 0), (0, 2, 6, 22, 8, 0)];
    SetNwTtl11, [(0, 2, 6, 23, 8, 0)];
    DecNwTtl, [(NX, 1, 1, 18, 16, 0), (0, 2, 6, 24, 8, 0)];
    SetField12, [(0, 3, 5, 25, 8, MORE)];
    SetField15, [(0, 6, 6, 25, 8, MORE)];
    CopyField15, [(0, 6, 6, 28, 16, MORE)];
    Meter15, [(0, 6, 6, 29, 8, 0)];
    OnfCopyField13, [(ONF, 4, 5, 3200, 24, MORE)];
    NxDecTtlCntIds, [(NX, 1, 6, 21, 16, MORE)];
    NxRegLoad, [(NX, 1, 5, 7, 24, 0)];
    NxRegLoad2, [(NX, 1, 5, 33, 16, MORE)];
    NxRegMove, [(NX, 1, 5, 6, 16, MORE)];
    NxResubmit, [(NX, 1, 6, 1, 16, 0)];
    NxResubmitTable, [(NX, 1, 6, 14, 16, 0)];
    NxResubmitTableCt, [(NX, 1, 6, 44, 16, 0)];
    NxSetTunnel, [(NX, 1, 6, 2, 16, 0)];
    NxSetTunnel64, [(NX, 1, 6, 9, 24, 0)];
    NxPopQueue, [(NX, 1, 6, 5, 16, 0)];
    NxNote, [(NX, 1, 6, 8, 16, MORE)];
    NxMultipath, [(NX, 1, 6, 10, 32, 0)];
    NxBundle, [(NX, 1, 6, 12, 32, MORE)];
    NxBundleLoad, [(NX, 1, 6, 13, 32, MORE)];
    NxOutputReg, [(NX, 1, 6, 15, 24, 0)];
    NxOutputReg2, [(NX, 1, 6, 32, 24, 0)];
    NxLearn, [(NX, 1, 6, 16, 32, MORE)];
    NxLearn2, [(NX, 1, 6, 45, 40, MORE)];
    NxExit, [(NX, 1, 6, 17, 16, 0)];
    NxFinTimeout, [(NX, 1, 6, 19, 16, 0)];
    NxController, [(NX, 1, 6, 20, 16, 0)];
    NxController2, [(NX, 1, 6, 37, 16, MORE)];
    NxWriteMetadata, [(NX, 1, 6, 22, 32, 0)];
    NxStackPush, [(NX, 1, 6, 27, 24, 0)];
    NxStackPop, [(NX, 1, 6, 28, 24, 0)];
    NxSample, [(NX, 1, 6, 29, 24, 0)];
    NxSample2, [(NX, 1, 6, 38, 32, 0)];
    NxSample3, [(NX, 1, 6, 41, 32, 0)];
    NxSample4, [(NX, 1, 6, 51, 40, 0)];
    NxConjunction, [(NX, 1, 6, 34, 16, 0)];
    NxCt, [(NX, 1, 6, 35, 24, MORE)];
    NxNat, [(NX, 1, 6, 36, 16, MORE)];
    NxOutputTrunc, [(NX, 1, 6, 39, 16, 0)];
    NxClone, [(NX, 1, 6, 42, 16, MORE)];
    NxCtClear, [(NX, 1, 6, 43, 16, 0)];
    NxEncap, [(NX, 4, 6, 46, 16, MORE)];
    NxDecap, [(NX, 4, 6, 47, 16, MORE)];
    NxDecNshTtl, [(NX, 4, 6, 48, 16, 0)];
    NxCheckPktLarger, [(NX, 1, 6, 49, 24, MORE)];
    NxDeleteField, [(NX, 1, 6, 50, 24, 0)];
    NxDebugSlow, [(NX, 1, 6, 254, 16, 0)];
    NxDebugRecirc, [(NX, 1, 6, 255, 16, 0)];
}

/// Numbers of experimenters' actions are below this, but for the ONF's one.
const NUMBERS: usize = 256;

/// For each version, and for standard and Nicira's actions, the place of a number in [`ROWS`].
static BY_NUMBER: LazyLock<Vec<[u8; NUMBERS]>> = LazyLock::new(|| {
    let mut index = vec![[u8::MAX; NUMBERS]; 14];
    for (at, (_, runs)) in ROWS.iter().enumerate() {
        for (vendor, since, until, number, ..) in *runs {
            for version in *since..=*until {
                let space = index.get_mut(space(*vendor, version)).and_then(|s| s.get_mut(usize::from(*number)));
                if let Some(place) = space {
                    *place = at.try_into().unwrap_or(u8::MAX);
                }
            }
        }
    }
    index
});

fn space(vendor: u32, version: u8) -> usize {
    usize::from(version).wrapping_mul(2).wrapping_add((vendor == NX).into())
}

fn row_of(vendor: u32, number: u16, version: Version) -> Option<&'static (Code, &'static [Run])> {
    if vendor == ONF {
        return ROWS
            .iter()
            .find(|(_, runs)| runs.iter().any(|r| r.0 == ONF && r.3 == number && (r.1..=r.2).contains(&version.0)));
    }
    let at = BY_NUMBER.get(space(vendor, version.0))?.get(usize::from(number))?;
    ROWS.get(usize::from(*at))
}

impl Code {
    fn run(self, version: Version) -> Option<&'static Run> {
        let (_, runs) = ROWS.get(self as usize)?;
        runs.iter().find(|(_, since, until, ..)| (*since..=*until).contains(&version.0))
    }
}

/// Writes a list of actions, `depth` lists deep.
pub(super) fn encode(actions: &[Action], w: &mut Writer, version: Version, depth: usize) -> Result<(), EncodeError> {
    if depth > MAX_NESTING {
        return Err(EncodeError::TooDeep);
    }
    actions.iter().try_for_each(|a| Encoder { w, version, depth }.action(a))
}

struct Encoder<'w> {
    w: &'w mut Writer,
    version: Version,
    depth: usize,
}

type Encoded = Result<(), EncodeError>;

/// First bit and number of bits in 16 bits.
fn ofs_nbits(s: Subfield) -> Result<u16, EncodeError> {
    if s.bits == 0 || s.bits > 64 || s.offset > 1023 {
        return Err(EncodeError::Inconsistent { what: "a run of more than 64 bits of a field" });
    }
    Ok(s.offset << 6 | s.bits.saturating_sub(1))
}

fn port16(port: OfPort) -> Result<u16, EncodeError> {
    port.to_16().ok_or(EncodeError::Port(port.0))
}

impl Encoder<'_> {
    fn not_here(&self, what: &'static str) -> EncodeError {
        EncodeError::NotInVersion { version: self.version.0, what }
    }

    /// Writes an action: its header, what `body` writes, padding and length.
    fn put(&mut self, code: Code, body: impl FnOnce(&mut Encoder<'_>) -> Encoded) -> Encoded {
        let (vendor, _, _, number, min, _) = *code.run(self.version).ok_or_else(|| self.not_here("this action"))?;
        let start = self.w.len();
        if vendor == 0 {
            self.w.u16(number);
            self.w.u16(0);
        } else {
            self.w.u16(EXPERIMENTER);
            self.w.u16(0);
            self.w.u32(vendor);
            self.w.u16(number);
        }
        body(self)?;
        let written = self.w.len().saturating_sub(start);
        self.w.zeros(usize::from(min).saturating_sub(written));
        self.w.finish(start, ACTION)
    }

    /// An action with a number of `n` bytes at the place that is usual.
    fn number(&mut self, code: Code, value: u64, n: usize) -> Encoded {
        let nicira = code.run(self.version).is_some_and(|run| run.0 == NX);
        self.put(code, |e| {
            e.w.zeros(match (nicira, n) {
                (true, 4) => 2,
                (true, 8) => 6,
                _ => 0,
            });
            e.w.uint(value.into(), n);
            Ok(())
        })
    }

    fn eth(&mut self, code: Code, a: EthAddr) -> Encoded {
        self.put(code, |e| {
            e.w.bytes(&a.0);
            Ok(())
        })
    }

    /// OpenFlow's set of a field.
    fn set_field(&mut self, field: FieldId, value: u128, mask: u128) -> Encoded {
        let code = if self.version >= Version::V1_5 { Code::SetField15 } else { Code::SetField12 };
        self.put(code, |e| oxm::write_entry(e.w, e.version.0, field, value, mask))
    }

    fn set_whole(&mut self, field: FieldId, value: u128) -> Encoded {
        self.set_field(field, value, field.info().max_value())
    }

    fn load(&mut self, dst: Subfield, value: u64) -> Encoded {
        let header = oxm::header32(dst.field)?;
        self.put(Code::NxRegLoad, |e| {
            e.w.u16(ofs_nbits(dst)?);
            e.w.u32(header);
            e.w.u64(value);
            Ok(())
        })
    }

    /// A run of ones of the mask after the other, 64 bits at most.
    fn loads(&mut self, field: FieldId, value: u128, mask: u128) -> Encoded {
        if !oxm::has_nxm(field) {
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

    fn load2(&mut self, field: FieldId, value: u128, mask: u128) -> Encoded {
        self.put(Code::NxRegLoad2, |e| oxm::write_entry(e.w, oxm::NXM, field, value, mask))
    }

    /// A set of a field as OpenFlow 1.0 and 1.1 have it.
    fn legacy(&mut self, field: FieldId, value: u128, mask: u128) -> Encoded {
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
                self.number(if v10 { Code::StripVlan10 } else { Code::PopVlan11 }, 0, 4)
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

    fn set(&mut self, field: FieldId, value: u128, mask: u128, nicira: bool) -> Encoded {
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
    fn vlan(&mut self, push: bool, tagged: bool) -> Encoded {
        if push && !tagged && self.version != Version::V1_0 {
            self.number(Code::PushVlan11, 0x8100, 2)?;
        }
        Ok(())
    }

    fn nested(&mut self, actions: &[Action]) -> Encoded {
        encode(actions, self.w, self.version, self.depth.saturating_add(1))
    }

    fn action(&mut self, action: &Action) -> Encoded {
        let version = self.version;
        let (v10, legacy) = (version == Version::V1_0, version < Version::V1_2);
        match action {
            Action::Output { port, max_len } => {
                // The length is the controller's; for other ports zero means the whole packet.
                let elsewhere = *port != OfPort::CONTROLLER && *max_len == Action::WHOLE;
                let max_len = if elsewhere { 0 } else { *max_len };
                if v10 {
                    let port = port16(*port)?;
                    return self.put(Code::Output10, |e| {
                        e.w.u16(port);
                        e.w.u16(max_len);
                        Ok(())
                    });
                }
                self.put(Code::Output11, |e| {
                    e.w.u32(port.0);
                    e.w.u16(max_len);
                    Ok(())
                })
            }
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
                    e.w.u32(oxm::header32(src.field)?);
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
            Action::SetTunnelOption { index, value, mask, nicira } => {
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
            Action::Load { dst, value } => {
                if dst.check_target().is_err() || dst.bits > 64 {
                    return Err(EncodeError::Inconsistent { what: "a load of bits that cannot be set" });
                }
                let (wide, mask) = (u128::from(*value) << (dst.offset & 127), dst.mask());
                match version >= Version::V1_5 {
                    true => self.set_field(dst.field, wide, mask),
                    false if oxm::has_nxm(dst.field) => self.load(*dst, *value),
                    false => self.load2(dst.field, wide, mask),
                }
            }
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
            Action::StripVlan | Action::PopVlan => {
                self.number(if v10 { Code::StripVlan10 } else { Code::PopVlan11 }, 0, 4)
            }
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
            Action::DecTtl => self.number(Code::DecNwTtl, 0, 4),
            Action::DecTtlTo(ids) => self.put(Code::NxDecTtlCntIds, |e| {
                e.w.u16(ids.len().try_into().map_err(|_| EncodeError::TooLong { what: "a list of controllers" })?);
                e.w.zeros(4);
                ids.iter().for_each(|id| e.w.u16(*id));
                Ok(())
            }),
            Action::DecMplsTtl => self.number(Code::DecMplsTtl, 0, 4),
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
                e.w.u32(oxm::header32(m.dst.field)?);
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

    fn controller(&mut self, c: &Controller) -> Encoded {
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
                e.w.property_bytes(0, &c.max_len.to_be_bytes())?;
            }
            if c.id != 0 {
                e.w.property_bytes(1, &c.id.to_be_bytes())?;
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

    fn bundle(&mut self, bundle: &Bundle) -> Encoded {
        self.put(if bundle.dst.is_some() { Code::NxBundleLoad } else { Code::NxBundle }, |e| {
            e.w.u16(bundle.algorithm.number());
            e.w.u16(bundle.fields.number());
            e.w.u16(bundle.basis);
            e.w.u32(oxm::header32(FieldId::InPort)?);
            e.w.u16(bundle.members.len().try_into().map_err(|_| EncodeError::TooLong { what: "a list of ports" })?);
            match bundle.dst {
                Some(dst) => {
                    e.w.u16(ofs_nbits(dst)?);
                    e.w.u32(oxm::header32(dst.field)?);
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

    fn copy(&mut self, src: Subfield, dst: Subfield, onf: bool) -> Encoded {
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

    fn stack(&mut self, code: Code, field: Subfield) -> Encoded {
        self.put(code, |e| {
            e.w.u16(field.offset);
            oxm::write_header(e.w, oxm::NXM, field.field)?;
            e.w.u16(field.bits);
            Ok(())
        })
    }

    fn learn(&mut self, learn: &Learn) -> Encoded {
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
                e.w.u32(oxm::header32(s.field)?);
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

    fn sample(&mut self, s: &Sample) -> Encoded {
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
                        e.w.u32(oxm::header32(field.field)?);
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

    fn ct(&mut self, ct: &CtAction) -> Encoded {
        ct_is_consistent(ct).map_err(|what| EncodeError::Inconsistent { what })?;
        self.put(Code::NxCt, |e| {
            e.w.u16(u16::from(ct.commit) | u16::from(ct.force) << 1);
            match ct.zone_src {
                Some(zone) => {
                    e.w.u32(oxm::header32(zone.field)?);
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

    fn nat(&mut self, nat: &Nat) -> Encoded {
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

const NSH_CLASS: u16 = 0x4;

fn encap_property(p: &EncapProperty, w: &mut Writer) -> Encoded {
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
    let sets = |a: &Action| match a {
        Action::Nat(_) => true,
        Action::Move { dst, .. } => matches!(dst.field, FieldId::CtMark | FieldId::CtLabel),
        a => matches!(a.as_set_field(), Some((FieldId::CtMark | FieldId::CtLabel, ..))),
    };
    match ct.exec.iter().all(sets) {
        true => Ok(()),
        false => Err("sets of ct_mark and ct_label"),
    }
}

fn nat_is_consistent(nat: &Nat) -> Result<(), &'static str> {
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

/// Reads the actions up to the end of `r`, `depth` lists deep.
pub(super) fn decode(r: Reader<'_>, version: Version, depth: usize) -> Result<Vec<Action>, DecodeError> {
    let mut actions = Vec::new();
    decode_into(r, version, depth, &mut actions)?;
    Ok(actions)
}

/// The same; what was read before an error stays in `actions`.
pub(super) fn decode_into(
    r: Reader<'_>,
    version: Version,
    depth: usize,
    actions: &mut Vec<Action>,
) -> Result<(), DecodeError> {
    let mut r = r.or(OfError::BadActionBadLength);
    if depth > MAX_NESTING {
        return Err(r.error(OfError::BadActionTooMany, "actions nested less deeply"));
    }
    while !r.is_empty() {
        let start = r.clone();
        let action = decode_one(&mut r, version, depth)?;
        let misplaced = match &action {
            // Beside conjunctions there may be notes only, and translations are within ct only.
            Action::Nat(_) => true,
            Action::Conjunction { .. } => {
                !actions.iter().all(|a| matches!(a, Action::Conjunction { .. } | Action::Note(_)))
            }
            Action::Note(_) => false,
            _ => matches!(actions.iter().find(|a| !matches!(a, Action::Note(_))), Some(Action::Conjunction { .. })),
        };
        if misplaced && !(matches!(action, Action::Nat(_)) && depth > 0) {
            let error = match action {
                Action::Nat(_) => OfError::BadActionUnsupportedOrder,
                _ => OfError::BadActionBadConjunction,
            };
            return Err(start.error(error, "an action that may stand here"));
        }
        actions.push(action);
    }
    Ok(())
}

struct Body<'a> {
    r: Reader<'a>,
    start: Reader<'a>,
    version: Version,
    depth: usize,
}

type Decoded = Result<Action, DecodeError>;

fn decode_one(r: &mut Reader<'_>, version: Version, depth: usize) -> Decoded {
    let start = r.clone();
    let mut head = r.clone();
    let (kind, len) = (head.u16()?, usize::from(head.u16()?));
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
    let debug = vendor == NX && (254..=255).contains(&number);
    let row = row_of(vendor, number, version).filter(|_| !debug);
    let Some((code, run)) = row.and_then(|(code, _)| code.run(version).map(|run| (*code, run))) else {
        let error = if vendor == 0 { OfError::BadActionBadType } else { OfError::BadActionBadExperimenterType };
        return Err(start.error(error, "an action that is known in this version"));
    };
    let min = usize::from(run.4);
    if len < min || (len > min && run.5 != MORE) {
        return Err(start.error(OfError::BadActionBadLength, "the length of the action"));
    }
    Body { r: body, start, version, depth }.action(code, vendor)
}

/// Whether a set of the VLAN id would take away the bit that says that there is a tag (OFPVID_PRESENT).
pub(crate) fn lacks_tag(value: u128, mask: u128) -> bool {
    mask & !value & u128::from(VLAN_PRESENT) != 0
}

impl<'a> Body<'a> {
    fn bad(&self, error: OfError, what: &'static str) -> DecodeError {
        self.start.error(error, what)
    }

    fn argument(&self, what: &'static str) -> DecodeError {
        self.bad(OfError::BadActionBadArgument, what)
    }

    fn zeros(&mut self, n: usize, error: OfError) -> Result<(), DecodeError> {
        match self.r.bytes(n)?.iter().all(|b| *b == 0) {
            true => Ok(()),
            false => Err(self.bad(error, "zeros")),
        }
    }

    fn end(&mut self, error: OfError) -> Result<(), DecodeError> {
        self.zeros(self.r.len(), error)
    }

    /// A number at the place that is usual.
    fn number(&mut self, vendor: u32, n: usize) -> Result<u64, DecodeError> {
        self.r.skip(match (vendor == NX, n) {
            (true, 4) => 2,
            (true, 8) => 6,
            _ => 0,
        })?;
        Ok((self.r.uint(n)? & u128::from(u64::MAX)) as u64)
    }

    fn eth(&mut self) -> Result<EthAddr, DecodeError> {
        let mut a = EthAddr::default();
        a.0.iter_mut().zip(self.r.bytes(6)?).for_each(|(to, from)| *to = *from);
        Ok(a)
    }

    /// A field by its header in 32 bits.
    fn field32(&mut self) -> Result<FieldId, DecodeError> {
        let word = self.r.u32()?;
        let id =
            ovs_packet::field::OxmId { class: (word >> 16) as u16, field: (word >> 9 & 0x7f) as u8, experimenter: 0 };
        let field = FieldId::by_oxm(id).filter(|f| {
            word & 0x100 == 0 && (f.tun_metadata_index().is_some() || (word & 0xff) as u8 == f.info().wire_bytes)
        });
        field.ok_or_else(|| self.bad(OfError::BadActionBadSetType, "a field that is known here"))
    }

    fn field(&mut self) -> Result<FieldId, DecodeError> {
        oxm::read_header(&mut self.r)
    }

    fn source(&self, s: Subfield) -> Result<Subfield, DecodeError> {
        match s.check_source() {
            Ok(()) => Ok(s),
            Err(_) => Err(self.bad(OfError::BadActionBadSetLength, "bits of the field")),
        }
    }

    fn target(&self, s: Subfield) -> Result<Subfield, DecodeError> {
        match s.check_target() {
            Ok(()) => Ok(s),
            Err(SubfieldError::ReadOnly) => Err(self.bad(OfError::BadActionBadSetArgument, "a field that can be set")),
            Err(_) => Err(self.bad(OfError::BadActionBadSetLength, "bits of the field")),
        }
    }

    fn bits(word: u16) -> (u16, u16) {
        (word >> 6, (word & 0x3f).wrapping_add(1))
    }

    /// Where and how many bits in 16 bits, then the field in 32.
    fn subfield32(&mut self) -> Result<Subfield, DecodeError> {
        let (offset, bits) = Self::bits(self.r.u16()?);
        Ok(Subfield { field: self.field32()?, offset, bits })
    }

    fn nested(&mut self) -> Result<Vec<Action>, DecodeError> {
        let rest = self.r.sub(self.r.len())?;
        decode(rest, self.version, self.depth.saturating_add(1))
    }

    fn action(mut self, code: Code, vendor: u32) -> Decoded {
        let low8 = |v: u64| (v & 0xff) as u8;
        let low16 = |v: u64| (v & 0xffff) as u16;
        let low32 = |v: u64| (v & 0xffff_ffff) as u32;
        Ok(match code {
            Code::Output10 | Code::Output11 => {
                let port = match code {
                    Code::Output10 => OfPort::from_16(self.r.u16()?),
                    _ => read_port(&mut self.r)?,
                };
                let max_len = self.r.u16()?;
                if port == OfPort::ANY {
                    return Err(self.bad(OfError::BadActionBadPort, "a port that can be output to"));
                }
                let whole = port != OfPort::CONTROLLER && max_len == 0;
                Action::Output { port, max_len: if whole { Action::WHOLE } else { max_len } }
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
            Code::SetField12 | Code::SetField15 => return self.set(code == Code::SetField15, false),
            Code::NxRegLoad2 => return self.set(true, true),
            Code::CopyField15 | Code::OnfCopyField13 | Code::NxRegMove => return self.copy(code),
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
                let dst = self.subfield32()?;
                let dst = self.target(dst)?;
                let value = self.r.u64()?;
                if u128::from(value) & !dst.ones() != 0 {
                    return Err(self.argument("a value that fits the bits"));
                }
                Action::Load { dst, value }
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
            Code::NxMultipath => return self.multipath(),
            Code::NxBundle | Code::NxBundleLoad => return self.bundle(code == Code::NxBundleLoad),
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
            Code::NxLearn | Code::NxLearn2 => return self.learn(code == Code::NxLearn2),
            Code::NxExit => Action::Exit,
            Code::NxFinTimeout => Action::FinTimeout { idle: self.r.u16()?, hard: self.r.u16()? },
            Code::NxController => {
                let (max_len, id, reason) = (self.r.u16()?, self.r.u16()?, self.r.u8()?);
                Action::Controller(Box::new(Controller { max_len, id, reason, ..Controller::default() }))
            }
            Code::NxController2 => return self.controller(),
            Code::NxWriteMetadata if self.version != Version::V1_0 => {
                return Err(self.bad(OfError::BadInstructionUnsupported, "an instruction instead"));
            }
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
            Code::NxSample | Code::NxSample2 | Code::NxSample3 | Code::NxSample4 => return self.sample(code),
            Code::NxConjunction => {
                let (clause, clauses, id) = (self.r.u8()?, self.r.u8()?, self.r.u32()?);
                if !(2..=64).contains(&clauses) || clause >= clauses {
                    return Err(self.bad(OfError::BadActionBadConjunction, "a clause of 2 to 64"));
                }
                Action::Conjunction { id, clause, clauses }
            }
            Code::NxCt => return self.ct(),
            Code::NxNat => return self.nat(),
            Code::NxOutputTrunc => {
                let (port, max_len) = (OfPort::from_16(self.r.u16()?), self.r.u32()?);
                if max_len < 14 {
                    return Err(self.argument("14 bytes at least"));
                }
                Action::OutputTruncated { port, max_len }
            }
            Code::NxClone => {
                self.r.skip(6)?;
                Action::Clone(self.nested()?)
            }
            Code::NxCtClear => Action::CtClear,
            Code::NxEncap => return self.encap(),
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
        })
    }

    fn set(self, may_mask: bool, nicira: bool) -> Decoded {
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

    fn set_as_match(mut self, may_mask: bool, nicira: bool) -> Decoded {
        let start = self.r.clone();
        let mut head = start.clone();
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
            Action::SetTunnelOption { index: index.try_into().unwrap_or(0), value, mask, nicira }
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

    fn copy(mut self, code: Code) -> Decoded {
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

    fn multipath(mut self) -> Decoded {
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

    fn bundle(mut self, load: bool) -> Decoded {
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

    fn learn(mut self, extended: bool) -> Decoded {
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

    fn controller(mut self) -> Decoded {
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
                _ => return Err(p.unknown()),
            }
        }
        Ok(Action::Controller(Box::new(c)))
    }

    fn sample(mut self, code: Code) -> Decoded {
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

    fn observation(&mut self) -> Result<Observation, DecodeError> {
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

    fn ct(mut self) -> Decoded {
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
        ct.exec = self.nested()?;
        ct_is_consistent(&ct).map_err(|what| self.argument(what))?;
        Ok(Action::Ct(Box::new(ct)))
    }

    fn nat(mut self) -> Decoded {
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

    fn encap(mut self) -> Decoded {
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
