//! The database of a running switch: what it says is applied, and what became of it is written back.
//!
//! One process at a time holds the lock `ovs_vswitchd` and acts on the database; others wait for it. Everything that is
//! written is computed anew from the switch and compared with the replica, so that writing again what is there already costs
//! nothing, and what a lost connection took with it is written by the next look.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use ovs_db::client::{Client, ClientOptions, Commit, Driver, Event, Status, Transaction, TransactionId};
use ovs_db::net::{Interest, Ready, TlsConfig};
use ovs_db::rpc::Remote;
use ovs_db::vswitch::{Bridge, Controller, Interface, OpenVSwitch, Port};
use ovs_packet::{Instant, OfPort};

use crate::config::{self, Config};
use crate::openflow::OpenFlow;
use crate::vswitch::Vswitch;

/// The lock that the process which acts on the database holds.
const LOCK: &str = "ovs_vswitchd";

/// Statistics are not written more often than this.
const MIN_STATS_INTERVAL: Duration = Duration::from_secs(5);

/// How often the state of interfaces is looked at.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// What [`Database::run`] asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Nothing.
    Nothing,
    /// Apply this configuration.
    Apply(Config),
    /// Another process acts on the database: have no bridges.
    Yield,
}

/// The database of a running switch: what it says is applied, and what became of it is written back.
#[derive(Debug)]
pub struct Database {
    driver: Driver,
    /// The state of the replica that was applied.
    applied: Option<u64>,
    is_contended: bool,
    /// Transactions that wait for an answer; when one of them fails, everything is written again.
    waiting: Vec<TransactionId>,
    dirty: bool,
    status_at: Instant,
    stats_at: Instant,
    stats_interval: Duration,
    /// The first configuration was applied and written back.
    is_ready: bool,
    config_sent: bool,
}

impl Database {
    /// Connects to one of `remotes`.
    pub fn new(remotes: Vec<Remote>, now: Instant) -> Database {
        let options = ClientOptions { lock: Some(LOCK.into()), ..ClientOptions::default() };
        for remote in &remotes {
            tracing::info!(target: "reconnect", "{remote}: connecting...");
        }
        Database {
            driver: Driver::new(Client::new(config::database::monitor(), remotes, options, since(now))),
            applied: None,
            is_contended: false,
            waiting: Vec::new(),
            dirty: false,
            status_at: now,
            stats_at: now,
            stats_interval: Duration::ZERO,
            is_ready: false,
            config_sent: false,
        }
    }

    /// Has connections to `ssl:` remotes be made with these from now on.
    pub fn set_credentials(&mut self, credentials: TlsConfig) {
        self.driver.set_credentials(credentials);
    }

    /// Whether the first configuration was applied and written back.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Has the state of interfaces written now.
    pub fn status_changed(&mut self) {
        self.dirty = true;
    }

