//! What can be wrong with bytes read, and with a message being built.

/// Bytes that are not what they should be: what, and at which offset in the buffer that was given to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {kind}")]
pub struct DecodeError {
    /// Offset of the culprit.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: DecodeErrorKind,
}

impl DecodeError {
    pub(crate) fn new(offset: usize, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { offset, kind }
    }
}

/// What is wrong with bytes read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes end too early.
    #[error("{needed} bytes needed, {available} there")]
    Truncated {
        /// Bytes that the structure needs.
        needed: usize,
        /// Bytes that are left.
        available: usize,
    },
    /// A length field is smaller than the header that it counts.
    #[error("the length {length} does not cover the header of {header} bytes")]
    ShortLength {
        /// The length field.
        length: usize,
        /// The size of the header.
        header: usize,
    },
    /// The payload of an attribute has not the size of its type.
    #[error("attribute {attribute} has {found} bytes, {expected} needed")]
    WrongSize {
        /// The type of the attribute.
        attribute: u16,
        /// The bytes needed (of an array: of an element).
        expected: usize,
        /// The bytes found.
        found: usize,
    },
    /// The payload of an attribute is not a string that ends with a NUL, and with the first one.
    #[error("attribute {attribute} is not a string that ends with NUL")]
    NotAString {
        /// The type of the attribute.
        attribute: u16,
    },
    /// The string is not UTF-8.
    #[error("attribute {attribute} is not UTF-8")]
    NotUtf8 {
        /// The type of the attribute.
        attribute: u16,
    },
    /// The string is not the name of a network device: see [`IfName`](crate::ovs::IfName).
    #[error("attribute {attribute} is not the name of a network device")]
    NotAName {
        /// The type of the attribute.
        attribute: u16,
    },
    /// Attributes are nested deeper than [`MAX_NESTING`](crate::attr::MAX_NESTING).
    #[error("attribute {attribute} is nested too deeply")]
    TooDeep {
        /// The type of the attribute.
        attribute: u16,
    },
    /// The set has no such attribute: see [`Policy::check`](crate::attr::Policy::check).
    #[error("attribute {attribute} is unknown")]
    Unknown {
        /// The type of the attribute.
        attribute: u16,
    },
    /// An attribute that the message must have is not there.
    #[error("attribute {attribute} is missing")]
    Missing {
        /// The type of the attribute.
        attribute: u16,
    },
}

/// A message that cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// An attribute, header included, has more bytes than its 16-bit length can count: 65,535.
    #[error("attribute {attribute} would have {length} bytes, at most 65535 are possible")]
    AttributeTooLong {
        /// The type of the attribute.
        attribute: u16,
        /// The bytes that it would have.
        length: usize,
    },
    /// Bytes are fewer or more than the attribute may have.
    #[error("attribute {attribute} cannot have {length} bytes")]
    WrongSize {
        /// The type of the attribute.
        attribute: u16,
        /// The bytes given.
        length: usize,
    },
    /// A string has a NUL inside.
    #[error("the string for attribute {attribute} has a NUL inside")]
    NulInside {
        /// The type of the attribute.
        attribute: u16,
    },
    /// Attributes are nested deeper than [`MAX_NESTING`](crate::attr::MAX_NESTING).
    #[error("attribute {attribute} is nested too deeply")]
    TooDeep {
        /// The type of the attribute.
        attribute: u16,
    },
    /// A message has more bytes than its 32-bit length can count.
    #[error("a message of {0} bytes is too long")]
    MessageTooLong(usize),
}
