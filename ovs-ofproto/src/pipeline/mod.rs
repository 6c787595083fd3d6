//! The switch: tables, translation, MAC learning, revalidation.
//!
//! [`Ofproto`] is an OpenFlow switch as a value. It has no socket, thread or clock: a datapath, upcalls and the time
//! come in as arguments; what controllers should hear comes out of [`Ofproto::poll_output`], what the switch's owner should
//! know as [`Event`]s.
//!
//! # How a message goes
//!
//! A controller that has said hello [connects](Ofproto::connect). Its messages go in by [`Ofproto::handle_message`], in any
//! version, while the switch [wants input](Ofproto::wants_input) of it; [`Ofproto::poll_output`] gives answers, and what it
//! is told unasked, as fast as they are read. Changes go through a log, which is committed, or taken back as a whole; those
//! that take long go on in slices, while packets pass by what was there before, and other controllers are heard.
//!
//! # How a megaflow lives
//!
//! 1. A packet that the datapath has no megaflow for comes up. Its key is *translated* through the flow tables into
//!    datapath actions, a mask of all that was read on the way, and the effects of such a packet on the switch.
//! 2. The megaflow is installed, and the packet goes on its way.
//! 3. Now and then the datapath's counters are read, and the effects credited: rules, groups and their buckets count
//!    packets, learnt addresses and flows stay fresh. A megaflow that was idle for [`MAX_IDLE`] goes.
//! 4. A translation notes what of the switch it looked at. When something changes, the megaflows that can have seen it are
//!    translated again: those that met a rule which went, those that looked a packet up which a new rule matches, those that
//!    asked for a group or a station. One that comes out otherwise is changed or removed, before a packet takes it that
//!    came after the change was acknowledged.
//!
//! Switches that share a datapath are [`Bridges`]; ports may be ends of patches, or tunnels ([`TunnelConfig`]), and what
//! else is behind ports beside devices plugs in by [`Hooks`]. What would
//! become of a packet is a [`Trace`], what became of those that came a [`LiveTrace`], and what a megaflow stands for a
//! [`Detrace`].
//!
//! # Invariant
//!
//! A megaflow's mask covers every bit that its translation depended on: the translation cannot read one otherwise.

mod bridges;
mod connection;
mod detrace;
mod flow_table;
mod group;
mod hooks;
mod l2;
mod live;
mod mac;
mod megaflow;
mod messages;
mod meter;
pub mod native;
mod ofproto;
mod port;
mod recirc;
mod revalidate;
mod seats;
mod snooping;
mod trace;
mod tracing;
mod tracked;
mod translate;
mod tunnel;
mod upcall;
mod verify;
mod vlan;
mod work;

use std::time::Duration;

pub use bridges::{Bridges, MAX_BRIDGES};
pub use connection::{
    ConnectionConfig, ConnectionId, ConnectionKind, Output, PacketInStats, RateLimit, Traffic, limits,
};
pub use detrace::{Deed, Detrace};
pub use flow_table::{
    DEFAULT_FLOW_LIMIT, Flow, FlowModError, RemovedReason, RuleId, TABLES, TableConfig, TableMiss, VISIBLE_TABLES,
};
pub use group::{
    ALL_GROUPS, ANY_GROUP, Bucket, Counts, Group, GroupKey, GroupKind, GroupTable, MAX_GROUP, SelectionMethod,
};
pub use hooks::{Collector, Egress, Hooks, PacketKey, Peer, Way};
pub use l2::L2Config;
pub use live::{LIVE_TRACE_TIME, LiveCause, LivePacket, LiveTrace, LiveTraceError, MAX_LIVE_PACKETS};
pub use mac::{
    DEFAULT_AGING, DEFAULT_LIMIT as DEFAULT_MAC_LIMIT, GRATUITOUS_HOLD, MacChanges, MacEntry, MacStats, MacTable,
};
pub use megaflow::{DEFAULT_MEGAFLOW_LIMIT, FlowLimit, RevalidatorConfig};
pub use messages::Overrun;
pub use meter::{ALL_METERS, CONTROLLER_METER, MAX_METER, MeterTable, SLOW_PATH_METER};
pub use ofproto::{
    Event, FailMode, Fragments, HIDDEN_PRIORITY, InBandConfig, InBandRemote, MegaflowMemory, Ofproto, TableStats,
};
pub use port::{LinkFeatures, Port, PortConfig, Queue};
pub use snooping::{DEFAULT_GROUPS, GROUP_AGING, ListenerProtocol, MdbEntry, ROUTER_AGING, Snooping, SnoopingConfig};
pub use trace::{Kind as TraceKind, Node as TraceNode, Pass as TracePass, Trace};
pub use tracing::TraceRequest;
pub use tunnel::{
    Bareudp, Checksum, Erspan, FlowLabel, FromFlow, Inherited, Local, PacketMode, Remote, Srv6, TunnelConfig,
    TunnelConfigError, TunnelKey, TunnelKind, TunnelProblem, Vxlan,
};
pub use vlan::{PriorityTags, VlanMode, VlanSet};

/// How deep resubmits may nest.
pub const MAX_RESUBMIT_DEPTH: usize = 64;

/// How many lookups one translation may make.
pub const MAX_RESUBMITS: usize = 4096;

/// How deep lookups may nest that never lead back, so that a stack of 2 MB does for them.
pub const MAX_LOOKUP_DEPTH: usize = 320;

/// How many actions one translation may come to.
pub const MAX_STEPS: usize = 1 << 18;

/// How many actions of the datapath one translation may come to.
pub const MAX_ACTIONS: usize = 1 << 16;

/// How deep actions may nest.
pub const MAX_NESTING: usize = 16;

/// How long a megaflow may be idle.
pub const MAX_IDLE: Duration = Duration::from_secs(10);

/// How often the datapath's counters are read.
pub const STATS_INTERVAL: Duration = Duration::from_millis(500);

/// Of more rules that come at once, it is not asked which megaflows can have seen them.
const MAX_REVALIDATE_ONE_BY_ONE: usize = 64;

/// How often what a change brings about is followed at once, before the rest waits for the next round.
const MAX_SETTLING: usize = 8;

/// How many events wait for whoever takes them; more are dropped and counted.
pub const MAX_EVENTS: usize = 4096;
