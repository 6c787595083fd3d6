//! What a transaction can fail with.

use crate::error::Error;
use crate::json::Json;

/// Why an operation or a commit failed. [`Failure::tag`] is the RFC's error string, [`std::fmt::Display`] the details.
///
/// RFC 7047 sections 3.1 (`<error>`) and 5.2 define the strings; those that it leaves open (`unknown column`,
/// `duplicate uuid`, and `syntax error` for an unknown table) are the ones that clients of Open vSwitch know.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The operation has not the form that RFC 7047 gives it.
    #[error("{0}")]
    Syntax(Error),
    /// A value is of the right form, but its column does not allow it.
    #[error("{0}")]
    Value(Error),
    /// The database has no such table.
    #[error("the database has no table {0:?}")]
    UnknownTable(String),
    /// The table has no such column.
    #[error("table {table:?} has no column {column:?}")]
    UnknownColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The column may only be set when the row is inserted.
    #[error("column {column:?} of table {table:?} is immutable")]
    Immutable {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Two rows agree in all columns of an index.
    #[error("two rows of table {table:?} have the same content in {columns:?}")]
    NotUnique {
        /// The table.
        table: String,
        /// The columns of the index.
        columns: Vec<String>,
    },
    /// The table has more rows than it may have.
    #[error("table {table:?} would have {rows} rows where at most {max} are allowed")]
    TooManyRows {
        /// The table.
        table: String,
        /// Rows after the transaction.
        rows: u64,
        /// Most rows allowed.
        max: u64,
    },
    /// Removing weak references to rows that are gone leaves fewer elements than the column must have.
    #[error("row {row} of table {table:?} lost weak references that column {column:?} cannot do without")]
    WeakReferenceLost {
        /// The table.
        table: String,
        /// The row.
        row: uuid::Uuid,
        /// The column.
        column: String,
    },
    /// A strong reference leads to a row that does not exist.
    #[error("a strong reference leads to row {row} of table {table:?}, which does not exist")]
    Dangling {
        /// The table referred to.
        table: String,
        /// The row referred to.
        row: uuid::Uuid,
    },
    /// Arithmetic outside its domain: a division by zero.
    #[error("division by zero in column {column:?}")]
    DivisionByZero {
        /// The column.
        column: String,
    },
    /// The result of arithmetic does not fit its type.
    #[error("the result of the mutation of column {column:?} does not fit")]
    OutOfRange {
        /// The column.
        column: String,
    },
    /// The condition of a `wait` is not true and the time for it is over.
    #[error("the condition of the wait operation is not true")]
    TimedOut,
    /// An `assert` names a lock that the session does not own.
    #[error("the session does not own the lock {0:?}")]
    NotOwner(String),
    /// The transaction asked to be aborted.
    #[error("the transaction has an abort operation")]
    Aborted,
    /// Two inserts of the transaction have the same `uuid-name`.
    #[error("two operations have the uuid-name {0:?}")]
    DuplicateUuidName(String),
    /// The UUID chosen for a new row is the UUID of a row already.
    #[error("the table already has a row {0}")]
    DuplicateUuid(uuid::Uuid),
    /// The request is for another database.
    #[error("there is no database {0:?} here")]
    UnknownDatabase(String),
    /// This engine does not do what the operation asks for.
    #[error("{0}")]
    NotSupported(&'static str),
    /// The transaction would take more memory or time than [`Limits`](super::Limits) allows.
    #[error("the transaction exceeds the limit of {limit} {what}")]
    ResourcesExhausted {
        /// What there would be too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        if error.is_constraint_violation() { Failure::Value(error) } else { Failure::Syntax(error) }
    }
}

impl Failure {
    /// The RFC's error string.
    pub fn tag(&self) -> &'static str {
        match self {
            Failure::Syntax(_) | Failure::UnknownTable(_) => "syntax error",
            Failure::Value(_)
            | Failure::Immutable { .. }
            | Failure::NotUnique { .. }
            | Failure::TooManyRows { .. }
            | Failure::WeakReferenceLost { .. } => "constraint violation",
            Failure::UnknownColumn { .. } => "unknown column",
            Failure::Dangling { .. } => "referential integrity violation",
            Failure::DivisionByZero { .. } => "domain error",
            Failure::OutOfRange { .. } => "range error",
            Failure::TimedOut => "timed out",
            Failure::NotOwner(_) => "not owner",
            Failure::Aborted => "aborted",
            Failure::DuplicateUuidName(_) => "duplicate uuid-name",
            Failure::DuplicateUuid(_) => "duplicate uuid",
            Failure::UnknownDatabase(_) => "unknown database",
            Failure::NotSupported(_) => "not supported",
            Failure::ResourcesExhausted { .. } => "resources exhausted",
        }
    }

    /// The JSON form: RFC 7047 section 3.1 `<error>`, with `error` and `details`.
    pub fn to_json(&self) -> Json {
        Json::object([("error", Json::string(self.tag())), ("details", Json::String(self.to_string()))])
    }
}
