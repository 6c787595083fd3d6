//! Datums: the content of a column (RFC 7047 section 3.1, and section 5.1 `<value>`).

use std::fmt;
use std::slice;
use std::sync::Arc;

use uuid::Uuid;

use super::atom::{Atom, NamedUuids};
use super::column_type::ColumnType;
use super::parse::{array, expected};
use crate::error::{Error, ErrorKind};
use crate::json::Json;

/// The content of a column: a set of atoms, or a map from atoms to atoms. A scalar is a set of one.
///
/// Sorted and without duplicates by construction, so that equality is equality of content. It is 24 bytes; a scalar that
/// is no string and an empty one need nothing besides, and a copy of a larger one shares its elements.
///
/// ```
/// use ovs_db::{AtomicType, ColumnType, Datum, NamedUuids, json};
///
/// let ty = ColumnType::new(AtomicType::Integer.into(), None, 0, usize::MAX)?;
/// let datum = Datum::from_json(&ty, &json::parse(br#"["set", [3, 1, 2]]"#).unwrap(), &NamedUuids::new())?;
/// assert_eq!(datum.to_json().to_text(), r#"["set",[1,2,3]]"#);
/// # Ok::<(), ovs_db::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Datum(Repr);

const _: () = assert!(size_of::<Datum>() == 24);

/// Invariant: a set of no or one atom is never `Many`, and an empty map never `Pairs`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Repr {
    Empty,
    One(Atom),
    Many(Arc<[Atom]>),
    EmptyMap,
    Pairs(Arc<[(Atom, Atom)]>),
}

impl fmt::Debug for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_set(), self.as_map()) {
            (Some(atoms), _) => f.debug_set().entries(atoms).finish(),
            (_, Some(pairs)) => f.debug_map().entries(pairs.iter().map(|(key, value)| (key, value))).finish(),
            (None, None) => Ok(()),
        }
    }
}

impl From<Atom> for Datum {
    fn from(atom: Atom) -> Datum {
        Datum(Repr::One(atom))
    }
}

impl Datum {
    /// The set without elements.
    pub const EMPTY_SET: Datum = Datum(Repr::Empty);
    /// The map without pairs.
    pub const EMPTY_MAP: Datum = Datum(Repr::EmptyMap);

    /// A set of the atoms given, in any order; one that is given twice is in it once.
    pub fn set(atoms: impl IntoIterator<Item = Atom>) -> Datum {
        let mut atoms: Vec<Atom> = atoms.into_iter().collect();
        atoms.sort_unstable();
        atoms.dedup();
        match atoms.len() {
            0 | 1 => atoms.pop().map_or(Datum::EMPTY_SET, Datum::from),
            _ => Datum(Repr::Many(atoms.into())),
        }
    }

    /// A map of the pairs given, in any order; where a key is given twice, the last value counts.
    pub fn map(pairs: impl IntoIterator<Item = (Atom, Atom)>) -> Datum {
        let mut pairs: Vec<(Atom, Atom)> = pairs.into_iter().collect();
        // Of equal keys the first stays, and the sort is stable.
        pairs.reverse();
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        pairs.dedup_by(|(one, _), (other, _)| one == other);
        if pairs.is_empty() { Datum::EMPTY_MAP } else { Datum(Repr::Pairs(pairs.into())) }
    }

    /// The atoms in order, if this is a set.
    pub fn as_set(&self) -> Option<&[Atom]> {
        match &self.0 {
            Repr::Empty => Some(&[]),
            Repr::One(atom) => Some(slice::from_ref(atom)),
            Repr::Many(atoms) => Some(atoms),
            Repr::EmptyMap | Repr::Pairs(_) => None,
        }
    }

    /// The pairs in the order of their keys, if this is a map.
    pub fn as_map(&self) -> Option<&[(Atom, Atom)]> {
        match &self.0 {
            Repr::EmptyMap => Some(&[]),
            Repr::Pairs(pairs) => Some(pairs),
            Repr::Empty | Repr::One(_) | Repr::Many(_) => None,
        }
    }

    /// The number of elements or pairs.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Empty | Repr::EmptyMap => 0,
            Repr::One(_) => 1,
            Repr::Many(atoms) => atoms.len(),
            Repr::Pairs(pairs) => pairs.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one atom, if this is a set of one.
    pub fn as_scalar(&self) -> Option<&Atom> {
        if let Repr::One(atom) = &self.0 { Some(atom) } else { None }
    }

    /// Whether the set has the atom, or the map the key.
    pub fn contains(&self, atom: &Atom) -> bool {
        match self.as_set() {
            Some(atoms) => atoms.binary_search(atom).is_ok(),
            None => self.get(atom).is_some(),
        }
    }

    /// The value that the map has for `key`.
    pub fn get(&self, key: &Atom) -> Option<&Atom> {
        let pairs = self.as_map()?;
        let at = pairs.binary_search_by(|(one, _)| one.cmp(key)).ok()?;
        pairs.get(at).map(|(_, value)| value)
    }