    /// Does all that can be done without waiting, and says what the database asks for. What is not ready is not read.
    pub fn run(&mut self, ready: &Ready, now: Instant) -> Request {
        let is_ready = self.driver.interest().is_none_or(|(fd, _)| ready.has(fd));
        self.driver.run_ready(since(now), is_ready);
        let client = self.driver.client_mut();
        while let Some(event) = client.poll_event() {
            match event {
                Event::Connected(remote) => tracing::info!(target: "reconnect", "{remote}: connected"),
                Event::Disconnected { remote, reason } => {
                    let remote = remote.map_or("database".to_string(), |r| r.to_string());
                    tracing::info!(target: "reconnect", "{remote}: connection dropped ({reason})");
                }
                Event::Problem(what) => tracing::warn!(target: "ovsdb_idl", "{what}"),
                Event::Incomplete(missing) => {
                    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
                    tracing::info!(target: "ovsdb_idl", "the database lacks {}", names.join(", "));
                }
                _ => {}
            }
        }
        while let Some((id, report)) = client.poll_report() {
            self.waiting.retain(|w| *w != id);
            match report.status {
                Status::Success | Status::Unchanged => {}
                Status::Error(e) => tracing::warn!(target: "bridge", "the database refuses the switch's state: {e}"),
                // What was to be told of the configuration is told anew.
                _ => self.applied = None,
            }
        }
        if self.config_sent && self.waiting.is_empty() {
            self.is_ready = true;
        }
        let client = self.driver.client();
        if client.is_lock_contended() {
            self.applied = None;
            if !std::mem::replace(&mut self.is_contended, true) {
                tracing::error!(
                    target: "bridge",
                    "another ovs-vswitchd process is running, disabling this process (pid {}) until it goes away",
                    std::process::id()
                );
                return Request::Yield;
            }
            return Request::Nothing;
        }
        // Without a lock of its own it changes nothing, but goes on as it was.
        if !client.has_lock() || !client.is_loaded() {
            return Request::Nothing;
        }
        self.is_contended = false;
        let seqno = client.replica().seqno();
        if self.applied == Some(seqno) {
            return Request::Nothing;
        }
        self.applied = Some(seqno);
        self.driver.client_mut().clear_changes();
        let config = config::database::read(self.driver.client().replica());
        if config.is_none() {
            // An empty database has nothing to be written to.
            self.config_sent = true;
        }
        Request::Apply(config.unwrap_or_default())
    }

    /// Writes what became of the configuration that was applied, and has whoever waits for it know.
    pub fn configured(&mut self, switch: &Vswitch, openflow: &OpenFlow, now: Instant) {
        let mut txn = Transaction::new();
        let replica = self.driver.client().replica();
        if let Some(root) = replica.single::<OpenVSwitch>() {
            let id = root.id();
            txn.set(id, OpenVSwitch::CUR_CFG, root.get(OpenVSwitch::NEXT_CFG));
            txn.set(id, OpenVSwitch::OVS_VERSION, Some(super::VERSION));
            let kinds: Vec<&str> = switch.types().available().to_vec();
            txn.set(id, OpenVSwitch::DATAPATH_TYPES, kinds);
            txn.set(id, OpenVSwitch::IFACE_TYPES, switch.interface_kinds());
            txn.set(id, OpenVSwitch::DPDK_INITIALIZED, false);
            txn.set(id, OpenVSwitch::DPDK_VERSION, Some("none"));
        }
        self.write_status(&mut txn, switch, openflow, now);
        self.send(&txn);
        self.config_sent = true;
        let interval = self.stats_interval();
        if interval != self.stats_interval {
            (self.stats_interval, self.stats_at) = (interval, now);
        }
    }

    /// Writes states and statistics that are due. Whether anything was.
    pub fn refresh(&mut self, switch: &Vswitch, openflow: &OpenFlow, now: Instant) -> bool {
        let status_due = (self.dirty || now >= self.status_at) && self.waiting.is_empty();
        let stats_due = now >= self.stats_at;
        if self.applied.is_none() || !(status_due || stats_due) || !self.driver.client().has_lock() {
            return false;
        }
        let mut txn = Transaction::new();
        if status_due {
            self.dirty = false;
            self.status_at = now + STATUS_INTERVAL;
            self.write_status(&mut txn, switch, openflow, now);
        }
        if stats_due {
            self.stats_at = now + self.stats_interval;
            self.write_statistics(&mut txn, switch, openflow, now);
        }
        self.send(&txn);
        true
    }

    fn stats_interval(&self) -> Duration {
        let root = self.driver.client().replica().single::<OpenVSwitch>();
        let wanted = root.and_then(|r| r.get(OpenVSwitch::OTHER_CONFIG).get("stats-update-interval")?.parse().ok());
        wanted.map_or(MIN_STATS_INTERVAL, Duration::from_millis).max(MIN_STATS_INTERVAL)
    }

