//! The datapath trait: what the slow path needs of a fast path.

use std::fmt;
use std::ops::RangeInclusive;

use ovs_packet::key::{FlowKey, FlowMask, Match, SparseKey};
use ovs_packet::packet::Tunnel;
use ovs_packet::{Instant, Packet};

use crate::action::{DpAction, PortNo, Userspace};
use crate::connections::Connections;
use crate::drops::{DropReason, Ledger};
use crate::meter;
use crate::netdev::{Netdev, NetdevError, NetdevStats, Vport};
use crate::userspace::Turns;
use crate::userspace::workers::Workers;

/// Identity of a megaflow: a hash of its key and mask.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ufid(pub u128);

impl Ufid {
    /// The identity of the megaflow with this match. The same match has the same identity in every run.
    pub fn of(m: &Match) -> Ufid {
        Ufid::of_masked(&m.key(), &m.mask())
    }

    /// The same of the megaflow for keys that agree with this one in the bits of a mask.
    pub fn of_masked(key: &FlowKey, mask: &FlowMask) -> Ufid {
        let mut masked = FlowKey::ZERO;
        masked.assign(key, mask);
        let blocks = mask.bits.non_zero().blocks();
        let half = |seed: u64| masked.hash(blocks, mask.bits.hash(blocks, seed));
        Ufid(u128::from(half(0x75f1_d001)) << 64 | u128::from(half(0x75f1_d002)))
    }
}

impl fmt::Display for Ufid {
    /// Writes the identity as upstream's tools do: `ufid:` and a UUID.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        let part = |shift: u32, bits: u32| (n >> shift) & ((1 << bits) - 1);
        write!(f, "ufid:{:08x}-{:04x}-{:04x}-", part(96, 32), part(80, 16), part(64, 16))?;
        write!(f, "{:04x}-{:012x}", part(48, 16), part(0, 48))
    }
}

impl DpFlow {
    /// Which packets match.
    pub fn matching(&self) -> Match {
        Match::new((&self.key).into(), FlowMask { bits: (&self.mask).into() })
    }
}

/// What went through a megaflow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DpFlowStats {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// When the last packet came; `None` if none did.
    pub used: Option<Instant>,
    /// All TCP flags that were seen.
    pub tcp_flags: u16,
}

/// A megaflow: packets that match it are all handled alike, without asking the slow path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DpFlow {
    /// Identity.
    pub ufid: Ufid,
    /// Key of the packet that it was made for, whole.
    pub key: SparseKey,
    /// The bits of the key that a packet must share with it.
    pub mask: SparseKey,
    /// What is done with them.
    pub actions: Vec<DpAction>,
    /// What went through.
    pub stats: DpFlowStats,
}

/// Why a packet comes up.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UpcallKind {
    /// No megaflow matched it.
    Miss,
    /// This megaflow matched it, but was proved for a pipeline that has [changed](Dpif::publish) since.
    Stale(Ufid),
    /// An action sent it up.
    Action(Userspace),
}

/// A packet that the datapath passes up. It goes back by [`Dpif::resolve`], so that it is accounted for.
#[derive(Debug)]
#[must_use = "an upcall must be resolved, or its packet is lost to the ledger"]
pub struct Upcall {
    /// Why.
    pub kind: UpcallKind,
    /// Its key, with datapath port numbers.
    pub key: Box<FlowKey>,
    /// The packet.
    pub packet: Packet,
    /// Whether the packet waits here for its fate, and not just a copy of it.
    pub(crate) held: bool,
    /// The actions of the megaflow that sent it up, where its `userspace` action asked for them.
    pub flow_actions: Vec<DpAction>,
    /// The outer header that the packet would leave with, where its `userspace` action named a tunnel port.
    pub egress_tunnel: Option<Box<Tunnel>>,
    /// How often the packet was recirculated before it came up.
    pub(crate) turns: Turns,
    /// How it came, where the datapath is outside the process.
    #[cfg_attr(not(feature = "kernel"), allow(dead_code, reason = "only the kernel is outside"))]
    pub(crate) origin: Origin,
}

