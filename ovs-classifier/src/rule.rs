//! A rule of a classifier, as lookups and iteration show it.

use crate::pattern::Pattern;
use crate::sparse::SparsePattern;
use core::fmt;

/// A pattern with a priority and what the caller keeps with it.
///
/// Rules are made by [`Classifier::insert`](crate::Classifier::insert) and seen by reference. The pattern is stored
/// sparsely; [`pattern`](Self::pattern) expands it.
#[derive(Clone)]
pub struct Rule<R, const W: usize> {
    pub(crate) sparse: SparsePattern<W>,
    pub(crate) priority: i32,
    /// Grows with every rule inserted: the order of insertion.
    pub(crate) sequence: u64,
    /// The slot of the subtable.
    pub(crate) subtable: usize,
    /// The slot of the rule with the same pattern and the next lower priority.
    pub(crate) below: Option<usize>,
    pub(crate) payload: R,
}

impl<R, const W: usize> Rule<R, W> {
    /// The pattern, expanded to full width: not for the packet path.
    #[must_use]
    pub fn pattern(&self) -> Pattern<W> {
        self.sparse.expand()
    }

    /// The priority; higher wins.
    #[must_use]
    pub const fn priority(&self) -> i32 {
        self.priority
    }

    /// What the caller keeps with the rule.
    #[must_use]
    pub const fn payload(&self) -> &R {
        &self.payload
    }

    /// Whether the rule's pattern matches a key.
    #[must_use]
    pub fn matches(&self, key: &[u64; W]) -> bool {
        self.sparse.matches(key)
    }

    /// Whether the rule's pattern fixes at least the bits that `criteria` fixes, to the same values.
    #[must_use]
    pub fn is_covered_by(&self, criteria: &Pattern<W>) -> bool {
        self.sparse.is_covered_by(criteria)
    }
}

impl<R: fmt::Debug, const W: usize> fmt::Debug for Rule<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("priority", &self.priority)
            .field("pattern", &self.pattern())
            .field("payload", &self.payload)
            .finish()
    }
}
