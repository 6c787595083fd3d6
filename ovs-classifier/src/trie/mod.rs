//! Prefixes of one field, as a path-compressed binary trie: how few bits of a value show which prefixes it has not.
//!
//! Each [fork] is a prefix; its children continue it by 0 and by 1. A fork is there because two longer prefixes part
//! here, or because rules have exactly this prefix, and others longer ones. So a value walks down as far as it agrees,
//! and where it leaves the trie, the bits up to the one that differs prove that no longer prefix is its own. Where few
//! prefixes are left they are in a [bucket], with all of which a value is compared at once: it is a line of the cache
//! or two, and most walks read no more.
//!
//! Values are left-aligned in 128 bits. The prefix of length 0 is everyone's and not kept. Fields of up to 32 bits,
//! which most are, have nodes of their own kind, which are smaller.
//!
//! A walk also tells, for each prefix of the value, which masks have rules with it (the *holders*), as bits: a mask
//! that is not among them has nothing for the value.
//!
//! A large trie has a [head], from which most walks come to a bucket at once, and its [short forks](shorts) by prefix.

mod bucket;
mod count;
mod fork;
mod head;
mod nodes;
mod path;
mod pool;
mod shorts;
#[cfg(test)]
mod tests;
mod way;

pub(crate) use count::{Folded, Holders};
pub(crate) use way::Apart;

use crate::simd::Kernels;
use nodes::Nodes;
use path::Path;

/// The prefixes of a field.
#[derive(Clone, Debug)]
pub(crate) enum Trie<C> {
    /// Of a field of at most 32 bits.
    Short(Nodes<u32, C>),
    Long(Nodes<u128, C>),
}

/// Where a value is led: nowhere, to a fork or to a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Link(i32);

impl Link {
    const NONE: Self = Self(0);

    fn to_fork(number: u32) -> Self {
        Self(number as i32)
    }

    fn to_bucket(number: u32) -> Self {
        Self((number as i32).wrapping_neg())
    }

    /// The number of the fork.
    #[inline(always)]
    fn fork(self) -> Option<u32> {
        (self.0 > 0).then_some(self.0 as u32)
    }

    /// The number of the bucket.
    #[inline(always)]
    fn bucket(self) -> Option<u32> {
        (self.0 < 0).then_some(self.0.unsigned_abs())
    }
}

/// Where a prefix is or may be without others being moved: the fork that is this prefix, or a bucket; else none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(Link);

/// What a value has in common with the prefixes of a trie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer<C> {
    /// Of the prefixes that the head knows, and of the others, which are longer: a mask that is told of has a rule with
    /// a prefix of the value only if its prefix has one of the lengths that are there with it.
    pub(crate) short: Found<C>,
    pub(crate) long: Found<C>,
    /// So many leading bits of the value decide that.
    pub(crate) bits: u8,
}

/// Prefixes of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found<C> {
    /// Bit `n - 1` is set when there is one of length `n`.
    pub(crate) lens: u128,
    /// The masks that have a rule with one of them.
    pub(crate) holders: C,
}

impl<C: Holders> Answer<C> {
    /// The masks that have a rule with a prefix of the value.
    #[inline(always)]
    pub(crate) fn holders(&self) -> C {
        self.short.holders.and(self.long.holders)
    }

    /// How many leading bits show that no rule has the value's prefix of length `len`; `None` when one has it.
    pub(crate) fn rules_out(&self, len: u8) -> Option<u8> {
        let bit = 1u128.checked_shl(u32::from(len).checked_sub(1)?)?;
        ((self.short.lens | self.long.lens) & bit == 0).then(|| self.bits.min(len))
    }
}

