//! The changes of a transaction that is under way, over the tables as they were before it.
//!
//! Nothing of the database changes until the overlay is applied, so a transaction that fails costs nothing to undo.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::condition::Condition;
use super::table::{Row, Table};

#[derive(Debug)]
pub(crate) struct Overlay<'a> {
    base: &'a BTreeMap<String, Table>,
    changes: BTreeMap<String, BTreeMap<Uuid, Option<Arc<Row>>>>,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(base: &'a BTreeMap<String, Table>) -> Overlay<'a> {
        Overlay { base, changes: BTreeMap::new() }
    }

    /// The table as it was.
    pub(crate) fn base(&self, table: &str) -> Option<&'a Table> {
        self.base.get(table)
    }

    /// The row as it was.
    pub(crate) fn before(&self, table: &str, uuid: Uuid) -> Option<&'a Arc<Row>> {
        self.base.get(table)?.rows.get(&uuid)
    }

    /// The row as it is now.
    pub(crate) fn get(&self, table: &str, uuid: Uuid) -> Option<&Arc<Row>> {
        match self.changes.get(table).and_then(|changes| changes.get(&uuid)) {
            Some(change) => change.as_ref(),
            None => self.before(table, uuid),
        }
    }

    /// Whether the row was there before, or is or was in this transaction.
    pub(crate) fn is_taken(&self, table: &str, uuid: Uuid) -> bool {
        self.before(table, uuid).is_some() || self.is_changed(table, uuid)
    }

    /// Whether this transaction changes the row.
    pub(crate) fn is_changed(&self, table: &str, uuid: Uuid) -> bool {
        self.changes.get(table).is_some_and(|changes| changes.contains_key(&uuid))
    }

    pub(crate) fn put(&mut self, table: &str, row: Row) {
        self.changes.entry(table.to_owned()).or_default().insert(row.uuid(), Some(Arc::new(row)));
    }

    pub(crate) fn delete(&mut self, table: &str, uuid: Uuid) {
        self.changes.entry(table.to_owned()).or_default().insert(uuid, None);
    }

    /// The rows that satisfy every condition, as they are now, in the order of their UUIDs.
    pub(crate) fn find(&self, table: &str, conditions: &[Condition]) -> Vec<Arc<Row>> {
        let matches = |row: &&Arc<Row>| conditions.iter().all(|condition| condition.matches(row));
        if let Some(uuid) = conditions.iter().find_map(Condition::as_uuid) {
            return self.get(table, uuid).filter(matches).cloned().into_iter().collect();
        }
        let changes = self.changes.get(table);
        let kept = self.base.get(table).into_iter().flat_map(|table| table.rows.values());
        let kept = kept.filter(|row| changes.is_none_or(|changes| !changes.contains_key(&row.uuid())));
        let changed = changes.into_iter().flat_map(|changes| changes.values()).flatten();
        let mut rows: Vec<_> = kept.chain(changed).filter(matches).cloned().collect();
        rows.sort_by_key(|row| row.uuid());
        rows
    }

    /// Forgets rows that have the same content as before, and rows that came and went.
    pub(crate) fn trim(&mut self) {
        let base = self.base;
        for (table, changes) in &mut self.changes {
            let before = base.get(table);
            changes.retain(|uuid, now| match (before.and_then(|table| table.rows.get(uuid)), now) {
                (None, None) => false,
                (Some(before), Some(now)) => !before.same_content(now),
                _ => true,
            });
        }
        self.changes.retain(|_, changes| !changes.is_empty());
    }

    /// Every changed row: table, UUID and what it is now.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&str, Uuid, Option<&Arc<Row>>)> {
        self.changes
            .iter()
            .flat_map(|(table, changes)| changes.iter().map(move |(uuid, now)| (table.as_str(), *uuid, now.as_ref())))
    }

    /// Table and UUID of every changed row.
    pub(crate) fn changed(&self) -> BTreeSet<(String, Uuid)> {
        self.changes().map(|(table, uuid, _)| (table.to_owned(), uuid)).collect()
    }

    /// The changes alone.
    pub(crate) fn into_changes(self) -> BTreeMap<String, BTreeMap<Uuid, Option<Arc<Row>>>> {
        self.changes
    }
}
