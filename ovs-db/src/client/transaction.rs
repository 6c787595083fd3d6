//! Transactions as a client makes them, and what becomes of them (RFC 7047 sections 4.1.3 and 5.2).
//!
//! A [`Transaction`] collects what is to be changed: rows to insert, columns to set, elements to add or remove, rows to
//! delete, and what must still be true for the change to make sense. Nothing is sent before
//! [`Client::commit`](super::Client::commit), and the replica does not change before the server has told so. Columns that
//! are set to what they have already are left out, so a client may state all that it wants, again and again.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::column::{Column, Form, Id, Key, Many, One, Pairs, Table};
use super::replica::{Replica, RowView};
use crate::data::{Atom, Datum, uuid_from_text};
use crate::db::Mutator;
use crate::json::Json;

/// The upper half of the stand-ins for rows to be inserted. It is of no version that RFC 9562 knows, so no row has such
/// a UUID.
const STAND_IN: u64 = 0x6f76_732d_6462_0000;

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// There was nothing to change; nothing was sent.
    Unchanged,
    /// It was sent, and the answer is not here yet.
    Incomplete,
    /// It was aborted as [`Transaction::abort`] asks.
    Aborted,
    /// It is done. What it changed in the replica, the replica has.
    Success,
    /// It did not happen, or it is not known whether it did: the connection was lost or not there, or something that it
    /// relies on had changed. Look at the replica as it is by then, and decide anew.
    TryAgain,
    /// It did not happen because the client does not own the lock that it set out to own.
    NotLocked,
    /// It did not happen, and would not if tried again.
    Error(TransactionError),
}

/// Why the server refused a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{tag}{}{details}", if details.is_empty() { "" } else { ": " })]
pub struct TransactionError {
    /// The error string of RFC 7047, such as `constraint violation`.
    pub tag: String,
    /// What the server says besides; may be empty.
    pub details: String,
}

/// What became of a transaction, and what it made.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What became of it.
    pub status: Status,
    inserted: BTreeMap<Uuid, Uuid>,
    counter: Option<i64>,
}

impl Report {
    pub(crate) fn of(status: Status) -> Report {
        Report { status, inserted: BTreeMap::new(), counter: None }
    }

    /// The row that was inserted for the stand-in that [`Transaction::insert`] gave, if the transaction is done.
    pub fn inserted<T>(&self, stand_in: Id<T>) -> Option<Id<T>> {
        self.inserted.get(&stand_in.uuid()).copied().map(Id::new)
    }

    /// Stand-ins and the rows that were inserted for them.
    pub fn all_inserted(&self) -> impl Iterator<Item = (Uuid, Uuid)> {
        self.inserted.iter().map(|(stand_in, uuid)| (*stand_in, *uuid))
    }

