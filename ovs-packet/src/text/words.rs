//! Words of a language, found by one look at a table that is made when the program is compiled.
//!
//! The table is an open hash table with linear probing, at most half full. The hash reads a word's first and last eight
//! bytes and its length, which takes as long for a short word as for a long one; words that agree in these are told
//! apart by comparison, as all are.

/// Words, and what each stands for.
///
/// ```
/// use ovs_packet::text::Words;
///
/// static COLOURS: Words<u32, 8> = Words::new(&[("red", 0xff0000), ("green", 0xff00), ("lime", 0xff00)]);
/// assert_eq!(COLOURS.get("green"), Some(&0xff00));
/// assert_eq!(COLOURS.get("grey"), None);
/// ```
#[derive(Debug)]
pub struct Words<T: 'static, const SLOTS: usize> {
    entries: &'static [(&'static str, T)],
    /// One more than the index of the entry that is there; zero where there is none.
    slots: [u16; SLOTS],
}

impl<T, const SLOTS: usize> Words<T, SLOTS> {
    /// A table of some words. Of a word that is given twice, the first is found; an empty one is none.
    ///
    /// # Panics
    /// If there are more than half as many words as slots, or if the number of slots is no power of two: when the program
    /// is compiled, if the table is a static one.
    #[expect(clippy::indexing_slicing, reason = "below the length")]
    pub const fn new(entries: &'static [(&'static str, T)]) -> Words<T, SLOTS> {
        assert!(SLOTS.is_power_of_two() && SLOTS > 1 && entries.len() < u16::MAX as usize);
        let (mut slots, mut taken, mut i) = ([0; SLOTS], 0, 0);
        while i < entries.len() {
            let word = entries[i].0;
            i += 1;
            if word.is_empty() {
                continue;
            }
            let mut at = Self::first_slot(hash(word));
            while slots[at] != 0 {
                at = (at + 1) % SLOTS;
            }
            slots[at] = i as u16;
            taken += 1;
        }
        assert!(taken <= SLOTS / 2);
        Words { entries, slots }
    }

    /// The upper bits of the hash: all bytes of the word that it reads count there.
    #[inline(always)]
    const fn first_slot(hash: u32) -> usize {
        (hash >> (32 - SLOTS.ilog2())) as usize
    }

    /// What a word stands for, if it is one of these.
    #[inline]
    pub fn get(&self, word: &str) -> Option<&'static T> {
        self.find(word, hash(word))
    }

    /// As [`get`](Words::get) of a word whose hash is known, which is the same in all tables.
    #[inline(always)]
    pub(crate) fn find(&self, word: &str, hash: u32) -> Option<&'static T> {
        let mut at = Self::first_slot(hash);
        // The table is never full: an empty slot, whose index is beyond all entries, ends the search.
        while let Some((known, meaning)) = self.entries.get(usize::from(*self.slots.get(at)?).wrapping_sub(1)) {
            if same(known, word) {
                return Some(meaning);
            }
            at = (at + 1) % SLOTS;
        }
        None
    }
}

/// A word's first and last eight bytes; of a shorter one, as many as there are.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "below the length")]
const fn ends(word: &str) -> (u64, u64) {
    let b = word.as_bytes();
    match (b.first_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(front), Some(back)) => (u64::from_le_bytes(*front), u64::from_le_bytes(*back)),
        _ => match (b.first_chunk::<4>(), b.last_chunk::<4>()) {
            (Some(front), Some(back)) => (u32::from_le_bytes(*front) as u64, u32::from_le_bytes(*back) as u64),
            _ if word.is_empty() => (0, 0),
            _ => (b[0] as u64, (b[b.len() / 2] as u64) << 8 | b[b.len() - 1] as u64),
        },
    }
}

/// Whether two words are the same: up to sixteen bytes are all in the ends, and need no call.
#[inline(always)]
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && ends(a) == ends(b) && (a.len() <= 16 || a == b)
}

/// The hash of a word: the upper its bits, the better they are.
#[inline]
pub(crate) const fn hash(word: &str) -> u32 {
    let (front, back) = ends(word);
    let mixed = (front ^ back.rotate_left(29) ^ word.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use std::collections::BTreeMap;

    use super::*;
    use crate::field::FieldId;

    static COLLIDING: Words<u8, 16> = Words::new(&[
        ("a", 1),
        ("b", 2),
        ("abcdefgh0ijklmnop", 3),
        ("abcdefgh1ijklmnop", 4),
        ("ab", 5),
        ("abc", 6),
        ("abcd", 7),
        ("a", 8),
        ("", 9),
    ]);

    #[test]
    fn words_are_told_apart() {
        let found = |word: &str| COLLIDING.get(word).copied();
        for (word, meaning) in COLLIDING.entries.iter().take(7) {
            assert_eq!(found(word), Some(*meaning), "{word}");
        }
        assert_eq!(hash("abcdefgh0ijklmnop"), hash("abcdefgh2ijklmnop"));
        for none in ["", "c", "abcdefgh2ijklmnop", "abcde", "ac", "adc"] {
            assert_eq!(found(none), None, "{none}");
        }
    }

    #[test]
    fn names_of_fields_hardly_collide() {
        let mut slots: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        FieldId::all().for_each(|f| slots.entry(hash(f.info().name) >> 22).or_default().push(f.info().name));
        let worst = slots.values().max_by_key(|names| names.len()).unwrap();
        assert!(worst.len() <= 4, "{worst:?}");
    }
}
