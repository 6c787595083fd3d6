//! Megaflows as a datapath takes and tells them.

use std::fmt;

use ovs_packet::Instant;
use ovs_packet::key::{FlowKey, FlowMask, Match, SparseKey};

#[cfg(doc)]
use super::Dpif;
use crate::action::DpAction;

/// Identity of a megaflow: a hash of its key and mask.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ufid(pub u128);

impl Ufid {
    /// The identity of the megaflow with this match. The same match has the same identity in every run.
    pub fn of(m: &Match) -> Ufid {
        Ufid::of_masked(&m.key(), &m.mask())
    }

    /// The same of the megaflow for keys that agree with this one in the bits of a mask.
    pub fn of_masked(key: &FlowKey, mask: &FlowMask) -> Ufid {
        let mut masked = FlowKey::ZERO;
        masked.assign(key, mask);
        let blocks = mask.bits.non_zero().blocks();
        let half = |seed: u64| masked.hash(blocks, mask.bits.hash(blocks, seed));
        Ufid(u128::from(half(0x75f1_d001)) << 64 | u128::from(half(0x75f1_d002)))
    }
}

impl fmt::Display for Ufid {
    /// Writes the identity as upstream's tools do: `ufid:` and a UUID.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        let part = |shift: u32, bits: u32| (n >> shift) & ((1 << bits) - 1);
        write!(f, "ufid:{:08x}-{:04x}-{:04x}-", part(96, 32), part(80, 16), part(64, 16))?;
        write!(f, "{:04x}-{:012x}", part(48, 16), part(0, 48))
    }
}

/// What went through a megaflow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DpFlowStats {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// When the last packet came; `None` if none did.
    pub used: Option<Instant>,
    /// All TCP flags that were seen.
    pub tcp_flags: u16,
}

/// A megaflow: packets that match it are all handled alike, without asking the slow path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DpFlow {
    /// Identity.
    pub ufid: Ufid,
    /// Key of the packet that it was made for, whole.
    pub key: SparseKey,
    /// The bits of the key that a packet must share with it.
    pub mask: SparseKey,
    /// What is done with them.
    pub actions: Vec<DpAction>,
    /// What went through.
    pub stats: DpFlowStats,
}

impl DpFlow {
    /// Which packets match.
    pub fn matching(&self) -> Match {
        Match::new((&self.key).into(), FlowMask { bits: (&self.mask).into() })
    }
}

/// What a megaflow is put for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum PutMode {
    /// It is made, or the one that is there is changed.
    #[default]
    Put,
    /// It is made; that there is one already is an error.
    Create,
    /// The one that is there is changed; that there is none is an error.
    Modify,
}

/// A megaflow to install, or to change.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FlowPut<'a> {
    /// The key of the packet that it is made for, whole.
    pub key: &'a FlowKey,
    /// The bits that a packet must share with it.
    pub mask: &'a FlowMask,
    /// What is done with packets.
    pub actions: &'a [DpAction],
    /// Its identity; by default [`Ufid::of`] its match.
    pub ufid: Option<Ufid>,
    /// Whether it may be there, or must.
    pub mode: PutMode,
    /// Whether the counters of the one that is there begin anew.
    pub zero_stats: bool,
    /// Whether every thread of the datapath gets it, and not only those that receive the port's packets.
    pub everywhere: bool,
}

impl<'a> FlowPut<'a> {
    /// A megaflow that is made, or changed with its counters kept.
    pub const fn new(key: &'a FlowKey, mask: &'a FlowMask, actions: &'a [DpAction]) -> FlowPut<'a> {
        FlowPut { key, mask, actions, ufid: None, mode: PutMode::Put, zero_stats: false, everywhere: false }
    }

    /// The same with an identity of the caller's choice.
    #[must_use]
    pub const fn with_ufid(self, ufid: Ufid) -> FlowPut<'a> {
        FlowPut { ufid: Some(ufid), ..self }
    }

    /// The same in another mode.
    #[must_use]
    pub const fn with_mode(self, mode: PutMode) -> FlowPut<'a> {
        FlowPut { mode, ..self }
    }

    /// The same, with the counters at zero.
    #[must_use]
    pub const fn with_zero_stats(self) -> FlowPut<'a> {
        FlowPut { zero_stats: true, ..self }
    }

    /// The same, in every thread of the datapath: what an operator puts, for packets of any origin.
    #[must_use]
    pub const fn with_everywhere(self) -> FlowPut<'a> {
        FlowPut { everywhere: true, ..self }
    }
}

/// One of the operations of a [batch](Dpif::operate).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// [`Dpif::flow_install`].
    Put(FlowPut<'a>),
    /// [`Dpif::flow_del`].
    Delete(Ufid),
    /// [`Dpif::flow_get`].
    Get(Ufid),
}

/// What came of an [`Operation`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The megaflow of this identity is there.
    Put(Ufid),
    /// It was this.
    Deleted(Box<DpFlow>),
    /// It is this.
    Found(Box<DpFlow>),
}

/// The mask that every megaflow has at least: without these bits two packets are never alike to a datapath.
pub fn always_matched() -> FlowMask {
    use ovs_packet::field::FieldId::{EthType, InPortOxm, IpFrag, PacketType, RecircId};
    let mut mask = FlowMask::of(&[InPortOxm, RecircId, PacketType, EthType, IpFrag]);
    // Of the VLAN only whether there is a tag.
    mask.bits.vlan_tci.set(ovs_packet::key::VLAN_PRESENT);
    mask
}