    /// What [`Transaction::increment`] made of the column, if the transaction is done.
    pub fn counter(&self) -> Option<i64> {
        self.counter
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Edit {
    inserted: bool,
    deleted: bool,
    columns: BTreeMap<String, Datum>,
    mutations: Vec<(String, Mutator, Datum)>,
    expected: BTreeMap<String, Datum>,
}

/// A transaction that is being made.
///
/// ```
/// use ovs_db::client::Transaction;
/// use ovs_db::vswitch::{Bridge, Port};
///
/// let mut txn = Transaction::new();
/// let bridge = txn.insert::<Bridge>();
/// let port = txn.insert::<Port>();
/// txn.set(bridge, Bridge::NAME, "br0").set(bridge, Bridge::PORTS, [port]);
/// txn.set(port, Port::NAME, "br0").set(port, Port::TAG, 5);
/// txn.set(bridge, Bridge::EXTERNAL_IDS, [("made-by", "an example")]);
/// txn.comment("a bridge with its local port");
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transaction {
    edits: BTreeMap<(String, Uuid), Edit>,
    comments: Vec<String>,
    counter: Option<(String, Uuid, String)>,
    operations: Vec<Json>,
    aborted: bool,
    stand_ins: u64,
}

impl Transaction {
    /// A transaction that changes nothing.
    pub fn new() -> Transaction {
        Transaction::default()
    }

    /// Inserts a row. The id is a stand-in: use it in this transaction; [`Report::inserted`] has the row's own.
    pub fn insert<T: Table>(&mut self) -> Id<T> {
        Id::new(self.insert_named(T::NAME))
    }

    /// As [`Transaction::insert`], by name.
    pub fn insert_named(&mut self, table: &str) -> Uuid {
        self.stand_ins = self.stand_ins.saturating_add(1);
        let uuid = Uuid::from_u64_pair(STAND_IN, self.stand_ins);
        self.edit(table, uuid).inserted = true;
        uuid
    }

    /// Deletes a row. A row that is not a root goes by itself when nothing refers to it any more.
    pub fn delete<T: Table>(&mut self, row: Id<T>) -> &mut Transaction {
        self.delete_named(T::NAME, row.uuid())
    }

    /// As [`Transaction::delete`], by name.
    pub fn delete_named(&mut self, table: &str, row: Uuid) -> &mut Transaction {
        let edit = self.edit(table, row);
        if edit.inserted {
            self.edits.remove(&(table.to_owned(), row));
        } else {
            edit.deleted = true;
        }
        self
    }

    /// Gives a column a content.
    pub fn set<'a, T: Table, F: Form>(
        &mut self,
        row: Id<T>,
        column: Column<T, F>,
        value: impl Into<F::Write<'a>>,
    ) -> &mut Transaction {
        self.set_named(T::NAME, row.uuid(), column.name(), F::datum(value.into()))
    }

    /// As [`Transaction::set`], by name. It undoes what was to be added to or removed from the column.
    pub fn set_named(&mut self, table: &str, row: Uuid, column: &str, content: Datum) -> &mut Transaction {
        let edit = self.edit(table, row);
        edit.mutations.retain(|(name, ..)| name != column);
        edit.columns.insert(column.to_owned(), content);
        self
    }

    /// Adds elements to a set, whatever else is in it by then.
    pub fn add<'a, T: Table, K: Key + ?Sized>(
        &mut self,
        row: Id<T>,
        column: Column<T, Many<K>>,
        elements: impl Into<Vec<K::Ref<'a>>>,
    ) -> &mut Transaction {
        self.mutate_named(T::NAME, row.uuid(), column.name(), Mutator::Insert, Many::<K>::datum(elements.into()))
    }

