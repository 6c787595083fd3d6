//! The database: a schema, tables, and transactions on them (RFC 7047 sections 4.1.3 and 5.2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::failure::Failure;
use super::integrity::{self, References};
use super::operation::{Operation, define_names};
use super::overlay::Overlay;
use super::table::{Row, Table, empty_tables};
use crate::data::{Datum, NamedUuids};
use crate::json::{Json, Object};
use crate::schema::Schema;

/// What one transaction may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most operations in a transaction.
    pub operations: usize,
    /// The most rows in the results of a transaction, over all its `select` operations.
    pub result_rows: usize,
}

impl Default for Limits {
    /// 100,000 operations and 1,000,000 rows.
    fn default() -> Limits {
        Limits { operations: 100_000, result_rows: 1_000_000 }
    }
}

/// What a transaction needs from outside: randomness and the locks that the client's session owns.
pub struct Session<'a> {
    /// Makes the UUID of a new row or row version. A seeded one makes runs reproducible.
    pub new_uuid: &'a mut dyn FnMut() -> Uuid,
    /// The locks that the session owns (RFC 7047 section 4.1.8), for `assert`.
    pub locks: &'a BTreeSet<String>,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("locks", &self.locks).finish_non_exhaustive()
    }
}

/// The result of one operation: RFC 7047 section 5.2.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationResult {
    /// Done, with nothing to say: wait, commit, comment, assert.
    Done,
    /// The UUID of the row that an insert made.
    Inserted(Uuid),
    /// The rows that a select found, each an object of columns.
    Rows(Vec<Json>),
    /// The number of rows that an update, mutate or delete met.
    Count(u64),
    /// The operation, or the commit when this is the extra last result, failed.
    Failed(Failure),
    /// Not attempted, because an operation before it failed.
    NotRun,
}

impl OperationResult {
    /// The JSON form.
    pub fn to_json(&self) -> Json {
        match self {
            OperationResult::Done => Json::Object(Object::new()),
            OperationResult::Inserted(uuid) => Json::object([("uuid", crate::data::Atom::Uuid(*uuid).to_json())]),
            OperationResult::Rows(rows) => Json::object([("rows", Json::Array(rows.clone()))]),
            OperationResult::Count(count) => {
                Json::object([("count", Json::Integer(i64::try_from(*count).unwrap_or(i64::MAX)))])
            }
            OperationResult::Failed(failure) => failure.to_json(),
            OperationResult::NotRun => Json::Null,
        }
    }
}

/// A row that a transaction changed. What a monitor of the table would be told.
#[derive(Debug, Clone, PartialEq)]
pub struct RowChange {
    /// The table.
    pub table: String,
    /// The row.
    pub uuid: Uuid,
    /// The row before; nothing when it is new.
    pub old: Option<Arc<Row>>,
    /// The row after; nothing when it is gone.
    pub new: Option<Arc<Row>>,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    results: Vec<OperationResult>,
    changes: Vec<RowChange>,
}

impl Outcome {
    /// A result for each operation, in order, and one more when all operations succeeded but the commit failed.
    pub fn results(&self) -> &[OperationResult] {
        &self.results
    }

    /// The rows that changed, sorted by table and UUID, garbage and removed weak references included. Empty when the
    /// transaction failed.
    pub fn changes(&self) -> &[RowChange] {
        &self.changes
    }

    /// Why the transaction did not happen; nothing when it did.
    pub fn failure(&self) -> Option<&Failure> {
        self.results.iter().find_map(|result| match result {
            OperationResult::Failed(failure) => Some(failure),
            _ => None,
        })
    }

    /// The `result` of the response: RFC 7047 section 4.1.3.
    pub fn to_json(&self) -> Json {
        Json::Array(self.results.iter().map(OperationResult::to_json).collect())
    }
}

/// A database in memory.
///
/// Invariants, true before and after every transaction: every row is of the types of its table; every strong reference
/// leads to a row; every weak reference does; rows of tables that are not roots are referred to strongly by another row;
/// rows differ in every index; no table has more rows than it may.
#[derive(Debug, Clone)]
pub struct Database {
    schema: Schema,
    limits: Limits,
    tables: BTreeMap<String, Table>,
    references: References,
}

impl Database {
    /// An empty database with the default [`Limits`].
    pub fn new(schema: Schema) -> Database {
        Database::with_limits(schema, Limits::default())
    }

    /// An empty database.
    pub fn with_limits(schema: Schema, limits: Limits) -> Database {
        let tables = empty_tables(&schema);
        Database { schema, limits, tables, references: References::default() }
    }

