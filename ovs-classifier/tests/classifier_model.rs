//! The classifier against a list of rules that is read from one end to the other.

mod common;

use common::{Key, W, all_keys, key, layout, masks, pattern, pattern_among, priority};
use ovs_classifier::{Classifier, Layout, Pattern, Rule};
use proptest::prelude::*;
use proptest::sample::Index;

/// Rules and masks in the order in which they came.
#[derive(Default)]
struct Model {
    rules: Vec<(Pattern<W>, i32, u32)>,
    masks: Vec<Key>,
}

impl Model {
    fn insert(&mut self, pattern: &Pattern<W>, priority: i32, payload: u32) -> Option<u32> {
        if let Some(rule) = self.rules.iter_mut().find(|rule| rule.0 == *pattern && rule.1 == priority) {
            return Some(std::mem::replace(&mut rule.2, payload));
        }
        if !self.masks.contains(pattern.mask()) {
            self.masks.push(*pattern.mask());
        }
        self.rules.push((pattern.clone(), priority, payload));
        None
    }

    fn retain(&mut self, keep: impl FnMut(&(Pattern<W>, i32, u32)) -> bool) {
        self.rules.retain(keep);
        self.masks.retain(|mask| self.rules.iter().any(|rule| rule.0.mask() == mask));
    }

    fn remove(&mut self, pattern: &Pattern<W>, priority: i32) -> Option<u32> {
        let found = self.rules.iter().find(|rule| rule.0 == *pattern && rule.1 == priority)?.2;
        self.retain(|rule| rule.0 != *pattern || rule.1 != priority);
        Some(found)
    }

    /// Highest priority; then the mask with the highest priority; then the oldest mask.
    fn lookup(&self, key: &Key) -> Option<u32> {
        let of_mask = |mask: &Key| self.rules.iter().filter(|rule| rule.0.mask() == mask).map(|rule| rule.1).max();
        let youth = |mask: &Key| self.masks.iter().position(|other| other == mask);
        self.rules
            .iter()
            .filter(|rule| rule.0.matches(key))
            .max_by_key(|(pattern, priority, _)| {
                let mask = pattern.mask();
                (*priority, of_mask(mask), std::cmp::Reverse(youth(mask)))
            })
            .map(|rule| rule.2)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Pattern<W>, i32),
    /// The pattern of a rule that is there, under another priority.
    Again(Index, i32),
    Remove(Index),
    RemoveExact(Pattern<W>, i32),
    SetPayload(Index),
    RetainPriority(i32),
    Clear,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    masks().prop_flat_map(|masks| {
        let pattern = pattern_among(masks);
        let op = prop_oneof![
            24 => (pattern.clone(), priority()).prop_map(|(pattern, priority)| Op::Insert(pattern, priority)),
            6 => (any::<Index>(), priority()).prop_map(|(index, priority)| Op::Again(index, priority)),
            8 => any::<Index>().prop_map(Op::Remove),
            2 => (pattern, priority()).prop_map(|(pattern, priority)| Op::RemoveExact(pattern, priority)),
            2 => any::<Index>().prop_map(Op::SetPayload),
            1 => priority().prop_map(Op::RetainPriority),
        ];
        prop::collection::vec(prop_oneof![60 => op, 1 => Just(Op::Clear)], 0..80)
    })
}

fn payload(rule: Option<&Rule<u32, W>>) -> Option<u32> {
    rule.map(|rule| *rule.payload())
}

