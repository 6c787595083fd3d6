//! The client: from a connection to a replica that follows the server (RFC 7047 section 4; ovsdb-server(7) section 4).
//!
//! # What happens
//!
//! A connection goes through these phases; where the server knows less, there are fewer.
//!
//! ```text
//!   get_schema _Server ──error──────────────► get_schema DATABASE ─┐
//!          │ schema                                                │
//!   monitor_cond _Server ──► judge: fit? ──no──► close, next one   │
//!                               │ yes                              │
//!                               ▼                                  ▼
//!       monitor_cond_since ──error──► monitor_cond ──error──► monitor ──error──► failed
//!               │                          │                     │
//!               └───────────► following: update3, update2, update
//! ```
//!
//! With `monitor_cond_since` a client that comes back is told what changed meanwhile; otherwise it is told everything and
//! works out the difference. When an update does not fit the replica, the client connects anew and asks for everything.
//!
//! # Invariants
//!
//! - The replica has what the server had at some time: since the last update while following, since the loss otherwise.
//! - Every transaction that was sent gets exactly one report, at the latest when the connection ends.
//! - Requests under way, reports and events that nobody took are bounded in number.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::event::{ClientOptions, Commit, Event, TransactionId};
use super::filter::Filter;
use super::method::Method;
use super::monitor::{Missing, Monitor};
use super::replica::Replica;
use super::server::{self, SERVER_DATABASE, Verdict, Wanted};
use super::transaction::{Expected, Report, Status, Transaction, TransactionError};
use crate::json::{self, Json};
use crate::rpc::{Message, ReconnectOptions, Remote, Session, SessionAction};
use crate::schema::Schema;

/// Events beyond this many that nobody took: the oldest go.
const MAX_EVENTS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Disconnected,
    /// Waits for the server to tell of itself, or for a schema.
    Asking,
    /// The server does not have the database, but may later.
    Waiting,
    /// Waits for all of the database.
    Loading(Method),
    Following(Method),
    /// The server cannot be followed. The connection stays, so that a change of it is seen.
    Failed,
}

/// What a request under way is for.
#[derive(Debug)]
enum Pending {
    ServerSchema,
    ServerMonitor,
    Schema,
    Monitor(Method),
    Filters(BTreeMap<String, Filter>, u64),
    Lock(String),
    Transaction(Expected),
    /// The answer does not matter.
    Unheeded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockState {
    None,
    Requested,
    Contended,
    Owned,
}

/// A client of a database server: see [`client`](super) for an example.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    monitor: Monitor,
    session: Session,
    phase: Phase,
    databases: Replica,
    replica: Replica,
    loaded: bool,
    /// The text of the schema that the server told, and what it has not of what is wanted.
    schema: Option<String>,
    missing: Vec<Missing>,
    /// What was asked for when the replica was loaded: if it is the same, `last_transaction` may be used.
    requested: Option<Json>,
    last_transaction: Option<String>,
    min_index: i64,
    /// The filters that the replica is true to, and the number of the latest change that they have.
    filters: BTreeMap<String, Filter>,
    filters_seqno: u64,
    wanted_filters_seqno: u64,
    lock: LockState,
    next_id: i64,
    pending: BTreeMap<i64, Pending>,
    transactions: usize,
    reports: VecDeque<(TransactionId, Report)>,
    events: VecDeque<Event>,
}

impl Client {
    /// A client that follows what `monitor` names of the database of its schema, at the first of `remotes` that serves it.
    pub fn new(monitor: Monitor, remotes: Vec<Remote>, options: ClientOptions, now: Duration) -> Client {
        Client {
            session: Session::new(remotes, options.session, now),
            options,
            phase: Phase::Disconnected,
            databases: Replica::new(&server::monitor()),
            replica: Replica::new(&monitor),
            loaded: false,
            schema: None,
            missing: Vec::new(),
            requested: None,
            last_transaction: None,
            min_index: i64::MIN,
            filters: BTreeMap::new(),
            filters_seqno: 0,
            wanted_filters_seqno: 0,
            lock: LockState::None,
            next_id: 0,
            pending: BTreeMap::new(),
            transactions: 0,
            reports: VecDeque::new(),
            events: VecDeque::new(),
            monitor,
        }
    }

