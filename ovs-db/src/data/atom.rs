//! Atoms: one value of one of the five atomic types (RFC 7047 sections 3.1 and 5.1).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::parse::expected;
use crate::error::{Error, ErrorKind};
use crate::json::Json;

/// The rows that a transaction inserts under a name: what `["named-uuid", name]` stands for (RFC 7047 section 5.1).
pub type NamedUuids = BTreeMap<String, Uuid>;

/// The type of an [`Atom`]: RFC 7047 section 3.2 `<atomic-type>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AtomicType {
    /// A signed integer of 64 bits.
    Integer,
    /// A finite double-precision number.
    Real,
    /// `true` or `false`.
    Boolean,
    /// A Unicode string without null characters.
    String,
    /// A UUID, which may be a reference to a row.
    Uuid,
}

impl AtomicType {
    /// Every atomic type.
    pub const ALL: [AtomicType; 5] =
        [AtomicType::Integer, AtomicType::Real, AtomicType::Boolean, AtomicType::String, AtomicType::Uuid];

    /// The word for this type in a schema.
    pub fn as_str(self) -> &'static str {
        match self {
            AtomicType::Integer => "integer",
            AtomicType::Real => "real",
            AtomicType::Boolean => "boolean",
            AtomicType::String => "string",
            AtomicType::Uuid => "uuid",
        }
    }

    /// The type that `word` names in a schema.
    pub fn from_word(word: &str) -> Option<AtomicType> {
        AtomicType::ALL.into_iter().find(|ty| ty.as_str() == word)
    }

    /// The value that an insert gives to a column that it does not mention (RFC 7047 section 5.2.1).
    pub fn default_atom(self) -> Atom {
        match self {
            AtomicType::Integer => Atom::Integer(0),
            AtomicType::Real => Atom::Real(Real::ZERO),
            AtomicType::Boolean => Atom::Boolean(false),
            AtomicType::String => Atom::String("".into()),
            AtomicType::Uuid => Atom::Uuid(Uuid::nil()),
        }
    }
}

impl fmt::Display for AtomicType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A finite number with a total order; there is one zero.
#[derive(Debug, Clone, Copy)]
pub struct Real(f64);

impl Real {
    /// Zero.
    pub const ZERO: Real = Real(0.0);

    /// `value`, or nothing when it is infinite or not a number. Negative zero becomes zero.
    pub fn new(value: f64) -> Option<Real> {
        // Adding positive zero turns -0.0 into 0.0 and changes no other value.
        value.is_finite().then_some(Real(value + 0.0))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Real) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Real) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, other: &Real) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// One value of an atomic type. Atoms of one type are ordered as that type is.
///
/// ```
/// use ovs_db::{Atom, AtomicType, NamedUuids, json::Json};
///
/// let atom = Atom::from_json(AtomicType::Real, &Json::Integer(1), &NamedUuids::new())?;
/// assert_eq!(atom.ty(), AtomicType::Real);
/// assert_eq!(atom.to_json(), Json::Integer(1));
/// # Ok::<(), ovs_db::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom {
    /// An integer.
    Integer(i64),
    /// A real number.
    Real(Real),
    /// A boolean.
    Boolean(bool),
    /// A string.
    String(Arc<str>),
    /// A UUID.
    Uuid(Uuid),
}

impl Atom {
    /// The type of this atom.
    pub fn ty(&self) -> AtomicType {
        match self {
            Atom::Integer(_) => AtomicType::Integer,
            Atom::Real(_) => AtomicType::Real,
            Atom::Boolean(_) => AtomicType::Boolean,
            Atom::String(_) => AtomicType::String,
            Atom::Uuid(_) => AtomicType::Uuid,
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Atom::String(text) = self { Some(text) } else { None }
    }

    /// The number, if this is an integer.
    pub fn as_integer(&self) -> Option<i64> {
        if let Atom::Integer(value) = self { Some(*value) } else { None }
    }

    /// The number, if this is a real.
    pub fn as_real(&self) -> Option<f64> {
        if let Atom::Real(value) = self { Some(value.get()) } else { None }
    }

    /// The value, if this is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Atom::Boolean(value) = self { Some(*value) } else { None }
    }

    /// The UUID, if this is one.
    pub fn as_uuid(&self) -> Option<Uuid> {
        if let Atom::Uuid(uuid) = self { Some(*uuid) } else { None }
    }

    /// Reads an atom of type `ty`: RFC 7047 section 5.1 `<atom>`. Named UUIDs are looked up in `names`.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`], [`ErrorKind::BadUuid`], [`ErrorKind::UnknownNamedUuid`], [`ErrorKind::NullCharacter`].
    pub fn from_json(ty: AtomicType, json: &Json, names: &NamedUuids) -> Result<Atom, Error> {
        let wrong = || Error::new(ErrorKind::WrongType { expected: ty, found: json.kind() });
        match (ty, json) {
            (AtomicType::Integer, Json::Integer(value)) => Ok(Atom::Integer(*value)),
            (AtomicType::Real, Json::Integer(value)) => Real::new(*value as f64).map(Atom::Real).ok_or_else(wrong),
            (AtomicType::Real, Json::Real(value)) => Real::new(*value).map(Atom::Real).ok_or_else(wrong),
            (AtomicType::Boolean, Json::Bool(value)) => Ok(Atom::Boolean(*value)),
            (AtomicType::String, Json::String(text)) if text.contains('\0') => {
                Err(Error::new(ErrorKind::NullCharacter))
            }
            (AtomicType::String, Json::String(text)) => Ok(Atom::String(text.as_str().into())),
            (AtomicType::Uuid, Json::Array(pair)) => uuid_from_pair(pair, names).unwrap_or_else(|| Err(wrong())),
            _ => Err(wrong()),
        }
    }

