//! The ports of a switch.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitflags::bitflags;
use ovs_dpif::PortNo;
use ovs_packet::key::FlowKey;
use ovs_packet::{EthAddr, Instant, OfPort};

use crate::codec::{self, Version};
use crate::text::PortNames;

use super::tunnel::{Rank, TunnelConfig, TunnelMap, is_tunnelled};
use super::vlan::{PriorityTags, VlanMode};

/// What ports have for their number in the datapath that are none of it.
const NOT_OF_DATAPATH: PortNo = PortNo(u32::MAX);

bitflags! {
    /// How controllers want a port to be (`OFPPC_*`), in the numbering of OpenFlow 1.0, which has most of it.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
    pub struct PortConfig: u32 {
        /// It is down.
        const DOWN = 1;
        /// The spanning tree leaves it alone.
        const NO_STP = 1 << 1;
        /// What comes in is dropped, but for what is meant for the spanning tree.
        const NO_RECV = 1 << 2;
        /// What comes in for the spanning tree is dropped.
        const NO_RECV_STP = 1 << 3;
        /// Floods do not leave by it.
        const NO_FLOOD = 1 << 4;
        /// Nothing leaves by it.
        const NO_FWD = 1 << 5;
        /// What comes in is not sent to controllers.
        const NO_PACKET_IN = 1 << 6;
    }
}

impl PortConfig {
    /// What OpenFlow 1.1 and later can say.
    const SINCE_1_1: PortConfig =
        PortConfig::DOWN.union(PortConfig::NO_RECV).union(PortConfig::NO_FWD).union(PortConfig::NO_PACKET_IN);

    /// The bits that `version` can say.
    pub(super) fn of_version(version: Version) -> PortConfig {
        if version == Version::V1_0 { PortConfig::all() } else { PortConfig::SINCE_1_1 }
    }
}

/// What a link does and could do (`OFPPF_*`), in the numbering of OpenFlow 1.1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct LinkFeatures {
    /// What it does now.
    pub current: u32,
    /// What it tells its peer that it can do.
    pub advertised: u32,
    /// What it can do.
    pub supported: u32,
    /// What its peer can do.
    pub peer: u32,
    /// Speed in kilobits a second.
    pub speed: u32,
    /// Speed at most.
    pub max_speed: u32,
}

/// Bits of [`LinkFeatures`] in OpenFlow 1.0: speeds to 10 Gb/s are as later, 40 Gb/s and more are not there, and the rest
/// follows at once.
fn features_10(bits: u32) -> u32 {
    bits & 0x7f | bits >> 4 & 0xf80
}

/// A queue of a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub struct Queue {
    /// The rate that it has at least, in tenths of a percent of the port's.
    pub min_rate: Option<u16>,
    /// The rate that it has at most, in tenths of a percent of the port's.
    pub max_rate: Option<u16>,
    /// Bytes, packets and errors sent, where they are counted.
    pub sent: [Option<u64>; 3],
    /// When it came to be.
    pub created: Option<Instant>,
}

/// A port of the switch.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Port {
    /// Number in OpenFlow.
    pub number: OfPort,
    /// Number in the datapath; of a tunnel, that of the port which it shares with others.
    pub datapath: PortNo,
    /// Name.
    pub name: String,
    /// VLANs.
    pub vlan: VlanMode,
    /// Whether floods leave by it.
    pub flood: bool,
    /// Whether packets leave with a tag for their priority though they are in no VLAN.
    pub priority_tags: PriorityTags,
    /// Whether what comes from another protected port stays away from it.
    pub protected: bool,
    /// Whether all packets for group addresses leave by it, where those are snooped.
    pub flood_groups: bool,
    /// Whether reports of who listens to group addresses leave by it.
    pub flood_reports: bool,
    /// Its address.
    pub hw_addr: EthAddr,
    /// How controllers want it. A port that is given anew keeps what the old one of its number had.
    pub config: PortConfig,
    /// Whether it has a link.
    pub link_up: bool,
    /// What the link does.
    pub link: LinkFeatures,
    /// When it came.
    pub created: Instant,
    /// Its queues, by number.
    pub queues: BTreeMap<u32, Queue>,
    /// The DSCP, 0 to 63, that IP packets get that leave by a queue, by the queue's number (the column `dscp` of the Queue
    /// table). They leave as they are by a queue that is not here.
    pub dscp: BTreeMap<u32, u8>,
    /// The tunnel that it is, if it is one.
    pub tunnel: Option<Arc<TunnelConfig>>,
}

