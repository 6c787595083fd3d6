//! Rules that come.

use super::super::Classifier;
use super::super::prefixes::Values;
use super::super::trail::Trail;
use super::Sought;
use crate::arena::Handle;
use crate::error::InsertError;
use crate::guards::Marks;
use crate::pattern::Pattern;
use crate::rule::{Clause, Column, NewRule, Stored, Version};
use alloc::boxed::Box;
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
        if let Some(sought) = self.sought_again(key, &mut Values::default(), trail) {
            self.subtables.expect(sought.column);
            let _ = self.put_in(&sought, rule, replaces, trail);
        }
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
        let mut values = Values::default();
        self.expect_values(&mut values, key);
        if let Some(column) = self.subtables.find(pattern) {
            self.subtables.expect(column);
            let subtable = self.subtables.get(column).ok_or(full)?;
            let sought = self.sought(column, subtable, key, &mut values);
            self.expect(subtable, &sought);
            trail.column = Some(column);
            return self.put_in(&sought, rule, replaces, trail);
        }
        if self.rules.len() >= self.rule_limit {
            return Err(full);
        }
        let column = self.add_subtable(pattern).ok_or(full)?;
        let sought = self.sought(column, self.subtables.get(column).ok_or(full)?, key, &mut values);
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
        // The rows of guards come while all else is done.
        let mut marks = Marks::new();
        self.guards.seek(column, key, &mut marks);
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
        if entry.is_none() {
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
}
