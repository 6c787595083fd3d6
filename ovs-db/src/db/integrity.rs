//! What must hold after a transaction: references, garbage, indexes and row limits (RFC 7047 sections 3.2 and 4.1.3).
//!
//! The database counts for each row the strong references that lead to it and remembers which rows refer to it weakly
//! ([`References`]). A commit computes only the *difference* that its changed rows make, so it costs what it changes and
//! not what the database holds. Deleting a row may take others with it in two ways, and each may lead to the other:
//!
//! - a row of a table that is not a root goes when the last strong reference to it goes;
//! - a weak reference goes with the row that it leads to, and in a map the pair goes with it, strong reference included.
//!
//! Both run from work lists, without recursion, until nothing is left to do; each step removes something, so they end.
//! A row's references to itself do not count, and rows that only refer to each other in a ring stay: counting does not
//! see that nothing else leads to them. Open vSwitch's server is the same in both. Version 3.1 of it
//! leaves behind what does not stay here: a row whose last strong reference went with a weak one in the same pair of a
//! map, and, in a row that the same transaction changed, a weak reference to a row that became garbage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::failure::Failure;
use super::overlay::Overlay;
use super::table::{Row, Table, references};
use crate::data::{Atom, BaseType, ColumnType, Datum, RefType};
use crate::schema::Schema;

type RowId = (String, Uuid);

/// What leads to each row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct References {
    inbound: BTreeMap<RowId, Inbound>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Inbound {
    strong: i64,
    weak: BTreeSet<RowId>,
}

impl References {
    /// Records that a row changed from `old` to `new`.
    pub(crate) fn replace(&mut self, schema: &Schema, table: &str, uuid: Uuid, old: Option<&Row>, new: Option<&Row>) {
        let Some(table_schema) = schema.table(table) else { return };
        // Old before new: a holder that keeps a weak reference must be in the set at the end.
        for (row, is_new) in [(old, false), (new, true)] {
            let Some(row) = row else { continue };
            references(table_schema, row, |target, target_uuid, kind| {
                if target == table && target_uuid == uuid {
                    return;
                }
                let entry = self.inbound.entry((target.to_owned(), target_uuid)).or_default();
                match (kind, is_new) {
                    (RefType::Strong, true) => entry.strong = entry.strong.saturating_add(1),
                    (RefType::Strong, false) => entry.strong = entry.strong.saturating_sub(1),
                    (RefType::Weak, true) => drop(entry.weak.insert((table.to_owned(), uuid))),
                    (RefType::Weak, false) => drop(entry.weak.remove(&(table.to_owned(), uuid))),
                }
                if *entry == Inbound::default() {
                    self.inbound.remove(&(target.to_owned(), target_uuid));
                }
            });
        }
    }
}

/// Brings the changes of a transaction to rest and checks them.
///
/// # Errors
/// [`Failure::Dangling`], [`Failure::WeakReferenceLost`], [`Failure::NotUnique`], [`Failure::TooManyRows`].
pub(crate) fn settle(schema: &Schema, known: &References, overlay: &mut Overlay<'_>) -> Result<(), Failure> {
    overlay.trim();
    let mut settling = Settling::new(schema, known, overlay);
    settling.run();
    settling.check()?;
    overlay.trim();
    check_tables(schema, overlay)
}

struct Settling<'s, 'o, 'b> {
    schema: &'s Schema,
    known: &'s References,
    overlay: &'o mut Overlay<'b>,
    /// Strong references gained or lost by each row.
    gained: BTreeMap<RowId, i64>,
    /// Weak references in changed rows: who refers to each row.
    weak: BTreeMap<RowId, BTreeSet<RowId>>,
    /// Rows that strong references lead to and that never were.
    nowhere: BTreeSet<RowId>,
    /// Rows that may have become garbage.
    suspects: BTreeSet<RowId>,
    /// Rows that are gone and whose weak references are still to be removed.
    gone: BTreeSet<RowId>,
    /// Columns that lost weak references.
    purged: BTreeSet<(RowId, String)>,
}

