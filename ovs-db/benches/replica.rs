//! A replica of 100,000 rows: the reply to a monitor request as it comes in, 25 MB of it, read and applied; the same
//! reply once more, when nothing in it is new; and what a row takes in memory.
//!
//! The peer's figure is what upstream's server takes to write such a reply (1.3 s, 13 us a row): the client's half of
//! the same work has no figure of its own.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ovs_db::client::{Monitor, Replica};
use ovs_db::json::{self, Json};
use ovs_db::rpc::{FrameLimits, Framer, Message};
use ovs_db::vswitch;

const ROWS: usize = 100_000;

/// A reply to `monitor_cond_since` with as many bytes a row as in the peer's bench.
fn reply() -> Vec<u8> {
    let row = |n: usize| {
        format!(
            concat!(
                r#""{:08x}-0000-4000-8000-000000000000":{{"initial":{{"name":"tap{:08x}-52","type":"internal","#,
                r#""ofport":{},"external_ids":["map",[["attached-mac","fa:16:3e:00:00:00"],["iface-id","{:08x}-1234"],"#,
                r#"["iface-status","active"],["vm-uuid","{:08x}"]]],"admin_state":"up"}}}}"#
            ),
            n, n, n, n, n
        )
    };
    let rows: Vec<String> = (0..ROWS).map(row).collect();
    let text = format!(
        r#"{{"id":7,"result":[false,"00000000-0000-4000-8000-000000000001",{{"Interface":{{{}}}}}],"error":null}}"#,
        rows.join(",")
    );
    text.into_bytes()
}

/// As a client reads it: in pieces of 64 KiB.
fn read(reply: &[u8]) -> Json {
    let mut framer = Framer::new(FrameLimits { message: 1 << 30, ..FrameLimits::default() });
    for mut piece in reply.chunks(64 << 10) {
        if let Some(message) = framer.next(&mut piece).expect("JSON") {
            let Ok(Message::Response { result: Json::Array(mut parts), .. }) = Message::from_json(message) else {
                break;
            };
            return parts.pop().unwrap_or_default();
        }
    }
    Json::Null
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

fn bench(c: &mut Criterion) {
    let mut monitor = Monitor::new(vswitch::schema());
    for column in ["name", "type", "ofport", "external_ids", "admin_state"] {
        monitor.watch_named("Interface", column);
    }
    let text = reply();
    println!("{ROWS} rows, {} bytes", text.len());
    let updates = read(&text);
    let before = resident();
    let mut replica = Replica::new(&monitor);
    replica.load_updates2(&updates).expect("updates");
    replica.clear_changes();
    println!("replica/memory: {} bytes resident a row", resident().saturating_sub(before) / ROWS);

    common::measure(c, "replica/parse_100k", ROWS, None, || {
        black_box(json::parse(&text).expect("JSON"));
    });
    common::measure(c, "replica/frame_and_parse_100k", ROWS, None, || {
        black_box(read(&text));
    });
    common::measure(c, "replica/apply_100k", ROWS, None, || {
        let mut replica = Replica::new(&monitor);
        replica.load_updates2(&updates).expect("updates");
        black_box(&replica);
    });
    common::measure(c, "replica/read_and_apply_100k", ROWS, Some(13_000.0), || {
        let mut replica = Replica::new(&monitor);
        replica.load_updates2(&read(&text)).expect("updates");
        black_box(&replica);
    });
    common::measure(c, "replica/apply_100k_again", ROWS, None, || {
        replica.load_updates2(&updates).expect("updates");
        black_box(&replica);
    });
}

fn criterion() -> Criterion {
    common::criterion().measurement_time(Duration::from_secs(3)).sample_size(10)
}

criterion_group! { name = benches; config = criterion(); targets = bench }
criterion_main!(benches);