    // What there is.

    /// The copy of the database: as it is while the client follows, as it was last otherwise.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Begins to remember changes of the replica anew.
    pub fn clear_changes(&mut self) {
        self.replica.clear_changes();
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.session.is_connected()
    }

    /// Whether the replica follows the server.
    pub fn is_following(&self) -> bool {
        matches!(self.phase, Phase::Following(_))
    }

    /// Whether the replica was ever loaded. Until then it is empty and says nothing.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// The tables and columns that the server does not have: they read as their defaults.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// The session: its remote, its state, its last error.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whether the client owns its lock.
    pub fn has_lock(&self) -> bool {
        self.lock == LockState::Owned
    }

    /// Whether another client owns the lock.
    pub fn is_lock_contended(&self) -> bool {
        self.lock == LockState::Contended
    }

    /// The number of the latest change of filters that the replica is true to: see [`Client::set_filter`].
    pub fn filters_seqno(&self) -> u64 {
        self.filters_seqno
    }

    /// The next thing to tell an operator.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next report of a transaction that was sent.
    pub fn poll_report(&mut self) -> Option<(TransactionId, Report)> {
        self.reports.pop_front()
    }

    // What to do.

    /// Sends a transaction.
    ///
    /// Without a connection that follows, without room for one more transaction, and without the lock that
    /// [`ClientOptions::lock`] names, nothing is sent and the report says so.
    pub fn commit(&mut self, transaction: &Transaction) -> Commit {
        let done = |status| Commit::Done(Report::of(status));
        let lock = self.options.lock.as_deref();
        if lock.is_some() && !self.has_lock() {
            return done(Status::NotLocked);
        }
        let Some(composed) = transaction.compose(&self.replica, lock) else { return done(Status::Unchanged) };
        let open = self.transactions.saturating_add(self.reports.len());
        if !self.is_following() || open >= self.options.max_transactions {
            return done(Status::TryAgain);
        }
        let mut params = vec![Json::string(self.monitor.schema().name())];
        params.extend(composed.operations);
        match self.request("transact", params, Pending::Transaction(composed.expected)) {
            Some(id) => {
                self.transactions = self.transactions.saturating_add(1);
                Commit::Sent(TransactionId(id))
            }
            None => done(Status::TryAgain),
        }
    }

    /// Wants other rows of a table from now on. Returns the number that [`Client::filters_seqno`] will have reached when
    /// the replica has the rows that match and no others.
    pub fn set_filter(&mut self, table: &str, filter: Filter) -> u64 {
        if self.monitor.filters().get(table).is_some_and(|old| *old != filter) {
            self.monitor.set_filter(table, filter);
            self.wanted_filters_seqno = self.wanted_filters_seqno.saturating_add(1);
            self.send_filters();
        }
        self.wanted_filters_seqno
    }

    /// Wants another lock, or none.
    pub fn set_lock(&mut self, lock: Option<String>) {
        if lock == self.options.lock {
            return;
        }
        if let Some(old) = std::mem::replace(&mut self.options.lock, lock)
            && self.lock != LockState::None
        {
            self.request("unlock", vec![Json::String(old)], Pending::Unheeded);
        }
        self.set_lock_state(LockState::None);
        if self.is_following() {
            self.send_lock("lock");
        }
    }

    /// Takes the lock away from whoever owns it.
    pub fn steal_lock(&mut self) {
        if !self.is_following() {
            return;
        }
        // A lock that was asked for must be given up before it can be asked for in another way.
        if let Some(lock) = self.options.lock.clone().filter(|_| self.lock != LockState::None) {
            self.request("unlock", vec![Json::String(lock)], Pending::Unheeded);
            self.set_lock_state(LockState::None);
        }
        self.send_lock("steal");
    }

    /// Changes the remotes. A connection to one of them stays.
    pub fn set_remotes(&mut self, remotes: Vec<Remote>, now: Duration) {
        self.session.set_remotes(remotes, now);
        self.notice_end();
    }

