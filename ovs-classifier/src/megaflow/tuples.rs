//! Tuples: hash tables that megaflows of several masks share.
//!
//! A tuple hashes keys under bits that all its members fix; a member may fix more, and is compared under its own mask.
//! So near-equal masks, as one pipeline makes them, cost one probe together and not one each. A tuple takes a
//! megaflow in if it hashes most of the bits that the megaflow fixes, and narrows the bits it hashes for one whose mask
//! has most of them. No more than [`CROWD`] members have one hash: that bounds what a probe compares, whatever the
//! masks are, and keeps a tuple from being narrowed beyond use.
//!
//! There are few tuples ([`MOST`]), and narrowing one costs as much as a quarter as many insertions before it. What finds
//! no tuple, as most of an explosion of masks does, goes to the guarded subtables behind.

use super::block::{BlockMask, Secrets};
use super::index::Index;
use crate::simd::Portable;

/// The most tuples.
pub(super) const MOST: usize = 8;

/// The most members of a tuple that share a hash.
const CROWD: usize = 4;

/// Megaflows that share a hash table.
#[derive(Clone, Debug)]
pub(super) struct Tuple {
    /// The bits that are hashed.
    pub(super) mask: BlockMask,
    pub(super) index: Index,
    /// Hits since the last ranking and half of those before.
    pub(super) hits: u64,
    /// Whether no member ever had a mask other than that.
    pub(super) is_uniform: bool,
    /// Insertions since the mask was narrowed, or that was tried in vain.
    settled: usize,
}

impl Tuple {
    pub(super) fn new(mask: BlockMask) -> Self {
        Self { mask, index: Index::new(), hits: 0, is_uniform: true, settled: 0 }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.mask.heap_bytes() + self.index.heap_bytes()
    }

    /// Whether megaflows with a mask may be members, and not too many would be alike.
    fn suits(&self, mask: &BlockMask) -> bool {
        is_most_of(&self.mask, mask) && self.mask.is_within(mask)
    }

    /// Takes a megaflow in, by a key that it matches; false if it does not suit or too many are alike.
    pub(super) fn join<const W: usize>(
        &mut self,
        secrets: &Secrets,
        mask: &BlockMask,
        key: &[u64; W],
        slot: u32,
    ) -> bool {
        if !self.suits(mask) {
            return false;
        }
        let hash = self.mask.hash(Portable, secrets, key);
        if self.index.all(hash).nth(CROWD - 1).is_some() {
            return false;
        }
        self.index.insert(hash, slot);
        self.is_uniform &= self.mask == *mask;
        self.settled += 1;
        true
    }

    /// Narrows the bits that are hashed to those that `mask` has too; false, and nothing is changed, if that leaves too
    /// few, if too many members would be alike, or if it was done just now. `key_of` tells a key that a member matches.
    pub(super) fn narrow<const W: usize>(
        &mut self,
        secrets: &Secrets,
        mask: &BlockMask,
        key_of: impl Fn(u32) -> Option<[u64; W]>,
    ) -> bool {
        let common = self.mask.common(mask);
        if common == self.mask || !is_most_of(&common, &self.mask) || !is_most_of(&common, mask) {
            return false;
        }
        if self.settled * 4 < self.index.len() {
            return false;
        }
        self.settled = 0;
        let mut index = Index::new();
        for (_, slot) in self.index.pairs() {
            let Some(hash) = key_of(slot).map(|key| common.hash(Portable, secrets, &key)) else { continue };
            if index.all(hash).nth(CROWD - 1).is_some() {
                return false;
            }
            index.insert(hash, slot);
        }
        (self.mask, self.index, self.is_uniform) = (common, index, false);
        true
    }
}

/// Whether one mask has three quarters of the bits of another, of which it is a part.
fn is_most_of(part: &BlockMask, whole: &BlockMask) -> bool {
    4 * part.len() >= 3 * whole.len()
}
