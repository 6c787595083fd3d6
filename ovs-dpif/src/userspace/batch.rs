//! A batch of packets on its way: read, looked up, grouped by megaflow, sent.
//!
//! Each step is done for all packets before the next one, and packets stay where they are until it is known where all of
//! them go. Neighbours that share a megaflow are one *run*, whose statistics are entered once; most actions are a
//! single output, and a run of those knows its way at once. Runs of other megaflows are put together into *groups*, sets
//! of places in the batch, and the actions are executed once for each group. In the end the packets leave in the
//! order in which they came: where all go out of the same port, as one.

use std::sync::Arc;

use arrayvec::ArrayVec;
use ovs_classifier::Handle;
use ovs_packet::PacketBatch;
use ovs_packet::extract::{KeyBuffer, Malformed};
use ovs_packet::key::WORDS;
use ovs_packet::packet::BATCH;

use super::Datapath;
use super::program::Program;
use super::round::{Fate, Note, Round, Work};
use crate::action::{DpAction, PortNo};
use crate::dpif::UpcallKind;
use crate::drops::DropReason;

/// Packets of a batch that share a megaflow, by their places.
struct Group {
    actions: Arc<[DpAction]>,
    /// The port of the last action, if all others are done in place.
    straight: Option<PortNo>,
    members: u32,
}

/// Where a packet of a batch goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is dropped, for a reason that is noted.
    Gone,
    /// No megaflow matches it, or this one, which is stale.
    Up(Option<Handle>),
    /// Out of a port.
    Port(PortNo),
    /// Through the general way, with its group.
    Group(u8),
}

/// A batch on its way.
pub(super) struct Flight<'a> {
    packets: &'a mut PacketBatch,
    notes: &'a [Note],
    /// Whether the next copy of any packet is to be cut.
    is_cut: bool,
    ways: [Way; BATCH],
    /// Where all packets go, unless they differ.
    common: Option<Way>,
    /// Of how many packets the way is known.
    known: usize,
}

/// What stands in for the keys of packets that a batch does not have.
static NO_KEY: [u64; WORDS] = [0; WORDS];

impl<'a> Flight<'a> {
    /// A batch as it was received.
    pub(super) fn fresh(packets: &'a mut PacketBatch) -> Flight<'a> {
        Flight { packets, notes: &Note::FRESH, is_cut: false, ways: [Way::Up(None); BATCH], common: None, known: 0 }
    }

    /// A batch of packets that have been looked up before, with what is known of each.
    pub(super) fn noted(packets: &'a mut PacketBatch, notes: &'a [Note]) -> Flight<'a> {
        let is_cut = notes.iter().any(|note| note.cut.is_some());
        Flight { packets, notes, is_cut, ways: [Way::Up(None); BATCH], common: None, known: 0 }
    }

    /// Enters where the packets up to place `to` go.
    #[inline(always)]
    fn push(&mut self, way: Way, to: usize) {
        self.common = if self.known == 0 { Some(way) } else { self.common.filter(|common| *common == way) };
        for place in self.ways.get_mut(self.known..to).unwrap_or_default() {
            *place = way;
        }
        self.known = to;
    }

    /// Changes where a packet goes.
    fn redirect(&mut self, place: usize, way: Way) {
        if let Some(known) = self.ways.get_mut(place) {
            *known = way;
        }
        self.common = None;
    }

    fn slot(&self, place: usize) -> usize {
        self.notes.get(place).map_or(0, Note::slot)
    }
}

/// The places that are set in a set of places.
fn places(mut members: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = members.trailing_zeros() as usize;
        members &= members.wrapping_sub(1);
        (place < BATCH).then_some(place)
    })
}

