//! What a learning switch has learnt: which address is behind which port, by VLAN (IEEE 802.1Q-2014, clause 8.8).
//!
//! The table is bounded: a new address evicts the one that was silent longest. Addresses age out.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use ovs_packet::{EthAddr, Instant, OfPort};

/// How long an address is kept that is not heard of.
pub const DEFAULT_AGING: Duration = Duration::from_secs(300);

/// How many addresses are kept.
pub const DEFAULT_LIMIT: usize = 8192;

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
    by_use: BTreeSet<(Instant, Station)>,
    limit: usize,
    aging: Duration,
    evicted: u64,
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
            limit: limit.max(1),
            aging,
            evicted: 0,
            changes: MacChanges::default(),
        }
    }

    /// Notes that `address` was heard of behind `port`. True if that is news: packets to it go elsewhere now.
    pub fn learn(&mut self, vlan: u16, address: EthAddr, port: OfPort, now: Instant) -> bool {
        let station = Station { vlan, address };
        if let Some(entry) = self.entries.get_mut(&station) {
            // Counters are read late: what they tell of the time before a move is no news.
            if now < entry.used {
                return false;
            }
            self.by_use.remove(&(entry.used, station));
            entry.used = now;
            self.by_use.insert((entry.used, station));
            let moved = std::mem::replace(&mut entry.port, port) != port;
            if moved {
                self.note(station);
            }
            return moved;
        }
        if self.entries.len() >= self.limit
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.entries.remove(&oldest);
            self.evicted += 1;
            self.note(oldest);
        }
        self.note(station);
        self.entries.insert(station, Entry { port, used: now });
        self.by_use.insert((now, station));
        true
    }

    /// The port that `address` is behind, if that is known.
    pub fn lookup(&self, vlan: u16, address: EthAddr) -> Option<OfPort> {
        self.entries.get(&Station { vlan, address }).map(|e| e.port)
    }

    /// Forgets the addresses that were silent too long, and says how many.
    pub fn expire(&mut self, now: Instant) -> usize {
        let mut expired = 0;
        while let Some((used, station)) = self.by_use.first().copied().filter(|(used, _)| now - *used >= self.aging) {
            self.by_use.remove(&(used, station));
            self.entries.remove(&station);
            self.note(station);
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
        let gone: Vec<_> =
            self.by_use.iter().filter(|(_, s)| self.entries.get(s).is_some_and(|e| e.port == port)).copied().collect();
        for (used, station) in &gone {
            self.by_use.remove(&(*used, *station));
            self.entries.remove(station);
            self.note(*station);
        }
        gone.len()
    }

    /// Forgets everything.
    pub fn flush(&mut self) {
        self.entries.clear();
        self.by_use.clear();
        self.changes = MacChanges::All;
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

    /// How many addresses had to make room for others.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The addresses, the one that was silent longest first.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = MacEntry> {
        self.by_use.iter().filter_map(move |(used, s)| {
            let port = self.entries.get(s)?.port;
            Some(MacEntry { vlan: s.vlan, address: s.address, port, age: now - *used })
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
        assert_eq!((t.lookup(0, EthAddr::local(2)), t.len(), t.evicted()), (None, 2, 1));
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
