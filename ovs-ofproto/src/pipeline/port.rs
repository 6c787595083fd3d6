//! The ports of a switch, and which VLANs they carry.

use std::collections::BTreeMap;

use bitflags::bitflags;
use ovs_dpif::PortNo;
use ovs_packet::key::VLAN_VID_MASK;
use ovs_packet::{EthAddr, Instant, OfPort};

use crate::codec::{self, Version};

/// How a port treats VLANs under the NORMAL action (the `vlan_mode` column of the Port table).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VlanMode {
    /// Untagged packets, of one VLAN.
    Access(u16),
    /// Packets tagged with one of these VLANs; untagged ones are in VLAN 0.
    Trunk(VlanSet),
    /// As a trunk, but untagged packets are in this VLAN; those of this VLAN leave tagged.
    NativeTagged(u16, VlanSet),
    /// Likewise, but those of this VLAN leave untagged.
    NativeUntagged(u16, VlanSet),
}

impl Default for VlanMode {
    fn default() -> Self {
        VlanMode::Trunk(VlanSet::ALL)
    }
}

/// A set of VLANs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VlanSet([u64; 64]);

impl VlanSet {
    /// Every VLAN.
    pub const ALL: VlanSet = VlanSet([u64::MAX; 64]);
    /// None.
    pub const NONE: VlanSet = VlanSet([0; 64]);

    /// Whether `vlan` is in the set.
    pub fn contains(&self, vlan: u16) -> bool {
        let vlan = vlan & VLAN_VID_MASK;
        self.0.get(usize::from(vlan / 64)).is_some_and(|w| w >> (vlan % 64) & 1 != 0)
    }
}

impl FromIterator<u16> for VlanSet {
    fn from_iter<I: IntoIterator<Item = u16>>(vlans: I) -> Self {
        let mut set = VlanSet::NONE;
        for vlan in vlans {
            let vlan = vlan & VLAN_VID_MASK;
            if let Some(w) = set.0.get_mut(usize::from(vlan / 64)) {
                *w |= 1 << (vlan % 64);
            }
        }
        set
    }
}

impl VlanMode {
    /// The VLAN of a packet that comes in with this tag, or `None` if the port does not carry it.
    pub(super) fn ingress(&self, tag: Option<u16>) -> Option<u16> {
        // A tag with VLAN 0 gives a priority and no VLAN (IEEE 802.1Q-2014, 6.9.1).
        let tag = tag.filter(|v| *v != 0);
        match (self, tag) {
            (VlanMode::Access(vlan), None) => Some(*vlan),
            (VlanMode::Access(_), Some(_)) => None,
            (VlanMode::Trunk(set), None) => set.contains(0).then_some(0),
            (VlanMode::NativeTagged(vlan, _) | VlanMode::NativeUntagged(vlan, _), None) => Some(*vlan),
            (VlanMode::Trunk(set), Some(vlan)) => set.contains(vlan).then_some(vlan),
            (VlanMode::NativeTagged(native, set) | VlanMode::NativeUntagged(native, set), Some(vlan)) => {
                (vlan == *native || set.contains(vlan)).then_some(vlan)
            }
        }
    }

