//! A copy of what a client monitors of a database, and what changed in it.
//!
//! The copy is always one that the database had: an update is applied whole or, when it is malformed or does not fit, not
//! at all. While there is no connection the last copy stays; when everything is sent anew the difference to it is worked
//! out, so that who follows changes sees what an unbroken connection would have shown.
//!
//! # Invariants
//!
//! - A row has a cell for each watched column of its table; one that the server does not have holds the default.
//! - [`Replica::changes`] tells each row that differs from what it was when [`Replica::clear_changes`] was last called,
//!   once. What is remembered for that is at most the rows of then and the rows of now.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use uuid::Uuid;

use super::column::{Column, Form, Id, Table};
use super::monitor::{ColumnLayout, Monitor, TableLayout};
use super::updates::{self, Cells, RowUpdate, TableUpdate};
use crate::data::Datum;
use crate::error::Error;
use crate::json::Json;

/// The cells of a row.
type RowCells = Arc<[Datum]>;

/// Why an update cannot be applied: then the replica is as it was, and must be loaded anew.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UpdateError {
    /// The update has not the form that it should have.
    #[error("malformed update: {0}")]
    Malformed(#[from] Error),
    /// The update changes or deletes a row that is not there.
    #[error("update of row {row} of table {table:?}, which the replica does not have")]
    NoSuchRow {
        /// The table.
        table: String,
        /// The row.
        row: Uuid,
    },
}

/// A copy of what a client monitors of a database, and what changed in it.
///
/// An update is applied whole or not at all. Each row that differs from what it was when [`Replica::clear_changes`] was
/// last called is told by [`Replica::changes`], once, with what it was.
#[derive(Debug)]
pub struct Replica {
    tables: Vec<TableData>,
    seqno: u64,
}

#[derive(Debug)]
struct TableData {
    layout: TableLayout,
    rows: BTreeMap<Uuid, RowCells>,
    /// The rows that changed since the last look, as they were then.
    before: BTreeMap<Uuid, Option<RowCells>>,
}

impl TableData {
    /// Puts a row in the place of another; true when that is to be told.
    fn replace(&mut self, uuid: Uuid, new: Option<RowCells>) -> bool {
        let old = match &new {
            Some(cells) => self.rows.insert(uuid, Arc::clone(cells)),
            None => self.rows.remove(&uuid),
        };
        if old == new {
            return false;
        }
        let told = match (&old, &new) {
            (Some(old), Some(new)) => self
                .layout
                .columns
                .iter()
                .zip(old.iter().zip(&**new))
                .any(|(column, (old, new))| column.told && old != new),
            _ => true,
        };
        if let btree_map::Entry::Vacant(entry) = self.before.entry(uuid) {
            entry.insert(old);
        } else if new.is_none() && self.before.get(&uuid) == Some(&None) {
            // It came and went between two looks.
            self.before.remove(&uuid);
        }
        told
    }
}

impl Replica {
    /// An empty copy of what `monitor` names.
    pub fn new(monitor: &Monitor) -> Replica {
        let table = |layout| TableData { layout, rows: BTreeMap::new(), before: BTreeMap::new() };
        Replica { tables: monitor.layouts().into_iter().map(table).collect(), seqno: 0 }
    }

    fn table(&self, name: &str) -> Option<&TableData> {
        self.tables.get(self.tables.binary_search_by(|table| (*table.layout.name).cmp(name)).ok()?)
    }

    /// How many updates there were that are to be told: with an insertion, a deletion, or a change of a column that is
    /// not watched quietly. Another number means: look again.
    pub fn seqno(&self) -> u64 {
        self.seqno
    }

