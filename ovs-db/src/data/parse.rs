//! Small readers of JSON objects that every `from_json` of the crate shares.

use crate::error::{Error, ErrorKind};
use crate::json::{Json, Object};

pub(crate) fn expected(expected: &'static str, found: &Json) -> Error {
    Error::new(ErrorKind::Expected { expected, found: found.kind() })
}

pub(crate) fn string(json: &Json) -> Result<&str, Error> {
    json.as_str().ok_or_else(|| expected("a string", json))
}

pub(crate) fn array(json: &Json) -> Result<&[Json], Error> {
    json.as_array().ok_or_else(|| expected("an array", json))
}

/// An identifier: RFC 7047 section 3.1 `<id>`.
pub(crate) fn identifier(json: &Json) -> Result<&str, Error> {
    let text = string(json)?;
    if is_identifier(text) { Ok(text) } else { Err(Error::new(ErrorKind::BadIdentifier(text.to_owned()))) }
}

pub(crate) fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The members of an object, each to be taken at most once; what is left over at the end is an error.
pub(crate) struct Members<'a> {
    object: &'a Object,
    taken: Vec<&'static str>,
}

impl<'a> Members<'a> {
    pub(crate) fn of(json: &'a Json) -> Result<Members<'a>, Error> {
        let object = json.as_object().ok_or_else(|| expected("an object", json))?;
        Ok(Members { object, taken: Vec::new() })
    }

    pub(crate) fn optional(&mut self, name: &'static str) -> Option<&'a Json> {
        self.taken.push(name);
        self.object.get(name)
    }

    pub(crate) fn required(&mut self, name: &'static str) -> Result<&'a Json, Error> {
        self.optional(name).ok_or_else(|| Error::new(ErrorKind::MissingMember(name)))
    }

    pub(crate) fn optional_bool(&mut self, name: &'static str, default: bool) -> Result<bool, Error> {
        match self.optional(name) {
            None => Ok(default),
            Some(json) => json.as_bool().ok_or_else(|| expected("a boolean", json).at(member(name))),
        }
    }

    pub(crate) fn optional_integer(&mut self, name: &'static str) -> Result<Option<i64>, Error> {
        match self.optional(name) {
            None => Ok(None),
            Some(json) => json.as_integer().map(Some).ok_or_else(|| expected("an integer", json).at(member(name))),
        }
    }

    /// Refuses members that nobody took.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.object.keys().find(|name| !self.taken.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Error::new(ErrorKind::UnknownMember(name.clone()))),
        }
    }
}

pub(crate) fn member(name: &str) -> String {
    format!("member {name:?}")
}

/// A UUID as plain text or as `["uuid", text]`.
pub(crate) fn uuid(json: &Json) -> Result<uuid::Uuid, Error> {
    let text = match json {
        Json::String(text) => text,
        Json::Array(pair) => match pair.as_slice() {
            [Json::String(tag), Json::String(text)] if tag == "uuid" => text,
            _ => return Err(expected("a UUID", json)),
        },
        _ => return Err(expected("a UUID", json)),
    };
    super::atom::uuid_from_text(text)
}