    /// The schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The rows of a table in the order of their UUIDs; none when there is no such table.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = &Arc<Row>> {
        self.tables.get(table).into_iter().flat_map(|table| table.rows.values())
    }

    /// One row.
    pub fn row(&self, table: &str, uuid: Uuid) -> Option<&Arc<Row>> {
        self.tables.get(table)?.rows.get(&uuid)
    }

    /// Runs the parameters of a `transact` request: the name of the database, then operations (RFC 7047 section 4.1.3).
    ///
    /// # Errors
    /// [`Failure::UnknownDatabase`] and [`Failure::Syntax`] for the request as a whole; these are for the `error` of the
    /// response. What fails after that is in the outcome, which is for its `result`.
    pub fn transact_request(&mut self, params: &[Json], session: &mut Session<'_>) -> Result<Outcome, Failure> {
        let (name, operations) = match params {
            [Json::String(name), operations @ ..] => (name, operations),
            [other, ..] => return Err(crate::data::parse::expected("the name of a database", other).into()),
            [] => return Err(crate::data::parse::expected("the name of a database", &Json::Null).into()),
        };
        if name != self.schema.name() {
            return Err(Failure::UnknownDatabase(name.clone()));
        }
        Ok(self.transact(operations, session))
    }

    /// Runs operations as one transaction: all of them take effect, or none.
    ///
    /// A failure of an operation or of the commit is part of the outcome, in the place that RFC 7047 gives it; the
    /// database is then as it was.
    ///
    /// ```
    /// use std::collections::BTreeSet;
    /// use ovs_db::{Database, Schema, Session, Uuid, json};
    ///
    /// let schema = br#"{"name": "D", "version": "1.0.0", "tables": {"T": {"columns": {"n": {"type": "integer"}}}}}"#;
    /// let mut db = Database::new(Schema::from_json(&json::parse(schema).unwrap())?);
    /// let mut next = 0;
    /// let mut new_uuid = || { next += 1; Uuid::from_u128(next) };
    /// let mut session = Session { new_uuid: &mut new_uuid, locks: &BTreeSet::new() };
    /// let operations = json::parse(br#"[{"op": "insert", "table": "T", "row": {"n": 1}},
    ///     {"op": "mutate", "table": "T", "where": [], "mutations": [["n", "+=", 4]]},
    ///     {"op": "select", "table": "T", "where": [["n", ">", 4]], "columns": ["n"]}]"#).unwrap();
    /// let outcome = db.transact(operations.as_array().unwrap(), &mut session);
    /// assert_eq!(
    ///     outcome.to_json().to_text(),
    ///     r#"[{"uuid":["uuid","00000000-0000-0000-0000-000000000001"]},{"count":1},{"rows":[{"n":5}]}]"#
    /// );
    /// # Ok::<(), ovs_db::Error>(())
    /// ```
    pub fn transact(&mut self, operations: &[Json], session: &mut Session<'_>) -> Outcome {
        let mut results = Vec::with_capacity(operations.len().min(self.limits.operations).saturating_add(1));
        if operations.len() > self.limits.operations {
            let limit = self.limits.operations;
            results.push(OperationResult::Failed(Failure::ResourcesExhausted { what: "operations", limit }));
            return Outcome { results, changes: Vec::new() };
        }
        let names = define_names(operations, session.new_uuid);
        let mut run = Run {
            schema: &self.schema,
            limits: self.limits,
            overlay: Overlay::new(&self.tables),
            names,
            used_names: BTreeSet::new(),
            result_rows: 0,
        };
        for json in operations {
            match run.operation(json, session) {
                Ok(result) => results.push(result),
                Err(failure) => {
                    results.push(OperationResult::Failed(failure));
                    results.resize(operations.len(), OperationResult::NotRun);
                    return Outcome { results, changes: Vec::new() };
                }
            }
        }
        let mut overlay = run.overlay;
        if let Err(failure) = integrity::settle(&self.schema, &self.references, &mut overlay) {
            results.push(OperationResult::Failed(failure));
            return Outcome { results, changes: Vec::new() };
        }
        let changes = overlay.into_changes();
        Outcome { results, changes: self.apply(changes, session) }
    }

    /// Makes changes that passed every check.
    fn apply(
        &mut self,
        changes: BTreeMap<String, BTreeMap<Uuid, Option<Arc<Row>>>>,
        session: &mut Session<'_>,
    ) -> Vec<RowChange> {
        let mut applied = Vec::new();
        for (name, rows) in changes {
            let Some(table) = self.tables.get_mut(&name) else { continue };
            let indexes = self.schema.table(&name).map_or(&[][..], |schema| schema.indexes.as_slice());
            for (uuid, mut new) in rows {
                let old = table.rows.get(&uuid).cloned();
                if let (Some(_), Some(row)) = (&old, &mut new) {
                    Arc::make_mut(row).set_version((session.new_uuid)());
                }
                self.references.replace(&self.schema, &name, uuid, old.as_deref(), new.as_deref());
                table.replace(uuid, new.clone(), indexes);
                applied.push(RowChange { table: name.clone(), uuid, old, new });
            }
        }
        applied
    }

    /// Counts every reference anew, for tests of the invariants.
    #[cfg(test)]
    pub(crate) fn references_are_exact(&self) -> bool {
        let mut counted = References::default();
        for (name, table) in &self.tables {
            for (uuid, row) in &table.rows {
                counted.replace(&self.schema, name, *uuid, None, Some(row));
            }
        }
        counted == self.references
    }
}

