//! The connections of a shard, and three ways to them: by number, by key, by the time they end.
//!
//! A connection has a number, its place in a slab, which it keeps for life. An [`Index`] finds numbers by key, a timer
//! wheel by deadline. What not every packet needs stands apart, in places of the same number: windows of TCP, labels,
//! reply tuples of translated connections. They take room only about the numbers of connections that have any.
//!
//! A translated connection has two keys, of its original and its reply tuple, and the second may belong to another
//! shard. There an [`Alias`] stands for it in the same index, so that a tuple is taken once, whoever has it. The key of a
//! translated connection's tuple is taken for that direction alone: another connection's tuple may run against it.
//!
//! # Invariants
//!
//! - A number is in the index and filed in the wheel exactly while its slot in the slab is taken.
//! - No two entries of the index have the same key, unless those are translated connections, or aliases of some, and
//!   have it in opposite directions.
//! - The numbers on the list of free ones are those of free slots.

use alloc::vec::Vec;

use core::hint::black_box;

use arrayvec::ArrayVec;
use ovs_packet::Instant;
use ovs_packet::packet::BATCH;

use crate::chunks::Chunks;
use crate::connection::{Connection, Flags, Progress};
use crate::index::Index;
use crate::key::Key;
use crate::sighting::Sighting;
use crate::siphash::SipHash13;
use crate::tcp::Windows;
use crate::wheel::Wheel;

/// A place in the slab: a cache line, and no two halves of lines.
#[repr(align(64))]
struct Line(Slot);

/// What is in a place.
enum Slot {
    /// Nothing.
    Free,
    /// Nothing: somebody is about to fill it, or to remove an alias that leads here.
    Reserved,
    Taken(Connection),
}

const _: () = assert!(size_of::<Line>() == 64);

/// No slot.
pub(crate) const NIL: u32 = u32::MAX;

/// Of so many connections the index is in the processor's caches, near enough not to be read ahead.
const NEAR: usize = 4096;

/// In the index: the number is that of an alias.
const ALIAS: u32 = 1 << 31;

/// The most connections that numbers suffice for.
pub(crate) const MOST: usize = ALIAS as usize - 1;

/// The key of a connection's reply direction, where the connection is found by another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Alias {
    pub(crate) key: Key,
    /// Whether the packets of the reply direction come from the low end of `key`.
    pub(crate) from_low: bool,
    /// The zone, as this shard numbers it, and its generation.
    pub(crate) zone: u16,
    pub(crate) generation: u32,
    /// Where the connection is.
    pub(crate) shard: u16,
    pub(crate) id: u32,
}

/// What a key stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    Connection(u32),
    Alias(Alias),
}

/// The windows of a connection, not fetched yet.
pub(crate) struct WindowsOf<'a> {
    windows: &'a mut Chunks<Windows>,
    id: u32,
}

impl<'a> WindowsOf<'a> {
    pub(crate) fn get(self) -> Option<&'a mut Windows> {
        self.windows.get_mut(self.id)
    }
}

/// See the [module](self).
pub(crate) struct Table {
    slots: Chunks<Line>,
    /// The numbers of free slots. A list of its own, so that those which are taken next are known before they are read.
    free: Vec<u32>,
    taken: usize,
    windows: Chunks<Windows>,
    labels: Chunks<u128>,
    /// The reply tuple's key, and whether replies come from its low end.
    replies: Chunks<(Key, bool)>,
    aliases: Vec<Result<Alias, u32>>,
    free_alias: u32,
    numbers: Index,
    wheel: Wheel,
    hash: SipHash13,
}

impl Table {
    /// The table of one shard of as many.
    pub(crate) fn new(hash: SipHash13, shards: usize) -> Self {
        Table {
            slots: Chunks::new(),
            free: Vec::new(),
            taken: 0,
            windows: Chunks::new(),
            labels: Chunks::new(),
            replies: Chunks::new(),
            aliases: Vec::new(),
            free_alias: NIL,
            numbers: Index::new(shards),
            wheel: Wheel::new(),
            hash,
        }
    }

    /// How many connections there are, dead ones included.
    pub(crate) fn len(&self) -> usize {
        self.taken
    }

    /// How many slots there are to look through, see [`get`](Self::get).
    pub(crate) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Bytes of memory that are held for connections.
    pub(crate) fn memory(&self) -> usize {
        self.slots.memory()
            + self.free.capacity() * size_of::<u32>()
            + self.windows.memory()
            + self.labels.memory()
            + self.replies.memory()
            + self.aliases.capacity() * size_of::<Result<Alias, u32>>()
            + self.numbers.memory()
            + self.wheel.memory()
    }

