//! How many rules have a prefix, and what is kept of their masks.

use crate::simd::Kernels;
use core::fmt::Debug;

/// How many rules have a prefix, and the length of it in the low byte: small, since there is one for each prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count(u32);

impl Count {
    /// No rule, of a prefix of this length.
    pub(super) fn none(len: u8) -> Self {
        Self(len.into())
    }

    #[inline(always)]
    pub(super) fn len(self) -> u8 {
        self.0 as u8
    }

    /// How many rules there are; at 2^24 - 1 it is no longer counted, up or down, and costs bits at worst.
    #[inline(always)]
    pub(super) fn rules(self) -> u32 {
        self.0 >> 8
    }

    /// Another number in its place.
    pub(super) fn from_number(number: u32) -> Self {
        Self(number)
    }

    pub(super) fn number(self) -> u32 {
        self.0
    }

    #[inline(always)]
    #[must_use]
    pub(super) fn up(self) -> Self {
        Self(self.0.checked_add(1 << 8).unwrap_or(self.0))
    }

    #[inline(always)]
    #[must_use]
    pub(super) fn down(self) -> Self {
        let is_counted = self.rules() < u32::MAX >> 8;
        Self(self.0.checked_sub(1 << 8).filter(|_| is_counted).unwrap_or(self.0))
    }
}

/// What a trie keeps of the masks whose rules have a prefix.
pub(crate) trait Holders: Copy + Debug + Default + PartialEq {
    /// These, and the mask of a column.
    fn with(self, column: u32) -> Self;

    /// These and those.
    fn and(self, others: Self) -> Self;

    /// All of those that are told by bits.
    fn union(all: &[Self; 8], which: u32, kernels: impl Kernels) -> Self;
}

/// Nothing: the trie is that of one mask.
impl Holders for () {
    fn with(self, _: u32) {}

    fn and(self, (): ()) {}

    #[inline(always)]
    fn union(_: &[(); 8], _: u32, _: impl Kernels) {}
}

/// The columns of the masks, or others: column `n` and all that are 64 or a multiple of that further are one bit. A mask that
/// no longer has a rule with a prefix is still there as long as another has one.
pub(crate) type Folded = u64;

impl Holders for Folded {
    #[inline(always)]
    fn with(self, column: u32) -> Self {
        self | 1 << (column % 64)
    }

    #[inline(always)]
    fn and(self, others: Self) -> Self {
        self | others
    }

    #[inline(always)]
    fn union(all: &[Self; 8], which: u32, kernels: impl Kernels) -> Self {
        kernels.union(all, which)
    }
}
