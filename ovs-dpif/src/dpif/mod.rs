//! The datapath trait: what the slow path needs of a fast path.

mod error;
mod features;
mod flow;
mod offload;
mod port;
mod stats;
mod upcall;

use std::fmt;
use std::ops::RangeInclusive;

use ovs_packet::key::{FlowKey, FlowMask};
use ovs_packet::{Instant, Match, Packet};

use crate::action::{DpAction, PortNo};
use crate::connections::Connections;
use crate::drops::Ledger;
use crate::meter;
use crate::threads::Threads;
pub use error::DpifError;
pub use features::Features;
pub use flow::{DpFlow, DpFlowStats, FlowPut, Operation, Outcome, PutMode, Ufid, always_matched};
pub use offload::{Card, HwOffload};
pub use port::{PortChange, PortInfo, PortSpec, TunnelPort};
pub use stats::{BOND_BUCKETS, BondStats, DpStats, OffloadStats};
#[cfg_attr(not(feature = "kernel"), allow(unused_imports, reason = "only the kernel is outside"))]
pub(crate) use upcall::Origin;
pub use upcall::{Resolution, Upcall, UpcallKind};

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

    /// Says that a megaflow is still right, as it is, under the version that was published last. What went through it
    /// before.
    ///
    /// # Errors
    /// If there is none.
    fn flow_keep(&mut self, ufid: Ufid) -> Result<DpFlowStats, DpifError> {
        self.flow_counters(ufid)
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

    /// The bonds that are balanced, by number, and the port of each hash.
    fn bonds(&self) -> Vec<(u32, [PortNo; BOND_BUCKETS])> {
        Vec::new()
    }

    /// What the datapath can do.
    fn features(&self) -> Features;

    /// The options that a port's device tells back, such as `n_rxq`; nothing if it is not the datapath's own.
    fn port_options(&self, _port: PortNo) -> Vec<(&'static str, String)> {
        Vec::new()
    }

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

    /// What each driver of cards that match megaflows does; nothing while none is used.
    fn offload_stats(&self) -> Vec<OffloadStats> {
        Vec::new()
    }

    /// The accounts of all packets.
    fn ledger(&self) -> &Ledger;

    /// The datapath's threads, if it is one that can have several.
    fn workers(&self) -> Option<&dyn Threads> {
        None
    }

    /// The datapath's threads, to be configured.
    fn workers_mut(&mut self) -> Option<&mut dyn Threads> {
        None
    }

    /// Has threads take what comes up from a datapath outside the process, as many as wanted or as it thinks best; where
    /// upcalls come by CPU, one for each. [`poll`](Dpif::poll) gives out what they read. Returns how many there are.
    ///
    /// May be called again with another number.
    ///
    /// # Errors
    /// If the datapath hands out its upcalls itself; if the system has no room for threads: those that there are go on then.
    fn set_handlers(&mut self, _wanted: Option<usize>) -> Result<usize, DpifError> {
        Err(DpifError::Unsupported("handler threads"))
    }

    /// The cards of ports that may match megaflows, if the datapath has use for such.
    fn offload(&self) -> Option<&dyn HwOffload> {
        None
    }

    /// The same, to be configured.
    fn offload_mut(&mut self) -> Option<&mut dyn HwOffload> {
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
