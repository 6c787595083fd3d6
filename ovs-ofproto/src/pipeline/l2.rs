//! What a switch as a whole does as a learning switch.

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
