//! Mutations: `[column, mutator, value]` (RFC 7047 section 5.1 `<mutation>`).

use super::failure::Failure;
use super::table::Row;
use crate::data::parse::{array, expected, string};
use crate::data::{Atom, AtomicType, ColumnType, Datum, NamedUuids, Real};
use crate::error::{Error, ErrorKind};
use crate::json::Json;
use crate::schema::TableSchema;

/// How a mutation changes a column: RFC 7047 section 5.1 `<mutator>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutator {
    /// `+=`, for integers and reals.
    Add,
    /// `-=`, for integers and reals.
    Subtract,
    /// `*=`, for integers and reals.
    Multiply,
    /// `/=`, for integers and reals.
    Divide,
    /// `%=`, for integers.
    Remainder,
    /// `insert`: adds elements, or pairs whose key is not there yet.
    Insert,
    /// `delete`: removes elements, pairs, or the pairs with the keys given.
    Delete,
}

impl Mutator {
    /// Every mutator.
    pub const ALL: [Mutator; 7] = [
        Mutator::Add,
        Mutator::Subtract,
        Mutator::Multiply,
        Mutator::Divide,
        Mutator::Remainder,
        Mutator::Insert,
        Mutator::Delete,
    ];

    /// The word for this mutator.
    pub fn as_str(self) -> &'static str {
        match self {
            Mutator::Add => "+=",
            Mutator::Subtract => "-=",
            Mutator::Multiply => "*=",
            Mutator::Divide => "/=",
            Mutator::Remainder => "%=",
            Mutator::Insert => "insert",
            Mutator::Delete => "delete",
        }
    }

    fn is_arithmetic(self) -> bool {
        !matches!(self, Mutator::Insert | Mutator::Delete)
    }

    fn applies_to(self, ty: &ColumnType) -> bool {
        match self {
            Mutator::Insert | Mutator::Delete => !ty.is_scalar(),
            Mutator::Remainder => !ty.is_map() && ty.key().ty() == AtomicType::Integer,
            _ => !ty.is_map() && matches!(ty.key().ty(), AtomicType::Integer | AtomicType::Real),
        }
    }
}

/// A change to one column of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutation {
    column: String,
    mutator: Mutator,
    argument: Datum,
    ty: ColumnType,
}

impl Mutation {
    /// Reads a mutation of rows of `table`, which is called `table_name` in errors.
    ///
    /// # Errors
    /// [`Failure::UnknownColumn`], [`Failure::Immutable`]; [`Failure::Syntax`] for another form, a mutator that does not
    /// go with the column, or a value of another type; [`Failure::Value`] for elements that the column's
    /// constraints rule out.
    pub fn from_json(
        table_name: &str,
        table: &TableSchema,
        json: &Json,
        names: &NamedUuids,
    ) -> Result<Mutation, Failure> {
        let [column, mutator, argument] = array(json)? else {
            return Err(expected("[column, mutator, value]", json).into());
        };
        let (name, word) = (string(column)?, string(mutator)?);
        let column = super::operation::writable(table_name, table, name)?;
        if !column.mutable {
            return Err(Failure::Immutable { table: table_name.to_owned(), column: name.to_owned() });
        }
        let ty = &column.ty;
        let at = |error: Error| Failure::from(error.at(format!("mutation of column {name:?}")));
        let mutator = Mutator::ALL
            .into_iter()
            .find(|mutator| mutator.as_str() == word)
            .ok_or_else(|| at(Error::new(ErrorKind::UnknownWord(word.to_owned()))))?;
        if !mutator.applies_to(ty) {
            return Err(at(Error::new(ErrorKind::NotApplicable { word: mutator.as_str() })));
        }
        let argument = if mutator.is_arithmetic() {
            Datum::from(Atom::from_json(ty.key().ty(), argument, names).map_err(at)?)
        } else if mutator == Mutator::Delete {
            delete_argument(ty, argument, names).map_err(at)?
        } else {
            Datum::from_json(&ty.at_least(0), argument, names).map_err(at)?
        };
        Ok(Mutation { column: name.to_owned(), mutator, argument, ty: ty.clone() })
    }

