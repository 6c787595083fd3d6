//! Where translation goes on when a packet comes back from the datapath.
//!
//! An action such as `ct(table=N)` has the datapath do something first. What translation knows by then is *frozen*
//! under a recirculation id, and the id goes into the datapath's actions. Equal states share an id, so that
//! translating the same thing again gives the same actions.
//!
//! Switches that share a datapath draw their ids from lanes of their own, so that no two give out the same one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ovs_packet::OfPort;
use ovs_packet::key::{FlowKey, SparseKey};

use crate::action::{Action, Instructions};

/// How many states are kept.
const LIMIT: usize = 1 << 16;

/// How many lanes there are.
pub(super) const LANES: u32 = 256;

/// Values on the stack: bits, right-aligned, and how many.
pub(super) type Stack = Vec<(u128, u16)>;

/// What translation knows beside the packet.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Frozen {
    /// Which of the switches of the datapath goes on.
    pub(super) bridge: usize,
    /// The table that the packet is looked up in first, if it is.
    pub(super) table: Option<u8>,
    /// What is executed then.
    pub(super) steps: Vec<Step>,
    pub(super) in_port: OfPortOrNone,
    /// Registers, metadata, and what goes into a tunnel's header.
    pub(super) metadata: SparseKey,
    /// The bits of that which are not frozen, because each packet has its own.
    pub(super) own: SparseKey,
    pub(super) action_set: Vec<Action>,
    pub(super) stack: Stack,
    /// Mirrors that have the packet already.
    pub(super) mirrors: u32,
    /// Whether what connection tracking said of the packet is to be seen.
    pub(super) conntracked: bool,
    /// For a controller: bytes that it gave.
    pub(super) userdata: Vec<u8>,
}

/// A port number, of which none is the default.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct OfPortOrNone(pub(super) OfPort);

impl Default for OfPortOrNone {
    fn default() -> Self {
        OfPortOrNone(OfPort::ANY)
    }
}

/// The rest of a flow that was left in the middle.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Step {
    pub(super) table: u8,
    pub(super) cookie: u64,
    pub(super) actions: Vec<Action>,
    /// What of its instructions comes after the actions.
    pub(super) then: Option<Box<Instructions>>,
}

impl Frozen {
    /// The metadata as members of a key.
    pub(super) fn key(&self) -> FlowKey {
        FlowKey::from(&self.metadata)
    }
}

/// The number in a lane that comes after another: id 0 means that a packet was not recirculated.
fn next(n: u32) -> u32 {
    if n >= u32::MAX / LANES { 1 } else { n + 1 }
}

/// Where ids had got to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u32);

#[derive(Default, Debug)]
pub(super) struct RecircIds {
    by_state: HashMap<Arc<Frozen>, u32>,
    by_id: HashMap<u32, Arc<Frozen>>,
    /// Ids that nothing used when last looked at.
    idle: HashSet<u32>,
    lane: u32,
    last: u32,
}

impl RecircIds {
    /// Gives out ids of this lane from now on.
    pub(super) fn set_lane(&mut self, lane: u32) {
        self.lane = lane % LANES;
    }

    /// Goes on where another has stopped, so that what still has its ids meets no others for long.
    pub(super) fn take_over(&mut self, other: &RecircIds) {
        (self.lane, self.last) = (other.lane, other.last);
    }

    /// Forgets the states that a switch would go on with. Whether there were any.
    pub(super) fn forget_bridge(&mut self, bridge: usize) -> bool {
        let before = self.by_id.len();
        self.by_id.retain(|_, state| state.bridge != bridge);
        self.by_state.retain(|state, _| state.bridge != bridge);
        self.by_id.len() != before
    }

    /// The id of a state. `None` if there are too many.
    pub(super) fn freeze(&mut self, state: Frozen) -> Option<u32> {
        if let Some(id) = self.by_state.get(&state) {
            return Some(*id);
        }
        if self.by_id.len() >= LIMIT {
            return None;
        }
        let lane = self.lane_bits();
        let mut n = next(self.last);
        while self.by_id.contains_key(&(lane | n)) {
            n = next(n);
        }
        self.last = n;
        let (id, state) = (lane | n, Arc::new(state));
        self.by_state.insert(state.clone(), id);
        self.by_id.insert(id, state);
        Some(id)
    }

    pub(super) fn thaw(&self, id: u32) -> Option<Arc<Frozen>> {
        self.by_id.get(&id).cloned()
    }

    /// Forgets states that nothing has used twice in a row. Once is not enough: a packet may be on its way. After that, what
    /// comes to the same state gets another id.
    pub(super) fn collect(&mut self, used: impl Fn(u32) -> bool) {
        let mut idle = HashSet::new();
        self.by_id.retain(|id, state| {
            if used(*id) {
                return true;
            }
            if self.by_state.get(state) == Some(id) {
                self.by_state.remove(state);
            }
            let keep = !self.idle.contains(id);
            if keep {
                idle.insert(*id);
            }
            keep
        });
        self.idle = idle;
    }

    /// Where ids have got to, before something is tried out.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.last)
    }

    /// What was tried out since the mark is over: its states stay for a while, but what comes to them gets other ids.
    pub(super) fn retire(&mut self, Mark(since): Mark) {
        let mut n = since;
        while n != self.last {
            n = next(n);
            let id = self.lane_bits() | n;
            if let Some(state) = self.by_id.get(&id)
                && self.by_state.get(state) == Some(&id)
            {
                self.by_state.remove(state);
            }
        }
    }

    /// The upper bits of ids, which are the lane.
    fn lane_bits(&self) -> u32 {
        self.lane * (u32::MAX / LANES + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(table: u8) -> Frozen {
        Frozen { table: Some(table), ..Frozen::default() }
    }

    #[test]
    fn equal_states_share_an_id_and_unused_ones_go() {
        let mut ids = RecircIds::default();
        let (a, b) = (ids.freeze(state(1)).unwrap(), ids.freeze(state(2)).unwrap());
        assert_ne!(a, b);
        assert_eq!(ids.freeze(state(1)), Some(a));
        ids.collect(|id| id == a);
        assert!(ids.thaw(b).is_some());
        // Who comes to it again now has an id of its own.
        let again = ids.freeze(state(2)).unwrap();
        assert_ne!(again, b);
        ids.collect(|id| id == a || id == again);
        assert!(ids.thaw(b).is_none() && ids.thaw(a).is_some());
        assert_eq!(ids.freeze(state(2)), Some(again));
    }

    #[test]
    fn what_is_tried_out_leaves_no_id_to_others() {
        let mut ids = RecircIds::default();
        let kept = ids.freeze(state(1)).unwrap();
        let mark = ids.mark();
        let (shared, tried) = (ids.freeze(state(1)).unwrap(), ids.freeze(state(2)).unwrap());
        ids.retire(mark);
        assert_eq!((shared, ids.freeze(state(1))), (kept, Some(kept)));
        assert!(ids.thaw(tried).is_some() && ids.freeze(state(2)) != Some(tried));
    }

    #[test]
    fn lanes_do_not_meet() {
        let (mut one, mut other) = (RecircIds::default(), RecircIds::default());
        other.set_lane(255);
        let (a, b) = (one.freeze(state(1)).unwrap(), other.freeze(state(1)).unwrap());
        assert_eq!((a, b), (1, 0xff00_0001));
    }
}
