//! Cuts a list into items: `NAME`, `NAME:ARGUMENT`, `NAME=ARGUMENT` or `NAME(ARGUMENT)`, with commas or white space
//! between them.
//!
//! An argument behind a colon ends where the next comma or white space stands outside parentheses; one in parentheses
//! where they close, or where `->TARGET` behind them ends. Parentheses that do not close end with the text, as upstream
//! has it: no text is refused here. The scan is one pass without recursion, however the parentheses nest.

use nom::IResult;
use nom::Parser;
use nom::character::complete::one_of;
use nom::combinator::opt;

/// An item of a list, as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Item<'a> {
    pub(super) name: &'a str,
    /// What stands behind the colon or in the parentheses; nothing if there is none.
    pub(super) arg: &'a str,
    /// Byte offset of the name.
    pub(super) at: usize,
    /// Byte offset of the argument, or of the end of the name.
    pub(super) arg_at: usize,
}

fn is_space(b: u8) -> bool {
    matches!(b, b',' | b' ' | b'\t' | b'\r' | b'\n')
}

/// The items of a text, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Items<'a> {
    text: &'a str,
    rest: &'a str,
}

/// The items of `text`.
pub(super) fn items(text: &str) -> Items<'_> {
    Items { text, rest: text }
}

/// The items of a list, such as those of actions: names, and what stands behind a colon or an equals sign or in
/// parentheses; nothing if there is none.
///
/// ```
/// use ovs_ofproto::text::key_values;
///
/// assert!(key_values("a:b,c(d(e),f) g").eq([("a", "b"), ("c", "d(e),f"), ("g", "")]));
/// ```
pub fn key_values(text: &str) -> impl Iterator<Item = (&str, &str)> {
    items(text).map(|item| (item.name, item.arg))
}

impl Items<'_> {
    /// Byte offset of what is not read yet.
    pub(super) fn at(&self) -> usize {
        self.text.len().saturating_sub(self.rest.len())
    }
}

/// What stands in front of the first byte that ends it, and what is left. All bytes that end anything are characters.
fn until(input: &str, ends: impl Fn(u8) -> bool) -> IResult<&str, &str> {
    let end = input.bytes().position(ends).unwrap_or(input.len());
    let (before, behind) = input.split_at_checked(end).unwrap_or((input, ""));
    Ok((behind, before))
}

fn space(input: &str) -> IResult<&str, &str> {
    until(input, |b| !is_space(b))
}

fn name(input: &str) -> IResult<&str, &str> {
    until(input, |b| is_space(b) || matches!(b, b':' | b'=' | b'('))
}

fn opening(input: &str) -> IResult<&str, Option<char>> {
    opt(one_of(":=(")).parse(input)
}

/// Length of what stands before the first byte that ends it outside parentheses.
fn value(input: &str, ends: impl Fn(u8) -> bool) -> usize {
    let mut depth = 0usize;
    for (at, b) in input.bytes().enumerate() {
        match b {
            b if depth == 0 && ends(b) => return at,
            b'(' => depth = depth.saturating_add(1),
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    input.len()
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let (rest, _) = space(self.rest).ok()?;
        self.rest = rest;
        if rest.is_empty() {
            return None;
        }
        let at = self.at();
        let (rest, name) = name(rest).ok()?;
        let (rest, open) = opening(rest).ok()?;
        self.rest = rest;
        let arg_at = self.at();
        let len = match open {
            None => 0,
            Some('(') => {
                let len = value(rest, |b| b == b')');
                let behind = rest.get(len..).unwrap_or_default();
                len.saturating_add(if behind.starts_with(")->") { value(behind, is_space) } else { 0 })
            }
            Some(_) => value(rest, is_space),
        };
        let (arg, behind) = rest.split_at_checked(len)?;
        // What ended the argument belongs to nothing.
        self.rest = match open {
            None => behind,
            Some(_) => behind.get(1..).unwrap_or_default(),
        };
        Some(Item { name, arg, at, arg_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(&str, &str, usize, usize)> {
        items(text).map(|i| (i.name, i.arg, i.at, i.arg_at)).collect()
    }

    #[test]
    fn items_of_all_shapes() {
        assert_eq!(
            cut(" a,b:c(d,e)f  g(h,(i)),,j=k "),
            [("a", "", 1, 2), ("b", "c(d,e)f", 3, 5), ("g", "h,(i)", 14, 16), ("j", "k", 24, 26)]
        );
        assert_eq!(cut("check(100)->reg0[0],x"), [("check", "100)->reg0[0]", 0, 6), ("x", "", 20, 21)]);
        assert_eq!(cut(":x"), [("", "x", 0, 1)]);
    }

    #[test]
    fn parentheses_need_not_balance() {
        assert_eq!(cut("a(b"), [("a", "b", 0, 2)]);
        assert_eq!(cut("a(b(c)"), [("a", "b(c)", 0, 2)]);
        assert_eq!(cut("a=b(c"), [("a", "b(c", 0, 2)]);
        assert_eq!(cut("a(b))"), [("a", "b", 0, 2), (")", "", 4, 5)]);
        assert_eq!(items(&"(".repeat(100_000)).count(), 1);
    }

    #[test]
    fn places_are_bytes() {
        assert_eq!(cut("é(ü)ö:ä"), [("é", "ü", 0, 3), ("ö", "ä", 6, 9)]);
    }
}
