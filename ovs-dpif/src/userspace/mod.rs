//! A datapath within the process.
//!
//! One thread owns a [`Datapath`]: its ports, its megaflows, its caches, its connections. [`Dpif::poll`] takes a batch
//! from every port, reads the packets' keys, finds their megaflows, and executes the actions of each megaflow for all
//! packets of the batch that share it. What is sent is gathered by port and sent once a batch.
//!
//! Lookups try the front cache first and then the table of megaflows. The cache maps a hash of
//! the whole key to a megaflow and is believed only if that megaflow matches, so it needs no invalidation.

mod connections;
mod execute;
mod front;
mod ports;
mod round;

use std::collections::HashMap;
use std::fmt;

use ovs_classifier::{Handle, MegaflowTable, Pattern};
use ovs_conntrack::fragment::Fragments;
use ovs_conntrack::{Config, Tracker};
use ovs_packet::extract::KeyBuffer;
use ovs_packet::key::{FlowKey, FlowMask, MPLS_DEPTH, Match, SparseKey, WORDS};
use ovs_packet::packet::BATCH;
use ovs_packet::{Instant, Packet, PacketBatch, edit};

use crate::action::{DpAction, PortNo};
use crate::connections::Connections;
use crate::dpif::{
    DpFlow, DpFlowStats, DpStats, Dpif, DpifError, Features, FlowPut, PortInfo, PortSpec, PutMode, Resolution, Ufid,
    Upcall,
};
use crate::drops::Ledger;
use crate::key_layout::key_layout;
use crate::meter::{self, MeterError, Meters};
use front::FrontCache;
use ports::Ports;
pub(crate) use round::Turns;
use round::{Round, Work};

/// How often a packet may be looked up again.
pub const MAX_RECIRCULATIONS: u8 = 8;

/// How often a packet and all copies of it may be looked up again, together.
pub const MAX_RECIRCULATED_COPIES: u16 = 1024;

/// How deep actions may nest.
pub const MAX_NESTING: usize = 16;

/// How many connections are looked at for expiry between two rounds.
const EXPIRE_BUDGET: usize = 64;

/// Bounds of a [`Datapath`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Megaflows.
    pub flows: usize,
    /// Packets that wait for the slow path.
    pub upcalls: usize,
    /// Tracked connections.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { flows: 200_000, upcalls: 4096, connections: 1_000_000 }
    }
}

/// A megaflow's place in the table.
#[derive(Clone)]
struct Entry {
    ufid: Ufid,
    key: SparseKey,
    actions: std::sync::Arc<[DpAction]>,
    stats: DpFlowStats,
}

/// A datapath within the process. See the [module](self); everything it does, it does through [`Dpif`].
pub struct Datapath {
    limits: Limits,
    ports: Ports,
    table: MegaflowTable<Entry, WORDS>,
    by_ufid: HashMap<Ufid, Handle>,
    front: FrontCache,
    conntrack: Tracker,
    meters: Meters,
    random: fastrand::Rng,
    /// Fragments that `ct` actions wait for others of.
    fragments: Fragments,
    keys: Vec<KeyBuffer>,
    stats: DpStats,
    ledger: Ledger,
}

impl Datapath {
    /// A datapath without ports, with default [`Limits`].
    pub fn new() -> Datapath {
        Datapath::with_limits(Limits::default(), 0)
    }

    /// The connections that `ct` actions have tracked.
    pub fn conntrack(&self) -> &Tracker {
        &self.conntrack
    }

    /// The connections, to be flushed or limited.
    pub fn conntrack_mut(&mut self) -> &mut Tracker {
        &mut self.conntrack
    }

    /// The fragments that `ct` actions wait for others of.
    ///
    /// In the [`Ledger`] a fragment that is held counts as consumed, and the fragments of a datagram that is whole as
    /// copies of the one that made it so.
    pub fn fragments(&self) -> &Fragments {
        &self.fragments
    }

    /// The fragments, to be limited.
    pub fn fragments_mut(&mut self) -> &mut Fragments {
        &mut self.fragments
    }

