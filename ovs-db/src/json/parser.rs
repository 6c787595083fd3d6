//! JSON out of bytes that come in pieces (RFC 8259).
//!
//! A value is made as its text comes in, so that the work is where the bytes are read and nobody waits for the whole of a
//! message of 100 MB to be read at once when its last bracket comes. No text is kept but that of one string or number.
//!
//! # Invariants
//!
//! - Open arrays and objects are on a stack of the parser's own, at most `max_depth` of them: no input recurses.
//! - Each byte is looked at once, and at most once more when the string or number that it is of is complete.
//! - What is held is bounded by the bytes that were taken, which the caller counts.

use super::{Json, Object};

/// What is wrong with a text, at [`Parser::place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is not JSON; what was expected.
    Syntax(&'static str),
    /// It is nested too deeply.
    TooDeep,
}

/// An array or object that is not closed.
#[derive(Debug, Clone)]
enum Open {
    Array(Vec<Json>),
    /// The members, and the name of the one whose value comes.
    Object(Vec<(String, Json)>, String),
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// A value, or the end of an array that is empty.
    ValueOrEnd,
    Name,
    /// A name, or the end of an object that is empty.
    NameOrEnd,
    Colon,
    CommaOrEnd,
    /// More of a string.
    Text(Escape),
    /// More of a number or a word.
    Token,
    /// Only white space: the value is complete.
    Nothing,
}

/// Where in an escape of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    Backslash,
    /// Digits of `\u`: how many there were, and their value.
    Unicode(u8, u16),
    /// As many of a low surrogate, after the high one.
    LowBackslash(u16),
    LowU(u16),
    Low(u16, u8, u16),
}

/// Reads one JSON value.
#[derive(Debug, Clone)]
pub(crate) struct Parser {
    max_depth: usize,
    open: Vec<Open>,
    next: Next,
    /// Whether the string that is read is the name of a member.
    is_name: bool,
    /// What was read of a string, number or word.
    token: Vec<u8>,
    taken: usize,
    line: usize,
    /// The bytes before the line.
    line_start: usize,
}

impl Parser {
    pub(crate) fn new(max_depth: usize) -> Parser {
        Parser {
            max_depth,
            open: Vec::new(),
            next: Next::Value,
            is_name: false,
            token: Vec::new(),
            taken: 0,
            line: 1,
            line_start: 0,
        }
    }

