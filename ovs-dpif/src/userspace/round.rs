//! The fate of the packets of one batch.

use ovs_packet::packet::BATCH;
use ovs_packet::{Instant, Packet};

use super::{Datapath, MAX_RECIRCULATED_COPIES, MAX_RECIRCULATIONS};
use crate::dpif::{Upcall, UpcallKind};
use crate::drops::DropReason;
use crate::text;

/// A packet on its way, or a copy of one, apart from its batch.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) packet: Packet,
    pub(super) note: Note,
}

/// What is known of a packet on its way beside the packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note {
    /// Whose copy it is: the packets of a batch are numbered.
    slot: u16,
    /// Where what was read of the packet is kept, as long as its bytes are what they were when it was looked up.
    pub(super) key: Option<u8>,
    pub(super) turns: Turns,
    /// How many bytes the next copy that leaves may have.
    pub(super) cut: Option<u32>,
}

impl Note {
    /// The packets of a batch as they came.
    pub(super) const FRESH: [Note; BATCH] = {
        let mut notes = [Note { slot: 0, key: None, turns: Turns::NONE, cut: None }; BATCH];
        let mut i = 0;
        while i < BATCH {
            notes[i].slot = i as u16;
            i += 1;
        }
        notes
    };

    #[inline(always)]
    pub(super) fn slot(&self) -> usize {
        usize::from(self.slot)
    }
}

impl Work {
    pub(super) fn new(packet: Packet, slot: usize, turns: Turns) -> Work {
        Work { packet, note: Note { slot: slot as u16, key: None, turns, cut: None } }
    }

    pub(super) fn slot(&self) -> usize {
        self.note.slot()
    }

    /// Cuts a packet that leaves.
    pub(super) fn cut(&mut self) {
        if let Some(len) = self.note.cut.take() {
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
    /// Which worker has the packet's account.
    worker: u8,
    left: u16,
}

impl Turns {
    /// A packet as it came.
    pub(crate) const NONE: Turns = Turns { depth: 0, worker: 0, left: MAX_RECIRCULATED_COPIES };

    pub(super) fn worker(self) -> u8 {
        self.worker
    }

    pub(super) fn set_worker(&mut self, worker: u8) {
        self.worker = worker;
    }

    /// Halves what is left: for a copy, and for what it is a copy of.
    pub(super) fn share(&mut self) {
        self.left /= 2;
    }

    /// Shares what is left among the fragments of a packet.
    pub(super) fn split(&mut self, fragments: usize) {
        self.left /= u16::try_from(fragments.max(1)).unwrap_or(u16::MAX);
    }

    /// Whether another recirculation would not be one too many.
    pub(super) fn may_turn(self) -> bool {
        self.depth < MAX_RECIRCULATIONS && self.left > 0
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
    fates: [Fate; BATCH],
    packets: usize,
    /// All packets, whatever else became of copies of them.
    all_forwarded: bool,
    upcalls: Vec<(usize, Upcall)>,
}

impl Round {
    /// A round for at most a batch of packets.
    pub(super) fn new(now: Instant, packets: usize) -> Round {
        let fates = [Fate::Dropped(DropReason::NoOutput); BATCH];
        Round { now, fates, packets: packets.min(BATCH), all_forwarded: false, upcalls: Vec::new() }
    }

    /// Notes a fate. Of two reasons to drop, the later one stays.
    #[inline]
    pub(super) fn note(&mut self, slot: usize, fate: Fate) {
        if let Some(known) = self.fates.get_mut(slot) {
            *known = match (*known, fate) {
                (Fate::Dropped(_), _) => fate,
                (known, fate) => known.max(fate),
            };
        }
    }

    /// Notes whether a packet was sent.
    #[inline]
    pub(super) fn sent(&mut self, slot: usize, result: Result<(), DropReason>) {
        match result {
            Ok(()) => {
                if let Some(known) = self.fates.get_mut(slot) {
                    *known = Fate::Forwarded;
                }
            }
            Err(reason) => self.note(slot, Fate::Dropped(reason)),
        }
    }

    /// Notes packets that were sent.
    #[inline]
    pub(super) fn forwarded<'n>(&mut self, notes: impl Iterator<Item = &'n Note>) {
        for note in notes {
            if let Some(known) = self.fates.get_mut(note.slot()) {
                *known = Fate::Forwarded;
            }
        }
    }

    /// Notes that all packets of the round were sent.
    #[inline]
    pub(super) fn all_forwarded(&mut self) {
        self.all_forwarded = true;
    }

    pub(super) fn upcall(&mut self, slot: usize, upcall: Upcall) {
        self.upcalls.push((slot, upcall));
    }
}

impl Datapath {
    /// Sends what waits, enters every packet of the round into the ledger, and hands the upcalls over.
    pub(super) fn settle(&mut self, mut round: Round, upcalls: &mut Vec<Upcall>) {
        self.ports.flush(&mut |slot, result| round.sent(slot, result));
        if round.all_forwarded {
            round.fates = [Fate::Forwarded; BATCH];
            self.ledger.forwarded += std::mem::take(&mut round.packets) as u64;
        }
        for fate in round.fates.iter().take(round.packets) {
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
                self.bounds.release(upcall.packet.meta.in_port);
            }
            if matches!(upcall.kind, UpcallKind::Miss) {
                tracing::debug!(target: "dpif", "{}: miss upcall:\n{}", self.name, text::exact_key(&upcall.key));
            }
            upcalls.push(upcall);
        }
    }
}