    /// A datapath with other limits, whose hashes depend on `seed`.
    ///
    /// A daemon seeds from the system's randomness, so that nobody outside can choose packets that collide; a lab
    /// from its own seed.
    pub fn with_limits(limits: Limits, seed: u64) -> Datapath {
        Datapath {
            limits,
            ports: Ports::default(),
            table: MegaflowTable::with_layout(&key_layout(), seed).with_limit(limits.flows),
            by_ufid: HashMap::new(),
            front: FrontCache::new(seed),
            conntrack: Tracker::new(Config::new(seed).with_max_connections(limits.connections)),
            meters: Meters::default(),
            random: fastrand::Rng::with_seed(seed),
            fragments: Fragments::new(Default::default()),
            keys: vec![KeyBuffer::default(); BATCH],
            stats: DpStats::default(),
            ledger: Ledger::default(),
        }
    }

    fn check(actions: &[DpAction], depth: usize) -> Result<(), DpifError> {
        if depth > MAX_NESTING {
            return Err(DpifError::TooDeep(MAX_NESTING));
        }
        actions.iter().try_for_each(|a| {
            match a {
                DpAction::Set(attr, _) if !edit::is_settable(*attr) => return Err(DpifError::NotSettable(*attr)),
                DpAction::LbOutput(_) => return Err(DpifError::Unsupported("lb_output")),
                DpAction::Psample { .. } => return Err(DpifError::Unsupported("psample")),
                DpAction::AddMpls { .. } => return Err(DpifError::Unsupported("add_mpls")),
                _ => {}
            }
            a.nested().try_for_each(|list| Datapath::check(list, depth + 1))
        })
    }

    fn describe(entry: &Entry, pattern: &Pattern<WORDS>) -> DpFlow {
        DpFlow {
            ufid: entry.ufid,
            key: entry.key.clone(),
            mask: (&FlowKey::from_words(*pattern.mask())).into(),
            actions: entry.actions.to_vec(),
            stats: entry.stats,
        }
    }
}

impl Default for Datapath {
    fn default() -> Self {
        Datapath::new()
    }
}

impl fmt::Debug for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datapath")
            .field("ports", &self.ports)
            .field("megaflows", &self.table.len())
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

fn pattern(m: &Match) -> Pattern<WORDS> {
    Pattern::new(*m.key().words(), *m.mask().bits.words())
}

