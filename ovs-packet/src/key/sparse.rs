//! Keys and masks stored without their zero words: what cached flows keep.
//!
//! A sparse key is a set of places and the words that stand there, ascending. All that can be asked of full keys and
//! masks can be asked of sparse ones, and is answered word by word from what is stored: nothing is expanded.
//!
//! Invariant: no stored word is zero. So equal keys are stored equally, and comparing, ordering and hashing the
//! stored form is comparing, ordering and hashing the keys. (Upstream compared masks by the words of one of them
//! only, which let a packet confuse masks of different size: CVE-2022-32166.)

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use super::{BlockSet, FlowKey, FlowMask, WordSet};
use crate::hash;

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
    fn of(words: impl Iterator<Item = (usize, u64)> + Clone) -> SparseKey {
        let words = words.filter(|(_, w)| *w != 0);
        SparseKey { map: words.clone().map(|(i, _)| i).collect(), packed: words.map(|(_, w)| w).collect() }
    }

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

    /// The stored words with their places, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64)> + Clone {
        self.map.iter().zip(self.packed.iter().copied())
    }

    /// The words of this key and of `other` with their places, ascending, where either has one that is not zero.
    fn zip<'a>(&'a self, other: &'a SparseKey) -> impl Iterator<Item = (usize, u64, u64)> + Clone + 'a {
        let (mut a, mut b) = (self.iter().peekable(), other.iter().peekable());
        core::iter::from_fn(move || {
            let order = match (a.peek(), b.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((i, _)), Some((j, _))) => i.cmp(j),
            };
            let (i, left) = if order.is_le() { a.next() } else { None }.unwrap_or_default();
            let (j, right) = if order.is_ge() { b.next() } else { None }.unwrap_or_default();
            Some((i.max(j), left, right))
        })
    }

    /// Whether all bits of `mask` are the same in both keys.
    pub fn agrees(&self, other: &SparseKey, mask: &SparseMask) -> bool {
        mask.iter().all(|(i, m)| (self.word(i) ^ other.word(i)) & m == 0)
    }

    /// Whether all bits of `mask` are the same in this key and a full one.
    pub fn agrees_with(&self, full: &FlowKey, mask: &SparseMask) -> bool {
        mask.iter().all(|(i, m)| (self.word(i) ^ full.word(i)) & m == 0)
    }

    /// This key with the bits outside `mask` cleared.
    pub fn masked(&self, mask: &SparseMask) -> SparseKey {
        SparseKey::of(mask.iter().map(|(i, m)| (i, self.word(i) & m)))
    }

    /// The bits of either key.
    pub fn union(&self, other: &SparseKey) -> SparseKey {
        SparseKey::of(self.zip(other).map(|(i, a, b)| (i, a | b)))
    }

    /// A hash of the key, well mixed in all 64 bits.
    pub fn hash(&self, seed: u64) -> u64 {
        mixed(self.iter(), seed)
    }

    /// A hash of the bits of `mask`: equal for keys that agree on the mask, sparse or
    /// [full](SparseMask::hash_of).
    pub fn hash_in(&self, mask: &SparseMask, seed: u64) -> u64 {
        mixed(mask.iter().map(|(i, m)| (i, self.word(i) & m)), seed)
    }
}

/// A hash of words with their places; those that are zero do not count.
fn mixed(words: impl Iterator<Item = (usize, u64)>, seed: u64) -> u64 {
    let (mut h, mut map) = (hash::Mixer::new(seed), WordSet::EMPTY);
    for (i, w) in words.filter(|(_, w)| *w != 0) {
        map.insert(i);
        h.word(w);
    }
    h.word(map.bits() as u64);
    h.word((map.bits() >> 64) as u64);
    h.finish()
}