    /// Whether every element (for a map: every pair) of `other` is also in this one.
    pub fn includes(&self, other: &Datum) -> bool {
        match (other.as_set(), other.as_map()) {
            (Some(atoms), _) => self.as_set().is_some() && atoms.iter().all(|atom| self.contains(atom)),
            (_, Some(pairs)) => {
                self.as_map().is_some() && pairs.iter().all(|(key, value)| self.get(key) == Some(value))
            }
            (None, None) => false,
        }
    }

    /// Whether no element (for a map: no pair) of `other` is in this one.
    pub fn excludes(&self, other: &Datum) -> bool {
        match (other.as_set(), other.as_map()) {
            (Some(atoms), _) => self.as_set().is_none() || !atoms.iter().any(|atom| self.contains(atom)),
            (_, Some(pairs)) => {
                self.as_map().is_none() || !pairs.iter().any(|(key, value)| self.get(key) == Some(value))
            }
            (None, None) => true,
        }
    }

    /// What becomes of this content by a difference as `update2` notifications have it (ovsdb-server(7), 4.1.14): what
    /// has at most one element is replaced; of a set, the elements that only one of both has stay; of a map, a pair of the difference
    /// removes the same pair, and otherwise puts its value in the place of the key's.
    ///
    /// `ty` is the type of the column: it tells how many elements there may be. A difference of the other kind changes nothing.
    pub fn patched(&self, ty: &ColumnType, difference: &Datum) -> Datum {
        if ty.max() == 1 {
            return difference.clone();
        }
        match (&self.0, &difference.0) {
            (Repr::Empty, Repr::Many(_) | Repr::One(_)) | (Repr::EmptyMap, Repr::Pairs(_)) => difference.clone(),
            _ => match (self.as_set(), difference.as_set(), self.as_map(), difference.as_map()) {
                (Some(old), Some(change), ..) => {
                    let kept = old.iter().filter(|atom| !difference.contains(atom));
                    Datum::set(kept.chain(change.iter().filter(|atom| !self.contains(atom))).cloned())
                }
                (.., Some(old), Some(change)) => {
                    let kept = old.iter().filter(|(key, _)| difference.get(key).is_none());
                    let new = change.iter().filter(|(key, value)| self.get(key) != Some(value));
                    Datum::map(kept.chain(new).cloned())
                }
                _ => self.clone(),
            },
        }
    }

    /// Checks the number of elements and every atom against `ty`.
    ///
    /// # Errors
    /// [`ErrorKind::Count`], or what [`BaseType::check`](super::BaseType::check) says of an atom.
    pub fn check(&self, ty: &ColumnType) -> Result<(), Error> {
        match (self.as_set(), self.as_map(), ty.value()) {
            (Some(atoms), _, None) => atoms.iter().try_for_each(|atom| ty.key().check(atom))?,
            (_, Some(pairs), Some(value)) => pairs.iter().try_for_each(|(key, atom)| {
                ty.key().check(key)?;
                value.check(atom)
            })?,
            (_, _, Some(_)) => return Err(Error::new(ErrorKind::Expected { expected: "a map", found: "set" })),
            (_, _, None) => return Err(Error::new(ErrorKind::Expected { expected: "a set", found: "map" })),
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

    /// As [`Datum::from_json`], without the constraints of the base types and the number of elements: what another
    /// version of the schema allows is read too.
    pub(crate) fn read(ty: &ColumnType, json: &Json, names: &NamedUuids) -> Result<Datum, Error> {
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
                let elements = array(elements)?;
                let mut atoms = Vec::with_capacity(elements.len());
                for (index, element) in elements.iter().enumerate() {
                    let at = |error: Error| error.at(format!("element {index}"));
                    atoms.push(Atom::from_json(ty.key().ty(), element, names).map_err(at)?);
                }
                unique(elements.len(), Datum::set(atoms))
            }
            (None, Some(_)) => Err(Error::new(ErrorKind::Expected { expected: "a set", found: "map" })),
            (Some(value_type), Some(("map", elements))) => {
                let elements = array(elements)?;
                let mut pairs = Vec::with_capacity(elements.len());
                for (index, element) in elements.iter().enumerate() {
                    let at = |error: Error| error.at(format!("element {index}"));
                    let [key, value] = array(element).map_err(at)? else {
                        return Err(at(expected("an array of key and value", element)));
                    };
                    let key = Atom::from_json(ty.key().ty(), key, names).map_err(at)?;
                    let value = Atom::from_json(value_type.ty(), value, names).map_err(at)?;
                    pairs.push((key, value));
                }
                unique(elements.len(), Datum::map(pairs))
            }
            (Some(_), _) => Err(expected("a map", json)),
        }
    }

