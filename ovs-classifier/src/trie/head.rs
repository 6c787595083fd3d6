//! The head of a large trie: for all values of the first bits, how far they lead.
//!
//! Walks begin there: most come to a bucket at once. It is made by and by, a few values with each change, while walks begin
//! at the root or in a smaller head.

use super::Link;
use super::count::Holders;
use super::fork::Fork;
use super::nodes::Nodes;
use super::path::Path;
use super::shorts::Shorts;
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

/// Where the first bits of a value lead.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Slot<C> {
    /// The masks that have a rule with one of the prefixes before the link, and the lengths of these, as in
    /// [`Found`](super::Found).
    pub(super) holders: C,
    pub(super) link: Link,
    pub(super) lens: u16,
    /// How many bits decide that. Where the link is a bucket, all its prefixes have as many, and all prefixes that begin with
    /// them are in it.
    pub(super) bits: u8,
}

const _: () = assert!(size_of::<Slot<super::Folded>>() == 16);

impl<C: Holders> Slot<C> {
    /// Where all values come from.
    pub(super) fn root(link: Link) -> Self {
        Self { link, ..Self::default() }
    }

    /// Where values come to that have the prefix of the fork to which this leads; but for the link.
    fn passing<P: Path>(self, fork: &Fork<P, C>) -> Self {
        let lens = self.lens | u16::from(fork.count.rules() > 0) << (fork.len().wrapping_sub(1) & 15);
        Self { lens, holders: self.holders.and(fork.holders), bits: fork.len() + 1, ..self }
    }

    /// Where values come to that have no more than the first `agreed` bits of a fork's prefix.
    fn leaving(self, agreed: u8) -> Self {
        Self { link: Link::NONE, bits: agreed + 1, ..self }
    }
}

/// The head that there is, if any, and the one that is being made.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads<C> {
    pub(super) slots: Vec<Slot<C>>,
    pub(super) making: Option<Box<Making<C>>>,
    /// All forks of less bits than the head; those that are known of less than that which is being made.
    pub(super) shorts: Shorts,
}

/// A head that is being made, of so many bits; it has the first values.
#[derive(Clone, Debug)]
pub(super) struct Making<C> {
    pub(super) bits: u32,
    pub(super) slots: Vec<Slot<C>>,
}

/// Of a head of so many bits, the slots of values that begin like `value` in `len` bits, as far as they are made.
fn values<P: Path, C>(slots: &mut [Slot<C>], bits: u32, value: P, len: u8) -> &mut [Slot<C>] {
    let (first, count) = (value.top(bits), 1 << (bits - u32::from(len)));
    let end = (first + count).min(slots.len());
    slots.get_mut(first..end).unwrap_or_default()
}

impl<C: Holders> Heads<C> {
    /// How many bits of a value the head is indexed by; 0 if there is none.
    #[inline(always)]
    pub(super) fn bits(&self) -> u32 {
        self.slots.len().max(1).ilog2()
    }

    #[inline(always)]
    pub(super) fn slot<P: Path>(&self, value: P) -> Option<&Slot<C>> {
        self.slots.get(value.top(self.bits()))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let making = self.making.as_ref().map_or(0, |making| making.slots.capacity());
        (self.slots.capacity() + making) * size_of::<Slot<C>>() + self.shorts.heap_bytes()
    }

    /// Notes that a rule of the mask of a column has a fork's prefix: values come by it that begin with this prefix.
    pub(super) fn hold<P: Path>(&mut self, path: P, len: u8, column: u32) {
        let lens = 1u16.checked_shl(u32::from(len).wrapping_sub(1)).unwrap_or(0);
        let bits = self.bits();
        let making = self.making.as_mut().map(|making| (&mut making.slots, making.bits));
        for (slots, bits) in making.into_iter().chain([(&mut self.slots, bits)]) {
            if u32::from(len) < bits {
                for slot in values(slots, bits, path, len) {
                    (slot.lens, slot.holders) = (slot.lens | lens, slot.holders.with(column));
                }
            }
        }
    }

    /// The longest fork on the way to a prefix that has less bits than the head.
    pub(super) fn near<P: Path>(&self, value: P, len: u8) -> Option<Link> {
        let lens = 0..self.bits().min(u32::from(len) + 1) as u8;
        lens.rev().map(|len| self.shorts.get(value, len)).find(|link| *link != Link::NONE)
    }
}

