//! The fate of the packets of one batch.

use ovs_packet::{Instant, Packet};

use super::{Datapath, MAX_RECIRCULATED_COPIES, MAX_RECIRCULATIONS};
use crate::dpif::Upcall;
use crate::drops::DropReason;

/// A packet on its way, or a copy of one. `slot` tells whose copy: the packets of a batch are numbered.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) packet: Packet,
    pub(super) slot: usize,
    pub(super) turns: Turns,
    /// How many bytes the next copy that leaves may have.
    pub(super) cut: Option<u32>,
}

impl Work {
    pub(super) fn new(packet: Packet, slot: usize, turns: Turns) -> Work {
        Work { packet, slot, turns, cut: None }
    }

    /// Cuts a packet that leaves.
    pub(super) fn cut(&mut self) {
        if let Some(len) = self.cut.take() {
            self.packet.truncate(len as usize);
        }
    }
}

/// How often a packet was recirculated, and how often it and the copies that are made of it still may be.
///
/// Copies share what is left, so that lists which recirculate many copies, of which each recirculates many, do not
/// multiply. Every copy gets half: with eight turns at most, a packet that is copied once each time has enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    depth: u8,
    left: u16,
}

impl Turns {
    /// A packet as it came.
    pub(crate) const NONE: Turns = Turns { depth: 0, left: MAX_RECIRCULATED_COPIES };

    /// Halves what is left: for a copy, and for what it is a copy of.
    pub(super) fn share(&mut self) {
        self.left /= 2;
    }

    /// Shares what is left among the fragments of a packet.
    pub(super) fn split(&mut self, fragments: usize) {
        self.left /= u16::try_from(fragments.max(1)).unwrap_or(u16::MAX);
    }

    /// Counts a recirculation. False if there was one too many.
    pub(super) fn take(&mut self) -> bool {
        self.depth += 1;
        let fits = self.depth <= MAX_RECIRCULATIONS && self.left > 0;
        self.left = self.left.saturating_sub(1);
        fits
    }
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
