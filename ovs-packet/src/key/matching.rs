//! What a rule matches: values for the bits of a mask.
//!
//! A match says something of a few words of the hundred that a key has, and holds those: for each its place, the value
//! and the mask. Up to [`FEW`] words, which is what nearly every rule has, need no memory beside the match; so to read
//! one from a message, to compare, to keep or to send it costs what it says and not what a key could say.
//!
//! # Invariants
//!
//! - The words are in the order of their places, and the bits of `map` are those places.
//! - No mask is zero, and no value has a bit outside its mask.
//! - What fits [`Words::Few`] is there.
//!
//! So equal matches are stored equally: comparing and hashing what is stored is comparing and hashing matches.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::mem::offset_of;

use arrayvec::ArrayVec;

use super::words::{STAGES, Stage};
use super::{FlowKey, FlowMask, TUN_METADATA_BYTES, WORDS, WordSet};
use crate::field::{FieldId, TLV_FIELDS, TunOption};

/// How many words a match holds without memory of its own: IPv6 addresses and ports take seven.
const FEW: usize = 8;

/// The word of the key that says which tunnel options there are.
const PRESENT: usize = offset_of!(FlowKey, tun_present) / 8;

/// The words of the key that hold the tunnel options' values.
const OPTIONS: core::ops::Range<usize> =
    offset_of!(FlowKey, tun_metadata) / 8..(offset_of!(FlowKey, tun_metadata) + TUN_METADATA_BYTES) / 8;

/// The words of the key that hold what headers of the packet say, a bit each.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const HEADERS: u128 = {
    let (mut words, mut i) = (0, 0);
    while i < WORDS {
        if STAGES[i] != Stage::Metadata as u8 {
            words |= 1 << i;
        }
        i += 1;
    }
    words
};

/// What is said of a word of the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Word {
    pub(super) value: u64,
    pub(super) mask: u64,
}

#[derive(Clone)]
enum Words {
    Few(ArrayVec<Word, FEW>),
    Many(Vec<Word>),
}

impl Words {
    #[inline]
    fn as_slice(&self) -> &[Word] {
        match self {
            Words::Few(words) => words,
            Words::Many(words) => words,
        }
    }

    fn get_mut(&mut self, at: usize) -> Option<&mut Word> {
        match self {
            Words::Few(words) => words.get_mut(at),
            Words::Many(words) => words.get_mut(at),
        }
    }

    #[inline(always)]
    fn insert(&mut self, at: usize, word: Word) {
        match self {
            // Most come in order.
            Words::Few(words) if at == words.len() && !words.is_full() => words.push(word),
            _ => self.insert_between(at, word),
        }
    }

    fn insert_between(&mut self, at: usize, word: Word) {
        match self {
            Words::Few(words) => {
                if words.try_insert(at, word).is_err() {
                    let mut many = Vec::with_capacity(2 * FEW);
                    many.extend_from_slice(words);
                    many.insert(at, word);
                    *self = Words::Many(many);
                }
            }
            Words::Many(words) => words.insert(at, word),
        }
    }

    fn remove(&mut self, at: usize) {
        match self {
            Words::Few(words) => drop(words.remove(at)),
            Words::Many(words) => {
                words.remove(at);
                if words.len() <= FEW {
                    *self = Words::Few(words.iter().copied().collect());
                }
            }
        }
    }
}

