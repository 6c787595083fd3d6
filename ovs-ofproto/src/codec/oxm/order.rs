//! The order in which the fields of a match are written, and which of them a match may need.

use std::sync::LazyLock;

use ovs_packet::Match;
use ovs_packet::field::{FieldId, PlainTlv, Prereq, PrereqSet};
use ovs_packet::key::{FlowKey, WORDS};

use super::{NXM, VERSIONS, plain_in};
use crate::codec::header::Version;

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
    while ORDER[at as usize] as usize != BEHIND_OPTIONS as usize {
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
    fn insert(&mut self, place: u8) {
        for (bits, n) in self.0.iter_mut().zip(0u8..) {
            *bits |= if place / 64 == n { 1u64.wrapping_shl(place.into()) } else { 0 };
        }
    }

    /// Calls `f` for the places, ascending.
    ///
    /// # Errors
    /// The first of `f`.
    #[inline(always)]
    pub(super) fn try_for_each<E>(self, mut f: impl FnMut(usize) -> Result<(), E>) -> Result<(), E> {
        for (mut bits, base) in self.0.into_iter().zip([0usize, 64, 128]) {
            while bits != 0 {
                f(base.wrapping_add(bits.trailing_zeros() as usize))?;
                bits &= bits.wrapping_sub(1);
            }
        }
        Ok(())
    }
}

/// A field's bits of a word, and its TLV if it is plain: that is written as it stands, with no other to be looked at.
pub(super) struct Part {
    pub(super) ones: u64,
    /// The header, as it stands in memory; zero if the field is not plain.
    pub(super) head: u32,
    pub(super) prereq: Prereq,
    /// Its place in [`ORDER`].
    pub(super) place: u8,
    /// As [`PlainTlv::turn`].
    pub(super) turn: u8,
    /// How long the value is.
    pub(super) len: u8,
    pub(super) maskable: bool,
}

const _: () = assert!(size_of::<Part>() == 24);

impl Part {
    fn new(ones: u64, field: FieldId, place: u8, plain: Option<&PlainTlv>) -> Part {
        let (head, turn, len) =
            plain.map_or((0, 0, 0), |tlv| (tlv.to_words(0).0.to_be(), tlv.turn() as u8, tlv.len() as u8));
        let info = field.info();
        Part { ones, head, prereq: info.prereq, place, turn, len, maskable: info.maskable }
    }
}

/// Words of plain fields are fewer than this; of [`Layout::ranks`], of a word that has none.
const NO_RANK: u8 = 63;

/// What matches are made of in a version, Nicira's format being one.
pub(super) struct Layout {
    /// For each word of the key, the fields that have bits of it, in the order of [`ORDER`].
    by_word: [Vec<Part>; WORDS],
    /// For each place of [`ORDER`], the TLV of a field that is plain.
    plain: [Option<&'static PlainTlv>; ORDER.len()],
    /// The words with plain fields, in the order of the first of these.
    ranked: [u8; NO_RANK as usize],
    /// The place of each word among those.
    ranks: [u8; WORDS],
}

static LAYOUTS: LazyLock<[Layout; VERSIONS]> = LazyLock::new(|| core::array::from_fn(|v| Layout::new(v as u8)));

/// Whether a version has a field of its own that is written for what a match says there.
fn is_said(field: FieldId, version: u8) -> bool {
    use FieldId::{InPort, InPortOxm, IpDscp, NwTos, VlanPcp, VlanVid, Xreg0, Xreg15};
    match field {
        VlanVid | VlanPcp | InPortOxm | IpDscp => version != NXM,
        InPort | NwTos => version == NXM,
        // Wide registers are OpenFlow 1.5's.
        f if (Xreg0..=Xreg15).contains(&f) => version >= Version::V1_5.0,
        _ => true,
    }
}

/// The TLV of a field that is written as it stands, without a look at others.
fn plain_tlv(field: FieldId, version: u8) -> Option<&'static PlainTlv> {
    use FieldId::{CtState, InPort, VlanPcp, VlanTci, VlanVid};
    let own_way = matches!(field, VlanVid | VlanPcp | VlanTci | InPort | CtState);
    plain_in(field, version).filter(|_| !own_way && is_said(field, version))
}

