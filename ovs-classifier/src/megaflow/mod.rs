//! The classifier without priorities: a datapath's cache of megaflows.
//!
//! A megaflow is a pattern and what the slow path decided for every packet it matches. Megaflows that match a
//! common key were cut from the same decision, so the first one found is as good as any: no priorities, no stages,
//! no wildcards, and the masks may be probed in whatever order finds most keys soonest.
//!
//! The unit is the batch, and its work is done in passes over the keys, so that the loads of one pass overlap instead
//! of waiting for one another: few masks are walked once by all keys; where they are many, the
//! [guards](crate::guards) leave each key a mask or two of its own.

mod lookup;
mod update;

use crate::arena::{Arena, CAPACITY, Handle};
use crate::guards::Guards;
use crate::hash::WordHash;
use crate::layout::Layout;
use crate::pattern::Pattern;
use crate::simd::Level;
use crate::sparse::SparseMask;
use crate::subtables::Subtables;
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
/// Traffic fills this table: give it a [limit](Self::with_limit), and evict with [`retain`](Self::retain) or
/// [`remove_handle`](Self::remove_handle). A lookup probes the masks that have a megaflow with the key's value in
/// each of the fields that most masks have, by [layout](Self::with_layout): one or two, whatever the number of masks,
/// unless someone chooses megaflows that agree in all of them. At worst it probes [`mask_count`](Self::mask_count).
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
    megaflows: Arena<Stored<R>>,
    subtables: Subtables<Hits, W>,
    guards: Guards,
    /// The columns of the subtables, in the order of probing where there are no guards.
    order: Vec<u32>,
    lookups: u64,
    hits: u64,
    probes: u64,
}

/// What a megaflow table keeps per subtable: the hits since the last ranking and half of those before.
#[derive(Clone, Copy, Debug, Default)]
struct Hits(u64);

/// A megaflow as the table stores it: the mask's column, the pattern's place there, and the payload.
#[derive(Clone)]
struct Stored<R> {
    column: u32,
    place: u32,
    payload: R,
}

/// A megaflow, by reference.
pub struct Megaflow<'a, R, const W: usize> {
    mask: &'a SparseMask<W>,
    values: &'a [u64],
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
    /// Masks probed for them; `probes / lookups` is the mean cost of a lookup.
    pub probes: u64,
}

impl<'a, R, const W: usize> Megaflow<'a, R, W> {
    /// The pattern, expanded to full width: not for the packet path.
    #[must_use]
    pub fn pattern(&self) -> Pattern<W> {
        self.mask.pattern(self.values)
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
        self.mask.matches(self.values, key)
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
            megaflows: Arena::new(),
            subtables: Subtables::new(hash),
            guards: Guards::new(layout, hash, false),
            order: Vec::new(),
            lookups: 0,
            hits: 0,
            probes: 0,
        }
    }

    /// The table with a limit on its megaflows.
    #[must_use]
    pub fn with_limit(self, megaflows: usize) -> Self {
        Self { limit: megaflows.min(CAPACITY), ..self }
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
        let (_, head) = self.open_columns(key).find_map(|column| self.subtables.get(column)?.find(key))?;
        self.megaflows.handle(head)
    }

    /// The megaflow with exactly this pattern.
    #[must_use]
    pub fn find_exact(&self, pattern: &Pattern<W>) -> Option<Handle> {
        let subtable = self.subtables.get(self.subtables.find(pattern)?)?;
        let (_, head) = subtable.find(pattern.key())?;
        self.megaflows.handle(head)
    }

    /// The megaflow of a handle, unless it has been removed.
    #[inline]
    #[must_use]
    pub fn get(&self, handle: Handle) -> Option<Megaflow<'_, R, W>> {
        self.megaflow(self.megaflows.get(self.megaflows.resolve(handle)?)?)
    }

    #[inline]
    fn megaflow<'a>(&'a self, stored: &'a Stored<R>) -> Option<Megaflow<'a, R, W>> {
        let subtable = self.subtables.get(stored.column)?;
        let values = subtable.entries.get(stored.place)?;
        Some(Megaflow { mask: &subtable.mask, values, payload: &stored.payload })
    }

    /// The megaflows with their handles, in the order of their insertion.
    ///
    /// A megaflow that replaced another has its place.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, Megaflow<'_, R, W>)> {
        self.megaflows.iter().filter_map(|(handle, stored)| Some((handle, self.megaflow(stored)?)))
    }

    /// The distinct masks by [rank](Self::rank), each with the number of its megaflows.
    pub fn masks(&self) -> impl Iterator<Item = ([u64; W], usize)> {
        let subtables = self.order.iter().filter_map(|column| self.subtables.get(*column));
        subtables.map(|subtable| (subtable.mask.expand(), subtable.rows.len()))
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
                + self.subtables.heap_bytes()
                + self.guards.heap_bytes()
                + self.order.capacity() * size_of::<u32>(),
            lookups: self.lookups,
            hits: self.hits,
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