/// Values for the bits of a mask: what a rule matches.
///
/// It holds the words of the key that it says something of, and nothing of the others: a usual one is a tenth of a key,
/// without memory of its own. [`get`](Match::get) and [`set_masked`](Match::set_masked) read and write it by field,
/// [`words`](Match::words) as it is; [`key`](Match::key) and [`mask`](Match::mask) expand it.
///
/// ```
/// use ovs_packet::field::FieldId;
/// use ovs_packet::key::{FlowKey, Match};
///
/// let m: Match = "tcp,nw_dst=10.1.0.0/16,tp_dst=80".parse().unwrap();
/// assert_eq!(m.to_string(), "tcp,nw_dst=10.1.0.0/16,tp_dst=80");
/// assert_eq!(m.get(FieldId::NwDst), (0x0a01_0000, 0xffff_0000));
/// assert!(!m.matches(&FlowKey::ZERO));
/// ```
///
/// # Tunnel options
///
/// A match that was read from text or a message keeps its tunnel options packed, one behind the other by their
/// numbers, with lengths of their own ([`set_tun_option`](Match::set_tun_option)). To hold a key against it, it must
/// be [placed](crate::field::TlvTable::place) where the table of options has them; without options it may stay as it
/// is. A match made of words, or from a key and a mask, is taken to be placed.
#[derive(Clone)]
pub struct Match {
    map: WordSet,
    words: Words,
    /// The lengths of the packed options, with [`EXACT`]; none if all are zero, or if the options are placed.
    option_lens: Option<Box<OptionLens>>,
}

pub(super) type OptionLens = [u8; TLV_FIELDS];

// What is copied whenever a match is handed on.
const _: () = assert!(size_of::<Match>() <= 176);

/// Beside the length of an option: all of it counts, however long it is in the end.
const EXACT: u8 = 0x80;

