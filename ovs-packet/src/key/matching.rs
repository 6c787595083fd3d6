//! What a rule matches: values for the bits of a mask.

use core::fmt;

use super::{FlowKey, FlowMask, TUN_METADATA_BYTES, WORDS};
use crate::field::{FieldId, TLV_FIELDS, TunOption};

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
///
/// # Tunnel options
///
/// A match that was read from text or a message keeps its tunnel options packed, one behind the other by their
/// numbers, with lengths of their own ([`set_tun_option`](Match::set_tun_option)). To hold a key against it, it must
/// be [placed](crate::field::TlvTable::place) where the table of options has them; without options it may stay as it
/// is. A match made of words, or from a key and a mask, is taken to be placed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Match {
    key: FlowKey,
    mask: FlowMask,
    /// The lengths of the packed options; all zero if they are placed.
    option_lens: OptionLens,
}

pub(super) type OptionLens = [u8; TLV_FIELDS];

/// The options of a match do not fit the [`TUN_METADATA_BYTES`] that there are for all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunOptionsTooLong;

impl fmt::Display for TunOptionsTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the tunnel options of the match have more than {TUN_METADATA_BYTES} bytes")
    }
}

impl core::error::Error for TunOptionsTooLong {}

impl Match {
    /// The match that every packet meets.
    pub const ANY: Match = Match { key: FlowKey::ZERO, mask: FlowMask::EMPTY, option_lens: [0; TLV_FIELDS] };

    /// The match of `key` in the bits of `mask`; bits of `key` outside are dropped.
    pub fn new(key: FlowKey, mask: FlowMask) -> Match {
        Match { key: key.masked(&mask), mask, option_lens: [0; TLV_FIELDS] }
    }

    /// The match of words, as [`FlowKey::words`] and the mask's words are.
    pub fn from_words(key: [u64; WORDS], mask: [u64; WORDS]) -> Match {
        Match::new(FlowKey::from_words(key), FlowMask { bits: FlowKey::from_words(mask) })
    }

    pub(super) fn with_option_lens(mut self, lens: OptionLens) -> Match {
        self.option_lens = lens;
        self
    }

    pub(super) fn option_lens(&self) -> &OptionLens {
        &self.option_lens
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
    ///
    /// A tunnel option is not set so, but by [`set_tun_option`](Match::set_tun_option).
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

    /// The match of packets that begin with Ethernet, if it says nothing of their type: what OpenFlow takes for
    /// granted (OpenFlow 1.5, section 7.2.3.11), and the words of a match leave out.
    pub fn with_default_packet_type(mut self) -> Match {
        if !self.mask.touches(FieldId::PacketType) {
            self.set(FieldId::PacketType, 0);
        }
        self
    }

    // Tunnel options, packed.

    /// Where the bytes of option `index` stand, or would.
    fn option_range(&self, index: usize) -> core::ops::Range<usize> {
        let before: usize = self.option_lens.iter().take(index).map(|l| usize::from(*l)).sum();
        before..before + self.option_lens.get(index).map_or(0, |l| usize::from(*l))
    }

    /// What the match says of tunnel option number `index`; none if it says nothing.
    pub fn tun_option(&self, index: usize) -> Option<TunOption> {
        if index >= TLV_FIELDS || self.mask.bits.tun_present.get() >> index & 1 == 0 {
            return None;
        }
        if self.key.tun_present.get() >> index & 1 == 0 {
            return Some(TunOption::ABSENT);
        }
        let at = self.option_range(index);
        TunOption::masked(self.key.tun_metadata.get(at.clone())?, self.mask.bits.tun_metadata.get(at)?)
    }

    /// All that the match says of tunnel options, with their numbers, ascending.
    pub fn tun_options(&self) -> impl Iterator<Item = (usize, TunOption)> {
        (0..TLV_FIELDS).filter_map(|i| Some((i, self.tun_option(i)?)))
    }

    /// Matches tunnel option number `index`, in the place of what was said of it before. There are
    /// [`TLV_FIELDS`] numbers; one beyond is ignored.
    ///
    /// # Errors
    /// If all options together are too long. The match is unchanged then.
    ///
    /// ```
    /// use ovs_packet::Match;
    /// use ovs_packet::field::TunOption;
    ///
    /// let mut m = Match::ANY;
    /// m.set_tun_option(3, &TunOption::exact(&[1, 2]).unwrap()).unwrap();
    /// m.set_tun_option(0, &TunOption::PRESENT).unwrap();
    /// assert_eq!(m.to_string(), "tun_metadata0,tun_metadata3=0x102");
    /// ```
    pub fn set_tun_option(&mut self, index: usize, option: &TunOption) -> Result<(), TunOptionsTooLong> {
        let Some(old_len) = self.option_lens.get(index).copied() else { return Ok(()) };
        let at = self.option_range(index);
        let used: usize = self.option_lens.iter().map(|l| usize::from(*l)).sum();
        let len = option.value().len();
        if used - usize::from(old_len) + len > TUN_METADATA_BYTES {
            return Err(TunOptionsTooLong);
        }
        for (bytes, new) in
            [(&mut self.key.tun_metadata, option.value()), (&mut self.mask.bits.tun_metadata, option.mask())]
        {
            bytes.copy_within(at.end..used, at.start + len);
            bytes.get_mut(at.start..at.start + len).unwrap_or(&mut []).copy_from_slice(new);
            bytes.get_mut(used - usize::from(old_len) + len..).unwrap_or(&mut []).fill(0);
        }
        if let Some(l) = self.option_lens.get_mut(index) {
            *l = len as u8;
        }
        let bit = 1 << index;
        self.mask.bits.tun_present = (self.mask.bits.tun_present.get() | bit).into();
        let present = self.key.tun_present.get() & !bit | if option.is_present() { bit } else { 0 };
        self.key.tun_present = present.into();
        Ok(())
    }

    /// The match without what it says of tunnel options.
    pub fn without_tun_options(&self) -> Match {
        let mut m = *self;
        for k in [&mut m.key, &mut m.mask.bits] {
            (k.tun_present, k.tun_metadata) = (0.into(), [0; TUN_METADATA_BYTES]);
        }
        m.option_lens = [0; TLV_FIELDS];
        m
    }
}

impl Default for Match {
    fn default() -> Self {
        Match::ANY
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
