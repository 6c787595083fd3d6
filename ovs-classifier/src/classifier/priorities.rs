//! How many rules of a mask have which priority.
//!
//! Most masks have rules of one priority, and most changes are no change of the highest: so that is counted apart, and no map
//! is asked.

use alloc::collections::BTreeMap;

/// Rules by priority; no count is zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Priorities {
    /// The highest priority, and how many rules have it.
    highest: Option<(i32, u32)>,
    lower: BTreeMap<i32, u32>,
}

impl Priorities {
    pub(super) fn is_empty(&self) -> bool {
        self.highest.is_none()
    }

    /// The highest priority of a rule.
    #[inline(always)]
    pub(super) fn highest(&self) -> Option<i32> {
        self.highest.map(|(priority, _)| priority)
    }

    /// Whether a rule has this priority.
    pub(super) fn contains(&self, priority: i32) -> bool {
        self.highest() == Some(priority) || self.lower.contains_key(&priority)
    }

    /// Adds a rule.
    #[inline]
    pub(super) fn add(&mut self, priority: i32) {
        match &mut self.highest {
            Some((highest, rules)) if *highest == priority => *rules += 1,
            Some((highest, _)) if *highest > priority => *self.lower.entry(priority).or_insert(0) += 1,
            highest => {
                let old = highest.replace((priority, 1));
                self.lower.extend(old);
            }
        }
    }

    /// Removes a rule that was added.
    #[inline]
    pub(super) fn remove(&mut self, priority: i32) {
        match &mut self.highest {
            Some((highest, rules)) if *highest == priority => {
                *rules -= 1;
                if *rules == 0 {
                    self.highest = self.lower.pop_last();
                }
            }
            _ => {
                if let Some(rules) = self.lower.get_mut(&priority) {
                    *rules -= 1;
                    if *rules == 0 {
                        self.lower.remove(&priority);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Priorities;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_as_a_list_does(changes in prop::collection::vec((any::<bool>(), -3..3i32), 0..60)) {
            let (mut priorities, mut list) = (Priorities::default(), Vec::new());
            for (comes, priority) in changes {
                if comes {
                    priorities.add(priority);
                    list.push(priority);
                } else if let Some(at) = list.iter().position(|other| *other == priority) {
                    priorities.remove(priority);
                    list.swap_remove(at);
                }
                prop_assert_eq!(priorities.highest(), list.iter().copied().max());
                prop_assert_eq!(priorities.is_empty(), list.is_empty());
                for priority in -3..3 {
                    prop_assert_eq!(priorities.contains(priority), list.contains(&priority));
                }
            }
        }
    }
}