impl<'s, 'o, 'b> Settling<'s, 'o, 'b> {
    fn new(schema: &'s Schema, known: &'s References, overlay: &'o mut Overlay<'b>) -> Self {
        let mut settling = Settling {
            schema,
            known,
            overlay,
            gained: BTreeMap::new(),
            weak: BTreeMap::new(),
            nowhere: BTreeSet::new(),
            suspects: BTreeSet::new(),
            gone: BTreeSet::new(),
            purged: BTreeSet::new(),
        };
        for id in settling.overlay.changed() {
            let before = settling.overlay.before(&id.0, id.1).cloned();
            let now = settling.overlay.get(&id.0, id.1).cloned();
            settling.count(&id, before.as_ref(), -1);
            settling.count(&id, now.as_ref(), 1);
            if now.is_some() {
                settling.purge(&id);
            } else {
                settling.gone.insert(id.clone());
            }
            settling.suspects.insert(id);
        }
        settling
    }

    /// Counts the references out of a row, which came (`by` 1) or went (-1).
    fn count(&mut self, id: &RowId, row: Option<&Arc<Row>>, by: i64) {
        let (Some(table), Some(row)) = (self.schema.table(&id.0), row) else { return };
        references(table, row, |target, uuid, kind| {
            let target = (target.to_owned(), uuid);
            if target == *id {
                return;
            }
            match kind {
                RefType::Strong => {
                    if by > 0 && !self.overlay.is_taken(&target.0, target.1) {
                        self.nowhere.insert(target.clone());
                    }
                    let gained = self.gained.entry(target.clone()).or_default();
                    *gained = gained.saturating_add(by);
                    self.suspects.insert(target);
                }
                RefType::Weak if by > 0 => drop(self.weak.entry(target).or_default().insert(id.clone())),
                RefType::Weak => {}
            }
        });
    }

    /// The number of strong references to a row from other rows.
    fn strong(&self, id: &RowId) -> i64 {
        let known = self.known.inbound.get(id).map_or(0, |inbound| inbound.strong);
        known.saturating_add(self.gained.get(id).copied().unwrap_or(0))
    }

    fn exists(&self, table: &str, uuid: Uuid) -> bool {
        self.overlay.get(table, uuid).is_some()
    }

    fn run(&mut self) {
        loop {
            if let Some(id) = self.suspects.pop_first() {
                if self.schema.is_root(&id.0) || self.strong(&id) > 0 {
                    continue;
                }
                if let Some(row) = self.overlay.get(&id.0, id.1).cloned() {
                    self.overlay.delete(&id.0, id.1);
                    self.count(&id, Some(&row), -1);
                    self.gone.insert(id);
                }
            } else if !self.gone.is_empty() {
                let gone = std::mem::take(&mut self.gone);
                let known = gone.iter().filter_map(|id| self.known.inbound.get(id)).flat_map(|inbound| &inbound.weak);
                let new = gone.iter().filter_map(|id| self.weak.get(id)).flatten();
                for holder in known.chain(new).cloned().collect::<BTreeSet<_>>() {
                    self.purge(&holder);
                }
            } else {
                return;
            }
        }
    }

    /// Removes the weak references of a row that lead nowhere.
    fn purge(&mut self, id: &RowId) {
        let Some(table) = self.schema.table(&id.0) else { return };
        let Some(before) = self.overlay.get(&id.0, id.1).cloned() else { return };
        let mut after: Option<Row> = None;
        for (name, column) in &table.columns {
            let Some(datum) = before.get(name) else { continue };
            if let Some(datum) = self.without_dangling(&column.ty, datum) {
                after.get_or_insert_with(|| Row::clone(&before)).set(name, datum);
                self.purged.insert((id.clone(), name.clone()));
            }
        }
        if let Some(after) = after {
            self.count(id, Some(&before), -1);
            self.overlay.put(&id.0, after);
            let after = self.overlay.get(&id.0, id.1).cloned();
            self.count(id, after.as_ref(), 1);
        }
    }

