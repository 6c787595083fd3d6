//! The classifier without priorities: a datapath's cache of megaflows.
//!
//! A megaflow is a pattern and what the slow path decided for every packet it matches. Megaflows that match a
//! common key were cut from the same decision, so the first one found is as good as any: no priorities, no stages,
//! no wildcards, and the masks may be probed in whatever order finds most keys soonest.
//!
//! # Where a megaflow is
//!
//! - Every megaflow has a slot, with the values of its first block beside it, and the number of its mask.
//! - Lookups find the slot by [tuples], which megaflows of near-equal masks share: one pipeline's masks
//!   are a few tuples, often one, however many they are.
//! - What suits no tuple is in the subtable of its mask; there the [guards](crate::guards) leave each key a subtable
//!   or two, whatever the number of masks. This is where an explosion of masks ends.
//! - In front of both may be a [cache], which is tried where a key would otherwise be looked for in several places.
//!
//! A slot that any of them tells is a guess, which counts if the megaflow's values under its mask are the key's.
//!
//! # How
//!
//! The unit is the batch, and its work is done in passes over the keys: hash all and ask for the lines of the index;
//! read those and ask for the megaflows; compare. So what one key waits for in memory is on its way for the others.

mod block;
mod cache;
mod index;
mod lookup;
mod tuples;
mod update;

use crate::arena::{Arena, CAPACITY, Handle};
use crate::entries::Entries;
use crate::guards::Guards;
use crate::hash::WordHash;
use crate::layout::Layout;
use crate::pattern::Pattern;
use crate::rows::Rows;
use crate::simd::{Kernels, Level, Portable};
use crate::subtables::Subtables;
use alloc::vec::Vec;
use block::{Block, BlockMask, Secrets};
use cache::Cache;
use core::fmt;
use core::num::NonZeroU32;
use index::NIL;
use tuples::Tuple;

/// Finds the pattern that matches a key, where at most one answer per key is right.
///
/// `R` is the caller's payload per megaflow; `W` the number of words of a key.
///
/// # Contract
///
/// Megaflows that match a common key must be interchangeable for it. The table does not check this: of several, it
/// finds the one whose mask is probed first, and [`rank`](Self::rank) changes which that is.
///
/// # Bound
///
/// Traffic fills this table: give it a [limit](Self::with_limit), and evict with [`retain`](Self::retain) or
/// [`remove_handle`](Self::remove_handle). A lookup probes at most eight hash tables that near-equal masks share, and
/// behind them the masks that have a megaflow with the key's value in each of the fields that most masks have, by
/// [layout](Self::with_layout): one or two, whatever the number of masks, unless someone chooses megaflows that agree in
/// all of them. At worst it probes as many as there are masks. Under 8,192 masks made to be many (`CVE-2019-25076`), a
/// lookup reads some rows of 64 guards and probes less than 128 of them: a thousand times what one mask costs. With a
/// [cache](Self::with_cache) that is what the attacker's packets cost; a flow whose packets come again costs a look
/// into the cache, and stays there.
///
/// # Example
///
/// ```
/// use ovs_classifier::{MegaflowTable, Pattern};
///
/// let mut cache = MegaflowTable::with_seed(0x5eed);
/// cache.insert(&Pattern::new([0x0a00_0001, 0], [0xffff_ffff, 0]), ("output:2", 0))?;
///
/// let keys = [[0x0a00_0001, 80], [0x0a00_0002, 80], [0x0a00_0001, 443]];
/// let mut found = [None; 3];
/// cache.lookup_batch(&keys.each_ref(), &mut found);
/// for handle in found.into_iter().flatten() {
///     if let Some((_, packets)) = cache.get_mut(handle) {
///         *packets += 1;
///     }
/// }
/// assert_eq!(cache.lookup(&keys[0]), Some(&mut ("output:2", 2)));
/// assert_eq!(found[1], None);
/// # Ok::<(), ovs_classifier::TableFull>(())
/// ```
#[derive(Clone)]
pub struct MegaflowTable<R, const W: usize> {
    level: Level,
    layout: Layout<W>,
    limit: usize,
    hash: WordHash,
    secrets: Secrets,
    /// The payloads, by slot.
    megaflows: Arena<R>,
    /// By slot, what a lookup reads of a megaflow. Beside it, the values in the first block of the mask.
    labels: Vec<Label>,
    firsts: Vec<Block>,
    /// By slot, what else there is to know of a megaflow.
    remnants: Vec<Remnant>,
    masks: Arena<Mask>,
    by_mask: Rows,
    cache: Cache,
    tuples: Vec<Tuple>,
    subtables: Subtables<Hits, W>,
    guards: Guards,
    /// The columns of the subtables, in the order of probing where there are no guards.
    order: Vec<u32>,
    lookups: u64,
    hits: u64,
    cached: u64,
    probes: u64,
}

