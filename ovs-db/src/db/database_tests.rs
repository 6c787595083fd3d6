//! Stories and models of transactions.

use super::*;
use crate::data::{Atom, RefType};
use crate::db::table::references;
use crate::json::parse;
use proptest::prelude::*;

/// A root table that refers strongly and weakly to a table that is garbage-collected, which refers to a third one.
const SCHEMA: &str = r#"{"name":"D","version":"1.0.0","tables":{
  "Root":{"isRoot":true,"maxRows":4,"indexes":[["n"]],"columns":{
    "n":{"type":"integer"},
    "fixed":{"type":"string","mutable":false},
    "strong":{"type":{"key":{"type":"uuid","refTable":"Leaf"},"min":0,"max":"unlimited"}},
    "weak":{"type":{"key":{"type":"uuid","refTable":"Leaf","refType":"weak"},"min":0,"max":"unlimited"}},
    "pairs":{"type":{"key":{"type":"uuid","refTable":"Leaf","refType":"weak"},
                     "value":{"type":"uuid","refTable":"Deep"},"min":0,"max":"unlimited"}}}},
  "Leaf":{"columns":{
    "n":{"type":"integer"},
    "deep":{"type":{"key":{"type":"uuid","refTable":"Deep"},"min":0}},
    "self":{"type":{"key":{"type":"uuid","refTable":"Leaf"},"min":0}}}},
  "Deep":{"columns":{"n":{"type":{"key":{"type":"integer","maxInteger":9}}}}},
  "Need":{"isRoot":true,"columns":{
    "one":{"type":{"key":{"type":"uuid","refTable":"Leaf","refType":"weak"}}}}}}}"#;

struct Lab {
    db: Database,
    next: u128,
    locks: BTreeSet<String>,
}

impl Lab {
    fn new() -> Lab {
        let schema = Schema::from_json(&parse(SCHEMA.as_bytes()).unwrap()).unwrap();
        Lab { db: Database::new(schema), next: 0, locks: BTreeSet::new() }
    }

    fn run(&mut self, operations: &str) -> Outcome {
        let json = parse(format!("[{operations}]").as_bytes()).unwrap();
        self.transact(json.as_array().unwrap())
    }

    /// Runs a transaction and asserts what holds of every one.
    fn transact(&mut self, operations: &[Json]) -> Outcome {
        let before = self.db.clone();
        let next = &mut self.next;
        let mut new_uuid = || {
            *next += 1;
            Uuid::from_u128(*next)
        };
        let outcome = self.db.transact(operations, &mut Session { new_uuid: &mut new_uuid, locks: &self.locks });
        if outcome.failure().is_some() {
            assert_eq!(format!("{:?}", self.db), format!("{before:?}"), "a failed transaction changed something");
            assert!(outcome.changes().is_empty());
        } else {
            assert_eq!(outcome.results().len(), operations.len());
        }
        check_invariants(&self.db);
        check_changes(&before, &self.db, outcome.changes());
        outcome
    }

    fn json(&mut self, operations: &str) -> String {
        self.run(operations).to_json().to_text()
    }

    fn tag(&mut self, operations: &str) -> Option<&'static str> {
        self.run(operations).failure().map(Failure::tag)
    }

    fn count(&self, table: &str) -> usize {
        self.db.rows(table).count()
    }
}

/// The invariants of [`Database`], computed the slow way.
fn check_invariants(db: &Database) {
    assert!(db.references_are_exact());
    let mut strong: BTreeMap<(String, Uuid), usize> = BTreeMap::new();
    for (name, table) in db.schema().tables() {
        assert!(table.max_rows.is_none_or(|max| db.rows(name).count() as u64 <= max));
        for index in &table.indexes {
            let keys: BTreeSet<_> = db.rows(name).map(|row| Table::index_key(index, row)).collect();
            assert_eq!(keys.len(), db.rows(name).count());
        }
        for row in db.rows(name) {
            for (column, datum) in row.columns() {
                datum.check(&table.columns[column].ty).unwrap();
            }
            references(table, row, |target, uuid, kind| {
                assert!(db.row(target, uuid).is_some(), "dangling {kind:?}");
                if kind == RefType::Strong && (target, uuid) != (name.as_str(), row.uuid()) {
                    *strong.entry((target.to_owned(), uuid)).or_default() += 1;
                }
            });
        }
    }
    for name in db.schema().tables().keys().filter(|name| !db.schema().is_root(name)) {
        for row in db.rows(name) {
            assert!(strong.contains_key(&(name.clone(), row.uuid())), "garbage in {name}");
        }
    }
}

