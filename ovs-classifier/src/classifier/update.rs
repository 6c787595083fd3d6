//! Changes to a classifier, each of which restores what lookups rely on:
//!
//! 1. a chain holds the rules of one pattern in descending priority, and the entry of the pattern holds its head;
//! 2. stages, ports, prefix tries and guards have each pattern of a mask, whatever the number of rules with it;
//! 3. a subtable's priorities count its rules, and its rank is that of the highest of them;
//! 4. a subtable without rules is not there.

use super::prefixes::Ports;
use super::trail::Trail;
use super::{Classifier, PLAIN, State};
use crate::arena::Handle;
use crate::error::InsertError;
use crate::pattern::Pattern;
use crate::rule::{Column, NewRule, Rule, Stored, Version};
use crate::stages::StageIndex;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

/// What became of a rule.
enum Placed<R> {
    New(Handle),
    /// It gave its payload to another, which had this.
    Replaced(R),
}

/// Where a rule stands: the column of its mask, its pattern's place there, and the head of the chain, if it is there.
#[derive(Clone, Copy)]
struct Place {
    column: u32,
    entry: Option<(u32, u32)>,
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
        let rule = Stored::new(priority, payload, Version::FIRST, Vec::new());
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
        let stored = Stored::new(rule.priority, rule.payload, rule.added, rule.clauses);
        match self.put(&rule.pattern, stored, false, trail)? {
            Placed::New(handle) => Ok(handle),
            // Nothing is replaced that was not asked for.
            Placed::Replaced(_) => Err(InsertError::Full { limit: self.rule_limit }),
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
        self.remove_along(pattern, priority, &mut Trail::default()).map(|(_, payload)| payload)
    }

    /// As [`remove`](Self::remove), like [`insert_along`](Self::insert_along); with the handle that the rule had.
    pub(crate) fn remove_along(
        &mut self,
        pattern: &Pattern<W>,
        priority: i32,
        trail: &mut Trail,
    ) -> Option<(Handle, R)> {
        let (_, head) = self.locate(pattern, trail, false)?.entry?;
        let is_it = |rule: &Stored<R>| rule.priority == priority && rule.is_visible_at(Version::LAST);
        let (slot, _) = self.chain(head).find(|(_, rule)| is_it(rule))?;
        let handle = self.rules.handle(slot)?;
        Some((handle, self.remove_from(slot, pattern.key(), head, trail)?))
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
        let head = self.head_of(rule);
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
        mut rule: Stored<R>,
        replaces: bool,
        trail: &mut Trail,
    ) -> Result<Placed<R>, InsertError> {
        let (lowest, highest) = self.priorities;
        if rule.priority < lowest || rule.priority > highest {
            return Err(InsertError::Priority { priority: rule.priority, lowest, highest });
        }
        let known = self.locate(pattern, trail, true);
        let head = known.and_then(|place| place.entry).map(|(_, head)| head);
        let (mut above, mut same) = (None, None);
        for (slot, other) in head.into_iter().flat_map(|head| self.chain(head)) {
            if other.priority < rule.priority {
                break;
            }
            if other.priority == rule.priority {
                if replaces && other.removed < Version::NEVER {
                    rule.added = rule.added.max(other.removed);
                } else if other.removed > rule.added {
                    same = Some(slot);
                }
            }
            above = Some(slot);
        }
        if let Some(slot) = same {
            if let Some(other) = self.rules.get_mut(slot).filter(|_| replaces) {
                return Ok(Placed::Replaced(core::mem::replace(&mut other.payload, rule.payload)));
            }
            if let Some(handle) = self.rules.handle(slot) {
                return Err(InsertError::Duplicate(handle));
            }
        }
        let full = InsertError::Full { limit: self.rule_limit };
        if self.rules.len() >= self.rule_limit {
            return Err(full);
        }
        let column = match known {
            Some(place) => place.column,
            None => self.add_subtable(pattern).ok_or(full)?,
        };
        let below = match above {
            Some(above) => self.rules.get(above).map_or(0, |above| above.below),
            None => head.map_or(0, |head| head + 1),
        };
        let (priority, sequence, has_clauses) = (rule.priority, self.next_sequence, rule.clauses.is_some());
        let Some(handle) = self.rules.insert(Stored { sequence, column: Column::new(column), below, ..rule }) else {
            self.drop_if_empty(column);
            return Err(full);
        };
        self.next_sequence += 1;
        self.with_clauses += usize::from(has_clauses);
        let place = self.link(pattern, column, known.and_then(|place| place.entry), above, handle.index(), trail);
        trail.note(handle.index(), place);
        if let Some(rule) = self.rules.get_mut(handle.index()) {
            rule.place = place;
        }
        self.count(column, |priorities| *priorities.entry(priority).or_insert(0) += 1);
        Ok(Placed::New(handle))
    }

