//! Where the first bits of a value lead, and what is known on the way there.

use super::Link;
use super::count::Holders;
use super::fork::Fork;
use super::path::Path;

/// Where the first bits of a value lead.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Slot<C> {
    /// The masks that have a rule with one of the prefixes before the link, and the lengths of these, as in
    /// [`Found`](super::Found).
    pub(super) holders: C,
    pub(super) link: Link,
    pub(super) lens: u16,
    /// How many bits decide that. Where the link is a bucket, all its prefixes have as many, and all prefixes that
    /// begin with them are in it.
    pub(super) bits: u8,
}

const _: () = assert!(size_of::<Slot<super::Folded>>() == 16);

/// For so many lengths of prefix below that of its values, a head may tell apart which masks hold one.
pub(super) const APART: u32 = if cfg!(test) { 4 } else { 8 };

/// By length modulo [`APART`], the masks that have a rule with the prefix of this length, of the last lengths below the
/// head's: a line of the cache.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Apart<C>([C; APART as usize]);

impl<C: Holders> Apart<C> {
    const fn of(len: u8) -> usize {
        len as usize % APART as usize
    }

    /// The masks of prefixes of a length, which must be one of those that are told apart.
    #[inline(always)]
    pub(crate) fn holders(&self, len: u8) -> C {
        self.0[Self::of(len)]
    }

    /// These, and the mask of a column for a prefix of a length.
    pub(super) fn hold(&mut self, len: u8, column: u32) {
        let holders = &mut self.0[Self::of(len)];
        *holders = holders.with(column);
    }
}

/// The first bits of a value on the way to its slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Way<C> {
    pub(super) slot: Slot<C>,
    /// Of the last lengths so far.
    pub(super) apart: Apart<C>,
}

impl<C: Holders> Way<C> {
    /// Where all values come from.
    pub(super) fn root(link: Link) -> Self {
        Self { slot: Slot::root(link), apart: Apart([C::default(); APART as usize]) }
    }

    /// Past the fork to which this leads, whose prefix the value has, to a child.
    pub(super) fn past<P: Path>(mut self, fork: &Fork<P, C>, link: Link) -> Self {
        let lens = self.slot.lens | u16::from(fork.count.rules() > 0) << (fork.len().wrapping_sub(1) & 15);
        self.slot = Slot { link, lens, holders: self.slot.holders.and(fork.holders), bits: fork.len() + 1 };
        self.apart.0[Apart::<C>::of(fork.len())] = fork.holders;
        self
    }

    /// Where values come to that have no more than the first `agreed` bits of a fork's prefix.
    pub(super) fn leaving(mut self, agreed: u8) -> Self {
        self.slot = Slot { link: Link::NONE, bits: agreed + 1, ..self.slot };
        self
    }
}

impl<C: Holders> Slot<C> {
    /// Where all values come from.
    pub(super) fn root(link: Link) -> Self {
        Self { link, ..Self::default() }
    }
}