    /// The JSON form: an atom for a set of one, otherwise `["set", [...]]` or `["map", [...]]`.
    pub fn to_json(&self) -> Json {
        self.to_json_with(&|_| None)
    }

    /// The JSON form, where UUIDs that `name` has a name for are written `["named-uuid", name]`.
    pub(crate) fn to_json_with(&self, name: &dyn Fn(&Uuid) -> Option<String>) -> Json {
        let tagged = |tag: &str, elements| Json::Array(vec![Json::string(tag), Json::Array(elements)]);
        let json = |atom: &Atom| match atom.as_uuid().and_then(|uuid| name(&uuid)) {
            Some(name) => Json::Array(vec![Json::string("named-uuid"), Json::String(name)]),
            None => atom.to_json(),
        };
        match &self.0 {
            Repr::One(atom) => json(atom),
            Repr::Empty => tagged("set", Vec::new()),
            Repr::Many(atoms) => tagged("set", atoms.iter().map(json).collect()),
            Repr::EmptyMap => tagged("map", Vec::new()),
            Repr::Pairs(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| Json::Array(vec![json(key), json(value)]));
                tagged("map", pairs.collect())
            }
        }
    }
}

/// The datum that was read from `elements` elements, if no two of them were the same.
fn unique(elements: usize, datum: Datum) -> Result<Datum, Error> {
    if datum.len() == elements { Ok(datum) } else { Err(Error::new(ErrorKind::Duplicate)) }
}

#[cfg(test)]
mod tests {
    use super::super::{AtomicType, Real};
    use super::*;
    use crate::json::{parse, tests::any_json};
    use proptest::prelude::*;

    fn any_atom(ty: AtomicType) -> BoxedStrategy<Atom> {
        match ty {
            AtomicType::Integer => any::<i64>().prop_map(Atom::Integer).boxed(),
            AtomicType::Real => {
                any::<f64>().prop_filter_map("finite", |value| Real::new(value).map(Atom::Real)).boxed()
            }
            AtomicType::Boolean => any::<bool>().prop_map(Atom::Boolean).boxed(),
            AtomicType::String => "[^\0]{0,6}".prop_map(|text| Atom::String(text.into())).boxed(),
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
            (Just(ty), prop::collection::btree_set(any_atom(key), 0..5).prop_map(Datum::set))
        });
        let map = (any_type(), any_type()).prop_flat_map(|(key, value)| {
            let ty = ColumnType::new(key.into(), Some(value.into()), 0, usize::MAX).unwrap();
            (Just(ty), prop::collection::btree_map(any_atom(key), any_atom(value), 0..5).prop_map(Datum::map))
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
            (r#"["set",["a","a"]]"#, "the same element"),
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

    /// A column that goes from `old` to `new`, and the difference as section 4.1.14 words it.
    fn difference(old: &Datum, new: &Datum) -> Datum {
        match (old.as_map(), new.as_map()) {
            (Some(one), Some(other)) => {
                let gone = one.iter().filter(|(key, _)| new.get(key).is_none());
                let put = other.iter().filter(|(key, value)| old.get(key) != Some(value));
                Datum::map(gone.chain(put).cloned())
            }
            _ => {
                let (one, other) = (old.as_set().unwrap(), new.as_set().unwrap());
                let gone = one.iter().filter(|atom| !new.contains(atom));
                Datum::set(gone.chain(other.iter().filter(|atom| !old.contains(atom))).cloned())
            }
        }
    }

    #[test]
    fn a_later_pair_wins() {
        let pair = |key, value| (Atom::Integer(key), Atom::Integer(value));
        let map = Datum::map([pair(2, 1), pair(1, 1), pair(2, 2), pair(2, 3)]);
        assert_eq!(map.as_map().unwrap(), [pair(1, 1), pair(2, 3)]);
        assert_eq!(map.get(&Atom::Integer(2)), Some(&Atom::Integer(3)));
    }

    proptest! {
        #[test]
        fn a_difference_leads_from_old_to_new(
            old in prop::collection::btree_map(0..6i64, 0..3i64, 0..6),
            new in prop::collection::btree_map(0..6i64, 0..3i64, 0..6),
        ) {
            let integer = || super::super::BaseType::from(AtomicType::Integer);
            let ty = |value| ColumnType::new(integer(), value, 0, usize::MAX).unwrap();
            let map = |pairs: &std::collections::BTreeMap<i64, i64>| {
                Datum::map(pairs.iter().map(|(key, value)| (Atom::Integer(*key), Atom::Integer(*value))))
            };
            let set = |pairs: &std::collections::BTreeMap<i64, i64>| Datum::set(pairs.keys().map(|key| Atom::Integer(*key)));
            prop_assert_eq!(map(&old).patched(&ty(Some(integer())), &difference(&map(&old), &map(&new))), map(&new));
            prop_assert_eq!(set(&old).patched(&ty(None), &difference(&set(&old), &set(&new))), set(&new));
        }

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