    /// The bytes that were taken of the value and of white space before it.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Line and column of the byte that comes, from 1.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.line, self.taken.saturating_sub(self.line_start).saturating_add(1))
    }

    /// Takes bytes from the front of `input` up to the end of the value, and returns that; nothing, with `input` empty, when
    /// it needs more. A number that nothing surrounds has no end: see [`Parser::finish`].
    pub(crate) fn push(&mut self, input: &mut &[u8]) -> Result<Option<Json>, Wrong> {
        while let Some(byte) = input.first().copied() {
            let done = match self.next {
                Next::Text(Escape::None) => self.text(input)?,
                Next::Text(escape) => {
                    self.escape(escape, byte)?;
                    self.take(input, 1);
                    None
                }
                Next::Token => self.token(input)?,
                _ => self.mark(byte, input)?,
            };
            if done.is_some() {
                self.next = Next::Nothing;
                return Ok(done);
            }
        }
        Ok(None)
    }

    /// The value, if it is complete with the end of the text.
    pub(crate) fn finish(&mut self) -> Result<Json, Wrong> {
        let done = if self.next == Next::Token { self.word()? } else { None };
        done.ok_or(Wrong::Syntax("the text ends too early"))
    }

    fn take(&mut self, input: &mut &[u8], count: usize) {
        *input = input.get(count..).unwrap_or_default();
        self.taken = self.taken.saturating_add(count);
    }

    /// A byte between strings, numbers and words, or the first of one.
    fn mark(&mut self, byte: u8, input: &mut &[u8]) -> Result<Option<Json>, Wrong> {
        let mut done = None;
        match (byte, self.next) {
            (b' ' | b'\t' | b'\r', _) => {}
            (b'\n', _) => {
                self.line = self.line.saturating_add(1);
                self.line_start = self.taken.saturating_add(1);
            }
            (b'"', Next::Value | Next::ValueOrEnd) => (self.next, self.is_name) = (Next::Text(Escape::None), false),
            (b'"', Next::Name | Next::NameOrEnd) => (self.next, self.is_name) = (Next::Text(Escape::None), true),
            (b'[', Next::Value | Next::ValueOrEnd) => self.enter(Open::Array(Vec::new()), Next::ValueOrEnd)?,
            (b'{', Next::Value | Next::ValueOrEnd) => {
                self.enter(Open::Object(Vec::new(), String::new()), Next::NameOrEnd)?;
            }
            (b'-' | b'0'..=b'9' | b't' | b'f' | b'n', Next::Value | Next::ValueOrEnd) => {
                self.next = Next::Token;
                return Ok(None);
            }
            (b':', Next::Colon) => self.next = Next::Value,
            (b',', Next::CommaOrEnd) => {
                self.next = if matches!(self.open.last(), Some(Open::Object(..))) { Next::Name } else { Next::Value };
            }
            (b']', Next::ValueOrEnd | Next::CommaOrEnd) if matches!(self.open.last(), Some(Open::Array(_))) => {
                done = self.close();
            }
            (b'}', Next::NameOrEnd | Next::CommaOrEnd) if matches!(self.open.last(), Some(Open::Object(..))) => {
                done = self.close();
            }
            _ => return Err(Wrong::Syntax(self.expected())),
        }
        self.take(input, 1);
        Ok(done)
    }

    fn expected(&self) -> &'static str {
        match self.next {
            Next::Value => "expected a value",
            Next::ValueOrEnd => "expected a value or ']'",
            Next::Name => "expected a name in quotes",
            Next::NameOrEnd => "expected a name in quotes or '}'",
            Next::Colon => "expected ':'",
            Next::CommaOrEnd => match self.open.last() {
                Some(Open::Object(..)) => "expected ',' or '}'",
                _ => "expected ',' or ']'",
            },
            Next::Text(_) | Next::Token | Next::Nothing => "expected the end of the text",
        }
    }

    fn enter(&mut self, open: Open, next: Next) -> Result<(), Wrong> {
        if self.open.len() >= self.max_depth {
            return Err(Wrong::TooDeep);
        }
        self.open.push(open);
        self.next = next;
        Ok(())
    }

    fn close(&mut self) -> Option<Json> {
        match self.open.pop()? {
            Open::Array(elements) => self.complete(Json::Array(elements)),
            Open::Object(members, _) => self.complete(Json::Object(Object::sorted(members))),
        }
    }

    /// Puts a value where it belongs; gives it back if that is the outermost.
    fn complete(&mut self, value: Json) -> Option<Json> {
        self.next = Next::CommaOrEnd;
        match self.open.last_mut() {
            None => return Some(value),
            Some(Open::Array(elements)) => elements.push(value),
            Some(Open::Object(members, name)) => members.push((std::mem::take(name), value)),
        }
        None
    }

    /// A piece of a string without escapes, and what ends it.
    fn text(&mut self, input: &mut &[u8]) -> Result<Option<Json>, Wrong> {
        let bytes = *input;
        let count = plain(bytes);
        let (text, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
        match rest.first() {
            None => {
                self.token.extend_from_slice(text);
                self.take(input, count);
                Ok(None)
            }
            Some(b'"') => {
                self.take(input, count);
                let whole = if self.token.is_empty() {
                    std::str::from_utf8(text).map(str::to_owned).ok()
                } else {
                    self.token.extend_from_slice(text);
                    String::from_utf8(std::mem::take(&mut self.token)).ok()
                };
                let whole = whole.ok_or(Wrong::Syntax("a string is not UTF-8"))?;
                self.take(input, 1);
                Ok(self.string(whole))
            }
            Some(b'\\') => {
                self.token.extend_from_slice(text);
                self.take(input, count.saturating_add(1));
                self.next = Next::Text(Escape::Backslash);
                Ok(None)
            }
            Some(_) => {
                self.take(input, count);
                Err(Wrong::Syntax("a control character in a string"))
            }
        }
    }

    fn string(&mut self, text: String) -> Option<Json> {
        match self.open.last_mut() {
            Some(Open::Object(_, name)) if self.is_name => {
                *name = text;
                self.next = Next::Colon;
                None
            }
            _ => self.complete(Json::String(text)),
        }
    }

    fn escape(&mut self, escape: Escape, byte: u8) -> Result<(), Wrong> {
        let digit = || match byte {
            b'0'..=b'9' => Ok(u16::from(byte.wrapping_sub(b'0'))),
            b'a'..=b'f' => Ok(u16::from(byte.wrapping_sub(b'a')).wrapping_add(10)),
            b'A'..=b'F' => Ok(u16::from(byte.wrapping_sub(b'A')).wrapping_add(10)),
            _ => Err(Wrong::Syntax("expected four hexadecimal digits behind '\\u'")),
        };
        let lone = Wrong::Syntax("half of a surrogate pair");
        let next = match escape {
            Escape::None => Escape::None,
            Escape::Backslash => {
                let plain = match byte {
                    b'"' | b'\\' | b'/' => byte,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'u' => {
                        self.next = Next::Text(Escape::Unicode(0, 0));
                        return Ok(());
                    }
                    _ => return Err(Wrong::Syntax("no escape")),
                };
                self.token.push(plain);
                Escape::None
            }
            Escape::Unicode(count, value) => match (count, value << 4 | digit()?) {
                (3, high @ 0xd800..=0xdbff) => Escape::LowBackslash(high),
                (3, value) => {
                    self.character(char::from_u32(value.into()).ok_or(lone)?);
                    Escape::None
                }
                (count, value) => Escape::Unicode(count.saturating_add(1), value),
            },
            Escape::LowBackslash(high) if byte == b'\\' => Escape::LowU(high),
            Escape::LowU(high) if byte == b'u' => Escape::Low(high, 0, 0),
            Escape::LowBackslash(_) | Escape::LowU(_) => return Err(lone),
            Escape::Low(high, count, value) => match (count, value << 4 | digit()?) {
                (3, low @ 0xdc00..=0xdfff) => {
                    let both = u32::from(high & 0x3ff) << 10 | u32::from(low & 0x3ff);
                    self.character(char::from_u32(both.saturating_add(0x1_0000)).ok_or(lone)?);
                    Escape::None
                }
                (3, _) => return Err(lone),
                (count, value) => Escape::Low(high, count.saturating_add(1), value),
            },
        };
        self.next = Next::Text(next);
        Ok(())
    }

    fn character(&mut self, character: char) {
        self.token.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// A piece of a number or a word, and the value if something else follows.
    fn token(&mut self, input: &mut &[u8]) -> Result<Option<Json>, Wrong> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'a'..=b'z' | b'A'..=b'Z');
        let count = input.iter().position(|byte| !is_part(byte)).unwrap_or(input.len());
        self.token.extend_from_slice(input.get(..count).unwrap_or_default());
        self.take(input, count);
        if input.is_empty() { Ok(None) } else { self.word() }
    }

    fn word(&mut self) -> Result<Option<Json>, Wrong> {
        let value = match self.token.as_slice() {
            b"null" => Json::Null,
            b"true" => Json::Bool(true),
            b"false" => Json::Bool(false),
            number => parse_number(number).ok_or(Wrong::Syntax("neither a number nor true, false or null"))?,
        };
        self.token.clear();
        Ok(self.complete(value))
    }
}

