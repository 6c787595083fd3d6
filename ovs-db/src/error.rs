//! What can be wrong with a value, a type or a schema, and where.

use std::fmt;

use crate::data::AtomicType;

/// Something wrong with a JSON form of a value, type or schema: what ([`Error::kind`]) and where ([`Error::place`]).
///
/// The place reads from the outside in, for example `table "Bridge": column "ports": element 3`.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    place: Vec<String>,
    kind: ErrorKind,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Error {
        Error { place: Vec::new(), kind }
    }

    /// The same error, seen from one level further out.
    pub(crate) fn at(mut self, place: impl Into<String>) -> Error {
        self.place.insert(0, place.into());
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Where it is wrong, from the outermost place in. Empty when the value as a whole is meant.
    pub fn place(&self) -> &[String] {
        &self.place
    }

    /// Whether the value had the right form but not the right content: RFC 7047 calls the one a `constraint violation`
    /// and the other a `syntax error`.
    pub fn is_constraint_violation(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::NotInEnum | ErrorKind::BelowMinimum | ErrorKind::AboveMaximum | ErrorKind::Duplicate
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in &self.place {
            write!(f, "{place}: ")?;
        }
        self.kind.fmt(f)
    }
}

impl std::error::Error for Error {}

/// What is wrong with a value, type or schema.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another kind of JSON value was needed here.
    #[error("{expected} expected, found {found}")]
    Expected {
        /// What the place needs.
        expected: &'static str,
        /// What kind of JSON value is there.
        found: &'static str,
    },
    /// An atom of another type was needed here.
    #[error("a value of type {expected} expected, found {found}")]
    WrongType {
        /// The type that the column has.
        expected: AtomicType,
        /// What kind of JSON value is there.
        found: &'static str,
    },
    /// The member is required and absent.
    #[error("member {0:?} is missing")]
    MissingMember(&'static str),
    /// The object has a member that means nothing here.
    #[error("member {0:?} is not known here")]
    UnknownMember(String),
    /// A word that is none of the words defined for this place.
    #[error("{0:?} is not a word known here")]
    UnknownWord(String),
    /// The text after `"uuid"` is not a UUID of 36 characters.
    #[error("{0:?} is not a UUID")]
    BadUuid(String),
    /// A named-uuid that no insert operation of the transaction defines.
    #[error("no insert of this transaction has the uuid-name {0:?}")]
    UnknownNamedUuid(String),
    /// Not an identifier: a letter or underscore, then letters, digits and underscores (RFC 7047 section 3.1 `<id>`).
    #[error("{0:?} is not an identifier")]
    BadIdentifier(String),
    /// A table or column name that starts with an underscore is reserved (RFC 7047 section 3.2).
    #[error("{0:?} is reserved: names that start with an underscore are")]
    ReservedName(String),
    /// Not a version: three decimal numbers separated by dots (RFC 7047 section 3.1 `<version>`).
    #[error("{0:?} is not a version of the form x.y.z")]
    BadVersion(String),
    /// A string contains a null character, which RFC 7047 section 3.1 rules out.
    #[error("the string contains a null character")]
    NullCharacter,
    /// The set or map has too few or too many elements for the type.
    #[error("{found} elements where {min} to {max} are allowed")]
    Count {
        /// Elements present.
        found: usize,
        /// Fewest allowed.
        min: usize,
        /// Most allowed (`usize::MAX`: any number).
        max: usize,
    },
    /// The same set element or map key twice.
    #[error("the same element or key occurs twice")]
    Duplicate,
    /// The value is not one of those that the enumeration lists.
    #[error("the value is not one that the enumeration allows")]
    NotInEnum,
    /// The number, or the length of the string, is less than the minimum.
    #[error("the value is below the minimum")]
    BelowMinimum,
    /// The number, or the length of the string, is more than the maximum.
    #[error("the value is above the maximum")]
    AboveMaximum,
    /// The constraint does not go with the type, or contradicts another one.
    #[error("{0}")]
    BadConstraint(&'static str),
    /// A reference to a table that the schema does not have.
    #[error("the schema has no table {0:?}")]
    UnknownTable(String),
    /// A column that the table does not have.
    #[error("the table has no column {0:?}")]
    UnknownColumn(String),
    /// A function or mutator that the type of the column does not allow.
    #[error("{word:?} does not apply to a column of this type")]
    NotApplicable {
        /// The function or mutator.
        word: &'static str,
    },
}
