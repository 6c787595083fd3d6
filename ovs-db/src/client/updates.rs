//! What a server sends about rows: `<table-updates>` (RFC 7047 section 4.1.6) and `<table-updates2>` (ovsdb-server(7)
//! section 4.1.14), read into typed changes.
//!
//! A whole message is read before any of it is applied, so one that is malformed changes nothing.

use uuid::Uuid;

use super::monitor::TableLayout;
use crate::data::parse::{expected, member};
use crate::data::{Datum, NamedUuids, uuid_from_text};
use crate::error::{Error, ErrorKind};
use crate::json::{Json, Object};

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Of `monitor` and `update`: rows before and after.
    Whole,
    /// Of `monitor_cond`, `monitor_cond_since`, `update2`, `update3`: differences.
    Difference,
}

/// Cells, each with the number of its column, in the order of these.
pub(crate) type Cells = Vec<(usize, Datum)>;

#[derive(Debug, PartialEq)]
pub(crate) enum RowUpdate {
    /// The row has these cells, and the default in every other.
    Insert(Cells),
    /// The row has these cells now, and what it had in every other.
    Set(Cells),
    /// The cells are changed by these differences.
    Patch(Cells),
    Delete,
}

/// A change of a row: the number of the table, the row, and what becomes of it.
pub(crate) type TableUpdate = (usize, Uuid, RowUpdate);

/// Reads the updates of tables with these layouts, which are sorted by name. A table or column that was not asked for is
/// passed over.
pub(crate) fn read(layouts: &[&TableLayout], json: &Json, form: Form) -> Result<Vec<TableUpdate>, Error> {
    let tables = json.as_object().ok_or_else(|| expected("an object", json))?;
    let mut updates = Vec::new();
    for (name, rows) in tables.iter() {
        let Ok(number) = layouts.binary_search_by(|layout| (*layout.name).cmp(name.as_str())) else { continue };
        let Some(layout) = layouts.get(number) else { continue };
        let at_table = |error: Error| error.at(format!("table {name:?}"));
        let rows = rows.as_object().ok_or_else(|| at_table(expected("an object", rows)))?;
        updates.reserve(rows.len());
        for (text, json) in rows.iter() {
            let at = |error: Error| at_table(error.at(format!("row {text}")));
            let uuid = uuid_from_text(text).map_err(at)?;
            let update = match form {
                Form::Whole => whole(layout, json),
                Form::Difference => difference(layout, json),
            };
            updates.push((number, uuid, update.map_err(at)?));
        }
    }
    Ok(updates)
}

fn whole(layout: &TableLayout, json: &Json) -> Result<RowUpdate, Error> {
    let row = json.as_object().ok_or_else(|| expected("an object", json))?;
    match (row.get("old"), row.get("new")) {
        (_, Some(new)) => cells(layout, new).map(RowUpdate::Set).map_err(|error| error.at(member("new"))),
        (Some(_), None) => Ok(RowUpdate::Delete),
        (None, None) => Err(Error::new(ErrorKind::MissingMember("new"))),
    }
}

fn difference(layout: &TableLayout, json: &Json) -> Result<RowUpdate, Error> {
    let row = json.as_object().ok_or_else(|| expected("an object", json))?;
    let mut members = row.iter();
    let (Some((word, row)), None) = (members.next(), members.next()) else {
        return Err(expected("an object with one member", json));
    };
    let at = |error: Error| error.at(member(word));
    match word.as_str() {
        "initial" | "insert" => cells(layout, row).map(RowUpdate::Insert).map_err(at),
        "modify" => cells(layout, row).map(RowUpdate::Patch).map_err(at),
        "delete" => Ok(RowUpdate::Delete),
        _ => Err(Error::new(ErrorKind::UnknownMember(word.clone()))),
    }
}

fn cells(layout: &TableLayout, json: &Json) -> Result<Cells, Error> {
    let row: &Object = json.as_object().ok_or_else(|| expected("an object", json))?;
    let names = NamedUuids::new();
    let mut cells = Vec::with_capacity(row.len());
    for (name, json) in row.iter() {
        let Some(slot) = layout.slot(name) else { continue };
        let Some(column) = layout.columns.get(slot) else { continue };
        let datum = Datum::read(&column.ty, json, &names).map_err(|error| error.at(format!("column {name:?}")))?;
        // The members come sorted by name, and so are the columns.
        cells.push((slot, datum));
    }
    Ok(cells)
}
