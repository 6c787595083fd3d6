//! The grammar under keys and actions: terms with values or with terms in parentheses.
//!
//! ```text
//! terms = [ term *( "," term ) ]
//! term  = word [ "=" ] [ "(" terms ")" ] / "{" terms "}"       groups in braces follow one another without commas
//! ```
//!
//! Text becomes a tree first, whose nodes know where they stood; what the names mean is left to its readers. So the
//! depth of nesting is bounded in one place, and an error names a position.

use std::borrow::Cow;

use nom::bytes::complete::{take, take_while};
use nom::character::complete::char;
use nom::combinator::opt;
use nom::error::{ErrorKind, ParseError};
use nom::sequence::preceded;
use nom::{IResult, Parser};

use super::TextError;

/// How deep terms may nest.
pub(super) const MAX_DEPTH: usize = 32;

/// A term: `name`, `name=value`, `name(terms)`, `name=value(terms)`, `(terms)` or `{terms}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Term<'t> {
    /// Byte at which the term begins.
    pub(super) at: usize,
    /// What stands before `=` or the parenthesis; empty for a group without a name.
    pub(super) name: &'t str,
    /// What stands behind `=`.
    pub(super) value: Option<&'t str>,
    /// The terms in parentheses.
    pub(super) args: Option<Vec<Term<'t>>>,
}

/// Reads a whole text as terms.
pub(super) fn terms(text: &str) -> Result<Vec<Term<'_>>, TextError> {
    let grammar = Grammar { len: text.len() };
    match grammar.terms(text, 0) {
        Ok(("", terms)) => Ok(terms),
        Ok((rest, _)) => Err(TextError::new(text.len() - rest.len(), "a comma or the end")),
        Err(nom::Err::Error(e) | nom::Err::Failure(e)) => Err(TextError::new(text.len() - e.left, e.what)),
        Err(nom::Err::Incomplete(_)) => Err(TextError::new(text.len(), "more text")),
    }
}

impl<'t> Term<'t> {
    /// The terms in parentheses.
    ///
    /// # Errors
    /// If there are none, or a value stands there as well.
    pub(super) fn args(&self) -> Result<&[Term<'t>], TextError> {
        match (&self.args, self.value) {
            (Some(args), None) => Ok(args),
            _ => Err(TextError::new(self.at, format!("'{}' with parentheses", self.name))),
        }
    }

    /// The one word in parentheses, as in `in_port(1)`, and where it stands.
    pub(super) fn word(&self) -> Result<(&'t str, usize), TextError> {
        match self.args()? {
            [Term { at, name, value: None, args: None }] if !name.is_empty() => Ok((name, *at)),
            _ => Err(TextError::new(self.at, format!("'{}' with one value in parentheses", self.name))),
        }
    }

    /// What stands behind `=`, and where.
    pub(super) fn value(&self) -> Result<(&'t str, usize), TextError> {
        match (self.value, &self.args) {
            (Some(value), None) => Ok((value, self.at + self.name.len() + 1)),
            _ => Err(TextError::new(self.at, format!("'{}' with '=' and a value", self.name))),
        }
    }

    /// Whether the term is a name alone.
    pub(super) fn is_bare(&self) -> bool {
        self.value.is_none() && self.args.is_none()
    }

    /// Refuses a term that is more than a name.
    pub(super) fn bare(&self) -> Result<(), TextError> {
        if self.is_bare() { Ok(()) } else { Err(TextError::new(self.at, format!("'{}' alone", self.name))) }
    }
}

type Parsed<'t, T> = IResult<&'t str, T, Expected>;

/// What should have stood where so many bytes were left.
#[derive(Debug)]
struct Expected {
    left: usize,
    what: Cow<'static, str>,
}

impl ParseError<&str> for Expected {
    fn from_error_kind(rest: &str, kind: ErrorKind) -> Self {
        Expected { left: rest.len(), what: kind.description().to_string().into() }
    }

    fn append(_: &str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

fn fail<T>(rest: &str, what: impl Into<Cow<'static, str>>) -> Parsed<'_, T> {
    Err(nom::Err::Failure(Expected { left: rest.len(), what: what.into() }))
}

fn is_word(c: char) -> bool {
    !c.is_ascii_whitespace() && !matches!(c, ',' | '(' | ')' | '{' | '}')
}

/// Reads terms in a text of `len` bytes.
struct Grammar {
    len: usize,
}

impl Grammar {
    fn terms<'t>(&self, mut rest: &'t str, depth: usize) -> Parsed<'t, Vec<Term<'t>>> {
        let mut out = Vec::new();
        loop {
            (rest, _) = take_while(|c: char| c.is_ascii_whitespace() || c == ',').parse(rest)?;
            if rest.is_empty() || rest.starts_with([')', '}']) {
                return Ok((rest, out));
            }
            let term;
            (rest, term) = self.term(rest, depth)?;
            out.push(term);
        }
    }

    fn term<'t>(&self, text: &'t str, depth: usize) -> Parsed<'t, Term<'t>> {
        let name = take_while(|c| is_word(c) && c != '=');
        let value = opt(preceded(char('='), take_while(is_word)));
        let (rest, (name, value)) = (name, value).parse(text)?;
        let (rest, args) = match rest.chars().next() {
            Some('(') => self.group(rest, ')', depth)?,
            Some('{') if name.is_empty() => self.group(rest, '}', depth)?,
            _ if name.is_empty() => return fail(text, "a name"),
            _ => (rest, None),
        };
        Ok((rest, Term { at: self.len - text.len(), name, value, args }))
    }

    /// The terms within brackets.
    fn group<'t>(&self, text: &'t str, close: char, depth: usize) -> Parsed<'t, Option<Vec<Term<'t>>>> {
        if depth == MAX_DEPTH {
            return fail(text, format!("no more than {MAX_DEPTH} brackets within one another"));
        }
        let (rest, _) = take(1usize).parse(text)?;
        let (rest, terms) = self.terms(rest, depth + 1)?;
        match rest.strip_prefix(close) {
            Some(rest) => Ok((rest, Some(terms))),
            None => fail(rest, format!("'{close}'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_nest() {
        let tree = terms("a,b=1/2,c(d=x, e(f),(g)){h}{i}").unwrap();
        let names: Vec<_> = tree.iter().map(|t| (t.at, t.name, t.value)).collect();
        assert_eq!(names, [(0, "a", None), (2, "b", Some("1/2")), (8, "c", None), (24, "", None), (27, "", None)]);
        let c = tree[2].args().unwrap();
        assert_eq!((c[0].value().unwrap(), c[1].word().unwrap(), c[2].name), (("x", 12), ("f", 17), ""));
    }

    #[test]
    fn errors_have_a_place() {
        for (text, at) in [("a(b", 3), ("a)", 1), ("=1", 0), ("a(b}", 3), ("a,b(c", 5)] {
            assert_eq!(terms(text).unwrap_err().at, at, "{text}");
        }
        let deep = "clone(".repeat(10_000);
        assert_eq!(terms(&deep).unwrap_err().at, 6 * (MAX_DEPTH + 1) - 1);
    }
}
