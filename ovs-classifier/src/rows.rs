//! From the hash of masked words to the place of the entry that has them.
//!
//! A table of buckets, each of them one cache line of six rows. A row is a tag (16 bits of the hash), the place of the
//! values and the slot of what has them (the *head*); both live elsewhere, and the caller compares the values. So a
//! probe that finds nothing reads one line and no entry; one that finds something reads the entry while the processor
//! fetches the head, since the line tells both.
//!
//! # Invariants
//!
//! - A row is in the bucket that its hash names (its *home*), or in one of those that follow, if all between were full
//!   when it came. It stays there until it is removed or the table grows.
//! - A bucket counts the rows that passed it on the way from home to where they are. A probe ends at the first bucket
//!   that none has passed; since rows of different homes may have passed all of them, it ends where it began, too.
//! - A tag of a row is never zero; that of a free place is.
//! - Some place is free, once there are buckets: so a row that comes finds one.
//!
//! # Growth
//!
//! Few buckets grow at once. Many grow by and by, so that no insertion waits for all: first, insertions make empty
//! buckets, some each, twice as many as there are; then each empties some of the old into the new, while probes look in
//! both. The old are three quarters full when that begins, and new rows are in the new, so neither runs over before the
//! end.

use crate::simd::{lanes_equal, prefetch};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// How many rows a bucket has.
const ROWS: usize = 6;

/// So few buckets grow at once.
const FEW: usize = if cfg!(test) { 2 } else { 128 };

/// How many buckets an insertion makes, and how many it empties, while the buckets grow.
const MADE: usize = if cfg!(test) { 3 } else { 64 };
const EMPTIED: usize = 4;

/// A quarter of the places is free when buckets begin to grow; fewer rows come until there are twice as many buckets.
const _: () = assert!(2 * 4 < MADE * ROWS);

#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    table: Table,
    growth: Option<Box<Growth>>,
}

/// Buckets that are to take the place of others.
#[derive(Clone, Debug)]
struct Growth {
    larger: Table,
    /// How many of the old are empty; none before there are as many new ones as there shall be.
    emptied: usize,
}

#[derive(Clone, Debug, Default)]
struct Table {
    /// A power of two of them, or none.
    buckets: Vec<Bucket>,
    len: usize,
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Bucket {
    /// The tags of the rows; then how many rows have passed, and a lane without use.
    tags: [u16; 8],
    places: [u32; ROWS],
    heads: [u32; ROWS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// The lane in which a bucket counts those that passed.
const PASSED: usize = 6;

/// The count that is not counted on, nor back: such a bucket counts as passed for as long as the table does not grow.
const MANY: u16 = u16::MAX;

#[inline(always)]
fn tag(hash: u64) -> u16 {
    (hash >> 48) as u16 | 1
}

impl Bucket {
    /// The rows with a tag, as bits.
    #[inline(always)]
    fn with(&self, tag: u16) -> u32 {
        lanes_equal(&self.tags, tag) & ((1 << ROWS) - 1)
    }

    /// The place and the head of the row with a tag that `is_it`, by its place.
    #[inline(always)]
    fn find(&self, tag: u16, is_it: impl Fn(u32) -> bool) -> Option<(u32, u32)> {
        let mut found = self.with(tag);
        while found != 0 {
            let i = found.trailing_zeros() as usize;
            if let Some((place, head)) = self.places.get(i).zip(self.heads.get(i))
                && is_it(*place)
            {
                return Some((*place, *head));
            }
            found &= found - 1;
        }
        None
    }

    #[inline(always)]
    fn passed(&self) -> u16 {
        self.tags[PASSED]
    }

    /// The rows, with where they are; a copy, so that the bucket may change meanwhile.
    fn rows(&self) -> impl Iterator<Item = (usize, u32, u32)> + use<> {
        let rows = self.tags.into_iter().zip(self.places.into_iter().zip(self.heads)).enumerate();
        rows.filter(|(_, (tag, _))| *tag != 0).map(|(i, (_, (place, head)))| (i, place, head))
    }

    fn pass(&mut self, change: impl Fn(u16) -> u16) {
        if self.tags[PASSED] != MANY {
            self.tags[PASSED] = change(self.tags[PASSED]);
        }
    }
}

/// A few rows.
pub(crate) struct Few<'a>(&'a Table);

impl Few<'_> {
    pub(crate) fn len(&self) -> usize {
        self.0.len
    }

    /// Visits the place of each.
    #[inline(always)]
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u32)) {
        for bucket in &self.0.buckets {
            for (tag, place) in bucket.tags.iter().zip(bucket.places) {
                if *tag != 0 {
                    visit(place);
                }
            }
        }
    }
}

