//! The bits of a key that matter, and values for them.

use core::fmt;

use super::{FlowKey, WORDS};
use crate::field::FieldId;

/// Which bits of a [`FlowKey`] matter. A mask of a packet's flow says what the decision on it depended on.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowMask {
    /// One bits are those that matter.
    pub bits: FlowKey,
}

impl FlowMask {
    /// No bit matters.
    pub const EMPTY: FlowMask = FlowMask { bits: FlowKey::ZERO };

    /// The mask of all bits of the given fields.
    ///
    /// ```
    /// use ovs_packet::field::FieldId;
    /// use ovs_packet::key::FlowMask;
    ///
    /// let m = FlowMask::of(&[FieldId::EthDst, FieldId::IpDscp]);
    /// assert_eq!(m.bits.nw_tos, 0xfc);
    /// ```
    pub fn of(fields: &[FieldId]) -> FlowMask {
        let mut mask = FlowMask::EMPTY;
        for f in fields {
            mask.add(*f);
        }
        mask
    }

    /// Adds all bits of `field`.
    pub fn add(&mut self, field: FieldId) {
        field.info().put(&mut self.bits, u128::MAX);
    }

    /// Whether no bit matters.
    pub fn is_empty(&self) -> bool {
        self.bits.words().iter().all(|w| *w == 0)
    }

    /// Whether every bit of `other` is in this mask too.
    pub fn covers(&self, other: &FlowMask) -> bool {
        self.bits.words().iter().zip(other.bits.words()).all(|(a, b)| b & !a == 0)
    }

    /// Whether any bit of `field` is in this mask.
    pub fn touches(&self, field: FieldId) -> bool {
        field.info().get(&self.bits) != 0
    }

    /// Whether all bits of `field` are in this mask.
    pub fn is_exact(&self, field: FieldId) -> bool {
        let info = field.info();
        info.get(&self.bits) == info.max_value()
    }
}

impl core::ops::BitOrAssign<&FlowMask> for FlowMask {
    fn bitor_assign(&mut self, other: &FlowMask) {
        for (a, b) in self.bits.words_mut().iter_mut().zip(other.bits.words()) {
            *a |= b;
        }
    }
}

impl fmt::Debug for FlowMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let touched = FieldId::all().filter(|id| self.touches(*id));
        let entries = touched.map(|id| (id.info().name, id.info().get(&self.bits)));
        f.debug_map().entries(entries.map(|(n, m)| (n, alloc::format!("{m:#x}")))).finish()
    }
}

/// Values for the bits of a mask: what a rule matches.
///
/// Invariant: the values are zero outside the mask, so that equal matches compare equal.
///
/// ```
/// use ovs_packet::key::{FlowKey, Match};
///
/// let m: Match = "tcp,nw_dst=10.1.0.0/16,tp_dst=80".parse().unwrap();
/// assert_eq!(m.to_string(), "tcp,nw_dst=10.1.0.0/16,tp_dst=80");
/// assert!(!m.matches(&FlowKey::ZERO));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Match {
    key: FlowKey,
    mask: FlowMask,
}

impl Match {
    /// The match that every packet meets.
    pub const ANY: Match = Match { key: FlowKey::ZERO, mask: FlowMask::EMPTY };

    /// The match of `key` in the bits of `mask`; bits of `key` outside are dropped.
    pub fn new(key: FlowKey, mask: FlowMask) -> Match {
        Match { key: key.masked(&mask), mask }
    }

    /// The match of words, as [`FlowKey::words`] and the mask's words are.
    pub fn from_words(key: [u64; WORDS], mask: [u64; WORDS]) -> Match {
        Match::new(FlowKey::from_words(key), FlowMask { bits: FlowKey::from_words(mask) })
    }

    /// The match of exactly those fields of `key` that are not zero.
    pub fn exact_non_zero(key: FlowKey) -> Match {
        let mut mask = FlowMask::EMPTY;
        FieldId::all().filter(|f| f.info().get(&key) != 0).for_each(|f| mask.add(f));
        Match::new(key, mask)
    }

    /// The values, zero outside the mask.
    pub fn key(&self) -> &FlowKey {
        &self.key
    }

    /// The bits that are matched.
    pub fn mask(&self) -> &FlowMask {
        &self.mask
    }

    /// Whether `key` agrees with this match.
    pub fn matches(&self, key: &FlowKey) -> bool {
        self.key.agrees(key, &self.mask)
    }

    /// Whether there are keys that meet this match and `other` both.
    pub fn overlaps(&self, other: &Match) -> bool {
        let both = self.key.masked(&other.mask);
        both.agrees(&other.key, &self.mask)
    }

    /// Whether every key that meets `self` meets `other` too because `other` matches no more bits.
    pub fn is_within(&self, other: &Match) -> bool {
        self.mask.covers(&other.mask) && other.matches(&self.key)
    }

    /// Matches all bits of `field` against `value`, given right-aligned; bits above the field's width are dropped.
    pub fn set(&mut self, field: FieldId, value: u128) {
        self.set_masked(field, value, u128::MAX);
    }

    /// Matches the bits of `field` that `mask` has against `value`, both right-aligned.
    ///
    /// Bits of the field outside `mask` are no longer matched.
    pub fn set_masked(&mut self, field: FieldId, value: u128, mask: u128) {
        let info = field.info();
        info.put(&mut self.mask.bits, mask);
        info.put(&mut self.key, value & mask);
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Match({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn m(s: &str) -> Match {
        s.parse().unwrap()
    }

    #[test]
    fn overlap_is_symmetric_and_needs_agreement() {
        let (a, b, c) = (m("ip,nw_src=10.0.0.0/8"), m("ip,nw_dst=1.1.1.1"), m("ip,nw_src=11.0.0.0/8"));
        assert!(a.overlaps(&b) && b.overlaps(&a));
        assert!(!a.overlaps(&c) && !c.overlaps(&a));
    }

    #[test]
    fn within_means_at_least_as_specific() {
        assert!(m("tcp,nw_src=10.1.1.1").is_within(&m("ip,nw_src=10.0.0.0/8")));
        assert!(!m("ip").is_within(&m("tcp")));
        assert!(m("ip").is_within(&Match::ANY));
    }

    #[test]
    fn values_outside_the_mask_are_dropped() {
        let mut a = Match::ANY;
        a.set_masked(FieldId::NwSrc, 0x0a01_0203, 0xff00_0000);
        assert_eq!(a.key().nw_src, 0x0a00_0000);
    }
}
