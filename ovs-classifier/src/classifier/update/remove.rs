//! Rules that go.

use super::super::Classifier;
use super::super::prefixes::Values;
use super::super::trail::Trail;
use super::Sought;
use crate::arena::Handle;
use crate::pattern::Pattern;
use crate::rule::{Rule, Stored, Version};

impl<R, const W: usize> Classifier<R, W> {
    /// Removes the rule with exactly this pattern and priority that is not hidden, and returns its payload.
    pub fn remove(&mut self, pattern: &Pattern<W>, priority: i32) -> Option<R> {
        self.remove_along(pattern, priority, &mut Trail::default())
    }

    /// As [`remove`](Self::remove), like [`insert_along`](Self::insert_along).
    pub(crate) fn remove_along(&mut self, pattern: &Pattern<W>, priority: i32, trail: &mut Trail) -> Option<R> {
        let mut values = Values::default();
        self.expect_values(&mut values, pattern.key());
        let column = self.subtables.find(pattern)?;
        self.subtables.expect(column);
        let subtable = self.subtables.get(column)?;
        let sought = self.sought(column, subtable, pattern.key(), &mut values);
        self.expect(subtable, &sought);
        let guess = self.guess(subtable, &sought.hashes)?;
        self.seek(&sought, subtable, trail);
        let is_right = subtable.holds(guess.0, sought.key);
        let (_, head) = if is_right { guess } else { subtable.find_hashed(sought.hashes.whole, sought.key)? };
        let is_it = |rule: &Stored<R>| rule.priority == priority && rule.is_visible_at(Version::LAST);
        let (slot, _) = self.chain(head).find(|(_, rule)| is_it(rule))?;
        self.remove_from(slot, &sought, head, trail)
    }

    /// Removes the rule of a handle, and returns its payload.
    ///
    /// It is gone from every version. To remove it from a version on, [`hide`](Self::hide) it.
    pub fn remove_handle(&mut self, handle: Handle) -> Option<R> {
        self.remove_handle_along(handle, &mut Trail::default())
    }

    /// As [`remove_handle`](Self::remove_handle), like [`insert_along`](Self::insert_along).
    pub(crate) fn remove_handle_along(&mut self, handle: Handle, trail: &mut Trail) -> Option<R> {
        self.remove_slot(self.rules.resolve(handle)?, trail)
    }

    /// Removes the rule that the same change removed from another copy, whose pattern matches a key.
    #[cfg(feature = "std")]
    pub(crate) fn remove_again(&mut self, key: &[u64; W], trail: &mut Trail) {
        if let Some(sought) = self.sought_again(key, &mut Values::default(), trail) {
            self.subtables.expect(sought.column);
            self.remove_sought(trail.slot, trail.place, &sought, trail);
        }
    }

    /// Removes the rules for which `keep` returns false; asks in the order of insertion.
    pub fn retain(&mut self, mut keep: impl FnMut(Rule<'_, R, W>) -> bool) {
        let mut next = self.rules.first();
        while let Some(slot) = next {
            next = self.rules.after(slot);
            if self.rule(slot).is_some_and(|rule| !keep(rule)) {
                self.remove_slot(slot, &mut Trail::default());
            }
        }
    }

    fn remove_slot(&mut self, slot: u32, trail: &mut Trail) -> Option<R> {
        let (column, place) = self.rules.get(slot).map(|rule| (rule.column.get(), rule.place))?;
        let subtable = self.subtables.get(column)?;
        let key = subtable.mask.scatter(subtable.entries.get(place)?);
        let mut values = Values::default();
        self.expect_values(&mut values, &key);
        let sought = self.sought(column, subtable, &key, &mut values);
        self.remove_sought(slot, place, &sought, trail)
    }

    /// Removes the rule in a slot, whose pattern is at a place.
    fn remove_sought(&mut self, slot: u32, place: u32, sought: &Sought<'_, W>, trail: &mut Trail) -> Option<R> {
        let (_, head) = self.subtables.get(sought.column)?.rows.find(sought.hashes.whole, |other| other == place)?;
        self.remove_from(slot, sought, head, trail)
    }

    /// Removes the rule in a slot, whose pattern is that of the chain from `head` on.
    fn remove_from(&mut self, slot: u32, sought: &Sought<'_, W>, head: u32, trail: &mut Trail) -> Option<R> {
        let Sought { column, ref hashes, values, .. } = *sought;
        let stored = self.rules.get(slot)?;
        let (place, below) = (stored.place, stored.below);
        (trail.column, trail.slot, trail.place) = (Some(column), slot, place);
        let above = self.chain(head).take_while(|(other, _)| *other != slot).last().map(|(slot, _)| slot);
        let is_last = head == slot && below == 0;
        if is_last {
            self.seek(sought, self.subtables.get(column)?, trail);
        }
        self.rules.prefetch_beside(slot);
        let subtable = self.subtables.get_mut(column)?;
        if is_last {
            subtable.remove_hashed(hashes.whole, place);
            subtable.state.stages.remove(hashes);
            let mut places = trail.places.iter().copied();
            if let Some(ports) = &mut subtable.state.ports
                && let Some(place) = places.next()
            {
                ports.remove(values, place);
            }
            self.prefixes.remove(column, values, places);
        } else {
            match above.and_then(|above| self.rules.get_mut(above)) {
                Some(above) => above.below = below,
                None => subtable.rows.set_head(hashes.whole, place, below.saturating_sub(1)),
            }
        }
        let rule = self.rules.remove(slot)?;
        self.with_clauses -= usize::from(rule.clauses.is_some());
        let is_due = self.guards.remove();
        self.count(column, |priorities| priorities.remove(rule.priority));
        self.drop_if_empty(column);
        if is_due {
            self.guards.rebuild(&self.subtables);
        }
        Some(rule.payload)
    }
}