/// How an upcall came from a datapath outside the process: what goes back with the packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[cfg_attr(not(feature = "kernel"), allow(dead_code, reason = "only the kernel is outside"))]
pub(crate) struct Origin {
    /// Address of the socket that it came through; 0 for none.
    pub(crate) socket: u32,
    /// The longest fragment that the packet was made of.
    pub(crate) mru: Option<u16>,
    /// The kernel's hash of the packet.
    pub(crate) hash: Option<u64>,
}

impl Upcall {
    pub(crate) fn new(kind: UpcallKind, key: Box<FlowKey>, packet: Packet, held: bool, turns: Turns) -> Upcall {
        let (flow_actions, egress_tunnel, origin) = (Vec::new(), None, Origin::default());
        Upcall { kind, key, packet, held, flow_actions, egress_tunnel, turns, origin }
    }
}

/// What the slow path decided on an [`Upcall`].
#[derive(Clone, Copy, Debug)]
pub enum Resolution<'a> {
    /// Execute actions on it.
    Execute(&'a [DpAction]),
    /// It has reached its destination: a controller, the switch itself.
    Consumed,
    /// Drop it.
    Drop(DropReason),
}

/// A port to add to a datapath.
#[derive(Debug)]
#[non_exhaustive]
pub enum PortSpec {
    /// A device that the datapath polls itself. Backends that forward outside the process refuse it.
    Device(Box<dyn Netdev>),
    /// A network interface of the machine, which is there. Backends within the process refuse it, and the next: they want
    /// a [`Device`](PortSpec::Device).
    Interface(String),
    /// A network interface that the datapath makes, for the machine to talk through the switch.
    Internal(String),
    /// A tunnel, that keeps no peer of its own: outside the process by a network interface of this name that is made, if
    /// there is none; within it by a port that [stands](crate::netdev::Vport) for it.
    Tunnel {
        /// The port, and the interface.
        name: String,
        /// What kind of tunnel.
        kind: TunnelPort,
    },
}

impl PortSpec {
    /// The device of a port of a datapath within the process.
    pub(crate) fn into_device(self) -> Result<Box<dyn Netdev>, DpifError> {
        match self {
            PortSpec::Device(device) => Ok(device),
            PortSpec::Tunnel { name, kind } => Ok(Box::new(Vport::new(name, kind))),
            PortSpec::Interface(_) | PortSpec::Internal(_) => Err(DpifError::Unsupported("ports of the kernel's")),
        }
    }
}

/// What a tunnel port of a datapath is: it takes outer addresses and key from actions, and tells them in keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TunnelPort {
    /// VXLAN (RFC 7348).
    Vxlan {
        /// The UDP port.
        port: u16,
        /// With the group policy extension.
        gbp: bool,
        /// With the generic protocol extension; excludes the other.
        gpe: bool,
    },
    /// Geneve (RFC 8926).
    Geneve {
        /// The UDP port.
        port: u16,
    },
    /// GRE over IPv4 (RFC 2784, RFC 2890), with Ethernet frames inside.
    Gre,
    /// The same without Ethernet headers inside.
    GreL3,
    /// The same over IPv6.
    Ip6Gre,
    /// ERSPAN over IPv4.
    Erspan,
    /// ERSPAN over IPv6.
    Ip6Erspan,
    /// IP or MPLS in UDP.
    Bareudp {
        /// The UDP port.
        port: u16,
        /// The Ethertype of what is inside.
        eth_type: u16,
        /// Whether the kin of that Ethertype may be inside too: IPv6 beside IPv4, multicast beside unicast MPLS.
        multiproto: bool,
    },
    /// GTP-U version 1 (3GPP TS 29.281), of userspace datapaths.
    Gtpu {
        /// The UDP port.
        port: u16,
    },
    /// IPv6 with a segment routing header (RFC 8754), of userspace datapaths.
    Srv6,
}

