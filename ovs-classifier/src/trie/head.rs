//! The head of a large trie: for all values of the first bits, how far they lead.
//!
//! Walks begin there: most come to a bucket at once. It is made by and by, a few values with each change, while walks
//! begin at the root or in a smaller head.
//!
//! Where masks are many, the head also tells them apart by the length of the prefix that they hold: all of them
//! together, folded into 64 bits, would be hardly fewer than there are.

use super::Link;
use super::count::Holders;
use super::fork::Fork;
use super::nodes::Nodes;
use super::path::Path;
use super::shorts::Shorts;
use super::way::{APART, Apart, Slot, Way};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// In a trie of so few forks there is no head.
const FEW: usize = if cfg!(test) { 2 } else { 16 };

/// The most bits of a value that a head is indexed by.
const MOST_BITS: u32 = if cfg!(test) { 6 } else { 16 };

/// How many bits of a value the head of so many forks is indexed by: so many that most values come to a bucket.
fn wanted_bits(forks: usize) -> u32 {
    if forks < FEW { 0 } else { (forks.ilog2() + 1).min(MOST_BITS) }
}

/// For how many values a change goes on with a head that is being made.
pub(super) const MADE: usize = if cfg!(test) { 3 } else { 16 };

/// By the first bits of a value, where they lead.
#[derive(Clone, Debug, Default)]
pub(super) struct Head<C> {
    pub(super) slots: Vec<Slot<C>>,
    /// As many as slots, or none.
    pub(super) apart: Vec<Apart<C>>,
}

impl<C: Holders> Head<C> {
    fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<C>>() + self.apart.capacity() * size_of::<Apart<C>>()
    }

    /// Leads values that begin like `value` in `len` bits, as far as they are there, in a head of so many bits.
    fn put<P: Path>(&mut self, bits: u32, value: P, len: u8, way: Way<C>) {
        values(&mut self.slots, bits, value, len).fill(way.slot);
        values(&mut self.apart, bits, value, len).fill(way.apart);
    }

    /// Notes that a rule of the mask of a column has a fork's prefix, in a head of so many bits.
    fn hold<P: Path>(&mut self, bits: u32, path: P, len: u8, column: u32) {
        let Some(below) = bits.checked_sub(len.into()).filter(|below| *below > 0) else { return };
        let lens = 1u16.checked_shl(u32::from(len).wrapping_sub(1)).unwrap_or(0);
        for slot in values(&mut self.slots, bits, path, len) {
            (slot.lens, slot.holders) = (slot.lens | lens, slot.holders.with(column));
        }
        if below <= APART {
            values(&mut self.apart, bits, path, len).iter_mut().for_each(|apart| apart.hold(len, column));
        }
    }
}

/// The head that there is, if any, and the one that is being made.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads<C> {
    pub(super) head: Head<C>,
    pub(super) making: Option<Box<Making<C>>>,
    /// All forks of less bits than the head; those that are known of less than that which is being made.
    pub(super) shorts: Shorts,
    /// Whether heads are to tell masks apart by length.
    pub(super) is_apart: bool,
}

/// A head that is being made, of so many bits; it has the first values.
#[derive(Clone, Debug)]
pub(super) struct Making<C> {
    pub(super) bits: u32,
    is_apart: bool,
    pub(super) head: Head<C>,
}

/// Of a head of so many bits, what there is for values that begin like `value` in `len` bits, as far as it is made.
fn values<P: Path, T>(all: &mut [T], bits: u32, value: P, len: u8) -> &mut [T] {
    let (first, count) = (value.top(bits), 1 << (bits - u32::from(len)));
    let end = (first + count).min(all.len());
    all.get_mut(first..end).unwrap_or_default()
}

impl<C: Holders> Heads<C> {
    /// How many bits of a value the head is indexed by; 0 if there is none.
    #[inline(always)]
    pub(super) fn bits(&self) -> u32 {
        self.head.slots.len().max(1).ilog2()
    }

    #[inline(always)]
    pub(super) fn slot<P: Path>(&self, value: P) -> Option<&Slot<C>> {
        self.head.slots.get(value.top(self.bits()))
    }

    /// The masks that hold prefixes of a value, by length, and the least of these lengths; none, if the head does not
    /// tell them apart.
    #[inline(always)]
    pub(super) fn apart<P: Path>(&self, value: P) -> Option<(&Apart<C>, u8)> {
        let bits = self.bits();
        Some((self.head.apart.get(value.top(bits))?, bits.saturating_sub(APART) as u8))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let making = self.making.as_ref().map_or(0, |making| making.head.heap_bytes());
        self.head.heap_bytes() + making + self.shorts.heap_bytes()
    }

    /// Notes that a rule of the mask of a column has a fork's prefix: values come by it that begin with this prefix.
    pub(super) fn hold<P: Path>(&mut self, path: P, len: u8, column: u32) {
        let bits = self.bits();
        self.head.hold(bits, path, len, column);
        if let Some(making) = &mut self.making {
            making.head.hold(making.bits, path, len, column);
        }
    }

    /// The longest fork on the way to a prefix that has less bits than the head.
    pub(super) fn near<P: Path>(&self, value: P, len: u8) -> Option<Link> {
        let lens = 0..self.bits().min(u32::from(len) + 1) as u8;
        lens.rev().map(|len| self.shorts.get(value, len)).find(|link| *link != Link::NONE)
    }
}