fn len_of(packed: u8) -> usize {
    usize::from(packed & !EXACT)
}

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
    pub const ANY: Match = Match { map: WordSet::EMPTY, words: Words::Few(ArrayVec::new_const()), option_lens: None };

    /// The match of `key` in the bits of `mask`; bits of `key` outside are dropped.
    pub fn new(key: FlowKey, mask: FlowMask) -> Match {
        Match::from_words(*key.words(), *mask.bits.words())
    }

    /// The match of words, as [`FlowKey::words`] and the mask's words are.
    pub fn from_words(key: [u64; WORDS], mask: [u64; WORDS]) -> Match {
        let map: WordSet = mask.iter().enumerate().filter(|(_, mask)| **mask != 0).map(|(i, _)| i).collect();
        let word = |i: usize| {
            let (value, mask) = key.get(i).zip(mask.get(i)).map_or((0, 0), |(value, mask)| (value & mask, *mask));
            Word { value, mask }
        };
        let mut m = Match::ANY;
        m.set_ordered(map, map.len(), word);
        m
    }

    /// Makes it the match of the `len` words at some places, of which none has an empty mask or a value outside it, without
    /// options that are packed. What it says is written where it stands.
    #[inline]
    pub(super) fn set_ordered(&mut self, map: WordSet, len: usize, word: impl Fn(usize) -> Word) {
        self.map = map;
        self.option_lens = None;
        if len > FEW {
            self.words = Words::Many(map.iter().map(word).collect());
            return;
        }
        if let Words::Many(_) = self.words {
            self.words = Words::Few(ArrayVec::new_const());
        }
        if let Words::Few(few) = &mut self.words {
            few.clear();
            map.for_each(|i| _ = few.try_push(word(i)));
        }
    }

    /// Has it say nothing, as [`Match::ANY`] does.
    #[inline]
    pub fn clear(&mut self) {
        self.set_ordered(WordSet::EMPTY, 0, |_| Word::default());
    }

    // To be made by who sees to the invariants in the end.

    /// The word of this index.
    #[inline(always)]
    pub(super) fn word_at(&mut self, at: usize) -> Option<&mut Word> {
        match &mut self.words {
            Words::Few(words) => words.get_mut(at),
            many => many.get_mut(at),
        }
    }

    /// Adds the word at a place, of which there is none yet, behind the others, and gives how many there are.
    #[inline(always)]
    pub(super) fn push_word(&mut self, place: usize, word: Word) -> usize {
        self.map.insert(place);
        if let Words::Few(words) = &mut self.words
            && words.try_push(word).is_ok()
        {
            return words.len();
        }
        self.push_beyond(word)
    }

    #[inline(never)]
    fn push_beyond(&mut self, word: Word) -> usize {
        let len = self.words.as_slice().len();
        self.words.insert_between(len, word);
        len + 1
    }

    /// Puts words in the order of their places, of which `index` has one more than the index of the word.
    #[inline(never)]
    pub(super) fn put_in_order(&mut self, index: &mut [u8; WORDS]) {
        let words = match &mut self.words {
            Words::Few(words) => words.as_mut_slice(),
            Words::Many(words) => words.as_mut_slice(),
        };
        for (place, at) in self.map.iter().zip(1u8..) {
            let Some(from) = index.get_mut(place).map(|from| core::mem::replace(from, at)) else { continue };
            if from != at {
                words.swap(usize::from(at) - 1, usize::from(from) - 1);
                // The place behind this one whose word had to go.
                let mut behind = index.iter_mut().skip(place + 1);
                behind.find(|other| **other == at).into_iter().for_each(|other| *other = from);
            }
        }
    }

    pub(super) fn option_lens(&self) -> Option<&OptionLens> {
        self.option_lens.as_deref()
    }

    pub(super) fn set_option_lens(&mut self, lens: Option<&OptionLens>) {
        self.option_lens = lens.filter(|lens| lens.iter().any(|l| *l != 0)).map(|lens| Box::new(*lens));
    }

    /// The match of exactly those fields of `key` that are not zero.
    pub fn exact_non_zero(key: FlowKey) -> Match {
        let mut mask = FlowMask::EMPTY;
        FieldId::all().filter(|f| f.info().get(&key) != 0).for_each(|f| mask.add(f));
        Match::new(key, mask)
    }

    // What it says.

    /// The values as a key, zero outside the mask.
    pub fn key(&self) -> FlowKey {
        let mut key = FlowKey::ZERO;
        for (i, value, _) in self.words() {
            if let Some(word) = key.words_mut().get_mut(i) {
                *word = value;
            }
        }
        key
    }

    /// The bits that are matched, as a mask.
    pub fn mask(&self) -> FlowMask {
        let mut mask = FlowMask::EMPTY;
        for (i, _, bits) in self.words() {
            if let Some(word) = mask.bits.words_mut().get_mut(i) {
                *word = bits;
            }
        }
        mask
    }

    /// The words of the key of which it matches any bit.
    pub fn map(&self) -> WordSet {
        self.map
    }

    /// The words of the key of which it matches any bit: place, value and mask, in the order of the places. They are in
    /// the byte order of memory, as [`FlowKey::words`] are.
    pub fn words(&self) -> impl Iterator<Item = (usize, u64, u64)> + Clone {
        self.map.iter().zip(self.words.as_slice()).map(|(i, w)| (i, w.value, w.mask))
    }

    /// The words alone.
    #[inline(always)]
    pub(super) fn as_words(&self) -> &[Word] {
        self.words.as_slice()
    }

    /// Value and mask of the word at place `i` of the key; both zero where nothing of it is matched.
    #[inline(always)]
    pub fn word(&self, i: usize) -> (u64, u64) {
        let found = self.map.find(i).and_then(|at| self.words.as_slice().get(at));
        found.map_or((0, 0), |w| (w.value, w.mask))
    }

    /// Value and mask of a field, right-aligned; both zero if nothing of it is matched. Tunnel options are read by
    /// [`tun_option`](Match::tun_option).
    #[inline]
    pub fn get(&self, field: FieldId) -> (u128, u128) {
        let info = field.info();
        match info.single_word() {
            Some(i) => {
                let (value, mask) = self.word(i);
                (info.part(value).into(), info.part(mask).into())
            }
            None => (info.read(|i| self.word(i).0), info.read(|i| self.word(i).1)),
        }
    }

    /// Whether any bit of `field` is matched.
    #[inline]
    pub fn touches(&self, field: FieldId) -> bool {
        field.info().any_in(|i| self.word(i).1)
    }

    /// Whether all bits of `field` are matched.
    #[inline]
    pub fn is_exact(&self, field: FieldId) -> bool {
        field.info().all_in(|i| self.word(i).1)
    }

    /// Whether `key` agrees with this match.
    pub fn matches(&self, key: &FlowKey) -> bool {
        self.words().all(|(i, value, mask)| key.word(i) & mask == value)
    }

    /// Whether there are keys that meet this match and `other` both.
    pub fn overlaps(&self, other: &Match) -> bool {
        self.words().all(|(i, value, mask)| {
            let (theirs, their_mask) = other.word(i);
            (value ^ theirs) & mask & their_mask == 0
        })
    }

    /// Whether every key that meets `self` meets `other` too because `other` matches no more bits.
    pub fn is_within(&self, other: &Match) -> bool {
        other.words().all(|(i, value, mask)| {
            let (mine, my_mask) = self.word(i);
            mask & !my_mask == 0 && mine & mask == value
        })
    }

    // Changes.

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
        let (info, (first, ones)) = (field.info(), field.info().place());
        let (values, masks) = (info.spread(value & mask), info.spread(mask));
        if info.single_word().is_some() {
            let ([ones, _], [value, _], [mask, _]) = (ones, values, masks);
            return self.set_bits(first, ones, Word { value, mask });
        }
        for (i, ((ones, value), mask)) in ones.into_iter().zip(values).zip(masks).enumerate() {
            if ones != 0 {
                self.set_bits(first + i, ones, Word { value, mask });
            }
        }
    }

    /// As [`set_masked`](Match::set_masked) if nothing of the field is matched yet; else nothing is changed, and the
    /// answer is no.
    pub fn add_masked(&mut self, field: FieldId, value: u128, mask: u128) -> bool {
        let info = field.info();
        if let Some(i) = info.single_word() {
            let (_, [ones, _]) = info.place();
            let ([value, _], [mask, _]) = (info.spread(value & mask), info.spread(mask));
            return self.add_bits(i, ones, Word { value, mask });
        }
        let untouched = !self.touches(field);
        if untouched {
            self.set_masked(field, value, mask);
        }
        untouched
    }

    /// As [`set_bits`](Match::set_bits) if nothing is said of the bits yet.
    #[inline]
    fn add_bits(&mut self, i: usize, ones: u64, new: Word) -> bool {
        let at = self.map.rank(i);
        if !self.map.contains(i) {
            if new.mask != 0 {
                self.words.insert(at, new);
                self.map.insert(i);
            }
            return true;
        }
        let Some(word) = self.words.get_mut(at).filter(|w| w.mask & ones == 0) else { return false };
        *word = Word { value: word.value | new.value, mask: word.mask | new.mask };
        true
    }

    /// Puts `new` in the place of what is said of the bits `ones` of a word.
    #[inline]
    fn set_bits(&mut self, i: usize, ones: u64, new: Word) {
        let at = self.map.rank(i);
        if !self.map.contains(i) {
            if new.mask != 0 {
                self.words.insert(at, new);
                self.map.insert(i);
            }
            return;
        }
        let Some(word) = self.words.get_mut(at) else { return };
        *word = Word { value: word.value & !ones | new.value, mask: word.mask & !ones | new.mask };
        if word.mask == 0 {
            self.words.remove(at);
            self.map.remove(i);
        }
    }

    /// The match of packets that begin with Ethernet, if it says nothing of their type: what OpenFlow takes for
    /// granted (OpenFlow 1.5, section 7.2.3.11), and the words of a match leave out.
    pub fn with_default_packet_type(mut self) -> Match {
        if !self.touches(FieldId::PacketType) {
            self.set(FieldId::PacketType, 0);
        }
        self
    }

    /// Whether it says something of the packet's headers and nothing of its type, by which OpenFlow takes for granted that the
    /// packet begins with Ethernet. A match of metadata alone is of packets of any type, as in upstream's switch.
    ///
    /// ```
    /// use ovs_packet::Match;
    ///
    /// let implied = |text: &str| text.parse::<Match>().unwrap().implies_ethernet();
    /// assert!(implied("ip") && implied("in_port=1,dl_src=02:00:00:00:00:01"));
    /// assert!(!implied("in_port=1,reg0=5,tun_id=7") && !implied("packet_type=(1,0x800),nw_ttl=3"));
    /// ```
    pub fn implies_ethernet(&self) -> bool {
        self.map.bits() & HEADERS != 0 && !self.touches(FieldId::PacketType)
    }

    // Tunnel options, packed.

    /// Which options it says something of, and which of them must be there: a bit each.
    fn options(&self) -> (u64, u64) {
        let (value, mask) = self.word(PRESENT);
        (u64::from_be(mask), u64::from_be(value))
    }

    /// The bytes of all options: values and masks.
    fn option_bytes(&self) -> [[u8; TUN_METADATA_BYTES]; 2] {
        let mut bytes = [[0; TUN_METADATA_BYTES]; 2];
        let [values, masks] = &mut bytes;
        let places = values.as_chunks_mut::<8>().0.iter_mut().zip(masks.as_chunks_mut::<8>().0);
        for (i, (value, mask)) in OPTIONS.zip(places) {
            let word = self.word(i);
            (*value, *mask) = (word.0.to_ne_bytes(), word.1.to_ne_bytes());
        }
        bytes
    }

    fn set_option_bytes(&mut self, [values, masks]: &[[u8; TUN_METADATA_BYTES]; 2]) {
        for (i, (value, mask)) in OPTIONS.zip(values.as_chunks::<8>().0.iter().zip(masks.as_chunks::<8>().0)) {
            let (value, mask) = (u64::from_ne_bytes(*value), u64::from_ne_bytes(*mask));
            self.set_bits(i, u64::MAX, Word { value: value & mask, mask });
        }
    }

    /// The packed length of option `index`, with [`EXACT`].
    fn option_len(&self, index: usize) -> u8 {
        self.option_lens.as_ref().and_then(|lens| lens.get(index)).copied().unwrap_or(0)
    }

    /// Where the bytes of option `index` stand, or would.
    fn option_range(&self, index: usize) -> core::ops::Range<usize> {
        let before: usize = (0..index).map(|i| len_of(self.option_len(i))).sum();
        before..before + len_of(self.option_len(index))
    }

    /// What the match says of tunnel option number `index`; none if it says nothing.
    pub fn tun_option(&self, index: usize) -> Option<TunOption> {
        let (said, present) = self.options();
        if index >= TLV_FIELDS || said >> index & 1 == 0 {
            return None;
        }
        if present >> index & 1 == 0 {
            return Some(TunOption::ABSENT);
        }
        let (at, [values, masks]) = (self.option_range(index), self.option_bytes());
        let value = values.get(at.clone())?;
        match self.option_len(index) & EXACT {
            0 => TunOption::masked(value, masks.get(at)?),
            _ => TunOption::exact(value),
        }
    }

    /// Whether it says anything of tunnel options.
    pub fn has_tun_options(&self) -> bool {
        self.map.contains(PRESENT)
    }

    /// All that the match says of tunnel options, with their numbers, ascending.
    pub fn tun_options(&self) -> impl Iterator<Item = (usize, TunOption)> {
        let indexes = if self.has_tun_options() { 0..TLV_FIELDS } else { 0..0 };
        indexes.filter_map(|i| Some((i, self.tun_option(i)?)))
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
        if index >= TLV_FIELDS {
            return Ok(());
        }
        let (at, used) = (self.option_range(index), self.option_range(TLV_FIELDS).start);
        let len = option.value().len();
        let left = used - at.len() + len;
        if left > TUN_METADATA_BYTES {
            return Err(TunOptionsTooLong);
        }
        let mut bytes = self.option_bytes();
        for (bytes, new) in bytes.iter_mut().zip([option.value(), option.mask()]) {
            bytes.copy_within(at.end..used, at.start + len);
            bytes.get_mut(at.start..at.start + len).unwrap_or(&mut []).copy_from_slice(new);
            bytes.get_mut(left..).unwrap_or(&mut []).fill(0);
        }
        self.set_option_bytes(&bytes);
        let mut lens = self.option_lens.as_deref().copied().unwrap_or([0; TLV_FIELDS]);
        if let Some(l) = lens.get_mut(index) {
            *l = len as u8 | if option.is_exact() { EXACT } else { 0 };
        }
        self.option_lens = lens.iter().any(|l| *l != 0).then(|| Box::new(lens));
        let bit = (1u64 << index).to_be();
        self.set_bits(PRESENT, bit, Word { value: if option.is_present() { bit } else { 0 }, mask: bit });
        Ok(())
    }

    /// The match without what it says of tunnel options.
    pub fn without_tun_options(&self) -> Match {
        match self.has_tun_options() {
            false => self.clone(),
            true => self.words().filter(|(i, ..)| !Match::is_of_options(*i)).collect(),
        }
    }

    /// Whether a word of the key is about tunnel options.
    pub(super) fn is_of_options(i: usize) -> bool {
        i == PRESENT || OPTIONS.contains(&i)
    }
}

