//! A batch of packets on its way: read, looked up, grouped by megaflow, sent.
//!
//! Each step is done for all packets before the next one, and packets stay where they are until it is known where all of
//! them go. A group, the packets that share a megaflow, is a set of places in the batch: its statistics are entered once,
//! and so are its actions executed. In the end the packets leave in the order in which they came: where all go out of
//! the same port, as one.

use arrayvec::ArrayVec;
use ovs_classifier::Handle;
use ovs_packet::extract::{KeyBuffer, Malformed};
use ovs_packet::packet::BATCH;
use ovs_packet::{FlowKey, PacketBatch};

use super::Datapath;
use super::program::Program;
use super::round::{Fate, Note, Round, Work};
use crate::action::{DpAction, PortNo};
use crate::dpif::UpcallKind;
use crate::drops::DropReason;

/// Packets of a batch that share a megaflow.
struct Group {
    handle: Handle,
    /// By place in the batch.
    members: u32,
    packets: u64,
    bytes: u64,
    tcp_flags: u16,
}

/// Where a packet of a batch goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is dropped, for a reason that is noted.
    Gone,
    /// No megaflow matches it.
    Up,
    /// Out of a port.
    Port(PortNo),
    /// Through the general way, with its group.
    Group(u8),
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
    pub(super) fn pass(&mut self, packets: &mut PacketBatch, notes: &[Note], round: &mut Round, again: &mut Vec<Work>) {
        let mut keys = std::mem::take(&mut self.keys);
        self.extractor.extract_batch(packets, &mut keys);
        let mut ways = [Way::Up; BATCH];
        let groups = self.classify(packets, &keys, &mut ways, notes, round);
        for (group, number) in groups.iter().zip(0..) {
            self.begin(group, number, packets, &mut ways, notes, round);
        }
        let lists = self.send(packets, &ways, notes, &keys, round);
        self.keys = keys;
        for (number, mut list) in lists {
            let entry = groups.get(usize::from(number)).and_then(|group| self.table.get(group.handle));
            let actions = entry.map(|entry| entry.payload().actions.clone());
            self.execute(&mut list, actions.as_deref().unwrap_or_default(), round, again);
            self.give_back(list);
        }
    }

    /// Groups packets by megaflow, in the order of each one's first packet.
    fn classify(
        &mut self,
        packets: &PacketBatch,
        keys: &[KeyBuffer],
        ways: &mut [Way; BATCH],
        notes: &[Note],
        round: &mut Round,
    ) -> ArrayVec<Group, BATCH> {
        let n = packets.len().min(keys.len());
        let words: ArrayVec<_, BATCH> = keys.iter().take(n).map(|key| key.key().words()).collect();
        let mut found = [None; BATCH];
        let found = found.get_mut(..n).unwrap_or_default();
        self.table.lookup_batch(&words, found);

        let mut groups: ArrayVec<Group, BATCH> = ArrayVec::new();
        self.turn += 1;
        let arrivals = packets.iter().zip(keys).zip(found).zip(ways).zip(notes).enumerate();
        for (place, ((((packet, key), found), way), note)) in arrivals {
            if key.extraction().malformed == Some(Malformed::Ethernet) {
                *way = Way::Gone;
                round.note(note.slot(), Fate::Dropped(DropReason::InvalidPacket));
                continue;
            }
            let Some((handle, entry)) = found.and_then(|handle| Some((handle, self.table.get_mut(handle)?))) else {
                self.stats.missed += 1;
                continue;
            };
            self.stats.hits += 1;
            if entry.turn != self.turn {
                (entry.turn, entry.group) = (self.turn, groups.len() as u8);
                groups.push(Group { handle, members: 0, packets: 0, bytes: 0, tcp_flags: 0 });
            }
            *way = Way::Group(entry.group);
            if let Some(group) = groups.get_mut(usize::from(entry.group)) {
                group.members |= 1 << place;
                group.packets += 1;
                group.bytes += packet.len() as u64;
                group.tcp_flags |= key.key().tcp_flags.get();
            }
        }
        groups
    }

    /// Enters a group's statistics, and does what its actions do in place.
    fn begin(
        &mut self,
        group: &Group,
        number: u8,
        packets: &mut PacketBatch,
        ways: &mut [Way; BATCH],
        notes: &[Note],
        round: &mut Round,
    ) {
        let Some(entry) = self.table.get_mut(group.handle) else { return };
        entry.stats.packets += group.packets;
        entry.stats.bytes += group.bytes;
        entry.stats.tcp_flags |= group.tcp_flags;
        entry.stats.used = Some(round.now);
        let is_cut = || places(group.members).any(|place| notes.get(place).is_some_and(|note| note.cut.is_some()));
        let way = match entry.program {
            Program::Drop => {
                let slots = places(group.members).filter_map(|place| Some(notes.get(place)?.slot()));
                slots.for_each(|slot| round.note(slot, Fate::Dropped(DropReason::FlowDrop)));
                Way::Gone
            }
            Program::Straight(port) if entry.actions.len() == 1 && !is_cut() => Way::Port(port),
            Program::Straight(port) if !is_cut() => {
                let actions = entry.actions.clone();
                return self.go_straight(&actions, port, group.members, packets, ways, notes, round);
            }
            _ => Way::Group(number),
        };
        places(group.members).for_each(|place| ways[place % BATCH] = way);
    }

    /// Does all actions but the last, in place; packets that cannot be changed are gone.
    #[expect(clippy::too_many_arguments, reason = "a batch and its sides")]
    fn go_straight(
        &mut self,
        actions: &[DpAction],
        port: PortNo,
        mut members: u32,
        packets: &mut PacketBatch,
        ways: &mut [Way; BATCH],
        notes: &[Note],
        round: &mut Round,
    ) {
        places(members).for_each(|place| ways[place % BATCH] = Way::Port(port));
        let mut cut = None;
        for action in actions.iter().take(actions.len().saturating_sub(1)) {
            match action {
                DpAction::Trunc(len) => cut = Some(*len as usize),
                DpAction::Output(port) => {
                    let copies = places(members).filter_map(|place| Some((packets.get(place)?, notes.get(place)?)));
                    for (packet, note) in copies {
                        let mut copy = packet.clone();
                        copy.truncate(cut.unwrap_or(usize::MAX));
                        self.ports.transmit(*port, copy, note.slot(), &mut |slot, result| round.sent(slot, result));
                    }
                    cut = None;
                }
                edit => {
                    let mut failed = 0;
                    let group = packets.iter_mut().enumerate().filter(|(place, _)| members >> place & 1 != 0);
                    self.editor.edit(edit, group, |place| failed |= 1 << place);
                    for place in places(failed) {
                        ways[place % BATCH] = Way::Gone;
                        if let Some(note) = notes.get(place) {
                            round.note(note.slot(), Fate::Dropped(DropReason::EditFailed));
                        }
                    }
                    members &= !failed;
                }
            }
        }
        if let Some(len) = cut {
            places(members).for_each(|place| {
                if let Some(packet) = packets.get_mut(place) {
                    packet.truncate(len);
                }
            });
        }
    }

    /// Lets every packet go its way; those of the general way are returned, by the numbers of their groups.
    fn send(
        &mut self,
        packets: &mut PacketBatch,
        ways: &[Way; BATCH],
        notes: &[Note],
        keys: &[KeyBuffer],
        round: &mut Round,
    ) -> ArrayVec<(u8, Vec<Work>), BATCH> {
        let mut general: ArrayVec<(u8, Vec<Work>), BATCH> = ArrayVec::new();
        if let Some(Way::Port(port)) = ways.first()
            && ways.iter().take(packets.len()).all(|way| *way == Way::Port(*port))
            && self.ports.send_all(*port, packets, notes, &mut |slot, result| round.sent(slot, result))
        {
            return general;
        }
        for (((packet, way), note), key) in packets.drain(..).zip(ways).zip(notes).zip(keys) {
            match way {
                Way::Gone => {}
                Way::Port(port) => {
                    self.ports.transmit(*port, packet, note.slot(), &mut |slot, result| round.sent(slot, result));
                }
                Way::Up => {
                    let key: Box<FlowKey> = Box::new(*key.key());
                    self.pass_up(Work { packet, note: *note }, key, UpcallKind::Miss, round);
                }
                Way::Group(number) => {
                    let work = Work { packet, note: *note };
                    match general.iter_mut().find(|(known, _)| known == number) {
                        Some((_, list)) => list.push(work),
                        None => {
                            let mut list = self.spare.pop().unwrap_or_default();
                            list.push(work);
                            general.push((*number, list));
                        }
                    }
                }
            }
        }
        general
    }
}