    fn send(&mut self, txn: &Transaction) {
        match self.driver.client_mut().commit(txn) {
            Commit::Sent(id) => self.waiting.push(id),
            Commit::Done(report) if matches!(report.status, Status::Unchanged) => {}
            Commit::Done(_) => self.dirty = true,
        }
    }

    /// States of bridges and interfaces.
    /// The table of the whole has no column for errors: they are with what else the switch says of itself there.
    fn write_status(&self, txn: &mut Transaction, switch: &Vswitch, openflow: &OpenFlow, now: Instant) {
        let replica = self.driver.client().replica();
        if let Some(root) = replica.single::<OpenVSwitch>() {
            txn.set(root.id(), OpenVSwitch::STATISTICS, switch.problems());
        }
        for row in replica.rows::<Bridge>() {
            let name = row.get(Bridge::NAME);
            let there = switch.bridge(name);
            let id = there.map(|b| format!("{:016x}", b.datapath_id()));
            txn.set(row.id(), Bridge::DATAPATH_ID, id.as_deref());
            txn.set(row.id(), Bridge::DATAPATH_VERSION, there.map_or("", |_| "<built-in>"));
            let problems: Vec<(&str, &str)> = switch.bridge_problems(name).map(|p| ("error", p)).into_iter().collect();
            txn.set(row.id(), Bridge::STATUS, problems);
            let ports = row.get(Bridge::PORTS).iter().filter_map(|id| replica.row(id));
            for interface in ports.flat_map(|p| p.get(Port::INTERFACES).iter()).filter_map(|id| replica.row(id)) {
                write_interface(txn, &interface, there, switch);
            }
            for controller in row.get(Bridge::CONTROLLER).iter().filter_map(|id| replica.row(id)) {
                write_controller(txn, &controller, name, (switch, openflow), now, false);
            }
        }
    }

    fn write_statistics(&self, txn: &mut Transaction, switch: &Vswitch, openflow: &OpenFlow, now: Instant) {
        let replica = self.driver.client().replica();
        let mut stats = std::collections::BTreeMap::new();
        for datapath in switch.datapaths() {
            stats.extend(datapath.ports().unwrap_or_default().into_iter().map(|p| (p.name, (p.stats, p.custom_stats))));
        }
        stats.extend(switch.patch_stats().map(|(name, stats)| (name.to_string(), (stats, Vec::new()))));
        for row in replica.rows::<Interface>() {
            let name = row.get(Interface::NAME);
            let Some((s, custom)) = stats.get(name) else { continue };
            let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            let others = switch.devices().attributes(name).map(|a| a.statistics).unwrap_or_default();
            let others =
                others.iter().chain(custom.iter().map(|(key, n)| (key, n))).map(|(key, n)| (key.as_str(), count(*n)));
            txn.set(
                row.id(),
                Interface::STATISTICS,
                [
                    ("rx_packets", count(s.rx_packets)),
                    ("rx_bytes", count(s.rx_bytes)),
                    ("rx_dropped", count(s.rx_dropped)),
                    ("tx_packets", count(s.tx_packets)),
                    ("tx_bytes", count(s.tx_bytes)),
                    ("tx_dropped", count(s.tx_dropped)),
                ]
                .into_iter()
                .chain(others)
                .collect::<Vec<_>>(),
            );
        }
        for row in replica.rows::<Bridge>() {
            for controller in row.get(Bridge::CONTROLLER).iter().filter_map(|id| replica.row(id)) {
                write_controller(txn, &controller, row.get(Bridge::NAME), (switch, openflow), now, true);
            }
        }
    }

    /// The descriptor to wait for, and what for.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        self.driver.interest()
    }

    /// When [`run`](Self::run) and [`refresh`](Self::refresh) are to be called, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let own = self.driver.timeout().map(|at| Instant::ZERO + at);
        // Nothing is written to a database that is away, or that has not answered yet.
        let may_write = self.applied.is_some() && self.driver.client().has_lock();
        let status = self.waiting.is_empty().then_some(if self.dirty { Instant::ZERO } else { self.status_at });
        let writes = may_write.then_some(status.map_or(self.stats_at, |at| at.min(self.stats_at)));
        own.into_iter().chain(writes).min()
    }
}

