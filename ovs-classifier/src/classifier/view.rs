//! A table as it is at one version.

use super::Classifier;
use super::search::{Probes, Query};
use crate::pattern::Pattern;
use crate::rule::{Rule, Version};
use alloc::vec::Vec;
use core::fmt;

/// The rules of a [`Classifier`] that are visible at one version.
///
/// ```
/// use ovs_classifier::{Classifier, Layout, NewRule, Pattern, Version};
///
/// let mut table = Classifier::new(Layout::<1>::flat());
/// let old = table.add(NewRule::new(Pattern::any(), 1, "old"))?;
/// table.hide(old, Version(7));
/// table.add(NewRule::new(Pattern::any(), 1, "new").from_version(Version(7)))?;
/// let payload = |version| table.at(version).lookup(&[0]).map(|rule| *rule.payload());
/// assert_eq!((payload(Version(6)), payload(Version(7))), (Some("old"), Some("new")));
///
/// // When nobody looks up at an earlier version any more:
/// assert_eq!(table.reclaim(Version(7)), 1);
/// # Ok::<(), ovs_classifier::InsertError>(())
/// ```
pub struct View<'a, R, const W: usize> {
    table: &'a Classifier<R, W>,
    version: Version,
}

impl<R, const W: usize> Clone for View<'_, R, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, const W: usize> Copy for View<'_, R, W> {}

impl<'a, R, const W: usize> View<'a, R, W> {
    pub(super) const fn new(table: &'a Classifier<R, W>, version: Version) -> Self {
        Self { table, version }
    }

    /// The version.
    #[must_use]
    pub const fn version(self) -> Version {
        self.version
    }

    /// As [`Classifier::lookup`].
    #[must_use]
    #[inline]
    pub fn lookup(self, key: &[u64; W]) -> Option<Rule<'a, R, W>> {
        let query = Query { key, version: self.version, soft: true };
        let cost = &mut Probes::default();
        if self.table.is_plain(false) {
            return self.table.find_few(&query, cost);
        }
        self.table.find_open(&query, cost).unwrap_or_else(|| self.lookup_counted(key, None, cost))
    }

    /// As [`Classifier::lookup_tracked`].
    pub fn lookup_tracked(self, key: &[u64; W], wildcards: &mut [u64; W]) -> Option<Rule<'a, R, W>> {
        self.lookup_counted(key, Some(wildcards), &mut Probes::default())
    }

    /// Looks up, tracked when there are `wildcards`, and adds to `cost` what that took.
    #[inline]
    pub fn lookup_counted(
        self,
        key: &[u64; W],
        wildcards: Option<&mut [u64; W]>,
        cost: &mut Probes,
    ) -> Option<Rule<'a, R, W>> {
        let query = Query { key, version: self.version, soft: true };
        let wildcards = match wildcards {
            Some(wildcards) if self.table.is_plain(true) => return self.table.search_few(&query, wildcards, cost),
            None if self.table.is_plain(false) => return self.table.find_few(&query, cost),
            None => match self.table.find_open(&query, cost) {
                Some(found) => return found,
                None => None,
            },
            wildcards => wildcards,
        };
        let (slot, conjunction) = self.table.resolve(&query, wildcards, cost)?;
        Some(Rule { conjunction, ..self.table.rule(slot)? })
    }

    /// As [`Classifier::find_exact`].
    #[must_use]
    pub fn find_exact(self, pattern: &Pattern<W>, priority: i32) -> Option<Rule<'a, R, W>> {
        let table = self.table;
        let subtable = table.subtables.get(table.subtables.find(pattern)?)?;
        let (_, head) = subtable.find(pattern.key())?;
        let is_it = |(slot, rule): (u32, &crate::rule::Stored<R>)| {
            (rule.priority == priority && rule.is_visible_at(self.version)).then_some(slot)
        };
        table.rule(table.chain(head).find_map(is_it)?)
    }

    /// As [`Classifier::overlaps`].
    #[must_use]
    pub fn overlaps(self, pattern: &Pattern<W>, priority: i32) -> bool {
        let table = self.table;
        let has =
            |head| table.chain(head).any(|(_, rule)| rule.priority == priority && rule.is_visible_at(self.version));
        table.subtables.iter().filter(|subtable| subtable.state.priorities.contains(priority)).any(|subtable| {
            if subtable.mask.within(pattern.mask()) {
                // The pattern fixes all that these rules look at: one of them can match, if any.
                subtable.find(pattern.key()).is_some_and(|(_, head)| has(head))
            } else {
                subtable.heads(|values| subtable.mask.overlaps(values, pattern)).any(has)
            }
        })
    }

    /// The rules in the order of their insertion.
    pub fn iter(self) -> impl Iterator<Item = Rule<'a, R, W>> {
        self.table.iter().filter(move |rule| rule.is_visible_at(self.version))
    }

    /// As [`Classifier::iter_matching`].
    pub fn iter_matching(self, criteria: &Pattern<W>) -> impl Iterator<Item = Rule<'a, R, W>> + use<'a, R, W> {
        let table = self.table;
        let mut slots: Vec<(u64, u32)> = Vec::new();
        let mut note = |head| {
            let chain = table.chain(head).filter(|(_, rule)| rule.is_visible_at(self.version));
            slots.extend(chain.map(|(slot, rule)| (rule.sequence, slot)));
        };
        for subtable in table.subtables.iter().filter(|subtable| subtable.mask.includes(criteria.mask())) {
            if subtable.mask.within(criteria.mask()) {
                subtable.find(criteria.key()).into_iter().for_each(|(_, head)| note(head));
            } else {
                subtable.heads(|values| subtable.mask.overlaps(values, criteria)).for_each(&mut note);
            }
        }
        slots.sort_unstable();
        slots.into_iter().filter_map(|(_, slot)| table.rule(slot))
    }
}

impl<R, const W: usize> fmt::Debug for View<'_, R, W>
where
    R: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
