//! A datapath within the process.
//!
//! One thread owns a [`Datapath`]: its ports, its megaflows, its caches, its connections. [`Dpif::poll`] takes a batch
//! from every port, reads the packets' keys, finds their megaflows, and executes the actions of each megaflow for all
//! packets of the batch that share it. What is sent is gathered by port and sent once a batch.
//!
//! [`workers`] do the same in several threads, each with a [`Datapath`] of its own.
//!
//! Lookups are those of [`MegaflowTable`], batch by batch, with its cache in front: the cache is believed only if the
//! megaflow that it tells matches, so it needs no invalidation.

mod batch;
mod bonds;
mod bounds;
mod connections;
mod entry;
mod execute;
mod ports;
mod program;
mod round;
mod several;
mod tracking;
mod tunnel;
pub mod workers;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use foldhash::fast::RandomState;
use ovs_classifier::{Handle, MegaflowTable, Pattern};
use ovs_conntrack::{Config, InvalidReason, Sighting};
use ovs_packet::extract::{Extractor, KeyBuffer};
use ovs_packet::key::{BlockSet, FlowKey, FlowMask, MPLS_DEPTH, WORDS};
use ovs_packet::packet::BATCH;
use ovs_packet::{Instant, Packet, PacketBatch, edit};

use crate::action::{DpAction, PortNo};
use crate::connections::Connections;
use crate::dpif::{
    BOND_BUCKETS, BondStats, DpFlow, DpFlowStats, DpStats, Dpif, DpifError, Features, FlowPut, PortInfo, PortSpec,
    PutMode, Resolution, Ufid, Upcall,
};
use crate::drops::{DropReason, Ledger};
use crate::key_layout::key_layout;
use crate::meter::{self, MeterError, Meters};
use crate::text;
use batch::Flight;
use bonds::Bonds;
use bounds::Bounds;
use entry::{Entry, Tally};
use ports::Ports;
#[cfg_attr(not(feature = "kernel"), allow(unused_imports, reason = "what the kernel lacks is done with them"))]
pub(crate) use program::{Editor, is_edit};
pub(crate) use round::Turns;
use round::{Round, Work};
use tracking::{Reassembly, Sweeps, Tracking};
use tunnel::Tunnels;

/// How many evicted megaflows are kept for their owner.
const MAX_EVICTED: usize = 4096;

/// How often a packet may be looked up again.
pub const MAX_RECIRCULATIONS: u8 = 8;

/// How often a packet and all copies of it may be looked up again, together.
pub const MAX_RECIRCULATED_COPIES: u16 = 1024;

/// How deep actions may nest.
pub const MAX_NESTING: usize = 16;

/// How many lists of packets are kept to be used again: as many as there are at once, unless actions nest deep.
const MAX_SPARE: usize = 64;

/// How many flows the cache in front of the megaflows is for.
const CACHED_FLOWS: usize = 1 << 20;

/// How often the hash tables of megaflows are put in the order of their hits.
const RANK_INTERVAL: Duration = Duration::from_secs(1);

/// How many connections are looked at for expiry between two rounds.
const EXPIRE_BUDGET: usize = 64;

/// How often it is looked for connections that have ended, unless somebody says otherwise.
const SWEEP_INTERVAL: Duration = Duration::from_secs(20);

/// Bounds of a [`Datapath`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Megaflows. A port alone may have them all; how ports share them when there is no room for more,
    /// [`Dpif::flow_make_room`] says.
    pub flows: usize,
    /// Packets that wait for the slow path; of one port, as many as are left free for others.
    pub upcalls: usize,
    /// Tracked connections.
    pub connections: usize,
    /// Megaflows of one port, whatever others have; one more takes the place of another of the same port.
    pub port_flows: usize,
    /// Distinct masks among the megaflows of one port, likewise.
    pub port_masks: usize,
    /// How many packets of one port that match nothing may come up in a second; 0 is no limit.
    pub port_misses_per_second: u32,
    /// How many of them may come at once.
    pub port_miss_burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            flows: 200_000,
            upcalls: 4096,
            connections: 1_000_000,
            port_flows: usize::MAX,
            port_masks: usize::MAX,
            port_misses_per_second: 0,
            port_miss_burst: 1000,
        }
    }
}

