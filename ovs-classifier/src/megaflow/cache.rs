//! A cache in front of the masks: from the hash of all that any megaflow looks at, to the megaflow that matched.
//!
//! A key is hashed once, under the *union* of all masks, so that keys which no megaflow tells apart share an entry:
//! a scan of ports that nobody matches does not fill the cache. An entry is a guess of eight bytes, the hash and the
//! slot of a megaflow, and counts only if that megaflow matches; so nothing has to be invalidated, ever. When the union
//! grows, what was noted before is found no more, and the cache begins anew.
//!
//! Entries lie in lines of eight. A hash has two lines, by its leading bits and by those of a second hash, so that
//! at half its capacity hardly any line runs over. The cache begins small and grows, by beginning anew, as entries
//! push others out; at its largest, most of what would push another out is not noted, lest a scan flush it.

use super::block::{BlockMask, Secrets};
use super::index::NIL;
use crate::simd::Kernels;
use alloc::vec;
use alloc::vec::Vec;

const WAYS: usize = 8;

/// Entries of a cache as it begins.
const SMALL: usize = 1 << 12;

/// Of so many that would push another entry out of a cache that cannot grow, one does.
const ONE_IN: u32 = 16;

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line {
    hashes: [u32; WAYS],
    slots: [u32; WAYS],
}

const EMPTY: Line = Line { hashes: [0; WAYS], slots: [NIL; WAYS] };

#[derive(Clone, Debug)]
pub(super) struct Cache {
    /// All bits of all masks that there were since the table was empty.
    pub(super) union: BlockMask,
    /// A power of two of them, or none: then there is no cache.
    lines: Vec<Line>,
    /// The most entries.
    most: usize,
    /// How many entries were pushed out, or were not noted instead, since the cache began anew.
    crowded: u32,
}

impl Cache {
    /// A cache that is used once `limit` is not 0, for so many entries at most.
    pub(super) fn new(limit: usize) -> Self {
        let most = if limit == 0 { 0 } else { limit.saturating_mul(2).next_power_of_two().clamp(SMALL, 1 << 30) };
        Self { union: BlockMask::new::<0>(&[]), lines: Vec::new(), most, crowded: 0 }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>() + self.union.heap_bytes()
    }

    pub(super) fn is_on(&self) -> bool {
        self.most > 0
    }

    /// Notes what a new mask looks at.
    pub(super) fn widen(&mut self, mask: &BlockMask) {
        if !mask.is_within(&self.union) {
            self.union = self.union.union(mask);
            self.lines = Vec::new();
            self.crowded = 0;
        }
    }

    /// Forgets everything; there are no masks left.
    pub(super) fn clear(&mut self) {
        self.union = BlockMask::new::<0>(&[]);
        self.lines = Vec::new();
        self.crowded = 0;
    }

    /// The hashes of keys; asks for their lines.
    #[inline(always)]
    pub(super) fn hash_all<const W: usize>(
        &self,
        kernels: impl Kernels,
        secrets: &Secrets,
        keys: &[&[u64; W]],
        hashes: &mut [u32],
    ) {
        self.union.hash_all(kernels, secrets, keys, hashes);
        for (hash, _) in hashes.iter().zip(keys) {
            if let Some(line) = self.lines.get(self.home(*hash)) {
                crate::simd::prefetch(line);
            }
        }
    }

    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.lines.len() as u64) >> 32) as usize
    }

    /// The other line of a hash.
    #[inline(always)]
    fn other(&self, hash: u32) -> usize {
        self.home(hash.wrapping_mul(0x9e37_79b1))
    }

    /// The slot noted for a hash; [`NIL`] if there is none.
    #[inline(always)]
    pub(super) fn get(&self, kernels: impl Kernels, hash: u32) -> u32 {
        let Some(line) = self.lines.get(self.home(hash)) else { return NIL };
        match line.get(kernels, hash) {
            NIL => self.get_other(kernels, hash),
            slot => slot,
        }
    }

    #[inline]
    fn get_other(&self, kernels: impl Kernels, hash: u32) -> u32 {
        self.lines.get(self.other(hash)).map_or(NIL, |line| line.get(kernels, hash))
    }

    /// Notes the slot for a hash.
    pub(super) fn note(&mut self, hash: u32, slot: u32) {
        if self.lines.is_empty() {
            self.lines = vec![EMPTY; SMALL.min(self.most) / WAYS];
        }
        let (home, other) = (self.home(hash), self.other(hash));
        for (line, free) in [(home, hash), (other, hash), (home, NIL), (other, NIL)] {
            let known = free != NIL;
            if let Some(line) = self.lines.get_mut(line)
                && let Some(way) = if known { line.way(hash) } else { line.free() }
            {
                return line.set(way, hash, slot);
            }
        }
        self.crowded = self.crowded.wrapping_add(1);
        if self.lines.len() * WAYS < self.most {
            if self.crowded as usize > self.lines.len() / 4 {
                self.lines = vec![EMPTY; (4 * self.lines.len()).min(self.most / WAYS)];
                self.crowded = 0;
            }
        } else if !self.crowded.is_multiple_of(ONE_IN) {
            return;
        }
        let (home, way) = (self.home(hash), self.crowded as usize / ONE_IN as usize % WAYS);
        if let Some(line) = self.lines.get_mut(home) {
            line.set(way, hash, slot);
        }
    }
}

impl Line {
    /// The slot of the first entry with a hash.
    #[inline(always)]
    fn get(&self, kernels: impl Kernels, hash: u32) -> u32 {
        let same = kernels.equal(&self.hashes, hash);
        if same == 0 { NIL } else { self.slots[(same.trailing_zeros() & 7) as usize] }
    }

    fn way(&self, hash: u32) -> Option<usize> {
        (0..WAYS).find(|way| self.hashes[*way] == hash && self.slots[*way] != NIL)
    }

    fn free(&self) -> Option<usize> {
        self.slots.iter().position(|slot| *slot == NIL)
    }

    fn set(&mut self, way: usize, hash: u32, slot: u32) {
        if let (Some(h), Some(s)) = (self.hashes.get_mut(way), self.slots.get_mut(way)) {
            (*h, *s) = (hash, slot);
        }
    }
}
