//! The client against a stock ovsdb-server: skipped where it is not installed.

#![cfg(feature = "net")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Peer, Server};
use ovs_db::client::{Client, ClientOptions, Commit, Filter, Id, Monitor, Report, Status, Transaction};
use ovs_db::rpc::{Message, ReconnectOptions, SessionOptions};
use ovs_db::vswitch::{self, Bridge, Interface, OpenVSwitch, Port};
use ovs_db::{Datum, Uuid, json::Json};

/// Commits and waits for the report.
fn commit(peer: &mut Peer, txn: &Transaction) -> Report {
    match peer.client().commit(txn) {
        Commit::Done(report) => report,
        Commit::Sent(_) => {
            let mut report = None;
            for _ in 0..1000 {
                peer.until("anything", |_| true);
                report = peer.client().poll_report();
                if report.is_some() {
                    break;
                }
                peer.driver.wait(Duration::ZERO, Duration::from_millis(30)).unwrap();
            }
            report.expect("a report").1
        }
    }
}

/// A root row and a bridge with one port.
fn add_bridge(peer: &mut Peer, name: &str) -> Report {
    let mut txn = Transaction::new();
    let root = peer.client().replica().single::<OpenVSwitch>().map(|row| row.id());
    let root = root.unwrap_or_else(|| txn.insert::<OpenVSwitch>());
    let (bridge, port, interface) = (txn.insert::<Bridge>(), txn.insert::<Port>(), txn.insert::<Interface>());
    txn.add(root, OpenVSwitch::BRIDGES, [bridge]);
    txn.set(bridge, Bridge::NAME, name).set(bridge, Bridge::PORTS, [port]);
    txn.set(port, Port::NAME, name).set(port, Port::INTERFACES, [interface]);
    txn.set(interface, Interface::NAME, name).set(interface, Interface::TYPE, "internal");
    txn.increment(root, OpenVSwitch::NEXT_CFG);
    commit(peer, &txn)
}

fn names(client: &Client) -> Vec<String> {
    let mut names: Vec<String> =
        client.replica().rows::<Bridge>().map(|row| row.get(Bridge::NAME).to_owned()).collect();
    names.sort();
    names
}

fn bridge(client: &Client, name: &str) -> Id<Bridge> {
    client.replica().rows::<Bridge>().find(|row| row.get(Bridge::NAME) == name).expect("the bridge").id()
}

#[test]
fn what_one_client_writes_another_reads() {
    let Some(server) = Server::start() else { return };
    let (mut one, mut two) = (Peer::all(&server), Peer::all(&server));
    let report = add_bridge(&mut one, "br0");
    assert_eq!((report.status.clone(), report.counter()), (Status::Success, Some(1)));
    // The server tells of changes before it answers, so the replica has them.
    assert_eq!(names(one.client()), ["br0"]);
    assert_eq!(report.all_inserted().count(), 4);
    two.until("the bridge is there", |client| names(client) == ["br0"]);
    let client = two.client();
    let row = client.replica().row(bridge(client, "br0")).unwrap();
    let port = client.replica().row(row.get(Bridge::PORTS).iter().next().unwrap()).unwrap();
    assert_eq!((port.get(Port::NAME), port.get(Port::TAG), port.get(Port::TRUNKS).len()), ("br0", None, 0));
    assert_eq!(client.replica().changes().count(), 4);
    client.clear_changes();

    let id = bridge(one.client(), "br0");
    let mut txn = Transaction::new();
    txn.put(id, Bridge::EXTERNAL_IDS, "k", "v").set(id, Bridge::FAIL_MODE, "secure").set(id, Bridge::STP_ENABLE, true);
    assert_eq!(commit(&mut one, &txn).status, Status::Success);
    two.until("changed", |client| client.replica().is_changed());
    let changes: Vec<_> = two.client().replica().changes_of::<Bridge>().collect();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].columns().collect::<Vec<_>>(), ["external_ids", "fail_mode", "stp_enable"]);
    let (old, new) = (changes[0].old.unwrap(), changes[0].new.unwrap());
    assert_eq!((old.get(Bridge::FAIL_MODE), new.get(Bridge::FAIL_MODE)), (None, Some("secure")));
    assert_eq!(new.get(Bridge::EXTERNAL_IDS).get("k"), Some("v"));
    let mut same = Transaction::new();
    same.set(id, Bridge::FAIL_MODE, "secure").set(id, Bridge::EXTERNAL_IDS, [("k", "v")]);
    assert_eq!(commit(&mut one, &same).status, Status::Unchanged);
}