/// A datapath within the process. See the [module](self); everything it does, it does through [`Dpif`].
pub struct Datapath {
    /// What the log calls it.
    name: String,
    limits: Limits,
    ports: Ports,
    table: MegaflowTable<Entry, WORDS>,
    /// Keyed by the process: who chooses identities does not learn where they are.
    by_ufid: HashMap<Ufid, Handle, RandomState>,
    /// How many megaflows were ever there.
    born: u64,
    bounds: Bounds,
    evicted: VecDeque<DpFlow>,
    conntrack: Tracking,
    sweeps: Sweeps,
    meters: Meters,
    bonds: Bonds,
    tunnels: Tunnels,
    random: fastrand::Rng,
    /// Fragments that `ct` actions wait for others of.
    fragments: Reassembly,
    extractor: Extractor,
    vlan_headers: u8,
    /// Those of the packets of the batch under way, by their places in it.
    keys: Vec<KeyBuffer>,
    /// Those of packets that changed since.
    changed: Vec<KeyBuffer>,
    /// What connection tracking read of the packets that have these keys, and for which of them it did.
    sightings: Vec<Sighting>,
    sighted: u32,
    batch: Option<Box<PacketBatch>>,
    spare: Vec<Vec<Work>>,
    editor: Editor,
    /// Counts passes.
    turn: u64,
    /// When megaflows were ranked last.
    ranked: Instant,
    /// The time of the last poll.
    now: Instant,
    /// The pipeline's version that was published last.
    version: u64,
    stats: DpStats,
    /// Packets whose IPv4 header connection tracking summed.
    headers_summed: u64,
    ledger: Ledger,
}

impl Datapath {
    /// A datapath without ports, with default [`Limits`].
    pub fn new() -> Datapath {
        Datapath::with_limits(Limits::default(), 0)
    }

