//! Lookups that count: one key, a batch of keys, and the ranking that follows from the counts.

use super::MegaflowTable;
use crate::arena::Handle;
use crate::guards::{MIDDLE, NARROW, Picked, WIDE};
use crate::simd::Job;

/// How many keys of a batch walk the masks together; longer batches are cut.
const BATCH: usize = 32;

/// A batch over few masks, to be done at the processor's level.
struct Walk<'a, R, const W: usize> {
    table: &'a mut MegaflowTable<R, W>,
    keys: &'a [&'a [u64; W]],
    found: &'a mut [Option<Handle>],
}

/// A batch over many masks.
struct Pass<'a, R, const W: usize, const N: usize> {
    table: &'a mut MegaflowTable<R, W>,
    keys: &'a [&'a [u64; W]],
    found: &'a mut [Option<Handle>],
}

impl<R, const W: usize> Job for Walk<'_, R, W> {
    type Output = usize;

    #[inline(always)]
    fn run(self) -> usize {
        self.table.walk_masks(self.keys, self.found)
    }
}

impl<R, const W: usize, const N: usize> Job for Pass<'_, R, W, N> {
    type Output = usize;

    #[inline(always)]
    fn run(self) -> usize {
        self.table.pass_guards::<N>(self.keys, self.found)
    }
}

impl<R, const W: usize> MegaflowTable<R, W> {
    /// The payload of the megaflow that matches a key; counts the lookup.
    pub fn lookup(&mut self, key: &[u64; W]) -> Option<&mut R> {
        let mut found = [None];
        self.lookup_batch(&[key], &mut found);
        let [handle] = found;
        self.get_mut(handle?)
    }

