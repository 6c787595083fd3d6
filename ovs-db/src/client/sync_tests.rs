//! A client against a server that a test plays, on a virtual clock.

use super::super::{Column, One, Pairs, Table};
use super::*;
use crate::json::parse;
use crate::schema::Schema;
use uuid::Uuid;

const SCHEMA: &str = r#"{"name":"D","version":"1.0.0","tables":{"T":{"columns":{"n":{"type":"integer"},
    "m":{"type":{"key":"string","value":"string","min":0,"max":"unlimited"}}}}}}"#;

enum T {}

impl Table for T {
    const NAME: &'static str = "T";
}

impl T {
    const M: Column<T, Pairs<str, str>> = Column::new("m", 0);
    const N: Column<T, One<i64>> = Column::new("n", 1);
}

struct Play {
    client: Client,
    now: Duration,
}

fn schema() -> Schema {
    Schema::from_json(&parse(SCHEMA.as_bytes()).unwrap()).unwrap()
}

/// JSON with short forms: `#n` for a UUID.
fn json(text: &str) -> Json {
    let mut parts = text.split('#');
    let mut full = parts.next().unwrap().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        full.push_str(&Uuid::from_u128(part[..digits].parse().unwrap()).to_string());
        full.push_str(&part[digits..]);
    }
    parse(full.as_bytes()).unwrap_or_else(|error| panic!("{full}: {error}"))
}

impl Play {
    fn with(options: ClientOptions, remotes: &[&str]) -> Play {
        let remotes = remotes.iter().map(|remote| remote.parse().unwrap()).collect();
        Play { client: Client::new(Monitor::all(schema()), remotes, options, Duration::ZERO), now: Duration::ZERO }
    }

    fn new() -> Play {
        Play::with(ClientOptions::default(), &["unix:a"])
    }

    /// Lets time pass until the client connects.
    fn connect(&mut self) -> Remote {
        loop {
            match self.client.poll_action(self.now) {
                Some(SessionAction::Connect(remote)) => {
                    self.client.handle_connected(self.now);
                    return remote;
                }
                Some(SessionAction::Close) => {}
                None => self.now = self.client.poll_timeout().expect("a deadline"),
            }
        }
    }

    /// The messages that the client sent.
    fn sent(&mut self) -> Vec<Json> {
        let mut framer = crate::rpc::Framer::new(Default::default());
        let bytes = self.client.transmit().to_vec();
        self.client.transmitted(bytes.len());
        let mut input = bytes.as_slice();
        std::iter::from_fn(|| framer.next(&mut input).unwrap()).collect()
    }

    /// The one request that the client sent.
    fn expect(&mut self, method: &str) -> (Json, Json) {
        let mut sent = self.sent();
        sent.retain(|message| message.get("method").and_then(Json::as_str) != Some("set_db_change_aware"));
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!(sent[0].get("method").and_then(Json::as_str), Some(method), "{}", sent[0]);
        (sent[0].get("id").unwrap().clone(), sent[0].get("params").unwrap().clone())
    }

    fn input(&mut self, message: Message) {
        self.client.handle_input(self.now, &message.encode());
    }

    fn reply(&mut self, id: Json, result: &str) {
        self.input(Message::Response { result: json(result), id });
    }

    fn refuse(&mut self, id: Json) {
        self.input(Message::Error { error: Json::string("unknown method"), id });
    }

    fn notify(&mut self, method: &str, params: &str) {
        let Json::Array(params) = json(params) else { panic!("an array") };
        self.input(Message::Notification { method: method.into(), params });
    }