    /// This, under a name of its own in the log, such as `netdev@ovs-netdev`.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Datapath {
        Datapath { name: name.into(), ..self }
    }

    /// How many connections `ct` actions have tracked, of this datapath and of those that share them. They are managed by
    /// [`Dpif::conntrack`].
    ///
    /// In the [`Ledger`] a fragment that is held counts as consumed, and the fragments of a datagram that is whole as
    /// copies of the one that made it so.
    pub fn connection_count(&self) -> usize {
        self.conntrack.len()
    }

    /// A datapath with other limits, whose hashes depend on `seed`.
    ///
    /// A daemon seeds from the system's randomness, so that nobody outside can choose packets that collide; a lab
    /// from its own seed.
    pub fn with_limits(limits: Limits, seed: u64) -> Datapath {
        Datapath::with_tracking(limits, seed, Tracking::own(tracker_config(limits, seed)))
    }

    fn with_tracking(limits: Limits, seed: u64, conntrack: Tracking) -> Datapath {
        Datapath {
            name: "netdev".into(),
            limits,
            ports: Ports::default(),
            table: MegaflowTable::with_layout(&key_layout(), seed).with_limit(limits.flows).with_cache(CACHED_FLOWS),
            by_ufid: HashMap::default(),
            born: 0,
            bounds: Bounds::default(),
            evicted: VecDeque::new(),
            conntrack,
            sweeps: Sweeps::new(SWEEP_INTERVAL),
            meters: Meters::default(),
            bonds: Bonds::default(),
            tunnels: Tunnels::default(),
            random: fastrand::Rng::with_seed(seed),
            fragments: Reassembly::new(Default::default()),
            extractor: Extractor::new(),
            vlan_headers: 2,
            keys: vec![KeyBuffer::default(); BATCH],
            changed: vec![KeyBuffer::default(); BATCH],
            sightings: vec![Sighting::NONE; BATCH],
            sighted: 0,
            batch: None,
            spare: Vec::new(),
            editor: Editor::new(),
            turn: 0,
            ranked: Instant::ZERO,
            now: Instant::ZERO,
            version: 0,
            stats: DpStats::default(),
            headers_summed: 0,
            ledger: Ledger::default(),
        }
    }

    /// Removes a megaflow of a port that has more than its quota with one more, of this mask.
    fn make_room(&mut self, port: u32, mask: u64) {
        let (table, by_ufid) = (&self.table, &self.by_ufid);
        let used = |ufid: Ufid| Some(table.get(*by_ufid.get(&ufid)?)?.payload().tally.packets);
        if let Some(victim) = self.bounds.victim(port, mask, &self.limits, used) {
            self.evict(victim);
        }
    }

    /// Removes a megaflow, for its owner to take note of. Whether it was there.
    fn evict(&mut self, victim: Ufid) -> bool {
        let Ok(flow) = self.flow_del(victim) else { return false };
        self.stats.evicted += 1;
        if self.evicted.len() >= MAX_EVICTED {
            self.evicted.pop_front();
        }
        self.evicted.push_back(flow);
        true
    }

    /// How many places packets are taken from: ports, or queues of ports.
    fn port_count(&self) -> usize {
        self.ports.len()
    }

    /// Forgets what is over, and ranks what is busy.
    fn tend(&mut self, now: Instant) {
        if now >= self.ranked + RANK_INTERVAL {
            self.table.rank();
            self.ranked = now;
        }
        if self.sweeps.is_due(now) && !self.conntrack.expire(now, EXPIRE_BUDGET) {
            self.sweeps.done(now);
        }
        self.fragments.expire(now);
    }

    /// Takes a batch from a place, and forwards it. Returns how many packets came.
    fn poll_port(&mut self, place: usize, now: Instant, upcalls: &mut Vec<Upcall>) -> usize {
        let mut batch = self.batch.take().unwrap_or_default();
        let received = self.ports.receive(place, &mut batch);
        if received > 0 {
            self.ledger.received += received as u64;
            let mut round = Round::new(now, received);
            let mut again = self.spare.pop().unwrap_or_default();
            self.pass(&mut Flight::fresh(&mut batch), &mut round, &mut again);
            batch.clear();
            if !again.is_empty() {
                self.forward(&mut batch, &mut again, &mut round);
            }
            self.give_back(again);
            self.settle(round, upcalls);
        }
        self.batch = Some(batch);
        received
    }

    /// Makes good what a panic left half done: packets of that batch are dropped and accounted for.
    fn recover(&mut self) {
        self.keys.resize_with(BATCH, KeyBuffer::default);
        self.ports.forget();
        self.editor = Editor::new();
        self.ledger.write_off(DropReason::WorkerPanic);
    }

    fn check(actions: &[DpAction], depth: usize) -> Result<(), DpifError> {
        if depth > MAX_NESTING {
            return Err(DpifError::TooDeep(MAX_NESTING));
        }
        actions.iter().try_for_each(|a| {
            match a {
                DpAction::Set(attr, _) if !edit::is_settable(*attr) => return Err(DpifError::NotSettable(*attr)),
                DpAction::Psample { .. } => return Err(DpifError::Unsupported("psample")),
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
            stats: entry.tally.stats(),
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

fn tracker_config(limits: Limits, seed: u64) -> Config {
    Config::new(seed).with_max_connections(limits.connections)
}

/// Whose quota a megaflow counts for, and which mask of it.
struct Share {
    port: u32,
    mask: u64,
}

impl Share {
    /// None for a megaflow that does not match its port wholly.
    fn of(key: &FlowKey, mask: &FlowMask) -> Option<Share> {
        let whole = mask.bits.in_port.get() == u32::MAX;
        whole.then(|| Share { port: key.in_port.get(), mask: mask.bits.hash(BlockSet::ALL, 0) })
    }
}

impl Dpif for Datapath {
    fn kind(&self) -> &'static str {
        "netdev"
    }

    fn port_add(&mut self, spec: PortSpec, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        self.ports.add(spec.into_device()?, wanted)
    }

    fn port_del(&mut self, port: PortNo) -> Result<(), DpifError> {
        self.ports.remove(port)?;
        self.tunnels.forget(port);
        Ok(())
    }

    fn ports(&self) -> Result<Vec<PortInfo>, DpifError> {
        Ok(self.ports.info())
    }

    fn set_vlan_limit(&mut self, limit: u8) -> Result<(), DpifError> {
        self.extractor = Extractor::new().with_vlan_limit(limit);
        self.vlan_headers = if limit == 1 { 1 } else { 2 };
        Ok(())
    }

    fn set_tunnel_sources(&mut self, ports: RangeInclusive<u16>) -> Result<(), DpifError> {
        self.tunnels.sources = ports;
        Ok(())
    }

    fn flow_put(&mut self, key: &FlowKey, mask: &FlowMask, actions: &[DpAction]) -> Result<Ufid, DpifError> {
        self.flow_install(&FlowPut::new(key, mask, actions))
    }

    fn flow_install(&mut self, put: &FlowPut<'_>) -> Result<Ufid, DpifError> {
        Datapath::check(put.actions, 0)?;
        let pattern = Pattern::new(*put.key.words(), *put.mask.bits.words());
        let actions = put.actions.into();
        let known = self.table.find_exact(&pattern);
        if let Some(entry) = known.and_then(|h| self.table.get_mut(h)) {
            if put.mode == PutMode::Create {
                return Err(DpifError::FlowExists(entry.ufid));
            }
            entry.set_actions(actions, self.version);
            tracing::debug!(
                target: "dpif",
                "{}: put[modify] {} {}, actions:{}",
                self.name, entry.ufid, text::full_key(put.key, put.mask, &()), text::actions(put.actions)
            );
            if put.zero_stats {
                entry.tally = Tally::default();
            }
            return Ok(entry.ufid);
        }
        let ufid = put.ufid.unwrap_or_else(|| Ufid::of_masked(put.key, put.mask));
        if put.mode == PutMode::Modify {
            return Err(DpifError::NoSuchFlow(ufid));
        }
        if self.by_ufid.contains_key(&ufid) {
            return Err(DpifError::FlowExists(ufid));
        }
        let owner = Share::of(put.key, put.mask);
        if let Some(Share { port, mask }) = owner {
            self.make_room(port, mask);
        }
        self.born += 1;
        let entry = Entry::new(ufid, put.key.into(), actions, self.version, self.born);
        let handle = self.table.insert_absent(&pattern, entry).map_err(|full| DpifError::FlowTableFull(full.limit))?;
        self.by_ufid.insert(ufid, handle);
        if let Some(Share { port, mask }) = owner {
            self.bounds.add(port, ufid, mask);
            self.bounds.tidy(port, |ufid| self.by_ufid.contains_key(&ufid));
        }
        Ok(ufid)
    }

    fn publish(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn flow_keep(&mut self, ufid: Ufid) -> Result<DpFlowStats, DpifError> {
        let entry = self.by_ufid.get(&ufid).and_then(|handle| self.table.get_mut(*handle));
        let entry = entry.ok_or(DpifError::NoSuchFlow(ufid))?;
        entry.version = self.version;
        Ok(entry.tally.stats())
    }

    fn flow_del(&mut self, ufid: Ufid) -> Result<DpFlow, DpifError> {
        let flow = self.flow_get(ufid)?;
        if let Some(handle) = self.by_ufid.remove(&ufid) {
            self.table.remove_handle(handle);
        }
        if let Some(Share { port, mask }) = Share::of(&(&flow.key).into(), &FlowMask { bits: (&flow.mask).into() }) {
            self.bounds.remove(port, ufid, mask);
        }
        Ok(flow)
    }

    fn flow_make_room(&mut self, port: PortNo, rivals: Option<&[PortNo]>) -> bool {
        let (table, by_ufid) = (&self.table, &self.by_ufid);
        let used = |ufid: Ufid| Some(table.get(*by_ufid.get(&ufid)?)?.payload().tally.packets);
        let victim = self.bounds.rival(port.0, rivals, used);
        victim.is_some_and(|victim| self.evict(victim))
    }

    fn take_evicted(&mut self) -> Vec<DpFlow> {
        self.evicted.drain(..).collect()
    }

    fn flow_get(&self, ufid: Ufid) -> Result<DpFlow, DpifError> {
        let flow = self.by_ufid.get(&ufid).and_then(|h| self.table.get(*h)).ok_or(DpifError::NoSuchFlow(ufid))?;
        Ok(Datapath::describe(flow.payload(), &flow.pattern()))
    }

    fn flow_counters(&self, ufid: Ufid) -> Result<DpFlowStats, DpifError> {
        let flow = self.by_ufid.get(&ufid).and_then(|h| self.table.get(*h)).ok_or(DpifError::NoSuchFlow(ufid))?;
        Ok(flow.payload().tally.stats())
    }

    fn flow_stats(&self, f: &mut dyn FnMut(Ufid, DpFlowStats)) -> Result<(), DpifError> {
        for (_, flow) in self.table.iter() {
            f(flow.payload().ufid, flow.payload().tally.stats());
        }
        Ok(())
    }

    fn flow_dump(&self) -> Result<Vec<DpFlow>, DpifError> {
        let mut flows: Vec<_> = self.table.iter().map(|(_, flow)| flow).collect();
        flows.sort_unstable_by_key(|flow| flow.payload().born);
        let flows: Vec<_> = flows.into_iter().map(|flow| Datapath::describe(flow.payload(), &flow.pattern())).collect();
        for f in flows.iter().filter(|_| tracing::enabled!(target: "dpif", tracing::Level::DEBUG)) {
            let key = text::full_key(&(&f.key).into(), &FlowMask { bits: (&f.mask).into() }, &()).to_string();
            let actions = text::actions(&f.actions);
            // Of the clock, a datapath hears when packets come.
            let stats = text::flow_stats(&f.stats, self.now);
            tracing::debug!(target: "dpif", "{}: flow_dump {} {key}, {stats}, actions:{actions}", self.name, f.ufid);
        }
        Ok(flows)
    }

    fn flow_flush(&mut self) -> Result<(), DpifError> {
        self.table.clear();
        self.by_ufid.clear();
        self.bounds.clear_flows();
        Ok(())
    }

    fn meter_set(&mut self, id: u32, config: &meter::Config) -> Result<(), DpifError> {
        Ok(self.meters.set(id, config.clone())?)
    }

    fn meter_stats(&self, id: u32) -> Result<meter::Stats, DpifError> {
        Ok(self.meters.stats(id).ok_or(MeterError::NoSuchMeter(id))?)
    }

    fn meter_del(&mut self, id: u32) -> Result<meter::Stats, DpifError> {
        Ok(self.meters.delete(id)?)
    }

    fn bond_set(&mut self, bond: u32, members: &[PortNo; BOND_BUCKETS]) -> Result<(), DpifError> {
        self.bonds.set(bond, members);
        Ok(())
    }

    fn bond_del(&mut self, bond: u32) -> Result<BondStats, DpifError> {
        self.bonds.remove(bond)
    }

    fn bond_stats(&self, bond: u32) -> Result<BondStats, DpifError> {
        self.bonds.stats(bond)
    }

    fn features(&self) -> Features {
        Features {
            vlan_headers: self.vlan_headers,
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
            set_messages: true,
            add_mpls: true,
            lb_output: true,
            native_tunnels: true,
            packet_types: true,
            versions: true,
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
        self.now = now;
        self.tend(now);
        (0..self.port_count()).map(|place| self.poll_port(place, now, upcalls)).sum()
    }

    fn resolve(&mut self, upcall: Upcall, resolution: Resolution<'_>, now: Instant, upcalls: &mut Vec<Upcall>) {
        let Upcall { packet, held, turns, .. } = upcall;
        if held {
            self.ledger.in_flight -= 1;
            self.bounds.release(packet.meta.in_port);
        }
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
        let (flows, masks) = (self.table.len() as u64, self.table.mask_count() as u64);
        Ok(DpStats { flows, masks, probes: Some(self.table.probes()), ..self.stats })
    }

    fn events(&self) -> Vec<(&'static str, u64)> {
        let (sent, tracked) = (self.ports.sent(), self.conntrack.counters());
        let mut events = vec![
            ("conntrack_l3csum_checked", self.headers_summed),
            ("conntrack_l3csum_err", tracked.invalid(InvalidReason::HeaderChecksum)),
            ("conntrack_l4csum_err", tracked.invalid(InvalidReason::Checksum)),
            ("dp_packet_gso", sent.cut + self.tunnels.cut),
            ("netdev_sent", sent.batches),
        ];
        events.extend(self.tunnels.events());
        events
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