impl Datapath {
    /// Looks packets up and executes what is found. Recirculated ones are appended to `again`.
    pub(super) fn pass(&mut self, mut flight: Flight<'_>, round: &mut Round, again: &mut Vec<Work>) {
        let mut keys = std::mem::take(&mut self.keys);
        self.extractor.extract_batch(flight.packets, &mut keys);
        let groups = self.classify(&mut flight, &keys, round);
        for group in &groups {
            if let Some(port) = group.straight {
                self.go_straight(group, port, &mut flight, round);
            }
        }
        let lists = self.send(flight, &keys, round);
        self.keys = keys;
        for (number, mut list) in lists {
            let actions = groups.get(usize::from(number)).map(|group| &*group.actions);
            self.execute(&mut list, actions.unwrap_or_default(), round, again);
            self.give_back(list);
        }
    }

    /// Finds the megaflows, and with them the ways of most packets; the others are returned in groups.
    #[inline]
    fn classify(&mut self, flight: &mut Flight<'_>, keys: &[KeyBuffer], round: &mut Round) -> ArrayVec<Group, BATCH> {
        let n = flight.packets.len().min(keys.len());
        let mut words = [&NO_KEY; BATCH];
        for (words, key) in words.iter_mut().zip(keys).take(n) {
            *words = key.key().words();
        }
        let mut found = [None; BATCH];
        let found = found.get_mut(..n).unwrap_or_default();
        self.table.lookup_batch(words.get(..n).unwrap_or_default(), found);
        // Even a megaflow that looks at nothing is none for what is not a packet.
        for (found, key) in found.iter_mut().zip(keys) {
            if key.extraction().malformed == Some(Malformed::Ethernet) {
                *found = None;
            }
        }

        let mut groups = ArrayVec::new();
        self.turn += 1;
        while let Some(handle) = found.get(flight.known) {
            match handle {
                Some(handle) => self.enter(*handle, found, flight, keys, round, &mut groups),
                None => self.miss(flight, keys, round),
            }
        }
        groups
    }

    /// Enters the next packet, which no megaflow matches.
    #[cold]
    fn miss(&mut self, flight: &mut Flight<'_>, keys: &[KeyBuffer], round: &mut Round) {
        let place = flight.known;
        if keys.get(place).is_some_and(|key| key.extraction().malformed == Some(Malformed::Ethernet)) {
            round.note(flight.slot(place), Fate::Dropped(DropReason::InvalidPacket));
            flight.push(Way::Gone, place + 1);
        } else {
            self.stats.missed += 1;
            flight.push(Way::Up(None), place + 1);
        }
    }

    /// Enters the next packet, and those behind it that share its megaflow.
    #[inline(always)]
    fn enter(
        &mut self,
        handle: Handle,
        found: &[Option<Handle>],
        flight: &mut Flight<'_>,
        keys: &[KeyBuffer],
        round: &mut Round,
        groups: &mut ArrayVec<Group, BATCH>,
    ) {
        let first = flight.known;
        let Some(entry) = self.table.get_mut(handle) else { return self.miss(flight, keys, round) };
        if entry.version != self.version {
            return flight.push(Way::Up(Some(handle)), first + 1);
        }
        let (mut bytes, mut tcp_flags, mut end) = (0, 0, first);
        while let (Some(packet), Some(key)) = (flight.packets.get(end), keys.get(end)) {
            bytes += packet.len() as u64;
            tcp_flags |= key.key().tcp_flags.get();
            end += 1;
            if found.get(end) != Some(&Some(handle)) {
                break;
            }
        }
        self.stats.hits += (end - first) as u64;
        entry.stats.packets += (end - first) as u64;
        entry.stats.bytes += bytes;
        entry.stats.tcp_flags |= tcp_flags;
        entry.stats.used = Some(round.now);
        match entry.program {
            Program::Output(port) if !flight.is_cut => flight.push(Way::Port(port), end),
            Program::Drop => {
                (first..end).for_each(|place| round.note(flight.slot(place), Fate::Dropped(DropReason::FlowDrop)));
                flight.push(Way::Gone, end);
            }
            program => {
                if entry.turn != self.turn {
                    (entry.turn, entry.group) = (self.turn, groups.len() as u8);
                    let straight = match program {
                        Program::Straight(port) if !flight.is_cut => Some(port),
                        _ => None,
                    };
                    groups.push(Group { actions: entry.actions.clone(), straight, members: 0 });
                }
                if let Some(group) = groups.get_mut(usize::from(entry.group)) {
                    group.members |= (u32::MAX >> (BATCH - (end - first).min(BATCH))) << first;
                }
                flight.push(Way::Group(entry.group), end);
            }
        }
    }

