//! Where rules are: slots that are used again, under names that are not.

use std::num::{NonZeroU32, NonZeroU64};

use super::rule::Rule;

/// Identity of a rule, never used again. A flow whose instructions change is another rule.
// One word, the slot above the generation: where it was two, reading both at once waited for the two writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleId(NonZeroU64);

impl RuleId {
    /// The least of all ids.
    pub(super) const FIRST: RuleId = RuleId(NonZeroU64::MIN);

    fn new(slot: u32, generation: NonZeroU32) -> RuleId {
        RuleId(NonZeroU64::from(generation) | u64::from(slot) << 32)
    }

    fn slot(self) -> usize {
        (self.0.get() >> 32) as usize
    }

    fn is_of(self, slot: &Slot) -> bool {
        self.0.get() as u32 == slot.generation.get()
    }
}

#[derive(Debug)]
struct Slot {
    /// Of the rule that is here, or of the next.
    generation: NonZeroU32,
    rule: Option<Rule>,
}

/// The rules of all tables, hidden and removed ones among them until they are let go.
#[derive(Default, Debug)]
pub(super) struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: usize,
}

impl Slab {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, id: RuleId) -> Option<&Rule> {
        let slot = self.slots.get(id.slot())?;
        slot.rule.as_ref().filter(|_| id.is_of(slot))
    }

    pub(super) fn get_mut(&mut self, id: RuleId) -> Option<&mut Rule> {
        let slot = self.slots.get_mut(id.slot()).filter(|s| id.is_of(s))?;
        slot.rule.as_mut()
    }

    /// The id that the next rule gets; `None` if there is no room for more.
    pub(super) fn next_id(&self) -> Option<RuleId> {
        match self.free.last() {
            Some(slot) => Some(RuleId::new(*slot, self.slots.get(*slot as usize)?.generation)),
            None => Some(RuleId::new(u32::try_from(self.slots.len()).ok()?, NonZeroU32::MIN)),
        }
    }

    /// Puts a rule in, under [`next_id`](Self::next_id).
    pub(super) fn insert(&mut self, rule: Rule) {
        self.len += 1;
        match self.free.pop().and_then(|slot| self.slots.get_mut(slot as usize)) {
            Some(slot) => slot.rule = Some(rule),
            None => self.slots.push(Slot { generation: NonZeroU32::MIN, rule: Some(rule) }),
        }
    }

    pub(super) fn remove(&mut self, id: RuleId) -> Option<Rule> {
        let slot = self.slots.get_mut(id.slot()).filter(|s| id.is_of(s))?;
        let rule = slot.rule.take()?;
        self.len -= 1;
        // A slot whose names are used up stays empty.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(id.slot() as u32);
        }
        Some(rule)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RuleId, &Rule)> {
        self.slots.iter().zip(0..).filter_map(|(s, slot)| s.rule.as_ref().map(|r| (RuleId::new(slot, s.generation), r)))
    }
}
