//! Who listens to which group addresses, learnt by listening to what hosts tell routers
//! (RFC 4541; IGMP of RFC 2236 and RFC 3376, MLD of RFC 2710 and RFC 3810).
//!
//! The table is bounded: when it is full, the group that was not reported longest goes. Groups, their listeners and
//! routers age out. Addresses of IPv4 stand as IPv4-mapped ones of IPv6.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ovs_packet::checksum;
use ovs_packet::wire::{group, igmp, mld};
use ovs_packet::{Instant, OfPort};

/// All that listen to IPv6 on the link at all (RFC 4291, section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// How long a listener is remembered that reports no more.
pub const GROUP_AGING: Duration = Duration::from_secs(300);

/// How long a router is remembered that asks no more.
pub const ROUTER_AGING: Duration = Duration::from_secs(180);

/// How many groups are kept.
pub const DEFAULT_GROUPS: usize = 2048;

/// How group addresses are snooped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SnoopingConfig {
    /// How many groups are kept.
    pub groups: usize,
    /// How long a listener is remembered.
    pub aging: Duration,
    /// Whether packets to a group without listeners are flooded, and not just sent to routers.
    pub flood_unregistered: bool,
}

impl Default for SnoopingConfig {
    fn default() -> Self {
        SnoopingConfig { groups: DEFAULT_GROUPS, aging: GROUP_AGING, flood_unregistered: true }
    }
}

/// How a listener spoke last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum ListenerProtocol {
    /// IGMP, version 1.
    IgmpV1,
    /// IGMP, version 2.
    IgmpV2,
    /// IGMP, version 3.
    IgmpV3,
    /// MLD, version 1.
    MldV1,
    /// MLD, version 2.
    MldV2,
}

/// A listener, or a router, as listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MdbEntry {
    /// Port that it is behind.
    pub port: OfPort,
    /// VLAN.
    pub vlan: u16,
    /// Group, or `None` for a router. IPv4-mapped if it is one of IPv4.
    pub group: Option<Ipv6Addr>,
    /// How a listener spoke.
    pub protocol: Option<ListenerProtocol>,
    /// How long nothing was heard of it.
    pub age: Duration,
}

/// The listeners of a group.
#[derive(Clone, Debug, Default)]
struct Group {
    ports: BTreeMap<OfPort, Listener>,
    /// When it was reported last, as a count of reports: of several at one time, one is the last.
    heard: u64,
}

#[derive(Clone, Copy, Debug)]
struct Listener {
    used: Instant,
    protocol: ListenerProtocol,
}

/// What was heard of listeners and routers.
#[derive(Clone, Debug, Default)]
pub struct Snooping {
    config: SnoopingConfig,
    groups: BTreeMap<(u16, Ipv6Addr), Group>,
    /// How many reports there were.
    reports: u64,
    routers: BTreeMap<(u16, OfPort), Instant>,
    evicted: u64,
    changed: bool,
}

impl Snooping {
    /// Nothing was heard yet.
    pub fn new(config: SnoopingConfig) -> Snooping {
        Snooping { config, ..Snooping::default() }
    }

    // Queries.

    /// How group addresses are snooped.
    pub fn config(&self) -> &SnoopingConfig {
        &self.config
    }