#[test]
fn what_the_server_refuses_and_what_changed_meanwhile() {
    let Some(server) = Server::start() else { return };
    let (mut one, mut two) = (Peer::all(&server), Peer::all(&server));
    add_bridge(&mut one, "br0");
    two.until("the bridge is there", |client| names(client) == ["br0"]);
    let id = bridge(one.client(), "br0");
    let mut txn = Transaction::new();
    txn.set(id, Bridge::FAIL_MODE, "sideways");
    let Status::Error(error) = commit(&mut one, &txn).status else { panic!("an error") };
    assert_eq!(error.tag, "constraint violation", "{error}");
    let mut txn = Transaction::new();
    txn.insert::<Bridge>();
    txn.set(id, Bridge::STP_ENABLE, true).abort();
    assert_eq!(commit(&mut one, &txn).status, Status::Aborted);
    // Two clients that both add to what they read: the one that comes late is told so.
    let mut late = Transaction::new();
    let row = two.client().replica().row(id).unwrap();
    late.verify(&row, Bridge::DATAPATH_TYPE).set(id, Bridge::DATAPATH_TYPE, "b");
    let mut early = Transaction::new();
    early.verify(&row, Bridge::DATAPATH_TYPE).set(id, Bridge::DATAPATH_TYPE, "a");
    assert_eq!(commit(&mut one, &early).status, Status::Success);
    assert_eq!(commit(&mut two, &late).status, Status::TryAgain);
    assert_eq!(two.client().replica().row(id).unwrap().get(Bridge::DATAPATH_TYPE), "a");
    let mut txn = Transaction::new();
    let root = two.client().replica().single::<OpenVSwitch>().unwrap().id();
    txn.remove(root, OpenVSwitch::BRIDGES, [id]);
    assert_eq!(commit(&mut two, &txn).status, Status::Success);
    assert_eq!(two.client().replica().len(), 1, "port and interface went with the bridge");
}

#[test]
fn a_filter_chooses_rows_and_may_change() {
    let Some(server) = Server::start() else { return };
    let mut writer = Peer::all(&server);
    for name in ["br0", "br1", "br2"] {
        add_bridge(&mut writer, name);
    }
    let mut monitor = Monitor::new(vswitch::schema());
    let is = |names: &[&str]| Filter::Any(names.iter().map(|name| Bridge::NAME.is(*name)).collect());
    monitor.watch(Bridge::NAME).filter::<Bridge>(is(&["br1"]));
    let mut peer = server.client(monitor, ClientOptions::default());
    peer.until("following", Client::is_following);
    assert_eq!(names(peer.client()), ["br1"]);
    let seqno = peer.client().set_filter("Bridge", is(&["br2", "br0"]));
    peer.until("the filter is known", |client| client.filters_seqno() == seqno);
    assert_eq!(names(peer.client()), ["br0", "br2"]);
    add_bridge(&mut writer, "br3");
    let seqno = peer.client().set_filter("Bridge", Filter::All);
    peer.until("the filter is known", |client| client.filters_seqno() == seqno);
    assert_eq!(names(peer.client()), ["br0", "br1", "br2", "br3"]);
    let seqno = peer.client().set_filter("Bridge", Filter::None);
    peer.until("the filter is known", |client| client.filters_seqno() == seqno);
    assert!(peer.client().replica().is_empty());
}

#[test]
fn a_lock_has_one_owner() {
    let Some(server) = Server::start() else { return };
    let options = ClientOptions { lock: Some("ovs_vswitchd".into()), ..ClientOptions::default() };
    let peer = || server.client(Monitor::all(vswitch::schema()), options.clone());
    let (mut one, mut two) = (peer(), peer());
    one.until("the lock is there", Client::has_lock);
    two.until("the lock is another's", Client::is_lock_contended);
    assert_eq!(add_bridge(&mut two, "br0").status, Status::NotLocked);
    assert_eq!(add_bridge(&mut one, "br0").status, Status::Success);
    two.client().steal_lock();
    two.until("the lock is there", Client::has_lock);
    // The first has not heard of it yet: the server refuses.
    assert_eq!(add_bridge(&mut one, "br1").status, Status::NotLocked);
    assert!(!one.client().has_lock());
    two.client().set_lock(None);
    two.until("unlocked", |_| true);
    one.until("the lock is back", Client::has_lock);
}