impl Rows {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len + self.growth.as_ref().map_or(0, |growth| growth.larger.len)
    }

    /// The rows where they are few and in one table, by their places; in no particular order.
    #[inline(always)]
    pub(crate) fn few(&self, most: usize) -> Option<Few<'_>> {
        (self.table.len <= most && self.growth.is_none()).then_some(Few(&self.table))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.len == 0 && self.growth.as_ref().is_none_or(|growth| growth.larger.len == 0)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let buckets = |table: &Table| table.buckets.capacity() * size_of::<Bucket>();
        let growth = self.growth.as_ref();
        buckets(&self.table) + growth.map_or(0, |growth| buckets(&growth.larger) + size_of::<Growth>())
    }

    /// Has the line fetched in which a probe for this hash begins.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        if let Some(bucket) = self.table.buckets.get(self.table.home(hash)) {
            prefetch(bucket);
        }
    }

    /// The place and the head of the row with this hash that `is_it`, by its place. Few probes go on where they did not
    /// begin: what those need is not kept by the others.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<(u32, u32)> {
        let home = self.table.buckets.get(self.table.home(hash))?;
        let found = home.find(tag(hash), &is_it);
        if found.is_some() || home.passed() == 0 && self.growth.is_none() {
            return found;
        }
        self.find_further(hash, is_it)
    }

    #[cold]
    #[inline(never)]
    fn find_further(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<(u32, u32)> {
        self.table.find(hash, &is_it).or_else(|| self.growing()?.larger.find(hash, &is_it))
    }

    /// The growth, once there are rows in the new buckets.
    fn growing(&self) -> Option<&Growth> {
        self.growth.as_deref().filter(|growth| growth.larger.buckets.len() >= 2 * self.table.buckets.len())
    }

    /// A row with this hash, which may be that of other words.
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> Option<(u32, u32)> {
        self.find(hash, |_| true)
    }

    /// The place and the head of all rows, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.buckets()).flat_map(|bucket| self.bucket(bucket))
    }

    /// How many buckets there are, old and new.
    pub(crate) fn buckets(&self) -> usize {
        self.table.buckets.len() + self.growing().map_or(0, |growth| growth.larger.buckets.len())
    }

    /// The place and the head of the rows in a bucket. While there are as many buckets, rows stay in theirs, or go to
    /// one that comes later.
    pub(crate) fn bucket(&self, bucket: usize) -> impl Iterator<Item = (u32, u32)> {
        let larger = || self.growing()?.larger.buckets.get(bucket - self.table.buckets.len());
        let bucket = self.table.buckets.get(bucket).or_else(larger);
        bucket.into_iter().flat_map(Bucket::rows).map(|(_, place, head)| (place, head))
    }

    /// Adds a row, whose place must not be there yet; `hash_of` tells the hash of the other rows by their places.
    pub(crate) fn insert(&mut self, hash: u64, place: u32, head: u32, hash_of: impl Fn(u32) -> u64) {
        if self.growth.is_none() && self.table.len < self.table.most() {
            return self.table.put(hash, place, head);
        }
        self.grow(hash_of);
        let growing = self.growing().is_some();
        let larger = self.growth.as_deref_mut().filter(|_| growing).map(|growth| &mut growth.larger);
        larger.unwrap_or(&mut self.table).put(hash, place, head);
    }

    /// Makes room, or goes on with that.
    fn grow(&mut self, hash_of: impl Fn(u32) -> u64) {
        let old = &mut self.table;
        let many = (old.buckets.len() * 2).max(1);
        let begin = || Box::new(Growth { larger: Table { buckets: Vec::with_capacity(many), len: 0 }, emptied: 0 });
        let growth = self.growth.get_or_insert_with(begin);
        let at_once = old.buckets.len() <= FEW;
        let larger = &mut growth.larger;
        if larger.buckets.len() < many {
            let made = if at_once { many } else { (larger.buckets.len() + MADE).min(many) };
            larger.buckets.resize(made, Bucket::default());
            if !at_once {
                return;
            }
        }
        let end = if at_once { old.buckets.len() } else { growth.emptied + EMPTIED };
        for bucket in old.buckets.iter_mut().take(end).skip(growth.emptied) {
            for (i, place, head) in bucket.rows() {
                larger.put(hash_of(place), place, head);
                old.len -= 1;
                // What has passed stays as it is: it costs a probe at worst, and the bucket goes soon.
                if let Some(tag) = bucket.tags.get_mut(i) {
                    *tag = 0;
                }
            }
        }
        growth.emptied = end;
        if end >= old.buckets.len()
            && let Some(growth) = self.growth.take()
        {
            self.table = growth.larger;
        }
    }

    /// The head of the row of a place, to change.
    pub(crate) fn head_mut(&mut self, hash: u64, place: u32) -> Option<&mut u32> {
        let (table, (bucket, i)) = match self.table.locate(hash, |other| other == place) {
            Some(found) => (&mut self.table, found),
            None => {
                let larger = &mut self.growth.as_deref_mut()?.larger;
                let found = larger.locate(hash, |other| other == place)?;
                (larger, found)
            }
        };
        table.buckets.get_mut(bucket)?.heads.get_mut(i)
    }

    pub(crate) fn set_head(&mut self, hash: u64, place: u32, head: u32) {
        if let Some(old) = self.head_mut(hash, place) {
            *old = head;
        }
    }

    pub(crate) fn remove(&mut self, hash: u64, place: u32) {
        if !self.table.remove(hash, place)
            && let Some(growth) = self.growth.as_deref_mut()
        {
            growth.larger.remove(hash, place);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.growth = None;
        self.table.buckets.fill(Bucket::default());
        self.table.len = 0;
    }
}

