//! Column types: what a column may contain, and how much of it (RFC 7047 section 3.2 `<type>`).

use super::base_type::BaseType;
use super::parse::{Members, expected, member};
use super::{AtomicType, Datum};
use crate::error::{Error, ErrorKind};
use crate::json::Json;

/// The type of a column: a set of keys, or a map from keys to values, of a bounded number of elements.
///
/// Invariant: `min` is 0 or 1, `max` is at least 1.
///
/// ```
/// use ovs_db::{AtomicType, ColumnType, json};
///
/// let text = br#"{"key": "string", "value": "integer", "min": 0, "max": "unlimited"}"#;
/// let ty = ColumnType::from_json(&json::parse(text).unwrap())?;
/// assert!(ty.is_map());
/// assert_eq!(ty.key().ty(), AtomicType::String);
/// # Ok::<(), ovs_db::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnType {
    key: BaseType,
    value: Option<BaseType>,
    min: usize,
    max: usize,
}

impl From<AtomicType> for ColumnType {
    /// A scalar: exactly one atom.
    fn from(ty: AtomicType) -> ColumnType {
        ColumnType { key: ty.into(), value: None, min: 1, max: 1 }
    }
}

impl ColumnType {
    /// A set of keys, or with `value` a map, of `min` to `max` elements (`usize::MAX`: no limit).
    ///
    /// # Errors
    /// [`ErrorKind::BadConstraint`] when `min` is not 0 or 1, or `max` is 0.
    pub fn new(key: BaseType, value: Option<BaseType>, min: usize, max: usize) -> Result<ColumnType, Error> {
        if min > 1 {
            return Err(Error::new(ErrorKind::BadConstraint("min must be 0 or 1")));
        }
        if max == 0 {
            return Err(Error::new(ErrorKind::BadConstraint("max must be at least 1")));
        }
        Ok(ColumnType { key, value, min, max })
    }

    /// The type of the elements of a set, or of the keys of a map.
    pub fn key(&self) -> &BaseType {
        &self.key
    }

    /// The type of the values, if this is a map.
    pub fn value(&self) -> Option<&BaseType> {
        self.value.as_ref()
    }

    /// The fewest elements: 0 or 1.
    pub fn min(&self) -> usize {
        self.min
    }

    /// The most elements; `usize::MAX` when there is no limit.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Whether this is exactly one atom.
    pub fn is_scalar(&self) -> bool {
        self.value.is_none() && self.min == 1 && self.max == 1
    }

    /// Whether this is at most one atom: a scalar or an optional scalar.
    pub fn is_optional_scalar(&self) -> bool {
        self.value.is_none() && self.max == 1
    }

    /// Whether this maps keys to values.
    pub fn is_map(&self) -> bool {
        self.value.is_some()
    }

    /// The same type with at least `min` elements.
    pub(crate) fn at_least(&self, min: usize) -> ColumnType {
        ColumnType { min, ..self.clone() }
    }

    /// The same content type with any number of elements, as conditions and mutations need it.
    pub(crate) fn unbounded(&self) -> ColumnType {
        ColumnType { min: 0, max: usize::MAX, ..self.clone() }
    }

    /// The content that an insert gives to a column that it does not mention (RFC 7047 section 5.2.1).
    pub fn default_datum(&self) -> Datum {
        match (&self.value, self.min) {
            (None, 0) => Datum::EMPTY_SET,
            (Some(_), 0) => Datum::EMPTY_MAP,
            (None, _) => self.key.ty().default_atom().into(),
            (Some(value), _) => Datum::map([(self.key.ty().default_atom(), value.ty().default_atom())]),
        }
    }

    /// Reads a column type: RFC 7047 section 3.2 `<type>`, a word or an object.
    ///
    /// # Errors
    /// [`Error`] with the member that is wrong.
    pub fn from_json(json: &Json) -> Result<ColumnType, Error> {
        if let Json::String(_) = json {
            return ColumnType::new(BaseType::from_json(json)?, None, 1, 1);
        }
        let mut members = Members::of(json)?;
        let key = BaseType::from_json(members.required("key")?).map_err(|error| error.at(member("key")))?;
        let value = members.optional("value").map(BaseType::from_json).transpose();
        let value = value.map_err(|error| error.at(member("value")))?;
        let bound = |json: Option<&Json>, name| match json {
            None => Ok(1),
            Some(json) => json
                .as_integer()
                .and_then(|bound| usize::try_from(bound).ok())
                .ok_or_else(|| expected("an integer that is not negative", json).at(member(name))),
        };
        let min = bound(members.optional("min"), "min")?;
        let max = match members.optional("max") {
            Some(Json::String(word)) if word == "unlimited" => usize::MAX,
            other => bound(other, "max")?,
        };
        members.finish()?;
        ColumnType::new(key, value, min, max)
    }

    /// The JSON form: the base type alone for an unconstrained scalar, an object otherwise.
    pub fn to_json(&self) -> Json {
        let key = self.key.to_json();
        if self.is_scalar() && key.as_str().is_some() {
            return key;
        }
        let mut members = vec![("key", key)];
        members.extend(self.value.as_ref().map(|value| ("value", value.to_json())));
        members.extend((self.min != 1).then_some(("min", Json::Integer(0))));
        members.extend((self.max != 1).then(|| {
            let max = if self.max == usize::MAX { None } else { i64::try_from(self.max).ok() };
            ("max", max.map_or_else(|| Json::string("unlimited"), Json::Integer))
        }));
        Json::object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    fn read(text: &str) -> Result<ColumnType, Error> {
        ColumnType::from_json(&parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn forms_round_trip() {
        for text in [
            r#""string""#,
            r#"{"key":"string","max":"unlimited","min":0,"value":"string"}"#,
            r#"{"key":{"refTable":"Port","type":"uuid"},"max":"unlimited","min":0}"#,
            r#"{"key":{"maxInteger":4095,"minInteger":0,"type":"integer"},"max":4096,"min":0}"#,
            r#"{"key":{"enum":["set",["up"]],"type":"string"}}"#,
        ] {
            assert_eq!(read(text).unwrap().to_json().to_text(), text);
        }
    }

    #[test]
    fn bounds_are_checked() {
        for text in [
            r#"{"key":"string","min":2,"max":4}"#,
            r#"{"key":"string","min":0,"max":0}"#,
            r#"{"key":"string","min":-1}"#,
            r#"{"key":"string","max":"many"}"#,
            r#"{"min":0}"#,
            r#"{"key":"string","extra":1}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn defaults_follow_section_5_2_1() {
        assert_eq!(read(r#""boolean""#).unwrap().default_datum().to_json().to_text(), "false");
        assert_eq!(read(r#"{"key":"string","min":0}"#).unwrap().default_datum().to_json().to_text(), r#"["set",[]]"#);
        let map = read(r#"{"key":"integer","value":"string"}"#).unwrap();
        assert_eq!(map.default_datum().to_json().to_text(), r#"["map",[[0,""]]]"#);
    }
}
