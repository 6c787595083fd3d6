//! Connections to controllers, as the switch sees them (features of OpenFlow 1.5, section 6.3; upstream's connection
//! manager).
//!
//! A [`Session`](crate::session::Session) is the conversation; a connection here is what the switch knows of who is at the
//! other end: how they want to be spoken to, what they may do, what they are told unasked, and what they have under way.
//!
//! # What is where
//!
//! - `packet_in`: packets for controllers, shared fairly among ports where there is a limit to them;
//! - `bundle`: changes that wait to be made at once; `monitor`: who is told of which flows;
//! - `outgoing`: what waits to be sent; `tally`: what the log is told of flow-mods.
//!
//! # Bounds
//!
//! A controller that reads nothing costs at most what [`Limits`] say: of what it asked for, no more is made than it
//! reads; of what it is told unasked, what is beyond is dropped and counted.

mod bundle;
mod monitor;
mod outgoing;
mod packet_in;
mod tally;

use std::collections::BTreeMap;
use std::time::Duration;

use ovs_packet::Instant;

use super::messages::Inbox;
use crate::codec::Version;
use crate::flow_mod::FlowModCommand;
use crate::session::{AsyncConfig, AsyncKind, Role, Roles};

pub(super) use bundle::{ATOMIC, Bundle, Bundled, Bundles, Changes as BundledChanges, Messages};
pub(super) use monitor::{Change, Monitors};
pub(super) use outgoing::Outgoing;
pub use outgoing::{Output, Traffic};
pub(super) use packet_in::Scheduler;
pub use packet_in::{PacketInStats, RateLimit};
pub(super) use tally::Tally;

/// How much may wait in the switch for one connection.
pub mod limits {
    /// Messages that were not looked at, because something that came before them is under way.
    pub const INCOMING: usize = 1 << 12;
    /// Packets.
    pub const PACKET_INS: usize = 100;
    /// Messages that nobody asked for, packets and updates of monitors apart.
    pub const ASYNC: usize = 1 << 12;
    /// Bytes of updates of monitors, above which monitoring pauses.
    pub const MONITOR_BYTES: usize = 128 << 10;
    /// Bytes of answers, above which no request is looked at.
    pub const REPLY_BYTES: usize = 64 << 10;
    /// Bundles.
    pub const BUNDLES: usize = 1 << 8;
    /// Bytes of the messages in them.
    pub const BUNDLE_BYTES: usize = 1 << 30;
    /// Monitors.
    pub const MONITORS: usize = 1 << 10;
}

/// Names a connection. It is not used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(u64);

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum ConnectionKind {
    /// To one who controls the switch.
    #[default]
    Primary,
    /// To one who looks after it: it is told nothing unasked, unless it says how much of a packet it wants.
    Service,
}

/// How a connection is set up by the switch's owner.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConnectionConfig {
    /// What it is for.
    pub kind: ConnectionKind,
    /// The version that was agreed upon.
    pub version: Version,
    /// How many packets it gets, if that is limited.
    pub rate_limit: Option<RateLimit>,
    /// What the log calls it, which is told now and then what it changed; nothing if it has no name.
    pub name: Option<String>,
}

impl ConnectionConfig {
    /// A controller that speaks `version`, and gets every packet.
    pub fn new(version: Version) -> ConnectionConfig {
        ConnectionConfig { kind: ConnectionKind::Primary, version, rate_limit: None, name: None }
    }
}

/// The format of packet-ins (`NX_PACKET_IN_FORMAT`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) enum PacketInFormat {
    #[default]
    Standard,
    Nicira,
    Nicira2,
}

impl PacketInFormat {
    pub(super) fn by_number(number: u32) -> Option<PacketInFormat> {
        [PacketInFormat::Standard, PacketInFormat::Nicira, PacketInFormat::Nicira2].get(number as usize).copied()
    }
}

/// How much of a packet a controller gets unless it says otherwise.
pub(super) const DEFAULT_MISS_SEND_LEN: u16 = 128;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) kind: ConnectionKind,
    pub(super) version: Version,
    pub(super) async_config: AsyncConfig,
    pub(super) miss_send_len: u16,
    pub(super) invalid_ttl: bool,
    pub(super) packet_in_format: PacketInFormat,
    /// Which packets are for it: those that actions send to this number.
    pub(super) controller_id: u16,
    /// Whether flow-mods of OpenFlow 1.0 name their table.
    pub(super) tables_in_flow_mods: bool,
    pub(super) bundles: Bundles,
    pub(super) monitors: Monitors,
    /// Of packets that no flow matched, and of others.
    pub(super) schedulers: [Option<Scheduler>; 2],
    /// Whether what it is told comes in Nicira's words, where OpenFlow 1.0 has poorer ones.
    pub(super) nxm: bool,
    pub(super) inbox: Inbox,
    pub(super) out: Outgoing,
    name: Option<String>,
    tally: Tally,
}

