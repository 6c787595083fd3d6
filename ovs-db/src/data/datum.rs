//! Datums: the content of a column (RFC 7047 section 3.1, and section 5.1 `<value>`).

use std::collections::{BTreeMap, BTreeSet};

use super::atom::{Atom, NamedUuids};
use super::column_type::ColumnType;
use super::parse::{array, expected};
use crate::error::{Error, ErrorKind};
use crate::json::Json;

/// The content of a column: a set of atoms, or a map from atoms to atoms. A scalar is a set of one.
///
/// Sorted and without duplicates by construction, so that equality is equality of content.
///
/// ```
/// use ovs_db::{AtomicType, ColumnType, Datum, NamedUuids, json};
///
/// let ty = ColumnType::new(AtomicType::Integer.into(), None, 0, usize::MAX)?;
/// let datum = Datum::from_json(&ty, &json::parse(br#"["set", [3, 1, 2]]"#).unwrap(), &NamedUuids::new())?;
/// assert_eq!(datum.to_json().to_text(), r#"["set",[1,2,3]]"#);
/// # Ok::<(), ovs_db::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Datum {
    /// A set.
    Set(BTreeSet<Atom>),
    /// A map.
    Map(BTreeMap<Atom, Atom>),
}

impl From<Atom> for Datum {
    fn from(atom: Atom) -> Datum {
        Datum::Set([atom].into())
    }
}

