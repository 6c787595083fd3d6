//! Cuts a list of actions into items: `NAME`, `NAME:ARGUMENT`, `NAME=ARGUMENT` or `NAME(ARGUMENT)`, with commas or
//! white space between them.
//!
//! An argument behind a colon ends where the next comma or white space stands outside parentheses. The scan is one pass
//! without recursion, however the parentheses nest.

use nom::IResult;
use nom::Parser;
use nom::bytes::complete::{take_while, take_while1};
use nom::character::complete::one_of;

use super::error::ParseFlowError;

/// An item of a list, as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Item<'a> {
    pub(super) name: &'a str,
    /// What stands behind the colon or in the parentheses.
    pub(super) arg: Option<&'a str>,
    /// Byte offset of the name.
    pub(super) at: usize,
    /// Byte offset of the argument, or of the end of the name.
    pub(super) arg_at: usize,
}

fn is_space(c: char) -> bool {
    matches!(c, ',' | ' ' | '\t' | '\r' | '\n')
}

fn space(input: &str) -> IResult<&str, &str> {
    take_while(is_space).parse(input)
}

fn name(input: &str) -> IResult<&str, &str> {
    take_while1(|c: char| !is_space(c) && !matches!(c, ':' | '=' | '(' | ')')).parse(input)
}

fn opening(input: &str) -> IResult<&str, char> {
    one_of(":=(").parse(input)
}

/// Splits an argument off: up to the parenthesis that closes it if it was `opened`, else up to a separator.
fn argument(input: &str, opened: bool) -> Option<(&str, &str)> {
    let mut depth = 0usize;
    for (at, c) in input.char_indices() {
        match c {
            ')' if depth == 0 => return if opened { Some((input.get(at + 1..)?, input.get(..at)?)) } else { None },
            ')' => depth -= 1,
            '(' => depth += 1,
            c if is_space(c) && depth == 0 && !opened => return Some((input.get(at..)?, input.get(..at)?)),
            _ => {}
        }
    }
    (depth == 0 && !opened).then_some(("", input))
}

/// The items of `text`.
pub(super) fn items(text: &str) -> Result<Vec<Item<'_>>, ParseFlowError> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = space(rest).map_or(rest, |(rest, _)| rest);
        if rest.is_empty() {
            return Ok(found);
        }
        let offset = |rest: &str| text.len().saturating_sub(rest.len());
        let at = offset(rest);
        let (behind, name) = name(rest).map_err(|_| ParseFlowError::expected(at, "an action", rest))?;
        let (behind, open) = opening(behind).map_or((behind, None), |(b, c)| (b, Some(c)));
        let arg_at = offset(behind);
        let (behind, arg) = match open {
            None => (behind, None),
            Some(c) => {
                let unbalanced = || ParseFlowError::expected(arg_at, "balanced parentheses", behind);
                let (behind, arg) = argument(behind, c == '(').ok_or_else(unbalanced)?;
                match behind.strip_prefix("->") {
                    // A target behind the parentheses: `check_pkt_larger(100)->reg0[0]`.
                    Some(_) => {
                        let end = behind.find(is_space).unwrap_or(behind.len());
                        let rest = behind.get(end..).unwrap_or_default();
                        (rest, text.get(arg_at..offset(rest)))
                    }
                    None => (behind, Some(arg)),
                }
            }
        };
        if !behind.is_empty() && !behind.starts_with(is_space) {
            return Err(ParseFlowError::expected(offset(behind), "a comma", behind));
        }
        found.push(Item { name, arg, at, arg_at });
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_all_shapes() {
        let text = " a,b:c(d,e)f  g(h,(i)),,j=k ";
        let found: Vec<_> = items(text).unwrap().iter().map(|i| (i.name, i.arg, i.at, i.arg_at)).collect();
        assert_eq!(
            found,
            [("a", None, 1, 2), ("b", Some("c(d,e)f"), 3, 5), ("g", Some("h,(i)"), 14, 16), ("j", Some("k"), 24, 26)]
        );
    }

    #[test]
    fn parentheses_must_balance() {
        for (text, at) in [("a(b", 2), ("a)", 1), ("a:(b", 2), ("a:b)", 2), ("a(b)c", 4), ("(a)", 0)] {
            assert_eq!(items(text).unwrap_err().at, at, "{text}");
        }
    }
}
