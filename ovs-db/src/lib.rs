//! The Open vSwitch database protocol (RFC 7047): data, schemas, transactions, messages.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

mod data;
mod error;
pub mod json;
mod schema;

pub use data::{Atom, AtomicType, BaseType, ColumnType, Constraint, Datum, NamedUuids, Real, RefType};
pub use error::{Error, ErrorKind};
pub use schema::{ColumnSchema, Schema, TableSchema, Version};
pub use uuid::Uuid;
