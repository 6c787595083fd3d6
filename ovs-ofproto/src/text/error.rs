//! What can be wrong with a text of the language, and where.

use std::fmt;

use ovs_packet::field::{FieldId, Format, ParseValueError, Value};
use ovs_packet::text::{MatchProblem, integer};

use crate::codec::OfError;

/// Why a text is not of the language.
///
/// ```
/// use ovs_ofproto::FlowMod;
///
/// let error = "priority=5,actions=output:2,bogus".parse::<FlowMod>().unwrap_err();
/// assert_eq!(error.to_string(), "at offset 28: unknown action bogus");
/// assert_eq!((error.at, error.problem.to_string().as_str()), (28, "unknown action bogus"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ParseFlowError {
    /// Byte offset in the text of what is wrong.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at a place of a text. Where upstream's tools say something of it, these are their words.
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
    /// Something is not what it should be, as the text says.
    Invalid(String),
    /// The match is none.
    Match(MatchProblem),
    /// The value of a field is none.
    Value(ParseValueError),
    /// The instructions would be refused with this error.
    Refused {
        /// The error of OpenFlow.
        error: OfError,
        /// What is wrong; may be empty.
        why: String,
    },
    /// Lists are nested deeper than [`MAX_NESTING`](crate::codec::MAX_NESTING).
    TooDeep,
}

/// What a reader of the language gives.
pub(super) type Parsed<T> = Result<T, ParseFlowError>;

impl ParseFlowError {
    #[cold]
    pub(super) fn expected(at: usize, expected: &'static str, found: &str) -> ParseFlowError {
        let found = match found.char_indices().nth(40) {
            Some((end, _)) => format!("{}...", found.get(..end).unwrap_or_default()),
            None => found.to_string(),
        };
        ParseFlowError { at, problem: Problem::Expected { expected, found } }
    }

    #[cold]
    pub(super) fn invalid(at: usize, says: impl Into<String>) -> ParseFlowError {
        ParseFlowError { at, problem: Problem::Invalid(says.into()) }
    }

    #[cold]
    pub(super) fn refused(at: usize, error: OfError, why: impl Into<String>) -> ParseFlowError {
        ParseFlowError { at, problem: Problem::Refused { error, why: why.into() } }
    }

    /// The same error, of a text that begins `by` bytes before the one that was read.
    #[cold]
    pub(super) fn moved(mut self, by: usize) -> ParseFlowError {
        self.at = self.at.saturating_add(by);
        self
    }
}

/// What `says` of the text at `at`, as an error.
#[cold]
pub(super) fn invalid<T>(at: usize, says: impl Into<String>) -> Parsed<T> {
    Err(ParseFlowError::invalid(at, says))
}

impl fmt::Display for ParseFlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at offset {}: {}", self.at, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Expected { expected, found } if found.is_empty() => write!(f, "expected {expected}"),
            Problem::Expected { expected, found } => write!(f, "expected {expected}, not {found:?}"),
            Problem::UnknownAction(name) => write!(f, "unknown action {name}"),
            Problem::Invalid(says) => f.write_str(says),
            Problem::Match(MatchProblem::UnknownField { name }) => write!(f, "unknown keyword {name}"),
            Problem::Match(MatchProblem::MissingValue { name }) => write!(f, "field {name} missing value"),
            Problem::Match(MatchProblem::Value(e)) | Problem::Value(e) => value(f, e),
            Problem::Match(e) => e.fmt(f),
            Problem::Refused { error, .. } => write!(f, "actions are invalid with specified match ({error})"),
            Problem::TooDeep => f.write_str("Action nested too deeply"),
        }
    }
}

/// What is wrong with the value of a field.
fn value(f: &mut fmt::Formatter<'_>, e: &ParseValueError) -> fmt::Result {
    let (text, info) = (&e.text, e.field.info());
    let (number, mask) = text.split_once('/').map_or((text.as_str(), None), |(value, mask)| (value, Some(mask)));
    let bytes = info.bits.div_ceil(8);
    let too_large = |n: Option<u128>| n.is_some_and(|n| n.checked_shr((bytes * 8).into()).unwrap_or(0) != 0);
    match info.format {
        Format::Decimal | Format::Hexadecimal => {
            let (value, bits) = (integer(number), mask.map(integer));
            match (value, bits) {
                (None, _) => write!(f, "{text}: bad syntax for {} value", info.name),
                (_, Some(None)) => write!(f, "{text}: bad syntax for {} mask", info.name),
                (value, _) if too_large(value) => {
                    write!(f, "{text}: value too large for {bytes}-byte field {}", info.name)
                }
                (_, Some(bits)) if too_large(bits) => {
                    write!(f, "{text}: mask too large for {bytes}-byte field {}", info.name)
                }
                (_, Some(_)) if !info.maskable => write!(f, "{text}: invalid mask for field {}", info.name),
                _ => write!(f, "{text} is not a valid value for field {}", info.name),
            }
        }
        Format::Ethernet => write!(f, "{text}: invalid Ethernet address"),
        Format::Ipv4 => write!(f, "{text}: invalid IP address"),
        Format::Ipv6 => write!(f, "{text}: invalid IPv6 address"),
        Format::Port16 => write!(f, "{text}: invalid or unknown port for {}", info.name),
        Format::Port if integer(text).is_none() => {
            let name = info.name.trim_end_matches("_oxm");
            write!(f, "{text}: invalid or unknown port for {name}")
        }
        Format::Port => write!(f, "{text}: port value out of range for {}", info.name),
        Format::Fragment => write!(
            f,
            "{text}: unknown fragment type (valid types are \"no\", \"yes\", \"first\", \"later\", \"not_later\""
        ),
        Format::TcpFlags | Format::CtState | Format::TunnelFlags => match said_twice(text) {
            Some(flag) => {
                let kind = if e.field == FieldId::TcpFlags { "TCP" } else { info.name };
                write!(f, "{flag}: Each {kind} flag can be specified only once")
            }
            None => write!(f, "{text}: expected {} for {}", e.expected, info.name),
        },
        _ => write!(f, "{text}: expected {} for {}", e.expected, info.name),
    }
}

/// The first flag with a sign that stands there again.
fn said_twice(text: &str) -> Option<&str> {
    let flags = || text.starts_with(['+', '-']).then(|| text.split(['+', '-']).skip(1)).into_iter().flatten();
    flags().enumerate().find(|(n, flag)| flags().take(*n).any(|before| before == *flag)).map(|(_, flag)| flag)
}

/// Reads the value of a field, with a mask or without.
pub(super) fn field_value(field: FieldId, text: &str, at: usize) -> Parsed<Value> {
    Value::parse(field, text).map_err(|e| ParseFlowError { at, problem: Problem::Value(e) })
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
