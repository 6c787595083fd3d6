//! Lookups that count: one key, a batch of keys, and the ranking that follows from the counts.

use super::MegaflowTable;
use super::index::NIL;
use super::tuples::Tuple;
use crate::arena::Handle;
use crate::guards::{KeyRows, MIDDLE, NARROW, Picked, WIDE};
use crate::simd::{Job, Kernels, Portable};

/// How many keys of a batch are looked up together; longer batches are cut.
const BATCH: usize = 32;

/// So many hash tables are probed sooner than the cache is.
const NEAR: usize = 2;

/// Of so many megaflows what a lookup reads stays in the processor's caches: nothing is gained by asking for it ahead.
const CACHED: usize = 4096;

/// A batch, to be done at the processor's level.
struct Batch<'a, R, const W: usize> {
    table: &'a mut MegaflowTable<R, W>,
    keys: &'a [&'a [u64; W]],
    found: &'a mut [Option<Handle>],
}

/// What the tuples left over, with guards to ask.
struct Pass<'a, R, const W: usize, const N: usize> {
    table: &'a mut MegaflowTable<R, W>,
    keys: &'a [&'a [u64; W]],
    found: &'a mut [Option<Handle>],
}

impl<R, const W: usize> Job for Batch<'_, R, W> {
    type Output = usize;

    #[inline(always)]
    fn run<K: Kernels>(self, kernels: K) -> usize {
        self.table.search(kernels, self.keys, self.found)
    }
}

impl<R, const W: usize, const N: usize> Job for Pass<'_, R, W, N> {
    type Output = usize;

    #[inline(always)]
    fn run<K: Kernels>(self, _: K) -> usize {
        self.table.pass_guards::<N>(self.keys, self.found)
    }
}

/// The keys of a batch that found nothing yet, by their places in it.
struct Open<'a, const W: usize> {
    keys: [&'a [u64; W]; BATCH],
    places: [u8; BATCH],
    len: usize,
}

