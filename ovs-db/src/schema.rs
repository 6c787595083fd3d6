//! Database schemas: tables, columns and their types (RFC 7047 section 3.2).
//!
//! A [`Schema`] is valid by construction: names are identifiers, every reference leads to a table of the schema, every
//! index is over columns of its table. So nothing that works with a schema checks these again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::data::parse::{Members, array, expected, identifier, is_identifier, member, string};
use crate::data::{BaseType, ColumnType};
use crate::error::{Error, ErrorKind};
use crate::json::Json;

/// The version of a schema: RFC 7047 section 3.1 `<version>`, `x.y.z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Changes when data cannot be kept as it is.
    pub major: u32,
    /// Changes when clients may notice.
    pub minor: u32,
    /// Changes for everything else.
    pub patch: u32,
}

impl Version {
    /// Reads `x.y.z`.
    ///
    /// # Errors
    /// [`ErrorKind::BadVersion`].
    pub fn parse(text: &str) -> Result<Version, Error> {
        let bad = || Error::new(ErrorKind::BadVersion(text.to_owned()));
        let number = |part: Option<&str>| {
            let part = part.filter(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
            part.and_then(|part| part.parse().ok()).ok_or_else(bad)
        };
        let mut parts = text.split('.');
        let version =
            Version { major: number(parts.next())?, minor: number(parts.next())?, patch: number(parts.next())? };
        if parts.next().is_some() { Err(bad()) } else { Ok(version) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A column: RFC 7047 section 3.2 `<column-schema>`.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSchema {
    /// What the column may contain.
    pub ty: ColumnType,
    /// Whether the content need not survive a restart of the database server.
    pub ephemeral: bool,
    /// Whether the content may change after the row was inserted.
    pub mutable: bool,
}

impl From<ColumnType> for ColumnSchema {
    /// A durable, mutable column.
    fn from(ty: ColumnType) -> ColumnSchema {
        ColumnSchema { ty, ephemeral: false, mutable: true }
    }
}

/// A table: RFC 7047 section 3.2 `<table-schema>`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableSchema {
    /// The columns by name, without the implicit `_uuid` and `_version`.
    pub columns: BTreeMap<String, ColumnSchema>,
    /// The most rows that the table may have after a transaction.
    pub max_rows: Option<u64>,
    /// Whether rows stay without being referred to. See [`Schema::is_root`].
    pub is_root: bool,
    /// Sets of columns whose content, taken together, is different in any two rows.
    pub indexes: Vec<Vec<String>>,
}

/// A database: RFC 7047 section 3.2 `<database-schema>`.
///
/// ```
/// use ovs_db::{Schema, json};
///
/// let text = br#"{"name": "Zoo", "version": "1.2.0", "tables": {
///     "Cage": {"isRoot": true, "columns": {
///         "name": {"type": "string", "mutable": false},
///         "animals": {"type": {"key": {"type": "uuid", "refTable": "Animal"}, "min": 0, "max": "unlimited"}}}},
///     "Animal": {"columns": {"species": {"type": "string"}}}}}"#;
/// let schema = Schema::from_json(&json::parse(text).unwrap())?;
/// assert!(schema.is_root("Cage") && !schema.is_root("Animal"));
/// assert_eq!(Schema::from_json(&schema.to_json())?, schema);
/// # Ok::<(), ovs_db::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    name: String,
    version: Version,
    cksum: Option<String>,
    tables: BTreeMap<String, TableSchema>,
    all_root: bool,
}

impl Schema {
    /// A schema of the tables given.
    ///
    /// # Errors
    /// [`Error`] with table and column: a name that is not an identifier or is reserved, a reference to a table that
    /// does not exist, an index without columns, over a column that does not exist, or one twice, `max_rows` 0.
    pub fn new(
        name: impl Into<String>,
        version: Version,
        tables: BTreeMap<String, TableSchema>,
    ) -> Result<Schema, Error> {
        let name = name.into();
        if !is_identifier(&name) {
            return Err(Error::new(ErrorKind::BadIdentifier(name)));
        }
        for (table_name, table) in &tables {
            check_table(&tables, table_name, table).map_err(|error| error.at(format!("table {table_name:?}")))?;
        }
        let all_root = !tables.values().any(|table| table.is_root);
        Ok(Schema { name, version, cksum: None, tables, all_root })
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the schema.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The checksum that the schema's author put in, if any. RFC 7047 gives it no meaning; it is kept for those who do.
    pub fn cksum(&self) -> Option<&str> {
        self.cksum.as_deref()
    }

    /// The tables by name.
    pub fn tables(&self) -> &BTreeMap<String, TableSchema> {
        &self.tables
    }

    /// The table `name`.
    pub fn table(&self, name: &str) -> Option<&TableSchema> {
        self.tables.get(name)
    }

    /// Whether rows of the table stay without a strong reference to them. A schema in which no table says `isRoot` is one
    /// from before the word existed: all its tables are roots (RFC 7047 section 3.2).
    pub fn is_root(&self, table: &str) -> bool {
        self.table(table).is_some_and(|table| table.is_root || self.all_root)
    }

    /// Reads a schema: RFC 7047 section 3.2 `<database-schema>`.
    ///
    /// # Errors
    /// As [`Schema::new`], and for members that are missing, unknown or of the wrong form.
    pub fn from_json(json: &Json) -> Result<Schema, Error> {
        let mut members = Members::of(json)?;
        let name = identifier(members.required("name")?).map_err(|error| error.at(member("name")))?;
        let version = string(members.required("version")?).and_then(Version::parse);
        let version = version.map_err(|error| error.at(member("version")))?;
        let cksum = members.optional("cksum").map(string).transpose().map_err(|error| error.at(member("cksum")))?;
        let tables = members.required("tables")?;
        members.finish()?;
        let tables = tables.as_object().ok_or_else(|| expected("an object", tables).at(member("tables")))?;
        let tables = tables.iter().map(|(name, json)| {
            let table = table_from_json(json).map_err(|error| error.at(format!("table {name:?}")))?;
            Ok((name.clone(), table))
        });
        let mut schema = Schema::new(name, version, tables.collect::<Result<_, Error>>()?)?;
        schema.cksum = cksum.map(str::to_owned);
        Ok(schema)
    }

    /// The JSON form, without members that have their default value.
    pub fn to_json(&self) -> Json {
        let tables = self.tables.iter().map(|(name, table)| (name, table_to_json(table)));
        let mut members = vec![
            ("name", Json::string(&self.name)),
            ("version", Json::String(self.version.to_string())),
            ("tables", Json::object(tables)),
        ];
        members.extend(self.cksum.as_ref().map(|cksum| ("cksum", Json::string(cksum))));
        Json::object(members)
    }
}

fn check_table(tables: &BTreeMap<String, TableSchema>, name: &str, table: &TableSchema) -> Result<(), Error> {
    check_name(name)?;
    if table.max_rows == Some(0) {
        return Err(Error::new(ErrorKind::BadConstraint("maxRows must be at least 1")));
    }
    for (name, column) in &table.columns {
        let at = |error: Error| error.at(format!("column {name:?}"));
        check_name(name).map_err(at)?;
        for base in std::iter::once(column.ty.key()).chain(column.ty.value()) {
            if let Some((target, _)) = base.reference()
                && !tables.contains_key(target)
            {
                return Err(at(Error::new(ErrorKind::UnknownTable(target.to_owned()))));
            }
        }
    }
    for (number, index) in table.indexes.iter().enumerate() {
        let at = |kind| Err(Error::new(kind).at(format!("index {number}")));
        let mut seen = BTreeSet::new();
        if index.is_empty() {
            return at(ErrorKind::BadConstraint("an index needs a column"));
        }
        for name in index {
            let Some(column) = table.columns.get(name) else { return at(ErrorKind::UnknownColumn(name.clone())) };
            if column.ephemeral {
                return at(ErrorKind::BadConstraint("an index must not have ephemeral columns"));
            }
            if !seen.insert(name) {
                return at(ErrorKind::Duplicate);
            }
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Error> {
    if !is_identifier(name) {
        Err(Error::new(ErrorKind::BadIdentifier(name.to_owned())))
    } else if name.starts_with('_') {
        Err(Error::new(ErrorKind::ReservedName(name.to_owned())))
    } else {
        Ok(())
    }
}

fn table_from_json(json: &Json) -> Result<TableSchema, Error> {
    let mut members = Members::of(json)?;
    let columns = members.required("columns")?;
    let max_rows = members.optional_integer("maxRows")?;
    let is_root = members.optional_bool("isRoot", false)?;
    let indexes = members.optional("indexes");
    members.finish()?;
    let max_rows = max_rows.map(|max| u64::try_from(max).unwrap_or(0));
    let columns = columns.as_object().ok_or_else(|| expected("an object", columns).at(member("columns")))?;
    let columns = columns.iter().map(|(name, json)| {
        let column = column_from_json(json).map_err(|error| error.at(format!("column {name:?}")))?;
        Ok((name.clone(), column))
    });
    let columns = columns.collect::<Result<_, Error>>()?;
    let indexes = match indexes {
        None => Vec::new(),
        Some(json) => indexes_from_json(json).map_err(|error| error.at(member("indexes")))?,
    };
    Ok(TableSchema { columns, max_rows, is_root, indexes })
}

fn indexes_from_json(json: &Json) -> Result<Vec<Vec<String>>, Error> {
    let index = |json| array(json)?.iter().map(|name| string(name).map(str::to_owned)).collect();
    array(json)?.iter().map(index).collect()
}

fn table_to_json(table: &TableSchema) -> Json {
    let columns = table.columns.iter().map(|(name, column)| (name, column_to_json(column)));
    let mut members = vec![("columns", Json::object(columns))];
    members.extend(table.max_rows.map(|max| ("maxRows", Json::Integer(i64::try_from(max).unwrap_or(i64::MAX)))));
    members.extend(table.is_root.then_some(("isRoot", Json::Bool(true))));
    if !table.indexes.is_empty() {
        let index = |index: &Vec<String>| Json::Array(index.iter().map(Json::string).collect());
        members.push(("indexes", Json::Array(table.indexes.iter().map(index).collect())));
    }
    Json::object(members)
}

fn column_from_json(json: &Json) -> Result<ColumnSchema, Error> {
    let mut members = Members::of(json)?;
    let ty = ColumnType::from_json(members.required("type")?).map_err(|error| error.at(member("type")))?;
    let ephemeral = members.optional_bool("ephemeral", false)?;
    let mutable = members.optional_bool("mutable", true)?;
    members.finish()?;
    Ok(ColumnSchema { ty, ephemeral, mutable })
}

fn column_to_json(column: &ColumnSchema) -> Json {
    let mut members = vec![("type", column.ty.to_json())];
    members.extend(column.ephemeral.then_some(("ephemeral", Json::Bool(true))));
    members.extend((!column.mutable).then_some(("mutable", Json::Bool(false))));
    Json::object(members)
}

/// The type of the implicit columns `_uuid` and `_version`.
pub(crate) fn uuid_column_type() -> ColumnType {
    BaseType::from(crate::data::AtomicType::Uuid).ty().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    fn read(text: &str) -> Result<Schema, Error> {
        Schema::from_json(&parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn round_trip_with_every_member() {
        let text = concat!(
            r#"{"cksum":"12 34","name":"D","tables":{"A":{"columns":{"n":{"mutable":false,"type":"integer"},"#,
            r#""r":{"ephemeral":true,"type":{"key":{"refTable":"B","type":"uuid"},"min":0}}},"#,
            r#""indexes":[["n"]],"isRoot":true,"maxRows":5},"B":{"columns":{}}},"version":"1.2.3"}"#
        );
        let schema = read(text).unwrap();
        assert_eq!(schema.to_json().to_text(), text);
        assert_eq!(schema.version(), Version { major: 1, minor: 2, patch: 3 });
    }

    #[test]
    fn without_is_root_every_table_is_root() {
        let schema = read(r#"{"name":"D","version":"1.0.0","tables":{"A":{"columns":{}}}}"#).unwrap();
        assert!(schema.is_root("A"));
    }

    #[test]
    fn invalid_schemas_are_refused_with_the_place() {
        let table = |table: &str| format!(r#"{{"name":"D","version":"1.0.0","tables":{{"A":{table}}}}}"#);
        let cases = [
            (table(r#"{"columns":{"_n":{"type":"integer"}}}"#), r#"table "A": column "_n": "_n" is reserved"#),
            (table(r#"{"columns":{"n-n":{"type":"integer"}}}"#), "not an identifier"),
            (
                table(r#"{"columns":{"r":{"type":{"key":{"type":"uuid","refTable":"C"}}}}}"#),
                r#"table "A": column "r": the schema has no table "C""#,
            ),
            (table(r#"{"columns":{},"indexes":[["x"]]}"#), r#"table "A": index 0: the table has no column "x""#),
            (table(r#"{"columns":{},"indexes":[[]]}"#), "an index needs a column"),
            (table(r#"{"columns":{},"maxRows":0}"#), "at least 1"),
            (table(r#"{"columns":{},"maxRows":-1}"#), "at least 1"),
            (table(r#"{"columns":{},"rows":{}}"#), r#"table "A": member "rows""#),
            (r#"{"name":"D","tables":{}}"#.to_owned(), r#""version" is missing"#),
            (r#"{"name":"D","version":"1.0","tables":{}}"#.to_owned(), "not a version"),
            (r#"{"name":"D","version":"1.0.+1","tables":{}}"#.to_owned(), "not a version"),
        ];
        for (text, part) in cases {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
