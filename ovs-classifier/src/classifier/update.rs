//! Changes to a classifier, each of which restores what lookups rely on:
//!
//! 1. a chain holds the rules of one pattern in descending priority, and the entry of the pattern holds its head;
//! 2. stages, ports, prefix tries and guards have each pattern of a mask, whatever the number of rules with it;
//! 3. a subtable's priorities count its rules, and its rank is that of the highest of them;
//! 4. a subtable without rules is not there.

use super::prefixes::{Ports, Values};
use super::priorities::Priorities;
use super::trail::Trail;
use super::{Classifier, PLAIN, State};
use crate::arena::Handle;
use crate::error::InsertError;
use crate::guards::Marks;
use crate::pattern::Pattern;
use crate::rule::{Clause, Column, NewRule, Rule, Stored, Version};
use crate::stages::{Hashes, StageIndex};
use crate::subtables::Subtable;
use alloc::boxed::Box;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

/// What became of a rule.
enum Placed<R> {
    New(Handle),
    /// It gave its payload to another, which had this.
    Replaced(R),
}

/// A rule to be.
pub(crate) struct Coming<R> {
    pub(crate) priority: i32,
    pub(crate) payload: R,
    pub(crate) added: Version,
    pub(crate) clauses: Vec<Clause>,
}

/// A pattern of a mask that has a column.
pub(super) struct Sought<'a, const W: usize> {
    pub(super) column: u32,
    /// A key that it matches.
    pub(super) key: &'a [u64; W],
    pub(super) hashes: Hashes,
    pub(super) values: Values,
}

impl<R, const W: usize> Classifier<R, W> {
    /// Adds a rule; replaces the payload of the rule that has the same pattern and priority, and returns the old.
    ///
    /// The rule is visible at every version; where one with the same pattern and priority is hidden, from there on.
    ///
    /// # Errors
    ///
    /// If the table is full, or does not take the priority.
    ///
    /// ```
    /// use ovs_classifier::{Classifier, InsertError, Layout, Pattern};
    ///
    /// let mut table = Classifier::new(Layout::<1>::flat()).with_rule_limit(2);
    /// assert_eq!(table.insert(&Pattern::any(), 1, "a"), Ok(None));
    /// assert_eq!(table.insert(&Pattern::any(), 2, "b"), Ok(None), "another priority is another rule");
    /// assert_eq!(table.insert(&Pattern::any(), 1, "c"), Ok(Some("a")));
    /// assert_eq!(table.insert(&Pattern::any(), 3, "d"), Err(InsertError::Full { limit: 2 }));
    /// ```
    pub fn insert(&mut self, pattern: &Pattern<W>, priority: i32, payload: R) -> Result<Option<R>, InsertError> {
        self.insert_along(pattern, priority, payload, &mut Trail::default())
    }

    /// As [`insert`](Self::insert), with what the same change came upon in another copy, or to note what it comes upon.
    pub(crate) fn insert_along(
        &mut self,
        pattern: &Pattern<W>,
        priority: i32,
        payload: R,
        trail: &mut Trail,
    ) -> Result<Option<R>, InsertError> {
        let rule = Coming { priority, payload, added: Version::FIRST, clauses: Vec::new() };
        match self.put(pattern, rule, true, trail)? {
            Placed::New(_) => Ok(None),
            Placed::Replaced(old) => Ok(Some(old)),
        }
    }

    /// Adds a rule, and returns its handle.
    ///
    /// # Errors
    ///
    /// If there is a rule with the same pattern and priority that is visible at some version at which this one is; if
    /// the table is full or does not take the priority; if the rule has clauses and the layout no field for the id.
    pub fn add(&mut self, rule: NewRule<R, W>) -> Result<Handle, InsertError> {
        self.add_along(rule, &mut Trail::default())
    }

    /// As [`add`](Self::add), like [`insert_along`](Self::insert_along).
    pub(crate) fn add_along(&mut self, rule: NewRule<R, W>, trail: &mut Trail) -> Result<Handle, InsertError> {
        if !rule.clauses.is_empty() && self.layout.conjunction().is_none() {
            return Err(InsertError::NoConjunctionField);
        }
        let NewRule { pattern, priority, payload, added, clauses } = rule;
        match self.put(&pattern, Coming { priority, payload, added, clauses }, false, trail)? {
            Placed::New(handle) => Ok(handle),
            // Nothing is replaced that was not asked for.
            Placed::Replaced(_) => Err(InsertError::Full { limit: self.rule_limit }),
        }
    }