    /// Removes elements from a set.
    pub fn remove<'a, T: Table, K: Key + ?Sized>(
        &mut self,
        row: Id<T>,
        column: Column<T, Many<K>>,
        elements: impl Into<Vec<K::Ref<'a>>>,
    ) -> &mut Transaction {
        self.mutate_named(T::NAME, row.uuid(), column.name(), Mutator::Delete, Many::<K>::datum(elements.into()))
    }

    /// Gives one key of a map a value, whatever the other keys have by then.
    pub fn put<'a, T: Table, K: Key + ?Sized, V: Key + ?Sized>(
        &mut self,
        row: Id<T>,
        column: Column<T, Pairs<K, V>>,
        key: K::Ref<'a>,
        value: V::Ref<'a>,
    ) -> &mut Transaction {
        // An insertion leaves the value of a key that is there, so the key is removed first.
        let pair = Pairs::<K, V>::datum(vec![(key, value)]);
        self.take(row, column, key);
        self.mutate_named(T::NAME, row.uuid(), column.name(), Mutator::Insert, pair)
    }

    /// Removes a key from a map.
    pub fn take<T: Table, K: Key + ?Sized, V: Key + ?Sized>(
        &mut self,
        row: Id<T>,
        column: Column<T, Pairs<K, V>>,
        key: K::Ref<'_>,
    ) -> &mut Transaction {
        self.mutate_named(T::NAME, row.uuid(), column.name(), Mutator::Delete, K::atom(key).into())
    }

    /// Changes a column as a `mutate` operation does (RFC 7047 section 5.2.4), after what was set or changed before.
    pub fn mutate_named(
        &mut self,
        table: &str,
        row: Uuid,
        column: &str,
        mutator: Mutator,
        argument: Datum,
    ) -> &mut Transaction {
        self.edit(table, row).mutations.push((column.to_owned(), mutator, argument));
        self
    }

    /// Makes the transaction depend on a column that still is as `row` has it. Where it is not:
    /// [`Status::TryAgain`].
    pub fn verify<T: Table, F: Form>(&mut self, row: &RowView<'_, T>, column: Column<T, F>) -> &mut Transaction {
        match row.cell(column.name()) {
            Some(content) => self.verify_named(T::NAME, row.uuid(), column.name(), content.clone()),
            None => self,
        }
    }

    /// Makes the transaction depend on the content of a column.
    pub fn verify_named(&mut self, table: &str, row: Uuid, column: &str, content: Datum) -> &mut Transaction {
        self.edit(table, row).expected.insert(column.to_owned(), content);
        self
    }

    /// Adds 1 to a column; [`Report::counter`] tells what it is then. There is one such column in a transaction: the
    /// last one asked for. Alone, it is not a reason to send the transaction.
    pub fn increment<T: Table>(&mut self, row: Id<T>, column: Column<T, One<i64>>) -> &mut Transaction {
        self.counter = Some((T::NAME.to_owned(), row.uuid(), column.name().to_owned()));
        self
    }

    /// Adds a line to what the server's log says of the transaction.
    pub fn comment(&mut self, text: impl Into<String>) -> &mut Transaction {
        self.comments.push(text.into());
        self
    }

    /// Adds an operation as it is (RFC 7047 section 5.2), after all others.
    pub fn operation(&mut self, operation: Json) -> &mut Transaction {
        self.operations.push(operation);
        self
    }

    /// Has the server check the transaction and then not do it: [`Status::Aborted`] if all is well.
    pub fn abort(&mut self) -> &mut Transaction {
        self.aborted = true;
        self
    }

    fn edit(&mut self, table: &str, row: Uuid) -> &mut Edit {
        self.edits.entry((table.to_owned(), row)).or_default()
    }

    /// The operations to send, compared with what the replica has; nothing when there is nothing to change.
    pub(crate) fn compose(&self, replica: &Replica, lock: Option<&str>) -> Option<Composed> {
        let stand_ins: BTreeSet<Uuid> =
            self.edits.iter().filter(|(_, edit)| edit.inserted).map(|((_, uuid), _)| *uuid).collect();
        let json = |datum: &Datum| datum.to_json_with(&|uuid| stand_ins.contains(uuid).then(|| row_name(uuid)));
        let op = |op: &str, table: &str, members: Vec<(&str, Json)>| {
            Json::object([("op", Json::string(op)), ("table", Json::string(table))].into_iter().chain(members))
        };
        let this_row = |uuid: &Uuid| {
            let uuid = json(&Atom::Uuid(*uuid).into());
            ("where", Json::Array(vec![Json::Array(vec![Json::string("_uuid"), Json::string("=="), uuid])]))
        };
        let columns = |columns: &BTreeMap<String, Datum>| {
            Json::object(columns.iter().map(|(name, content)| (name.as_str(), json(content))))
        };

        let (mut operations, mut changes) = (Vec::new(), self.operations.len());
        let mut inserts = Vec::new();
        operations
            .extend(lock.map(|lock| Json::object([("op", Json::string("assert")), ("lock", Json::string(lock))])));
        for ((table, uuid), edit) in self.edits.iter().filter(|(_, edit)| !edit.expected.is_empty()) {
            let names = Json::Array(edit.expected.keys().map(Json::string).collect());
            operations.push(op(
                "wait",
                table,
                vec![
                    ("timeout", Json::Integer(0)),
                    this_row(uuid),
                    ("columns", names),
                    ("until", Json::string("==")),
                    ("rows", Json::Array(vec![columns(&edit.expected)])),
                ],
            ));
        }
        for ((table, uuid), edit) in &self.edits {
            let old = replica.row_of(table, *uuid);
            let mut set = edit.columns.clone();
            if edit.inserted {
                inserts.push((operations.len(), *uuid));
                let name = ("uuid-name", Json::String(row_name(uuid)));
                operations.push(op("insert", table, vec![name, ("row", columns(&set))]));
            } else if edit.deleted {
                operations.push(op("delete", table, vec![this_row(uuid)]));
            } else {
                // A column that is changed further is not compared.
                let is_mutated = |name: &String| edit.mutations.iter().any(|(other, ..)| other == name);
                set.retain(|name, new| is_mutated(name) || old.is_none_or(|old| old.cell(name) != Some(new)));
                if !set.is_empty() {
                    operations.push(op("update", table, vec![this_row(uuid), ("row", columns(&set))]));
                }
            }
            let mutations: Vec<Json> = edit
                .mutations
                .iter()
                .filter(|_| !edit.deleted)
                .map(|(name, mutator, argument)| {
                    Json::Array(vec![Json::string(name), Json::string(mutator.as_str()), json(argument)])
                })
                .collect();
            if edit.inserted || edit.deleted || !set.is_empty() || !mutations.is_empty() {
                changes = changes.saturating_add(1);
            }
            if !mutations.is_empty() {
                operations.push(op("mutate", table, vec![this_row(uuid), ("mutations", Json::Array(mutations))]));
            }
        }
        if changes == 0 {
            return None;
        }
        operations.extend(self.operations.iter().cloned());
        let counter = self.counter.as_ref().map(|(table, uuid, column)| {
            let add = Json::Array(vec![Json::string(column), Json::string("+="), Json::Integer(1)]);
            operations.push(op("mutate", table, vec![this_row(uuid), ("mutations", Json::Array(vec![add]))]));
            let names = Json::Array(vec![Json::string(column)]);
            operations.push(op("select", table, vec![this_row(uuid), ("columns", names)]));
            (operations.len().saturating_sub(1), column.clone())
        });
        if !self.comments.is_empty() {
            let text = Json::String(self.comments.join("\n"));
            operations.push(Json::object([("op", Json::string("comment")), ("comment", text)]));
        }
        if self.aborted {
            operations.push(Json::object([("op", Json::string("abort"))]));
        }
        Some(Composed { operations, expected: Expected { inserts, counter } })
    }
}

