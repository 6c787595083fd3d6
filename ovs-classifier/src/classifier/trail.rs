//! What a change comes upon in a table: another copy of the table has it in the same places.
//!
//! Equal changes of equal tables do the same: slots, places and nodes are given out in one order. So a change that has
//! been made in one copy is made in the other without the searches, most of which wait for memory step by step; and
//! since it is known beforehand where it goes, all that it reads can be asked for at once.

use super::prefixes::{Places, Values};
use super::update::Sought;
use super::{Classifier, State};
#[cfg(feature = "std")]
use crate::guards::Marks;
use crate::stages::Hashes;
use crate::subtables::Subtable;

/// So few rules are in the processor's caches: asking for memory ahead made their changes 4 % dearer.
const NEAR: usize = if cfg!(test) { 8 } else { 1 << 14 };

/// What a change has found; nothing, before it is made for the first time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    /// The column of the rule's mask; none if the mask was new.
    pub(crate) column: Option<u32>,
    /// In the tries that the rule is in; none, before they are looked for.
    pub(super) places: Places,
    /// Of the rule, and of its pattern in the mask's entries.
    pub(super) slot: u32,
    pub(super) place: u32,
    /// Whether what the change reads has been asked for in the copy in which it is made again.
    #[cfg(feature = "std")]
    pub(super) is_expected: bool,
}

impl<R, const W: usize> Classifier<R, W> {
    /// Sets the values by which tries know a pattern, and asks for where they look for them: its mask need not be known
    /// for that.
    #[inline(always)]
    pub(super) fn expect_values(&self, values: &mut Values, key: &[u64; W]) {
        self.prefixes.set_values(values, key, self.layout.order());
        if self.rules.len() >= NEAR {
            self.prefixes.expect(values);
        }
    }

    /// Asks for what a change of a pattern begins with: some of it is far down the line of steps that wait for one
    /// another. What has few rules is near enough.
    #[inline(always)]
    pub(super) fn expect(&self, subtable: &Subtable<State, W>, Sought { hashes, values, .. }: &Sought<'_, W>) {
        if self.rules.len() < NEAR {
            return;
        }
        subtable.rows.prefetch(hashes.whole);
        subtable.state.ports.iter().for_each(|ports| ports.expect(values));
        subtable.state.stages.expect(hashes);
    }

    /// A row that is likely to be the pattern's, by its place and head: what it leads to comes while something else is
    /// done.
    #[inline(always)]
    pub(super) fn guess(&self, subtable: &Subtable<State, W>, hashes: &Hashes) -> Option<(u32, u32)> {
        let (place, head) = subtable.rows.guess(hashes.whole)?;
        if self.rules.len() >= NEAR {
            subtable.entries.prefetch(place);
            self.rules.prefetch(head);
        }
        Some((place, head))
    }

    /// Looks for the places of a pattern in tries, if they are not known; what is there comes while something else is
    /// done.
    #[inline(always)]
    pub(super) fn seek(&self, sought: &Sought<'_, W>, subtable: &Subtable<State, W>, trail: &mut Trail) {
        let ports = subtable.state.ports.as_ref();
        let seek = |places: &mut Places| self.prefixes.seek(sought.column, ports, sought.values, places);
        if trail.places.is_empty() {
            seek(&mut trail.places);
            if self.rules.len() >= NEAR {
                self.expect_places(sought, subtable, trail);
            }
        } else if cfg!(debug_assertions) {
            let mut places = Places::new();
            seek(&mut places);
            debug_assert_eq!(places, trail.places, "the other copy has them elsewhere");
        }
    }

    /// The mask of a change that has been made in another copy, if it was known there.
    #[cfg(feature = "std")]
    pub(super) fn known(&self, trail: &Trail) -> Option<(u32, &Subtable<State, W>)> {
        Some((trail.column?, self.subtables.get(trail.column?)?))
    }

    /// Asks for all that a change of a pattern reads that has been made in another copy.
    #[cfg(feature = "std")]
    pub(super) fn expect_all(&self, sought: &Sought<'_, W>, trail: &Trail) {
        let Some(subtable) = self.subtables.get(sought.column) else { return };
        self.expect(subtable, sought);
        self.rules.prefetch(trail.slot);
        subtable.entries.prefetch(trail.place);
        self.expect_places(sought, subtable, trail);
    }

    /// Asks for the places of a pattern in tries.
    #[inline(always)]
    fn expect_places(&self, sought: &Sought<'_, W>, subtable: &Subtable<State, W>, trail: &Trail) {
        let mut places = trail.places.iter().copied();
        if let Some(ports) = &subtable.state.ports
            && let Some(place) = places.next()
        {
            ports.prefetch(place);
        }
        self.prefixes.prefetch(sought.column, places);
    }

    /// A pattern that a change was made of in another copy, by a key that it matches, if its mask was known there; what the
    /// change reads is asked for, unless that was done.
    #[cfg(feature = "std")]
    #[inline(always)]
    pub(super) fn sought_again<'a>(
        &self,
        key: &'a [u64; W],
        values: &'a mut Values,
        trail: &Trail,
    ) -> Option<Sought<'a, W>> {
        let (column, subtable) = self.known(trail)?;
        self.expect_values(values, key);
        let sought = self.sought(column, subtable, key, values);
        if !trail.is_expected {
            self.expect_all(&sought, trail);
        }
        Some(sought)
    }

    /// Asks for all that a change reads, some changes ahead: of a rule whose pattern matches this key, which `comes` or goes.
    #[cfg(feature = "std")]
    pub(crate) fn prefetch(&self, trail: &mut Trail, key: &[u64; W], comes: bool) {
        if let Some(Sought { column, .. }) = self.sought_again(key, &mut Values::default(), trail) {
            trail.is_expected = true;
            if comes {
                self.guards.seek(column, key, &mut Marks::new());
            }
        }
    }
}
