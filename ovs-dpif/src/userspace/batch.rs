//! A batch of packets on its way: read, looked up, grouped by megaflow, sent.
//!
//! Each step is done for all packets before the next one, and packets stay where they are until it is known where all of
//! them go. Neighbours that share a megaflow are one *run*, whose statistics are entered once; most actions are a
//! single output, and a run of those knows its way at once. Runs of other megaflows are put together into *groups*, sets
//! of places in the batch, and the actions are executed once for each group. In the end the packets leave in the
//! order in which they came: where all go out of the same port, as one.
//!
//! What was read of a packet is kept while its bytes are what they were, so that one that is looked up again, or tracked
//! twice, is parsed once. It stays where it was read to; a packet's note says where that is.

use std::sync::Arc;

use arrayvec::ArrayVec;
use ovs_classifier::Handle;
use ovs_conntrack::{CtRequest, Sighting};
use ovs_packet::extract::{KeyBuffer, Malformed};
use ovs_packet::key::WORDS;
use ovs_packet::packet::BATCH;
use ovs_packet::{FlowKey, PacketBatch};

use super::Datapath;
use super::entry::Turn;
use super::program::{Last, Program};
use super::round::{Fate, Note, Round, Work};
use crate::action::{DpAction, PortNo};
use crate::dpif::UpcallKind;
use crate::drops::DropReason;

/// Packets of a batch that share a megaflow, by their places.
struct Group {
    actions: Arc<[DpAction]>,
    /// The last action, if all others are done in place.
    straight: Option<Last>,
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
    /// Back, with this recirculation id.
    Again(u32),
    /// Through the general way, with its group.
    Group(u8),
}

/// A batch on its way.
pub(super) struct Flight<'a> {
    packets: &'a mut PacketBatch,
    notes: [Note; BATCH],
    /// Whether the packets are as they came, and in their order.
    is_fresh: bool,
    /// Whether the next copy of any packet is to be cut.
    is_cut: bool,
    /// By place, which of the keys is the packet's.
    at: [u8; BATCH],
    /// The places whose packets were changed since their keys were read.
    changed: u32,
    ways: [Way; BATCH],
    /// Where all packets go, unless they differ.
    common: Option<Way>,
    /// Of how many packets the way is known.
    known: usize,
}

/// The first key for the first packet, and so on.
const IN_ORDER: [u8; BATCH] = {
    let mut at = [0; BATCH];
    let mut i = 0;
    while i < BATCH {
        at[i] = i as u8;
        i += 1;
    }
    at
};

/// What stands in for the keys of packets that a batch does not have.
static NO_KEY: [u64; WORDS] = [0; WORDS];