    /// The rows of a table in the order of their UUIDs; none of a table that is not watched.
    pub fn rows<T: Table>(&self) -> impl Iterator<Item = RowView<'_, T>> {
        self.rows_of(T::NAME).map(RowView::typed)
    }

    /// One row.
    pub fn row<T: Table>(&self, id: Id<T>) -> Option<RowView<'_, T>> {
        self.row_of(T::NAME, id.uuid()).map(RowView::typed)
    }

    /// The only row of a table that may have only one, such as `Open_vSwitch`; nothing when there is none or several.
    pub fn single<T: Table>(&self) -> Option<RowView<'_, T>> {
        let mut rows = self.rows::<T>();
        rows.next().filter(|_| rows.next().is_none())
    }

    /// As [`Replica::rows`], by name.
    pub fn rows_of(&self, table: &str) -> impl Iterator<Item = RowView<'_>> {
        let table = self.table(table);
        table.into_iter().flat_map(|TableData { layout, rows, .. }| {
            rows.iter().map(move |(uuid, cells)| RowView { uuid: *uuid, layout, cells, table: PhantomData })
        })
    }

    /// As [`Replica::row`], by name.
    pub fn row_of(&self, table: &str, uuid: Uuid) -> Option<RowView<'_>> {
        let TableData { layout, rows, .. } = self.table(table)?;
        rows.get(&uuid).map(|cells| RowView { uuid, layout, cells, table: PhantomData })
    }

    /// How many rows there are in all.
    pub fn len(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len()).sum()
    }

    /// Whether there is no row at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a row changed since the last [`Replica::clear_changes`].
    pub fn is_changed(&self) -> bool {
        self.changes().next().is_some()
    }

    /// The rows of all tables that changed since the last [`Replica::clear_changes`].
    pub fn changes(&self) -> impl Iterator<Item = RowChange<'_>> {
        self.tables.iter().flat_map(changes_of)
    }

    /// The rows of one table that changed since the last [`Replica::clear_changes`].
    pub fn changes_of<T: Table>(&self) -> impl Iterator<Item = RowChange<'_, T>> {
        self.table(T::NAME)
            .into_iter()
            .flat_map(changes_of)
            .map(|change| RowChange { old: change.old.map(RowView::typed), new: change.new.map(RowView::typed) })
    }

    /// Begins to remember changes anew.
    pub fn clear_changes(&mut self) {
        self.tables.iter_mut().for_each(|table| table.before.clear());
    }

    /// Applies a `<table-updates>` (RFC 7047 section 4.1.6).
    ///
    /// # Errors
    /// [`UpdateError`]; the replica is then as it was.
    pub fn apply_updates(&mut self, json: &Json) -> Result<(), UpdateError> {
        self.apply(json, updates::Form::Whole)
    }

    /// Applies a `<table-updates2>` (ovsdb-server(7) section 4.1.14).
    ///
    /// # Errors
    /// [`UpdateError`]; the replica is then as it was.
    pub fn apply_updates2(&mut self, json: &Json) -> Result<(), UpdateError> {
        self.apply(json, updates::Form::Difference)
    }

    /// As [`Replica::apply_updates`], for a message that tells everything there is: rows that it does not tell are gone.
    ///
    /// # Errors
    /// [`UpdateError`]; the replica is then as it was.
    pub fn load_updates(&mut self, json: &Json) -> Result<(), UpdateError> {
        self.load(json, updates::Form::Whole)
    }

    /// As [`Replica::apply_updates2`], for a message that tells everything there is: rows that it does not tell are gone.
    ///
    /// # Errors
    /// [`UpdateError`]; the replica is then as it was.
    pub fn load_updates2(&mut self, json: &Json) -> Result<(), UpdateError> {
        self.load(json, updates::Form::Difference)
    }

    fn read(&self, json: &Json, form: updates::Form) -> Result<Vec<TableUpdate>, UpdateError> {
        let layouts: Vec<&TableLayout> = self.tables.iter().map(|table| &table.layout).collect();
        Ok(updates::read(&layouts, json, form)?)
    }

    pub(crate) fn apply(&mut self, json: &Json, form: updates::Form) -> Result<(), UpdateError> {
        let updates = self.read(json, form)?;
        for (number, uuid, update) in &updates {
            let Some(TableData { layout, rows, .. }) = self.tables.get(*number) else { continue };
            if matches!(update, RowUpdate::Patch(_) | RowUpdate::Delete) && !rows.contains_key(uuid) {
                return Err(UpdateError::NoSuchRow { table: layout.name.to_string(), row: *uuid });
            }
        }
        let mut told = false;
        for (number, uuid, update) in updates {
            let Some(table) = self.tables.get_mut(number) else { continue };
            let old = table.rows.get(&uuid);
            let new = match update {
                RowUpdate::Delete => None,
                RowUpdate::Insert(cells) => Some(filled(&table.layout, None, cells)),
                RowUpdate::Set(cells) => Some(filled(&table.layout, old, cells)),
                RowUpdate::Patch(cells) => old.map(|old| patched(&table.layout, old, cells)),
            };
            told |= table.replace(uuid, new);
        }
        self.seqno = self.seqno.saturating_add(u64::from(told));
        Ok(())
    }

    pub(crate) fn load(&mut self, json: &Json, form: updates::Form) -> Result<(), UpdateError> {
        let updates = self.read(json, form)?;
        let mut gone: Vec<BTreeMap<Uuid, RowCells>> = self.tables.iter().map(|table| table.rows.clone()).collect();
        let mut told = false;
        for (number, uuid, update) in updates {
            let (Some(table), Some(gone)) = (self.tables.get_mut(number), gone.get_mut(number)) else { continue };
            let (RowUpdate::Insert(cells) | RowUpdate::Set(cells) | RowUpdate::Patch(cells)) = update else { continue };
            gone.remove(&uuid);
            let new = filled(&table.layout, None, cells);
            told |= table.replace(uuid, Some(new));
        }
        for (table, gone) in self.tables.iter_mut().zip(gone) {
            for uuid in gone.into_keys() {
                told |= table.replace(uuid, None);
            }
        }
        self.seqno = self.seqno.saturating_add(u64::from(told));
        Ok(())
    }
}

