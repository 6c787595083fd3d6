//! Which tunnel port a packet came by.
//!
//! A port says of its packets: the datapath's port always, and of the key, the far address (the outer source) and the near
//! one (the outer destination) each whether it must be a certain one. The port that says most is the packet's: first counts
//! whether it names the key, then the far end, then the near end, where to leave it open (`Local::Any`) goes before leaving
//! it to flows; last come ports that are aware of packet types, after those for packets of this type alone.
//!
//! There are 24 ways of saying so much or so little. A lookup tries those that some port has, each by one hash.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ovs_dpif::PortNo;
use ovs_packet::key::FlowKey;

use super::config::{Local, PacketMode, Remote, TunnelConfig, TunnelKey, is_tunnelled};

/// How many ways there are to say what a port's packets are.
const WAYS: usize = 24;

/// How little a port says of its packets: of several that a packet fits, the one of the lowest rank is its port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(in crate::pipeline) struct Rank(u8);

/// What a port says of its packets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Pattern {
    vport: PortNo,
    /// None where flows say it.
    key: Option<u64>,
    remote: Remote,
    local: Local,
    mode: PacketMode,
}

impl Pattern {
    fn of(config: &TunnelConfig, vport: PortNo) -> Pattern {
        let key = match config.in_key {
            TunnelKey::None => Some(0),
            TunnelKey::Flow => None,
            TunnelKey::Id(id) => Some(id),
        };
        Pattern { vport, key, remote: config.remote, local: config.local, mode: config.mode }
    }

    fn rank(&self) -> Rank {
        let local = match self.local {
            Local::Address(_) => 0,
            Local::Any => 1,
            Local::Flow => 2,
        };
        let remote = u8::from(self.remote == Remote::Flow);
        let aware = u8::from(self.mode == PacketMode::Aware);
        Rank(aware + 2 * (local + 3 * (remote + 2 * u8::from(self.key.is_none()))))
    }
}

/// A packet as ports tell it from others.
#[derive(Clone, Copy)]
struct Arrival {
    vport: PortNo,
    key: u64,
    remote: IpAddr,
    local: IpAddr,
    /// The mode of ports for packets of its type alone.
    mode: PacketMode,
}

impl Arrival {
    fn of(key: &FlowKey) -> Arrival {
        let (remote, local): (IpAddr, IpAddr) = if key.tun_dst != 0 {
            (Ipv4Addr::from_bits(key.tun_src.get()).into(), Ipv4Addr::from_bits(key.tun_dst.get()).into())
        } else {
            (Ipv6Addr::from_bits(key.tun_ipv6_src.get()).into(), Ipv6Addr::from_bits(key.tun_ipv6_dst.get()).into())
        };
        // Namespace 1 is that of Ethertypes (OpenFlow 1.5, section 7.2.3.11).
        let mode = if key.packet_type.get() >> 16 == 1 { PacketMode::LegacyL3 } else { PacketMode::LegacyL2 };
        Arrival { vport: PortNo(key.in_port.get()), key: key.tun_id.get(), remote, local, mode }
    }

    /// What a port of this rank would have to say to be its own.
    fn pattern(&self, Rank(rank): Rank) -> Pattern {
        let local = match rank / 2 % 3 {
            0 => Local::Address(self.local),
            1 => Local::Any,
            _ => Local::Flow,
        };
        Pattern {
            vport: self.vport,
            key: (rank / 12 == 0).then_some(self.key),
            remote: if rank / 6 % 2 == 0 { Remote::Address(self.remote) } else { Remote::Flow },
            local,
            mode: if rank % 2 == 0 { self.mode } else { PacketMode::Aware },
        }
    }
}

/// Tunnel ports by what they say of their packets. See the [module](self).
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct TunnelMap<T> {
    ports: HashMap<Pattern, T>,
    /// How many ports of each rank there are.
    ranks: [u32; WAYS],
}

impl<T> Default for TunnelMap<T> {
    fn default() -> Self {
        TunnelMap { ports: HashMap::new(), ranks: [0; WAYS] }
    }
}

impl<T> TunnelMap<T> {
    /// Adds a port. False, and nothing is changed, if there is one that says the same.
    pub(in crate::pipeline) fn insert(&mut self, config: &TunnelConfig, vport: PortNo, port: T) -> bool {
        let pattern = Pattern::of(config, vport);
        if self.ports.contains_key(&pattern) {
            return false;
        }
        *self.count(pattern.rank()) += 1;
        self.ports.insert(pattern, port);
        true
    }

    /// Takes out the port that says what this one does.
    pub(in crate::pipeline) fn remove(&mut self, config: &TunnelConfig, vport: PortNo) -> Option<T> {
        let pattern = Pattern::of(config, vport);
        let port = self.ports.remove(&pattern)?;
        *self.count(pattern.rank()) -= 1;
        Some(port)
    }

    fn count(&mut self, Rank(rank): Rank) -> &mut u32 {
        &mut self.ranks[usize::from(rank) % WAYS]
    }

    /// The port that says what this one does.
    pub(in crate::pipeline) fn twin(&self, config: &TunnelConfig, vport: PortNo) -> Option<&T> {
        self.ports.get(&Pattern::of(config, vport))
    }

