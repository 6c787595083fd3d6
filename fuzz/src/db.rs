//! OVSDB: JSON, schemas, streams and messages, transactions.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use arbitrary::Unstructured;
use ovs_db::rpc::{FrameLimits, Framer, Message};
use ovs_db::{Database, Schema, Session, Uuid, json};

/// What is JSON for another parser is JSON for ours; JSON that is read is printed as JSON that is read the same, and printed
/// the same again.
pub fn json_text(data: &[u8]) {
    let parsed = json::parse(data);
    if !matches!(parsed, Err(json::ParseError::TooDeep { .. })) {
        let other = serde_json::from_slice::<serde_json::Value>(data);
        assert_eq!(parsed.is_ok(), other.is_ok(), "{parsed:?}, {other:?}");
    }
    if let Ok(value) = parsed {
        let text = value.to_text();
        let again = json::parse(text.as_bytes()).expect("what we wrote");
        assert_eq!(again, value);
        assert_eq!(again.to_text(), text);
    }
}

/// A schema that is read is printed as one that is read the same.
pub fn ovsdb_schema(data: &[u8]) {
    let Ok(value) = json::parse(data) else { return };
    if let Ok(schema) = Schema::from_json(&value) {
        assert_eq!(Schema::from_json(&schema.to_json()), Ok(schema.clone()));
        let _ = Database::new(schema);
    }
}

/// A stream gives the same messages however it is cut, and holds no more than its limit.
pub fn ovsdb_stream(data: &[u8]) {
    const LIMIT: usize = 256;
    let read = |step: usize, stream: &[u8]| {
        let mut framer = Framer::new(FrameLimits { message: LIMIT, depth: 8 });
        let mut messages = Vec::new();
        for mut piece in stream.chunks(step) {
            loop {
                match framer.next(&mut piece) {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(e) => return (messages, Some(e)),
                }
                assert!(framer.pending() <= LIMIT);
            }
        }
        (messages, None)
    };
    let mut u = Unstructured::new(data);
    let step = usize::from(u.arbitrary::<u8>().unwrap_or(0)) + 1;
    let stream = u.take_rest();
    let (messages, error) = read(stream.len().max(1), stream);
    assert_eq!(read(step, stream), (messages.clone(), error));
    for value in messages {
        if let Ok(message) = Message::from_json(value) {
            let again = json::parse(&message.encode()).expect("what we wrote");
            assert_eq!(Message::from_json(again), Ok(message));
        }
    }
}

/// Roots that refer strongly and weakly to rows that are garbage-collected, with indexes, limits and enumerations.
pub const SCHEMA: &str = r#"{"name":"D","version":"1.0.0","tables":{
  "Root":{"isRoot":true,"maxRows":4,"indexes":[["n"]],"columns":{
    "n":{"type":"integer"},
    "kind":{"type":{"key":{"type":"string","enum":["set",["a","b","c"]]},"min":0}},
    "fixed":{"type":"string","mutable":false},
    "strong":{"type":{"key":{"type":"uuid","refTable":"Leaf"},"min":0,"max":"unlimited"}},
    "weak":{"type":{"key":{"type":"uuid","refTable":"Leaf","refType":"weak"},"min":0,"max":2}},
    "map":{"type":{"key":"string","value":{"type":"real","minReal":-1.5,"maxReal":9},"min":0,"max":3}}}},
  "Leaf":{"columns":{
    "n":{"type":{"key":{"type":"integer","minInteger":0,"maxInteger":9}}},
    "on":{"type":"boolean"},
    "self":{"type":{"key":{"type":"uuid","refTable":"Leaf"},"min":0}}}}}}"#;

static EMPTY: LazyLock<Database> = LazyLock::new(|| {
    Database::new(Schema::from_json(&json::parse(SCHEMA.as_bytes()).expect("JSON")).expect("a schema"))
});

/// Transactions, a line each: one that fails changes nothing, one that succeeds has a result for each operation, the
/// same lines give the same database, and what is left is true to the schema.
pub fn ovsdb_transact(data: &[u8]) {
    let run = || {
        let (mut db, mut next, locks) = (EMPTY.clone(), 0, BTreeSet::from(["mine".to_string()]));
        let mut results = Vec::new();
        for line in data.split(|b| *b == b'\n').take(16) {
            let Ok(value) = json::parse(line) else { continue };
            let Some(operations) = value.as_array() else { continue };
            let before = format!("{db:?}");
            let mut new_uuid = || {
                next += 1;
                Uuid::from_u128(next)
            };
            let mut session = Session { new_uuid: &mut new_uuid, locks: &locks };
            let outcome = db.transact(operations, &mut session);
            if outcome.failure().is_some() {
                assert_eq!(format!("{db:?}"), before, "a failed transaction changed something");
                assert!(outcome.changes().is_empty());
            } else {
                assert_eq!(outcome.results().len(), operations.len());
            }
            results.push(outcome.to_json().to_text());
        }
        assert!(db.rows("Root").count() <= 4);
        let leaves = format!("{:?}", db.rows("Leaf").collect::<Vec<_>>());
        (results, leaves, format!("{db:?}"))
    };
    assert_eq!(run(), run());
}
