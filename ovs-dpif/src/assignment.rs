//! What a `set` action writes: values, and the bits of them that it writes.
//!
//! Text and netlink have a value and a mask for each member, and may give the value bits that the mask has not. Nothing is
//! done with those, but whoever reads the action again finds it as it was given; so they are kept here, where a
//! [`Match`] drops them.
//!
//! # Invariant
//!
//! The words are in the order of their places, and no mask is zero. So equal assignments are stored equally.

use std::fmt;

use ovs_packet::{FlowKey, FlowMask, Match};

/// A word of the key of which bits are written.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Word {
    place: u8,
    value: u64,
    mask: u64,
}

/// Values for the bits of a mask: what a [`DpAction::Set`](crate::DpAction::Set) writes.
///
/// It holds the words of the key that it writes any bit of, as they were given: a value may have bits outside its mask.
///
/// ```
/// use ovs_dpif::Assignment;
/// use ovs_packet::{FlowKey, FlowMask};
///
/// let mut mask = FlowMask::EMPTY;
/// mask.bits.tp_src.set(0xff00);
/// let to = Assignment::new(&FlowKey { tp_src: 81.into(), ..FlowKey::ZERO }, &mask);
/// assert_eq!(to.values().tp_src.get(), 81);
/// let mut key = FlowKey { tp_src: 0x1234.into(), ..FlowKey::ZERO };
/// to.apply(&mut key);
/// assert_eq!(key.tp_src.get(), 0x0034);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Assignment {
    words: Box<[Word]>,
}

impl Assignment {
    /// The assignment of `values` to the bits of `mask`. Of a word that has none of these bits the value is dropped.
    pub fn new(values: &FlowKey, mask: &FlowMask) -> Assignment {
        let words = values.words().iter().zip(mask.bits.words()).enumerate();
        words.map(|(i, (value, mask))| (i, *value, *mask)).collect()
    }

    /// The words of the key of which it writes any bit: place, value and mask, in the order of the places. They are in the
    /// byte order of memory, as [`FlowKey::words`] are.
    pub fn words(&self) -> impl ExactSizeIterator<Item = (usize, u64, u64)> + Clone {
        self.words.iter().map(|w| (w.place.into(), w.value, w.mask))
    }

    /// The values as a key, with what was given outside the mask.
    pub fn values(&self) -> FlowKey {
        self.key_of(|w| w.value)
    }

    /// The values as a key, zero outside the mask.
    pub fn written(&self) -> FlowKey {
        self.key_of(|w| w.value & w.mask)
    }

    /// The bits that are written.
    pub fn mask(&self) -> FlowMask {
        FlowMask { bits: self.key_of(|w| w.mask) }
    }

    fn key_of(&self, part: impl Fn(&Word) -> u64) -> FlowKey {
        let mut key = FlowKey::ZERO;
        for word in &self.words {
            if let Some(to) = key.words_mut().get_mut(usize::from(word.place)) {
                *to = part(word);
            }
        }
        key
    }

    /// Writes its bits into a key.
    pub fn apply(&self, key: &mut FlowKey) {
        for (i, value, mask) in self.words() {
            if let Some(to) = key.words_mut().get_mut(i) {
                *to = *to & !mask | value & mask;
            }
        }
    }
}

/// The assignment of words with their places, which are ascending; those with an empty mask are dropped.
impl FromIterator<(usize, u64, u64)> for Assignment {
    fn from_iter<I: IntoIterator<Item = (usize, u64, u64)>>(words: I) -> Assignment {
        let words = words.into_iter().filter(|(.., mask)| *mask != 0);
        Assignment { words: words.map(|(i, value, mask)| Word { place: i as u8, value, mask }).collect() }
    }
}

/// What a packet needs to be given to meet the match.
impl From<&Match> for Assignment {
    fn from(m: &Match) -> Assignment {
        m.words().collect()
    }
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for (i, value, mask) in self.words() {
            list.entry(&format_args!("{i}: {value:#x}/{mask:#x}"));
        }
        list.finish()
    }
}

#[cfg(test)]
mod tests {
    use ovs_packet::key::WORDS;
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = FlowKey> {
        let word = (0..WORDS, prop_oneof![any::<u64>(), (0..64u32).prop_map(|b| 1 << b)]);
        prop::collection::vec(word, 0..8).prop_map(|set| {
            let mut words = [0; WORDS];
            set.into_iter().for_each(|(i, w)| words[i] = w);
            FlowKey::from_words(words)
        })
    }

    proptest! {
        #[test]
        fn it_writes_what_a_full_key_and_mask_do(values in key(), bits in key(), packet in key()) {
            let mask = FlowMask { bits };
            let to = Assignment::new(&values, &mask);
            prop_assert_eq!((to.mask(), to.written()), (mask, values.masked(&mask)));
            prop_assert_eq!(to.values().masked(&mask), values.masked(&mask));
            for (i, value, _) in to.words() {
                prop_assert_eq!(value, values.words()[i]);
            }
            let (mut full, mut compact) = (packet, packet);
            full.assign(&values, &mask);
            to.apply(&mut compact);
            prop_assert_eq!(compact, full);
            prop_assert_eq!(Assignment::new(&to.values(), &mask), to);
            let m = Match::new(values, mask);
            prop_assert_eq!(Assignment::from(&m), Assignment::new(&m.key(), &mask));
        }
    }

    #[test]
    fn values_outside_the_mask_tell_two_apart() {
        let mask = FlowMask::of(&[ovs_packet::field::FieldId::NwEcn]);
        let of = |tos| Assignment::new(&FlowKey { nw_tos: tos, ..FlowKey::ZERO }, &mask);
        assert_ne!(of(0x81), of(0x01));
        assert_eq!(of(0x81).written(), of(0x01).written());
    }
}
