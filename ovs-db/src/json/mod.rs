//! JSON values, out of text and into it.
//!
//! Everything in the crate sees only [`Json`], [`parse`] and [`Json::to_text`]; `serde_json`, which writes the text, appears
//! in no public signature.
//!
//! Two choices matter to OVSDB. A JSON number is an *integer* when its value is one and fits an `i64`, however it was
//! spelt (`1`, `1.0` and `1e0` are the same value: RFC 7047 section 3.1 speaks of values, not of spellings). And an
//! object keeps its members sorted by name, so that the same value always has the same text.
//!
//! Parsing is bounded: nesting deeper than [`MAX_DEPTH`] is refused. It goes on where a piece of text ends, so that a message
//! is read as it comes in ([`Framer`](crate::rpc::Framer)); that is why the parser is our own.

use std::fmt;

use serde::ser::{Serialize, Serializer};

mod parser;

pub(crate) use parser::{Parser, Wrong};

/// The deepest nesting of arrays and objects that [`parse`] accepts.
///
/// The deepest thing that RFC 7047 defines is a transaction in a request, at about 8.
pub const MAX_DEPTH: usize = 100;

/// The members of a JSON object, sorted by name. When a text repeats a name, the last one counts.
///
/// They are one piece of memory: a replica is loaded from a message with some objects for each of its rows, most of them
/// with few members.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object(Vec<(String, Json)>);

impl Object {
    /// An object without members.
    pub fn new() -> Object {
        Object::default()
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_str().cmp(name))
    }

    /// The member `name`.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.position(name).ok().and_then(|at| self.0.get(at)).map(|(_, value)| value)
    }

    /// Whether there is a member `name`.
    pub fn contains_key(&self, name: &str) -> bool {
        self.position(name).is_ok()
    }

    /// Puts a member in the place of one of that name, which is returned.
    pub fn insert(&mut self, name: String, value: Json) -> Option<Json> {
        match self.position(&name) {
            Ok(at) => self.0.get_mut(at).map(|(_, old)| std::mem::replace(old, value)),
            Err(at) => {
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    /// Removes a member.
    pub fn remove(&mut self, name: &str) -> Option<Json> {
        self.position(name).ok().map(|at| self.0.remove(at).1)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&String, &Json)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The members, to change their values.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&String, &mut Json)> {
        self.0.iter_mut().map(|(name, value)| (&*name, value))
    }

    /// The names of the members.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &String> {
        self.0.iter().map(|(name, _)| name)
    }
}

impl FromIterator<(String, Json)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Json)>>(members: I) -> Object {
        Object::sorted(members.into_iter().collect())
    }
}

impl Object {
    fn sorted(mut members: Vec<(String, Json)>) -> Object {
        if !members.is_sorted_by(|(one, _), (other, _)| one < other) {
            // Of members with the same name the first stays, and the sort is stable.
            members.reverse();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            members.dedup_by(|(one, _), (other, _)| one == other);
        }
        Object(members)
    }
}

impl IntoIterator for Object {
    type Item = (String, Json);
    type IntoIter = std::vec::IntoIter<(String, Json)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A JSON value.
///
/// ```
/// use ovs_db::json::{self, Json};
///
/// let value = json::parse(br#"{"b": [1.0, 2.5, null], "a": true}"#)?;
/// assert_eq!(value.get("b").and_then(Json::as_array).map(<[Json]>::len), Some(3));
/// assert_eq!(value.to_text(), r#"{"a":true,"b":[1,2.5,null]}"#);
/// # Ok::<(), json::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Json {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number whose value is an integer in the range of `i64`.
    Integer(i64),
    /// Any other number. Build it with [`Json::real`], which keeps integers out of here.
    Real(f64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Object),
}

impl Json {
    /// The number `value`: an integer when its value is one, `null` when JSON cannot say it (infinities, NaN).
    pub fn real(value: f64) -> Json {
        // 2^63 is exact as f64; the open upper end excludes it.
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        if !value.is_finite() {
            Json::Null
        } else if value.trunc() == value && (-LIMIT..LIMIT).contains(&value) {
            Json::Integer(value as i64)
        } else {
            Json::Real(value)
        }
    }

    /// A string value.
    pub fn string(text: impl Into<String>) -> Json {
        Json::String(text.into())
    }

    /// An object of the members given.
    pub fn object<N: Into<String>>(members: impl IntoIterator<Item = (N, Json)>) -> Json {
        Json::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// The member `name`, if this is an object that has it.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.as_object()?.get(name)
    }

    /// The members, if this is an object.
    pub fn as_object(&self) -> Option<&Object> {
        if let Json::Object(members) = self { Some(members) } else { None }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Json]> {
        if let Json::Array(elements) = self { Some(elements) } else { None }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Json::String(text) = self { Some(text) } else { None }
    }

    /// The value, if this is an integer.
    pub fn as_integer(&self) -> Option<i64> {
        if let Json::Integer(value) = self { Some(*value) } else { None }
    }