/// A row with `cells`, and in every other what `old` has, or the default.
fn filled(layout: &TableLayout, old: Option<&RowCells>, cells: Cells) -> RowCells {
    let mut cells = cells.into_iter().peekable();
    let row =
        layout.columns.iter().enumerate().map(|(slot, column)| match cells.next_if(|(number, _)| *number == slot) {
            Some((_, datum)) => datum,
            None => old.and_then(|old| old.get(slot)).unwrap_or(&column.default).clone(),
        });
    row.collect()
}

/// The row `old`, changed by differences.
fn patched(layout: &TableLayout, old: &RowCells, cells: Cells) -> RowCells {
    let mut row = old.to_vec();
    for (slot, difference) in cells {
        if let (Some(cell), Some(ColumnLayout { ty, .. })) = (row.get_mut(slot), layout.columns.get(slot)) {
            *cell = cell.patched(ty, &difference);
        }
    }
    row.into()
}

fn changes_of(table: &TableData) -> impl Iterator<Item = RowChange<'_>> {
    let layout = &table.layout;
    table.before.iter().filter_map(move |(uuid, old)| {
        let new = table.rows.get(uuid);
        if old.as_ref() == new {
            return None;
        }
        let view = |cells| RowView { uuid: *uuid, layout, cells, table: PhantomData };
        Some(RowChange { old: old.as_ref().map(|cells| view(cells)), new: new.map(|cells| view(cells)) })
    })
}

/// A row as it is in the replica, or as it was. `T` is its table, or `()` when that is known by name only.
pub struct RowView<'a, T = ()> {
    uuid: Uuid,
    layout: &'a TableLayout,
    cells: &'a [Datum],
    table: PhantomData<fn() -> T>,
}

impl<T> Clone for RowView<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for RowView<'_, T> {}

impl<'a> RowView<'a> {
    fn typed<T>(self) -> RowView<'a, T> {
        let RowView { uuid, layout, cells, .. } = self;
        RowView { uuid, layout, cells, table: PhantomData }
    }
}

impl<'a, T> RowView<'a, T> {
    /// The UUID of the row.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// The name of the table.
    pub fn table(&self) -> &'a str {
        &self.layout.name
    }

    /// The content of a column, if it is watched.
    pub fn cell(&self, name: &str) -> Option<&'a Datum> {
        self.cells.get(self.layout.slot(name)?)
    }

    /// Names and contents of the columns that are watched, sorted by name.
    pub fn cells(self) -> impl Iterator<Item = (&'a str, &'a Datum)> {
        self.layout.columns.iter().map(|column| &*column.name).zip(self.cells)
    }
}

impl<'a, T: Table> RowView<'a, T> {
    /// The typed UUID of the row.
    pub fn id(&self) -> Id<T> {
        Id::new(self.uuid)
    }

    /// The value of a column; the default if it is not watched or the server does not have it.
    pub fn get<F: Form>(&self, column: Column<T, F>) -> F::Ref<'a> {
        const NOTHING: &Datum = &Datum::EMPTY_SET;
        let slot = self.layout.slot_at(column.position(), column.name());
        F::read(slot.and_then(|slot| self.cells.get(slot)).unwrap_or(NOTHING))
    }
}

impl<T> fmt::Debug for RowView<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.layout.name, self.uuid)?;
        f.debug_map().entries(self.cells()).finish()
    }
}

/// A row that changed. At least one of both is there, and they differ.
#[derive(Debug, Clone, Copy)]
pub struct RowChange<'a, T = ()> {
    /// The row as it was; nothing when it is new.
    pub old: Option<RowView<'a, T>>,
    /// The row as it is; nothing when it is gone.
    pub new: Option<RowView<'a, T>>,
}