#[test]
fn a_server_that_is_killed_is_found_again() {
    let Some(mut server) = Server::start() else { return };
    let soon = ReconnectOptions { max_backoff: Duration::from_secs(1), ..ReconnectOptions::default() };
    let session = SessionOptions { reconnect: soon, ..SessionOptions::default() };
    let options = ClientOptions { session, ..ClientOptions::default() };
    let mut peer = server.client(Monitor::all(vswitch::schema()), options);
    peer.until("following", Client::is_following);
    add_bridge(&mut peer, "br0");
    let id = bridge(peer.client(), "br0");
    peer.client().clear_changes();
    server.kill();
    peer.until("disconnected", |client| !client.is_connected());
    assert_eq!(names(peer.client()), ["br0"]);
    assert_eq!(add_bridge(&mut peer, "br1").status, Status::TryAgain);
    server.restart();
    let mut other = Peer::all(&server);
    let mut txn = Transaction::new();
    txn.set(id, Bridge::DATAPATH_TYPE, "netdev");
    assert_eq!(commit(&mut other, &txn).status, Status::Success);
    peer.until("following again", |client| {
        client.is_following() && client.replica().row(id).unwrap().get(Bridge::DATAPATH_TYPE) == "netdev"
    });
    let changes: Vec<_> =
        peer.client().replica().changes().map(|change| change.columns().collect::<Vec<_>>()).collect();
    assert_eq!(changes, [["datapath_type"]], "nothing else is told");
    assert_eq!(add_bridge(&mut peer, "br1").status, Status::Success);
}

#[test]
fn an_old_server_s_way_to_monitor_gives_the_same_rows() {
    let Some(server) = Server::start() else { return };
    let mut writer = Peer::all(&server);
    add_bridge(&mut writer, "br0");
    // Stock servers can be told not to know conditional monitors.
    let socket = server.control();
    let mut off = std::process::Command::new("ovs-appctl");
    off.arg("-t").arg(&socket).arg("ovsdb-server/disable-monitor-cond");
    if !off.status().is_ok_and(|status| status.success()) {
        println!("skipped: ovs-appctl is not installed");
        return;
    }
    let mut old = Peer::all(&server);
    writer.until("following again", Client::is_following);
    add_bridge(&mut writer, "br1");
    old.until("both bridges are there", |client| names(client) == ["br0", "br1"]);
    assert_eq!(show(old.client()), show(writer.client()));
}

#[test]
fn a_client_that_reads_late_misses_nothing() {
    let Some(server) = Server::start() else { return };
    let (mut writer, mut late) = (Peer::all(&server), Peer::all(&server));
    add_bridge(&mut writer, "br0");
    let id = bridge(writer.client(), "br0");
    let long = "x".repeat(10_000);
    for n in 0..300 {
        let mut txn = Transaction::new();
        txn.set(id, Bridge::EXTERNAL_IDS, [(format!("{n}").as_str(), long.as_str())]);
        assert_eq!(commit(&mut writer, &txn).status, Status::Success);
    }
    late.until("all was read", |client| show(client) == show(writer.client()));
}

type Rows = BTreeMap<(String, Uuid), BTreeMap<String, Datum>>;

fn differences(one: &Rows, other: &Rows) -> Vec<String> {
    let keys: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differ = keys.into_iter().flat_map(|key| {
        let (one, other) = (one.get(key), other.get(key));
        let columns = one.or(other).into_iter().flat_map(|row| row.keys());
        columns.filter_map(move |name| {
            let cell = |row: Option<&BTreeMap<String, Datum>>| row.and_then(|row| row.get(name)).cloned();
            let (one, other) = (cell(one), cell(other));
            (one != other).then(|| format!("{key:?} {name}: {one:?} {other:?}"))
        })
    });
    differ.collect()
}

/// All that a replica has.
fn show(client: &Client) -> Rows {
    let tables = client.replica();
    let schema = vswitch::schema();
    let rows = schema.tables().keys().flat_map(|table| tables.rows_of(table));
    rows.map(|row| {
        let cells = row.cells().map(|(name, datum)| (name.to_owned(), datum.clone())).collect();
        ((row.table().to_owned(), row.uuid()), cells)
    })
    .collect()
}

/// All that the server has, asked for by plain operations over a connection of its own.
fn ask(server: &Server) -> Rows {
    use std::io::{Read, Write};
    let schema = vswitch::schema();
    let mut params = vec![Json::string(schema.name())];
    for table in schema.tables().keys() {
        params.push(Json::object([
            ("op", Json::string("select")),
            ("table", Json::string(table)),
            ("where", Json::Array(Vec::new())),
        ]));
    }
    let mut socket = std::os::unix::net::UnixStream::connect(server.socket()).unwrap();
    socket.write_all(&Message::Request { method: "transact".into(), params, id: Json::Integer(1) }.encode()).unwrap();
    let mut framer = ovs_db::rpc::Framer::new(Default::default());
    let mut buffer = [0; 65536];
    let reply = loop {
        let count = socket.read(&mut buffer).unwrap();
        if let Some(reply) = framer.next(&mut &buffer[..count]).unwrap() {
            break reply;
        }
    };
    let results = reply.get("result").unwrap().as_array().unwrap();
    let mut all = BTreeMap::new();
    for ((name, table), result) in schema.tables().iter().zip(results) {
        for row in result.get("rows").unwrap().as_array().unwrap() {
            let uuid = row.get("_uuid").unwrap().as_array().unwrap()[1].as_str().unwrap().parse().unwrap();
            let cells = table.columns.iter().map(|(name, column)| {
                (name.clone(), Datum::from_json(&column.ty, row.get(name).unwrap(), &Default::default()).unwrap())
            });
            all.insert((name.clone(), uuid), cells.collect());
        }
    }
    all
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }
}