impl TunnelPort {
    /// The kind of tunnel, as the `type` column of the Interface table names it.
    pub const fn kind(self) -> &'static str {
        match self {
            TunnelPort::Vxlan { .. } => "vxlan",
            TunnelPort::Geneve { .. } => "geneve",
            TunnelPort::Gre | TunnelPort::GreL3 => "gre",
            TunnelPort::Ip6Gre => "ip6gre",
            TunnelPort::Erspan => "erspan",
            TunnelPort::Ip6Erspan => "ip6erspan",
            TunnelPort::Bareudp { .. } => "bareudp",
            TunnelPort::Gtpu { .. } => "gtpu",
            TunnelPort::Srv6 => "srv6",
        }
    }
}

/// A change of a datapath's ports that someone else may have made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PortChange {
    /// A port is there, or is other than it was.
    Changed(PortNo),
    /// A port is gone.
    Removed(PortNo),
    /// Changes were lost: list all ports anew.
    Lost,
}

/// What a megaflow is put for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum PutMode {
    /// It is made, or the one that is there is changed.
    #[default]
    Put,
    /// It is made; that there is one already is an error.
    Create,
    /// The one that is there is changed; that there is none is an error.
    Modify,
}

/// A megaflow to install, or to change.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FlowPut<'a> {
    /// The key of the packet that it is made for, whole.
    pub key: &'a FlowKey,
    /// The bits that a packet must share with it.
    pub mask: &'a FlowMask,
    /// What is done with packets.
    pub actions: &'a [DpAction],
    /// Its identity; by default [`Ufid::of`] its match.
    pub ufid: Option<Ufid>,
    /// Whether it may be there, or must.
    pub mode: PutMode,
    /// Whether the counters of the one that is there begin anew.
    pub zero_stats: bool,
    /// Whether every thread of the datapath gets it, and not only those that receive the port's packets.
    pub everywhere: bool,
}

impl<'a> FlowPut<'a> {
    /// A megaflow that is made, or changed with its counters kept.
    pub const fn new(key: &'a FlowKey, mask: &'a FlowMask, actions: &'a [DpAction]) -> FlowPut<'a> {
        FlowPut { key, mask, actions, ufid: None, mode: PutMode::Put, zero_stats: false, everywhere: false }
    }

    /// The same with an identity of the caller's choice.
    #[must_use]
    pub const fn with_ufid(self, ufid: Ufid) -> FlowPut<'a> {
        FlowPut { ufid: Some(ufid), ..self }
    }

    /// The same in another mode.
    #[must_use]
    pub const fn with_mode(self, mode: PutMode) -> FlowPut<'a> {
        FlowPut { mode, ..self }
    }

    /// The same, with the counters at zero.
    #[must_use]
    pub const fn with_zero_stats(self) -> FlowPut<'a> {
        FlowPut { zero_stats: true, ..self }
    }

    /// The same, in every thread of the datapath: what an operator puts, for packets of any origin.
    #[must_use]
    pub const fn with_everywhere(self) -> FlowPut<'a> {
        FlowPut { everywhere: true, ..self }
    }
}

/// One of the operations of a [batch](Dpif::operate).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// [`Dpif::flow_install`].
    Put(FlowPut<'a>),
    /// [`Dpif::flow_del`].
    Delete(Ufid),
    /// [`Dpif::flow_get`].
    Get(Ufid),
}

/// What came of an [`Operation`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The megaflow of this identity is there.
    Put(Ufid),
    /// It was this.
    Deleted(Box<DpFlow>),
    /// It is this.
    Found(Box<DpFlow>),
}

/// A port of a datapath.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PortInfo {
    /// Number.
    pub port: PortNo,
    /// Name.
    pub name: String,
    /// Kind of device.
    pub kind: &'static str,
    /// Counters.
    pub stats: NetdevStats,
}