impl Connection {
    fn new(config: &ConnectionConfig) -> Connection {
        let primary = config.kind == ConnectionKind::Primary;
        let scheduler = || config.rate_limit.map(Scheduler::new);
        Connection {
            kind: config.kind,
            version: config.version,
            async_config: AsyncConfig::of_version(config.version),
            miss_send_len: if primary { DEFAULT_MISS_SEND_LEN } else { 0 },
            invalid_ttl: false,
            packet_in_format: PacketInFormat::default(),
            controller_id: 0,
            tables_in_flow_mods: false,
            bundles: Bundles::default(),
            monitors: Monitors::default(),
            schedulers: [scheduler(), scheduler()],
            nxm: false,
            inbox: Inbox::default(),
            out: Outgoing::default(),
            name: config.name.clone(),
            tally: Tally::default(),
        }
    }

    /// Counts a flow-mod that was obeyed.
    pub(super) fn note_flow_mod(&mut self, command: FlowModCommand, now: Instant) {
        if self.name.is_some() {
            self.tally.note(command, now);
        }
    }

    /// Counts flow-mods that were obeyed together.
    pub(super) fn note_flow_mods(&mut self, others: &Tally, now: Instant) {
        if self.name.is_some() {
            self.tally.absorb(others, now);
        }
    }

    /// Tells the log of flow-mods, if there were any.
    fn log_flow_mods(&mut self, now: Instant) {
        if let (Some(name), Some(line)) = (&self.name, self.tally.take(now)) {
            tracing::info!(target: "connmgr", "{name}: {line}");
        }
    }

    /// Whether it is told of something, in its role.
    fn wants(&self, role: Role, kind: AsyncKind, reason: u8) -> bool {
        let asked = self.kind == ConnectionKind::Primary || self.miss_send_len > 0;
        asked && self.async_config.wants(role, kind, reason)
    }
}

/// All connections of a switch.
#[derive(Default, Debug)]
pub(super) struct Connections {
    all: BTreeMap<ConnectionId, Connection>,
    pub(super) roles: Roles<ConnectionId>,
    last: u64,
    /// How long bundles may be idle, if not as long as by default.
    bundle_idle: Option<Duration>,
    /// The last time that was told.
    now: Instant,
}

impl Connections {
    pub(super) fn open(&mut self, config: &ConnectionConfig) -> ConnectionId {
        self.last += 1;
        let id = ConnectionId(self.last);
        let mut connection = Connection::new(config);
        connection.bundles.set_idle(self.bundle_idle);
        self.all.insert(id, connection);
        id
    }

    pub(super) fn set_bundle_idle(&mut self, idle: Option<Duration>) {
        self.bundle_idle = idle;
        self.all.values_mut().for_each(|c| c.bundles.set_idle(idle));
    }

    pub(super) fn close(&mut self, id: ConnectionId) -> bool {
        self.roles.disconnected(id);
        let mut gone = self.all.remove(&id);
        gone.iter_mut().for_each(|c| c.log_flow_mods(self.now));
        gone.is_some()
    }

    /// Takes note what time it is, and tells the log of flow-mods where that is due.
    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = now;
        for c in self.all.values_mut().filter(|c| c.tally.due().is_some_and(|at| at <= now)) {
            c.log_flow_mods(now);
        }
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.all.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.all.iter().map(|(id, c)| (*id, c))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnectionId, &mut Connection)> {
        self.all.iter_mut().map(|(id, c)| (*id, c))
    }

    /// Those who are told of something, with the version that they are told in.
    pub(super) fn wanting(
        &mut self,
        kind: AsyncKind,
        reason: u8,
    ) -> impl Iterator<Item = (ConnectionId, &mut Connection)> {
        let roles = &self.roles;
        self.all.iter_mut().map(|(id, c)| (*id, c)).filter(move |(id, c)| c.wants(roles.of(*id), kind, reason))
    }

    /// Whether a packet that no flow matched, and for which no flow says what to do then, is sent to someone.
    pub(super) fn want_misses(&self) -> bool {
        self.all.iter().any(|(id, c)| {
            c.controller_id == 0 && c.wants(self.roles.of(*id), AsyncKind::PacketIn, AsyncConfig::IMPLICIT_MISS)
        })
    }

    /// When [`run`](Self::run) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let schedulers = self.all.values().flat_map(|c| c.schedulers.iter().flatten());
        schedulers
            .filter_map(Scheduler::next_deadline)
            .chain(self.all.values().filter_map(|c| c.bundles.next_expiry()))
            .chain(self.all.values().filter_map(|c| c.tally.due()))
            .min()
    }
}