    /// How a packet of `vlan` leaves: not at all, untagged, or with a tag.
    pub(super) fn egress(&self, vlan: u16) -> Option<Option<u16>> {
        let tagged = (vlan != 0).then_some(vlan);
        match self {
            VlanMode::Access(own) => (*own == vlan).then_some(None),
            VlanMode::Trunk(set) => set.contains(vlan).then_some(tagged),
            VlanMode::NativeTagged(native, set) => (vlan == *native || set.contains(vlan)).then_some(tagged),
            VlanMode::NativeUntagged(native, _) if vlan == *native => Some(None),
            VlanMode::NativeUntagged(_, set) => set.contains(vlan).then_some(tagged),
        }
    }
}

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
    /// Number in the datapath.
    pub datapath: PortNo,
    /// Name.
    pub name: String,
    /// VLANs.
    pub vlan: VlanMode,
    /// Whether floods leave by it.
    pub flood: bool,
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
            hw_addr: EthAddr::default(),
            config: PortConfig::empty(),
            link_up: true,
            link: LinkFeatures::default(),
            created: Instant::ZERO,
            queues: BTreeMap::new(),
        }
    }

    /// Whether packets can leave by it: it has a link, and nobody took it down. What a group's bucket watches.
    pub fn is_up(&self) -> bool {
        self.link_up && !self.config.contains(PortConfig::DOWN)
    }

    /// Whether a flood leaves by it.
    pub fn floods(&self) -> bool {
        self.flood && !self.config.intersects(PortConfig::NO_FLOOD | PortConfig::NO_FWD | PortConfig::DOWN)
    }

    /// Whether anything leaves by it.
    pub fn forwards(&self) -> bool {
        !self.config.intersects(PortConfig::NO_FWD | PortConfig::DOWN)
    }

    /// Whether what comes in is looked at; where it is `for_stp`, by the spanning tree.
    pub fn receives(&self, for_stp: bool) -> bool {
        let refused = if for_stp { PortConfig::NO_RECV_STP } else { PortConfig::NO_RECV };
        !self.config.intersects(refused | PortConfig::DOWN)
    }

    /// As controllers of `version` see it.
    pub(super) fn desc(&self, version: Version) -> codec::Port {
        const LINK_DOWN: u32 = 1;
        const LIVE: u32 = 4;
        let mut p = codec::Port::default();
        let old = version == Version::V1_0;
        (p.number, p.hw_addr, p.name) = (self.number, self.hw_addr, self.name.clone());
        p.config = (self.config & PortConfig::of_version(version)).bits();
        p.state = if self.link_up { 0 } else { LINK_DOWN };
        if !old && self.is_up() {
            p.state |= LIVE;
        }
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
}

impl Ports {
    /// Adds a port, or gives one of the same number a new configuration.
    pub(super) fn insert(&mut self, port: Port) {
        self.remove(port.number);
        self.by_datapath.insert(port.datapath, port.number);
        self.by_number.insert(port.number, port);
    }

    pub(super) fn remove(&mut self, number: OfPort) -> Option<Port> {
        let port = self.by_number.remove(&number)?;
        self.by_datapath.remove(&port.datapath);
        Some(port)
    }

    pub(super) fn get(&self, number: OfPort) -> Option<&Port> {
        self.by_number.get(&number)
    }

    pub(super) fn of_datapath(&self, port: PortNo) -> Option<&Port> {
        self.get(*self.by_datapath.get(&port)?)
    }

    pub(super) fn get_mut(&mut self, number: OfPort) -> Option<&mut Port> {
        self.by_number.get_mut(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Port> {
        self.by_number.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_by_the_book() {
        let set: VlanSet = [10, 20].into_iter().collect();
        let (access, trunk) = (VlanMode::Access(5), VlanMode::Trunk(set));
        let (tagged, untagged) = (VlanMode::NativeTagged(5, set), VlanMode::NativeUntagged(5, set));
        // Tag on the way in, for each mode: none, priority only, the native one, one of the set, another.
        let ins = |m: &VlanMode| [None, Some(0), Some(5), Some(10), Some(30)].map(|tag| m.ingress(tag));
        assert_eq!(ins(&access), [Some(5), Some(5), None, None, None]);
        assert_eq!(ins(&trunk), [None, None, None, Some(10), None]);
        assert_eq!(ins(&tagged), [Some(5), Some(5), Some(5), Some(10), None]);
        assert_eq!(ins(&untagged), [Some(5), Some(5), Some(5), Some(10), None]);
        // And out: no VLAN, the native one, one of the set, another.
        let outs = |m: &VlanMode| [0, 5, 10, 30].map(|vlan| m.egress(vlan));
        assert_eq!(outs(&access), [None, Some(None), None, None]);
        assert_eq!(outs(&trunk), [None, None, Some(Some(10)), None]);
        assert_eq!(outs(&tagged), [None, Some(Some(5)), Some(Some(10)), None]);
        assert_eq!(outs(&untagged), [None, Some(None), Some(Some(10)), None]);
        assert_eq!(VlanMode::default().egress(0), Some(None));
    }
}
