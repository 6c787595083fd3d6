//! Lists that grow and are never copied as a whole, so that no addition waits for that.
//!
//! Few items are in a vector that grows as any does, so that a small table is small. When it has as many as it may, it
//! becomes the first of the segments, each twice as large as the one before. A segment is allocated whole when its first
//! item comes, and not touched; its items stay where they are until the list goes. So a list takes the memory of a vector
//! that doubles, a segment is found by the position of the leading bit of a number, and the list of segments stays within
//! a cache line or two.
//!
//! Where an item is depends on how many there are, not on its number: a processor guesses the way, and needs to wait for
//! no number that is still in memory.

use alloc::vec::Vec;

/// How many items the first vector has, as a logarithm.
const FIRST_LOG2: u32 = if cfg!(test) { 2 } else { 10 };
const FIRST: usize = 1 << FIRST_LOG2;

/// Runs of `stride` items, by number. The stride is the caller's to remember, and always the same.
#[derive(Debug)]
pub(crate) struct Segments<T> {
    /// All there are, while there are no segments.
    few: Vec<T>,
    segments: Vec<Vec<T>>,
    len: usize,
}

/// The segment of a run, and the place in it.
#[inline(always)]
const fn locate(index: usize) -> (usize, usize) {
    let number = index.wrapping_add(FIRST);
    // It runs over where no list is so long.
    let log2 = match number.checked_ilog2() {
        Some(log2) => log2,
        None => 0,
    };
    (log2.wrapping_sub(FIRST_LOG2) as usize, number ^ 1 << log2)
}

impl<T> Segments<T> {
    pub(crate) const fn new() -> Self {
        Self { few: Vec::new(), segments: Vec::new(), len: 0 }
    }

    /// The number of runs.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let items: usize = self.segments.iter().map(Vec::capacity).sum();
        (self.few.capacity() + items) * size_of::<T>() + self.segments.capacity() * size_of::<Vec<T>>()
    }

    /// The item with a number, of a list whose stride is 1.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        if self.segments.is_empty() {
            return self.few.get(index);
        }
        let (segment, at) = locate(index);
        self.segments.get(segment)?.get(at)
    }

    /// As [`get`](Self::get).
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        if self.segments.is_empty() {
            return self.few.get_mut(index);
        }
        let (segment, at) = locate(index);
        self.segments.get_mut(segment)?.get_mut(at)
    }

    /// A run.
    #[inline(always)]
    pub(crate) fn run(&self, index: usize, stride: usize) -> Option<&[T]> {
        if self.segments.is_empty() {
            return self.few.get(index * stride..)?.get(..stride);
        }
        let (segment, at) = locate(index);
        self.segments.get(segment)?.get(at * stride..)?.get(..stride)
    }

    /// As [`run`](Self::run).
    pub(crate) fn run_mut(&mut self, index: usize, stride: usize) -> Option<&mut [T]> {
        let (items, at) = if self.segments.is_empty() {
            (&mut self.few, index)
        } else {
            let (segment, at) = locate(index);
            (self.segments.get_mut(segment)?, at)
        };
        items.get_mut(at * stride..)?.get_mut(..stride)
    }

    /// Adds a run of as many items as the stride.
    pub(crate) fn push(&mut self, run: impl IntoIterator<Item = T>, stride: usize) {
        let index = self.len;
        if index < FIRST {
            self.few.extend(run);
        } else {
            if self.segments.is_empty() {
                self.segments.push(core::mem::take(&mut self.few));
            }
            let (segment, _) = locate(index);
            if self.segments.len() <= segment {
                self.segments.push(Vec::with_capacity((FIRST << segment) * stride));
            }
            if let Some(items) = self.segments.get_mut(segment) {
                items.extend(run);
            }
        }
        self.len += 1;
    }
}

impl<T: Clone> Clone for Segments<T> {
    /// With the room that there is: an addition to the copy waits no longer than one to the original.
    fn clone(&self) -> Self {
        let copy = |items: &Vec<T>| {
            let mut copy = Vec::with_capacity(items.capacity());
            copy.extend_from_slice(items);
            copy
        };
        Self { few: copy(&self.few), segments: self.segments.iter().map(copy).collect(), len: self.len }
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST, Segments, locate};
    use alloc::vec::Vec;

    #[test]
    fn segments_follow_one_another_without_a_gap() {
        let mut expected = (0, 0);
        for index in 0..100 * FIRST {
            assert_eq!(locate(index), expected, "{index}");
            let is_last = expected.1 + 1 == FIRST << expected.0;
            expected = if is_last { (expected.0 + 1, 0) } else { (expected.0, expected.1 + 1) };
        }
    }

    #[test]
    fn runs_are_where_they_were_put_and_stay_there() {
        for stride in 1..4 {
            let mut list = Segments::new();
            let run = |n: usize| (0..stride).map(move |i| n * 10 + i);
            let mut places = Vec::new();
            for n in 0..20 * FIRST {
                assert_eq!(list.run(n, stride), None);
                list.push(run(n), stride);
                if n >= FIRST {
                    places.push((n, list.run(n, stride).map(<[_]>::as_ptr)));
                }
            }
            let copy = list.clone();
            assert_eq!((copy.len(), copy.heap_bytes() >= 20 * FIRST * stride * 8), (20 * FIRST, true));
            for list in [&list, &copy] {
                assert!(
                    (0..20 * FIRST).all(|n| list.run(n, stride).is_some_and(|items| items.iter().copied().eq(run(n))))
                );
                assert_eq!((list.run(20 * FIRST, stride), list.run(usize::MAX / 8, stride)), (None, None));
            }
            assert!(places.iter().all(|(n, place)| list.run(*n, stride).map(<[_]>::as_ptr) == *place));
        }
    }

    #[test]
    fn items_are_runs_of_one() {
        let mut list = Segments::new();
        (0..10 * FIRST).for_each(|n| list.push([n], 1));
        for n in 0..10 * FIRST {
            assert_eq!(list.get(n), Some(&n));
            *list.get_mut(n).unwrap() += 1;
            assert_eq!(list.run_mut(n, 1), Some(&mut [n + 1][..]));
        }
        assert_eq!(list.get(10 * FIRST), None);
        assert_eq!(list.get_mut(10 * FIRST), None);
    }
}