    /// Changes probing and pauses.
    pub fn set_reconnect_options(&mut self, options: ReconnectOptions) {
        self.session.set_reconnect_options(options);
    }

    /// Takes servers of a cluster whose data are older than what was seen, as after a backup was restored.
    pub fn reset_min_index(&mut self) {
        self.min_index = i64::MIN;
    }

    /// Ends the connection that there is, to make another.
    pub fn reconnect(&mut self, now: Duration) {
        self.close(now, "reconnecting on request");
    }

    // The connection.

    /// What is to be done to the connection; call it until there is nothing. See [`Session::poll_action`].
    pub fn poll_action(&mut self, now: Duration) -> Option<SessionAction> {
        let action = self.session.poll_action(now);
        self.notice_end();
        action
    }

    /// Whether the connection that there is is to be closed. See [`Session::take_close`].
    pub fn take_close(&mut self) -> bool {
        self.session.take_close()
    }

    /// When [`Client::poll_action`] is to be called, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.session.poll_timeout()
    }

    /// The connection that was asked for is there.
    pub fn handle_connected(&mut self, now: Duration) {
        self.session.handle_connected(now);
        if let Some(remote) = self.session.remote().cloned() {
            self.event(Event::Connected(remote));
        }
        self.phase = Phase::Asking;
        self.databases = Replica::new(&server::monitor());
        self.request("get_schema", vec![Json::string(SERVER_DATABASE)], Pending::ServerSchema);
    }

    /// The connection was closed by the peer, or the attempt failed, for the reason given.
    pub fn handle_closed(&mut self, now: Duration, reason: &str) {
        self.session.handle_closed(now, reason);
        self.end(reason.to_owned());
    }

    /// Whether the connection is to be read from.
    pub fn wants_input(&self) -> bool {
        self.session.wants_input()
    }

    /// Bytes came in.
    pub fn handle_input(&mut self, now: Duration, mut input: &[u8]) {
        while let Some(message) = self.session.receive(now, &mut input) {
            self.handle_message(now, message);
        }
        self.notice_end();
    }

    /// The bytes to send next.
    pub fn transmit(&self) -> &[u8] {
        self.session.transmit()
    }

    /// Takes note that the first `count` bytes of [`Client::transmit`] are sent.
    pub fn transmitted(&mut self, count: usize) {
        self.session.transmitted(count);
    }

    fn close(&mut self, now: Duration, reason: &str) {
        self.session.close(now, reason);
        self.notice_end();
    }

    /// Sees whether the session ended by itself.
    fn notice_end(&mut self) {
        if !self.session.is_connected() && self.phase != Phase::Disconnected {
            let reason = self.session.last_error().unwrap_or_default().to_owned();
            self.end(reason);
        }
    }

    fn end(&mut self, reason: String) {
        self.phase = Phase::Disconnected;
        self.set_lock_state(LockState::None);
        for (id, pending) in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Transaction(_) => self.report(id, Report::of(Status::TryAgain)),
                // Rows may have come and gone for the new filters already: the replica is not true to the old ones.
                Pending::Filters(..) => self.last_transaction = None,
                _ => {}
            }
        }
        self.event(Event::Disconnected { remote: self.session.remote().cloned(), reason });
    }

    // Messages.

    fn request(&mut self, method: &str, params: Vec<Json>, pending: Pending) -> Option<i64> {
        self.next_id = self.next_id.wrapping_add(1);
        let (id, method) = (self.next_id, method.to_owned());
        self.session.send(&Message::Request { method, params, id: Json::Integer(id) }).ok()?;
        self.pending.insert(id, pending);
        Some(id)
    }

    fn handle_message(&mut self, now: Duration, message: Message) {
        match message {
            Message::Response { result, id } => {
                if let Some((id, pending)) = self.take_pending(&id) {
                    self.handle_result(now, id, pending, result);
                }
            }
            Message::Error { error, id } => {
                if let Some((id, pending)) = self.take_pending(&id) {
                    self.handle_error(now, id, pending, &error);
                }
            }
            Message::Notification { method, params } => self.handle_notification(now, &method, &params),
            Message::Request { method, id, .. } => {
                self.event(Event::Problem(format!("the server asked for {method:?}, which a client does not do")));
                // Not sent when the server takes no data: then it does not wait for this either.
                let _ = self.session.send(&Message::Error { error: Json::string("unknown method"), id });
            }
        }
    }

    fn take_pending(&mut self, id: &Json) -> Option<(i64, Pending)> {
        let id = id.as_integer()?;
        self.pending.remove(&id).map(|pending| (id, pending))
    }

    fn handle_result(&mut self, now: Duration, id: i64, pending: Pending, result: Json) {
        match pending {
            Pending::ServerSchema => self.monitor_server(&result),
            Pending::ServerMonitor => match self.databases.load_updates2(&result) {
                Ok(()) => self.judge_server(now),
                Err(error) => self.close(now, &error.to_string()),
            },
            Pending::Schema => self.load(now, &result),
            Pending::Monitor(method) => self.handle_loaded(now, method, &result),
            Pending::Filters(filters, seqno) => {
                (self.filters, self.filters_seqno) = (filters, seqno);
                self.send_filters();
            }
            Pending::Lock(name) if self.options.lock.as_deref() == Some(&*name) => {
                let locked = result.get("locked").and_then(Json::as_bool) == Some(true);
                self.set_lock_state(if locked { LockState::Owned } else { LockState::Contended });
            }
            Pending::Transaction(expected) => self.report(id, expected.report(&result)),
            Pending::Lock(_) | Pending::Unheeded => {}
        }
    }

    fn handle_error(&mut self, now: Duration, id: i64, pending: Pending, error: &Json) {
        let problem = |what: &str| Event::Problem(format!("{what}: {error}"));
        match pending {
            // An old server does not tell of itself.
            Pending::ServerSchema | Pending::ServerMonitor => {
                let name = Json::string(self.monitor.schema().name());
                self.request("get_schema", vec![name], Pending::Schema);
            }
            Pending::Schema => {
                self.phase = Phase::Failed;
                self.event(problem("no schema"));
            }
            Pending::Monitor(method) => {
                // A server that knows the method and refuses has another reason, which the next one may hide.
                if error.as_str() != Some("unknown method") || method.older().is_none() {
                    self.event(problem(&format!("{} refused", method.request())));
                }
                match method.older() {
                    Some(older) => self.send_monitor(now, older),
                    None => self.phase = Phase::Failed,
                }
            }
            Pending::Filters(..) => self.event(problem("filters refused")),
            Pending::Lock(_) => self.event(problem("lock refused")),
            Pending::Transaction(_) => {
                let tag = error.as_str().or_else(|| error.get("error").and_then(Json::as_str));
                let status = match tag {
                    // The database was removed or converted meanwhile.
                    Some("canceled") => Status::TryAgain,
                    tag => {
                        let details = error.get("details").and_then(Json::as_str).unwrap_or_default().to_owned();
                        let tag = tag.map_or_else(|| error.to_text(), str::to_owned);
                        Status::Error(TransactionError { tag, details })
                    }
                };
                self.report(id, Report::of(status));
            }
            Pending::Unheeded => {}
        }
    }

    fn handle_notification(&mut self, now: Duration, method: &str, params: &[Json]) {
        match (method, params) {
            ("update2", [id, updates]) if *id == monitor_id(SERVER_DATABASE) => {
                match self.databases.apply_updates2(updates) {
                    Ok(()) => self.judge_server(now),
                    Err(error) => self.close(now, &error.to_string()),
                }
            }
            ("update" | "update2" | "update3", [id, rest @ ..]) if *id == self.monitor_id() => {
                let Phase::Following(following) = self.phase else { return };
                let updates = match (following, rest) {
                    _ if method != following.notification() => None,
                    (Method::MonitorCondSince, [last, updates]) => Some((Some(last), updates)),
                    (Method::Monitor | Method::MonitorCond, [updates]) => Some((None, updates)),
                    _ => None,
                };
                let Some((last, updates)) = updates else {
                    return self.desynchronised(now, &format!("unexpected notification {method:?}"));
                };
                match self.replica.apply(updates, following.form()) {
                    Ok(()) => self.last_transaction = last.and_then(transaction_id),
                    Err(error) => self.desynchronised(now, &error.to_string()),
                }
            }
            ("monitor_canceled", [id]) if *id == self.monitor_id() || *id == monitor_id(SERVER_DATABASE) => {
                self.close(now, "the server canceled the monitor");
            }
            ("locked", [Json::String(name)]) if self.options.lock.as_ref() == Some(name) => {
                self.set_lock_state(LockState::Owned);
            }
            ("stolen", [Json::String(name)]) if self.options.lock.as_ref() == Some(name) => {
                self.set_lock_state(LockState::Contended);
            }
            // Of a lock or monitor that is not wanted any more, or of something newer than this client.
            _ => {}
        }
    }

    /// The replica is not what the server believes it to be: everything is to be asked for again.
    fn desynchronised(&mut self, now: Duration, why: &str) {
        self.last_transaction = None;
        self.event(Event::Problem(why.to_owned()));
        self.close(now, why);
    }

    // Finding the database.

    fn monitor_server(&mut self, schema: &Json) {
        let Ok(schema) = Schema::from_json(schema) else {
            self.phase = Phase::Failed;
            return self.event(Event::Problem("the schema of _Server is malformed".to_owned()));
        };
        // What the server does about a changed database is then to tell, not to close the connection.
        self.request("set_db_change_aware", vec![Json::Bool(true)], Pending::Unheeded);
        let monitor = server::monitor();
        let requests = monitor.requests(&schema, Some(&monitor.filters()));
        let params = vec![Json::string(SERVER_DATABASE), monitor_id(SERVER_DATABASE), requests];
        self.request("monitor_cond", params, Pending::ServerMonitor);
    }

    fn judge_server(&mut self, now: Duration) {
        let wanted = Wanted {
            database: self.monitor.schema().name(),
            cluster: self.options.cluster,
            leader_only: self.options.leader_only,
            min_index: self.min_index,
        };
        match (server::judge(&self.databases, &wanted), self.phase) {
            (Verdict::Good { schema, index }, phase) => {
                self.min_index = index.unwrap_or(self.min_index).max(self.min_index);
                match phase {
                    Phase::Asking | Phase::Waiting => {
                        let json = json::parse(schema.as_bytes());
                        self.schema = Some(schema);
                        self.load(now, &json.unwrap_or_default());
                    }
                    _ if self.schema.as_ref() != Some(&schema) => self.close(now, "the schema of the database changed"),
                    _ => {}
                }
            }
            (Verdict::NotYet(why), Phase::Asking | Phase::Waiting) => {
                self.phase = Phase::Waiting;
                self.event(Event::Problem(why));
            }
            (Verdict::NotYet(why) | Verdict::Unfit(why), _) => self.close(now, &why),
        }
    }

    // Loading and following it.

    fn load(&mut self, now: Duration, schema: &Json) {
        let schema = match Schema::from_json(schema) {
            Ok(schema) => schema,
            Err(error) => {
                self.phase = Phase::Failed;
                return self.event(Event::Problem(format!("malformed schema: {error}")));
            }
        };
        self.missing = self.monitor.missing(&schema);
        if !self.missing.is_empty() {
            self.event(Event::Incomplete(self.missing.clone()));
        }
        let requested = self.monitor.requests(&schema, None);
        if self.requested.as_ref() != Some(&requested) {
            self.last_transaction = None;
        }
        self.requested = Some(requested);
        self.send_monitor(now, Method::MonitorCondSince);
    }

    fn send_monitor(&mut self, now: Duration, method: Method) {
        let Some(mut requests) = self.requested.clone() else { return };
        // What changed since then is true to the filters of then; everything may as well be true to those of now.
        if method != Method::MonitorCondSince || self.last_transaction.is_none() {
            self.last_transaction = None;
            (self.filters, self.filters_seqno) = (self.monitor.filters(), self.wanted_filters_seqno);
        }
        if method != Method::Monitor {
            add_filters(&mut requests, &self.filters);
        }
        let mut params = vec![Json::string(self.monitor.schema().name()), self.monitor_id(), requests];
        if method == Method::MonitorCondSince {
            let last = self.last_transaction.clone().unwrap_or_else(|| uuid::Uuid::nil().to_string());
            params.push(Json::String(last));
        }
        self.phase = Phase::Loading(method);
        if self.request(method.request(), params, Pending::Monitor(method)).is_none() {
            self.close(now, "the server takes no data");
        }
    }

    fn handle_loaded(&mut self, now: Duration, method: Method, result: &Json) {
        let (found, last, updates) = match (method, result) {
            (Method::MonitorCondSince, Json::Array(parts)) => match parts.as_slice() {
                [Json::Bool(found), last, updates] => (*found, transaction_id(last), updates),
                _ => return self.desynchronised(now, "malformed reply to monitor_cond_since"),
            },
            (Method::MonitorCondSince, _) => {
                return self.desynchronised(now, "malformed reply to monitor_cond_since");
            }
            _ => (false, None, result),
        };
        let form = method.form();
        let outcome = if found { self.replica.apply(updates, form) } else { self.replica.load(updates, form) };
        if let Err(error) = outcome {
            return self.desynchronised(now, &error.to_string());
        }
        self.last_transaction = last;
        self.loaded = true;
        self.phase = Phase::Following(method);
        self.event(Event::Following);
        self.send_filters();
        self.send_lock("lock");
    }

    /// Tells the server of filters that it does not have, one change at a time.
    fn send_filters(&mut self) {
        let Phase::Following(method) = self.phase else { return };
        let (wanted, seqno) = (self.monitor.filters(), self.wanted_filters_seqno);
        if self.filters_seqno == seqno || self.pending.values().any(|pending| matches!(pending, Pending::Filters(..))) {
            return;
        }
        if method == Method::Monitor {
            // All rows come as it is.
            (self.filters, self.filters_seqno) = (wanted, seqno);
            return;
        }
        let known = self.requested.as_ref().and_then(Json::as_object);
        let is_new = |table: &str, filter: &Filter| self.filters.get(table).is_none_or(|old| old != filter);
        let changes = wanted
            .iter()
            .filter(|(table, filter)| known.is_some_and(|tables| tables.contains_key(table)) && is_new(table, filter));
        let changes = changes
            .map(|(table, filter)| (table.as_str(), Json::Array(vec![Json::object([("where", filter.to_json())])])));
        let params = vec![self.monitor_id(), self.monitor_id(), Json::object(changes)];
        self.request("monitor_cond_change", params, Pending::Filters(wanted, seqno));
    }

    fn send_lock(&mut self, method: &str) {
        if let Some(lock) = self.options.lock.clone() {
            let request = self.request(method, vec![Json::string(&*lock)], Pending::Lock(lock));
            if request.is_some() && self.lock == LockState::None {
                self.lock = LockState::Requested;
            }
        }
    }

    fn set_lock_state(&mut self, state: LockState) {
        let had = self.has_lock();
        self.lock = state;
        match (had, self.has_lock()) {
            (false, true) => self.event(Event::LockAcquired),
            (true, false) => self.event(Event::LockLost),
            _ => {}
        }
    }

    fn monitor_id(&self) -> Json {
        monitor_id(self.monitor.schema().name())
    }

    fn report(&mut self, id: i64, report: Report) {
        self.transactions = self.transactions.saturating_sub(1);
        self.reports.push_back((TransactionId(id), report));
    }

    fn event(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

/// What updates of a database are told under.
fn monitor_id(database: &str) -> Json {
    Json::Array(vec![Json::string("monid"), Json::string(database)])
}

/// A transaction that the server may be asked about later; servers without a history say zero.
fn transaction_id(json: &Json) -> Option<String> {
    let text = json.as_str()?;
    (text != uuid::Uuid::nil().to_string()).then(|| text.to_owned())
}

fn add_filters(requests: &mut Json, filters: &BTreeMap<String, Filter>) {
    let Json::Object(tables) = requests else { return };
    for (table, requests) in tables.iter_mut() {
        let (Some(filter), Json::Array(requests)) = (filters.get(table), requests) else { continue };
        for request in requests {
            if let Json::Object(members) = request {
                members.insert("where".to_owned(), filter.to_json());
            }
        }
    }
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