    /// The ports that listeners of a group are behind; `None` if nobody listens.
    pub fn listeners(&self, vlan: u16, group: Ipv6Addr) -> Option<impl Iterator<Item = OfPort> + '_> {
        self.groups.get(&(vlan, group)).map(|g| g.ports.keys().copied())
    }

    /// The ports that routers are behind.
    pub fn routers(&self, vlan: u16) -> impl Iterator<Item = OfPort> + '_ {
        self.routers.range((vlan, OfPort(0))..=(vlan, OfPort(u32::MAX))).map(|((_, port), _)| *port)
    }

    /// Listeners by group, that which was reported last at the end, and port, then routers.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = MdbEntry> + '_ {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_unstable_by_key(|(_, g)| g.heard);
        let listeners = groups.into_iter().flat_map(move |((vlan, group), g)| {
            g.ports.iter().map(move |(port, l)| MdbEntry {
                port: *port,
                vlan: *vlan,
                group: Some(*group),
                protocol: Some(l.protocol),
                age: now - l.used,
            })
        });
        let routers = self.routers.iter().map(move |((vlan, port), used)| MdbEntry {
            port: *port,
            vlan: *vlan,
            group: None,
            protocol: None,
            age: now - *used,
        });
        listeners.chain(routers)
    }

    /// How many groups had to make room for others.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Whether a lookup may answer otherwise than when this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether there is a change to be [taken](Self::take_changed).
    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// When the next listener or router ages out.
    pub fn next_expiry(&self) -> Option<Instant> {
        let listeners = self.groups.values().flat_map(|g| g.ports.values()).map(|l| l.used + self.config.aging);
        listeners.chain(self.routers.values().map(|used| *used + ROUTER_AGING)).min()
    }

    // Changes.

    /// Treats group addresses otherwise from now on.
    pub fn configure(&mut self, config: SnoopingConfig) {
        self.config = config;
        self.changed = true;
    }

    /// Takes note of an IGMP message that came in by a port: `data` from its first byte on, `source` that of the IP
    /// packet. One that makes no sense is ignored.
    pub fn igmp(&mut self, vlan: u16, port: OfPort, source: Ipv4Addr, data: &[u8], now: Instant) {
        let Ok(message) = igmp::View::new(data) else { return };
        let group = message.group().to_ipv6_mapped();
        match message.kind() {
            igmp::Kind::REPORT_V1 => self.join(vlan, group, port, ListenerProtocol::IgmpV1, now),
            igmp::Kind::REPORT_V2 => self.join(vlan, group, port, ListenerProtocol::IgmpV2, now),
            igmp::Kind::LEAVE => self.leave(vlan, group, port),
            igmp::Kind::REPORT_V3 => {
                for r in message.records() {
                    let group = Ipv4Addr::from(*r.group).to_ipv6_mapped();
                    match leaves(r.kind, r.sources.is_empty()) {
                        true => self.leave(vlan, group, port),
                        false => self.join(vlan, group, port, ListenerProtocol::IgmpV3, now),
                    }
                }
            }
            // A query without source comes from a switch that knows no router.
            igmp::Kind::QUERY if !source.is_unspecified() => self.router(vlan, port, now),
            _ => {}
        }
    }

    /// Likewise of an MLD message, from the first byte of ICMPv6 on.
    pub fn mld(&mut self, vlan: u16, port: OfPort, source: Ipv6Addr, destination: Ipv6Addr, data: &[u8], now: Instant) {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let pseudo = checksum::pseudo_v6(source, destination, ovs_packet::extract::IP_PROTO_ICMPV6, len);
        // One's complement: all ones is zero.
        if !checksum::sum(data, pseudo).is_multiple_of(0xffff) {
            return;
        }
        let Ok(message) = mld::View::new(data) else { return };
        match message.kind() {
            mld::Kind::QUERY if !source.is_unspecified() => self.router(vlan, port, now),
            mld::Kind::REPORT_V1 => self.join(vlan, message.group(), port, ListenerProtocol::MldV1, now),
            mld::Kind::DONE => self.leave(vlan, message.group(), port),
            mld::Kind::REPORT_V2 => {
                for r in message.records() {
                    let group = Ipv6Addr::from(*r.group);
                    match leaves(r.kind, r.sources.is_empty()) {
                        true => self.leave(vlan, group, port),
                        false => self.join(vlan, group, port, ListenerProtocol::MldV2, now),
                    }
                }
            }
            _ => {}
        }
    }

    /// A host behind `port` listens to `group`.
    pub fn join(&mut self, vlan: u16, group: Ipv6Addr, port: OfPort, protocol: ListenerProtocol, now: Instant) {
        // Groups of the link are for everyone (RFC 4541, section 2.1.2).
        let multicast = group.to_ipv4_mapped().map_or(group.is_multicast(), |g| g.is_multicast());
        if !multicast || is_local(group) {
            return;
        }
        if !self.groups.contains_key(&(vlan, group)) && self.groups.len() >= self.config.groups.max(1) {
            let oldest = self.groups.iter().min_by_key(|(_, g)| g.heard).map(|(key, _)| *key);
            oldest.into_iter().for_each(|key| drop(self.groups.remove(&key)));
            self.evicted += 1;
        }
        self.reports += 1;
        let g = self.groups.entry((vlan, group)).or_default();
        g.heard = self.reports;
        let known = g.ports.insert(port, Listener { used: now, protocol });
        self.changed |= known.is_none();
    }

    /// No host behind `port` listens to `group` any more.
    pub fn leave(&mut self, vlan: u16, group: Ipv6Addr, port: OfPort) {
        let Some(g) = self.groups.get_mut(&(vlan, group)) else { return };
        self.changed |= g.ports.remove(&port).is_some();
        if g.ports.is_empty() {
            self.groups.remove(&(vlan, group));
        }
    }

    fn router(&mut self, vlan: u16, port: OfPort, now: Instant) {
        self.changed |= self.routers.insert((vlan, port), now).is_none();
    }

    /// Forgets listeners and routers that were silent too long.
    pub fn expire(&mut self, now: Instant) {
        let aging = self.config.aging;
        self.keep(|_, l| now - l.used < aging, |_, used| now - *used < ROUTER_AGING);
    }

    /// Forgets what is behind a port.
    pub fn forget_port(&mut self, port: OfPort) {
        self.keep(|p, _| *p != port, |(_, p), _| *p != port);
    }

    /// Forgets everything.
    pub fn flush(&mut self) {
        self.keep(|_, _| false, |_, _| false);
    }

    fn keep(
        &mut self,
        listener: impl Fn(&OfPort, &Listener) -> bool,
        router: impl Fn(&(u16, OfPort), &Instant) -> bool,
    ) {
        let mut changed = false;
        self.groups.retain(|_, g| {
            let before = g.ports.len();
            g.ports.retain(|p, l| listener(p, l));
            changed |= g.ports.len() != before;
            !g.ports.is_empty()
        });
        let before = self.routers.len();
        self.routers.retain(|k, used| router(k, used));
        self.changed |= changed || self.routers.len() != before;
    }
}