    /// Applies the mutation to `row`.
    ///
    /// # Errors
    /// [`Failure::DivisionByZero`], [`Failure::OutOfRange`], and [`Failure::Value`] when the column does not allow the
    /// result or the result has an element twice. The row is then unchanged.
    pub(crate) fn apply(&self, row: &mut Row) -> Result<(), Failure> {
        let at = |kind| Failure::Value(Error::new(kind).at(format!("mutation of column {:?}", self.column)));
        let Some(old) = row.get(&self.column) else { return Ok(()) };
        let argument = &self.argument;
        let new = match (self.mutator, old.as_set(), old.as_map()) {
            (Mutator::Insert, Some(old), _) => {
                Datum::set(old.iter().chain(argument.as_set().unwrap_or_default()).cloned())
            }
            (Mutator::Insert, _, Some(old)) => {
                // A key that is there already keeps its value: of two pairs, the last counts.
                Datum::map(argument.as_map().unwrap_or_default().iter().chain(old).cloned())
            }
            (Mutator::Delete, Some(old), _) => Datum::set(old.iter().filter(|atom| !argument.contains(atom)).cloned()),
            (Mutator::Delete, _, Some(old)) => {
                let keys_only = argument.as_set().is_some();
                let goes = |key: &Atom, value: &Atom| match keys_only {
                    true => argument.contains(key),
                    false => argument.get(key) == Some(value),
                };
                Datum::map(old.iter().filter(|(key, value)| !goes(key, value)).cloned())
            }
            (_, Some(old), _) => {
                let results = old.iter().map(|atom| self.arithmetic(atom, argument.as_scalar()));
                let new = Datum::set(results.collect::<Result<Vec<_>, _>>()?);
                if new.len() != old.len() {
                    return Err(at(ErrorKind::Duplicate));
                }
                new
            }
            _ => return Err(at(ErrorKind::NotApplicable { word: self.mutator.as_str() })),
        };
        new.check(&self.ty).map_err(|error| at(error.kind().clone()))?;
        row.set(&self.column, new);
        Ok(())
    }

    fn arithmetic(&self, left: &Atom, right: Option<&Atom>) -> Result<Atom, Failure> {
        let range = || Failure::OutOfRange { column: self.column.clone() };
        let domain = || Failure::DivisionByZero { column: self.column.clone() };
        match (left, right) {
            (Atom::Integer(left), Some(Atom::Integer(right))) => {
                let result = match self.mutator {
                    Mutator::Add => left.checked_add(*right),
                    Mutator::Subtract => left.checked_sub(*right),
                    Mutator::Multiply => left.checked_mul(*right),
                    Mutator::Divide | Mutator::Remainder if *right == 0 => return Err(domain()),
                    Mutator::Divide => left.checked_div(*right),
                    // The remainder by -1 is 0 for every integer; only the quotient may not fit.
                    _ => left.checked_rem(*right).or(Some(0)),
                };
                result.map(Atom::Integer).ok_or_else(range)
            }
            (Atom::Real(left), Some(Atom::Real(right))) => {
                let (left, right) = (left.get(), right.get());
                let result = match self.mutator {
                    Mutator::Add => left + right,
                    Mutator::Subtract => left - right,
                    Mutator::Multiply => left * right,
                    _ if right == 0.0 => return Err(domain()),
                    _ => left / right,
                };
                Real::new(result).map(Atom::Real).ok_or_else(range)
            }
            _ => Err(range()),
        }
    }
}

