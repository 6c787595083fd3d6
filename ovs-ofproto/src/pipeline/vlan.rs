//! What ports do with VLANs under the NORMAL action (IEEE 802.1Q-2014, clause 6.9; provider bridges, clause 15).

use ovs_packet::extract::ETH_TYPE_VLAN;
use ovs_packet::key::VLAN_VID_MASK;

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
    /// Packets of a customer, tagged or not, in a VLAN of the provider's.
    Dot1qTunnel {
        /// The provider's VLAN.
        vlan: u16,
        /// The customer's VLANs that pass; 0 stands for untagged packets.
        customers: VlanSet,
        /// Tag protocol of the provider's tags.
        tpid: u16,
    },
}

impl Default for VlanMode {
    fn default() -> Self {
        VlanMode::Trunk(VlanSet::ALL)
    }
}

/// Whether packets leave with a tag of VLAN 0 that says their priority (the `priority-tags` option of a port).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub enum PriorityTags {
    /// They do not.
    #[default]
    Never,
    /// If the priority is not zero.
    IfNonzero,
    /// They do, if they came with a tag.
    Always,
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

/// What a packet that comes in has for its VLAN, within the switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Inside {
    /// The one of its tag; 0 if it has none.
    AsTagged(u16),
    /// One that the port gives it; a tag without VLAN goes.
    Assigned(u16),
    /// One that the port gives it, with its own tags within.
    Pushed {
        /// The provider's VLAN.
        vlan: u16,
        /// The customer's.
        customer: u16,
        /// Tag protocol.
        tpid: u16,
    },
}

impl Inside {
    /// The VLAN within the switch.
    pub(super) fn vlan(self) -> u16 {
        match self {
            Inside::AsTagged(vlan) | Inside::Assigned(vlan) | Inside::Pushed { vlan, .. } => vlan,
        }
    }
}

impl VlanMode {
    /// A port of a provider's bridge for customers whose VLANs all pass, with tags of IEEE 802.1ad.
    pub fn tunnel(vlan: u16) -> VlanMode {
        VlanMode::Dot1qTunnel { vlan, customers: VlanSet::ALL, tpid: 0x88a8 }
    }

    /// The VLAN of a packet that comes in with a tag of this VLAN, or 0 without, or `None` if the port does not carry
    /// it. A tag with VLAN 0 gives a priority and no VLAN (IEEE 802.1Q-2014, 6.9.1).
    pub(super) fn ingress(&self, tag: u16) -> Option<Inside> {
        match self {
            VlanMode::Access(vlan) => (tag == 0).then_some(Inside::Assigned(*vlan)),
            VlanMode::Trunk(set) => set.contains(tag).then_some(Inside::AsTagged(tag)),
            VlanMode::NativeTagged(vlan, _) | VlanMode::NativeUntagged(vlan, _) if tag == 0 => {
                Some(Inside::Assigned(*vlan))
            }
            VlanMode::NativeTagged(native, set) | VlanMode::NativeUntagged(native, set) => {
                (tag == *native || set.contains(tag)).then_some(Inside::AsTagged(tag))
            }
            VlanMode::Dot1qTunnel { vlan, customers, tpid } => {
                let inside = Inside::Pushed { vlan: *vlan, customer: tag, tpid: *tpid };
                customers.contains(tag).then_some(inside)
            }
        }
    }

    /// Whether packets of `vlan` leave by the port; `inner` tells the VLAN of the second tag, if that has to be known.
    pub(super) fn carries(&self, vlan: u16, inner: &mut dyn FnMut() -> u16) -> bool {
        match self {
            VlanMode::Access(own) => *own == vlan && inner() == 0,
            VlanMode::Trunk(set) => set.contains(vlan),
            // What is in no VLAN is in the native one of such a port.
            VlanMode::NativeTagged(native, set) | VlanMode::NativeUntagged(native, set) => {
                vlan == *native || vlan != 0 && set.contains(vlan)
            }
            VlanMode::Dot1qTunnel { vlan: own, customers, .. } => {
                *own == vlan && (*customers == VlanSet::ALL || customers.contains(inner()))
            }
        }
    }

    /// How many of the tags within the switch come off where packets of `vlan` leave: none, the outermost, all.
    pub(super) fn strips(&self, vlan: u16) -> usize {
        match self {
            VlanMode::Access(_) => 2,
            VlanMode::NativeUntagged(native, _) if *native == vlan => 1,
            VlanMode::Dot1qTunnel { .. } => 1,
            _ => 0,
        }
    }
}

/// The tag protocol of a tag that had none.
pub(super) fn tpid_or_default(tpid: u16) -> u16 {
    if tpid == 0 { ETH_TYPE_VLAN } else { tpid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_by_the_book() {
        let set: VlanSet = [10, 20].into_iter().collect();
        let (access, trunk) = (VlanMode::Access(5), VlanMode::Trunk(set));
        let (tagged, untagged) = (VlanMode::NativeTagged(5, set), VlanMode::NativeUntagged(5, set));
        // Tag on the way in, for each mode: none or priority only, the native one, one of the set, another.
        let ins = |m: &VlanMode| [0, 5, 10, 30].map(|tag| m.ingress(tag).map(Inside::vlan));
        assert_eq!(ins(&access), [Some(5), None, None, None]);
        assert_eq!(ins(&trunk), [None, None, Some(10), None]);
        assert_eq!(ins(&tagged), [Some(5), Some(5), Some(10), None]);
        assert_eq!(ins(&untagged), [Some(5), Some(5), Some(10), None]);
        assert_eq!(ins(&VlanMode::tunnel(7)), [Some(7); 4]);
        // And out: no VLAN, the native one, one of the set, another; how many tags come off.
        let outs = |m: &VlanMode| [0, 5, 10, 30].map(|v| m.carries(v, &mut || 0).then(|| m.strips(v)));
        assert_eq!(outs(&access), [None, Some(2), None, None]);
        assert_eq!(outs(&trunk), [None, None, Some(0), None]);
        assert_eq!(outs(&tagged), [None, Some(0), Some(0), None]);
        assert_eq!(outs(&untagged), [None, Some(1), Some(0), None]);
        let every = VlanMode::NativeTagged(5, VlanSet::ALL);
        assert_eq!([0, 5, 9].map(|v| every.carries(v, &mut || 0)), [false, true, true]);
        assert!(!access.carries(5, &mut || 9) && VlanMode::default().carries(0, &mut || 0));
        let some = VlanMode::Dot1qTunnel { vlan: 7, customers: set, tpid: 0x88a8 };
        assert_eq!([0, 10].map(|inner| some.carries(7, &mut || inner)), [false, true]);
        assert_eq!(some.strips(7), 1);
    }
}
