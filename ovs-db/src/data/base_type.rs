//! Base types: an atomic type and what constrains it (RFC 7047 section 3.2 `<base-type>`).

use std::collections::BTreeSet;

use super::atom::{Atom, AtomicType, NamedUuids, Real};
use super::parse::{Members, expected, identifier, member, string};
use crate::error::{Error, ErrorKind};
use crate::json::Json;

/// How a reference binds: RFC 7047 section 3.2 `refType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefType {
    /// The row referred to must exist, and in a table that is not a root the reference keeps it alive.
    Strong,
    /// The reference disappears with the row referred to.
    Weak,
}

/// What constrains the atoms of a [`BaseType`]. Each fits one atomic type, except [`Constraint::Enum`], which fits all.
#[derive(Debug, Clone, PartialEq)]
pub enum Constraint {
    /// Any atom of the type.
    None,
    /// One of these atoms.
    Enum(BTreeSet<Atom>),
    /// An integer from `min` to `max`, both included.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A real from `min` to `max`, both included; an absent end is open.
    Real {
        /// Least value.
        min: Option<Real>,
        /// Greatest value.
        max: Option<Real>,
    },
    /// A string whose length in characters is from `min` to `max`, both included.
    Length {
        /// Least length.
        min: i64,
        /// Greatest length.
        max: i64,
    },
    /// A UUID that is the UUID of a row of `table`.
    Reference {
        /// The table referred to.
        table: String,
        /// How the reference binds.
        kind: RefType,
    },
}

/// An atomic type and what constrains it.
///
/// Invariant: the constraint goes with the type, and some atom satisfies it.
///
/// ```
/// use ovs_db::{Atom, BaseType, json};
///
/// let percent = BaseType::from_json(&json::parse(br#"{"type": "integer", "minInteger": 0, "maxInteger": 100}"#).unwrap())?;
/// assert!(percent.check(&Atom::Integer(50)).is_ok());
/// assert!(percent.check(&Atom::Integer(101)).is_err());
/// # Ok::<(), ovs_db::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BaseType {
    ty: AtomicType,
    constraint: Constraint,
}

impl From<AtomicType> for BaseType {
    fn from(ty: AtomicType) -> BaseType {
        BaseType { ty, constraint: Constraint::None }
    }
}

impl BaseType {
    /// `ty` constrained by `constraint`.
    ///
    /// # Errors
    /// [`ErrorKind::BadConstraint`] when the constraint does not go with the type or no atom satisfies it.
    pub fn new(ty: AtomicType, constraint: Constraint) -> Result<BaseType, Error> {
        let bad = |why| Err(Error::new(ErrorKind::BadConstraint(why)));
        match (&constraint, ty) {
            (Constraint::None, _) => {}
            (Constraint::Enum(atoms), _) => {
                if atoms.is_empty() {
                    return bad("an enumeration must not be empty");
                }
                if atoms.iter().any(|atom| atom.ty() != ty) {
                    return bad("an enumeration must have atoms of the type that it constrains");
                }
            }
            (Constraint::Integer { min, max }, AtomicType::Integer) => {
                if min > max {
                    return bad("minInteger must not exceed maxInteger");
                }
            }
            (Constraint::Real { min, max }, AtomicType::Real) => {
                if min.zip(*max).is_some_and(|(min, max)| min > max) {
                    return bad("minReal must not exceed maxReal");
                }
            }
            (Constraint::Length { min, max }, AtomicType::String) => {
                if *min < 0 || min > max {
                    return bad("minLength must not be negative nor exceed maxLength");
                }
            }
            (Constraint::Reference { .. }, AtomicType::Uuid) => {}
            _ => return bad("the constraint does not go with the type"),
        }
        Ok(BaseType { ty, constraint })
    }

    /// The atomic type.
    pub fn ty(&self) -> AtomicType {
        self.ty
    }

    /// What constrains it.
    pub fn constraint(&self) -> &Constraint {
        &self.constraint
    }

    /// The table and kind of the reference, if atoms of this type are references.
    pub fn reference(&self) -> Option<(&str, RefType)> {
        if let Constraint::Reference { table, kind } = &self.constraint { Some((table, *kind)) } else { None }
    }