impl<'a> Flight<'a> {
    /// A batch as it was received.
    pub(super) fn fresh(packets: &'a mut PacketBatch) -> Flight<'a> {
        let ways = [Way::Up(None); BATCH];
        let notes = Note::FRESH;
        Flight { packets, notes, is_fresh: true, is_cut: false, at: IN_ORDER, changed: 0, ways, common: None, known: 0 }
    }

    /// A batch of packets that have been looked up before, with what is known of each.
    pub(super) fn noted(packets: &'a mut PacketBatch, known: &[Note]) -> Flight<'a> {
        let is_cut = known.iter().any(|note| note.cut.is_some());
        let mut notes = Note::FRESH;
        notes.iter_mut().zip(known).for_each(|(note, known)| *note = *known);
        let ways = [Way::Up(None); BATCH];
        Flight { packets, notes, is_fresh: false, is_cut, at: IN_ORDER, changed: 0, ways, common: None, known: 0 }
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

    /// Makes a batch of which all packets are looked up again one that has not been looked up yet. Whether it is such.
    fn turn_back(&mut self) -> bool {
        let Some(Way::Again(id)) = self.common else { return false };
        let n = self.packets.len().min(BATCH);
        if !self.notes.iter().take(n).all(|note| note.turns.may_turn()) {
            return false;
        }
        for (place, (packet, note)) in self.packets.iter_mut().zip(&mut self.notes).enumerate() {
            packet.set_recirc_id(id);
            note.turns.take();
            note.key = self.at.get(place).copied().filter(|_| self.changed >> place & 1 == 0);
        }
        (self.is_fresh, self.changed, self.common, self.known) = (false, 0, None, 0);
        true
    }

    /// The key of the packet at a place, among the batch's.
    fn key<'k>(&self, place: usize, keys: &'k [KeyBuffer]) -> Option<&'k KeyBuffer> {
        keys.get(usize::from(*self.at.get(place)?))
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
    pub(super) fn pass(&mut self, flight: &mut Flight<'_>, round: &mut Round, again: &mut Vec<Work>) {
        let mut keys = std::mem::take(&mut self.keys);
        let mut groups = ArrayVec::new();
        self.read(flight, &mut keys);
        loop {
            self.classify(flight, &keys, round, &mut groups);
            for group in &groups {
                if let Some(last) = group.straight
                    && !holds_fragments(group, flight, &keys)
                {
                    self.go_straight(group, last, flight, &keys, round);
                }
            }
            if !flight.turn_back() {
                break;
            }
            self.read(flight, &mut keys);
            groups.clear();
        }
        if !self.send_together(flight, round) {
            let mut lists = ArrayVec::new();
            self.send_apart(flight, &keys, round, again, &mut lists);
            self.keys = std::mem::take(&mut keys);
            for (number, mut list) in lists {
                let actions = groups.get(usize::from(number)).map(|group| &*group.actions);
                self.execute(&mut list, actions.unwrap_or_default(), round, again);
                self.give_back(list);
            }
        } else {
            self.keys = keys;
        }
    }

    /// Reads the packets' keys: of packets that have theirs from the last lookup, only what may have changed.
    #[inline]
    fn read(&mut self, flight: &mut Flight<'_>, keys: &mut [KeyBuffer]) {
        if flight.is_fresh {
            self.sighted = 0;
            return self.extractor.extract_batch(flight.packets, keys);
        }
        let (mut taken, mut left) = (0u32, 0u32);
        for (place, (packet, note)) in flight.packets.iter_mut().zip(&flight.notes).enumerate() {
            let own = note.key.filter(|at| taken >> at & 1 == 0);
            match own.and_then(|at| Some((at, keys.get_mut(usize::from(at))?))) {
                Some((at, buffer)) => {
                    taken |= 1 << at;
                    flight.at[place % BATCH] = at;
                    self.extractor.extract_again(packet, buffer);
                }
                None => left |= 1 << place,
            }
        }
        for place in places(left) {
            let at = taken.trailing_ones();
            if let (Some(packet), Some(buffer)) = (flight.packets.get_mut(place), keys.get_mut(at as usize)) {
                taken |= 1 << at;
                self.sighted &= !(1 << at);
                flight.at[place % BATCH] = at as u8;
                self.extractor.extract_into(packet, buffer);
            }
        }
    }

    /// Finds the megaflows, and with them the ways of most packets; the others are put in groups.
    #[inline]
    fn classify<'k>(
        &mut self,
        flight: &mut Flight<'_>,
        keys: &'k [KeyBuffer],
        round: &mut Round,
        groups: &mut ArrayVec<Group, BATCH>,
    ) {
        let n = flight.packets.len().min(keys.len());
        let (mut words, mut flags, mut malformed) = ([&NO_KEY; BATCH], [0; BATCH], false);
        let mut note = |place: usize, key: &'k KeyBuffer| {
            words[place % BATCH] = key.key().words();
            flags[place % BATCH] = key.key().tcp_flags.get();
            malformed |= key.extraction().malformed.is_some();
        };
        if flight.is_fresh {
            keys.iter().take(n).enumerate().for_each(|(place, key)| note(place, key));
        } else {
            (0..n)
                .filter_map(|place| Some((place, flight.key(place, keys)?)))
                .for_each(|(place, key)| note(place, key));
        }
        let mut found = [None; BATCH];
        let found = found.get_mut(..n).unwrap_or_default();
        self.table.lookup_batch(words.get(..n).unwrap_or_default(), found);
        // Even a megaflow that looks at nothing is none for what is not a packet.
        for (place, found) in found.iter_mut().enumerate().filter(|_| malformed) {
            if flight.key(place, keys).is_some_and(|key| key.extraction().malformed == Some(Malformed::Ethernet)) {
                *found = None;
            }
        }

        self.turn += 1;
        while let Some(handle) = found.get(flight.known) {
            match handle {
                Some(handle) => self.enter(*handle, found, flight, (keys, &flags), round, groups),
                None => self.miss(flight, keys, round),
            }
        }
    }

