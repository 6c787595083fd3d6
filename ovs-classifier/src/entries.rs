//! The values of the distinct patterns of one mask, back to back: nothing is allocated per pattern.
//!
//! Places that nobody has are a list: the first word of each is the next, plus one.

use crate::segments::Segments;

#[derive(Clone, Debug)]
pub(crate) struct Entries {
    /// Words of an entry; one that nobody reads where the mask has none.
    stride: usize,
    words: Segments<u64>,
    /// A place that nobody has, plus one; 0 if there is none.
    free: u64,
}

impl Entries {
    pub(crate) const fn new(values: usize) -> Self {
        Self { stride: if values == 0 { 1 } else { values }, words: Segments::new(), free: 0 }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.words.heap_bytes()
    }

    /// The values of an entry.
    #[inline(always)]
    pub(crate) fn get(&self, place: u32) -> Option<&[u64]> {
        self.words.run(place as usize, self.stride)
    }

    /// Asks for an entry, ahead of its use.
    #[inline(always)]
    pub(crate) fn prefetch(&self, place: u32) {
        if let Some(first) = self.get(place).and_then(<[u64]>::first) {
            crate::simd::prefetch(first);
        }
    }

    /// Adds an entry. There are no more entries than rules, and rules are counted by `u32`.
    pub(crate) fn insert(&mut self, values: impl Iterator<Item = u64>) -> u32 {
        let free = self.free.checked_sub(1).map(|place| place as u32);
        match free.and_then(|place| Some((place, self.words.run_mut(place as usize, self.stride)?))) {
            Some((place, old)) => {
                self.free = old.first().copied().unwrap_or(0);
                for (old, new) in old.iter_mut().zip(values) {
                    *old = new;
                }
                place
            }
            None => {
                let place = self.words.len();
                self.words.push(values.chain(core::iter::repeat(0)).take(self.stride), self.stride);
                place as u32
            }
        }
    }

    pub(crate) fn remove(&mut self, place: u32) {
        if let Some(first) = self.words.run_mut(place as usize, self.stride).and_then(<[u64]>::first_mut) {
            *first = core::mem::replace(&mut self.free, u64::from(place) + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Entries;

    #[test]
    fn a_place_is_used_again_and_others_stay() {
        for values in [0, 1, 3] {
            let entry = |n: u64| (0..values as u64).map(move |i| n << 8 | i);
            let mut entries = Entries::new(values);
            assert!((0..50).all(|n| entries.insert(entry(n)) == n as u32));
            [7, 40, 8].into_iter().for_each(|place| entries.remove(place));
            assert_eq!([100, 101, 102, 103].map(|n| entries.insert(entry(n))), [8, 40, 7, 50]);
            for (place, n) in [(8, 100), (40, 101), (7, 102), (50, 103), (6, 6), (49, 49)] {
                assert!(entries.get(place).unwrap().iter().copied().take(values).eq(entry(n)), "{place}");
            }
        }
    }
}