/// How many bytes are in front of a quote, a backslash or a control character.
fn plain(bytes: &[u8]) -> usize {
    // Without a branch for each byte, so that many are compared at once.
    let ends = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte < 0x20);
    let (blocks, _) = bytes.as_chunks::<32>();
    let whole = blocks.iter().take_while(|block| !block.iter().fold(false, |any, byte| any | ends(*byte))).count();
    let from = whole.saturating_mul(32);
    let rest = bytes.get(from..).unwrap_or_default();
    from.saturating_add(rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len()))
}

/// RFC 8259 section 6, which is stricter than numbers elsewhere.
fn parse_number(token: &[u8]) -> Option<Json> {
    let text = std::str::from_utf8(token).ok()?;
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, mut rest) = unsigned.split_at_checked(digits(unsigned))?;
    if whole.is_empty() || whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    if rest.is_empty()
        && let Ok(value) = text.parse()
    {
        return Some(Json::Integer(value));
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        rest = fraction.get(count..).filter(|_| count > 0)?;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let count = digits(exponent);
        rest = exponent.get(count..).filter(|_| count > 0)?;
    }
    let value: f64 = text.parse().ok()?;
    (rest.is_empty() && value.is_finite()).then(|| Json::real(value))
}

#[cfg(test)]
mod tests {
    use super::super::tests::any_json;
    use super::*;
    use proptest::prelude::*;

