//! Which flow of a full table gives way to another (OpenFlow 1.5, section 6.5).
//!
//! Flows that will end by themselves may be evicted. They fall into groups by the values of some fields, so that one who
//! fills a table pushes out what is his own: of the largest group, the least important flow goes, among equals the one
//! that would end first. When a flow ends moves away with every packet; that is looked at only when it is chosen, which
//! is enough, as it never moves nearer.

use std::collections::{BTreeSet, HashMap};

use ovs_packet::Instant;
use ovs_packet::key::Match;

use super::rule::Rule;
use super::slab::{RuleId, Slab};
use crate::action::Subfield;

/// Values of the fields that tell groups apart.
type GroupId = Vec<u128>;

/// How unwilling the switch is to evict a flow: importance, then when it ends.
type Rank = (u16, Instant);

#[derive(Clone, Default, Debug)]
pub(super) struct Eviction {
    fields: Vec<Subfield>,
    groups: HashMap<GroupId, BTreeSet<(Rank, RuleId)>>,
    by_size: BTreeSet<(usize, GroupId)>,
    /// Where a flow is.
    places: HashMap<RuleId, (GroupId, Rank)>,
}

fn rank(rule: &Rule) -> Option<Rank> {
    rule.deadline().map(|(at, _)| (rule.importance, at))
}

impl Eviction {
    pub(super) fn new(fields: Vec<Subfield>) -> Eviction {
        Eviction { fields, ..Eviction::default() }
    }

    fn group_of(&self, m: &Match) -> GroupId {
        let value = |s: &Subfield| match s.field.info().prereq.implied_by(m) {
            true => m.get(s.field).0 >> s.offset & s.ones(),
            false => 0,
        };
        self.fields.iter().map(value).collect()
    }

    fn resize(&mut self, group: &GroupId, f: impl FnOnce(&mut BTreeSet<(Rank, RuleId)>)) {
        let set = self.groups.entry(group.clone()).or_default();
        let before = set.len();
        f(set);
        let after = set.len();
        if after == 0 {
            self.groups.remove(group);
        }
        if before != after {
            self.by_size.remove(&(before, group.clone()));
            if after > 0 {
                self.by_size.insert((after, group.clone()));
            }
        }
    }

    /// Takes a flow in, if it may be evicted.
    pub(super) fn add(&mut self, id: RuleId, rule: &Rule, m: &Match) {
        let Some(rank) = rank(rule).filter(|_| rule.has_timeout() && !rule.is_hidden()) else { return };
        let group = self.group_of(m);
        self.resize(&group, |set| {
            set.insert((rank, id));
        });
        self.places.insert(id, (group, rank));
    }

    pub(super) fn remove(&mut self, id: RuleId) {
        if let Some((group, rank)) = self.places.remove(&id) {
            self.resize(&group, |set| {
                set.remove(&(rank, id));
            });
        }
    }

    /// The flow to evict.
    pub(super) fn choose(&mut self, rules: &Slab) -> Option<RuleId> {
        loop {
            let (_, group) = self.by_size.last()?.clone();
            let (old, id) = self.groups.get(&group)?.first().copied()?;
            match rules.get(id).and_then(rank) {
                Some(now) if now == old => return Some(id),
                Some(now) => {
                    self.resize(&group, |set| {
                        set.remove(&(old, id));
                        set.insert((now, id));
                    });
                    self.places.insert(id, (group, now));
                }
                // Its time-outs are gone, or it is.
                None => self.remove(id),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        let n: usize = self.groups.values().map(BTreeSet::len).sum();
        assert_eq!((n, self.groups.len()), (self.places.len(), self.by_size.len()));
    }
}