    /// Does all actions but the last, in place; packets that cannot be changed are gone.
    fn go_straight(&mut self, group: &Group, port: PortNo, flight: &mut Flight<'_>, round: &mut Round) {
        let mut members = group.members;
        places(members).for_each(|place| flight.redirect(place, Way::Port(port)));
        let mut cut = None;
        for action in group.actions.iter().take(group.actions.len().saturating_sub(1)) {
            match action {
                DpAction::Trunc(len) => cut = Some(*len as usize),
                DpAction::Output(port) => {
                    for place in places(members) {
                        let Some(mut copy) = flight.packets.get(place).cloned() else { continue };
                        copy.truncate(cut.unwrap_or(usize::MAX));
                        let mut sent = |slot, result| round.sent(slot, result);
                        self.ports.transmit(*port, copy, flight.slot(place), &mut sent);
                    }
                    cut = None;
                }
                edit => {
                    let mut failed = 0u32;
                    let group = flight.packets.iter_mut().enumerate().filter(|(place, _)| members >> place & 1 != 0);
                    self.editor.edit(edit, group, |place| failed |= 1 << place);
                    for place in places(failed) {
                        flight.redirect(place, Way::Gone);
                        round.note(flight.slot(place), Fate::Dropped(DropReason::EditFailed));
                    }
                    members &= !failed;
                }
            }
        }
        if let Some(len) = cut {
            let packets = flight.packets.iter_mut().enumerate().filter(|(place, _)| members >> place & 1 != 0);
            packets.for_each(|(_, packet)| packet.truncate(len));
        }
    }

    /// Lets every packet go its way; those of the general way are returned, by the numbers of their groups.
    fn send(&mut self, flight: Flight<'_>, keys: &[KeyBuffer], round: &mut Round) -> ArrayVec<(u8, Vec<Work>), BATCH> {
        let mut general: ArrayVec<(u8, Vec<Work>), BATCH> = ArrayVec::new();
        let Flight { packets, notes, ways, common, .. } = flight;
        if let Some(Way::Port(port)) = common
            && let Some((sent, refused)) = self.ports.send_all(port, packets)
        {
            round.forwarded(notes.iter().take(sent));
            let left = notes.iter().skip(sent).take(packets.len());
            left.for_each(|note| round.note(note.slot(), Fate::Dropped(refused)));
            return general;
        }
        for ((((packet, way), note), key), place) in packets.drain(..).zip(&ways).zip(notes).zip(keys).zip(0..) {
            match *way {
                Way::Gone => {}
                Way::Port(port) => {
                    self.ports.transmit(port, packet, note.slot(), &mut |slot, result| round.sent(slot, result));
                }
                Way::Up(stale) => {
                    let stale = stale.and_then(|handle| self.table.get(handle)).map(|flow| flow.payload().ufid);
                    let kind = stale.map_or(UpcallKind::Miss, UpcallKind::Stale);
                    self.pass_up(Work { packet, note: *note }, Box::new(*key.key()), kind, round);
                }
                Way::Group(number) => {
                    let known = match general.iter().position(|(known, _)| *known == number) {
                        Some(known) => known,
                        None => {
                            general.push((number, self.spare.pop().unwrap_or_default()));
                            general.len() - 1
                        }
                    };
                    if let Some((_, list)) = general.get_mut(known) {
                        list.push(Work { packet, note: *note });
                        list.last_mut().into_iter().for_each(|work| work.note.key = Some(place));
                    }
                }
            }
        }
        general
    }
}