impl<'a, T> RowChange<'a, T> {
    /// The names of the columns that differ; of a row that is new or gone, every column.
    pub fn columns(&self) -> impl Iterator<Item = &'a str> {
        let (old, new) = (self.old, self.new);
        let any = new.or(old);
        let cells = any.into_iter().flat_map(RowView::cells);
        cells.map(|(name, _)| name).filter(move |name| match (old, new) {
            (Some(old), Some(new)) => old.cell(name) != new.cell(name),
            _ => true,
        })
    }
}

impl<T: Table> RowChange<'_, T> {
    /// Whether the column differs, or the row is new or gone.
    pub fn is_changed<F: Form>(&self, column: Column<T, F>) -> bool {
        match (self.old, self.new) {
            (Some(old), Some(new)) => old.cell(column.name()) != new.cell(column.name()),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::schema::Schema;

    const SCHEMA: &str = r#"{"name":"D","version":"1.0.0","tables":{"T":{"columns":{
        "n":{"type":"integer"},"q":{"type":"integer"},
        "o":{"type":{"key":"integer","min":0}},
        "s":{"type":{"key":"integer","min":0,"max":"unlimited"}},
        "m":{"type":{"key":"string","value":"integer","min":0,"max":"unlimited"}}}}}}"#;

    fn uuid(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn json(text: &str) -> Json {
        parse(text.replace("ROW", "00000000-0000-0000-0000-00000000000").as_bytes()).unwrap()
    }

    fn replica() -> Replica {
        let mut monitor = Monitor::new(Schema::from_json(&json(SCHEMA)).unwrap());
        for column in ["n", "o", "s", "m"] {
            monitor.watch_named("T", column);
        }
        Replica::new(monitor.watch_quietly_named("T", "q"))
    }

    fn show(replica: &Replica, n: u128) -> String {
        replica
            .row_of("T", uuid(n))
            .map_or("-".into(), |row| row.cells().map(|(name, datum)| format!("{name}={} ", datum.to_json())).collect())
    }

    #[test]
    fn differences_of_section_4_1_14() {
        let mut replica = replica();
        replica
            .load_updates2(&json(
                r#"{"T":{"ROW1":{"initial":{"n":5,"o":1,"s":["set",[1,2]],"m":["map",[["a",1],["b",2]]]}}}}"#,
            ))
            .unwrap();
        assert_eq!(show(&replica, 1), r#"m=["map",[["a",1],["b",2]]] n=5 o=1 q=0 s=["set",[1,2]] "#);
        replica
            .apply_updates2(&json(
                r#"{"T":{"ROW1":{"modify":{"n":6,"o":2,"s":["set",[2,3]],"m":["map",[["a",9],["b",2],["c",3]]]}},
                    "ROW2":{"insert":{}}}, "U":{"ROW3":{"insert":{}}}}"#,
            ))
            .unwrap();
        assert_eq!(show(&replica, 1), r#"m=["map",[["a",9],["c",3]]] n=6 o=2 q=0 s=["set",[1,3]] "#);
        assert_eq!(show(&replica, 2), r#"m=["map",[]] n=0 o=["set",[]] q=0 s=["set",[]] "#);
        replica.apply_updates2(&json(r#"{"T":{"ROW1":{"modify":{"o":["set",[]]}}}}"#)).unwrap();
        assert!(show(&replica, 1).contains(r#"o=["set",[]]"#));
        replica.apply_updates2(&json(r#"{"T":{"ROW1":{"delete":null}}}"#)).unwrap();
        assert_eq!((show(&replica, 1), replica.len()), ("-".into(), 1));
    }

    #[test]
    fn whole_rows_of_section_4_1_6() {
        let mut replica = replica();
        replica.apply_updates(&json(r#"{"T":{"ROW1":{"new":{"n":5,"q":1}}}}"#)).unwrap();
        replica.apply_updates(&json(r#"{"T":{"ROW1":{"old":{"n":5},"new":{"n":6}}}}"#)).unwrap();
        assert_eq!(show(&replica, 1), r#"m=["map",[]] n=6 o=["set",[]] q=1 s=["set",[]] "#);
        replica.apply_updates(&json(r#"{"T":{"ROW1":{"old":{}}}}"#)).unwrap();
        assert!(replica.is_empty());
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut replica = replica();
        replica.apply_updates2(&json(r#"{"T":{"ROW1":{"insert":{"n":1}}}}"#)).unwrap();
        let before = format!("{replica:?}");
        for text in [
            "5",
            r#"{"T":5}"#,
            r#"{"T":{"x":{"insert":{}}}}"#,
            r#"{"T":{"ROW2":{}}}"#,
            r#"{"T":{"ROW2":{"insert":{},"modify":{}}}}"#,
            r#"{"T":{"ROW2":{"replace":{}}}}"#,
            r#"{"T":{"ROW1":{"modify":{"n":2}},"ROW2":{"insert":{"n":"x"}}}}"#,
            r#"{"T":{"ROW1":{"modify":{"n":2}},"ROW2":{"modify":{}}}}"#,
            r#"{"T":{"ROW2":{"delete":null}}}"#,
        ] {
            assert!(replica.apply_updates2(&json(text)).is_err(), "{text}");
            assert_eq!(format!("{replica:?}"), before, "{text}");
        }
        for text in [r#"{"T":{"ROW1":{}}}"#, r#"{"T":{"ROW2":{"old":{}}}}"#, r#"{"T":{"ROW1":{"new":[]}}}"#] {
            assert!(replica.apply_updates(&json(text)).is_err(), "{text}");
            assert_eq!(format!("{replica:?}"), before, "{text}");
        }
    }

    fn changes(replica: &Replica) -> Vec<String> {
        let kind = |change: RowChange<'_>| match (change.old, change.new) {
            (None, Some(row)) => format!("+{}", row.uuid().as_u128()),
            (Some(row), None) => format!("-{}", row.uuid().as_u128()),
            (_, row) => {
                let columns: Vec<&str> = change.columns().collect();
                format!("{}{columns:?}", row.map_or(0, |row| row.uuid().as_u128()))
            }
        };
        replica.changes().map(kind).collect()
    }

    #[test]
    fn changes_are_told_once_and_loading_anew_tells_the_difference() {
        let mut replica = replica();
        let all = json(r#"{"T":{"ROW1":{"initial":{"n":1}},"ROW2":{"initial":{"n":2}}}}"#);
        replica.load_updates2(&all).unwrap();
        assert_eq!((changes(&replica), replica.seqno()), (vec!["+1".into(), "+2".into()], 1));
        replica.clear_changes();
        replica.load_updates2(&all).unwrap();
        assert_eq!((replica.is_changed(), replica.seqno()), (false, 1));
        replica.load_updates2(&json(r#"{"T":{"ROW1":{"initial":{"n":7}},"ROW3":{"initial":{}}}}"#)).unwrap();
        assert_eq!((changes(&replica), replica.seqno()), (vec![r#"1["n"]"#.into(), "-2".into(), "+3".into()], 2));
        let old = replica.changes().next().and_then(|change| change.old?.cell("n").cloned());
        assert_eq!(old.unwrap().to_json().to_text(), "1");
        // What comes and goes, or goes and comes back, between two looks is no change.
        replica.apply_updates2(&json(r#"{"T":{"ROW3":{"delete":null},"ROW1":{"modify":{"n":1}}}}"#)).unwrap();
        assert_eq!(changes(&replica), ["-2"]);
    }

    #[test]
    fn rows_that_come_and_go_are_not_remembered() {
        let mut replica = replica();
        replica.load_updates2(&json(r#"{"T":{"ROW1":{"initial":{}}}}"#)).unwrap();
        replica.clear_changes();
        for _ in 0..9 {
            replica.apply_updates2(&json(r#"{"T":{"ROW2":{"insert":{}},"ROW1":{"modify":{"n":1}}}}"#)).unwrap();
            replica.apply_updates2(&json(r#"{"T":{"ROW2":{"delete":null}}}"#)).unwrap();
        }
        assert_eq!(replica.tables.iter().map(|table| table.before.len()).sum::<usize>(), 1);
    }

    #[test]
    fn quiet_columns_change_without_being_told() {
        let mut replica = replica();
        replica.apply_updates2(&json(r#"{"T":{"ROW1":{"insert":{}}}}"#)).unwrap();
        replica.apply_updates2(&json(r#"{"T":{"ROW1":{"modify":{"q":1}}}}"#)).unwrap();
        assert_eq!(replica.seqno(), 1);
        replica.apply_updates2(&json(r#"{"T":{"ROW1":{"modify":{"q":2,"n":1}}}}"#)).unwrap();
        assert_eq!(replica.seqno(), 2);
    }
}