    /// Adds a rule as the same change did in another copy, where its mask was known; its pattern matches a key.
    #[cfg(feature = "std")]
    pub(crate) fn put_again(&mut self, key: &[u64; W], rule: Coming<R>, replaces: bool, trail: &mut Trail) {
        if let Some((column, subtable)) = self.known(trail) {
            let sought = self.sought(column, subtable, key);
            if !trail.is_expected {
                self.expect_all(&sought, trail);
            }
            self.subtables.expect(sought.column);
            let _ = self.put_in(&sought, rule, replaces, trail);
        }
    }

    /// The payload of the rule with exactly this pattern and priority that is not hidden, to change.
    pub fn get_mut(&mut self, pattern: &Pattern<W>, priority: i32) -> Option<&mut R> {
        let slot = self.find_exact(pattern, priority)?.handle().index();
        self.rules.get_mut(slot).map(|rule| &mut rule.payload)
    }

    /// Replaces the payload of a rule, and returns the old; `None` when the rule is no longer there.
    pub fn set_payload(&mut self, handle: Handle, payload: R) -> Option<R> {
        let rule = self.rules.get_mut(self.rules.resolve(handle)?)?;
        Some(core::mem::replace(&mut rule.payload, payload))
    }

    /// Removes the rule with exactly this pattern and priority that is not hidden, and returns its payload.
    pub fn remove(&mut self, pattern: &Pattern<W>, priority: i32) -> Option<R> {
        self.remove_along(pattern, priority, &mut Trail::default())
    }

    /// As [`remove`](Self::remove), like [`insert_along`](Self::insert_along).
    pub(crate) fn remove_along(&mut self, pattern: &Pattern<W>, priority: i32, trail: &mut Trail) -> Option<R> {
        let column = self.subtables.find(pattern)?;
        self.subtables.expect(column);
        let subtable = self.subtables.get(column)?;
        let sought = self.sought(column, subtable, pattern.key());
        self.expect(&sought);
        self.expect_row(subtable, &sought.hashes);
        self.seek(&sought, subtable, trail);
        let (_, head) = subtable.find_hashed(sought.hashes.whole, sought.key)?;
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
        let Some((column, subtable)) = self.known(trail) else { return };
        let sought = self.sought(column, subtable, key);
        if !trail.is_expected {
            self.expect_all(&sought, trail);
        }
        self.subtables.expect(sought.column);
        self.remove_sought(trail.slot, trail.place, &sought, trail);
    }

    /// Hides a rule from a version on; whether it was there and not hidden.
    pub fn hide(&mut self, handle: Handle, version: Version) -> bool {
        let rule = self.rules.resolve(handle).and_then(|slot| self.rules.get_mut(slot));
        let Some(rule) = rule.filter(|rule| rule.removed == Version::NEVER && version < Version::NEVER) else {
            return false;
        };
        rule.removed = version;
        self.hidden.entry(version).or_default().push(handle);
        true
    }

    /// Undoes [`hide`](Self::hide); whether the rule was there and hidden.
    ///
    /// # Errors
    ///
    /// If a rule with the same pattern and priority has been added since.
    pub fn show(&mut self, handle: Handle) -> Result<bool, InsertError> {
        let Some(slot) = self.rules.resolve(handle) else { return Ok(false) };
        let Some(rule) = self.rules.get(slot).filter(|rule| rule.removed != Version::NEVER) else { return Ok(false) };
        let hidden_at = rule.removed;
        let later = |(other, stored): (u32, &Stored<R>)| {
            let clashes = other != slot && stored.priority == rule.priority && stored.removed > hidden_at;
            clashes.then(|| self.rules.handle(other)).flatten()
        };
        let head = self.subtables.get(rule.column.get()).and_then(|subtable| {
            let hash = subtable.mask.hash_of_values(subtable.entries.get(rule.place)?);
            subtable.rows.find(hash, |place| place == rule.place)
        });
        if let Some(other) = head.and_then(|(_, head)| self.chain(head).find_map(later)) {
            return Err(InsertError::Duplicate(other));
        }
        if let Some(rule) = self.rules.get_mut(slot) {
            rule.removed = Version::NEVER;
        }
        if let Entry::Occupied(mut hidden) = self.hidden.entry(hidden_at) {
            hidden.get_mut().retain(|other| *other != handle);
            if hidden.get().is_empty() {
                hidden.remove();
            }
        }
        Ok(true)
    }

