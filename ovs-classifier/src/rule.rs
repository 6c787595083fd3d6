//! Rules: what is given to a classifier, and what lookups and iteration show.

use crate::arena::{Arena, Handle};
use crate::entries::Entries;
use crate::pattern::Pattern;
use crate::sparse::SparseMask;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

/// A point in the history of a table: a rule is visible at the versions from the one it was added at up to, and
/// without, the one it was hidden at.
///
/// A switch that changes many rules at once adds and hides them at the next version, and goes over to looking up at
/// that version when all is there: that is the moment at which every change shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// Before all others; rules that are inserted without a version are visible from here.
    pub const FIRST: Self = Self(0);
    /// After all others: what is not hidden is visible.
    pub const LAST: Self = Self(u64::MAX - 1);
    /// When a rule is hidden that is not.
    pub(crate) const NEVER: Self = Self(u64::MAX);
}

/// A rule's part in a conjunctive match: the `index`-th of `of` clauses of conjunction `id`.
///
/// When for each clause of a conjunction a rule of one priority matches a key, the key is looked up again with the
/// conjunction's id in the layout's [field](crate::Layout::with_conjunction) for it, and the rule found then, whatever
/// its priority, is the answer. See [`Classifier`](crate::Classifier) for how that ranks among other rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clause {
    id: u32,
    index: u8,
    of: u8,
}

impl Clause {
    /// Clause `index`, counted from 1, of the `of` clauses of conjunction `id`; `None` unless `of` is 2 to 64 and
    /// `index` is 1 to `of`.
    #[must_use]
    pub const fn new(id: u32, index: u8, of: u8) -> Option<Self> {
        if of < 2 || of > 64 || index < 1 || index > of { None } else { Some(Self { id, index, of }) }
    }

    /// The conjunction.
    #[must_use]
    pub const fn id(self) -> u32 {
        self.id
    }

    /// Which clause, counted from 1.
    #[must_use]
    pub const fn index(self) -> u8 {
        self.index
    }

    /// How many clauses the conjunction has.
    #[must_use]
    pub const fn of(self) -> u8 {
        self.of
    }

    pub(crate) const fn bit(self) -> u64 {
        1 << (self.index - 1)
    }

    pub(crate) const fn all(self) -> u64 {
        u64::MAX >> (64 - self.of)
    }
}

/// A rule to add to a [`Classifier`](crate::Classifier).
#[derive(Clone, Debug)]
pub struct NewRule<R, const W: usize> {
    pub(crate) pattern: Pattern<W>,
    pub(crate) priority: i32,
    pub(crate) payload: R,
    pub(crate) added: Version,
    pub(crate) clauses: Vec<Clause>,
}

impl<R, const W: usize> NewRule<R, W> {
    /// A rule that is visible at every version and no part of a conjunctive match.
    pub const fn new(pattern: Pattern<W>, priority: i32, payload: R) -> Self {
        Self { pattern, priority, payload, added: Version::FIRST, clauses: Vec::new() }
    }

    /// The rule, visible from a version on.
    #[must_use]
    pub fn from_version(self, added: Version) -> Self {
        Self { added, ..self }
    }

    /// The rule as a part of conjunctive matches: it is no answer itself, unless there are no clauses.
    #[must_use]
    pub fn with_clauses(self, clauses: Vec<Clause>) -> Self {
        Self { clauses, ..self }
    }
}

/// A rule as a classifier stores it: with a payload of up to eight bytes a cache line, which a lookup reads once.
#[derive(Clone)]
#[repr(align(64))]
pub(crate) struct Stored<R> {
    pub(crate) payload: R,
    pub(crate) added: Version,
    pub(crate) removed: Version,
    /// Grows with every rule added: the order of insertion.
    pub(crate) sequence: u64,
    /// In a box of its own, since few rules have any.
    #[expect(clippy::box_collection, reason = "a thin pointer: eight bytes a rule where there are none")]
    pub(crate) clauses: Option<Box<Vec<Clause>>>,
    pub(crate) priority: i32,
    /// The subtable, and the place of the pattern in it.
    pub(crate) column: Column,
    pub(crate) place: u32,
    /// The slot of the rule with the same pattern and the same or the next lower priority, plus one; 0 is none.
    pub(crate) below: u32,
}

const _: () = assert!(size_of::<Option<Stored<u64>>>() == 64);