/// What a megaflow table keeps per subtable: the hits since the last ranking and half of those before.
#[derive(Clone, Copy, Debug, Default)]
struct Hits(u64);

/// What a lookup needs to know of a slot.
#[derive(Clone, Copy, Debug)]
struct Label {
    /// The number of the megaflow's mask; [`NIL`] where there is no megaflow.
    mask: u32,
    /// That of the megaflow's handle.
    generation: NonZeroU32,
}

const _: () = assert!(size_of::<Label>() == 8);

impl Label {
    const NONE: Self = Self { mask: NIL, generation: NonZeroU32::MIN };

    /// The handle of the megaflow in this slot, which is there.
    #[inline(always)]
    fn handle(self, slot: u32) -> Handle {
        Handle::new(slot, self.generation)
    }
}

/// A mask, and what the megaflows that have it have beyond its first block.
#[derive(Clone)]
struct Mask {
    bits: BlockMask,
    /// The hash of the mask.
    hash: u64,
    rest: Entries,
    megaflows: usize,
}

/// What few lookups need to know of a megaflow. Apart from its payload, which is the caller's to put in lines of memory.
#[derive(Clone, Copy, Debug, Default)]
struct Remnant {
    /// The place of its values beyond the first block, where the mask has more than one.
    rest: u32,
    /// Its row, if it is in no tuple.
    seat: Option<Seat>,
}

/// Where a megaflow is that is in no tuple: the column of its subtable, and the place there.
#[derive(Clone, Copy, Debug)]
struct Seat {
    column: u32,
    place: u32,
}

/// A megaflow, by reference.
pub struct Megaflow<'a, R, const W: usize> {
    mask: &'a BlockMask,
    first: &'a Block,
    rest: &'a [u64],
    payload: &'a R,
}

impl<R, const W: usize> Clone for Megaflow<'_, R, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, const W: usize> Copy for Megaflow<'_, R, W> {}

/// How large a [`MegaflowTable`] is, and what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MegaflowStats {
    /// The number of megaflows.
    pub megaflows: usize,
    /// The number of distinct masks.
    pub masks: usize,
    /// The heap memory in use, in bytes: megaflows, rows and masks at the capacity allocated for them, without the
    /// allocator's overhead and what payloads point to.
    pub bytes: usize,
    /// Keys looked up since the table was made, one by one or in batches.
    pub lookups: u64,
    /// Keys among them that found a megaflow.
    pub hits: u64,
    /// Keys among those that the [cache](MegaflowTable::with_cache) found.
    pub cached: u64,
    /// Hash tables probed for the others: of several masks together, or of one. `probes / lookups` is the mean cost of a
    /// lookup.
    pub probes: u64,
}

impl<'a, R, const W: usize> Megaflow<'a, R, W> {
    /// The pattern, expanded to full width: not for the packet path.
    #[must_use]
    pub fn pattern(&self) -> Pattern<W> {
        Pattern::new(self.mask.scatter(self.first, self.rest), self.mask.expand())
    }

    /// What the caller keeps with the megaflow.
    #[must_use]
    pub const fn payload(&self) -> &'a R {
        self.payload
    }

    /// Whether the megaflow matches a key.
    #[inline]
    #[must_use]
    pub fn matches(&self, key: &[u64; W]) -> bool {
        self.mask.matches(key, self.first, self.rest)
    }
}

impl Mask {
    /// Counts a megaflow in, by a key that it matches, and returns the place of its values beyond the first block.
    fn add<const W: usize>(&mut self, key: &[u64; W]) -> u32 {
        self.megaflows += 1;
        match self.bits.rest() {
            [] => 0,
            _ => self.rest.insert(self.bits.gather_rest(key).into_iter()),
        }
    }

    /// Whether a key has the values of a place beyond the first block.
    #[inline(always)]
    fn matches_rest<const W: usize>(&self, place: u32, key: &[u64; W]) -> bool {
        let Some(rest) = self.rest.get(place) else { return false };
        self.bits.matches_rest(key, rest)
    }

