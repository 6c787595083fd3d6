//! What the table keeps of a megaflow.

use std::sync::Arc;

use ovs_packet::Instant;
use ovs_packet::key::SparseKey;
use ovs_packet::packet::BATCH;

use super::program::Program;
use crate::action::DpAction;
use crate::dpif::{DpFlowStats, Ufid};

/// A megaflow's place in the table. What a packet reads and writes is in the first line of memory.
#[derive(Clone)]
#[repr(C, align(64))]
pub(super) struct Entry {
    pub(super) tally: Tally,
    /// The version of the pipeline for which it was proved last.
    pub(super) version: u64,
    pub(super) program: Program,
    pub(super) turn: Turn,
    /// How many were there before it.
    pub(super) born: u64,
    pub(super) actions: Arc<[DpAction]>,
    pub(super) ufid: Ufid,
    pub(super) key: SparseKey,
}

const _: () = assert!(std::mem::offset_of!(Entry, turn) + size_of::<Turn>() <= 64 && size_of::<Entry>() <= 128);

impl Entry {
    pub(super) fn new(ufid: Ufid, key: SparseKey, actions: Arc<[DpAction]>, version: u64, born: u64) -> Entry {
        let program = Program::of(&actions);
        Entry { tally: Tally::default(), version, program, turn: Turn::NEVER, born, actions, ufid, key }
    }

    pub(super) fn set_actions(&mut self, actions: Arc<[DpAction]>, version: u64) {
        self.program = Program::of(&actions);
        (self.actions, self.version) = (actions, version);
    }
}

/// The counters of a megaflow, [`DpFlowStats`] in less room.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) packets: u64,
    bytes: u64,
    /// When the last packet came. Of no meaning without packets.
    used: Instant,
    tcp_flags: u16,
}

impl Tally {
    /// Counts packets, of which there is one at least.
    #[inline]
    pub(super) fn count(&mut self, packets: usize, bytes: u64, tcp_flags: u16, now: Instant) {
        self.packets += packets as u64;
        self.bytes += bytes;
        self.tcp_flags |= tcp_flags;
        self.used = now;
    }

    /// Adds what another counted.
    pub(super) fn add(&mut self, other: Tally) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.tcp_flags |= other.tcp_flags;
        self.used = self.used.max(other.used);
    }

    pub(super) fn stats(self) -> DpFlowStats {
        let Tally { packets, bytes, used, tcp_flags } = self;
        DpFlowStats { packets, bytes, used: (packets > 0).then_some(used), tcp_flags }
    }
}

/// The last pass that had packets of a megaflow, and the number of their group in it, of at most a batch of groups.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn(u64);

impl Turn {
    const NEVER: Turn = Turn(0);

    pub(super) fn new(pass: u64, group: usize) -> Turn {
        Turn((pass * BATCH as u64) | group as u64)
    }

    /// The group, if the turn was in this pass.
    pub(super) fn group_in(self, pass: u64) -> Option<u8> {
        (self.0 / BATCH as u64 == pass).then_some((self.0 % BATCH as u64) as u8)
    }
}
