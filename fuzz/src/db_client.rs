//! The client side of OVSDB and the server side of unixctl: whatever the other end sends.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::Unstructured;
use ovs_db::client::{Client, ClientOptions, Filter, Monitor, Replica};
use ovs_db::rpc::{FrameLimits, SessionOptions};
use ovs_db::unixctl::{self, Reply, ServerLimits};
use ovs_db::{Datum, Schema, Uuid, json};

static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let value = json::parse(crate::db::SCHEMA.as_bytes()).expect("JSON");
    Arc::new(Schema::from_json(&value).expect("a schema"))
});

type Rows = BTreeMap<(String, Uuid), Vec<Datum>>;

fn rows(replica: &Replica) -> Rows {
    let rows = ["Leaf", "Root"].into_iter().flat_map(|table| replica.rows_of(table));
    rows.map(|row| ((row.table().to_string(), row.uuid()), row.cells().map(|(_, datum)| datum.clone()).collect()))
        .collect()
}

/// A server may send anything: a client gives the same rows however it is cut, holds no more than its limits, answers
/// with no more than it got, and knows its rows while it has no connection.
pub fn ovsdb_client(data: &[u8]) {
    const LIMIT: usize = 4096;
    let now = Duration::from_secs(1);
    let run = |step: usize, stream: &[u8]| {
        let frame = FrameLimits { message: LIMIT, depth: 16 };
        let session = SessionOptions { frame, backlog: LIMIT, ..SessionOptions::default() };
        let options = ClientOptions { session, lock: Some("lock".to_string()), ..ClientOptions::default() };
        let remote = "unix:x".parse().expect("a remote");
        let mut client = Client::new(Monitor::all(Arc::clone(&SCHEMA)), vec![remote], options, now);
        client.poll_action(now);
        client.handle_connected(now);
        client.set_filter("Leaf", Filter::None);
        // The longest of our own requests, and no more than a few of them.
        let (own, mut sent) = (16 * LIMIT, 0);
        for piece in stream.chunks(step) {
            client.handle_input(now, piece);
            assert!(client.session().incomplete() <= LIMIT);
            // Each monitor or filter that the server agrees to brings requests of ours.
            sent += client.transmit().len();
            client.transmitted(client.transmit().len());
        }
        assert!(sent <= own + 16 * stream.len(), "{sent} bytes for {}", stream.len());
        let before = rows(client.replica());
        let following = client.is_following();
        client.handle_closed(now, "the end");
        assert_eq!(rows(client.replica()), before);
        let events: Vec<_> = std::iter::from_fn(|| client.poll_event()).collect();
        (before, following, events)
    };
    let mut u = Unstructured::new(data);
    let step = usize::from(u.arbitrary::<u8>().unwrap_or(0)) + 1;
    let stream = u.take_rest();
    assert_eq!(run(step, stream), run(stream.len().max(1), stream));
}

/// Updates, a line each: one that does not fit changes nothing, and what is told to have changed since the last look is
/// what differs. The first letter of a line chooses: `l`, `L` load, `a`, `A` apply, in the old form and the new; `c`
/// looks.
pub fn ovsdb_updates(data: &[u8]) {
    let mut replica = Replica::new(&Monitor::all(Arc::clone(&SCHEMA)));
    let mut looked = rows(&replica);
    for line in data.split(|b| *b == b'\n').take(32) {
        let Some((choice, text)) = line.split_first() else { continue };
        if *choice == b'c' {
            replica.clear_changes();
            looked = rows(&replica);
            continue;
        }
        let Ok(value) = json::parse(text) else { continue };
        let (before, seqno) = (format!("{replica:?}"), replica.seqno());
        let result = match choice {
            b'l' => replica.load_updates(&value),
            b'L' => replica.load_updates2(&value),
            b'a' => replica.apply_updates(&value),
            _ => replica.apply_updates2(&value),
        };
        if result.is_err() {
            assert_eq!(format!("{replica:?}"), before, "an update that does not fit changed something");
        }
        assert!(replica.seqno() - seqno <= 1);
        let now = rows(&replica);
        let mut told = looked.clone();
        for change in replica.changes() {
            let key = |row: ovs_db::client::RowView<'_>| (row.table().to_string(), row.uuid());
            let cells =
                |row: ovs_db::client::RowView<'_>| row.cells().map(|(_, datum)| datum.clone()).collect::<Vec<_>>();
            assert!(change.columns().next().is_some());
            match (change.old, change.new) {
                (None, Some(new)) => assert_eq!(told.insert(key(new), cells(new)), None),
                (Some(old), Some(new)) => assert_eq!(told.insert(key(new), cells(new)), Some(cells(old))),
                (Some(old), None) => assert_eq!(told.remove(&key(old)), Some(cells(old))),
                (None, None) => panic!("a change of nothing"),
            }
        }
        assert_eq!(told, now);
        assert_eq!(replica.len(), now.len());
    }
}

/// A client of unixctl may send anything: the answers are the same however it is cut, a command is handed out one at a
/// time with as many arguments as it takes, and what is held stays within the limits.
pub fn unixctl_server(data: &[u8]) {
    const LIMIT: usize = 512;
    let run = |step: usize, stream: &[u8]| {
        let frame = FrameLimits { message: LIMIT, depth: 8 };
        let mut server =
            unixctl::Server::with_limits("fuzzd 1", ServerLimits { frame, connections: 1, waiting: 64 << 10 });
        server.register("echo", "[WORD]...", 1, 3);
        server.register_hidden("fail", 0, 0);
        let connection = server.open();
        assert!(!server.has_room());
        let mut answers = Vec::new();
        for piece in stream.chunks(step) {
            if !server.wants_input(connection) {
                break;
            }
            server.handle_input(connection, piece);
            loop {
                let call = server.poll();
                assert!(server.poll().is_none(), "a second command under way");
                if let Some(call) = call {
                    let count = call.arguments.len();
                    let (reply, range) = match call.command.as_str() {
                        "echo" => (Reply::Text(call.arguments.join(" ")), 1..=3),
                        "fail" => (Reply::Error("no".to_string()), 0..=0),
                        other => panic!("{other} is not registered"),
                    };
                    assert!(range.contains(&count));
                    server.reply(call.key, reply.clone());
                    server.reply(call.key, reply);
                }
                let answer = server.transmit(connection).to_vec();
                if answer.is_empty() {
                    break;
                }
                json::parse(&answer).expect("one answer at a time");
                answers.push(answer);
                server.transmitted(connection, usize::MAX);
            }
        }
        let over = server.is_over(connection);
        server.close(connection);
        assert!(server.has_room());
        (answers, over)
    };
    let mut u = Unstructured::new(data);
    let step = usize::from(u.arbitrary::<u8>().unwrap_or(0)) + 1;
    let stream = u.take_rest();
    assert_eq!(run(step, stream), run(stream.len().max(1), stream));
}