    /// Finds the megaflows that match a batch of keys, and returns how many keys found one.
    ///
    /// `found[i]` becomes the handle of the megaflow that matches `keys[i]`, or `None`. Handles rather than
    /// references, so that the caller can borrow the payloads mutably one after the other with
    /// [`get_mut`](Self::get_mut), also when two keys found the same megaflow.
    ///
    /// Batches of up to 32 keys walk the masks once. Where one slice is longer than the other, keys without a place
    /// in `found` are not looked up, and places without a key become `None`.
    pub fn lookup_batch(&mut self, keys: &[&[u64; W]], found: &mut [Option<Handle>]) -> usize {
        found.fill(None);
        let mut hits = 0;
        for (keys, found) in keys.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
            let keys = keys.get(..found.len()).unwrap_or(keys);
            hits += self.lookup_up_to_32(keys, found);
            self.lookups += keys.len() as u64;
        }
        self.hits += hits as u64;
        hits
    }

    /// `found` is all `None`, and at least as long as `keys`, of which there are at most [`BATCH`].
    fn lookup_up_to_32(&mut self, keys: &[&[u64; W]], found: &mut [Option<Handle>]) -> usize {
        let level = self.level;
        if self.guards.len() == 0 {
            return level.run(Walk { table: self, keys, found });
        }
        match self.guards.width() {
            NARROW => level.run(Pass::<_, W, NARROW> { table: self, keys, found }),
            MIDDLE => level.run(Pass::<_, W, MIDDLE> { table: self, keys, found }),
            _ => level.run(Pass::<_, W, WIDE> { table: self, keys, found }),
        }
    }

    /// Probes the masks one after the other, by rank, each for all keys that found nothing yet.
    #[inline(always)]
    fn walk_masks(&mut self, keys: &[&[u64; W]], found: &mut [Option<Handle>]) -> usize {
        let mut hashes = [0; BATCH];
        let mut open = keys.len();
        for &column in &self.order {
            if open == 0 {
                break;
            }
            let Some(subtable) = self.subtables.get_mut(column) else { continue };
            self.probes += open as u64;
            // Two passes, so that no probe stands between two hashes and none waits for its own hash.
            for ((hash, key), found) in hashes.iter_mut().zip(keys).zip(&*found) {
                if found.is_none() {
                    *hash = subtable.mask.hash(key);
                }
            }
            let before = open;
            for ((hash, key), found) in hashes.iter().zip(keys).zip(&mut *found) {
                if found.is_none()
                    && let Some((_, head)) = subtable.find_hashed(*hash, key)
                {
                    *found = self.megaflows.handle(head);
                    open -= 1;
                }
            }
            subtable.state.0 += (before - open) as u64;
        }
        keys.len() - open
    }

    /// Probes for each key the masks that the guards leave; nearly always that is one, and the megaflow is there. Each
    /// step of that is a pass over the keys, so that what one key waits for in memory is on its way for the others.
    #[inline(always)]
    fn pass_guards<const N: usize>(&mut self, keys: &[&[u64; W]], found: &mut [Option<Handle>]) -> usize {
        let mut columns = [u32::MAX; BATCH];
        for (key, column) in keys.iter().zip(&mut columns) {
            *column = self.guarded_columns::<N>(key).next().unwrap_or(u32::MAX);
        }
        let mut hashes = [0; BATCH];
        for ((key, column), hash) in keys.iter().zip(columns).zip(&mut hashes) {
            *hash = self.subtables.get(column).map_or(0, |subtable| subtable.mask.hash(key));
        }
        let mut guesses = [None; BATCH];
        for ((column, hash), guess) in columns.iter().zip(hashes).zip(&mut guesses) {
            *guess = self.subtables.get(*column).and_then(|subtable| subtable.rows.guess(hash));
        }
        let mut heads = [None; BATCH];
        for ((key, column), (guess, head)) in keys.iter().zip(columns).zip(guesses.into_iter().zip(&mut heads)) {
            let subtable = self.subtables.get(column).zip(guess);
            *head = subtable.and_then(|(subtable, (place, head))| subtable.holds(place, key).then_some(head));
        }
        let mut hits = 0;
        for ((key, column), (head, found)) in keys.iter().zip(columns).zip(heads.into_iter().zip(found)) {
            if column == u32::MAX {
                continue;
            }
            self.probes += 1;
            let hit = match head {
                Some(head) => Some((column, head)),
                None => self.probe_open(key),
            };
            if let Some((column, head)) = hit {
                *found = self.megaflows.handle(head);
                hits += 1;
                if let Some(subtable) = self.subtables.get_mut(column) {
                    subtable.state.0 += 1;
                }
            }
        }
        hits
    }

    /// Probes all masks that the guards leave for a key, of which the first has been counted.
    #[cold]
    fn probe_open(&mut self, key: &[u64; W]) -> Option<(u32, u32)> {
        let mut probes = 0;
        let hit = self.open_columns(key).find_map(|column| {
            probes += 1;
            Some((column, self.subtables.get(column)?.find(key)?.1))
        });
        self.probes += probes - 1;
        hit
    }

    /// The columns of the masks that the guards leave for a key; all of them, by rank, where there are no guards.
    #[inline]
    pub(super) fn open_columns<'a>(&'a self, key: &'a [u64; W]) -> impl Iterator<Item = u32> + 'a {
        let guarded = self.guards.len() > 0;
        let ranked = if guarded { Default::default() } else { self.order.as_slice() };
        let is = |width| guarded && self.guards.width() == width;
        let narrow = is(NARROW).then(|| self.guarded_columns::<NARROW>(key));
        let middle = is(MIDDLE).then(|| self.guarded_columns::<MIDDLE>(key));
        let wide = is(WIDE).then(|| self.guarded_columns::<WIDE>(key));
        let guarded =
            narrow.into_iter().flatten().chain(middle.into_iter().flatten()).chain(wide.into_iter().flatten());
        ranked.iter().copied().chain(guarded)
    }

    #[inline(always)]
    fn guarded_columns<'a, const N: usize>(&'a self, key: &'a [u64; W]) -> impl Iterator<Item = u32> + 'a {
        let words = self.guards.words();
        let (mut next, mut open) = (0, [0u64; N]);
        core::iter::from_fn(move || {
            loop {
                if let Some((word, columns)) = open.iter_mut().enumerate().find(|(_, columns)| **columns != 0) {
                    let column = (next - N + word) * 64 + columns.trailing_zeros() as usize;
                    *columns &= *columns - 1;
                    return Some(column as u32);
                }
                if next >= words {
                    return None;
                }
                open = Picked::<W, N>::new(&self.guards, key, next).open(1);
                next += N;
            }
        })
    }

    /// Orders the masks by their recent hits, so that later lookups probe the busiest first, where they are few.
    ///
    /// Call it now and then, say once a second: it sorts, and it halves the counts so that old traffic fades. Masks
    /// with as many hits keep their order.
    ///
    /// ```
    /// use ovs_classifier::{MegaflowTable, Pattern};
    ///
    /// let mut cache = MegaflowTable::new();
    /// cache.insert(&Pattern::new([1, 0], [0xff, 0]), "idle")?;
    /// cache.insert(&Pattern::new([0, 1], [0, 0xff]), "busy")?;
    /// cache.lookup(&[0, 1]);
    /// assert_eq!(cache.stats().probes, 2);
    /// cache.rank();
    /// cache.lookup(&[0, 1]);
    /// assert_eq!(cache.stats().probes, 3);
    /// # Ok::<(), ovs_classifier::TableFull>(())
    /// ```
    pub fn rank(&mut self) {
        let subtables = &self.subtables;
        let hits = |column: &u32| subtables.get(*column).map_or(0, |subtable| subtable.state.0);
        self.order.sort_by_key(|column| core::cmp::Reverse(hits(column)));
        for &column in &self.order {
            if let Some(subtable) = self.subtables.get_mut(column) {
                subtable.state.0 /= 2;
            }
        }
    }
}