/// Applying the changes to the rows before gives the rows after, and every change is one.
fn check_changes(before: &Database, after: &Database, changes: &[RowChange]) {
    let rows = |db: &Database| -> BTreeMap<(String, Uuid), Arc<Row>> {
        let tables = db.schema().tables().keys();
        tables.flat_map(|name| db.rows(name).map(|row| ((name.clone(), row.uuid()), row.clone()))).collect()
    };
    let mut replayed = rows(before);
    for RowChange { table, uuid, old, new } in changes {
        let id = (table.clone(), *uuid);
        assert_eq!(replayed.get(&id), old.as_ref());
        assert!(old.as_ref().map(|row| row.version()) != new.as_ref().map(|row| row.version()));
        match new {
            Some(row) => replayed.insert(id, row.clone()),
            None => replayed.remove(&id),
        };
    }
    assert_eq!(replayed, rows(after));
}

const ROOT_AND_LEAF: &str = r#"
    {"op":"insert","table":"Root","row":{"n":1,"strong":["named-uuid","leaf"],"weak":["named-uuid","leaf"]}},
    {"op":"insert","table":"Leaf","row":{"n":7,"deep":["named-uuid","deep"]},"uuid-name":"leaf"},
    {"op":"insert","table":"Deep","row":{"n":8},"uuid-name":"deep"}"#;

