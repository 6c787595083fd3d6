//! What a change comes upon in a table: another copy of the table has it in the same places.
//!
//! Equal changes of equal tables do the same: slots, places and nodes are given out in one order. So a change that has been
//! made in one copy is made in the other without the searches, most of which wait for memory step by step; and since it is
//! known beforehand where it goes, all that it reads can be asked for at once.

use super::Classifier;
use super::prefixes::MAX_PREFIX_FIELDS;
#[cfg(feature = "std")]
use crate::pattern::Pattern;
use crate::trie::Place;
use arrayvec::ArrayVec;

/// So few rules are in the processor's caches: asking for memory ahead made their changes 4 % dearer.
const NEAR: usize = if cfg!(test) { 8 } else { 1 << 14 };

/// What a change has found; nothing, before it is made for the first time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    /// The column of the rule's mask; none if the mask was new.
    pub(super) column: Option<u32>,
    /// In the tries that the rule is in: of its mask's ports, if there is one, then of the prefix fields.
    pub(super) places: ArrayVec<Place, { MAX_PREFIX_FIELDS + 1 }>,
    /// How many of them have been come upon this time.
    next: usize,
    /// Of the rule, and of its pattern in the mask's entries.
    slot: u32,
    place: u32,
}

impl Trail {
    /// The next places; they are sought only the first time.
    #[inline(always)]
    pub(super) fn find<const N: usize>(&mut self, seek: impl FnOnce() -> [Place; N]) -> [Place; N] {
        let from = self.next;
        self.next += N;
        match self.places.get(from..self.next).and_then(|known| known.try_into().ok()) {
            Some(known) => {
                debug_assert_eq!(known, seek(), "the other copy has them elsewhere");
                known
            }
            None => {
                let found = seek();
                let _ = self.places.try_extend_from_slice(&found);
                found
            }
        }
    }

    /// Notes the first places, if none is known.
    pub(super) fn begin<const N: usize>(&mut self, seek: impl FnOnce() -> [Place; N]) {
        if self.places.is_empty() {
            let _ = self.places.try_extend_from_slice(&seek());
        }
    }

    pub(super) fn note(&mut self, slot: u32, place: u32) {
        (self.slot, self.place) = (slot, place);
    }

    /// Back to the beginning, to make the change in another copy.
    #[cfg(feature = "std")]
    pub(crate) fn rewind(&mut self) {
        self.next = 0;
    }
}

impl<R, const W: usize> Classifier<R, W> {
    /// Asks for what a change of a pattern begins with: some of it is far down the line of steps that wait for one another.
    /// What has few rules is near enough.
    #[inline]
    pub(super) fn expect(&self, column: u32, key: &[u64; W], comes: bool) {
        if self.rules.len() < NEAR {
            return;
        }
        let (Some(subtable), order) = (self.subtables.get(column), self.layout.order()) else { return };
        subtable.rows.prefetch(subtable.mask.hash(key));
        subtable.state.stages.expect(&subtable.mask, key);
        subtable.state.ports.iter().for_each(|ports| ports.expect(key, order));
        self.prefixes.expect(column, key, order);
        if comes {
            self.guards.expect(column, key);
        }
    }

    /// Asks for all that a change reads that has been made in another copy: of a rule with this pattern, which `comes` or
    /// goes.
    #[cfg(feature = "std")]
    pub(crate) fn prefetch(&self, trail: &Trail, pattern: &Pattern<W>, comes: bool) {
        let Some((column, subtable)) = trail.column.and_then(|column| Some((column, self.subtables.get(column)?)))
        else {
            return;
        };
        self.expect(column, pattern.key(), comes);
        self.rules.prefetch(trail.slot);
        subtable.entries.prefetch(trail.place);
        let mut places = trail.places.iter().copied();
        if let Some(ports) = &subtable.state.ports
            && let Some(place) = places.next()
        {
            ports.prefetch(place);
        }
        self.prefixes.prefetch(column, places);
    }
}
