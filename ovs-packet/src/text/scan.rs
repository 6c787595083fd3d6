//! Where things end in the languages of matches and of what contains them.

/// Length of what stands before the first comma or white space outside parentheses: a value behind an equals sign or a
/// colon. Parentheses that do not close end with the text.
///
/// ```
/// use ovs_packet::text::end_of_value;
///
/// assert_eq!(end_of_value("ct(commit,zone=1),output:2"), 17);
/// assert_eq!(end_of_value("80"), 2);
/// ```
#[inline(always)]
pub fn end_of_value(text: &str) -> usize {
    let at = first_low(text.as_bytes());
    match text.as_bytes().get(at) {
        None => at,
        Some(b) if class_of(*b) == BETWEEN => at,
        Some(_) => end(text, at, true),
    }
}

/// Length of what stands before the parenthesis that closes one in front of the text; of all the text if none does.
///
/// ```
/// use ovs_packet::text::end_of_parenthesis;
///
/// assert_eq!(end_of_parenthesis("commit,nat(src=10.0.0.1)),output:2"), 24);
/// assert_eq!(end_of_parenthesis("commit"), 6);
/// ```
pub fn end_of_parenthesis(text: &str) -> usize {
    end(text, 0, false)
}

/// Where a value ends, or else a parenthesis, of which nothing stands before `at`: one pass without recursion, however they
/// nest.
fn end(text: &str, mut at: usize, of_value: bool) -> usize {
    let (bytes, mut depth) = (text.as_bytes(), 0usize);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        at += if of_value && depth == 0 { first_low(rest) } else { first_parenthesis(rest) };
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'(') => depth += 1,
            Some(b')') if depth == 0 && !of_value => return at,
            Some(b')') => depth = depth.saturating_sub(1),
            Some(b) if class_of(*b) == BETWEEN => return at,
            Some(_) => {}
        }
        at += 1;
    }
}

/// Each byte of eight is 1.
const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// Where the first byte stands that is below `-`, or the end: those that end values or nest are, and few others.
#[inline(always)]
fn first_low(bytes: &[u8]) -> usize {
    let low = |block: u64| block.wrapping_sub(ONES * b'-' as u64) & !block;
    first(bytes, low, |b| b < b'-')
}

/// Where the first parenthesis stands, or the end: the two differ in their last bit.
#[inline(always)]
fn first_parenthesis(bytes: &[u8]) -> usize {
    let parenthesis = |block: u64| {
        let zero_if_one = (block | ONES) ^ u64::from_ne_bytes([b')'; 8]);
        zero_if_one.wrapping_sub(ONES) & !zero_if_one
    };
    first(bytes, parenthesis, |b| b | 1 == b')')
}

/// Where the first byte stands that `is` something, or the end. Of eight bytes, `marks` sets the highest bit of the first
/// one that is, and of none before it; a byte behind it may be marked by what it borrows.
#[inline(always)]
fn first(bytes: &[u8], marks: impl Fn(u64) -> u64, is: impl Fn(u8) -> bool) -> usize {
    let (blocks, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for block in blocks {
        let marked = marks(u64::from_le_bytes(*block)) & ONES << 7;
        if marked != 0 {
            return at + marked.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + rest.iter().position(|b| is(*b)).unwrap_or(rest.len())
}

/// Of a byte: it stands between terms and between items.
pub(super) const BETWEEN: u8 = 1;
/// Of a byte: names of terms are made of it.
pub(super) const NAME: u8 = 2;

/// What each byte is.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static CLASSES: [u8; 256] = {
    let (mut classes, mut b) = ([0; 256], 0);
    while b < 256 {
        classes[b] = match b as u8 {
            b',' | b' ' | b'\t' | b'\r' | b'\n' => BETWEEN,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'[' | b']' | b'.' => NAME,
            _ => 0,
        };
        b += 1;
    }
    classes
};

#[inline(always)]
pub(super) fn class_of(b: u8) -> u8 {
    CLASSES.get(usize::from(b)).copied().unwrap_or(0)
}

/// What each byte is as a digit of 16; 16 if it is none.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static DIGITS: [u8; 256] = {
    let (mut digits, mut b) = ([16; 256], 0u8);
    while b < 16 {
        let digit = b"0123456789abcdef"[b as usize];
        digits[digit as usize] = b;
        digits[digit.to_ascii_uppercase() as usize] = b;
        b += 1;
    }
    digits
};

/// A hexadecimal digit: as `char::to_digit`, which compares it with all ranges of them.
#[inline(always)]
pub(crate) fn hex_digit(b: u8) -> Option<u8> {
    DIGITS.get(usize::from(b)).copied().filter(|digit| *digit < 16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_are_those_of_the_library() {
        for b in 0..=u8::MAX {
            assert_eq!(hex_digit(b).map(u32::from), char::from(b).to_digit(16), "{b}");
        }
    }

    /// Byte by byte.
    fn plain_end(text: &str, of_value: bool) -> usize {
        let mut depth = 0usize;
        let ends = |(_, b): &(usize, u8)| {
            match b {
                b'(' => depth += 1,
                b')' if depth == 0 && !of_value => return true,
                b')' => depth = depth.saturating_sub(1),
                b',' | b' ' | b'\t' | b'\r' | b'\n' => return of_value && depth == 0,
                _ => {}
            }
            false
        };
        text.bytes().enumerate().find(ends).map_or(text.len(), |(at, _)| at)
    }

    proptest! {
        #[test]
        fn eight_bytes_end_where_each_does(text in "[(),\\-/ab\u{0}!+*. \té]{0,40}") {
            prop_assert_eq!(end_of_value(&text), plain_end(&text, true));
            prop_assert_eq!(end_of_parenthesis(&text), plain_end(&text, false));
        }
    }
}