    /// Counts a megaflow out.
    fn remove(&mut self, rest: u32) {
        self.megaflows -= 1;
        if !self.bits.rest().is_empty() {
            self.rest.remove(rest);
        }
    }
}

impl<R, const W: usize> MegaflowTable<R, W> {
    /// An empty table with a fixed seed: every run is the same.
    #[must_use]
    pub fn new() -> Self {
        Self::with_seed(0)
    }

    /// An empty table whose hashes start from `seed`.
    ///
    /// Who sends packets chooses the patterns of this table. A seed that senders do not know keeps them from
    /// choosing patterns that collide.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self::with_layout(&Layout::flat(), seed)
    }

    /// As [`with_seed`](Self::with_seed), and the fields of a layout tell which masks a key need not be probed for.
    #[must_use]
    pub fn with_layout(layout: &Layout<W>, seed: u64) -> Self {
        let hash = WordHash::new(seed);
        Self {
            level: Level::best(),
            layout: *layout,
            limit: CAPACITY,
            hash,
            secrets: Secrets::new::<W>(hash),
            megaflows: Arena::new(),
            labels: Vec::new(),
            firsts: Vec::new(),
            remnants: Vec::new(),
            masks: Arena::new(),
            by_mask: Rows::default(),
            cache: Cache::new(0),
            tuples: Vec::new(),
            subtables: Subtables::new(hash),
            guards: Guards::new(layout, hash, false),
            order: Vec::new(),
            lookups: 0,
            hits: 0,
            cached: 0,
            probes: 0,
        }
    }

    /// The table with a limit on its megaflows.
    #[must_use]
    pub fn with_limit(self, megaflows: usize) -> Self {
        Self { limit: megaflows.min(CAPACITY), ..self }
    }

    /// The table with a cache in front of it, for as many flows as given: of keys that no megaflow tells apart, one.
    ///
    /// It takes 16 bytes for each flow that there is, up to `flows`, and is tried where a key might have to be looked for
    /// in several hash tables. What it finds is checked, so it changes what a lookup costs and nothing else.
    #[must_use]
    pub fn with_cache(self, flows: usize) -> Self {
        Self { cache: Cache::new(flows), ..self }
    }

    /// The number of megaflows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.megaflows.len()
    }

    /// Whether there is no megaflow.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.megaflows.len() == 0
    }

    /// The number of distinct masks.
    #[must_use]
    pub fn mask_count(&self) -> usize {
        self.masks.len()
    }

    /// The megaflow that matches a key, without counting a lookup: for traces and for the control path.
    #[must_use]
    pub fn find(&self, key: &[u64; W]) -> Option<Handle> {
        let shared = self.tuples.iter().find_map(|tuple| {
            let mut slots = tuple.index.all(tuple.mask.hash(Portable, &self.secrets, key));
            slots.find(|slot| self.matching(Portable, *slot, key).is_some())
        });
        let alone = || self.open_columns(key).find_map(|column| self.subtables.get(column)?.find(key));
        self.megaflows.handle(shared.or_else(|| Some(alone()?.1))?)
    }

    /// The megaflow with exactly this pattern.
    #[must_use]
    pub fn find_exact(&self, pattern: &Pattern<W>) -> Option<Handle> {
        let mask = self.find_mask(pattern)?;
        let key = pattern.key();
        let is_it = |slot: &u32| self.mask_of(*slot) == Some(mask) && self.matching(Portable, *slot, key).is_some();
        let shared = |tuple: &Tuple| tuple.index.all(tuple.mask.hash(Portable, &self.secrets, key)).find(is_it);
        let shared = self.tuples.iter().find_map(shared);
        let alone = || {
            let column = if self.order.is_empty() { None } else { self.subtables.find(pattern) };
            Some(self.subtables.get(column?)?.find(key)?.1)
        };
        self.megaflows.handle(shared.or_else(alone)?)
    }

    /// The number of a pattern's mask, if a megaflow has it.
    fn find_mask(&self, pattern: &Pattern<W>) -> Option<u32> {
        let is_it = |mask| self.masks.get(mask).is_some_and(|mask| mask.bits.is_of(pattern));
        self.by_mask.find(pattern.mask_hash(self.hash), is_it).map(|(mask, _)| mask)
    }

    /// The megaflow of a handle, unless it has been removed.
    #[inline]
    #[must_use]
    pub fn get(&self, handle: Handle) -> Option<Megaflow<'_, R, W>> {
        self.megaflow(self.resolve(handle)?)
    }

    /// The slot of a handle, unless it is stale. The arena knows it too, in a line that no lookup has read.
    #[inline(always)]
    fn resolve(&self, handle: Handle) -> Option<u32> {
        let label = self.labels.get(handle.index() as usize)?;
        (label.mask != NIL && label.handle(handle.index()) == handle).then_some(handle.index())
    }

    #[inline(always)]
    fn megaflow(&self, slot: u32) -> Option<Megaflow<'_, R, W>> {
        let (payload, first) = (self.megaflows.get(slot)?, self.firsts.get(slot as usize)?);
        let mask = self.masks.get(self.mask_of(slot)?)?;
        let rest =
            if mask.bits.rest().is_empty() { &[] } else { mask.rest.get(self.remnants.get(slot as usize)?.rest)? };
        Some(Megaflow { mask: &mask.bits, first, rest, payload })
    }

    /// The number of the mask of the megaflow in a slot.
    #[inline(always)]
    fn mask_of(&self, slot: u32) -> Option<u32> {
        self.labels.get(slot as usize).map(|label| label.mask)
    }

    /// The handle of the megaflow in a slot, if there is one that matches a key.
    #[inline(always)]
    fn matching(&self, kernels: impl Kernels, slot: u32, key: &[u64; W]) -> Option<Handle> {
        let label = self.labels.get(slot as usize)?;
        let (mask, first) = (self.masks.get(label.mask)?, self.firsts.get(slot as usize)?);
        let is_match = mask.bits.matches_first(kernels, key, first)
            && (mask.bits.rest().is_empty() || self.matches_rest(slot, mask, key));
        is_match.then(|| label.handle(slot))
    }

    /// Whether a key has the values of the megaflow in a slot beyond the first block.
    #[inline]
    fn matches_rest(&self, slot: u32, mask: &Mask, key: &[u64; W]) -> bool {
        self.remnants.get(slot as usize).is_some_and(|remnant| mask.matches_rest(remnant.rest, key))
    }

    /// The megaflows with their handles, in the order of their insertion.
    ///
    /// A megaflow that replaced another has its place.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, Megaflow<'_, R, W>)> {
        self.megaflows.iter().filter_map(|(handle, _)| Some((handle, self.megaflow(handle.index())?)))
    }

    /// The distinct masks, each with the number of its megaflows; oldest first.
    pub fn masks(&self) -> impl Iterator<Item = ([u64; W], usize)> {
        self.masks.iter().map(|(_, mask)| (mask.bits.expand(), mask.megaflows))
    }

    /// How many hash tables were probed for all lookups so far, as in [`MegaflowStats::probes`].
    #[must_use]
    pub const fn probes(&self) -> u64 {
        self.probes
    }

    /// How large the table is, and what it has done.
    ///
    /// Visits every mask.
    #[must_use]
    pub fn stats(&self) -> MegaflowStats {
        MegaflowStats {
            megaflows: self.len(),
            masks: self.mask_count(),
            bytes: self.megaflows.heap_bytes()
                + self.firsts.capacity() * size_of::<Block>()
                + self.labels.capacity() * size_of::<Label>()
                + self.remnants.capacity() * size_of::<Remnant>()
                + self.masks.heap_bytes()
                + self.masks.iter().map(|(_, mask)| mask.bits.heap_bytes() + mask.rest.heap_bytes()).sum::<usize>()
                + self.by_mask.heap_bytes()
                + self.cache.heap_bytes()
                + self.tuples.iter().map(Tuple::heap_bytes).sum::<usize>()
                + self.subtables.heap_bytes()
                + self.guards.heap_bytes()
                + self.order.capacity() * size_of::<u32>(),
            lookups: self.lookups,
            hits: self.hits,
            cached: self.cached,
            probes: self.probes,
        }
    }
}

impl<R, const W: usize> Default for MegaflowTable<R, W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: fmt::Debug, const W: usize> fmt::Debug for MegaflowTable<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<R: fmt::Debug, const W: usize> fmt::Debug for Megaflow<'_, R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Megaflow").field("pattern", &self.pattern()).field("payload", self.payload).finish()
    }
}
