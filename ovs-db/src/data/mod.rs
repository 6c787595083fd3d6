//! The data model of RFC 7047 section 3.1 and its JSON forms of section 5.1.
//!
//! - [`Atom`]: one value of one of the five atomic types.
//! - [`BaseType`]: an atomic type and what constrains it.
//! - [`ColumnType`]: base types of key and value, and how many elements a column may have.
//! - [`Datum`]: the content of a column: a set of atoms or a map from atoms to atoms, always sorted and without
//!   duplicates.

mod atom;
mod base_type;
mod column_type;
mod datum;
pub(crate) mod parse;

pub(crate) use atom::uuid_from_text;
pub use atom::{Atom, AtomicType, NamedUuids, Real};
pub use base_type::{BaseType, Constraint, RefType};
pub use column_type::ColumnType;
pub use datum::Datum;