    /// The value, if this is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Json::Bool(value) = self { Some(*value) } else { None }
    }

    /// What kind of value this is, for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Integer(_) => "integer",
            Json::Real(_) => "real",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        }
    }

    /// The shortest text of this value: no white space, members sorted by name.
    pub fn to_text(&self) -> String {
        // Serialising to a string fails only for a map with keys that are not strings, which `Json` cannot hold.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The text of this value for people: a line for each member and element, indented by two spaces a level.
    pub fn to_pretty_text(&self) -> String {
        let mut text = String::new();
        self.write_pretty(0, &mut text);
        text
    }

    /// Closing brackets stand behind the last element, as upstream's tools have it.
    fn write_pretty(&self, depth: usize, text: &mut String) {
        let indent = "  ".repeat(depth.saturating_add(1));
        let deeper = depth.saturating_add(1);
        let separator = |at: usize| if at == 0 { "\n" } else { ",\n" };
        match self {
            // One without members has its bracket in a line of its own, as if there were one.
            Json::Object(members) => {
                text.push('{');
                if members.is_empty() {
                    text.push_str(separator(0));
                    text.push_str(&indent);
                }
                for (at, (name, value)) in members.iter().enumerate() {
                    text.push_str(separator(at));
                    text.push_str(&indent);
                    text.push_str(&Json::string(name).to_text());
                    text.push_str(": ");
                    value.write_pretty(deeper, text);
                }
                text.push('}');
            }
            Json::Array(elements) if !elements.is_empty() => {
                text.push('[');
                for (at, value) in elements.iter().enumerate() {
                    text.push_str(separator(at));
                    text.push_str(&indent);
                    value.write_pretty(deeper, text);
                }
                text.push(']');
            }
            other => text.push_str(&other.to_text()),
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// Why a text is not a JSON value that this crate accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text is not JSON (RFC 8259).
    #[error("line {line}, column {column}: not valid JSON: {reason}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    #[error("byte {offset}: nested deeper than {MAX_DEPTH} levels")]
    TooDeep {
        /// Offset of the bracket that is one too many.
        offset: usize,
    },
}

/// Parses one JSON value that fills `text`, except for white space around it.
///
/// # Errors
/// [`ParseError`] with the place, when the text is not one JSON value or is nested too deeply.
pub fn parse(text: &[u8]) -> Result<Json, ParseError> {
    let (mut parser, mut rest) = (Parser::new(MAX_DEPTH), text);
    let value = match parser.push(&mut rest) {
        Ok(Some(value)) => value,
        Ok(None) => parser.finish().map_err(|wrong| wrong.at(&parser))?,
        Err(wrong) => return Err(wrong.at(&parser)),
    };
    // Nothing but white space may follow.
    parser.push(&mut rest).map(|_| value).map_err(|wrong| wrong.at(&parser))
}

impl Wrong {
    /// What is wrong, where the parser is.
    pub(crate) fn at(self, parser: &Parser) -> ParseError {
        let (line, column) = parser.place();
        match self {
            Wrong::Syntax(reason) => ParseError::Syntax { line, column, reason },
            Wrong::TooDeep => ParseError::TooDeep { offset: parser.taken() },
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Integer(value) => serializer.serialize_i64(*value),
            Json::Real(value) => serializer.serialize_f64(*value),
            Json::String(text) => serializer.serialize_str(text),
            Json::Array(elements) => serializer.collect_seq(elements),
            Json::Object(members) => serializer.collect_map(members.iter()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any JSON value, a few levels deep.
    pub(crate) fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i64>().prop_map(Json::Integer),
            (-1e300..1e300).prop_map(Json::real),
            ".{0,8}".prop_map(Json::String),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
                prop::collection::btree_map("[a-z]{0,4}", inner, 0..6).prop_map(Json::object),
            ]
        })
    }

    #[test]
    fn numbers_are_integers_by_value() {
        for (text, value) in [
            ("1.0", Json::Integer(1)),
            ("-0.0", Json::Integer(0)),
            ("1e3", Json::Integer(1000)),
            ("9223372036854775807", Json::Integer(i64::MAX)),
            ("-9223372036854775808", Json::Integer(i64::MIN)),
            ("9223372036854775808", Json::Real(9_223_372_036_854_775_808.0)),
            ("0.5", Json::Real(0.5)),
            // A parser that is not exact reads the neighbour of this one.
            ("2.4796062448134857e299", Json::Real(2.4796062448134857e299)),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(value), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let deep = "[".repeat(10_000);
        assert_eq!(parse(deep.as_bytes()), Err(ParseError::TooDeep { offset: MAX_DEPTH }));
        let just = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(parse(just.as_bytes()).is_ok());
        let quoted = format!("\"{}\\\"[\"", "[".repeat(10_000));
        assert!(parse(quoted.as_bytes()).is_ok());
    }

    #[test]
    fn members_are_sorted_and_the_last_of_a_name_counts() {
        let value = parse(br#"{"b":1,"a":2,"b":3,"c":4,"a":5}"#).unwrap();
        assert_eq!(value.to_text(), r#"{"a":5,"b":3,"c":4}"#);
        let Json::Object(mut members) = value else { unreachable!() };
        assert_eq!((members.remove("b"), members.remove("b")), (Some(Json::Integer(3)), None));
        assert_eq!(members.insert("aa".into(), Json::Null), None);
        assert_eq!(members.insert("c".into(), Json::Null), Some(Json::Integer(4)));
        assert_eq!(Json::Object(members).to_text(), r#"{"a":5,"aa":null,"c":null}"#);
    }

    #[test]
    fn text_for_people() {
        let value = parse(br#"{"b":[1,{}],"a":{"c":[]}}"#).unwrap();
        let text = "{\n  \"a\": {\n    \"c\": []},\n  \"b\": [\n    1,\n    {\n      }]}";
        assert_eq!(value.to_pretty_text(), text);
    }

    #[test]
    fn errors_say_where() {
        assert!(matches!(parse(b"{\"a\": }"), Err(ParseError::Syntax { line: 1, column: 7, .. })));
        assert!(matches!(parse(b"[1,"), Err(ParseError::Syntax { .. })));
        assert!(matches!(parse(b"[1] 2"), Err(ParseError::Syntax { .. })));
        assert!(matches!(parse(b"\xff"), Err(ParseError::Syntax { .. })));
    }

    proptest! {
        #[test]
        fn parse_inverts_print(value in any_json()) {
            prop_assert_eq!(parse(value.to_text().as_bytes()), Ok(value));
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