#[test]
fn operations_answer_in_the_rfc_s_form() {
    let mut lab = Lab::new();
    let uuid = "[\"uuid\",\"00000000-0000-0000-0000-000000000001\"]";
    assert_eq!(lab.json(r#"{"op":"insert","table":"Root","row":{"n":3}}"#), format!(r#"[{{"uuid":{uuid}}}]"#));
    assert_eq!(
        lab.json(r#"{"op":"select","table":"Root","where":[],"columns":["_uuid","n","weak"]}"#),
        format!(r#"[{{"rows":[{{"_uuid":{uuid},"n":3,"weak":["set",[]]}}]}}]"#)
    );
    assert_eq!(lab.json(r#"{"op":"update","table":"Root","where":[["n","<",9]],"row":{"n":4}}"#), r#"[{"count":1}]"#);
    assert_eq!(lab.json(r#"{"op":"delete","table":"Root","where":[["n","==",3]]}"#), r#"[{"count":0}]"#);
    assert_eq!(lab.json(r#"{"op":"comment","comment":"hello"},{"op":"commit","durable":false}"#), "[{},{}]");
    let outcome = lab.run(r#"{"op":"delete","table":"Root","where":[]},{"op":"abort"},{"op":"comment","comment":""}"#);
    assert_eq!(outcome.results()[1], OperationResult::Failed(Failure::Aborted));
    assert!(outcome.to_json().to_text().starts_with(r#"[{"count":1},{"details":"#));
    assert!(outcome.to_json().to_text().ends_with(r#""error":"aborted"},null]"#));
    assert_eq!(lab.count("Root"), 1);
}

#[test]
fn requests_name_the_database() {
    let mut lab = Lab::new();
    let mut new_uuid = Uuid::nil;
    let mut session = Session { new_uuid: &mut new_uuid, locks: &lab.locks };
    let tag = |failure: Failure| failure.tag();
    assert_eq!(lab.db.transact_request(&[Json::string("E")], &mut session).map_err(tag), Err("unknown database"));
    assert_eq!(lab.db.transact_request(&[], &mut session).map_err(tag), Err("syntax error"));
    assert_eq!(lab.db.transact_request(&[Json::string("D")], &mut session).unwrap().to_json().to_text(), "[]");
}

#[test]
fn names_lead_forward_and_back() {
    let mut lab = Lab::new();
    assert_eq!(lab.tag(ROOT_AND_LEAF), None);
    assert_eq!((lab.count("Root"), lab.count("Leaf"), lab.count("Deep")), (1, 1, 1));
    let twice = r#"{"op":"insert","table":"Root","row":{"n":2},"uuid-name":"a"},
                   {"op":"insert","table":"Root","row":{"n":3},"uuid-name":"a"}"#;
    assert_eq!(lab.tag(twice), Some("duplicate uuid-name"));
    let unknown = r#"{"op":"update","table":"Root","where":[],"row":{"strong":["named-uuid","x"]}}"#;
    assert_eq!(lab.tag(unknown), Some("syntax error"));
}

#[test]
fn a_client_may_choose_the_uuid_of_a_row_once() {
    let mut lab = Lab::new();
    let insert = r#"{"op":"insert","table":"Root","row":{},"uuid":"550e8400-e29b-41d4-a716-446655440000"}"#;
    assert!(lab.json(insert).contains("550e8400"));
    assert_eq!(lab.tag(insert), Some("duplicate uuid"));
    assert_eq!(lab.tag(&insert.replace("550e8400", "x")), Some("syntax error"));
}

#[test]
fn garbage_goes_through_every_level() {
    let mut lab = Lab::new();
    lab.run(ROOT_AND_LEAF);
    let outcome = lab.run(r#"{"op":"update","table":"Root","where":[],"row":{"strong":["set",[]]}}"#);
    assert_eq!(outcome.changes().len(), 3);
    assert_eq!((lab.count("Leaf"), lab.count("Deep")), (0, 0));
    // The weak reference went with the leaf.
    let root = lab.db.rows("Root").next().unwrap();
    assert!(root.get("weak").unwrap().is_empty());
    // A row that nothing refers to is garbage as soon as it is inserted.
    assert_eq!(lab.tag(r#"{"op":"insert","table":"Deep","row":{}}"#), None);
    assert_eq!(lab.count("Deep"), 0);
}

#[test]
fn references_to_oneself_keep_nothing_alive() {
    let mut lab = Lab::new();
    let own = r#"{"op":"insert","table":"Leaf","row":{"self":["named-uuid","me"]},"uuid-name":"me"}"#;
    assert_eq!(lab.tag(own), None);
    assert_eq!(lab.count("Leaf"), 0);
    let held = r#"{"op":"insert","table":"Root","row":{"strong":["named-uuid","me"]}}"#;
    assert_eq!(lab.tag(&[held, own].join(",")), None);
    assert_eq!(lab.count("Leaf"), 1);
    assert_eq!(lab.tag(r#"{"op":"delete","table":"Root","where":[]}"#), None);
    assert_eq!(lab.count("Leaf"), 0);
}

#[test]
fn strong_references_must_lead_somewhere() {
    let mut lab = Lab::new();
    lab.run(ROOT_AND_LEAF);
    assert_eq!(lab.tag(r#"{"op":"delete","table":"Leaf","where":[]}"#), Some("referential integrity violation"));
    let outcome = lab.run(
        r#"{"op":"update","table":"Root","where":[],
            "row":{"strong":["uuid","550e8400-e29b-41d4-a716-446655440000"]}}"#,
    );
    let garbage = r#"{"op":"insert","table":"Leaf","row":{"deep":["uuid","550e8400-e29b-41d4-a716-446655440000"]}}"#;
    assert_eq!(lab.tag(garbage), Some("referential integrity violation"));
    // The operation succeeded, the commit did not: one more result than operations.
    assert_eq!(outcome.results().len(), 2);
    assert_eq!(outcome.results()[0], OperationResult::Count(1));
    assert_eq!(outcome.failure().map(Failure::tag), Some("referential integrity violation"));
}

#[test]
fn a_weak_key_takes_the_strong_value_of_its_pair_with_it() {
    let mut lab = Lab::new();
    lab.run(
        r#"{"op":"insert","table":"Root","row":{"n":1,"strong":["named-uuid","leaf"],
                "pairs":["map",[[["named-uuid","leaf"],["named-uuid","deep"]]]]}},
           {"op":"insert","table":"Leaf","row":{},"uuid-name":"leaf"},
           {"op":"insert","table":"Deep","row":{},"uuid-name":"deep"}"#,
    );
    assert_eq!((lab.count("Leaf"), lab.count("Deep")), (1, 1));
    assert_eq!(lab.tag(r#"{"op":"update","table":"Root","where":[],"row":{"strong":["set",[]]}}"#), None);
    assert_eq!((lab.count("Leaf"), lab.count("Deep")), (0, 0));
}

#[test]
fn a_weak_reference_that_a_column_needs_cannot_go() {
    let mut lab = Lab::new();
    lab.run(ROOT_AND_LEAF);
    let leaf = lab.db.rows("Leaf").next().unwrap().uuid();
    let need = format!(r#"{{"op":"insert","table":"Need","row":{{"one":["uuid","{leaf}"]}}}}"#);
    assert_eq!(lab.tag(&need), None);
    let drop_leaf = r#"{"op":"update","table":"Root","where":[],"row":{"strong":["set",[]]}}"#;
    assert_eq!(lab.tag(drop_leaf), Some("constraint violation"));
    assert_eq!(lab.tag(r#"{"op":"insert","table":"Need","row":{}}"#), Some("constraint violation"));
}

#[test]
fn indexes_and_row_limits_are_checked_at_the_end() {
    let mut lab = Lab::new();
    let insert = |n: i32| format!(r#"{{"op":"insert","table":"Root","row":{{"n":{n}}}}}"#);
    assert_eq!(lab.tag(&[1, 2].map(insert).join(",")), None);
    assert_eq!(lab.tag(&insert(2)), Some("constraint violation"));
    // Swapping two keys goes through a moment in which they are the same.
    let swap = r#"{"op":"mutate","table":"Root","where":[],"mutations":[["n","*=",-1],["n","+=",3]]}"#;
    assert_eq!(lab.tag(swap), None);
    assert_eq!(lab.tag(&[2, 1].map(insert).join(",")), Some("constraint violation"));
    let replace = format!(r#"{{"op":"delete","table":"Root","where":[["n","==",2]]}},{}"#, insert(2));
    assert_eq!(lab.tag(&replace), None);
    assert_eq!(lab.tag(&[3, 4].map(insert).join(",")), None);
    assert_eq!(lab.tag(&insert(5)), Some("constraint violation"));
    assert_eq!(lab.count("Root"), 4);
}

#[test]
fn what_the_engine_does_not_do_it_refuses() {
    let mut lab = Lab::new();
    lab.run(r#"{"op":"insert","table":"Root","row":{"n":1}}"#);
    let wait = |timeout: &str, until: &str, n: i32| {
        format!(
            r#"{{"op":"wait",{timeout}"table":"Root","where":[],"columns":["n"],"until":"{until}","rows":[{{"n":{n}}}]}}"#
        )
    };
    for (operations, tag) in [
        (wait("\"timeout\":0,", "==", 1), None),
        (wait("\"timeout\":0,", "!=", 2), None),
        (wait("\"timeout\":0,", "==", 2), Some("timed out")),
        (wait("\"timeout\":0,", "!=", 1), Some("timed out")),
        (wait("\"timeout\":5,", "==", 1), Some("not supported")),
        (wait("", "==", 1), Some("not supported")),
        (r#"{"op":"commit","durable":true}"#.into(), Some("not supported")),
        (r#"{"op":"assert","lock":"mine"}"#.into(), None),
        (r#"{"op":"assert","lock":"yours"}"#.into(), Some("not owner")),
        (r#"{"op":"explode"}"#.into(), Some("syntax error")),
        (r#"{"op":"abort","why":"x"}"#.into(), Some("syntax error")),
        (r#"{"op":"insert","table":"Root"}"#.into(), Some("syntax error")),
        (r#"{"op":"insert","table":"None","row":{}}"#.into(), Some("syntax error")),
        (r#"{"op":"insert","table":"Root","row":{"x":1}}"#.into(), Some("unknown column")),
        (
            r#"{"op":"insert","table":"Root","row":{"_uuid":["uuid","550e8400-e29b-41d4-a716-446655440000"]}}"#.into(),
            Some("constraint violation"),
        ),
        (r#"{"op":"insert","table":"Deep","row":{"n":10}}"#.into(), Some("constraint violation")),
        (r#"{"op":"update","table":"Root","where":[],"row":{"fixed":"x"}}"#.into(), Some("constraint violation")),
        (r#"{"op":"select","table":"Root","where":[],"columns":["x"]}"#.into(), Some("unknown column")),
        ("5".into(), Some("syntax error")),
    ] {
        lab.locks = ["mine".to_owned()].into();
        assert_eq!(lab.tag(&operations), tag, "{operations}");
    }
}

#[test]
fn errors_name_table_and_column() {
    let mut lab = Lab::new();
    let outcome = lab.run(r#"{"op":"insert","table":"Deep","row":{"n":10}}"#);
    let details = outcome.failure().unwrap().to_string();
    assert_eq!(details, r#"table "Deep": column "n": the value is above the maximum"#);
}

#[test]
fn results_and_operations_are_limited() {
    let schema = Schema::from_json(&parse(SCHEMA.as_bytes()).unwrap()).unwrap();
    let mut lab = Lab::new();
    lab.db = Database::with_limits(schema, Limits { operations: 3, result_rows: 1 });
    let select = r#"{"op":"select","table":"Root","where":[]}"#;
    let insert = r#"{"op":"insert","table":"Root","row":{}}"#;
    assert_eq!(lab.tag(&[insert, select].join(",")), None);
    assert_eq!(lab.tag(&[select, select].join(",")), Some("resources exhausted"));
    assert_eq!(lab.tag(&["5"; 4].join(",")), Some("resources exhausted"));
}

#[test]
fn a_row_that_stays_the_same_keeps_its_version() {
    let mut lab = Lab::new();
    lab.run(r#"{"op":"insert","table":"Root","row":{"n":1}}"#);
    let outcome = lab.run(r#"{"op":"update","table":"Root","where":[],"row":{"n":1}}"#);
    assert!(outcome.changes().is_empty());
    let outcome = lab.run(r#"{"op":"mutate","table":"Root","where":[],"mutations":[["n","+=",1]]}"#);
    assert_eq!(outcome.changes().len(), 1);
}

#[test]
fn a_chain_of_garbage_does_not_recurse() {
    let schema = r#"{"name":"D","version":"1.0.0","tables":{
        "Head":{"isRoot":true,"columns":{"next":{"type":{"key":{"type":"uuid","refTable":"Node"},"min":0}}}},
        "Node":{"columns":{"next":{"type":{"key":{"type":"uuid","refTable":"Node"},"min":0}}}}}}"#;
    let mut db = Database::new(Schema::from_json(&parse(schema.as_bytes()).unwrap()).unwrap());
    let mut next = 0;
    let mut new_uuid = || {
        next += 1;
        Uuid::from_u128(next)
    };
    let mut session = Session { new_uuid: &mut new_uuid, locks: &BTreeSet::new() };
    let last = 20_000;
    let mut text = r#"[{"op":"insert","table":"Head","row":{"next":["named-uuid","r0"]}}"#.to_owned();
    for at in 0..=last {
        let row = if at == last { "{}".to_owned() } else { format!(r#"{{"next":["named-uuid","r{}"]}}"#, at + 1) };
        text += &format!(r#",{{"op":"insert","table":"Node","row":{row},"uuid-name":"r{at}"}}"#);
    }
    text.push(']');
    let outcome = db.transact(parse(text.as_bytes()).unwrap().as_array().unwrap(), &mut session);
    assert_eq!(outcome.failure(), None);
    let delete = parse(br#"[{"op":"delete","table":"Head","where":[]}]"#).unwrap();
    let outcome = db.transact(delete.as_array().unwrap(), &mut session);
    assert_eq!(outcome.changes().len(), last + 2);
    assert_eq!(db.rows("Node").count(), 0);
}

/// An operation on the model below.
#[derive(Debug, Clone)]
enum Step {
    Insert(i64),
    Delete(i64),
    Move(i64, i64),
    Add(i64),
    Abort,
}

fn any_step() -> impl Strategy<Value = Step> {
    let small = || -3i64..4;
    prop_oneof![
        4 => small().prop_map(Step::Insert),
        2 => small().prop_map(Step::Delete),
        2 => (small(), small()).prop_map(|(from, to)| Step::Move(from, to)),
        1 => small().prop_map(Step::Add),
        1 => Just(Step::Abort),
    ]
}

/// A random operation on the references of [`SCHEMA`], as JSON. Rows are named by small numbers.
fn any_reference_step() -> impl Strategy<Value = String> {
    let uuid = |n: u8| format!(r#"["uuid","00000000-0000-0000-0000-{n:012}"]"#);
    let set = move |some: Vec<u8>| {
        let some: BTreeSet<u8> = some.into_iter().collect();
        format!(r#"["set",[{}]]"#, some.into_iter().map(uuid).collect::<Vec<_>>().join(","))
    };
    let some = || prop::collection::vec(1u8..6, 0..3);
    let table = || prop::sample::select(vec!["Root", "Leaf", "Deep"]);
    prop_oneof![
        (table(), 1u8..6, 0i64..9).prop_map(|(table, n, value)| format!(
            r#"{{"op":"insert","table":"{table}","row":{{"n":{value}}},"uuid":"00000000-0000-0000-0000-{n:012}"}}"#
        )),
        (some(), 0i64..9).prop_map(move |(some, value)| format!(
            r#"{{"op":"insert","table":"Root","row":{{"n":{value},"strong":{}}}}}"#,
            set(some)
        )),
        (some(), some(), 0i64..9).prop_map(move |(strong, weak, n)| format!(
            r#"{{"op":"update","table":"Root","where":[["n","<",{n}]],"row":{{"strong":{},"weak":{}}}}}"#,
            set(strong),
            set(weak)
        )),
        (1u8..6, 1u8..6).prop_map(move |(leaf, deep)| format!(
            r#"{{"op":"mutate","table":"Root","where":[],"mutations":[["pairs","insert",["map",[[{},{}]]]]]}}"#,
            uuid(leaf),
            uuid(deep)
        )),
        (prop::sample::select(vec!["deep", "self"]), 1u8..6, 0i64..9).prop_map(move |(column, n, bound)| format!(
            r#"{{"op":"update","table":"Leaf","where":[["n",">=",{bound}]],"row":{{"{column}":{}}}}}"#,
            uuid(n)
        )),
        (table(), 0i64..9)
            .prop_map(|(table, n)| format!(r#"{{"op":"delete","table":"{table}","where":[["n","==",{n}]]}}"#)),
    ]
}

proptest! {
    /// A table of distinct numbers, at most four of them, against a set of numbers.
    #[test]
    fn transactions_on_a_table_agree_with_a_set(
        transactions in prop::collection::vec(prop::collection::vec(any_step(), 0..5), 0..12),
    ) {
        let mut lab = Lab::new();
        let mut model: Vec<i64> = Vec::new();
        for steps in transactions {
            let mut after = Some(model.clone());
            let mut operations = Vec::new();
            for step in &steps {
                let rows = |n: &i64| format!(r#""table":"Root","where":[["n","==",{n}]]"#);
                operations.push(match step {
                    Step::Insert(n) => format!(r#"{{"op":"insert","table":"Root","row":{{"n":{n}}}}}"#),
                    Step::Delete(n) => format!(r#"{{"op":"delete",{}}}"#, rows(n)),
                    Step::Move(from, to) => format!(r#"{{"op":"update",{},"row":{{"n":{to}}}}}"#, rows(from)),
                    Step::Add(n) => format!(
                        r#"{{"op":"mutate","table":"Root","where":[],"mutations":[["n","+=",{n}]]}}"#
                    ),
                    Step::Abort => r#"{"op":"abort"}"#.to_owned(),
                });
                if let Some(rows) = &mut after {
                    match step {
                        Step::Insert(n) => rows.push(*n),
                        Step::Delete(n) => rows.retain(|row| row != n),
                        Step::Move(from, to) => rows.iter_mut().filter(|row| *row == from).for_each(|row| *row = *to),
                        Step::Add(n) => rows.iter_mut().for_each(|row| *row += n),
                        Step::Abort => after = None,
                    }
                }
            }
            let after = after.filter(|rows| rows.len() <= 4 && rows.iter().collect::<BTreeSet<_>>().len() == rows.len());
            let outcome = lab.run(&operations.join(","));
            prop_assert_eq!(outcome.failure().is_none(), after.is_some(), "{:?}", steps);
            model = after.unwrap_or(model);
            let numbers: BTreeSet<_> = lab.db.rows("Root").map(|row| row.get("n").unwrap().clone()).collect();
            prop_assert_eq!(numbers, model.iter().map(|n| Atom::Integer(*n).into()).collect());
        }
    }

    /// Whatever is done to references, the invariants hold: `Lab::transact` computes them the slow way.
    #[test]
    fn references_stay_whole(
        transactions in prop::collection::vec(prop::collection::vec(any_reference_step(), 1..6), 0..20),
    ) {
        let mut lab = Lab::new();
        lab.next = 1 << 64;
        for operations in transactions {
            lab.run(&operations.join(","));
        }
    }

    #[test]
    fn any_json_is_answered(operations in prop::collection::vec(crate::json::tests::any_json(), 0..4)) {
        Lab::new().transact(&operations);
    }
}
