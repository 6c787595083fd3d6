//! The ports of a switch.

use std::collections::BTreeMap;

use ovs_dpif::PortNo;
use ovs_packet::OfPort;

use super::vlan::{PriorityTags, VlanMode};

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
    /// Whether packets leave with a tag for their priority though they are in no VLAN.
    pub priority_tags: PriorityTags,
    /// Whether what comes from another protected port stays away from it.
    pub protected: bool,
    /// Whether all packets for group addresses leave by it, where those are snooped.
    pub flood_groups: bool,
    /// Whether reports of who listens to group addresses leave by it.
    pub flood_reports: bool,
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
        }
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

    pub(super) fn iter(&self) -> impl Iterator<Item = &Port> {
        self.by_number.values()
    }
}
