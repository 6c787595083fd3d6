//! Packets that come up from a datapath, and what is decided on them.

use ovs_packet::packet::Tunnel;
use ovs_packet::{FlowKey, Packet};

#[cfg(doc)]
use super::Dpif;
use super::Ufid;
use crate::action::{DpAction, Userspace};
use crate::drops::DropReason;
use crate::userspace::Turns;

/// Why a packet comes up.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UpcallKind {
    /// No megaflow matched it.
    Miss,
    /// This megaflow matched it, but was proved for a pipeline that has [changed](Dpif::publish) since.
    Stale(Ufid),
    /// An action sent it up.
    Action(Userspace),
}

/// A packet that the datapath passes up. It goes back by [`Dpif::resolve`], so that it is accounted for.
#[derive(Debug)]
#[must_use = "an upcall must be resolved, or its packet is lost to the ledger"]
pub struct Upcall {
    /// Why.
    pub kind: UpcallKind,
    /// Its key, with datapath port numbers.
    pub key: Box<FlowKey>,
    /// The packet.
    pub packet: Packet,
    /// Whether the packet waits here for its fate, and not just a copy of it.
    pub(crate) held: bool,
    /// The actions of the megaflow that sent it up, where its `userspace` action asked for them.
    pub flow_actions: Vec<DpAction>,
    /// The outer header that the packet would leave with, where its `userspace` action named a tunnel port.
    pub egress_tunnel: Option<Box<Tunnel>>,
    /// How often the packet was recirculated before it came up.
    pub(crate) turns: Turns,
    /// How it came, where the datapath is outside the process.
    #[cfg_attr(not(feature = "kernel"), allow(dead_code, reason = "only the kernel is outside"))]
    pub(crate) origin: Origin,
}

/// How an upcall came from a datapath outside the process: what goes back with the packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[cfg_attr(not(feature = "kernel"), allow(dead_code, reason = "only the kernel is outside"))]
pub(crate) struct Origin {
    /// Address of the socket that it came through; 0 for none.
    pub(crate) socket: u32,
    /// The longest fragment that the packet was made of.
    pub(crate) mru: Option<u16>,
    /// The kernel's hash of the packet.
    pub(crate) hash: Option<u64>,
}

impl Upcall {
    pub(crate) fn new(kind: UpcallKind, key: Box<FlowKey>, packet: Packet, held: bool, turns: Turns) -> Upcall {
        let (flow_actions, egress_tunnel, origin) = (Vec::new(), None, Origin::default());
        Upcall { kind, key, packet, held, flow_actions, egress_tunnel, turns, origin }
    }
}

/// What the slow path decided on an [`Upcall`].
#[derive(Clone, Copy, Debug)]
pub enum Resolution<'a> {
    /// Execute actions on it.
    Execute(&'a [DpAction]),
    /// It has reached its destination: a controller, the switch itself.
    Consumed,
    /// Drop it.
    Drop(DropReason),
}
