//! Typed names of columns, and the values that they have.
//!
//! A column is a constant that code generated from a schema declares (see [`codegen`](crate::codegen)). The same constant
//! says what to monitor, reads a row, sets it in a transaction, and makes a condition; its type says what the value is.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use uuid::Uuid;

use super::filter::Clause;
use crate::data::{Atom, Datum, Real};
use crate::db::Function;

/// A table: a type that stands for it, declared by generated code.
pub trait Table: 'static {
    /// The name of the table.
    const NAME: &'static str;
}

/// The UUID of a row of table `T`.
///
/// A reference to a row that is gone, or is not monitored, is an id that the replica has no row for.
pub struct Id<T> {
    uuid: Uuid,
    table: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The row of table `T` that has this UUID.
    pub const fn new(uuid: Uuid) -> Id<T> {
        Id { uuid, table: PhantomData }
    }

    /// The UUID.
    pub const fn uuid(self) -> Uuid {
        self.uuid
    }
}

// Derived, these would ask the same of `T`, which is never there.
impl<T> Clone for Id<T> {
    fn clone(&self) -> Id<T> {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Id<T>) -> bool {
        self.uuid == other.uuid
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Id<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Id<T>) -> Ordering {
        self.uuid.cmp(&other.uuid)
    }
}

impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid.fmt(f)
    }
}

impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid.fmt(f)
    }
}

/// A column of table `T` whose content has form `F`.
///
/// | form | read as | written as |
/// |---|---|---|
/// | [`One<K>`] | `K` | `K` |
/// | [`Optional<K>`] | `Option<K>` | `Option<K>` or `K` |
/// | [`Many<K>`] | [`SetView`] | array or `Vec` of `K` |
/// | [`Pairs<K, V>`] | [`MapView`] | array or `Vec` of `(K, V)` |
///
/// where `K` and `V` are `i64`, [`Real`], `bool`, `&str` (written `str` in the type), [`Uuid`], or the [`Id`] of a row.
pub struct Column<T, F> {
    name: &'static str,
    position: u16,
    marker: PhantomData<fn() -> (T, F)>,
}

impl<T, F> Clone for Column<T, F> {
    fn clone(&self) -> Column<T, F> {
        *self
    }
}

impl<T, F> Copy for Column<T, F> {}

impl<T, F> fmt::Debug for Column<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<T: Table, F: Form> Column<T, F> {
    /// For generated code: the column `name`, at this position among the columns of its table, sorted by name.
    pub const fn new(name: &'static str, position: u16) -> Column<T, F> {
        Column { name, position, marker: PhantomData }
    }

    /// The name of the column.
    pub const fn name(self) -> &'static str {
        self.name
    }

    pub(crate) const fn position(self) -> u16 {
        self.position
    }

    /// The condition that the column has exactly this content.
    pub fn is<'a>(self, value: impl Into<F::Write<'a>>) -> Clause {
        Clause::new(self.name, Function::Equal, &F::datum(value.into()))
    }

    /// The condition that the column has all of these elements or pairs.
    pub fn includes<'a>(self, value: impl Into<F::Write<'a>>) -> Clause {
        Clause::new(self.name, Function::Includes, &F::datum(value.into()))
    }
}

/// The type of an element of a column. Implemented for the types that [`Column`] lists.
pub trait Key: 'static {
    /// The value as it is read and written.
    type Ref<'a>: Copy + fmt::Debug;
    /// The value of an atom; nothing when it is of another type.
    fn read(atom: &Atom) -> Option<Self::Ref<'_>>;
    /// The atom of a value.
    fn atom(value: Self::Ref<'_>) -> Atom;
    /// The value that a column has by default (RFC 7047 section 5.2.1), in the place of a content that is none.
    fn default(content: &Datum) -> Self::Ref<'_>;
}