/// What `delete` removes: elements or pairs, or for a map also a set of keys.
fn delete_argument(ty: &ColumnType, json: &Json, names: &NamedUuids) -> Result<Datum, Error> {
    let any = ty.unbounded();
    let is_map = matches!(json.as_array(), Some([Json::String(tag), _]) if tag == "map");
    if ty.is_map() && !is_map {
        let keys = ColumnType::new(ty.key().clone(), None, 0, usize::MAX)?;
        return Datum::from_json(&keys, json, names);
    }
    Datum::from_json(&any, json, names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::schema::ColumnSchema;
    use uuid::Uuid;

    fn mutate(ty: &str, old: &str, mutator: &str, argument: &str) -> Result<String, &'static str> {
        let read = |text: &str| parse(text.as_bytes()).unwrap();
        let column = ColumnSchema::from(ColumnType::from_json(&read(ty)).unwrap());
        let table = TableSchema { columns: [("c".to_owned(), column.clone())].into(), ..TableSchema::default() };
        let mut row = Row::new(Uuid::nil(), Uuid::nil(), &table);
        row.set("c", Datum::from_json(&column.ty, &read(old), &NamedUuids::new()).unwrap());
        let json = read(&format!(r#"["c","{mutator}",{argument}]"#));
        Mutation::from_json("T", &table, &json, &NamedUuids::new())
            .and_then(|mutation| mutation.apply(&mut row))
            .map_err(|failure| failure.tag())?;
        Ok(row.get("c").unwrap().to_json().to_text())
    }

    #[test]
    fn arithmetic() {
        let small = r#"{"key":{"type":"integer","minInteger":0,"maxInteger":9}}"#;
        let set = r#"{"key":"integer","min":0,"max":"unlimited"}"#;
        let min = i64::MIN.to_string();
        for (ty, old, mutator, argument, result) in [
            (r#""integer""#, "7", "+=", "2", Ok("9")),
            (r#""integer""#, "7", "-=", "2", Ok("5")),
            (r#""integer""#, "7", "*=", "2", Ok("14")),
            (r#""integer""#, "-7", "/=", "2", Ok("-3")),
            (r#""integer""#, "-7", "%=", "2", Ok("-1")),
            (r#""integer""#, "7", "/=", "0", Err("domain error")),
            (r#""integer""#, "7", "%=", "0", Err("domain error")),
            (r#""integer""#, &min, "-=", "1", Err("range error")),
            (r#""integer""#, &min, "/=", "-1", Err("range error")),
            (r#""integer""#, &min, "%=", "-1", Ok("0")),
            (r#""real""#, "1.5", "*=", "3", Ok("4.5")),
            (r#""real""#, "1e308", "*=", "10", Err("range error")),
            (r#""real""#, "1", "/=", "0", Err("domain error")),
            (r#""real""#, "1", "%=", "1", Err("syntax error")),
            (r#""string""#, "\"a\"", "+=", "\"b\"", Err("syntax error")),
            (small, "7", "+=", "3", Err("constraint violation")),
            (set, r#"["set",[1,2]]"#, "+=", "1", Ok(r#"["set",[2,3]]"#)),
            (set, r#"["set",[1,2]]"#, "*=", "0", Err("constraint violation")),
            (set, r#"["set",[1,2]]"#, "+=", r#"["set",[1,2]]"#, Err("syntax error")),
        ] {
            assert_eq!(mutate(ty, old, mutator, argument), result.map(str::to_owned), "{old} {mutator} {argument}");
        }
    }

    #[test]
    fn insert_and_delete() {
        let set = r#"{"key":{"type":"integer","maxInteger":9},"min":1,"max":3}"#;
        let map = r#"{"key":"string","value":"integer","min":0,"max":2}"#;
        let ab = r#"["map",[["a",1],["b",2]]]"#;
        for (ty, old, mutator, argument, result) in [
            (set, "1", "insert", r#"["set",[1,2]]"#, Ok(r#"["set",[1,2]]"#)),
            (set, "1", "insert", r#"["set",[2,3,4]]"#, Err("constraint violation")),
            (set, "1", "insert", "10", Err("constraint violation")),
            (set, r#"["set",[1,2]]"#, "delete", "1", Ok("2")),
            (set, r#"["set",[1,2]]"#, "delete", "9", Ok(r#"["set",[1,2]]"#)),
            (set, r#"["set",[1,2]]"#, "delete", "10", Err("constraint violation")),
            (set, "1", "delete", "1", Err("constraint violation")),
            (r#""integer""#, "1", "insert", "2", Err("syntax error")),
            (map, r#"["map",[["a",1]]]"#, "insert", r#"["map",[["a",9],["b",2]]]"#, Ok(ab)),
            (map, ab, "insert", r#"["map",[["c",3]]]"#, Err("constraint violation")),
            (map, ab, "delete", r#"["map",[["a",9],["b",2]]]"#, Ok(r#"["map",[["a",1]]]"#)),
            (map, ab, "delete", r#"["set",["a","c"]]"#, Ok(r#"["map",[["b",2]]]"#)),
            (map, ab, "delete", r#""b""#, Ok(r#"["map",[["a",1]]]"#)),
        ] {
            assert_eq!(mutate(ty, old, mutator, argument), result.map(str::to_owned), "{old} {mutator} {argument}");
        }
    }
}