/// A transaction under way.
struct Run<'a> {
    schema: &'a Schema,
    limits: Limits,
    overlay: Overlay<'a>,
    names: NamedUuids,
    used_names: BTreeSet<String>,
    result_rows: usize,
}

impl Run<'_> {
    fn operation(&mut self, json: &Json, session: &mut Session<'_>) -> Result<OperationResult, Failure> {
        match Operation::from_json(self.schema, json, &self.names)? {
            Operation::Insert { table, row, uuid, name } => {
                if let Some(name) = &name
                    && !self.used_names.insert(name.clone())
                {
                    return Err(Failure::DuplicateUuidName(name.clone()));
                }
                let named = name.and_then(|name| self.names.get(&name).copied());
                let uuid = uuid.or(named).unwrap_or_else(|| (session.new_uuid)());
                if self.overlay.is_taken(&table, uuid) {
                    return Err(Failure::DuplicateUuid(uuid));
                }
                let schema = self.schema.table(&table).ok_or_else(|| Failure::UnknownTable(table.clone()))?;
                let mut new = Row::new(uuid, (session.new_uuid)(), schema);
                for (column, datum) in row {
                    new.set(&column, datum);
                }
                self.overlay.put(&table, new);
                Ok(OperationResult::Inserted(uuid))
            }
            Operation::Select { table, conditions, columns } => {
                let rows = self.overlay.find(&table, &conditions);
                self.result_rows = self.result_rows.saturating_add(rows.len());
                if self.result_rows > self.limits.result_rows {
                    return Err(Failure::ResourcesExhausted { what: "result rows", limit: self.limits.result_rows });
                }
                Ok(OperationResult::Rows(rows.iter().map(|row| row.to_json(&columns)).collect()))
            }
            Operation::Update { table, conditions, row } => self.modify(&table, &conditions, |new| {
                row.iter().for_each(|(column, datum)| new.set(column, datum.clone()));
                Ok(())
            }),
            Operation::Mutate { table, conditions, mutations } => {
                self.modify(&table, &conditions, |new| mutations.iter().try_for_each(|mutation| mutation.apply(new)))
            }
            Operation::Delete { table, conditions } => {
                let rows = self.overlay.find(&table, &conditions);
                rows.iter().for_each(|row| self.overlay.delete(&table, row.uuid()));
                Ok(OperationResult::Count(rows.len() as u64))
            }
            Operation::Wait { table, conditions, columns, equal, rows } => {
                let project = |row: &Arc<Row>| columns.iter().filter_map(|name| row.cell(name)).collect::<Vec<Datum>>();
                let found: BTreeSet<_> = self.overlay.find(&table, &conditions).iter().map(project).collect();
                let wanted: BTreeSet<_> = rows.into_iter().collect();
                if (found == wanted) == equal { Ok(OperationResult::Done) } else { Err(Failure::TimedOut) }
            }
            Operation::Commit | Operation::Comment => Ok(OperationResult::Done),
            Operation::Abort => Err(Failure::Aborted),
            Operation::Assert { lock } if session.locks.contains(&lock) => Ok(OperationResult::Done),
            Operation::Assert { lock } => Err(Failure::NotOwner(lock)),
        }
    }

    fn modify(
        &mut self,
        table: &str,
        conditions: &[super::Condition],
        change: impl Fn(&mut Row) -> Result<(), Failure>,
    ) -> Result<OperationResult, Failure> {
        let rows = self.overlay.find(table, conditions);
        for row in &rows {
            let mut new = Row::clone(row);
            change(&mut new)?;
            self.overlay.put(table, new);
        }
        Ok(OperationResult::Count(rows.len() as u64))
    }
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
