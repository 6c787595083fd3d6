//! Rows, and tables of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::data::{Atom, ColumnType, Datum, RefType};
use crate::json::Json;
use crate::schema::{Schema, TableSchema, uuid_column_type};

/// A row as it stood after some transaction. It never changes: a transaction makes a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    uuid: Uuid,
    version: Uuid,
    columns: BTreeMap<String, Datum>,
}

impl Row {
    pub(crate) fn new(uuid: Uuid, version: Uuid, table: &TableSchema) -> Row {
        let columns = table.columns.iter().map(|(name, column)| (name.clone(), column.ty.default_datum()));
        Row { uuid, version, columns: columns.collect() }
    }

    /// The UUID of the row: its column `_uuid`.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// A UUID that is new with every change of the row: its column `_version`.
    pub fn version(&self) -> Uuid {
        self.version
    }

    /// Names and contents of the columns, sorted by name, without `_uuid` and `_version`.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Datum)> {
        self.columns.iter().map(|(name, datum)| (name.as_str(), datum))
    }

    /// Whether the columns of both rows have the same content.
    pub(crate) fn same_content(&self, other: &Row) -> bool {
        self.columns == other.columns
    }

    /// The content of the column `name`, without `_uuid` and `_version`.
    pub fn get(&self, name: &str) -> Option<&Datum> {
        self.columns.get(name)
    }

    /// The content of any column, `_uuid` and `_version` included.
    pub(crate) fn cell(&self, name: &str) -> Option<Datum> {
        match name {
            "_uuid" => Some(Atom::Uuid(self.uuid).into()),
            "_version" => Some(Atom::Uuid(self.version).into()),
            _ => self.columns.get(name).cloned(),
        }
    }

    pub(crate) fn set(&mut self, name: &str, datum: Datum) {
        self.columns.insert(name.to_owned(), datum);
    }

    pub(crate) fn set_version(&mut self, version: Uuid) {
        self.version = version;
    }

    /// The JSON form of the columns given: RFC 7047 section 5.1 `<row>`.
    pub(crate) fn to_json(&self, columns: &[String]) -> Json {
        Json::object(columns.iter().filter_map(|name| Some((name.clone(), self.cell(name)?.to_json()))))
    }
}

/// The type of a column, the implicit ones included.
pub(crate) fn column_type(table: &TableSchema, name: &str) -> Option<ColumnType> {
    match name {
        "_uuid" | "_version" => Some(uuid_column_type()),
        _ => table.columns.get(name).map(|column| column.ty.clone()),
    }
}

/// Calls `visit` with table, row and kind of every reference in `row`.
pub(crate) fn references<'a>(table: &'a TableSchema, row: &Row, mut visit: impl FnMut(&'a str, Uuid, RefType)) {
    for (name, column) in &table.columns {
        let key = column.ty.key().reference();
        let value = column.ty.value().and_then(|base| base.reference());
        if key.is_none() && value.is_none() {
            continue;
        }
        let mut one = |reference: Option<(&'a str, RefType)>, atom: &Atom| {
            if let (Some((target, kind)), Atom::Uuid(uuid)) = (reference, atom) {
                visit(target, *uuid, kind);
            }
        };
        let Some(cell) = row.get(name) else { continue };
        cell.as_set().unwrap_or_default().iter().for_each(|atom| one(key, atom));
        for (atom, other) in cell.as_map().unwrap_or_default() {
            one(key, atom);
            one(value, other);
        }
    }
}

/// The rows of a table, and for each index of the schema the row that has each content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) rows: BTreeMap<Uuid, Arc<Row>>,
    pub(crate) indexes: Vec<BTreeMap<Vec<Datum>, Uuid>>,
}

impl Table {
    /// The content of an index for `row`.
    pub(crate) fn index_key(columns: &[String], row: &Row) -> Vec<Datum> {
        columns.iter().filter_map(|name| row.get(name).cloned()).collect()
    }

    /// Replaces the row `uuid`; `indexes` are those of the schema.
    pub(crate) fn replace(&mut self, uuid: Uuid, new: Option<Arc<Row>>, indexes: &[Vec<String>]) {
        self.indexes.resize_with(indexes.len(), BTreeMap::new);
        let old = match &new {
            Some(row) => self.rows.insert(uuid, Arc::clone(row)),
            None => self.rows.remove(&uuid),
        };
        for (columns, index) in indexes.iter().zip(&mut self.indexes) {
            if let Some(old) = &old {
                let key = Table::index_key(columns, old);
                // Another row of the same transaction may have taken the key over already.
                if index.get(&key) == Some(&uuid) {
                    index.remove(&key);
                }
            }
            if let Some(new) = &new {
                index.insert(Table::index_key(columns, new), uuid);
            }
        }
    }
}

/// The tables of a database, all of them from the start.
pub(crate) fn empty_tables(schema: &Schema) -> BTreeMap<String, Table> {
    schema.tables().keys().map(|name| (name.clone(), Table::default())).collect()
}
