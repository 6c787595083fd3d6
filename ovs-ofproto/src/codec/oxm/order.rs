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
const PLACE_OF_OPTIONS: u8 = {
    let mut at = 0;
    while ORDER[at] as usize != BEHIND_OPTIONS as usize {
        at += 1;
    }
    at as u8
};

/// A set of places of [`ORDER`].
#[derive(Clone, Copy, Default)]
struct Places([u64; 3]);

impl Places {
    fn insert(&mut self, at: u8) {
        if let Some(bits) = self.0.get_mut(usize::from(at / 64)) {
            *bits |= 1u64.wrapping_shl((at % 64).into());
        }
    }
}

/// A field that has bits of a word: its place in [`ORDER`], whether it begins there, which bits, and what must be there
/// for it to be.
struct Part {
    at: u8,
    begins: bool,
    ones: u64,
    prereq: Prereq,
}

/// The fields that have bits of each word.
static BY_WORD: LazyLock<[Vec<Part>; WORDS]> = LazyLock::new(|| {
    let mut words = [const { Vec::new() }; WORDS];
    for (at, field) in (0u8..).zip(ORDER) {
        let mut key = FlowKey::ZERO;
        field.info().put(&mut key, u128::MAX);
        let mut begins = true;
        for (fields, ones) in words.iter_mut().zip(key.words()).filter(|(_, ones)| **ones != 0) {
            fields.push(Part { at, begins, ones: *ones, prereq: field.info().prereq });
            begins = false;
        }
    }
    words
});

/// The fields that a match has bits of and that packets have of which is `there` what the match says, and
/// [`BEHIND_OPTIONS`] if it says anything of options; in order. Each comes with the index of the word that it begins in
/// among those of the match, or a later one's, if it begins in none of them.
pub(super) fn fields_of(m: &Match, there: PrereqSet) -> impl Iterator<Item = (FieldId, usize)> + use<> {
    let (mut found, parts) = (Places::default(), &*BY_WORD);
    let mut index = [0; ORDER.len()];
    for (at, (i, _, mask)) in (0u8..).zip(m.words()) {
        for part in parts.get(i).into_iter().flatten() {
            if mask & part.ones != 0 && there.contains(part.prereq) {
                if let (true, Some(place)) = (part.begins, index.get_mut(usize::from(part.at))) {
                    *place = at;
                }
                found.insert(part.at);
            }
        }
    }
    if m.has_tun_options() {
        found.insert(PLACE_OF_OPTIONS);
    }
    let mut word = 0usize;
    std::iter::from_fn(move || {
        while let Some(bits) = found.0.get_mut(word) {
            if *bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                *bits &= bits.wrapping_sub(1);
                let at = word.wrapping_mul(64).wrapping_add(bit);
                return Some((*ORDER.get(at)?, usize::from(*index.get(at)?)));
            }
            word = word.wrapping_add(1);
        }
        None
    })
}
