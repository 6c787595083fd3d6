//! Buckets: a few prefixes that begin alike, side by side in a line of the cache or two.
//!
//! Which of them are a value's, and how many of its bits decide that, is no matter of order: all are compared at once.

use super::count::{Count, Holders};
use super::path::Path;
use super::pool::Vacancy;

/// The most prefixes of a bucket.
pub(crate) const PREFIXES: usize = 8;

/// So few prefixes of two buckets and what parts them become one bucket.
pub(super) const FEW: usize = PREFIXES / 2;

/// In no order, without gaps; there is one at least, where a value is led to it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Bucket<P, C> {
    pub(super) paths: [P; PREFIXES],
    /// The [`Count`] of each, as a number; zero where there is no prefix.
    pub(super) counts: [u32; PREFIXES],
    /// The masks of the rules of each.
    pub(super) holders: [C; PREFIXES],
}

const _: () = assert!(size_of::<Bucket<u32, ()>>() == 64 && size_of::<Bucket<u32, super::Folded>>() == 128);

/// A prefix with its rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefix<P, C> {
    pub(super) path: P,
    pub(super) count: Count,
    pub(super) holders: C,
}

impl<P: Path, C: Holders> Prefix<P, C> {
    /// Of one rule, of the mask of a column.
    pub(super) fn new(path: P, len: u8, column: u32) -> Self {
        Self { path, count: Count::none(len).up(), holders: C::default().with(column) }
    }
}

impl<P: Path, C: Holders> Bucket<P, C> {
    pub(super) fn of(prefix: Prefix<P, C>) -> Self {
        let mut bucket = Self::default();
        bucket.push(prefix);
        bucket
    }

    /// How many prefixes there are. As in [`position`](Self::position), none ends the count.
    pub(super) fn len(&self) -> usize {
        self.counts.iter().map(|count| u32::from(*count != 0)).sum::<u32>() as usize
    }

    pub(super) fn prefixes(&self) -> impl Iterator<Item = Prefix<P, C>> + '_ {
        let all = self.paths.iter().zip(&self.counts).zip(&self.holders);
        let prefix = |((path, count), holders): ((&P, &u32), &C)| Prefix {
            path: *path,
            count: Count::from_number(*count),
            holders: *holders,
        };
        all.take(self.len()).map(prefix)
    }

    /// Adds a prefix; whether there was room.
    pub(super) fn push(&mut self, prefix: Prefix<P, C>) -> bool {
        let at = self.len();
        let places = self.paths.get_mut(at).zip(self.counts.get_mut(at)).zip(self.holders.get_mut(at));
        let Some(((path, count), holders)) = places else { return false };
        (*path, *count, *holders) = (prefix.path, prefix.count.number(), prefix.holders);
        true
    }

    /// Where a prefix is. All are compared: at which one that could end is nothing that a processor can guess.
    fn position(&self, path: P, len: u8) -> Option<usize> {
        let mut alike = (0..).zip(&self.paths).fold(0u32, |set, (i, other)| set | u32::from(*other == path) << i);
        while alike != 0 {
            let at = alike.trailing_zeros() as usize;
            if self.counts.get(at).is_some_and(|count| Count::from_number(*count).len() == len) {
                return Some(at);
            }
            alike &= alike - 1;
        }
        None
    }

    /// Adds a rule of the mask of a column to those of a prefix; whether there is this prefix, or room for it.
    pub(super) fn hold(&mut self, path: P, len: u8, column: u32) -> bool {
        let at = self.position(path, len);
        let Some((count, holders)) = at.and_then(|at| self.counts.get_mut(at).zip(self.holders.get_mut(at))) else {
            return self.push(Prefix::new(path, len, column));
        };
        *count = Count::from_number(*count).up().number();
        *holders = holders.with(column);
        true
    }

    /// Removes a rule of a prefix, and the prefix if it was the last: then, how many prefixes are left.
    pub(super) fn release(&mut self, path: P, len: u8) -> Option<usize> {
        let at = self.position(path, len)?;
        // Before anything is written: what was written in parts is not soon read as a whole.
        let last = self.len().checked_sub(1)?;
        let count = self.counts.get_mut(at)?;
        let left = Count::from_number(*count).down();
        *count = left.number();
        if left.rules() > 0 {
            return None;
        }
        // The last takes its place, and leaves nothing behind: a place without a prefix is compared as others are.
        (self.paths[at], self.paths[last]) = (self.paths[last], P::default());
        (self.counts[at], self.counts[last]) = (self.counts[last], 0);
        (self.holders[at], self.holders[last]) = (self.holders[last], C::default());
        Some(last)
    }
}

impl<P: Path, C: Holders> Vacancy for Bucket<P, C> {
    fn vacant(next: u32) -> Self {
        let mut bucket = Self::default();
        bucket.counts[0] = next;
        bucket
    }

    fn next(&self) -> u32 {
        self.counts[0]
    }
}