    /// What a text is, taken in pieces of this length.
    fn read(text: &[u8], piece: usize) -> Option<Json> {
        let mut parser = Parser::new(100);
        let mut value = None;
        for mut piece in text.chunks(piece) {
            while value.is_none() && !piece.is_empty() {
                value = parser.push(&mut piece).ok()?;
            }
            if piece.iter().any(|byte| !b" \t\r\n".contains(byte)) {
                return None;
            }
        }
        value.or_else(|| parser.finish().ok())
    }

    /// The same by another parser.
    fn oracle(text: &[u8]) -> Option<Json> {
        fn of(value: serde_json::Value) -> Json {
            use serde_json::Value;
            match value {
                Value::Null => Json::Null,
                Value::Bool(value) => Json::Bool(value),
                Value::Number(n) => n.as_i64().map_or_else(|| Json::real(n.as_f64().unwrap()), Json::Integer),
                Value::String(text) => Json::String(text),
                Value::Array(elements) => Json::Array(elements.into_iter().map(of).collect()),
                Value::Object(members) => Json::object(members.into_iter().map(|(name, value)| (name, of(value)))),
            }
        }
        serde_json::from_slice(text).ok().map(of)
    }

    fn agree(text: &[u8]) -> Result<(), TestCaseError> {
        let expected = oracle(text);
        for piece in [1, 2, 3, 7, usize::MAX] {
            prop_assert_eq!(&read(text, piece), &expected, "{:?} by {}", String::from_utf8_lossy(text), piece);
        }
        Ok(())
    }

    #[test]
    fn odd_texts_are_what_another_parser_says() {
        let long = format!("\"{}\\\"{}\"", "x".repeat(100), "y\u{e9}".repeat(100));
        for text in [
            "",
            " ",
            "1",
            "-0",
            "-0.0",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "1E-3",
            "1.5e3",
            "+1",
            "1e999",
            "1e-999",
            "0x1",
            "9223372036854775808",
            "18446744073709551616",
            "nul",
            "nulll",
            "true",
            "truefalse",
            "[1 2]",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "[}",
            "{]",
            "]",
            "[1]]",
            "[1] [2]",
            "\"a\nb\"",
            "\"\\u00e9\\ud83d\\ude00\"",
            "\"\\udbff\\udfff\\ud800\\udc00\"",
            "\"\\ud83d\"",
            "\"\\ud83dx\"",
            "\"\\ude00\"",
            "\"\\ud83d\\u0041\"",
            "\"\\u12g4\"",
            "\"\\x\"",
            "\"\\/\\b\\f\\n\\r\\t\\\\\"",
            "\"\\",
            "\"abc",
            "[\"a\",\"\\u0000\"]",
            "{\"b\":1,\"a\":[{}],\"b\":[[]]}",
            " \t\r\n[ 1 , 2 ]\n",
            "[1\u{b}]",
            &long,
        ] {
            agree(text.as_bytes()).unwrap();
        }
        for bytes in [&b"\"\xff\""[..], b"\xff", b"\"\xc3\"", b"\"\xe2\x82\xac\"", b"[\"\x7f\x00\"]"] {
            agree(bytes).unwrap();
        }
    }

    #[test]
    fn the_place_of_a_mistake_is_known() {
        let wrong = |text: &str| {
            let mut parser = Parser::new(2);
            let wrong = parser.push(&mut text.as_bytes()).unwrap_err();
            (wrong, parser.place())
        };
        assert_eq!(wrong("[1,\n 2 x]"), (Wrong::Syntax("expected ',' or ']'"), (2, 4)));
        assert_eq!(wrong("[[[1]]]"), (Wrong::TooDeep, (1, 3)));
        assert_eq!(wrong("[\"ab\u{1}\"]"), (Wrong::Syntax("a control character in a string"), (1, 5)));
    }

    proptest! {
        #[test]
        fn any_value_is_what_another_parser_says(value in any_json()) {
            agree(value.to_text().as_bytes())?;
            agree(value.to_pretty_text().as_bytes())?;
        }

        #[test]
        fn so_is_any_text_of_the_bytes_that_matter(text in "[\\[\\]{}\",:0-9eE.+\\\\u dcf\\-tn]{0,12}") {
            agree(text.as_bytes())?;
        }
    }
}
