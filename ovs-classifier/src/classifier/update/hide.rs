//! Rules that go from a version on.

use super::super::Classifier;
use crate::arena::Handle;
use crate::error::InsertError;
use crate::rule::{Stored, Version};
use alloc::collections::btree_map::Entry;

impl<R, const W: usize> Classifier<R, W> {
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
}