impl Dpif for Datapath {
    fn kind(&self) -> &'static str {
        "netdev"
    }

    fn port_add(&mut self, spec: PortSpec, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        let PortSpec::Device(device) = spec else { return Err(DpifError::Unsupported("ports of the kernel's")) };
        self.ports.add(device, wanted)
    }

    fn port_del(&mut self, port: PortNo) -> Result<(), DpifError> {
        self.ports.remove(port)
    }

    fn ports(&self) -> Result<Vec<PortInfo>, DpifError> {
        Ok(self.ports.info())
    }

    fn flow_put(&mut self, key: &FlowKey, mask: &FlowMask, actions: &[DpAction]) -> Result<Ufid, DpifError> {
        self.flow_install(&FlowPut::new(key, mask, actions))
    }

    fn flow_install(&mut self, put: &FlowPut<'_>) -> Result<Ufid, DpifError> {
        Datapath::check(put.actions, 0)?;
        let matching = Match::new(*put.key, *put.mask);
        let pattern = pattern(&matching);
        let actions = put.actions.into();
        let known = self.table.find_exact(&pattern);
        if let Some(entry) = known.and_then(|h| self.table.get_mut(h)) {
            if put.mode == PutMode::Create {
                return Err(DpifError::FlowExists(entry.ufid));
            }
            entry.actions = actions;
            if put.zero_stats {
                entry.stats = DpFlowStats::default();
            }
            return Ok(entry.ufid);
        }
        let ufid = put.ufid.unwrap_or_else(|| Ufid::of(&matching));
        if put.mode == PutMode::Modify {
            return Err(DpifError::NoSuchFlow(ufid));
        }
        if self.by_ufid.contains_key(&ufid) {
            return Err(DpifError::FlowExists(ufid));
        }
        let entry = Entry { ufid, key: put.key.into(), actions, stats: DpFlowStats::default() };
        let (handle, _) = self.table.insert(&pattern, entry).map_err(|full| DpifError::FlowTableFull(full.limit))?;
        self.by_ufid.insert(ufid, handle);
        Ok(ufid)
    }

    fn flow_del(&mut self, ufid: Ufid) -> Result<DpFlow, DpifError> {
        let flow = self.flow_get(ufid)?;
        if let Some(handle) = self.by_ufid.remove(&ufid) {
            self.table.remove_handle(handle);
        }
        Ok(flow)
    }

    fn flow_get(&self, ufid: Ufid) -> Result<DpFlow, DpifError> {
        let flow = self.by_ufid.get(&ufid).and_then(|h| self.table.get(*h)).ok_or(DpifError::NoSuchFlow(ufid))?;
        Ok(Datapath::describe(flow.payload(), &flow.pattern()))
    }

    fn flow_stats(&self, f: &mut dyn FnMut(Ufid, DpFlowStats)) -> Result<(), DpifError> {
        for (_, flow) in self.table.iter() {
            f(flow.payload().ufid, flow.payload().stats);
        }
        Ok(())
    }

    fn flow_dump(&self) -> Result<Vec<DpFlow>, DpifError> {
        let mut flows: Vec<_> =
            self.table.iter().map(|(_, flow)| Datapath::describe(flow.payload(), &flow.pattern())).collect();
        flows.sort_by_key(|f| f.ufid);
        Ok(flows)
    }

    fn flow_flush(&mut self) -> Result<(), DpifError> {
        self.table.clear();
        self.by_ufid.clear();
        Ok(())
    }

    fn meter_set(&mut self, id: u32, config: &meter::Config) -> Result<(), DpifError> {
        Ok(self.meters.set(id, config.clone())?)
    }

    fn meter_stats(&self, id: u32) -> Result<meter::Stats, DpifError> {
        Ok(self.meters.stats(id).cloned().ok_or(MeterError::NoSuchMeter(id))?)
    }

    fn meter_del(&mut self, id: u32) -> Result<meter::Stats, DpifError> {
        Ok(self.meters.delete(id)?)
    }

    fn features(&self) -> Features {
        Features {
            vlan_headers: 2,
            mpls_depth: MPLS_DEPTH as u8,
            sample_nesting: MAX_NESTING as u8,
            meters: meter::MAX_METERS,
            meter_bands: meter::MAX_BANDS as u8,
            clone: true,
            trunc: true,
            check_pkt_len: true,
            dec_ttl: true,
            ct_clear: true,
            explicit_drop: true,
            packet_types: true,
            ct: true,
            ct_zones: true,
            ct_labels: true,
            ct_timeouts: true,
            whole_ledger: true,
            ..Features::NONE
        }
    }

    fn conntrack(&mut self) -> Option<&mut dyn Connections> {
        Some(self)
    }

    fn poll(&mut self, now: Instant, upcalls: &mut Vec<Upcall>) -> usize {
        self.conntrack.expire(now, EXPIRE_BUDGET);
        self.fragments.expire(now);
        let mut total = 0;
        for port in self.ports.numbers() {
            let mut batch = PacketBatch::new();
            total += self.ports.receive(port, &mut batch);
            if !batch.is_empty() {
                self.ledger.received += batch.len() as u64;
                let mut round = Round::new(now, batch.len());
                let work = batch.into_iter().enumerate().map(|(slot, packet)| Work::new(packet, slot, Turns::NONE));
                self.forward(work.collect(), &mut round);
                self.settle(round, upcalls);
            }
        }
        total
    }

    fn resolve(&mut self, upcall: Upcall, resolution: Resolution<'_>, now: Instant, upcalls: &mut Vec<Upcall>) {
        let Upcall { packet, held, turns, .. } = upcall;
        self.ledger.in_flight -= u64::from(held);
        match resolution {
            Resolution::Execute(actions) => {
                // A copy of a packet that is accounted for already is accounted for once more, as the switch's own.
                self.ledger.injected += u64::from(!held);
                self.execute_alone(packet, turns, actions, now, upcalls);
            }
            Resolution::Consumed if held => self.ledger.consumed += 1,
            Resolution::Drop(reason) if held => self.ledger.drop_one(reason),
            Resolution::Consumed | Resolution::Drop(_) => {}
        }
    }

    fn inject(&mut self, packet: Packet, actions: &[DpAction], now: Instant, upcalls: &mut Vec<Upcall>) {
        self.ledger.injected += 1;
        self.execute_alone(packet, Turns::NONE, actions, now, upcalls);
    }

    fn stats(&self) -> Result<DpStats, DpifError> {
        Ok(DpStats { flows: self.table.len() as u64, masks: self.table.mask_count() as u64, ..self.stats })
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn fds(&self) -> Vec<std::os::fd::BorrowedFd<'_>> {
        self.ports.fds()
    }
}

#[cfg(test)]
mod tests;
