//! Where translation goes on when a packet comes back from the datapath.
//!
//! An action such as `ct(table=N)` has the datapath do something first. What translation knows by then is *frozen*
//! under a recirculation id, and the id goes into the datapath's actions. Equal states share an id, so that
//! translating the same thing again gives the same actions.
//!
//! Switches that share a datapath draw their ids from one [`IdPool`], so that no two give out the same one.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use ovs_packet::OfPort;
use ovs_packet::key::{FlowKey, SparseKey};

use crate::action::{Action, Instructions};

/// How many states are kept.
const LIMIT: usize = 1 << 16;

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

/// The id that comes after another: id 0 means that a packet was not recirculated.
fn next(id: u32) -> u32 {
    id.checked_add(1).unwrap_or(1)
}

/// The ids of a datapath. One that is given back is given out again when all others were, so that what still has it meets no
/// other state for long.
#[derive(Clone, Default, Debug)]
pub(super) struct IdPool(Arc<Mutex<Taken>>);

#[derive(Default, Debug)]
struct Taken {
    ids: HashSet<u32>,
    last: u32,
}

impl IdPool {
    fn with<R>(&self, f: impl FnOnce(&mut Taken) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An id that nobody has. There always is one: switches have fewer states than there are ids.
    fn take(&self) -> u32 {
        self.with(|taken| {
            taken.last = next(taken.last);
            while !taken.ids.insert(taken.last) {
                taken.last = next(taken.last);
            }
            taken.last
        })
    }

    fn give_back(&self, id: u32) {
        self.with(|taken| taken.ids.remove(&id));
    }

    fn last(&self) -> u32 {
        self.with(|taken| taken.last)
    }
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
    pool: IdPool,
}

impl Drop for RecircIds {
    fn drop(&mut self) {
        self.by_id.keys().for_each(|id| self.pool.give_back(*id));
    }
}

impl RecircIds {
    /// Ids of a pool, of which none is given out yet.
    pub(super) fn of(pool: &IdPool) -> RecircIds {
        RecircIds { by_state: HashMap::new(), by_id: HashMap::new(), idle: HashSet::new(), pool: pool.clone() }
    }

    /// Takes all ids out for a while.
    pub(super) fn lend(&mut self) -> RecircIds {
        let none = RecircIds::of(&self.pool);
        std::mem::replace(self, none)
    }

    /// Forgets the states that a switch would go on with. Whether there were any.
    pub(super) fn forget_bridge(&mut self, bridge: usize) -> bool {
        let before = self.by_id.len();
        let pool = &self.pool;
        self.by_id.retain(|id, state| {
            let keep = state.bridge != bridge;
            if !keep {
                pool.give_back(*id);
            }
            keep
        });
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
        let (id, state) = (self.pool.take(), Arc::new(state));
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
            } else {
                self.pool.give_back(*id);
            }
            keep
        });
        self.idle = idle;
    }

    /// Where ids have got to, before something is tried out.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.pool.last())
    }

    /// What was tried out since the mark is over: its states stay for a while, but what comes to them gets other ids.
    pub(super) fn retire(&mut self, Mark(since): Mark) {
        let (mut id, last) = (since, self.pool.last());
        while id != last {
            id = next(id);
            if let Some(state) = self.by_id.get(&id)
                && self.by_state.get(state) == Some(&id)
            {
                self.by_state.remove(state);
            }
        }
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
    fn those_that_share_a_datapath_share_no_id() {
        let pool = IdPool::default();
        let (mut one, mut other) = (RecircIds::of(&pool), RecircIds::of(&pool));
        let ids = [one.freeze(state(1)), other.freeze(state(1)), one.freeze(state(2)), one.freeze(state(1))];
        assert_eq!(ids, [Some(1), Some(2), Some(3), Some(1)]);
        // What is free again comes last: first all others are given out, and those that are taken never.
        drop(other);
        pool.with(|taken| taken.last = u32::MAX - 1);
        let rest: Vec<_> = (5..8).map(|table| one.freeze(state(table)).unwrap()).collect();
        assert_eq!(rest, [u32::MAX, 2, 4]);
        one.collect(|id| id == 4);
        one.collect(|id| id == 4);
        assert!(one.forget_bridge(0));
        assert_eq!(pool.with(|taken| taken.ids.len()), 0);
    }
}
