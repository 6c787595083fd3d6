//! What can be wrong with a flow in words, and where.

use std::fmt;

use ovs_packet::field::ParseValueError;
use ovs_packet::text::MatchProblem;

use crate::codec::OfError;

/// Why a text is no flow or no list of actions.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ParseFlowError {
    /// Byte offset in the text of what is wrong.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at a place of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// Something else should be there.
    Expected {
        /// What should be there.
        expected: &'static str,
        /// What is.
        found: String,
    },
    /// No action is called so, and no port.
    UnknownAction(String),
    /// Upstream has it, this crate does not yet.
    NotBuilt(String),
    /// The match is none.
    Match(MatchProblem),
    /// The value of a field is none.
    Value(ParseValueError),
    /// The action needs the flow to match something, or to know from the match what it means.
    NeedsMatch {
        /// The action.
        action: String,
        /// What the match must say.
        needs: &'static str,
    },
    /// The instructions would be refused with this error.
    Refused {
        /// The error of OpenFlow.
        error: OfError,
        /// What is wrong.
        why: &'static str,
    },
    /// Lists are nested deeper than [`MAX_NESTING`](crate::codec::MAX_NESTING).
    TooDeep,
}

impl ParseFlowError {
    pub(super) fn expected(at: usize, expected: &'static str, found: &str) -> ParseFlowError {
        let found = match found.char_indices().nth(40) {
            Some((end, _)) => format!("{}...", found.get(..end).unwrap_or_default()),
            None => found.to_string(),
        };
        ParseFlowError { at, problem: Problem::Expected { expected, found } }
    }

    /// The same error, of a text that begins `by` bytes before the one that was read.
    pub(super) fn moved(mut self, by: usize) -> ParseFlowError {
        self.at = self.at.saturating_add(by);
        self
    }
}

impl fmt::Display for ParseFlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at offset {}: ", self.at)?;
        match &self.problem {
            Problem::Expected { expected, found } if found.is_empty() => write!(f, "expected {expected}"),
            Problem::Expected { expected, found } => write!(f, "expected {expected}, not {found:?}"),
            Problem::UnknownAction(name) => write!(f, "unknown action {name:?}"),
            Problem::NotBuilt(what) => write!(f, "{what} is not built yet"),
            Problem::Match(e) => e.fmt(f),
            Problem::Value(e) => e.fmt(f),
            Problem::NeedsMatch { action, needs } => write!(f, "{action} needs {needs} in the match"),
            Problem::Refused { error, why } => write!(f, "{why} ({error})"),
            Problem::TooDeep => write!(f, "actions are nested more than {} deep", crate::codec::MAX_NESTING),
        }
    }
}

impl std::error::Error for ParseFlowError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Match(e) => Some(e),
            Problem::Value(e) => Some(e),
            _ => None,
        }
    }
}