/// What a datapath can do, for whoever writes actions for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Features {
    /// VLAN tags that keys tell of.
    pub vlan_headers: u8,
    /// MPLS label stack entries that keys tell of.
    pub mpls_depth: u8,
    /// How deep `sample` actions may nest.
    pub sample_nesting: u8,
    /// How many meters there can be; none where there are no meters.
    pub meters: u32,
    /// How many bands a meter has at most.
    pub meter_bands: u8,
    /// `clone` actions.
    pub clone: bool,
    /// `trunc` actions.
    pub trunc: bool,
    /// `check_pkt_len` actions.
    pub check_pkt_len: bool,
    /// `dec_ttl` actions.
    pub dec_ttl: bool,
    /// `ct_clear` actions.
    pub ct_clear: bool,
    /// `drop` actions that tell a reason.
    pub explicit_drop: bool,
    /// Setting what messages of ARP, ICMP and neighbour discovery say.
    pub set_messages: bool,
    /// `add_mpls` actions.
    pub add_mpls: bool,
    /// `push_eth` and `pop_eth` actions, and packets that begin at layer 3.
    pub packet_types: bool,
    /// `lb_output` actions.
    pub lb_output: bool,
    /// `psample` actions.
    pub psample: bool,
    /// `tnl_push` and `tnl_pop` actions, which the switch has to use: the datapath's tunnel ports make no outer headers.
    pub native_tunnels: bool,
    /// Whether megaflows [obey](Dpif#megaflows-that-obey) a pipeline that [publishes](Dpif::publish) its changes.
    pub versions: bool,
    /// `ct` actions and what keys tell of them.
    pub ct: bool,
    /// Zones of connection tracking.
    pub ct_zones: bool,
    /// Labels of connections.
    pub ct_labels: bool,
    /// Timeout policies in `ct` actions.
    pub ct_timeouts: bool,
    /// Whether the [ledger](Dpif::ledger) tells the fate of every packet, and not only of those that came up.
    pub whole_ledger: bool,
}

impl Features {
    /// Nothing beyond what every datapath has to do.
    pub const NONE: Features = Features {
        vlan_headers: 1,
        mpls_depth: 1,
        sample_nesting: 0,
        meters: 0,
        meter_bands: 0,
        clone: false,
        trunc: false,
        check_pkt_len: false,
        dec_ttl: false,
        ct_clear: false,
        explicit_drop: false,
        set_messages: false,
        add_mpls: false,
        packet_types: false,
        lb_output: false,
        psample: false,
        native_tunnels: false,
        versions: false,
        ct: false,
        ct_zones: false,
        ct_labels: false,
        ct_timeouts: false,
        whole_ledger: false,
    };
}

/// How many hashes a bond tells apart.
pub const BOND_BUCKETS: usize = 256;

/// What went through a bond.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BondStats {
    /// Bytes, by hash.
    pub bytes: [u64; BOND_BUCKETS],
}

/// Counters of a datapath (`ovs-dpctl show`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct DpStats {
    /// Lookups that found a megaflow.
    pub hits: u64,
    /// Lookups that found none.
    pub missed: u64,
    /// Packets that could not be passed up.
    pub lost: u64,
    /// Megaflows.
    pub flows: u64,
    /// Distinct masks among them.
    pub masks: u64,
    /// Megaflows that were removed because their port had more than its quota, or the most where there was no room.
    pub evicted: u64,
    /// Hash tables of megaflows probed in all lookups, where masks may share one and that is counted.
    pub probes: Option<u64>,
    /// Masks tried in all lookups together, where each is tried alone and that is counted.
    pub mask_hits: Option<u64>,
    /// Lookups that a cache of masks answered, where there is one.
    pub cache_hits: Option<u64>,
}

