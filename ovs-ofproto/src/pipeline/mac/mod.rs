//! What a learning switch has learnt: which address is behind which port, by VLAN (IEEE 802.1Q-2014, clause 8.8).
//!
//! The table is bounded, and fair: where it is full, a new address evicts one of the port that has most of them, the one
//! that was silent longest. Addresses age out. A gratuitous ARP tells where a station is now: for a while after it, another
//! one that comes by a bond is taken for its echo, which other members of the bond were sent. Static addresses stay, whatever is heard.

mod crowds;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use ovs_packet::{EthAddr, Instant, OfPort};

use crowds::Crowds;

/// How long an address is kept that is not heard of.
pub const DEFAULT_AGING: Duration = Duration::from_secs(300);

/// How many addresses are kept.
pub const DEFAULT_LIMIT: usize = 8192;

/// How long after a gratuitous ARP one that comes by a bond is taken for its echo.
pub const GRATUITOUS_HOLD: Duration = Duration::from_secs(5);

/// An address in a VLAN; VLAN 0 is that of untagged packets where there are no VLANs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Station {
    vlan: u16,
    address: EthAddr,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    port: OfPort,
    used: Instant,
    /// Until when a gratuitous ARP by a bond is taken for an echo.
    held: Instant,
    is_static: bool,
}

/// A learnt address, as listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MacEntry {
    /// VLAN.
    pub vlan: u16,
    /// Address.
    pub address: EthAddr,
    /// Port that it is behind.
    pub port: OfPort,
    /// How long nothing was heard of it.
    pub age: Duration,
    /// Whether it was set, and not learnt.
    pub is_static: bool,
}

/// What happened to learnt addresses (`fdb/stats-show`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct MacStats {
    /// Learnt.
    pub learned: u64,
    /// Aged out.
    pub expired: u64,
    /// Made room for others.
    pub evicted: u64,
    /// Came to be behind another port.
    pub moved: u64,
    /// Were heard of behind another port, but had been set and stayed.
    pub stayed: u64,
}

/// The table of learnt addresses.
///
/// ```
/// use ovs_ofproto::pipeline::MacTable;
/// use ovs_packet::{EthAddr, Instant, OfPort};
///
/// let mut macs = MacTable::default();
/// let station = EthAddr::local(1);
/// assert!(macs.learn(0, station, OfPort(1), Instant::ZERO));
/// assert!(!macs.learn(0, station, OfPort(1), Instant::from_secs(1)));
/// assert_eq!(macs.lookup(0, station), Some(OfPort(1)));
/// assert_eq!(macs.expire(Instant::from_secs(400)), 1);
/// ```
#[derive(Clone, Debug)]
pub struct MacTable {
    entries: HashMap<Station, Entry>,
    /// Those that were learnt.
    by_use: BTreeSet<(Instant, Station)>,
    /// The same, by port.
    by_port: Crowds,
    limit: usize,
    aging: Duration,
    stats: MacStats,
    changes: MacChanges,
}

/// The addresses that a lookup may answer otherwise for than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MacChanges {
    /// These, each with its VLAN.
    Some(BTreeSet<(u16, EthAddr)>),
    /// So many that they were not noted one by one.
    All,
}

impl Default for MacChanges {
    fn default() -> Self {
        MacChanges::Some(BTreeSet::new())
    }
}

impl Default for MacTable {
    fn default() -> Self {
        MacTable::new(DEFAULT_LIMIT, DEFAULT_AGING)
    }
}

impl MacTable {
    /// A table of at most `limit` addresses, each kept for `aging` after it was last heard of.
    pub fn new(limit: usize, aging: Duration) -> MacTable {
        MacTable {
            entries: HashMap::new(),
            by_use: BTreeSet::new(),
            by_port: Crowds::default(),
            limit: limit.max(1),
            aging,
            stats: MacStats::default(),
            changes: MacChanges::default(),
        }
    }

    /// Notes that `address` was heard of behind `port`. True if that is news: packets to it go elsewhere now.
    pub fn learn(&mut self, vlan: u16, address: EthAddr, port: OfPort, now: Instant) -> bool {
        self.hear(vlan, address, port, Instant::ZERO, now)
    }

    /// As [`learn`](Self::learn), by a gratuitous ARP of the station.
    pub fn learn_gratuitous(&mut self, vlan: u16, address: EthAddr, port: OfPort, now: Instant) -> bool {
        self.hear(vlan, address, port, now + GRATUITOUS_HOLD, now)
    }

    /// As [`learn_gratuitous`](Self::learn_gratuitous), where `port` is a bond, whose members may have been sent one that came
    /// by another port a while ago.
    pub fn learn_gratuitous_by_bond(&mut self, vlan: u16, address: EthAddr, port: OfPort, now: Instant) -> bool {
        let known = self.entries.get(&Station { vlan, address });
        let is_echo = known.is_some_and(|known| now < known.held);
        !is_echo && self.hear(vlan, address, port, Instant::ZERO, now)
    }