macro_rules! key {
    ($key:ty, $read:expr, $atom:expr, $default:expr) => {
        impl Key for $key {
            type Ref<'a> = $key;

            fn read(atom: &Atom) -> Option<$key> {
                $read(atom)
            }

            fn atom(value: $key) -> Atom {
                $atom(value)
            }

            fn default(_: &Datum) -> $key {
                $default
            }
        }
    };
}

key!(i64, Atom::as_integer, Atom::Integer, 0);
key!(Real, |atom: &Atom| if let Atom::Real(value) = atom { Some(*value) } else { None }, Atom::Real, Real::ZERO);
key!(bool, Atom::as_bool, Atom::Boolean, false);
key!(Uuid, Atom::as_uuid, Atom::Uuid, Uuid::nil());

impl Key for str {
    type Ref<'a> = &'a str;

    fn read(atom: &Atom) -> Option<&str> {
        atom.as_str()
    }

    fn atom(value: &str) -> Atom {
        Atom::String(value.into())
    }

    fn default(_: &Datum) -> &str {
        ""
    }
}

impl<T: 'static> Key for Id<T> {
    type Ref<'a> = Id<T>;

    fn read(atom: &Atom) -> Option<Id<T>> {
        atom.as_uuid().map(Id::new)
    }

    fn atom(value: Id<T>) -> Atom {
        Atom::Uuid(value.uuid)
    }

    fn default(_: &Datum) -> Id<T> {
        Id::new(Uuid::nil())
    }
}

/// How many elements a column has, and of which types: [`One`], [`Optional`], [`Many`], [`Pairs`].
pub trait Form: 'static {
    /// What reading the column gives.
    type Ref<'a>;
    /// What writing the column takes.
    type Write<'a>;
    /// Reads a content. What another version of the schema allows and this type cannot say is read as the default.
    fn read(datum: &Datum) -> Self::Ref<'_>;
    /// The content for a value.
    fn datum(value: Self::Write<'_>) -> Datum;
}

/// Exactly one element.
#[derive(Debug)]
pub struct One<K: ?Sized>(PhantomData<K>);

/// No or one element.
#[derive(Debug)]
pub struct Optional<K: ?Sized>(PhantomData<K>);

/// A set.
#[derive(Debug)]
pub struct Many<K: ?Sized>(PhantomData<K>);

/// A map.
#[derive(Debug)]
pub struct Pairs<K: ?Sized, V: ?Sized>(PhantomData<K>, PhantomData<V>);

impl<K: Key + ?Sized> Form for One<K> {
    type Ref<'a> = K::Ref<'a>;
    type Write<'a> = K::Ref<'a>;

    fn read(datum: &Datum) -> K::Ref<'_> {
        datum.as_scalar().and_then(K::read).unwrap_or_else(|| K::default(datum))
    }

    fn datum(value: K::Ref<'_>) -> Datum {
        K::atom(value).into()
    }
}

impl<K: Key + ?Sized> Form for Optional<K> {
    type Ref<'a> = Option<K::Ref<'a>>;
    type Write<'a> = Option<K::Ref<'a>>;

    fn read(datum: &Datum) -> Option<K::Ref<'_>> {
        datum.as_scalar().and_then(K::read)
    }

    fn datum(value: Option<K::Ref<'_>>) -> Datum {
        value.map_or(Datum::EMPTY_SET, |value| K::atom(value).into())
    }
}

impl<K: Key + ?Sized> Form for Many<K> {
    type Ref<'a> = SetView<'a, K>;
    type Write<'a> = Vec<K::Ref<'a>>;

    fn read(datum: &Datum) -> SetView<'_, K> {
        SetView { atoms: datum.as_set().unwrap_or_default(), key: PhantomData }
    }

    fn datum(value: Vec<K::Ref<'_>>) -> Datum {
        Datum::set(value.into_iter().map(K::atom))
    }
}

impl<K: Key + ?Sized, V: Key + ?Sized> Form for Pairs<K, V> {
    type Ref<'a> = MapView<'a, K, V>;
    type Write<'a> = Vec<(K::Ref<'a>, V::Ref<'a>)>;

