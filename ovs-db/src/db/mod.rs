//! The in-memory database engine (RFC 7047 section 5.2).
//!
//! - [`failure`]: what a transaction can fail with, under the RFC's error strings.
//! - [`condition`], [`mutation`]: the clauses of operations.
//! - [`operation`]: operations as typed values.
//! - [`table`]: rows and indexes.
//! - [`overlay`]: the changes of a transaction that is under way, over the tables as they were.
//! - [`integrity`]: references, garbage, indexes and row limits at commit.
//! - [`database`]: the whole.

mod condition;
mod database;
mod failure;
mod integrity;
mod mutation;
mod operation;
mod overlay;
mod table;

pub use condition::{Condition, Function};
pub use database::{Database, Limits, OperationResult, Outcome, RowChange, Session};
pub use failure::Failure;
pub use mutation::{Mutation, Mutator};
pub use table::Row;