/// Applies the operations to both, and compares what they return.
fn run(layout: Layout<W>, seed: u64, ops: &[Op]) -> (Classifier<u32, W>, Model) {
    let mut table = Classifier::with_seed(layout, seed);
    let mut model = Model::default();
    for (op, id) in ops.iter().zip(0u32..) {
        let chosen = |index: &Index| (!model.rules.is_empty()).then(|| index.get(&model.rules).clone());
        match op {
            Op::Insert(pattern, priority) => {
                assert_eq!(table.insert(pattern, *priority, id), model.insert(pattern, *priority, id));
            }
            Op::Again(index, priority) => {
                if let Some((pattern, ..)) = chosen(index) {
                    assert_eq!(table.insert(&pattern, *priority, id), model.insert(&pattern, *priority, id));
                }
            }
            Op::Remove(index) => {
                if let Some((pattern, priority, payload)) = chosen(index) {
                    assert_eq!(table.remove(&pattern, priority), Some(payload));
                    model.remove(&pattern, priority);
                }
            }
            Op::RemoveExact(pattern, priority) => {
                assert_eq!(table.remove(pattern, *priority), model.remove(pattern, *priority));
            }
            Op::SetPayload(index) => {
                if let Some((pattern, priority, _)) = chosen(index) {
                    *table.get_mut(&pattern, priority).expect("the model has it") = id;
                    model.insert(&pattern, priority, id);
                }
            }
            Op::RetainPriority(priority) => {
                table.retain(|rule| rule.priority() == *priority);
                model.retain(|rule| rule.1 == *priority);
            }
            Op::Clear => {
                table.clear();
                model.retain(|_| false);
            }
        }
        assert_eq!((table.len(), table.is_empty()), (model.rules.len(), model.rules.is_empty()));
    }
    (table, model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn finds_what_reading_the_list_finds(
        layout in layout(),
        seed: u64,
        ops in ops(),
        probes in prop::collection::vec((pattern(), priority()), 8),
    ) {
        let (table, model) = run(layout, seed, &ops);

        let rules: Vec<_> = table.iter().map(|rule| (rule.pattern(), rule.priority(), *rule.payload())).collect();
        prop_assert_eq!(&rules, &model.rules);
        prop_assert_eq!(table.iter().len(), model.rules.len());
        prop_assert_eq!(table.stats().subtables, model.masks.len());
        prop_assert_eq!(table.stats().rules, model.rules.len());

        for key in all_keys() {
            prop_assert_eq!(payload(table.lookup(&key)), model.lookup(&key));
            let mut wildcards = [0; W];
            prop_assert_eq!(payload(table.lookup_tracked(&key, &mut wildcards)), model.lookup(&key));
        }

        let there = model.rules.iter().map(|rule| (rule.0.clone(), rule.1));
        for (pattern, priority) in probes.into_iter().chain(there).chain([(Pattern::any(), 0)]) {
            let exact = model.rules.iter().find(|rule| rule.0 == pattern && rule.1 == priority).map(|rule| rule.2);
            prop_assert_eq!(payload(table.find_exact(&pattern, priority)), exact);
            let overlaps = model.rules.iter().any(|rule| rule.1 == priority && rule.0.overlaps(&pattern));
            prop_assert_eq!(table.overlaps(&pattern, priority), overlaps);
            let loose: Vec<_> = model.rules.iter().filter(|rule| pattern.covers(&rule.0)).map(|rule| rule.2).collect();
            let found: Vec<_> = table.iter_matching(&pattern).map(|rule| *rule.payload()).collect();
            prop_assert_eq!(found, loose);
        }
    }

    #[test]
    fn a_key_that_agrees_on_the_tracked_bits_gets_the_same_answer(
        layout in layout(),
        seed: u64,
        ops in ops(),
        keys in prop::collection::vec(key(), 8),
        flips in prop::collection::vec(prop::array::uniform4(any::<u64>()), 8),
    ) {
        let (table, _) = run(layout, seed, &ops);
        for key in keys {
            let mut wildcards = [0; W];
            let answer = payload(table.lookup_tracked(&key, &mut wildcards));
            let small = all_keys();
            for flip in flips.iter().copied().chain(small) {
                let other = std::array::from_fn(|i| key[i] ^ (flip[i] & !wildcards[i]));
                let mut others = [0; W];
                prop_assert_eq!(payload(table.lookup_tracked(&other, &mut others)), answer);
                prop_assert_eq!(others, wildcards, "whoever reads the same bits reads the same bits");
            }
        }
    }

    #[test]
    fn tracked_bits_are_added_and_come_from_masks_probed(
        layout in layout(),
        ops in ops(),
        key in key(),
        before in prop::array::uniform4(any::<u64>()),
    ) {
        let (table, _) = run(layout, 0, &ops);
        let mut fresh = [0; W];
        let winner = table.lookup_tracked(&key, &mut fresh).map(Rule::priority);
        let mut added = before;
        table.lookup_tracked(&key, &mut added);
        let mut outranking = [0; W];
        for rule in table.iter().filter(|rule| winner.is_none_or(|winner| rule.priority() >= winner)) {
            let pattern = rule.pattern();
            outranking.iter_mut().zip(pattern.mask()).for_each(|(all, mask)| *all |= mask);
        }
        for i in 0..W {
            prop_assert_eq!(added[i], before[i] | fresh[i]);
            prop_assert_eq!(fresh[i] & !outranking[i], 0, "no bit of a mask whose rules are all below the winner");
        }
    }

    #[test]
    fn a_clone_is_a_table_of_its_own(ops in ops(), key in key()) {
        let (table, model) = run(Layout::flat(), 0, &ops);
        let mut copy = table.clone();
        copy.clear();
        copy.insert(&Pattern::any(), 0, 1);
        prop_assert_eq!(payload(table.lookup(&key)), model.lookup(&key));
        prop_assert_eq!(payload(copy.lookup(&key)), Some(1));
    }
}
