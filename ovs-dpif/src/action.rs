//! What a datapath does with a packet.

use ovs_conntrack::CtRequest;
use ovs_packet::field::KeyAttr;
use ovs_packet::key::SparseMatch;

use crate::drops::DropReason;

/// Number of a port in a datapath. Port 0 is the datapath's own ("local") port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortNo(pub u32);

impl PortNo {
    /// The local port.
    pub const LOCAL: PortNo = PortNo(0);
}

impl std::fmt::Display for PortNo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A datapath action. A list of them is executed in order; what is left of the packet at its end is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DpAction {
    /// Send a copy out of a port.
    Output(PortNo),
    /// Pass a copy up to userspace, with a note for whoever handles it.
    Userspace(Cookie),
    /// Overwrite the masked bits of the fields of one attribute.
    Set(KeyAttr, SparseMatch),
    /// Push a VLAN tag; bit 12 of the tag control information is ignored.
    PushVlan {
        /// Tag protocol.
        tpid: u16,
        /// Tag control information.
        tci: u16,
    },
    /// Take the outermost VLAN tag off.
    PopVlan,
    /// Pass the packet through connection tracking.
    Ct(CtRequest),
    /// Forget the packet's connection.
    CtClear,
    /// Look the packet up again under this recirculation id.
    Recirc(u32),
    /// Execute actions on a copy.
    Clone(Vec<DpAction>),
    /// Drop the packet, for this reason.
    Drop(DropReason),
}

/// Why a packet was passed up, noted by whoever wrote the action.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Cookie {
    /// For the OpenFlow controllers.
    Controller {
        /// `ofp_packet_in_reason` (OpenFlow 1.5, section 7.4.1).
        reason: u8,
        /// Recirculation id at which the packet was.
        recirc_id: u32,
        /// Cookie of the flow that sent it.
        rule_cookie: u64,
        /// Table of that flow.
        table: u8,
        /// How many bytes the controllers want.
        max_len: u16,
    },
}