    fn read(datum: &Datum) -> MapView<'_, K, V> {
        MapView { datum, key: PhantomData, value: PhantomData }
    }

    fn datum(value: Vec<(K::Ref<'_>, V::Ref<'_>)>) -> Datum {
        Datum::map(value.into_iter().map(|(key, value)| (K::atom(key), V::atom(value))))
    }
}

/// The elements of a set, in order.
pub struct SetView<'a, K: ?Sized> {
    atoms: &'a [Atom],
    key: PhantomData<K>,
}

impl<K: ?Sized> Clone for SetView<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized> Copy for SetView<'_, K> {}

impl<'a, K: Key + ?Sized> SetView<'a, K> {
    /// The elements.
    pub fn iter(self) -> impl Iterator<Item = K::Ref<'a>> {
        self.atoms.iter().filter_map(K::read)
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.atoms.len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.atoms.is_empty()
    }

    /// Whether this is one of them.
    pub fn contains(self, value: K::Ref<'_>) -> bool {
        self.atoms.binary_search(&K::atom(value)).is_ok()
    }
}

impl<K: Key + ?Sized> fmt::Debug for SetView<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The pairs of a map, in the order of their keys.
pub struct MapView<'a, K: ?Sized, V: ?Sized> {
    datum: &'a Datum,
    key: PhantomData<K>,
    value: PhantomData<V>,
}

impl<K: ?Sized, V: ?Sized> Clone for MapView<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized, V: ?Sized> Copy for MapView<'_, K, V> {}

impl<'a, K: Key + ?Sized, V: Key + ?Sized> MapView<'a, K, V> {
    /// The pairs.
    pub fn iter(self) -> impl Iterator<Item = (K::Ref<'a>, V::Ref<'a>)> {
        let pairs = self.datum.as_map().unwrap_or_default();
        pairs.iter().filter_map(|(key, value)| Some((K::read(key)?, V::read(value)?)))
    }

    /// The value of a key.
    pub fn get(self, key: K::Ref<'_>) -> Option<V::Ref<'a>> {
        self.datum.get(&K::atom(key)).and_then(V::read)
    }

    /// How many pairs there are.
    pub fn len(self) -> usize {
        self.datum.len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.datum.is_empty()
    }
}

impl<K: Key + ?Sized, V: Key + ?Sized> fmt::Debug for MapView<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<'a, F: Form>(value: impl Into<F::Write<'a>>) -> Datum {
        F::datum(value.into())
    }

    #[test]
    fn forms_read_what_they_wrote() {
        assert_eq!(One::<str>::read(&round_trip::<One<str>>("a")), "a");
        assert_eq!(Optional::<i64>::read(&round_trip::<Optional<i64>>(5)), Some(5));
        assert_eq!(Optional::<i64>::read(&round_trip::<Optional<i64>>(None)), None);
        let set = round_trip::<Many<i64>>([3, 1, 3]);
        assert_eq!(Many::<i64>::read(&set).iter().collect::<Vec<_>>(), [1, 3]);
        assert!(Many::<i64>::read(&set).contains(3) && !Many::<i64>::read(&set).contains(2));
        let map = round_trip::<Pairs<str, bool>>([("b", true), ("a", false)]);
        let view = Pairs::<str, bool>::read(&map);
        assert_eq!((view.get("b"), view.get("c"), view.len()), (Some(true), None, 2));
        assert_eq!(format!("{view:?}"), r#"{"a": false, "b": true}"#);
    }

    #[test]
    fn what_does_not_fit_is_the_default() {
        assert_eq!(One::<i64>::read(&Datum::EMPTY_SET), 0);
        assert_eq!(One::<str>::read(&Atom::Integer(1).into()), "");
        assert_eq!(Optional::<bool>::read(&Datum::set([Atom::Boolean(true), Atom::Boolean(false)])), None);
        assert_eq!(Many::<i64>::read(&Datum::EMPTY_MAP).len(), 0);
        assert_eq!(Pairs::<str, str>::read(&Datum::EMPTY_SET).iter().count(), 0);
    }
}
