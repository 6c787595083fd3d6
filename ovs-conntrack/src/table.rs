//! The connections, and three ways to them: by number, by key, by the time they end.
//!
//! A connection has a number, its place in a slab, which it keeps for life. A hash table finds numbers by key; it
//! stores nothing but the numbers, so that it stays small and growing it moves four bytes a connection. A timer wheel
//! finds numbers by deadline. Labels stand apart: few connections have one, and the others need not make room in the
//! cache line that every packet reads.
//!
//! # Invariant
//!
//! A number is in the hash table and filed in the wheel exactly while its slot in the slab is taken.

use alloc::vec::Vec;

use hashbrown::HashTable;
use ovs_packet::Instant;

use crate::connection::Connection;
use crate::key::Key;
use crate::siphash::SipHash13;
use crate::wheel::Wheel;

/// A place in the slab.
enum Slot {
    /// Nothing, and the next free slot.
    Free(u32),
    Taken(Connection),
}

const _: () = assert!(size_of::<Slot>() == 64);

/// No slot.
const NIL: u32 = u32::MAX;

/// The most connections that numbers suffice for.
pub(crate) const MOST: usize = NIL as usize - 1;

/// See the [module](self).
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: u32,
    /// By number, as far as any connection ever had a label.
    labels: Vec<u128>,
    numbers: HashTable<u32>,
    wheel: Wheel,
    hash: SipHash13,
}

impl Table {
    pub(crate) fn new(hash: SipHash13) -> Self {
        let (slots, labels) = (Vec::new(), Vec::new());
        Table { slots, free: NIL, labels, numbers: HashTable::new(), wheel: Wheel::new(), hash }
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The number of the connection with this key.
    pub(crate) fn find(&self, key: &Key) -> Option<u32> {
        self.numbers.find(key.hash(self.hash), |id| self.get(*id).is_some_and(|c| c.key == *key)).copied()
    }

    /// The connection with this number.
    pub(crate) fn get(&self, id: u32) -> Option<&Connection> {
        match self.slots.get(id as usize) {
            Some(Slot::Taken(connection)) => Some(connection),
            _ => None,
        }
    }

    /// The connection with this number, to be changed; its key stays, and its deadline is set by [`Self::set_deadline`].
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Connection> {
        match self.slots.get_mut(id as usize) {
            Some(Slot::Taken(connection)) => Some(connection),
            _ => None,
        }
    }

    /// All numbers and connections, in the order of the numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Connection)> {
        self.slots.iter().zip(0..).filter_map(|(slot, id)| match slot {
            Slot::Taken(connection) => Some((id, connection)),
            Slot::Free(_) => None,
        })
    }

    /// The label of the connection.
    pub(crate) fn label(&self, id: u32) -> u128 {
        match self.get(id) {
            Some(connection) if connection.labelled => self.labels.get(id as usize).copied().unwrap_or(0),
            _ => 0,
        }
    }

    pub(crate) fn set_label(&mut self, id: u32, label: u128) {
        let Some(connection) = self.get_mut(id) else { return };
        connection.labelled = label != 0;
        if label != 0 {
            if self.labels.len() <= id as usize {
                self.labels.resize(id as usize + 1, 0);
            }
            if let Some(place) = self.labels.get_mut(id as usize) {
                *place = label;
            }
        }
    }

    /// Stores a connection whose key no other has, and gives its number. There are fewer than [`MOST`].
    pub(crate) fn insert(&mut self, connection: Connection) -> u32 {
        let (key, deadline) = (connection.key, connection.deadline);
        let id = match self.slots.get_mut(self.free as usize) {
            Some(slot) => {
                let id = self.free;
                if let Slot::Free(next) = core::mem::replace(slot, Slot::Taken(connection)) {
                    self.free = next;
                }
                id
            }
            None => {
                self.slots.push(Slot::Taken(connection));
                (self.slots.len() - 1) as u32
            }
        };
        let Table { slots, numbers, hash, .. } = self;
        numbers.insert_unique(key.hash(*hash), id, |id| match slots.get(*id as usize) {
            Some(Slot::Taken(connection)) => connection.key.hash(*hash),
            _ => 0,
        });
        self.wheel.schedule(id, deadline);
        id
    }

    /// Removes a connection.
    pub(crate) fn remove(&mut self, id: u32) {
        let Some(connection) = self.get(id) else { return };
        let hash = connection.key.hash(self.hash);
        if let Ok(entry) = self.numbers.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        self.wheel.cancel(id);
        if let Some(slot) = self.slots.get_mut(id as usize) {
            *slot = Slot::Free(self.free);
            self.free = id;
        }
    }

    /// Gives the connection a new deadline. A later one, which is the rule, costs a store.
    pub(crate) fn set_deadline(&mut self, id: u32, deadline: Instant) {
        let Some(connection) = self.get_mut(id) else { return };
        let before = core::mem::replace(&mut connection.deadline, deadline);
        if deadline < before {
            self.wheel.hasten(id, deadline);
        }
    }

    /// When there will next be something for [`Self::expire_one`].
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// Looks at one connection whose time may have come, and removes it if it has: `Some(true)`. `None` if there is
    /// none to look at.
    pub(crate) fn expire_one(&mut self, now: Instant) -> Option<bool> {
        let id = self.wheel.pop(now)?;
        let deadline = self.get(id)?.deadline;
        if deadline <= now {
            self.remove(id);
            return Some(true);
        }
        self.wheel.schedule(id, deadline);
        Some(false)
    }
}