    /// Removes the rules that are hidden at a version, when nobody looks up at an earlier one any more; returns how
    /// many they were.
    pub fn reclaim(&mut self, version: Version) -> usize {
        let later = self.hidden.split_off(&Version(version.0.saturating_add(1)));
        let gone = core::mem::replace(&mut self.hidden, later);
        gone.into_values().flatten().filter(|handle| self.remove_handle(*handle).is_some()).count()
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

    /// Removes all rules; keeps some of the memory for the next.
    pub fn clear(&mut self) {
        self.rules.clear();
        self.subtables.clear();
        self.guards.clear();
        self.prefixes.clear();
        self.ranks.clear();
        self.ranked.clear();
        self.hidden.clear();
        self.with_clauses = 0;
    }

    /// Puts a rule in its place. One with the same pattern and priority gives way if it is not hidden and may be
    /// replaced; else none may be visible when this one is.
    fn put(
        &mut self,
        pattern: &Pattern<W>,
        rule: Coming<R>,
        replaces: bool,
        trail: &mut Trail,
    ) -> Result<Placed<R>, InsertError> {
        let (lowest, highest) = self.priorities;
        if rule.priority < lowest || rule.priority > highest {
            return Err(InsertError::Priority { priority: rule.priority, lowest, highest });
        }
        let (full, key) = (InsertError::Full { limit: self.rule_limit }, pattern.key());
        if let Some(column) = self.subtables.find(pattern) {
            self.subtables.expect(column);
            let sought = self.sought(column, self.subtables.get(column).ok_or(full)?, key);
            self.expect(&sought);
            trail.column = Some(column);
            return self.put_in(&sought, rule, replaces, trail);
        }
        if self.rules.len() >= self.rule_limit {
            return Err(full);
        }
        let column = self.add_subtable(pattern).ok_or(full)?;
        let sought = self.sought(column, self.subtables.get(column).ok_or(full)?, key);
        let placed = self.put_in(&sought, rule, replaces, trail);
        self.drop_if_empty(column);
        placed
    }

    /// As [`put`](Self::put), where a mask has a column.
    fn put_in(
        &mut self,
        sought: &Sought<'_, W>,
        rule: Coming<R>,
        replaces: bool,
        trail: &mut Trail,
    ) -> Result<Placed<R>, InsertError> {
        let Sought { column, key, ref hashes, .. } = *sought;
        let full = InsertError::Full { limit: self.rule_limit };
        let subtable = self.subtables.get(column).ok_or(full)?;
        let Coming { priority, payload, mut added, clauses } = rule;
        let entry = subtable.find_hashed(hashes.whole, key);
        let head = entry.map(|(_, head)| head);
        let (mut above, mut same) = (None, None);
        for (slot, other) in head.into_iter().flat_map(|head| self.chain(head)) {
            if other.priority < priority {
                break;
            }
            if other.priority == priority {
                if replaces && other.removed < Version::NEVER {
                    added = added.max(other.removed);
                } else if other.removed > added {
                    same = Some(slot);
                }
            }
            above = Some(slot);
        }
        if let Some(slot) = same {
            if let Some(other) = self.rules.get_mut(slot).filter(|_| replaces) {
                return Ok(Placed::Replaced(core::mem::replace(&mut other.payload, payload)));
            }
            if let Some(handle) = self.rules.handle(slot) {
                return Err(InsertError::Duplicate(handle));
            }
        }
        if self.rules.len() >= self.rule_limit {
            return Err(full);
        }
        let mut marks = Marks::new();
        if entry.is_none() {
            // The rows of guards come while the tries are searched.
            self.guards.seek(column, key, &mut marks);
            self.seek(sought, subtable, trail);
        }
        let below = match above {
            Some(above) => self.rules.get(above).map_or(0, |above| above.below),
            None => head.map_or(0, |head| head + 1),
        };
        let with_clauses = !clauses.is_empty();
        let stored = Stored {
            payload,
            added,
            removed: Version::NEVER,
            sequence: self.next_sequence,
            clauses: with_clauses.then(|| Box::new(clauses)),
            priority,
            column: Column::new(column),
            place: 0,
            below,
        };
        let handle = self.rules.insert(stored).ok_or(full)?;
        self.next_sequence += 1;
        self.with_clauses += usize::from(with_clauses);
        let place = self.link(sought, entry, above, handle.index(), &marks, trail);
        (trail.slot, trail.place) = (handle.index(), place);
        if let Some(rule) = self.rules.get_mut(handle.index()) {
            rule.place = place;
        }
        self.count(column, |priorities| priorities.add(priority));
        Ok(Placed::New(handle))
    }

    /// A pattern of a mask, by a key that it matches.
    #[inline(always)]
    pub(super) fn sought<'k>(&self, column: u32, subtable: &Subtable<State, W>, key: &'k [u64; W]) -> Sought<'k, W> {
        let hashes = subtable.state.stages.hashes(&subtable.mask, key);
        let values = self.prefixes.values(subtable.state.ports.as_ref(), key, self.layout.order());
        Sought { column, key, hashes, values }
    }

    /// Makes a new rule part of its chain; returns the place of the pattern.
    fn link(
        &mut self,
        Sought { column, key, hashes, values }: &Sought<'_, W>,
        entry: Option<(u32, u32)>,
        above: Option<u32>,
        slot: u32,
        marks: &Marks,
        trail: &Trail,
    ) -> u32 {
        let Some(subtable) = self.subtables.get_mut(*column) else { return 0 };
        if let Some((place, _)) = entry {
            match above.and_then(|above| self.rules.get_mut(above)) {
                Some(above) => above.below = slot + 1,
                None => subtable.rows.set_head(hashes.whole, place, slot),
            }
            return place;
        }
        let place = subtable.insert_hashed(hashes.whole, key, slot);
        subtable.state.stages.add(hashes);
        let mut places = trail.places.iter().copied();
        if let Some(ports) = &mut subtable.state.ports
            && let Some(place) = places.next()
        {
            ports.add(values, place);
        }
        self.prefixes.add(*column, values, places);
        if self.guards.add_at(*column, key, marks) {
            self.guards.rebuild(&self.subtables);
        }
        place
    }

    fn remove_slot(&mut self, slot: u32, trail: &mut Trail) -> Option<R> {
        let (column, place) = self.rules.get(slot).map(|rule| (rule.column.get(), rule.place))?;
        let subtable = self.subtables.get(column)?;
        let key = subtable.mask.scatter(subtable.entries.get(place)?);
        let sought = self.sought(column, subtable, &key);
        self.remove_sought(slot, place, &sought, trail)
    }

    /// Removes the rule in a slot, whose pattern is at a place.
    fn remove_sought(&mut self, slot: u32, place: u32, sought: &Sought<'_, W>, trail: &mut Trail) -> Option<R> {
        let (_, head) = self.subtables.get(sought.column)?.rows.find(sought.hashes.whole, |other| other == place)?;
        self.remove_from(slot, sought, head, trail)
    }

    /// Removes the rule in a slot, whose pattern is that of the chain from `head` on.
    fn remove_from(&mut self, slot: u32, sought: &Sought<'_, W>, head: u32, trail: &mut Trail) -> Option<R> {
        let Sought { column, ref hashes, ref values, .. } = *sought;
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

    fn add_subtable(&mut self, pattern: &Pattern<W>) -> Option<u32> {
        if self.next_age == u32::MAX {
            self.renumber_ages();
        }
        let (layout, age) = (&self.layout, self.next_age);
        let column = self.subtables.insert(layout, pattern, |mask| State {
            age,
            priorities: Priorities::default(),
            stages: StageIndex::new(mask),
            ports: Ports::new(layout, mask),
        })?;
        self.next_age += 1;
        if self.ranks.len() <= column as usize {
            self.ranks.resize((column as usize + 1).next_multiple_of(8), 0);
        }
        self.prefixes.add_column(column, pattern.mask(), self.layout.order());
        self.guards.add_column(column, pattern.mask());
        Some(column)
    }

    /// Takes a subtable away that has no rule.
    fn drop_if_empty(&mut self, column: u32) {
        if self.subtables.get(column).is_some_and(|subtable| subtable.state.priorities.is_empty()) {
            self.subtables.remove(column);
            self.guards.remove_column(column);
            self.rank_few();
            self.prefixes.remove_column(column);
        }
    }

    /// Changes the count of a subtable's rules by priority, and with it the rank of the subtable.
    fn count(&mut self, column: u32, change: impl FnOnce(&mut Priorities)) {
        if let Some(subtable) = self.subtables.get_mut(column)
            && let Some(rank) = self.ranks.get_mut(column as usize)
        {
            change(&mut subtable.state.priorities);
            let new = subtable.state.rank();
            if core::mem::replace(rank, new) != new {
                self.rank_few();
            }
        }
    }

    /// Lists the masks by rank, if they are few.
    fn rank_few(&mut self) {
        self.ranked.clear();
        if self.subtables.len() <= PLAIN {
            let ranked = self.subtables.columns().map(|(column, subtable)| (subtable.state.rank(), column));
            self.ranked.extend(ranked);
            self.ranked.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    /// Numbers the ages from zero, in their order: after four thousand million masks.
    fn renumber_ages(&mut self) {
        // The arena lists subtables in the order in which they came.
        let columns: Vec<u32> = self.subtables.columns().map(|(column, _)| column).collect();
        self.next_age = 0;
        for column in columns {
            if let Some(subtable) = self.subtables.get_mut(column) {
                subtable.state.age = self.next_age;
                self.next_age += 1;
            }
            self.count(column, |_| {});
        }
    }
}
