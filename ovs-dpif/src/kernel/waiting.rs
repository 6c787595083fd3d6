//! What waits between the threads that take upcalls and the one that decides on them: a bounded queue that is fair among
//! ports.
//!
//! Of the room a port gets at most as much as is left free, so that one alone gets half of it, two get a third each, and
//! there is always room for another. What comes out are packets of the ports in turn, those of one port in the order in
//! which they went in. So who floods the switch by one port fills the room of that port, and the others' packets pass it.

use std::collections::{BTreeMap, VecDeque};

use crate::dpif::Upcall;

/// The queue.
#[derive(Debug)]
pub(super) struct Waiting {
    room: usize,
    len: usize,
    /// By port; none is empty.
    lanes: BTreeMap<u32, VecDeque<Upcall>>,
    /// The ports that have a lane, in the order of their turns.
    turns: VecDeque<u32>,
    refused: u64,
}

impl Waiting {
    /// A queue for at most so many upcalls.
    pub(super) fn new(room: usize) -> Waiting {
        Waiting { room, len: 0, lanes: BTreeMap::new(), turns: VecDeque::new(), refused: 0 }
    }

    /// How many wait, and how many were refused since that was asked.
    #[cfg(test)]
    pub(super) fn seen(&self) -> (usize, u64) {
        (self.len, self.refused)
    }

    /// Takes an upcall in, or refuses and counts it.
    pub(super) fn push(&mut self, upcall: Upcall) {
        let port = upcall.key.in_port.get();
        let has = self.lanes.get(&port).map_or(0, VecDeque::len);
        if has >= self.room.saturating_sub(self.len) {
            self.refused += 1;
            return;
        }
        if has == 0 {
            self.turns.push_back(port);
        }
        self.lanes.entry(port).or_default().push_back(upcall);
        self.len += 1;
    }

    /// Gives the next out.
    pub(super) fn pop(&mut self) -> Option<Upcall> {
        let port = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&port)?;
        let upcall = lane.pop_front()?;
        self.len -= 1;
        if lane.is_empty() {
            self.lanes.remove(&port);
        } else {
            self.turns.push_back(port);
        }
        Some(upcall)
    }

    /// How many were refused since this was asked last.
    pub(super) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }
}

#[cfg(test)]
mod tests {
    use ovs_packet::{FlowKey, Packet};

    use super::*;
    use crate::dpif::UpcallKind;
    use crate::userspace::Turns;

    fn upcall(port: u32, number: u8) -> Upcall {
        let mut key = Box::new(FlowKey::ZERO);
        key.in_port.set(port);
        Upcall::new(UpcallKind::Miss, key, Packet::from_slice(&[number]), true, Turns::NONE)
    }

    fn next(waiting: &mut Waiting) -> Option<(u32, u8)> {
        waiting.pop().map(|upcall| (upcall.key.in_port.get(), upcall.packet.data()[0]))
    }

    #[test]
    fn a_flood_has_half_of_the_room_and_every_second_turn() {
        let mut waiting = Waiting::new(100);
        (0..200).for_each(|n| waiting.push(upcall(1, n)));
        assert_eq!((waiting.seen(), waiting.take_refused(), waiting.take_refused()), ((50, 150), 150, 0));
        (0..200).for_each(|n| waiting.push(upcall(2, n)));
        // As many as are left free then.
        assert_eq!((waiting.seen(), waiting.take_refused()), ((75, 175), 175));
        (0..3).for_each(|n| waiting.push(upcall(3, n)));
        let came: Vec<_> = std::iter::from_fn(|| next(&mut waiting)).take(9).collect();
        let turns = (0..3).flat_map(|n| [(1, n), (2, n), (3, n)]);
        assert_eq!(came, turns.collect::<Vec<_>>());
        let rest: Vec<_> = std::iter::from_fn(|| next(&mut waiting)).filter(|(port, _)| *port == 1).collect();
        assert_eq!(rest, (3..50).map(|n| (1, n)).collect::<Vec<_>>(), "each port's in order");
        assert!(waiting.seen() == (0, 0) && waiting.lanes.is_empty() && waiting.turns.is_empty());
    }
}