    /// Makes a new rule part of its chain; returns the place of the pattern.
    fn link(
        &mut self,
        pattern: &Pattern<W>,
        column: u32,
        entry: Option<(u32, u32)>,
        above: Option<u32>,
        slot: u32,
        trail: &mut Trail,
    ) -> u32 {
        let (key, order) = (pattern.key(), self.layout.order());
        if let Some((place, _)) = entry {
            match above.and_then(|above| self.rules.get_mut(above)) {
                Some(above) => above.below = slot + 1,
                None => {
                    if let Some(subtable) = self.subtables.get_mut(column) {
                        subtable.rows.set_head(subtable.mask.hash(key), place, slot);
                    }
                }
            }
            return place;
        }
        let Some(subtable) = self.subtables.get_mut(column) else { return 0 };
        let place = subtable.insert(key, slot);
        subtable.state.stages.add(&subtable.mask, key);
        if let Some(ports) = &mut subtable.state.ports {
            self.prefixes.seek_with(column, ports, key, order, trail);
            ports.add(key, order, trail);
        }
        self.prefixes.add(column, key, order, trail);
        if self.guards.add(column, key) {
            self.guards.rebuild(&self.subtables);
        }
        place
    }

    fn remove_slot(&mut self, slot: u32, trail: &mut Trail) -> Option<R> {
        let (key, head) = self.head_of(self.rules.get(slot)?)?;
        self.remove_from(slot, &key, head, trail)
    }

    /// Removes the rule in a slot, whose pattern matches `key` and is that of the chain from `head` on.
    fn remove_from(&mut self, slot: u32, key: &[u64; W], head: u32, trail: &mut Trail) -> Option<R> {
        let stored = self.rules.get(slot)?;
        let (column, place, below, order) = (stored.column.get(), stored.place, stored.below, self.layout.order());
        trail.column = Some(column);
        trail.note(slot, place);
        let above = self.chain(head).take_while(|(other, _)| *other != slot).last().map(|(slot, _)| slot);

        let rule = self.rules.remove(slot)?;
        self.with_clauses -= usize::from(rule.clauses.is_some());
        let subtable = self.subtables.get_mut(column)?;
        if head == slot && below == 0 {
            subtable.remove(key, place);
            subtable.state.stages.remove(&subtable.mask, key);
            if let Some(ports) = &mut subtable.state.ports {
                self.prefixes.seek_with(column, ports, key, order, trail);
                ports.remove(key, order, trail);
            }
            self.prefixes.remove(column, key, order, trail);
        } else {
            match above.and_then(|above| self.rules.get_mut(above)) {
                Some(above) => above.below = below,
                None => subtable.rows.set_head(subtable.mask.hash(key), place, below.saturating_sub(1)),
            }
        }
        let is_due = self.guards.remove();
        self.count(column, |priorities| {
            if let Entry::Occupied(mut rules) = priorities.entry(rule.priority) {
                match *rules.get() {
                    0 | 1 => drop(rules.remove()),
                    many => *rules.get_mut() = many - 1,
                }
            }
        });
        self.drop_if_empty(column);
        if is_due {
            self.guards.rebuild(&self.subtables);
        }
        Some(rule.payload)
    }

    /// The place of a pattern; `None` when there is no rule with its mask.
    fn locate(&self, pattern: &Pattern<W>, trail: &mut Trail, comes: bool) -> Option<Place> {
        let column = match trail.column {
            Some(column) => column,
            None => {
                let column = self.subtables.find(pattern)?;
                self.expect(column, pattern.key(), comes);
                *trail.column.insert(column)
            }
        };
        Some(Place { column, entry: self.subtables.get(column)?.find(pattern.key()) })
    }

    /// A key that a rule's pattern matches, and the slot of the first rule with that pattern.
    fn head_of(&self, rule: &Stored<R>) -> Option<([u64; W], u32)> {
        let subtable = self.subtables.get(rule.column.get())?;
        let key = subtable.mask.scatter(subtable.entries.get(rule.place)?);
        let (_, head) = subtable.rows.find(subtable.mask.hash(&key), |place| place == rule.place)?;
        Some((key, head))
    }

    fn add_subtable(&mut self, pattern: &Pattern<W>) -> Option<u32> {
        if self.next_age == u32::MAX {
            self.renumber_ages();
        }
        let (layout, age) = (&self.layout, self.next_age);
        let column = self.subtables.insert(layout, pattern, |mask| State {
            age,
            priorities: BTreeMap::new(),
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
    fn count(&mut self, column: u32, change: impl FnOnce(&mut BTreeMap<i32, u32>)) {
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

impl<R> Stored<R> {
    /// A rule without a place.
    fn new(priority: i32, payload: R, added: Version, clauses: Vec<crate::rule::Clause>) -> Self {
        let clauses: Option<Box<Vec<_>>> = (!clauses.is_empty()).then(|| Box::new(clauses));
        let removed = Version::NEVER;
        Self { payload, added, removed, sequence: 0, clauses, priority, column: Column::new(0), place: 0, below: 0 }
    }
}