impl<P: Path, C: Holders> Nodes<P, C> {
    /// What finding comes to with the first `bits` bits of a value: at a bucket, or at a fork that needs more. `by` is
    /// told of the forks that it comes by.
    fn way_from(&self, mut way: Way<C>, value: P, bits: u32, mut by: impl FnMut(&Fork<P, C>, Link)) -> Way<C> {
        while let Some(fork) = self.fork(way.slot.link).filter(|fork| u32::from(fork.len()) < bits) {
            by(fork, way.slot.link);
            let agreed = fork.agrees(value);
            if agreed < fork.len() {
                return way.leaving(agreed);
            }
            way = way.past(fork, fork.child(value));
        }
        way
    }

    /// The same, from the root.
    pub(super) fn way_of(&self, value: P, bits: u32) -> Way<C> {
        self.way_from(Way::root(self.root), value, bits, |_, _| ())
    }

    /// As [`way_of`](Self::way_of), of no more bits than the head has; but it may lead to a fork that the value leaves.
    /// No fork on the way is waited for before the next is known.
    fn way_by_shorts(&self, value: P, len: u8) -> Way<C> {
        let forks = (0..len).filter_map(|len| self.fork(self.heads.shorts.get(value, len)));
        forks.fold(Way::root(self.root), |way, fork| way.past(fork, fork.child(value)))
    }

    /// Restores the heads where values begin like `value` in `len` bits: what they lead to is other than it was.
    pub(super) fn mend(&mut self, value: P, len: u8) {
        let bits = self.heads.bits();
        let is_short = u32::from(len) <= bits;
        if is_short {
            let mut head = core::mem::take(&mut self.heads.head);
            // The shorts are those of the head that is taken.
            self.fill(&mut head, bits, value.head(len), len, self.way_by_shorts(value, len));
            self.heads.head = head;
        }
        if let Some(mut making) = self.heads.making.take() {
            if u32::from(len) <= making.bits {
                let way = if is_short { self.way_by_shorts(value, len) } else { self.way_of(value, len.into()) };
                self.fill(&mut making.head, making.bits, value.head(len), len, way);
            }
            self.heads.making = Some(making);
        }
    }

    /// Has the heads tell apart by length which masks hold a prefix.
    pub(super) fn tell_apart(&mut self) {
        self.heads.is_apart = true;
    }

    /// Goes on with a larger head, if there are so many forks that one is due, or one that tells masks apart.
    #[inline(always)]
    pub(super) fn go_on(&mut self) {
        let (wanted, bits) = (wanted_bits(self.forks.len()), self.heads.bits());
        let is_due = wanted > bits || self.heads.is_apart && bits > 0 && self.heads.head.apart.is_empty();
        if is_due || self.heads.making.is_some() {
            self.make(wanted.max(bits));
        }
    }

    /// Makes a few slots of the head that is being made, or of one of so many bits.
    #[cold]
    fn make(&mut self, wanted: u32) {
        let making = self.heads.making.take();
        let mut shorts = core::mem::take(&mut self.heads.shorts);
        let mut making = making.unwrap_or_else(|| {
            shorts.widen(wanted);
            Box::new(Making { bits: wanted, is_apart: self.heads.is_apart, head: Head::default() })
        });
        let (done, all) = (making.head.slots.len(), 1 << making.bits);
        making.head.slots.reserve_exact(all - done);
        if making.is_apart {
            making.head.apart.reserve_exact(all - done);
        }
        for i in (done..all).take(MADE) {
            let value = P::from_top(i, making.bits);
            let way = self.way_from(self.way_to_slot(value, making.is_apart), value, making.bits, |fork, link| {
                shorts.set(fork.path, fork.len(), link);
            });
            making.head.slots.push(way.slot);
            if making.is_apart {
                making.head.apart.push(way.apart);
            }
        }
        self.heads.shorts = shorts;
        if making.head.slots.len() < all {
            self.heads.making = Some(making);
        } else {
            self.heads.head = making.head;
        }
    }

    /// The way of a value as far as the head knows it; from the root, where it does not tell masks apart and has to.
    fn way_to_slot(&self, value: P, is_apart: bool) -> Way<C> {
        let root = Way::root(self.root);
        match (self.heads.slot(value), self.heads.apart(value)) {
            (Some(slot), Some((apart, _))) => Way { slot: *slot, apart: *apart },
            (Some(slot), None) if !is_apart => Way { slot: *slot, ..root },
            _ => root,
        }
    }

    /// Fills in values of a head of so many bits that begin like `value` in `len` bits, and come this way.
    fn fill(&self, head: &mut Head<C>, bits: u32, value: P, len: u8, way: Way<C>) {
        let Some(fork) = self.fork(way.slot.link).filter(|fork| u32::from(fork.len()) < bits) else {
            return head.put(bits, value, len, way);
        };
        let agreed = fork.agrees(value);
        if agreed < len {
            return head.put(bits, value, len, way.leaving(agreed));
        }
        for agreed in len..fork.len() {
            let value = fork.path.head(agreed).with(agreed, 1 - fork.path.bit(agreed));
            head.put(bits, value, agreed + 1, way.leaving(agreed));
        }
        for (side, link) in fork.children.into_iter().enumerate() {
            self.fill(head, bits, fork.path.with(fork.len(), side), fork.len() + 1, way.past(fork, link));
        }
    }
}
