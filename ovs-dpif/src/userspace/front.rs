//! A cache in front of the table of megaflows: hash of the whole key to megaflow.

use ovs_classifier::{Handle, MegaflowTable};
use ovs_packet::FlowKey;
use ovs_packet::key::{BlockSet, WORDS};

/// Sixteen thousand flows' handles, direct mapped.
const SLOTS: usize = 1 << 14;

/// The cache. An entry is a guess: it counts only if its megaflow exists still and matches the key.
pub(super) struct FrontCache {
    seed: u64,
    slots: Box<[Option<Handle>]>,
}

impl FrontCache {
    pub(super) fn new(seed: u64) -> FrontCache {
        FrontCache { seed, slots: vec![None; SLOTS].into_boxed_slice() }
    }

    /// Where a key's entry stands.
    pub(super) fn place(&self, key: &FlowKey, blocks: BlockSet) -> usize {
        key.hash(blocks, self.seed) as usize % SLOTS
    }

    pub(super) fn find<R>(&self, place: usize, key: &FlowKey, table: &MegaflowTable<R, WORDS>) -> Option<Handle> {
        let handle = (*self.slots.get(place)?)?;
        table.get(handle).is_some_and(|flow| flow.matches(key.words())).then_some(handle)
    }

    pub(super) fn note(&mut self, place: usize, handle: Handle) {
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = Some(handle);
        }
    }
}