impl Layout {
    /// That of a version.
    #[inline(always)]
    pub(super) fn of(version: u8) -> Option<&'static Layout> {
        LAYOUTS.get(usize::from(version))
    }

    fn new(version: u8) -> Layout {
        let plain = core::array::from_fn(|place| plain_tlv(*ORDER.get(place)?, version));
        let by_word = [const { Vec::new() }; WORDS];
        let mut layout = Layout { by_word, plain, ranked: [0; NO_RANK as usize], ranks: [NO_RANK; WORDS] };
        let mut ranked = layout.ranked.iter_mut().zip(0..NO_RANK);
        for ((field, place), plain) in ORDER.iter().zip(0u8..).zip(plain).filter(|((f, _), _)| is_said(**f, version)) {
            let (mut key, info) = (FlowKey::ZERO, field.info());
            info.put(&mut key, u128::MAX);
            for ((parts, rank), (word, ones)) in layout
                .by_word
                .iter_mut()
                .zip(&mut layout.ranks)
                .zip((0u8..).zip(key.words()))
                .filter(|(_, w)| *w.1 != 0)
            {
                if plain.is_some()
                    && *rank == NO_RANK
                    && let Some((place, free)) = ranked.next()
                {
                    (*place, *rank) = (word, free);
                }
                parts.push(Part::new(*ones, *field, place, plain));
            }
        }
        layout
    }

    /// The TLV of the field at a place, if it is plain.
    #[inline(always)]
    pub(super) fn plain(&self, place: usize) -> Option<&'static PlainTlv> {
        self.plain.get(place).copied().flatten()
    }

    /// The fields that have bits of a word, in the order in which they are written.
    #[inline(always)]
    pub(super) fn parts(&self, word: usize) -> &[Part] {
        self.by_word.get(word).map_or(&[], |parts| parts)
    }

    /// The rank of a word, as a bit.
    #[inline(always)]
    pub(super) fn rank(&self, word: usize) -> u64 {
        1u64.wrapping_shl(self.ranks.get(word).copied().unwrap_or(NO_RANK).into())
    }

    /// The word of the lowest of some ranks; none of those that have none.
    #[inline(always)]
    pub(super) fn ranked(&self, ranks: u64) -> Option<usize> {
        let rank = ranks.trailing_zeros() as usize;
        self.ranked.get(rank).map(|word| usize::from(*word))
    }

    /// The places of the fields that a match has bits of and that packets have of which is `there` what it says; and of
    /// [`BEHIND_OPTIONS`] if it says anything of options.
    pub(super) fn fields_of(&self, m: &Match, there: PrereqSet) -> Places {
        let mut places = Places::default();
        for (i, _, mask) in m.words() {
            let parts = self.parts(i).iter();
            let found = parts.filter(|part| part.ones & mask != 0 && there.contains(part.prereq));
            found.for_each(|part| places.insert(part.place));
        }
        if m.has_tun_options() {
            places.insert(PLACE_OF_OPTIONS);
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_ranked_by_the_first_of_their_plain_fields() {
        for layout in LAYOUTS.iter() {
            let first = |word: &u8| {
                let parts = layout.parts(usize::from(*word)).iter();
                parts.filter(|part| part.head != 0).map(|part| part.place).min().unwrap()
            };
            let ranks = layout.ranks.iter().filter(|rank| **rank != NO_RANK).count();
            assert!(ranks > 20 && ranks < usize::from(NO_RANK));
            let (ranked, none) = layout.ranked.split_at(ranks);
            assert!(ranked.is_sorted_by_key(first) && none.iter().all(|word| *word == 0));
            // That no word is left out.
            let plain = layout.by_word.iter().filter(|parts| parts.iter().any(|part| part.head != 0)).count();
            assert_eq!(plain, ranks);
        }
    }
}
