//! The oracles, for tests and fuzzers: what a switch must be true to, whatever was done to it.
//!
//! - *Same megaflow, same actions*: a megaflow that is not in doubt meets and does what its packet's key does when it is
//!   translated from scratch, and what another key does that its mask does not tell from that one.
//! - *The classifier is a list*: in these translations each lookup finds a rule of the priority that a search of all rules
//!   from end to end finds.
//! - *The datapath does what the switch decided.*
//!
//! That statistics add up is for whoever knows which packets came.

use std::collections::BTreeMap;

use ovs_classifier::{Rule, View};
use ovs_dpif::Dpif;
use ovs_packet::FlowKey;
use ovs_packet::field::FieldId;
use ovs_packet::key::{FlowMask, WORDS};

use super::ofproto::Ofproto;
use super::upcall::World;

/// Fields that may have other values and leave a packet what it is.
const FREE: [FieldId; 13] = [
    FieldId::EthSrc,
    FieldId::EthDst,
    FieldId::NwSrc,
    FieldId::NwDst,
    FieldId::Ipv6Src,
    FieldId::Ipv6Dst,
    FieldId::NwTtl,
    FieldId::NwTos,
    FieldId::NwEcn,
    FieldId::TcpSrc,
    FieldId::TcpDst,
    FieldId::UdpSrc,
    FieldId::UdpDst,
];

impl Ofproto {
    /// Asserts the oracles; `noise` is what fields are changed to that a megaflow leaves open. It looks at everything.
    #[doc(hidden)]
    pub fn verify(&mut self, dp: &dyn Dpif, noise: u128) {
        self.check();
        if self.has_changed() {
            // Not told to the datapath yet.
            return;
        }
        self.verifies = true;
        self.in_world(|mut world| world.verify(dp, noise));
        self.verifies = false;
    }
}

impl World<'_> {
    fn verify(&mut self, dp: &dyn Dpif, noise: u128) {
        let settled = |own: &Ofproto| {
            let all = own.megaflows.iter().filter(|(slot, _)| !own.megaflows.is_doubted(*slot));
            all.map(|(slot, m)| (slot, FlowKey::from(&m.key), m.ufid)).collect::<Vec<_>>()
        };
        for (slot, key, ufid) in self.own().map(|own| settled(own)).unwrap_or_default() {
            let Some(mask) = self.own().and_then(|own| own.megaflows.matching(slot)).map(|m| m.mask()) else { return };
            let (first, other) = (key, disturbed(&key, &mask, noise));
            for key in [first, other] {
                let Some(t) = self.translate(dp, &key, None).map(|o| o.translation) else { return };
                let Some(own) = self.own() else { return };
                assert!(
                    own.megaflows.does(slot, &t),
                    "a megaflow is what its packets are translated to: {:?} {:?} of {:?}, and {key:?}: {t:?}",
                    own.megaflows.effects(slot),
                    own.megaflows.get(slot),
                    own.megaflows.matching(slot)
                );
                if let (Ok(flow), true) = (dp.flow_get(ufid), t.slow.is_empty()) {
                    assert_eq!(flow.actions, t.actions, "the datapath does what was decided");
                }
            }
        }
    }
}

/// A key with other values where a mask leaves fields open.
fn disturbed(key: &FlowKey, mask: &FlowMask, noise: u128) -> FlowKey {
    let mut other = *key;
    for (n, field) in (0..).zip(FREE).filter(|(_, f)| f.info().prereq.holds(key)) {
        let info = field.info();
        let open = !info.get(&mask.bits);
        let value = info.get(key) & !open | noise.rotate_left(n * 19) & open;
        info.put(&mut other, value & info.max_value());
    }
    other
}

/// Asserts that a lookup found a rule of the priority that a search from end to end finds.
pub(super) fn lookup<R>(table: View<'_, R, WORDS>, key: &FlowKey, found: Option<&Rule<'_, R, WORDS>>) {
    let (expected, found) = (search(table, key), found.map(Rule::priority));
    assert!(expected.contains(&found), "a lookup finds what a search finds: {found:?} of {expected:?} for {key:?}");
}

/// The priority of the rule that applies to a key: of a conjunction of which each clause has a rule that matches, if some
/// rule matches the key with its id; of the highest rule that matches otherwise. Of conjunctions of one priority, any.
fn search<R>(table: View<'_, R, WORDS>, key: &FlowKey) -> Vec<Option<i32>> {
    let hard = |key: &FlowKey| {
        let all = table.iter().filter(|r| r.clauses().is_empty() && r.matches(key.words()));
        all.map(|r| r.priority()).max()
    };
    let best = hard(key);
    // Which clauses are there, by priority, id and number of clauses.
    let mut parts: BTreeMap<(i32, u32, u8), u64> = BTreeMap::new();
    for rule in table.iter().filter(|r| Some(r.priority()) > best && r.matches(key.words())) {
        for c in rule.clauses() {
            *parts.entry((rule.priority(), c.id(), c.of())).or_default() |= 1 << (c.index() - 1);
        }
    }
    let mut answers: BTreeMap<i32, Vec<Option<i32>>> = BTreeMap::new();
    for ((priority, id, _), _) in parts.into_iter().filter(|((.., of), seen)| seen.count_ones() == u32::from(*of)) {
        let mut with_id = *key;
        with_id.conj_id = id.into();
        if let Some(found) = hard(&with_id) {
            answers.entry(priority).or_default().push(Some(found));
        }
    }
    answers.pop_last().map_or_else(|| vec![best], |(_, answers)| answers)
}

#[cfg(test)]
mod tests {
    use ovs_classifier::{Classifier, Clause, NewRule, Pattern, Version};
    use ovs_dpif::key_layout;
    use ovs_packet::Match;

    use super::*;

    #[test]
    fn a_search_knows_conjunctions() {
        let mut table = Classifier::new(key_layout());
        let mut add = |m: &str, priority, clause: Option<(u32, u8, u8)>| {
            let pattern: Pattern<WORDS> = m.parse::<Match>().unwrap().words().collect();
            let clauses = clause.and_then(|(id, index, of)| Clause::new(id, index, of)).into_iter().collect();
            table.add(NewRule::new(pattern, priority, ()).with_clauses(clauses)).unwrap();
        };
        add("ip,nw_src=10.0.0.1", 9, Some((5, 1, 2)));
        add("tcp,tp_dst=80", 9, Some((5, 2, 2)));
        add("conj_id=5,ip", 8, None);
        add("ip", 7, None);
        let found = |m: &str| search(table.at(Version::LAST), &m.parse::<Match>().unwrap().key());
        assert_eq!(found("tcp,nw_src=10.0.0.1,tp_dst=80"), [Some(8)]);
        assert_eq!(found("tcp,nw_src=10.0.0.1,tp_dst=81"), [Some(7)]);
        assert_eq!(found("arp"), [None]);
    }
}
