//! The Open vSwitch database protocol (RFC 7047): data, schemas, transactions, messages, a client; and unixctl.
//!
//! # What
//!
//! Open vSwitch keeps its configuration in a small transactional database, OVSDB. Programs read and change it with JSON
//! messages, and a switch follows the changes. Daemons take commands by the same kind of messages, which is called
//! unixctl. This crate has
//!
//! - the data model: [`Atom`], [`BaseType`], [`ColumnType`], [`Datum`], and the [`Schema`] made of them;
//! - the engine: [`Database::transact`], with conditions, mutations, references, garbage collection, indexes and limits;
//! - the messages: [`rpc`], JSON-RPC 1.0 out of and into a stream of bytes, and sessions that outlive their connections;
//! - the client: [`client`], a replica that follows a server, and transactions on it; typed by code that [`codegen`]
//!   generates from a schema, for the switch's own schema [`vswitch`];
//! - [`unixctl`]: commands to daemons, both sides;
//! - [`json`]: the values all of these exchange.
//!
//! None of it needs a socket, a thread or a clock: bytes and the time go in, bytes and what is to be done come out. The
//! edges that do have sockets are what the feature `net`, on by default, adds: the module `net`, `client::Driver`,
//! `unixctl::ControlSocket` and `unixctl::Client`. Names of places, sockets and the times of reconnection are those of
//! [`ovs_stream`].
//!
//! # Why this way
//!
//! A transaction works on an overlay over the tables and touches the database only when every check has passed: all or
//! nothing needs no undo. A commit checks the difference that it makes, by reference counts and indexes that the database
//! keeps, so it costs what it changes. Randomness (UUIDs) and the locks of a session are arguments, so that the same
//! requests give the same database, bit for bit.
//!
//! A client's protocol, its timing and its replica are plain values that a test drives through an hour of lost connections
//! in a millisecond. A column is one typed constant, which says what to monitor, reads a row, writes it and filters by it.
//!
//! # Invariants
//!
//! - A [`Schema`] is valid by construction, a [`Datum`] sorted and without duplicates by construction.
//! - A [`Database`] is never seen with a dangling reference, a broken index, or garbage that reference counts can see.
//! - A replica ([`client::Replica`]) always is what the server had at some time, never half of an update.
//! - No input makes the crate panic, recurse without bound or take memory without bound: nesting is bounded by
//!   [`json::MAX_DEPTH`], messages by [`rpc::FrameLimits`], transactions by [`Limits`], what waits to be sent by
//!   [`rpc::SessionOptions`].
//!
//! # What it does not do
//!
//! In the engine, `wait` with another time-out than 0 and `durable` commits are refused with `not supported`; there are no
//! monitors, locks, log or server sessions; [`Outcome::changes`] is what monitors and logs are to be made from. The client
//! connects by TLS only with the feature `tls`, listens for no servers (`ptcp:`, `punix:`) and looks host names up by the
//! system, which may block.
//!
//! # Example
//!
//! Two rows in one transaction, one named for the other to refer to, and the garbage that deleting the first leaves:
//!
//! ```
//! use std::collections::BTreeSet;
//! use ovs_db::{Database, Schema, Session, Uuid, json};
//!
//! let schema = json::parse(br#"{"name": "Net", "version": "1.0.0", "tables": {
//!     "Bridge": {"isRoot": true, "columns": {
//!         "name": {"type": "string"},
//!         "ports": {"type": {"key": {"type": "uuid", "refTable": "Port"}, "min": 0, "max": "unlimited"}}}},
//!     "Port": {"columns": {"name": {"type": "string"}}}}}"#)?;
//! let mut db = Database::new(Schema::from_json(&schema)?);
//! let mut next = 0;
//! let mut new_uuid = || { next += 1; Uuid::from_u128(next) };
//! let mut session = Session { new_uuid: &mut new_uuid, locks: &BTreeSet::new() };
//!
//! let request = json::parse(br#"["Net",
//!     {"op": "insert", "table": "Bridge", "row": {"name": "br0", "ports": ["named-uuid", "p"]}},
//!     {"op": "insert", "table": "Port", "row": {"name": "p0"}, "uuid-name": "p"}]"#)?;
//! let outcome = db.transact_request(request.as_array().unwrap(), &mut session)?;
//! assert!(outcome.failure().is_none());
//! assert_eq!(db.rows("Port").count(), 1);
//!
//! let delete = json::parse(br#"[{"op": "delete", "table": "Bridge", "where": [["name", "==", "br0"]]}]"#)?;
//! let outcome = db.transact(delete.as_array().unwrap(), &mut session);
//! assert_eq!(outcome.changes().len(), 2); // the bridge, and the port that nothing refers to any more
//! assert_eq!(db.rows("Port").count(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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

pub mod client;
pub mod codegen;
mod data;
mod db;
mod error;
pub mod json;
#[cfg(feature = "net")]
pub mod net;
pub mod rpc;
mod schema;
pub mod unixctl;
pub mod vswitch;

pub use data::{Atom, AtomicType, BaseType, ColumnType, Constraint, Datum, NamedUuids, Real, RefType};
pub use db::{
    Condition, Database, Failure, Function, Limits, Mutation, Mutator, OperationResult, Outcome, Row, RowChange,
    Session,
};
pub use error::{Error, ErrorKind};
pub use schema::{ColumnSchema, Schema, TableSchema, Version};
pub use uuid::Uuid;
