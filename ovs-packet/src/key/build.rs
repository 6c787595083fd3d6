//! A match in the making.
//!
//! What reads a match from a message meets its fields in the message's order. A [`Match`] keeps words in the order of
//! their places, so that each field would have to count the words before its own; here each word is found by its place at
//! once, and they are put in order when all are there.

use arrayvec::ArrayVec;

use super::matching::{Match, Word};
use super::{WORDS, WordSet};
use crate::field::{FieldId, PlainTlv, Prereq, PrereqSet};

/// Fields that become a [`Match`], each of them at most once.
///
/// ```
/// use ovs_packet::Match;
/// use ovs_packet::field::FieldId;
/// use ovs_packet::key::MatchBuilder;
///
/// let mut b = MatchBuilder::new();
/// assert!(b.add(FieldId::NwProto, 6, 0xff));
/// assert!(b.add(FieldId::EthType, 0x800, 0xffff));
/// assert!(!b.add(FieldId::EthType, 0x86dd, 0xffff));
/// let mut m = Match::ANY;
/// b.finish(&mut m);
/// assert_eq!(m, "tcp".parse()?);
/// # Ok::<(), ovs_packet::text::ParseMatchError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MatchBuilder {
    /// For each place, one more than the index in `values` and `masks`; zero if there is none.
    index: [u8; WORDS],
    places: WordSet,
    // Not pairs: who reads a pair that was just written in parts waits for it.
    values: ArrayVec<u64, WORDS>,
    masks: ArrayVec<u64, WORDS>,
    /// Prerequisites that are met. There may be more.
    met: PrereqSet,
}

impl Default for MatchBuilder {
    fn default() -> Self {
        MatchBuilder::new()
    }
}

impl MatchBuilder {
    /// One that says nothing yet.
    #[inline]
    pub const fn new() -> MatchBuilder {
        MatchBuilder {
            index: [0; WORDS],
            places: WordSet::EMPTY,
            values: ArrayVec::new_const(),
            masks: ArrayVec::new_const(),
            met: PrereqSet::ETHERNET,
        }
    }

    #[inline(always)]
    fn word(&self, i: usize) -> (u64, u64) {
        let at = self.index.get(i).map_or(0, |at| usize::from(*at)).wrapping_sub(1);
        self.values.get(at).zip(self.masks.get(at)).map_or((0, 0), |(value, mask)| (*value, *mask))
    }

    /// Matches the bits of `field` that `mask` has against `value`, both right-aligned, if nothing of the field is matched
    /// yet; else nothing is changed, and the answer is no.
    #[inline]
    pub fn add(&mut self, field: FieldId, value: u128, mask: u128) -> bool {
        if Prereq::may_hang_on(field) {
            self.met = PrereqSet::EVERY;
        }
        let info = field.info();
        let (i, [ones, more]) = info.place();
        let (values, masks) = (info.spread(value & mask), info.spread(mask));
        if more != 0 {
            if self.word(i).1 & ones != 0 || self.word(i + 1).1 & more != 0 {
                return false;
            }
            self.add_bits(i + 1, more, Word { value: values[1], mask: masks[1] });
        }
        self.add_bits(i, ones, Word { value: values[0], mask: masks[0] })
    }

    /// The same of all bits of a field that is in one word, and of a value that it can have.
    #[inline(always)]
    pub fn add_plain(&mut self, tlv: &PlainTlv, value: u64) -> bool {
        let (i, bits, mask) = tlv.placed(value);
        let added = self.add_bits(i, mask, Word { value: bits, mask });
        if added && tlv.is_hinge() {
            self.met = self.met_with(tlv.field(), value);
        }
        added
    }

    /// What is known to be met when what prerequisites hang on was said.
    #[inline(never)]
    fn met_with(&self, field: FieldId, value: u64) -> PrereqSet {
        let says = |field: FieldId| {
            let (i, [ones, _]) = field.info().place();
            self.word(i).1 & ones != 0
        };
        match field {
            FieldId::EthType if !says(FieldId::PacketType) => self.met.with_network(value as u16),
            FieldId::NwProto if self.met.contains(Prereq::Ip) && !says(FieldId::IpFrag) => {
                self.met.with_transport(value as u8)
            }
            _ => PrereqSet::EVERY,
        }
    }

    #[inline(always)]
    fn add_bits(&mut self, i: usize, ones: u64, new: Word) -> bool {
        let Some(at) = self.index.get_mut(i) else { return true };
        let old = usize::from(*at).wrapping_sub(1);
        if let Some((value, mask)) = self.values.get_mut(old).zip(self.masks.get_mut(old)) {
            if *mask & ones != 0 {
                return false;
            }
            *value |= new.value;
            *mask |= new.mask;
            return true;
        }
        if new.mask != 0 && self.values.try_push(new.value).is_ok() && self.masks.try_push(new.mask).is_ok() {
            *at = self.masks.len() as u8;
            self.places.insert(i);
        }
        true
    }

    /// Whether every packet that meets the match so far has what a field needs: as [`Match::prereqs`] says.
    #[inline(always)]
    pub fn meets(&mut self, prereq: Prereq) -> bool {
        self.met.contains(prereq) || self.is_found_to_meet(prereq)
    }

    #[inline(never)]
    fn is_found_to_meet(&mut self, prereq: Prereq) -> bool {
        self.met = PrereqSet::of_match(|i| self.word(i));
        self.met.contains(prereq)
    }

    /// Makes `m` the match that was built.
    #[inline]
    pub fn finish(&self, m: &mut Match) {
        m.set_ordered(self.places, self.masks.len(), |i| {
            let (value, mask) = self.word(i);
            Word { value, mask }
        });
    }

    /// The same, with what `options` says of tunnel options.
    pub fn finish_with(&mut self, options: &Match, m: &mut Match) {
        for (i, value, mask) in options.words() {
            self.add_bits(i, u64::MAX, Word { value, mask });
        }
        self.finish(m);
        m.set_option_lens(options.option_lens());
    }
}