/// A column that is never all ones, so that no rule takes no more room than a rule.
#[derive(Clone, Copy)]
pub(crate) struct Column(NonZeroU32);

impl Column {
    pub(crate) const fn new(column: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(column))
    }

    #[inline(always)]
    pub(crate) const fn get(self) -> u32 {
        self.0.get() - 1
    }
}

impl<R> Stored<R> {
    #[inline]
    pub(crate) fn is_visible_at(&self, version: Version) -> bool {
        self.added <= version && version < self.removed
    }

    #[inline]
    pub(crate) fn below(&self) -> Option<u32> {
        self.below.checked_sub(1)
    }

    pub(crate) fn clauses(&self) -> &[Clause] {
        self.clauses.as_ref().map_or(&[], |clauses| clauses.as_slice())
    }
}

/// A rule of a classifier, by reference: a pattern with a priority and what the caller keeps with it.
pub struct Rule<'a, R, const W: usize> {
    pub(crate) rules: &'a Arena<Stored<R>>,
    pub(crate) slot: u32,
    pub(crate) stored: &'a Stored<R>,
    pub(crate) mask: &'a SparseMask<W>,
    /// What the patterns of the mask have; read when the pattern is asked for, not by the lookup.
    pub(crate) entries: &'a Entries,
    /// The conjunction with whose id a lookup found it.
    pub(crate) conjunction: Option<u32>,
}

impl<R, const W: usize> Clone for Rule<'_, R, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, const W: usize> Copy for Rule<'_, R, W> {}

impl<'a, R, const W: usize> Rule<'a, R, W> {
    /// The handle by which the table knows the rule.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.rules.handle_of_live(self.slot)
    }

    fn values(&self) -> &'a [u64] {
        self.entries.get(self.stored.place).unwrap_or_default()
    }

    /// The words that the pattern fixes bits of, each once and in no order that is promised: index, value and mask.
    pub fn words(&self) -> impl Iterator<Item = (usize, u64, u64)> + use<'a, R, W> {
        self.mask.words().zip(self.values()).map(|((index, mask), value)| (index, *value, mask))
    }

    /// The pattern, expanded to full width: not for the packet path.
    #[must_use]
    pub fn pattern(&self) -> Pattern<W> {
        self.mask.pattern(self.values())
    }

    /// The priority; higher wins.
    #[must_use]
    pub const fn priority(&self) -> i32 {
        self.stored.priority
    }

    /// What the caller keeps with the rule.
    #[must_use]
    pub const fn payload(&self) -> &'a R {
        &self.stored.payload
    }

    /// The conjunctive matches that the rule is part of.
    #[must_use]
    pub fn clauses(&self) -> &'a [Clause] {
        self.stored.clauses()
    }

    /// The id of the conjunction that decided: a lookup came to the rule with that in the key's field, and would not have
    /// without. `None` where the rule matches the key as it is, and where no lookup found it.
    #[must_use]
    pub const fn conjunction(&self) -> Option<u32> {
        self.conjunction
    }

    /// Whether lookups at a version see the rule.
    #[must_use]
    pub fn is_visible_at(&self, version: Version) -> bool {
        self.stored.is_visible_at(version)
    }

    /// Whether the rule's pattern matches a key.
    #[must_use]
    pub fn matches(&self, key: &[u64; W]) -> bool {
        self.mask.matches(self.values(), key)
    }

    /// Whether the rule's pattern fixes at least the bits that `criteria` fixes, to the same values.
    #[must_use]
    pub fn is_covered_by(&self, criteria: &Pattern<W>) -> bool {
        self.mask.is_covered_by(self.values(), criteria)
    }
}

impl<R: fmt::Debug, const W: usize> fmt::Debug for Rule<'_, R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("priority", &self.priority())
            .field("pattern", &self.pattern())
            .field("payload", &self.payload())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Clause;

    #[test]
    fn clauses_are_counted_from_one_to_sixty_four() {
        for (index, of) in [(0, 2), (3, 2), (1, 1), (1, 65), (65, 65)] {
            assert_eq!(Clause::new(7, index, of), None, "{index}/{of}");
        }
        let last = Clause::new(7, 64, 64).unwrap();
        assert_eq!((last.bit(), last.all()), (1 << 63, u64::MAX));
        let first = Clause::new(7, 1, 2).unwrap();
        assert_eq!((first.bit(), first.all()), (1, 3));
    }
}