impl Port {
    /// A trunk for all VLANs that takes part in floods.
    pub fn new(number: OfPort, datapath: PortNo, name: impl Into<String>) -> Port {
        Port {
            number,
            datapath,
            name: name.into(),
            vlan: VlanMode::default(),
            flood: true,
            priority_tags: PriorityTags::default(),
            protected: false,
            flood_groups: false,
            flood_reports: false,
            hw_addr: EthAddr::default(),
            config: PortConfig::empty(),
            link_up: true,
            link: LinkFeatures::default(),
            created: Instant::ZERO,
            queues: BTreeMap::new(),
            dscp: BTreeMap::new(),
            tunnel: None,
        }
    }

    /// A tunnel by the datapath's port `vport`, which it shares with other tunnels.
    pub fn tunnel(number: OfPort, vport: PortNo, name: impl Into<String>, config: TunnelConfig) -> Port {
        Port { tunnel: Some(Arc::new(config)), ..Port::new(number, vport, name) }
    }

    /// A port that leads to another switch, and is none of the datapath's.
    pub fn patch(number: OfPort, name: impl Into<String>) -> Port {
        Port::new(number, NOT_OF_DATAPATH, name)
    }

    /// Whether it is none of the datapath's.
    pub fn is_patch(&self) -> bool {
        self.datapath == NOT_OF_DATAPATH
    }

    /// Whether what goes through it is counted here, there being no device of its own that counts.
    pub(super) fn is_virtual(&self) -> bool {
        self.is_patch() || self.tunnel.is_some()
    }

    /// Whether packets can leave by it: it has a link, and nobody took it down. What a group's bucket watches.
    pub fn is_up(&self) -> bool {
        self.link_up && !self.config.contains(PortConfig::DOWN)
    }

    /// Whether a flood leaves by it.
    pub fn floods(&self) -> bool {
        self.flood && !self.config.intersects(PortConfig::NO_FLOOD | PortConfig::NO_FWD)
    }

    /// Whether anything leaves by it. A device that is down drops what it is given itself: megaflows need not know.
    pub fn forwards(&self) -> bool {
        !self.config.contains(PortConfig::NO_FWD)
    }

    /// Whether what comes in is looked at; where it is `for_stp`, by the spanning tree.
    pub fn receives(&self, for_stp: bool) -> bool {
        let refused = if for_stp { PortConfig::NO_RECV_STP } else { PortConfig::NO_RECV };
        !self.config.intersects(refused)
    }

    /// As controllers of `version` see it.
    pub(super) fn desc(&self, version: Version) -> codec::Port {
        const LIVE: u32 = 4;
        let mut p = self.desc_without_life(version);
        if version > Version::V1_0 && self.is_up() {
            p.state |= LIVE;
        }
        p
    }

    /// The same, not told whether it is live.
    pub(super) fn desc_without_life(&self, version: Version) -> codec::Port {
        const LINK_DOWN: u32 = 1;
        let mut p = codec::Port::default();
        let old = version == Version::V1_0;
        (p.number, p.hw_addr, p.name) = (self.number, self.hw_addr, self.name.clone());
        p.config = (self.config & PortConfig::of_version(version)).bits();
        p.state = if self.link_up { 0 } else { LINK_DOWN };
        let l = &self.link;
        p.features = [l.current, l.advertised, l.supported, l.peer].map(|f| if old { features_10(f) } else { f });
        p.speed = [l.speed, l.max_speed];
        p
    }
}

