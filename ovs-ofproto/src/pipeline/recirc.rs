//! Where translation goes on when a packet comes back from the datapath.
//!
//! An action such as `ct(table=N)` has the datapath do something first. What translation knows by then is *frozen*
//! under a recirculation id, and the id goes into the datapath's actions. Equal states share an id, so that
//! translating the same thing again gives the same actions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ovs_packet::OfPort;
use ovs_packet::key::REGISTERS;

/// How many states are kept.
const LIMIT: usize = 1 << 16;

/// What translation knows beside the packet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Frozen {
    pub(super) table: u8,
    pub(super) in_port: OfPort,
    pub(super) metadata: u64,
    pub(super) registers: [u32; REGISTERS],
}

#[derive(Default, Debug)]
pub(super) struct RecircIds {
    by_state: HashMap<Arc<Frozen>, u32>,
    by_id: HashMap<u32, Arc<Frozen>>,
    /// Ids that nothing used when last looked at.
    idle: HashSet<u32>,
    last: u32,
}

impl RecircIds {
    /// The id of a state. `None` if there are too many.
    pub(super) fn freeze(&mut self, state: Frozen) -> Option<u32> {
        if let Some(id) = self.by_state.get(&state) {
            self.idle.remove(id);
            return Some(*id);
        }
        if self.by_id.len() >= LIMIT {
            return None;
        }
        // Id 0 means that a packet was not recirculated.
        let next = |id: u32| id.checked_add(1).unwrap_or(1);
        let mut id = next(self.last);
        while self.by_id.contains_key(&id) {
            id = next(id);
        }
        self.last = id;
        let state = Arc::new(state);
        self.by_state.insert(state.clone(), id);
        self.by_id.insert(id, state);
        Some(id)
    }

    pub(super) fn thaw(&self, id: u32) -> Option<Arc<Frozen>> {
        self.by_id.get(&id).cloned()
    }

    /// Forgets states that nothing has used twice in a row. Once is not enough: a packet may be on its way.
    pub(super) fn collect(&mut self, used: &HashSet<u32>) {
        let mut idle = HashSet::new();
        self.by_id.retain(|id, state| {
            let keep = used.contains(id) || !self.idle.contains(id);
            if !keep {
                self.by_state.remove(state);
            } else if !used.contains(id) {
                idle.insert(*id);
            }
            keep
        });
        self.idle = idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_states_share_an_id_and_unused_ones_go() {
        let state = |table| Frozen { table, in_port: OfPort(1), metadata: 0, registers: [0; REGISTERS] };
        let mut ids = RecircIds::default();
        let (a, b) = (ids.freeze(state(1)).unwrap(), ids.freeze(state(2)).unwrap());
        assert_ne!(a, b);
        assert_eq!(ids.freeze(state(1)), Some(a));
        let used = HashSet::from([a]);
        ids.collect(&used);
        assert!(ids.thaw(b).is_some());
        ids.collect(&used);
        assert!(ids.thaw(b).is_none() && ids.thaw(a).is_some());
    }
}