    /// Answers until the client asks for the data; returns that request.
    fn find_database(&mut self, row: &str) {
        let (id, params) = self.expect("get_schema");
        assert_eq!(params.to_text(), r#"["_Server"]"#);
        self.reply(id, &server::monitor().schema().to_json().to_text());
        let (id, _) = self.expect("monitor_cond");
        let schema = Json::string(SCHEMA).to_text();
        self.reply(id, &format!(r##"{{"Database":{{"#1":{{"initial":{{"name":"D","schema":{schema},{row}}}}}}}}}"##));
    }

    /// From a connection to a client that follows; returns the parameters of its request.
    fn follow(&mut self, result: &str) -> String {
        self.find_database(r#""model":"standalone","connected":true"#);
        let (id, params) = self.expect("monitor_cond_since");
        self.reply(id, result);
        assert!(self.client.is_following());
        params.to_text()
    }

    fn rows(&self) -> Vec<(u128, i64)> {
        self.client.replica().rows::<T>().map(|row| (row.uuid().as_u128(), row.get(T::N))).collect()
    }

    fn changed(&mut self) -> Vec<u128> {
        let changes = self.client.replica().changes_of::<T>();
        let changed = changes.map(|change| change.new.or(change.old).unwrap().uuid().as_u128()).collect();
        self.client.clear_changes();
        changed
    }

    fn lose(&mut self) {
        self.client.handle_closed(self.now, "connection closed by peer");
    }
}

const TWO_ROWS: &str = r##"[false,"#100",{"T":{"#1":{"initial":{"n":1}},"#2":{"initial":{"n":2}}}}]"##;

#[test]
fn a_replica_follows_and_comes_back_with_what_it_missed() {
    let mut play = Play::new();
    play.connect();
    let zero = Uuid::nil().to_string();
    let request = play.follow(TWO_ROWS);
    assert_eq!(request, format!(r#"["D",["monid","D"],{{"T":[{{"columns":["m","n"],"where":[true]}}]}},"{zero}"]"#));
    assert_eq!((play.rows(), play.changed()), (vec![(1, 1), (2, 2)], vec![1, 2]));
    play.notify("update3", r##"[["monid","D"],"#101",{"T":{"#2":{"modify":{"n":5}}}}]"##);
    assert_eq!((play.rows(), play.changed()), (vec![(1, 1), (2, 5)], vec![2]));

    play.lose();
    assert!(!play.client.is_following() && play.client.is_loaded());
    // An hour's absence, on the virtual clock: attempts go on, at most every 8 seconds, and the old rows stay.
    let gone = play.now;
    let mut attempts = 0;
    while play.now < gone + Duration::from_secs(3600) {
        match play.client.poll_action(play.now) {
            Some(SessionAction::Connect(_)) => {
                attempts += 1;
                play.client.handle_closed(play.now, "refused");
            }
            _ => play.now = play.client.poll_timeout().unwrap(),
        }
    }
    assert!((440..460).contains(&attempts), "{attempts}");
    assert_eq!((play.rows(), play.changed()), (vec![(1, 1), (2, 5)], vec![]));
    assert!(std::iter::from_fn(|| play.client.poll_event()).count() <= MAX_EVENTS);

    play.connect();
    let request = play.follow(r##"[true,"#102",{"T":{"#1":{"delete":null},"#3":{"insert":{"n":3}}}}]"##);
    assert!(request.ends_with(&format!(r#""{}"]"#, Uuid::from_u128(101))), "{request}");
    assert_eq!((play.rows(), play.changed()), (vec![(2, 5), (3, 3)], vec![1, 3]));
    // A server that does not remember tells everything; what is the same is no change.
    play.lose();
    play.connect();
    play.follow(r##"[false,"#200",{"T":{"#2":{"initial":{"n":5}},"#3":{"initial":{"n":4}},"#4":{"initial":{}}}}]"##);
    assert_eq!((play.rows(), play.changed()), (vec![(2, 5), (3, 4), (4, 0)], vec![3, 4]));
}

#[test]
fn old_servers_are_followed_by_what_they_know() {
    let mut play = Play::new();
    for (known, notification) in [("monitor_cond", "update2"), ("monitor", "update")] {
        play.connect();
        let (id, _) = play.expect("get_schema");
        play.refuse(id);
        let (id, params) = play.expect("get_schema");
        assert_eq!(params.to_text(), r#"["D"]"#);
        // This one is older than the column "m".
        play.reply(id, r#"{"name":"D","version":"0.1.0","tables":{"T":{"columns":{"n":{"type":"integer"}}}}}"#);
        for method in ["monitor_cond_since", "monitor_cond", "monitor"] {
            let (id, params) = play.expect(method);
            if method != known {
                play.refuse(id);
                continue;
            }
            let filter = if known == "monitor" { "" } else { r#","where":[true]"# };
            assert_eq!(params.to_text(), format!(r#"["D",["monid","D"],{{"T":[{{"columns":["n"]{filter}}}]}}]"#));
            let kind = if known == "monitor" { "new" } else { "initial" };
            play.reply(id, &format!(r##"{{"T":{{"#1":{{"{kind}":{{"n":7}}}}}}}}"##));
            break;
        }
        assert_eq!(play.rows(), [(1, 7)]);
        assert_eq!(play.client.missing(), [Missing { table: "T".into(), column: Some("m".into()) }]);
        assert!(play.client.replica().rows::<T>().next().unwrap().get(T::M).is_empty());
        let kind = if known == "monitor" { "new" } else { "modify" };
        play.notify(notification, &format!(r##"[["monid","D"],{{"T":{{"#1":{{"{kind}":{{"n":8}}}}}}}}]"##));
        assert_eq!(play.rows(), [(1, 8)]);
        play.lose();
    }
    // One that refuses a filter is followed without it, and the operator hears of it.
    play.connect();
    let (id, _) = play.expect("get_schema");
    play.refuse(id);
    let (id, _) = play.expect("get_schema");
    play.reply(id, SCHEMA);
    let (id, _) = play.expect("monitor_cond_since");
    while play.client.poll_event().is_some() {}
    play.input(Message::Error { error: json(r#"{"error":"syntax error"}"#), id });
    assert_eq!(
        play.client.poll_event(),
        Some(Event::Problem(r#"monitor_cond_since refused: {"error":"syntax error"}"#.into()))
    );
    play.expect("monitor_cond");
    play.lose();
    // One that cannot be followed at all keeps its connection and says why.
    play.connect();
    let (id, _) = play.expect("get_schema");
    play.refuse(id);
    let (id, _) = play.expect("get_schema");
    while play.client.poll_event().is_some() {}
    play.refuse(id);
    assert_eq!(play.client.poll_event(), Some(Event::Problem(r#"no schema: "unknown method""#.into())));
    assert!(play.client.is_connected() && play.rows() == [(1, 8)]);
}

#[test]
fn an_update_that_does_not_fit_makes_the_client_ask_for_everything() {
    for (method, bad) in [
        ("update3", r##"[["monid","D"],"#101",{"T":{"#9":{"modify":{"n":5}}}}]"##),
        ("update3", r##"[["monid","D"],"#101",{"T":{"#1":{"modify":{"n":"x"}}}}]"##),
        ("update3", r##"[["monid","D"],"#101"]"##),
        ("update2", r##"[["monid","D"],{"T":{"#1":{"modify":{"n":5}}}}]"##),
    ] {
        let mut play = Play::new();
        play.connect();
        play.follow(TWO_ROWS);
        play.notify(method, bad);
        assert!(!play.client.is_connected(), "{bad}");
        assert_eq!(play.client.poll_action(play.now), Some(SessionAction::Close));
        assert_eq!(play.rows(), [(1, 1), (2, 2)]);
        play.connect();
        let request = play.follow(r##"[false,"#100",{"T":{"#2":{"initial":{"n":2}}}}]"##);
        assert!(request.ends_with(&format!(r#""{}"]"#, Uuid::nil())), "{request}");
        assert_eq!(play.rows(), [(2, 2)]);
    }
}

#[test]
fn only_the_leader_will_do_where_that_is_asked() {
    let options = ClientOptions { leader_only: true, ..ClientOptions::default() };
    let mut play = Play::with(options, &["unix:a", "unix:b"]);
    assert_eq!(play.connect().to_string(), "unix:a");
    play.find_database(r#""model":"clustered","connected":true"#);
    assert!(!play.client.is_connected());
    assert_eq!(play.connect().to_string(), "unix:b");
    play.find_database(r#""model":"clustered","connected":true,"leader":true,"index":7"#);
    let (id, _) = play.expect("monitor_cond_since");
    play.reply(id, TWO_ROWS);
    // It stops being the leader.
    play.notify("update2", r##"[["monid","_Server"],{"Database":{"#1":{"modify":{"leader":false}}}}]"##);
    assert!(!play.client.is_connected());
    // And one that has fallen behind what was seen will not do either.
    assert_eq!(play.connect().to_string(), "unix:a");
    play.find_database(r#""model":"clustered","connected":true,"leader":true,"index":6"#);
    assert!(!play.client.is_connected());
    assert_eq!(play.rows(), [(1, 1), (2, 2)]);
}

#[test]
fn a_database_may_appear_change_and_go() {
    let mut play = Play::new();
    play.connect();
    play.find_database(r#""model":"relay""#);
    assert!(!play.client.is_connected());
    play.connect();
    let (id, _) = play.expect("get_schema");
    play.reply(id, &server::monitor().schema().to_json().to_text());
    let (id, _) = play.expect("monitor_cond");
    play.reply(id, "{}");
    assert!(play.client.is_connected() && play.sent().is_empty());
    let schema = Json::string(SCHEMA).to_text();
    let row =
        format!(r##"[["monid","_Server"],{{"Database":{{"#1":{{"insert":{{"name":"D","schema":{schema}}}}}}}}}]"##);
    play.notify("update2", &row);
    let (id, _) = play.expect("monitor_cond_since");
    play.reply(id, TWO_ROWS);
    play.notify("update2", r##"[["monid","_Server"],{"Database":{"#1":{"modify":{"index":7}}}}]"##);
    assert!(play.client.is_following());
    play.notify("update2", r##"[["monid","_Server"],{"Database":{"#1":{"delete":null}}}]"##);
    assert!(!play.client.is_connected());
    play.connect();
    play.follow(TWO_ROWS);
    play.notify("monitor_canceled", r#"[["monid","D"]]"#);
    assert!(!play.client.is_connected());
}

fn set_n(play: &Play, n: i64) -> Transaction {
    let mut txn = Transaction::new();
    for row in play.client.replica().rows::<T>() {
        txn.set(row.id(), T::N, n);
    }
    txn
}

#[test]
fn transactions_have_one_report_each() {
    let options = ClientOptions { max_transactions: 2, ..ClientOptions::default() };
    let mut play = Play::with(options, &["unix:a"]);
    let done = |status| Commit::Done(Report::of(status));
    let mut insert = Transaction::new();
    insert.insert::<T>();
    assert_eq!(play.client.commit(&insert), done(Status::TryAgain));
    play.connect();
    play.follow(TWO_ROWS);
    let mut same = Transaction::new();
    for row in play.client.replica().rows::<T>() {
        same.set(row.id(), T::N, row.get(T::N));
    }
    assert_eq!(play.client.commit(&same), done(Status::Unchanged));

    let Commit::Sent(one) = play.client.commit(&set_n(&play, 9)) else { panic!("sent") };
    let (id, params) = play.expect("transact");
    assert_eq!(params.as_array().unwrap().len(), 3);
    let Commit::Sent(two) = play.client.commit(&insert) else { panic!("sent") };
    assert_eq!(play.client.commit(&insert), done(Status::TryAgain), "no third");
    play.notify("update3", r##"[["monid","D"],"#101",{"T":{"#1":{"modify":{"n":9}},"#2":{"modify":{"n":9}}}}]"##);
    play.reply(id.clone(), r#"[{"count":1},{"count":1}]"#);
    play.reply(id, r#"[{"count":1},{"count":1}]"#); // the second answer to a request is none
    assert_eq!(play.client.poll_report(), Some((one, Report::of(Status::Success))));
    assert_eq!(play.rows(), [(1, 9), (2, 9)]);
    play.lose();
    assert_eq!(play.client.poll_report(), Some((two, Report::of(Status::TryAgain))));
    assert_eq!(play.client.poll_report(), None);

    play.connect();
    play.follow(r##"[true,"#101",{}]"##);
    for (error, status) in [
        (r#""canceled""#, Status::TryAgain),
        (
            r#"{"error":"unknown database","details":"x"}"#,
            Status::Error(TransactionError { tag: "unknown database".into(), details: "x".into() }),
        ),
    ] {
        assert!(matches!(play.client.commit(&set_n(&play, 1)), Commit::Sent(_)));
        let (id, _) = play.expect("transact");
        play.input(Message::Error { error: json(error), id });
        assert_eq!(play.client.poll_report().unwrap().1.status, status);
    }
}

#[test]
fn without_its_lock_a_client_commits_nothing() {
    let options = ClientOptions { lock: Some("L".into()), ..ClientOptions::default() };
    let mut play = Play::with(options, &["unix:a"]);
    play.connect();
    play.follow(TWO_ROWS);
    let (id, params) = play.expect("lock");
    assert_eq!(params.to_text(), r#"["L"]"#);
    play.reply(id, r#"{"locked":false}"#);
    assert!(play.client.is_lock_contended());
    let not_locked = Commit::Done(Report::of(Status::NotLocked));
    assert_eq!(play.client.commit(&set_n(&play, 9)), not_locked);
    play.notify("locked", r#"["other"]"#);
    assert!(!play.client.has_lock());
    play.notify("locked", r#"["L"]"#);
    assert!(play.client.has_lock());
    assert!(matches!(play.client.commit(&set_n(&play, 9)), Commit::Sent(_)));
    let (id, params) = play.expect("transact");
    assert_eq!(params.as_array().unwrap()[1].to_text(), r#"{"lock":"L","op":"assert"}"#);
    play.notify("stolen", r#"["L"]"#);
    play.reply(id, r#"[{"error":"not owner"},null,null]"#);
    assert_eq!(play.client.poll_report().unwrap().1.status, Status::NotLocked);
    play.client.steal_lock();
    let sent = play.sent();
    let methods: Vec<_> = sent.iter().map(|message| message.get("method").unwrap().as_str().unwrap()).collect();
    assert_eq!(methods, ["unlock", "steal"]);
    let id = sent[1].get("id").unwrap().clone();
    play.reply(id, r#"{"locked":true}"#);
    assert!(play.client.has_lock());
    play.client.set_lock(None);
    play.expect("unlock");
    assert!(!play.client.has_lock());
    assert!(matches!(play.client.commit(&set_n(&play, 9)), Commit::Sent(_)));
    let events: Vec<Event> = std::iter::from_fn(|| play.client.poll_event()).collect();
    let locks = events.iter().filter(|event| matches!(event, Event::LockAcquired | Event::LockLost));
    assert_eq!(locks.count(), 4);
}

#[test]
fn filters_change_while_the_client_follows() {
    let mut play = Play::new();
    play.connect();
    play.follow(TWO_ROWS);
    let only = |n: i64| Filter::Any(vec![T::N.is(n)]);
    let first = play.client.set_filter("T", only(1));
    assert_eq!(play.client.set_filter("T", only(1)), first);
    let (id, params) = play.expect("monitor_cond_change");
    assert_eq!(params.to_text(), r#"[["monid","D"],["monid","D"],{"T":[{"where":[["n","==",1]]}]}]"#);
    // Another change waits for the answer to the first.
    let second = play.client.set_filter("T", only(2));
    assert!(play.sent().is_empty() && play.client.filters_seqno() < first);
    play.notify("update3", r##"[["monid","D"],"#101",{"T":{"#2":{"delete":null}}}]"##);
    play.reply(id, "{}");
    assert_eq!((play.client.filters_seqno(), play.rows()), (first, vec![(1, 1)]));
    let (_, params) = play.expect("monitor_cond_change");
    assert!(params.to_text().contains(r#"["n","==",2]"#));
    // The connection goes before the answer: what has come of the change is not known, so everything is asked for.
    play.lose();
    play.connect();
    let request = play.follow(r##"[false,"#103",{"T":{"#2":{"initial":{"n":2}}}}]"##);
    assert!(request.contains(r#""where":[["n","==",2]]"#) && request.ends_with(&format!(r#""{}"]"#, Uuid::nil())));
    assert_eq!((play.client.filters_seqno(), play.rows()), (second, vec![(2, 2)]));
    // A change while there is no connection: what was missed first, by the old filter, then the new one.
    play.lose();
    let third = play.client.set_filter("T", Filter::None);
    play.connect();
    let request = play.follow(r##"[true,"#103",{}]"##);
    assert!(
        request.contains(r#""where":[["n","==",2]]"#) && request.ends_with(&format!(r#""{}"]"#, Uuid::from_u128(103)))
    );
    let (id, params) = play.expect("monitor_cond_change");
    assert!(params.to_text().contains(r#""where":[false]"#));
    play.reply(id, "{}");
    assert_eq!(play.client.filters_seqno(), third);
}

#[test]
fn a_server_with_another_schema_is_asked_for_everything() {
    let mut play = Play::new();
    play.connect();
    play.follow(TWO_ROWS);
    play.lose();
    // It comes back without a column: what it sent of that since is not what is needed now.
    play.connect();
    let (id, _) = play.expect("get_schema");
    play.refuse(id);
    let (id, _) = play.expect("get_schema");
    play.reply(id, r#"{"name":"D","version":"0.1.0","tables":{"T":{"columns":{"n":{"type":"integer"}}}}}"#);
    let (_, params) = play.expect("monitor_cond_since");
    assert!(params.to_text().ends_with(&format!(r#""{}"]"#, Uuid::nil())), "{params}");
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    for garbage in ["hello", "[1]", r#"{"id":1}"#, r#"{"id":1,"result":5,"error":null}"#, r#"{"a":1}"#] {
        let mut play = Play::new();
        play.connect();
        play.follow(TWO_ROWS);
        play.client.handle_input(play.now, garbage.as_bytes());
        assert_eq!(play.rows(), [(1, 1), (2, 2)]);
        play.lose();
        play.connect();
        play.follow(TWO_ROWS);
    }
    // A well-formed message that means nothing here is passed over.
    let mut play = Play::new();
    play.connect();
    play.follow(TWO_ROWS);
    play.notify("update3", r#"[["monid","other"],"x",{}]"#);
    play.notify("whatever", "[]");
    play.input(Message::Request { method: "who".into(), params: Vec::new(), id: Json::Integer(4) });
    assert_eq!(play.sent().len(), 1);
    assert!(play.client.is_following());
}

#[test]
fn a_client_may_live_in_a_thread_of_its_own() {
    fn is_send<S: Send>() {}
    is_send::<Client>();
    is_send::<crate::unixctl::Server>();
    #[cfg(feature = "net")]
    is_send::<super::super::Driver>();
}
