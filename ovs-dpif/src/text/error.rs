//! Why a text is no key and no list of actions.

use std::borrow::Cow;
use std::fmt;

/// What is wrong with a text, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextError {
    /// Byte of the text, counted from zero.
    pub at: usize,
    /// What should have stood there.
    pub expected: Cow<'static, str>,
}

impl TextError {
    pub(super) fn new(at: usize, expected: impl Into<Cow<'static, str>>) -> Self {
        TextError { at, expected: expected.into() }
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "syntax error at character {}: expected {}", self.at + 1, self.expected)
    }
}

impl std::error::Error for TextError {}