/// The match of words of a key: place, value and mask, in whatever order. Bits of a value outside its mask are dropped; of
/// two words for one place the later counts, and places that a key does not have are ignored.
impl FromIterator<(usize, u64, u64)> for Match {
    fn from_iter<I: IntoIterator<Item = (usize, u64, u64)>>(words: I) -> Match {
        let mut m = Match::ANY;
        m.extend(words);
        m
    }
}

/// The same for a match that says something already: behind [`clear`](Match::clear), what it says is written where it
/// stands.
impl Extend<(usize, u64, u64)> for Match {
    #[inline]
    fn extend<I: IntoIterator<Item = (usize, u64, u64)>>(&mut self, words: I) {
        for (i, value, mask) in words.into_iter().filter(|(i, ..)| *i < WORDS) {
            if mask != 0 || self.map.contains(i) {
                self.set_bits(i, u64::MAX, Word { value: value & mask, mask });
            }
        }
    }
}

impl PartialEq for Match {
    fn eq(&self, other: &Match) -> bool {
        self.map == other.map
            && self.words.as_slice() == other.words.as_slice()
            && self.option_lens == other.option_lens
    }
}

impl Eq for Match {}

impl core::hash::Hash for Match {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.map.hash(state);
        self.words.as_slice().hash(state);
        self.option_lens.hash(state);
    }
}