    /// The port that a packet with this key came by, in the datapath's port numbers, and how little that says of it.
    pub(in crate::pipeline) fn find(&self, key: &FlowKey) -> Option<(Rank, &T)> {
        if self.ports.is_empty() || !is_tunnelled(key) {
            return None;
        }
        let arrival = Arrival::of(key);
        let there = (0..).map(Rank).zip(&self.ranks).filter(|(_, count)| **count > 0);
        there.map(|(rank, _)| rank).find_map(|rank| Some((rank, self.ports.get(&arrival.pattern(rank))?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::tunnel::TunnelKind;

    fn address(n: u8) -> IpAddr {
        if n.is_multiple_of(2) { Ipv4Addr::new(10, 0, 0, n).into() } else { Ipv6Addr::from_bits(u128::from(n)).into() }
    }

    fn config() -> impl Strategy<Value = (TunnelConfig, PortNo)> {
        let remote = prop_oneof![Just(Remote::Flow), (0u8..4).prop_map(|n| Remote::Address(address(n)))];
        let local = prop_oneof![Just(Local::Flow), Just(Local::Any), (0u8..4).prop_map(|n| Local::Address(address(n)))];
        let key = prop_oneof![Just(TunnelKey::Flow), Just(TunnelKey::None), (0u64..3).prop_map(TunnelKey::Id)];
        let mode = prop_oneof![Just(PacketMode::LegacyL2), Just(PacketMode::LegacyL3), Just(PacketMode::Aware)];
        (remote, local, key, mode, 1u32..3).prop_map(|(remote, local, in_key, mode, vport)| {
            let all = TunnelConfig { local, in_key, mode, ..TunnelConfig::new(TunnelKind::Gre, remote) };
            (all, PortNo(vport))
        })
    }

    fn key() -> impl Strategy<Value = FlowKey> {
        (0u8..4, 0u8..4, 0u64..3, any::<bool>(), 1u32..3).prop_map(|(there, here, id, l3, vport)| {
            let mut key = FlowKey { in_port: vport.into(), tun_id: id.into(), ..FlowKey::ZERO };
            match (address(here), address(there)) {
                (IpAddr::V4(here), there) => {
                    key.tun_dst.set(here.to_bits());
                    key.tun_src.set(if let IpAddr::V4(there) = there { there.to_bits() } else { 0 });
                }
                (IpAddr::V6(here), there) => {
                    key.tun_ipv6_dst.set(here.to_bits());
                    key.tun_ipv6_src.set(if let IpAddr::V6(there) = there { there.to_bits() } else { 0 });
                }
            }
            key.packet_type.set(if l3 { 0x1_0800 } else { 0 });
            key
        })
    }

    /// Whether a port takes a packet, said without ranks.
    fn takes((config, vport): &(TunnelConfig, PortNo), key: &FlowKey) -> bool {
        let at = Arrival::of(key);
        *vport == at.vport
            && match config.in_key {
                TunnelKey::Flow => true,
                TunnelKey::None => at.key == 0,
                TunnelKey::Id(id) => id == at.key,
            }
            && (config.remote == Remote::Flow || config.remote == Remote::Address(at.remote))
            && (matches!(config.local, Local::Any | Local::Flow) || config.local == Local::Address(at.local))
            && (config.mode == PacketMode::Aware || config.mode == at.mode)
    }

    /// How good a match is, as the documentation orders them: each place counts before those behind it.
    fn order((config, _): &(TunnelConfig, PortNo)) -> (bool, bool, u8, bool) {
        let local = match config.local {
            Local::Address(_) => 0,
            Local::Any => 1,
            Local::Flow => 2,
        };
        let key = config.in_key == TunnelKey::Flow;
        (key, config.remote == Remote::Flow, local, config.mode == PacketMode::Aware)
    }

    proptest! {
        #[test]
        fn finds_what_a_linear_search_finds(
            ports in prop::collection::vec(config(), 0..24),
            gone in prop::collection::vec(0usize..24, 0..6),
            keys in prop::collection::vec(key(), 16),
        ) {
            let mut map = TunnelMap::default();
            let mut list: Vec<(usize, (TunnelConfig, PortNo))> = Vec::new();
            for (i, port) in ports.iter().enumerate() {
                let twin = list.iter().any(|(_, p)| Pattern::of(&p.0, p.1) == Pattern::of(&port.0, port.1));
                prop_assert_eq!(map.insert(&port.0, port.1, i), !twin);
                if !twin {
                    list.push((i, port.clone()));
                }
            }
            for i in gone {
                if let Some(at) = list.iter().position(|(n, _)| *n == i) {
                    let (n, port) = list.remove(at);
                    prop_assert_eq!(map.remove(&port.0, port.1), Some(n));
                    prop_assert_eq!(map.remove(&port.0, port.1), None);
                }
            }
            for key in keys {
                let best = list.iter().filter(|(_, p)| takes(p, &key)).min_by_key(|(_, p)| order(p)).map(|(n, _)| *n);
                prop_assert_eq!(map.find(&key).map(|(_, n)| *n), best);
            }
        }
    }

    #[test]
    fn what_came_through_no_tunnel_is_nobodys() {
        let mut map = TunnelMap::default();
        let any = TunnelConfig { in_key: TunnelKey::Flow, ..TunnelConfig::new(TunnelKind::Gre, Remote::Flow) };
        assert!(map.insert(&any, PortNo(1), ()));
        assert!(map.find(&FlowKey { in_port: 1.into(), ..FlowKey::ZERO }).is_none());
        assert!(map.find(&FlowKey { in_port: 1.into(), tun_dst: 1.into(), ..FlowKey::ZERO }).is_some());
    }
}
