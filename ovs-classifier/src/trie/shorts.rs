//! Forks of few bits by their prefix: found at once, where a walk from the root would come by many others.

use super::Link;
use super::path::Path;
use alloc::boxed::Box;

/// The links to forks of less than so many bits, those of one more bit after those of one less: as a heap has them, so that
/// more bits are more behind.
#[derive(Clone, Debug, Default)]
pub(super) struct Shorts(Box<[Link]>);

/// Where the first `len` bits of a value have their place.
#[inline(always)]
fn index<P: Path>(value: P, len: u8) -> Option<usize> {
    Some(1usize.checked_shl(len.into())? | value.top(len.into()))
}

impl Shorts {
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.len() * size_of::<Link>()
    }

    /// Has room for the forks of less than so many bits.
    pub(super) fn widen(&mut self, bits: u32) {
        let mut links = core::mem::take(&mut self.0).into_vec();
        links.reserve_exact((1 << bits) - links.len());
        links.resize(1 << bits, Link::NONE);
        self.0 = links.into_boxed_slice();
    }

    /// The fork of the first `len` bits of a value, if it is known.
    #[inline(always)]
    pub(super) fn get<P: Path>(&self, value: P, len: u8) -> Link {
        index(value, len).and_then(|index| self.0.get(index)).copied().unwrap_or(Link::NONE)
    }

    /// Notes the fork of a prefix, or that there is none; but if it is too long.
    pub(super) fn set<P: Path>(&mut self, path: P, len: u8, fork: Link) {
        if let Some(place) = index(path, len).and_then(|index| self.0.get_mut(index)) {
            *place = fork;
        }
    }
}