/// Whether a record says that nobody listens any more.
fn leaves(kind: group::RecordKind, no_sources: bool) -> bool {
    no_sources && matches!(kind, group::RecordKind::IS_INCLUDE | group::RecordKind::TO_INCLUDE)
}

/// Whether a group is one of the link, which routers never forward.
pub(super) fn is_local(group: Ipv6Addr) -> bool {
    match group.to_ipv4_mapped() {
        Some(v4) => v4.octets()[..3] == [224, 0, 0],
        // Of other groups of the link listeners report, too (RFC 3810, section 6).
        None => group == ALL_NODES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u8) -> Ipv6Addr {
        Ipv4Addr::new(239, 1, 1, n).to_ipv6_mapped()
    }

    fn join(s: &mut Snooping, n: u8, port: u32, at: u64) {
        s.join(0, v4(n), OfPort(port), ListenerProtocol::IgmpV2, Instant::from_secs(at));
    }

    #[test]
    fn listeners_come_and_go() {
        let mut s = Snooping::default();
        join(&mut s, 1, 1, 0);
        join(&mut s, 1, 2, 100);
        assert!(s.take_changed() && !s.take_changed());
        assert_eq!(s.listeners(0, v4(1)).unwrap().collect::<Vec<_>>(), [OfPort(1), OfPort(2)]);
        s.expire(Instant::from_secs(300));
        assert_eq!(s.listeners(0, v4(1)).unwrap().collect::<Vec<_>>(), [OfPort(2)]);
        s.leave(0, v4(1), OfPort(2));
        assert!(s.listeners(0, v4(1)).is_none() && s.take_changed());
        s.join(0, Ipv4Addr::new(224, 0, 0, 5).to_ipv6_mapped(), OfPort(1), ListenerProtocol::IgmpV2, Instant::ZERO);
        assert_eq!(s.iter(Instant::ZERO).count(), 0);
    }

    #[test]
    fn the_longest_silent_group_makes_room() {
        let mut s = Snooping::new(SnoopingConfig { groups: 2, ..SnoopingConfig::default() });
        join(&mut s, 1, 1, 1);
        join(&mut s, 2, 1, 2);
        join(&mut s, 1, 1, 2);
        let groups: Vec<_> = s.iter(Instant::from_secs(2)).map(|e| e.group).collect();
        assert_eq!(groups, [Some(v4(2)), Some(v4(1))]);
        join(&mut s, 3, 1, 4);
        assert!(s.listeners(0, v4(2)).is_none() && s.listeners(0, v4(1)).is_some() && s.evicted() == 1);
    }

    #[test]
    fn messages_are_understood() {
        use ovs_packet::wire::Wire;
        let mut s = Snooping::default();
        let now = Instant::ZERO;
        let query = igmp::Message::Query { max_response: 100, group: Ipv4Addr::UNSPECIFIED };
        s.igmp(5, OfPort(3), Ipv4Addr::new(10, 0, 0, 1), &query.to_vec().unwrap(), now);
        s.igmp(5, OfPort(4), Ipv4Addr::UNSPECIFIED, &query.to_vec().unwrap(), now);
        assert_eq!(s.routers(5).collect::<Vec<_>>(), [OfPort(3)]);
        let mut garbage = query.to_vec().unwrap();
        garbage[2] ^= 1;
        s.igmp(6, OfPort(3), Ipv4Addr::new(10, 0, 0, 1), &garbage, now);
        assert_eq!(s.routers(6).count(), 0);
        s.expire(Instant::ZERO + ROUTER_AGING);
        assert_eq!(s.routers(5).count(), 0);
    }
}