    /// What has this key, whose hash is `hash`, as packets from its low end have it, or those from its high one: where
    /// translated connections have it each in another direction, the one whose packets these are. If they are
    /// `rewritten`, it is the other.
    #[inline]
    pub(crate) fn find(&self, key: &Key, hash: u64, from_low: bool, rewritten: bool) -> Option<Entry> {
        let mut other = None;
        let found = self.numbers.find(hash, |id| {
            let has_key = self.key_of(id).is_some_and(|k| k == key);
            let right = has_key && self.has_way(id, from_low) != rewritten;
            if has_key && !right {
                other = Some(id);
            }
            right
        });
        let id = found.or(other)?;
        if id & ALIAS == 0 {
            return Some(Entry::Connection(id));
        }
        self.alias(id & !ALIAS).map(|alias| Entry::Alias(*alias))
    }

    /// Reads what [`find`](Self::find) would for these packets, in rounds whose reads do not wait for one another, and
    /// notes numbers that their connections may have. What has a number was read before. For those of no connection the
    /// room is read that they may take.
    pub(crate) fn fetch<'s>(&self, packets: impl Iterator<Item = &'s mut Sighting>) {
        let mut places: ArrayVec<(u64, &mut u32), BATCH> = ArrayVec::new();
        for sighting in packets.filter(|sighting| sighting.number == NIL).take(BATCH) {
            if let Ok(seen) = &sighting.reading {
                places.push((seen.hash, &mut sighting.number));
            }
        }
        if self.taken > NEAR {
            black_box(places.iter().fold(0, |read, (hash, _)| read ^ self.numbers.first(*hash)));
        }
        let mut ids: ArrayVec<u32, BATCH> = ArrayVec::new();
        let mut absent = 0;
        for (hash, number) in places {
            // The number whose part of the hash fits is nearly always the right one.
            match self.numbers.find(hash, |_| true) {
                Some(id) => {
                    *number = id;
                    ids.push(id);
                }
                None => absent += 1,
            }
        }
        let (mut tcp, mut read) = ([NIL; BATCH], 0);
        for id in self.free.iter().rev().take(absent) {
            read ^= u64::from(matches!(self.slots.get(*id), Some(Line(Slot::Free)))) ^ self.wheel.place(*id);
        }
        for (tcp, id) in tcp.iter_mut().zip(&ids) {
            let Some(connection) = self.get(*id) else { continue };
            read ^= connection.deadline.as_nanos();
            if matches!(connection.progress, Progress::Tcp(_)) {
                *tcp = *id;
            }
        }
        for windows in tcp.iter().take(ids.len()).filter_map(|id| self.windows.get(*id)) {
            read ^= u64::from(windows.first());
        }
        black_box(read);
    }

    fn alias(&self, at: u32) -> Option<&Alias> {
        self.aliases.get(at as usize).and_then(|alias| alias.as_ref().ok())
    }

    /// Whether packets that come this way are of what has this number, before they are translated: all of a connection
    /// that is not, and of one that is, those in the original direction by its own key and the replies by its alias.
    #[inline]
    fn has_way(&self, id: u32, from_low: bool) -> bool {
        if id & ALIAS != 0 {
            return self.alias(id & !ALIAS).is_some_and(|alias| alias.from_low == from_low);
        }
        self.get(id).is_some_and(|c| !c.flags.has(Flags::TRANSLATED) || c.began_low() == from_low)
    }

    fn key_of(&self, id: u32) -> Option<&Key> {
        if id & ALIAS == 0 { self.get(id).map(|c| &c.key) } else { self.alias(id & !ALIAS).map(|a| &a.key) }
    }

    /// The connection with this number.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&Connection> {
        match self.slots.get(id) {
            Some(Line(Slot::Taken(connection))) => Some(connection),
            _ => None,
        }
    }

    /// The connection with this number, to be changed; its key stays, and an earlier deadline is told to
    /// [`hasten`](Self::hasten).
    #[inline]
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Connection> {
        match self.slots.get_mut(id) {
            Some(Line(Slot::Taken(connection))) => Some(connection),
            _ => None,
        }
    }

    /// Likewise, and its windows, which are not touched before they are asked for.
    #[inline]
    pub(crate) fn get_with_windows(&mut self, id: u32) -> Option<(&mut Connection, WindowsOf<'_>)> {
        match self.slots.get_mut(id) {
            Some(Line(Slot::Taken(connection))) => Some((connection, WindowsOf { windows: &mut self.windows, id })),
            _ => None,
        }
    }

    /// The label of the connection.
    pub(crate) fn label(&self, id: u32) -> u128 {
        match self.get(id) {
            Some(connection) if connection.flags.has(Flags::LABEL) => self.labels.get(id).copied().unwrap_or(0),
            _ => 0,
        }
    }

    pub(crate) fn set_label(&mut self, id: u32, label: u128) {
        let Some(connection) = self.get_mut(id) else { return };
        connection.flags.set(Flags::LABEL, label != 0);
        if label != 0 {
            self.labels.set(id, label);
        }
    }

    /// The key of the reply tuple, and whether replies come from its low end, of a translated connection.
    pub(crate) fn reply(&self, id: u32) -> Option<(Key, bool)> {
        let connection = self.get(id).filter(|c| c.flags.has(Flags::TRANSLATED));
        connection.and_then(|_| self.replies.get(id)).copied()
    }

    pub(crate) fn set_reply(&mut self, id: u32, key: Key, from_low: bool) {
        let Some(connection) = self.get_mut(id) else { return };
        connection.flags.set(Flags::TRANSLATED, true);
        self.replies.set(id, (key, from_low));
    }

    /// Whether the next slot that is set aside is a new one.
    pub(crate) fn grows(&self) -> bool {
        self.free.is_empty()
    }

    /// Sets a slot aside, and gives its number; it is to be [filled](Self::fill) or [given back](Self::release).
    pub(crate) fn reserve(&mut self) -> u32 {
        if let Some(id) = self.free.pop() {
            if let Some(Line(slot)) = self.slots.get_mut(id) {
                *slot = Slot::Reserved;
            }
            return id;
        }
        self.slots.push(Line(Slot::Reserved));
        (self.slots.len() - 1) as u32
    }

    /// Gives a reserved slot back.
    pub(crate) fn release(&mut self, id: u32) {
        if let Some(Line(slot @ Slot::Reserved)) = self.slots.get_mut(id) {
            *slot = Slot::Free;
            self.free.push(id);
        }
    }

    /// Stores a connection, whose key hashes to `hash` and which nothing else has, in a reserved slot.
    ///
    /// `false` if the slot is not reserved, since the table was emptied.
    pub(crate) fn fill(&mut self, id: u32, hash: u64, connection: Connection, windows: Option<Windows>) -> bool {
        let Some(Line(slot @ Slot::Reserved)) = self.slots.get_mut(id) else { return false };
        let deadline = connection.deadline;
        *slot = Slot::Taken(connection);
        if let Some(windows) = windows {
            self.windows.set(id, windows);
        }
        self.taken += 1;
        self.numbers.insert(hash, id);
        self.wheel.schedule(id, deadline);
        true
    }

    /// Removes a connection, and gives it and its reply key, if that has an alias. Then its slot stays reserved, so that
    /// the alias leads to nobody else, until the alias is gone and the slot [given back](Self::release).
    pub(crate) fn remove(&mut self, id: u32) -> Option<(Connection, Option<Key>)> {
        let connection = *self.get(id)?;
        let reply = self.reply(id).map(|(key, _)| key);
        self.numbers.remove(connection.key.hash(self.hash), |n| n == id);
        self.wheel.cancel(id);
        if let Some(Line(slot)) = self.slots.get_mut(id) {
            *slot = Slot::Reserved;
        }
        if reply.is_none() {
            self.release(id);
        }
        self.taken -= 1;
        Some((connection, reply))
    }

    /// Stores an alias whose key nothing else has.
    pub(crate) fn insert_alias(&mut self, alias: Alias) {
        let at = match self.aliases.get_mut(self.free_alias as usize) {
            Some(place) => {
                let at = self.free_alias;
                if let Err(next) = core::mem::replace(place, Ok(alias)) {
                    self.free_alias = next;
                }
                at
            }
            None => {
                self.aliases.push(Ok(alias));
                (self.aliases.len() - 1) as u32
            }
        };
        self.numbers.insert(alias.key.hash(self.hash), at | ALIAS);
    }

    /// Removes the alias with this key, if it is of the connection `id` of `shard`.
    pub(crate) fn remove_alias(&mut self, key: &Key, shard: u16, id: u32) {
        let Table { aliases, numbers, .. } = self;
        let found = numbers.remove(key.hash(self.hash), |n| {
            let alias = aliases.get((n & !ALIAS) as usize).and_then(|a| a.as_ref().ok());
            n & ALIAS != 0 && alias.is_some_and(|a| a.key == *key && (a.shard, a.id) == (shard, id))
        });
        let Some(at) = found.map(|n| n & !ALIAS) else { return };
        if let Some(place) = self.aliases.get_mut(at as usize) {
            *place = Err(self.free_alias);
            self.free_alias = at;
        }
    }

    /// Says that a connection's deadline was changed to an earlier one. That it became later needs not be said.
    pub(crate) fn hasten(&mut self, id: u32, deadline: Instant) {
        self.wheel.hasten(id, deadline);
    }

    /// When there will next be something for [`Self::due`].
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// A connection whose time may have come, which is no longer filed: it is to be removed, or
    /// [postponed](Self::postpone).
    pub(crate) fn due(&mut self, now: Instant) -> Option<u32> {
        self.wheel.pop(now)
    }

    /// Files a connection that was [due](Self::due) by its present deadline.
    pub(crate) fn postpone(&mut self, id: u32) {
        if let Some(deadline) = self.get(id).map(|c| c.deadline) {
            self.wheel.schedule(id, deadline);
        }
    }
}