impl<P: Path, C: Holders> Nodes<P, C> {
    /// What finding comes to with the first `bits` bits of a value: at a bucket, or at a fork that needs more. `by` is told
    /// of the forks that it comes by.
    fn slot_from(&self, mut slot: Slot<C>, value: P, bits: u32, mut by: impl FnMut(&Fork<P, C>, Link)) -> Slot<C> {
        while let Some(fork) = self.fork(slot.link).filter(|fork| u32::from(fork.len()) < bits) {
            by(fork, slot.link);
            let agreed = fork.agrees(value);
            if agreed < fork.len() {
                return slot.leaving(agreed);
            }
            slot = Slot { link: fork.child(value), ..slot.passing(fork) };
        }
        slot
    }

    /// The same, from the root.
    pub(super) fn slot_of(&self, value: P, bits: u32) -> Slot<C> {
        self.slot_from(Slot::root(self.root), value, bits, |_, _| ())
    }

    /// As [`slot_of`](Self::slot_of), of no more bits than the head has; but it may lead to a fork that the value leaves. No
    /// fork on the way is waited for before the next is known.
    fn slot_by_shorts(&self, value: P, len: u8) -> Slot<C> {
        let forks = (0..len).filter_map(|len| self.fork(self.heads.shorts.get(value, len)));
        forks.fold(Slot::root(self.root), |slot, fork| Slot { link: fork.child(value), ..slot.passing(fork) })
    }

    /// Restores the heads where values begin like `value` in `len` bits: what they lead to is other than it was.
    pub(super) fn mend(&mut self, value: P, len: u8) {
        let bits = self.heads.bits();
        let is_short = u32::from(len) <= bits;
        if is_short {
            let mut slots = core::mem::take(&mut self.heads.slots);
            self.fill(&mut slots, bits, value.head(len), len, self.slot_by_shorts(value, len));
            self.heads.slots = slots;
        }
        if let Some(mut making) = self.heads.making.take() {
            if u32::from(len) <= making.bits {
                let at = if is_short { self.slot_by_shorts(value, len) } else { self.slot_of(value, len.into()) };
                self.fill(&mut making.slots, making.bits, value.head(len), len, at);
            }
            self.heads.making = Some(making);
        }
    }

    /// Goes on with a larger head, if there are so many forks that one is due.
    #[inline(always)]
    pub(super) fn go_on(&mut self) {
        let wanted = wanted_bits(self.forks.len());
        if self.heads.making.is_some() || wanted > self.heads.bits() {
            self.make(wanted);
        }
    }

    /// Makes a few slots of the head that is being made, or of one of so many bits.
    #[cold]
    fn make(&mut self, wanted: u32) {
        let making = self.heads.making.take();
        let mut shorts = core::mem::take(&mut self.heads.shorts);
        let mut making = making.unwrap_or_else(|| {
            shorts.widen(wanted);
            Box::new(Making { bits: wanted, slots: Vec::new() })
        });
        let (done, all) = (making.slots.len(), 1 << making.bits);
        making.slots.reserve_exact(all - done);
        making.slots.extend((done..all).take(MADE).map(|i| {
            let value = P::from_top(i, making.bits);
            let from = self.heads.slot(value).copied().unwrap_or(Slot::root(self.root));
            self.slot_from(from, value, making.bits, |fork, link| shorts.set(fork.path, fork.len(), link))
        }));
        self.heads.shorts = shorts;
        if making.slots.len() < all {
            self.heads.making = Some(making);
        } else {
            self.heads.slots = making.slots;
        }
    }

    /// Fills in slots where values begin like `value` in `len` bits, which lead to `at`.
    fn fill(&self, slots: &mut [Slot<C>], bits: u32, value: P, len: u8, at: Slot<C>) {
        let mut put = |value: P, len: u8, at: Slot<C>| values(slots, bits, value, len).fill(at);
        let Some(fork) = self.fork(at.link).filter(|fork| u32::from(fork.len()) < bits) else {
            return put(value, len, at);
        };
        let agreed = fork.agrees(value);
        if agreed < len {
            return put(value, len, at.leaving(agreed));
        }
        for agreed in len..fork.len() {
            put(fork.path.head(agreed).with(agreed, 1 - fork.path.bit(agreed)), agreed + 1, at.leaving(agreed));
        }
        let next = at.passing(fork);
        for (side, link) in fork.children.into_iter().enumerate() {
            self.fill(slots, bits, fork.path.with(fork.len(), side), fork.len() + 1, Slot { link, ..next });
        }
    }
}
