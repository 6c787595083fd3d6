//! Keys and matches stored without their zero words: what rules and cached flows keep.

use alloc::boxed::Box;
use core::fmt;

use super::{FlowKey, FlowMask, Match, WordSet};

/// A key of which only the words that are not zero are stored.
///
/// ```
/// use ovs_packet::key::{FlowKey, SparseKey};
///
/// let key = FlowKey { in_port: 7.into(), ..FlowKey::ZERO };
/// let sparse = SparseKey::from(&key);
/// assert_eq!(sparse.words().len(), 1);
/// assert_eq!(FlowKey::from(&sparse), key);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct SparseKey {
    map: WordSet,
    packed: Box<[u64]>,
}

impl SparseKey {
    /// Which words are stored.
    pub fn map(&self) -> WordSet {
        self.map
    }

    /// The stored words, in the order of their places.
    pub fn words(&self) -> &[u64] {
        &self.packed
    }

    /// The word at place `i` of the layout; zero if it is not stored.
    pub fn word(&self, i: usize) -> u64 {
        if self.map.contains(i) { self.packed.get(self.map.rank(i)).copied().unwrap_or(0) } else { 0 }
    }

    /// The stored words with their places.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64)> {
        self.map.iter().zip(self.packed.iter().copied())
    }
}

impl From<&FlowKey> for SparseKey {
    fn from(key: &FlowKey) -> Self {
        let packed = key.words().iter().copied().filter(|w| *w != 0).collect();
        SparseKey { map: key.non_zero(), packed }
    }
}

impl From<&SparseKey> for FlowKey {
    fn from(sparse: &SparseKey) -> Self {
        let mut key = FlowKey::ZERO;
        for (i, w) in sparse.iter() {
            if let Some(to) = key.words_mut().get_mut(i) {
                *to = w;
            }
        }
        key
    }
}

impl fmt::Debug for SparseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FlowKey::from(self).fmt(f)
    }
}

/// A [`Match`] in sparse form: about a sixth of its size for a usual rule.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct SparseMatch {
    key: SparseKey,
    mask: SparseKey,
}

impl SparseMatch {
    /// The values, zero outside the mask.
    pub fn key(&self) -> &SparseKey {
        &self.key
    }

    /// The bits that are matched.
    pub fn mask(&self) -> &SparseKey {
        &self.mask
    }

    /// Whether `key` matches, without expansion.
    pub fn matches(&self, key: &FlowKey) -> bool {
        self.mask.iter().all(|(i, m)| key.words().get(i).is_some_and(|w| w & m == self.key.word(i)))
    }
}

impl From<&Match> for SparseMatch {
    fn from(m: &Match) -> Self {
        SparseMatch { key: m.key().into(), mask: (&m.mask().bits).into() }
    }
}

impl From<&SparseMatch> for Match {
    fn from(s: &SparseMatch) -> Self {
        Match::new((&s.key).into(), FlowMask { bits: (&s.mask).into() })
    }
}

impl fmt::Debug for SparseMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Match::from(self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::WORDS;

    fn words() -> impl Strategy<Value = [u64; WORDS]> {
        prop::collection::vec((0..WORDS, any::<u64>()), 0..8).prop_map(|set| {
            let mut words = [0; WORDS];
            set.into_iter().for_each(|(i, w)| words[i] = w);
            words
        })
    }

    proptest! {
        #[test]
        fn sparse_equals_full(key in words(), mask in words(), packet in words()) {
            let m = Match::new(FlowKey::from_words(key), FlowMask { bits: FlowKey::from_words(mask) });
            let sparse = SparseMatch::from(&m);
            prop_assert_eq!(Match::from(&sparse), m);
            let packet = FlowKey::from_words(packet);
            prop_assert_eq!(sparse.matches(&packet), m.matches(&packet));
            // A packet that agrees on the mask matches in both forms.
            let mut agreeing = packet;
            agreeing.assign(m.key(), m.mask());
            prop_assert!(sparse.matches(&agreeing) && m.matches(&agreeing));
            for i in 0..WORDS {
                prop_assert_eq!(sparse.key().word(i), m.key().words()[i]);
            }
        }
    }
}
