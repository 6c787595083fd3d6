//! Why a table or a pattern refuses what it is given. Whoever is refused has changed nothing.

use crate::arena::Handle;

/// Why a rule was not added to a [`Classifier`](crate::Classifier).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// The table has as many rules as it may have, hidden ones that are not reclaimed among them.
    #[error("the table has {limit} rules and may have no more")]
    Full {
        /// The limit that was set, or what can be numbered.
        limit: usize,
    },
    /// There is a rule with the same pattern and priority that is visible at the same time.
    #[error("there is a rule with this pattern and priority")]
    Duplicate(Handle),
    /// The priority is not one that the table takes.
    #[error("priority {priority} is not within {lowest} to {highest}")]
    Priority {
        /// The priority asked for.
        priority: i32,
        /// The lowest that the table takes.
        lowest: i32,
        /// The highest that the table takes.
        highest: i32,
    },
    /// The rule has clauses, but the layout names no field for the conjunction's id.
    #[error("the layout has no field for the id of a conjunction")]
    NoConjunctionField,
}

/// Why prefix fields were not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixFieldsError {
    /// There are more than [`MAX_PREFIX_FIELDS`](crate::MAX_PREFIX_FIELDS).
    #[error("{0} prefix fields are too many: a table has at most {max}", max = crate::MAX_PREFIX_FIELDS)]
    TooMany(usize),
    /// A field has bits that the key does not have.
    #[error("the field at bit {offset} is not within the key", offset = .0.offset())]
    OutsideKey(crate::Field),
}

/// Why slices make no [`Pattern`](crate::Pattern).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The values or the mask have more words than a key.
    #[error("{words} words are longer than a key of {width}")]
    TooLong {
        /// How many there are.
        words: usize,
        /// How many a key has.
        width: usize,
    },
}

/// A [`MegaflowTable`](crate::MegaflowTable) has as many megaflows as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table has {limit} megaflows and may have no more")]
pub struct TableFull {
    /// The limit that was set, or what can be numbered.
    pub limit: usize,
}