    /// The datum without weak references that lead nowhere; nothing when it has none.
    fn without_dangling(&self, ty: &ColumnType, datum: &Datum) -> Option<Datum> {
        let weak = |base: &BaseType| match base.reference() {
            Some((table, RefType::Weak)) => Some(table.to_owned()),
            _ => None,
        };
        let (key, value) = (weak(ty.key()), ty.value().and_then(weak));
        if key.is_none() && value.is_none() {
            return None;
        }
        let stays = |table: &Option<String>, atom: &Atom| match (table, atom.as_uuid()) {
            (Some(table), Some(uuid)) => self.exists(table, uuid),
            _ => true,
        };
        let kept = match (datum.as_set(), datum.as_map()) {
            (Some(atoms), _) => Datum::set(atoms.iter().filter(|atom| stays(&key, atom)).cloned()),
            (_, pairs) => {
                let pairs = pairs.unwrap_or_default().iter();
                Datum::map(pairs.filter(|(one, other)| stays(&key, one) && stays(&value, other)).cloned())
            }
        };
        (kept.len() != datum.len()).then_some(kept)
    }

    /// Checks that every strong reference leads to a row and that no column lost too much.
    fn check(&self) -> Result<(), Failure> {
        // Also when what refers there turned out to be garbage: that is the client's mistake all the same.
        if let Some((table, row)) = self.nowhere.first().cloned() {
            return Err(Failure::Dangling { table, row });
        }
        let gone = self.overlay.changes().filter(|(_, _, now)| now.is_none());
        let gone = gone.map(|(table, uuid, _)| (table.to_owned(), uuid)).collect::<BTreeSet<_>>();
        for id in self.gained.keys().chain(&gone) {
            if !self.exists(&id.0, id.1) && self.strong(id) > 0 {
                return Err(Failure::Dangling { table: id.0.clone(), row: id.1 });
            }
        }
        for ((table, uuid), column) in &self.purged {
            let Some(row) = self.overlay.get(table, *uuid) else { continue };
            let schema = self.schema.table(table).and_then(|table| table.columns.get(column));
            if let (Some(schema), Some(datum)) = (schema, row.get(column))
                && datum.len() < schema.ty.min()
            {
                return Err(Failure::WeakReferenceLost { table: table.clone(), row: *uuid, column: column.clone() });
            }
        }
        Ok(())
    }
}

/// Checks indexes and row limits of the tables that changed.
fn check_tables(schema: &Schema, overlay: &Overlay<'_>) -> Result<(), Failure> {
    let changed: BTreeSet<String> = overlay.changes().map(|(table, ..)| table.to_owned()).collect();
    for name in &changed {
        let (Some(table), Some(base)) = (schema.table(name), overlay.base(name)) else { continue };
        let changes = || overlay.changes().filter(|(table, ..)| table == name);
        if let Some(max) = table.max_rows {
            let untouched = base.rows.keys().filter(|uuid| !overlay.is_changed(name, **uuid)).count();
            let present = changes().filter(|(_, _, now)| now.is_some()).count();
            let rows = untouched.saturating_add(present) as u64;
            if rows > max {
                return Err(Failure::TooManyRows { table: name.clone(), rows, max });
            }
        }
        for (number, columns) in table.indexes.iter().enumerate() {
            let index = base.indexes.get(number);
            let mut seen = BTreeSet::new();
            for row in changes().filter_map(|(_, _, now)| now) {
                let key = Table::index_key(columns, row);
                let other = index.and_then(|index| index.get(&key));
                let conflict = other.is_some_and(|other| !overlay.is_changed(name, *other));
                if conflict || !seen.insert(key) {
                    return Err(Failure::NotUnique { table: name.clone(), columns: columns.clone() });
                }
            }
        }
    }
    Ok(())
}