impl<'a, const W: usize> Open<'a, W> {
    /// Those of the keys that found nothing.
    #[inline(always)]
    fn missed(keys: &[&'a [u64; W]], found: &[Option<Handle>]) -> Self {
        let mut open = Self { keys: [&[0; W]; BATCH], places: [0; BATCH], len: 0 };
        for ((key, found), place) in keys.iter().zip(found).zip(0..) {
            (open.keys[open.len % BATCH], open.places[open.len % BATCH]) = (*key, place);
            open.len += usize::from(found.is_none());
        }
        open
    }

    #[inline(always)]
    fn keys(&self) -> &[&'a [u64; W]] {
        self.keys.get(..self.len).unwrap_or_default()
    }

    /// Enters what these keys found, and keeps those that found nothing.
    #[inline(always)]
    fn settle(&mut self, theirs: &[Option<Handle>; BATCH], found: &mut [Option<Handle>]) {
        let mut left = 0;
        for (i, handle) in theirs.iter().copied().enumerate().take(self.len.min(BATCH)) {
            let (key, place) = (self.keys[i], self.places[i]);
            if let Some(found) = found.get_mut(usize::from(place)) {
                *found = handle;
            }
            (self.keys[left], self.places[left]) = (key, place);
            left += usize::from(handle.is_none());
        }
        self.len = left;
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
    /// Batches of up to 32 keys are looked up together. Where one slice is longer than the other, keys without a place
    /// in `found` are not looked up, and places without a key become `None`.
    pub fn lookup_batch(&mut self, keys: &[&[u64; W]], found: &mut [Option<Handle>]) -> usize {
        let mut hits = 0;
        let mut chunks = keys.chunks(BATCH);
        for found in found.chunks_mut(BATCH) {
            let keys = chunks.next().unwrap_or_default();
            let keys = keys.get(..found.len()).unwrap_or(keys);
            let (places, beyond) = found.split_at_mut(keys.len().min(found.len()));
            hits += self.level.run(Batch { table: self, keys, found: places });
            beyond.fill(None);
            self.lookups += keys.len() as u64;
        }
        self.hits += hits as u64;
        hits
    }

    /// Enters what at most [`BATCH`] keys find, and returns how many found something.
    #[inline(always)]
    fn search(&mut self, kernels: impl Kernels, keys: &[&[u64; W]], found: &mut [Option<Handle>]) -> usize {
        let far = self.tuples.len() > NEAR || !self.order.is_empty();
        if far && self.cache.is_on() {
            return self.search_cached(kernels, keys, found);
        }
        let hits = self.probe_tuple(kernels, 0, keys, found);
        if hits == keys.len() { hits } else { self.search_missed(kernels, 1, keys, found) }
    }

    /// Tries the cache first, and notes there what is found elsewhere.
    #[inline(always)]
    fn search_cached(&mut self, kernels: impl Kernels, keys: &[&[u64; W]], found: &mut [Option<Handle>]) -> usize {
        let (mut hashes, mut slots) = ([0; BATCH], [NIL; BATCH]);
        self.cache.hash_all(kernels, &self.secrets, keys, &mut hashes);
        for ((slot, hash), _) in slots.iter_mut().zip(&hashes).zip(keys) {
            *slot = self.cache.get(kernels, *hash);
            self.prefetch(*slot);
        }
        let (mut hits, mut cached) = (0, 0u32);
        for (((found, slot), key), i) in found.iter_mut().zip(&slots).zip(keys).zip(0..) {
            *found = self.matching(kernels, *slot, key);
            hits += usize::from(found.is_some());
            cached |= u32::from(found.is_some()) << i;
        }
        self.cached += hits as u64;
        if hits == keys.len() {
            return hits;
        }
        let hits = self.search_missed(kernels, 0, keys, found);
        for ((hash, found), i) in hashes.iter().zip(found).zip(0..) {
            if let Some(handle) = found.filter(|_| cached >> i & 1 == 0) {
                self.cache.note(*hash, handle.index());
            }
        }
        hits
    }

    /// Probes the tuples by rank from one on, and behind them the subtables, for the keys that found nothing. Returns how
    /// many keys have found something then.
    #[inline(always)]
    fn search_missed(
        &mut self,
        kernels: impl Kernels,
        from: usize,
        keys: &[&[u64; W]],
        found: &mut [Option<Handle>],
    ) -> usize {
        let mut open = Open::missed(keys, found);
        for at in from..self.tuples.len() {
            if open.len == 0 {
                break;
            }
            let mut theirs = [None; BATCH];
            self.probe_tuple(kernels, at, open.keys(), &mut theirs);
            open.settle(&theirs, found);
        }
        if open.len > 0 && !self.order.is_empty() {
            self.search_alone(&mut open, found);
        }
        keys.len() - open.len
    }

    /// Enters what the keys find in a tuple, in passes over them; asks in each for what the next one reads, if that is far.
    /// Returns how many keys found something.
    ///
    /// Few passes of many steps are slower: a processor has room for so many steps that wait for others, and looks no
    /// further.
    #[inline(always)]
    fn probe_tuple(
        &mut self,
        kernels: impl Kernels,
        at: usize,
        keys: &[&[u64; W]],
        found: &mut [Option<Handle>],
    ) -> usize {
        let Some(tuple) = self.tuples.get(at) else {
            found.fill(None);
            return 0;
        };
        let is_far = self.megaflows.len() > CACHED;
        let (mut hashes, mut slots) = ([0; BATCH], [NIL; BATCH]);
        tuple.mask.hash_all(kernels, &self.secrets, keys, &mut hashes);
        tuple.index.homes(&hashes, &mut slots);
        if is_far {
            for (home, _) in slots.iter().zip(keys) {
                tuple.index.prefetch(*home);
            }
        }
        tuple.index.guess_all(kernels, hashes.get(..keys.len()).unwrap_or_default(), &mut slots);
        if is_far {
            for (slot, _) in slots.iter().zip(keys) {
                self.prefetch(*slot);
            }
        }
        let many = self.firsts.len().min(self.labels.len());
        let firsts = self.firsts.get(..many).unwrap_or_default();
        let labels = self.labels.get(..many).unwrap_or_default();
        let hits = match tuple.mask.lone::<W>(&self.secrets).filter(|_| tuple.is_uniform) {
            Some(mask) => self.check_all(tuple, &hashes, &slots, keys, found, |slot, key| {
                let is_match = mask.matches(kernels, key, firsts.get(slot as usize)?);
                if is_match { Some(labels.get(slot as usize)?.handle(slot)) } else { None }
            }),
            None => self.check_all(tuple, &hashes, &slots, keys, found, |slot, key| self.matching(kernels, slot, key)),
        };
        self.probes += keys.len() as u64;
        if let Some(tuple) = self.tuples.get_mut(at) {
            tuple.hits += hits as u64;
        }
        hits
    }

    /// Enters what matches among the slots that keys may find in a tuple. Returns how many keys found something.
    ///
    /// Calls nothing in the pass over the keys, so that all it needs is in registers: the few keys whose megaflow is not
    /// the first with their hash come after it.
    #[inline(always)]
    fn check_all(
        &self,
        tuple: &Tuple,
        hashes: &[u32; BATCH],
        slots: &[u32; BATCH],
        keys: &[&[u64; W]],
        found: &mut [Option<Handle>],
        matching: impl Fn(u32, &[u64; W]) -> Option<Handle>,
    ) -> usize {
        let (mut missed, mut unsettled) = (0, 0u32);
        for (((found, slot), key), i) in found.iter_mut().zip(slots).zip(keys).zip(0..) {
            *found = matching(*slot, key);
            if found.is_none() {
                missed += 1;
                unsettled |= u32::from(*slot != NIL) << i;
            }
        }
        let hits = keys.len() - missed;
        if unsettled == 0 { hits } else { hits + self.settle(tuple, unsettled, hashes, keys, found) }
    }

    /// Probes a tuple for some of the keys, one by one. Returns how many found something.
    #[inline(never)]
    fn settle(
        &self,
        tuple: &Tuple,
        mut which: u32,
        hashes: &[u32; BATCH],
        keys: &[&[u64; W]],
        found: &mut [Option<Handle>],
    ) -> usize {
        let mut hits = 0;
        while which != 0 {
            let i = which.trailing_zeros() as usize;
            which &= which - 1;
            if let (Some(hash), Some(key), Some(found)) = (hashes.get(i), keys.get(i), found.get_mut(i)) {
                *found = tuple.index.all(*hash).find_map(|slot| self.matching(Portable, slot, key));
                hits += usize::from(found.is_some());
            }
        }
        hits
    }

    /// Asks for all of a megaflow that a lookup reads.
    #[inline(always)]
    fn prefetch(&self, slot: u32) {
        if let (Some(first), Some(label)) = (self.firsts.get(slot as usize), self.labels.get(slot as usize)) {
            crate::simd::prefetch(first);
            crate::simd::prefetch(label);
        }
        self.megaflows.prefetch(slot);
    }

    /// Looks in the subtables for what is in no tuple.
    #[inline(never)]
    fn search_alone(&mut self, open: &mut Open<'_, W>, found: &mut [Option<Handle>]) {
        let (level, mut theirs, keys) = (self.level, [None; BATCH], open.keys);
        let keys = keys.get(..open.len).unwrap_or_default();
        if self.guards.len() == 0 {
            self.walk_subtables(keys, &mut theirs);
        } else {
            match self.guards.width() {
                NARROW => level.run(Pass::<_, W, NARROW> { table: self, keys, found: &mut theirs }),
                MIDDLE => level.run(Pass::<_, W, MIDDLE> { table: self, keys, found: &mut theirs }),
                _ => level.run(Pass::<_, W, WIDE> { table: self, keys, found: &mut theirs }),
            };
        }
        open.settle(&theirs, found);
    }

    /// Probes the subtables by rank: there are few.
    fn walk_subtables(&mut self, keys: &[&[u64; W]], found: &mut [Option<Handle>; BATCH]) {
        for (key, found) in keys.iter().zip(found) {
            for &column in &self.order {
                let Some(subtable) = self.subtables.get_mut(column) else { continue };
                self.probes += 1;
                if let Some((_, head)) = subtable.find(key) {
                    (*found, subtable.state.0) = (self.megaflows.handle(head), subtable.state.0 + 1);
                    break;
                }
            }
        }
    }

    /// Probes for each key the subtables that the guards leave; nearly always that is one, and the megaflow is there.
    /// Each step of that is a pass over the keys, so that what one key waits for in memory is on its way for the others.
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

    /// Probes all subtables that the guards leave for a key, of which the first has been counted.
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

    /// The columns of the subtables that the guards leave for a key; all, by rank, where there are no guards.
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
        let (mut next, mut open, mut rows) = (0, [0u64; N], KeyRows::new());
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
                let picked = Picked::<W, N>::new(&self.guards, key, next);
                open = picked.open_noting(picked.live(), &mut rows);
                next += N;
            }
        })
    }

    /// Orders the hash tables by their recent hits, so that later lookups probe the busiest first.
    ///
    /// Call it now and then, say once a second: it sorts, and it halves the counts so that old traffic fades. Those
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
        self.tuples.sort_by_key(|tuple| core::cmp::Reverse(tuple.hits));
        self.tuples.iter_mut().for_each(|tuple| tuple.hits /= 2);
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