    fn hear(&mut self, vlan: u16, address: EthAddr, port: OfPort, held: Instant, now: Instant) -> bool {
        let station = Station { vlan, address };
        if let Some(known) = self.entries.get(&station).copied() {
            self.stats.stayed += u64::from(known.is_static && known.port != port);
            // Counters are read late: what they tell of the time before a move is no news.
            if known.is_static || now < known.used {
                return false;
            }
            self.unlist(station);
            let moved = known.port != port;
            self.list(station, Entry { port, used: now, held: known.held.max(held), is_static: false });
            if moved {
                self.stats.moved += 1;
                self.note(station);
            }
            return moved;
        }
        if self.entries.len() >= self.limit {
            self.make_room();
        }
        self.note(station);
        self.stats.learned += 1;
        self.list(station, Entry { port, used: now, held, is_static: false });
        true
    }

    /// Of the port that has most, the address goes that was silent longest.
    fn make_room(&mut self) {
        if let Some(oldest) = self.by_port.longest_silent_of_most() {
            self.unlist(oldest);
            self.stats.evicted += 1;
            self.note(oldest);
        }
    }

    fn list(&mut self, station: Station, entry: Entry) {
        if !entry.is_static {
            self.by_use.insert((entry.used, station));
            self.by_port.insert(entry.port, entry.used, station);
        }
        self.entries.insert(station, entry);
    }

    fn unlist(&mut self, station: Station) {
        let Some(entry) = self.entries.remove(&station) else { return };
        self.by_use.remove(&(entry.used, station));
        self.by_port.remove(entry.port, entry.used, station);
    }

    /// Has `address` be behind `port` for good.
    pub fn add_static(&mut self, vlan: u16, address: EthAddr, port: OfPort) {
        let station = Station { vlan, address };
        self.unlist(station);
        self.list(station, Entry { port, used: Instant::ZERO, held: Instant::ZERO, is_static: true });
        self.note(station);
    }

    /// Forgets an address, static or learnt. False if it is not known.
    pub fn remove(&mut self, vlan: u16, address: EthAddr) -> bool {
        let station = Station { vlan, address };
        let known = self.entries.contains_key(&station);
        if known {
            self.unlist(station);
            self.note(station);
        }
        known
    }

    /// The port that `address` is behind, if that is known.
    pub fn lookup(&self, vlan: u16, address: EthAddr) -> Option<OfPort> {
        self.entries.get(&Station { vlan, address }).map(|e| e.port)
    }

    /// Whether it would be news that `address` is behind `port`, as far as that does not depend on the time.
    pub(super) fn would_learn(&self, vlan: u16, address: EthAddr, port: OfPort) -> bool {
        self.entries.get(&Station { vlan, address }).is_none_or(|e| !e.is_static && e.port != port)
    }

    /// Forgets the addresses that were silent too long, and says how many.
    pub fn expire(&mut self, now: Instant) -> usize {
        let mut expired = 0;
        while let Some((used, station)) = self.by_use.first().copied().filter(|(used, _)| now - *used >= self.aging) {
            self.by_use.remove(&(used, station));
            self.unlist(station);
            self.note(station);
            self.stats.expired += 1;
            expired += 1;
        }
        expired
    }