impl<C: Holders> Trie<C> {
    /// Without prefixes, of a field of so many bits.
    pub(crate) fn new(bits: u8) -> Self {
        if bits <= 32 { Self::Short(Nodes::default()) } else { Self::Long(Nodes::default()) }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Short(nodes) => nodes.heap_bytes(),
            Self::Long(nodes) => nodes.heap_bytes(),
        }
    }

    /// What a value has in common with the prefixes.
    #[inline(always)]
    pub(crate) fn find(&self, value: u128, kernels: impl Kernels) -> Answer<C> {
        match self {
            Self::Short(nodes) => nodes.find(u32::of(value), kernels),
            Self::Long(nodes) => nodes.find(value, kernels),
        }
    }

    /// What two values have in common with the prefixes of two tries: both wait for memory together.
    #[inline(always)]
    pub(crate) fn find_both(
        &self,
        value: u128,
        other: &Self,
        other_value: u128,
        kernels: impl Kernels,
    ) -> [Answer<C>; 2] {
        match (self, other) {
            (Self::Short(a), Self::Short(b)) => {
                let (mut first, mut second) = (a.walk(u32::of(value)), b.walk(u32::of(other_value)));
                while first.step(a) | second.step(b) {}
                [first.answer(a, kernels), second.answer(b, kernels)]
            }
            _ => [self.find(value, kernels), other.find(other_value, kernels)],
        }
    }

    /// Has a large trie tell apart by length which masks hold a prefix of a value, once it has come to that.
    pub(crate) fn tell_apart(&mut self) {
        match self {
            Self::Short(nodes) => nodes.tell_apart(),
            Self::Long(nodes) => nodes.tell_apart(),
        }
    }

    /// Of the short prefixes of an [`Answer`] for a value, the masks by length, from one length on; none, if they are
    /// not told apart.
    #[inline(always)]
    pub(crate) fn apart(&self, value: u128) -> Option<(&Apart<C>, u8)> {
        match self {
            Self::Short(nodes) => nodes.heads.apart(u32::of(value)),
            Self::Long(nodes) => nodes.heads.apart(value),
        }
    }

    /// Where the search for the place of the first `len` bits of a value begins.
    #[inline(always)]
    pub(crate) fn begin(&self, value: u128, len: u8) -> Place {
        Place(match self {
            Self::Short(nodes) => nodes.begin(u32::of(value), len),
            Self::Long(nodes) => nodes.begin(value, len),
        })
    }

    /// Has a search go on, by a node; whether there may be more. Searches of a few tries that go on in turn wait for
    /// memory together.
    #[inline(always)]
    pub(crate) fn step(&self, value: u128, len: u8, Place(at): &mut Place) -> bool {
        match self {
            Self::Short(nodes) => nodes.step(u32::of(value), len, at),
            Self::Long(nodes) => nodes.step(value, len, at),
        }
    }

    /// Asks for what a search or a change of a value's prefixes begins with.
    #[inline(always)]
    pub(crate) fn expect(&self, value: u128) {
        match self {
            Self::Short(nodes) => nodes.expect(u32::of(value)),
            Self::Long(nodes) => nodes.expect(value),
        }
    }

    /// Asks for the nodes of a place, ahead of a change there.
    #[inline(always)]
    pub(crate) fn prefetch(&self, place: Place) {
        match self {
            Self::Short(nodes) => nodes.prefetch(place),
            Self::Long(nodes) => nodes.prefetch(place),
        }
    }

    /// Adds the first `len` bits of `value`, for a rule of the mask of a column, at their place; none if there are
    /// none.
    pub(crate) fn insert(&mut self, value: u128, len: u8, place: Place, column: u32) {
        match self {
            Self::Short(nodes) => nodes.insert(u32::of(value), len, place, column),
            Self::Long(nodes) => nodes.insert(value, len, place, column),
        }
    }

    /// Removes a prefix that was added, from its place.
    pub(crate) fn remove(&mut self, value: u128, len: u8, place: Place) {
        match self {
            Self::Short(nodes) => nodes.remove(u32::of(value), len, place),
            Self::Long(nodes) => nodes.remove(value, len, place),
        }
    }
}
