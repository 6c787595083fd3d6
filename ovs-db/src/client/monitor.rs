//! What a client wants to see of a database, and what of it a server has.
//!
//! A [`Monitor`] is made from the client's own schema: it names columns, quiet ones among them, and filters. When a
//! session begins, the server's schema is compared with it: a table or column that the server does not have, or has with
//! another type, reads as its default and is listed as [`Missing`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::column::{Column, Form, Table};
use super::filter::Filter;
use crate::data::{ColumnType, Datum};
use crate::json::Json;
use crate::schema::{Schema, TableSchema};

/// What a client wants to see of a database.
///
/// ```
/// use ovs_db::client::Monitor;
/// use ovs_db::vswitch::{self, Bridge, Port};
///
/// let mut monitor = Monitor::new(vswitch::schema());
/// monitor.watch(Bridge::NAME).watch(Bridge::PORTS).watch(Port::NAME);
/// monitor.watch_quietly(Bridge::STATUS); // its changes, our own for the most part, are no reason to look again
/// assert_eq!(monitor.columns("Bridge").count(), 3);
/// ```
#[derive(Debug, Clone)]
pub struct Monitor {
    schema: Arc<Schema>,
    tables: BTreeMap<String, TableMonitor>,
}

#[derive(Debug, Clone, Default)]
struct TableMonitor {
    /// Columns by name, and whether a change of one is told.
    columns: BTreeMap<String, bool>,
    filter: Filter,
}

impl Monitor {
    /// Nothing yet of a database with this schema.
    pub fn new(schema: impl Into<Arc<Schema>>) -> Monitor {
        Monitor { schema: schema.into(), tables: BTreeMap::new() }
    }

    /// Every column of every table.
    pub fn all(schema: impl Into<Arc<Schema>>) -> Monitor {
        let schema = schema.into();
        let mut monitor = Monitor::new(Arc::clone(&schema));
        for (table, TableSchema { columns, .. }) in schema.tables() {
            for column in columns.keys() {
                monitor.watch_named(table, column);
            }
        }
        monitor
    }

    /// The client's schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Adds a column. A change of it is told.
    pub fn watch<T: Table, F: Form>(&mut self, column: Column<T, F>) -> &mut Monitor {
        self.watch_named(T::NAME, column.name())
    }

    /// Adds a column. A change of it is seen in the replica, but not told: right for what the client itself writes.
    pub fn watch_quietly<T: Table, F: Form>(&mut self, column: Column<T, F>) -> &mut Monitor {
        self.watch_quietly_named(T::NAME, column.name())
    }

    /// As [`Monitor::watch`], by name. What the client's schema does not have is left out.
    pub fn watch_named(&mut self, table: &str, column: &str) -> &mut Monitor {
        self.add(table, column, true)
    }

    /// As [`Monitor::watch_quietly`], by name. What the client's schema does not have is left out.
    pub fn watch_quietly_named(&mut self, table: &str, column: &str) -> &mut Monitor {
        self.add(table, column, false)
    }

    fn add(&mut self, table: &str, column: &str, told: bool) -> &mut Monitor {
        if self.schema.table(table).is_some_and(|table| table.columns.contains_key(column)) {
            self.tables.entry(table.to_owned()).or_default().columns.insert(column.to_owned(), told);
        }
        self
    }

    /// Names the rows of a table that are wanted; without this, all of them.
    pub fn filter<T: Table>(&mut self, filter: Filter) -> &mut Monitor {
        self.set_filter(T::NAME, filter);
        self
    }

    /// As [`Monitor::filter`], by name; false when no column of the table is watched.
    pub fn set_filter(&mut self, table: &str, filter: Filter) -> bool {
        self.tables.get_mut(table).map(|monitor| monitor.filter = filter).is_some()
    }

    /// The columns of a table that are watched.
    pub fn columns(&self, table: &str) -> impl Iterator<Item = &str> {
        self.tables.get(table).into_iter().flat_map(|monitor| monitor.columns.keys().map(String::as_str))
    }

    pub(crate) fn filters(&self) -> BTreeMap<String, Filter> {
        self.tables.iter().map(|(name, monitor)| (name.clone(), monitor.filter.clone())).collect()
    }

    /// How rows of the watched tables are laid out in the replica, sorted by name.
    pub(crate) fn layouts(&self) -> Vec<TableLayout> {
        let tables = self.tables.iter().filter_map(|(name, monitor)| {
            let schema = self.schema.table(name)?;
            let mut slots = Vec::with_capacity(schema.columns.len());
            let mut columns = Vec::with_capacity(monitor.columns.len());
            for (name, column) in &schema.columns {
                let told = monitor.columns.get(name);
                slots.push(told.and_then(|_| u16::try_from(columns.len()).ok()));
                columns.extend(told.map(|told| ColumnLayout {
                    name: name.as_str().into(),
                    ty: column.ty.clone(),
                    default: column.ty.default_datum(),
                    told: *told,
                }));
            }
            Some(TableLayout { name: name.as_str().into(), columns, slots })
        });
        tables.collect()
    }

