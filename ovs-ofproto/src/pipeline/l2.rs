//! What a switch as a whole does as a learning switch.

use super::port::Port;
use super::vlan::VlanSet;

/// How the NORMAL action treats packets of all ports.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct L2Config {
    /// Whether packets to the addresses that bridges do not forward (IEEE 802.1Q-2014, table 8-1) are forwarded.
    pub forward_bpdu: bool,
    /// VLANs in which nothing is learnt and everything is flooded.
    pub flood_vlans: VlanSet,
}

impl Default for L2Config {
    fn default() -> Self {
        L2Config { forward_bpdu: false, flood_vlans: VlanSet::NONE }
    }
}

impl Port {
    /// Whether packets come in by it.
    pub(super) fn may_receive(&self) -> bool {
        true
    }

    /// Whether packets leave by it.
    pub(super) fn may_send(&self) -> bool {
        true
    }

    /// Whether what matches no flow may go from it to controllers.
    pub(super) fn may_packet_in(&self) -> bool {
        true
    }

    /// Whether it can be chosen from others.
    pub(super) fn is_live(&self) -> bool {
        true
    }
}