    /// Enters the next packet, which no megaflow matches.
    #[cold]
    fn miss(&mut self, flight: &mut Flight<'_>, keys: &[KeyBuffer], round: &mut Round) {
        let place = flight.known;
        if flight.key(place, keys).is_some_and(|key| key.extraction().malformed == Some(Malformed::Ethernet)) {
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
        (keys, flags): (&[KeyBuffer], &[u16; BATCH]),
        round: &mut Round,
        groups: &mut ArrayVec<Group, BATCH>,
    ) {
        let first = flight.known;
        let Some(entry) = self.table.get_mut(handle) else { return self.miss(flight, keys, round) };
        if entry.version != self.version {
            return flight.push(Way::Up(Some(handle)), first + 1);
        }
        let found = found.get(first..).unwrap_or_default();
        let end = first + found.iter().take_while(|found| **found == Some(handle)).count();
        let packets = flight.packets.get(first..end).unwrap_or_default();
        let bytes = packets.iter().map(|packet| packet.len() as u64).sum::<u64>();
        let tcp_flags = flags.get(first..end).unwrap_or_default().iter().fold(0, |all, flags| all | flags);
        self.stats.hits += (end - first) as u64;
        entry.tally.count(end - first, bytes, tcp_flags, round.now);
        match entry.program {
            Program::Output(port) if !flight.is_cut => flight.push(Way::Port(port), end),
            Program::Drop => {
                (first..end).for_each(|place| round.note(flight.slot(place), Fate::Dropped(DropReason::FlowDrop)));
                flight.push(Way::Gone, end);
            }
            program => {
                let number = entry.turn.group_in(self.turn).unwrap_or_else(|| {
                    let straight = match program {
                        Program::Straight(last) if !flight.is_cut => Some(last),
                        _ => None,
                    };
                    entry.turn = Turn::new(self.turn, groups.len());
                    groups.push(Group { actions: entry.actions.clone(), straight, members: 0 });
                    groups.len() as u8 - 1
                });
                if let Some(group) = groups.get_mut(usize::from(number)) {
                    group.members |= (u32::MAX >> (BATCH - (end - first).min(BATCH))) << first;
                }
                flight.push(Way::Group(number), end);
            }
        }
    }

    /// Does all actions but the last, in place; packets that cannot be changed are gone.
    fn go_straight(
        &mut self,
        group: &Group,
        last: Last,
        flight: &mut Flight<'_>,
        keys: &[KeyBuffer],
        round: &mut Round,
    ) {
        let mut members = group.members;
        let way = match last {
            Last::Output(port) => Way::Port(port),
            Last::Recirc(id) => Way::Again(id),
        };
        places(members).for_each(|place| flight.redirect(place, way));
        if members.count_ones() as usize == flight.packets.len() {
            flight.common = Some(way);
        }
        let mut cut = None;
        for action in group.actions.iter().take(group.actions.len().saturating_sub(1)) {
            match action {
                DpAction::Ct(request) => self.track_in_place(members, request, flight, keys, round),
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
                    flight.changed |= members;
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

    /// Tracks packets where they are; none of them is a fragment.
    fn track_in_place(
        &mut self,
        members: u32,
        request: &CtRequest,
        flight: &mut Flight<'_>,
        keys: &[KeyBuffer],
        round: &Round,
    ) {
        let (at, changed, extractor) = (flight.at, flight.changed, self.extractor);
        let mut sighted = self.sighted;
        let mut sightings: ArrayVec<Option<&mut Sighting>, BATCH> = self.sightings.iter_mut().map(Some).collect();
        let packets = flight.packets.iter_mut().zip(&mut self.changed).zip(at).enumerate();
        let members_of = packets.filter(|(place, _)| members >> place & 1 != 0);
        let batch = members_of.filter_map(|(place, ((packet, buffer), at))| {
            let is_changed = changed >> place & 1 != 0;
            let key = if is_changed {
                extractor.extract_into(packet, buffer);
                buffer.key()
            } else {
                keys.get(usize::from(at))?.key()
            };
            let sighting = sightings.get_mut(usize::from(at))?.take()?;
            if is_changed || sighted >> at & 1 == 0 {
                sighting.forget();
                sighted |= 1 << at;
            }
            Some((packet, key, sighting))
        });
        self.headers_summed += self.conntrack.track_again(batch, request, round.now);
        self.sighted = sighted;
        if request.nat.is_some() {
            flight.changed |= members;
        }
    }

    /// Sends all packets, if they go out of one port. False, and nothing is done, if they do not.
    #[inline]
    fn send_together(&mut self, flight: &mut Flight<'_>, round: &mut Round) -> bool {
        let Flight { packets, notes, common: Some(Way::Port(port)), is_fresh, .. } = flight else { return false };
        let Some((sent, refused)) = self.ports.send_all(*port, packets) else { return false };
        if *is_fresh && packets.is_empty() {
            round.all_forwarded();
            return true;
        }
        round.forwarded(notes.iter().take(sent));
        let left = notes.iter().skip(sent).take(packets.len());
        left.for_each(|note| round.note(note.slot(), Fate::Dropped(refused)));
        true
    }

    /// Lets every packet go its way; those that are looked up again are appended to `again`, those of the general way to
    /// the lists of their groups.
    fn send_apart(
        &mut self,
        flight: &mut Flight<'_>,
        keys: &[KeyBuffer],
        round: &mut Round,
        again: &mut Vec<Work>,
        general: &mut ArrayVec<(u8, Vec<Work>), BATCH>,
    ) {
        let Flight { packets, notes, at, changed, ways, .. } = flight;
        let (notes, changed) = (&*notes, *changed);
        for ((((mut packet, way), note), at), place) in packets.drain(..).zip(&*ways).zip(notes).zip(*at).zip(0..) {
            let key = (changed >> place & 1 == 0).then_some(at);
            match *way {
                Way::Gone => {}
                Way::Again(id) => {
                    packet.set_recirc_id(id);
                    // The note is changed where it stays: a part that was just written keeps a copy of all waiting.
                    again.push(Work { packet, note: *note });
                    let Some(work) = again.last_mut() else { continue };
                    work.note.key = key;
                    if !work.note.turns.take() {
                        again.pop();
                        round.note(note.slot(), Fate::Dropped(DropReason::RecirculationDepth));
                    }
                }
                Way::Port(port) => {
                    self.ports.transmit(port, packet, note.slot(), &mut |slot, result| round.sent(slot, result));
                }
                Way::Up(stale) => {
                    let stale = stale.and_then(|handle| self.table.get(handle)).map(|flow| flow.payload().ufid);
                    let kind = stale.map_or(UpcallKind::Miss, UpcallKind::Stale);
                    let key = keys.get(usize::from(at)).map_or(&FlowKey::ZERO, KeyBuffer::key);
                    self.pass_up(Work { packet, note: *note }, Box::new(*key), kind, round);
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
                        list.last_mut().into_iter().for_each(|work| work.note.key = key);
                    }
                }
            }
        }
    }
}

/// Whether packets of a group are fragments that are to be tracked: they go the general way.
fn holds_fragments(group: &Group, flight: &Flight<'_>, keys: &[KeyBuffer]) -> bool {
    let is_fragment = |place| flight.key(place, keys).is_some_and(|key| key.key().nw_frag != 0);
    group.actions.iter().any(|action| matches!(action, DpAction::Ct(_))) && places(group.members).any(is_fragment)
}
