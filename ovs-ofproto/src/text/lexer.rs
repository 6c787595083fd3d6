//! Cuts a list into items: `NAME`, `NAME:ARGUMENT`, `NAME=ARGUMENT` or `NAME(ARGUMENT)`, with commas or white space
//! between them.
//!
//! An argument behind a colon ends where the next comma or white space stands outside parentheses; one in parentheses
//! where they close, or where `->TARGET` behind them ends. Parentheses that do not close end with the text, as upstream
//! has it: no text is refused here.

use nom::IResult;
use ovs_packet::text::{end_of_parenthesis, end_of_value};

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

/// Of a byte: it stands between items.
const SPACE: u8 = 1;
/// Of a byte: it ends a name and begins an argument.
const OPENING: u8 = 2;

/// What each byte is. All that are anything are characters.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut b = 0;
    while b < 256 {
        classes[b] = match b as u8 {
            b',' | b' ' | b'\t' | b'\r' | b'\n' => SPACE,
            b':' | b'=' | b'(' => OPENING,
            _ => 0,
        };
        b += 1;
    }
    classes
};

#[inline(always)]
fn class_of(b: u8) -> u8 {
    CLASSES.get(usize::from(b)).copied().unwrap_or(0)
}

/// Whether a byte stands between items.
#[inline(always)]
pub(super) fn is_space(b: u8) -> bool {
    class_of(b) == SPACE
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

/// What stands in front of the first byte of a class that ends it, and what is left.
#[inline(always)]
fn until(input: &str, ends: impl Fn(u8) -> bool) -> IResult<&str, &str> {
    let end = input.bytes().position(|b| ends(class_of(b))).unwrap_or(input.len());
    let (before, behind) = input.split_at_checked(end).unwrap_or((input, ""));
    Ok((behind, before))
}

/// What stands before the first of some byte, which is a character, and what behind it.
#[inline]
pub(super) fn split(text: &str, at: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|b| b == at)?;
    Some((text.get(..at)?, text.get(at.saturating_add(1)..)?))
}

/// A text without white space around it; most have none.
#[inline]
pub(super) fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [] => text,
        [first, ..] if first.is_ascii_graphic() && text.bytes().next_back().is_some_and(|b| b.is_ascii_graphic()) => {
            text
        }
        _ => text.trim(),
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        (self.rest, _) = until(self.rest, |class| class != SPACE).ok()?;
        if self.rest.is_empty() {
            return None;
        }
        let at = self.at();
        let (rest, name) = until(self.rest, |class| class & (SPACE | OPENING) != 0).ok()?;
        let opening = rest.bytes().next().filter(|b| class_of(*b) & OPENING != 0);
        let rest = rest.get(usize::from(opening.is_some())..)?;
        let arg_at = self.text.len().saturating_sub(rest.len());
        let len = match opening {
            None => 0,
            Some(b'(') => {
                let len = end_of_parenthesis(rest);
                let behind = rest.get(len..).unwrap_or_default();
                len.saturating_add(if behind.starts_with(")->") { end_of_value(behind) } else { 0 })
            }
            Some(_) => end_of_value(rest),
        };
        let (arg, behind) = rest.split_at_checked(len)?;
        // What ended the argument belongs to nothing.
        self.rest = match opening {
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