    /// What a server with this schema does not have of what is wanted.
    pub(crate) fn missing(&self, server: &Schema) -> Vec<Missing> {
        let mut missing = Vec::new();
        for (name, monitor) in &self.tables {
            let Some(table) = server.table(name) else {
                missing.push(Missing { table: name.clone(), column: None });
                continue;
            };
            for column in monitor.columns.keys().filter(|column| !self.is_same(name, table, column)) {
                missing.push(Missing { table: name.clone(), column: Some(column.clone()) });
            }
        }
        missing
    }

    /// Whether the server's column can be read as the client's.
    fn is_same(&self, name: &str, server: &TableSchema, column: &str) -> bool {
        let ours = self.schema.table(name).and_then(|table| table.columns.get(column));
        let (Some(ours), Some(theirs)) = (ours, server.columns.get(column)) else { return false };
        let atoms = |ty: &ColumnType| (ty.key().ty(), ty.value().map(|value| value.ty()));
        // Differences are worded in another way where there is at most one element.
        atoms(&ours.ty) == atoms(&theirs.ty) && (ours.ty.max() == 1) == (theirs.ty.max() == 1)
    }

    /// The requests of `monitor`, or with `filters` of `monitor_cond`, for what a server with this schema has.
    pub(crate) fn requests(&self, server: &Schema, filters: Option<&BTreeMap<String, Filter>>) -> Json {
        let tables = self.tables.iter().filter_map(|(name, monitor)| {
            let table = server.table(name)?;
            let columns = monitor.columns.keys().filter(|column| self.is_same(name, table, column));
            let mut members = vec![("columns", Json::Array(columns.map(Json::string).collect()))];
            if let Some(filter) = filters.and_then(|filters| filters.get(name)) {
                members.push(("where", filter.to_json()));
            }
            Some((name, Json::Array(vec![Json::object(members)])))
        });
        Json::object(tables)
    }
}

/// A table, or a column of one, that the server does not have, or has with another type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The table.
    pub table: String,
    /// The column; nothing when the whole table is missing.
    pub column: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column {column:?} of table {:?}", self.table),
            None => write!(f, "table {:?}", self.table),
        }
    }
}

/// How rows of a table are laid out.
#[derive(Debug)]
pub(crate) struct TableLayout {
    pub(crate) name: Box<str>,
    /// The columns that a row has cells for, sorted by name.
    pub(crate) columns: Vec<ColumnLayout>,
    /// For each column of the client's schema, sorted by name, its cell.
    pub(crate) slots: Vec<Option<u16>>,
}

#[derive(Debug)]
pub(crate) struct ColumnLayout {
    pub(crate) name: Box<str>,
    pub(crate) ty: ColumnType,
    pub(crate) default: Datum,
    pub(crate) told: bool,
}

impl TableLayout {
    /// The cell of a column.
    pub(crate) fn slot(&self, name: &str) -> Option<usize> {
        self.columns.binary_search_by(|column| (*column.name).cmp(name)).ok()
    }

    /// The cell of a column that has this position in its table, if this is the schema that it was counted in.
    pub(crate) fn slot_at(&self, position: u16, name: &str) -> Option<usize> {
        let slot = self.slots.get(usize::from(position)).copied().flatten().map(usize::from);
        slot.filter(|slot| self.columns.get(*slot).is_some_and(|column| *column.name == *name))
            .or_else(|| self.slot(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    fn schema(tables: &str) -> Schema {
        let text = format!(r#"{{"name":"D","version":"1.0.0","tables":{{{tables}}}}}"#);
        Schema::from_json(&parse(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_server_is_asked_for_what_it_has_in_the_form_that_we_know() {
        let ours = schema(
            r#""A":{"columns":{"same":{"type":"integer"},"other":{"type":"integer"},"absent":{"type":"string"},
                "many":{"type":{"key":"integer","min":0,"max":"unlimited"}},
                "wider":{"type":{"key":"integer","min":0,"max":3}},"unasked":{"type":"integer"}}},
               "B":{"columns":{"n":{"type":"integer"}}}"#,
        );
        let theirs = schema(
            r#""A":{"columns":{"same":{"type":"integer"},"other":{"type":"string"},
                "many":{"type":"integer"},"wider":{"type":{"key":"integer","min":1,"max":9}}}}"#,
        );
        let mut monitor = Monitor::new(ours);
        for column in ["same", "other", "absent", "many", "wider", "bogus"] {
            monitor.watch_named("A", column);
        }
        monitor.watch_named("B", "n").watch_named("C", "n");
        let missing: Vec<String> = monitor.missing(&theirs).iter().map(Missing::to_string).collect();
        assert_eq!(
            missing,
            [
                r#"column "absent" of table "A""#,
                r#"column "many" of table "A""#,
                r#"column "other" of table "A""#,
                r#"table "B""#
            ]
        );
        assert_eq!(monitor.requests(&theirs, None).to_text(), r#"{"A":[{"columns":["same","wider"]}]}"#);
        assert_eq!(monitor.columns("A").count(), 5);
        assert!(monitor.set_filter("B", Filter::None) && !monitor.set_filter("C", Filter::None));
    }
}