fn row_name(uuid: &Uuid) -> String {
    format!("row{}", uuid.simple())
}

/// Operations to send, and what their results will mean.
#[derive(Debug)]
pub(crate) struct Composed {
    pub(crate) operations: Vec<Json>,
    pub(crate) expected: Expected,
}

#[derive(Debug)]
pub(crate) struct Expected {
    /// Numbers of insert operations, and the stand-ins of their rows.
    inserts: Vec<(usize, Uuid)>,
    /// The number of the operation that tells the counter, and its column.
    counter: Option<(usize, String)>,
}

impl Expected {
    /// What the `result` of the response says.
    pub(crate) fn report(&self, result: &Json) -> Report {
        let error = |tag: &str, details: String| Status::Error(TransactionError { tag: tag.to_owned(), details });
        let malformed = |what: &str| Report::of(error("malformed reply", what.to_owned()));
        let Some(results) = result.as_array() else { return malformed("an array of results expected") };
        let (mut hard, mut soft, mut unlocked, mut aborted) = (None, false, false, false);
        for result in results {
            match (result, result.get("error")) {
                // Not attempted, because an operation before it failed.
                (Json::Null, _) => soft = true,
                (_, Some(Json::String(tag))) => match tag.as_str() {
                    "timed out" => soft = true,
                    "not owner" => unlocked = true,
                    "aborted" => aborted = true,
                    tag => {
                        let details = result.get("details").and_then(Json::as_str).unwrap_or_default();
                        hard = hard.or_else(|| Some(error(tag, details.to_owned())));
                    }
                },
                (Json::Object(_), None) => {}
                _ => return malformed("results are objects"),
            }
        }
        let status = match (hard, unlocked, soft, aborted) {
            (Some(error), ..) => error,
            (_, true, ..) => Status::NotLocked,
            (_, _, true, false) => Status::TryAgain,
            (.., true) => Status::Aborted,
            _ => Status::Success,
        };
        if status != Status::Success {
            return Report::of(status);
        }
        let mut report = Report::of(status);
        for (number, stand_in) in &self.inserts {
            let pair = results.get(*number).and_then(|result| result.get("uuid")).and_then(Json::as_array);
            let Some([_, Json::String(text)]) = pair else { return malformed("no UUID for an insert") };
            let Ok(uuid) = uuid_from_text(text) else { return malformed("no UUID for an insert") };
            report.inserted.insert(*stand_in, uuid);
        }
        if let Some((number, column)) = &self.counter {
            let rows = results.get(*number).and_then(|result| result.get("rows")).and_then(Json::as_array);
            report.counter = rows.and_then(|rows| rows.first()?.get(column)?.as_integer());
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::super::Monitor;
    use super::*;
    use crate::json::parse;
    use crate::schema::Schema;

    struct T;

    impl Table for T {
        const NAME: &'static str = "T";
    }

    impl T {
        const N: Column<T, One<i64>> = Column::new("n", 1);
        const M: Column<T, Pairs<str, i64>> = Column::new("m", 0);
        const S: Column<T, Many<Id<T>>> = Column::new("s", 2);
    }

    fn replica() -> Replica {
        let schema = r#"{"name":"D","version":"1.0.0","tables":{"T":{"columns":{"n":{"type":"integer"},
            "s":{"type":{"key":{"type":"uuid","refTable":"T"},"min":0,"max":"unlimited"}},
            "m":{"type":{"key":"string","value":"integer","min":0,"max":"unlimited"}}}}}}"#;
        let mut replica = Replica::new(&Monitor::all(Schema::from_json(&parse(schema.as_bytes()).unwrap()).unwrap()));
        let rows = r#"{"T":{"00000000-0000-0000-0000-000000000001":{"insert":{"n":5}}}}"#;
        replica.apply_updates2(&parse(rows.as_bytes()).unwrap()).unwrap();
        replica
    }

    const ROW: Id<T> = Id::new(Uuid::from_u128(1));

    fn composed(txn: &Transaction) -> Vec<String> {
        txn.compose(&replica(), None)
            .map_or(Vec::new(), |composed| composed.operations.iter().map(Json::to_text).collect())
    }

    #[test]
    fn what_is_so_already_is_left_out() {
        let mut txn = Transaction::new();
        txn.set(ROW, T::N, 5)
            .set(ROW, T::M, [])
            .comment("nothing")
            .increment(ROW, T::N)
            .verify(&replica().row(ROW).unwrap(), T::N);
        assert_eq!(composed(&txn), Vec::<String>::new());
        txn.set(ROW, T::N, 6);
        let this = r#""where":[["_uuid","==",["uuid","00000000-0000-0000-0000-000000000001"]]]"#;
        assert_eq!(
            composed(&txn),
            [
                format!(
                    r#"{{"columns":["n"],"op":"wait","rows":[{{"n":5}}],"table":"T","timeout":0,"until":"==",{this}}}"#
                ),
                format!(r#"{{"op":"update","row":{{"n":6}},"table":"T",{this}}}"#),
                format!(r#"{{"mutations":[["n","+=",1]],"op":"mutate","table":"T",{this}}}"#),
                format!(r#"{{"columns":["n"],"op":"select","table":"T",{this}}}"#),
                r#"{"comment":"nothing","op":"comment"}"#.to_owned(),
            ]
        );
    }

    #[test]
    fn stand_ins_become_names_and_then_rows() {
        let mut txn = Transaction::new();
        let (one, two, gone) = (txn.insert::<T>(), txn.insert::<T>(), txn.insert::<T>());
        txn.set(one, T::S, [two]).add(ROW, T::S, [one]).delete(gone).put(ROW, T::M, "k", 1);
        let composed = txn.compose(&replica(), Some("mine")).unwrap();
        let text = Json::Array(composed.operations.clone()).to_text();
        assert!(text.contains(r#"{"lock":"mine","op":"assert"}"#), "{text}");
        assert!(text.contains(r#"["m","delete","k"],["m","insert",["map",[["k",1]]]]"#), "{text}");
        assert_eq!(text.matches(r#"["named-uuid","row6f76732d646200000000000000000002"]"#).count(), 1, "{text}");
        assert_eq!(text.matches(r#""op":"insert""#).count(), 2);
        let results = composed.operations.iter().map(|op| match op.get("op").and_then(Json::as_str) {
            Some("insert") => r#"{"uuid":["uuid","00000000-0000-0000-0000-000000000009"]}"#,
            _ => "{}",
        });
        let text = format!("[{}]", results.collect::<Vec<_>>().join(","));
        let report = composed.expected.report(&parse(text.as_bytes()).unwrap());
        assert_eq!((report.status.clone(), report.inserted(one)), (Status::Success, Some(Id::new(Uuid::from_u128(9)))));
        assert_eq!(report.inserted(gone), None);
    }

    #[test]
    fn results_become_a_status() {
        let expected = Expected { inserts: Vec::new(), counter: Some((1, "n".into())) };
        let status = |text: &str| expected.report(&parse(text.as_bytes()).unwrap()).status;
        assert_eq!(status("[{},{}]"), Status::Success);
        assert_eq!(status(r#"[{"error":"timed out"},null]"#), Status::TryAgain);
        assert_eq!(status(r#"[{"error":"not owner"},null,null]"#), Status::NotLocked);
        assert_eq!(status(r#"[{},{"error":"aborted"}]"#), Status::Aborted);
        let error =
            |tag: &str, details: &str| Status::Error(TransactionError { tag: tag.into(), details: details.into() });
        let text = r#"[{},null,{"error":"constraint violation","details":"d"}]"#;
        assert_eq!(status(text), error("constraint violation", "d"));
        for text in ["5", "[5]", r#"[{"error":5}]"#] {
            assert!(matches!(status(text), Status::Error(error) if error.tag == "malformed reply"), "{text}");
        }
        assert_eq!(expected.report(&parse(br#"[{"count":1},{"rows":[{"n":7}]}]"#).unwrap()).counter(), Some(7));
    }
}