impl Datum {
    /// The number of elements or pairs.
    pub fn len(&self) -> usize {
        match self {
            Datum::Set(atoms) => atoms.len(),
            Datum::Map(pairs) => pairs.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one atom, if this is a set of one.
    pub fn as_scalar(&self) -> Option<&Atom> {
        match self {
            Datum::Set(atoms) if atoms.len() == 1 => atoms.first(),
            _ => None,
        }
    }

    /// Whether every element (for a map: every pair) of `other` is also in this one.
    pub fn includes(&self, other: &Datum) -> bool {
        match (self, other) {
            (Datum::Set(ours), Datum::Set(theirs)) => theirs.is_subset(ours),
            (Datum::Map(ours), Datum::Map(theirs)) => theirs.iter().all(|(key, value)| ours.get(key) == Some(value)),
            _ => false,
        }
    }

    /// Whether no element (for a map: no pair) of `other` is in this one.
    pub fn excludes(&self, other: &Datum) -> bool {
        match (self, other) {
            (Datum::Set(ours), Datum::Set(theirs)) => theirs.is_disjoint(ours),
            (Datum::Map(ours), Datum::Map(theirs)) => theirs.iter().all(|(key, value)| ours.get(key) != Some(value)),
            _ => true,
        }
    }

    /// Checks the number of elements and every atom against `ty`.
    ///
    /// # Errors
    /// [`ErrorKind::Count`], or what [`BaseType::check`](super::BaseType::check) says of an atom.
    pub fn check(&self, ty: &ColumnType) -> Result<(), Error> {
        match (self, ty.value()) {
            (Datum::Set(atoms), None) => atoms.iter().try_for_each(|atom| ty.key().check(atom))?,
            (Datum::Map(pairs), Some(value)) => pairs.iter().try_for_each(|(key, atom)| {
                ty.key().check(key)?;
                value.check(atom)
            })?,
            (Datum::Set(_), Some(_)) => {
                return Err(Error::new(ErrorKind::Expected { expected: "a map", found: "set" }));
            }
            (Datum::Map(_), None) => return Err(Error::new(ErrorKind::Expected { expected: "a set", found: "map" })),
        }
        if self.len() < ty.min() || self.len() > ty.max() {
            return Err(Error::new(ErrorKind::Count { found: self.len(), min: ty.min(), max: ty.max() }));
        }
        Ok(())
    }

    /// Reads the content of a column of type `ty`: RFC 7047 section 5.1 `<value>`, that is an atom, `["set", [...]]` or
    /// `["map", [[key, value], ...]]`.
    ///
    /// # Errors
    /// [`Error`] with the element that is wrong: form, type, constraint, duplicates, or too few or many elements.
    pub fn from_json(ty: &ColumnType, json: &Json, names: &NamedUuids) -> Result<Datum, Error> {
        let datum = Datum::read(ty, json, names)?;
        datum.check(ty)?;
        Ok(datum)
    }

    /// As [`Datum::from_json`], without the constraints of the base types and the number of elements.
    fn read(ty: &ColumnType, json: &Json, names: &NamedUuids) -> Result<Datum, Error> {
        let tagged = match json {
            Json::Array(pair) => match pair.as_slice() {
                [Json::String(tag), elements] if tag == "set" || tag == "map" => Some((tag.as_str(), elements)),
                _ => None,
            },
            _ => None,
        };
        match (ty.value(), tagged) {
            (None, None) => Atom::from_json(ty.key().ty(), json, names).map(Datum::from),
            (None, Some(("set", elements))) => {
                let mut atoms = BTreeSet::new();
                for (index, element) in array(elements)?.iter().enumerate() {
                    let at = |error: Error| error.at(format!("element {index}"));
                    let atom = Atom::from_json(ty.key().ty(), element, names).map_err(at)?;
                    if !atoms.insert(atom) {
                        return Err(at(Error::new(ErrorKind::Duplicate)));
                    }
                }
                Ok(Datum::Set(atoms))
            }
            (None, Some(_)) => Err(Error::new(ErrorKind::Expected { expected: "a set", found: "map" })),
            (Some(value_type), Some(("map", elements))) => {
                let mut pairs = BTreeMap::new();
                for (index, element) in array(elements)?.iter().enumerate() {
                    let at = |error: Error| error.at(format!("element {index}"));
                    let [key, value] = array(element).map_err(at)? else {
                        return Err(at(expected("an array of key and value", element)));
                    };
                    let key = Atom::from_json(ty.key().ty(), key, names).map_err(at)?;
                    let value = Atom::from_json(value_type.ty(), value, names).map_err(at)?;
                    if pairs.insert(key, value).is_some() {
                        return Err(at(Error::new(ErrorKind::Duplicate)));
                    }
                }
                Ok(Datum::Map(pairs))
            }
            (Some(_), _) => Err(expected("a map", json)),
        }
    }

    /// The JSON form: an atom for a set of one, otherwise `["set", [...]]` or `["map", [...]]`.
    pub fn to_json(&self) -> Json {
        let tagged = |tag: &str, elements| Json::Array(vec![Json::string(tag), Json::Array(elements)]);
        match self {
            Datum::Set(atoms) => match self.as_scalar() {
                Some(atom) => atom.to_json(),
                None => tagged("set", atoms.iter().map(Atom::to_json).collect()),
            },
            Datum::Map(pairs) => tagged(
                "map",
                pairs.iter().map(|(key, value)| Json::Array(vec![key.to_json(), value.to_json()])).collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AtomicType, Real};
    use super::*;
    use crate::json::{parse, tests::any_json};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn any_atom(ty: AtomicType) -> BoxedStrategy<Atom> {
        match ty {
            AtomicType::Integer => any::<i64>().prop_map(Atom::Integer).boxed(),
            AtomicType::Real => {
                any::<f64>().prop_filter_map("finite", |value| Real::new(value).map(Atom::Real)).boxed()
            }
            AtomicType::Boolean => any::<bool>().prop_map(Atom::Boolean).boxed(),
            AtomicType::String => "[^\0]{0,6}".prop_map(Atom::String).boxed(),
            AtomicType::Uuid => any::<u128>().prop_map(|bits| Atom::Uuid(Uuid::from_u128(bits))).boxed(),
        }
    }

    fn any_type() -> impl Strategy<Value = AtomicType> {
        prop::sample::select(AtomicType::ALL.to_vec())
    }

    /// Any datum with a type that it is of.
    fn any_typed_datum() -> impl Strategy<Value = (ColumnType, Datum)> {
        let set = any_type().prop_flat_map(|key| {
            let ty = ColumnType::new(key.into(), None, 0, usize::MAX).unwrap();
            (Just(ty), prop::collection::btree_set(any_atom(key), 0..5).prop_map(Datum::Set))
        });
        let map = (any_type(), any_type()).prop_flat_map(|(key, value)| {
            let ty = ColumnType::new(key.into(), Some(value.into()), 0, usize::MAX).unwrap();
            (Just(ty), prop::collection::btree_map(any_atom(key), any_atom(value), 0..5).prop_map(Datum::Map))
        });
        prop_oneof![set, map]
    }

    #[test]
    fn forms_of_section_5_1() {
        let names = NamedUuids::new();
        let optional = ColumnType::new(AtomicType::String.into(), None, 0, 2).unwrap();
        let read = |ty: &ColumnType, text: &str| Datum::from_json(ty, &parse(text.as_bytes()).unwrap(), &names);
        assert_eq!(read(&optional, r#"["set",[]]"#).unwrap().len(), 0);
        assert_eq!(read(&optional, r#""a""#).unwrap(), read(&optional, r#"["set",["a"]]"#).unwrap());
        let errors = [
            (r#"["set",["a","a"]]"#, "element 1: the same element"),
            (r#"["set",["a","b","c"]]"#, "3 elements where 0 to 2"),
            (r#"["set",["a",5]]"#, "element 1: a value of type string expected, found integer"),
            (r#"["map",[]]"#, "a set expected"),
            (r#"["set",5]"#, "an array expected"),
        ];
        for (text, part) in errors {
            let error = read(&optional, text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let map = ColumnType::new(AtomicType::String.into(), Some(AtomicType::Integer.into()), 0, 9).unwrap();
        assert_eq!(
            read(&map, r#"["map",[["b",2],["a",1]]]"#).unwrap().to_json().to_text(),
            r#"["map",[["a",1],["b",2]]]"#
        );
        for text in
            [r#"["map",[["a",1],["a",2]]]"#, r#"["map",[["a"]]]"#, r#"["map",["a"]]"#, r#""a""#, r#"["set",[]]"#]
        {
            assert!(read(&map, text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn from_json_inverts_to_json((ty, datum) in any_typed_datum()) {
            let text = datum.to_json().to_text();
            prop_assert_eq!(Datum::from_json(&ty, &parse(text.as_bytes()).unwrap(), &NamedUuids::new()), Ok(datum));
        }

        #[test]
        fn any_json_is_a_datum_or_an_error((ty, _) in any_typed_datum(), json in any_json()) {
            if let Ok(datum) = Datum::from_json(&ty, &json, &NamedUuids::new()) {
                prop_assert_eq!(Datum::from_json(&ty, &datum.to_json(), &NamedUuids::new()), Ok(datum));
            }
        }
    }
}
