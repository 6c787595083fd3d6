//! The order in which the fields of a match are written, and which of them a match may need.

use std::sync::LazyLock;

use ovs_packet::Match;
use ovs_packet::field::{FieldId, Prereq, PrereqSet};
use ovs_packet::key::{FlowKey, WORDS};

/// The fields in the order in which a match is written: a field stands behind its prerequisites.
pub(super) const ORDER: &[FieldId] = {
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

/// Tunnel options are written in front of this field.
pub(super) const BEHIND_OPTIONS: FieldId = FieldId::Xreg0;

/// The place of [`BEHIND_OPTIONS`] in [`ORDER`].
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const PLACE_OF_OPTIONS: usize = {
    let mut at = 0;
    while ORDER[at] as usize != BEHIND_OPTIONS as usize {
        at += 1;
    }
    at
};

/// A set of places of [`ORDER`].
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Places([u64; 3]);

const _: () = assert!(ORDER.len() <= 192);

impl Places {
    #[inline(always)]
    fn insert(&mut self, at: usize) {
        if let Some(bits) = self.0.get_mut(at / 64) {
            *bits |= 1u64.wrapping_shl((at % 64) as u32);
        }
    }

    /// Takes the first place.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<usize> {
        let (at, bits) = (0usize..).zip(&mut self.0).find(|(_, bits)| **bits != 0)?;
        let bit = bits.trailing_zeros() as usize;
        *bits &= bits.wrapping_sub(1);
        Some(at.wrapping_mul(64).wrapping_add(bit))
    }
}

/// For each word of the key, the fields that have bits of it: these bits, the field's place and prerequisite.
static BY_WORD: LazyLock<[Vec<(u64, u8, Prereq)>; WORDS]> = LazyLock::new(|| {
    let mut fields = [const { Vec::new() }; WORDS];
    for (field, at) in ORDER.iter().zip(0u8..) {
        let mut key = FlowKey::ZERO;
        field.info().put(&mut key, u128::MAX);
        for (fields, ones) in fields.iter_mut().zip(key.words()).filter(|(_, ones)| **ones != 0) {
            fields.push((*ones, at, field.info().prereq));
        }
    }
    fields
});

/// The places of the fields that a match has bits of and that packets have of which is `there` what it says; and of
/// [`BEHIND_OPTIONS`] if it says anything of options.
#[inline(always)]
pub(super) fn fields_of(m: &Match, there: PrereqSet) -> Places {
    let (mut places, index) = (Places::default(), &*BY_WORD);
    for (i, _, mask) in m.words() {
        for (ones, at, prereq) in index.get(i).map_or(&[][..], |fields| fields) {
            if ones & mask != 0 && there.contains(*prereq) {
                places.insert((*at).into());
            }
        }
    }
    if m.has_tun_options() {
        places.insert(PLACE_OF_OPTIONS);
    }
    places
}