type Row<'r, T> = ovs_db::client::RowView<'r, T>;

fn write_interface(
    txn: &mut Transaction,
    row: &Row<'_, Interface>,
    bridge: Option<&crate::vswitch::Bridge>,
    switch: &Vswitch,
) {
    let (id, name) = (row.id(), row.get(Interface::NAME));
    let port = bridge.and_then(|b| b.port(name));
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let error = switch.interface_error(name);
    // A port that cannot be has the number -1: those who wait for it are not to wait any longer.
    let of_port = match port {
        Some(p) if p.number == OfPort::LOCAL => Some(65_534),
        Some(p) => Some(i64::from(p.number.0)),
        None if bridge.is_some() || error.is_some() => Some(-1),
        None => None,
    };
    txn.set(id, Interface::OFPORT, of_port);
    txn.set(id, Interface::ERROR, error);
    let known = port.and_then(|p| switch.port_attributes(p));
    let up = |is: bool| if is { "up" } else { "down" };
    txn.set(id, Interface::ADMIN_STATE, known.as_ref().map(|a| up(a.up)));
    txn.set(id, Interface::LINK_STATE, known.as_ref().map(|a| up(a.carrier)));
    txn.set(id, Interface::LINK_RESETS, known.as_ref().map(|a| number(a.carrier_resets)));
    txn.set(id, Interface::LINK_SPEED, known.as_ref().and_then(|a| a.speed).map(number));
    let duplex = known.as_ref().and_then(|a| a.full_duplex).map(|full| if full { "full" } else { "half" });
    txn.set(id, Interface::DUPLEX, duplex);
    txn.set(id, Interface::MTU, known.as_ref().and_then(|a| a.mtu).map(|m| number(m as u64)));
    let address = known.as_ref().and_then(|a| a.address).map(|a| a.to_string());
    txn.set(id, Interface::MAC_IN_USE, address.as_deref());
    txn.set(id, Interface::IFINDEX, known.as_ref().map(|a| i64::from(a.index.unwrap_or(0))));
    let status: Vec<(&str, &str)> =
        known.as_ref().map(|a| a.status.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()).unwrap_or_default();
    txn.set(id, Interface::STATUS, status);
}

fn write_controller(
    txn: &mut Transaction,
    row: &Row<'_, Controller>,
    bridge: &str,
    (switch, openflow): (&Vswitch, &OpenFlow),
    now: Instant,
    with_times: bool,
) {
    let known = openflow.controller(switch, bridge, row.get(Controller::TARGET), now).unwrap_or_default();
    let changed = known.is_connected != row.get(Controller::IS_CONNECTED);
    txn.set(row.id(), Controller::IS_CONNECTED, known.is_connected);
    txn.set(row.id(), Controller::ROLE, known.role);
    // Seconds pass always: that alone is written with the statistics.
    let is_news = |key| row.get(Controller::STATUS).get(key) != known.status.get(key).map(String::as_str);
    if with_times || changed || is_news("state") || is_news("last_error") {
        let status: Vec<(&str, &str)> = known.status.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        txn.set(row.id(), Controller::STATUS, status);
    }
}

/// The database's clients count time as what passed since an epoch.
fn since(now: Instant) -> Duration {
    now.since(Instant::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_is_not_waited_for_without_a_pause() {
        let now = Instant::ZERO + Duration::from_secs(10);
        let mut database = Database::new(Vec::new(), now);
        (database.applied, database.dirty) = (Some(1), true);
        database.status_at = now;
        assert!(database.deadline().is_none_or(|at| at > now), "{:?}", database.deadline());
    }
}
