//! A set of places of megaflows: a bit for each.

/// Places, ascending.
#[derive(Clone, Default, Debug)]
pub(super) struct Places {
    words: Vec<u64>,
    len: usize,
    /// Where [`next`](Places::next) goes on.
    cursor: usize,
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains(&self, place: u32) -> bool {
        self.words.get(place as usize / 64).is_some_and(|w| w >> (place % 64) & 1 != 0)
    }

    pub(super) fn insert(&mut self, place: u32) {
        let at = place as usize / 64;
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        if let Some(word) = self.words.get_mut(at) {
            self.len += usize::from(*word >> (place % 64) & 1 == 0);
            *word |= 1 << (place % 64);
        }
    }

    pub(super) fn remove(&mut self, place: u32) {
        if let Some(word) = self.words.get_mut(place as usize / 64) {
            self.len -= usize::from(*word >> (place % 64) & 1 != 0);
            *word &= !(1 << (place % 64));
        }
    }

    /// A member behind the one that this gave the last time, going round.
    pub(super) fn next(&mut self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let found = self.from(self.cursor).next().or_else(|| self.from(0).next());
        self.cursor = found.map_or(0, |n| n as usize + 1);
        found
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.from(0)
    }

    fn from(&self, start: usize) -> impl Iterator<Item = u32> {
        let first = u64::MAX << (start % 64);
        let words = self.words.iter().enumerate().skip(start / 64);
        words.flat_map(move |(at, word)| {
            let mut rest = if at == start / 64 { word & first } else { *word };
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    at as u32 * 64 + bit
                })
            })
        })
    }
}

impl FromIterator<u32> for Places {
    fn from_iter<T: IntoIterator<Item = u32>>(places: T) -> Places {
        let mut all = Places::default();
        places.into_iter().for_each(|place| all.insert(place));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_round() {
        let mut set: Places = [3, 64, 200, 3].into_iter().collect();
        assert_eq!((set.len(), set.iter().collect::<Vec<_>>()), (3, vec![3, 64, 200]));
        assert_eq!([set.next(), set.next(), set.next(), set.next()], [Some(3), Some(64), Some(200), Some(3)]);
        set.remove(64);
        set.remove(64);
        assert!(!set.contains(64) && set.contains(200) && !set.contains(1000));
        assert_eq!((set.next(), set.len()), (Some(200), 2));
        assert_eq!(Places::default().next(), None);
    }
}