/// Why a datapath refuses an operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DpifError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] NetdevError),
    /// A port of this name is there already.
    #[error("port {0} is in the datapath already")]
    PortExists(String),
    /// There is no bond of this number.
    #[error("there is no bond {0}")]
    NoSuchBond(u32),
    /// A port of this number is there already.
    #[error("port number {0} is taken")]
    PortNumberTaken(PortNo),
    /// There is no such port.
    #[error("the datapath has no port {0}")]
    NoSuchPort(PortNo),
    /// There is no such megaflow.
    #[error("the datapath has no flow {0}")]
    NoSuchFlow(Ufid),
    /// There is such a megaflow already.
    #[error("the datapath has flow {0} already")]
    FlowExists(Ufid),
    /// There is no such datapath.
    #[error("there is no datapath {0}")]
    NoSuchDatapath(String),
    /// There is such a datapath already.
    #[error("there is a datapath {0} already")]
    DatapathExists(String),
    /// The system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The kernel's answer was lost: whether the operation took effect, only asking can tell.
    #[error("the answer was lost")]
    AnswerLost,
    /// A key, mask or actions of the kernel's cannot be read.
    #[cfg(all(feature = "kernel", target_os = "linux"))]
    #[error(transparent)]
    Convert(#[from] crate::kernel::ConvertError),
    /// A megaflow that does not match its port wholly, where each must.
    #[error("flow: in_port is not an exact match")]
    PortNotMatched,
    /// The table of megaflows is full.
    #[error("the datapath is full: {0} flows")]
    FlowTableFull(usize),
    /// The actions nest deeper than the datapath executes.
    #[error("actions nest deeper than {0}")]
    TooDeep(usize),
    /// A field that packets cannot be given.
    #[error("{0:?} cannot be set")]
    NotSettable(ovs_packet::field::KeyAttr),
    /// There is no such meter, or cannot be.
    #[error(transparent)]
    Meter(#[from] meter::MeterError),
    /// A worker failed while it was asked for something.
    #[error("worker {0} failed")]
    WorkerFailed(usize),
    /// An action that this datapath cannot execute.
    #[error("this kind of datapath cannot execute '{0}'")]
    Unsupported(&'static str),
}

/// A datapath.
///
/// Object-safe: the slow path holds a `Box<dyn Dpif>`. One thread owns it. No method blocks; time comes in as `now`.
///
/// # The contract
/// - Megaflows do not overlap: whoever installs them sees to it, and the datapath may pick either where they do.
/// - A packet that no megaflow matches comes up by [`poll`](Dpif::poll), once, and waits until it is
///   [resolved](Dpif::resolve). The number of packets that wait is bounded; what is beyond is dropped and counted.
/// - [`Ledger::balanced`] holds after every call.
///
/// # Megaflows that obey
///
/// A megaflow is what a pipeline decided, and the pipeline changes. Whoever owns both has two ways to keep the one true to
/// the other: to look at all megaflows after each change, during which packets take old actions; or, where the datapath
/// [can](Features::versions), to [publish](Dpif::publish) the change. From then on every megaflow is *stale*: the first
/// packet that it matches comes up as [`UpcallKind::Stale`] and waits, as one that nothing matches does. The owner
/// decides anew. If it comes to the same, [`flow_keep`](Dpif::flow_keep) says so at the cost of a number; if not,
/// [`flow_put`](Dpif::flow_put) gives the megaflow other actions, or [`flow_del`](Dpif::flow_del) and a put others bits.
/// Then it resolves the packet. So what is published before a barrier is answered holds for every packet after it, and
/// nothing is flushed.
///
/// ```
/// use ovs_dpif::netdev::MemPort;
/// use ovs_dpif::userspace::Datapath;
/// use ovs_dpif::{DpAction, Dpif, PortNo, PortSpec, Resolution, UpcallKind, always_matched};
/// use ovs_packet::{FlowKey, Instant, Packet};
///
/// let mut dp = Datapath::new();
/// let (a, host) = MemPort::new("a", 10);
/// dp.port_add(PortSpec::Device(Box::new(a)), None)?;
/// let mut key = FlowKey::ZERO;
/// key.in_port = 1.into();
/// key.eth_type = 0x88b5.into();
/// let old = dp.flow_put(&key, &always_matched(), &[])?;
/// let mut frame = [0; 60];
/// frame[12..14].copy_from_slice(&[0x88, 0xb5]);
///
/// // A rule was added: what was decided before must be decided again.
/// dp.publish();
/// host.push(Packet::from_slice(&frame));
/// let (now, mut upcalls) = (Instant::ZERO, Vec::new());
/// dp.poll(now, &mut upcalls);
/// let upcall = upcalls.remove(0);
/// assert_eq!(upcall.kind, UpcallKind::Stale(old));
/// let actions = [DpAction::Output(PortNo(1))];
/// dp.flow_put(&upcall.key, &always_matched(), &actions)?;
/// dp.resolve(upcall, Resolution::Execute(&actions), now, &mut upcalls);
/// assert!(host.pop().is_some());
/// # Ok::<(), ovs_dpif::DpifError>(())
/// ```
pub trait Dpif: fmt::Debug + Send {
    /// The kind of datapath, as the `datapath_type` column has it: `netdev`, `system`.
    fn kind(&self) -> &'static str;

    /// Adds a port, under the number wanted or one that is free.
    ///
    /// # Errors
    /// If the name or number is taken, or the backend cannot use such a port.
    fn port_add(&mut self, spec: PortSpec, wanted: Option<PortNo>) -> Result<PortNo, DpifError>;

    /// Removes a port. Megaflows that output to it drop those copies from then on.
    ///
    /// # Errors
    /// If there is no such port.
    fn port_del(&mut self, port: PortNo) -> Result<(), DpifError>;

    /// The ports, by number.
    ///
    /// # Errors
    /// If a backend outside the process cannot be asked.
    fn ports(&self) -> Result<Vec<PortInfo>, DpifError>;

    /// Reads at most `limit` VLAN tags of a packet, the rest being payload (`other_config:vlan-limit`): 0 sets no limit but
    /// the datapath's own. Megaflows that were made under another limit are for their maker to remove. A datapath reads all
    /// that it can until this is called.
    ///
    /// # Errors
    /// If the datapath has no limit to set.
    fn set_vlan_limit(&mut self, limit: u8) -> Result<(), DpifError> {
        let _ = limit;
        Err(DpifError::Unsupported("vlan-limit"))
    }

    /// Spreads the flows in tunnels over these UDP source ports (`tnl/egress_port_range`).
    ///
    /// # Errors
    /// If the datapath makes no outer headers itself.
    fn set_tunnel_sources(&mut self, ports: RangeInclusive<u16>) -> Result<(), DpifError> {
        let _ = ports;
        Err(DpifError::Unsupported("tnl/egress_port_range"))
    }

    /// Installs a megaflow for the packets that share the bits of `mask` with `key`, or gives the one that is there for
    /// them new actions and keeps its counters.
    ///
    /// `key` is the packet's that the megaflow is made for: dumps show it whole.
    ///
    /// # Errors
    /// If the table is full or the actions cannot be executed.
    fn flow_put(&mut self, key: &FlowKey, mask: &FlowMask, actions: &[DpAction]) -> Result<Ufid, DpifError>;

    /// Notes that the pipeline has changed: what megaflows say is to be [proved](Dpif#megaflows-that-obey) again, one by
    /// one, as packets come. Returns the number of the new version. A datapath that [cannot](Features::versions) returns
    /// 0, and its owner revalidates all megaflows itself.
    fn publish(&mut self) -> u64 {
        0
    }

    /// Says that a megaflow is still right, as it is, under the version that was published last.
    ///
    /// # Errors
    /// If there is none.
    fn flow_keep(&mut self, ufid: Ufid) -> Result<(), DpifError> {
        self.flow_get(ufid).map(drop)
    }

    /// Installs or changes a megaflow, under an identity of the caller's if it has one.
    ///
    /// The default has identities of its own only ([`Ufid::of`] the match), and no modes: it refuses others.
    ///
    /// # Errors
    /// As [`flow_put`](Dpif::flow_put), and as [`PutMode`] says.
    fn flow_install(&mut self, put: &FlowPut<'_>) -> Result<Ufid, DpifError> {
        let own = Ufid::of(&Match::new(*put.key, *put.mask));
        match put {
            FlowPut { ufid: Some(ufid), .. } if *ufid != own => Err(DpifError::Unsupported("explicit ufid")),
            FlowPut { zero_stats: true, .. } => Err(DpifError::Unsupported("zeroing of counters")),
            FlowPut { mode: PutMode::Put, .. } => self.flow_put(put.key, put.mask, put.actions),
            FlowPut { mode: PutMode::Create, .. } if self.flow_get(own).is_ok() => Err(DpifError::FlowExists(own)),
            FlowPut { mode: PutMode::Modify, .. } if self.flow_get(own).is_err() => Err(DpifError::NoSuchFlow(own)),
            FlowPut { .. } => self.flow_put(put.key, put.mask, put.actions),
        }
    }

    /// Does several things, in order; one that fails does not stop those behind it. A backend outside the process sends
    /// them together.
    fn operate(&mut self, operations: &[Operation<'_>]) -> Vec<Result<Outcome, DpifError>> {
        let one = |operation: &Operation<'_>| match operation {
            Operation::Put(put) => self.flow_install(put).map(Outcome::Put),
            Operation::Delete(ufid) => self.flow_del(*ufid).map(|flow| Outcome::Deleted(Box::new(flow))),
            Operation::Get(ufid) => self.flow_get(*ufid).map(|flow| Outcome::Found(Box::new(flow))),
        };
        operations.iter().map(one).collect()
    }

    /// Removes a megaflow and returns it with its last counters.
    ///
    /// # Errors
    /// If there is none.
    fn flow_del(&mut self, ufid: Ufid) -> Result<DpFlow, DpifError>;

    /// Removes a megaflow of the port that has the most, so that packets of `port` can have one more where there is no room:
    /// no port fills the table so that others get nothing. It is done only if the other still has as many then as
    /// `port`; the megaflow comes by [`take_evicted`](Dpif::take_evicted). Only the ports `rivals` are asked, or all.
    /// Whether there was one.
    ///
    /// A backend that does not know whose its megaflows are says no, which is the default.
    fn flow_make_room(&mut self, _port: PortNo, _rivals: Option<&[PortNo]>) -> bool {
        false
    }

    /// The megaflows that the datapath itself removed since the last call, with their last counters, to make room for
    /// others. Of very many, the oldest are forgotten.
    fn take_evicted(&mut self) -> Vec<DpFlow> {
        Vec::new()
    }

    /// A megaflow.
    ///
    /// # Errors
    /// If there is none.
    fn flow_get(&self, ufid: Ufid) -> Result<DpFlow, DpifError>;

    /// What went through a megaflow.
    ///
    /// # Errors
    /// If there is none.
    fn flow_counters(&self, ufid: Ufid) -> Result<DpFlowStats, DpifError> {
        self.flow_get(ufid).map(|flow| flow.stats)
    }

    /// Calls `f` with every megaflow's identity and counters, in an order of the datapath's own: a terse dump.
    ///
    /// # Errors
    /// If a backend outside the process cannot be asked, or its dump breaks off; what `f` was told stays true.
    fn flow_stats(&self, f: &mut dyn FnMut(Ufid, DpFlowStats)) -> Result<(), DpifError>;

    /// All megaflows, in the order in which they came where that is known.
    ///
    /// # Errors
    /// As [`flow_stats`](Dpif::flow_stats).
    fn flow_dump(&self) -> Result<Vec<DpFlow>, DpifError>;

    /// Removes all megaflows.
    ///
    /// # Errors
    /// If a backend outside the process cannot be told.
    fn flow_flush(&mut self) -> Result<(), DpifError>;

    /// Makes meter `id`, or makes it anew with its counters at zero.
    ///
    /// # Errors
    /// If the datapath cannot have such a meter.
    fn meter_set(&mut self, id: u32, config: &meter::Config) -> Result<(), DpifError>;

    /// What came to meter `id`.
    ///
    /// # Errors
    /// If there is none.
    fn meter_stats(&self, id: u32) -> Result<meter::Stats, DpifError>;

    /// Removes meter `id`, and returns what came to it. Actions that name it let everything pass from then on.
    ///
    /// # Errors
    /// If there is none.
    fn meter_del(&mut self, id: u32) -> Result<meter::Stats, DpifError>;

    /// Makes a bond, by a number of the caller's choice, or gives it other ports: those that packets of each hash go to
    /// ([`DpAction::LbOutput`]). Counters of a bond that is there go on.
    ///
    /// # Errors
    /// If the datapath does not balance bonds.
    fn bond_set(&mut self, _bond: u32, _members: &[PortNo; BOND_BUCKETS]) -> Result<(), DpifError> {
        Err(DpifError::Unsupported("bonds"))
    }

    /// Removes a bond, and returns what went through it. Packets that actions send to it are dropped from then on.
    ///
    /// # Errors
    /// If there is none.
    fn bond_del(&mut self, bond: u32) -> Result<BondStats, DpifError> {
        Err(DpifError::NoSuchBond(bond))
    }

    /// What went through a bond.
    ///
    /// # Errors
    /// If there is none.
    fn bond_stats(&self, bond: u32) -> Result<BondStats, DpifError> {
        Err(DpifError::NoSuchBond(bond))
    }

    /// What the datapath can do.
    fn features(&self) -> Features;

    /// What changed of the ports since the last time, where others than the caller can change them.
    fn port_changes(&mut self) -> Vec<PortChange> {
        Vec::new()
    }

    /// The caches whose sizes can be set, with their sizes in entries.
    ///
    /// # Errors
    /// If a backend outside the process cannot be asked.
    fn caches(&self) -> Result<Vec<(&'static str, u32)>, DpifError> {
        Ok(Vec::new())
    }

    /// Gives a cache another size, and says which it got.
    ///
    /// # Errors
    /// If there is no such cache, or it cannot be so large.
    fn set_cache(&mut self, _cache: &str, _size: u32) -> Result<u32, DpifError> {
        Err(DpifError::Unsupported("sizes of caches"))
    }

    /// The connections that `ct` actions track; `None` if the datapath tracks none.
    fn conntrack(&mut self) -> Option<&mut dyn Connections> {
        None
    }

    /// Does a bounded amount of work: takes what ports received, forwards it, and appends what must come up. Returns
    /// how many packets were received; zero means that there is nothing to do now.
    fn poll(&mut self, now: Instant, upcalls: &mut Vec<Upcall>) -> usize;

    /// Decides on a packet that came up. Packets that must come up again are appended to `upcalls`.
    fn resolve(&mut self, upcall: Upcall, resolution: Resolution<'_>, now: Instant, upcalls: &mut Vec<Upcall>);

    /// Executes actions on a packet of the switch's own making.
    fn inject(&mut self, packet: Packet, actions: &[DpAction], now: Instant, upcalls: &mut Vec<Upcall>);

    /// Counters.
    ///
    /// # Errors
    /// If a backend outside the process cannot be asked.
    fn stats(&self) -> Result<DpStats, DpifError>;

    /// The accounts of all packets.
    fn ledger(&self) -> &Ledger;

    /// The datapath's threads, if it is one that can have several.
    fn workers(&self) -> Option<&Workers> {
        None
    }

    /// The datapath's threads, to be configured.
    fn workers_mut(&mut self) -> Option<&mut Workers> {
        None
    }

    /// The kernel's datapath, if it is that, for what only it has.
    #[cfg(all(feature = "kernel", target_os = "linux"))]
    fn kernel_mut(&mut self) -> Option<&mut crate::kernel::Datapath> {
        None
    }

    /// How often events happened that no other counter tells of, by upstream's names for them (`coverage/show`).
    fn events(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// When [`poll`](Dpif::poll) is due even if nothing comes.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Descriptors that become readable when [`poll`](Dpif::poll) has something to do.
    fn fds(&self) -> Vec<std::os::fd::BorrowedFd<'_>> {
        Vec::new()
    }
}

/// The mask that every megaflow has at least: without these bits two packets are never alike to a datapath.
pub fn always_matched() -> FlowMask {
    use ovs_packet::field::FieldId::{EthType, InPortOxm, IpFrag, PacketType, RecircId};
    let mut mask = FlowMask::of(&[InPortOxm, RecircId, PacketType, EthType, IpFrag]);
    // Of the VLAN only whether there is a tag.
    mask.bits.vlan_tci.set(ovs_packet::key::VLAN_PRESENT);
    mask
}