/// The ports, by either number.
#[derive(Clone, Default, Debug)]
pub(super) struct Ports {
    by_number: BTreeMap<OfPort, Port>,
    by_datapath: BTreeMap<PortNo, OfPort>,
    tunnels: TunnelMap<OfPort>,
    /// Those by which all packets for group addresses leave, and those by which all reports do, each in the order in which
    /// they came to.
    flood_groups: Vec<OfPort>,
    flood_reports: Vec<OfPort>,
}

/// Puts a port at the end of a list, if it is to be there and is not.
fn list(ports: &mut Vec<OfPort>, port: OfPort, wanted: bool) {
    match wanted {
        true if !ports.contains(&port) => ports.push(port),
        true => {}
        false => ports.retain(|p| *p != port),
    }
}

impl Ports {
    /// Adds a port, or gives one of the same number a new configuration.
    pub(super) fn insert(&mut self, port: Port) {
        self.take(port.number);
        list(&mut self.flood_groups, port.number, port.flood_groups);
        list(&mut self.flood_reports, port.number, port.flood_reports);
        if let Some(config) = &port.tunnel {
            self.tunnels.insert(config, port.datapath, port.number);
        } else if !port.is_patch() {
            self.by_datapath.insert(port.datapath, port.number);
        }
        self.by_number.insert(port.number, port);
    }

    pub(super) fn remove(&mut self, number: OfPort) -> Option<Port> {
        list(&mut self.flood_groups, number, false);
        list(&mut self.flood_reports, number, false);
        self.take(number)
    }

    /// Takes a port out whose successor comes at once.
    pub(super) fn take(&mut self, number: OfPort) -> Option<Port> {
        let port = self.by_number.remove(&number)?;
        match &port.tunnel {
            // One that says of its packets what this one does may have the place.
            Some(config) if self.tunnels.twin(config, port.datapath) == Some(&number) => {
                self.tunnels.remove(config, port.datapath);
            }
            Some(_) => {}
            None => drop(self.by_datapath.remove(&port.datapath)),
        }
        Some(port)
    }

    pub(super) fn get(&self, number: OfPort) -> Option<&Port> {
        self.by_number.get(&number)
    }

    /// The port that a packet with this key came by, in the datapath's port numbers.
    pub(super) fn of_key(&self, key: &FlowKey) -> Option<&Port> {
        self.rank_of(key).map(|(_, port)| port)
    }

    /// The same, and how little that port says of the packets that are its own, if it is a tunnel. Of several switches the
    /// one whose port says most has the packet.
    pub(super) fn rank_of(&self, key: &FlowKey) -> Option<(Option<Rank>, &Port)> {
        if is_tunnelled(key) {
            let (rank, number) = self.tunnels.find(key)?;
            return Some((Some(rank), self.get(*number)?));
        }
        let number = self.by_datapath.get(&PortNo(key.in_port.get()))?;
        Some((None, self.get(*number)?))
    }

    /// The tunnel port that says of its packets what one of this configuration would.
    pub(super) fn twin(&self, config: &TunnelConfig, vport: PortNo) -> Option<OfPort> {
        self.tunnels.twin(config, vport).copied()
    }

    pub(super) fn get_mut(&mut self, number: OfPort) -> Option<&mut Port> {
        self.by_number.get_mut(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Port> {
        self.by_number.values()
    }

    /// The ports by which all packets for group addresses leave.
    pub(super) fn flood_groups(&self) -> impl Iterator<Item = OfPort> + '_ {
        self.flood_groups.iter().copied()
    }

    /// The ports by which all reports of who listens leave.
    pub(super) fn flood_reports(&self) -> impl Iterator<Item = OfPort> + '_ {
        self.flood_reports.iter().copied()
    }
}

impl PortNames for Ports {
    fn port(&self, name: &str) -> Option<OfPort> {
        self.iter().find(|p| p.name == name).map(|p| p.number)
    }

    fn name(&self, port: OfPort) -> Option<&str> {
        self.get(port).map(|p| p.name.as_str())
    }
}