    /// Checks an atom of this type against the constraint. Whether a row referred to exists is for the commit to say.
    ///
    /// # Errors
    /// [`ErrorKind::NotInEnum`], [`ErrorKind::BelowMinimum`], [`ErrorKind::AboveMaximum`], or [`ErrorKind::WrongType`]
    /// for an atom of another type.
    pub fn check(&self, atom: &Atom) -> Result<(), Error> {
        let within = |low: bool, high: bool| match (low, high) {
            (false, _) => Err(Error::new(ErrorKind::BelowMinimum)),
            (_, false) => Err(Error::new(ErrorKind::AboveMaximum)),
            _ => Ok(()),
        };
        if atom.ty() != self.ty {
            return Err(Error::new(ErrorKind::WrongType { expected: self.ty, found: atom.ty().as_str() }));
        }
        match (&self.constraint, atom) {
            (Constraint::Enum(atoms), atom) if !atoms.contains(atom) => Err(Error::new(ErrorKind::NotInEnum)),
            (Constraint::Integer { min, max }, Atom::Integer(value)) => within(value >= min, value <= max),
            (Constraint::Real { min, max }, Atom::Real(value)) => {
                within(min.is_none_or(|min| *value >= min), max.is_none_or(|max| *value <= max))
            }
            (Constraint::Length { min, max }, Atom::String(text)) => {
                let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
                within(length >= *min, length <= *max)
            }
            _ => Ok(()),
        }
    }

    /// Reads a base type: RFC 7047 section 3.2 `<base-type>`, a word or an object.
    ///
    /// # Errors
    /// [`Error`] with the member that is wrong. Members that do not go with the type are refused.
    pub fn from_json(json: &Json) -> Result<BaseType, Error> {
        if let Json::String(_) = json {
            return Ok(atomic_type(json)?.into());
        }
        let mut members = Members::of(json)?;
        let ty = atomic_type(members.required("type")?).map_err(|error| error.at(member("type")))?;
        let enumeration = members.optional("enum").map(|json| {
            let elements = match json {
                Json::Array(pair) => match pair.as_slice() {
                    [Json::String(tag), Json::Array(elements)] if tag == "set" => elements.as_slice(),
                    _ => std::slice::from_ref(json),
                },
                _ => std::slice::from_ref(json),
            };
            let mut atoms = BTreeSet::new();
            for element in elements {
                let atom =
                    Atom::from_json(ty, element, &NamedUuids::new()).map_err(|error| error.at(member("enum")))?;
                if !atoms.insert(atom) {
                    return Err(Error::new(ErrorKind::Duplicate).at(member("enum")));
                }
            }
            Ok(Constraint::Enum(atoms))
        });
        let range = match ty {
            AtomicType::Integer => {
                let min = members.optional_integer("minInteger")?;
                let max = members.optional_integer("maxInteger")?;
                (min.is_some() || max.is_some())
                    .then(|| Constraint::Integer { min: min.unwrap_or(i64::MIN), max: max.unwrap_or(i64::MAX) })
            }
            AtomicType::Real => {
                let min = optional_real(&mut members, "minReal")?;
                let max = optional_real(&mut members, "maxReal")?;
                (min.is_some() || max.is_some()).then_some(Constraint::Real { min, max })
            }
            AtomicType::String => {
                let min = members.optional_integer("minLength")?;
                let max = members.optional_integer("maxLength")?;
                (min.is_some() || max.is_some())
                    .then(|| Constraint::Length { min: min.unwrap_or(0), max: max.unwrap_or(i64::MAX) })
            }
            AtomicType::Uuid => reference(&mut members)?,
            AtomicType::Boolean => None,
        };
        members.finish()?;
        let constraint = match (enumeration.transpose()?, range) {
            (Some(_), Some(_)) => {
                return Err(Error::new(ErrorKind::BadConstraint("an enumeration excludes other constraints")));
            }
            (one, other) => one.or(other).unwrap_or(Constraint::None),
        };
        BaseType::new(ty, constraint)
    }