    /// The JSON form: RFC 7047 section 5.1 `<atom>`. A UUID is always written as `["uuid", text]`.
    pub fn to_json(&self) -> Json {
        match self {
            Atom::Integer(value) => Json::Integer(*value),
            Atom::Real(value) => Json::real(value.get()),
            Atom::Boolean(value) => Json::Bool(*value),
            Atom::String(text) => Json::string(&**text),
            Atom::Uuid(uuid) => Json::Array(vec![Json::string("uuid"), Json::String(uuid.to_string())]),
        }
    }
}

/// A UUID in its one JSON spelling: 36 characters with hyphens.
pub(crate) fn uuid_from_text(text: &str) -> Result<Uuid, Error> {
    let bad = || Error::new(ErrorKind::BadUuid(text.to_owned()));
    if text.len() != 36 {
        return Err(bad());
    }
    Uuid::try_parse(text).map_err(|_| bad())
}

/// `["uuid", text]` or `["named-uuid", name]`; nothing when the array is neither.
fn uuid_from_pair(pair: &[Json], names: &NamedUuids) -> Option<Result<Atom, Error>> {
    let [Json::String(tag), argument] = pair else { return None };
    let Json::String(text) = argument else {
        return matches!(tag.as_str(), "uuid" | "named-uuid").then(|| Err(expected("a string", argument)));
    };
    match tag.as_str() {
        "uuid" => Some(uuid_from_text(text).map(Atom::Uuid)),
        "named-uuid" => Some(
            names
                .get(text)
                .map(|uuid| Atom::Uuid(*uuid))
                .ok_or_else(|| Error::new(ErrorKind::UnknownNamedUuid(text.clone()))),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    fn read(ty: AtomicType, text: &str) -> Result<Atom, ErrorKind> {
        let names = NamedUuids::from([("row".to_owned(), Uuid::from_u128(7))]);
        Atom::from_json(ty, &parse(text.as_bytes()).unwrap(), &names).map_err(|error| error.kind().clone())
    }

    #[test]
    fn each_type_takes_its_own_form_only() {
        assert_eq!(read(AtomicType::Integer, "5"), Ok(Atom::Integer(5)));
        assert_eq!(read(AtomicType::Integer, "5.0"), Ok(Atom::Integer(5)));
        assert!(read(AtomicType::Integer, "5.5").is_err());
        assert!(read(AtomicType::Integer, "\"5\"").is_err());
        assert_eq!(read(AtomicType::Real, "5"), Ok(Atom::Real(Real::new(5.0).unwrap())));
        assert_eq!(read(AtomicType::Boolean, "true"), Ok(Atom::Boolean(true)));
        assert!(read(AtomicType::Boolean, "0").is_err());
        assert_eq!(read(AtomicType::String, "\"é\""), Ok(Atom::String("é".into())));
        assert_eq!(read(AtomicType::String, "\"\\u0000\""), Err(ErrorKind::NullCharacter));
    }

    #[test]
    fn uuids_and_named_uuids() {
        let text = "550e8400-e29b-41d4-a716-446655440000";
        let json = format!("[\"uuid\",\"{text}\"]");
        assert_eq!(read(AtomicType::Uuid, &json).map(|atom| atom.to_json().to_text()), Ok(json));
        assert_eq!(read(AtomicType::Uuid, r#"["named-uuid","row"]"#), Ok(Atom::Uuid(Uuid::from_u128(7))));
        assert_eq!(
            read(AtomicType::Uuid, r#"["named-uuid","other"]"#),
            Err(ErrorKind::UnknownNamedUuid("other".into()))
        );
        // The library's other spellings are not RFC 7047's.
        for bad in ["550e8400e29b41d4a716446655440000", "{550e8400-e29b-41d4-a716-446655440000}", "", "é"] {
            assert_eq!(read(AtomicType::Uuid, &format!("[\"uuid\",\"{bad}\"]")), Err(ErrorKind::BadUuid(bad.into())));
        }
        assert!(read(AtomicType::Uuid, "[\"uuid\"]").is_err());
        assert!(read(AtomicType::Uuid, "[\"set\",[]]").is_err());
    }

    #[test]
    fn reals_are_finite_ordered_and_have_one_zero() {
        assert!(Real::new(f64::NAN).is_none() && Real::new(f64::INFINITY).is_none());
        assert_eq!(Real::new(-0.0), Some(Real::ZERO));
        assert!(Real::new(-1.0) < Real::new(0.5));
    }
}
