//! A match said field by field: what of it is still to be said.
//!
//! Several fields read the same bits: a TCP port is where a UDP port is, two registers are one wide register. Whoever
//! writes a match as fields takes each bit once, under the first field that fits; what is left at the end is what those
//! fields cannot say.

use arrayvec::ArrayVec;

use super::{Match, WORDS};
use crate::field::FieldId;

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
    /// The masks of the match's words, without what was taken.
    masks: ArrayVec<u64, WORDS>,
}

impl Match {
    /// The bits that it matches, to be taken field by field.
    pub fn rest(&self) -> Rest<'_> {
        Rest { m: self, masks: self.words().map(|(_, _, mask)| mask).collect() }
    }
}

impl Rest<'_> {
    /// What is left of the word at place `i` of the key.
    #[inline]
    pub fn word(&self, i: usize) -> u64 {
        let map = self.m.map();
        if map.contains(i) { self.masks.get(map.rank(i)).copied().unwrap_or(0) } else { 0 }
    }

    /// The bits of a field that are left, right-aligned.
    #[inline]
    pub fn mask(&self, field: FieldId) -> u128 {
        field.info().read(|i| self.word(i))
    }

    /// Takes the bits of a field: value and mask, right-aligned, both zero if none is left.
    pub fn take(&mut self, field: FieldId) -> (u128, u128) {
        let mask = self.mask(field);
        if mask == 0 {
            return (0, 0);
        }
        let (place, map) = (field.info().place(0), self.m.map());
        for (i, ones) in place.ones.into_iter().enumerate().filter(|(_, ones)| *ones != 0) {
            let i = place.word + i;
            if let Some(left) = self.masks.get_mut(map.rank(i)).filter(|_| map.contains(i)) {
                *left &= !ones;
            }
        }
        (self.m.get(field).0 & mask, mask)
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
        FieldId::all().find(|f| self.mask(*f) != 0)
    }
}