    /// The JSON form: a word when nothing constrains the type, an object otherwise.
    pub fn to_json(&self) -> Json {
        let word = Json::string(self.ty.as_str());
        let mut members = vec![];
        match &self.constraint {
            Constraint::None => return word,
            Constraint::Enum(atoms) => {
                let atoms = atoms.iter().map(Atom::to_json).collect();
                members.push(("enum", Json::Array(vec![Json::string("set"), Json::Array(atoms)])));
            }
            Constraint::Integer { min, max } => {
                members.extend((*min != i64::MIN || *max == i64::MAX).then_some(("minInteger", Json::Integer(*min))));
                members.extend((*max != i64::MAX).then_some(("maxInteger", Json::Integer(*max))));
            }
            Constraint::Real { min, max } => {
                members.extend(min.map(|min| ("minReal", Json::real(min.get()))));
                members.extend(max.map(|max| ("maxReal", Json::real(max.get()))));
            }
            Constraint::Length { min, max } => {
                members.extend((*min != 0 || *max == i64::MAX).then_some(("minLength", Json::Integer(*min))));
                members.extend((*max != i64::MAX).then_some(("maxLength", Json::Integer(*max))));
            }
            Constraint::Reference { table, kind } => {
                members.push(("refTable", Json::string(table)));
                members.extend((*kind == RefType::Weak).then(|| ("refType", Json::string("weak"))));
            }
        }
        if members.is_empty() {
            return word;
        }
        members.push(("type", word));
        Json::object(members)
    }
}

fn atomic_type(json: &Json) -> Result<AtomicType, Error> {
    let word = string(json)?;
    AtomicType::from_word(word).ok_or_else(|| Error::new(ErrorKind::UnknownWord(word.to_owned())))
}

fn optional_real(members: &mut Members<'_>, name: &'static str) -> Result<Option<Real>, Error> {
    let Some(json) = members.optional(name) else { return Ok(None) };
    let value = match json {
        Json::Integer(value) => *value as f64,
        Json::Real(value) => *value,
        _ => return Err(expected("a number", json).at(member(name))),
    };
    Ok(Real::new(value))
}

fn reference(members: &mut Members<'_>) -> Result<Option<Constraint>, Error> {
    let table = members.optional("refTable");
    let kind = match members.optional("refType") {
        None => None,
        Some(json) => Some(match string(json).map_err(|error| error.at(member("refType")))? {
            "strong" => RefType::Strong,
            "weak" => RefType::Weak,
            other => return Err(Error::new(ErrorKind::UnknownWord(other.to_owned())).at(member("refType"))),
        }),
    };
    match (table, kind) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::new(ErrorKind::BadConstraint("refType needs refTable"))),
        (Some(table), kind) => {
            let table = identifier(table).map_err(|error| error.at(member("refTable")))?.to_owned();
            Ok(Some(Constraint::Reference { table, kind: kind.unwrap_or(RefType::Strong) }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    fn read(text: &str) -> Result<BaseType, Error> {
        BaseType::from_json(&parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn forms_round_trip() {
        for text in [
            r#""integer""#,
            r#"{"enum":["set",["a","b"]],"type":"string"}"#,
            r#"{"maxInteger":5,"minInteger":-1,"type":"integer"}"#,
            r#"{"minInteger":0,"type":"integer"}"#,
            r#"{"maxReal":0.5,"type":"real"}"#,
            r#"{"maxLength":8,"minLength":1,"type":"string"}"#,
            r#"{"refTable":"Port","type":"uuid"}"#,
            r#"{"refTable":"Port","refType":"weak","type":"uuid"}"#,
        ] {
            assert_eq!(read(text).unwrap().to_json().to_text(), text);
        }
        assert_eq!(read(r#"{"type":"boolean"}"#).unwrap(), AtomicType::Boolean.into());
    }

    #[test]
    fn contradictions_are_refused_and_name_the_member() {
        for (text, part) in [
            (r#"{"type":"integer","minInteger":5,"maxInteger":4}"#, "must not exceed"),
            (r#"{"type":"integer","maxReal":4}"#, "\"maxReal\" is not known"),
            (r#"{"type":"string","minLength":-1}"#, "negative"),
            (r#"{"type":"string","enum":["set",[]]}"#, "empty"),
            (r#"{"type":"string","enum":["set",["a","a"]]}"#, "twice"),
            (r#"{"type":"string","enum":"a","minLength":1}"#, "excludes"),
            (r#"{"type":"uuid","refType":"weak"}"#, "needs refTable"),
            (r#"{"type":"uuid","refTable":"A","refType":"soft"}"#, "member \"refType\": \"soft\""),
            (r#"{"type":"number"}"#, "member \"type\": \"number\""),
            (r#"{}"#, "\"type\" is missing"),
            (r#"5"#, "an object expected, found integer"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let two = read(r#"{"type":"string","maxLength":2}"#).unwrap();
        assert!(two.check(&Atom::String("éé".into())).is_ok());
        assert_eq!(two.check(&Atom::String("abc".into())).unwrap_err().kind(), &ErrorKind::AboveMaximum);
    }
}
