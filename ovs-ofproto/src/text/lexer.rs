//! Cuts a list into items: `NAME`, `NAME:ARGUMENT`, `NAME=ARGUMENT` or `NAME(ARGUMENT)`, with commas or white space
//! between them.
//!
//! An argument behind a colon ends where the next comma or white space stands outside parentheses; one in parentheses
//! where they close, or where `->TARGET` behind them ends. Parentheses that do not close end with the text, as upstream
//! has it: no text is refused here. The scan is one pass without recursion, however the parentheses nest.

use nom::IResult;

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
/// Of a byte: it opens a parenthesis.
const OPEN: u8 = 4;
/// Of a byte: it closes one.
const CLOSE: u8 = 8;

/// What each byte is. All that are anything are characters.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut b = 0;
    while b < 256 {
        classes[b] = match b as u8 {
            b',' | b' ' | b'\t' | b'\r' | b'\n' => SPACE,
            b':' | b'=' => OPENING,
            b'(' => OPENING | OPEN,
            b')' => CLOSE,
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

/// Length of what stands before the first byte of a class outside parentheses.
#[inline]
fn nested(input: &str, ends: u8) -> usize {
    let (mut at, mut depth) = (0usize, 0usize);
    loop {
        let stops = OPEN | CLOSE | if depth == 0 { ends } else { 0 };
        let mut rest = input.as_bytes().get(at..).unwrap_or_default().iter();
        let Some(n) = rest.position(|b| class_of(*b) & stops != 0) else { return input.len() };
        at = at.saturating_add(n);
        match input.as_bytes().get(at).map_or(0, |b| class_of(*b)) {
            class if depth == 0 && class & ends != 0 => return at,
            class if class & OPEN != 0 => depth = depth.saturating_add(1),
            _ => depth = depth.saturating_sub(1),
        }
        at = at.saturating_add(1);
    }
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
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
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
                let len = nested(rest, CLOSE);
                let behind = rest.get(len..).unwrap_or_default();
                len.saturating_add(if behind.starts_with(")->") { nested(behind, SPACE) } else { 0 })
            }
            Some(_) => nested(rest, SPACE),
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
