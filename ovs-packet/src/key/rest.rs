//! A match said field by field: what of it is still to be said.
//!
//! Several fields read the same bits: a TCP port is where a UDP port is, two registers are one wide register. Whoever
//! writes a match as fields takes each bit once, under the first field that fits; what is left at the end is what those
//! fields cannot say.

use arrayvec::ArrayVec;

use super::{Match, WORDS};
use crate::field::{FieldId, PlainTlv, PrereqSet};

/// The bits of a [`Match`] that no field was taken for yet.
///
/// ```
/// use ovs_packet::Match;
/// use ovs_packet::field::FieldId;
///
/// let m: Match = "udp,tp_src=53".parse().unwrap();
/// let mut rest = m.rest();
/// assert_eq!(rest.take(FieldId::UdpSrc), (53, 0xffff));
/// assert_eq!(rest.take(FieldId::TcpSrc), (0, 0));
/// rest.take(FieldId::EthType);
/// assert_eq!(rest.field(), Some(FieldId::NwProto));
/// rest.take(FieldId::NwProto);
/// assert!(rest.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Rest<'m> {
    m: &'m Match,
    /// For each place of the key, one more than the index of its word in the match; zero if there is none.
    index: [u8; WORDS],
    /// The masks of the match's words, without what was taken.
    masks: ArrayVec<u64, WORDS>,
}

impl Match {
    /// The bits that it matches, to be taken field by field.
    #[inline]
    pub fn rest(&self) -> Rest<'_> {
        let mut rest = Rest::empty(self);
        rest.fill();
        rest
    }
}

impl<'m> Rest<'m> {
    /// Nothing yet of a match: [`fill`](Rest::fill) gives it all. It is large, so that who is in a hurry fills it where it
    /// stays.
    #[inline(always)]
    pub fn empty(m: &'m Match) -> Rest<'m> {
        Rest { m, index: [0; WORDS], masks: ArrayVec::new_const() }
    }

    /// All bits of the match are left.
    #[inline(always)]
    pub fn fill(&mut self) {
        self.masks.clear();
        for (n, (i, _, mask)) in (1..).zip(self.m.words()) {
            let _ = self.masks.try_push(mask);
            if let Some(at) = self.index.get_mut(i) {
                *at = n;
            }
        }
    }
}

impl Rest<'_> {
    /// The index in the match of the word at place `i` of the key; beyond its end if there is none.
    #[inline(always)]
    fn at(&self, i: usize) -> usize {
        self.index.get(i).map_or(usize::MAX, |at| usize::from(*at).wrapping_sub(1))
    }

    /// Value, and what is left of the mask, of the word at place `i` of the key.
    #[inline(always)]
    fn word(&self, i: usize) -> (u64, u64) {
        let at = self.at(i);
        self.masks.get(at).map_or((0, 0), |mask| (self.m.value_at(at), *mask))
    }

    /// As [`Match::prereqs`], of bits that are left: of all, if none was taken yet.
    #[inline(always)]
    pub fn prereqs(&self) -> PrereqSet {
        PrereqSet::of_match(|i| self.word(i))
    }

    /// The bits of a field that are left: value and mask, right-aligned, the mask zero if there are none.
    #[inline]
    pub fn get(&self, field: FieldId) -> (u128, u128) {
        let info = field.info();
        match info.single_word() {
            Some(i) => {
                let (value, mask) = self.word(i);
                (info.part(value & mask).into(), info.part(mask).into())
            }
            None => (info.read(|i| self.word(i).0 & self.word(i).1), info.read(|i| self.word(i).1)),
        }
    }

    /// Takes a field that is plain if all of its bits are left: its value, right-aligned.
    #[inline(always)]
    pub fn take_plain(&mut self, tlv: &PlainTlv) -> Option<u64> {
        let (i, _, ones) = tlv.placed(0);
        let at = self.at(i);
        let left = self.masks.get_mut(at).filter(|left| **left & ones == ones)?;
        *left &= !ones;
        Some(tlv.part(self.m.value_at(at)))
    }

    /// Whether any bit of a field is left.
    #[inline(always)]
    pub fn touches(&self, field: FieldId) -> bool {
        let (i, [first, second]) = field.info().place();
        self.word(i).1 & first != 0 || second != 0 && self.word(i + 1).1 & second != 0
    }

    /// Takes the bits of a field: value and mask, right-aligned, both zero if none is left.
    pub fn take(&mut self, field: FieldId) -> (u128, u128) {
        let found = self.get(field);
        if found.1 != 0 {
            self.clear(field);
        }
        found
    }

    /// Takes the bits of a field without a look at them.
    #[inline]
    pub fn clear(&mut self, field: FieldId) {
        let (i, [first, second]) = field.info().place();
        self.clear_bits(i, first);
        if second != 0 {
            self.clear_bits(i + 1, second);
        }
    }

    #[inline(always)]
    fn clear_bits(&mut self, i: usize, ones: u64) {
        let at = self.at(i);
        if let Some(left) = self.masks.get_mut(at) {
            *left &= !ones;
        }
    }

    /// Takes all that is said of tunnel options.
    pub fn take_tun_options(&mut self) {
        for (i, left) in self.m.map().iter().zip(&mut self.masks) {
            if Match::is_of_options(i) {
                *left = 0;
            }
        }
    }

    /// Whether all was taken.
    pub fn is_empty(&self) -> bool {
        self.masks.iter().all(|mask| *mask == 0)
    }

    /// The first field of the table that bits are left of. None if all was taken; or if bits are left that no field has,
    /// such as those of an inner VLAN tag.
    pub fn field(&self) -> Option<FieldId> {
        FieldId::all().find(|f| self.get(*f).1 != 0)
    }
}