    /// When the next address ages out.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.by_use.first().map(|(used, _)| *used + self.aging)
    }

    /// Forgets all addresses behind `port`, and says how many.
    pub fn forget_port(&mut self, port: OfPort) -> usize {
        let gone: Vec<_> = self.entries.iter().filter(|(_, e)| e.port == port).map(|(s, _)| *s).collect();
        for station in &gone {
            self.unlist(*station);
            self.note(*station);
        }
        gone.len()
    }

    /// Forgets everything that was learnt.
    pub fn flush(&mut self) {
        self.entries.retain(|_, e| e.is_static);
        self.by_use.clear();
        self.by_port.clear();
        self.changes = MacChanges::All;
    }

    /// Keeps at most `limit` addresses from now on, each for `aging` after it was last heard of.
    pub fn configure(&mut self, limit: usize, aging: Duration) {
        (self.limit, self.aging) = (limit.max(1), aging);
        while self.entries.len() > self.limit && !self.by_use.is_empty() {
            self.make_room();
        }
    }

    /// Whether anything changed since [`take_changes`](Self::take_changes).
    pub fn has_changes(&self) -> bool {
        !matches!(&self.changes, MacChanges::Some(noted) if noted.is_empty())
    }

    /// What changed since this was asked last.
    pub fn take_changes(&mut self) -> MacChanges {
        std::mem::take(&mut self.changes)
    }

    fn note(&mut self, station: Station) {
        if let MacChanges::Some(noted) = &mut self.changes {
            noted.insert((station.vlan, station.address));
            if noted.len() > self.limit {
                self.changes = MacChanges::All;
            }
        }
    }

    /// How many addresses are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What happened to addresses.
    pub fn stats(&self) -> MacStats {
        self.stats
    }

    /// Counts from zero again.
    pub fn clear_stats(&mut self) {
        self.stats = MacStats::default();
    }

    /// The static addresses, then the learnt ones, of which the one that was silent longest comes first.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = MacEntry> {
        let mut fixed: Vec<_> = self.entries.iter().filter(|(_, e)| e.is_static).map(|(s, _)| *s).collect();
        fixed.sort_unstable();
        fixed.into_iter().chain(self.by_use.iter().map(|(_, s)| *s)).filter_map(move |s| {
            let Entry { port, used, is_static, .. } = *self.entries.get(&s)?;
            let age = if is_static { Duration::ZERO } else { now - used };
            Some(MacEntry { vlan: s.vlan, address: s.address, port, age, is_static })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_silent_is_evicted() {
        let mut t = MacTable::new(2, DEFAULT_AGING);
        t.learn(0, EthAddr::local(1), OfPort(1), Instant::from_secs(1));
        t.learn(0, EthAddr::local(2), OfPort(1), Instant::from_secs(2));
        t.learn(0, EthAddr::local(1), OfPort(1), Instant::from_secs(3));
        t.learn(0, EthAddr::local(3), OfPort(1), Instant::from_secs(4));
        assert_eq!((t.lookup(0, EthAddr::local(2)), t.len(), t.stats().evicted), (None, 2, 1));
    }

    #[test]
    fn a_gratuitous_arp_is_not_believed_when_a_bond_brings_it_back() {
        let (mut t, a) = (MacTable::default(), EthAddr::local(1));
        let at = Instant::from_secs;
        t.learn_gratuitous(0, a, OfPort(1), at(10));
        assert!(!t.learn_gratuitous_by_bond(0, a, OfPort(2), at(11)));
        assert_eq!(t.lookup(0, a), Some(OfPort(1)));
        // What is no echo moves it, as does whatever comes later.
        assert!(t.learn(0, a, OfPort(3), at(12)));
        assert!(!t.learn_gratuitous_by_bond(0, a, OfPort(2), at(14)));
        assert!(t.learn_gratuitous_by_bond(0, a, OfPort(2), at(15)));
    }

    /// Five ports with two addresses each; sixteen come by a sixth: it ends with three, and no other loses more than one.
    #[test]
    fn one_port_cannot_drive_the_others_out() {
        let mut t = MacTable::new(10, DEFAULT_AGING);
        for i in 0..10 {
            t.learn(0, EthAddr::local(i), OfPort(i as u32 / 2 + 1), Instant::from_secs(i));
        }
        for i in 10..26 {
            t.learn(0, EthAddr::local(i), OfPort(6), Instant::from_secs(i));
        }
        let of = |port: u32| t.iter(Instant::from_secs(26)).filter(|e| e.port == OfPort(port)).count();
        assert_eq!([1, 2, 3, 4, 5, 6].map(of), [1, 1, 2, 1, 2, 3]);
    }

    proptest! {
        /// Against a map without a bound.
        #[test]
        fn model(ops in prop::collection::vec((0u8..4, 0u16..2, 0u64..5, 0u32..3, 0u64..200), 0..60)) {
            let mut t = MacTable::default();
            let mut model = BTreeMap::<(u16, u64), (u32, Instant)>::new();
            let mut known = BTreeMap::new();
            let mut now = Instant::ZERO;
            for (op, vlan, mac, port, dt) in ops {
                now += Duration::from_secs(dt);
                match op {
                    0 | 1 => {
                        let old = model.insert((vlan, mac), (port, now));
                        let news = old.is_none_or(|(p, _)| p != port);
                        prop_assert_eq!(t.learn(vlan, EthAddr::local(mac), OfPort(port), now), news);
                    }
                    2 => {
                        let before = model.len();
                        model.retain(|_, (_, used)| now - *used < DEFAULT_AGING);
                        prop_assert_eq!(t.expire(now), before - model.len());
                    }
                    _ => {
                        let before = model.len();
                        model.retain(|_, (p, _)| *p != port);
                        prop_assert_eq!(t.forget_port(OfPort(port)), before - model.len());
                    }
                }
                prop_assert_eq!(t.len(), model.len());
                prop_assert_eq!(t.iter(now).count(), model.len());
                // Whoever looked an address up before is told if the answer is another now.
                let now_known: BTreeMap<_, _> = model.iter().map(|(k, (p, _))| (*k, *p)).collect();
                let MacChanges::Some(changed) = t.take_changes() else { panic!("few addresses") };
                for vlan in 0..2 {
                    for mac in 0..5 {
                        let differs = known.get(&(vlan, mac)) != now_known.get(&(vlan, mac));
                        prop_assert_eq!(changed.contains(&(vlan, EthAddr::local(mac))), differs);
                    }
                }
                known = now_known;
                for ((vlan, mac), (port, _)) in &model {
                    prop_assert_eq!(t.lookup(*vlan, EthAddr::local(*mac)), Some(OfPort(*port)));
                }
            }
        }
    }
}
