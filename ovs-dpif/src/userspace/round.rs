//! The fate of the packets of one batch.

use ovs_packet::{Instant, Packet};

use super::Datapath;
use crate::dpif::Upcall;
use crate::drops::DropReason;

/// A packet on its way, or a copy of one. `slot` tells whose copy: the packets of a batch are numbered.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) packet: Packet,
    pub(super) slot: usize,
    /// How often it was recirculated.
    pub(super) depth: u8,
}

/// What became of a packet so far, counting all its copies. Later ones outrank earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    Dropped(DropReason),
    Consumed,
    Waiting,
    Forwarded,
}

/// What is known of a batch while it is handled.
pub(super) struct Round {
    pub(super) now: Instant,
    fates: Vec<Fate>,
    upcalls: Vec<(usize, Upcall)>,
}

impl Round {
    pub(super) fn new(now: Instant, packets: usize) -> Round {
        Round { now, fates: vec![Fate::Dropped(DropReason::NoOutput); packets], upcalls: Vec::new() }
    }

    /// Notes a fate. Of two reasons to drop, the later one stays.
    pub(super) fn note(&mut self, slot: usize, fate: Fate) {
        if let Some(known) = self.fates.get_mut(slot) {
            *known = match (*known, fate) {
                (Fate::Dropped(_), _) => fate,
                (known, fate) => known.max(fate),
            };
        }
    }

    pub(super) fn upcall(&mut self, slot: usize, upcall: Upcall) {
        self.upcalls.push((slot, upcall));
    }

    /// How many packets come up in this round so far.
    pub(super) fn upcalls(&self) -> usize {
        self.upcalls.len()
    }
}

impl Datapath {
    /// Sends what waits, enters every packet of the round into the ledger, and hands the upcalls over.
    pub(super) fn settle(&mut self, mut round: Round, upcalls: &mut Vec<Upcall>) {
        self.ports.flush(&mut |slot, result| {
            round.note(slot, result.map_or_else(Fate::Dropped, |()| Fate::Forwarded));
        });
        for fate in &round.fates {
            match fate {
                Fate::Forwarded => self.ledger.forwarded += 1,
                Fate::Waiting => self.ledger.in_flight += 1,
                Fate::Consumed => self.ledger.consumed += 1,
                Fate::Dropped(reason) => self.ledger.drop_one(*reason),
            }
        }
        for (slot, mut upcall) in round.upcalls {
            // The first upcall of a packet that waits holds it; others are copies.
            if upcall.held
                && let Some(fate @ Fate::Waiting) = round.fates.get_mut(slot)
            {
                *fate = Fate::Consumed;
            } else {
                upcall.held = false;
            }
            upcalls.push(upcall);
        }
    }
}
