//! The classifier without priorities: a datapath's cache of megaflows.
//!
//! A megaflow is a pattern and what the slow path decided for every packet it matches. Megaflows that match a
//! common key were cut from the same decision, so the first one found is as good as any: no priorities, no stages,
//! no wildcards, and the masks may be probed in whatever order finds most keys soonest.
//!
//! The unit is the batch. A batch walks the masks once: each mask hashes all keys still open, then probes for all
//! of them, so that the hashes overlap instead of waiting for one another's memory.

mod lookup;
mod update;

use crate::arena::{Arena, Handle};
use crate::hash::WordHash;
use crate::pattern::Pattern;
use crate::sparse::SparsePattern;
use crate::subtables::{Subtable, Subtables};
use alloc::vec::Vec;
use core::fmt;

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
/// Traffic fills this table, and the table does not bound itself: its owner compares [`len`](Self::len) with its
/// flow limit before it inserts, and evicts with [`retain`](Self::retain) or [`remove_handle`](Self::remove_handle).
/// [`mask_count`](Self::mask_count) is what a lookup that misses costs.
///
/// # Example
///
/// ```
/// use ovs_classifier::{MegaflowTable, Pattern};
///
/// let mut cache = MegaflowTable::with_seed(0x5eed);
/// cache.insert(&Pattern::new([0x0a00_0001, 0], [0xffff_ffff, 0]), ("output:2", 0));
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
/// ```
#[derive(Clone)]
pub struct MegaflowTable<R, const W: usize> {
    hash: WordHash,
    megaflows: Arena<Megaflow<R, W>>,
    subtables: Subtables<Hits, W>,
    /// The slots of the subtables, in the order of probing.
    order: Vec<usize>,
    lookups: u64,
    hits: u64,
    probes: u64,
}

/// What a megaflow table keeps per subtable: the hits since the last ranking and half of those before.
#[derive(Clone, Copy, Debug, Default)]
struct Hits(u64);

/// A megaflow as iteration shows it.
#[derive(Clone)]
pub struct Megaflow<R, const W: usize> {
    sparse: SparsePattern<W>,
    subtable: usize,
    payload: R,
}

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
    /// Masks probed for them; `probes / lookups` is the mean cost of a lookup.
    pub probes: u64,
}

impl<R, const W: usize> Megaflow<R, W> {
    /// The pattern, expanded to full width: not for the packet path.
    #[must_use]
    pub fn pattern(&self) -> Pattern<W> {
        self.sparse.expand()
    }

    /// What the caller keeps with the megaflow.
    #[must_use]
    pub const fn payload(&self) -> &R {
        &self.payload
    }

    /// Whether the megaflow matches a key.
    #[must_use]
    pub fn matches(&self, key: &[u64; W]) -> bool {
        self.sparse.matches(key)
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
        let hash = WordHash::new(seed);
        Self {
            hash,
            megaflows: Arena::new(),
            subtables: Subtables::new(hash),
            order: Vec::new(),
            lookups: 0,
            hits: 0,
            probes: 0,
        }
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
        self.subtables.len()
    }

    /// The megaflow that matches a key, without counting a lookup: for traces and for the control path.
    #[must_use]
    pub fn find(&self, key: &[u64; W]) -> Option<Handle> {
        let slot = self.order.iter().find_map(|&subtable| {
            let subtable = self.subtables.get(subtable)?;
            self.probe(subtable, subtable.mask.hash(self.hash, key), key)
        })?;
        self.megaflows.handle(slot)
    }

    /// The megaflow with exactly this pattern.
    #[must_use]
    pub fn find_exact(&self, pattern: &Pattern<W>) -> Option<Handle> {
        let subtable = self.subtables.get(self.subtables.find(pattern.mask())?)?;
        let hash = subtable.mask.hash(self.hash, pattern.key());
        self.megaflows.handle(self.probe(subtable, hash, pattern.key())?)
    }

    /// The megaflow of a handle, unless it has been removed.
    #[must_use]
    pub fn get(&self, handle: Handle) -> Option<&Megaflow<R, W>> {
        self.megaflows.get(self.megaflows.resolve(handle)?)
    }

    /// The megaflows with their handles, in the order of their insertion.
    ///
    /// A megaflow that replaced another has its place.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &Megaflow<R, W>)> {
        self.megaflows.iter()
    }

    /// The distinct masks in the order in which lookups probe them, each with the number of its megaflows.
    pub fn masks(&self) -> impl Iterator<Item = ([u64; W], usize)> {
        self.order.iter().filter_map(|&slot| self.subtables.get(slot)).map(|subtable| {
            let mut mask = [0; W];
            subtable.mask.fold_into(subtable.mask.len(), &mut mask);
            (mask, subtable.rows.len())
        })
    }

    /// How large the table is, and what it has done.
    ///
    /// Visits every mask.
    #[must_use]
    pub fn stats(&self) -> MegaflowStats {
        let values = |subtable: &Subtable<Hits, W>| subtable.rows.len() * subtable.mask.len() * size_of::<u64>();
        MegaflowStats {
            megaflows: self.len(),
            masks: self.mask_count(),
            bytes: self.megaflows.heap_bytes()
                + self.subtables.heap_bytes()
                + self.order.capacity() * size_of::<usize>()
                + self.subtables.iter().map(values).sum::<usize>(),
            lookups: self.lookups,
            hits: self.hits,
            probes: self.probes,
        }
    }

    /// The slot of the megaflow in a subtable with the masked words of `key`, of which `hash` is the hash.
    #[inline]
    fn probe(&self, subtable: &Subtable<Hits, W>, hash: u64, key: &[u64; W]) -> Option<usize> {
        let is_it = |slot| self.megaflows.get(slot).is_some_and(|megaflow| megaflow.sparse.matches(key));
        subtable.rows.find(hash, is_it)
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

impl<R: fmt::Debug, const W: usize> fmt::Debug for Megaflow<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Megaflow").field("pattern", &self.pattern()).field("payload", &self.payload).finish()
    }
}