impl From<&FlowKey> for SparseKey {
    fn from(key: &FlowKey) -> Self {
        let (map, words) = (key.non_zero(), key.words());
        let mut packed = Vec::with_capacity(map.len());
        packed.extend(map.iter().filter_map(|i| words.get(i).copied()));
        SparseKey { map, packed: packed.into_boxed_slice() }
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

/// A mask of which only the words that are not zero are stored.
///
/// ```
/// use ovs_packet::field::FieldId;
/// use ovs_packet::key::{FlowMask, SparseMask};
///
/// let port = SparseMask::from(&FlowMask::of(&[FieldId::InPortOxm]));
/// let both = SparseMask::from(&FlowMask::of(&[FieldId::InPortOxm, FieldId::EthDst]));
/// assert!(both.covers(&port) && port.has_extra(&both) == false && both.has_extra(&port));
/// assert_eq!(port.union(&both), both);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct SparseMask(SparseKey);

impl SparseMask {
    /// The bits as a key.
    pub fn bits(&self) -> &SparseKey {
        &self.0
    }

    /// The stored words with their places, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64)> + Clone {
        self.0.iter()
    }

    /// Whether no bit matters.
    pub fn is_empty(&self) -> bool {
        self.0.map.is_empty()
    }

    /// Whether every bit of `other` is in this mask too.
    pub fn covers(&self, other: &SparseMask) -> bool {
        other.iter().all(|(i, m)| m & !self.0.word(i) == 0)
    }

    /// Whether this mask has a bit that `other` has not.
    pub fn has_extra(&self, other: &SparseMask) -> bool {
        !other.covers(self)
    }

    /// The bits of either mask.
    pub fn union(&self, other: &SparseMask) -> SparseMask {
        SparseMask(self.0.union(&other.0))
    }

    /// A hash of the bits of a full key that the mask has, as [`SparseKey::hash_in`] gives it.
    pub fn hash_of(&self, key: &FlowKey, seed: u64) -> u64 {
        mixed(self.iter().map(|(i, m)| (i, key.word(i) & m)), seed)
    }

    /// The blocks of the key that the mask has bits in.
    pub fn blocks(&self) -> BlockSet {
        self.0.map.blocks()
    }
}

impl From<&FlowMask> for SparseMask {
    fn from(mask: &FlowMask) -> Self {
        SparseMask((&mask.bits).into())
    }
}

impl From<&SparseMask> for FlowMask {
    fn from(mask: &SparseMask) -> Self {
        FlowMask { bits: (&mask.0).into() }
    }
}

impl fmt::Debug for SparseMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FlowMask::from(self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::key::{Match, WORDS};

    /// Words of which few are not zero, and few bits of those, so that two agree now and then.
    fn words() -> impl Strategy<Value = [u64; WORDS]> {
        let word = prop_oneof![Just(0), any::<u64>(), (0..64u32).prop_map(|b| 1 << b)];
        prop::collection::vec((prop::sample::select(&[0usize, 1, 5, 7, 63, 64, 65, 95][..]), word), 0..8).prop_map(
            |set| {
                let mut words = [0; WORDS];
                set.into_iter().for_each(|(i, w)| words[i] = w);
                words
            },
        )
    }

    fn key() -> impl Strategy<Value = FlowKey> {
        words().prop_map(FlowKey::from_words)
    }

    fn mask() -> impl Strategy<Value = FlowMask> {
        key().prop_map(|bits| FlowMask { bits })
    }

    fn sparse(key: &FlowKey) -> SparseKey {
        key.into()
    }

    proptest! {
        #[test]
        fn sparse_keys_answer_as_full_ones(a in key(), b in key(), m in mask(), n in mask(), seed: u64) {
            let (sa, sb) = (sparse(&a), sparse(&b));
            let (sm, sn) = (SparseMask::from(&m), SparseMask::from(&n));
            prop_assert_eq!(FlowKey::from(&sa), a);
            prop_assert_eq!(FlowMask::from(&sm), m);
            for i in 0..WORDS {
                prop_assert_eq!(sa.word(i), a.words()[i]);
            }
            let listed: Vec<_> = a.words().iter().copied().enumerate().filter(|(_, w)| *w != 0).collect();
            prop_assert_eq!(sa.iter().collect::<Vec<_>>(), listed);
            prop_assert_eq!(sa == sb, a == b);
            prop_assert_eq!(sa.agrees(&sb, &sm), a.agrees(&b, &m));
            prop_assert_eq!(sa.agrees_with(&b, &sm), a.agrees(&b, &m));
            prop_assert_eq!(sa.masked(&sm), sparse(&a.masked(&m)));
            let mut both = m;
            both |= &n;
            prop_assert_eq!(sm.union(&sn), SparseMask::from(&both));
            prop_assert_eq!(sm.covers(&sn), m.covers(&n));
            prop_assert_eq!(sm.has_extra(&sn), !n.covers(&m));
            prop_assert_eq!(sm.is_empty(), m.is_empty());
            prop_assert_eq!(sa.hash_in(&sm, seed), sm.hash_of(&a, seed));
            prop_assert_eq!(sa.hash_in(&sm, seed), sa.masked(&sm).hash(seed));
            prop_assert_eq!(sa.hash_in(&sm, seed) == sb.hash_in(&sm, seed), a.agrees(&b, &m));
            let blocks = (0..WORDS / 8).filter(|b| sm.blocks().contains(*b)).collect::<Vec<_>>();
            let touched = (0..WORDS / 8).filter(|b| m.bits.words()[b * 8..b * 8 + 8].iter().any(|w| *w != 0));
            prop_assert_eq!(blocks, touched.collect::<Vec<_>>());
        }
    }

    /// CVE-2022-32166: two masks of which one has all the words of the other, and more, passed for equal.
    #[test]
    fn cve_2022_32166_masks_of_different_size_differ() {
        let of = |text: &str| text.parse::<Match>().unwrap();
        let (small, large) = (of("in_port=1"), of("in_port=1,metadata=0/0xff,reg31=0/0x1"));
        assert_ne!(small, large);
        // The keys are the same words: only the masks tell the two apart.
        assert_eq!(sparse(&small.key()), sparse(&large.key()));
        let (small, large) = (SparseMask::from(&small.mask()), SparseMask::from(&large.mask()));
        assert_ne!(small, large);
        assert_ne!(large, small);
        assert!(large.covers(&small) && !small.covers(&large));
        assert!(large.has_extra(&small) && !small.has_extra(&large));
        assert_ne!(small.bits().hash(0), large.bits().hash(0));
        let empty = SparseMask::default();
        assert!(empty != small && small.covers(&empty) && !empty.covers(&small));
        assert_eq!(empty, SparseMask::from(&FlowMask::EMPTY));
    }
}
