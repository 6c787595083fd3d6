//! A match said field by field: what of it is still to be said.
//!
//! Several fields read the same bits: a TCP port is where a UDP port is, two registers are one wide register. Whoever
//! writes a match as fields takes each bit once, under the first field that fits; what is left at the end is what those
//! fields cannot say.

use arrayvec::ArrayVec;

use super::matching::Word;
use super::{Match, WORDS, WordSet};
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
    index: Index,
    /// The words of the match, whose masks are without what was taken.
    words: ArrayVec<Word, WORDS>,
}

/// For each place of the key, one more than the index of its word in a match; zero if there is none.
#[derive(Clone, Debug)]
struct Index([u8; WORDS]);

impl Index {
    /// The words at the places of `map`, where `self` says nothing yet; calls `f` for each.
    #[inline(always)]
    fn fill(&mut self, map: WordSet, mut f: impl FnMut(usize)) {
        let mut n = 0;
        map.for_each(|i| {
            n += 1;
            f(i);
            if let Some(at) = self.0.get_mut(i) {
                *at = n;
            }
        });
    }

    /// The index in the match of the word at place `i` of the key; beyond its end if there is none.
    #[inline(always)]
    fn at(&self, i: usize) -> usize {
        self.0.get(i).map_or(usize::MAX, |at| usize::from(*at).wrapping_sub(1))
    }
}

/// A [`Match`] whose words are found by their places at once: for who asks for many of its fields.
///
/// ```
/// use ovs_packet::Match;
/// use ovs_packet::key::ByPlace;
///
/// let m: Match = "tcp,nw_dst=10.0.0.0/8,tp_dst=80".parse().unwrap();
/// let (mut words, mut places) = (ByPlace::empty(&m), Vec::new());
/// words.fill(|i| places.push(i));
/// assert_eq!(words.prereqs(), m.prereqs());
/// let found = places.into_iter().map(|i| (i, words.word(i).0, words.word(i).1));
/// assert!(found.eq(m.words()));
/// ```
#[derive(Clone, Debug)]
pub struct ByPlace<'m> {
    map: WordSet,
    words: &'m [Word],
    index: Index,
}

impl<'m> ByPlace<'m> {
    /// Nothing yet of a match, as [`Rest::empty`] is.
    #[inline(always)]
    pub fn empty(m: &'m Match) -> ByPlace<'m> {
        ByPlace { map: m.map(), words: m.as_words(), index: Index([0; WORDS]) }
    }

    /// Finds the words of the match, and calls `f` for their places, ascending.
    #[inline(always)]
    pub fn fill(&mut self, f: impl FnMut(usize)) {
        self.index.fill(self.map, f);
    }

    /// Value and mask of the word at place `i` of the key; both zero where nothing of it is matched.
    #[inline(always)]
    pub fn word(&self, i: usize) -> (u64, u64) {
        self.words.get(self.index.at(i)).map_or((0, 0), |w| (w.value, w.mask))
    }

    /// As [`Match::prereqs`].
    #[inline(always)]
    pub fn prereqs(&self) -> PrereqSet {
        PrereqSet::of_match(|i| self.word(i))
    }
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
        Rest { m, index: Index([0; WORDS]), words: ArrayVec::new_const() }
    }

    /// All bits of the match are left.
    #[inline(always)]
    pub fn fill(&mut self) {
        self.words.clear();
        let words = self.m.as_words();
        let _ = self.words.try_extend_from_slice(words);
        self.index.fill(self.m.map(), |_| ());
    }
}

impl Rest<'_> {
    /// Value, and what is left of the mask, of the word at place `i` of the key.
    #[inline(always)]
    fn word(&self, i: usize) -> (u64, u64) {
        self.words.get(self.index.at(i)).map_or((0, 0), |w| (w.value, w.mask))
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
        let at = self.index.at(i);
        let word = self.words.get_mut(at).filter(|word| !word.mask & ones == 0)?;
        word.mask &= !ones;
        Some(tlv.part(word.value))
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
        let at = self.index.at(i);
        if let Some(word) = self.words.get_mut(at) {
            word.mask &= !ones;
        }
    }

    /// Takes all that is said of tunnel options.
    pub fn take_tun_options(&mut self) {
        for (i, word) in self.m.map().iter().zip(&mut self.words) {
            if Match::is_of_options(i) {
                word.mask = 0;
            }
        }
    }

    /// Whether all was taken.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| word.mask == 0)
    }

    /// The first field of the table that bits are left of. None if all was taken; or if bits are left that no field has,
    /// such as those of an inner VLAN tag.
    pub fn field(&self) -> Option<FieldId> {
        FieldId::all().find(|f| self.get(*f).1 != 0)
    }
}