impl Default for Match {
    /// As [`ANY`](Match::ANY), of which the room for words is not copied.
    #[inline(always)]
    fn default() -> Self {
        Match { map: WordSet::EMPTY, words: Words::Few(ArrayVec::new()), option_lens: None }
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Match({self})")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;
    use crate::field::Prereq;

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
    fn what_is_cleared_says_what_is_written_next() {
        for before in
            ["tcp,nw_dst=10.1.0.0/16,tp_dst=80", "", "ipv6,ipv6_src=2001::1,ipv6_dst=2001::2,reg0=1,reg2=2,reg4=3"]
        {
            let (mut place, other) = (m(before), m("udp,tp_src=53"));
            place.clear();
            assert_eq!(place, Match::ANY);
            place.extend(other.words());
            assert_eq!(place, other);
            place.extend([(WORDS, 1, 1)]);
            assert_eq!(place, other, "there is no such word");
        }
    }

    #[test]
    fn values_outside_the_mask_are_dropped() {
        let mut a = Match::ANY;
        a.set_masked(FieldId::NwSrc, 0x0a01_0203, 0xff00_0000);
        assert_eq!(a.get(FieldId::NwSrc), (0x0a00_0000, 0xff00_0000));
    }

    #[test]
    fn a_usual_rule_needs_no_memory_of_its_own() {
        let words = |text: &str| m(text).words;
        let v4 = "tcp,in_port=1,dl_dst=2:0:0:0:0:1,nw_src=10.0.0.0/8,nw_dst=10.1.1.1,tp_dst=80,metadata=5,reg0=1";
        let v6 = "tcp6,in_port=1,ipv6_src=::1,ipv6_dst=::2,tp_src=1,tp_dst=2";
        assert!(matches!(words(v4), Words::Few(_)) && matches!(words(v6), Words::Few(_)));
        assert!(matches!(words(&(v6.to_string() + ",metadata=1")), Words::Many(_)));
    }

    /// A match as two full keys: what this one is held against.
    #[derive(Clone, Copy, Debug)]
    struct Full {
        key: FlowKey,
        mask: FlowMask,
    }

    fn set() -> impl Strategy<Value = (FieldId, u128, u128)> {
        let fields = FieldId::all().filter(|f| f.tun_metadata_index().is_none()).collect::<Vec<_>>();
        // Few values and masks, so that two agree now and then; no mask takes a field out again.
        let bits = || prop_oneof![Just(0), Just(u128::MAX), any::<u128>(), (0..128u32).prop_map(|b| 1 << b)];
        (prop::sample::select(fields), bits(), bits())
    }

    fn built() -> impl Strategy<Value = (Match, Full)> {
        prop::collection::vec(set(), 0..12).prop_map(|sets| {
            let (mut m, mut full) = (Match::ANY, Full { key: FlowKey::ZERO, mask: FlowMask::EMPTY });
            for (field, value, mask) in sets {
                m.set_masked(field, value, mask);
                field.info().put(&mut full.mask.bits, mask);
                field.info().put(&mut full.key, value & mask);
            }
            full.key = full.key.masked(&full.mask);
            (m, full)
        })
    }

    proptest! {
        #[test]
        fn a_match_answers_as_two_full_keys(
            (m, full) in built(),
            (other, other_full) in built(),
            packet in prop::array::uniform32(any::<u64>()),
        ) {
            prop_assert_eq!((m.key(), m.mask()), (full.key, full.mask));
            prop_assert_eq!(Match::new(full.key, full.mask), m.clone());
            let mut reversed: Vec<_> = m.words().collect();
            reversed.reverse();
            prop_assert_eq!(reversed.into_iter().collect::<Match>(), m.clone());
            prop_assert_eq!(matches!(m.words, Words::Few(_)), m.map().len() <= FEW);
            for f in FieldId::all() {
                let bits = (f.info().get(&full.key), f.info().get(&full.mask.bits));
                prop_assert_eq!(m.get(f), if bits.1 == 0 { (0, 0) } else { bits });
                prop_assert_eq!(m.touches(f), full.mask.touches(f));
                prop_assert_eq!(m.is_exact(f), full.mask.is_exact(f));
                let prereq = f.info().prereq;
                // A packet in one state of a connection may be in others of which the match says nothing.
                let holds = if prereq == Prereq::Ct { prereq.implied_by(&m) } else { prereq.holds(&full.key) };
                prop_assert_eq!(prereq.holds_for(&m), holds);
            }
            let packet = FlowKey::from_words(core::array::from_fn(|i| packet[i % 32]));
            let mut agreeing = packet;
            agreeing.assign(&full.key, &full.mask);
            prop_assert!(m.matches(&agreeing));
            prop_assert_eq!(m.matches(&packet), full.key.agrees(&packet, &full.mask));
            prop_assert_eq!(m == other, (full.key, full.mask) == (other_full.key, other_full.mask));
            let both = full.key.masked(&other_full.mask);
            prop_assert_eq!(m.overlaps(&other), both.agrees(&other_full.key, &full.mask));
            let covers = full.mask.covers(&other_full.mask);
            prop_assert_eq!(m.is_within(&other), covers && other_full.key.agrees(&full.key, &other_full.mask));
        }
    }
}