fn add_port(txn: &mut Transaction, bridge: Id<Bridge>, name: &str) {
    let (port, interface) = (txn.insert::<Port>(), txn.insert::<Interface>());
    txn.set(port, Port::NAME, name).set(port, Port::INTERFACES, [interface]);
    txn.set(interface, Interface::NAME, name).add(bridge, Bridge::PORTS, [port]);
}

#[test]
fn a_replica_is_what_the_server_has_whatever_another_client_does() {
    let Some(server) = Server::start() else { return };
    let (mut writer, mut reader) = (Peer::all(&server), Peer::all(&server));
    let mut dice = Dice(1);
    let mut done = BTreeMap::<String, u32>::new();
    add_bridge(&mut writer, "br");
    for step in 0..150 {
        let client = writer.client();
        let bridges: Vec<Id<Bridge>> = client.replica().rows::<Bridge>().map(|row| row.id()).collect();
        let ports: Vec<Id<Port>> = client.replica().rows::<Port>().map(|row| row.id()).collect();
        let root = client.replica().single::<OpenVSwitch>().unwrap().id();
        let mut txn = Transaction::new();
        for _ in 0..=dice.roll(3) {
            // Which bridge goes, and its ports with it, depends on how the server names rows.
            if ports.is_empty() {
                add_port(&mut txn, bridges[0], &format!("p{step}"));
                break;
            }
            let port = ports[dice.roll(ports.len() as u64) as usize];
            let bridge = bridges[dice.roll(bridges.len() as u64) as usize];
            match dice.roll(9) {
                0 if bridges.len() < 8 => {
                    let (new, name) = (txn.insert::<Bridge>(), format!("br{step}-{}", dice.roll(1000)));
                    txn.set(new, Bridge::NAME, name.as_str()).add(root, OpenVSwitch::BRIDGES, [new]);
                }
                1 if bridges.len() > 1 && bridge != bridges[0] => {
                    txn.remove(root, OpenVSwitch::BRIDGES, [bridge]);
                }
                2 => {
                    let name = format!("p{step}-{}", dice.roll(1000));
                    add_port(&mut txn, bridges[0], &name);
                }
                3 if ports.len() > 1 => {
                    txn.remove(bridge, Bridge::PORTS, [port]);
                }
                4 => {
                    let tag = dice.roll(8000) as i64; // half of them no VLAN
                    txn.set(port, Port::TAG, Some(tag).filter(|tag| *tag > 500));
                }
                5 => {
                    let trunks: Vec<i64> = (0..dice.roll(4)).map(|_| dice.roll(10) as i64).collect();
                    txn.set(port, Port::TRUNKS, trunks);
                }
                6 => {
                    let key = format!("k{}", dice.roll(4));
                    txn.put(bridge, Bridge::EXTERNAL_IDS, &key, &format!("v{}", dice.roll(3)));
                }
                7 => {
                    txn.take(bridge, Bridge::EXTERNAL_IDS, &format!("k{}", dice.roll(4)));
                }
                _ => {
                    let ids = (0..dice.roll(4)).map(|n| (["a", "b", "c", "d"][n as usize], "x")).collect::<Vec<_>>();
                    txn.set(port, Port::OTHER_CONFIG, ids).set(bridge, Bridge::STP_ENABLE, dice.roll(2) == 0);
                }
            }
        }
        let status = commit(&mut writer, &txn).status;
        *done.entry(format!("{status:?}").split('(').next().unwrap().to_owned()).or_default() += 1;
        if step % 10 == 0 {
            let plain = ask(&server);
            assert_eq!(differences(&show(writer.client()), &plain), Vec::<String>::new(), "after {step}");
            reader.until("the same", |client| show(client) == plain);
        }
    }
    println!("{done:?}");
    assert!(done["Success"] > 60 && done["Error"] > 0, "{done:?}");
}
