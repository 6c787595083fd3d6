//! The order in which a classifier probes its subtables: highest priority first, older masks first among equals.
//!
//! A sorted vector, because lookups walk it and updates only search it. An insertion moves the ranks behind it,
//! 24 bytes each: a quarter of a megabyte at ten thousand masks.

use alloc::vec::Vec;
use core::cmp::Ordering;

#[derive(Clone, Debug, Default)]
pub(crate) struct ProbeOrder {
    ranks: Vec<Rank>,
}

/// The place of a subtable in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rank {
    /// The highest priority of the subtable's rules.
    pub(crate) priority: i32,
    /// When the mask came; no two subtables have the same age.
    pub(crate) age: u64,
    /// The subtable's slot.
    pub(crate) subtable: usize,
}

impl Rank {
    fn order(&self, other: &Self) -> Ordering {
        other.priority.cmp(&self.priority).then(self.age.cmp(&other.age))
    }
}

impl ProbeOrder {
    pub(crate) fn heap_bytes(&self) -> usize {
        self.ranks.capacity() * size_of::<Rank>()
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rank> {
        self.ranks.iter()
    }

    pub(crate) fn insert(&mut self, rank: Rank) {
        // Both results of a binary search are at most the length.
        let (Ok(place) | Err(place)) = self.ranks.binary_search_by(|other| other.order(&rank));
        self.ranks.insert(place, rank);
    }

    pub(crate) fn remove(&mut self, rank: Rank) {
        if let Ok(place) = self.ranks.binary_search_by(|other| other.order(&rank)) {
            self.ranks.remove(place);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.ranks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{ProbeOrder, Rank};
    use alloc::vec::Vec;

    #[test]
    fn highest_priority_first_then_oldest() {
        let mut order = ProbeOrder::default();
        let rank = |priority, age| Rank { priority, age, subtable: 0 };
        for (priority, age) in [(5, 2), (7, 3), (5, 1), (-1, 0), (i32::MAX, 9), (i32::MIN, 8)] {
            order.insert(rank(priority, age));
        }
        order.remove(rank(7, 3));
        order.remove(rank(7, 4));
        let ages: Vec<u64> = order.iter().map(|rank| rank.age).collect();
        assert_eq!(ages, [9, 1, 2, 0, 8]);
    }
}