impl Table {
    /// The most rows: a single bucket may be full but for one; more are filled to three quarters.
    fn most(&self) -> usize {
        (self.buckets.len() * ROWS * 3 / 4).max(self.buckets.len().min(1) * (ROWS - 1))
    }

    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        hash as usize & self.buckets.len().wrapping_sub(1)
    }

    /// The bucket and the place in it of the row with this hash that `is_it`, by its place.
    #[inline(always)]
    fn locate(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<(usize, usize)> {
        let (home, tag) = (self.home(hash), tag(hash));
        let mut at = home;
        loop {
            let bucket = self.buckets.get(at)?;
            let mut found = bucket.with(tag);
            while found != 0 {
                let i = found.trailing_zeros() as usize;
                if bucket.places.get(i).is_some_and(|place| is_it(*place)) {
                    return Some((at, i));
                }
                found &= found - 1;
            }
            if bucket.passed() == 0 {
                return None;
            }
            at = (at + 1) & (self.buckets.len() - 1);
            if at == home {
                return None;
            }
        }
    }

    #[inline(always)]
    fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<(u32, u32)> {
        let (bucket, i) = self.locate(hash, is_it)?;
        let bucket = self.buckets.get(bucket)?;
        Some((*bucket.places.get(i)?, *bucket.heads.get(i)?))
    }

    /// Adds a row where there is room.
    fn put(&mut self, hash: u64, place: u32, head: u32) {
        let (mut at, last) = (self.home(hash), self.buckets.len().wrapping_sub(1));
        while let Some(bucket) = self.buckets.get_mut(at) {
            let free = bucket.with(0).trailing_zeros() as usize;
            if let (Some(tag_of), Some(place_of), Some(head_of)) = (
                bucket.tags.get_mut(free).filter(|_| free < ROWS),
                bucket.places.get_mut(free),
                bucket.heads.get_mut(free),
            ) {
                (*tag_of, *place_of, *head_of) = (tag(hash), place, head);
                self.len += 1;
                return;
            }
            bucket.pass(|passed| passed + 1);
            at = (at + 1) & last;
        }
    }

    /// Whether the row was here.
    fn remove(&mut self, hash: u64, place: u32) -> bool {
        let Some((found, i)) = self.locate(hash, |other| other == place) else { return false };
        let (mut at, last) = (self.home(hash), self.buckets.len().wrapping_sub(1));
        while at != found {
            if let Some(bucket) = self.buckets.get_mut(at) {
                bucket.pass(|passed| passed.saturating_sub(1));
            }
            at = (at + 1) & last;
        }
        if let Some(tag) = self.buckets.get_mut(found).and_then(|bucket| bucket.tags.get_mut(i)) {
            *tag = 0;
            self.len -= 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{MANY, PASSED, Rows};
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    /// Few homes and few tags, so that rows collide and pass.
    fn hash(place: u32) -> u64 {
        u64::from(place % 5) << 49 | u64::from(place % 7 / 3)
    }

    /// Found by the fuzz target `megaflow_table`: rows of both homes stand in the other's bucket, and no bucket is one
    /// that none has passed.
    #[test]
    fn a_probe_ends_where_all_buckets_were_passed() {
        let mut rows = Rows::default();
        let of_home = |place: u32| u64::from(place % 2);
        // Evens first, which run over into the other bucket; then odds, into places that evens left.
        (0..7).for_each(|n| rows.insert(of_home(2 * n), 2 * n, 0, of_home));
        assert_eq!(rows.buckets(), 2);
        rows.remove(0, 0);
        rows.remove(0, 2);
        (0..4).for_each(|n| rows.insert(of_home(2 * n + 1), 2 * n + 1, 0, of_home));
        rows.remove(0, 4);
        rows.remove(0, 6);
        (4..6).for_each(|n| rows.insert(of_home(2 * n + 1), 2 * n + 1, 0, of_home));
        assert!(rows.table.buckets.iter().all(|bucket| bucket.passed() > 0), "{rows:?}");
        assert_eq!(rows.find(0, |_| false), None);
        assert_eq!(rows.find(1, |_| false), None);
    }

    proptest! {
        #[test]
        fn finds_what_a_list_finds(changes in prop::collection::vec((any::<bool>(), 0..400u32, any::<Index>()), 0..400)) {
            let (mut rows, mut list) = (Rows::default(), Vec::<(u32, u32)>::new());
            for (n, (adds, place, index)) in (0..).zip(changes) {
                if adds && !list.iter().any(|row| row.0 == place) {
                    rows.insert(hash(place), place, n, hash);
                    list.push((place, n));
                } else if !list.is_empty() {
                    let i = index.index(list.len());
                    if adds {
                        list[i].1 = n;
                        rows.set_head(hash(list[i].0), list[i].0, n);
                    } else {
                        let (place, _) = list.swap_remove(i);
                        rows.remove(hash(place), place);
                    }
                }
                prop_assert_eq!(rows.len(), list.len());
            }
            for place in 0..400 {
                let expected = list.iter().copied().find(|row| row.0 == place);
                prop_assert_eq!(rows.find(hash(place), |other| other == place), expected);
            }
            let (mut all, mut listed): (Vec<_>, Vec<_>) = (rows.iter().collect(), list);
            all.sort_unstable();
            listed.sort_unstable();
            prop_assert_eq!(all, listed);
        }
    }

    /// Each insertion does a bounded part of growth, and what was inserted is found, changed and removed at all times.
    #[test]
    fn buckets_grow_by_and_by() {
        let (mut rows, mut growths) = (Rows::default(), 0);
        let hash = |place: u32| u64::from(place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for n in 0..if cfg!(miri) { 100 } else { 3000u32 } {
            let before = (rows.table.buckets.len(), rows.growth.as_ref().map_or(0, |g| g.emptied));
            rows.insert(hash(n), n, n, hash);
            let after = rows.growth.as_ref().map_or(0, |growth| growth.emptied);
            if before.0 > super::FEW {
                growths += usize::from(rows.growth.is_some());
                assert!(after <= before.1 + super::EMPTIED);
            }
            if n % 7 == 0 {
                rows.remove(hash(n / 2), n / 2);
                rows.insert(hash(n / 2), n / 2, 0, hash);
                rows.set_head(hash(n / 2), n / 2, n / 2);
            }
            if n % 64 == 0 || (n % 8 == 0 && rows.growth.is_some()) {
                assert!((0..=n).all(|n| rows.find(hash(n), |place| place == n) == Some((n, n))), "after {n}");
                let mut all: Vec<_> = rows.iter().map(|row| row.0).collect();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..=n));
            }
        }
        assert!(cfg!(miri) || growths > 300, "growth takes its time: {growths}");
    }

    #[test]
    fn what_was_passed_is_forgotten_when_it_goes() {
        let mut rows = Rows::default();
        (0..100).for_each(|place| rows.insert(0, place, place, |_| 0));
        (0..100).for_each(|place| rows.remove(0, place));
        assert!(rows.is_empty() && rows.table.buckets.iter().all(|bucket| bucket.tags == [0; 8]));
        rows.table.buckets[0].tags[PASSED] = MANY;
        rows.insert(0, 1, 2, |_| 0);
        assert_eq!(rows.find(0, |_| true), Some((1, 2)));
        rows.remove(0, 1);
        assert_eq!(rows.table.buckets[0].passed(), MANY);
    }
}
