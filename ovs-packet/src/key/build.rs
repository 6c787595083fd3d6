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
/// b.finish(None, &mut m);
/// assert_eq!(m, "tcp".parse()?);
/// # Ok::<(), ovs_packet::text::ParseMatchError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MatchBuilder {
    /// For each place, one more than the index in `words`; zero if there is none.
    index: [u8; WORDS],
    places: WordSet,
    words: ArrayVec<Word, WORDS>,
    /// The prerequisites that are met but [`Prereq::Ct`], if that was asked since it may have changed.
    met: Option<PrereqSet>,
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
        MatchBuilder { index: [0; WORDS], places: WordSet::EMPTY, words: ArrayVec::new_const(), met: None }
    }

    #[inline(always)]
    fn word(&self, i: usize) -> (u64, u64) {
        let at = self.index.get(i).map_or(0, |at| usize::from(*at));
        self.words.get(at.wrapping_sub(1)).map_or((0, 0), |w| (w.value, w.mask))
    }

    /// Matches the bits of `field` that `mask` has against `value`, both right-aligned, if nothing of the field is matched
    /// yet; else nothing is changed, and the answer is no.
    #[inline]
    pub fn add(&mut self, field: FieldId, value: u128, mask: u128) -> bool {
        if Prereq::may_hang_on(field) {
            self.met = None;
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
        if tlv.is_hinge() {
            self.met = None;
        }
        let (i, value, mask) = tlv.placed(value);
        self.add_bits(i, mask, Word { value, mask })
    }

    #[inline(always)]
    fn add_bits(&mut self, i: usize, ones: u64, new: Word) -> bool {
        let Some(at) = self.index.get_mut(i) else { return true };
        if let Some(word) = self.words.get_mut(usize::from(*at).wrapping_sub(1)) {
            if word.mask & ones != 0 {
                return false;
            }
            *word = Word { value: word.value | new.value, mask: word.mask | new.mask };
            return true;
        }
        if new.mask != 0 && !self.words.is_full() {
            self.words.push(new);
            *at = self.words.len() as u8;
            self.places.insert(i);
        }
        true
    }

    /// Whether every packet that meets the match so far has what a field needs: as [`Match::prereqs`] says.
    #[inline(always)]
    pub fn meets(&mut self, prereq: Prereq) -> bool {
        // What says nothing of the packet's type is of Ethernet.
        let says_type = || FieldId::PacketType.info().single_word().is_some_and(|i| self.places.contains(i));
        prereq == Prereq::None || prereq == Prereq::Ethernet && !says_type() || self.known_to_meet(prereq)
    }

    #[inline(always)]
    fn known_to_meet(&mut self, prereq: Prereq) -> bool {
        if prereq == Prereq::Ct {
            return PrereqSet::of_match(|i| self.word(i)).contains(prereq);
        }
        let met = match self.met {
            Some(met) => met,
            None => self.layers(),
        };
        self.met = Some(met);
        met.contains(prereq)
    }

    /// All prerequisites but [`Prereq::Ct`].
    #[inline(never)]
    fn layers(&self) -> PrereqSet {
        PrereqSet::of(|i| self.word(i))
    }

    /// Makes `m` the match that was built, with what `options` says of tunnel options, if it says anything of them.
    pub fn finish(&mut self, options: Option<&Match>, m: &mut Match) {
        for (i, value, mask) in options.into_iter().flat_map(Match::words) {
            self.add_bits(i, u64::MAX, Word { value, mask });
        }
        let words = self.places.iter().map(|i| self.word(i));
        m.set_ordered(self.places, self.words.len(), words, options.and_then(Match::option_lens));
    }
}
